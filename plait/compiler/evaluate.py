"""Element evaluation: the loop-IR expression of any node at any index, reading through everything that is fused."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from plait.core.aval import Aval, Dim, Size
from plait.core.dtype import DType
from plait.core.errors import InternalError
from plait.core.graph import CONSTANT, Node
from plait.ir.build import Builder
from plait.ir.complex import Complex
from plait.ir.loop import Buffer, Expr, Index, const

Element = Any  # Expr, or Complex for complex dtypes


def flatten_index(index: Sequence[Index], shape: Sequence[Index]) -> Index:
    """Row-major offset of `index` in an array of `shape`; axes of size 1 do not move it."""
    offset: Index = 0
    stride: Index = 1
    for i, n in zip(reversed(index), reversed(shape), strict=True):
        if not (isinstance(n, int) and n == 1):
            offset = _plus(_times(i, stride), offset)
            stride = _times(n, stride)
    return offset


def unflatten_index(offset: Index, shape: Sequence[Index]) -> list[Index]:
    """Inverse of `flatten_index`."""
    result: list[Index] = []
    for position, n in reversed(list(enumerate(shape))):
        if isinstance(n, int) and n == 1:
            result.append(0)
        elif all(isinstance(m, int) and m == 1 for m in shape[:position]):
            result.append(offset)
            offset = 0
        else:
            offset = const(offset)
            result.append(offset % n)
            offset = offset // n
    return result[::-1]


def _times(a: Index, b: Index) -> Index:
    return a * b if isinstance(a, int) and isinstance(b, int) else const(a) * b


def _plus(a: Index, b: Index) -> Index:
    return a + b if isinstance(a, int) and isinstance(b, int) else const(a) + b


def number(builder: Builder, value: Any) -> Any:
    """Replace symbolic sizes inside a parameter by the run-time arguments that hold them."""
    if isinstance(value, Dim):
        return builder.scalar(value.name)
    if isinstance(value, tuple):
        return tuple(number(builder, v) for v in value)
    return value


class Evaluator:
    """Evaluates nodes inside one kernel.

    `buffers` maps the nodes that live in memory to their buffers; `bound` maps nodes whose value at the current
    position is known (a finished reduction, the element just written by the anchor) to it.
    """

    def __init__(self, builder: Builder, buffers: dict[Node, Buffer]) -> None:
        self.builder, self.buffers = builder, buffers
        self.bound: dict[Node, Element] = {}
        self.memo: dict[Any, Element] = {}
        self.shapes: dict[Aval, list[Index]] = {}

    def shape(self, node: Node) -> list[Index]:
        """Sizes of a node as integers or run-time values."""
        found = self.shapes.get(node.aval)
        if found is None:
            found = self.shapes[node.aval] = [number(self.builder, n) for n in node.shape]
        return found

    def bind(self, node: Node, value: Element) -> None:
        """Fix the value of `node` at the current position, and forget what was computed before."""
        self.bound[node] = value
        self.memo.clear()

    def forget(self) -> None:
        """Forget all that was computed: other loops begin."""
        self.bound.clear()
        self.memo.clear()

    def read(self, node: Node, index: Sequence[Index], guard: Expr | None = None) -> Element:
        """Return the element of `node` at `index`; where `guard` is false its value does not matter."""
        value = self.bound.get(node)
        if value is not None:
            return value
        if node.prim is CONSTANT:
            return self.constant(node)
        key = (node, tuple(index), guard)
        value = self.memo.get(key)
        if value is None:
            value = self.memo[key] = self.compute(node, index, guard)
        return value

    def compute(self, node: Node, index: Sequence[Index], guard: Expr | None) -> Element:
        buffer = self.buffers.get(node)
        if buffer is not None:
            return self.load(buffer, node.dtype, flatten_index(index, self.shape(node)), guard)
        if node.prim.name == "reshape" and node.inputs[0] in self.buffers:  # memory has no shape
            return self.load(self.buffers[node.inputs[0]], node.dtype, flatten_index(index, self.shape(node)), guard)
        kind = node.prim.kind
        if kind == "elementwise":
            values = [self.read(i, self.broadcast(i, index), guard) for i in node.inputs]
            return node.prim.lower(*values, **node.params)
        if kind == "view":
            return node.prim.lower(ViewSite(self, node, guard), list(index))
        raise InternalError(f"{node!r} is read before its kernel has run")

    def broadcast(self, node: Node, index: Sequence[Index]) -> list[Index]:
        offset = len(index) - node.ndim
        return [0 if n == 1 else index[offset + i] for i, n in enumerate(node.shape)]

    def load(self, buffer: Buffer, dtype: DType, offset: Index, guard: Expr | None) -> Element:
        """Read one element of a buffer (two consecutive reals for a complex one)."""
        if dtype.is_complex:
            first = _times(offset, 2)
            return Complex(self.builder.load(buffer, first, guard), self.builder.load(buffer, _plus(first, 1), guard))
        return self.builder.load(buffer, offset, guard)

    def store(self, buffer: Buffer, dtype: DType, offset: Index, value: Element, guard: Expr | None = None) -> None:
        """Write one element of a buffer."""
        if dtype.is_complex:
            first = _times(offset, 2)
            self.builder.store(buffer, first, value.re, guard)
            self.builder.store(buffer, _plus(first, 1), value.im, guard)
        else:
            self.builder.store(buffer, offset, value, guard)

    def constant(self, node: Node) -> Element:
        """The constant as an expression of the compute dtype."""
        dtype, value = node.dtype, node.value
        if dtype.is_complex:
            value = complex(value)
            return Complex(const(value.real, dtype.real), const(value.imag, dtype.real))
        return const(value, dtype.compute)


class Site:
    """What a lowering sees of its node: shapes, parameters and element reads."""

    def __init__(self, evaluator: Evaluator, node: Node) -> None:
        self.evaluator, self.node, self.builder = evaluator, node, evaluator.builder
        self.params = {k: number(self.builder, v) for k, v in node.params.items()}
        self.ins: tuple[Aval, ...] = tuple(i.aval for i in node.inputs)
        self.out: Any = node.aval

    def shape(self, i: int) -> list[Index]:
        """Sizes of input `i`."""
        return self.evaluator.shape(self.node.inputs[i])

    @property
    def out_shape(self) -> list[Index]:
        """Sizes of the result."""
        return [number(self.builder, n) for n in self.out.shape]

    def dtype(self, i: int) -> DType:
        """Dtype of input `i`."""
        return self.ins[i].dtype

    def read(self, i: int, index: Sequence[Index], guard: Expr | None = None) -> Element:
        """Element of input `i`; where `guard` is false nothing is read and the value is 0 or unused."""
        return self.evaluator.read(self.node.inputs[i], tuple(index), guard)

    flat = staticmethod(flatten_index)
    unflatten = staticmethod(unflatten_index)


class ViewSite(Site):
    """The site of a view node, whose reads inherit the guard of the read that caused them."""

    def __init__(self, evaluator: Evaluator, node: Node, guard: Expr | None) -> None:
        super().__init__(evaluator, node)
        self.guard = guard

    def read(self, i: int, index: Sequence[Index], guard: Expr | None = None) -> Element:
        """Element of input `i` where both guards hold."""
        both = guard if self.guard is None else self.guard if guard is None else self.guard & guard
        return super().read(i, index, both)


class KernelSite(Site):
    """The site of a node that writes its own loops."""

    def __init__(
        self, evaluator: Evaluator, node: Node, results: list[Buffer | None], target: Any,
        follow: Callable[[Element, Sequence[Index], Expr | None], None] | None, invariant: bool = False,
    ) -> None:  # fmt: skip
        super().__init__(evaluator, node)
        self.results, self.target, self.follow, self.invariant = results, target, follow, invariant

    def result_aval(self, k: int) -> Aval:
        """Aval of result `k`."""
        result: Aval = self.out[k] if isinstance(self.out, tuple) else self.out
        return result

    def write(self, index: Sequence[Index], value: Element, output: int = 0, guard: Expr | None = None) -> None:
        """Store one element of result `output`; what is fused behind this node is computed here."""
        if self.follow is not None:
            self.follow(value, index, guard)
            return
        self.write_buffer(index, value, output, guard)

    def write_buffer(self, index: Sequence[Index], value: Element, output: int, guard: Expr | None) -> None:
        """Store one element into the buffer of result `output`."""
        buffer = self.results[output]
        result = self.result_aval(output)
        sizes = [number(self.builder, n) for n in result.shape]
        if buffer is not None:
            self.evaluator.store(buffer, result.dtype, flatten_index(index, sizes), value, guard)

    def raw_outputs(self) -> None:
        """Declare that results are updated in place through `output`."""

    def output(self, k: int = 0) -> Buffer:
        """The buffer of result `k`, in row-major order."""
        buffer = self.results[k]
        if buffer is None:
            raise InternalError(f"{self.node!r}: result {k} has no buffer")
        return buffer


def sizes_product(builder: Builder, shape: Sequence[Size]) -> Index:
    """Number of elements of `shape` as an integer or a run-time value."""
    total: Index = 1
    for n in shape:
        total = _times(total, number(builder, n))
    return total
