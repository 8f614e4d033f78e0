"""Matrix multiplication without packing whole operands, in loop IR: few k, few rows, small sizes, complex values."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from plait.core.dtype import DType
from plait.ir.build import Builder
from plait.ir.complex import Complex
from plait.ir.gemm import (
    TASK_FLOPS,
    TASKS,
    Reader,
    ceil_div,
    choose_tile,
    copy_lines,
    grain,
    lanes_of,
    multiply_add,
    panels_for,
    smaller,
    typical,
)
from plait.ir.loop import Expr, Index, const, fma

GuardedReader = Callable[[Index, Index, Index, "Expr | None"], Expr]
"""The same of B, under a guard where it is not None."""

_REUSES, _MANY = 256, 64  # rows that one copy of a panel of B serves, and for which it is worth its while
_CACHED = 16384  # bytes of B that stay in the L1 cache however they lie
_ROWS_BYTES = 262144  # rows of A that one task reads again for each panel stay in the L2 cache


class _Direct:
    """One multiplication with few k: the sums of a tile stay in registers for all of them."""

    def __init__(
        self, b: Builder, target: Any, sizes: Sequence[Any], dtype: DType, along_n: bool, is_followed: bool
    ) -> None:  # fmt: skip
        self.b, self.dtype, self.is_followed = b, dtype, is_followed
        self.batch, self.m, self.n, self.k = sizes
        self.tile, self.lanes = choose_tile(target, dtype, self.n, self.k), lanes_of(target, dtype)
        self.width = self.tile.columns
        is_large = self.n > self.width and self.n * self.k * dtype.itemsize > _CACHED
        self.copied = not along_n or (is_large and typical(self.m) >= _MANY)
        self.height = self.tile.rows
        if isinstance(self.m, int):
            self.height = -(-self.m // -(-self.m // self.tile.rows))  # of about one height, rather than a low last one
        self.whole = self.m // self.height * self.height
        flops = self.n * self.k
        most = min(_ROWS_BYTES // (self.k * dtype.itemsize), max(_REUSES * self.copied, TASK_FLOPS // flops))
        self.rows = panels_for(self.m, self.height, most)

    def run(self, read_a: Reader, read_b: GuardedReader, write: Any) -> None:
        """Write the loops: tasks of some rows and panels of columns."""
        b, width, chunks, panels = self.b, self.width, ceil_div(self.m, self.rows), ceil_div(self.n, self.width)
        is_known = isinstance(self.batch, int) and self.batch > 0
        spread = max(1, min(panels, TASKS // (self.batch * ceil_div(typical(self.m), self.rows)))) if is_known else 1
        span = ceil_div(panels, spread) * width
        flops = 2 * min(typical(self.m), self.rows) * span * self.k
        with b.parallel(self.batch * chunks * spread, grain=grain(flops)) as task:
            rest, low = task // spread, task % spread * span
            batch, first = rest // chunks, rest % chunks * self.rows
            even = self.n // width * width
            with b.loop(low, smaller(low + span, even), width) as n0:
                self.panel(batch, first, n0, width, read_a, read_b, write)
            if even < self.n:
                with b.when(const(low + span) >= self.n):
                    self.panel(batch, first, even, self.n - even, read_a, read_b, write)

    def panel(
        self, batch: Index, first: Index, n0: Index, columns: int, read_a: Reader, read_b: GuardedReader, write: Any
    ) -> None:
        """Compute some rows of a panel of columns, which is copied to private memory where that pays."""
        b, width = self.b, self.width

        def read(s: Index, j: Index, guard: Expr | None) -> Expr:
            return b.load(own, s * width + j, guard) if self.copied else read_b(batch, s, n0 + j, guard)

        if self.copied:
            own = b.stack(self.dtype, self.k * width)
            with b.loop(0, self.k) as s, b.vector(0, columns) as j:
                b.store(own, s * width + j, read_b(batch, s, n0 + j, None))
        with b.loop(first, smaller(first + self.rows, self.whole), self.height) as m0:
            self.corner((batch, m0, n0), (self.height, columns), read_a, read, write)
        if not isinstance(self.m, int):
            self.last_rows(first, lambda m0, rows: self.corner((batch, m0, n0), (rows, columns), read_a, read, write))
        elif self.whole < self.m:
            with b.when(const(first + self.rows) >= self.m):
                self.corner((batch, self.whole, n0), (self.m - self.whole, columns), read_a, read, write)

    def last_rows(self, first: Index, corner: Callable[[Expr, int], None]) -> None:
        """Compute what is left of a number of rows known at run time: tiles of 4, 2 and 1 rows, say."""
        b, m0 = self.b, const(self.whole)
        rows = 1 << (self.height - 1).bit_length() >> 1
        while rows:
            is_there = ((const(self.m) - self.whole) // rows % 2).eq(1)
            with b.when((const(first + self.rows) >= self.m) & is_there):
                corner(m0, rows)
            m0 = m0 + (const(self.m) - self.whole) // rows % 2 * rows
            rows //= 2

    def corner(self, at: Sequence[Index], size: tuple[int, int], read_a: Reader, read_b: Any, write: Any) -> None:
        """Sum one tile in registers, and write it."""
        b, (batch, m0, n0), (rows, columns) = self.b, at, size
        full = -(-columns // self.lanes) * self.lanes  # masked vectors would not stay in registers
        sums, result = b.stack(self.dtype, rows * full), b.stack(self.dtype, rows * full)
        with b.vector(0, full) as j, b.loop(0, rows, mark="unroll") as r:
            b.store(sums, r * full + j, 0)
        with b.loop(0, self.k) as s, b.loop(0, rows, mark="unroll") as r, b.vector(0, full) as j:
            column = read_b(s, j, None if columns == full else j < columns)
            b.store(sums, r * full + j, multiply_add(read_a(batch, m0 + r, s), column, b.load(sums, r * full + j)))
        if columns == full and not self.is_followed:
            with b.loop(0, rows, mark="unroll") as r, b.vector(0, full) as j:
                write(batch, m0 + r, n0 + j, b.load(sums, r * full + j))
            return
        with b.loop(0, rows, mark="unroll") as r, b.vector(0, full) as j:
            b.store(result, r * full + j, b.load(sums, r * full + j))
        with b.loop(0, rows) as r, b.vector(0, columns) as j:
            write(batch, m0 + r, n0 + j, b.load(result, r * full + j))


def multiply_direct(
    b: Builder, target: Any, sizes: Sequence[Any], dtype: DType, read_a: Reader, read_b: GuardedReader, write: Any,
    along_n: bool, is_followed: bool,
) -> None:  # fmt: skip
    """Products with few k: A is read where it is, B too or panel by panel copied, `along_n` if it is contiguous so.

    `sizes` are the batch, m, n and k; `write` is called with a place and a sum, in vector loops along n. Where it
    writes much code, as it does if `is_followed`, there is one copy of it for each row.
    """
    _Direct(b, target, sizes, dtype, along_n, is_followed).run(read_a, read_b, write)


def multiply_streamed(
    b: Builder, batch: Index, m: int, n: Index, k: Index, dtype: DType, read_a: Reader, read_b: Reader, write: Any
) -> None:
    """A few rows times a B that is contiguous along n: B is read once, four rows at a time, the sums stay in cache."""
    width, unroll = 512, 4
    chunks = ceil_div(n, width)
    with b.parallel(batch * chunks, grain=grain(2 * m * width * k)) as task:
        i, first = task // chunks, task % chunks * width
        count = smaller(n - first, width)
        sums = b.stack(dtype, m * width)
        with b.vector(0, m * width) as j:
            b.store(sums, j, 0)

        def add(k0: Index, steps: int) -> None:
            factors = [[b.local(dtype, read_a(i, row, k0 + s)) for s in range(steps)] for row in range(m)]
            with b.vector(0, count) as j:
                columns = [b.local(dtype, read_b(i, k0 + s, first + j)) for s in range(steps)]
                for row in range(m):
                    total = b.load(sums, j + row * width)
                    for factor, column in zip(factors[row], columns, strict=True):
                        total = multiply_add(factor.get(), column.get(), total)
                    b.store(sums, j + row * width, total)

        even = k // unroll * unroll
        with b.loop(0, even, unroll) as k0:
            add(k0, unroll)
        with b.loop(even, k) as k0:
            add(k0, 1)
        for row in range(m):
            with b.vector(0, count) as j:
                write(i, row, first + j, b.load(sums, j + row * width))


def multiply_copied(
    b: Builder, target: Any, sizes: Sequence[Any], dtype: DType, read_a: Reader, read_b: Reader, write: Any
) -> None:
    """A few rows times a B that is contiguous along k: B is read once, by blocks, which are turned in the L1 cache.

    `sizes` are the batch, m, n and k, as for `multiply_direct`.
    """
    batch, m, n, k = sizes
    width = 2 * lanes_of(target, dtype)
    depth, panels = _CACHED // (width * dtype.itemsize), ceil_div(n, width)
    with b.parallel(batch * panels, grain=grain(2 * m * width * k)) as task:
        i, low = task // panels, task % panels * width
        own, sums = b.stack(dtype, depth * width), b.stack(dtype, m * width)
        with b.vector(0, m * width) as j:
            b.store(sums, j, 0)
        with b.loop(0, ceil_div(k, depth)) as block:
            first = block * depth
            count = smaller(k - first, depth)
            copy_lines(b, (own, 0), (low, n), width, count, lambda s, j: read_b(i, first + s, j))
            registers = b.stack(dtype, m * width)
            with b.vector(0, width) as j, b.loop(0, m, mark="unroll") as r:
                b.store(registers, r * width + j, b.load(sums, r * width + j))
            with b.loop(0, count) as s, b.loop(0, m, mark="unroll") as r, b.vector(0, width) as j:
                product = multiply_add(
                    read_a(i, r, first + s), b.load(own, s * width + j), b.load(registers, r * width + j)
                )
                b.store(registers, r * width + j, product)
            with b.vector(0, width) as j, b.loop(0, m, mark="unroll") as r:
                b.store(sums, r * width + j, b.load(registers, r * width + j))
        with b.loop(0, m) as r, b.vector(0, smaller(n - low, width)) as j:
            write(i, r, low + j, b.load(sums, r * width + j))


def multiply_dots(
    b: Builder, batch: Index, m: int, n: Index, k: Index, dtype: DType, read_a: Reader, read_b: Reader, write: Any
) -> None:
    """A few rows times a B that is contiguous along k: dot products, four columns at a time."""
    width = 4
    chunks = ceil_div(n, width)
    with b.parallel(batch * chunks, grain=grain(2 * m * width * k)) as task:
        i, first = task // chunks, task % chunks * width
        columns = [smaller(first + c, n - 1) for c in range(width)]
        sums = [[b.accumulator("add", dtype, 0) for _ in columns] for _ in range(m)]
        with b.vector(0, k) as j:
            factors = [b.local(dtype, read_a(i, row, j)) for row in range(m)]
            for c, column in enumerate(columns):
                value = b.local(dtype, read_b(i, j, column))
                for row in range(m):
                    sums[row][c].add(factors[row].get() * value.get())
        for c in range(width):
            with b.when(const(first + c) < n):
                for row in range(m):
                    write(i, row, first + c, sums[row][c].get())


class Sum:
    """A running sum of products, real or complex."""

    __slots__ = ("parts",)

    def __init__(self, b: Builder, dtype: DType) -> None:
        self.parts = [b.local(dtype.real, 0) for _ in range(2 if dtype.is_complex else 1)]

    def add(self, x: Any, y: Any) -> None:
        """Add x * y."""
        if len(self.parts) == 1:
            self.parts[0].set(multiply_add(x, y, self.parts[0].get()))
            return
        re, im = self.parts
        re.set(fma(x.re, y.re, fma(-x.im, y.im, re.get())))
        im.set(fma(x.re, y.im, fma(x.im, y.re, im.get())))

    def get(self) -> Any:
        """Read the sum."""
        return self.parts[0].get() if len(self.parts) == 1 else Complex(*(p.get() for p in self.parts))


def multiply_plainly(
    b: Builder, batch: Index, m: Index, n: Index, k: Index, dtype: DType, read_a: Any, read_b: Any, write: Any
) -> None:
    """Loops without packing: for small sizes, and for complex values."""
    with b.parallel(batch * m, grain=grain(2 * n * k)) as row:
        i, r = row // m, row % m
        with b.vector(0, n) as j:
            total = Sum(b, dtype)
            with b.loop(0, k) as s:
                total.add(read_a(i, r, s), read_b(i, s, j))
            write(i, r, j, total.get())
