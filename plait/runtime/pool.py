"""The thread pool: loads the executor, sizes it, survives forks, and stops the workers at exit.

Starting, stopping and waiting happen in the executor's native code (`plait.compiler.llvm.executor`); this file only
writes the pool's control words.
"""

from __future__ import annotations

import atexit
import ctypes
import functools
import os
import time

import numpy as np

from plait.compiler.llvm.executor import MAX_THREADS, POOL_BYTES, POOL_FIELDS, SYMBOLS, executor_text
from plait.compiler.llvm.jit import compile_module, host_target, load
from plait.core.locks import make_lock
from plait.runtime import host
from plait.runtime.buffer import allocate, to_numpy
from plait.runtime.cache import object_cache

# Waking a sleeping worker costs more than 100 microseconds, so it first polls for a while.
_POLL_SECONDS = 3e-3
_POLL_SECONDS_CROWDED = 20e-6
_INTERPRETER = {
    "ensure": "PyGILState_Ensure",
    "check": "PyErr_CheckSignals",
    "fetch": "PyErr_Fetch",
    "unlock": "PyGILState_Release",
}


class Executor:
    """The loaded executor: `run(program)` is the native entry point and `pool` the address of the thread pool.

    `cycles()` reads the counter that logs of programs are written by.

    `run` releases the interpreter lock. Programs of several Python threads take turns; one that starts while
    another is inside a host callback runs on its own thread alone, so that neither waits for the other.
    """

    __slots__ = ("run", "run_address", "cycles", "pool", "_stop", "_memory", "_words", "_pauses_per_second")

    def __init__(self) -> None:
        target = host_target()
        text = executor_text(target.triple)
        cache = object_cache(str(target))
        code = cache.get(text)
        if code is None:
            code = compile_module(text, target)
            cache.put(text, code)
        symbols = load(code, SYMBOLS)
        self.run_address = symbols["run"]
        self.run = ctypes.CFUNCTYPE(None, ctypes.c_void_p)(self.run_address)
        self.cycles = ctypes.CFUNCTYPE(ctypes.c_int64)(symbols["cycles"])
        self._stop = ctypes.CFUNCTYPE(None, ctypes.c_void_p)(symbols["stop"])
        self._memory = allocate(POOL_BYTES)
        self.pool = self._memory.address
        self._words = to_numpy(self._memory, np.int32, (POOL_BYTES // 4,), writable=True)
        self._words[:] = 0
        self._pauses_per_second = _pause_rate(symbols["spin"])
        self._write("running", 1)
        self._share_interpreter()
        self.resize(host.thread_count())

    def resize(self, count: int) -> None:
        """Use `count` threads from the next program on."""
        crowded = count > host.available_cpus()
        seconds = _POLL_SECONDS_CROWDED if crowded else _POLL_SECONDS
        self._write("spin_limit", max(1, int(self._pauses_per_second * seconds)))
        self._write("wanted", min(count, MAX_THREADS))

    @property
    def running(self) -> int:
        """Threads there are now, the caller of programs included."""
        return int(self._words[POOL_FIELDS["running"] // 4])

    def stop(self) -> None:
        """End the workers; the next program that needs them starts them again."""
        self._stop(self.pool)

    def forget_workers(self) -> None:
        """Start afresh in a forked child, where the workers do not exist."""
        kept = ("wanted", "spin_limit")
        values = [int(self._words[POOL_FIELDS[name] // 4]) for name in kept]
        self._words[:] = 0
        for name, value in zip(kept, values, strict=True):
            self._write(name, value)
        self._write("running", 1)
        self._share_interpreter()

    def _share_interpreter(self) -> None:
        """Tell the executor how to run the handlers of signals during a long loop."""
        for field, name in _INTERPRETER.items():
            address = ctypes.cast(getattr(ctypes.pythonapi, name), ctypes.c_void_p).value
            at = POOL_FIELDS[field] // 4
            self._words[at : at + 2].view(np.int64)[0] = address or 0

    def _write(self, field: str, value: int) -> None:
        self._words[POOL_FIELDS[field] // 4] = value


def _pause_rate(spin_address: int) -> float:
    """Measure how many polls a waiting thread makes in a second."""
    spin = ctypes.CFUNCTYPE(None, ctypes.c_int64)(spin_address)
    count, shortest = 500, 1.0
    for _ in range(3):
        start = time.perf_counter()
        spin(count)
        shortest = min(shortest, time.perf_counter() - start)
    return count / shortest


_loading = make_lock()


@functools.cache
def _load_executor() -> Executor:
    result = Executor()
    host.on_thread_count(result.resize)
    atexit.register(result.stop)
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=result.forget_workers)
    return result


def executor() -> Executor:
    """Return the process's executor, loading it at the first call."""
    with _loading:
        return _load_executor()


def execute(program_address: int) -> None:
    """Run a program in the executor's format; returns when it has ended."""
    executor().run(program_address)


def close() -> None:
    """End the workers, if there are any; the next program that needs them starts them again."""
    if _load_executor.cache_info().currsize:
        executor().stop()
