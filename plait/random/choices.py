"""Draws from given elements, with or without replacement."""

from __future__ import annotations

from math import prod
from typing import Any

from plait.core.dtype import float32
from plait.core.errors import ArgumentError, ShapeError, message
from plait.random.basic import gumbel, permutation, randint, uniform
from plait.random.keys import Shape
from plait.tensor.api import asarray, cumsum, log, searchsorted, take, topk
from plait.tensor.shaping import new_shape
from plait.tensor.tensor import Tensor, axis_index


def choice(key: Any, a: Any, shape: Shape = (), replace: bool = True, p: Any = None, axis: int = 0) -> Tensor:
    """Draw elements of a tensor, or numbers below an integer.

    Args:
        key: a key.
        a: a tensor, or an integer n for the numbers 0 ... n - 1.
        shape: how many, as sizes.
        replace: whether an element can be drawn again.
        p: probabilities of the elements; by default all are equal.
        axis: the axis of `a` along which elements are drawn.

    Returns:
        A tensor of `shape`, in the place of `axis` if `a` is a tensor.

    Raises:
        ArgumentError: more elements are drawn without replacement than there are.
        ShapeError: `p` has another length than the axis.

    Example:
        >>> plait.random.choice(plait.random.key(0), 5, (3,), replace=False)
        tensor([0, 1, 4])
    """
    is_number = hasattr(a, "__index__") and not isinstance(a, Tensor)
    x = None if is_number else asarray(a)
    axis = 0 if x is None else axis_index(axis, x.ndim)
    count = int(a) if x is None else x.shape[axis]
    sizes = new_shape((shape,))
    draws = prod(sizes)
    if draws and (count < 1 or (not replace and draws > count)):
        received = f"{draws} of {count}"
        raise ArgumentError(message("choice cannot draw so many", received, None, "pass replace=True"))
    if p is not None and asarray(p).shape != (count,):
        raise ShapeError(message("choice: p has one probability for each element", asarray(p).shape, (count,)))
    found = _positions(key, count, sizes, draws, replace, p)
    if x is None:
        return found.reshape(sizes)
    return take(x, found.reshape(-1), axis).reshape((*x.shape[:axis], *sizes, *x.shape[axis + 1 :]))


def _positions(key: Any, count: int, sizes: tuple[int, ...], draws: int, replace: bool, p: Any) -> Tensor:
    if p is None:
        return randint(key, sizes, 0, count) if replace else permutation(key, count)[:draws]
    p = asarray(p)
    p = p if p.dtype.is_floating else p.to(float32)
    if not replace:
        return topk(gumbel(key, (count,), p.dtype) + log(p), draws)[1]
    total = cumsum(p)
    return searchsorted(total, total[-1] * (1 - uniform(key, sizes, p.dtype)))
