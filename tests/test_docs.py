"""What the documentation says in code is true: its Python runs, its links lead somewhere, its table is current."""

from __future__ import annotations

import doctest
import importlib
import importlib.util
import pkgutil
import re
from pathlib import Path

import numpy as np
import pytest

import plait
from plait.core.primitive import PRIMITIVES, P

ROOT = Path(__file__).resolve().parent.parent
PAGES = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").glob("*.md"))]
REFERENCE = sorted((ROOT / "docs" / "reference").glob("*.md"))
OPTIONS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
BLOCK = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\(([^)#\s]+)(?:#[^)]*)?\)")
SKIPPED = ("plait.__main__",)
INTERNAL = ("core", "ir", "prims", "transforms", "compiler", "runtime", "testing")


def modules():
    names = [m.name for m in pkgutil.walk_packages(plait.__path__, "plait.")]
    return ["plait", *[n for n in names if n not in SKIPPED]]


@pytest.fixture(autouse=True)
def fresh_state(tmp_path, monkeypatch):
    """Examples write files into a folder of their own, draw the same numbers in any order, and leave no primitives."""
    known = set(PRIMITIVES)
    monkeypatch.chdir(tmp_path)
    plait.manual_seed(0)
    yield
    for name in set(PRIMITIVES) - known:
        del PRIMITIVES[name]
        vars(P).pop(name, None)


def run(test):
    output: list[str] = []
    runner = doctest.DocTestRunner(verbose=False, optionflags=OPTIONS)
    failed = runner.run(test, out=output.append, clear_globs=False).failed
    assert not failed, "".join(output)


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_page(page):
    """The blocks of a page run one after the other, as one session; nothing is imported for them."""
    text = page.read_text(encoding="utf-8")
    names: dict[str, object] = {"__name__": "__main__"}
    for block in BLOCK.finditer(text):
        code, line = block[1], text[: block.start(1)].count("\n")
        if ">>>" in code:
            test = doctest.DocTestParser().get_doctest(code, names, page.name, str(page), line)
            test.globs = names  # not a copy: functions of one block and those of the next share their globals
            run(test)
        else:
            exec(compile("\n" * line + code, str(page), "exec"), names)


@pytest.mark.parametrize("page", [*PAGES, *REFERENCE], ids=lambda p: str(p.relative_to(ROOT)))
def test_links(page):
    for target in LINK.findall(page.read_text(encoding="utf-8")):
        if "://" not in target:
            assert (page.parent / target).exists(), f"{page.name} links to {target}, which does not exist"


@pytest.mark.parametrize("name", modules())
def test_docstrings(name):
    """Examples of what users touch see `plait` and `np` only; those of the inside see their own module too."""
    module = importlib.import_module(name)
    names = vars(module) if name.split(".")[1:2] and name.split(".")[1] in INTERNAL else {}
    finder = doctest.DocTestFinder(exclude_empty=True)
    for test in finder.find(module, name, globs={**names, "plait": plait, "np": np}):
        run(test)


def test_every_folder_says_what_it_is_for():
    for name in modules():
        module = importlib.import_module(name)
        assert module.__doc__, f"{name} has no docstring"


def tool_of(name):
    specification = importlib.util.spec_from_file_location(name, ROOT / "tools" / f"{name}.py")
    tool = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(tool)
    return tool


def test_reference_is_current():
    tool = tool_of("reference")
    wanted = tool.pages()
    assert sorted(wanted) == REFERENCE, "docs/reference has other pages: run python tools/reference.py"
    for path, text in wanted.items():
        assert path.read_text(encoding="utf-8") == text, f"{path.name} is out of date: run python tools/reference.py"
    known = {name for name, _ in tool.public_functions()}
    assert known >= {name for names in tool.OTHER_NAMES.values() for name in names}


def test_primitive_table_is_current():
    tool = tool_of("primitive_table")
    current = (ROOT / "docs" / "primitives.md").read_text(encoding="utf-8")
    assert current == tool.page(), "docs/primitives.md is out of date: run python tools/primitive_table.py"
