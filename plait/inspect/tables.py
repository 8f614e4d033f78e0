"""Numbers and tables as text."""

from __future__ import annotations

import os
from collections.abc import Sequence


def count(number: float) -> str:
    """Return a number with three digits or so and its prefix, e.g. 1.25 M."""
    for factor, unit in ((1e12, " T"), (1e9, " G"), (1e6, " M"), (1e3, " k")):
        if number >= factor:
            return f"{number / factor:.3g}{unit}"
    return f"{number:.3g}"


def flops(number: float) -> str:
    """Return a number of floating-point operations, e.g. 1.25 MFLOP."""
    text = count(number)
    return f"{text}FLOP" if text[-1].isalpha() else f"{text} FLOP"


def size(nbytes: float) -> str:
    """Return a number of bytes with its unit, e.g. 1.5 KiB."""
    for shift, unit in ((40, "TiB"), (30, "GiB"), (20, "MiB"), (10, "KiB")):
        if nbytes >= 1 << shift:
            return f"{nbytes / (1 << shift):.3g} {unit}"
    return f"{nbytes:.0f} B"


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
    widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
    lines = []
    for row in [head, *rows]:
        cells = [c.ljust(w) if k < left else c.rjust(w) for k, (c, w) in enumerate(zip(row, widths, strict=True))]
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)
