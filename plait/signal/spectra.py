"""The short-time Fourier transform and its inverse."""

from __future__ import annotations

from typing import Any

from plait.core.dtype import int64
from plait.core.errors import ArgumentError, DTypeError, ShapeError, message
from plait.core.graph import Node
from plait.core.primitive import P
from plait.fft import fft, ifft, irfft, rfft
from plait.prims.rules import broadcast_to
from plait.tensor.composite import composite
from plait.tensor.families import both_names
from plait.tensor.methods import attach
from plait.tensor.operators import common_dtype, scalar_node, single
from plait.tensor.tensor import Tensor, converted, node_of, wrap

_MODES = ("reflect", "constant", "replicate", "circular")
_MOST_SLICES = 64  # frames that overlap further are gathered


@both_names
@composite
def stft(
    x: Any,
    n_fft: int,
    hop_length: int | None = None,
    win_length: int | None = None,
    window: Any = None,
    center: bool = True,
    pad_mode: str = "reflect",
    normalized: bool = False,
    onesided: bool | None = None,
    return_complex: bool | None = None,
    align_to_window: bool | None = None,
) -> Tensor:
    """Return the short-time Fourier transform: that of overlapping frames of a signal.

    Args:
        x: a signal [length], or a batch of them [b, length]; real or complex.
        n_fft: the length of a frame.
        hop_length: the distance of two frames; by default n_fft // 4.
        win_length: the length of the window, at most `n_fft`, the default; it is padded with zeros on both sides.
        window: a tensor [win_length] that multiplies each frame; by default ones.
        center: whether the signal is padded so that frame t is centred at t * hop_length.
        pad_mode: how: "reflect", "constant", "replicate" or "circular".
        normalized: whether the result is divided by sqrt(n_fft).
        onesided: whether only the first half of a spectrum is returned; by default so for real signals.
        return_complex: False for a real result with parts along a last axis; needed for a real signal.
        align_to_window: without `center`, whether the first frame begins so that its window does.

    Returns:
        A complex tensor [b, frequencies, frames], or a real one [b, frequencies, frames, 2]; without b for one signal.

    Raises:
        ShapeError: the signal has another rank or is too short, or the window another size.
        DTypeError: the signal is not floating.
        ArgumentError: lengths do not fit each other, or arguments contradict each other.

    Source: Allen, "Short term spectral analysis, synthesis, and modification by discrete Fourier transform", 1977.

    Example:
        >>> plait.stft(plait.ones(8), 4, hop_length=2, return_complex=True).shape
        (3, 5)
    """
    node = single(x, "stft")
    _check_signal(node, center, pad_mode, align_to_window)
    shape, hop, weights = _frame_arguments("stft", n_fft, hop_length, win_length, window)
    is_complex = node.dtype.is_complex or weights is not None and weights.dtype.is_complex
    if return_complex is None and not is_complex:
        raise ArgumentError(message("stft of a real signal needs return_complex", "None", "True, or False for parts"))
    if onesided and is_complex:
        raise ArgumentError(message("A complex signal or window has no half spectrum", "onesided=True", "False"))
    if node.ndim == 1:
        node = P.reshape(node, shape=(1, *node.shape))
    if center:
        node = _padded(node, n_fft // 2, pad_mode)
    elif align_to_window:
        node = _padded(node, (n_fft - shape) // 2, "constant")
    if not 0 < n_fft <= node.shape[1]:
        raise ShapeError(message("stft: the signal is shorter than a frame", f"n_fft={n_fft}", f"1 to {node.shape[1]}"))
    if weights is not None:
        dtype = common_dtype([node, weights])
        node, weights = converted(node, dtype), converted(weights, dtype)
    frames = _frames(node, n_fft, hop)
    if weights is not None:
        frames = frames * _widened(weights, n_fft)
    whole = is_complex or onesided is False
    spectrum = (fft if whole else rfft)(wrap(frames), norm="ortho" if normalized else "backward").mT
    if single(x, "stft").ndim == 1:
        spectrum = spectrum[0]
    return _parts(node_of(spectrum)) if return_complex is False else spectrum


def _parts(node: Node) -> Tensor:
    """Return real and imaginary parts along a new last axis."""
    parts = [P.reshape(part(node), shape=(*node.shape, 1)) for part in (P.real, P.imag)]
    return wrap(P.concatenate(*parts, axis=node.ndim))


def _check_signal(node: Node, center: bool, pad_mode: str, align_to_window: bool | None) -> None:
    if node.ndim not in (1, 2):
        raise ShapeError(message("stft takes a signal or a batch of signals", f"shape {node.shape}", "rank 1 or 2"))
    if not node.dtype.is_inexact:
        fix = "convert with .to(plait.float32)"
        raise DTypeError(message("stft takes a floating-point signal", node.dtype.name, "a float dtype", fix))
    if pad_mode not in _MODES:
        raise ArgumentError(message("stft: unknown pad_mode", repr(pad_mode), "one of " + ", ".join(_MODES)))
    if center and align_to_window is not None:
        text = "stft: frames are centred or aligned to their window"
        raise ArgumentError(message(text, f"center=True, align_to_window={align_to_window}", "one of them"))


def _frame_arguments(
    name: str, n_fft: int, hop_length: int | None, win_length: int | None, window: Any
) -> tuple[int, int, Node | None]:
    hop = n_fft // 4 if hop_length is None else hop_length
    length = n_fft if win_length is None else win_length
    if hop <= 0 or not 0 < length <= n_fft:
        received = f"n_fft={n_fft}, hop_length={hop}, win_length={length}"
        raise ArgumentError(message(f"{name}: the lengths do not fit", received, "0 < hop, 0 < win_length <= n_fft"))
    if window is None:
        ones = None if length == n_fft else broadcast_to(scalar_node(1.0, common_dtype([1.0])), (length,))
        return length, hop, ones
    weights = single(window, name)
    if weights.shape != (length,):
        raise ShapeError(message(f"{name}: the window has another size", weights.shape, (length,)))
    return length, hop, weights


def _widened(window: Node, size: int) -> Node:
    """Pad a window with zeros on both sides."""
    left = (size - window.shape[0]) // 2
    high = size - window.shape[0] - left
    return P.pad(window, scalar_node(0, window.dtype), low=(left,), high=(high,), interior=(0,))


def _padded(node: Node, amount: int, mode: str) -> Node:
    """Pad the signals of a batch by `amount` on both sides."""
    size = node.shape[1]
    if mode == "constant":
        return P.pad(node, scalar_node(0, node.dtype), low=(0, amount), high=(0, amount), interior=(0, 0))
    if amount > size - (mode == "reflect") or not size:
        text, expected = f"stft cannot pad by {mode} so far", f"more than {amount} elements, or another pad_mode"
        raise ShapeError(message(text, f"{size} elements", expected))
    if not amount:
        return node

    def part(low: int, high: int) -> Node:
        return P.slice(node, starts=(0, low), limits=(node.shape[0], high), strides=(1, 1))

    if mode == "circular":
        return P.concatenate(part(size - amount, size), node, part(0, amount), axis=1)
    if mode == "replicate":
        ends = [broadcast_to(part(i, i + 1), (node.shape[0], amount)) for i in (0, size - 1)]
    else:
        ends = [P.reverse(part(i, i + amount), axes=(1,)) for i in (1, size - 1 - amount)]
    return P.concatenate(ends[0], node, ends[1], axis=1)


def _frames(node: Node, size: int, hop: int) -> Node:
    """Return the frames [b, frames, size] of signals [b, length]: slices where frames are whole hops."""
    batch, length = node.shape
    count, parts = (length - size) // hop + 1, size // hop
    if size % hop or parts > _MOST_SLICES:
        return P.transpose(P.gather(node, _positions(count, size, hop), axes=(1,), mode="clip"), permutation=(2, 0, 1))
    cut = P.slice(node, starts=(0, 0), limits=(batch, (count + parts - 1) * hop), strides=(1, 1))
    rows = P.reshape(cut, shape=(batch, count + parts - 1, hop))
    slices = [P.slice(rows, starts=(0, k, 0), limits=(batch, k + count, hop), strides=(1, 1, 1)) for k in range(parts)]
    return P.concatenate(*slices, axis=2) if parts > 1 else slices[0]


def _positions(count: int, size: int, hop: int) -> Node:
    first, offset = (P.iota(dtype=int64, shape=(count, size), axis=a) for a in (0, 1))
    return first * hop + offset


def _overlapped(frames: Node, hop: int) -> Node:
    """Add up frames [b, frames, size] at their places: the transpose of `_frames`."""
    batch, count, size = frames.shape
    parts, length = size // hop, (count - 1) * hop + size
    if size % hop or parts > _MOST_SLICES:
        zeros = broadcast_to(scalar_node(0, frames.dtype), (length, batch))
        updates = P.transpose(frames, permutation=(1, 2, 0))
        total = P.scatter_add(zeros, updates, _positions(count, size, hop), axes=(0,))
        return P.transpose(total, permutation=(1, 0))
    total: Node | None = None
    for k in range(parts):
        piece = P.slice(frames, starts=(0, 0, k * hop), limits=(batch, count, (k + 1) * hop), strides=(1, 1, 1))
        low, high = (0, k, 0), (0, parts - 1 - k, 0)
        moved = P.pad(piece, scalar_node(0, piece.dtype), low=low, high=high, interior=(0, 0, 0))
        total = moved if total is None else total + moved
    assert total is not None
    return P.reshape(total, shape=(batch, length))


@both_names
@composite
def istft(
    x: Any,
    n_fft: int,
    hop_length: int | None = None,
    win_length: int | None = None,
    window: Any = None,
    center: bool = True,
    normalized: bool = False,
    onesided: bool | None = None,
    length: int | None = None,
    return_complex: bool = False,
) -> Tensor:
    """Return the signal whose short-time Fourier transform is closest to `x`, in the least-squares sense.

    Args:
        x: a complex tensor [frequencies, frames], or [b, frequencies, frames], as of `stft`.
        n_fft: the length of a frame.
        hop_length: the distance of two frames; by default n_fft // 4.
        win_length: the length of the window, at most `n_fft`, the default.
        window: a tensor [win_length], that of `stft`; by default ones.
        center: whether the signal was padded.
        normalized: whether the transform was divided by sqrt(n_fft).
        onesided: whether `x` is half a spectrum; by default so if it has not `n_fft` frequencies.
        length: the length of the signal; by default what the frames cover.
        return_complex: whether the signal is complex.

    Returns:
        A tensor [length], or [b, length]. Where windows are all 0 it is not determined, and NaN.

    Raises:
        ShapeError: the number of frequencies does not fit `n_fft`, or the window has another size.
        DTypeError: `x` is not complex.
        ArgumentError: lengths do not fit each other, or arguments contradict each other.

    Source: Griffin and Lim, "Signal estimation from modified short-time Fourier transform", 1984.

    Example:
        >>> x = plait.tensor([1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0])
        >>> spectrum = plait.stft(x, 4, hop_length=2, return_complex=True)
        >>> plait.istft(spectrum, 4, hop_length=2)
        tensor([1., 2., 3., 4., 5., 6., 7., 8.])
    """
    node = single(x, "istft")
    size, hop, weights = _frame_arguments("istft", n_fft, hop_length, win_length, window)
    half = node.ndim > 1 and node.shape[-2] != n_fft if onesided is None else onesided
    _check_spectrum(node, n_fft, hop, size, half)
    if return_complex and half:
        raise ArgumentError(message("Half a spectrum is that of a real signal", "return_complex=True", "False"))
    if not return_complex and weights is not None and weights.dtype.is_complex:
        text = "A complex window makes a complex signal"
        raise ArgumentError(message(text, "return_complex=False", "return_complex=True"))
    spectrum = wrap(node if node.ndim == 3 else P.reshape(node, shape=(1, *node.shape))).mT
    frames = node_of((ifft if return_complex else irfft)(spectrum, n_fft, norm="ortho" if normalized else "backward"))
    first, covered = n_fft // 2 if center else 0, (node.shape[-1] - 1) * hop + n_fft
    last = covered - first if length is None else first + length
    signal = _weighted(frames, weights, hop, first, min(last, covered))
    high = (0, last - min(last, covered))
    result = wrap(P.pad(signal, scalar_node(0, signal.dtype), low=(0, 0), high=high, interior=(0, 0)))
    return result[0] if node.ndim == 2 else result


def _check_spectrum(node: Node, n_fft: int, hop: int, win_length: int, half: bool) -> None:
    if not node.dtype.is_complex:
        text = "istft takes a complex spectrum, as of stft with return_complex=True"
        raise DTypeError(message(text, node.dtype.name, "a complex dtype"))
    if node.ndim not in (2, 3) or not node.aval.size:
        expected = "[frequencies, frames] or [b, frequencies, frames], not empty"
        raise ShapeError(message("istft takes one spectrum or a batch", f"shape {node.shape}", expected))
    wanted = n_fft // 2 + 1 if half else n_fft
    if node.shape[-2] != wanted:
        raise ShapeError(message("istft: the number of frequencies does not fit n_fft", node.shape[-2], wanted))
    if hop > win_length:
        text = "istft needs frames that touch"
        raise ArgumentError(message(text, f"hop_length={hop}", f"at most win_length={win_length}"))


def _weighted(frames: Node, window: Node | None, hop: int, first: int, last: int) -> Node:
    """Return the sum of the weighted frames over the sum of the squared weights, from `first` to `last`."""
    _, count, size = frames.shape
    if window is None:
        window = broadcast_to(scalar_node(1, frames.dtype), (size,))
    wide = _widened(window, size)
    dtype = common_dtype([frames, wide])
    frames, wide = converted(frames, dtype), converted(wide, dtype)
    sums = [_overlapped(f, hop) for f in (frames * wide, broadcast_to(wide * wide, (1, count, size)))]
    # cut before dividing: where windows are 0 the quotient has no derivative
    above, below = [P.slice(s, starts=(0, first), limits=(s.shape[0], last), strides=(1, 1)) for s in sums]
    return above / below


attach([stft, istft])
