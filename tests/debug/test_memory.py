"""Out of memory: the limit, what the error says, and that state is whole afterwards; nothing leaks."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import weakref

import pytest

import plait
from plait.core.errors import ArgumentError, ArgumentTypeError, OutOfMemoryError
from plait.runtime import buffer, launch
from plait.tensor import lazy

MEGABYTE = 1 << 20


@pytest.fixture
def room():
    """A function that limits the memory to what is in use and some more bytes."""
    gc.collect()
    plait.sync()
    launch._workspace.resize(0)  # what a large program of another test left would be let go of first
    yield lambda more: plait.set_memory_limit(plait.memory_stats().live + more)
    plait.set_memory_limit(None)


def test_message_has_bytes_owners_and_lines(room):
    kept = plait.ones((512, 1024)) * 2
    kept.numpy()
    model = plait.nn.Linear(256, 512)
    optimizer = plait.optim.Adam(model.parameters())
    model(plait.ones((2, 256))).sum().backward()
    optimizer.step()
    plait.sync()
    room(MEGABYTE)
    with pytest.raises(OutOfMemoryError) as caught:
        plait.zeros(4 * MEGABYTE).numpy()
    first, *lines = str(caught.value).split("\n")
    limit = plait.memory_stats().limit
    assert "Received: 16,777,216 bytes" in first and " live and " in first and f"at most {limit:,} bytes live" in first
    assert len(lines) == 11
    assert any("2,097,152 bytes  float32[512,1024]  tensor  made at " + __file__ in line for line in lines)
    assert any("524,288 bytes  float32[512,256]  Linear.weight  made at " + __file__ in line for line in lines)
    assert any("Adam state 'exp_avg' of Linear.weight" in line for line in lines)
    assert any("gradient of Linear.weight" in line for line in lines)


def test_eager_state_is_whole_after_the_error(room):
    x = plait.ones((4, 512, 512))
    y = plait.sin(x) + x.sum(0)
    room(MEGABYTE)
    for _ in range(2):
        with pytest.raises(MemoryError):
            y.numpy()
    plait.set_memory_limit(None)
    assert y.shape == (4, 512, 512) and abs(y.numpy()[0, 0, 0] - 4.841471) < 1e-5


def test_jitted_step_is_whole_after_the_error(room):
    w = plait.Parameter(plait.ones(1000))

    @plait.jit
    def step(x):
        loss = (x @ (x.T @ (x * w))).sum()  # planned: products in between
        loss.backward()
        with plait.no_grad():
            w.sub_(1e-9 * w.grad)
        w.grad = None
        return loss

    step(plait.ones((3, 1000)))
    before = w.tolist()
    x = plait.ones((1500, 1000))
    x.numpy()
    room(MEGABYTE)
    for _ in range(2):
        with pytest.raises(OutOfMemoryError, match="planned for temporaries"):
            step(x)
    assert w.tolist() == before
    plait.set_memory_limit(None)
    step(x)
    assert w.tolist() != before


def test_larger_programs_give_their_arena_back(room):
    @plait.jit
    def large(x):
        return plait.sort(plait.sort(x) * 2).sum()

    large(plait.ones(4 * MEGABYTE))
    assert plait.memory_stats().arena >= 16 * MEGABYTE
    x = plait.ones(2 * MEGABYTE)
    x.numpy()
    room(MEGABYTE)
    assert (x + 1).numpy()[0] == 2.0
    assert plait.memory_stats().arena < 16 * MEGABYTE


def test_statistics_and_limit():
    x = plait.ones(MEGABYTE) + 1
    before = plait.memory_stats()
    x.numpy()
    after = plait.memory_stats()
    assert after.live - before.live >= 4 * MEGABYTE and after.peak >= after.live and after.limit is None
    with pytest.raises(ArgumentError, match="A memory limit is a number of bytes"):
        plait.set_memory_limit(0)


def test_limit_that_is_none():
    with pytest.raises(ArgumentError, match="A memory limit is a number of bytes"):
        plait.set_memory_limit(0)
    with pytest.raises(ArgumentTypeError, match="A memory limit is a number of bytes"):
        plait.set_memory_limit("8 GB")


def test_limit_of_the_environment():
    code = "import plait; print(plait.memory_stats().limit); plait.ones(10_000_000).numpy()"
    environment = {**os.environ, "PLAIT_MEMORY_LIMIT": "30000000"}
    found = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=60)
    assert found.stdout.strip() == "30000000" and "OutOfMemoryError: Out of memory" in found.stderr


def test_system_without_memory(monkeypatch):
    def refuse(*_):
        raise MemoryError

    monkeypatch.setattr(buffer, "_from_system", refuse)
    with pytest.raises(OutOfMemoryError, match=r"(?s)Received: 30\d,\d{3},\d{3} bytes.*The largest of"):
        buffer.allocate(300_000_000)


# leaks -----------------------------------------------------------------------------------------------------------


def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


needs_proc = pytest.mark.skipif(not os.path.exists("/proc/self/statm"), reason="reads /proc")


@needs_proc
def test_jitted_steps_do_not_grow():
    model = plait.nn.Linear(8, 8)
    optimizer = plait.optim.Adam(model.parameters())
    x = plait.ones((2, 8))

    @plait.jit
    def step(x):
        optimizer.zero_grad()
        loss = model(x).square().mean()
        loss.backward()
        optimizer.step()
        return loss

    for _ in range(2000):
        step(x)
    gc.collect()
    live, objects, growth = plait.memory_stats().live, len(gc.get_objects()), []
    for _ in range(3):  # what leaks grows each time
        before = resident()
        for _ in range(8000):
            step(x)
        gc.collect()
        growth.append(resident() - before)
    assert min(growth) < MEGABYTE / 2
    assert plait.memory_stats().live == live
    assert len(gc.get_objects()) - objects < 100


def test_functions_that_are_let_go_are_freed():
    x = plait.ones(8)

    def make(w):
        return plait.jit(lambda x: (x * w).sum())

    def used():
        w = plait.ones(8)
        f = make(w)
        f(x)
        (entries,) = f._entries.values()
        return [weakref.ref(o) for o in (f, entries[0].program, w)]

    for _ in range(10):
        used()
    gc.collect()
    live = plait.memory_stats().live
    held = [r for _ in range(1000) for r in used()]
    gc.collect()
    assert [r for r in held if r() is not None] == []
    assert plait.memory_stats().live == live


def test_marks_of_tensors_go_with_them():
    """A new tensor at the address of an old one is neither viewed nor held by a compiled function."""

    def used():
        w = plait.ones(3)
        plait.jit(lambda x: x + w)(plait.ones(3))
        w[0].item()
        assert w._marks == lazy.VIEWED | lazy.HELD
        return id(w)

    addresses = {used() for _ in range(20)}
    gc.collect()
    others = [plait.ones(3) for _ in range(1000)]
    assert any(id(o) in addresses for o in others)
    assert not any(o._marks for o in others)


def test_what_loading_left_behind_is_given_back_when_a_function_is_compiled():
    big = [plait.zeros(8 * MEGABYTE) + k for k in range(6)]
    plait.sync()
    plait.set_memory_limit(None)
    held = big[0]
    del big
    assert plait.memory_stats().cached >= 160 * MEGABYTE
    plait.jit(lambda x: x.sum())(held)
    assert plait.memory_stats().cached <= 64 * MEGABYTE


def test_the_arena_shrinks_once_the_program_that_needed_it_is_not_used():
    def large(x):
        return (x @ x) @ x

    x, small = plait.ones((3000, 3000)), plait.ones((4, 4))
    plait.jit(large)(x)
    before = plait.memory_stats().arena
    assert before >= 36_000_000
    for k in range(2):
        plait.jit(lambda x, k=k: x @ x + k)(small).numpy()
    assert plait.memory_stats().arena < MEGABYTE
    np_result = plait.jit(large)(x)[0, 0].item()
    assert np_result == 9e6 and plait.memory_stats().arena >= 36_000_000
