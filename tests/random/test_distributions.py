"""Distributions: samples against SciPy's distribution functions, gradients by the parameters, errors."""

from __future__ import annotations

import numpy as np
import pytest

import plait
from plait import random

stats = pytest.importorskip("scipy.stats")

KEY = random.key(11)
COUNT = (4000,)
CONTINUOUS = {
    "truncated_normal": (lambda: random.truncated_normal(KEY, -1.0, 2.0, COUNT), stats.truncnorm(-1, 2)),
    "laplace": (lambda: random.laplace(KEY, COUNT), stats.laplace()),
    "logistic": (lambda: random.logistic(KEY, COUNT), stats.logistic()),
    "cauchy": (lambda: random.cauchy(KEY, COUNT), stats.cauchy()),
    "gumbel": (lambda: random.gumbel(KEY, COUNT), stats.gumbel_r()),
    "exponential": (lambda: random.exponential(KEY, COUNT), stats.expon()),
    "pareto": (lambda: random.pareto(KEY, 2.0, COUNT), stats.pareto(2)),
    "lognormal": (lambda: random.lognormal(KEY, 0.7, COUNT), stats.lognorm(0.7)),
    "rayleigh": (lambda: random.rayleigh(KEY, 2.0, COUNT), stats.rayleigh(scale=2)),
    "weibull_min": (lambda: random.weibull_min(KEY, 2.0, 1.5, COUNT), stats.weibull_min(1.5, scale=2)),
    "triangular": (lambda: random.triangular(KEY, 0.0, 1.0, 3.0, COUNT), stats.triang(1 / 3, 0, 3)),
    "wald": (lambda: random.wald(KEY, 2.0, COUNT), stats.invgauss(2.0)),
    "maxwell": (lambda: random.maxwell(KEY, COUNT), stats.maxwell()),
    "gamma, shape 0.05": (lambda: random.gamma(KEY, 0.05, COUNT), stats.gamma(0.05)),
    "gamma, shape 1": (lambda: random.gamma(KEY, 1.0, COUNT), stats.gamma(1)),
    "gamma, shape 40": (lambda: random.gamma(KEY, 40.0, COUNT), stats.gamma(40)),
    "loggamma": (lambda: random.loggamma(KEY, 0.5, COUNT), stats.loggamma(0.5)),
    "beta": (lambda: random.beta(KEY, 0.5, 2.0, COUNT), stats.beta(0.5, 2)),
    "chisquare": (lambda: random.chisquare(KEY, 3.0, COUNT), stats.chi2(3)),
    "t": (lambda: random.t(KEY, 3.0, COUNT), stats.t(3)),
    "f": (lambda: random.f(KEY, 3.0, 5.0, COUNT), stats.f(3, 5)),
    "generalized_normal": (lambda: random.generalized_normal(KEY, 1.5, COUNT), stats.gennorm(1.5)),
    "dirichlet": (lambda: random.dirichlet(KEY, plait.tensor([1.0, 2.0, 3.0]), COUNT)[:, 1], stats.beta(2, 4)),
    "double_sided_maxwell": (lambda: abs(random.double_sided_maxwell(KEY, 0.0, 1.0, COUNT)), stats.maxwell()),
    "ball": (lambda: random.ball(KEY, 3, 2.0, COUNT).norm(dim=-1) ** 3, stats.uniform()),
    "multivariate_normal": (
        lambda: random.multivariate_normal(KEY, plait.ones(2), plait.tensor([[4.0, 1.0], [1.0, 2.0]]), COUNT)[:, 1],
        stats.norm(1, np.sqrt(2)),
    ),
}
DISCRETE = {
    "poisson 0.3": (lambda: random.poisson(KEY, 0.3, COUNT), stats.poisson(0.3)),
    "poisson 9": (lambda: random.poisson(KEY, 9.0, COUNT), stats.poisson(9)),
    "poisson 30": (lambda: random.poisson(KEY, 30.0, COUNT), stats.poisson(30)),
    "binomial 10": (lambda: random.binomial(KEY, 10, 0.3, COUNT), stats.binom(10, 0.3)),
    "binomial 100": (lambda: random.binomial(KEY, 100, 0.8, COUNT), stats.binom(100, 0.8)),
    "geometric": (lambda: random.geometric(KEY, 0.3, COUNT), stats.geom(0.3)),
    "negative_binomial": (lambda: random.negative_binomial(KEY, 3.0, 0.4, COUNT), stats.nbinom(3, 0.4)),
    "multinomial": (
        lambda: random.multinomial(KEY, 20.0, plait.tensor([0.2, 0.5, 0.3]).broadcast_to(4000, 3))[:, 2],
        stats.binom(20, 0.3),
    ),
    "choice": (
        lambda: random.choice(KEY, 3, COUNT, p=plait.tensor([0.2, 0.5, 0.3])),
        stats.rv_discrete(values=([0, 1, 2], [0.2, 0.5, 0.3])),
    ),
}


@pytest.mark.parametrize("name", CONTINUOUS)
def test_continuous(name):
    draw, distribution = CONTINUOUS[name]
    x = draw().numpy().astype(float)
    assert x.shape == COUNT and stats.kstest(x, distribution.cdf).pvalue > 1e-3


@pytest.mark.parametrize("name", DISCRETE)
def test_discrete(name):
    draw, distribution = DISCRETE[name]
    x = draw().numpy().astype(int)
    observed = np.bincount(x)
    expected = distribution.pmf(np.arange(len(observed))) * len(x)
    common = expected > 5
    observed = np.append(observed[common], observed[~common].sum())
    expected = np.append(expected[common], len(x) - expected[common].sum())
    if expected[-1] < 5:
        observed, expected = observed[:-1], expected[:-1] * observed[:-1].sum() / expected[:-1].sum()
    assert stats.chisquare(observed, expected).pvalue > 1e-3


@pytest.mark.parametrize("shape", [0.1, 1.0, 20.0, 900.0, 3000.0])
def test_gamma_gradient(shape):
    """The derivative of a quantile by the parameter, by central differences of SciPy's quantiles."""
    a = plait.full((200,), shape, dtype=plait.float64)
    x = random.gamma(KEY, a, dtype=plait.float64).numpy()
    slope = plait.grad(lambda a: random.gamma(KEY, a, dtype=plait.float64).sum())(a).numpy()
    below, above, step = stats.gamma.cdf(x, shape), stats.gamma.sf(x, shape), shape * 1e-4
    low, high = (
        np.where(below < 0.5, stats.gamma.ppf(below, b), stats.gamma.isf(above, b))
        for b in (shape - step, shape + step)
    )
    np.testing.assert_allclose(slope, (high - low) / (2 * step), rtol=2e-5, atol=1e-12)


def test_reparameterized():
    """Gradients flow through the samples to the parameters."""
    for draw, value in (
        (lambda v: random.beta(KEY, v, 2.0, (50,)), 1.5), (lambda v: random.t(KEY, v, (50,)), 3.0),
        (lambda v: random.weibull_min(KEY, v, 2.0, (50,)), 1.5), (lambda v: random.pareto(KEY, v, (50,)), 2.0),
        (lambda v: random.truncated_normal(KEY, v, 2.0, (50,)), -1.0),
        (lambda v: random.dirichlet(KEY, v * plait.tensor([1.0, 2.0]))[:1], 1.5),
    ):  # fmt: skip
        slope = plait.grad(lambda v, draw=draw: draw(v).sum())(plait.tensor(value)).item()
        assert np.isfinite(slope) and slope != 0


def test_transforms():
    keys = random.split(KEY, 3)
    for draw in (lambda k: random.gamma(k, 2.0, (4,)), lambda k: random.poisson(k, 20.0, (4,))):
        together = plait.vmap(draw)(keys)
        assert plait.allclose(together, plait.stack([draw(k) for k in keys]), rtol=1e-5)
        assert plait.allclose(plait.jit(draw)(KEY), draw(KEY), rtol=1e-5)


def test_choices():
    x = plait.arange(12).reshape(3, 4)
    drawn = random.choice(KEY, x, (2, 3), axis=1)
    assert drawn.shape == (3, 2, 3) and bool((drawn // 4 == plait.arange(3)[:, None, None]).all())
    assert sorted(random.choice(KEY, 6, (6,), replace=False, p=plait.ones(6) / 6).tolist()) == list(range(6))
    assert random.choice(KEY, 5, ()).shape == ()
    counts = random.multinomial(KEY, plait.tensor([5.0, 7.0]), plait.tensor([[0.1, 0.9], [0.0, 1.0]]))
    assert counts.sum(-1).tolist() == [5.0, 7.0] and counts[1].tolist() == [0.0, 7.0]
    q = random.orthogonal(KEY, 3, (2,), m=5)
    assert q.shape == (2, 3, 5) and plait.allclose(q @ q.mT, plait.eye(3), atol=1e-5)


def test_generator_functions():
    plait.manual_seed(5)
    assert plait.initial_seed() == 5
    state = plait.get_rng_state()
    first = plait.normal(plait.zeros(3), plait.ones(3))
    plait.set_rng_state(state)
    assert plait.equal(plait.normal(plait.zeros(3), plait.ones(3)), first).all()
    with plait.fork_rng():
        inside = plait.rand(2)
    assert plait.rand(2).tolist() == inside.tolist()
    assert plait.Generator("cpu").manual_seed(2**40 + 1).initial_seed() == 2**40 + 1
    x = plait.zeros(500)
    assert 3.5 < x.geometric_(0.25).mean().item() < 4.5 and x.log_normal_().min().item() > 0
    assert set(x.random_(2, 5).tolist()) == {2.0, 3.0, 4.0}
    assert x.random_().max().item() > 1e6 and 2.5 < plait.poisson(plait.full((500,), 3.0)).mean().item() < 3.5
    assert abs(x.cauchy_(5.0, 0.1).median().item() - 5) < 0.1
    assert plait.binomial(plait.full((3,), 4.0), plait.tensor([0.0, 1.0, 0.5])).tolist()[:2] == [0.0, 4.0]
    assert plait.randint_like(x, 3, 4).tolist() == [3.0] * 500 and plait.randperm(3, dtype="int32").dtype is plait.int32


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda: random.gamma(KEY, plait.ones(3), (2,)), "gamma"),
        (lambda: random.choice(KEY, 3, (4,), replace=False), "cannot draw so many. Received: 4 of 3"),
        (lambda: random.choice(KEY, 3, (4,), p=plait.ones(2)), "one probability for each element"),
        (lambda: random.multivariate_normal(KEY, plait.zeros(2), plait.eye(3)), "do not fit"),
        (lambda: random.multivariate_normal(KEY, plait.zeros(2), plait.eye(2), method="lu"), "unknown method"),
        (lambda: random.laplace(KEY, (2,), "int32"), "Random real numbers are floats"),
        (lambda: plait.Generator().set_state(plait.zeros(2)), "no state of a generator"),
        (lambda: plait.rand(2, device="cuda"), "Unknown device"),
        (lambda: plait.randperm(-1), "not negative"),
        (lambda: plait.normal(0.0, -1.0, (2,)), "standard deviation is not negative"),
        (lambda: plait.multinomial(plait.ones(3), 4), "cannot draw so many"),
        (lambda: plait.randint(3, 3, (2,)), r"randint draws from \[low, high\)"),
    ],
)
def test_errors(call, text):
    with pytest.raises((ValueError, TypeError), match=text):
        call()
