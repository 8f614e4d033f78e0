"""The left side of the guides runs in the framework that it is for, and gives the values of the right side."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import plait
from plait.core import tree

DOCS = Path(__file__).parents[2] / "docs"
BLOCK = re.compile(r"^```(py|python)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
NOT_NEEDED = {"optax", "flax"}  # blocks that import them are shown only, like the ones that follow

# values of the same name on both sides
SAME = {
    ("from_pytorch", "torch"): "slopes first second",
    ("from_jax", "jax"): """
        value slopes last rows matrix tangent cotangent total sums power grown signed z noise order bounded slope
    """,
}


def session(page: str, fence: str) -> dict[str, Any]:
    """Run the blocks of one side, one after the other, and return their names."""
    names: dict[str, Any] = {"__name__": "__main__"}
    for kind, code in BLOCK.findall((DOCS / f"{page}.md").read_text(encoding="utf-8")):
        if kind == fence and ">>>" not in code:
            try:
                exec(code, names)
            except ModuleNotFoundError as error:
                if str(error.name).partition(".")[0] not in NOT_NEEDED:
                    raise
                break
    return names


def array_of(value: Any) -> np.ndarray[Any, Any]:
    return np.asarray(value.detach().numpy() if hasattr(value, "detach") else value)


@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize(("page", "peer"), SAME, ids=[page for page, _ in SAME])
def test_both_sides_give_the_same(page: str, peer: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip(peer)
    monkeypatch.chdir(tmp_path)
    plait.manual_seed(0)
    theirs, ours = session(page, "py"), session(page, "python")
    for name in SAME[page, peer].split():
        for a, b in zip(tree.leaves(ours[name]), tree.leaves(theirs[name]), strict=True):
            np.testing.assert_allclose(array_of(a), array_of(b), rtol=1e-4, atol=1e-5, err_msg=name)
