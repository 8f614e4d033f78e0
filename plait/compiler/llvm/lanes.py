"""What is known about a vector loop: its width, which expressions vary between lanes, and with which stride."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

from plait.compiler.llvm.text import Target, Value
from plait.core.dtype import int64
from plait.ir.loop import (
    Accumulate,
    Accumulator,
    Assign,
    Declare,
    Expr,
    For,
    If,
    Local,
    Scan,
    Statement,
    Store,
    Variable,
    While,
    binary,
    const,
    walk,
)

_AFFINE = ("add", "sub", "mul")


@dataclass(frozen=True, slots=True)
class Plan:
    """How a vector loop is computed: lanes per vector, vectors per turn, and the size of its body."""

    width: int
    unroll: int
    size: int
    uses_stack: bool


@dataclass(slots=True)
class Analysis:
    """The lane analysis of one vector loop; all copies of its body share it."""

    variable: Variable
    locals: set[Local]
    varying: dict[Expr, bool] = field(default_factory=dict)
    strides: dict[Expr, Expr | None] = field(default_factory=dict)

    def varies(self, expr: Expr) -> bool:
        """Whether the value may differ between lanes."""
        known = self.varying
        if expr in known:
            return known[expr]
        pending = [expr]
        while pending:
            e = pending[-1]
            missing = [a for a in e.args if a not in known]
            if missing:
                pending += missing
                continue
            pending.pop()
            known[e] = (
                (e.op == "var" and e.attr is self.variable)
                or (e.op in ("local", "accumulator") and e.attr in self.locals)
                or any(known[a] for a in e.args)
            )
        return known[expr]

    def stride(self, index: Expr) -> Expr | None:
        """The uniform difference between neighbouring lanes of an int64 expression, or None if there is none."""
        known = self.strides
        pending = [index]
        while pending:
            e = pending[-1]
            missing = [a for a in e.args if a not in known] if self.varies(e) and e.op in _AFFINE else ()
            if missing:
                pending += missing
            elif pending.pop() not in known:
                known[e] = self._stride(e)
        return known[index]

    def _stride(self, e: Expr) -> Expr | None:
        if not self.varies(e):
            return const(0)
        if e.op == "var":
            return const(1)
        if e.op not in _AFFINE or e.dtype is not int64:
            return None
        a, b = e.args
        if e.op == "mul":
            uniform, other = (b, a) if self.varies(a) else (a, b)
            step = self.strides[other]
            return None if self.varies(uniform) or step is None else binary("mul", step, uniform)
        left, right = self.strides[a], self.strides[b]
        return None if left is None or right is None else binary(e.op, left, right)


@dataclass(frozen=True, slots=True)
class Lanes:
    """The lanes being computed: lane k is iteration `first` + k, and dead where the mask (if any) is false.

    `life` is the scope that `first` belongs to, `bank` selects one of several lane accumulators, and
    `sure` tells that lane 0 is never dead.
    """

    analysis: Analysis
    width: int
    first: Value
    life: int
    mask: Value | None = None
    bank: int = 0
    sure: bool = True

    def under(self, mask: Value) -> Lanes:
        """The same lanes, where `mask` holds (it includes the present one)."""
        return replace(self, mask=mask, sure=False)


def analyse(variable: Variable, body: Sequence[Statement]) -> Analysis:
    """Start the analysis of a vector loop."""
    return Analysis(variable, {s.local for s in walk(body) if isinstance(s, (Declare, Scan))})


def outer_accumulators(body: Sequence[Statement]) -> set[Accumulator]:
    """The accumulators that a body adds to but does not declare."""
    inner = {s.local for s in walk(body) if isinstance(s, Declare)}
    return {s.accumulator for s in walk(body) if isinstance(s, Accumulate)} - inner


def plan(variable: Variable, body: Sequence[Statement], target: Target, in_order: bool = False) -> Plan:
    """Choose width and unrolling from the values a body computes; index arithmetic does not count.

    If `in_order` there is one sum for each lane, whatever the body computes.
    """
    order = postorder(root for s in walk(body) for root in _roots(s))
    index: set[Expr] = set()
    itemsize, size = max([s.value.dtype.itemsize for s in walk(body) if isinstance(s, (Store, Declare))], default=1), 0
    for e in order:
        if e.op in ("var", "scalar") or (
            e.dtype is int64 and e.op not in ("load", "local", "accumulator") and all(a in index for a in e.args)
        ):
            index.add(e)
        elif e.op != "const":
            size += 1
            itemsize = max(itemsize, e.dtype.itemsize)
    if itemsize < 4 and not _is_contiguous(variable, body, order):
        itemsize = 4  # more lanes would be loaded one by one
    unroll = 1
    if not in_order and outer_accumulators(body) and not any(isinstance(s, (For, While, If)) for s in body):
        # independent sums hide the latency of addition
        unroll = 4 if size <= 24 else 2 if size <= 64 else 1
    uses_stack = any(isinstance(s, Store) and s.buffer.space == "stack" for s in walk(body))
    return Plan(target.vector_bytes // itemsize, unroll, size, uses_stack)


def _is_contiguous(variable: Variable, body: Sequence[Statement], values: Iterable[Expr]) -> bool:
    """Whether all memory that a vector loop reads and writes lies side by side for its lanes, or is one element."""
    analysis = analyse(variable, body)
    steps = [analysis.stride(e.args[0]) for e in values if e.op == "load"]
    steps += [analysis.stride(s.index) for s in walk(body) if isinstance(s, Store)]
    return all(step is not None and step.op == "const" and abs(step.attr) <= 1 for step in steps)


def _roots(s: Statement) -> tuple[Expr, ...]:
    if isinstance(s, (Declare, Assign, Scan)):
        return (s.value,)
    if isinstance(s, (If, While)):
        return (s.condition,)
    if isinstance(s, (Accumulate, Store)):
        return (s.value,) if s.guard is None else (s.value, s.guard)
    return ()


def postorder(roots: Iterable[Expr]) -> list[Expr]:
    """All expressions below the roots, operands first; what addresses memory, or is rarely computed, is left out."""
    order: dict[Expr, None] = {}
    pending = list(roots)
    while pending:
        e = pending[-1]
        wanted = e.args[1:] if e.op == "load" else e.args[::2] if e.op == "rarely" else e.args
        missing = [a for a in wanted if a not in order]
        if missing:
            pending += missing
            continue
        order[pending.pop()] = None
    return list(order)
