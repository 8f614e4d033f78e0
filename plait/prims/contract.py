"""Contraction of two operands over any axes: matrix products, batched or not."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from plait.core.aval import Aval, Size, aval
from plait.core.dtype import COMPLEXES, FLOATS, INTEGERS, DType, bfloat16, float32, int8, int32, int64, uint8
from plait.core.errors import ShapeError, message
from plait.core.graph import Node
from plait.core.primitive import Domain, P, Primitive
from plait.ir.dots import Narrow, has_dots, multiply_narrow
from plait.ir.gemm import (
    Gemm,
    Reader,
    choose_tile,
    column_packer,
    is_contiguous,
    is_load,
    multiply,
    panel_packer,
    product,
    row_packer,
    row_writer,
    typical,
)
from plait.ir.loop import Expr, Index, Variable, make
from plait.ir.unpacked import multiply_copied, multiply_direct, multiply_dots, multiply_plainly, multiply_streamed
from plait.prims.rules import AxisMap, byte_count, check_dtype, check_same_dtype, draw, element_count

NUMBERS = INTEGERS + FLOATS + COMPLEXES
_SMALL = 4096  # multiply-adds of one product below which packing costs more than it saves
_DEPTH = 1024  # bytes of k, for all of which the sums of a tile stay in registers
_STRIDED = 131072  # bytes of a left operand up to which it may be read across its rows
_NARROW = 8  # columns below which vectors would be mostly empty
_LARGE = 1 << 20  # elements of the operand that few rows are multiplied with
_THIN = 4  # rows up to which the other operand is streamed, not packed

Axes = tuple[tuple[int, ...], tuple[int, ...]]


def _free(ndim: int, *used: Sequence[int]) -> tuple[int, ...]:
    return tuple(i for i in range(ndim) if not any(i in u for u in used))


def _check_axes(a: Aval, b: Aval, contract: Axes, batch: Axes) -> None:
    for name, axes in (("contract", contract), ("batch", batch)):
        if len(axes) != 2 or len(axes[0]) != len(axes[1]):
            fix = "give one tuple of axes for each operand, of the same length"
            raise ShapeError(message(f"dot_general: {name} must pair axes of both operands", axes, None, fix))
    for operand, position in ((a, 0), (b, 1)):
        used = contract[position] + batch[position]
        if len(set(used)) != len(used) or not all(0 <= axis < operand.ndim for axis in used):
            expected = f"distinct axes of {operand}, from 0 to {operand.ndim - 1}"
            raise ShapeError(message(f"dot_general: invalid axes for operand {position}", used, expected))
    for first, second in zip(contract[0] + batch[0], contract[1] + batch[1], strict=True):
        if a.shape[first] != b.shape[second]:
            pair = f"axis {first} of size {a.shape[first]} with axis {second} of size {b.shape[second]}"
            received = f"{a} and {b}, {pair}"
            fix = "transpose or reshape an operand so that the contracted and batch axes match"
            raise ShapeError(message("Sizes do not match in a matrix product", received, "equal sizes", fix))


def _aval(a: Aval, b: Aval, *, contract: Axes, batch: Axes) -> Aval:
    dtype = check_same_dtype("dot_general", a, b)
    check_dtype("dot_general", dtype, NUMBERS)
    _check_axes(a, b, contract, batch)
    kept = [[x.shape[i] for i in _free(x.ndim, c, t)] for x, c, t in zip((a, b), contract, batch, strict=True)]
    return aval(dtype, (*(a.shape[i] for i in batch[0]), *kept[0], *kept[1]))


# rules


def _jvp(node: Node, tangents: Sequence[Node | None]) -> Node | None:
    (a, b), (da, db) = node.inputs, tangents
    left = None if da is None else P.dot_general(da, b, **node.params)
    right = None if db is None else P.dot_general(a, db, **node.params)
    return right if left is None else left if right is None else left + right


def _transpose_left(cotangent: Node, x: Aval, y: Node, contract: Axes, batch: Axes, swapped: bool) -> Node:
    """The cotangent of the operand with aval `x`, when the other is `y`; `swapped` when x is the second operand."""
    (x_contract, y_contract), (x_batch, y_batch) = contract, batch
    x_kept, y_kept = _free(x.ndim, x_contract, x_batch), _free(y.ndim, y_contract, y_batch)
    first = len(x_batch) + (0 if swapped else len(x_kept))
    y_axes = tuple(range(first, first + len(y_kept)))
    batch_axes = tuple(range(len(x_batch)))
    result = P.dot_general(cotangent, y, contract=(y_axes, y_kept), batch=(batch_axes, y_batch))
    paired = [x_contract[i] for i in sorted(range(len(y_contract)), key=y_contract.__getitem__)]
    return _transposed(result, _inverse([*x_batch, *x_kept, *paired]))


def _transpose(node: Node, cotangent: Node, linear: Sequence[bool]) -> list[Node | None]:
    (a, b), contract, batch = node.inputs, node.params["contract"], node.params["batch"]
    left = _transpose_left(cotangent, a.aval, b, contract, batch, False) if linear[0] else None
    right = _transpose_left(cotangent, b.aval, a, contract[::-1], batch[::-1], True) if linear[1] else None
    return [left, right]


def _inverse(permutation: Sequence[int]) -> tuple[int, ...]:
    return tuple(sorted(range(len(permutation)), key=permutation.__getitem__))


def _transposed(node: Node, permutation: tuple[int, ...]) -> Node:
    return node if permutation == tuple(range(node.ndim)) else P.transpose(node, permutation=permutation)


def _shifted(axes: Sequence[int], by: bool) -> tuple[int, ...]:
    return tuple(i + by for i in axes)


def _batch(node: Node, inputs: Sequence[Node], batched: Sequence[bool], size: Size) -> Node:
    contract, batch = node.params["contract"], node.params["batch"]
    new_contract = tuple(_shifted(c, f) for c, f in zip(contract, batched, strict=True))
    new_batch = tuple(_shifted(t, f) for t, f in zip(batch, batched, strict=True))
    if all(batched):
        new_batch = tuple((0, *t) for t in new_batch)
        return P.dot_general(*inputs, contract=new_contract, batch=new_batch)
    result = P.dot_general(*inputs, contract=new_contract, batch=new_batch)
    kept_left = node.inputs[0].ndim - len(contract[0]) - len(batch[0])
    position = len(batch[0]) + (0 if batched[0] else kept_left)
    return _transposed(result, (position, *(i for i in range(result.ndim) if i != position)))


def _axes(node: Node) -> AxisMap:
    """Labels of the axes: batch, free and contracted ones; a contracted label is missing from the output."""
    labels: list[list[Any]] = [[None] * i.ndim for i in node.inputs]
    for kind in ("batch", "contract"):
        for n, pair in enumerate(zip(*node.params[kind], strict=True)):
            for operand, axis in enumerate(pair):
                labels[operand][axis] = (kind, n)
    for operand, row in enumerate(labels):
        row[:] = [(operand, n) if label is None else label for n, label in enumerate(row)]
    output = [("batch", n) for n in range(len(node.params["batch"][0]))]
    output += [label for row in labels for label in row if label[0] in (0, 1)]
    return tuple(map(tuple, labels)), tuple(output)


def _cost(node: Node) -> tuple[float, int]:
    a, b = node.inputs
    contracted = element_count(aval(a.dtype, tuple(a.shape[i] for i in node.params["contract"][0])))
    return 2.0 * element_count(node.aval) * contracted, byte_count([a.aval, b.aval, node.aval])


# the kernel


class _Operands:
    """The two operands of a site as A[batch, m, k] and B[batch, k, n], and the result as C[batch, m, n]."""

    def __init__(self, site: Any, swapped: bool) -> None:
        self.site, self.swapped = site, swapped
        contract, batch = site.params["contract"], site.params["batch"]
        shapes = [site.shape(0), site.shape(1)]
        self.axes = [(t, _free(len(s), c, t), c) for s, c, t in zip(shapes, contract, batch, strict=True)]
        sizes = self.sizes = [[[shapes[i][axis] for axis in group] for group in self.axes[i]] for i in range(2)]
        left, right = (1, 0) if swapped else (0, 1)
        self.left, self.right = left, right
        self.batch, self.m = product(sizes[left][0]), product(sizes[left][1])
        self.k, self.n = product(sizes[left][2]), product(sizes[right][1])

    def read(self, operand: int, batch: Index, free: Index, k: Index, guard: Expr | None = None) -> Any:
        index: list[Index] = [0] * len(self.site.shape(operand))
        for flat, axes, sizes in zip((batch, free, k), self.axes[operand], self.sizes[operand], strict=True):
            for axis, i in zip(axes, self.site.unflatten(flat, sizes), strict=True):
                index[axis] = i
        return self.site.read(operand, index, guard)

    def a(self, batch: Index, m: Index, k: Index) -> Any:
        return self.read(self.left, batch, m, k)

    def b(self, batch: Index, k: Index, n: Index, guard: Expr | None = None) -> Any:
        return self.read(self.right, batch, n, k, guard)

    def write(self, batch: Index, m: Index, n: Index, value: Any) -> None:
        first, second = (n, m) if self.swapped else (m, n)
        groups = [(batch, self.sizes[0][0]), (first, self.sizes[0][1]), (second, self.sizes[1][1])]
        self.site.write([i for flat, sizes in groups for i in self.site.unflatten(flat, sizes)], value)

    def runs_along(self, name: str) -> tuple[bool, bool]:
        """Whether operand "a" or "b" is contiguous along its free axis, and along k."""
        read = self.a if name == "a" else lambda batch, free, k: self.b(batch, k, free)
        return is_contiguous(lambda i: read(0, i, 0)), is_contiguous(lambda i: read(0, 0, i))


def _is_at_most(value: Index, limit: int) -> bool:
    return isinstance(value, int) and value <= limit


def _lower(site: Any) -> None:
    dtype = site.out.dtype
    x = _Operands(site, False)
    if not dtype.is_complex and not _is_at_most(x.m, _THIN) and _direct(site, x):
        return
    oriented = x if dtype.is_complex else _oriented(site, x)
    is_thin = not dtype.is_complex and _is_at_most(oriented.m, _THIN)
    along_n, along_k = oriented.runs_along("b") if is_thin else (True, False)
    is_dots = along_k and not (along_n or site.invariant) and (oriented.m == 1 or _is_large(oriented))
    if dtype.is_complex or _is_at_most(product([x.m, x.n, x.k]), _SMALL) and not is_dots:
        swapped = not (isinstance(x.n, Expr) or site.invariant) and x.n < 8 and not _is_at_most(x.m, x.n)
        x = _Operands(site, swapped)
        total = dtype if dtype.is_complex else dtype.compute
        multiply_plainly(site.builder, x.batch, x.m, x.n, x.k, total, x.a, x.b, x.write)
        return
    x, total = oriented, dtype.compute
    if is_dots:  # the one kernel that does not add in the order of k
        multiply_dots(site.builder, x.batch, x.m, x.n, x.k, total, x.a, x.b, x.write)
    elif is_thin and along_k and not along_n:
        multiply_copied(site.builder, site.target, (x.batch, x.m, x.n, x.k), total, x.a, x.b, x.write)
    elif is_thin:
        multiply_streamed(site.builder, x.batch, x.m, x.n, x.k, total, x.a, x.b, x.write)
    elif not _narrow(site, x):
        _packed(site, x)


def _is_large(x: _Operands) -> bool:
    """Whether the right operand does not stay in the caches, so that it should be read once, and in one go."""
    return isinstance(x.n, int) and isinstance(x.k, int) and x.n * x.k >= _LARGE


def _direct(site: Any, x: _Operands) -> bool:
    """Multiply without packing A where there are few k, and both operands lie so in memory, that it is not needed."""
    dtype, sizes = site.out.dtype, (x.m, x.n, x.k)
    if not (isinstance(x.n, int) and isinstance(x.k, int)) or dtype.compute is not dtype or x.n < _NARROW:
        return False
    if x.k == 0 or (isinstance(x.m, int) and x.m == 0):
        return False
    if x.k * dtype.itemsize > _DEPTH or not (is_load(x.a(0, 0, 0)) and is_load(x.b(0, 0, 0))):
        return False
    if typical(x.m) * x.k * dtype.itemsize > _STRIDED and not x.runs_along("a")[1]:
        return False
    along_n = x.runs_along("b")[0]
    is_followed = site.follow is not None
    multiply_direct(site.builder, site.target, (x.batch, *sizes), dtype, x.a, x.b, x.write, along_n, is_followed)
    return True


def _oriented(site: Any, x: _Operands) -> _Operands:
    """Exchange the operands where that makes m thin, or spares a transposing copy of the larger one."""
    for few in (1, _THIN):
        if _is_at_most(x.m, few):
            return x
        if _is_at_most(x.n, few):
            return _Operands(site, True)
    along_n, along_k = x.runs_along("b")
    if not along_k or along_n:
        return x
    m_first = x.runs_along("a")[0]
    return _Operands(site, True) if m_first or typical(x.m) < typical(x.n) else x


def _narrow(site: Any, x: _Operands) -> bool:
    """Multiply by dot products of narrow numbers: bfloat16, int8, and int32 whose values are converted from int8."""
    dtype = site.out.dtype
    if dtype not in (bfloat16, int8, uint8, int32) or not has_dots(site.target, dtype):
        return False
    if dtype is bfloat16 and site.invariant:  # the order of adding differs from that of the other kernels
        return False
    probes = [make("var", (), int64, Variable(name)) for name in "bik"]
    left, right = (dtype, dtype) if dtype is not int32 else (_origin(x.a(*probes)), _origin(x.b(*probes)))
    if left is None or right is None:
        return False

    def write(batch: Index, m: Index, n: Index, value: Expr) -> None:
        x.write(batch, m, n, value.cast(dtype.compute))

    along_m, along_k = x.runs_along("a")
    total = float32 if dtype is bfloat16 else int32
    multiply_narrow(site.builder, Narrow(
        x.batch, x.m, x.n, x.k, left, right, total, _narrowed(x.a, left), _narrowed(x.b, right),
        write, x.swapped, along_m and not along_k,
    ))  # fmt: skip
    return True


def _origin(value: Expr) -> DType | None:
    """The dtype of 8 bits that a value is converted from."""
    source = value.args[0].dtype if value.op == "cast" else None
    return source if source in (int8, uint8) else None


def _narrowed(read: Reader, dtype: DType) -> Reader:
    """Read what a value was converted from."""

    def narrowed(batch: Index, free: Index, k: Index) -> Expr:
        value = read(batch, free, k)
        return value.args[0] if _origin(value) is dtype else value.cast(dtype.compute)

    return narrowed


def _packed(site: Any, x: _Operands) -> None:
    b, dtype = site.builder, site.out.dtype.compute
    tile = choose_tile(site.target, dtype, x.n, x.k)
    along_m, along_k = x.runs_along("a")
    layout, pack_a = (column_packer if along_m and not along_k else row_packer)(b, tile, x.a, x.m)
    pack_b = panel_packer(b, tile, x.b, x.n)
    g = Gemm(x.batch, x.m, x.n, x.k, dtype, tile, layout, pack_a, pack_b, row_writer(b, x.write, x.swapped))
    multiply(b, g, "a" if typical(x.n) > typical(x.m) else "b")


def _sample(random: Any, dtype: DType, size: int) -> Iterator[tuple[list[Any], dict[str, Any]]]:
    high = 2.0
    cases: list[tuple[tuple[int, ...], tuple[int, ...], Axes, Axes]] = [
        ((3, size), (size, 5), ((1,), (0,)), ((), ())),
        ((size, 7), (4, 7), ((1,), (1,)), ((), ())),
        ((7, size), (7, size), ((0,), (0,)), ((), ())),
        ((size,), (size,), ((0,), (0,)), ((), ())),
        ((2, size, 3), (3, 2, 4), ((2,), (0,)), ((0,), (1,))),
        ((2, 3, size), (size, 3, 2), ((1, 0), (1, 2)), ((), ())),
        ((size, 2), (3,), ((), ()), ((), ())),
        ((37, 2 * size), (2 * size, 41), ((1,), (0,)), ((), ())),
    ]
    for left, right, contract, batch in cases:
        arrays = [draw(random, dtype, shape, -high, high) for shape in (left, right)]
        yield arrays, {"contract": contract, "batch": batch}


dot_general = Primitive(
    "dot_general", kind="kernel", aval=_aval, lower=_lower, jvp=_jvp, transpose=_transpose, batch=_batch,
    shard=_axes, cost=_cost, domain=Domain(NUMBERS, sample=_sample, tolerance=64.0),
    oracle="oracle.contract.dot_general",
)  # fmt: skip
"""The product of `a` and `b` summed over the paired axes `contract`; axes in `batch` are paired and kept.

The result has the batch axes, then the free axes of `a`, then those of `b`. Floats of 16 bits are summed in float32.
"""
