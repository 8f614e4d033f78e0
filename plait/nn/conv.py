"""Convolution and transposed convolution layers of one, two and three spatial axes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from plait.core.errors import ArgumentError, ArgumentTypeError, message
from plait.nn import init
from plait.nn.arguments import Sizes, positive, tuple_of
from plait.nn.functional.convolution import convolution_padding, convolved, convolved_transposed
from plait.nn.functional.padding import pad
from plait.nn.module import Module, check_features
from plait.tensor.creation import empty
from plait.tensor.tensor import Parameter, Tensor

__all__ = ["Conv1d", "Conv2d", "Conv3d", "ConvTranspose1d", "ConvTranspose2d", "ConvTranspose3d"]


class _ConvNd(Module):
    """What convolutions and transposed convolutions share."""

    _rank: ClassVar[int]
    _is_transposed: ClassVar[bool] = False

    def _set(
        self, in_channels: int, out_channels: int, kernel_size: Sizes, stride: Sizes, padding: Any, dilation: Sizes,
        groups: int, bias: bool, padding_mode: str, dtype: Any,
    ) -> None:  # fmt: skip
        self.in_channels = positive(in_channels, "in_channels")
        self.out_channels = positive(out_channels, "out_channels")
        self.kernel_size = tuple_of(kernel_size, self._rank, "kernel_size")
        self.stride = tuple_of(stride, self._rank, "stride")
        self.dilation = tuple_of(dilation, self._rank, "dilation")
        self.groups = positive(groups, "groups")
        if in_channels % groups or out_channels % groups:
            received = f"in_channels={in_channels}, out_channels={out_channels}, groups={groups}"
            raise ArgumentError(message("groups must divide the channels", received))
        modes = ("zeros",) if self._is_transposed else ("zeros", "reflect", "replicate", "circular")
        if padding_mode not in modes:
            raise ArgumentError(message("Unknown padding_mode", repr(padding_mode), ", ".join(modes)))
        self.padding = padding if isinstance(padding, str) else tuple_of(padding, self._rank, "padding", low=0)
        self.padding_mode = padding_mode
        first, second = (in_channels, out_channels) if self._is_transposed else (out_channels, in_channels)
        self.weight = Parameter(empty(first, second // groups, *self.kernel_size, dtype=dtype))
        self.register_parameter("bias", Parameter(empty(out_channels, dtype=dtype)) if bias else None)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the parameters again."""
        init.affine_(self.weight, self.bias)

    def _check_channels(self, input: Tensor) -> None:
        name = f"{type(self).__name__}({self.in_channels}, {self.out_channels}, {self.kernel_size})"
        check_features(name, input, -self._rank - 1, self.in_channels, "in_channels")

    def extra_repr(self) -> str:
        parts = [f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}, stride={self.stride}"]
        parts += [f"padding={self.padding}"] if self.padding != (0,) * self._rank else []
        parts += [f"dilation={self.dilation}"] if self.dilation != (1,) * self._rank else []
        output_padding = getattr(self, "output_padding", (0,) * self._rank)
        parts += [f"output_padding={output_padding}"] if any(output_padding) else []
        parts += [f"groups={self.groups}"] if self.groups != 1 else []
        parts += ["bias=False"] if self.bias is None else []
        parts += [f"padding_mode={self.padding_mode}"] if self.padding_mode != "zeros" else []
        return ", ".join(parts)


class _Conv(_ConvNd):
    """What the convolution layers share."""

    def __init__(
        self, in_channels: int, out_channels: int, kernel_size: Sizes, stride: Sizes = 1, padding: Any = 0,
        dilation: Sizes = 1, groups: int = 1, bias: bool = True, padding_mode: str = "zeros", device: Any = None,
        dtype: Any = None,
    ) -> None:  # fmt: skip
        self._set(
            in_channels, out_channels, kernel_size, stride, padding, dilation, groups, bias, padding_mode, dtype
        )  # fmt: skip
        self._pairs = convolution_padding(self.padding, self.kernel_size, self.stride, self.dilation)

    def forward(self, input: Tensor) -> Tensor:
        self._check_channels(input)
        padding = self.padding
        if self.padding_mode != "zeros":
            widths = [w for pair in reversed(self._pairs) for w in pair]
            input, padding = pad(input, widths, self.padding_mode), 0
        return convolved(
            self._rank, input, self.weight, self.bias, self.stride, padding, self.dilation, self.groups
        )  # fmt: skip


class Conv1d(_Conv):
    """A convolution over one spatial axis: [N, in_channels, W] to [N, out_channels, W'].

    Args:
        in_channels: channels of the input.
        out_channels: channels of the result.
        kernel_size: size of the window, one integer or one for each spatial axis.
        stride: step of the window, likewise.
        padding: elements added at both ends, likewise; or "same" or "valid".
        dilation: distance of the elements of the window, likewise.
        groups: into how many independent groups the channels are divided.
        bias: whether a bias is added.
        padding_mode: what is added: "zeros", "reflect", "replicate" or "circular".
        device: "cpu".
        dtype: element type of the parameters, float32 by default.

    Example:
        >>> plait.nn.Conv1d(2, 4, 3, padding="same")(plait.zeros(1, 2, 9)).shape
        (1, 4, 9)
    """

    _rank = 1


class Conv2d(_Conv):
    """A convolution over two spatial axes: [N, in_channels, H, W] to [N, out_channels, H', W'].

    The arguments are those of `Conv1d`.

    Example:
        >>> plait.nn.Conv2d(1, 4, 3, stride=2)(plait.zeros(1, 1, 9, 9)).shape
        (1, 4, 4, 4)
    """

    _rank = 2


class Conv3d(_Conv):
    """A convolution over three spatial axes: [N, in_channels, D, H, W] to [N, out_channels, D', H', W'].

    The arguments are those of `Conv1d`.

    Example:
        >>> plait.nn.Conv3d(1, 2, 3, padding=1)(plait.zeros(1, 1, 4, 4, 4)).shape
        (1, 2, 4, 4, 4)
    """

    _rank = 3


class _ConvTranspose(_ConvNd):
    """What the transposed convolution layers share."""

    _is_transposed = True

    def __init__(
        self, in_channels: int, out_channels: int, kernel_size: Sizes, stride: Sizes = 1, padding: Sizes = 0,
        output_padding: Sizes = 0, groups: int = 1, bias: bool = True, dilation: Sizes = 1,
        padding_mode: str = "zeros", device: Any = None, dtype: Any = None,
    ) -> None:  # fmt: skip
        self.output_padding = tuple_of(output_padding, self._rank, "output_padding", low=0)
        if isinstance(padding, str):
            raise ArgumentTypeError(message("padding of a transposed convolution is a number", repr(padding)))
        self._set(
            in_channels, out_channels, kernel_size, stride, padding, dilation, groups, bias, padding_mode, dtype
        )  # fmt: skip

    def forward(self, input: Tensor, output_size: Sequence[int] | None = None) -> Tensor:
        self._check_channels(input)
        extra = self.output_padding if output_size is None else self._extra(input, output_size)
        return convolved_transposed(
            self._rank, input, self.weight, self.bias, self.stride, self.padding, extra, self.groups, self.dilation
        )  # fmt: skip

    def _extra(self, input: Tensor, output_size: Sequence[int]) -> tuple[int, ...]:
        """Return the output padding with which the result has the spatial sizes of `output_size`."""
        wanted = tuple(output_size)[-self._rank :]
        rows = zip(
            input.shape[-self._rank :], self.stride, self.padding, self.dilation, self.kernel_size, strict=True
        )  # fmt: skip
        least = tuple((n - 1) * s - 2 * int(p) + d * (k - 1) + 1 for n, s, p, d, k in rows)
        largest = tuple(low + step - 1 for low, step in zip(least, self.stride, strict=True))
        if len(output_size) not in (self._rank, input.ndim) or not all(
            low <= n <= high for low, n, high in zip(least, wanted, largest, strict=True)
        ):
            text = f"{type(self).__name__} cannot make this output_size"
            raise ArgumentError(message(text, tuple(output_size), f"sizes from {least} to {largest}"))
        return tuple(n - low for n, low in zip(wanted, least, strict=True))


class ConvTranspose1d(_ConvTranspose):
    """A transposed convolution over one spatial axis: [N, in_channels, W] to [N, out_channels, W'].

    Args:
        in_channels: channels of the input.
        out_channels: channels of the result.
        kernel_size: size of the window, one integer or one for each spatial axis.
        stride: distance of the elements of the input in the result, likewise.
        padding: elements cut off at both ends, likewise.
        output_padding: elements added at the end, likewise; a call with `output_size` finds them itself.
        groups: into how many independent groups the channels are divided.
        bias: whether a bias is added.
        dilation: distance of the elements of the window, likewise.
        padding_mode: "zeros".
        device: "cpu".
        dtype: element type of the parameters, float32 by default.

    Example:
        >>> plait.nn.ConvTranspose1d(2, 4, 3, stride=2)(plait.zeros(1, 2, 4), output_size=[10]).shape
        (1, 4, 10)
    """

    _rank = 1


class ConvTranspose2d(_ConvTranspose):
    """A transposed convolution over two spatial axes: [N, in_channels, H, W] to [N, out_channels, H', W'].

    The arguments are those of `ConvTranspose1d`.

    Example:
        >>> plait.nn.ConvTranspose2d(1, 4, 2, stride=2)(plait.zeros(1, 1, 3, 3)).shape
        (1, 4, 6, 6)
    """

    _rank = 2


class ConvTranspose3d(_ConvTranspose):
    """A transposed convolution over three spatial axes: [N, in_channels, D, H, W] to [N, out_channels, D', H', W'].

    The arguments are those of `ConvTranspose1d`.

    Example:
        >>> plait.nn.ConvTranspose3d(1, 2, 2, stride=2)(plait.zeros(1, 1, 2, 2, 2)).shape
        (1, 2, 4, 4, 4)
    """

    _rank = 3
