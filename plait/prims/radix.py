"""Sorting one key by its bits (least significant digit first), and selecting the first of a line by a threshold."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from plait.core.dtype import DType, bool_, int64, uint32, uint64
from plait.ir.build import Builder
from plait.ir.loop import Buffer, Expr, Index, binary, const, select

Read = Callable[[Index], Expr]
_LONG = 1 << 14  # lines above this length are worth digits of 11 bits
_BLOCK = 64  # elements of a line that are compared with the threshold at once


class Keys:
    """Numbers of a dtype as unsigned integers whose order is that of the sort, equal where the numbers are.

    With `exact`, the two zeros are kept apart (-0 first), so that the number can be had back from its key.
    """

    def __init__(self, dtype: DType, descending: bool, exact: bool) -> None:
        self.number, self.descending, self.exact = dtype.compute, descending, exact
        self.dtype = uint64 if self.number.bits == 64 else uint32
        self.bits = 32 if dtype.is_floating and dtype.bits < 32 else max(dtype.bits, 8)
        self._top = const(1 << (self.bits - 1), self.dtype)
        self._all = const((1 << self.bits) - 1, self.dtype)

    def encode(self, x: Expr) -> Expr:
        """Return the key of a number; NaN has the greatest."""
        if self.number.is_floating:
            bits = (x if self.exact else x + const(0.0, self.number)).bitcast(self.dtype)
            flipped = bits ^ select(bits >= self._top, self._all, self._top)
            key = select(x.ne(x), self._all, flipped)
        elif self.number.kind == "i":
            key = (x.cast(self.dtype) ^ self._top) & self._all
        else:
            key = x.cast(self.dtype)
        return key ^ self._all if self.descending else key

    def decode(self, key: Expr) -> Expr:
        """Return the number of a key."""
        key = key ^ self._all if self.descending else key
        if self.number.is_floating:
            return (key ^ select(key >= self._top, self._top, self._all)).bitcast(self.number)
        if self.number.kind == "i":
            return (key ^ self._top).cast(self.number)
        return key.ne(const(0, self.dtype)) if self.number is bool_ else key.cast(self.number)

    def is_zero(self, key: Expr) -> Expr:
        """Whether a number may have lost its sign: then it must be read again."""
        if self.exact or not self.number.is_floating:
            return const(False, bool_)
        return key.eq(self._top ^ self._all if self.descending else self._top)


class Rows:
    """The rows of a line in memory, in two halves of `length` from `base`: keys, and the position in the line."""

    def __init__(self, builder: Builder, buffers: Sequence[Buffer], base: Index, length: Index, keys: int = 1) -> None:
        self.builder, self.buffers, self.base, self.length, self.keys = builder, buffers, base, length, keys

    def load(self, row: Index, guard: Expr | None = None) -> list[Expr]:
        """Read a row; the values are fixed here, whatever is stored later."""
        builder = self.builder
        loads = [builder.load(b, self.base + row, guard) for b in self.buffers]
        return [builder.local(b.dtype, value).get() for b, value in zip(self.buffers, loads, strict=True)]

    def store(self, row: Index, values: Sequence[Expr]) -> None:
        """Write a row; a position that is not kept may be there."""
        for buffer, value in zip(self.buffers, values, strict=False):
            self.builder.store(buffer, self.base + row, value)

    def precedes(self, a: Sequence[Expr], b: Sequence[Expr]) -> Expr:
        """Whether row `a` must stand before row `b`: strictly, so that equal rows keep their order."""
        result = const(False, bool_)
        for x, y in reversed(list(zip(a[: self.keys], b[: self.keys], strict=True))):
            result = (x < y) | (x.eq(y) & result)
        return result


def insertion_sort(rows: Rows, low: Index, high: Index, run: int) -> None:
    """Sort each run of `run` rows."""
    builder = rows.builder
    with builder.loop(low, high, run) as first, builder.loop(first + 1, _least(first + run, high)) as start:
        row = rows.load(start)
        place = builder.local(int64, start)
        above = [builder.load(b, rows.base + place.get() - 1, place.get() > first) for b in rows.buffers]
        with builder.repeat_while((place.get() > first) & rows.precedes(row, above)):
            rows.store(place.get(), rows.load(place.get() - 1))
            place.set(place.get() - 1)
        rows.store(place.get(), row)


def _least(a: Index, b: Index) -> Expr:
    return binary("min", const(a), const(b))


def merge_sort(rows: Rows, length: Index, run: int) -> Expr:
    """Merge sorted runs, back and forth between the two halves; returns the row where the result begins."""
    builder = rows.builder
    width, source = builder.local(int64, run), builder.local(int64, 0)
    with builder.repeat_while(width.get() < length):
        half, step = builder.local(int64, source.get()).get(), builder.local(int64, width.get()).get()
        target = builder.local(int64, rows.length - half).get()
        with builder.loop(0, (length + step * 2 - 1) // (step * 2)) as pair:
            low = pair * (step * 2)
            middle, high = _least(low + step, length), _least(low + step * 2, length)
            _merge(rows, half, target, low, middle, high)
        source.set(target)
        width.set(step * 2)
    return builder.local(int64, source.get()).get()


def _merge(rows: Rows, source: Expr, target: Expr, low: Expr, middle: Expr, high: Expr) -> None:
    """Merge rows [low, middle) and [middle, high) of one half into the other."""
    builder = rows.builder
    middle, high = builder.local(int64, middle).get(), builder.local(int64, high).get()
    left, right = builder.local(int64, low), builder.local(int64, middle)
    with builder.loop(low, high) as row:
        has_left, has_right = left.get() < middle, right.get() < high
        a, b = rows.load(source + left.get(), has_left), rows.load(source + right.get(), has_right)
        from_right = builder.local(bool_, has_right & (~has_left | rows.precedes(b, a))).get()
        rows.store(target + row, [select(from_right, y, x) for x, y in zip(a, b, strict=True)])
        right.set(right.get() + from_right.cast(int64))
        left.set(left.get() + (~from_right).cast(int64))


def radix_sort(rows: Rows, keys: Keys, read: Read) -> Expr:
    """Sort the one key of a line, which `read` returns, stably; returns the row where the result begins.

    Digits are counted in one pass over the keys; a digit that all keys share is skipped.
    """
    builder, length = rows.builder, rows.length
    digit = 11 if isinstance(length, int) and length > _LONG else 8
    size, passes = 1 << digit, -(-keys.bits // digit)
    counts = builder.stack(uint32, size * passes)
    mask, one = const(size - 1, keys.dtype), const(1, uint32)
    with builder.vector(0, size * passes) as i:
        builder.store(counts, i, const(0, uint32))
    with builder.loop(0, length) as row:
        key = builder.local(keys.dtype, read(row)).get()
        rows.store(row, [key, row.cast(uint32)])
        for step in range(passes):
            at = ((key >> const(step * digit, keys.dtype)) & mask).cast(int64) + step * size
            builder.store(counts, at, builder.load(counts, at) + one)
    source = builder.local(int64, 0)
    with builder.loop(0, passes) as number:
        shift, low = (number * digit).cast(keys.dtype), number * size
        half = builder.local(int64, source.get()).get()
        first = rows.load(half)[0]
        shared = builder.load(counts, low + ((first >> shift) & mask).cast(int64))
        with builder.when(shared.ne(const(length).cast(uint32))):
            total = builder.local(uint32, 0)
            with builder.loop(low, low + size) as i:
                start = builder.local(uint32, total.get()).get()
                total.set(start + builder.load(counts, i))
                builder.store(counts, i, start)
            target = builder.local(int64, length - half).get()
            with builder.loop(0, length) as row:
                values = rows.load(half + row)
                at = builder.local(int64, ((values[0] >> shift) & mask).cast(int64) + low).get()
                start = builder.local(uint32, builder.load(counts, at)).get()
                builder.store(counts, at, start + one)
                rows.store(target + start.cast(int64), values)
            source.set(target)
    return builder.local(int64, source.get()).get()


def network_sort(rows: Rows, length: int, lanes: int, count: Index) -> None:
    """Sort `count` lines at once, element `i` of line `k` in row `i * lanes + k`: Batcher's merge exchange.

    Source: Knuth, The Art of Computer Programming 3, 5.2.2, algorithm M.
    """
    builder = rows.builder
    top = 1 << (max(length - 1, 1).bit_length() - 1)
    p = builder.local(int64, top)
    with builder.repeat_while(p.get() > 0):
        q, r, d = builder.local(int64, top), builder.local(int64, 0), builder.local(int64, p.get())
        with builder.repeat_while(d.get() > 0):
            bit, rest, step = [builder.local(int64, v.get()).get() for v in (p, r, d)]
            with builder.loop(0, length - step) as i, builder.when((i & bit).eq(rest)), builder.vector(0, count) as k:
                first, second = i * lanes + k, (i + step) * lanes + k
                a, b = rows.load(first), rows.load(second)
                swap = rows.precedes(b, a)
                rows.store(first, [select(swap, y, x) for x, y in zip(a, b, strict=True)])
                rows.store(second, [select(swap, x, y) for x, y in zip(a, b, strict=True)])
            d.set(q.get() - bit)
            q.set(q.get() >> 1)
            r.set(bit)
        p.set(p.get() >> 1)


def _sift_down(rows: Rows, start: Index, row: Sequence[Expr], count: int) -> None:
    """Put a row into the heap at or below `start`, where the last row in order is on top."""
    builder = rows.builder
    place, is_above = builder.local(int64, start), builder.local(bool_, False)
    is_above.set(True)
    with builder.repeat_while(is_above.get()):
        here = builder.local(int64, place.get()).get()
        left, right = here * 2 + 1, here * 2 + 2
        a, b = rows.load(left, left < count), rows.load(right, right < count)
        is_right = builder.local(bool_, (right < count) & rows.precedes(a, b)).get()
        child = [builder.local(x.dtype, select(is_right, y, x)).get() for x, y in zip(a, b, strict=True)]
        is_above.set((left < count) & rows.precedes(row, child))
        with builder.when(is_above.get()):
            rows.store(here, child)
            place.set(select(is_right, right, left))
    rows.store(place.get(), row)


def select_first(rows: Rows, read: Read, length: Index, count: int, run: int) -> Expr:
    """Find the first `count` rows of a line in order; returns the row where they begin.

    A heap holds the first ones so far; blocks of the line none of which is before the last of them are passed over.
    """
    builder = rows.builder
    with builder.vector(0, count) as row:
        rows.store(row, [read(row), row.cast(uint32)])
    with builder.loop(0, count // 2) as i:
        _sift_down(rows, count // 2 - 1 - i, rows.load(count // 2 - 1 - i), count)
    limit = builder.local(rows.buffers[0].dtype, rows.load(0)[0])
    with builder.loop(0, (length - count + (_BLOCK - 1)) // _BLOCK) as block:
        low = block * _BLOCK + count
        high = builder.local(int64, _least(low + _BLOCK, length)).get()
        smallest = builder.accumulator("min", limit.local.dtype, (1 << limit.local.dtype.bits) - 1)
        with builder.vector(low, high) as row:
            smallest.add(read(row))
        with builder.when(smallest.get() < limit.get()), builder.loop(low, high) as row:
            key = builder.local(limit.local.dtype, read(row)).get()
            with builder.when(key < limit.get()):
                _sift_down(rows, 0, [key, row.cast(uint32)], count)
                limit.set(rows.load(0)[0])
    insertion_sort(rows, 0, count, run)
    return merge_sort(rows, count, run)


def select_rank(rows: Rows, keys: Keys, rank: Expr) -> Expr:
    """Return the key that has `rank` others before it in order, of those in the first half of the memory of a line.

    From the highest digit on, those that share the digits found so far are counted by the next, and gathered in the
    second half.
    """
    builder, length = rows.builder, rows.length
    digit = 11 if isinstance(length, int) and length > _LONG else 8
    size, one = 1 << digit, const(1, uint32)
    counts, mask = builder.stack(uint32, size), const(size - 1, keys.dtype)
    shift, source = builder.local(int64, -(-keys.bits // digit) * digit), builder.local(int64, 0)
    count, left = builder.local(int64, length), builder.local(int64, rank)
    with builder.repeat_while((shift.get() > 0) & (count.get() > 1)):
        shift.set(shift.get() - digit)
        by = builder.local(keys.dtype, shift.get().cast(keys.dtype)).get()
        first, last = (builder.local(int64, v).get() for v in (source.get(), source.get() + count.get()))
        with builder.vector(0, size) as i:
            builder.store(counts, i, const(0, uint32))
        with builder.loop(first, last) as row:
            at = builder.local(int64, ((rows.load(row)[0] >> by) & mask).cast(int64)).get()
            builder.store(counts, at, builder.load(counts, at) + one)
        chosen = builder.local(int64, 0)
        with builder.repeat_while(builder.load(counts, chosen.get()).cast(int64) <= left.get()):
            left.set(left.get() - builder.load(counts, chosen.get()).cast(int64))
            chosen.set(chosen.get() + 1)
        wanted, place = builder.local(int64, chosen.get()).get(), builder.local(int64, length)
        with builder.loop(first, last) as row:
            key = rows.load(row)[0]
            rows.store(place.get(), [key])  # those that are not wanted are written over
            place.set(place.get() + ((key >> by) & mask).cast(int64).eq(wanted).cast(int64))
        source.set(length)
        count.set(place.get() - length)
    return rows.load(source.get())[0]
