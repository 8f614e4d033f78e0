"""Activation functions."""

from __future__ import annotations

from typing import Any

from plait.core.dtype import DType
from plait.core.errors import ArgumentError, message
from plait.core.graph import Node
from plait.core.primitive import P
from plait.tensor.families import both_names, unary
from plait.tensor.operators import scalar_node, single, to_float, to_integer
from plait.tensor.tensor import Tensor, converted, wrap

__all__ = [
    "elu", "gelu", "leaky_relu", "log_sigmoid", "logsigmoid", "relu", "sigmoid", "silu", "softplus", "swish",
]  # fmt: skip


# activations
sigmoid = unary("sigmoid", "logistic", to_float, "Return 1 / (1 + exp(-x)).", "[0.0, 2.0]", "[0.5000, 0.8808]")
relu = unary(
    "relu", lambda x: P.select(P.le(x, scalar_node(0, x.dtype)), scalar_node(0, x.dtype), x), to_integer,
    "Return max(x, 0); its derivative at 0 is 0.",
    "[-1.0, 2.0]", "[0., 2.]",
)  # fmt: skip
silu = swish = unary(
    "silu", lambda x: x * P.logistic(x), to_float, "Return x * sigmoid(x) (Hendrycks and Gimpel, 2016).",
    "[0.0, 1.0]", "[0.0000, 0.7311]",
)  # fmt: skip
log_sigmoid = logsigmoid = unary(
    "log_sigmoid", lambda x: -P.softplus(-x), to_float, "Return log(sigmoid(x)), also where sigmoid(x) underflows.",
    "[0.0, -100.0]", "[  -0.6931, -100.0000]",
)  # fmt: skip


def _wide(x: Any, name: str) -> tuple[Node, DType]:
    """Return the operand in the dtype that 16-bit floats are computed with in, and the dtype of the result."""
    node = single(x, name)
    dtype = to_float(node.dtype)
    return converted(node, dtype.compute), dtype


@both_names
def gelu(x: Any, approximate: str = "none") -> Tensor:
    """Return x * Phi(x), Phi being the normal distribution function (Hendrycks and Gimpel, 2016).

    Args:
        x: a tensor.
        approximate: "none", or "tanh" for the approximation by tanh.

    Returns:
        A tensor of the shape of `x`.

    Raises:
        ArgumentError: another `approximate`.

    Example:
        >>> plait.gelu(plait.tensor([0.0, 1.0]))
        tensor([0.0000, 0.8413])
    """
    node, dtype = _wide(x, "gelu")

    def number(value: float) -> Node:
        return scalar_node(value, node.dtype)

    if approximate == "none":
        return wrap(converted(number(0.5) * node * (number(1.0) + P.erf(node * number(0.5**0.5))), dtype))
    if approximate == "tanh":
        inner = number(0.7978845608028654) * (node + number(0.044715) * node * node * node)
        return wrap(converted(number(0.5) * node * (number(1.0) + P.tanh(inner)), dtype))
    raise ArgumentError(message("Unknown approximation of gelu", repr(approximate), '"none" or "tanh"'))


@both_names
def softplus(x: Any, beta: float = 1.0, threshold: float = 20.0) -> Tensor:
    """Return log(1 + exp(beta * x)) / beta, without overflow.

    Args:
        x: a tensor.
        beta: sharpness.
        threshold: where beta * x is larger, the result is `x` itself, as in PyTorch.

    Returns:
        A tensor of the shape of `x`.

    Example:
        >>> plait.softplus(plait.tensor([0.0, 100.0]))
        tensor([  0.6931, 100.0000])
    """
    node, dtype = _wide(x, "softplus")
    scale = scalar_node(beta, node.dtype)
    is_linear = P.gt(node * scale, scalar_node(threshold, node.dtype))
    return wrap(converted(P.select(is_linear, node, P.softplus(node * scale) / scale), dtype))


@both_names
def leaky_relu(x: Any, negative_slope: float = 0.01) -> Tensor:
    """Return x where it is positive, negative_slope * x elsewhere.

    Args:
        x: a tensor.
        negative_slope: factor of negative elements.

    Returns:
        A tensor of the shape of `x`.

    Example:
        >>> plait.leaky_relu(plait.tensor([-1.0, 2.0]), 0.1)
        tensor([-0.1000,  2.0000])
    """
    node = single(x, "leaky_relu")
    node = converted(node, to_float(node.dtype))
    is_positive = P.gt(node, scalar_node(0, node.dtype))
    return wrap(P.select(is_positive, node, node * scalar_node(negative_slope, node.dtype)))


@both_names
def elu(x: Any, alpha: float = 1.0) -> Tensor:
    """Return x where it is positive, alpha * (exp(x) - 1) elsewhere (Clevert et al., 2015).

    Args:
        x: a tensor.
        alpha: minus the limit at minus infinity.

    Returns:
        A tensor of the shape of `x`.

    Example:
        >>> plait.elu(plait.tensor([-1.0, 2.0]))
        tensor([-0.6321,  2.0000])
    """
    node, dtype = _wide(x, "elu")
    zero = scalar_node(0, node.dtype)
    is_positive = P.gt(node, zero)
    # the inner select keeps exp, and its derivative, finite where the other branch is taken
    negative_part = P.expm1(P.select(is_positive, zero, node)) * scalar_node(alpha, node.dtype)
    return wrap(converted(P.select(is_positive, node, negative_part), dtype))
