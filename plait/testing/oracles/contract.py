"""Contraction in the widest precision of the kind."""

from __future__ import annotations

from typing import Any

import numpy as np


def widest(x: Any) -> Any:
    """Return the array in the widest dtype of its kind (integers keep theirs: they wrap)."""
    x = np.asarray(x)
    if x.dtype.kind in "iu":
        return x
    return x.astype(np.complex128 if x.dtype.kind == "c" else np.float64)


def dot_general(a: Any, b: Any, *, contract: Any, batch: Any) -> Any:
    """The product summed over paired axes; the result has batch axes, free axes of `a`, free axes of `b`."""
    labels = iter(range(a.ndim + b.ndim))
    a_labels, b_labels = [next(labels) for _ in range(a.ndim)], [next(labels) for _ in range(b.ndim)]
    for left, right in (*zip(*contract, strict=True), *zip(*batch, strict=True)):
        b_labels[right] = a_labels[left]
    used = [(*contract[0], *batch[0]), (*contract[1], *batch[1])]
    output = [a_labels[i] for i in batch[0]]
    output += [a_labels[i] for i in range(a.ndim) if i not in used[0]]
    output += [b_labels[i] for i in range(b.ndim) if i not in used[1]]
    with np.errstate(over="ignore"):
        return np.einsum(widest(a), a_labels, widest(b), b_labels, output)
