"""The builder that lowerings use to write loop IR."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from plait.core.dtype import DType, bool_, int64
from plait.core.errors import InternalError
from plait.ir.loop import (
    Accumulate,
    Accumulator,
    Allocate,
    Assign,
    Buffer,
    Declare,
    Expr,
    For,
    Function,
    If,
    Index,
    Kernel,
    Local,
    Prefetch,
    Scan,
    Statement,
    Store,
    Value,
    Variable,
    While,
    const,
    fresh,
    make,
)


class LocalValue:
    """Handle of a mutable local: `get()`, `set(value)`."""

    __slots__ = ("builder", "local")

    def __init__(self, builder: Builder, local: Local) -> None:
        self.builder, self.local = builder, local

    def get(self) -> Expr:
        """Read the current value."""
        return fresh("local", (), self.local.dtype, self.local)

    def set(self, value: Value) -> None:
        """Assign a new value."""
        self.builder.add(Assign(self.local, const(value, self.local.dtype)))


class AccumulatorValue:
    """Handle of an accumulator: `add(value, guard=None)`, `get()`."""

    __slots__ = ("builder", "local")

    def __init__(self, builder: Builder, local: Accumulator) -> None:
        self.builder, self.local = builder, local

    def get(self) -> Expr:
        """Read the combined value."""
        return fresh("accumulator", (), self.local.dtype, self.local)

    def add(self, value: Value, guard: Expr | None = None) -> None:
        """Combine one more value."""
        self.builder.add(Accumulate(self.local, const(value, self.local.dtype), guard))

    def scan(self, value: Value) -> Expr:
        """Combine one more value; return the result so far, in a vector loop up to each lane."""
        local = Local(self.builder.name_of("v"), self.local.dtype)
        self.builder.add(Scan(local, self.local, const(value, local.dtype)))
        return fresh("local", (), local.dtype, local)


class Builder:
    """Writes one `Kernel`: its parallel phases, loops, locals and stores.

    >>> b = Builder("double")
    >>> x, y = b.input("x", plait.float32, 10), b.output("y", plait.float32, 10)
    >>> with b.parallel(10, mark="vector") as i:
    ...     b.store(y, i, b.load(x, i) * 2.0)
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.kernel = Kernel()
        self._arguments: list[Buffer] = []
        self._scalars: dict[str, Expr] = {}
        self._bodies: list[list[Statement]] = []
        self._count = 0

    # arguments
    def input(self, name: str, dtype: DType, size: Index) -> Buffer:
        """Declare a read-only argument of `size` elements."""
        return self._argument(Buffer(name, dtype, size, "input"))

    def output(self, name: str, dtype: DType, size: Index) -> Buffer:
        """Declare a written argument of `size` elements."""
        return self._argument(Buffer(name, dtype, size, "output"))

    def workspace(self, dtype: DType, size: Index) -> Buffer:
        """Declare memory shared by the phases of this kernel, uninitialised."""
        buffer = self._argument(Buffer(self.name_of("w"), dtype, size, "workspace"))
        self.kernel.workspaces.append(buffer)
        return buffer

    def stack(self, dtype: DType, size: int) -> Buffer:
        """Start the life of a private buffer of constant size (at most 272 KiB)."""
        buffer = Buffer(self.name_of("s"), dtype, size, "stack")
        self.add(Allocate(buffer))
        return buffer

    def scalar(self, name: str) -> Expr:
        """Return the int64 argument called `name`, declaring it at first use."""
        if name not in self._scalars:
            self._scalars[name] = make("scalar", (), int64, name)
        return self._scalars[name]

    def rounds(self, count: Index) -> Expr:
        """Run all phases `count` times over; returns the number of the round, from 0."""
        self.kernel.rounds = count
        return self.scalar("round")

    def _argument(self, buffer: Buffer) -> Buffer:
        self._arguments.append(buffer)
        return buffer

    def name_of(self, prefix: str) -> str:
        """A new name."""
        self._count += 1
        return f"{prefix}{self._count}"

    # statements
    def add(self, statement: Statement) -> None:
        """Append a statement to the innermost open body."""
        if not self._bodies:
            raise InternalError("loop IR: statements belong inside builder.parallel(...)")
        self._bodies[-1].append(statement)

    @contextmanager
    def _body(self) -> Iterator[list[Statement]]:
        body: list[Statement] = []
        self._bodies.append(body)
        yield body
        self._bodies.pop()

    @contextmanager
    def parallel(self, extent: Index, mark: str = "", grain: int = 1) -> Iterator[Expr]:
        """Open a phase: a parallel loop over independent iterations. Phases run in order, with a barrier between."""
        if self._bodies:
            raise InternalError("loop IR: parallel loops do not nest")
        variable = Variable(self.name_of("p"))
        with self._body() as body:
            yield make("var", (), int64, variable)
        name = f"{self.name}_{len(self.kernel.functions)}"
        self.kernel.functions.append(Function(name, [], [], variable, const(extent), mark, body, grain))

    @contextmanager
    def loop(self, low: Index, high: Index, step: int = 1, mark: str = "") -> Iterator[Expr]:
        """Open a loop over range(low, high, step); see `For` for the marks."""
        variable = Variable(self.name_of("i"))
        with self._body() as body:
            yield make("var", (), int64, variable)
        self.add(For(variable, const(low), const(high), step, mark, body))

    def vector(self, low: Index, high: Index) -> Any:
        """Open a loop whose iterations are independent, to be computed in vector lanes."""
        return self.loop(low, high, 1, "vector")

    @contextmanager
    def loops(self, extents: Sequence[Index], mark: str = "") -> Iterator[list[Expr]]:
        """Open nested loops over 0..extent; the innermost gets `mark`. Without extents the body runs once."""
        if not extents:
            yield []
            return
        innermost = mark if len(extents) == 1 else ""
        with self.loop(0, extents[0], 1, innermost) as i, self.loops(extents[1:], mark) as inner:
            yield [i, *inner]

    @contextmanager
    def when(self, condition: Expr) -> Iterator[None]:
        """Open an if."""
        with self._body() as body:
            yield
        self.add(If(condition, body, []))

    @contextmanager
    def otherwise(self) -> Iterator[None]:
        """Open the else of the `when` just closed."""
        last = self._bodies[-1][-1]
        if not isinstance(last, If):
            raise InternalError("loop IR: otherwise() follows when()")
        with self._body() as body:
            yield
        last.orelse = body

    @contextmanager
    def repeat_while(self, condition: Expr) -> Iterator[None]:
        """Open a while loop; the condition reads locals and is evaluated anew each time."""
        with self._body() as body:
            yield
        self.add(While(condition, body))

    def local(self, dtype: DType, value: Value) -> LocalValue:
        """Declare a mutable scalar."""
        local = Local(self.name_of("v"), dtype)
        self.add(Declare(local, const(value, dtype)))
        return LocalValue(self, local)

    def accumulator(self, op: str, dtype: DType, value: Value) -> AccumulatorValue:
        """Declare an accumulator for an operation of `ACCUMULATE`, starting at `value`."""
        local = Accumulator(self.name_of("a"), dtype, op)
        self.add(Declare(local, const(value, dtype)))
        return AccumulatorValue(self, local)

    def load(self, buffer: Buffer, index: Index, guard: Expr | None = None) -> Expr:
        """Read `buffer[index]`; where `guard` is false nothing is read and the value is 0."""
        guarded = guard is not None and not (guard.op == "const" and guard.attr)
        args = (const(index), guard) if guarded and guard is not None else (const(index),)
        return (make if buffer.space == "input" else fresh)("load", args, buffer.dtype.compute, buffer)

    def store(self, buffer: Buffer, index: Index, value: Value, guard: Expr | None = None) -> None:
        """Write `buffer[index] = value` where `guard` holds."""
        self.add(Store(buffer, const(index), const(value, buffer.dtype.compute), guard))

    def prefetch(self, buffer: Buffer, index: Index, level: int = 1) -> None:
        """Hint that `buffer[index]`, which need not exist, is read soon."""
        self.add(Prefetch(buffer, const(index), level))

    def finish(self) -> Kernel:
        """Return the kernel; every function receives all its arguments, in the same order."""
        for function in self.kernel.functions:
            function.buffers = list(self._arguments)
            function.scalars = list(self._scalars)
        return self.kernel


def both(a: Expr | None, b: Expr | None) -> Expr | None:
    """The conjunction of two optional guards."""
    if a is None or b is None:
        return b if a is None else a
    return a & b


TRUE = const(True, bool_)
