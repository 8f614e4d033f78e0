"""Numbers and tables as text."""

from __future__ import annotations

import os
from collections.abc import Sequence

_WIDEST = 44


def count(number: float, unit: str = "") -> str:
    """Return a number with three digits, its prefix and unit, e.g. 1.25 MFLOP."""
    return _scaled(number, 1000, [prefix + unit for prefix in ("", "k", "M", "G", "T")])


def size(nbytes: float) -> str:
    """Return a number of bytes with its unit, e.g. 1.5 KiB."""
    return _scaled(nbytes, 1024, ["B", "KiB", "MiB", "GiB", "TiB"])


def _scaled(number: float, base: int, units: Sequence[str]) -> str:
    for unit in units:
        if number < base - 0.5 or unit == units[-1]:
            break
        number /= base
    text = f"{number:.3g}" if number < 100 else f"{number:.0f}"
    return f"{text} {unit}".rstrip()


def duration(seconds: float) -> str:
    """Return a time with its unit, e.g. 1.5 ms."""
    for factor, unit in ((1.0, "s"), (1e-3, "ms")):
        if seconds >= factor:
            return f"{seconds / factor:.3g} {unit}"
    return f"{seconds * 1e6:.3g} µs"


def place(source: str) -> str:
    """Return a `file:line` without its folders."""
    return os.path.basename(source)


def places(sources: Sequence[str], most: int = 4) -> str:
    """Return the lines `file:line` in one text: `train.py:3,4 model.py:7`."""
    lines: dict[str, list[str]] = {}
    for source in sources[:most]:
        name, _, line = place(source).rpartition(":")
        lines.setdefault(name, []).append(line)
    text = " ".join(f"{name}:{','.join(found)}" for name, found in lines.items())
    return text if len(sources) <= most else f"{text} …"


def table(head: Sequence[str], rows: Sequence[Sequence[str]], left: int) -> str:
    """Return rows as aligned text; the first `left` columns are aligned to the left."""
    return "\n".join(_aligned([head, *rows], left))


def ruled(rows: Sequence[Sequence[str]], left: int) -> list[str]:
    """Return rows as aligned lines, long cells cut short, with a rule below the first."""
    head, *lines = _aligned([[_short(cell) for cell in row] for row in rows], left)
    return [head, "-" * max(map(len, [head, *lines])), *lines]


def _aligned(rows: Sequence[Sequence[str]], left: int) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for row in rows:
        cells = [c.ljust(w) if k < left else c.rjust(w) for k, (c, w) in enumerate(zip(row, widths, strict=True))]
        lines.append("  ".join(cells).rstrip())
    return lines


def _short(cell: str) -> str:
    return cell if len(cell) <= _WIDEST else cell[: _WIDEST - 1] + "…"
