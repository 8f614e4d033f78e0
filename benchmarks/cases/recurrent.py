"""Recurrent networks: a training step of an LSTM."""

from __future__ import annotations

from typing import Any

from cases import Case, integers, numbers


def data(inputs: int, length: int, batch: int, classes: int) -> Any:
    return numbers("sequences", batch, length, inputs), integers("labels", classes, batch)


def torch_lstm(kit: Any, inputs: int, width: int, length: int, batch: int, classes: int) -> Any:
    nn = kit.nn

    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.lstm, self.head = nn.LSTM(inputs, width, batch_first=True), nn.Linear(width, classes)

        def forward(self, x: Any) -> Any:
            return self.head(self.lstm(x)[0][:, -1])

    loss = lambda model, x, y: kit.functional.cross_entropy(model(x), y)  # noqa: E731
    return kit.train(Model(), loss, "Adam", *data(inputs, length, batch, classes), lr=1e-3)


def jax_lstm(kit: Any, inputs: int, width: int, length: int, batch: int, classes: int) -> Any:
    def loss(kit: Any, p: Any, x: Any, y: Any) -> Any:
        w = p("lstm.weight_ih_l0", 4 * width, inputs, kind="linear")
        u = p("lstm.weight_hh_l0", 4 * width, width, kind="linear")
        bias = p("lstm.bias_ih_l0", 4 * width) + p("lstm.bias_hh_l0", 4 * width)
        projected = kit.time_first(kit.dense(x, w) + bias)

        def cell(carry: Any, x: Any) -> Any:
            h, c = carry
            i, f, g, o = kit.split(x + kit.dense(h, u), 4, -1)
            c = kit.sigmoid(f) * c + kit.sigmoid(i) * kit.tanh(g)
            return kit.sigmoid(o) * kit.tanh(c), c

        h, _ = kit.scan(cell, (kit.zeros(batch, width), kit.zeros(batch, width)), projected)
        return kit.cross_entropy(kit.linear(p, "head", h, classes), y)

    return kit.train(loss, "Adam", *data(inputs, length, batch, classes), lr=1e-3)


CASES = [
    Case(
        "LSTM 64 -> 128, 64 steps, batch 32, Adam",
        torch_lstm,
        jax_lstm,
        {"inputs": 64, "width": 128, "length": 64, "batch": 32, "classes": 10},
        {"inputs": 4, "width": 8, "length": 3, "batch": 2},
        tolerance=1e-3,
        training=True,
    )
]
