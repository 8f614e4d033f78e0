"""One training step of each example's model: plait, eager and `plait.jit`, beside the same model in PyTorch.

Run as `python benchmarks/examples.py [gpt digits resnet vae tabular] [--quick]` where torch, scikit-learn and
matplotlib are installed. All begin with the same parameters and data, and the mean losses of the first steps are
compared before anything is timed.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sklearn.datasets import load_diabetes
from torch import nn as tnn
from torch.nn import functional as tf

import plait
from plait import nn, optim

sys.path.insert(0, str(Path(__file__).parent.parent / "examples"))
import digits
import gpt
import resnet
import tabular
import vae

Step = Callable[[], Any]
CHECKED = 10  # steps whose losses are compared


def load(theirs: Any, ours: Any) -> Any:
    """Give a module of PyTorch the parameters of one of plait, which has them by the same names."""
    theirs.load_state_dict({name: torch.tensor(x.numpy()) for name, x in ours.state_dict().items()})
    return theirs


def step_of(library: Any, model: Any, optimizer: Any, loss_of: Callable[[], Any], clip: float | None = None) -> Step:
    """Return the training step that everybody writes, of `plait.nn` or `torch.nn`."""

    def step() -> Any:
        optimizer.zero_grad()
        loss = loss_of()
        loss.backward()
        if clip is not None:
            library.utils.clip_grad_norm_(model.parameters(), clip)
        optimizer.step()
        return loss.detach()

    return step


# the models in PyTorch


class TorchAttention(tnn.Module):
    def __init__(self, size: int, heads: int, context: int) -> None:
        super().__init__()
        self.heads = heads
        self.q_proj, self.k_proj, self.v_proj, self.o_proj = (tnn.Linear(size, size, bias=False) for _ in range(4))
        head = size // heads
        angles = torch.arange(context)[:, None] * 10000.0 ** (-torch.arange(0, head, 2) / head)
        self.register_buffer("cosine", angles.cos().repeat(1, 2), persistent=False)
        self.register_buffer("sine", angles.sin().repeat(1, 2), persistent=False)

    def rotated(self, x: torch.Tensor) -> torch.Tensor:
        first, second = x.chunk(2, -1)
        return x * self.cosine + torch.cat([-second, first], -1) * self.sine

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        q, k, v = (
            p(x).unflatten(-1, (self.heads, -1)).transpose(1, 2) for p in (self.q_proj, self.k_proj, self.v_proj)
        )
        result = tf.scaled_dot_product_attention(self.rotated(q), self.rotated(k), v, is_causal=True)
        return self.o_proj(result.transpose(1, 2).flatten(-2))


class TorchBlock(tnn.Module):
    def __init__(self, size: int, heads: int, context: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = tnn.LayerNorm(size), tnn.LayerNorm(size)
        self.attention = TorchAttention(size, heads, context)
        self.network = tnn.Sequential(tnn.Linear(size, 4 * size), tnn.GELU(), tnn.Linear(4 * size, size))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = x + self.attention(self.norm1(x))
        return x + self.network(self.norm2(x))


class TorchGPT(tnn.Module):
    def __init__(self, size: int = 128, heads: int = 4, layers: int = 4, context: int = 256) -> None:
        super().__init__()
        self.embedding = tnn.Embedding(256, size)
        self.blocks = tnn.ModuleList([TorchBlock(size, heads, context) for _ in range(layers)])
        self.norm = tnn.LayerNorm(size)
        self.head = tnn.Linear(size, 256, bias=False)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        x = self.embedding(tokens)
        for block in self.blocks:
            x = block(x)
        return self.head(self.norm(x))


def torch_digits() -> Any:
    return tnn.Sequential(
        tnn.Conv2d(1, 32, 3, padding=1), tnn.BatchNorm2d(32), tnn.ReLU(), tnn.MaxPool2d(2),
        tnn.Conv2d(32, 64, 3, padding=1), tnn.BatchNorm2d(64), tnn.ReLU(), tnn.MaxPool2d(2),
        tnn.Flatten(), tnn.Dropout(0.3), tnn.Linear(256, 10),
    )  # fmt: skip


class TorchResidual(tnn.Module):
    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        stride = 1 if channels == width else 2
        self.conv1 = tnn.Conv2d(channels, width, 3, stride, padding=1, bias=False)
        self.bn1 = tnn.BatchNorm2d(width)
        self.conv2 = tnn.Conv2d(width, width, 3, padding=1, bias=False)
        self.bn2 = tnn.BatchNorm2d(width)
        self.shortcut = tnn.Sequential()
        if stride > 1:
            self.shortcut = tnn.Sequential(tnn.Conv2d(channels, width, 1, stride, bias=False), tnn.BatchNorm2d(width))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = tf.relu(self.bn1(self.conv1(x)))
        return tf.relu(self.bn2(self.conv2(y)) + self.shortcut(x))


def torch_resnet() -> Any:
    widths = [width for width in (16, 32, 64) for _ in range(3)]
    return tnn.Sequential(
        tnn.Conv2d(1, 16, 3, padding=1, bias=False), tnn.BatchNorm2d(16), tnn.ReLU(),
        *[TorchResidual(channels, width) for channels, width in zip([16, *widths], widths, strict=False)],
        tnn.AdaptiveAvgPool2d(1), tnn.Flatten(), tnn.Linear(64, 10),
    )  # fmt: skip


class TorchVAE(tnn.Module):
    def __init__(self, code: int = 16, hidden: int = 256) -> None:
        super().__init__()
        self.encoder = tnn.Sequential(
            tnn.Conv2d(1, 32, 3, padding=1), tnn.SiLU(), tnn.Conv2d(32, 64, 3, stride=2, padding=1), tnn.SiLU(),
            tnn.Flatten(), tnn.Linear(64 * 4 * 4, hidden), tnn.SiLU(), tnn.Linear(hidden, 2 * code),
        )  # fmt: skip
        self.decoder = tnn.Sequential(
            tnn.Linear(code, hidden), tnn.SiLU(), tnn.Linear(hidden, 64 * 4 * 4), tnn.SiLU(),
            tnn.Unflatten(1, (64, 4, 4)), tnn.ConvTranspose2d(64, 32, 4, stride=2, padding=1), tnn.SiLU(),
            tnn.Conv2d(32, 1, 3, padding=1),
        )  # fmt: skip

    def loss(self, x: torch.Tensor) -> torch.Tensor:
        mean, log_variance = self.encoder(x).chunk(2, 1)
        logits = self.decoder(mean + (log_variance / 2).exp() * torch.randn_like(mean))
        error = tf.binary_cross_entropy_with_logits(logits, x, reduction="sum") / len(x)
        return error + (mean**2 + log_variance.exp() - 1 - log_variance).sum() / (2 * len(x))


# the cases: (plait, eager), (plait, to be compiled), (torch)


def gpt_steps() -> list[Step]:
    training, _ = gpt.datasets(256)
    batch = training.collated(np.random.default_rng(0).integers(0, len(training), 16).tolist())
    steps: list[Step] = []
    start = gpt.GPT()
    for _ in range(2):
        model = gpt.GPT()
        model.load_state_dict(start.state_dict())
        optimizer = optim.AdamW(optim.decay_groups(model, 0.1), lr=3e-4, betas=(0.9, 0.95))
        steps.append(step_of(nn, model, optimizer, lambda m=model: gpt.next_byte_loss(m, batch), 1.0))
    theirs = load(TorchGPT(), start)
    tokens, following = (torch.from_numpy(part.numpy().copy()) for part in batch)
    groups = [
        {"params": [p for p in theirs.parameters() if (p.ndim >= 2) == decays], "weight_decay": 0.1 * decays}
        for decays in (True, False)
    ]
    optimizer = torch.optim.AdamW(groups, lr=3e-4, betas=(0.9, 0.95))
    loss_of = lambda: tf.cross_entropy(theirs(tokens).flatten(0, 1), following.flatten())  # noqa: E731
    return [*steps, step_of(tnn, theirs, optimizer, loss_of, 1.0)]


def image_steps(
    make: Any, loss_of: Any, theirs: Any, torch_loss: Any, lr: float, decay: float, size: int = 8
) -> list[Step]:  # fmt: skip
    (images, labels), _ = resnet.digits(size)
    x, y = np.ascontiguousarray(images[:64]), labels[:64]
    steps: list[Step] = []
    start, ours = make(), (plait.tensor(x), plait.tensor(y))
    for _ in range(2):
        model = make()
        model.load_state_dict(start.state_dict())
        optimizer = optim.AdamW(model.parameters(), lr=lr, weight_decay=decay)
        steps.append(step_of(nn, model, optimizer, lambda m=model: loss_of(m, *ours)))
    load(theirs, start)
    optimizer = torch.optim.AdamW(theirs.parameters(), lr=lr, weight_decay=decay)
    batch = (torch.from_numpy(x), torch.from_numpy(y))
    return [*steps, step_of(tnn, theirs, optimizer, lambda: torch_loss(theirs, *batch))]


def digits_steps() -> list[Step]:
    return image_steps(
        digits.make_model,
        lambda m, x, y: nn.functional.cross_entropy(m(x), y, label_smoothing=0.05),
        torch_digits(),
        lambda m, x, y: tf.cross_entropy(m(x), y, label_smoothing=0.05),
        1e-3,
        0.05,
    )


def resnet_steps() -> list[Step]:
    return image_steps(
        resnet.resnet,
        lambda m, x, y: nn.functional.cross_entropy(m(x), y),
        torch_resnet(),
        lambda m, x, y: tf.cross_entropy(m(x), y),
        1e-3,
        0.0,
        size=16,
    )


def vae_steps() -> list[Step]:
    return image_steps(
        vae.VAE, lambda m, x, y: sum(vae.loss_terms(m, x)), TorchVAE(), lambda m, x, y: m.loss(x), 1e-3, 0.01
    )


def tabular_steps() -> list[Step]:
    x, y = load_diabetes(return_X_y=True)
    random, count = np.random.default_rng(0), 5 * tabular.NETWORKS
    inputs = np.broadcast_to(((x - x.mean(0)) / x.std(0)).astype(np.float32), (count, *x.shape)).copy()
    targets, masks = ((y - y.mean()) / y.std()).astype(np.float32), random.random((count, len(x))) < 0.8
    singles = [tabular.make_model(x.shape[1]) for _ in range(count)]
    start = plait.tree.map_(lambda *parameters: plait.stack(parameters).detach(), *singles)
    rule = optim.AdamW.functional(lr=3e-3, weight_decay=0.1)
    ours = [plait.tensor(a) for a in (inputs, masks, targets)]
    single = plait.jit(tabular.make_step(*ours, nn.functional.mse_loss, rule))
    eager = tabular.make_step(*ours, nn.functional.mse_loss, rule)

    def repeated(update: Any) -> Step:
        state = [start, plait.vmap(rule.init)(start)]

        def step() -> plait.Tensor:
            state[0], state[1], losses = update(*state)
            return losses[0]

        return step

    theirs = [load(tnn.Sequential(tnn.Linear(x.shape[1], 64), tnn.Tanh(), tnn.Linear(64, 1)), m) for m in singles]
    parameters, _ = torch.func.stack_module_state(theirs)
    optimizer = torch.optim.AdamW(parameters.values(), lr=3e-3, weight_decay=0.1)
    batch = [torch.from_numpy(a) for a in (inputs, masks)]
    wanted = torch.from_numpy(targets)

    def losses(p: Any, x: torch.Tensor, mask: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        each = (torch.func.functional_call(theirs[0], p, x)[:, 0] - wanted) ** 2
        return (each * mask).sum() / mask.sum(), (each * ~mask).sum() / (~mask).sum()

    def step() -> torch.Tensor:
        optimizer.zero_grad()
        seen, _ = torch.func.vmap(losses)(parameters, *batch)
        seen.sum().backward()
        optimizer.step()
        return seen.mean().detach()

    return [repeated(eager), repeated(single), step]


CASES = {
    "gpt": (gpt_steps, 1e-3),
    "digits": (digits_steps, 0.05),
    "resnet": (resnet_steps, 0.05),
    "vae": (vae_steps, 0.05),
    "tabular": (tabular_steps, 1e-3),
}


def measure(name: str, rounds: int, turn: float) -> list[tuple[float, float]]:
    """Compare the losses of the first steps, then return median and best time in milliseconds of each contender."""
    make, tolerance = CASES[name]
    plait.manual_seed(0)
    torch.manual_seed(0)
    steps = make()
    if name != "tabular":  # that is compiled already: its state is passed around
        steps[1] = plait.jit(steps[1])
    means = [np.mean([step().item() for _ in range(CHECKED)]) for step in steps]
    np.testing.assert_allclose(means, means[-1], rtol=tolerance, err_msg=f"{name}: the losses differ")
    times: list[list[float]] = [[] for _ in steps]
    for _ in range(rounds):
        for step, found in zip(steps, times, strict=True):
            step().item()  # the other's threads fall asleep
            end = time.perf_counter() + turn
            while not found or time.perf_counter() < end:
                start = time.perf_counter()
                step().item()
                found.append((time.perf_counter() - start) * 1e3)
    return [(statistics.median(t), min(t)) for t in times]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("names", nargs="*", default=list(CASES), help=f"of {', '.join(CASES)}; by default all")
    parser.add_argument("--quick", action="store_true", help="few and short rounds, to try things out")
    options = parser.parse_args()
    rounds, turn = (3, 0.02) if options.quick else (15, 0.2)
    print("| Step of | plait, ms | plait.jit, ms | torch, ms | eager ratio | jit ratio |")
    print("| --- " * 6 + "|")
    for name in options.names:
        times = measure(name, rounds, turn)
        cells = [f"{median:.2f} ({best:.2f})" for median, best in times]
        ratios = [f"{times[2][1] / best:.2f}" for _, best in times[:2]]
        print(f"| {' | '.join([name, *cells, *ratios])} |", flush=True)


if __name__ == "__main__":
    main()
