"""Where elements are in memory: strides, and the views that are given by them.

A computed value is stored densely in row-major order. The strides of a view are those of its elements in the memory of
the tensor that it is a view of, as in PyTorch; where there are none (after a reshape that PyTorch would copy for) they
are those of a dense tensor.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from plait.core.errors import ArgumentError, ShapeError, message
from plait.core.graph import REQUIRES_GRAD
from plait.tensor.families import both_names
from plait.tensor.shaping import as_operand, clone, movedim, new_shape, reshape
from plait.tensor.splitting import narrow
from plait.tensor.tensor import Tensor, axis_index, make_view, node_of
from plait.tensor.views import layout, row_major, step

__all__ = ["as_strided"]


def _layout(x: Tensor) -> tuple[tuple[int, ...], int] | None:
    return (row_major(x.shape), 0) if x._base is None else layout(x._base.shape, x._view)


def stride(x: Tensor, dim: int | None = None) -> Any:
    """Return the distance in memory, in elements, of neighbours along each axis, or along axis `dim`.

    Example:
        >>> plait.zeros(2, 3).stride(), plait.zeros(2, 3).T.stride()
        ((3, 1), (1, 3))
    """
    found = _layout(x)
    strides = row_major(x.shape) if found is None else found[0]
    return strides if dim is None else strides[axis_index(dim, x.ndim)]


def storage_offset(x: Tensor) -> int:
    """Return the position of the first element in the memory of the tensor that this one is a view of.

    Example:
        >>> plait.zeros(4)[1:].storage_offset()
        1
    """
    found = _layout(x)
    return 0 if found is None else found[1]


def is_contiguous(x: Tensor, memory_format: Any = None) -> bool:
    """Return whether the elements lie densely in row-major order in the memory of what this is a view of.

    Example:
        >>> plait.zeros(2, 3).is_contiguous(), plait.zeros(2, 3).T.is_contiguous()
        (True, False)
    """
    return 0 in x.shape or all(s == d or n == 1 for n, s, d in zip(x.shape, stride(x), row_major(x.shape), strict=True))


def contiguous(x: Tensor, memory_format: Any = None) -> Tensor:
    """Return `x` if its elements lie densely in row-major order in the memory of what it is a view of, else a copy.

    Example:
        >>> x = plait.zeros(2, 3)
        >>> x.contiguous() is x, x.T.contiguous().is_contiguous()
        (True, True)
    """
    return x if _layout(x) is not None and is_contiguous(x) else clone(x)


@both_names(storage_offset="offset")
def as_strided(x: Any, size: Sequence[int], stride: Sequence[int], offset: int | None = None) -> Tensor:
    """Return a view given by sizes and strides in the memory of `x`.

    The memory is that of the tensor which `x` is a view of; where its elements have no strides there (see `stride`),
    that of `x` itself.

    Args:
        x: a tensor.
        size: sizes of the view.
        stride: for each axis the distance of neighbours, in elements.
        offset: position of the first element, by default that of `x` (`storage_offset` is another name).

    Returns:
        A view; where several of its elements are one in memory, which of several values written to it is kept is not
        defined.

    Raises:
        ArgumentError: the view leaves the memory.
        ShapeError: there are not as many strides as sizes.

    Example:
        >>> plait.as_strided(plait.arange(5), (3, 2), (1, 1))
        tensor([[0, 1],
                [1, 2],
                [2, 3]])
    """
    x = as_operand(x, "as_strided")
    sizes, strides = new_shape((size,)), tuple([s.__index__() for s in stride])
    if len(sizes) != len(strides):
        raise ShapeError(message("as_strided takes a stride for each size", f"sizes {sizes}, strides {strides}"))
    found = _layout(x)
    node = node_of(x)
    base, kept = x, []
    if x._base is not None and found is not None and node.flags & REQUIRES_GRAD == x._base._node.flags & REQUIRES_GRAD:
        base, kept = x._base, [s for s in x._view if s[0] is None or s[0].name == "bitcast"]
        offset = found[1] if offset is None else offset
    first = 0 if offset is None else offset.__index__()
    last = first + sum((n - 1) * s for n, s in zip(sizes, strides, strict=True))
    count = base.numel()
    if min(strides, default=0) < 0 or first < 0 or last >= count and 0 not in sizes:
        received = f"sizes {sizes}, strides {strides}, offset {first}: positions {first} to {last}"
        raise ArgumentError(message("as_strided leaves the memory of the tensor", received, f"0 to {count - 1}"))
    return make_view(base, *kept, step("strided", shape=sizes, strides=strides, offset=first))


def unfold(x: Tensor, dimension: int, size: int, step: int) -> Tensor:
    """Return a view of the windows of an axis, as a new last axis.

    Args:
        x: a tensor.
        dimension: the axis.
        size: length of a window.
        step: distance of the beginnings of two windows.

    Returns:
        A view in which the axis counts the windows.

    Raises:
        ArgumentError: the window is longer than the axis, or the step not positive.

    Example:
        >>> plait.arange(5).unfold(0, 3, 1)
        tensor([[0, 1, 2],
                [1, 2, 3],
                [2, 3, 4]])
    """
    rank_0, x = not x.ndim, x if x.ndim else reshape(x, 1)
    axis = axis_index(dimension, x.ndim)
    length = x.shape[axis]
    if not 0 <= size <= length or step < 1:
        received = f"size={size}, step={step} on an axis of size {length}"
        raise ArgumentError(message("unfold takes windows inside the axis", received, "0 <= size <= length, step >= 1"))
    count = (length - size) // step + 1
    if rank_0:
        return narrow(x, 0, 0, size)
    if step == size:  # the windows lie side by side: the axis is split
        cut = narrow(x, axis, 0, count * size)
        return movedim(reshape(cut, (*x.shape[:axis], count, size, *x.shape[axis + 1 :])), axis + 1, -1)
    strides = row_major(x.shape)
    shape = (*x.shape[:axis], count, *x.shape[axis + 1 :], size)
    return make_view(x, _strided(shape, (*strides[:axis], strides[axis] * step, *strides[axis + 1 :], strides[axis])))


def _strided(shape: tuple[int, ...], strides: tuple[int, ...]) -> Any:
    return step("strided", shape=shape, strides=strides, offset=0)


METHODS = [stride, storage_offset, is_contiguous, contiguous, unfold]
