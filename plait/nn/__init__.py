"""Neural networks: modules with PyTorch's names, layouts and initial values, built on the functions of tensors."""

# ruff: noqa: F401, F403 - every import here is a name of this namespace

from __future__ import annotations

from plait.nn import functional, init, positional, utils
from plait.nn.activation import *
from plait.nn.adaptive import *
from plait.nn.attention import GroupedQueryAttention, KVCache, MultiHeadAttention, MultiheadAttention
from plait.nn.containers import *
from plait.nn.conv import *
from plait.nn.dropout import *
from plait.nn.embedding import *
from plait.nn.lazy import *
from plait.nn.linear import *
from plait.nn.losses import *
from plait.nn.module import Module
from plait.nn.normalization import *
from plait.nn.padding import *
from plait.nn.parameter import *
from plait.nn.pooling import *
from plait.nn.positional import RotaryEmbedding
from plait.nn.recurrent import GRU, LSTM, RNN, GRUCell, LSTMCell, RNNBase, RNNCell, RNNCellBase
from plait.nn.shaping import *
from plait.nn.summaries import summary
from plait.nn.transformer import (
    Transformer,
    TransformerDecoder,
    TransformerDecoderLayer,
    TransformerEncoder,
    TransformerEncoderLayer,
)  # fmt: skip
from plait.tensor.absent import of_nn as __getattr__  # says what to use for a name that is not here
from plait.tensor.arguments import guard as _guard

_guard(functional, functional.namespace)
