"""The elementwise primitives: aval rules and their errors, and lowerings evaluated against the oracles."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from typing import Any

import ml_dtypes
import numpy as np
import pytest

import plait.prims  # noqa: F401  (registers the primitives)
from plait.core.aval import Dim, aval
from plait.core.dtype import (
    FLOAT8,
    FLOATS,
    INTEGERS,
    DType,
    as_dtype,
    bfloat16,
    bool_,
    complex64,
    complex128,
    float8_e4m3fn,
    float16,
    float32,
    float64,
    int8,
    int32,
    int64,
    uint8,
    uint16,
    uint32,
)
from plait.core.errors import ArgumentError, DTypeError, ShapeError
from plait.core.graph import CONSTANT, Node, placeholder, toposort
from plait.core.primitive import PRIMITIVES, P, Primitive, Waived
from plait.ir.complex import Complex
from plait.ir.interp import evaluate
from plait.ir.loop import make
from plait.prims import convert, elementwise, rules, special
from plait.prims.rules import broadcast_shapes, elementwise_axes, unbroadcast

FAMILY = sorted(
    {p.name: p for module in (convert, elementwise, special) for p in vars(module).values() if isinstance(p, Primitive)}
)
CASES = [(name, dtype.name) for name in FAMILY for dtype in PRIMITIVES[name].domain.dtypes]


class Site:
    """The part of the compiler's site that index functions of one input use."""

    def __init__(self, value: Any, dtype: DType, params: dict[str, Any]) -> None:
        self.value, self.source, self.params = value, dtype, params

    def read(self, i: int, index: list[Any]) -> Any:
        """The operand."""
        return self.value

    def dtype(self, i: int) -> DType:
        """Its storage dtype."""
        return self.source


def apply(name: str, arrays: list[Any], **params: Any) -> Any:
    """Evaluate the lowering of a primitive on arrays, stored in the dtype that its aval rule gives."""
    prim = PRIMITIVES[name]
    env: dict[Any, Any] = {}
    values = []
    for k, array in enumerate(np.asarray(a) for a in arrays):
        dtype = as_dtype(array.dtype)
        if dtype.is_complex:
            re, im = (make("scalar", (), dtype.real, f"{part}{k}") for part in ("re", "im"))
            env[re], env[im] = array.real, array.imag
            values.append(Complex(re, im))
        else:
            value = make("scalar", (), dtype.compute, f"x{k}")
            env[value] = array.astype(dtype.compute.numpy)
            values.append(value)
    avals = [aval(as_dtype(np.asarray(a).dtype), np.shape(a)) for a in arrays]
    result_aval = prim.aval(*avals, **params)
    if prim.kind == "view":
        result = prim.lower(Site(values[0], avals[0].dtype, params), [])
    else:
        result = prim.lower(*values, **params)
    if isinstance(result, Complex):
        got = np.asarray(evaluate(result.re, env) + 1j * evaluate(result.im, env))
    else:
        assert result.dtype is result_aval.dtype.compute
        got = np.asarray(evaluate(result, env))
    got = np.broadcast_to(got, result_aval.shape)
    with np.errstate(all="ignore"):
        return got.astype(result_aval.dtype.numpy)


def oracle(name: str) -> Any:
    """Find the reference function that a primitive names."""
    path = PRIMITIVES[name].oracle
    module, _, function = path.rpartition(".")
    module = module.replace("oracle.", "plait.testing.oracles.", 1) if module.startswith("oracle.") else module
    return getattr(importlib.import_module(module), function)


def widen(array: Any) -> Any:
    dtype = as_dtype(array.dtype)
    return array.astype("complex128" if dtype.is_complex else "float64") if dtype.is_inexact else array


def samples(name: str, dtype: DType) -> Iterator[tuple[list[Any], dict[str, Any]]]:
    random = np.random.default_rng(0)
    for size in (0, 1, 7, 61):
        yield from PRIMITIVES[name].domain.sample(random, dtype, size)


@pytest.mark.parametrize(("name", "dtype"), CASES)
def test_lowering_agrees_with_oracle(name: str, dtype: str) -> None:
    prim = PRIMITIVES[name]
    for arrays, params in samples(name, as_dtype(dtype)):
        got = apply(name, arrays, **params)
        wide = arrays if name in ("bitcast", "nextafter") else [widen(a) for a in arrays]
        with np.errstate(all="ignore"):
            want = np.asarray(oracle(name)(*wide, **params))
        assert got.shape == want.shape
        if not as_dtype(got.dtype).is_inexact or name in ("bitcast", "nextafter"):
            np.testing.assert_array_equal(got, want.astype(got.dtype))
            continue
        # the scale of rounding: the result, and for complex numbers and near zeros the unit around it
        epsilon = float(ml_dtypes.finfo(as_dtype(got.dtype).real.numpy).eps)
        unit = 1.0 if name.startswith(("airy", "bessel")) else 0.1  # of waves: the error at a root
        limit = prim.domain.tolerance * epsilon * (np.abs(want) + unit)
        error = np.abs(widen(got) - want)
        assert np.all(error <= limit), f"{arrays}: {got} is not {want}"


@pytest.mark.parametrize("name", FAMILY)
def test_slots(name: str) -> None:
    prim = PRIMITIVES[name]
    assert prim.kind in ("elementwise", "view")
    for slot in ("jvp", "transpose", "batch", "shard", "cost"):
        value = getattr(prim, slot)
        assert callable(value) or (isinstance(value, Waived) and value.reason)
    oracle(name)


# shapes and dtypes


def test_broadcasting() -> None:
    n = Dim("n", 5)
    assert broadcast_shapes((3, 1), (4,), ()) == (3, 4)
    assert broadcast_shapes((n, 1), (n, 3), (1,)) == (n, 3)
    with pytest.raises(ShapeError, match=r"in add. Received: \(2, 3\) and \(4,\).*Fix: reshape"):
        P.add(placeholder(aval(float32, (2, 3))), placeholder(aval(float32, (4,))))
    with pytest.raises(ShapeError):
        broadcast_shapes((n,), (Dim("m", 5),))


def test_axis_map() -> None:
    node = P.add(placeholder(aval(float32, (2, 1, 4))), placeholder(aval(float32, (3, 4))))
    assert elementwise_axes(node) == (((0, None, 2), (1, 2)), (0, 1, 2))


@pytest.mark.parametrize(
    ("name", "dtypes", "text"),
    [
        ("mul", (float32, float64), "float32 and float64.*promotion happens in the tensor layer"),
        ("add", (bool_, bool_), r"add does not take bool.*Fix: convert with .to\(plait.int64\)"),
        ("exp", (int32,), r"exp does not take int32.*one of float16, bfloat16"),
        ("neg", (float8_e4m3fn,), r"storage only: convert with .to\(plait.float32\)"),
        ("lt", (complex64, complex64), "lt does not take complex64"),
        ("select", (float32, float32, float32), "condition of select must be bool"),
        ("bitwise_and", (float32, float32), "bitwise_and does not take float32"),
        ("nextafter", (bfloat16, bfloat16), "nextafter does not take bfloat16"),
    ],
)
def test_dtype_errors(name: str, dtypes: tuple[DType, ...], text: str) -> None:
    with pytest.raises(DTypeError, match=text):
        PRIMITIVES[name](*[placeholder(aval(d, (2,))) for d in dtypes])


def test_param_errors() -> None:
    x = placeholder(aval(int32, (2,)))
    with pytest.raises(ArgumentError, match="exponent -1"):
        P.integer_pow(x, exponent=-1)
    with pytest.raises(DTypeError, match=r"int32 \(4 bytes\) and int64 \(8 bytes\)"):
        P.bitcast(x, dtype=int64)
    with pytest.raises(DTypeError, match="bitcast does not take complex64"):
        P.bitcast(x, dtype=complex64)
    word = placeholder(aval(uint32, ()))
    with pytest.raises(ArgumentError, match="word=2"):
        P.threefry(word, word, word, word, word=2)


def test_result_dtypes() -> None:
    z = placeholder(aval(complex128, (2,)))
    x = placeholder(aval(bfloat16, (2,)))
    assert [P.abs(z).dtype, P.real(z).dtype, P.exp(z).dtype] == [float64, float64, complex128]
    assert P.eq(x, 0.0).dtype is bool_ and P.add(x, 1).dtype is bfloat16
    assert P.complex(P.real(z), 0.0).aval is z.aval


# values at the edges


def check(name: str, arrays: list[Any], want: Any, **params: Any) -> None:
    got = apply(name, arrays, **params)
    np.testing.assert_array_equal(got, np.asarray(want, got.dtype))


def test_special_values() -> None:
    f = np.float32
    check("sign", [f([-0.0, 3, -2, np.nan, np.inf])], [0, 1, -1, np.nan, 1])
    check("max", [f([np.nan, 1, -0.0]), f([1, np.nan, 0.0])], [np.nan, np.nan, 0])
    check("clamp", [f([np.nan, -5, 5]), f(-1), f(1)], [np.nan, -1, 1])
    check("is_finite", [f([np.nan, np.inf, -np.inf, 3e38])], [False, False, False, True])
    check("round", [f([0.5, 1.5, 2.5, -0.5])], [0, 2, 2, 0])
    check("rem", [f([5.5, -5.5, 5.5]), f([2, 2, -2])], [1.5, -1.5, 1.5])
    check("pow", [f([0, 0, -2, -8]), f([0, 2, 3, -1])], [1, 0, -8, -0.125])
    check("integer_pow", [f([-3, 2, np.nan])], [1, 1, 1], exponent=0)
    check("integer_pow", [f([-3, 2, 0])], [9, 4, 0], exponent=2)
    check("integer_pow", [f([-4, 2, 0])], [-1 / 64, 1 / 8, np.inf], exponent=-3)


def test_integers_wrap() -> None:
    i = np.int8
    check("abs", [i([-128, -5])], [-128, 5])
    check("neg", [np.uint8([0, 1])], [0, 255])
    check("add", [i([127]), i([1])], [-128])
    check("div", [i([-7, 7, -7]), i([2, -2, -2])], [-3, -3, 3])
    check("rem", [i([-7, 7, -7]), i([2, -2, -2])], [-1, 1, -1])
    check("pow", [i([2, -1, -1, 1, 3, -2]), i([7, -3, -4, -9, -1, 5])], [-128, -1, 1, 1, 0, -32])
    check("pow", [np.uint8([2, 3, 0]), np.uint8([9, 255, 0])], [0, pow(3, 255, 256), 1])
    check("max", [np.array([True, False]), np.array([False, False])], [True, False])


def test_shift_counts_out_of_range() -> None:
    check("shift_left", [np.int8([1, 1, 1]), np.int8([7, 8, -1])], [-128, 0, 0])
    check("shift_right_arithmetic", [np.int8([-128, -128, 64]), np.int8([7, 9, 8])], [-1, -1, 0])
    check("shift_right_logical", [np.int8([-128, -128]), np.int8([7, 8])], [1, 0])
    check("shift_right_arithmetic", [np.uint8([128, 64]), np.uint8([7, 6])], [255, 1])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_nextafter(dtype: Any) -> None:
    tiny, largest = np.finfo(dtype).smallest_subnormal, np.finfo(dtype).max
    x = np.array([0, -0.0, 0, tiny, -tiny, 1, 1, -1, largest, np.inf, np.nan, 2], dtype)
    y = np.array([1, 1, -1, 0, 5, 2, 0, 2, np.inf, 0, 1, 2], dtype)
    with np.errstate(over="ignore"):
        want = np.nextafter(x, y)
    check("nextafter", [x, y], want)


# storage formats


@pytest.mark.parametrize("dtype", [bfloat16, float16, *FLOAT8], ids=lambda d: d.name)
def test_small_floats_round_to_their_grid(dtype: DType) -> None:
    random = np.random.default_rng(1)
    grid = np.arange(1 << dtype.bits, dtype=f"u{dtype.itemsize}").view(dtype.numpy).astype(np.float32)
    grid = np.sort(grid[np.isfinite(grid)])
    ties = (grid[1:].astype(np.float64) + grid[:-1]) / 2
    exponents = np.exp2(random.uniform(-40, 40, 4000)) * random.choice([-1, 1], 4000)
    x = np.concatenate([grid, ties, exponents, [np.nan, np.inf, -np.inf, 1e30, -0.0, 464, 465, 65519, 65520, 61440]])
    x = x.astype(np.float32)
    with np.errstate(all="ignore"):
        want = x.astype(dtype.numpy).astype(np.float32)
    got = apply("convert", [x], dtype=dtype).astype(np.float32)
    np.testing.assert_array_equal(got, want)
    np.testing.assert_array_equal(np.signbit(got[want == 0]), np.signbit(want[want == 0]))


@pytest.mark.parametrize("dtype", [bfloat16, float16, *FLOAT8], ids=lambda d: d.name)
def test_bitcast_of_every_small_float(dtype: DType) -> None:
    integer = {8: uint8, 16: uint16}[dtype.bits]
    bits = np.arange(1 << dtype.bits).astype(integer.numpy)
    values = bits.view(dtype.numpy)
    is_number = ~np.isnan(values.astype(np.float32))
    np.testing.assert_array_equal(apply("bitcast", [values], dtype=integer)[is_number], bits[is_number])
    decoded = apply("bitcast", [bits], dtype=dtype)
    np.testing.assert_array_equal(decoded.astype(np.float32), values.astype(np.float32))


def test_conversions_of_floats_saturate() -> None:
    x = np.array([np.nan, np.inf, -np.inf, 300.7, -1.5, 1.9], np.float32)
    check("convert", [x], [0, 255, 0, 255, 0, 1], dtype=uint8)
    check("convert", [x], [0, 127, -128, 127, -1, 1], dtype=int8)
    check("convert", [np.complex64([1j, 0, 2])], [True, False, True], dtype=bool_)
    check("convert", [np.complex64([1 + 2j])], [1], dtype=float16)


def test_threefry_known_answers() -> None:
    """The known answers of Random123 for threefry2x32 with 20 rounds."""
    key0, key1 = np.uint32([0, 0xFFFFFFFF, 0x13198A2E]), np.uint32([0, 0xFFFFFFFF, 0x03707344])
    count0, count1 = np.uint32([0, 0xFFFFFFFF, 0x243F6A88]), np.uint32([0, 0xFFFFFFFF, 0x85A308D3])
    check("threefry", [key0, key1, count0, count1], [0x6B200159, 0x1CB996FC, 0xC4923A9C], word=0)
    check("threefry", [key0, key1, count0, count1], [0x99BA4EFE, 0xBB002BE7, 0x483DF7A0], word=1)


def test_polygamma_over_its_range() -> None:
    x = np.concatenate([np.geomspace(1e-3, 1e6, 200), -np.linspace(0.1, 8.9, 45)])
    reflected = (np.pi / np.sin(np.pi * x)) ** 2 - oracle("polygamma")(1 - x, order=1)
    want = np.where(x > 0, oracle("polygamma")(np.abs(x), order=1), reflected)
    np.testing.assert_allclose(apply("polygamma", [x], order=1), want, rtol=2e-14)


# rules


def compute(node: Node, env: dict[Node, Any]) -> Any:
    """Evaluate a graph of elementwise nodes on arrays of one shape."""
    values = dict(env)
    for n in toposort([node]):
        if n not in values:
            if n.prim is CONSTANT:
                values[n] = np.asarray(n.value, n.dtype.numpy)
            else:
                values[n] = apply(n.prim.name, [values[i] for i in n.inputs], **n.params)
    return values[node]


SMOOTH = [
    (name, dtype)
    for name in FAMILY
    for dtype in (float64, complex128)
    if dtype in PRIMITIVES[name].domain.dtypes and PRIMITIVES[name].domain.smooth
    if not isinstance(PRIMITIVES[name].jvp, Waived)
]


@pytest.mark.parametrize(("name", "dtype"), SMOOTH, ids=lambda v: v if isinstance(v, str) else v.name)
def test_jvp_agrees_with_central_differences(name: str, dtype: DType) -> None:
    random = np.random.default_rng(2)
    prim = PRIMITIVES[name]
    for arrays, params in prim.domain.sample(random, dtype, 31):
        if any(a.shape != (31,) for a in arrays):
            continue
        inputs = [placeholder(aval(as_dtype(a.dtype), a.shape)) for a in arrays]
        varied = [i for i, x in enumerate(inputs) if x.dtype.is_inexact]
        slots = {i: placeholder(inputs[i].aval) for i in varied}
        directions = {i: rules.draw(random, inputs[i].dtype, (31,), -1, 1) for i in varied}
        tangent = prim.jvp(prim(*inputs, **params), [slots.get(i) for i in range(len(inputs))])
        step = 1e-6
        ends = [
            apply(
                name,
                [a + sign * step * directions.get(i, 0) if i in slots else a for i, a in enumerate(arrays)],
                **params,
            )
            for sign in (1, -1)
        ]
        want = (ends[0] - ends[1]) / (2 * step)
        if tangent is None:
            np.testing.assert_array_equal(want, 0)
            continue
        env = dict(zip(inputs, arrays, strict=True)) | {slots[i]: directions[i] for i in varied}
        np.testing.assert_allclose(compute(tangent, env), want, rtol=1e-6, atol=1e-6)


def test_pow_derivative_at_zero() -> None:
    x, y, t = (placeholder(aval(float64, (4,))) for _ in range(3))
    values = {x: np.array([0.0, 0, 0, 2]), y: np.array([2.0, 1, 0, 3]), t: np.ones(4)}
    pow_ = PRIMITIVES["pow"]
    np.testing.assert_array_equal(compute(pow_.jvp(P.pow(x, y), [t, None]), values), [0, 1, 0, 12])
    np.testing.assert_allclose(compute(pow_.jvp(P.pow(x, y), [None, t]), values), [0, 0, 0, 8 * np.log(2)])


def test_derivatives_at_kinks() -> None:
    x, y, t = (placeholder(aval(float64, (3,))) for _ in range(3))
    values = {x: np.array([0.0, 1, -1]), y: np.array([0.0, 0, 1]), t: np.ones(3)}
    np.testing.assert_array_equal(compute(PRIMITIVES["abs"].jvp(P.abs(x), [t]), values), [0, 1, -1])
    np.testing.assert_array_equal(compute(PRIMITIVES["max"].jvp(P.max(x, y), [t, None]), values), [0.5, 1, 0])
    np.testing.assert_array_equal(compute(PRIMITIVES["min"].jvp(P.min(x, y), [None, t]), values), [0.5, 1, 0])
    clamped = P.clamp(x, -1.0, 0.0)
    np.testing.assert_array_equal(compute(PRIMITIVES["clamp"].jvp(clamped, [t, None, None]), values), [1, 0, 1])


def test_unbroadcast_keeps_what_fits() -> None:
    x = placeholder(aval(float32, (2, 3)))
    assert unbroadcast(x, x.aval) is x


def test_jvp_skips_zero_tangents() -> None:
    x, y, t = (placeholder(aval(float32, (3,))) for _ in range(3))
    assert PRIMITIVES["add"].jvp(P.add(x, y), [t, None]) is t
    assert PRIMITIVES["mul"].jvp(P.mul(x, y), [None, None]) is None
    assert PRIMITIVES["sub"].jvp(P.sub(x, y), [None, t]).prim is PRIMITIVES["neg"]
    assert PRIMITIVES["floor"].jvp(P.floor(x), [t]) is None
    assert all(d in PRIMITIVES["add"].domain.dtypes for d in (*INTEGERS, *FLOATS))
