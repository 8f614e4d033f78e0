"""Dropout."""

from __future__ import annotations

from typing import Any

from plait import random
from plait.nn.arguments import floating, probability
from plait.nn.module import Module
from plait.sampling import default_generator
from plait.tensor.functions import where
from plait.tensor.tensor import Tensor


def dropout(input: Any, p: float = 0.5, training: bool = True) -> Tensor:
    """Set elements to zero with probability `p`, and scale the others by 1 / (1 - p) (Srivastava et al., 2014).

    Args:
        input: a tensor of any shape.
        p: the probability.
        training: where False, the input is returned as it is.

    Returns:
        A tensor of the shape of `input`; which elements are kept comes from the default generator.

    Raises:
        ArgumentError: `p` is no probability.

    Example:
        >>> plait.nn.functional.dropout(plait.ones(2), 0.5, training=False)
        tensor([1., 1.])
    """
    x, p = floating(input, "dropout"), probability(p)
    if not training or p == 0:
        return x
    if p == 1:
        return x * 0.0
    kept = random.bernoulli(default_generator.next_key(), 1 - p, x.shape)
    return where(kept, x * (1 / (1 - p)), 0.0)


class Dropout(Module):
    """Sets elements to zero with probability `p` in training mode, and scales the others by 1 / (1 - p).

    Args:
        p: the probability.

    Example:
        >>> plait.nn.Dropout(0.5).eval()(plait.ones(2))
        tensor([1., 1.])
    """

    def __init__(self, p: float = 0.5) -> None:
        self.p = probability(p)

    def forward(self, input: Tensor) -> Tensor:
        return dropout(input, self.p, self.training)

    def extra_repr(self) -> str:
        return f"p={self.p}"
