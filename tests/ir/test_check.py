"""The checker accepts what the builder writes and names what is wrong."""

from __future__ import annotations

import pytest

from plait.core.dtype import complex64, float32, float64, int32, int64
from plait.core.errors import InternalError
from plait.ir.build import Builder
from plait.ir.check import check
from plait.ir.loop import (
    Accumulate,
    Accumulator,
    Assign,
    Buffer,
    Declare,
    Dots,
    For,
    Local,
    Store,
    Variable,
    const,
    make,
)


def build(write, mark=""):
    """A kernel whose body `write(builder, x, y, i)` writes."""
    b = Builder("k")
    x, y = b.input("x", float32, 100), b.output("y", float32, 100)
    with b.parallel(100, mark) as i:
        write(b, x, y, i)
    return b.finish()


def test_a_right_kernel_passes():
    """Loops, locals, an accumulator and a stack buffer."""

    def write(b, x, y, i):
        s, a = b.stack(float32, 32), b.accumulator("add", float32, 0.0)
        with b.vector(0, 32) as j:
            v = b.local(float32, b.load(x, j))
            v.set(v.get() * 2.0)
            b.store(s, j, v.get())
            a.add(v.get(), guard=j > 3)
        with b.loop(0, 4, 1, "unroll") as r, b.when(r > 1):
            b.store(y, i, b.load(s, r) + a.get())

    check(build(write))


def varying_bound(b, x, y, i):
    with b.loop(0, i):
        b.store(y, i, 0.0)


def nested_vectors(b, x, y, i):
    with b.vector(0, 4) as j:
        b.store(y, i + j, 0.0)


def unrolled_without_bounds(b, x, y, i):
    with b.loop(0, i, 1, "unroll"):
        b.store(y, i, 0.0)


def outer_assignment(b, x, y, i):
    v = b.local(float32, 0.0)
    with b.vector(0, 9) as j:
        v.set(b.load(x, j))
    b.store(y, i, v.get())


def partial_accumulator(b, x, y, i):
    a = b.accumulator("add", float32, 0.0)
    with b.vector(0, 9) as j:
        a.add(b.load(x, j))
        b.store(y, j, a.get())


def scanned_and_added(b, x, y, i):
    a = b.accumulator("add", float32, 0.0)
    with b.vector(0, 9) as j:
        a.add(a.scan(b.load(x, j)))


def deep_scan(b, x, y, i):
    a = b.accumulator("add", float32, 0.0)
    with b.vector(0, 9) as j, b.loop(0, 3):
        a.scan(b.load(x, j))


def scan_of_a_lane(b, x, y, i):
    b.store(y, i, b.accumulator("add", float32, 0.0).scan(b.load(x, i)))


def out_of_scope(b, x, y, i):
    with b.loop(0, 3) as j:
        v = b.local(float32, 0.0)
    b.store(y, j, v.get())


def local_out_of_scope(b, x, y, i):
    with b.loop(0, 3):
        v = b.local(float32, 0.0)
    b.store(y, i, v.get())


def declared_twice(b, x, y, i):
    local = Local("v", float32)
    b.add(Declare(local, const(0.0, float32)))
    b.add(Declare(local, const(0.0, float32)))


def bad_accumulator(b, x, y, i):
    b.accumulator("xor", float32, 0.0)


def foreign_buffer(b, x, y, i):
    b.store(y, i, b.load(Buffer("z", float32, 3, "input"), i))


def big_stack(b, x, y, i):
    b.stack(float64, 40_000)


def wrong_types(b, x, y, i):
    b.store(y, i, make("add", (b.load(x, i), const(1, int64)), float32))


def wrong_dots(b, x, y, i):
    b.add(Dots(y, const(0), x, const(0), x, const(0), 16, 16, const(16), True))


def float_shift(b, x, y, i):
    b.store(y, i, b.load(x, i) << 1)


WRONG = [
    (varying_bound, "vector", "differs between the lanes"),
    (nested_vectors, "vector", "a vector loop inside a vector loop"),
    (unrolled_without_bounds, "", "constant bounds"),
    (outer_assignment, "", "assigned inside a vector loop"),
    (partial_accumulator, "", "read inside the vector loop that adds to it"),
    (scanned_and_added, "", "scanned and added to"),
    (deep_scan, "", "a scan below a statement"),
    (scan_of_a_lane, "vector", "a scan of each lane"),
    (out_of_scope, "", "outside its scope"),
    (local_out_of_scope, "", "outside its scope"),
    (declared_twice, "", "declared twice"),
    (bad_accumulator, "", "an accumulator of xor over float32"),
    (foreign_buffer, "", "outside its scope"),
    (big_stack, "", "bytes of stack"),
    (lambda b, x, y, i: b.stack(float32, 4), "vector", "allocated inside a vector loop"),
    (lambda b, x, y, i: b.store(x, i, 0.0), "", "a store into input"),
    (wrong_types, "", "wrong operands of add"),
    (wrong_dots, "", "dot products of float32 and float32 in float32"),
    (wrong_dots, "vector", "inside a vector loop"),
    (float_shift, "", "wrong operands of shl"),
    (lambda b, x, y, i: b.store(y, i, make("frobnicate", (), float32)), "", "unknown operation"),
    (lambda b, x, y, i: b.store(y, i, make("scalar", (), int64, "n").cast(float32)), "", "wrong operands of scalar"),
    (lambda b, x, y, i: b.add(Store(y, i, const(1.0, float64), None)), "", "is float64, not float32"),
    (lambda b, x, y, i: b.add(Store(y, const(1, int32), const(1.0, float32), None)), "", "is int32, not int64"),
    (lambda b, x, y, i: b.add(Store(y, i, const(1.0, float32), i)), "", "is int64, not bool"),
    (lambda b, x, y, i: b.add(Assign(Local("v", float32), const(1.0, float32))), "", "outside its scope"),
    (lambda b, x, y, i: b.add(For(Variable("i"), i, i, 0, "", [])), "", "step 0"),
    (lambda b, x, y, i: b.add(For(Variable("i"), i, i, 1, "fast", [])), "", "unknown mark"),
    (lambda b, x, y, i: b.prefetch(x, i), "vector", "differs between the lanes"),
    (lambda b, x, y, i: b.prefetch(x, i, 3), "", "a prefetch to level 3"),
    (lambda b, x, y, i: b.prefetch(Buffer("s", float32, 4, "stack"), 0), "", "outside its scope"),
    (lambda b, x, y, i: b.add("store"), "", "unknown statement"),
]


@pytest.mark.parametrize(("write", "mark", "text"), WRONG)
def test_a_wrong_kernel_is_refused(write, mark, text):
    """Every rule, by its message."""
    with pytest.raises(InternalError, match=text):
        check(build(write, mark))


def test_accumulators_are_no_plain_locals():
    """Neither assigned nor, the other way round, accumulated."""

    def assign(b, x, y, i):
        a = b.accumulator("add", float32, 0.0)
        b.add(Assign(a.local, const(1.0, float32)))

    def accumulate(b, x, y, i):
        v = b.local(float32, 0.0)
        b.add(Accumulate(v.local, const(1.0, float32), None))

    def unknown(b, x, y, i):
        b.add(Declare(Accumulator("a", float32, "sub"), const(1.0, float32)))

    for write, text in ((assign, "is assigned"), (accumulate, "is no accumulator"), (unknown, "unknown accumulate")):
        with pytest.raises(InternalError, match=text):
            check(build(write))


def test_arguments():
    """Complex buffers are declared as real ones; stack buffers are no arguments."""
    kernel = build(lambda b, x, y, i: b.store(y, i, 0.0))
    kernel.functions[0].buffers.append(Buffer("c", complex64, 3, "input"))
    with pytest.raises(InternalError, match="is complex"):
        check(kernel)
    kernel.functions[0].buffers[-1] = Buffer("c", float32, 3, "stack")
    with pytest.raises(InternalError, match="is an argument"):
        check(kernel)
