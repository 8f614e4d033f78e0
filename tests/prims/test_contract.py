"""dot_general: values over the domain and every path of its kernel, errors, derivatives, batching."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import plait.prims.contract as contract
from plait.core.aval import aval
from plait.core.dtype import bool_, float32, float64
from plait.core.errors import DTypeError, ShapeError
from plait.core.graph import placeholder
from plait.core.primitive import P
from plait.testing.oracles.contract import dot_general as oracle
from tests.prims.kernels import (
    check_batch,
    check_derivatives,
    check_values,
    evaluate,
    evaluate_symbolic,
    inputs_for,
    samples,
)

NONE = ((), ())
SIZES = [(37, 53, 71), (128, 96, 320), (5, 700, 301), (600, 9, 40), (3, 530, 65), (70, 1, 300)]
LAYOUTS = {"nn": ((1,), (0,)), "nt": ((1,), (1,)), "tn": ((0,), (0,)), "tt": ((0,), (1,))}


@pytest.mark.parametrize("dtype", contract.NUMBERS, ids=str)
def test_values_follow_the_oracle(dtype) -> None:
    check_values("dot_general", dtype, (0, 1, 5))


@pytest.mark.parametrize("dtype", [float32, float64], ids=str)
def test_packed_values_follow_the_oracle(dtype, monkeypatch: pytest.MonkeyPatch) -> None:
    for limit in ("_SMALL", "_DEPTH"):
        monkeypatch.setattr(contract, limit, 0)
    check_values("dot_general", dtype, (0, 1, 5))


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("sizes", SIZES)
@pytest.mark.parametrize("packed", [False, True])
def test_matrix_products(layout: str, sizes: tuple[int, int, int], packed: bool, monkeypatch: Any) -> None:
    monkeypatch.setattr(contract, "_DEPTH", 0 if packed else 4096)
    monkeypatch.setattr(contract, "_STRIDED", 1 << 30)
    random = np.random.default_rng(0)
    m, n, k = sizes
    a = random.standard_normal((m, k) if layout[0] == "n" else (k, m)).astype(np.float32)
    b = random.standard_normal((k, n) if layout[1] == "n" else (n, k)).astype(np.float32)
    _check([a, b], contract=LAYOUTS[layout], batch=NONE)


def test_batched_product_of_several_axes() -> None:
    random = np.random.default_rng(1)
    a, b = random.standard_normal((3, 2, 20, 4, 9)), random.standard_normal((9, 2, 4, 31, 3))
    _check([a, b], contract=((3, 4), (2, 0)), batch=((0, 1), (4, 1)))


def test_nan_and_infinity_stay_in_their_rows() -> None:
    a, b = np.ones((40, 64), np.float32), np.ones((64, 50), np.float32)
    a[7, 3], a[9, 5] = np.nan, np.inf
    inputs = inputs_for([a, b])
    (got,) = evaluate([P.dot_general(*inputs, contract=LAYOUTS["nn"], batch=NONE)], inputs, [a, b])
    assert np.isnan(got[7]).all()
    assert np.isinf(got[9]).all()
    assert np.isfinite(np.delete(got, [7, 9], 0)).all()


def test_run_time_sizes() -> None:
    random = np.random.default_rng(2)
    for size in (1, 8, 65):
        a, b = (random.standard_normal((size, size)).astype(np.float32) for _ in range(2))
        got = evaluate_symbolic("dot_general", [a, b], {"contract": LAYOUTS["nt"], "batch": NONE}, (0, 1))
        np.testing.assert_allclose(got, a @ b.T, rtol=1e-4, atol=1e-4)


def _check(arrays: list[np.ndarray], **params: object) -> None:
    inputs = inputs_for(arrays)
    (got,) = evaluate([P.dot_general(*inputs, **params)], inputs, arrays)
    tolerance = 1e-4 if arrays[0].dtype == np.float32 else 1e-11
    np.testing.assert_allclose(got, oracle(*arrays, **params), rtol=tolerance, atol=tolerance)


def test_derivatives() -> None:
    for arrays, params in samples("dot_general", float64, (3,)):
        check_derivatives("dot_general", arrays, params, order=2)


def test_batching() -> None:
    for arrays, params in samples("dot_general", float64, (3,))[:7]:
        check_batch("dot_general", arrays, params)


def test_errors_say_what_to_do() -> None:
    a, b = placeholder(aval(float32, (2, 3))), placeholder(aval(float32, (4, 5)))
    with pytest.raises(ShapeError, match="axis 1 of size 3 with axis 0 of size 4.*Fix: transpose or reshape"):
        P.dot_general(a, b, contract=((1,), (0,)), batch=NONE)
    with pytest.raises(ShapeError, match="distinct axes"):
        P.dot_general(a, b, contract=((2,), (0,)), batch=NONE)
    with pytest.raises(ShapeError, match="pair axes of both operands"):
        P.dot_general(a, b, contract=((0, 1), (0,)), batch=NONE)
    with pytest.raises(DTypeError, match="one dtype"):
        P.dot_general(a, placeholder(aval(float64, (3, 5))), contract=((1,), (0,)), batch=NONE)
    flags = placeholder(aval(bool_, (3,)))
    with pytest.raises(DTypeError, match="does not take bool"):
        P.dot_general(flags, flags, contract=((0,), (0,)), batch=NONE)
