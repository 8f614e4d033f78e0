"""Making batches: what a worker does, be it a process, a thread or the loop of the user itself."""

from __future__ import annotations

import functools
import pickle
import threading
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

from plait.core.errors import PlaitError
from plait.data.collate import default_collate
from plait.data.dataset import IterableDataset, Subset
from plait.data.streams import Streams


class SampleError(PlaitError, RuntimeError):
    """A sample could not be made in a worker process; it is of the type of the worker's error too."""

    def __str__(self) -> str:
        return str(self.args[0]) if self.args else ""


class WorkerError(PlaitError, RuntimeError):
    """A worker process died, or gave no batch in time."""


@dataclass(frozen=True)
class WorkerInfo:
    """Which worker this is: `id` of `num_workers`, the seed of its epoch, and the dataset that it works on."""

    id: int
    num_workers: int
    seed: int
    dataset: Any


class _Local(threading.local):
    info: WorkerInfo | None = None


_local = _Local()


def get_worker_info() -> WorkerInfo | None:
    """Return which worker this code runs in, None outside of workers.

    An `IterableDataset` takes its part of the samples by it: without, each worker gives all samples.

    Returns:
        A `WorkerInfo` with `id`, `num_workers`, `seed` and `dataset`.

    Example:
        >>> class Count(plait.data.IterableDataset):
        ...     def __iter__(self):
        ...         worker = plait.data.get_worker_info()
        ...         first, step = (0, 1) if worker is None else (worker.id, worker.num_workers)
        ...         yield from range(first, 6, step)
        >>> loader = plait.data.DataLoader(Count(), batch_size=2, num_workers=2, workers="thread")
        >>> [batch.tolist() for batch in loader]
        [[0, 2], [1, 3], [4], [5]]
    """
    return _local.info


class Plan(NamedTuple):
    """What a worker must know of its loader."""

    dataset: Any
    collate: Callable[[Any], Any]
    batch_size: int | None  # of iterable datasets; None: samples one by one
    batched: bool  # whether tasks of datasets by index are lists of indices
    drop_last: bool
    seed: int
    num_streams: int  # into how many parts an iterable dataset is divided
    redraws: bool  # whether an index can come twice in an epoch


class Task(NamedTuple):
    """A batch to make: its number, and the indices of its samples or the stream that they come from."""

    number: int
    what: Any


class ENDED:
    """Stands for a batch after the last one; the class itself, which stays the same object when it is pickled."""


class Fetcher:
    """Makes the batches of an epoch.

    Args:
        plan: what to make.
        epoch: the number of the epoch.
        skipped: how many batches of each stream were made before, in the case of an iterable dataset.
        worker: the number of the worker and how many there are; None in the user's own thread.
        is_alone: whether no other thread makes samples.
    """

    def __init__(
        self, plan: Plan, epoch: int, skipped: list[int], worker: tuple[int, int] | None, is_alone: bool
    ) -> None:
        self.plan, self.worker, self.skipped = plan, worker, skipped
        self.streams = Streams(plan.seed, epoch, is_alone)
        self.is_iterable = isinstance(plan.dataset, IterableDataset)
        self.iterators: dict[int, tuple[Iterator[Any], int]] = {}
        self.collated = _collated(plan)

    def fetch(self, task: Task) -> Any:
        """Return the batch of a task, `ENDED` after the last one of a stream."""
        before, of_worker = _local.info, self.worker
        if self.is_iterable and (self.worker or self.plan.num_streams > 1):
            of_worker = task.what, self.plan.num_streams
        try:
            if of_worker is not None:
                _local.info = WorkerInfo(*of_worker, self.streams.base, self.plan.dataset)
            if self.is_iterable:
                with self.streams.active("batch", task.what, 0):
                    return self._from_stream(task.what)
            first = task.what[:1] if self.plan.batched else task.what  # other processes have other samples
            with self.streams.active("batch", task.number, first):
                return self._by_index(task)
        finally:
            _local.info = before

    def _by_index(self, task: Task) -> Any:
        if not self.plan.batched:
            return self._collate(self._samples([task.what], task.number)[0], task.what)
        if self.collated:
            return self._named(self.collated, task.what, "samples {}", task.what)
        several = getattr(self.plan.dataset, "__getitems__", None)
        if several:
            self._select(task.what[0], task.number, 0)
            return self._collate(self._named(several, task.what, "samples {}", task.what), task.what)
        return self._collate(self._samples(task.what, task.number), task.what)

    def _select(self, index: Any, number: int, place: int) -> None:
        self.streams.select(index, number, place) if self.plan.redraws else self.streams.select(index)

    def _samples(self, indices: Any, number: int) -> list[Any]:
        dataset, select, redraws = self.plan.dataset, self.streams.select, self.plan.redraws
        samples: list[Any] = []
        index = None
        try:
            for place, index in enumerate(indices):
                if redraws:
                    select(index, number, place)
                else:
                    select(index)
                samples.append(dataset[index])
        except Exception as error:
            annotate(error, f"while making {_describe(dataset, index)}")
            raise
        return samples

    def _named(self, function: Callable[[Any], Any], argument: Any, what: str, *values: Any) -> Any:
        try:
            return function(argument)
        except Exception as error:
            annotate(error, f"while making {what.format(*values)} of {type(self.plan.dataset).__name__}")
            raise

    def _collate(self, samples: Any, indices: Any) -> Any:
        return self._named(self.plan.collate, samples, "a batch of the samples {}", indices)

    def _from_stream(self, stream: int) -> Any:
        if stream not in self.iterators:
            self.iterators[stream] = self._opened(stream)
        iterator, count = self.iterators[stream]
        if count:
            self.streams.begin("batch", stream, count)
        size, samples = self.plan.batch_size, []
        while len(samples) < (size or 1):
            try:
                self.streams.select(stream, count)
                samples.append(next(iterator))
            except StopIteration:
                break
            except Exception as error:
                what = f"sample {count} (counted from 0) of {_of_stream(self.plan, stream)}"
                annotate(error, f"while making {what}")
                raise
            count += 1
        self.iterators[stream] = iterator, count
        if not samples or size and len(samples) < size and self.plan.drop_last:
            return ENDED
        return self._collate(samples if size else samples[0], range(count - len(samples), count))

    def _opened(self, stream: int) -> tuple[Iterator[Any], int]:
        """Return an iterator behind the batches that were made before."""
        self.streams.select(stream, -1)
        iterator = self._named(iter, self.plan.dataset, "an iterator")
        count = self.skipped[stream] * (self.plan.batch_size or 1)
        if count and hasattr(iterator, "skip"):
            iterator.skip(count)
        else:
            for i in range(count):
                if i and i % (self.plan.batch_size or 1) == 0:
                    self.streams.begin("batch", stream, i)
                self.streams.select(stream, i)
                next(iterator, None)
        return iterator, count


def _collated(plan: Plan) -> Any:
    """Return the method that makes whole batches, unless a subclass changed what a sample is."""
    kind = type(plan.dataset)
    if plan.collate is not default_collate or not hasattr(kind, "collated"):
        return None
    names = [name for base in kind.__mro__ for name in ("collated", "__getitem__") if name in vars(base)]
    return plan.dataset.collated if names[0] == "collated" else None


def _describe(dataset: Any, index: Any) -> str:
    text = f"sample {index!r} of {type(dataset).__name__}"
    while isinstance(dataset, Subset) and -len(dataset) <= index < len(dataset):
        dataset, index = dataset.dataset, dataset.indices[index]
        text += f", which is sample {index!r} of {type(dataset).__name__}"
    return text


def _of_stream(plan: Plan, stream: int) -> str:
    name = type(plan.dataset).__name__
    return f"part {stream} of {plan.num_streams} of {name}" if plan.num_streams > 1 else name


def annotate(error: Exception, note: str) -> None:
    """Add to an error what was being made; StopIteration becomes another error, for it would end the epoch."""
    if isinstance(error, StopIteration):
        raise SampleError(f"StopIteration {note}") from error
    if note not in getattr(error, "__notes__", ()):
        error.add_note(note)


class Failure(NamedTuple):
    """An error of a worker process on its way to the loader."""

    kind: type[BaseException]
    text: str

    @classmethod
    def of(cls, error: BaseException, worker: int) -> Failure:
        """Return what to tell of an error: its type, what was being made, and the worker's traceback."""
        notes = "; ".join(getattr(error, "__notes__", ()))
        what = f"{type(error).__name__} in worker process {worker}{notes and f' {notes}'}: {error}"
        return cls(
            _portable(type(error)), f"{what}\n\nTraceback of the worker:\n{''.join(traceback.format_exception(error))}"
        )

    def raised(self) -> SampleError:
        """Return the error to raise in the loader's process: a `SampleError` that is of the worker's type too."""
        kind = _sample_error(self.kind)
        result: SampleError = kind.__new__(kind, self.text)
        result.args = (self.text,)
        return result


def _portable(kind: type[BaseException]) -> type[BaseException]:
    try:
        return kind if pickle.loads(pickle.dumps(kind)) is kind else RuntimeError
    except Exception:  # a class of a function, for example
        return RuntimeError


@functools.cache
def _sample_error(kind: type[BaseException]) -> type[SampleError]:
    if issubclass(SampleError, kind) or not issubclass(kind, Exception) or issubclass(kind, StopIteration):
        return SampleError
    try:
        made = type("SampleError", (SampleError, kind), {"__module__": __name__, "__new__": kind.__new__})
        made.__new__(made, "")
    except TypeError:  # types that cannot be combined, or that need other arguments
        return SampleError
    return made
