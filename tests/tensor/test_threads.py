"""Programs of several Python threads."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

import plait

JITTED = plait.jit(lambda x: (x * 2).sum())


@pytest.mark.parametrize("function", [JITTED, lambda x: (x * 2).sum()], ids=["jit", "eager"])
def test_threads_take_turns(function: Callable[[plait.Tensor], plait.Tensor]) -> None:
    found: list[float] = []

    def work() -> None:
        found.extend(function(plait.ones(100)).item() for _ in range(20))

    threads = [threading.Thread(target=work, daemon=True) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    assert found == [200.0] * 80
