"""Reductions over sliding windows (pooling), and the positions of extremes in them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from math import prod
from typing import Any

from plait.core.aval import Aval, Size, aval
from plait.core.dtype import COMPLEXES, FLOATS, INTEGERS, DType, int64
from plait.core.errors import ShapeError, message
from plait.core.graph import Node
from plait.core.primitive import Domain, P, Primitive
from plait.ir.build import Builder, both
from plait.ir.loop import Expr, Index, binary, const
from plait.prims.lines import Carry, Site, batch_all, choose, highest, lowest, number, rows
from plait.prims.rules import NOT_LINEAR, PIECEWISE_CONSTANT, AxisMap, byte_count, check_dtype, draw, element_count

REALS = INTEGERS + FLOATS
NUMBERS = REALS + COMPLEXES
Pairs = tuple[tuple[int, int], ...]
WINDOW = ("window", "strides", "padding", "window_dilation")


def _geometry(params: dict[str, Any]) -> list[tuple[int, int, tuple[int, int], int]]:
    """Return (window, stride, padding, dilation) of each axis."""
    return list(zip(*[params[name] for name in WINDOW], strict=True))


def _is_free(window: int, stride: int, padding: tuple[int, int], dilation: int) -> bool:
    return window == 1 and stride == 1 and padding == (0, 0)


def window_shape(name: str, x: Aval, **params: Any) -> tuple[Size, ...]:
    """Return the number of windows on each axis of `x`; raises `ShapeError` where not one fits."""
    if any(len(params[key]) != x.ndim for key in WINDOW):
        received = ", ".join(f"{key}={params[key]}" for key in WINDOW)
        raise ShapeError(message(f"{name} takes one number for each axis", f"{received} for {x}", f"{x.ndim} of each"))
    result = []
    for size, geometry in zip(x.shape, _geometry(params), strict=True):
        if _is_free(*geometry):
            result.append(size)
            continue
        window, stride, (low, high), dilation = geometry
        if min(window, stride, dilation) < 1 or min(low, high) < 0:
            expected = "window, stride and dilation of at least 1 and no negative padding"
            raise ShapeError(message(f"{name}: invalid window", geometry, expected))
        if not isinstance(size, int):
            raise ShapeError(message(f"{name}: a window over a symbolic axis", x, "an integer size"))
        left = size + low + high - (window - 1) * dilation - 1
        if left < 0:
            fix = "use a smaller window, less dilation or more padding"
            raise ShapeError(
                message(f"{name}: the window is larger than the padded axis", f"{geometry} on {x}", None, fix)
            )
        result.append(left // stride + 1)
    return tuple(result)


# loops


@contextmanager
def _offsets(builder: Builder, window: Sequence[int]) -> Iterator[list[Index]]:
    """Open loops over the places of a window; axes of window 1 have no loop."""
    extents = [w for w in window if w > 1]
    with builder.loops(extents) as variables:
        remaining = iter(variables)
        yield [next(remaining) if w > 1 else 0 for w in window]


def _operand_index(site: Site, index: Sequence[Index], offsets: Sequence[Index]) -> tuple[list[Index], Expr | None]:
    """Return where a place of the window at `index` lies in the operand, and whether that is inside (None: always)."""
    result: list[Index] = []
    inside: Expr | None = None
    for i, k, size, (_, stride, (low, high), dilation) in zip(
        index, offsets, site.shape(0), _geometry(site.params), strict=True
    ):
        place = i * stride + k * dilation - low
        result.append(place)
        if low:
            inside = both(inside, const(place) >= 0)
        if high:
            inside = both(inside, const(place) < size)
    return result, inside


def _reduce_lower(start: Callable[[DType], Any], combine: Callable[..., Any]) -> Callable[[Site], None]:
    def lower(site: Site) -> None:
        dtype = site.dtype(0)
        identity = number(start(dtype), dtype)
        with rows(site, site.out_shape, prod(site.params["window"])) as index:
            carry = Carry(site.builder, dtype, identity)
            with _offsets(site.builder, site.params["window"]) as offsets:
                place, inside = _operand_index(site, index, offsets)
                value = site.read(0, place, inside)
                carry.set(combine(carry.get(), value if inside is None else choose(inside, value, identity)))
            site.write(index, carry.get())

    return lower


def _position_lower(before: Callable[[Expr, Expr], Expr]) -> Callable[[Site], None]:
    """Make the lowering of the flat position in each window of the first extreme; -1 where all is padding."""

    def lower(site: Site) -> None:
        builder, dtype, window = site.builder, site.dtype(0), site.params["window"]
        with rows(site, site.out_shape, prod(window)) as index:
            best = Carry(builder, dtype, number(0, dtype))
            position = builder.local(int64, -1)
            with _offsets(builder, window) as offsets:
                place, inside = _operand_index(site, index, offsets)
                value, known = site.read(0, place, inside), best.get()
                better = (position.get() < 0) | before(value, known)
                if dtype.is_floating:
                    better = better | (value.ne(value) & known.eq(known))
                taken = builder.local(better.dtype, better if inside is None else better & inside).get()
                best.set(choose(taken, value, known))
                position.set(choose(taken, const(site.flat(offsets, window)), position.get()))
            site.write(index, position.get())

    return lower


def _take_lower(site: Site, index: list[Index]) -> Any:
    position = site.read(1, index)
    place, inside = _operand_index(site, index, site.unflatten(position, site.params["window"]))
    valid = (position >= 0) if inside is None else (position >= 0) & inside
    return choose(valid, site.read(0, place, valid), number(0, site.dtype(0)))


def _put_lower(site: Site) -> None:
    """Each element sums over the windows that took it, so that no two tasks write one place."""
    dtype, geometry = site.dtype(0), _geometry(site.params)
    zero = number(0, dtype)
    candidates = [_candidates(*g) for g in geometry]
    with rows(site, site.out_shape, prod(candidates)) as index:
        carry = Carry(site.builder, dtype, zero)
        with _offsets(site.builder, candidates) as choice:
            place, offsets, inside = _windows_with(site, index, choice)
            matches = site.read(1, place, inside).eq(site.flat(offsets, site.params["window"]))
            taken = matches if inside is None else matches & inside
            carry.set(carry.get() + choose(taken, site.read(0, place, taken), zero))
        site.write(index, carry.get())


def _candidates(window: int, stride: int, padding: tuple[int, int], dilation: int) -> int:
    """Return how many windows may have an element; with dilation, at how many places a window may have it."""
    return window if dilation > 1 else -(-window // stride)


def _windows_with(
    site: Site, index: Sequence[Index], choice: Sequence[Index]
) -> tuple[list[Index], list[Index], Expr | None]:
    """Return a window that may have element `index`, at which place of it, and whether there is one."""
    place: list[Index] = []
    offsets: list[Index] = []
    inside: Expr | None = None
    for i, c, count, geometry in zip(index, choice, site.shape(0), _geometry(site.params), strict=True):
        window, stride, (low, _), dilation = geometry
        if _is_free(*geometry):
            place.append(i)
            offsets.append(0)
            continue
        if dilation > 1:
            start, offset = const(i + low - c * dilation), c
            inside = both(both(inside, start >= 0), (start % stride).eq(0))
            number_of = start // stride
        elif stride == 1:
            number_of, offset = const(i + low - c), c
            inside = both(inside, number_of >= 0)
        else:
            number_of = const((i + low) // stride - c)
            offset = (i + low) % stride + c * stride
            inside = both(inside, number_of >= 0)
            inside = both(inside, const(offset) < window) if window % stride else inside
        place.append(number_of)
        offsets.append(offset)
        inside = both(inside, number_of < count)
    return place, offsets, inside


# rules


def _reduce_rule(name: str, dtypes: Sequence[DType], result: DType | None = None) -> Callable[..., Aval]:
    def rule(x: Aval, **params: Any) -> Aval:
        check_dtype(name, x.dtype, dtypes)
        shape = window_shape(name, x, **params)
        return x.with_shape(shape).with_dtype(result or x.dtype)

    return rule


def _take_rule(x: Aval, position: Aval, **params: Any) -> Aval:
    return _match("window_take", x.with_shape(window_shape("window_take", x, **params)), position)


def _put_rule(y: Aval, position: Aval, *, shape: tuple[Size, ...], **params: Any) -> Aval:
    result = y.with_shape(shape)
    _match("window_put", y.with_shape(window_shape("window_put", result, **params)), position)
    return result


def _match(name: str, windows: Aval, position: Aval) -> Aval:
    if position.shape != windows.shape or position.dtype is not int64:
        raise ShapeError(message(f"{name}: one position for each window", position, windows.with_dtype(int64)))
    return windows


def _batched(params: dict[str, Any], size: Size) -> dict[str, Any]:
    first: dict[str, Any] = {"window": 1, "strides": 1, "padding": (0, 0), "window_dilation": 1, "shape": size}
    return {key: (first[key], *value) for key, value in params.items()}


def _batch(node: Node, inputs: Sequence[Node], batched: Sequence[bool], size: Size) -> Node:
    return node.prim(*batch_all(inputs, batched, size), **_batched(node.params, size))


def _shard(node: Node) -> AxisMap:
    labels = tuple(a if _is_free(*g) else None for a, g in enumerate(_geometry(node.params)))
    return (labels,) * len(node.inputs), labels


def _cost(node: Node) -> tuple[float, int]:
    largest = max(element_count(a) for a in (node.aval, node.inputs[0].aval))
    return prod(node.params["window"]) * largest, byte_count([node.aval, *[i.aval for i in node.inputs]])


def _sum_jvp(node: Node, tangents: Sequence[Node | None]) -> Node | None:
    return None if tangents[0] is None else P.reduce_window_sum(tangents[0], **node.params)


def _sum_transpose(node: Node, cotangent: Node, linear: Sequence[bool]) -> list[Node | None]:
    """Put the cotangents `stride` apart and sum the windows that end at each element."""
    lows, highs, interiors = [], [], []
    for size, count, geometry in zip(node.inputs[0].shape, node.shape, _geometry(node.params), strict=True):
        window, stride, (low, _), dilation = geometry
        before, after = (window - 1) * dilation - low, 0
        if isinstance(size, int) and isinstance(count, int):
            spread = max(0, (count - 1) * stride + 1)
            after = size + (window - 1) * dilation - before - spread
        lows.append(before)
        highs.append(after)
        interiors.append(stride - 1)
    padded = P.pad(cotangent, 0, low=tuple(lows), high=tuple(highs), interior=tuple(interiors))
    ndim = padded.ndim
    unit = {"strides": (1,) * ndim, "padding": ((0, 0),) * ndim}
    kept = {key: node.params[key] for key in ("window", "window_dilation")}
    return [P.reduce_window_sum(padded, **kept, **unit)]


def _patches(x: Node, fill: float, node: Node) -> Node:
    """Return the elements of every window: axes of the windows, then an axis for each window larger than 1."""
    params, ndim = node.params, x.ndim
    low, high = zip(*params["padding"], strict=True) if ndim else ((), ())
    padded = P.pad(x, fill, low=low, high=high, interior=(0,) * ndim)
    shape = (*node.shape, *[w for w in params["window"] if w > 1])
    indices, within = [], ndim
    for axis, (window, stride, _, dilation) in enumerate(_geometry(params)):
        place = P.iota(dtype=int64, shape=shape, axis=axis) * stride
        if window > 1:
            place = place + P.iota(dtype=int64, shape=shape, axis=within) * dilation
            within += 1
        indices.append(place)
    return P.gather(padded, *indices, axes=tuple(range(ndim)), mode="clip") if ndim else padded


def _prod_jvp(node: Node, tangents: Sequence[Node | None]) -> Node | None:
    if tangents[0] is None:
        return None
    x, tangent = _patches(node.inputs[0], 1, node), _patches(tangents[0], 0, node)
    whole = P.reduce_prod(x, axes=tuple(range(node.ndim, x.ndim)))
    result: Node | None = whole.prim.jvp(whole, [tangent])
    return result


def _extreme_jvp(position: str) -> Callable[..., Node | None]:
    def jvp(node: Node, tangents: Sequence[Node | None]) -> Node | None:
        """The tangent of the first element that attains the extreme."""
        if tangents[0] is None:
            return None
        found = getattr(P, position)(node.inputs[0], **node.params)
        return P.window_take(tangents[0], found, **node.params)

    return jvp


def _take_jvp(node: Node, tangents: Sequence[Node | None]) -> Node | None:
    return None if tangents[0] is None else node.prim(tangents[0], node.inputs[1], **node.params)


def _take_transpose(node: Node, cotangent: Node, linear: Sequence[bool]) -> list[Node | None]:
    return [P.window_put(cotangent, node.inputs[1], shape=node.inputs[0].shape, **node.params), None]


def _put_transpose(node: Node, cotangent: Node, linear: Sequence[bool]) -> list[Node | None]:
    return [P.window_take(cotangent, node.inputs[1], **{key: node.params[key] for key in WINDOW}), None]


# samples


def _cases(size: int) -> Iterator[tuple[tuple[int, ...], dict[str, Any]]]:
    n = max(size, 1)
    table: list[tuple[Any, ...]] = [
        ((n + 1,), (2,), (1,), ((0, 0),), (1,)),
        ((n,), (3,), (2,), ((1, 1),), (1,)),
        ((n + 4,), (2,), (3,), ((0, 2),), (4,)),
        ((2, n, 5), (1, 2, 3), (1, 1, 2), ((0, 0), (1, 0), (1, 1)), (1, 1, 1)),
        ((size, 7, 3), (1, 3, 1), (1, 2, 1), ((0, 0), (2, 1), (0, 0)), (1, 2, 1)),
        ((), (), (), (), ()),
    ]
    for shape, *values in table:
        yield shape, dict(zip(WINDOW, values, strict=True))


def _sample(low: float, high: float) -> Callable[..., Iterator[Any]]:
    def sample(random: Any, dtype: DType, size: int) -> Iterator[tuple[list[Any], dict[str, Any]]]:
        for shape, params in _cases(size):
            yield [draw(random, dtype, shape, low, high)], params

    return sample


def _position_sample(is_put: bool) -> Callable[..., Iterator[Any]]:
    def sample(random: Any, dtype: DType, size: int) -> Iterator[tuple[list[Any], dict[str, Any]]]:
        for shape, params in _cases(size):
            windows = window_shape("sample", aval(dtype, shape), **params)
            positions = random.integers(-1, prod(params["window"]), windows)
            operand = draw(random, dtype, windows if is_put else shape)  # type: ignore[arg-type]
            yield [operand, positions], {**params, "shape": shape} if is_put else params

    return sample


# primitives


def _reduction(
    name: str, dtypes: Sequence[DType], lower: Any, jvp: Any, domain: Domain, transpose: Any = NOT_LINEAR
) -> Primitive:
    return Primitive(
        name, kind="kernel", aval=_reduce_rule(name, dtypes), lower=lower, jvp=jvp, transpose=transpose, batch=_batch,
        shard=_shard, cost=_cost, domain=domain, oracle=f"oracle.window.{name}",
    )  # fmt: skip


def _position(name: str, before: Callable[[Expr, Expr], Expr]) -> Primitive:
    return Primitive(
        name, kind="kernel", aval=_reduce_rule(name, REALS, int64), lower=_position_lower(before),
        jvp=PIECEWISE_CONSTANT, transpose=NOT_LINEAR, batch=_batch, shard=_shard, cost=_cost,
        domain=Domain(REALS, sample=_sample(-5, 5), smooth=False), oracle=f"oracle.window.{name}",
    )  # fmt: skip


reduce_window_sum = _reduction(
    "reduce_window_sum", NUMBERS, _reduce_lower(lambda dtype: 0, lambda y, x: y + x), _sum_jvp,
    Domain(NUMBERS, sample=_sample(-3, 3), tolerance=32.0), _sum_transpose,
)  # fmt: skip
reduce_window_prod = _reduction(
    "reduce_window_prod", NUMBERS, _reduce_lower(lambda dtype: 1, lambda y, x: y * x), _prod_jvp,
    Domain(NUMBERS, sample=_sample(-2, 2), tolerance=32.0),
)  # fmt: skip
reduce_window_max = _reduction(
    "reduce_window_max", REALS, _reduce_lower(lowest, partial(binary, "max")), _extreme_jvp("window_argmax"),
    Domain(REALS, sample=_sample(-50, 50)),
)  # fmt: skip
reduce_window_min = _reduction(
    "reduce_window_min", REALS, _reduce_lower(highest, partial(binary, "min")), _extreme_jvp("window_argmin"),
    Domain(REALS, sample=_sample(-50, 50)),
)  # fmt: skip
window_argmax = _position("window_argmax", lambda x, best: x > best)
window_argmin = _position("window_argmin", lambda x, best: x < best)

# the element at a flat position in each window (0 outside the operand), and its transpose
window_take = Primitive(
    "window_take", kind="view", aval=_take_rule, lower=_take_lower, jvp=_take_jvp, transpose=_take_transpose,
    batch=_batch, shard=_shard, cost=_cost, domain=Domain(NUMBERS, sample=_position_sample(False)),
    oracle="oracle.window.window_take",
)  # fmt: skip
window_put = Primitive(
    "window_put", kind="kernel", aval=_put_rule, lower=_put_lower, jvp=_take_jvp, transpose=_put_transpose,
    batch=_batch, shard=_shard, cost=_cost, domain=Domain(NUMBERS, sample=_position_sample(True)),
    oracle="oracle.window.window_put",
)  # fmt: skip
