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

from dataclasses import dataclass
from math import log as _log_of
from math import pi as _PI

from plait.core.dtype import DType, float32, float64, int32, int64
from plait.ir import coefficients as table
from plait.ir.loop import Expr, Value, binary, const, fma, select, unary

# largest error in ulp: float32, float64
BOUNDS: dict[str, tuple[float, float]] = {
    "exp": (1, 1), "exp2": (1.25, 1.25), "expm1": (2, 2), "log": (1, 1), "log2": (1, 1), "log10": (1, 1),
    "log1p": (1.5, 1.5), "sqrt": (0.5, 0.5), "rsqrt": (1.5, 1.5), "cbrt": (1.5, 1.5), "pow": (1, 2),
    "sin": (1, 1), "cos": (1, 1), "tan": (2.5, 2.5), "asin": (2, 2), "acos": (1.5, 1.5), "atan": (1.5, 1.5),
    "atan2": (2, 2), "sinh": (2, 2), "cosh": (2, 2), "tanh": (1.5, 1.5), "asinh": (3, 3), "acosh": (3, 3),
    "atanh": (3, 3), "erf": (1.25, 1.25), "erfc": (4, 4), "erfinv": (1, 4), "lgamma": (1, 5), "digamma": (1, 10),
    "logistic": (2.5, 2.5), "rem": (0, 0),
}  # fmt: skip


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
    half_pi: tuple[float, float, float]

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
        half_pi=(1.5707963705062866, -4.371138828673793e-08, -1.7151245100058819e-15),
    ),
    float64: Format(
        int64, 52, 1023, (-746.0, 710.0),
        ln2=(0.6931471805601177, -1.7239444525614835e-13), log10_2=(0.3010299956640665, -8.532344317057107e-14),
        log2_e=(1.4426950408889634, 2.0355273740931033e-17), log10_e=(0.4342944819032518, 1.098319650216765e-17),
        half_pi=(1.5707963267948966, 6.123233995736766e-17, -1.4973849048591698e-33),
    ),
}  # fmt: skip
_INF, _NAN = float("inf"), float("nan")


# building blocks


def _fma(a: Value, b: Value, c: Value) -> Expr:
    dtype = next(x.dtype for x in (a, b, c) if isinstance(x, Expr))
    return fma(const(a, dtype), const(b, dtype), const(c, dtype))


def _select(condition: Expr, a: Value, b: Value) -> Expr:
    dtype = next(x.dtype for x in (a, b) if isinstance(x, Expr))
    return select(condition, const(a, dtype), const(b, dtype))


def _abs(x: Expr) -> Expr:
    return unary("abs", x)


def copysign(x: Value, sign: Expr) -> Expr:
    """x with the sign of another value."""
    return binary("copysign", const(x, sign.dtype), sign)


def _at_most(x: Expr, limit: float) -> Expr:
    return select(x > limit, const(limit, x.dtype), x)


def poly(x: Expr, coefficients: table.Coefficients) -> Expr:
    """Horner's rule with fma; the lowest order comes first."""
    result = const(coefficients[-1], x.dtype)
    for coefficient in reversed(coefficients[:-1]):
        result = _fma(result, x, coefficient)
    return result


def two_sum(a: Expr, b: Expr) -> tuple[Expr, Expr]:
    """a + b rounded, and the rounding error."""
    s = a + b
    t = s - a
    return s, (a - (s - t)) + (b - t)


def two_product(a: Expr, b: Expr) -> tuple[Expr, Expr]:
    """a * b rounded, and the rounding error (barring underflow)."""
    p = a * b
    return p, fma(a, b, -p)


def _nearest(x: Expr, scale: float) -> tuple[Expr, Expr]:
    """The integer nearest to x * scale (below 2^22 or 2^51), as a float and as an integer."""
    f = FORMATS[x.dtype]
    shifted = _fma(x, scale, f.magic)
    return shifted - f.magic, shifted.bitcast(f.integer) - f.magic_bits


def power_of_two(k: Expr, dtype: DType) -> Expr:
    """2^k for an integer k in the range of normal exponents."""
    f = FORMATS[dtype]
    return ((k + f.bias) << f.mantissa).bitcast(dtype)


def ldexp(x: Expr, k: Expr) -> Expr:
    """x * 2^k for |k| up to twice the largest exponent; in two steps, so that subnormal results round once."""
    half = k >> 1
    return x * power_of_two(half, x.dtype) * power_of_two(k - half, x.dtype)


def is_finite(x: Expr) -> Expr:
    """Whether x is neither infinite nor NaN."""
    return _abs(x) < _INF


# exponentials


def _reduce_exp(x: Expr) -> tuple[Expr, Expr]:
    """x = k log(2) + r with |r| <= log(2)/2: r and k."""
    high, low = FORMATS[x.dtype].ln2
    n, k = _nearest(x, 1 / _log_of(2))
    return _fma(n, -low, _fma(n, -high, x)), k


def _exp_sum(x: Expr, low: Expr | None = None, one_step: bool = False) -> Expr:
    """exp(x + low) for a small `low`; `one_step` if neither x nor the result is near the ends of the range."""
    if not one_step:
        least, most = FORMATS[x.dtype].exp_range
        x = binary("min", binary("max", x, const(least, x.dtype)), const(most, x.dtype))
    r, k = _reduce_exp(x)
    r = r if low is None else r + low
    p = fma(r * r, poly(r, table.EXP[x.dtype]), r) + 1
    return p * power_of_two(k, x.dtype) if one_step else ldexp(p, k)


def exp(x: Expr) -> Expr:
    """e^x."""
    return _exp_sum(x)


def times_exp(factor: Expr, x: Expr) -> Expr:
    """factor * e^x, also where e^x alone overflows but the product does not."""
    least, most = FORMATS[x.dtype].exp_range
    x = binary("min", binary("max", x, const(least * 1.5, x.dtype)), const(most * 1.9, x.dtype))
    r, k = _reduce_exp(x)
    return ldexp(factor * (fma(r * r, poly(r, table.EXP[x.dtype]), r) + 1), k)


def exp2(x: Expr) -> Expr:
    """2^x."""
    f = FORMATS[x.dtype]
    x = binary("min", binary("max", x, const(-f.bias - f.mantissa - 1.0, x.dtype)), const(f.bias + 1.0, x.dtype))
    n, k = _nearest(x, 1)
    r = (x - n) * _log_of(2)
    return ldexp(fma(r * r, poly(r, table.EXP[x.dtype]), r) + 1, k)


def _expm1_parts(x: Expr) -> tuple[Expr, Expr, Expr]:
    """q and k with e^x = 2^k (1 + q), and r with q = e^r - 1."""
    r, k = _reduce_exp(x)
    return fma(r * r, poly(r, table.EXPM1[x.dtype]), r), k, r


def _expm1_of(r: Expr) -> Expr:
    return fma(r * r, poly(r, table.EXPM1[r.dtype]), r)


def expm1(x: Expr) -> Expr:
    """e^x - 1."""
    f = FORMATS[x.dtype]
    least = -1.0 - f.mantissa * 0.75
    q, k, _ = _expm1_parts(binary("min", binary("max", x, const(least, x.dtype)), const(f.exp_range[1], x.dtype)))
    half = power_of_two(k - 1, x.dtype)
    y = fma(half, q, half - 0.5)
    return select(_abs(x) < 2.0 ** (-f.mantissa - 2), x, y + y)


def logistic(x: Expr) -> Expr:
    """1 / (1 + e^-x)."""
    e = exp(-_abs(x))
    return _select(x < 0, e, 1) / (e + 1)


# logarithms


def _split_exponent(x: Expr, subnormal: bool = True) -> tuple[Expr, Expr]:
    """x = m 2^k with sqrt(1/2) <= m < sqrt(2): m, and k as an integer; for positive finite x."""
    f = FORMATS[x.dtype]
    root_half_bits = {float32: 0x3F3504F3, float64: 0x3FE6A09E667F3BCD}[x.dtype]
    is_small = x < f.smallest
    bits = (select(is_small, x * 2.0**f.mantissa, x) if subnormal else x).bitcast(f.integer)
    k = (bits - root_half_bits) >> f.mantissa
    m = (bits - (k << f.mantissa)).bitcast(x.dtype)
    return m, k - _select(is_small, const(f.mantissa, f.integer), 0) if subnormal else k


def _at_edges_of_log(x: Expr, y: Expr) -> Expr:
    y = select(x < _INF, y, x)
    return select(x <= 0, _select(x.eq(0), const(-_INF, x.dtype), _NAN), y)


def _scaled_log(x: Expr, unit: tuple[float, float], log_2: tuple[float, float]) -> Expr:
    """log(x) * unit, where log_2 = log(2) * unit; both in two parts."""
    m, k = _split_exponent(x)
    n, r = k.cast(x.dtype), m - 1
    t = r * r * poly(r, table.LOG1P[x.dtype])
    if unit[0] == 1:
        y = r + _fma(n, log_2[1], t)
    else:
        low = _fma(r, unit[1], n * log_2[1] if log_2[1] else const(0, x.dtype))
        y = _fma(r, unit[0], _fma(t, unit[0], low))
    return _at_edges_of_log(x, _fma(n, log_2[0], y))


def log(x: Expr) -> Expr:
    """The natural logarithm."""
    return _scaled_log(x, (1, 0), FORMATS[x.dtype].ln2)


def log2(x: Expr) -> Expr:
    """The logarithm to base 2; exact for powers of two."""
    return _scaled_log(x, FORMATS[x.dtype].log2_e, (1, 0))


def log10(x: Expr) -> Expr:
    """The logarithm to base 10."""
    return _scaled_log(x, FORMATS[x.dtype].log10_e, FORMATS[x.dtype].log10_2)


def log1p(x: Expr) -> Expr:
    """log(1 + x)."""
    f = FORMATS[x.dtype]
    total, rest = two_sum(const(1, x.dtype), x)
    m, k = _split_exponent(total, subnormal=False)
    n, r = k.cast(x.dtype), m - 1
    rest = rest * power_of_two(-binary("min", k, const(f.bias - 1, f.integer)), x.dtype)
    s = r + rest
    rest = rest - (s - r)
    y = s + (_fma(n, f.ln2[1], s * s * poly(s, table.LOG1P[x.dtype])) + rest)
    y = _at_edges_of_log(total, _fma(n, f.ln2[0], y))
    return select(_abs(x) < 2.0 ** (-f.mantissa - 2), x, y)


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
    m, k = _split_exponent(_abs(x))
    third, _ = _nearest(k.cast(x.dtype), 1 / 3)
    third = third.cast(f.integer)
    m = m * power_of_two(k - third * 3, x.dtype)
    y = poly(m, table.CBRT)
    for _ in range(1 if x.dtype is float32 else 2):
        square = y * y
        y = _fma(y, _fma(square, -y, m) / _fma(square * 2, y, m), y)
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
    z_low = _fma(s + s, s_low, z_low)
    third, third_low = two_product(z, const(1 / 3, float64))
    third_low = _fma(z, 1.850371707708594e-17, _fma(z_low, 1 / 3, third_low))
    v, v_low = two_sum(third, z * z * poly(z, table.ATANH))
    tail, tail_low = two_product(s, v)
    tail_low = fma(s, v_low + third_low, fma(s_low, v, tail_low))
    y, y_low = two_sum(s, tail)
    high, low = two_sum(n * 0.6931471805601177, y + y)
    low = low + _fma(n, -1.7239444525614835e-13, (y_low + tail_low + s_low) * 2)
    return high, low


def pow(x: Expr, y: Expr) -> Expr:
    """x^y, with the special cases of C99: x^0 = 1^y = 1, NaN for a negative base and a fractional exponent.

    For integers see `integer_power`.
    """
    size = _abs(x)
    if x.dtype is float32:
        power = exp(log(size.cast(float64)) * y.cast(float64)).cast(float32)
    else:
        high, low = _log_double(size)
        high = select(size.eq(0), const(-_INF, float64), select(size < _INF, high, size))
        exponent, rest = two_product(y, high)
        power = _exp_sum(exponent, _select(_abs(exponent) < 1000, fma(y, low, rest), 0))
    half = y * 0.5
    is_odd = unary("rint", y).eq(y) & unary("rint", half).ne(half)
    signed = select(is_odd, copysign(power, x), power)
    is_undefined = (x < 0) & (size < _INF) & unary("rint", y).ne(y)
    result = _select(is_undefined, _NAN, signed)
    return _select(y.eq(0) | x.eq(1) | (x.eq(-1) & _abs(y).eq(_INF)), 1, result)


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
    reciprocal = _select(x.eq(1), one, _select(x.eq(-1), alternating, 0))
    return select(y < 0, reciprocal, result)


# angles

_TURN_BITS = 53
# the first 22 * 53 bits of 1 / (2 pi)
_TURNS = int(
    "28be60db9391054a7f09d5f47d4d377036d8a5664f10e4107f9458eaf7aef1586dc91b8e909374b801924bba827464873f877ac72c4a69cf"
    "ba208d7d4baed1213a671c09ad17df904e64758e60d4ce7d272117e2ef7e4a0ec7fe25fff7816603fbcbc462d6829b47db4d9fb3c9f2c26d"
    "d3d18fd9a797fa8b5d49eeb1faf97c5ecf41ce7de294a4ba9afed7ec47e357421580cc11bf1edaeafc33ef0826bd0d", 16
)  # fmt: skip
_LARGE_ANGLE = {float32: 2.0**16, float64: 2.0**30}


def _turn_words() -> list[float]:
    shift = _TURNS.bit_length() + 2
    return [(_TURNS >> (shift - _TURN_BITS * (j + 1)) & (1 << _TURN_BITS) - 1) / 2.0**_TURN_BITS for j in range(22)]


def _reduce_large(x: Expr, largest_exponent: int) -> tuple[Expr, Expr, Expr]:
    """The reduction of `_reduce_angle` for a float64 of any size up to 2^largest_exponent (Payne and Hanek).

    Of 1 / (2 pi) only the four 53-bit words count that, multiplied with x, give neither whole turns nor nothing.
    """
    word, first = _TURN_BITS, ((_abs(x).bitcast(int64) >> 52) - (1023 + 52)).cast(int32)
    first = binary("max", first, const(0, int32)) // word
    window: list[Expr] = [const(w, float64) for w in _turn_words()]
    for step in (s for s in (16, 8, 4, 2, 1) if s * word <= largest_exponent - 52):
        moved, size = (first & step).ne(0), min(3 + step, len(window))
        window = [select(moved, w, v) for v, w in zip(window[:size], (window[step:] + window)[:size], strict=True)]
    x = x * power_of_two(-(first * word).cast(int64), float64)
    total, rest = const(0, float64), const(0, float64)
    for i in range(4):
        for part in two_product(x, window[i]):
            scaled = part * 2.0 ** (-word * i)
            total, error = two_sum(total, scaled - unary("rint", scaled))
            rest = rest + error
    quarter = unary("rint", total * 4)
    total, rest = two_sum(_fma(quarter, -0.25, total), rest)
    high, low = two_product(total, const(2 * _PI, float64))
    low = _fma(total, 2 * 1.2246467991473532e-16, _fma(rest, 2 * _PI, low))
    return quarter.cast(int64), high, low


def _reduce_angle(x: Expr) -> tuple[Expr, Expr, Expr]:
    """x = n pi/2 + (high + low): n modulo 4 in its low bits, high and low."""
    f = FORMATS[x.dtype]
    n, quadrant = _nearest(x, 2 / _PI)
    first, second, third = f.half_pi
    r = _fma(n, -first, x)
    product, product_low = two_product(n, const(-second, x.dtype))
    high, low = two_sum(r, product)
    low = low + _fma(n, -third, product_low)
    is_large = _abs(x) > _LARGE_ANGLE[x.dtype]
    q, h, l = _reduce_large(x.cast(float64), 127 if x.dtype is float32 else 1023)
    if x.dtype is float32:
        rounded = h.cast(float32)
        q, h, l = q.cast(int32), rounded, (h - rounded.cast(float64) + l).cast(float32)
    return select(is_large, q, quadrant), select(is_large, h, high), select(is_large, l, low)


def _sine_and_cosine(high: Expr, low: Expr) -> tuple[Expr, Expr]:
    """sin and cos of high + low within ±pi/4."""
    z = high * high
    half = z * 0.5
    w = 1 - half
    sine = high + _fma(low, w, high * z * poly(z, table.SIN[z.dtype]))
    cosine = w + (((1 - w) - half) + fma(z * z, poly(z, table.COS[z.dtype]), -(high * low)))
    return sine, cosine


def _flip_sign(x: Expr, quadrant: Expr) -> Expr:
    f = FORMATS[x.dtype]
    return (x.bitcast(f.integer) ^ ((quadrant & 2) << (x.dtype.bits - 2))).bitcast(x.dtype)


def sin(x: Expr) -> Expr:
    """The sine of an angle in radians of any size."""
    quadrant, high, low = _reduce_angle(x)
    sine, cosine = _sine_and_cosine(high, low)
    y = _flip_sign(select((quadrant & 1).ne(0), cosine, sine), quadrant)
    return select(_abs(x) < 2.0 ** (-FORMATS[x.dtype].mantissa // 2 - 1), x, y)


def cos(x: Expr) -> Expr:
    """The cosine of an angle in radians of any size."""
    quadrant, high, low = _reduce_angle(x)
    sine, cosine = _sine_and_cosine(high, low)
    return _flip_sign(select((quadrant & 1).ne(0), sine, cosine), quadrant + 1)


def tan(x: Expr) -> Expr:
    """The tangent of an angle in radians of any size."""
    quadrant, high, low = _reduce_angle(x)
    sine, cosine = _sine_and_cosine(high, low)
    is_odd = (quadrant & 1).ne(0)
    y = select(is_odd, -cosine, sine) / select(is_odd, sine, cosine)
    return select(_abs(x) < 2.0 ** (-FORMATS[x.dtype].mantissa // 2 - 1), x, y)


def _atan_ratio(down: Expr, up: Expr, is_left: Expr | None = None) -> Expr:
    """The angle of a point at distances `down` and `up` from the axes; beyond the second axis if `is_left`."""
    first, second, _ = FORMATS[up.dtype].half_pi
    is_steep = up > down
    t = select(is_steep, down, up) / select(is_steep, up, down)
    t = select(down.eq(up), _select(down.eq(0), const(0, up.dtype), 1), t)
    z = t * t
    high, low = _select(is_steep, const(first, t.dtype), 0), _select(is_steep, const(second, t.dtype), 0)
    turned = is_steep
    if is_left is not None:
        high = _select(is_steep, first, _select(is_left, const(2 * first, t.dtype), 0))
        low = _select(is_steep, second, _select(is_left, const(2 * second, t.dtype), 0))
        turned = is_steep ^ is_left
    t = select(turned, -t, t)
    return high + (t + fma(t * z, poly(z, table.ATAN[t.dtype]), low))


def atan(x: Expr) -> Expr:
    """The inverse tangent, in radians."""
    return copysign(_atan_ratio(const(1, x.dtype), _abs(x)), x)


def atan2(y: Expr, x: Expr) -> Expr:
    """The angle of the point (x, y), in radians from -pi to pi."""
    return copysign(_atan_ratio(_abs(x), _abs(y), x.bitcast(FORMATS[x.dtype].integer) < 0), y)


def _asin_parts(x: Expr) -> tuple[Expr, Expr, Expr]:
    """Whether |x| > 1/2; s; and t, so that s + t is asin(|x|), or acos(|x|) / 2 if |x| > 1/2."""
    size = _abs(x)
    is_big = size > 0.5
    z = select(is_big, (1 - size) * 0.5, size * size)
    s = select(is_big, sqrt(z), size)
    return is_big, s, s * z * poly(z, table.ASIN[x.dtype])


def asin(x: Expr) -> Expr:
    """The inverse sine, in radians."""
    first, second, _ = FORMATS[x.dtype].half_pi
    is_big, s, t = _asin_parts(x)
    big = first - _fma(s, 2, _fma(t, 2, -second))
    return copysign(select(is_big, big, s + t), x)


def acos(x: Expr) -> Expr:
    """The inverse cosine, in radians."""
    first, second, _ = FORMATS[x.dtype].half_pi
    is_big, s, t = _asin_parts(x)
    small = first - (x + (copysign(t, x) - second))
    left = 2 * first - _fma(s, 2, _fma(t, 2, -2 * second))
    return select(is_big, select(x < 0, left, (s + t) * 2), small)


# hyperbolic functions


def _exponential_halves(x: Expr) -> tuple[Expr, Expr, Expr, Expr]:
    """a, b, c, d with e^|x| / 8 = a + b and e^-|x| / 8 = c + d; b and d are the smaller ones, with full accuracy."""
    f = FORMATS[x.dtype]
    q, k, r = _expm1_parts(_at_most(_abs(x), f.exp_range[1] + 1))
    up = power_of_two(k - 3, x.dtype)
    down = power_of_two(binary("max", -k - 3, const(1 - f.bias, f.integer)), x.dtype)
    return up, up * q, down, down * _expm1_of(-r)


def sinh(x: Expr) -> Expr:
    """The hyperbolic sine."""
    a, b, c, d = _exponential_halves(x)
    y = copysign(((a - c) + (b - d)) * 4, x)
    return select(_abs(x) < 2.0 ** (-FORMATS[x.dtype].mantissa // 2 - 1), x, y)


def cosh(x: Expr) -> Expr:
    """The hyperbolic cosine."""
    a, b, c, d = _exponential_halves(x)
    return ((a + c) + (b + d)) * 4


def tanh(x: Expr) -> Expr:
    """The hyperbolic tangent: a polynomial near 0, 1 - 2 / (e^2x + 1) beyond."""
    a = _at_most(_abs(x), 10.0 if x.dtype is float32 else 20.0)
    z = a * a
    near = fma(a * z, poly(z, table.TANH[x.dtype]), a)
    far = 1 - 2 / (_exp_sum(a + a, one_step=True) + 1)
    return copysign(select(a > 0.55, far, near), x)


def asinh(x: Expr) -> Expr:
    """The inverse hyperbolic sine."""
    a = _abs(x)
    is_big = a > 2.0 ** (FORMATS[x.dtype].mantissa + 2)
    square = a * a
    y = log1p(select(is_big, a, a + square / (1 + sqrt(square + 1))))
    return copysign(y + _select(is_big, const(_log_of(2), x.dtype), 0), x)


def acosh(x: Expr) -> Expr:
    """The inverse hyperbolic cosine."""
    is_big = x > 2.0 ** (FORMATS[x.dtype].mantissa + 2)
    t = x - 1
    y = log1p(select(is_big, x, t + sqrt(t * (t + 2))))
    return _select(x < 1, _NAN, y + _select(is_big, const(_log_of(2), x.dtype), 0))


def atanh(x: Expr) -> Expr:
    """The inverse hyperbolic tangent."""
    a = _abs(x)
    return copysign(log1p((a + a) / (1 - a)) * 0.5, x)


# the error function


def _erf_near_zero(x: Expr) -> Expr:
    return fma(x, poly(x * x, table.ERF[x.dtype]), x)


def erf(x: Expr) -> Expr:
    """The error function: a polynomial near 0, 1 - exp(polynomial) beyond."""
    near, far = (0.925, 4.0) if x.dtype is float32 else (1.0, 6.0)
    a = _at_most(_abs(x), far)
    tail = 1 - _exp_sum(-fma(a, poly(a, table.ERF_TAIL[x.dtype]), a), one_step=True)
    return copysign(select(a > near, tail, _erf_near_zero(a)), x)


def _erfc_factors(a: Expr) -> tuple[Expr, Expr]:
    """exp(-a^2) and exp(a^2) erfc(a), for a >= 0."""
    center = 2.0 if a.dtype is float32 else 4.0
    a = _at_most(a, 28.0)
    square, rest = two_product(a, a)
    power = exp(-square)
    return fma(power, -rest, power), poly((a - center) / (a + center), table.ERFC[a.dtype]) / _fma(a, 2, 1)


def erfc(x: Expr) -> Expr:
    """1 - erf(x), without cancellation."""
    power, scaled = _erfc_factors(_abs(x))
    y = power * scaled
    return select(x < 0, 2 - y, y)


def erfinv(x: Expr) -> Expr:
    """The inverse of erf: a polynomial in -log(1 - x^2) or its root (Giles 2012), then Halley's iteration.

    float32 is computed in float64.
    """
    if x.dtype is float32:
        return erfinv(x.cast(float64)).cast(float32)
    a = _abs(x)
    w = -log((1 - a) * (1 + a))
    y = a * select(w < 5, poly(w - 2.5, table.ERFINV_CENTER), poly(sqrt(w) - 3.5, table.ERFINV_TAIL))
    power, scaled = _erfc_factors(y)
    error = select(a < 0.5, a - _erf_near_zero(y), fma(power, scaled, a - 1))
    step = error * (_PI**0.5 / 2) / power
    return copysign(_select(a.eq(1), _INF, y + step / (1 - y * step)), x)


# the gamma function


def _sine_and_cosine_of_half_turns(x: Expr) -> tuple[Expr, Expr]:
    """sin(pi x) and cos(pi x), both but for a common sign, for float64."""
    r = x - unary("rint", x)
    is_far = _abs(r) > 0.25
    near = select(is_far, 0.5 - _abs(r), r)
    high, low = two_product(near, const(_PI, float64))
    sine, cosine = _sine_and_cosine(high, _fma(near, 1.2246467991473532e-16, low))
    return select(is_far, copysign(cosine, r), sine), select(is_far, sine, cosine)


def lgamma(x: Expr) -> Expr:
    """log(|gamma(x)|); near its zeros at negative x the error is absolute, some 2^-52 (float64).

    A polynomial around 2 and the recurrence below 8.5, Stirling's series beyond, reflection for negative x.
    float32 is computed in float64.
    """
    if x.dtype is float32:
        return lgamma(x.cast(float64)).cast(float32)
    is_left = x < -1e-20
    y = select(is_left, 1 - x, _abs(x))
    n = unary("floor", y + 0.5)
    product = _select(n.eq(0), y * (y + 1), _select(n.eq(1), y, 1))
    for j in range(1, 7):
        product = _select(n > j + 1.5, product * (y - j), product)
    is_big, t = y >= 8.5, y - n
    logarithm = log(select(is_big, y, product))
    center = _fma(t, poly(t, table.LGAMMA), select(n < 2, -logarithm, logarithm))
    inverse = 1 / y
    series = _fma(inverse, poly(inverse * inverse, table.STIRLING), 0.4189385332046727)
    result = select(is_big, _fma(y - 0.5, logarithm - 1, series), center)
    sine, _ = _sine_and_cosine_of_half_turns(x)
    result = select(is_left, log(_PI / _abs(sine)) - result, result)
    return _select(_abs(x).eq(_INF), _INF, result)


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
    result = (log(y) - _fma(inverse, 0.5, z * poly(z, table.DIGAMMA))) - p / q
    sine, cosine = _sine_and_cosine_of_half_turns(x)
    result = _select(x < 0, _select(sine.eq(0), _NAN, result - _PI * cosine / sine), result)
    return select(x.eq(0), copysign(-_INF, -x), result)


# signs, neighbours, remainders


def sign(x: Expr) -> Expr:
    """-1, 0 or 1, in the dtype of x; zeros and NaN stay as they are."""
    negative = x if x.dtype.kind == "u" else _select(x < 0, -1, x)
    return _select(x > 0, 1, negative)


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
    a, b = _abs(x), _abs(y)
    scale = _select(b < 2.0**-900, const(2.0**120, float64), 1)
    r, divisor = a * scale, b * scale
    inverse, dropped = 1 / divisor, 53 - _REMAINDER_BITS
    for _ in range(_REMAINDER_STEPS):
        quotient = unary("rint", r * inverse).bitcast(int64) + (1 << dropped - 1)
        quotient = (quotient & -(1 << dropped)).bitcast(float64)
        r = fma(-quotient, divisor, r)
    r = select(r < 0, r + divisor, r)
    result = _select((r >= 0) & (r < divisor), r / scale, _NAN)
    return copysign(select(b.eq(_INF) & (a < _INF), a, result), x)
