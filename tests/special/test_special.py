"""Special functions against SciPy: values in float32 and float64, edges, derivatives, wrong arguments."""

from __future__ import annotations

import numpy as np
import pytest

import plait
from plait import special
from plait.core.errors import ArgumentError, DTypeError, GradientError

scipy = pytest.importorskip("scipy.special")

# name here, reference, range; the reference of a polynomial takes its degree first
UNARY = {
    "bessel_j0": (scipy.j0, -30, 30), "bessel_j1": (scipy.j1, -30, 30), "bessel_y0": (scipy.y0, 0.01, 30),
    "bessel_y1": (scipy.y1, 0.01, 30), "modified_bessel_i0": (scipy.i0, -30, 30), "i1": (scipy.i1, -30, 30),
    "i0e": (scipy.i0e, -99, 99), "i1e": (scipy.i1e, -99, 99), "modified_bessel_k0": (scipy.k0, 0.01, 50),
    "modified_bessel_k1": (scipy.k1, 0.01, 50), "scaled_modified_bessel_k0": (scipy.k0e, 0.01, 99),
    "scaled_modified_bessel_k1": (scipy.k1e, 0.01, 99), "airy_ai": (lambda x: scipy.airy(x)[0], -20, 9),
    "spherical_bessel_j0": (lambda x: np.sinc(x / np.pi), -20, 20), "sinc": (np.sinc, -9, 9),
    "erfcx": (scipy.erfcx, -4, 99), "ndtr": (scipy.ndtr, -9, 9), "log_ndtr": (scipy.log_ndtr, -50, 9),
    "ndtri": (scipy.ndtri, 1e-6, 1), "entr": (scipy.entr, 0.0, 9), "gammaln": (scipy.gammaln, 0.1, 30),
    "psi": (scipy.digamma, 0.1, 30), "expit": (scipy.expit, -20, 20), "logit": (scipy.logit, 0.01, 0.99),
}  # fmt: skip
BINARY = {
    "gammainc": (scipy.gammainc, (0.01, 60), (0.01, 60)), "gammaincc": (scipy.gammaincc, (0.01, 60), (0.01, 60)),
    "zeta": (scipy.zeta, (1.01, 20), (0.05, 50)), "xlogy": (scipy.xlogy, (-3, 3), (0.1, 9)),
    "xlog1py": (scipy.xlog1py, (-3, 3), (-0.9, 9)),
}  # fmt: skip
POLYNOMIALS = {
    "chebyshev_polynomial_t": scipy.eval_chebyt, "chebyshev_polynomial_u": scipy.eval_chebyu,
    "shifted_chebyshev_polynomial_t": scipy.eval_sh_chebyt, "shifted_chebyshev_polynomial_u": scipy.eval_sh_chebyu,
    "hermite_polynomial_h": scipy.eval_hermite, "hermite_polynomial_he": scipy.eval_hermitenorm,
    "laguerre_polynomial_l": scipy.eval_laguerre, "legendre_polynomial_p": scipy.eval_legendre,
}  # fmt: skip
TOLERANCE = {"float32": 3e-6, "float64": 1e-12}


def close(got, want, dtype):
    """Compare relative to the value, and near zeros to the size of the function."""
    np.testing.assert_allclose(got, want, rtol=TOLERANCE[dtype], atol=TOLERANCE[dtype] * min(1, np.abs(want).max()))


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("name", UNARY)
def test_unary(name, dtype):
    reference, low, high = UNARY[name]
    x = np.random.default_rng(0).uniform(low, high, 301).astype(dtype)
    close(getattr(special, name)(plait.tensor(x)).numpy(), reference(x.astype(np.float64)), dtype)


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("name", BINARY)
def test_binary_broadcasts(name, dtype):
    reference, first, second = BINARY[name]
    random = np.random.default_rng(0)
    x, y = random.uniform(*first, (17, 1)).astype(dtype), random.uniform(*second, 13).astype(dtype)
    close(
        getattr(special, name)(plait.tensor(x), plait.tensor(y)).numpy(),
        reference(*np.float64([x + 0 * y, y + 0 * x])),
        dtype,
    )


@pytest.mark.parametrize("name", POLYNOMIALS)
def test_polynomials_of_every_degree(name):
    x = np.concatenate([np.random.default_rng(0).uniform(-1, 1, 9), [-1.0, 0.0, 1.0, 1.5]])
    degree = np.arange(15.0)[:, None]
    want = POLYNOMIALS[name](degree.astype(int), x)
    got = getattr(special, name)(plait.tensor(x), plait.tensor(degree)).numpy()
    np.testing.assert_allclose(got, want, rtol=1e-11, atol=1e-12)
    assert getattr(special, name)(plait.tensor(x), -1).numpy().tolist() == [0.0] * x.size
    np.testing.assert_allclose(
        getattr(special, name)(plait.tensor(x), 3.7).numpy(), POLYNOMIALS[name](3, x), rtol=1e-11
    )


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("order", [0, 1, 2, 3, 6, 11])
def test_polygamma_on_both_sides(order, dtype):
    x = np.concatenate([np.random.default_rng(0).uniform(0.1, 30, 40)]).astype(dtype)
    close(plait.polygamma(order, plait.tensor(x)).numpy(), scipy.polygamma(order, x.astype(np.float64)), dtype)
    # psi(x) = psi(x + 1) - (-1)^n n! / x^(n + 1), also left of 0
    left = plait.tensor(np.random.default_rng(1).uniform(-8.9, -0.1, 20))
    step = (-1.0) ** order * float(scipy.factorial(order)) / left ** (order + 1)
    got, want = plait.polygamma(order, left).numpy(), (plait.polygamma(order, left + 1) - step).numpy()
    np.testing.assert_allclose(got, want, rtol=1e-9)


def test_uniform_expansion_of_the_incomplete_gamma_function():
    a = np.array([1e3, 1e5, 1e8, 1e12])
    for shift in (-3.0, 0.0, 2.0):
        x = a + shift * np.sqrt(a)
        got = special.gammainc(plait.tensor(a), plait.tensor(x)).numpy()
        np.testing.assert_allclose(got, scipy.gammainc(a, x), rtol=1e-9)


EDGES = {
    "entr": ([0.0, -1.0], [0.0, -np.inf]), "ndtri": ([0.0, 1.0, 2.0], [-np.inf, np.inf, np.nan]),
    "erfcx": ([np.inf, -np.inf, -30.0], [0.0, np.inf, np.inf]), "bessel_j0": ([np.inf, 0.0], [0.0, 1.0]),
    "bessel_y0": ([0.0, -1.0, np.inf], [-np.inf, np.nan, 0.0]), "modified_bessel_k1": ([0.0, np.inf], [np.inf, 0.0]),
    "modified_bessel_i0": ([np.inf, -np.inf], [np.inf, np.inf]), "i1": ([-np.inf, 0.0], [-np.inf, 0.0]),
    "airy_ai": ([np.inf, -np.inf], [0.0, 0.0]), "sinc": ([0.0, np.inf, 3.0], [1.0, 0.0, 0.0]),
    "log_ndtr": ([-np.inf, np.inf], [-np.inf, 0.0]), "spherical_bessel_j0": ([0.0, np.inf], [1.0, 0.0]),
}  # fmt: skip


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("name", EDGES)
def test_edges(name, dtype):
    x, want = EDGES[name]
    got = getattr(special, name)(plait.tensor([*x, float("nan")], dtype=dtype)).numpy()
    np.testing.assert_array_equal(got, np.array([*want, np.nan], dtype))


def test_products_with_logarithms_vanish_with_their_factor():
    x, y = plait.tensor([0.0, 0.0, 0.0]), plait.tensor([0.0, -1.0, float("nan")])
    np.testing.assert_array_equal(plait.xlogy(x, y).numpy(), np.array([0.0, 0.0, np.nan], np.float32))
    assert plait.grad(lambda x: plait.xlogy(x, y[:2]).sum())(x[:2]).tolist() == [0.0, 0.0]


DIFFERENTIABLE = [n for n in UNARY if n not in ("entr", "ndtri", "logit")]


@pytest.mark.parametrize("name", DIFFERENTIABLE)
def test_derivatives(name):
    _, low, high = UNARY[name]
    x = np.random.default_rng(0).uniform(max(low, -5), min(high, 5), 20)
    function = getattr(special, name)
    slope = plait.grad(lambda x: function(x).sum())(plait.tensor(x)).numpy()
    step = 1e-6
    want = (function(plait.tensor(x + step)) - function(plait.tensor(x - step))).numpy() / (2 * step)
    np.testing.assert_allclose(slope, want, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("name", ["gammainc", "gammaincc", "zeta"])
def test_derivatives_by_the_second_argument_only(name):
    a, x = plait.tensor([1.5, 3.0], dtype="float64"), plait.tensor([0.7, 2.5], dtype="float64")
    function = getattr(special, name)
    slope = plait.grad(lambda x: function(a, x).sum())(x).numpy()
    want = (function(a, x + 1e-6) - function(a, x - 1e-6)).numpy() / 2e-6
    np.testing.assert_allclose(slope, want, rtol=1e-6)
    with pytest.raises(GradientError, match="no derivative by its first argument"):
        plait.grad(lambda a: function(a, x).sum())(a)


def test_composition_with_transforms():
    x = plait.tensor(np.linspace(0.1, 4, 12).reshape(3, 4))

    def function(x):
        return special.gammainc(x, x + 1) + special.zeta(x + 1.5, 2.0) + special.hermite_polynomial_h(x, 3.0)

    want = function(x).numpy()
    np.testing.assert_allclose(plait.jit(function)(x).numpy(), want, rtol=1e-13)
    np.testing.assert_allclose(plait.vmap(function)(x).numpy(), want, rtol=1e-13)


@pytest.mark.parametrize("name", sorted(set(UNARY) | set(BINARY) | set(POLYNOMIALS)))
def test_integers_empty_and_rank_0(name):
    operands = [plait.ones((), dtype="int64"), *([2] if name not in UNARY else [])]
    result = getattr(special, name)(*operands)
    assert result.shape == () and result.dtype is plait.float32
    empty = getattr(special, name)(plait.zeros(0, 3), *operands[1:])
    assert empty.shape == (0, 3)


def test_wrong_arguments():
    with pytest.raises(ArgumentError, match="polygamma has an order"):
        plait.polygamma(-1, plait.ones(2))
    with pytest.raises(ArgumentError, match="dimension"):
        plait.mvlgamma(plait.ones(2), 0)
    with pytest.raises(DTypeError, match="does not take complex64"):
        special.erfcx(plait.ones(2, dtype="complex64"))
