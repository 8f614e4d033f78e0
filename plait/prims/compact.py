"""Positions of the elements that hold: the one function whose result has another size than its operand says."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from plait.core.aval import Aval, Size, aval
from plait.core.dtype import DType, bool_, int32, int64
from plait.core.errors import DTypeError, ShapeError, message
from plait.core.graph import Node
from plait.core.primitive import Domain, P, Primitive
from plait.ir.loop import Index, binary, const, select
from plait.prims.lines import Site, grain, product, smaller
from plait.prims.rules import NOT_LINEAR, PIECEWISE_CONSTANT, AxisMap, byte_count

BLOCK = 2048  # elements whose positions one task collects
GROUP = 64  # elements that are looked at one by one where some hold, not all


def _aval(mask: Aval, *, size: Size, fill: int) -> Aval:
    if mask.dtype is not bool_:
        raise DTypeError(message("nonzero takes a mask", mask.dtype.name, "bool", "compare first, e.g. x != 0"))
    if not mask.ndim or isinstance(size, int) and size < 0:
        raise ShapeError(message("nonzero needs an axis and a size", f"{mask}, size {size}", "at least 0 of 1 axis"))
    return aval(int64, (*mask.shape[:-1], size))


def _lower(site: Site) -> None:
    """Count in blocks, add up the counts, and let each block write its positions behind those of the ones before."""
    builder, size = site.builder, site.out_shape[-1]
    *lead, length = site.shape(0)
    blocks = (length + (BLOCK - 1)) // BLOCK
    rows, tasks = product(lead), product([*lead, blocks])
    counts = builder.workspace(int64, tasks)

    def read(row: Any, position: Index) -> Any:
        return site.read(0, [*site.unflatten(row, lead), position])

    def ends(task: Any) -> tuple[Any, Index]:
        low = task % blocks * BLOCK
        return low, smaller(low + BLOCK, length)

    def held(row: Any, low: Index, high: Index) -> Any:
        total = builder.accumulator("add", int32, 0)
        with builder.vector(low, high) as i:
            total.add(read(row, i).cast(int32))
        return builder.local(int64, total.get().cast(int64)).get()

    with builder.parallel(tasks, grain=grain(BLOCK)) as task:
        builder.store(counts, task, held(task // blocks, *ends(task)))
    with builder.parallel(rows) as row:
        before = builder.local(int64, 0)
        with builder.loop(0, blocks) as block:
            count = builder.local(int64, builder.load(counts, row * blocks + block)).get()
            builder.store(counts, row * blocks + block, before.get())
            before.set(before.get() + count)
        with builder.loop(before.get(), size) as rest:
            site.write([*site.unflatten(row, lead), rest], const(site.params["fill"], int64))
    with builder.parallel(tasks, grain=grain(BLOCK)) as task:
        row, (low, high) = task // blocks, ends(task)
        found = builder.stack(int64, BLOCK)
        count = builder.local(int64, 0)
        with builder.loop(low, high, GROUP) as start:
            end = smaller(start + GROUP, high)
            some = held(row, start, end)
            with builder.when(some.eq(end - start)), builder.vector(start, end) as i:
                builder.store(found, count.get() + (i - start), i)
            with builder.when((some > 0) & (some < end - start)):
                place = builder.local(int64, count.get())
                with builder.loop(start, end) as i:  # each is written, and overwritten where its element does not hold
                    builder.store(found, place.get(), i)
                    place.set(place.get() + select(read(row, i), const(1, int64), const(0, int64)))
            count.set(count.get() + some)
        first = builder.local(int64, builder.load(counts, task)).get()
        room = binary("max", binary("min", count.get(), const(size) - first), const(0))
        with builder.vector(0, builder.local(int64, room).get()) as k:
            site.write([*site.unflatten(row, lead), first + k], builder.load(found, k))


def _batch(node: Node, inputs: Sequence[Node], batched: Sequence[bool], size: Size) -> Node:
    return P.nonzero(inputs[0], **node.params)


def _shard(node: Node) -> AxisMap:
    labels = (*range(node.ndim - 1), None)
    return (labels,), labels


def _samples(random: Any, dtype: DType, size: int) -> Iterator[tuple[list[Any], dict[str, Any]]]:
    for shape, count, fill in (((size,), size, -1), ((3, size), 2, 0), ((2, 2, size), size + 2, 7), ((5000,), 2400, 0)):
        yield [random.random(shape) < 0.5], {"size": count, "fill": fill}


nonzero = Primitive(
    "nonzero", kind="kernel", aval=_aval, lower=_lower, jvp=PIECEWISE_CONSTANT, transpose=NOT_LINEAR, batch=_batch,
    shard=_shard,
    cost=lambda node: (0.0, byte_count([node.aval, node.inputs[0].aval])),
    domain=Domain((bool_,), sample=_samples, smooth=False), oracle="oracle.compact.nonzero", runtime=("size",),
)  # fmt: skip
