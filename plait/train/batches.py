"""What can be trained on: loaders, other iterables of batches, and whole arrays that are cut into batches here."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np

from plait.core import tree
from plait.core.errors import ArgumentError, ArgumentTypeError, ShapeError, message
from plait.tensor.tensor import Tensor


class ArrayBatches:
    """Arrays of equal length, cut into batches.

    Args:
        arrays: an array or tensor, or a tuple of some.
        batch_size: how many samples a batch has; the last one may have fewer.
        shuffle: whether each epoch has an order of its own: that of
            `np.random.default_rng((seed, epoch)).permutation(length)`.
        seed: see `shuffle`.

    Raises:
        ShapeError: the arrays have different lengths, or none.
        ArgumentError: `batch_size` is below 1.
    """

    def __init__(self, arrays: Any, batch_size: int = 32, shuffle: bool = False, seed: int = 0) -> None:
        parts = arrays if isinstance(arrays, tuple) else (arrays,)
        lengths = [len(part) if np.ndim(part) else 0 for part in parts]
        if len(set(lengths)) != 1 or not lengths[0]:
            raise ShapeError(message("Arrays of samples have one length", f"lengths {lengths}", "equal, at least 1"))
        if batch_size < 1:
            raise ArgumentError(message("A batch has samples", f"batch_size={batch_size}", "at least 1"))
        self.arrays = tuple(p.detach().numpy() if isinstance(p, Tensor) else p for p in parts)
        self.is_single = not isinstance(arrays, tuple)
        self.length, self.batch_size, self.shuffle, self.seed, self.epoch = lengths[0], batch_size, shuffle, seed, 0

    def __len__(self) -> int:
        return -(-self.length // self.batch_size)

    def set_epoch(self, epoch: int) -> None:
        """Choose the order of the next pass."""
        self.epoch = epoch

    def __iter__(self) -> Iterator[Any]:
        order = np.random.default_rng((self.seed, self.epoch)).permutation(self.length) if self.shuffle else None
        for start in range(0, self.length, self.batch_size):
            chosen = slice(start, start + self.batch_size) if order is None else order[start : start + self.batch_size]
            batch = tuple(array[chosen] for array in self.arrays)
            yield batch[0] if self.is_single else batch


def batches_of(data: Any, batch_size: int, shuffle: bool, seed: int) -> Any:
    """Return `data` as something that yields batches each time it is iterated over.

    Raises:
        ArgumentTypeError: it is no array and cannot be iterated over.
    """
    is_array = isinstance(data, (np.ndarray, Tensor))
    if is_array or isinstance(data, tuple) and data and all(isinstance(a, (np.ndarray, Tensor)) for a in data):
        return ArrayBatches(data, batch_size, shuffle, seed)
    if not isinstance(data, Iterable) or isinstance(data, (str, bytes, Mapping)):
        expected = "a DataLoader, an iterable of batches, or a tuple of arrays (x, y)"
        raise ArgumentTypeError(message("This is no data to train on", type(data).__name__, expected))
    return data


def count_of(batches: Any) -> int | None:
    """Return how many batches there are, if that is known."""
    try:
        return len(batches)
    except TypeError:
        return None


def samples_of(batch: Any) -> int:
    """Return how many samples a batch has: the length of its first array."""
    first = batch
    while isinstance(first, (tuple, list, Mapping)) and first:
        first = next(iter(first.values())) if isinstance(first, Mapping) else first[0]
    shape = getattr(first, "shape", ())
    return int(shape[0]) if shape else 1


def joined(parts: list[Any]) -> Any:
    """Return results of batches as one: pytrees whose tensors are joined along the first axis, as arrays."""
    leaves = [tree.flatten(part) for part in parts]
    columns = zip(*[values for values, _ in leaves], strict=True)
    whole = [np.concatenate([np.atleast_1d(value.numpy()) for value in column]) for column in columns]
    return tree.unflatten(leaves[0][1], whole)
