"""Buffers and their allocator."""

from __future__ import annotations

import gc
import itertools
import threading

import numpy as np
import pytest

from plait.core.errors import OutOfMemoryError
from plait.runtime import buffer as memory
from plait.runtime.buffer import allocate, from_numpy, from_pointer, memory_statistics, to_numpy


@pytest.mark.parametrize("nbytes", [0, 1, 63, 64, 65, 1000, 32767, 32768, 32769, 100_003, 1 << 20, (1 << 22) + 1])
def test_blocks_are_aligned_and_disjoint(nbytes: int) -> None:
    buffers = [allocate(nbytes) for _ in range(5)]
    spans = sorted((b.address, b.address + max(64, nbytes)) for b in buffers)
    assert all(start % 64 == 0 for start, _ in spans)
    assert all(end <= start for (_, end), (start, _) in itertools.pairwise(spans))
    assert all(b.capacity >= max(64, nbytes) and b.capacity <= max(64, nbytes + 63, nbytes * 9 / 8) for b in buffers)
    for number, b in enumerate(buffers):
        to_numpy(b, np.uint8, (nbytes,), writable=True)[:] = number
    assert all((to_numpy(b, np.uint8, (nbytes,)) == number).all() for number, b in enumerate(buffers))


@pytest.mark.parametrize("nbytes", [100, 100_000])
def test_accounting_and_reuse(nbytes: int) -> None:
    gc.collect()
    memory.reset_peak()
    before = memory_statistics()
    block = allocate(nbytes)
    address, capacity = block.address, block.capacity
    assert memory_statistics().live == before.live + capacity
    del block
    after = memory_statistics()
    assert after.live == before.live
    assert after.peak == before.live + capacity
    assert after.cached >= capacity
    assert allocate(nbytes).address == address


def test_large_blocks_return_to_the_system() -> None:
    memory.release_cached_memory()
    memory.reset_peak()
    cached = memory_statistics().cached
    block = allocate(100 << 20)
    del block
    assert memory_statistics().cached >= cached + (100 << 20)
    memory.release_cached_memory()
    assert memory_statistics().cached < cached + (1 << 20)
    blocks = [allocate(100 << 20) for _ in range(5)]
    memory.reset_peak()
    del blocks
    memory.reset_peak()
    for size in (101, 120, 140, 160, 180):
        allocate(size << 20)
    assert memory_statistics().cached < 800 << 20
    memory.release_cached_memory()


def test_out_of_memory() -> None:
    with pytest.raises(
        OutOfMemoryError, match=r"Received: 1,152,921,504,606,846,976 bytes, with .* live and .* cached"
    ):
        allocate(1 << 60)
    assert issubclass(OutOfMemoryError, MemoryError)
    allocate(64)


def test_arrays_keep_their_buffer_alive() -> None:
    before = memory_statistics().live
    block = allocate(4096)
    array = to_numpy(block, np.float32, (32, 32), writable=True)
    array[:] = 3
    row = array[5]
    del block, array
    others = [allocate(4096) for _ in range(8)]
    for other in others:
        to_numpy(other, np.float32, (1024,), writable=True)[:] = 0
    assert (row == 3).all()
    del row, others, other
    assert memory_statistics().live == before


def test_arrays_are_read_only_unless_asked() -> None:
    block = allocate(16)
    with pytest.raises(ValueError, match="read-only"):
        to_numpy(block, np.int64, (2,))[0] = 1
    assert to_numpy(block, np.int64, ()).shape == ()


def test_from_numpy_borrows_aligned_arrays_only() -> None:
    base = to_numpy(allocate(8000), np.float64, (1000,), writable=True)
    base[:] = np.arange(1000)
    shared = from_numpy(base)
    assert shared.address == base.ctypes.data
    base[0] = 7
    assert to_numpy(shared, np.float64, (1000,))[0] == 7
    for array in (base[1:], base[::2], base.reshape(10, 100).T, base[:1], base[:0]):
        copied = from_numpy(array)
        assert copied.address != array.ctypes.data or not array.size
        assert (to_numpy(copied, np.float64, array.shape) == array).all()
        with pytest.raises(ValueError, match="cannot be shared"):
            from_numpy(array, copy=False)
    assert from_numpy(base, copy=True).address != base.ctypes.data


def test_borrowed_memory_keeps_its_owner_and_is_not_freed() -> None:
    before = memory_statistics().live
    owner = np.arange(100)
    borrowed = from_pointer(owner.ctypes.data, owner.nbytes, owner)
    assert "borrowed" in repr(borrowed)
    array = to_numpy(borrowed, np.int64, (100,))
    del owner, borrowed
    assert (array == np.arange(100)).all()
    assert memory_statistics().live == before


def test_threads() -> None:
    def work(seed: int) -> None:
        random = np.random.default_rng(seed)
        held = []
        for size in random.integers(0, 100_000, 2000):
            held.append(allocate(int(size)))
            if len(held) > 20:
                del held[int(size) % 20]

    gc.collect()
    before = memory_statistics().live
    workers = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    gc.collect()
    assert memory_statistics().live == before
