"""Saving and loading any state in one file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

import plait
from plait import nn, optim
from plait.core.errors import ArgumentError, ArgumentTypeError


class Place(NamedTuple):
    """Where a run stands."""

    epoch: int
    order: Any


def trained() -> tuple[nn.Module, optim.Optimizer, Any]:
    plait.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 1))
    optimizer = optim.Adam(model.parameters(), lr=0.1)
    return model, optimizer, optim.lr_scheduler.StepLR(optimizer, 2)


def steps(model: nn.Module, optimizer: optim.Optimizer, scheduler: Any, count: int) -> list[float]:
    losses = []
    for k in range(count):
        optimizer.zero_grad()
        loss = (model(plait.arange(12.0).reshape(4, 3) + k) ** 2).mean()
        loss.backward()
        optimizer.step()
        scheduler.step()
        losses.append(loss.item())
    return losses


@pytest.mark.parametrize("mmap", [False, True])
def test_a_run_goes_on_from_one_file(tmp_path: Path, mmap: bool) -> None:
    first = trained()
    steps(*first, 3)
    names = ("model", "optimizer", "scheduler")
    plait.save({n: part.state_dict() for n, part in zip(names, first, strict=True)} | {"epoch": 3}, tmp_path / "a.pt")
    second = trained()
    saved = plait.load(tmp_path / "a.pt", map_location="cpu", weights_only=True, mmap=mmap)
    assert saved["epoch"] == 3
    for name, part in zip(names, second, strict=True):
        part.load_state_dict(saved[name])
    np.testing.assert_allclose(steps(*second, 3), steps(*first, 3), rtol=1e-5)


VALUES = [
    3, None, "text", [1, 2.5, "a"], (), (1, (True, b"\x00")), {}, {1: "a", (2, "b"): None}, {"nan": float("inf")},
    Place(2, [0, 1]), {"a": {"b": {"c": 1j}}}, np.float32(2.5),
]  # fmt: skip


@pytest.mark.parametrize("value", VALUES, ids=str)
def test_values_come_back_as_they_were(tmp_path: Path, value: Any) -> None:
    plait.save(value, tmp_path / "file", {"note": "kept"})
    found = plait.load(tmp_path / "file")
    assert repr(found) == repr(value)
    assert plait.io.TensorFile(tmp_path / "file").metadata["note"] == "kept"


def test_objects_are_saved_as_their_state(tmp_path: Path) -> None:
    model = nn.Linear(2, 1)
    plait.save(model, tmp_path / "model")
    other = nn.Linear(2, 1)
    other.load_state_dict(plait.load(tmp_path / "model"))
    assert plait.equal(other.weight, model.weight).all()


def test_other_programs_read_the_tensors(tmp_path: Path) -> None:
    library = pytest.importorskip("safetensors.numpy")
    plait.save({"model": {"weight": plait.arange(3)}, "epoch": 1}, tmp_path / "file")
    found = library.load_file(tmp_path / "file")
    assert {name: x.tolist() for name, x in found.items()} == {"model.weight": [0, 1, 2]}
    plait.save({"weight": plait.arange(3)}, tmp_path / "plain")
    assert plait.io.TensorFile(tmp_path / "plain").metadata == {}


@pytest.mark.parametrize(
    ("state", "fault"),
    [
        ("{", "the state is not JSON"),
        ('{"tensor":"y"}', "there is no tensor 'y'"),
        ('{"tensor":3}', "there is no tensor '3'"),
        ('{"object":"os.system"}', "'object' is no kind of value"),
        ("NaN", "which is not finite"),
        (json.dumps({"dict": [[{"dict": []}, 1]]}), "a key of a dict cannot be one"),
        ("[" * 100_000 + "]" * 100_000, "nested too deeply|recursion"),
    ],
)
def test_damaged_state_is_refused(tmp_path: Path, state: str, fault: str) -> None:
    plait.io.save_file({"x": plait.ones(2)}, tmp_path / "file", {"plait.state": state})
    with pytest.raises(ArgumentError, match=f"This is no safetensors file, or it is damaged.*({fault})"):
        plait.load(tmp_path / "file")


def test_what_cannot_be_saved_leaves_no_file(tmp_path: Path) -> None:
    with pytest.raises(ArgumentTypeError, match=r"This cannot be saved. Received: function at hooks.0"):
        plait.save({"hooks": [steps], "x": plait.ones(2)}, tmp_path / "file")
    with pytest.raises(ArgumentTypeError, match="Metadata are strings by name"):
        plait.save([1], tmp_path / "file", {"epoch": 3})
    assert not list(tmp_path.iterdir())
