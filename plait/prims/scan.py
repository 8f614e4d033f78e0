"""Cumulative functions along an axis: one pass over each line or segment of a line, these in parallel."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from plait.core.aval import Aval
from plait.core.dtype import COMPLEXES, FLOATS, INTEGERS, DType
from plait.core.errors import ShapeError, message
from plait.core.graph import Node, full
from plait.core.primitive import Domain, P, Primitive
from plait.ir import complex as complex_math, math
from plait.ir.complex import Complex
from plait.ir.loop import Expr, Index, Value, binary, const, select
from plait.prims.lines import (
    Carry,
    Site,
    axis_batch,
    axis_shard,
    check_axis,
    choose,
    element_cost,
    grain,
    highest,
    lines,
    lowest,
    number,
    product,
    shifted,
    smaller,
)
from plait.prims.rules import NOT_LINEAR, check_dtype, check_same_dtype, draw

REALS = INTEGERS + FLOATS
LOG2 = 0.6931471805599453
SEGMENTS = 128  # of a long line, if a step is slow; and lines that need not be cut
_LONG = 8192  # elements of a line that is cut
_SEGMENT = 16384  # elements of a segment, if a step is fast
_LANES = 16  # segments, or lines, that are computed together


def _rule(name: str, dtypes: Sequence[DType]) -> Callable[..., Aval]:
    def rule(x: Aval, *rest: Aval, axis: int, reverse: bool = False) -> Aval:
        check_dtype(name, check_same_dtype(name, x, *rest), dtypes)
        check_axis(name, x, axis)
        if any(other.shape != x.shape for other in rest):
            raise ShapeError(message(f"{name} takes operands of one shape", f"{x} and {rest[0]}", "equal shapes"))
        return x

    return rule


Step = Callable[..., Any]


def _serial(start: Callable[[DType], Any], step: Step) -> Callable[[Site], None]:
    """Make the lowering `y[t] = step(t is first, y[t - 1], *operands[t])`, where y starts from `start(dtype)`."""

    def lower(site: Site) -> None:
        length = site.shape(0)[site.params["axis"]]
        with lines(site, site.params["axis"]) as at:
            carry = Carry(site.builder, site.dtype(0), number(start(site.dtype(0)), site.dtype(0)))
            with site.builder.loop(0, length) as t:
                index = at(length - 1 - t if site.params.get("reverse") else t)
                operands = [site.read(k, index) for k in range(len(site.ins))]
                carry.set(step(t.eq(0), carry.get(), *operands))
                site.write(index, carry.get())

    return lower


def _associative(start: Callable[[DType], Any], combine: Callable[[Any, Any], Any]) -> Callable[[Site], None]:
    """Make the lowering of `y[t] = combine(y[t - 1], x[t])`, where `combine` is associative, and slow.

    Lines of the last axis are in vector lanes. Few long ones are cut into segments that are computed side by side.
    """
    serial = _serial(start, lambda first, y, x: combine(y, x))

    def lower(site: Site) -> None:
        *others, length = site.shape(0)
        if site.params["axis"] < len(others) or site.dtype(0).is_complex:
            serial(site)
        elif _is_long(site, others, length):
            size = -(-length // SEGMENTS) | 1  # odd: a power of two puts all segments at the same places of the caches
            _segmented(site, start, combine, size, -(-length // size))
        else:
            _segmented(site, start, combine, length, 1)

    return lower


def _is_long(site: Site, others: Sequence[Index], length: Index) -> bool:
    """Whether lines are worth cutting, and too few for every thread to have one."""
    count = product(others)
    is_long = isinstance(length, int) and length >= _LONG
    return is_long and isinstance(count, int) and count < SEGMENTS and not site.invariant


def _scan(op: str, start: Callable[[DType], Any]) -> Callable[[Site], None]:
    """Make the lowering of `y[t] = op(y[t - 1], x[t])` for an operation of accumulators."""

    def combine(y: Any, x: Any) -> Any:
        return binary(op, y, x) if isinstance(y, Expr) else y * x if op == "mul" else y + x

    serial = _serial(start, lambda first, y, x: combine(y, x))

    def lower(site: Site) -> None:
        *others, length = site.shape(0)
        if site.params["axis"] < len(others) or site.dtype(0).is_complex:
            serial(site)
        elif _is_long(site, others, length) and length > _SEGMENT:
            _scan_lines(site, op, start(site.dtype(0)), _SEGMENT, -(-length // _SEGMENT))
        else:
            _scan_lines(site, op, start(site.dtype(0)), length, 1)

    return lower


def _scan_lines(site: Site, op: str, nothing: Value, size: Index, segments: int) -> None:
    """Scan lines along vector lanes; of several segments the totals first, then from the totals before each."""
    builder, dtype = site.builder, site.dtype(0).compute
    *others, length = site.shape(0)
    count = product(others) * segments
    totals = builder.workspace(dtype, count) if segments > 1 else None

    @contextmanager
    def along(segment: Expr) -> Iterator[list[Index]]:
        low = segment % segments * size
        with builder.vector(low, smaller(low + size, length) if segments > 1 else length) as t:
            place = length - 1 - t if site.params.get("reverse") else t
            yield [*site.unflatten(segment // segments, others), place]

    if totals is not None:
        with builder.parallel(count, grain=grain(size)) as segment:
            total = builder.accumulator(op, dtype, nothing)
            with along(segment) as index:
                total.add(site.read(0, index))
            builder.store(totals, segment, total.get())
        with builder.parallel(product(others)) as row:
            total = builder.accumulator(op, dtype, nothing)
            with builder.loop(row * segments, (row + 1) * segments) as segment:
                before = builder.local(dtype, total.get())
                total.add(builder.load(totals, segment))
                builder.store(totals, segment, before.get())
    with builder.parallel(count, grain=grain(size)) as segment:
        total = builder.accumulator(op, dtype, nothing if totals is None else builder.load(totals, segment))
        with along(segment) as index:
            site.write(index, total.scan(site.read(0, index)))


def _segmented(
    site: Site, start: Callable[[DType], Any], combine: Callable[[Any, Any], Any], size: Index, segments: int
) -> None:
    """Compute segments of `size` in vector lanes: their totals, the totals before each, and the elements."""
    builder, dtype = site.builder, site.dtype(0).compute
    *others, length = site.shape(0)
    rows_count = product(others)
    count = rows_count * segments
    nothing = const(start(site.dtype(0)), dtype)
    totals = builder.workspace(dtype, count)

    def at(segment: Expr, i: Expr) -> tuple[list[Index], Expr | None]:
        t = segment % segments * size + i
        place = length - 1 - t if site.params.get("reverse") else t
        return [*site.unflatten(segment // segments, others), place], t < length if segments > 1 else None

    def each(visit: Callable[[Expr], None]) -> None:
        blocks = (count + (_LANES - 1)) // _LANES
        with builder.parallel(blocks, grain=grain(size, _LANES)) as block:
            low = block * _LANES
            with builder.vector(low, smaller(low + _LANES, count)) as segment:
                visit(segment)

    def add_up(segment: Expr) -> None:
        total = builder.local(dtype, nothing)
        with builder.loop(0, size) as i:
            index, inside = at(segment, i)
            added = combine(total.get(), site.read(0, index, inside))
            total.set(added if inside is None else select(inside, added, total.get()))
        builder.store(totals, segment, total.get())

    def write(segment: Expr) -> None:
        carry = builder.local(dtype, builder.load(totals, segment) if segments > 1 else nothing)
        with builder.loop(0, size) as i:
            index, inside = at(segment, i)
            carry.set(combine(carry.get(), site.read(0, index, inside)))
            site.write(index, carry.get(), guard=inside)

    if segments > 1:
        each(add_up)
        with builder.parallel(rows_count) as row:
            before = builder.local(dtype, nothing)
            with builder.loop(row * segments, (row + 1) * segments) as segment:
                total = builder.local(dtype, builder.load(totals, segment)).get()
                builder.store(totals, segment, before.get())
                before.set(combine(before.get(), total))
    each(write)


def _linear_step(first: Expr, y: Any, a: Any, b: Any) -> Any:
    return choose(first, b, a * y + b)


def _logaddexp(y: Any, x: Any) -> Any:
    if isinstance(y, Complex):
        return _complex_logaddexp(y, x)
    distance = -binary("max", x - y, y - x)
    apart = binary("max", x, y) + math.log1p(math.exp(distance))
    return select(x.eq(y), x + LOG2, apart)  # equal infinities have no distance


def _complex_logaddexp(y: Complex, x: Complex) -> Complex:
    """The imaginary part is that of the operand with the larger real part, turned by less than a quarter."""
    is_larger = y.re >= x.re
    large, small = choose(is_larger, y, x), choose(is_larger, x, y)
    apart = large + complex_math.log1p(complex_math.exp(small - large))
    result: Complex = choose(large.re.eq(small.re) & large.re.eq(large.re * 2.0), large, apart)
    return result


def _direction(node: Node) -> dict[str, Any]:
    return {"axis": node.params["axis"], "reverse": node.params.get("reverse", False)}


def _previous(x: Node, node: Node, fill: float) -> Node:
    return shifted(x, node.params["axis"], fill, node.params.get("reverse", False))


def _sum_jvp(node: Node, tangents: Sequence[Node | None]) -> Node | None:
    return None if tangents[0] is None else P.cumsum(tangents[0], **node.params)


def _sum_transpose(node: Node, cotangent: Node, linear: Sequence[bool]) -> list[Node | None]:
    return [P.cumsum(cotangent, axis=node.params["axis"], reverse=not node.params.get("reverse", False))]


def _linear_jvp(node: Node, tangents: Sequence[Node | None]) -> Node | None:
    (a, _), (a_tangent, b_tangent) = node.inputs, tangents
    total = b_tangent
    if a_tangent is not None:
        term = a_tangent * _previous(node, node, 0)
        total = term if total is None else total + term
    return None if total is None else P.cumlinear(a, total, **node.params)


def _linear_transpose(node: Node, cotangent: Node, linear: Sequence[bool]) -> list[Node | None]:
    axis, reverse = node.params["axis"], not node.params.get("reverse", False)
    following = shifted(node.inputs[0], axis, 0, reverse)
    return [None, P.cumlinear(following, cotangent, axis=axis, reverse=reverse)]


def _prod_jvp(node: Node, tangents: Sequence[Node | None]) -> Node | None:
    """y' [t] = x[t] y'[t - 1] + y[t - 1] x'[t], which holds for zeros too."""
    if tangents[0] is None:
        return None
    return P.cumlinear(node.inputs[0], tangents[0] * _previous(node, node, 1), **_direction(node))


def _extreme_jvp(node: Node, tangents: Sequence[Node | None]) -> Node | None:
    """The tangent of the last element that attained the extreme."""
    tangent = tangents[0]
    if tangent is None:
        return None
    attained = P.eq(node.inputs[0], node)
    zero, one = full(0, node.aval), full(1, node.aval)
    return P.cumlinear(P.select(attained, zero, one), P.select(attained, tangent, zero), **_direction(node))


def _logsumexp_jvp(node: Node, tangents: Sequence[Node | None]) -> Node | None:
    """y'[t] = exp(y[t - 1] - y[t]) y'[t - 1] + exp(x[t] - y[t]) x'[t]; while y is -inf both weights are 0."""
    if tangents[0] is None:
        return None
    minus_infinity = -float("inf")
    size = P.real(node) if node.dtype.is_complex else node
    safe = P.select(P.eq(size, minus_infinity), full(0, node.aval), node)
    kept, added = P.exp(_previous(node, node, minus_infinity) - safe), P.exp(node.inputs[0] - safe)
    return P.cumlinear(kept, added * tangents[0], **_direction(node))


def _sample(count: int = 1, low: float = -3.0, high: float = 3.0) -> Callable[..., Iterator[Any]]:
    def sample(random: Any, dtype: DType, size: int) -> Iterator[tuple[list[Any], dict[str, Any]]]:
        cases: list[tuple[tuple[int, ...], int, bool]] = [
            ((size,), 0, False), ((size,), 0, True), ((size, 3), 0, False), ((2, size), 1, True),
            ((2, size, 3), 1, True), ((3, 2, size), 1, False), ((2, 3, size), 0, False), ((0, size), 1, False),
        ]  # fmt: skip
        for shape, axis, reverse in cases:
            yield [draw(random, dtype, shape, low, high) for _ in range(count)], {"axis": axis, "reverse": reverse}

    return sample


def _cumulative(
    name: str,
    dtypes: Sequence[DType],
    lower: Any,
    jvp: Any,
    flops: float = 1,
    transpose: Any = NOT_LINEAR,
    **domain: Any,
) -> Primitive:
    options: dict[str, Any] = {"sample": _sample(), "tolerance": 64.0, **domain}
    return Primitive(
        name, kind="kernel", aval=_rule(name, dtypes), lower=lower, jvp=jvp, transpose=transpose, batch=axis_batch,
        shard=axis_shard, cost=element_cost(flops), domain=Domain(tuple(dtypes), **options),
        oracle=f"oracle.scan.{name}",
    )  # fmt: skip


cumsum = _cumulative(
    "cumsum",
    REALS + COMPLEXES,
    _scan("add", lambda dtype: 0),
    _sum_jvp,
    transpose=_sum_transpose,
)
cumprod = _cumulative(
    "cumprod", REALS + COMPLEXES, _scan("mul", lambda dtype: 1), _prod_jvp,
    sample=_sample(low=-1.5, high=1.5),
)  # fmt: skip
cummax = _cumulative("cummax", REALS, _scan("max", lowest), _extreme_jvp)
cummin = _cumulative("cummin", REALS, _scan("min", highest), _extreme_jvp)
cumlogsumexp = _cumulative(
    "cumlogsumexp", FLOATS + COMPLEXES, _associative(lambda dtype: -float("inf"), _logaddexp), _logsumexp_jvp,
    flops=30,
)  # fmt: skip
# y[t] = a[t] y[t - 1] + b[t], y[0] = b[0]
cumlinear = _cumulative(
    "cumlinear", FLOATS + COMPLEXES, _serial(lambda dtype: 0, _linear_step), _linear_jvp, flops=2,
    transpose=_linear_transpose, sample=_sample(2, -1.2, 1.2),
)  # fmt: skip
