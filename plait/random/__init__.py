"""Random numbers from explicit keys, as in `jax.random`: pure functions, each taking a key.

Keys, bits and the samplers of `basic` give, for the same key, the numbers of `jax.random` with its default
implementation. Functions that draw from a generator with a state are in `plait.sampling`.
"""

from __future__ import annotations

from plait.random.basic import bernoulli, categorical, exponential, gumbel, normal, permutation, randint, uniform
from plait.random.choices import choice
from plait.random.continuous import (
    cauchy,
    double_sided_maxwell,
    laplace,
    logistic,
    lognormal,
    maxwell,
    pareto,
    rademacher,
    rayleigh,
    triangular,
    truncated_normal,
    wald,
    weibull_min,
)
from plait.random.discrete import binomial, geometric, multinomial, negative_binomial, poisson
from plait.random.gamma import ball, beta, chisquare, dirichlet, f, gamma, generalized_normal, loggamma, t
from plait.random.keys import PRNGKey, bits, fold_in, key, split
from plait.random.reuse import consuming as _consuming
from plait.random.vectors import multivariate_normal, orthogonal

__all__ = [
    "PRNGKey", "ball", "bernoulli", "beta", "binomial", "bits", "categorical", "cauchy", "chisquare", "choice",
    "dirichlet", "double_sided_maxwell", "exponential", "f", "fold_in", "gamma", "generalized_normal",
    "geometric", "gumbel", "key", "laplace", "loggamma", "logistic", "lognormal", "maxwell", "multinomial",
    "multivariate_normal", "negative_binomial", "normal", "orthogonal", "pareto", "permutation", "poisson",
    "rademacher", "randint", "rayleigh", "split", "t", "triangular", "truncated_normal", "uniform", "wald",
    "weibull_min",
]  # fmt: skip

for _name in __all__:
    if _name not in ("key", "PRNGKey", "fold_in"):
        globals()[_name] = _consuming(globals()[_name])
