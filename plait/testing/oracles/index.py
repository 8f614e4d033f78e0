"""NumPy references of gather, the scatters and the dynamic slices: one element at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

Array = Any
Axes = tuple[int, ...]


def _widen(x: Array) -> Array:
    if x.dtype.kind in "biu":
        return x.copy()
    return x.astype(np.complex128 if x.dtype.kind == "c" else np.float64)


def _places(shape: Axes, indices: tuple[Array, ...], axes: Axes) -> Iterator[tuple[Axes, Any, bool]]:
    """Yield (position in the index arrays, selection in the operand, whether it is inside)."""
    for at in np.ndindex(indices[0].shape):
        found = {axis: int(index[at]) for axis, index in zip(axes, indices, strict=True)}
        inside = all(0 <= position < shape[axis] for axis, position in found.items())
        yield at, tuple(found.get(k, np.s_[:]) for k in range(len(shape))), inside


def gather(operand: Array, *indices: Array, axes: Axes, mode: str) -> Array:
    """operand[indices] along `axes`, clamped or 0 where an index is outside."""
    rest = tuple(n for k, n in enumerate(operand.shape) if k not in axes)
    if mode == "clip":
        indices = tuple(np.clip(i, 0, operand.shape[a] - 1) for i, a in zip(indices, axes, strict=True))
    result = np.zeros(indices[0].shape + rest, operand.dtype)
    for at, selection, inside in _places(operand.shape, indices, axes):
        if inside:
            result[at] = operand[selection]
    return result


def _scatter(combine: Callable[[Array, Array], Array], exact: bool = False) -> Callable[..., Array]:
    def scatter(operand: Array, updates: Array, *indices: Array, axes: Axes) -> Array:
        result = operand.copy() if exact else _widen(operand)
        new = updates if exact else _widen(updates)
        with np.errstate(all="ignore"):
            for at, selection, inside in _places(operand.shape, indices, axes):
                if inside:
                    result[selection] = combine(result[selection], new[at])
        return result

    return scatter


scatter_set = _scatter(lambda old, new: new, exact=True)
scatter_add = _scatter(np.add)
scatter_mul = _scatter(np.multiply)
scatter_min = _scatter(np.minimum)
scatter_max = _scatter(np.maximum)


def _window(shape: Axes, starts: tuple[Array, ...], sizes: Axes) -> Any:
    first = [min(max(int(s), 0), n - size) for s, n, size in zip(starts, shape, sizes, strict=True)]
    return tuple(np.s_[a : a + size] for a, size in zip(first, sizes, strict=True))


def dynamic_slice(x: Array, *starts: Array, sizes: Axes) -> Array:
    """The window of `sizes` at `starts`, moved to be inside."""
    return x[_window(x.shape, starts, sizes)]


def dynamic_update_slice(x: Array, update: Array, *starts: Array) -> Array:
    """`x` with the window at `starts`, moved to be inside, replaced by `update`."""
    result = x.copy()
    result[_window(x.shape, starts, update.shape)] = update
    return result
