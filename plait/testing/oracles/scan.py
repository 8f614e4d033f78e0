"""NumPy references for the cumulative functions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from plait.testing.oracles.reduce import wide

Array = Any


def _along(function: Callable[[Array], Array], x: Array, axis: int, reverse: bool) -> Array:
    """Apply a cumulative function of axis 0."""
    x = np.moveaxis(x, axis, 0)
    result = function(x[::-1])[::-1] if reverse else function(x)
    return np.moveaxis(result, 0, axis)


def cumsum(x: Array, *, axis: int, reverse: bool = False) -> Array:
    """Running sum."""
    return _along(lambda v: np.cumsum(v, axis=0, dtype=v.dtype), wide(x), axis, reverse)


def cumprod(x: Array, *, axis: int, reverse: bool = False) -> Array:
    """Running product."""
    return _along(lambda v: np.cumprod(v, axis=0, dtype=v.dtype), wide(x), axis, reverse)


def cummax(x: Array, *, axis: int, reverse: bool = False) -> Array:
    """Running maximum."""
    return _along(lambda v: np.maximum.accumulate(v, axis=0), wide(x), axis, reverse)


def cummin(x: Array, *, axis: int, reverse: bool = False) -> Array:
    """Running minimum."""
    return _along(lambda v: np.minimum.accumulate(v, axis=0), wide(x), axis, reverse)


def cumlogsumexp(x: Array, *, axis: int, reverse: bool = False) -> Array:
    """Running log of the sum of exponentials."""
    if not np.iscomplexobj(x):
        return _along(lambda v: np.logaddexp.accumulate(v, axis=0), wide(x), axis, reverse)

    def accumulate(v: Array) -> Array:
        result = v.copy()
        for t in range(1, len(v)):
            is_larger = result[t - 1].real >= v[t].real
            large, small = np.where(is_larger, result[t - 1], v[t]), np.where(is_larger, v[t], result[t - 1])
            result[t] = large + np.log1p(np.exp(small - large))
        return result

    return _along(accumulate, wide(x), axis, reverse)


def cumlinear(a: Array, b: Array, *, axis: int, reverse: bool = False) -> Array:
    """The recurrence y[t] = a[t] y[t - 1] + b[t] with y[0] = b[0]."""

    def recur(pairs: Array) -> Array:
        result = pairs[:, 1].copy()
        for t in range(1, len(result)):
            result[t] += pairs[t, 0] * result[t - 1]
        return result

    a, b = (np.moveaxis(wide(v), axis, 0) for v in (a, b))
    result = _along(recur, np.stack([a, b], axis=1), 0, reverse)
    return np.moveaxis(result, 0, axis)
