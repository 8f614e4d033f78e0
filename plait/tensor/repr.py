"""How tensors print."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from plait.core.dtype import bool_, complex64, float32, int64
from plait.core.graph import ABSTRACT
from plait.tensor import lazy
from plait.tensor.tensor import Parameter, Tensor, node_of

_UNSAID = (bool_, int64, float32, complex64)


@dataclass(slots=True)
class PrintOptions:
    """How numbers are printed; change the fields of `plait.print_options`.

    `precision`: digits after the point. `threshold`: beyond so many elements a tensor is summarized.
    `edge_items`: how many elements of each axis a summary shows at each end. `line_width`: columns of a line.
    """

    precision: int = 4
    threshold: int = 1000
    edge_items: int = 3
    line_width: int = 80


print_options = PrintOptions()


def represent(x: Tensor) -> str:
    """Return the text of a tensor: its values, and what they do not tell; computes the value."""
    name = "Parameter" if isinstance(x, Parameter) else "tensor"
    node = node_of(x)
    notes = [] if x.dtype in _UNSAID else [f"dtype={x.dtype}"]
    if node.flags & ABSTRACT or lazy.observing() is not None:
        where = f", recorded at {node.source}" if node.source else ""
        return f"{name}(<abstract>, shape={x.shape}, dtype={x.dtype}{where})"
    is_summary = x.numel() > print_options.threshold
    if is_summary or not x.numel():
        notes.insert(0, f"shape={x.shape}")
    if x.requires_grad:
        notes.append("requires_grad=True" if x.is_leaf else f"gradient of {node.prim.name}")
    body = _body(x._array(), len(name) + 1, is_summary)
    return f"{name}({', '.join([body, *notes])})"


def _body(array: np.ndarray[Any, Any], indent: int, is_summary: bool) -> str:
    if array.dtype.kind == "V":
        array = array.astype(np.float32)
    if not array.size:
        return "[]"
    edge = print_options.edge_items
    shown = array
    if is_summary:
        for axis, size in enumerate(array.shape):
            if size > 2 * edge:
                shown = np.take(shown, [*range(edge), *range(-edge, 0)], axis)
    write = _writer(shown)
    width = max(len(write(v)) for v in shown.flat)
    width = width if array.ndim else 0
    return _nested(array, lambda v: write(v).rjust(width), indent, edge if is_summary else 0)


def _nested(array: np.ndarray[Any, Any], write: Callable[[Any], str], indent: int, edge: int) -> str:
    if not array.ndim:
        return write(array[()])
    shortened = edge and len(array) > 2 * edge
    rows = [*array[:edge], None, *array[-edge:]] if shortened else list(array)
    inner = indent + 1
    parts = ["..." if r is None else _nested(np.asarray(r), write, inner, edge) for r in rows]
    if array.ndim > 1:
        return "[" + ("," + "\n" * (array.ndim - 1) + " " * inner).join(parts) + "]"
    lines, line = [], ""
    for part in parts:
        if line and inner + len(line) + 2 + len(part) > print_options.line_width:
            lines.append(line)
            line = part
        else:
            line = f"{line}, {part}" if line else part
    return "[" + (",\n" + " " * inner).join([*lines, line]) + "]"


def _writer(shown: np.ndarray[Any, Any]) -> Callable[[Any], str]:
    """Return the function that writes one number of an array in the format that suits all of them."""
    if shown.dtype.kind == "c":
        part = _float_writer(np.stack([shown.real, shown.imag]))
        return lambda v: f"{part(v.real)}{'' if part(v.imag).startswith('-') else '+'}{part(v.imag)}j"
    return _float_writer(shown) if shown.dtype.kind == "f" else lambda v: str(v)


def _float_writer(shown: np.ndarray[Any, Any]) -> Callable[[Any], str]:
    finite = np.abs(shown[np.isfinite(shown)].astype(np.float64))
    nonzero = finite[finite != 0]
    largest, smallest = (nonzero.max(), nonzero.min()) if nonzero.size else (0.0, 1.0)
    whole = bool(np.all(finite == np.floor(finite)))
    digits = print_options.precision
    if nonzero.size and (largest >= 1e8 or not whole and (smallest < 1e-4 or largest / smallest > 1e5)):
        return lambda v: f"{v:.{digits}e}" if np.isfinite(v) else str(v)
    if whole:
        return lambda v: f"{v:.0f}." if np.isfinite(v) else str(v)
    return lambda v: f"{v:.{digits}f}" if np.isfinite(v) else str(v)
