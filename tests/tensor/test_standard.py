"""The Python Array API standard: names and signatures, special values, promotion, inspection, errors."""

from __future__ import annotations

import inspect
import itertools
import re

import numpy as np
import pytest

import plait
from plait.core.errors import ArgumentError, AxisError, DTypeError, ShapeError

FUNCTIONS = """
abs(x, /) acos(x, /) acosh(x, /) add(x1, x2, /) asin(x, /) asinh(x, /) atan(x, /) atan2(x1, x2, /) atanh(x, /)
bitwise_and(x1, x2, /) bitwise_left_shift(x1, x2, /) bitwise_invert(x, /) bitwise_or(x1, x2, /)
bitwise_right_shift(x1, x2, /) bitwise_xor(x1, x2, /) ceil(x, /) clip(x, /, min=None, max=None) conj(x, /)
copysign(x1, x2, /) cos(x, /) cosh(x, /) divide(x1, x2, /) equal(x1, x2, /) exp(x, /) expm1(x, /) floor(x, /)
floor_divide(x1, x2, /) greater(x1, x2, /) greater_equal(x1, x2, /) hypot(x1, x2, /) imag(x, /) isfinite(x, /)
isinf(x, /) isnan(x, /) less(x1, x2, /) less_equal(x1, x2, /) log(x, /) log1p(x, /) log2(x, /) log10(x, /)
logaddexp(x1, x2, /) logical_and(x1, x2, /) logical_not(x, /) logical_or(x1, x2, /) logical_xor(x1, x2, /)
maximum(x1, x2, /) minimum(x1, x2, /) multiply(x1, x2, /) negative(x, /) nextafter(x1, x2, /) not_equal(x1, x2, /)
positive(x, /) pow(x1, x2, /) real(x, /) reciprocal(x, /) remainder(x1, x2, /) round(x, /) sign(x, /) signbit(x, /)
sin(x, /) sinh(x, /) square(x, /) sqrt(x, /) subtract(x1, x2, /) tan(x, /) tanh(x, /) trunc(x, /)
arange(start, /, stop=None, step=1, *, dtype=None, device=None)
asarray(obj, /, *, dtype=None, device=None, copy=None)
empty(shape, *, dtype=None, device=None) empty_like(x, /, *, dtype=None, device=None)
eye(n_rows, n_cols=None, /, *, k=0, dtype=None, device=None) from_dlpack(x, /, *, device=None, copy=None)
full(shape, fill_value, *, dtype=None, device=None) full_like(x, /, fill_value, *, dtype=None, device=None)
linspace(start, stop, /, num, *, dtype=None, device=None, endpoint=True) meshgrid(*arrays, indexing="xy")
ones(shape, *, dtype=None, device=None) ones_like(x, /, *, dtype=None, device=None) tril(x, /, *, k=0)
triu(x, /, *, k=0) zeros(shape, *, dtype=None, device=None) zeros_like(x, /, *, dtype=None, device=None)
astype(x, dtype, /, *, copy=True, device=None) can_cast(from_, to, /) finfo(type, /) iinfo(type, /)
isdtype(dtype, kind) result_type(*arrays_and_dtypes) __array_namespace_info__()
take(x, indices, /, *, axis=None) take_along_axis(x, indices, /, *, axis=-1)
matmul(x1, x2, /) matrix_transpose(x, /) tensordot(x1, x2, /, *, axes=2) vecdot(x1, x2, /, *, axis=-1)
broadcast_arrays(*arrays) broadcast_shapes(*shapes) broadcast_to(x, /, shape) concat(arrays, /, *, axis=0)
expand_dims(x, /, axis) flip(x, /, *, axis=None) moveaxis(x, source, destination, /) permute_dims(x, /, axes)
repeat(x, repeats, /, *, axis=None) reshape(x, /, shape, *, copy=None) roll(x, /, shift, *, axis=None)
squeeze(x, /, axis) stack(arrays, /, *, axis=0) tile(x, repetitions, /) unstack(x, /, *, axis=0)
argmax(x, /, *, axis=None, keepdims=False) argmin(x, /, *, axis=None, keepdims=False)
count_nonzero(x, /, *, axis=None, keepdims=False) nonzero(x, /)
searchsorted(x1, x2, /, *, side=None, sorter=None) where(condition, x1, x2, /)
isin(x1, x2, /, *, invert=False) unique_all(x, /) unique_counts(x, /) unique_inverse(x, /) unique_values(x, /)
argsort(x, /, *, axis=-1, descending=False, stable=True) sort(x, /, *, axis=-1, descending=False, stable=True)
cumulative_prod(x, /, *, axis=None, dtype=None, include_initial=False)
cumulative_sum(x, /, *, axis=None, dtype=None, include_initial=False)
max(x, /, *, axis=None, keepdims=False) mean(x, /, *, axis=None, keepdims=False)
min(x, /, *, axis=None, keepdims=False) prod(x, /, *, axis=None, dtype=None, keepdims=False)
std(x, /, *, axis=None, correction=0.0, keepdims=False) sum(x, /, *, axis=None, dtype=None, keepdims=False)
var(x, /, *, axis=None, correction=0.0, keepdims=False) all(x, /, *, axis=None, keepdims=False)
any(x, /, *, axis=None, keepdims=False) diff(x, /, *, axis=-1, n=1, prepend=None, append=None)
linalg.cholesky(x, /, *, upper=False) linalg.cross(x1, x2, /, *, axis=-1) linalg.det(x, /)
linalg.diagonal(x, /, *, offset=0) linalg.eig(x, /) linalg.eigh(x, /) linalg.eigvals(x, /) linalg.eigvalsh(x, /)
linalg.inv(x, /) linalg.matmul(x1, x2, /) linalg.matrix_norm(x, /, *, keepdims=False, ord="fro")
linalg.matrix_power(x, n, /) linalg.matrix_rank(x, /, *, rtol=None) linalg.matrix_transpose(x, /)
linalg.outer(x1, x2, /) linalg.pinv(x, /, *, rtol=None) linalg.qr(x, /, *, mode="reduced") linalg.slogdet(x, /)
linalg.solve(x1, x2, /) linalg.svd(x, /, *, full_matrices=True) linalg.svdvals(x, /)
linalg.tensordot(x1, x2, /, *, axes=2) linalg.trace(x, /, *, offset=0, dtype=None)
linalg.vecdot(x1, x2, /, *, axis=-1) linalg.vector_norm(x, /, *, axis=None, keepdims=False, ord=2)
fft.fft(x, /, *, n=None, axis=-1, norm=None) fft.ifft(x, /, *, n=None, axis=-1, norm=None)
fft.fftn(x, /, *, s=None, axes=None, norm=None) fft.ifftn(x, /, *, s=None, axes=None, norm=None)
fft.rfft(x, /, *, n=None, axis=-1, norm=None) fft.irfft(x, /, *, n=None, axis=-1, norm=None)
fft.rfftn(x, /, *, s=None, axes=None, norm=None) fft.irfftn(x, /, *, s=None, axes=None, norm=None)
fft.hfft(x, /, *, n=None, axis=-1, norm=None) fft.ihfft(x, /, *, n=None, axis=-1, norm=None)
fft.fftfreq(n, /, *, d=1.0, dtype=None, device=None) fft.rfftfreq(n, /, *, d=1.0, dtype=None, device=None)
fft.fftshift(x, /, *, axes=None) fft.ifftshift(x, /, *, axes=None)
"""
METHODS = """
__abs__() __bool__() __complex__() __dlpack_device__() __float__() __index__() __int__() __invert__() __neg__()
__pos__() __array_namespace__(*, api_version=None) __getitem__(key, /) __setitem__(key, value, /)
__dlpack__(*, stream=None, max_version=None, dl_device=None, copy=None) to_device(device, /, *, stream=None)
"""
OPERATORS = "add and eq floordiv ge gt le lshift lt matmul mod mul ne or pow rshift sub truediv xor".split()
COMPARISONS = ("eq", "ge", "gt", "le", "lt", "ne")
SIGNATURE = re.compile(r"(\S+?)\((.*?)\)(?=\s)")
KEYWORD = (inspect.Parameter.KEYWORD_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)


def found(name):
    result = plait
    for part in name.split("."):
        result = getattr(result, part)
    return result


def check_signature(function, text):
    scope = {}
    exec(f"def wanted({text}): ...", scope)
    ours = list(inspect.signature(function).parameters.values())
    wanted = list(inspect.signature(scope["wanted"]).parameters.values())
    by_name = {p.name: p for p in ours}
    for place, parameter in enumerate(wanted):
        if parameter.kind is parameter.KEYWORD_ONLY:
            assert by_name[parameter.name].kind in KEYWORD
            assert by_name[parameter.name].default == parameter.default
        elif parameter.kind is parameter.VAR_POSITIONAL:
            assert ours[place].kind is parameter.kind
        elif parameter.kind is parameter.POSITIONAL_OR_KEYWORD:
            assert ours[place].name == parameter.name


@pytest.mark.parametrize(("name", "text"), SIGNATURE.findall(FUNCTIONS))
def test_function(name, text):
    check_signature(found(name), text)


@pytest.mark.parametrize(("name", "text"), SIGNATURE.findall(METHODS))
def test_method(name, text):
    own = "self" if "/" in text else "self, /"
    check_signature(getattr(plait.Tensor, name), f"{own}, {text}" if text else own)


def test_operators_and_attributes():
    x = plait.ones((2, 3))
    for name in OPERATORS:
        for prefix in [""] if name in COMPARISONS else ["", "r", "i"]:
            assert callable(getattr(plait.Tensor, f"__{prefix}{name}__")), (prefix, name)
    assert (x.ndim, x.shape, x.size, x.device) == (2, (2, 3), 6, "cpu") and x.dtype is plait.float32
    assert x.T.shape == x.mT.shape == (3, 2)
    assert (plait.e, plait.pi, plait.inf) == (np.e, np.pi, np.inf) and plait.nan != plait.nan
    assert plait.newaxis is None and plait.bool is plait.bool_ and plait.__array_api_version__ == "2024.12"
    assert x.__array_namespace__() is x.__array_namespace__(api_version="2025.12") is plait
    assert plait.zeros(shape=(2,)).shape == plait.reshape(x[0, :2], shape=(2,)).shape == (2,)


# special values: NumPy's, which are C99's, but for those that the standard has otherwise

VALUES = [0.0, -0.0, 1.0, -1.0, 0.5, -2.5, 3.0, -2.0, np.inf, -np.inf, np.nan, 1e30, -1e-30]
UNARY = """
abs acos acosh asin asinh atan atanh ceil cos cosh exp expm1 floor isfinite isinf isnan log log1p log2 log10 negative
positive reciprocal round sign signbit sin sinh square sqrt tan tanh trunc
""".split()
BINARY = """
add atan2 copysign divide equal floor_divide greater greater_equal hypot less less_equal logaddexp maximum minimum
multiply nextafter not_equal pow remainder subtract
""".split()
COMPLEX = "acos acosh asin asinh atan atanh cos cosh exp log log2 log10 sinh sqrt tan".split()


def same(ours, theirs):
    close = np.isclose(ours, theirs, rtol=1e-4, atol=0, equal_nan=True)
    return close & ((np.signbit(ours) == np.signbit(theirs)) | np.isnan(theirs)) if ours.dtype.kind == "f" else close


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", UNARY)
def test_special_values_of_one_operand(name, dtype):
    x = np.array(VALUES, dtype)
    with np.errstate(all="ignore"):
        wanted = getattr(np, name)(x)
    ours = getattr(plait, name)(plait.tensor(x)).numpy()
    assert same(ours, wanted).all(), (x, ours, wanted)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", BINARY)
def test_special_values_of_two_operands(name, dtype):
    x, y = (a.ravel() for a in np.meshgrid(*[np.array(VALUES, dtype)] * 2))
    with np.errstate(all="ignore"):
        wanted, floors = getattr(np, name)(x, y), np.floor(x / y)
    if name == "floor_divide":  # where an operand is infinite, the standard wants the floor of the quotient
        wanted = np.where(np.isinf(x) | np.isinf(y), floors, wanted)
    ours = getattr(plait, name)(plait.tensor(x), plait.tensor(y)).numpy()
    agrees = same(ours, wanted)
    if name in ("maximum", "minimum"):  # of two zeros, either may be the larger one
        agrees |= (x == 0) & (y == 0)
    assert agrees.all(), (x[~agrees], y[~agrees], ours[~agrees], wanted[~agrees])
    symbol = {"floor_divide": "__floordiv__", "remainder": "__mod__", "divide": "__truediv__", "pow": "__pow__"}
    if name in symbol:
        again = getattr(plait.tensor(x), symbol[name])(plait.tensor(y)).numpy()
        assert np.array_equal(again, ours, equal_nan=True)


@pytest.mark.parametrize("dtype", ["complex64", "complex128"])
@pytest.mark.parametrize("name", COMPLEX)
def test_special_values_of_complex_numbers(name, dtype):
    z = np.array([complex(a, b) for a in VALUES for b in VALUES], dtype)
    with np.errstate(all="ignore"):
        wanted = getattr(np, name)(z)
    ours = getattr(plait, name)(plait.tensor(z)).numpy()
    close = [np.isclose(a, b, rtol=1e-4, atol=0, equal_nan=True) for a, b in
             ((ours.real, wanted.real), (ours.imag, wanted.imag))]  # fmt: skip
    # the standard leaves signs of zeros and infinities beside a NaN open
    unsigned = [np.isnan(a) & (np.abs(b) == np.abs(c)) for a, b, c in
                ((wanted.real, ours.imag, wanted.imag), (wanted.imag, ours.real, wanted.real))]  # fmt: skip
    agrees = (close[0] | unsigned[1]) & (close[1] | unsigned[0])
    assert agrees.all(), (z[~agrees], ours[~agrees], wanted[~agrees])


inf, nan = np.inf, np.nan
OWN_CASES = [
    ("expm1", inf, inf), ("expm1", complex(-inf, inf), -1), ("expm1", complex(inf, 0), complex(inf, 0)),
    ("tanh", complex(inf, inf), 1), ("tanh", complex(2, inf), complex(nan, nan)), ("sign", complex(-0.0, -0.0), 0),
    ("sign", complex(nan, inf), complex(nan, nan)), ("sign", complex(3, 4), complex(0.6, 0.8)),
    ("round", complex(0.5, -1.5), complex(0, -2)), ("log1p", complex(-1, 0), complex(-inf, 0)),
    ("abs", complex(nan, inf), inf), ("isinf", complex(nan, -inf), True), ("square", complex(0, 1), -1),
]  # fmt: skip


@pytest.mark.parametrize(("name", "value", "wanted"), OWN_CASES)
def test_special_values_of_the_standard(name, value, wanted):
    ours = np.complex128(getattr(plait, name)(plait.tensor(value, dtype="complex128")).item())
    assert np.array_equal([ours.real, ours.imag], [np.real(wanted), np.imag(wanted)], equal_nan=True)


# promotion

SAME_KIND = [("int8", "int16", "int32", "int64"), ("uint8", "uint16", "uint32", "uint64"), ("float32", "float64"),
             ("complex64", "complex128"), ("bool",), ("int8", "uint8"), ("int32", "uint16"),
             ("int64", "uint32")]  # fmt: skip
PAIRS = [pair for kind in SAME_KIND for pair in itertools.product(kind, repeat=2)]


@pytest.mark.parametrize(("a", "b"), PAIRS)
@pytest.mark.parametrize("shape", [(), (3,)])
def test_promotion_does_not_depend_on_rank(a, b, shape):
    x, y = plait.ones(shape, dtype=a), plait.ones((3,), dtype=b)
    wanted = np.result_type(a, b)
    assert plait.result_type(x, y).numpy == plait.result_type(x.dtype, y.dtype).numpy == wanted
    assert plait.where(y == 1, x, y).dtype.numpy == plait.stack([x, y[0].reshape(()).broadcast_to(shape)]).dtype.numpy
    if a != "bool":
        assert (x + y).dtype.numpy == (y * x).dtype.numpy == wanted
    assert plait.can_cast(x.dtype, y.dtype) is (wanted == np.dtype(b))


@pytest.mark.parametrize("dtype", ["int8", "uint64", "float32", "float64", "complex64", "bool"])
def test_scalars_take_the_dtype(dtype):
    x = plait.ones((2,), dtype=dtype)
    scalar = {"b": True, "f": 2.0, "c": 2j}.get(x.dtype.kind, 2)
    assert plait.result_type(x, scalar) is x.dtype
    for function in (plait.equal, plait.not_equal):
        assert function(scalar, x).dtype is function(x, scalar).dtype is plait.bool
    if dtype != "bool":
        results = x + scalar, scalar - x if dtype != "uint64" else x, scalar * x, plait.multiply(scalar, x)
        assert {r.dtype for r in results} == {x.dtype}


@pytest.mark.parametrize("dtype", ["bool", "int8", "uint8", "uint16", "int64", "uint64", "float32", "complex64"])
def test_sums_of_integers_are_wide(dtype):
    """Unsigned integers stay unsigned; in PyTorch's form they become int64."""
    x = plait.ones((3,), dtype=dtype)
    wide = {"u": plait.uint64, "i": plait.int64, "b": plait.int64}.get(x.dtype.kind, x.dtype)
    for function in (plait.sum, plait.prod, plait.cumulative_sum, plait.cumulative_prod):
        assert function(x).dtype is function(x, axis=0).dtype is wide, function
        assert function(x, dtype=plait.float64).dtype is plait.float64
    narrow = wide if x.dtype is plait.uint64 else {"u": plait.int64}.get(x.dtype.kind, wide)
    assert plait.sum(x, dim=0).dtype is plait.sum(x, 0).dtype is x.sum().dtype is x.prod(0).dtype is narrow


# inspection


def test_inspection():
    info = plait.__array_namespace_info__()
    assert info.capabilities() == {"boolean indexing": True, "data-dependent shapes": True, "max dimensions": 64}
    assert info.default_device() in info.devices() == ["cpu"]
    assert info.default_dtypes(device="cpu") == {
        "real floating": plait.float32, "complex floating": plait.complex64, "integral": plait.int64,
        "indexing": plait.int64,
    }  # fmt: skip
    assert len(info.dtypes()) == 13 and info.dtypes()["bool"] is plait.bool
    assert sorted(info.dtypes(kind=("bool", "real floating"))) == ["bool", "float32", "float64"]
    assert plait.isdtype(plait.float16, "real floating") and not plait.isdtype(plait.int8, ("bool", plait.int16))
    assert plait.ones(64 * (1,)).ndim == 64


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "complex64", "complex128"])
def test_limits_of_floats(dtype):
    ours, wanted = plait.finfo(plait.ones((), dtype=dtype)), np.finfo(dtype)
    names = ("bits", "eps", "max", "min", "smallest_normal", "tiny", "resolution")
    assert [getattr(ours, n) for n in names] == [getattr(wanted, n) for n in names]
    assert {type(v) for v in ours[1:5]} == {float} and ours.dtype is plait.zeros((), dtype=dtype).real.dtype


def test_limits_of_others():
    for name in ("int8", "int64", "uint8", "uint64"):
        ours, wanted = plait.iinfo(name), np.iinfo(name)
        assert ours[:3] == (wanted.bits, wanted.max, wanted.min) and ours.dtype.name == name
    assert plait.finfo(plait.bfloat16).eps == 2.0**-7
    assert np.zeros(2, plait.int16).dtype == np.int16


ERRORS = [
    (lambda x: plait.expand_dims(x, axis=4), AxisError, "axis out of range"),
    (lambda x: x[0, 0, 0], AxisError, "Too many indices. Received: 3"),
    (lambda x: x[plait.tensor([True] * 3)], AxisError, "A mask has the shape"),
    (lambda x: plait.squeeze(x, 0), ShapeError, "Only axes of size 1 can be squeezed. Received: axis 0"),
    (lambda x: plait.nonzero(x[0, 0]), ShapeError, "nonzero needs an axis"),
    (lambda x: plait.isdtype(x.dtype, "real"), ArgumentError, "Unknown kind of dtype. Received: 'real'"),
    (lambda x: plait.finfo(plait.int8), DTypeError, "finfo takes a floating-point dtype"),
    (lambda x: plait.iinfo(x), DTypeError, "iinfo takes an integer dtype"),
    (lambda x: x.to_device("cuda"), ArgumentError, "Unknown device. Received: 'cuda'"),
    (lambda x: x.__array_namespace__(api_version="2020.1"), ArgumentError, "Unknown version"),
    (lambda x: plait.asarray([1], copy=False), ArgumentError, "without a copy. Received: list"),
    (lambda x: np.asarray(x, np.float64, copy=False), ArgumentError, "Another dtype needs a copy"),
    (lambda x: x.__setitem__((0, 0), 1j), DTypeError, "A complex number does not fit float32"),
    (lambda x: plait.asarray([-1, 2**63], dtype=plait.uint64), ArgumentError, "does not fit uint64"),
    (lambda x: x < 1j, DTypeError, "does not take complex64"),
]


@pytest.mark.parametrize(("call", "kind", "text"), ERRORS)
def test_errors(call, kind, text):
    with pytest.raises(kind, match=text):
        call(plait.ones((2, 2)))


def test_values_that_lose_nothing():
    """Large integers and double-precision numbers reach the tensor as they are."""
    assert plait.asarray([1, 2**63 + 1], dtype=plait.uint64).tolist() == [1, 2**63 + 1]
    x = plait.zeros((2,), dtype=plait.complex128)
    x[0], x[plait.tensor([False, True])] = 1.1 + 0.1j, 2.2j
    assert x.tolist() == [1.1 + 0.1j, 2.2j]
    x[...] = [1.1, 0.1]
    assert x.real.tolist() == [1.1, 0.1]
    assert (plait.tensor([128], dtype=plait.uint8) >> 1).tolist() == [64]
    assert plait.ones((3, 2))[plait.zeros((0,), dtype=plait.bool)].shape == (0, 2)  # as in NumPy
    kept = plait.ones((2,))
    copy = plait.reshape(kept, (2, 1), copy=True)
    kept[0] = 5
    assert copy.tolist() == [[1], [1]] and plait.clip(kept) is not copy and plait.clip(kept).tolist() == [5, 1]
    assert plait.from_dlpack(kept, copy=False).tolist() == [5, 1] and round(plait.tensor(2.5)).item() == 2
