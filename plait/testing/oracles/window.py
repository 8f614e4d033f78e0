"""NumPy references for reductions over windows."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from plait.testing.oracles.reduce import wide

Array = Any
Ints = tuple[int, ...]
Pairs = tuple[tuple[int, int], ...]


def _windows(shape: Ints, window: Ints, strides: Ints, padding: Pairs, window_dilation: Ints) -> Ints:
    rows = zip(shape, window, strides, padding, window_dilation, strict=True)
    return tuple((n + low + high - (w - 1) * d - 1) // s + 1 for n, w, s, (low, high), d in rows)


def _elements(
    shape: Ints, window: Ints, strides: Ints, padding: Pairs, window_dilation: Ints
) -> Iterator[tuple[Ints, list[tuple[int, Ints]]]]:
    """Yield each window and its elements: (flat position in the window, index in the operand), padding left out."""
    lows = [low for low, _ in padding]
    for index in np.ndindex(*_windows(shape, window, strides, padding, window_dilation)):
        found = []
        for flat, offset in enumerate(np.ndindex(*window)):
            rows = zip(index, strides, offset, window_dilation, lows, strict=True)
            place = tuple(i * s + k * d - low for i, s, k, d, low in rows)
            if all(0 <= p < n for p, n in zip(place, shape, strict=True)):
                found.append((flat, place))
        yield index, found


def _reduce(function: Any, identity: Any, x: Array, **geometry: Any) -> Array:
    result = np.empty(_windows(x.shape, **geometry), x.dtype)
    for index, elements in _elements(x.shape, **geometry):
        values = np.array([identity, *[x[place] for _, place in elements]], x.dtype)
        result[index] = function.reduce(values, dtype=x.dtype)
    return result


def _limit(x: Array, sign: int) -> Any:
    if x.dtype.kind not in "iu":
        return sign * np.inf
    return np.iinfo(x.dtype).max if sign > 0 else np.iinfo(x.dtype).min


def reduce_window_sum(x: Array, **geometry: Any) -> Array:
    """Sum of each window."""
    return _reduce(np.add, 0, wide(x), **geometry)


def reduce_window_prod(x: Array, **geometry: Any) -> Array:
    """Product of each window."""
    return _reduce(np.multiply, 1, wide(x), **geometry)


def reduce_window_max(x: Array, **geometry: Any) -> Array:
    """Greatest element of each window."""
    return _reduce(np.maximum, _limit(wide(x), -1), wide(x), **geometry)


def reduce_window_min(x: Array, **geometry: Any) -> Array:
    """Least element of each window."""
    return _reduce(np.minimum, _limit(wide(x), 1), wide(x), **geometry)


def _position(choose: Any, x: Array, **geometry: Any) -> Array:
    result = np.full(_windows(x.shape, **geometry), -1, np.int64)
    for index, elements in _elements(x.shape, **geometry):
        if elements:
            result[index] = elements[int(choose(np.array([x[place] for _, place in elements])))][0]
    return result


def window_argmax(x: Array, **geometry: Any) -> Array:
    """Flat position in each window of its first greatest element or NaN; -1 where there is none."""
    return _position(np.argmax, wide(x), **geometry)


def window_argmin(x: Array, **geometry: Any) -> Array:
    """Flat position in each window of its first least element or NaN; -1 where there is none."""
    return _position(np.argmin, wide(x), **geometry)


def window_take(x: Array, position: Array, **geometry: Any) -> Array:
    """The element at a position in each window, 0 outside the operand."""
    result = np.zeros(position.shape, x.dtype)
    for index, elements in _elements(x.shape, **geometry):
        for flat, place in elements:
            if flat == position[index]:
                result[index] = x[place]
    return result


def window_put(y: Array, position: Array, *, shape: Ints, **geometry: Any) -> Array:
    """Each element is the sum of the windows that take it."""
    y = wide(y)
    result = np.zeros(shape, y.dtype)
    for index, elements in _elements(shape, **geometry):
        for flat, place in elements:
            if flat == position[index]:
                result[place] += y[index]
    return result
