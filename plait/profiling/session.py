"""`profile`: what the kernels that run inside a `with` block cost, by module and line."""

from __future__ import annotations

import os
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np

from plait.compiler.pipeline import HostCall, Launch
from plait.core import journal
from plait.core.errors import ArgumentError, message
from plait.inspect.tables import count, ruled
from plait.profiling import board, trace
from plait.profiling.logs import Clock, Log, Mark, Run, Words, collector
from plait.profiling.machine import machine
from plait.profiling.moments import Holder, worst_moment
from plait.profiling.steps import Origin, Work, origin_of, work_of
from plait.runtime.host import thread_count

_SHOWN = 20


@dataclass(frozen=True, slots=True)
class Kernel:
    """A kernel, or a call of a function of the host, summed over all its runs.

    Attributes:
        origin: its operations, module and line.
        calls: how often it ran.
        seconds: how long the program waited for it, all threads working.
        flops: operations, of all runs.
        nbytes: bytes read and written, of all runs.
        floor_seconds: the least time for that on this machine: max(flops / peak, bytes / bandwidth).
    """

    origin: Origin
    calls: int
    seconds: float
    flops: float
    nbytes: float
    floor_seconds: float

    @property
    def name(self) -> str:
        """Its operations."""
        return self.origin.title

    @property
    def module(self) -> str | None:
        """Path of its module."""
        return self.origin.module

    @property
    def line(self) -> str:
        """The user's `file:line`."""
        return self.origin.line

    @property
    def flops_per_second(self) -> float:
        """Operations per second."""
        return self.flops / self.seconds if self.seconds else 0.0

    @property
    def bytes_per_second(self) -> float:
        """Bytes per second."""
        return self.nbytes / self.seconds if self.seconds else 0.0

    @property
    def floor_fraction(self) -> float:
        """The least time as a part of the time it took: 1 is as fast as the machine can."""
        return self.floor_seconds / self.seconds if self.seconds else 0.0


@dataclass(frozen=True, slots=True)
class Span:
    """A kernel that ran: its number in `Profile.kernels`, its thread, begin and end in seconds from the start."""

    kernel: int
    thread: int
    begin: float
    end: float


@dataclass(frozen=True, slots=True)
class Memory:
    """The memory of all tensors while programs ran.

    Attributes:
        over_time: (seconds from the start, bytes in use), one for each run of a program.
        peak_bytes: the most of those.
        holders: what held the peak, the largest first.
    """

    over_time: tuple[tuple[float, int], ...] = ()
    peak_bytes: int = 0
    holders: tuple[Holder, ...] = ()


@dataclass(frozen=True, slots=True)
class _Events:
    """What one thread ran of one program: rows, [events, 2] begin and end, and what begins at which row."""

    thread: int
    origins: Sequence[tuple[int, Origin]]
    rows: Words
    times: np.ndarray[Any, Any]


class Profile:
    """What ran inside a `with plait.profile()` block; see `profile`.

    Attributes:
        seconds: time of the block.
        kernels: a `Kernel` for each kind of kernel, the most expensive first.
        programs: (begin, end) of each run of a program, in seconds from the start.
        program_seconds: time inside programs: in kernels, and between them.
        kernel_seconds: time in kernels.
        compile_seconds: time for staging, compiling and loading programs.
        compilations: how many programs were compiled.
        python_seconds: the rest: Python, and waiting for anything else.
        memory: bytes in use over time, and what holds the peak.
    """

    def __init__(self) -> None:
        self.seconds = self.program_seconds = self.kernel_seconds = 0.0
        self.compile_seconds = self.python_seconds = 0.0
        self.compilations = 0
        self.kernels: list[Kernel] = []
        self.programs: list[tuple[float, float]] = []
        self.memory = Memory()
        self._events: list[_Events] = []
        self._start: Mark | None = None

    def __enter__(self) -> Self:
        if self._start is not None:
            text = message("This profile is running already", None, None, "make another one by plait.profile()")
            raise ArgumentError(text)
        machine()  # measured now, so that it is no part of the block
        self._clock, self._compiled = Clock(), journal.last_number()
        self._start = collector.begin()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        assert self._start is not None
        start, self._start = self._start, None
        end, logs, runs = collector.end()
        self.seconds = end.seconds - start.seconds
        records = journal.since(self._compiled)
        self.compilations, self.compile_seconds = len(records), sum(r.total for r in records)
        own = runs[start.runs : end.runs]
        self.programs = [(r.begin - start.seconds, r.end - start.seconds) for r in own]
        self.program_seconds = _covered(self.programs)
        self.python_seconds = max(0.0, self.seconds - self.program_seconds - self.compile_seconds)
        self._read(logs, start, end)
        self.memory = _memory(own, logs, start.seconds)

    def _read(self, logs: Sequence[Log], start: Mark, end: Mark) -> None:
        rate, zero = self._clock.calibrate()
        zero -= start.seconds
        found: dict[Origin, Kernel] = {}
        self._events = []
        for k, log in enumerate(logs):
            sums = end.sums[k] - start.sums[k] if k < len(start.sums) else end.sums[k]
            steps = _steps_of(log)
            for origin, work, rows in steps:
                calls = int(sums[0, rows.start, 2])
                if calls:
                    seconds = float(sums[0, rows.start : rows.stop, :2].sum()) * rate
                    found[origin] = _added(found.get(origin), origin, calls, seconds, work)
            origins = [(rows.start, origin) for origin, _, rows in steps]
            for thread in range(log.threads):
                first = int(start.counts[k][thread]) if k < len(start.counts) else 0
                events = log.events[thread, first : int(end.counts[k][thread])]
                self._events.append(_Events(thread, origins, events[:, 0].copy(), events[:, 1:] * rate + zero))
        self.kernels = sorted(found.values(), key=lambda kernel: -kernel.seconds)
        self.kernel_seconds = sum(kernel.seconds for kernel in self.kernels)

    @property
    def spans(self) -> list[Span]:
        """When kernels ran, on each thread, as far as the log had room."""
        number = {kernel.origin: k for k, kernel in enumerate(self.kernels)}
        found = []
        for events in self._events:
            firsts = [first for first, _ in events.origins]
            for row, (begin, end) in zip(events.rows.tolist(), events.times.tolist(), strict=True):
                origin = events.origins[bisect_right(firsts, row) - 1][1]
                if origin in number:
                    found.append(Span(number[origin], events.thread, begin, end))
        return found

    # output

    def __repr__(self) -> str:
        if self._start is not None:
            return "<profile, running>"
        if not self.seconds:
            return "<profile, not started: use it in a with statement>"
        return "\n".join([*self._summary(), "", *self._kernel_lines(), "", *self._memory_lines()])

    def _summary(self) -> list[str]:
        best, parts = machine(), []
        for name, seconds in (
            ("kernels", self.kernel_seconds),
            ("between kernels", max(0.0, self.program_seconds - self.kernel_seconds)),
            (f"compiling ({self.compilations})", self.compile_seconds),
            ("Python", self.python_seconds),
        ):
            parts.append(f"{name} {seconds / self.seconds:.0%}")
        rates = f"{count(best.flops, 'FLOP/s')} (float32), {count(best.bandwidths[-1][1], 'B/s')} from memory"
        return [
            f"{self.seconds * 1e3:.2f} ms, {len(self.programs)} programs: {', '.join(parts)}",
            f"peak of this machine with {thread_count()} threads: {rates}",
        ]

    def _kernel_lines(self) -> list[str]:
        rows = [("kernel", "module", "line", "calls", "ms", "share", "FLOP/s", "B/s", "of floor")]
        for k in self.kernels[:_SHOWN]:
            rates = count(k.flops_per_second), count(k.bytes_per_second)
            share = f"{k.seconds / self.seconds:.1%}"
            where = k.origin.place, k.origin.short_line
            ms = f"{k.seconds * 1e3:.3f}"
            rows.append((k.name, *where, str(k.calls), ms, share, *rates, f"{k.floor_fraction:.0%}"))
        rest = len(self.kernels) - _SHOWN
        return [*ruled(rows, left=3), *([f"… and {rest} more, see .kernels"] if rest > 0 else [])]

    def _memory_lines(self) -> list[str]:
        memory = self.memory
        rows = [(f"peak memory {count(memory.peak_bytes, 'B')}, held by", "module", "line", "bytes")]
        for h in memory.holders[:10]:
            rows.append((f"{h.kind} {h.name}".strip(), h.origin.place, h.origin.short_line, count(h.nbytes, "B")))
        return ruled(rows, left=3)

    def save_trace(self, path: str | os.PathLike[str]) -> None:
        """Write a trace that https://ui.perfetto.dev and chrome://tracing show: a row for each thread, and memory.

        Args:
            path: the file, by custom with the ending `.json`.
        """
        Path(path).write_text(trace.text_of(self.kernels, self.spans, self.programs, self.memory.over_time))

    def save_tensorboard(self, folder: str | os.PathLike[str]) -> None:
        """Write the table and the numbers for TensorBoard, show them by `tensorboard --logdir folder`.

        Args:
            folder: where the event file goes.

        Raises:
            MissingDependencyError: the package tensorboard is not installed.
        """
        scalars = {
            "profile/seconds": self.seconds,
            "profile/kernel_seconds": self.kernel_seconds,
            "profile/compile_seconds": self.compile_seconds,
            "profile/python_seconds": self.python_seconds,
            "profile/peak_bytes": float(self.memory.peak_bytes),
        }
        board.save(folder, scalars, self.kernels, repr(self), self.memory.over_time)


def profile() -> Profile:
    """Measure what runs inside a `with` block: time of each kernel by module and line, memory, Python, compiling.

    Programs write down when each kernel begins and ends while a profile runs, which costs some tens of nanoseconds a
    kernel; without one they do nothing. Blocks may be nested and repeated, also in several threads; each profile
    counts what all threads run.

    Returns:
        A `Profile`, whose text is a table; `kernels`, `memory` and the times are data.

    Example:
        >>> x = plait.randn(256, 256)
        >>> with plait.profile() as p:
        ...     y = (x @ x).sum().item()
        >>> sum(kernel.calls for kernel in p.kernels) >= 1
        True
    """
    return Profile()


def _covered(intervals: Sequence[tuple[float, float]]) -> float:
    """The time in any of some intervals: functions of the host may run programs inside of one."""
    total, reached = 0.0, -float("inf")
    for begin, end in sorted(intervals):
        total += max(0.0, end - max(begin, reached))
        reached = max(reached, end)
    return total


def _steps_of(log: Log) -> list[tuple[Origin, Work, range]]:
    """The kernels and calls of a log's program: what each is, its work, and its rows."""
    executable = log.executable
    steps, firsts = executable.plan.steps, [*executable.first_rows, executable.program.row_count - 1]
    return [
        (origin_of(step), work_of(step), range(firsts[k], firsts[k + 1]))
        for k, step in enumerate(steps)
        if isinstance(step, Launch | HostCall) and firsts[k] < firsts[k + 1]
    ]


def _added(kernel: Kernel | None, origin: Origin, calls: int, seconds: float, work: Work) -> Kernel:
    new = Kernel(
        origin, calls, seconds, calls * work.flops, calls * work.nbytes,
        calls * machine().floor(work.flops, work.nbytes, work.width),
    )  # fmt: skip
    if kernel is None:
        return new
    names = ("calls", "seconds", "flops", "nbytes", "floor_seconds")
    return replace(new, **{name: getattr(new, name) + getattr(kernel, name) for name in names})


def _memory(runs: Sequence[Run], logs: Sequence[Log], start: float) -> Memory:
    if not runs:
        return Memory()
    worst = max(runs, key=lambda run: run.used_bytes)
    executable = logs[worst.log].executable
    moment = worst_moment(executable.plan, list(executable.donated))
    inputs = Holder("input", "all inputs of the program", moment.input_bytes, Origin(""))
    rest = moment.arena_bytes - sum(h.nbytes for h in moment.temporaries)
    known = moment.peak_bytes - rest
    other = Holder("", "all other tensors", max(0, worst.used_bytes - known), Origin(""))
    holders = sorted([*moment.temporaries, *moment.outputs, inputs, other], key=lambda h: -h.nbytes)
    over_time = tuple((run.begin - start, run.used_bytes) for run in runs)
    return Memory(over_time, worst.used_bytes, tuple(h for h in holders if h.nbytes))
