"""Shared by cumulative, sort and window primitives: loops over lines and rows, carried values, shifted operands."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from plait.core.aval import Aval, Size
from plait.core.dtype import DType
from plait.core.errors import ShapeError, message
from plait.core.graph import Node
from plait.core.primitive import P
from plait.ir.build import Builder
from plait.ir.complex import Complex
from plait.ir.loop import Expr, Index, Value, binary, const, select
from plait.prims.rules import AxisMap, bounds, byte_count, element_count

Site = Any
BLOCK = 256  # elements of a row that one parallel task computes
TASK = 16384  # elements worth a thread


def check_axis(name: str, operand: Aval, axis: int) -> None:
    """Raise `ShapeError` unless `axis` counts an axis of `operand` from the first."""
    if not 0 <= axis < operand.ndim:
        expected = f"an axis from 0 to {operand.ndim - 1}" if operand.ndim else "an operand with at least one axis"
        raise ShapeError(
            message(f"{name} has no axis {axis}", f"axis {axis} of {operand}", expected, "pass another axis")
        )


def product(sizes: Sequence[Index]) -> Index:
    """Return the product of sizes."""
    result: Index = 1
    for size in sizes:
        result = size * result
    return result


def smaller(a: Index, b: Index) -> Index:
    """Return the smaller of two sizes."""
    return min(a, b) if isinstance(a, int) and isinstance(b, int) else binary("min", const(a), const(b))


def grain(*sizes: Index) -> int:
    """Return the least number of tasks worth a thread, where one task computes `sizes` elements."""
    work = product(sizes)
    return max(1, TASK // max(1, work)) if isinstance(work, int) else 1


@contextmanager
def rows(site: Site, shape: Sequence[Index], depth: Index = 1) -> Iterator[list[Index]]:
    """Open loops over `shape`: parallel over blocks of rows, vector lanes along a row. Yields the index.

    `depth` is the number of elements that are visited for each index.
    """
    builder: Builder = site.builder
    if not shape:
        with builder.parallel(1):
            yield []
        return
    *lead, length = shape
    blocks = (length + (BLOCK - 1)) // BLOCK
    with builder.parallel(product([*lead, blocks]), grain=grain(smaller(length, BLOCK), depth)) as task:
        head = site.unflatten(task // blocks, lead)
        low = task % blocks * BLOCK
        with builder.vector(low, smaller(low + BLOCK, length)) as column:
            yield [*head, column]


@contextmanager
def lines(site: Site, axis: int) -> Iterator[Callable[[Index], list[Index]]]:
    """Open loops over the lines along `axis` of input 0. Yields the function from a position on a line to an index.

    Lines are in vector lanes, unless `axis` is the last: then a line is contiguous.
    """
    shape = site.shape(0)
    others = [*shape[:axis], *shape[axis + 1 :]]
    if axis < len(shape) - 1:
        with rows(site, others, shape[axis]) as index:
            yield lambda position: [*index[:axis], position, *index[axis:]]
        return
    with site.builder.parallel(product(others), grain=grain(shape[axis])) as task:
        head = site.unflatten(task, others)
        yield lambda position: [*head, position]


def lowest(dtype: DType) -> Value:
    """Return the identity of max."""
    return -float("inf") if dtype.is_floating else bounds(dtype)[0]


def highest(dtype: DType) -> Value:
    """Return the identity of min."""
    return float("inf") if dtype.is_floating else bounds(dtype)[1]


def number(value: Value, dtype: DType) -> Any:
    """Return a constant of the compute type of `dtype`, complex ones included."""
    if dtype.is_complex:
        return Complex(const(value, dtype.real), const(0, dtype.real))
    return const(value, dtype.compute)


def choose(condition: Expr, a: Any, b: Any) -> Any:
    """Return a where the condition holds, else b, for real or complex values."""
    if isinstance(a, Complex):
        return Complex(select(condition, a.re, b.re), select(condition, a.im, b.im))
    return select(condition, a, b)


class Carry:
    """A mutable value of a storage dtype in its compute type: one local, or two for a complex one."""

    def __init__(self, builder: Builder, dtype: DType, value: Any) -> None:
        if dtype.is_complex:
            self._locals = [builder.local(dtype.real, value.re), builder.local(dtype.real, value.im)]
        else:
            self._locals = [builder.local(dtype.compute, value)]

    def get(self) -> Any:
        """Read the current value."""
        return self._locals[0].get() if len(self._locals) == 1 else Complex(*[part.get() for part in self._locals])

    def set(self, value: Any) -> None:
        """Assign a new value."""
        if len(self._locals) == 1:
            self._locals[0].set(value)
            return
        # the new real part must not be seen by the new imaginary part
        real = self._locals[0].builder.local(value.re.dtype, value.re)
        self._locals[1].set(value.im)
        self._locals[0].set(real.get())


# rules


def shifted(x: Node, axis: int, fill: float, reverse: bool = False) -> Node:
    """Return the previous element of each along `axis` (the next one with `reverse`); `fill` comes in at the border."""
    step = tuple(int(a == axis) for a in range(x.ndim))
    back = tuple(-s for s in step)
    low, high = (back, step) if reverse else (step, back)
    return P.pad(x, fill, low=low, high=high, interior=(0,) * x.ndim)


def batch_all(inputs: Sequence[Node], batched: Sequence[bool], size: Size) -> list[Node]:
    """Return `inputs`, those without a batch axis repeated along a new axis 0."""
    return [
        x if b else P.broadcast(x, shape=(size, *x.shape), axes=tuple(range(1, x.ndim + 1)))
        for x, b in zip(inputs, batched, strict=True)
    ]


def axis_batch(node: Node, inputs: Sequence[Node], batched: Sequence[bool], size: Size) -> Node:
    """The batching rule of functions along the parameter `axis` of operands of one shape."""
    return node.prim(*batch_all(inputs, batched, size), **{**node.params, "axis": node.params["axis"] + 1})


def axis_shard(node: Node) -> AxisMap:
    """The axis map of functions along the parameter `axis` that keep the shape: any other axis may be sharded."""
    labels = tuple(None if a == node.params["axis"] else a for a in range(node.inputs[0].ndim))
    return (labels,) * len(node.inputs), labels


def element_cost(flops: float) -> Callable[[Node], tuple[float, int]]:
    """Make the cost rule of a function that spends `flops` on each element of its first operand."""

    def cost(node: Node) -> tuple[float, int]:
        results = node.aval if isinstance(node.aval, tuple) else (node.aval,)
        return flops * element_count(node.inputs[0].aval), byte_count([*results, *[i.aval for i in node.inputs]])

    return cost
