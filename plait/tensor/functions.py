"""Elementwise functions, each one row: name, primitive, rule of dtypes, summary, example."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial, wraps
from typing import Any

from plait.core.dtype import DType, bool_
from plait.core.errors import ArgumentError, message
from plait.core.graph import Node, record
from plait.core.primitive import PRIMITIVES, P
from plait.prims.rules import broadcast_to
from plait.tensor.operators import BINARY, assign, binary, promoted, scalar_node, single, to_float, to_integer
from plait.tensor.tensor import Tensor, converted, node_of, wrap

Rule = Callable[[DType], DType]
_ALIASES = (("dim", "axis"), ("keepdim", "keepdims"), ("dims", "axis"), ("input", "x"), ("other", "y"))
_DOCUMENT = """{summary}

Args:
{arguments}

Returns:
    A new tensor {returns}.

Raises:
    DTypeError: the dtype is not one that {name} takes.
    ArgumentTypeError: an argument is no tensor, array or number.
{more}
Example:
    >>> plait.{call}
    {result}
"""


def both_names(function: Callable[..., Any]) -> Callable[..., Any]:
    """Let `function` take PyTorch's names of arguments (dim, keepdim, input, other) for those of the standard.

    `out=`, a tensor or a tuple of tensors, is where the results are written to.
    """

    @wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        if not kwargs:
            return function(*args)
        for alias, name in _ALIASES:
            if alias in kwargs:
                kwargs[name] = kwargs.pop(alias)
        out = kwargs.pop("out", None)  # np.mean(x) and the like call x.mean(out=None)
        result = function(*args, **kwargs)
        if out is None:
            return result
        if isinstance(out, Tensor):
            return assign(out, result, function.__name__)
        for target, value in zip(out, result, strict=True):
            assign(target, value, function.__name__)
        return type(result)(*out) if hasattr(result, "_fields") else tuple(out)

    return call


def _document(function: Any, name: str, **parts: str) -> Any:
    function.__name__ = function.__qualname__ = name
    function.__module__ = __name__
    function.__doc__ = _DOCUMENT.format(name=name, **parts)
    return function


_BROADCAST = "    ShapeError: the shapes do not broadcast.\n"


def _kept(dtype: DType) -> DType:
    return dtype


def _unary(name: str, prim: str | Callable[[Node], Node], rule: Rule, summary: str, sample: str, result: str) -> Any:
    function = partial(record, PRIMITIVES[prim]) if isinstance(prim, str) else lambda inputs: prim(inputs[0])

    def apply(x: Any) -> Tensor:
        node = node_of(x) if isinstance(x, Tensor) else single(x, name)
        return wrap(function((converted(node, rule(node.aval.dtype)),)))

    argument = "    x: a tensor of any shape"
    argument += "; integers and bools are converted to float32." if rule is to_float else "."
    return _document(
        apply, name, summary=summary, arguments=argument, returns="of the shape of `x`",
        more="", call=f"{name}(plait.tensor({sample}))", result=f"tensor({result})",
    )  # fmt: skip


def _binary(name: str, apply: Callable[[Any, Any], Tensor], summary: str, sample: str, result: str) -> Any:
    @both_names
    def function(x: Any, y: Any) -> Tensor:
        return apply(x, y)

    first, second = sample.split(" ; ")
    return _document(
        function, name, summary=summary, more=_BROADCAST,
        arguments="    x: a tensor or a number.\n    y: a tensor or a number, of a shape that broadcasts with `x`.",
        returns="of the broadcast shape, in the promoted dtype where it is not bool",
        call=f"{name}(plait.tensor({first}), {second})", result=f"tensor({result})",
    )  # fmt: skip


def _if_float(prim: str) -> Callable[[Node], Node]:
    """Apply `prim` to floats and leave integers as they are."""
    return lambda x: getattr(P, prim)(x) if x.dtype.is_inexact else x


def _constant(value: Any) -> Callable[[Node], Node]:
    return lambda x: broadcast_to(scalar_node(value, bool_), x.shape)


def _is_nan(x: Node) -> Node:
    return P.ne(x, x) if x.dtype.is_inexact else _constant(False)(x)


def _is_infinite(x: Node) -> Node:
    if not x.dtype.is_inexact:
        return _constant(False)(x)
    if x.dtype.is_complex:
        return P.bitwise_or(_is_infinite(P.real(x)), _is_infinite(P.imag(x)))
    return P.eq(P.abs(x), scalar_node(float("inf"), x.dtype))


def _to_bool(x: Node) -> Node:
    return x if x.dtype is bool_ else P.ne(x, scalar_node(0, x.dtype))


def _signbit(x: Node) -> Node:
    one = scalar_node(1, x.dtype)
    signed = P.copysign(one, x) if x.dtype.is_floating else x
    return P.lt(signed, scalar_node(0, x.dtype))


# arithmetic and rounding
abs = absolute = _unary("abs", "abs", _kept, "Return the absolute value.", "[-1.5, 2.0]", "[1.5000, 2.0000]")
negative = neg = _unary("negative", "neg", _kept, "Return the negated elements.", "[1, -2]", "[-1,  2]")
positive = _unary("positive", lambda x: x, _kept, "Return the elements unchanged.", "[1, -2]", "[ 1, -2]")
sign = _unary(
    "sign", "sign", _kept, "Return -1, 0 or 1 by the sign (z / |z| for complex numbers).",
    "[-3.0, 0.0, 2.0]", "[-1.,  0.,  1.]",
)  # fmt: skip
floor = _unary(
    "floor", _if_float("floor"), _kept, "Round down; integers are unchanged.", "[1.7, -1.2]", "[ 1., -2.]",
)  # fmt: skip
ceil = _unary(
    "ceil", _if_float("ceil"), _kept, "Round up; integers are unchanged.", "[1.2, -1.7]", "[ 2., -1.]",
)  # fmt: skip
trunc = fix = _unary(
    "trunc", _if_float("trunc"), _kept, "Round towards zero; integers are unchanged.", "[1.7, -1.7]", "[ 1., -1.]",
)  # fmt: skip
square = _unary("square", lambda x: P.mul(x, x), to_integer, "Return x * x.", "[1.0, -3.0]", "[1., 9.]")
reciprocal = _unary(
    "reciprocal", lambda x: P.div(scalar_node(1, x.dtype), x), to_float, "Return 1 / x.",
    "[2.0, -4.0]", "[ 0.5000, -0.2500]",
)  # fmt: skip
# exponentials, logarithms and roots
exp = _unary("exp", "exp", to_float, "Return e to the power x.", "[0.0, 1.0]", "[1.0000, 2.7183]")
exp2 = _unary("exp2", "exp2", to_float, "Return 2 to the power x.", "[0.0, 3.0]", "[1., 8.]")
expm1 = _unary(
    "expm1", "expm1", to_float, "Return exp(x) - 1, exact also for small x.", "[0.0, 1.0]", "[0.0000, 1.7183]",
)  # fmt: skip
log = _unary("log", "log", to_float, "Return the natural logarithm.", "[1.0, 10.0]", "[0.0000, 2.3026]")
log2 = _unary("log2", "log2", to_float, "Return the logarithm to base 2.", "[1.0, 8.0]", "[0., 3.]")
log10 = _unary("log10", "log10", to_float, "Return the logarithm to base 10.", "[1.0, 100.0]", "[0., 2.]")
log1p = _unary(
    "log1p", "log1p", to_float, "Return log(1 + x), exact also for small x.", "[0.0, 1.0]", "[0.0000, 0.6931]",
)  # fmt: skip
sqrt = _unary("sqrt", "sqrt", to_float, "Return the square root.", "[4.0, 2.0]", "[2.0000, 1.4142]")
rsqrt = _unary("rsqrt", "rsqrt", to_float, "Return 1 / sqrt(x).", "[4.0, 1.0]", "[0.5000, 1.0000]")
cbrt = _unary("cbrt", "cbrt", to_float, "Return the cube root.", "[8.0, -27.0]", "[ 2., -3.]")
# trigonometry
sin = _unary("sin", "sin", to_float, "Return the sine; x in radians.", "[0.0, 1.0]", "[0.0000, 0.8415]")
cos = _unary("cos", "cos", to_float, "Return the cosine; x in radians.", "[0.0, 1.0]", "[1.0000, 0.5403]")
tan = _unary("tan", "tan", to_float, "Return the tangent; x in radians.", "[0.0, 1.0]", "[0.0000, 1.5574]")
asin = arcsin = _unary(
    "asin", "asin", to_float, "Return the inverse sine, in radians.", "[0.0, 1.0]", "[0.0000, 1.5708]",
)  # fmt: skip
acos = arccos = _unary(
    "acos", "acos", to_float, "Return the inverse cosine, in radians.", "[0.0, 1.0]", "[1.5708, 0.0000]",
)  # fmt: skip
atan = arctan = _unary(
    "atan", "atan", to_float, "Return the inverse tangent, in radians.", "[0.0, 1.0]", "[0.0000, 0.7854]",
)  # fmt: skip
sinh = _unary("sinh", "sinh", to_float, "Return the hyperbolic sine.", "[0.0, 1.0]", "[0.0000, 1.1752]")
cosh = _unary("cosh", "cosh", to_float, "Return the hyperbolic cosine.", "[0.0, 1.0]", "[1.0000, 1.5431]")
tanh = _unary("tanh", "tanh", to_float, "Return the hyperbolic tangent.", "[0.0, 1.0]", "[0.0000, 0.7616]")
asinh = arcsinh = _unary(
    "asinh", "asinh", to_float, "Return the inverse hyperbolic sine.", "[0.0, 1.0]", "[0.0000, 0.8814]",
)  # fmt: skip
acosh = arccosh = _unary(
    "acosh", "acosh", to_float, "Return the inverse hyperbolic cosine.", "[1.0, 2.0]", "[0.0000, 1.3170]",
)  # fmt: skip
atanh = arctanh = _unary(
    "atanh", "atanh", to_float, "Return the inverse hyperbolic tangent.", "[0.0, 0.5]", "[0.0000, 0.5493]",
)  # fmt: skip
# special functions
erf = _unary("erf", "erf", to_float, "Return the error function.", "[0.0, 1.0]", "[0.0000, 0.8427]")
erfc = _unary(
    "erfc", "erfc", to_float, "Return the complementary error function.", "[0.0, 1.0]", "[1.0000, 0.1573]",
)  # fmt: skip
erfinv = _unary(
    "erfinv", "erfinv", to_float, "Return the inverse error function.", "[0.0, 0.5]", "[0.0000, 0.4769]",
)  # fmt: skip
lgamma = _unary("lgamma", "lgamma", to_float, "Return log |gamma(x)|.", "[1.0, 4.0]", "[0.0000, 1.7918]")
digamma = _unary(
    "digamma", "digamma", to_float, "Return the derivative of log gamma(x).", "[1.0, 2.0]", "[-0.5772,  0.4228]",
)  # fmt: skip
# bits, tests and parts
bitwise_not = bitwise_invert = _unary(
    "bitwise_not", "bitwise_not", _kept, "Invert every bit; for bools, logical not.", "[0, 5]", "[-1, -6]",
)  # fmt: skip
logical_not = _unary(
    "logical_not", lambda x: P.bitwise_not(_to_bool(x)), _kept, "Return whether each element is zero.",
    "[0, 5]", "[ True, False]",
)  # fmt: skip
isnan = _unary(
    "isnan", _is_nan, _kept, "Return whether each element is NaN.", "[1.0, float('nan')]", "[False,  True]",
)  # fmt: skip
isinf = _unary(
    "isinf", _is_infinite, _kept, "Return whether each element is infinite.", "[1.0, float('inf')]", "[False,  True]",
)  # fmt: skip
isfinite = _unary(
    "isfinite", lambda x: P.is_finite(x) if x.dtype.is_inexact else _constant(True)(x), _kept,
    "Return whether each element is finite.",
    "[1.0, float('inf')]", "[ True, False]",
)  # fmt: skip
signbit = _unary(
    "signbit", _signbit, _kept, "Return whether the sign is negative, also of -0.0.", "[-0.0, 2.0]", "[ True, False]",
)  # fmt: skip
conj = _unary(
    "conj", lambda x: P.conj(x) if x.dtype.is_complex else x, _kept,
    "Return the complex conjugate.", "[1.0 + 2.0j]", "[1.-2.j]",
)  # fmt: skip
# activations
sigmoid = _unary("sigmoid", "logistic", to_float, "Return 1 / (1 + exp(-x)).", "[0.0, 2.0]", "[0.5000, 0.8808]")
relu = _unary(
    "relu", lambda x: P.select(P.le(x, scalar_node(0, x.dtype)), scalar_node(0, x.dtype), x), to_integer,
    "Return max(x, 0); its derivative at 0 is 0.",
    "[-1.0, 2.0]", "[0., 2.]",
)  # fmt: skip
silu = swish = _unary(
    "silu", lambda x: x * P.logistic(x), to_float, "Return x * sigmoid(x) (Hendrycks and Gimpel, 2016).",
    "[0.0, 1.0]", "[0.0000, 0.7311]",
)  # fmt: skip
log_sigmoid = logsigmoid = _unary(
    "log_sigmoid", lambda x: -_softplus(-x), to_float, "Return log(sigmoid(x)), also where sigmoid(x) underflows.",
    "[0.0, -100.0]", "[  -0.6931, -100.0000]",
)  # fmt: skip


def _softplus(x: Node) -> Node:
    zero = scalar_node(0, x.dtype)
    return P.select(P.gt(x, zero), x, zero) + P.log1p(P.exp(-P.abs(x)))


def _logaddexp(a: Node, b: Node) -> Node:
    high = P.max(a, b)
    equal = P.eq(a, b)  # also both infinite: their difference is NaN
    gap = P.select(equal, scalar_node(0, a.dtype), P.abs(a - b))
    return high + P.log1p(P.exp(-gap))


def _logical(prim: str) -> Callable[[Any, Any], Tensor]:
    def apply(x: Any, y: Any) -> Tensor:
        return wrap(getattr(P, prim)(_to_bool(single(x, prim)), _to_bool(single(y, prim))))

    return apply


def _hypot(a: Node, b: Node) -> Node:
    a, b = P.abs(a), P.abs(b)
    high, low = P.max(a, b), P.min(a, b)
    ratio = low / P.select(P.eq(high, scalar_node(0, a.dtype)), scalar_node(1, a.dtype), high)
    infinity = scalar_node(float("inf"), a.dtype)
    is_infinite = P.bitwise_or(P.eq(a, infinity), P.eq(b, infinity))
    return P.select(is_infinite, infinity, high * P.sqrt(scalar_node(1, a.dtype) + ratio * ratio))


add = _binary("add", BINARY["add"], "Return x + y.", "[1, 2] ; 10", "[11, 12]")
subtract = sub = _binary("subtract", BINARY["subtract"], "Return x - y.", "[1, 2] ; 10", "[-9, -8]")
multiply = mul = _binary("multiply", BINARY["multiply"], "Return x * y.", "[1, 2] ; 10", "[10, 20]")
divide = div = true_divide = _binary(
    "divide", BINARY["divide"], "Return x / y; integers are divided as float32.", "[1, 2] ; 4", "[0.2500, 0.5000]",
)  # fmt: skip
floor_divide = _binary(
    "floor_divide", BINARY["floor_divide"], "Return floor(x / y).", "[7, -7] ; 2", "[ 3, -4]",
)  # fmt: skip
remainder = mod = _binary(
    "remainder", BINARY["remainder"], "Return x - y * floor(x / y): it has the sign of y.", "[7, -7] ; 4", "[3, 1]",
)  # fmt: skip
fmod = _binary(
    "fmod", binary("fmod", "rem", to_integer), "Return x - y * trunc(x / y): it has the sign of x.",
    "[7, -7] ; 4", "[ 3, -3]",
)  # fmt: skip
pow = _binary("pow", BINARY["pow"], "Return x to the power y.", "[2.0, 3.0] ; 2", "[4., 9.]")
maximum = _binary(
    "maximum", binary("maximum", "max"), "Return the larger operand; NaN if either is.", "[1, 5] ; 3", "[3, 5]",
)  # fmt: skip
minimum = _binary(
    "minimum", binary("minimum", "min"), "Return the smaller operand; NaN if either is.", "[1, 5] ; 3", "[1, 3]",
)  # fmt: skip
atan2 = arctan2 = _binary(
    "atan2", binary("atan2", "atan2", to_float),
    "Return the angle, in radians, of the point with ordinate `x` (the first argument) and abscissa `y`.",
    "[1.0, 0.0] ; 1.0", "[0.7854, 0.0000]",
)  # fmt: skip
hypot = _binary(
    "hypot", binary("hypot", _hypot, to_float), "Return sqrt(x * x + y * y) without overflow.",
    "[3.0, 5.0] ; 4.0", "[5.0000, 6.4031]",
)  # fmt: skip
logaddexp = _binary(
    "logaddexp", binary("logaddexp", _logaddexp, to_float), "Return log(exp(x) + exp(y)) without overflow.",
    "[0.0, 1000.0] ; 0.0", "[   0.6931, 1000.0000]",
)  # fmt: skip
copysign = _binary(
    "copysign", binary("copysign", "copysign", to_float), "Return |x| with the sign of y.",
    "[1.0, 2.0] ; -1.0", "[-1., -2.]",
)  # fmt: skip
nextafter = _binary(
    "nextafter", binary("nextafter", "nextafter", to_float), "Return the float after x towards y.",
    "[1.0] ; 2.0", "[1.0000]",
)  # fmt: skip
equal = eq = _binary("equal", BINARY["equal"], "Return x == y.", "[1, 2] ; 2", "[False,  True]")
not_equal = ne = _binary("not_equal", BINARY["not_equal"], "Return x != y.", "[1, 2] ; 2", "[ True, False]")
less = lt = _binary("less", BINARY["less"], "Return x < y.", "[1, 2] ; 2", "[ True, False]")
less_equal = le = _binary("less_equal", BINARY["less_equal"], "Return x <= y.", "[1, 3] ; 2", "[ True, False]")
greater = gt = _binary("greater", BINARY["greater"], "Return x > y.", "[1, 3] ; 2", "[False,  True]")
greater_equal = ge = _binary(
    "greater_equal", BINARY["greater_equal"], "Return x >= y.", "[1, 2] ; 2", "[False,  True]",
)  # fmt: skip
bitwise_and = _binary(
    "bitwise_and", BINARY["bitwise_and"], "Return the bits set in both.", "[5, 6] ; 3", "[1, 2]",
)  # fmt: skip
bitwise_or = _binary(
    "bitwise_or", BINARY["bitwise_or"], "Return the bits set in either.", "[5, 6] ; 3", "[7, 7]",
)  # fmt: skip
bitwise_xor = _binary(
    "bitwise_xor", BINARY["bitwise_xor"], "Return the bits set in exactly one.", "[5, 6] ; 3", "[6, 5]",
)  # fmt: skip
bitwise_left_shift = _binary(
    "bitwise_left_shift", BINARY["bitwise_left_shift"], "Return x shifted left by y bits.", "[1, 2] ; 3", "[ 8, 16]",
)  # fmt: skip
bitwise_right_shift = _binary(
    "bitwise_right_shift", BINARY["bitwise_right_shift"], "Return x shifted right by y bits, keeping its sign.",
    "[8, -8] ; 2", "[ 2, -2]",
)  # fmt: skip
logical_and = _binary(
    "logical_and", _logical("bitwise_and"), "Return whether both are non-zero.", "[0, 2] ; 1", "[False,  True]",
)  # fmt: skip
logical_or = _binary(
    "logical_or", _logical("bitwise_or"), "Return whether either is non-zero.", "[0, 2] ; 0", "[False,  True]",
)  # fmt: skip
logical_xor = _binary(
    "logical_xor", _logical("bitwise_xor"), "Return whether exactly one is non-zero.", "[0, 2] ; 1", "[ True, False]",
)  # fmt: skip


@both_names
def round(x: Any, decimals: int = 0) -> Tensor:
    """Round to `decimals` places, halves to even; integers are unchanged.

    Args:
        x: a tensor of any shape.
        decimals: number of decimal places.

    Returns:
        A tensor of the shape and dtype of `x`.

    Example:
        >>> plait.round(plait.tensor([0.5, 1.5, 2.6]))
        tensor([0., 2., 3.])
    """
    node = single(x, "round")
    if not node.dtype.is_inexact:
        return wrap(node)
    if not decimals:
        return wrap(P.round(node))
    scale = scalar_node(10.0**decimals, node.dtype)
    return wrap(P.round(node * scale) / scale)


@both_names
def where(condition: Any, x: Any = None, y: Any = None) -> Tensor:
    """Return elements of `x` where `condition` holds, of `y` elsewhere.

    Both branches are evaluated. Where the unused one has an infinite derivative, its gradient is NaN (0 * inf):
    make its argument harmless first, e.g. `where(a > 0, sqrt(where(a > 0, a, 1)), 0)`.

    Args:
        condition: a bool tensor; other dtypes are compared with zero.
        x: a tensor or a number.
        y: a tensor or a number.

    Returns:
        A tensor of the broadcast shape of all three and the promoted dtype of `x` and `y`.

    Raises:
        ShapeError: the shapes do not broadcast.
        ArgumentError: only one of `x` and `y` was given.

    Example:
        >>> plait.where(plait.tensor([True, False]), 1, plait.tensor([5, 6]))
        tensor([1, 6])
    """
    if x is None or y is None:
        text = "where takes a condition and two branches"
        raise ArgumentError(message(text, "one branch missing", fix="for the positions use plait.nonzero(condition)"))
    a, b = promoted((x, y), "where")
    test = _to_bool(single(condition, "where"))
    result = P.select(test, a, b)
    return wrap(result)


def limits_of(dtype: DType) -> tuple[Any, Any]:
    """Return the smallest and largest value of `dtype`: infinities for floats."""
    if dtype.is_floating:
        return -float("inf"), float("inf")
    bits = dtype.bits - (dtype.kind == "i")
    return (-(1 << bits) if dtype.kind == "i" else 0), (1 << bits) - 1


@both_names
def clamp(x: Any, min: Any = None, max: Any = None) -> Tensor:
    """Limit the elements to the range from `min` to `max`.

    Args:
        x: a tensor.
        min: lower limit, a tensor or a number; None for none.
        max: upper limit, a tensor or a number; None for none.

    Returns:
        A tensor of the broadcast shape and promoted dtype.

    Raises:
        ArgumentError: neither limit was given.

    Example:
        >>> plait.clamp(plait.tensor([-2, 0, 7]), 0, 5)
        tensor([0, 0, 5])
    """
    given = [v for v in (min, max) if v is not None]
    if not given:
        raise ArgumentError(message("clamp needs a limit", "min=None, max=None", "min, max or both"))
    node, *limits = promoted((x, *given), "clamp")
    lowest, highest = limits_of(node.dtype)
    low = limits[0] if min is not None else scalar_node(lowest, node.dtype)
    high = limits[-1] if max is not None else scalar_node(highest, node.dtype)
    return wrap(P.clamp(node, low, high))


clip = clamp


@both_names
def lerp(x: Any, end: Any, weight: Any) -> Tensor:
    """Interpolate linearly: `x + weight * (end - x)`.

    Args:
        x: values at weight 0.
        end: values at weight 1.
        weight: a tensor or a number.

    Returns:
        A tensor of the broadcast shape, in floating point.

    Example:
        >>> plait.lerp(plait.tensor([0.0, 10.0]), plait.tensor([10.0, 20.0]), 0.25)
        tensor([ 2.5000, 12.5000])
    """
    a, b, w = promoted((x, end, weight), "lerp", to_float)
    return wrap(a + w * (b - a))


@both_names
def gelu(x: Any, approximate: str = "none") -> Tensor:
    """Return x * Phi(x), Phi being the normal distribution function (Hendrycks and Gimpel, 2016).

    Args:
        x: a tensor.
        approximate: "none", or "tanh" for the approximation by tanh.

    Returns:
        A tensor of the shape of `x`.

    Raises:
        ArgumentError: another `approximate`.

    Example:
        >>> plait.gelu(plait.tensor([0.0, 1.0]))
        tensor([0.0000, 0.8413])
    """
    node = single(x, "gelu")
    node = converted(node, to_float(node.dtype))

    def number(value: float) -> Node:
        return scalar_node(value, node.dtype)

    if approximate == "none":
        return wrap(number(0.5) * node * (number(1.0) + P.erf(node * number(0.5**0.5))))
    if approximate == "tanh":
        inner = number(0.7978845608028654) * (node + number(0.044715) * node * node * node)
        return wrap(number(0.5) * node * (number(1.0) + P.tanh(inner)))
    raise ArgumentError(message("Unknown approximation of gelu", repr(approximate), '"none" or "tanh"'))


@both_names
def softplus(x: Any, beta: float = 1.0, threshold: float = 20.0) -> Tensor:
    """Return log(1 + exp(beta * x)) / beta, without overflow.

    Args:
        x: a tensor.
        beta: sharpness.
        threshold: where beta * x is larger, the result is `x` itself, as in PyTorch.

    Returns:
        A tensor of the shape of `x`.

    Example:
        >>> plait.softplus(plait.tensor([0.0, 100.0]))
        tensor([  0.6931, 100.0000])
    """
    node = single(x, "softplus")
    node = converted(node, to_float(node.dtype))
    scale = scalar_node(beta, node.dtype)
    is_linear = P.gt(node * scale, scalar_node(threshold, node.dtype))
    return wrap(P.select(is_linear, node, _softplus(node * scale) / scale))


@both_names
def leaky_relu(x: Any, negative_slope: float = 0.01) -> Tensor:
    """Return x where it is positive, negative_slope * x elsewhere.

    Args:
        x: a tensor.
        negative_slope: factor of negative elements.

    Returns:
        A tensor of the shape of `x`.

    Example:
        >>> plait.leaky_relu(plait.tensor([-1.0, 2.0]), 0.1)
        tensor([-0.1000,  2.0000])
    """
    node = single(x, "leaky_relu")
    node = converted(node, to_float(node.dtype))
    is_positive = P.gt(node, scalar_node(0, node.dtype))
    return wrap(P.select(is_positive, node, node * scalar_node(negative_slope, node.dtype)))


@both_names
def elu(x: Any, alpha: float = 1.0) -> Tensor:
    """Return x where it is positive, alpha * (exp(x) - 1) elsewhere (Clevert et al., 2015).

    Args:
        x: a tensor.
        alpha: minus the limit at minus infinity.

    Returns:
        A tensor of the shape of `x`.

    Example:
        >>> plait.elu(plait.tensor([-1.0, 2.0]))
        tensor([-0.6321,  2.0000])
    """
    node = single(x, "elu")
    node = converted(node, to_float(node.dtype))
    zero = scalar_node(0, node.dtype)
    is_positive = P.gt(node, zero)
    # the inner select keeps exp, and its derivative, finite where the other branch is taken
    negative_part = P.expm1(P.select(is_positive, zero, node)) * scalar_node(alpha, node.dtype)
    return wrap(P.select(is_positive, node, negative_part))
