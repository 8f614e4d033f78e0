"""Training scripts written for PyTorch run in plait: only their imports were changed."""

from __future__ import annotations

import ast
import difflib
import runpy
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("sklearn")
FOLDER = Path(__file__).parent.parent / "examples" / "ported"

NAMES = ("char_rnn", "mnist_like", "transformer")


def without_imports(path: Path) -> list[str]:
    source = path.read_text(encoding="utf-8")
    imports = {
        line
        for node in ast.parse(source).body
        if isinstance(node, (ast.Import, ast.ImportFrom))
        for line in range(node.lineno, node.end_lineno + 1)
    }
    return [line.strip() for k, line in enumerate(source.splitlines(), 1) if k not in imports and line.strip()]


def test_every_pair_is_listed() -> None:
    names = {path.stem for path in FOLDER.glob("*.py")}
    assert names == {f"{name}_{framework}" for name in NAMES for framework in ("torch", "plait")}


@pytest.mark.parametrize("name", NAMES)
def test_only_imports_differ(name: str) -> None:
    theirs, ours = (without_imports(FOLDER / f"{name}_{framework}.py") for framework in ("torch", "plait"))
    assert list(difflib.unified_diff(theirs, ours)) == []


def main_of(name: str) -> Any:
    return runpy.run_path(str(FOLDER / f"{name}_plait.py"))["main"]


def test_mnist_like(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main, options = main_of("mnist_like"), ["--checkpoint", str(tmp_path / "digits.pt")]
    main(["--epochs", "1", *options])
    assert main(["--epochs", "2", "--resume", *options]) > 0.9
    assert [line.split(":")[0] for line in capsys.readouterr().out.splitlines()] == ["epoch 1", "epoch 2"]


def test_char_rnn(capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--lines", "20", "--size", "32", "--epochs", "5", "--length", "20", "--lr", "0.02"]
    assert main_of("char_rnn")(options) < 3.6
    assert "epoch 5: loss" in capsys.readouterr().out


def test_transformer(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--lines", "80", "--size", "16", "--layers", "1", "--epochs", "1", "--batch-size", "32"]
    accuracy = main_of("transformer")([*options, "--weights", str(tmp_path / "weights.pt")])
    accuracies = [float(line.rpartition(" ")[2]) for line in capsys.readouterr().out.splitlines()]
    assert len(accuracies) == 2 and accuracy == pytest.approx(max(accuracies), abs=1e-4)
