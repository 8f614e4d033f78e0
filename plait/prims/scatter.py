"""Updates at places that index arrays hold, written or combined: the scatters."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from plait.core.aval import Aval, Size
from plait.core.dtype import COMPLEXES, FLOATS, INTEGERS, DType, int64
from plait.core.errors import InternalError, ShapeError, message
from plait.core.graph import Node, constant, full
from plait.core.primitive import Domain, P, Primitive, Waived
from plait.ir.complex import Complex
from plait.ir.loop import Buffer, Expr, Index, Value, binary, const, is_const, select
from plait.prims.index import (
    MOVABLE,
    Sample,
    batch_number,
    behind,
    draw_index,
    indexed_shape,
    is_inside,
    other_axes,
    place_at,
    shifted,
)
from plait.prims.lines import Site, batch_all, grain, highest, lowest, number, product, rows, smaller
from plait.prims.movement import Axes, linear_jvp
from plait.prims.rules import AxisMap, byte_count, check_dtype, check_same_dtype, draw, where

NUMBERS = (*INTEGERS, *FLOATS, *COMPLEXES)
_COLUMNS = 64  # elements of an update that one task of a scatter adds; all tasks read all indices
_NEIGHBOURS = 128  # updates of elements of their own that one task applies side by side
_AHEAD = 128  # updates whose places are computed together,
_ARITHMETIC = 6  # if that takes more operations than these
_PART, _PARTS = 32768, 16  # the least number of elements in a part of the updates, and the most parts


def _scatter_rule(name: str, dtypes: Sequence[DType]) -> Callable[..., Aval]:
    def rule(operand: Aval, updates: Aval, *indices: Aval, axes: Axes) -> Aval:
        check_dtype(name, check_same_dtype(name, operand, updates), dtypes)
        shape = indexed_shape(name, operand, indices, axes)
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


def _scatter_lower(combine: Combine | None, neutral: Callable[[DType], Value] | None) -> Callable[[Site], None]:
    """Make the lowering: copy the operand, then apply the updates in order.

    No two tasks write the same element: see `_apply_updates`. Many updates of few elements are first combined in parts
    with a copy each.
    """

    def lower(site: Site) -> None:
        site.raw_outputs()
        shape, output, wide = site.out_shape, site.output(0), site.out.dtype.compute
        parts = 1 if neutral is None else _parts(site)
        target = output
        if parts > 1 or (combine is not None and wide is not site.out.dtype):
            # many small updates would be lost to rounding in 8 or 11 bits
            target = site.builder.workspace(wide.real, product([*shape, parts, 1 + wide.is_complex]))
        copies = [parts, *shape] if parts > 1 else shape
        with rows(site, copies) as index:
            value = site.read(0, index) if neutral is None or parts == 1 else number(neutral(wide), wide)
            _store(site, target, site.flat(index, copies), value)
        (_apply_ahead if _is_worth_lanes(site) else _apply_updates)(site, target, combine, parts)
        if target is output:
            return
        with rows(site, shape, parts) as index:
            flat = site.flat(index, shape)
            value = site.read(0, index) if parts > 1 else _load(site, target, flat)
            if combine is not None and parts > 1:
                for k in range(parts):
                    value = combine(value, _load(site, target, flat + k * product(shape)))
            _store(site, output, flat, value)

    return lower


def _parts(site: Site) -> int:
    """In how many parts the updates are combined. That depends on sizes alone, as then do the results."""
    total, work, axes = product(site.out_shape), product(site.shape(1)), site.params["axes"]
    if not isinstance(total, int) or not isinstance(work, int) or _owned(site):
        return 1
    blocks: Any = 1
    if len(site.out_shape) - 1 not in axes:
        *outer, last = [site.out_shape[k] for k in other_axes(len(site.out_shape), axes)]
        blocks = product([*outer, -(-last // _COLUMNS)])
    parts: int = min(_PARTS // max(1, blocks), work // _PART, work // max(1, 8 * total))
    return max(1, parts)


def _owned(site: Site) -> list[int]:
    """Axes of the updates that index arrays count: at two places on such an axis are two elements."""
    return sorted({i.params["axis"] for i in site.node.inputs[2:] if i.prim.name == "iota"})


def _apply_updates(site: Site, target: Buffer, combine: Combine | None, parts: int) -> None:
    """Apply updates, in order where they may meet.

    Tasks share out the parts, the places on axes where updates never meet, and the elements that each update has.
    """
    builder, axes, shape, count = site.builder, site.params["axes"], site.out_shape, site.shape(2)
    rest, owned = [shape[k] for k in other_axes(len(shape), axes)], _owned(site)
    strided = not rest or len(shape) - 1 in axes  # what an update has is spread out: lanes would not help
    across = strided and len(count) - 1 in owned  # then neighbouring updates are done together
    tasks = [parts, *[count[k] for k in owned], *rest]
    blocked = len(owned) if across else -1
    length, width = tasks[blocked], _NEIGHBOURS if across else 1 if strided else _COLUMNS
    tasks[blocked] = (length + (width - 1)) // width
    sizes = [shape[a] for a in axes]
    work = grain(smaller(length, width), *[n for k, n in enumerate(count) if k not in owned])
    with builder.parallel(product(tasks), grain=work // parts + 1) as task:
        place = site.unflatten(task, tasks)
        low, base = place[blocked] * width, place[0] * product(shape)
        block = width if is_const(const(length % width), 0) else smaller(length - low, width)

        def update(at: list[Index], positions: list[Expr], at_rest: list[Index]) -> None:
            flat = base + site.flat(place_at(axes, positions, at_rest), shape)
            value = site.read(1, [*at, *at_rest])
            _store(site, target, flat, value if combine is None else combine(_load(site, target, flat), value))

        def each(at: list[Index], at_rest: list[Index]) -> None:
            found = [_position(site, 2 + k, at) for k in range(len(axes))]
            with builder.when(is_inside(found, sizes)):
                if strided:
                    update(at, found, at_rest)
                else:
                    with builder.vector(0, block) as column:
                        update(at, found, [*at_rest[:-1], low + column])

        at_rest = place[1 + len(owned) :]
        with _updates(site, parts, place[0], dict(zip(owned, place[1:], strict=False))) as at:
            if across:
                with builder.loop(0, block) as column:
                    each([*at[:-1], low + column], at_rest)
            else:
                each(at, at_rest)


def _is_worth_lanes(site: Site) -> bool:
    """Whether updates are single elements whose places take some arithmetic."""
    if len(site.params["axes"]) < len(site.out_shape) or _owned(site):
        return False
    at = [0] * len(site.shape(2))
    pending, seen = [const(site.read(k, at)) for k in range(2, len(site.ins))], set()
    while pending:
        value = pending.pop()
        if value.args and value not in seen:
            seen.add(value)
            pending.extend(value.args)
    return len(seen) > _ARITHMETIC


def _apply_ahead(site: Site, target: Buffer, combine: Combine | None, parts: int) -> None:
    """Apply updates of one element each, in order; where they go is computed some ahead, in vector lanes."""
    builder, axes, shape, count = site.builder, site.params["axes"], site.out_shape, site.shape(2)
    total, sizes = product(count), [shape[a] for a in axes]
    size = (total + (parts - 1)) // parts
    with builder.parallel(parts) as part:
        places, end = builder.stack(int64, _AHEAD), smaller(part * size + size, total)
        with builder.loop(part * size, end, _AHEAD) as first:
            last = smaller(first + _AHEAD, end)
            with builder.vector(first, last) as n:
                found = [const(site.read(2 + k, site.unflatten(n, count))) for k in range(len(axes))]
                flat = const(site.flat(place_at(axes, found, []), shape))
                builder.store(places, n - first, select(is_inside(found, sizes), flat, const(-1)))
            with builder.loop(first, last) as n:
                place = builder.local(int64, builder.load(places, n - first)).get()
                with builder.when(place >= 0):
                    at = part * product(shape) + place
                    value = site.read(1, site.unflatten(n, count))
                    _store(site, target, at, value if combine is None else combine(_load(site, target, at), value))


def _position(site: Site, operand: int, at: list[Index]) -> Expr:
    """Read an index array; what it counts needs no memory."""
    value: Expr = const(site.read(operand, at))
    return value if site.node.inputs[operand].prim.name == "iota" else site.builder.local(int64, value).get()


@contextmanager
def _updates(site: Site, parts: int, part: Index, fixed: dict[int, Index]) -> Iterator[list[Index]]:
    """Open loops over the updates of a part, or over those at `fixed` places on some axes. Yields their places."""
    count = site.shape(2)
    if parts > 1:
        total = product(count)
        size = (total + (parts - 1)) // parts
        with site.builder.loop(part * size, smaller(part * size + size, total)) as n:
            yield site.unflatten(n, count)
        return
    free = [k for k in range(len(count)) if k not in fixed]
    with site.builder.loops([count[k] for k in free]) as at:
        places = {**fixed, **dict(zip(free, at, strict=True))}
        yield [places[k] for k in range(len(count))]


def _scatter_batch(node: Node, inputs: Sequence[Node], batched: Sequence[bool], size: Size) -> Node:
    operand, updates, *indices = inputs
    axes, shape = node.params["axes"], node.inputs[2].shape
    operand, updates = batch_all([operand, updates], batched[:2], size)
    if not any(batched[2:]):
        # the batch is one more axis that is not indexed, the first of them
        return node.prim(operand, behind(updates, len(shape)), *indices, axes=shifted(axes))
    indices = batch_all(indices, batched[2:], size)
    return node.prim(operand, updates, batch_number(size, shape), *indices, axes=(0, *shifted(axes)))


def _scatter_shard(node: Node) -> AxisMap:
    operand, _, *indices = node.inputs
    axes = node.params["axes"]
    of_rest = tuple(other_axes(operand.ndim, axes))
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
        updates = (*index, *[shape[k] for k in other_axes(len(shape), axes)])
        indices = [draw_index(random, shape[a], index, 1) for a in axes]
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
    name: str, dtypes: Sequence[DType], combine: Combine | None, neutral: Callable[[DType], Value] | None, jvp: Any,
    transpose: Any, **domain: Any,
) -> Primitive:  # fmt: skip
    return Primitive(
        f"scatter_{name}", kind="kernel", aval=_scatter_rule(f"scatter_{name}", dtypes),
        lower=_scatter_lower(combine, neutral), jvp=jvp, transpose=transpose, batch=_scatter_batch,
        shard=_scatter_shard, cost=_scatter_cost, domain=Domain(tuple(dtypes), sample=_scatter_samples, **domain),
        oracle=f"oracle.index.scatter_{name}",
    )  # fmt: skip


REALS = (*INTEGERS, *FLOATS)
_MASKED = Waived("its jvp is written with scatter_add, which is transposed instead")
scatter_set = _scatter("set", MOVABLE, None, None, linear_jvp, _set_transpose)
scatter_add = _scatter("add", NUMBERS, lambda old, new: old + new, lambda dtype: 0, linear_jvp, _add_transpose)
scatter_mul = _scatter(
    "mul", NUMBERS, lambda old, new: old * new, lambda dtype: 1, _mul_jvp, _mul_transpose, tolerance=32.0
)
scatter_min = _scatter("min", REALS, lambda old, new: binary("min", old, new), highest, _extreme_jvp, _MASKED)
scatter_max = _scatter("max", REALS, lambda old, new: binary("max", old, new), lowest, _extreme_jvp, _MASKED)
