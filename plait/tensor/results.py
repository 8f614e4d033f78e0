"""Named tuples of the functions with several results: PyTorch's names of the fields and those of the standard."""

from __future__ import annotations

from typing import NamedTuple

from plait.tensor.tensor import Tensor


class ValuesIndices(NamedTuple):
    """Elements that were found along an axis, and their positions: of max, min, sort, topk, median, mode, …"""

    values: Tensor
    indices: Tensor


class MinMax(NamedTuple):
    """The smallest and the largest element: of aminmax."""

    min: Tensor
    max: Tensor
