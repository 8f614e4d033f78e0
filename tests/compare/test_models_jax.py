"""Transforms of functions against JAX."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import plait
from plait.core.dtype import uint32
from plait.core.primitive import P
from plait.tensor.tensor import node_of, wrap
from plait.testing.comparing import arrays, close

jax = pytest.importorskip("jax")
jnp = pytest.importorskip("jax.numpy")


def attention(m: Any, q: Any, k: Any, v: Any) -> Any:
    scores = m.einsum("bqd,bkd->bqk", q, k) / 2.0
    weights = m.exp(scores - m.logaddexp(scores, scores * 0.0))
    return m.einsum("bqk,bkd->bqd", weights / weights.sum(-1)[..., None], v)


def network(m: Any, parameters: Any, x: Any) -> Any:
    hidden = m.tanh(x @ parameters["w"] + parameters["b"])
    return ((hidden @ parameters["v"]) ** 2).mean()


def both(*values: np.ndarray) -> tuple[list[Any], list[Any]]:
    return [plait.tensor(v) for v in values], [jnp.asarray(v) for v in values]


def tree(values: dict[str, np.ndarray], make: Any) -> dict[str, Any]:
    return {k: make(v) for k, v in values.items()}


PARAMETERS = dict(zip(("w", "b", "v"), arrays(1, (4, 6), (6,), (6, 3)), strict=True))


def test_gradient_of_a_dict() -> None:
    (x,) = arrays(2, (5, 4))
    loss, got = plait.value_and_grad(lambda p, x: network(plait, p, x))(tree(PARAMETERS, plait.tensor), plait.tensor(x))
    wanted_loss, want = jax.value_and_grad(lambda p, x: network(jnp, p, x))(
        tree(PARAMETERS, jnp.asarray), jnp.asarray(x)
    )
    close(loss, wanted_loss)
    for key in PARAMETERS:
        close(got[key], want[key])


def test_gradients_of_each_sample() -> None:
    (x,) = arrays(3, (5, 4))
    got = plait.vmap(plait.grad(lambda p, x: network(plait, p, x)), in_axes=(None, 0))(
        tree(PARAMETERS, plait.tensor), plait.tensor(x)
    )
    want = jax.vmap(jax.grad(lambda p, x: network(jnp, p, x)), in_axes=(None, 0))(
        tree(PARAMETERS, jnp.asarray), jnp.asarray(x)
    )
    for key in PARAMETERS:
        close(got[key], want[key])


def test_attention() -> None:
    ours, theirs = both(*arrays(4, (2, 5, 4), (2, 7, 4), (2, 7, 4)))
    close(attention(plait, *ours), attention(jnp, *theirs))
    got = plait.grad(lambda *a: plait.sin(attention(plait, *a)).sum(), argnums=(0, 1, 2))(*ours)
    want = jax.grad(lambda *a: jnp.sin(attention(jnp, *a)).sum(), argnums=(0, 1, 2))(*theirs)
    for a, b in zip(got, want, strict=True):
        close(a, b, 5e-5)


@pytest.mark.parametrize("reverse", [False, True])
def test_scan(reverse: bool) -> None:
    ours, theirs = both(*arrays(5, (4, 4), (3, 4), (6, 3, 4), scale=0.5))

    def run(m: Any, scan: Any, w: Any, h: Any, xs: Any) -> Any:
        def step(h: Any, x: Any) -> Any:
            h = m.tanh(h @ w + x)
            return h, m.cos(h)

        last, ys = scan(step, h, xs, reverse=reverse)
        return last.sum() + (ys * ys).sum()

    got = plait.value_and_grad(lambda *a: run(plait, plait.scan, *a), argnums=(0, 1, 2))(*ours)
    want = jax.value_and_grad(lambda *a: run(jnp, jax.lax.scan, *a), argnums=(0, 1, 2))(*theirs)
    close(got[0], want[0])
    for a, b in zip(got[1], want[1], strict=True):
        close(a, b, 5e-5)


def test_hessian_vector_product() -> None:
    x, w, direction = arrays(6, (5, 4), (4, 6), (4, 6))
    parameters = {**PARAMETERS, "w": w}

    def loss(m: Any, make: Any) -> Any:
        return lambda w: network(m, {**tree(parameters, make), "w": w}, make(x))

    got = plait.jvp(plait.grad(loss(plait, plait.tensor)), (plait.tensor(w),), (plait.tensor(direction),))[1]
    want = jax.jvp(jax.grad(loss(jnp, jnp.asarray)), (jnp.asarray(w),), (jnp.asarray(direction),))[1]
    close(got, want)


def test_while_loop_forward_mode() -> None:
    def ours(x: Any) -> Any:
        return plait.while_loop(lambda s: s[0] < 5, lambda s: (s[0] + 1, plait.sin(s[1]) * x), (plait.tensor(0), x))[1]

    def theirs(x: Any) -> Any:
        return jax.lax.while_loop(lambda s: s[0] < 5, lambda s: (s[0] + 1, jnp.sin(s[1]) * x), (0, x))[1]

    got = plait.jvp(ours, (plait.tensor(1.3),), (plait.tensor(1.0),))
    want = jax.jvp(theirs, (1.3,), (1.0,))
    close(got[0], want[0])
    close(got[1], want[1])


def test_cond_gradients() -> None:
    def run(cond: Any, m: Any, x: Any) -> Any:
        return cond(x.sum() > 0, lambda x: m.sin(x).sum(), lambda x: (x * x).sum(), x)

    for sign in (1.0, -1.0):
        x = np.abs(arrays(7, (5,))[0]) * sign
        close(
            plait.grad(lambda x: run(plait.cond, plait, x))(plait.tensor(x)),
            jax.grad(lambda x: run(jax.lax.cond, jnp, x))(x),
        )


@pytest.mark.parametrize("seed", range(3))
def test_random_bits_are_those_of_threefry(seed: int) -> None:
    """Our Threefry-2x32 gives the words of jax.random."""
    random = np.random.default_rng(seed)
    keys = random.integers(0, 2**32, 2, dtype=np.uint32)
    counts = random.integers(0, 2**32, (2, 5), dtype=np.uint32)
    nodes = [node_of(plait.tensor(v, dtype=uint32)) for v in (keys[0], keys[1], counts[0], counts[1])]
    got = [wrap(P.threefry(*nodes, word=w)).numpy() for w in (0, 1)]
    want = pytest.importorskip("jax.extend.random").threefry_2x32(jnp.asarray(keys), jnp.asarray(counts.reshape(-1)))
    assert np.array_equal(np.concatenate(got), np.asarray(want))
