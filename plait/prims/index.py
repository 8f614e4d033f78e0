"""Indexing by arrays and by run-time starts: gather, dynamic_slice, dynamic_update_slice."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from plait.core.aval import Aval, Size
from plait.core.dtype import ALL, FLOAT8, DType, bool_, int64
from plait.core.errors import ArgumentError, DTypeError, ShapeError, message
from plait.core.graph import Node, constant, full
from plait.core.primitive import Domain, P, Primitive
from plait.ir.loop import Expr, Index, binary, const, is_const
from plait.prims.lines import Site, batch_all, choose, number
from plait.prims.movement import Axes, check_permutation, inverse_permutation, linear_jvp, move_cost
from plait.prims.rules import AxisMap, byte_count, check_dtype, check_same_dtype, draw

MOVABLE = (*ALL, *FLOAT8)
Sample = Iterator[tuple[list[Any], dict[str, Any]]]


# shared by gather and the scatters


def other_axes(ndim: int, axes: Axes) -> list[int]:
    return [k for k in range(ndim) if k not in axes]


def indexed_shape(name: str, operand: Aval, indices: Sequence[Aval], axes: Axes) -> tuple[Size, ...]:
    """Check the indices; return their common shape followed by the axes of `operand` that are not indexed."""
    if not indices or len(indices) != len(axes):
        what = f"{name} needs one index array for each indexed axis"
        raise ShapeError(message(what, f"{len(indices)} arrays for axes {axes}", "as many, at least one"))
    check_permutation(name, axes, operand.ndim)
    for index in indices:
        if index.dtype is not int64:
            raise DTypeError(
                message(f"{name} takes int64 indices", index.dtype.name, "int64", "convert with .to(int64)")
            )
        if index.shape != indices[0].shape:
            received = f"{indices[0].shape} and {index.shape}"
            raise ShapeError(
                message(f"{name} takes index arrays of one shape", received, "equal shapes", "broadcast them")
            )
    return (*indices[0].shape, *[operand.shape[k] for k in other_axes(operand.ndim, axes)])


def place_at(axes: Axes, at_axes: Sequence[Index], at_rest: Sequence[Index]) -> list[Index]:
    """Return the operand's index from the positions on the indexed axes and on the others."""
    remaining = iter(at_rest)
    positions = dict(zip(axes, at_axes, strict=True))
    return [positions[k] if k in positions else next(remaining) for k in range(len(at_axes) + len(at_rest))]


def is_inside(positions: Sequence[Index], sizes: Sequence[Index]) -> Expr:
    inside: Expr = const(True, bool_)
    for position, size in zip(positions, sizes, strict=True):
        inside = inside & (const(position) >= 0) & (const(position) < size)
    return inside


def _clamped(position: Any, size: Index) -> Expr:
    return binary("max", binary("min", const(position), const(size - 1)), const(0))


def batch_number(size: Size, shape: tuple[Size, ...]) -> Node:
    """The number of the example, for index arrays of `shape` that carry a batch of `size` at axis 0."""
    return P.iota(dtype=int64, shape=(size, *shape), axis=0)


def _front(node: Node, axis: int) -> Node:
    """Move one axis to the front."""
    permutation = (axis, *[k for k in range(node.ndim) if k != axis])
    return node if axis == 0 else P.transpose(node, permutation=permutation)


def behind(node: Node, axis: int) -> Node:
    """Move the first axis to position `axis`."""
    permutation = (*range(1, axis + 1), 0, *range(axis + 1, node.ndim))
    return node if axis == 0 else P.transpose(node, permutation=permutation)


def shifted(axes: Axes) -> Axes:
    return tuple(a + 1 for a in axes)


# gather


def _gather_aval(operand: Aval, *indices: Aval, axes: Axes, mode: str) -> Aval:
    check_dtype("gather", operand.dtype, MOVABLE)
    if mode not in ("clip", "fill"):
        raise ArgumentError(message("Unknown gather mode", repr(mode), "'clip' or 'fill'"))
    shape = indexed_shape("gather", operand, indices, axes)
    if mode == "clip" and any(operand.shape[a] == 0 for a in axes) and 0 not in shape:
        raise ShapeError(message("Cannot index an empty axis", f"{operand.shape}, axes {axes}", "sizes of at least 1"))
    return operand.with_shape(shape)


def _gather_lower(site: Site, index: list[Index]) -> Any:
    axes, sizes = site.params["axes"], site.shape(0)
    split = len(site.shape(1))
    positions = [site.read(1 + k, index[:split]) for k in range(len(axes))]
    if site.params["mode"] == "clip":
        positions = [_clamped(p, sizes[a]) for p, a in zip(positions, axes, strict=True)]
        return site.read(0, place_at(axes, positions, index[split:]))
    inside = is_inside(positions, [sizes[a] for a in axes])
    return choose(inside, site.read(0, place_at(axes, positions, index[split:]), inside), number(0, site.out.dtype))


def _gather_transpose(node: Node, ct: Node, linear: Sequence[bool]) -> list[Node | None]:
    operand, *indices = node.inputs
    axes = node.params["axes"]
    if node.params["mode"] == "clip":
        indices = [_clamp(i, operand.shape[a]) for i, a in zip(indices, axes, strict=True)]
    return [P.scatter_add(full(0, operand.aval), ct, *indices, axes=axes), *[None] * len(indices)]


def _clamp(index: Node, size: Size) -> Node:
    """Clamp indices of an axis; those of a symbolic size are trusted to be inside."""
    if not isinstance(size, int):
        return index
    return P.clamp(index, constant(0, int64), constant(max(size - 1, 0), int64))


def _gather_batch(node: Node, inputs: Sequence[Node], batched: Sequence[bool], size: Size) -> Node:
    operand, *indices = inputs
    axes, mode = node.params["axes"], node.params["mode"]
    shape = node.inputs[1].shape
    if not any(batched[1:]):
        return _front(P.gather(operand, *indices, axes=shifted(axes), mode=mode), len(shape))
    indices = batch_all(indices, batched[1:], size)
    if batched[0]:
        return P.gather(operand, batch_number(size, shape), *indices, axes=(0, *shifted(axes)), mode=mode)
    return P.gather(operand, *indices, axes=axes, mode=mode)


def _gather_shard(node: Node) -> AxisMap:
    operand, index = node.inputs[0], node.inputs[1]
    of_index = tuple(range(index.ndim))
    of_rest = tuple(range(index.ndim, node.ndim))
    remaining = iter(of_rest)
    of_operand = tuple(None if k in node.params["axes"] else next(remaining) for k in range(operand.ndim))
    return (of_operand, *[of_index] * (len(node.inputs) - 1)), of_index + of_rest


def draw_index(random: Any, size: int, shape: tuple[int, ...], outside: int = 0) -> Any:
    return random.integers(-outside, max(size, 1) + outside, shape)


def _gather_samples(random: Any, dtype: DType, size: int) -> Sample:
    for shape, axes, index, mode in (
        ((5,), (0,), (), "clip"),
        ((7,), (0,), (size,), "clip"),
        ((3, 4), (1,), (size, 2), "clip"),
        ((5, size, 2), (0, 2), (3,), "fill"),
        ((size, 3), (0,), (4,), "fill"),
    ):
        operand = draw(random, dtype, shape)
        indices = [draw_index(random, shape[a], index, 2 if mode == "fill" else 0) for a in axes]
        yield [operand, *indices], {"axes": axes, "mode": mode}


gather = Primitive(
    "gather", kind="view", aval=_gather_aval, lower=_gather_lower, jvp=linear_jvp, transpose=_gather_transpose,
    batch=_gather_batch, shard=_gather_shard,
    cost=lambda node: (0.0, 2 * byte_count([node.aval]) + byte_count([i.aval for i in node.inputs[1:]])),
    domain=Domain(MOVABLE, sample=_gather_samples), oracle="oracle.index.gather",
)  # fmt: skip


# dynamic_slice and dynamic_update_slice


def _check_window(name: str, x: Aval, sizes: Sequence[Size], starts: Sequence[Aval]) -> None:
    if len(sizes) != x.ndim or len(starts) != x.ndim:
        received = f"{len(starts)} starts and {len(sizes)} sizes for {x}"
        raise ShapeError(message(f"{name} needs a start and a size for each axis", received, f"{x.ndim} of each"))
    if any(s.dtype is not int64 or s.shape for s in starts):
        raise DTypeError(
            message(f"The starts of {name} are int64 numbers", list(starts), "int64[]", "convert with .to(int64)")
        )
    for axis, (size, window) in enumerate(zip(x.shape, sizes, strict=True)):
        comparable = isinstance(size, int) and isinstance(window, int)
        if size != window and not (comparable and 0 <= window <= size):  # type: ignore[operator]
            raise ShapeError(message(f"{name}: the window does not fit axis {axis}", window, f"at most {size}"))


def _window_starts(site: Site, first: int, sizes: Sequence[Index], windows: Sequence[Index]) -> list[Index]:
    starts: list[Index] = []
    for k, (size, window) in enumerate(zip(sizes, windows, strict=True)):
        last = const(size - window)
        if is_const(last, 0):
            starts.append(0)
        else:
            starts.append(binary("max", binary("min", const(site.read(first + k, [])), last), const(0)))
    return starts


def _slice_aval(x: Aval, *starts: Aval, sizes: tuple[Size, ...]) -> Aval:
    check_dtype("dynamic_slice", x.dtype, MOVABLE)
    _check_window("dynamic_slice", x, sizes, starts)
    return x.with_shape(sizes)


def _slice_lower(site: Site, index: list[Index]) -> Any:
    starts = _window_starts(site, 1, site.shape(0), site.out_shape)
    return site.read(0, [i + start for i, start in zip(index, starts, strict=True)])


def _slice_transpose(node: Node, ct: Node, linear: Sequence[bool]) -> list[Node | None]:
    x, *starts = node.inputs
    return [P.dynamic_update_slice(full(0, x.aval), ct, *starts), *[None] * len(starts)]


def _window_indices(x: Node, starts: Sequence[Node], sizes: tuple[Size, ...], size: Size) -> tuple[Axes, list[Node]]:
    """Return the axes that a window moves along, and the indices of its positions there: (batch, *sizes of these axes).

    `x` is one example, `starts` carry the batch at axis 0.
    """
    axes = tuple(k for k in range(x.ndim) if x.shape[k] != sizes[k])
    shape = (size, *[sizes[k] for k in axes])
    indices = []
    for position, k in enumerate(axes):
        last = constant(x.shape[k] - sizes[k], int64)  # type: ignore[operator]
        start = P.clamp(starts[k], constant(0, int64), last)
        start = P.broadcast(start, shape=shape, axes=(0,))
        indices.append(start + P.iota(dtype=int64, shape=shape, axis=position + 1))
    return axes, indices


def _slice_batch(node: Node, inputs: Sequence[Node], batched: Sequence[bool], size: Size) -> Node:
    x, *starts = inputs
    sizes = node.params["sizes"]
    if not any(batched[1:]):
        return P.dynamic_slice(x, constant(0, int64), *starts, sizes=(size, *sizes))
    example = node.inputs[0]
    axes, indices = _window_indices(example, batch_all(starts, batched[1:], size), sizes, size)
    if not axes:
        return x if batched[0] else batch_all([x], [False], size)[0]
    if batched[0]:
        shape = indices[0].shape[1:]
        found = P.gather(x, batch_number(size, shape), *indices, axes=(0, *shifted(axes)), mode="clip")
    else:
        found = P.gather(x, *indices, axes=axes, mode="clip")
    return P.transpose(found, permutation=(0, *shifted(inverse_permutation(_window_order(example.ndim, axes)))))


def _window_order(ndim: int, axes: Axes) -> Axes:
    """The axes of an example in the order that gather gives them: those in `axes`, then the others."""
    return (*axes, *other_axes(ndim, axes))


def _update_aval(x: Aval, update: Aval, *starts: Aval) -> Aval:
    check_dtype("dynamic_update_slice", check_same_dtype("dynamic_update_slice", x, update), MOVABLE)
    _check_window("dynamic_update_slice", x, update.shape, starts)
    return x


def _update_lower(site: Site, index: list[Index]) -> Any:
    """The definition; inside scan the compiler writes the update in place instead of copying the operand."""
    windows = site.shape(1)
    starts = _window_starts(site, 2, site.shape(0), windows)
    inside: Expr = const(True, bool_)
    source: list[Index] = []
    for i, start, window, size in zip(index, starts, windows, site.shape(0), strict=True):
        position = const(i - start)
        if not is_const(const(size - window), 0):
            inside = inside & (position >= 0) & (position < window)
        source.append(position)
    value = site.read(1, source, inside)
    return value if is_const(inside, 1) else choose(inside, value, site.read(0, index))


def _update_transpose(node: Node, ct: Node, linear: Sequence[bool]) -> list[Node | None]:
    _, update, *starts = node.inputs
    of_x = P.dynamic_update_slice(ct, full(0, update.aval), *starts) if linear[0] else None
    of_update = P.dynamic_slice(ct, *starts, sizes=update.shape) if linear[1] else None
    return [of_x, of_update, *[None] * len(starts)]


def _update_batch(node: Node, inputs: Sequence[Node], batched: Sequence[bool], size: Size) -> Node:
    x, update = batch_all(inputs[:2], batched[:2], size)
    starts = inputs[2:]
    if not any(batched[2:]):
        return P.dynamic_update_slice(x, update, constant(0, int64), *starts)
    example, window = node.inputs[0], node.inputs[1].shape
    axes, indices = _window_indices(example, batch_all(starts, batched[2:], size), window, size)
    if not axes:
        return update
    update = P.transpose(update, permutation=(0, *shifted(_window_order(example.ndim, axes))))
    return P.scatter_set(x, update, batch_number(size, indices[0].shape[1:]), *indices, axes=(0, *shifted(axes)))


def _slice_shard(node: Node) -> AxisMap:
    labels = tuple(k if node.inputs[0].shape[k] == node.shape[k] else None for k in range(node.ndim))
    return (labels, *[()] * node.ndim), labels


def _update_shard(node: Node) -> AxisMap:
    labels = tuple(k if node.inputs[1].shape[k] == node.shape[k] else None for k in range(node.ndim))
    return (labels, labels, *[()] * node.ndim), labels


_WINDOWS = (((), ()), ((7,), (3,)), ((5, 4), (2, 4)), ((3, 2), (0, 2)))


def _draw_starts(random: Any, shape: tuple[int, ...]) -> list[Any]:
    return [draw_index(random, n, (), 2) for n in shape]


def _slice_samples(random: Any, dtype: DType, size: int) -> Sample:
    for shape, sizes in (*_WINDOWS, ((size + 2, size), (2, size))):
        yield [draw(random, dtype, shape), *_draw_starts(random, shape)], {"sizes": sizes}


def _update_samples(random: Any, dtype: DType, size: int) -> Sample:
    for shape, sizes in (*_WINDOWS, ((size + 2, size), (2, size))):
        yield [draw(random, dtype, shape), draw(random, dtype, sizes), *_draw_starts(random, shape)], {}


dynamic_slice = Primitive(
    "dynamic_slice", kind="view", aval=_slice_aval, lower=_slice_lower, jvp=linear_jvp, transpose=_slice_transpose,
    batch=_slice_batch, shard=_slice_shard, cost=move_cost, domain=Domain(MOVABLE, sample=_slice_samples),
    oracle="oracle.index.dynamic_slice", runtime=("sizes",),
)  # fmt: skip

dynamic_update_slice = Primitive(
    "dynamic_update_slice", kind="view", aval=_update_aval, lower=_update_lower, jvp=linear_jvp,
    transpose=_update_transpose, batch=_update_batch, shard=_update_shard, cost=move_cost,
    domain=Domain(MOVABLE, sample=_update_samples), oracle="oracle.index.dynamic_update_slice",
)  # fmt: skip
