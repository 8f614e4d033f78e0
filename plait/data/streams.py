"""Random streams: what a sample draws does not depend on the worker that makes it.

While a sample is made, `sample_generator()` and plait's default generator start from a number that is computed from the
seed of the loader, the epoch and the index of the sample alone. Python's `random` and NumPy's `numpy.random` cannot be
started afresh as cheaply: they follow the seed, the epoch and the batch. In worker threads, which share these two,
they are left alone.
"""

from __future__ import annotations

import contextlib
import functools
import random
import threading
import zlib
from collections.abc import Iterator
from typing import Any

import numpy as np

from plait import sampling
from plait.sampling import Generator
from plait.tensor.tensor import Tensor

_MASK = (1 << 64) - 1


def mixed(*words: Any) -> int:
    """Return 64 well-mixed bits of integers or other values (SplitMix64 of Steele et al., 2014, over the words)."""
    state = 0
    for word in words:
        value = word.__index__() if hasattr(word, "__index__") else zlib.crc32(repr(word).encode())
        state = (state ^ value) + 0x9E3779B97F4A7C15 & _MASK
        state = (state ^ state >> 30) * 0xBF58476D1CE4E5B9 & _MASK
        state = (state ^ state >> 27) * 0x94D049BB133111EB & _MASK
        state ^= state >> 31
    return state


class _SampleGenerator(Generator):
    """Starts from the current sample's number when it is first drawn from."""

    __slots__ = ("is_started",)
    is_started: bool

    def next_key(self) -> Tensor:
        if not self.is_started:
            self.is_started = True
            self.manual_seed(_current.number())
        return super().next_key()


class _Current(threading.local):
    """The sample that this thread makes: its index, or None outside of a loader."""

    base = epoch = 0
    index: tuple[Any, ...] | None = None
    is_started = False  # whether `generator` stands in the stream of this sample

    @functools.cached_property
    def generator(self) -> np.random.Generator:
        return np.random.Generator(np.random.Philox(0))

    @functools.cached_property
    def start(self) -> Any:
        """The state of a Philox generator at its beginning; its key is replaced."""
        return np.random.Philox(0).state

    @functools.cached_property
    def tensors(self) -> _SampleGenerator:
        return _SampleGenerator(0)

    def number(self) -> int:
        return mixed(self.base, *(self.index or ()))


_current = _Current()


@functools.cache
def _legacy() -> np.random.MT19937:
    return np.random.MT19937(0)


class Streams:
    """The random streams of an epoch.

    Args:
        seed: the seed of the loader.
        epoch: the number of the epoch.
        is_alone: whether no other thread makes samples, so that Python's and NumPy's generators may be used.
    """

    def __init__(self, seed: int, epoch: int, is_alone: bool = True) -> None:
        self.base, self.epoch, self.is_alone = mixed(seed, epoch), epoch, is_alone

    @contextlib.contextmanager
    def active(self, *batch: Any) -> Iterator[None]:
        """Let random numbers come from the streams of a batch, afterwards from where they came before."""
        before = _current.base, _current.epoch, _current.index, sampling.current.generator
        _current.base, _current.epoch, sampling.current.generator = self.base, self.epoch, _current.tensors
        if self.is_alone:
            state, bits = random.getstate(), np.random.get_bit_generator()
            np.random.set_bit_generator(_legacy())
        self.begin(*batch)
        try:
            yield
        finally:
            if self.is_alone:
                random.setstate(state)
                np.random.set_bit_generator(bits)
            _current.base, _current.epoch, _current.index, sampling.current.generator = before

    def begin(self, *batch: Any) -> None:
        """Start the streams of a batch."""
        self.select(*batch)
        if self.is_alone:
            number = _current.number()
            random.seed(number)
            np.random.seed(number & 0xFFFFFFFF)

    def select(self, *index: Any) -> None:
        """Start the stream of a sample."""
        _current.index = index
        _current.is_started = _current.tensors.is_started = False


def sample_generator() -> np.random.Generator:
    """Return the random numbers of the sample that is being made.

    In a `DataLoader` they depend on the loader's seed, the epoch and the index of the sample, not on the workers.
    Elsewhere they follow `plait.manual_seed`. Call it anew for each sample: the generator is used again for the next.

    Returns:
        A NumPy generator.

    Example:
        >>> generator = plait.manual_seed(0)
        >>> 0 <= plait.data.sample_generator().random() < 1
        True
    """
    if _current.index is None:
        return np.random.default_rng(seed_of(None))
    if not _current.is_started:
        _current.start["state"]["key"][0] = _current.number()
        _current.generator.bit_generator.state = _current.start
        _current.is_started = True
    return _current.generator


def generator_of(generator: Generator | np.random.Generator | None) -> np.random.Generator:
    """Return NumPy's random numbers for a draw from a generator; those of the current sample for None."""
    if generator is None:
        return sample_generator()
    return generator if isinstance(generator, np.random.Generator) else np.random.default_rng(seed_of(generator))


def seed_of(generator: Generator | None) -> int:
    """Return a seed of 64 bits that is drawn from a generator, by default from the one of `plait.manual_seed`."""
    high, low = (generator or sampling.default_generator).next_key().tolist()
    return int(high) << 32 | int(low)


def current_epoch() -> int:
    """Return the epoch of the loader that makes a sample or an order, 0 outside of one."""
    return _current.epoch
