"""The gamma distribution and those made of it, with gradients by implicit differentiation.

Sources: Marsaglia and Tsang, A simple method for generating gamma variables, 2000 (the samples); Figurnov, Mohamed and
Mnih, Implicit reparameterization gradients, 2018 (the derivative by the parameter).
"""

from __future__ import annotations

from collections.abc import Callable
from math import nan
from typing import Any

from plait.core.dtype import float32, float64
from plait.random.basic import exponential, normal, uniform
from plait.random.continuous import rademacher
from plait.random.keys import Shape, split
from plait.random.parameters import prepared, sampler
from plait.tensor.api import (
    abs,
    any,
    asarray,
    cbrt,
    digamma,
    exp,
    isfinite,
    log,
    log1p,
    logaddexp,
    softmax,
    sqrt,
    sum,
    where,
    zeros,
)
from plait.tensor.control import while_loop
from plait.tensor.shaping import new_shape
from plait.tensor.tensor import Tensor
from plait.tensor.transforms import custom_jvp


def rejection(key: Any, propose: Callable[[Tensor], tuple[Tensor, Tensor]], start: Tensor, is_open: Tensor) -> Tensor:
    """Replace the open elements of `start` by the first proposal that is accepted.

    Args:
        key: a key.
        propose: from a key to whether each proposal is accepted, and the proposals.
        start: the result where nothing is drawn.
        is_open: where something is drawn, a bool tensor.

    Returns:
        A tensor like `start`.
    """

    def attempt(state: Any) -> Any:
        key, is_open, found = state
        key, own = split(key)
        accepted, proposal = propose(own)
        return key, is_open & ~accepted, where(is_open & accepted, proposal, found)

    return while_loop(lambda state: any(state[1]), attempt, (asarray(key), is_open, start))[2]


def _draw(key: Any, a: Tensor) -> Tensor:
    """Return logarithms of gamma numbers; parameters below 1 are drawn one higher and scaled down."""
    first, second = split(key)
    d = where(a < 1, a + 1, a) - 1 / 3
    c = 1 / sqrt(9 * d)

    def propose(key: Tensor) -> tuple[Tensor, Tensor]:
        ours, other = split(key)
        x = normal(ours, a.shape, a.dtype)
        base = 1 + c * x
        v = where(base > 0, base, 1.0) ** 3
        bound = x * x / 2 + d * (1 - v + log(v))
        return (base > 0) & (log1p(-uniform(other, a.shape, a.dtype)) < bound), v

    # no proposal is ever accepted for a parameter that is negative, infinite or NaN
    v = rejection(first, propose, where(a >= 0, 1.0, nan).to(a.dtype), isfinite(a) & (a >= 0))
    return log(d) + log(v) + where(a < 1, log1p(-uniform(second, a.shape, a.dtype)) / a, 0.0)


_LARGE = 1000.0  # from here on the Cornish-Fisher expansion is exact to single precision


def _slope(log_x: Tensor, a: Tensor) -> Tensor:
    """Return the derivative of log x by a, at a constant value of the distribution function of x."""
    log_x, a = log_x.to(float64), a.to(float64)
    is_large = a > _LARGE
    x, b = exp(where(is_large, 0.0, log_x)), where(is_large, 1.0, a)

    # the incomplete gamma function is x^b e^-x / Gamma(b) times the sum of x^k / (b (b + 1) ... (b + k))
    def add(state: Any) -> Any:
        k, term, harmonic, total, slope = state
        k = k + 1
        term = term * x / (b + k)
        harmonic = harmonic + 1 / (b + k)
        return k, term, harmonic, total + term, slope - term * harmonic

    term = 1 / b
    state = (zeros((), dtype=float64), term, term, term, -term * term)
    _, _, _, total, slope = while_loop(lambda s: any(s[1] * s[2] > 1e-16 * abs(s[4])), add, state)
    series = -(total * (log_x - digamma(b)) + slope)
    c = where(is_large, a, _LARGE)
    z = 3 * sqrt(c) * (cbrt(exp(where(is_large, log_x, 0.0)) / c) - 1 + 1 / (9 * c))
    expansion = 1 + z / (2 * sqrt(c)) - (z**3 - 7 * z) / (72 * c * sqrt(c))
    return where(is_large, expansion * exp(-log_x), series)


@custom_jvp
def _pathwise(log_x: Tensor, a: Tensor) -> Tensor:
    return log_x + 0 * a


@_pathwise.defjvp
def _pathwise_jvp(primals: Any, tangents: Any) -> Any:
    return _pathwise(*primals), tangents[0] + _slope(*primals).to(primals[1].dtype) * tangents[1]


@sampler(
    "Draw logarithms of gamma numbers of scale 1: also where these underflow.",
    "loggamma(plait.random.key(0), 2.0, (2,)).shape\n(2,)", a="the shape of the distribution, greater than 0",
    source="Marsaglia and Tsang, 2000; gradients as in Figurnov, Mohamed and Mnih, 2018",
)  # fmt: skip
def loggamma(key: Any, a: Any, shape: Shape | None = None, dtype: Any = float32) -> Tensor:
    _, wanted, (a,) = prepared("loggamma", shape, dtype, a)
    wide = a.to(wanted.compute)
    return _pathwise(_draw(key, wide.detach()).detach(), wide).to(wanted)


@sampler(
    "Draw from the gamma distribution of scale 1.",
    "gamma(plait.random.key(0), 2.0, (2,)).shape\n(2,)", a="the shape of the distribution, greater than 0",
    source="Marsaglia and Tsang, 2000; gradients as in Figurnov, Mohamed and Mnih, 2018",
)  # fmt: skip
def gamma(key: Any, a: Any, shape: Shape | None = None, dtype: Any = float32) -> Tensor:
    return exp(loggamma(key, a, shape, dtype))


@sampler(
    "Draw from the beta distribution.", "beta(plait.random.key(0), 2.0, 3.0, (2,)).shape\n(2,)",
    a="the first shape", b="the second shape",
)  # fmt: skip
def beta(key: Any, a: Any, b: Any, shape: Shape | None = None, dtype: Any = float32) -> Tensor:
    sizes, wanted, (a, b) = prepared("beta", shape, dtype, a, b)
    first, second = split(key)
    x, y = loggamma(first, a, sizes, wanted), loggamma(second, b, sizes, wanted)
    return exp(x - logaddexp(x, y))


@sampler(
    "Draw from the chi-square distribution.", "chisquare(plait.random.key(0), 3.0, (2,)).shape\n(2,)",
    df="degrees of freedom",
)  # fmt: skip
def chisquare(key: Any, df: Any, shape: Shape | None = None, dtype: Any = float32) -> Tensor:
    sizes, wanted, (df,) = prepared("chisquare", shape, dtype, df)
    return 2 * gamma(key, df / 2, sizes, wanted)


@sampler(
    "Draw from Student's t distribution.", "t(plait.random.key(0), 3.0, (2,)).shape\n(2,)", df="degrees of freedom",
)  # fmt: skip
def t(key: Any, df: Any, shape: Shape | None = None, dtype: Any = float32) -> Tensor:
    sizes, wanted, (df,) = prepared("t", shape, dtype, df)
    first, second = split(key)
    return normal(first, sizes, wanted) * sqrt(df / 2 / gamma(second, df / 2, sizes, wanted))


@sampler(
    "Draw from the F distribution.", "f(plait.random.key(0), 3.0, 4.0, (2,)).shape\n(2,)",
    dfnum="degrees of freedom of the numerator", dfden="degrees of freedom of the denominator",
)  # fmt: skip
def f(key: Any, dfnum: Any, dfden: Any, shape: Shape | None = None, dtype: Any = float32) -> Tensor:
    sizes, wanted, (dfnum, dfden) = prepared("f", shape, dtype, dfnum, dfden)
    first, second = split(key)
    above, below = loggamma(first, dfnum / 2, sizes, wanted), loggamma(second, dfden / 2, sizes, wanted)
    return exp(above - below) * dfden / dfnum


@sampler(
    "Draw from the generalized normal distribution, of density proportional to exp(-|x|**p).",
    "generalized_normal(plait.random.key(0), 2.0, (2,)).shape\n(2,)", p="its exponent",
)  # fmt: skip
def generalized_normal(key: Any, p: Any, shape: Shape | None = None, dtype: Any = float32) -> Tensor:
    sizes, wanted, (p,) = prepared("generalized_normal", shape, dtype, p)
    first, second = split(key)
    return rademacher(second, sizes, wanted) * exp(loggamma(first, 1 / p, sizes, wanted) / p)


def dirichlet(key: Any, alpha: Any, shape: Shape | None = None, dtype: Any = float32) -> Tensor:
    """Draw probabilities from the Dirichlet distribution.

    Args:
        key: a key.
        alpha: concentrations, [..., n], greater than 0.
        shape: the axes before the last; by default those of `alpha`.
        dtype: a float type.

    Returns:
        A tensor [*shape, n] whose last axis sums to 1.

    Raises:
        ShapeError: `alpha` does not broadcast to the shape.
        DTypeError: the dtype is no float.

    Example:
        >>> plait.random.dirichlet(plait.random.key(0), plait.ones(3), (2,)).sum(-1).round()
        tensor([1., 1.])
    """
    alpha = asarray(alpha)
    sizes = alpha.shape if shape is None else (*new_shape((shape,)), *alpha.shape[-1:])
    return softmax(loggamma(key, alpha, sizes, dtype), axis=-1)


def ball(key: Any, d: int, p: float = 2.0, shape: Shape = (), dtype: Any = float32) -> Tensor:
    """Draw points evenly from the unit ball of the p-norm in `d` dimensions.

    Args:
        key: a key.
        d: number of dimensions.
        p: order of the norm.
        shape: the axes before the points.
        dtype: a float type.

    Returns:
        A tensor [*shape, d].

    Source: Barthe, Guédon, Mendelson and Naor, A probabilistic approach to the geometry of the lp-ball, 2005.

    Example:
        >>> plait.random.ball(plait.random.key(0), 3).shape
        (3,)
    """
    sizes = new_shape((shape,))
    first, second = split(key)
    direction = generalized_normal(first, p, (*sizes, d), dtype)
    size = sum(abs(direction) ** p, axis=-1) + exponential(second, sizes, dtype)
    return direction / (size ** (1 / p))[..., None]
