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
LONG = {4: 1 << 30, 1 << 16: 1 << 18, 1 << 18: 1 << 18}  # steps of some 30 seconds, by size


def interrupted(function):
    """Run a function of many seconds that a signal ends; returns the seconds between the two."""
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


def ends_at_once(function):
    """Whether it does: one of some times, since on a busy machine this process may have to wait."""
    return any(interrupted(function) < 0.5 for _ in range(3))


def loop(x, steps):
    return plait.while_loop(lambda s: s[0] < steps, lambda s: (s[0] + 1, plait.sin(s[1])), (plait.tensor(0), x))[1]


@pytest.mark.parametrize("size", [4, 1 << 18])  # on one thread, on all of them
@pytest.mark.parametrize("jit", [False, True])
def test_while_loop(size, jit):
    run = plait.jit(loop) if jit else loop
    x = plait.ones(size)
    for _ in range(2):  # what comes back is compiled as a whole
        run(x, plait.tensor(3)).numpy()
    assert ends_at_once(lambda: run(x, plait.tensor(LONG[size])).numpy())
    np.testing.assert_allclose(run(x, plait.tensor(3)).numpy()[:2], np.sin(np.sin(np.sin(1.0))), rtol=1e-6)


def test_nested_loops():
    def run(steps):
        def outer(s):
            return s[0] + 1, plait.scan(lambda c, _: (plait.sin(c), None), s[1], length=3)[0]

        return plait.while_loop(lambda s: s[0] < steps, outer, (plait.tensor(0), plait.ones(1 << 16)))[1]

    for _ in range(2):
        run(plait.tensor(3)).numpy()
    assert ends_at_once(lambda: run(plait.tensor(LONG[1 << 16])).numpy())


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
    assert ends_at_once(lambda: step(x, plait.tensor(LONG[4])))
    assert [p.tolist() for p in model.parameters()] == before
    step(x, plait.tensor(3))
    assert [p.tolist() for p in model.parameters()] != before


def test_handlers_of_other_signals_run_meanwhile():
    """The loop goes on after the first one; the second one ends it."""
    seen = []

    def send():
        os.kill(os.getpid(), signal.SIGUSR1)

    def handle(*_):
        seen.append(time.perf_counter())
        if len(seen) == 2:
            raise KeyboardInterrupt
        threading.Timer(0.05, send).start()

    run, x = plait.jit(loop), plait.ones(4)
    run(x, plait.tensor(3))
    previous = signal.signal(signal.SIGUSR1, handle)
    try:
        threading.Timer(0.1, send).start()
        with pytest.raises(KeyboardInterrupt):
            run(x, plait.tensor(LONG[4]))
    finally:
        signal.signal(signal.SIGUSR1, previous)
    assert len(seen) == 2


def test_an_eager_value_can_be_computed_later():
    x = loop(plait.ones(4), plait.tensor(LONG[4]))
    y = plait.ones(3) * 2
    for _ in range(2):
        interrupted(x.numpy)
    del x  # or the loop might be run with what is looked at now
    assert y.tolist() == [2.0, 2.0, 2.0]
