"""Check the shape of the source: imports point one way, files and functions stay short.

    python tools/layering.py

Prints file:line of each violation, and exits with 1 if there is one.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "plait"

# A file imports only from its own layer and from those before it. Layers in one row do not know of each other.
LAYERS = (
    ("core",),
    ("ir",),
    ("transforms",),
    ("prims",),
    ("compiler",),
    ("runtime",),
    ("inspect",),
    ("tensor",),
    ("special", "linalg", "fft"),
    ("random",),
    ("sampling",),
    ("lowrank", "masked", "signal", "cuda"),
    ("nn", "io"),
    ("optim",),
    ("debug",),
    ("amp",),
    ("data",),
    ("metrics",),
    ("train",),
    ("profiling",),
    ("__init__",),
    ("demo",),
    ("cli",),
    ("__main__", "testing"),
)
RANK = {name: rank for rank, row in enumerate(LAYERS) for name in row}
MAX_LINES, MAX_FUNCTION_LINES = 700, 90


def layer_of(path: Path) -> str:
    """Return the layer that a file belongs to."""
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imported(node: ast.AST) -> Iterator[str]:
    """Return the modules of plait that an import statement names, as dotted names."""
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names if alias.name.split(".")[0] == "plait")
    elif isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "plait":
        yield from (f"{node.module}.{alias.name}" for alias in node.names)


def target_layer(name: str) -> str:
    """Return the layer of a dotted name; names that are no module belong to the package itself."""
    parts = name.split(".")
    return parts[1] if len(parts) > 1 and parts[1] in RANK else "__init__"


def check_imports(path: Path, tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Yield the imports of a file that point the wrong way or stand inside a function."""
    own = layer_of(path)
    inside = {
        id(node)
        for function in ast.walk(tree)
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        for node in ast.walk(function)
    }
    for node in ast.walk(tree):
        for name in imported(node):
            layer = target_layer(name)
            if id(node) in inside:
                yield node.lineno, f"{name} is imported inside a function"
            if layer == own:
                continue
            if RANK[layer] >= RANK[own]:
                yield node.lineno, f"{own} imports {name}: {layer} comes later or stands beside it"


def check_size(text: str, tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Yield what is too long."""
    count = len(text.splitlines())
    if count > MAX_LINES:
        yield count, f"the file has {count} lines, at most {MAX_LINES} are allowed"
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            length = (node.end_lineno or node.lineno) - node.lineno + 1
            if length > MAX_FUNCTION_LINES:
                text = f"{node.name} has {length} lines, at most {MAX_FUNCTION_LINES} are allowed"
                yield node.lineno, text


def violations() -> Iterator[str]:
    """Yield a line of text for each violation in the package."""
    for path in sorted(PACKAGE.rglob("*.py")):
        text = path.read_text(encoding="utf-8")
        tree = ast.parse(text)
        place = path.relative_to(ROOT)
        if layer_of(path) not in RANK:
            yield f"{place}:1: {layer_of(path)} is in no layer; add it to LAYERS in tools/layering.py"
            continue
        for line, problem in sorted([*check_imports(path, tree), *check_size(text, tree)]):
            yield f"{place}:{line}: {problem}"


def main() -> int:
    """Print all violations; return the exit status."""
    found = list(violations())
    print("\n".join(found) if found else "layering: imports point one way, nothing is too long")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
