"""Programs: the tables that the executor walks, and the builder that writes them."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from plait.compiler.llvm.executor import (
    CALL,
    END,
    HEADER_WORDS,
    JUMP,
    JUMP_IF_ZERO,
    KERNEL,
    NO_BARRIER,
    ROW_WORDS,
    SOLO,
)
from plait.compiler.llvm.log import LOG_WORD
from plait.core.errors import InternalError
from plait.runtime.buffer import allocate, to_numpy
from plait.runtime.pool import executor

_MAX_GRAIN = 1 << 40
_ALL_THREADS = 1 << 30
_HOST_FUNCTION = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p)
_STOP_WORD = 4
_EXCEPTION = slice(5, 8)  # words of the header: type, value and traceback of what a signal handler raised
_restore = ctypes.PYFUNCTYPE(None, *[ctypes.c_void_p] * 3)(("PyErr_Restore", ctypes.pythonapi))


@dataclass(slots=True)
class _Row:
    kind: int
    function: int = 0
    args: int = 0  # offset of the arguments' first word; for JUMP_IF_ZERO the slot itself
    extent: int = 0
    grain: int = 1
    label: int = -1
    flags: int = 0
    callback: tuple[Callable[..., Any], int] | None = None  # a Python function and the number of its arguments


class Program:
    """A ready program: its rows, arguments and pointer table in one block of memory.

    `table` is the pointer table as a writable memoryview: `program.table[slot] = address`; `builder` made it.
    A program runs once at a time: threads that share one use a `clone()` each.

    Example:
        >>> builder = ProgramBuilder()
        >>> x = builder.slot()
        >>> builder.kernel(address_of_kernel, [x], [], extent=1 << 20, grain=4096)  # doctest: +SKIP
        >>> program = builder.build()
        >>> program.set(x, buffer.address)  # doctest: +SKIP
        >>> program.run()
    """

    __slots__ = ("table", "address", "builder", "_block", "_words", "_native", "_callbacks", "_errors", "_branches")

    def __init__(self, builder: ProgramBuilder) -> None:
        shared = executor()
        rows_at = HEADER_WORDS
        args_at = rows_at + ROW_WORDS * len(builder.rows)
        table_at = args_at + len(builder.args)
        size = table_at + max(1, builder.slot_count)
        self.builder, self._native = builder, shared.run
        self._block = allocate(8 * size)
        self._words = to_numpy(self._block, np.int64, (size,), writable=True).data
        self.address = start = self._block.address
        self._errors: list[BaseException] = []
        self._branches = any(row.kind == JUMP_IF_ZERO for row in builder.rows)
        self._callbacks: list[Any] = []
        self._words[:HEADER_WORDS] = _int64(
            [shared.pool, start + 8 * rows_at, start + 8 * table_at, builder.threads, *[0] * (HEADER_WORDS - 4)]
        )
        rows: list[int] = []
        for row in builder.rows:
            function = row.function if row.callback is None else self._host_function(*row.callback)
            args = row.args if row.kind == JUMP_IF_ZERO else start + 8 * (args_at + row.args)
            target = builder.labels[row.label] if row.label >= 0 else 0
            rows += [row.kind, function, args, row.extent, row.grain, target, row.flags, 0]
        self._words[rows_at:args_at] = _int64(rows)
        self._words[args_at:table_at] = _int64(builder.args)
        self._words[table_at:] = _int64([0] * (size - table_at))
        self.table = self._words[table_at:]

    def set(self, slot: int, address: int) -> None:
        """Let `slot` of the pointer table be `address`."""
        self.table[slot] = address

    def set_extent(self, row: int, extent: int) -> None:
        """Change the extent of the kernel at `row`, as returned by `ProgramBuilder.kernel`."""
        self._words[HEADER_WORDS + ROW_WORDS * row + 3] = extent

    def set_scalar(self, row: int, index: int, value: int) -> None:
        """Change the scalar argument number `index` of the kernel at `row`."""
        at, count = self.builder.scalars[row]
        if not 0 <= index < count:
            raise InternalError(f"row {row} has {count} scalars; there is no number {index}")
        self._words[HEADER_WORDS + ROW_WORDS * len(self.builder.rows) + at + index] = value

    def run(self) -> None:
        """Run to the end; releases the interpreter lock meanwhile.

        Raises the exception of a host callback, if one raised, or of a signal handler that ran during a loop (such
        as `KeyboardInterrupt`); the rest of the program is then skipped.
        """
        self._native(self.address)
        if self._errors or self._branches and self._words[_STOP_WORD]:
            self._words[_STOP_WORD] = 0
            if self._errors:
                raise self._errors.pop()
            exception = list(self._words[_EXCEPTION])
            self._words[_EXCEPTION] = _int64([0, 0, 0])
            _restore(*exception)  # raises

    @property
    def row_count(self) -> int:
        """Rows of its table, the one that ends it included."""
        return len(self.builder.rows)

    def log_to(self, address: int) -> None:
        """Write down when rows begin and end in the log at `address` (see `plait.compiler.llvm.log`); 0: no more."""
        self._words[LOG_WORD] = address

    def clone(self) -> Program:
        """Return a program with the same rows, arguments as built, and an empty table of its own."""
        return Program(self.builder)

    def _host_function(self, function: Callable[..., Any], count: int) -> int:
        """Return the address of a native function that calls `function` with `count` addresses."""
        errors, words = self._errors, self._words

        def call(table: int, args: int) -> None:
            try:
                slots = (ctypes.c_int64 * count).from_address(args)
                function(*[ctypes.c_int64.from_address(table + 8 * slot).value for slot in slots])
            except BaseException as error:
                errors.append(error)
                words[_STOP_WORD] = 1

        native = _HOST_FUNCTION(call)
        self._callbacks.append(native)
        return ctypes.cast(native, ctypes.c_void_p).value or 0


def _int64(values: Sequence[int]) -> memoryview:
    return np.array(values, np.int64).data


def _is_narrow(row: _Row) -> bool:
    return row.kind != CALL and (row.kind != KERNEL or row.extent < 2 * row.grain)


class ProgramBuilder:
    """Collects the rows of a program.

    Args:
        threads: the most threads to use; by default as many as `host.thread_count()` says when it runs.
    """

    def __init__(self, threads: int = _ALL_THREADS) -> None:
        self.threads = threads
        self.slot_count = 0
        self.rows: list[_Row] = []
        self.args: list[int] = []
        self.scalars: dict[int, tuple[int, int]] = {}
        self.labels: list[int] = []
        self.kept: list[Any] = []

    def slot(self) -> int:
        """Return the index of a new entry of the pointer table."""
        self.slot_count += 1
        return self.slot_count - 1

    def kernel(
        self,
        function: int,
        slots: Sequence[int],
        scalars: Sequence[int] = (),
        extent: int = 1,
        grain: int = 1,
        barrier: bool = True,
    ) -> int:
        """Add a call of a compiled kernel; returns its row.

        Args:
            function: address of `void f(ptr table, ptr args, i64 low, i64 high)`.
            slots: table entries of its buffers, in order.
            scalars: its integer arguments, in order.
            extent: iterations of its parallel loop.
            grain: the fewest iterations worth a thread.
            barrier: whether rows after it may use what it wrote. False for all but the last of rows
                that do not depend on each other.
        """
        at = self._arguments([*slots, *scalars], len(slots))
        row = len(self.rows)
        self.scalars[row] = (at + len(slots), len(scalars))
        grain = min(max(1, grain), _MAX_GRAIN)
        self.rows.append(_Row(KERNEL, function, at, extent, grain, flags=0 if barrier else NO_BARRIER))
        return row

    def call(self, function: int | Callable[..., Any], slots: Sequence[int]) -> None:
        """Add a call that runs on the thread of `Program.run`, while the others wait.

        Args:
            function: a Python function of as many addresses as there are slots, or the address of a native
                `void f(ptr table, ptr args)`.
            slots: table entries of its buffers, in order.
        """
        at = self._arguments(slots, len(slots))
        if isinstance(function, int):
            self.rows.append(_Row(CALL, function, at))
        else:
            self.rows.append(_Row(CALL, args=at, callback=(function, len(slots))))

    def label(self) -> int:
        """Return a new label, to be placed with `place`."""
        self.labels.append(-1)
        return len(self.labels) - 1

    def place(self, label: int) -> None:
        """Let `label` be the position of the next row."""
        self.labels[label] = len(self.rows)

    def jump(self, label: int) -> None:
        """Add a jump."""
        self.rows.append(_Row(JUMP, label=label))

    def jump_if_zero(self, slot: int, label: int) -> None:
        """Add a jump that is taken if the first byte of the buffer in `slot` is 0."""
        self._check([slot])
        self.rows.append(_Row(JUMP_IF_ZERO, args=slot, label=label))

    def keep(self, owner: Any) -> None:
        """Keep `owner` (loaded code, constants) alive as long as the program."""
        self.kept.append(owner)

    def build(self) -> Program:
        """Return the program; the builder must not change any more."""
        if not self.rows or self.rows[-1].kind != END:
            self.rows.append(_Row(END))
        if -1 in self.labels:
            raise InternalError(f"label {self.labels.index(-1)} was never placed")
        self._mark_narrow_loops()
        return Program(self)

    def _mark_narrow_loops(self) -> None:
        """Let one thread walk the loops in which no row is worth more: the others need not wait for it at each turn."""
        for last, row in enumerate(self.rows):
            first = self.labels[row.label] if row.kind == JUMP else last
            if first >= last or not all(_is_narrow(r) for r in self.rows[first:last]):
                continue
            for exit_row in self.rows[first:last]:
                if exit_row.kind == JUMP_IF_ZERO and self.labels[exit_row.label] == last + 1:
                    exit_row.flags |= SOLO

    def _arguments(self, words: Sequence[int], slots: int) -> int:
        self._check(words[:slots])
        self.args += words
        return len(self.args) - len(words)

    def _check(self, slots: Sequence[int]) -> None:
        if any(not 0 <= slot < self.slot_count for slot in slots):
            raise InternalError(f"slots {list(slots)} of a table of {self.slot_count}")
