"""Dropout as a module."""

from __future__ import annotations

from plait.nn.arguments import probability
from plait.nn.functional.dropout import dropout
from plait.nn.module import Module
from plait.tensor.tensor import Tensor


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
