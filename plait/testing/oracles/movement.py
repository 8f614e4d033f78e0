"""NumPy references of the movement primitives."""

from __future__ import annotations

from typing import Any

import numpy as np

Array = Any
Axes = tuple[int, ...]


def reshape(x: Array, shape: Axes) -> Array:
    """Row-major reshape."""
    return np.reshape(x, shape)


def broadcast(x: Array, shape: Axes, axes: Axes) -> Array:
    """Repeat: input axis k is axis `axes[k]` of the result."""
    sizes = [1] * len(shape)
    for axis, size in zip(axes, x.shape, strict=True):
        sizes[axis] = size
    return np.broadcast_to(np.reshape(x, sizes), shape)


def transpose(x: Array, permutation: Axes) -> Array:
    """Axis k of the result is axis `permutation[k]` of the operand."""
    return np.transpose(x, permutation)


def slice(x: Array, starts: Axes, limits: Axes, strides: Axes) -> Array:
    """x[starts:limits:strides] on every axis."""
    return x[tuple(np.s_[a:b:c] for a, b, c in zip(starts, limits, strides, strict=True))]


def pad(x: Array, value: Array, low: Axes, high: Axes, interior: Axes) -> Array:
    """Padding by `value` before, after and between the elements; negative `low` and `high` crop."""
    spread = [n + max(n - 1, 0) * between for n, between in zip(x.shape, interior, strict=True)]
    padded = np.full([n + max(a, 0) + max(b, 0) for n, a, b in zip(spread, low, high, strict=True)], value, x.dtype)
    rows = zip(spread, low, interior, strict=True)
    padded[tuple(np.s_[max(a, 0) : max(a, 0) + n : between + 1] for n, a, between in rows)] = x
    return padded[tuple(np.s_[max(-a, 0) : n + min(b, 0)] for n, a, b in zip(padded.shape, low, high, strict=True))]


def concatenate(*operands: Array, axis: int) -> Array:
    """The operands, one after another."""
    return np.concatenate(operands, axis)


def reverse(x: Array, axes: Axes) -> Array:
    """The operand with the order along some axes reversed."""
    return np.flip(x, axes)


def iota(dtype: Any, shape: Axes, axis: int) -> Array:
    """0, 1, 2, … along one axis."""
    values = np.arange(shape[axis]).astype(dtype.numpy)
    return broadcast(values, shape, (axis,))
