"""Views, writes, indexing and random state inside transforms and compiled functions."""

from __future__ import annotations

import numpy as np
import pytest

import plait
from plait import sampling
from plait.tensor import api


def scatter_rows(x):
    """Write a few rows in every way there is."""
    y = api.zeros(3, 4)
    y[0] = x
    y[1, ::2] = x[::2] * 2
    y.T[3] += x[:3]
    row = y[2]
    row += x.flip()
    y[y > 4.5] = 10
    y[[0, 1], [0, 1]] = 0.5
    return y * x


X = np.array([1.0, 2.0, 3.0, 5.0], np.float32)


def reference(x):
    y = np.zeros((3, 4), np.float32)
    y[0] = x
    y[1, ::2] = x[::2] * 2
    y.T[3] += x[:3]
    row = y[2]
    row += x[::-1]
    y[y > 4.5] = 10
    y[[0, 1], [0, 1]] = 0.5
    return y * x


def test_eager_jit_and_vmap_agree():
    expected = reference(X)
    np.testing.assert_allclose(scatter_rows(plait.Tensor(X)).numpy(), expected)
    compiled = plait.jit(scatter_rows)
    for _ in range(2):
        np.testing.assert_allclose(compiled(plait.Tensor(X)).numpy(), expected)
    batch = np.stack([X, X + 1, X / 2])
    mapped = plait.vmap(scatter_rows)(plait.Tensor(batch))
    np.testing.assert_allclose(mapped.numpy(), np.stack([reference(x) for x in batch]))


def test_gradients_agree():
    def loss(x):
        return scatter_rows(x).sum()

    functional = plait.grad(loss)(plait.Tensor(X))
    w = plait.Parameter(X)
    loss(w).backward()
    np.testing.assert_allclose(w.grad.numpy(), functional.numpy())
    np.testing.assert_allclose(plait.jit(plait.grad(loss))(plait.Tensor(X)).numpy(), functional.numpy())
    step = 1e-2
    for i in range(4):
        bump = np.zeros(4, np.float32)
        bump[i] = step
        slope = (reference(X + bump).sum(dtype=float) - reference(X - bump).sum(dtype=float)) / (2 * step)
        assert functional[i].item() == pytest.approx(slope, rel=2e-3)


def test_stop_of_gradient_in_functional_transforms():
    assert plait.grad(lambda x: x * x.detach())(plait.Tensor(3.0)).item() == 3
    assert plait.jvp(lambda x: x * x.detach(), (plait.Tensor(3.0),), (plait.Tensor(1.0),))[1].item() == 3
    assert plait.grad(lambda x: plait.grad(lambda y: y * y * x.detach())(x))(plait.Tensor(3.0)).item() == 6


def test_python_decides_on_values_under_grad():
    slope = plait.grad(lambda x: x * 3 if x > 0 else x * 5)
    assert slope(plait.Tensor(1.0)).item() == 3 and slope(plait.Tensor(-1.0)).item() == 5
    with pytest.raises(plait.errors.AbstractValueError, match=r"test_composition\.py:\d+.*plait\.where or plait\.cond"):
        plait.vmap(lambda x: x * 3 if x > 0 else x)(api.ones(2))
    with pytest.raises(plait.errors.AbstractValueError, match=r"mask selects is not known.*test_composition\.py"):
        plait.vmap(lambda x: x[x > 0])(api.ones(2, 3))


def test_where_has_finite_gradients():
    def safe(x):
        return api.where(x > 0, api.sqrt(api.where(x > 0, x, 1.0)), 0.0).sum()

    assert plait.grad(safe)(plait.Tensor([0.0, 4.0])).tolist() == [0, 0.25]
    for function in (api.softplus, api.elu, api.relu, api.norm, lambda x: api.logaddexp(x, x), api.log_sigmoid):
        gradient = plait.grad(lambda x, f=function: f(x).sum())(plait.Tensor([0.0, 1000.0, -1000.0]))
        assert np.isfinite(gradient.numpy()).all(), function
    masked = plait.Tensor([0.0, -np.inf, 1.0])
    assert np.isfinite(plait.grad(lambda x: x.log_softmax()[0])(masked).numpy()).all()
    assert np.isfinite(plait.grad(lambda x: x.logsumexp())(masked).numpy()).all()


def test_copies_are_apart_from_compiled_state():
    w = plait.Parameter([1.0, 2.0])
    copies = [w.clone().detach(), plait.Parameter(w), w.detach() * 1, plait.Tensor(w), w.detach().reshape(2, 1).clone()]
    view = w.detach()[1:]

    @plait.jit
    def step():
        with plait.no_grad():
            w.mul_(2)
        return w.detach().sum()

    assert [step().item() for _ in range(3)] == [6, 12, 24]
    assert w.tolist() == [8, 16] and view.tolist() == [16]
    assert [c.flatten().tolist() for c in copies] == [[1, 2]] * 5


def test_views_of_state_inside_a_compiled_function():
    table, seen = api.zeros(3, 2), []
    row = table[1]

    @plait.jit
    def put(i, x):
        table[i] = x
        table[2, 0] += 1
        return row * 1

    for k in range(3):
        seen.append(put(1, api.full((2,), float(k))).tolist())
    assert seen == [[0, 0], [1, 1], [2, 2]] and row.tolist() == [2, 2] and table.tolist() == [[0, 0], [2, 2], [3, 0]]


def test_row_state_is_flat():
    total = api.zeros(())
    for i in range(300):
        total += float(i)
    assert total.item() == 44850 and not total._node.inputs


def test_random_numbers_differ_in_compiled_steps():
    draw = plait.jit(lambda: sampling.randn(2))
    sampling.manual_seed(1)
    compiled = [draw().tolist() for _ in range(3)]
    sampling.manual_seed(1)
    np.testing.assert_allclose(compiled, [sampling.randn(2).tolist() for _ in range(3)], rtol=1e-5)
    assert compiled[0] != compiled[1]
