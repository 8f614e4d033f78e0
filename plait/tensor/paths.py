"""The order in which a product of many tensors is contracted, two at a time."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache
from itertools import combinations
from math import prod
from typing import Any

from plait.core.errors import ArgumentError, message

Names = tuple[str, ...]
Path = list[tuple[int, ...]]
_MOST_FOR_OPTIMAL = 8  # 3^n ways to split are looked at


def as_path(optimize: Any, count: int) -> str | tuple[tuple[int, ...], ...]:
    """Return the strategy that the argument `optimize` of einsum asks for, or the path that it gives.

    Raises:
        ArgumentError: it is neither, or the path does not contract `count` operands.
    """
    if optimize is True or optimize in ("auto", "auto-hq"):
        return "optimal" if count <= _MOST_FOR_OPTIMAL else "greedy"
    if optimize is False or optimize is None:
        return "left"
    if isinstance(optimize, str) and optimize in ("optimal", "greedy"):
        return optimize
    if isinstance(optimize, (list, tuple)) and not isinstance(optimize, str):
        steps = tuple([tuple(sorted(s)) for s in optimize if s != "einsum_path"])
        left = count
        for one in steps:
            if not one or len(set(one)) != len(one) or one[0] < 0 or one[-1] >= left:
                break
            left += 1 - len(one)
        else:
            if left == 1:
                return steps
    expected = 'True, False, "optimal", "greedy" or a path that leaves one of them'
    raise ArgumentError(message(f"einsum: no order for {count} operands", repr(optimize), expected))


@lru_cache(maxsize=1024)
def contraction_path(
    terms: tuple[Names, ...], sizes: tuple[tuple[str, int], ...], output: Names, strategy: Any
) -> Path:
    """Return the positions contracted in each step; the product goes to the end.

    Args:
        terms: the names of the axes of each operand, without repetition.
        sizes: pairs of a name and its size.
        output: the names of the axes of the result.
        strategy: "optimal", "greedy", "left", or a path.
    """
    if not isinstance(strategy, str):
        return list(strategy)
    if len(terms) <= 2:
        return [tuple(range(len(terms)))]
    if strategy == "left":
        return [(0, 1), *[(0, k) for k in range(len(terms) - 2, 0, -1)]]
    find = _optimal if strategy == "optimal" else _greedy
    return find([frozenset(t) for t in terms], dict(sizes), frozenset(output))


Set = frozenset[str]


def _volume(names: Iterable[str], sizes: dict[str, int]) -> int:
    return prod([sizes[name] for name in names])


def _optimal(terms: Sequence[Set], sizes: dict[str, int], output: Set) -> Path:
    """Return the path with the fewest multiplications, by dynamic programming over subsets of the operands."""
    count = len(terms)
    everything = (1 << count) - 1
    inside = [frozenset().union(*[t for k, t in enumerate(terms) if s >> k & 1]) for s in range(everything + 1)]
    # the names that the product of a subset keeps: those that the result or other operands need
    kept = [inside[s] & (output | inside[everything ^ s]) for s in range(everything + 1)]
    best: dict[int, tuple[int, Any]] = {1 << k: (0, k) for k in range(count)}
    for size in range(2, count + 1):
        for chosen in combinations(range(count), size):
            whole = sum([1 << k for k in chosen])
            part = others = whole ^ (1 << chosen[0])
            candidates = []
            while part:  # runs over the non-empty subsets of the others
                left = whole ^ part
                cost = best[part][0] + best[left][0] + _volume(kept[part] | kept[left], sizes)
                candidates.append((cost, (left, part)))
                part = (part - 1) & others
            best[whole] = min(candidates)
    return _as_positions(best, everything, count)


def _as_positions(best: dict[int, tuple[int, Any]], whole: int, count: int) -> Path:
    """Write the tree of subsets as positions in the list of the operands that are left."""
    present, path = [1 << k for k in range(count)], []

    def visit(subset: int) -> None:
        if subset & (subset - 1) == 0:
            return
        parts = best[subset][1]
        for part in parts:
            visit(part)
        pair = tuple(sorted(present.index(part) for part in parts))
        for k in reversed(pair):
            del present[k]
        present.append(subset)
        path.append(pair)

    visit(whole)
    return path


def _greedy(terms: Sequence[Set], sizes: dict[str, int], output: Set) -> Path:
    """Contract the pair first whose product needs the least memory beyond its factors; pairs with common axes first."""
    present, path = list(terms), []
    while len(present) > 1:
        candidates = []
        for i, j in combinations(range(len(present)), 2):
            a, b = present[i], present[j]
            made = (a | b) & output.union(*[t for k, t in enumerate(present) if k not in (i, j)])
            grown = _volume(made, sizes) - _volume(a, sizes) - _volume(b, sizes)
            candidates.append((not a & b, grown, _volume(a | b, sizes), i, j))
        i, j = min(candidates)[3:]
        made = (present[i] | present[j]) & output.union(*[t for k, t in enumerate(present) if k not in (i, j)])
        del present[j], present[i]
        present.append(made)
        path.append((i, j))
    return path


def describe(terms: Sequence[Names], sizes: dict[str, int], output: Names, path: Path) -> str:
    """Return a table of the steps of a path: the names of factors and product, and the multiplications."""
    present, lines, total = [frozenset(t) for t in terms], [], 0
    for positions in path:
        chosen = [present[k] for k in positions]
        for k in sorted(positions, reverse=True):
            del present[k]
        others = frozenset(output).union(*present)
        inside = frozenset().union(*chosen)
        cost = _volume(inside, sizes)
        total += cost
        present.append(inside & others)
        factors = ",".join("".join(sorted(t)) for t in chosen)
        lines.append(f"  {factors}->{''.join(sorted(present[-1]))}: {cost:,} multiplications")
    at_once = _volume(frozenset().union(*terms), sizes) * max(len(terms) - 1, 1) if terms else 0
    return "\n".join(["steps:", *lines, f"in all {total:,} multiplications; all at once {at_once:,}"])
