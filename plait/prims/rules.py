"""Rules shared by the primitive families: shapes and dtypes, derivatives, transposes, batching, cost, sharding."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from math import ceil, floor, prod
from typing import Any

import numpy as np

from plait.core.aval import Aval, Size, aval
from plait.core.dtype import SIGNED, UNSIGNED, DType, bool_
from plait.core.errors import DTypeError, InternalError, ShapeError, message
from plait.core.graph import Node, constant
from plait.core.primitive import Domain, P, Primitive, Waived
from plait.ir.complex import Complex

SIGNED_OF = {d.bits: d for d in SIGNED}
UNSIGNED_OF = {d.bits: d for d in UNSIGNED}
NOT_LINEAR = Waived("not linear in its operands")
PIECEWISE_CONSTANT = Waived("piecewise constant: its result carries no tangent")


class Mark(Enum):
    """A partial derivative that needs no multiplication."""

    ONE = 1
    MINUS_ONE = -1


ONE, MINUS_ONE = Mark.ONE, Mark.MINUS_ONE


@dataclass(frozen=True, slots=True)
class Over:
    """The partial derivative 1 / `denominator`: the tangent is divided once, not multiplied by a quotient."""

    denominator: Node


# shapes and dtypes


def broadcast_shapes(*shapes: tuple[Size, ...], name: str = "the operation") -> tuple[Size, ...]:
    """Return the common shape of operands under NumPy broadcasting.

    Raises `ShapeError` where two sizes differ and neither is 1.
    """
    ndim = max(map(len, shapes), default=0)
    result: list[Size] = [1] * ndim
    for shape in shapes:
        for axis, size in enumerate(shape, ndim - len(shape)):
            if result[axis] == 1:
                result[axis] = size
            elif size != 1 and size != result[axis]:
                received = " and ".join(_shape_text(s) for s in shapes)
                expected = "on each axis, counted from the last, equal sizes or 1"
                fix = "reshape or transpose an operand, e.g. x[:, None] adds an axis of size 1"
                raise ShapeError(message(f"Shapes do not broadcast in {name}", received, expected, fix))
    return tuple(result)


def _shape_text(shape: tuple[Size, ...]) -> str:
    return f"({', '.join(map(str, shape))}{',' if len(shape) == 1 else ''})"


def check_dtype(name: str, dtype: DType, accepted: Sequence[DType]) -> None:
    """Raise `DTypeError` unless `dtype` is one of `accepted`."""
    if dtype in accepted:
        return
    if dtype.is_storage_only:
        fix = "8-bit floats are storage only: convert with .to(plait.float32)"
    elif dtype is bool_:
        fix = "convert with .to(plait.int64), or use the bitwise or logical functions"
    else:
        fix = f"convert with .to(plait.{accepted[-1].name})"
    expected = "one of " + ", ".join(d.name for d in accepted)
    raise DTypeError(message(f"{name} does not take {dtype.name}", dtype.name, expected, fix))


def check_same_dtype(name: str, *avals: Aval) -> DType:
    """Return the one dtype of `avals`; raises `DTypeError` naming two that differ."""
    dtype = avals[0].dtype
    for other in avals[1:]:
        if other.dtype is not dtype:
            raise DTypeError(
                message(
                    f"{name} takes operands of one dtype",
                    f"{dtype.name} and {other.dtype.name}",
                    "equal dtypes; promotion happens in the tensor layer",
                    "convert an operand with .to(...)",
                )
            )
    return dtype


def broadcast_rule(
    dtypes: Sequence[DType], name: str = "the operation", result: Callable[[DType], DType] | None = None
) -> Callable[..., Aval]:
    """Make the aval rule of operands of one dtype that broadcast; `result` maps their dtype to that of the result."""

    def rule(*avals: Aval, **params: Any) -> Aval:
        dtype = check_same_dtype(name, *avals)
        check_dtype(name, dtype, dtypes)
        shape = avals[0].shape if len(avals) == 1 else broadcast_shapes(*[a.shape for a in avals], name=name)
        return aval(dtype if result is None else result(dtype), shape)

    return rule


unary_rule = binary_rule = broadcast_rule


def compare_rule(dtypes: Sequence[DType], name: str = "the comparison") -> Callable[..., Aval]:
    """Make the aval rule of a comparison: broadcast operands of one dtype, a bool result."""
    return broadcast_rule(dtypes, name, lambda dtype: bool_)


# derivatives


def broadcast_to(node: Node, shape: tuple[Size, ...]) -> Node:
    """Return `node` broadcast to `shape`, axes aligned at the last; `node` itself where nothing changes."""
    if node.shape == shape:
        return node
    return P.broadcast(node, shape=shape, axes=tuple(range(len(shape) - node.ndim, len(shape))))


def unbroadcast(cotangent: Node, target: Aval) -> Node:
    """Return the transpose of `broadcast_to`: sum `cotangent` over the broadcast axes, to the shape of `target`."""
    extra = cotangent.ndim - target.ndim
    stretched = [
        axis
        for axis, size in enumerate(cotangent.shape)
        if axis < extra or (target.shape[axis - extra] == 1 and size != 1)
    ]
    result = P.reduce_sum(cotangent, axes=tuple(stretched)) if stretched else cotangent
    return result if result.shape == target.shape else P.reshape(result, shape=target.shape)


def where(condition: Node, a: Node | float, b: Node | float, dtype: DType) -> Node:
    """Record a select whose scalar branches are constants of `dtype`."""
    branches = [x if isinstance(x, Node) else constant(x, dtype) for x in (a, b)]
    return P.select(condition, *branches)


def _apply(partial: Node | Mark | Over | None, tangent: Node) -> Node | None:
    if partial is None:
        return None
    if isinstance(partial, Mark):
        return tangent if partial is ONE else -tangent
    return tangent / partial.denominator if isinstance(partial, Over) else tangent * partial


def partials(*functions: Any) -> Callable[..., Node | None]:
    """Make a jvp rule from one partial derivative for each input.

    Each is a mark, None (no derivative) or a function `(y, *inputs) -> Node | Over | Mark | None` of the primal
    result and operands. The tangent has the shape of the result, also where an operand is smaller.
    """

    def jvp(node: Node, tangents: Sequence[Node | None]) -> Node | None:
        total: Node | None = None
        for function, tangent in zip(functions, tangents, strict=True):
            if tangent is None or function is None:
                continue
            partial = function if isinstance(function, Mark) else function(node, *node.inputs)
            if partial is MINUS_ONE and total is not None:
                total = total - tangent
                continue
            term = _apply(partial, tangent)
            if term is not None:
                total = term if total is None else total + term
        return None if total is None else broadcast_to(total, node.shape)

    return jvp


def no_tangent(node: Node, tangents: Sequence[Node | None]) -> None:
    """The jvp rule of a function that is constant almost everywhere: a zero tangent."""


def linear_elementwise(*functions: Any) -> Callable[..., list[Node | None]]:
    """Make a transpose rule from one function for each input.

    Each is a mark, None (never linear) or a function `(cotangent, *inputs) -> Node | Over` whose result, summed
    over the broadcast axes, is the cotangent of that input.
    """

    def transpose(node: Node, cotangent: Node, linear: Sequence[bool]) -> list[Node | None]:
        results: list[Node | None] = []
        for function, is_linear, operand in zip(functions, linear, node.inputs, strict=True):
            if not is_linear:
                results.append(None)
                continue
            if function is None:
                raise InternalError(f"{node!r} is not linear in input {len(results)}")
            if isinstance(function, Mark):
                term = cotangent if function is ONE else -cotangent
            else:
                term = function(cotangent, *node.inputs)
            results.append(unbroadcast(term, operand.aval))
        return results

    return transpose


# batching, sharding, cost


def elementwise_batch(node: Node, inputs: Sequence[Node], batched: Sequence[bool], size: Size) -> Node:
    """The batching rule of broadcasting: the batch axis stays first, size-1 axes fill lower-rank operands."""
    aligned = []
    for new, is_batched in zip(inputs, batched, strict=True):
        missing = node.ndim + 1 - new.ndim
        if is_batched and missing:
            new = P.reshape(new, shape=(new.shape[0], *(1,) * missing, *new.shape[1:]))
        aligned.append(new)
    return node.prim(*aligned, **node.params)


AxisMap = tuple[tuple[tuple[Any, ...], ...], tuple[Any, ...]]


def elementwise_axes(node: Node) -> AxisMap:
    """The axis map of broadcasting: labels for the axes of each input, and for those of the output.

    Axes of one label are sharded alike; an axis labelled None is not sharded.
    """
    output = tuple(range(node.ndim))
    inputs = []
    for operand in node.inputs:
        offset = node.ndim - operand.ndim
        sizes = enumerate(operand.shape, offset)
        inputs.append(tuple(axis if size == node.shape[axis] else None for axis, size in sizes))
    return tuple(inputs), output


ELEMENTWISE_SHARD = elementwise_axes


def element_count(value: Aval) -> int:
    """Number of elements of an aval; symbolic sizes count with their hint."""
    return prod(size if isinstance(size, int) else max(size.hint, 1) for size in value.shape)


def byte_count(values: Iterable[Aval]) -> int:
    """Bytes of avals; symbolic sizes count with their hint."""
    return sum(element_count(value) * value.dtype.itemsize for value in values)


def elementwise_cost(flops_per_element: float) -> Callable[[Node], tuple[float, int]]:
    """Make the cost rule `node -> (flops, bytes moved)` of a function of each element."""

    def cost(node: Node) -> tuple[float, int]:
        bytes_moved = byte_count([node.aval, *[i.aval for i in node.inputs]])
        return flops_per_element * element_count(node.aval), bytes_moved

    return cost


# the elementwise primitives


def either(real: Callable[..., Any], complex: Callable[..., Any]) -> Callable[..., Any]:
    """Make a lowering that calls `complex` on `Complex` values and `real` on expressions."""
    return lambda *values, **params: (complex if isinstance(values[0], Complex) else real)(*values, **params)


def elementwise(
    name: str,
    aval: Callable[..., Aval],
    lower: Callable[..., Any],
    *,
    jvp: Any,
    domain: Domain,
    oracle: str,
    transpose: Any = NOT_LINEAR,
    flops: float = 1,
) -> Primitive:
    """Define an elementwise primitive: batching, sharding and cost follow from broadcasting."""
    return Primitive(
        name, kind="elementwise", aval=aval, lower=lower, jvp=jvp, transpose=transpose, batch=elementwise_batch,
        shard=ELEMENTWISE_SHARD, cost=elementwise_cost(flops), domain=domain, oracle=oracle,
    )  # fmt: skip


# sample operands for the tests


def draw(random: Any, dtype: DType, shape: tuple[int, ...], low: Any = -3.0, high: Any = 3.0) -> Any:
    """Return a NumPy array of `dtype` drawn uniformly between `low` and `high` (clipped to what integers hold)."""
    if dtype.kind == "b":
        return np.asarray(random.random(shape) < 0.5)
    if dtype.is_integer:
        limits = np.iinfo(dtype.numpy)
        first, last = max(ceil(low), int(limits.min)), min(floor(high), int(limits.max))
        return np.asarray(random.integers(first, last, shape, dtype=dtype.numpy, endpoint=True))
    values = random.uniform(low, high, shape)
    if dtype.is_complex:
        values = values + 1j * random.uniform(low, high, shape)
    return np.asarray(values).astype(dtype.numpy)


def bounds(dtype: DType) -> tuple[int, int]:
    """Return the smallest and largest integer of `dtype`."""
    limits = np.iinfo(dtype.numpy)
    return int(limits.min), int(limits.max)


def shapes_for(arity: int, size: int) -> Iterator[tuple[tuple[int, ...], ...]]:
    """Yield operand shapes that broadcast: equal ones, rank-0 ones, and ones with missing and size-1 axes."""
    yield ((size,),) * arity
    yield ((),) * arity
    if arity == 1:
        yield ((3, size),)
    else:
        yield tuple(((2, size, 1), (3,))[k % 2] for k in range(arity))
        yield tuple(((), (size,))[k % 2] for k in range(arity))


def operands(*ranges: tuple[Any, Any]) -> Callable[..., Iterator[tuple[list[Any], dict[str, Any]]]]:
    """Make the `sample` of a `Domain`: one (low, high) range for each operand, all of the sampled dtype."""

    def sample(random: Any, dtype: DType, size: int) -> Iterator[tuple[list[Any], dict[str, Any]]]:
        for shapes in shapes_for(len(ranges), size):
            drawn = [draw(random, dtype, s, low, high) for s, (low, high) in zip(shapes, ranges, strict=True)]
            yield drawn, {}

    return sample


def elementwise_domain(dtypes: Sequence[DType], *ranges: tuple[Any, Any], **options: Any) -> Domain:
    """Return the `Domain` of a broadcasting primitive with one (low, high) range for each operand."""
    low, high = ranges[0]
    return Domain(tuple(dtypes), low, high, sample=operands(*ranges), **options)
