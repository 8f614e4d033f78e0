"""Elementwise functions of one number: powers, logarithms, trigonometry and the error and gamma families."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from math import factorial, log as _log, pi, sqrt as _sqrt
from typing import Any

from plait.core.aval import Aval
from plait.core.dtype import COMPLEXES, FLOATS, DType, bool_
from plait.core.errors import ArgumentError, message
from plait.core.graph import Node
from plait.core.primitive import Domain, P, Primitive, Waived
from plait.ir import complex as complex_math, math
from plait.ir.loop import Expr, const, select as choose, unary
from plait.prims.rules import Over, check_dtype, draw, either, elementwise, elementwise_domain, partials, unary_rule

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
_SHIFT = 12
_BERNOULLI = (1 / 6, -1 / 30, 1 / 42, -1 / 30, 5 / 66, -691 / 2730, 7 / 6)


def _polygamma_aval(x: Aval, *, order: int) -> Aval:
    check_dtype("polygamma", x.dtype, FLOATS)
    if not isinstance(order, int) or not 1 <= order <= 16:
        fix = "use digamma for order 0"
        raise ArgumentError(message("polygamma has an order", repr(order), "an integer from 1 to 16", fix))
    return x


def _polygamma(x: Expr, *, order: int) -> Expr:
    """Recurrence up to x + 12, then the asymptotic series (Abramowitz and Stegun 6.4.6, 6.4.7, 6.4.11).

    Order 1 is reflected at negative x; higher orders hold down to -10 and are NaN below.
    """
    one, power = const(1, x.dtype), order + 1
    is_left = x < 0.5 if order == 1 else const(False, bool_)
    right = choose(is_left, 1 - x, x)
    total = const(0, x.dtype)
    for k in range(_SHIFT):
        total = total + _power(one / (right + float(k)), power)
    z = one / (right + float(_SHIFT))
    square, series = z * z, const(0, x.dtype)
    terms = []
    for j, bernoulli in enumerate(_BERNOULLI, 1):  # B_2j (s)_(2j-1) / (2j)! for s = order + 1
        factor = factorial(order + 2 * j - 1) / (factorial(order) * factorial(2 * j))
        terms.append(bernoulli * factor)
    for coefficient in reversed(terms):
        series = (series + coefficient) * square
    total = total + _power(z, order) * (z * 0.5 + 1.0 / order + series)
    if order == 1:
        reflection = one * pi / math.sin((x - unary("rint", x)) * pi)
        return choose(is_left, reflection * reflection - total, total)
    scale = float(factorial(order)) * (-1.0 if order % 2 == 0 else 1.0)
    return choose(x < -10.0, const(float("nan"), x.dtype), total * scale)


def _power(x: Expr, exponent: int) -> Expr:
    result = x
    for _ in range(exponent - 1):
        result = result * x
    return result


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
