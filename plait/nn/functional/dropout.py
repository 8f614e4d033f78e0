"""Dropout: of elements and of whole channels."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from plait import random
from plait.core.errors import ShapeError, message
from plait.nn.arguments import floating, probability
from plait.sampling import default_generator
from plait.tensor.functions import where
from plait.tensor.methods import writing
from plait.tensor.operators import assign
from plait.tensor.shaping import as_operand
from plait.tensor.tensor import Tensor

__all__ = ["alpha_dropout", "dropout", "dropout1d", "dropout2d", "dropout3d", "feature_alpha_dropout"]

_DOCUMENT = """{summary}

Args:
    input: a tensor{shape}.
    p: the probability.
    training: where False, the input is returned as it is.
    inplace: whether the result is written to `input` too.

Returns:
    A tensor of the shape of `input`; what is kept comes from the default generator.

Raises:
    ArgumentError: `p` is no probability.
    DTypeError: the input is not floating-point.
    ShapeError: the input has the wrong number of axes.

Example:
    >>> plait.{path}(plait.ones(1, 2), 0.5, training=False)
    tensor([[1., 1.]])
"""
# the limit of selu at minus infinity: what alpha dropout sets elements to
_SATURATED = -1.0507009873554805 * 1.6732632423543772


def _scaled(x: Tensor, kept: Tensor, p: float) -> Tensor:
    return where(kept, x * (1 / (1 - p)), 0.0)


def _saturated(x: Tensor, kept: Tensor, p: float) -> Tensor:
    """Keep mean 0 and variance 1 (Klambauer et al., 2017)."""
    scale = 1 / math.sqrt((1 - p) * (1 + p * _SATURATED * _SATURATED))
    return where(kept, x, _SATURATED) * scale - scale * p * _SATURATED


def _drops(
    name: str, summary: str, apply: Callable[[Tensor, Tensor, float], Tensor], *, by_channel: bool = False,
    batched: int | None = None, ranks: Sequence[int] | None = None, training: bool = True,
) -> Callable[..., Tensor]:  # fmt: skip
    """Return a dropout function; inputs of another rank than `batched` have no batch axis."""
    default = training

    def drop(input: Any, p: float = 0.5, training: bool = default, inplace: bool = False) -> Tensor:
        x, p = as_operand(input, name), probability(p)
        if ranks is not None and x.ndim not in ranks:
            expected = " or ".join(map(str, ranks)) + " axes"
            raise ShapeError(message(f"{name} takes other axes", f"shape {x.shape}", expected, "use dropout"))
        if not training or p == 0:
            return x
        if by_channel and x.ndim < 2:
            raise ShapeError(message(f"{name} takes [N, C, ...]", f"shape {x.shape}", "at least two axes"))
        x = floating(x, name)
        if p == 1:
            result = x * 0.0
        else:
            channels = 2 if batched in (None, x.ndim) else 1
            shape = (*x.shape[:channels], *(1,) * (x.ndim - channels)) if by_channel else x.shape
            result = apply(x, random.bernoulli(default_generator.next_key(), 1 - p, shape), p)
        return assign(input, result, name) if inplace else result

    drop.__name__ = drop.__qualname__ = name
    shape = " [N, C, ...]" if by_channel else " of any shape"
    drop.__doc__ = _DOCUMENT.format(
        path=name if name == "feature_dropout" else f"nn.functional.{name}", summary=summary, shape=shape
    )
    return drop


_SCALED = "with probability `p`, and scale the others by 1 / (1 - p)"
_ALPHA = "to the limit of selu with probability `p`, keeping mean and variance (Klambauer et al., 2017)."
dropout = _drops("dropout", f"Set elements to zero {_SCALED} (Srivastava et al., 2014).", _scaled)
_CHANNELS = f"Set whole channels to zero {_SCALED} (Tompson et al., 2015)."
dropout1d = _drops("dropout1d", _CHANNELS, _scaled, by_channel=True, batched=3, ranks=(2, 3))
dropout2d = _drops("dropout2d", _CHANNELS, _scaled, by_channel=True)
dropout3d = _drops("dropout3d", _CHANNELS, _scaled, by_channel=True, batched=5)
feature_dropout = _drops("feature_dropout", _CHANNELS, _scaled, by_channel=True)
alpha_dropout = _drops("alpha_dropout", f"Set elements {_ALPHA}", _saturated, training=False)
feature_alpha_dropout = _drops(
    "feature_alpha_dropout", f"Set whole channels {_ALPHA}", _saturated, by_channel=True, training=False
)
dropout_, feature_dropout_, alpha_dropout_, feature_alpha_dropout_ = (
    writing(f, f"plait.{f.__name__}_") for f in (dropout, feature_dropout, alpha_dropout, feature_alpha_dropout)
)
