"""Bessel functions of orders 0 and 1, spherical ones of any order, and the Airy function; see ir/math.py for the rules.

Polynomials for small arguments and, beyond, for the factors of the asymptotic expansions (Abramowitz and Stegun 9.2,
9.7 and 10.4), which are smooth in 1 / x. Near a zero that is no factor of a polynomial the error is absolute.
float32 is computed in float64.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps

from plait.core.dtype import float32, float64
from plait.ir import math, special_coefficients as table
from plait.ir.arithmetic import INFINITY, NAN, PI, copysign, magnitude, multiply_add, poly, two_product, where
from plait.ir.coefficients import Coefficients
from plait.ir.loop import Expr, binary, const, fma, rarely, select

# zeros of J0, J0 and J1, in two parts
_ZEROS = (
    (2.404825557695773, -1.176691651530894e-16),
    (5.520078110286311, 8.088597146146722e-17),
    (3.8317059702075125, -1.5269184090088067e-16),
)


def in_double(function: Callable[..., Expr]) -> Callable[..., Expr]:
    """Compute a function of expressions in float64; the result is of the dtype of the first one."""

    @wraps(function)
    def wide(x: Expr, *others: Expr) -> Expr:
        if x.dtype is float64:
            return function(x, *others)
        return function(*(e.cast(float64) for e in (x, *others))).cast(float32)

    return wide


# the oscillating functions


def _minus_zero(x: Expr, zero: tuple[float, float]) -> Expr:
    """x^2 - zero^2, accurate where it vanishes."""
    return ((x - zero[0]) - zero[1]) * (x + zero[0])


def _small_j0(x: Expr) -> Expr:
    return _minus_zero(x, _ZEROS[0]) * _minus_zero(x, _ZEROS[1]) * poly(x * x, table.J0_SMALL)


def _small_j1(x: Expr) -> Expr:
    return _minus_zero(x, _ZEROS[2]) * x * poly(x * x, table.J1_SMALL)


def _waves(x: Expr, p: Coefficients, q: Coefficients) -> tuple[Expr, Expr]:
    """P cos(x - pi / 4) - Q sin(x - pi / 4), and with sin and cos exchanged and plus, over sqrt(pi x / 2)."""
    x = binary("max", x, const(5, float64))
    inverse = 1 / x
    t = multiply_add(inverse * inverse, 50, -1)
    scale = math.sqrt(inverse * (1 / PI))
    even, odd = poly(t, p) * scale, poly(t, q) * inverse * scale
    sine, cosine = math.sin(x), math.cos(x)
    plus, minus = cosine + sine, sine - cosine
    return even * plus - odd * minus, even * minus + odd * plus


def _settled(x: Expr, y: Expr) -> Expr:
    """y, but 0 at infinite x."""
    return where(magnitude(x).eq(INFINITY), 0, y)


@in_double
def bessel_j0(x: Expr) -> Expr:
    """The Bessel function of the first kind of order 0."""
    a = magnitude(x)
    y = rarely(a > 5, _waves(a, table.P0, table.Q0)[0], _small_j0(a))
    return where(x.eq(0), 1, _settled(x, y))


@in_double
def bessel_j1(x: Expr) -> Expr:
    """The Bessel function of the first kind of order 1."""
    a = magnitude(x)
    y = _settled(x, rarely(a > 5, _waves(a, table.P1, table.Q1)[1], _small_j1(a)))
    return select(x < 0, -y, y)


def _second_kind(x: Expr, small: Expr, large: Expr) -> Expr:
    y = _settled(x, rarely(x > 5, large, small))
    return select(x > 0, y, where(x.eq(0), const(-INFINITY, float64), NAN))


@in_double
def bessel_y0(x: Expr) -> Expr:
    """The Bessel function of the second kind of order 0; -infinity at 0, NaN below."""
    small = multiply_add(math.log(x) * (2 / PI), _small_j0(x), poly(multiply_add(x * x, 0.08, -1), table.Y0_SMALL))
    return _second_kind(x, small, _waves(x, table.P0, table.Q0)[1])


@in_double
def bessel_y1(x: Expr) -> Expr:
    """The Bessel function of the second kind of order 1; -infinity at 0, NaN below."""
    singular = math.log(x) * _small_j1(x) - 1 / x
    small = multiply_add(singular, 2 / PI, x * poly(multiply_add(x * x, 0.08, -1), table.Y1_SMALL))
    return _second_kind(x, small, -_waves(x, table.P1, table.Q1)[0])


# the growing and the decaying functions


def _scaled_i(a: Expr, coefficients: Coefficients) -> Expr:
    """exp(-a) I(a) for a >= 8."""
    inverse = 1 / binary("max", a, const(8, float64))
    return poly(multiply_add(inverse, 16, -1), coefficients) * math.sqrt(inverse)


def _modified_i(small: Coefficients, large: Coefficients, odd: bool, scaled: bool) -> Callable[[Expr], Expr]:
    def function(x: Expr) -> Expr:
        a = magnitude(x)
        near, far = poly(a * a, small), _scaled_i(a, large)
        near = near * a if odd else near
        if scaled:
            y = rarely(a > 8, far, near * math.exp(-a))
        else:
            y = where(a.eq(INFINITY), INFINITY, rarely(a > 8, math.times_exp(far, a), near))
        return copysign(y, x) if odd else y

    return in_double(function)


modified_bessel_i0 = _modified_i(table.I0_SMALL, table.I0_LARGE, odd=False, scaled=False)
modified_bessel_i1 = _modified_i(table.I1_SMALL, table.I1_LARGE, odd=True, scaled=False)
scaled_modified_bessel_i0 = _modified_i(table.I0_SMALL, table.I0_LARGE, odd=False, scaled=True)
scaled_modified_bessel_i1 = _modified_i(table.I1_SMALL, table.I1_LARGE, odd=True, scaled=True)


def _modified_k(near: Callable[[Expr], Expr], large: Coefficients, scaled: bool) -> Callable[[Expr], Expr]:
    def function(x: Expr) -> Expr:
        small = near(x)
        inverse = 1 / binary("max", x, const(1, float64))
        far = poly(multiply_add(inverse, 2, -1), large) * math.sqrt(inverse)
        small, far = (small * math.exp(x), far) if scaled else (small, math.times_exp(far, -x))
        y = rarely(x <= 1, small, far)
        return select(x > 0, y, where(x.eq(0), const(INFINITY, float64), NAN))

    return in_double(function)


def _small_k0(x: Expr) -> Expr:
    z = x * x
    return multiply_add(-math.log(x * 0.5), poly(z, table.I0_UNIT), poly(z, table.K0_SMALL))


def _small_k1(x: Expr) -> Expr:
    z = x * x
    return multiply_add(math.log(x * 0.5), x * poly(z, table.I1_UNIT), poly(z, table.K1_SMALL) / x)


modified_bessel_k0 = _modified_k(_small_k0, table.K0_LARGE, scaled=False)
modified_bessel_k1 = _modified_k(_small_k1, table.K1_LARGE, scaled=False)
scaled_modified_bessel_k0 = _modified_k(_small_k0, table.K0_LARGE, scaled=True)
scaled_modified_bessel_k1 = _modified_k(_small_k1, table.K1_LARGE, scaled=True)


def spherical_bessel(x: Expr, order: int) -> Expr:
    """The spherical Bessel function of the first kind: recurrence upwards, the power series where |x| < order + 1."""
    a, near = magnitude(x), x * x * -0.5
    series = const(1, x.dtype)
    for k in range(14 + 2 * order, 0, -1):
        series = multiply_add(series, near * (1 / (k * (2 * order + 2 * k + 1))), 1)
    for k in range(order):
        series = series * x * (1 / (2 * k + 3))
    far = select(a < order + 1, const(1, x.dtype), x)
    inverse, sine = 1 / far, math.sin(far)
    before, y = math.cos(far) * inverse, sine * inverse
    for k in range(order):
        before, y = y, y * inverse * (2.0 * k + 1) - before
    return where(a.eq(INFINITY), 0, select(a < order + 1, series, y))


_AIRY = (
    (table.AIRY, table.AIRY_RIGHT, table.AIRY_LEFT_P, table.AIRY_LEFT_Q),
    (table.AIRY_PRIME, table.AIRY_PRIME_RIGHT, table.AIRY_PRIME_LEFT_P, table.AIRY_PRIME_LEFT_Q),
)


def airy_ai(x: Expr, derivative: int) -> Expr:
    """The Airy function Ai, or its first derivative."""
    if x.dtype is float32:
        return airy_ai(x.cast(float64), derivative).cast(float32)
    center, right, left_p, left_q = _AIRY[derivative]
    a = binary("max", magnitude(x), const(1, float64))
    root = math.sqrt(a)
    product, product_low = two_product(a, root)
    product_low = multiply_add(fma(-root, root, a) / root, a * 0.5, product_low)
    s, low = two_product(product, const(2 / 3, float64))
    low = multiply_add(product_low, 2 / 3, multiply_add(product, 3.700743415417188e-17, low))
    low, quarter = where(s < INFINITY, low, 0), math.sqrt(root)
    scale, inverse = quarter if derivative else 1 / quarter, 1 / s
    decaying = math.times_exp(poly(multiply_add(inverse, 4 / 3, -1), right) * scale * (1 - low), -s)
    sine, cosine = math.sin(s), math.cos(s)
    sine, cosine = multiply_add(low, cosine, sine), multiply_add(-low, sine, cosine)
    t = multiply_add(inverse * inverse, 24, -1)
    even, odd = poly(t, left_p) * (scale * 0.5**0.5), poly(t, left_q) * inverse * (scale * 0.5**0.5)
    plus, minus = cosine + sine, sine - cosine
    waves = even * minus + odd * plus if derivative else even * plus + odd * minus
    y = rarely(x > 1, decaying, rarely(x < -3, waves, poly((x + 1) * 0.5, center)))
    return where(x.eq(INFINITY), 0, y) if derivative else _settled(x, y)
