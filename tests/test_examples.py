"""Every example runs, shortened, learns something, and draws."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("sklearn")
pytest.importorskip("matplotlib")

EXAMPLES = Path(__file__).parent.parent / "examples"


def example(name: str) -> Any:
    spec = importlib.util.spec_from_file_location(f"examples.{name}", EXAMPLES / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def is_as_good(exact: Any, lower: Any) -> bool:
    """Whether a lower precision ended where float32 does, up to what one seed varies by."""
    pairs = [(a["losses"][-1], b["losses"][-1]) for a, b in zip(exact, lower, strict=True)]
    return all(b < a + 0.05 for a, b in pairs) and all(one["accuracy"] > 0.95 for one in lower)


LEARNED = {
    "digits": ("digits-trainer.png", lambda found: found["accuracy"] > 0.95),
    "gpt": ("gpt.png", lambda found: found["loss"] < found["first_loss"] - 1),
    "resnet": ("resnet.png", lambda found: all(is_as_good(found["float32"], f) for f in found.values())),
    "tabular": (
        "tabular.png",
        lambda found: found["r2"]["plait"] > found["r2"]["random forest"] and found["auroc"]["plait"] > 0.99,
    ),
    "vae": ("vae.png", lambda found: found["loss"] < found["first_loss"] - 2),
}


def test_no_example_is_left_out() -> None:
    assert sorted(LEARNED) == sorted(path.stem for path in EXAMPLES.glob("*.py"))


@pytest.mark.parametrize("name", LEARNED)
def test_example(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    drawing, has_learned = LEARNED[name]
    found = example(name).main(["--quick", "--output", str(tmp_path)])
    assert has_learned(found), found
    assert (tmp_path / drawing).read_bytes().startswith(b"\x89PNG")
    assert str(tmp_path / drawing) in capsys.readouterr().out


def test_a_gpt_that_was_stopped_continues_bit_for_bit(tmp_path: Path) -> None:
    gpt = example("gpt")

    def run(folder: str, stop: int | None = None) -> Any:
        options = gpt.parse(["--quick", "--output", str(tmp_path / folder)])
        trainer = gpt.make_trainer(options)
        gpt.fit(trainer, options, [gpt.train.LambdaCallback(on_step_end=lambda t: t.step == stop and t.stop("test"))])
        return trainer

    whole = run("whole")
    assert run("parts", stop=7).step == 7  # in the middle of an epoch
    parts = run("parts")
    assert parts.history.losses == whole.history.losses
    assert len(parts.history.losses) == parts.step == 20
    for name, value in whole.model.state_dict().items():
        assert value.numpy().tobytes() == parts.model.state_dict()[name].numpy().tobytes(), name
