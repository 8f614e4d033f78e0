"""Tables and amounts as text."""

from __future__ import annotations

from collections.abc import Sequence

_WIDEST = 44


def amount(value: float) -> str:
    """Return a number with three digits and a prefix, e.g. "1.23 G".

    Example:
        >>> plait.profiling.tables.amount(1_234_567)
        '1.23 M'
    """
    for prefix in ("", "k", "M", "G", "T"):
        if abs(value) < 999.5 or prefix == "T":
            break
        value /= 1000
    return f"{value:.3g} {prefix}"


def table(rows: Sequence[Sequence[str]], left: int) -> list[str]:
    """Return rows as lines with aligned columns, a rule below the first; `left` columns begin at the left.

    Example:
        >>> print("\\n".join(plait.profiling.tables.table([("name", "ms"), ("add", "1.25")], left=1)))
        name    ms
        ----------
        add   1.25
    """
    cells = [[_short(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = [
        "  ".join(c.ljust(w) if k < left else c.rjust(w) for k, (c, w) in enumerate(zip(row, widths, strict=True)))
        for row in cells
    ]
    return [lines[0].rstrip(), "-" * (sum(widths) + 2 * (len(widths) - 1)), *[line.rstrip() for line in lines[1:]]]


def _short(cell: str) -> str:
    return cell if len(cell) <= _WIDEST else cell[: _WIDEST - 1] + "…"
