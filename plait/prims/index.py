"""Indexing by arrays and by run-time starts: gather, the scatters, dynamic_slice, dynamic_update_slice."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from plait.core.aval import Aval, Size
from plait.core.dtype import ALL, COMPLEXES, FLOAT8, FLOATS, INTEGERS, DType, bool_, int64
from plait.core.errors import ArgumentError, DTypeError, InternalError, ShapeError, message
from plait.core.graph import Node, constant, full
from plait.core.primitive import Domain, P, Primitive, Waived
from plait.ir.complex import Complex
from plait.ir.loop import Buffer, Expr, Index, binary, const, is_const
from plait.prims.lines import Site, batch_all, choose, grain, number, product, rows, smaller
from plait.prims.movement import Axes, check_permutation, inverse_permutation, linear_jvp, move_cost
from plait.prims.rules import AxisMap, byte_count, check_dtype, check_same_dtype, draw, where

MOVABLE = (*ALL, *FLOAT8)
NUMBERS = (*INTEGERS, *FLOATS, *COMPLEXES)
_COLUMNS = 64  # elements of an update that one task of a scatter adds; all tasks read all indices
Sample = Iterator[tuple[list[Any], dict[str, Any]]]


# shared by gather and the scatters


def _rest(ndim: int, axes: Axes) -> list[int]:
    return [k for k in range(ndim) if k not in axes]


def _result_shape(name: str, operand: Aval, indices: Sequence[Aval], axes: Axes) -> tuple[Size, ...]:
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
    return (*indices[0].shape, *[operand.shape[k] for k in _rest(operand.ndim, axes)])


def _place(axes: Axes, at_axes: Sequence[Index], at_rest: Sequence[Index]) -> list[Index]:
    """Return the operand's index from the positions on the indexed axes and on the others."""
    remaining = iter(at_rest)
    positions = dict(zip(axes, at_axes, strict=True))
    return [positions[k] if k in positions else next(remaining) for k in range(len(at_axes) + len(at_rest))]


def _is_inside(positions: Sequence[Index], sizes: Sequence[Index]) -> Expr:
    inside: Expr = const(True, bool_)
    for position, size in zip(positions, sizes, strict=True):
        inside = inside & (const(position) >= 0) & (const(position) < size)
    return inside


def _clamped(position: Any, size: Index) -> Expr:
    return binary("max", binary("min", const(position), const(size - 1)), const(0))


def _batch_number(size: Size, shape: tuple[Size, ...]) -> Node:
    """The number of the example, for index arrays of `shape` that carry a batch of `size` at axis 0."""
    return P.iota(dtype=int64, shape=(size, *shape), axis=0)


def _front(node: Node, axis: int) -> Node:
    """Move one axis to the front."""
    permutation = (axis, *[k for k in range(node.ndim) if k != axis])
    return node if axis == 0 else P.transpose(node, permutation=permutation)


def _behind(node: Node, axis: int) -> Node:
    """Move the first axis to position `axis`."""
    permutation = (*range(1, axis + 1), 0, *range(axis + 1, node.ndim))
    return node if axis == 0 else P.transpose(node, permutation=permutation)


def _shifted(axes: Axes) -> Axes:
    return tuple(a + 1 for a in axes)


# gather


def _gather_aval(operand: Aval, *indices: Aval, axes: Axes, mode: str) -> Aval:
    check_dtype("gather", operand.dtype, MOVABLE)
    if mode not in ("clip", "fill"):
        raise ArgumentError(message("Unknown gather mode", repr(mode), "'clip' or 'fill'"))
    shape = _result_shape("gather", operand, indices, axes)
    if mode == "clip" and any(operand.shape[a] == 0 for a in axes) and 0 not in shape:
        raise ShapeError(message("Cannot index an empty axis", f"{operand.shape}, axes {axes}", "sizes of at least 1"))
    return operand.with_shape(shape)


def _gather_lower(site: Site, index: list[Index]) -> Any:
    axes, sizes = site.params["axes"], site.shape(0)
    split = len(site.shape(1))
    positions = [site.read(1 + k, index[:split]) for k in range(len(axes))]
    if site.params["mode"] == "clip":
        positions = [_clamped(p, sizes[a]) for p, a in zip(positions, axes, strict=True)]
        return site.read(0, _place(axes, positions, index[split:]))
    inside = _is_inside(positions, [sizes[a] for a in axes])
    return choose(inside, site.read(0, _place(axes, positions, index[split:]), inside), number(0, site.out.dtype))


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
        return _front(P.gather(operand, *indices, axes=_shifted(axes), mode=mode), len(shape))
    indices = batch_all(indices, batched[1:], size)
    if batched[0]:
        return P.gather(operand, _batch_number(size, shape), *indices, axes=(0, *_shifted(axes)), mode=mode)
    return P.gather(operand, *indices, axes=axes, mode=mode)


def _gather_shard(node: Node) -> AxisMap:
    operand, index = node.inputs[0], node.inputs[1]
    of_index = tuple(range(index.ndim))
    of_rest = tuple(range(index.ndim, node.ndim))
    remaining = iter(of_rest)
    of_operand = tuple(None if k in node.params["axes"] else next(remaining) for k in range(operand.ndim))
    return (of_operand, *[of_index] * (len(node.inputs) - 1)), of_index + of_rest


def _draw_index(random: Any, size: int, shape: tuple[int, ...], outside: int = 0) -> Any:
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
        indices = [_draw_index(random, shape[a], index, 2 if mode == "fill" else 0) for a in axes]
        yield [operand, *indices], {"axes": axes, "mode": mode}


gather = Primitive(
    "gather", kind="view", aval=_gather_aval, lower=_gather_lower, jvp=linear_jvp, transpose=_gather_transpose,
    batch=_gather_batch, shard=_gather_shard,
    cost=lambda node: (0.0, 2 * byte_count([node.aval]) + byte_count([i.aval for i in node.inputs[1:]])),
    domain=Domain(MOVABLE, sample=_gather_samples), oracle="oracle.index.gather",
)  # fmt: skip


# the scatters


def _scatter_rule(name: str, dtypes: Sequence[DType]) -> Callable[..., Aval]:
    def rule(operand: Aval, updates: Aval, *indices: Aval, axes: Axes) -> Aval:
        check_dtype(name, check_same_dtype(name, operand, updates), dtypes)
        shape = _result_shape(name, operand, indices, axes)
        if updates.shape != shape:
            fix = "the shape of the indices, then the operand's axes that are not indexed"
            raise ShapeError(message(f"The updates of {name} have a wrong shape", updates.shape, f"{shape}: {fix}"))
        return operand

    return rule


def _load(site: Site, buffer: Buffer, flat: Index) -> Any:
    if not site.out.dtype.is_complex:
        return site.builder.load(buffer, flat)
    return Complex(site.builder.load(buffer, flat * 2), site.builder.load(buffer, flat * 2 + 1))


def _store(site: Site, buffer: Buffer, flat: Index, value: Any) -> None:
    if isinstance(value, Complex):
        site.builder.store(buffer, flat * 2, value.re)
        site.builder.store(buffer, flat * 2 + 1, value.im)
    else:
        site.builder.store(buffer, flat, value)


Combine = Callable[[Any, Any], Any]


def _scatter_lower(combine: Combine | None) -> Callable[[Site], None]:
    """Make the lowering: copy the operand, then apply the updates in order.

    No two tasks write the same element: they share out the elements that each update has, never the updates.
    """

    def lower(site: Site) -> None:
        site.raw_outputs()
        shape, output = site.out_shape, site.output(0)
        target = output
        if combine is not None and site.out.dtype.compute is not site.out.dtype:
            # many small updates would be lost to rounding in 8 or 11 bits
            target = site.builder.workspace(site.out.dtype.compute, product(shape))
        with rows(site, shape) as index:
            _store(site, target, site.flat(index, shape), site.read(0, index))
        _apply_updates(site, target, combine)
        if target is not output:
            with rows(site, shape) as index:
                flat = site.flat(index, shape)
                site.builder.store(output, flat, site.builder.load(target, flat))

    return lower


def _apply_updates(site: Site, target: Buffer, combine: Combine | None) -> None:
    builder, axes, shape = site.builder, site.params["axes"], site.out_shape
    rest = [shape[k] for k in _rest(len(shape), axes)]
    count = site.shape(2)
    *outer, last = rest or [1]
    blocks = (last + (_COLUMNS - 1)) // _COLUMNS
    work = grain(smaller(last, _COLUMNS), *count)

    def update(at: list[Expr], positions: list[Expr], at_rest: list[Index]) -> None:
        flat = site.flat(_place(axes, positions, at_rest), shape)
        value = site.read(1, [*at, *at_rest])
        _store(site, target, flat, value if combine is None else combine(_load(site, target, flat), value))

    strided = bool(rest) and len(shape) - 1 in axes  # what an update has is spread out: lanes would not help
    with builder.parallel(product(rest if strided else [*outer, blocks]), grain=work) as task:
        head = site.unflatten(task, rest) if strided else site.unflatten(task // blocks, outer)
        low = task % blocks * _COLUMNS
        with builder.loops(count) as at:
            found = [builder.local(int64, site.read(2 + k, at)).get() for k in range(len(axes))]
            with builder.when(_is_inside(found, [shape[a] for a in axes])):
                if strided:
                    update(at, found, head)
                elif rest:
                    with builder.vector(low, smaller(low + _COLUMNS, last)) as column:
                        update(at, found, [*head, column])
                else:
                    update(at, found, [])


def _scatter_batch(node: Node, inputs: Sequence[Node], batched: Sequence[bool], size: Size) -> Node:
    operand, updates, *indices = inputs
    axes, shape = node.params["axes"], node.inputs[2].shape
    operand, updates = batch_all([operand, updates], batched[:2], size)
    if not any(batched[2:]):
        # the batch is one more axis that is not indexed, the first of them
        return node.prim(operand, _behind(updates, len(shape)), *indices, axes=_shifted(axes))
    indices = batch_all(indices, batched[2:], size)
    return node.prim(operand, updates, _batch_number(size, shape), *indices, axes=(0, *_shifted(axes)))


def _scatter_shard(node: Node) -> AxisMap:
    operand, _, *indices = node.inputs
    axes = node.params["axes"]
    of_rest = tuple(_rest(operand.ndim, axes))
    of_operand = tuple(None if k in axes else k for k in range(operand.ndim))
    unsharded = (None,) * indices[0].ndim
    return (of_operand, unsharded + of_rest, *[unsharded] * len(indices)), of_operand


def _scatter_cost(node: Node) -> tuple[float, int]:
    updates = byte_count([i.aval for i in node.inputs[1:]])
    return 0.0, 2 * byte_count([node.aval]) + 3 * updates


def _scatter_samples(random: Any, dtype: DType, size: int) -> Sample:
    for shape, axes, index in (
        ((5,), (0,), ()),
        ((7,), (0,), (size,)),
        ((4, 3), (0,), (size,)),
        ((3, 4), (1,), (2, size)),
        ((5, size, 2), (0, 2), (6,)),
        ((2, 3), (0, 1), (4,)),
    ):
        updates = (*index, *[shape[k] for k in _rest(len(shape), axes)])
        indices = [_draw_index(random, shape[a], index, 1) for a in axes]
        yield [draw(random, dtype, shape), draw(random, dtype, updates), *indices], {"axes": axes}


def _gathered(node: Node, x: Node) -> Node:
    """What `x` has at the places of the updates of a scatter, 0 for those that are dropped."""
    return P.gather(x, *node.inputs[2:], axes=node.params["axes"], mode="fill")


def _nones(node: Node) -> list[None]:
    return [None] * (len(node.inputs) - 2)


def _wins(node: Node) -> Node | None:
    """Where an update of scatter_set is the last one of its element: (bool, shape of the indices); None if all are."""
    indices, axes = node.inputs[2:], node.params["axes"]
    shape = indices[0].shape
    sizes = tuple(node.shape[a] for a in axes)
    result: Node | None = None
    for axis in range(len(shape)):
        number = P.iota(dtype=int64, shape=shape, axis=axis)
        empty = P.broadcast(constant(-1, int64), shape=sizes, axes=())
        own = tuple(range(len(axes)))
        last = P.gather(P.scatter_set(empty, number, *indices, axes=own), *indices, axes=own, mode="fill")
        wins = P.eq(last, number)
        result = wins if result is None else P.bitwise_and(result, wins)
    return result


def _set_transpose(node: Node, ct: Node, linear: Sequence[bool]) -> list[Node | None]:
    updates, indices = node.inputs[1], node.inputs[2:]
    of_operand = of_updates = None
    if linear[0]:
        of_operand = P.scatter_set(ct, full(0, updates.aval), *indices, axes=node.params["axes"])
    if linear[1]:
        of_updates, wins = _gathered(node, ct), _wins(node)
        if wins is not None:
            wins = P.broadcast(wins, shape=updates.shape, axes=tuple(range(wins.ndim)))
            of_updates = where(wins, of_updates, 0, ct.dtype)
    return [of_operand, of_updates, *_nones(node)]


def _add_transpose(node: Node, ct: Node, linear: Sequence[bool]) -> list[Node | None]:
    return [ct if linear[0] else None, _gathered(node, ct) if linear[1] else None, *_nones(node)]


def _mul_jvp(node: Node, tangents: Sequence[Node | None]) -> Node | None:
    """The derivative in one update is the product of everything else that meets it, also where factors are 0."""
    operand, updates, *indices = node.inputs
    of_operand, of_updates = tangents[:2]
    result = None
    if of_operand is not None:
        result = P.scatter_mul(of_operand, updates, *indices, **node.params)
    if of_updates is not None:
        zero, one = constant(0, node.dtype), constant(1, node.dtype)
        is_zero = P.eq(updates, zero)
        without = where(is_zero, one, updates, node.dtype)
        product_without = _gathered(node, P.scatter_mul(operand, without, *indices, **node.params))
        ones = where(is_zero, one, zero, node.dtype)
        zeros = _gathered(node, P.scatter_add(full(0, node.aval), ones, *indices, **node.params))
        others = where(P.gt(_real(zeros - ones), 0), zero, product_without / without, node.dtype)
        base = result if result is not None else full(0, node.aval)
        result = P.scatter_add(base, of_updates * others, *indices, **node.params)
    return result


def _real(x: Node) -> Node:
    return P.real(x) if x.dtype.is_complex else x


def _mul_transpose(node: Node, ct: Node, linear: Sequence[bool]) -> list[Node | None]:
    if linear[1]:
        raise InternalError(f"{node!r} is not linear in its updates")
    return [P.scatter_mul(ct, node.inputs[1], *node.inputs[2:], **node.params), None, *_nones(node)]


def _extreme_jvp(node: Node, tangents: Sequence[Node | None]) -> Node | None:
    """Elements that tie for the extreme share its tangent evenly."""
    if tangents[0] is None and tangents[1] is None:
        return None
    operand, updates, *indices = node.inputs
    hits = [
        P.convert(P.eq(operand, node), dtype=node.dtype),
        P.convert(P.eq(updates, _gathered(node, node)), dtype=node.dtype),
    ]
    parts = [h * t if t is not None else full(0, h.aval) for h, t in zip(hits, tangents[:2], strict=True)]
    total, count = (P.scatter_add(*pair, *indices, **node.params) for pair in (parts, hits))
    return total / count


def _scatter(
    name: str, dtypes: Sequence[DType], combine: Combine | None, jvp: Any, transpose: Any, **domain: Any
) -> Primitive:
    return Primitive(
        f"scatter_{name}", kind="kernel", aval=_scatter_rule(f"scatter_{name}", dtypes), lower=_scatter_lower(combine),
        jvp=jvp, transpose=transpose, batch=_scatter_batch, shard=_scatter_shard, cost=_scatter_cost,
        domain=Domain(tuple(dtypes), sample=_scatter_samples, **domain), oracle=f"oracle.index.scatter_{name}",
    )  # fmt: skip


REALS = (*INTEGERS, *FLOATS)
_MASKED = Waived("its jvp is written with scatter_add, which is transposed instead")
scatter_set = _scatter("set", MOVABLE, None, linear_jvp, _set_transpose)
scatter_add = _scatter("add", NUMBERS, lambda old, new: old + new, linear_jvp, _add_transpose)
scatter_mul = _scatter("mul", NUMBERS, lambda old, new: old * new, _mul_jvp, _mul_transpose, tolerance=32.0)
scatter_min = _scatter("min", REALS, lambda old, new: binary("min", old, new), _extreme_jvp, _MASKED)
scatter_max = _scatter("max", REALS, lambda old, new: binary("max", old, new), _extreme_jvp, _MASKED)


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
        found = P.gather(x, _batch_number(size, shape), *indices, axes=(0, *_shifted(axes)), mode="clip")
    else:
        found = P.gather(x, *indices, axes=axes, mode="clip")
    return P.transpose(found, permutation=(0, *_shifted(inverse_permutation(_window_order(example.ndim, axes)))))


def _window_order(ndim: int, axes: Axes) -> Axes:
    """The axes of an example in the order that gather gives them: those in `axes`, then the others."""
    return (*axes, *_rest(ndim, axes))


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
    update = P.transpose(update, permutation=(0, *_shifted(_window_order(example.ndim, axes))))
    return P.scatter_set(x, update, _batch_number(size, indices[0].shape[1:]), *indices, axes=(0, *_shifted(axes)))


def _slice_shard(node: Node) -> AxisMap:
    labels = tuple(k if node.inputs[0].shape[k] == node.shape[k] else None for k in range(node.ndim))
    return (labels, *[()] * node.ndim), labels


def _update_shard(node: Node) -> AxisMap:
    labels = tuple(k if node.inputs[1].shape[k] == node.shape[k] else None for k in range(node.ndim))
    return (labels, labels, *[()] * node.ndim), labels


_WINDOWS = (((), ()), ((7,), (3,)), ((5, 4), (2, 4)), ((3, 2), (0, 2)))


def _draw_starts(random: Any, shape: tuple[int, ...]) -> list[Any]:
    return [_draw_index(random, n, (), 2) for n in shape]


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
