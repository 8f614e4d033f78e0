"""The demo and the command line."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import plait
from plait import cli, demo

pytest.importorskip("sklearn")
pytest.importorskip("matplotlib")
pytest.importorskip("tqdm")


def test_it_learns_saves_loads_and_draws(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["demo", "--epochs", "4", "--output", str(tmp_path)]) == 0
    text = capsys.readouterr().out
    accuracy = float(text.split("held-out accuracy")[1].split()[0])
    assert accuracy > 0.93
    assert f"in a fresh process: {accuracy:.4f}" in text
    assert (tmp_path / "digits.png").read_bytes().startswith(b"\x89PNG")


def test_compiled_and_eager_steps_give_the_same_losses() -> None:
    digits = demo.load_digits()
    few = digits._replace(train_images=digits.train_images[:512], train_labels=digits.train_labels[:512])
    losses = []
    for use_jit in (True, False):
        plait.manual_seed(0)
        losses.append(demo.train(demo.Net(), few, 1, use_jit=use_jit)[1])
    np.testing.assert_allclose(losses[0], losses[1], rtol=1e-4)


def test_the_held_out_fifth_is_apart() -> None:
    digits = demo.load_digits()
    assert len(digits.test_labels) == 359
    assert len(digits.train_labels) == 1438


def test_augmentation_keeps_the_values_in_range() -> None:
    images = demo.load_digits().train_images[:100]
    changed = demo.augment(images, np.random.default_rng(0))
    assert changed.shape == images.shape
    assert changed.dtype == np.float32
    assert changed.min() >= 0
    assert changed.max() <= 1
    assert not np.array_equal(changed, images)


def test_doctor(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["doctor"]) == 0
    assert "self-check ok: a compiled training step found 3.0000 * x + 1.0000" in capsys.readouterr().out


def test_help_and_version(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        cli.main(["--version"])
    assert end.value.code == 0
    assert capsys.readouterr().out == f"plait {plait.__version__}\n"
    with pytest.raises(SystemExit) as end:
        cli.main([])
    assert end.value.code == 2
