"""Orders, sets, moments, counts and cumulative functions against NumPy and SciPy; the two forms of a call; errors."""

from __future__ import annotations

import math

import numpy as np
import pytest

import plait
from plait.core.errors import AbstractValueError, ArgumentError, ArgumentTypeError, ShapeError
from plait.tensor.results import MinMax, ValuesIndices

stats = pytest.importorskip("scipy.stats")

RANDOM = np.random.default_rng(0)
X = RANDOM.normal(size=(4, 5, 6)).astype(np.float32)
GAPS = np.where(RANDOM.random(X.shape) < 0.3, np.nan, X).astype(np.float32)
GAPS[0, :, 0] = np.nan
T, G = plait.Tensor(X), plait.Tensor(GAPS)


def close(got, want, tolerance=2e-5):
    np.testing.assert_allclose(got.detach().numpy(), want, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize(
    ("name", "options"), [("max", {}), ("min", {}), ("sort", {"descending": True}), ("cummax", {}), ("cummin", {})]
)
def test_a_call_in_the_form_of_pytorch_returns_positions_too(name, options):
    function, method = getattr(plait, name), getattr(T, name)
    standard = function(T, axis=1, **options)
    assert isinstance(standard, plait.Tensor)
    for found in (function(T, 1, **options), function(T, dim=1, **options), method(1, **options), method(dim=1)):
        assert isinstance(found, ValuesIndices)
    values, indices = function(T, 1, **options)
    close(values, standard.numpy(), 0)
    if name in ("max", "min"):
        values, indices = values.unsqueeze(1), indices.unsqueeze(1)
    np.testing.assert_array_equal(np.take_along_axis(X, indices.numpy(), 1), values.numpy())
    assert isinstance(method(axis=1), plait.Tensor)


def test_moments_are_unbiased_in_the_form_of_pytorch_only():
    for name, reference in (("std", np.std), ("var", np.var)):
        function, method = getattr(plait, name), getattr(T, name)
        for biased in (function(T, axis=1), function(T, 1, False), function(T, dim=1, correction=0), method(axis=1)):
            close(biased, reference(X, axis=1))
        for unbiased in (function(T, 1), method(1), method(dim=1), function(T, axis=1, correction=1)):
            close(unbiased, reference(X, axis=1, ddof=1))
        close(method(), reference(X, ddof=1))
        close(method(False), reference(X))
        pair = getattr(plait, f"{name}_mean")(T, (0, 2), keepdim=True)
        close(pair[0], reference(X, axis=(0, 2), ddof=1, keepdims=True))
        close(pair[1], X.mean((0, 2), keepdims=True))
    x = plait.ones(3).requires_grad_()
    x.std().backward()
    assert x.grad.tolist() == [0, 0, 0]
    assert math.isnan(plait.ones(1).std().item())


def test_scalars_have_an_axis_as_in_pytorch():
    x = plait.tensor(3.0)
    for name in ("sum", "mean", "amax", "argmin", "softmax", "cumsum", "argsort", "logsumexp", "all", "nansum"):
        for dim in (0, -1):
            assert getattr(plait, name)(x, dim=dim).shape == ()
        with pytest.raises(ShapeError):
            getattr(plait, name)(x, dim=1)
    for pair in (x.sort(0), x.max(0), x.cummax(-1), x.topk(1), x.median(0), x.mode(), x.kthvalue(1)):
        assert [p.shape for p in pair] == [(), ()]
        assert [p.item() for p in pair] == [3, 0]
    assert plait.quantile(x, 0.5, 0, True).shape == ()


@pytest.mark.parametrize("name", ["nansum", "nanprod", "nanmean", "nanmax", "nanmin", "nanstd", "nanvar"])
@pytest.mark.filterwarnings("ignore:.*:RuntimeWarning")
def test_nan_is_left_out(name):
    for axis in (None, 1, (0, 2)):
        for x, gaps in ((G, GAPS), (T, X)):
            close(getattr(plait, name)(x, axis=axis), getattr(np, name)(gaps, axis=axis), 1e-4)
    assert getattr(plait, name)(plait.tensor([1, 2, 4])).item() == pytest.approx(getattr(np, name)([1, 2, 4]))


def test_small_statistics():
    weights = RANDOM.random(5).astype(np.float32)
    close(plait.average(T, 1, plait.Tensor(weights)), np.average(X, 1, weights))
    close(plait.ptp(T, axis=(0, 2)), np.ptp(X, (0, 2)))
    pair = plait.aminmax(T, dim=2)
    assert isinstance(pair, MinMax)
    close(pair.max, X.max(2))
    close(plait.dist(T, T * 2, 3), np.linalg.norm(X.ravel(), 3), 1e-4)
    close(plait.norm(T, "nuc", (0, 2)), np.linalg.norm(X, "nuc", (0, 2)), 1e-4)
    zero = plait.zeros(3).requires_grad_()
    for order in (0.5, 1, 2, 3, math.inf):
        plait.norm(zero, order).backward()
    assert zero.grad.tolist() == [0, 0, 0]


@pytest.mark.parametrize("method", ["linear", "lower", "higher", "midpoint", "nearest"])
def test_quantiles(method):
    q = np.array([0, 0.1, 0.5, 0.73, 1])
    for axis in (None, 0, -1):
        for keepdims in (False, True):
            options = {"axis": axis, "keepdims": keepdims, "method": method}
            close(plait.quantile(T, plait.Tensor(q), **options), np.quantile(X, q, **options))
            close(plait.percentile(T, 30, **options), np.percentile(X, 30, **options))
    close(plait.nanquantile(G[1:], 0.4, axis=1, method=method), np.nanquantile(GAPS[1:], 0.4, axis=1, method=method))
    assert math.isnan(plait.quantile(G, 0.4).item())
    assert plait.quantile(plait.tensor([math.inf, math.inf]), 0.5).item() == math.inf


def test_ranks():
    for axis in (0, 1, -1):
        ordered = np.sort(X, axis)
        values, indices = T.kthvalue(2, axis, keepdim=True)
        close(values, np.take(ordered, [1], axis), 0)
        np.testing.assert_array_equal(np.take_along_axis(X, indices.numpy(), axis), values.numpy())
        close(T.median(axis).values, np.take(ordered, (X.shape[axis] - 1) // 2, axis), 0)
    assert T.median().item() == np.sort(X.ravel())[(X.size - 1) // 2]
    gaps = plait.tensor([math.nan, 4.0, 1.0, math.nan, 2.0])
    assert (gaps.median(0).indices.item(), gaps.nanmedian(0).values.item(), gaps.nanmedian().item()) == (0, 2, 2)
    small = RANDOM.integers(0, 4, (7, 30))
    found = plait.Tensor(small).mode(1)
    np.testing.assert_array_equal(found.values.numpy(), stats.mode(small, axis=1).mode)
    assert plait.tensor([3, 1, 3, 1]).mode().indices.item() == 3
    x = plait.tensor([1.0, 5.0, 3.0]).requires_grad_()
    (x.median() + x.topk(1).values.sum() * 10).backward()
    assert x.grad.tolist() == [0, 10, 1]


LONG = (1, 2, 15, 16, 17, 63, 65, 127, 129, 1000, 20000)


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16", "int8", "uint8", "int64", "bool"])
def test_sorting_lines_of_every_length(dtype):
    for length in LONG:
        for shape, axis in (((length,), 0), ((6, length), 1), ((length, 6), 0)):
            if length > 1000 and len(shape) > 1:
                continue
            x = (RANDOM.normal(size=shape) * 40).astype(dtype)
            if x.dtype.kind == "f":
                x[RANDOM.random(shape) < 0.1] = np.nan
                x[RANDOM.random(shape) < 0.1] = -0.0
                x[RANDOM.random(shape) < 0.1] = 0.0
            t = plait.Tensor(x)
            order = np.argsort(x, axis, kind="stable")
            values, indices = t.sort(axis)
            np.testing.assert_array_equal(indices.numpy(), order)
            np.testing.assert_array_equal(values.numpy(), np.take_along_axis(x, order, axis))
            np.testing.assert_array_equal(np.signbit(values.numpy()), np.signbit(np.take_along_axis(x, order, axis)))
            np.testing.assert_array_equal(plait.sort(t, axis=axis).numpy(), np.sort(x, axis))


@pytest.mark.parametrize("dtype", ["float32", "float64", "int16"])
def test_first_ones_of_long_lines(dtype):
    for length, count in ((1000, 1), (1000, 7), (1000, 100), (1000, 500), (5000, 64), (20, 20)):
        lines = [RANDOM.normal(size=length) * 100, np.arange(length), -np.arange(length), np.zeros(length)]
        x = np.stack(lines).astype(dtype)
        if x.dtype.kind == "f":
            x[0, ::5] = np.nan
        for largest in (True, False):
            # NaN is greater than every number
            keys = np.where(np.isnan(x), np.inf, x.astype(float))
            order = np.argsort(-keys if largest else keys, 1, kind="stable")[:, :count]
            found = plait.Tensor(x).topk(count, largest=largest)
            np.testing.assert_array_equal(found.indices.numpy(), order)
            np.testing.assert_array_equal(found.values.numpy(), np.take_along_axis(x, order, 1))


def test_distinct_elements():
    x = RANDOM.integers(0, 5, (6, 7))
    t = plait.Tensor(x)
    expected = np.unique(x, return_index=True, return_inverse=True, return_counts=True)
    for got, want in zip(plait.unique_all(t), expected, strict=True):
        np.testing.assert_array_equal(got.numpy(), want)
    for got, want in zip(plait.unique(t, return_counts=True), np.unique(x, return_counts=True), strict=True):
        np.testing.assert_array_equal(got.numpy(), want)
    rows = x[:, :2] % 2
    found = plait.Tensor(rows).unique(dim=0, return_inverse=True, return_counts=True)
    for got, want in zip(found, np.unique(rows, axis=0, return_inverse=True, return_counts=True), strict=True):
        np.testing.assert_array_equal(got.numpy(), want)
    assert plait.unique(plait.tensor([math.nan, 1.0, math.nan])).shape == (3,)
    assert plait.unique_values(plait.tensor([1j, 1.0, 1j])).shape == (2,)
    values, inverse, counts = plait.tensor([1, 1, 2, 2, 1]).unique_consecutive(True, True)
    assert (values.tolist(), inverse.tolist(), counts.tolist()) == ([1, 2, 1], [0, 0, 1, 1, 2], [2, 2, 1])
    assert [r.shape for r in plait.unique_all(plait.zeros(0))] == [(0,)] * 4
    for few in (3, 40):
        np.testing.assert_array_equal(plait.isin(t, plait.Tensor(x[0, :3]).repeat(few)).numpy(), np.isin(x, x[0, :3]))
    with pytest.raises(AbstractValueError):
        plait.jit(plait.unique, strict=True)(t)


def test_searching():
    lines = np.sort(RANDOM.integers(0, 9, (3, 13)))
    values = RANDOM.integers(-1, 11, (3, 8))
    for side in ("left", "right"):
        expected = np.stack([np.searchsorted(a, v, side) for a, v in zip(lines, values, strict=True)])
        got = plait.searchsorted(plait.Tensor(lines), plait.Tensor(values), side=side)
        np.testing.assert_array_equal(got.numpy(), expected)
    sequence = np.array([0.5, -1.0, np.nan, 2.0], np.float32)
    order = np.argsort(sequence)
    wanted = np.array([np.nan, 0.5, -2, 3], np.float32)
    got = plait.searchsorted(plait.Tensor(sequence), plait.Tensor(wanted), sorter=plait.Tensor(order), right=True)
    np.testing.assert_array_equal(got.numpy(), np.searchsorted(sequence, wanted, "right", order))
    assert plait.bucketize(plait.tensor([1, 3, 9]), plait.tensor([1, 3]), out_int32=True).tolist() == [0, 1, 2]
    assert plait.searchsorted(plait.zeros(0), plait.tensor([1.0])).tolist() == [0]


def test_counting():
    x = RANDOM.integers(0, 9, 50)
    w = RANDOM.random(50)
    np.testing.assert_array_equal(plait.Tensor(x).bincount(minlength=12).numpy(), np.bincount(x, minlength=12))
    close(plait.bincount(plait.Tensor(x), plait.Tensor(w)), np.bincount(x, w))
    assert plait.jit(lambda x: plait.bincount(x, size=4))(plait.Tensor(x)).tolist() == np.bincount(x)[:4].tolist()
    flat = X.ravel()
    for bins, limits in ((7, (-1.0, 2.0)), (5, None), ([-1.0, 0.0, 0.5, 2.0], None)):
        edges = bins if isinstance(bins, int) else plait.tensor(bins)
        for density in (False, True):
            got = plait.histogram(T, edges, range=limits, density=density)
            want = np.histogram(flat, bins, limits, density=density)
            close(got.hist, want[0])
            close(got.bin_edges, want[1])
    np.testing.assert_array_equal(plait.histc(T, 9, -1, 1).numpy(), np.histogram(flat, 9, (-1, 1))[0])
    points = X.reshape(-1, 2)
    got = plait.histogramdd(plait.Tensor(points), [3, 4], weight=plait.ones(60))
    want = np.histogramdd(points, [3, 4])
    close(got.hist, want[0])
    close(got.bin_edges[1], want[1][1])


def test_covariance():
    x, repeats, weights = X[0], RANDOM.integers(1, 4, 6), RANDOM.random(6).astype(np.float32)
    for correction in (0, 1):
        got = plait.cov(
            plait.Tensor(x), correction=correction, fweights=plait.Tensor(repeats), aweights=plait.Tensor(weights)
        )
        close(got, np.cov(x, ddof=correction, fweights=repeats, aweights=weights), 1e-4)
    close(plait.corrcoef(plait.Tensor(x + 1j * X[1])), np.corrcoef(x + 1j * X[1]), 1e-4)
    assert plait.corrcoef(plait.Tensor(x[0])).item() == 1


@pytest.mark.parametrize("length", [5, 8200])
def test_running_functions_of_long_lines(length):
    x = RANDOM.normal(size=(2, length))
    t = plait.Tensor(x)
    for name, reference in (
        ("cumsum", np.cumsum), ("cummax", np.maximum.accumulate), ("logcumsumexp", np.logaddexp.accumulate),
    ):  # fmt: skip
        function = getattr(plait, name)
        close(function(t, axis=1), reference(x, 1), 1e-10)
        close(plait.jit(lambda t, function=function: function(t, axis=1))(t), reference(x, 1), 1e-10)
    weights = RANDOM.normal(size=x.shape)
    p = plait.Tensor(x).requires_grad_()
    (p.cumsum(1) * plait.Tensor(weights)).sum().backward()
    close(p.grad, weights[:, ::-1].cumsum(1)[:, ::-1], 1e-10)
    assert plait.cumulative_sum(plait.tensor([1, 2]), include_initial=True).tolist() == [0, 1, 3]
    assert plait.cumulative_prod(T, axis=1, include_initial=True).shape == (4, 6, 6)


def test_differences_and_integrals():
    points = np.sort(RANDOM.random(5)).astype(np.float32)
    close(plait.diff(T, 2, 1, prepend=0.0), np.diff(X, 2, 1, prepend=0), 1e-5)
    close(plait.trapezoid(T, plait.Tensor(points), dim=1), np.trapezoid(X, points, axis=1))
    close(plait.cumulative_trapezoid(T, dx=0.5), np.cumsum((X[..., 1:] + X[..., :-1]) / 4, -1))
    for order in (1, 2):
        for got, want in zip(
            plait.gradient(T, spacing=[plait.Tensor(points), 0.5], dim=(1, 2), edge_order=order),
            np.gradient(X, points, 0.5, axis=(1, 2), edge_order=order), strict=True,
        ):  # fmt: skip
            close(got, want, 1e-3)


def test_transforms():
    x = plait.Tensor(X[0])
    for function in (
        lambda v: v.median(0).values, lambda v: v.kthvalue(2).values, lambda v: plait.quantile(v, 0.3),
        lambda v: v.topk(2).indices, lambda v: v.cummax(0).indices, lambda v: plait.searchsorted(v.sort().values, v),
        lambda v: v.mode().values, lambda v: plait.histc(v, 5, -1, 1), lambda v: v.std(),
    ):  # fmt: skip
        rows = np.stack([function(row).numpy() for row in x])
        np.testing.assert_allclose(plait.vmap(function)(x).numpy(), rows, rtol=1e-6)
        np.testing.assert_allclose(plait.jit(function)(x[1]).numpy(), rows[1], rtol=1e-6)


ERRORS = [
    (lambda: T.kthvalue(0), ShapeError, r"kthvalue counts from 1. Received: k=0. Expected: 1 to 6"),
    (lambda: plait.zeros(0, 3).median(0), ShapeError, "median of no elements"),
    (lambda: plait.quantile(T, 1.5), ArgumentError, r"takes fractions. Received: q=1.5. Expected: 0 to 1"),
    (lambda: plait.quantile(T, 0.5, method="cubic"), ArgumentError, "Unknown interpolation"),
    (lambda: plait.searchsorted(T, T[0]), ShapeError, "leading axes"),
    (lambda: plait.searchsorted(T[0, 0], T, side="up"), ArgumentError, "Unknown side"),
    (lambda: plait.bincount(T), ShapeError, "takes a vector"),
    (lambda: plait.bincount(T[0, 0]), ArgumentTypeError, "takes integers"),
    (lambda: plait.bincount(plait.tensor([-1])), ArgumentError, "non-negative"),
    (lambda: plait.histc(T, 0), ArgumentError, "needs bins"),
    (lambda: plait.histogram(T, 3, range=(1.0, 0.0)), ArgumentError, "in order"),
    (lambda: plait.cov(T), ShapeError, "at most two axes"),
    (lambda: plait.gradient(T, spacing=[1.0]), ArgumentError, "one spacing for each axis"),
    (lambda: plait.gradient(T[:1], dim=0), ShapeError, "needs more points"),
    (lambda: plait.trapezoid(T, T, dx=1.0), ArgumentError, "the points or their distance"),
    (lambda: plait.renorm(T, 0, 0, 1.0), ArgumentError, "positive orders"),
    (lambda: plait.norm(T, "inf"), ArgumentError, "Unknown order of norm"),
    (lambda: plait.diff(T, -1), ArgumentError, "a number of times"),
]  # fmt: skip


@pytest.mark.parametrize(("call", "kind", "text"), ERRORS)
def test_errors(call, kind, text):
    with pytest.raises(kind, match=text):
        call()
