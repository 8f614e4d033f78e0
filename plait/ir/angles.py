"""Trigonometric functions and their inverses; see ir/math.py, which exports them."""

from __future__ import annotations

from collections.abc import Callable

from plait.core.dtype import float32, float64, int32, int64
from plait.ir import coefficients as table
from plait.ir.arithmetic import (
    FORMATS,
    HALF_PI,
    PI,
    PI_REST,
    copysign,
    magnitude,
    multiply_add,
    nearest,
    poly,
    power_of_two,
    two_product,
    two_sum,
    where,
)
from plait.ir.loop import Expr, binary, const, fma, rarely, select, unary

Angle = tuple[Expr, Expr, Expr]

# the first 24 * 53 bits of 1 / (2 pi)
_TURNS = int(
    "28be60db9391054a7f09d5f47d4d377036d8a5664f10e4107f9458eaf7aef1586dc91b8e909374b801924bba827464873f877ac72c4a69cf"
    "ba208d7d4baed1213a671c09ad17df904e64758e60d4ce7d272117e2ef7e4a0ec7fe25fff7816603fbcbc462d6829b47db4d9fb3c9f2c26d"
    "d3d18fd9a797fa8b5d49eeb1faf97c5ecf41ce7de294a4ba9afed7ec47e357421580cc11bf1edaeafc33ef0826bd0d", 16
)  # fmt: skip
_LARGE_ANGLE = {float32: 2.0**14, float64: 2.0**30}


def _turn_words(bits: int, count: int) -> list[float]:
    """1 / (2 pi) cut into words; word j counts in units of 2^(-bits j)."""
    return [((_TURNS >> (24 * 53 - bits * (j + 1))) & ((1 << bits) - 1)) / 2.0**bits for j in range(count)]


def _reduce_large_float(x: Expr) -> Angle:
    """`_reduce_large` for float32, in float64: a word of 1 / (2 pi) of 29 bits times x is exact."""
    wide, turns = x.cast(float64), const(0, float64)
    for j, word in enumerate(_turn_words(29, 7)):
        factor = const(word * 2.0 ** (-29 * j), float64)
        part = wide * factor
        # |x| < 2^128: the last two products are below 1/2
        turns = turns + (part - unary("rint", part)) if j < 5 else fma(wide, factor, turns)
    n, quadrant = nearest(turns, 4)
    rest = multiply_add(n, -0.25, turns) * (2 * PI)
    high = rest.cast(float32)
    return quadrant.cast(int32), high, (rest - high.cast(float64)).cast(float32)


def _reduce_large(x: Expr) -> Angle:
    """x = n pi/2 + (high + low) for x of any size (Payne and Hanek): n modulo 4 in its low bits, high and low.

    Of 1 / (2 pi) only four words of 53 bits count: those before, times x, give whole turns, those after too little.
    """
    if x.dtype is float32:
        return _reduce_large_float(x)
    first = ((magnitude(x).bitcast(int64) >> 52) - (1023 + 52)).cast(int32)
    first = binary("max", first, const(0, int32)) // 53
    window: list[Expr] = [const(word, float64) for word in _turn_words(53, 22)]
    for step in (16, 8, 4, 2, 1):
        moved, size = (first & step).ne(0), min(3 + step, len(window))
        window = [select(moved, b, a) for a, b in zip(window[:size], (window[step:] + window)[:size], strict=True)]
    x = x * power_of_two(-(first * 53).cast(int64), float64)
    turns, rest = const(0, float64), const(0, float64)
    for j in range(4):
        for part in two_product(x, window[j]):
            scaled = part * 2.0 ** (-53 * j)
            turns, error = two_sum(turns, scaled - unary("rint", scaled))
            rest = rest + error
    n, quadrant = nearest(turns, 4)
    turns, rest = two_sum(multiply_add(n, -0.25, turns), rest)
    high, low = two_product(turns, const(2 * PI, float64))
    return quadrant, high, multiply_add(turns, 2 * PI_REST, multiply_add(rest, 2 * PI, low))


def _reduce_small(x: Expr) -> Angle:
    """The same for |x| up to `_LARGE_ANGLE` (Cody and Waite)."""
    n, quadrant = nearest(x, 2 / PI)
    first, second, third = (-part for part in HALF_PI[x.dtype])
    rest = multiply_add(n, first, x)
    product, product_low = two_product(n, const(second, x.dtype))
    high = rest + product
    # exact: `rest` is a multiple of the last place of `product`
    low = product - (high - rest)
    return quadrant, high, low + multiply_add(n, third, product_low)


def sine_and_cosine(high: Expr, low: Expr) -> tuple[Expr, Expr]:
    """sin and cos of high + low, within ±pi/4."""
    z, z_low = two_product(high, high)
    cosine = 1 + fma(z, poly(z, (-0.5, *table.COS[z.dtype])), multiply_add(z_low, -0.5, -(high * low)))
    sine = high + fma(low, cosine, high * z * poly(z, table.SIN[z.dtype]))
    return sine, cosine


def _flip_sign(x: Expr, quadrant: Expr) -> Expr:
    f = FORMATS[x.dtype]
    return (x.bitcast(f.integer) ^ ((quadrant & 2) << (x.dtype.bits - 2))).bitcast(x.dtype)


def _of_angle(function: Callable[[Expr, Expr, Expr], Expr]) -> Callable[[Expr], Expr]:
    """Make a function of an angle from one of its quadrant and of the sine and cosine of what is left."""

    def at(angle: Angle) -> Expr:
        quadrant, high, low = angle
        return function(quadrant, *sine_and_cosine(high, low))

    def of_angle(x: Expr) -> Expr:
        is_large = ~(magnitude(x) <= _LARGE_ANGLE[x.dtype])
        return rarely(is_large, at(_reduce_large(x)), at(_reduce_small(x)))

    return of_angle


def _exact_near_zero(x: Expr, y: Expr) -> Expr:
    return select(magnitude(x) < 2.0 ** (-FORMATS[x.dtype].mantissa // 2 - 1), x, y)


_sin = _of_angle(lambda quadrant, s, c: _flip_sign(select((quadrant & 1).ne(0), c, s), quadrant))
_cos = _of_angle(lambda quadrant, s, c: _flip_sign(select((quadrant & 1).ne(0), s, c), quadrant + 1))
_tan = _of_angle(lambda quadrant, s, c: select((quadrant & 1).ne(0), -c, s) / select((quadrant & 1).ne(0), s, c))


def sin(x: Expr) -> Expr:
    """The sine of an angle in radians of any size."""
    return _exact_near_zero(x, _sin(x))


def cos(x: Expr) -> Expr:
    """The cosine of an angle in radians of any size."""
    return _cos(x)


def tan(x: Expr) -> Expr:
    """The tangent of an angle in radians of any size."""
    return _exact_near_zero(x, _tan(x))


def _atan_ratio(down: Expr, up: Expr, is_left: Expr | None = None) -> Expr:
    """The angle of a point at distances `down` and `up` from the axes; beyond the second axis if `is_left`."""
    first, second = HALF_PI[up.dtype][:2]
    is_steep = up > down
    t = select(is_steep, down, up) / select(is_steep, up, down)
    t = select(down.eq(up), where(down.eq(0), const(0, up.dtype), 1), t)
    z = t * t
    high, low = where(is_steep, const(first, t.dtype), 0), where(is_steep, const(second, t.dtype), 0)
    turned = is_steep
    if is_left is not None:
        high = where(is_steep, first, where(is_left, const(2 * first, t.dtype), 0))
        low = where(is_steep, second, where(is_left, const(2 * second, t.dtype), 0))
        turned = is_steep ^ is_left
    t = select(turned, -t, t)
    return high + (t + fma(t * z, poly(z, table.ATAN[t.dtype]), low))


def atan(x: Expr) -> Expr:
    """The inverse tangent, in radians."""
    return copysign(_atan_ratio(const(1, x.dtype), magnitude(x)), x)


def atan2(y: Expr, x: Expr) -> Expr:
    """The angle of the point (x, y), in radians from -pi to pi."""
    return copysign(_atan_ratio(magnitude(x), magnitude(y), x.bitcast(FORMATS[x.dtype].integer) < 0), y)


def _asin_parts(x: Expr) -> tuple[Expr, Expr, Expr]:
    """Whether |x| > 1/2; s; and t, so that s + t is asin(|x|), or acos(|x|) / 2 if |x| > 1/2."""
    size = magnitude(x)
    is_big = size > 0.5
    z = select(is_big, (1 - size) * 0.5, size * size)
    s = select(is_big, unary("sqrt", z), size)
    return is_big, s, s * z * poly(z, table.ASIN[x.dtype])


def asin(x: Expr) -> Expr:
    """The inverse sine, in radians."""
    first, second = HALF_PI[x.dtype][:2]
    is_big, s, t = _asin_parts(x)
    big = first - multiply_add(s, 2, multiply_add(t, 2, -second))
    return copysign(select(is_big, big, s + t), x)


def acos(x: Expr) -> Expr:
    """The inverse cosine, in radians."""
    first, second = HALF_PI[x.dtype][:2]
    is_big, s, t = _asin_parts(x)
    small = first - (x + (copysign(t, x) - second))
    left = 2 * first - multiply_add(s, 2, multiply_add(t, 2, -2 * second))
    return select(is_big, select(x < 0, left, (s + t) * 2), small)
