"""Checkpoints: what comes back, exact resumption, kills, damage, retention, and errors."""

from __future__ import annotations

import contextlib
import hashlib
import json
import random
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

import plait
from plait import nn, optim
from plait.core.errors import ArgumentError, ArgumentTypeError
from plait.data import DataLoader
from plait.train.checkpoint import CheckpointManager

pytest.importorskip("hypothesis")
from hypothesis import HealthCheck, given, settings, strategies as st


class Pair(NamedTuple):
    a: Any
    b: Any


@dataclass
class Record:
    x: Any
    y: Any = 0


class Loader:
    """A stand-in for a data loader: its state is a position and a generator."""

    def __init__(self) -> None:
        self.position, self.random = 0, random.Random(0)

    def __next__(self) -> plait.Tensor:
        self.position += 1
        return plait.tensor([[self.random.random() for _ in range(4)] for _ in range(8)])

    def state_dict(self) -> dict[str, Any]:
        return {"position": self.position, "random": self.random.getstate()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.position = state["position"]
        self.random.setstate(state["random"])


def same(a: Any, b: Any) -> None:
    """Equal in type, structure and every bit."""
    if isinstance(a, plait.Tensor):
        assert isinstance(b, plait.Tensor) and a.aval is b.aval and a.numpy().tobytes() == b.numpy().tobytes()
    elif isinstance(a, (np.ndarray, np.generic)):
        assert type(a) is type(b) and a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()
    elif isinstance(a, tuple) and hasattr(a, "_fields"):
        assert type(a).__name__ == type(b).__name__
        same(a._asdict(), b._asdict())
    elif isinstance(a, dict):
        assert list(a) == list(b) and [type(k) for k in a] == [type(k) for k in b]
        for k in a:
            same(a[k], b[k])
    elif isinstance(a, (list, tuple)):
        assert type(a) is type(b) and len(a) == len(b)
        for x, y in zip(a, b, strict=True):
            same(x, y)
    else:
        assert type(a) is type(b) and repr(a) == repr(b)


EVERYTHING = {
    "numbers": [0, -1, 2**80, 0.1, 1e-320, -0.0, float("nan"), float("inf"), -float("inf"), 1 + 2j, complex(0, -0.0)],
    "texts": ["", "ü\n", "\ud800", b"\0\xff", None, True],
    "empty": [{}, [], (), {"": {}}],
    "one": {"tensor": "not a tensor"},
    "two": {"tensor": "x", "dtype": "complex128"},
    "keys": {0: "a", "0": "b", (1, "x"): "c", 2.5: "d", True: "e", None: "f", b"k": "g"},
    "named": Pair(1, (2, [3])),
    "tensors": {d: plait.arange(6).reshape(2, 3).to(d) for d in ("bool", "int8", "bfloat16", "float64", "complex128")},
    "a.b": plait.ones(2), "a": {"b": plait.zeros(2)},
    "arrays": [np.arange(3), np.zeros((0, 2)), np.float32(1.5), np.int64(3), np.array(1j), np.bool_(True)],
    "scalar": plait.tensor(1.5),
    "transposed": plait.arange(6).reshape(2, 3).T,
}  # fmt: skip


@pytest.mark.parametrize("asynchronous", [False, True])
def test_any_state_comes_back(tmp_path: Path, asynchronous: bool) -> None:
    with CheckpointManager(tmp_path / "run", asynchronous=asynchronous) as manager:
        manager.save(3, EVERYTHING)
    same(EVERYTHING, manager.restore())
    same(EVERYTHING, CheckpointManager(tmp_path / "run").restore(3, into=EVERYTHING))
    for state in (plait.ones(2), [], 3, None, "x"):
        manager.save(4, state)
        same(state, manager.restore())


def test_objects_are_restored_in_place(tmp_path: Path) -> None:
    model, generator, source, array = nn.Linear(2, 2), plait.Generator(1), random.Random(1), np.arange(3)
    state = {"m": model, "g": generator, "r": source, "a": array, "t": plait.ones(2), "x": Record(plait.ones(1), 5)}
    manager = CheckpointManager(tmp_path)
    manager.save(1, state)
    weight = model.weight.detach().numpy().copy()
    drawn, number = plait.rand(2, generator=generator).numpy(), source.random()
    with plait.no_grad():
        model.weight.zero_()
    array[:] = 0
    state["t"] *= 0
    state["x"].x *= 0
    found = manager.restore(into={**state, "x": Record(state["x"].x, -1)})
    assert found["m"] is model and found["a"] is array and found["t"] is state["t"] and isinstance(found["x"], Record)
    np.testing.assert_array_equal(model.weight.detach().numpy(), weight)
    np.testing.assert_array_equal(plait.rand(2, generator=generator).numpy(), drawn)
    assert source.random() == number and array.tolist() == [0, 1, 2] and state["t"].tolist() == [1.0, 1.0]
    assert found["x"].y == 5 and found["x"].x.tolist() == [1.0]
    plain = manager.restore()
    assert set(plain["m"]) == {"weight", "bias"} and plain["x"]["y"] == 5 and plain["r"][0] == 3


class Run:
    """A small training run with all that has state: dropout, batch norm, Adam, a schedule, generators, a loader."""

    def __init__(self) -> None:
        plait.manual_seed(0)
        self.model = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Dropout(0.3), nn.Linear(8, 1))
        self.optimizer = optim.AdamW(self.model.parameters(), lr=1e-2)
        self.schedule = optim.lr_scheduler.CosineAnnealingLR(self.optimizer, 20)
        self.loader = Loader()

    @property
    def state(self) -> dict[str, Any]:
        return {
            "model": self.model, "optimizer": self.optimizer, "schedule": self.schedule, "loader": self.loader,
            "generator": plait.default_generator,
        }  # fmt: skip

    def step(self, x: Any) -> Any:
        self.optimizer.zero_grad()
        loss = ((self.model(x + 0.1 * plait.randn(8, 4)) - x.sum(1, keepdim=True)) ** 2).mean()
        loss.backward()
        self.optimizer.step()
        return loss

    def train(self, steps: int, is_compiled: bool) -> list[float]:
        step = plait.jit(self.step) if is_compiled else self.step
        losses = []
        for _ in range(steps):
            losses.append(step(next(self.loader)).item())
            self.schedule.step()
        return losses


@pytest.mark.parametrize("is_compiled", [False, True])
@pytest.mark.parametrize("asynchronous", [False, True])
def test_resuming_equals_not_stopping_bit_for_bit(tmp_path: Path, asynchronous: bool, is_compiled: bool) -> None:
    whole = Run()
    losses = whole.train(5, is_compiled)
    with CheckpointManager(tmp_path, asynchronous=asynchronous) as manager:
        manager.save(5, whole.state)
        losses += whole.train(5, is_compiled)
    manager.save(10, whole.state)
    resumed = Run()
    resumed.train(2, is_compiled)
    manager.restore(5, into=resumed.state)
    assert resumed.train(5, is_compiled) == losses[5:]
    manager.save(11, resumed.state)
    same(manager.restore(10), manager.restore(11))


def test_a_loader_goes_on_in_the_middle_of_an_epoch(tmp_path: Path) -> None:
    def loader() -> DataLoader:
        return DataLoader(np.arange(20), batch_size=3, shuffle=True, generator=plait.Generator(4))

    manager, whole, resumed = CheckpointManager(tmp_path), loader(), loader()
    batches = iter(whole)
    for _ in range(3):
        next(batches)
    manager.save(3, {"loader": whole, "epoch": 0})
    manager.restore(into={"loader": resumed, "epoch": 0})
    rest = [b.tolist() for b in batches]
    assert [b.tolist() for b in resumed] == rest and len(rest) == 4
    assert [b.tolist() for b in resumed] == [b.tolist() for b in whole], "the next epoch"


def test_an_asynchronous_save_is_of_the_moment_of_the_call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    x, array, numbers = plait.zeros(1000), np.zeros(1000), [0]
    manager = CheckpointManager(tmp_path, asynchronous=True)
    step = plait.jit(lambda: x.add_(1.0))
    step()
    original = manager._write
    monkeypatch.setattr(manager, "_write", lambda *a: (time.sleep(0.1), original(*a)))
    manager.save(1, {"x": x, "a": array, "n": numbers})
    assert not any(tmp_path.iterdir()), "it has not been written yet"
    step()
    array += 1
    numbers.append(1)
    found = manager.restore()
    assert found["x"][0].item() == 1.0 and found["a"].sum() == 0 and found["n"] == [0]


def test_errors_of_the_thread_surface(tmp_path: Path) -> None:
    manager = CheckpointManager(tmp_path / "run", asynchronous=True)
    for use in (manager.wait, manager.steps, manager.restore, lambda: manager.save(2, {})):
        (tmp_path / "run").write_text("in the way")
        manager.save(1, {})
        with pytest.raises(FileExistsError):
            use()
    (tmp_path / "run").unlink()
    manager.save(1, {"x": 1})
    assert manager.restore() == {"x": 1}
    (tmp_path / "other").write_text("in the way")
    lost = CheckpointManager(tmp_path / "other", asynchronous=True)
    lost.save(1, {})
    lost._writing.join()
    with pytest.warns(UserWarning, match="An asynchronous save failed: FileExistsError"):
        lost._at_exit()


# retention


def test_what_is_kept(tmp_path: Path) -> None:
    losses = [0.9, 0.2, 0.8, 0.1, float("nan"), 0.3]
    for options, kept in [
        ({}, [0, 1, 2, 3, 4, 5]),
        ({"keep_last": 2}, [4, 5]),
        ({"keep_best": 2}, [1, 3, 5]),
        ({"keep_last": 2, "keep_best": 1}, [3, 4, 5]),
        ({"keep_best": 2, "mode": "max"}, [0, 2, 5]),
    ]:
        manager = CheckpointManager(tmp_path / str(options).replace("'", ""), **options)
        for step, loss in enumerate(losses):
            manager.save(step, {"step": step}, metric=loss)
        assert manager.steps() == kept
        assert manager.restore()["step"] == 5 == manager.restore("latest")["step"]
        best = CheckpointManager(manager.folder, mode=manager.mode).restore("best")["step"]
        assert best == (0 if manager.mode == "max" else 3 if 3 in kept else 5)
        assert len(list(manager.folder.iterdir())) == len(kept)


def test_one_metric_of_several(tmp_path: Path) -> None:
    manager = CheckpointManager(tmp_path, keep_best=1, metric="accuracy", mode="max")
    for step, accuracy in enumerate([0.5, 0.9, 0.7]):
        manager.save(step, step, metric={"loss": -accuracy, "accuracy": plait.tensor(accuracy)})
    assert manager.restore("best") == 1
    with pytest.raises(ArgumentError, match="needs the metric of every checkpoint. Received: loss"):
        manager.save(3, 3, metric={"loss": 1})
    with pytest.raises(ArgumentError, match="Received: none. Expected: accuracy"):
        manager.save(3, 3)


def test_a_step_is_saved_again(tmp_path: Path) -> None:
    manager = CheckpointManager(tmp_path)
    for value in range(3):
        manager.save(7, value)
        assert manager.restore(7) == value and manager.steps() == [7] and len(list(tmp_path.iterdir())) == 1


# damage

KILLED = """
import sys, plait
from plait.train.checkpoint import CheckpointManager
x = plait.zeros(100_000)
manager = CheckpointManager(sys.argv[1], keep_last=2, asynchronous=sys.argv[2] == "True")
step = max(manager.steps(), default=0)
while True:
    step += 1
    manager.save(step, {"step": step, "x": x + step, "list": list(range(1000))})
    print(step, flush=True)
"""


@pytest.mark.parametrize("asynchronous", [False, True])
def test_a_killed_process_leaves_the_last_good_one(tmp_path: Path, asynchronous: bool) -> None:
    chance = random.Random(asynchronous)
    last = 0
    for _ in range(2):
        command = [sys.executable, "-c", KILLED, str(tmp_path), str(asynchronous)]
        with subprocess.Popen(command, stdout=subprocess.PIPE) as child:
            child.stdout.readline()
            time.sleep(0.05 * chance.random())
            child.send_signal(signal.SIGKILL)
        manager = CheckpointManager(tmp_path)
        for step in manager.steps():
            found = manager.restore(step)
            assert found["step"] == step and (found["x"].numpy() == step).all() and found["list"][-1] == 999
        newest = max(manager.steps(), default=0)
        assert newest >= last + (not asynchronous), "what was reported as saved is there"
        last = newest
    CheckpointManager(tmp_path, keep_last=1).save(10**6, {})
    assert [p.name for p in tmp_path.iterdir()] == ["step-01000000"], "what was left over is gone"


def test_an_interrupted_write_leaves_no_trace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    manager = CheckpointManager(tmp_path)
    manager.save(1, {"x": plait.ones(100)})
    for limit in (0, 1, 2):
        left = iter(range(limit))

        def fail(file: Any, left: Any = left) -> None:
            if next(left, None) is None:
                raise OSError("no space left")

        monkeypatch.setattr("plait.train.checkpoint.sync", fail)
        with pytest.raises(OSError, match="no space left"):
            manager.save(2, {"x": plait.zeros(100)})
        assert manager.steps() == [1] and [p.name for p in tmp_path.iterdir()] == ["step-00000001"]


def damaged(folder: Path, file: str, chance: random.Random) -> None:
    path = folder / file
    content = bytearray(path.read_bytes())
    how = chance.randrange(3)
    if how == 0:
        content[chance.randrange(len(content))] ^= 1 << chance.randrange(8)
    elif how == 1:
        del content[chance.randrange(len(content)) :]
    else:
        content += b"\0"
    path.write_bytes(bytes(content))


@pytest.mark.parametrize("file", ["tensors.safetensors", "state.json", "manifest.json"])
@pytest.mark.parametrize("seed", range(8))
def test_damage_is_noticed_and_passed_over(tmp_path: Path, file: str, seed: int) -> None:
    manager = CheckpointManager(tmp_path)
    for step in (1, 2):
        manager.save(step, {"step": step, "x": plait.ones(5)}, metric=-step)
    damaged(tmp_path / "step-00000002", file, random.Random(seed))
    with pytest.raises(ArgumentError, match=r"The checkpoint is damaged.*step-00000002.*Fix: restore another"):
        manager.restore(2)
    with pytest.warns(UserWarning, match="A damaged checkpoint is passed over: .*step-00000002"):
        assert manager.restore()["step"] == 1
    (tmp_path / "step-00000001" / file).unlink()
    with pytest.raises(ArgumentError, match=f"{file} is missing"):
        manager.restore(1)


def forged(folder: Path, state: bytes) -> None:
    """Write a state with the right checksums."""
    (folder / "state.json").write_bytes(state)
    manifest = json.loads((folder / "manifest.json").read_bytes())
    del manifest["checksum"]
    manifest["files"]["state.json"] = {"bytes": len(state), "sha256": hashlib.sha256(state).hexdigest()}
    checksum = hashlib.sha256(json.dumps(manifest, sort_keys=True).encode()).hexdigest()
    (folder / "manifest.json").write_text(json.dumps({**manifest, "checksum": checksum}))


HOSTILE = {
    '{"x": NaN}': "holds NaN", '{"a": 1, "a": 2}': "'a' comes twice", "[" * 100_000: "nested too deeply",
    '{"spam": 1}': "'spam' is no kind of value", '{"tensor": "y"}': "no tensor 'y'", '{"tensor": [1]}': "no tensor",
    '{"tensor": ["x", "complex128"]}': "a complex array is not written", '{"scalar": "x"}': "a scalar is not written",
    '{"tuple": 1}': "a tuple is not", '{"float": "1"}': "a float is not", '{"complex": [1, 2, 3]}': "a complex number",
    '{"bytes": "xy"}': "not hexadecimal", '{"dict": [[[], 1]]}': "cannot be one", '{"dict": [1]}': "a dict is not",
    '{"dict": [[1, 2], [1, 3]]}': "a dict is not", '{"named tuple": ["X", {"_a": 1}]}': "a named tuple is not",
    '{"named tuple": ["import os", {}]}': "a named tuple is not", '{"dataclass": []}': "a dataclass is not",
    "1" * 5000: "not JSON", "[" * 900 + "]" * 900: "",
}  # fmt: skip


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_state(tmp_path: Path, text: str) -> None:
    manager = CheckpointManager(tmp_path)
    manager.save(1, {"x": plait.ones(3)})
    forged(tmp_path / "step-00000001", text.encode())
    if not HOSTILE[text]:
        with contextlib.suppress(ArgumentError):
            manager.restore(1)
        return
    with pytest.raises(ArgumentError, match=HOSTILE[text]):
        manager.restore(1)


KINDS = ("tensor", "array", "scalar", "tuple", "dict", "state", "named tuple", "dataclass", "float", "complex", "bytes")
DOCUMENTS = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.just("x")
    | st.text(max_size=3),
    lambda parts: st.lists(parts, max_size=3) | st.dictionaries(st.sampled_from(KINDS) | st.text(max_size=3), parts,
                                                               max_size=2),
    max_leaves=8,
)  # fmt: skip


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(document=DOCUMENTS)
def test_any_document_is_read_or_refused(tmp_path: Path, document: Any) -> None:
    manager = CheckpointManager(tmp_path)
    if not manager.steps():
        manager.save(1, {"x": plait.ones(3)})
    forged(tmp_path / "step-00000001", json.dumps(document).encode())
    for into in (None, {"x": plait.ones(3)}, {"x": nn.Linear(1, 1)}, [plait.ones(3)]):
        with contextlib.suppress(ArgumentError):
            manager.restore(1, into=into)


# what does not fit


def test_all_that_does_not_fit_is_listed_and_nothing_is_changed(tmp_path: Path) -> None:
    manager = CheckpointManager(tmp_path)
    manager.save(1, {"a": plait.ones(2), "b": [plait.ones(3), 1], "c": {"x": plait.ones(1)}, "m": nn.Linear(1, 1)})
    into = {"a": plait.zeros(2), "b": [plait.zeros(4), 1], "c": {"y": plait.zeros(1)}, "m": plait.zeros(1)}
    with pytest.raises(ArgumentError) as caught:
        manager.restore(into=into)
    for line in (
        "step-00000001 does not fit what it is restored into, and nothing was changed:",
        "  ['b'][0]: received float32[3], expected float32[4]",
        "  ['c']['y']: missing", "  ['c']['x']: unexpected", "  ['m']: received a state, expected a tensor",
        "Fix: pass into= the structure that was saved",
    ):  # fmt: skip
        assert line in str(caught.value)
    assert into["a"].tolist() == [0.0, 0.0]


def test_an_object_that_refuses_its_state_leaves_all_as_it_was(tmp_path: Path) -> None:
    manager = CheckpointManager(tmp_path)
    manager.save(1, {"t": plait.ones(2), "m": nn.Linear(2, 2), "n": nn.Linear(3, 3), "r": random.Random(1)})
    into = {"t": plait.zeros(2), "r": random.Random(2), "m": nn.Linear(2, 2), "n": nn.Linear(4, 4)}
    before = into["m"].weight.detach().numpy().copy()
    following = random.Random(2).random()
    with pytest.raises(ArgumentError, match="The state dict does not fit this Linear"):
        manager.restore(into=into)
    np.testing.assert_array_equal(into["m"].weight.detach().numpy(), before)
    assert into["t"].tolist() == [0.0, 0.0] and into["r"].random() == following


def circular() -> list[Any]:
    loop: list[Any] = []
    loop.append(loop)
    return loop


@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        (lambda m: m.save(1, {"f": [print]}), ArgumentTypeError, "cannot be saved. Received: builtin.* at f.0"),
        (lambda m: m.save(1, {plait: 1}), ArgumentTypeError, "A key of a dict cannot be saved. Received: module"),
        (lambda m: m.save(1, np.array(["x"])), ArgumentTypeError, "An array of this dtype cannot be saved"),
        (lambda m: m.save(1, circular()), ArgumentError, "nested too deeply"),
        (lambda m: m.save(-1, {}), ArgumentError, "A step is a number. Received: -1"),
        (lambda m: m.save("1", {}), ArgumentError, "A step is a number. Received: '1'"),
        (lambda m: m.save(1, {}, metric="x"), ArgumentTypeError, "A metric is a number"),
        (lambda m: m.restore(), FileNotFoundError, "no such checkpoint in .*Received: latest. Fix: look at steps"),
        (lambda m: m.restore("best"), FileNotFoundError, "Received: best"),
        (lambda m: m.restore(5), FileNotFoundError, "Received: step 5"),
        (lambda m: m.restore("newest"), ArgumentError, "restore takes a step. Received: 'newest'"),
        (lambda m: CheckpointManager(m.folder, keep_last=0), ArgumentError, "keep_last is a number of checkpoints"),
        (lambda m: CheckpointManager(m.folder, keep_best=1.5), ArgumentError, "keep_best is a number"),
        (lambda m: CheckpointManager(m.folder, mode="least"), ArgumentError, "mode says which metric is best"),
    ],
)
def test_errors(tmp_path: Path, call: Any, error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        call(CheckpointManager(tmp_path / "run"))
    assert not (tmp_path / "run").exists(), "nothing was written"
