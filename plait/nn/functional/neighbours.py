"""Weighted sums of neighbours along one axis: what interpolation and adaptive means are made of."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from plait.core.dtype import int64
from plait.core.graph import Node
from plait.core.primitive import P
from plait.prims.custom import with_transpose
from plait.tensor.tensor import to_node

_MOST_TERMS = 24  # neighbours up to which the sum is written out; a matrix product does more


class Neighbours(NamedTuple):
    """A linear map along an axis: element o of the result sums weight[t, o] * x[index[t, o]]; -1 stands for none."""

    index: np.ndarray[Any, Any]
    weight: np.ndarray[Any, Any] | None  # None: all weights are 1


def reversed_map(map: Neighbours, size: int) -> Neighbours:
    """Return the transpose of a map of an axis of `size` elements."""
    terms, outputs = np.nonzero((map.index >= 0) & (map.index < size))
    inputs = map.index[terms, outputs]
    order = np.argsort(inputs, kind="stable")
    terms, outputs, inputs = terms[order], outputs[order], inputs[order]
    slot = np.arange(len(inputs)) - np.searchsorted(inputs, inputs)
    shape = (int(slot.max(initial=0)) + 1, size)
    index = np.full(shape, -1, np.int64)
    index[slot, inputs] = outputs
    if map.weight is None:
        return Neighbours(index, None)
    weight = np.zeros(shape, map.weight.dtype)
    weight[slot, inputs] = map.weight[terms, outputs]
    return Neighbours(index, weight)


def weighted_sum(x: Node, axis: int, map: Neighbours) -> Node:
    """Return `x` with the map applied along `axis`; its derivative gathers too."""
    size = x.shape[axis]
    assert isinstance(size, int)
    if map.weight is not None and len(map.index) > _MOST_TERMS:
        return _product(x, axis, map)
    back = reversed_map(map, size)
    tables = [to_node(t, int64 if t.dtype == np.int64 else x.dtype) for m in (map, back) for t in m if t is not None]
    half = len(tables) // 2

    def applied(map: Neighbours, first: int) -> Any:
        mode = "fill" if (map.index < 0).any() else "clip"
        return lambda y, *tables: _sum(y, axis, mode, *tables[first : first + half])

    return with_transpose(applied(map, 0), applied(back, half), x, *tables)


def _sum(x: Node, axis: int, mode: str, index: Node, weight: Node | None = None) -> Node:
    result: Node | None = None
    for k in range(index.shape[0]):  # type: ignore[arg-type]
        term = P.gather(x, _row(index, k), axes=(axis,), mode=mode)
        term = P.transpose(term, permutation=(*range(1, axis + 1), 0, *range(axis + 1, x.ndim)))
        if weight is not None:
            term = term * P.broadcast(_row(weight, k), shape=term.shape, axes=(axis,))
        result = term if result is None else result + term
    assert result is not None
    return result


def _row(table: Node, k: int) -> Node:
    row = P.slice(table, starts=(k, 0), limits=(k + 1, table.shape[1]), strides=(1, 1))
    return P.reshape(row, shape=row.shape[1:])


def _product(x: Node, axis: int, map: Neighbours) -> Node:
    assert map.weight is not None
    matrix = np.zeros((x.shape[axis], map.index.shape[1]), map.weight.dtype)
    terms, outputs = np.nonzero(map.index >= 0)
    np.add.at(matrix, (map.index[terms, outputs], outputs), map.weight[terms, outputs])
    result = P.dot_general(x, to_node(matrix, x.dtype), contract=((axis,), (0,)), batch=((), ()))
    order = (*range(axis), x.ndim - 1, *range(axis, x.ndim - 1))
    return P.transpose(result, permutation=order)
