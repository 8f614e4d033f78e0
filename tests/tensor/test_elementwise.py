"""Elementwise functions against NumPy: values, promotion, broadcasting, odd shapes."""

from __future__ import annotations

import math

import numpy as np
import pytest

import plait
from plait.core.dtype import ALL, FLOATS, bool_, float32, int64
from plait.tensor import api

scipy_special = pytest.importorskip("scipy.special")

UNARY = {
    "abs": np.abs, "negative": np.negative, "positive": np.positive, "sign": np.sign, "floor": np.floor,
    "ceil": np.ceil,
    "trunc": np.trunc, "round": np.round, "square": np.square, "exp": np.exp, "exp2": np.exp2, "expm1": np.expm1,
    "sin": np.sin, "cos": np.cos, "tan": np.tan, "atan": np.arctan, "sinh": np.sinh, "cosh": np.cosh, "tanh": np.tanh,
    "asinh": np.arcsinh, "erf": scipy_special.erf, "erfc": scipy_special.erfc, "isnan": np.isnan, "isinf": np.isinf,
    "isfinite": np.isfinite, "signbit": np.signbit, "sigmoid": scipy_special.expit, "cbrt": np.cbrt,
    "relu": lambda x: np.maximum(x, 0), "silu": lambda x: x * scipy_special.expit(x),
    "gelu": lambda x: 0.5 * x * (1 + scipy_special.erf(x / math.sqrt(2))), "softplus": lambda x: np.logaddexp(x, 0),
    "elu": lambda x: np.where(x > 0, x, np.expm1(x)), "leaky_relu": lambda x: np.where(x > 0, x, 0.01 * x),
    "log_sigmoid": lambda x: -np.logaddexp(-x, 0), "reciprocal": np.reciprocal, "logical_not": np.logical_not,
}  # fmt: skip
POSITIVE = {
    "log": np.log, "log2": np.log2, "log10": np.log10, "log1p": np.log1p, "sqrt": np.sqrt,
    "rsqrt": lambda x: 1 / np.sqrt(x), "lgamma": scipy_special.gammaln, "digamma": scipy_special.digamma,
}  # fmt: skip
UNIT = {"asin": np.arcsin, "acos": np.arccos, "atanh": np.arctanh, "erfinv": scipy_special.erfinv}
BINARY = {
    "add": np.add, "subtract": np.subtract, "multiply": np.multiply, "divide": np.divide, "maximum": np.maximum,
    "minimum": np.minimum, "floor_divide": np.floor_divide, "remainder": np.remainder, "fmod": np.fmod,
    "atan2": np.arctan2, "hypot": np.hypot, "logaddexp": np.logaddexp, "copysign": np.copysign, "equal": np.equal,
    "not_equal": np.not_equal, "less": np.less, "less_equal": np.less_equal, "greater": np.greater,
    "greater_equal": np.greater_equal, "logical_and": np.logical_and, "logical_or": np.logical_or,
    "logical_xor": np.logical_xor,
}  # fmt: skip
CASES = [(n, f, -3.0, 3.0) for n, f in UNARY.items()] + [(n, f, 0.1, 5.0) for n, f in POSITIVE.items()]
CASES += [(n, f, -0.95, 0.95) for n, f in UNIT.items()] + [("acosh", np.arccosh, 1.1, 9.0)]


@pytest.mark.parametrize(("name", "reference", "low", "high"), CASES, ids=[c[0] for c in CASES])
def test_unary(name, reference, low, high):
    x = np.random.default_rng(0).uniform(low, high, (7, 3)).astype(np.float32)
    result = getattr(api, name)(plait.Tensor(x))
    expected = reference(x.astype(np.float64))
    assert result.shape == x.shape
    np.testing.assert_allclose(result.numpy(), expected, rtol=2e-5, atol=2e-6)


@pytest.mark.parametrize(("name", "reference"), BINARY.items(), ids=BINARY)
def test_binary(name, reference):
    random = np.random.default_rng(0)
    x, y = (random.integers(-8, 8, s).astype(np.float32) / 2 for s in ((5, 1), (4,)))
    y[y == 0] = 2
    result = getattr(api, name)(plait.Tensor(x), plait.Tensor(y))
    np.testing.assert_allclose(result.numpy(), reference(x, y), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", ["floor_divide", "remainder", "fmod"])
@pytest.mark.parametrize("dtype", [np.int32, np.uint8, np.float64])
def test_division_of_every_kind(name, dtype):
    x = np.arange(-9, 10).astype(dtype)
    y = np.array([4] * 10 + [-3] * 9).astype(dtype)
    expected = getattr(np, name)(x, y)
    np.testing.assert_array_equal(getattr(api, name)(plait.Tensor(x), plait.Tensor(y)).numpy(), expected)


def test_special_values():
    special = np.array([0.0, -0.0, 1.0, -2.5, np.inf, -np.inf, np.nan, 1e30, 1e-30], np.float32)
    x, y = special[:, None], special[None, :]
    with np.errstate(all="ignore"):
        for name in ("hypot", "logaddexp", "maximum", "minimum", "remainder", "fmod", "atan2"):
            result = getattr(api, name)(plait.Tensor(x), plait.Tensor(y)).numpy()
            np.testing.assert_allclose(result, BINARY[name](x, y), rtol=1e-5, err_msg=name)


def test_floor_division_of_special_floats():
    x = np.array([1.0, -1.0, 0.0, np.inf, np.nan, 7.5, -7.5], np.float32)
    with np.errstate(all="ignore"):
        for y in (0.0, 2.0, -2.0):
            wanted = np.where(np.isinf(x), np.floor(x / np.float32(y)), x // np.float32(y))
            np.testing.assert_array_equal((plait.Tensor(x) // y).numpy(), wanted)


@pytest.mark.parametrize("shape", [(), (0,), (1,), (0, 3), (13,), (2, 1, 5)])
def test_odd_shapes(shape):
    x = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    result = api.exp(plait.Tensor(x)) + 1
    np.testing.assert_allclose(result.numpy(), np.exp(x) + 1, rtol=1e-5)


@pytest.mark.parametrize("dtype", ["int64", "int32", "uint8", "bool"])
def test_integers_become_float32(dtype):
    x = plait.Tensor([0, 1, 1], dtype=dtype)
    for name in ("exp", "sin", "sqrt", "sigmoid", "reciprocal"):
        assert getattr(api, name)(x).dtype is float32
    assert (x / 2).dtype is float32
    assert api.floor(x).dtype is x.dtype


def test_float64_stays():
    x = plait.Tensor(np.array([1.0, 2.0]))
    assert x.dtype is plait.float64
    assert (api.exp(x) * 2 + 1).dtype is plait.float64
    assert plait.Tensor([1.0], dtype="float64").dtype is plait.float64


@pytest.mark.parametrize("dtype", FLOATS)
def test_scalars_are_weak(dtype):
    x = api.ones(2, dtype=dtype)
    assert (x * 2).dtype is (2.5 - x).dtype is (x / np.float64(3)).dtype is (x + True).dtype is dtype


PROMOTION = [
    ("int32", "float16", "float16"), ("int64", "float32", "float32"), ("uint8", "int8", "int16"),
    ("float16", "bfloat16", "float32"), ("bool", "uint8", "uint8"), ("float64", "complex64", "complex128"),
    ("float32", "float64", "float64"), ("int8", "int64", "int64"), ("bool", "bool", "bool"),
]  # fmt: skip


@pytest.mark.parametrize(("a", "b", "expected"), PROMOTION)
def test_promotion(a, b, expected):
    x, y = api.ones(2, dtype=a), api.ones(2, dtype=b)
    assert (x + y).dtype.name == (y + x).dtype.name == (x * y).dtype.name == expected
    assert api.result_type(x, y).name == api.where(x == 1, x, y).dtype.name == expected


def test_promotion_of_scalars():
    x = api.arange(3)
    assert (x + 1).dtype is int64 and (x + 1.5).dtype is float32 and (x + 1j).dtype is plait.complex64
    assert (api.ones(1, dtype="bool") + 1).dtype is int64
    assert (x.to("uint8") + 1).dtype is plait.uint8
    with pytest.raises(plait.errors.ArgumentError, match=r"does not fit uint8\. Received: 300\. Expected: 0 to 255"):
        x.to("uint8") + 300


def test_bool_arithmetic():
    x, y = plait.Tensor([True, True, False]), plait.Tensor([True, False, False])
    assert (x + y).tolist() == [True, True, False]
    assert (x * y).tolist() == [True, False, False]
    assert (~x).tolist() == [False, False, True]
    assert (x ^ y).tolist() == [False, True, False]


@pytest.mark.parametrize("exponent", [0, 1, 2, 3, -1, 0.5, 2.0, 2.5, -1.5])
def test_power(exponent):
    x = np.array([0.5, 1.0, 3.0], np.float32)
    np.testing.assert_allclose((plait.Tensor(x) ** exponent).numpy(), x**exponent, rtol=1e-5)
    np.testing.assert_allclose((abs(exponent) ** plait.Tensor(x)).numpy(), float(abs(exponent)) ** x, rtol=1e-5)


def test_integer_power():
    x = plait.Tensor([2, -3])
    assert (x**3).tolist() == [8, -27]
    assert (2 ** plait.Tensor([0, 5])).tolist() == [1, 32]
    with pytest.raises(plait.errors.ArgumentError, match="Integers cannot be raised to negative integer powers"):
        x**-1


def test_reflected_and_numpy_operands():
    x, a = plait.Tensor([1.0, 2.0]), np.array([3.0, 4.0], np.float32)
    assert isinstance(a + x, plait.Tensor)
    assert (a + x).tolist() == [4, 6] and (a - x).tolist() == [2, 2] and (a / x).tolist() == [3, 2]
    assert (1 - x).tolist() == [0, -1] and (6 // x).tolist() == [6, 3] and (5 % x).tolist() == [0, 1]
    assert (a > x).tolist() == [True, True] and (x > 2).tolist() == [False, False]
    assert (np.float32(2) * x).tolist() == [2, 4] and (np.int64(2) * x).dtype is float32
    q, r = divmod(plait.Tensor([7, -7]), 2)
    assert q.tolist() == [3, -4] and r.tolist() == [1, 1]
    assert (1 << plait.Tensor([1, 3])).tolist() == [2, 8] and (plait.Tensor([-8]) >> 1).tolist() == [-4]


def test_strange_operands():
    x = plait.Tensor([1.0])
    with pytest.raises(TypeError, match="unsupported operand"):
        x + "1"
    assert (x == "1") is False and (x != None) is True  # noqa: E711
    with pytest.raises(plait.errors.ArgumentTypeError, match="add does not take a str"):
        api.add(x, "1")


def test_clamp_and_where():
    x = np.array([-2.0, np.nan, 0.5, 7.0], np.float32)
    t = plait.Tensor(x)
    np.testing.assert_array_equal(t.clamp(0, 5).numpy(), np.clip(x, 0, 5))
    np.testing.assert_array_equal(t.clamp(min=0).numpy(), np.clip(x, 0, None))
    np.testing.assert_array_equal(api.clip(t, max=plait.Tensor([1.0])).numpy(), np.clip(x, None, 1))
    assert api.clamp(api.arange(5), 1, 3).tolist() == [1, 1, 2, 3, 3]
    assert api.clamp(api.arange(3, dtype="uint8"), max=1).tolist() == [0, 1, 1]
    assert api.where(t > 0, t, 0.0).tolist() == [0, 0, 0.5, 7]
    assert [i.tolist() for i in api.where(t > 0)] == [[2, 3]]  # the positions, as `nonzero` gives them
    with pytest.raises(plait.errors.ArgumentError, match="use plait.nonzero"):
        api.where(t > 0, t)


def test_complex():
    z = plait.Tensor([1 + 2j, -1j])
    assert z.dtype is plait.complex64
    np.testing.assert_allclose(abs(z).numpy(), [5**0.5, 1], rtol=1e-6)
    assert z.conj().tolist() == [1 - 2j, 1j] and z.real.tolist() == [1, 0] and z.imag.tolist() == [2, -1]
    assert (z * z).tolist() == [-3 + 4j, -1]
    assert api.isfinite(z).all() and not api.isnan(z).any()


def test_conversions():
    x = plait.Tensor([1.7, -1.7, 0.0])
    assert x.int().tolist() == [1, -1, 0] and x.long().dtype is int64 and x.bool().tolist() == [True, True, False]
    assert x.half().dtype is plait.float16 and x.to(plait.bfloat16).dtype is plait.bfloat16 and x.float() is x
    assert x.to("cpu", "float64").dtype is plait.float64 and x.type_as(x.int()).dtype is plait.int32
    for dtype in ALL:
        assert x.astype(dtype).dtype is dtype
    assert api.ones(1, dtype="bfloat16").item() == 1.0 and bool_.name == "bool"
