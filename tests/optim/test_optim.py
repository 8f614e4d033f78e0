"""Optimizers: rules against plain NumPy, groups, state, compiled steps, and the functional form."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import plait
from plait import nn, optim
from plait.core.errors import ArgumentError, ArgumentTypeError, ShapeError

START = np.array([1.0, -2.0, 3.0])


def run(optimizer: Any, p: plait.Tensor, steps: int) -> Any:
    for _ in range(steps):
        optimizer.zero_grad()
        (p**2).sum().backward()
        optimizer.step()
    return p.detach().numpy()


def test_sgd() -> None:
    p = plait.Parameter(START)
    found = run(optim.SGD([p], lr=0.1, momentum=0.9, weight_decay=0.1), p, 4)
    x, buffer = START.copy(), np.zeros(3)
    for _ in range(4):
        buffer = 0.9 * buffer + 2 * x + 0.1 * x
        x -= 0.1 * buffer
    np.testing.assert_allclose(found, x, rtol=1e-12)


def test_adamw() -> None:
    p = plait.Parameter(START)
    found = run(optim.AdamW([p], lr=0.1, weight_decay=0.2), p, 4)
    x, mean, square = START.copy(), np.zeros(3), np.zeros(3)
    for t in range(1, 5):
        gradient = 2 * x
        x *= 1 - 0.1 * 0.2
        mean, square = 0.9 * mean + 0.1 * gradient, 0.999 * square + 0.001 * gradient**2
        x -= 0.1 * (mean / (1 - 0.9**t)) / (np.sqrt(square / (1 - 0.999**t)) + 1e-8)
    np.testing.assert_allclose(found, x, rtol=1e-9)


@pytest.mark.parametrize("name", ["SGD", "Adam", "AdamW"])
def test_compiled_steps_equal_eager_steps_and_follow_the_learning_rate(name: str) -> None:
    random = np.random.default_rng(0)
    x, y = (plait.tensor(random.normal(size=s).astype(np.float32)) for s in ((8, 3), (8, 2)))
    losses = []
    for is_compiled in (False, True):
        plait.manual_seed(0)
        model = nn.Sequential(nn.Linear(3, 8), nn.Tanh(), nn.Linear(8, 2))
        options = {"momentum": 0.9} if name == "SGD" else {}
        optimizer = getattr(optim, name)(model.parameters(), lr=0.01, **options)
        calls = []

        def step(x: plait.Tensor, y: plait.Tensor, model: Any = model, optimizer: Any = optimizer) -> plait.Tensor:
            calls.append(1)  # noqa: B023
            loss = nn.functional.mse_loss(model(x), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            return loss.detach()

        run_step = plait.jit(step) if is_compiled else step
        found = []
        for k in range(8):
            optimizer.param_groups[0]["lr"] = 0.01 * (k + 1)
            found.append(run_step(x, y).item())
        losses.append(found)
        assert len(calls) <= 2 or not is_compiled
    np.testing.assert_allclose(losses[0], losses[1], rtol=1e-5)
    assert losses[0][-1] < losses[0][0]


@pytest.mark.parametrize("name", ["SGD", "Adam", "AdamW"])
def test_functional_form(name: str) -> None:
    options = {"lr": 0.1, "momentum": 0.9} if name == "SGD" else {"lr": 0.1, "weight_decay": 0.1}
    start = {"a": np.array([1.0, 2.0]), "b": [np.array([[3.0]])]}
    stateful = [plait.Parameter(start["a"]), plait.Parameter(start["b"][0])]
    optimizer = getattr(optim, name)(stateful, **options)
    pure = getattr(optim, name).functional(**options)
    params = {"a": plait.tensor(start["a"]), "b": [plait.tensor(start["b"][0])]}
    state = pure.init(params)
    update = plait.jit(lambda p, s: pure.update(plait.grad(lambda p: (p["a"] ** 2).sum() * p["b"][0].sum())(p), s, p))
    for _ in range(4):
        optimizer.zero_grad()
        ((stateful[0] ** 2).sum() * stateful[1].sum()).backward()
        optimizer.step()
        params, state = update(params, state)
    np.testing.assert_allclose(params["a"].numpy(), stateful[0].detach().numpy(), rtol=1e-12)
    np.testing.assert_allclose(params["b"][0].numpy(), stateful[1].detach().numpy(), rtol=1e-12)
    assert state["step"].item() == 4


def test_functional_form_updates_only_the_parameters_of_a_module() -> None:
    model = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2)).eval()
    pure = optim.AdamW.functional(lr=0.1, weight_decay=0.5)
    gradients = plait.grad(lambda m: (m(plait.ones(4, 2)) ** 2).sum())(model)
    new, _ = pure.update(gradients, pure.init(model), model)
    assert isinstance(new, nn.Sequential)
    assert isinstance(new[0].weight, plait.Parameter)
    assert new[1].running_var.tolist() == [1.0, 1.0]
    assert not np.array_equal(new[0].weight.detach().numpy(), model[0].weight.detach().numpy())


def test_groups() -> None:
    a, b = plait.Parameter([1.0]), plait.Parameter([1.0])
    optimizer = optim.SGD([{"params": a}, {"params": [b], "lr": 0.0}], lr=0.5)
    (a + b).sum().backward()
    optimizer.step()
    assert (a.item(), b.item()) == (0.5, 1.0)
    optimizer.add_param_group({"params": [plait.Parameter([1.0])], "momentum": 0.9})
    assert len(optimizer.param_groups) == 3
    assert optimizer.param_groups[2]["lr"] == 0.5
    assert "Parameter Group 2" in repr(optimizer)


def test_parameters_without_gradient_rest() -> None:
    a, b = plait.Parameter([1.0]), plait.Parameter([1.0])
    optimizer = optim.Adam([a, b], lr=0.1)
    for _ in range(3):
        optimizer.zero_grad()
        a.sum().backward()
        optimizer.step()
    assert b.item() == 1.0
    assert optimizer.state[a]["step"].item() == 3
    assert optimizer.state[b]["step"].item() == 0
    optimizer.zero_grad()
    (a + b).sum().backward()
    optimizer.step()
    assert optimizer.state[b]["step"].item() == 1
    np.testing.assert_allclose(b.item(), 0.9, rtol=1e-6)


def test_learning_rate_may_be_a_tensor() -> None:
    p, rate = plait.Parameter([1.0]), plait.tensor(0.5)
    optimizer = optim.SGD([p], lr=rate)
    run(optimizer, p, 1)
    assert p.item() == 0.0


def test_state_dict_continues_the_same_run() -> None:
    p, q = plait.Parameter(START), plait.Parameter(START)
    first, second = optim.Adam([p], lr=0.1), optim.Adam([q], lr=0.7)
    run(first, p, 3)
    with plait.no_grad():
        q.copy_(p)
    second.load_state_dict(first.state_dict())
    assert second.param_groups[0]["lr"] == 0.1
    np.testing.assert_array_equal(run(first, p, 3), run(second, q, 3))


def test_loading_another_state_changes_nothing() -> None:
    optimizer = optim.Adam([plait.Parameter(START)])
    other = optim.Adam([plait.Parameter(START), plait.Parameter(START)])
    with pytest.raises(ArgumentError, match=r"groups of \[2\] parameters. Expected: groups of \[1\]"):
        optimizer.load_state_dict(other.state_dict())
    p = plait.Parameter([1.0])
    small = optim.Adam([p])
    run(small, p, 1)
    with pytest.raises(ShapeError, match="'exp_avg' has another shape"):
        optimizer.load_state_dict(small.state_dict())


def test_closure() -> None:
    p = plait.Parameter([1.0])
    optimizer = optim.SGD([p], lr=0.25)

    def closure() -> plait.Tensor:
        optimizer.zero_grad()
        loss = (p**2).sum()
        loss.backward()
        return loss

    with plait.no_grad():
        assert optimizer.step(closure).item() == 1.0
    assert p.item() == 0.5


def test_zero_grad() -> None:
    p = plait.Parameter([1.0])
    optimizer = optim.SGD([p])
    (p**2).sum().backward()
    optimizer.zero_grad(set_to_none=False)
    assert p.grad.tolist() == [0.0]
    optimizer.zero_grad()
    assert p.grad is None


@pytest.mark.parametrize(
    ("make", "error", "text"),
    [
        (lambda p: optim.SGD([]), ArgumentError, "An optimizer needs parameters"),
        (lambda p: optim.SGD(p), ArgumentTypeError, "take an iterable of parameters"),
        (lambda p: optim.SGD([1.0]), ArgumentTypeError, "Optimizers take parameters. Received: float"),
        (lambda p: optim.SGD([p, p]), ArgumentError, "A parameter comes twice"),
        (lambda p: optim.SGD([p * 2]), ArgumentError, "Only leaves can be optimized"),
        (lambda p: optim.SGD([{"params": [p], "rate": 1}]), ArgumentError, r"no such options. Received: \['rate'\]"),
        (lambda p: optim.SGD([p], lr=-1), ArgumentError, "lr is out of range"),
        (lambda p: optim.SGD([p], lr=float("nan")), ArgumentError, "lr is out of range"),
        (lambda p: optim.SGD([p], lr="0.1"), ArgumentTypeError, "lr is a number"),
        (lambda p: optim.SGD([p], nesterov=True), ArgumentError, "Nesterov momentum needs a momentum"),
        (lambda p: optim.Adam([p], betas=(0.9, 1.0)), ArgumentError, "betas are two numbers"),
        (lambda p: optim.Adam([p], eps=-1.0), ArgumentError, "eps is out of range"),
    ],
)
def test_errors(make: Any, error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        make(plait.Parameter([1.0]))


def test_setting_a_wrong_rate_is_refused() -> None:
    optimizer = optim.SGD([plait.Parameter([1.0])])
    with pytest.raises(ArgumentError, match="lr is out of range"):
        optimizer.param_groups[0]["lr"] = -1.0
