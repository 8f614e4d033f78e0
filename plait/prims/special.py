"""Elementwise functions of one number: powers, logarithms, trigonometry and the error and gamma families."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import log as _log
from math import pi
from math import sqrt as _sqrt
from typing import Any

from plait.core.dtype import COMPLEXES, FLOATS, DType
from plait.core.graph import Node
from plait.core.primitive import P, Primitive, Waived
from plait.ir import complex as complex_math
from plait.ir import math
from plait.ir.loop import Expr, const, unary
from plait.ir.loop import select as choose
from plait.prims.rules import Over, either, elementwise, elementwise_domain, partials, unary_rule

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
        name, unary_rule(dtypes, name), lower, jvp=derivative if isinstance(derivative, Waived) else partials(derivative),
        domain=elementwise_domain(dtypes, (low, high), tolerance=tolerance), oracle=oracle, flops=flops,
    )  # fmt: skip


def analytic(name: str, derivative: Callable[[Node, Node], Any], low: float, high: float, oracle: str) -> Primitive:
    """Define a function of real and complex operands that ir/math.py and ir/complex.py hold under its name."""
    lower = either(getattr(math, name), getattr(complex_math, name))
    return function(name, lower, derivative, low, high, oracle, dtypes=INEXACT)


# powers and logarithms
exp = analytic("exp", lambda y, x: y, -3, 3, "numpy.exp")
exp2 = function("exp2", math.exp2, lambda y, x: y * _log(2), -3, 3, "numpy.exp2")
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
erf = function("erf", math.erf, lambda y, x: _TWO_OVER_ROOT_PI * P.exp(-x * x), -3, 3, "scipy.special.erf")
erfc = function("erfc", math.erfc, lambda y, x: -_TWO_OVER_ROOT_PI * P.exp(-x * x), -3, 3, "scipy.special.erfc")
erfinv = function(
    "erfinv", math.erfinv, lambda y, x: P.exp(y * y) / _TWO_OVER_ROOT_PI, -0.9, 0.9, "scipy.special.erfinv"
)

# the gamma family
_TRIGAMMA_SHIFT = 12
_BERNOULLI = (1 / 6, -1 / 30, 1 / 42, -1 / 30, 5 / 66, -691 / 2730, 7 / 6)


def _trigamma(x: Expr) -> Expr:
    """Recurrence up to x + 12, then the asymptotic series (Abramowitz and Stegun 6.4.6, 6.4.7, 6.4.12)."""
    one = const(1, x.dtype)
    is_left = x < 0.5
    right = choose(is_left, 1 - x, x)
    total = const(0, x.dtype)
    for k in range(_TRIGAMMA_SHIFT):
        inverse = one / (right + float(k))
        total = total + inverse * inverse
    z = one / (right + float(_TRIGAMMA_SHIFT))
    square = z * z
    series = const(0, x.dtype)
    for coefficient in reversed(_BERNOULLI):
        series = (series + coefficient) * square
    total = total + z * (z * 0.5 + 1 + series)
    reflection = one * pi / math.sin((x - unary("rint", x)) * pi)
    return choose(is_left, reflection * reflection - total, total)


lgamma = function(
    "lgamma", math.lgamma, lambda y, x: P.digamma(x), 2.5, 20, "scipy.special.gammaln", flops=60, tolerance=32
)
digamma = function(
    "digamma", math.digamma, lambda y, x: P.trigamma(x), 2.5, 20, "scipy.special.digamma", flops=60, tolerance=32
)
trigamma = function(
    "trigamma", _trigamma, Waived("trigamma is there for the derivative of digamma; it has none itself"),
    0.5, 20, "oracle.elementwise.trigamma", flops=80, tolerance=32,
)  # fmt: skip
