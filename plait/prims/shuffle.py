"""Random permutations from random words."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from plait.core.aval import Aval, Size
from plait.core.dtype import DType, int64, uint32, uint64
from plait.core.errors import DTypeError, ShapeError, message
from plait.core.graph import Node
from plait.core.primitive import Domain, P, Primitive
from plait.ir.loop import Expr, Index, const, select
from plait.prims.lines import Site, batch_all, element_cost, grain, product, smaller
from plait.prims.rules import NOT_LINEAR, PIECEWISE_CONSTANT, AxisMap, draw

BUCKET = 1024  # places that are exchanged in the cache of a thread,
MOST_BITS = 11  # unless there are too many buckets
CHUNK = 65536  # places that one task puts into buckets


def _aval(first: Aval, second: Aval) -> Aval:
    if first.dtype is not uint32 or second.dtype is not uint32:
        raise DTypeError(message("shuffle takes random words", f"{first} and {second}", "uint32"))
    if not first.ndim or first.shape != second.shape:
        raise ShapeError(message("shuffle takes two words for each place", f"{first} and {second}", "equal shapes"))
    return first.with_dtype(int64)


def _lower(site: Site) -> None:
    """Put each place into a random bucket, then exchange places within each bucket (Rao, 1961; Sandelius, 1962)."""
    builder = site.builder
    *lead, length = site.shape(0)
    (bits, buckets), chunks = _buckets(length), (length + (CHUNK - 1)) // CHUNK
    lines, shift = product(lead), (const(32) - bits).cast(uint32)
    places = builder.workspace(uint32, product([lines, length]))
    starts = builder.workspace(int64, product([lines, buckets * chunks]))
    ends = builder.workspace(int64, product([lines, buckets]))

    def slot(line: Index, bucket: Index, chunk: Index) -> Expr:
        return const((line * buckets + bucket) * chunks + chunk)

    def bucket_of(line: Index, i: Index) -> Expr:
        word: Expr = site.read(0, [*site.unflatten(line, lead), i])
        return (word >> shift).cast(int64)

    def advance(at: Expr) -> Expr:
        found: Expr = builder.local(int64, builder.load(starts, at)).get()
        builder.store(starts, at, found + 1)
        return found

    with builder.parallel(lines * chunks, grain=grain(CHUNK)) as task:
        line, chunk = task // chunks, task % chunks
        with builder.loop(0, buckets) as bucket:
            builder.store(starts, slot(line, bucket, chunk), 0)
        with builder.loop(chunk * CHUNK, smaller(chunk * CHUNK + CHUNK, length)) as i:
            advance(builder.local(int64, slot(line, bucket_of(line, i), chunk)).get())
    with builder.parallel(lines, grain=1) as line:
        total = builder.local(int64, 0)
        with builder.loop(0, buckets) as bucket:
            with builder.loop(0, chunks) as chunk:
                count = builder.local(int64, builder.load(starts, slot(line, bucket, chunk))).get()
                builder.store(starts, slot(line, bucket, chunk), total.get())
                total.set(total.get() + count)
            builder.store(ends, line * buckets + bucket, total.get())
    with builder.parallel(lines * chunks, grain=grain(CHUNK)) as task:
        line, chunk = task // chunks, task % chunks
        with builder.loop(chunk * CHUNK, smaller(chunk * CHUNK + CHUNK, length)) as i:
            at = advance(builder.local(int64, slot(line, bucket_of(line, i), chunk)).get())
            builder.store(places, line * length + at, i.cast(uint32))
    with builder.parallel(product([lines, buckets]), grain=grain(BUCKET, 4)) as task:
        line, bucket = task // buckets, task % buckets
        base = line * length
        before = builder.load(ends, task - 1, const(bucket) > 0)
        low, high = (builder.local(int64, v).get() for v in (before, builder.load(ends, task)))
        with builder.loop(0, high - low) as k:  # the last of the first k + 1 changes places with any of them
            word = site.read(1, [*site.unflatten(line, lead), low + k]).cast(uint64)
            other = ((word * (k + 1).cast(uint64)) >> const(32, uint64)).cast(int64)
            here, there = base + low + k, builder.local(int64, base + low + other).get()
            one, two = (builder.local(uint32, builder.load(places, at)).get() for at in (here, there))
            builder.store(places, here, two)
            builder.store(places, there, one)
        with builder.vector(low, high) as i:
            site.write([*site.unflatten(line, lead), i], builder.load(places, base + i).cast(int64))


def _buckets(length: Index) -> tuple[Index, Index]:
    """Return the number of buckets and its binary logarithm, before it."""
    if isinstance(length, int):
        bits = min(MOST_BITS, max(0, (length - 1) // BUCKET).bit_length())
        return bits, 1 << bits
    full = (length - 1) // BUCKET
    larger = [full >= (1 << k) for k in range(MOST_BITS)]
    return sum(select(x, const(1), const(0)) for x in larger), product([select(x, const(2), const(1)) for x in larger])


def _batch(node: Node, inputs: Sequence[Node], batched: Sequence[bool], size: Size) -> Node:
    return P.shuffle(*batch_all(inputs, batched, size))


def _shard(node: Node) -> AxisMap:
    labels = (*range(node.ndim - 1), None)
    return (labels, labels), labels


def _samples(random: Any, dtype: DType, size: int) -> Iterator[tuple[list[Any], dict[str, Any]]]:
    for shape in ((size,), (3, size), (2, 2, size + 5), (3000 + 100 * size,)):
        yield [draw(random, dtype, shape, 0, 2**32 - 1) for _ in range(2)], {}


shuffle = Primitive(
    "shuffle", kind="kernel", aval=_aval, lower=_lower, jvp=PIECEWISE_CONSTANT, transpose=NOT_LINEAR, batch=_batch,
    shard=_shard, cost=element_cost(10), domain=Domain((uint32,), sample=_samples, smooth=False),
    oracle="oracle.sort.shuffle",
)  # fmt: skip
"""Permutations of the places on the last axis, all about equally likely for independent random words."""
