"""Initial values of parameters, written in place; the distributions of `torch.nn.init`."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from plait import random
from plait.core.dtype import float32
from plait.core.errors import ArgumentError, ArgumentTypeError, ShapeError, message
from plait.linalg import qr
from plait.sampling import Generator, default_generator
from plait.tensor.autograd import no_grad
from plait.tensor.creation import asarray, eye
from plait.tensor.diagonals import diagonal
from plait.tensor.functions import clamp, erfinv, sign, where
from plait.tensor.sorting import argsort
from plait.tensor.tensor import Tensor

_GAINS = {"linear": 1.0, "sigmoid": 1.0, "tanh": 5 / 3, "relu": math.sqrt(2.0), "selu": 0.75}


def calculate_gain(nonlinearity: str, param: float | None = None) -> float:
    """Return the factor that keeps the variance through a nonlinearity; `param` is the slope of "leaky_relu".

    Raises:
        ArgumentError: the nonlinearity is not known.
    """
    if nonlinearity == "leaky_relu":
        if param is not None and (isinstance(param, bool) or not isinstance(param, (int, float))):
            raise ArgumentTypeError(message("param is the slope of leaky_relu", repr(param), "a number"))
        return math.sqrt(2.0 / (1 + (0.01 if param is None else param) ** 2))
    if nonlinearity.startswith("conv"):
        nonlinearity = "linear"
    if nonlinearity not in _GAINS:
        raise ArgumentError(message("Unknown nonlinearity", repr(nonlinearity), ", ".join([*_GAINS, "leaky_relu"])))
    return _GAINS[nonlinearity]


def fans(tensor: Tensor) -> tuple[int, int]:
    """Return how many inputs one output of this weight [out, in, *window] has, and how many outputs one input.

    Raises:
        ShapeError: the weight has fewer than two axes.
    """
    if tensor.ndim < 2:
        text = "The fan of a weight needs two axes"
        raise ShapeError(message(text, f"shape {tensor.shape}", "[out, in, ...]", "use normal_ or uniform_"))
    window = math.prod(tensor.shape[2:])
    return tensor.shape[1] * window, tensor.shape[0] * window


def _write(tensor: Tensor, value: Any) -> Tensor:
    with no_grad():
        return tensor.copy_(value) if isinstance(value, Tensor) else tensor.fill_(value)


def _key(generator: Generator | None) -> Tensor:
    return (generator or default_generator).next_key()


def uniform_(tensor: Tensor, a: float = 0.0, b: float = 1.0, generator: Generator | None = None) -> Tensor:
    """Fill with uniform numbers from [a, b)."""
    return _write(tensor, random.uniform(_key(generator), tensor.shape, tensor.dtype, a, b))


def normal_(tensor: Tensor, mean: float = 0.0, std: float = 1.0, generator: Generator | None = None) -> Tensor:
    """Fill with normal numbers."""
    return _write(tensor, random.normal(_key(generator), tensor.shape, tensor.dtype) * std + mean)


def trunc_normal_(
    tensor: Tensor, mean: float = 0.0, std: float = 1.0, a: float = -2.0, b: float = 2.0,
    generator: Generator | None = None,
) -> Tensor:  # fmt: skip
    """Fill with normal numbers, redrawn until they lie in [a, b] (by the inverse of the distribution function)."""
    low, high = (math.erf((limit - mean) / (std * math.sqrt(2.0))) for limit in (a, b))
    drawn = erfinv(random.uniform(_key(generator), tensor.shape, tensor.dtype, low, high))
    return _write(tensor, clamp(drawn * (std * math.sqrt(2.0)) + mean, a, b))


def constant_(tensor: Tensor, val: float) -> Tensor:
    """Fill with one number."""
    return _write(tensor, val)


def zeros_(tensor: Tensor) -> Tensor:
    """Fill with zeros."""
    return _write(tensor, 0)


def ones_(tensor: Tensor) -> Tensor:
    """Fill with ones."""
    return _write(tensor, 1)


def eye_(tensor: Tensor) -> Tensor:
    """Make a matrix the identity.

    Raises:
        ShapeError: the tensor is no matrix.
    """
    if tensor.ndim != 2:
        raise ShapeError(message("eye_ takes a matrix", f"shape {tensor.shape}", "two axes"))
    return _write(tensor, eye(*tensor.shape, dtype=tensor.dtype))


def dirac_(tensor: Tensor, groups: int = 1) -> Tensor:
    """Make a convolution of `groups` pass on as many channels as there are on both sides.

    Raises:
        ShapeError: the tensor is no weight [out, in, *window] of one to three axes of a window.
        ArgumentError: `groups` does not divide the outputs.
    """
    if tensor.ndim not in (3, 4, 5):
        raise ShapeError(message("dirac_ takes the weight of a convolution", f"shape {tensor.shape}", "3 to 5 axes"))
    if tensor.shape[0] % groups:
        raise ArgumentError(message("groups must divide the outputs", f"groups={groups}, shape {tensor.shape}"))
    count = tensor.shape[0] // groups
    value = np.zeros(tensor.shape)
    for k in range(min(count, tensor.shape[1])):
        value[(slice(k, None, count), k, *(size // 2 for size in tensor.shape[2:]))] = 1
    return _write(tensor, asarray(value, dtype=tensor.dtype))


def orthogonal_(tensor: Tensor, gain: float = 1.0, generator: Generator | None = None) -> Tensor:
    """Fill with a matrix of orthonormal rows or columns, times `gain`; axes after the first are merged.

    The matrix is drawn from the uniform distribution over such matrices (Saxe et al., 2013; Mezzadri, 2006).

    Raises:
        ShapeError: the tensor has fewer than two axes.
    """
    if tensor.ndim < 2:
        raise ShapeError(message("orthogonal_ takes a matrix", f"shape {tensor.shape}", "at least two axes"))
    if not tensor.numel():
        return tensor
    rows, columns = tensor.shape[0], tensor.numel() // tensor.shape[0]
    drawn = random.normal(_key(generator), (max(rows, columns), min(rows, columns)), float32)
    q, r = qr(drawn)
    q = q * sign(diagonal(r))
    q = q.mT if rows < columns else q
    return _write(tensor, (q * gain).reshape(tensor.shape).to(tensor.dtype))


def sparse_(tensor: Tensor, sparsity: float, std: float = 0.01, generator: Generator | None = None) -> Tensor:
    """Fill a matrix with normal numbers, and set the fraction `sparsity` of each column to zero (Martens, 2010).

    Raises:
        ShapeError: the tensor is no matrix.
    """
    if tensor.ndim != 2:
        raise ShapeError(message("sparse_ takes a matrix", f"shape {tensor.shape}", "two axes"))
    zeros = math.ceil(sparsity * tensor.shape[0])
    rank = argsort(argsort(random.uniform(_key(generator), tensor.shape), axis=0), axis=0)
    drawn = random.normal(_key(generator), tensor.shape, tensor.dtype) * std
    return _write(tensor, where(rank < zeros, 0.0, drawn))


def xavier_uniform_(tensor: Tensor, gain: float = 1.0, generator: Generator | None = None) -> Tensor:
    """Fill uniformly, keeping the variance forward and backward (Glorot and Bengio, 2010)."""
    bound = gain * math.sqrt(6.0 / sum(fans(tensor)))
    return uniform_(tensor, -bound, bound, generator)


def xavier_normal_(tensor: Tensor, gain: float = 1.0, generator: Generator | None = None) -> Tensor:
    """Fill normally, keeping the variance forward and backward (Glorot and Bengio, 2010)."""
    return normal_(tensor, 0.0, gain * math.sqrt(2.0 / sum(fans(tensor))), generator)


def _kaiming_std(tensor: Tensor, a: float, mode: str, nonlinearity: str) -> float:
    if mode not in ("fan_in", "fan_out"):
        raise ArgumentError(message("Unknown mode", repr(mode), '"fan_in" or "fan_out"'))
    return calculate_gain(nonlinearity, a) / math.sqrt(max(1, fans(tensor)[mode == "fan_out"]))


def kaiming_uniform_(
    tensor: Tensor, a: float = 0.0, mode: str = "fan_in", nonlinearity: str = "leaky_relu",
    generator: Generator | None = None,
) -> Tensor:  # fmt: skip
    """Fill uniformly, keeping the variance through rectifiers of negative slope `a` (He et al., 2015)."""
    bound = math.sqrt(3.0) * _kaiming_std(tensor, a, mode, nonlinearity)
    return uniform_(tensor, -bound, bound, generator)


def kaiming_normal_(
    tensor: Tensor, a: float = 0.0, mode: str = "fan_in", nonlinearity: str = "leaky_relu",
    generator: Generator | None = None,
) -> Tensor:  # fmt: skip
    """Fill normally, keeping the variance through rectifiers of negative slope `a` (He et al., 2015)."""
    return normal_(tensor, 0.0, _kaiming_std(tensor, a, mode, nonlinearity), generator)


def affine_(weight: Tensor, bias: Tensor | None) -> None:
    """Fill the weight and bias of a linear or convolutional layer as PyTorch does: both within 1 / sqrt(fan in)."""
    kaiming_uniform_(weight, math.sqrt(5.0))
    if bias is not None:
        bound = 1 / math.sqrt(max(1, fans(weight)[0]))
        uniform_(bias, -bound, bound)
