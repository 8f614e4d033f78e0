"""Sorting: stability, NaN, several keys, payloads, long lines, derivatives, batching."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from plait.core.aval import aval
from plait.core.dtype import bfloat16, bool_, complex64, float32, float64, int8, int64, uint64
from plait.core.errors import ArgumentError, DTypeError, ShapeError
from plait.core.graph import placeholder
from plait.core.primitive import P
from plait.prims import sort as family
from tests.prims.kernels import check_batch, check_derivatives, check_values, evaluate, evaluate_symbolic, inputs_for

NAMES = ["sort", "argsort", "top_k", "order_statistic"]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("dtype", [float32, bfloat16, bool_, int8, uint64], ids=str)
def test_values(name: str, dtype: Any) -> None:
    check_values(name, dtype, (0, 1, 5) if dtype is float32 else (3,))


@pytest.mark.parametrize("length", [0, 1, 2, 3, 4, 7, 8, 9, 31, 32, 33, 100])
@pytest.mark.parametrize("descending", [False, True])
def test_merging(monkeypatch: pytest.MonkeyPatch, length: int, descending: bool) -> None:
    monkeypatch.setattr(family, "RUN", 2)
    x = np.random.default_rng(length).integers(0, 10, (2, length)).astype(np.float64)
    arrays = [x, np.broadcast_to(np.arange(length), x.shape).copy()]
    inputs = inputs_for(arrays)
    (got,) = evaluate([P.sort(*inputs, axis=1, keys=1, descending=descending)], inputs, arrays)
    order = np.argsort(-x if descending else x, axis=1, kind="stable")
    np.testing.assert_array_equal(got[1], order)
    np.testing.assert_array_equal(got[0], np.take_along_axis(x, order, 1))


@pytest.mark.parametrize("descending", [False, True])
@pytest.mark.parametrize("run", [2, 16])
def test_nan_is_greatest_and_zeros_are_equal(monkeypatch: pytest.MonkeyPatch, descending: bool, run: int) -> None:
    monkeypatch.setattr(family, "RUN", run)
    x = np.array([np.nan, 0.0, -0.0, np.inf, np.nan, -np.inf, 0.0, 3], np.float32)
    inputs = inputs_for([x])
    (got,) = evaluate([P.argsort(inputs[0], axis=0, descending=descending)], inputs, [x])
    assert got.tolist() == ([0, 4, 3, 7, 1, 2, 6, 5] if descending else [5, 1, 2, 6, 7, 3, 0, 4])


def test_two_keys_and_payloads_of_other_dtypes() -> None:
    random = np.random.default_rng(0)
    arrays = [
        random.integers(0, 3, 40).astype(np.int8), random.integers(0, 3, 40).astype(np.float32),
        np.arange(40) * (1 + 2j), random.random(40) < 0.5,
    ]  # fmt: skip
    inputs = inputs_for(arrays)
    (got,) = evaluate([P.sort(*inputs, axis=0, keys=2, descending=False)], inputs, arrays)
    order = np.lexsort(arrays[1::-1])
    for result, array in zip(got, arrays, strict=True):
        np.testing.assert_array_equal(result, array[order])


@pytest.mark.parametrize("descending", [False, True])
def test_derivatives(descending: bool) -> None:
    random = np.random.default_rng(0)
    x, y = random.uniform(-2, 2, (2, 5)), random.uniform(-2, 2, (2, 5))
    params = {"axis": 1, "descending": descending}
    check_derivatives("sort", [x], {**params, "keys": 1}, order=2)
    check_derivatives("sort", [x, y], {**params, "axis": 0, "keys": 1})
    check_derivatives("sort", [x, np.tile(np.arange(5), (2, 1))], {**params, "keys": 1})
    check_derivatives("top_k", [x], {"axis": 1, "k": 3, "largest": descending})
    check_derivatives("order_statistic", [x, np.array([[0, 4], [3, 1]])], {"axis": 1})


@pytest.mark.parametrize("axis", [0, 1])
def test_sizes_at_run_time(axis: int) -> None:
    x = np.random.default_rng(0).uniform(-2, 2, (20, 19))
    arrays = [x, np.arange(x.size).reshape(x.shape)]
    got = evaluate_symbolic("sort", arrays, {"axis": axis, "keys": 1, "descending": False}, (0, 1))
    order = np.argsort(x, axis=axis)
    np.testing.assert_array_equal(got[0], np.sort(x, axis=axis))
    np.testing.assert_array_equal(got[1], np.take_along_axis(arrays[1], order, axis))


def test_batch() -> None:
    x = np.random.default_rng(0).uniform(-2, 2, (2, 3))
    check_batch("sort", [x, x.copy()], {"axis": 0, "keys": 1, "descending": True})
    check_batch("argsort", [x], {"axis": 1, "descending": False})
    check_batch("top_k", [x], {"axis": 1, "k": 2, "largest": True})
    check_batch("order_statistic", [x, np.array([[1], [0]])], {"axis": 1})


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int16])
@pytest.mark.parametrize("values", [1, 3, 1000])
def test_ranks_of_long_lines(dtype: Any, values: int) -> None:
    """Few different values leave many candidates after each digit."""
    random = np.random.default_rng(values)
    x = (random.integers(0, values, (2, 20000)) - values // 2).astype(dtype)
    ranks = np.array([[0, 19999, 7], [10000, 9999, 3]])
    inputs = inputs_for([x, ranks])
    (got,) = evaluate([P.order_statistic(*inputs, axis=1)], inputs, [x, ranks])
    np.testing.assert_array_equal(got, np.take_along_axis(np.sort(x, 1), ranks, 1))


def test_errors() -> None:
    x = placeholder(aval(float32, (3, 4)))
    assert P.top_k(x, k=2, axis=1).aval == (aval(float32, (3, 2)), aval(int64, (3, 2)))
    with pytest.raises(ShapeError, match="no axis"):
        P.sort(x, axis=2)
    with pytest.raises(ShapeError, match="one shape"):
        P.sort(x, placeholder(aval(float64, (3,))), axis=0)
    with pytest.raises(ArgumentError, match="keys"):
        P.sort(x, axis=0, keys=2)
    with pytest.raises(ShapeError, match="top_k"):
        P.top_k(x, k=5, axis=1)
    with pytest.raises(DTypeError):
        P.sort(placeholder(aval(complex64, (3,))), axis=0)
    with pytest.raises(DTypeError, match="int64 ranks"):
        P.order_statistic(x, placeholder(aval(float32, (3, 1))), axis=1)
    with pytest.raises(ShapeError, match="ranks for each line"):
        P.order_statistic(x, placeholder(aval(int64, (2, 1))), axis=1)
    with pytest.raises(ShapeError, match="An empty line"):
        P.order_statistic(placeholder(aval(float32, (0,))), placeholder(aval(int64, (1,))), axis=0)
