"""NumPy reference of the positions of elements that hold."""

from __future__ import annotations

from typing import Any

import numpy as np

Array = Any


def nonzero(mask: Array, size: int, fill: int) -> Array:
    """The first `size` positions on the last axis where the mask holds; `fill` where there are fewer."""
    result = np.full((*mask.shape[:-1], size), fill, np.int64)
    for row in np.ndindex(mask.shape[:-1]):
        found = np.flatnonzero(mask[row])[:size]
        result[row][: len(found)] = found
    return result
