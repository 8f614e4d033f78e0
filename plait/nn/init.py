"""Initial values of parameters, written in place; the distributions of `torch.nn.init`."""

from __future__ import annotations

import math
from typing import Any

from plait import random
from plait.core.errors import ArgumentError, ShapeError, message
from plait.sampling import Generator, default_generator
from plait.tensor.autograd import no_grad
from plait.tensor.creation import eye
from plait.tensor.functions import clamp, erfinv
from plait.tensor.tensor import Tensor

_GAINS = {"linear": 1.0, "sigmoid": 1.0, "tanh": 5 / 3, "relu": math.sqrt(2.0), "selu": 0.75}


def calculate_gain(nonlinearity: str, param: float | None = None) -> float:
    """Return the factor that keeps the variance through a nonlinearity; `param` is the slope of "leaky_relu".

    Raises:
        ArgumentError: the nonlinearity is not known.
    """
    if nonlinearity == "leaky_relu":
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
    """Make a matrix the identity."""
    return _write(tensor, eye(*tensor.shape, dtype=tensor.dtype))


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
