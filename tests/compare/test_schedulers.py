"""Schedulers against PyTorch: the same options of the optimizer at every step."""

from __future__ import annotations

import inspect
from typing import Any

import numpy as np
import pytest

import plait
from plait import optim
from plait.optim import lr_scheduler, swa_utils

torch = pytest.importorskip("torch")
FIXED_MOMENTUM = {"cycle_momentum": False}
ONE_CYCLE = {"max_lr": 1.0, "total_steps": 30}
NUMBERS = ("lr", "momentum", "betas")

SCHEDULERS: list[tuple[str, dict[str, Any]]] = [
    ("LambdaLR", {"lr_lambda": lambda epoch: 0.9**epoch}),
    ("LambdaLR", {"lr_lambda": [lambda epoch: 0.9**epoch, lambda epoch: 1 / (1 + epoch)]}),
    ("MultiplicativeLR", {"lr_lambda": lambda epoch: 1 - 0.5 / epoch}),
    ("StepLR", {"step_size": 3, "gamma": 0.5}),
    ("MultiStepLR", {"milestones": [2, 5, 5, 9], "gamma": 0.5}),
    ("ConstantLR", {}),
    ("ConstantLR", {"factor": 0.5, "total_iters": 3}),
    ("LinearLR", {}),
    ("LinearLR", {"start_factor": 0.5, "end_factor": 0.1, "total_iters": 7}),
    ("ExponentialLR", {"gamma": 0.8}),
    ("PolynomialLR", {"total_iters": 8, "power": 2.0}),
    ("CosineAnnealingLR", {"T_max": 6}),
    ("CosineAnnealingLR", {"T_max": 7, "eta_min": 0.01}),
    ("CosineAnnealingWarmRestarts", {"T_0": 5}),
    ("CosineAnnealingWarmRestarts", {"T_0": 2, "T_mult": 2, "eta_min": 0.01}),
    ("CosineAnnealingWarmRestarts", {"T_0": 1, "T_mult": 3}),
    ("CyclicLR", {"base_lr": 0.1, "max_lr": 0.5, "step_size_up": 4}),
    ("CyclicLR", {"base_lr": 0.1, "max_lr": [0.5, 0.7], "step_size_up": 4, "step_size_down": 3, "mode": "triangular2"}),
    ("CyclicLR", {"base_lr": 0.1, "max_lr": 0.5, "step_size_up": 4, "mode": "exp_range", "gamma": 0.9}),
    ("CyclicLR", {"base_lr": 0.1, "max_lr": 0.5, "step_size_up": 4, "scale_fn": lambda x: 1 / x, **FIXED_MOMENTUM}),
    ("OneCycleLR", {"max_lr": 0.5, "total_steps": 30}),
    ("OneCycleLR", {"max_lr": [0.5, 0.2], "epochs": 6, "steps_per_epoch": 5, "anneal_strategy": "linear"}),
    ("OneCycleLR", {"max_lr": 0.5, "total_steps": 40, "three_phase": True, "pct_start": 0.4, "final_div_factor": 10.0}),
    ("OneCycleLR", {"max_lr": 0.5, "total_steps": 30, **FIXED_MOMENTUM, "div_factor": 3.0}),
    ("SWALR", {"swa_lr": 0.05, "anneal_epochs": 4}),
    ("SWALR", {"swa_lr": [0.05, 0.5], "anneal_epochs": 7, "anneal_strategy": "linear"}),
    ("SWALR", {"swa_lr": 0.05, "anneal_epochs": 0}),
]  # fmt: skip


def optimizers(name: str = "SGD", **options: Any) -> list[Any]:
    """Return an optimizer of both, with two groups."""
    made = []
    for module, parameter in ((optim, plait.Parameter), (torch.optim, lambda x: torch.nn.Parameter(torch.tensor(x)))):
        groups = [{"params": [parameter([1.0])]}, {"params": [parameter([2.0])], "lr": 0.2}]
        made.append(getattr(module, name)(groups, lr=0.3, **options))
    return made


def module_of(name: str) -> list[Any]:
    swa = name == "SWALR"
    return [swa_utils if swa else lr_scheduler, torch.optim.swa_utils if swa else torch.optim.lr_scheduler]


def numbers(optimizer: Any) -> list[Any]:
    return [float(v) for g in optimizer.param_groups for k in NUMBERS if k in g for v in np.atleast_1d(g[k])]


def compare(schedulers: list[Any], pair: list[Any], steps: int = 28) -> None:
    for k in range(steps):
        np.testing.assert_allclose(numbers(pair[0]), numbers(pair[1]), rtol=1e-9, atol=1e-15, err_msg=f"step {k}")
        np.testing.assert_allclose(schedulers[0].get_last_lr(), schedulers[1].get_last_lr(), rtol=1e-9, atol=1e-15)
        for optimizer, scheduler in zip(pair, schedulers, strict=True):
            optimizer.step()
            scheduler.step()


@pytest.mark.parametrize(("name", "options"), SCHEDULERS)
@pytest.mark.parametrize("kind", ["SGD", "AdamW"])
def test_steps(name: str, options: dict[str, Any], kind: str) -> None:
    pair = optimizers(kind, **({"momentum": 0.9} if kind == "SGD" else {}))
    compare([getattr(m, name)(o, **options) for m, o in zip(module_of(name), pair, strict=True)], pair)


def chained(module: Any, optimizer: Any) -> Any:
    parts = [
        module.ConstantLR(optimizer, 0.5, 4),
        module.ExponentialLR(optimizer, 0.9),
        module.StepLR(optimizer, 3, 0.5),
    ]
    return module.ChainedScheduler(parts, optimizer)


def warmup(module: Any, optimizer: Any) -> Any:
    parts = [module.LinearLR(optimizer, 0.1, total_iters=5), module.CosineAnnealingLR(optimizer, 12, 0.01)]
    return module.SequentialLR(optimizer, [*parts, module.PolynomialLR(optimizer, 6)], [5, 15])


@pytest.mark.parametrize("make", [chained, warmup])
def test_several(make: Any) -> None:
    pair = optimizers()
    compare([make(m, o) for m, o in zip(module_of(""), pair, strict=True)], pair)


@pytest.mark.parametrize(
    "options",
    [
        {"patience": 2},
        {"mode": "max", "factor": 0.5, "patience": 1, "cooldown": 2, "min_lr": [0.05, 0.1]},
        {"threshold": 0.5, "threshold_mode": "abs", "patience": 0, "eps": 1e-2},
        {"mode": "max", "threshold": 0.1, "threshold_mode": "abs", "patience": 0},
    ],
)
def test_plateau(options: dict[str, Any]) -> None:
    pair = optimizers()
    ours, theirs = (m.ReduceLROnPlateau(o, **options) for m, o in zip(module_of(""), pair, strict=True))
    for k, metric in enumerate(np.random.default_rng(0).normal(size=40).cumsum() * 0.3):
        for scheduler in (ours, theirs):
            scheduler.step(metric)
        assert ours.get_last_lr() == theirs.get_last_lr(), k
        kept = theirs.state_dict()
        assert {name: ours.state_dict()[name] for name in ("best", "num_bad_epochs", "cooldown_counter")} == {
            name: kept[name] for name in ("best", "num_bad_epochs", "cooldown_counter")
        }
    assert len(set(ours.get_last_lr())) == 2
    ours.load_state_dict(theirs.state_dict())


@pytest.mark.parametrize(
    ("name", "options"),
    [("CosineAnnealingLR", {"T_max": 9}), ("ExponentialLR", {"gamma": 0.9}), ("OneCycleLR", ONE_CYCLE)],
)  # fmt: skip
def test_resuming_by_last_epoch(name: str, options: dict[str, Any]) -> None:
    pair = optimizers()
    first = [getattr(m, name)(o, **options) for m, o in zip(module_of(""), pair, strict=True)]
    for scheduler, optimizer in zip(first, pair, strict=True):
        for _ in range(4):
            optimizer.step()
            scheduler.step()
    compare([getattr(m, name)(o, **options, last_epoch=4) for m, o in zip(module_of(""), pair, strict=True)], pair, 8)


@pytest.mark.parametrize("name", [*lr_scheduler.__all__, "SWALR"])
def test_arguments(name: str) -> None:
    ours, theirs = (inspect.signature(getattr(m, name)).parameters for m in module_of(name))
    assert list(ours) == list(theirs)
    assert [p.default for p in ours.values()] == [p.default for p in theirs.values()]
