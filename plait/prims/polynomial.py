"""Orthogonal polynomials by their recurrences in three terms; those of Chebyshev of high degree by cosines."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from plait.core.dtype import DType, float32, float64, int64
from plait.core.primitive import Waived
from plait.ir import math
from plait.ir.arithmetic import magnitude
from plait.ir.build import Builder
from plait.ir.loop import Expr, const, select
from plait.prims.iterative import iterative
from plait.prims.rules import draw

_HIGH = 8  # degrees of Chebyshev polynomials beyond which |x| < 1 takes a closed form


@dataclass(frozen=True, slots=True)
class Family:
    """A family of polynomials: that of degree 1, and the one after `p` (of degree k) and `q` (before it) at x.

    `closed(n, t)` is that of degree n at cos(t).
    """

    first: Callable[[Expr], Expr]
    following: Callable[[Expr, Expr, Expr, Expr], Expr]
    closed: Callable[[Expr, Expr], Expr] | None = None


def _doubled(x: Expr, k: Expr, p: Expr, q: Expr) -> Expr:
    return x * p * 2 - q


FAMILIES = {
    "chebyshev_t": Family(lambda x: x, _doubled, lambda n, t: math.cos(n * t)),
    "chebyshev_u": Family(lambda x: x * 2, _doubled, lambda n, t: math.sin((n + 1) * t) / math.sin(t)),
    "chebyshev_v": Family(lambda x: x * 2 - 1, _doubled, lambda n, t: math.cos((n + 0.5) * t) / math.cos(t * 0.5)),
    "chebyshev_w": Family(lambda x: x * 2 + 1, _doubled, lambda n, t: math.sin((n + 0.5) * t) / math.sin(t * 0.5)),
    "hermite_h": Family(lambda x: x * 2, lambda x, k, p, q: (x * p - k * q) * 2),
    "hermite_he": Family(lambda x: x, lambda x, k, p, q: x * p - k * q),
    "laguerre_l": Family(lambda x: 1 - x, lambda x, k, p, q: ((k * 2 + 1 - x) * p - k * q) / (k + 1)),
    "legendre_p": Family(lambda x: x, lambda x, k, p, q: ((k * 2 + 1) * x * p - k * q) / (k + 1)),
}


def _polynomial(builder: Builder, x: Expr, n: Expr, *, family: str) -> Expr:
    """The polynomial of degree n, rounded towards 0; 0 for negative degrees. float32 is computed in float64."""
    rule, dtype = FAMILIES[family], x.dtype
    x, degree = x.cast(float64), n.cast(int64)
    before, value = builder.local(float64, 1), builder.local(float64, rule.first(x))
    is_high = (degree > _HIGH) & (magnitude(x) < 1) if rule.closed else const(False, (degree > 0).dtype)
    k, last = builder.local(float64, 1), select(is_high, const(1, int64), degree).cast(float64)
    with builder.repeat_while(k.get() < last):
        following = builder.local(float64, rule.following(x, k.get(), value.get(), before.get()))
        before.set(value.get())
        value.set(following.get())
        k.set(k.get() + 1)
    if rule.closed:
        with builder.when(is_high):
            value.set(rule.closed(degree.cast(float64), math.acos(x)))
    ends = select(degree < 0, const(0, float64), const(1, float64))
    return select(degree > 0, value.get(), ends).cast(dtype)


def _samples(random: Any, dtype: DType, size: int) -> Iterator[tuple[list[Any], dict[str, Any]]]:
    for family in FAMILIES:
        degree = random.integers(-1, 14, (size,)).astype(dtype.numpy)
        yield [draw(random, dtype, (size,), -1, 1), degree], {"family": family}


orthogonal_polynomial = iterative(
    "orthogonal_polynomial", (float32, float64), _polynomial, flops=100, sample=_samples, smooth=False, tolerance=512,
    jvp=Waived("orthogonal polynomials have no derivative here, as in PyTorch"),
    oracle="oracle.elementwise.orthogonal_polynomial",
)  # fmt: skip
