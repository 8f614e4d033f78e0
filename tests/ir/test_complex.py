"""Complex functions, against NumPy's in wider arithmetic, and C99's special values."""

from __future__ import annotations

import numpy as np
import pytest
from evaluating import Compiled, ulp_error

from plait.core.dtype import float32, float64
from plait.ir import complex as functions
from plait.ir.complex import Complex

FLOATS = pytest.mark.parametrize("dtype", (float32, float64), ids=lambda d: d.name)
HAS_LONG_DOUBLE = np.finfo(np.longdouble).nmant > 60
SIZE = 3000
NAMES = {
    "exp": np.exp, "log": np.log, "log2": np.log2, "log10": np.log10, "sqrt": np.sqrt, "sin": np.sin, "cos": np.cos,
    "tan": np.tan, "sinh": np.sinh, "cosh": np.cosh, "tanh": np.tanh, "asin": np.arcsin, "acos": np.arccos,
    "atan": np.arctan, "asinh": np.arcsinh, "acosh": np.arccosh, "atanh": np.arctanh, "expm1": np.expm1,
    "log1p": np.log1p, "abs": np.abs, "rsqrt": lambda z: 1 / np.sqrt(z), "reciprocal": lambda z: 1 / z,
    "sign": lambda z: np.exp(1j * np.angle(z)), "logistic": lambda z: 1 / (1 + np.exp(-z)),
}  # fmt: skip
# each part in ulp of its own, for the functions whose parts never cancel
PARTS = {
    "exp": 3, "log": 6, "sqrt": 3, "sin": 4, "cos": 4, "tan": 9, "sinh": 4, "cosh": 4, "tanh": 9, "asin": 6, "acos": 6,
    "atan": 5, "asinh": 6, "acosh": 6, "atanh": 5, "abs": 2,
}  # fmt: skip
# where NumPy's answer is NaN, or not C99's
UNSPECIFIED = {
    "tan": lambda z: ~np.isfinite(z.real), "tanh": lambda z: ~np.isfinite(z.imag), "sqrt": np.isnan,
    "asin": np.isnan, "acos": np.isnan, "atan": np.isnan, "asinh": np.isnan, "acosh": np.isnan, "atanh": np.isnan,
}  # fmt: skip
_compiled = {}


def compiled(function, dtype, count=1):
    """`f(*complex arrays)` for a function of `Complex`, or a name in ir/complex.py; compiled once."""
    if (function, dtype) not in _compiled:
        body = getattr(functions, function) if isinstance(function, str) else function

        def parts(*operands):
            z = body(*(Complex(*operands[k : k + 2]) for k in range(0, 2 * count, 2)))
            return (z.re, z.im) if isinstance(z, Complex) else (z,)

        _compiled[function, dtype] = Compiled(parts, dtype, 2 * count)
    machine = _compiled[function, dtype]

    def call(*arrays):
        results = machine(*(part for z in arrays for part in (z.real, z.imag)))
        return join(*results) if len(results) == 2 else results[0]

    return call


def join(re, im):
    """re + i im, without arithmetic on infinities."""
    z = np.empty(np.broadcast(re, im).shape, f"c{2 * re.dtype.itemsize}")
    z.real, z.imag = re, im
    return z


def wide(z):
    """z in the dtype that judges it."""
    return z.astype(np.complex128 if z.dtype == np.complex64 else np.clongdouble)


def samples(dtype, seed=0):
    """Ordinary numbers, large and small ones, and some next to the unit circle and to the real axis."""
    random = np.random.default_rng(seed)
    turn = np.exp(1j * random.uniform(-np.pi, np.pi, SIZE))
    z = np.concatenate([
        random.standard_normal(SIZE) + 1j * random.standard_normal(SIZE),
        random.uniform(-80, 80, SIZE) + 1j * random.uniform(-80, 80, SIZE),
        np.exp(random.uniform(-40, 40, SIZE)) * turn,
        (1 + 1e-3 * random.standard_normal(SIZE)) * turn,
        random.uniform(-2, 2, SIZE) + 1j * random.uniform(-1e-4, 1e-4, SIZE),
    ])  # fmt: skip
    return z.astype(f"c{2 * dtype.itemsize}")


def specials(dtype):
    """All pairs of zeros, infinities, NaN and a few numbers."""
    values = np.array([0.0, -0.0, 1, -1, 0.5, 2, -2, 300, -300, np.inf, -np.inf, np.nan], dtype.numpy)
    re, im = (v.ravel() for v in np.meshgrid(values, values))
    return join(re, im)


@pytest.fixture(autouse=True)
def quiet():
    """Infinities and NaN are part of the samples."""
    with np.errstate(all="ignore"):
        yield


@FLOATS
@pytest.mark.parametrize("name", NAMES)
def test_against_numpy(name, dtype):
    """The distance from the exact number, relative to its size, in ulp; and that of each part."""
    if dtype is float64 and not HAS_LONG_DOUBLE:
        pytest.skip("no wider dtype")
    z = samples(dtype)
    if name in ("log1p", "logistic"):
        # NumPy cancels near 0; the poles of logistic are ill conditioned
        z = z[(np.abs(z) > 0.5) & (np.abs(z.real) > 0.1)]
    got, exact = compiled(name, dtype)(z), NAMES[name](wide(z))
    info = np.finfo(dtype.numpy)
    kept = (np.abs(exact) < info.max) & (np.abs(exact) > info.smallest_normal)
    error = np.abs(got - exact)[kept] / np.abs(exact)[kept] / info.eps
    assert error.max() <= 4, f"{name}({z[kept][error.argmax()]}): {error.max():.2f}"
    if name in PARTS:
        for g, e in ((got.real, exact.real), (got.imag, exact.imag)):
            part = ulp_error(g.astype(dtype.numpy), e)[kept]
            assert part.max() <= PARTS[name], f"{name}({z[kept][part.argmax()]}): {part.max():.2f} ulp"


@pytest.mark.parametrize("name", [n for n in PARTS if n != "abs"])
def test_special_values(name):
    """Branch cuts, signed zeros and infinities as in NumPy."""
    z = specials(float64)
    got, want = compiled(name, float64)(z), NAMES[name](z)
    kept = ~UNSPECIFIED.get(name, lambda z: np.zeros(z.shape, bool))(z)
    # C99 leaves signs open beside a NaN and where both parts are infinite
    is_open = np.isnan(want) | np.isnan(z) | (np.isinf(z.real) & np.isinf(z.imag))
    for g, w in ((got.real, want.real), (got.imag, want.imag)):
        equal = np.isclose(g, w, rtol=1e-14, atol=0, equal_nan=True) & (np.signbit(g) == np.signbit(w))
        close = equal | (is_open & np.isclose(np.abs(g), np.abs(w), rtol=1e-14, atol=0, equal_nan=True))
        wrong = np.nonzero(kept & ~close)[0]
        assert not len(wrong), f"{name}({z[wrong[:4]]}): {got[wrong[:4]]}, expected {want[wrong[:4]]}"


@FLOATS
def test_large_and_small(dtype):
    """Nothing overflows or vanishes on the way."""
    big = np.finfo(dtype.numpy).max / 2
    tiny = np.finfo(dtype.numpy).smallest_normal
    z = np.array([complex(big, big), complex(-big, 1), complex(tiny, tiny), complex(0, tiny / 4)]).astype(
        f"c{2 * dtype.itemsize}"
    )
    rtol = 4 * np.finfo(dtype.numpy).eps
    for name in ("abs", "sqrt", "log", "asinh", "acosh", "atanh", "asin", "acos", "sign"):
        got, want = compiled(name, dtype)(z), NAMES[name](wide(z))
        np.testing.assert_allclose(got, want, rtol=rtol, err_msg=name)
    quotient = compiled(lambda a, b: a / b, dtype, 2)(z, z)
    np.testing.assert_allclose(quotient, 1, rtol=rtol)


@FLOATS
def test_arithmetic(dtype):
    """+ - * / and comparisons, with real and Python operands too."""
    a, b = samples(dtype, 1)[:SIZE], samples(dtype, 2)[:SIZE]
    rtol = 4 * np.finfo(dtype.numpy).eps
    for operation in (
        lambda x, y: x + y,
        lambda x, y: x - y,
        lambda x, y: x * y,
        lambda x, y: x / y,
        lambda x, y: -x * 2 + 1.5,
        lambda x, y: 1 / y - (0.5 + 2j) * x,
    ):
        got, want = compiled(operation, dtype, 2)(a, b), operation(wide(a), wide(b))
        # relative to the operands: sums may cancel
        assert (np.abs(got - want) <= rtol * (np.abs(want) + np.abs(a) + np.abs(b) + 1 / np.abs(b))).all()
    assert compiled(lambda x, y: x.eq(y), dtype, 2)(a, np.where(a.real > 0, a, b)).tolist() == (a.real > 0).tolist()
    assert compiled(lambda x, y: x.ne(y.conj()), dtype, 2)(a, a).tolist() == (a.imag != 0).tolist()
    with_real = compiled(lambda x: x * x.re, dtype)(a)
    np.testing.assert_allclose(with_real, a * a.real, rtol=rtol)


def test_division_by_zero():
    """Infinities and NaN as in NumPy."""
    z = np.array([1 + 2j, -1 + 0j, 0j, complex(np.inf, 1)])
    got, want = compiled(lambda a, b: a / b, float64, 2)(z, np.zeros(4, complex)), z / 0j
    assert ((got.real == want.real) | np.isnan(want.real)).all()
    assert (np.isnan(got) == np.isnan(want)).all()


@FLOATS
def test_powers(dtype):
    """pow and integer_pow, and zeros."""
    z, w = samples(dtype, 3)[:SIZE], samples(dtype, 4)[:SIZE]
    rtol = 2e-6 if dtype is float32 else 2e-13
    np.testing.assert_allclose(compiled("pow", dtype, 2)(z, w), np.power(wide(z), wide(w)), rtol=rtol)
    for exponent in (0, 1, 2, 3, 7, -1, -2):
        got = compiled(lambda x, n=exponent: functions.integer_pow(x, n), dtype)(z)
        np.testing.assert_allclose(got, wide(z) ** exponent, rtol=rtol)
    zero = np.zeros(3, z.dtype)
    got = compiled("pow", dtype, 2)(zero, np.array([0, 2, -1], z.dtype))
    assert got[:2].tolist() == [1, 0]
    assert np.isnan(got[2])


def test_small_differences():
    """expm1 and log1p near 0, where their parts are as small as their operand."""
    z = np.array([1e-9 + 1e-9j, 1e-20 - 1e-18j, -1e-12 + 3e-12j])
    np.testing.assert_allclose(compiled("expm1", float64)(z), z + z * z / 2, rtol=1e-15)
    got, want = compiled("log1p", float64)(z), z - z * z / 2
    np.testing.assert_allclose(got, want, rtol=1e-15)
    np.testing.assert_allclose(got.real, want.real, rtol=1e-15)


def test_operand_is_stored_once():
    """A conjugate product is real, exactly: no fused multiply-add breaks the symmetry."""
    z = samples(float32, 5)
    assert (compiled(lambda x: x * x.conj(), float32)(z).imag == 0).all()
