"""Continuous distributions as functions of uniform and normal numbers: reparameterized, so gradients flow through."""

from __future__ import annotations

import math
from typing import Any

from ml_dtypes import finfo

from plait.core.dtype import float32
from plait.random.basic import bernoulli, exponential, normal, quantile, uniform
from plait.random.keys import Shape, split
from plait.random.parameters import prepared, sampler
from plait.tensor.api import abs, clamp, erf, exp, log, log1p, nextafter, norm, sign, sqrt, tan, where
from plait.tensor.shaping import new_shape
from plait.tensor.tensor import Tensor, node_of, wrap


@sampler(
    "Draw from the standard normal distribution between two bounds, by the inverse of its distribution function.",
    "truncated_normal(plait.random.key(0), -1.0, 1.0, (2,))\ntensor([0.8619, 0.9413])",
    lower="lower bound", upper="upper bound",
)  # fmt: skip
def truncated_normal(key: Any, lower: Any, upper: Any, shape: Shape | None = None, dtype: Any = float32) -> Tensor:
    sizes, wanted, (low, high) = prepared("truncated_normal", shape, dtype, lower, upper)
    root = math.sqrt(2)
    drawn = root * wrap(quantile(node_of(uniform(key, sizes, wanted, erf(low / root), erf(high / root)))))
    return clamp(drawn, nextafter(low.detach(), math.inf), nextafter(high.detach(), -math.inf))


@sampler(
    "Draw from the Laplace distribution of mean 0 and scale 1.",
    "laplace(plait.random.key(0), (2,))\ntensor([-2.2570, -3.1503])",
)
def laplace(key: Any, shape: Shape = (), dtype: Any = float32) -> Tensor:
    sizes, wanted, _ = prepared("laplace", shape, dtype)
    drawn = uniform(key, sizes, wanted, finfo(wanted.numpy).eps / 2 - 1, 1.0)
    return sign(drawn) * log1p(-abs(drawn))


@sampler(
    "Draw from the logistic distribution of mean 0 and scale 1.",
    "logistic(plait.random.key(0), (2,))\ntensor([2.8964, 3.8218])",
)
def logistic(key: Any, shape: Shape = (), dtype: Any = float32) -> Tensor:
    sizes, wanted, _ = prepared("logistic", shape, dtype)
    drawn = uniform(key, sizes, wanted, finfo(wanted.numpy).smallest_normal, 1.0)
    return log(drawn) - log1p(-drawn)


@sampler(
    "Draw from the Cauchy distribution of location 0 and scale 1.",
    "cauchy(plait.random.key(0), (2,))\ntensor([ 6.0275, 14.8379])",
)
def cauchy(key: Any, shape: Shape = (), dtype: Any = float32) -> Tensor:
    sizes, wanted, _ = prepared("cauchy", shape, dtype)
    return tan(math.pi * (uniform(key, sizes, wanted, finfo(wanted.numpy).eps, 1.0) - 0.5))


@sampler(
    "Draw from the Pareto distribution on [1, ∞).", "pareto(plait.random.key(0), 2.0, (2,))\ntensor([4.3713, 6.8326])",
    b="its shape",
)  # fmt: skip
def pareto(key: Any, b: Any, shape: Shape | None = None, dtype: Any = float32) -> Tensor:
    sizes, wanted, (b,) = prepared("pareto", shape, dtype, b)
    return exp(exponential(key, sizes, wanted) / b)


@sampler(
    "Draw numbers whose logarithm is normal with mean 0.",
    "lognormal(plait.random.key(0), 1.0, (2,))\ntensor([5.0665, 7.5781])", sigma="standard deviation of the logarithm",
)  # fmt: skip
def lognormal(key: Any, sigma: Any = 1.0, shape: Shape | None = None, dtype: Any = float32) -> Tensor:
    sizes, wanted, (sigma,) = prepared("lognormal", shape, dtype, sigma)
    return exp(normal(key, sizes, wanted) * sigma)


@sampler(
    "Draw from the Rayleigh distribution.", "rayleigh(plait.random.key(0), 1.0, (2,))\ntensor([0.3279, 0.2081])",
    scale="its scale",
)  # fmt: skip
def rayleigh(key: Any, scale: Any, shape: Shape | None = None, dtype: Any = float32) -> Tensor:
    sizes, wanted, (scale,) = prepared("rayleigh", shape, dtype, scale)
    return scale * sqrt(-2 * log(uniform(key, sizes, wanted)))


@sampler(
    "Draw from the Weibull distribution.",
    "weibull_min(plait.random.key(0), 1.0, 2.0, (2,))\ntensor([1.7176, 1.9605])",
    scale="its scale", concentration="its shape",
)  # fmt: skip
def weibull_min(key: Any, scale: Any, concentration: Any, shape: Shape | None = None, dtype: Any = float32) -> Tensor:
    sizes, wanted, (scale, concentration) = prepared("weibull_min", shape, dtype, scale, concentration)
    return (-log1p(-uniform(key, sizes, wanted))) ** (1.0 / concentration) * scale


@sampler(
    "Draw from the triangular distribution.",
    "triangular(plait.random.key(0), 0.0, 1.0, 2.0, (2,))\ntensor([1.6765, 1.7930])",
    left="lower end", mode="where the density is largest", right="upper end",
)  # fmt: skip
def triangular(key: Any, left: Any, mode: Any, right: Any, shape: Shape | None = None, dtype: Any = float32) -> Tensor:
    sizes, wanted, (left, mode, right) = prepared("triangular", shape, dtype, left, mode, right)
    drawn, width = uniform(key, sizes, wanted), right - left
    below = left + sqrt(drawn * width * (mode - left))
    return where(drawn < (mode - left) / width, below, right - sqrt((1 - drawn) * width * (right - mode)))


@sampler(
    "Draw from the Wald (inverse Gaussian) distribution of scale 1.",
    "wald(plait.random.key(0), 1.0, (2,)).shape\n(2,)", mean="its mean",
    source="Michael, Schucany and Haas, Generating random variates using transformations with multiple roots, 1976",
)  # fmt: skip
def wald(key: Any, mean: Any, shape: Shape | None = None, dtype: Any = float32) -> Tensor:
    sizes, wanted, (mean,) = prepared("wald", shape, dtype, mean)
    first, second = split(key)
    y = normal(first, sizes, wanted) ** 2
    root = sqrt(4 * mean * y + mean**2 * y**2)
    smaller = mean + mean**2 * y / 2 - mean / 2 * root
    return where(uniform(second, sizes, wanted) <= mean / (mean + smaller), smaller, mean**2 / smaller)


@sampler(
    "Draw speeds of the Maxwell distribution of scale 1: the length of three normal numbers.",
    "maxwell(plait.random.key(0), (2,)).shape\n(2,)",
)
def maxwell(key: Any, shape: Shape = (), dtype: Any = float32) -> Tensor:
    sizes, wanted, _ = prepared("maxwell", shape, dtype)
    return norm(normal(key, (*sizes, 3), wanted), axis=-1)


@sampler(
    "Draw from the Maxwell distribution with a random sign.",
    "double_sided_maxwell(plait.random.key(0), 0.0, 1.0, (2,)).shape\n(2,)", loc="its centre", scale="its scale",
)  # fmt: skip
def double_sided_maxwell(key: Any, loc: Any, scale: Any, shape: Shape | None = None, dtype: Any = float32) -> Tensor:
    sizes, wanted, (loc, scale) = prepared("double_sided_maxwell", shape, dtype, loc, scale)
    first, second = split(key)
    return rademacher(second, sizes, wanted) * maxwell(first, sizes, wanted) * scale + loc


def rademacher(key: Any, shape: Shape = (), dtype: Any = float32) -> Tensor:
    """Draw -1 or 1 with equal probability.

    Args:
        key: a key.
        shape: sizes of the result.
        dtype: its dtype.

    Returns:
        A tensor of `shape`.

    Example:
        >>> plait.random.rademacher(plait.random.key(0), (3,))
        tensor([-1., -1.,  1.])
    """
    return bernoulli(key, 0.5, new_shape((shape,))).to(dtype) * 2 - 1
