"""The elementary functions, against wider arithmetic: errors within `BOUNDS`, and right special values."""

from __future__ import annotations

import numpy as np
import pytest
from evaluating import Compiled, samples, specials, ulp_error

from plait.core.dtype import float32, float64, int8, int32, int64, uint8
from plait.ir import math
from plait.ir.coefficients import SIN
from plait.ir.machine import writing_for

scipy_special = pytest.importorskip("scipy.special")
FLOATS = pytest.mark.parametrize("dtype", (float32, float64), ids=lambda d: d.name)
HAS_LONG_DOUBLE = np.finfo(np.longdouble).nmant > 60
SIZE = 4000


def logistic(x):
    """1 / (1 + e^-x), without overflow."""
    e = np.exp(-np.abs(x))
    return np.where(x < 0, e, 1) / (1 + e)


NUMPY = {
    "exp": np.exp, "exp2": np.exp2, "expm1": np.expm1, "log": np.log, "log2": np.log2, "log10": np.log10,
    "log1p": np.log1p, "sqrt": np.sqrt, "rsqrt": lambda x: 1 / np.sqrt(x), "cbrt": np.cbrt, "sin": np.sin,
    "cos": np.cos, "tan": np.tan, "asin": np.arcsin, "acos": np.arccos, "atan": np.arctan, "sinh": np.sinh,
    "cosh": np.cosh, "tanh": np.tanh, "asinh": np.arcsinh, "acosh": np.arccosh, "atanh": np.arctanh,
    "logistic": logistic,
}  # fmt: skip
SCIPY = {
    "erf": scipy_special.erf, "erfc": scipy_special.erfc, "erfinv": scipy_special.erfinv,
    "lgamma": lambda x: np.where(np.isinf(x), np.inf, scipy_special.gammaln(x)), "digamma": scipy_special.digamma,
}  # fmt: skip
BINARY = {"pow": np.power, "atan2": np.arctan2, "rem": np.fmod}
_compiled = {}


def compiled(name, dtype, count=1):
    """The function in machine code, compiled once."""
    if (name, dtype) not in _compiled:
        function = getattr(math, name)
        _compiled[name, dtype] = Compiled(lambda *operands: (function(*operands),), dtype, count)
    return _compiled[name, dtype]


def wide(x):
    """x in the dtype that judges it."""
    return x.astype(np.float64 if x.dtype == np.float32 else np.longdouble)


def check(name, dtype, got, exact, operands, slack=0.0):
    """Fail with the operands of the largest error."""
    error = ulp_error(got, exact)
    worst = np.argmax(error)
    bound = math.BOUNDS[name][dtype is float64] + slack
    where = ", ".join(repr(x[worst]) for x in operands)
    assert error[worst] <= bound, (
        f"{name}({where}) = {got[worst]!r}, expected {exact[worst]!r}: {error[worst]:.2f} ulp > {bound}"
    )


def same(got, want):
    """Equal, where any NaN equals any NaN and -0 differs from 0."""
    return (np.isnan(got) & np.isnan(want)) | ((got == want) & (np.signbit(got) == np.signbit(want)))


@pytest.fixture(autouse=True)
def quiet():
    """Infinities and NaN are part of the samples."""
    with np.errstate(all="ignore"):
        yield


def test_every_bound_is_tested():
    """No function is forgotten."""
    assert set(math.BOUNDS) == {*NUMPY, *SCIPY, *BINARY}


@FLOATS
@pytest.mark.parametrize("name", NUMPY)
def test_against_numpy(name, dtype):
    """All magnitudes, signs and special values."""
    if dtype is float64 and not HAS_LONG_DOUBLE:
        pytest.skip("no wider dtype")
    x = samples(dtype.numpy, SIZE)
    (got,), exact = compiled(name, dtype)(x), NUMPY[name](wide(x))
    check(name, dtype, got, exact, (x,))
    zero = (got == 0) & (exact == 0)
    assert (np.signbit(got) == np.signbit(exact))[zero].all()


@pytest.mark.parametrize("name", SCIPY)
def test_against_scipy_in_float32(name):
    """SciPy's float64 judges float32."""
    x = samples(np.float32, SIZE)
    if name in ("lgamma", "digamma"):
        # at their poles the two differ in convention
        x = x[~((x <= 0) & (x == np.rint(x)))]
    (got,) = compiled(name, float32)(x)
    check(name, float32, got, SCIPY[name](wide(x)), (x,), slack=0.1)


@FLOATS
@pytest.mark.parametrize("name", ("tanh", "erf", "erfc"))
def test_without_lookups(name, dtype):
    """The ways to compute where tables are slow."""
    with writing_for(lookups=False):
        function = Compiled(lambda x: (getattr(math, name)(x),), dtype, 1)
        x = samples(dtype.numpy, SIZE)
        assert same(function.interpreted(x[:200])[0], function(x[:200])[0]).all()
    if dtype is float32:
        check(name, dtype, function(x)[0], {**NUMPY, **SCIPY}[name](wide(x)), (x,), slack=0.1)
    else:
        x = x[np.abs(x) < 6]
        np.testing.assert_allclose(function(x)[0], {**NUMPY, **SCIPY}[name](x), rtol=6e-15)


@pytest.mark.parametrize("name", SCIPY)
def test_against_scipy_in_float64(name):
    """SciPy's own errors are of some ulp, and relative to the larger terms near zeros."""
    limits = {"erfinv": (-1, 1), "lgamma": (-9, 30), "digamma": (0, 30)}.get(name, (-6, 6))
    x = np.random.default_rng(1).uniform(*limits, SIZE)
    (got,) = compiled(name, float64)(x)
    np.testing.assert_allclose(got, SCIPY[name](x), rtol=6e-15, atol=6e-15 if name in ("lgamma", "digamma") else 0)


@pytest.mark.parametrize("name", SCIPY)
def test_against_mpmath(name):
    """The bound of float64 where the result is well conditioned."""
    mpmath = pytest.importorskip("mpmath")
    limits = {"erf": (-6, 6), "erfc": (-6, 26), "erfinv": (-1, 1), "lgamma": (0, 30), "digamma": (2, 30)}[name]
    x = np.random.default_rng(2).uniform(*limits, 300)
    with mpmath.workprec(120):
        reference = getattr(mpmath, {"lgamma": "loggamma"}.get(name, name))
        exact = [reference(mpmath.mpf(v)) for v in x.tolist()]
        exact = np.array([np.longdouble(float(v)) + np.longdouble(float(v - float(v))) for v in exact])
    (got,) = compiled(name, float64)(x)
    check(name, float64, got, exact, (x,))


@FLOATS
@pytest.mark.parametrize("name", BINARY)
def test_of_two_operands(name, dtype):
    """Powers, angles and remainders over all magnitudes, and every pair of special values."""
    if dtype is float64 and not HAS_LONG_DOUBLE:
        pytest.skip("no wider dtype")
    random, special = np.random.default_rng(3), specials(dtype.numpy)
    a, b = (v.ravel() for v in np.meshgrid(special, special))
    if name == "pow":
        x = [
            np.exp(random.uniform(-80, 80, SIZE)),
            1 + random.uniform(-1e-3, 1e-3, SIZE),
            random.uniform(-50, 50, SIZE),
        ]
        y = [random.uniform(-10, 10, SIZE), random.uniform(-1e5, 1e5, SIZE), random.integers(-50, 50, SIZE)]
    else:
        x, y = [samples(dtype.numpy, SIZE // 4, 4)], [random.permutation(samples(dtype.numpy, SIZE // 4, 5))]
    x, y = (np.concatenate([*v, w]).astype(dtype.numpy) for v, w in ((x, a), (y, b)))
    if name == "rem" and dtype is float64:
        keep = ~(np.isfinite(x) & np.isfinite(y) & (np.abs(wide(x)) > np.abs(wide(y)) * 2.0**280)) | (y == 0)
        x, y = x[keep], y[keep]
    (got,) = compiled(name, dtype, 2)(x, y)
    exact = BINARY[name](wide(x), wide(y))
    check(name, dtype, got, exact, (x, y))
    zero = (got == 0) & (exact == 0)
    assert (np.signbit(got) == np.signbit(exact))[zero].all()


@FLOATS
def test_large_angles(dtype):
    """Reduction keeps its relative accuracy where the angle is next to a multiple of pi/2."""
    if dtype is float64 and not HAS_LONG_DOUBLE:
        pytest.skip("no wider dtype")
    n = np.unique(
        np.exp(np.random.default_rng(6).uniform(0, 80 if dtype is float32 else 600, SIZE)).astype(dtype.numpy)
    )
    near = (np.arange(1, SIZE, dtype=np.longdouble) * (np.longdouble(np.pi) / 2)).astype(dtype.numpy)
    # the angles nearest to multiples of pi/2, after J.-M. Muller
    hardest = np.array([16367173 * 2.0**72 if dtype is float32 else 6381956970095103 * 2.0**797], dtype.numpy)
    x = np.concatenate([n, near])
    for name in ("sin", "cos", "tan"):
        check(name, dtype, compiled(name, dtype)(x)[0], NUMPY[name](wide(x)), (x,))
    cosine = -1.6147697982476e-9 if dtype is float32 else -4.68716592425462761112e-19
    np.testing.assert_allclose(compiled("cos", dtype)(hardest)[0], cosine, rtol=1e-7 if dtype is float32 else 4e-16)


@FLOATS
@pytest.mark.parametrize("name", (*NUMPY, *SCIPY, *BINARY, "nextafter"))
def test_interpreter_agrees(name, dtype):
    """The interpreter and the machine give the same bits."""
    count = 2 if name in BINARY or name == "nextafter" else 1
    operands = [samples(dtype.numpy, 25, seed) for seed in range(count)]
    function = compiled(name, dtype, count)
    assert same(function.interpreted(*operands)[0], function(*operands)[0]).all()


@FLOATS
def test_nextafter(dtype):
    """Every pair of special values."""
    x, y = (v.ravel() for v in np.meshgrid(specials(dtype.numpy), specials(dtype.numpy)))
    assert same(compiled("nextafter", dtype, 2)(x, y)[0], np.nextafter(x, y)).all()


def test_rem_states_its_domain():
    """NaN where the quotient is too large for the steps taken."""
    assert np.isnan(compiled("rem", float64, 2)(np.array([1e300]), np.array([3e-5]))[0]).all()


@FLOATS
def test_sign_and_is_finite(dtype):
    """Zeros and NaN stay."""
    x = specials(dtype.numpy)
    want = np.where(x > 0, 1, np.where(x < 0, -1, x))
    assert same(compiled("sign", dtype)(x)[0], want).all()
    assert (compiled("is_finite", dtype)(x)[0] == np.isfinite(x)).all()


@pytest.mark.parametrize("dtype", (int8, int32, int64, uint8), ids=lambda d: d.name)
def test_integers_pow(dtype):
    """Wraps as multiplication does; negative exponents truncate the reciprocal."""
    random = np.random.default_rng(7)
    x = random.integers(-9 if dtype.kind == "i" else 0, 10, 500).astype(dtype.numpy)
    y = random.integers(0, 70, 500).astype(dtype.numpy)
    function = compiled("integers_pow", dtype, 2)
    np.testing.assert_array_equal(function(x, y)[0], x**y)
    if dtype.kind == "i":
        bases, exponents = (
            np.array([1, 1, -1, -1, 2, 0, -3], dtype.numpy),
            np.array([-3, -2, -3, -2, -1, -1, -5], dtype.numpy),
        )
        assert function(bases, exponents)[0].tolist() == [1, 1, -1, 1, 0, 0, 0]


@FLOATS
def test_integer_pow(dtype):
    """Constant exponents, negative ones too; exact where the product is."""
    x = np.array([3, -2, 0.5], dtype.numpy)
    for exponent in (0, 1, 2, 3, 7, 10, -1, -3):
        power = Compiled(lambda x, n=exponent: (math.integer_pow(x, n),), dtype, 1)
        np.testing.assert_array_equal(
            power(x)[0], x ** dtype.numpy.type(exponent) if exponent >= 0 else 1 / x**-exponent
        )


@FLOATS
def test_poly_starts_with_the_lowest_order(dtype):
    """poly(0) is the first coefficient."""
    polynomial = Compiled(lambda x: (math.poly(x, SIN[dtype]),), dtype, 1)
    assert polynomial(np.zeros(1, dtype.numpy))[0][0] == dtype.numpy.type(SIN[dtype][0])
