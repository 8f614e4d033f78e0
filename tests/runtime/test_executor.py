"""The executor and its thread pool, through `Program`."""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from plait.compiler.llvm.executor import POOL_BYTES, POOL_FIELDS, SOLO, SYMBOLS, executor_text
from plait.compiler.llvm.jit import compile_module, host_target, load
from plait.compiler.llvm.platform import POLLING, WINDOWS, platform_for
from plait.core.errors import InternalError
from plait.runtime import host
from plait.runtime.buffer import allocate, to_numpy
from plait.runtime.pool import close, executor
from plait.runtime.program import Program, ProgramBuilder


@pytest.fixture(params=[1, 2, 4, 7])
def threads(request: pytest.FixtureRequest) -> Iterator[int]:
    before = host.thread_count()
    host.set_thread_count(request.param)
    yield request.param
    host.set_thread_count(before)


def int_buffer(count: int) -> tuple[Any, np.ndarray[Any, Any]]:
    buffer = allocate(8 * count)
    view = to_numpy(buffer, np.int64, (count,), writable=True)
    view[:] = 0
    return buffer, view


@pytest.mark.parametrize("size", [0, 1, 2, 5, 6, 7, 1009])
@pytest.mark.parametrize("grain", [1, 3, 10**6])
def test_every_iteration_runs_once(kernels: dict[str, int], threads: int, size: int, grain: int) -> None:
    builder = ProgramBuilder()
    slot = builder.slot()
    for scalar in (1, 10, 100):
        builder.kernel(kernels["add_scalar"], [slot], [scalar], size, grain)
    program = builder.build()
    buffer, values = int_buffer(size + 1)
    program.set(slot, buffer.address)
    for _ in range(3):
        program.run()
    assert values[:size].tolist() == [333] * size
    assert values[size] == 0


def reversals(kernels: dict[str, int], size: int, count: int) -> tuple[Program, Any, np.ndarray[Any, Any]]:
    """A program each row of which needs what other threads wrote in the row before."""
    builder = ProgramBuilder()
    a, b = builder.slot(), builder.slot()
    for k in range(count):
        builder.kernel(kernels["add_scalar"], [a], [1], 1 if k % 3 == 0 else size)
        builder.kernel(kernels["reverse"], [a, b], [size], size)
        builder.kernel(kernels["reverse"], [b, a], [size], size)
        builder.kernel(kernels["reverse"], [a, b], [size], size)
        a, b = b, a
    program = builder.build()
    first, values = int_buffer(size)
    second, _ = int_buffer(size)
    values[:] = np.arange(size)
    program.set(0, first.address)
    program.set(1, second.address)
    return program, (first, second), values


def expected_reversals(size: int, count: int) -> np.ndarray[Any, Any]:
    values = np.arange(size)
    for k in range(count):
        values[: 1 if k % 3 == 0 else size] += 1
        values = values[::-1].copy()
    return values


def test_rows_see_what_other_threads_wrote(kernels: dict[str, int], threads: int) -> None:
    for size in (64, 1000):
        program, owners, values = reversals(kernels, size, 40)
        program.run()
        assert (values == expected_reversals(size, 40)).all(), owners


def test_unfenced_rows_are_fenced_later(kernels: dict[str, int], threads: int) -> None:
    builder = ProgramBuilder()
    a, b, c, d = (builder.slot() for _ in range(4))
    size = 512
    for _ in range(50):
        builder.kernel(kernels["add_scalar"], [a], [1], size, barrier=False)
        builder.kernel(kernels["add_scalar"], [b], [1], 1, barrier=False)
        builder.kernel(kernels["add_scalar"], [c], [1], size)
        builder.kernel(kernels["reverse"], [a, d], [size], size)
        builder.kernel(kernels["reverse"], [d, a], [size], size)
    program = builder.build()
    memory = [int_buffer(size) for _ in range(4)]
    for slot, (buffer, _) in enumerate(memory):
        program.set(slot, buffer.address)
    program.run()
    assert (memory[0][1] == 50).all() and (memory[2][1] == 50).all()
    assert memory[1][1][0] == 50 and not memory[1][1][1:].any()


def loop(kernels: dict[str, int], size: int, limit: int, body: Callable[..., Any] | None = None) -> ProgramBuilder:
    """while counter < limit: counter += 1; values += 2; body()"""
    builder = ProgramBuilder()
    counter, flag, values = (builder.slot() for _ in range(3))
    start, end = builder.label(), builder.label()
    builder.place(start)
    builder.kernel(kernels["less"], [counter, flag], [limit])
    builder.jump_if_zero(flag, end)
    builder.kernel(kernels["add_scalar"], [counter], [1])
    builder.kernel(kernels["add_scalar"], [values], [2], size)
    if body is not None:
        builder.call(body, [counter])
    builder.jump(start)
    builder.place(end)
    builder.kernel(kernels["add_scalar"], [values], [1], size)
    return builder


@pytest.mark.parametrize("limit", [0, 1, 300])
@pytest.mark.parametrize("inner_size", [1, 512])
def test_loops_between_rows_of_many_threads(kernels: dict[str, int], threads: int, limit: int, inner_size: int) -> None:
    """A loop of small rows is walked by one thread alone, and one with a large row by all."""
    size, turns = 512, 20
    builder = ProgramBuilder()
    counter, flag, values, other = (builder.slot() for _ in range(4))
    exits = []
    for turn in range(turns):
        builder.kernel(kernels["add_scalar"], [values], [1], size)
        start, end = builder.label(), builder.label()
        builder.place(start)
        builder.kernel(kernels["less"], [counter, flag], [limit * (turn + 1)])
        exits.append(len(builder.rows))
        builder.jump_if_zero(flag, end)
        builder.kernel(kernels["add_scalar"], [counter], [1])
        builder.kernel(kernels["add_scalar"], [values], [2], inner_size)
        builder.jump(start)
        builder.place(end)
        builder.kernel(kernels["reverse"], [values, other], [size], size)
        builder.kernel(kernels["reverse"], [other, values], [size], size)
    program = builder.build()
    assert all(bool(builder.rows[k].flags & SOLO) == (inner_size == 1) for k in exits)
    memory = [int_buffer(n) for n in (1, 1, size, size)]
    for slot, (buffer, _) in enumerate(memory):
        program.set(slot, buffer.address)
    program.run()
    expected = np.full(size, turns)
    expected[:inner_size] += 2 * limit * turns
    assert (memory[2][1] == expected).all() and memory[0][1][0] == limit * turns


@pytest.mark.parametrize("limit", [0, 1, 300])
def test_loops(kernels: dict[str, int], threads: int, limit: int) -> None:
    seen: list[int] = []

    def body(address: int) -> None:
        seen.append(address)

    program = loop(kernels, 100, limit, body).build()
    memory = [int_buffer(n) for n in (1, 8, 100)]
    for slot, (buffer, _) in enumerate(memory):
        program.set(slot, buffer.address)
    program.run()
    assert memory[0][1][0] == limit
    assert (memory[2][1] == 2 * limit + 1).all()
    assert seen == [memory[0][0].address] * limit


def test_a_failing_callback_ends_the_program(kernels: dict[str, int], threads: int) -> None:
    def fail(address: int) -> None:
        raise KeyError("from the callback")

    program = loop(kernels, 100, 1 << 40, fail).build()
    memory = [int_buffer(n) for n in (1, 8, 100)]
    for slot, (buffer, _) in enumerate(memory):
        program.set(slot, buffer.address)
    for turn in (1, 2):
        with pytest.raises(KeyError, match="from the callback"):
            program.run()
        assert memory[0][1][0] == turn
        assert (memory[2][1] == 2 * turn).all()


def test_waiting_for_a_slow_callback_costs_no_cpu_time(kernels: dict[str, int]) -> None:
    builder = ProgramBuilder()
    slot = builder.slot()
    builder.kernel(kernels["add_scalar"], [slot], [1], 100)
    builder.call(lambda address: time.sleep(0.3), [slot])
    builder.kernel(kernels["add_scalar"], [slot], [1], 100)
    program = builder.build()
    buffer, values = int_buffer(100)
    program.set(slot, buffer.address)
    start = time.process_time()
    program.run()
    assert time.process_time() - start < 0.2
    assert (values == 2).all()


def test_a_callback_may_run_programs_and_wait_for_threads_that_do(kernels: dict[str, int], threads: int) -> None:
    inner, owners, values = reversals(kernels, 64, 9)
    other, other_owners, other_values = reversals(kernels, 64, 9)

    def nested(address: int) -> None:
        inner.run()
        thread = threading.Thread(target=other.run)
        thread.start()
        thread.join()
        host.set_thread_count(threads)
        close()

    program = loop(kernels, 100, 1, nested).build()
    memory = [int_buffer(n) for n in (1, 8, 100)]
    for slot, (buffer, _) in enumerate(memory):
        program.set(slot, buffer.address)
    program.run()
    assert (memory[2][1] == 3).all()
    assert (values == expected_reversals(64, 9)[::-1]).all() or (values == expected_reversals(64, 9)).all(), owners
    assert (values == other_values).all(), other_owners


def test_python_threads_take_turns(kernels: dict[str, int], threads: int) -> None:
    wrong: list[int] = []

    def work() -> None:
        for _ in range(20):
            program, owners, values = reversals(kernels, 300, 6)
            program.run()
            if not (values == expected_reversals(300, 6)).all():
                wrong.append(len(owners))

    workers = [threading.Thread(target=work) for _ in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert not wrong


def test_resizing_and_stopping_between_programs(kernels: dict[str, int]) -> None:
    before = host.thread_count()
    for count in (3, 1, 2, 5, 2):
        host.set_thread_count(count)
        program, owners, values = reversals(kernels, 100, 4)
        program.run()
        assert (values == expected_reversals(100, 4)).all(), owners
        if count > 1:
            assert executor().running == count
        close()
        assert executor().running == 1
    host.set_thread_count(before)


def test_a_program_may_use_fewer_threads_than_there_are(kernels: dict[str, int]) -> None:
    before = host.thread_count()
    host.set_thread_count(4)
    for limit in (1, 2, 3):
        builder = ProgramBuilder(threads=limit)
        slot = builder.slot()
        builder.kernel(kernels["add_scalar"], [slot], [1], 1000)
        program = builder.build()
        buffer, values = int_buffer(1000)
        program.set(slot, buffer.address)
        for _ in range(20):
            program.run()
        assert (values == 20).all()
    host.set_thread_count(before)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_fork(kernels: dict[str, int], threads: int) -> None:
    program, owners, values = reversals(kernels, 200, 6)
    start = values.copy()
    program.run()
    values[:] = start

    def child() -> None:
        program.run()
        os._exit(0 if (values == expected_reversals(200, 6)).all() else 1)

    process = multiprocessing.get_context("fork").Process(target=child)
    process.start()
    process.join(20)
    assert process.exitcode == 0, owners
    program.run()
    assert (values == expected_reversals(200, 6)).all()


def test_clones_and_changed_sizes(kernels: dict[str, int]) -> None:
    builder = ProgramBuilder()
    slot = builder.slot()
    row = builder.kernel(kernels["add_scalar"], [slot], [1], 10)
    programs = [builder.build()]
    programs.append(programs[0].clone())
    memory = [int_buffer(100) for _ in programs]
    for program, (buffer, _) in zip(programs, memory, strict=True):
        program.set(slot, buffer.address)
    programs[1].set_extent(row, 100)
    programs[1].set_scalar(row, 0, 5)
    for program in programs:
        program.run()
    assert memory[0][1].tolist() == [1] * 10 + [0] * 90
    assert memory[1][1].tolist() == [5] * 100
    with pytest.raises(InternalError, match="there is no number 1"):
        programs[0].set_scalar(row, 1, 5)


def test_builder_mistakes(kernels: dict[str, int]) -> None:
    builder = ProgramBuilder()
    builder.slot()
    with pytest.raises(InternalError, match="table of 1"):
        builder.kernel(kernels["nothing"], [1])
    builder.jump(builder.label())
    with pytest.raises(InternalError, match="never placed"):
        builder.build()


def test_native_calls(kernels: dict[str, int]) -> None:
    builder = ProgramBuilder()
    slot = builder.slot()
    builder.call(kernels["nothing"], [slot])
    builder.build().run()


def test_polling_platform(kernels: dict[str, int]) -> None:
    """The pool of systems without futexes, run here."""
    target = host_target()
    symbols = load(compile_module(executor_text(target.triple, POLLING), target), SYMBOLS)
    native = type(executor().run)
    program, owners, values = reversals(kernels, 100, 6)
    pool, words = int_buffer(POOL_BYTES // 8)
    fields = words.view(np.int32)
    fields[POOL_FIELDS["wanted"] // 4] = 3
    fields[POOL_FIELDS["spin_limit"] // 4] = 100
    fields[POOL_FIELDS["running"] // 4] = 1
    program._words[0] = pool.address
    native(symbols["run"])(program.address)
    assert (values == expected_reversals(100, 6)).all(), owners
    assert fields[POOL_FIELDS["running"] // 4] == 3
    native(symbols["stop"])(pool.address)


def test_platforms() -> None:
    assert platform_for("x86_64-pc-windows-msvc") is WINDOWS
    assert platform_for("arm64-apple-darwin23.0.0") is POLLING
    assert "i64 98," in platform_for("aarch64-unknown-linux-gnu").sleeping
    assert "isb" in executor_text("arm64-apple-darwin23.0.0")


def test_exit_while_workers_spin() -> None:
    code = (
        "import atexit\n"
        "from plait.runtime.program import ProgramBuilder\n"
        "from plait.runtime.pool import executor\n"
        "from plait.runtime import host\n"
        "from plait.compiler.llvm.jit import compile_module, host_target, load\n"
        "atexit.register(lambda: program.run())\n"  # runs after the pool was stopped
        "host.set_thread_count(3)\n"
        "text = 'define void @f(ptr %t, ptr %a, i64 %l, i64 %h) {\\n ret void\\n}\\n'\n"
        "f = load(compile_module(text, host_target()), ('f',))['f']\n"
        "builder = ProgramBuilder()\n"
        "builder.kernel(f, [], [], 100)\n"
        "program = builder.build()\n"
        "program.run()\n"
        "print(executor().running)\n"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert (result.returncode, result.stdout, result.stderr) == (0, "3\n", "")
