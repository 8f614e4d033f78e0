"""The normal distribution, entropies and sinc as loop-IR expressions; see ir/math.py for the rules."""

from __future__ import annotations

from math import pi, sqrt

from plait.core.dtype import float32, float64
from plait.ir import math, special_coefficients as table
from plait.ir.arithmetic import INFINITY, NAN, copysign, magnitude, multiply_add, poly, two_product, where
from plait.ir.bessel import in_double
from plait.ir.coefficients import Coefficients
from plait.ir.loop import Expr, binary, const, fma, rarely, select, unary

_TWO_OVER_ROOT_PI = 2 / sqrt(pi)
# 1 / sqrt(2) in two parts
_ROOT_HALF = {
    float32: (0.7071067690849304, 1.2101617485882343e-08),
    float64: (0.7071067811865476, -4.833646656726457e-17),
}
# asymptotic series of sqrt(pi) x erfcx(x) in 1 / (2 x^2): Abramowitz and Stegun 7.1.23
_ERFCX_SERIES: Coefficients = (1, -1, 3, -15, 105, -945, 10395)


def _scaled_erfc(a: Expr) -> Expr:
    """exp(a^2) erfc(a) for a >= 0."""
    inverse = 1 / binary("max", a, const(1, a.dtype))
    far = inverse * poly(inverse * inverse * 0.5, _ERFCX_SERIES) * (_TWO_OVER_ROOT_PI / 2)
    return rarely(a > 27, far, math.erfc_factors(a)[1])


@in_double
def erfcx(x: Expr) -> Expr:
    """exp(x^2) erfc(x)."""
    a = magnitude(x)
    right, (square, rest) = _scaled_erfc(a), two_product(a, a)
    power = math.exp(square) * 2
    left = select(square < 700, fma(power, rest, power), power) - right
    return select(x < 0, left, right)


def _tail(x: Expr) -> tuple[Expr, Expr]:
    """The mass beyond |x|, and exp(x^2 / 2) times that."""
    first, second = _ROOT_HALF[x.dtype]
    high, low = two_product(magnitude(x), const(first, x.dtype))
    low = select(high < 40, multiply_add(magnitude(x), second, low), const(0, x.dtype))
    power, scaled = math.erfc_factors(high)
    return power * multiply_add(low, -_TWO_OVER_ROOT_PI, scaled) * 0.5, _scaled_erfc(high) * 0.5


def ndtr(x: Expr) -> Expr:
    """The distribution function of the standard normal distribution."""
    tail = _tail(x)[0]
    return select(x < 0, tail, 1 - tail)


def log_ndtr(x: Expr) -> Expr:
    """The logarithm of `ndtr`."""
    tail, scaled = _tail(x)
    far = math.log(scaled) - x * x * 0.5
    return select(x < -1, far, math.log1p(-select(x < 0, 1 - tail, tail)))


@in_double
def ndtri(p: Expr) -> Expr:
    """The inverse of `ndtr`: polynomials in p - 1/2, or in w where p or 1 - p is exp(-w^2 / 2)."""
    y = p - 0.5
    center = y * poly(y * y, table.NDTRI_CENTER)
    tail = select(p < 0.5, p, 1 - p)
    w = math.sqrt(math.log(tail) * -2)
    near, far = poly((w - 4) * 0.5, table.NDTRI_NEAR), poly((w - 22.375) * (1 / 16.375), table.NDTRI_FAR)
    outer = copysign(rarely(w >= 6, far, near), y)
    inside = select(magnitude(y) <= 0.375, center, outer)
    return where(tail.eq(0), copysign(INFINITY, y), where(tail < 0, NAN, inside))


def entr(x: Expr) -> Expr:
    """-x log(x), 0 at 0 and -infinity below."""
    return where(x.eq(0), 0, where(x < 0, -INFINITY, -x * math.log(x)))


def xlogy(x: Expr, y: Expr) -> Expr:
    """x log(y), 0 where x is 0 and y no NaN."""
    return where(x.eq(0) & y.eq(y), 0, x * math.log(y))


def xlog1py(x: Expr, y: Expr) -> Expr:
    """x log(1 + y), 0 where x is 0 and y no NaN."""
    return where(x.eq(0) & y.eq(y), 0, x * math.log1p(y))


def sinc(x: Expr) -> Expr:
    """sin(pi x) / (pi x), the angle reduced exactly."""
    whole = unary("rint", x)
    sine, _ = math.sine_and_cosine_of_half_turns(x)
    is_odd = unary("rint", whole * 0.5).ne(whole * 0.5)
    value = select(is_odd, -sine, sine) / (x * pi)
    return where(x.eq(0), 1, where(magnitude(x).eq(INFINITY), 0, value))
