"""Elementwise arithmetic, rounding, comparison, bits and selection, with NumPy broadcasting."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from plait.core.aval import Aval, aval
from plait.core.dtype import ALL, COMPLEXES, FLOAT8, FLOATS, INTEGERS, DType, bool_, float32, float64
from plait.core.errors import ArgumentError, DTypeError, message
from plait.core.graph import Node, constant
from plait.core.primitive import Domain, P, Primitive
from plait.ir import complex as complex_math, math
from plait.ir.complex import Complex
from plait.ir.loop import Expr, binary, const, select as choose, unary
from plait.prims.rules import (
    MINUS_ONE,
    ONE,
    PIECEWISE_CONSTANT,
    SIGNED_OF,
    UNSIGNED_OF,
    Over,
    binary_rule,
    bounds,
    broadcast_shapes,
    broadcast_to,
    check_dtype,
    check_same_dtype,
    compare_rule,
    draw,
    either,
    elementwise,
    elementwise_domain,
    linear_elementwise,
    no_tangent,
    partials,
    shapes_for,
    unary_rule,
    where,
)

NUMBERS = (*INTEGERS, *FLOATS, *COMPLEXES)
REALS = (*INTEGERS, *FLOATS)
BITS = (bool_, *INTEGERS)
_WIDE = ((-3, 3), (-3, 3))


# sign and rounding


def _abs_jvp(node: Node, tangents: Sequence[Node | None]) -> Node | None:
    (x,), (t,) = node.inputs, tangents
    if t is None:
        return None
    return P.real(P.conj(P.sign(x)) * t) if x.dtype.is_complex else P.sign(x) * t


def _sign_jvp(node: Node, tangents: Sequence[Node | None]) -> Node | None:
    (x,), (t,) = node.inputs, tangents
    if t is None or not x.dtype.is_complex:
        return None
    size = P.abs(x)
    radial = node * P.convert(P.real(P.conj(node) * t), dtype=x.dtype)
    slope = (t - radial) / P.convert(where(P.eq(size, 0.0), 1, size, size.dtype), dtype=x.dtype)
    return where(P.eq(size, 0.0), 0, slope, x.dtype)


neg = elementwise(
    "neg", unary_rule(NUMBERS, "neg"), operator.neg, jvp=partials(MINUS_ONE), transpose=linear_elementwise(MINUS_ONE),
    domain=elementwise_domain(NUMBERS, (-3, 3)), oracle="numpy.negative",
)  # fmt: skip
abs_ = elementwise(
    "abs", unary_rule(NUMBERS, "abs", lambda dtype: dtype.real),
    either(lambda x: x if x.dtype.kind == "u" else unary("abs", x), complex_math.abs),
    jvp=_abs_jvp, domain=elementwise_domain(NUMBERS, (-3, 3)), oracle="numpy.absolute",
)  # fmt: skip
sign = elementwise(
    "sign", unary_rule(NUMBERS, "sign"), either(math.sign, complex_math.sign), jvp=_sign_jvp,
    domain=elementwise_domain(NUMBERS, (-3, 3), smooth=False), oracle="numpy.sign",
)  # fmt: skip


def _rounding(name: str, op: str, oracle: str) -> Primitive:
    return elementwise(
        name, unary_rule(FLOATS, name), lambda x: unary(op, x), jvp=no_tangent,
        domain=elementwise_domain(FLOATS, (-9, 9), smooth=False), oracle=oracle,
    )  # fmt: skip


floor = _rounding("floor", "floor", "numpy.floor")
ceil = _rounding("ceil", "ceil", "numpy.ceil")
round_ = _rounding("round", "rint", "numpy.rint")
trunc = _rounding("trunc", "trunc", "numpy.trunc")


# arithmetic

add = elementwise(
    "add", binary_rule(NUMBERS, "add"), operator.add, jvp=partials(ONE, ONE), transpose=linear_elementwise(ONE, ONE),
    domain=elementwise_domain(NUMBERS, *_WIDE), oracle="numpy.add",
)  # fmt: skip
sub = elementwise(
    "sub", binary_rule(NUMBERS, "sub"), operator.sub, jvp=partials(ONE, MINUS_ONE),
    transpose=linear_elementwise(ONE, MINUS_ONE), domain=elementwise_domain(NUMBERS, *_WIDE), oracle="numpy.subtract",
)  # fmt: skip
mul = elementwise(
    "mul", binary_rule(NUMBERS, "mul"), operator.mul, jvp=partials(lambda z, x, y: y, lambda z, x, y: x),
    transpose=linear_elementwise(lambda ct, x, y: ct * y, lambda ct, x, y: ct * x),
    domain=elementwise_domain(NUMBERS, *_WIDE), oracle="numpy.multiply",
)  # fmt: skip
div = elementwise(
    "div", binary_rule(NUMBERS, "div"), operator.truediv,
    jvp=partials(lambda z, x, y: Over(y), lambda z, x, y: -z / y),
    transpose=linear_elementwise(lambda ct, x, y: ct / y, None),
    domain=elementwise_domain(NUMBERS, (-9, 9), (0.6, 4)), oracle="oracle.elementwise.div", flops=4,
)  # fmt: skip


def _quotient(rounding: Callable[[Node], Node], x: Node, y: Node) -> Node:
    """Round x / y to an integer; a quotient of 16 bits could already have been rounded across one."""
    if x.dtype.bits > 16:
        return rounding(x / y)
    ratio = P.convert(x, dtype=x.dtype.compute) / P.convert(y, dtype=x.dtype.compute)
    return P.convert(rounding(ratio), dtype=x.dtype)


rem = elementwise(
    "rem", binary_rule(REALS, "rem"), lambda x, y: binary("rem", x, y) if x.dtype.is_integer else math.rem(x, y),
    jvp=partials(ONE, lambda z, x, y: -_quotient(P.trunc, x, y)),
    domain=elementwise_domain(REALS, (-9, 9), (0.6, 4), smooth=False), oracle="numpy.fmod", flops=8,
)  # fmt: skip


def _mod(x: Expr, y: Expr) -> Expr:
    """The remainder with the sign of the divisor, also where it is zero."""
    remainder, zero = binary("rem", x, y) if x.dtype.is_integer else math.rem(x, y), const(0, x.dtype)
    if x.dtype.kind == "u":
        return remainder
    is_other = remainder.ne(zero) & ((remainder < zero) ^ (y < zero))
    result = choose(is_other, remainder + y, remainder)
    return result if x.dtype.is_integer else choose(remainder.eq(zero), binary("copysign", zero, y), result)


mod = elementwise(
    "mod", binary_rule(REALS, "mod"), _mod, jvp=partials(ONE, lambda z, x, y: -_quotient(P.floor, x, y)),
    domain=elementwise_domain(REALS, (-9, 9), (0.6, 4), smooth=False), oracle="numpy.remainder", flops=10,
)  # fmt: skip


def _pow_by_base(z: Node, x: Node, y: Node) -> Node:
    # where y is 0 the derivative is 0, also for a base of 0 where x^(y-1) would be infinite
    return y * P.pow(x, where(P.eq(y, 0), 1, y - 1, y.dtype))


def _pow_by_exponent(z: Node, x: Node, y: Node) -> Node:
    is_flat = P.eq(x, 0)
    if not x.dtype.is_complex:
        is_flat = P.bitwise_and(is_flat, P.ge(y, 0))
    return z * P.log(where(is_flat, 1, x, x.dtype))


def _real_pow(x: Expr, y: Expr) -> Expr:
    return math.integers_pow(x, y) if x.dtype.is_integer else math.pow(x, y)


pow_ = elementwise(
    "pow", binary_rule(NUMBERS, "pow"), either(_real_pow, complex_math.pow),
    jvp=partials(_pow_by_base, _pow_by_exponent), flops=40,
    domain=elementwise_domain(NUMBERS, (0.2, 3), (-3, 3), tolerance=32), oracle="oracle.elementwise.pow",
)  # fmt: skip


def _integer_pow_aval(x: Aval, *, exponent: int) -> Aval:
    check_dtype("integer_pow", x.dtype, NUMBERS)
    if exponent < 0 and x.dtype.is_integer:
        what = "An integer has no negative integer power"
        raise ArgumentError(message(what, f"exponent {exponent}", "exponent >= 0", "convert with .to(plait.float32)"))
    return x


def _integer_pow(x: Expr, *, exponent: int) -> Expr:
    one = const(1, x.dtype)
    result, square, remaining = one, x, abs(exponent)
    while remaining:
        if remaining & 1:
            result = square if result is one else result * square
        remaining >>= 1
        if remaining:
            square = square * square
    return one / result if exponent < 0 else result


def _integer_pow_slope(y: Node, x: Node) -> Node | None:
    exponent = y.params["exponent"]
    return None if exponent == 0 else exponent * P.integer_pow(x, exponent=exponent - 1)


def _integer_pow_samples(random: Any, dtype: DType, size: int) -> Iterator[tuple[list[Any], dict[str, Any]]]:
    for exponent in (0, 1, 2, 3, 7) if dtype.is_integer else (0, 1, 2, 3, 7, -1, -2):
        yield [draw(random, dtype, (size,), 0.5, 2)], {"exponent": exponent}


integer_pow = elementwise(
    "integer_pow", _integer_pow_aval, either(_integer_pow, complex_math.integer_pow), jvp=partials(_integer_pow_slope),
    domain=Domain(NUMBERS, 0.5, 2, sample=_integer_pow_samples), oracle="oracle.elementwise.integer_pow", flops=3,
)  # fmt: skip


def _over(a: Node, length: Node) -> Node:
    """a / length, 0 where the length is."""
    is_zero = P.eq(length, 0)
    return where(is_zero, 0, a / where(is_zero, 1, length, a.dtype), a.dtype)


hypot = elementwise(
    "hypot", binary_rule(FLOATS, "hypot"), lambda x, y: complex_math.abs(Complex(x, y)), flops=12,
    jvp=partials(lambda z, x, y: _over(x, z), lambda z, x, y: _over(y, z)),
    domain=elementwise_domain(FLOATS, (-3, 3), (0.2, 3)), oracle="numpy.hypot",
)  # fmt: skip


def _over_square(a: Node, x: Node, y: Node) -> Node:
    """a / (x^2 + y^2), whose squares may lie out of range."""
    length = P.hypot(x, y)
    return a / length / length


atan2 = elementwise(
    "atan2", binary_rule(FLOATS, "atan2"), math.atan2, flops=30,
    jvp=partials(lambda z, y, x: _over_square(x, x, y), lambda z, y, x: _over_square(-y, x, y)),
    domain=elementwise_domain(FLOATS, (-3, 3), (0.2, 3)), oracle="numpy.arctan2",
)  # fmt: skip


# extremes


def _share(a: Node, b: Node) -> Node:
    """The part of the gradient that goes to `a` of max(a, b), or min(-a, -b): half each where they are equal."""
    return where(P.eq(a, b), 0.5, P.convert(P.gt(a, b), dtype=a.dtype), a.dtype)


def _extreme(op: str, on_bool: str) -> Callable[[Expr, Expr], Expr]:
    return lambda a, b: binary(on_bool if a.dtype is bool_ else op, a, b)


max_ = elementwise(
    "max", binary_rule((bool_, *REALS), "max"), _extreme("max", "or"),
    jvp=partials(lambda z, x, y: _share(x, y), lambda z, x, y: _share(y, x)),
    domain=elementwise_domain((bool_, *REALS), *_WIDE), oracle="numpy.maximum",
)  # fmt: skip
min_ = elementwise(
    "min", binary_rule((bool_, *REALS), "min"), _extreme("min", "and"),
    jvp=partials(lambda z, x, y: _share(y, x), lambda z, x, y: _share(x, y)),
    domain=elementwise_domain((bool_, *REALS), *_WIDE), oracle="numpy.minimum",
)  # fmt: skip


def _mask(dtype: DType, *conditions: Node) -> Node:
    result = conditions[0]
    for condition in conditions[1:]:
        result = P.bitwise_and(result, condition)
    return P.convert(result, dtype=dtype)


clamp = elementwise(
    "clamp", binary_rule(REALS, "clamp"), lambda x, low, high: binary("min", binary("max", x, low), high),
    jvp=partials(
        lambda z, x, low, high: _mask(x.dtype, P.ge(x, low), P.le(x, high)),
        lambda z, x, low, high: _mask(x.dtype, P.lt(x, low), P.le(low, high)),
        lambda z, x, low, high: _mask(x.dtype, P.gt(P.max(x, low), high)),
    ),
    domain=elementwise_domain(REALS, (-3, 3), (-2, 0), (0, 2)), oracle="numpy.clip", flops=2,
)  # fmt: skip


def _select_aval(condition: Aval, a: Aval, b: Aval) -> Aval:
    if condition.dtype is not bool_:
        expected, fix = "bool", "compare first, e.g. x != 0"
        raise DTypeError(message("The condition of select must be bool", condition.dtype.name, expected, fix))
    dtype = check_same_dtype("select", a, b)
    check_dtype("select", dtype, (*ALL, *FLOAT8))
    return aval(dtype, broadcast_shapes(condition.shape, a.shape, b.shape, name="select"))


def _select(condition: Expr, a: Any, b: Any) -> Any:
    return (complex_math.choose if isinstance(a, Complex) else choose)(condition, a, b)


def _select_jvp(node: Node, tangents: Sequence[Node | None]) -> Node | None:
    branches = tangents[1:]
    if all(t is None for t in branches):
        return None
    zero = constant(0, node.dtype)
    return broadcast_to(P.select(node.inputs[0], *[zero if t is None else t for t in branches]), node.shape)


def _select_samples(random: Any, dtype: DType, size: int) -> Iterator[tuple[list[Any], dict[str, Any]]]:
    for shapes in shapes_for(3, size):
        condition, *branches = [draw(random, d, s) for d, s in zip((bool_, dtype, dtype), shapes, strict=True)]
        yield [condition, *branches], {}


select = elementwise(
    "select", _select_aval, _select, jvp=_select_jvp,
    transpose=linear_elementwise(
        None, lambda ct, c, a, b: where(c, ct, 0, ct.dtype), lambda ct, c, a, b: where(c, 0, ct, ct.dtype)
    ),
    domain=Domain((*ALL, *FLOAT8), sample=_select_samples), oracle="numpy.where",
)  # fmt: skip


# neighbouring values and signs


nextafter = elementwise(
    "nextafter", binary_rule((float32, float64), "nextafter"), math.nextafter, flops=4,
    jvp=partials(ONE, None),  # a step is a constant but where the exponent changes
    domain=elementwise_domain((float32, float64), *_WIDE, smooth=False), oracle="numpy.nextafter",
)  # fmt: skip
copysign = elementwise(
    "copysign", binary_rule(FLOATS, "copysign"), lambda x, y: binary("copysign", x, y),
    jvp=partials(lambda z, x, y: P.sign(x) * P.sign(z), None),
    domain=elementwise_domain(FLOATS, *_WIDE), oracle="numpy.copysign",
)  # fmt: skip
is_finite = elementwise(
    "is_finite", unary_rule((*FLOATS, *COMPLEXES), "is_finite", lambda dtype: bool_),
    either(math.is_finite, lambda z: math.is_finite(z.re) & math.is_finite(z.im)),
    jvp=PIECEWISE_CONSTANT, domain=elementwise_domain((*FLOATS, *COMPLEXES), (-3, 3)), oracle="numpy.isfinite",
)  # fmt: skip


# comparisons


def _compare(name: str, oracle: str, lower: Callable[..., Any], dtypes: Sequence[DType] = (bool_, *REALS)) -> Primitive:
    return elementwise(
        name, compare_rule(dtypes, name), lower, jvp=PIECEWISE_CONSTANT,
        domain=elementwise_domain(dtypes, *_WIDE, smooth=False), oracle=oracle,
    )  # fmt: skip


eq = _compare("eq", "numpy.equal", lambda a, b: a.eq(b), ALL)
ne = _compare("ne", "numpy.not_equal", lambda a, b: a.ne(b), ALL)
lt = _compare("lt", "numpy.less", operator.lt)
le = _compare("le", "numpy.less_equal", operator.le)
gt = _compare("gt", "numpy.greater", operator.gt)
ge = _compare("ge", "numpy.greater_equal", operator.ge)


# bits


def _bitwise(
    name: str, lower: Callable[..., Any], oracle: str, *ranges: tuple[Any, Any], dtypes: Sequence[DType] = INTEGERS
) -> Primitive:
    return elementwise(
        name, binary_rule(dtypes, name), lower, jvp=PIECEWISE_CONSTANT,
        domain=elementwise_domain(dtypes, *ranges, smooth=False), oracle=oracle,
    )  # fmt: skip


def _shift(op: str, views: dict[int, DType] | None = None) -> Callable[[Expr, Expr], Expr]:
    """Shift operands seen as signed (arithmetic) or unsigned (logical) integers."""

    def lower(x: Expr, count: Expr) -> Expr:
        # a count seen as unsigned keeps its meaning: out of range either way
        seen = x.dtype if views is None else views[x.dtype.bits]
        return binary(op, x.bitcast(seen), count.bitcast(seen)).bitcast(x.dtype)

    return lower


def _all_values(random: Any, dtype: DType, size: int) -> Iterator[tuple[list[Any], dict[str, Any]]]:
    yield [draw(random, dtype, (size,), *bounds(dtype))], {}


def _shift_samples(random: Any, dtype: DType, size: int) -> Iterator[tuple[list[Any], dict[str, Any]]]:
    for shapes in shapes_for(2, size):
        values = draw(random, dtype, shapes[0], *bounds(dtype))
        yield [values, draw(random, dtype, shapes[1], 0, dtype.bits - 1)], {}


_BYTE = (-128, 255)
bitwise_not = _bitwise("bitwise_not", operator.invert, "numpy.bitwise_not", _BYTE, dtypes=BITS)
bitwise_and = _bitwise("bitwise_and", operator.and_, "numpy.bitwise_and", _BYTE, _BYTE, dtypes=BITS)
bitwise_or = _bitwise("bitwise_or", operator.or_, "numpy.bitwise_or", _BYTE, _BYTE, dtypes=BITS)
bitwise_xor = _bitwise("bitwise_xor", operator.xor, "numpy.bitwise_xor", _BYTE, _BYTE, dtypes=BITS)


def _count(name: str, oracle: str) -> Primitive:
    return elementwise(
        name, unary_rule(INTEGERS, name), lambda x: unary(name, x), jvp=PIECEWISE_CONSTANT, oracle=oracle,
        domain=Domain(INTEGERS, sample=_all_values, smooth=False),
    )  # fmt: skip


popcount = _count("popcount", "oracle.elementwise.popcount")
clz = _count("clz", "oracle.elementwise.clz")


def _shifting(name: str, lower: Callable[..., Any]) -> Primitive:
    return elementwise(
        name, binary_rule(INTEGERS, name), lower, jvp=PIECEWISE_CONSTANT, oracle=f"oracle.elementwise.{name}",
        domain=Domain(INTEGERS, sample=_shift_samples, smooth=False),
    )  # fmt: skip


shift_left = _shifting("shift_left", _shift("shl"))
shift_right_arithmetic = _shifting("shift_right_arithmetic", _shift("shr", SIGNED_OF))
shift_right_logical = _shifting("shift_right_logical", _shift("shr", UNSIGNED_OF))
