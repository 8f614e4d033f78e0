"""Extremes, limits and neighbours of elements."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from plait.core.dtype import DType, bool_, float32, int16
from plait.core.errors import ArgumentError, message
from plait.core.graph import Node
from plait.core.primitive import P
from plait.tensor.composite import composite
from plait.tensor.families import both_names, pairwise
from plait.tensor.operators import binary, promoted, scalar_node, single, to_float
from plait.tensor.tensor import Tensor, wrap

__all__ = [
    "clamp", "clamp_max", "clamp_min", "clip", "copysign", "fmax", "fmin", "heaviside", "maximum", "minimum",
    "nan_to_num", "nextafter",
]  # fmt: skip


def _nextafter(a: Node, b: Node) -> Node:
    if a.dtype.bits >= 32:
        return P.nextafter(a, b)
    bits, one = P.bitcast(a, dtype=int16), scalar_node(1, int16)
    zero = scalar_node(0, a.dtype)
    outwards = P.eq(P.gt(b, a), P.gt(a, zero))
    moved = P.bitcast(P.select(outwards, bits + one, bits - one), dtype=a.dtype)
    moved = P.select(P.eq(a, zero), P.copysign(P.bitcast(one, dtype=a.dtype), b), moved)
    moved = P.select(P.eq(a, b), P.bitcast(P.bitcast(b, dtype=int16), dtype=a.dtype), moved)
    # the step is exact in float32, and has no derivative of its own
    wide, start = P.convert(a, dtype=float32), P.convert(P.bitcast(bits, dtype=a.dtype), dtype=float32)
    step = P.convert(moved, dtype=float32) - start
    is_number = P.bitwise_and(P.is_finite(a), P.eq(b, b))
    total = P.convert(wide + step, dtype=a.dtype)
    return P.select(is_number, P.select(P.is_finite(moved), total, moved), P.select(P.ne(a + b, a + b), a + b, moved))


def _unless_nan(prim: str) -> Callable[[Node, Node], Node]:
    """Make the extreme of two numbers that ignores a NaN if the other is none."""

    def apply(a: Node, b: Node) -> Node:
        if not a.dtype.is_floating:
            return getattr(P, prim)(a, b)
        is_first = getattr(P, "ge" if prim == "max" else "le")(a, b)
        return P.select(P.bitwise_or(is_first, P.ne(b, b)), a, b)

    return apply


maximum = pairwise(
    "maximum", binary("maximum", "max"), "Return the larger operand; NaN if either is.", "[1, 5] ; 3", "[3, 5]",
)  # fmt: skip
minimum = pairwise(
    "minimum", binary("minimum", "min"), "Return the smaller operand; NaN if either is.", "[1, 5] ; 3", "[1, 3]",
)  # fmt: skip
copysign = pairwise(
    "copysign", binary("copysign", "copysign", to_float), "Return |x| with the sign of y.",
    "[1.0, 2.0] ; -1.0", "[-1., -2.]",
)  # fmt: skip
nextafter = pairwise(
    "nextafter", binary("nextafter", _nextafter, to_float), "Return the float after x towards y.",
    "[1.0] ; 2.0", "[1.0000]",
)  # fmt: skip
fmax = pairwise(
    "fmax", binary("fmax", _unless_nan("max")), "Return the larger operand; of a number and NaN the number.",
    "[1, 5] ; 3", "[3, 5]",
)  # fmt: skip
fmin = pairwise(
    "fmin", binary("fmin", _unless_nan("min")), "Return the smaller operand; of a number and NaN the number.",
    "[1, 5] ; 3", "[1, 3]",
)  # fmt: skip


def largest_of(dtype: DType) -> float:
    """Return the largest finite number of a float dtype."""
    if dtype.name == "bfloat16":
        return (2 - 2.0**-7) * 2.0**127
    return float(np.finfo(dtype.numpy).max)


def limits_of(dtype: DType) -> tuple[Any, Any]:
    """Return the smallest and largest value of `dtype`: infinities for floats."""
    if dtype is bool_:
        return False, True
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
    return wrap(P.min(P.max(node, low), high) if node.dtype is bool_ else P.clamp(node, low, high))


@both_names
def clip(x: Any, min: Any = None, max: Any = None) -> Tensor:
    """Limit the elements to the range from `min` to `max`: `clamp`, but without limits `x` is returned as it is.

    Example:
        >>> plait.clip(plait.tensor([-2, 0, 7]), max=5)
        tensor([-2,  0,  5])
    """
    return wrap(single(x, "clip")) if min is None and max is None else clamp(x, min, max)


@both_names
def clamp_min(x: Any, min: Any) -> Tensor:
    """Return the elements, but at least `min`.

    Args:
        x: a tensor.
        min: lower limit, a tensor or a number.

    Returns:
        A tensor of the broadcast shape and promoted dtype.

    Example:
        >>> plait.clamp_min(plait.tensor([-2, 7]), 0)
        tensor([0, 7])
    """
    return clamp(x, min)


@both_names
def clamp_max(x: Any, max: Any) -> Tensor:
    """Return the elements, but at most `max`.

    Args:
        x: a tensor.
        max: upper limit, a tensor or a number.

    Returns:
        A tensor of the broadcast shape and promoted dtype.

    Example:
        >>> plait.clamp_max(plait.tensor([-2, 7]), 0)
        tensor([-2,  0])
    """
    return clamp(x, None, max)


@both_names
@composite
def heaviside(x: Any, values: Any) -> Tensor:
    """Return 0 where x is negative, 1 where it is positive, and `values` where it is 0.

    Args:
        x: a tensor.
        values: a tensor or a number.

    Returns:
        A tensor of the broadcast shape and promoted dtype.

    Example:
        >>> plait.heaviside(plait.tensor([-2.0, 0.0, 3.0]), 0.5)
        tensor([0.0000, 0.5000, 1.0000])
    """
    a, b = promoted((x, values), "heaviside")
    zero = scalar_node(0, a.dtype)
    step = P.convert(P.gt(a, zero), dtype=a.dtype)
    return wrap(P.select(P.eq(a, zero), b, P.select(P.ne(a, a), a, step) if a.dtype.is_floating else step))


@both_names
@composite
def nan_to_num(x: Any, nan: float = 0.0, posinf: float | None = None, neginf: float | None = None) -> Tensor:
    """Replace NaN and infinities by numbers.

    Args:
        x: a tensor; of complex numbers both parts are replaced.
        nan: replacement of NaN.
        posinf: replacement of infinity; None for the largest finite number of the dtype.
        neginf: replacement of minus infinity; None for the lowest finite number.

    Returns:
        A tensor of the shape and dtype of `x`.

    Example:
        >>> plait.nan_to_num(plait.tensor([1.0, float("nan"), float("inf")]), posinf=9.0)
        tensor([1., 0., 9.])
    """
    node = single(x, "nan_to_num")
    if node.dtype.is_complex:
        parts = [nan_to_num(wrap(part(node)), nan, posinf, neginf)._node for part in (P.real, P.imag)]
        return wrap(P.complex(*parts))
    if not node.dtype.is_floating:
        return wrap(node)
    infinity, largest = float("inf"), largest_of(node.dtype)
    for special, given, default in ((infinity, posinf, largest), (-infinity, neginf, -largest)):
        replacement = scalar_node(default if given is None else given, node.dtype)
        node = P.select(P.eq(node, scalar_node(special, node.dtype)), replacement, node)
    return wrap(P.select(P.ne(node, node), scalar_node(nan, node.dtype), node))
