"""Weights in several files with an index."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import plait
from plait import nn
from plait.core.errors import ArgumentError, ArgumentTypeError

INDEX = "model.safetensors.index.json"


def model() -> nn.Module:
    return nn.Sequential(nn.Linear(8, 32), nn.LayerNorm(32), nn.Linear(32, 4))


@pytest.mark.parametrize("size", ["5GB", 600, "1KB", 1])
def test_round_trip(tmp_path: Path, size: int | str) -> None:
    ours, twin = model(), model()
    plait.io.save_sharded(ours.state_dict(), tmp_path, size)
    assert (tmp_path / INDEX).exists() == (size != "5GB")
    assert plait.io.load_model(twin, tmp_path) == ([], [])
    for a, b in zip(ours.parameters(), twin.parameters(), strict=True):
        np.testing.assert_array_equal(a.detach().numpy(), b.detach().numpy())
    files = sorted(tmp_path.glob("*.safetensors"))
    if size == 1:
        assert len(files) == 6 and files[0].name == "model-00001-of-00006.safetensors"
        assert json.loads((tmp_path / INDEX).read_text())["metadata"]["total_size"] == 4 * (288 + 64 + 132)
    assert {k for f in files for k in plait.load(f)} == set(ours.state_dict())


def test_a_folder_is_saved_again(tmp_path: Path) -> None:
    state = model().state_dict()
    for size in (1, "5GB", 600):
        plait.io.save_sharded(state, tmp_path, size)
        assert set(plait.io.load_sharded(tmp_path)) == set(state)
        assert (tmp_path / INDEX).exists() != (tmp_path / "model.safetensors").exists()


def test_names_are_changed_and_values_converted(tmp_path: Path) -> None:
    state = {"transformer.h.0.w": plait.ones(3), "transformer.h.1.w": plait.ones(3), "head.w": plait.arange(3)}
    plait.io.save_sharded(state, tmp_path, 1)
    names = lambda rename: sorted(plait.io.load_sharded(tmp_path, rename))  # noqa: E731
    assert names({"transformer": ""}) == ["h.0.w", "h.1.w", "head.w"]
    assert names({"transformer": "", "transformer.h": "layers", "head": None}) == ["layers.0.w", "layers.1.w"]
    assert names({"transformer.h": "blocks", "hea": "x"}) == ["blocks.0.w", "blocks.1.w", "head.w"]
    assert names({"transformer.h.0.w": "first"}) == ["first", "head.w", "transformer.h.1.w"]
    assert names(str.upper) == ["HEAD.W", "TRANSFORMER.H.0.W", "TRANSFORMER.H.1.W"]
    assert names(lambda name: name if "h.0" in name else None) == ["transformer.h.0.w"]
    half = plait.io.load_sharded(tmp_path, dtype="bfloat16")
    assert [half[k].dtype.name for k in ("transformer.h.0.w", "head.w")] == ["bfloat16", "int64"]
    with pytest.raises(ArgumentError, match="Two tensors get the same name"):
        names({"transformer.h.0": "x", "transformer.h.1": "x"})
    with pytest.raises(ArgumentTypeError, match="rename says how names change. Received: int"):
        names(3)


def test_strictness(tmp_path: Path) -> None:
    state = model().state_dict()
    del state["1.bias"]
    state["extra"] = plait.ones(1)
    plait.io.save_sharded(state, tmp_path, 1)
    twin = model()
    with pytest.raises(ArgumentError, match="missing: 1.bias\n  unexpected: extra"):
        plait.io.load_model(twin, tmp_path)
    assert plait.io.load_model(twin, tmp_path, strict=False) == (["1.bias"], ["extra"])
    with pytest.raises(ArgumentError, match=r"0.weight: received shape \(32, 8\), expected \(3, 3\)"):
        plait.io.load_model(nn.Sequential(nn.Linear(3, 3)), tmp_path, strict=False)


def change(folder: Path, update: Any) -> None:
    index = json.loads((folder / INDEX).read_text())
    update(index["weight_map"])
    (folder / INDEX).write_text(json.dumps(index))


OUTSIDE = ["../other/model.safetensors", "/etc/passwd", "..", ".", "", "a\\b", "C:x", "a\0b", "sub/x.safetensors"]


@pytest.mark.parametrize("name", OUTSIDE)
def test_an_index_names_no_files_elsewhere(tmp_path: Path, name: str) -> None:
    plait.io.save_sharded(model().state_dict(), tmp_path, 1)
    change(tmp_path, lambda weight_map: weight_map.update({"0.bias": name}))
    with pytest.raises(ArgumentError, match="is not the name of a file beside it"):
        plait.io.load_sharded(tmp_path)


@pytest.mark.parametrize(
    ("update", "text"),
    [
        (lambda m: m.update(ghost=m["0.bias"]), "'ghost' is not in model-"),
        (lambda m: m.pop("0.bias"), "'0.bias' of model-.* is not in the index|no such file"),
        (lambda m: m.update({"0.bias": m["0.weight"]}), "'0.bias' is not in model-"),
    ],
)
def test_an_index_agrees_with_its_files(tmp_path: Path, update: Any, text: str) -> None:
    plait.io.save_sharded(model().state_dict(), tmp_path, 700)
    change(tmp_path, update)
    with pytest.raises(ArgumentError, match=text):
        plait.io.load_sharded(tmp_path)


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ("[]", "it has no weight_map"),
        ('{"weight_map": {"x": 3}}', "it has no weight_map"),
        ('{"weight_map": {"x": "a", "x": "b"}}', "'x' comes twice"),
        ('{"weight_map": NaN}', "holds NaN"),
        ("[" * 100_000, "nested too deeply"),
        ("{", "the index is not JSON"),
    ],
)
def test_damaged_indexes(tmp_path: Path, content: str, text: str) -> None:
    (tmp_path / INDEX).write_text(content)
    with pytest.raises(ArgumentError, match=f"This is no index of safetensors files.*{text}"):
        plait.io.load_sharded(tmp_path / INDEX)


def test_errors(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        plait.io.load_sharded(tmp_path)
    with pytest.raises(ArgumentTypeError, match="Only tensors by name are saved"):
        plait.io.save_sharded([], tmp_path)
    for size in (0, -1, "5", "five GB", "5XB", 1.5):
        with pytest.raises(ArgumentError, match="max_shard_size is a size"):
            plait.io.save_sharded({}, tmp_path, size)
    plait.io.save_sharded(model().state_dict(), tmp_path, 1)
    (tmp_path / "model-00003-of-00006.safetensors").unlink()
    with pytest.raises(FileNotFoundError, match="model-00003"):
        plait.io.load_sharded(tmp_path)
