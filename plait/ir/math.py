"""Elementary and special functions as loop-IR expressions.

Every function takes and returns `Expr`s of one compute dtype, float32 or float64, and is branch free, so that the
emitter can widen it. All use `fma` and rely on its single rounding; none relies on contraction or reassociation.
±inf, NaN, ±0, subnormals and the largest finite numbers give what IEEE 754 and C99 Annex F say.

`BOUNDS` states the largest error of each function in units of the last place, over its whole range where nothing
else is said below. Methods: Cody and Waite, "Software Manual for the Elementary Functions" (1980), for argument
reduction; Payne and Hanek (1983) for that of large angles; Dekker (1971) for sums and products in double length;
the approximating polynomials are our own (coefficients.py).
"""

from __future__ import annotations

from collections.abc import Callable

from plait.core.dtype import float32, float64, int64, uint32, uint64
from plait.ir import coefficients as table, machine, pieces
from plait.ir.angles import acos, asin, atan, atan2, cos, sin, sine_and_cosine, tan
from plait.ir.arithmetic import (
    FORMATS,
    HALF_PI,
    INFINITY,
    LOG_2,
    NAN,
    PI,
    at_most,
    copysign,
    is_finite,
    magnitude,
    multiply_add,
    nearest,
    piecewise,
    poly,
    power_of_two,
    product_of_copies,
    scale,
    shift_exponent,
    two_product,
    two_sum,
    where,
)
from plait.ir.loop import Expr, Value, binary, const, fma, lookup, rarely, select, unary

__all__ = [
    "BOUNDS", "acos", "acosh", "asin", "asinh", "atan", "atan2", "atanh", "cbrt", "copysign", "cos", "cosh",
    "digamma", "erf", "erfc", "erfc_factors", "erfinv", "erfinv_single", "exp", "exp2", "expm1", "integer_pow",
    "integers_pow", "is_finite",
    "lgamma", "log", "log1p", "log2", "log10", "logistic", "nextafter", "poly", "pow", "rem", "rsqrt", "sign", "sin",
    "sine_and_cosine_of_half_turns", "sinh", "sqrt", "tan", "tanh", "times_exp",
]  # fmt: skip

# largest error in ulp: float32, float64
BOUNDS: dict[str, tuple[float, float]] = {
    "exp": (1, 1), "exp2": (1.25, 1.25), "expm1": (2, 2), "log": (1, 1), "log2": (1.25, 1.25), "log10": (1, 1),
    "log1p": (1.5, 1.5), "sqrt": (0.5, 0.5), "rsqrt": (1.5, 1.5), "cbrt": (1.5, 1.5), "pow": (1, 2),
    "sin": (1, 1), "cos": (1, 1), "tan": (2.5, 2.5), "asin": (2, 2), "acos": (1.5, 1.5), "atan": (1.5, 1.5),
    "atan2": (2, 2), "sinh": (2, 2), "cosh": (2, 2), "tanh": (1.5, 1.5), "asinh": (3, 3), "acosh": (3, 3),
    "atanh": (3, 3), "erf": (1.25, 1.25), "erfc": (5, 4), "erfinv": (4, 4), "lgamma": (1, 5), "digamma": (1, 10),
    "logistic": (2.5, 2.5), "rem": (0, 0),
}  # fmt: skip


# exponentials


def _reduce_exp(x: Expr) -> tuple[Expr, Expr, Expr]:
    """x = n log(2) + r with |r| <= log(2)/2: r, n, and n as an integer."""
    high, low = FORMATS[x.dtype].ln2
    n, k = nearest(x, 1 / LOG_2)
    return multiply_add(n, -low, multiply_add(n, -high, x)), n, k


def _exp_of(r: Expr) -> Expr:
    """e^r for |r| <= log(2)/2."""
    return poly(r, (1.0, 1.0, *table.EXP[r.dtype]))


def _exp_sum(x: Expr, low: Expr | None = None, one_step: bool = False) -> Expr:
    """exp(x + low) for a small `low`; `one_step` if neither x nor the result is near the ends of the range."""
    least, most = FORMATS[x.dtype].exp_range
    r, n, k = _reduce_exp(x if one_step else _between(x, least, most))
    p = _exp_of(r if low is None else r + low)
    return shift_exponent(p, k) if one_step else _scale_unless_lost(x, least, p, n)


def _between(x: Expr, least: float, most: float) -> Expr:
    return binary("min", binary("max", x, const(least, x.dtype)), const(most, x.dtype))


def _scale_unless_lost(x: Expr, least: float, p: Expr, n: Expr) -> Expr:
    """p * 2^n, 0 where x is below `least`: a product that underflows takes a hundred times longer than one of 0."""
    return scale(select(x < least, const(0, x.dtype), p), n)


def exp(x: Expr) -> Expr:
    """e^x."""
    return _exp_sum(x)


def times_exp(factor: Expr, x: Expr) -> Expr:
    """factor * e^x, also where e^x alone overflows but the product does not."""
    least, most = FORMATS[x.dtype].exp_range
    r, n, _ = _reduce_exp(_between(x, least * 1.5, most * 1.9))
    return scale(factor * _exp_of(r), n)


def exp2(x: Expr) -> Expr:
    """2^x."""
    f = FORMATS[x.dtype]
    least = -f.bias - f.mantissa - 1.0
    y = _between(x, least, f.bias + 1.0)
    n, _ = nearest(y, 1)
    return _scale_unless_lost(x, least, _exp_of((y - n) * LOG_2), n)


def _expm1_of(r: Expr) -> Expr:
    """e^r - 1 for |r| <= log(2)/2."""
    return fma(r * r, poly(r, table.EXPM1[r.dtype]), r)


def _expm1_parts(x: Expr) -> tuple[Expr, Expr, Expr]:
    """q and k with e^x = 2^k (1 + q), and r with q = e^r - 1."""
    r, _, k = _reduce_exp(x)
    return _expm1_of(r), k, r


def expm1(x: Expr) -> Expr:
    """e^x - 1."""
    f = FORMATS[x.dtype]
    least = -1.0 - f.mantissa * 0.75
    q, k, _ = _expm1_parts(binary("min", binary("max", x, const(least, x.dtype)), const(f.exp_range[1], x.dtype)))
    half = power_of_two(k - 1, x.dtype)
    y = fma(half, q, half - 0.5)
    return select(magnitude(x) < 2.0 ** (-f.mantissa - 2), x, y + y)


def logistic(x: Expr) -> Expr:
    """1 / (1 + e^-x)."""
    e = exp(-magnitude(x))
    return where(x < 0, e, 1) / (e + 1)


# logarithms


_LOG_START = 0.703125  # half an interval below a multiple of 2^-4 of its power of 2: so 1 is inside an interval


def _split_exponent(x: Expr, subnormal: bool = True) -> tuple[Expr, Expr]:
    """x = m 2^k with sqrt(1/2) <= m < sqrt(2): m, and k as an integer; for positive finite x."""
    f = FORMATS[x.dtype]
    root_half_bits = {float32: 0x3F3504F3, float64: 0x3FE6A09E667F3BCD}[x.dtype]
    is_small = x < f.smallest
    bits = (select(is_small, x * 2.0**f.mantissa, x) if subnormal else x).bitcast(f.integer)
    k = (bits - root_half_bits) >> f.mantissa
    m = (bits - (k << f.mantissa)).bitcast(x.dtype)
    return m, k - where(is_small, const(f.mantissa, f.integer), 0) if subnormal else k


def _at_edges_of_log(x: Expr, y: Expr) -> Expr:
    y = select(x < INFINITY, y, x)
    return select(x <= 0, where(x.eq(0), const(-INFINITY, x.dtype), NAN), y)


def _logarithm(x: Expr, of_normal: Callable[[Expr, Value], Expr]) -> Expr:
    """A logarithm of any x, from that of m 2^-k for normal m and a number k."""
    f = FORMATS[x.dtype]
    unsigned = {float32: uint32, float64: uint64}[x.dtype]
    first, end = (const(value, x.dtype).bitcast(unsigned) for value in (f.smallest, INFINITY))
    is_small = x < f.smallest
    enlarged = select(is_small, x * 2.0**f.mantissa, x)
    rare = _at_edges_of_log(x, of_normal(enlarged, where(is_small, const(float(f.mantissa), x.dtype), 0)))
    return rarely(x.bitcast(unsigned) - first >= end - first, rare, of_normal(x, 0))


def _scaled_log(unit: tuple[float, float], log_2: tuple[float, float]) -> Callable[[Expr, Value], Expr]:
    """Make log(m 2^-less) * unit of normal m, where log_2 = log(2) * unit; both in two parts."""

    def scaled_log(x: Expr, less: Value) -> Expr:
        m, k = _split_exponent(x, subnormal=False)
        n, r = k.cast(x.dtype) - less, m - 1
        t = r * r * poly(r, table.LOG1P[x.dtype])
        if unit[0] == 1:
            y = r + multiply_add(n, log_2[1], t)
        else:
            low = multiply_add(r, unit[1], n * log_2[1] if log_2[1] else const(0, x.dtype))
            y = multiply_add(r, unit[0], multiply_add(t, unit[0], low))
        return multiply_add(n, log_2[0], y)

    return scaled_log


def _log_by_table(x: Expr, less: Value) -> Expr:
    """log(m 2^-less) of normal m in float64: m = z 2^k, log(m) = k log(2) - log(c) + log(z c), c from a table."""
    ln2, ln2_low = FORMATS[float64].ln2
    bits = x.bitcast(int64)
    place = bits - const(_LOG_START, float64).bitcast(int64)
    z, index = (bits - (place & -(1 << 52))).bitcast(float64), place >> 48
    n = (place >> 52).cast(float64) - less
    first, second = (lookup(index, part, float64) for part in table.LOG_TABLE)
    r = multiply_add(z, lookup(index, table.LOG_CENTERS, float64), -1)
    high = multiply_add(n, ln2, first)
    y = high + r
    low = ((high - y) + r) + fma(r * r, poly(r, table.LOG_NEAR_CENTER), multiply_add(n, ln2_low, second))
    return y + low


def log(x: Expr) -> Expr:
    """The natural logarithm."""
    return _logarithm(x, _log_by_table if x.dtype is float64 else _scaled_log((1, 0), FORMATS[x.dtype].ln2))


def log2(x: Expr) -> Expr:
    """The logarithm to base 2; exact for powers of two."""
    return _logarithm(x, _scaled_log(FORMATS[x.dtype].log2_e, (1, 0)))


def log10(x: Expr) -> Expr:
    """The logarithm to base 10."""
    return _logarithm(x, _scaled_log(FORMATS[x.dtype].log10_e, FORMATS[x.dtype].log10_2))


def log1p(x: Expr) -> Expr:
    """log(1 + x)."""
    f = FORMATS[x.dtype]
    total, rest = two_sum(const(1, x.dtype), x)
    m, k = _split_exponent(total, subnormal=False)
    n, r = k.cast(x.dtype), m - 1
    rest = rest * power_of_two(-binary("min", k, const(f.bias - 1, f.integer)), x.dtype)
    s = r + rest
    rest = rest - (s - r)
    y = s + (multiply_add(n, f.ln2[1], s * s * poly(s, table.LOG1P[x.dtype])) + rest)
    y = _at_edges_of_log(total, multiply_add(n, f.ln2[0], y))
    return select(magnitude(x) < 2.0 ** (-f.mantissa - 2), x, y)


# powers and roots


def sqrt(x: Expr) -> Expr:
    """The square root."""
    return unary("sqrt", x)


def rsqrt(x: Expr) -> Expr:
    """1 / sqrt(x)."""
    return 1 / sqrt(x)


def cbrt(x: Expr) -> Expr:
    """The cube root: a polynomial, then Halley's iteration (once in float32, twice in float64)."""
    f = FORMATS[x.dtype]
    m, k = _split_exponent(magnitude(x))
    third, _ = nearest(k.cast(x.dtype), 1 / 3)
    third = third.cast(f.integer)
    m = m * power_of_two(k - third * 3, x.dtype)
    y = poly(m, table.CBRT)
    for _ in range(1 if x.dtype is float32 else 2):
        square = y * y
        y = multiply_add(y, multiply_add(square, -y, m) / multiply_add(square * 2, y, m), y)
    return select(is_finite(x) & x.ne(0), copysign(y * power_of_two(third, x.dtype), x), x)


def _log_double(x: Expr) -> tuple[Expr, Expr]:
    """log(x) of a positive finite float64 in double length, relative error 2^-64.

    2 atanh(s) with s = (m - 1) / (m + 1), whose series begins 2 s (1 + s^2/3 + ...).
    """
    m, k = _split_exponent(x)
    n = k.cast(float64)
    down, (up, up_low) = m - 1, two_sum(m, const(1, float64))
    s = down / up
    s_low = (fma(-s, up, down) - s * up_low) / up
    z, z_low = two_product(s, s)
    z_low = multiply_add(s + s, s_low, z_low)
    third, third_low = two_product(z, const(1 / 3, float64))
    third_low = multiply_add(z, 1.850371707708594e-17, multiply_add(z_low, 1 / 3, third_low))
    v, v_low = two_sum(third, z * z * poly(z, table.ATANH))
    tail, tail_low = two_product(s, v)
    tail_low = fma(s, v_low + third_low, fma(s_low, v, tail_low))
    y, y_low = two_sum(s, tail)
    ln2, ln2_low = FORMATS[float64].ln2
    high, low = two_sum(n * ln2, y + y)
    low = low + multiply_add(n, ln2_low, (y_low + tail_low + s_low) * 2)
    return high, low


def _power_of_floats(x: Expr, y: Expr) -> Expr:
    """x^y in float64, but only as accurate and of such range as float32 needs; x is not negative."""
    m, k = _split_exponent(x, subnormal=False)
    r = m - 1
    logarithm = multiply_add(k.cast(float64), LOG_2, fma(r * r, poly(r, table.POW_LOG), r))
    logarithm = select(x.eq(0), const(-INFINITY, float64), select(x < INFINITY, logarithm, x))
    exponent = binary("min", binary("max", y * logarithm, const(-150, float64)), const(150, float64))
    n, k = nearest(exponent, 1 / LOG_2)
    r = multiply_add(n, -LOG_2, exponent)
    return (fma(r * r, poly(r, table.POW_EXP), r) + 1) * power_of_two(k, float64)


def pow(x: Expr, y: Expr) -> Expr:
    """x^y, with the special cases of C99: x^0 = 1^y = 1, NaN for a negative base and a fractional exponent.

    Also for integers: see `integers_pow`.
    """
    if x.dtype.is_integer:
        return integers_pow(x, y)
    size = magnitude(x)
    if x.dtype is float32:
        power = _power_of_floats(size.cast(float64), y.cast(float64)).cast(float32)
    else:
        high, low = _log_double(size)
        high = select(size.eq(0), const(-INFINITY, float64), select(size < INFINITY, high, size))
        exponent, rest = two_product(y, high)
        power = _exp_sum(exponent, where(magnitude(exponent) < 1000, fma(y, low, rest), 0))
    half = y * 0.5
    is_odd = unary("rint", y).eq(y) & unary("rint", half).ne(half)
    signed = select(is_odd, copysign(power, x), power)
    is_undefined = (x < 0) & (size < INFINITY) & unary("rint", y).ne(y)
    result = where(is_undefined, NAN, signed)
    return where(y.eq(0) | x.eq(1) | (x.eq(-1) & magnitude(y).eq(INFINITY)), 1, result)


def integers_pow(x: Expr, y: Expr) -> Expr:
    """x^y for integers, modulo 2^bits: square and multiply over every bit of the exponent.

    A negative exponent gives 1 / x truncated: 0, but ±1 for a base of ±1.
    """
    is_signed = x.dtype.kind == "i"
    one, result, square = const(1, x.dtype), const(1, x.dtype), x
    for bit in range(x.dtype.bits - is_signed):
        result = select(((y >> bit) & 1).ne(0), result * square, result)
        square = square * square
    if not is_signed:
        return result
    alternating = select((y & 1).ne(0), -one, one)
    reciprocal = where(x.eq(1), one, where(x.eq(-1), alternating, 0))
    return select(y < 0, reciprocal, result)


def integer_pow(x: Expr, exponent: int) -> Expr:
    """x to a constant integer power, by repeated squaring; 1 / x^-exponent if it is negative."""
    power = product_of_copies(x, abs(exponent)) if exponent else const(1, x.dtype)
    return 1 / power if exponent < 0 else power


# hyperbolic functions


def _exponential_halves(x: Expr) -> tuple[Expr, Expr, Expr, Expr]:
    """a, b, c, d with e^|x| / 8 = a + b and e^-|x| / 8 = c + d; b and d are the smaller ones, with full accuracy."""
    f = FORMATS[x.dtype]
    q, k, r = _expm1_parts(at_most(magnitude(x), f.exp_range[1] + 1))
    up = power_of_two(k - 3, x.dtype)
    down = power_of_two(binary("max", -k - 3, const(1 - f.bias, f.integer)), x.dtype)
    return up, up * q, down, down * _expm1_of(-r)


def sinh(x: Expr) -> Expr:
    """The hyperbolic sine."""
    a, b, c, d = _exponential_halves(x)
    y = copysign(((a - c) + (b - d)) * 4, x)
    return select(magnitude(x) < 2.0 ** (-FORMATS[x.dtype].mantissa // 2 - 1), x, y)


def cosh(x: Expr) -> Expr:
    """The hyperbolic cosine."""
    a, b, c, d = _exponential_halves(x)
    return ((a + c) + (b + d)) * 4


def _tanh_near_zero(x: Expr) -> Expr:
    z = x * x
    return fma(x * z, poly(z, table.TANH[x.dtype]), x)


def _tanh_of_sum(x: Expr) -> Expr:
    """tanh(c + d) = tanh(c) + (1 - tanh(c)^2) tanh(d) / (1 + tanh(c) tanh(d)) for c from a table; 0 <= x <= 19.1."""
    shifted = multiply_add(x, 1 / pieces.TANH_WIDTH, FORMATS[x.dtype].magic)
    tables = (pieces.TANH_CENTERS, pieces.TANH_AT_CENTERS, pieces.TANH_SLOPES)
    center, value, slope = (lookup(shifted.bitcast(int64), t, x.dtype) for t in tables)
    t = _tanh_near_zero(x - center)
    return fma(slope, t / fma(value, t, const(1, x.dtype)), value)


def tanh(x: Expr) -> Expr:
    """The hyperbolic tangent: a polynomial near 0, 1 - 2 / (e^2x + 1) beyond; in pieces where lookups are fast."""
    a = at_most(magnitude(x), 9.1 if x.dtype is float32 else 19.1)
    if machine.has_lookups():
        y = piecewise(a, pieces.TANH, is_odd=True) if x.dtype is float32 else _tanh_of_sum(a)
        return copysign(y, x)
    near = _tanh_near_zero(a)
    far = 1 - 2 / (_exp_sum(a + a, one_step=True) + 1)
    return copysign(select(a > 0.55, far, near), x)


def asinh(x: Expr) -> Expr:
    """The inverse hyperbolic sine."""
    a = magnitude(x)
    is_big = a > 2.0 ** (FORMATS[x.dtype].mantissa + 2)
    square = a * a
    y = log1p(select(is_big, a, a + square / (1 + sqrt(square + 1))))
    return copysign(y + where(is_big, const(LOG_2, x.dtype), 0), x)


def acosh(x: Expr) -> Expr:
    """The inverse hyperbolic cosine."""
    is_big = x > 2.0 ** (FORMATS[x.dtype].mantissa + 2)
    t = x - 1
    y = log1p(select(is_big, x, t + sqrt(t * (t + 2))))
    return where(x < 1, NAN, y + where(is_big, const(LOG_2, x.dtype), 0))


def atanh(x: Expr) -> Expr:
    """The inverse hyperbolic tangent."""
    a = magnitude(x)
    return copysign(log1p((a + a) / (1 - a)) * 0.5, x)


# the error function


def _erf_near_zero(x: Expr) -> Expr:
    return fma(x, poly(x * x, table.ERF[x.dtype]), x)


def erf(x: Expr) -> Expr:
    """The error function: a polynomial near 0, 1 - exp(polynomial) beyond; in pieces where lookups are fast."""
    near, far = (0.925, 4.0) if x.dtype is float32 else (1.0, 6.0)
    a = at_most(magnitude(x), far)
    if machine.has_lookups():
        return copysign(piecewise(a, pieces.ERF[x.dtype], is_odd=True), x)
    tail = 1 - _exp_sum(-fma(a, poly(a, table.ERF_TAIL[x.dtype]), a), one_step=True)
    return copysign(select(a > near, tail, _erf_near_zero(a)), x)


def _exp_minus_square(a: Expr) -> Expr:
    square, rest = two_product(a, a)
    power = exp(-square)
    return fma(power, -rest, power)


def erfc_factors(a: Expr) -> tuple[Expr, Expr]:
    """exp(-a^2) and exp(a^2) erfc(a), for a >= 0."""
    center = 2.0 if a.dtype is float32 else 4.0
    a = at_most(a, 28.0)
    scaled = poly((a - center) / (a + center), table.ERFC[a.dtype]) / multiply_add(a, 2, 1)
    return _exp_minus_square(a), scaled


def erfc(x: Expr) -> Expr:
    """1 - erf(x), without cancellation."""
    a = magnitude(x)
    if x.dtype is float32 and machine.has_lookups():
        a = at_most(a, 10.1)
        y = _exp_minus_square(a) * piecewise(a, pieces.ERFCX, is_odd=False)
    else:
        power, scaled = erfc_factors(a)
        y = power * scaled
    return select(x < 0, 2 - y, y)


def erfinv(x: Expr) -> Expr:
    """The inverse of erf: a polynomial in -log(1 - x^2) or its root (Giles 2012); in float64 Halley's iteration too."""
    a = magnitude(x)
    w = -log((1 - a) * (1 + a))
    if x.dtype is float32:
        far = poly((sqrt(w) - 3.203699350211316) * (1 / 0.9676313727115262), table.ERFINV_FLOAT_TAIL)
        y = a * rarely(w > 5, far, poly(multiply_add(w, 0.4, -1), table.ERFINV_FLOAT_CENTER))
        return copysign(where(a.eq(1), INFINITY, y), x)
    y = a * select(w < 5, poly(w - 2.5, table.ERFINV_CENTER), poly(sqrt(w) - 3.5, table.ERFINV_TAIL))
    power, scaled = erfc_factors(y)
    error = select(a < 0.5, a - _erf_near_zero(y), fma(power, scaled, a - 1))
    step = error * (PI**0.5 / 2) / power
    return copysign(where(a.eq(1), INFINITY, y + step / (1 - y * step)), x)


def erfinv_single(x: Expr) -> Expr:
    """The inverse of erf by the polynomials of Giles (2012) for single precision, in the dtype of `x`.

    The logarithm's argument is rounded where `jax.random` rounds it: so normal numbers agree to an ulp.
    """
    square = x * x
    w = -log1p(select(square >= 0.41421, (1 - square) - 1, -square))
    return x * select(w < 5, poly(w - 2.5, table.ERFINV_SINGLE_CENTER), poly(sqrt(w) - 3, table.ERFINV_SINGLE_TAIL))


# the gamma function


def sine_and_cosine_of_half_turns(x: Expr) -> tuple[Expr, Expr]:
    """sin(pi x) and cos(pi x), both but for a common sign."""
    r = x - unary("rint", x)
    is_far = magnitude(r) > 0.25
    near = select(is_far, 0.5 - magnitude(r), r)
    first, second = (2 * part for part in HALF_PI[x.dtype][:2])
    high, low = two_product(near, const(first, x.dtype))
    sine, cosine = sine_and_cosine(high, multiply_add(near, second, low))
    return select(is_far, copysign(cosine, r), sine), select(is_far, sine, cosine)


def lgamma(x: Expr) -> Expr:
    """log(|gamma(x)|); near its zeros at negative x the error is absolute, some 2^-52 (float64).

    A polynomial around 2 and the recurrence below 8.5, Stirling's series beyond, reflection for negative x.
    float32 is computed in float64.
    """
    if x.dtype is float32:
        return lgamma(x.cast(float64)).cast(float32)
    is_left = x < -1e-20
    y = select(is_left, 1 - x, magnitude(x))
    n = unary("floor", y + 0.5)
    product = where(n.eq(0), y * (y + 1), where(n.eq(1), y, 1))
    for j in range(1, 7):
        product = where(n > j + 1.5, product * (y - j), product)
    is_big, t = y >= 8.5, y - n
    logarithm = log(select(is_big, y, product))
    center = multiply_add(t, poly(t, table.LGAMMA), select(n < 2, -logarithm, logarithm))
    inverse = 1 / y
    series = multiply_add(inverse, poly(inverse * inverse, table.STIRLING), 0.4189385332046727)
    result = select(is_big, multiply_add(y - 0.5, logarithm - 1, series), center)
    sine, _ = sine_and_cosine_of_half_turns(x)
    result = select(is_left, log(PI / magnitude(sine)) - result, result)
    return where(magnitude(x).eq(INFINITY), INFINITY, result)


def digamma(x: Expr) -> Expr:
    """The derivative of lgamma; near its zeros the error is absolute, some 2^-52 (float64).

    The recurrence up to 8, the asymptotic series beyond, reflection for negative x. float32 is computed in float64.
    """
    if x.dtype is float32:
        return digamma(x.cast(float64)).cast(float32)
    y = select(x < 0, 1 - x, x)
    p, q = const(0, float64), const(1, float64)
    for _ in range(8):
        is_low = y < 8
        p, q, y = select(is_low, fma(p, y, q), p), select(is_low, q * y, q), select(is_low, y + 1, y)
    inverse = 1 / y
    z = inverse * inverse
    result = (log(y) - multiply_add(inverse, 0.5, z * poly(z, table.DIGAMMA))) - p / q
    sine, cosine = sine_and_cosine_of_half_turns(x)
    result = where(x < 0, where(sine.eq(0), NAN, result - PI * cosine / sine), result)
    return select(x.eq(0), copysign(-INFINITY, -x), result)


# signs, neighbours, remainders


def sign(x: Expr) -> Expr:
    """-1, 0 or 1, in the dtype of x; NaN stays as it is."""
    zero = where(x.eq(0), 0, x) if x.dtype.is_floating else x  # 0, not -0
    negative = zero if x.dtype.kind == "u" else where(x < 0, -1, zero)
    return where(x > 0, 1, negative)


def nextafter(x: Expr, y: Expr) -> Expr:
    """The neighbour of x in the direction of y."""
    bits = x.bitcast(FORMATS[x.dtype].integer)
    one = const(1, bits.dtype)
    moved = (bits + select((y > x).eq(x > 0), one, -one)).bitcast(x.dtype)
    moved = select(x.eq(0), copysign(one.bitcast(x.dtype), y), moved)
    return select(x.eq(y), y, select(x.ne(x) | y.ne(y), x + y, moved))


_REMAINDER_BITS = 47
_REMAINDER_STEPS = 6


def rem(x: Expr, y: Expr) -> Expr:
    """x - trunc(x / y) y, exactly, with the sign of x (C's fmod); NaN where |x / y| > 2^280 (float64 only).

    Each step subtracts a quotient of 47 bits times y, which is exact; float32 is computed in float64.
    """
    if x.dtype is float32:
        return rem(x.cast(float64), y.cast(float64)).cast(float32)
    a, b = magnitude(x), magnitude(y)
    scale = where(b < 2.0**-900, const(2.0**120, float64), 1)
    r, divisor = a * scale, b * scale
    inverse, dropped = 1 / divisor, 53 - _REMAINDER_BITS

    def step(r: Expr) -> Expr:
        quotient = unary("rint", r * inverse).bitcast(int64) + (1 << dropped - 1)
        return fma(-(quotient & -(1 << dropped)).bitcast(float64), divisor, r)

    once = step(r)
    often = once
    for _ in range(_REMAINDER_STEPS - 1):
        often = step(often)
    r = rarely(r > divisor * 2.0 ** (_REMAINDER_BITS - 1), often, once)
    r = select(r < 0, r + divisor, r)
    result = where((r >= 0) & (r < divisor), r / scale, NAN)
    return copysign(select(b.eq(INFINITY) & (a < INFINITY), a, result), x)
