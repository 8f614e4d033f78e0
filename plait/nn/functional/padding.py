"""Padding in PyTorch's form: widths from the last axis backwards."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from plait.core.errors import ArgumentError, ShapeError, message
from plait.core.primitive import P
from plait.tensor import rearranging
from plait.tensor.composite import composite
from plait.tensor.shaping import as_operand
from plait.tensor.tensor import Tensor, node_of, scalar_node, wrap

__all__ = ["constant_pad_nd", "pad"]

MODES = {"zeros": "constant", "constant": "constant", "reflect": "reflect", "replicate": "edge", "circular": "wrap"}


@composite
def pad(input: Any, pad: Sequence[int], mode: str = "constant", value: Any = None) -> Tensor:
    """Add elements at both ends of axes.

    Args:
        input: a tensor.
        pad: widths (before, after) of the last axis, then of the last but one, ...; negative ones cut elements off.
        mode: "constant", "reflect" (mirror, without the edge), "replicate" (the edge) or "circular" (the other end).
        value: the number added in mode "constant", 0 by default.

    Returns:
        A new tensor.

    Raises:
        ArgumentError: an odd number of widths, an unknown mode, or a value in another mode than "constant".
        ShapeError: more widths than axes, or wider than the axis has elements to give.

    Example:
        >>> plait.nn.functional.pad(plait.tensor([[1, 2]]), (1, 0), value=7)
        tensor([[7, 1, 2]])
    """
    x = as_operand(input, "pad")
    if mode not in MODES:
        raise ArgumentError(message("Unknown mode of pad", repr(mode), "constant, reflect, replicate or circular"))
    pairs = _pairs(pad, x)
    if MODES[mode] == "constant":
        return _constant(x, pairs, value or 0)
    if value:
        text = "Only the mode constant of pad takes a value"
        raise ArgumentError(message(text, f"mode={mode!r}, value={value}", "value=None"))
    wide = [(max(low, 0), max(high, 0)) for low, high in pairs]
    cut = [(min(low, 0), min(high, 0)) for low, high in pairs]
    if mode == "circular":  # what is cut off does not come in again
        return rearranging.pad(_constant(x, cut, 0), wide, MODES[mode])
    return _constant(rearranging.pad(x, wide, MODES[mode]), cut, 0)


def _pairs(pad: Sequence[int], x: Tensor) -> list[tuple[int, int]]:
    """Return (before, after) of each axis, from the first."""
    if len(pad) % 2 or not all(hasattr(w, "__index__") for w in pad):
        text = "pad takes a (before, after) pair of integers for each axis"
        raise ArgumentError(message(text, tuple(pad), "an even number of them"))
    if len(pad) > 2 * x.ndim:
        raise ShapeError(message("pad: more widths than axes", tuple(pad), f"at most {2 * x.ndim} for shape {x.shape}"))
    given = [(pad[i].__index__(), pad[i + 1].__index__()) for i in range(len(pad) - 2, -1, -2)]
    return [(0, 0)] * (x.ndim - len(given)) + given


def _constant(x: Tensor, pairs: list[tuple[int, int]], value: Any) -> Tensor:
    low, high = tuple(p[0] for p in pairs), tuple(p[1] for p in pairs)
    return wrap(P.pad(node_of(x), scalar_node(value, x.dtype), low=low, high=high, interior=(0,) * x.ndim))


def constant_pad_nd(input: Any, pad: Sequence[int], value: Any = 0) -> Tensor:
    """Add a constant at both ends of axes: `pad` in mode "constant".

    Args:
        input: a tensor.
        pad: widths (before, after) of the last axis, then of the last but one, ...; negative ones cut elements off.
        value: the number added.

    Returns:
        A new tensor.

    Raises:
        ArgumentError: an odd number of widths.
        ShapeError: more widths than axes.

    Example:
        >>> plait.constant_pad_nd(plait.tensor([1, 2]), (0, 1), 9)
        tensor([1, 2, 9])
    """
    x = as_operand(input, "constant_pad_nd")
    return _constant(x, _pairs(pad, x), value)
