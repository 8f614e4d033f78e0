"""The incomplete gamma functions and the Hurwitz zeta function: series that end where they have converged."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction
from functools import cache
from math import factorial, inf, nan, pi
from typing import Any

from plait.core.dtype import FLOATS, DType, float32, float64
from plait.core.errors import GradientError, message
from plait.core.graph import Node
from plait.core.primitive import P
from plait.ir import math
from plait.ir.arithmetic import magnitude, multiply_add, poly, where
from plait.ir.bessel import in_double
from plait.ir.build import Builder, LocalValue
from plait.ir.coefficients import LGAMMA, LOG1P
from plait.ir.loop import Expr, binary, const, rarely, select, unary
from plait.prims.iterative import iterative
from plait.prims.rules import binary_rule, draw, elementwise, elementwise_domain, partials

_EPSILON = {float32: 2.0**-28, float64: 2.0**-53}  # where the series end
_BERNOULLI = (1 / 6, -1 / 30, 1 / 42, -1 / 30, 5 / 66, -691 / 2730, 7 / 6, -3617 / 510, 43867 / 798, -174611 / 330)
_STIRLING = (1 / 12, -1 / 360, 1 / 1260, -1 / 1680, 1 / 1188, -691 / 360360, 1 / 156)
_DIRECT = 10  # terms of the zeta function that are summed one by one, at least
_MOST_TERMS = 2000
_MOST_STEPS = 120  # of the continued fraction: it has converged, and does not overflow yet
_AT_ONCE = 4  # terms between two looks whether a series has converged


# smooth=False below: the laws would differentiate by every operand
def _not_by(name: str, operand: str) -> Callable[..., Node]:
    """Make the partial derivative by an operand that has none in closed form."""

    def partial(*nodes: Node) -> Node:
        fix = f"call .detach() on {operand}"
        raise GradientError(message(f"{name} has no derivative by {operand}", fix=fix))

    return partial


# the zeta function


def _zeta_right(s: Expr, q: Expr) -> Expr:
    """Zeta for positive q: a direct sum, then the formula of Euler and Maclaurin (NIST 25.11.5)."""
    total = math.pow(q, -s)
    for k in range(1, _DIRECT):
        total = total + math.exp(-s * math.log(q + float(k)))
    w = q + float(_DIRECT)
    power, inverse = math.exp(-s * math.log(w)), 1 / w
    series, rising = const(0, float64), s
    for j, bernoulli in enumerate(_BERNOULLI, 1):
        series = multiply_add(rising * inverse, bernoulli / factorial(2 * j), series)
        rising = rising * (s + (2 * j - 1)) * (s + 2 * j) * inverse * inverse
    return total + where(power > 0, power * (w / (s - 1) + 0.5 + series), 0)


def _zeta_left(s: Expr, q: Expr) -> Expr:
    """Zeta for negative q and whole s: the sum over all integers, less that beyond q."""
    fraction, half = q - unary("floor", q), s * 0.5
    beyond = _zeta_right(s, 1 - fraction) - _zeta_right(s, 1 - q)
    return _zeta_right(s, fraction) + select(unary("floor", half).eq(half), beyond, -beyond)


@in_double
def _zeta(s: Expr, q: Expr) -> Expr:
    is_whole = unary("floor", q).eq(q)
    has_value = (s > 1) & ((q > 0) | (~is_whole & unary("floor", s).eq(s)))
    value = rarely(q <= 0, _zeta_left(s, q), _zeta_right(s, q))
    is_pole = (s.eq(1) & q.eq(q)) | ((s > 1) & (q <= 0) & is_whole)
    return select(has_value, value, where(is_pole, const(inf, float64), nan))


zeta = elementwise(
    "zeta", binary_rule(FLOATS, "zeta"), _zeta, flops=600,
    jvp=partials(_not_by("zeta", "its first argument"), lambda y, s, q: -s * P.zeta(s + 1, q)),
    domain=elementwise_domain(FLOATS, (1.5, 8), (0.3, 12), smooth=False, tolerance=64), oracle="scipy.special.zeta",
)  # fmt: skip


# the incomplete gamma functions


@cache
def _uniform_coefficients(rows: int, columns: int) -> tuple[tuple[float, ...], ...]:
    """The coefficients d_kn of Temme's uniform expansion (NIST 8.12.8 to 8.12.13), in exact arithmetic."""
    size = columns + 2 * rows + 2
    alpha = [Fraction(0), Fraction(1), Fraction(1, 3)]
    for n in range(3, size + 1):
        total = sum((j * alpha[j] * alpha[n - j + 1] for j in range(2, n)), Fraction(0))
        alpha.append((alpha[n - 1] - total) / (n + 1))
    first = [Fraction(-1, 3)] + [(n + 2) * alpha[n + 2] for n in range(1, size - 1)]
    result = [first]
    for k in range(1, rows):
        gamma = (-1) ** k * _stirling_ratio(k)
        previous = result[-1]
        result.append([gamma * first[n] + (n + 2) * previous[n + 2] for n in range(len(previous) - 2)])
    return tuple(tuple(float(c) for c in row[:columns]) for row in result)


@cache
def _stirling_ratio(k: int) -> Fraction:
    """The coefficients g_k of Stirling's series of gamma itself: those of exp of the series of its logarithm."""
    if k == 0:
        return Fraction(1)
    logs = {1: Fraction(1, 12), 3: Fraction(-1, 360), 5: Fraction(1, 1260), 7: Fraction(-1, 1680), 9: Fraction(1, 1188),
            11: Fraction(-691, 360360), 13: Fraction(1, 156), 15: Fraction(-3617, 122400)}  # fmt: skip
    return sum((j * c * _stirling_ratio(k - j) for j, c in logs.items() if j <= k), Fraction(0)) / k


def _log1p_less(mu: Expr) -> Expr:
    """log(1 + mu) - mu for |mu| < 0.29."""
    return mu * mu * poly(mu, LOG1P[float64])


def _prefactor(builder: Builder, a: Expr, x: Expr) -> Expr:
    """x^a exp(-x) / gamma(a + 1)."""
    result = builder.local(float64, 0)
    with builder.when(a > 10):
        mu, inverse = (x - a) / a, 1 / a
        gap = select(magnitude(mu) < 0.28, _log1p_less(mu), math.log(x / a) - mu)
        stirling = inverse * poly(inverse * inverse, _STIRLING)
        result.set(math.exp(a * gap - stirling) / math.sqrt(a * (2 * pi)))
    with builder.otherwise():
        # gamma(a + 1) by gamma(2 + t), |t| <= 1/2
        t, product = builder.local(float64, a - 1), builder.local(float64, 1)
        with builder.repeat_while(t.get() > 0.5):
            product.set(product.get() * (t.get() + 1))
            t.set(t.get() - 1)
        with builder.when(t.get() < -0.5):
            t.set(t.get() + 1)
            product.set(1 / (t.get() + 1))
        rest = t.get()
        result.set(math.exp(multiply_add(a, math.log(x), -x) - rest * poly(rest, LGAMMA)) / product.get())
    return result.get()


def _uniform(a: Expr, x: Expr, upper: bool) -> Expr:
    """Temme's expansion for large a, x near a."""
    mu = (x - a) / a
    half = -_log1p_less(mu)
    eta = math.copysign(math.sqrt(half * 2), mu)
    total, inverse = const(0, float64), 1 / a
    for row in reversed(_uniform_coefficients(12, 20)):
        total = total * inverse + poly(eta, row)
    rest = math.exp(-a * half) / math.sqrt(a * (2 * pi)) * total
    tail = math.erfc((eta if upper else -eta) * math.sqrt(a * 0.5)) * 0.5
    return tail + rest if upper else tail - rest


def _series(builder: Builder, a: Expr, x: Expr, epsilon: float) -> Expr:
    """1 + x / (a + 1) + x^2 / ((a + 1) (a + 2)) + ...: of the power series of the lower function (NIST 8.11.4).

    Over a common denominator: the only division is the last.
    """
    unit = 1 / binary("max", a, const(1, float64))
    step, first = x * unit, a * unit
    term, below, total = (builder.local(float64, 1) for _ in range(3))
    n = builder.local(float64, 0)
    with builder.repeat_while((term.get() > total.get() * epsilon) & (n.get() < _MOST_TERMS)):
        top, bottom, whole, count = term.get(), below.get(), total.get(), n.get()
        for k in range(1, _AT_ONCE + 1):
            factor = multiply_add(count + float(k), unit, first)
            top, bottom = top * step, bottom * factor
            whole = multiply_add(whole, factor, top)
        _set_all(builder, ((term, top), (below, bottom), (total, whole), (n, count + float(_AT_ONCE))))
    return total.get() / below.get()


def _set_all(builder: Builder, pairs: Sequence[tuple[LocalValue, Expr]]) -> None:
    """Assign to several locals at once."""
    for local, value in [(local, builder.local(float64, value).get()) for local, value in pairs]:
        local.set(value)


def _small_series(builder: Builder, a: Expr, x: Expr, result: LocalValue, epsilon: float) -> None:
    """The upper function for small a and x, without cancellation (Gautschi 1979)."""
    term, total = builder.local(float64, 1), builder.local(float64, 0)
    n = builder.local(float64, 0)
    with builder.repeat_while((magnitude(term.get()) > magnitude(total.get()) * epsilon) & (n.get() < _MOST_TERMS)):
        n.set(n.get() + 1)
        term.set(term.get() * (-x / n.get()))
        total.set(total.get() + term.get() / (a + n.get()))
    # log(gamma(1 + a)) around a = 0
    near = multiply_add(a, poly(a, LGAMMA), -math.log1p(a))
    log_gamma = select(magnitude(a) < 0.5, near, math.lgamma(a + 1))
    exponent = a * math.log(x) - log_gamma
    result.set(-math.expm1(exponent) - math.exp(exponent) * a * total.get())


def _fraction(builder: Builder, a: Expr, x: Expr, epsilon: float) -> Expr:
    """x times Legendre's continued fraction 1 / (b_0 + a_1 / (b_1 + ...)) of the upper function (NIST 8.9.2).

    Numerators and denominators of its convergents by their recurrence, over x.
    """
    unit = 1 / x
    first = (x + 1 - a) * unit
    above, before = builder.local(float64, 1), builder.local(float64, 0)
    below, below_before = builder.local(float64, first), builder.local(float64, 1)
    value, change = builder.local(float64, 1 / first), builder.local(float64, inf)
    n = builder.local(float64, 0)
    with builder.repeat_while((change.get() > value.get() * epsilon * 8) & (n.get() < _MOST_STEPS)):
        p, q, r, s, count = above.get(), before.get(), below.get(), below_before.get(), n.get()
        for k in range(1, _AT_ONCE + 1):
            m = count + float(k)
            weight, factor = (m * unit) * ((a - m) * unit), multiply_add(m, 2 * unit, first)
            p, q = multiply_add(factor, p, weight * q), p
            r, s = multiply_add(factor, r, weight * s), r
        ratio = builder.local(float64, p / r).get()
        pairs = (above, p), (before, q), (below, r), (below_before, s), (n, count + float(_AT_ONCE))
        _set_all(builder, (*pairs, (change, magnitude(ratio - value.get())), (value, ratio)))
    return value.get()


def _incomplete(upper: bool) -> Callable[..., Expr]:
    def body(builder: Builder, a: Expr, x: Expr) -> Expr:
        dtype, epsilon = x.dtype, _EPSILON[x.dtype]
        a, x = a.cast(float64), x.cast(float64)
        result = builder.local(float64, nan)
        is_proper = (a > 0) & (x > 0) & (a < inf) & (x < inf)
        is_near = (a > 20) & (magnitude(x - a) < a * 0.28)
        is_small = (x <= 1.1) & (a < 1)
        # 1 minus the lower function is right where that is not near 1; in single precision, up to 1 - 2^-16
        end = a
        if dtype is float32:
            far = multiply_add(math.sqrt(a), 4, a + 4)
            end, epsilon = (select(a < 1, a, far), epsilon * 2.0**-16) if upper else (far, epsilon)
        with builder.when(is_proper & is_near):
            result.set(_uniform(a, x, upper))
        if upper:
            with builder.when(is_proper & is_small):
                _small_series(builder, a, x, result, epsilon)
        with builder.when(is_proper & ~is_near & ~is_small if upper else is_proper & ~is_near):
            factor = builder.local(float64, _prefactor(builder, a, x)).get()
            with builder.when((x <= 1.1) | (x < end)):
                lower = factor * _series(builder, a, x, epsilon)
                result.set(1 - lower if upper else lower)
            with builder.otherwise():
                beyond = factor * (a / x) * _fraction(builder, a, x, epsilon)
                result.set(beyond if upper else 1 - beyond)
        full, empty = (0.0, 1.0) if upper else (1.0, 0.0)
        # at the edges: x = 0 or infinite a give no mass below x, a = 0 or infinite x all of it
        nothing = ((a > 0) & x.eq(0)) | (a.eq(inf) & (x >= 0) & (x < inf))
        everything = (a.eq(0) & (x > 0)) | ((a >= 0) & (a < inf) & x.eq(inf))
        return where(nothing, empty, where(everything, full, result.get())).cast(dtype)

    return body


def _density(sign: float) -> Callable[[Node, Node, Node], Node]:
    return lambda y, a, x: P.exp((a - 1) * P.log(x) - x - P.lgamma(a)) * sign


def _gamma_samples(random: Any, dtype: DType, size: int) -> Iterator[tuple[list[Any], dict[str, Any]]]:
    for low, high in ((0.1, 3), (2, 30), (25, 40)):
        yield [draw(random, dtype, (size,), low, high) for _ in range(2)], {}


gammainc = iterative(
    "gammainc", FLOATS, _incomplete(upper=False), flops=600, sample=_gamma_samples, oracle="scipy.special.gammainc",
    jvp=partials(_not_by("gammainc", "its first argument"), _density(1)), tolerance=64, smooth=False,
)  # fmt: skip
gammaincc = iterative(
    "gammaincc", FLOATS, _incomplete(upper=True), flops=600, sample=_gamma_samples, oracle="scipy.special.gammaincc",
    jvp=partials(_not_by("gammaincc", "its first argument"), _density(-1)), tolerance=64, smooth=False,
)  # fmt: skip
