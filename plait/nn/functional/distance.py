"""Distances and similarities of vectors."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from plait.core.errors import ArgumentError, ShapeError, message
from plait.nn.arguments import floating, narrowed, widened
from plait.tensor.composite import composite
from plait.tensor.functions import where
from plait.tensor.operators import promoted, to_float
from plait.tensor.reductions import norm, sum
from plait.tensor.selection import take
from plait.tensor.shaping import broadcast_tensors
from plait.tensor.tensor import Tensor, axis_index, wrap

__all__ = ["cosine_similarity", "pairwise_distance", "pdist"]


def _pair(x1: Any, x2: Any, name: str) -> tuple[Tensor, Tensor]:
    first, second = promoted((x1, x2), name, to_float)
    return wrap(first), wrap(second)


@composite
def cosine_similarity(x1: Any, x2: Any, dim: int = 1, eps: float = 1e-8) -> Tensor:
    """Return the cosine of the angle between vectors along an axis.

    Args:
        x1: a tensor.
        x2: a tensor whose shape broadcasts with that of `x1`.
        dim: the axis of the broadcast shape.
        eps: the smallest length of a vector; shorter ones count as having it.

    Returns:
        A tensor of the broadcast shape without `dim`.

    Raises:
        ShapeError: the shapes do not broadcast, or have no such axis.

    Example:
        >>> plait.nn.functional.cosine_similarity(plait.tensor([[1.0, 1.0]]), plait.tensor([[0.0, 2.0]]))
        tensor([0.7071])
    """
    first, second = _pair(x1, x2, "cosine_similarity")
    x, y = widened(first), widened(second)
    rank = max(x.ndim, y.ndim, 1)
    x, y = (t.reshape(*(1,) * (rank - t.ndim), *t.shape) for t in (x, y))
    axis = axis_index(dim, rank)
    # the lengths are taken before the vectors are broadcast against each other, but for their own axis
    if x.shape[axis] != y.shape[axis]:
        x, y = broadcast_tensors(x, y)
    lengths = [_length(t, axis, eps) for t in (x, y)]
    return narrowed(sum(x * y, axis) / math.prod(lengths), first.dtype)


def _length(x: Tensor, axis: int, eps: float) -> Tensor:
    """Return the length of vectors, at least `eps`; the limit passes the gradient on, as in PyTorch."""
    length = norm(x, 2, axis)
    return where(length < eps, eps + (length - length.detach()), length)


@composite
def pairwise_distance(x1: Any, x2: Any, p: float = 2.0, eps: float = 1e-6, keepdim: bool = False) -> Tensor:
    """Return the p-norm of `x1 - x2 + eps` over the last axis.

    Args:
        x1: vectors [..., D].
        x2: vectors of a shape that broadcasts.
        p: order of the norm.
        eps: keeps the gradient of equal vectors finite.
        keepdim: whether the last axis stays, with size 1.

    Returns:
        A tensor of the broadcast shape without the last axis.

    Raises:
        ShapeError: the shapes do not broadcast.

    Example:
        >>> plait.nn.functional.pairwise_distance(plait.zeros(1, 2), plait.tensor([[3.0, 4.0]]), eps=0.0)
        tensor([5.])
    """
    first, second = _pair(x1, x2, "pairwise_distance")
    distance = norm(widened(first) - widened(second) + eps, p, -1, keepdim)
    return narrowed(distance, first.dtype)


@composite
def pdist(input: Any, p: float = 2.0) -> Tensor:
    """Return the distances between all pairs of rows.

    Args:
        input: a matrix [N, D].
        p: order of the norm.

    Returns:
        A vector [N * (N - 1) / 2]: the distances of row 0 to those after it, then of row 1, and so on.

    Raises:
        ShapeError: the input is no matrix.
        ArgumentError: `p` is negative.

    Example:
        >>> plait.nn.functional.pdist(plait.tensor([[0.0], [1.0], [3.0]]))
        tensor([1., 3., 2.])
    """
    x = floating(input, "pdist")
    if x.ndim != 2:
        raise ShapeError(message("pdist takes a matrix", f"shape {x.shape}", "[N, D]"))
    if not p >= 0:
        raise ArgumentError(message("pdist has an order p", p, "a number of at least 0"))
    rows, columns = np.triu_indices(x.shape[0], 1)
    wide = widened(x)
    return narrowed(norm(take(wide, rows, 0) - take(wide, columns, 0), p, -1), x.dtype)
