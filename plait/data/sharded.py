"""Streams of samples from many files, shuffled through a buffer."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from plait.core.errors import ArgumentError, message
from plait.data.dataset import IterableDataset
from plait.data.fetch import get_worker_info
from plait.data.readers import Path_, arrays_of, lines_of, rows_of
from plait.data.sampler import rank_of
from plait.data.streams import current_epoch, mixed

_READERS: dict[str, Callable[[Path], Iterable[Any]]] = {
    **dict.fromkeys((".csv", ".parquet", ".arrow", ".feather"), rows_of),
    **dict.fromkeys((".txt", ".jsonl", ".ndjson"), lines_of),
    ".npy": arrays_of,
}


def read_records(path: Path_) -> Iterator[Any]:
    """Yield the records of a file, by the suffix of its name.

    Args:
        path: .txt or .jsonl (lines), .csv, .parquet, .arrow or .feather (rows, as dicts), or .npy (rows of the array).

    Raises:
        ArgumentError: another suffix.

    Example:
        >>> import tempfile, pathlib
        >>> folder = tempfile.TemporaryDirectory()
        >>> path = pathlib.Path(folder.name) / "a.txt"
        >>> size = path.write_text("one\\ntwo\\n")
        >>> list(plait.data.read_records(path))
        ['one', 'two']
        >>> folder.cleanup()
    """
    reader = _READERS.get(Path(path).suffix.lower())
    if reader is None:
        fix = "pass read=, a function from a path to an iterable of records"
        raise ArgumentError(
            message("This is no file of records that is known", Path(path).name, ", ".join(_READERS), fix)
        )
    return iter(reader(Path(path)))


class ShardedDataset(IterableDataset[Any]):
    """The records of many files ("shards"), one after the other: for data that is too large to index.

    The shards are divided among processes by rank, and among `num_streams` streams. A loader takes a batch of each
    stream in turn, whichever worker reads it, so the order is the same for every number of workers; workers beyond
    `num_streams` have nothing to do. Resuming in mid-epoch reads the records before again, without the transform.

    Args:
        shards: files, or whatever `read` takes.
        read: gives the records of a shard, by default `read_records`.
        transform: makes of a record what the sample is.
        shuffle: whether the shards come in a random order, and records are drawn from a buffer at random.
        buffer_size: records in the buffers of all streams together.
        seed: of the order, the same in all processes; the epoch of the loader counts too.
        num_streams: into how many streams the shards are divided, by default 4, but not more than there are shards.
        num_replicas: how many processes there are, by default the environment variable WORLD_SIZE, or 1.
        rank: which of them this is, by default the environment variable RANK, or 0.

    Raises:
        ArgumentError: there are fewer shards than processes or streams.

    Example:
        >>> import tempfile, pathlib
        >>> folder = tempfile.TemporaryDirectory()
        >>> paths = [pathlib.Path(folder.name) / f"{i}.txt" for i in range(2)]
        >>> sizes = [path.write_text(f"a{path.stem}\\nb{path.stem}\\n") for path in paths]
        >>> dataset = plait.data.ShardedDataset(paths, shuffle=False)
        >>> list(plait.data.DataLoader(dataset, batch_size=2))
        [['a0', 'b0'], ['a1', 'b1']]
        >>> folder.cleanup()
    """

    def __init__(
        self, shards: Sequence[Any], read: Callable[[Any], Iterable[Any]] = read_records,
        transform: Callable[[Any], Any] | None = None, shuffle: bool = True, buffer_size: int = 10_000, seed: int = 0,
        num_streams: int | None = None, num_replicas: int | None = None, rank: int | None = None,
    ) -> None:  # fmt: skip
        self.shards, self.read, self.transform = list(shards), read, transform
        self.shuffle, self.buffer_size, self.seed = shuffle, buffer_size, seed
        self.rank, self.num_replicas = rank_of(rank, num_replicas)
        share = len(self.shards) // self.num_replicas
        self.num_streams = min(4, share) if num_streams is None else num_streams
        if not 0 < self.num_streams <= share or buffer_size < 1:
            received = (
                f"{len(self.shards)} shards, {self.num_replicas} processes, num_streams={num_streams}, "
                f"buffer_size={buffer_size}"
            )
            expected = "a shard for each stream of each process, and a buffer of at least 1"
            raise ArgumentError(message("The shards cannot be divided", received, expected))

    def __iter__(self) -> _Records:
        worker = get_worker_info()
        streams = range(self.num_streams) if worker is None else [worker.id]
        parts = [self._stream(stream, current_epoch()) for stream in streams]
        return _Records(itertools.chain.from_iterable(parts), self.transform)

    def _stream(self, stream: int, epoch: int) -> Iterator[Any]:
        random = np.random.default_rng(mixed(self.seed, epoch))  # alike in all processes, so that all shards are read
        order = random.permutation(len(self.shards)) if self.shuffle else np.arange(len(self.shards))
        mine = order[self.rank :: self.num_replicas][stream :: self.num_streams]
        records = itertools.chain.from_iterable(self._read(self.shards[i]) for i in mine)
        if not self.shuffle:
            return iter(records)
        own = np.random.default_rng(mixed(self.seed, epoch, self.rank, stream))
        return _shuffled(records, max(1, self.buffer_size // self.num_streams), own)

    def _read(self, shard: Any) -> Iterator[Any]:
        try:
            yield from self.read(shard)
        except Exception as error:
            error.add_note(f"while reading the shard {shard}")
            raise


class _Records:
    """Records with the transform applied; those that are skipped are only read."""

    def __init__(self, records: Iterator[Any], transform: Callable[[Any], Any] | None) -> None:
        self.records, self.transform = records, transform

    def __iter__(self) -> _Records:
        return self

    def __next__(self) -> Any:
        record = next(self.records)
        return self.transform(record) if self.transform else record

    def skip(self, count: int) -> None:
        """Pass over records."""
        next(itertools.islice(self.records, count, count), None)


def _shuffled(records: Iterator[Any], size: int, random: np.random.Generator) -> Iterator[Any]:
    """Yield records in a random order, of which `size` are held."""
    buffer = list(itertools.islice(records, size))
    for record in records:
        i = int(random.integers(len(buffer)))
        yield buffer[i]
        buffer[i] = record
    random.shuffle(buffer)
    yield from buffer
