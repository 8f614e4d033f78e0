"""Functions applied along an axis: map, one element or batch after another, and associative_scan, all at once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from plait.core import tree
from plait.core.errors import ArgumentError, ArgumentTypeError, ShapeError, check_function, message
from plait.core.graph import Node
from plait.core.primitive import P
from plait.tensor.autograd import Function, as_tensors, output_nodes
from plait.tensor.control import scan
from plait.tensor.tensor import axis_index, node_of, wrap
from plait.tensor.transforms import vmap


def map_(function: Function, xs: Any, batch_size: int | None = None) -> Any:
    """Apply `function` to each element of axis 0, one after another, and stack the results.

    Args:
        function: takes the elements, recorded once; `vmap` computes all at once instead.
        xs: a pytree of tensors of the same size of axis 0.
        batch_size: how many elements are computed at once.

    Returns:
        The results, stacked along axis 0.

    Raises:
        ArgumentError: the sizes differ, or the batch size is below 1.

    Example:
        >>> plait.map(lambda x: x * x, plait.tensor([1.0, 2.0, 3.0]))
        tensor([1., 4., 9.])
        >>> plait.map(plait.sqrt, plait.tensor([1.0, 4.0, 9.0]), batch_size=2)
        tensor([1., 2., 3.])
    """
    check_function(function, "map")
    one_by_one = lambda f, xs: scan(lambda carry, x: (carry, f(x)), (), xs)[1]  # noqa: E731
    if batch_size is None:
        return one_by_one(function, xs)
    if not isinstance(batch_size, int) or isinstance(batch_size, bool) or batch_size < 1:
        raise ArgumentError(message("map: there is no such batch size", repr(batch_size), "an int from 1 on"))
    leaves, treedef = tree.flatten(xs)
    tensors = as_tensors(leaves, "map")
    size = _common_size([node_of(t) for t in tensors], 0, "map")
    whole = size // batch_size * batch_size
    parts = []
    if whole:
        rows = [t[:whole].reshape(-1, batch_size, *t.shape[1:]) for t in tensors]
        found = one_by_one(vmap(function), tree.unflatten(treedef, rows))
        parts.append(tree.map_(lambda y: y.reshape(whole, *y.shape[2:]), found))
    if whole < size or not size:
        parts.append(vmap(function)(tree.unflatten(treedef, [t[whole:] for t in tensors])))
    return tree.map_(lambda *pieces: wrap(P.concatenate(*map(node_of, pieces), axis=0)), *parts)


def _common_size(nodes: Sequence[Node], axis: int, what: str) -> int:
    """The size of an axis of all nodes."""
    for n in nodes:
        if n.ndim == 0:
            raise ShapeError(message(f"{what} goes over an axis of every input", "shape ()", "at least one axis"))
    sizes = {int(n.shape[axis]) for n in nodes}  # type: ignore[arg-type]
    if len(sizes) != 1:
        fix = "give all inputs the same size of this axis"
        raise ArgumentError(message(f"{what} needs one size of axis {axis}", sorted(sizes) or "none", "one size", fix))
    return sizes.pop()


def associative_scan(function: Function, elems: Any, reverse: bool = False, axis: int = 0) -> Any:
    """Combine the elements along an axis from the first to each one, in a number of rounds that is logarithmic.

    Args:
        function: `(a, b) -> c`, associative; it takes and returns pytrees like `elems`, of many elements at once along
            the axis.
        elems: a pytree of tensors of the same size of the axis.
        reverse: whether to begin with the last element instead.
        axis: the axis.

    Returns:
        Like `elems`: element k combines the elements 0 to k, in this order; with `reverse` the last one down to k.

    Raises:
        ArgumentError: the sizes differ, or the function changes the structure.
        ShapeError: the function changes a shape.
        AxisError: there is no such axis.

    The method is that of Blelloch, "Prefix Sums and Their Applications", 1990.

    Example:
        >>> plait.associative_scan(plait.multiply, plait.tensor([1.0, 2.0, 3.0, 4.0]))
        tensor([ 1.,  2.,  6., 24.])
    """
    check_function(function, "associative_scan")
    leaves, treedef = tree.flatten(elems)
    nodes = [node_of(t) for t in as_tensors(leaves, "associative_scan")]
    if not nodes:
        raise ArgumentTypeError(message("associative_scan needs elements", "none", "at least one tensor"))
    place = axis_index(axis, min(n.ndim for n in nodes))
    size = _common_size(nodes, place, "associative_scan")

    def combine(a: Sequence[Node], b: Sequence[Node]) -> list[Node]:
        first, second = (tree.unflatten(treedef, [wrap(n) for n in side]) for side in (a, b))
        found, structure = output_nodes(function(first, second), "associative_scan")
        tree.check(treedef, structure, "associative_scan: the function changes the structure")
        for given, made in zip(a, found, strict=True):
            if made.aval is not given.aval:
                text = "associative_scan: the function returns what it takes"
                raise ShapeError(message(text, made.aval, given.aval))
        return found

    if reverse:
        nodes = [P.reverse(n, axes=(place,)) for n in nodes]
    found = _prefixes(nodes, combine, place, size)
    if reverse:
        found = [P.reverse(n, axes=(place,)) for n in found]
    return tree.unflatten(treedef, [wrap(n) for n in found])


def _prefixes(nodes: Sequence[Node], combine: Any, axis: int, size: int) -> list[Node]:
    """Combine neighbours, then all prefixes of these pairs, then each of those with the element behind it."""
    if size < 2:
        return list(nodes)
    pairs = combine(
        [_every_other(n, axis, 0, size - 1) for n in nodes], [_every_other(n, axis, 1, size) for n in nodes]
    )
    half = size // 2
    odd = _prefixes(pairs, combine, axis, half)
    first = [_part(n, axis, 0, 1, 1) for n in nodes]
    if size > 2:
        before = [_part(n, axis, 0, (size - 1) // 2, 1) for n in odd]
        behind = combine(before, [_every_other(n, axis, 2, size) for n in nodes])
        first = [P.concatenate(a, b, axis=axis) for a, b in zip(first, behind, strict=True)]
    return [_interleaved(a, b, axis, size) for a, b in zip(first, odd, strict=True)]


def _part(x: Node, axis: int, low: int, high: int, stride: int) -> Node:
    starts, limits, strides = [0] * x.ndim, list(x.shape), [1] * x.ndim
    starts[axis], limits[axis], strides[axis] = low, high, stride
    return P.slice(x, starts=tuple(starts), limits=tuple(limits), strides=tuple(strides))


def _every_other(x: Node, axis: int, low: int, high: int) -> Node:
    return _part(x, axis, low, high, 2)


def _interleaved(even: Node, odd: Node, axis: int, size: int) -> Node:
    """The elements of two nodes in turn; the first may have one more."""
    half = size // 2
    shape = even.shape
    columns = [
        P.reshape(_part(x, axis, 0, half, 1), shape=(*shape[:axis], half, 1, *shape[axis + 1 :])) for x in (even, odd)
    ]
    pairs = P.concatenate(*columns, axis=axis + 1)
    result = P.reshape(pairs, shape=(*shape[:axis], 2 * half, *shape[axis + 1 :]))
    if size % 2:
        result = P.concatenate(result, _part(even, axis, half, half + 1, 1), axis=axis)
    return result
