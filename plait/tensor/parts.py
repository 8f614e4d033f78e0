"""Complex numbers and their parts; the views `real` and `imag` are with the other views."""

from __future__ import annotations

from math import pi
from typing import Any

from plait.core.errors import DTypeError, message
from plait.core.graph import Node
from plait.core.primitive import P
from plait.tensor.families import both_names, kept, unary
from plait.tensor.operators import promoted, scalar_node, to_float
from plait.tensor.tensor import Tensor, wrap

__all__ = [
    "angle", "complex", "conj", "conj_physical", "conjugate", "polar", "resolve_conj", "resolve_neg",
]  # fmt: skip


def _angle(x: Node) -> Node:
    if not x.dtype.is_complex:
        turned = P.select(P.lt(x, scalar_node(0, x.dtype)), scalar_node(pi, x.dtype), scalar_node(0, x.dtype))
        return P.select(P.ne(x, x), x, turned)
    re, im = P.real(x), P.imag(x)
    zero = scalar_node(0, re.dtype)
    is_zero = P.bitwise_and(P.eq(re, zero), P.eq(im, zero))  # there the angle has no derivative; PyTorch gives 0
    one = P.copysign(scalar_node(1, re.dtype), re)
    return P.select(is_zero, P.atan2(im, re), P.atan2(im, P.select(is_zero, one, re)))


conj = conjugate = conj_physical = unary(
    "conj", lambda x: P.conj(x) if x.dtype.is_complex else x, kept,
    "Return the complex conjugate.", "[1.0 + 2.0j]", "[1.-2.j]",
)  # fmt: skip
resolve_conj = unary(
    "resolve_conj", lambda x: x, kept, "Return the tensor: conjugates are always values here.", "[1, 2]", "[1, 2]"
)
resolve_neg = unary(
    "resolve_neg", lambda x: x, kept, "Return the tensor: negations are always values here.", "[1, 2]", "[1, 2]"
)
angle = unary(
    "angle", _angle, to_float, "Return the angle to the positive real axis, in radians: pi for negative numbers.",
    "[1.0j, -1.0]", "[1.5708, 3.1416]",
)  # fmt: skip


def _parts(x: Any, y: Any, name: str) -> list[Node]:
    nodes = promoted((x, y), name)
    if not nodes[0].dtype.is_floating:
        received, fix = nodes[0].dtype.name, "convert with .to(plait.float32)"
        raise DTypeError(message(f"{name} takes floats", received, "two tensors of one float dtype", fix))
    return nodes


@both_names
def complex(real: Any, imag: Any) -> Tensor:
    """Return real + i * imag.

    Args:
        real: a tensor of floats.
        imag: a tensor of floats, of a shape that broadcasts.

    Returns:
        A tensor of complex64, or complex128 for float64.

    Raises:
        DTypeError: the parts are not floats.

    Example:
        >>> plait.complex(plait.tensor([1.0, 2.0]), plait.tensor([0.5, -1.0]))
        tensor([1.0000+0.5000j, 2.0000-1.0000j])
    """
    return wrap(P.complex(*_parts(real, imag, "complex")))


@both_names
def polar(abs: Any, angle: Any) -> Tensor:
    """Return abs * (cos(angle) + i * sin(angle)).

    Args:
        abs: a tensor of floats, the absolute values.
        angle: a tensor of floats, the angles in radians.

    Returns:
        A tensor of complex64, or complex128 for float64.

    Raises:
        DTypeError: the operands are not floats.

    Example:
        >>> plait.polar(plait.tensor([1.0, 2.0]), plait.tensor([0.0, 0.0]))
        tensor([1.+0.j, 2.+0.j])
    """
    size, turn = _parts(abs, angle, "polar")
    return wrap(P.complex(size * P.cos(turn), size * P.sin(turn)))
