"""Products of matrices and tensors, all of them `dot_general` over permuted axes."""

from __future__ import annotations

from typing import Any

from plait.core.errors import ArgumentError, ShapeError, message
from plait.core.graph import Node
from plait.core.primitive import P
from plait.prims.rules import broadcast_shapes, broadcast_to
from plait.tensor.composite import composite
from plait.tensor.families import both_names
from plait.tensor.operators import promoted
from plait.tensor.tensor import Tensor, axis_index, converted, integers, wrap


@both_names
@composite
def matmul(x: Any, y: Any) -> Tensor:
    """Multiply matrices; leading axes are a batch and broadcast.

    Args:
        x: a tensor [..., m, k], or a vector [k].
        y: a tensor [..., k, n], or a vector [k].

    Returns:
        A tensor [..., m, n]; the axis of a vector is dropped.

    Raises:
        ShapeError: an operand has rank 0, or the inner sizes differ.

    Example:
        >>> plait.matmul(plait.tensor([[1.0, 2.0]]), plait.tensor([3.0, 4.0]))
        tensor([11.])
    """
    a, b = promoted((x, y), "matmul")
    if not a.ndim or not b.ndim:
        fix = "multiply by a scalar with *"
        raise ShapeError(message("matmul needs vectors or matrices", f"shapes {a.shape} and {b.shape}", None, fix))
    inner = b.ndim - 2 if b.ndim > 1 else 0
    if a.shape[-1] != b.shape[inner]:
        expected = f"the last axis of x ({a.shape[-1]}) as long as axis {inner} of y ({b.shape[inner]})"
        fix = "transpose an operand, e.g. x @ y.mT"
        raise ShapeError(message("matmul: the inner sizes differ", f"shapes {a.shape} and {b.shape}", expected, fix))
    if a.ndim == b.ndim == 1:
        return wrap(_summed_product(a, b, 0))
    if b.ndim <= 2:
        return wrap(P.dot_general(a, b, contract=((a.ndim - 1,), (inner,)), batch=((), ())))
    is_vector = a.ndim == 1
    if is_vector:
        a = P.reshape(a, shape=(1, *a.shape))
    batch = broadcast_shapes(a.shape[:-2], b.shape[:-2], name="the batch of matmul")
    a, b = broadcast_to(a, (*batch, *a.shape[-2:])), broadcast_to(b, (*batch, *b.shape[-2:]))
    count = len(batch)
    axes = tuple(range(count))
    result = P.dot_general(a, b, contract=((count + 1,), (count,)), batch=(axes, axes))
    return wrap(P.reshape(result, shape=(*batch, result.shape[-1])) if is_vector else result)


@both_names(axis="axes")
@composite
def tensordot(x: Any, y: Any, axes: Any = 2) -> Tensor:
    """Sum products over pairs of axes.

    Args:
        x: a tensor.
        y: a tensor.
        axes: how many last axes of `x` pair with the first of `y`; or two sequences of axes, or two axes (`dims` is
            another name). Paired axes have one size, or one of them has size 1.

    Returns:
        A tensor with the other axes of `x`, then those of `y`.

    Raises:
        ShapeError: paired axes differ in size or number, or there are not so many.

    Example:
        >>> plait.tensordot(plait.tensor([1, 2]), plait.tensor([3, 4]), 1)
        tensor(11)
        >>> plait.tensordot(plait.ones((2, 3, 4)), plait.ones((4, 3)), axes=([1, 2], [1, 0])).shape
        (2,)
    """
    a, b = promoted((x, y), "tensordot")
    left, right = pairs = _paired_axes(axes, a, b)
    for i, j in zip(left, right, strict=True):
        if a.shape[i] != b.shape[j] and 1 not in (a.shape[i], b.shape[j]):
            text, received = "tensordot sums over axes of equal size", f"axis {i} of {a.aval} with axis {j} of {b.aval}"
            raise ShapeError(message(text, received, "equal sizes, or one of size 1", "check axes"))
    a, b = _summed_like(a, left, b, right), _summed_like(b, right, a, left)
    return wrap(P.dot_general(a, b, contract=pairs, batch=((), ())))


def _paired_axes(axis: Any, a: Node, b: Node) -> tuple[tuple[int, ...], tuple[int, ...]]:
    if isinstance(axis, Tensor):
        axis = axis.tolist()
    if hasattr(axis, "__index__"):
        count = int(axis)
        if not 0 <= count <= min(a.ndim, b.ndim):
            expected = f"0 to {min(a.ndim, b.ndim)}"
            raise ShapeError(message(f"tensordot has no {count} axes to sum over", f"{a.aval} and {b.aval}", expected))
        return tuple(range(a.ndim - count, a.ndim)), tuple(range(count))
    if len(axis) != 2:
        raise ArgumentError(message("tensordot takes the axes of each operand", axis, "a number, or a pair"))
    given = [integers(one, "axes of tensordot") for one in axis]
    first, second = [tuple([axis_index(i, n.ndim) for i in one]) for one, n in zip(given, (a, b), strict=True)]
    if len(first) != len(second):
        text = "tensordot pairs the axes of both operands"
        raise ShapeError(message(text, f"{len(first)} and {len(second)} axes", "equally many"))
    return first, second


def _summed_like(node: Node, axes: tuple[int, ...], other: Node, paired: tuple[int, ...]) -> Node:
    """Sum over axes that are paired with one of size 1; they stay, with size 1."""
    summed = [i for i, j in zip(axes, paired, strict=True) if other.shape[j] == 1 and node.shape[i] != 1]
    if not summed:
        return node
    shape = tuple([1 if i in summed else n for i, n in enumerate(node.shape)])
    return P.reshape(P.reduce_sum(node, axes=tuple(sorted(summed))), shape=shape)


@both_names
def vecdot(x: Any, y: Any, axis: int = -1) -> Tensor:
    """Return the sum of conj(x) * y along an axis; the other axes broadcast.

    Args:
        x: a tensor.
        y: a tensor of a shape that broadcasts with `x`.
        axis: the axis, of the broadcast operands; `dim` is another name.

    Returns:
        A tensor without the axis, in the promoted dtype.

    Raises:
        ShapeError: there is no such axis, its sizes differ, or the shapes do not broadcast.

    Example:
        >>> plait.vecdot(plait.tensor([[1, 2], [3, 4]]), plait.tensor([1, 1]))
        tensor([3, 7])
    """
    a, b = promoted((x, y), "vecdot")
    sizes = [n.shape[axis_index(axis, n.ndim)] for n in (a, b)]
    if sizes[0] != sizes[1]:
        text = "vecdot sums over axes of equal size"
        raise ShapeError(message(text, f"shapes {a.shape} and {b.shape}, axis {axis}", "equal sizes"))
    return wrap(_summed_product(P.conj(a) if a.dtype.is_complex else a, b, axis))


def _summed_product(a: Node, b: Node, axis: int) -> Node:
    """Return the sum of a * b along an axis: unlike that of `dot_general`, its loop is divided among threads."""
    product = converted(a, a.dtype.compute) * converted(b, b.dtype.compute)
    return converted(P.reduce_sum(product, axes=(axis_index(axis, product.ndim),)), a.dtype)
