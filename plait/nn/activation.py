"""Activation functions as modules."""

from __future__ import annotations

from typing import Any

from plait.nn.module import Module
from plait.tensor import functions, reductions
from plait.tensor.tensor import Tensor


def _elementwise(name: str, function: Any, summary: str) -> type[Module]:
    """Return the module class of a function without options; `inplace` is accepted and changes nothing."""

    def init(self: Module, inplace: bool = False) -> None:
        pass

    def forward(self: Module, input: Tensor) -> Tensor:
        return function(input)

    members = {"__init__": init, "forward": forward, "__doc__": summary, "__module__": __name__}
    return type(name, (Module,), members)


ReLU = _elementwise("ReLU", functions.relu, "Returns max(x, 0).")
SiLU = _elementwise("SiLU", functions.silu, "Returns x * sigmoid(x).")
Sigmoid = _elementwise("Sigmoid", functions.sigmoid, "Returns 1 / (1 + exp(-x)).")
Tanh = _elementwise("Tanh", functions.tanh, "Returns the hyperbolic tangent.")
LogSigmoid = _elementwise("LogSigmoid", functions.log_sigmoid, "Returns log(sigmoid(x)).")


class GELU(Module):
    """Returns x * Phi(x), Phi being the normal distribution function; `approximate` is "none" or "tanh"."""

    def __init__(self, approximate: str = "none") -> None:
        self.approximate = approximate

    def forward(self, input: Tensor) -> Tensor:
        return functions.gelu(input, self.approximate)

    def extra_repr(self) -> str:
        return f"approximate={self.approximate!r}"


class LeakyReLU(Module):
    """Returns x where it is positive, `negative_slope * x` elsewhere."""

    def __init__(self, negative_slope: float = 0.01, inplace: bool = False) -> None:
        self.negative_slope = negative_slope

    def forward(self, input: Tensor) -> Tensor:
        return functions.leaky_relu(input, self.negative_slope)

    def extra_repr(self) -> str:
        return f"negative_slope={self.negative_slope}"


class ELU(Module):
    """Returns x where it is positive, `alpha * (exp(x) - 1)` elsewhere."""

    def __init__(self, alpha: float = 1.0, inplace: bool = False) -> None:
        self.alpha = alpha

    def forward(self, input: Tensor) -> Tensor:
        return functions.elu(input, self.alpha)

    def extra_repr(self) -> str:
        return f"alpha={self.alpha}"


class Softplus(Module):
    """Returns log(1 + exp(beta * x)) / beta; x itself where beta * x exceeds `threshold`."""

    def __init__(self, beta: float = 1.0, threshold: float = 20.0) -> None:
        self.beta, self.threshold = beta, threshold

    def forward(self, input: Tensor) -> Tensor:
        return functions.softplus(input, self.beta, self.threshold)

    def extra_repr(self) -> str:
        return f"beta={self.beta}, threshold={self.threshold}"


class Softmax(Module):
    """Returns exp(x) divided by its sum along axis `dim`."""

    def __init__(self, dim: int = -1) -> None:
        self.dim = dim

    def forward(self, input: Tensor) -> Tensor:
        return reductions.softmax(input, self.dim)

    def extra_repr(self) -> str:
        return f"dim={self.dim}"


class LogSoftmax(Module):
    """Returns log(softmax(x)) along axis `dim`."""

    def __init__(self, dim: int = -1) -> None:
        self.dim = dim

    def forward(self, input: Tensor) -> Tensor:
        return reductions.log_softmax(input, self.dim)

    def extra_repr(self) -> str:
        return f"dim={self.dim}"
