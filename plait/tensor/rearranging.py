"""Functions that repeat, reorder and pad."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from plait.core.dtype import int64
from plait.core.errors import ArgumentError, ArgumentTypeError, ShapeError, message
from plait.core.graph import Node
from plait.core.primitive import P
from plait.prims.rules import broadcast_to as broadcast_node
from plait.tensor.axes import normalized_axes, with_axis
from plait.tensor.composite import composite
from plait.tensor.families import both_names
from plait.tensor.operators import scalar_node, single
from plait.tensor.shaping import as_operand, new_shape
from plait.tensor.splitting import range_step
from plait.tensor.tensor import Tensor, axis_index, converted, to_node, wrap

__all__ = ["flip", "fliplr", "flipud", "pad", "repeat", "repeat_interleave", "roll", "rot90", "tile"]


def tile(x: Any, *repetitions: Any, dims: Any = None) -> Tensor:
    """Repeat the whole tensor along each axis.

    Args:
        x: a tensor.
        repetitions: how often along each axis, aligned at the last.
        dims: another name of `repetitions`.

    Returns:
        A new tensor.

    Example:
        >>> plait.tile(plait.tensor([1, 2]), 2)
        tensor([1, 2, 1, 2])
    """
    node, counts = single(x, "tile"), new_shape(repetitions if dims is None else (dims,))
    ndim = max(node.ndim, len(counts))
    counts = (1,) * (ndim - len(counts)) + counts
    shape = (1,) * (ndim - node.ndim) + node.shape
    axes = tuple(range(2 * ndim - node.ndim * 2 + 1, 2 * ndim, 2))
    interleaved = tuple(s for pair in zip(counts, shape, strict=True) for s in pair)
    spread = P.broadcast(node, shape=interleaved, axes=axes)
    return wrap(P.reshape(spread, shape=tuple(c * n for c, n in zip(counts, shape, strict=True))))


def repeat_whole(x: Any, *repeats: Any) -> Tensor:
    """Repeat the whole tensor along each axis: `x.repeat(2, 3)`, PyTorch's method.

    Args:
        x: a tensor.
        repeats: how often along each axis; further axes come first.

    Returns:
        A new tensor.

    Raises:
        ShapeError: there are fewer numbers than axes.

    Example:
        >>> plait.tensor([1, 2]).repeat(2, 1)
        tensor([[1, 2],
                [1, 2]])
    """
    x, counts = as_operand(x, "repeat"), new_shape(repeats)
    if len(counts) < x.ndim:
        text = "repeat takes a number for each axis"
        raise ShapeError(
            message(text, counts, f"at least {x.ndim} numbers", "use plait.tile, which aligns at the last")
        )
    return tile(x, counts)


@both_names
def repeat(x: Any, repeats: Any, axis: int | None = None) -> Tensor:
    """Repeat each element (`Tensor.repeat` repeats the whole tensor, as in PyTorch: see `tile`).

    Args:
        x: a tensor.
        repeats: how often; or for each element of the axis how often, a vector whose sum is looked at.
        axis: along which axis; None flattens first.

    Returns:
        A new tensor.

    Raises:
        ShapeError: `repeats` has another length than the axis.
        ArgumentError: a number of repetitions is negative.

    Example:
        >>> plait.repeat(plait.tensor([1, 2]), 2)
        tensor([1, 1, 2, 2])
    """
    return repeat_interleave(x, repeats, axis)


@both_names
def repeat_interleave(x: Any, repeats: Any = None, axis: int | None = None, output_size: int | None = None) -> Tensor:
    """Repeat each element along an axis; given only `repeats`, return position i `repeats[i]` times.

    Args:
        x: a tensor.
        repeats: how often; or for each element of the axis how often, a vector whose sum is looked at.
        axis: along which axis; None flattens first.
        output_size: the sum of a vector `repeats`; given, nothing is looked at and the function can be staged.

    Returns:
        A new tensor.

    Raises:
        ShapeError: `repeats` has another length than the axis.
        ArgumentError: a number of repetitions is negative.
        AbstractValueError: the sum of `repeats` is not known, e.g. under `jit`, and `output_size` not given.

    Example:
        >>> plait.repeat_interleave(plait.tensor([10, 20]), plait.tensor([1, 2]))
        tensor([10, 20, 20])
    """
    if repeats is None:
        counts = to_node(x)
        return wrap(_repeated_positions(counts, output_size))
    node, axis = with_axis(single(x, "repeat_interleave"), axis)
    counts = to_node(repeats)
    if not counts.dtype.is_integer:
        text = "The numbers of repetitions are integers"
        raise ArgumentTypeError(message(text, counts.dtype.name, None, "convert with .to(plait.int64)"))
    if hasattr(repeats, "__index__") and not counts.ndim:
        return wrap(_repeated(node, repeats.__index__(), axis))
    size = node.shape[axis]
    if counts.ndim > 1 or counts.ndim and counts.shape[0] not in (1, size):
        text = "There is a number of repetitions for each element of the axis"
        raise ShapeError(message(text, f"{counts.shape} for {size} elements", f"({size},)"))
    counts = broadcast_node(counts, (size,))
    index = _repeated_positions(counts, output_size)
    result = P.gather(node, index, axes=(axis,), mode="clip")
    return wrap(P.transpose(result, permutation=(*range(1, axis + 1), 0, *range(axis + 1, result.ndim))))


def _repeated(node: Node, count: int, axis: int) -> Node:
    if count < 0:
        raise ArgumentError(message("repeat needs a number of repetitions", count, "at least 0"))
    spread_shape = (*node.shape[: axis + 1], count, *node.shape[axis + 1 :])
    kept = tuple(i for i in range(node.ndim + 1) if i != axis + 1)
    shape = tuple(n * count if i == axis else n for i, n in enumerate(node.shape))
    return P.reshape(P.broadcast(node, shape=spread_shape, axes=kept), shape=shape)


def _repeated_positions(counts: Node, total: int | None) -> Node:
    """Return 0 counts[0] times, then 1 counts[1] times, …: each position is how many elements end before it."""
    counts = converted(counts, int64)
    if not counts.aval.size:
        return counts
    ends = P.cumsum(counts, axis=0, reverse=False)
    if total is None:
        lowest, total = wrap(P.reduce_min(counts, axes=(0,))), int(wrap(P.reduce_sum(counts, axes=(0,))).item())
        if lowest.item() < 0:
            raise ArgumentError(message("repeat needs numbers of repetitions", "a negative one", "at least 0"))
    marks = P.broadcast(scalar_node(0, int64), shape=(total,), axes=())
    ones = P.broadcast(scalar_node(1, int64), shape=counts.shape, axes=())
    return P.cumsum(P.scatter_add(marks, ones, ends, axes=(0,)), axis=0, reverse=False)


@both_names
def flip(x: Any, axis: Any = None) -> Tensor:
    """Reverse the order along axes (all by default).

    Args:
        x: a tensor.
        axis: an axis, several, or None for all.

    Returns:
        A new tensor.

    Example:
        >>> plait.flip(plait.tensor([1, 2, 3]))
        tensor([3, 2, 1])
    """
    node = single(x, "flip")
    return wrap(P.reverse(node, axes=normalized_axes(axis, node.ndim)))


@both_names
def fliplr(x: Any) -> Tensor:
    """Reverse the order along the second axis; raises `ShapeError` where there is none.

    Example:
        >>> plait.fliplr(plait.tensor([[1, 2], [3, 4]]))
        tensor([[2, 1],
                [4, 3]])
    """
    return flip(x, axis_index(1, as_operand(x, "fliplr").ndim))


@both_names
def flipud(x: Any) -> Tensor:
    """Reverse the order along the first axis; raises `ShapeError` where there is none.

    Example:
        >>> plait.flipud(plait.tensor([[1, 2], [3, 4]]))
        tensor([[3, 4],
                [1, 2]])
    """
    return flip(x, axis_index(0, as_operand(x, "flipud").ndim))


@both_names(dims="axes")
@composite
def rot90(x: Any, k: int = 1, axes: Any = (0, 1)) -> Tensor:
    """Rotate by 90 degrees in the plane of two axes.

    Args:
        x: a tensor of at least two axes.
        k: how often; negative numbers turn the other way.
        axes: the two axes, from the first towards the second (`dims` is another name).

    Returns:
        A new tensor.

    Raises:
        ShapeError: there are no two such axes.

    Example:
        >>> plait.rot90(plait.tensor([[1, 2], [3, 4]]))
        tensor([[2, 4],
                [1, 3]])
    """
    node = single(x, "rot90")
    pair = [axis_index(a, node.ndim) for a in axes]
    if len(pair) != 2 or pair[0] == pair[1]:
        raise ShapeError(message("rot90 turns in the plane of two axes", axes, "two distinct axes"))
    first, second = pair
    reversed_axes = {0: (), 1: (second,), 2: tuple(sorted(pair)), 3: (first,)}[k % 4]
    node = P.reverse(node, axes=reversed_axes) if reversed_axes else P.reshape(node, shape=node.shape)
    if k % 2:
        order = list(range(node.ndim))
        order[first], order[second] = second, first
        node = P.transpose(node, permutation=tuple(order))
    return wrap(node)


@both_names(shifts="shift")
@composite
def roll(x: Any, shift: Any, axis: Any = None) -> Tensor:
    """Shift elements along axes; those that fall off come in again at the other end.

    Args:
        x: a tensor.
        shift: by how many places, one number for each axis.
        axis: the axis or axes; None shifts the flattened tensor.

    Returns:
        A new tensor of the shape of `x`.

    Example:
        >>> plait.roll(plait.tensor([1, 2, 3]), 1)
        tensor([3, 1, 2])
    """
    node = single(x, "roll")
    shape = node.shape
    if axis is None or axis == ():
        node, axis = P.reshape(node, shape=(node.aval.size,)), 0
    axes = [axis] if hasattr(axis, "__index__") else list(axis)
    shifts = [shift] * len(axes) if hasattr(shift, "__index__") else list(shift)
    if len(shifts) != len(axes):
        raise ShapeError(message("roll takes a shift for each axis", f"shift={shift}, axis={axis}"))
    if not node.ndim:
        return wrap(P.reshape(node, shape=shape))
    for amount, one in zip(shifts, axes, strict=True):
        one = axis_index(one, node.ndim)
        size = node.shape[one]
        amount = amount % size if size else 0
        if amount:
            pieces = [_cut(node, one, size - amount, size), _cut(node, one, 0, size - amount)]
            node = P.concatenate(*pieces, axis=one)
    return wrap(P.reshape(node, shape=shape))


def _cut(node: Node, axis: int, start: int, stop: int) -> Node:
    prim, params = range_step(node.shape, axis, start, stop)
    return prim(node, **params)


def pad(x: Any, pad_width: Any, mode: str = "constant", constant_values: Any = 0) -> Tensor:
    """Add elements before and after each axis.

    Args:
        x: a tensor.
        pad_width: one number, one (before, after) pair, or a pair for each axis.
        mode: "constant", "edge" (repeat the edge), "reflect" (mirror, without the edge), "symmetric" (with the edge),
            or "wrap" (from the other end).
        constant_values: the number added in mode "constant".

    Returns:
        A new tensor.

    Raises:
        ArgumentError: an unknown mode.
        ShapeError: a width is negative, or larger than the axis has elements to give.

    Example:
        >>> plait.pad(plait.tensor([1, 2]), (1, 2))
        tensor([0, 1, 2, 0, 0])
    """
    node = single(x, "pad")
    widths = _widths(pad_width, node.ndim)
    if mode == "constant":
        low, high = tuple(w[0] for w in widths), tuple(w[1] for w in widths)
        fill = scalar_node(constant_values, node.dtype)
        return wrap(P.pad(node, fill, low=low, high=high, interior=(0,) * node.ndim))
    if mode not in _BORDERS:
        raise ArgumentError(message("Unknown mode of pad", repr(mode), "constant, " + ", ".join(_BORDERS)))
    for axis, (before, after) in enumerate(widths):
        if before or after:
            size = node.shape[axis]
            available = {"edge": float("inf") if size else 0, "reflect": size - 1}.get(mode, size)
            if max(before, after) > available:
                text = f"pad in mode {mode} is wider than the axis allows"
                raise ShapeError(message(text, f"{(before, after)} on axis {axis}", f"at most {available}"))
            node = P.concatenate(*_BORDERS[mode](node, axis, size, before, after), axis=axis)
    return wrap(node)


def _widths(pad_width: Any, ndim: int) -> list[tuple[int, int]]:
    if hasattr(pad_width, "__index__"):
        pairs = [(pad_width, pad_width)] * ndim
    elif len(pad_width) == 2 and all(hasattr(w, "__index__") for w in pad_width):
        pairs = [tuple(pad_width)] * ndim
    else:
        pairs = [tuple(w) if isinstance(w, (tuple, list)) else (w,) for w in pad_width]
    if len(pairs) != ndim or any(len(p) != 2 or min(p) < 0 for p in pairs):
        expected = f"non-negative (before, after) pairs for {ndim} axes"
        raise ShapeError(message("Bad widths of pad", pad_width, expected, "negative widths: slice instead"))
    return pairs


def _edges(node: Node, axis: int, size: int, before: int, after: int) -> list[Node]:
    def stretched(piece: Node, count: int) -> Node:
        return broadcast_node(piece, tuple(count if i == axis else n for i, n in enumerate(node.shape)))

    return [stretched(_cut(node, axis, 0, 1), before), node, stretched(_cut(node, axis, size - 1, size), after)]


def _mirrored(gap: int) -> Callable[..., list[Node]]:
    def pieces(node: Node, axis: int, size: int, before: int, after: int) -> list[Node]:
        left = P.reverse(_cut(node, axis, gap, before + gap), axes=(axis,))
        right = P.reverse(_cut(node, axis, size - after - gap, size - gap), axes=(axis,))
        return [left, node, right]

    return pieces


_BORDERS: dict[str, Callable[..., list[Node]]] = {
    "edge": _edges,
    "reflect": _mirrored(1),
    "symmetric": _mirrored(0),
    "wrap": lambda node, axis, size, before, after: [
        _cut(node, axis, size - before, size), node, _cut(node, axis, 0, after)
    ],
}  # fmt: skip
