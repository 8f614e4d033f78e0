"""Matrix multiplication in loop IR, for every contraction: C[b, m, n] = sum over k of A[b, m, k] * B[b, k, n].

The operands are given as readers, so transposes, image patches and fused producers cost nothing extra. Both are
packed into panels: A into `rows` x depth, B into depth x `columns`, where a `rows` x `columns` block of C stays in
registers. The shared side is packed whole, once, in a first phase; each task of the second phase packs its own
part of the other side, one block of k at a time, and sums into a tile on its stack. How the work is cut depends on
the sizes alone, so results do not depend on the number of threads.

After Goto and van de Geijn, "Anatomy of high-performance matrix multiplication" (2008).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from plait.core.dtype import DType, int64
from plait.ir.build import Builder
from plait.ir.complex import Complex
from plait.ir.loop import Buffer, Expr, Index, Variable, binary, const, fma, make

Reader = Callable[[Index, Index, Index], Expr]
"""`reader(batch, m, k)` of A or `reader(batch, k, n)` of B: one element."""
GuardedReader = Callable[[Index, Index, Index, "Expr | None"], Expr]
"""The same of B, under a guard where it is not None."""
Packer = Callable[[Buffer, Index, Index, Index, Index, Index], None]
"""`packer(panel buffer, base, batch, first row or column, first k, number of k)`: writes one panel."""
Writer = Callable[["Block"], None]
Place = tuple[Buffer, Index]

_PANEL_BYTES = 32768  # a panel of B stays in the L1 cache
_TILE_BYTES = 131072  # the part of C that one task sums stays in the L2 cache,
_PRIVATE_BYTES = 147456  # and so does what it packs
_TASKS = 32  # enough for every thread to have several,
_TASK_FLOPS = 200_000  # but each must be worth the trouble
_REUSES = 256  # rows that one copy of a small B serves


@dataclass(frozen=True, slots=True)
class Tile:
    """The shape of the micro-kernel: `rows` x `columns` sums in registers, `depth` values of k in a block."""

    rows: int
    columns: int
    depth: int

    @property
    def pitch(self) -> int:
        """Elements between the rows of a panel of A that is packed along k."""
        return self.depth + 16  # not a multiple of 4 KiB: rows must not share cache sets


@dataclass(frozen=True, slots=True)
class Layout:
    """Where A[m, k] lies inside its panel: m * row_step + k * depth_step."""

    row_step: int
    depth_step: int


@dataclass(frozen=True, slots=True)
class Block:
    """Sums ready to be written: rows from `m`, columns from `n` of batch `batch`; `rows` and `columns` are valid."""

    sums: Buffer
    pitch: int
    batch: Index
    m: Index
    n: Index
    rows: Index
    columns: Index

    def at(self, row: Index, column: Index) -> Index:
        """Position of a sum in `sums`."""
        return row * self.pitch + column


@dataclass(slots=True)
class Gemm:
    """One multiplication: sizes (integers or run-time values), the compute dtype, and how to pack and write."""

    batch: Index
    m: Index
    n: Index
    k: Index
    dtype: DType
    tile: Tile
    layout: Layout
    pack_a: Packer
    pack_b: Packer
    write: Writer


def smaller(a: Index, b: Index) -> Index:
    """The lesser of two indices."""
    return min(a, b) if isinstance(a, int) and isinstance(b, int) else binary("min", const(a), const(b))


def larger(a: Index, b: Index) -> Index:
    """The greater of two indices."""
    return max(a, b) if isinstance(a, int) and isinstance(b, int) else binary("max", const(a), const(b))


def ceil_div(a: Index, b: int) -> Index:
    """a / b rounded up, for a >= 0."""
    return (a + (b - 1)) // b


def product(sizes: Any) -> Index:
    """The product of indices."""
    result: Index = 1
    for size in sizes:
        result = size * result
    return result


def grain(flops: Index) -> int:
    """Iterations worth waking a thread for, when each does `flops` operations."""
    return max(1, 100_000 // max(flops, 1)) if isinstance(flops, int) else 1


def lanes_of(target: Any, dtype: DType) -> int:
    """Values in a vector register of the machine; narrower ones use as many lanes as those of 32 bits."""
    return max(1, getattr(target, "vector_bytes", 64) // max(dtype.itemsize, 4))


def choose_tile(target: Any, dtype: DType, n: Index, k: Index) -> Tile:
    """Return the micro-kernel for a machine: `target` has `vector_bytes` and `vector_registers` (or is None)."""
    lanes = lanes_of(target, dtype)
    rows = 8 if getattr(target, "vector_registers", 32) >= 32 else 6
    columns = lanes if isinstance(n, int) and n <= lanes else 2 * lanes
    depth = max(16, _PANEL_BYTES // (columns * dtype.itemsize))
    if isinstance(k, int):
        blocks = max(1, -(-k // (depth + depth // 8)))  # blocks of one length, rather than a short last one
        depth = max(16, -(-k // (16 * blocks)) * 16)
    return Tile(rows, columns, depth)


def multiply_add(a: Expr, b: Expr, c: Expr) -> Expr:
    """a * b + c, in one rounding for floats."""
    return fma(a, b, c) if c.dtype.kind == "f" else a * b + c


# which way memory runs


def step(index: Expr, variable: Expr) -> int | None:
    """Return how much `index` grows with `variable`, or None where that is not a constant."""
    if index is variable:
        return 1
    steps = [step(a, variable) for a in index.args]
    if not any(s != 0 for s in steps):
        return 0
    if index.op in ("add", "sub") and None not in steps:
        return steps[0] + steps[1] if index.op == "add" else steps[0] - steps[1]  # type: ignore[operator]
    if index.op == "mul":
        for s, other in ((steps[0], index.args[1]), (steps[1], index.args[0])):
            if s is not None and other.op == "const":
                return s * int(other.attr)
    return None


def is_contiguous(read: Callable[[Expr], Expr]) -> bool:
    """Whether `read(i)` reads every buffer at neighbouring places as i grows."""
    variable = make("var", (), int64, Variable("probe"))
    pending, seen = [read(variable)], set()
    while pending:
        value = pending.pop()
        if value in seen:
            continue
        seen.add(value)
        if value.op == "load" and step(value.args[0], variable) not in (0, 1):
            return False
        pending.extend(value.args if value.op != "load" else value.args[1:])
    return True


def is_load(value: Expr) -> bool:
    """Whether a value is read from memory and nothing else, at a place that is not itself read."""
    return value.op == "load" and len(value.args) == 1 and not any(a.op == "load" for a in _below(value.args[0]))


def _below(value: Expr) -> set[Expr]:
    found, pending = set(), [value]
    while pending:
        e = pending.pop()
        if e not in found:
            found.add(e)
            pending.extend(e.args)
    return found


# packing by readers


def row_packer(b: Builder, tile: Tile, read: Reader, m: Index) -> tuple[Layout, Packer]:
    """Return a packer of A that copies rows along k: for an A that is contiguous there."""

    def pack(panel: Buffer, base: Index, batch: Index, first: Index, k0: Index, count: Index) -> None:
        with b.loop(0, tile.rows) as r:
            row = smaller(first + r, m - 1)  # rows beyond the edge repeat the last: their sums are not written
            with b.vector(0, count) as k:
                b.store(panel, base + r * tile.pitch + k, read(batch, row, k0 + k))

    return Layout(tile.pitch, 1), pack


def column_packer(b: Builder, tile: Tile, read: Reader, m: Index) -> tuple[Layout, Packer]:
    """Return a packer of A that copies across m."""

    def pack(panel: Buffer, base: Index, batch: Index, first: Index, k0: Index, count: Index) -> None:
        copy_lines(b, (panel, base), (first, m), tile.rows, count, lambda k, i: read(batch, i, k0 + k))

    return Layout(1, tile.rows), pack


def panel_packer(b: Builder, tile: Tile, read: Reader, n: Index) -> Packer:
    """Return a packer of B that copies across n."""

    def pack(panel: Buffer, base: Index, batch: Index, first: Index, k0: Index, count: Index) -> None:
        copy_lines(b, (panel, base), (first, n), tile.columns, count, lambda k, j: read(batch, k0 + k, j))

    return pack


def copy_lines(
    b: Builder, to: Place, span: tuple[Index, Index], width: int, count: Index,
    read: Callable[[Index, Index], Expr],
) -> None:  # fmt: skip
    """Write `count` lines of `width` elements; `span` is the first one's place and the size that ends the last panel.

    What lies beyond is zero: stale memory may hold subnormal numbers, with which arithmetic is slow.
    """
    (panel, base), (first, size) = to, span

    def copy(columns: Index) -> None:
        with b.loop(0, count) as k:
            if not (isinstance(columns, int) and columns == width):
                with b.vector(0, width) as j:
                    b.store(panel, base + k * width + j, 0)
            with b.vector(0, columns) as j:
                b.store(panel, base + k * width + j, read(k, first + j))

    if isinstance(size, int) and (size % width == 0 or size < width):
        copy(min(size, width))
        return
    left = const(size) - first
    with b.when(left >= width):
        copy(width)
    with b.otherwise():
        copy(left)


def row_writer(b: Builder, write: Callable[[Index, Index, Index, Expr], None], along_rows: bool = False) -> Writer:
    """Return a writer that calls `write(batch, m, n, value)` in vector loops along n, or along m."""

    def write_block(block: Block) -> None:
        if along_rows:
            with b.loop(0, block.columns) as j, b.vector(0, block.rows) as i:
                write(block.batch, block.m + i, block.n + j, b.load(block.sums, block.at(i, j)))
        else:
            with b.loop(0, block.rows) as i, b.vector(0, block.columns) as j:
                write(block.batch, block.m + i, block.n + j, b.load(block.sums, block.at(i, j)))

    return write_block


# the multiplication


@dataclass(frozen=True, slots=True)
class _Cut:
    """How one side is cut: `size` into tasks of `chunk`, made of panels of `width` and `elements` per block of k."""

    size: Index
    width: int
    chunk: int
    elements: int
    blocks: Index

    @property
    def panels(self) -> Index:
        return ceil_div(self.size, self.width)

    @property
    def chunks(self) -> Index:
        return ceil_div(self.size, self.chunk)

    def count(self, first: Index) -> Index:
        """Valid rows or columns in the chunk that starts at `first`."""
        if isinstance(self.size, int) and (self.size % self.chunk == 0 or self.size < self.chunk):
            return min(self.size, self.chunk)
        return smaller(self.size - first, self.chunk)

    def base(self, batch: Index, block: Index, panel: Index) -> Index:
        """Where a panel of the shared side begins in its workspace."""
        return ((batch * self.blocks + block) * self.panels + panel) * self.elements


def multiply(b: Builder, g: Gemm, shared: str) -> None:
    """Write the whole multiplication; `shared` ("a" or "b") is packed in a phase of its own, by all threads."""
    tile = g.tile
    blocks = ceil_div(g.k, tile.depth)
    rows, columns = _chunks(g, shared)
    a_elements = tile.rows * (tile.pitch if g.layout.depth_step == 1 else tile.depth)
    side_a = _Cut(g.m, tile.rows, rows, a_elements, blocks)
    side_b = _Cut(g.n, tile.columns, columns, tile.columns * tile.depth, blocks)
    cut, pack = (side_a, g.pack_a) if shared == "a" else (side_b, g.pack_b)
    packed = b.workspace(g.dtype, g.batch * blocks * cut.panels * cut.elements)
    with b.parallel(g.batch * blocks * cut.panels, grain=grain(cut.elements)) as p:
        panel, rest = p % cut.panels, p // cut.panels
        block = rest % blocks
        first_k = block * tile.depth
        pack(packed, p * cut.elements, rest // blocks, panel * cut.width, first_k, _depth(g, first_k))
    flops = 2 * rows * columns * g.k
    with b.parallel(g.batch * side_a.chunks * side_b.chunks, grain=grain(flops)) as task:
        rest, n = task // side_b.chunks, task % side_b.chunks * columns
        _task(b, g, (side_a, side_b), shared, packed, (rest // side_a.chunks, rest % side_a.chunks * rows, n))


def _depth(g: Gemm, first_k: Index) -> Index:
    """Values of k in the block that starts at `first_k`."""
    depth = g.tile.depth
    if isinstance(g.k, int) and (g.k % depth == 0 or g.k < depth):
        return min(g.k, depth)
    return smaller(g.k - first_k, depth)


def _chunks(g: Gemm, shared: str) -> tuple[int, int]:
    """Rows and columns of C that one task computes: large on the shared side, where reuse is free."""
    tile, room, most = g.tile, _PRIVATE_BYTES // g.dtype.itemsize, _TILE_BYTES // g.dtype.itemsize
    if shared == "a":
        rows = _panels(g.m, tile.rows, 512)
        columns = _panels(g.n, tile.columns, min(8 * tile.columns, most // rows))
    else:
        rows = _panels(g.m, tile.rows, min(16 * tile.rows, room // tile.pitch))
        columns = _panels(g.n, tile.columns, most // rows)
    return _spread(g, rows, columns, shared)


def _panels(size: Index, width: int, most: int) -> int:
    """Whole panels for `size`, at least one, at most `most` elements."""
    wanted = -(-size // width) * width if isinstance(size, int) else most
    return max(width, min(wanted, most // width * width))


def _spread(g: Gemm, rows: int, columns: int, shared: str) -> tuple[int, int]:
    """Cut finer until there are enough tasks for a large machine, the side first whose cut repeats no packing."""
    if not (isinstance(g.m, int) and isinstance(g.n, int) and isinstance(g.batch, int)):
        return rows, columns
    tile, k = g.tile, g.k if isinstance(g.k, int) else g.tile.depth
    least_rows, least_columns = (8 * tile.rows, tile.columns) if shared == "a" else (4 * tile.rows, 4 * tile.columns)
    while g.batch * -(-g.m // rows) * -(-g.n // columns) < _TASKS and rows * columns * k > _TASK_FLOPS:
        fewer_rows, fewer_columns = _half(rows, tile.rows), _half(columns, tile.columns)
        can_cut_rows, can_cut_columns = fewer_rows >= least_rows, fewer_columns >= least_columns
        if can_cut_columns and (shared == "a" or not can_cut_rows):
            columns = fewer_columns
        elif can_cut_rows:
            rows = fewer_rows
        else:
            break
    return rows, columns


def _half(size: int, width: int) -> int:
    """Half of `size`, in whole panels, rounded up; 0 if it is one panel."""
    return (size // width + 1) // 2 * width if size > width else 0


def _task(
    b: Builder, g: Gemm, sides: tuple[_Cut, _Cut], shared: str, packed: Buffer, origin: tuple[Index, Index, Index]
) -> None:
    """Sum one chunk of C over all blocks of k, then write it."""
    (side_a, side_b), (batch, m, n), tile = sides, origin, g.tile
    rows, columns = side_a.count(m), side_b.count(n)
    panels = 1 if shared == "a" else side_a.chunk // tile.rows
    own = b.stack(g.dtype, panels * (side_b if shared == "a" else side_a).elements)
    sums = b.stack(g.dtype, side_a.chunk * side_b.chunk)
    with b.vector(0, side_a.chunk * side_b.chunk) as i:
        b.store(sums, i, 0)
    with b.loop(0, side_a.blocks) as block:
        first_k = block * tile.depth
        depth = _depth(g, first_k)
        if shared == "b":
            with b.loop(0, ceil_div(rows, tile.rows)) as i:
                g.pack_a(own, i * side_a.elements, batch, m + i * tile.rows, first_k, depth)
        with b.loop(0, ceil_div(columns, tile.columns)) as j:
            if shared == "a":  # one panel, used at once by all rows: it does not leave the L1 cache
                g.pack_b(own, 0, batch, n + j * tile.columns, first_k, depth)
            with b.loop(0, ceil_div(rows, tile.rows)) as i:
                a_panel: Place = (own, i * side_a.elements)
                b_panel: Place = (own, 0)
                if shared == "a":
                    a_panel = packed, side_a.base(batch, block, m // tile.rows + i)
                else:
                    b_panel = packed, side_b.base(batch, block, n // tile.columns + j)
                corner = i * (tile.rows * side_b.chunk) + j * tile.columns
                micro_kernel(b, g, a_panel, b_panel, depth, (sums, corner, side_b.chunk))
    g.write(Block(sums, side_b.chunk, batch, m, n, rows, columns))


def micro_kernel(
    b: Builder, g: Gemm, a: Place, other: Place, depth: Index, c: tuple[Buffer, Index, int]
) -> None:  # fmt: skip
    """Add the product of one panel of A and one of B to a `rows` x `columns` corner of the sums.

    The accumulators are a stack buffer with constant indices only, which the compiler keeps in registers.
    """
    tile, (a_panel, a_base), (b_panel, b_base), (sums, corner, pitch) = g.tile, a, other, c
    registers = b.stack(g.dtype, tile.rows * tile.columns)
    with b.vector(0, tile.columns) as j, b.loop(0, tile.rows, mark="unroll") as r:
        b.store(registers, r * tile.columns + j, b.load(sums, corner + r * pitch + j))
    # row by row: so that one element of A and the row of B need registers besides the sums
    with b.loop(0, depth) as k, b.loop(0, tile.rows, mark="unroll") as r, b.vector(0, tile.columns) as j:
        element = b.load(a_panel, a_base + k * g.layout.depth_step + r * g.layout.row_step)
        column = b.load(b_panel, b_base + k * tile.columns + j)
        slot = r * tile.columns + j
        b.store(registers, slot, multiply_add(element, column, b.load(registers, slot)))
    with b.vector(0, tile.columns) as j, b.loop(0, tile.rows, mark="unroll") as r:
        b.store(sums, corner + r * pitch + j, b.load(registers, r * tile.columns + j))


# multiplications not worth packing


def multiply_direct(
    b: Builder, target: Any, sizes: tuple[Index, int, int, int], dtype: DType, read_a: Reader, read_b: GuardedReader,
    write: Any, pack: bool,
) -> None:  # fmt: skip
    """Products whose B stays in the L1 cache: A is read where it is, and so is B, or (`pack`) a copy with rows along n.

    `sizes` are the batch, m, n and k; `write` is called with a place and a sum, in vector loops along n.
    """
    batch, m, n, k = sizes
    tile, lanes = choose_tile(target, dtype, n, k), lanes_of(target, dtype)
    height = -(-m // -(-m // tile.rows))  # tiles of about one height, rather than a low last one
    whole, rows = m // height * height, _panels(m, height, max(_REUSES * pack, _TASK_FLOPS // (n * k)))
    chunks, pitch = ceil_div(m, rows), -(-n // lanes) * lanes

    def block(batch: Index, m0: Index, rows: int, read: GuardedReader) -> None:
        for n0 in range(0, n, tile.columns):
            width = min(tile.columns, n - n0)
            full = -(-width // lanes) * lanes  # masked vectors would not stay in registers
            sums, result = b.stack(dtype, rows * full), b.stack(dtype, rows * full)
            with b.vector(0, full) as j, b.loop(0, rows, mark="unroll") as r:
                b.store(sums, r * full + j, 0)
            with b.loop(0, k) as s, b.loop(0, rows, mark="unroll") as r, b.vector(0, full) as j:
                column = read(batch, s, n0 + j, None if width == full else j < width)
                total = multiply_add(read_a(batch, m0 + r, s), column, b.load(sums, r * full + j))
                b.store(sums, r * full + j, total)
            with b.loop(0, rows, mark="unroll") as r, b.vector(0, full) as j:
                b.store(result, r * full + j, b.load(sums, r * full + j))
            with b.loop(0, rows) as r, b.vector(0, width) as j:
                write(batch, m0 + r, n0 + j, b.load(result, r * full + j))

    with b.parallel(batch * chunks, grain=grain(2 * min(m, rows) * n * k)) as task:
        i, first = task // chunks, task % chunks * rows
        read = read_b
        if pack:
            panel = b.stack(dtype, k * pitch)
            with b.loop(0, k) as s, b.vector(0, n) as j:
                b.store(panel, s * pitch + j, read_b(i, s, j, None))
            read = lambda i, s, j, guard: b.load(panel, s * pitch + j, guard)  # noqa: E731 - one of two
        with b.loop(first, smaller(first + rows, whole), height) as m0:
            block(i, m0, height, read)
        if whole < m:
            with b.when(const(first + rows) >= m):
                block(i, whole, m - whole, read)


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
