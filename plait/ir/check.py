"""The checker of the loop IR: what the emitter and the interpreter rely on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from plait.core.dtype import DType, bfloat16, bool_, float32, int8, int32, int64, uint8
from plait.core.errors import InternalError
from plait.ir.loop import (
    ACCUMULATE,
    BINARY,
    COMPARE,
    FLOAT_UNARY,
    TABLE,
    UNARY,
    Accumulate,
    Accumulator,
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
    walk,
)

MAX_STACK_BYTES = 272 * 1024
_SPACES = ("input", "output", "workspace")
_LEAVES = ("const", "var", "scalar", "local", "accumulator", "load")
# the kinds of dtype that an operation accepts, where not all
_KINDS = {
    **dict.fromkeys((*FLOAT_UNARY, "copysign", "scale", "fma", "lookup"), "f"),
    **dict.fromkeys(("popcount", "clz", "shl", "shr"), "iu"),
    **dict.fromkeys(("not", "and", "or", "xor"), "iub"),
    **dict.fromkeys(("div", "rem"), "iuf"),
}
_Name = Variable | Local | Buffer


def check(kernel: Kernel) -> None:
    """Check every function of a kernel.

    Raises:
        InternalError: names the function, the broken rule and the place.
    """
    for function in kernel.functions:
        check_function(function)


def check_function(function: Function) -> None:
    """Check one function; see `check`."""
    _Checker(function).check()


class _Checker:
    def __init__(self, function: Function) -> None:
        self.function = function
        self.scope: set[_Name] = set()
        self.lane_variable: Variable | None = None
        self.lane_locals: set[Local] = set()
        self.added: set[Accumulator] = set()
        # what an expression reads, by expression; filled in when its dtypes have been checked
        self.reads: dict[Expr, frozenset[_Name]] = {}

    def fail(self, text: str) -> InternalError:
        return InternalError(f"loop IR: {text} (in function {self.function.name})")

    def require(self, condition: bool, text: str, *values: object) -> None:
        """Raise unless the condition holds; `values` fill in `text` only then: an expression can be long to print."""
        if not condition:
            raise self.fail(text.format(*values) if values else text)

    def check(self) -> None:
        f = self.function
        self.require(len(set(f.buffers)) == len(f.buffers), "a buffer is an argument twice")
        self.require(f.mark in ("", "vector"), f"unknown mark {f.mark!r} of a parallel loop")
        for buffer in f.buffers:
            self.require(buffer.space in _SPACES, f"{buffer!r} is an argument")
            self.require(buffer.dtype.kind != "c", f"{buffer!r} is complex: declare twice the real elements")
            if isinstance(buffer.size, Expr):
                self.expression(buffer.size, int64)
        self.expression(f.extent, int64)
        self.scope |= set(f.buffers)
        self.loop(For(f.variable, f.extent, f.extent, 1, f.mark, f.body))

    # expressions
    def expression(self, expr: Expr, dtype: DType, uniform: bool = False) -> None:
        self.require(expr.dtype is dtype, "{!r} is {}, not {}", expr, expr.dtype.name, dtype.name)
        pending = [expr]
        while pending:
            e = pending[-1]
            missing = [a for a in e.args if a not in self.reads]
            if missing:
                pending += missing
                continue
            pending.pop()
            if e not in self.reads:
                self.types(e)
                own = frozenset([e.attr]) if isinstance(e.attr, (Variable, Local, Buffer)) else frozenset()
                self.reads[e] = own.union(*(self.reads[a] for a in e.args))
        for name in self.reads[expr]:
            if name not in self.scope:
                raise self.fail(f"{name!r} is used outside its scope in {_show(expr)}")
            if self.lane_variable is None:
                continue
            if uniform and (name is self.lane_variable or name in self.lane_locals):
                raise self.fail(f"{_show(expr)} differs between the lanes of a vector loop")
            if name in self.added and name not in self.lane_locals:
                raise self.fail(f"the accumulator {name!r} is read inside the vector loop that adds to it")

    def types(self, e: Expr) -> None:
        op, dtypes = e.op, [a.dtype for a in e.args]
        self.require(
            e.dtype.compute is e.dtype and e.dtype.kind != "c", "{} is no compute dtype: {!r}", e.dtype.name, e
        )
        if op in _LEAVES:
            right = self.is_right_leaf(e)
        elif op in UNARY:
            right = dtypes == [e.dtype] and (op != "half" or e.dtype is float32)
        elif op in BINARY:
            right = dtypes == [e.dtype, e.dtype]
        elif op in COMPARE:
            right = e.dtype is bool_ and len(dtypes) == 2 and dtypes[0] is dtypes[1]
        elif op in ("select", "rarely"):
            right = dtypes == [bool_, e.dtype, e.dtype]
        elif op == "fma":
            right = dtypes == [e.dtype] * 3
        elif op == "lookup":
            right = (
                len(dtypes) == 1 and len(e.attr) == TABLE and dtypes[0].is_integer and dtypes[0].bits == e.dtype.bits
            )
        elif op == "cast":
            right = len(dtypes) == 1
        elif op == "bitcast":
            right = len(dtypes) == 1 and dtypes[0].bits == e.dtype.bits and bool_ not in (e.dtype, dtypes[0])
        else:
            raise self.fail(f"unknown operation {op!r}")
        right = right and e.dtype.kind in _KINDS.get(op, "biuf")
        self.require(right, "wrong operands of {}: {!r} gives {} from {}", op, e, e.dtype.name, dtypes)

    def is_right_leaf(self, e: Expr) -> bool:
        if e.op == "load":
            dtypes = [a.dtype for a in e.args]
            return (
                isinstance(e.attr, Buffer) and e.dtype is e.attr.dtype.compute and dtypes in ([int64], [int64, bool_])
            )
        if e.args:
            return False
        if e.op == "var":
            return isinstance(e.attr, Variable) and e.dtype is int64
        if e.op == "scalar":
            return e.attr in self.function.scalars and e.dtype is int64
        if e.op == "const":
            return isinstance(e.attr, {"b": bool, "f": float}.get(e.dtype.kind, int))
        return isinstance(e.attr, Accumulator if e.op == "accumulator" else Local) and e.dtype is e.attr.dtype

    def guard(self, guard: Expr | None) -> None:
        if guard is not None:
            self.expression(guard, bool_)

    # statements
    @contextmanager
    def inner(self) -> Iterator[None]:
        outer = set(self.scope)
        yield
        self.scope = outer

    def block(self, body: Sequence[Statement]) -> None:
        with self.inner():
            for s in body:
                self.statement(s)

    def statement(self, s: Statement) -> None:
        if isinstance(s, For):
            self.expression(s.low, int64, uniform=True)
            self.expression(s.high, int64, uniform=True)
            self.loop(s)
        elif isinstance(s, While):
            self.expression(s.condition, bool_)
            self.block(s.body)
        elif isinstance(s, If):
            self.expression(s.condition, bool_)
            self.block(s.body)
            self.block(s.orelse)
        elif isinstance(s, Declare):
            self.declare(s)
        elif isinstance(s, (Assign, Accumulate)):
            self.update(s)
        elif isinstance(s, Scan):
            self.require(self.lane_variable is None or s.accumulator not in self.lane_locals, "a scan of each lane")
            self.update(Accumulate(s.accumulator, s.value, None))
            self.declare(Declare(s.local, s.value))
        elif isinstance(s, Store):
            self.store(s)
        elif isinstance(s, Allocate):
            self.allocate(s.buffer)
        elif isinstance(s, Dots):
            self.dots(s)
        elif isinstance(s, Prefetch):
            self.prefetch(s)
        else:
            raise self.fail(f"unknown statement {s!r}")

    def loop(self, s: For) -> None:
        self.require(s.mark in ("", "vector", "unroll"), f"unknown mark {s.mark!r} of a loop")
        self.require(s.step > 0, f"step {s.step} of a loop")
        self.require(s.variable not in self.scope, f"the loop variable {s.variable!r} is in use")
        constant = s.low.op == s.high.op == "const"
        self.require(s.mark != "unroll" or constant, "an unrolled loop needs constant bounds")
        with self.inner():
            self.scope.add(s.variable)
            if s.mark == "vector":
                self.require(self.lane_variable is None, "a vector loop inside a vector loop")
                self.require(s.step == 1, f"step {s.step} of a vector loop")
                self.lane_variable, self.lane_locals = s.variable, set()
                added = [a.accumulator for a in walk(s.body) if isinstance(a, (Accumulate, Scan))]
                scanned = [a.accumulator for a in s.body if isinstance(a, Scan)]
                self.added = set(added)
                self.require(all(added.count(a) == 1 for a in scanned), "an accumulator is scanned and added to")
                self.require(len(scanned) == sum(isinstance(a, Scan) for a in walk(s.body)), "a scan below a statement")
            self.block(s.body)
            if s.mark == "vector":
                self.lane_variable = None

    def declare(self, s: Declare) -> None:
        local = s.local
        self.expression(s.value, local.dtype)
        self.require(local not in self.scope, f"{local!r} is declared twice")
        if isinstance(local, Accumulator):
            allowed = _KINDS.get(local.op, "biuf")
            self.require(local.op in ACCUMULATE, f"unknown accumulate operation {local.op!r}")
            self.require(local.dtype.kind in allowed, f"an accumulator of {local.op} over {local.dtype.name}")
        self.scope.add(local)
        if self.lane_variable is not None:
            self.lane_locals.add(local)

    def update(self, s: Assign | Accumulate) -> None:
        local = s.local if isinstance(s, Assign) else s.accumulator
        self.require(local in self.scope, f"{local!r} is used outside its scope")
        self.expression(s.value, local.dtype)
        if isinstance(s, Accumulate):
            self.require(isinstance(local, Accumulator), f"{local!r} is no accumulator")
            self.guard(s.guard)
        else:
            self.require(not isinstance(local, Accumulator), f"the accumulator {local!r} is assigned")
            shared = self.lane_variable is not None and local not in self.lane_locals
            self.require(not shared, f"{local!r} is assigned inside a vector loop but declared outside")

    def store(self, s: Store) -> None:
        self.require(s.buffer in self.scope, f"{s.buffer!r} is used outside its scope")
        self.require(s.buffer.space != "input", f"a store into {s.buffer!r}")
        self.expression(s.index, int64)
        self.expression(s.value, s.buffer.dtype.compute)
        self.guard(s.guard)

    def dots(self, s: Dots) -> None:
        self.require(self.lane_variable is None, "dot products of blocks inside a vector loop")
        for buffer, index in ((s.sums, s.sums_at), (s.left, s.left_at), (s.right, s.right_at)):
            self.require(buffer in self.scope, f"{buffer!r} is used outside its scope")
            self.expression(index, int64)
        self.expression(s.depth, int64)
        self.require(s.sums.space != "input", f"dot products are added to {s.sums!r}")
        self.require({s.rows, s.columns} <= {16, 32}, f"a block of {s.rows} x {s.columns} dot products")
        dtypes = [b.dtype for b in (s.left, s.right, s.sums)]
        is_right = dtypes == [bfloat16, bfloat16, float32] or {*dtypes[:2]} <= {int8, uint8} and dtypes[2] is int32
        self.require(is_right, f"dot products of {dtypes[0].name} and {dtypes[1].name} in {dtypes[2].name}")

    def prefetch(self, s: Prefetch) -> None:
        self.require(s.buffer in self.scope, f"{s.buffer!r} is used outside its scope")
        self.require(s.level in (1, 2), f"a prefetch to level {s.level}")
        self.expression(s.index, int64, uniform=True)

    def allocate(self, buffer: Buffer) -> None:
        self.require(buffer.space == "stack", f"{buffer!r} is allocated")
        self.require(self.lane_variable is None, f"{buffer!r} is allocated inside a vector loop")
        self.require(isinstance(buffer.size, int) and buffer.size > 0, f"{buffer!r} needs a constant positive size")
        assert isinstance(buffer.size, int)
        size = buffer.size * buffer.dtype.itemsize
        self.require(size <= MAX_STACK_BYTES, f"{buffer!r} takes {size} bytes of stack; at most {MAX_STACK_BYTES}")
        self.scope.add(buffer)


def _show(e: Expr, depth: int = 4) -> str:
    """An expression as text, cut off below some depth: shared operands would repeat without end."""
    if not e.args:
        return repr(e)
    inner = ", ".join(_show(a, depth - 1) for a in e.args) if depth else "..."
    return f"{e.attr.name if isinstance(e.attr, Buffer) else e.op}({inner})"
