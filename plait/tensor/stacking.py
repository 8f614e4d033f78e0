"""Functions that join tensors."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import accumulate
from typing import Any

from plait.core.errors import ArgumentError, ShapeError, message
from plait.core.graph import Node
from plait.core.primitive import P
from plait.tensor.families import both_names
from plait.tensor.operators import promoted, scalar_node
from plait.tensor.shaping import as_operand, atleast_1d, atleast_2d, atleast_3d, reshape
from plait.tensor.splitting import unbind
from plait.tensor.tensor import Tensor, axis_index, to_node, wrap

__all__ = [
    "block_diag", "cat", "column_stack", "concat", "concatenate", "dstack", "hstack", "row_stack", "stack", "vstack",
]  # fmt: skip


@both_names(arrays="tensors")
def concatenate(tensors: Sequence[Any], axis: int | None = 0) -> Tensor:
    """Join tensors along an existing axis.

    Args:
        tensors: tensors of equal sizes but for `axis`; dtypes are promoted. Vectors of no elements are left out.
        axis: the axis; None joins the flattened tensors.

    Returns:
        A new tensor.

    Raises:
        ShapeError: the shapes do not fit.
        ArgumentError: there are no tensors.

    Example:
        >>> plait.concatenate([plait.tensor([1, 2]), plait.tensor([3])])
        tensor([1, 2, 3])
    """
    nodes = _joined(tensors, "concatenate")
    if axis is None:
        nodes, axis = [P.reshape(n, shape=(n.aval.size,)) for n in nodes], 0
    nodes = [n for n in nodes if n.shape != (0,)] or nodes[:1]
    first = nodes[0]
    if not first.ndim:
        raise ShapeError(message("Rank-0 tensors cannot be concatenated", fix="use plait.stack"))
    position = axis_index(axis, first.ndim)
    return wrap(P.concatenate(*nodes, axis=position))


cat = concat = concatenate


def _joined(tensors: Sequence[Any], name: str) -> list[Node]:
    if isinstance(tensors, Tensor):
        tensors = unbind(tensors)
    if not len(tensors):
        raise ArgumentError(message(f"{name} needs at least one tensor", "an empty sequence"))
    values = [t if isinstance(t, Tensor) else wrap(to_node(t)) for t in tensors]
    return promoted(values, name)


@both_names(arrays="tensors")
def stack(tensors: Sequence[Any], axis: int = 0) -> Tensor:
    """Join tensors of one shape along a new axis.

    Args:
        tensors: tensors of equal shape; dtypes are promoted.
        axis: position of the new axis in the result.

    Returns:
        A new tensor.

    Raises:
        ShapeError: the shapes differ.

    Example:
        >>> plait.stack([plait.tensor([1, 2]), plait.tensor([3, 4])])
        tensor([[1, 2],
                [3, 4]])
    """
    nodes = _joined(tensors, "stack")
    shape = nodes[0].shape
    for node in nodes:
        if node.shape != shape:
            raise ShapeError(message("stack needs equal shapes", f"{shape} and {node.shape}", None, "use concatenate"))
    position = axis_index(axis, len(shape) + 1)
    widened = (*shape[:position], 1, *shape[position:])
    return wrap(P.concatenate(*[P.reshape(n, shape=widened) for n in nodes], axis=position))


def _columns(x: Any) -> Tensor:
    x = atleast_1d(x)
    return reshape(x, (-1 if x.numel() else x.shape[0], 1)) if x.ndim == 1 else x


def _stacking(
    name: str, prepare: Callable[[Any], Tensor], axis: Callable[[Tensor], int], rows: str, sample: str
) -> Any:
    @both_names
    def function(tensors: Sequence[Any]) -> Tensor:
        values = [prepare(as_operand(t, name)) for t in (unbind(tensors) if isinstance(tensors, Tensor) else tensors)]
        if not values:
            raise ArgumentError(message(f"{name} needs at least one tensor", "an empty sequence"))
        return concatenate(values, axis(values[0]))

    function.__name__ = function.__qualname__ = name
    function.__doc__ = f"""Join tensors {rows}.

    Args:
        tensors: tensors of fitting shapes; dtypes are promoted.

    Returns:
        A new tensor.

    Raises:
        ShapeError: the shapes do not fit.
        ArgumentError: there are no tensors.

    Example:
        >>> plait.{name}([plait.tensor([1, 2]), plait.tensor([3, 4])])
        {sample}
    """
    return function


_PAIR = "tensor([[1, 3],\n                [2, 4]])"
_ROWS = "tensor([[1, 2],\n                [3, 4]])"
hstack = _stacking(
    "hstack", atleast_1d, lambda first: min(1, first.ndim - 1), "along the second axis, vectors one behind the other",
    "tensor([1, 2, 3, 4])",
)  # fmt: skip
vstack = _stacking("vstack", atleast_2d, lambda first: 0, "along the first axis, vectors as rows", _ROWS)
dstack = _stacking(
    "dstack", atleast_3d, lambda first: 2, "along the third axis", "tensor([[[1, 3],\n                 [2, 4]]])"
)
column_stack = _stacking("column_stack", _columns, lambda first: 1, "along the second axis, vectors as columns", _PAIR)
row_stack = vstack


def block_diag(*tensors: Any) -> Tensor:
    """Return a matrix with the given ones on its diagonal, zeros elsewhere.

    Args:
        tensors: matrices; vectors are rows, numbers are matrices of one element.

    Returns:
        A matrix.

    Raises:
        ShapeError: a tensor has more than two axes.

    Example:
        >>> plait.block_diag(plait.tensor([[1, 2]]), plait.tensor(3))
        tensor([[1, 2, 0],
                [0, 0, 3]])
    """
    blocks = _joined([atleast_2d(t) for t in tensors], "block_diag") if tensors else [to_node([[]])]
    if any(b.ndim > 2 for b in blocks):
        raise ShapeError(message("block_diag takes matrices", [b.shape for b in blocks], "at most two axes"))
    ends = [*accumulate(b.shape[1] for b in blocks)]
    zero = scalar_node(0, blocks[0].dtype)
    rows = [
        P.pad(b, zero, low=(0, end - b.shape[1]), high=(0, ends[-1] - end), interior=(0, 0))
        for b, end in zip(blocks, ends, strict=True)
    ]
    return wrap(P.concatenate(*rows, axis=0))
