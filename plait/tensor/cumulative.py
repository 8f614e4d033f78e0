"""Functions that accumulate along an axis, and their inverses: differences and gradients."""

from __future__ import annotations

from typing import Any

from plait.core.dtype import bool_, int64, uint8, uint64
from plait.core.errors import ArgumentError, ShapeError, message
from plait.core.graph import Node, full
from plait.core.primitive import P
from plait.tensor.axes import Axis, along, floating, like_rank, normalized_axes, positions, two_forms, with_axis
from plait.tensor.composite import composite
from plait.tensor.families import both_names
from plait.tensor.operators import promoted, scalar_node, single
from plait.tensor.reductions import DTYPE, summable
from plait.tensor.results import ValuesIndices
from plait.tensor.tensor import Tensor, axis_index, converted, to_node, wrap

__all__ = [
    "cummax", "cummin", "cumprod", "cumsum", "cumulative_prod", "cumulative_sum", "cumulative_trapezoid", "diff",
    "gradient", "logcumsumexp", "trapezoid", "trapz",
]  # fmt: skip


def _line(node: Node, axis: int | None, name: str) -> tuple[Node, int]:
    if axis is None and node.ndim > 1:
        text = f"{name} of several axes needs to know along which"
        raise ArgumentError(message(text, f"axis=None, shape {node.shape}", None, "pass e.g. axis=0"))
    return (node, 0) if axis is None and node.ndim else with_axis(node, axis)


def _cumulative(prim: str, node: Node, axis: int | None) -> Tensor:
    line, position = _line(node, axis, prim)
    return like_rank(getattr(P, prim)(line, axis=position, reverse=False), node)


@along("Return running sums.", "cumsum(plait.tensor([1, 2, 3]))\ntensor([1, 3, 6])", DTYPE)
def cumsum(x: Any, axis: int | None = None, dtype: Any = None) -> Tensor:
    return _cumulative("cumsum", summable(x, "cumsum", dtype), axis)


@along("Return running products.", "cumprod(plait.tensor([1, 2, 3]))\ntensor([1, 2, 6])", DTYPE)
def cumprod(x: Any, axis: int | None = None, dtype: Any = None) -> Tensor:
    return _cumulative("cumprod", summable(x, "cumprod", dtype), axis)


@along("Return running log(sum(exp(x))).", "logcumsumexp(plait.tensor([0.0, 0.0]))\ntensor([0.0000, 0.6931])")
def logcumsumexp(x: Any, axis: int | None = None) -> Tensor:
    return _cumulative("cumlogsumexp", floating(x, "logcumsumexp"), axis)


def _including(name: str, function: Any, first: int, result: str) -> Any:
    """Make a function of the Array API standard."""
    more = f"{DTYPE}    include_initial: whether the result starts with {first}, and is longer by one.\n"

    @along(
        f"Return running {name[11:]}s, as in the Array API standard.",
        f"cumulative_{name[11:]}(plait.tensor([1, 2, 3]), include_initial=True)\ntensor({result})", more,
    )  # fmt: skip
    def accumulate(x: Any, axis: int | None = None, dtype: Any = None, include_initial: bool = False) -> Tensor:
        operand = summable(x, name, dtype, uint64)
        total: Tensor = function(wrap(operand), axis, operand.dtype)
        if not include_initial:
            return total
        node, position = _line(total._node, axis, name)
        shape = (*node.shape[:position], 1, *node.shape[position + 1 :])
        return wrap(P.concatenate(full(first, node.aval.with_shape(shape)), node, axis=position))

    accumulate.__name__ = accumulate.__qualname__ = name
    return accumulate


cumulative_sum = _including("cumulative_sum", cumsum, 0, "[0, 1, 3, 6]")
cumulative_prod = _including("cumulative_prod", cumprod, 1, "[1, 1, 2, 6]")


def _running_extreme(name: str, what: str, sample: str, result: str) -> Any:
    """Make cummax or cummin."""
    text = f"""Return running {what}.

In PyTorch's form (`dim` by position or name, and as a method) the elements and the positions of the last that attained
them."""

    def values(x: Any, axis: int | None) -> tuple[Node, Node, Node, int]:
        node = single(x, name)
        line, position = _line(converted(node, uint8) if node.dtype is bool_ else node, axis, name)
        return node, line, getattr(P, name)(line, axis=position, reverse=False), position

    @along(text, f"{name}(plait.tensor({sample}))\ntensor({result})")
    def standard(x: Any, axis: int | None = None) -> Tensor:
        node, _, found, _ = values(x, axis)
        return like_rank(converted(found, node.dtype), node)

    @along("", "")
    def pytorch(x: Any, axis: int | None = None) -> ValuesIndices:
        node, line, found, position = values(x, axis)
        attained = P.bitwise_or(P.eq(line, found), P.ne(line, line))
        here = P.select(attained, positions(line, position), scalar_node(0, int64))
        index = P.cummax(here, axis=position, reverse=False)
        return ValuesIndices(like_rank(converted(found, node.dtype), node), like_rank(index, node))

    return two_forms(name, standard, pytorch)


cummax = _running_extreme("cummax", "maxima", "[1, 3, 2]", "[1, 3, 3]")
cummin = _running_extreme("cummin", "minima", "[3, 1, 2]", "[3, 1, 1]")

# differences and integrals


def _part(node: Node, axis: int, start: int, stop: int) -> Node:
    """Return the elements from `start` to `stop` of an axis; both may be counted from the end, 0 as stop is the end."""
    size = node.shape[axis]
    low, high = start % (size + 1) if start >= 0 else size + start, stop if stop > 0 else size + stop
    starts = tuple([low if k == axis else 0 for k in range(node.ndim)])
    limits = tuple([max(low, high) if k == axis else n for k, n in enumerate(node.shape)])
    return P.slice(node, starts=starts, limits=limits, strides=(1,) * node.ndim)


@both_names
@composite
def diff(x: Any, n: int = 1, axis: int = -1, prepend: Any = None, append: Any = None) -> Tensor:
    """Return the differences of neighbours along an axis, `n` times; bools differ or not.

    Args:
        x: a tensor of at least one axis.
        n: how often; 0 returns `x` itself.
        axis: the axis (`dim` is another name).
        prepend: what comes before `x` on the axis: a tensor, or a number for one element.
        append: what comes after `x`.

    Returns:
        A tensor shorter by `n` on the axis, not below 0.

    Raises:
        ShapeError: `x` has no axes.
        ArgumentError: `n` is negative.

    Example:
        >>> plait.diff(plait.tensor([1, 4, 9]))
        tensor([3, 5])
    """
    if n < 0:
        raise ArgumentError(message("diff is applied a number of times", f"n={n}", "at least 0"))
    parts = promoted([v for v in (prepend, x, append) if v is not None], "diff")
    node = parts[prepend is not None]
    axis = axis_index(axis, node.ndim)
    single_shape = tuple([1 if k == axis else size for k, size in enumerate(node.shape)])
    parts = [p if p.ndim else P.broadcast(p, shape=single_shape, axes=()) for p in parts]
    node = P.concatenate(*parts, axis=axis) if len(parts) > 1 and n else node
    for _ in range(min(n, node.shape[axis])):
        a, b = _part(node, axis, 1, 0), _part(node, axis, 0, -1)
        node = P.bitwise_xor(a, b) if node.dtype is bool_ else a - b
    return wrap(node)


def _panels(y: Any, x: Any, dx: float | None, axis: int, name: str) -> tuple[Node, int]:
    """Return the areas between neighbours, and the axis."""
    if x is not None and dx is not None:
        raise ArgumentError(message(f"{name} takes the points or their distance", f"x and dx={dx}", "one of them"))
    node = floating(y, name)
    axis = axis_index(axis, node.ndim)
    if x is not None:
        node, points = promoted((wrap(node), x), name)
        if points.ndim < node.ndim:
            own = axis if points.ndim == 1 else node.ndim - 1
            shape = (*[1] * (own + 1 - points.ndim), *points.shape, *[1] * (node.ndim - 1 - own))
            points = P.reshape(points, shape=shape)
    heights = _part(node, axis, 1, 0) + _part(node, axis, 0, -1)
    if x is None:
        return heights * scalar_node((1.0 if dx is None else dx) / 2, node.dtype), axis
    behind = points.ndim - node.ndim + axis
    widths = _part(points, behind, 1, 0) - _part(points, behind, 0, -1)
    return heights * widths * scalar_node(0.5, node.dtype), axis


@both_names
@composite
def trapezoid(y: Any, x: Any = None, dx: float | None = None, axis: int = -1) -> Tensor:
    """Return the integral along an axis by the trapezoidal rule.

    Args:
        y: the values.
        x: the points where they are, of the shape of `y` or of its axis; None for `dx` apart.
        dx: the distance of the points, 1 by default.
        axis: the axis (`dim` is another name).

    Returns:
        A tensor without the axis.

    Raises:
        ArgumentError: both `x` and `dx` are given.
        ShapeError: `y` has no such axis, or the shapes do not broadcast.

    Example:
        >>> plait.trapezoid(plait.tensor([1.0, 5.0, 10.0]))
        tensor(10.5000)
    """
    panels, axis = _panels(y, x, dx, axis, "trapezoid")
    return wrap(P.reduce_sum(panels, axes=(axis,)))


trapz = trapezoid


@both_names
@composite
def cumulative_trapezoid(y: Any, x: Any = None, dx: float | None = None, axis: int = -1) -> Tensor:
    """Return the integrals from the first point to each of the others, by the trapezoidal rule.

    Args:
        y: the values.
        x: the points where they are, of the shape of `y` or of its axis; None for `dx` apart.
        dx: the distance of the points, 1 by default.
        axis: the axis (`dim` is another name).

    Returns:
        A tensor shorter by one on the axis.

    Raises:
        ArgumentError: both `x` and `dx` are given.
        ShapeError: `y` has no such axis, or the shapes do not broadcast.

    Example:
        >>> plait.cumulative_trapezoid(plait.tensor([1.0, 5.0, 10.0]))
        tensor([ 3.0000, 10.5000])
    """
    panels, axis = _panels(y, x, dx, axis, "cumulative_trapezoid")
    return wrap(P.cumsum(panels, axis=axis, reverse=False))


@both_names
def gradient(x: Any, spacing: Any = 1, axis: Axis = None, edge_order: int = 1) -> list[Tensor]:
    """Estimate derivatives along axes by second-order differences (Fornberg, 1988), one-sided at the ends.

    Args:
        x: the values of a function on a grid.
        spacing: the distance of the points: a number, or one for each axis; or for each axis a vector of coordinates.
        axis: an axis, several, or None for all (`dim` is another name).
        edge_order: 1 or 2: the order of the estimates at the ends.

    Returns:
        For each axis a tensor of the shape of `x`.

    Raises:
        ArgumentError: the number of spacings is not that of the axes, or another `edge_order`.
        ShapeError: an axis has fewer than `edge_order + 1` elements.

    Example:
        >>> plait.gradient(plait.tensor([1.0, 4.0, 9.0, 16.0]))
        [tensor([3., 4., 6., 7.])]
    """
    node = floating(x, "gradient")
    axes = (
        normalized_axes(axis, node.ndim)
        if axis is None or hasattr(axis, "__index__")
        else [axis_index(a, node.ndim) for a in axis]
    )
    spacing = 1 if spacing is None else spacing
    spacings = list(spacing) if isinstance(spacing, (list, tuple)) else [spacing] * len(axes)
    if len(spacings) != len(axes) or edge_order not in (1, 2):
        received = f"{len(spacings)} for {len(axes)} axes, edge_order={edge_order}"
        raise ArgumentError(message("gradient takes one spacing for each axis", received, "as many; edge_order 1 or 2"))
    return [wrap(_derivative(node, k, s, edge_order)) for k, s in zip(axes, spacings, strict=True)]


def _derivative(y: Node, axis: int, spacing: Any, edge_order: int) -> Node:
    size = y.shape[axis]
    if size <= edge_order:
        raise ShapeError(message("gradient needs more points", y.aval, f"at least {edge_order + 1} on axis {axis}"))
    widths = _widths(y, axis, spacing)
    slopes = (_part(y, axis, 1, 0) - _part(y, axis, 0, -1)) / widths
    first, last = _part(slopes, axis, 0, 1), _part(slopes, axis, -1, 0)
    if size == 2:
        return P.concatenate(first, last, axis=axis)
    before, after = _part(widths, axis, 0, -1), _part(widths, axis, 1, 0)
    left, right = _part(slopes, axis, 0, -1), _part(slopes, axis, 1, 0)
    inner = (left * after + right * before) / (before + after)
    if edge_order == 2:
        # the slope of a parabola at its ends: the inner slope is linear in the position
        first = first + first - _part(inner, axis, 0, 1)
        last = last + last - _part(inner, axis, -1, 0)
    return P.concatenate(first, inner, last, axis=axis)


def _widths(y: Node, axis: int, spacing: Any) -> Node:
    """Return the distances of the points of an axis, in the shape of the slopes."""
    shape = tuple([n - (k == axis) for k, n in enumerate(y.shape)])
    given = to_node(spacing, y.dtype)
    if not given.ndim:
        return P.broadcast(given, shape=shape, axes=())
    if given.shape != (y.shape[axis],):
        raise ShapeError(message("The coordinates of gradient have a wrong shape", given.aval, (y.shape[axis],)))
    return P.broadcast(_part(given, 0, 1, 0) - _part(given, 0, 0, -1), shape=shape, axes=(axis,))
