"""What the elementary functions are made of: float formats, fused and double-length arithmetic, polynomials."""

from __future__ import annotations

import math as _math
from dataclasses import dataclass
from typing import Any

from plait.core.dtype import DType, float32, float64, int32, int64
from plait.ir.coefficients import Coefficients
from plait.ir.loop import Expr, Value, binary, const, fma, lookup, select, unary
from plait.ir.pieces import Pieces


@dataclass(frozen=True, slots=True)
class Format:
    """What the functions need to know of a float dtype."""

    integer: DType
    mantissa: int
    bias: int
    exp_range: tuple[float, float]
    ln2: tuple[float, float]
    log10_2: tuple[float, float]
    log2_e: tuple[float, float]
    log10_e: tuple[float, float]

    @property
    def smallest(self) -> float:
        """The smallest normal number."""
        return 2.0 ** (1 - self.bias)

    @property
    def magic(self) -> float:
        """Adding this rounds to an integer and leaves it in the low bits."""
        return 1.5 * 2.0**self.mantissa

    @property
    def magic_bits(self) -> int:
        """The bits of `magic`."""
        return (self.bias + self.mantissa) << self.mantissa | 1 << (self.mantissa - 1)


# the first parts of ln2 and log10_2 end in zeros, so that their products with exponents are exact
FORMATS = {
    float32: Format(
        int32, 23, 127, (-104.0, 89.0),
        ln2=(0.693145751953125, 1.428606765330187e-06), log10_2=(0.301025390625, 4.605039066518657e-06),
        log2_e=(1.4426950216293335, 1.925963033500011e-08), log10_e=(0.4342944920063019, -1.0103049952192578e-08),
    ),
    float64: Format(
        int64, 52, 1023, (-746.0, 710.0),
        ln2=(0.6931471805601177, -1.7239444525614835e-13), log10_2=(0.3010299956640665, -8.532344317057107e-14),
        log2_e=(1.4426950408889634, 2.0355273740931033e-17), log10_e=(0.4342944819032518, 1.098319650216765e-17),
    ),
}  # fmt: skip
PI, LOG_2, INFINITY, NAN = _math.pi, _math.log(2), float("inf"), float("nan")
# what PI lacks; and pi/2 in parts
PI_REST = 1.2246467991473532e-16
HALF_PI = {
    float32: (1.5707963705062866, -4.371138828673793e-08, -1.7151245100058819e-15),
    float64: (1.5707963267948966, 6.123233995736766e-17, -1.4973849048591698e-33),
}


def multiply_add(a: Value, b: Value, c: Value) -> Expr:
    """fma of expressions and Python numbers."""
    dtype = next(x.dtype for x in (a, b, c) if isinstance(x, Expr))
    return fma(const(a, dtype), const(b, dtype), const(c, dtype))


def where(condition: Expr, a: Value, b: Value) -> Expr:
    """select of expressions and Python numbers, not both of them numbers."""
    dtype = next(x.dtype for x in (a, b) if isinstance(x, Expr))
    return select(condition, const(a, dtype), const(b, dtype))


def magnitude(x: Expr) -> Expr:
    """|x|."""
    return unary("abs", x)


def copysign(x: Value, sign: Expr) -> Expr:
    """x with the sign of another value."""
    return binary("copysign", const(x, sign.dtype), sign)


def at_most(x: Expr, limit: float) -> Expr:
    """The smaller of x and a limit; NaN stays."""
    return select(x > limit, const(limit, x.dtype), x)


def poly(x: Expr, coefficients: Coefficients) -> Expr:
    """Horner's rule with fma; the lowest order comes first."""
    result = const(coefficients[-1], x.dtype)
    for coefficient in reversed(coefficients[:-1]):
        result = multiply_add(result, x, coefficient)
    return result


def piecewise(x: Expr, pieces: Pieces, is_odd: bool) -> Expr:
    """A function of x >= 0, up to 15.5 times the width of its pieces."""
    f = FORMATS[x.dtype]
    shifted = multiply_add(x, 1 / pieces.width, f.magic)
    n, index = shifted - f.magic, shifted.bitcast(f.integer)
    distance = multiply_add(n, -pieces.width, x)
    first, *columns = [lookup(index, column, x.dtype) for column in pieces.columns]
    result = columns.pop()
    for coefficient in reversed(columns):
        result = fma(result, distance, coefficient)
    return fma(result, distance, select(n.eq(0), x, first) if is_odd else first)


def two_sum(a: Expr, b: Expr) -> tuple[Expr, Expr]:
    """a + b rounded, and the rounding error."""
    s = a + b
    t = s - a
    return s, (a - (s - t)) + (b - t)


def two_product(a: Expr, b: Expr) -> tuple[Expr, Expr]:
    """a * b rounded, and the rounding error (barring underflow)."""
    p = a * b
    return p, fma(a, b, -p)


def nearest(x: Expr, scale: float) -> tuple[Expr, Expr]:
    """The integer nearest to x * scale (below 2^22 or 2^51), as a float and as an integer."""
    f = FORMATS[x.dtype]
    shifted = multiply_add(x, scale, f.magic)
    return shifted - f.magic, shifted.bitcast(f.integer) - f.magic_bits


def power_of_two(k: Expr, dtype: DType) -> Expr:
    """2^k for an integer k in the range of normal exponents."""
    f = FORMATS[dtype]
    return ((k + f.bias) << f.mantissa).bitcast(dtype)


def scale(x: Expr, n: Expr) -> Expr:
    """x * 2^n for a whole float n up to twice the largest exponent; subnormal results round once."""
    return binary("scale", x, n)


def shift_exponent(x: Expr, k: Expr) -> Expr:
    """x * 2^k for an integer k, where neither x nor the result is near the ends of the range."""
    f = FORMATS[x.dtype]
    return (x.bitcast(f.integer) + (k << f.mantissa)).bitcast(x.dtype)


def is_finite(x: Expr) -> Expr:
    """Whether x is neither infinite nor NaN."""
    return magnitude(x) < INFINITY


def product_of_copies(x: Any, count: int) -> Any:
    """x * x * ... with `count` >= 1 factors, by repeated squaring; x is anything that multiplies."""
    half = product_of_copies(x, count // 2) if count > 1 else None
    return x if half is None else half * half * x if count & 1 else half * half
