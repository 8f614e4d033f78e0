"""Helpers of models: gradients, vectors of parameters, parametrizations; `rnn` for sequences of different lengths."""

from __future__ import annotations

from plait.nn.utils import parametrizations, parametrize, rnn, stateless
from plait.nn.utils.clip_grad import clip_grad_norm_, clip_grad_value_, clip_grads_with_norm_, get_total_norm
from plait.nn.utils.convert_parameters import parameters_to_vector, vector_to_parameters
from plait.nn.utils.fusion import fuse_conv_bn_eval, fuse_conv_bn_weights, fuse_linear_bn_eval, fuse_linear_bn_weights
from plait.nn.utils.sequential import checkpoint_sequential

__all__ = [
    "checkpoint_sequential", "clip_grad_norm_", "clip_grad_value_", "clip_grads_with_norm_", "fuse_conv_bn_eval",
    "fuse_conv_bn_weights", "fuse_linear_bn_eval", "fuse_linear_bn_weights", "get_total_norm", "parameters_to_vector",
    "parametrizations", "parametrize", "rnn", "stateless", "vector_to_parameters",
]  # fmt: skip
