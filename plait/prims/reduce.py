"""Reductions over axes, and the positions of extremes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from plait.core.aval import Aval, Size, aval
from plait.core.dtype import COMPLEXES, FLOATS, INTEGERS, DType, bool_, int32, int64, uint8
from plait.core.errors import ShapeError, message
from plait.core.graph import Node, full
from plait.core.primitive import Domain, P, Primitive
from plait.prims.lines import axis_batch, axis_shard, check_axis, element_cost, highest, shifted
from plait.prims.rules import NOT_LINEAR, PIECEWISE_CONSTANT, AxisMap, check_dtype, draw

REALS = INTEGERS + FLOATS
NUMBERS = REALS + COMPLEXES


def _without(shape: tuple[Size, ...], axes: Sequence[int]) -> tuple[Size, ...]:
    return tuple(size for axis, size in enumerate(shape) if axis not in axes)


def reduce_rule(name: str, dtypes: Sequence[DType], has_identity: bool = True) -> Callable[..., Aval]:
    """Make the aval rule of a reduction over `axes`, sorted and distinct; the result drops them."""

    def rule(x: Aval, *, axes: tuple[int, ...]) -> Aval:
        check_dtype(name, x.dtype, dtypes)
        for axis in axes:
            check_axis(name, x, axis)
        if list(axes) != sorted(set(axes)):
            raise ShapeError(message(f"{name} takes distinct axes in order", axes, tuple(sorted(set(axes)))))
        if not has_identity:
            _check_not_empty(name, x, axes)
        return x.with_shape(_without(x.shape, axes))

    return rule


def _check_not_empty(name: str, x: Aval, axes: Sequence[int]) -> None:
    if any(x.shape[axis] == 0 for axis in axes):
        fix = "check the size first, or append a neutral element"
        raise ShapeError(
            message(f"{name} of no elements is undefined", f"axes {tuple(axes)} of {x}", "sizes of at least 1", fix)
        )


def _spread(y: Node, x: Node, axes: Sequence[int]) -> Node:
    """Broadcast the result of a reduction of `x` back over `axes`."""
    return P.broadcast(y, shape=x.shape, axes=tuple(a for a in range(x.ndim) if a not in axes))


def _batch(node: Node, inputs: Sequence[Node], batched: Sequence[bool], size: Size) -> Node:
    return node.prim(inputs[0], axes=tuple(a + 1 for a in node.params["axes"]))


def _shard(node: Node) -> AxisMap:
    axes = node.params["axes"]
    labels = tuple(None if a in axes else a for a in range(node.inputs[0].ndim))
    return (labels,), tuple(label for label in labels if label is not None)


def _sum_jvp(node: Node, tangents: Sequence[Node | None]) -> Node | None:
    return None if tangents[0] is None else P.reduce_sum(tangents[0], axes=node.params["axes"])


def _sum_transpose(node: Node, cotangent: Node, linear: Sequence[bool]) -> list[Node | None]:
    return [_spread(cotangent, node.inputs[0], node.params["axes"])]


def _prod_jvp(node: Node, tangents: Sequence[Node | None]) -> Node | None:
    """One axis after the other: each tangent is multiplied by the product of all other elements, zeros included."""
    x, tangent = node.inputs[0], tangents[0]
    if tangent is None:
        return None
    for axis in reversed(node.params["axes"]):
        before = shifted(P.cumprod(x, axis=axis, reverse=False), axis, 1)
        after = shifted(P.cumprod(x, axis=axis, reverse=True), axis, 1, reverse=True)
        tangent = P.reduce_sum(tangent * before * after, axes=(axis,))
        x = P.reduce_prod(x, axes=(axis,))
    return tangent


def _extreme_jvp(node: Node, tangents: Sequence[Node | None]) -> Node | None:
    """The mean of the tangents of all elements that attain the extreme."""
    if tangents[0] is None:
        return None
    x, axes = node.inputs[0], node.params["axes"]
    hit = P.convert(P.eq(x, _spread(node, x, axes)), dtype=x.dtype)
    return P.reduce_sum(tangents[0] * hit, axes=axes) / P.reduce_sum(hit, axes=axes)


def _sample(low: float, high: float, smallest: int = 0) -> Callable[..., Iterator[Any]]:
    def sample(random: Any, dtype: DType, size: int) -> Iterator[tuple[list[Any], dict[str, Any]]]:
        size = max(size, smallest)
        cases: list[tuple[tuple[int, ...], tuple[int, ...]]] = [
            ((size,), (0,)), ((size, 3), (0,)), ((3, size), (1,)), ((2, size, 3), (0, 2)), ((2, size, 3), (1,)),
            ((2, 3, size), (0, 1, 2)), ((0, size), (1,)), ((), ()), ((3, size), ()),
        ]  # fmt: skip
        for shape, axes in cases:
            yield [draw(random, dtype, shape, low, high)], {"axes": axes}

    return sample


def _reduction(
    name: str,
    op: str,
    dtypes: Sequence[DType],
    oracle: str,
    jvp: Any,
    sample: Any,
    transpose: Any = NOT_LINEAR,
    **domain: Any,
) -> Primitive:
    return Primitive(
        name, kind="reduce", aval=reduce_rule(name, dtypes, op not in ("max", "min")), lower=op, jvp=jvp,
        transpose=transpose, batch=_batch, shard=_shard, cost=element_cost(1),
        domain=Domain(tuple(dtypes), sample=sample, **domain), oracle=f"oracle.reduce.{oracle}",
    )  # fmt: skip


_wide, _near_one, _apart = _sample(-3.0, 3.0), _sample(-1.5, 1.5), _sample(-50.0, 50.0, 1)
reduce_sum = _reduction("reduce_sum", "add", NUMBERS, "sum_", _sum_jvp, _wide, transpose=_sum_transpose, tolerance=64.0)
reduce_prod = _reduction("reduce_prod", "mul", NUMBERS, "prod", _prod_jvp, _near_one, tolerance=64.0)
reduce_max = _reduction("reduce_max", "max", REALS, "max_", _extreme_jvp, _apart)
reduce_min = _reduction("reduce_min", "min", REALS, "min_", _extreme_jvp, _apart)
reduce_or = _reduction("reduce_or", "or", (bool_,), "any_", PIECEWISE_CONSTANT, _near_one, smooth=False)
reduce_and = _reduction("reduce_and", "and", (bool_,), "all_", PIECEWISE_CONSTANT, _near_one, smooth=False)

# positions of extremes: the first of equal elements; NaN counts as the extreme


def _position_rule(name: str) -> Callable[..., Aval]:
    def rule(x: Aval, *, axis: int, dtype: DType = int64) -> Aval:
        check_dtype(name, x.dtype, (bool_, *REALS))
        check_dtype(f"the index of {name}", dtype, (int32, int64))
        check_axis(name, x, axis)
        _check_not_empty(name, x, (axis,))
        return aval(dtype, _without(x.shape, (axis,)))

    return rule


def _position_lower(extreme: str) -> Callable[[Node], Node]:
    def lower(node: Node) -> Node:
        x, axis, dtype = node.inputs[0], node.params["axis"], node.dtype
        if x.dtype is bool_:
            x = P.convert(x, dtype=uint8)
        hit = P.eq(x, _spread(getattr(P, extreme)(x, axes=(axis,)), x, (axis,)))
        if x.dtype.is_floating:
            # the extreme is NaN where there is one, and then nothing equals it
            hit = P.bitwise_or(hit, P.ne(x, x))
        positions = P.iota(dtype=dtype, shape=x.shape, axis=axis)
        none = full(highest(dtype), positions.aval)  # type: ignore[arg-type]
        return P.reduce_min(P.select(hit, positions, none), axes=(axis,))

    return lower


def _position_shard(node: Node) -> AxisMap:
    labels = tuple(None if a == node.params["axis"] else a for a in range(node.inputs[0].ndim))
    return (labels,), tuple(label for label in labels if label is not None)


def _position_sample(random: Any, dtype: DType, size: int) -> Iterator[tuple[list[Any], dict[str, Any]]]:
    for shape, axis in (((max(size, 1),), 0), ((max(size, 1), 3), 0), ((2, 3, max(size, 1)), 2), ((0, 3), 1)):
        yield [draw(random, dtype, shape, -5, 5)], {"axis": axis, "dtype": int64 if axis else int32}


def _position(name: str, extreme: str) -> Primitive:
    return Primitive(
        name, kind="expand", aval=_position_rule(name), lower=_position_lower(extreme), jvp=PIECEWISE_CONSTANT,
        transpose=NOT_LINEAR, batch=axis_batch, shard=_position_shard, cost=element_cost(3),
        domain=Domain((bool_, *REALS), sample=_position_sample, smooth=False), oracle=f"oracle.reduce.{name}",
    )  # fmt: skip


argmax = _position("argmax", "reduce_max")
argmin = _position("argmin", "reduce_min")

# softmax: a primitive because its derivative needs its result alone


def _softmax_rule(x: Aval, *, axis: int, empty: bool = False) -> Aval:
    check_dtype("softmax", x.dtype, FLOATS)
    check_axis("softmax", x, axis)
    return x


def _softmax_lower(node: Node) -> Node:
    x, axes = node.inputs[0], (node.params["axis"],)
    if not x.aval.size:
        return x
    high, lowest_value = P.reduce_max(x, axes=axes), -float("inf")
    if node.params.get("empty"):
        high = P.select(P.eq(high, lowest_value), full(0, high.aval), high)
    scaled = P.exp(x - _spread(high, x, axes))
    total = P.reduce_sum(scaled, axes=axes)
    if node.params.get("empty"):
        total = P.select(P.eq(total, 0.0), full(1, total.aval), total)
    return scaled / _spread(total, x, axes)


def _softmax_jvp(node: Node, tangents: Sequence[Node | None]) -> Node | None:
    if tangents[0] is None:
        return None
    axes, weighted = (node.params["axis"],), node * tangents[0]
    return weighted - node * _spread(P.reduce_sum(weighted, axes=axes), node, axes)


def _softmax_sample(random: Any, dtype: DType, size: int) -> Iterator[tuple[list[Any], dict[str, Any]]]:
    for shape, axis in (((size,), 0), ((size, 3), 0), ((3, size), 1), ((2, 3, size), 2), ((2, size, 3), 1)):
        yield [draw(random, dtype, shape, -8.0, 8.0)], {"axis": axis, "empty": len(shape) == 2}


softmax = Primitive(
    "softmax", kind="expand", aval=_softmax_rule, lower=_softmax_lower, jvp=_softmax_jvp, transpose=NOT_LINEAR,
    batch=axis_batch, shard=axis_shard, cost=element_cost(20),
    domain=Domain(FLOATS, sample=_softmax_sample, tolerance=64.0), oracle="oracle.reduce.softmax",
)  # fmt: skip
"""exp(x) divided by its sum along `axis`; with `empty`, a line of -inf gives zeros."""
