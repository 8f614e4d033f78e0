"""Grids and combinations of vectors, and positions in grids."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations as choices, combinations_with_replacement
from typing import Any

import numpy as np

from plait.core.dtype import int64
from plait.core.errors import ArgumentError, ArgumentTypeError, ShapeError, message
from plait.core.primitive import P
from plait.tensor.composite import composite
from plait.tensor.families import both_names
from plait.tensor.operators import single
from plait.tensor.shaping import as_operand, new_shape, reshape
from plait.tensor.stacking import stack
from plait.tensor.tensor import Tensor, converted, make_view, scalar_node, to_node, wrap
from plait.tensor.views import step

__all__ = ["cartesian_prod", "combinations", "meshgrid", "unravel_index", "vander"]


def meshgrid(*tensors: Any, indexing: str = "xy") -> list[Tensor]:
    """Return coordinate tensors of the grid that vectors span.

    Args:
        tensors: vectors.
        indexing: "xy" (the first two axes swapped, as in NumPy) or "ij".

    Returns:
        One view for each vector.

    Raises:
        ArgumentError: another `indexing`.

    Example:
        >>> plait.meshgrid(plait.tensor([1, 2]), plait.tensor([3]), indexing="ij")
        [tensor([[1],
                [2]]), tensor([[3],
                [3]])]
    """
    if indexing not in ("xy", "ij"):
        raise ArgumentError(message("Unknown indexing", repr(indexing), '"xy" or "ij"'))
    given = tensors[0] if len(tensors) == 1 and not isinstance(tensors[0], Tensor) else tensors
    vectors = [reshape(t, (as_operand(t, "meshgrid").numel(),)) for t in given]
    order = list(range(len(vectors)))
    if indexing == "xy" and len(vectors) > 1:
        order[:2] = [1, 0]
    shape = tuple([vectors[i].shape[0] for i in order])
    if len(vectors) == 1:
        return vectors
    return [make_view(v, step("broadcast", shape=shape, axes=(order.index(k),))) for k, v in enumerate(vectors)]


def cartesian_prod(*tensors: Any) -> Tensor:
    """Return all combinations of one element from each vector, as rows, the last vector's varying fastest.

    Args:
        tensors: vectors.

    Returns:
        A matrix; for a single vector that vector.

    Raises:
        ShapeError: a tensor is no vector.

    Example:
        >>> plait.cartesian_prod(plait.tensor([1, 2]), plait.tensor([5]))
        tensor([[1, 5],
                [2, 5]])
    """
    vectors = [_vector(t, "cartesian_prod") for t in tensors]
    if len(vectors) == 1:
        return vectors[0]
    grids = meshgrid(*vectors, indexing="ij")
    return stack([reshape(g, (g.numel(),)) for g in grids], 1)


def _vector(x: Any, name: str) -> Tensor:
    x = as_operand(x, name)
    if x.ndim != 1:
        raise ShapeError(message(f"{name} takes vectors", f"shape {x.shape}", "one axis"))
    return x


@both_names
def combinations(x: Any, r: int = 2, with_replacement: bool = False) -> Tensor:
    """Return all combinations of `r` elements of a vector, as rows in the order of `itertools.combinations`.

    Args:
        x: a vector.
        r: how many elements are chosen.
        with_replacement: whether an element may be chosen again.

    Returns:
        A matrix of `r` columns.

    Raises:
        ShapeError: `x` is no vector.

    Example:
        >>> plait.combinations(plait.tensor([1, 2, 3]))
        tensor([[1, 2],
                [1, 3],
                [2, 3]])
    """
    vector, r = _vector(x, "combinations"), int(r.__index__())
    if r < 0:
        raise ArgumentError(message("combinations chooses a number of elements", r, "at least 0"))
    if not r:
        return wrap(to_node(np.zeros(0), vector.dtype))
    found = list((combinations_with_replacement if with_replacement else choices)(range(vector.shape[0]), r))
    return vector[np.array(found, np.int64).reshape(-1, r)]


@both_names
@composite
def vander(x: Any, N: int | None = None, increasing: bool = False) -> Tensor:  # noqa: N803 - the name in NumPy
    """Return the Vandermonde matrix of a vector: its columns are powers of the elements.

    Args:
        x: a vector.
        N: number of columns, by default as many as rows.
        increasing: whether the powers go up from column to column.

    Returns:
        A matrix.

    Raises:
        ShapeError: `x` is no vector.

    Example:
        >>> plait.vander(plait.tensor([1, 2, 3]))
        tensor([[1, 1, 1],
                [4, 2, 1],
                [9, 3, 1]])
    """
    vector = _vector(x, "vander")
    count = vector.shape[0] if N is None else N
    columns = [vector**k for k in range(count)]
    return stack(columns if increasing else columns[::-1], 1) if columns else reshape(vector, (-1, 1))[:, :0]


@both_names
def unravel_index(indices: Any, shape: Sequence[int]) -> tuple[Tensor, ...]:
    """Turn positions in a flattened tensor of `shape` into positions on each axis.

    Args:
        indices: integers.
        shape: the shape.

    Returns:
        For each axis an int64 tensor of the shape of `indices`.

    Raises:
        ArgumentTypeError: `indices` are not integers.

    Example:
        >>> plait.unravel_index(plait.tensor([1, 5]), (2, 3))
        (tensor([0, 1]), tensor([1, 2]))
    """
    node = single(indices, "unravel_index")
    if not node.dtype.is_integer:
        raise ArgumentTypeError(message("unravel_index takes integer positions", node.dtype.name))
    flat, result = converted(node, int64), []
    for size in reversed(new_shape((shape,))):
        length = scalar_node(max(size, 1), int64)
        result.append(wrap(P.rem(flat, length)))
        flat = P.div(flat, length)
    return tuple(reversed(result))
