"""NumPy references for the reductions."""

from __future__ import annotations

from typing import Any

import numpy as np

from plait.core.dtype import DType, int64

Array = Any


def wide(x: Array) -> Array:
    """Return a float array in float64, a complex one in complex128; others as they are."""
    x = np.asarray(x)
    return x if x.dtype.kind in "biu" else x.astype(np.complex128 if x.dtype.kind == "c" else np.float64)


def sum_(x: Array, *, axes: tuple[int, ...]) -> Array:
    """The sum; integers wrap in their own type."""
    x = wide(x)
    return np.sum(x, axis=axes, dtype=x.dtype)


def prod(x: Array, *, axes: tuple[int, ...]) -> Array:
    """The product; integers wrap in their own type."""
    x = wide(x)
    return np.prod(x, axis=axes, dtype=x.dtype)


def max_(x: Array, *, axes: tuple[int, ...]) -> Array:
    """The greatest element."""
    return np.max(wide(x), axis=axes)


def min_(x: Array, *, axes: tuple[int, ...]) -> Array:
    """The least element."""
    return np.min(wide(x), axis=axes)


def any_(x: Array, *, axes: tuple[int, ...]) -> Array:
    """Whether any element is true."""
    return np.any(x, axis=axes)


def all_(x: Array, *, axes: tuple[int, ...]) -> Array:
    """Whether all elements are true."""
    return np.all(x, axis=axes)


def argmax(x: Array, *, axis: int, dtype: DType = int64) -> Array:
    """Position of the first greatest element or NaN."""
    return np.argmax(wide(x), axis=axis).astype(dtype.numpy)


def argmin(x: Array, *, axis: int, dtype: DType = int64) -> Array:
    """Position of the first least element or NaN."""
    return np.argmin(wide(x), axis=axis).astype(dtype.numpy)


def softmax(x: Array, *, axis: int, empty: bool = False) -> Array:
    """Exponentials divided by their sum; no line of the samples is empty."""
    x = wide(x)
    scaled = np.exp(x - x.max(axis, keepdims=True)) if x.size else x
    return scaled / scaled.sum(axis, keepdims=True)
