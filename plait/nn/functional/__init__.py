"""The functions behind the layers, with PyTorch's names and order of arguments."""

from __future__ import annotations

from plait.nn.attention import scaled_dot_product_attention
from plait.nn.conv import conv1d, conv2d, conv3d
from plait.nn.dropout import dropout
from plait.nn.embedding import embedding
from plait.nn.linear import linear
from plait.nn.losses import binary_cross_entropy_with_logits, cross_entropy, l1_loss, mse_loss, nll_loss
from plait.nn.normalization import batch_norm, layer_norm
from plait.nn.padding import pad
from plait.nn.pooling import avg_pool2d, max_pool2d
from plait.tensor.creation import one_hot
from plait.tensor.functions import elu, gelu, leaky_relu, logsigmoid, relu, sigmoid, silu, softplus, tanh
from plait.tensor.reductions import log_softmax, softmax

__all__ = [
    "avg_pool2d", "batch_norm", "binary_cross_entropy_with_logits", "conv1d", "conv2d", "conv3d", "cross_entropy",
    "dropout", "elu", "embedding", "gelu", "l1_loss", "layer_norm", "leaky_relu", "linear", "log_softmax",
    "logsigmoid", "max_pool2d", "mse_loss", "nll_loss", "one_hot", "pad", "relu",
    "scaled_dot_product_attention", "sigmoid", "silu", "softmax", "softplus", "tanh",
]  # fmt: skip
