"""Normalization layers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from plait.core.errors import ArgumentError, ShapeError, message
from plait.nn.arguments import positive
from plait.nn.functional import normalization
from plait.nn.functional.normalization import batch_norm, group_norm, instance_norm, last_axes, layer_norm, rms_norm
from plait.nn.layer import Layer
from plait.nn.module import Module, check_features
from plait.tensor.autograd import no_grad
from plait.tensor.creation import ones, tensor, zeros
from plait.tensor.tensor import Parameter, Tensor

__all__ = [
    "BatchNorm1d", "BatchNorm2d", "BatchNorm3d", "CrossMapLRN2d", "GroupNorm", "InstanceNorm1d", "InstanceNorm2d",
    "InstanceNorm3d", "LayerNorm", "LocalResponseNorm", "RMSNorm", "SyncBatchNorm",
]  # fmt: skip


def _affine(module: Module, shape: int | Sequence[int], has_weight: bool, has_bias: bool, dtype: Any) -> None:
    """Give a module the parameters `weight`, of ones, and `bias`, of zeros."""
    module.register_parameter("weight", Parameter(ones(shape, dtype=dtype)) if has_weight else None)
    module.register_parameter("bias", Parameter(zeros(shape, dtype=dtype)) if has_bias else None)


def _reset_affine(module: Module) -> None:
    with no_grad():
        for name, value in (("weight", 1), ("bias", 0)):
            parameter = module._parameters.get(name)
            if parameter is not None:
                parameter.fill_(value)


class _Norm(Module):
    """What batch and instance normalization share."""

    _axes: ClassVar[tuple[int, ...]]

    def _set(
        self, num_features: int, eps: float, momentum: float | None, affine: bool, track_running_stats: bool,
        bias: bool, dtype: Any,
    ) -> None:  # fmt: skip
        self.num_features, self.eps, self.momentum = positive(num_features, "num_features"), eps, momentum
        self.affine, self.track_running_stats = affine, track_running_stats
        _affine(self, num_features, affine, affine and bias, dtype)
        self.register_buffer("running_mean", zeros(num_features, dtype=dtype) if track_running_stats else None)
        self.register_buffer("running_var", ones(num_features, dtype=dtype) if track_running_stats else None)
        self.register_buffer("num_batches_tracked", tensor(0) if track_running_stats else None)

    def reset_running_stats(self) -> None:
        """Forget the running statistics."""
        if self.track_running_stats:
            self.running_mean.zero_()
            self.running_var.fill_(1)
            self.num_batches_tracked.zero_()

    def reset_parameters(self) -> None:
        """Forget the running statistics, and set the weight to 1 and the bias to 0."""
        self.reset_running_stats()
        _reset_affine(self)

    def _check_input(self, input: Tensor, channels: int = 1) -> None:
        if input.ndim not in self._axes:
            expected = "a batch of channels of rank " + " or ".join(map(str, self._axes))
            raise ShapeError(message(f"{type(self).__name__} takes other axes", f"shape {input.shape}", expected))
        name = f"{type(self).__name__}({self.num_features})"
        check_features(name, input, channels, self.num_features, "num_features")

    def extra_repr(self) -> str:
        text = f"{self.num_features}, eps={self.eps}, momentum={self.momentum}, affine={self.affine}"
        has_bias = self.affine and self.bias is not None
        return f"{text}, bias={has_bias}, track_running_stats={self.track_running_stats}"


class _BatchNorm(_Norm):
    """What the batch normalization layers share."""

    def __init__(
        self, num_features: int, eps: float = 1e-5, momentum: float | None = 0.1, affine: bool = True,
        track_running_stats: bool = True, device: Any = None, dtype: Any = None, *, bias: bool = True,
    ) -> None:  # fmt: skip
        self._set(num_features, eps, momentum, affine, track_running_stats, bias, dtype)

    def forward(self, input: Tensor) -> Tensor:
        self._check_input(input)
        momentum = self.momentum
        if self.training and self.track_running_stats:
            with no_grad():
                self.num_batches_tracked += 1
                if momentum is None:  # a plain average over all batches
                    momentum = 1.0 / self.num_batches_tracked.to(self.running_mean.dtype)
        return batch_norm(
            input, self.running_mean, self.running_var, self.weight, self.bias,
            self.training or self.running_mean is None, momentum, self.eps,
        )  # fmt: skip


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


class BatchNorm3d(_BatchNorm):
    """Normalizes each channel of [N, C, D, H, W] over the batch; the arguments are those of `BatchNorm1d`.

    Example:
        >>> plait.nn.BatchNorm3d(3)(plait.ones(2, 3, 4, 4, 4)).shape
        (2, 3, 4, 4, 4)
    """

    _axes = (5,)


class SyncBatchNorm(_BatchNorm):
    """Normalizes each channel of [N, C, ...] over the batches of all processes, of which there is one here.

    So it is a batch normalization of any number of axes, under the name that models for several processes use.
    The arguments are those of `BatchNorm1d`.

    Args:
        process_group: accepted for PyTorch's sake.

    Example:
        >>> plait.nn.SyncBatchNorm(3)(plait.ones(2, 3, 4)).shape
        (2, 3, 4)
    """

    _axes = (2, 3, 4, 5)

    def __init__(
        self, num_features: int, eps: float = 1e-5, momentum: float | None = 0.1, affine: bool = True,
        track_running_stats: bool = True, process_group: Any = None, device: Any = None, dtype: Any = None, *,
        bias: bool = True,
    ) -> None:  # fmt: skip
        self._set(num_features, eps, momentum, affine, track_running_stats, bias, dtype)

    @classmethod
    def convert_sync_batchnorm(cls, module: Module, process_group: Any = None) -> Module:
        """Return a model with its batch normalizations, in place, replaced by ones of this class.

        Args:
            module: the model; if it is a batch normalization itself, its replacement is returned.
            process_group: accepted for PyTorch's sake.
        """
        if isinstance(module, _BatchNorm):
            result = cls(module.num_features, module.eps, module.momentum, module.affine, module.track_running_stats)
            for group in ("_parameters", "_buffers", "_hooks", "_training"):
                result.__dict__[group] = module.__dict__[group]
            return result
        for name, child in list(module._modules.items()):
            if child is not None:
                module.register_module(name, cls.convert_sync_batchnorm(child, process_group))
        return module


class _InstanceNorm(_Norm):
    """What the instance normalization layers share."""

    def __init__(
        self, num_features: int, eps: float = 1e-5, momentum: float = 0.1, affine: bool = False,
        track_running_stats: bool = False, device: Any = None, dtype: Any = None, *, bias: bool = True,
    ) -> None:  # fmt: skip
        self._set(num_features, eps, momentum, affine, track_running_stats, bias, dtype)

    def forward(self, input: Tensor) -> Tensor:
        is_single = input.ndim == self._axes[0]
        self._check_input(input, 0 if is_single else 1)
        result = instance_norm(
            input[None] if is_single else input, self.running_mean, self.running_var, self.weight, self.bias,
            self.training or not self.track_running_stats, self.momentum, self.eps,
        )  # fmt: skip
        return result[0] if is_single else result


class InstanceNorm1d(_InstanceNorm):
    """Normalizes each channel of each example of [N, C, L] or [C, L].

    Args:
        num_features: the number of channels C.
        eps: added to the variance.
        momentum: weight of an input in the running statistics.
        affine: whether the result is multiplied by a trained weight and added to a bias.
        track_running_stats: whether running statistics are kept, and used in evaluation mode.
        device: "cpu".
        dtype: element type, float32 by default.
        bias: whether, if affine, there is a bias.

    Example:
        >>> plait.nn.InstanceNorm1d(3)(plait.ones(2, 3, 5)).shape
        (2, 3, 5)
    """

    _axes = (2, 3)


class InstanceNorm2d(_InstanceNorm):
    """Normalizes each channel of each example of [N, C, H, W]; the arguments are those of `InstanceNorm1d`.

    Example:
        >>> plait.nn.InstanceNorm2d(3)(plait.ones(2, 3, 5, 5)).shape
        (2, 3, 5, 5)
    """

    _axes = (3, 4)


class InstanceNorm3d(_InstanceNorm):
    """Normalizes each channel of each example of [N, C, D, H, W]; the arguments are those of `InstanceNorm1d`.

    Example:
        >>> plait.nn.InstanceNorm3d(3)(plait.ones(2, 3, 4, 4, 4)).shape
        (2, 3, 4, 4, 4)
    """

    _axes = (4, 5)


class GroupNorm(Module):
    """Normalizes groups of channels of each example of [N, C, ...] (Wu and He, 2018).

    Args:
        num_groups: number of groups; it divides the number of channels.
        num_channels: number of channels C.
        eps: added to the variance.
        affine: whether the result is multiplied by a trained weight and added to a bias.
        device: "cpu".
        dtype: element type, float32 by default.
        bias: whether, if affine, there is a bias.

    Example:
        >>> plait.nn.GroupNorm(2, 4)(plait.ones(3, 4, 5)).shape
        (3, 4, 5)
    """

    def __init__(
        self, num_groups: int, num_channels: int, eps: float = 1e-5, affine: bool = True, device: Any = None,
        dtype: Any = None, *, bias: bool = True,
    ) -> None:  # fmt: skip
        self.num_groups, self.num_channels = positive(num_groups, "num_groups"), positive(num_channels, "num_channels")
        if num_channels % num_groups:
            received = f"num_groups={num_groups}, num_channels={num_channels}"
            raise ArgumentError(message("num_groups must divide num_channels", received))
        self.eps, self.affine = eps, affine
        _affine(self, num_channels, affine, affine and bias, dtype)

    def reset_parameters(self) -> None:
        """Set the weight to 1 and the bias to 0."""
        _reset_affine(self)

    def forward(self, input: Tensor) -> Tensor:
        name = f"GroupNorm({self.num_groups}, {self.num_channels})"
        check_features(name, input, 1, self.num_channels, "num_channels")
        return group_norm(input, self.num_groups, self.weight, self.bias, self.eps)

    def extra_repr(self) -> str:
        text = f"{self.num_groups}, {self.num_channels}, eps={self.eps}, affine={self.affine}"
        return f"{text}, bias={self.affine and self.bias is not None}"


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
        _affine(self, self.normalized_shape, elementwise_affine, elementwise_affine and bias, dtype)

    def reset_parameters(self) -> None:
        """Set the weight to 1 and the bias to 0."""
        _reset_affine(self)

    def forward(self, input: Tensor) -> Tensor:
        return layer_norm(input, self.normalized_shape, self.weight, self.bias, self.eps)

    def extra_repr(self) -> str:
        text = f"{self.normalized_shape}, eps={self.eps}, elementwise_affine={self.elementwise_affine}"
        return f"{text}, bias={self.bias is not None}"


class RMSNorm(Module):
    """Divides by the root of the mean square over the last axes (Zhang and Sennrich, 2019).

    Args:
        normalized_shape: sizes of the last axes.
        eps: added to the mean square, by default the spacing of numbers at 1.
        elementwise_affine: whether the result is multiplied by a trained weight.
        device: "cpu".
        dtype: element type, float32 by default.

    Example:
        >>> plait.nn.RMSNorm(2)(plait.tensor([[3.0, 4.0]])).detach()
        tensor([[0.8485, 1.1314]])
    """

    def __init__(
        self, normalized_shape: int | Sequence[int], eps: float | None = None, elementwise_affine: bool = True,
        device: Any = None, dtype: Any = None,
    ) -> None:  # fmt: skip
        self.normalized_shape, self.eps, self.elementwise_affine = last_axes(normalized_shape), eps, elementwise_affine
        weight = Parameter(ones(self.normalized_shape, dtype=dtype)) if elementwise_affine else None
        self.register_parameter("weight", weight)

    def reset_parameters(self) -> None:
        """Set the weight to 1."""
        _reset_affine(self)

    def forward(self, input: Tensor) -> Tensor:
        return rms_norm(input, self.normalized_shape, self.weight, self.eps)

    def extra_repr(self) -> str:
        return f"{self.normalized_shape}, eps={self.eps}, elementwise_affine={self.elementwise_affine}"


class LocalResponseNorm(
    Layer, function=normalization.local_response_norm, shown="{size}, alpha={alpha}, beta={beta}, k={k}"
):
    """Divides by a power of the mean square over neighbouring channels (Krizhevsky et al., 2012).

    Example:
        >>> plait.nn.LocalResponseNorm(2)(plait.ones(1, 4, 3)).shape
        (1, 4, 3)
    """


class CrossMapLRN2d(LocalResponseNorm):
    """A `LocalResponseNorm` of [N, C, H, W] whose window of an even size has its longer half at the higher channels.

    Example:
        >>> plait.nn.CrossMapLRN2d(2)(plait.ones(1, 4, 3, 3)).shape
        (1, 4, 3, 3)
    """

    def __init__(self, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1) -> None:
        super().__init__(size, alpha, beta, k)

    def forward(self, input: Tensor) -> Tensor:
        if input.ndim != 4:
            raise ShapeError(message("CrossMapLRN2d takes other axes", f"shape {input.shape}", "[N, C, H, W]"))
        result: Tensor = self._call(input.flip(1)).flip(1)
        return result
