"""Memory plans: nothing that is alive at one time overlaps."""

from __future__ import annotations

import numpy as np
import pytest

from plait.compiler.memory import ALIGNMENT, Interval, extend_over_loops, plan


def check(intervals: list[Interval]) -> int:
    offsets, size = plan(intervals)
    for k, (a, i) in enumerate(zip(offsets, intervals, strict=True)):
        assert a % ALIGNMENT == 0 and a + i.nbytes <= size
        for b, j in zip(offsets[:k], intervals[:k], strict=True):
            apart_in_time = i.last < j.first or j.last < i.first
            assert apart_in_time or a + i.nbytes <= b or b + j.nbytes <= a
    return size


@pytest.mark.parametrize("seed", range(20))
def test_lives_do_not_overlap(seed: int) -> None:
    random = np.random.default_rng(seed)
    count = 600 if seed == 0 else 60  # many are planned in another order
    starts = random.integers(0, 100, count)
    lengths = random.integers(0, 20, count)
    sizes = random.choice([0, 1, 8, 64, 65, 1000, 4096], count)
    check([Interval(int(n), int(s), int(s + d)) for n, s, d in zip(sizes, starts, lengths, strict=True)])


def test_memory_is_used_again() -> None:
    assert check([Interval(1024, k, k + 1) for k in range(50)]) == 2 * 1024
    assert check([Interval(1024, 0, 1), Interval(1024, 2, 3), Interval(512, 2, 3)]) == 1536
    assert plan([]) == ([], 0)


def loop_over(first: int, last: int, loops: list[tuple[int, int]]) -> tuple[int, int]:
    (interval,) = intervals = [Interval(8, first, last)]
    extend_over_loops(intervals, loops)
    return interval.first, interval.last


def test_what_enters_a_loop_lives_to_its_end() -> None:
    assert loop_over(0, 5, [(3, 9)]) == (0, 9)
    assert loop_over(0, 2, [(3, 9)]) == (0, 2)
    assert loop_over(4, 5, [(3, 9)]) == (4, 5)


def test_what_leaves_a_loop_lives_from_its_beginning() -> None:
    assert loop_over(7, 12, [(3, 9)]) == (3, 12)
    assert loop_over(10, 12, [(3, 9)]) == (10, 12)


def test_nested_loops() -> None:
    assert loop_over(0, 5, [(2, 12), (4, 8)]) == (0, 12)
    assert loop_over(3, 5, [(2, 12), (4, 8)]) == (3, 8)
    assert loop_over(6, 10, [(2, 12), (4, 8)]) == (4, 10)
    assert loop_over(6, 20, [(2, 12), (4, 8)]) == (2, 20)
