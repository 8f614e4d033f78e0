"""Embeddings: rows of a table looked up by number, and sums, means and maxima of such rows."""

from __future__ import annotations

from typing import Any

from plait.core.dtype import bool_, int64
from plait.core.errors import ArgumentError, DTypeError, ShapeError, message
from plait.core.graph import Node
from plait.core.primitive import P
from plait.nn.arguments import same_dtype
from plait.prims.custom import with_transpose
from plait.tensor.autograd import no_grad
from plait.tensor.composite import composite
from plait.tensor.creation import one_hot
from plait.tensor.shaping import as_operand
from plait.tensor.tensor import Tensor, converted, node_of, scalar_node, wrap

__all__ = ["embedding", "embedding_bag", "one_hot"]


def row_number(name: str, number: int, rows: int) -> int:
    """Return the number of a row counted from the first.

    Raises:
        ArgumentError: there is no such row.
    """
    if not -rows <= number < rows:
        raise ArgumentError(message(f"{name} is no row", number, f"{-rows} to {rows - 1}"))
    return number % rows


def _index(value: Any, name: str) -> Node:
    x = as_operand(value, name)
    if not x.dtype.is_integer:
        fix = "convert with .to(plait.int64)"
        raise DTypeError(message(f"{name} takes integer row numbers", x.dtype.name, "an integer dtype", fix))
    return converted(node_of(x), int64)


def _table(weight: Any, name: str) -> Tensor:
    table = as_operand(weight, name)
    if table.ndim != 2:
        raise ShapeError(message(f"The table of {name} is a matrix", f"shape {table.shape}", "[rows, features]"))
    return table


def _shorten(table: Tensor, index: Node, max_norm: float, norm_type: float) -> None:
    """Scale the rows that are looked up, where their norm is greater than `max_norm`, in the table itself."""
    with no_grad():
        found = wrap(P.gather(node_of(table), index, axes=(0,), mode="clip"))
        norms = (found.abs() ** norm_type).sum(-1, keepdims=True) ** (1.0 / norm_type)
        scale = wrap(P.select(node_of(norms > max_norm), node_of(max_norm / (norms + 1e-7)), node_of(norms * 0 + 1)))
        table.copy_(wrap(P.scatter_set(node_of(table), node_of(found * scale), index, axes=(0,))))


def _rows(table: Tensor, index: Node, padding: int | None, is_scaled: bool) -> Node:
    """Return the rows [*index, features]; any for a number out of range.

    The row `padding` gets no gradient; with `is_scaled` the gradient of a row is divided by how often it is used.
    """
    count, dtype = table.shape[0], table.dtype

    def take(weight: Node, index: Node) -> Node:
        return P.gather(weight, index, axes=(0,), mode="clip")

    def put(rows: Node, index: Node) -> Node:
        zeros = P.broadcast(scalar_node(0, dtype), shape=table.shape, axes=())
        if padding is not None:
            kept = P.ne(index, scalar_node(padding, int64))
            rows = rows * P.broadcast(P.convert(kept, dtype=dtype), shape=rows.shape, axes=tuple(range(index.ndim)))
        result = P.scatter_add(zeros, rows, index, axes=(0,))
        if is_scaled:
            ones = P.broadcast(scalar_node(1, dtype), shape=index.shape, axes=())
            none = P.broadcast(scalar_node(0, dtype), shape=(count,), axes=())
            uses = P.max(P.scatter_add(none, ones, index, axes=(0,)), scalar_node(1, dtype))
            result = result / P.broadcast(uses, shape=result.shape, axes=(0,))
        return result

    plain = padding is None and not is_scaled
    return take(node_of(table), index) if plain else with_transpose(take, put, node_of(table), index)


def _is_missing(index: Node, count: int) -> Node:
    """Return where a row number is out of range."""
    return P.bitwise_or(P.lt(index, scalar_node(0, int64)), P.ge(index, scalar_node(count, int64)))


def _marked(result: Node, is_missing: Node) -> Node:
    """Return rows as NaN where `is_missing`, of the leading axes, holds; integers as they are."""
    if not result.dtype.is_inexact:
        return result
    mask = P.broadcast(is_missing, shape=result.shape, axes=tuple(range(is_missing.ndim)))
    return P.select(mask, scalar_node(float("nan"), result.dtype), result)


def embedding(
    input: Any, weight: Any, padding_idx: int | None = None, max_norm: float | None = None, norm_type: float = 2.0,
    scale_grad_by_freq: bool = False, sparse: bool = False,
) -> Tensor:  # fmt: skip
    """Return rows of a table.

    Args:
        input: integer row numbers of any shape.
        weight: the table [rows, features].
        padding_idx: a row that gets no gradient.
        max_norm: rows that are looked up and longer than this are shortened, in the table itself.
        norm_type: the exponent of the norm.
        scale_grad_by_freq: whether the gradient of a row is divided by how often it is looked up.
        sparse: accepted; gradients are always dense.

    Returns:
        A tensor [*input.shape, features]; NaN where a row number is out of range.

    Raises:
        DTypeError: the row numbers are not integers.
        ShapeError: the table is no matrix.
        ArgumentError: padding_idx is no row.

    Example:
        >>> plait.nn.functional.embedding(plait.tensor([1, 0]), plait.tensor([[1.0, 2.0], [3.0, 4.0]]))
        tensor([[3., 4.],
                [1., 2.]])
    """
    index, table = _index(input, "embedding"), _table(weight, "embedding")
    padding = None if padding_idx is None else row_number("padding_idx", padding_idx, table.shape[0])
    if max_norm is not None:
        _shorten(table, index, max_norm, norm_type)
    return _embedded(wrap(index), table, padding, scale_grad_by_freq)


@composite
def _embedded(index: Tensor, table: Tensor, padding: int | None, is_scaled: bool) -> Tensor:
    numbers = node_of(index)
    return wrap(_marked(_rows(table, numbers, padding, is_scaled), _is_missing(numbers, table.shape[0])))


# bags


def _bags(index: Node, offsets: Any, include_last_offset: bool) -> tuple[Node, int]:
    """Return the number of the bag of each element, and how many bags there are."""
    starts = _index(offsets, "embedding_bag")
    if starts.ndim != 1 or include_last_offset and not starts.shape[0]:
        expected = "a vector of at least one" if include_last_offset else "a vector"
        raise ShapeError(message("The offsets of embedding_bag are a vector", f"shape {starts.shape}", expected))
    count = starts.shape[0] - include_last_offset
    if include_last_offset:
        starts = P.slice(starts, starts=(0,), limits=(count,), strides=(1,))
    zeros = P.broadcast(scalar_node(0, int64), shape=index.shape, axes=())
    ones = P.broadcast(scalar_node(1, int64), shape=starts.shape, axes=())
    begun = P.cumsum(P.scatter_add(zeros, ones, starts, axes=(0,)), axis=0, reverse=False)
    return begun - scalar_node(1, int64), count


class _Bags:
    """Reductions over the bags of rows: the second axis of [bags, elements, features], or by numbers of bags."""

    def __init__(self, index: Node, offsets: Any, include_last_offset: bool) -> None:
        self.numbers: Node | None = None
        if offsets is not None:
            self.numbers, self.count = _bags(index, offsets, include_last_offset)

    def reduce(self, rows: Node, start: float, inner: str, scatter: str) -> Node:
        """Reduce rows of any number of features."""
        if self.numbers is None:
            return getattr(P, inner)(rows, axes=(1,))  # type: ignore[no-any-return]
        shape = (self.count, *rows.shape[1:])
        first = P.broadcast(scalar_node(start, rows.dtype), shape=shape, axes=())
        return getattr(P, scatter)(first, rows, self.numbers, axes=(0,))  # type: ignore[no-any-return]

    def sum(self, rows: Node) -> Node:
        """Sum the rows of each bag."""
        return self.reduce(rows, 0, "reduce_sum", "scatter_add")

    def max(self, rows: Node) -> Node:
        """Return the largest element of each feature; minus infinity for an empty bag."""
        if self.numbers is None and not rows.shape[1]:
            return P.broadcast(scalar_node(-float("inf"), rows.dtype), shape=(rows.shape[0], rows.shape[2]), axes=())
        return self.reduce(rows, -float("inf"), "reduce_max", "scatter_max")


@composite
def embedding_bag(
    input: Any, weight: Any, offsets: Any = None, max_norm: float | None = None, norm_type: float = 2.0,
    scale_grad_by_freq: bool = False, mode: str = "mean", sparse: bool = False, per_sample_weights: Any = None,
    include_last_offset: bool = False, padding_idx: int | None = None,
) -> Tensor:  # fmt: skip
    """Return sums, means or maxima of rows of a table, one for each bag of row numbers.

    Args:
        input: integer row numbers [bags, elements], or a vector of them with `offsets`.
        weight: the table [rows, features].
        offsets: where each bag of the vector begins; the first is 0.
        max_norm: rows that are looked up and longer than this are shortened, in the table itself.
        norm_type: the exponent of the norm.
        scale_grad_by_freq: whether the gradient of a row is divided by how often it is looked up; not for "max".
        mode: "sum", "mean" or "max".
        sparse: accepted; gradients are always dense.
        per_sample_weights: factors of the rows, of the shape of `input`; only for "sum".
        include_last_offset: whether `offsets` ends with the number of elements.
        padding_idx: a row that counts nowhere.

    Returns:
        A tensor [bags, features]; 0 for an empty bag.

    Raises:
        ShapeError: the shapes do not fit.
        ArgumentError: an unknown mode, or arguments that exclude each other.
        DTypeError: the row numbers or offsets are not integers, or the dtypes differ.

    Example:
        >>> table = plait.tensor([[1.0, 2.0], [3.0, 4.0]])
        >>> plait.nn.functional.embedding_bag(plait.tensor([0, 1, 1]), table, plait.tensor([0, 2]), mode="sum")
        tensor([[4., 6.],
                [3., 4.]])
    """
    index, table = _index(input, "embedding_bag"), _table(weight, "embedding_bag")
    _check_bags(index, offsets, mode, per_sample_weights, scale_grad_by_freq)
    padding = None if padding_idx is None else row_number("padding_idx", padding_idx, table.shape[0])
    if max_norm is not None:
        _shorten(table, index, max_norm, norm_type)
    rows = _rows(table, index, padding, scale_grad_by_freq)
    bags, dtype = _Bags(index, offsets, include_last_offset), table.dtype

    def spread(x: Node) -> Node:
        return P.broadcast(x, shape=rows.shape, axes=tuple(range(index.ndim)))

    counted = P.broadcast(scalar_node(True, bool_), shape=index.shape, axes=())
    if padding is not None:
        counted = P.ne(index, scalar_node(padding, int64))
        lowest = scalar_node(-float("inf") if mode == "max" else 0, dtype)
        rows = P.select(spread(counted), rows, lowest)
    if per_sample_weights is not None:
        factors = as_operand(per_sample_weights, "embedding_bag")
        same_dtype(factors, table, "embedding_bag")
        rows = rows * spread(node_of(factors))
    result = bags.max(rows) if mode == "max" else bags.sum(rows)
    if mode != "sum":
        number = P.broadcast(bags.sum(converted(counted, dtype)), shape=result.shape, axes=(0,))
        result = result if mode == "max" else result / P.max(number, scalar_node(1, dtype))
        result = P.select(P.eq(number, scalar_node(0, dtype)), scalar_node(0, dtype), result)
    missing = bags.sum(P.convert(_is_missing(index, table.shape[0]), dtype=int64))
    return wrap(_marked(result, P.gt(missing, scalar_node(0, int64))))


def _check_bags(index: Node, offsets: Any, mode: str, factors: Any, is_scaled: bool) -> None:
    if mode not in ("sum", "mean", "max"):
        raise ArgumentError(message("Unknown mode of embedding_bag", repr(mode), "sum, mean or max"))
    if index.ndim not in (1, 2) or (offsets is None) != (index.ndim == 2):
        received = f"shape {index.shape}, offsets={'None' if offsets is None else 'given'}"
        expected = "[bags, elements] without offsets, or a vector with offsets"
        raise ShapeError(message("embedding_bag: input and offsets do not fit", received, expected))
    if factors is not None and mode != "sum":
        raise ArgumentError(message("per_sample_weights are for the mode sum", f"mode={mode!r}", "mode='sum'"))
    if factors is not None and tuple(factors.shape) != index.shape:
        text = "embedding_bag takes a weight for each row number"
        raise ShapeError(message(text, f"{tuple(factors.shape)} for {index.shape}"))
    if is_scaled and mode == "max":
        raise ArgumentError(message("scale_grad_by_freq is not for the mode max", "mode='max'", "sum or mean"))
