"""The ported scripts give the losses of their PyTorch originals: same initial weights, same batches."""

from __future__ import annotations

import runpy
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import plait

torch = pytest.importorskip("torch")
pytest.importorskip("sklearn")

FOLDER = Path(__file__).parents[2] / "examples" / "ported"


def script(name: str, framework: str) -> SimpleNamespace:
    return SimpleNamespace(**runpy.run_path(str(FOLDER / f"{name}_{framework}.py")))


def carry_over(ours: Any, theirs: Any) -> None:
    """Give our model the weights of PyTorch's."""
    ours.load_state_dict({name: plait.tensor(value.numpy()) for name, value in theirs.state_dict().items()})


def mnist_like(s: SimpleNamespace, model: Any, folder: Path) -> list[float]:
    """Train, evaluate, save, train, load, and train again."""
    order = np.random.default_rng(0).permutation(96).tolist()
    loader = s.DataLoader(s.digits(), batch_size=32, sampler=order)
    optimizer = s.optim.SGD(model.parameters(), lr=0.05, momentum=0.9, weight_decay=5e-4, nesterov=True)
    scheduler = s.StepLR(optimizer, step_size=1, gamma=0.7)
    losses = s.train(model, "cpu", loader, optimizer)
    scheduler.step()
    losses += s.evaluate(model, "cpu", loader)
    parts = {"model": model, "optimizer": optimizer, "scheduler": scheduler}
    s.torch.save({name: part.state_dict() for name, part in parts.items()}, folder / "checkpoint.pt")
    losses += s.train(model, "cpu", loader, optimizer)
    for name, state in s.torch.load(folder / "checkpoint.pt", weights_only=True).items():
        parts[name].load_state_dict(state)
    again = s.train(model, "cpu", loader, optimizer)
    np.testing.assert_allclose(again, losses[-len(again) :], rtol=1e-5)
    return losses


def char_rnn(s: SimpleNamespace, model: Any, folder: Path) -> list[float]:
    """Train on lines of different lengths, with gradients that are clipped."""
    loader = s.DataLoader(lines(s), batch_size=8, collate_fn=s.collate)
    optimizer = s.optim.Adam(model.parameters(), lr=5e-3)
    return [loss for _ in range(2) for loss in s.train(model, loader, s.nn.CrossEntropyLoss(), optimizer, clip=0.5)]


def lines(s: SimpleNamespace) -> Any:
    return s.Lines("\n".join(s.inspect.getsource(s.textwrap).splitlines()[:16]))


def transformer(s: SimpleNamespace, model: Any, folder: Path) -> list[float]:
    """Train in mixed precision on rows with padding, save the weights, and load them into a fresh model."""
    classes = np.arange(64) % 4
    rows = np.random.default_rng(1).integers(1, 32, (64, s.LENGTH)) + 32 * classes[:, None]
    rows[np.arange(s.LENGTH) >= np.arange(8, 72)[:, None]] = s.PADDING
    tokens, labels = s.torch.tensor(rows), s.torch.tensor(classes)
    loader = s.DataLoader(s.TensorDataset(tokens, labels), batch_size=32)
    optimizer, scaler = s.AdamW(model.parameters(), lr=5e-3, weight_decay=0.05), s.GradScaler("cpu", init_scale=1024.0)
    found = [loss for _ in range(6) for loss in s.train(model, loader, optimizer, scaler, s.torch.bfloat16)]
    s.torch.save(model.state_dict(), folder / "weights.pt")
    restored = s.Classifier(4, 16, layers=1, dropout=0.0)
    restored.load_state_dict(s.torch.load(folder / "weights.pt", weights_only=True))
    accuracy = s.evaluate(restored, loader)
    assert accuracy == s.evaluate(model, loader)
    assert found[-1] < 0.8 * found[0] and scaler.get_scale() == 1024.0
    return [*found, accuracy]


CASES = {
    "mnist_like": (mnist_like, lambda s: s.Net(dropout=0.0), 1e-4),
    "char_rnn": (char_rnn, lambda s: s.CharRNN(len(lines(s).characters), size=24, dropout=0.0), 1e-4),
    "transformer": (transformer, lambda s: s.Classifier(4, 16, layers=1, dropout=0.0), 2e-2),
}


@pytest.mark.parametrize("case", CASES)
def test_losses_are_those_of_pytorch(case: str, tmp_path: Path) -> None:
    run, build, tolerance = CASES[case]
    torch.manual_seed(0)
    scripts = [script(case, framework) for framework in ("torch", "plait")]
    theirs, ours = map(build, scripts)
    carry_over(ours, theirs)
    expected = run(scripts[0], theirs, tmp_path)
    found = run(scripts[1], ours, tmp_path)
    np.testing.assert_allclose(found, expected, rtol=tolerance)
