"""Functions that pick elements by position or condition, and that write to such elements."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

import numpy as np

from plait.core.dtype import bool_, int64
from plait.core.errors import ArgumentError, ArgumentTypeError, ShapeError, message
from plait.core.graph import Node
from plait.core.primitive import P
from plait.prims.rules import broadcast_shapes, broadcast_to
from plait.tensor.functions import both_names
from plait.tensor.indexing import mask_positions, wrapped
from plait.tensor.operators import promoted, scalar_node, single
from plait.tensor.tensor import Tensor, axis_index, converted, to_node, wrap


def _index(value: Any, name: str) -> Node:
    node = to_node(np.asarray(value, np.int64) if isinstance(value, (list, tuple)) and not value else value)
    if not node.dtype.is_integer:
        text = f"{name} takes integer positions"
        raise ArgumentTypeError(message(text, node.dtype.name, None, "convert with .to(plait.int64)"))
    return converted(node, int64)


@both_names
def take(x: Any, indices: Any, axis: int | None = None) -> Tensor:
    """Return the elements at positions along an axis.

    Args:
        x: a tensor.
        indices: integer positions of any shape, counted from the end if negative; beyond the end they are clipped.
        axis: the axis; None takes from the flattened tensor.

    Returns:
        A tensor with the shape of `indices` in place of the axis.

    Raises:
        ArgumentTypeError: the positions are not integers.

    Example:
        >>> plait.take(plait.tensor([10, 20, 30]), plait.tensor([2, 0]))
        tensor([30, 10])
    """
    node, index = single(x, "take"), _index(indices, "take")
    if axis is None:
        node, axis = P.reshape(node, shape=(node.aval.size,)), 0
    axis = axis_index(axis, node.ndim)
    result = P.gather(node, wrapped(index, node.shape[axis]), axes=(axis,), mode="clip")
    if axis:
        order = (*range(index.ndim, index.ndim + axis), *range(index.ndim), *range(index.ndim + axis, result.ndim))
        result = P.transpose(result, permutation=order)
    return wrap(result)


@both_names
def index_select(x: Tensor, axis: int, index: Any) -> Tensor:
    """Return the elements at positions along an axis (PyTorch's order of the arguments of `take`)."""
    return take(x, index, axis)


def _coordinates(index: Node, axis: int, size: int) -> list[Node]:
    """Positions on every axis for an index that covers one: its own on `axis`, the place in the index elsewhere."""
    return [
        wrapped(index, size) if i == axis else P.iota(dtype=int64, shape=index.shape, axis=i) for i in range(index.ndim)
    ]


def _check_covered(name: str, node: Node, index: Node, axis: int) -> None:
    pairs = enumerate(zip(index.shape, node.shape, strict=False))
    fits = node.ndim == index.ndim and all(i <= n for k, (i, n) in pairs if k != axis)
    if not fits:
        text = f"{name}: but for axis {axis}, the index is nowhere larger than the tensor"
        raise ShapeError(message(text, f"shapes {index.shape} and {node.shape}"))


@both_names
def gather(x: Any, axis: int, index: Any) -> Tensor:
    """Return `x[..., index[..., i, ...], ...]`: each element of `index` replaces its own place on one axis.

    Args:
        x: a tensor.
        axis: the axis.
        index: integer positions, of as many axes as `x`.

    Returns:
        A tensor of the shape of `index`.

    Raises:
        ShapeError: the index is larger than `x` on another axis.

    Example:
        >>> plait.gather(plait.tensor([[1, 2], [3, 4]]), 1, plait.tensor([[1], [0]]))
        tensor([[2],
                [3]])
    """
    node, positions = single(x, "gather"), _index(index, "gather")
    axis = axis_index(axis, node.ndim)
    _check_covered("gather", node, positions, axis)
    coordinates = _coordinates(positions, axis, node.shape[axis])
    return wrap(P.gather(node, *coordinates, axes=tuple(range(node.ndim)), mode="clip"))


@both_names
def take_along_axis(x: Any, indices: Any, axis: int = -1) -> Tensor:
    """Return elements by positions matched to `x` on all other axes, which broadcast (NumPy's form of `gather`)."""
    node, index = single(x, "take_along_axis"), _index(indices, "take_along_axis")
    axis = axis_index(axis, node.ndim)
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
def masked_fill(x: Any, mask: Any, value: Any) -> Tensor:
    """Return `x` with `value` where `mask` holds; the mask broadcasts."""
    node = single(x, "masked_fill")
    new = scalar_node(value, node.dtype) if isinstance(value, (int, float)) else converted(to_node(value), node.dtype)
    return wrap(P.select(_mask(mask), new, node))


def _mask(mask: Any) -> Node:
    node = to_node(mask)
    if node.dtype is not bool_:
        text = message("A mask is of bools", node.dtype.name, "bool", "compare first, e.g. x != 0")
        raise ArgumentTypeError(text)
    return node


@both_names
def masked_select(x: Any, mask: Any) -> Tensor:
    """Return the elements where `mask` holds, as a vector; their number is looked at."""
    node, where = single(x, "masked_select"), _mask(mask)
    shape = broadcast_shapes(node.shape, where.shape, name="masked_select")
    flat = P.reshape(broadcast_to(node, shape), shape=(prod(shape),))
    return wrap(P.gather(flat, mask_positions(broadcast_to(where, shape)), axes=(0,), mode="clip"))


def nonzero(x: Any) -> tuple[Tensor, ...]:
    """Return the positions of the non-zero elements; their number is looked at.

    Args:
        x: a tensor of at least one axis.

    Returns:
        For each axis an int64 vector.

    Raises:
        AbstractValueError: the value is not known, e.g. under `vmap`.

    Example:
        >>> plait.nonzero(plait.tensor([0, 5, 0, 7]))
        (tensor([1, 3]),)
    """
    node = single(x, "nonzero")
    mask = node if node.dtype is bool_ else P.ne(node, scalar_node(0, node.dtype))
    flat = mask_positions(mask)
    result = []
    for size in reversed(node.shape):
        length = scalar_node(max(size, 1), int64)
        result.append(wrap(P.rem(flat, length)))
        flat = P.div(flat, length)
    return tuple(reversed(result))


def argwhere(x: Any) -> Tensor:
    """Return the positions of the non-zero elements as the rows of a matrix; their number is looked at."""
    columns = nonzero(x)
    return wrap(P.concatenate(*[P.reshape(c._node, shape=(c.shape[0], 1)) for c in columns], axis=1))


# writing by position


_COMBINE = {None: "scatter_set", "add": "scatter_add", "sum": "scatter_add", "multiply": "scatter_mul",
            "prod": "scatter_mul", "amax": "scatter_max", "amin": "scatter_min"}  # fmt: skip


@both_names
def scatter(x: Any, axis: int, index: Any, src: Any, reduce: str | None = None) -> Tensor:
    """Return `x` with elements of `src` written at positions on one axis: the inverse of `gather`.

    Args:
        x: a tensor.
        axis: the axis.
        index: integer positions, of as many axes as `x`; those out of range are ignored.
        src: a number, or a tensor at least as large as `index`.
        reduce: how to combine with what is there: None replaces it; "sum", "prod", "amax", "amin".

    Returns:
        A new tensor of the shape of `x`.

    Raises:
        ShapeError: the index is larger than `src`, or than `x` on another axis.
        ArgumentError: another `reduce`.

    Example:
        >>> plait.scatter(plait.zeros(3), 0, plait.tensor([2, 0]), plait.tensor([5.0, 7.0]))
        tensor([7., 0., 5.])
    """
    if reduce not in _COMBINE:
        raise ArgumentError(message("Unknown reduce", repr(reduce), ", ".join(map(str, _COMBINE))))
    node, positions = single(x, "scatter"), _index(index, "scatter")
    axis = axis_index(axis, node.ndim)
    _check_covered("scatter", node, positions, axis)
    updates = converted(to_node(src), node.dtype)
    if not updates.ndim:
        updates = broadcast_to(updates, positions.shape)
    if updates.shape != positions.shape:
        _check_covered("scatter", updates, positions, -1)
        zeros, ones = (0,) * updates.ndim, (1,) * updates.ndim
        updates = P.slice(updates, starts=zeros, limits=positions.shape, strides=ones)
    coordinates = _coordinates(positions, axis, node.shape[axis])
    return wrap(getattr(P, _COMBINE[reduce])(node, updates, *coordinates, axes=tuple(range(node.ndim))))


@both_names
def scatter_add(x: Any, axis: int, index: Any, src: Any) -> Tensor:
    """Return `x` with elements of `src` added at positions on one axis: see `scatter`."""
    return scatter(x, axis, index, src, "add")


def _by_row(prim: str, x: Any, axis: int, index: Any, source: Any) -> Tensor:
    node, positions = promoted((x,), prim)[0], _index(index, prim)
    axis = axis_index(axis, node.ndim)
    rest = tuple(n for i, n in enumerate(node.shape) if i != axis)
    updates = converted(to_node(source), node.dtype)
    if updates.ndim:
        updates = P.transpose(updates, permutation=(axis, *[i for i in range(updates.ndim) if i != axis]))
    if positions.ndim != 1 or updates.ndim and updates.shape != (*positions.shape, *rest):
        text = "The source has the shape of the tensor, with the length of the index vector on its axis"
        raise ShapeError(message(text, f"index {positions.shape}, source {updates.shape}, tensor {node.shape}"))
    updates = broadcast_to(updates, (*positions.shape, *rest))
    index = wrapped(positions, node.shape[axis])
    return wrap(getattr(P, prim)(node, updates, index, axes=(axis,)))


@both_names
def index_add(x: Any, axis: int, index: Any, source: Any, alpha: float = 1) -> Tensor:
    """Return `x` with slices of `source` added to its slices at the positions of a vector `index` on one axis.

    Args:
        x: a tensor.
        axis: the axis.
        index: an integer vector.
        source: a tensor like `x`, with the length of `index` on the axis; or a number.
        alpha: factor of the source.

    Returns:
        A new tensor of the shape of `x`.

    Raises:
        ShapeError: the shapes do not fit.

    Example:
        >>> plait.index_add(plait.zeros(3), 0, plait.tensor([0, 0]), plait.tensor([1.0, 2.0]))
        tensor([3., 0., 0.])
    """
    scaled = source if alpha == 1 else wrap(to_node(source)) * alpha
    return _by_row("scatter_add", x, axis, index, scaled)


@both_names
def index_copy(x: Any, axis: int, index: Any, source: Any) -> Tensor:
    """Return `x` with slices of `source` in place of its slices at the positions of a vector `index` on one axis."""
    return _by_row("scatter_set", x, axis, index, source)


@both_names
def index_fill(x: Any, axis: int, index: Any, value: Any) -> Tensor:
    """Return `x` with a number in its slices at the positions of a vector `index` on one axis."""
    return _by_row("scatter_set", x, axis, index, value)


@both_names
def index_put(x: Tensor, indices: Sequence[Any], values: Any, accumulate: bool = False) -> Tensor:
    """Return `x` with `values` written at `x[indices]`; with `accumulate`, added, repeated positions repeatedly."""
    if accumulate:
        arrays = [_index(i, "index_put") for i in indices]
        shape = broadcast_shapes(*[a.shape for a in arrays], name="index_put")
        arrays = [broadcast_to(wrapped(a, x.shape[i]), shape) for i, a in enumerate(arrays)]
        updates = broadcast_to(converted(to_node(values), x.dtype), (*shape, *x.shape[len(arrays) :]))
        return wrap(P.scatter_add(single(x, "index_put"), updates, *arrays, axes=tuple(range(len(arrays)))))
    result = wrap(single(x, "index_put"))
    result[tuple(indices)] = values
    return result
