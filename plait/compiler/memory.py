"""Memory planning: where each temporary of a program lives in one arena, known before it runs."""

from __future__ import annotations

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
    """Keep what enters a loop alive until the loop ends, since it is read again in the next round."""
    for low, high in sorted(loops, key=lambda region: region[1] - region[0]):
        for i in intervals:
            if i.first < low <= i.last < high:
                i.last = high


def plan(intervals: Sequence[Interval]) -> tuple[list[int], int]:
    """Give each interval an offset so that lives that overlap in time do not overlap in memory.

    Largest first, at the lowest free offset (Pisarchyk and Lee, "Efficient Memory Management for Deep Neural Net
    Inference", 2020). Returns the offsets and the size of the arena.
    """
    offsets = [0] * len(intervals)
    placed: list[tuple[int, int, Interval]] = []
    for k in sorted(range(len(intervals)), key=lambda k: (-intervals[k].nbytes, intervals[k].first)):
        own = intervals[k]
        size = -(-max(own.nbytes, 1) // ALIGNMENT) * ALIGNMENT
        offset = 0
        for low, high, other in placed:
            if other.last < own.first or own.last < other.first:
                continue
            if offset + size <= low:
                break
            offset = max(offset, high)
        offsets[k] = offset
        placed.append((offset, offset + size, own))
        placed.sort(key=lambda p: p[0])
    return offsets, max((high for _, high, _ in placed), default=0)
