"""Neural networks: modules with PyTorch's names, layouts and initial values, built on the functions of tensors."""

from __future__ import annotations

from plait.nn import functional, init
from plait.nn.activation import (
    ELU,
    GELU,
    LeakyReLU,
    LogSigmoid,
    LogSoftmax,
    ReLU,
    Sigmoid,
    SiLU,
    Softmax,
    Softplus,
    Tanh,
)  # fmt: skip
from plait.nn.attention import MultiHeadAttention, MultiheadAttention
from plait.nn.containers import ModuleDict, ModuleList, Sequential
from plait.nn.conv import Conv1d, Conv2d, Conv3d
from plait.nn.dropout import Dropout
from plait.nn.embedding import Embedding
from plait.nn.linear import Flatten, Identity, Linear
from plait.nn.losses import BCEWithLogitsLoss, CrossEntropyLoss, L1Loss, MSELoss, NLLLoss
from plait.nn.module import Module
from plait.nn.normalization import BatchNorm1d, BatchNorm2d, LayerNorm
from plait.nn.pooling import AvgPool2d, MaxPool2d
from plait.tensor.tensor import Parameter

__all__ = [
    "AvgPool2d", "BCEWithLogitsLoss", "BatchNorm1d", "BatchNorm2d", "Conv1d", "Conv2d", "Conv3d",
    "CrossEntropyLoss", "Dropout", "ELU", "Embedding", "Flatten", "GELU", "Identity", "L1Loss", "LayerNorm",
    "LeakyReLU", "Linear", "LogSigmoid", "LogSoftmax", "MSELoss", "MaxPool2d", "Module", "ModuleDict", "ModuleList",
    "MultiHeadAttention", "MultiheadAttention", "NLLLoss", "Parameter", "ReLU", "Sequential", "SiLU", "Sigmoid",
    "Softmax", "Softplus", "Tanh", "functional", "init",
]  # fmt: skip
