"""Ctrl-C during a long program: it returns at once, and state is as before the call."""

from __future__ import annotations

import os
import signal
import threading
import time

import numpy as np
import pytest

import plait

pytestmark = pytest.mark.skipif(not hasattr(signal, "pthread_kill"), reason="sends signals to itself")
FOREVER = 1 << 50


def interrupted(function):
    """Run a function that a signal ends; returns the seconds between the two."""
    sent = []

    def send():
        sent.append(time.perf_counter())
        os.kill(os.getpid(), signal.SIGINT)

    timer = threading.Timer(0.15, send)
    timer.start()
    try:
        with pytest.raises(KeyboardInterrupt):
            function()
        return time.perf_counter() - sent[0]
    finally:
        timer.cancel()


def loop(x, steps):
    return plait.while_loop(lambda s: s[0] < steps, lambda s: (s[0] + 1, plait.sin(s[1])), (plait.tensor(0), x))[1]


@pytest.mark.parametrize("size", [4, 1 << 18])  # on one thread, on all of them
@pytest.mark.parametrize("jit", [False, True])
def test_while_loop(size, jit):
    run = plait.jit(loop) if jit else loop
    x = plait.ones(size)
    run(x, plait.tensor(3)).numpy()
    assert interrupted(lambda: run(x, plait.tensor(FOREVER)).numpy()) < 0.5
    np.testing.assert_allclose(run(x, plait.tensor(3)).numpy()[:2], np.sin(np.sin(np.sin(1.0))), rtol=1e-6)


def test_nested_loops():
    def run(steps):
        def outer(s):
            return s[0] + 1, plait.scan(lambda c, _: (plait.sin(c), None), s[1], length=3)[0]

        return plait.while_loop(lambda s: s[0] < steps, outer, (plait.tensor(0), plait.ones(1 << 16)))[1]

    assert interrupted(lambda: run(plait.tensor(FOREVER)).numpy()) < 0.5


def test_training_step_leaves_parameters():
    model = plait.nn.Linear(4, 4)
    optimizer = plait.optim.Adam(model.parameters())

    @plait.jit
    def step(x, steps):
        optimizer.zero_grad()
        loss = (model(x) * loop(x, steps).detach()).sum()
        loss.backward()
        optimizer.step()
        return loss

    x = plait.ones((2, 4))
    step(x, plait.tensor(3))
    before = [p.tolist() for p in model.parameters()]
    assert interrupted(lambda: step(x, plait.tensor(FOREVER))) < 0.5
    assert [p.tolist() for p in model.parameters()] == before
    step(x, plait.tensor(3))
    assert [p.tolist() for p in model.parameters()] != before


def test_handlers_of_other_signals_run():
    seen = []
    previous = signal.signal(signal.SIGUSR1, lambda *_: seen.append(time.perf_counter()))
    try:
        x = plait.ones(4)
        timers = [threading.Timer(0.1, os.kill, (os.getpid(), signal.SIGUSR1))]
        timers[0].start()
        interrupted(lambda: loop(x, plait.tensor(FOREVER)).numpy())
    finally:
        signal.signal(signal.SIGUSR1, previous)
    assert len(seen) == 1


def test_an_eager_value_can_be_computed_later():
    x = loop(plait.ones(4), plait.tensor(FOREVER))
    y = plait.ones(3) * 2
    interrupted(lambda: x.numpy())
    assert y.tolist() == [2.0, 2.0, 2.0]
