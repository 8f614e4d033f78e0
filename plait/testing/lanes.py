"""The interpreter of `plait.ir.interp` over many iterations at once, and a check that these are independent.

All iterations of a parallel loop, and of the vector loops inside it, go through each statement together, one lane
each. Expressions mean what `interp.evaluate` says. It finds accesses out of bounds and, across the iterations of a
parallel loop, two writes of one element or a read of what another iteration wrote.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from plait.core.dtype import bool_
from plait.core.errors import InternalError
from plait.ir.interp import _OPERATIONS, evaluate, multiply_blocks, places_of
from plait.ir.loop import (
    Accumulate,
    Allocate,
    Assign,
    Buffer,
    Declare,
    Dots,
    Expr,
    For,
    Function,
    If,
    Kernel,
    Local,
    Prefetch,
    Scan,
    Statement,
    Store,
    Variable,
    While,
    const,
    walk,
)

Array = Any
PATTERN = 0xA5


def run_kernel(kernel: Kernel, arrays: Sequence[Array], scalars: Mapping[str, int]) -> None:
    """Execute all functions of a kernel; `arrays` are its flat input and output arrays, in order."""
    given = dict(zip([b for b in _arguments(kernel) if b.space != "workspace"], arrays, strict=True))
    given.update(workspaces_of(kernel, scalars))
    for function in kernel.functions:
        Lanes(function, [given[b] for b in function.buffers], scalars).run()


def workspaces_of(kernel: Kernel, scalars: Mapping[str, int]) -> dict[Buffer, Array]:
    """Return memory for the workspaces of a kernel."""
    sizes = [evaluate(const(w.size), {}, lambda e, _: scalars[e.attr]) for w in kernel.workspaces]
    return {w: uninitialized(w.dtype, int(size)) for w, size in zip(kernel.workspaces, sizes, strict=True)}


def _arguments(kernel: Kernel) -> list[Buffer]:
    return kernel.functions[0].buffers if kernel.functions else []


def uninitialized(dtype: Any, size: int) -> Array:
    """Return an array filled with a pattern, so that a read of memory never written shows."""
    raw = np.full(size * dtype.itemsize, 1 if dtype is bool_ else PATTERN, np.uint8)
    return raw.view(dtype.numpy)


@dataclass(slots=True)
class _Frame:
    """A set of lanes: the parallel iteration of each, which are active, and what holds for them."""

    task: Array
    mask: Array
    variables: dict[Variable | Local, Array]
    known: dict[Expr, Array]
    scopes: list[list[Expr]] = field(default_factory=lambda: [[]])

    def spread(self, count: int, mask: Array) -> _Frame:
        """Each lane `count` times."""
        variables = {v: np.repeat(a, count) if np.ndim(a) else a for v, a in self.variables.items()}
        known = {e: np.repeat(a, count) if np.ndim(a) else a for e, a in self.known.items()}
        return _Frame(np.repeat(self.task, count), mask, variables, known)


class Lanes:
    """One run of a function over all iterations of its parallel loop."""

    def __init__(self, function: Function, arrays: Sequence[Array], scalars: Mapping[str, int]) -> None:
        self.function, self.scalars = function, scalars
        self.memory: dict[Buffer, Array] = dict(zip(function.buffers, arrays, strict=True))
        self.writer = {b: np.full(len(a), -1) for b, a in self.memory.items() if b.space != "input"}

    def run(self) -> None:
        """Execute every iteration."""
        count = int(evaluate(self.function.extent, {}, lambda e, _: self.scalars[e.attr]))
        if count <= 0:
            return
        task = np.arange(count)
        frame = _Frame(task, np.ones(count, bool), {self.function.variable: task}, {})
        with np.errstate(all="ignore"):
            self.execute(self.function.body, frame)

    # values
    def value(self, expr: Expr, frame: _Frame, mask: Array | None = None) -> Array:
        active = frame.mask if mask is None else mask
        return evaluate(expr, frame.known, lambda e, values: self.read(e, values, frame, active))

    def read(self, expr: Expr, values: list[Array], frame: _Frame, mask: Array) -> Array:
        if expr.op == "scalar":
            return self.scalars[expr.attr]
        if expr.op == "load":
            held = mask if len(values) == 1 else mask & values[1]
            result = self.load(expr.attr, values[0], held, frame).astype(expr.dtype.numpy)
        elif expr.attr in frame.variables:
            result = np.asarray(frame.variables[expr.attr], expr.dtype.numpy)
        else:
            raise InternalError(f"loop IR: {expr.op} {expr!r} is read outside its scope")
        if expr.op != "var" and not (expr.op == "load" and expr.attr.space == "input"):
            frame.known[expr] = result
            frame.scopes[-1].append(expr)
        return result

    def load(self, buffer: Buffer, index: Array, held: Array, frame: _Frame) -> Array:
        index = self.checked(buffer, index, held)
        memory = self.memory[buffer]
        if buffer.space == "stack":
            return np.where(held, memory[frame.task, index], memory.dtype.type(0))
        if buffer in self.writer:
            other = self.writer[buffer][index]
            if np.any(held & (other >= 0) & (other != frame.task)):
                raise InternalError(f"loop IR: an iteration reads what another one writes in {buffer!r}")
        if not len(memory):
            return np.zeros(np.shape(held), memory.dtype)
        found = memory[index]
        return found if held.all() else np.where(held, found, memory.dtype.type(0))

    def checked(self, buffer: Buffer, index: Array, held: Array) -> Array:
        size = self.memory[buffer].shape[-1]
        outside = (index < 0) | (index >= size)
        if not outside.any():
            return index
        wrong = held & outside
        if wrong.any():
            raise InternalError(
                f"loop IR: index {int(np.broadcast_to(index, wrong.shape)[wrong][0])} is outside {buffer!r}"
            )
        return np.where(outside, 0, index)

    # statements
    def execute(self, body: Sequence[Statement], frame: _Frame) -> None:
        frame.scopes.append([])
        for s in body:
            self.statement(s, frame)
        for expr in frame.scopes.pop():
            frame.known.pop(expr, None)

    def statement(self, s: Statement, frame: _Frame) -> None:
        if isinstance(s, For):
            self.loop(s, frame)
        elif isinstance(s, While):
            self.repeat(s, frame)
        elif isinstance(s, If):
            condition = self.value(s.condition, frame)
            self.branch(s.body, frame, frame.mask & condition)
            self.branch(s.orelse, frame, frame.mask & ~condition)
        elif isinstance(s, Declare):
            frame.variables[s.local] = np.broadcast_to(self.value(s.value, frame), frame.mask.shape)
        elif isinstance(s, Assign):
            self.assign(s.local, self.value(s.value, frame), frame)
        elif isinstance(s, Scan):
            self.guarded(Accumulate(s.accumulator, s.value, None), frame)
            frame.variables[s.local] = frame.variables[s.accumulator]
        elif isinstance(s, Allocate):
            count = int(frame.task.max()) + 1
            assert isinstance(s.buffer.size, int)
            self.memory[s.buffer] = uninitialized(s.buffer.dtype, s.buffer.size * count).reshape(count, -1)
        elif isinstance(s, Dots):
            self.dots(s, frame)
        elif not isinstance(s, Prefetch):
            self.guarded(s, frame)

    def dots(self, s: Dots, frame: _Frame) -> None:
        numbers = [self.value(e, frame) for e in (s.left_at, s.right_at, s.sums_at, s.depth)]
        numbers = [np.broadcast_to(n, frame.mask.shape) for n in numbers]
        for lane in np.flatnonzero(frame.mask):
            *at, depth = (int(n[lane]) for n in numbers)
            buffers = [self.memory[b] for b in (s.left, s.right, s.sums)]
            own = [m[frame.task[lane]] if m.ndim > 1 else m for m in buffers]
            multiply_blocks(s, own, places_of(s, at, depth))

    def branch(self, body: Sequence[Statement], frame: _Frame, mask: Array) -> None:
        if body and mask.any():
            previous, frame.mask = frame.mask, mask
            self.execute(body, frame)
            frame.mask = previous

    def assign(self, local: Local, value: Array, frame: _Frame) -> None:
        old = frame.variables[local]
        chosen: Array = np.where(frame.mask, value, old)
        frame.variables[local] = chosen.astype(local.dtype.numpy)

    def repeat(self, s: While, frame: _Frame) -> None:
        outer = frame.mask
        while True:
            frame.scopes.append([])
            frame.mask = frame.mask & self.value(s.condition, frame)
            alive = frame.mask.any()
            if alive:
                self.execute(s.body, frame)
            for expr in frame.scopes.pop():
                frame.known.pop(expr, None)
            if not alive:
                break
        frame.mask = outer

    def loop(self, s: For, frame: _Frame) -> None:
        low: Array = np.broadcast_to(self.value(s.low, frame), frame.mask.shape)
        high: Array = np.broadcast_to(self.value(s.high, frame), frame.mask.shape)
        turns: Array = np.where(frame.mask, np.maximum(0, -(-(high - low) // s.step)), 0)
        count = int(turns.max(initial=0))
        if s.mark == "vector" and count and not self.accumulates_deep(s, frame):
            self.vector(s, frame, low, turns, count)
            return
        outer = frame.mask
        for k in range(count):
            frame.mask = outer & (k < turns)
            frame.variables[s.variable] = low + k * s.step
            self.execute(s.body, frame)
        frame.mask = outer

    def accumulates_deep(self, s: For, frame: _Frame) -> bool:
        """Whether a nested statement accumulates into what lives outside: then the iterations go one by one."""
        nested = [t for t in walk(s.body) if isinstance(t, Accumulate) and t.accumulator in frame.variables]
        return any(all(t is not direct for direct in s.body) for t in nested)

    def vector(self, s: For, frame: _Frame, low: Array, turns: Array, count: int) -> None:
        """All iterations at once; what they accumulate is combined afterwards, in order."""
        number = np.tile(np.arange(count), len(frame.mask))
        mask = np.repeat(frame.mask, count) & (number < np.repeat(turns, count))
        inner = frame.spread(count, mask)
        before = dict(inner.variables)
        inner.variables[s.variable] = np.repeat(low, count) + number * s.step
        inner.scopes.append([])
        for t in s.body:
            if isinstance(t, Accumulate) and t.accumulator in before:
                self.combine(t, frame, inner, count)
            elif isinstance(t, Scan):
                found = self.combine(Accumulate(t.accumulator, t.value, None), frame, inner, count)
                inner.variables[t.local] = np.stack(found, axis=1).reshape(-1)
            else:
                self.statement(t, inner)
        for local, old in before.items():
            if inner.variables[local] is not old:
                raise InternalError(f"loop IR: a vector loop assigns {local!r}, which lives outside")

    def combine(self, s: Accumulate, outer: _Frame, inner: _Frame, count: int) -> list[Array]:
        """Add to an accumulator outside the loop, in order; returns its values."""
        found = []
        held = inner.mask if s.guard is None else inner.mask & self.value(s.guard, inner)
        value = np.broadcast_to(self.value(s.value, inner, held), held.shape).reshape(-1, count)
        held = held.reshape(-1, count)
        dtype, total = s.accumulator.dtype, outer.variables[s.accumulator]
        for k in range(count):
            combined = np.asarray(_OPERATIONS[s.accumulator.op](dtype, total, value[:, k]), dtype.numpy)
            total = np.where(held[:, k], combined, total)
            found.append(total)
        outer.variables[s.accumulator] = total
        return found

    def guarded(self, s: Accumulate | Store, frame: _Frame) -> None:
        held = frame.mask
        if s.guard is not None:
            held = held & self.value(s.guard, frame)
            if not held.any():
                return
            frame.scopes.append([])
        value = self.value(s.value, frame, held)
        if isinstance(s, Accumulate):
            old = frame.variables[s.accumulator]
            combined = np.asarray(_OPERATIONS[s.accumulator.op](s.accumulator.dtype, old, value), old.dtype)
            frame.variables[s.accumulator] = np.where(held, combined, old)
        else:
            self.store(s.buffer, self.value(s.index, frame, held), value, held, frame)
        if s.guard is not None:
            for expr in frame.scopes.pop():
                frame.known.pop(expr, None)

    def store(self, buffer: Buffer, index: Array, value: Array, held: Array, frame: _Frame) -> None:
        memory = self.memory[buffer]
        index = np.broadcast_to(self.checked(buffer, index, held), held.shape)[held]
        value = np.broadcast_to(value, held.shape)[held].astype(buffer.dtype.numpy)
        task = frame.task[held]
        if buffer.space == "stack":
            memory[task, index] = value
            return
        writer = self.writer[buffer]
        other = writer[index]
        writer[index] = task
        if np.any((other >= 0) & (other != task)) or np.any(writer[index] != task):
            raise InternalError(f"loop IR: two iterations write one element of {buffer!r}")
        memory[index] = value
