"""Statements, loops and memory accesses: compiled code against the interpreter."""

from __future__ import annotations

import numpy as np
import pytest

from plait.compiler.llvm.emit import emit
from plait.compiler.llvm.jit import assembly, host_target
from plait.compiler.llvm.text import Target
from plait.core.dtype import bfloat16, bool_, complex64, float16, float32, float64, int8, int32, int64, uint8
from plait.ir.build import Builder
from plait.ir.loop import binary, const, fma, select, unary
from tests.compiler.llvm.compiling import assert_same

random = np.random.default_rng(1)


def floats(*shape):
    """Random float32."""
    return random.normal(size=shape).astype("f4").ravel()


ACCESSES = {
    "reversed": lambda i, n: 36 - i,
    "stride 2": lambda i, n: i * 2,
    "stride 2 odd": lambda i, n: i * 2 + 1,
    "stride -2": lambda i, n: 73 - i * 2,
    "stride 3": lambda i, n: i * 3 + 2,
    "run-time stride": lambda i, n: i * n + 1,
    "same": lambda i, n: const(5) + n,
    "quotient": lambda i, n: i // 3 + i % n,
    "broadcast row": lambda i, n: (i % 7) * 2 + i // 7,
}


@pytest.mark.parametrize("dtype", [float32, float64, float16, int8, bool_], ids=lambda d: d.name)
@pytest.mark.parametrize("access", ACCESSES)
def test_load_accesses(access, dtype, agree):
    """Every kind of stride, in whole vectors and the masked rest."""
    x = (random.normal(size=111) * 9).astype(dtype.numpy)
    b = Builder("access")
    bx, by, n = b.input("x", dtype, len(x)), b.output("y", dtype, 37), b.scalar("n")
    with b.parallel(37, "vector") as i:
        b.store(by, i, b.load(bx, ACCESSES[access](i, n)))
    agree(b.finish(), [x, np.zeros(37, dtype.numpy)], [2])


@pytest.mark.parametrize("dtype", [float32, float64, bfloat16, uint8], ids=lambda d: d.name)
@pytest.mark.parametrize("access", [k for k in ACCESSES if k not in ("same", "quotient", "broadcast row")])
def test_store_accesses(access, dtype, agree):
    """Stores of every stride leave the rest of the memory alone."""
    x = (np.abs(random.normal(size=37)) * 9).astype(dtype.numpy)
    b = Builder("access")
    bx, by, n = b.input("x", dtype, 37), b.output("y", dtype, 113), b.scalar("n")
    with b.parallel(37, "vector") as i:
        b.store(by, ACCESSES[access](i, n), b.load(bx, i))
    agree(b.finish(), [x, np.full(113, 7).astype(dtype.numpy)], [2])


def test_gather_scatter(agree):
    """A loaded index; a guard that differs between lanes; a store through a permutation."""
    x, where = floats(50), random.permutation(37).astype("i8")
    b = Builder("gather")
    bx, bi, by = b.input("x", float32, 50), b.input("i", int64, 37), b.output("y", float32, 37)
    with b.parallel(37, "vector") as i:
        k = b.load(bi, i)
        b.store(by, k, b.load(bx, k * 2 - 11, guard=(k * 2 >= 11) & (k * 2 < 61)) + 1.0)
    agree(b.finish(), [x, where, np.zeros(37, "f4")])


@pytest.mark.parametrize("mark", ["vector", ""])
def test_guards(mark, agree):
    """Guarded loads give 0, guarded stores write nothing, and what they would read is not read."""
    x = floats(20)
    b = Builder("guards")
    bx, by, bz = b.input("x", float32, 20), b.output("y", float32, 40), b.output("z", float32, 40)
    n = b.scalar("n")
    with b.parallel(40, mark) as i:
        inside = (i >= 7) & (i < 27)
        b.store(by, i, b.load(bx, i - 7, guard=inside) + b.load(bx, n + 500, guard=n < 0) + b.load(bx, n, n.eq(3)))
        b.store(bz, i, b.load(bx, i - 7) * b.load(bx, n), guard=inside)
        b.store(bz, n, b.load(bx, n + 500), guard=n < 0)
    agree(b.finish(), [x, np.zeros(40, "f4"), np.full(40, 3, "f4")], [3])


def test_varying_guard_of_a_uniform_load(agree):
    """One element is read for all lanes, but only if a lane asks for it."""
    b = Builder("uniform")
    bx, by, bz = b.input("x", float32, 4), b.output("y", float32, 45), b.output("z", float32, 45)
    n = b.scalar("n")
    with b.parallel(45, "vector") as i:
        b.store(by, i, b.load(bx, 2, guard=i < 19) + b.load(bx, n * 1000, guard=i > 100))
        b.store(bz, i, b.load(bx, n * 1000), guard=i > 100)
        b.store(bz, i, b.load(bx, n), guard=i.eq(20))
    agree(b.finish(), [floats(4), np.zeros(45, "f4"), np.zeros(45, "f4")], [3])


@pytest.mark.parametrize("dtype", [float32, float64], ids=lambda d: d.name)
@pytest.mark.parametrize("size", [1, 15, 37])
def test_complex_pairs(dtype, size, agree):
    """Real and imaginary parts: stride 2 loads, two stores that become one; in place too."""
    x = random.normal(size=2 * size).astype(dtype.numpy)
    b = Builder("complex")
    bx, by, bz = b.input("x", dtype, 2 * size), b.output("y", dtype, 2 * size), b.output("z", dtype, 2 * size)
    with b.parallel(size, "vector") as i:
        re, im = b.load(bx, i * 2), b.load(bx, i * 2 + 1)
        b.store(by, i * 2, re * re - im * im)
        b.store(by, i * 2 + 1, re * im * 2.0)
        b.store(bz, i * 2, -b.load(bz, i * 2))
        b.store(bz, i * 2 + 1, b.load(bz, i * 2) + b.load(bz, i * 2 + 1))
        b.store(bz, i * 2, re, guard=i > 3)
        b.store(bz, i * 2 + 1, im, guard=i > 3)
    agree(b.finish(), [x, np.zeros_like(x), random.normal(size=2 * size).astype(dtype.numpy)])
    assert complex64.real is float32


OPS = [("add", float32), ("mul", float64), ("min", float32), ("max", float32), ("add", int32), ("max", uint8)]
OPS += [("and", bool_), ("or", bool_), ("xor", int64), ("min", int8), ("or", uint8)]


@pytest.mark.parametrize("size", [0, 1, 5, 64, 100, 333])
@pytest.mark.parametrize(("op", "dtype"), OPS, ids=lambda v: getattr(v, "name", v))
def test_row_reduction(op, dtype, size, agree):
    """Lane accumulators of a run-time loop, with a starting value and a guard."""
    x = (random.normal(size=3 * size) * 50).astype("i8").astype(dtype.numpy)
    if op == "mul":
        x = 1 + random.normal(size=3 * size) * 0.01
    start = {"b": True}.get(dtype.kind, 3)
    b = Builder("rows")
    rows, n = b.scalar("rows"), b.scalar("n")
    bx, by, bz = b.input("x", dtype, 3 * size), b.output("y", dtype, 3), b.output("z", dtype, 3)
    with b.parallel(rows) as r:
        a, g = b.accumulator(op, dtype, start), b.accumulator(op, dtype, start)
        with b.vector(0, n) as j:
            a.add(b.load(bx, r * n + j))
            g.add(b.load(bx, r * n + j), guard=(j % 3).eq(1))
        b.store(by, r, a.get())
        b.store(bz, r, g.get())
    arrays = [x, np.zeros(3, dtype.numpy), np.zeros(3, dtype.numpy)]
    agree(b.finish(), arrays, [3, size], tolerance=1e-5 if dtype.kind == "f" else None)


@pytest.mark.parametrize("size", [1, 16, 100])
@pytest.mark.parametrize(("op", "dtype"), OPS[:6], ids=lambda v: getattr(v, "name", v))
def test_scan(op, dtype, size, agree):
    """Results so far, along lanes forwards and backwards, and along a plain loop; then the whole."""
    x = (random.normal(size=3 * size) * 50).astype("i8").astype(dtype.numpy)
    if op == "mul":
        x = 1 + random.normal(size=3 * size) * 0.01
    if dtype is float32 and op != "add":
        x[size // 2] = np.nan
    b = Builder("scans")
    rows, n = b.scalar("rows"), b.scalar("n")
    bx, ends = b.input("x", dtype, 3 * size), b.output("ends", dtype, 3)
    outputs = [b.output(name, dtype, 3 * size) for name in ("forwards", "backwards", "plain")]
    with b.parallel(rows) as r:
        whole = b.accumulator(op, dtype, 3)
        with b.vector(0, n) as j:
            b.store(outputs[0], r * n + j, whole.scan(b.load(bx, r * n + j)))
        b.store(ends, r, whole.get())
        total = b.accumulator(op, dtype, 3)
        with b.vector(0, n) as j:
            b.store(outputs[1], (r + 1) * n - j - 1, total.scan(b.load(bx, (r + 1) * n - j - 1)))
        total = b.accumulator(op, dtype, 3)
        with b.loop(0, n) as j:
            b.store(outputs[2], r * n + j, total.scan(b.load(bx, r * n + j)))
    arrays = [x, np.zeros(3, dtype.numpy), *(np.zeros_like(x) for _ in outputs)]
    agree(b.finish(), arrays, [3, size], tolerance=2e-5 if dtype.kind == "f" else None)


@pytest.mark.parametrize("size", [1, 16, 133])
def test_control_flow_of_lanes(size, agree):
    """Conditions that differ between lanes: what depends on them reads, writes and assigns for some lanes only."""
    x = random.integers(-40, 40, size).astype("f4")
    b = Builder("paths")
    bx, by, bz = b.input("x", float32, size), b.output("y", float32, size), b.output("z", float32, 3)
    ends = b.output("ends", float32, 1)
    n = b.scalar("n")
    with b.parallel(1):
        total = b.accumulator("add", float32, 0.0)
        with b.vector(0, n) as i:
            value, count = b.local(float32, b.load(bx, i)), b.local(float32, 0.0)
            with b.when(value.get() > 0), b.repeat_while(value.get() > 1):
                half = b.local(float32, value.get() * 0.5)
                with b.when(unary("rint", half.get()).eq(half.get())):
                    value.set(half.get())
                with b.otherwise():
                    value.set(value.get() * 3 + 1)
                    total.add(1.0)
                count.set(count.get() + 1)
            with b.otherwise():
                place = i + (value.get() < -39).cast(int64) * 1000  # outside, in lanes that do not read
                with b.when(value.get() >= -39):
                    count.set(b.load(bx, place) * 2)
            with b.when(value.get() > 1000):
                b.store(bz, i, 1.0)
            b.store(by, i, count.get() - value.get())
        b.store(ends, 0, total.get())
    agree(b.finish(), [x, np.zeros_like(x), np.zeros(3, "f4"), np.zeros(1, "f4")], [size])


def test_extremum_of_nan(agree):
    """A NaN anywhere is the result."""
    x = floats(5, 40).reshape(5, 40)
    x[1, 39] = x[2, 3] = np.nan
    x[3] = 0.0
    x[3, 20] = -0.0
    b = Builder("nan")
    bx, by, bz = b.input("x", float32, 200), b.output("y", float32, 5), b.output("z", float32, 5)
    with b.parallel(5) as r:
        low, high = b.accumulator("min", float32, np.inf), b.accumulator("max", float32, -np.inf)
        with b.vector(0, 40) as j:
            low.add(b.load(bx, r * 40 + j))
            high.add(b.load(bx, r * 40 + j))
        b.store(by, r, low.get())
        b.store(bz, r, high.get())
    agree(b.finish(), [x.ravel(), np.zeros(5, "f4"), np.zeros(5, "f4")])


def test_accumulator_over_nested_loops(agree):
    """One accumulator fed by two vector loops of different widths and by scalar code."""
    b = Builder("nested")
    bx, bw, by = b.input("x", float32, 7 * 21), b.input("w", float64, 33), b.output("y", float64, 4)
    with b.parallel(1) as p:
        total = b.accumulator("add", float64, 0.0)
        with b.loop(0, 7) as r:
            with b.vector(0, 21) as j:
                total.add(b.load(bx, r * 21 + j).cast(float64))
            total.add(r.cast(float64))
            with b.when(r < 4):
                b.store(by, r, total.get())
        with b.vector(0, 33) as j:
            total.add(b.load(bw, j))
        b.store(by, p, total.get())
    agree(b.finish(), [floats(147), random.normal(size=33), np.zeros(4)], tolerance=1e-9)


def test_column_reduction(agree):
    """Accumulators of the lanes themselves."""
    b = Builder("columns")
    rows, columns = b.scalar("rows"), b.scalar("columns")
    bx, by = b.input("x", float32, 9 * 41), b.output("y", float32, 41)
    del rows
    with b.parallel(1), b.vector(0, columns) as j:
        a, largest = b.accumulator("add", float32, 0.0), b.accumulator("max", float32, -1.0)
        with b.loop(0, 9) as r:
            a.add(b.load(bx, r * columns + j), guard=r > 0)
            largest.add(b.load(bx, r * columns + j), guard=(r + j) > 5)
        b.store(by, j, a.get() + largest.get())
    agree(b.finish(), [floats(9 * 41), np.zeros(41, "f4")], [9, 41])


def test_softmax_like(agree):
    """Several vector loops over a row, with values carried between them."""
    b = Builder("rows")
    bx, by, n = b.input("x", float32, 4 * 53), b.output("y", float32, 4 * 53), b.scalar("n")
    with b.parallel(4) as r:
        largest = b.accumulator("max", float32, -np.inf)
        with b.vector(0, n) as j:
            largest.add(b.load(bx, r * n + j))
        top, total = largest.get(), b.accumulator("add", float32, 0.0)
        with b.vector(0, n) as j:
            e = unary("sqrt", unary("abs", b.load(bx, r * n + j) - top))
            b.store(by, r * n + j, e)
            total.add(e)
        scale = const(1.0, float32) / total.get()
        with b.vector(0, n) as j:
            b.store(by, r * n + j, b.load(by, r * n + j) * scale)
    agree(b.finish(), [floats(4 * 53), np.zeros(4 * 53, "f4")], [53], tolerance=1e-5)


def test_control_flow(agree):
    """While, if and else, locals, in scalar code: Collatz lengths."""
    b = Builder("collatz")
    by, bz = b.output("y", int64, 30), b.output("z", int64, 30)
    with b.parallel(30) as i:
        n, steps, largest = b.local(int64, i + 1), b.local(int64, 0), b.local(int64, 0)
        with b.repeat_while(n.get() > 1):
            with b.when((n.get() % 2).eq(0)):
                n.set(n.get() // 2)
            with b.otherwise():
                n.set(n.get() * 3 + 1)
            steps.set(steps.get() + 1)
            largest.set(binary("max", largest.get(), n.get()))
        b.store(by, i, steps.get())
        b.store(bz, i, largest.get())
    y = agree(b.finish(), [np.zeros(30, "i8"), np.zeros(30, "i8")])[0]
    assert y[26] == 111


def test_while_reads_memory(agree):
    """A condition that loads: binary search."""
    keys, wanted = np.sort(floats(77)), floats(50)
    b = Builder("search")
    bk, bw, by = b.input("k", float32, 77), b.input("w", float32, 50), b.output("y", int64, 50)
    with b.parallel(50) as i:
        low, high = b.local(int64, 0), b.local(int64, 77)
        with b.repeat_while(low.get() < high.get()):
            middle = (low.get() + high.get()) // 2
            smaller = b.load(bk, middle) < b.load(bw, i)
            new_low = select(smaller, middle + 1, low.get())
            high.set(select(smaller, high.get(), middle))
            low.set(new_low)
        b.store(by, i, low.get())
    y = agree(b.finish(), [keys, wanted, np.zeros(50, "i8")])[2]
    assert_same(y, np.searchsorted(keys, wanted))


def test_fresh_reads_keep_their_value(agree):
    """A read happens at its first use and does not see later writes."""
    b = Builder("fresh")
    by, bz = b.output("y", float32, 40), b.output("z", float32, 40)
    with b.parallel(40, "vector") as i:
        v, old = b.local(float32, 1.5), b.load(by, i)
        before = v.get()
        v.set(before + old)
        b.store(by, i, v.get())
        v.set(v.get() * before)
        b.store(bz, i, v.get() + old + b.load(by, i))
    agree(b.finish(), [floats(40), np.zeros(40, "f4")])


def test_uniform_branches_inside_vector_loops(agree):
    """Inner loops and ifs that all lanes take together; loads are not hoisted out of an if."""
    b = Builder("branches")
    bx, by, n = b.input("x", float32, 40), b.output("y", float32, 40), b.scalar("n")
    with b.parallel(40, "vector") as i:
        a = b.accumulator("add", float32, 0.0)
        with b.loop(0, n) as r:
            with b.when(r < 3):
                a.add(b.load(bx, i) * r.cast(float32))
            with b.when(r > 50):
                a.add(b.load(bx, i + 1_000_000) + b.load(bx, n + 1_000_000))
            with b.otherwise():
                a.add(b.load(bx, i % (r + 1)))
        with b.loop(n, 5) as r:
            a.add(b.load(bx, n * 100_000))
        b.store(by, i, a.get())
    agree(b.finish(), [floats(40), np.zeros(40, "f4")], [6])


@pytest.mark.parametrize("step", [1, 3])
def test_scalar_loops(step, agree):
    """Constant and run-time bounds, steps, empty loops, a loop of one turn."""
    b = Builder("loops")
    by, n = b.output("y", int64, 8), b.scalar("n")
    with b.parallel(1):
        for k, (low, high) in enumerate([(0, 7), (2, n), (n, 2), (5, 5), (n, n + 1), (3, 4), (9, 3)]):
            a = b.accumulator("add", int64, 0)
            with b.loop(low, high, step) as i:
                a.add(i * i + 1)
            b.store(by, k, a.get())
    agree(b.finish(), [np.zeros(8, "i8")], [11])


@pytest.mark.parametrize("size", [1, 16, 31, 32, 128, 130, 500])
def test_constant_vector_loops(size, agree):
    """Short ones are written out, long ones stay loops; both with a masked rest."""
    b = Builder("constant")
    bx, by, bz = b.input("x", float32, size), b.output("y", float32, size + 1), b.output("z", int64, size)
    with b.parallel(1) as p:
        a = b.accumulator("max", float32, -5.0)
        with b.vector(0, size) as j:
            b.store(by, j, b.load(bx, j) * 2.0)
            b.store(bz, j, j * 3 - 1)
            a.add(b.load(bx, p + j))
        b.store(by, size, a.get())
    agree(b.finish(), [floats(size), np.zeros(size + 1, "f4"), np.zeros(size, "i8")])


@pytest.mark.parametrize("dtype", [float32, bfloat16, bool_, int32], ids=lambda d: d.name)
def test_stack(dtype, agree):
    """A private buffer: written in vectors, read back in another order."""
    x = (random.normal(size=4 * 45) * 3).astype(dtype.numpy)
    b = Builder("stack")
    bx, by = b.input("x", dtype, 180), b.output("y", dtype, 180)
    with b.parallel(4) as r:
        s = b.stack(dtype, 45)
        with b.vector(0, 45) as j:
            b.store(s, j, b.load(bx, r * 45 + j))
        with b.vector(0, 45) as j:
            b.store(by, r * 45 + j, b.load(s, 44 - j))
    agree(b.finish(), [x, np.zeros_like(x)])


def test_phases_share_a_workspace(agree):
    """Two functions of one kernel."""
    b = Builder("phases")
    bx, by = b.input("x", float32, 50), b.output("y", float32, 50)
    w = b.workspace(float32, 50)
    with b.parallel(50, "vector") as i:
        b.store(w, i, b.load(bx, i) + 1.0)
    with b.parallel(50) as i:
        b.store(by, i, b.load(w, 49 - i) * b.load(w, i))
    agree(b.finish(), [floats(50), np.zeros(50, "f4"), np.zeros(50, "f4")])


def test_index_values(agree):
    """Index arithmetic used as values: affine in float, comparisons, quotients."""
    b = Builder("iota")
    outputs = [b.output("a", float32, 70), b.output("b", int32, 70), b.output("c", bool_, 70), b.output("d", int64, 70)]
    n = b.scalar("n")
    with b.parallel(70, "vector") as i:
        b.store(outputs[0], i, (i * 3 - n).cast(float32))
        b.store(outputs[1], i, ((i * n) // 7).cast(int32))
        b.store(outputs[2], i, (i * i < n * 20) | (i % n).eq(1))
        b.store(outputs[3], i, binary("rem", i - 35, n) + binary("div", i - 35, n) * 100)
    arrays = [np.zeros(70, d) for d in ("f4", "i4", "?", "i8")]
    agree(b.finish(), arrays, [5])
    agree(b.finish(), arrays, [0])


def test_index_division_of_known_range(agree):
    """Constant extents allow 32-bit division."""
    b = Builder("known")
    bx, by = b.input("x", float32, 60), b.output("y", float32, 60)
    bz, n = b.output("z", int64, 60), b.scalar("n")
    with b.parallel(3) as r, b.vector(0, 20) as j:
        flat = r * 20 + j
        b.store(by, flat, b.load(bx, (flat % 4) * 15 + flat // 4))
        b.store(bz, flat, (flat // 7) * 10 + flat % 7 + flat // (r + 1) + flat % r + (flat * 2**40) // 3 + flat % n)
    agree(b.finish(), [floats(60), np.zeros(60, "f4"), np.zeros(60, "i8")], [7])


def test_shared_index_expressions(agree):
    """Doubling an index many times stays linear in the number of expressions."""
    b = Builder("shared")
    by = b.output("y", int64, 20)
    with b.parallel(20, "vector") as i:
        e = i
        for _ in range(60):
            e = binary("add", e, e)
        b.store(by, i, e)
    agree(b.finish(), [np.zeros(20, "i8")])


def test_a_target_without_vectors():
    """Vector loops become plain loops."""
    b = Builder("scalar")
    bx, by = b.input("x", float32, 20), b.output("y", float32, 1)
    with b.parallel(1):
        a = b.accumulator("add", float32, 0.0)
        with b.vector(0, 20) as j:
            a.add(b.load(bx, j))
        b.store(by, 0, a.get())
    text = emit(b.finish().functions[0], Target("thumbv7em-none-eabi", "cortex-m4", "", 0, 0))
    assert " x float>" not in text
    assert "fadd float" in text


def gemm_tile(rows, columns):
    """C[rows, columns] = A[rows, k] @ B[k, columns] with the accumulators in registers."""
    b = Builder("tile")
    k = b.scalar("k")
    ba, bb = b.input("a", float32, k * rows), b.input("b", float32, k * columns)
    bc = b.output("c", float32, rows * columns)
    with b.parallel(1):
        s = b.stack(float32, rows * columns)
        with b.loop(0, rows, 1, "unroll") as r, b.vector(0, columns) as j:
            b.store(s, r * columns + j, 0.0)
        with b.loop(0, k) as p, b.loop(0, rows, 1, "unroll") as r:
            a = b.load(ba, r * k + p)
            with b.vector(0, columns) as j:
                b.store(s, r * columns + j, fma(a, b.load(bb, p * columns + j), b.load(s, r * columns + j)))
        with b.loop(0, rows, 1, "unroll") as r, b.vector(0, columns) as j:
            b.store(bc, r * columns + j, b.load(s, r * columns + j))
    return b.finish()


def test_gemm_tile(agree):
    """The numbers of a register tile."""
    agree(gemm_tile(4, 32), [floats(4, 19), floats(19, 32), np.zeros(128, "f4")], [19])


def test_gemm_tile_stays_in_registers():
    """16 fused multiply-adds a step on AVX-512, and nothing on the stack."""
    target = host_target()
    if target.vector_bytes != 64:
        pytest.skip("AVX-512 only")
    text = assembly(emit(gemm_tile(8, 32).functions[0], target), target)
    assert text.count("vfmadd") == 16
    assert text.count("vbroadcastss") + text.count("{1to16}") == 8
    assert "(%rsp)" not in text
