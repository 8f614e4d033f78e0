"""Optimizers against PyTorch: the same parameters after some steps."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import plait
from plait import optim

torch = pytest.importorskip("torch")

OPTIMIZERS = [
    ("SGD", {"lr": 0.1}),
    ("SGD", {"lr": 0.1, "momentum": 0.9}),
    ("SGD", {"lr": 0.1, "momentum": 0.9, "nesterov": True, "weight_decay": 0.1}),
    ("SGD", {"lr": 0.1, "momentum": 0.9, "dampening": 0.5, "maximize": True}),
    ("Adam", {"lr": 0.1}),
    ("Adam", {"lr": 0.1, "betas": (0.8, 0.9), "eps": 1e-3, "weight_decay": 0.1}),
    ("Adam", {"lr": 0.1, "amsgrad": True, "maximize": True}),
    ("AdamW", {"lr": 0.1}),
    ("AdamW", {"lr": 0.1, "weight_decay": 0.2, "amsgrad": True}),
]


def losses(a: Any, b: Any, step: int) -> Any:
    """A loss that leaves `b` without a gradient at every third step."""
    loss = ((a - 1.0) ** 4).sum() * 0.1
    return loss if step % 3 == 0 else loss + ((b * b).sum() - a.sum()) ** 2 * 0.01


@pytest.mark.parametrize(("name", "options"), OPTIMIZERS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_steps(name: str, options: dict[str, Any], dtype: str) -> None:
    random = np.random.default_rng(0)
    start = [random.normal(size=shape).astype(dtype) for shape in ((3, 2), (5,))]
    ours, theirs = [plait.Parameter(x) for x in start], [torch.nn.Parameter(torch.tensor(x)) for x in start]
    groups = [{"params": [0]}, {"params": [1], "lr": 0.03}]
    pairs = [
        getattr(module, name)([{**g, "params": [params[g["params"][0]]]} for g in groups], **options)
        for module, params in ((optim, ours), (torch.optim, theirs))
    ]
    for step in range(8):
        for optimizer, params in zip(pairs, (ours, theirs), strict=True):
            optimizer.param_groups[0]["lr"] = 0.1 / (1 + step)
            optimizer.zero_grad()
            losses(*params, step).backward()
            optimizer.step()
    tolerance = 2e-5 if dtype == "float32" else 1e-10
    for a, b in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(a.detach().numpy(), b.detach().numpy(), rtol=tolerance, atol=tolerance)
    saved = pairs[0].state_dict()
    for number, state in pairs[1].state_dict()["state"].items():
        for key, value in state.items():
            if value is not None:
                got = np.asarray(saved["state"][number][key].numpy())
                np.testing.assert_allclose(got, np.asarray(value), rtol=tolerance, atol=tolerance)


def test_state_of_pytorch_can_be_loaded() -> None:
    start = np.ones(4, np.float32)
    p, q = plait.Parameter(start), torch.nn.Parameter(torch.tensor(start))
    theirs = torch.optim.AdamW([q], lr=0.1)
    for _ in range(3):
        theirs.zero_grad()
        (q**2).sum().backward()
        theirs.step()
    ours = optim.AdamW([p], lr=0.5)
    with plait.no_grad():
        p.copy_(q.detach().numpy())
    state = theirs.state_dict()
    state["state"] = {k: {n: v.numpy() for n, v in s.items()} for k, s in state["state"].items()}
    ours.load_state_dict(state)
    for optimizer, x in ((ours, p), (theirs, q)):
        optimizer.zero_grad()
        (x**2).sum().backward()
        optimizer.step()
    np.testing.assert_allclose(p.detach().numpy(), q.detach().numpy(), rtol=1e-6)
