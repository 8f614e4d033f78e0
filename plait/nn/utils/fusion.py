"""Batch normalizations in evaluation mode merged into the layer before."""

from __future__ import annotations

import copy
from typing import Any, TypeVar

from plait.core.errors import ArgumentError, message
from plait.nn.module import Module
from plait.tensor.autograd import no_grad
from plait.tensor.functions import rsqrt
from plait.tensor.tensor import Parameter, Tensor

Layer = TypeVar("Layer", bound=Module)


def _fused(
    weight: Tensor, bias: Tensor | None, mean: Tensor, variance: Tensor, eps: float, bn_weight: Tensor | None,
    bn_bias: Tensor | None, axis: int,
) -> tuple[Parameter, Parameter]:  # fmt: skip
    with no_grad():
        scale = rsqrt(variance + eps)
        scale = scale if bn_weight is None else scale * bn_weight
        shape = [-1 if a == axis else 1 for a in range(weight.ndim)]
        moved = -mean * scale if bias is None else (bias - mean) * scale
        moved = moved if bn_bias is None else moved + bn_bias
        fused = weight.detach() * scale.reshape(shape)
        return Parameter(fused.to(weight.dtype)), Parameter(moved.detach().to(weight.dtype))


def fuse_conv_bn_weights(
    conv_w: Tensor, conv_b: Tensor | None, bn_rm: Tensor, bn_rv: Tensor, bn_eps: float, bn_w: Tensor | None,
    bn_b: Tensor | None, transpose: bool = False,
) -> tuple[Parameter, Parameter]:  # fmt: skip
    """Return weight and bias of a convolution that does a batch normalization too.

    Args:
        conv_w: weight of the convolution.
        conv_b: its bias, or None.
        bn_rm: running mean.
        bn_rv: running variance.
        bn_eps: added to the variance.
        bn_w: weight of the normalization, or None.
        bn_b: its bias, or None.
        transpose: whether the convolution is transposed.
    """
    return _fused(conv_w, conv_b, bn_rm, bn_rv, bn_eps, bn_w, bn_b, 1 if transpose else 0)


def fuse_linear_bn_weights(
    linear_w: Tensor, linear_b: Tensor | None, bn_rm: Tensor, bn_rv: Tensor, bn_eps: float, bn_w: Tensor | None,
    bn_b: Tensor | None,
) -> tuple[Parameter, Parameter]:  # fmt: skip
    """Return weight and bias of a linear layer that does a batch normalization too: see `fuse_conv_bn_weights`."""
    return _fused(linear_w, linear_b, bn_rm, bn_rv, bn_eps, bn_w, bn_b, 0)


def _eval(layer: Layer, bn: Any, transpose: bool) -> Layer:
    if layer.training or bn.training or bn.running_mean is None:
        text = "A batch normalization is fused in evaluation mode, with running statistics"
        raise ArgumentError(message(text, None, None, "call .eval() on both layers"))
    fused = copy.deepcopy(layer)
    fused.weight, fused.bias = fuse_conv_bn_weights(
        fused.weight, fused.bias, bn.running_mean, bn.running_var, bn.eps, bn.weight, bn.bias, transpose
    )  # fmt: skip
    return fused


def fuse_conv_bn_eval(conv: Layer, bn: Module, transpose: bool = False) -> Layer:
    """Return a convolution that does the batch normalization behind it too; both are in evaluation mode.

    Args:
        conv: the convolution.
        bn: the batch normalization, which keeps running statistics.
        transpose: whether the convolution is transposed.

    Raises:
        ArgumentError: one of them is in training mode.

    Example:
        >>> conv, norm = plait.nn.Conv2d(1, 2, 3).eval(), plait.nn.BatchNorm2d(2).eval()
        >>> plait.nn.utils.fuse_conv_bn_eval(conv, norm)
        Conv2d(1, 2, kernel_size=(3, 3), stride=(1, 1))
    """
    return _eval(conv, bn, transpose)


def fuse_linear_bn_eval(linear: Layer, bn: Module) -> Layer:
    """Return a linear layer that does the batch normalization behind it too: see `fuse_conv_bn_eval`."""
    return _eval(linear, bn, False)
