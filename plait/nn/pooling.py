"""Pooling layers over windows of one, two and three spatial axes."""

from __future__ import annotations

from typing import Any, ClassVar

from plait.core.errors import ArgumentError, message
from plait.nn.arguments import tuple_of
from plait.nn.functional import adaptive, pooling
from plait.nn.layer import Layer
from plait.tensor.tensor import Tensor

__all__ = [
    "AdaptiveAvgPool1d", "AdaptiveAvgPool2d", "AdaptiveAvgPool3d", "AdaptiveMaxPool1d", "AdaptiveMaxPool2d",
    "AdaptiveMaxPool3d", "AvgPool1d", "AvgPool2d", "AvgPool3d", "FractionalMaxPool2d", "FractionalMaxPool3d",
    "LPPool1d", "LPPool2d", "LPPool3d", "MaxPool1d", "MaxPool2d", "MaxPool3d", "MaxUnpool1d", "MaxUnpool2d",
    "MaxUnpool3d",
]  # fmt: skip

_WINDOW = "kernel_size={kernel_size}, stride={stride}, padding={padding}"


class _Pool(Layer):
    """What pooling over windows shares: without a stride, windows lie side by side."""

    def _check(self, given: dict[str, Any]) -> None:
        if given["stride"] is None:
            given["stride"] = given["kernel_size"]


class _MaxPool(_Pool, shown=_WINDOW + ", dilation={dilation}, ceil_mode={ceil_mode}"):
    """The arguments in the order that PyTorch has for the layers."""


_MAXIMUM = "kernel_size stride padding dilation return_indices ceil_mode"


class MaxPool1d(_MaxPool, function=pooling.max_pool1d, arguments=_MAXIMUM):
    """The largest element of each window of one spatial axis.

    Example:
        >>> plait.nn.MaxPool1d(2)(plait.zeros(1, 3, 8)).shape
        (1, 3, 4)
    """


class MaxPool2d(_MaxPool, function=pooling.max_pool2d, arguments=_MAXIMUM):
    """The largest element of each window of two spatial axes.

    Example:
        >>> plait.nn.MaxPool2d(2)(plait.zeros(1, 3, 8, 8)).shape
        (1, 3, 4, 4)
    """


class MaxPool3d(_MaxPool, function=pooling.max_pool3d, arguments=_MAXIMUM):
    """The largest element of each window of three spatial axes.

    Example:
        >>> plait.nn.MaxPool3d(2)(plait.zeros(1, 3, 8, 8, 8)).shape
        (1, 3, 4, 4, 4)
    """


class _AvgPool(_Pool, shown=_WINDOW):
    """The mean of a window."""


class AvgPool1d(
    _AvgPool, function=pooling.avg_pool1d, arguments="kernel_size stride padding ceil_mode count_include_pad"
):
    """The mean of each window of one spatial axis.

    Example:
        >>> plait.nn.AvgPool1d(2)(plait.zeros(1, 3, 8)).shape
        (1, 3, 4)
    """

    def _check(self, given: dict[str, Any]) -> None:
        super()._check(given)
        for name, low in (("kernel_size", 1), ("stride", 1), ("padding", 0)):
            given[name] = tuple_of(given[name], 1, name, low)


class AvgPool2d(_AvgPool, function=pooling.avg_pool2d):
    """The mean of each window of two spatial axes.

    Example:
        >>> plait.nn.AvgPool2d(2)(plait.zeros(1, 3, 8, 8)).shape
        (1, 3, 4, 4)
    """


class AvgPool3d(_AvgPool, function=pooling.avg_pool3d):
    """The mean of each window of three spatial axes.

    Example:
        >>> plait.nn.AvgPool3d(2)(plait.zeros(1, 3, 8, 8, 8)).shape
        (1, 3, 4, 4, 4)
    """


class _LPPool(Layer, shown="norm_type={norm_type}, kernel_size={kernel_size}, stride={stride}, ceil_mode={ceil_mode}"):
    """A norm of a window."""


class LPPool1d(_LPPool, function=pooling.lp_pool1d):
    """The p-norm of each window of one spatial axis.

    Example:
        >>> plait.nn.LPPool1d(2, 2)(plait.zeros(1, 3, 8)).shape
        (1, 3, 4)
    """


class LPPool2d(_LPPool, function=pooling.lp_pool2d):
    """The p-norm of each window of two spatial axes.

    Example:
        >>> plait.nn.LPPool2d(2, 2)(plait.zeros(1, 3, 8, 8)).shape
        (1, 3, 4, 4)
    """


class LPPool3d(_LPPool, function=pooling.lp_pool3d):
    """The p-norm of each window of three spatial axes.

    Example:
        >>> plait.nn.LPPool3d(2, 2)(plait.zeros(1, 3, 8, 8, 8)).shape
        (1, 3, 4, 4, 4)
    """


class _MaxUnpool(_Pool, shown=_WINDOW):
    """The partial inverse of maximum pooling."""

    _rank: ClassVar[int]

    def _check(self, given: dict[str, Any]) -> None:
        super()._check(given)
        for name, low in (("kernel_size", 1), ("stride", 1), ("padding", 0)):
            given[name] = tuple_of(given[name], self._rank, name, low)

    def forward(self, input: Tensor, indices: Tensor, output_size: Any = None) -> Tensor:
        return type(self)._function(input, indices, self.kernel_size, self.stride, self.padding, output_size)


class MaxUnpool1d(_MaxUnpool, function=pooling.max_unpool1d, arguments="kernel_size stride padding"):
    """Puts elements back where the maximum pooling of one spatial axis found them, zeros elsewhere.

    Example:
        >>> plait.nn.MaxUnpool1d(2)(plait.ones(1, 1, 1), plait.zeros(1, 1, 1, dtype=plait.int64)).shape
        (1, 1, 2)
    """

    _rank = 1


class MaxUnpool2d(_MaxUnpool, function=pooling.max_unpool2d, arguments="kernel_size stride padding"):
    """Puts elements back where the maximum pooling of two spatial axes found them, zeros elsewhere.

    Example:
        >>> plait.nn.MaxUnpool2d(2)(plait.ones(1, 1, 1, 1), plait.zeros(1, 1, 1, 1, dtype=plait.int64)).shape
        (1, 1, 2, 2)
    """

    _rank = 2


class MaxUnpool3d(_MaxUnpool, function=pooling.max_unpool3d, arguments="kernel_size stride padding"):
    """Puts elements back where the maximum pooling of three spatial axes found them, zeros elsewhere.

    Example:
        >>> plait.nn.MaxUnpool3d(2)(plait.ones(1, 1, 1, 1, 1), plait.zeros(1, 1, 1, 1, 1, dtype=plait.int64)).shape
        (1, 1, 2, 2, 2)
    """

    _rank = 3


class _AdaptivePool(Layer, shown="output_size={output_size}"):
    """Pooling over windows of a size such that as many are needed as the result has elements."""


class AdaptiveAvgPool1d(_AdaptivePool, function=adaptive.adaptive_avg_pool1d):
    """The mean of each of `output_size` windows of one spatial axis.

    Example:
        >>> plait.nn.AdaptiveAvgPool1d(2)(plait.zeros(1, 3, 7)).shape
        (1, 3, 2)
    """


class AdaptiveAvgPool2d(_AdaptivePool, function=adaptive.adaptive_avg_pool2d):
    """The mean of each of `output_size` windows of two spatial axes.

    Example:
        >>> plait.nn.AdaptiveAvgPool2d(2)(plait.zeros(1, 3, 7, 7)).shape
        (1, 3, 2, 2)
    """


class AdaptiveAvgPool3d(_AdaptivePool, function=adaptive.adaptive_avg_pool3d):
    """The mean of each of `output_size` windows of three spatial axes.

    Example:
        >>> plait.nn.AdaptiveAvgPool3d(2)(plait.zeros(1, 3, 7, 7, 7)).shape
        (1, 3, 2, 2, 2)
    """


class AdaptiveMaxPool1d(_AdaptivePool, function=adaptive.adaptive_max_pool1d):
    """The largest element of each of `output_size` windows of one spatial axis.

    Example:
        >>> plait.nn.AdaptiveMaxPool1d(2)(plait.zeros(1, 3, 7)).shape
        (1, 3, 2)
    """


class AdaptiveMaxPool2d(_AdaptivePool, function=adaptive.adaptive_max_pool2d):
    """The largest element of each of `output_size` windows of two spatial axes.

    Example:
        >>> plait.nn.AdaptiveMaxPool2d(2)(plait.zeros(1, 3, 7, 7)).shape
        (1, 3, 2, 2)
    """


class AdaptiveMaxPool3d(_AdaptivePool, function=adaptive.adaptive_max_pool3d):
    """The largest element of each of `output_size` windows of three spatial axes.

    Example:
        >>> plait.nn.AdaptiveMaxPool3d(2)(plait.zeros(1, 3, 7, 7, 7)).shape
        (1, 3, 2, 2, 2)
    """


class _FractionalMaxPool(Layer, buffers="_random_samples"):
    """Maximum pooling over windows at random distances (Graham, 2015)."""

    _rank: ClassVar[int]

    def _check(self, given: dict[str, Any]) -> None:
        if (given["output_size"] is None) == (given["output_ratio"] is None):
            received = f"output_size={given['output_size']}, output_ratio={given['output_ratio']}"
            raise ArgumentError(message(f"{type(self).__name__} takes one of two arguments", received, "exactly one"))
        given["kernel_size"] = tuple_of(given["kernel_size"], self._rank, "kernel_size")


class FractionalMaxPool2d(_FractionalMaxPool, function=adaptive.fractional_max_pool2d):
    """The largest element of windows at random distances along two spatial axes (Graham, 2015).

    Example:
        >>> plait.nn.FractionalMaxPool2d(2, output_size=3)(plait.zeros(1, 3, 7, 7)).shape
        (1, 3, 3, 3)
    """

    _rank = 2


class FractionalMaxPool3d(_FractionalMaxPool, function=adaptive.fractional_max_pool3d):
    """The largest element of windows at random distances along three spatial axes (Graham, 2015).

    Example:
        >>> plait.nn.FractionalMaxPool3d(2, output_size=3)(plait.zeros(1, 3, 7, 7, 7)).shape
        (1, 3, 3, 3, 3)
    """

    _rank = 3
