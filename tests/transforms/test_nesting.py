"""Every nesting of the transforms, on functions with loops and branches, against differences and Python loops."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import plait

Function = Callable[[Any], Any]
X = np.array([0.3, 0.9, -0.4])
DIRECTION = np.array([0.7, -0.2, 0.5])


class Ours:
    """What the functions below are written with, as plait."""

    sin, cos, exp, tanh = plait.sin, plait.cos, plait.exp, plait.tanh
    scan, cond = staticmethod(plait.scan), staticmethod(plait.cond)
    checkpoint = staticmethod(plait.checkpoint)

    @staticmethod
    def array(value: Any) -> Any:
        return plait.tensor(value, dtype=plait.float64)


class Reference:
    """The same as NumPy and Python loops."""

    sin, cos, exp, tanh = np.sin, np.cos, np.exp, np.tanh

    @staticmethod
    def scan(step: Any, carry: Any, xs: Any) -> Any:
        ys = []
        for x in xs:
            carry, y = step(carry, x)
            ys.append(y)
        return carry, np.stack(ys)

    @staticmethod
    def cond(predicate: Any, true: Any, false: Any, *operands: Any) -> Any:
        return true(*operands) if predicate else false(*operands)

    @staticmethod
    def checkpoint(function: Any) -> Any:
        return function

    @staticmethod
    def array(value: Any) -> Any:
        return np.asarray(value, np.float64)


def smooth(m: Any, x: Any) -> Any:
    w = m.array([[0.5, -0.3, 0.2], [0.1, 0.8, -0.6], [-0.7, 0.4, 0.3]])
    return m.tanh(w @ x) * m.exp(x * 0.5) + x[0] * x


def recurrent(m: Any, x: Any) -> Any:
    def step(h: Any, u: Any) -> Any:
        h = m.tanh(h * 0.7 + x * u)
        return h, m.cos(h) * u

    h, ys = m.scan(step, x * 0.5, x)
    return h + ys.sum(0)


def branching(m: Any, x: Any) -> Any:
    return m.cond(x.sum() > 0.0, lambda x: m.sin(x) * x[1], lambda x: x * x + m.exp(x * 0.3), x)


def both(m: Any, x: Any) -> Any:
    def step(h: Any, u: Any) -> Any:
        h = m.cond(u > 0.0, lambda h: m.sin(h * u), lambda h: h * 0.5 + u * x, h)
        return h, h[0]

    h, ys = m.scan(m.checkpoint(step), x, x[::-1] if m is Reference else plait.flip(x))
    return h * ys.sum()


FUNCTIONS = {f.__name__: f for f in (smooth, recurrent, branching, both)}

# one sixth-order difference; with step h its error is about h ** 6 / 140 times the seventh derivative
_STEPS = ((1, 45 / 60), (2, -9 / 60), (3, 1 / 60))
_H = 0.01


def difference(f: Function, x: Any, direction: Any) -> Any:
    """The derivative of `f` at `x` along `direction`."""
    return sum(c * (f(x + k * _H * direction) - f(x - k * _H * direction)) for k, c in _STEPS) / _H


def total(m: Any, y: Any) -> Any:
    return m.sin(y).sum()


OURS: dict[str, Callable[[Function], Function]] = {
    "grad": lambda f: plait.grad(lambda x: total(Ours, f(x))),
    "vmap": lambda f: lambda x: plait.vmap(f)(plait.stack([x, -x, x * 0.5])).sum(0),
    "jvp": lambda f: lambda x: plait.jvp(f, (x,), (Ours.array(DIRECTION),))[1],
    "jit": plait.jit,
    "checkpoint": plait.checkpoint,
    "linearize": lambda f: lambda x: plait.linearize(f, x)[1](Ours.array(DIRECTION)),
    "vjp": lambda f: lambda x: plait.vjp(f, x)[1](Ours.array(DIRECTION))[0],
}
EXPECTED: dict[str, Callable[[Function], Function]] = {
    "grad": lambda f: lambda x: np.array([difference(lambda v: total(Reference, f(v)), x, e) for e in np.eye(len(x))]),
    "vmap": lambda f: lambda x: f(x) + f(-x) + f(x * 0.5),
    "jvp": lambda f: lambda x: difference(f, x, DIRECTION),
    "jit": lambda f: f,
    "checkpoint": lambda f: f,
    "linearize": lambda f: lambda x: difference(f, x, DIRECTION),
    "vjp": lambda f: lambda x: np.array([DIRECTION @ difference(f, x, e) for e in np.eye(len(x))]),
}
NAMES = ("grad", "vmap", "jvp", "jit", "checkpoint")
PAIRS = [
    *itertools.product(NAMES, NAMES),
    ("linearize", "grad"),
    ("vmap", "linearize"),
    ("vjp", "jvp"),
    ("grad", "vjp"),
]
TRIPLES = [
    ("grad", "grad", "grad"), ("jvp", "vmap", "grad"), ("vmap", "jvp", "grad"), ("grad", "vmap", "jvp"),
    ("jit", "vmap", "grad"), ("vmap", "jit", "grad"), ("grad", "jit", "vmap"), ("jvp", "jvp", "grad"),
    ("jit", "grad", "checkpoint"), ("vmap", "vmap", "grad"), ("grad", "checkpoint", "vmap"), ("jvp", "grad", "vmap"),
    ("jit", "jvp", "grad"),
]  # fmt: skip


def check(name: str, transforms: tuple[str, ...], tolerance: float) -> None:
    function = FUNCTIONS[name]
    ours: Function = lambda x: function(Ours, x)  # noqa: E731
    expected: Function = lambda x: function(Reference, x)  # noqa: E731
    for transform in reversed(transforms):
        ours, expected = OURS[transform](ours), EXPECTED[transform](expected)
    got = ours(Ours.array(X)).numpy()
    np.testing.assert_allclose(got, expected(X), rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions(name: str) -> None:
    check(name, (), 1e-12)


@pytest.mark.parametrize("transform", OURS)
@pytest.mark.parametrize("name", FUNCTIONS)
def test_single(name: str, transform: str) -> None:
    check(name, (transform,), 1e-8)


@pytest.mark.parametrize("transforms", PAIRS, ids="-".join)
@pytest.mark.parametrize("name", FUNCTIONS)
def test_pairs(name: str, transforms: tuple[str, ...]) -> None:
    check(name, transforms, 1e-6)


@pytest.mark.parametrize("transforms", TRIPLES, ids="-".join)
@pytest.mark.parametrize("name", ["recurrent", "both"])
def test_triples(name: str, transforms: tuple[str, ...]) -> None:
    check(name, transforms, 1e-4)
