"""Functions of elements that iterate until they are done: in vector lanes, until those of a vector are."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from plait.core.aval import Aval, Size
from plait.core.dtype import INTEGERS, DType
from plait.core.errors import ShapeError, message
from plait.core.graph import Node
from plait.core.primitive import Domain, Primitive
from plait.ir.build import Builder
from plait.ir.loop import Expr, binary, unary
from plait.prims.lines import Site, grain, product
from plait.prims.rules import (
    ELEMENTWISE_SHARD,
    NOT_LINEAR,
    PIECEWISE_CONSTANT,
    bounds,
    broadcast_to,
    check_dtype,
    check_same_dtype,
    draw,
    elementwise_cost,
)


def _rule(name: str, dtypes: Sequence[DType]) -> Callable[..., Aval]:
    def rule(x: Aval, *rest: Aval, **params: Any) -> Aval:
        check_dtype(name, check_same_dtype(name, x, *rest), dtypes)
        if any(other.shape != x.shape for other in rest):
            raise ShapeError(message(f"{name} takes operands of one shape", f"{x} and {rest[0]}", "equal shapes"))
        return x

    return rule


def _each(body: Callable[..., Expr], flops: int) -> Callable[[Site], None]:
    """Make the lowering that computes `body(builder, *elements, **params)` for each element, in vector lanes."""

    def lower(site: Site) -> None:
        shape = site.out_shape
        with site.builder.parallel(product(shape), "vector", grain(flops)) as position:
            index = site.unflatten(position, shape)
            values = [site.read(k, index) for k in range(len(site.ins))]
            site.write(index, body(site.builder, *values, **site.params))

    return lower


def _batch(node: Node, inputs: Sequence[Node], batched: Sequence[bool], size: Size) -> Node:
    shape = (size, *node.shape)
    return node.prim(*[broadcast_to(new, shape) for new in inputs], **node.params)


def iterative(
    name: str,
    dtypes: Sequence[DType],
    body: Callable[..., Expr],
    *,
    jvp: Any,
    sample: Callable[..., Any],
    flops: int,
    oracle: str,
    **domain: Any,
) -> Primitive:
    """Define a function of the elements of operands of one shape; `flops` is its usual work."""
    return Primitive(
        name, kind="kernel", aval=_rule(name, dtypes), lower=_each(body, flops), jvp=jvp, transpose=NOT_LINEAR,
        batch=_batch, shard=ELEMENTWISE_SHARD, cost=elementwise_cost(flops),
        domain=Domain(tuple(dtypes), sample=sample, **domain), oracle=oracle,
    )  # fmt: skip


def _gcd(builder: Builder, x: Expr, y: Expr) -> Expr:
    """Euclid's algorithm; the result is not negative, but for the lowest number of the dtype."""
    a, b = builder.local(x.dtype, x), builder.local(x.dtype, y)
    with builder.repeat_while(b.get().ne(0)):
        rest = builder.local(x.dtype, binary("rem", a.get(), b.get()))
        a.set(b.get())
        b.set(rest.get())
    return unary("abs", a.get()) if x.dtype.kind == "i" else a.get()


def _integer_samples(random: Any, dtype: DType, size: int) -> Iterator[tuple[list[Any], dict[str, Any]]]:
    low, high = bounds(dtype)
    for shape in ((size,), (), (3, size)):
        yield [draw(random, dtype, shape, -30, 30) for _ in range(2)], {}
        yield [draw(random, dtype, shape, low // 2, high) for _ in range(2)], {}


gcd = iterative(
    "gcd", INTEGERS, _gcd, jvp=PIECEWISE_CONSTANT, sample=_integer_samples, flops=200, oracle="numpy.gcd", smooth=False
)
