"""Functions that reduce axes to one value: sums, extremes, tests, moments, norms; and softmax."""

from __future__ import annotations

from collections.abc import Callable
from math import inf, nan
from typing import Any

from plait.core.dtype import DType, as_dtype, bool_, int64, uint8, uint64
from plait.core.errors import ArgumentError, ShapeError, message
from plait.core.graph import Node
from plait.core.primitive import P
from plait.tensor.arithmetic import subtract
from plait.tensor.axes import (
    Axis,
    along,
    applied,
    chosen,
    count_of,
    floating,
    kept,
    mean_of,
    narrow,
    normalized_axes,
    reduces,
    two_forms,
    wide,
    with_axis,
)
from plait.tensor.composite import composite
from plait.tensor.extremes import maximum, minimum
from plait.tensor.families import both_names, named, to_bool
from plait.tensor.operators import scalar_node, single
from plait.tensor.results import MinMax, ValuesIndices
from plait.tensor.tensor import Tensor, axis_index, converted, node_of, wrap
from plait.tensor.views import detached

__all__ = [
    "all", "amax", "amin", "aminmax", "any", "argmax", "argmin", "average", "count_nonzero", "dist", "log_softmax",
    "logsumexp", "max", "mean", "min", "nanmax", "nanmean", "nanmin", "nanprod", "nanstd", "nansum", "nanvar", "norm",
    "prod", "ptp", "renorm", "softmax", "std", "std_mean", "sum", "var", "var_mean",
]  # fmt: skip
DTYPE = """    dtype: compute in this dtype; by default int64 for integers and bools, uint64 for unsigned integers, but
        int64 in PyTorch's form (`dim` by position or name, and as a method).
"""
EMPTY = "; a reduced axis is empty"


# sums


def summable(x: Any, name: str, dtype: Any, unsigned: DType = int64) -> Node:
    """Return the operand in the dtype that it is summed in; unsigned integers in `unsigned`."""
    node = single(x, name)
    if dtype is not None:
        return converted(node, as_dtype(dtype))
    if node.dtype.is_inexact or node.dtype is uint64:
        return node
    return converted(node, unsigned if node.dtype.kind == "u" else int64)


def _total(name: str, prim: str, on_bool: str, what: str, result: str) -> Any:
    """Make a function that sums unsigned integers as uint64, but in PyTorch's form as int64."""

    def form(unsigned: DType, *document: str) -> Any:
        @reduces(*document)
        def total(x: Any, axis: Axis = None, keepdims: bool = False, dtype: Any = None) -> Tensor:
            node = summable(x, name, dtype, unsigned)
            return wrap(applied(on_bool if node.dtype is bool_ else prim, node, axis, keepdims))

        return total

    example = f"{name}(plait.tensor([[1, 2], [3, 4]]), axis=0)\ntensor({result})"
    return two_forms(name, form(uint64, f"Return the {what}.", example, DTYPE), form(int64, "", ""))


sum = _total("sum", "reduce_sum", "reduce_or", "sum", "[4, 6]")
prod = _total("prod", "reduce_prod", "reduce_and", "product", "[3, 8]")


@reduces("Return the mean; integers are converted to float32.", "mean(plait.tensor([1.0, 2.0]))\ntensor(1.5000)")
def mean(x: Any, axis: Axis = None, keepdims: bool = False, dtype: Any = None) -> Tensor:
    node = floating(x, "mean", dtype)
    return wrap(narrow(mean_of(wide(node), axis, keepdims, count_of(node, axis)), node))


_WEIGHTS = "    weights: how much each element counts, of the shape of `x` or of the axis; None for all alike.\n"


@reduces(
    "Return the weighted mean, as NumPy's function of the name.",
    "average(plait.tensor([1.0, 4.0]), weights=plait.tensor([2.0, 1.0]))\ntensor(2.)", _WEIGHTS,
)  # fmt: skip
def average(x: Any, axis: Axis = None, weights: Any = None, keepdims: bool = False) -> Tensor:
    if weights is None:
        return mean(x, axis, keepdims)
    a, w = floating(x, "average"), floating(weights, "average")
    if w.ndim == 1 and a.ndim > 1 and isinstance(axis, int):
        position = axis_index(axis, a.ndim)
        w = P.reshape(w, shape=tuple([n if k == position else 1 for k, n in enumerate((*a.shape,))]))
    w = converted(P.broadcast(w, shape=a.shape, axes=tuple(range(a.ndim))), a.dtype)
    total = applied("reduce_sum", wide(w), axis, keepdims)
    return wrap(converted(applied("reduce_sum", wide(a * w), axis, keepdims) / total, a.dtype))


# variance


def _variance(node: Node, axis: Axis, keepdims: bool, correction: float, root: bool) -> tuple[Node, Node]:
    """Return variance, or its root, and mean of a floating operand."""
    operand = wide(node)
    count = count_of(operand, axis)
    centre = mean_of(operand, axis, True, count)
    size = P.abs(operand - centre) if operand.dtype.is_complex else operand - centre
    result = mean_of(size * size, axis, keepdims, count - correction if count > correction else 0.0)
    if not keepdims:
        centre = P.reshape(centre, shape=result.shape)
    return narrow(_root(result) if root else result, node), narrow(centre, node)


def _root(x: Node) -> Node:
    """Return the square root; its derivative at 0 is infinite and is kept away from the branch that is not taken."""
    zero, one = scalar_node(0, x.dtype), scalar_node(1, x.dtype)
    is_zero = P.eq(x, zero)
    return P.select(is_zero, zero, P.sqrt(P.select(is_zero, one, x)))


_CORRECTION = """    correction: subtracted from the number of elements.
    unbiased: True for `correction=1`, False for 0.
"""
_FORMS = " In PyTorch's form (`dim` by position or name, and as a method) `correction` is 1 unless given, else 0."


def _moments(name: str, what: str, root: bool, sample: str, result: str, centre: str) -> tuple[Any, Any]:
    """Make the function `name`, and the one that returns the mean too."""

    def pytorch_options(axis: Any, unbiased: bool | None, correction: float | None) -> tuple[Axis, float]:
        if isinstance(axis, bool):
            axis, unbiased = None, axis
        return axis, (1.0 if unbiased in (None, True) else 0.0) if correction is None else correction

    @reduces(f"Return the {what}.{_FORMS}", f"{name}(plait.tensor({sample}))\ntensor({result})", _CORRECTION)
    def standard(
        x: Any, axis: Axis = None, correction: float = 0.0, keepdims: bool = False, dtype: Any = None, ddof: float = 0.0
    ) -> Tensor:
        return wrap(_variance(floating(x, name, dtype), axis, keepdims, correction or ddof, root)[0])

    @reduces("", "")
    def pytorch(
        x: Any, axis: Any = None, unbiased: bool | None = None, keepdims: bool = False, correction: float | None = None
    ) -> Tensor:
        axis, correction = pytorch_options(axis, unbiased, correction)
        return wrap(_variance(floating(x, name), axis, keepdims, correction, root)[0])

    @reduces(
        f"Return the {what} and the mean, with `correction=1` by default.",
        f"{name}_mean(plait.tensor({sample}), correction=0)\n(tensor({result}), tensor({centre}))", _CORRECTION,
    )  # fmt: skip
    def both(
        x: Any, axis: Any = None, unbiased: bool | None = None, keepdims: bool = False, correction: float | None = None
    ) -> tuple[Tensor, Tensor]:
        axis, correction = pytorch_options(axis, unbiased, correction)
        first, second = _variance(floating(x, name), axis, keepdims, correction, root)
        return wrap(first), wrap(second)

    return two_forms(name, standard, pytorch), named(both, f"{name}_mean")


var, var_mean = _moments("var", "variance", False, "[1.0, 5.0]", "4.", "3.")
std, std_mean = _moments("std", "standard deviation", True, "[1.0, 3.0]", "1.", "2.")

# extremes


def _extreme(prim: str, x: Any, axis: Axis, keepdims: bool) -> Node:
    node = single(x, prim[7:])
    if node.dtype is not bool_:
        return applied(prim, node, axis, keepdims)
    return converted(applied(prim, converted(node, uint8), axis, keepdims), bool_)


def _extremes(name: str, adjective: str, sample: str, result: str, pairwise: Callable[[Any, Any], Tensor]) -> Any:
    """Make max or min, and amax or amin."""
    summary = f"Return the {adjective} element; NaN if there is one."
    more = f"""PyTorch's forms: with `dim` by position or name (and as a method), elements and positions along it; with
two tensors, the {adjective} of each pair.
"""

    @reduces(f"{summary}\n\n{more[:-1]}", f"{name}(plait.tensor({sample}))\ntensor({result})", raises=EMPTY)
    def standard(x: Any, axis: Axis = None, keepdims: bool = False) -> Tensor:
        return wrap(_extreme(f"reduce_{name}", x, axis, keepdims))

    @reduces("", "")
    def pytorch(x: Any, axis: Any = None, keepdims: bool = False, y: Any = None) -> Any:
        if y is not None or isinstance(axis, Tensor):
            return pairwise(x, axis if y is None else y)
        if not hasattr(axis, "__index__"):
            return standard(x, axis, keepdims)
        node = single(x, name)
        line, position = with_axis(node, axis)
        index = kept(getattr(P, f"arg{name}")(line, axis=position, dtype=int64), position)
        return ValuesIndices(*chosen(line, index, position, node, keepdims, False))

    @reduces(summary, f"a{name}(plait.tensor({sample}))\ntensor({result})", raises=EMPTY)
    def plain(x: Any, axis: Axis = None, keepdims: bool = False) -> Tensor:
        return wrap(_extreme(f"reduce_{name}", x, axis, keepdims))

    return two_forms(name, standard, pytorch), named(plain, f"a{name}")


max, amax = _extremes("max", "largest", "[1, 3, 2]", "3", maximum)
min, amin = _extremes("min", "smallest", "[1, 3, 2]", "1", minimum)


@reduces(
    "Return the smallest and the largest element.",
    "aminmax(plait.tensor([1, 3, 2]))\nMinMax(min=tensor(1), max=tensor(3))", raises=EMPTY,
)  # fmt: skip
def aminmax(x: Any, *, axis: Axis = None, keepdims: bool = False) -> MinMax:
    return MinMax(amin(x, axis, keepdims), amax(x, axis, keepdims))


@reduces("Return the largest element less the smallest.", "ptp(plait.tensor([1, 3, 2]))\ntensor(2)", raises=EMPTY)
def ptp(x: Any, axis: Axis = None, keepdims: bool = False) -> Tensor:
    low, high = aminmax(x, axis=axis, keepdims=keepdims)
    return high - low


# tests and positions


def _test(name: str, prim: str, result: str) -> Any:
    """Make a test of all elements: of bools, but in PyTorch's form of uint8 for such a tensor."""

    def form(keeps_uint8: bool, *document: str) -> Any:
        @reduces(*document, empty_is_all=False)
        def test(x: Any, axis: Axis = None, keepdims: bool = False) -> Tensor:
            node = single(x, name)
            found = applied(prim, to_bool(node), axis, keepdims)
            return wrap(converted(found, uint8) if keeps_uint8 and node.dtype is uint8 else found)

        return test

    summary = f"Return whether {name} element{'s are' if name == 'all' else ' is'} non-zero, as a bool."
    more = f"{summary}\n\nIn PyTorch's form (`dim` by position or name, and as a method) that of a uint8 is a uint8."
    return two_forms(name, form(False, more, f"{name}(plait.tensor([0, 2]))\ntensor({result})"), form(True, "", ""))


any = _test("any", "reduce_or", "True")
all = _test("all", "reduce_and", "False")


@reduces("Return how many elements are non-zero.", "count_nonzero(plait.tensor([0, 2, 3]))\ntensor(2)")
def count_nonzero(x: Any, axis: Axis = None, keepdims: bool = False) -> Tensor:
    return wrap(applied("reduce_sum", converted(to_bool(single(x, "count_nonzero")), int64), axis, keepdims))


def _position(prim: str, x: Any, axis: int | None, keepdims: bool) -> Tensor:
    node = single(x, prim)
    line, position = with_axis(node, axis)
    found = getattr(P, prim)(line, axis=position, dtype=int64)
    if not keepdims:
        return wrap(found)
    shape = tuple([1 if axis is None or k == position else n for k, n in enumerate(node.shape)])
    return wrap(P.reshape(found, shape=shape))


@reduces(
    "Return the position of the (first) largest.", "argmax(plait.tensor([1, 3, 2]))\ntensor(1)", raises=EMPTY,
    axis="an axis, or None for the position in the flattened tensor",
)  # fmt: skip
def argmax(x: Any, axis: int | None = None, keepdims: bool = False) -> Tensor:
    return _position("argmax", x, axis, keepdims)


@reduces(
    "Return the position of the (first) smallest.", "argmin(plait.tensor([1, 3, 2]))\ntensor(0)", raises=EMPTY,
    axis="an axis, or None for the position in the flattened tensor",
)  # fmt: skip
def argmin(x: Any, axis: int | None = None, keepdims: bool = False) -> Tensor:
    return _position("argmin", x, axis, keepdims)


# without NaN


def _replaced(x: Any, name: str, value: float, dtype: Any = None) -> tuple[Node, Node]:
    """Return the operand with `value` for NaN, and where it was NaN."""
    node = single(x, name)
    node = node if dtype is None else converted(node, as_dtype(dtype))
    if not node.dtype.is_inexact:
        return node, P.ne(node, node)
    missing = P.ne(node, node)
    return P.select(missing, scalar_node(value, node.dtype), node), missing


def _ignoring(name: str, plain: Any, value: float, what: str, sample: str, result: str) -> Any:
    """Make nansum and nanprod."""
    text = f"Return the {what} of the elements that are not NaN."

    @reduces(text, f"{name}(plait.tensor({sample}))\ntensor({result})", DTYPE)
    def function(x: Any, axis: Axis = None, keepdims: bool = False, dtype: Any = None) -> Tensor:
        total: Tensor = plain(wrap(_replaced(x, name, value, dtype)[0]), axis, keepdims)
        return total

    return named(function, name)


def _extreme_ignoring(name: str, plain: Any, value: float, what: str, result: str) -> Any:
    """Make nanmax and nanmin."""
    text = f"Return the {what} element that is not NaN; NaN if there is none."

    @reduces(text, f"{name}(plait.tensor([float('nan'), 3.0, 2.0]))\ntensor({result})", raises=EMPTY)
    def function(x: Any, axis: Axis = None, keepdims: bool = False) -> Tensor:
        node, missing = _replaced(x, name, value)
        found: Tensor = plain(wrap(node), axis, keepdims)
        if not node.dtype.is_inexact:
            return found
        none = applied("reduce_and", missing, axis, keepdims)
        return wrap(P.select(none, scalar_node(nan, node.dtype), found._node))

    return named(function, name)


nansum = _ignoring("nansum", sum, 0.0, "sum", "[1.0, float('nan')]", "1.")
nanprod = _ignoring("nanprod", prod, 1.0, "product", "[2.0, float('nan')]", "2.")
nanmax = _extreme_ignoring("nanmax", amax, -inf, "largest", "3.")
nanmin = _extreme_ignoring("nanmin", amin, inf, "smallest", "2.")


@reduces(
    "Return the mean of the elements that are not NaN.", "nanmean(plait.tensor([1.0, float('nan'), 3.0]))\ntensor(2.)"
)
def nanmean(x: Any, axis: Axis = None, keepdims: bool = False, dtype: Any = None) -> Tensor:
    node = floating(x, "nanmean", dtype)
    filled, missing = _replaced(wrap(wide(node)), "nanmean", 0.0)
    count = converted(applied("reduce_sum", converted(P.bitwise_not(missing), int64), axis, keepdims), filled.dtype)
    return wrap(converted(applied("reduce_sum", filled, axis, keepdims) / count, node.dtype))


def _nan_variance(x: Any, name: str, axis: Axis, keepdims: bool, correction: float) -> tuple[Node, Node]:
    node = floating(x, name)
    operand = wide(node)
    filled, missing = _replaced(wrap(operand), name, 0.0)
    gap = filled - nanmean(wrap(operand), axis, True)._node
    centred = P.select(missing, scalar_node(0, gap.dtype), gap)  # before the square, whose slope at NaN is NaN
    size = P.abs(centred) if centred.dtype.is_complex else centred
    total = applied("reduce_sum", size * size, axis, keepdims)
    count = applied("reduce_sum", converted(P.bitwise_not(missing), total.dtype), axis, keepdims)
    divisor = P.max(count - scalar_node(correction, total.dtype), scalar_node(0, total.dtype))
    return total / divisor, node


@reduces(
    "Return the variance of the elements that are not NaN.",
    "nanvar(plait.tensor([1.0, float('nan'), 5.0]))\ntensor(4.)",
    "    correction: subtracted from the number of elements.\n",
)  # fmt: skip
def nanvar(x: Any, axis: Axis = None, correction: float = 0.0, keepdims: bool = False) -> Tensor:
    return wrap(narrow(*_nan_variance(x, "nanvar", axis, keepdims, correction)))


@reduces(
    "Return the standard deviation of the elements that are not NaN.",
    "nanstd(plait.tensor([1.0, float('nan'), 3.0]))\ntensor(1.)",
    "    correction: subtracted from the number of elements.\n",
)
def nanstd(x: Any, axis: Axis = None, correction: float = 0.0, keepdims: bool = False) -> Tensor:
    variance, node = _nan_variance(x, "nanstd", axis, keepdims, correction)
    return wrap(narrow(_root(variance), node))


# softmax


@reduces("Return log(sum(exp(x))) without overflow.", "logsumexp(plait.tensor([1000.0, 1000.0]))\ntensor(1000.6932)")
def logsumexp(x: Any, axis: Axis = None, keepdims: bool = False) -> Tensor:
    node = floating(x, "logsumexp")
    operand = wide(node)
    if not count_of(node, axis):
        return wrap(narrow(P.log(applied("reduce_sum", operand, axis, keepdims)), node))
    high = detached(applied("reduce_max", P.real(operand) if operand.dtype.is_complex else operand, axis, True))
    # an infinite largest element would give inf - inf
    high = converted(P.select(P.is_finite(high), high, scalar_node(0, high.dtype)), operand.dtype)
    total = P.log(applied("reduce_sum", P.exp(operand - high), axis, True)) + high
    if not keepdims:
        axes = normalized_axes(axis, node.ndim)
        total = P.reshape(total, shape=tuple([n for i, n in enumerate(node.shape) if i not in axes]))
    return wrap(narrow(total, node))


@along("Return exp(x) divided by its sum over an axis.", "softmax(plait.zeros(2))\ntensor([0.5000, 0.5000])")
def softmax(x: Any, axis: int = -1, dtype: Any = None) -> Tensor:
    node = floating(x, "softmax", dtype)
    operand, axes = wide(node), normalized_axes(axis, node.ndim)
    if not axes:  # the one element of a rank-0 tensor
        return wrap(narrow(P.reshape(P.softmax(P.reshape(operand, shape=(1,)), axis=0), shape=()), node))
    return wrap(narrow(P.softmax(operand, axis=axes[0]), node))


def softmax_of_seen(x: Tensor, axis: int) -> Tensor:
    """Return `softmax`, with zeros along a line that is -inf throughout: where nothing is seen."""
    node = node_of(x)
    return wrap(P.softmax(node, axis=normalized_axes(axis, node.ndim)[0], empty=True))


@along("Return log(softmax(x)).", "log_softmax(plait.tensor([0.0, 0.0]))\ntensor([-0.6931, -0.6931])")
def log_softmax(x: Any, axis: int = -1, dtype: Any = None) -> Tensor:
    node = floating(x, "log_softmax", dtype)
    shifted = _below_largest(wide(node), axis)
    return wrap(narrow(shifted - P.log(applied("reduce_sum", P.exp(shifted), axis, True)), node))


def _below_largest(node: Node, axis: int) -> Node:
    return node - detached(applied("reduce_max", node, axis, True)) if node.aval.size else node


# norms


_ORDER = """    p: the order: "fro" or 2, 1, inf, -inf, 0 (number of non-zeros) or another number; "nuc" for matrices.
"""


@reduces(
    "Return the vector norm; its gradient at 0 is 0.", "norm(plait.tensor([3.0, 4.0]))\ntensor(5.)",
    _ORDER + "    dtype: compute in this dtype.\n",
)  # fmt: skip
def norm(x: Any, p: Any = "fro", axis: Axis = None, keepdims: bool = False, dtype: Any = None) -> Tensor:
    node = floating(x, "norm", dtype)
    if p == "nuc":
        return wrap(narrow(_nuclear(wide(node), axis, keepdims), node))
    if isinstance(p, str) and p != "fro":
        raise ArgumentError(message("Unknown order of norm", repr(p), '"fro", "nuc" or a number'))
    return wrap(narrow(_norm(P.abs(wide(node)), 2.0 if p in ("fro", None) else float(p), axis, keepdims), node))


def _nuclear(node: Node, axis: Axis, keepdims: bool) -> Node:
    """Return the sum of the singular values of matrices."""
    axes = normalized_axes(axis, node.ndim)
    if len(axes) != 2:
        raise ShapeError(message("The nuclear norm is one of matrices", f"axes {axes} of {node.aval}", "two axes"))
    others = [k for k in range(node.ndim) if k not in axes]
    total = P.reduce_sum(P.svdvals(P.transpose(node, permutation=(*others, *axes))), axes=(len(others),))
    return (
        P.reshape(total, shape=tuple([1 if k in axes else n for k, n in enumerate(node.shape)])) if keepdims else total
    )


def _norm(size: Node, p: float, axis: Axis, keepdims: bool) -> Node:
    """Return the norm of absolute values."""
    zero, one = scalar_node(0, size.dtype), scalar_node(1, size.dtype)
    if p in (inf, -inf):
        return applied("reduce_max" if p > 0 else "reduce_min", size, axis, keepdims)
    if p == 0:
        return applied("reduce_sum", P.sign(size), axis, keepdims)
    if p == 1:
        return applied("reduce_sum", size, axis, keepdims)
    if p == 2:
        return _root(applied("reduce_sum", size * size, axis, keepdims))
    is_zero = P.eq(size, zero)
    powers = P.pow(P.select(is_zero, one, size), scalar_node(p, size.dtype))
    total = applied(
        "reduce_sum", P.select(is_zero, zero if p > 0 else scalar_node(inf, size.dtype), powers), axis, keepdims
    )
    is_zero = P.eq(total, zero)
    root = P.pow(P.select(is_zero, one, total), scalar_node(1.0 / p, size.dtype))
    return P.select(is_zero, zero if p > 0 else scalar_node(inf, size.dtype), root)


@both_names
@composite
def dist(x: Any, y: Any, p: float = 2) -> Tensor:
    """Return the vector norm of x - y.

    Args:
        x: a tensor.
        y: a tensor of a shape that broadcasts with `x`.
        p: the order of the norm, a number.

    Returns:
        A tensor without axes.

    Raises:
        ShapeError: the shapes do not broadcast.

    Example:
        >>> plait.dist(plait.tensor([1.0, 2.0]), plait.tensor([4.0, 6.0]))
        tensor(5.)
    """
    return norm(subtract(x, y), p)


@both_names
@composite
def renorm(x: Any, p: float, axis: int, maxnorm: float) -> Tensor:
    """Scale down the slices along an axis whose norm is above `maxnorm`, to that norm.

    Args:
        x: a floating tensor of at least two axes.
        p: the order of the norm, positive.
        axis: the axis that counts the slices (`dim` is another name).
        maxnorm: the largest norm.

    Returns:
        A tensor of the shape of `x`.

    Raises:
        ArgumentError: `p` is not positive or `maxnorm` is negative.
        ShapeError: `x` has no such axis, or fewer than two.

    Example:
        >>> plait.renorm(plait.tensor([[3.0, 4.0], [0.3, 0.4]]), 2, 0, 1.0)
        tensor([[0.6000, 0.8000],
                [0.3000, 0.4000]])
    """
    node = floating(x, "renorm")
    if p <= 0 or maxnorm < 0:
        raise ArgumentError(message("renorm takes positive orders and norms", f"p={p}, maxnorm={maxnorm}", "p > 0"))
    if node.ndim < 2:
        raise ShapeError(message("renorm scales slices", node.aval, "a tensor of at least two axes"))
    axis = axis_index(axis, node.ndim)
    operand = wide(node)
    size = _norm(P.abs(operand), float(p), [k for k in range(node.ndim) if k != axis], True)
    limit = scalar_node(maxnorm, size.dtype)
    scale = P.select(P.gt(size, limit), limit / (size + scalar_node(1e-7, size.dtype)), scalar_node(1, size.dtype))
    return wrap(converted(operand * converted(scale, operand.dtype), node.dtype))
