"""Sorting: stable, NaN greater than every number (last, or first when descending)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

from plait.core.aval import Aval
from plait.core.dtype import ALL, FLOATS, INTEGERS, DType, bool_, int64, uint32
from plait.core.errors import ArgumentError, DTypeError, ShapeError, message
from plait.core.graph import Node
from plait.core.primitive import Domain, P, Primitive
from plait.ir.build import Builder
from plait.ir.loop import Expr, Index, binary, const, is_const, select
from plait.prims.lines import Site, axis_batch, axis_shard, check_axis, element_cost, grain, product, smaller
from plait.prims.radix import (
    Keys,
    Rows,
    insertion_sort,
    merge_sort,
    network_sort,
    radix_sort,
    select_first,
    select_rank,
)
from plait.prims.rules import NOT_LINEAR, PIECEWISE_CONSTANT, check_dtype, draw

KEYS = (bool_, *INTEGERS, *FLOATS)
RUN = 16  # lines up to this length are sorted by insertion
RADIX = 128  # longer ones of one key digit by digit
NETWORK = 64  # lines up to this length are sorted side by side
LANES = 32  # so many of them
_STACK = 1 << 17  # bytes of a line that is sorted in private memory


def _sort_rule(*operands: Aval, axis: int, keys: int = 1, descending: bool = False) -> tuple[Aval, ...]:
    if not 1 <= keys <= len(operands):
        raise ArgumentError(message("sort takes its keys first", f"keys={keys}", f"1 to {len(operands)}"))
    check_axis("sort", operands[0], axis)
    for position, operand in enumerate(operands):
        check_dtype("sort", operand.dtype, KEYS if position < keys else ALL)
        if operand.shape != operands[0].shape:
            raise ShapeError(
                message("sort takes operands of one shape", f"{operands[0]} and {operand}", "equal shapes")
            )
    return operands


# the kernels

At = Callable[[Index], list[Index]]  # from a position on a line to an index


class _Lines:
    """The lines of the first operand: their keys as unsigned integers, and memory to sort them in."""

    def __init__(self, site: Site, keys: int, descending: bool, with_places: bool) -> None:
        self.site, self.axis, self.keys = site, site.params["axis"], keys
        self.with_places = with_places or keys > 1
        self.codes = [Keys(site.dtype(k), descending, exact=not self.with_places) for k in range(keys)]
        shape = site.shape(0)
        self.length, self.others = shape[self.axis], [*shape[: self.axis], *shape[self.axis + 1 :]]

        self.dtypes = [code.dtype for code in self.codes] + [uint32] * self.with_places

    def _at(self, line: Index) -> At:
        head = self.site.unflatten(line, self.others)
        return lambda position: [*head[: self.axis], position, *head[self.axis :]]

    @contextmanager
    def each(self, size: Index, halves: int = 2, keys: int = 0) -> Iterator[tuple[Rows, At]]:
        """Open the loop over lines. Yields memory for two halves of `size` rows, and the index of a position."""
        builder: Builder = self.site.builder
        row_bytes = sum(dtype.itemsize for dtype in self.dtypes)
        is_small = isinstance(size, int) and size * halves * row_bytes <= _STACK
        count = product([*self.others, size * halves])
        buffers = [] if is_small else [builder.workspace(dtype, count) for dtype in self.dtypes]
        with builder.parallel(product(self.others), grain=grain(self.length, 8)) as line:
            if isinstance(size, int) and is_small:
                buffers = [builder.stack(dtype, max(1, size * halves)) for dtype in self.dtypes]
            base = 0 if is_small else line * (size * halves)
            yield Rows(builder, buffers, base, size, keys or self.keys), self._at(line)

    @contextmanager
    def together(self, length: int) -> Iterator[tuple[Rows, Index, Callable[[Index], At]]]:
        """Open a loop over blocks of lines. Yields memory, how many lines there are, and their indices."""
        builder: Builder = self.site.builder
        total = product(self.others)
        with builder.parallel((total + (LANES - 1)) // LANES, grain=grain(length * LANES, 8)) as block:
            buffers = [builder.stack(dtype, length * LANES) for dtype in self.dtypes]
            count = builder.local(int64, smaller(const(total - block * LANES), LANES)).get()
            # equal keys are ordered by their positions
            yield Rows(builder, buffers, 0, length, len(buffers)), count, lambda k: self._at(block * LANES + k)

    def key(self, index: list[Index], number: int = 0) -> Expr:
        """Return a key at an index."""
        return self.codes[number].encode(self.site.read(number, index))

    def row(self, at: At, position: Index) -> list[Expr]:
        """Return the keys at a position of a line, and that."""
        return [*[self.key(at(position), k) for k in range(self.keys)], const(position).cast(uint32)]

    def value(self, number: int, row: Sequence[Expr], at: At) -> Expr:
        """Return the operand whose key is in a row."""
        code = self.codes[number]
        value, is_zero = code.decode(row[number]), code.is_zero(row[number])
        if is_const(is_zero):
            return value
        return select(is_zero, self.site.read(number, at(row[-1].cast(int64)), is_zero), value)


def _sort_line(lines: _Lines, rows: Rows, at: At) -> Index:
    """Sort one line; returns the row where the result begins."""
    builder, length = rows.builder, lines.length

    def compare() -> Index:
        with builder.vector(0, length) as row:
            rows.store(row, lines.row(at, row))
        insertion_sort(rows, 0, length, RUN)
        return 0 if isinstance(length, int) and length <= RUN else merge_sort(rows, length, RUN)

    if lines.keys > 1 or (isinstance(length, int) and length <= RADIX):
        return compare()
    if isinstance(length, int):
        return radix_sort(rows, lines.codes[0], lambda row: lines.key(at(row)))
    start = builder.local(int64, 0)
    with builder.when(length <= RADIX):
        start.set(const(compare()))
    with builder.otherwise():
        start.set(radix_sort(rows, lines.codes[0], lambda row: lines.key(at(row))))
    return start.get()


def _sort_lower(site: Site) -> None:
    keys, builder = site.params.get("keys", 1), site.builder
    lines = _Lines(site, keys, site.params.get("descending", False), len(site.ins) > keys)
    length, count = lines.length, product(lines.others)

    def write(at: At, row: Index, values: Sequence[Expr]) -> None:
        for k in range(keys):
            site.write(at(row), lines.value(k, values, at), output=k)
        for k in range(keys, len(site.ins)):
            site.write(at(row), site.read(k, at(values[-1].cast(int64))), output=k)

    if isinstance(length, int) and 0 < length <= NETWORK and not (isinstance(count, int) and count < 4):
        with lines.together(length) as (rows, width, line):
            with builder.loop(0, length) as row, builder.vector(0, width) as k:
                rows.store(row * LANES + k, lines.row(line(k), row))
            network_sort(rows, length, LANES, width)
            with builder.loop(0, length) as row, builder.vector(0, width) as k:
                write(line(k), row, rows.load(row * LANES + k))
        return
    is_short = isinstance(length, int) and length <= RUN
    with lines.each(length, 1 if is_short else 2) as (rows, at):
        start = _sort_line(lines, rows, at)
        with builder.vector(0, length) as row:
            write(at, row, rows.load(start + row))


# derivatives: tangents are permuted like the operands


def take_along(x: Node, index: Node, axis: int) -> Node:
    """Return `x[..., index[..., i, ...], ...]`: for each place the element at `index` along `axis`."""
    axes = range(x.ndim)
    indices = [index if a == axis else P.iota(dtype=int64, shape=index.shape, axis=a) for a in axes]
    return P.gather(x, *indices, axes=tuple(axes), mode="clip")


def _positions(x: Node, axis: int) -> Node:
    return P.iota(dtype=int64, shape=x.shape, axis=axis)


def _sort_linearize(node: Node, tangents: Sequence[Node | None]) -> tuple[Node, list[Node | None]]:
    """Sort the positions along, if they are not yet an operand."""
    axis, operands, params = node.params["axis"], list(node.inputs), node.params
    wanted = _positions(operands[0], axis)
    found = [i for i, x in enumerate(operands) if x.prim is wanted.prim and x.params == wanted.params]
    current = node if found else P.sort(*operands, wanted, **params)
    permutation = current[found[0] if found else len(operands)]
    return current, [None if t is None else take_along(t, permutation, axis) for t in tangents]


def _sort_jvp(node: Node, tangents: Sequence[Node | None]) -> list[Node | None]:
    return _sort_linearize(node, tangents)[1]


def _sort_sample(random: Any, dtype: DType, size: int) -> Iterator[tuple[list[Any], dict[str, Any]]]:
    cases: list[tuple[tuple[int, ...], int, int, int]] = [
        ((size,), 0, 1, 0), ((3, size), 1, 1, 0), ((size, 3), 0, 1, 1), ((2, size, 2), 1, 2, 1), ((0, size), 1, 1, 1),
        ((3 * size + 40,), 0, 1, 1),
    ]  # fmt: skip
    for number, (shape, axis, keys, payloads) in enumerate(cases):
        operands = [draw(random, dtype, shape, -4, 4) for _ in range(keys + payloads)]
        yield operands, {"axis": axis, "keys": keys, "descending": bool(number % 2)}


sort = Primitive(
    "sort", kind="kernel", aval=_sort_rule, lower=_sort_lower, jvp=_sort_jvp,
    linearize=_sort_linearize, transpose=NOT_LINEAR, batch=axis_batch, shard=axis_shard, cost=element_cost(60),
    domain=Domain(KEYS, sample=_sort_sample), oracle="oracle.sort.sort", multi=True,
)  # fmt: skip


def _argsort_rule(x: Aval, *, axis: int, descending: bool = False) -> Aval:
    check_dtype("argsort", x.dtype, KEYS)
    check_axis("argsort", x, axis)
    return x.with_dtype(int64)


def _argsort_lower(node: Node) -> Node:
    x, axis = node.inputs[0], node.params["axis"]
    return P.sort(x, _positions(x, axis), axis=axis, keys=1, descending=node.params.get("descending", False))[1]


def _single_sample(make_params: Callable[[int], dict[str, Any]], random: Any, dtype: DType, size: int) -> Iterator[Any]:
    for shape, axis in (((size,), 0), ((3, size), 1), ((size, 3), 0), ((0, size), 1)):
        yield [draw(random, dtype, shape, -4, 4)], {"axis": axis, **make_params(size)}


argsort = Primitive(
    "argsort", kind="expand", aval=_argsort_rule, lower=_argsort_lower, jvp=PIECEWISE_CONSTANT, transpose=NOT_LINEAR,
    batch=axis_batch, shard=axis_shard, cost=element_cost(60),
    domain=Domain(KEYS, sample=partial(_single_sample, lambda size: {"descending": size % 2 == 1}), smooth=False),
    oracle="oracle.sort.argsort",
)  # fmt: skip


def _top_k_rule(x: Aval, *, k: int, axis: int, largest: bool = True) -> tuple[Aval, Aval]:
    check_dtype("top_k", x.dtype, KEYS)
    check_axis("top_k", x, axis)
    size = x.shape[axis]
    if k < 0 or (isinstance(size, int) and k > size):
        raise ShapeError(message("top_k cannot select so many elements", f"k={k}, size {size}", f"k from 0 to {size}"))
    values = x.with_shape((*x.shape[:axis], k, *x.shape[axis + 1 :]))
    return values, values.with_dtype(int64)


def _top_k_lower(site: Site) -> None:
    """Select the first of each line where they are few, else sort it."""
    count, builder = site.params["k"], site.builder
    lines = _Lines(site, 1, site.params.get("largest", True), with_places=True)
    length = lines.length
    is_sorted = count * 8 > length if isinstance(length, int) else count > RADIX
    if count == 0:
        with builder.parallel(1):
            return
    with lines.each(length if is_sorted else count, keys=1 if is_sorted else 2) as (rows, at):
        if is_sorted:
            start = _sort_line(lines, rows, at)
        else:
            start = select_first(rows, lambda row: lines.key(at(row)), length, count, RUN)
        with builder.vector(0, count) as row:
            values = rows.load(start + row)
            site.write(at(row), lines.value(0, values, at))
            site.write(at(row), values[-1].cast(int64), output=1)


def _top_k_jvp(node: Node, tangents: Sequence[Node | None]) -> list[Node | None]:
    tangent = tangents[0]
    return [None if tangent is None else take_along(tangent, node[1], node.params["axis"]), None]


top_k = Primitive(
    "top_k", kind="kernel", aval=_top_k_rule, lower=_top_k_lower, jvp=_top_k_jvp, transpose=NOT_LINEAR,
    batch=axis_batch, shard=axis_shard, cost=element_cost(60), oracle="oracle.sort.top_k", multi=True,
    domain=Domain(KEYS, sample=partial(_single_sample, lambda size: {"k": (size + 1) // 2, "largest": size % 2 == 1})),
)  # fmt: skip


def _order_statistic_rule(x: Aval, rank: Aval, *, axis: int) -> Aval:
    check_dtype("order_statistic", x.dtype, KEYS)
    check_axis("order_statistic", x, axis)
    if rank.dtype is not int64:
        text = "order_statistic takes int64 ranks"
        raise DTypeError(message(text, rank.dtype.name, "int64", "convert with .to(int64)"))
    others = [s.shape[:axis] + s.shape[axis + 1 :] for s in (x, rank)]
    if rank.ndim != x.ndim or others[0] != others[1]:
        text = "order_statistic takes ranks for each line"
        raise ShapeError(message(text, f"{x} and {rank}", f"shapes that are equal but for axis {axis}"))
    if x.shape[axis] == 0 and rank.size:
        raise ShapeError(message("An empty line has no element of any rank", x.shape, "an axis that is not empty"))
    return rank.with_dtype(x.dtype)


def _order_statistic_lower(site: Site) -> None:
    lines = _Lines(site, 1, False, with_places=False)
    length, builder = lines.length, site.builder
    with lines.each(length) as (rows, at):
        with builder.vector(0, length) as row:
            rows.store(row, lines.row(at, row))
        with builder.loop(0, site.out_shape[lines.axis]) as k:
            rank = _clipped(const(site.read(1, at(k))), length)
            site.write(at(k), lines.value(0, [select_rank(rows, lines.codes[0], rank)], at))


def _clipped(rank: Expr, length: Index) -> Expr:
    return binary("max", binary("min", rank, const(length) - 1), const(0))


def _order_statistic_linearize(node: Node, tangents: Sequence[Node | None]) -> tuple[Node, Node | None]:
    """Sort, which tells where the elements were."""
    (x, rank), axis = node.inputs, node.params["axis"]
    found = P.sort(x, _positions(x, axis), axis=axis, keys=1, descending=False)
    tangent = None if tangents[0] is None else take_along(tangents[0], take_along(found[1], rank, axis), axis)
    return take_along(found[0], rank, axis), tangent


def _order_statistic_sample(random: Any, dtype: DType, size: int) -> Iterator[tuple[list[Any], dict[str, Any]]]:
    for shape, axis, ranks in (((size + 1,), 0, 1), ((3, size + 20), 1, 2), ((40 * size + 300, 2), 0, 1)):
        place = random.integers(-1, shape[axis] + 1, (*shape[:axis], ranks, *shape[axis + 1 :]))
        yield [draw(random, dtype, shape, -4, 4), place], {"axis": axis}


order_statistic = Primitive(
    "order_statistic", kind="kernel", aval=_order_statistic_rule, lower=_order_statistic_lower,
    jvp=lambda node, tangents: _order_statistic_linearize(node, tangents)[1],
    linearize=_order_statistic_linearize, transpose=NOT_LINEAR, batch=axis_batch, shard=axis_shard,
    cost=element_cost(8), domain=Domain(KEYS, sample=_order_statistic_sample), oracle="oracle.sort.order_statistic",
)  # fmt: skip
"""The elements of each line along `axis` that have `rank` others before them in order; ranks are clipped."""
