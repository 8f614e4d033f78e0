"""Padding in PyTorch's form: widths from the last axis backwards."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from plait.core.errors import ArgumentError, ShapeError, message
from plait.core.primitive import P
from plait.tensor import rearranging
from plait.tensor.operators import scalar_node
from plait.tensor.shaping import as_operand
from plait.tensor.tensor import Tensor, node_of, wrap

MODES = {"zeros": "constant", "constant": "constant", "reflect": "reflect", "replicate": "edge", "circular": "wrap"}


def pad(input: Any, pad: Sequence[int], mode: str = "constant", value: float | None = None) -> Tensor:
    """Add elements at both ends of axes.

    Args:
        input: a tensor.
        pad: widths (before, after) of the last axis, then of the last but one, ...; negative ones cut elements off.
        mode: "constant", "reflect", "replicate" or "circular".
        value: the number added in mode "constant", 0 by default.

    Returns:
        A new tensor.

    Raises:
        ArgumentError: an odd number of widths, or an unknown mode.
        ShapeError: more widths than axes.

    Example:
        >>> plait.nn.functional.pad(plait.tensor([[1, 2]]), (1, 0), value=7)
        tensor([[7, 1, 2]])
    """
    x = as_operand(input, "pad")
    if len(pad) % 2 or not all(hasattr(w, "__index__") for w in pad):
        text = "pad takes a (before, after) pair of integers for each axis"
        raise ArgumentError(message(text, tuple(pad), "an even number of them"))
    if len(pad) > 2 * x.ndim:
        raise ShapeError(message("pad: more widths than axes", tuple(pad), f"at most {2 * x.ndim} for shape {x.shape}"))
    if mode not in MODES:
        raise ArgumentError(message("Unknown mode of pad", repr(mode), "constant, reflect, replicate or circular"))
    pairs = [(0, 0)] * (x.ndim - len(pad) // 2) + [(pad[i], pad[i + 1]) for i in range(len(pad) - 2, -1, -2)]
    if MODES[mode] != "constant":
        return rearranging.pad(x, pairs, MODES[mode])
    fill = scalar_node(value or 0, x.dtype)
    low, high = tuple(p[0] for p in pairs), tuple(p[1] for p in pairs)
    return wrap(P.pad(node_of(x), fill, low=low, high=high, interior=(0,) * x.ndim))
