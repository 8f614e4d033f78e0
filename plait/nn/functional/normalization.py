"""Normalization over the batch, over features, over groups of channels, and of vectors."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from plait.core.dtype import DType
from plait.core.errors import ArgumentError, ShapeError, message
from plait.core.primitive import P
from plait.nn.arguments import floating, narrowed, numeric, positive, widened
from plait.tensor.autograd import no_grad
from plait.tensor.composite import composite
from plait.tensor.functions import clamp, rsqrt
from plait.tensor.reductions import norm
from plait.tensor.tensor import Tensor, node_of, wrap

__all__ = [
    "batch_norm", "group_norm", "instance_norm", "layer_norm", "local_response_norm", "normalize", "rms_norm",
]  # fmt: skip

Axes = tuple[int, ...]
Normalized = tuple[Tensor, Tensor, Tensor]


def _standardized(x: Tensor, axes: Axes, eps: float) -> Normalized:
    """Return x less its mean, the mean, and 1 / sqrt(variance + eps), the latter two with axes of size 1."""
    mean = x.mean(axes, keepdim=True)
    centered = x - mean
    return centered, mean, rsqrt((centered * centered).mean(axes, keepdim=True) + eps)


def _affine(x: Tensor, weight: Any, bias: Any, shape: Sequence[int]) -> Tensor:
    """Return `x * weight + bias`, reshaped to `shape` before; either may be None."""
    x = x if weight is None else x * weight.reshape(shape)
    return x if bias is None else x + bias.reshape(shape)


def _narrowed(dtype: DType, result: Tensor, mean: Tensor, scale: Tensor) -> Normalized:
    return narrowed(result, dtype), narrowed(mean, dtype), narrowed(scale, dtype)


def _check_channels(x: Tensor, name: str, **vectors: Tensor | None) -> None:
    for key, vector in vectors.items():
        if vector is not None and vector.shape != (x.shape[1],):
            received = f"an input of shape {x.shape}, a {key} of shape {vector.shape}"
            expected = f"({x.shape[1]},), one number for each channel"
            raise ShapeError(message(f"{name}: the {key} does not fit", received, expected))


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
        ShapeError: the input has no channels, or only one value for each while `training`; or a vector does not fit.
        ArgumentError: not `training`, and no running statistics; or a negative `eps`.

    Example:
        >>> plait.nn.functional.batch_norm(plait.tensor([[1.0], [3.0]]), None, None, training=True, eps=0.0)
        tensor([[-1.],
                [ 1.]])
    """
    x = floating(input, "batch_norm")
    if x.shape == (0,):  # nothing to normalize: PyTorch does not miss the channels
        return x
    if x.ndim < 2:
        raise ShapeError(message("batch_norm takes [N, C, ...]", f"shape {x.shape}", "at least two axes"))
    if training and math.prod(x.shape) == x.shape[1]:
        text = "batch_norm in training needs more than one value for each channel"
        raise ShapeError(message(text, f"shape {x.shape}", None, "use a larger batch, or .eval()"))
    return _batch_norm(x, running_mean, running_var, weight, bias, training, momentum, eps, "batch_norm")[0]


def _batch_norm(
    x: Tensor, running_mean: Tensor | None, running_var: Tensor | None, weight: Tensor | None, bias: Tensor | None,
    training: bool, momentum: float, eps: float, name: str,
) -> Normalized:  # fmt: skip
    """Return the result, and the mean and the reciprocal deviation of the batch (empty where not `training`)."""
    if eps < 0:
        raise ArgumentError(message(f"eps of {name} is added to a variance", eps, "a number of at least 0"))
    _check_channels(x, name, running_mean=running_mean, running_var=running_var, weight=weight, bias=bias)
    if training:
        result, mean, scale, variance = _normalized_batch(x, weight, bias, eps)
        with no_grad():
            _follow(running_mean, mean, momentum)
            _follow(running_var, variance, momentum)
        return result, mean, scale
    if running_mean is None or running_var is None:
        text = f"{name} has no running statistics to evaluate with"
        raise ArgumentError(message(text, fix="pass training=True, or running_mean and running_var"))
    return _normalized_by(x, running_mean, running_var, weight, bias, eps)


@composite
def _normalized_batch(x: Tensor, weight: Any, bias: Any, eps: float) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Normalize by the batch: return the result, the mean, the reciprocal deviation and the unbiased variance."""
    wide, axes = widened(x), (0, *range(2, x.ndim))
    centered, mean, scale = _standardized(wide, axes, eps)
    mean, scale = mean.reshape(-1), scale.reshape(-1)
    count = math.prod(x.shape[a] for a in axes)
    fixed = centered.detach()
    variance = (fixed * fixed).sum(axes) / max(count - 1, 1)
    factor = scale if weight is None else scale * weight
    column = (-1, *(1,) * (x.ndim - 2))
    return *_narrowed(x.dtype, _affine(centered, factor, bias, column), mean, scale), variance


@composite
def _normalized_by(
    x: Tensor, running_mean: Tensor, running_var: Tensor, weight: Any, bias: Any, eps: float
) -> Normalized:  # fmt: skip
    """Normalize by running statistics."""
    column = (-1, *(1,) * (x.ndim - 2))
    scale = rsqrt(widened(running_var) + eps)
    centered = widened(x) - widened(running_mean).reshape(column)
    factor = scale if weight is None else scale * weight
    return _narrowed(x.dtype, _affine(centered, factor, bias, column), scale[:0], scale[:0])


def _follow(running: Tensor | None, value: Tensor, momentum: float) -> None:
    if running is not None:
        running.copy_(_followed(running, value.detach(), momentum))


@composite
def _followed(running: Tensor, value: Tensor, momentum: float) -> Tensor:
    return running * (1 - momentum) + value * momentum


def instance_norm(
    input: Any, running_mean: Tensor | None = None, running_var: Tensor | None = None, weight: Tensor | None = None,
    bias: Tensor | None = None, use_input_stats: bool = True, momentum: float = 0.1, eps: float = 1e-5,
) -> Tensor:  # fmt: skip
    """Normalize each channel of each example by its mean and variance (Ulyanov, Vedaldi and Lempitsky, 2016).

    Args:
        input: a tensor [N, C, ...].
        running_mean: a vector [C], updated in place by the averages over the batch; None keeps no statistics.
        running_var: likewise for the (unbiased) variance.
        weight: a vector [C] that multiplies the result.
        bias: a vector [C] that is added.
        use_input_stats: whether the statistics are those of the input, not the running ones.
        momentum: weight of the input in the running statistics.
        eps: added to the variance.

    Returns:
        A tensor of the shape and dtype of `input`.

    Raises:
        ShapeError: the input has no spatial axes, or only one element on them; or a vector does not fit.
        ArgumentError: no statistics at all.

    Example:
        >>> plait.nn.functional.instance_norm(plait.tensor([[[1.0, 3.0], [5.0, 9.0]]]), eps=0.0)
        tensor([[[-1.,  1.],
                 [-1.,  1.]]])
    """
    x = floating(input, "instance_norm")
    if x.ndim < 2 or (use_input_stats and math.prod(x.shape[2:]) == 1):
        expected = "[N, C, ...] with more than one element for each channel"
        raise ShapeError(message("instance_norm takes channels of several elements", f"shape {x.shape}", expected))
    if not use_input_stats:
        return _batch_norm(x, running_mean, running_var, weight, bias, False, momentum, eps, "instance_norm")[0]
    _check_channels(x, "instance_norm", running_mean=running_mean, running_var=running_var, weight=weight, bias=bias)
    axes = tuple(range(2, x.ndim))
    centered, mean, scale = _standardized(widened(x), axes, eps)
    with no_grad():
        _follow(running_mean, mean.mean((0, *axes)), momentum)
        variance = (centered.detach() * centered.detach()).sum((0, *axes))
        _follow(running_var, variance / max(1, x.shape[0] * (math.prod(x.shape[2:]) - 1)), momentum)
    return narrowed(_affine(centered * scale, weight, bias, (-1, *(1,) * len(axes))), x.dtype)


@composite
def group_norm(
    input: Any, num_groups: int, weight: Tensor | None = None, bias: Tensor | None = None, eps: float = 1e-5
) -> Tensor:
    """Normalize groups of channels of each example by their mean and variance (Wu and He, 2018).

    Args:
        input: a tensor [N, C, ...].
        num_groups: how many groups the channels are divided into; it divides C.
        weight: a vector [C] that multiplies the result.
        bias: a vector [C] that is added.
        eps: added to the variance.

    Returns:
        A tensor of the shape and dtype of `input`.

    Raises:
        ShapeError: the input has no channels, the groups do not divide them, or a vector does not fit.

    Example:
        >>> plait.nn.functional.group_norm(plait.tensor([[1.0, 3.0, 5.0, 9.0]]), 2, eps=0.0)
        tensor([[-1.,  1., -1.,  1.]])
    """
    x = floating(input, "group_norm")
    if x.ndim < 2:
        raise ShapeError(message("group_norm takes [N, C, ...]", f"shape {x.shape}", "at least two axes"))
    if math.prod(x.shape) == num_groups == x.shape[1]:
        text = "group_norm needs more than one value for each group"
        raise ShapeError(message(text, f"shape {x.shape}, num_groups={num_groups}"))
    return _group_norm(x, num_groups, weight, bias, eps)[0]


def _group_norm(x: Tensor, num_groups: int, weight: Tensor | None, bias: Tensor | None, eps: float) -> Normalized:
    """Return the result, and the means and reciprocal deviations [N, groups]."""
    groups = positive(num_groups, "num_groups")
    if x.shape[1] % groups:
        received = f"num_groups={groups} for {x.shape[1]} channels"
        raise ShapeError(message("num_groups of group_norm must divide the channels", received))
    _check_channels(x, "group_norm", weight=weight, bias=bias)
    split = widened(x).reshape(x.shape[0], groups, x.shape[1] // groups, *x.shape[2:])
    centered, mean, scale = _standardized(split, tuple(range(2, split.ndim)), eps)
    result = _affine(centered * scale, weight, bias, (groups, -1, *(1,) * (x.ndim - 2)))
    return _narrowed(x.dtype, result.reshape(x.shape), mean.reshape(-1, groups), scale.reshape(-1, groups))


@composite
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
        ShapeError: the last axes, the weight or the bias have other sizes.

    Example:
        >>> plait.nn.functional.layer_norm(plait.tensor([1.0, 3.0]), (2,), eps=0.0)
        tensor([-1.,  1.])
    """
    return _layer_norm(input, normalized_shape, weight, bias, eps)[0]


def _layer_norm(
    input: Any, normalized_shape: Any, weight: Tensor | None, bias: Tensor | None, eps: float
) -> Normalized:
    """Return the result, and the means and reciprocal deviations with axes of size 1."""
    x, shape = floating(input, "layer_norm"), last_axes(normalized_shape)
    _check_last_axes(x, shape, "layer_norm", weight=weight, bias=bias)
    centered, mean, scale = _standardized(widened(x), tuple(range(-len(shape), 0)), eps)
    return _narrowed(x.dtype, _affine(centered * scale, weight, bias, shape), mean, scale)


@composite
def rms_norm(
    input: Any, normalized_shape: int | Sequence[int], weight: Tensor | None = None, eps: float | None = None
) -> Tensor:
    """Divide by the root of the mean square over the last axes (Zhang and Sennrich, 2019).

    Args:
        input: a tensor [..., *normalized_shape].
        normalized_shape: sizes of the last axes.
        weight: a tensor of that shape that multiplies the result.
        eps: added to the mean square; by default the spacing of floats at 1.

    Returns:
        A tensor of the shape and dtype of `input`.

    Raises:
        ShapeError: the last axes or the weight have other sizes.

    Example:
        >>> plait.nn.functional.rms_norm(plait.tensor([3.0, 3.0, -3.0]), 3)
        tensor([ 1.,  1., -1.])
    """
    x, shape = floating(input, "rms_norm"), last_axes(normalized_shape)
    _check_last_axes(x, shape, "rms_norm", weight=weight)
    wide, axes = widened(x), tuple(range(-len(shape), 0))
    # PyTorch's epsilon is that of the type it computes in
    small = 2.0 ** (-52 if wide.dtype.real.bits == 64 else -23) if eps is None else eps
    squares = (wide * wide).mean(axes, keepdim=True)
    return narrowed(_affine(wide * rsqrt(squares + small), weight, None, shape), x.dtype)


def last_axes(normalized_shape: int | Sequence[int]) -> Axes:
    """Return the sizes of the last axes as a tuple; raises `ArgumentError` where there are none."""
    shape = (normalized_shape,) if hasattr(normalized_shape, "__index__") else tuple(normalized_shape)  # type: ignore[arg-type]
    if not shape:
        raise ArgumentError(message("normalized_shape is empty", shape, "the sizes of the last axes"))
    return tuple(int(n) for n in shape)


def _check_last_axes(x: Tensor, shape: Axes, name: str, **parameters: Tensor | None) -> None:
    if x.shape[-len(shape) :] != shape:
        expected = f"[..., {', '.join(map(str, shape))}]"
        fix = "normalized_shape is the sizes of the last axes"
        raise ShapeError(message(f"{name} was made for other last axes", f"an input of shape {x.shape}", expected, fix))
    for key, value in parameters.items():
        if value is not None and value.shape != shape:
            raise ShapeError(message(f"The {key} of {name} does not fit", f"shape {value.shape}", shape))


@composite
def local_response_norm(input: Any, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0) -> Tensor:
    """Divide by powers of sums of squares over neighbouring channels (Krizhevsky, Sutskever and Hinton, 2012).

    Args:
        input: a tensor [N, C, ...] with spatial axes.
        size: how many neighbouring channels.
        alpha: factor of the mean of the squares.
        beta: the exponent.
        k: added to the mean.

    Returns:
        A tensor of the shape of `input`.

    Raises:
        ShapeError: fewer than three axes.

    Example:
        >>> plait.nn.functional.local_response_norm(plait.ones(1, 2, 1), 2, alpha=2.0, beta=1.0)
        tensor([[[0.5000],
                 [0.3333]]])
    """
    x, size = numeric(input, "local_response_norm"), positive(size, "size")
    if x.ndim < 3:
        raise ShapeError(message("local_response_norm takes [N, C, ...]", f"shape {x.shape}", "three axes or more"))
    if not x.numel():
        return x
    wide, ones = widened(x), (1,) * x.ndim
    total = P.reduce_window_sum(
        node_of(wide * wide), window=(1, size, *ones[2:]), strides=ones, window_dilation=ones,
        padding=((0, 0), (size // 2, (size - 1) // 2), *((0, 0),) * (x.ndim - 2)),
    )  # fmt: skip
    return narrowed(wide / (wrap(total) * (alpha / size) + k) ** beta, x.dtype)


@composite
def normalize(input: Any, p: float = 2.0, dim: Any = 1, eps: float = 1e-12, out: Tensor | None = None) -> Tensor:
    """Divide vectors by their p-norm.

    Args:
        input: a tensor.
        p: order of the norm.
        dim: the axis of the vectors, or several.
        eps: the smallest divisor.
        out: where the result is written to.

    Returns:
        A tensor of the shape of `input`.

    Raises:
        ShapeError: `input` has no such axis.

    Example:
        >>> plait.nn.functional.normalize(plait.tensor([[3.0, 4.0]]))
        tensor([[0.6000, 0.8000]])
    """
    x = floating(input, "normalize")
    wide = widened(x)
    result = narrowed(wide / clamp(norm(wide, p, dim, True), eps), x.dtype)
    return result if out is None else out.copy_(result)


# PyTorch's native functions return the statistics too


def native_batch_norm(
    input: Any, weight: Tensor | None, bias: Tensor | None, running_mean: Tensor | None, running_var: Tensor | None,
    training: bool, momentum: float, eps: float,
) -> Normalized:  # fmt: skip
    """Return `batch_norm`, and the mean and the reciprocal deviation of each channel (empty if not `training`).

    Args:
        input: a tensor [N, C, ...].
        weight: a vector [C] that multiplies the result, or None.
        bias: a vector [C] that is added, or None.
        running_mean: a vector [C], used if not `training`, else moved towards the mean, or None.
        running_var: the same for the variance.
        training: whether to normalize by the statistics of the batch.
        momentum: how far the running statistics are moved.
        eps: added to the variance.

    Returns:
        A named tuple of the result and the statistics.

    Raises:
        ShapeError: the input has no channels, or a vector does not fit.

    Example:
        >>> x = plait.tensor([[1.0], [3.0]])
        >>> plait.native_batch_norm(x, None, None, None, None, True, 0.1, 0.0)[1:]
        (tensor([2.]), tensor([1.]))
    """
    x = floating(input, "native_batch_norm")
    return _batch_norm(x, running_mean, running_var, weight, bias, training, momentum, eps, "native_batch_norm")


def native_layer_norm(
    input: Any, normalized_shape: Sequence[int], weight: Tensor | None, bias: Tensor | None, eps: float
) -> Normalized:
    """Return `layer_norm`, and the means and reciprocal deviations with axes of size 1.

    Args:
        input: a tensor [..., *normalized_shape].
        normalized_shape: sizes of the last axes.
        weight: a tensor of that shape that multiplies the result, or None.
        bias: a tensor of that shape that is added, or None.
        eps: added to the variance.

    Returns:
        A named tuple of the result and the statistics.

    Raises:
        ShapeError: the last axes, the weight or the bias have other sizes.

    Example:
        >>> plait.native_layer_norm(plait.tensor([1.0, 3.0]), (2,), None, None, 0.0)[1:]
        (tensor([2.]), tensor([1.]))
    """
    return _layer_norm(input, normalized_shape, weight, bias, eps)


def native_group_norm(
    input: Any, weight: Tensor | None, bias: Tensor | None, N: int, C: int, HxW: int, group: int, eps: float  # noqa: N803
) -> Normalized:  # fmt: skip
    """Return `group_norm`, and the means and reciprocal deviations [N, groups].

    Args:
        input: a tensor [N, C, ...].
        weight: a vector [C] that multiplies the result, or None.
        bias: a vector [C] that is added, or None.
        N: the number of examples.
        C: the number of channels.
        HxW: the number of elements of a channel.
        group: how many groups the channels are divided into.
        eps: added to the variance.

    Returns:
        A named tuple of the result and the statistics.

    Raises:
        ShapeError: the sizes are others, the groups do not divide the channels, or a vector does not fit.

    Example:
        >>> plait.native_group_norm(plait.tensor([[1.0, 3.0, 5.0, 9.0]]), None, None, 1, 4, 1, 2, 0.0)[1:]
        (tensor([[2., 7.]]), tensor([[1.0000, 0.5000]]))
    """
    x = floating(input, "native_group_norm")
    if (*x.shape[:2], math.prod(x.shape[2:])) != (N, C, HxW):
        raise ShapeError(message("native_group_norm was told other sizes", f"shape {x.shape}", f"[{N}, {C}, {HxW}]"))
    return _group_norm(x, group, weight, bias, eps)
