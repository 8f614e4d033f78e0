"""Memory of values: aligned blocks from a caching allocator, freed when their `Buffer` dies."""

from __future__ import annotations

import contextlib
import mmap
import os
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from plait.core import flags
from plait.core.errors import OutOfMemoryError, message

ALIGNMENT = 64
MIN_BYTES = 64
SHARED_ALIGNMENT = 16  # of memory that others allocated: kernels assume no more, 64 is for speed
_SLAB = 1 << 20  # blocks of at most _SMALL bytes are cut from slabs of this size, which are kept
_SMALL = 1 << 15
_MAPPED = 1 << 20  # from here on blocks are mapped one by one, so that the system has them back when they are freed
_HUGE = 1 << 22  # and from here on in large pages
_MIN_CACHE = 256 << 20
_MOST_LEFT = 64 << 20
_SMALL_WORDS = _SMALL // ALIGNMENT


def _from_system(nbytes: int) -> np.ndarray[Any, Any]:
    """Take memory from the system."""
    if nbytes < _MAPPED or not hasattr(mmap, "MAP_PRIVATE"):
        return np.empty(nbytes, np.uint8)
    try:  # private: a forked child has a copy
        block = mmap.mmap(-1, nbytes, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    except OSError:
        raise MemoryError from None
    if nbytes >= _HUGE and hasattr(mmap, "MADV_HUGEPAGE"):
        with contextlib.suppress(OSError):  # a system without them
            block.madvise(mmap.MADV_HUGEPAGE)
    return np.frombuffer(block, np.uint8)


class _Allocator:
    """Free lists by size class.

    `live` counts bytes in use, `reserved` bytes taken from the system; what lies between is cached, at most `most`:
    what was in use at a time since the last phase began. Lists are popped
    and pushed without a lock (both are atomic), so that a block costs a few hundred nanoseconds; the lock is for
    memory taken from the system and given back.
    """

    __slots__ = ("small", "large", "live", "peak", "most", "reserved", "limit", "blocks", "slabs", "lock")

    def __init__(self) -> None:
        self.small: list[list[int]] = [[] for _ in range(_SMALL_WORDS + 1)]
        self.large: dict[int, list[int]] = {}
        self.live = self.peak = self.most = self.reserved = 0
        self.limit = flags.memory_limit or sys.maxsize
        self.blocks: dict[int, np.ndarray[Any, Any]] = {}  # the memory of each large block, by its address
        self.slabs: list[np.ndarray[Any, Any]] = []
        self.renew_lock()

    def renew_lock(self) -> None:
        """Make the lock; again in a forked child, where a thread that held it does not exist."""
        # Reentrant: an allocation may start a garbage collection, which may free buffers.
        self.lock = threading.RLock()

    def take_large(self, nbytes: int) -> tuple[int, int]:
        """Return (address, capacity) of a block of more than _SMALL bytes."""
        # Eight classes to each power of two: at most an eighth of a block is lost.
        shift = nbytes.bit_length() - 4
        capacity = (((nbytes - 1) >> shift) + 1) << shift
        if self.live + capacity > self.limit:
            raise out_of_memory(nbytes)
        try:
            address = self.large[capacity].pop()
        except (KeyError, IndexError):
            with self.lock:
                memory, address = self.reserve(capacity)
                self.blocks[address] = memory
                self.large.setdefault(capacity, [])
        self.live += capacity
        self.most, self.peak = max(self.most, self.live), max(self.peak, self.live)
        return address, capacity

    def free_large(self, address: int, capacity: int, _least: int = _MIN_CACHE, _extra: int = ALIGNMENT) -> None:
        """Keep a block for later, or give it back to the system when as much is cached as was in use."""
        self.live -= capacity
        cached = self.reserved - self.live
        if cached <= _least or cached <= self.most:  # defaults: at exit the globals may be gone
            self.large[capacity].append(address)
        else:
            with self.lock:
                del self.blocks[address]
                self.reserved -= capacity + _extra

    def refill(self, words: int) -> int:
        """Cut a slab into blocks of `words` times 64 bytes; returns one and keeps the rest."""
        size = words * ALIGNMENT
        if self.live + size > self.limit:
            raise out_of_memory(size)
        with self.lock:
            count = max(1, min(64, _SLAB // 8 // size))
            memory, address = self.reserve(count * size)
            self.slabs.append(memory)
            self.small[words].extend(range(address + size, address + count * size, size))
        return address

    def reserve(self, nbytes: int) -> tuple[np.ndarray[Any, Any], int]:
        """Take aligned memory from the system."""
        if self.reserved + nbytes > self.limit:
            self.release_cached()
        try:
            memory = _from_system(nbytes + ALIGNMENT)
        except (MemoryError, ValueError):
            self.release_cached()
            try:
                memory = _from_system(nbytes + ALIGNMENT)
            except (MemoryError, ValueError):
                raise out_of_memory(nbytes) from None
        self.reserved += nbytes + ALIGNMENT
        return memory, -(-memory.ctypes.data // ALIGNMENT) * ALIGNMENT

    def begin_phase(self) -> None:
        """Give back what other work than that which comes now has left behind, where it is much."""
        if self.reserved - self.live > max(self.live, _MOST_LEFT):
            self.release_cached()
        self.most = self.live

    def release_cached(self) -> None:
        """Give every cached large block back to the system."""
        with self.lock:
            for capacity, free in self.large.items():
                while free:
                    del self.blocks[free.pop()]
                    self.reserved -= capacity + ALIGNMENT


_describers: list[Callable[[], str]] = []


def describe_owners(function: Callable[[], str]) -> None:
    """Let `function` tell what holds the memory: its text ends the message of an out-of-memory error."""
    _describers[:] = [function]


def out_of_memory(requested: int, planned: int = 0) -> OutOfMemoryError:
    """Return the error for a request of bytes, of which a program has `planned` those of its temporaries."""
    a = _allocator
    what = f"{requested:,} bytes" + (f" ({planned:,} of them planned for temporaries)" if planned else "")
    what += f", with {a.live:,} live and {a.reserved - a.live:,} cached"
    limit = None if a.limit == sys.maxsize else f"at most {a.limit:,} bytes live, the limit that was set"
    fix = "use a smaller batch or plait.checkpoint, let go of tensors" + (", or raise the limit" if limit else "")
    return OutOfMemoryError("\n".join([message("Out of memory", what, limit, fix), *[d() for d in _describers]]))


_allocator = _Allocator()
_small = _allocator.small
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_allocator.renew_lock)


class Buffer:
    """A block of memory: `address`, `nbytes`, and for borrowed memory the `owner` that keeps it alive.

    The block is freed when the object dies.
    """

    __slots__ = ("address", "nbytes", "capacity", "owner", "__weakref__")
    address: int
    nbytes: int
    capacity: int
    owner: Any

    def __repr__(self) -> str:
        return f"Buffer({self.nbytes} bytes at {self.address:#x}{'' if self.owner is None else ', borrowed'})"

    def __del__(
        self, _allocator: _Allocator = _allocator, _small: list[list[int]] = _small, _limit: int = _SMALL
    ) -> None:
        capacity = self.capacity
        if 0 < capacity <= _limit:
            _allocator.live -= capacity
            _small[capacity >> 6].append(self.address)
        elif capacity:
            _allocator.free_large(self.address, capacity)

    @property
    def __array_interface__(self) -> dict[str, Any]:
        return {"data": (self.address, False), "shape": (self.nbytes,), "typestr": "|u1", "version": 3}


_new = object.__new__


def allocate(nbytes: int) -> Buffer:
    """Return an uninitialized buffer of at least `nbytes` bytes (and at least 64), aligned to 64.

    Raises:
        OutOfMemoryError: when the system has no more memory, even after the cache is released.
    """
    buffer = _new(Buffer)
    buffer.capacity = 0
    buffer.owner = None
    if nbytes <= _SMALL:
        words = (nbytes + 63) >> 6 or 1
        try:
            buffer.address = _small[words].pop()
        except IndexError:
            buffer.address = _allocator.refill(words)
        buffer.capacity = capacity = words << 6
        live = _allocator.live = _allocator.live + capacity
        if live > _allocator.peak:
            _allocator.peak = live
    else:
        buffer.address, buffer.capacity = _allocator.take_large(nbytes)
    buffer.nbytes = nbytes
    return buffer


def begin_phase() -> None:
    """Give cached memory back to the system: a program was compiled that will run many times, other work is done."""
    _allocator.begin_phase()


def from_pointer(address: int, nbytes: int, owner: Any) -> Buffer:
    """Return a buffer over memory that `owner` keeps alive."""
    buffer = _new(Buffer)
    buffer.address, buffer.nbytes, buffer.capacity, buffer.owner = address, nbytes, 0, owner
    return buffer


def to_numpy(buffer: Buffer, dtype: Any, shape: tuple[int, ...], writable: bool = False) -> np.ndarray[Any, Any]:
    """Return the memory of `buffer` as a C-contiguous array without copying; the array keeps the buffer alive.

    Args:
        buffer: the memory.
        dtype: a NumPy dtype.
        shape: the shape; it needs no more bytes than the buffer has.
        writable: whether the array may be written through.
    """
    result: np.ndarray[Any, Any] = np.ndarray(shape, dtype, np.asarray(buffer))
    if not writable:
        result.flags.writeable = False
    return result


def from_numpy(array: np.ndarray[Any, Any], copy: bool | None = None) -> Buffer:
    """Return a buffer with the elements of `array` in row-major order.

    Args:
        array: any array; its dtype in native byte order.
        copy: True always copies; None shares the memory of a C-contiguous array that is aligned as kernels
            need (16 bytes, and 64 bytes long) and copies others; False shares or raises.

    Raises:
        ValueError: with `copy=False`, when the memory cannot be shared.
    """
    shareable = array.flags.c_contiguous and array.nbytes >= MIN_BYTES and array.ctypes.data % SHARED_ALIGNMENT == 0
    if shareable and not copy:
        return from_pointer(array.ctypes.data, array.nbytes, array)
    if copy is False:
        expected = f"a C-contiguous array of {MIN_BYTES} bytes or more, aligned to {SHARED_ALIGNMENT}"
        received = f"strides {array.strides} at {array.ctypes.data:#x}"
        raise ValueError(message("This array's memory cannot be shared", received, expected, "let it be copied"))
    buffer = allocate(array.nbytes)
    np.copyto(to_numpy(buffer, array.dtype, array.shape, writable=True), array)
    return buffer


@dataclass(frozen=True, slots=True)
class MemoryStatistics:
    """Bytes in use, the most that ever were, those kept for reuse, and the most that may be in use (None: any)."""

    live: int
    peak: int
    cached: int
    limit: int | None = None


def memory_statistics() -> MemoryStatistics:
    """Return how much memory buffers use."""
    a = _allocator
    return MemoryStatistics(a.live, a.peak, a.reserved - a.live, None if a.limit == sys.maxsize else a.limit)


def set_limit(nbytes: int | None) -> None:
    """Set the most bytes that may be in use; blocks up to 32 KiB are counted a megabyte or so late."""
    _allocator.limit = sys.maxsize if nbytes is None else nbytes


def reset_peak() -> None:
    """Forget the peak: it starts again at what is live now."""
    _allocator.peak = _allocator.live


def release_cached_memory() -> None:
    """Give cached blocks back to the system."""
    _allocator.release_cached()
