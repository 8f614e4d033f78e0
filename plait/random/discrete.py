"""Counts.

Source of the rejections: Hörmann, The transformed rejection method for generating Poisson random variables, 1993, and
The generation of binomial random variates, 1993. Both compute in float64: counts of millions stay exact.
"""

from __future__ import annotations

from typing import Any

from plait.core.dtype import as_dtype, float32, float64, int64
from plait.core.errors import DTypeError, ShapeError, message
from plait.random.basic import uniform
from plait.random.gamma import gamma, rejection
from plait.random.keys import Shape, split
from plait.random.parameters import prepared, sampler
from plait.tensor.api import abs, any, asarray, clamp, cumsum, exp, floor, lgamma, log, log1p, minimum, sqrt, where
from plait.tensor.control import scan, while_loop
from plait.tensor.shaping import new_shape
from plait.tensor.tensor import Tensor

_SMALL = 30.0  # expected counts below this are drawn by inversion
_STEPS = 16  # counts that are tried at a time


def _count(x: Tensor, dtype: Any, name: str) -> Tensor:
    wanted = int64 if dtype is None else as_dtype(dtype)
    if not (wanted.is_integer or wanted.is_floating):
        raise DTypeError(message(f"{name} draws counts", wanted.name, "an integer or a float type"))
    return x.to(wanted)


def _inverted(key: Any, first: Tensor, ratio: Any) -> Tensor:
    """Return counts by their distribution function; `ratio(k)` is the probability of k over that of k - 1."""
    drawn = uniform(key, first.shape, float64)

    def step(state: Any) -> Any:
        k, count, probability, total = state
        for _ in range(_STEPS):  # memory is passed over once for all
            count = where(drawn >= total, count + 1, count)
            k = k + 1
            probability = probability * ratio(k)
            total = total + probability
        return k, count, probability, total

    def is_open(state: Any) -> Tensor:
        return any((drawn >= state[3]) & (state[2] > 0))

    return while_loop(is_open, step, (asarray(0.0, float64), first * 0, first, first))[1]


def _transformed(key: Any, b: Tensor, a: Tensor, centre: Tensor, low: Tensor, scale: Tensor, bound: Any) -> Any:
    """Return the proposals of Hörmann's transformed rejection, and whether each is accepted."""
    first, second = split(key)
    u, v = uniform(first, b.shape, float64) - 0.5, 1 - uniform(second, b.shape, float64)
    us = 0.5 - abs(u)
    k = floor((2 * a / us + b) * u + centre)
    exact = log(v * scale / (a / (us * us) + b)) <= bound(k)
    return ((us >= 0.07) & (v <= low)) | exact, k


@sampler(
    "Draw Poisson counts.", "poisson(plait.random.key(0), 3.0, (3,)).shape\n(3,)", lam="the mean, at least 0",
    source="Hörmann, 1993", integer=True,
)  # fmt: skip
def poisson(key: Any, lam: Any, shape: Shape | None = None, dtype: Any = int64) -> Tensor:
    _, _, (lam,) = prepared("poisson", shape, float64, lam)
    first, second = split(key)
    is_large = lam >= _SMALL
    small, large = where(is_large, 0.0, lam), where(is_large, lam, _SMALL)
    b = 0.931 + 2.53 * sqrt(large)
    a = -0.059 + 0.02483 * b
    log_rate = log(large)

    def bound(k: Tensor) -> Tensor:
        return where(k < 0, -float("inf"), k * log_rate - large - lgamma(clamp(k, 0) + 1))

    def propose(key: Tensor) -> tuple[Tensor, Tensor]:
        low, scale = 0.9277 - 3.6224 / (b - 2), 1.1239 + 1.1328 / (b - 3.4)
        return _transformed(key, b, a, large + 0.43, low, scale, bound)

    counts = _inverted(first, exp(-small), lambda k: small / k)
    return _count(rejection(second, propose, counts, is_large), dtype, "poisson")


@sampler(
    "Draw how many of `n` independent trials succeed.", "binomial(plait.random.key(0), 10, 0.5, (3,)).shape\n(3,)",
    n="number of trials", p="probability of success", source="Hörmann, 1993",
)  # fmt: skip
def binomial(key: Any, n: Any, p: Any, shape: Shape | None = None, dtype: Any = float32) -> Tensor:
    _, _, (n, p) = prepared("binomial", shape, float64, n, p)
    first, second = split(key)
    q = minimum(p, 1 - p)  # the rarer outcome is counted
    is_large = n * q >= _SMALL
    rare, trials = where(is_large, 0.0, q), where(is_large, n, 40.0)
    odds = rare / (1 - rare)
    counts = _inverted(first, exp(n * log1p(-rare)), lambda k: odds * (n - k + 1) / k)
    q = where(is_large, q, 0.5)
    spread = sqrt(trials * q * (1 - q))
    b = 1.15 + 2.53 * spread
    a = -0.0873 + 0.0248 * b + 0.01 * q
    mode = floor((trials + 1) * q)
    peak = lgamma(mode + 1) + lgamma(trials - mode + 1)

    def bound(k: Tensor) -> Tensor:
        inside = clamp(k, 0) - clamp(k - trials, 0)
        ratio = peak - lgamma(inside + 1) - lgamma(trials - inside + 1) + (inside - mode) * log(q / (1 - q))
        return where((k < 0) | (k > trials), -float("inf"), ratio)

    def propose(key: Tensor) -> tuple[Tensor, Tensor]:
        scale = (2.83 + 5.1 / b) * spread
        return _transformed(key, b, a, trials * q + 0.5, 0.92 - 4.2 / b, scale, bound)

    counts = rejection(second, propose, counts, is_large)
    return _count(where(p > 0.5, n - counts, counts), dtype, "binomial")


@sampler(
    "Draw how many trials it takes until the first success.",
    "geometric(plait.random.key(0), 0.5, (3,))\ntensor([1, 1, 2])", p="probability of success", integer=True,
)  # fmt: skip
def geometric(key: Any, p: Any, shape: Shape | None = None, dtype: Any = int64) -> Tensor:
    sizes, wanted, (p,) = prepared("geometric", shape, float32, p)
    drawn = uniform(key, sizes, wanted)
    return _count(floor(log(where(drawn == 0, 1.0, drawn)) / log1p(-p)) + 1, dtype, "geometric")


@sampler(
    "Draw how many failures precede the `n`-th success.",
    "negative_binomial(plait.random.key(0), 3.0, 0.5, (3,)).shape\n(3,)",
    n="number of successes, greater than 0", p="probability of success", integer=True,
)  # fmt: skip
def negative_binomial(key: Any, n: Any, p: Any, shape: Shape | None = None, dtype: Any = int64) -> Tensor:
    sizes, wanted, (n, p) = prepared("negative_binomial", shape, float32, n, p)
    first, second = split(key)
    return poisson(second, gamma(first, n, sizes, wanted) * (1 - p) / p, sizes, dtype)


def multinomial(key: Any, n: Any, p: Any, shape: Shape | None = None, dtype: Any = float32) -> Tensor:
    """Draw how often each of several outcomes occurs in `n` trials.

    Args:
        key: a key.
        n: number of trials, of the shape of the axes before the last.
        p: probabilities, [..., k].
        shape: the shape of the result; by default that of `p`.
        dtype: its dtype.

    Returns:
        Counts [..., k] that sum to `n`.

    Example:
        >>> plait.random.multinomial(plait.random.key(0), 10, plait.tensor([0.5, 0.5, 0.0])).sum()
        tensor(10.)
    """
    p = asarray(p).to(float64)
    if not p.ndim:
        raise ShapeError(message("multinomial takes the chances along an axis", "a number", "a vector or more axes"))
    sizes = p.shape if shape is None else new_shape((shape,))
    p = p.broadcast_to(sizes).movedim(-1, 0)
    left = cumsum(p.flip(0), axis=0).flip(0)
    chances = where(left > 0, p / where(left > 0, left, 1.0), 0.0)
    keys = split(key, sizes[-1])
    start = asarray(n).to(float64).broadcast_to(sizes[:-1])

    def draw(rest: Tensor, x: Any) -> tuple[Tensor, Tensor]:
        found = binomial(x[0], rest, clamp(x[1], 0.0, 1.0), rest.shape, float64)
        return rest - found, found

    return scan(draw, start, (keys, chances))[1].movedim(0, -1).to(dtype)
