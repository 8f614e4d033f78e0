"""Dot products of blocks of narrow numbers: compiled code against the interpreter, and products made of them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

import plait
from plait.compiler.llvm.emit import emit
from plait.compiler.llvm.jit import host_target, level_target
from plait.core.dtype import bfloat16, bool_, float32, int8, int32, uint8
from plait.core.errors import InternalError
from plait.ir.build import Builder
from plait.ir.dots import has_dots
from plait.ir.loop import Dots, const
from plait.ir.printer import kernel as printed

random = np.random.default_rng(3)
PAIRS = [(bfloat16, bfloat16), (int8, int8), (int8, uint8), (uint8, int8), (uint8, uint8)]


def whole(dtype, count):
    """Whole numbers, so that sums are exact in any order."""
    low, high = {"i": (-128, 128), "u": (0, 256), "f": (-9, 10)}[dtype.kind]
    return random.integers(low, high, count).astype(dtype.numpy)


def block(left, right, rows, columns, depth, adds):
    """A kernel of one block that begins a little behind the start of its operands, and the arrays."""
    total = float32 if left is bfloat16 else int32
    sizes = 128 + rows * depth, 64 + columns * depth, 5 + rows * columns
    b = Builder("block")
    x, y, z = b.input("x", left, sizes[0]), b.input("y", right, sizes[1]), b.output("z", total, sizes[2])
    n = b.scalar("n")
    with b.parallel(2) as i, b.when(i.eq(1)):
        b.add(Dots(z, const(5), x, i * 128, y, const(64), rows, columns, n, adds))
    return b.finish(), [whole(left, sizes[0]), whole(right, sizes[1]), whole(total, sizes[2])]


@pytest.fixture(params=["tiles", "vectors", "x86-64-v3"])
def target(request):
    """The machines to compile for."""
    host = host_target()
    if request.param == "x86-64-v3":
        return level_target(request.param) if host.triple.startswith("x86_64") and host.vector_bytes >= 32 else host
    vectors = replace(host, cpu="znver4", features=host.features.replace("+amx-", "-amx-"))
    return host if request.param == "tiles" or not host.has_tiles else vectors


@pytest.mark.parametrize("adds", [True, False])
@pytest.mark.parametrize(("rows", "columns"), [(16, 16), (16, 32), (32, 16), (32, 32)])
@pytest.mark.parametrize(("left", "right"), PAIRS)
def test_blocks(left, right, rows, columns, adds, target, agree):
    """Every shape of a block, with none to three lines of k."""
    if not has_dots(target, left):
        pytest.skip("another processor")
    line = 64 // left.itemsize
    for depth in (0, line, 3 * line):
        kernel, arrays = block(left, right, rows, columns, depth, adds)
        agree(kernel, arrays, [depth])


def test_printed_and_refused():
    """A block reads as a sum; a processor without such instructions is told."""
    kernel, _ = block(int8, uint8, 16, 32, 64, True)
    assert "z[5 + i * 32 + j] += x[(p1 * 128) + line(k, i of 16)] * y[64 + group(k, j of 32)]" in printed(kernel)
    with pytest.raises(InternalError, match="for a processor without"):
        emit(kernel.functions[0], level_target("x86-64-v3"))


SIZES = [(17, 33, 19), (5, 64, 100), (100, 1, 90), (16, 65, 16), (130, 700, 300), (257, 31, 513), (6, 1000, 40)]


@pytest.mark.parametrize("layout", ["nn", "nt", "tn", "tt"])
@pytest.mark.parametrize("sizes", SIZES)
@pytest.mark.parametrize(("left", "right"), PAIRS)
def test_products(left, right, sizes, layout):
    """Sizes that fill no block; 8-bit integers converted to int32 are multiplied as they are."""
    m, k, n = sizes
    a, b = whole(left, (2, m, k)), whole(right, (2, k, n))
    x, y = (
        plait.tensor(np.ascontiguousarray(v.mT if way == "t" else v)) for v, way in zip((a, b), layout, strict=True)
    )
    wide = bfloat16 if left is bfloat16 else int32

    def product(x, y):
        return (x.mT if layout[0] == "t" else x).to(wide) @ (y.mT if layout[1] == "t" else y).to(wide)

    want = a.astype("f8") @ b.astype("f8")
    got = np.asarray(plait.jit(product)(x, y).to(plait.float64))
    assert (got == want.astype(wide.numpy).astype("f8")).all()


def test_zeros_fill_the_last_line():
    """What lies behind the last k is no number, and does not matter."""
    a = np.full((40, 50), np.nan, "f4")
    a[:, :33] = 1
    x = plait.tensor(a).to(bfloat16)
    got = plait.jit(lambda x: x[:, :33] @ x[:, :33].mT)(x)
    assert (np.asarray(got.to(float32)) == 33).all()


@pytest.mark.skipif(not has_dots(host_target(), int8), reason="another processor")
def test_conversions_are_fused():
    """A product of converted operands is one kernel; of other integers it is computed as ever."""
    x = plait.tensor(whole(int8, (64, 64)))
    (kernel,) = plait.jit(lambda x: x.to(int32) @ x.to(int32)).stages(x).kernels
    assert "group(k, j" in kernel.loops
    flags = plait.tensor(whole(uint8, (64, 64)) > 99)
    got = plait.jit(lambda f: f.to(int32) @ f.to(int32))(flags)
    want = np.asarray(flags).astype(int) @ np.asarray(flags).astype(int)
    assert flags.dtype is bool_
    assert (np.asarray(got) == want).all()
