"""Elementwise functions of one number: powers, logarithms, trigonometry and the error and gamma families."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from math import factorial, log as _log, pi, sqrt as _sqrt
from typing import Any

from plait.core.aval import Aval
from plait.core.dtype import COMPLEXES, FLOATS, DType, float32, float64
from plait.core.errors import ArgumentError, message
from plait.core.graph import Node
from plait.core.primitive import Domain, P, Primitive, Waived
from plait.ir import bessel, complex as complex_math, math, normal
from plait.ir.arithmetic import at_most
from plait.ir.loop import Expr, const, select as choose, unary
from plait.prims.rules import (
    Over,
    binary_rule,
    check_dtype,
    draw,
    either,
    elementwise,
    elementwise_domain,
    partials,
    unary_rule,
    where,
)

INEXACT = (*FLOATS, *COMPLEXES)


def function(
    name: str,
    lower: Callable[..., Any],
    derivative: Callable[[Node, Node], Any] | Waived,
    low: float,
    high: float,
    oracle: str,
    *,
    dtypes: Sequence[DType] = FLOATS,
    flops: float = 15,
    tolerance: float = 8,
) -> Primitive:
    """Define a function of one operand, well conditioned between `low` and `high`, from its `derivative(y, x)`."""
    return elementwise(
        name, unary_rule(dtypes, name), lower,
        jvp=derivative if isinstance(derivative, Waived) else partials(derivative),
        domain=elementwise_domain(dtypes, (low, high), tolerance=tolerance), oracle=oracle, flops=flops,
    )  # fmt: skip


def analytic(name: str, derivative: Callable[[Node, Node], Any], low: float, high: float, oracle: str) -> Primitive:
    """Define a function of real and complex operands that ir/math.py and ir/complex.py hold under its name."""
    lower = either(getattr(math, name), getattr(complex_math, name))
    return function(name, lower, derivative, low, high, oracle, dtypes=INEXACT)


def _softplus(x: Expr) -> Expr:
    """log(1 + exp(x)): its own primitive because every formula in others has a wrong derivative somewhere.

    For e = exp(-|x|) <= 1, log(1 + e) = 2 artanh(z) at z = e / (2 + e) <= 1/3, whose series converges fast.
    """
    e = math.exp(-unary("abs", x))
    z = e / (e + 2.0)
    series = math.poly(z * z, tuple(2 / (2 * k + 1) for k in range(8 if x.dtype.bits == 32 else 16)))
    return choose(x > 0.0, x, const(0, x.dtype)) + z * series


# powers and logarithms
exp = analytic("exp", lambda y, x: y, -3, 3, "numpy.exp")
exp2 = analytic("exp2", lambda y, x: y * _log(2), -3, 3, "oracle.elementwise.exp2")
expm1 = analytic("expm1", lambda y, x: y + 1, -3, 3, "numpy.expm1")
log = analytic("log", lambda y, x: Over(x), 1e-3, 10, "numpy.log")
log2 = analytic("log2", lambda y, x: Over(x * _log(2)), 1e-3, 10, "numpy.log2")
log10 = analytic("log10", lambda y, x: Over(x * _log(10)), 1e-3, 10, "numpy.log10")
log1p = analytic("log1p", lambda y, x: Over(x + 1), -0.9, 5, "numpy.log1p")
sqrt = analytic("sqrt", lambda y, x: Over(2 * y), 1e-3, 10, "numpy.sqrt")
rsqrt = analytic("rsqrt", lambda y, x: -0.5 * y / x, 1e-2, 10, "oracle.elementwise.rsqrt")
cbrt = function("cbrt", math.cbrt, lambda y, x: Over(3 * y * y), 0.1, 10, "numpy.cbrt")

# trigonometric and hyperbolic functions
sin = analytic("sin", lambda y, x: P.cos(x), -9, 9, "numpy.sin")
cos = analytic("cos", lambda y, x: -P.sin(x), -9, 9, "numpy.cos")
tan = analytic("tan", lambda y, x: y * y + 1, -1.4, 1.4, "numpy.tan")
asin = analytic("asin", lambda y, x: Over(P.sqrt(1 - x * x)), -0.95, 0.95, "numpy.arcsin")
acos = analytic("acos", lambda y, x: Over(-P.sqrt(1 - x * x)), -0.95, 0.95, "numpy.arccos")
atan = analytic("atan", lambda y, x: Over(x * x + 1), -5, 5, "numpy.arctan")
sinh = analytic("sinh", lambda y, x: P.cosh(x), -3, 3, "numpy.sinh")
cosh = analytic("cosh", lambda y, x: P.sinh(x), -3, 3, "numpy.cosh")
tanh = analytic("tanh", lambda y, x: 1 - y * y, -3, 3, "numpy.tanh")
asinh = analytic("asinh", lambda y, x: Over(P.sqrt(x * x + 1)), -5, 5, "numpy.arcsinh")
acosh = analytic("acosh", lambda y, x: Over(P.sqrt(x - 1) * P.sqrt(x + 1)), 1.05, 10, "numpy.arccosh")
atanh = analytic("atanh", lambda y, x: Over(1 - x * x), -0.9, 0.9, "numpy.arctanh")

# the error function and its relatives
_TWO_OVER_ROOT_PI = 2 / _sqrt(pi)
logistic = analytic("logistic", lambda y, x: y * (1 - y), -5, 5, "oracle.elementwise.logistic")
softplus = function("softplus", _softplus, lambda y, x: P.logistic(x), -5, 5, "oracle.elementwise.softplus")
erf = function("erf", math.erf, lambda y, x: _TWO_OVER_ROOT_PI * P.exp(-x * x), -3, 3, "scipy.special.erf")
erfc = function("erfc", math.erfc, lambda y, x: -_TWO_OVER_ROOT_PI * P.exp(-x * x), -3, 3, "scipy.special.erfc")
erfinv = function(
    "erfinv", math.erfinv, lambda y, x: P.exp(y * y) / _TWO_OVER_ROOT_PI, -0.9, 0.9, "scipy.special.erfinv"
)
erfinv_single = function(
    "erfinv_single", math.erfinv_single, lambda y, x: P.exp(y * y) / _TWO_OVER_ROOT_PI, -0.9, 0.9,
    "scipy.special.erfinv", dtypes=(float32,),
)  # fmt: skip

# the gamma family
_SHIFT = 12
_BERNOULLI = (1 / 6, -1 / 30, 1 / 42, -1 / 30, 5 / 66, -691 / 2730, 7 / 6)


def _polygamma_aval(x: Aval, *, order: int) -> Aval:
    check_dtype("polygamma", x.dtype, FLOATS)
    if not isinstance(order, int) or not 1 <= order <= 100:
        fix = "use digamma for order 0"
        raise ArgumentError(message("polygamma has an order", repr(order), "an integer from 1 to 100", fix))
    return x


def _cotangent_derivative(order: int) -> list[int]:
    """The coefficients of the derivative of cot(x) of this order as a polynomial in cot(x): cot' = -1 - cot^2."""
    coefficients = [0, 1]
    for _ in range(order):
        slopes = [k * c for k, c in enumerate(coefficients)][1:]
        padded = [*slopes, 0, 0]
        coefficients = [-(c + (padded[k - 2] if k > 1 else 0)) for k, c in enumerate(padded)]
    return coefficients


def _polygamma(x: Expr, *, order: int) -> Expr:
    """Recurrence, the asymptotic series, and reflection at x < 1/2 (Abramowitz and Stegun 6.4.6, 6.4.7, 6.4.11)."""
    if x.dtype is float32:
        return _polygamma(x.cast(float64), order=order).cast(float32)
    one, power, shift = const(1, x.dtype), order + 1, (_SHIFT + order + 1) // 2 * 2
    is_left = x < 0.5
    right = choose(is_left, 1 - x, x)
    total = const(0, x.dtype)
    low = at_most(right, 1e200)  # finite: the terms of more are 0
    for k in range(0, shift, 2):  # one division for two terms
        a, b = low + float(k), low + float(k + 1)
        inverse = one / (a * b)
        total = (total + math.integer_pow(b * inverse, power)) + math.integer_pow(a * inverse, power)
    z = one / (right + float(shift))
    square, series = z * z, const(0, x.dtype)
    terms = []
    for j, bernoulli in enumerate(_BERNOULLI, 1):  # B_2j (s)_(2j-1) / (2j)! for s = order + 1
        factor = factorial(order + 2 * j - 1) / (factorial(order) * factorial(2 * j))
        terms.append(bernoulli * factor)
    for coefficient in reversed(terms):
        series = (series + coefficient) * square
    total = total + math.integer_pow(z, order) * (z * 0.5 + 1.0 / order + series)
    scale = float(factorial(order)) * (-1.0 if order % 2 == 0 else 1.0)
    sine, cosine = math.sine_and_cosine_of_half_turns(x)
    polynomial = [float(c) for c in _cotangent_derivative(order)]
    reflection = math.poly(cosine / sine, tuple(polynomial)) * pi**power
    left = total * (-scale if order % 2 else scale) - reflection
    return choose(is_left, left, total * scale)


def _polygamma_samples(random: Any, dtype: DType, size: int) -> Iterator[tuple[list[Any], dict[str, Any]]]:
    for order in (1, 2, 3, 6):
        yield [draw(random, dtype, (size,), 1, 20)], {"order": order}


lgamma = function(
    "lgamma", math.lgamma, lambda y, x: P.digamma(x), 2.5, 20, "scipy.special.gammaln", flops=60, tolerance=32
)
digamma = function(
    "digamma", math.digamma, lambda y, x: P.polygamma(x, order=1), 2.5, 20, "scipy.special.digamma", flops=60,
    tolerance=32,
)  # fmt: skip
polygamma = elementwise(
    "polygamma", _polygamma_aval, _polygamma, flops=80,
    jvp=partials(lambda y, x: P.polygamma(x, order=y.params["order"] + 1)),
    domain=Domain(FLOATS, 1, 20, sample=_polygamma_samples, tolerance=64), oracle="oracle.elementwise.polygamma",
)  # fmt: skip

# the normal distribution, entropies and sinc
_ROOT_2_OVER_PI = _sqrt(2 / pi)
erfcx = function(
    "erfcx", normal.erfcx, lambda y, x: 2 * x * y - _TWO_OVER_ROOT_PI, -3, 9, "scipy.special.erfcx", flops=60
)
ndtr = function(
    "ndtr", normal.ndtr, lambda y, x: P.exp(x * x * -0.5) * (0.5 * _ROOT_2_OVER_PI), -4, 4, "scipy.special.ndtr",
    flops=60,
)  # fmt: skip
log_ndtr = function(
    "log_ndtr", normal.log_ndtr, lambda y, x: Over(P.erfcx(x * -_sqrt(0.5)) * _sqrt(pi / 2)), -9, 4,
    "scipy.special.log_ndtr", flops=90,
)  # fmt: skip
ndtri = function(
    "ndtri", normal.ndtri, lambda y, x: P.exp(y * y * 0.5) / (0.5 * _ROOT_2_OVER_PI), 0.05, 0.95,
    "scipy.special.ndtri", flops=120,
)  # fmt: skip
entr = function("entr", normal.entr, lambda y, x: -1 - P.log(x), 0.1, 5, "scipy.special.entr")
sinc = function("sinc", normal.sinc, lambda y, x: P.spherical_bessel(x * pi, order=1) * -pi, -3, 3, "numpy.sinc")


def _logarithm_of_other(name: str, lower: Callable[..., Expr], offset: int, low: float) -> Primitive:
    """x log(y + offset), which is 0 where x is 0; so are its derivatives where that logarithm is not finite."""

    def by_first(z: Node, x: Node, y: Node) -> Node:
        is_flat = P.bitwise_and(P.eq(x, 0), P.le(y, -offset))
        return where(is_flat, 0, P.log1p(y) if offset else P.log(y), y.dtype)

    return elementwise(
        name, binary_rule(FLOATS, name), lower, flops=20,
        jvp=partials(by_first, lambda z, x, y: x / (y + offset if offset else y)),
        domain=elementwise_domain(FLOATS, (-3, 3), (low, 5)), oracle=f"scipy.special.{name}",
    )  # fmt: skip


xlogy = _logarithm_of_other("xlogy", normal.xlogy, 0, 0.1)
xlog1py = _logarithm_of_other("xlog1py", normal.xlog1py, 1, -0.9)


# Bessel functions: those of order 1 are the derivatives of those of order 0


def _bessel(name: str, derivative: Callable[[Node, Node], Any], oracle: str, low: float = 0.2) -> Primitive:
    return function(name, getattr(bessel, name), derivative, low, 12, f"scipy.special.{oracle}", flops=100)


bessel_j0 = _bessel("bessel_j0", lambda y, x: -P.bessel_j1(x), "j0", -12)
bessel_j1 = _bessel("bessel_j1", lambda y, x: P.bessel_j0(x) - _over_x(y, x), "j1", -12)
bessel_y0 = _bessel("bessel_y0", lambda y, x: -P.bessel_y1(x), "y0")
bessel_y1 = _bessel("bessel_y1", lambda y, x: P.bessel_y0(x) - y / x, "y1")
modified_bessel_i0 = _bessel("modified_bessel_i0", lambda y, x: P.modified_bessel_i1(x), "i0", -5)
modified_bessel_i1 = _bessel("modified_bessel_i1", lambda y, x: P.modified_bessel_i0(x) - _over_x(y, x), "i1", -5)
modified_bessel_k0 = _bessel("modified_bessel_k0", lambda y, x: -P.modified_bessel_k1(x), "k0")
modified_bessel_k1 = _bessel("modified_bessel_k1", lambda y, x: -P.modified_bessel_k0(x) - y / x, "k1")
scaled_modified_bessel_i0 = _bessel(
    "scaled_modified_bessel_i0", lambda y, x: P.scaled_modified_bessel_i1(x) - P.sign(x) * y, "i0e", -12
)
scaled_modified_bessel_i1 = _bessel(
    "scaled_modified_bessel_i1",
    lambda y, x: P.scaled_modified_bessel_i0(x) - _over_x(y, x) - P.sign(x) * y, "i1e", -12,
)  # fmt: skip
scaled_modified_bessel_k0 = _bessel("scaled_modified_bessel_k0", lambda y, x: y - P.scaled_modified_bessel_k1(x), "k0e")
scaled_modified_bessel_k1 = _bessel(
    "scaled_modified_bessel_k1", lambda y, x: y - P.scaled_modified_bessel_k0(x) - y / x, "k1e"
)


def _airy_aval(x: Aval, *, derivative: int) -> Aval:
    check_dtype("airy_ai", x.dtype, FLOATS)
    return x


def _airy_slope(y: Node, x: Node) -> Node:
    """Ai'' = x Ai."""
    return x * P.airy_ai(x, derivative=0) if y.params["derivative"] else P.airy_ai(x, derivative=1)


def _airy_samples(random: Any, dtype: DType, size: int) -> Iterator[tuple[list[Any], dict[str, Any]]]:
    for derivative in (0, 1):
        yield [draw(random, dtype, (size,), -8, 5)], {"derivative": derivative}


airy_ai = elementwise(
    "airy_ai", _airy_aval, bessel.airy_ai, flops=150, jvp=partials(_airy_slope),
    domain=Domain(FLOATS, sample=_airy_samples), oracle="oracle.elementwise.airy_ai",
)  # fmt: skip


def _over_x(y: Node, x: Node) -> Node:
    """y / x of an odd function, whose slope at 0 is 1/2."""
    is_zero = P.eq(x, 0)
    return where(is_zero, 0.5, y / where(is_zero, 1, x, x.dtype), x.dtype)


def _spherical_bessel_aval(x: Aval, *, order: int) -> Aval:
    check_dtype("spherical_bessel", x.dtype, FLOATS)
    if not isinstance(order, int) or not 0 <= order <= 32:
        raise ArgumentError(message("spherical_bessel has an order", repr(order), "an integer from 0 to 32"))
    return x


def _spherical_bessel_slope(y: Node, x: Node) -> Node:
    """((2 n + 1) j_n)' = n j_(n-1) - (n + 1) j_(n+1), which is regular at 0."""
    n = y.params["order"]
    rising = P.spherical_bessel(x, order=n + 1) * (-(n + 1) / (2 * n + 1))
    return rising + P.spherical_bessel(x, order=n - 1) * (n / (2 * n + 1)) if n else rising


def _spherical_bessel_samples(random: Any, dtype: DType, size: int) -> Iterator[tuple[list[Any], dict[str, Any]]]:
    for order in (0, 1, 2, 4):
        yield [draw(random, dtype, (size,), -9, 9)], {"order": order}


spherical_bessel = elementwise(
    "spherical_bessel", _spherical_bessel_aval, bessel.spherical_bessel, jvp=partials(_spherical_bessel_slope),
    domain=Domain(FLOATS, sample=_spherical_bessel_samples), oracle="oracle.elementwise.spherical_bessel", flops=60,
)  # fmt: skip
