"""The functions of neural networks that PyTorch has in its main namespace too."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from plait.nn.functional import normalization
from plait.nn.functional.activation import (
    celu,
    celu_,
    hardshrink,
    prelu,
    relu_,
    rrelu,
    rrelu_,
    selu,
    selu_,
    threshold,
    threshold_,
)
from plait.nn.functional.adaptive import adaptive_avg_pool1d, adaptive_max_pool1d_with_indices as adaptive_max_pool1d
from plait.nn.functional.convolution import (
    conv1d,
    conv2d,
    conv3d,
    conv_tbc,
    conv_transpose1d,
    conv_transpose2d,
    conv_transpose3d,
)
from plait.nn.functional.ctc import ctc_loss
from plait.nn.functional.distance import cosine_similarity, pairwise_distance, pdist
from plait.nn.functional.dropout import (
    alpha_dropout,
    alpha_dropout_,
    dropout,
    dropout_,
    feature_alpha_dropout,
    feature_alpha_dropout_,
    feature_dropout,
    feature_dropout_,
)
from plait.nn.functional.folding import channel_shuffle, native_channel_shuffle, pixel_shuffle, pixel_unshuffle
from plait.nn.functional.grid import grid_sampler, grid_sampler_2d, grid_sampler_3d
from plait.nn.functional.linear import bilinear
from plait.nn.functional.losses import (
    binary_cross_entropy_with_logits,
    cosine_embedding_loss,
    hinge_embedding_loss,
    kl_div,
    margin_ranking_loss,
    poisson_nll_loss,
    triplet_margin_loss,
)
from plait.nn.functional.normalization import (
    group_norm,
    layer_norm,
    native_batch_norm,
    native_group_norm,
    native_layer_norm,
    rms_norm,
)
from plait.nn.functional.padding import constant_pad_nd
from plait.nn.functional.pooling import (
    avg_pool1d,
    max_pool1d,
    max_pool1d_with_indices,
    max_pool2d,
    max_pool2d_with_indices,
    max_pool3d,
    max_pool3d_with_indices,
)
from plait.tensor.tensor import Tensor

__all__ = [
    "adaptive_avg_pool1d", "adaptive_max_pool1d", "alpha_dropout", "alpha_dropout_", "avg_pool1d", "batch_norm",
    "bilinear", "binary_cross_entropy_with_logits", "celu", "celu_", "channel_shuffle", "constant_pad_nd", "conv1d",
    "conv2d", "conv3d", "conv_tbc", "conv_transpose1d", "conv_transpose2d", "conv_transpose3d",
    "cosine_embedding_loss", "cosine_similarity", "ctc_loss", "dropout", "dropout_", "feature_alpha_dropout",
    "feature_alpha_dropout_", "feature_dropout", "feature_dropout_", "grid_sampler", "grid_sampler_2d",
    "grid_sampler_3d", "group_norm", "hardshrink", "hinge_embedding_loss", "instance_norm", "kl_div", "layer_norm",
    "margin_ranking_loss", "max_pool1d", "max_pool1d_with_indices", "max_pool2d", "max_pool2d_with_indices",
    "max_pool3d", "max_pool3d_with_indices", "native_batch_norm", "native_channel_shuffle", "native_group_norm",
    "native_layer_norm", "pairwise_distance", "pdist", "pixel_shuffle", "pixel_unshuffle", "poisson_nll_loss",
    "prelu", "relu_", "rms_norm", "rrelu", "rrelu_", "selu", "selu_", "threshold", "threshold_",
    "triplet_margin_loss",
]  # fmt: skip


_DOCUMENT = """Return `nn.functional.{name}`, with the arguments in the order of `torch`.

Args:
    input: a tensor [N, C, ...].
    weight: a vector [C] that multiplies the result, or None.
    bias: a vector [C] that is added, or None.
    running_mean: a vector [C], used if not `training`, else moved towards the mean, or None.
    running_var: the same for the variance.
    training: whether to normalize by the statistics of the input.
    momentum: how far the running statistics are moved.
    eps: added to the variance.
    cudnn_enabled: accepted for PyTorch's sake.

Returns:
    A tensor of the shape and dtype of `input`.

Raises:
    ShapeError: the input has no channels, or a vector does not fit.

Example:
    >>> x = plait.tensor([[[1.0, 3.0]], [[1.0, 3.0]]])
    >>> plait.{name}(x, None, None, None, None, True, 0.1, 0.0)[0]
    tensor([[-1.,  1.]])
"""


def _weight_first(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """Return the function of PyTorch's namespace, which takes the arguments in another order."""

    def call(
        input: Any, weight: Any, bias: Any, running_mean: Any, running_var: Any, training: bool, momentum: float,
        eps: float, cudnn_enabled: bool = False,
    ) -> Tensor:  # fmt: skip
        return function(input, running_mean, running_var, weight, bias, training, momentum, eps)

    call.__name__ = call.__qualname__ = function.__name__
    call.__doc__ = _DOCUMENT.format(name=function.__name__)
    return call


batch_norm, instance_norm = _weight_first(normalization.batch_norm), _weight_first(normalization.instance_norm)
