"""Masked functions are those of the elements that the mask keeps."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import plait
from plait import masked
from plait.core.errors import ArgumentError, DTypeError, PlaitError, ShapeError

special = pytest.importorskip("scipy.special")

RANDOM = np.random.default_rng(0)
X = RANDOM.normal(size=(4, 5))
MASK = RANDOM.random((4, 5)) < 0.6
MASK[:, :2], MASK[2] = True, [False, True, False, False, True]

REDUCTIONS: dict[str, tuple[Callable[..., Any], Callable[[Any], Any]]] = {
    "sum": (masked.sum, np.sum), "prod": (masked.prod, np.prod), "amax": (masked.amax, np.max),
    "amin": (masked.amin, np.min), "mean": (masked.mean, np.mean), "logsumexp": (masked.logsumexp, special.logsumexp),
    "var": (masked.var, lambda x: np.var(x, ddof=1)), "std": (masked.std, lambda x: np.std(x, ddof=1)),
    "norm": (lambda x, dim, **k: masked.norm(x, 3.0, dim, **k), lambda x: np.linalg.norm(x, 3)),
    "biased": (lambda x, dim, **k: masked.var(x, dim, False, **k), np.var),
    "least": (lambda x, dim, **k: masked.norm(x, -np.inf, dim, **k), lambda x: np.abs(x).min()),
    "median": (masked.median, lambda x: np.sort(x)[(len(x) - 1) // 2]),
}  # fmt: skip


@pytest.mark.parametrize("name", REDUCTIONS)
def test_reductions(name: str) -> None:
    function, oracle = REDUCTIONS[name]
    x, mask = plait.tensor(X), plait.tensor(MASK)
    rows = np.array([oracle(row[kept]) for row, kept in zip(X, MASK, strict=True)])
    got = function(x, 1, mask=mask)
    assert got.dtype is plait.float64 and np.allclose(got, rows)
    assert np.allclose(function(x, 1, keepdim=True, mask=mask), rows[:, None])
    whole = np.array([oracle(row) for row in X])
    assert np.allclose(function(x, 1), whole)  # no mask
    if name != "median":
        assert np.allclose(function(x, None, mask=mask), oracle(X[MASK]))
        assert np.allclose(function(x, (), mask=mask[0]), oracle(X[:, MASK[0]].ravel()))  # a mask broadcasts
    gradient = plait.grad(lambda x: function(x, 1, mask=mask).sum())(x).numpy()
    assert np.isfinite(gradient).all() and (gradient[~MASK] == 0).all()


def test_positions_and_dtypes() -> None:
    x, mask = plait.tensor([3, 1, 9, 2]), plait.tensor([True, True, False, True])
    assert masked.argmax(x, mask=mask).item() == 0 and masked.argmin(x, 0, mask=mask).item() == 1
    assert masked.argmax(x.to(plait.float32), mask=mask).dtype is plait.float32  # as PyTorch has it
    assert masked.sum(x.to(plait.int8), mask=mask).dtype is plait.int64
    assert masked.amax(x, mask=mask, dtype=plait.float64).item() == 3.0
    assert masked.mean(x, mask=mask, dtype=plait.float32).item() == 2.0
    assert masked.median(x, mask=mask).item() == 2


def test_along_an_axis() -> None:
    x, mask = plait.tensor(X), plait.tensor(MASK)
    filled = np.where(MASK, X, -np.inf)
    assert np.allclose(masked.softmax(x, 1, mask=mask), special.softmax(filled, 1))
    assert np.allclose(masked.log_softmax(x, 1, mask=mask).exp(), special.softmax(filled, 1))
    assert np.allclose(masked.softmin(x, 1, mask=mask), special.softmax(np.where(MASK, -X, -np.inf), 1))
    assert np.allclose(masked.cumsum(x, 1, mask=mask), np.cumsum(X * MASK, 1))
    assert np.allclose(masked.cumprod(x, 1, mask=mask), np.cumprod(np.where(MASK, X, 1), 1))
    unit = masked.normalize(x, 2.0, 1, mask=mask).numpy()
    assert np.allclose((unit**2).sum(1), 1) and (unit[~MASK] == 0).all()
    got = masked.logaddexp(x, x, other_mask=mask)
    assert np.allclose(got, X + np.where(MASK, np.log(2), 0))


def test_nothing_left() -> None:
    x, none = plait.ones((2, 3)), plait.zeros((2, 3), dtype=plait.bool_)
    for function in (masked.mean, masked.var, masked.std, masked.median):
        assert function(x, 1, mask=none).isnan().all()
    assert masked.sum(x, mask=none).item() == 0 and masked.prod(x, mask=none).item() == 1
    assert masked.amax(x, mask=none).item() == -np.inf


ERRORS: list[tuple[Callable[[], Any], type[PlaitError], str]] = [
    (lambda: masked.sum(plait.ones(3), mask=plait.ones(4)), ShapeError, r"do not broadcast"),
    (lambda: masked.sum(plait.ones(3), mask=plait.ones((2, 3))), ShapeError, r"The mask of sum broadcasts"),
    (lambda: masked.sum(plait.ones(3), 1, mask=plait.ones(3)), ShapeError, r"axis out of range"),
    (lambda: masked.mean(plait.tensor([1, 2])), DTypeError, r"returns floats. Received: int64"),
    (lambda: masked.var(plait.ones(3), 0, True, correction=1), ArgumentError, r"unbiased or correction, not both"),
]


@pytest.mark.parametrize(("call", "error", "text"), ERRORS)
def test_errors(call: Callable[[], Any], error: type[PlaitError], text: str) -> None:
    with pytest.raises(error, match=text):
        call()
