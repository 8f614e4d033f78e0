"""Every operation and dtype: compiled code against the interpreter."""

from __future__ import annotations

import numpy as np
import pytest

from plait.core.dtype import (
    ALL,
    FLOAT8,
    bfloat16,
    bool_,
    float8_e4m3fn,
    float8_e5m2,
    float16,
    float32,
    float64,
    int32,
    int64,
)
from plait.ir.build import Builder
from plait.ir.interp import evaluate
from plait.ir.loop import BINARY, COMPARE, FLOAT_UNARY, UNARY, binary, const, fma, lookup, make, select, unary
from tests.compiler.llvm.compiling import assert_same

REAL = [d for d in ALL if d.kind != "c"]
COMPUTE = [d for d in REAL if d.compute is d]


def edge_values(dtype, count=100):
    """Special values, then random bits."""
    random = np.random.default_rng(dtype.bits)
    if dtype is bool_:
        return random.integers(0, 2, count).astype(bool)
    raw = random.integers(0, 256, count * dtype.itemsize, dtype=np.uint8).view(dtype.numpy)
    if dtype.kind == "f":
        info = np.finfo(dtype.numpy)
        special = [0.0, -0.0, 1, -1, 0.5, 1.5, 2.5, -2.5, np.inf, -np.inf, np.nan, info.max, info.tiny, 1e9, -3e9, 7.99]
        special += [2.0**31, 2.0**32, 2.0**63, 2.0**64, -(2.0**63), 127.5, 255.5, -128.9, -0.7]
        random_normal = random.normal(size=count) * 10
        values = np.concatenate([np.array(special), random_normal]).astype(dtype.numpy)
        return np.concatenate([values[: count - 24], raw])[:count]
    info = np.iinfo(dtype.numpy)
    special = np.array(
        [0, 1, 2, 3, 5, 7, info.max, info.max - 1, info.min, info.min + 1, info.max // 2, 31], dtype.numpy
    )
    small = random.integers(-9 if dtype.kind == "i" else 0, 70, count // 2)
    return np.concatenate([special, small.astype(dtype.numpy), raw])[:count]


def operands(dtype, number):
    """Arrays that pair every edge value with others."""
    x = edge_values(dtype)
    arrays = np.meshgrid(x[:24], x[:24]) if number > 1 else [x]
    if number > 1:
        arrays = [np.concatenate([a.ravel(), np.roll(x, 17 * k)]) for k, a in enumerate(arrays)]
    while len(arrays) < number:
        arrays.append(np.roll(arrays[0], 5))
    return arrays


def compare(dtypes, jobs, arrays, mark, compiled):
    """Compute every job (result dtype, function of the operands) in one kernel; compare with `evaluate`."""
    size = len(arrays[0])
    b = Builder("jobs")
    inputs = [b.input(f"x{k}", d, size) for k, d in enumerate(dtypes)]
    outputs = [b.output(f"y{k}", d, size) for k, (d, _) in enumerate(jobs)]
    with b.parallel(size, mark) as i:
        loaded = [b.load(x, i) for x in inputs]
        for (_, function), output in zip(jobs, outputs, strict=True):
            b.store(output, i, function(*loaded))
    results = compiled(b.finish(), [*arrays, *(np.zeros(size, d.numpy) for d, _ in jobs)])[len(inputs) :]
    leaves = [make("scalar", (), d, f"x{k}") for k, d in enumerate(dtypes)]
    for (_, function), result in zip(jobs, results, strict=True):
        expr = function(*leaves)
        assert_same(result, evaluate(expr, dict(zip(leaves, arrays, strict=True))), repr(expr))


def allowed(op, dtype):
    if op == "half":
        return dtype is float32
    if op in (*FLOAT_UNARY, "copysign"):
        return dtype.kind == "f"
    if op in ("popcount", "clz", "shl", "shr"):
        return dtype.is_integer
    if op == "scale":  # of whole numbers only: test_scale
        return False
    if op in ("not", "and", "or", "xor"):
        return dtype.kind != "f"
    return dtype is not bool_ or op in ("add", "mul", "min", "max", *COMPARE)


@pytest.mark.parametrize("mark", ["vector", ""])
@pytest.mark.parametrize("dtype", COMPUTE, ids=lambda d: d.name)
def test_operations(dtype, mark, compiled):
    """All operations of one dtype, on edge values."""
    jobs = [(dtype, lambda x, y, op=op: unary(op, x)) for op in UNARY if allowed(op, dtype)]
    jobs += [(dtype, lambda x, y, op=op: binary(op, x, y)) for op in BINARY if allowed(op, dtype)]
    jobs += [(bool_, lambda x, y, op=op: binary(op, x, y)) for op in COMPARE]
    compare([dtype] * 2, jobs, operands(dtype, 2), mark, compiled)


@pytest.mark.parametrize("dtype", COMPUTE, ids=lambda d: d.name)
def test_constant_operands(dtype, compiled):
    """Constants on either side: the emitter has special cases."""
    values = [0.0, -0.0, 1.5, np.nan, np.inf] if dtype.kind == "f" else [0, 1, 3, 7, -1]
    constants = [const(value, dtype) for value in ([True, False] if dtype is bool_ else values)]
    ops = [op for op in ("min", "max", "div", "rem", "shl", "shr", "add", "mul") if allowed(op, dtype)]
    jobs = [(dtype, lambda x, op=op, c=c: binary(op, x, c)) for op in ops for c in constants]
    jobs += [(dtype, lambda x, op=op, c=c: binary(op, c, x)) for op in ops for c in constants]
    compare([dtype], jobs, operands(dtype, 1), "vector", compiled)


@pytest.mark.parametrize("dtype", [float32, float64], ids=lambda d: d.name)
def test_ternary(dtype, compiled):
    """fma rounds once; select picks."""
    x, y, z = operands(dtype, 3)
    with np.errstate(all="ignore"):
        z = np.where(np.arange(len(z)) % 2, -(x * y), z).astype(dtype.numpy)
    jobs = [(dtype, fma), (dtype, lambda a, b, c: select(a > b, b, c))]
    compare([dtype] * 3, jobs, [x, y, z], "vector", compiled)


@pytest.mark.parametrize("mark", ["vector", ""])
@pytest.mark.parametrize("dtype", [float32, float64], ids=lambda d: d.name)
def test_scale(dtype, mark, compiled):
    """Results over the whole range and beyond it, subnormal ones rounded once; special values stay."""
    random, most = np.random.default_rng(1), 2 * (np.finfo(dtype.numpy).maxexp - 1)
    x = np.concatenate([random.uniform(0.5, 2, 990), random.normal(size=10), [0.0, -0.0, np.nan, np.inf, -np.inf, 1.0]])
    n = np.concatenate([random.integers(-most, most, 500), random.integers(-most // 2 - 60, -most // 2 + 20, 500)])
    n = np.concatenate([n, [5, -most, 3, 7, -2, 9]])
    arrays = [a.astype(dtype.numpy) for a in (x, n)]
    compare([dtype] * 2, [(dtype, lambda x, n: binary("scale", x, n))], arrays, mark, compiled)


@pytest.mark.parametrize("mark", ["vector", ""])
@pytest.mark.parametrize(("index", "dtype"), [(int32, float32), (int64, float64)], ids=lambda d: d.name)
def test_lookup(index, dtype, mark, compiled):
    """Entries of tables, by indices of any size; next to them those of vectors of the other width."""
    tables = [tuple(np.array([k / 3 - 2 * m for k in range(16)], dtype.numpy).tolist()) for m in range(2)]
    jobs = [(dtype, lambda i, table=table: lookup(i, table, dtype)) for table in tables]
    i = np.concatenate([np.arange(-40, 40), np.random.default_rng(2).integers(-(2**31), 2**31, 20)])
    compare([index], jobs, [i.astype(index.numpy)], mark, compiled)
    if index is int32:
        wide = (
            float64,
            lambda i: lookup(i, tables[0], float32).cast(float64) * lookup(i.cast(int64), tables[1], float64),
        )
        compare([index], [*jobs, wide], [i.astype(index.numpy)], mark, compiled)


@pytest.mark.parametrize("mark", ["vector", ""])
@pytest.mark.parametrize("source", COMPUTE, ids=lambda d: d.name)
def test_casts(source, mark, compiled):
    """Every pair of compute dtypes; bit casts of equal widths."""
    jobs = [(d, lambda x, d=d: x.cast(d)) for d in COMPUTE]
    same = [d for d in COMPUTE if bool_ not in (source, d) and d.bits == source.bits]
    jobs += [(d, lambda x, d=d: x.bitcast(d)) for d in same]
    compare([source], jobs, operands(source, 1), mark, compiled)


@pytest.mark.parametrize("size", [0, 1, 3, 16, 17, 100])
@pytest.mark.parametrize("dtype", [*REAL, *FLOAT8], ids=lambda d: d.name)
def test_lengths(dtype, size, agree):
    """Whole vectors, rests, and nothing at all."""
    with np.errstate(all="ignore"):
        x = edge_values(dtype.compute)[:size].astype(dtype.numpy)
    b = Builder("lengths")
    bx, by, n = b.input("x", dtype, size), b.output("y", dtype, size), b.scalar("n")
    with b.parallel(n, "vector") as i:
        u = b.load(bx, i)
        b.store(by, i, binary("max", u, u + u) if dtype is not bool_ else u & u)
    agree(b.finish(), [x, np.zeros_like(x)], [size])


LOW = [float16, bfloat16, float8_e4m3fn, float8_e5m2]


@pytest.mark.parametrize("dtype", LOW, ids=lambda d: d.name)
def test_load_every_low_precision_value(dtype, compiled):
    """All bit patterns widen exactly."""
    x = np.arange(1 << dtype.bits, dtype=f"u{dtype.itemsize}").view(dtype.numpy)
    b = Builder("widen")
    bx, by = b.input("x", dtype, len(x)), b.output("y", float32, len(x))
    with b.parallel(len(x), "vector") as i:
        b.store(by, i, b.load(bx, i))
    assert_same(compiled(b.finish(), [x, np.zeros(len(x), "f4")])[1], x.astype("f4"))


@pytest.mark.parametrize("dtype", LOW, ids=lambda d: d.name)
def test_store_rounds_as_ml_dtypes(dtype, compiled):
    """Floats at, between and just beside neighbouring values round to nearest even."""
    grid = np.arange(1 << dtype.bits, dtype=f"u{dtype.itemsize}").view(dtype.numpy).astype("f4")
    finite = np.unique(grid[np.isfinite(grid)])
    middle = ((finite[1:].astype("f8") + finite[:-1]) / 2).astype("f4")
    beside = np.concatenate([np.nextafter(middle, np.float32(s * np.inf)) for s in (1, -1)])
    top = np.float32(finite[-1])
    extra = np.array([np.inf, -np.inf, np.nan, 3e38, 1e-45], "f4")
    bits = np.random.default_rng(0).integers(0, 2**32, 20000, dtype=np.uint32).view("f4")
    with np.errstate(all="ignore"):
        above = top * np.array([1.03, 1.06, 1.1, 2, -1.03, -2], "f4")
        x = np.concatenate([grid, middle, beside, extra, above, bits])
    b = Builder("narrow")
    bx, by = b.input("x", float32, len(x)), b.output("y", dtype, len(x))
    with b.parallel(len(x), "vector") as i:
        b.store(by, i, b.load(bx, i))
    with np.errstate(all="ignore"):
        want = x.astype(dtype.numpy)
    assert_same(compiled(b.finish(), [x, np.zeros(len(x), dtype.numpy)])[1], want)
