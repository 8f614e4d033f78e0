"""Dropout: what is dropped, how often, and what stays."""

from __future__ import annotations

import numpy as np
import pytest

import plait
from plait.nn import functional as F


@pytest.fixture(autouse=True)
def seeded() -> None:
    plait.manual_seed(0)


@pytest.mark.parametrize("p", [0.2, 0.5, 0.9])
def test_elements(p: float) -> None:
    x = plait.ones(200, 200)
    result = F.dropout(x, p).numpy()
    assert np.mean(result == 0) == pytest.approx(p, abs=0.015)
    assert result.mean() == pytest.approx(1.0, abs=0.06)
    np.testing.assert_allclose(result[result != 0], 1 / (1 - p), rtol=1e-6)


@pytest.mark.parametrize(
    ("name", "shape", "channels"),
    [("dropout1d", (60, 50, 3), 2), ("dropout1d", (3000, 3), 1), ("dropout2d", (60, 50, 3, 2), 2),
     ("dropout3d", (60, 50, 3, 2, 2), 2), ("dropout3d", (3000, 3, 2, 2), 1),
     ("feature_alpha_dropout", (60, 50, 3), 2)],
)  # fmt: skip
def test_channels(name: str, shape: tuple[int, ...], channels: int) -> None:
    result = getattr(F, name)(plait.ones(shape), 0.3, True).numpy().reshape(*shape[:channels], -1)
    assert (result == result[..., :1]).all()
    kept = result[..., 0] == result.max()
    assert np.mean(kept) == pytest.approx(0.7, abs=0.04)


@pytest.mark.parametrize("name", ["alpha_dropout", "feature_alpha_dropout"])
def test_alpha_dropout_keeps_mean_and_variance(name: str) -> None:
    x = np.random.default_rng(0).normal(size=(300, 300)).astype(np.float32)
    result = getattr(F, name)(plait.tensor(x), 0.4, training=True).numpy()
    assert result.mean() == pytest.approx(0.0, abs=0.02)
    assert result.std() == pytest.approx(1.0, abs=0.02)


@pytest.mark.parametrize("name", ["dropout", "alpha_dropout", "dropout1d", "dropout2d", "feature_alpha_dropout"])
def test_ends_and_evaluation(name: str) -> None:
    function, x = getattr(F, name), plait.ones(2, 3, 4)
    np.testing.assert_array_equal(function(x, 1.0, True).numpy(), 0)
    np.testing.assert_array_equal(function(x, 0.0, True).numpy(), 1)
    np.testing.assert_array_equal(function(x, 0.7, False).numpy(), 1)
    assert function(x, 1.0, True, True) is x
    np.testing.assert_array_equal(x.numpy(), 0)


def test_gradient_passes_where_elements_stay() -> None:
    x = plait.ones(50, requires_grad=True)
    result = F.dropout(x, 0.5)
    result.sum().backward()
    np.testing.assert_array_equal(x.grad.numpy(), result.detach().numpy())


def test_random_activations() -> None:
    x = plait.full((10000,), -1.0)
    slopes = -F.rrelu(x, 0.1, 0.3, training=True).numpy()
    assert slopes.min() >= 0.1
    assert slopes.max() < 0.3
    assert slopes.mean() == pytest.approx(0.2, abs=0.002)
    logits = plait.tensor([0.0, 1.0, 2.0]).expand(4000, 3)
    for hard in (False, True):
        drawn = F.gumbel_softmax(logits, 0.5, hard).numpy()
        np.testing.assert_allclose(drawn.sum(1), 1, rtol=1e-5)
        shares = np.bincount(drawn.argmax(1), minlength=3) / 4000
        np.testing.assert_allclose(shares, np.exp([0, 1, 2]) / np.exp([0, 1, 2]).sum(), atol=0.03)
    assert set(np.unique(drawn.round(5))) == {0.0, 1.0}
