"""Forked, spawned and pooled processes."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import signal
import threading
import time
import traceback
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from typing import Any

import numpy as np
import pytest

import plait
from plait import nn, optim

forks = pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
METHODS = [m for m in ("spawn", "forkserver") if m in multiprocessing.get_all_start_methods()]


@plait.jit
def attend(x: plait.Tensor) -> plait.Tensor:
    """A compiled function that other processes find by its name."""
    return plait.softmax(x @ x.mT, -1) @ x


def respond(received: Any, answers: Any) -> None:
    """Run a model and a tensor that came through a queue, and send back what comes out."""
    model, x = received.get()
    answers.put((model(x).detach(), attend(x)))


def in_child(work: Callable[[], bool], seconds: float = 30.0) -> bool:
    """Fork; whether `work` returned true in the child, in time."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            code = 0 if work() else 2
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(code)
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status) == 0
        time.sleep(0.005)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return False


def compute() -> bool:
    """Eager and compiled work, large enough for all threads, known and new."""
    x = plait.ones(400, 400) * 0.01
    known = bool((attend(x) - 0.01).abs().max() < 1e-6)
    new = plait.jit(lambda y: (y * 3).sum(axis=0) + y.max())(x)
    return known and bool((new - 12.01).abs().max() < 1e-3) and (x @ x).sum().item() > 0


@forks
def test_a_forked_child_computes_on_threads_of_its_own() -> None:
    before = plait.get_num_threads()
    plait.set_num_threads(3)
    try:
        assert compute() and in_child(compute) and compute() and in_child(lambda: in_child(compute))
    finally:
        plait.set_num_threads(before)


@forks
def test_a_child_that_is_forked_while_threads_run_stage_and_compile_finds_no_lock_held() -> None:
    stop = threading.Event()
    x = plait.ones(300, 300) * 0.01
    slow = plait.jit(lambda y, k: (y * k).exp().sum())

    def run() -> None:
        while not stop.is_set():
            attend(x)

    def stage() -> None:
        k = 0
        while not stop.is_set():
            k += 1
            slow(x, k * 1e-9)
            plait.jit(lambda y, k=k: time.sleep(0.002) or y * k + 1)(x)

    threads = [threading.Thread(target=t, daemon=True) for t in (run, run, stage)]
    for thread in threads:
        thread.start()
    try:
        assert all(in_child(lambda: compute() and slow(x, 2e-9).item() > 0) for _ in range(8))
    finally:
        stop.set()
        for thread in threads:
            thread.join(30)


@pytest.mark.parametrize("method", METHODS)
def test_models_and_tensors_go_through_queues(method: str) -> None:
    context = multiprocessing.get_context(method)
    received, answers = context.Queue(), context.Queue()
    process = context.Process(target=respond, args=(received, answers))
    process.start()
    model, x = nn.Sequential(nn.Linear(4, 3), nn.Tanh(), nn.BatchNorm1d(3)), plait.randn(5, 4)
    received.put((model, x))
    found, attended = answers.get(timeout=60)
    process.join(60)
    assert process.exitcode == 0
    np.testing.assert_allclose(found.numpy(), model(x).detach().numpy(), rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(attended.numpy(), attend(x).numpy(), rtol=1e-6)


def test_a_pool_runs_a_compiled_function() -> None:
    x = [plait.full((3, 2), k / 10) for k in range(6)]
    with ProcessPoolExecutor(2, multiprocessing.get_context("spawn")) as pool:
        found = list(pool.map(attend, x))
    assert [f.tolist() for f in found] == [attend(v).tolist() for v in x]


def test_what_is_pickled() -> None:
    model = nn.Linear(2, 3)
    optimizer = optim.AdamW(model.parameters(), lr=0.5)
    values = [plait.ones(2), model.weight, plait.ones(3, 3)[1], plait.float32, plait.Generator(3).get_state()]
    for value in values:
        copy = pickle.loads(pickle.dumps(value))
        assert type(copy) is type(value) and repr(copy) == repr(value)
    assert pickle.loads(pickle.dumps(attend)) is attend
    assert pickle.loads(pickle.dumps(optimizer)).param_groups[0]["lr"] == 0.5
