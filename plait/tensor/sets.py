"""Functions of the distinct elements. How many there are is looked at, so that they run where values are known."""

from __future__ import annotations

from typing import Any

from plait.core.dtype import bool_, int64
from plait.core.graph import Node
from plait.core.primitive import P
from plait.prims.rules import broadcast_to
from plait.tensor.axes import kept
from plait.tensor.composite import composite
from plait.tensor.control import scan
from plait.tensor.families import both_names
from plait.tensor.indexing import mask_positions
from plait.tensor.operators import promoted, scalar_node, single
from plait.tensor.results import UniqueAll, UniqueCounts, UniqueInverse
from plait.tensor.sorting import searchsorted
from plait.tensor.tensor import Tensor, axis_index, converted, wrap

__all__ = [
    "isin", "unique", "unique_all", "unique_consecutive", "unique_counts", "unique_inverse", "unique_values",
]  # fmt: skip


def _columns(node: Node, axis: int) -> Node:
    """Return the slices along an axis as the columns of a matrix of real numbers."""
    front = P.transpose(node, permutation=(*[k for k in range(node.ndim) if k != axis], axis))
    size = node.shape[axis]
    rows = P.reshape(front, shape=(front.aval.size // max(size, 1), size))
    return P.concatenate(P.real(rows), P.imag(rows), axis=0) if node.dtype.is_complex else rows


def _row(matrix: Node, number: int) -> Node:
    part = P.slice(matrix, starts=(number, 0), limits=(number + 1, matrix.shape[1]), strides=(1, 1))
    return P.reshape(part, shape=(matrix.shape[1],))


def _order(columns: Node) -> Node:
    """Return the positions that sort the columns of a matrix lexicographically."""
    rows, size = columns.shape
    if rows == 1:
        return P.argsort(_row(columns, 0), axis=0, descending=False)

    def refine(order: Tensor, row: Tensor) -> tuple[Tensor, Tensor]:
        key = P.gather(row._node, order._node, axes=(0,), mode="clip")
        again = P.argsort(key, axis=0, descending=False)
        return wrap(P.gather(order._node, again, axes=(0,), mode="clip")), order.sum()

    start = wrap(P.iota(dtype=int64, shape=(size,), axis=0))
    # stable sorts by each row, the most significant one last
    order, _ = scan(refine, start, wrap(columns), reverse=True)
    return order._node


def _is_first(columns: Node) -> Node:
    """Whether a column differs from the one before."""
    rows, size = columns.shape
    later = P.slice(columns, starts=(0, min(1, size)), limits=(rows, size), strides=(1, 1))
    earlier = P.slice(columns, starts=(0, 0), limits=(rows, max(size - 1, 0)), strides=(1, 1))
    differs = P.reduce_or(P.ne(later, earlier), axes=(0,))
    return P.concatenate(broadcast_to(scalar_node(True, bool_), (min(1, size),)), differs, axis=0)


Found = tuple[Tensor, Tensor, Tensor, Tensor]


def _unique(x: Any, name: str, axis: int | None, is_sorted: bool, places_too: bool) -> Found:
    """Group equal slices along an axis, or equal elements; `is_sorted` says that equal ones are neighbours.

    Returns:
        One slice of each group, where its first is, for each slice its group, and the sizes of the groups. The second
        and third may be had only with `places_too`.
    """
    node = single(x, name)
    position = 0 if axis is None else axis_index(axis, node.ndim)
    line = node if axis is not None else P.reshape(node, shape=(node.aval.size,))
    columns, order = _columns(line, position), None
    computed: list[Node] = []
    if not is_sorted and columns.shape[0] == 1 and axis is None and not places_too:
        line = P.sort(line, axis=0, keys=1, descending=False)[0]
        columns, computed = _columns(line, 0), [line]
    elif not is_sorted:
        order = _order(columns)
        computed = [order]
        columns = P.transpose(P.gather(columns, order, axes=(1,), mode="clip"), permutation=(1, 0))
    first = _is_first(columns)
    # tensors keep what their number is computed from: it is needed again
    held = [wrap(n) for n in (first, *computed)]
    ranks = mask_positions(first)
    del held
    size = columns.shape[1]
    group = P.cumsum(converted(first, int64), axis=0, reverse=False) - scalar_node(1, int64)
    places = ranks if order is None else P.gather(order, ranks, axes=(0,), mode="clip")
    values = P.gather(line, places, axes=(position,), mode="clip")
    values = P.transpose(values, permutation=(*range(1, position + 1), 0, *range(position + 1, line.ndim)))
    group = group if order is None else P.scatter_set(group, group, order, axes=(0,))
    inverse = P.reshape(group, shape=node.shape) if axis is None else group
    return wrap(values), wrap(places), wrap(inverse), wrap(_gaps(ranks, size))


def _gaps(ranks: Node, size: int) -> Node:
    """Return the distances from each position to the next, and to the end."""
    some = min(1, ranks.shape[0])
    behind = P.slice(ranks, starts=(some,), limits=ranks.shape, strides=(1,))
    return P.pad(behind, scalar_node(size, int64), low=(0,), high=(some,), interior=(0,)) - ranks


def _selected(found: Found, return_inverse: bool, return_counts: bool) -> Tensor | tuple[Tensor, ...]:
    values, _, inverse, counts = found
    wanted = (values, *[inverse] * return_inverse, *[counts] * return_counts)
    return wanted if len(wanted) > 1 else values


@both_names
def unique(
    x: Any, sorted: bool = True, return_inverse: bool = False, return_counts: bool = False, axis: int | None = None
) -> Any:
    """Return the distinct elements in order; each NaN is distinct. Their number is looked at.

    Args:
        x: a tensor.
        sorted: in order; always so.
        return_inverse: whether to return for each element the position of its value in the result too.
        return_counts: whether to return how often each occurs too.
        axis: an axis: then the distinct slices along it; None for elements (`dim` is another name).

    Returns:
        The values; with the positions and counts as a tuple, where these are asked for.

    Raises:
        AbstractValueError: the values are not known, e.g. under `jit`.
        ShapeError: `x` has no such axis.

    Example:
        >>> plait.unique(plait.tensor([3, 1, 3]), return_counts=True)
        (tensor([1, 3]), tensor([1, 2]))
    """
    return _selected(_unique(x, "unique", axis, False, return_inverse), return_inverse, return_counts)


@both_names
def unique_consecutive(
    x: Any, return_inverse: bool = False, return_counts: bool = False, axis: int | None = None
) -> Any:
    """Return the elements without those that equal their predecessor. Their number is looked at.

    Args:
        x: a tensor.
        return_inverse: whether to return for each element the position of its value in the result too.
        return_counts: whether to return how many were merged into each too.
        axis: an axis: then slices along it are compared; None for elements (`dim` is another name).

    Returns:
        The values; with the positions and counts as a tuple, where these are asked for.

    Raises:
        AbstractValueError: the values are not known, e.g. under `jit`.
        ShapeError: `x` has no such axis.

    Example:
        >>> plait.unique_consecutive(plait.tensor([1, 1, 2, 1]))
        tensor([1, 2, 1])
    """
    return _selected(_unique(x, "unique_consecutive", axis, True, return_inverse), return_inverse, return_counts)


_STANDARD = """Return the distinct elements in order{what}, as in the Array API standard; their number is looked at.

Args:
    x: a tensor.

Returns:
    {result}.

Raises:
    AbstractValueError: the values are not known, e.g. under `jit`.

Example:
    >>> plait.{name}(plait.tensor([3, 1, 3])).{field}
    tensor({value})
"""


def _standard(name: str, build: Any, what: str, result: str, field: str, value: str) -> Any:
    @both_names
    def function(x: Any) -> Any:
        return build(*_unique(x, name, None, False, name in ("unique_all", "unique_inverse")))

    function.__name__ = function.__qualname__ = name
    function.__doc__ = _STANDARD.format(name=name, what=what, result=result, field=field, value=value)
    return function


unique_all = _standard(
    "unique_all", UniqueAll, ", where the first of each is, the inverse and the counts",
    "Values, int64 positions of the first of each, for each element the position of its value, and counts",
    "indices", "[1, 0]",
)  # fmt: skip
unique_counts = _standard(
    "unique_counts", lambda values, places, inverse, counts: UniqueCounts(values, counts), " and how often they occur",
    "Values and int64 counts", "counts", "[1, 2]",
)  # fmt: skip
unique_inverse = _standard(
    "unique_inverse", lambda values, places, inverse, counts: UniqueInverse(values, inverse), " and the inverse",
    "Values, and for each element the position of its value", "inverse_indices", "[1, 0, 1]",
)  # fmt: skip
unique_values = _standard(
    "unique_values", lambda values, *_: values, "", "A vector", "flip()", "[3, 1]",
)  # fmt: skip

_FEW = 16  # so many elements are compared with each


@both_names
@composite
def isin(elements: Any, test_elements: Any, *, assume_unique: bool = False, invert: bool = False) -> Tensor:
    """Return whether each element is among others.

    Args:
        elements: a tensor or a number.
        test_elements: a tensor or a number: those to find.
        assume_unique: accepted for PyTorch's sake; it changes nothing.
        invert: return whether each is not among them.

    Returns:
        A bool tensor of the shape of `elements`.

    Raises:
        DTypeError: complex numbers, when there are many to find.

    Example:
        >>> plait.isin(plait.tensor([1, 2, 3]), plait.tensor([3, 1]))
        tensor([ True, False,  True])
    """
    a, b = promoted((elements, test_elements), "isin")
    b = P.reshape(b, shape=(b.aval.size,))
    if b.aval.size <= _FEW:
        found = P.reduce_or(P.eq(kept(a, a.ndim), b), axes=(a.ndim,))
    else:
        lines = P.sort(b, axis=0, keys=1, descending=False)[0]
        found = P.eq(P.gather(lines, searchsorted(wrap(lines), wrap(a))._node, axes=(0,), mode="clip"), a)
    return wrap(P.bitwise_not(found) if invert else found)
