"""Functions that join, repeat, reorder and pad."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from plait.core.dtype import int64
from plait.core.errors import ArgumentError, ShapeError, message
from plait.core.graph import Node
from plait.core.primitive import P
from plait.prims.rules import broadcast_to as broadcast_node
from plait.tensor.functions import both_names
from plait.tensor.operators import promoted, scalar_node, single
from plait.tensor.reductions import normalized_axes
from plait.tensor.shaping import as_operand, broadcast_to, diagonal, range_step, reshape, shape_of, unbind
from plait.tensor.tensor import Tensor, axis_index, node_of, to_node, wrap


@both_names
def concatenate(tensors: Sequence[Any], axis: int | None = 0) -> Tensor:
    """Join tensors along an existing axis.

    Args:
        tensors: tensors of equal sizes but for `axis`; dtypes are promoted.
        axis: the axis; None joins the flattened tensors.

    Returns:
        A new tensor.

    Raises:
        ShapeError: the shapes do not fit.
        ArgumentError: there are no tensors.

    Example:
        >>> plait.concatenate([plait.tensor([1, 2]), plait.tensor([3])])
        tensor([1, 2, 3])
    """
    nodes = _joined(tensors, "concatenate")
    if axis is None:
        nodes, axis = [P.reshape(n, shape=(n.aval.size,)) for n in nodes], 0
    first = nodes[0]
    if not first.ndim:
        raise ShapeError(message("Rank-0 tensors cannot be concatenated", fix="use plait.stack"))
    return wrap(P.concatenate(*nodes, axis=axis_index(axis, first.ndim)))


cat = concat = concatenate


def _joined(tensors: Sequence[Any], name: str) -> list[Node]:
    if isinstance(tensors, Tensor):
        tensors = unbind(tensors)
    if not len(tensors):
        raise ArgumentError(message(f"{name} needs at least one tensor", "an empty sequence"))
    values = [t if isinstance(t, Tensor) else wrap(to_node(t)) for t in tensors]
    return promoted(values, name)


@both_names
def stack(tensors: Sequence[Any], axis: int = 0) -> Tensor:
    """Join tensors of one shape along a new axis.

    Args:
        tensors: tensors of equal shape; dtypes are promoted.
        axis: position of the new axis in the result.

    Returns:
        A new tensor.

    Raises:
        ShapeError: the shapes differ.

    Example:
        >>> plait.stack([plait.tensor([1, 2]), plait.tensor([3, 4])])
        tensor([[1, 2],
                [3, 4]])
    """
    nodes = _joined(tensors, "stack")
    shape = nodes[0].shape
    for node in nodes:
        if node.shape != shape:
            raise ShapeError(message("stack needs equal shapes", f"{shape} and {node.shape}", None, "use concatenate"))
    position = axis_index(axis, len(shape) + 1)
    widened = (*shape[:position], 1, *shape[position:])
    return wrap(P.concatenate(*[P.reshape(n, shape=widened) for n in nodes], axis=position))


def tile(x: Any, *repetitions: Any) -> Tensor:
    """Repeat the whole tensor along each axis.

    Args:
        x: a tensor.
        repetitions: how often along each axis, aligned at the last.

    Returns:
        A new tensor.

    Example:
        >>> plait.tile(plait.tensor([1, 2]), 2)
        tensor([1, 2, 1, 2])
    """
    node, counts = single(x, "tile"), shape_of(repetitions)
    ndim = max(node.ndim, len(counts))
    counts = (1,) * (ndim - len(counts)) + counts
    shape = (1,) * (ndim - node.ndim) + node.shape
    axes = tuple(range(2 * ndim - node.ndim * 2 + 1, 2 * ndim, 2))
    interleaved = tuple(s for pair in zip(counts, shape, strict=True) for s in pair)
    spread = P.broadcast(node, shape=interleaved, axes=axes)
    return wrap(P.reshape(spread, shape=tuple(c * n for c, n in zip(counts, shape, strict=True))))


@both_names
def repeat(x: Any, repeats: int, axis: int | None = None) -> Tensor:
    """Repeat each element (`Tensor.repeat` repeats the whole tensor, as in PyTorch: see `tile`).

    Args:
        x: a tensor.
        repeats: how often.
        axis: along which axis; None flattens first.

    Returns:
        A new tensor.

    Example:
        >>> plait.repeat(plait.tensor([1, 2]), 2)
        tensor([1, 1, 2, 2])
    """
    node = single(x, "repeat")
    if axis is None:
        node, axis = P.reshape(node, shape=(node.aval.size,)), 0
    count = shape_of((repeats,))[0]
    if count < 0:
        raise ArgumentError(message("repeat needs a number of repetitions", repeats, "at least 0"))
    axis = axis_index(axis, node.ndim)
    spread_shape = (*node.shape[: axis + 1], count, *node.shape[axis + 1 :])
    kept = tuple(i for i in range(node.ndim + 1) if i != axis + 1)
    shape = tuple(n * count if i == axis else n for i, n in enumerate(node.shape))
    return wrap(P.reshape(P.broadcast(node, shape=spread_shape, axes=kept), shape=shape))


repeat_interleave = repeat


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
    if axis is None:
        node, axis = P.reshape(node, shape=(node.aval.size,)), 0
    axes = [axis] if hasattr(axis, "__index__") else list(axis)
    shifts = [shift] * len(axes) if hasattr(shift, "__index__") else list(shift)
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


def _triangle(x: Any, k: int, name: str, keep: str) -> Tensor:
    node = single(x, name)
    if node.ndim < 2:
        raise ShapeError(message(f"{name} needs a matrix", f"shape {node.shape}", "at least two axes"))
    mask = getattr(P, keep)(_offsets(node.shape[-2:]), scalar_node(k, int64))
    return wrap(P.select(mask, node, scalar_node(0, node.dtype)))


def _offsets(shape: Sequence[Any]) -> Node:
    """Column minus row of each element of a matrix."""
    rows, columns = (P.iota(dtype=int64, shape=tuple(shape), axis=i) for i in range(2))
    return columns - rows


def tril(x: Any, k: int = 0) -> Tensor:
    """Return the lower triangle: elements above the `k`-th diagonal become 0.

    Args:
        x: a tensor of matrices.
        k: the last diagonal kept; positive ones lie above the main one.

    Returns:
        A new tensor.

    Raises:
        ShapeError: `x` has fewer than two axes.

    Example:
        >>> plait.tril(plait.tensor([[1, 2], [3, 4]]))
        tensor([[1, 0],
                [3, 4]])
    """
    return _triangle(x, k, "tril", "le")


def triu(x: Any, k: int = 0) -> Tensor:
    """Return the upper triangle: elements below the `k`-th diagonal become 0.

    Args:
        x: a tensor of matrices.
        k: the first diagonal kept; positive ones lie above the main one.

    Returns:
        A new tensor.

    Raises:
        ShapeError: `x` has fewer than two axes.

    Example:
        >>> plait.triu(plait.tensor([[1, 2], [3, 4]]))
        tensor([[1, 2],
                [0, 4]])
    """
    return _triangle(x, k, "triu", "ge")


def diag(x: Any, k: int = 0) -> Tensor:
    """Return the `k`-th diagonal of a matrix (a view), or the square matrix with the vector `x` on it.

    Args:
        x: a vector or a matrix.
        k: which diagonal.

    Returns:
        A vector or a matrix.

    Raises:
        ShapeError: `x` is neither.

    Example:
        >>> plait.diag(plait.tensor([1, 2]))
        tensor([[1, 0],
                [0, 2]])
    """
    x = as_operand(x, "diag")
    if x.ndim == 2:
        return diagonal(x, k)
    if x.ndim != 1:
        raise ShapeError(message("diag takes a vector or a matrix", f"shape {x.shape}"))
    size, zero = x.shape[0] + abs(k), scalar_node(0, x.dtype)
    longer = P.pad(node_of(x), zero, low=(0,), high=(abs(k),), interior=(0,))
    spread = P.broadcast(longer, shape=(size, size), axes=(0 if k >= 0 else 1,))
    return wrap(P.select(P.eq(_offsets((size, size)), scalar_node(k, int64)), spread, zero))


def trace(x: Any) -> Tensor:
    """Return the sum of the main diagonal of a matrix."""
    return diagonal(x).sum()


def meshgrid(*tensors: Any, indexing: str = "xy") -> list[Tensor]:
    """Return coordinate tensors of the grid that vectors span.

    Args:
        tensors: vectors.
        indexing: "xy" (the first two axes swapped, as in NumPy) or "ij".

    Returns:
        One view for each vector.

    Raises:
        ArgumentError: another `indexing`.

    Example:
        >>> plait.meshgrid(plait.tensor([1, 2]), plait.tensor([3]), indexing="ij")
        [tensor([[1],
                [2]]), tensor([[3],
                [3]])]
    """
    if indexing not in ("xy", "ij"):
        raise ArgumentError(message("Unknown indexing", repr(indexing), '"xy" or "ij"'))
    given = tensors[0] if len(tensors) == 1 and not isinstance(tensors[0], Tensor) else tensors
    vectors = [reshape(t, -1) for t in given]
    order = list(range(len(vectors)))
    if indexing == "xy" and len(vectors) > 1:
        order[:2] = [1, 0]
    shape = [vectors[i].shape[0] for i in order]
    spread = [[n if i == order.index(k) else 1 for i, n in enumerate(shape)] for k in range(len(vectors))]
    return [broadcast_to(reshape(v, s), shape) for v, s in zip(vectors, spread, strict=True)]
