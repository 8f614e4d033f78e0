"""Gradients of whole models, second order and per-sample gradients against PyTorch."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import plait
from plait import nn
from plait.testing.comparing import arrays, close

torch = pytest.importorskip("torch")
T, F = torch.nn, torch.nn.functional


def pair(ours: Any, theirs: Any) -> tuple[Any, Any]:
    """Give both modules the same parameters."""
    state = {k: v.detach().numpy() for k, v in theirs.state_dict().items()}
    ours.load_state_dict({k: plait.tensor(v) for k, v in state.items()})
    return ours, theirs


def compare_gradients(ours: Any, theirs: Any, tolerance: float = 5e-5) -> None:
    wanted = dict(theirs.named_parameters())
    found = dict(ours.named_parameters())
    assert found.keys() == wanted.keys()
    for name, parameter in found.items():
        close(parameter.grad, wanted[name].grad, tolerance, floor=1e-2)  # biases before a batch norm have none


def test_mlp() -> None:
    def layers(m: Any) -> Any:
        return m.Sequential(m.Linear(13, 32), m.Tanh(), m.Linear(32, 17), m.GELU(), m.Linear(17, 5))

    ours, theirs = pair(layers(nn), layers(T))
    (x,) = arrays(0, (8, 13))
    target = np.arange(8) % 5
    loss = nn.functional.cross_entropy(ours(plait.tensor(x)), plait.tensor(target))
    expected = F.cross_entropy(theirs(torch.tensor(x)), torch.tensor(target))
    close(loss, expected)
    loss.backward()
    expected.backward()
    compare_gradients(ours, theirs)


@pytest.mark.parametrize("training", [True, False])
def test_convolutional_network_with_batch_norm(training: bool) -> None:
    def layers(m: Any) -> Any:
        return m.Sequential(
            m.Conv2d(3, 8, 3, padding=1), m.BatchNorm2d(8), m.ReLU(), m.MaxPool2d(2),
            m.Conv2d(8, 6, 3, stride=2, groups=2), m.BatchNorm2d(6), m.ReLU(), m.AvgPool2d(2),
            m.Flatten(), m.Linear(6, 4),
        )  # fmt: skip

    ours, theirs = pair(layers(nn), layers(T))
    (x,) = arrays(1, (5, 3, 12, 12))
    ours.train(training)
    theirs.train(training)
    for _ in range(2):
        a, b = ours(plait.tensor(x)), theirs(torch.tensor(x))
        close(a, b, 5e-5)
    (a * a).mean().backward()
    (b * b).mean().backward()
    compare_gradients(ours, theirs, 2e-4)
    for name, value in theirs.state_dict().items():
        close(ours.state_dict()[name], value)


def test_attention_block() -> None:
    class Ours(nn.Module):
        def __init__(self) -> None:
            self.attention = nn.MultiHeadAttention(16, 4, batch_first=True)
            self.norm = nn.LayerNorm(16)
            self.up, self.down = nn.Linear(16, 32), nn.Linear(32, 16)

        def forward(self, x: Any) -> Any:
            x = x + self.attention(self.norm(x), self.norm(x), self.norm(x))[0]
            return x + self.down(plait.gelu(self.up(x)))

    class Theirs(T.Module):
        def __init__(self) -> None:
            super().__init__()
            self.attention = T.MultiheadAttention(16, 4, batch_first=True)
            self.norm = T.LayerNorm(16)
            self.up, self.down = T.Linear(16, 32), T.Linear(32, 16)

        def forward(self, x: Any) -> Any:
            x = x + self.attention(self.norm(x), self.norm(x), self.norm(x))[0]
            return x + self.down(F.gelu(self.up(x)))

    ours, theirs = pair(Ours(), Theirs())
    (x,) = arrays(2, (3, 7, 16))
    ours_x, theirs_x = plait.tensor(x, requires_grad=True), torch.tensor(x, requires_grad=True)
    a, b = ours(ours_x), theirs(theirs_x)
    close(a, b)
    plait.sin(a).sum().backward()
    torch.sin(b).sum().backward()
    close(ours_x.grad, theirs_x.grad)
    compare_gradients(ours, theirs)


@pytest.mark.parametrize("compiled", [False, True])
def test_lstm_by_scan(compiled: bool) -> None:
    inputs, hidden, steps, batch = 5, 8, 9, 3
    theirs = T.LSTM(inputs, hidden)
    names = ("weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0")
    parameters = [plait.tensor(getattr(theirs, n).detach().numpy()) for n in names]
    (x,) = arrays(3, (steps, batch, inputs))

    def run(parameters: Any, x: Any) -> Any:
        wi, wh, bi, bh = parameters

        def step(state: Any, xt: Any) -> Any:
            h, c = state
            gates = xt @ wi.T + bi + h @ wh.T + bh
            i, f, g, o = (gates[:, k * hidden : (k + 1) * hidden] for k in range(4))
            c = plait.sigmoid(f) * c + plait.sigmoid(i) * plait.tanh(g)
            h = plait.sigmoid(o) * plait.tanh(c)
            return (h, c), h

        zero = plait.zeros((batch, hidden))
        _, outputs = plait.scan(step, (zero, zero), x)
        return plait.sin(outputs).sum()

    function = plait.value_and_grad(run, argnums=(0, 1))
    loss, (gradients, of_x) = (plait.jit(function) if compiled else function)(parameters, plait.tensor(x))
    theirs_x = torch.tensor(x, requires_grad=True)
    expected = torch.sin(theirs(theirs_x)[0]).sum()
    expected.backward()
    close(loss, expected)
    close(of_x, theirs_x.grad)
    for gradient, name in zip(gradients, names, strict=True):
        close(gradient, getattr(theirs, name).grad, 5e-5)


def small_network(library: Any) -> Any:
    def network(w: Any, v: Any, x: Any) -> Any:
        return (library.tanh(library.tanh(x @ w) @ v) ** 2).sum()

    return network


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_second_order() -> None:
    w, v, x, direction = arrays(4, (4, 6), (6, 3), (5, 4), (4, 6))
    ours = small_network(plait)
    gradient = lambda w: plait.grad(ours)(w, plait.tensor(v), plait.tensor(x))  # noqa: E731
    got = plait.jvp(gradient, (plait.tensor(w),), (plait.tensor(direction),))[1]
    theirs = small_network(torch)
    wanted = torch.autograd.functional.hvp(
        lambda w: theirs(w, torch.tensor(v), torch.tensor(x)), torch.tensor(w), torch.tensor(direction)
    )[1]
    close(got, wanted)
    hessian = plait.hessian(lambda w: ours(w, plait.tensor(v), plait.tensor(x)))(plait.tensor(w))
    full = torch.func.hessian(lambda w: theirs(w, torch.tensor(v), torch.tensor(x)))(torch.tensor(w))
    close(hessian, full)


def test_third_derivative() -> None:
    def nested(grad: Any, f: Any) -> Any:
        return grad(grad(grad(f)))

    got = nested(plait.grad, lambda x: plait.sin(x) * plait.exp(x * x))(plait.tensor(0.7))
    want = nested(torch.func.grad, lambda x: torch.sin(x) * torch.exp(x * x))(torch.tensor(0.7))
    close(got, want)


def test_gradients_of_each_sample() -> None:
    w, v, x = arrays(5, (4, 6), (6, 3), (5, 4))
    ours, theirs = small_network(plait), small_network(torch)
    got = plait.vmap(plait.grad(ours, argnums=(0, 1)), in_axes=(None, None, 0))(*map(plait.tensor, (w, v, x)))
    want = torch.func.vmap(torch.func.grad(theirs, argnums=(0, 1)), in_dims=(None, None, 0))(
        *map(torch.tensor, (w, v, x))
    )
    for a, b in zip(got, want, strict=True):
        close(a, b)


def test_jacobians() -> None:
    w, x = arrays(6, (4, 6), (4,))
    got = plait.jacrev(lambda x: plait.tanh(x @ plait.tensor(w)))(plait.tensor(x))
    want = torch.func.jacrev(lambda x: torch.tanh(x @ torch.tensor(w)))(torch.tensor(x))
    close(got, want)
    close(plait.jacfwd(lambda x: plait.tanh(x @ plait.tensor(w)))(plait.tensor(x)), want)


@pytest.mark.parametrize("name", ["SGD", "Adam", "AdamW"])
def test_training_steps(name: str) -> None:
    options = {"SGD": {"momentum": 0.9, "weight_decay": 0.01}, "Adam": {}, "AdamW": {"weight_decay": 0.1}}[name]

    def layers(m: Any) -> Any:
        return m.Sequential(m.Linear(6, 8), m.Tanh(), m.Linear(8, 2))

    ours, theirs = pair(layers(nn), layers(T))
    a = getattr(plait.optim, name)(ours.parameters(), lr=0.05, **options)
    b = getattr(torch.optim, name)(theirs.parameters(), lr=0.05, **options)
    x, y = arrays(7, (10, 6), (10, 2))

    def step() -> Any:
        loss = nn.functional.mse_loss(ours(plait.tensor(x)), plait.tensor(y))
        a.zero_grad()
        loss.backward()
        a.step()
        return loss

    for _ in range(8):
        loss = step()
        expected = F.mse_loss(theirs(torch.tensor(x)), torch.tensor(y))
        b.zero_grad()
        expected.backward()
        b.step()
        close(loss, expected)
    for mine, other in zip(ours.parameters(), theirs.parameters(), strict=True):
        close(mine.detach(), other, 1e-4)
