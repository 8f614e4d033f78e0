"""The slow, exact interpreter: it defines what loop IR means.

`evaluate` gives the value of a pure expression, vectorised over NumPy arrays; `run` executes a function one
scalar at a time. Accumulators combine in program order here, while compiled code may use a fixed tree of lanes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, MutableMapping, Sequence
from contextlib import contextmanager, nullcontext
from fractions import Fraction
from typing import Any

import numpy as np

from plait.core.dtype import DType, bool_, float32
from plait.core.errors import InternalError
from plait.ir.loop import (
    COMPARE,
    TABLE,
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
    Local,
    Prefetch,
    Scan,
    Statement,
    Store,
    Variable,
    While,
)

Array = Any
Leaf = Callable[[Expr, list[Array]], Array]


def evaluate(expr: Expr, env: Mapping[Expr, Array], leaf: Leaf | None = None) -> Array:
    """Return the value of an expression, computed elementwise over the arrays of its leaves.

    Args:
        expr: any expression; shared subexpressions are computed once.
        env: arrays for leaf expressions (or for any subexpression, which then is not looked into).
        leaf: called as `leaf(expr, values of its args)` for the reads that `env` does not hold.

    Returns:
        An array of `expr.dtype`.

    Raises:
        InternalError: for a leaf that neither `env` nor `leaf` knows, or an unknown operation.

    >>> from plait.ir.loop import make
    >>> x = make("scalar", (), float32, "x")
    >>> evaluate(x * x, {x: np.array([1, 2, 3], "float32")})
    array([1., 4., 9.], dtype=float32)
    """
    values: dict[Expr, Array] = {}
    pending = [expr]
    with np.errstate(all="ignore"):
        while pending:
            e = pending[-1]
            missing = [] if e in values or e in env else [a for a in e.args if a not in values]
            if missing:
                pending.extend(missing)
                continue
            pending.pop()
            if e in values:
                continue
            if e in env:
                values[e] = np.asarray(env[e], e.dtype.numpy)
            elif e.op == "const":
                values[e] = np.asarray(e.attr, e.dtype.numpy)
            elif e.op == "lookup":
                values[e] = np.asarray(e.attr, e.dtype.numpy)[values[e.args[0]] & TABLE - 1]
            elif e.op in _OPERATIONS:
                result = _OPERATIONS[e.op](e.dtype, *(values[a] for a in e.args))
                values[e] = np.asarray(result, bool if e.op in COMPARE else e.dtype.numpy)
            elif leaf is not None:
                values[e] = np.asarray(leaf(e, [values[a] for a in e.args]), e.dtype.numpy)
            else:
                raise InternalError(f"loop IR: cannot evaluate {e.op!r} ({e.attr!r})")
    return values[expr]


def _unsigned(x: Array) -> Array:
    return x if x.dtype == bool else x.view(f"u{x.dtype.itemsize}")


def _is_float(dtype: DType) -> bool:
    return dtype.kind == "f"


def _neg(dtype: DType, x: Array) -> Array:
    return x if dtype is bool_ else -x


def _clz(dtype: DType, x: Array) -> Array:
    bits, left, count = dtype.bits, _unsigned(x), np.zeros_like(x)
    for shift in range(bits):
        count = count + (left >> np.asarray(shift, left.dtype) == 0)
    return count


def _div(dtype: DType, a: Array, b: Array) -> Array:
    if _is_float(dtype):
        return a / b
    zero = b == 0
    negative_one = (b == -1) if dtype.kind == "i" else np.zeros_like(zero)
    safe = np.where(zero | negative_one, np.ones_like(b), b)
    quotient = (a - np.fmod(a, safe)) // safe
    return np.where(zero, np.invert(np.zeros_like(a)), np.where(negative_one, -a, quotient))


def _rem(dtype: DType, a: Array, b: Array) -> Array:
    if _is_float(dtype):
        return np.fmod(a, b)
    zero = b == 0
    trivial = zero | ((b == -1) if dtype.kind == "i" else zero)
    return np.where(zero, a, np.where(trivial, np.zeros_like(a), np.fmod(a, np.where(trivial, np.ones_like(b), b))))


def _min(dtype: DType, a: Array, b: Array) -> Array:
    if not _is_float(dtype):
        return np.minimum(a, b)
    return np.where(a == b, np.where(np.signbit(a), a, b), np.minimum(a, b))


def _max(dtype: DType, a: Array, b: Array) -> Array:
    if not _is_float(dtype):
        return np.maximum(a, b)
    return np.where(a == b, np.where(np.signbit(a), b, a), np.maximum(a, b))


def _shift(dtype: DType, a: Array, count: Array, left: bool) -> Array:
    outside = (count < 0) | (count >= dtype.bits)
    count = np.where(outside, np.zeros_like(count), count)
    if left:
        return np.where(outside, np.zeros_like(a), a << count)
    filled = np.where(a < 0, np.invert(np.zeros_like(a)), np.zeros_like(a))
    return np.where(outside, filled, a >> count)


def _round_to_odd(high: Array, low: Array) -> Array:
    """high + low for an exact (high, low), rounded to odd: a later rounding to fewer bits is then right."""
    up = np.where(low > 0, np.inf, -np.inf)
    odd = np.nextafter(high, up)
    even = (high.view("i8") & 1) == 0
    return np.where((low != 0) & even & np.isfinite(high), odd, high)


def _two_sum(a: Array, b: Array) -> tuple[Array, Array]:
    s = a + b
    t = s - a
    return s, (a - (s - t)) + (b - t)


def _two_product(a: Array, b: Array) -> tuple[Array, Array]:
    def split(x: Array) -> tuple[Array, Array]:
        t = x * 134217729.0
        high = t - (t - x)
        return high, x - high

    p, (ah, al), (bh, bl) = a * b, split(a), split(b)
    return p, ((ah * bh - p) + ah * bl + al * bh) + al * bl


def _fma(dtype: DType, a: Array, b: Array, c: Array) -> Array:
    a, b, c = (np.asarray(x, "f8") for x in np.broadcast_arrays(a, b, c))
    if dtype is float32:
        high, low = _two_sum(a * b, c)
        return _round_to_odd(high, low).astype("f4")
    # Boldo and Melquiond, "Emulation of FMA and correctly rounded sums" (2008)
    high, low = _two_product(a, b)
    middle, rest = _two_sum(c, low)
    head, tail = _two_sum(high, middle)
    result = head + _round_to_odd(*_two_sum(rest, tail))
    size = np.abs(a * b)
    normal = (size > 1e-200) & (size < 1e200) & (np.maximum(np.abs(a), np.abs(b)) < 1e200) & (np.abs(c) < 1e200)
    normal &= (np.abs(c) > 1e-200) | (c == 0)
    if not normal.all():
        # a product that overflows must not meet an infinity
        result = np.array(
            np.where(normal, result, np.where(np.isfinite(a) & np.isfinite(b) & np.isinf(c), c, a * b + c))
        )
        for position in np.argwhere(~normal & np.isfinite(a) & np.isfinite(b) & np.isfinite(c)):
            at = tuple(position)
            result[at] = _exact_fma(float(a[at]), float(b[at]), float(c[at]))
    return result


def _exact_fma(a: float, b: float, c: float) -> float:
    exact = Fraction(a) * Fraction(b) + Fraction(c)
    if exact == 0:
        return a * b + c if 0.0 in (a, b) else 0.0
    try:
        return float(exact) or float(np.copysign(0.0, float(np.sign(exact.numerator))))
    except OverflowError:
        return float("inf") if exact > 0 else -float("inf")


def _cast(dtype: DType, x: Array) -> Array:
    if dtype is bool_:
        return x != 0
    if x.dtype.kind != "f" or _is_float(dtype):
        return x.astype(dtype.numpy)
    info = np.iinfo(dtype.numpy)
    above, below = x >= float(info.max) + (float(info.max) < 2.0**53), x < float(info.min)
    inside = np.where(above | below | np.isnan(x), np.zeros_like(x), np.trunc(x)).astype(dtype.numpy)
    return np.where(above, inside.dtype.type(info.max), np.where(below, inside.dtype.type(info.min), inside))


_OPERATIONS: dict[str, Callable[..., Array]] = {
    "neg": _neg,
    "abs": lambda dtype, x: x if dtype is bool_ else np.abs(x),
    "not": lambda dtype, x: np.invert(x),
    "popcount": lambda dtype, x: np.bitwise_count(_unsigned(x)),
    "clz": _clz,
    "sqrt": lambda dtype, x: np.sqrt(x),
    "floor": lambda dtype, x: np.floor(x),
    "ceil": lambda dtype, x: np.ceil(x),
    "trunc": lambda dtype, x: np.trunc(x),
    "rint": lambda dtype, x: np.rint(x),
    "half": lambda dtype, x: x.astype(np.float16).astype(dtype.numpy),
    "add": lambda dtype, a, b: a + b,
    "sub": lambda dtype, a, b: a ^ b if dtype is bool_ else a - b,
    "mul": lambda dtype, a, b: a * b,
    "div": _div,
    "rem": _rem,
    "min": _min,
    "max": _max,
    "and": lambda dtype, a, b: a & b,
    "or": lambda dtype, a, b: a | b,
    "xor": lambda dtype, a, b: a ^ b,
    "shl": lambda dtype, a, b: _shift(dtype, a, b, True),
    "shr": lambda dtype, a, b: _shift(dtype, a, b, False),
    "copysign": lambda dtype, a, b: np.copysign(a, b),
    "scale": lambda dtype, x, n: np.ldexp(x, np.nan_to_num(n).astype("i4")),
    "eq": lambda dtype, a, b: a == b,
    "ne": lambda dtype, a, b: a != b,
    "lt": lambda dtype, a, b: a < b,
    "le": lambda dtype, a, b: a <= b,
    "gt": lambda dtype, a, b: a > b,
    "ge": lambda dtype, a, b: a >= b,
    "fma": _fma,
    "select": lambda dtype, condition, a, b: np.where(condition, a, b),
    "rarely": lambda dtype, condition, a, b: np.where(condition, a, b),
    "cast": _cast,
    "bitcast": lambda dtype, x: np.ascontiguousarray(x).view(dtype.numpy).reshape(x.shape),
}


def run(
    function: Function,
    arrays: Sequence[Array],
    scalars: Sequence[int] = (),
    low: int = 0,
    high: int | None = None,
) -> None:
    """Execute iterations [low, high) of a function's parallel loop, writing into `arrays`.

    Args:
        function: the function.
        arrays: flat arrays of the storage dtypes, in the order of `function.buffers`.
        scalars: values in the order of `function.scalars`.
        low: first iteration.
        high: end of the iterations; by default the extent.

    Raises:
        InternalError: for an access out of bounds or a read of an undeclared variable.
    """
    _Machine(function, arrays, scalars).run(low, high)


class _Machine:
    """Executes statements. A read of something mutable happens where the expression is first used, and keeps its
    value until the end of the body it is first used in."""

    def __init__(self, function: Function, arrays: Sequence[Array], scalars: Sequence[int]) -> None:
        self.function = function
        self.memory: MutableMapping[Buffer, Array] = dict(zip(function.buffers, arrays, strict=True))
        self.scalars = dict(zip(function.scalars, scalars, strict=True))
        self.variables: dict[Variable | Local, Array] = {}
        self.known: dict[Expr, Array] = {}
        self.scopes: list[list[Expr]] = [[]]

    def run(self, low: int, high: int | None) -> None:
        end = int(self.value(self.function.extent)) if high is None else high
        for i in range(low, end):
            self.variables[self.function.variable] = i
            self.execute(self.function.body)

    # values
    def value(self, expr: Expr) -> Array:
        return evaluate(expr, self.known, self.read)

    def holds(self, guard: Expr | None) -> bool:
        return guard is None or bool(self.value(guard))

    def read(self, expr: Expr, values: list[Array]) -> Array:
        if expr.op == "scalar":
            return self.scalars[expr.attr]
        if expr.op == "load":
            if len(values) > 1 and not values[1]:
                return 0
            index = int(values[0])
            result = self.at(expr.attr, index)[index].astype(expr.dtype.numpy)
        elif expr.attr in self.variables:
            result = np.asarray(self.variables[expr.attr], expr.dtype.numpy)
        else:
            raise InternalError(f"loop IR: {expr.op} {expr!r} is read outside its scope")
        if expr.op != "var" and not (expr.op == "load" and expr.attr.space == "input"):
            self.known[expr] = result
            self.scopes[-1].append(expr)
        return result

    def at(self, buffer: Buffer, index: int) -> Array:
        memory = self.memory[buffer]
        if not 0 <= index < len(memory):
            raise InternalError(f"loop IR: index {index} is outside {buffer!r}")
        return memory

    # statements
    @contextmanager
    def scope(self) -> Iterator[None]:
        self.scopes.append([])
        yield
        for expr in self.scopes.pop():
            del self.known[expr]

    def execute(self, body: Sequence[Statement]) -> None:
        with self.scope():
            for s in body:
                self.statement(s)

    def statement(self, s: Statement) -> None:
        if isinstance(s, For):
            for i in range(int(self.value(s.low)), int(self.value(s.high)), s.step):
                self.variables[s.variable] = i
                self.execute(s.body)
        elif isinstance(s, While):
            while self.turn(s):
                pass
        elif isinstance(s, If):
            self.execute(s.body if self.holds(s.condition) else s.orelse)
        elif isinstance(s, (Declare, Assign)):
            self.variables[s.local] = self.value(s.value)
        elif isinstance(s, Allocate):
            self.allocate(s.buffer)
        elif isinstance(s, Dots):
            self.dots(s)
        elif isinstance(s, Scan):
            self.accumulate(Accumulate(s.accumulator, s.value, None))
            self.variables[s.local] = self.variables[s.accumulator]
        elif not isinstance(s, Prefetch) and self.holds(s.guard):
            with nullcontext() if s.guard is None else self.scope(), np.errstate(all="ignore"):
                self.accumulate(s) if isinstance(s, Accumulate) else self.store(s)

    def turn(self, s: While) -> bool:
        with self.scope():
            if not self.holds(s.condition):
                return False
            self.execute(s.body)
            return True

    def allocate(self, buffer: Buffer) -> None:
        assert isinstance(buffer.size, int)
        # a pattern, so that tests notice a read of uninitialised memory
        raw = np.full(buffer.size * buffer.dtype.itemsize, 1 if buffer.dtype is bool_ else 0xA5, np.uint8)
        self.memory[buffer] = raw.view(buffer.dtype.numpy)

    def dots(self, s: Dots) -> None:
        at = [int(self.value(e)) for e in (s.left_at, s.right_at, s.sums_at)]
        places = places_of(s, at, int(self.value(s.depth)))
        buffers = (s.left, s.right, s.sums)
        multiply_blocks(s, [self.at(b, int(p.max(initial=0))) for b, p in zip(buffers, places, strict=True)], places)

    def accumulate(self, s: Accumulate) -> None:
        dtype, old = s.accumulator.dtype, np.asarray(self.variables[s.accumulator])
        combined = _OPERATIONS[s.accumulator.op](dtype, old, self.value(s.value))
        self.variables[s.accumulator] = np.asarray(combined, dtype.numpy)

    def store(self, s: Store) -> None:
        value, index = self.value(s.value), int(self.value(s.index))
        self.at(s.buffer, index)[index] = value.astype(s.buffer.dtype.numpy)


# blocks of dot products


def places_of(s: Dots, at: Sequence[int], depth: int) -> list[Array]:
    """Return where the elements of the left, the right block and the sums are, which begin at `at`."""
    group, line = (size // s.left.dtype.itemsize for size in (4, 64))
    i, j, k = np.arange(s.rows)[:, None], np.arange(s.columns), np.arange(depth)
    return [
        at[0] + (k // line * s.rows + i) * line + k % line,
        at[1] + (k[:, None] // group * s.columns + j) * group + k[:, None] % group,
        at[2] + i * s.columns + j,
    ]


def multiply_blocks(s: Dots, memory: Sequence[Array], places: Sequence[Array]) -> None:
    """Compute the sums of a `Dots` in the memory of its three buffers."""
    wide = "f8" if s.sums.dtype is float32 else "i8"
    left, right, sums = (m[p].astype(wide) for m, p in zip(memory, places, strict=True))
    memory[2][places[2]] = ((sums if s.adds else 0) + left @ right).astype(s.sums.dtype.numpy)
