"""Arithmetic with PyTorch's arguments, extremes, parts and tests of elements, against NumPy."""

from __future__ import annotations

import numpy as np
import pytest

import plait
from plait.core.errors import ArgumentError, DTypeError, ShapeError

NAN, INF = float("nan"), float("inf")
X = np.array([[-2.5, -0.0, 1.5, NAN], [INF, -INF, 3.25, 0.5]], np.float32)
Y = np.array([2.0, -1.5, NAN, 0.25], np.float32)
BINARY = {
    "fmax": np.fmax, "fmin": np.fmin, "logaddexp2": np.logaddexp2, "heaviside": np.heaviside, "hypot": np.hypot,
    "float_power": np.float_power, "isclose": np.isclose, "copysign": np.copysign, "remainder": np.remainder,
    "rsub": lambda x, y: y - x, "clamp_min": np.maximum, "clamp_max": np.minimum,
}  # fmt: skip
UNARY = {
    "frac": lambda x: x - np.trunc(x), "fabs": np.fabs, "rint": np.rint, "sgn": np.sign, "deg2rad": np.deg2rad,
    "rad2deg": np.rad2deg, "isposinf": np.isposinf, "isneginf": np.isneginf, "isreal": np.isreal,
    "angle": lambda x: np.angle(x + 0),
    "nan_to_num": np.nan_to_num, "signbit": np.signbit,
}  # fmt: skip


@pytest.mark.parametrize("name", BINARY)
def test_binary(name):
    with np.errstate(all="ignore"):
        got, want = getattr(plait, name)(plait.tensor(X), plait.tensor(Y)).numpy(), BINARY[name](X, Y)
    np.testing.assert_allclose(got, want, rtol=2e-6)


@pytest.mark.parametrize("name", UNARY)
def test_unary(name):
    with np.errstate(all="ignore"):
        want = UNARY[name](X)
    got = getattr(plait, name)(plait.tensor(X)).numpy()
    assert got.dtype == want.dtype
    np.testing.assert_allclose(got, want, rtol=2e-6)


@pytest.mark.parametrize("mode", ["trunc", "floor"])
@pytest.mark.parametrize("dtype", ["int32", "float64"])
def test_division_rounds(mode, dtype):
    x, y = np.arange(-7, 8).astype(dtype), np.array([[2], [-3]], dtype)
    want = getattr(np, mode)(x / y)
    result = plait.div(plait.tensor(x), plait.tensor(y), rounding_mode=mode)
    assert result.dtype.name == dtype
    np.testing.assert_array_equal(result.numpy(), want)


def test_scaled_sums_also_in_place_and_into():
    x, y = plait.tensor([1.0, 2.0]), plait.tensor([3.0, 4.0])
    assert plait.add(x, y, alpha=2).tolist() == [7.0, 10.0]
    assert plait.sub(x, y, alpha=0.5).tolist() == [-0.5, 0.0]
    assert plait.rsub(x, y, alpha=2).tolist() == [1.0, 0.0]
    assert x.add_(y, alpha=2) is x
    assert x.tolist() == [7.0, 10.0]
    out = plait.zeros(2)
    assert plait.sub(input=x, other=y, alpha=2, out=out) is out
    assert out.tolist() == [1.0, 2.0]
    with pytest.raises(ArgumentError, match="whole alpha"):
        plait.add(plait.tensor([1]), 2, alpha=0.5)


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int64"])
def test_common_divisors(dtype):
    random = np.random.default_rng(0)
    high = min(120, np.iinfo(dtype).max)
    x, y = (random.integers(0, high, shape).astype(dtype) for shape in ((9, 1), 11))
    x[0] = 0
    np.testing.assert_array_equal(plait.gcd(plait.tensor(x), plait.tensor(y)).numpy(), np.gcd(x, y))
    small = [plait.tensor(a % 11) for a in (x, y)]
    np.testing.assert_array_equal(plait.lcm(*small).numpy(), np.lcm(x % 11, y % 11))


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
def test_mantissas_and_powers_of_two_rebuild_their_number(dtype):
    small = {"float16": 2.0**-20, "bfloat16": 2.0**-120}.get(dtype, 2.0**-130)
    x = plait.tensor([0.0, -0.75, 1.0, 1e4, small, INF, NAN], dtype=dtype)
    mantissa, exponent = plait.frexp(x)
    assert exponent.dtype is plait.int32
    assert exponent.tolist()[:4] == [0, 0, 1, 14]
    size = np.abs(mantissa[1:5].to(plait.float64).numpy())
    assert ((size >= 0.5) & (size < 1)).all()
    again = plait.ldexp(mantissa, exponent).to(plait.float64).numpy()
    np.testing.assert_array_equal(again, x.to(plait.float64).numpy())


def test_products_added_and_interpolation():
    x, a, b = plait.tensor([1.0, 2.0]), plait.tensor([3.0, 4.0]), plait.tensor([[2.0], [4.0]])
    np.testing.assert_allclose(plait.addcmul(x, a, b, value=0.5).numpy(), [[4, 6], [7, 10]])
    np.testing.assert_allclose(plait.addcdiv(x, a, b).numpy(), [[2.5, 4], [1.75, 3]])
    assert plait.lerp(x, a, 1.0).tolist() == a.tolist()
    with pytest.raises(DTypeError, match="addcdiv does not divide integers"):
        plait.addcdiv(plait.tensor([1]), plait.tensor([1]), plait.tensor([2]))


def test_complex_numbers_from_parts():
    z = plait.complex(plait.tensor([3.0, 0.0]), plait.tensor([4.0, -1.0]))
    assert z.dtype is plait.complex64
    np.testing.assert_allclose(plait.polar(plait.abs(z), plait.angle(z)).numpy(), z.numpy(), rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(plait.exp2(z).numpy(), 2 ** z.numpy(), rtol=1e-5)
    total = plait.exp(plait.logaddexp(z, -z)).numpy()
    np.testing.assert_allclose(total, np.exp(z.numpy()) + np.exp(-z.numpy()), rtol=1e-5)
    assert plait.isreal(plait.tensor([1.0, 2.0j])).tolist() == [True, False]
    with pytest.raises(DTypeError, match="complex takes floats"):
        plait.complex(plait.tensor([1]), plait.tensor([2]))


def test_closeness():
    x = plait.tensor([1.0, NAN, INF])
    assert plait.isclose(x, x).tolist() == [True, False, True]
    assert plait.allclose(x, x, equal_nan=True) is True
    assert plait.allclose(x[:1], 1.1) is False
    assert x[:1].equal(plait.tensor([1.0])) is True
    assert x[:1].equal(x) is False
    assert plait.equal(x[:1], 1.0).tolist() == [True]
    with pytest.raises(ArgumentError, match="not negative"):
        plait.isclose(x, x, rtol=-1.0)
    with pytest.raises(ShapeError, match="do not broadcast"):
        plait.isclose(x, plait.ones(2))


def test_neighbours_of_small_floats():
    for dtype, step in (("float16", 2.0**-10), ("bfloat16", 2.0**-7)):
        x, y = plait.tensor([1.0, 1.0, 1.0, NAN], dtype=dtype), plait.tensor([2.0, 0.0, 1.0, 0.0], dtype=dtype)
        got = plait.nextafter(x, y).to(plait.float64).numpy()
        np.testing.assert_array_equal(got, [1 + step, 1 - step / 2, 1.0, NAN])
        assert plait.grad(lambda x, y=y: plait.nextafter(x, y)[:3].sum())(x).tolist() == [1.0, 1.0, 1.0, 0.0]


@pytest.mark.parametrize("name", ["hypot", "atan2", "logaddexp", "logaddexp2", "fmax", "lerp", "ldexp", "remainder"])
def test_gradients(name):
    random = np.random.default_rng(0)
    x, y = (plait.tensor(random.uniform(0.6, 3, 9)) for _ in range(2))
    extra = [0.3] if name == "lerp" else []

    def function(x, y):
        return getattr(plait, name)(x, y, *extra).sum()

    for k in (0, 1):
        slope = plait.grad(function, argnums=k)(x, y).numpy()
        moved = [[v + sign * 1e-6 * (j == k) for j, v in enumerate((x, y))] for sign in (1, -1)]
        parts = [getattr(plait, name)(*m, *extra).numpy() for m in moved]
        np.testing.assert_allclose(slope, (parts[0] - parts[1]) / 2e-6, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("name", ["remainder", "fmod"])
def test_quotients_in_derivatives_do_not_round_across_an_integer(name: str) -> None:
    y = plait.tensor([-0.061, 0.061], dtype="float16", requires_grad=True)
    x = plait.tensor([-8.48, 8.48], dtype="float16")  # 138.95 divisors; 139 in 16 bits
    getattr(plait, name)(x, y).sum().backward()
    assert y.grad is not None and y.grad.tolist() == [-138, -138]
