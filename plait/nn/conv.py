"""Convolution layers of one, two and three spatial axes."""

from __future__ import annotations

from typing import Any

from plait.core.errors import ArgumentError, message
from plait.nn import init
from plait.nn.arguments import Sizes, positive, tuple_of
from plait.nn.functional.convolution import convolution_padding, convolved
from plait.nn.functional.padding import MODES, pad
from plait.nn.module import Module, check_features
from plait.tensor.creation import empty
from plait.tensor.tensor import Parameter, Tensor


class _Conv(Module):
    """What the convolution layers share."""

    _rank: int

    def __init__(
        self, in_channels: int, out_channels: int, kernel_size: Sizes, stride: Sizes = 1, padding: Any = 0,
        dilation: Sizes = 1, groups: int = 1, bias: bool = True, padding_mode: str = "zeros", device: Any = None,
        dtype: Any = None,
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
        if padding_mode not in MODES:
            raise ArgumentError(message("Unknown padding_mode", repr(padding_mode), ", ".join(MODES)))
        self.padding = padding if isinstance(padding, str) else tuple_of(padding, self._rank, "padding", low=0)
        self._pairs = convolution_padding(self.padding, self.kernel_size, self.stride, self.dilation)
        self.padding_mode = padding_mode
        self.weight = Parameter(empty(out_channels, in_channels // groups, *self.kernel_size, dtype=dtype))
        self.register_parameter("bias", Parameter(empty(out_channels, dtype=dtype)) if bias else None)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the parameters again."""
        init.affine_(self.weight, self.bias)

    def forward(self, input: Tensor) -> Tensor:
        name = f"{type(self).__name__}({self.in_channels}, {self.out_channels}, {self.kernel_size})"
        check_features(name, input, -self._rank - 1, self.in_channels, "in_channels")
        padding = self.padding
        if self.padding_mode != "zeros":
            widths = [w for pair in reversed(self._pairs) for w in pair]
            input, padding = pad(input, widths, self.padding_mode), 0
        return convolved(
            self._rank, input, self.weight, self.bias, self.stride, padding, self.dilation, self.groups
        )  # fmt: skip

    def extra_repr(self) -> str:
        parts = [f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}, stride={self.stride}"]
        parts += [f"padding={self.padding}"] if self.padding != (0,) * self._rank else []
        parts += [f"dilation={self.dilation}"] if self.dilation != (1,) * self._rank else []
        parts += [f"groups={self.groups}"] if self.groups != 1 else []
        parts += ["bias=False"] if self.bias is None else []
        parts += [f"padding_mode={self.padding_mode}"] if self.padding_mode != "zeros" else []
        return ", ".join(parts)


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
