"""Write docs/primitives.md from the registry: every primitive, its dtypes, and each slot filled or why it is waived.

    python tools/primitive_table.py

A test checks that the page is current.
"""

from __future__ import annotations

import importlib
import pkgutil
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "primitives.md"
sys.path.insert(0, str(ROOT))

from plait import prims  # noqa: E402
from plait.core import dtype as dtypes, graph  # noqa: E402
from plait.core.primitive import PRIMITIVES, Domain, Primitive, Waived  # noqa: E402

SLOTS = ("lower", "jvp", "transpose", "batch", "shard", "cost", "domain", "oracle")
FAMILIES = {
    "bool": (dtypes.bool_,),
    "int": dtypes.SIGNED,
    "uint": dtypes.UNSIGNED,
    "float": dtypes.FLOATS,
    "complex": dtypes.COMPLEXES,
    "float8": dtypes.FLOAT8,
}
INTRODUCTION = """\
# Primitives

Generated from the registry by `python tools/primitive_table.py`; a test fails when this page is out of date.

A primitive is one literal `Primitive(...)` in one file of `plait/prims/`. Its slots are all that is known of it; each
is filled, or waived with the reason that a user is told. Both are checked when the package is imported.

| Slot | What it holds |
| --- | --- |
| `kind` | how it is compiled: *elementwise* (an expression of its operands), *view* (a function of the output index), \
*reduce* (an accumulate operation over axes), *kernel* (writes its own loops), *expand* (rewritten into other \
primitives), *call* (has bodies, or orders), *host* (a function of NumPy arrays that the program calls), *leaf* |
| `aval` | the rule of shapes and dtypes; raises the errors that users see at the call; always filled |
| `lower` | its meaning in loop IR |
| `jvp` | the tangent of its result from the tangents of its operands |
| `transpose` | the cotangents of the operands in which it is linear |
| `batch` | itself on operands with a batch axis |
| `shard` | which axes of operands and results move together |
| `cost` | its operations and bytes |
| `domain` | valid inputs, from which its tests are generated; the column *dtypes* shows those of its operands |
| `oracle` | the NumPy or SciPy function that judges its values |

In the tables `+` is a filled slot; a number is the reason of a waiver, listed at the end. Of dtypes, `int` is int8 to
int64, `uint` is uint8 to uint64, `float` is float16, bfloat16, float32 and float64, `complex` is complex64 and
complex128, `float8` is float8_e4m3fn and float8_e5m2.
"""


def families() -> Iterator[tuple[str, str, list[Primitive]]]:
    """Yield (file, what it is for, its primitives) in order of definition; a primitive belongs where it is bound."""
    places = {
        primitive.name: module
        for module in [graph, *_modules()]
        for value in vars(module).values()
        for primitive in ([value] if isinstance(value, Primitive) else [])
    }
    for module in [graph, *_modules()]:
        found = [p for p in PRIMITIVES.values() if places[p.name] is module]
        if found:
            file = Path(str(module.__file__)).relative_to(ROOT).as_posix()
            yield file, str(module.__doc__).splitlines()[0], found


def _modules() -> list[object]:
    names = sorted(m.name for m in pkgutil.iter_modules(prims.__path__))
    return [importlib.import_module(f"{prims.__name__}.{name}") for name in names]


def dtypes_text(primitive: Primitive) -> str:
    """Name the dtypes of a domain, whole families by one word."""
    if not isinstance(primitive.domain, Domain):
        return ""
    present = set(primitive.domain.dtypes)
    words = []
    for family, members in FAMILIES.items():
        own = [d for d in members if d in present]
        words += [family] if len(own) == len(members) else [d.name for d in own]
    return " ".join(words)


def page() -> str:
    """Return the text of the page."""
    reasons: dict[str, int] = {}
    lines = [INTRODUCTION]
    for file, purpose, primitives in families():
        lines += [f"## {file}", "", purpose, ""]
        lines += [f"| Primitive | kind | dtypes | {' | '.join(SLOTS)} |", f"| --- | --- | --- |{' --- |' * len(SLOTS)}"]
        for primitive in primitives:
            cells = [f"`{primitive.name}`", primitive.kind, dtypes_text(primitive)]
            for slot in SLOTS:
                value = getattr(primitive, slot)
                waived = isinstance(value, Waived)
                filled = f"`{value}`" if slot == "oracle" else "+"
                cells.append(str(reasons.setdefault(value.reason, len(reasons) + 1)) if waived else filled)
            lines.append("| " + " | ".join(cells) + " |")
        lines.append("")
    lines += ["## Waivers", "", *[f"{number}. {reason}" for reason, number in reasons.items()], ""]
    return "\n".join(lines)


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
    print(f"wrote {PAGE.relative_to(ROOT)}: {len(PRIMITIVES)} primitives")
