"""Every optimizer: against the formulas of its paper, compiled, as pure functions, in several lanes, in 16 bits."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import plait
from plait import nn, optim
from plait.core.errors import ArgumentError, ArgumentTypeError, DTypeError, ShapeError

ALL: dict[str, dict[str, Any]] = {
    "SGD": {"lr": 0.05, "momentum": 0.9}, "ASGD": {"lr": 0.05}, "Rprop": {}, "Lion": {"lr": 0.01, "weight_decay": 0.1},
    "LARS": {"lr": 1.0, "weight_decay": 0.1}, "Adam": {"lr": 0.05, "amsgrad": True}, "AdamW": {"lr": 0.05},
    "Adamax": {"lr": 0.05}, "NAdam": {"lr": 0.05}, "RAdam": {"lr": 0.05}, "LAMB": {"lr": 0.05, "weight_decay": 0.1},
    "Sophia": {"lr": 0.05, "bs": 4}, "Adagrad": {"lr": 0.1}, "Adadelta": {"eps": 1e-3},
    "RMSprop": {"lr": 0.02, "momentum": 0.5, "centered": True}, "Adafactor": {"lr": 0.1}, "Muon": {"lr": 0.02},
    "Shampoo": {"lr": 0.1, "momentum": 0.5},
}  # fmt: skip
START = np.array([[1.0, -2.0], [0.5, 3.0], [-1.5, 0.25]])
GOAL = np.array([[0.5, 0.5], [-0.5, 1.0], [2.0, -1.0]])


def loss(w: Any) -> Any:
    return ((w - plait.tensor(GOAL, dtype=w.dtype)) ** 2).sum()


def gradient(w: Any) -> Any:
    return 2 * (w - GOAL)


def run(optimizer: Any, w: Any, steps: int) -> np.ndarray[Any, Any]:
    for _ in range(steps):
        optimizer.zero_grad()
        loss(w).backward()
        optimizer.step()
    return np.array(w.detach().numpy())


# the papers' formulas, in NumPy


def lion(w: Any) -> Any:
    m = np.zeros_like(w)
    for _ in range(50):
        g = gradient(w)
        c = 0.9 * m + 0.1 * g
        w = w - 0.01 * (np.sign(c) + 0.1 * w)
        m = 0.99 * m + 0.01 * g
    return w


def lars(w: Any) -> Any:
    v = np.zeros_like(w)
    for _ in range(50):
        g = gradient(w)
        size = np.linalg.norm(w)
        local = 0.001 * size / (np.linalg.norm(g) + 0.1 * size)
        v = 0.9 * v + 1.0 * local * (g + 0.1 * w)
        w = w - v
    return w


def lamb(w: Any) -> Any:
    m, v = np.zeros_like(w), np.zeros_like(w)
    for t in range(1, 51):
        g = gradient(w)
        m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g * g
        r = m / (1 - 0.9**t) / (np.sqrt(v / (1 - 0.999**t)) + 1e-6) + 0.1 * w
        w = w - 0.05 * np.linalg.norm(w) / np.linalg.norm(r) * r
    return w


def sophia(w: Any) -> Any:
    m, h = np.zeros_like(w), np.zeros_like(w)
    for t in range(50):
        g = gradient(w)
        if t % 10 == 0:
            h = 0.99 * h + 0.01 * g * g
        m = 0.965 * m + 0.035 * g
        w = w * (1 - 0.05 * 0.1)
        w = w - 0.05 * np.clip(m / np.maximum(0.04 * 4 * h, 1e-15), -1, 1)
    return w


def shampoo(w: Any) -> Any:
    left, right, v = 1e-4 * np.eye(3), 1e-4 * np.eye(2), np.zeros_like(w)

    def root(matrix: Any) -> Any:
        values, vectors = np.linalg.eigh(matrix)
        return vectors * values**-0.25 @ vectors.T

    for _ in range(50):
        g = gradient(w)
        left, right = left + g @ g.T, right + g.T @ g
        v = 0.5 * v + root(left) @ g @ root(right)
        w = w - 0.1 * v
    return w


@pytest.mark.parametrize(
    ("name", "formula"), [("Lion", lion), ("LARS", lars), ("LAMB", lamb), ("Sophia", sophia), ("Shampoo", shampoo)]
)
def test_fifty_steps_equal_the_formulas_of_the_paper(name: str, formula: Any) -> None:
    w = plait.Parameter(START)
    optimizer = getattr(optim, name)([w], **ALL[name])
    for t in range(50):
        optimizer.zero_grad()
        loss(w).backward()
        if name == "Sophia" and t % 10 == 0:
            optimizer.update_hessian()
        optimizer.step()
    np.testing.assert_allclose(w.detach().numpy(), formula(START), rtol=1e-6, atol=1e-6)


def test_shampoo_computes_roots_now_and_then_and_leaves_long_axes() -> None:
    w = plait.Parameter(START)
    optimizer = optim.Shampoo([w], update_freq=3, max_size=2)
    assert "precond_0" not in optimizer.state[w]
    roots = []
    for _ in range(4):
        run(optimizer, w, 1)
        roots.append(optimizer.state[w]["inv_precond_1"].numpy().copy())
    assert [np.array_equal(a, b) for a, b in zip(roots, roots[1:], strict=False)] == [True, True, False]
    assert not np.array_equal(roots[0], np.eye(2))


# every optimizer


@pytest.mark.parametrize("name", ALL)
def test_compiled_functional_and_lanes_equal_the_stateful_form(name: str) -> None:
    starts = [START, START[::-1].copy()]
    wanted = []
    for start in starts:
        w = plait.Parameter(start)
        wanted.append(run(getattr(optim, name)([w], **ALL[name]), w, 4))
    w = plait.Parameter(START)
    optimizer = getattr(optim, name)([w], **ALL[name])

    @plait.jit
    def step() -> None:
        optimizer.zero_grad()
        loss(w).backward()
        optimizer.step()

    for _ in range(4):
        step()
    tolerance = 1e-2 if name == "Muon" else 1e-9  # its iteration is in bfloat16
    np.testing.assert_allclose(w.detach().numpy(), wanted[0], rtol=tolerance, atol=tolerance)

    pure = getattr(optim, name).functional(**ALL[name])
    advance = plait.jit(plait.vmap(lambda p, s: pure.update(plait.grad(lambda q: loss(q["w"]))(p), s, p)))
    params = {"w": plait.tensor(np.stack(starts))}
    state = plait.vmap(pure.init)(params)
    for _ in range(4):
        params, state = advance(params, state)
    np.testing.assert_allclose(params["w"].numpy(), np.stack(wanted), rtol=tolerance, atol=tolerance)
    assert state["step"].tolist() == [4.0, 4.0]


@pytest.mark.parametrize("name", [n for n in ALL if n not in ("Rprop", "Shampoo", "Muon")])
def test_master_weights(name: str) -> None:
    """A parameter in bfloat16 follows its copy in float32, also where a step is below its own precision."""
    low = plait.Parameter(plait.tensor(START, dtype=plait.bfloat16))
    optimizer = getattr(optim, name)([low], **{**ALL[name], "lr": 1e-4}, master_weights=True)
    run(optimizer, low, 3)
    state = optimizer.state[low]
    assert low.dtype is plait.bfloat16
    assert {v.dtype for v in state.values()} == {plait.float32}
    np.testing.assert_array_equal(low.detach().float().numpy(), state["master"].to(plait.bfloat16).float().numpy())
    moved = np.abs(state["master"].numpy() - START)
    assert moved.max() > 0
    other = plait.Parameter(low.detach())
    again = getattr(optim, name)([other], **ALL[name], master_weights=True)
    again.load_state_dict(optimizer.state_dict())
    np.testing.assert_array_equal(again.state[other]["master"].numpy(), state["master"].numpy())


def test_functional_sophia_takes_an_estimate() -> None:
    w, pure = plait.Parameter(START), optim.Sophia.functional(lr=0.1, bs=1)
    optimizer = optim.Sophia([w], lr=0.1, bs=1)
    loss(w).backward()
    optimizer.update_hessian()
    optimizer.step()
    params = [plait.tensor(START)]
    gradients = plait.grad(lambda p: loss(p[0]))(params)
    state = optim.Sophia.with_hessian(gradients, pure.init(params))
    (found,), _ = pure.update(gradients, state, params)
    np.testing.assert_allclose(found.numpy(), w.detach().numpy(), rtol=1e-12)


# options


def test_changing_options_compiles_at_most_once_more() -> None:
    w = plait.Parameter(START)
    optimizer = optim.AdamW([w], lr=0.1)
    calls = []

    @plait.jit
    def step() -> None:
        calls.append(1)
        optimizer.zero_grad()
        loss(w).backward()
        optimizer.step()

    other = plait.Parameter(START)
    eager = optim.AdamW([other], lr=0.1)
    for k in range(6):
        for o in (optimizer, eager):
            o.param_groups[0].update(lr=0.1 / (k + 1), betas=(0.9 - 0.05 * k, 0.999), weight_decay=0.01 * (k + 1))
        step()
        run(eager, other, 1)
    np.testing.assert_allclose(w.detach().numpy(), other.detach().numpy(), rtol=1e-12)
    assert len(calls) <= 3
    before = len(calls)
    optimizer.param_groups[0]["amsgrad"] = True  # part of the program: it is compiled again, with new state
    step()
    assert len(calls) == before + 1
    assert "max_exp_avg_sq" in optimizer.state[w]


def test_loading_a_state_is_seen_by_a_compiled_step() -> None:
    w, v = plait.Parameter(START), plait.Parameter(START)
    first, second = optim.Adam([w], lr=0.1), optim.Adam([v], lr=0.1)
    run(second, v, 3)

    @plait.jit
    def step() -> None:
        first.zero_grad()
        loss(w).backward()
        first.step()

    step()
    with plait.no_grad():
        w.copy_(v)
    first.load_state_dict(second.state_dict())
    step()
    np.testing.assert_allclose(w.detach().numpy(), run(second, v, 1), rtol=1e-12)
    assert first.state[w]["step"].item() == 4


def test_counters_of_resting_parameters_survive_compiled_steps() -> None:
    a, b, use_b = plait.Parameter([1.0]), plait.Parameter([1.0]), [True, False, True, True, False, True]
    optimizer = optim.Adam([a, b], lr=0.1)

    @plait.jit
    def step(with_b: bool) -> None:
        optimizer.zero_grad()
        ((a * a).sum() + ((b * b).sum() if with_b else 0)).backward()
        optimizer.step()

    for flag in use_b:
        step(flag)
    assert optimizer.state[a]["step"].item() == 6
    assert optimizer.state[b]["step"].item() == 4


def test_a_schedule_may_be_the_rate_of_the_pure_form() -> None:
    rate = optim.schedules.linear(0.1, 0.0, 4)
    w = plait.Parameter(START)
    optimizer, pure = optim.Adam([w], lr=0.1), optim.Adam.functional(lr=rate)
    params = plait.tensor(START)
    state, update = pure.init(params), plait.jit(pure.update)
    for k in range(4):
        optimizer.param_groups[0]["lr"] = rate(k)
        run(optimizer, w, 1)
        params, state = update(plait.grad(loss)(params), state, params)
    np.testing.assert_allclose(params.numpy(), w.detach().numpy(), rtol=1e-12)


def test_named_parameters_and_groups_by_decay() -> None:
    model = nn.Sequential(nn.Linear(3, 2), nn.LayerNorm(2))
    optimizer = optim.AdamW(model.named_parameters())
    assert optimizer.param_groups[0]["param_names"] == [name for name, _ in model.named_parameters()]
    assert optimizer.state_dict()["param_groups"][0]["param_names"][0] == "0.weight"
    groups = optim.decay_groups(model, 0.1)
    assert [(g["weight_decay"], [n for n, _ in g["params"]]) for g in groups] == [
        (0.1, ["0.weight"]), (0.0, ["0.bias", "1.weight", "1.bias"])
    ]  # fmt: skip
    groups = optim.decay_groups(model, 0.1, lambda name, p: name.startswith("1."))
    assert [n for n, _ in groups[0]["params"]] == ["1.weight", "1.bias"]
    assert optim.AdamW(groups).param_groups[1]["weight_decay"] == 0.0


def test_hooks() -> None:
    w, seen = plait.Parameter([1.0]), []
    optimizer = optim.SGD([w], lr=0.5)
    before = optimizer.register_step_pre_hook(lambda o, args, kwargs: seen.append(("before", o is optimizer, args)))
    optimizer.register_step_post_hook(lambda o, args, kwargs: seen.append(("after", w.item(), kwargs)))
    w.sum().backward()
    optimizer.step()
    before.remove()
    optimizer.step(closure=None)
    assert seen == [("before", True, ()), ("after", 0.5, {}), ("after", 0.0, {"closure": None})]


def test_options_stand_in_the_signature_and_not_in_the_class() -> None:
    import inspect

    names = list(inspect.signature(optim.SGD).parameters)
    assert names[:6] == ["params", "lr", "momentum", "dampening", "weight_decay", "nesterov"]
    assert names[6:] == ["maximize", "master_weights", "foreach", "capturable", "differentiable", "fused"]
    assert not hasattr(optim.SGD, "momentum")


def option_inside_jit(w: Any) -> None:
    optimizer = optim.SGD([w])

    @plait.jit
    def step(x: Any) -> Any:
        optimizer.param_groups[0]["lr"] = 0.5
        return x

    step(plait.ones(1))


@pytest.mark.parametrize(
    ("make", "error", "text"),
    [
        (lambda w: optim.Adam([w], rate=1), ArgumentTypeError, "Adam has other options. Received: .*'rate'"),
        (lambda w: optim.Adam([w], 1e-3, (0.9, 0.99), 1e-8, 0, False, True), ArgumentTypeError, "too many positional"),
        (lambda w: optim.Adadelta([w], rho=1.5), ArgumentError, "rho is out of range. Received: 1.5"),
        (lambda w: optim.Rprop([w], etas=(1.2, 0.5)), ArgumentError, "etas of Rprop"),
        (lambda w: optim.Adafactor([w], eps=1.0), ArgumentError, "eps of Adafactor are two numbers"),
        (lambda w: optim.Adafactor([w], d=0.5), ArgumentError, "d is out of range. Received: 0.5"),
        (lambda w: optim.Adafactor([w], beta2_decay=0.5), ArgumentError, "beta2_decay is out of range"),
        (lambda w: optim.Adafactor([plait.Parameter([1j])]), DTypeError, "Adafactor takes real parameters"),
        (lambda w: optim.Muon([plait.Parameter([1.0])]), ShapeError, "Muon takes real matrices.*AdamW"),
        (lambda w: optim.Muon([w], adjust_lr_fn="x"), ArgumentError, "Unknown adjust_lr_fn of Muon"),
        (lambda w: optim.Muon([w], ns_steps=100), ArgumentError, "The iteration of Muon does not fit"),
        (lambda w: optim.Shampoo([w], update_freq=0), ArgumentError, "update_freq is out of range"),
        (lambda w: optim.LBFGS([{"params": [w]}, {"params": [plait.Parameter([1.0])]}]), ArgumentError, "one group"),
        (lambda w: optim.LBFGS([w], line_search_fn="x"), ArgumentError, "Unknown line search"),
        (lambda w: optim.LBFGS([w]).step(), ArgumentTypeError, "LBFGS evaluates the loss several times"),
        (lambda w: optim.Optimizer([w], {}).step(), ArgumentTypeError, "does not say how parameters are updated"),
        (lambda w: optim.accumulate(optim.SGD.functional(), 0), ArgumentError, "accumulate collects"),
        (lambda w: optim.global_norm({}), ArgumentError, "a tree without leaves"),
        (lambda w: optim.decay_groups([w]), ArgumentTypeError, "needs the names of the parameters"),
        (option_inside_jit, ArgumentError, r"cannot be set inside jit. Received: lr=0.5"),
    ],
)
def test_errors(make: Any, error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        make(plait.Parameter(START))
