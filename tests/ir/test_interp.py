"""The interpreter, against NumPy and exact arithmetic."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from plait.core.dtype import INTEGERS, bfloat16, bool_, float32, float64, int8, int32, int64, uint8, uint32
from plait.core.errors import InternalError
from plait.ir import printer
from plait.ir.build import Builder
from plait.ir.interp import evaluate, run
from plait.ir.loop import binary, const, fma, make, select, unary

random = np.random.default_rng(3)


def leaf(name, dtype):
    """A named leaf expression."""
    return make("scalar", (), dtype, name)


@pytest.mark.parametrize("dtype", INTEGERS, ids=lambda d: d.name)
def test_integer_division(dtype):
    """Truncating, with defined results for zero and overflow."""
    info, x, y = np.iinfo(dtype.numpy), leaf("x", dtype), leaf("y", dtype)
    values = np.array([info.min, info.min + 1, info.max, info.max - 1, 0, 1, 2, 3, 7, info.max // 3], dtype.numpy)
    values = np.concatenate([values, -values])
    a, b = (v.ravel() for v in np.meshgrid(values, values))
    quotients, remainders = (evaluate(binary(op, x, y), {x: a, y: b}).tolist() for op in ("div", "rem"))
    for p, q, quotient, remainder in zip(a.tolist(), b.tolist(), quotients, remainders, strict=True):
        if q == 0:
            assert (quotient, remainder) == (-1 if dtype.kind == "i" else info.max, p)
        else:
            exact = abs(p) // abs(q) * (1 if (p < 0) == (q < 0) else -1)
            assert (quotient, remainder) == (exact if exact <= info.max else info.min, p - q * exact)


@pytest.mark.parametrize("dtype", INTEGERS, ids=lambda d: d.name)
@pytest.mark.parametrize("source", [float32, float64], ids=lambda d: d.name)
def test_saturating_casts(source, dtype):
    """Floats truncate, saturate, and NaN is 0."""
    info, x = np.iinfo(dtype.numpy), leaf("x", source)
    values = [0, -0.5, -1.5, 0.5, 127.9, 255.9, 256, 1e30, -1e30, np.nan, np.inf, -np.inf]
    values += [s * 2.0**k for k in (31, 32, 62, 63, 64) for s in (1, -1)]
    values = np.array(values).astype(source.numpy)
    got = evaluate(x.cast(dtype), {x: values}).tolist()
    for value, result in zip(values.tolist(), got, strict=True):
        if np.isnan(value):
            assert result == 0
        else:
            limited = max(min(value, 2.0**70), -(2.0**70))
            assert result == min(max(int(limited), int(info.min)), int(info.max))


def test_shifts():
    """Counts out of range give 0, or the sign."""
    for dtype, value, left, right in ((int8, -3, 0, -1), (int32, 77, 0, 0), (uint8, 200, 0, 0)):
        x, n = leaf("x", dtype), leaf("n", dtype)
        counts = np.array([dtype.bits, 100], dtype.numpy)
        assert evaluate(x << n, {x: np.full(2, value, dtype.numpy), n: counts}).tolist() == [left] * 2
        assert evaluate(x >> n, {x: np.full(2, value, dtype.numpy), n: counts}).tolist() == [right] * 2
    x, n = leaf("x", int32), leaf("n", int32)
    assert evaluate(x << n, {x: np.int32(1), n: np.int32(-1)}) == 0
    assert evaluate(x >> n, {x: np.int32(-8), n: np.int32(1)}) == -4


def test_bits():
    """popcount and clz look at the bits of negative numbers too."""
    x = leaf("x", int8)
    values = np.array([0, 1, -1, -128, 64], "i1")
    assert evaluate(unary("popcount", x), {x: values}).tolist() == [0, 1, 8, 1, 1]
    assert evaluate(unary("clz", x), {x: values}).tolist() == [8, 7, 0, 0, 1]
    y = leaf("y", float32)
    assert evaluate(y.bitcast(uint32), {y: np.float32(1)}) == 0x3F800000


def test_extrema():
    """NaN wins; -0 is less than 0."""
    x, y = leaf("x", float32), leaf("y", float32)
    env = {x: np.array([0.0, -0.0, np.nan, 1, 2], "f4"), y: np.array([-0.0, 0.0, 1, np.nan, 3], "f4")}
    low, high = evaluate(binary("min", x, y), env), evaluate(binary("max", x, y), env)
    assert np.signbit(low[:2]).all()
    assert not np.signbit(high[:2]).any()
    assert np.isnan([*low[2:4], *high[2:4]]).all()
    assert (low[4], high[4]) == (2, 3)


@pytest.mark.parametrize("dtype", [float32, float64], ids=lambda d: d.name)
def test_fma_rounds_once(dtype):
    """Against exact rationals, with cancellation, tiny and huge operands."""
    scale = np.array([1, 1e-30, 1e30] if dtype is float32 else [1, 1e-160, 1e150])
    a = (random.normal(size=(300, 1)) * scale).astype(dtype.numpy).ravel()
    b = (random.normal(size=(300, 3)) * scale[::-1]).astype(dtype.numpy).ravel()
    with np.errstate(all="ignore"):
        c = np.where(np.arange(900) % 2, -(a * b), random.normal(size=900)).astype(dtype.numpy)
    x, y, z = (leaf(name, dtype) for name in "xyz")
    got = evaluate(fma(x, y, z), {x: a, y: b, z: c})
    for p, q, r, result in zip(a.tolist(), b.tolist(), c.tolist(), got, strict=True):
        exact = Fraction(p) * Fraction(q) + Fraction(r)
        spacing = Fraction(float(np.spacing(np.abs(result))))
        assert abs(Fraction(float(result)) - exact) <= spacing / 2


def test_evaluate_is_linear_in_shared_expressions():
    """A chain in which every value is used twice, and any subexpression may be given."""
    x = leaf("x", float64)
    e = x
    for _ in range(3000):
        e = (e + e) * 0.5
    assert evaluate(e, {x: np.array([3.0])}).tolist() == [3.0]
    assert evaluate(x * x + 1.0, {x * x: np.array([8.0])}).tolist() == [9.0]
    with pytest.raises(InternalError, match="cannot evaluate"):
        evaluate(x, {})
    assert evaluate(select(const(True, bool_) & (x > 1.0), x, -x), {x: np.array([0.5, 2])}).tolist() == [-0.5, 2]


def test_run_a_matrix_product():
    """Loops, an accumulator and storage conversion."""
    b = Builder("product")
    n = b.scalar("n")
    ba, bb, bc = b.input("a", bfloat16, 12), b.input("b", float32, 12), b.output("c", float32, 9)
    with b.parallel(3) as i, b.loop(0, 3) as j:
        total = b.accumulator("add", float32, 0.0)
        with b.loop(0, n) as k:
            total.add(b.load(ba, i * n + k) * b.load(bb, k * 3 + j))
        b.store(bc, i * 3 + j, total.get())
    a, c = random.integers(-5, 5, (3, 4)).astype(bfloat16.numpy), np.zeros(9, "f4")
    d = random.integers(-5, 5, (4, 3)).astype("f4")
    run(b.finish().functions[0], [a.ravel(), d.ravel(), c], [4])
    assert (c.reshape(3, 3) == a.astype("f4") @ d).all()


def test_accesses_out_of_bounds_are_errors():
    """Unless a guard forbids them."""
    b = Builder("bounds")
    bx, by = b.input("x", float32, 3), b.output("y", float32, 4)
    with b.parallel(4) as i:
        b.store(by, i, b.load(bx, i - 1, guard=i > 0))
        b.store(by, i, b.load(bx, i), guard=i > 5)
    y = np.ones(4, "f4")
    run(b.finish().functions[0], [np.arange(3, dtype="f4"), y])
    assert y.tolist() == [0, 0, 1, 2]
    b = Builder("bounds")
    bx, by = b.input("x", float32, 3), b.output("y", float32, 4)
    with b.parallel(4) as i:
        b.store(by, i, b.load(bx, i))
    with pytest.raises(InternalError, match="index 3 is outside"):
        run(b.finish().functions[0], [np.zeros(3, "f4"), np.zeros(4, "f4")])


def test_reads_keep_their_value():
    """A read happens at its first use, in the body of its first use."""
    b = Builder("reads")
    by = b.output("y", int64, 4)
    with b.parallel(1):
        v = b.local(int64, 1)
        old = v.get()
        v.set(old + 1)
        b.store(by, 0, old)
        b.store(by, 1, v.get())
        late = v.get()
        with b.loop(0, 3):
            v.set(late * 2)
        b.store(by, 2, v.get())
        with b.repeat_while(v.get() < 100):
            v.set(v.get() * 3)
        b.store(by, 3, v.get())
    y = np.zeros(4, "i8")
    run(b.finish().functions[0], [y])
    assert y.tolist() == [1, 2, 16, 144]


def test_prefetches_have_no_effect():
    """Not even beyond the end."""
    b = Builder("k")
    x, y = b.input("x", float32, 3), b.output("y", float32, 3)
    with b.parallel(3) as i:
        b.prefetch(x, i + 100)
        b.store(y, i, b.load(x, i))
    (function,) = b.finish().functions
    values, result = np.array([1, 2, 3], "float32"), np.zeros(3, "float32")
    run(function, [values, result])
    assert (result == values).all()
    assert "prefetch x[(p1 + 100)] to L1" in printer.function(function)
