"""Pieces of a tensor along an axis, which are views."""

from __future__ import annotations

import builtins
from collections.abc import Callable, Sequence
from itertools import accumulate, pairwise
from typing import Any

from plait.core.errors import ArgumentError, IndexOutOfRangeError, ShapeError, message
from plait.tensor.families import both_names
from plait.tensor.shaping import as_operand, shape_of
from plait.tensor.tensor import Tensor, axis_index, integers, make_view
from plait.tensor.views import Step, step

__all__ = [
    "chunk", "dsplit", "hsplit", "narrow", "select", "slice", "split",
    "split_with_sizes", "tensor_split", "unbind", "unsafe_chunk",
    "unsafe_split", "unsafe_split_with_sizes", "unstack", "vsplit",
]  # fmt: skip


def range_step(shape: Sequence[int], axis: int, start: int, stop: int, stride: int = 1) -> Step:
    """Return the step that keeps every `stride`-th of the elements `start` to `stop` of one axis."""
    starts = tuple([start if i == axis else 0 for i in range(len(shape))])
    limits = tuple([stop if i == axis else n for i, n in enumerate(shape)])
    strides = tuple([stride if i == axis else 1 for i in range(len(shape))])
    return step("slice", starts=starts, limits=limits, strides=strides)


@both_names
def narrow(x: Any, axis: int, start: int, length: int) -> Tensor:
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
    x = as_operand(x, "narrow")
    axis = axis_index(axis, x.ndim)
    size, start, length = x.shape[axis], start.__index__(), length.__index__()
    first = start + size if start < 0 else start
    if first < 0 or length < 0 or first + length > size:
        received = f"start={start}, length={length} on an axis of size {size}"
        raise ShapeError(message("narrow leaves the axis", received, "start + length within the axis"))
    return make_view(x, range_step(x.shape, axis, first, first + length))


@both_names
def select(x: Any, axis: int, index: int) -> Tensor:
    """Return a view of one element of an axis, without that axis: `x[..., index, ...]`.

    Args:
        x: a tensor.
        axis: the axis.
        index: the position, counted from the end if negative.

    Returns:
        A view.

    Raises:
        IndexOutOfRangeError: the axis has no such element.

    Example:
        >>> plait.select(plait.tensor([[1, 2], [3, 4]]), 1, 0)
        tensor([1, 3])
    """
    x = as_operand(x, "select")
    axis = axis_index(axis, x.ndim)
    size, position = x.shape[axis], index.__index__()
    if not -size <= position < size:
        text = f"select: index out of range on axis {axis} of size {size}"
        raise IndexOutOfRangeError(message(text, index, f"{-size} to {size - 1}" if size else "nothing"))
    shape = (*x.shape[:axis], *x.shape[axis + 1 :])
    return make_view(x, range_step(x.shape, axis, position % size, position % size + 1), step("reshape", shape=shape))


@both_names
def slice(x: Any, axis: int = 0, start: int | None = None, end: int | None = None, step: int = 1) -> Tensor:
    """Return a view of elements `start` to `end` of one axis, every `step`-th: `x[..., start:end:step, ...]`.

    Args:
        x: a tensor.
        axis: the axis.
        start: first element, counted from the end if negative.
        end: the element after the last.
        step: the distance, positive.

    Returns:
        A view.

    Raises:
        ArgumentError: the step is not positive.

    Example:
        >>> plait.slice(plait.tensor([1, 2, 3, 4]), 0, 0, 4, 2)
        tensor([1, 3])
    """
    x = as_operand(x, "slice")
    axis = axis_index(axis, x.ndim)
    if step < 1:
        raise ArgumentError(message("slice takes a positive step", step, "at least 1", "use x[::-1]"))
    first, stop, _ = builtins.slice(start, end).indices(x.shape[axis])
    return make_view(x, range_step(x.shape, axis, first, max(first, stop), step))


@both_names(tensor="x", split_size_or_sections="split_size")
def split(x: Any, split_size: Any, axis: int = 0) -> tuple[Tensor, ...]:
    """Cut into views along an axis.

    Args:
        x: a tensor.
        split_size: the size of each piece (the last may be smaller), or the list of their sizes.
        axis: the axis.

    Returns:
        A tuple of views.

    Raises:
        ShapeError: the sizes do not add up to the axis.

    Example:
        >>> plait.split(plait.tensor([1, 2, 3]), 2)
        (tensor([1, 2]), tensor([3]))
    """
    x = as_operand(x, "split")
    axis = axis_index(axis, x.ndim)
    total = x.shape[axis]
    if not hasattr(split_size, "__index__"):
        return split_with_sizes(x, split_size, axis)
    if split_size <= 0 and total:
        raise ArgumentError(message("Pieces have at least one element", split_size, "a positive size"))
    return _cut(x, [*range(split_size, total, split_size or 1)], axis)


@both_names
def split_with_sizes(x: Any, split_sizes: Sequence[int], axis: int = 0) -> tuple[Tensor, ...]:
    """Cut into views of given sizes along an axis.

    Args:
        x: a tensor.
        split_sizes: the sizes; their sum is that of the axis.
        axis: the axis.

    Returns:
        A tuple of views.

    Raises:
        ShapeError: the sizes do not add up to the axis.

    Example:
        >>> plait.split_with_sizes(plait.tensor([1, 2, 3]), [1, 2])
        (tensor([1]), tensor([2, 3]))
    """
    x = as_operand(x, "split_with_sizes")
    axis = axis_index(axis, x.ndim)
    sizes, total = shape_of((split_sizes,)), x.shape[axis]
    if sum(sizes) != total or any(s < 0 for s in sizes):
        raise ShapeError(message("The sizes of the pieces do not add up", list(sizes), f"a sum of {total}"))
    return _cut(x, [*accumulate(sizes)][:-1], axis) if sizes else ()


def _cut(x: Tensor, ends: Sequence[int], axis: int) -> tuple[Tensor, ...]:
    """Cut between the elements before and after each of `ends`, which are in the axis."""
    bounds = [0, *ends, x.shape[axis]]
    return tuple([make_view(x, range_step(x.shape, axis, low, max(low, high))) for low, high in pairwise(bounds)])


@both_names
def chunk(x: Any, chunks: int, axis: int = 0) -> tuple[Tensor, ...]:
    """Cut into at most `chunks` views of equal size along an axis; the last may be smaller.

    Args:
        x: a tensor.
        chunks: how many at most.
        axis: the axis.

    Returns:
        A tuple of views.

    Raises:
        ArgumentError: `chunks` is not positive.

    Example:
        >>> plait.chunk(plait.tensor([1, 2, 3]), 2)
        (tensor([1, 2]), tensor([3]))
    """
    if chunks <= 0:
        raise ArgumentError(message("chunk makes at least one piece", chunks, "a positive number"))
    x = as_operand(x, "chunk")
    size = x.shape[axis_index(axis, x.ndim)]
    return split(x, max(1, -(-size // chunks)), axis) if size else _cut(x, [0] * (chunks - 1), axis_index(axis, x.ndim))


unsafe_split, unsafe_split_with_sizes, unsafe_chunk = split, split_with_sizes, chunk


@both_names(indices="indices_or_sections", sections="indices_or_sections")
def tensor_split(x: Any, indices_or_sections: Any, axis: int = 0) -> tuple[Tensor, ...]:
    """Cut into pieces of nearly equal size, or before the given positions (NumPy's `array_split`).

    Args:
        x: a tensor.
        indices_or_sections: how many pieces, the first ones one longer; or the positions, as integers or a vector.
        axis: the axis.

    Returns:
        A tuple of views.

    Raises:
        ArgumentError: the number of pieces is not positive.

    Example:
        >>> plait.tensor_split(plait.tensor([1, 2, 3]), 2)
        (tensor([1, 2]), tensor([3]))
    """
    x = as_operand(x, "tensor_split")
    axis = axis_index(axis, x.ndim)
    size = x.shape[axis]
    if isinstance(indices_or_sections, Tensor):
        indices_or_sections = indices_or_sections.tolist()
    if hasattr(indices_or_sections, "__index__"):
        count = indices_or_sections.__index__()
        if count < 1:
            raise ArgumentError(message("tensor_split makes at least one piece", count, "a positive number"))
        small, longer = divmod(size, count)
        return _cut(x, [k * small + min(k, longer) for k in range(1, count)], axis)
    places = integers(indices_or_sections, "the place to cut")
    return _cut(x, [builtins.slice(i).indices(size)[1] for i in places], axis)


def _splitting(name: str, least: int, axis_of: Callable[[int], int], kind: str) -> Any:
    @both_names(indices="indices_or_sections", sections="indices_or_sections")
    def function(x: Any, indices_or_sections: Any) -> tuple[Tensor, ...]:
        x = as_operand(x, name)
        if x.ndim < least:
            raise ShapeError(message(f"{name} needs a tensor of at least {least} axes", f"shape {x.shape}"))
        axis = axis_of(x.ndim)
        count = indices_or_sections
        if hasattr(count, "__index__") and not getattr(count, "ndim", 0) and (count < 1 or x.shape[axis] % int(count)):
            text = f"{name} makes equal pieces"
            raise ArgumentError(message(text, f"{count} of an axis of size {x.shape[axis]}", fix="use tensor_split"))
        return tensor_split(x, indices_or_sections, axis)

    function.__name__ = function.__qualname__ = name
    function.__doc__ = f"""Cut into pieces along {kind}.

    Args:
        x: a tensor.
        indices_or_sections: how many equal pieces, or the positions before which to cut.

    Returns:
        A tuple of views.

    Raises:
        ArgumentError: the axis cannot be cut into so many equal pieces.
        ShapeError: the tensor has too few axes.

    Example:
        >>> [p.shape for p in plait.{name}(plait.zeros(2, 2, 2), 2)]
        {[tuple(1 if a == axis_of(3) else 2 for a in range(3))] * 2}
    """
    return function


hsplit = _splitting("hsplit", 1, lambda ndim: min(1, ndim - 1), "the second axis, or the first of a vector")
vsplit = _splitting("vsplit", 2, lambda ndim: 0, "the first axis")
dsplit = _splitting("dsplit", 3, lambda ndim: 2, "the third axis")


@both_names
def unbind(x: Any, axis: int = 0) -> tuple[Tensor, ...]:
    """Return a view of each element of an axis, without it.

    Args:
        x: a tensor of at least one axis.
        axis: the axis.

    Returns:
        A tuple of views.

    Raises:
        ShapeError: there is no such axis.

    Example:
        >>> plait.unbind(plait.tensor([[1, 2], [3, 4]]))
        (tensor([1, 2]), tensor([3, 4]))
    """
    x = as_operand(x, "unbind")
    axis = axis_index(axis, x.ndim)
    shape = (*x.shape[:axis], *x.shape[axis + 1 :])
    drop = step("reshape", shape=shape)
    return tuple([make_view(x, range_step(x.shape, axis, i, i + 1), drop) for i in range(x.shape[axis])])


unstack = unbind
