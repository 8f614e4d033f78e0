"""Functions that pick elements by position or condition."""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np

from plait.core.dtype import bool_, int64
from plait.core.errors import ArgumentError, ArgumentTypeError, ShapeError, message
from plait.core.graph import Node
from plait.core.primitive import P
from plait.prims.rules import broadcast_shapes, broadcast_to
from plait.tensor.axes import like_rank, with_axis
from plait.tensor.families import both_names, to_bool
from plait.tensor.indexing import mask_positions, positions
from plait.tensor.operators import scalar_node, single
from plait.tensor.tensor import Tensor, axis_index, converted, to_node, wrap

__all__ = [
    "argwhere", "gather", "index_select", "masked_fill", "masked_select", "nonzero", "nonzero_static", "take",
    "take_along_axis", "take_along_dim",
]  # fmt: skip


def index_node(value: Any, name: str) -> Node:
    """Return the node of integer positions; raises `ArgumentTypeError` for others."""
    node = to_node(np.asarray(value, np.int64) if isinstance(value, (list, tuple)) and not value else value)
    if not node.dtype.is_integer:
        text = f"{name} takes integer positions"
        raise ArgumentTypeError(message(text, node.dtype.name, None, "convert with .to(plait.int64)"))
    return node


@both_names(index="indices")
def take(x: Any, indices: Any, axis: int | None = None) -> Tensor:
    """Return the elements at positions along an axis.

    Args:
        x: a tensor.
        indices: integer positions of any shape, counted from the end if negative.
        axis: the axis; None takes from the flattened tensor.

    Returns:
        A tensor with the shape of `indices` in place of the axis.

    Raises:
        ArgumentTypeError: the positions are not integers.
        IndexOutOfRangeError: a position that is known is out of range.

    Example:
        >>> plait.take(plait.tensor([10, 20, 30]), plait.tensor([2, 0]))
        tensor([30, 10])
    """
    node, index = single(x, "take"), index_node(indices, "take")
    node, axis = with_axis(node, axis)
    return wrap(_taken(node, index, axis))


def _taken(node: Node, index: Node, axis: int) -> Node:
    result = P.gather(node, positions(index, node.shape[axis], axis), axes=(axis,), mode="clip")
    if not axis:
        return result
    order = (*range(index.ndim, index.ndim + axis), *range(index.ndim), *range(index.ndim + axis, result.ndim))
    return P.transpose(result, permutation=order)


@both_names
def index_select(x: Any, axis: int, index: Any) -> Tensor:
    """Return the elements at the positions of a vector along an axis (PyTorch's form of `take`).

    Args:
        x: a tensor.
        axis: the axis.
        index: an integer vector.

    Returns:
        A tensor with the length of `index` on the axis.

    Raises:
        ShapeError: `index` is no vector.
        IndexOutOfRangeError: a position that is known is out of range.

    Example:
        >>> plait.index_select(plait.tensor([[1, 2], [3, 4]]), 1, plait.tensor([1]))
        tensor([[2],
                [4]])
    """
    node, index = single(x, "index_select"), _vector(index_node(index, "index_select"), "index_select")
    operand, axis = with_axis(node, axis)
    return like_rank(_taken(operand, index, axis), node)


def _vector(index: Node, name: str) -> Node:
    if index.ndim > 1:
        raise ShapeError(message(f"{name} takes a vector of positions", f"shape {index.shape}", "one axis"))
    return index if index.ndim else P.reshape(index, shape=(1,))


def coordinates(index: Node, axis: int, node: Node) -> list[Node]:
    """Positions on every axis for an index that covers one: its own on `axis`, the place in the index elsewhere."""
    return [
        positions(index, node.shape[axis], axis) if i == axis else P.iota(dtype=int64, shape=index.shape, axis=i)
        for i in range(index.ndim)
    ]


def check_covered(name: str, node: Node, index: Node, axis: int) -> None:
    """Raise `ShapeError` if the index is larger than the tensor on another axis than `axis`."""
    pairs = enumerate(zip(index.shape, node.shape, strict=False))
    fits = node.ndim == index.ndim and all(i <= n for k, (i, n) in pairs if k != axis)
    if not fits:
        text = f"{name}: but for axis {axis}, the index is nowhere larger than the tensor"
        expected = "as many axes, and sizes up to those of the tensor"
        raise ShapeError(message(text, f"shapes {index.shape} and {node.shape}", expected))


@both_names
def gather(x: Any, axis: int, index: Any, sparse_grad: bool = False) -> Tensor:
    """Return `x[..., index[..., i, ...], ...]`: each element of `index` replaces its own place on one axis.

    Args:
        x: a tensor.
        axis: the axis.
        index: integer positions, of as many axes as `x`.
        sparse_grad: without effect: gradients are dense.

    Returns:
        A tensor of the shape of `index`.

    Raises:
        ShapeError: the index is larger than `x` on another axis.
        IndexOutOfRangeError: a position that is known is out of range.

    Example:
        >>> plait.gather(plait.tensor([[1, 2], [3, 4]]), 1, plait.tensor([[1], [0]]))
        tensor([[2],
                [3]])
    """
    node, index = single(x, "gather"), index_node(index, "gather")
    operand, axis = with_axis(node, axis)
    if not index.aval.size:  # of any number of axes
        nothing = P.slice(P.reshape(node, shape=(node.aval.size,)), starts=(0,), limits=(0,), strides=(1,))
        return wrap(P.reshape(nothing, shape=index.shape))
    place = index if index.ndim else P.reshape(index, shape=(1,))
    check_covered("gather", operand, place, axis)
    found = P.gather(operand, *coordinates(place, axis, operand), axes=tuple(range(operand.ndim)), mode="clip")
    return wrap(found if found.shape == index.shape else P.reshape(found, shape=index.shape))


@both_names
def take_along_axis(x: Any, indices: Any, axis: int | None = -1) -> Tensor:
    """Return elements by positions matched to `x` on all other axes, which broadcast (NumPy's form of `gather`).

    Args:
        x: a tensor.
        indices: integer positions, of as many axes as `x`.
        axis: the axis; None takes from the flattened tensor.

    Returns:
        A tensor of the broadcast shape, with the size of `indices` on the axis.

    Raises:
        ShapeError: the numbers of axes differ.

    Example:
        >>> plait.take_along_axis(plait.tensor([[1, 2], [3, 4]]), plait.tensor([[1]]))
        tensor([[2],
                [4]])
    """
    node, index = single(x, "take_along_axis"), index_node(indices, "take_along_axis")
    if axis is None:
        node, index = (P.reshape(n, shape=(n.aval.size,)) for n in (node, index))
    axis = axis_index(axis or 0, node.ndim)
    if node.ndim != index.ndim:
        text = "take_along_axis takes an index of as many axes as the tensor"
        raise ShapeError(message(text, f"shapes {index.shape} and {node.shape}"))
    others = [tuple(1 if i == axis else n for i, n in enumerate(s)) for s in (node.shape, index.shape)]
    common = broadcast_shapes(*others, name="take_along_axis")
    node, index = (
        broadcast_to(n, tuple(n.shape[axis] if i == axis else s for i, s in enumerate(common))) for n in (node, index)
    )
    return gather(wrap(node), axis, wrap(index))


@both_names
def take_along_dim(x: Any, indices: Any, axis: int | None = None) -> Tensor:
    """Return elements by positions matched to `x` on all other axes; without an axis, of the flattened tensor.

    PyTorch's form of `take_along_axis`.

    Example:
        >>> plait.take_along_dim(plait.tensor([[1, 2], [3, 4]]), plait.tensor([3, 0]))
        tensor([4, 1])
    """
    return take_along_axis(x, indices, axis)


def mask_node(mask: Any) -> Node:
    """Return the node of a mask; raises `ArgumentTypeError` unless it is of bools."""
    node = to_node(mask)
    if node.dtype is not bool_:
        text = message("A mask is of bools", node.dtype.name, "bool", "compare first, e.g. x != 0")
        raise ArgumentTypeError(text)
    return node


@both_names
def masked_fill(x: Any, mask: Any, value: Any) -> Tensor:
    """Return `x` with a number where a mask holds.

    Args:
        x: a tensor.
        mask: a bool tensor, which broadcasts with `x`.
        value: a number, or a tensor of rank 0.

    Returns:
        A tensor of the broadcast shape and the dtype of `x`.

    Raises:
        ArgumentTypeError: the mask is not of bools.
        ShapeError: the value is no single number, or the shapes do not broadcast.

    Example:
        >>> plait.masked_fill(plait.tensor([1, 2]), plait.tensor([True, False]), 0)
        tensor([0, 2])
    """
    node = single(x, "masked_fill")
    plain = isinstance(value, (int, float)) and not isinstance(value, bool)
    new = scalar_node(value, node.dtype) if plain else converted(to_node(value), node.dtype)
    if new.ndim:
        text = "masked_fill takes one number"
        raise ShapeError(message(text, f"shape {new.shape}", "a rank-0 tensor", "use plait.where(mask, value, x)"))
    return wrap(P.select(mask_node(mask), new, node))


@both_names
def masked_select(x: Any, mask: Any) -> Tensor:
    """Return the elements where a mask holds, as a vector; their number is looked at.

    Args:
        x: a tensor.
        mask: a bool tensor, which broadcasts with `x`.

    Returns:
        A vector.

    Raises:
        ArgumentTypeError: the mask is not of bools.
        AbstractValueError: its value is not known, e.g. under `jit` and `vmap`.

    Example:
        >>> plait.masked_select(plait.tensor([1, 2, 3]), plait.tensor([True, False, True]))
        tensor([1, 3])
    """
    node, where = single(x, "masked_select"), mask_node(mask)
    shape = broadcast_shapes(node.shape, where.shape, name="masked_select")
    flat = P.reshape(broadcast_to(node, shape), shape=(prod(shape),))
    return wrap(P.gather(flat, mask_positions(broadcast_to(where, shape)), axes=(0,), mode="clip"))


@both_names
def nonzero(x: Any, as_tuple: bool | None = None, size: int | None = None, fill_value: int = -1) -> Any:
    """Return the positions of the non-zero elements, in row-major order; their number is looked at.

    Args:
        x: a tensor.
        as_tuple: False returns the positions as the rows of a matrix, PyTorch's default and that of the method.
        size: how many positions to return; given, nothing is looked at and the function can be staged.
        fill_value: the position on every axis where there are fewer than `size`.

    Returns:
        For each axis an int64 vector; or a matrix with a row for each element.

    Raises:
        ShapeError: `x` has no axis, and `as_tuple` was not given.
        AbstractValueError: the value is not known, e.g. under `jit` and `vmap`, and `size` not given.

    Example:
        >>> plait.nonzero(plait.tensor([0, 5, 0, 7]))
        (tensor([1, 3]),)
        >>> plait.nonzero(plait.tensor([0, 5, 0, 7]), as_tuple=False)
        tensor([[1],
                [3]])
    """
    node = single(x, "nonzero")
    if as_tuple is None and not node.ndim:
        raise ShapeError(message("nonzero needs an axis", "a rank-0 tensor", fix="use plait.atleast_1d, or argwhere"))
    if as_tuple and not node.ndim:
        node = P.reshape(node, shape=(1,))
    if size is not None and size < 0:
        raise ArgumentError(message("nonzero returns a number of positions", f"size={size}", "at least 0"))
    columns = _nonzero(node, size, fill_value)
    if as_tuple is not False:
        return tuple([wrap(c) for c in columns])
    if not columns:
        count = mask_positions(to_bool(node)).shape[0] if size is None else size
        return wrap(P.broadcast(scalar_node(0, int64), shape=(count, 0), axes=()))
    return wrap(P.concatenate(*[P.reshape(c, shape=(c.shape[0], 1)) for c in columns], axis=1))


def _nonzero(node: Node, size: int | None, fill: int) -> list[Node]:
    mask = to_bool(node)
    if size is None:
        flat = mask_positions(mask)
    else:
        flat = P.nonzero(P.reshape(mask, shape=(mask.aval.size,)), size=size, fill=-1)
    outside = None if size is None else P.lt(flat, scalar_node(0, int64))
    columns: list[Node] = []
    for length in reversed(node.shape):
        divisor = scalar_node(max(length, 1), int64)
        column = P.rem(flat, divisor)
        columns.append(column if outside is None else P.select(outside, scalar_node(fill, int64), column))
        flat = P.div(flat, divisor)
    return columns[::-1]


@both_names
def nonzero_static(x: Any, size: int, fill_value: int = -1) -> Tensor:
    """Return the positions of the first `size` non-zero elements as the rows of a matrix, without looking at values.

    Args:
        x: a tensor.
        size: number of rows.
        fill_value: fills the rows that are too many.

    Returns:
        An int64 matrix.

    Raises:
        ArgumentError: `size` is negative.

    Example:
        >>> plait.nonzero_static(plait.tensor([0, 5]), size=2)
        tensor([[ 1],
                [-1]])
    """
    return nonzero(x, False, size, fill_value)


@both_names
def argwhere(x: Any) -> Tensor:
    """Return the positions of the non-zero elements as the rows of a matrix; their number is looked at.

    Args:
        x: a tensor.

    Returns:
        An int64 matrix of as many columns as `x` has axes.

    Raises:
        AbstractValueError: the value is not known, e.g. under `jit` and `vmap`.

    Example:
        >>> plait.argwhere(plait.tensor([[0, 1], [2, 0]]))
        tensor([[0, 1],
                [1, 0]])
    """
    return nonzero(x, False)
