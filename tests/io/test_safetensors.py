"""Saving and loading tensors."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import plait
from plait import nn
from plait.core.errors import ArgumentError, ArgumentTypeError

pytest.importorskip("safetensors")

DTYPES = [
    "bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "float16", "bfloat16", "float32",
    "float64", "float8_e4m3fn", "float8_e5m2", "complex64",
]  # fmt: skip


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(), (0,), (3, 5)])
def test_round_trip(tmp_path: Path, dtype: str, shape: tuple[int, ...]) -> None:
    values = plait.tensor(np.random.default_rng(0).integers(0, 2, shape)).to(dtype)
    plait.save({"x": values, "y": plait.arange(3)}, tmp_path / "file")
    loaded = plait.load(tmp_path / "file")
    assert list(loaded) == ["x", "y"]
    assert loaded["x"].aval is values.aval
    assert loaded["x"].numpy().tobytes() == values.numpy().tobytes()


def test_a_model_is_restored(tmp_path: Path) -> None:
    model, twin = (nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4)) for _ in range(2))
    model(plait.ones(5, 3) * plait.arange(5)[:, None])
    plait.save(model.state_dict(), tmp_path / "model.safetensors", {"epoch": "3"})
    twin.load_state_dict(plait.load(tmp_path / "model.safetensors"))
    x = plait.ones(2, 3)
    np.testing.assert_array_equal(model.eval()(x).detach().numpy(), twin.eval()(x).detach().numpy())


def test_other_libraries_can_read_it(tmp_path: Path) -> None:
    from safetensors.numpy import load_file, save_file

    array = np.arange(6, dtype=np.float32).reshape(2, 3)
    plait.save({"transposed": plait.tensor(array).T, "parameter": nn.Parameter(array)}, tmp_path / "a")
    np.testing.assert_array_equal(load_file(tmp_path / "a")["transposed"], array.T)
    save_file({"x": array}, tmp_path / "b")
    np.testing.assert_array_equal(plait.load(str(tmp_path / "b"))["x"].numpy(), array)


def test_a_file_is_replaced_at_once_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import safetensors.numpy

    path = tmp_path / "file"
    plait.save({"x": plait.ones(2)}, path)

    def fail(*_: Any) -> None:
        raise OSError("no space left")

    monkeypatch.setattr(safetensors.numpy, "save_file", fail)
    with pytest.raises(OSError, match="no space left"):
        plait.save({"x": plait.zeros(2)}, path)
    assert plait.load(path)["x"].tolist() == [1.0, 1.0]
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


def test_errors(tmp_path: Path) -> None:
    path = tmp_path / "file"
    with pytest.raises(ArgumentTypeError, match="Only tensors by name are saved. Received: Linear"):
        plait.save(nn.Linear(1, 1), path)
    with pytest.raises(ArgumentTypeError, match="Received: int under 'step'"):
        plait.save({"step": 3}, path)
    with pytest.raises(ArgumentError, match="has no complex128"):
        plait.save({"x": plait.zeros(1, dtype=plait.complex128)}, path)
    with pytest.raises(FileNotFoundError):
        plait.load(path)
    path.write_bytes(b"not a safetensors file")
    with pytest.raises(ArgumentError, match="This is no safetensors file"):
        plait.load(path)


def test_the_missing_package_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "safetensors.numpy", None)
    with pytest.raises(ModuleNotFoundError, match=r'pip install "plait\[io\]"'):
        plait.save({}, tmp_path / "file")
