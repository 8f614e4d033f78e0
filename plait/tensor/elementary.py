"""Exponentials, logarithms, roots and trigonometry, each one row."""

from __future__ import annotations

from math import log as log_of, pi

from plait.core.graph import Node
from plait.core.primitive import P
from plait.tensor.families import pairwise, unary
from plait.tensor.operators import binary, scalar_node, to_float

__all__ = [
    "acos", "acosh", "arccos", "arccosh", "arcsin", "arcsinh", "arctan", "arctan2", "arctanh", "asin", "asinh",
    "atan", "atan2", "atanh", "cbrt", "cos", "cosh", "deg2rad", "degrees", "exp", "exp2", "expm1", "hypot", "log",
    "log10", "log1p", "log2", "logaddexp", "logaddexp2", "rad2deg", "radians", "rsqrt", "sin", "sinh", "sqrt",
    "tan", "tanh",
]  # fmt: skip


def _logaddexp(a: Node, b: Node) -> Node:
    if a.dtype.is_complex:
        is_first = P.ge(P.real(a), P.real(b))
        high, low = P.select(is_first, a, b), P.select(is_first, b, a)
        return high + P.log1p(P.exp(low - high))
    high = P.max(a, b)
    equal = P.eq(a, b)  # also both infinite: their difference is NaN
    gap = P.select(equal, scalar_node(0, a.dtype), P.abs(a - b))
    return high + P.log1p(P.exp(-gap))


def _logaddexp2(a: Node, b: Node) -> Node:
    high = P.max(a, b)
    gap = P.select(P.eq(a, b), scalar_node(0, a.dtype), P.abs(a - b))
    return high + P.log1p(P.exp2(-gap)) * scalar_node(1 / log_of(2), a.dtype)


# exponentials, logarithms and roots
exp = unary("exp", "exp", to_float, "Return e to the power x.", "[0.0, 1.0]", "[1.0000, 2.7183]")
exp2 = unary("exp2", "exp2", to_float, "Return 2 to the power x.", "[0.0, 3.0]", "[1., 8.]")
expm1 = unary(
    "expm1", "expm1", to_float, "Return exp(x) - 1, exact also for small x.", "[0.0, 1.0]", "[0.0000, 1.7183]",
)  # fmt: skip
log = unary("log", "log", to_float, "Return the natural logarithm.", "[1.0, 10.0]", "[0.0000, 2.3026]")
log2 = unary("log2", "log2", to_float, "Return the logarithm to base 2.", "[1.0, 8.0]", "[0., 3.]")
log10 = unary("log10", "log10", to_float, "Return the logarithm to base 10.", "[1.0, 100.0]", "[0., 2.]")
log1p = unary(
    "log1p", "log1p", to_float, "Return log(1 + x), exact also for small x.", "[0.0, 1.0]", "[0.0000, 0.6931]",
)  # fmt: skip
sqrt = unary("sqrt", "sqrt", to_float, "Return the square root.", "[4.0, 2.0]", "[2.0000, 1.4142]")
rsqrt = unary("rsqrt", "rsqrt", to_float, "Return 1 / sqrt(x).", "[4.0, 1.0]", "[0.5000, 1.0000]")
cbrt = unary("cbrt", "cbrt", to_float, "Return the cube root.", "[8.0, -27.0]", "[ 2., -3.]")
# trigonometry
sin = unary("sin", "sin", to_float, "Return the sine; x in radians.", "[0.0, 1.0]", "[0.0000, 0.8415]")
cos = unary("cos", "cos", to_float, "Return the cosine; x in radians.", "[0.0, 1.0]", "[1.0000, 0.5403]")
tan = unary("tan", "tan", to_float, "Return the tangent; x in radians.", "[0.0, 1.0]", "[0.0000, 1.5574]")
asin = arcsin = unary(
    "asin", "asin", to_float, "Return the inverse sine, in radians.", "[0.0, 1.0]", "[0.0000, 1.5708]",
)  # fmt: skip
acos = arccos = unary(
    "acos", "acos", to_float, "Return the inverse cosine, in radians.", "[0.0, 1.0]", "[1.5708, 0.0000]",
)  # fmt: skip
atan = arctan = unary(
    "atan", "atan", to_float, "Return the inverse tangent, in radians.", "[0.0, 1.0]", "[0.0000, 0.7854]",
)  # fmt: skip
sinh = unary("sinh", "sinh", to_float, "Return the hyperbolic sine.", "[0.0, 1.0]", "[0.0000, 1.1752]")
cosh = unary("cosh", "cosh", to_float, "Return the hyperbolic cosine.", "[0.0, 1.0]", "[1.0000, 1.5431]")
tanh = unary("tanh", "tanh", to_float, "Return the hyperbolic tangent.", "[0.0, 1.0]", "[0.0000, 0.7616]")
asinh = arcsinh = unary(
    "asinh", "asinh", to_float, "Return the inverse hyperbolic sine.", "[0.0, 1.0]", "[0.0000, 0.8814]",
)  # fmt: skip
acosh = arccosh = unary(
    "acosh", "acosh", to_float, "Return the inverse hyperbolic cosine.", "[1.0, 2.0]", "[0.0000, 1.3170]",
)  # fmt: skip
atanh = arctanh = unary(
    "atanh", "atanh", to_float, "Return the inverse hyperbolic tangent.", "[0.0, 0.5]", "[0.0000, 0.5493]",
)  # fmt: skip
atan2 = arctan2 = pairwise(
    "atan2", binary("atan2", "atan2", to_float),
    "Return the angle, in radians, of the point with ordinate `x` (the first argument) and abscissa `y`.",
    "[1.0, 0.0] ; 1.0", "[0.7854, 0.0000]",
)  # fmt: skip
hypot = pairwise(
    "hypot", binary("hypot", "hypot", to_float), "Return sqrt(x * x + y * y) without overflow.",
    "[3.0, 5.0] ; 4.0", "[5.0000, 6.4031]",
)  # fmt: skip
logaddexp = pairwise(
    "logaddexp", binary("logaddexp", _logaddexp, to_float), "Return log(exp(x) + exp(y)) without overflow.",
    "[0.0, 1000.0] ; 0.0", "[   0.6931, 1000.0000]",
)  # fmt: skip
deg2rad = radians = unary(
    "deg2rad", lambda x: x * scalar_node(pi / 180, x.dtype), to_float, "Convert degrees to radians.",
    "[0.0, 180.0]", "[0.0000, 3.1416]",
)  # fmt: skip
rad2deg = degrees = unary(
    "rad2deg", lambda x: x * scalar_node(180 / pi, x.dtype), to_float, "Convert radians to degrees.",
    "[0.0, 1.0]", "[ 0.0000, 57.2958]",
)  # fmt: skip
logaddexp2 = pairwise(
    "logaddexp2", binary("logaddexp2", _logaddexp2, to_float), "Return log2(2^x + 2^y) without overflow.",
    "[0.0, 1000.0] ; 0.0", "[   1., 1000.]",
)  # fmt: skip
