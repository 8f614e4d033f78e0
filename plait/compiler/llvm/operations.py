"""The instructions of every operation of the loop IR."""

from __future__ import annotations

import functools
from collections.abc import Callable

from plait.compiler.llvm.text import Value, Writer, integer, kind_of, literal, suffix
from plait.core.dtype import DType, bool_, float32, float64, int32
from plait.core.errors import InternalError

Rule = Callable[..., Value]


def apply(w: Writer, op: str, dtype: DType, source: DType, *args: Value) -> Value:
    """Write an operation: `dtype` is that of the result, `source` that of the last operand."""
    rule = _RULES.get(op)
    if rule is None:
        raise InternalError(f"loop IR: unknown operation {op!r}")
    return rule(w, dtype, source, *args)


def identity(op: str, dtype: DType) -> Value:
    """The neutral constant of an accumulate operation."""
    if dtype.kind == "f":
        # x + -0.0 is x for every x, x + 0.0 is not
        return literal({"add": -0.0, "mul": 1.0, "min": float("inf"), "max": -float("inf")}[op], dtype)
    if dtype is bool_:
        return literal(op in ("mul", "min", "and"), dtype)
    least, greatest = _limits(dtype)
    return literal({"add": 0, "mul": 1, "min": greatest, "max": least, "and": -1, "or": 0, "xor": 0}[op], dtype)


def _limits(dtype: DType) -> tuple[int, int]:
    if dtype.kind == "u":
        return 0, (1 << dtype.bits) - 1
    return -(1 << dtype.bits - 1), (1 << dtype.bits - 1) - 1


def _arithmetic(float_op: str, integer_op: str, bool_op: str) -> Rule:
    def rule(w: Writer, dtype: DType, source: DType, a: Value, b: Value) -> Value:
        return w.binary(float_op if dtype.kind == "f" else bool_op if dtype is bool_ else integer_op, a, b)

    return rule


def _neg(w: Writer, dtype: DType, source: DType, x: Value) -> Value:
    if dtype.kind == "f":
        return w.define(x.kind, x.lanes, f"fneg {x.typed}", x.depth)
    return x if dtype is bool_ else w.binary("sub", integer(0, x.kind), x)


def _abs(w: Writer, dtype: DType, source: DType, x: Value) -> Value:
    if dtype.kind == "f":
        return w.call("fabs", x)
    return w.call("abs", x, flag=", i1 false") if dtype.kind == "i" else x


def _not(w: Writer, dtype: DType, source: DType, x: Value) -> Value:
    return w.binary("xor", x, literal(True, bool_) if dtype is bool_ else integer(-1, x.kind))


def _divide(w: Writer, dtype: DType, source: DType, a: Value, b: Value) -> Value:
    if dtype.kind == "f":
        return w.binary("fdiv", a, b)
    signed = dtype.kind == "i"
    if _is_safe_divisor(b):
        return w.binary("sdiv" if signed else "udiv", a, b)
    a, b = w.same_lanes(a, b)
    zero, divisor = _safe_divisor(w, signed, a, b)
    if a.lanes > 1 and dtype.bits <= 32:
        quotient = _divide_as_double(w, signed, a, divisor)
    else:
        quotient = w.binary("sdiv" if signed else "udiv", a, divisor)
    if signed:
        quotient = w.select(
            w.compare("icmp eq", b, integer(-1, b.kind)), w.binary("sub", integer(0, a.kind), a), quotient
        )
    return w.select(zero, integer(-1, a.kind), quotient)


def _remainder(w: Writer, dtype: DType, source: DType, a: Value, b: Value) -> Value:
    if dtype.kind == "f":
        return w.binary("frem", a, b)
    signed = dtype.kind == "i"
    if _is_safe_divisor(b):
        return w.binary("srem" if signed else "urem", a, b)
    a, b = w.same_lanes(a, b)
    zero, divisor = _safe_divisor(w, signed, a, b)
    if a.lanes > 1 and dtype.bits <= 32:
        quotient = _divide_as_double(w, signed, a, divisor)
        remainder = w.binary("sub", a, w.binary("mul", quotient, divisor))
    else:
        # dividing by 1 in place of -1 gives the same remainder, 0
        remainder = w.binary("srem" if signed else "urem", a, divisor)
    return w.select(zero, a, remainder)


def divide_small(w: Writer, op: str, a: Value, b: Value) -> Value:
    """Divide (or take the remainder of) int64 vectors known to hold 31-bit natural numbers."""
    low = w.convert("trunc", a, "i32")
    if b.constant:
        return w.convert("zext", w.binary("udiv" if op == "div" else "urem", low, integer(b.constant, "i32")), "i64")
    return w.convert("sext", apply(w, op, int32, int32, low, w.convert("trunc", b, "i32")), "i64")


def _is_safe_divisor(b: Value) -> bool:
    return b.constant is not None and b.constant not in (0, -1)


def _safe_divisor(w: Writer, signed: bool, a: Value, b: Value) -> tuple[Value, Value]:
    """Whether b is 0, and b with 1 in place of 0 (and of -1, which overflows for the least integer)."""
    zero = w.compare("icmp eq", b, integer(0, b.kind))
    special = w.binary("or", zero, w.compare("icmp eq", b, integer(-1, b.kind))) if signed else zero
    return zero, w.select(special, integer(1, b.kind), b)


def _divide_as_double(w: Writer, signed: bool, a: Value, b: Value) -> Value:
    # processors divide vectors only in floating point; 53 bits make quotients of 32-bit integers exact
    to, back = ("sitofp", "fptosi") if signed else ("uitofp", "fptoui")
    return w.convert(back, w.binary("fdiv", w.convert(to, a, "double"), w.convert(to, b, "double")), a.kind)


def _extremum(largest: bool) -> Rule:
    def rule(w: Writer, dtype: DType, source: DType, a: Value, b: Value) -> Value:
        if dtype is bool_:
            return w.binary("or" if largest else "and", a, b)
        if dtype.kind != "f":
            return w.call(("s" if dtype.kind == "i" else "u") + ("max" if largest else "min"), a, b)
        return _float_extremum(w, largest, *((b, a) if a.constant is not None else (a, b)))

    return rule


def _float_extremum(w: Writer, largest: bool, a: Value, b: Value) -> Value:
    if b.constant is not None and b.constant == b.constant:
        # an unordered comparison is false, which leaves a NaN of `a`; equal zeros must give the right one
        zero_wins = b.constant == 0 and (b.text.startswith("0x0") == largest)
        order = ("ole" if zero_wins else "olt") if largest else ("oge" if zero_wins else "ogt")
        return w.select(w.compare(f"fcmp {order}", a, b), b, a)
    a, b = w.same_lanes(a, b)
    result = w.select(w.compare("fcmp ogt" if largest else "fcmp olt", a, b), a, b)
    bits = "i32" if a.kind == "float" else "i64"
    merged = w.binary("and" if largest else "or", w.convert("bitcast", a, bits), w.convert("bitcast", b, bits))
    # equal operands differ in the sign of zero only; an unordered comparison has chosen b
    result = w.select(w.compare("fcmp oeq", a, b), w.convert("bitcast", merged, a.kind), result)
    return w.select(w.compare("fcmp uno", a, a), a, result)


def _shift(left: bool) -> Rule:
    def rule(w: Writer, dtype: DType, source: DType, a: Value, count: Value) -> Value:
        op = "shl" if left else "ashr" if dtype.kind == "i" else "lshr"
        if count.constant is not None and 0 <= count.constant < dtype.bits:
            return w.binary(op, a, count)
        inside = w.compare("icmp ult", count, integer(dtype.bits, count.kind))
        if op == "ashr":
            return w.binary(op, a, w.select(inside, count, integer(dtype.bits - 1, count.kind)))
        return w.select(inside, w.binary(op, a, count), integer(0, a.kind))

    return rule


def _scale(w: Writer, dtype: DType, source: DType, x: Value, n: Value) -> Value:
    x, n = w.same_lanes(x, n)
    if w.target.scales:
        return _scale_at_once(w, x, n)
    # the exponent in two halves: the result may be subnormal, and the power beyond the range
    if x.kind == "float":
        raw = w.convert("fptosi", n, "i32")  # nothing of the result is seen where n is no number
        bits, mantissa, bias, k = "i32", 23, 127, w.define("i32", n.lanes, f"freeze {raw.typed}", n.depth)
    else:  # adding 1.5 * 2^52 leaves an integer in the low bits
        bits, mantissa, bias = "i64", 52, 1023
        shifted = w.convert("bitcast", w.binary("fadd", n, literal(1.5 * 2.0**52, float64)), bits)
        k = w.binary("sub", shifted, integer(0x4338000000000000, bits))
    half = w.binary("ashr", k, integer(1, bits))
    for part in (half, w.binary("sub", k, half)):
        biased = w.binary("shl", w.binary("add", part, integer(bias, bits)), integer(mantissa, bits))
        x = w.binary("fmul", x, w.convert("bitcast", biased, x.kind))
    return x


def _scale_at_once(w: Writer, x: Value, n: Value) -> Value:
    """`vscalef`, on as many registers as the lanes take."""
    most, name = (16, "ps") if x.kind == "float" else (8, "pd")
    depth = max(x.depth, n.depth)
    if x.lanes == 1:
        k = _float_to_integer(w, int32, float32 if name == "ps" else float64, n)
        return w.define(x.kind, 1, f"call {x.kind} @llvm.ldexp.{suffix(x)}.i32({x.typed}, {k.typed})", depth)
    if x.lanes > most:
        return w.in_halves(functools.partial(_scale_at_once, w), x, n)
    rounding = ", i32 4" if x.lanes == most else ""
    operands = f"{x.typed}, {n.typed}, {x.type} poison, i{max(8, x.lanes)} -1{rounding}"
    text = f"call {x.type} @llvm.x86.avx512.mask.scalef.{name}.{512 * x.lanes // most}({operands})"
    return w.define(x.kind, x.lanes, text, depth)


_UNSIGNED = {"eq": "eq", "ne": "ne", "lt": "ult", "le": "ule", "gt": "ugt", "ge": "uge"}
_SIGNED = {"eq": "eq", "ne": "ne", "lt": "slt", "le": "sle", "gt": "sgt", "ge": "sge"}
_FLOAT = {"eq": "oeq", "ne": "une", "lt": "olt", "le": "ole", "gt": "ogt", "ge": "oge"}


def _compare(op: str) -> Rule:
    def rule(w: Writer, dtype: DType, source: DType, a: Value, b: Value) -> Value:
        if source.kind == "f":
            return w.compare(f"fcmp {_FLOAT[op]}", a, b)
        return w.compare(f"icmp {(_SIGNED if source.kind == 'i' else _UNSIGNED)[op]}", a, b)

    return rule


def _select(w: Writer, dtype: DType, source: DType, condition: Value, a: Value, b: Value) -> Value:
    return w.select(condition, a, b)


def _cast(w: Writer, dtype: DType, source: DType, x: Value) -> Value:
    kind = kind_of(dtype)
    if dtype is source:
        return x
    if dtype is bool_:
        zero = literal(0.0, source) if source.kind == "f" else integer(0, x.kind)
        return w.compare("fcmp une" if source.kind == "f" else "icmp ne", x, zero)
    if source.kind == "f":
        if dtype.kind == "f":
            return w.convert("fpext" if dtype.bits > source.bits else "fptrunc", x, kind)
        return _float_to_integer(w, dtype, source, x)
    if dtype.kind == "f":
        return w.convert("sitofp" if source.kind == "i" else "uitofp", x, kind)
    if dtype.bits == source.bits:
        return x
    return w.convert("trunc" if dtype.bits < source.bits else "sext" if source.kind == "i" else "zext", x, kind)


def _float_to_integer(w: Writer, dtype: DType, source: DType, x: Value) -> Value:
    kind, signed = kind_of(dtype), "s" if dtype.kind == "i" else "u"
    if x.lanes == 1:
        text = f"call {kind} @llvm.fpto{signed}i.sat.{kind}.{suffix(x)}({x.typed})"
        return w.define(kind, 1, text, x.depth)
    # LLVM converts the lanes one by one if asked to saturate, so the ends are put in afterwards
    wide = kind if dtype.bits >= 32 else "i32"
    least, greatest = _limits(dtype)
    raw = w.convert("fptosi" if wide != kind else f"fpto{signed}i", x, wide)
    result = w.define(wide, x.lanes, f"freeze {raw.typed}", raw.depth)
    result = w.select(w.compare("fcmp oge", x, literal(float(greatest + 1), source)), integer(greatest, wide), result)
    result = w.select(w.compare("fcmp olt", x, literal(float(least), source)), integer(least, wide), result)
    result = w.select(w.compare("fcmp uno", x, x), integer(0, wide), result)
    return result if wide == kind else w.convert("trunc", result, kind)


def _bitcast(w: Writer, dtype: DType, source: DType, x: Value) -> Value:
    kind = kind_of(dtype)
    return x if kind == x.kind else w.convert("bitcast", x, kind)


def _intrinsic(name: str, flag: str = "") -> Rule:
    def rule(w: Writer, dtype: DType, source: DType, *args: Value) -> Value:
        return w.call(name, *args, flag=flag)

    return rule


_RULES: dict[str, Rule] = {
    "add": _arithmetic("fadd", "add", "or"),
    "sub": _arithmetic("fsub", "sub", "xor"),
    "mul": _arithmetic("fmul", "mul", "and"),
    "and": _arithmetic("and", "and", "and"),
    "or": _arithmetic("or", "or", "or"),
    "xor": _arithmetic("xor", "xor", "xor"),
    "neg": _neg,
    "abs": _abs,
    "not": _not,
    "div": _divide,
    "rem": _remainder,
    "min": _extremum(False),
    "max": _extremum(True),
    "shl": _shift(True),
    "shr": _shift(False),
    "select": _select,
    "cast": _cast,
    "bitcast": _bitcast,
    "sqrt": _intrinsic("sqrt"),
    "floor": _intrinsic("floor"),
    "ceil": _intrinsic("ceil"),
    "trunc": _intrinsic("trunc"),
    "rint": _intrinsic("rint"),
    "copysign": _intrinsic("copysign"),
    "scale": _scale,
    "fma": _intrinsic("fma"),
    "popcount": _intrinsic("ctpop"),
    "clz": _intrinsic("ctlz", ", i1 false"),
    **{op: _compare(op) for op in _FLOAT},
}
