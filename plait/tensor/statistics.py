"""Counting in bins, covariance, and tests of closeness."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

from plait.core.aval import aval
from plait.core.dtype import float64, int64
from plait.core.errors import ArgumentError, ArgumentTypeError, ShapeError, message
from plait.core.graph import Node, full
from plait.core.primitive import P
from plait.tensor.axes import floating
from plait.tensor.composite import composite
from plait.tensor.families import both_names
from plait.tensor.operators import common_dtype, scalar_node, single, to_float
from plait.tensor.reductions import amax, amin
from plait.tensor.results import Histogram
from plait.tensor.sorting import searchsorted
from plait.tensor.tensor import Tensor, converted, to_node, wrap

__all__ = ["bincount", "corrcoef", "cov", "histc", "histogram", "histogramdd"]


def _counted(index: Node, weights: Node | None, size: int) -> Node:
    """Return how often each number below `size` occurs in a vector, or the sums of its weights."""
    updates = P.broadcast(scalar_node(1, int64), shape=index.shape, axes=()) if weights is None else weights
    return P.scatter_add(full(0, aval(updates.dtype, (size,))), updates, index, axes=(0,))


@both_names
def bincount(x: Any, weights: Any = None, minlength: int = 0, size: int | None = None) -> Tensor:
    """Return how often each non-negative integer occurs. The largest one is looked at, unless `size` is given.

    Args:
        x: a vector of non-negative integers.
        weights: what each counts, of the shape of `x`; None for 1.
        minlength: the least length of the result.
        size: the length of the result, for functions under `jit`; larger integers are not counted.

    Returns:
        A vector of int64; with weights float32 for these, else float64.

    Raises:
        ShapeError: `x` is not a vector, or the weights have another shape.
        ArgumentTypeError: `x` is not of integers.
        ArgumentError: an element is negative.
        AbstractValueError: the values are not known, and no `size` is given.

    Example:
        >>> plait.bincount(plait.tensor([1, 3, 1]))
        tensor([0, 2, 0, 1])
    """
    node = single(x, "bincount")
    if node.ndim != 1:
        raise ShapeError(message("bincount takes a vector", node.aval))
    if not node.dtype.is_integer:
        raise ArgumentTypeError(
            message("bincount takes integers", node.dtype.name, None, "convert with .to(plait.int64)")
        )
    index = converted(node, int64)
    if size is None:
        low, high = (amin(wrap(index)).item(), amax(wrap(index)).item()) if node.aval.size else (0, -1)
        if low < 0:
            raise ArgumentError(message("bincount takes non-negative integers", low))
        size = max(int(high) + 1, minlength)
    values = None if weights is None else single(weights, "bincount")
    if values is not None:
        if values.shape != node.shape:
            raise ShapeError(message("The weights of bincount have a wrong shape", values.aval, node.shape))
        values = values if values.dtype.is_floating and values.dtype.bits == 32 else converted(values, float64)
    return wrap(_counted(index, values, size))


# histograms


def _limits(values: Node, low: Any, high: Any, margin: float) -> tuple[Node, Node]:
    """Return the limits of a histogram: those of the values where both are equal; `margin` parts equal ones."""
    dtype = values.dtype
    given = scalar_node(float(low), dtype), scalar_node(float(high), dtype)
    if low > high:
        raise ArgumentError(message("The limits of a histogram are in order", f"{low}, {high}", "low <= high"))
    if low == high and not values.aval.size:
        return given[0], scalar_node(float(high) + 1, dtype)
    if low == high:
        axes = tuple(range(values.ndim))
        given = P.reduce_min(values, axes=axes), P.reduce_max(values, axes=axes)
    apart = scalar_node(margin, dtype)
    same = P.eq(*given)
    return P.select(same, given[0] - apart, given[0]), P.select(same, given[1] + apart, given[1])


def _bin(values: Node, low: Node, high: Node, bins: int) -> Node:
    """Return the number of the bin of each value, the last one closed; `bins` for those outside and for NaN."""
    last, count = scalar_node(bins - 1, int64), scalar_node(bins, int64)
    inside = P.bitwise_and(P.ge(values, low), P.le(values, high))
    scaled = (values - low) * scalar_node(bins, values.dtype) / (high - low)
    number = converted(P.select(inside, scaled, scalar_node(0, values.dtype)), int64)
    return P.select(inside, P.min(number, last), count)


@both_names
@composite
def histc(x: Any, bins: int = 100, min: float = 0, max: float = 0) -> Tensor:
    """Return how many elements are in each of equal bins; those outside and NaN are not counted.

    Args:
        x: a tensor of any shape.
        bins: how many.
        min: the lower limit.
        max: the upper limit, which belongs to the last bin; where both are equal, the extremes of `x` are taken.

    Returns:
        A vector of `bins` counts in the dtype of `x`.

    Raises:
        ArgumentError: `bins` is not positive, or the limits are not in order.

    Example:
        >>> plait.histc(plait.tensor([1.0, 2.0, 1.0]), 4, 0, 3)
        tensor([0., 2., 1., 0.])
    """
    given = single(x, "histc")
    if bins < 1:
        raise ArgumentError(message("histc needs bins", f"bins={bins}", "at least 1"))
    node = converted(given, to_float(given.dtype).compute)
    flat = P.reshape(node, shape=(node.aval.size,))
    low, high = _limits(flat, min, max, 1.0)
    return wrap(converted(_counted(_bin(flat, low, high, bins), None, bins), given.dtype))


def _edges(column: Node, bins: Any, low: Any, high: Any) -> Node:
    """Return the edges of the bins of one column."""
    if isinstance(bins, (Tensor, list, tuple)):
        edges = to_node(bins, column.dtype)
        if edges.ndim != 1 or edges.shape[0] < 2:
            raise ShapeError(message("The edges of a histogram are a vector", edges.aval, "at least two"))
        return edges
    if not hasattr(bins, "__index__"):
        expected = "an integer, or a vector of edges"
        raise ArgumentTypeError(message("bins of a histogram is a count or edges", repr(bins)[:60], expected))
    if int(bins) < 1:
        raise ArgumentError(message("A histogram needs bins", f"bins={bins}", "at least 1"))
    start, stop = _limits(column, low, high, 0.5)
    number = converted(P.iota(dtype=int64, shape=(int(bins) + 1,), axis=0), column.dtype)
    step = (stop - start) / scalar_node(int(bins), column.dtype)
    rising = start + number * step
    # the ends are exact, and the halves mirror each other
    falling = stop - (scalar_node(int(bins), column.dtype) - number) * step
    return P.select(P.lt(number, scalar_node((int(bins) + 1) / 2, column.dtype)), rising, falling)


def _density(counts: Node, edges: Sequence[Node]) -> Node:
    """Divide counts by their sum and the volumes of the bins."""
    result = counts / P.reduce_sum(counts, axes=tuple(range(counts.ndim)))
    for axis, e in enumerate(edges):
        size = e.shape[0] - 1
        upper, lower = (P.slice(e, starts=(k,), limits=(k + size,), strides=(1,)) for k in (1, 0))
        result = result / P.broadcast(upper - lower, shape=counts.shape, axes=(axis,))
    return result


def _histogram(points: Node, edges: Sequence[Node], weight: Any, density: bool, name: str) -> Node:
    """Count the rows of a matrix of points in the cells of a grid."""
    sizes = [e.shape[0] - 1 for e in edges]
    total, one = prod(sizes), scalar_node(1, int64)
    cell = P.broadcast(scalar_node(0, int64), shape=points.shape[:1], axes=())
    inside: Node | None = None
    for axis, (e, size) in enumerate(zip(edges, sizes, strict=True)):
        column = _column(points, axis)
        number = searchsorted(wrap(e), wrap(column), right=True)._node - one
        last = P.slice(e, starts=(size,), limits=(size + 1,), strides=(1,))
        number = P.select(P.eq(column, last), scalar_node(size - 1, int64), number)
        within = P.bitwise_and(P.ge(number, scalar_node(0, int64)), P.lt(number, scalar_node(size, int64)))
        inside = within if inside is None else P.bitwise_and(inside, within)
        cell = cell * scalar_node(size, int64) + number
    if inside is not None:
        cell = P.select(inside, cell, scalar_node(total, int64))
    weights = None
    if weight is not None:
        given = converted(single(weight, name), points.dtype)
        if given.aval.size != points.shape[0]:
            raise ShapeError(message(f"{name} takes one weight for each point", given.aval, points.shape[0]))
        weights = P.reshape(given, shape=(points.shape[0],))
    counts = P.reshape(converted(_counted(cell, weights, total), points.dtype), shape=tuple(sizes))
    return _density(counts, edges) if density else counts


def _column(points: Node, axis: int) -> Node:
    part = P.slice(points, starts=(0, axis), limits=(points.shape[0], axis + 1), strides=(1, 1))
    return P.reshape(part, shape=(points.shape[0],))


@both_names
def histogram(x: Any, bins: Any, *, range: Any = None, weight: Any = None, density: bool = False) -> Histogram:
    """Return a histogram of the elements and the edges of its bins.

    Args:
        x: a floating tensor of any shape.
        bins: how many, or a vector of their edges in ascending order.
        range: lower and upper limit; by default the extremes of `x`.
        weight: what each element counts, of the shape of `x`; None for 1.
        density: divide by the total and the widths of the bins.

    Returns:
        The counts in the dtype of `x`, and the edges; the last bin is closed.

    Raises:
        ArgumentError: no bins, or limits that are not in order.
        ShapeError: the weights have another shape, or the edges are no vector.

    Example:
        >>> plait.histogram(plait.tensor([1.0, 2.0, 1.0]), 4, range=(0.0, 3.0)).hist
        tensor([0., 2., 1., 0.])
    """
    node = floating(x, "histogram")
    points = P.reshape(node, shape=(node.aval.size, 1))
    edges = _edges(_column(points, 0), bins, *(range or (0.0, 0.0)))
    return Histogram(wrap(_histogram(points, [edges], weight, density, "histogram")), wrap(edges))


@both_names
def histogramdd(x: Any, bins: Any, range: Any = None, weight: Any = None, density: bool = False) -> Histogram:
    """Return a histogram of points in several dimensions and the edges of its bins.

    Args:
        x: points: the last axis has their coordinates.
        bins: how many, one number or one for each coordinate; or for each coordinate a vector of edges.
        range: lower and upper limits of the coordinates, one after the other; by default the extremes.
        weight: what each point counts; None for 1.
        density: divide by the total and the volumes of the bins.

    Returns:
        The counts, with an axis for each coordinate, and a tuple of edges.

    Raises:
        ArgumentError: no bins, or limits that are not in order or too few.
        ShapeError: `x` has fewer than two axes, or the weights another shape.

    Example:
        >>> plait.histogramdd(plait.tensor([[0.0, 1.0], [1.0, 0.0], [1.0, 1.0]]), bins=[2, 2]).hist
        tensor([[0., 1.],
                [1., 1.]])
    """
    node = floating(x, "histogramdd")
    if node.ndim < 2:
        raise ShapeError(message("histogramdd takes points as rows", node.aval, "at least two axes"))
    count = node.shape[-1]
    points = P.reshape(node, shape=(prod(node.shape[:-1]), count))
    each = list(bins) if isinstance(bins, (list, tuple)) else [bins] * count
    limits = list(range) if range is not None else [0.0] * (2 * count)
    if len(each) != count or len(limits) != 2 * count:
        received = f"{len(each)} bins and {len(limits)} limits for {count} coordinates"
        raise ArgumentError(message("histogramdd takes bins and limits for each coordinate", received))
    pairs = zip(limits[::2], limits[1::2], strict=True)
    edges = [_edges(_column(points, k), b, *pair) for k, (b, pair) in enumerate(zip(each, pairs, strict=True))]
    return Histogram(wrap(_histogram(points, edges, weight, density, "histogramdd")), tuple(wrap(e) for e in edges))


# covariance


def _weights(values: Any, count: int, name: str, what: str) -> Node | None:
    if values is None:
        return None
    node = single(values, name)
    if node.shape != (count,):
        raise ShapeError(message(f"{what} of {name} are one number for each observation", node.aval, (count,)))
    if what == "fweights" and not node.dtype.is_integer:
        raise ArgumentTypeError(message("fweights of cov count repetitions", node.dtype.name, "integers"))
    return node


@both_names
@composite
def cov(x: Any, *, correction: float = 1, fweights: Any = None, aweights: Any = None) -> Tensor:
    """Return the covariance matrix of variables.

    Args:
        x: a matrix whose rows are variables and whose columns are observations; or a vector: one variable.
        correction: subtracted from the number of observations.
        fweights: how often each observation is repeated, integers.
        aweights: the importance of each observation.

    Returns:
        A square matrix; for one variable its variance, without axes.

    Raises:
        ShapeError: `x` has more than two axes, or the weights another shape.
        ArgumentTypeError: `fweights` are not integers.

    Example:
        >>> plait.cov(plait.tensor([[0.0, 1.0, 2.0], [2.0, 1.0, 0.0]]))
        tensor([[ 1., -1.],
                [-1.,  1.]])
    """
    node = floating(x, "cov")
    if aweights is not None:
        node = converted(node, common_dtype([node.dtype, single(aweights, "cov").dtype]))
    if node.ndim > 2:
        raise ShapeError(message("cov takes a matrix of variables and observations", node.aval, "at most two axes"))
    rows = P.reshape(node, shape=node.shape if node.ndim == 2 else (1, node.aval.size))
    count, dtype = rows.shape[1], rows.dtype
    repeats = _weights(fweights, count, "cov", "fweights")
    importance = _weights(aweights, count, "cov", "aweights")
    given = [converted(w, dtype) for w in (repeats, importance) if w is not None]
    weights = given[0] * given[1] if len(given) == 2 else given[0] if given else None
    total = scalar_node(count, dtype) if weights is None else P.reduce_sum(weights, axes=(0,))
    weighted = rows if weights is None else rows * weights
    mean = P.reshape(P.reduce_sum(weighted, axes=(1,)) / total, shape=(rows.shape[0], 1))
    centred = rows - mean
    freedom = scalar_node(correction, dtype)
    if importance is not None and weights is not None:
        freedom = freedom * P.reduce_sum(weights * converted(importance, dtype), axes=(0,)) / total
    divisor = total - freedom
    zero = scalar_node(0, divisor.dtype)
    divisor = P.select(P.gt(P.real(divisor) if dtype.is_complex else divisor, 0), divisor, zero)
    other = P.conj(centred) if dtype.is_complex else centred
    product = P.dot_general(
        centred if weights is None else centred * weights, other, contract=((1,), (1,)), batch=((), ())
    )
    result = product / divisor
    return wrap(result if node.ndim == 2 and rows.shape[0] != 1 else P.reshape(result, shape=()))


@both_names
@composite
def corrcoef(x: Any) -> Tensor:
    """Return the correlation coefficients (Pearson) of variables.

    Args:
        x: a matrix whose rows are variables and whose columns are observations; or a vector: one variable.

    Returns:
        A square matrix; for one variable 1, without axes.

    Raises:
        ShapeError: `x` has more than two axes.

    Example:
        >>> plait.corrcoef(plait.tensor([[0.0, 1.0, 2.0], [2.0, 1.0, 0.0]]))
        tensor([[ 1., -1.],
                [-1.,  1.]])
    """
    node = cov(x)._node
    if not node.ndim:
        return wrap(node / node)
    size = node.shape[0]
    places = P.iota(dtype=int64, shape=(size,), axis=0)
    variance = P.gather(node, places, places, axes=(0, 1), mode="clip")
    deviation = P.sqrt(P.real(variance) if node.dtype.is_complex else variance)
    scaled = node / converted(P.reshape(deviation, shape=(size, 1)), node.dtype) / converted(deviation, node.dtype)
    if node.dtype.is_complex:
        one = scalar_node(1, node.dtype.real)
        return wrap(P.complex(P.clamp(P.real(scaled), -one, one), P.clamp(P.imag(scaled), -one, one)))
    one = scalar_node(1, node.dtype)
    return wrap(P.clamp(scaled, -one, one))
