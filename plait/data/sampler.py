"""Samplers: the order in which samples are taken, and how they form batches.

Without a generator of its own a sampler follows the seed and epoch of its `DataLoader`, or `plait.manual_seed` outside
of one.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Generic, TypeVar

import numpy as np

from plait.core.errors import ArgumentError, ArgumentTypeError, message
from plait.data.dataset import length_of
from plait.data.streams import current_epoch, generator_of
from plait.sampling import Generator

Index = TypeVar("Index", covariant=True)


class Sampler(Generic[Index]):
    """The base of samplers: a subclass has `__iter__`, which gives indices or lists of them, and perhaps `__len__`.

    Example:
        >>> class Backwards(plait.data.Sampler):
        ...     def __iter__(self):
        ...         return iter([2, 1, 0])
        >>> [batch.tolist() for batch in plait.data.DataLoader("abc".encode(), sampler=Backwards())]
        [[99], [98], [97]]
    """

    def __iter__(self) -> Iterator[Index]:
        text = f"{type(self).__name__} gives no indices"
        raise NotImplementedError(message(text, fix="define __iter__(self)"))


def _count(value: Any, name: str) -> int:
    if isinstance(value, bool) or not hasattr(value, "__index__"):
        raise ArgumentTypeError(message(f"{name} is an integer", repr(value), "a positive integer"))
    if value < 1:
        raise ArgumentError(message(f"{name} is positive", value, "at least 1"))
    return int(value)


class SequentialSampler(Sampler[int]):
    """All samples in their order.

    Example:
        >>> list(plait.data.SequentialSampler("abc"))
        [0, 1, 2]
    """

    def __init__(self, data_source: Any) -> None:
        self.data_source = data_source

    def __len__(self) -> int:
        return length_of(self.data_source, "SequentialSampler")

    def __iter__(self) -> Iterator[int]:
        return iter(range(len(self)))


class RandomSampler(Sampler[int]):
    """Samples in random order.

    Args:
        data_source: the dataset.
        replacement: whether a sample can be drawn again.
        num_samples: how many are drawn, by default as many as there are.
        generator: the source of randomness.

    Raises:
        ArgumentError: `num_samples` is not positive.

    Example:
        >>> sorted(plait.data.RandomSampler("abc"))
        [0, 1, 2]
    """

    def __init__(
        self, data_source: Any, replacement: bool = False, num_samples: int | None = None,
        generator: Generator | None = None,
    ) -> None:  # fmt: skip
        self.data_source, self.replacement, self.generator = data_source, replacement, generator
        self._num_samples = num_samples if num_samples is None else _count(num_samples, "num_samples")

    @property
    def num_samples(self) -> int:
        """How many samples are drawn."""
        return length_of(self.data_source, "RandomSampler") if self._num_samples is None else self._num_samples

    def __len__(self) -> int:
        return self.num_samples

    def __iter__(self) -> Iterator[int]:
        random, total = generator_of(self.generator), length_of(self.data_source, "RandomSampler")
        if not self.num_samples:
            return iter(())
        if not total:
            raise ArgumentError(message("There is nothing to draw samples from", "an empty dataset"))
        if self.replacement:
            return iter(random.integers(total, size=self.num_samples).tolist())
        rounds = -(-self.num_samples // total)
        return iter(np.concatenate([random.permutation(total) for _ in range(rounds)])[: self.num_samples].tolist())


class SubsetRandomSampler(Sampler[int]):
    """Some samples, in random order.

    Args:
        indices: which samples.
        generator: the source of randomness.

    Example:
        >>> sorted(plait.data.SubsetRandomSampler([7, 3, 5]))
        [3, 5, 7]
    """

    def __init__(self, indices: Sequence[int], generator: Generator | None = None) -> None:
        self.indices, self.generator = indices, generator

    def __len__(self) -> int:
        return len(self.indices)

    def __iter__(self) -> Iterator[int]:
        return iter([self.indices[i] for i in generator_of(self.generator).permutation(len(self.indices))])


class WeightedRandomSampler(Sampler[int]):
    """Samples drawn with probabilities in proportion to weights.

    Args:
        weights: one number for each sample; they need not add up to 1.
        num_samples: how many are drawn.
        replacement: whether a sample can be drawn again.
        generator: the source of randomness.

    Raises:
        ArgumentError: a weight is negative or not finite, or more are drawn than there are without replacement.

    Example:
        >>> list(plait.data.WeightedRandomSampler([0.0, 1.0], 3))
        [1, 1, 1]
    """

    def __init__(
        self, weights: Any, num_samples: int, replacement: bool = True, generator: Generator | None = None
    ) -> None:
        self.weights = np.asarray(weights, np.float64)
        self.num_samples, self.replacement, self.generator = _count(num_samples, "num_samples"), replacement, generator
        if self.weights.ndim != 1 or not np.isfinite(self.weights).all() or (self.weights < 0).any():
            received = f"{self.weights.shape}: {np.array2string(self.weights, threshold=6)}"
            raise ArgumentError(message("Weights are a vector of numbers", received, "finite, not negative"))
        possible = np.count_nonzero(self.weights)
        if not possible or not replacement and num_samples > possible:
            received = f"{num_samples} of {possible} samples with a weight above 0"
            raise ArgumentError(message("So many samples cannot be drawn", received, None, "pass replacement=True"))

    def __len__(self) -> int:
        return self.num_samples

    def __iter__(self) -> Iterator[int]:
        probabilities, random = self.weights / self.weights.sum(), generator_of(self.generator)
        drawn = random.choice(len(probabilities), self.num_samples, self.replacement, probabilities)
        return iter(drawn.tolist())


class StratifiedSampler(Sampler[int]):
    """All samples in a random order in which every stretch has the classes in their overall proportions.

    The samples of each class are spread evenly over the epoch, so that a batch has each class about as often as
    its share of the data says: at most one more or less for each class.

    Args:
        labels: the class of each sample.
        generator: the source of randomness.

    Example:
        >>> labels = np.array([0] * 6 + [1] * 3)
        >>> order = list(plait.data.StratifiedSampler(labels))
        >>> [int(labels[order[i : i + 3]].sum()) for i in (0, 3, 6)]
        [1, 1, 1]
    """

    def __init__(self, labels: Any, generator: Generator | None = None) -> None:
        self.labels, self.generator = np.asarray(labels), generator
        if self.labels.ndim != 1:
            raise ArgumentError(message("Labels are a vector", f"shape {self.labels.shape}", "one class per sample"))

    def __len__(self) -> int:
        return len(self.labels)

    def __iter__(self) -> Iterator[int]:
        random = generator_of(self.generator)
        order = random.permutation(len(self.labels))
        position = np.empty(len(order))
        classes, which = np.unique(self.labels[order], return_inverse=True)
        for i in range(len(classes)):
            members = np.flatnonzero(which == i)
            position[members] = (np.arange(len(members)) + 0.5) / len(members)
        return iter(order[np.argsort(position, kind="stable")].tolist())


class BatchSampler(Sampler[list[int]]):
    """Batches of the indices that another sampler gives.

    Args:
        sampler: a sampler, or any iterable of indices.
        batch_size: indices in a batch.
        drop_last: whether to leave out a last batch that is not full.

    Raises:
        ArgumentError: `batch_size` is not positive.

    Example:
        >>> list(plait.data.BatchSampler(range(5), 2, drop_last=False))
        [[0, 1], [2, 3], [4]]
    """

    def __init__(self, sampler: Iterable[int], batch_size: int, drop_last: bool) -> None:
        self.sampler, self.batch_size, self.drop_last = sampler, _count(batch_size, "batch_size"), drop_last

    def __len__(self) -> int:
        count = length_of(self.sampler, "BatchSampler")
        return count // self.batch_size if self.drop_last else -(-count // self.batch_size)

    def __iter__(self) -> Iterator[list[int]]:
        batch = []
        for index in self.sampler:
            batch.append(index)
            if len(batch) == self.batch_size:
                yield batch
                batch = []
        if batch and not self.drop_last:
            yield batch


class BucketBatchSampler(Sampler[list[int]]):
    """Batches of samples of similar length, so that little padding is needed.

    Samples are put in random order, sorted by length within stretches of `bucket_size` batches, cut into batches,
    and the batches are put in random order.

    Args:
        lengths: the length of each sample.
        batch_size: samples in a batch; with `max_tokens` the most.
        max_tokens: the most elements that a padded batch has, i.e. samples times the longest of them.
        shuffle: whether the order is random; without, samples are sorted by length.
        drop_last: whether to leave out batches of fewer than `batch_size` samples.
        bucket_size: how many batches are sorted together.
        generator: the source of randomness.

    Raises:
        ArgumentError: a sample is longer than `max_tokens`.

    Example:
        >>> batches = list(plait.data.BucketBatchSampler([1, 9, 2, 8], batch_size=2))
        >>> sorted(sorted(batch) for batch in batches)
        [[0, 2], [1, 3]]
    """

    def __init__(
        self, lengths: Any, batch_size: int, max_tokens: int | None = None, shuffle: bool = True,
        drop_last: bool = False, bucket_size: int = 100, generator: Generator | None = None,
    ) -> None:  # fmt: skip
        self.lengths, self.batch_size = np.asarray(lengths), _count(batch_size, "batch_size")
        self.max_tokens = max_tokens if max_tokens is None else _count(max_tokens, "max_tokens")
        self.bucket_size, self.generator = _count(bucket_size, "bucket_size"), generator
        self.shuffle, self.drop_last = shuffle, drop_last
        if max_tokens is not None and len(self.lengths) and self.lengths.max() > max_tokens:
            received = f"sample {self.lengths.argmax()} of length {self.lengths.max()}"
            fix = "leave it out, or cut it"
            raise ArgumentError(message("A sample is longer than a batch", received, f"at most {max_tokens}", fix))

    def _batches(self) -> list[list[int]]:
        total = len(self.lengths)
        if not self.shuffle:
            return self._cut(np.argsort(self.lengths, kind="stable"))
        random, stretch = generator_of(self.generator), self.batch_size * self.bucket_size
        order, batches = random.permutation(total), []
        for start in range(0, total, stretch):
            bucket = order[start : start + stretch]
            batches += self._cut(bucket[np.argsort(self.lengths[bucket], kind="stable")])
        return [batches[i] for i in random.permutation(len(batches))]

    def _cut(self, order: Any) -> list[list[int]]:
        batches: list[list[int]] = [[]]
        for index in order.tolist():
            size = len(batches[-1]) + 1  # lengths rise, so this one is the longest
            if size > self.batch_size or self.max_tokens is not None and size * self.lengths[index] > self.max_tokens:
                batches.append([])
            batches[-1].append(index)
        return [b for b in batches if b and (len(b) == self.batch_size or not self.drop_last)]

    def __len__(self) -> int:
        if self.max_tokens is None:
            whole, rest = divmod(len(self.lengths), self.batch_size)
            return whole + (rest > 0 and not self.drop_last)
        if self.shuffle:
            text = "How many batches there are depends on their order"
            raise ArgumentTypeError(message(text, "max_tokens and shuffle=True", fix="count them while iterating"))
        return len(self._batches())

    def __iter__(self) -> Iterator[list[int]]:
        return iter(self._batches())


class DistributedSampler(Sampler[int]):
    """The part of the samples that one of several processes takes.

    All processes shuffle alike and take every `num_replicas`-th index. Without `set_epoch` the order follows the
    epochs of the loader, which differ.

    Args:
        dataset: the dataset.
        num_replicas: how many processes there are, by default the environment variable WORLD_SIZE, or 1.
        rank: which of them this is, by default the environment variable RANK, or 0.
        shuffle: whether the order is random.
        seed: of the order, the same in all processes.
        drop_last: whether to leave out samples, instead of repeating some, where they cannot be divided evenly.

    Raises:
        ArgumentError: `rank` is not one of the processes.

    Example:
        >>> [list(plait.data.DistributedSampler("abcde", 2, rank, shuffle=False)) for rank in range(2)]
        [[0, 2, 4], [1, 3, 0]]
    """

    def __init__(
        self, dataset: Any, num_replicas: int | None = None, rank: int | None = None, shuffle: bool = True,
        seed: int = 0, drop_last: bool = False,
    ) -> None:  # fmt: skip
        self.dataset, self.shuffle, self.seed, self.drop_last = dataset, shuffle, seed, drop_last
        self.rank, self.num_replicas = rank_of(rank, num_replicas)
        self.epoch: int | None = None
        total = length_of(dataset, "DistributedSampler")
        share = total // self.num_replicas if drop_last else math.ceil(total / self.num_replicas)
        self.num_samples, self.total_size = share, share * self.num_replicas

    def __len__(self) -> int:
        return self.num_samples

    def set_epoch(self, epoch: int) -> None:
        """Take the order of this epoch, instead of the loader's."""
        self.epoch = epoch

    def __iter__(self) -> Iterator[int]:
        total = length_of(self.dataset, "DistributedSampler")
        epoch = current_epoch() if self.epoch is None else self.epoch
        order = np.random.default_rng((self.seed, epoch)).permutation(total) if self.shuffle else np.arange(total)
        repeated = np.resize(order, self.total_size) if total else order
        return iter(repeated[self.rank :: self.num_replicas].tolist())


def rank_of(rank: int | None, num_replicas: int | None) -> tuple[int, int]:
    """Return the number of this process and how many there are, by default from the environment.

    Raises:
        ArgumentError: `rank` is not one of the processes.
    """
    count = int(os.environ.get("WORLD_SIZE", 1)) if num_replicas is None else num_replicas
    number = int(os.environ.get("RANK", 0)) if rank is None else rank
    if not 0 <= number < count:
        raise ArgumentError(message("This rank is no process of the job", number, f"0 to {count - 1}"))
    return number, count
