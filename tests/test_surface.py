"""Public functions: each is documented, listed in docs/matrix.md, and a part of them is checked for its laws here.

`python tools/matrix.py` checks them all.
"""

from __future__ import annotations

import contextlib
import doctest
import re
from pathlib import Path

import pytest

import plait
from plait.core.primitive import PRIMITIVES
from plait.testing import surface

FUNCTIONS = dict(surface.public_functions())
CHECKED = list(FUNCTIONS)[::41]
MATRIX = Path(__file__).resolve().parent.parent / "docs" / "matrix.md"
UPDATE = "docs/matrix.md is out of date: run python tools/matrix.py"


@pytest.fixture(autouse=True)
def in_a_folder_of_its_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("name", CHECKED)
def test_laws(name):
    try:
        sample = surface.sample_of(name)
    except surface.Inapplicable:
        return
    for law in surface.LAWS:
        as_far_as_it_applies(lambda law=law: surface.check(law, sample))
    for family in surface.DTYPES:
        as_far_as_it_applies(lambda family=family: surface.check_dtypes(sample, family))


def as_far_as_it_applies(check):
    with contextlib.suppress(surface.Inapplicable):
        check()


def broken(x):
    """A function with a wrong derivative."""

    @plait.custom_jvp
    def double(x):
        return x * 2

    double.defjvp(lambda primals, tangents: (double(*primals), tangents[0] * 3))
    return double(x)


def test_the_laws_can_fail():
    sample = surface.Sample("broken", [plait.tensor([1.0, 2.0])], lambda x: [broken(x)])
    with pytest.raises(AssertionError):
        surface.check("jvp", sample)
    calls = []
    changing = surface.Sample("changing", [plait.tensor([1.0])], lambda x: [calls.append(x) or x + len(calls)])
    for law in ("jit", "vmap"):
        with pytest.raises(AssertionError):
            surface.check(law, changing)
    narrow = surface.Sample("narrow", [plait.tensor([2049.0])], lambda x: [(x - 2048) * 1000])
    with pytest.raises(AssertionError):
        surface.check_dtypes(narrow, "floats")


def test_every_function_is_documented():
    parser = doctest.DocTestParser()
    incomplete = []
    for name, function in FUNCTIONS.items():
        text = function.__doc__ or ""
        if not text.strip().splitlines()[:1] or not parser.get_examples(text):
            incomplete.append(name)
    assert not incomplete


def test_the_matrix_lists_what_there_is():
    page = MATRIX.read_text(encoding="utf-8")
    functions, primitives = re.split(r"^## Primitives$", page, flags=re.MULTILINE)
    rows = re.compile(r"^\| `([\w.]+)` \|", re.MULTILINE)
    assert rows.findall(functions) == list(FUNCTIONS), UPDATE
    assert rows.findall(primitives) == sorted(PRIMITIVES), UPDATE
    assert "||" not in page.replace(" ", "") and "fails" not in page
