"""What the primitives of linear algebra share: their rules, algebra of matrices on nodes, and samples."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from plait.core.aval import Aval, Size, aval
from plait.core.dtype import DType, complex64, complex128, float32, float64, int64
from plait.core.errors import ShapeError, message
from plait.core.graph import Node, constant
from plait.core.primitive import Domain, P, Primitive, Waived
from plait.prims.rules import NOT_LINEAR, broadcast_to, byte_count, check_dtype, draw, element_count

FIELDS = (float32, float64, complex64, complex128)
SHARD = Waived("a factorization is sharded by its batch axes alone: map over shards")
UP_TO_PHASE = Waived("unique only up to signs or phases: tested by what does not depend on them, in tests/linalg")

# shapes


def check_square(name: str, x: Aval) -> None:
    """Raise `ShapeError` unless `x` is a square matrix, or a batch of them."""
    if x.ndim < 2 or x.shape[-1] != x.shape[-2]:
        raise ShapeError(message(f"{name} takes square matrices", f"shape {x.shape}", "(..., n, n)"))


def matrix_rule(name: str, results: Callable[..., Any], square: bool = False) -> Callable[..., Any]:
    """Make the aval rule of a function of one matrix.

    `results(batch, m, n, **params)` yields (shape, dtype) pairs; the dtype None is that of the matrix, and float the
    real one of it.
    """

    def rule(x: Aval, *rest: Aval, **params: Any) -> Aval | tuple[Aval, ...]:
        check_dtype(name, x.dtype, FIELDS)
        if x.ndim < 2:
            raise ShapeError(message(f"{name} takes matrices", f"shape {x.shape}", "(..., m, n)"))
        if square:
            check_square(name, x)
        kinds = {None: x.dtype, float: x.dtype.real, complex: complex64 if x.dtype.real is float32 else complex128}
        found = results(tuple(x.shape[:-2]), *x.shape[-2:], **params)
        made = tuple(aval(kinds.get(dtype, dtype), shape) for shape, dtype in found)
        return made if len(made) > 1 else made[0]

    return rule


def batch_rule(node: Node, inputs: Sequence[Node], batched: Sequence[bool], size: Size) -> Node:
    """All leading axes are a batch: one more stands before them."""
    whole = [
        new if is_batched else P.broadcast(new, shape=(size, *new.shape), axes=tuple(range(1, new.ndim + 1)))
        for new, is_batched in zip(inputs, batched, strict=True)
    ]
    return node.prim(*whole, **node.params)


def cost_of(factor: float) -> Callable[[Node], tuple[float, int]]:
    """Make the cost rule of a function that takes `factor` times the cube of the sizes, for m by n matrices m n^2."""

    def cost(node: Node) -> tuple[float, int]:
        x = node.inputs[0].aval
        smaller = min(x.shape[-2:])  # type: ignore[type-var]
        flops = factor * element_count(x) * (smaller if isinstance(smaller, int) else smaller.hint)
        return flops, byte_count([*node.avals, *[i.aval for i in node.inputs]])

    return cost


# algebra on nodes, for the rules


def swapped(x: Node) -> Node:
    """Return the matrices transposed."""
    n = x.ndim
    return P.transpose(x, permutation=(*range(n - 2), n - 1, n - 2))


def adjoint(x: Node) -> Node:
    """Return the matrices transposed and conjugated."""
    return P.conj(swapped(x)) if x.dtype.is_complex else swapped(x)


def product(a: Node, b: Node, *more: Node) -> Node:
    """Multiply matrices of one batch."""
    n = a.ndim
    outer = tuple(range(n - 2))
    result = P.dot_general(a, b, contract=((n - 1,), (n - 2,)), batch=(outer, outer))
    return product(result, *more) if more else result


def offsets(x: Node) -> Node:
    """Column minus row of each element of a matrix like `x`."""
    rows, columns = (P.iota(dtype=int64, shape=tuple(x.shape[-2:]), axis=a) for a in (0, 1))
    return columns - rows


def where(condition: Node, x: Node, otherwise: float | Node = 0.0) -> Node:
    """Return `x` where a condition on the places in a matrix holds."""
    other = otherwise if isinstance(otherwise, Node) else constant(otherwise, x.dtype)
    return P.select(broadcast_to(condition, x.shape), x, other)


def lower_part(x: Node, k: int = 0) -> Node:
    """Return the elements up to the k-th diagonal above the main one, zeros elsewhere."""
    return where(P.le(offsets(x), constant(k, int64)), x)


def upper_part(x: Node, k: int = 0) -> Node:
    """Return the elements from the k-th diagonal above the main one on, zeros elsewhere."""
    return where(P.ge(offsets(x), constant(k, int64)), x)


def diagonal(x: Node) -> Node:
    """Return the main diagonals."""
    size = min(x.shape[-2:])  # type: ignore[type-var]
    zeros = (0,) * x.ndim
    cut = P.slice(x, starts=zeros, limits=(*x.shape[:-2], size, size), strides=(1,) * x.ndim)
    on = P.eq(offsets(cut), constant(0, int64))
    return P.reduce_sum(where(on, cut), axes=(x.ndim - 1,))


def identity(x: Node) -> Node:
    """Return identity matrices of the shape and dtype of `x`."""
    return broadcast_to(P.convert(P.eq(offsets(x), constant(0, int64)), dtype=x.dtype), x.shape)


def as_columns(x: Node) -> Node:
    """Return a vector for each matrix as a row that scales its columns."""
    return P.reshape(x, shape=(*x.shape[:-1], 1, x.shape[-1]))


def as_rows(x: Node) -> Node:
    """Return a vector for each matrix as a column that scales its rows."""
    return P.reshape(x, shape=(*x.shape, 1))


def block(x: Node, rows: Any, columns: Any, from_row: Any = 0, from_column: Any = 0) -> Node:
    """Return a block of each matrix: limits and starts of its rows and columns."""
    outer = tuple(x.shape[:-2])
    if (rows, columns, from_row, from_column) == (*x.shape[-2:], 0, 0):
        return x
    starts = (*(0,) * len(outer), from_row, from_column)
    return P.slice(x, starts=starts, limits=(*outer, rows, columns), strides=(1,) * x.ndim)


def as_dtype(x: Node, dtype: DType) -> Node:
    """Return `x` in a dtype."""
    return x if x.dtype is dtype else P.convert(x, dtype=dtype)


def is_tiny(gap: Node, largest: Node) -> Node:
    """Whether differences of eigenvalues are no more than rounding."""
    limit = largest * constant(16 * float(np.finfo(largest.dtype.numpy).eps), largest.dtype)
    return P.le(P.abs(gap), limit)


def inverse_or_zero(x: Node, is_zero: Node) -> Node:
    """Return 1 / x, and zero where `is_zero`."""
    one = constant(1.0, x.dtype)
    return where(P.bitwise_not(is_zero), one / where(P.bitwise_not(is_zero), x, one))


def largest(x: Node) -> Node:
    """The largest absolute value of each vector, as a 1 by 1 matrix; zero of none."""
    if x.shape[-1] == 0:
        return P.reshape(P.reduce_sum(P.abs(x), axes=(x.ndim - 1,)), shape=(*x.shape[:-1], 1, 1))
    return P.reshape(P.reduce_max(P.abs(x), axes=(x.ndim - 1,)), shape=(*x.shape[:-1], 1, 1))


def on_host(name: str, rule: Any, lower: Any, flops: float, **slots: Any) -> Primitive:
    """Define a primitive that the host computes on batches of matrices."""
    slots.setdefault("transpose", NOT_LINEAR)
    return Primitive(
        name, kind="host", aval=rule, lower=lower, batch=batch_rule, shard=SHARD, cost=cost_of(flops), **slots
    )  # fmt: skip


def extended(whole: Node, part: Node, change: Node) -> tuple[Node, Node]:
    """Complete the tangent of the first columns of unitary matrices: the others turn as little as they can."""
    m, k = part.shape[-2:]
    rest = block(whole, m, whole.shape[-1], 0, k)
    others = -product(part, product(adjoint(change), rest))
    return P.concatenate(change, others, axis=whole.ndim - 1), rest


# samples


def _random_matrices(kind: str) -> Callable[..., Iterator[tuple[list[Any], dict[str, Any]]]]:
    """Make the `sample` of a domain of well-conditioned square matrices: "general", or "positive" definite ones."""

    def sample(random: Any, dtype: DType, size: int) -> Iterator[tuple[list[Any], dict[str, Any]]]:
        for shape in ((size, size), (2, 0, size, size), (3, size, size)):
            yield [well_conditioned(random, dtype, shape, kind)], {}

    return sample


def well_conditioned(random: Any, dtype: DType, shape: tuple[int, ...], kind: str = "general") -> Any:
    """Draw square matrices far from singular."""
    x = draw(random, dtype, shape, -1.0, 1.0) / max(shape[-1], 1) ** 0.5
    if kind == "positive":
        x = x @ np.swapaxes(x.conj(), -1, -2)
    elif kind == "triangular":
        x = x / 2
    scale = np.linspace(1.0, 2.0, shape[-1]) if kind == "positive" else 2.0 + 0.1 * np.arange(shape[-1])
    return (x + scale * np.eye(shape[-1])).astype(dtype.numpy)


def _with(sample: Any, **params: Any) -> Any:
    def chosen(random: Any, dtype: DType, size: int) -> Iterator[tuple[list[Any], dict[str, Any]]]:
        for arrays, others in sample(random, dtype, size):
            yield arrays, {**others, **params}

    return chosen


def domain_of(kind: str = "general", **params: Any) -> Domain:
    """Return the domain of functions of one well-conditioned matrix of a kind."""
    # positive ones are read by one triangle and differentiated as symmetric: moved by any direction they are not
    smooth = kind != "positive"
    return Domain(FIELDS, sample=_with(_random_matrices(kind), **params), smooth=smooth, tolerance=512.0)
