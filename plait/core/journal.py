"""The journal: what was compiled lately, why, and what each pass took. Calls of compiled code write nothing here."""

from __future__ import annotations

import sys
import threading
import time
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from plait.core import flags
from plait.core.locks import make_lock

MOST_RECORDS = 1000


@dataclass(eq=False, slots=True)
class Compilation:
    """One compilation.

    Attributes:
        number: counts all compilations of the process.
        what: name of the jitted function, or "eager".
        tier: "jit" for a version of a jitted function, "fused" for eager work that came back and is one program, or
            "generic" for eager work that is seen for the first time and runs operation by operation.
        source: the user's `file:line` that caused it.
        reasons: why, one line each.
        seconds: what each pass took, by its name, without the passes inside it.
        origins: kernels by where they came from: "compiled" (by LLVM), "disk" or "memory".
        kernels: launches of kernels in the program.
        steps: all steps of the program, with jumps and calls of host functions.
        arena_bytes: temporaries of the program, with what they share counted once.
        input_bytes, output_bytes: of its arguments and captured state, and of its results and new state.
        donated: results that take over the memory of an input.
        flops, bytes_moved: of one run, as the primitives state them; None where that was not counted.
        split: file and line of the look at a value at which a jitted function was split.
        failed: the error that ended it.
    """

    number: int
    what: str
    tier: str
    source: str
    reasons: tuple[str, ...]
    seconds: dict[str, float] = field(default_factory=dict)
    origins: Counter[str] = field(default_factory=Counter)
    kernels: int = 0
    steps: int = 0
    arena_bytes: int = 0
    input_bytes: int = 0
    output_bytes: int = 0
    donated: int = 0
    flops: float | None = None
    bytes_moved: int | None = None
    split: tuple[str, int] | None = None
    failed: str | None = None

    @property
    def total(self) -> float:
        """Seconds of all passes."""
        return sum(self.seconds.values())

    @property
    def counts(self) -> bool:
        """Whether machine code was made, or read from disk: not where all kernels were there, as for another size.

        Generic runs and failures do not count either.
        """
        is_new = self.origins["compiled"] + self.origins["disk"] > 0
        return self.tier != "generic" and self.failed is None and is_new

    def __repr__(self) -> str:
        compiled = self.origins["compiled"]
        text = f"{self.what} ({self.tier}) at {self.source or 'an unknown line'}: {self.total * 1e3:.1f} ms, "
        text += f"{self.kernels} kernels, {compiled} compiled by LLVM; {'; '.join(self.reasons)}"
        if self.split is not None:
            text += f"; split at {self.split[0]}:{self.split[1]}"
        return text if self.failed is None else f"{text}; failed with {self.failed}"


class _State(threading.local):
    """The compilation and the pass that run in a thread."""

    record: Compilation | None = None
    timer: timed | None = None


class timed:  # noqa: N801 - it reads as a verb: `with timed("fuse"):`
    """Add the time of a block to a pass of the running compilation; nothing where none runs."""

    __slots__ = ("name", "record", "outer", "inner", "start")

    def __init__(self, name: str) -> None:
        self.name = name

    def __enter__(self) -> None:
        self.record, self.outer, self.inner = _state.record, _state.timer, 0.0
        _state.timer = self
        self.start = time.perf_counter()

    def __exit__(self, *error: object) -> None:
        seconds = time.perf_counter() - self.start
        _state.timer = self.outer
        if self.outer is not None:
            self.outer.inner += seconds
        if self.record is not None:
            passes = self.record.seconds
            passes[self.name] = passes.get(self.name, 0.0) + seconds - self.inner


_state = _State()
_records: deque[Compilation] = deque(maxlen=MOST_RECORDS)
_lock = make_lock()
_made = 0


@contextmanager
def compilation(what: str, tier: str, source: str, reasons: Sequence[str], root: str) -> Iterator[Compilation]:
    """Record the compilation that a block is; time outside every `timed` pass is that of the pass `root`."""
    global _made
    with _lock:
        _made += 1
        record = Compilation(_made, what, tier, source, tuple(reasons))
        _records.append(record)
    outer, _state.record = _state.record, record
    try:
        with timed(root):
            yield record
    except BaseException as error:
        record.failed = type(error).__name__
        raise
    finally:
        _state.record = outer
        if "compile" in flags.logs:
            print(f"plait: {record!r}", file=sys.stderr)


def current() -> Compilation | None:
    """Return the compilation that runs in this thread."""
    return _state.record


def found(where: str) -> None:
    """Note that a kernel came from "compiled" (by LLVM), "disk" or "memory"."""
    if _state.record is not None:
        _state.record.origins[where] += 1


def records() -> list[Compilation]:
    """Return the last compilations, the oldest first."""
    with _lock:
        return list(_records)


def since(number: int) -> list[Compilation]:
    """Return the compilations after number `number` that the journal still has."""
    return [r for r in records() if r.number > number]


def last_number() -> int:
    """Return the number of the last compilation."""
    return _made
