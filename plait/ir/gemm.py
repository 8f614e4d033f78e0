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
from plait.ir.loop import Buffer, Expr, Index, Variable, binary, const, fma, make

Reader = Callable[[Index, Index, Index], Expr]
"""`reader(batch, m, k)` of A or `reader(batch, k, n)` of B: one element."""
Packer = Callable[[Buffer, Index, Index, Index, Index, Index], None]
"""`packer(panel buffer, base, batch, first row or column, first k, number of k)`: writes one panel."""
Writer = Callable[["Block"], None]
Place = tuple[Buffer, Index]

_PANEL_BYTES = 32768  # a panel of B stays in the L1 cache
_TILE_BYTES = 131072  # the part of C that one task sums stays in the L2 cache; when B is packed by all,
_WIDE_TILE_BYTES = 262144  # it has few rows and many columns, so that A is packed seldom,
_WIDE_ROWS = 64  # but enough rows to hide reading the next panel of B, which comes from beyond that cache
_LINE = 64  # bytes of a line of the caches
TASKS = 32  # enough for every thread to have several,
TASK_FLOPS = 200_000  # but each must be worth the trouble
_UNKNOWN = 256
_TOGETHER = 4  # panels of rows that are copied side by side
_UNROLLED = 4  # values of k in a turn of the innermost loop


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
    """Where A[m, k] lies inside its panel: m * row_step + k * depth_step; `together` panels are packed at a time."""

    row_step: int
    depth_step: int
    together: int = 1


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

    @property
    def unit(self) -> int:
        """Rows of A that are packed at a time."""
        return self.tile.rows * self.layout.together


def smaller(a: Index, b: Index) -> Index:
    """The lesser of two indices."""
    return min(a, b) if isinstance(a, int) and isinstance(b, int) else binary("min", const(a), const(b))


def larger(a: Index, b: Index) -> Index:
    """The greater of two indices."""
    return max(a, b) if isinstance(a, int) and isinstance(b, int) else binary("max", const(a), const(b))


def typical(size: Index) -> int:
    """A size to decide by: itself, or a middling one where it is known only at run time."""
    return size if isinstance(size, int) else _UNKNOWN


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
    """Return a packer of A that copies across m, several panels at a time: of one, lines of memory are read in part."""
    together = max(1, min(_TOGETHER, -(-m // tile.rows))) if isinstance(m, int) else _TOGETHER
    width = tile.rows * together

    def pack(panel: Buffer, base: Index, batch: Index, first: Index, k0: Index, count: Index) -> None:
        def copy(is_whole: bool) -> None:
            with b.loop(0, count) as k:
                for number in range(together):
                    begin, place = first + number * tile.rows, base + number * tile.rows * tile.depth + k * tile.rows
                    if not is_whole:
                        with b.vector(0, tile.rows) as i:
                            b.store(panel, place + i, 0)
                    with b.vector(0, tile.rows if is_whole else smaller(larger(m - begin, 0), tile.rows)) as i:
                        b.store(panel, place + i, read(batch, begin + i, k0 + k))

        if isinstance(m, int) and m % width == 0:
            copy(True)
            return
        with b.when(const(m) - first >= width):
            copy(True)
        with b.otherwise():
            copy(False)

    return Layout(1, tile.rows, together), pack


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
    together: int = 1

    @property
    def panels(self) -> Index:
        """Panels of a block; the last ones may hold nothing."""
        return ceil_div(self.size, self.width * self.together) * self.together

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
    side_a = _Cut(g.m, tile.rows, rows, a_elements, blocks, g.layout.together)
    side_b = _Cut(g.n, tile.columns, columns, tile.columns * tile.depth, blocks)
    cut, pack = (side_a, g.pack_a) if shared == "a" else (side_b, g.pack_b)
    packed = b.workspace(g.dtype, g.batch * blocks * cut.panels * cut.elements)
    together = g.layout.together if shared == "a" else 1
    pieces = cut.panels // together
    with b.parallel(g.batch * blocks * pieces, grain=grain(cut.elements * together)) as p:
        rest, panel = p // pieces, p % pieces * together
        block = rest % blocks
        first_k, base = block * tile.depth, (rest * cut.panels + panel) * cut.elements
        pack(packed, base, rest // blocks, panel * cut.width, first_k, _depth(g, first_k))
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
    tile, itemsize = g.tile, g.dtype.itemsize
    if shared == "a":
        rows = panels_for(g.m, g.unit, 512)
        columns = panels_for(g.n, tile.columns, min(8 * tile.columns, _TILE_BYTES // itemsize // rows))
    else:
        rows = panels_for(g.m, g.unit, _WIDE_ROWS)
        columns = panels_for(g.n, tile.columns, _WIDE_TILE_BYTES // itemsize // max(rows, _WIDE_ROWS))
    return _spread(g, rows, columns, shared)


def panels_for(size: Index, width: int, most: int) -> int:
    """Whole panels for `size`, at least one, at most `most` elements."""
    wanted = -(-size // width) * width if isinstance(size, int) else most
    return max(width, min(wanted, most // width * width))


def _spread(g: Gemm, rows: int, columns: int, shared: str) -> tuple[int, int]:
    """Cut finer until there are enough tasks for a large machine, the side first whose cut repeats no packing."""
    batch = g.batch if isinstance(g.batch, int) else 1
    m, n, k, tile = typical(g.m), typical(g.n), typical(g.k), g.tile
    least_rows, least_columns = (8 * tile.rows, tile.columns) if shared == "a" else (4 * tile.rows, 4 * tile.columns)
    while batch * -(-m // rows) * -(-n // columns) < TASKS and rows * columns * k > TASK_FLOPS:
        fewer_rows, fewer_columns = _half(rows, g.unit), _half(columns, tile.columns)
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
    pitch = side_b.chunk + _LINE // g.dtype.itemsize  # rows must not share cache sets
    sums = b.stack(g.dtype, side_a.chunk * pitch)
    with b.vector(0, side_a.chunk * pitch) as i:
        b.store(sums, i, 0)
    ahead = -(-tile.columns * tile.rows // side_a.chunk)  # over all rows the next panel of B, a share for each k
    with b.loop(0, side_a.blocks) as block:
        first_k = block * tile.depth
        depth = _depth(g, first_k)
        if shared == "b":
            with b.loop(0, ceil_div(rows, tile.rows), g.layout.together) as i:
                g.pack_a(own, i * side_a.elements, batch, m + i * tile.rows, first_k, depth)
        with b.loop(0, ceil_div(columns, tile.columns)) as j:
            if shared == "a":  # one panel, used at once by all rows: it does not leave the L1 cache
                g.pack_b(own, 0, batch, n + j * tile.columns, first_k, depth)
            with b.loop(0, ceil_div(rows, tile.rows)) as i:
                a_panel: Place = (own, i * side_a.elements)
                b_panel: Place = (own, 0)
                soon: tuple[Buffer, Index, int] | None = None
                if shared == "a":
                    a_panel = packed, side_a.base(batch, block, m // tile.rows + i)
                else:
                    b_panel = packed, side_b.base(batch, block, n // tile.columns + j)
                    soon = packed, b_panel[1] + side_b.elements + i * (ahead * tile.depth), ahead
                corner = i * (tile.rows * pitch) + j * tile.columns
                micro_kernel(b, g, a_panel, b_panel, depth, (sums, corner, pitch), soon)
    g.write(Block(sums, pitch, batch, m, n, rows, columns))


def micro_kernel(
    b: Builder, g: Gemm, a: Place, other: Place, depth: Index, c: tuple[Buffer, Index, int],
    soon: tuple[Buffer, Index, int] | None,
) -> None:  # fmt: skip
    """Add the product of one panel of A and one of B to a `rows` x `columns` corner of the sums.

    `soon` is what is read next: where it begins, and how many elements of it to fetch for each k. The accumulators are
    a stack buffer with constant indices only, which the compiler keeps in registers.
    """
    tile, (a_panel, a_base), (b_panel, b_base), (sums, corner, pitch) = g.tile, a, other, c
    registers = b.stack(g.dtype, tile.rows * tile.columns)
    with b.vector(0, tile.columns) as j, b.loop(0, tile.rows, mark="unroll") as r:
        b.store(registers, r * tile.columns + j, b.load(sums, corner + r * pitch + j))

    def add(k: Index) -> None:
        # row by row: so that one element of A and the row of B need registers besides the sums
        if soon is not None:
            buffer, start, ahead = soon
            b.prefetch(buffer, start + k * ahead, 2)
        with b.loop(0, tile.rows, mark="unroll") as r, b.vector(0, tile.columns) as j:
            element = b.load(a_panel, a_base + k * g.layout.depth_step + r * g.layout.row_step)
            column = b.load(b_panel, b_base + k * tile.columns + j)
            slot = r * tile.columns + j
            b.store(registers, slot, multiply_add(element, column, b.load(registers, slot)))

    whole: Index = 0
    if soon is not None:  # only then: LLVM keeps the order around a fetch; else it might use more registers than exist
        whole = depth // _UNROLLED * _UNROLLED
        with b.loop(0, whole, _UNROLLED) as k, b.loop(0, _UNROLLED, mark="unroll") as turn:
            add(k + turn)
    with b.loop(whole, depth) as k:
        add(k)
    with b.vector(0, tile.columns) as j, b.loop(0, tile.rows, mark="unroll") as r:
        b.store(sums, corner + r * pitch + j, b.load(registers, r * tile.columns + j))
