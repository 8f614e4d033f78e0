"""debug.print and debug.breakpoint: what they show, how often, and in which order, at every stage."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import pytest

import plait
from plait.debug import breakpoint as stop, print as show


def tensor(value: Any) -> Any:
    return plait.tensor(value, dtype=plait.float64)


def program(xs: Any) -> Any:
    """Effects before, in and after a scan with a branch."""
    show("begin")

    def step(c: Any, x: Any) -> Any:
        show("c={:.2f} x={x}", c, x=x)
        c = plait.cond(x > 1.5, lambda c: (show("large"), plait.sin(c))[1], lambda c: c * 2, c)
        return c + x, c

    last, _ = plait.scan(step, tensor(0.5), xs)
    show("end {:.3f} of {}", last, "scan")
    return last


LINES = ["begin", "c=0.50 x=1.0", "c=2.00 x=2.0", "large", "end 2.909 of scan"]


@pytest.mark.parametrize(
    "run",
    [
        program, plait.jit(program), plait.grad(program), plait.jit(plait.grad(program)),
        plait.grad(plait.jit(program)), plait.checkpoint(program), plait.grad(plait.checkpoint(program)),
        plait.jit(plait.grad(plait.checkpoint(program))),
        lambda xs: plait.jvp(program, (xs,), (xs,)), plait.grad(lambda xs: plait.grad(program)(xs).sum()),
    ],
)  # fmt: skip
def test_each_line_once_and_in_order(run: Any, capsys: Any) -> None:
    for _ in range(2):
        run(tensor([1.0, 2.0]))
        assert capsys.readouterr().out.splitlines() == LINES


def test_under_backward_and_in_a_function_compiled_with_parameters(capsys: Any) -> None:
    xs = plait.tensor([1.0, 2.0], dtype=plait.float64, requires_grad=True)
    program(xs).backward()
    assert capsys.readouterr().out.splitlines() == LINES
    assert xs.grad is not None
    weight = plait.Parameter([3.0])
    scale = plait.jit(lambda x: (show("weight {}", weight), x * weight)[1])
    for _ in range(2):
        scale(plait.tensor(2.0))
        assert capsys.readouterr().out == "weight [3.]\n"


@pytest.mark.parametrize("compiled", [False, True])
def test_batches_print_a_line_for_each_example(compiled: bool, capsys: Any) -> None:
    def step(c: Any, x: Any) -> Any:
        show("{} {}", c, x)
        return c + x, None

    run = plait.vmap(lambda xs: plait.scan(step, xs[0] * 0.0, xs)[0])
    (plait.jit(run) if compiled else run)(tensor([[1.0, 2.0], [3.0, 4.0]]))
    assert capsys.readouterr().out.splitlines() == ["0.0 1.0", "0.0 3.0", "1.0 2.0", "3.0 4.0"]
    plait.vmap(plait.vmap(lambda x: (show("{}", x), x)[1]))(tensor([[1.0, 2.0], [3.0, 4.0]]))
    assert capsys.readouterr().out.split() == ["1.0", "2.0", "3.0", "4.0"]


@pytest.mark.parametrize("compiled", [False, True])
def test_loops_of_unknown_length(compiled: bool, capsys: Any) -> None:
    def body(v: Any) -> Any:
        show("{:.2f}", v)
        return v * v

    run = lambda x: plait.while_loop(lambda v: v < 10, body, x)  # noqa: E731
    run = plait.jit(run) if compiled else run
    run(tensor(1.5))
    assert capsys.readouterr().out.split() == ["1.50", "2.25", "5.06"]
    plait.grad(run)(tensor(1.5))
    assert capsys.readouterr().out.split() == ["1.50", "2.25", "5.06"]


def test_effects_whose_results_nobody_needs(capsys: Any) -> None:
    def run(x: Any) -> Any:
        show("only")
        plait.scan(lambda c, v: (c, (show("{}", v), v)[1]), x, x)
        return x

    compiled = plait.jit(run)
    for f in (run, compiled, compiled):
        f(tensor([1.0, 2.0]))
        assert capsys.readouterr().out.split() == ["only", "1.0", "2.0"]


def test_effects_around_a_look_at_a_value(capsys: Any) -> None:
    def run(x: Any) -> Any:
        show("before")
        if x > 0:
            show("positive")
        show("after")
        return x

    compiled = plait.jit(run)
    with pytest.warns(plait.errors.PerformanceWarning):
        compiled(tensor(1.0))
    assert capsys.readouterr().out.split() == ["before", "positive", "after"]
    compiled(tensor(-1.0))
    assert capsys.readouterr().out.split() == ["before", "after"]


def test_eager_code_shows_values_at_once(capsys: Any) -> None:
    x = plait.ones(2) * 3
    show("{} {}", x, [1])
    assert capsys.readouterr().out == "[3. 3.] [1]\n"
    with pytest.raises(plait.errors.ArgumentTypeError, match="takes a format"):
        show(x)


def test_an_error_in_an_effect_reaches_the_caller() -> None:
    run = plait.jit(lambda x: (show("{:d}", x), x)[1])
    for _ in range(2):
        with pytest.raises(ValueError, match="format code 'd'"):
            run(tensor(1.5))


@pytest.mark.parametrize("compiled", [False, True])
def test_breakpoint_stops_where_values_are_arrays(compiled: bool, monkeypatch: Any) -> None:
    seen = []
    monkeypatch.setattr(sys, "breakpointhook", lambda: seen.append(sys._getframe(1).f_locals["values"]))

    def step(c: Any, x: Any) -> Any:
        stop(c, x, "name")
        return c + x, None

    run = lambda xs: plait.scan(step, tensor(0.0), xs)[0]  # noqa: E731
    (plait.jit(run) if compiled else run)(tensor([1.0, 2.0]))
    assert [(c.item(), x.item(), name) for c, x, name in seen] == [(0.0, 1.0, "name"), (1.0, 2.0, "name")]
    assert all(isinstance(c, np.ndarray) for c, _, _ in seen)
