"""Pooling over windows of two spatial axes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from plait.core.errors import ArgumentError, ShapeError, message
from plait.core.primitive import P
from plait.nn.arguments import floating, tuple_of, with_batch
from plait.nn.module import Module
from plait.tensor.creation import tensor
from plait.tensor.tensor import Tensor, node_of, wrap

Sizes = int | Sequence[int]


def _geometry(
    name: str, x: Tensor, kernel_size: Sizes, stride: Sizes | None, padding: Sizes, dilation: Sizes, ceil_mode: bool
) -> dict[str, Any]:
    """Return the parameters of a window reduction over [N, C, H, W]."""
    window, pads = tuple_of(kernel_size, 2, "kernel_size"), tuple_of(padding, 2, "padding", low=0)
    strides = window if stride is None else tuple_of(stride, 2, "stride")
    dilations = tuple_of(dilation, 2, "dilation")
    if any(2 * p > k for p, k in zip(pads, window, strict=True)):
        expected = "at most half of kernel_size"
        raise ArgumentError(
            message(f"{name}: the padding is too wide", f"padding={pads}, kernel_size={window}", expected)
        )
    pairs = []
    for size, k, s, p, d in zip(x.shape[2:], window, strides, pads, dilations, strict=True):
        rest = size + 2 * p - d * (k - 1) - 1
        if rest < 0:
            received = f"an input of shape {x.shape}, kernel_size={window}, padding={pads}"
            raise ShapeError(message(f"{name}: the window is larger than the input", received))
        count = rest // s + 1
        if ceil_mode and rest % s and count * s < size + p:  # one more window, if it starts inside
            count += 1
        pairs.append((p, max(p, (count - 1) * s + d * (k - 1) + 1 - size - p)))
    return {
        "window": (1, 1, *window), "strides": (1, 1, *strides), "padding": ((0, 0), (0, 0), *pairs),
        "window_dilation": (1, 1, *dilations),
    }  # fmt: skip


def max_pool2d(
    input: Any, kernel_size: Sizes, stride: Sizes | None = None, padding: Sizes = 0, dilation: Sizes = 1,
    ceil_mode: bool = False,
) -> Tensor:  # fmt: skip
    """Return the largest element of each window.

    Args:
        input: a tensor [N, C, H, W], or [C, H, W].
        kernel_size: size of the window, one integer or two.
        stride: its step, by default its size.
        padding: elements (that are never the largest) added at both ends.
        dilation: distance of the elements of the window.
        ceil_mode: whether a last window that is only partly inside counts.

    Returns:
        A tensor [N, C, H', W'].

    Raises:
        ShapeError: the window is larger than the input, or the input has another number of axes.
        ArgumentError: the padding is more than half a window.

    Example:
        >>> plait.nn.functional.max_pool2d(plait.tensor([[[1.0, 2.0], [3.0, 4.0]]]), 2)
        tensor([[[4.]]])
    """
    x, is_single = with_batch(floating(input, "max_pool2d"), 2, "max_pool2d")
    params = _geometry("max_pool2d", x, kernel_size, stride, padding, dilation, ceil_mode)
    result = wrap(P.reduce_window_max(node_of(x), **params))
    return result[0] if is_single else result


def avg_pool2d(
    input: Any, kernel_size: Sizes, stride: Sizes | None = None, padding: Sizes = 0, ceil_mode: bool = False,
    count_include_pad: bool = True, divisor_override: int | None = None,
) -> Tensor:  # fmt: skip
    """Return the mean of each window.

    Args:
        input: a tensor [N, C, H, W], or [C, H, W].
        kernel_size: size of the window, one integer or two.
        stride: its step, by default its size.
        padding: zeros added at both ends.
        ceil_mode: whether a last window that is only partly inside counts.
        count_include_pad: whether the added zeros count in the mean.
        divisor_override: divides the sums instead of the number of elements.

    Returns:
        A tensor [N, C, H', W'].

    Raises:
        ShapeError: the window is larger than the input, or the input has another number of axes.
        ArgumentError: the padding is more than half a window.

    Example:
        >>> plait.nn.functional.avg_pool2d(plait.tensor([[[1.0, 2.0], [3.0, 4.0]]]), 2)
        tensor([[[2.5000]]])
    """
    x, is_single = with_batch(floating(input, "avg_pool2d"), 2, "avg_pool2d")
    params = _geometry("avg_pool2d", x, kernel_size, stride, padding, 1, ceil_mode)
    total = wrap(P.reduce_window_sum(node_of(x), **params))
    included = tuple_of(padding, 2, "padding", low=0) if count_include_pad else (0, 0)
    rows, columns = (
        _counts(x.shape[a], params["window"][a], params["strides"][a], params["padding"][a], included[a - 2])
        for a in (2, 3)
    )
    if divisor_override is not None:
        result = total / divisor_override
    elif len({*rows}) == 1 and len({*columns}) == 1:
        result = total / (rows[0] * columns[0])
    else:
        result = total / (tensor(rows, x.dtype)[:, None] * tensor(columns, x.dtype))
    return result[0] if is_single else result


def _counts(size: int, window: int, stride: int, padding: tuple[int, int], included: int) -> list[int]:
    """Return how many elements each window along an axis has inside the input widened by `included`."""
    starts = range(-padding[0], size + padding[1] - window + 1, stride)
    return [min(s + window, size + included) - max(s, -included) for s in starts]


class MaxPool2d(Module):
    """The largest element of each window of two spatial axes; the arguments are those of `functional.max_pool2d`.

    Example:
        >>> plait.nn.MaxPool2d(2)(plait.zeros(1, 3, 8, 8)).shape
        (1, 3, 4, 4)
    """

    def __init__(
        self, kernel_size: Sizes, stride: Sizes | None = None, padding: Sizes = 0, dilation: Sizes = 1,
        ceil_mode: bool = False,
    ) -> None:  # fmt: skip
        self.kernel_size, self.stride = kernel_size, kernel_size if stride is None else stride
        self.padding, self.dilation, self.ceil_mode = padding, dilation, ceil_mode

    def forward(self, input: Tensor) -> Tensor:
        return max_pool2d(input, self.kernel_size, self.stride, self.padding, self.dilation, self.ceil_mode)

    def extra_repr(self) -> str:
        text = f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}"
        return f"{text}, dilation={self.dilation}, ceil_mode={self.ceil_mode}"


class AvgPool2d(Module):
    """The mean of each window of two spatial axes; the arguments are those of `functional.avg_pool2d`.

    Example:
        >>> plait.nn.AvgPool2d(2)(plait.zeros(1, 3, 8, 8)).shape
        (1, 3, 4, 4)
    """

    def __init__(
        self, kernel_size: Sizes, stride: Sizes | None = None, padding: Sizes = 0, ceil_mode: bool = False,
        count_include_pad: bool = True, divisor_override: int | None = None,
    ) -> None:  # fmt: skip
        self.kernel_size, self.stride = kernel_size, kernel_size if stride is None else stride
        self.padding, self.ceil_mode = padding, ceil_mode
        self.count_include_pad, self.divisor_override = count_include_pad, divisor_override

    def forward(self, input: Tensor) -> Tensor:
        return avg_pool2d(
            input, self.kernel_size, self.stride, self.padding, self.ceil_mode, self.count_include_pad,
            self.divisor_override,
        )  # fmt: skip

    def extra_repr(self) -> str:
        return f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}"
