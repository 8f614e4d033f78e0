"""Programs of several Python threads, and asyncio tasks."""

from __future__ import annotations

import asyncio
import contextlib
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

import plait
from plait import nn, optim

JITTED = plait.jit(lambda x: (x * 2).sum())


@pytest.fixture(autouse=True)
def _switching_often() -> Iterator[None]:
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    yield
    sys.setswitchinterval(before)


def side_by_side(*functions: Callable[[], Any]) -> list[Any]:
    """Run functions in threads of their own; returns what they return, raises what they raise."""
    with ThreadPoolExecutor(len(functions)) as pool:
        return [f.result(timeout=60) for f in [pool.submit(function) for function in functions]]


@pytest.mark.parametrize("function", [JITTED, lambda x: (x * 2).sum()], ids=["jit", "eager"])
def test_threads_take_turns(function: Callable[[plait.Tensor], plait.Tensor]) -> None:
    def work() -> list[float]:
        return [function(plait.ones(100)).item() for _ in range(20)]

    assert side_by_side(*[work] * 4) == [[200.0] * 20] * 4


CONTEXTS: dict[str, tuple[Callable[[], Any], Callable[[], Any], Any]] = {
    "no_grad": (plait.no_grad, plait.is_grad_enabled, True),
    "inference_mode": (plait.inference_mode, plait.is_grad_enabled, True),
    "autocast": (plait.autocast, plait.amp.is_autocast_enabled, False),
}


@pytest.mark.parametrize("name", CONTEXTS)
def test_a_context_is_that_of_its_thread(name: str) -> None:
    context, look, outside = CONTEXTS[name]
    entered, looked = threading.Event(), threading.Event()

    def inside() -> Any:
        with context():
            entered.set()
            assert looked.wait(30)
            return look()

    def other() -> Any:
        assert entered.wait(30)
        found = look()
        with context():
            pass
        looked.set()
        return found

    assert side_by_side(inside, other) == [not outside, outside]
    assert look() is outside


def test_a_new_thread_begins_with_the_defaults() -> None:
    with plait.no_grad():
        assert side_by_side(plait.is_grad_enabled) == [True]


def test_a_decorator_of_several_threads_puts_back_what_was() -> None:
    @plait.autocast()
    def product(x: plait.Tensor) -> plait.Tensor:
        time.sleep(1e-4)
        return x @ x

    def work() -> bool:
        return all(product(plait.ones(2, 2)).dtype is plait.bfloat16 for _ in range(50))

    def outside() -> bool:
        return all((plait.ones(2, 2) @ plait.ones(2, 2)).dtype is plait.float32 for _ in range(300))

    assert side_by_side(work, outside, work, outside) == [True] * 4
    assert not plait.amp.is_autocast_enabled()


def test_others_record_and_look_while_a_function_is_staged() -> None:
    staging, w = threading.Event(), plait.tensor([1.0, 2.0])

    @plait.jit
    def step(x: plait.Tensor) -> plait.Tensor:
        nonlocal_sum = x + w
        staging.set()
        time.sleep(0.2)
        made = plait.zeros(2)
        made += nonlocal_sum
        w.add_(1.0)
        return made

    def other() -> list[float]:
        assert staging.wait(30)
        kept = [plait.ones(4) * k for k in range(100)]
        return [k.sum().item() for k in kept]

    found, sums = side_by_side(lambda: step(plait.ones(2)).tolist(), other)
    assert found == [2.0, 3.0] and sums == [4.0 * k for k in range(100)]
    assert step(plait.ones(2)).tolist() == [3.0, 4.0]  # what was made while staging is not state
    assert w.tolist() == [3.0, 4.0]


def test_a_compiled_function_runs_while_another_that_writes_its_state_is_staged() -> None:
    total, staging = plait.tensor(0.0), threading.Event()
    read = plait.jit(lambda x: x + total)
    assert read(plait.tensor(1.0)).item() == 1.0

    @plait.jit
    def write(x: plait.Tensor) -> plait.Tensor:
        total.add_(x)
        staging.set()
        time.sleep(0.2)
        return total * 1

    def other() -> float:
        assert staging.wait(30)
        return float(read(plait.tensor(1.0)).item())

    found, seen = side_by_side(lambda: write(plait.tensor(5.0)).item(), other)
    assert found == 5.0 and seen in (1.0, 6.0)


def test_one_function_of_many_threads_is_staged_once_and_loses_no_update() -> None:
    count, staged, start = plait.tensor(0, dtype=plait.int64), [], threading.Barrier(6)

    @plait.jit
    def step(x: plait.Tensor) -> plait.Tensor:
        staged.append(1)
        count.add_(1)
        return x * 2 + count

    def work() -> list[float]:
        start.wait(30)
        return [step(plait.ones(3)).tolist()[0] for _ in range(50)]

    found = side_by_side(*[work] * 6)
    assert len(staged) == 1 and count.item() == 300
    assert sorted(v for values in found for v in values) == [2.0 + k for k in range(1, 301)]


def test_split_functions_that_call_each_other_do_not_wait_for_each_other() -> None:
    def half(other: list[Callable[[plait.Tensor], plait.Tensor]]) -> Callable[[plait.Tensor], plait.Tensor]:
        @plait.jit
        def function(x: plait.Tensor) -> plait.Tensor:
            if x.sum() > 4:
                met.wait(30)
                return other[0](x - 3)
            return x

        return function

    met = threading.Barrier(2)
    first: list[Any] = []
    second = [half(first)]
    first.append(half(second))
    with contextlib.ExitStack() as stack:
        stack.enter_context(pytest.warns(plait.errors.PerformanceWarning))
        found = side_by_side(lambda: first[0](plait.ones(3) * 2), lambda: second[0](plait.ones(3) * 2))
    assert [f.tolist() for f in found] == [[-1.0] * 3] * 2


def test_a_tensor_that_one_thread_records_is_computed_by_another() -> None:
    def relay(k: int) -> float:
        x = plait.full((50,), float(k))
        for _ in range(30):
            (x,) = side_by_side(lambda x=x: x * 1 + 1) if k % 2 else (x * 1 + 1,)
        return float(x.sum().item())

    assert side_by_side(*[lambda k=k: relay(k) for k in range(4)]) == [50.0 * (k + 30) for k in range(4)]


def test_draws_of_several_threads_are_all_different() -> None:
    plait.manual_seed(0)
    draw = plait.jit(lambda: plait.rand(()))

    def work() -> list[float]:
        kept = [plait.rand(()) if k % 2 else draw() for k in range(60)]
        return [k.item() for k in kept]

    values = [v for found in side_by_side(*[work] * 4) for v in found]
    plait.manual_seed(0)
    assert sorted(values) == sorted(plait.rand(()).item() for _ in range(240))


def train(seed: int, compiled: bool, steps: int = 12) -> np.ndarray[Any, Any]:
    key = plait.Generator(seed)
    model = nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Linear(16, 1))
    with plait.no_grad():
        for p in model.parameters():
            p.copy_(plait.randn(p.shape, generator=key))
    optimizer = optim.AdamW(model.parameters(), lr=0.01)
    x, y = plait.randn((32, 6), generator=key), plait.randn((32, 1), generator=key)

    def step(x: plait.Tensor, y: plait.Tensor) -> plait.Tensor:
        loss = nn.functional.mse_loss(model(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss

    function = plait.jit(step) if compiled else step
    for _ in range(steps):
        function(x, y)
        with plait.no_grad():
            assert not model(x).requires_grad
    return np.concatenate([p.detach().numpy().ravel() for p in model.parameters()])


def test_trainings_side_by_side_are_as_those_alone() -> None:
    alone = [train(k, compiled=k % 2 == 0) for k in range(4)]
    found = side_by_side(*[lambda k=k: train(k, compiled=k % 2 == 0) for k in range(4)])
    for expected, result in zip(alone, found, strict=True):
        np.testing.assert_allclose(result, expected, rtol=1e-4, atol=1e-5)


def test_tasks_are_in_the_contexts_that_they_entered() -> None:
    async def task(enter: bool) -> list[bool]:
        found = []
        for _ in range(5):
            with plait.no_grad() if enter else contextlib.nullcontext(), plait.autocast(enabled=enter):
                await asyncio.sleep(0)
                found.append(plait.is_grad_enabled() is not enter and plait.amp.is_autocast_enabled() is enter)
                await asyncio.sleep(0)
            found.append(plait.is_grad_enabled())
        return found

    async def main() -> None:
        assert await asyncio.gather(*[task(bool(k % 2)) for k in range(4)]) == [[True] * 10] * 4
        with plait.no_grad():
            assert not await asyncio.to_thread(plait.is_grad_enabled)  # tasks, and their threads, inherit

    asyncio.run(main())
    assert plait.is_grad_enabled()
