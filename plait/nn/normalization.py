"""Normalization layers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from plait.core.errors import ShapeError, message
from plait.nn.arguments import positive
from plait.nn.functional.normalization import batch_norm, last_axes, layer_norm
from plait.nn.module import Module, check_features
from plait.tensor.autograd import no_grad
from plait.tensor.creation import ones, tensor, zeros
from plait.tensor.tensor import Parameter, Tensor


class _BatchNorm(Module):
    """What the batch normalization layers share."""

    _axes: tuple[int, ...]

    def __init__(
        self, num_features: int, eps: float = 1e-5, momentum: float | None = 0.1, affine: bool = True,
        track_running_stats: bool = True, device: Any = None, dtype: Any = None, *, bias: bool = True,
    ) -> None:  # fmt: skip
        self.num_features, self.eps, self.momentum = positive(num_features, "num_features"), eps, momentum
        self.affine, self.track_running_stats = affine, track_running_stats
        self.register_parameter("weight", Parameter(ones(num_features, dtype=dtype)) if affine else None)
        has_bias = affine and bias
        self.register_parameter("bias", Parameter(zeros(num_features, dtype=dtype)) if has_bias else None)
        self.register_buffer("running_mean", zeros(num_features, dtype=dtype) if track_running_stats else None)
        self.register_buffer("running_var", ones(num_features, dtype=dtype) if track_running_stats else None)
        self.register_buffer("num_batches_tracked", tensor(0) if track_running_stats else None)

    def reset_running_stats(self) -> None:
        """Forget the running statistics."""
        if self.track_running_stats:
            self.running_mean.zero_()
            self.running_var.fill_(1)
            self.num_batches_tracked.zero_()

    def forward(self, input: Tensor) -> Tensor:
        if input.ndim not in self._axes:
            expected = "a batch of channels of rank " + " or ".join(map(str, self._axes))
            raise ShapeError(message(f"{type(self).__name__} takes other axes", f"shape {input.shape}", expected))
        name = f"{type(self).__name__}({self.num_features})"
        check_features(name, input, 1, self.num_features, "num_features")
        momentum = self.momentum
        if self.training and self.track_running_stats:
            with no_grad():
                self.num_batches_tracked += 1
                if momentum is None:  # a plain average over all batches
                    momentum = 1.0 / self.num_batches_tracked.to(self.running_mean.dtype)
        return batch_norm(
            input, self.running_mean, self.running_var, self.weight, self.bias,
            self.training or not self.track_running_stats, momentum, self.eps,
        )  # fmt: skip

    def extra_repr(self) -> str:
        text = f"{self.num_features}, eps={self.eps}, momentum={self.momentum}, affine={self.affine}"
        has_bias = self.affine and self.bias is not None
        return f"{text}, bias={has_bias}, track_running_stats={self.track_running_stats}"


class BatchNorm1d(_BatchNorm):
    """Normalizes each channel of [N, C] or [N, C, L] over the batch.

    Args:
        num_features: the number of channels C.
        eps: added to the variance.
        momentum: weight of a batch in the running statistics; None averages over all batches.
        affine: whether the result is multiplied by a trained weight and added to a bias.
        track_running_stats: whether running statistics are kept, and used in evaluation mode.
        device: "cpu".
        dtype: element type, float32 by default.
        bias: whether, if affine, there is a bias.

    Example:
        >>> plait.nn.BatchNorm1d(3)(plait.ones(2, 3)).shape
        (2, 3)
    """

    _axes = (2, 3)


class BatchNorm2d(_BatchNorm):
    """Normalizes each channel of [N, C, H, W] over the batch; the arguments are those of `BatchNorm1d`.

    Example:
        >>> plait.nn.BatchNorm2d(3)(plait.ones(2, 3, 4, 4)).shape
        (2, 3, 4, 4)
    """

    _axes = (4,)


class LayerNorm(Module):
    """Normalizes over the last axes.

    Args:
        normalized_shape: sizes of the last axes.
        eps: added to the variance.
        elementwise_affine: whether the result is multiplied by a trained weight.
        bias: whether a trained bias is added too.
        device: "cpu".
        dtype: element type, float32 by default.

    Example:
        >>> plait.nn.LayerNorm(4)(plait.ones(2, 4)).shape
        (2, 4)
    """

    def __init__(
        self, normalized_shape: int | Sequence[int], eps: float = 1e-5, elementwise_affine: bool = True,
        bias: bool = True, device: Any = None, dtype: Any = None,
    ) -> None:  # fmt: skip
        self.normalized_shape, self.eps, self.elementwise_affine = last_axes(normalized_shape), eps, elementwise_affine
        weight = Parameter(ones(self.normalized_shape, dtype=dtype)) if elementwise_affine else None
        self.register_parameter("weight", weight)
        has_bias = elementwise_affine and bias
        self.register_parameter("bias", Parameter(zeros(self.normalized_shape, dtype=dtype)) if has_bias else None)

    def forward(self, input: Tensor) -> Tensor:
        return layer_norm(input, self.normalized_shape, self.weight, self.bias, self.eps)

    def extra_repr(self) -> str:
        text = f"{self.normalized_shape}, eps={self.eps}, elementwise_affine={self.elementwise_affine}"
        return f"{text}, bias={self.bias is not None}"
