"""Convolution in loop IR: how one is described, and direct loops for it.

y[n, o, p] = sum over (c, t) of w[o, c, t] * x[n, c, p * stride + t * dilation - low], for each group.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from plait.core.dtype import DType
from plait.core.errors import InternalError
from plait.ir.build import Builder, both
from plait.ir.gemm import grain, larger, product, smaller
from plait.ir.loop import Expr, Index, binary, const, select
from plait.ir.unpacked import Sum

Position = Sequence[Index]
Segment = tuple[Expr, Index, Expr, Expr]


@dataclass(frozen=True, slots=True)
class Window:
    """One spatial axis: the output at p reads the input at (p * stride + tap * dilation - low) / spacing.

    `spacing` (the dilation of the input) leaves only the positions that it divides.
    """

    size: Index
    out: Index
    taps: Index
    stride: int
    low: Index
    spacing: int
    dilation: int

    @property
    def reach(self) -> Index:
        """Distance from the first tap to the last."""
        return (self.taps - 1) * self.dilation

    @property
    def phases(self) -> int:
        """Residues modulo the stride that the taps touch."""
        return min(self.stride, self.reach + 1) if isinstance(self.reach, int) else self.stride

    @property
    def quotients(self) -> Index:
        """Length of one residue of the padded axis."""
        return self.out + self.reach // self.stride

    @property
    def padded(self) -> Index:
        """Length of the padded axis, as far as it is read."""
        return (self.out - 1) * self.stride + self.reach + 1

    @property
    def covered(self) -> Index:
        """Length of the padded axis that all its residues hold."""
        return (self.quotients - 1) * self.stride + self.phases

    @property
    def is_trivial(self) -> bool:
        """Whether the input position is the output position, which is never in the padding."""
        plain = isinstance(self.taps, int) and (self.taps, self.stride, self.low, self.spacing) == (1, 1, 0, 1)
        if isinstance(self.out, int) and isinstance(self.size, int):
            return plain and self.out <= self.size
        return plain and self.out is self.size

    def source(self, padded: Index) -> tuple[Index, Expr | None]:
        """Return the input position for a padded one (kept in range) and whether there is one."""
        within = isinstance(self.size, int) and isinstance(self.covered, int) and self.covered <= self.size
        if self.low == 0 and self.spacing == 1 and within:
            return padded, None
        place = const(padded) - self.low
        inside = (place >= 0) & (place < (const(self.size) - 1) * self.spacing + 1)
        if self.spacing == 1:
            return place, inside
        place = binary("max", place, const(0))
        return place // self.spacing, inside & (place % self.spacing).eq(0)


def _absent(*index: Any) -> Any:
    raise InternalError("a convolution reads an operand that it is to compute")


@dataclass(slots=True)
class Convolution:
    """Sizes and element access of one convolution; channels count within a group.

    `read_x(n, channel, position, guard)`, `read_w(group, o, c, taps)` and `read_y(n, channel, position)` give an
    element, `write` takes the index of the result and a value. Channels of x and y run over all groups.
    """

    windows: Sequence[Window]
    images: Index
    groups: int
    inputs: Index
    outputs: Index
    dtype: DType
    target: Any
    write: Callable[..., None]
    read_x: Callable[..., Any] = _absent
    read_w: Callable[..., Any] = _absent
    read_y: Callable[..., Any] = _absent

    @property
    def out(self) -> list[Index]:
        """Spatial sizes of y."""
        return [w.out for w in self.windows]

    @property
    def taps(self) -> list[Index]:
        """Spatial sizes of w."""
        return [w.taps for w in self.windows]


def flat(index: Sequence[Index], sizes: Sequence[Index]) -> Index:
    """Row-major offset of an index."""
    result: Index = 0
    for i, n in zip(index, sizes, strict=True):
        result = result * n + i if not isinstance(result, int) or result else i
    return result


def unflat(offset: Index, sizes: Sequence[Index]) -> list[Index]:
    """Inverse of `flat`; the first size is not needed."""
    result: list[Index] = []
    for n in reversed(sizes[1:]):
        result.append(offset % n)
        offset = offset // n
    return [offset, *reversed(result)]


def _guarded(value: Any, guard: Expr | None) -> Any:
    """The value, or zero where the guard is false: a read through fused operations need not give zero itself."""
    if guard is None or (isinstance(value, Expr) and value.op == "load" and value.args[1:] == (guard,)):
        return value
    if isinstance(value, Expr):
        return select(guard, value, const(0, value.dtype))
    return type(value)(_guarded(value.re, guard), _guarded(value.im, guard))


@contextmanager
def segments(b: Builder, first: Index, count: Index, pitch: Index, width: Index) -> Iterator[Segment]:
    """Loop over the rows that the range [first, first + count) crosses, where rows are `pitch` long and `width` valid.

    Yields (row, its column at the range's beginning, low, high): the valid part is `low <= j < high` counted from
    `first`, and element j lies at column `column + j`, which may count from before the row.
    """
    with b.loop(first // pitch, (first + count + (pitch - 1)) // pitch) as row:
        start = const(row * pitch)
        low = larger(start - first, 0)
        high = smaller(start + width - first, count)
        yield row, const(first) - start, const(low), const(high)


def padded_value(c: Convolution, n: Index, channel: Index, place: Position) -> Any:
    """The element of the padded input, zero in the padding."""
    position: list[Index] = []
    guard: Expr | None = None
    for w, u in zip(c.windows, place, strict=True):
        source, inside = w.source(u)
        position.append(source)
        guard = both(guard, inside)
    return _guarded(c.read_x(n, channel, position, guard), guard)


# direct loops


def convolve_directly(b: Builder, c: Convolution) -> None:
    """One output row at a time, along its last axis: for few output channels in a group (depthwise), and complex."""
    *outer, last = c.out
    channels = c.groups * c.outputs
    work = 2 * product([last, c.inputs, *c.taps])
    with b.parallel(c.images * channels * product(outer), grain=grain(work)) as p:
        n, channel, *rows = unflat(p, [c.images, channels, *outer])
        group, o = channel // c.outputs, channel % c.outputs
        with b.vector(0, last) as column:
            total = Sum(b, c.dtype)
            mark = "unroll" if all(isinstance(t, int) and t <= 8 for t in c.taps) else ""
            with b.loop(0, c.inputs) as i, b.loops(c.taps, mark) as taps:
                x = padded_value(c, n, group * c.inputs + i, _places(c, [*rows, column], taps))
                total.add(c.read_w(group, o, i, taps), x)
            c.write(n, channel, [*rows, column], total.get())


def weigh_directly(b: Builder, c: Convolution) -> None:
    """The gradient of the weights, one weight at a time: for few channels in a group, and complex."""
    *outer, last = c.out
    channels = c.groups * c.outputs
    work = 2 * product([c.images, *c.out])
    with b.parallel(channels * c.inputs * product(c.taps), grain=grain(work)) as p:
        channel, i, *taps = unflat(p, [channels, c.inputs, *c.taps])
        group = channel // c.outputs
        totals = [b.accumulator("add", c.dtype.real, 0) for _ in range(2 if c.dtype.is_complex else 1)]
        with b.loops([c.images, *outer]) as at, b.vector(0, last) as column:
            n, *rows = at
            x = padded_value(c, n, group * c.inputs + i, _places(c, [*rows, column], taps))
            value = c.read_y(n, channel, [*rows, column]) * x
            for total, part in zip(totals, (value.re, value.im) if c.dtype.is_complex else (value,), strict=True):
                total.add(part)
        parts = [t.get() for t in totals]
        c.write(channel, i, taps, type(value)(*parts) if c.dtype.is_complex else parts[0])


def _places(c: Convolution, position: Position, taps: Position) -> list[Index]:
    """Where a tap of an output lies in the padded input."""
    return [p * w.stride + t * w.dilation for w, p, t in zip(c.windows, position, taps, strict=True)]
