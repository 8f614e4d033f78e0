"""jit where Python looks at values: the function runs in parts, as the same function without jit does."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import pytest

import plait
from plait.core.errors import AbstractValueError, PerformanceWarning


def quiet(function: Callable[..., Any]) -> Callable[..., Any]:
    """`function` compiled, its calls without the warning about being split."""
    jitted = plait.jit(function)

    def call(*args: Any) -> Any:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", PerformanceWarning)
            return jitted(*args)

    return call


def test_it_warns_once_with_the_line() -> None:
    @plait.jit
    def f(x: plait.Tensor) -> plait.Tensor:
        y = x * 2
        if y.sum() > 0:  # this line
            return y + 1
        return y - 1

    with pytest.warns(PerformanceWarning, match=r"f is compiled in parts.*plait\.where or plait\.cond") as caught:
        assert f(plait.ones(2)).tolist() == [3, 3]
    line = f.__wrapped__.__code__.co_firstlineno + 3
    assert [(w.filename, w.lineno) for w in caught] == [(__file__, line)]
    assert f(-plait.ones(2)).tolist() == [-3, -3]  # another path, and no warning
    assert f(plait.ones(3)).tolist() == [3, 3, 3]  # another signature, split at the same line


def test_python_runs_once_for_each_call() -> None:
    lines: list[str] = []

    def f(x: plait.Tensor) -> plait.Tensor:
        lines.append("before")
        if x > 0:
            lines.append("positive")
        return x

    call = quiet(f)
    for value in (1.0, -1.0, 2.0):
        call(plait.tensor(value))
    assert lines == ["before", "positive", "before", "before", "positive"]


def test_loops_and_conversions() -> None:
    def steps(x: plait.Tensor) -> tuple[plait.Tensor, int, float]:
        count = 0
        while x < 100:
            x, count = x * 2, count + 1
        return x, count, float(x)

    call = quiet(steps)
    for value in (3.0, 3.0, 60.0, 1000.0):
        x, count, number = call(plait.tensor(value))
        want, want_count, _ = steps(plait.tensor(value))
        assert (x.item(), count, number) == (want.item(), want_count, want.item())


def test_arguments_state_and_masks() -> None:
    total = plait.tensor(0.0)

    def f(x: plait.Tensor) -> plait.Tensor:
        x += 1
        chosen = x[x > 1.5]
        total.add_(chosen.sum())
        x *= 2
        return chosen

    call = quiet(f)
    x = plait.tensor([0.0, 1.0, 2.0])
    assert call(x).tolist() == [2, 3] and x.tolist() == [2, 4, 6] and total.item() == 5
    assert call(x).tolist() == [3, 5, 7] and x.tolist() == [6, 10, 14] and total.item() == 20


def test_an_exception_undoes_what_was_written() -> None:
    model = plait.nn.Linear(2, 1)
    optimizer = plait.optim.SGD(model.parameters(), lr=0.1)
    count = plait.tensor(0)

    def step(x: plait.Tensor, limit: plait.Tensor) -> plait.Tensor:
        count.add_(1)
        loss = model(x).square().sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if model.weight.abs().sum() > limit:
            raise ValueError("diverged")
        return loss

    call, x = quiet(step), plait.ones(3, 2)
    with pytest.raises(ValueError, match="diverged"):
        call(x, plait.tensor(0.0))  # the first call is undone as well
    assert count.item() == 0 and model.weight.grad is None
    call(x, plait.tensor(1e9))
    for _ in range(2):
        before = [p.tolist() for p in model.parameters()] + [p.grad.tolist() for p in model.parameters()]
        with pytest.raises(ValueError, match="diverged"):
            call(x, plait.tensor(0.0))
        assert [p.tolist() for p in model.parameters()] + [p.grad.tolist() for p in model.parameters()] == before
        assert count.item() == 1


def test_an_exception_undoes_what_an_outer_function_wrote() -> None:
    states = [plait.zeros(1) for _ in range(4)]

    def inner(x: plait.Tensor) -> plait.Tensor:
        states[1].add_(1)
        if x.sum() > 0:
            states[2].add_(1)
        return x

    jitted = quiet(inner)

    def outer(x: plait.Tensor) -> None:
        states[0].add_(1)
        if x.sum() > 0:
            jitted(x)
        states[3].add_(1)
        raise ValueError("stop")

    call = quiet(outer)
    for _ in range(3):
        with pytest.raises(ValueError, match="stop"):
            call(plait.ones(2))
        assert [s.item() for s in states] == [0, 0, 0, 0]


def test_an_exception_undoes_writes_after_a_look_inside_grad() -> None:
    first, second = plait.zeros(1), plait.zeros(1)

    def loss(x: plait.Tensor) -> plait.Tensor:
        first.add_(1)
        y = x * (2 if first > 0 else 3)
        second.add_(1)
        return (y * y).sum()

    def step(x: plait.Tensor) -> plait.Tensor:
        plait.grad(loss)(x)
        second.add_(1)
        raise ValueError("stop")

    call = quiet(step)
    for _ in range(2):
        with pytest.raises(ValueError, match="stop"):
            call(plait.ones(2))
        assert first.item() == second.item() == 0


def test_it_trains_as_without_jit() -> None:
    def train(wrap: Callable[..., Any]) -> list[float]:
        plait.manual_seed(0)
        model = plait.nn.Sequential(plait.nn.Linear(4, 8), plait.nn.Dropout(0.2), plait.nn.Linear(8, 1))
        optimizer = plait.optim.Adam(model.parameters(), lr=0.05)

        def step(x: plait.Tensor) -> plait.Tensor:
            loss = (model(x) - 1).square().mean()
            optimizer.zero_grad()
            loss.backward()
            if loss > 0.5:
                plait.nn.utils.clip_grad_norm_(model.parameters(), 0.1)
            optimizer.step()
            return loss

        call, x = wrap(step), plait.ones(5, 4)
        return [call(x).item() for _ in range(6)]

    assert train(quiet) == pytest.approx(train(lambda f: f), rel=1e-5)


def test_under_other_transforms() -> None:
    def f(x: plait.Tensor) -> plait.Tensor:
        return x * x if x > 0 else x * 5

    for value in (3.0, -3.0):
        want = plait.grad(f)(plait.tensor(value)).item()
        assert plait.grad(plait.jit(f))(plait.tensor(value)).item() == want
        assert quiet(plait.grad(f))(plait.tensor(value)).item() == want
    with pytest.raises(AbstractValueError, match=r"not known.*test_split"):
        plait.jit(plait.vmap(f))(plait.ones(2))  # the examples differ: no value to look at
    with pytest.raises(AbstractValueError, match=r"not known.*plait\.where or plait\.cond"):
        plait.jit(f, strict=True)(plait.tensor(1.0))


def test_what_was_recorded_before_a_look_has_a_value_after_it() -> None:
    def f(x: plait.Tensor) -> plait.Tensor:
        y = x * 2
        return plait.grad(lambda v: (v * y).sum())(y) if x.sum() > 0 else x

    for _ in range(2):
        found = quiet(f)(plait.ones(2))
        assert repr(found) == "tensor([2., 2.])" and found.tolist() == [2, 2]


def test_an_inner_function_is_still_one_program() -> None:
    staged = []

    @plait.jit
    def inner(x: plait.Tensor) -> plait.Tensor:
        staged.append(1)
        return x * 3

    def outer(x: plait.Tensor) -> plait.Tensor:
        return inner(x) if x > 0 else x

    call = quiet(outer)
    for _ in range(3):
        assert call(plait.tensor(2.0)).item() == 6
    assert len(staged) == 1


def test_printing_is_no_look(capsys: pytest.CaptureFixture[str]) -> None:
    @plait.jit
    def f(x: plait.Tensor) -> plait.Tensor:
        y = x + 1
        print(y)
        return y

    f(plait.ones(2))
    assert "shape=(2,), dtype=plait.float32, recorded at " in capsys.readouterr().out


SCALE = 2.0
WEIGHT = plait.tensor(2.0)
CALLS = 0


def helper(x: plait.Tensor) -> plait.Tensor:
    return x * SCALE


def test_names_are_looked_up_again(monkeypatch: pytest.MonkeyPatch) -> None:
    power = 1

    @plait.jit
    def f(x: plait.Tensor) -> plait.Tensor:
        global CALLS
        CALLS += 1
        return helper(x) * WEIGHT**power

    x, here = plait.tensor(1.0), globals()
    assert f(x).item() == 4 and f(x).item() == 4 and CALLS == 1  # a name that it writes is no guard
    power = 2
    assert f(x).item() == 8
    monkeypatch.setitem(here, "SCALE", 3.0)
    assert f(x).item() == 12
    monkeypatch.setitem(here, "WEIGHT", plait.tensor(1.0))
    assert f(x).item() == 3
    monkeypatch.setitem(here, "helper", lambda x: x)
    assert f(x).item() == 1
    monkeypatch.undo()
    assert f(x).item() == 8 and CALLS == 5  # known already
