"""Functions that reduce or accumulate along axes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import inf, prod as product
from typing import Any

from plait.core.dtype import as_dtype, bool_, int64, uint8, uint64
from plait.core.errors import ArgumentError, ArgumentTypeError, ShapeError, message
from plait.core.graph import Node
from plait.core.primitive import P
from plait.tensor.functions import both_names
from plait.tensor.operators import scalar_node, single, to_float
from plait.tensor.tensor import Tensor, axis_index, converted, wrap
from plait.tensor.views import detached

Axis = int | Sequence[int] | None
_DOCUMENT = """{summary}

Args:
    x: a tensor.
    axis: {axis} (`dim` is another name).
{more}
Returns:
    A tensor {result}.

Raises:
    ShapeError: `x` has no such axis, or one is named twice{raises}.
    DTypeError: the dtype of `x` is not accepted.

Example:
    >>> plait.{example}
"""
_KEEPDIMS = "    keepdims: whether reduced axes stay, with size 1 (`keepdim` is another name).\n"
_DTYPE = "    dtype: compute in this dtype; by default int64 for integers and bools.\n"
_EMPTY = "; a reduced axis is empty"


def _reduces(summary: str, example: str, more: str = "", raises: str = "") -> Callable[[Any], Any]:
    """Document a reduction and let it take both sets of argument names."""
    return _document(
        summary, example, _KEEPDIMS + more, "without the reduced axes", "an axis, several, or None for all", raises
    )


def _along(summary: str, example: str, more: str = "", raises: str = "") -> Callable[[Any], Any]:
    return _document(summary, example, more, "of the shape of `x`", "the axis", raises)


def _document(summary: str, example: str, more: str, result: str, axis: str, raises: str) -> Callable[[Any], Any]:
    text = example.replace("\n", "\n    ")

    def decorate(function: Any) -> Any:
        function.__doc__ = _DOCUMENT.format(
            summary=summary, example=text, more=more, result=result, axis=axis, raises=raises
        )
        return both_names(function)

    return decorate


def normalized_axes(axis: Any, ndim: int) -> tuple[int, ...]:
    """Return sorted axes counted from the first; None means all of them."""
    if axis is None:
        return tuple(range(ndim))
    if isinstance(axis, Tensor) and axis.ndim:
        text = "axis is an integer, not a tensor"
        raise ArgumentTypeError(message(text, axis.aval, None, "for two tensors use plait.maximum or plait.minimum"))
    axes = sorted(axis_index(a, ndim) for a in ([axis] if hasattr(axis, "__index__") else axis))
    if len(set(axes)) != len(axes):
        raise ShapeError(message("An axis is named twice", axis, "distinct axes"))
    return tuple(axes)


def _apply(prim: str, node: Node, axis: Axis, keepdims: bool) -> Node:
    axes = normalized_axes(axis, node.ndim)
    result: Node = getattr(P, prim)(node, axes=axes) if axes else node
    if keepdims and axes:
        result = P.reshape(result, shape=tuple([1 if i in axes else n for i, n in enumerate(node.shape)]))
    return result


def _floating(x: Any, name: str, dtype: Any = None) -> Node:
    node = single(x, name)
    return converted(node, to_float(node.dtype) if dtype is None else as_dtype(dtype))


def _wide(node: Node) -> Node:
    """Small floats are computed with in float32 throughout: a sum of many may not fit them."""
    return converted(node, node.dtype.compute)


def _narrow(node: Node, like: Node) -> Node:
    """Return a result of `_wide` operands in the precision of `like`: that of the parts for complex numbers."""
    return converted(node, like.dtype) if not like.dtype.is_complex else node


def _summable(x: Any, name: str, dtype: Any) -> Node:
    node = single(x, name)
    if dtype is not None:
        return converted(node, as_dtype(dtype))
    return node if node.dtype.is_inexact or node.dtype is uint64 else converted(node, int64)


def _count(node: Node, axis: Axis) -> int:
    return product(node.shape[a] for a in normalized_axes(axis, node.ndim))


@_reduces("Return the sum.", "sum(plait.tensor([[1, 2], [3, 4]]), axis=0)\ntensor([4, 6])", _DTYPE)
def sum(x: Any, axis: Axis = None, keepdims: bool = False, dtype: Any = None) -> Tensor:
    return wrap(_apply("reduce_sum", _summable(x, "sum", dtype), axis, keepdims))


@_reduces("Return the product.", "prod(plait.tensor([[1, 2], [3, 4]]), axis=0)\ntensor([3, 8])", _DTYPE)
def prod(x: Any, axis: Axis = None, keepdims: bool = False, dtype: Any = None) -> Tensor:
    return wrap(_apply("reduce_prod", _summable(x, "prod", dtype), axis, keepdims))


@_reduces("Return the mean; integers are converted to float32.", "mean(plait.tensor([1.0, 2.0]))\ntensor(1.5000)")
def mean(x: Any, axis: Axis = None, keepdims: bool = False, dtype: Any = None) -> Tensor:
    node = _floating(x, "mean", dtype)
    return wrap(_narrow(_mean(_wide(node), axis, keepdims, _count(node, axis)), node))


def _mean(node: Node, axis: Axis, keepdims: bool, count: float) -> Node:
    return _apply("reduce_sum", node, axis, keepdims) / scalar_node(count, node.dtype)


_CORRECTION = "    correction: subtracted from the number of elements; 0 as in NumPy, 1 for an unbiased estimate.\n"


@_reduces("Return the variance.", "var(plait.tensor([1.0, 3.0]))\ntensor(1.)", _CORRECTION)
def var(x: Any, axis: Axis = None, keepdims: bool = False, correction: float = 0.0) -> Tensor:
    node = _floating(x, "var")
    return wrap(_narrow(_variance(_wide(node), axis, keepdims, correction), node))


@_reduces("Return the standard deviation.", "std(plait.tensor([1.0, 5.0]))\ntensor(2.)", _CORRECTION)
def std(x: Any, axis: Axis = None, keepdims: bool = False, correction: float = 0.0) -> Tensor:
    node = _floating(x, "std")
    return wrap(_narrow(P.sqrt(_variance(_wide(node), axis, keepdims, correction)), node))


def _variance(node: Node, axis: Axis, keepdims: bool, correction: float) -> Node:
    count = _count(node, axis)
    centred = node - _mean(node, axis, True, count)
    magnitude = P.abs(centred) if node.dtype.is_complex else centred
    divisor = count - correction if count > correction else 0.0
    return _mean(magnitude * magnitude, axis, keepdims, divisor)


def _extreme(prim: str, x: Any, axis: Axis, keepdims: bool) -> Tensor:
    node = single(x, prim[7:])
    if node.dtype is not bool_:
        return wrap(_apply(prim, node, axis, keepdims))
    return wrap(converted(_apply(prim, converted(node, uint8), axis, keepdims), bool_))


@_reduces("Return the largest element; NaN if there is one.", "max(plait.tensor([1, 3, 2]))\ntensor(3)", raises=_EMPTY)
def max(x: Any, axis: Axis = None, keepdims: bool = False) -> Tensor:
    return _extreme("reduce_max", x, axis, keepdims)


@_reduces("Return the smallest element; NaN if there is one.", "min(plait.tensor([1, 3, 2]))\ntensor(1)", raises=_EMPTY)
def min(x: Any, axis: Axis = None, keepdims: bool = False) -> Tensor:
    return _extreme("reduce_min", x, axis, keepdims)


amax, amin = max, min


def _to_bool(x: Any, name: str) -> Node:
    node = single(x, name)
    return node if node.dtype is bool_ else P.ne(node, scalar_node(0, node.dtype))


@_reduces("Return whether any element is non-zero.", "any(plait.tensor([0, 2]))\ntensor(True)")
def any(x: Any, axis: Axis = None, keepdims: bool = False) -> Tensor:
    return wrap(_apply("reduce_or", _to_bool(x, "any"), axis, keepdims))


@_reduces("Return whether all elements are non-zero.", "all(plait.tensor([0, 2]))\ntensor(False)")
def all(x: Any, axis: Axis = None, keepdims: bool = False) -> Tensor:
    return wrap(_apply("reduce_and", _to_bool(x, "all"), axis, keepdims))


@_reduces("Return how many elements are non-zero.", "count_nonzero(plait.tensor([0, 2, 3]))\ntensor(2)")
def count_nonzero(x: Any, axis: Axis = None, keepdims: bool = False) -> Tensor:
    return wrap(_apply("reduce_sum", converted(_to_bool(x, "count_nonzero"), int64), axis, keepdims))


def _position(prim: str, x: Any, axis: int | None, keepdims: bool) -> Tensor:
    node = single(x, prim)
    if axis is None:
        flat = P.reshape(node, shape=(node.aval.size,))
        found = getattr(P, prim)(flat, axis=0, dtype=int64)
        return wrap(P.reshape(found, shape=(1,) * node.ndim) if keepdims and node.ndim else found)
    position = axis_index(axis, node.ndim)
    found = getattr(P, prim)(node, axis=position, dtype=int64)
    kept = tuple([1 if i == position else n for i, n in enumerate(node.shape)])
    return wrap(P.reshape(found, shape=kept) if keepdims else found)


@_reduces("Return the position of the (first) largest.", "argmax(plait.tensor([1, 3, 2]))\ntensor(1)", raises=_EMPTY)
def argmax(x: Any, axis: int | None = None, keepdims: bool = False) -> Tensor:
    return _position("argmax", x, axis, keepdims)


@_reduces("Return the position of the (first) smallest.", "argmin(plait.tensor([1, 3, 2]))\ntensor(0)", raises=_EMPTY)
def argmin(x: Any, axis: int | None = None, keepdims: bool = False) -> Tensor:
    return _position("argmin", x, axis, keepdims)


@_reduces("Return log(sum(exp(x))) without overflow.", "logsumexp(plait.tensor([1000.0, 1000.0]))\ntensor(1000.6932)")
def logsumexp(x: Any, axis: Axis = None, keepdims: bool = False) -> Tensor:
    node = _floating(x, "logsumexp")
    wide = _wide(node)
    if not _count(node, axis):
        return wrap(_narrow(P.log(_apply("reduce_sum", wide, axis, keepdims)), node))
    high = detached(_apply("reduce_max", wide, axis, True))
    # an infinite largest element would give inf - inf
    high = P.select(P.is_finite(high), high, scalar_node(0, high.dtype))
    total = P.log(_apply("reduce_sum", P.exp(wide - high), axis, True)) + high
    if not keepdims:
        axes = normalized_axes(axis, node.ndim)
        total = P.reshape(total, shape=tuple([n for i, n in enumerate(node.shape) if i not in axes]))
    return wrap(_narrow(total, node))


@_along("Return exp(x) divided by its sum over an axis.", "softmax(plait.zeros(2))\ntensor([0.5000, 0.5000])")
def softmax(x: Any, axis: int = -1, dtype: Any = None) -> Tensor:
    node = _floating(x, "softmax", dtype)
    scaled = P.exp(_below_largest(_wide(node), axis))
    return wrap(_narrow(scaled / _apply("reduce_sum", scaled, axis, True), node))


@_along("Return log(softmax(x)).", "log_softmax(plait.tensor([0.0, 0.0]))\ntensor([-0.6931, -0.6931])")
def log_softmax(x: Any, axis: int = -1, dtype: Any = None) -> Tensor:
    node = _floating(x, "log_softmax", dtype)
    shifted = _below_largest(_wide(node), axis)
    return wrap(_narrow(shifted - P.log(_apply("reduce_sum", P.exp(shifted), axis, True)), node))


def _below_largest(node: Node, axis: int) -> Node:
    return node - detached(_apply("reduce_max", node, axis, True)) if node.aval.size else node


_ORDER = "    ord: the order p of the norm: 2, 1, inf, -inf, 0 (number of non-zeros) or another number.\n"


@_reduces("Return the vector norm; its gradient at 0 is 0.", "norm(plait.tensor([3.0, 4.0]))\ntensor(5.)", _ORDER)
def norm(x: Any, ord: float = 2, axis: Axis = None, keepdims: bool = False) -> Tensor:
    node = _floating(x, "norm")
    size = P.abs(_wide(node))
    zero, one = scalar_node(0, size.dtype), scalar_node(1, size.dtype)
    if ord in (inf, -inf):
        result = _apply("reduce_max" if ord > 0 else "reduce_min", size, axis, keepdims)
    elif ord == 0:
        result = _apply("reduce_sum", converted(P.ne(size, zero), size.dtype), axis, keepdims)
    elif ord == 1:
        result = _apply("reduce_sum", size, axis, keepdims)
    elif ord == 2:
        total = _apply("reduce_sum", size * size, axis, keepdims)
        is_zero = P.eq(total, zero)
        # the derivative of sqrt at 0 is infinite: keep it away from a branch that is not taken
        result = P.select(is_zero, zero, P.sqrt(P.select(is_zero, one, total)))
    else:
        powers = P.pow(size, scalar_node(ord, size.dtype))
        result = P.pow(_apply("reduce_sum", powers, axis, keepdims), scalar_node(1.0 / ord, size.dtype))
    return wrap(_narrow(result, node))


def _cumulative(prim: str, x: Any, axis: int | None, dtype: Any, summed: bool) -> Tensor:
    node = _summable(x, prim, dtype) if summed else single(x, prim)
    if axis is None and node.ndim > 1:
        text = f"{prim} of several axes needs to know along which"
        raise ArgumentError(message(text, f"axis=None, shape {node.shape}", None, "pass e.g. axis=0"))
    if not node.ndim:
        node = P.reshape(node, shape=(1,))
    return wrap(getattr(P, prim)(node, axis=axis_index(0 if axis is None else axis, node.ndim), reverse=False))


@_along("Return running sums.", "cumsum(plait.tensor([1, 2, 3]))\ntensor([1, 3, 6])", _DTYPE)
def cumsum(x: Any, axis: int | None = None, dtype: Any = None) -> Tensor:
    return _cumulative("cumsum", x, axis, dtype, True)


@_along("Return running products.", "cumprod(plait.tensor([1, 2, 3]))\ntensor([1, 2, 6])", _DTYPE)
def cumprod(x: Any, axis: int | None = None, dtype: Any = None) -> Tensor:
    return _cumulative("cumprod", x, axis, dtype, True)


@_along("Return running maxima.", "cummax(plait.tensor([1, 3, 2]))\ntensor([1, 3, 3])")
def cummax(x: Any, axis: int | None = None) -> Tensor:
    return _cumulative("cummax", x, axis, None, False)


@_along("Return running minima.", "cummin(plait.tensor([3, 1, 2]))\ntensor([3, 1, 1])")
def cummin(x: Any, axis: int | None = None) -> Tensor:
    return _cumulative("cummin", x, axis, None, False)


@_along("Return running log(sum(exp(x))).", "logcumsumexp(plait.tensor([0.0, 0.0]))\ntensor([0.0000, 0.6931])")
def logcumsumexp(x: Any, axis: int | None = None) -> Tensor:
    return _cumulative("cumlogsumexp", wrap(_floating(x, "logcumsumexp")), axis, None, False)


# sorting


_DESCENDING = "    descending: largest first.\n    stable: equal elements keep their order; always so.\n"


@_along("Return the elements in order, NaN last.", "sort(plait.tensor([3, 1, 2]))\ntensor([1, 2, 3])", _DESCENDING)
def sort(x: Any, axis: int = -1, descending: bool = False, stable: bool = True) -> Tensor:
    node = single(x, "sort")
    if not node.ndim:
        return wrap(node)
    return wrap(P.sort(node, axis=axis_index(axis, node.ndim), keys=1, descending=descending)[0])


@_along("Return the positions that sort.", "argsort(plait.tensor([3, 1, 2]))\ntensor([1, 2, 0])", _DESCENDING)
def argsort(x: Any, axis: int = -1, descending: bool = False, stable: bool = True) -> Tensor:
    node = single(x, "argsort")
    if not node.ndim:
        return wrap(P.iota(dtype=int64, shape=(1,), axis=0)).reshape(())
    return wrap(P.argsort(node, axis=axis_index(axis, node.ndim), descending=descending))


@both_names
def topk(x: Any, k: int, axis: int = -1, largest: bool = True) -> tuple[Tensor, Tensor]:
    """Return the `k` largest (or smallest) elements along an axis, in order, and their positions.

    Args:
        x: a tensor.
        k: how many.
        axis: the axis.
        largest: False for the smallest.

    Returns:
        Values and int64 positions, both with size `k` on the axis.

    Raises:
        ShapeError: `k` is negative or larger than the axis.

    Example:
        >>> plait.topk(plait.tensor([1, 4, 3]), 2)
        (tensor([4, 3]), tensor([1, 2]))
    """
    node = single(x, "topk")
    position = axis_index(axis, node.ndim)
    if not 0 <= k <= node.shape[position]:
        text = "topk cannot take so many elements"
        raise ShapeError(message(text, f"k={k}", f"0 to {node.shape[position]}, the size of axis {axis}"))
    found = P.top_k(node, k=k, axis=position, largest=largest)
    return wrap(found[0]), wrap(found[1])
