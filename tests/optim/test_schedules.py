"""Schedules: numbers and tensors give the same rates; schedulers resume, and steer compiled steps."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import plait
from plait import optim
from plait.core.errors import ArgumentError, ArgumentTypeError
from plait.optim import lr_scheduler as lr, schedules as s

SCHEDULES: dict[str, tuple[Any, list[float]]] = {
    "constant": (s.constant(0.5), [0.5] * 9),
    "linear": (s.linear(1.0, 0.0, 4), [1, 0.75, 0.5, 0.25, 0, 0, 0, 0, 0]),
    "polynomial": (s.polynomial(1.0, 0.0, 4, 2.0), [1, 0.5625, 0.25, 0.0625, 0, 0, 0, 0, 0]),
    "cosine": (s.cosine(2.0, 4, end=1.0), [2, 1.8535534, 1.5, 1.1464466, 1, 1, 1, 1, 1]),
    "exponential": (s.exponential(1.0, 0.25, 2), [0.5**k for k in range(9)]),
    "step": (s.step(1.0, 3, 0.5), [1, 1, 1, 0.5, 0.5, 0.5, 0.25, 0.25, 0.25]),
    "multi_step": (s.multi_step(1.0, [5, 2, 2], 0.5), [1, 1, 0.25, 0.25, 0.25, 0.125, 0.125, 0.125, 0.125]),
    "warmup": (s.warmup(s.linear(1.0, 0.0, 4), 2, 0.5), [0.5, 0.75, 1, 0.75, 0.5, 0.25, 0, 0, 0]),
    "wsd": (s.wsd(1.0, 2, 3, 2), [0, 0.5, 1, 1, 1, 1, 0.5, 0, 0]),
    "wsd_sqrt": (s.wsd(1.0, 0, 3, 4, shape="sqrt"), [1, 1, 1, 1, 0.5, 0.29289322, 0.1339746, 0, 0]),
    "one_cycle": (
        s.one_cycle(1.0, 9, 1 / 3, "linear", 4.0, 10.0), [0.25, 0.625, 1, 0.8375, 0.675, 0.5125, 0.35, 0.1875, 0.025]
    ),
    "cyclic": (s.cyclic(1.0, 2.0, 2), [1, 1.5, 2, 1.5, 1, 1.5, 2, 1.5, 1]),
    "cyclic_2": (s.cyclic(0.0, 1.0, 1, 3, "triangular2"), [0, 1, 2 / 3, 1 / 3, 0, 0.5, 1 / 3, 1 / 6, 0]),
    "cyclic_exp": (
        s.cyclic(0.0, 1.0, 2, mode="exp_range", gamma=0.5), [0, 0.25, 0.25, 1 / 16, 0, 1 / 64, 1 / 64, 1 / 256, 0]
    ),
    "cosine_restarts": (s.cosine_restarts(1.0, 2), [1, 0.5] * 4 + [1]),
    "cosine_restarts_2": (s.cosine_restarts(1.0, 1, 2), [1, 1, 0.5, 1, 0.8535534, 0.5, 0.1464466, 1, 0.9619398]),
    "sequential": (
        s.sequential([s.constant(1.0), s.linear(1.0, 0.0, 2), s.constant(0.3)], [2, 5]),
        [1, 1, 1, 0.5, 0, 0.3, 0.3, 0.3, 0.3],
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", SCHEDULES)
def test_rates(name: str) -> None:
    rate, wanted = SCHEDULES[name]
    np.testing.assert_allclose([rate(k) for k in range(9)], wanted, rtol=1e-6, atol=1e-12)
    steps = plait.arange(9)
    found = plait.jit(plait.vmap(rate))(steps)
    assert found.dtype is plait.float64
    np.testing.assert_allclose(found.numpy(), [rate(k) for k in range(9)], rtol=1e-12, atol=1e-12)


def test_plateau_is_a_pure_state_machine() -> None:
    machine = s.plateau(mode="max", patience=1, factor=0.5, cooldown=1)
    metrics = [1.0, 2.0, 2.0, 1.0, 1.0, 3.0, 1.0, 1.0, 1.0, 1.0, 1.0]
    state, factors = machine.init(), []
    traced = s.PlateauState(*[plait.tensor(v) for v in (1.0, -np.inf, 0, 0)])
    update = plait.jit(machine.update)
    for metric in metrics:
        state = machine.update(metric, state)
        traced = s.PlateauState(*update(plait.tensor(metric), traced))
        factors.append(state.factor)
        assert [float(v) for v in traced] == [float(v) for v in state]
    assert factors == [1, 1, 1, 0.5, 0.5, 0.5, 0.5, 0.25, 0.25, 0.25, 0.125]


SCHEDULERS: dict[str, Any] = {
    "LambdaLR": lambda o: lr.LambdaLR(o, lambda k: 0.9**k),
    "MultiplicativeLR": lambda o: lr.MultiplicativeLR(o, lambda k: 0.9),
    "StepLR": lambda o: lr.StepLR(o, 2),
    "MultiStepLR": lambda o: lr.MultiStepLR(o, [2, 3]),
    "CosineAnnealingLR": lambda o: lr.CosineAnnealingLR(o, 5),
    "CosineAnnealingWarmRestarts": lambda o: lr.CosineAnnealingWarmRestarts(o, 2, 2),
    "CyclicLR": lambda o: lr.CyclicLR(o, 0.1, 0.5, 3),
    "OneCycleLR": lambda o: lr.OneCycleLR(o, 0.5, 20),
    "SequentialLR": lambda o: lr.SequentialLR(o, [lr.LinearLR(o), lr.ExponentialLR(o, 0.5)], [3]),
    "ChainedScheduler": lambda o: lr.ChainedScheduler([lr.ConstantLR(o), lr.ExponentialLR(o, 0.5)]),
}


@pytest.mark.parametrize("name", SCHEDULERS)
def test_schedulers_resume_and_steer_a_compiled_step(name: str) -> None:
    w = plait.Parameter([1.0])
    optimizer = optim.SGD([w], lr=1.0, momentum=0.9)
    scheduler = SCHEDULERS[name](optimizer)
    staged = []

    @plait.jit
    def step() -> Any:
        staged.append(1)
        optimizer.zero_grad()
        w.sum().backward()
        optimizer.step()

    velocity, position = 0.0, 1.0
    for _ in range(4):
        group = optimizer.param_groups[0]
        velocity = group["momentum"] * velocity + 1
        position -= group["lr"] * velocity
        step()
        scheduler.step()
    np.testing.assert_allclose(w.item(), position, rtol=1e-5)
    assert len(staged) <= 3  # without gradients, with them, and after the momentum has changed
    other = optim.SGD([plait.Parameter([1.0])], lr=1.0, momentum=0.9)
    resumed = SCHEDULERS[name](other)
    other.load_state_dict(optimizer.state_dict())
    resumed.load_state_dict(scheduler.state_dict())
    for _ in range(4):
        scheduler.step()
        resumed.step()
        assert resumed.get_last_lr() == scheduler.get_last_lr()
        assert other.param_groups[0]["momentum"] == optimizer.param_groups[0]["momentum"]


def test_a_rate_in_a_tensor_is_written_in_place() -> None:
    rate = plait.tensor(1.0)
    optimizer = optim.SGD([plait.Parameter([1.0])], lr=rate)
    scheduler = lr.ExponentialLR(optimizer, 0.5)
    scheduler.step()
    assert optimizer.param_groups[0]["lr"] is rate
    assert rate.item() == 0.5


def optimizer(**options: Any) -> Any:
    return optim.SGD([plait.Parameter([1.0])], lr=1.0, **options)


def inside_jit() -> None:
    scheduler = lr.ExponentialLR(optimizer(), 0.5)

    @plait.jit
    def step(x: Any) -> Any:
        scheduler.step()
        return x

    step(plait.ones(1))


def over() -> None:
    scheduler = lr.OneCycleLR(optimizer(momentum=0.9), 1.0, 2)
    for _ in range(3):
        scheduler.step()


@pytest.mark.parametrize(
    ("make", "error", "text"),
    [
        (lambda: s.linear(1.0, 0.0, 0), ArgumentError, "steps of a schedule is out of range. Received: 0"),
        (lambda: s.wsd(1.0, 1, 1, 1, shape="x"), ArgumentError, "Unknown shape of a schedule"),
        (lambda: s.cyclic(0.0, 1.0, mode="x"), ArgumentError, "Unknown mode of a cyclic schedule"),
        (lambda: s.one_cycle(1.0, 0), ArgumentError, "one_cycle does not fit"),
        (lambda: s.sequential([s.constant(1.0)], [2]), ArgumentError, "one milestone less than schedules"),
        (lambda: s.sequential([1.0], []), ArgumentTypeError, "sequential takes a function"),
        (lambda: s.plateau(factor=1.0), ArgumentError, "factor of a plateau is out of range"),
        (lambda: s.plateau(mode="x"), ArgumentError, "Unknown mode of a plateau"),
        (lambda: lr.StepLR(1, 2), ArgumentTypeError, "A scheduler takes an optimizer. Received: int"),
        (lambda: lr.LambdaLR(optimizer(), 0.5), ArgumentTypeError, "lr_lambda takes a function"),
        (lambda: lr.LambdaLR(optimizer(), [abs, abs]), ArgumentError, "lr_lambda needs one value for each group"),
        (lambda: lr.ConstantLR(optimizer(), 2.0), ArgumentError, "factor is out of range"),
        (lambda: lr.LinearLR(optimizer(), 0.0), ArgumentError, "A factor of LinearLR is out of range"),
        (lambda: lr.ExponentialLR(optimizer(), 0.5, last_epoch=3), ArgumentError, "without the first rates"),
        (lambda: lr.CyclicLR(optim.Adagrad([plait.Parameter([1.0])]), 0.1, 1.0), ArgumentError, "has no momentum"),
        (lambda: lr.OneCycleLR(optimizer(), 1.0), ArgumentError, "OneCycleLR needs the number of steps"),
        (lambda: lr.CosineAnnealingWarmRestarts(optimizer(), 0), ArgumentError, "The restarts do not fit"),
        (lambda: lr.SequentialLR(o := optimizer(), [lr.StepLR(o, 2)], [1]), ArgumentError, "SequentialLR needs"),
        (lambda: lr.ChainedScheduler([]), ArgumentError, "ChainedScheduler needs schedulers"),
        (lambda: lr.ChainedScheduler([lr.ReduceLROnPlateau(optimizer())]), ArgumentError, "step it by itself"),
        (lambda: lr.ChainedScheduler([lr.StepLR(optimizer(), 1), lr.StepLR(optimizer(), 1)]), ArgumentError, "of one"),
        (inside_jit, ArgumentError, "cannot be set inside jit"),
        (over, ArgumentError, "The cycle is over"),
    ],
)
def test_errors(make: Any, error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        make()
