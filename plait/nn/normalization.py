"""Normalization over the batch and over features."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from plait.core.dtype import float32
from plait.core.errors import ArgumentError, ShapeError, message
from plait.nn.arguments import floating, positive
from plait.nn.module import Module, check_features
from plait.tensor.autograd import no_grad
from plait.tensor.creation import ones, tensor, zeros
from plait.tensor.functions import rsqrt
from plait.tensor.tensor import Parameter, Tensor


def _widened(x: Tensor) -> Tensor:
    """Statistics of 16-bit floats are taken in float32."""
    return x.to(float32) if x.dtype.bits < 32 else x


def batch_norm(
    input: Any, running_mean: Tensor | None, running_var: Tensor | None, weight: Tensor | None = None,
    bias: Tensor | None = None, training: bool = False, momentum: float = 0.1, eps: float = 1e-5,
) -> Tensor:  # fmt: skip
    """Normalize each channel by its mean and variance (Ioffe and Szegedy, 2015).

    Args:
        input: a tensor [N, C, ...].
        running_mean: a vector [C], updated in place while `training`; None keeps no statistics.
        running_var: likewise for the (unbiased) variance.
        weight: a vector [C] that multiplies the result.
        bias: a vector [C] that is added.
        training: whether the statistics are those of the batch, not the running ones.
        momentum: weight of the batch in the running statistics.
        eps: added to the variance.

    Returns:
        A tensor of the shape and dtype of `input`.

    Raises:
        ShapeError: the input has no channels, or only one value for each while `training`.
        ArgumentError: not `training`, and no running statistics.

    Example:
        >>> plait.nn.functional.batch_norm(plait.tensor([[1.0], [3.0]]), None, None, training=True, eps=0.0)
        tensor([[-1.],
                [ 1.]])
    """
    x = floating(input, "batch_norm")
    if x.ndim < 2:
        raise ShapeError(message("batch_norm takes [N, C, ...]", f"shape {x.shape}", "at least two axes"))
    wide, axes = _widened(x), (0, *range(2, x.ndim))
    column = (-1, *(1,) * (x.ndim - 2))
    if training:
        count = math.prod(x.shape) // max(1, x.shape[1])
        if count < 2:
            fix = "use a larger batch, or .eval()"
            text = "batch_norm in training needs more than one value for each channel"
            raise ShapeError(message(text, f"shape {x.shape}", None, fix))
        mean = wide.mean(axes)
        centered = wide - mean.reshape(column)
        variance = (centered * centered).mean(axes)
        if running_mean is not None and running_var is not None:
            with no_grad():
                _follow(running_mean, mean, momentum)
                _follow(running_var, variance * (count / (count - 1)), momentum)
    elif running_mean is None or running_var is None:
        text = "batch_norm has no running statistics to evaluate with"
        raise ArgumentError(message(text, fix="pass training=True, or running_mean and running_var"))
    else:
        variance = _widened(running_var)
        centered = wide - _widened(running_mean).reshape(column)
    scale = rsqrt(variance + eps)
    scale = scale if weight is None else scale * weight
    result = centered * scale.reshape(column)
    result = result if bias is None else result + bias.reshape(column)
    return result.to(x.dtype)


def _follow(running: Tensor, value: Tensor, momentum: float) -> None:
    running.copy_(running * (1 - momentum) + value.detach() * momentum)


def layer_norm(
    input: Any, normalized_shape: int | Sequence[int], weight: Tensor | None = None, bias: Tensor | None = None,
    eps: float = 1e-5,
) -> Tensor:  # fmt: skip
    """Normalize over the last axes by their mean and variance (Ba, Kiros and Hinton, 2016).

    Args:
        input: a tensor [..., *normalized_shape].
        normalized_shape: sizes of the last axes.
        weight: a tensor of that shape that multiplies the result.
        bias: a tensor of that shape that is added.
        eps: added to the variance.

    Returns:
        A tensor of the shape and dtype of `input`.

    Raises:
        ShapeError: the last axes have other sizes.

    Example:
        >>> plait.nn.functional.layer_norm(plait.tensor([1.0, 3.0]), (2,), eps=0.0)
        tensor([-1.,  1.])
    """
    x, shape = floating(input, "layer_norm"), _shape(normalized_shape)
    if x.shape[-len(shape) :] != shape:
        fix = "normalized_shape is the sizes of the last axes"
        text = "layer_norm was made for other last axes"
        raise ShapeError(message(text, f"an input of shape {x.shape}", f"[..., {', '.join(map(str, shape))}]", fix))
    wide, axes = _widened(x), tuple(range(-len(shape), 0))
    centered = wide - wide.mean(axes, keepdims=True)
    result = centered * rsqrt((centered * centered).mean(axes, keepdims=True) + eps)
    result = result if weight is None else result * weight
    result = result if bias is None else result + bias
    return result.to(x.dtype)


def _shape(normalized_shape: int | Sequence[int]) -> tuple[int, ...]:
    shape = (normalized_shape,) if hasattr(normalized_shape, "__index__") else tuple(normalized_shape)
    if not shape:
        raise ArgumentError(message("normalized_shape is empty", shape, "the sizes of the last axes"))
    return tuple(positive(n, "normalized_shape") for n in shape)


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
        self.normalized_shape, self.eps, self.elementwise_affine = _shape(normalized_shape), eps, elementwise_affine
        weight = Parameter(ones(self.normalized_shape, dtype=dtype)) if elementwise_affine else None
        self.register_parameter("weight", weight)
        has_bias = elementwise_affine and bias
        self.register_parameter("bias", Parameter(zeros(self.normalized_shape, dtype=dtype)) if has_bias else None)

    def forward(self, input: Tensor) -> Tensor:
        return layer_norm(input, self.normalized_shape, self.weight, self.bias, self.eps)

    def extra_repr(self) -> str:
        text = f"{self.normalized_shape}, eps={self.eps}, elementwise_affine={self.elementwise_affine}"
        return f"{text}, bias={self.bias is not None}"
