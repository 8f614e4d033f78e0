"""Complex numbers as pairs of loop-IR expressions, with the elementary functions.

Branch cuts, signed zeros and overflow follow C99 Annex G, as in NumPy: a result is finite where the exact one is.
Real and imaginary parts are accurate relative to the absolute value of the result, and mostly each on its own.
Methods: Smith (1962) for division; Kahan, "Branch cuts for complex elementary functions" (1987) for the inverse
functions and tanh.
"""

from __future__ import annotations

from plait.core.dtype import DType, float32, float64
from plait.ir import math
from plait.ir.arithmetic import (
    FORMATS,
    INFINITY,
    LOG_2,
    NAN,
    PI,
    copysign,
    is_finite,
    magnitude,
    power_of_two,
    product_of_copies,
    two_product,
    two_sum,
)
from plait.ir.loop import Expr, Value, binary, const, fma, select


class Complex:
    """re + i im; both of one dtype, float32 or float64. Operands may be `Complex`, real `Expr`s or Python numbers."""

    __slots__ = ("im", "re")

    def __init__(self, re: Expr, im: Expr) -> None:
        self.re, self.im = re, im

    def __repr__(self) -> str:
        return f"({self.re!r} + i {self.im!r})"

    @property
    def dtype(self) -> DType:
        """The dtype of each part."""
        return self.re.dtype

    def conj(self) -> Complex:
        """The complex conjugate."""
        return Complex(self.re, -self.im)

    def __neg__(self) -> Complex:
        return Complex(-self.re, -self.im)

    def __add__(self, other: Operand) -> Complex:
        o = as_complex(other, self.dtype)
        return Complex(self.re + o.re, self.im + o.im)

    def __sub__(self, other: Operand) -> Complex:
        o = as_complex(other, self.dtype)
        return Complex(self.re - o.re, self.im - o.im)

    def __mul__(self, other: Operand) -> Complex:
        o = as_complex(other, self.dtype)
        return Complex(self.re * o.re - self.im * o.im, self.re * o.im + self.im * o.re)

    def __truediv__(self, other: Operand) -> Complex:
        return _divide(self, as_complex(other, self.dtype))

    def __radd__(self, other: Operand) -> Complex:
        return as_complex(other, self.dtype) + self

    def __rsub__(self, other: Operand) -> Complex:
        return as_complex(other, self.dtype) - self

    def __rmul__(self, other: Operand) -> Complex:
        return as_complex(other, self.dtype) * self

    def __rtruediv__(self, other: Operand) -> Complex:
        return as_complex(other, self.dtype) / self

    def eq(self, other: Operand) -> Expr:
        """Whether both parts are equal."""
        o = as_complex(other, self.dtype)
        return self.re.eq(o.re) & self.im.eq(o.im)

    def ne(self, other: Operand) -> Expr:
        """Whether a part differs."""
        return ~self.eq(other)

    def cast(self, dtype: DType) -> Complex:
        """Convert both parts."""
        return Complex(self.re.cast(dtype), self.im.cast(dtype))


Operand = Complex | Value | complex


def as_complex(value: Operand, dtype: DType) -> Complex:
    """Return a `Complex` for a complex or real operand."""
    if isinstance(value, Complex):
        return value
    if isinstance(value, complex):
        return Complex(const(value.real, dtype), const(value.imag, dtype))
    return Complex(const(value, dtype), const(0, dtype))


def choose(condition: Expr, a: Complex, b: Complex) -> Complex:
    """a where the condition holds, else b."""
    return Complex(select(condition, a.re, b.re), select(condition, a.im, b.im))


def _divide(a: Complex, b: Complex) -> Complex:
    swap = magnitude(b.im) > magnitude(b.re)
    large, small = select(swap, b.im, b.re), select(swap, b.re, b.im)
    ratio = small / large
    divisor = fma(small, ratio, large)
    re = select(swap, fma(a.re, ratio, a.im), fma(a.im, ratio, a.re))
    im = select(swap, fma(a.im, ratio, -a.re), fma(-a.re, ratio, a.im))
    zero = magnitude(large)
    return choose(large.eq(0), Complex(a.re / zero, a.im / zero), Complex(re / divisor, im / divisor))


def _times_i(z: Complex) -> Complex:
    return Complex(-z.im, z.re)


def _over_i(z: Complex) -> Complex:
    return Complex(z.im, -z.re)


# absolute value, powers


def _scaled(z: Complex) -> tuple[Complex, Expr]:
    """z / 2^k with parts that square safely, and k: even, and both 2^k and 2^-k are normal numbers."""
    f = FORMATS[z.dtype]
    bits = select(magnitude(z.im) > magnitude(z.re), magnitude(z.im), magnitude(z.re)).bitcast(f.integer)
    limit = const(f.bias - 1, f.integer)
    k = binary("max", binary("min", ((bits >> f.mantissa) - f.bias) & -2, limit), -limit)
    scale = power_of_two(-k, z.dtype)
    return Complex(z.re * scale, z.im * scale), k


def _length(z: Complex) -> Expr:
    """|z| of a scaled z; infinite if a part is, even if the other is NaN."""
    length = math.sqrt(fma(z.re, z.re, z.im * z.im))
    return select(magnitude(z.re).eq(INFINITY) | magnitude(z.im).eq(INFINITY), const(INFINITY, z.dtype), length)


def abs(z: Complex) -> Expr:
    """The absolute value, without overflow on the way."""
    scaled, k = _scaled(z)
    return _length(scaled) * power_of_two(k, z.dtype)


def sign(z: Complex) -> Complex:
    """z / |z|, or 0."""
    scaled, _ = _scaled(z)
    length = _length(scaled)
    one, zero = const(1, z.dtype), const(0, z.dtype)
    is_infinite, is_zero = length.eq(INFINITY) & z.eq(z), length.eq(0)
    re, im = (select(magnitude(part).eq(INFINITY), one, zero) for part in (z.re, z.im))
    corner = Complex(copysign(re, z.re), copysign(im, z.im))
    result = choose(is_infinite, corner, Complex(scaled.re / length, scaled.im / length))
    return choose(is_zero, Complex(zero, zero), result)


def reciprocal(z: Complex) -> Complex:
    """1 / z."""
    return 1 / z


def sqrt(z: Complex) -> Complex:
    """The square root in the right half plane; the branch cut is the negative real axis."""
    scaled, k = _scaled(z)
    scale = power_of_two(k >> 1, z.dtype)
    root = math.sqrt((magnitude(scaled.re) + _length(scaled)) * 0.5) * scale
    other = select(root.eq(0), magnitude(z.im), magnitude(z.im) / (root + root))
    is_left = z.re < 0
    re, im = select(is_left, other, root), select(is_left, root, other)
    is_infinite = magnitude(z.im).eq(INFINITY)
    infinity = const(INFINITY, z.dtype)
    return Complex(select(is_infinite, infinity, re), copysign(select(is_infinite, infinity, im), z.im))


def rsqrt(z: Complex) -> Complex:
    """1 / sqrt(z)."""
    return 1 / sqrt(z)


def integer_pow(z: Complex, exponent: int) -> Complex:
    """z to a constant integer power, by repeated squaring."""
    power: Complex = (
        product_of_copies(z, exponent if exponent > 0 else -exponent) if exponent else as_complex(1, z.dtype)
    )
    return 1 / power if exponent < 0 else power


def pow(z: Complex, w: Complex) -> Complex:
    """exp(w log(z)), with z^0 = 1 and 0^w = 0 where re(w) > 0; complex64 is computed in complex128."""
    if z.dtype is float32:
        return pow(z.cast(float64), w.cast(float64)).cast(float32)
    zero, one = as_complex(0, z.dtype), as_complex(1, z.dtype)
    undefined = as_complex(complex(NAN, NAN), z.dtype)
    power = choose(z.eq(zero), choose(w.re > 0, zero, undefined), exp(w * log(z)))
    return choose(w.eq(zero), one, power)


# exponentials and logarithms


def exp(z: Complex) -> Complex:
    """e^z; also finite where e^re(z) alone overflows."""
    re, im = math.times_exp(math.cos(z.im), z.re), math.times_exp(math.sin(z.im), z.re)
    im = select(z.im.eq(0), z.im, im)
    vanishes, zero = z.re.eq(-INFINITY) & ~is_finite(z.im), const(0, z.dtype)
    return Complex(select(vanishes, zero, _or_infinite(z, re)), select(vanishes, zero, im))


def exp2(z: Complex) -> Complex:
    """2^z."""
    return exp(_times(z, LOG_2))


def expm1(z: Complex) -> Complex:
    """e^z - 1, without cancellation near 0."""
    sine = math.sin(z.im * 0.5)
    near = fma(math.expm1(z.re), math.cos(z.im), sine * sine * -2)
    e = exp(z)
    return Complex(select(magnitude(z.re) < 1, near, e.re - 1), e.im)


def logistic(z: Complex) -> Complex:
    """1 / (1 + e^-z)."""
    return 1 / (1 + exp(-z))


def _log_from_one(x: Expr, y: Expr) -> Expr:
    """log(|1 + x + iy|) = log1p(2x + x^2 + y^2) / 2, the sum in double length."""
    xx, xx_low = two_product(x, x)
    yy, yy_low = two_product(y, y)
    first, first_low = two_sum(x + x, xx)
    total, total_low = two_sum(first, yy)
    return math.log1p(total + (total_low + first_low + (xx_low + yy_low))) * 0.5


def _log_abs(z: Complex) -> Expr:
    scaled, k = _scaled(z)
    n, ln2 = k.cast(z.dtype), FORMATS[z.dtype].ln2
    far = fma(n, const(ln2[0], z.dtype), fma(n, const(ln2[1], z.dtype), math.log(_length(scaled))))
    swap = magnitude(z.im) > magnitude(z.re)
    large, small = select(swap, magnitude(z.im), magnitude(z.re)), select(swap, magnitude(z.re), magnitude(z.im))
    return select((large > 0.5) & (large < 2), _log_from_one(large - 1, small), far)


def log(z: Complex) -> Complex:
    """The natural logarithm; the branch cut is the negative real axis."""
    return Complex(_log_abs(z), math.atan2(z.im, z.re))


def _times(z: Complex, factor: float) -> Complex:
    return Complex(z.re * factor, z.im * factor)


def log2(z: Complex) -> Complex:
    """The logarithm to base 2."""
    return _times(log(z), FORMATS[z.dtype].log2_e[0])


def log10(z: Complex) -> Complex:
    """The logarithm to base 10."""
    return _times(log(z), FORMATS[z.dtype].log10_e[0])


def log1p(z: Complex) -> Complex:
    """log(1 + z), without cancellation near 0."""
    is_near = (magnitude(z.re) < 0.5) & (magnitude(z.im) < 1)
    far = log(z + 1)
    return Complex(select(is_near, _log_from_one(z.re, z.im), far.re), math.atan2(z.im, z.re + 1))


# hyperbolic and trigonometric functions


def _is_steep(x: Expr) -> Expr:
    """Whether cosh(x) is e^|x| / 2 to the last place."""
    return magnitude(x) > (10.0 if x.dtype is float32 else 20.0)


def _times_cosh(factor: Expr, x: Expr) -> Expr:
    steep = math.times_exp(factor * 0.5, magnitude(x))
    return select(_is_steep(x), steep, factor * math.cosh(x))


def _times_sinh(factor: Expr, x: Expr) -> Expr:
    steep = math.times_exp(factor * copysign(const(0.5, x.dtype), x), magnitude(x))
    return select(_is_steep(x), steep, factor * math.sinh(x))


def _or_infinite(z: Complex, value: Expr) -> Expr:
    """The value, but infinity if re(z) is infinite and im(z) is no number to tell the sign."""
    is_lost = magnitude(z.re).eq(INFINITY) & ~is_finite(z.im)
    return select(is_lost, const(INFINITY, z.dtype), value)


def sinh(z: Complex) -> Complex:
    """The hyperbolic sine."""
    is_lost = z.re.eq(0) & ~is_finite(z.im)
    re = select(is_lost, z.re, _or_infinite(z, _times_sinh(math.cos(z.im), z.re)))
    return Complex(re, select(z.im.eq(0), z.im, _times_cosh(math.sin(z.im), z.re)))


def cosh(z: Complex) -> Complex:
    """The hyperbolic cosine."""
    im = _times_sinh(math.sin(z.im), z.re)
    is_lost = z.im.eq(0) | (z.re.eq(0) & ~is_finite(z.im))
    zero = copysign(const(0, z.dtype), z.re) * copysign(const(1, z.dtype), z.im)
    re = _or_infinite(z, _times_cosh(math.cos(z.im), z.re))
    return Complex(re, select(is_lost, zero, im))


def tanh(z: Complex) -> Complex:
    """The hyperbolic tangent."""
    sine, cosine, s = math.sin(z.im), math.cos(z.im), math.sinh(z.re)
    t = sine / cosine
    beta = fma(t, t, const(1, z.dtype))
    divisor = fma(beta * s, s, const(1, z.dtype))
    re, im = beta * s * math.cosh(z.re) / divisor, t / divisor
    one = const(1, z.dtype)
    steep = _is_steep(z.re) & (is_finite(z.im) | magnitude(z.re).eq(INFINITY))
    limit = math.times_exp(sine * cosine * 4, magnitude(z.re) * -2)
    limit = select(magnitude(z.re).eq(INFINITY), copysign(const(0, z.dtype), sine * cosine), limit)
    im = select(z.im.eq(0), z.im, select(steep, limit, im))
    return Complex(select(z.re.eq(0), z.re, select(steep, copysign(one, z.re), re)), im)


def sin(z: Complex) -> Complex:
    """The sine."""
    return _over_i(sinh(_times_i(z)))


def cos(z: Complex) -> Complex:
    """The cosine."""
    return cosh(_times_i(z))


def tan(z: Complex) -> Complex:
    """The tangent."""
    return _over_i(tanh(_times_i(z)))


# inverse functions


def _log_of_double(z: Complex) -> Expr:
    """log(|2 z|) for large z, without overflow."""
    half = const(0.5, z.dtype)
    return _log_abs(Complex(z.re * half, z.im * half)) + 2 * LOG_2


def _is_large(z: Complex) -> Expr:
    limit = 2.0 ** (FORMATS[z.dtype].mantissa + 2)
    return (magnitude(z.re) > limit) | (magnitude(z.im) > limit)


def acos(z: Complex) -> Complex:
    """The inverse cosine; the branch cuts are the real axis beyond ±1."""
    one = const(1, z.dtype)
    s, t = sqrt(Complex(one - z.re, -z.im)), sqrt(Complex(one + z.re, z.im))
    re, im = math.atan2(s.re, t.re) * 2, math.asinh(t.re * s.im - t.im * s.re)
    is_large = _is_large(z)
    far = copysign(_log_of_double(z), -z.im)
    re, im = select(is_large, math.atan2(magnitude(z.im), z.re), re), select(is_large, far, im)
    return Complex(_of_imaginary(z, re), im)


def _of_imaginary(z: Complex, angle: Expr) -> Expr:
    """The angle, which is pi / 2 on the imaginary axis even where its height is NaN."""
    return select(z.re.eq(0) & z.im.ne(z.im), const(PI / 2, z.dtype), angle)


def acosh(z: Complex) -> Complex:
    """The inverse hyperbolic cosine; the branch cut is the real axis below 1."""
    one = const(1, z.dtype)
    s, t = sqrt(Complex(z.re - one, z.im)), sqrt(Complex(z.re + one, z.im))
    re, im = math.asinh(s.re * t.re + s.im * t.im), math.atan2(s.im, t.re) * 2
    is_large = _is_large(z)
    re, im = select(is_large, _log_of_double(z), re), select(is_large, math.atan2(z.im, z.re), im)
    return Complex(re, _of_imaginary(z, im))


def asinh(z: Complex) -> Complex:
    """The inverse hyperbolic sine; the branch cuts are the imaginary axis beyond ±i."""
    one = const(1, z.dtype)
    s, t = sqrt(Complex(one + z.im, -z.re)), sqrt(Complex(one - z.im, z.re))
    re = math.asinh(s.re * t.im - t.re * s.im)
    im = math.atan2(z.im, s.re * t.re - s.im * t.im)
    is_large = _is_large(z)
    far = copysign(_log_of_double(z), z.re)
    im = select(is_large, math.atan2(z.im, magnitude(z.re)), im)
    return Complex(select(is_large, far, re), select(z.im.eq(0), z.im, im))


def atanh(z: Complex) -> Complex:
    """The inverse hyperbolic tangent; the branch cuts are the real axis beyond ±1."""
    x, y = magnitude(z.re), magnitude(z.im)
    down = 1 - x
    re = math.log1p(x * 4 / fma(down, down, y * y)) * 0.25
    re = select(down.eq(0) & (y < 2.0**-30), (LOG_2 - math.log(y)) * 0.5, re)  # y * y would underflow
    im = math.atan2(y + y, fma(down, 1 + x, -(y * y))) * 0.5
    is_infinite, is_large = x.eq(INFINITY) | y.eq(INFINITY), _is_large(z)
    far = select(is_infinite, const(0, z.dtype), reciprocal(Complex(x, y)).re)
    half_pi = const(PI / 2, z.dtype)
    # on the cut, the side is that of the sign of the imaginary part
    re, im = select(is_large, far, re), select(is_large, half_pi, im)
    is_undefined = (x.ne(x) & y.ne(INFINITY)) | y.ne(y)
    re, im = select(x.eq(0), x, re), select(is_undefined, const(NAN, z.dtype), im)
    return Complex(copysign(re, z.re), copysign(im, z.im))


def asin(z: Complex) -> Complex:
    """The inverse sine; the branch cuts are the real axis beyond ±1."""
    return _over_i(asinh(_times_i(z)))


def atan(z: Complex) -> Complex:
    """The inverse tangent; the branch cuts are the imaginary axis beyond ±i."""
    return _over_i(atanh(_times_i(z)))
