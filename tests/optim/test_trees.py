"""Pure functions of trees: clipping, accumulation, averages; and the models of averages."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import plait
from plait import nn, optim
from plait.core.errors import ArgumentError
from plait.optim import swa_utils


def test_clipping_is_compiled_and_batched() -> None:
    tree = {"a": plait.tensor([[3.0, 0.0], [0.3, 0.0]]), "b": plait.tensor([4.0, 0.4])}
    clipped, norm = plait.jit(plait.vmap(lambda t: optim.clip_by_global_norm(t, 1.0)))(tree)
    np.testing.assert_allclose(norm.numpy(), [5.0, 0.5], rtol=1e-6)
    np.testing.assert_allclose(clipped["a"].numpy(), [[0.6, 0.0], [0.3, 0.0]], rtol=1e-6)
    np.testing.assert_allclose(clipped["b"].numpy(), [0.8, 0.4], rtol=1e-6)
    big = [plait.full((4,), 60000.0, dtype=plait.float16)]
    clipped, norm = optim.clip_by_global_norm(big, 2.0)
    assert norm.item() == 120000.0
    np.testing.assert_allclose(clipped[0].float().numpy(), 1.0, rtol=1e-3)


def test_accumulation_equals_the_mean_gradient() -> None:
    model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Tanh(), nn.Linear(4, 1)).eval()
    x, y = plait.randn(8, 3), plait.randn(8, 1)

    def gradient(m: Any, x: Any, y: Any) -> Any:
        return plait.grad(lambda m: nn.functional.mse_loss(m(x), y))(m)

    whole = optim.AdamW.functional(lr=0.1)
    parts = optim.accumulate(whole, 4)
    wanted, state = model, whole.init(model)
    found, small = model, parts.init(model)
    for _ in range(3):
        wanted, state = whole.update(gradient(wanted, x, y), state, wanted)
        for k in range(4):
            found, small = parts.update(gradient(found, x[2 * k : 2 * k + 2], y[2 * k : 2 * k + 2]), small, found)
    assert isinstance(found[0].weight, plait.Parameter)
    for a, b in zip(found.state_dict().values(), wanted.state_dict().values(), strict=True):
        np.testing.assert_allclose(a.detach().numpy(), b.detach().numpy(), rtol=1e-4, atol=1e-6)
    assert small["count"].item() == 0


def test_gradients_accumulate_in_a_compiled_loop() -> None:
    """The documented pattern: `backward` several times, then one step."""
    w = plait.Parameter([1.0, 2.0])
    optimizer = optim.SGD([w], lr=0.5)

    @plait.jit
    def step(xs: Any) -> None:
        optimizer.zero_grad()
        for k in range(4):
            ((w * xs[k]).sum() / 4).backward()
        optimizer.step()

    xs = plait.tensor([[1.0, 0.0], [1.0, 2.0], [1.0, 0.0], [1.0, 2.0]])
    step(xs)
    step(xs)
    assert w.tolist() == [0.0, 1.0]


def test_ema_of_trees() -> None:
    average = {"w": plait.tensor([0.0, 1.0]), "n": plait.tensor(1)}
    new = {"w": plait.tensor([1.0, 1.0]), "n": plait.tensor(5)}
    found = plait.jit(lambda a, n, d: optim.ema(a, n, d))(average, new, plait.tensor(0.9))
    np.testing.assert_allclose(found["w"].numpy(), [0.1, 1.0], rtol=1e-6)
    assert found["n"].item() == 5


@pytest.mark.parametrize("is_compiled", [False, True])
@pytest.mark.parametrize("kind", ["swa", "ema", "ema_multi"])
def test_averaged_models(kind: str, is_compiled: bool) -> None:
    model = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3))
    options: dict[str, Any] = {
        "swa": {}, "ema": {"avg_fn": swa_utils.get_ema_avg_fn(0.75)},
        "ema_multi": {"multi_avg_fn": swa_utils.get_ema_multi_avg_fn(0.75), "use_buffers": True},
    }[kind]  # fmt: skip
    average = swa_utils.AveragedModel(model, **options)
    update = plait.jit(lambda: average.update_parameters(model)) if is_compiled else (
        lambda: average.update_parameters(model)
    )  # fmt: skip
    weights, means = [], []
    for k in range(4):
        with plait.no_grad():
            model[0].weight.copy_(plait.full((3, 2), float(k + 1)))
            model[1].running_mean.copy_(plait.full((3,), float(k + 1)))
        update()
        weights.append(average.module[0].weight.detach().numpy()[0, 0])
        means.append(average.module[1].running_mean.numpy()[0])
    moving = [1.0, 1.25, 1.6875, 2.265625]
    np.testing.assert_allclose(weights, [1.0, 1.5, 2.0, 2.5] if kind == "swa" else moving, rtol=1e-6)
    np.testing.assert_allclose(means, moving if kind == "ema_multi" else [1.0, 2.0, 3.0, 4.0], rtol=1e-6)
    assert average.n_averaged.item() == 4
    assert set(average.state_dict()) == {"n_averaged", *[f"module.{k}" for k in model.state_dict()]}


def test_update_bn() -> None:
    model = nn.Sequential(nn.BatchNorm1d(2), nn.Dropout(0.5)).eval()
    x = np.random.default_rng(0).normal(size=(12, 2)).astype(np.float32)
    swa_utils.update_bn([(plait.tensor(x[k : k + 4]), None) for k in (0, 4, 8)], model)
    np.testing.assert_allclose(model[0].running_mean.numpy(), x.mean(0), rtol=1e-5, atol=1e-6)
    assert not model.training
    assert model[0].momentum == 0.1


def test_errors() -> None:
    model = nn.Linear(1, 1)
    with pytest.raises(ArgumentError, match="AveragedModel takes one function"):
        swa_utils.AveragedModel(model, avg_fn=lambda a, p, n: a, multi_avg_fn=lambda a, p, n: None)
    with pytest.raises(ArgumentError, match="decay is out of range. Received: 1.5"):
        swa_utils.get_ema_multi_avg_fn(1.5)
    with pytest.raises(ArgumentError, match="SWALR does not fit"):
        swa_utils.SWALR(optim.SGD(model.parameters()), 0.1, anneal_strategy="x")
