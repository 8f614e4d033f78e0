"""Products of narrow matrices, bfloat16 and int8, by blocks of dot products: `Dots` of the loop IR.

Both operands are packed into panels whose values of k lie in groups: whole, in phases of their own, or by the task that
alone would read them. A task sums one block of k after another, into blocks on its stack. How the work is cut depends
on the sizes alone, so results do not depend on the number of threads.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from plait.core.dtype import DType, bfloat16
from plait.ir.build import Builder
from plait.ir.gemm import TASKS, Place, Reader, ceil_div, grain, panels_for, smaller, typical
from plait.ir.loop import Buffer, Dots, Expr, Index, const

_SIDE = 32  # rows and columns of the sums that stay in registers
_LINE = 64  # bytes of k that one instruction multiplies
_DEPTH = 512  # bytes of k in a block: two panels of such depth stay in the L1 cache
_ROWS, _COLUMNS = 128, 256  # of the sums of one task, which stay in the L2 cache
_TOGETHER = 8  # panels of the right operand that are packed side by side: of one, lines are far apart in memory
_TASK_FLOPS = 2_000_000  # tasks must be worth packing their rows anew


def has_dots(target: Any, dtype: DType) -> bool:
    """Whether the machine has dot products of operands of a dtype, so that `multiply_narrow` may be used."""
    return bool(target is not None and (target.has_bfloat_dots if dtype is bfloat16 else target.has_byte_dots))


@dataclass(slots=True)
class Narrow:
    """One product: sizes, the dtypes of the packed operands and of the sums, how to read and write.

    Results are written along m if `along_rows`. If `turns_left` the left operand is contiguous along m, not along k.
    """

    batch: Index
    m: Index
    n: Index
    k: Index
    left: DType
    right: DType
    total: DType
    read_left: Reader
    read_right: Reader
    write: Callable[[Index, Index, Index, Expr], None]
    along_rows: bool
    turns_left: bool

    @property
    def line(self) -> int:
        """Values of k in a line."""
        return _LINE // self.left.itemsize

    @property
    def group(self) -> int:
        """Values of k in a group."""
        return 4 // self.left.itemsize

    @property
    def depth(self) -> int:
        """Values of k in a block: blocks of one length, rather than a short last one."""
        most = _DEPTH // self.left.itemsize
        if not isinstance(self.k, int):
            return most
        blocks = max(1, -(-self.k // (most + most // 8)))
        return max(1, -(-self.k // (self.line * blocks))) * self.line

    @property
    def columns(self) -> int:
        """Columns of a panel."""
        return _SIDE // 2 if isinstance(self.n, int) and self.n <= _SIDE // 2 else _SIDE

    def part(self, block: Index) -> tuple[Index, Index]:
        """The first k of a block, and how many there are."""
        first, depth = block * self.depth, self.depth
        if isinstance(self.k, int) and (self.k % depth == 0 or self.k < depth):
            return first, min(self.k, depth)
        return first, smaller(self.k - first, depth)

    def whole(self, count: Index) -> Index:
        """`count` values of k, rounded up to lines: what is beyond is packed as zeros."""
        return ceil_div(count, self.line) * self.line


def multiply_narrow(b: Builder, g: Narrow) -> None:
    """Write the whole multiplication."""
    rows, columns = _chunks(g)
    height = min(_SIDE, rows)
    down, across, blocks = ceil_div(g.m, rows), ceil_div(g.n, columns), ceil_div(g.k, g.depth)
    left, right = _Side(g.m, height, g.depth, blocks), _Side(g.n, g.columns, g.depth, blocks)
    shared_left = None if _is_one(across) else _share_left(b, g, left)
    shared_right = None if _is_one(down) else _share_right(b, g, right)
    with b.parallel(g.batch * down * across, grain=grain(rows * columns * g.k // 8)) as task:
        rest, m = task // down, task % down * rows  # neighbours read the same panels of the right operand
        batch, n = rest // across, rest % across * columns
        sums, size, wide = b.stack(g.total, rows * columns), height * g.columns, columns // g.columns
        counts = ceil_div(_valid(g.m, m, rows), height), ceil_div(_valid(g.n, n, columns), g.columns)
        lefts = b.stack(g.left, rows * g.depth) if shared_left is None else shared_left
        rights = b.stack(g.right, columns * g.depth) if shared_right is None else shared_right

        def add(block: Index, adds: bool) -> None:
            _, count = part = g.part(block)
            left_at = right_at = const(0)
            if shared_left is None:
                with b.loop(0, counts[0]) as i:
                    _pack_left(b, g, (lefts, i * left.panel), batch, (m + i * height, height), part)
            else:
                left_at = left.base(batch, block, m // height)
            if shared_right is None:
                _pack_right(b, g, (rights, 0), batch, (n, counts[1]), part)
            else:
                right_at = right.base(batch, block, n // g.columns)
            with b.loop(0, counts[1]) as j, b.loop(0, counts[0]) as i:
                b.add(Dots(
                    sums, (i * wide + j) * size, lefts, left_at + i * left.panel, rights, right_at + j * right.panel,
                    height, g.columns, const(g.whole(count)), adds,
                ))  # fmt: skip

        add(0, False)
        with b.loop(1, blocks) as block:
            add(block, True)
        _write(b, g, (sums, wide), (batch, m, n), counts, height)


def _is_one(tasks: Index) -> bool:
    """Whether only one task would read a panel of the other side, so that it had better pack it itself."""
    return isinstance(tasks, int) and tasks <= 1


def _share_left(b: Builder, g: Narrow, side: _Side) -> Buffer:
    """Pack the left operand in a phase of its own."""
    shared = b.workspace(g.left, g.batch * side.elements)
    with b.parallel(g.batch * side.blocks * side.panels, grain=grain(side.panel)) as p:
        rest, number = p // side.panels, p % side.panels
        batch, block = rest // side.blocks, rest % side.blocks
        _pack_left(b, g, (shared, p * side.panel), batch, (number * side.width, side.width), g.part(block))
    return shared


def _share_right(b: Builder, g: Narrow, side: _Side) -> Buffer:
    """Pack the right operand in a phase of its own."""
    shared = b.workspace(g.right, g.batch * side.elements)
    pieces = ceil_div(side.panels, _TOGETHER)
    with b.parallel(g.batch * side.blocks * pieces, grain=grain(_TOGETHER * side.panel)) as p:
        rest, number = p // pieces, p % pieces * _TOGETHER
        batch, block = rest // side.blocks, rest % side.blocks
        span = number * side.width, smaller(side.panels - number, _TOGETHER)
        _pack_right(b, g, (shared, side.base(batch, block, number)), batch, span, g.part(block))
    return shared


@dataclass(frozen=True, slots=True)
class _Side:
    """Where the packed panels of one operand lie: by batch, block of k, and number."""

    size: Index
    width: int
    depth: int
    blocks: Index

    @property
    def panels(self) -> Index:
        return ceil_div(self.size, self.width)

    @property
    def panel(self) -> int:
        """Elements of a panel."""
        return self.width * self.depth

    @property
    def elements(self) -> Index:
        return self.blocks * self.panels * self.panel

    def base(self, batch: Index, block: Index, number: Index) -> Expr:
        return const(((batch * self.blocks + block) * self.panels + number) * self.panel)


def _valid(size: Index, first: Index, most: int) -> Index:
    """How many of `most` rows or columns from `first` on there are; a constant where all parts are whole."""
    return most if isinstance(size, int) and size % most == 0 else smaller(size - first, most)


def _write(
    b: Builder, g: Narrow, source: tuple[Buffer, int], to: tuple[Index, Index, Index], counts: tuple[Index, Index],
    height: int,
) -> None:  # fmt: skip
    """Write the sums of a task line by line; they lie in blocks, of which `counts` are valid down and across."""
    (sums, wide), (batch, m, n), (down, across), width = source, to, counts, g.columns

    def write(i: Index, r: Index, j: Index, c: Index) -> None:
        value = b.load(sums, (i * wide + j) * (height * width) + r * width + c)
        g.write(batch, m + i * height + r, n + j * width + c, value)

    if g.along_rows:
        with (
            b.loop(0, across) as j, b.loop(0, _valid(g.n, n + j * width, width)) as c, b.loop(0, down) as i,
            b.vector(0, _valid(g.m, m + i * height, height)) as r,
        ):  # fmt: skip
            write(i, r, j, c)
    else:
        with (
            b.loop(0, down) as i, b.loop(0, _valid(g.m, m + i * height, height)) as r, b.loop(0, across) as j,
            b.vector(0, _valid(g.n, n + j * width, width)) as c,
        ):  # fmt: skip
            write(i, r, j, c)


def _chunks(g: Narrow) -> tuple[int, int]:
    """Rows and columns of the sums of a task: fewer than the most until there are enough tasks for a large machine."""
    rows = panels_for(g.m, _SIDE // 2 if isinstance(g.m, int) and g.m <= _SIDE // 2 else _SIDE, _ROWS)
    columns = panels_for(g.n, g.columns, _COLUMNS)
    batch, m, n = g.batch if isinstance(g.batch, int) else 1, typical(g.m), typical(g.n)
    while batch * -(-m // rows) * -(-n // columns) < TASKS and 2 * rows * columns * typical(g.k) > _TASK_FLOPS:
        if rows >= columns and rows >= 2 * _SIDE and rows < m:
            rows = rows // _SIDE // 2 * _SIDE
        elif columns >= 2 * g.columns:
            columns = columns // g.columns // 2 * g.columns
        else:
            break
    return rows, columns


def _pack_left(
    b: Builder, g: Narrow, to: Place, batch: Index, span: tuple[Index, int], part: tuple[Index, Index]
) -> None:  # fmt: skip
    """Copy rows in lines, with zeros up to a whole one; rows beyond the edge keep what was there."""
    (panel, base), (m, height), (first, count), line = to, span, part, g.line
    rows, whole, rest = _valid(g.m, m, height), count // line, count % line

    def copy(r: Index, q: Index, t: Index) -> None:
        b.store(panel, base + (q * height + r) * line + t, g.read_left(batch, m + r, first + q * line + t))

    if g.turns_left:
        with b.loop(0, whole) as q, b.loop(0, line) as t, b.vector(0, rows) as r:
            copy(r, q, t)
    else:
        with b.loop(0, rows) as r, b.loop(0, whole) as q, b.vector(0, line) as t:
            copy(r, q, t)
    if rest == 0:
        return
    with b.when(const(rest) > 0), b.loop(0, rows) as r:
        with b.vector(0, line) as t:
            b.store(panel, base + (whole * height + r) * line + t, 0)
        with b.vector(0, rest) as t:
            copy(r, whole, t)


def _pack_right(
    b: Builder, g: Narrow, to: Place, batch: Index, span: tuple[Index, Index], part: tuple[Index, Index]
) -> None:  # fmt: skip
    """Copy some panels in groups of k, with zeros up to a whole line; columns beyond the edge keep what was there.

    `span` is the first column and the number of panels.
    """
    (panels, base), (n, across), (first, count), group, width = to, span, part, g.group, g.columns
    whole = count // group

    def place(q: Index, p: Index, j: Index, s: int) -> Index:
        return base + (p * (width * g.depth) + (q * width + j) * group) + s

    def copy(q: Index, p: Index, j: Index, s: int) -> None:
        b.store(panels, place(q, p, j, s), g.read_right(batch, first + q * group + s, n + p * width + j))

    def columns(p: Index) -> Index:
        return _valid(g.n, n + p * width, width)

    with b.loop(0, whole) as q, b.loop(0, across) as p, b.vector(0, columns(p)) as j:
        for s in range(group):
            copy(q, p, j, s)
    if count % g.line == 0:
        return
    with b.loop(whole, g.whole(count) // group) as q, b.loop(0, across) as p:
        for s in range(group):
            with b.when(const(q * group + s) < count), b.vector(0, columns(p)) as j:
                copy(q, p, j, s)
            with b.otherwise(), b.vector(0, columns(p)) as j:
                b.store(panels, place(q, p, j, s), 0)
