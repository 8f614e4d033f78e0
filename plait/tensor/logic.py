"""Comparisons, tests, bits and logic of elements, and the choice between two tensors."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from plait.core.dtype import bool_
from plait.core.errors import ArgumentError, DTypeError, message
from plait.core.graph import Node
from plait.core.primitive import P
from plait.prims.rules import broadcast_to
from plait.tensor.composite import composite
from plait.tensor.families import both_names, kept, pairwise, to_bool, unary
from plait.tensor.operators import BINARY, promoted, scalar_node, single, to_float
from plait.tensor.selection import nonzero
from plait.tensor.tensor import Tensor, converted, wrap

__all__ = [
    "allclose", "bitwise_and", "bitwise_count", "bitwise_invert", "bitwise_left_shift", "bitwise_not", "bitwise_or",
    "bitwise_right_shift", "bitwise_xor", "eq", "equal", "ge", "greater", "greater_equal", "gt", "invert",
    "isclose", "isfinite", "isinf", "isnan", "isneginf", "isposinf", "isreal", "le", "left_shift", "less",
    "less_equal", "logical_and", "logical_not", "logical_or", "logical_xor", "lt", "ne", "not_equal", "right_shift",
    "signbit", "where",
]  # fmt: skip


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


def _is_signed_infinity(sign: int) -> Callable[[Node], Node]:
    def apply(x: Node) -> Node:
        if x.dtype.is_complex:
            raise DTypeError(message("Complex infinities have no sign", x.dtype.name, "a real dtype", "use isinf"))
        return P.eq(x, scalar_node(sign * float("inf"), x.dtype)) if x.dtype.is_floating else _constant(False)(x)

    return apply


def _signbit(x: Node) -> Node:
    one = scalar_node(1, x.dtype)
    signed = P.copysign(one, x) if x.dtype.is_floating else x
    return P.lt(signed, scalar_node(0, x.dtype))


def _logical(prim: str) -> Callable[[Any, Any], Tensor]:
    def apply(x: Any, y: Any) -> Tensor:
        return wrap(getattr(P, prim)(to_bool(single(x, prim)), to_bool(single(y, prim))))

    return apply


# bits, tests and parts
bitwise_not = bitwise_invert = invert = unary(
    "bitwise_not", "bitwise_not", kept, "Invert every bit; for bools, logical not.", "[0, 5]", "[-1, -6]",
)  # fmt: skip
bitwise_count = unary(
    "bitwise_count", lambda x: P.popcount(P.abs(x)), kept, "Return the number of one bits of |x|.", "[5, -8]", "[2, 1]",
)  # fmt: skip
logical_not = unary(
    "logical_not", lambda x: P.bitwise_not(to_bool(x)), kept, "Return whether each element is zero.",
    "[0, 5]", "[ True, False]",
)  # fmt: skip
isnan = unary(
    "isnan", _is_nan, kept, "Return whether each element is NaN.", "[1.0, float('nan')]", "[False,  True]",
)  # fmt: skip
isinf = unary(
    "isinf", _is_infinite, kept, "Return whether each element is infinite.", "[1.0, float('inf')]", "[False,  True]",
)  # fmt: skip
isfinite = unary(
    "isfinite", lambda x: P.is_finite(x) if x.dtype.is_inexact else _constant(True)(x), kept,
    "Return whether each element is finite.",
    "[1.0, float('inf')]", "[ True, False]",
)  # fmt: skip
isposinf = unary(
    "isposinf", _is_signed_infinity(1), kept, "Return whether each element is plus infinity.",
    "[1.0, float('inf')]", "[False,  True]",
)  # fmt: skip
isneginf = unary(
    "isneginf", _is_signed_infinity(-1), kept, "Return whether each element is minus infinity.",
    "[1.0, -float('inf')]", "[False,  True]",
)  # fmt: skip
isreal = unary(
    "isreal", lambda x: P.eq(P.imag(x), scalar_node(0, x.dtype.real)) if x.dtype.is_complex else _constant(True)(x),
    kept, "Return whether each element has no imaginary part.", "[1.0, 2.0j]", "[ True, False]",
)  # fmt: skip
signbit = unary(
    "signbit", _signbit, kept, "Return whether the sign is negative, also of -0.0.", "[-0.0, 2.0]", "[ True, False]",
)  # fmt: skip
equal = eq = pairwise("equal", BINARY["equal"], "Return x == y.", "[1, 2] ; 2", "[False,  True]")
not_equal = ne = pairwise("not_equal", BINARY["not_equal"], "Return x != y.", "[1, 2] ; 2", "[ True, False]")
less = lt = pairwise("less", BINARY["less"], "Return x < y.", "[1, 2] ; 2", "[ True, False]")
less_equal = le = pairwise("less_equal", BINARY["less_equal"], "Return x <= y.", "[1, 3] ; 2", "[ True, False]")
greater = gt = pairwise("greater", BINARY["greater"], "Return x > y.", "[1, 3] ; 2", "[False,  True]")
greater_equal = ge = pairwise(
    "greater_equal", BINARY["greater_equal"], "Return x >= y.", "[1, 2] ; 2", "[False,  True]",
)  # fmt: skip
bitwise_and = pairwise(
    "bitwise_and", BINARY["bitwise_and"], "Return the bits set in both.", "[5, 6] ; 3", "[1, 2]",
)  # fmt: skip
bitwise_or = pairwise(
    "bitwise_or", BINARY["bitwise_or"], "Return the bits set in either.", "[5, 6] ; 3", "[7, 7]",
)  # fmt: skip
bitwise_xor = pairwise(
    "bitwise_xor", BINARY["bitwise_xor"], "Return the bits set in exactly one.", "[5, 6] ; 3", "[6, 5]",
)  # fmt: skip
bitwise_left_shift = left_shift = pairwise(
    "bitwise_left_shift", BINARY["bitwise_left_shift"], "Return x shifted left by y bits.", "[1, 2] ; 3", "[ 8, 16]",
)  # fmt: skip
bitwise_right_shift = right_shift = pairwise(
    "bitwise_right_shift", BINARY["bitwise_right_shift"], "Return x shifted right by y bits, keeping its sign.",
    "[8, -8] ; 2", "[ 2, -2]",
)  # fmt: skip
logical_and = pairwise(
    "logical_and", _logical("bitwise_and"), "Return whether both are non-zero.", "[0, 2] ; 1", "[False,  True]",
)  # fmt: skip
logical_or = pairwise(
    "logical_or", _logical("bitwise_or"), "Return whether either is non-zero.", "[0, 2] ; 0", "[False,  True]",
)  # fmt: skip
logical_xor = pairwise(
    "logical_xor", _logical("bitwise_xor"), "Return whether exactly one is non-zero.", "[0, 2] ; 1", "[ True, False]",
)  # fmt: skip


@both_names
def where(condition: Any, x: Any = None, y: Any = None) -> Any:
    """Return elements of `x` where `condition` holds, of `y` elsewhere; `where(condition)` is `nonzero(condition)`.

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
    if x is None and y is None:
        return nonzero(condition, as_tuple=True)
    if x is None or y is None:
        text = "where takes a condition and two branches"
        raise ArgumentError(message(text, "one branch missing", fix="for the positions use plait.nonzero(condition)"))
    a, b = promoted((x, y), "where")
    test = to_bool(single(condition, "where"))
    result = P.select(test, a, b)
    return wrap(result)


@both_names
@composite
def isclose(x: Any, y: Any, rtol: float = 1e-5, atol: float = 1e-8, equal_nan: bool = False) -> Tensor:
    """Return whether elements are equal, or finite with |x - y| <= atol + rtol * |y|.

    Args:
        x: a tensor or a number.
        y: a tensor or a number, of a shape that broadcasts with `x`.
        rtol: tolerance relative to `y`.
        atol: absolute tolerance.
        equal_nan: whether NaN is close to NaN.

    Returns:
        A bool tensor of the broadcast shape.

    Raises:
        ArgumentError: a tolerance is negative.

    Example:
        >>> plait.isclose(plait.tensor([1.0, 2.0]), plait.tensor([1.000001, 2.1]))
        tensor([ True, False])
    """
    if rtol < 0 or atol < 0:
        raise ArgumentError(message("Tolerances are not negative", f"rtol={rtol}, atol={atol}", "at least 0"))
    a, b = promoted((x, y), "isclose")
    close = P.eq(a, b)
    if equal_nan and a.dtype.is_inexact:
        close = P.bitwise_or(close, P.bitwise_and(P.ne(a, a), P.ne(b, b)))
    if not (rtol or atol) or a.dtype is bool_:
        return wrap(close)
    a, b = (converted(node, to_float(node.dtype)) for node in (a, b))
    gap, size = P.abs(a - b), P.abs(b)
    is_near = P.le(gap, scalar_node(atol, gap.dtype) + scalar_node(rtol, gap.dtype) * size)
    return wrap(P.bitwise_or(close, P.bitwise_and(P.is_finite(gap), is_near)))


@both_names
@composite
def allclose(x: Any, y: Any, rtol: float = 1e-5, atol: float = 1e-8, equal_nan: bool = False) -> bool:
    """Return whether `isclose` holds for all elements, as a Python bool.

    Args:
        x: a tensor or a number.
        y: a tensor or a number, of a shape that broadcasts with `x`.
        rtol: tolerance relative to `y`.
        atol: absolute tolerance.
        equal_nan: whether NaN is close to NaN.

    Returns:
        True or False.

    Example:
        >>> plait.allclose(plait.tensor([1.0, 2.0]), plait.tensor([1.0, 2.0000001]))
        True
    """
    return _holds_everywhere(isclose(x, y, rtol, atol, equal_nan))


def _holds_everywhere(x: Tensor) -> bool:
    node = x._node
    return bool(wrap(P.reduce_and(node, axes=tuple(range(node.ndim)))))


def is_equal(x: Tensor, other: Tensor) -> bool:
    """Return whether two tensors have one shape and equal elements: the method `equal` of PyTorch."""
    return x.shape == other.shape and _holds_everywhere(eq(x, other))
