"""Datasets with PyTorch's names: samples by index (`Dataset`) or one after the other (`IterableDataset`).

A dataset may have a method `collated(indices)` that returns the batch which `default_collate` would make of those
samples, in one go; the loader uses it where it applies.
"""

from __future__ import annotations

import bisect
import itertools
import math
import pickle
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Generic, TypeVar

import numpy as np

from plait.core.errors import ArgumentError, ArgumentTypeError, IndexOutOfRangeError, ShapeError, message
from plait.data.streams import generator_of
from plait.sampling import Generator, default_generator
from plait.tensor.creation import as_tensor
from plait.tensor.tensor import Tensor

Sample = TypeVar("Sample", covariant=True)


class Dataset(Generic[Sample]):
    """Samples by index: a subclass has `__getitem__` and, for most samplers, `__len__`.

    `first + second` is a `ConcatDataset`.

    Example:
        >>> class Squares(plait.data.Dataset):
        ...     def __len__(self):
        ...         return 3
        ...     def __getitem__(self, index):
        ...         return index**2
        >>> [batch.tolist() for batch in plait.data.DataLoader(Squares(), batch_size=2)]
        [[0, 1], [4]]
    """

    def __getitem__(self, index: Any) -> Sample:
        fix = "define __getitem__(self, index), or derive from IterableDataset"
        raise NotImplementedError(message(f"{type(self).__name__} has no samples by index", fix=fix))

    def __add__(self, other: Dataset[Any]) -> ConcatDataset:
        return ConcatDataset([self, other])


class IterableDataset(Dataset[Sample]):
    """Samples one after the other: a subclass has `__iter__`.

    Each worker iterates over a copy of its own: `get_worker_info()` says which part is its. An iterator may have a
    method `skip(count)` that passes over samples faster than making them; resuming in mid-epoch uses it. A dataset with
    an attribute `num_streams` is always divided into that many parts, so that its order is the same for all numbers of
    workers up to that.

    `first + second` is a `ChainDataset`.

    Example:
        >>> class Count(plait.data.IterableDataset):
        ...     def __iter__(self):
        ...         yield from range(3)
        >>> [batch.tolist() for batch in plait.data.DataLoader(Count(), batch_size=2)]
        [[0, 1], [2]]
    """

    def __iter__(self) -> Iterator[Sample]:
        text = f"{type(self).__name__} has no samples to iterate over"
        raise NotImplementedError(message(text, fix="define __iter__(self)"))

    def __add__(self, other: Dataset[Any]) -> ChainDataset:  # type: ignore[override]
        return ChainDataset([self, other])


def length_of(dataset: Any, what: str) -> int:
    """Return the number of samples; raises `ArgumentTypeError` where `what` needs it and there is none."""
    try:
        return len(dataset)
    except (TypeError, NotImplementedError):
        text = f"{what} needs the number of samples"
        received = f"a {type(dataset).__name__}, which has no length"
        raise ArgumentTypeError(message(text, received, "a dataset with __len__")) from None


def same_length(parts: Sequence[Any], names: Iterable[Any], what: str) -> int:
    """Return the number of samples that all parts have; raises `ShapeError` where it differs."""
    if not parts:
        raise ArgumentError(message(f"{what} is made of at least one part", "none"))
    lengths = [length_of(part, what) for part in parts]
    if len(set(lengths)) > 1:
        received = ", ".join(f"{name}: {n}" for name, n in zip(names, lengths, strict=True))
        raise ShapeError(message(f"{what} takes parts with one number of samples", received, "equal lengths"))
    return lengths[0]


class TensorDataset(Dataset[tuple[Tensor, ...]]):
    """Samples that are rows of tensors.

    Args:
        tensors: tensors or arrays of one length; sample i is the tuple of their rows i.

    Raises:
        ArgumentError: there is none.
        ShapeError: their lengths differ.

    Example:
        >>> dataset = plait.data.TensorDataset(plait.arange(6).reshape(3, 2), plait.tensor([0, 1, 0]))
        >>> dataset[1]
        (tensor([2, 3]), tensor(1))
    """

    def __init__(self, *tensors: Any) -> None:
        self.tensors = tuple([as_tensor(t) for t in tensors])
        rows = [() if t.ndim == 0 else t._array() for t in self.tensors]  # computed here, not in the workers
        self._length = same_length(rows, range(len(rows)), "TensorDataset")

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, index: Any) -> tuple[Tensor, ...]:
        return tuple([as_tensor(t._array()[index]) for t in self.tensors])

    def collated(self, indices: Sequence[int]) -> list[Tensor]:
        """Return the rows of several samples."""
        return [as_tensor(t._array()[indices]) for t in self.tensors]


class StackDataset(Dataset[Any]):
    """Samples put together from those of several datasets.

    Args:
        args: datasets of one length; a sample is the tuple of their samples.
        kwargs: or datasets by name; a sample is the dict of their samples.

    Raises:
        ArgumentError: there are no datasets, or both kinds.
        ShapeError: their lengths differ.

    Example:
        >>> plait.data.StackDataset(text=["a", "b"], label=[0, 1])[1]
        {'text': 'b', 'label': 1}
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        if args and kwargs:
            raise ArgumentError(
                message("StackDataset makes tuples or dicts", "both", "datasets either all named or none")
            )
        self.datasets: Any = kwargs or args
        self._length = same_length(kwargs and [*kwargs.values()] or args, kwargs or range(len(args)), "StackDataset")

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, index: Any) -> Any:
        if isinstance(self.datasets, dict):
            return {name: dataset[index] for name, dataset in self.datasets.items()}
        return tuple([dataset[index] for dataset in self.datasets])


class ConcatDataset(Dataset[Any]):
    """The samples of several datasets, one after the other.

    Args:
        datasets: datasets with a length.

    Raises:
        ArgumentError: there is none.
        ArgumentTypeError: one is iterable only.

    Example:
        >>> both = plait.data.ConcatDataset([[1, 2], [3]])
        >>> len(both), both[2], both[-1]
        (3, 3, 3)
    """

    def __init__(self, datasets: Iterable[Any]) -> None:
        self.datasets = list(datasets)
        if not self.datasets:
            raise ArgumentError(message("ConcatDataset is made of at least one dataset", "none"))
        for dataset in self.datasets:
            if isinstance(dataset, IterableDataset):
                fix = "chain them with ChainDataset"
                raise ArgumentTypeError(
                    message("ConcatDataset needs samples by index", type(dataset).__name__, fix=fix)
                )
        self.cumulative_sizes = list(itertools.accumulate(length_of(d, "ConcatDataset") for d in self.datasets))

    def __len__(self) -> int:
        return self.cumulative_sizes[-1]

    def __getitem__(self, index: int) -> Any:
        dataset, inner = self.locate(index)
        return dataset[inner]

    def locate(self, index: int) -> tuple[Any, int]:
        """Return the dataset that a sample belongs to, and its index there."""
        position = index + len(self) if index < 0 else index
        if not 0 <= position < len(self):
            raise IndexOutOfRangeError(message("There is no such sample", index, f"less than {len(self)}"))
        which = bisect.bisect_right(self.cumulative_sizes, position)
        return self.datasets[which], position - (self.cumulative_sizes[which - 1] if which else 0)


class ChainDataset(IterableDataset[Any]):
    """The samples of several iterable datasets, one dataset after the other.

    Args:
        datasets: iterable datasets.

    Example:
        >>> list(plait.data.ChainDataset([[1, 2], [3]]))
        [1, 2, 3]
    """

    def __init__(self, datasets: Iterable[Any]) -> None:
        self.datasets = datasets

    def __iter__(self) -> Iterator[Any]:
        return itertools.chain.from_iterable(self.datasets)

    def __len__(self) -> int:
        return sum(length_of(dataset, "ChainDataset") for dataset in self.datasets)


class Subset(Dataset[Any]):
    """Some samples of a dataset.

    Args:
        dataset: the dataset.
        indices: which samples, in which order.

    Example:
        >>> plait.data.Subset("abcd", [3, 1])[0]
        'd'
    """

    def __init__(self, dataset: Any, indices: Sequence[int]) -> None:
        self.dataset, self.indices = dataset, indices

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, list):
            return self.dataset[[self.indices[i] for i in index]]
        return self.dataset[self.indices[index]]

    def __getitems__(self, indices: Sequence[int]) -> list[Any]:
        inner = [self.indices[i] for i in indices]
        several = getattr(self.dataset, "__getitems__", None)
        return several(inner) if several else [self.dataset[i] for i in inner]


def random_split(
    dataset: Any, lengths: Sequence[float], generator: Generator | None = default_generator
) -> list[Subset]:
    """Divide a dataset at random into parts that have no sample in common.

    Args:
        dataset: a dataset with a length.
        lengths: numbers of samples, which add up to all of them; or fractions, which add up to 1.
        generator: the source of randomness, by default the one that `plait.manual_seed` seeds.

    Returns:
        A `Subset` for each length.

    Raises:
        ArgumentError: the lengths do not add up.

    Example:
        >>> train, test = plait.data.random_split(range(10), [0.8, 0.2])
        >>> len(train), len(test), sorted([*train, *test]) == list(range(10))
        (8, 2, True)
    """
    total = length_of(dataset, "random_split")
    counts = list(lengths)
    if any(isinstance(n, float) for n in counts) and math.isclose(sum(counts), 1) and min(counts) >= 0:
        counts = [int(math.floor(total * fraction)) for fraction in counts]
        for i in range(total - sum(counts)):  # what rounding left over goes to the parts in turn, as in PyTorch
            counts[i % len(counts)] += 1
    if sum(counts) != total or any(n != int(n) or n < 0 for n in counts):
        expected = f"numbers of samples that add up to {total}, or fractions that add up to 1"
        raise ArgumentError(message("The lengths do not divide the dataset", list(lengths), expected))
    order = generator_of(generator).permutation(total).tolist()
    ends = list(itertools.accumulate(int(n) for n in counts))
    return [Subset(dataset, order[end - int(n) : end]) for end, n in zip(ends, counts, strict=True)]


class PackedList(Dataset[Any]):
    """A list of values that is kept as bytes in one array, so that worker processes share its memory.

    Workers that look at Python objects copy the memory that they are in (their reference counts are written), so each
    worker ends up with a copy of a long list of strings. One array is not copied.

    Args:
        values: anything that can be pickled, e.g. file names or records.

    Example:
        >>> names = plait.data.PackedList(["cat.png", "dog.png"])
        >>> names[-1], len(names)
        ('dog.png', 2)
    """

    def __init__(self, values: Iterable[Any]) -> None:
        ends, parts = [0], bytearray()
        for value in values:
            parts += pickle.dumps(value, pickle.HIGHEST_PROTOCOL)
            ends.append(len(parts))
        self._ends, self._bytes = np.array(ends, np.int64), np.frombuffer(parts, np.uint8)

    def __len__(self) -> int:
        return len(self._ends) - 1

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        position = index + len(self) if index < 0 else index
        if not 0 <= position < len(self):
            raise IndexOutOfRangeError(message("There is no such value", index, f"less than {len(self)}"))
        return pickle.loads(self._bytes[self._ends[position] : self._ends[position + 1]].data)
