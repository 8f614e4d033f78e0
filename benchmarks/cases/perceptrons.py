"""Training steps of multilayer perceptrons."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

from cases import Case, integers, numbers


def data(widths: tuple[int, ...], batch: int) -> Any:
    return numbers("x", batch, widths[0]), integers("labels", widths[-1], batch)


def torch_mlp(kit: Any, widths: tuple[int, ...], batch: int) -> Any:
    nn = kit.nn
    layers = [part for sizes in pairwise(widths) for part in (nn.Linear(*sizes), nn.ReLU())]
    loss = lambda model, x, y: kit.functional.cross_entropy(model(x), y)  # noqa: E731
    return kit.train(nn.Sequential(*layers[:-1]), loss, "Adam", *data(widths, batch), lr=1e-3)


def jax_mlp(kit: Any, widths: tuple[int, ...], batch: int) -> Any:
    def loss(kit: Any, p: Any, x: Any, y: Any) -> Any:
        for k, width in enumerate(widths[1:]):
            x = kit.linear(p, str(2 * k), kit.relu(x) if k else x, width)
        return kit.cross_entropy(x, y)

    return kit.train(loss, "Adam", *data(widths, batch), lr=1e-3)


CASES = [
    Case(
        f"MLP {'-'.join(map(str, widths))}, batch {batch}, Adam",
        torch_mlp,
        jax_mlp,
        {"widths": widths, "batch": batch},
        {"widths": (8, 16, 10), "batch": 4},
        training=True,
    )
    for widths, batch in (((64, 128, 128, 10), 64), ((784, 2048, 2048, 10), 256))
]
