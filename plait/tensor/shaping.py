"""Functions that rearrange: views where the memory can be shared, copies otherwise; and conversions of dtype."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

from plait.core.dtype import as_dtype
from plait.core.errors import ArgumentError, ArgumentTypeError, ShapeError, message
from plait.core.primitive import P
from plait.prims.rules import broadcast_shapes
from plait.tensor.functions import both_names
from plait.tensor.operators import single
from plait.tensor.reductions import normalized_axes
from plait.tensor.tensor import Tensor, axis_index, make_view, wrap
from plait.tensor.views import Step, step


def as_operand(x: Any, name: str) -> Tensor:
    """Return `x` if it is a tensor, else a tensor of the array or number."""
    return x if isinstance(x, Tensor) else wrap(single(x, name))


def shape_of(sizes: tuple[Any, ...]) -> tuple[int, ...]:
    """Return a shape given as one sequence or as several integers."""
    values = sizes[0] if len(sizes) == 1 and not hasattr(sizes[0], "__index__") else sizes
    try:
        return tuple([s.__index__() for s in values])
    except (AttributeError, TypeError):
        text = message("A shape is made of integers", repr(sizes), None, "pass e.g. (2, 3) or 2, 3")
        raise ArgumentTypeError(text) from None


def new_shape(sizes: tuple[Any, ...]) -> tuple[int, ...]:
    """Return the shape of a new tensor, given as one sequence or as several integers."""
    shape = shape_of(sizes)
    if any(s < 0 for s in shape):
        raise ShapeError(message("Sizes are not negative", shape, None, "-1 is understood by reshape only"))
    return shape


def _reshaped(x: Tensor, shape: Sequence[int]) -> Tensor:
    return x if tuple(shape) == x.shape else make_view(x, step("reshape", shape=tuple(shape)))


def reshape(x: Any, *shape: Any) -> Tensor:
    """Return a view of another shape with the same elements in row-major order.

    Args:
        x: a tensor.
        shape: sizes, one of which may be -1: it is computed from the others.

    Returns:
        A view: writing to it writes to `x`.

    Raises:
        ShapeError: the number of elements differs.

    Example:
        >>> plait.reshape(plait.tensor([1, 2, 3, 4]), (2, -1))
        tensor([[1, 2],
                [3, 4]])
    """
    x = as_operand(x, "reshape")
    wanted = shape_of(shape)
    count = x.numel()
    if -1 in wanted:
        known = -prod(wanted)
        if known and count % known == 0:
            wanted = tuple([count // known if s == -1 else s for s in wanted])
    if prod(wanted) != count or wanted and min(wanted) < 0:
        fix = "the product of the sizes must be the number of elements; at most one size may be -1"
        text = "Cannot reshape to another number of elements"
        raise ShapeError(message(text, f"{wanted} for a tensor of shape {x.shape}", f"{count} elements", fix))
    return _reshaped(x, wanted)


def view(x: Tensor, *shape: Any) -> Tensor:
    """Return a view of another shape, or, given a dtype, of the same bits as that dtype.

    Args:
        x: a tensor.
        shape: sizes, one of which may be -1; or one dtype of the same number of bits.

    Returns:
        A view: writing to it writes to `x`.

    Raises:
        ShapeError: the number of elements differs.
        DTypeError: the dtype has another number of bits.

    Example:
        >>> plait.tensor([1.0]).view(plait.int32)
        tensor([1065353216], dtype=plait.int32)
    """
    if len(shape) == 1 and not isinstance(shape[0], (int, tuple, list)) and not hasattr(shape[0], "__index__"):
        return make_view(x, step("bitcast", dtype=as_dtype(shape[0])))
    return reshape(x, *shape)


def view_as(x: Tensor, y: Tensor) -> Tensor:
    """Return a view of `x` with the shape of `y`."""
    return reshape(x, y.shape)


def flatten(x: Any, start_dim: int = 0, end_dim: int = -1) -> Tensor:
    """Return a view with the axes from `start_dim` to `end_dim`, inclusive, merged into one.

    Args:
        x: a tensor.
        start_dim: first merged axis.
        end_dim: last merged axis.

    Returns:
        A view.

    Raises:
        ShapeError: there is no such axis, or the last comes before the first.

    Example:
        >>> plait.flatten(plait.tensor([[1, 2], [3, 4]]))
        tensor([1, 2, 3, 4])
    """
    x = as_operand(x, "flatten")
    if not x.ndim:
        return _reshaped(x, (1,))
    first, last = axis_index(start_dim, x.ndim), axis_index(end_dim, x.ndim)
    if last < first:
        raise ShapeError(message("flatten ends before it starts", f"start_dim={start_dim}, end_dim={end_dim}"))
    return _reshaped(x, (*x.shape[:first], prod(x.shape[first : last + 1]), *x.shape[last + 1 :]))


def ravel(x: Any) -> Tensor:
    """Return a view with all axes merged into one."""
    return flatten(x)


@both_names
def unflatten(x: Any, axis: int, sizes: Sequence[int]) -> Tensor:
    """Return a view with one axis split into several of `sizes`, one of which may be -1."""
    x = as_operand(x, "unflatten")
    position = axis_index(axis, x.ndim)
    inner, known = list(sizes), prod(s for s in sizes if s != -1)
    if inner.count(-1) == 1 and known:
        inner[inner.index(-1)] = x.shape[position] // known
    return reshape(x, (*x.shape[:position], *inner, *x.shape[position + 1 :]))


@both_names
def squeeze(x: Any, axis: Any = None) -> Tensor:
    """Return a view without axes of size 1.

    Args:
        x: a tensor.
        axis: the axis or axes to drop, those of another size are kept; None drops every axis of size 1.

    Returns:
        A view.

    Example:
        >>> plait.squeeze(plait.tensor([[1, 2]]))
        tensor([1, 2])
    """
    x = as_operand(x, "squeeze")
    axes = normalized_axes(axis, x.ndim)
    return _reshaped(x, [n for i, n in enumerate(x.shape) if n != 1 or i not in axes])


@both_names
def unsqueeze(x: Any, axis: Any) -> Tensor:
    """Return a view with a new axis of size 1 at position `axis` of the result.

    Args:
        x: a tensor.
        axis: position of the new axis, or several of them.

    Returns:
        A view.

    Raises:
        ShapeError: the position is out of range.

    Example:
        >>> plait.unsqueeze(plait.tensor([1, 2]), 1)
        tensor([[1],
                [2]])
    """
    x = as_operand(x, "unsqueeze")
    count = 1 if hasattr(axis, "__index__") else len(axis)
    new = normalized_axes(axis, x.ndim + count)
    sizes = iter(x.shape)
    return _reshaped(x, [1 if i in new else next(sizes) for i in range(x.ndim + count)])


def expand_dims(x: Any, axis: Any = 0) -> Tensor:
    """Return a view with a new axis of size 1 at position `axis` (another name of `unsqueeze`)."""
    return unsqueeze(x, axis)


def permute(x: Any, *axes: Any) -> Tensor:
    """Return a view with the axes in another order.

    Args:
        x: a tensor.
        axes: for each axis of the result, the axis of `x` it comes from.

    Returns:
        A view.

    Raises:
        ShapeError: the axes are not a permutation.

    Example:
        >>> plait.permute(plait.tensor([[1, 2], [3, 4]]), 1, 0)
        tensor([[1, 3],
                [2, 4]])
    """
    x = as_operand(x, "permute")
    order = tuple([axis_index(a, x.ndim) for a in shape_of(axes)])
    if sorted(order) != list(range(x.ndim)):
        text = "permute names each axis once"
        raise ShapeError(message(text, shape_of(axes), f"a permutation of the {x.ndim} axes"))
    return x if order == tuple(range(x.ndim)) else make_view(x, step("transpose", permutation=order))


def permute_dims(x: Any, axes: Sequence[int]) -> Tensor:
    """Return a view with the axes in another order (another name of `permute`)."""
    return permute(x, tuple(axes))


def transpose(x: Any, *axes: Any) -> Tensor:
    """Swap two axes (`transpose(x, 0, 1)`, as in PyTorch), or reorder all (a tuple or nothing, as in NumPy).

    Args:
        x: a tensor.
        axes: two axes to swap; or one sequence that permutes all axes; nothing reverses them.

    Returns:
        A view.

    Example:
        >>> plait.transpose(plait.tensor([[1, 2], [3, 4]]), 0, 1)
        tensor([[1, 3],
                [2, 4]])
    """
    x = as_operand(x, "transpose")
    if len(axes) == 2:
        return swapaxes(x, *axes)
    if not axes or axes[0] is None:
        return permute(x, tuple(range(x.ndim))[::-1])
    return permute(x, *axes)


def swapaxes(x: Any, axis0: int, axis1: int) -> Tensor:
    """Return a view with two axes swapped."""
    x = as_operand(x, "swapaxes")
    order = list(range(x.ndim))
    i, j = axis_index(axis0, x.ndim), axis_index(axis1, x.ndim)
    order[i], order[j] = j, i
    return permute(x, order)


swapdims = swapaxes


def movedim(x: Any, source: Any, destination: Any) -> Tensor:
    """Return a view with axes moved to other positions, the others keeping their order.

    Args:
        x: a tensor.
        source: an axis or several.
        destination: where each of them goes.

    Returns:
        A view.

    Raises:
        ShapeError: the counts differ or an axis is named twice.

    Example:
        >>> plait.movedim(plait.zeros(2, 3, 5), 0, -1).shape
        (3, 5, 2)
    """
    x = as_operand(x, "movedim")
    one = hasattr(source, "__index__")
    origins = [axis_index(a, x.ndim) for a in ([source] if one else source)]
    targets = [axis_index(a, x.ndim) for a in ([destination] if one else destination)]
    if len(origins) != len(targets) or len(set(origins)) < len(origins) or len(set(targets)) < len(targets):
        text = "movedim takes as many distinct destinations as sources"
        raise ShapeError(message(text, f"source={source}, destination={destination}"))
    rest = iter([a for a in range(x.ndim) if a not in origins])
    place = dict(zip(targets, origins, strict=True))
    return permute(x, [place[i] if i in place else next(rest) for i in range(x.ndim)])


moveaxis = movedim


def matrix_transpose(x: Any) -> Tensor:
    """Return a view with the last two axes swapped; raises `ShapeError` for fewer than two axes."""
    x = as_operand(x, "matrix_transpose")
    if x.ndim < 2:
        raise ShapeError(message("A matrix has two axes", f"shape {x.shape}", None, "use x[None] for a row"))
    return swapaxes(x, -1, -2)


def broadcast_to(x: Any, *shape: Any) -> Tensor:
    """Return a view stretched to `shape`: axes of size 1 repeat, new axes come first.

    Args:
        x: a tensor.
        shape: the new sizes; -1 keeps the size of an axis.

    Returns:
        A view; where it repeats elements it cannot be written to.

    Raises:
        ShapeError: an axis of another size than 1 would change.

    Example:
        >>> plait.broadcast_to(plait.tensor([1, 2]), (2, 2))
        tensor([[1, 2],
                [1, 2]])
    """
    x = as_operand(x, "broadcast_to")
    wanted = list(shape_of(shape))
    offset = len(wanted) - x.ndim
    for axis, size in enumerate(x.shape):
        if offset >= 0 and wanted[offset + axis] == -1:
            wanted[offset + axis] = size
    if offset < 0 or any(n not in (1, m) for n, m in zip(x.shape, wanted[offset:], strict=True)) or -1 in wanted:
        text = "Only axes of size 1 can be expanded, and new axes come first"
        raise ShapeError(message(text, f"{tuple(wanted)} for shape {x.shape}", None, "insert axes with x[:, None]"))
    if tuple(wanted) == x.shape:
        return x
    return make_view(x, step("broadcast", shape=tuple(wanted), axes=tuple(range(offset, len(wanted)))))


expand = broadcast_to


def expand_as(x: Tensor, y: Tensor) -> Tensor:
    """Return a view of `x` stretched to the shape of `y`."""
    return broadcast_to(x, y.shape)


def broadcast_tensors(*tensors: Any) -> list[Tensor]:
    """Return views of the tensors stretched to their common shape; raises `ShapeError` if there is none."""
    values = [as_operand(t, "broadcast_tensors") for t in tensors]
    shape = broadcast_shapes(*[v.shape for v in values], name="broadcast_tensors")
    return [broadcast_to(v, shape) for v in values]


broadcast_arrays = broadcast_tensors


@both_names
def narrow(x: Tensor, axis: int, start: int, length: int) -> Tensor:
    """Return a view of `length` elements from `start` on one axis.

    Args:
        x: a tensor.
        axis: the axis.
        start: first element, counted from the end if negative.
        length: how many.

    Returns:
        A view.

    Raises:
        ShapeError: the range leaves the axis.

    Example:
        >>> plait.narrow(plait.tensor([1, 2, 3, 4]), 0, 1, 2)
        tensor([2, 3])
    """
    axis = axis_index(axis, x.ndim)
    first = start + x.shape[axis] if start < 0 else start
    if first < 0 or length < 0 or first + length > x.shape[axis]:
        received = f"start={start}, length={length} on an axis of size {x.shape[axis]}"
        raise ShapeError(message("narrow leaves the axis", received))
    return make_view(x, range_step(x.shape, axis, first, first + length))


def range_step(shape: Sequence[int], axis: int, start: int, stop: int) -> Step:
    """Return the step that keeps elements `start` to `stop` of one axis."""
    starts = tuple([start if i == axis else 0 for i in range(len(shape))])
    limits = tuple([stop if i == axis else n for i, n in enumerate(shape)])
    return step("slice", starts=starts, limits=limits, strides=(1,) * len(shape))


@both_names
def split(x: Any, split_size: Any, axis: int = 0) -> list[Tensor]:
    """Cut into views along an axis.

    Args:
        x: a tensor.
        split_size: the size of each piece (the last may be smaller), or the list of their sizes.
        axis: the axis.

    Returns:
        A list of views.

    Raises:
        ShapeError: the sizes do not add up to the axis.

    Example:
        >>> plait.split(plait.tensor([1, 2, 3]), 2)
        [tensor([1, 2]), tensor([3])]
    """
    x = as_operand(x, "split")
    axis = axis_index(axis, x.ndim)
    total = x.shape[axis]
    if hasattr(split_size, "__index__"):
        if split_size <= 0:
            raise ArgumentError(message("Pieces have at least one element", split_size, "a positive size"))
        sizes = [min(split_size, total - i) for i in range(0, total, split_size)] or [0]
    else:
        sizes = list(split_size)
    if sum(sizes) != total or any(s < 0 for s in sizes):
        raise ShapeError(message("The sizes of the pieces do not add up", sizes, f"a sum of {total}"))
    ends = [sum(sizes[: i + 1]) for i in range(len(sizes))]
    return [make_view(x, range_step(x.shape, axis, end - size, end)) for size, end in zip(sizes, ends, strict=True)]


@both_names
def chunk(x: Any, chunks: int, axis: int = 0) -> list[Tensor]:
    """Cut into at most `chunks` views of equal size along an axis; the last may be smaller."""
    if chunks <= 0:
        raise ArgumentError(message("chunk makes at least one piece", chunks, "a positive number"))
    x = as_operand(x, "chunk")
    size = x.shape[axis_index(axis, x.ndim)]
    return split(x, max(1, -(-size // chunks)), axis)


@both_names
def unbind(x: Any, axis: int = 0) -> list[Tensor]:
    """Return a view of each element of an axis, without it."""
    x = as_operand(x, "unbind")
    axis = axis_index(axis, x.ndim)
    shape = (*x.shape[:axis], *x.shape[axis + 1 :])
    drop = step("reshape", shape=shape)
    return [make_view(x, range_step(x.shape, axis, i, i + 1), drop) for i in range(x.shape[axis])]


unstack = unbind


@both_names
def diagonal(x: Any, offset: int = 0, axis1: int = 0, axis2: int = 1) -> Tensor:
    """Return a view of a diagonal, as the last axis.

    Args:
        x: a tensor of at least two axes.
        offset: how far above (positive) or below the main diagonal.
        axis1: axis of the rows.
        axis2: axis of the columns.

    Returns:
        A view.

    Raises:
        ShapeError: there are no two such axes.

    Example:
        >>> plait.diagonal(plait.tensor([[1, 2], [3, 4]]))
        tensor([1, 4])
    """
    x = movedim(as_operand(x, "diagonal"), (axis1, axis2), (-2, -1))
    *outer, rows, columns = x.shape
    start = offset if offset >= 0 else -offset * columns
    count = max(0, min(rows, columns - offset) if offset >= 0 else min(rows + offset, columns))
    # in row-major order a diagonal is every (columns + 1)-th element
    limit = start + (count - 1) * (columns + 1) + 1 if count else start
    start, limit = (start, limit) if count else (0, 0)
    zeros = (0,) * len(outer)
    ones = (1,) * len(outer)
    every = step("slice", starts=(*zeros, start), limits=(*outer, limit), strides=(*ones, columns + 1))
    return make_view(x, step("reshape", shape=(*outer, rows * columns)), every)


def real(x: Any) -> Tensor:
    """Return a view of the real parts."""
    x = as_operand(x, "real")
    return make_view(x, step("real")) if x.dtype.is_complex else x


def imag(x: Any) -> Tensor:
    """Return a view of the imaginary parts of a complex tensor."""
    return make_view(as_operand(x, "imag"), step("imag"))


def clone(x: Any) -> Tensor:
    """Return a copy: writing to it does not change `x`; gradients flow through."""
    node = single(x, "clone")
    return wrap(P.reshape(node, shape=node.shape))


def contiguous(x: Tensor) -> Tensor:
    """Return `x`: values are always stored densely in row-major order."""
    return x


def astype(x: Any, dtype: Any, copy: bool = True) -> Tensor:
    """Convert to another dtype.

    Floats become integers by truncation, complex numbers lose their imaginary part, anything becomes bool by != 0.

    Args:
        x: a tensor.
        dtype: the new element type.
        copy: with False, `x` itself is returned where it already has that dtype.

    Returns:
        A tensor of the shape of `x`.

    Raises:
        DTypeError: `dtype` is no dtype.

    Example:
        >>> plait.astype(plait.tensor([1.7, -1.7]), plait.int32)
        tensor([ 1, -1], dtype=plait.int32)
    """
    wanted = as_dtype(dtype)
    node = single(x, "astype")
    if node.dtype is wanted:
        return clone(x) if copy else as_operand(x, "astype")
    return wrap(P.convert(node, dtype=wanted))


def to(x: Tensor, *args: Any, dtype: Any = None, device: Any = None, copy: bool = False, **_: Any) -> Tensor:
    """Convert to the dtype (or to that of the tensor) among the arguments; the tensor itself if nothing changes."""
    for argument in args:
        if isinstance(argument, Tensor):
            dtype = argument.dtype
        elif isinstance(argument, str) and argument.split(":")[0] in ("cpu", "cuda", "mps", "tpu"):
            device = argument
        elif not isinstance(argument, bool):
            dtype = argument
    if device is not None and str(device).split(":")[0] != "cpu":
        raise ArgumentError(message("Unknown device", device, "cpu"))
    return astype(x, x.dtype if dtype is None else dtype, copy)
