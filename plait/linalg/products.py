"""Products and powers of matrices and vectors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from plait.core.dtype import DType, bool_, float32, int64
from plait.core.errors import ArgumentError, ArgumentTypeError, DTypeError, ShapeError, message
from plait.core.graph import Node
from plait.core.primitive import P
from plait.linalg.operands import also_named, named, unvarying
from plait.linalg.solving import inv
from plait.prims.matrices import FIELDS, check_square, identity
from plait.prims.rules import broadcast_shapes, broadcast_to
from plait.tensor.contraction import matmul, tensordot, vecdot
from plait.tensor.operators import promoted, single
from plait.tensor.products import chain_matmul, kron, outer
from plait.tensor.shaping import matrix_transpose, reshape
from plait.tensor.tensor import Tensor, axis_index, converted, wrap

__all__ = [
    "cross", "expm", "kron", "matmul", "matrix_exp", "matrix_power", "matrix_transpose", "multi_dot", "outer",
    "tensordot", "vander", "vecdot",
]  # fmt: skip


@named
def cross(x: Any, y: Any, axis: int = -1) -> Tensor:
    """Return the vector product of vectors of three elements; the other axes broadcast.

    Args:
        x: a tensor of numbers.
        y: a tensor of as many axes.
        axis: the axis of the vectors, counted in the broadcast shape (`dim` is another name).

    Returns:
        A tensor of the broadcast shape, in the promoted dtype.

    Raises:
        ShapeError: the axis has not size 3, or the shapes do not broadcast.
        DTypeError: bools.

    Example:
        >>> plait.linalg.cross(plait.tensor([1, 0, 0]), plait.tensor([0, 1, 0]))
        tensor([0, 0, 1])
    """
    a, b = promoted((x, y), "cross")
    if a.dtype is bool_:
        raise DTypeError(message("cross takes numbers", "bool", "another dtype"))
    shape = broadcast_shapes(a.shape, b.shape, name="cross")
    at = axis_index(axis, len(shape))
    if any(n.ndim <= len(shape) - 1 - at or n.shape[at - len(shape)] != 3 for n in (a, b)):
        received = f"shapes {a.shape} and {b.shape}, axis {axis}"
        raise ShapeError(message("cross takes vectors of three elements", received, "an axis of size 3 in both"))
    a, b = broadcast_to(a, shape), broadcast_to(b, shape)
    return wrap(_turned(a, at, 1) * _turned(b, at, 2) - _turned(a, at, 2) * _turned(b, at, 1))


def _turned(x: Node, axis: int, by: int) -> Node:
    """Move the three elements along an axis to the front by a number of places, in a circle."""
    low, high = ([0] * x.ndim for _ in range(2))
    pieces = []
    for start, stop in ((by, 3), (0, by)):
        low[axis], limits = start, [*x.shape]
        limits[axis] = stop
        pieces.append(P.slice(x, starts=tuple(low), limits=tuple(limits), strides=(1,) * x.ndim))
    return P.concatenate(*pieces, axis=axis)


def multi_dot(tensors: Sequence[Any], *, out: Tensor | None = None) -> Tensor:
    """Return the product of several matrices, multiplied in the order that needs the fewest multiplications.

    Args:
        tensors: two or more matrices; the first may be a vector that counts as a row, the last one as a column.
        out: a tensor that the result is written to.

    Returns:
        The product, without the axes of vectors.

    Raises:
        ArgumentError: fewer than two.
        ShapeError: the sizes do not fit.

    Example:
        >>> plait.linalg.multi_dot([plait.ones(2), plait.ones((2, 3)), plait.ones((3, 4))])
        tensor([6., 6., 6., 6.])
    """
    if len(tensors) < 2:
        raise ArgumentError(message("multi_dot multiplies matrices", f"{len(tensors)} of them", "at least two"))
    values = [wrap(n) for n in promoted(tensors, "multi_dot")]
    rows, columns = values[0].ndim == 1, values[-1].ndim == 1
    if rows:
        values[0] = reshape(values[0], (1, -1))
    if columns:
        values[-1] = reshape(values[-1], (-1, 1))
    result = chain_matmul(values)
    shape = ([] if rows else [result.shape[0]]) + ([] if columns else [result.shape[1]])
    result = reshape(result, shape)
    return result if out is None else out.copy_(result)


@also_named(n="power")
def matrix_power(x: Any, power: int) -> Tensor:
    """Return an integer power of square matrices, by repeated squaring.

    Args:
        x: a tensor (..., n, n) of numbers.
        power: the exponent; below 0 it is that of the inverse (`n` is another name).

    Returns:
        A tensor of the shape of `x`.

    Raises:
        ShapeError: the matrices are not square.
        LinAlgError: a singular matrix with a negative power; raised when the value is computed.

    Example:
        >>> plait.linalg.matrix_power(plait.tensor([[1, 1], [0, 1]]), 5)
        tensor([[1, 5],
                [0, 1]])
    """
    node = single(x, "matrix_power")
    check_square("matrix_power", node.aval)
    if not hasattr(power, "__index__"):
        raise ArgumentTypeError(message("matrix_power takes an integer", repr(power), "an integer exponent"))
    if power < 0:
        return matrix_power(inv(wrap(node)), -power)
    square, result = wrap(node), None
    if not power:
        return wrap(unvarying(identity(node), node))
    while True:
        if power & 1:
            result = square if result is None else matmul(result, square)
        power >>= 1
        if not power:
            return result
        square = matmul(square, square)


@named
def matrix_exp(x: Any) -> Tensor:
    """Return the exponential of square matrices, by scaling and squaring.

    Args:
        x: a tensor (..., n, n) of floats or complex numbers; 16-bit floats are computed in float32.

    Returns:
        A tensor of the shape of `x`.

    Raises:
        ShapeError: the matrices are not square.
        DTypeError: integers.

    Source: Higham, "The scaling and squaring method for the matrix exponential revisited", 2005; the gradient by
    Mathias, "A chain rule for matrix functions and applications", 1996.

    Example:
        >>> plait.linalg.matrix_exp(plait.tensor([[0.0, 1.0], [0.0, 0.0]]))
        tensor([[1., 1.],
                [0., 1.]])
    """
    node = single(x, "matrix_exp")
    wide: DType = float32 if node.dtype.is_floating and node.dtype.bits == 16 else node.dtype
    if wide not in FIELDS:
        fix = "convert with .to(plait.float32)"
        raise DTypeError(message("matrix_exp takes floats or complex numbers", node.dtype.name, "a float dtype", fix))
    return wrap(converted(P.matrix_exp(converted(node, wide)), node.dtype))


expm = matrix_exp


@also_named(N="n")
def vander(x: Any, n: int | None = None) -> Tensor:
    """Return the matrix of powers 0 to n - 1 of the elements of vectors, in columns.

    Args:
        x: a tensor (..., m) of numbers; one number counts as a vector.
        n: how many powers, by default m (`N` is another name).

    Returns:
        A tensor (..., m, n); int64 for bools.

    Raises:
        ArgumentError: `n` is negative.

    Example:
        >>> plait.linalg.vander(plait.tensor([2, 3]), 3)
        tensor([[1, 2, 4],
                [1, 3, 9]])
    """
    node = single(x, "vander")
    if not node.ndim:
        node = P.reshape(node, shape=(1,))
    count = node.shape[-1] if n is None else n
    if count < 0:
        raise ArgumentError(message("vander takes a number of powers", f"n={n}", "n >= 0"))
    if not node.dtype.is_inexact:
        node = converted(node, int64)
    whole = P.broadcast(node, shape=(*node.shape, max(count - 1, 0)), axes=tuple(range(node.ndim)))
    powers = P.cumprod(whole, axis=node.ndim)
    ones = P.broadcast(
        P.integer_pow(node, exponent=0), shape=(*node.shape, min(count, 1)), axes=tuple(range(node.ndim))
    )
    return wrap(P.concatenate(ones, powers, axis=node.ndim))
