"""The frequencies of a discrete Fourier transform, and their order."""

from __future__ import annotations

from typing import Any

from plait.core.dtype import as_dtype, float32, int64
from plait.core.errors import ArgumentError, DTypeError, message
from plait.core.graph import Node
from plait.core.primitive import P
from plait.tensor.axes import normalized_axes
from plait.tensor.families import both_names
from plait.tensor.operators import scalar_node, single
from plait.tensor.rearranging import roll
from plait.tensor.tensor import Tensor, converted, wrap


def _frequencies(name: str, n: int, d: float, dtype: Any, positions: Node) -> Tensor:
    if n < 1:
        raise ArgumentError(message(f"{name} is for a number of points", n, "at least 1"))
    kind = float32 if dtype is None else as_dtype(dtype)
    if not kind.is_inexact:
        raise DTypeError(message(f"{name} returns floats", kind.name, "a floating-point dtype"))
    wide = converted(positions, kind.compute)
    return wrap(converted(wide * scalar_node(1.0 / (n * d), wide.dtype), kind))


def fftfreq(n: int, d: float = 1.0, *, dtype: Any = None, device: Any = None) -> Tensor:
    """Return the frequencies of the elements of `fft`, in cycles per unit of `d`.

    Args:
        n: the number of points.
        d: the distance of two points.
        dtype: a floating-point dtype, float32 by default.
        device: accepted for the standard's sake.

    Returns:
        A tensor [n]: 0, 1, …, then the negative frequencies -n // 2, …, -1, divided by n * d.

    Raises:
        ArgumentError: `n` is less than 1.
        DTypeError: `dtype` is not floating.

    Example:
        >>> plait.fft.fftfreq(4)
        tensor([ 0.0000,  0.2500, -0.5000, -0.2500])
    """
    position = P.iota(dtype=int64, shape=(max(n, 0),), axis=0)
    half = scalar_node((n + 1) // 2, int64)
    signed = P.select(P.lt(position, half), position, position - scalar_node(n, int64))
    return _frequencies("fftfreq", n, d, dtype, signed)


def rfftfreq(n: int, d: float = 1.0, *, dtype: Any = None, device: Any = None) -> Tensor:
    """Return the frequencies of the elements of `rfft`, in cycles per unit of `d`.

    Args:
        n: the number of points of the real signal.
        d: the distance of two points.
        dtype: a floating-point dtype, float32 by default.
        device: accepted for the standard's sake.

    Returns:
        A tensor [n // 2 + 1]: 0, 1, …, n // 2, divided by n * d.

    Raises:
        ArgumentError: `n` is less than 1.
        DTypeError: `dtype` is not floating.

    Example:
        >>> plait.fft.rfftfreq(4)
        tensor([0.0000, 0.2500, 0.5000])
    """
    return _frequencies("rfftfreq", n, d, dtype, P.iota(dtype=int64, shape=(max(n, 0) // 2 + 1,), axis=0))


_SHIFT = """{summary}

Args:
    x: a tensor.
    axes: an axis or several, None for all; `dim` is another name.

Returns:
    A tensor of the shape of `x`.

Raises:
    ShapeError: there is no such axis, or one is named twice.

Example:
    >>> plait.fft.{example}
"""


def _shift(name: str, inverse: bool, summary: str, example: str) -> Any:
    def function(x: Any, axes: Any = None) -> Tensor:
        node = single(x, name)
        chosen = normalized_axes(axes, node.ndim)
        distances = [(node.shape[a] + inverse) // 2 for a in chosen]
        return roll(wrap(node), distances, chosen) if chosen else wrap(node)

    function.__name__ = function.__qualname__ = name
    function.__doc__ = _SHIFT.format(summary=summary, example=example.replace("\n", "\n    "))
    return both_names(function, axis="axes")


fftshift = _shift(
    "fftshift", False, "Move frequency 0 to the middle of axes: the order of growing frequency.",
    "fftshift(plait.fft.fftfreq(4))\ntensor([-0.5000, -0.2500,  0.0000,  0.2500])",
)  # fmt: skip
ifftshift = _shift(
    "ifftshift", True, "Move frequency 0 from the middle of axes to their beginning; undoes `fftshift`.",
    "ifftshift(plait.tensor([-1.0, 0.0, 1.0]))\ntensor([ 0.,  1., -1.])",
)  # fmt: skip
