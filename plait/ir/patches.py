"""Convolution as implicit matrix multiplication over a padded copy of the input.

The padded copy holds what strides, padding and dilation make of the input, once: after it every tap is a shift of
one contiguous array, and packing a panel of patches is a plain copy.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import product as product_of
from math import prod
from typing import Any

from plait.core.dtype import bool_, int64
from plait.ir.build import Builder
from plait.ir.convolution import Convolution, Position, Window, flat, padded_value, segments, unflat
from plait.ir.gemm import (
    Block,
    Gemm,
    Layout,
    Packer,
    Tile,
    ceil_div,
    choose_tile,
    column_packer,
    grain,
    is_contiguous,
    larger,
    multiply,
    panel_packer,
    product,
    row_packer,
    row_writer,
    smaller,
)
from plait.ir.loop import Buffer, Index, const

# y from x and w


def convolve_spaced(b: Builder, c: Convolution) -> None:
    """A convolution of stride 1 over a spaced input (the gradient of a strided one), without multiplying zeros.

    The outputs of one residue modulo the spacing meet the same taps: each residue is a dense convolution of its own.
    """
    for residues in product_of(*(range(w.spacing) for w in c.windows)):
        parts = [_residue(w, r) for w, r in zip(c.windows, residues, strict=True)]

        def spread(position: Position, residues: Sequence[int] = residues) -> list[Index]:
            return [p * w.spacing + r for p, w, r in zip(position, c.windows, residues, strict=True)]

        def write(n: Index, channel: Index, position: Position, value: Any, spread: Any = spread) -> None:
            c.write(n, channel, spread(position), value)

        def read_w(group: Index, o: Index, channel: Index, taps: Position, parts: Any = parts) -> Any:
            original = [first + t * step for t, (_, first, step) in zip(taps, parts, strict=True)]
            return c.read_w(group, o, channel, original)

        part = replace(c, windows=[w for w, _, _ in parts], write=write, read_w=read_w)
        if all(w.taps for w, _, _ in parts):
            convolve(b, part)
        else:
            _write_zeros(b, part)


def _residue(w: Window, residue: int) -> tuple[Window, int, int]:
    """The window of the outputs at `residue`, with its first tap in the original and the step between its taps."""
    assert isinstance(w.taps, int)
    assert isinstance(w.low, int)
    hits = [t for t in range(w.taps) if (residue + t * w.dilation - w.low) % w.spacing == 0]
    first, step = (hits[0] if hits else 0), (hits[1] - hits[0] if len(hits) > 1 else 1)
    low = -((residue + first * w.dilation - w.low) // w.spacing)
    out = (w.out + (w.spacing - 1 - residue)) // w.spacing
    return Window(w.size, out, len(hits), 1, low, 1, max(1, step * w.dilation // w.spacing)), first, step


def _write_zeros(b: Builder, c: Convolution) -> None:
    *outer, last = c.out
    channels = c.groups * c.outputs
    with b.parallel(c.images * channels * product(outer), grain=grain(last)) as p:
        n, channel, *rows = unflat(p, [c.images, channels, *outer])
        with b.vector(0, last) as column:
            c.write(n, channel, [*rows, column], const(0, c.dtype))


def is_spaced(c: Convolution) -> bool:
    """Whether `convolve_spaced` applies, and writes few enough loops."""
    plain = all(w.stride == 1 and isinstance(w.taps, int) and isinstance(w.low, int) for w in c.windows)
    return plain and 1 < prod(w.spacing for w in c.windows) <= 9


def convolve(b: Builder, c: Convolution) -> None:
    """y as a matrix product for each group: weights times patches, with the patches of a panel packed on the way."""
    k = product([c.inputs, *c.taps])
    tile = choose_tile(c.target, c.dtype, c.images * product(c.out), k)
    patches = _Direct(b, c, tile) if all(w.is_trivial for w in c.windows) else _Patches(b, c, tile)

    def read(group: Index, o: Index, at: Index) -> Any:
        channel, *taps = unflat(at, [c.inputs, *c.taps])
        return c.read_w(group, o, channel, taps)

    along_k = is_contiguous(lambda i: read(0, 0, i))
    layout, pack_a = (row_packer if along_k else column_packer)(b, tile, read, c.outputs)
    g = Gemm(c.groups, c.outputs, patches.columns, k, c.dtype, tile, layout, pack_a, patches.pack, patches.write)
    few = isinstance(patches.columns, int) and isinstance(c.outputs, int) and patches.columns <= c.outputs
    multiply(b, g, "b" if few else "a")


def clear_end(b: Builder, copy: Buffer, size: Index, count: int) -> None:
    """Zero what the last panel reads beyond the end of a copy: stale memory may hold subnormal numbers."""
    with b.vector(0, count) as i:
        b.store(copy, size + i, 0)


class _Pixels:
    """Output pixels as the columns of a matrix, all images in one sequence."""

    def __init__(self, b: Builder, c: Convolution, tile: Tile) -> None:
        self.b, self.c, self.tile = b, c, tile
        self.image = product(c.out)
        self.columns: Index = c.images * self.image

    def write(self, block: Block) -> None:
        """Write the valid pixels, image by image."""
        b, c = self.b, self.c
        segment = segments(b, block.n, block.columns, self.image, self.image)
        with segment as (n, pixel, low, high), b.loop(0, block.rows) as i, b.vector(low, high) as j:
            value = b.load(block.sums, block.at(i, j))
            c.write(n, block.batch * c.outputs + block.m + i, unflat(pixel + j, c.out), value)

    def clear_edge(self, panel: Buffer, base: Index, first: Index, count: Index) -> None:
        """Zero the panel that begins at column `first` if it is not full."""
        b, width = self.b, self.tile.columns
        with b.when(const(self.columns) - first < width), b.vector(0, count * width) as i:
            b.store(panel, base + i, 0)


class _Direct(_Pixels):
    """The patches of a 1 x 1 convolution: the input itself."""

    def pack(self, panel: Buffer, base: Index, group: Index, first: Index, k0: Index, count: Index) -> None:
        """Write one panel of input pixels."""
        b, c, width = self.b, self.c, self.tile.columns
        self.clear_edge(panel, base, first, count)
        segment = segments(b, first, smaller(self.columns - first, width), self.image, self.image)
        with segment as (n, pixel, low, high), b.loop(0, count) as k, b.vector(low, high) as j:
            value = c.read_x(n, group * c.inputs + k0 + k, unflat(pixel + j, c.out), None)
            b.store(panel, base + k * width + j, value)


class _Patches(_Pixels):
    """The patches of any convolution, from a padded copy split by residues modulo the strides.

    With `merged` axes the pixels of a panel run through the padded copy, rows and their padding alike, so that a
    panel is one contiguous piece; the columns between rows are computed and dropped. Otherwise a panel is
    gathered from the rows that it crosses.
    """

    def __init__(self, b: Builder, c: Convolution, tile: Tile) -> None:
        super().__init__(b, c, tile)
        *self.outer, self.last = c.out
        self.lengths = [w.quotients for w in c.windows]
        self.plane = product([*(w.phases for w in c.windows), *self.lengths])
        self.merged = self._choose_merged()
        if self.merged:
            self.run = self._run(self.merged)
            self.panels = ceil_div(self.run, tile.columns)
            self.split = c.out[: len(c.out) - self.merged]
            self.columns = c.images * product(self.split) * self.panels * tile.columns
        self.shifts = b.workspace(int64, product([c.inputs, *c.taps]))
        self.copy = self._copy()

    def _run(self, axes: int) -> Index:
        """Length from the first pixel to the last along the last `axes` axes of a residue."""
        return flat([o - 1 for o in self.c.out[-axes:]], self.lengths[-axes:]) + 1

    def _choose_merged(self) -> int:
        """How many of the last axes to merge: 0 if gathering a panel costs less than computing dropped columns."""
        c, width = self.c, self.tile.columns
        if not all(isinstance(s, int) and s for s in [*c.out, *self.lengths, c.outputs]):
            return 0
        costs: list[Any] = [1 + 8 * (width / self.last + 1) / larger(c.outputs, self.tile.rows)]
        for axes in range(1, len(c.out) + 1):
            costs.append(ceil_div(self._run(axes), width) * width / product(c.out[-axes:]))
        return costs.index(min(costs))

    def _copy(self) -> Buffer:
        """Write the padded copy: one plane for each image and channel, split into residues."""
        b, c = self.b, self.c
        channels = c.groups * c.inputs
        size = c.images * channels * self.plane
        copy = b.workspace(c.dtype, size + self.tile.columns)
        phases = [w.phases for w in c.windows]
        *outer, last = self.lengths
        with b.parallel(c.images * channels * product(phases), grain=grain(product(self.lengths))) as p:
            with b.when(p.eq(0)):
                clear_end(b, copy, size, self.tile.columns)
                with b.vector(0, product([c.inputs, *c.taps])) as k:
                    b.store(self.shifts, k, self._shift(k))
            n, channel, *phase = unflat(p, [c.images, channels, *phases])
            with b.loops(outer) as rows, b.vector(0, last) as column:
                at = [*rows, column]
                place = [q * w.stride + r for w, q, r in zip(c.windows, at, phase, strict=True)]
                value = padded_value(c, n, channel, place)
                b.store(copy, p * product(self.lengths) + flat(at, self.lengths), value)
        return copy

    def _shift(self, k: Index) -> Index:
        """Offset of the patch element k, a channel and a tap, from the first pixel's."""
        windows = self.c.windows
        channel, *taps = unflat(k, [self.c.inputs, *self.c.taps])
        moves = [t * w.dilation for t, w in zip(taps, windows, strict=True)]
        residue = flat([m % w.stride for m, w in zip(moves, windows, strict=True)], [w.phases for w in windows])
        place = flat([m // w.stride for m, w in zip(moves, windows, strict=True)], self.lengths)
        return channel * self.plane + residue * product(self.lengths) + place

    def _origin(self, n: Index, group: Index) -> Index:
        return (n * self.c.groups + group) * self.c.inputs * self.plane

    def _place(self, first: Index) -> tuple[Index, list[Index], Index]:
        """The image, split position and offset in its run of the merged panel that begins at column `first`."""
        panel = first // self.tile.columns
        n, *split = unflat(panel // self.panels, [self.c.images, *self.split])
        return n, split, panel % self.panels * self.tile.columns

    def pack(self, panel: Buffer, base: Index, group: Index, first: Index, k0: Index, count: Index) -> None:
        """Write one panel of patches."""
        b, width = self.b, self.tile.columns
        if self.merged:
            n, split, offset = self._place(first)
            start = self._origin(n, group) + flat([*split, *[0] * self.merged], self.lengths) + offset
            self._copy_lines(panel, base, start, k0, count, 0, width)
            return
        self.clear_edge(panel, base, first, count)
        with segments(b, first, smaller(self.columns - first, width), self.last, self.last) as (row, column, low, high):
            n, *rows = unflat(row, [self.c.images, *self.outer])
            start = self._origin(n, group) + flat([*rows, 0], self.lengths) + column
            self._copy_lines(panel, base, start, k0, count, low, high)

    def _copy_lines(
        self, panel: Buffer, base: Index, start: Index, k0: Index, count: Index, low: Index, high: Index
    ) -> None:
        b = self.b
        with b.loop(0, count) as k:
            source = b.local(int64, start + b.load(self.shifts, k0 + k)).get()
            with b.vector(low, high) as j:
                b.store(panel, base + k * self.tile.columns + j, b.load(self.copy, source + j))

    def write(self, block: Block) -> None:
        """Write the valid pixels, row by row."""
        if not self.merged:
            super().write(block)
            return
        b, c, width = self.b, self.c, self.tile.columns
        with b.loop(0, block.columns // width) as p:
            n, split, offset = self._place(block.n + p * width)
            pitch = self.lengths[-1] if self.merged > 1 else self.run
            with segments(b, offset, smaller(self.run - offset, width), pitch, self.last) as (row, column, low, high):
                inner = unflat(row, self.lengths[-self.merged : -1]) if self.merged > 1 else []
                valid = const(True, bool_)  # rows that lie in the padding of an outer merged axis are dropped
                for i, size in list(zip(inner, c.out[-self.merged : -1], strict=True))[1:]:
                    valid = valid & (const(i) < size)
                with b.when(valid), b.loop(0, block.rows) as i, b.vector(low, high) as j:
                    value = b.load(block.sums, block.at(i, p * width + j))
                    c.write(n, block.batch * c.outputs + block.m + i, [*split, *inner, column + j], value)


# w from x and y


def weigh(b: Builder, c: Convolution) -> None:
    """The gradient of the weights as a matrix product for each group: y times patches, summed over all pixels."""
    k = c.images * product(c.out)
    tile = choose_tile(c.target, c.dtype, product([c.inputs, *c.taps]), k)
    if all(w.is_trivial for w in c.windows):
        _weigh_pointwise(b, c, tile)
        return
    patches = _Channels(b, c, tile)
    layout, pack_a = pixel_packer(b, c, tile, c.read_y, c.outputs)
    g = Gemm(c.groups, c.outputs, patches.columns, k, c.dtype, tile, layout, pack_a, patches.pack, patches.write)
    multiply(b, g, "a")


def pixel_packer(
    b: Builder, c: Convolution, tile: Tile, read: Callable[..., Any], channels: Index
) -> tuple[Layout, Packer]:
    """Return a packer of A whose rows are channels of x or y, along the pixels of all images."""
    image = product(c.out)

    def pack(panel: Buffer, base: Index, group: Index, first: Index, k0: Index, count: Index) -> None:
        with b.loop(0, tile.rows) as r:
            channel = group * channels + smaller(first + r, channels - 1)
            with segments(b, k0, count, image, image) as (n, pixel, low, high), b.vector(low, high) as j:
                b.store(panel, base + r * tile.pitch + j, read(n, channel, unflat(pixel + j, c.out)))

    return Layout(tile.pitch, 1), pack


def _weigh_pointwise(b: Builder, c: Convolution, tile: Tile) -> None:
    """The gradient of 1 x 1 weights: both operands run along the pixels, and the smaller one is packed across them."""
    image = product(c.out)
    swapped = isinstance(c.outputs, int) and isinstance(c.inputs, int) and c.outputs < c.inputs

    def read_x(n: Index, channel: Index, position: Position) -> Any:
        return c.read_x(n, channel, position, None)

    sides = [(c.read_y, c.outputs), (read_x, c.inputs)]
    (read_a, m), (read_b, n) = reversed(sides) if swapped else sides
    layout, pack_a = pixel_packer(b, c, tile, read_a, m)

    def element(group: Index, k: Index, column: Index) -> Any:
        return read_b(k // image, group * n + column, unflat(k % image, c.out))

    def write(group: Index, row: Index, column: Index, value: Any) -> None:
        o, channel = (column, row) if swapped else (row, column)
        c.write(group * c.outputs + o, channel, [0] * len(c.windows), value)

    pack_b, writer = panel_packer(b, tile, element, n), row_writer(b, write, swapped)
    k = c.images * image
    multiply(b, Gemm(c.groups, m, n, k, c.dtype, tile, layout, pack_a, pack_b, writer), "b" if swapped else "a")


class _Channels:
    """Taps and channels as the columns of a matrix, from a padded copy whose last axis is the channel.

    With `by_tap` every tap has panels of its own, each a contiguous piece of a pixel's channels; with few channels
    a panel is gathered across taps.
    """

    def __init__(self, b: Builder, c: Convolution, tile: Tile) -> None:
        self.b, self.c, self.tile = b, c, tile
        *self.outer, self.last = c.out
        self.lengths = [w.padded for w in c.windows]
        self.channels = c.groups * c.inputs
        self.panels = ceil_div(c.inputs, tile.columns)
        padded = self.panels * tile.columns
        self.by_tap = isinstance(c.inputs, int) and isinstance(padded, int) and c.inputs >= 0.75 * padded
        self.columns: Index = product(c.taps) * (padded if self.by_tap else c.inputs)
        self.copy = self._copy()

    def _copy(self) -> Buffer:
        b, c, channels = self.b, self.c, self.channels
        size = c.images * product(self.lengths) * channels
        copy = b.workspace(c.dtype, size + self.tile.columns)
        *outer, last = self.lengths
        group = self.tile.columns  # channels at a time, so that what a column reads is still in the cache for the next
        with b.parallel(c.images * product(outer), grain=grain(last * channels)) as p:
            with b.when(p.eq(0)):
                clear_end(b, copy, size, self.tile.columns)
            n, *rows = unflat(p, [c.images, *outer])
            with b.loop(0, ceil_div(channels, group)) as part, b.loop(0, last) as column:
                first = part * group
                with b.vector(first, smaller(first + group, channels)) as channel:
                    value = padded_value(c, n, channel, [*rows, column])
                    b.store(copy, (p * last + column) * channels + channel, value)
        return copy

    def _shift(self, group: Index, taps: Position, channel: Index) -> Index:
        moves = [t * w.dilation for t, w in zip(taps, self.c.windows, strict=True)]
        return flat(moves, self.lengths) * self.channels + group * self.c.inputs + channel

    def _place(self, first: Index) -> tuple[list[Index], Index]:
        """The tap and the first channel of the panel that begins at column `first`."""
        panel = first // self.tile.columns
        return unflat(panel // self.panels, self.c.taps), panel % self.panels * self.tile.columns

    def pack(self, panel: Buffer, base: Index, group: Index, first: Index, k0: Index, count: Index) -> None:
        """Write one panel of patches."""
        b, c, width = self.b, self.c, self.tile.columns
        shifts = None
        if self.by_tap:
            shift = self._shift(group, *self._place(first))
        else:
            shifts, shift = b.stack(int64, width), 0
            with b.vector(0, width) as j:
                *taps, channel = unflat(smaller(first + j, self.columns - 1), [*c.taps, c.inputs])
                b.store(shifts, j, self._shift(group, taps, channel))
        with segments(b, k0, count, self.last, self.last) as (row, column, low, high):
            n, *rows = unflat(row, [c.images, *self.outer])
            line = flat([n, *(r * w.stride for r, w in zip(rows, c.windows, strict=False)), 0], [0, *self.lengths])
            with b.loop(low, high) as k:
                source = (line + (column + k) * c.windows[-1].stride) * self.channels + shift
                with b.vector(0, width) as j:
                    place = source + (j if shifts is None else b.load(shifts, j))
                    b.store(panel, base + k * width + j, b.load(self.copy, place))

    def write(self, block: Block) -> None:
        """Write the gradient of the weights."""
        b, c, width = self.b, self.c, self.tile.columns
        if not self.by_tap:
            with b.loop(0, block.rows) as i, b.vector(0, block.columns) as j:
                *taps, channel = unflat(block.n + j, [*c.taps, c.inputs])
                value = b.load(block.sums, block.at(i, j))
                c.write(block.batch * c.outputs + block.m + i, channel, taps, value)
            return
        with b.loop(0, block.columns // width) as p:
            taps, channel = self._place(block.n + p * width)
            with b.loop(0, block.rows) as i, b.vector(0, smaller(c.inputs - channel, width)) as j:
                value = b.load(block.sums, block.at(i, p * width + j))
                c.write(block.batch * c.outputs + block.m + i, channel + j, taps, value)
