"""Segments: functions recorded as one node that stays one when it is differentiated, as of jitted functions."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import plait
from plait.core.aval import aval
from plait.core.dtype import float32
from plait.core.graph import Graph, placeholder
from plait.core.primitive import P
from plait.tensor.tensor import node_of, wrap


def plain(a: plait.Tensor, b: plait.Tensor) -> tuple[plait.Tensor, plait.Tensor]:
    h = plait.tanh(a @ b.T)
    return h, (h * a).sum(0)


def body() -> Graph:
    inputs = [placeholder(aval(float32, shape)) for shape in ((3, 4), (4, 4))]
    return Graph(inputs, [node_of(y) for y in plain(*map(wrap, inputs))])


BODY = body()


def as_segment(a: plait.Tensor, b: plait.Tensor) -> tuple[plait.Tensor, plait.Tensor]:
    node = P.segment(node_of(a), node_of(b), body=BODY)
    return wrap(node[0]), wrap(node[1])


def data() -> tuple[plait.Tensor, plait.Tensor]:
    rng = np.random.default_rng(0)
    return plait.tensor(rng.standard_normal((3, 4)), plait.float32), plait.tensor(
        rng.standard_normal((4, 4)), plait.float32
    )


LAWS: dict[str, Callable[[Any], Any]] = {
    "values": lambda f: f(*data()),
    "both gradients": lambda f: plait.grad(lambda a, b: (f(a, b)[0] ** 2).sum() + f(a, b)[1].sum(), argnums=(0, 1))(
        *data()
    ),
    "one result": lambda f: plait.grad(lambda a, b: f(a, b)[1].sum(), argnums=1)(*data()),
    "chained": lambda f: plait.grad(lambda a, b: f(f(a, b)[0], b)[1].sum(), argnums=(0, 1))(*data()),
    "jvp": lambda f: plait.jvp(f, data(), data()),
    "vmap": lambda f: plait.vmap(f, in_axes=(0, None))(plait.stack([data()[0], data()[0] * 2]), data()[1]),
    "second order": lambda f: plait.grad(lambda b: plait.grad(lambda a: f(a, b)[0].sum())(data()[0]).sum())(data()[1]),
    "per example": lambda f: plait.vmap(plait.grad(lambda a: (f(a, data()[1])[0] ** 3).sum()))(
        plait.stack([data()[0], data()[0] * 2])
    ),
}


@pytest.mark.parametrize("law", LAWS)
@pytest.mark.parametrize("compiled", [False, True])
def test_laws(law: str, compiled: bool) -> None:
    run = LAWS[law]
    got = plait.jit(lambda: run(as_segment))() if compiled else run(as_segment)
    for g, w in zip(plait.tree.leaves(got), plait.tree.leaves(run(plain)), strict=True):
        np.testing.assert_allclose(g.numpy(), w.numpy(), rtol=1e-5, atol=1e-6)


def test_jitted_cells_train_as_plain_ones() -> None:
    def losses(wrap_cell: Callable[..., Any]) -> list[float]:
        plait.manual_seed(0)
        model = plait.nn.Linear(4, 8)
        optimizer = plait.optim.SGD(model.parameters(), lr=0.1)
        start, found = plait.randn(2, 4), []

        @wrap_cell
        def cell(h: plait.Tensor, scale: float) -> tuple[plait.Tensor, plait.Tensor]:
            a, b = model(h).chunk(2, 1)
            with plait.no_grad():
                gate = plait.sigmoid(b)
            return plait.tanh(a) * gate + h * scale, b.detach()

        for depth in (1, 3, 2, 4, 3, 1):  # another structure at each step
            h, total = start, plait.tensor(0.0)
            for _ in range(depth):
                h, kept = cell(h, 0.5)
                assert not kept.requires_grad
                total = total + kept.sum() * 0.01
            loss = (h - 1).square().mean() + total
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            found.append(loss.item())
        return found

    np.testing.assert_allclose(losses(plait.jit), losses(lambda f: f), rtol=1e-4)


def test_a_look_at_a_value_keeps_the_gradient() -> None:
    w = plait.nn.Parameter(plait.tensor([2.0, 3.0]))

    @plait.jit
    def f(h: plait.Tensor) -> plait.Tensor:
        return h * w if h.sum() > 0 else h * w * w

    for sign in (1.0, -1.0, 1.0):
        w.grad = None
        h = w * sign
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", plait.errors.PerformanceWarning)
            f(h).sum().backward()
        want = 2 * sign * w.detach() if sign > 0 else 3 * sign * w.detach() ** 2
        np.testing.assert_allclose(w.grad.numpy(), want.numpy(), rtol=1e-6)
