"""Activation functions as layers."""

from __future__ import annotations

from typing import Any

from plait.core.errors import ShapeError, message
from plait.nn import init
from plait.nn.arguments import positive
from plait.nn.functional import activation
from plait.nn.layer import Layer
from plait.nn.module import Module
from plait.tensor.creation import empty
from plait.tensor.shaping import as_operand
from plait.tensor.tensor import Parameter, Tensor

__all__ = [
    "CELU", "ELU", "GELU", "GLU", "Hardshrink", "Hardsigmoid", "Hardswish", "Hardtanh", "LeakyReLU", "LogSigmoid",
    "LogSoftmax", "Mish", "PReLU", "RReLU", "ReLU", "ReLU6", "SELU", "SiLU", "Sigmoid", "Softmax", "Softmax2d",
    "Softmin", "Softplus", "Softshrink", "Softsign", "Tanh", "Tanhshrink", "Threshold",
]  # fmt: skip


class ReLU(Layer, function=activation.relu):
    """Returns max(x, 0).

    Example:
        >>> plait.nn.ReLU()(plait.tensor([-1.0, 2.0]))
        tensor([0., 2.])
    """


class ReLU6(Layer, function=activation.relu6):
    """Returns x limited to the range from 0 to 6.

    Example:
        >>> plait.nn.ReLU6()(plait.tensor([-1.0, 7.0]))
        tensor([0., 6.])
    """


class LeakyReLU(Layer, function=activation.leaky_relu, shown="negative_slope={negative_slope}"):
    """Returns x where it is positive, `negative_slope * x` elsewhere.

    Example:
        >>> plait.nn.LeakyReLU(0.1)(plait.tensor([-1.0, 2.0]))
        tensor([-0.1000,  2.0000])
    """


class RReLU(Layer, function=activation.rrelu, shown="lower={lower}, upper={upper}"):
    """Returns x where it is positive, elsewhere x times a factor drawn at random, or the middle in evaluation mode.

    Example:
        >>> plait.nn.RReLU()(plait.tensor([1.0, 2.0]))
        tensor([1., 2.])
    """


class ELU(Layer, function=activation.elu, shown="alpha={alpha}"):
    """Returns x where it is positive, `alpha * (exp(x) - 1)` elsewhere.

    Example:
        >>> plait.nn.ELU()(plait.tensor([-1.0, 2.0]))
        tensor([-0.6321,  2.0000])
    """


class CELU(Layer, function=activation.celu, shown="alpha={alpha}"):
    """Returns x where it is positive, `alpha * (exp(x / alpha) - 1)` elsewhere.

    Example:
        >>> plait.nn.CELU()(plait.tensor([-1.0, 2.0]))
        tensor([-0.6321,  2.0000])
    """


class SELU(Layer, function=activation.selu):
    """Returns the scaled ELU that keeps mean 0 and variance 1 (Klambauer et al., 2017).

    Example:
        >>> plait.nn.SELU()(plait.tensor([-1.0, 2.0]))
        tensor([-1.1113,  2.1014])
    """


class GELU(Layer, function=activation.gelu, shown="approximate={approximate!r}"):
    """Returns x * Phi(x), Phi being the normal distribution function (Hendrycks and Gimpel, 2016).

    Example:
        >>> plait.nn.GELU()(plait.tensor([-1.0, 2.0]))
        tensor([-0.1587,  1.9545])
    """


class SiLU(Layer, function=activation.silu):
    """Returns x * sigmoid(x).

    Example:
        >>> plait.nn.SiLU()(plait.tensor([-1.0, 2.0]))
        tensor([-0.2689,  1.7616])
    """


class Mish(Layer, function=activation.mish):
    """Returns x * tanh(softplus(x)) (Misra, 2019).

    Example:
        >>> plait.nn.Mish()(plait.tensor([-1.0, 2.0]))
        tensor([-0.3034,  1.9440])
    """


class Sigmoid(Layer, function=activation.sigmoid, arguments=""):
    """Returns 1 / (1 + exp(-x)).

    Example:
        >>> plait.nn.Sigmoid()(plait.tensor([-1.0, 2.0]))
        tensor([0.2689, 0.8808])
    """


class LogSigmoid(Layer, function=activation.logsigmoid, arguments=""):
    """Returns log(sigmoid(x)).

    Example:
        >>> plait.nn.LogSigmoid()(plait.tensor([-1.0, 2.0]))
        tensor([-1.3133, -0.1269])
    """


class Tanh(Layer, function=activation.tanh, arguments=""):
    """Returns the hyperbolic tangent.

    Example:
        >>> plait.nn.Tanh()(plait.tensor([-1.0, 2.0]))
        tensor([-0.7616,  0.9640])
    """


class Tanhshrink(Layer, function=activation.tanhshrink, arguments=""):
    """Returns x - tanh(x).

    Example:
        >>> plait.nn.Tanhshrink()(plait.tensor([-1.0, 2.0]))
        tensor([-0.2384,  1.0360])
    """


class Hardtanh(Layer, function=activation.hardtanh, shown="min_val={min_val}, max_val={max_val}"):
    """Returns x limited to the range from `min_val` to `max_val`.

    Example:
        >>> plait.nn.Hardtanh()(plait.tensor([-2.0, 0.5]))
        tensor([-1.0000,  0.5000])
    """


class Hardsigmoid(Layer, function=activation.hardsigmoid):
    """Returns x / 6 + 1 / 2, limited to the range from 0 to 1.

    Example:
        >>> plait.nn.Hardsigmoid()(plait.tensor([-4.0, 0.0]))
        tensor([0.0000, 0.5000])
    """


class Hardswish(Layer, function=activation.hardswish):
    """Returns x * hardsigmoid(x).

    Example:
        >>> plait.nn.Hardswish()(plait.tensor([-4.0, 3.0]))
        tensor([-0.,  3.])
    """


class Hardshrink(Layer, function=activation.hardshrink, arguments="lambd", shown="{lambd}"):
    """Returns x, or 0 where it is between -lambd and lambd.

    Example:
        >>> plait.nn.Hardshrink()(plait.tensor([-0.4, 2.0]))
        tensor([0., 2.])
    """


class Softshrink(Layer, function=activation.softshrink, arguments="lambd", shown="{lambd}"):
    """Returns x moved towards 0 by `lambd`, at most to 0.

    Example:
        >>> plait.nn.Softshrink()(plait.tensor([-0.4, 2.0]))
        tensor([-0.0000,  1.5000])
    """


class Softplus(Layer, function=activation.softplus, shown="beta={beta}, threshold={threshold}"):
    """Returns log(1 + exp(beta * x)) / beta; x itself where beta * x exceeds `threshold`.

    Example:
        >>> plait.nn.Softplus()(plait.tensor([0.0, 50.0]))
        tensor([ 0.6931, 50.0000])
    """


class Softsign(Layer, function=activation.softsign, arguments=""):
    """Returns x / (1 + abs(x)).

    Example:
        >>> plait.nn.Softsign()(plait.tensor([-1.0, 3.0]))
        tensor([-0.5000,  0.7500])
    """


class Threshold(Layer, function=activation.threshold, shown="threshold={threshold}, value={value}"):
    """Returns x where it is greater than `threshold`, `value` elsewhere.

    Example:
        >>> plait.nn.Threshold(0.5, 9.0)(plait.tensor([0.1, 2.0]))
        tensor([9., 2.])
    """


class GLU(Layer, function=activation.glu, shown="dim={dim}"):
    """Returns the first half of the axis `dim` times the sigmoid of the second (Dauphin et al., 2017).

    Example:
        >>> plait.nn.GLU()(plait.tensor([1.0, 0.0]))
        tensor([0.5000])
    """


class Softmax(Layer, function=activation.softmax, arguments="dim", shown="dim={dim}"):
    """Returns exp(x) divided by its sum along axis `dim`.

    Example:
        >>> plait.nn.Softmax(-1)(plait.tensor([0.0, 0.0]))
        tensor([0.5000, 0.5000])
    """


class Softmin(Layer, function=activation.softmin, arguments="dim", shown="dim={dim}"):
    """Returns softmax(-x) along axis `dim`.

    Example:
        >>> plait.nn.Softmin(-1)(plait.tensor([0.0, 0.0]))
        tensor([0.5000, 0.5000])
    """


class LogSoftmax(Layer, function=activation.log_softmax, arguments="dim", shown="dim={dim}"):
    """Returns log(softmax(x)) along axis `dim`.

    Example:
        >>> plait.nn.LogSoftmax(-1)(plait.tensor([0.0, 0.0]))
        tensor([-0.6931, -0.6931])
    """


class Softmax2d(Module):
    """Returns the softmax over the channels of [N, C, H, W] or [C, H, W].

    Example:
        >>> plait.nn.Softmax2d()(plait.zeros(1, 2, 1, 1)).flatten()
        tensor([0.5000, 0.5000])
    """

    def forward(self, input: Tensor) -> Tensor:
        x = as_operand(input, "Softmax2d")
        if x.ndim not in (3, 4):
            raise ShapeError(message("Softmax2d takes other axes", f"shape {x.shape}", "[N, C, H, W] or [C, H, W]"))
        return activation.softmax(x, -3)


class PReLU(Module):
    """Returns x where it is positive, x times a trained factor elsewhere (He et al., 2015).

    Args:
        num_parameters: number of factors: 1, or the number of channels.
        init: initial value of the factors.
        device: "cpu".
        dtype: element type of the factors, float32 by default.

    Example:
        >>> plait.nn.PReLU()(plait.tensor([-2.0, 3.0])).detach()
        tensor([-0.5000,  3.0000])
    """

    def __init__(self, num_parameters: int = 1, init: float = 0.25, device: Any = None, dtype: Any = None) -> None:
        self.num_parameters, self.init = positive(num_parameters, "num_parameters"), init
        self.weight = Parameter(empty(num_parameters, dtype=dtype))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Set the factors to their initial value."""
        init.constant_(self.weight, self.init)

    def forward(self, input: Tensor) -> Tensor:
        return activation.prelu(input, self.weight)

    def extra_repr(self) -> str:
        return f"num_parameters={self.num_parameters}"
