"""Learn a space of handwritten digits with a variational autoencoder (Kingma and Welling, 2014), and draw from it.

Needs scikit-learn and matplotlib: pip install "plait[demo]". The loop is written out: `plait.train` is not needed.

Expected result: a bound of 23.7 nats per held-out digit after 80 epochs, reconstructions that keep the shape of a
digit, and samples most of which are digits; in 32 seconds of CPU time.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from sklearn.datasets import load_digits

import plait
from plait import nn, optim


class VAE(nn.Module):
    """An encoder to the mean and the logarithm of the variance of a code, and a decoder to the logits of pixels."""

    def __init__(self, code: int = 16, hidden: int = 256) -> None:
        self.code = code
        self.encoder = nn.Sequential(
            nn.Conv2d(1, 32, 3, padding=1), nn.SiLU(), nn.Conv2d(32, 64, 3, stride=2, padding=1), nn.SiLU(),
            nn.Flatten(), nn.Linear(64 * 4 * 4, hidden), nn.SiLU(), nn.Linear(hidden, 2 * code),
        )  # fmt: skip
        self.decoder = nn.Sequential(
            nn.Linear(code, hidden), nn.SiLU(), nn.Linear(hidden, 64 * 4 * 4), nn.SiLU(), nn.Unflatten(1, (64, 4, 4)),
            nn.ConvTranspose2d(64, 32, 4, stride=2, padding=1), nn.SiLU(), nn.Conv2d(32, 1, 3, padding=1),
        )  # fmt: skip

    def forward(self, x: plait.Tensor) -> tuple[plait.Tensor, plait.Tensor, plait.Tensor]:
        mean, log_variance = self.encoder(x).chunk(2, 1)
        code = mean + (log_variance / 2).exp() * plait.randn_like(mean)
        return self.decoder(code), mean, log_variance


def loss_terms(model: VAE, x: plait.Tensor) -> tuple[plait.Tensor, plait.Tensor]:
    """Return reconstruction error and divergence of the codes from the normal distribution, in nats per image."""
    logits, mean, log_variance = model(x)
    error = nn.functional.binary_cross_entropy_with_logits(logits, x, reduction="sum") / len(x)
    divergence = (mean**2 + log_variance.exp() - 1 - log_variance).sum() / (2 * len(x))
    return error, divergence


def draw(losses: list[tuple[float, float]], rows: dict[str, np.ndarray], path: Path) -> None:
    """Draw the bound of each epoch, and images [N, 1, 8, 8] by what they are."""
    figure = Figure(figsize=(13, 5), layout="constrained")
    left, right = figure.subfigures(1, 2, width_ratios=[1, 1.9])
    curves = left.subplots()
    for values, label in zip(zip(*losses, strict=True), ("training", "held out"), strict=True):
        curves.plot(range(1, len(values) + 1), values, linewidth=2, label=label)
    curves.set(title="Nats per image (negative bound)", xlabel="epoch", ylim=(None, np.quantile(losses, 0.97)))
    curves.xaxis.get_major_locator().set_params(integer=True)
    curves.grid(alpha=0.25)
    curves.legend(frameon=False)
    grid = right.subplots(len(rows), 1, height_ratios=[len(images) // 16 for images in rows.values()])
    for axes, (name, images) in zip(grid, rows.items(), strict=True):
        tiles = np.pad(images[:, 0], ((0, 0), (1, 0), (1, 0))).reshape(-1, 16, 9, 9)
        axes.imshow(tiles.transpose(0, 2, 1, 3).reshape(-1, 16 * 9), cmap="gray", vmin=0, vmax=1)
        axes.set_title(name, fontsize=10, loc="left")
        axes.axis("off")
    figure.savefig(path, dpi=130)


def main(arguments: list[str] | None = None) -> dict[str, float]:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--epochs", type=int, default=80, help="passes over the training digits (80)")
    parser.add_argument("--quick", action="store_true", help="two epochs")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path, default=Path("demo"), help="folder of the figure (demo)")
    options = parser.parse_args(arguments)
    epochs, batch = 2 if options.quick else options.epochs, 64

    images = (load_digits().images[:, None] / 16).astype(np.float32)
    images = images[np.random.default_rng(0).permutation(len(images))]
    held_out, training = plait.tensor(images[:352]), plait.tensor(images[352:])

    plait.manual_seed(options.seed)
    model = VAE()
    optimizer = optim.AdamW(model.parameters(), lr=2e-3)
    steps = len(training) // batch
    scheduler = optim.lr_scheduler.OneCycleLR(optimizer, max_lr=2e-3, total_steps=epochs * steps)

    @plait.jit
    def train_step(x: plait.Tensor) -> plait.Tensor:
        error, divergence = loss_terms(model, x)
        loss = error + divergence
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss.detach()

    evaluate = plait.jit(lambda x: loss_terms(model, x))
    losses = []
    for epoch in range(epochs):
        start = time.perf_counter()
        model.train()
        found = []
        for chosen in np.random.default_rng((options.seed, epoch)).permutation(steps * batch).reshape(steps, batch):
            found.append(train_step(training[chosen]))
            scheduler.step()
        model.eval()
        with plait.no_grad():
            error, divergence = (term.item() for term in evaluate(held_out))
        losses.append((plait.stack(found).mean().item(), error + divergence))
        if (epoch + 1) % max(1, epochs // 20) == 0:
            print(f"epoch {epoch + 1}/{epochs}  loss {losses[-1][0]:.3f}  held out: {error:.3f} + {divergence:.3f} ="
                  f" {losses[-1][1]:.3f}  {time.perf_counter() - start:.2f} s", flush=True)  # fmt: skip

    with plait.no_grad():
        code = model.encoder(held_out[:32]).chunk(2, 1)[0]
        way = plait.linspace(0, 1, 16)[:, None]
        paths = plait.cat([(1 - way) * code[k] + way * code[k + 1] for k in (3, 12)])
        rows = {
            "held-out digits": held_out[:32],
            "the same, from their codes": model.decoder(code).sigmoid(),
            "drawn from the normal distribution": model.decoder(plait.randn(48, model.code)).sigmoid(),
            "from one digit to another": model.decoder(paths).sigmoid(),
        }
    options.output.mkdir(parents=True, exist_ok=True)
    draw(losses, {name: images.numpy() for name, images in rows.items()}, options.output / "vae.png")
    print(f"reconstructions and samples: {options.output / 'vae.png'}")
    return {"first_loss": losses[0][1], "loss": losses[-1][1]}


if __name__ == "__main__":
    main()
