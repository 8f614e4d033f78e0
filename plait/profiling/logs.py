"""Logs of programs in memory, and the collector that keeps one for each program that runs while somebody profiles."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import numpy as np

from plait.compiler.llvm.log import BLOCKS_AT, EVENT_WORDS, ROW_WORDS, THREAD_WORDS
from plait.runtime import host
from plait.runtime.buffer import memory_statistics
from plait.runtime.launch import Executable, arena_bytes, lock, watch
from plait.runtime.pool import executor

MOST_EVENTS = 1 << 14  # of one thread in one program
MOST_RUNS = 1 << 17
_CALIBRATION = 10e-3  # seconds between two looks at both clocks, at least

Words = np.ndarray[Any, np.dtype[np.int64]]


class Log:
    """The memory that the executor writes when a program runs.

    Attributes:
        rows: [threads, rows, 4] sums: cycles in the kernel, cycles from there to the next row, times it ran.
        counts: [threads] numbers of events.
        events: [threads, MOST_EVENTS, 3] row, begin and end in cycles.
    """

    def __init__(self, executable: Executable, threads: int) -> None:
        self.executable, self.threads = executable, threads
        rows = executable.program.row_count
        events_at = THREAD_WORDS + ROW_WORDS * rows
        block = events_at + EVENT_WORDS * MOST_EVENTS
        words = np.zeros(BLOCKS_AT // 8 + block * threads, np.int64)  # pages that are never written cost nothing
        words[0] = 8 * block
        blocks = words[BLOCKS_AT // 8 :].reshape(threads, block)
        blocks[:, 3], blocks[:, 4] = MOST_EVENTS, 8 * events_at
        self.counts: Words = blocks[:, 2]
        self.rows: Words = blocks[:, THREAD_WORDS:events_at].reshape(threads, rows, ROW_WORDS)
        self.events: Words = blocks[:, events_at:].reshape(threads, MOST_EVENTS, EVENT_WORDS)
        self.address: int = words.ctypes.data
        self._words = words


@dataclass(frozen=True, slots=True)
class Run:
    """One run of a program: its log's number, `time.perf_counter` at begin and end, and the bytes in use meanwhile.

    Those are the bytes of all tensors and of the program's temporaries; memory kept for reuse does not count.
    """

    log: int
    begin: float
    end: float
    used_bytes: int


@dataclass(slots=True)
class Mark:
    """Where the collector stood: sums and numbers of events of each log, runs, and the time."""

    sums: list[Words]
    counts: list[Words]
    runs: int
    seconds: float


class Collector:
    """Runs programs in place of the executables themselves, and keeps their logs."""

    def __init__(self) -> None:
        self.users = 0
        self.logs: list[Log] = []
        self.runs: list[Run] = []
        self._numbers: dict[int, int] = {}  # of the log, by the id of its executable, which the log keeps alive

    def begin(self) -> Mark:
        """Start for one more user; returns where things stand."""
        with lock():
            if not self.users:
                watch(self._run)
            self.users += 1
            return self.mark()

    def end(self) -> tuple[Mark, list[Log], list[Run]]:
        """Stop for one user; returns where things stand, all logs and all runs."""
        with lock():
            found = self.mark(), self.logs, self.runs
            self.users -= 1
            if not self.users:
                watch(None)
                for log in self.logs:
                    log.executable.program.log_to(0)
                self.logs, self.runs, self._numbers = [], [], {}
            return found

    def mark(self) -> Mark:
        """Return where things stand."""
        rows, counts = [log.rows.copy() for log in self.logs], [log.counts.copy() for log in self.logs]
        return Mark(rows, counts, len(self.runs), time.perf_counter())

    def _run(self, executable: Executable) -> None:
        number = self._numbers.get(id(executable))
        threads = host.thread_count()
        if number is None or self.logs[number].threads < threads:
            number = self._numbers[id(executable)] = len(self.logs)
            log = Log(executable, threads)
            self.logs.append(log)
            executable.program.log_to(log.address)
        live = memory_statistics().live - arena_bytes()
        if not executable.has_host_calls:  # the others have temporaries of their own, which are live
            live += executable.plan.arena
        begin = time.perf_counter()
        try:
            executable.program.run()
        finally:
            if len(self.runs) < MOST_RUNS:
                self.runs.append(Run(number, begin, time.perf_counter(), live))


collector = Collector()


class Clock:
    """The executor's cycles as `time.perf_counter`, from two looks at both clocks that lie far enough apart."""

    def __init__(self) -> None:
        self.first = _both()

    def calibrate(self) -> tuple[float, float]:
        """Return (seconds of a cycle, `perf_counter` when the cycles were 0)."""
        while (last := _both())[0] - self.first[0] < _CALIBRATION:
            pass
        passed = last[1] - self.first[1]
        rate = (last[0] - self.first[0]) / passed if passed > 0 else 0.0
        return rate, self.first[0] - self.first[1] * rate


def _both() -> tuple[float, int]:
    """Both clocks at one time: the closest of a few pairs."""
    cycles = executor().cycles
    pairs = []
    for _ in range(5):
        before = time.perf_counter()
        count = cycles()
        after = time.perf_counter()
        pairs.append((after - before, (before + after) / 2, count))
    _, seconds, count = min(pairs)
    return seconds, count
