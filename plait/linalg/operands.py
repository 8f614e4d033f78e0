"""What the functions of linear algebra share: names of arguments, checked operands, batches that broadcast."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from plait.core.dtype import bool_, float32
from plait.core.errors import ArgumentError, ShapeError, message
from plait.core.graph import Node
from plait.core.primitive import P
from plait.prims.matrices import FIELDS, check_square
from plait.prims.rules import broadcast_shapes, broadcast_to, check_dtype
from plait.tensor.families import both_names
from plait.tensor.operators import promoted, scalar_node, single
from plait.tensor.tensor import converted

also_named: Callable[..., Any] = partial(both_names, A="x", B="y", a="x", b="y", x1="x", x2="y")
"""Lets a function take the names of PyTorch (A, B, dim), NumPy (a, b) and the standard (x, x1, x2), and others."""
named: Callable[..., Any] = also_named()


def matrix(x: Any, name: str) -> Node:
    """Return the node of a floating-point matrix, or of a batch of them.

    Raises:
        DTypeError: another dtype; half precision is refused, as LAPACK has none.
        ShapeError: fewer than two axes.
    """
    node = single(x, name)
    check_dtype(name, node.dtype, FIELDS)
    if node.ndim < 2:
        raise ShapeError(message(f"{name} takes matrices", f"shape {node.shape}", "(..., m, n)"))
    return node


def square(x: Any, name: str) -> Node:
    """Return the node of a square matrix, or of a batch of them; raises as `matrix` does."""
    node = matrix(x, name)
    check_square(name, node.aval)
    return node


def operands(name: str, *values: Any) -> list[Node]:
    """Return nodes of one floating-point dtype."""
    nodes = promoted(values, name)
    check_dtype(name, nodes[0].dtype, FIELDS)
    return nodes


def with_batch(name: str, *nodes: Node, core: Sequence[int] = (2, 2, 2)) -> list[Node]:
    """Broadcast the leading axes of matrices; `core` says how many last axes of each stay."""
    for n, k in zip(nodes, core, strict=False):
        if n.ndim < k:
            raise ShapeError(message(f"{name}: an argument has too few axes", f"shape {n.shape}", f"at least {k} axes"))
    batch = broadcast_shapes(*[n.shape[: n.ndim - k] for n, k in zip(nodes, core, strict=False)], name=name)
    return [broadcast_to(n, (*batch, *n.shape[n.ndim - k :])) for n, k in zip(nodes, core, strict=False)]


def unvarying(result: Node, x: Node) -> Node:
    """Return `result`, with a gradient of zeros to `x`, a tensor of its shape and dtype: not with none."""
    return P.select(broadcast_to(scalar_node(False, bool_), result.shape), x, result)


def number(value: float, like: Node) -> Node:
    """Return a constant of the dtype of `like`."""
    return scalar_node(value, like.dtype)


def sizes(shape: Sequence[Any]) -> tuple[int, ...]:
    """Return a shape as integers."""
    return tuple(int(n) for n in shape)


def tolerances(x: Node, atol: Any, rtol: Any) -> tuple[Node, Node]:
    """Return absolute and relative tolerances of the shape of the batch: by default max(m, n) * epsilon.

    The relative one is 0 by default where an absolute one is given, as in PyTorch.
    """
    real, batch = x.dtype.real, x.shape[:-2]
    epsilon = (1.1920928955078125e-07 if real is float32 else 2.220446049250313e-16) * max(sizes(x.shape[-2:]))
    default = scalar_node(epsilon, real) if atol is None else P.mul(scalar_node(epsilon, real), _is_zero(atol, real))
    absolute = scalar_node(0.0, real) if atol is None else _real(atol, real)
    relative = default if rtol is None else _real(rtol, real)
    shapes = [broadcast_shapes(f.shape, batch) for f in (absolute, relative)]
    return broadcast_to(absolute, shapes[0]), broadcast_to(relative, shapes[1])


def _real(value: Any, dtype: Any) -> Node:
    return converted(single(value, "tolerance"), dtype)


def _is_zero(value: Any, dtype: Any) -> Node:
    """1 where a tolerance is not positive: PyTorch then takes the default of the other one."""
    return P.convert(P.le(_real(value, dtype), scalar_node(0.0, dtype)), dtype=dtype)


def check_order(name: str, value: Any, allowed: Sequence[Any]) -> None:
    """Raise `ArgumentError` for a value that is not among those allowed."""
    if value not in allowed:
        raise ArgumentError(message(f"{name}: unknown value", repr(value), "one of " + ", ".join(map(repr, allowed))))
