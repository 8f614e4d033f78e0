"""`DataLoader`: batches of a dataset, made by the user's thread, by worker threads or by worker processes."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Generator as Generator_, Iterable, Iterator, Mapping, Sequence
from typing import Any

from plait.core.dtype import uint32
from plait.core.errors import ArgumentError, ArgumentTypeError, message
from plait.data.collate import default_collate, default_convert
from plait.data.dataset import IterableDataset, length_of
from plait.data.fetch import ENDED, Plan, Task, WorkerError
from plait.data.pools import ProcessPool, Raised, SerialPool, Start, ThreadPool, start_method
from plait.data.sampler import BatchSampler, RandomSampler, SequentialSampler
from plait.data.streams import Streams, seed_of
from plait.sampling import Generator
from plait.tensor.creation import as_tensor

_VERSION = 1


class DataLoader:
    """Batches of a dataset, with PyTorch's arguments.

    What it gives depends on its seed, the epoch and the index of each sample alone: not on the number or kind of
    workers, nor on how fast they are. The seed is drawn once, from `generator`.

    Args:
        dataset: a `Dataset` or anything else with `__getitem__` and `__len__`, or an `IterableDataset`.
        batch_size: samples in a batch; None gives single samples.
        shuffle: whether each epoch has an order of its own.
        sampler: gives the indices of samples instead.
        batch_sampler: gives lists of indices, the batches, instead.
        num_workers: workers that make batches in advance; 0 makes each one when it is asked for.
        collate_fn: makes a batch of a list of samples, by default `default_collate`.
        pin_memory: without effect.
        drop_last: whether to leave out a last batch that is not full.
        timeout: seconds to wait for a batch of the workers before an error; 0 waits forever.
        worker_init_fn: called with its number in each worker when that starts.
        multiprocessing_context: how processes start: "fork", "spawn", "forkserver" or a context of `multiprocessing`.
            By default "fork" on Linux, for which plait ends its own threads first; else Python's default.
        generator: the source of the seed, by default the generator that `plait.manual_seed` seeds.
        prefetch_factor: batches that each worker makes in advance, by default 2.
        persistent_workers: whether workers live on between epochs.
        pin_memory_device: without effect.
        in_order: whether batches come in their order, also where a later one is ready first.
        workers: "process", or "thread": threads start at once and share the dataset, and suit work that leaves Python,
            like reading files, decoding images or computing with large arrays.

    Raises:
        ArgumentError: arguments that contradict each other or are out of range.
        ArgumentTypeError: an argument of a wrong type.

    Example:
        >>> generator = plait.manual_seed(0)
        >>> dataset = plait.data.TensorDataset(plait.arange(10.0).reshape(5, 2), plait.arange(5))
        >>> for x, y in plait.data.DataLoader(dataset, batch_size=2):
        ...     print(tuple(x.shape), y.tolist())
        (2, 2) [0, 1]
        (2, 2) [2, 3]
        (1, 2) [4]
    """

    def __init__(
        self, dataset: Any, batch_size: int | None = 1, shuffle: bool | None = None,
        sampler: Iterable[Any] | None = None, batch_sampler: Iterable[Sequence[Any]] | None = None,
        num_workers: int = 0, collate_fn: Callable[[list[Any]], Any] | None = None, pin_memory: bool = False,
        drop_last: bool = False, timeout: float = 0, worker_init_fn: Callable[[int], None] | None = None,
        multiprocessing_context: Any = None, generator: Generator | None = None, *,
        prefetch_factor: int | None = None, persistent_workers: bool = False, pin_memory_device: str = "",
        in_order: bool = True, workers: str = "process",
    ) -> None:  # fmt: skip
        _check(dataset, num_workers, timeout, prefetch_factor, persistent_workers, workers)
        self.dataset, self.num_workers, self.timeout, self.workers = dataset, num_workers, timeout, workers
        self.pin_memory, self.pin_memory_device = pin_memory, pin_memory_device
        self.worker_init_fn, self.generator = worker_init_fn, generator
        self.prefetch_factor = 2 if prefetch_factor is None and num_workers else prefetch_factor
        self.persistent_workers, self.in_order = persistent_workers, in_order
        if isinstance(multiprocessing_context, str) or multiprocessing_context is None:
            multiprocessing_context = multiprocessing.get_context(multiprocessing_context or start_method())
        self.multiprocessing_context = multiprocessing_context
        self.is_iterable = isinstance(dataset, IterableDataset)
        if self.is_iterable:
            _check_stream(shuffle, sampler, batch_sampler)
        elif sampler is not None and shuffle:
            raise ArgumentError(message("A sampler decides the order", "sampler and shuffle=True", "one of them"))
        elif sampler is None:
            sampler = RandomSampler(dataset) if shuffle else SequentialSampler(dataset)
        if batch_sampler is not None:
            if batch_size != 1 or shuffle or drop_last or not isinstance(sampler, SequentialSampler):
                expected = "neither batch_size, shuffle, sampler nor drop_last"
                raise ArgumentError(message("A batch_sampler decides what a batch is", None, expected))
            batch_size = None
        elif batch_size is not None and not self.is_iterable:
            batch_sampler = BatchSampler(sampler, batch_size, drop_last)  # type: ignore[arg-type]
        elif batch_size is not None and batch_size < 1:
            raise ArgumentError(message("batch_size is positive", batch_size, "at least 1, or None"))
        elif batch_size is None and drop_last:
            raise ArgumentError(message("Single samples are always full", "batch_size=None and drop_last=True"))
        self.batch_size, self.drop_last = batch_size, drop_last
        self.sampler, self.batch_sampler = sampler, batch_sampler
        is_batched = batch_sampler is not None or self.is_iterable and batch_size is not None
        self.collate_fn = collate_fn or (default_collate if is_batched else default_convert)
        self._seed: int | None = None
        self._pool: Any = None
        self._run: object = None  # the iterator that began last
        self._begin_epoch(0)

    def __len__(self) -> int:
        if not self.is_iterable:
            return length_of(self.sampler if self.batch_sampler is None else self.batch_sampler, "len(loader)")
        count = length_of(self.dataset, "len(loader)")
        if self.batch_size is None:
            return count
        return count // self.batch_size if self.drop_last else -(-count // self.batch_size)

    # where the loader stands

    @property
    def epoch(self) -> int:
        """The number of the epoch that runs, or else of the next one."""
        return self._epoch

    def set_epoch(self, epoch: int) -> None:
        """Let the next epoch have this number; without, epochs count up from 0."""
        if epoch != self._epoch or self._is_running:
            self._begin_epoch(epoch)

    def _begin_epoch(self, epoch: int) -> None:
        self._epoch, self._is_running = epoch, False
        self._counts = [0] * (self._num_streams() or 1)  # batches given so far, of each stream
        self._next_stream = 0

    def state_dict(self) -> dict[str, Any]:
        """Return where the loader stands: after the batches that it has given, however many are made already.

        Returns:
            A dict of integers, lists and dicts, that JSON can hold.

        Raises:
            ArgumentError: the loader gives batches as they come (`in_order=False`).

        Example:
            >>> loader = plait.data.DataLoader(range(6), batch_size=2, shuffle=True)
            >>> batches = iter(loader)
            >>> first, state = next(batches), loader.state_dict()
            >>> again = plait.data.DataLoader(range(6), batch_size=2, shuffle=True)
            >>> again.load_state_dict(state)
            >>> [b.tolist() for b in again] == [b.tolist() for b in batches]
            True
        """
        if not self.in_order:
            text = "Batches that come as they are ready cannot be continued"
            raise ArgumentError(message(text, "in_order=False", "in_order=True"))
        return {
            "version": _VERSION, "seed": self._drawn_seed(), "epoch": self._epoch, "batches": list(self._counts),
            "next_stream": self._next_stream,
            "sampler": dict(self._sampler_state if self._is_running else _state_of(self._index_sampler)),
        }  # fmt: skip

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Continue where another loader of the same dataset and arguments stood; its workers may have been others.

        Args:
            state_dict: what `state_dict()` returned.

        Raises:
            ArgumentError: this is no such state, or the stream is divided otherwise.
        """
        needed = {"version", "seed", "epoch", "batches", "next_stream", "sampler"}
        if not isinstance(state_dict, Mapping) or needed - set(state_dict) or state_dict["version"] != _VERSION:
            received = sorted(map(str, state_dict)) if isinstance(state_dict, Mapping) else type(state_dict).__name__
            raise ArgumentError(message("This is no state of a DataLoader", received, "what state_dict() returned"))
        if len(state_dict["batches"]) != len(self._counts):
            received = f"{len(state_dict['batches'])} parts in the state, {len(self._counts)} here"
            fix = "use as many workers as before, or give the dataset an attribute num_streams"
            raise ArgumentError(message("The stream was divided into other parts", received, None, fix))
        self._begin_epoch(int(state_dict["epoch"]))
        self._seed, self._next_stream = int(state_dict["seed"]), int(state_dict["next_stream"])
        self._counts = [int(count) for count in state_dict["batches"]]
        _restore(self._index_sampler, state_dict["sampler"])

    def _drawn_seed(self) -> int:
        if self._seed is None:
            self._seed = seed_of(self.generator or getattr(self._index_sampler, "generator", None))
        return self._seed

    @property
    def _index_sampler(self) -> Any:
        outer = self.sampler if self.batch_sampler is None else self.batch_sampler
        return getattr(outer, "sampler", outer)

    def _num_streams(self) -> int:
        if not self.is_iterable:
            return 0
        return getattr(self.dataset, "num_streams", None) or max(1, self.num_workers)

    # an epoch

    def __iter__(self) -> Iterator[Any]:
        if self._is_running:
            self._begin_epoch(self._epoch + 1)
        self._is_running, self._run = True, object()
        self._drawn_seed()
        self._sampler_state = _state_of(self._index_sampler)
        source = _Streams(self._counts, self._next_stream) if self.is_iterable else self._indices()
        pool = self._pool or self._new_pool()
        try:
            pool.start(Start(self._epoch, list(self._counts)))
            waiting = source.submit(pool, pool.capacity)
        except BaseException:
            self._pool = None
            pool.close()
            raise
        if self.persistent_workers:
            self._pool = pool
        return self._batches(source, pool, waiting, self._run)

    def _indices(self) -> _Indices:
        order = self.sampler if self.batch_sampler is None else self.batch_sampler
        return _Indices(order, Streams(self._drawn_seed(), self._epoch), self._counts[0])

    def _new_pool(self) -> Any:
        plan = Plan(
            self.dataset, self.collate_fn, self.batch_size, self.batch_sampler is not None, self.drop_last,
            self._drawn_seed(), self._num_streams(), bool(getattr(self._index_sampler, "replacement", False)),
        )  # fmt: skip
        if not self.num_workers:
            return SerialPool(plan)
        shared = plan, self.num_workers, self.prefetch_factor, self.worker_init_fn, self.timeout
        if self.workers == "thread":
            return ThreadPool(*shared)
        return ProcessPool(*shared, self.multiprocessing_context)

    def _batches(self, source: Any, pool: Any, waiting: int, run: object) -> Generator_[Any, None, None]:
        """Yield the batches of an epoch; `waiting` tasks are with the workers."""
        ready: dict[int, Any] = {}
        due = source.first
        try:
            while waiting or ready:
                if due not in ready if self.in_order else not ready:
                    number, value = pool.receive()
                    ready[number] = value
                    waiting -= 1
                    continue
                number = due if self.in_order else next(iter(ready))
                value, due = ready.pop(number), due + 1
                stream = source.finish(number, value is ENDED)
                waiting += source.submit(pool, 1)
                if isinstance(value, Raised):
                    raise value.error
                if value is ENDED:
                    continue
                if run is self._run:
                    self._counts[stream] += 1
                    self._next_stream = stream + 1
                yield value
                if run is not self._run and pool is self._pool:
                    text = "Persistent workers make one epoch at a time, and another one has begun"
                    raise WorkerError(message(text, fix="use persistent_workers=False to iterate twice at once"))
            if run is self._run:
                self._begin_epoch(self._epoch + 1)
        except GeneratorExit:  # persistent workers go on
            raise
        except BaseException:
            if run is self._run:
                self._pool = None
            pool.close()
            raise
        finally:
            if pool is not self._pool:
                pool.close()


_ORDER = "order"  # the stream that samplers draw from


class _Indices:
    """Tasks of a dataset by index; the first `first` are skipped."""

    def __init__(self, order: Iterable[Any], streams: Streams, first: int) -> None:
        self.streams, self.first, self.number = streams, first, 0
        with self.streams.active(_ORDER):
            self.iterator = iter(order)
        for _ in range(first):
            self._next()

    def _next(self) -> Any:
        self.number += 1
        with self.streams.active(_ORDER, self.number):
            return next(self.iterator, ENDED)

    def submit(self, pool: Any, count: int) -> int:
        """Give a pool `count` tasks, or as many as there are; returns how many."""
        for i in range(count):
            number, what = self.number, self._next()
            if what is ENDED:
                return i
            pool.submit(Task(number, what))
        return count

    def finish(self, number: int, is_end: bool) -> int:
        """Return the stream of a task that is done."""
        return 0


class _Streams:
    """Tasks of an iterable dataset: a batch from each of its streams in turn, until all have ended."""

    first = 0

    def __init__(self, counts: list[int], next_stream: int) -> None:
        self.count, self.next = len(counts), next_stream
        self.alive = set(range(self.count))
        self.streams: dict[int, int] = {}
        self.number = 0

    def submit(self, pool: Any, count: int) -> int:
        """Give a pool `count` tasks, or none after the end; returns how many."""
        if not self.alive:
            return 0
        for _ in range(count):
            stream = next(
                s % self.count for s in range(self.next, self.next + self.count) if s % self.count in self.alive
            )
            self.next, self.streams[self.number] = stream + 1, stream
            pool.submit(Task(self.number, stream))
            self.number += 1
        return count

    def finish(self, number: int, is_end: bool) -> int:
        """Return the stream of a task that is done, after which that may have ended."""
        stream = self.streams.pop(number)
        if is_end:
            self.alive.discard(stream)
        return stream


def _state_of(sampler: Any) -> dict[str, Any]:
    """Return what decides the order of the epoch that begins, besides the seed of the loader."""
    state = {"epoch": sampler.epoch} if hasattr(sampler, "epoch") else {}
    if isinstance(getattr(sampler, "generator", None), Generator):
        state["generator"] = sampler.generator.get_state().tolist()
    return state


def _restore(sampler: Any, state: Mapping[str, Any]) -> None:
    if "epoch" in state:
        sampler.epoch = state["epoch"]
    if "generator" in state:
        sampler.generator.set_state(as_tensor(state["generator"], uint32))


def _check(
    dataset: Any, num_workers: int, timeout: float, prefetch_factor: int | None, persistent: bool, workers: str
) -> None:
    if not hasattr(dataset, "__getitem__") and not isinstance(dataset, IterableDataset):
        expected = "a Dataset, a sequence or an IterableDataset"
        raise ArgumentTypeError(message("DataLoader takes a dataset", type(dataset).__name__, expected))
    if not hasattr(num_workers, "__index__"):
        raise ArgumentTypeError(message("num_workers is an integer", repr(num_workers), "0 or more"))
    if workers not in ("process", "thread"):
        raise ArgumentError(message("Unknown kind of workers", repr(workers), '"process" or "thread"'))
    if num_workers < 0 or timeout < 0 or prefetch_factor is not None and prefetch_factor < 1:
        received = f"num_workers={num_workers}, timeout={timeout}, prefetch_factor={prefetch_factor}"
        expected = "num_workers and timeout of 0 or more, prefetch_factor of 1 or more"
        raise ArgumentError(message("An argument of DataLoader is out of range", received, expected))
    if not num_workers and (prefetch_factor is not None or persistent):
        received = f"prefetch_factor={prefetch_factor}, persistent_workers={persistent}, num_workers=0"
        raise ArgumentError(message("There are no workers", received, None, "pass num_workers=1 or more"))


def _check_stream(shuffle: Any, sampler: Any, batch_sampler: Any) -> None:
    if shuffle or sampler is not None or batch_sampler is not None:
        text = "An IterableDataset decides the order of its samples itself"
        fix = "shuffle in the dataset, e.g. with plait.data.ShardedDataset"
        raise ArgumentError(message(text, "shuffle, sampler or batch_sampler", None, fix))
