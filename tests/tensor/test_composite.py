"""Composites and gradients by structure: recorded once, they mean what running them each time means."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

import plait
from plait import Tensor, tensor
from plait.core.primitive import PRIMITIVES
from plait.tensor.composite import composite
from plait.transforms import gradients as by_structure


def counted(function: Any) -> tuple[Any, list[int]]:
    runs: list[int] = []

    def spy(*args: Any, **kwargs: Any) -> Any:
        runs.append(1)
        return function(*args, **kwargs)

    return composite(spy), runs


def test_a_second_call_records_one_node_without_running_the_function() -> None:
    scaled, runs = counted(lambda x, factor=2.0: (x * factor + 1.0).sqrt())
    for value in (1.0, 4.0):
        assert scaled(tensor([value, value])).tolist() == pytest.approx([(2 * value + 1) ** 0.5] * 2)
    assert len(runs) == 1
    assert scaled(tensor([1.0, 1.0]))._node.prim is PRIMITIVES["composite"]
    scaled(tensor([1.0, 1.0, 1.0]))
    assert len(runs) == 2


@pytest.mark.parametrize("values", [(1, 1.0, True), (0, False, 0.0, -0.0), ((1, 2), (1.0, 2.0)), (None, "None")])
def test_settings_that_compare_as_equal_are_told_apart(values: tuple[Any, ...]) -> None:
    shown, runs = counted(lambda x, setting: x * float(len(repr(setting))))
    for value in values:
        assert shown(tensor([1.0]), value).item() == len(repr(value))
    assert len(runs) == len(values)


def test_names_and_places_of_arguments_are_told_apart() -> None:
    divide = composite(lambda x, y=None, z=None: x / (y if z is None else z * 2))
    a, b = tensor([4.0]), tensor([2.0])
    assert [divide(a, b).item(), divide(a, z=b).item(), divide(x=b, y=a).item(), divide(y=b, x=a).item()] == [
        2,
        1,
        0.5,
        2,
    ]


def test_what_is_not_pure_runs_each_time() -> None:
    state = tensor([1.0])

    def reads(x: Tensor) -> Tensor:
        return x + state

    def writes(x: Tensor) -> Tensor:
        x += 1.0
        return x * 2

    def looks(x: Tensor) -> Tensor:
        return x if x.sum() > 0 else -x

    reading, writing, looking, viewing = map(composite, (reads, writes, looks, lambda x: x[0]))
    assert reading(tensor([1.0])).item() == 2
    state += 1
    assert reading(tensor([1.0])).item() == 3
    x = tensor([1.0])
    assert [writing(x).item(), writing(x).item(), x.item()] == [4, 6, 3]
    assert [looking(tensor([-1.0])).item(), looking(tensor([2.0])).item()] == [1, 2]
    part = viewing(x)
    x += 1
    assert part.item() == 4


def test_constants_of_its_own_are_kept() -> None:
    weighted, runs = counted(lambda x: (x * tensor([1.0, 2.0, 3.0])).sum())
    assert [weighted(plait.ones(3)).item(), weighted(plait.ones(3) * 2).item(), len(runs)] == [6, 12, 1]


def test_detached_parts_stay_detached_in_every_transform() -> None:
    half = composite(lambda x: (x * x.detach()).sum())
    x = tensor([3.0], requires_grad=True)
    half(x).backward()
    assert x.grad.item() == 3
    for run in (plait.grad(half), plait.jit(plait.grad(half)), plait.vmap(plait.grad(half))):
        assert run(tensor([[3.0]]) if run is not plait.grad else tensor([3.0])).tolist() == [[3.0]]
    assert plait.jvp(half, (tensor([3.0]),), (tensor([1.0]),))[1].item() == 3


def test_transforms_see_through_a_composite_of_several_results() -> None:
    both = composite(lambda x: (plait.sin(x), {"square": x * x}))
    f = lambda x: (both(x)[0] + both(x)[1]["square"]).sum()  # noqa: E731
    x = tensor([0.5, 1.0])
    expected = np.cos([0.5, 1.0]) + 2 * np.array([0.5, 1.0])
    np.testing.assert_allclose(plait.grad(f)(x).numpy(), expected, rtol=1e-6)
    np.testing.assert_allclose(plait.jacfwd(f)(x).numpy(), expected, rtol=1e-6)
    np.testing.assert_allclose(plait.vmap(plait.grad(f))(x[:, None])[:, 0].numpy(), expected, rtol=1e-6)
    second = plait.grad(lambda x: plait.grad(f)(x).sum())(x).numpy()
    np.testing.assert_allclose(second, 2 - np.sin([0.5, 1.0]), rtol=1e-5)


def test_a_node_of_a_composite_has_the_line_of_its_call() -> None:
    twice = composite(lambda x: x * 2 + 1)
    first, second = twice(tensor([1.0])), twice(tensor([1.0]))
    assert first._node.source == second._node.source
    assert "test_composite.py" in first._node.source


# gradients by structure


def test_a_known_history_is_differentiated_without_its_rules(monkeypatch: pytest.MonkeyPatch) -> None:
    runs: list[int] = []
    counts: list[int] = []
    pull_back = by_structure.pull_back
    monkeypatch.setattr(by_structure, "pull_back", lambda *a: (runs.append(1), pull_back(*a))[1])
    w = plait.Parameter([[0.5, -0.25]])
    plait.sync()  # before, its history begins at the node that makes it a leaf
    for k in (1.0, 2.0, 3.0):
        w.grad = None
        loss = ((w * tensor([[k, 1.0]])).tanh() ** 2).sum()
        loss.backward()
        t = np.tanh(np.array([[0.5 * k, -0.25]]))
        np.testing.assert_allclose(w.grad.numpy(), 2 * t * (1 - t * t) * [[k, 1.0]], rtol=1e-5)
        counts.append(len(runs))
    assert counts[0] <= 4 and counts[1:] == [counts[0] + 1] * 2  # node by node at first; then once for all that follow


def test_nodes_that_were_met_in_another_history_are_differentiated_without_their_rules(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def gradient(count: int) -> float:
        x = tensor([0.5], requires_grad=True)
        y = x
        for _ in range(count):
            y = (y * x).tanh()
        y.sum().backward()
        return float(x.grad.item())

    gradient(3)

    def refused(*_: Any) -> Any:
        raise AssertionError("differentiated again")

    monkeypatch.setattr(by_structure, "pull_back", refused)
    x, slope = 0.5, 1.0
    y = x
    for _ in range(5):
        y, slope = np.tanh(y * x), (1 - np.tanh(y * x) ** 2) * (slope * x + y)
    assert gradient(5) == pytest.approx(slope, rel=1e-5)


def test_histories_that_differ_in_constants_flags_or_wanted_inputs_are_told_apart() -> None:
    for power in (2.0, 3.0, 2.0):
        a, b = tensor([3.0], requires_grad=True), tensor([5.0], requires_grad=power == 2.0)
        (a**power * b * 4.0).sum().backward()
        assert a.grad.item() == pytest.approx(power * 3 ** (power - 1) * 20)
        assert (b.grad is None) == (power != 2.0)
    for inputs in (None, "a", "b"):
        named = {"a": tensor([3.0], requires_grad=True), "b": tensor([5.0], requires_grad=True)}
        product = (named["a"] * named["b"]).sum()
        product.backward(inputs=None if inputs is None else [named[inputs]])
        assert [n for n, t in named.items() if t.grad is not None] == (["a", "b"] if inputs is None else [inputs])


def test_hooks_run_each_time() -> None:
    seen: list[float] = []
    for k in (1.0, 2.0):
        x = tensor([k], requires_grad=True)
        y = x * 3
        y.register_hook(lambda g: seen.append(g.item()))
        (y * k).sum().backward()
    assert seen == [1, 2]


def test_several_results_and_a_computed_forward_are_read_not_made_again() -> None:
    for _ in range(2):
        x = tensor([3.0, 1.0, 2.0], requires_grad=True)
        values, _order = plait.topk(x * x, 2)
        loss = values.sum()
        assert loss.item() == 13
        loss.backward()
        assert x.grad.tolist() == [6, 0, 4]


def test_functions_of_numbers_alone_have_a_value() -> None:
    assert plait.nn.functional.relu6(7.5).item() == 6.0 == plait.nn.functional.relu6(7.5).item()
    assert (plait.nn.functional.tanhshrink(1.0) * 2).item() == pytest.approx(2 - 2 * math.tanh(1.0))
