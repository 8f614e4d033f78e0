"""Kernels that were once wrong: found by random programs."""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np
import pytest

import plait.prims  # noqa: F401
from plait.compiler.pipeline import Launch, compile_nodes
from plait.core.aval import aval
from plait.core.dtype import DType, bfloat16, float16, float32, float64, int8, int16, int32, int64
from plait.core.graph import Node, constant, placeholder
from plait.core.primitive import P
from plait.runtime.code import load_kernel
from plait.testing.laws import run


def leaf(*shape: int, dtype: Any = float32) -> Node:
    return placeholder(aval(dtype, shape))


@pytest.mark.parametrize("columns", [1, 9, 15, 17, 31, 33, 65])
@pytest.mark.parametrize("dtype", [bfloat16, float16, int8, int16], ids=lambda d: d.name)
def test_the_last_lane_of_a_row_writes_only_itself(dtype: DType, columns: int) -> None:
    """Rows may be written by different threads, in any order: here the last one first."""
    x = leaf(2, columns, dtype=int32)
    (step,) = compile_nodes([P.convert(P.reverse(x, axes=(0,)), dtype=dtype)], [x]).steps
    assert isinstance(step, Launch)
    values = np.arange(1, 2 * columns + 1, dtype=np.int32).reshape(2, columns)
    out = np.full(2 * columns + 64, 77, np.uint8 if dtype.itemsize == 1 else np.uint16)
    table = np.array([values.ctypes.data, out.ctypes.data], np.int64)
    arguments = np.array([0, 1], np.int64)
    ((address, extent, _),) = load_kernel(step.source).functions
    function = ctypes.CFUNCTYPE(None, *[ctypes.c_void_p] * 2, *[ctypes.c_int64] * 2)(address)
    assert extent == 2 or columns == 1
    for low, high in ((extent - 1, extent), (0, extent - 1)):
        function(table.ctypes.data, arguments.ctypes.data, low, high)
    got = out[: 2 * columns].view(dtype.numpy).reshape(2, columns)
    assert np.array_equal(got, values[::-1].astype(dtype.numpy))
    assert (out[2 * columns :] == 77).all()


def test_a_row_read_backwards_under_one_condition() -> None:
    """All lanes share the guard of a gather at one place, also when they are reversed."""
    x, at = leaf(5, 33), leaf(dtype=int64)
    row = P.gather(x, at, axes=(0,), mode="fill")
    values = np.arange(165, dtype=np.float32).reshape(5, 33)
    for place, want in ((3, values[3, ::-1]), (9, np.zeros(33))):
        (got,) = run([P.reverse(row, axes=(0,)) * 1.5], [x, at], [values, np.array(place)])
        np.testing.assert_array_equal(got, want * np.float32(1.5))


def test_values_of_one_element_and_of_rank_0_share_a_kernel() -> None:
    x = leaf(1, dtype=float64)
    scalar = P.reshape(P.min(x, 1.0), shape=())
    y = P.clamp(P.reshape(scalar - scalar * 0.5, shape=(1,)), -0.875, 0.875)
    (got,) = run([P.asin(y)], [x], [np.array([0.6])])
    np.testing.assert_allclose(got, [np.arcsin(0.3)])


def test_operations_on_constants_alone() -> None:
    x = leaf(3)
    one = constant(1.0, float32)
    for fused in (True, False):
        got = run([x + P.exp(P.neg(one)), P.add(one, one)], [x], [np.zeros(3, np.float32)], fused)
        np.testing.assert_allclose(got[0], np.full(3, np.exp(-1)), rtol=1e-6)
        assert got[1] == 2.0


@pytest.mark.parametrize("shape", [(1024, 65), (3, 700, 67), (300, 1), (5000, 3), (40, 0)])
@pytest.mark.parametrize("name", ["reduce_sum", "reduce_max", "reduce_min"])
def test_reductions_across_columns(name: str, shape: tuple[int, ...]) -> None:
    """Strips of columns, the last one narrower; and two reductions in one kernel, with work behind them."""
    x = leaf(*shape)
    axis = len(shape) - 2
    values = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    reduce = getattr(P, name)
    results = [reduce(x * 2.0, axes=(axis,)) + 1.0, reduce(-x, axes=(axis,))]
    apply = {"reduce_sum": np.sum, "reduce_max": np.max, "reduce_min": np.min}[name]
    expected = [apply(values * 2, axis=axis) + 1, apply(-values, axis=axis)]
    for got, want in zip(run(results, [x], [values]), expected, strict=True):
        assert np.allclose(got, want, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize(("rows", "columns"), [(1000, 3), (17, 15), (5, 1), (100, 16)])
def test_short_rows_are_in_lanes(rows: int, columns: int) -> None:
    """A softmax and its largest elements: reductions, and what is stored for each element behind them."""
    x = leaf(rows, columns)
    high = P.reduce_max(x, axes=(1,))
    e = P.exp(x - P.reshape(high, shape=(rows, 1)))
    y = P.div(e, P.reshape(P.reduce_sum(e, axes=(1,)), shape=(rows, 1)))
    values = np.random.default_rng(0).normal(size=(rows, columns)).astype(np.float32)
    powers = np.exp(values - values.max(1, keepdims=True))
    got = run([y, high], [x], [values])
    assert np.allclose(got[0], powers / powers.sum(1, keepdims=True), rtol=1e-5)
    assert np.array_equal(got[1], values.max(1))
