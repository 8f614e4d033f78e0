"""Control flow against jax.lax."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import plait
from plait.testing.comparing import close

jax = pytest.importorskip("jax")
lax, jnp = jax.lax, jax.numpy

X = np.linspace(-1.0, 2.0, 12, dtype=np.float32).reshape(4, 3)


def all_close(got: Any, want: Any) -> None:
    for a, b in zip(got, want, strict=True):
        close(a, b)


def test_switch() -> None:
    def ours(i: Any, x: Any) -> Any:
        return plait.switch(i, [plait.sin, lambda x: x * x, lambda x: -x], x).sum()

    def theirs(i: Any, x: Any) -> Any:
        return lax.switch(i, [jnp.sin, lambda x: x * x, lambda x: -x], x).sum()

    for i in (-5, 0, 1, 2, 3):
        close(plait.grad(ours, 1)(plait.tensor(i), plait.tensor(X)), jax.grad(theirs, 1)(i, X))
    indices = np.array([0, 2, 1, 7])
    got = plait.vmap(plait.grad(ours, 1))(plait.tensor(indices), plait.tensor(X))
    close(got, jax.vmap(jax.grad(theirs, 1))(indices, X))


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("axis", [0, 1])
def test_associative_scan(axis: int, reverse: bool) -> None:
    combine = lambda a, b: (a[0] * b[0], b[0] * a[1] + b[1])  # noqa: E731
    got = plait.associative_scan(combine, (plait.tensor(X), plait.tensor(X + 1)), reverse=reverse, axis=axis)
    all_close(got, lax.associative_scan(combine, (X, X + 1), reverse=reverse, axis=axis))


@pytest.mark.parametrize("batch_size", [None, 1, 3, 4, 9])
def test_map(batch_size: int | None) -> None:
    got = plait.map(lambda row: plait.sin(row).sum(), plait.tensor(X), batch_size=batch_size)
    close(got, lax.map(lambda row: jnp.sin(row).sum(), X, batch_size=batch_size))


def test_gradient_of_a_bounded_while_is_that_of_a_masked_scan() -> None:
    def ours(x: Any, w: Any) -> Any:
        step = lambda s: (s[0] + 1, plait.sin(s[1] * w))  # noqa: E731
        return plait.while_loop(lambda s: (s[0] < 9) & (s[1].sum() > -1), step, (plait.tensor(0), x))[1].sum()

    def theirs(x: Any, w: Any) -> Any:
        def step(s: Any, _: Any) -> Any:
            alive = (s[0] < 9) & (s[1].sum() > -1)
            return (s[0] + 1, jnp.where(alive, jnp.sin(s[1] * w), s[1])), None

        return lax.scan(step, (0, x), None, length=12)[0][1].sum()

    w = np.linspace(0.5, 1.5, 3, dtype=np.float32)
    got = plait.vmap(plait.grad(ours, (0, 1)), in_axes=(0, None))(plait.tensor(X), plait.tensor(w))
    all_close(got, jax.vmap(jax.grad(theirs, (0, 1)), in_axes=(0, None))(X, w))


def test_checkpointed_recurrence() -> None:
    cell = np.random.default_rng(0).standard_normal((3, 3)).astype(np.float32) * 0.5
    ours = lambda w, x: plait.scan(lambda h, v: (plait.tanh(h @ w + v),) * 2, x[0], x, checkpoint=True)[1].sum()  # noqa: E731
    theirs = lambda w, x: lax.scan(lambda h, v: (jnp.tanh(h @ w + v),) * 2, x[0], x)[1].sum()  # noqa: E731
    got = plait.jit(plait.grad(ours, (0, 1)))(plait.tensor(cell), plait.tensor(X))
    all_close(got, jax.grad(theirs, (0, 1))(cell, X))
