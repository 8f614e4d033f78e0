"""Functions that return a tensor with elements replaced by, or combined with, others: by position, mask or view."""

from __future__ import annotations

import builtins
from collections.abc import Callable, Sequence
from inspect import Parameter, Signature, signature
from typing import Any

from plait.core.dtype import DType, bool_, int64, uint8
from plait.core.errors import ArgumentError, ShapeError, message
from plait.core.graph import Node
from plait.core.primitive import P
from plait.prims.rules import broadcast_shapes, broadcast_to
from plait.tensor.axes import like_rank, with_axis
from plait.tensor.diagonals import diagonal
from plait.tensor.extremes import limits_of
from plait.tensor.families import both_names
from plait.tensor.indexing import parse, positions, replaced
from plait.tensor.operators import scalar_node, single
from plait.tensor.selection import check_covered, coordinates, index_node, mask_node
from plait.tensor.shaping import as_operand
from plait.tensor.splitting import select, slice
from plait.tensor.strides import as_strided
from plait.tensor.tensor import Tensor, converted, node_of, to_node, wrap
from plait.tensor.views import update

__all__ = [
    "as_strided_scatter", "diagonal_scatter", "index_add", "index_copy", "index_fill", "index_put", "index_reduce",
    "masked_scatter", "put", "scatter", "scatter_add", "scatter_reduce", "select_scatter", "slice_scatter",
]  # fmt: skip

_COMBINE = {None: "scatter_set", "add": "scatter_add", "sum": "scatter_add", "mean": "scatter_add",
            "multiply": "scatter_mul", "prod": "scatter_mul", "amax": "scatter_max",
            "amin": "scatter_min"}  # fmt: skip

_ON_BOOL = {"add": "amax", "sum": "amax", "multiply": "amin", "prod": "amin", "amax": "amax", "amin": "amin",
            "mean": "mean"}  # fmt: skip


def _check_reduce(reduce: Any, accepted: Sequence[Any]) -> None:
    if reduce not in accepted:
        raise ArgumentError(message("Unknown reduce", repr(reduce), ", ".join(map(str, accepted))))


def _nothing(reduce: str, dtype: DType) -> Any:
    """Return what does not change the others when combined with them."""
    low, high = limits_of(dtype) if reduce in ("amax", "amin") else (0, 0)
    return {"prod": 1, "amax": low, "amin": high}.get(reduce, 0)


def _combined(
    node: Node, updates: Node, indices: Sequence[Node], axes: tuple[int, ...], reduce: str | None,
    include_self: bool = True,
) -> Node:  # fmt: skip
    """Return `node` combined with the updates; without `include_self`, what is there is forgotten where they go."""
    place = {"axes": axes}
    if node.dtype is bool_ and reduce is not None:
        parts = [converted(n, uint8) for n in (node, updates)]
        return converted(_combined(*parts, indices, axes, _ON_BOOL[reduce], include_self), bool_)
    if not include_self and reduce is not None:
        fresh = broadcast_to(scalar_node(_nothing(reduce, node.dtype), node.dtype), updates.shape)
        node = P.scatter_set(node, fresh, *indices, **place)
    result: Node = getattr(P, _COMBINE[reduce])(node, updates, *indices, **place)
    if reduce != "mean":
        return result
    start = broadcast_to(scalar_node(int(include_self), int64), node.shape)
    ones = broadcast_to(scalar_node(1, int64), updates.shape)
    count = P.max(P.scatter_add(start, ones, *indices, **place), scalar_node(1, int64))
    return _divided(result, converted(count, node.dtype))


def _divided(a: Node, b: Node) -> Node:
    """Return a / b, integers rounded down."""
    if not a.dtype.is_integer or a.dtype.kind == "u":
        return a / b
    quotient = a / b
    return quotient - converted(P.lt(P.rem(a, b), scalar_node(0, a.dtype)), a.dtype)


def _scattered(
    name: str, x: Any, axis: int, index: Any, src: Any, reduce: str | None, include_self: bool = True
) -> Tensor:
    node, index = single(x, name), index_node(index, name)
    operand, axis = with_axis(node, axis)
    place = index if index.ndim else P.reshape(index, shape=(1,))
    if not place.aval.size:
        return wrap(P.reshape(node, shape=node.shape))
    check_covered(name, operand, place, axis)
    updates = converted(to_node(src), node.dtype)
    if not updates.ndim:
        updates = broadcast_to(updates, place.shape)
    if updates.shape != place.shape:
        check_covered(name, updates, place, -1)
        zeros, ones = (0,) * updates.ndim, (1,) * updates.ndim
        updates = P.slice(updates, starts=zeros, limits=place.shape, strides=ones)
    found = coordinates(place, axis, operand)
    return like_rank(_combined(operand, updates, found, tuple(range(operand.ndim)), reduce, include_self), node)


@both_names(value="src")
def scatter(x: Any, axis: int, index: Any, src: Any, reduce: str | None = None) -> Tensor:
    """Return `x` with elements of `src` written at positions on one axis: the inverse of `gather`.

    Args:
        x: a tensor.
        axis: the axis.
        index: integer positions, of as many axes as `x`.
        src: a number, or a tensor at least as large as `index` (`value` is another name).
        reduce: how to combine with what is there: None replaces it; "add", "multiply", "amax", "amin".

    Returns:
        A new tensor of the shape of `x`. Of several elements written to one place, the last remains.

    Raises:
        ShapeError: the index is larger than `src`, or than `x` on another axis.
        ArgumentError: another `reduce`.
        IndexOutOfRangeError: a position that is known is out of range.

    Example:
        >>> plait.scatter(plait.zeros(3), 0, plait.tensor([2, 0]), plait.tensor([5.0, 7.0]))
        tensor([7., 0., 5.])
    """
    _check_reduce(reduce, [r for r in _COMBINE if r != "mean"])
    return _scattered("scatter", x, axis, index, src, reduce)


@both_names
def scatter_add(x: Any, axis: int, index: Any, src: Any) -> Tensor:
    """Return `x` with elements of `src` added at positions on one axis; see `scatter` for the arguments.

    Example:
        >>> plait.scatter_add(plait.zeros(3), 0, plait.tensor([2, 2]), plait.tensor([5.0, 7.0]))
        tensor([ 0.,  0., 12.])
    """
    return _scattered("scatter_add", x, axis, index, src, "add")


@both_names
def scatter_reduce(x: Any, axis: int, index: Any, src: Any, reduce: str, include_self: bool = True) -> Tensor:
    """Return `x` with elements of `src` combined with it at positions on one axis.

    Args:
        x: a tensor.
        axis: the axis.
        index: integer positions, of as many axes as `x`.
        src: a tensor at least as large as `index`.
        reduce: "sum", "prod", "mean", "amax" or "amin".
        include_self: whether the elements of `x` take part.

    Returns:
        A new tensor of the shape of `x`.

    Raises:
        ShapeError: the index is larger than `src`, or than `x` on another axis.
        ArgumentError: another `reduce`.

    Example:
        >>> plait.scatter_reduce(plait.ones(2), 0, plait.tensor([1, 1]), plait.tensor([5.0, 9.0]), "mean")
        tensor([1., 5.])
    """
    _check_reduce(reduce, ("sum", "prod", "mean", "amax", "amin"))
    return _scattered("scatter_reduce", x, axis, index, src, reduce, include_self)


def _by_row(
    name: str, x: Any, axis: int, index: Any, source: Any, reduce: str | None, include_self: bool = True
) -> Tensor:
    node, index = single(x, name), index_node(index, name)
    operand, axis = with_axis(node, axis)
    index = index if index.ndim else P.reshape(index, shape=(1,))
    rest = tuple(n for i, n in enumerate(operand.shape) if i != axis)
    updates = converted(to_node(source), node.dtype)
    if not updates.ndim:
        updates = broadcast_to(updates, (*index.shape, *rest))
    elif updates.ndim == operand.ndim and axis:
        updates = P.transpose(updates, permutation=(axis, *[i for i in range(updates.ndim) if i != axis]))
    if index.ndim != 1 or updates.shape != (*index.shape, *rest):
        text = "The source has the shape of the tensor, with the length of the index vector on its axis"
        raise ShapeError(message(text, f"index {index.shape}, source {updates.shape}, tensor {node.shape}"))
    place = positions(index, operand.shape[axis], axis)
    return like_rank(_combined(operand, updates, [place], (axis,), reduce, include_self), node)


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
        IndexOutOfRangeError: a position that is known is out of range.

    Example:
        >>> plait.index_add(plait.zeros(3), 0, plait.tensor([0, 0]), plait.tensor([1.0, 2.0]))
        tensor([3., 0., 0.])
    """
    x = as_operand(x, "index_add")
    factor = alpha % (1 << x.dtype.bits) if x.dtype.kind == "u" else alpha
    scaled = source if alpha == 1 else wrap(to_node(source)) * factor
    return _by_row("index_add", x, axis, index, scaled, "add")


@both_names
def index_copy(x: Any, axis: int, index: Any, source: Any) -> Tensor:
    """Return `x` with slices of `source` in place of its slices at the positions of a vector `index` on one axis.

    See `index_add` for the arguments.

    Example:
        >>> plait.index_copy(plait.zeros(3), 0, plait.tensor([2, 0]), plait.tensor([1.0, 2.0]))
        tensor([2., 0., 1.])
    """
    return _by_row("index_copy", x, axis, index, source, None)


@both_names
def index_fill(x: Any, axis: int, index: Any, value: Any) -> Tensor:
    """Return `x` with a number in its slices at the positions of a vector `index` on one axis.

    Args:
        x: a tensor.
        axis: the axis.
        index: an integer vector.
        value: a number, or a tensor of rank 0.

    Returns:
        A new tensor of the shape of `x`.

    Raises:
        ShapeError: the value is no single number.

    Example:
        >>> plait.index_fill(plait.zeros(3), 0, plait.tensor([2, 0]), 5)
        tensor([5., 0., 5.])
    """
    number = to_node(value)
    if number.ndim:
        raise ShapeError(message("index_fill takes one number", f"shape {number.shape}", "a rank-0 tensor"))
    return _by_row("index_fill", x, axis, index, wrap(number), None)


@both_names
def index_reduce(x: Any, axis: int, index: Any, source: Any, reduce: str, include_self: bool = True) -> Tensor:
    """Return `x` with slices of `source` combined with its slices at the positions of a vector `index` on one axis.

    Args:
        x: a tensor.
        axis: the axis.
        index: an integer vector.
        source: a tensor like `x`, with the length of `index` on the axis.
        reduce: "prod", "mean", "amax" or "amin".
        include_self: whether the elements of `x` take part.

    Returns:
        A new tensor of the shape of `x`.

    Raises:
        ShapeError: the shapes do not fit.
        ArgumentError: another `reduce`.

    Example:
        >>> plait.index_reduce(plait.ones(2), 0, plait.tensor([1, 1]), plait.tensor([5.0, 9.0]), "amax")
        tensor([1., 9.])
    """
    _check_reduce(reduce, ("prod", "mean", "amax", "amin", "sum"))
    return _by_row("index_reduce", x, axis, index, source, reduce, include_self)


@both_names
def index_put(x: Any, indices: Sequence[Any], values: Any, accumulate: bool = False) -> Tensor:
    """Return `x` with `values` written at `x[indices]`.

    Args:
        x: a tensor.
        indices: integer or bool tensors, as in `x[indices]`; None stands for a whole axis.
        values: a tensor that broadcasts to `x[indices]`, or a number.
        accumulate: whether values are added, repeated positions repeatedly.

    Returns:
        A new tensor of the shape of `x`.

    Raises:
        ShapeError: the values do not broadcast.
        IndexOutOfRangeError: a position that is known is out of range.

    Example:
        >>> plait.index_put(plait.zeros(3), (plait.tensor([0, 0]),), plait.tensor([1.0, 2.0]), accumulate=True)
        tensor([3., 0., 0.])
    """
    x = as_operand(x, "index_put")
    plan = parse(x, tuple([builtins.slice(None) if i is None else i for i in indices]))
    node, new = node_of(x), converted(to_node(values), x.dtype)
    if not plan.arrays:
        text = "index_put takes index tensors"
        raise ArgumentError(message(text, indices, "at least one tensor", "use x + values, or x.copy_(values)"))
    return wrap(replaced(node, plan, new, accumulate))


@both_names
def put(x: Any, index: Any, source: Any, accumulate: bool = False) -> Tensor:
    """Return `x` with elements of `source` written at positions in the flattened tensor.

    Args:
        x: a tensor.
        index: integer positions.
        source: a tensor of as many elements.
        accumulate: whether they are added, repeated positions repeatedly.

    Returns:
        A new tensor of the shape of `x`.

    Raises:
        ShapeError: there are not as many elements as positions.
        IndexOutOfRangeError: a position that is known is out of range.

    Example:
        >>> plait.put(plait.zeros(2, 2), plait.tensor([3, 0]), plait.tensor([1.0, 2.0]))
        tensor([[2., 0.],
                [0., 1.]])
    """
    node, index, updates = single(x, "put"), index_node(index, "put"), to_node(source)
    if updates.aval.size != index.aval.size:
        text = "put takes an element for each position"
        raise ShapeError(message(text, f"index {index.shape}, source {updates.shape}"))
    flat, place, values = (P.reshape(n, shape=(n.aval.size,)) for n in (node, index, converted(updates, node.dtype)))
    if not place.aval.size:
        return wrap(P.reshape(node, shape=node.shape))
    found = positions(index, node.aval.size)
    result = _combined(flat, values, [P.reshape(found, shape=place.shape)], (0,), "add" if accumulate else None)
    return wrap(P.reshape(result, shape=node.shape))


@both_names
def masked_scatter(x: Any, mask: Any, source: Any) -> Tensor:
    """Return `x` with the elements of `source`, in order, where a mask holds.

    Args:
        x: a tensor.
        mask: a bool tensor, which broadcasts with `x`.
        source: a tensor of at least as many elements as the mask holds, of the dtype of `x`; where there are too
            few, the last is repeated.

    Returns:
        A tensor of the broadcast shape.

    Raises:
        ArgumentTypeError: the mask is not of bools.
        ShapeError: the shapes do not broadcast.

    Example:
        >>> plait.masked_scatter(plait.zeros(3), plait.tensor([True, False, True]), plait.tensor([1.0, 2.0]))
        tensor([1., 0., 2.])
    """
    node, where = single(x, "masked_scatter"), mask_node(mask)
    shape = broadcast_shapes(node.shape, where.shape, name="masked_scatter")
    node, where = broadcast_to(node, shape), broadcast_to(where, shape)
    values = converted(to_node(source), node.dtype)
    if not values.aval.size:
        return wrap(node)
    flat = P.reshape(where, shape=(where.aval.size,))
    ranks = P.cumsum(converted(flat, int64), axis=0, reverse=False) - scalar_node(1, int64)
    taken = P.gather(P.reshape(values, shape=(values.aval.size,)), ranks, axes=(0,), mode="clip")
    return wrap(P.select(where, P.reshape(taken, shape=shape), node))


def _embedding(view: Callable[..., Tensor], arguments: str, sample: str, result: str) -> Callable[..., Tensor]:
    """Return the function that replaces what `view` shows."""
    name = f"{view.__name__}_scatter"

    @both_names
    def function(x: Any, src: Any, *args: Any, **kwargs: Any) -> Tensor:
        base = wrap(single(x, name))
        shown = view(base, *args, **kwargs)
        value = converted(to_node(src), base.dtype)
        if value.shape != shown.shape:
            raise ShapeError(message(f"The source of {name} has another shape", value.shape, shown.shape))
        return wrap(value if shown is base else update(base._node, shown._view, value))

    function.__name__ = function.__qualname__ = name
    first, *others = signature(view).parameters.values()
    source = Parameter("src", Parameter.POSITIONAL_OR_KEYWORD)
    function.__signature__ = Signature([first, source, *others])
    function.__doc__ = f"""Return `x` with `src` in place of what `{view.__name__}(x, {arguments})` shows.

    Args:
        x: a tensor.
        src: a tensor of the shape of that view.
        args: the arguments of `{view.__name__}`: {arguments}.

    Returns:
        A new tensor of the shape of `x`.

    Raises:
        ShapeError: `src` has another shape.

    Example:
        >>> plait.{name}(plait.zeros(2, 2), {sample})
        {result}
    """
    return function


select_scatter = _embedding(
    select, "axis, index", "plait.ones(2), 1, 0", "tensor([[1., 0.],\n                [1., 0.]])"
)
slice_scatter = _embedding(
    slice, "axis, start, end, step", "plait.ones(1, 2), 0, 1", "tensor([[0., 0.],\n                [1., 1.]])"
)
diagonal_scatter = _embedding(
    diagonal, "offset, axis1, axis2", "plait.ones(2)", "tensor([[1., 0.],\n                [0., 1.]])"
)
as_strided_scatter = _embedding(
    as_strided, "size, stride, offset", "plait.ones(2), (2,), (3,)", "tensor([[1., 0.],\n                [0., 1.]])"
)
