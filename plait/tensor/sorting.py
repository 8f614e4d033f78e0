"""Functions of the order of elements: sorting, selecting by rank, searching."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from math import nan
from typing import Any

from plait.core.dtype import bool_, int32, int64
from plait.core.errors import ArgumentError, ArgumentTypeError, ShapeError, message
from plait.core.graph import Node
from plait.core.primitive import P
from plait.prims.sort import take_along
from plait.tensor.axes import (
    along,
    applied,
    chosen,
    floating,
    kept,
    like_rank,
    positions,
    reduces,
    two_forms,
    wide,
    with_axis,
)
from plait.tensor.composite import composite
from plait.tensor.families import both_names
from plait.tensor.operators import promoted, scalar_node, single
from plait.tensor.results import ValuesIndices
from plait.tensor.tensor import Tensor, converted, to_node, wrap
from plait.tensor.views import detached

__all__ = [
    "argsort", "bucketize", "kthvalue", "median", "mode", "msort", "nanmedian", "nanpercentile", "nanquantile",
    "percentile", "quantile", "searchsorted", "sort", "topk",
]  # fmt: skip

_SHORT = 64  # elements of a line up to which it is sorted as fast as one is selected
_DESCENDING = "    descending: largest first.\n    stable: equal elements keep their order; always so.\n"
_PAIR = "The elements and their int64 positions"


def ordered(line: Node, axis: int, descending: bool = False) -> tuple[Node, Node]:
    """Return the sorted elements and where they were."""
    found = P.sort(line, positions(line, axis), axis=axis, keys=1, descending=descending)
    return found[0], found[1]


_SORTED = """Return the elements in order, NaN last.

In PyTorch's form (`dim` by position or name, and as a method) the elements and where they were."""


@along(_SORTED, "sort(plait.tensor([3, 1, 2]))\ntensor([1, 2, 3])", _DESCENDING)
def _sort(x: Any, axis: int = -1, descending: bool = False, stable: bool = True) -> Tensor:
    node = single(x, "sort")
    line, axis = with_axis(node, axis)
    return like_rank(P.sort(line, axis=axis, keys=1, descending=descending)[0], node)


@along("", "")
def _sort_pair(x: Any, axis: int = -1, descending: bool = False, stable: bool = True) -> ValuesIndices:
    node = single(x, "sort")
    line, axis = with_axis(node, axis)
    values, indices = ordered(line, axis, descending)
    return ValuesIndices(like_rank(values, node), like_rank(indices, node))


sort = two_forms("sort", _sort, _sort_pair)


@along("Return the positions that sort.", "argsort(plait.tensor([3, 1, 2]))\ntensor([1, 2, 0])", _DESCENDING)
def argsort(x: Any, axis: int = -1, descending: bool = False, stable: bool = True) -> Tensor:
    node = single(x, "argsort")
    line, axis = with_axis(node, axis)
    return like_rank(P.argsort(line, axis=axis, descending=descending), node)


@both_names
def msort(x: Any) -> Tensor:
    """Return the elements in order along the first axis; see `sort`.

    Example:
        >>> plait.msort(plait.tensor([3, 1, 2]))
        tensor([1, 2, 3])
    """
    values: Tensor = _sort(x, 0)
    return values


@along(
    "Return the `k` largest (or smallest) elements along an axis, in order, and their positions.",
    "topk(plait.tensor([1, 4, 3]), 2)\nValuesIndices(values=tensor([4, 3]), indices=tensor([1, 2]))",
    "    k: how many.\n    largest: False for the smallest.\n    sorted: in order; always so.\n",
    "; `k` is negative or larger than the axis", f"{_PAIR}, both with size `k` on the axis",
)  # fmt: skip
@composite
def topk(x: Any, k: int, axis: int = -1, largest: bool = True, sorted: bool = True) -> ValuesIndices:
    node = single(x, "topk")
    line, position = with_axis(node, axis)
    if not 0 <= k <= line.shape[position]:
        text = "topk cannot take so many elements"
        raise ShapeError(message(text, f"k={k}", f"0 to {line.shape[position]}, the size of axis {axis}"))
    found = P.top_k(line, k=k.__index__(), axis=position, largest=bool(largest))
    return ValuesIndices(like_rank(found[0], node), like_rank(found[1], node))


# selection by rank


@reduces(
    "Return the `k`-th smallest element along an axis, and its position.",
    "kthvalue(plait.tensor([5, 7, 6]), 2)\nValuesIndices(values=tensor(6), indices=tensor(2))",
    "    k: which, counted from 1.\n", "; there is no `k`-th element", "the axis",
)  # fmt: skip
@composite
def kthvalue(x: Any, k: int, axis: int = -1, keepdims: bool = False) -> ValuesIndices:
    node = single(x, "kthvalue")
    line, position = with_axis(node, axis)
    size = line.shape[position]
    if not 1 <= k <= size:
        raise ShapeError(message("kthvalue counts from 1", f"k={k}", f"1 to {size}, the size of axis {axis}"))
    shape = tuple([1 if a == position else n for a, n in enumerate(line.shape)])
    index = _of_rank(line, position, P.broadcast(scalar_node(k - 1, int64), shape=shape, axes=()))
    return ValuesIndices(*chosen(line, index, position, node, keepdims, False))


def _of_rank(line: Node, axis: int, rank: Node) -> Node:
    """Return the first position of the elements of a rank; NaN is equal to NaN."""
    value = _ranked(detached(line), axis, rank)
    is_equal = P.bitwise_or(P.eq(line, value), P.bitwise_and(P.ne(line, line), P.ne(value, value)))
    return kept(P.argmax(is_equal, axis=axis, dtype=int64), axis)


def _ranked(line: Node, axis: int, rank: Node) -> Node:
    """Return the elements of one rank; short lines are sorted, which is done side by side."""
    if line.shape[axis] > _SHORT:
        return P.order_statistic(line, rank, axis=axis)
    return take_along(P.sort(line, axis=axis, keys=1, descending=False)[0], rank, axis)


def _median(name: str, what: str, sample: str, result: str, ignore: bool) -> Any:
    """Make median or nanmedian."""
    text = f"""Return the median{what}: the lower one of two; with an axis also its position.

    With `axis=` it is NumPy's: the mean of the two middle elements, without a position."""
    example = f"{name}(plait.tensor({sample}))\ntensor({result})"

    @reduces(text.replace("\n    ", "\n"), example, raises="; the axis is empty", axis="the axis, or None for all")
    def function(x: Any, axis: int | None = None, keepdims: bool = False) -> Any:
        node = single(x, name)
        line, position = with_axis(node, axis)
        size = line.shape[position]
        if not size:
            if axis is None and node.dtype.is_floating:
                return wrap(scalar_node(nan, node.dtype))
            raise ShapeError(message(f"{name} of no elements is undefined", node.aval, "an axis that is not empty"))
        rank = _middle(line, position, ignore)
        if axis is None:
            found = _ranked(line, 0, rank)
            return wrap(P.reshape(found, shape=(1,) * node.ndim if keepdims else ()))
        index = _of_rank(line, position, rank)
        return ValuesIndices(*chosen(line, index, position, node, keepdims, False))

    function.__name__ = function.__qualname__ = name
    return function


def _middle(line: Node, axis: int, ignore: bool) -> Node:
    """Return the rank of the median: that of the first NaN if there is one, unless these are ignored."""
    size = scalar_node(line.shape[axis], int64)
    one, two = scalar_node(1, int64), scalar_node(2, int64)
    valid = converted(P.eq(line, line), int64)
    count = applied("reduce_sum", valid, axis, True)
    lower = P.div(P.max(count - one, scalar_node(0, int64)), two)
    return lower if ignore else P.select(P.eq(count, size), lower, count)


median = _median("median", "; NaN if there is one", "[1.0, 7.0, 3.0, 5.0]", "3.", False)
nanmedian = _median("nanmedian", " of the elements that are not NaN", "[1.0, float('nan'), 3.0]", "1.", True)


@reduces(
    "Return the most frequent element along an axis (of several the smallest), and the last position where it is.",
    "mode(plait.tensor([3, 1, 2, 1]))\nValuesIndices(values=tensor(1), indices=tensor(3))", axis="the axis",
    raises="; the axis is empty",
)  # fmt: skip
@composite
def mode(x: Any, axis: int = -1, keepdims: bool = False) -> ValuesIndices:
    node = single(x, "mode")
    line, axis = with_axis(node, axis)
    values, places = ordered(line, axis)
    here = positions(line, axis)
    starts = P.select(_is_first(values, axis), here, scalar_node(0, int64))
    run = here - P.cummax(starts, axis=axis, reverse=False)
    last = kept(P.argmax(run, axis=axis, dtype=int64), axis)
    return ValuesIndices(*chosen(line, take_along(places, last, axis), axis, node, keepdims, False))


def _is_first(values: Node, axis: int) -> Node:
    """Whether an element of a sorted line differs from the one before."""
    start, size = [0] * values.ndim, list(values.shape)
    start[axis] = 1
    size[axis] = max(size[axis] - 1, 0)
    steps = (1,) * values.ndim
    later = P.slice(values, starts=tuple(start), limits=values.shape, strides=steps)
    earlier = P.slice(values, starts=(0,) * values.ndim, limits=tuple(size), strides=steps)
    low = tuple([int(k == axis) for k in range(values.ndim)])
    none = (0,) * values.ndim
    return P.pad(P.ne(later, earlier), scalar_node(True, bool_), low=low, high=none, interior=none)


_INTERPOLATION = """    q: the fraction from 0 to 1, a number or a vector of them.
    interpolation: what is between two ranks: "linear", "lower", "higher", "midpoint" or "nearest"
        (`method` is NumPy's name).
"""
_METHODS = ("linear", "lower", "higher", "midpoint", "nearest")


def _quantile(name: str, what: str, sample: str, result: str, ignore: bool) -> Any:
    """Make quantile or nanquantile."""

    @reduces(
        f"Return the quantiles{what}; those of a vector `q` along a first axis (Hyndman and Fan, 1996, type 7).",
        f"{name}(plait.tensor({sample}), 0.5)\ntensor({result})", _INTERPOLATION, "; `q` has several axes",
        "the axis, or None for all",
    )  # fmt: skip
    def function(
        x: Any, q: Any, axis: int | None = None, keepdims: bool = False, interpolation: str = "linear",
        method: str | None = None,
    ) -> Tensor:  # fmt: skip
        node = floating(x, name)
        _check_fraction(q, method or interpolation, name)
        fraction = to_node(q, node.dtype)
        line, position = with_axis(node, axis)
        found = _at_fractions(line, position, fraction, method or interpolation, ignore)
        rest = found.shape[1:]
        if keepdims:
            rest = (1,) * node.ndim if axis is None else (*rest[:position], 1, *rest[position:])
        return wrap(P.reshape(found, shape=(*fraction.shape, *(rest if node.ndim else ()))))

    function.__name__ = function.__qualname__ = name
    return function


def _check_fraction(q: Any, interpolation: str, name: str) -> None:
    if interpolation not in _METHODS:
        raise ArgumentError(message(f"Unknown interpolation of {name}", repr(interpolation), f"one of {_METHODS}"))
    if isinstance(q, (int, float)) and not 0 <= q <= 1:
        raise ArgumentError(message(f"{name} takes fractions", f"q={q}", "0 to 1"))
    if single(q, name).ndim > 1:
        raise ShapeError(message(f"{name} takes a number or a vector of fractions", single(q, name).aval))


def _at_fractions(line: Node, axis: int, fraction: Node, interpolation: str, ignore: bool) -> Node:
    """Return the quantiles of the lines, without their axis; the fractions are a first axis."""
    dtype = line.dtype
    last = line.ndim - 1
    permutation = (*[k for k in range(line.ndim) if k != axis], axis)
    values = P.sort(P.transpose(line, permutation=permutation), axis=last, keys=1, descending=False)[0]
    size = scalar_node(values.shape[last], int64)
    one, zero = scalar_node(1, int64), scalar_node(0, int64)
    valid = applied("reduce_sum", converted(P.eq(values, values), int64), last, True)
    highest = P.max((valid if ignore else size) - one, zero)
    shape = (*values.shape[:last], fraction.aval.size)
    flat = P.reshape(fraction, shape=(fraction.aval.size,))
    # ranks are computed wide: a half has no integers above 2048
    rank = wide(P.broadcast(flat, shape=shape, axes=(last,))) * converted(highest, dtype.compute)
    if not ignore:
        rank = P.select(P.eq(valid, size), rank, converted(size - one, rank.dtype))
    if interpolation == "nearest":
        rank = P.round(rank)
    low = P.floor(rank)
    below, above = [take_along(values, converted(at(rank), int64), last) for at in (P.floor, P.ceil)]
    weight = rank - low if interpolation == "linear" else scalar_node(_WEIGHT[interpolation], rank.dtype)
    gap = P.select(P.eq(below, above), scalar_node(0, dtype), above - below)
    result = below + converted(P.broadcast(weight, shape=shape, axes=tuple(range(weight.ndim))), dtype) * gap
    return P.transpose(result, permutation=(last, *range(last)))


_WEIGHT = {"lower": 0.0, "higher": 1.0, "midpoint": 0.5, "nearest": 0.0}
quantile = _quantile("quantile", "; NaN if there is one", "[1.0, 2.0, 4.0, 8.0]", "3.", False)
nanquantile = _quantile("nanquantile", " of the elements that are not NaN", "[1.0, float('nan'), 3.0]", "2.", True)


def _with_numpy_form(pytorch: Any, fractional: Any) -> Any:
    @wraps(pytorch)
    def function(*args: Any, **kwargs: Any) -> Any:
        return fractional(*args, q=0.5, **kwargs) if "axis" in kwargs else pytorch(*args, **kwargs)

    return function


median, nanmedian = _with_numpy_form(median, quantile), _with_numpy_form(nanmedian, nanquantile)


def _percentile(name: str, function: Callable[..., Tensor]) -> Any:
    @reduces(
        f"Return percentiles: `{function.__name__}` of `q` / 100.",
        f"{name}(plait.tensor([1.0, 2.0, 4.0]), 50)\ntensor(2.)",
        _INTERPOLATION.replace("to 1,", "to 100,"), axis="the axis, or None for all",
    )  # fmt: skip
    def percentile(x: Any, q: Any, axis: int | None = None, keepdims: bool = False, method: str = "linear") -> Tensor:
        return function(
            x, q / 100 if isinstance(q, (int, float)) else wrap(floating(q, name) / 100.0), axis, keepdims, method
        )

    percentile.__name__ = percentile.__qualname__ = name
    return percentile


percentile, nanpercentile = _percentile("percentile", quantile), _percentile("nanpercentile", nanquantile)

# searching


def _search(sequence: Node, values: Node, right: bool) -> Node:
    """Return how many elements of each sorted line of `sequence` are below (with `right`, not above) the values.

    The values have the axes of the lines in front of the last one, or, if there is one line, any axes.
    """
    size = sequence.shape[-1]
    found = P.broadcast(scalar_node(0, int64), shape=values.shape, axes=())
    if not size or not values.aval.size:
        return found
    lines = sequence.ndim - 1
    heads = [P.iota(dtype=int64, shape=values.shape, axis=k) for k in range(lines)]
    step = 1 << (size.bit_length() - 1)
    while step:
        candidate = found + scalar_node(step, int64)
        inside = P.le(candidate, scalar_node(size, int64))
        element = P.gather(
            sequence, *heads, candidate - scalar_node(1, int64), axes=tuple(range(lines + 1)), mode="clip"
        )
        passed = P.bitwise_and(inside, _stands_before(element, values, right))
        found = P.select(passed, candidate, found)
        step //= 2
    return found


def _stands_before(element: Node, value: Node, right: bool) -> Node:
    """Whether an element is below the value (or equal, with `right`); NaN is above all numbers and equal to NaN."""
    before = P.le(element, value) if right else P.lt(element, value)
    if not element.dtype.is_floating:
        return before
    is_missing = P.ne(value, value)
    return P.bitwise_or(before, is_missing if right else P.bitwise_and(is_missing, P.eq(element, element)))


@both_names
@composite
def searchsorted(
    sorted_sequence: Any, x: Any, *, out_int32: bool = False, right: bool = False, side: str | None = None,
    sorter: Any = None,
) -> Tensor:  # fmt: skip
    """Return where values would be inserted into sorted lines to keep them sorted.

    Args:
        sorted_sequence: lines in ascending order along the last axis.
        x: the values (`input` is another name): of any shape for a vector, else with the axes of the lines.
        out_int32: return int32 in place of int64.
        right: behind equal elements; `side="right"` says the same.
        side: "left" or "right".
        sorter: the positions that sort `sorted_sequence`, if it is not sorted.

    Returns:
        Positions in the shape of `x`.

    Raises:
        ShapeError: the shapes do not match.
        ArgumentError: `side` is neither "left" nor "right", or contradicts `right`.

    Example:
        >>> plait.searchsorted(plait.tensor([1, 3, 5]), plait.tensor([3, 6]))
        tensor([1, 3])
    """
    if side not in (None, "left", "right") or (side == "left" and right):
        raise ArgumentError(
            message("Unknown side of searchsorted", f"side={side!r}, right={right}", '"left" or "right"')
        )
    sequence, values = promoted((sorted_sequence, x), "searchsorted")
    if not sequence.ndim or (sequence.ndim > 1 and sequence.shape[:-1] != values.shape[:-1]):
        text = "searchsorted takes one vector, or lines with the leading axes of the values"
        raise ShapeError(message(text, f"{sequence.aval} and {values.aval}"))
    if sorter is not None:
        order = single(sorter, "searchsorted")
        if not order.dtype.is_integer or order.shape != sequence.shape:
            text = "The sorter holds integer positions in the shape of the sequence"
            raise ArgumentTypeError(message(text, order.aval, sequence.aval))
        sequence = take_along(sequence, converted(order, int64), sequence.ndim - 1)
    found = _search(sequence, values, right or side == "right")
    return wrap(converted(found, int32) if out_int32 else found)


@both_names
@composite
def bucketize(x: Any, boundaries: Any, *, out_int32: bool = False, right: bool = False) -> Tensor:
    """Return the number of the bucket of each element: `searchsorted` with the boundaries second.

    Args:
        x: a tensor of any shape.
        boundaries: a vector in ascending order.
        out_int32: return int32 in place of int64.
        right: a boundary belongs to the bucket above it, not to that below.

    Returns:
        Positions in the shape of `x`.

    Raises:
        ShapeError: the boundaries are not a vector.

    Example:
        >>> plait.bucketize(plait.tensor([3, 6, 9]), plait.tensor([1, 3, 5, 7]))
        tensor([1, 3, 4])
    """
    if single(boundaries, "bucketize").ndim != 1:
        raise ShapeError(message("The boundaries of bucketize are a vector", single(boundaries, "bucketize").aval))
    return searchsorted(boundaries, x, out_int32=out_int32, right=right)
