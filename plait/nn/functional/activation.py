"""Activation functions."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from inspect import Parameter, Signature, signature
from typing import Any

from plait import random
from plait.core.errors import ArgumentError, ShapeError, message
from plait.nn.arguments import floating, narrowed, numeric, widened
from plait.sampling import default_generator
from plait.tensor import functions, reductions
from plait.tensor.composite import composite
from plait.tensor.creation import arange
from plait.tensor.functions import exp, expm1, where
from plait.tensor.methods import attach, example_calls, writing
from plait.tensor.operators import assign, to_float
from plait.tensor.shaping import as_operand
from plait.tensor.splitting import chunk
from plait.tensor.tensor import Tensor, axis_index

__all__ = [
    "celu", "celu_", "elu", "elu_", "gelu", "glu", "gumbel_softmax", "hardshrink", "hardsigmoid", "hardswish",
    "hardtanh", "hardtanh_", "leaky_relu", "leaky_relu_", "log_softmax", "logsigmoid", "mish", "prelu", "relu",
    "relu6", "relu_", "rrelu", "rrelu_", "selu", "selu_", "sigmoid", "silu", "softmax", "softmin", "softplus",
    "softshrink", "softsign", "tanh", "tanhshrink", "threshold", "threshold_",
]  # fmt: skip

_DOCUMENT = """{summary}

Args:
    input: a tensor of any shape.
{arguments}    inplace: whether the result is written to `input` too.

Returns:
    A tensor of the shape and dtype of `input`.

Raises:
    DTypeError: `input` is not of a dtype that {name} takes.
{raises}
Example:
    >>> plait.nn.functional.{name}({call})
    tensor({result})
"""
_Function = Callable[..., Any]


def _writing(function: _Function, accept: _Function | None = None) -> _Function:
    """Return `function` with one more argument, `inplace`; `accept` checks the input before, if given."""
    name, (first, *others) = function.__name__, signature(function).parameters.values()
    count = len(others)

    @composite
    def widely(input: Any, *args: Any, **kwargs: Any) -> Tensor:
        x = accept(input, name)  # type: ignore[misc]
        return narrowed(function(widened(x), *args, **kwargs), x.dtype)

    compute = function if accept is None else widely

    @wraps(function)
    def call(input: Any, *args: Any, inplace: bool = False, **kwargs: Any) -> Tensor:
        if len(args) > count:
            *args, inplace = args  # type: ignore[assignment]
        result = compute(input, *args, **kwargs)
        return assign(input, result, name) if inplace else result

    last = Parameter("inplace", Parameter.POSITIONAL_OR_KEYWORD, default=False)
    call.__signature__ = Signature([first.replace(name="input"), *others, last])  # type: ignore[attr-defined]
    call.__doc__ = example_calls(function, f"plait.nn.functional.{name}")
    return call


def _activation(
    summary: str, sample: str, result: str, arguments: str = "", raises: str = "", accept: _Function = floating
) -> Callable[[_Function], _Function]:
    def decorate(function: _Function) -> _Function:
        points, _, rest = sample.partition(" ; ")
        parts = {"summary": summary, "result": result, "arguments": arguments, "raises": raises}
        parts["call"] = f"plait.tensor({points})" + (f", {rest}" if rest else "")
        function.__doc__ = _DOCUMENT.format(name=function.__name__, **parts)
        return _writing(function, accept)

    return decorate


def _to_float(x: Any, name: str) -> Tensor:
    """Accept every dtype; integers and bools are converted to float32."""
    x = as_operand(x, name)
    return x.to(to_float(x.dtype))


def _nonzero(value: float, name: str, of: str) -> float:
    if not value:
        raise ArgumentError(message(f"{name} of {of} is a divisor", repr(value), "a number other than 0"))
    return value


# those of the namespace, with `inplace`

elu = _writing(functions.elu)
leaky_relu = _writing(functions.leaky_relu)
relu = _writing(functions.relu)
silu = _writing(functions.silu)
gelu, logsigmoid, sigmoid, softplus, tanh = (
    functions.gelu, functions.logsigmoid, functions.sigmoid, functions.softplus, functions.tanh,
)  # fmt: skip


# exponential and piecewise linear ones


@_activation(
    "Return max(x, 0) + min(0, alpha * (exp(x / alpha) - 1)) (Barron, 2017).",
    "[-1.0, 2.0]", "[-0.6321,  2.0000]", "    alpha: minus the limit at minus infinity.\n",
    "    ArgumentError: `alpha` is 0.\n",
)  # fmt: skip
def celu(input: Tensor, alpha: float = 1.0) -> Tensor:
    negative = where(input > 0, 0.0, input) / _nonzero(alpha, "alpha", "celu")
    return where(input > 0, input, expm1(negative) * alpha)


@_activation(
    "Return elu(x) scaled so that activations keep mean 0 and variance 1 (Klambauer et al., 2017).",
    "[-1.0, 2.0]", "[-1.1113,  2.1014]",
)  # fmt: skip
def selu(input: Tensor) -> Tensor:
    negative = expm1(where(input > 0, 0.0, input)) * 1.6732632423543772
    return where(input > 0, input, negative) * 1.0507009873554805


@_activation(
    "Return x limited to the range from `min_val` to `max_val`; the derivative at the ends is 0.",
    "[-3.0, 0.5, 3.0]", "[-1.0000,  0.5000,  1.0000]",
    "    min_val: lower end.\n    max_val: upper end.\n", "    ArgumentError: the ends are in the wrong order.\n",
    accept=numeric,
)  # fmt: skip
def hardtanh(input: Tensor, min_val: float = -1.0, max_val: float = 1.0) -> Tensor:
    if min_val > max_val:
        received = f"min_val={min_val}, max_val={max_val}"
        raise ArgumentError(message("hardtanh has no such range", received, "min_val <= max_val"))
    low, high = (v if input.dtype.is_inexact else int(v) for v in (min_val, max_val))
    return where(input <= low, low, where(input >= high, high, input))


@_activation("Return min(max(x, 0), 6).", "[-1.0, 3.0, 8.0]", "[0., 3., 6.]", accept=numeric)
def relu6(input: Tensor) -> Tensor:
    return hardtanh(input, 0.0, 6.0)


@_activation("Return relu6(x + 3) / 6, a piecewise linear sigmoid.", "[-3.0, 0.0]", "[0.0000, 0.5000]")
def hardsigmoid(input: Tensor) -> Tensor:
    return hardtanh(input + 3.0, 0.0, 6.0) * (1 / 6)


@_activation(
    "Return x * relu6(x + 3) / 6 (Howard et al., 2019).", "[-3.0, 1.0]", "[-0.0000,  0.6667]",
)  # fmt: skip
def hardswish(input: Tensor) -> Tensor:
    return input * hardsigmoid(input)


@_activation(
    "Return x where it exceeds `threshold`, `value` elsewhere.", "[-1.0, 2.0] ; 0.0, 5.0", "[5., 2.]",
    "    threshold: the largest number that is replaced.\n    value: what replaces it.\n", accept=numeric,
)  # fmt: skip
def threshold(input: Tensor, threshold: float, value: float) -> Tensor:
    return where(input <= threshold, value, input).to(input.dtype)


_LAMBDA = "    lambd: half of the width of the range around 0.\n"


@_activation(
    "Return x, and 0 in the range from -lambd to lambd.", "[0.2, 2.0]", "[0., 2.]", _LAMBDA,
)  # fmt: skip
def hardshrink(input: Tensor, lambd: float = 0.5) -> Tensor:
    return where((input >= -lambd) & (input <= lambd), 0.0, input)


@_activation(
    "Return x moved towards 0 by `lambd`, and 0 where it is nearer than that.", "[0.2, 2.0]", "[0.0000, 1.5000]",
    _LAMBDA, "    ArgumentError: `lambd` is negative.\n",
)  # fmt: skip
def softshrink(input: Tensor, lambd: float = 0.5) -> Tensor:
    if not lambd >= 0:
        raise ArgumentError(message("lambd of softshrink is a distance", lambd, "a number of at least 0"))
    return where(input > lambd, input - lambd, where(input < -lambd, input + lambd, input * 0.0))


# smooth ones


@_activation("Return x * tanh(softplus(x)) (Misra, 2019).", "[0.0, 1.0]", "[0.0000, 0.8651]")
def mish(input: Tensor) -> Tensor:
    # tanh(log(1 + e)) for e = exp(x): one exponential, and no logarithm; above 20 the quotient is 1
    e = exp(where(input > 20.0, 20.0, input))
    square = e * (e + 2.0)
    return input * (square / (square + 2.0))


@_activation("Return x / (1 + |x|).", "[-1.0, 3.0]", "[-0.5000,  0.7500]", accept=_to_float)
def softsign(input: Tensor) -> Tensor:
    return input / (abs(input) + 1.0)


@_activation("Return x - tanh(x).", "[0.0, 1.0]", "[0.0000, 0.2384]", accept=_to_float)
def tanhshrink(input: Tensor) -> Tensor:
    return input - tanh(input)


@composite
def glu(input: Any, dim: int = -1) -> Tensor:
    """Return the first half along an axis times the sigmoid of the second (Dauphin et al., 2016).

    Args:
        input: a tensor with an even size on `dim`.
        dim: the axis.

    Returns:
        A tensor with half the size on `dim`.

    Raises:
        ShapeError: the size is odd, or there is no such axis.
        DTypeError: `input` is not floating-point.

    Example:
        >>> plait.nn.functional.glu(plait.tensor([2.0, 4.0, 0.0, 0.0]))
        tensor([1., 2.])
    """
    x = floating(input, "glu")
    if not x.ndim or x.shape[axis_index(dim, x.ndim)] % 2:
        raise ShapeError(message("glu halves an axis", f"shape {x.shape}, dim={dim}", "an axis of even size"))
    value, gate = chunk(x, 2, dim)
    return narrowed(widened(value) * sigmoid(widened(gate)), x.dtype)


def prelu(input: Any, weight: Any) -> Tensor:
    """Return x where it is positive, weight * x elsewhere (He et al., 2015).

    Args:
        input: a tensor [N, C, ...], or of any shape with one weight.
        weight: one factor, or one for each channel C.

    Returns:
        A tensor of the shape of `input`.

    Raises:
        ShapeError: there are as many weights as channels, or one.
        DTypeError: `input` is not floating-point.

    Example:
        >>> plait.nn.functional.prelu(plait.tensor([-1.0, 2.0]), plait.tensor([0.25]))
        tensor([-0.2500,  2.0000])
    """
    x, factor = floating(input, "prelu"), floating(weight, "prelu")
    channels = x.shape[1] if x.ndim > 1 else 1
    if factor.ndim > 1 or factor.numel() not in (1, channels):
        expected = f"shape () or (1,), or ({channels},) for the channels"
        received = f"an input of shape {x.shape} and a weight of shape {factor.shape}"
        raise ShapeError(message("The weight of prelu does not fit", received, expected))
    factor = factor.reshape(-1, *(1,) * (x.ndim - 2)) if factor.numel() > 1 else factor.reshape(())
    return where(x > 0, x, factor * x)


@_activation(
    "Return x where it is positive, elsewhere x times a random factor: a different one for each element "
    "(Xu et al., 2015).",
    "[-6.0, 2.0] ; 0.0, 0.5", "[-1.5000,  2.0000]",
    "    lower: lower end of the range of the factors.\n    upper: upper end.\n"
    "    training: whether factors are drawn; otherwise all are the middle of the range.\n",
    "    ArgumentError: the ends are in the wrong order.\n",
)  # fmt: skip
def rrelu(input: Tensor, lower: float = 1 / 8, upper: float = 1 / 3, training: bool = False) -> Tensor:
    if lower > upper:
        raise ArgumentError(message("rrelu has no such range", f"lower={lower}, upper={upper}", "lower <= upper"))
    if not training:
        return functions.leaky_relu(input, (lower + upper) / 2)
    factor = random.uniform(default_generator.next_key(), input.shape, input.dtype, lower, upper)
    return where(input > 0, input, factor * input)


# over an axis


def _over_axis(function: _Function, name: str, summary: str, result: str) -> _Function:
    """Return a function with PyTorch's arguments: the axis may be left out, as its old programs do."""

    def call(input: Any, dim: int | None = None, _stacklevel: int = 3, dtype: Any = None) -> Tensor:
        x = as_operand(input, name)
        axis = dim if dim is not None else 0 if x.ndim in (0, 1, 3) else 1
        return function(x, axis, dtype=dtype)

    call.__name__ = call.__qualname__ = name
    call.__doc__ = f"""{summary}

    Args:
        input: a tensor.
        dim: the axis; None means axis 0 of tensors of rank 0, 1 and 3, and axis 1 of others.
        dtype: compute in this dtype.

    Returns:
        A tensor of the shape of `input`.

    Raises:
        ShapeError: `input` has no such axis.

    Example:
        >>> plait.nn.functional.{name}(plait.tensor([0.0, 1.0]), 0)
        tensor({result})
    """
    return call


softmax = _over_axis(
    reductions.softmax, "softmax", "Return exp(x) divided by its sum over an axis.", "[0.2689, 0.7311]"
)
log_softmax = _over_axis(reductions.log_softmax, "log_softmax", "Return log(softmax(x)).", "[-1.3133, -0.3133]")
softmin = _over_axis(
    lambda x, axis, dtype: reductions.softmax(-x if dtype is None else -x.to(dtype), axis),
    "softmin", "Return softmax(-x).", "[0.7311, 0.2689]",
)  # fmt: skip


def gumbel_softmax(logits: Any, tau: float = 1.0, hard: bool = False, eps: float = 1e-10, dim: int = -1) -> Tensor:
    """Draw a nearly one-hot vector with probabilities softmax(logits), differentiably (Jang et al., 2016).

    Args:
        logits: unnormalized log probabilities.
        tau: temperature: the smaller, the nearer to one-hot.
        hard: whether the result is one-hot, with the gradient of the soft one.
        eps: ignored, as in PyTorch.
        dim: the axis of the classes.

    Returns:
        A tensor of the shape of `logits` that sums to 1 along `dim`.

    Raises:
        DTypeError: the logits are not floating-point.
        ArgumentError: `tau` is 0.

    Example:
        >>> plait.nn.functional.gumbel_softmax(plait.tensor([0.0, 100.0]), hard=True)
        tensor([0., 1.])
    """
    x = floating(logits, "gumbel_softmax")
    noise = random.gumbel(default_generator.next_key(), x.shape, x.dtype)
    soft = reductions.softmax((x + noise) / _nonzero(tau, "tau", "gumbel_softmax"), dim)
    if not hard:
        return soft
    axis = axis_index(dim, x.ndim)
    classes = arange(x.shape[axis]).reshape(-1, *(1,) * (x.ndim - axis - 1))
    one_hot = (soft.argmax(axis, keepdims=True) == classes).to(soft.dtype)
    return one_hot - soft.detach() + soft


celu_, elu_, hardtanh_, leaky_relu_, relu_, rrelu_, selu_, threshold_ = (
    writing(f, f"plait.nn.functional.{f.__name__}_")
    for f in (celu, elu, hardtanh, leaky_relu, relu, rrelu, selu, threshold)
)
attach([hardshrink, prelu])
