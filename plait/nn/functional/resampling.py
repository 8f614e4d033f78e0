"""Images of another size: interpolation of the spatial axes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from math import floor
from typing import Any

import numpy as np

from plait.core.dtype import DType, float32, float64, uint8
from plait.core.errors import ArgumentError, DTypeError, ShapeError, message
from plait.core.graph import Node
from plait.core.primitive import P
from plait.nn.arguments import tuple_of
from plait.nn.functional.adaptive import adaptive_mean
from plait.nn.functional.neighbours import Neighbours, weighted_sum
from plait.tensor.composite import composite
from plait.tensor.shaping import as_operand
from plait.tensor.tensor import Tensor, converted, node_of, scalar_node, wrap

__all__ = ["interpolate", "upsample", "upsample_bilinear", "upsample_nearest"]

_RANKS = {
    "nearest": (1, 2, 3), "nearest-exact": (1, 2, 3), "area": (1, 2, 3), "linear": (1,), "bilinear": (2,),
    "bicubic": (2,), "trilinear": (3,),
}  # fmt: skip
Array = np.ndarray[Any, Any]


# for each element of the result: where the source elements are, and how much each counts


def _places(size: int, out: int, align: bool, scale: float | None, kind: Any) -> Array:
    """Return where the centres of the result lie in the source, in the precision `kind`."""
    if align:
        step = kind(size - 1) / kind(out - 1) if out > 1 else kind(0)
        return np.arange(out, dtype=kind) * step
    step = kind(1 / scale) if scale else kind(size) / kind(out)
    return (np.arange(out, dtype=kind) + kind(0.5)) * step - kind(0.5)


def _nearest(size: int, out: int, align: bool, scale: float | None, kind: Any, shift: float = 0.0) -> Neighbours:
    step = kind(1 / scale) if scale else kind(size) / kind(out)
    index = np.floor((np.arange(out, dtype=kind) + kind(shift)) * step).astype(np.int64)
    return Neighbours(np.minimum(index, size - 1)[None], None)


def _nearest_exact(size: int, out: int, align: bool, scale: float | None, kind: Any) -> Neighbours:
    return _nearest(size, out, align, scale, kind, 0.5)


def _linear(size: int, out: int, align: bool, scale: float | None, kind: Any) -> Neighbours:
    place = np.maximum(_places(size, out, align, scale, kind), 0)
    first = np.minimum(place.astype(np.int64), size - 1)
    share = np.clip(place - first, 0, 1)
    return Neighbours(np.stack([first, np.minimum(first + 1, size - 1)]), np.stack([1 - share, share]))


def _cubic(size: int, out: int, align: bool, scale: float | None, kind: Any) -> Neighbours:
    place = _places(size, out, align, scale, kind)
    first = np.floor(place).astype(np.int64)
    index = np.clip(first + np.arange(-1, 3)[:, None], 0, size - 1)
    return Neighbours(index, cubic_kernel(place - first - np.arange(-1, 3)[:, None], -0.75))


def cubic_kernel(x: Any, a: float) -> Any:
    """Return the weight of cubic convolution at distance `x` (Keys, 1981)."""
    x = np.abs(x)
    near = ((a + 2) * x - (a + 3)) * x * x + 1
    far = ((a * x - 5 * a) * x + 8 * a) * x - 4 * a
    return np.where(x <= 1, near, np.where(x < 2, far, 0)).astype(x.dtype)


def _smoothed(kernel: Callable[[Array], Array], support: float) -> Callable[..., Neighbours]:
    """Make the map with a kernel as wide as the pixels of the smaller image, cut off at the border and normalized."""

    def map(size: int, out: int, align: bool, scale: float | None, kind: Any) -> Neighbours:
        step = size / out if scale is None else 1 / scale
        if align:
            step = (size - 1) / (out - 1) if out > 1 else 0.0
        width = max(step, 1.0)
        centre = step * (np.arange(out) + 0.5)
        low = np.maximum((centre - support * width + 0.5).astype(np.int64), 0)
        high = np.minimum((centre + support * width + 0.5).astype(np.int64), size)
        index = low + np.arange(max(int((high - low).max(initial=1)), 1))[:, None]
        weight = np.where(index < high, kernel((index - centre + 0.5) / width), 0.0)
        return Neighbours(np.where(index < high, index, -1), (weight / weight.sum(0)).astype(kind))

    return map


_MAPS = {
    "nearest": _nearest, "nearest-exact": _nearest_exact, "linear": _linear, "cubic": _cubic,
    "smooth linear": _smoothed(lambda x: np.maximum(1 - np.abs(x), 0), 1.0),
    "smooth cubic": _smoothed(lambda x: cubic_kernel(x, -0.5), 2.0),
}  # fmt: skip


@lru_cache(maxsize=256)
def _map(method: str, size: int, out: int, align: bool, scale: float | None, kind: Any) -> Neighbours:
    return _MAPS[method](size, out, align, scale, kind)


def _quantized(map: Neighbours) -> tuple[Neighbours, int]:
    """Return a map with whole weights of at most 15 bits, and how many of the bits are behind the point."""
    assert map.weight is not None
    weight = map.weight.copy()
    for k in range(1, len(weight)):  # what the border repeats is one weight
        same = map.index[k] == map.index[k - 1]
        weight[k] += np.where(same, weight[k - 1], 0)
        weight[k - 1] *= ~same
    bits = 0
    while bits < 21 and int(0.5 + weight.max() * 2 ** (bits + 1)) < 2**15:
        bits += 1
    scaled = weight * 2**bits
    return Neighbours(map.index, np.trunc(scaled + np.copysign(0.5, scaled))), bits


def _resampled_bytes(x: Node, sizes: Sequence[int], method: str, align: bool, scales: Sequence[float | None]) -> Node:
    """Resample uint8 in whole numbers, rounded after each axis, as PyTorch and Pillow do."""
    for axis in reversed(range(2, x.ndim)):
        if sizes[axis - 2] != x.shape[axis]:
            map = _map(method, x.shape[axis], sizes[axis - 2], align, scales[axis - 2], np.float64)
            whole, bits = _quantized(map)
            total = weighted_sum(P.convert(x, dtype=float64), axis, whole)
            rounded = P.floor((total + 2.0 ** (bits - 1)) * 2.0**-bits)
            limits = (scalar_node(v, float64) for v in (0, 255))
            x = P.convert(P.clamp(rounded, *limits), dtype=uint8)
    return x


def _resampled(
    x: Node, sizes: Sequence[int], method: str, align: bool, scales: Sequence[float | None], dtype: DType
) -> Node:
    kind = np.float64 if dtype is float64 else np.float32
    # few elements are worked on if axes that grow come late, the last (whose neighbours are dearest) before the others
    for axis in sorted(range(2, x.ndim), key=lambda a: (sizes[a - 2] > x.shape[a], -a)):
        out, scale = sizes[axis - 2], scales[axis - 2]
        if out != x.shape[axis] or scale not in (None, 1.0):
            x = weighted_sum(x, axis, _map(method, x.shape[axis], out, align, scale, kind))
    return x


# arguments


def _target(
    x: Tensor, size: Any, scale_factor: Any, recompute: bool | None
) -> tuple[tuple[int, ...], list[float | None]]:
    """Return the sizes of the result, and the scales where they count."""
    rank = x.ndim - 2
    if (size is None) == (scale_factor is None):
        received = f"size={size}, scale_factor={scale_factor}"
        raise ArgumentError(message("interpolate takes either size or scale_factor", received, "one of them"))
    if size is not None:
        if recompute:
            raise ArgumentError(message("recompute_scale_factor needs scale_factor", f"size={size}"))
        return tuple_of(size, rank, "size"), [None] * rank
    factors = list(scale_factor) if isinstance(scale_factor, (tuple, list)) else [scale_factor] * rank
    if len(factors) != rank or min(factors) <= 0:
        expected = f"one positive number, or {rank} of them"
        raise ArgumentError(message("scale_factor does not fit", scale_factor, expected))
    sizes = tuple(floor(float(n) * f) for n, f in zip(x.shape[2:], factors, strict=True))
    if min(sizes) < 1:
        raise ArgumentError(message("interpolate to an empty image", f"{x.shape[2:]} times {scale_factor}"))
    return sizes, [None if recompute else float(f) for f in factors]


def _checked(input: Any, mode: str, align_corners: bool | None, antialias: bool) -> Tensor:
    x = as_operand(input, "interpolate")
    if mode not in _RANKS:
        raise ArgumentError(message("Unknown mode of interpolate", repr(mode), ", ".join(_RANKS)))
    if x.ndim - 2 not in _RANKS[mode]:
        expected = " or ".join(f"[N, C, {', '.join('DHW'[-r:])}]" for r in _RANKS[mode])
        raise ShapeError(message(f"interpolate in mode {mode}", f"shape {x.shape}", expected))
    if min(x.shape[1:]) < 1:
        raise ShapeError(message("interpolate takes images that are not empty", f"shape {x.shape}"))
    if align_corners is not None and not mode.endswith(("linear", "cubic")):
        text = "align_corners is for the linear and cubic modes"
        raise ArgumentError(message(text, f"mode={mode!r}, align_corners={align_corners}", "align_corners=None"))
    if antialias and mode not in ("bilinear", "bicubic"):
        raise ArgumentError(message("antialias is for images", f"mode={mode!r}", "bilinear or bicubic"))
    if not x.dtype.is_floating and x.dtype is not uint8 or not x.dtype.is_floating and mode == "area":
        raise DTypeError(message("interpolate takes real floating-point input", x.dtype.name, "a float dtype"))
    return x


@composite
def interpolate(
    input: Any, size: Any = None, scale_factor: Any = None, mode: str = "nearest", align_corners: bool | None = None,
    recompute_scale_factor: bool | None = None, antialias: bool = False,
) -> Tensor:  # fmt: skip
    """Bring images to another size.

    Args:
        input: a tensor [N, C, *spatial] of one to three spatial axes; uint8 is rounded after each axis.
        size: sizes of the result, one integer or one for each spatial axis.
        scale_factor: or how often the input's, likewise.
        mode: "nearest", "nearest-exact" (centres of pixels), "area" (means), "linear" (one axis), "bilinear" or
            "bicubic" (two), "trilinear" (three).
        align_corners: whether the centres of the corner pixels stay where they are, not their outer edges.
        recompute_scale_factor: whether the scale is computed again from the rounded sizes.
        antialias: whether "bilinear" and "bicubic" smooth where the image becomes smaller.

    Returns:
        A tensor [N, C, *sizes].

    Raises:
        ArgumentError: neither or both of size and scale_factor, an unknown mode, or arguments that exclude each other.
        ShapeError: the mode is for another number of axes.
        DTypeError: the input is of complex numbers, bools or other integers than uint8.

    Example:
        >>> plait.nn.functional.interpolate(plait.tensor([[[0.0, 1.0]]]), scale_factor=2, mode="linear")
        tensor([[[0.0000, 0.2500, 0.7500, 1.0000]]])
    """
    x = _checked(input, mode, align_corners, antialias)
    sizes, scales = _target(x, size, scale_factor, recompute_scale_factor)
    if mode == "area":
        return adaptive_mean(x, sizes)
    if mode.startswith("nearest"):
        return wrap(_resampled(node_of(x), sizes, mode, False, scales, x.dtype))
    method = ("smooth " if antialias else "") + ("cubic" if mode == "bicubic" else "linear")
    if not x.dtype.is_floating:
        return wrap(_resampled_bytes(node_of(x), sizes, method, bool(align_corners), scales))
    wide = float64 if x.dtype is float64 else float32
    result = _resampled(converted(node_of(x), wide), sizes, method, bool(align_corners), scales, x.dtype)
    return wrap(converted(result, x.dtype))


def upsample(
    input: Any, size: Any = None, scale_factor: Any = None, mode: str = "nearest", align_corners: bool | None = None
) -> Tensor:
    """Bring images to another size: see `interpolate`, which takes the same arguments and more.

    Example:
        >>> plait.nn.functional.upsample(plait.tensor([[[1, 2]]], dtype=plait.uint8), scale_factor=2)
        tensor([[[1, 1, 2, 2]]], dtype=plait.uint8)
    """
    return interpolate(input, size, scale_factor, mode, align_corners)


def upsample_nearest(input: Any, size: Any = None, scale_factor: Any = None) -> Tensor:
    """Bring images to another size by repeating elements: `interpolate` in mode "nearest".

    Example:
        >>> plait.nn.functional.upsample_nearest(plait.tensor([[[1.0, 2.0]]]), scale_factor=2)
        tensor([[[1., 1., 2., 2.]]])
    """
    return interpolate(input, size, scale_factor, "nearest")


def upsample_bilinear(input: Any, size: Any = None, scale_factor: Any = None) -> Tensor:
    """Bring images to another size with their corners in place: `interpolate` in mode "bilinear".

    Example:
        >>> plait.nn.functional.upsample_bilinear(plait.tensor([[[[0.0, 1.0]]]]), (1, 3))
        tensor([[[[0.0000, 0.5000, 1.0000]]]])
    """
    return interpolate(input, size, scale_factor, "bilinear", align_corners=True)
