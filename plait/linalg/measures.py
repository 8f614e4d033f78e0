"""Numbers that describe matrices and vectors: determinants, norms, condition, rank, trace."""

from __future__ import annotations

from math import inf
from typing import Any

from plait.core.dtype import as_dtype, int64
from plait.core.errors import ArgumentError, DTypeError, ShapeError, message
from plait.core.graph import Node
from plait.core.primitive import P
from plait.linalg.operands import also_named, matrix, named, number, square, tolerances, unvarying
from plait.prims.rules import broadcast_to
from plait.tensor import diagonals, reductions
from plait.tensor.operators import scalar_node, single
from plait.tensor.results import SignLogDet
from plait.tensor.shaping import movedim, reshape
from plait.tensor.tensor import Tensor, axis_index, converted, node_of, wrap
from plait.tensor.views import detached

__all__ = ["cond", "det", "diagonal", "matrix_norm", "matrix_rank", "norm", "slogdet", "trace", "vector_norm"]


@named
def det(x: Any) -> Tensor:
    """Return the determinant.

    Its gradient is the matrix of cofactors, also of singular matrices (Higham, "What is the adjugate of a matrix?",
    2020).

    Args:
        x: a tensor (..., n, n) of float32, float64 or complex numbers.

    Returns:
        A tensor of the shape of the batch.

    Raises:
        ShapeError: the matrices are not square.

    Example:
        >>> plait.linalg.det(plait.tensor([[1.0, 2.0], [3.0, 4.0]]))
        tensor(-2.0000)
    """
    return wrap(P.det(square(x, "det")))


@named
def slogdet(x: Any) -> SignLogDet:
    """Return the sign of the determinant and the logarithm of its absolute value, which do not overflow.

    Args:
        x: a tensor (..., n, n) of float32, float64 or complex numbers.

    Returns:
        `(sign, logabsdet)` of the shape of the batch: 0 and -inf for singular matrices. The sign of a complex
        matrix is a number of absolute value 1.

    Raises:
        ShapeError: the matrices are not square.

    Example:
        >>> plait.linalg.slogdet(plait.tensor([[0.0, 2.0], [1.0, 0.0]]))
        SignLogDet(sign=tensor(-1.), logabsdet=tensor(0.6931))
    """
    found = P.slogdet(square(x, "slogdet"))
    return SignLogDet(wrap(found[0]), wrap(found[1]))


# norms


@named
def vector_norm(x: Any, ord: float = 2, axis: Any = None, keepdims: bool = False, *, dtype: Any = None) -> Tensor:
    """Return the norm of order `ord` of vectors: (sum of |x| ** ord) ** (1 / ord).

    Args:
        x: a tensor of floats or complex numbers.
        ord: a number; 0 counts the elements that are not zero, inf and -inf take the largest and the smallest.
        axis: an axis, several, or None for all (`dim` is another name).
        keepdims: whether reduced axes stay, with size 1.
        dtype: compute in this dtype.

    Returns:
        A real tensor without the axes.

    Raises:
        ShapeError: there is no such axis, or it is empty where a largest element is sought.
        DTypeError: integers.

    Example:
        >>> plait.linalg.vector_norm(plait.tensor([3.0, -4.0]))
        tensor(5.)
    """
    if dtype is None:
        _check_inexact(x, "vector_norm")
    if isinstance(ord, str):
        raise ArgumentError(message("vector_norm takes a number", repr(ord), "a number", "use matrix_norm"))
    found = reductions.norm(x, ord, axis, keepdims, dtype)
    if ord == 0:
        return wrap(unvarying(node_of(found), node_of(reductions.norm(x, 1, axis, keepdims, dtype))))
    return found


def _check_inexact(x: Any, name: str) -> Node:
    node = single(x, name)
    if not node.dtype.is_inexact:
        fix = "convert with .to(plait.float32)"
        raise DTypeError(message(f"{name} takes floats or complex numbers", node.dtype.name, "a float dtype", fix))
    return node


_ORDERS = ("fro", "nuc", inf, -inf, 1, -1, 2, -2)


@named
def matrix_norm(x: Any, ord: Any = "fro", axis: Any = (-2, -1), keepdims: bool = False, *, dtype: Any = None) -> Tensor:
    """Return the norm of matrices.

    Args:
        x: a tensor (..., m, n) of floats or complex numbers.
        ord: "fro" (root of the sum of squares), "nuc" (sum of the singular values), 2 and -2 (the largest and the
            smallest of them), 1 and -1 (of the sums of columns), inf and -inf (of the sums of rows).
        axis: the axes of rows and columns (`dim` is another name).
        keepdims: whether these stay, with size 1.
        dtype: compute in this dtype.

    Returns:
        A real tensor without the axes.

    Raises:
        ArgumentError: another order.
        ShapeError: there are no two such axes.

    Example:
        >>> plait.linalg.matrix_norm(plait.tensor([[1.0, 2.0], [3.0, 4.0]]), 1)
        tensor(6.)
    """
    if ord not in _ORDERS:
        expected = "one of " + ", ".join(map(repr, _ORDERS))
        raise ArgumentError(message("matrix_norm: unknown order", repr(ord), expected))
    node = _check_inexact(x, "matrix_norm")
    if dtype is not None:
        node = converted(node, as_dtype(dtype))
    if node.ndim < 2 or hasattr(axis, "__index__") or len(axis) != 2:
        text = "matrix_norm takes matrices and their two axes"
        raise ShapeError(message(text, f"shape {node.shape}, axes {axis}", "two axes"))
    rows, columns = (axis_index(a, node.ndim) for a in axis)
    if rows == columns:
        raise ShapeError(message("matrix_norm takes two axes", axis, "distinct ones"))
    tensor = wrap(node)
    if ord == "fro":
        return reductions.norm(tensor, 2, (rows, columns), keepdims)
    if ord in (1, -1, inf, -inf):
        first, second = (rows, columns) if ord in (1, -1) else (columns, rows)
        sums = reductions.sum(wrap(P.abs(node)), axis=first, keepdims=True)
        extreme = (reductions.amax if ord > 0 else reductions.amin)(sums, axis=second, keepdims=True)
        return extreme if keepdims else _without(extreme, rows, columns)
    singular = wrap(P.svdvals(matrix(movedim(tensor, (rows, columns), (-2, -1)), "matrix_norm")))
    if ord == "nuc":
        found = reductions.sum(singular, axis=-1)
    else:
        found = (reductions.amax if ord > 0 else reductions.amin)(singular, axis=-1)
    return reshape(found, [1 if k in (rows, columns) else n for k, n in enumerate(node.shape)]) if keepdims else found


def _without(x: Tensor, *axes: int) -> Tensor:
    return reshape(x, [n for k, n in enumerate(x.shape) if k not in axes])


@named
def norm(x: Any, ord: Any = None, axis: Any = None, keepdims: bool = False, *, dtype: Any = None) -> Tensor:
    """Return a norm of vectors or of matrices.

    Args:
        x: a tensor of floats or complex numbers.
        ord: an order of `vector_norm` or `matrix_norm`; None for the root of the sum of squares.
        axis: one axis for vectors, two for matrices; None for all axes, where with an order `x` has one or two
            (`dim` is another name).
        keepdims: whether reduced axes stay, with size 1.
        dtype: compute in this dtype.

    Returns:
        A real tensor without the axes.

    Raises:
        ArgumentError: an unknown order.
        ShapeError: the axes do not fit.

    Example:
        >>> plait.linalg.norm(plait.tensor([[3.0, 0.0], [4.0, 0.0]]), 2)
        tensor(5.)
    """
    ndim = single(x, "norm").ndim
    if ord is None:
        return vector_norm(x, 2, axis, keepdims, dtype=dtype)
    if axis is None:
        if ndim not in (1, 2):
            text, fix = "norm with an order takes a vector or a matrix", "say which axes"
            raise ShapeError(message(text, f"{ndim} axes", "1 or 2", fix))
        axis = tuple(range(ndim))
    axes = (axis,) if hasattr(axis, "__index__") else tuple(axis)
    if len(axes) == 2:
        return matrix_norm(x, ord, axes, keepdims, dtype=dtype)
    return vector_norm(x, ord, axes, keepdims, dtype=dtype)


@named
def cond(x: Any, p: Any = None) -> Tensor:
    """Return the condition number: the norm of the matrix times that of its inverse.

    Args:
        x: a tensor (..., m, n) of float32, float64 or complex numbers; square unless `p` is None, 2 or -2.
        p: an order of `matrix_norm`; None is 2: the largest singular value divided by the smallest.

    Returns:
        A real tensor of the shape of the batch; inf for singular matrices.

    Raises:
        ArgumentError: another order.
        ShapeError: the matrices are not square where they need to be.

    Example:
        >>> plait.linalg.cond(plait.tensor([[1.0, 0.0], [0.0, 4.0]]))
        tensor(4.)
    """
    if p in (None, 2, -2):
        node = matrix(x, "cond")
        if 0 in node.shape[-2:]:
            return wrap(P.reduce_sum(P.svdvals(node), axes=(node.ndim - 2,)))
        singular = wrap(P.svdvals(node))
        first, last = singular[..., 0], singular[..., -1]
        return last / first if p == -2 else first / last
    node = square(x, "cond")
    inverse = P.inv(node, what=None)
    found = matrix_norm(wrap(node), p) * matrix_norm(wrap(inverse[0]), p)
    singular_too = P.ne(inverse[1], scalar_node(0, inverse[1].dtype))
    return wrap(P.select(singular_too, broadcast_to(number(inf, node_of(found)), found.shape), node_of(found)))


@also_named(tol="atol")
def matrix_rank(x: Any, *, rtol: Any = None, atol: Any = None, hermitian: bool = False) -> Tensor:
    """Return the number of singular values that do not count as zero.

    Args:
        x: a tensor (..., m, n) of float32, float64 or complex numbers.
        rtol: values up to this times the largest one count as zero; by default max(m, n) * epsilon, or 0 where `atol`
            is given. A number, or a tensor with one for each matrix.
        atol: values up to this count as zero too (`tol` is another name).
        hermitian: whether `x` is symmetric (or Hermitian); then only the lower triangle is read.

    Returns:
        An int64 tensor of the shape of the batch. It has no gradient.

    Raises:
        ShapeError: fewer than two axes.

    Example:
        >>> plait.linalg.matrix_rank(plait.tensor([[1.0, 2.0], [2.0, 4.0]]))
        tensor(1)
    """
    node = detached(square(x, "matrix_rank") if hermitian else matrix(x, "matrix_rank"))
    values = P.abs(P.eigvalsh(node)) if hermitian else P.svdvals(node)
    return wrap(count_above(values, *tolerances(node, atol, rtol)))


def count_above(values: Node, absolute: Node, relative: Node) -> Node:
    """Count the values of each matrix above max(absolute, relative * the largest one)."""
    axis = values.ndim - 1
    if not values.shape[-1]:
        return P.reduce_sum(P.convert(values, dtype=int64), axes=(axis,))
    limit = P.max(absolute, relative * P.reduce_max(values, axes=(axis,)))
    above = P.gt(values, P.reshape(limit, shape=(*limit.shape, 1)))
    return P.reduce_sum(P.convert(above, dtype=int64), axes=(axis,))


# diagonals


@also_named(dim1="axis1", dim2="axis2")
def diagonal(x: Any, *, offset: int = 0, axis1: int = -2, axis2: int = -1) -> Tensor:
    """Return a view of a diagonal of matrices, as the last axis.

    Args:
        x: a tensor (..., m, n).
        offset: how far above (positive) or below the main diagonal.
        axis1: axis of the rows (`dim1` is another name).
        axis2: axis of the columns (`dim2` is another name).

    Returns:
        A view.

    Raises:
        ShapeError: there are no two such axes.

    Example:
        >>> plait.linalg.diagonal(plait.tensor([[1, 2], [3, 4]]), offset=1)
        tensor([2])
    """
    return diagonals.diagonal(x, offset, axis1, axis2)


@named
def trace(x: Any, *, offset: int = 0, dtype: Any = None) -> Tensor:
    """Return the sums of a diagonal of matrices.

    Args:
        x: a tensor (..., m, n).
        offset: how far above (positive) or below the main diagonal.
        dtype: sum in this dtype.

    Returns:
        A tensor of the shape of the batch.

    Raises:
        ShapeError: fewer than two axes.

    Example:
        >>> plait.linalg.trace(plait.tensor([[1, 2], [3, 4]]))
        tensor(5)
    """
    return reductions.sum(diagonal(x, offset=offset), axis=-1, dtype=dtype)
