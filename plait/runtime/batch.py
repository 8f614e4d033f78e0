"""Batches: many small programs run by one native call, their rows put together without building a program anew."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from plait.compiler.llvm.executor import END, HEADER_WORDS, KERNEL, ROW_WORDS
from plait.runtime.buffer import allocate, to_numpy
from plait.runtime.launch import Executable, shared_memory
from plait.runtime.pool import executor

_ARGS = 2  # the word of a row that points to its arguments
_ALL_THREADS = 1 << 30
_ALIGNMENT = 64
_END = np.array([END, 0, 0, 0, 1, 0, 0, 0], np.int64)


class Unit:
    """The rows of a program of kernels alone, ready to be moved: addresses in them count from their beginning.

    `results` and `temporaries` are offsets of what it makes in a block of `nbytes` bytes.
    """

    __slots__ = ("rows", "args", "is_slot", "slot_count", "results", "temporaries", "nbytes")

    def __init__(self, program: Executable) -> None:
        builder = program.program.builder
        kernels = [r for r in builder.rows if r.kind == KERNEL]
        self.rows = np.array([[KERNEL, r.function, 8 * r.args, r.extent, r.grain, 0, r.flags, 0] for r in kernels])
        self.rows = self.rows.astype(np.int64).reshape(-1)
        self.args = np.array(builder.args, np.int64)
        self.is_slot = np.ones(len(builder.args), np.int64)
        for at, count in builder.scalars.values():
            self.is_slot[at : at + count] = 0
        self.slot_count = builder.slot_count
        self.results: list[int] = []
        self.nbytes = program.plan.arena
        for _, nbytes in program.outputs:
            self.nbytes = -(-self.nbytes // _ALIGNMENT) * _ALIGNMENT
            self.results.append(self.nbytes)
            self.nbytes += nbytes
        self.nbytes = -(-self.nbytes // _ALIGNMENT) * _ALIGNMENT
        self.temporaries = [offset for _, offset in program.temporaries]


def unit_of(program: Executable) -> Unit | None:
    """Return a program as a unit; None where it does more than to run kernels one after the other."""
    slots = [*program.inputs, *[s for s, _ in program.outputs], *[s for s, _ in program.temporaries]]
    is_plain = all(r.kind in (KERNEL, END) for r in program.program.builder.rows)
    return Unit(program) if is_plain and slots == list(range(program.program.builder.slot_count)) else None


class Batch:
    """Collects units and the addresses of what they read and write; what they make in between is in shared memory."""

    def __init__(self, nbytes: int) -> None:
        self.units: list[Unit] = []
        self.table: list[int] = []
        self._next = shared_memory(nbytes)

    def add(self, unit: Unit, inputs: Sequence[int], owned: Sequence[int | None] | None = None) -> list[int]:
        """Let a unit run next; returns the addresses of its results: those in `owned`, or such in shared memory."""
        start = self._next
        self._next = start + unit.nbytes
        results = [start + offset for offset in unit.results]
        if owned is not None:
            results = [o or r for o, r in zip(owned, results, strict=True)]
        self.units.append(unit)
        self.table += inputs
        self.table += results
        if unit.temporaries:
            self.table += [start + offset for offset in unit.temporaries]
        return results

    def run(self) -> None:
        """Run all of them, in order; the caller holds the lock of running programs."""
        units, shared = self.units, executor()
        row_words = [len(u.rows) for u in units]
        arg_words = [len(u.args) for u in units]
        args_at = HEADER_WORDS + sum(row_words) + ROW_WORDS
        table_at = args_at + sum(arg_words)
        memory = allocate(8 * (table_at + len(self.table)))
        words = to_numpy(memory, np.int64, (table_at + len(self.table),), writable=True)
        words[:HEADER_WORDS] = 0
        words[:4] = (shared.pool, memory.address + 8 * HEADER_WORDS, memory.address + 8 * table_at, _ALL_THREADS)
        rows = words[HEADER_WORDS:args_at]
        np.concatenate([*[u.rows for u in units], _END], out=rows)
        counts = np.array(arg_words)
        firsts = memory.address + 8 * (args_at + np.cumsum(counts) - counts)
        rows[_ARGS:-ROW_WORDS:ROW_WORDS] += np.repeat(firsts, [n // ROW_WORDS for n in row_words])
        args = np.concatenate([u.args for u in units], out=words[args_at:table_at])
        slots = np.array([u.slot_count for u in units])
        args += np.repeat(np.cumsum(slots) - slots, counts) * np.concatenate([u.is_slot for u in units])
        words[table_at:] = self.table
        shared.run(memory.address)
