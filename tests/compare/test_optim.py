"""Optimizers against PyTorch: the same parameters and the same state after fifty steps."""

from __future__ import annotations

import inspect
from typing import Any

import numpy as np
import pytest

import plait
from plait import optim

torch = pytest.importorskip("torch")

L2 = {"weight_decay": 0.1}
APART = {"weight_decay": 0.1, "decoupled_weight_decay": True}
ODD = {"betas": (0.8, 0.95), "eps": 1e-3}
OPTIMIZERS = [
    ("SGD", {}),
    ("SGD", {"momentum": 0.9}),
    ("SGD", {"momentum": 0.9, "nesterov": True, **L2}),
    ("SGD", {"momentum": 0.9, "dampening": 0.5, "maximize": True}),
    ("Adam", {}),
    ("Adam", {**ODD, **L2}),
    ("Adam", {"amsgrad": True, "maximize": True, "foreach": True}),
    ("Adam", {**APART, "capturable": False, "differentiable": False, "fused": False}),
    ("AdamW", {}),
    ("AdamW", {"weight_decay": 0.2, "amsgrad": True}),
    ("Adagrad", {}),
    ("Adagrad", {"lr_decay": 0.1, "initial_accumulator_value": 0.5, "eps": 1e-3, **L2}),
    ("Adagrad", {"maximize": True}),
    ("Adadelta", {}),
    ("Adadelta", {"rho": 0.5, "eps": 1e-3, **L2}),
    ("Adadelta", {"maximize": True, "eps": 1e-3}),
    ("RMSprop", {}),
    ("RMSprop", {"alpha": 0.9, "momentum": 0.9, "eps": 1e-2, "centered": True, **L2}),
    ("RMSprop", {"centered": True, "eps": 1e-2, "maximize": True}),
    ("RMSprop", {"momentum": 0.5}),
    ("Adamax", {}),
    ("Adamax", {**ODD, **L2, "maximize": True}),
    ("NAdam", {}),
    ("NAdam", {**ODD, **L2, "momentum_decay": 0.1}),
    ("NAdam", {**APART, "maximize": True}),
    ("RAdam", {}),
    ("RAdam", {**ODD, **L2}),
    ("RAdam", {**APART, "maximize": True}),
    ("ASGD", {}),
    ("ASGD", {"lambd": 0.1, "alpha": 0.5, "t0": 5.0, **L2}),
    ("ASGD", {"maximize": True}),
    ("Rprop", {}),
    ("Rprop", {"etas": (0.4, 1.3), "step_sizes": (1e-3, 0.05), "maximize": True}),
    ("Adafactor", {}),
    ("Adafactor", {"beta2_decay": -0.5, "eps": (1e-3, 1e-2), "d": 2.0, **L2}),
    ("Adafactor", {"maximize": True}),
]
ELEMENTWISE = [row for row in OPTIMIZERS if row[0] != "Adafactor"]


def losses(a: Any, b: Any, step: int) -> Any:
    """A loss that leaves `b` without a gradient at every third step."""
    loss = ((a - 1.0) ** 4).sum() * 0.02
    return loss if step % 3 == 0 else loss + ((b * b).sum() - a.sum()) ** 2 * 0.005


def make(start: list[Any], name: str, options: dict[str, Any]) -> Any:
    """Return the parameters of both, and their optimizers."""
    ours, theirs = [plait.Parameter(x) for x in start], [torch.nn.Parameter(torch.tensor(x)) for x in start]
    pairs = [
        getattr(module, name)([{"params": [params[0]]}, {"params": [params[1]], "lr": 0.02}], lr=0.03, **options)
        for module, params in ((optim, ours), (torch.optim, theirs))
    ]
    return ours, theirs, pairs


def check(ours: Any, theirs: Any, pairs: Any, tolerance: float) -> None:
    for a, b in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(a.detach().numpy(), b.detach().numpy(), rtol=tolerance, atol=tolerance)
    saved, wanted = pairs[0].state_dict(), pairs[1].state_dict()
    for number, state in wanted["state"].items():
        for key, value in state.items():
            if value is not None:
                got = np.asarray(saved["state"][number][key].numpy())
                np.testing.assert_allclose(got, np.asarray(value), rtol=10 * tolerance, atol=10 * tolerance)
    for own, group in zip(saved["param_groups"], wanted["param_groups"], strict=True):
        assert own.keys() >= group.keys()


@pytest.mark.parametrize(("name", "options"), OPTIMIZERS, ids=lambda v: v if isinstance(v, str) else ",".join(v))
def test_steps(name: str, options: dict[str, Any]) -> None:
    """In float32 with the defaults, and in float64."""
    dtype = "float64" if options else "float32"
    random = np.random.default_rng(0)
    start = [random.normal(size=shape).astype(dtype) for shape in ((3, 2), (5,))]
    ours, theirs, pairs = make(start, name, options)
    for step in range(50):
        for optimizer, params in zip(pairs, (ours, theirs), strict=True):
            optimizer.param_groups[0]["lr"] = 0.03 / (1 + step / 10)
            optimizer.zero_grad()
            losses(*params, step).backward()
            optimizer.step()
    check(ours, theirs, pairs, 1e-5 if dtype == "float32" else 1e-7)


@pytest.mark.parametrize("name", sorted({name for name, _ in ELEMENTWISE}))
def test_complex_parameters(name: str) -> None:
    random = np.random.default_rng(0)
    start = [random.normal(size=(2, 3)) + 1j * random.normal(size=(2, 3)), random.normal(size=4) + 0.5j]
    ours, theirs, pairs = make(start, name, {})
    for _ in range(5):
        for optimizer, params in zip(pairs, (ours, theirs), strict=True):
            optimizer.zero_grad()
            sum((abs(p) ** 2 * (k + 1)).sum() for k, p in enumerate(params)).backward()
            optimizer.step()
    check(ours, theirs, pairs, 1e-6)


@pytest.mark.parametrize(
    ("shape", "options"),
    [((4, 3), {}), ((3, 6), {"nesterov": False, "adjust_lr_fn": "match_rms_adamw", "lr": 1e-2})],
)
def test_muon(shape: tuple[int, int], options: dict[str, Any]) -> None:
    """The iteration is in bfloat16, so a step agrees to a few of its roundings, times the rate."""
    random = np.random.default_rng(0)
    x = random.normal(size=shape).astype(np.float32)
    p, q = plait.Parameter(x), torch.nn.Parameter(torch.tensor(x))
    rates = []
    for optimizer, w in ((optim.Muon([p], **options), p), (torch.optim.Muon([q], **options), q)):
        for _ in range(50):
            optimizer.zero_grad()
            ((w - 1.0) ** 2).sum().backward()
            optimizer.step()
        rates.append(optimizer.param_groups[0]["lr"])
    assert rates[0] == rates[1]
    np.testing.assert_allclose(p.detach().numpy(), q.detach().numpy(), atol=0.5 * rates[0])


@pytest.mark.parametrize("search", [None, "strong_wolfe"])
@pytest.mark.parametrize("options", [{}, {"max_iter": 4, "history_size": 3, "lr": 0.5}])
def test_lbfgs(search: str | None, options: dict[str, Any]) -> None:
    start = [np.array([-1.2, 1.0]), np.array([[0.5, 2.0]])]
    found = []
    for module, params in (
        (optim, [plait.Parameter(x) for x in start]),
        (torch.optim, [torch.nn.Parameter(torch.tensor(x)) for x in start]),
    ):
        optimizer = module.LBFGS(params, line_search_fn=search, **({"lr": 0.1} if search is None else {}) | options)
        a, b = params

        def closure(optimizer: Any = optimizer, a: Any = a, b: Any = b) -> Any:
            optimizer.zero_grad()
            loss = (
                3 * (a[1] - a[0] ** 2) ** 2 + (1 - a[0]) ** 2 + ((b - 3) ** 4).sum() * 0.1 + (a.sum() * b).sum() * 0.1
            )
            loss.backward()
            return loss

        values = [optimizer.step(closure).item() for _ in range(6)]
        state = optimizer.state_dict()["state"][0]
        found.append((values, *[p.detach().numpy() for p in params], state["n_iter"], state["func_evals"]))
    assert found[0][0][-1] < found[0][0][0]
    for x, y in zip(*found, strict=True):
        np.testing.assert_allclose(x, y, rtol=1e-6, atol=1e-6)


SHARED = sorted({name for name, _ in OPTIMIZERS} | {"Muon", "LBFGS"})


@pytest.mark.parametrize("name", SHARED)
def test_arguments(name: str) -> None:
    """PyTorch's arguments are ours, with the same defaults, and in the same order up to those without effect."""
    ours = inspect.signature(getattr(optim, name)).parameters
    theirs = list(inspect.signature(getattr(torch.optim, name)).parameters.values())
    without_effect = ("foreach", "capturable", "differentiable", "fused", "maximize")
    for parameter in theirs:
        assert ours[parameter.name].default == parameter.default, parameter.name
    positional = [p.name for p in theirs if p.kind is p.POSITIONAL_OR_KEYWORD and p.name not in without_effect]
    assert [p.name for p in ours.values() if p.kind is p.POSITIONAL_OR_KEYWORD] == positional


@pytest.mark.parametrize(("name", "options"), [("AdamW", {}), ("SGD", {"momentum": 0.9}), ("NAdam", {}), ("Rprop", {})])
def test_state_goes_to_pytorch_and_back(name: str, options: dict[str, Any]) -> None:
    random = np.random.default_rng(0)
    start = [random.normal(size=shape) for shape in ((3, 2), (5,))]
    ours, theirs, pairs = make(start, name, options)

    def run(optimizer: Any, params: Any) -> None:
        for step in range(4):
            optimizer.zero_grad()
            losses(*params, step + 1).backward()
            optimizer.step()

    run(pairs[1], theirs)
    with plait.no_grad():
        for p, q in zip(ours, theirs, strict=True):
            p.copy_(q.detach().numpy())
    pairs[0].load_state_dict(pairs[1].state_dict())
    run(pairs[0], ours)
    run(pairs[1], theirs)
    check(ours, theirs, pairs, 1e-9)
    state, known = pairs[0].state_dict(), pairs[1].state_dict()["state"][0]
    state["state"] = {
        k: {n: torch.tensor(v.numpy()) for n, v in s.items() if n in known} for k, s in state["state"].items()
    }
    pairs[1].load_state_dict(state)
    run(pairs[0], ours)
    run(pairs[1], theirs)
    check(ours, theirs, pairs, 1e-9)
