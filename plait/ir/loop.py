"""The loop IR: scalar expressions over buffers, and statements around them.

Everything has scalar meaning: a loop marked "vector" computes the same as the plain loop (its iterations are
independent, but for accumulators), and it is the emitter that widens it. Values have compute dtypes only: `bool`,
the integers, `float32`, `float64`; a buffer may hold any real storage dtype, and loads and stores convert.
Complex buffers are declared as real ones of twice the length (see ir/complex.py).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from plait.core.dtype import DType, bool_, int64
from plait.core.errors import InternalError

FLOAT_UNARY = ("sqrt", "floor", "ceil", "trunc", "rint")  # rint: to nearest, ties to even
# half: the nearest float16, ties to even, of a float32
UNARY = ("neg", "abs", "not", "popcount", "clz", "half", *FLOAT_UNARY)
# div: IEEE for floats; for integers truncating, x / 0 = -1 (all bits) and min / -1 = min
# rem: sign of the dividend, x rem 0 = x
# min, max: NaN if either is NaN, and -0 < +0; shl, shr: 0 (or the sign) when the count is >= bits or negative
# scale: x * 2^n of a float x and a whole float n, up to twice the largest exponent, rounded once unless x * 2^(n/2) is
# subnormal
BINARY = ("add", "sub", "mul", "div", "rem", "min", "max", "and", "or", "xor", "shl", "shr", "copysign", "scale")
COMPARE = ("eq", "ne", "lt", "le", "gt", "ge")  # "ne" is true, all others false, when an operand is NaN
# fma(a, b, c) = a*b + c in one rounding; select(condition, a, b)
# rarely(condition, a, b): a select whose `a` is computed only in vectors where the condition holds in some lane
TERNARY = ("fma", "select", "rarely")
# lookup(i): the entry i modulo TABLE of the table that is its attribute; i is an integer as wide as the entries
# cast: value conversion (float -> integer truncates and saturates, NaN -> 0; anything -> bool is x != 0;
# integers wrap); bitcast: same bits
CONVERT = ("cast", "bitcast")
TABLE = 16  # entries of a table: what permutations of registers can pick from
ACCUMULATE = ("add", "mul", "min", "max", "and", "or", "xor")


class Expr:
    """A value: `op` over `args`, of a compute `dtype`; `attr` holds a constant, variable, buffer or name.

    Pure expressions are interned: the same computation is the same object.
    """

    __slots__ = ("op", "args", "dtype", "attr")
    op: str
    args: tuple[Expr, ...]
    dtype: DType
    attr: Any

    def __repr__(self) -> str:
        if self.op in ("const", "var", "scalar", "local", "accumulator"):
            return str(self.attr)
        if self.op == "load":
            return f"{self.attr.name}[{self.args[0]}]" + (f" if {self.args[1]}" if len(self.args) > 1 else "")
        suffix = f":{self.dtype.name}" if self.op in CONVERT else ""
        return f"{self.op}({', '.join(map(repr, self.args))}){suffix}"

    def _binary(self, op: str, other: Value, swap: bool = False) -> Expr:
        other = other if isinstance(other, Expr) else const(other, self.dtype)
        return binary(op, other, self) if swap else binary(op, self, other)

    def __add__(self, o: Value) -> Expr:
        return self._binary("add", o)

    def __radd__(self, o: Value) -> Expr:
        return self._binary("add", o, True)

    def __sub__(self, o: Value) -> Expr:
        return self._binary("sub", o)

    def __rsub__(self, o: Value) -> Expr:
        return self._binary("sub", o, True)

    def __mul__(self, o: Value) -> Expr:
        return self._binary("mul", o)

    def __rmul__(self, o: Value) -> Expr:
        return self._binary("mul", o, True)

    def __truediv__(self, o: Value) -> Expr:
        return self._binary("div", o)

    def __rtruediv__(self, o: Value) -> Expr:
        return self._binary("div", o, True)

    def __floordiv__(self, o: Value) -> Expr:
        """Index division: both operands are non-negative int64."""
        return self._binary("div", o)

    def __mod__(self, o: Value) -> Expr:
        """Index remainder: both operands are non-negative int64."""
        return self._binary("rem", o)

    def __rfloordiv__(self, o: Value) -> Expr:
        return self._binary("div", o, True)

    def __rmod__(self, o: Value) -> Expr:
        return self._binary("rem", o, True)

    def __and__(self, o: Value) -> Expr:
        return self._binary("and", o)

    def __or__(self, o: Value) -> Expr:
        return self._binary("or", o)

    def __xor__(self, o: Value) -> Expr:
        return self._binary("xor", o)

    def __lshift__(self, o: Value) -> Expr:
        return self._binary("shl", o)

    def __rshift__(self, o: Value) -> Expr:
        return self._binary("shr", o)

    def __neg__(self) -> Expr:
        return unary("neg", self)

    def __invert__(self) -> Expr:
        return unary("not", self)

    def __lt__(self, o: Value) -> Expr:
        return self._binary("lt", o)

    def __le__(self, o: Value) -> Expr:
        return self._binary("le", o)

    def __gt__(self, o: Value) -> Expr:
        return self._binary("gt", o)

    def __ge__(self, o: Value) -> Expr:
        return self._binary("ge", o)

    def eq(self, o: Value) -> Expr:
        """Elementwise equality (`==` keeps Python's meaning: identity)."""
        return self._binary("eq", o)

    def ne(self, o: Value) -> Expr:
        """Elementwise inequality."""
        return self._binary("ne", o)

    def cast(self, dtype: DType) -> Expr:
        """Convert the value to a compute dtype."""
        return cast(self, dtype)

    def bitcast(self, dtype: DType) -> Expr:
        """Reinterpret the bits as another dtype of the same width."""
        return self if dtype is self.dtype else make("bitcast", (self,), dtype)


Value = Expr | bool | int | float
Index = Expr | int
_INTERNED: dict[Any, Expr] = {}


def make(op: str, args: tuple[Expr, ...], dtype: DType, attr: Any = None) -> Expr:
    """Return the interned expression."""
    key = (op, args, dtype, attr if op != "const" else (attr, str(attr), type(attr)))
    found = _INTERNED.get(key)
    if found is None:
        if len(_INTERNED) > 200_000:
            _INTERNED.clear()
        found = _INTERNED[key] = fresh(op, args, dtype, attr)
    return found


def fresh(op: str, args: tuple[Expr, ...], dtype: DType, attr: Any = None) -> Expr:
    """Return a new expression that is equal to no other: a read of something mutable.

    The read happens where the expression is first used, and keeps its value to the end of the body it is first used in.
    """
    result = object.__new__(Expr)
    result.op, result.args, result.dtype, result.attr = op, args, dtype, attr
    return result


def const(value: Value, dtype: DType = int64) -> Expr:
    """Return a constant; an `Expr` is returned as it is."""
    if isinstance(value, Expr):
        return value
    if dtype.kind == "f":
        value = float(value)
    elif dtype is bool_:
        value = bool(value)
    else:
        value = int(value) & ((1 << dtype.bits) - 1)
        if dtype.kind == "i" and value >> (dtype.bits - 1):
            value -= 1 << dtype.bits
    return make("const", (), dtype, value)


def is_const(x: Index, value: int | None = None) -> bool:
    """Whether `x` is a constant (equal to `value`, if given)."""
    if isinstance(x, Expr):
        return x.op == "const" and (value is None or x.attr == value)
    return value is None or x == value


def unary(op: str, x: Expr) -> Expr:
    """Apply an operation of `UNARY`."""
    return make(op, (x,), x.dtype)


def binary(op: str, a: Expr, b: Expr) -> Expr:
    """Apply an operation of `BINARY` or `COMPARE`; int64 index arithmetic on constants is folded."""
    if a.dtype is not b.dtype:
        raise InternalError(f"loop IR: {op} of {a.dtype} and {b.dtype}: {a!r}, {b!r}")
    if a.dtype is int64:
        folded = _fold_index(op, a, b)
        if folded is not None:
            return folded
    elif a.dtype is bool_ and op in ("and", "or"):
        for x, y in ((a, b), (b, a)):
            if x.op == "const":
                return (y if x.attr else x) if op == "and" else (x if x.attr else y)
    return make(op, (a, b), bool_ if op in COMPARE else a.dtype)


_PYTHON: dict[str, Any] = {
    "add": lambda x, y: x + y, "sub": lambda x, y: x - y, "mul": lambda x, y: x * y,
    "min": min, "max": max, "and": lambda x, y: x & y, "or": lambda x, y: x | y, "xor": lambda x, y: x ^ y,
    "eq": lambda x, y: x == y, "ne": lambda x, y: x != y, "lt": lambda x, y: x < y, "le": lambda x, y: x <= y,
    "gt": lambda x, y: x > y, "ge": lambda x, y: x >= y,
}  # fmt: skip


def _fold_index(op: str, a: Expr, b: Expr) -> Expr | None:
    ca, cb = a.op == "const", b.op == "const"
    if ca and cb:
        if op in _PYTHON:
            return const(_PYTHON[op](a.attr, b.attr), bool_ if op in COMPARE else int64)
        if op in ("div", "rem") and a.attr >= 0 and b.attr > 0:
            return const(a.attr // b.attr if op == "div" else a.attr % b.attr)
        return None
    if ca and op in ("add", "mul"):
        a, b, ca, cb = b, a, cb, ca
    if cb:
        c = b.attr
        if (op in ("add", "sub") and c == 0) or (op in ("mul", "div") and c == 1):
            return a
        if (op == "mul" and c == 0) or (op == "rem" and c == 1):
            return const(0)
        if op == "sub":
            return binary("add", a, const(-c))
        if op == "div" and a.op == "div" and _product_fits(a.args[1], b):
            return binary("div", a.args[0], const(a.args[1].attr * c))
        if op == "add" and a.op == "add" and a.args[1].op == "const":
            return binary("add", a.args[0], const(a.args[1].attr + c))
        if op == "mul" and a.op == "mul" and a.args[1].op == "const":
            return binary("mul", a.args[0], const(a.args[1].attr * c))
        if op == "add" and b is not a:
            return make("add", (a, b), int64)
        if op == "mul":
            return make("mul", (a, b), int64)
    elif a is b and op in ("sub", "eq", "ne", "lt", "le", "gt", "ge"):
        return const(0) if op == "sub" else const(op in ("eq", "le", "ge"), bool_)
    elif op == "add" and a.op == "mul" and b.op == "rem" and a.args[1] is b.args[1]:
        return _rejoin(a.args[0], b.args[0], b.args[1])
    return None


def _product_fits(a: Expr, b: Expr) -> bool:
    return a.op == b.op == "const" and a.attr > 0 and b.attr > 0 and a.attr * b.attr < 1 << 62


def _rejoin(high: Expr, x: Expr, n: Expr) -> Expr | None:
    """high * n + x rem n, where `high` is x div n, or that modulo something: an index split and flattened again."""
    if high.op == "div" and high.args == (x, n):
        return x if n.op != "const" or n.attr > 0 else None
    if high.op == "rem" and _product_fits(high.args[1], n):
        quotient, m = high.args
        if quotient.op == "div" and quotient.args == (x, n):
            return binary("rem", x, const(m.attr * n.attr))
    return None


def fma(a: Expr, b: Expr, c: Expr) -> Expr:
    """a*b + c in one rounding (floats only)."""
    return make("fma", (a, b, c), c.dtype)


def select(condition: Expr, a: Expr, b: Expr) -> Expr:
    """a where the condition holds, else b; both are evaluated."""
    if condition.op == "const":
        return a if condition.attr else b
    if a is b:
        return a
    if a.dtype is not b.dtype:
        raise InternalError(f"loop IR: select of {a.dtype} and {b.dtype}")
    return make("select", (condition, a, b), a.dtype)


def rarely(condition: Expr, rare: Expr, common: Expr) -> Expr:
    """`select`, behind a branch: what only `rare` needs is computed only where the condition holds in some lane."""
    same = select(condition, rare, common)
    return make("rarely", same.args, same.dtype) if same.op == "select" else same


def lookup(index: Expr, table: tuple[float, ...], dtype: DType) -> Expr:
    """An entry of a table of `TABLE` constants of a float dtype."""
    return make("lookup", (index,), dtype, table)


def cast(x: Expr, dtype: DType) -> Expr:
    """Convert a value to another compute dtype."""
    return (
        x
        if dtype is x.dtype
        else const(x.attr, dtype)
        if x.op == "const" and x.dtype is int64
        else make("cast", (x,), dtype)
    )


class Buffer:
    """Memory seen by a function.

    `space` is "input" (read only), "output" (written, may also be read back), "stack" (private to one task
    of a parallel loop, constant `size`, uninitialised) or "workspace" (shared by the phases of a kernel).
    `dtype` is a real storage dtype, `size` the number of elements.
    """

    __slots__ = ("name", "dtype", "size", "space")

    def __init__(self, name: str, dtype: DType, size: Index, space: str) -> None:
        self.name, self.dtype, self.size, self.space = name, dtype, size, space

    def __repr__(self) -> str:
        return f"{self.space} {self.name}: {self.dtype.name}[{self.size}]"


class Variable:
    """A loop counter, int64."""

    __slots__ = ("name",)

    def __init__(self, name: str) -> None:
        self.name = name

    def __repr__(self) -> str:
        return self.name


class Local:
    """A mutable scalar. Declared inside a vector loop it has one value for each lane."""

    __slots__ = ("name", "dtype")

    def __init__(self, name: str, dtype: DType) -> None:
        self.name, self.dtype = name, dtype

    def __repr__(self) -> str:
        return self.name


class Accumulator(Local):
    """A local that is only ever combined by one associative `op` of `ACCUMULATE`.

    Declared outside a vector loop and accumulated inside it, the lanes are combined in a fixed tree when it is read.
    """

    __slots__ = ("op",)

    def __init__(self, name: str, dtype: DType, op: str) -> None:
        super().__init__(name, dtype)
        self.op = op


@dataclass(slots=True)
class For:
    """`for variable in range(low, high, step)`; `mark` is "", "vector" or "unroll" (constant bounds).

    Bounds are uniform (never lane-varying), also of the loops inside a vector loop, which contains no other vector
    loop. What its ifs and whiles contain is computed where the condition holds in some lane, for those lanes.
    """

    variable: Variable
    low: Expr
    high: Expr
    step: int
    mark: str
    body: list[Statement]


@dataclass(slots=True)
class While:
    """`while condition: body`; the condition is evaluated anew each time."""

    condition: Expr
    body: list[Statement]


@dataclass(slots=True)
class If:
    """`if condition: body else: orelse`."""

    condition: Expr
    body: list[Statement]
    orelse: list[Statement]


@dataclass(slots=True)
class Declare:
    """Start the life of a local (an accumulator too) with a value."""

    local: Local
    value: Expr


@dataclass(slots=True)
class Assign:
    """`local = value`."""

    local: Local
    value: Expr


@dataclass(slots=True)
class Accumulate:
    """`accumulator = op(accumulator, value)`; skipped where `guard` is false."""

    accumulator: Accumulator
    value: Expr
    guard: Expr | None


@dataclass(slots=True)
class Scan:
    """`accumulator = op(accumulator, value); local = accumulator`: the result so far, in a vector loop up to each lane.

    It declares the local. Nothing else adds to the accumulator in that loop.
    """

    local: Local
    accumulator: Accumulator
    value: Expr


@dataclass(slots=True)
class Store:
    """`buffer[index] = value`; skipped where `guard` is false. The value is converted to the storage dtype."""

    buffer: Buffer
    index: Expr
    value: Expr
    guard: Expr | None


@dataclass(slots=True)
class Allocate:
    """Start the life of a "stack" buffer."""

    buffer: Buffer


@dataclass(slots=True)
class Dots:
    """`sums[i, j] += sum over k of left[i, k] * right[k, j]` for a block of narrow numbers; unless `adds`, it is `=`.

    With l values of k in a line of 64 bytes, `left[i, k]` lies at `left_at` + (k // l * `rows` + i) * l + k % l. With g
    values in a group of 4 bytes, `right[k, j]` lies at `right_at` + (k // g * `columns` + j) * g + k % g. `sums[i, j]`
    lies at `sums_at` + i * `columns` + j. `rows` and `columns` are 16 or 32, `depth` is a multiple of the line.
    bfloat16 is summed in float32, in an order that depends on the machine, and subnormal numbers may count as 0;
    int8 and uint8, in any combination, are summed in int32, which wraps.
    """

    sums: Buffer
    sums_at: Expr
    left: Buffer
    left_at: Expr
    right: Buffer
    right_at: Expr
    rows: int
    columns: int
    depth: Expr
    adds: bool


@dataclass(slots=True)
class Prefetch:
    """A hint that `buffer[index]` is read soon; it has no effect, and the index may lie outside the buffer.

    `level` is the cache that should hold it: 1 or 2.
    """

    buffer: Buffer
    index: Expr
    level: int


Statement = For | While | If | Declare | Assign | Accumulate | Scan | Store | Allocate | Dots | Prefetch


@dataclass(slots=True)
class Function:
    """One compiled unit: a parallel loop `for variable in range(low, high)` over independent iterations.

    The caller splits `range(extent)` into ranges [low, high), one for each thread. If `mark` is "vector" the
    parallel loop itself is a vector loop. `buffers` and `scalars` (names of int64 arguments) are the arguments,
    in order. `grain` is the least number of iterations worth a thread. If `in_order`, what vector loops add up is
    added in an order that depends on the number of elements and the lanes alone.
    """

    name: str
    buffers: list[Buffer]
    scalars: list[str]
    variable: Variable
    extent: Expr
    mark: str
    body: list[Statement]
    grain: int = 1
    in_order: bool = False


@dataclass(slots=True)
class Kernel:
    """Functions that run one after another, each finished before the next starts, and their shared workspaces.

    All run again in each of the `rounds`; the scalar `round` tells in which.
    """

    functions: list[Function] = field(default_factory=list)
    workspaces: list[Buffer] = field(default_factory=list)
    rounds: Index = 1


def walk(body: Iterable[Statement]) -> Iterable[Statement]:
    """Yield every statement, outer ones first."""
    for s in body:
        yield s
        if isinstance(s, (For, While)):
            yield from walk(s.body)
        elif isinstance(s, If):
            yield from walk(s.body)
            yield from walk(s.orelse)
