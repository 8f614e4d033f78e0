"""LU factorization of larger matrices, a block of columns at a time and by all threads.

Source: the right-looking algorithm of getrf in the LAPACK Users' Guide (Anderson et al., 1999).
"""

from __future__ import annotations

from typing import Any

from plait.core.dtype import int32, int64
from plait.core.graph import Node
from plait.core.primitive import Primitive, Waived
from plait.ir.build import Builder
from plait.ir.gemm import ceil_div, choose_tile, grain, product, smaller
from plait.ir.loop import Buffer, Expr, Index, const, fma, is_const, select, unary
from plait.prims.matrices import SHARD, batch_rule, cost_of, matrix_rule
from plait.prims.small import SMALL
from plait.prims.substitution import MOST, substitute

BLOCK = 32  # columns that are factorized together
STRIP = 8  # columns of a block after which those behind them are updated
ABREAST = 2  # columns of a block that are updated side by side
_ROWS = 16  # rows of a block that are copied at a time
_SOLVED = 4  # rows behind a block in which one substitutes side by side
_BITS = (MOST // BLOCK).bit_length() - 1  # of the number of a task


def is_medium(x: Node) -> bool:
    """Whether square matrices are for the kernel of this file."""
    n = x.shape[-1]
    return not x.dtype.is_complex and isinstance(n, int) and SMALL < n <= MOST and x.aval.size > 0


class _Factorization:
    """The phases of one round, which factorizes the columns from `low` to `high` and updates those behind them.

    The columns of the block are contiguous in `panel`, [BLOCK, n], while they are factorized.
    """

    def __init__(self, site: Any) -> None:
        self.site, self.dtype = site, site.dtype(0).compute
        self.b: Builder = site.builder
        *self.outer, self.n, _ = site.shape(0)
        self.count = product(self.outer)
        self.matrix, self.pivots, self.order, self.info = (site.output(k) for k in range(4))
        self.panel = self.b.workspace(self.dtype, self.count * BLOCK * self.n)
        self.round = self.b.rounds(ceil_div(self.n, BLOCK))
        self.low = self.round * BLOCK
        self.high = smaller(self.low + BLOCK, self.n)

    def element(self, number: Index, row: Index, column: Index, guard: Expr | None = None) -> Expr:
        return self.b.load(self.matrix, self.at(number, row, column), guard)

    def at(self, number: Index, row: Index, column: Index) -> Expr:
        return const((number * self.n + row) * self.n + column)

    def inside(self, number: Index, column: Index, row: Index) -> Expr:
        """Where an element of the block lies; its columns are counted from `low`."""
        return const((number * BLOCK + column) * self.n + row)

    def block_element(self, number: Index, column: Index, row: Index) -> Expr:
        return self.b.load(self.panel, self.inside(number, column, row))

    def width(self, first: Index) -> Index:
        """Columns of the block that begins at `first`."""
        return BLOCK if is_const(const(self.n % BLOCK), 0) else smaller(self.n - first, BLOCK)

    def start(self) -> None:
        """Copy the operand, in the first round."""
        b, n = self.b, self.n
        extent = select(self.round.eq(0), const(self.count * n), const(0))
        with b.parallel(extent, grain=grain(n)) as task:
            number, row = task // n, task % n
            index = self.site.unflatten(number, self.outer)
            with b.vector(0, n) as column:
                b.store(self.matrix, self.at(number, row, column), self.site.read(0, [*index, row, column]))
            b.store(self.order, task, row)
            with b.when(const(row).eq(0)):
                b.store(self.info, number, const(0, int32))

    def eliminate(self) -> None:
        """Copy the block, from its first row on, and factorize it."""
        b, width = self.b, self.high - self.low
        with b.parallel(self.count) as number:
            self.take(number, width)
            with b.loop(0, width, STRIP) as first:
                last = b.local(int64, smaller(first + STRIP, width)).get()
                with b.loop(first, last) as k:
                    self.eliminate_column(number, k, last)
                even = last + (width - last) // ABREAST * ABREAST
                with b.loop(last, even, ABREAST) as column:
                    self.subtract_strip(number, column, first, ABREAST)
                with b.loop(even, width) as column:
                    self.subtract_strip(number, column, first, 1)

    def take(self, number: Index, width: Index) -> None:
        """Copy the block, from its first row on; few rows at a time, whose cache lines are used whole."""
        b, n = self.b, self.n
        chunk = b.loop(self.low, n, _ROWS)
        with chunk as first, b.loop(0, width) as column, b.vector(first, smaller(first + _ROWS, n)) as row:
            b.store(self.panel, self.inside(number, column, row), self.element(number, row, self.low + column))

    def eliminate_column(self, number: Index, k: Expr, last: Expr) -> None:
        """Choose the pivot of a column, divide by it, and update the columns before `last`."""
        b, n = self.b, self.n
        here = self.low + k
        other = self.pivot(number, k)
        b.store(self.pivots, number * n + here, (other + 1).cast(int32))
        self.exchange(self.order, number * n + here, number * n + other)
        with b.loop(0, self.high - self.low) as column:
            self.exchange(self.panel, self.inside(number, column, here), self.inside(number, column, other))
        pivot = b.local(self.dtype, self.block_element(number, k, here)).get()
        is_zero = pivot.eq(0)
        with b.when(is_zero & b.load(self.info, number).eq(const(0, int32))):
            b.store(self.info, number, (here + 1).cast(int32))
        divisor = b.local(self.dtype, select(is_zero, const(1, self.dtype), pivot)).get()
        with b.vector(here + 1, n) as row:
            b.store(self.panel, self.inside(number, k, row), self.block_element(number, k, row) / divisor)
        even = k + 1 + (last - k - 1) // ABREAST * ABREAST
        with b.loop(k + 1, even, ABREAST) as column:
            self.subtract(number, column, k, ABREAST)
        with b.loop(even, last) as column:
            self.subtract(number, column, k, 1)

    def pivot(self, number: Index, k: Index) -> Expr:
        """Return the row of the largest element of column `k` of the block from its diagonal on."""
        b, here = self.b, self.low + k
        largest, chosen = b.accumulator("max", self.dtype, 0), b.accumulator("min", int32, MOST)
        with b.vector(here, self.n) as row:
            largest.add(unary("abs", self.block_element(number, k, row)))
        most = b.local(self.dtype, largest.get()).get()
        with b.vector(here, self.n) as row:
            chosen.add(row.cast(int32), unary("abs", self.block_element(number, k, row)).eq(most))
        found = b.local(int64, chosen.get().cast(int64)).get()
        return b.local(int64, select(found < self.n, found, here)).get()

    def exchange(self, buffer: Buffer, first: Index, second: Index) -> None:
        one, two = (self.b.local(buffer.dtype, self.b.load(buffer, at)).get() for at in (first, second))
        self.b.store(buffer, first, two)
        self.b.store(buffer, second, one)

    def subtract(self, number: Index, column: Index, k: Index, count: int) -> None:
        """Take from columns of the block the multiples of column `k` that their elements of its row are."""
        b, here, columns = self.b, self.low + k, [column + c for c in range(count)]
        factors = [b.local(self.dtype, -self.block_element(number, c, here)).get() for c in columns]
        with b.vector(here + 1, self.n) as row:
            pivots = self.block_element(number, k, row)
            values = [fma(f, pivots, self.block_element(number, c, row)) for f, c in zip(factors, columns, strict=True)]
            values = [b.local(self.dtype, v).get() for v in values]
            for c, value in zip(columns, values, strict=True):
                b.store(self.panel, self.inside(number, c, row), value)

    def subtract_strip(self, number: Index, column: Index, first: Index, count: int) -> None:
        """Do so with all columns of the strip that begins at `first`, in one pass over columns behind it."""
        b, columns, rows = self.b, [column + c for c in range(count)], [self.low + first + s for s in range(STRIP)]
        factors: list[list[Expr]] = [[] for _ in columns]
        for c, known in zip(columns, factors, strict=True):
            for s, row in enumerate(rows):
                value = self.block_element(number, c, row)
                for k in range(s):
                    value = fma(known[k], self.block_element(number, first + k, row), value)
                value = b.local(self.dtype, value).get()
                b.store(self.panel, self.inside(number, c, row), value)
                known.append(b.local(self.dtype, -value).get())
        with b.vector(rows[-1] + 1, self.n) as row:
            values = [self.block_element(number, c, row) for c in columns]
            for k in range(STRIP):
                pivots = self.block_element(number, first + k, row)
                values = [fma(known[k], pivots, v) for known, v in zip(factors, values, strict=True)]
            values = [b.local(self.dtype, v).get() for v in values]
            for c, value in zip(columns, values, strict=True):
                b.store(self.panel, self.inside(number, c, row), value)

    def put(self, number: Index, first: Index, last: Index) -> None:
        """Copy rows of the block back."""
        b = self.b
        with b.loop(first, last) as row, b.vector(0, self.width(self.low)) as column:
            b.store(self.matrix, self.at(number, row, self.low + column), self.block_element(number, column, row))

    def finish(self) -> None:
        """Exchange rows in the other columns, and update those behind the block; put back the block.

        A task works on the same columns in every round, so that they stay in the cache of a core. Tasks are ordered so
        that any part of them in a row has columns everywhere.
        """
        b, n, spread = self.b, self.n, MOST // BLOCK
        flops = 2 * BLOCK * BLOCK * n * ceil_div(n, BLOCK) // spread
        with b.parallel(self.count * spread, grain=grain(flops)) as task:
            number, first = task // spread, b.local(int64, _reversed_bits(task % spread) * BLOCK).get()
            with b.when(first < n):
                width = self.width(first)
                with b.when(first >= self.low):
                    self.put(number, first, first + width)
                with b.when(first.ne(self.low)), b.loop(self.low, self.high) as k:
                    other = b.local(int64, b.load(self.pivots, number * n + k).cast(int64) - 1).get()
                    with b.vector(0, width) as column:
                        self.exchange(self.matrix, *(self.at(number, row, first + column) for row in (k, other)))
                with b.when(first > self.low):
                    self.update(number, first)

    def update(self, number: Index, first: Index) -> None:
        """Substitute in the rows of the block, and subtract their product with its columns from what lies below."""
        b, tile = self.b, choose_tile(self.site.target, self.dtype, self.n, BLOCK)
        negative = b.stack(self.dtype, BLOCK * BLOCK)  # of the substituted rows
        with b.loop(0, BLOCK) as k, b.vector(0, BLOCK) as j:
            value = self.element(number, self.low + k, first + j, first + j < self.n)
            b.store(negative, k * BLOCK + j, -value)

        def factor(row: Index, k: Index) -> Expr:
            return self.block_element(number, k, self.low + row)

        with b.loop(0, BLOCK, _SOLVED) as row:
            substitute(b, negative, BLOCK, _SOLVED, row, BLOCK, factor, unit=True)
        with b.loop(0, BLOCK) as k, b.vector(0, BLOCK) as j:
            value = -b.load(negative, k * BLOCK + j)
            b.store(self.matrix, self.at(number, self.low + k, first + j), value, first + j < self.n)
        with b.loop(self.high, self.n, tile.rows) as row, b.loop(0, BLOCK, tile.columns) as column:
            self.tile(number, row, first, column, negative, tile)

    def tile(self, number: Index, row: Index, first: Index, column: Index, negative: Buffer, tile: Any) -> None:
        """Update one tile, whose sums stay in registers."""
        b, n, width = self.b, self.n, tile.columns
        sums = b.stack(self.dtype, tile.rows * width)
        rows = [smaller(row + r, n - 1) for r in range(tile.rows)]  # those beyond the last are not written
        with b.vector(0, width) as j:
            place = first + column + j
            for r, at in enumerate(rows):
                b.store(sums, r * width + j, self.element(number, at, place, place < n))
        with b.loop(0, BLOCK) as k:
            for r, at in enumerate(rows):
                factor = self.block_element(number, k, at)
                with b.vector(0, width) as j:
                    value = fma(factor, b.load(negative, k * BLOCK + column + j), b.load(sums, r * width + j))
                    b.store(sums, r * width + j, value)
        with b.vector(0, width) as j:
            place = first + column + j
            for r in range(tile.rows):
                value = b.local(self.dtype, b.load(sums, r * width + j)).get()
                b.store(self.matrix, self.at(number, row + r, place), value, (row + r < n) & (place < n))


def _reversed_bits(number: Expr) -> Expr:
    return sum((((number >> bit) & 1) << (_BITS - 1 - bit) for bit in range(_BITS)), const(0))


def _lower(site: Any) -> None:
    site.raw_outputs()
    work = _Factorization(site)
    for phase in (work.start, work.eliminate, work.finish):
        phase()


def _shapes(b: Any, m: Any, n: Any) -> Any:
    return ((*b, m, n), None), ((*b, n), int32), ((*b, m), int64), (b, int32)


_INNER = Waived("the primitive that expands to it holds the rule")
lu_blocked = Primitive(
    "lu_blocked", kind="kernel", aval=matrix_rule("lu", _shapes, square=True), lower=_lower, jvp=_INNER,
    transpose=_INNER, batch=batch_rule, shard=SHARD, cost=cost_of(2 / 3), domain=_INNER, oracle=_INNER, multi=True,
)  # fmt: skip
"""Packed factors, pivots from 1, the order of the rows, and info."""
