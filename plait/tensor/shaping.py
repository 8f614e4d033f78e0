"""Other shapes and other orders of the axes of the same elements."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod
from typing import Any

from plait.core.dtype import as_dtype, int64
from plait.core.errors import ArgumentTypeError, ShapeError, message
from plait.core.primitive import P
from plait.prims.rules import broadcast_shapes as common_shape
from plait.tensor.axes import normalized_axes, two_forms
from plait.tensor.families import both_names
from plait.tensor.operators import single
from plait.tensor.tensor import Tensor, axis_index, converted, make_view, wrap
from plait.tensor.views import step

__all__ = [
    "adjoint", "atleast_1d", "atleast_2d", "atleast_3d", "broadcast_arrays", "broadcast_shapes", "broadcast_tensors",
    "broadcast_to", "expand", "expand_as", "expand_dims", "flatten", "matrix_transpose", "moveaxis",
    "movedim", "permute", "permute_dims", "ravel", "reshape", "reshape_as", "squeeze",
    "sum_to_size", "swapaxes", "swapdims", "t", "transpose", "unflatten", "unsqueeze",
    "view", "view_as",
]  # fmt: skip


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


@both_names(shape="size")
def reshape(x: Any, *shape: Any, size: Any = None, copy: bool | None = None) -> Tensor:
    """Return a view of another shape with the same elements in row-major order.

    Args:
        x: a tensor.
        shape: sizes, one of which may be -1: it is computed from the others.
        size: another name of `shape`.
        copy: True makes a new tensor.

    Returns:
        A view, unless `copy`: writing to it writes to `x`.

    Raises:
        ShapeError: the number of elements differs.

    Example:
        >>> plait.reshape(plait.tensor([1, 2, 3, 4]), (2, -1))
        tensor([[1, 2],
                [3, 4]])
    """
    x = as_operand(x, "reshape")
    wanted = shape_of(shape if size is None else (size,))
    count = x.numel()
    if -1 in wanted:
        known = -prod(wanted)
        if known and count % known == 0:
            wanted = tuple([count // known if s == -1 else s for s in wanted])
    if prod(wanted) != count or wanted and min(wanted) < 0:
        fix = "the product of the sizes must be the number of elements; at most one size may be -1"
        text = "Cannot reshape to another number of elements"
        raise ShapeError(message(text, f"{wanted} for a tensor of shape {x.shape}", f"{count} elements", fix))
    result = _reshaped(x, wanted)
    return clone(result) if copy else result


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
        >>> plait.view(plait.tensor([1.0, 2.0]), 2, 1)
        tensor([[1.],
                [2.]])
        >>> plait.tensor([1.0]).view(plait.int32)
        tensor([1065353216], dtype=plait.int32)
    """
    if len(shape) == 1 and not isinstance(shape[0], (int, tuple, list)) and not hasattr(shape[0], "__index__"):
        return make_view(x, step("bitcast", dtype=as_dtype(shape[0])))
    return reshape(x, *shape)


@both_names
def view_as(x: Tensor, y: Tensor) -> Tensor:
    """Return a view of `x` with the shape of `y`; raises `ShapeError` if the number of elements differs.

    Example:
        >>> plait.tensor([1, 2]).view_as(plait.zeros(2, 1)).shape
        (2, 1)
    """
    return reshape(x, y.shape)


reshape_as = view_as


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


@both_names
def ravel(x: Any) -> Tensor:
    """Return a view with all axes merged into one.

    Example:
        >>> plait.ravel(plait.tensor([[1, 2], [3, 4]]))
        tensor([1, 2, 3, 4])
    """
    return flatten(x)


@both_names
def unflatten(x: Any, axis: int, sizes: Sequence[int]) -> Tensor:
    """Return a view with one axis split into several.

    Args:
        x: a tensor.
        axis: the axis.
        sizes: sizes of the axes in its place, one of which may be -1.

    Returns:
        A view.

    Raises:
        ShapeError: the product of the sizes is not the size of the axis.

    Example:
        >>> plait.unflatten(plait.tensor([1, 2, 3, 4]), 0, (2, -1))
        tensor([[1, 2],
                [3, 4]])
    """
    x = as_operand(x, "unflatten")
    position = axis_index(axis, x.ndim)
    inner, size = list(shape_of((sizes,))), x.shape[position]
    known = prod(s for s in inner if s != -1)
    if inner.count(-1) == 1 and known:
        inner[inner.index(-1)] = size // known
    if prod(inner) != size or not inner:
        raise ShapeError(message("The sizes of unflatten make another axis", sizes, f"a product of {size}"))
    return reshape(x, (*x.shape[:position], *inner, *x.shape[position + 1 :]))


@both_names
def squeeze_method(x: Any, axis: Any = None) -> Tensor:
    """Return a view without axes of size 1; those named, but of another size, are kept (PyTorch's `squeeze`)."""
    x = as_operand(x, "squeeze")
    axes = normalized_axes(axis, x.ndim)
    return _reshaped(x, [n for i, n in enumerate(x.shape) if n != 1 or i not in axes])


def squeeze(x: Any = None, axis: Any = None, **names: Any) -> Tensor:
    """Return a view without axes of size 1.

    Args:
        x: a tensor.
        axis: the axis or axes to drop; None drops every axis of size 1.
        names: `dim`, PyTorch's name of the axis: then, and as a method, axes of another size are kept.

    Returns:
        A view.

    Raises:
        ShapeError: an axis to drop has another size than 1.

    Example:
        >>> plait.squeeze(plait.tensor([[1, 2]]))
        tensor([1, 2])
    """
    if names:
        return squeeze_method(*[v for v in (x, axis) if v is not None], **names)
    x = as_operand(x, "squeeze")
    for position in () if axis is None else normalized_axes(axis, x.ndim):
        if x.ndim and x.shape[position] != 1:
            text = "Only axes of size 1 can be squeezed"
            raise ShapeError(message(text, f"axis {position} of shape {x.shape}", None, "drop axes by indexing"))
    return squeeze_method(x, axis)


squeeze.method = two_forms("squeeze", squeeze, squeeze_method).method  # type: ignore[attr-defined]


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
    """Return a view with a new axis of size 1 at position `axis` (another name of `unsqueeze`).

    Example:
        >>> plait.expand_dims(plait.ones(3)).shape
        (1, 3)
    """
    return unsqueeze(x, axis)


def permute(x: Any, *axes: Any, dims: Any = None) -> Tensor:
    """Return a view with the axes in another order.

    Args:
        x: a tensor.
        axes: for each axis of the result, the axis of `x` it comes from.
        dims: another name of `axes`.

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
    given = shape_of(axes if dims is None else (dims,))
    order = tuple([axis_index(a, x.ndim) for a in given])
    if sorted(order) != list(range(x.ndim)):
        text = "permute names each axis once"
        raise ShapeError(message(text, given, f"a permutation of the {x.ndim} axes"))
    return x if order == tuple(range(x.ndim)) else make_view(x, step("transpose", permutation=order))


def permute_dims(x: Any, axes: Sequence[int]) -> Tensor:
    """Return a view with the axes in another order (another name of `permute`).

    Example:
        >>> plait.permute_dims(plait.ones(2, 3), (1, 0)).shape
        (3, 2)
    """
    return permute(x, tuple(axes))


def transpose(x: Any, *axes: Any, dim0: Any = None, dim1: Any = None) -> Tensor:
    """Swap two axes (`transpose(x, 0, 1)`, as in PyTorch), or reorder all (a tuple or nothing, as in NumPy).

    Args:
        x: a tensor.
        axes: two axes to swap; or one sequence that permutes all axes; nothing reverses them.
        dim0: PyTorch's name of the first axis to swap.
        dim1: and of the second.

    Returns:
        A view.

    Example:
        >>> plait.transpose(plait.tensor([[1, 2], [3, 4]]), 0, 1)
        tensor([[1, 3],
                [2, 4]])
    """
    x = as_operand(x, "transpose")
    axes += tuple(a for a in (dim0, dim1) if a is not None)
    if len(axes) == 2:
        return swapaxes(x, *axes)
    if not axes or axes[0] is None:
        return permute(x, tuple(range(x.ndim))[::-1])
    return permute(x, *axes)


@both_names(dim0="axis0", dim1="axis1")
def swapaxes(x: Any, axis0: int, axis1: int) -> Tensor:
    """Return a view with two axes swapped; raises `ShapeError` if there is no such axis.

    Example:
        >>> plait.swapaxes(plait.tensor([[1, 2], [3, 4]]), 0, 1)
        tensor([[1, 3],
                [2, 4]])
    """
    x = as_operand(x, "swapaxes")
    order = list(range(x.ndim))
    i, j = axis_index(axis0, x.ndim or 1), axis_index(axis1, x.ndim or 1)
    if i != j:
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
    origins = [axis_index(a, x.ndim or 1) for a in ([source] if one else source)]
    targets = [axis_index(a, x.ndim or 1) for a in ([destination] if one else destination)]
    if len(origins) != len(targets) or len(set(origins)) < len(origins) or len(set(targets)) < len(targets):
        text = "movedim takes as many distinct destinations as sources"
        raise ShapeError(message(text, f"source={source}, destination={destination}"))
    rest = iter([a for a in range(x.ndim) if a not in origins])
    place = dict(zip(targets, origins, strict=True))
    return permute(x, [place[i] if i in place else next(rest) for i in range(x.ndim)])


moveaxis = movedim


def t(x: Any) -> Tensor:
    """Return the transpose of a matrix, a view; vectors and rank-0 tensors as they are.

    Raises:
        ShapeError: `x` has more than two axes.

    Example:
        >>> plait.t(plait.tensor([[1, 2], [3, 4]]))
        tensor([[1, 3],
                [2, 4]])
    """
    x = as_operand(x, "t")
    if x.ndim > 2:
        raise ShapeError(message("t transposes a matrix", f"shape {x.shape}", "at most two axes", "use x.mT"))
    return transpose(x)


def adjoint(x: Any) -> Tensor:
    """Return the conjugate transpose of matrices, or of a number; raises `ShapeError` for a vector.

    Example:
        >>> plait.adjoint(plait.tensor([[1.0, 2.0j]]))
        tensor([[1.-0.j],
                [0.-2.j]])
    """
    x = as_operand(x, "adjoint")
    turned = matrix_transpose(x) if x.ndim else x
    return wrap(P.conj(turned._node)) if turned.dtype.is_complex else turned


def matrix_transpose(x: Any) -> Tensor:
    """Return a view with the last two axes swapped; raises `ShapeError` for fewer than two axes.

    Example:
        >>> plait.matrix_transpose(plait.zeros(5, 2, 3)).shape
        (5, 3, 2)
    """
    x = as_operand(x, "matrix_transpose")
    if x.ndim < 2:
        raise ShapeError(message("A matrix has two axes", f"shape {x.shape}", None, "use x[None] for a row"))
    return swapaxes(x, -1, -2)


@both_names(shape="size")
def broadcast_to(x: Any, *shape: Any, size: Any = None) -> Tensor:
    """Return a view stretched to `shape`: axes of size 1 repeat, new axes come first.

    Args:
        x: a tensor.
        shape: the new sizes; -1 keeps the size of an axis.
        size: another name of `shape`.

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
    wanted = list(shape_of(shape if size is None else (size,)))
    offset = len(wanted) - x.ndim
    for axis, length in enumerate(x.shape):
        if offset >= 0 and wanted[offset + axis] == -1:
            wanted[offset + axis] = length
    if offset < 0 or any(n not in (1, m) for n, m in zip(x.shape, wanted[offset:], strict=True)) or -1 in wanted:
        text = "Only axes of size 1 can be expanded, and new axes come first"
        raise ShapeError(message(text, f"{tuple(wanted)} for shape {x.shape}", None, "insert axes with x[:, None]"))
    if tuple(wanted) == x.shape:
        return x
    return make_view(x, step("broadcast", shape=tuple(wanted), axes=tuple(range(offset, len(wanted)))))


def expand(x: Any, *sizes: Any, size: Any = None, implicit: bool = False) -> Tensor:
    """Return a view stretched to `sizes` (PyTorch's name of `broadcast_to`).

    Example:
        >>> plait.expand(plait.tensor([[1], [2]]), -1, 2)
        tensor([[1, 1],
                [2, 2]])
    """
    return broadcast_to(x, *(sizes if size is None else (size,)))


@both_names
def expand_as(x: Tensor, y: Tensor) -> Tensor:
    """Return a view of `x` stretched to the shape of `y`; raises `ShapeError` where that cannot be.

    Example:
        >>> plait.tensor([1, 2]).expand_as(plait.zeros(2, 2))
        tensor([[1, 2],
                [1, 2]])
    """
    return broadcast_to(x, y.shape)


def broadcast_tensors(*tensors: Any) -> list[Tensor]:
    """Return views of the tensors stretched to their common shape; raises `ShapeError` if there is none.

    Example:
        >>> [t.shape for t in plait.broadcast_tensors(plait.zeros(3, 1), plait.zeros(2))]
        [(3, 2), (3, 2)]
    """
    given = tensors[0] if len(tensors) == 1 and isinstance(tensors[0], (list, tuple)) else tensors
    values = [as_operand(t, "broadcast_tensors") for t in given]
    shape = common_shape(*[v.shape for v in values], name="broadcast_tensors")
    return [broadcast_to(v, shape) for v in values]


broadcast_arrays = broadcast_tensors


def broadcast_shapes(*shapes: Any) -> tuple[int, ...]:
    """Return the shape that operands of `shapes` (tuples or integers) broadcast to.

    Raises:
        ShapeError: they do not broadcast.

    Example:
        >>> plait.broadcast_shapes((3, 1), (2,))
        (3, 2)
    """
    result = common_shape(*[new_shape((s,)) for s in shapes], name="broadcast_shapes")
    return tuple([int(s) for s in result])  # type: ignore[call-overload]


def sum_to_size(x: Any, *size: Any) -> Tensor:
    """Sum over the axes along which `size` was broadcast to the shape of `x`.

    Args:
        x: a tensor.
        size: a shape that broadcasts to that of `x`.

    Returns:
        A tensor of shape `size`, int64 for sums of integers and bools.

    Raises:
        ShapeError: `size` does not broadcast to the shape of `x`.

    Example:
        >>> plait.sum_to_size(plait.ones(3, 2), 1, 2)
        tensor([[3., 3.]])
    """
    node, wanted = single(x, "sum_to_size"), new_shape(size)
    offset = node.ndim - len(wanted)
    if offset < 0 or any(w not in (1, n) for w, n in zip(wanted, node.shape[offset:], strict=True)):
        raise ShapeError(message("This size does not broadcast to the shape of the tensor", wanted, f"{node.shape}"))
    axes = tuple(a for a, n in enumerate(node.shape) if a < offset or wanted[a - offset] == 1 != n)
    if axes or not wanted:
        node = P.reduce_sum(node if node.dtype.is_inexact else converted(node, int64), axes=axes)
    return wrap(P.reshape(node, shape=wanted))


def _at_least(name: str, shape_for: Callable[[tuple[int, ...]], tuple[int, ...]], summary: str, sample: str) -> Any:
    def function(*tensors: Any) -> Any:
        if len(tensors) == 1 and not isinstance(tensors[0], (list, tuple)):
            x = as_operand(tensors[0], name)
            return _reshaped(x, shape_for(x.shape))
        given = tensors[0] if len(tensors) == 1 else tensors
        return tuple(function(x) for x in given)

    function.__name__ = function.__qualname__ = name
    function.__doc__ = f"""{summary}

    Args:
        tensors: one tensor or several.

    Returns:
        A view, or a tuple of them.

    Example:
        >>> plait.{name}(plait.tensor({sample})).shape
        {shape_for((2,) if sample != "5" else ())}
    """
    return function


atleast_1d = _at_least("atleast_1d", lambda s: s or (1,), "Return a view with at least one axis.", "5")
atleast_2d = _at_least(
    "atleast_2d", lambda s: (1,) * (2 - len(s)) + s, "Return a view with at least two axes, new ones first.", "[1, 2]"
)
atleast_3d = _at_least(
    "atleast_3d", lambda s: (1, *s, 1) if len(s) == 1 else s + (1,) * (3 - len(s)) if s else (1, 1, 1),
    "Return a view with at least three axes: a vector becomes (1, n, 1), a matrix (m, n, 1).", "[1, 2]",
)  # fmt: skip


def clone(x: Any, memory_format: Any = None) -> Tensor:
    """Return a copy: writing to it does not change `x`; gradients flow through.

    Example:
        >>> x = plait.zeros(2)
        >>> y = plait.clone(x).fill_(1)
        >>> x
        tensor([0., 0.])
    """
    node = single(x, "clone")
    return wrap(P.reshape(node, shape=node.shape))
