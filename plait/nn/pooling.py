"""Pooling layers over windows of two spatial axes."""

from __future__ import annotations

from plait.nn.arguments import Sizes
from plait.nn.functional.pooling import avg_pool2d, max_pool2d
from plait.nn.module import Module
from plait.tensor.tensor import Tensor


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
