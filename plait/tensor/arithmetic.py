"""Arithmetic, rounding and extremes of elements, each one row: name, primitive, rule of dtypes, summary, example."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from plait.core.dtype import bool_, int64
from plait.core.errors import ArgumentError, message
from plait.core.primitive import P
from plait.tensor.families import BROADCAST, both_names, document, if_float, kept, pairwise, unary
from plait.tensor.operators import BINARY, binary, promoted, scalar_node, single, to_float, to_integer
from plait.tensor.tensor import Tensor, wrap

__all__ = [
    "abs", "absolute", "add", "ceil", "div", "divide", "fabs", "fix", "floor", "floor_divide", "fmod", "frac",
    "mod", "mul", "multiply", "neg", "negative", "positive", "pow", "reciprocal", "remainder", "rint", "round",
    "rsub", "sgn", "sign", "square", "sub", "subtract", "true_divide", "trunc",
]  # fmt: skip


_PAIR = "    x: a tensor or a number.\n    y: a tensor or a number, of a shape that broadcasts with `x`.\n"


def _scaled(name: str, general: Callable[[Any, Any], Tensor], summary: str, result: str) -> Any:
    """Make the function that adds to, or subtracts from, one operand a multiple of the other."""

    @both_names
    def function(x: Any, y: Any, *, alpha: Any = 1) -> Tensor:
        if alpha == 1:
            return general(x, y)
        a, b = promoted((x, y), name)
        if not a.dtype.is_inexact and isinstance(alpha, float):
            received, fix = f"{a.dtype.name} and alpha={alpha}", "convert with .to(plait.float32)"
            raise ArgumentError(message(f"{name} of integers takes a whole alpha", received, "an integer", fix))
        return general(wrap(a), multiply(wrap(b), wrap(scalar_node(alpha, b.dtype))))

    return document(
        function, name, summary=summary, more=BROADCAST, arguments=_PAIR + "    alpha: number that scales `y`.",
        returns="of the broadcast shape, in the promoted dtype", call=f"{name}(plait.tensor([1, 2]), 10)",
        result=f"tensor({result})",
    )  # fmt: skip


_DIVISIONS = {
    None: BINARY["divide"],
    "trunc": binary("divide", lambda a, b: P.trunc(a / b) if a.dtype.is_inexact else a / b, to_integer),
    "floor": BINARY["floor_divide"],
}


@both_names
def divide(x: Any, y: Any, *, rounding_mode: str | None = None) -> Tensor:
    """Return x / y.

    Args:
        x: a tensor or a number.
        y: a tensor or a number, of a shape that broadcasts with `x`.
        rounding_mode: None; "trunc" to round the quotient towards zero, "floor" to round it down.

    Returns:
        A new tensor of the broadcast shape; integers are divided as float32, unless the quotient is rounded.

    Raises:
        ArgumentError: another `rounding_mode`.
        ShapeError: the shapes do not broadcast.

    Example:
        >>> plait.divide(plait.tensor([1, -7]), 4)
        tensor([ 0.2500, -1.7500])
        >>> plait.divide(plait.tensor([1, -7]), 4, rounding_mode="floor")
        tensor([ 0, -2])
    """
    if rounding_mode not in _DIVISIONS:
        raise ArgumentError(message("divide rounds in no such way", repr(rounding_mode), 'None, "trunc" or "floor"'))
    return _DIVISIONS[rounding_mode](x, y)


div = true_divide = divide
# arithmetic and rounding
add = _scaled("add", BINARY["add"], "Return x + alpha * y.", "[11, 12]")
subtract = sub = _scaled("subtract", BINARY["subtract"], "Return x - alpha * y.", "[-9, -8]")


@both_names
def rsub(x: Any, y: Any, *, alpha: Any = 1) -> Tensor:
    """Return y - alpha * x.

    Args:
        x: a tensor or a number.
        y: a tensor or a number, of a shape that broadcasts with `x`.
        alpha: number that scales `x`.

    Returns:
        A new tensor of the broadcast shape, in the promoted dtype.

    Example:
        >>> plait.rsub(plait.tensor([1, 2]), 10)
        tensor([9, 8])
    """
    return subtract(y, x, alpha=alpha)


abs = absolute = unary("abs", "abs", kept, "Return the absolute value.", "[-1.5, 2.0]", "[1.5000, 2.0000]")
fabs = unary("fabs", "abs", to_float, "Return the absolute value as a float.", "[-1, 2]", "[1., 2.]")
negative = neg = unary("negative", "neg", kept, "Return the negated elements.", "[1, -2]", "[-1,  2]")
positive = unary("positive", lambda x: x, kept, "Return the elements unchanged.", "[1, -2]", "[ 1, -2]")
sign = sgn = unary(
    "sign", lambda x: x if x.dtype is bool_ else P.sign(x), kept,
    "Return -1, 0 or 1 by the sign (z / |z| for complex numbers).",
    "[-3.0, 0.0, 2.0]", "[-1.,  0.,  1.]",
)  # fmt: skip
floor = unary(
    "floor", if_float("floor"), kept, "Round down; integers are unchanged.", "[1.7, -1.2]", "[ 1., -2.]",
)  # fmt: skip
ceil = unary(
    "ceil", if_float("ceil"), kept, "Round up; integers are unchanged.", "[1.2, -1.7]", "[ 2., -1.]",
)  # fmt: skip
frac = unary("frac", lambda x: x - P.trunc(x), kept, "Return x - trunc(x).", "[1.5, -1.25]", "[ 0.5000, -0.2500]")
trunc = fix = unary(
    "trunc", if_float("trunc"), kept, "Round towards zero; integers are unchanged.", "[1.7, -1.7]", "[ 1., -1.]",
)  # fmt: skip
square = unary(
    "square", lambda x: P.mul(x, x), lambda dtype: int64 if dtype is bool_ else dtype, "Return x * x.",
    "[1.0, -3.0]", "[1., 9.]",
)  # fmt: skip
reciprocal = unary(
    "reciprocal", lambda x: P.div(scalar_node(1, x.dtype), x), to_float, "Return 1 / x.",
    "[2.0, -4.0]", "[ 0.5000, -0.2500]",
)  # fmt: skip
multiply = mul = pairwise("multiply", BINARY["multiply"], "Return x * y.", "[1, 2] ; 10", "[10, 20]")
floor_divide = pairwise(
    "floor_divide", BINARY["floor_divide"], "Return floor(x / y).", "[7, -7] ; 2", "[ 3, -4]",
)  # fmt: skip
remainder = mod = pairwise(
    "remainder", BINARY["remainder"], "Return x - y * floor(x / y): it has the sign of y.", "[7, -7] ; 4", "[3, 1]",
)  # fmt: skip
fmod = pairwise(
    "fmod", binary("fmod", "rem", to_integer), "Return x - y * trunc(x / y): it has the sign of x.",
    "[7, -7] ; 4", "[ 3, -3]",
)  # fmt: skip
pow = pairwise("pow", BINARY["pow"], "Return x to the power y.", "[2.0, 3.0] ; 2", "[4., 9.]")


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
    if node.dtype.is_complex:
        parts = [round(wrap(part), decimals)._node for part in (P.real(node), P.imag(node))]
        return wrap(P.complex(*parts))
    if not decimals:
        return wrap(P.round(node))
    scale = scalar_node(10.0**decimals, node.dtype)
    return wrap(P.round(node * scale) / scale)


rint = unary("rint", if_float("round"), kept, "Round to an integer, halves to even.", "[0.5, 1.5]", "[0., 2.]")
