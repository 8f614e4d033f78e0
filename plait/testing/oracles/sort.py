"""NumPy references for sorting."""

from __future__ import annotations

from typing import Any

import numpy as np

from plait.testing.oracles.reduce import wide

Array = Any


def _rank(x: Array, axis: int) -> Array:
    """Replace each element by its rank along `axis`: equal elements, and all NaN, have one rank."""
    ordered = np.sort(wide(x), axis=axis)
    rank = np.empty(x.shape, np.int64)
    for line in np.ndindex(*x.shape[:axis], *x.shape[axis + 1 :]):
        at = (*line[:axis], slice(None), *line[axis:])
        rank[at] = np.searchsorted(ordered[at], wide(x)[at])
    return rank


def permutation(keys: list[Array], axis: int, descending: bool) -> Array:
    """The stable order of lexicographic keys, NaN greatest."""
    ranks = [_rank(key, axis) for key in keys]
    return np.lexsort([-r if descending else r for r in reversed(ranks)], axis=axis)


def sort(*operands: Array, axis: int, keys: int = 1, descending: bool = False) -> tuple[Array, ...]:
    """The operands, sorted by the first `keys` of them."""
    order = permutation([np.asarray(x) for x in operands[:keys]], axis, descending)
    return tuple(np.take_along_axis(np.asarray(x), order, axis) for x in operands)


def argsort(x: Array, *, axis: int, descending: bool = False) -> Array:
    """The positions of the sorted elements."""
    return permutation([np.asarray(x)], axis, descending)


def top_k(x: Array, *, k: int, axis: int, largest: bool = True) -> tuple[Array, Array]:
    """The first k elements in order, and their positions."""
    order = np.take(permutation([np.asarray(x)], axis, largest), np.arange(k), axis=axis)
    return np.take_along_axis(np.asarray(x), order, axis), order


def order_statistic(x: Array, rank: Array, *, axis: int) -> Array:
    """The elements of a rank in order."""
    place = np.clip(rank, 0, x.shape[axis] - 1)
    return np.take_along_axis(sort(x, axis=axis)[0], place, axis)


def shuffle(first: Array, second: Array) -> Array:
    """Places in the order of their buckets, exchanged within each."""
    result = np.empty(first.shape, np.int64)
    n = first.shape[-1]
    bits = min(11, max(0, (n - 1) // 1024).bit_length())
    for at in np.ndindex(*first.shape[:-1]):
        bucket = first[at].astype(np.uint64) >> np.uint64(32 - bits)
        line = np.argsort(bucket, kind="stable")
        start = 0
        for size in np.bincount(bucket.astype(np.int64), minlength=1):
            for k in range(size):
                other = start + (int(second[at][start + k]) * (k + 1) >> 32)
                line[start + k], line[other] = line[other], line[start + k]
            start += size
        result[at] = line
    return result
