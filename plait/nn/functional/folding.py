"""Windows of images as columns and back, and channels traded for pixels."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

from plait.core.errors import ArgumentError, ShapeError, message
from plait.core.graph import Node
from plait.core.primitive import P
from plait.nn.arguments import Sizes, positive, tuple_of
from plait.prims.custom import with_transpose
from plait.tensor.composite import composite
from plait.tensor.shaping import as_operand
from plait.tensor.tensor import Tensor, node_of, scalar_node, wrap

__all__ = ["channel_shuffle", "fold", "native_channel_shuffle", "pixel_shuffle", "pixel_unshuffle", "unfold"]

Geometry = list[tuple[int, int, int, int, int]]  # size, window, stride, padding, dilation of each spatial axis


def _geometry(
    name: str, sizes: Sequence[int], kernel_size: Sizes, dilation: Sizes, padding: Sizes, stride: Sizes
) -> tuple[Geometry, list[int]]:
    """Return the windows over each spatial axis, and how many there are."""
    window, strides, dilations = (
        tuple_of(v, 2, n) for v, n in ((kernel_size, "kernel_size"), (stride, "stride"), (dilation, "dilation"))
    )
    rows = list(zip(sizes, window, strides, tuple_of(padding, 2, "padding", low=0), dilations, strict=True))
    counts = [(n + 2 * p - d * (k - 1) - 1) // s + 1 for n, k, s, p, d in rows]
    if min(counts) < 1:
        received = f"sizes {tuple(sizes)}, kernel_size={window}, dilation={dilations}, padding={padding}"
        raise ShapeError(message(f"{name}: the window is larger than the image", received, None, "add padding"))
    return rows, counts


def _window_columns(x: Node, rows: Geometry) -> Node:
    """Return the elements [N, C, *window, *positions] of all windows over [N, C, *spatial]."""
    zero = scalar_node(0, x.dtype)
    for number, (_, window, stride, padding, dilation) in enumerate(reversed(rows)):
        axis = x.ndim - 1 - number
        widths = tuple(padding if a == axis else 0 for a in range(x.ndim))
        x = P.pad(x, zero, low=widths, high=widths, interior=(0,) * x.ndim)
        count = (x.shape[axis] - dilation * (window - 1) - 1) // stride + 1
        strides = tuple(stride if a == axis else 1 for a in range(x.ndim))
        pieces = []
        for k in range(window):
            starts = tuple(k * dilation if a == axis else 0 for a in range(x.ndim))
            end = k * dilation + (count - 1) * stride + 1
            limits = tuple(end if a == axis else n for a, n in enumerate(x.shape))
            piece = P.slice(x, starts=starts, limits=limits, strides=strides)
            pieces.append(P.reshape(piece, shape=(*piece.shape[:2], 1, *piece.shape[2:])))
        x = P.concatenate(*pieces, axis=2)
    return x


def _summed_columns(x: Node, rows: Geometry) -> Node:
    """Return [N, C, *spatial], each element the sum over the windows that contain it: `_window_columns` transposed."""
    zero = scalar_node(0, x.dtype)
    for number, (size, window, stride, padding, dilation) in enumerate(rows):
        axis, total = x.ndim - len(rows) + number, None
        for k in range(window):
            piece = P.slice(
                x, starts=tuple(k if a == 2 else 0 for a in range(x.ndim)), strides=(1,) * x.ndim,
                limits=tuple(k + 1 if a == 2 else n for a, n in enumerate(x.shape)),
            )  # fmt: skip
            first = k * dilation - padding
            rest = size - first - (x.shape[axis] - 1) * stride - 1
            low, high, between = (
                tuple(v if a == axis else 0 for a in range(x.ndim)) for v in (first, rest, stride - 1)
            )
            piece = P.pad(piece, zero, low=low, high=high, interior=between)
            piece = P.reshape(piece, shape=(*piece.shape[:2], *piece.shape[3:]))
            total = piece if total is None else total + piece
        assert total is not None
        x = total
    return x


@composite
def unfold(input: Any, kernel_size: Sizes, dilation: Sizes = 1, padding: Sizes = 0, stride: Sizes = 1) -> Tensor:
    """Return the elements of each window over images as columns (im2col).

    Args:
        input: a tensor [N, C, H, W], or [C, H, W].
        kernel_size: size of the window, one integer or two.
        dilation: distance of the elements of the window, likewise.
        padding: zeros added at both ends, likewise.
        stride: step of the window, likewise.

    Returns:
        A tensor [N, C * window, windows].

    Raises:
        ShapeError: the input has another number of axes, or the window is larger than the padded image.
        ArgumentError: an argument has another length, or is out of range.

    Example:
        >>> plait.nn.functional.unfold(plait.tensor([[[[1, 2, 3]]]]), (1, 2))
        tensor([[[1, 2],
                 [2, 3]]])
    """
    x = as_operand(input, "unfold")
    if x.ndim not in (3, 4):
        raise ShapeError(message("unfold takes images", f"shape {x.shape}", "[N, C, H, W], or [C, H, W]"))
    images = x[None] if x.ndim == 3 else x
    rows, counts = _geometry("unfold", images.shape[2:], kernel_size, dilation, padding, stride)
    columns = wrap(
        with_transpose(lambda x: _window_columns(x, rows), lambda y: _summed_columns(y, rows), node_of(images))
    )
    result = columns.reshape(*images.shape[:1], prod(columns.shape[1:4]), prod(counts))
    return result[0] if x.ndim == 3 else result


@composite
def fold(
    input: Any, output_size: Sizes, kernel_size: Sizes, dilation: Sizes = 1, padding: Sizes = 0, stride: Sizes = 1
) -> Tensor:
    """Sum columns of windows into images (col2im): the transpose of `unfold`.

    Args:
        input: a tensor [N, C * window, windows], or without N.
        output_size: height and width of the images.
        kernel_size: size of the window, one integer or two.
        dilation: distance of the elements of the window, likewise.
        padding: elements cut off at both ends, likewise.
        stride: step of the window, likewise.

    Returns:
        A tensor [N, C, *output_size].

    Raises:
        ShapeError: the columns do not fit the windows.
        ArgumentError: an argument has another length, or is out of range.

    Example:
        >>> plait.nn.functional.fold(plait.tensor([[[1, 2], [2, 3]]]), (1, 3), (1, 2))
        tensor([[[[1, 4, 3]]]])
    """
    x = as_operand(input, "fold")
    if x.ndim not in (2, 3):
        raise ShapeError(message("fold takes columns", f"shape {x.shape}", "[N, C * window, windows], or without N"))
    columns = x[None] if x.ndim == 2 else x
    sizes, window = tuple_of(output_size, 2, "output_size"), tuple_of(kernel_size, 2, "kernel_size")
    rows, counts = _geometry("fold", sizes, kernel_size, dilation, padding, stride)
    if columns.shape[1] % prod(window) or columns.shape[2] != prod(counts):
        expected = f"a multiple of {prod(window)} rows and {prod(counts)} columns"
        raise ShapeError(message("fold: the columns do not fit the windows", f"shape {x.shape}", expected))
    split = columns.reshape(columns.shape[0], columns.shape[1] // prod(window), *window, *counts)
    result = wrap(
        with_transpose(lambda y: _summed_columns(y, rows), lambda x: _window_columns(x, rows), node_of(split))
    )
    return result[0] if x.ndim == 2 else result


@composite
def pixel_shuffle(input: Any, upscale_factor: int) -> Tensor:
    """Turn groups of channels into blocks of pixels (Shi et al., 2016).

    Args:
        input: a tensor [..., C * r * r, H, W].
        upscale_factor: r.

    Returns:
        A tensor [..., C, H * r, W * r].

    Raises:
        ShapeError: the channels are not a multiple of r * r, or there are fewer than three axes.

    Example:
        >>> plait.pixel_shuffle(plait.arange(4).reshape(4, 1, 1), 2)
        tensor([[[0, 1],
                 [2, 3]]])
    """
    x, r = _image(input, "pixel_shuffle"), positive(upscale_factor, "upscale_factor")
    *lead, channels, height, width = x.shape
    if channels % (r * r):
        received = f"{channels} channels, upscale_factor={r}"
        expected = f"a multiple of {r * r} channels"
        raise ShapeError(message("pixel_shuffle: the channels do not divide into blocks", received, expected))
    n, split = len(lead), (*lead, channels // (r * r), r, r, height, width)
    blocks = x.reshape(split).permute(*range(n + 1), n + 3, n + 1, n + 4, n + 2)
    return blocks.reshape(*lead, channels // (r * r), height * r, width * r)


@composite
def pixel_unshuffle(input: Any, downscale_factor: int) -> Tensor:
    """Turn blocks of pixels into groups of channels: the inverse of `pixel_shuffle`.

    Args:
        input: a tensor [..., C, H * r, W * r].
        downscale_factor: r.

    Returns:
        A tensor [..., C * r * r, H, W].

    Raises:
        ShapeError: the height or width is not a multiple of r, or there are fewer than three axes.

    Example:
        >>> plait.pixel_unshuffle(plait.arange(4).reshape(1, 2, 2), 2).shape
        (4, 1, 1)
    """
    x, r = _image(input, "pixel_unshuffle"), positive(downscale_factor, "downscale_factor")
    *lead, channels, height, width = x.shape
    if height % r or width % r:
        received = f"{height} x {width} pixels, downscale_factor={r}"
        expected = f"sizes divisible by {r}"
        raise ShapeError(message("pixel_unshuffle: the image does not divide into blocks", received, expected))
    n, split = len(lead), (*lead, channels, height // r, r, width // r, r)
    blocks = x.reshape(split).permute(*range(n + 1), n + 2, n + 4, n + 1, n + 3)
    return blocks.reshape(*lead, channels * r * r, height // r, width // r)


def _image(input: Any, name: str) -> Tensor:
    x = as_operand(input, name)
    if x.ndim < 3:
        raise ShapeError(message(f"{name} takes images", f"shape {x.shape}", "[..., C, H, W]"))
    return x


@composite
def channel_shuffle(input: Any, groups: int) -> Tensor:
    """Deal the channels of each group out to all groups (Zhang et al., 2018).

    Args:
        input: a tensor [N, C, ...].
        groups: number of groups.

    Returns:
        A tensor of the shape of `input`.

    Raises:
        ShapeError: there are fewer than three axes.
        ArgumentError: `groups` does not divide the channels.

    Example:
        >>> plait.channel_shuffle(plait.arange(4).reshape(1, 4, 1), 2).flatten()
        tensor([0, 2, 1, 3])
    """
    x = _image(input, "channel_shuffle")
    if x.shape[1] % positive(groups, "groups"):
        raise ArgumentError(message("groups must divide the channels", f"{x.shape[1]} channels, groups={groups}"))
    split = x.reshape(x.shape[0], groups, x.shape[1] // groups, *x.shape[2:])
    return split.swapaxes(1, 2).reshape(x.shape)


native_channel_shuffle = channel_shuffle
