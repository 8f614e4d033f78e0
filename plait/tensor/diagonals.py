"""Diagonals and triangles of matrices."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from plait.core.aval import aval
from plait.core.dtype import as_dtype, int64
from plait.core.errors import ShapeError, message
from plait.core.graph import Node
from plait.core.primitive import P
from plait.tensor.composite import composite
from plait.tensor.creation import check_device
from plait.tensor.families import both_names
from plait.tensor.indexing import setitem
from plait.tensor.operators import scalar_node, single
from plait.tensor.shaping import as_operand, flatten, movedim, reshape
from plait.tensor.splitting import slice
from plait.tensor.tensor import Tensor, axis_index, make_view, wrap
from plait.tensor.views import row_major, step

__all__ = [
    "diag", "diag_embed", "diagflat", "diagonal", "trace", "tril", "tril_indices", "triu",
    "triu_indices",
]  # fmt: skip


def _length(rows: int, columns: int, offset: int) -> int:
    """Return the number of elements of a diagonal."""
    return max(0, min(rows, columns - offset) if offset >= 0 else min(rows + offset, columns))


@both_names(dim1="axis1", dim2="axis2")
def diagonal(x: Any, offset: int = 0, axis1: int = 0, axis2: int = 1) -> Tensor:
    """Return a view of a diagonal, as the last axis.

    Args:
        x: a tensor of at least two axes.
        offset: how far above (positive) or below the main diagonal.
        axis1: axis of the rows.
        axis2: axis of the columns.

    Returns:
        A view.

    Raises:
        ShapeError: there are no two such axes.

    Example:
        >>> plait.diagonal(plait.tensor([[1, 2], [3, 4]]))
        tensor([1, 4])
    """
    x = movedim(as_operand(x, "diagonal"), (axis1, axis2), (-2, -1))
    *outer, rows, columns = x.shape
    start, count = offset if offset >= 0 else -offset * columns, _length(rows, columns, offset)
    # in row-major order a diagonal is every (columns + 1)-th element
    limit = start + (count - 1) * (columns + 1) + 1 if count else start
    start, limit = (start, limit) if count else (0, 0)
    zeros = (0,) * len(outer)
    ones = (1,) * len(outer)
    every = step("slice", starts=(*zeros, start), limits=(*outer, limit), strides=(*ones, columns + 1))
    return make_view(x, step("reshape", shape=(*outer, rows * columns)), every)


def offsets(shape: Sequence[Any]) -> Node:
    """Return column minus row of each element of a matrix."""
    rows, columns = (P.iota(dtype=int64, shape=tuple(shape), axis=i) for i in range(2))
    return columns - rows


def _triangle(name: str, keep: str, summary: str, bound: str, result: str) -> Callable[..., Tensor]:
    @both_names(diagonal="k")
    def function(x: Any, k: int = 0) -> Tensor:
        node = single(x, name)
        if node.ndim < 2:
            raise ShapeError(message(f"{name} needs a matrix", f"shape {node.shape}", "at least two axes"))
        mask = getattr(P, keep)(offsets(node.shape[-2:]), scalar_node(k, int64))
        return wrap(P.select(mask, node, scalar_node(0, node.dtype)))

    function.__name__ = function.__qualname__ = name
    function.__doc__ = f"""{summary}

    Args:
        x: a tensor of matrices.
        k: the {bound} diagonal kept (`diagonal` is another name); positive ones lie above the main one.

    Returns:
        A new tensor.

    Raises:
        ShapeError: `x` has fewer than two axes.

    Example:
        >>> plait.{name}(plait.tensor([[1, 2], [3, 4]]))
        {result}
    """
    return function


tril = _triangle(
    "tril", "le", "Return the lower triangle: elements above the `k`-th diagonal become 0.", "last",
    "tensor([[1, 0],\n                [3, 4]])",
)  # fmt: skip
triu = _triangle(
    "triu", "ge", "Return the upper triangle: elements below the `k`-th diagonal become 0.", "first",
    "tensor([[1, 2],\n                [0, 4]])",
)  # fmt: skip


def _triangle_indices(
    name: str, kind: str, keep: str, counts: Callable[[int, int, int], int], result: str
) -> Callable[..., Tensor]:
    def function(
        row: int, col: int | None = None, offset: int = 0, *, dtype: Any = int64, device: Any = None
    ) -> Tensor:
        check_device(device)
        columns = row if col is None else col
        aval(int64, (2, row, columns))  # sizes that no tensor has are refused before they are counted
        count = sum(counts(i, columns, offset) for i in range(row))
        mask = getattr(P, keep)(offsets((row, columns)), scalar_node(offset, int64))
        flat = P.nonzero(P.reshape(mask, shape=(row * columns,)), size=count, fill=0)
        width = scalar_node(max(columns, 1), int64)
        parts = [P.reshape(part, shape=(1, count)) for part in (P.div(flat, width), P.rem(flat, width))]
        return wrap(P.convert(P.concatenate(*parts, axis=0), dtype=as_dtype(dtype)))

    function.__name__ = function.__qualname__ = name
    function.__doc__ = f"""Return the positions of the {kind} triangle of a matrix, in row-major order.

    Args:
        row: number of rows.
        col: number of columns, by default as many.
        offset: the diagonal that bounds it; positive ones lie above the main one.
        dtype: integer dtype.
        device: "cpu".

    Returns:
        An integer matrix: a row of row numbers and one of column numbers.

    Example:
        >>> plait.{name}(2, 2)
        {result}
    """
    return function


tril_indices = _triangle_indices(
    "tril_indices", "lower", "le", lambda i, n, k: min(max(i + k + 1, 0), n),
    "tensor([[0, 1, 1],\n                [0, 0, 1]])",
)  # fmt: skip
triu_indices = _triangle_indices(
    "triu_indices", "upper", "ge", lambda i, n, k: n - min(max(i + k, 0), n),
    "tensor([[0, 0, 1],\n                [0, 1, 1]])",
)  # fmt: skip


@both_names(diagonal="k")
def diag(x: Any, k: int = 0) -> Tensor:
    """Return the `k`-th diagonal of a matrix (a view), or the square matrix with the vector `x` on it.

    Args:
        x: a vector or a matrix.
        k: which diagonal (`diagonal` is another name).

    Returns:
        A vector or a matrix.

    Raises:
        ShapeError: `x` is neither.

    Example:
        >>> plait.diag(plait.tensor([1, 2]))
        tensor([[1, 0],
                [0, 2]])
    """
    x = as_operand(x, "diag")
    if x.ndim not in (1, 2):
        raise ShapeError(message("diag takes a vector or a matrix", f"shape {x.shape}"))
    return diagonal(x, k) if x.ndim == 2 else diag_embed(x, k)


@both_names(offset="k")
def diagflat(x: Any, k: int = 0) -> Tensor:
    """Return the square matrix with the elements of `x`, flattened, on its `k`-th diagonal.

    Example:
        >>> plait.diagflat(plait.tensor([1, 2]), 1)
        tensor([[0, 1, 0],
                [0, 0, 2],
                [0, 0, 0]])
    """
    return diag_embed(flatten(x), k)


@both_names(dim1="axis1", dim2="axis2")
@composite
def diag_embed(x: Any, offset: int = 0, axis1: int = -2, axis2: int = -1) -> Tensor:
    """Return square matrices with the last axis of `x` on a diagonal, zeros elsewhere.

    Args:
        x: a tensor of at least one axis.
        offset: which diagonal; positive ones lie above the main one.
        axis1: axis of the rows in the result.
        axis2: axis of the columns in the result.

    Returns:
        A tensor with one more axis.

    Raises:
        ShapeError: `x` has no axis, or the two axes are the same.

    Example:
        >>> plait.diag_embed(plait.tensor([[1, 2], [3, 4]])).shape
        (2, 2, 2)
    """
    node = single(x, "diag_embed")
    if not node.ndim:
        raise ShapeError(message("diag_embed needs a vector", "a rank-0 tensor", "at least one axis"))
    rows, columns = (axis_index(a, node.ndim + 1) for a in (axis1, axis2))
    if rows == columns:
        raise ShapeError(message("The axes of a diagonal are distinct", f"{axis1} and {axis2}"))
    size, zero = node.shape[-1] + abs(offset), scalar_node(0, node.dtype)
    nothing = (0,) * (node.ndim - 1)
    longer = P.pad(node, zero, low=(*nothing, 0), high=(*nothing, abs(offset)), interior=(*nothing, 0))
    # each element is repeated along the axis on which the diagonal starts later, and kept where it belongs
    outer = tuple(range(node.ndim - 1))
    spread = P.broadcast(
        longer, shape=(*node.shape[:-1], size, size), axes=(*outer, node.ndim - 1 if offset >= 0 else node.ndim)
    )
    hit = P.eq(offsets((size, size)), scalar_node(offset, int64))
    result = P.select(hit, spread, zero)
    return movedim(wrap(result), (-2, -1), (rows, columns))


def fill_diagonal_(x: Tensor, fill_value: Any, wrap: bool = False) -> Tensor:
    """Write a number to the main diagonal; returns the tensor.

    Args:
        x: a tensor of at least two axes, those of more than two all of one size.
        fill_value: the number.
        wrap: whether the diagonal of a tall matrix begins again below the square part.

    Returns:
        The tensor.

    Raises:
        ShapeError: the shape has no main diagonal.

    Example:
        >>> plait.zeros(2, 2).fill_diagonal_(5)
        tensor([[5., 0.],
                [0., 5.]])
    """
    shape = x.shape
    if len(shape) < 2 or len(shape) > 2 and len(set(shape)) > 1:
        expected = "two axes, or more of one size"
        raise ShapeError(message("This shape has no main diagonal", shape, expected))
    every = sum(row_major(shape))
    stop = None if wrap and len(shape) == 2 and shape[0] > shape[1] else min(shape) * every
    setitem(slice(reshape(x, -1), 0, 0, stop, every), ..., fill_value)
    return x


@both_names
@composite
def trace(x: Any) -> Tensor:
    """Return the sum of the main diagonal of a matrix.

    Example:
        >>> plait.trace(plait.tensor([[1, 2], [3, 4]]))
        tensor(5)
    """
    return diagonal(x).sum()
