"""The digits job: trains a convolutional network on real handwritten digits, from data to saved weights and a drawing.

`plait demo` runs it; `python -m plait.demo --evaluate WEIGHTS` loads weights in a fresh process and evaluates them.
"""

from __future__ import annotations

import argparse
import math
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

import plait
from plait import nn
from plait.core.errors import message

Array = np.ndarray[Any, Any]


class Digits(NamedTuple):
    """Images [N, 1, 8, 8] with values from 0 to 1, and their classes, divided into training and held-out ones."""

    train_images: Array
    train_labels: Array
    test_images: Array
    test_labels: Array


def load_digits() -> Digits:
    """Return the 1,797 digits of scikit-learn; a fixed fifth of them is held out."""
    try:
        from sklearn import datasets
    except ImportError:
        text = message("The demo needs scikit-learn, matplotlib, tqdm and safetensors", fix='pip install "plait[demo]"')
        raise SystemExit(text) from None
    data = datasets.load_digits()
    images, labels = (data.images[:, None] / 16).astype(np.float32), data.target.astype(np.int64)
    order = np.random.default_rng(0).permutation(len(images))
    held_out, train = order[: len(order) // 5], order[len(order) // 5 :]
    return Digits(images[train], labels[train], images[held_out], labels[held_out])


def augment(images: Array, random: np.random.Generator) -> Array:
    """Return images turned, scaled and shifted a little, by bilinear interpolation."""
    count, _, height, width = images.shape
    angle, scale = random.uniform(-0.18, 0.18, (count, 1, 1)), random.uniform(0.9, 1.1, (count, 1, 1))
    shift = random.uniform(-1, 1, (2, count, 1, 1))
    y, x = np.arange(height)[:, None] - (height - 1) / 2, np.arange(width) - (width - 1) / 2
    cosine, sine = np.cos(angle) / scale, np.sin(angle) / scale
    rows = np.clip(cosine * y - sine * x + shift[0] + (height + 1) / 2, 0, height + 0.999)
    columns = np.clip(sine * y + cosine * x + shift[1] + (width + 1) / 2, 0, width + 0.999)
    padded = np.pad(images[:, 0], ((0, 0), (1, 1), (1, 1)))
    i, j, k = rows.astype(int), columns.astype(int), np.arange(count)[:, None, None]
    below, right = rows - i, columns - j
    top = (1 - right) * padded[k, i, j] + right * padded[k, i, j + 1]
    bottom = (1 - right) * padded[k, i + 1, j] + right * padded[k, i + 1, j + 1]
    return ((1 - below) * top + below * bottom)[:, None].astype(np.float32)


class Net(nn.Module):
    """Three convolutions and a linear layer."""

    def __init__(self) -> None:
        self.features = nn.Sequential(
            nn.Conv2d(1, 32, 3, padding=1, bias=False), nn.BatchNorm2d(32), nn.ReLU(),
            nn.Conv2d(32, 64, 3, padding=1, bias=False), nn.BatchNorm2d(64), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(64, 64, 3, padding=1, bias=False), nn.BatchNorm2d(64), nn.ReLU(), nn.MaxPool2d(2),
        )  # fmt: skip
        self.head = nn.Linear(64 * 2 * 2, 10)

    def forward(self, x: plait.Tensor) -> plait.Tensor:
        """Return the logits [N, 10] of images [N, 1, 8, 8]."""
        return self.head(self.features(x).flatten(1))


def evaluate(model: Net, digits: Digits) -> Array:
    """Return the classes that the model gives to the held-out images."""
    model.eval()
    with plait.no_grad():
        return model(plait.as_tensor(digits.test_images)).argmax(1).numpy()


class History(NamedTuple):
    """What happened in each epoch."""

    losses: list[float]
    train_accuracies: list[float]
    accuracies: list[float]


def train(
    model: Net, digits: Digits, epochs: int, seed: int = 0, use_jit: bool = True, batch: int = 64, lr: float = 4e-3
) -> tuple[History, list[float]]:
    """Train the model; returns the history, and the loss of every step."""
    random = np.random.default_rng(seed)
    optimizer = plait.optim.AdamW(model.parameters(), lr=lr, weight_decay=0.05)

    def step(images: plait.Tensor, labels: plait.Tensor) -> tuple[plait.Tensor, plait.Tensor]:
        logits = model(images)
        loss = nn.functional.cross_entropy(logits, labels, label_smoothing=0.05)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss.detach(), (logits.argmax(1) == labels).sum()

    if use_jit:
        step = plait.jit(step)
    history, losses = History([], [], []), []
    steps = len(digits.train_images) // batch
    for epoch in range(epochs):
        model.train()
        order = random.permutation(len(digits.train_images))[: steps * batch]
        bar, hits, start = progress(steps, f"epoch {epoch + 1:2}/{epochs}"), 0, time.perf_counter()
        for k in range(steps):
            optimizer.param_groups[0]["lr"] = lr * schedule((epoch * steps + k) / (epochs * steps))
            chosen = order[k * batch : (k + 1) * batch]
            loss, correct = step(
                plait.as_tensor(augment(digits.train_images[chosen], random)),
                plait.as_tensor(digits.train_labels[chosen]),
            )
            losses.append(loss.item())
            hits += correct.item()
            seen = (k + 1) * batch
            speed = seen / (time.perf_counter() - start)
            bar.set_postfix_str(f"loss {losses[-1]:.4f}, accuracy {hits / seen:.3f}, {speed:,.0f} images/s", False)
            bar.update()
        history.losses.append(float(np.mean(losses[-steps:])))
        history.train_accuracies.append(hits / (steps * batch))
        history.accuracies.append(float((evaluate(model, digits) == digits.test_labels).mean()))
        bar.set_postfix_str(f"{bar.postfix}, held out {history.accuracies[-1]:.4f}")
        bar.close()
    return history, losses


def schedule(progress: float) -> float:
    """Return the factor of the learning rate: it rises over the first tenth, then follows half a cosine to 0."""
    return min(1.0, progress * 10 + 0.01) * 0.5 * (1 + math.cos(math.pi * progress))


def progress(total: int, label: str) -> Any:
    """Return a progress bar."""
    from tqdm import tqdm

    return tqdm(total=total, desc=label, unit="step", bar_format="{desc} {bar:20} {n}/{total}{postfix}")


def draw(history: History, labels: Array, predicted: Array, path: Path) -> None:
    """Draw the learning curves and the confusion matrix to a PNG file."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    ink, muted, blue, orange = "#222222", "#777777", "#2f6db3", "#e07b39"
    with mpl.rc_context({"font.size": 10, "text.color": ink, "axes.labelcolor": muted, "axes.edgecolor": "#cccccc"}):
        figure = Figure(figsize=(14, 4.4), layout="constrained")
        curves, accuracies, matrix = figure.subplots(1, 3)
        epochs = range(1, len(history.losses) + 1)
        curves.plot(epochs, history.losses, color=blue, linewidth=2)
        curves.set(title="Training loss", xlabel="epoch", ylim=(0, None))
        accuracies.plot(epochs, history.train_accuracies, color=blue, linewidth=2, label="training, augmented")
        accuracies.plot(epochs, history.accuracies, color=orange, linewidth=2, label="held out")
        later = slice(len(epochs) // 4, None)
        low = max(0.0, min(history.accuracies[later] + history.train_accuracies[later]) - 0.02)
        accuracies.set(title="Accuracy", xlabel="epoch", ylim=(low, 1.002))
        accuracies.legend(frameon=False, loc="lower right")
        for axes in (curves, accuracies):
            axes.grid(alpha=0.25)
            axes.spines[["top", "right"]].set_visible(False)
            axes.tick_params(colors=muted)
            axes.xaxis.get_major_locator().set_params(integer=True)
        confusion = np.zeros((10, 10), int)
        np.add.at(confusion, (labels, predicted), 1)
        matrix.imshow(np.sqrt(confusion), cmap="Blues")
        for (i, j), count in np.ndenumerate(confusion):
            if count:
                color = "white" if i == j else "#b3261e"
                matrix.text(j, i, count, ha="center", va="center", color=color, fontsize=9)
        accuracy = (labels == predicted).mean()
        matrix.set(title=f"Held out: {accuracy:.2%} of {len(labels)}", xlabel="predicted", ylabel="digit")
        matrix.set(xticks=range(10), yticks=range(10))
        matrix.tick_params(length=0, colors=muted)
        matrix.spines[:].set_visible(False)
        figure.savefig(path, dpi=130)


def accuracy_of(weights: Path) -> float:
    """Return the held-out accuracy of saved weights."""
    digits, model = load_digits(), Net()
    model.load_state_dict(plait.load(weights))
    return float((evaluate(model, digits) == digits.test_labels).mean())


def accuracy_in_fresh_process(weights: Path) -> float:
    """Return what another Python process finds as the held-out accuracy of saved weights."""
    command = [sys.executable, "-m", "plait.demo", "--evaluate", str(weights)]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def run(output: Path, seed: int, epochs: int, use_jit: bool) -> float:
    """Train, evaluate, save, load and draw; returns the held-out accuracy."""
    start = time.perf_counter()
    digits = load_digits()
    plait.manual_seed(seed)
    model = Net()
    count = sum(p.numel() for p in model.parameters())
    print(f"{len(digits.train_images)} digits to train on, {len(digits.test_images)} held out, {count:,} parameters")
    history, _ = train(model, digits, epochs, seed, use_jit)
    predicted = evaluate(model, digits)
    accuracy = float((predicted == digits.test_labels).mean())
    output.mkdir(parents=True, exist_ok=True)
    weights, drawing = output / "digits.safetensors", output / "digits.png"
    plait.save(model.state_dict(), weights)
    draw(history, digits.test_labels, predicted, drawing)
    again = accuracy_in_fresh_process(weights)
    print(f"held-out accuracy                {accuracy:.4f}")
    print(f"the same, from {weights} in a fresh process: {again:.4f}")
    print(f"learning curves and confusion matrix: {drawing}")
    print(f"{time.perf_counter() - start:.1f} s")
    if again != accuracy:
        raise SystemExit("The weights that were saved and loaded again do not give the same accuracy.")
    return accuracy


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the demo to a parser."""
    parser.add_argument("--seed", type=int, default=0, help="of the weights, the order and the augmentation (0)")
    parser.add_argument("--epochs", type=int, default=20, help="passes over the training digits (20)")
    parser.add_argument("--no-jit", action="store_true", help="run the training step eagerly; the losses are the same")
    parser.add_argument("--output", type=Path, default=Path("demo"), help="folder of the results (demo)")
    parser.add_argument("--evaluate", type=Path, metavar="WEIGHTS", help="only print the accuracy of saved weights")


def main(arguments: argparse.Namespace) -> int:
    """Run the demo as the options say; returns the exit status."""
    if arguments.evaluate is not None:
        print(accuracy_of(arguments.evaluate))
    else:
        run(arguments.output, arguments.seed, arguments.epochs, not arguments.no_jit)
    return 0


if __name__ == "__main__":
    _parser = argparse.ArgumentParser(prog="python -m plait.demo", description=__doc__)
    add_arguments(_parser)
    sys.exit(main(_parser.parse_args()))
