"""Memory planning: where each temporary of a program lives in one arena, known before it runs."""

from __future__ import annotations

from bisect import insort
from collections.abc import Sequence
from dataclasses import dataclass

ALIGNMENT = 64


@dataclass(slots=True)
class Interval:
    """The life of a temporary: `nbytes` bytes from step `first` to step `last`, both included."""

    nbytes: int
    first: int
    last: int


def extend_over_loops(intervals: Sequence[Interval], loops: Sequence[tuple[int, int]]) -> None:
    """Keep what enters a loop alive until the loop ends, since it is read again in the next round.

    What leaves a loop lives from its beginning, since the rounds fill it bit by bit.
    """
    for low, high in sorted(loops, key=lambda region: region[1] - region[0]):
        for i in intervals:
            if i.first < low <= i.last < high:
                i.last = high
            elif low <= i.first <= high < i.last:
                i.first = low


_MANY = 512  # intervals from which on planning in order of time is worth its larger arena


def plan(intervals: Sequence[Interval]) -> tuple[list[int], int]:
    """Give each interval an offset so that lives that overlap in time do not overlap in memory.

    Largest first, at the lowest free offset (Pisarchyk and Lee, "Efficient Memory Management for Deep Neural Net
    Inference", 2020); very many of them in order of time instead. Returns the offsets and the size of the arena.
    """
    many = len(intervals) > _MANY
    order = sorted(
        range(len(intervals)),
        key=lambda k: (
            (intervals[k].first, -intervals[k].nbytes) if many else (-intervals[k].nbytes, intervals[k].first)
        ),
    )
    offsets = [0] * len(intervals)
    placed: list[tuple[int, int, int]] = []  # offset, end and interval, by offset
    top = 0
    for k in order:
        own = intervals[k]
        if many:
            placed = [p for p in placed if intervals[p[2]].last >= own.first]
        size = -(-max(own.nbytes, 1) // ALIGNMENT) * ALIGNMENT
        offset = 0
        for low, high, other in placed:
            if intervals[other].last < own.first or own.last < intervals[other].first:
                continue
            if offset + size <= low:
                break
            offset = max(offset, high)
        offsets[k] = offset
        insort(placed, (offset, offset + size, k))
        top = max(top, offset + size)
    return offsets, top
