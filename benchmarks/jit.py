"""What changing sizes, changing structures, loops and profiling cost.

    python benchmarks/jit.py

Times are best (median); compare only what one run printed. With torch installed, the tree-LSTM takes turns with it.
"""

from __future__ import annotations

import contextlib
import functools
import importlib.util
import random
import statistics
import time
from collections.abc import Callable, Sequence
from typing import Any

import plait
from plait import nn

F = nn.functional


def turns(contenders: Sequence[Callable[[], Any]], rounds: int) -> list[tuple[float, float]]:
    """(best, median) seconds of each; they take turns, after one call that does not count."""
    for call in contenders:
        call()
    found: list[list[float]] = [[] for _ in contenders]
    for _ in range(rounds):
        for call, seconds in zip(contenders, found, strict=True):
            start = time.perf_counter()
            call()
            seconds.append(time.perf_counter() - start)
    return [(min(s), statistics.median(s)) for s in found]


def row(name: str, *cells: str) -> None:
    print(f"| {name} | {' | '.join(cells)} |", flush=True)


def shown(pair: tuple[float, float], scale: float = 1e3) -> str:
    return f"{pair[0] * scale:.3g} ({pair[1] * scale:.3g})"


# sizes


class Encoder(nn.Module):
    def __init__(self) -> None:
        self.embedding = nn.Embedding(50, 256)
        self.blocks = nn.Sequential(
            *[nn.TransformerEncoderLayer(256, 4, 1024, dropout=0.0, batch_first=True) for _ in range(2)]
        )
        self.head = nn.Linear(256, 10)

    def forward(self, x: plait.Tensor) -> plait.Tensor:
        return self.head(self.blocks(self.embedding(x)))


def perceptron() -> nn.Module:
    return nn.Sequential(nn.Linear(784, 1024), nn.ReLU(), nn.Linear(1024, 1024), nn.ReLU(), nn.Linear(1024, 10))


def convolutions() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(), nn.Conv2d(16, 32, 3, stride=2, padding=1),
        nn.ReLU(), nn.Conv2d(32, 32, 3, padding=1), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(32, 10),
    )  # fmt: skip


SIZES: dict[str, tuple[Callable[[], nn.Module], Callable[[int], Any], int]] = {
    "perceptron, batch": (perceptron, lambda n: (plait.randn(n, 784), plait.randint(0, 10, (n,))), 128),
    "encoder, length": (Encoder, lambda n: (plait.randint(0, 50, (4, n)), plait.randint(0, 10, (4, n))), 128),
    "convolutions, batch": (convolutions, lambda n: (plait.randn(n, 3, 32, 32), plait.randint(0, 10, (n,))), 65),
}


def training_step(model: nn.Module) -> Callable[..., Any]:
    optimizer = plait.optim.Adam(model.parameters(), lr=1e-3)

    def step(x: plait.Tensor, y: plait.Tensor) -> plait.Tensor:
        loss = F.cross_entropy(model(x).reshape(-1, 10), y.reshape(-1))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss

    return step


def sizes() -> None:
    print("| Training step | for one size, ms | for any size, ms | ratio |\n| --- | --- | --- | --- |")
    for name, (make, inputs, n) in SIZES.items():
        special, general = plait.jit(training_step(make()), specialize=True), plait.jit(training_step(make()))
        for k in (n // 2, n // 2 + 3):
            general(*inputs(k))
        args = inputs(n)
        calls = [lambda f=f, args=args: f(*args).item() for f in (special, general)]
        one, any_size = turns(calls, 40)
        row(name, shown(one), shown(any_size), f"{any_size[0] / one[0]:.2f}")


# structures


def tree_steps(library: Any, compiled: bool, count: int = 40) -> list[Callable[[], Any]]:
    """One training step for each of some random trees."""
    layers, width = library.nn, 64
    wrap = library.jit if compiled else lambda f: f

    class Tree(layers.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embedding, self.leaf = layers.Embedding(100, width), layers.Linear(width, 2 * width)
            self.node, self.out = layers.Linear(2 * width, 5 * width), layers.Linear(width, 5)
            self.at_leaf, self.at_node = wrap(self.leaf_cell), wrap(self.node_cell)

        def leaf_cell(self, word: Any) -> Any:
            c, o = self.leaf(self.embedding(word)).chunk(2, 1)
            return library.tanh(c) * library.sigmoid(o), c

        def node_cell(self, left: Any, left_c: Any, right: Any, right_c: Any) -> Any:
            i, f, g, o, u = self.node(library.cat([left, right], 1)).chunk(5, 1)
            c = library.sigmoid(i) * library.tanh(u) + library.sigmoid(f) * left_c + library.sigmoid(g) * right_c
            return library.sigmoid(o) * library.tanh(c), c

        def visit(self, tree: Any) -> Any:
            if isinstance(tree, int):
                return self.at_leaf(library.tensor([tree]))
            return self.at_node(*self.visit(tree[0]), *self.visit(tree[1]))

        def forward(self, tree: Any) -> Any:
            return self.out(self.visit(tree)[0])

    draw = random.Random(0)

    def grown(leaves: int) -> Any:
        if leaves == 1:
            return draw.randrange(100)
        left = draw.randint(1, leaves - 1)
        return grown(left), grown(leaves - left)

    model = Tree()
    optimizer = library.optim.Adam(model.parameters(), lr=1e-3)

    def step(tree: Any) -> float:
        loss = layers.functional.cross_entropy(model(tree), library.tensor([len(str(tree)) % 5]))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return float(loss.item())

    return [functools.partial(step, grown(draw.randint(8, 16))) for _ in range(count)]


def structures() -> None:
    print("\n| Tree-LSTM, another tree at each step | ms |\n| --- | --- |")
    contenders = {"plait": tree_steps(plait, False), "plait, cells under jit": tree_steps(plait, True)}
    if importlib.util.find_spec("torch") is not None:
        contenders["torch"] = tree_steps(importlib.import_module("torch"), False)
    found: dict[str, list[float]] = {name: [] for name in contenders}
    for steps in zip(*contenders.values(), strict=True):
        for name, step in zip(contenders, steps, strict=True):
            start = time.perf_counter()
            step()
            found[name].append(time.perf_counter() - start)
    for name, seconds in found.items():
        late = seconds[len(seconds) // 3 :]  # the first meet what they have not seen
        row(name, shown((min(late), statistics.median(late))))


def new_expressions() -> None:
    a, b = plait.randn(64, 64), plait.randn(64, 64)
    operations = [
        plait.add, plait.mul, plait.subtract, plait.maximum, lambda x, y: x @ y, lambda x, y: plait.tanh(x),
        lambda x, y: plait.softmax(x, -1), lambda x, y: x.sum(0, keepdim=True) + y,
    ]  # fmt: skip
    draw = random.Random(1)

    def once(count: int) -> float:
        x = a
        for _ in range(count):
            x = draw.choice(operations)(x, draw.choice((a, b)))
        start = time.perf_counter()
        x.numpy()
        return time.perf_counter() - start

    for _ in range(40):
        once(6)
    print("\n| First value of a new expression of known operations, 64 × 64 | µs |\n| --- | --- |")
    for count in (3, 10, 30):
        seconds = [once(count) for _ in range(40)]
        row(f"{count} operations", shown((min(seconds), statistics.median(seconds)), 1e6))


# loops and profiling


def loops() -> None:
    def cheap(carry: plait.Tensor, x: Any) -> tuple[plait.Tensor, None]:
        return plait.sin(carry) * 0.5 + 1.0, None

    weight = plait.randn(64, 64) * 0.1
    cell = lambda h, x: (plait.tanh(h @ weight), None)  # noqa: E731
    cases = {
        "scan of 1,000 steps, 16 numbers": plait.jit(lambda x: plait.scan(cheap, x, length=1000)[0]),
        "while_loop of 1,000 steps, 16 numbers": plait.jit(
            lambda x: plait.while_loop(lambda s: s[0] < 1000, lambda s: (s[0] + 1, cheap(s[1], None)[0]), (0, x))[1]
        ),
    }
    print("\n| Loop | µs a step |\n| --- | --- |")
    for name, f in cases.items():
        row(name, shown(turns([lambda f=f: f(plait.zeros(16)).numpy()], 30)[0]))
    f = plait.jit(lambda h: plait.scan(cell, h, length=1000)[0])
    row("scan of 1,000 steps, recurrent cell 64 → 64", shown(turns([lambda: f(plait.zeros(1, 64)).numpy()], 30)[0]))


def profiling() -> None:
    step, args = plait.jit(training_step(Encoder())), SIZES["encoder, length"][1](64)
    seconds: dict[bool, list[float]] = {False: [], True: []}
    for turn in range(20):
        is_profiled = turn % 2 == 1
        with plait.profile() if is_profiled else contextlib.nullcontext():
            for k in range(8):
                start = time.perf_counter()
                step(*args).item()
                if k and turn > 1:  # the first of a turn sets up what is noted
                    seconds[is_profiled].append(time.perf_counter() - start)
    print("\n| Encoder step | ms |\n| --- | --- |")
    for is_profiled, found in seconds.items():
        row("inside plait.profile()" if is_profiled else "plain", shown((min(found), statistics.median(found))))


def main() -> None:
    plait.manual_seed(0)
    for part in (sizes, structures, new_expressions, loops, profiling):
        part()


if __name__ == "__main__":
    main()
