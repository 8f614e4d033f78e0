"""Lazy recording: flush, budget, tiers, constants that change, memory."""

from __future__ import annotations

import resource

import numpy as np
import pytest

import plait
from plait.runtime.code import statistics
from plait.tensor import lazy


def test_one_flush_computes_everything_held() -> None:
    x = plait.tensor([1.0, 2.0])
    a, b = x + 1, x * 3
    assert a._node.value is None and b._node.value is None
    assert a.tolist() == [2.0, 3.0]
    assert b._node.value is not None


def test_dropped_work_is_not_computed() -> None:
    x = plait.tensor([1.0, 2.0])
    node = (x + 41)._node
    plait.sync()
    assert node.value is None


def test_a_view_that_nobody_holds_lets_go_of_its_base() -> None:
    x = plait.tensor([[1.0, 2.0]])
    base = x + 41
    node, result = base._node, base.reshape(2) * 2
    del base
    assert result.tolist() == [84.0, 86.0]
    assert node.value is None


def test_a_structure_that_returns_is_fused_and_equal() -> None:
    random = np.random.default_rng(0)
    results = []
    for _ in range(3):
        x = plait.tensor(random.normal(size=(5, 7)).astype("float32"))
        y = plait.softmax(plait.tanh(x) * 2 - x, -1)
        results.append((x.numpy(), y.numpy()))
    for x, y in results:
        z = np.tanh(x) * 2 - x
        e = np.exp(z - z.max(-1, keepdims=True))
        np.testing.assert_allclose(y, e / e.sum(-1, keepdims=True), rtol=1e-5)


def test_a_changing_constant_is_no_new_program() -> None:
    x = plait.tensor([1.0, 2.0])
    for k in range(4):
        assert (x * (0.5 + k) + 1.0).tolist() == [0.5 + k + 1.0, 2 * (0.5 + k) + 1.0]
    before = statistics.compiled + statistics.from_cache
    for k in range(10, 20):
        assert (x * (0.5 + k) + 1.0).tolist() == [0.5 + k + 1.0, 2 * (0.5 + k) + 1.0]
    assert statistics.compiled + statistics.from_cache == before


def test_new_shapes_of_known_operations_compile_nothing() -> None:
    for n in (5, 6, 7, 5, 6):
        assert (plait.ones((n, 3)) * 2.0 + plait.ones(3)).sum().item() == 9 * n
    before = statistics.compiled + statistics.from_cache
    for n in range(20, 40):
        assert (plait.ones((n, 3)) * 2.0 + plait.ones(3)).sum().item() == 9 * n
    assert statistics.compiled + statistics.from_cache == before


def test_the_budget_bounds_what_is_pending() -> None:
    total, loss = plait.tensor(0.0), plait.tensor(1.0)
    for _ in range(3 * lazy.NODE_BUDGET):
        total += loss
        assert len(lazy.pending) <= lazy.NODE_BUDGET
    assert total.item() == 3 * lazy.NODE_BUDGET


def test_long_sums_keep_memory_flat() -> None:
    total, loss = plait.tensor(0.0), plait.Parameter(1.0) * 2.0
    loss.backward()
    for _ in range(20_000):
        total += loss
    plait.sync()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for _ in range(30_000):
        total += loss
    assert total.item() == 100_000.0
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 20_000


def test_errors_are_raised_at_the_call() -> None:
    with pytest.raises(plait.errors.ShapeError, match=r"\(2,\).*\(3,\)|2.*3"):
        plait.ones(2) + plait.ones(3)
    with pytest.raises(plait.errors.DTypeError):
        plait.tensor([True]) - plait.tensor([True])


def test_operations_know_the_line_that_recorded_them() -> None:
    y = plait.ones(2) + plait.ones(2)
    assert "test_lazy.py" in y._node.source
