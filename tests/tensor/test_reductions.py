"""Reductions, scans and sorting against NumPy."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

import plait
from plait.tensor import api

special = pytest.importorskip("scipy.special")

AXES = [None, 0, -1, (0, 2), (1,), ()]
REDUCTIONS = {
    "sum": np.sum, "prod": np.prod, "mean": np.mean, "var": np.var, "std": np.std, "max": np.max, "min": np.min,
    "any": np.any, "all": np.all, "count_nonzero": np.count_nonzero,
    "logsumexp": lambda x, axis, keepdims: special.logsumexp(x, axis, keepdims=keepdims),
}  # fmt: skip
X = np.random.default_rng(0).normal(size=(3, 5, 4)).astype(np.float32)


@pytest.mark.parametrize("name", REDUCTIONS)
def test_reductions(name):
    for axis, keepdims in itertools.product(AXES, (False, True)):
        if axis == () and name in ("logsumexp", "count_nonzero"):
            continue
        expected = np.asarray(REDUCTIONS[name](X.astype(float), axis=axis, keepdims=keepdims))
        result = getattr(api, name)(plait.Tensor(X), axis=axis, keepdims=keepdims)
        assert result.shape == expected.shape, (axis, keepdims)
        np.testing.assert_allclose(result.numpy(), expected, rtol=2e-5, atol=1e-6)


@pytest.mark.parametrize("name", ["argmax", "argmin"])
def test_positions(name):
    for axis, keepdims in itertools.product((None, 0, 1, -1), (False, True)):
        result = getattr(api, name)(plait.Tensor(X), axis, keepdims)
        np.testing.assert_array_equal(result.numpy(), getattr(np, name)(X, axis, keepdims=keepdims))
        assert result.dtype is plait.int64
    assert getattr(plait.Tensor([1.0, np.nan, 2.0]), name)().item() == 1


def test_both_names_and_methods():
    x = plait.Tensor(X)
    assert x.sum(dim=1, keepdim=True).shape == x.sum(axis=1, keepdims=True).shape == (3, 1, 4)
    assert api.softmax(x, dim=-1).shape == x.shape and x.amax(dim=(0, 1)).shape == (4,)


def test_dtypes():
    assert api.ones(3, dtype="int8").sum().dtype is plait.int64 and api.ones(3, dtype="bool").sum().item() == 3
    assert api.arange(3).mean().dtype is plait.float32 and api.ones(2, dtype="bfloat16").sum().dtype is plait.bfloat16
    assert api.ones(2).sum(dtype="float64").dtype is plait.float64 and api.ones(2, dtype="bool").max().item() is True
    assert api.full((70000,), 1.0, dtype="float16").mean().item() == 1


@pytest.mark.parametrize("name", ["sum", "mean", "amax", "count_nonzero", "norm"])
def test_no_axes_mean_all_of_them_in_pytorchs_form(name):
    x, function = plait.Tensor(X), getattr(api, name)
    results = [getattr(x, name)(dim=()), function(x, dim=[])] + ([] if name == "norm" else [function(x, ())])
    assert all(r.shape == () and abs(r.item() - function(x).item()) < 1e-5 for r in results)
    assert function(x, axis=()).shape == X.shape and api.any(x, ()).shape == X.shape


@pytest.mark.parametrize("name", ["any", "all"])
def test_uint8_is_a_bool_of_pytorch(name):
    x, function = plait.tensor([[0, 2], [3, 4]], dtype="uint8"), getattr(api, name)
    expected = getattr(np, name)(x.numpy(), 1).tolist()
    for result, dtype in ((function(x, 1), plait.uint8), (getattr(x, name)(1), plait.uint8),
                          (function(x, axis=1), plait.bool), (x.to(plait.int8).any(1), plait.bool)):  # fmt: skip
        assert result.dtype is dtype
    assert function(x, 1).tolist() == expected and function(x).dtype is plait.bool


def test_logcumsumexp_of_complex_numbers():
    x = np.random.default_rng(1).normal(size=(3, 40)) * 3 + 1j
    x = x + 1j * np.random.default_rng(2).normal(size=x.shape)
    got = api.logcumsumexp(plait.tensor(x), 1)
    np.testing.assert_allclose(np.exp(got.numpy()), np.cumsum(np.exp(x), 1), rtol=1e-12)
    # no branch is cut where the largest real part leads
    assert api.logcumsumexp(plait.tensor([9j, -800 + 1j]), 0).tolist() == [9j, 9j]
    assert api.logcumsumexp(plait.tensor([-np.inf + 0j, 1 + 0j]), 0).tolist() == [-np.inf, 1]


def test_empty():
    x = api.zeros(0, 3)
    assert (
        x.sum(0).tolist() == [0, 0, 0] and x.prod().item() == 1 and x.any().item() is False and x.all().item() is True
    )
    assert np.isneginf(x.logsumexp(0).numpy()).all() and x.softmax(0).shape == (0, 3)
    with pytest.raises(plait.errors.ShapeError, match="reduce_max of no elements is undefined"):
        x.amax(0)


def test_extreme_values():
    big = plait.Tensor([1000.0, 1000.0, -np.inf])
    assert big.logsumexp().item() == pytest.approx(1000.6931, 1e-6) and api.softmax(big).tolist() == [0.5, 0.5, 0]
    assert np.isneginf(plait.Tensor([-np.inf, -np.inf]).logsumexp().item())
    assert api.log_softmax(plait.Tensor([0.0, -1000.0])).tolist() == [0, -1000]
    x = plait.Parameter([0.0, 0.0])
    api.norm(x).backward()
    assert x.grad.tolist() == [0, 0]


@pytest.mark.parametrize("order", [1, 2, 3, 0, np.inf, -np.inf])
def test_norm(order):
    expected = np.linalg.norm(X.reshape(15, 4).astype(float), order, axis=1)
    np.testing.assert_allclose(plait.Tensor(X).reshape(15, 4).norm(order, axis=1).numpy(), expected, rtol=1e-5)


@pytest.mark.parametrize(
    ("name", "reference"),
    [("cumsum", np.cumsum), ("cumprod", np.cumprod), ("cummax", np.maximum.accumulate),
     ("cummin", np.minimum.accumulate), ("logcumsumexp", np.logaddexp.accumulate)],
)  # fmt: skip
def test_scans(name, reference):
    for axis in (0, 1, -1):
        np.testing.assert_allclose(
            getattr(api, name)(plait.Tensor(X), axis=axis).numpy(), reference(X, axis), rtol=1e-4, atol=1e-5
        )


def test_sorting():
    x = plait.Tensor(X)
    for axis in (0, 1, -1):
        np.testing.assert_array_equal(x.sort(axis=axis).numpy(), np.sort(X, axis))
        np.testing.assert_array_equal(x.argsort(axis).numpy(), np.argsort(X, axis, kind="stable"))
        np.testing.assert_array_equal(x.sort(axis=axis, descending=True).numpy(), -np.sort(-X, axis))
        values, indices = x.topk(2, axis)
        expected = np.take(-np.sort(-X, axis), [0, 1], axis)
        np.testing.assert_array_equal(values.numpy(), expected)
        np.testing.assert_array_equal(x.gather(axis, indices).numpy(), expected)
    assert plait.Tensor([2.0, np.nan, 1.0]).sort(axis=0).tolist()[:2] == [1, 2]
    assert plait.Tensor([3, 1, 2]).topk(1, largest=False)[0].tolist() == [1]


ERRORS = [
    (
        lambda: api.ones(2, 3).sum(2),
        plait.errors.ShapeError,
        r"axis out of range for a tensor of 2 axes\. Received: 2\.",
    ),
    (lambda: api.ones(2, 3).sum((0, 0)), plait.errors.ShapeError, "An axis is named twice"),
    (lambda: api.ones(2).sum("x"), plait.errors.ArgumentTypeError, "axis is an integer"),
    (lambda: api.sum(api.ones(2), api.ones(2)), plait.errors.ArgumentTypeError, "use plait.maximum"),
    (lambda: api.ones(2, 2).cumsum(), plait.errors.ArgumentError, "needs to know along which"),
    (lambda: api.ones(2).topk(3), plait.errors.ShapeError, r"Received: k=3\. Expected: 0 to 2"),
    (lambda: api.max(plait.Tensor([1j])), plait.errors.DTypeError, "reduce_max does not take complex64"),
]


@pytest.mark.parametrize(("call", "kind", "text"), ERRORS)
def test_errors(call, kind, text):
    with pytest.raises(kind, match=text):
        call()
