"""Sorting: stable, NaN greater than every number (last, or first when descending)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

from plait.core.aval import Aval, Size
from plait.core.dtype import ALL, FLOATS, INTEGERS, DType, bool_, int64
from plait.core.errors import ArgumentError, ShapeError, message
from plait.core.graph import Node
from plait.core.primitive import Domain, P, Primitive
from plait.ir.build import Builder
from plait.ir.loop import Buffer, Expr, Index, binary, const, select
from plait.prims.lines import Site, axis_batch, axis_shard, check_axis, element_cost, product
from plait.prims.rules import NOT_LINEAR, PIECEWISE_CONSTANT, check_dtype, draw

KEYS = (bool_, *INTEGERS, *FLOATS)
RUN = 16  # lines up to this length are sorted by insertion


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


# the kernel: each line is sorted in workspace columns (the keys, and the permutation where there are payloads)


class _Columns:
    """The rows of one line in workspace: loads, stores and comparisons of whole rows, relative to `base`."""

    def __init__(self, builder: Builder, buffers: Sequence[Buffer], keys: int, descending: bool, base: Index) -> None:
        self.builder, self.buffers, self.keys = builder, buffers, keys
        self.descending, self.base = descending, base

    def load(self, row: Index, guard: Expr | None = None) -> list[Expr]:
        """Read a row; the values are fixed here, whatever is stored later."""
        builder = self.builder
        loads = [builder.load(b, self.base + row, guard) for b in self.buffers]
        return [builder.local(b.dtype.compute, value).get() for b, value in zip(self.buffers, loads, strict=True)]

    def store(self, row: Index, values: Sequence[Expr]) -> None:
        """Write a row."""
        for buffer, value in zip(self.buffers, values, strict=True):
            self.builder.store(buffer, self.base + row, value)

    def precedes(self, a: Sequence[Expr], b: Sequence[Expr]) -> Expr:
        """Whether row `a` must stand before row `b`: strictly, so that equal rows keep their order."""
        if self.descending:
            a, b = b, a
        result = const(False, bool_)
        for x, y in reversed(list(zip(a[: self.keys], b[: self.keys], strict=True))):
            result = _less(x, y) | (~_less(y, x) & result)
        return result


def _less(x: Expr, y: Expr) -> Expr:
    """x < y in the order of the sort."""
    if x.dtype is bool_:
        return ~x & y
    below = x < y
    return below | (y.ne(y) & x.eq(x)) if x.dtype.is_floating else below


def _insertion_sort(columns: _Columns, length: Index) -> None:
    """Sort each run of `RUN` rows."""
    builder = columns.builder
    with builder.loop(0, length, RUN) as low, builder.loop(low + 1, binary("min", low + RUN, const(length))) as start:
        row = columns.load(start)
        place = builder.local(int64, start)
        above = [builder.load(b, columns.base + place.get() - 1, place.get() > low) for b in columns.buffers]
        with builder.repeat_while((place.get() > low) & columns.precedes(row, above)):
            columns.store(place.get(), columns.load(place.get() - 1))
            place.set(place.get() - 1)
        columns.store(place.get(), row)


def _merge_sort(columns: _Columns, length: Index) -> Expr:
    """Merge sorted runs, back and forth between two halves of the columns; returns the half that has the result."""
    builder = columns.builder
    width, source = builder.local(int64, RUN), builder.local(int64, 0)
    with builder.repeat_while(width.get() < length):
        half, step = builder.local(int64, source.get()).get(), builder.local(int64, width.get()).get()
        target = builder.local(int64, length - half).get()
        with builder.loop(0, (length + step * 2 - 1) // (step * 2)) as pair:
            low = pair * (step * 2)
            middle, high = binary("min", low + step, const(length)), binary("min", low + step * 2, const(length))
            _merge(columns, half, target, low, middle, high)
        source.set(target)
        width.set(step * 2)
    return builder.local(int64, source.get()).get()


def _merge(columns: _Columns, source: Expr, target: Expr, low: Expr, middle: Expr, high: Expr) -> None:
    """Merge rows [low, middle) and [middle, high) of one half into the other."""
    builder = columns.builder
    middle, high = builder.local(int64, middle).get(), builder.local(int64, high).get()
    left, right = builder.local(int64, low), builder.local(int64, middle)
    with builder.loop(low, high) as row:
        has_left, has_right = left.get() < middle, right.get() < high
        a, b = columns.load(source + left.get(), has_left), columns.load(source + right.get(), has_right)
        from_right = builder.local(bool_, has_right & (~has_left | columns.precedes(b, a))).get()
        columns.store(target + row, [select(from_right, y, x) for x, y in zip(a, b, strict=True)])
        right.set(right.get() + from_right.cast(int64))
        left.set(left.get() + (~from_right).cast(int64))


def _sort_lower(site: Site) -> None:
    builder: Builder = site.builder
    axis, keys = site.params["axis"], site.params.get("keys", 1)
    shape = site.shape(0)
    length, others = shape[axis], [*shape[:axis], *shape[axis + 1 :]]
    is_short = isinstance(length, int) and length <= RUN
    stride = length if is_short else length * 2
    payloads = range(keys, len(site.ins))
    count = product([*others, stride])
    buffers = [builder.workspace(site.dtype(k), count) for k in range(keys)]
    buffers += [builder.workspace(int64, count)] if payloads else []
    with builder.parallel(product(others)) as line:
        head = site.unflatten(line, others)

        def at(position: Index) -> list[Index]:
            return [*head[:axis], position, *head[axis:]]

        columns = _Columns(builder, buffers, keys, site.params.get("descending", False), line * stride)
        with builder.loop(0, length) as row:
            columns.store(row, [*[site.read(k, at(row)) for k in range(keys)], row][: len(buffers)])
        _insertion_sort(columns, length)
        start: Index = 0 if is_short else _merge_sort(columns, length)
        with builder.loop(0, length) as row:
            values = columns.load(start + row)
            for k in range(keys):
                site.write(at(row), values[k], output=k)
            for k in payloads:
                site.write(at(row), site.read(k, at(values[-1])), output=k)


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


def _first(x: Node, axis: int, count: int) -> Node:
    limits: tuple[Size, ...] = (*x.shape[:axis], count, *x.shape[axis + 1 :])
    return P.slice(x, starts=(0,) * x.ndim, limits=limits, strides=(1,) * x.ndim)


def _top_k_lower(node: Node) -> list[Node]:
    x, axis = node.inputs[0], node.params["axis"]
    largest = node.params.get("largest", True)
    ordered = P.sort(x, _positions(x, axis), axis=axis, keys=1, descending=largest)
    return [_first(ordered[i], axis, node.params["k"]) for i in range(2)]


def _top_k_jvp(node: Node, tangents: Sequence[Node | None]) -> list[Node | None]:
    tangent = tangents[0]
    return [None if tangent is None else take_along(tangent, node[1], node.params["axis"]), None]


top_k = Primitive(
    "top_k", kind="expand", aval=_top_k_rule, lower=_top_k_lower, jvp=_top_k_jvp, transpose=NOT_LINEAR,
    batch=axis_batch, shard=axis_shard, cost=element_cost(60), oracle="oracle.sort.top_k", multi=True,
    domain=Domain(KEYS, sample=partial(_single_sample, lambda size: {"k": (size + 1) // 2, "largest": size % 2 == 1})),
)  # fmt: skip
