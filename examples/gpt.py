"""Train a small GPT on the source text of Python's own standard library, byte by byte, and let it write code.

Needs matplotlib: pip install "plait[demo]". A run that was stopped or killed continues at its last checkpoint when it
is started again, and ends with the same bits.

Expected result: 1.25 nats or 1.80 bits per byte of files that it never saw (xz compresses them to 1.84), after 1,500
steps; and text that looks like Python, with methods and conditions that nearly make sense. A step takes 0.2 seconds on
two idle cores; the run that was measured took 11 minutes of CPU time.
"""

from __future__ import annotations

import argparse
import lzma
import math
import sysconfig
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

import plait
from plait import nn, optim, train
from plait.data import DataLoader, Subset, TokenDataset
from plait.data.transforms import ByteTokenizer


class Block(nn.Module):
    def __init__(self, size: int, heads: int, rotary: nn.RotaryEmbedding) -> None:
        self.norm1, self.norm2 = nn.LayerNorm(size), nn.LayerNorm(size)
        self.attention = nn.GroupedQueryAttention(size, heads, rotary=rotary)
        self.network = nn.Sequential(nn.Linear(size, 4 * size), nn.GELU(), nn.Linear(4 * size, size))

    def forward(self, x: plait.Tensor, cache: nn.KVCache | None = None) -> plait.Tensor:
        x = x + self.attention(self.norm1(x), cache=cache)
        return x + self.network(self.norm2(x))


class GPT(nn.Module):
    """A transformer that predicts the next byte."""

    def __init__(self, size: int = 128, heads: int = 4, layers: int = 4, context: int = 256) -> None:
        self.heads, self.head_dim, self.context = heads, size // heads, context
        self.embedding = nn.Embedding(256, size)
        rotary = nn.RotaryEmbedding(self.head_dim)
        self.blocks = nn.ModuleList([Block(size, heads, rotary) for _ in range(layers)])
        self.norm = nn.LayerNorm(size)
        self.head = nn.Linear(size, 256, bias=False)
        for parameter in self.parameters():
            if parameter.ndim == 2:
                nn.init.normal_(parameter, std=0.02)

    def forward(self, tokens: plait.Tensor, caches: list[nn.KVCache] | None = None) -> plait.Tensor:
        """Return the logits [N, L, 256] of the bytes that follow each of the bytes [N, L]."""
        x = self.embedding(tokens)
        for block, cache in zip(self.blocks, caches or [None] * len(self.blocks), strict=True):
            x = block(x, cache)
        return self.head(self.norm(x))


def next_byte_loss(model: GPT, batch: Any) -> plait.Tensor:
    """Return the mean loss in nats per byte."""
    tokens, following = batch
    return nn.functional.cross_entropy(model(tokens).flatten(0, 1), following.flatten())


def sample(model: GPT, prompt: str, count: int, temperature: float = 0.7) -> list[str]:
    """Let the model continue a text `count` times, as far as its context reaches."""
    tokenizer = ByteTokenizer()
    caches = [nn.KVCache(count, model.heads, model.context, model.head_dim) for _ in model.blocks]

    @plait.jit  # compiled twice: for the prompt, and for one byte after the other
    def next_byte(tokens: plait.Tensor, caches: list[nn.KVCache]) -> plait.Tensor:
        logits = model(tokens, caches)[:, -1] / temperature
        return plait.multinomial(logits.softmax(-1), 1)

    model.eval()
    with plait.no_grad():
        token = plait.tensor(tokenizer(prompt)).expand(count, -1)
        found = [token]
        for _ in range(model.context - len(prompt)):
            token = next_byte(token, caches)
            found.append(token)
    return [tokenizer.decode(row) for row in plait.cat(found, 1).numpy()]


def datasets(context: int) -> tuple[TokenDataset, TokenDataset]:
    """Return the windows to train on, which overlap, and those that are held out: every twentieth file."""
    files = sorted(Path(sysconfig.get_paths()["stdlib"]).glob("*.py"))
    files = [file for file in files if file.stat().st_size > context]
    training = [file for k, file in enumerate(files) if k % 20]
    return TokenDataset(training, context, context // 4, np.uint8), TokenDataset(files[::20], context, dtype=np.uint8)


def compressed_size(dataset: TokenDataset) -> float:
    """Return what xz needs for the text of a dataset, in bits per byte."""
    text = b"".join(bytes(tokens.numpy().astype(np.uint8)) for tokens, _ in dataset)
    return 8 * len(lzma.compress(text, preset=9 | lzma.PRESET_EXTREME)) / len(text)


def draw(history: train.History, xz: float, text: str, path: Path) -> None:
    """Draw the losses and a sample."""
    figure = Figure(figsize=(13, 5.2), layout="constrained")
    curves, words = figure.subplots(1, 2, width_ratios=[1, 1.15])
    losses = np.array(history.losses) / math.log(2)
    width = max(1, len(losses) // 100)
    smooth = losses[: len(losses) // width * width].reshape(-1, width).mean(1)
    curves.plot(losses, color="#2f6db3", alpha=0.2, linewidth=0.6)
    curves.plot((np.arange(len(smooth)) + 0.5) * width, smooth, color="#2f6db3", linewidth=2, label="training")
    curves.plot(*zip(*[(r["step"], r["val_loss"] / math.log(2)) for r in history], strict=True), color="#e07b39",
                linewidth=2, marker="o", markersize=3, label="held-out files")  # fmt: skip
    curves.axhline(xz, color="#777777", linestyle="--", linewidth=1, label="held-out files, compressed by xz")
    curves.set_title("Bits per byte", loc="left", fontweight="bold")
    curves.set(xlabel="step", ylim=(1, 5))
    curves.grid(alpha=0.25)
    curves.legend(frameon=False)
    curves.spines[["top", "right"]].set_visible(False)
    words.set_title("What it writes", loc="left", fontweight="bold")
    lines = ["".join(c if c.isascii() and c.isprintable() else "?" for c in line[:78]) for line in text.splitlines()]
    words.text(0, 1, "\n".join(lines).replace("$", r"\$"), family="monospace", fontsize=8.5, va="top")
    words.axis("off")
    figure.savefig(path, dpi=130)


def make_trainer(options: argparse.Namespace) -> train.Trainer:
    """Return the trainer of a model as large as the options say."""
    plait.manual_seed(options.seed)
    model = GPT(32, 2, 1, 64) if options.quick else GPT()
    schedule = optim.schedules.cosine(options.lr, options.steps, options.lr / 10)
    return train.Trainer(
        model,
        optim.AdamW(optim.decay_groups(model, 0.1), lr=options.lr, betas=(0.9, 0.95)),
        step=next_byte_loss,
        schedule=optim.schedules.warmup(schedule, options.steps // 20),
        clip_norm=1.0,
        amp=plait.bfloat16 if options.amp else None,
        seed=options.seed,
    )


def fit(trainer: train.Trainer, options: argparse.Namespace, callbacks: Any = ()) -> train.History:
    """Train, or continue; every hundred steps a part of the held-out windows is looked at, and a checkpoint saved."""
    training, held_out = datasets(trainer.model.context)
    some = Subset(held_out, range(0, len(held_out), 200 if options.quick else 4))
    every, folder = (5, options.output / "gpt-quick") if options.quick else (100, options.output / "gpt")
    checkpoint = train.Checkpoint(train.CheckpointManager(folder, keep_last=2))
    return trainer.fit(
        DataLoader(training, batch_size=16, shuffle=True),
        epochs=options.steps // every,
        steps_per_epoch=every,
        validation=DataLoader(some, batch_size=16),
        callbacks=[checkpoint, *callbacks],
    )


def parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--steps", type=int, help="training steps of 4,096 bytes (1500)")
    parser.add_argument("--lr", type=float, default=3e-3, help="the highest learning rate (0.003)")
    parser.add_argument("--amp", action="store_true", help="compute products in bfloat16")
    parser.add_argument("--quick", action="store_true", help="a tiny model and 20 steps, to see that everything runs")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path, default=Path("demo"), help="folder of checkpoints and figure (demo)")
    options = parser.parse_args(arguments)
    options.steps = options.steps or (20 if options.quick else 1500)
    return options


def main(arguments: list[str] | None = None) -> dict[str, float]:
    options = parse(arguments)
    trainer = make_trainer(options)
    history = fit(trainer, options)
    held_out = datasets(trainer.model.context)[1]
    if options.quick:
        held_out = Subset(held_out, range(16))
    loss = trainer.evaluate(DataLoader(held_out, batch_size=16))["loss"]
    xz = compressed_size(held_out)
    texts = sample(trainer.model, "\n    def ", 3)
    print(("\n" + "-" * 78).join(texts))
    print(f"\nheld-out files: {loss:.4f} nats = {loss / math.log(2):.4f} bits per byte; compressed by xz: {xz:.4f}")
    draw(history, xz, f"\n{'-' * 78}".join(texts), options.output / "gpt.png")
    print(f"losses and samples: {options.output / 'gpt.png'}")
    return {"loss": loss, "first_loss": history.losses[0]}


if __name__ == "__main__":
    main()
