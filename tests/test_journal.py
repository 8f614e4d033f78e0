"""The journal: what is written when something is compiled, and that nothing is when it is not."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Callable
from types import SimpleNamespace

import pytest

import plait
from plait.core import journal


@pytest.fixture
def wait(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Lets a number of seconds pass for the journal."""
    clock = SimpleNamespace(now=0)
    monkeypatch.setattr(journal, "time", SimpleNamespace(perf_counter=lambda: clock.now))
    return lambda seconds: setattr(clock, "now", clock.now + seconds)


def test_times_of_passes_exclude_the_passes_inside(wait) -> None:
    with journal.compilation("f", "jit", "a.py:1", ["first call"], "stage") as record:
        wait(1)
        for _ in range(2):
            with journal.timed("fuse"):
                wait(10)
                with journal.timed("llvm"):
                    wait(100)
                wait(10)
    assert record.seconds == {"stage": 1, "fuse": 40, "llvm": 200}
    assert record.total == 241


def test_a_compilation_inside_another_counts_its_own_time(wait) -> None:
    with journal.compilation("outer", "jit", "", ["first call"], "stage") as outer:
        wait(1)
        with journal.compilation("inner", "fused", "", ["seen before"], "plan") as inner:
            wait(10)
            assert journal.current() is inner
        assert journal.current() is outer
    assert journal.current() is None
    assert (outer.seconds, inner.seconds) == ({"stage": 1}, {"plan": 10})


def test_a_failure_is_noted_and_does_not_count() -> None:
    with pytest.raises(ZeroDivisionError), journal.compilation("f", "jit", "", ["first call"], "stage") as record:
        raise ZeroDivisionError
    assert record.failed == "ZeroDivisionError"
    assert not record.counts
    assert "failed with ZeroDivisionError" in repr(record)


def test_timed_outside_of_a_compilation_writes_nothing() -> None:
    before = journal.records()
    with journal.timed("fuse"):
        journal.found("disk")
    assert journal.records() == before


def test_the_log_is_bounded(monkeypatch) -> None:
    monkeypatch.setattr(journal, "_records", type(journal._records)(maxlen=3))
    for k in range(5):
        with journal.compilation(f"f{k}", "jit", "", ["first call"], "stage"):
            pass
    assert [r.what for r in journal.records()] == ["f2", "f3", "f4"]
    assert [r.what for r in journal.since(journal.records()[0].number)] == ["f3", "f4"]


def test_threads_have_compilations_of_their_own() -> None:
    seen = []
    with journal.compilation("f", "jit", "", ["first call"], "stage"):
        thread = threading.Thread(target=lambda: seen.append(journal.current()))
        thread.start()
        thread.join()
    assert seen == [None]


def test_eager_work_is_generic_at_first_and_fused_when_it_comes_back() -> None:
    start = journal.last_number()
    x = plait.ones(5, 3)
    for _ in range(4):
        (plait.tanh(x) * 3.25 - 1.5).numpy()
    found = [r for r in journal.since(start) if r.source.startswith(__file__)]
    assert [r.tier for r in found][-2:] == ["generic", "fused"]
    assert [r.counts for r in found][-2:] == [False, True]
    assert found[-1].kernels == 1
    assert found[-1].flops > 0
    assert found[-1].bytes_moved == 2 * 60
    assert found[-1].output_bytes == 60


def test_warm_calls_write_nothing() -> None:
    f = plait.jit(lambda x: x * 2 + 1)
    x = plait.ones(7)
    f(x)
    start = journal.last_number()
    for _ in range(10):
        f(x)
    assert journal.last_number() == start


def test_the_environment_variable_prints_a_line_for_each_compilation() -> None:
    code = "import plait\n@plait.jit\ndef double(x):\n    return x * 2\ndouble(plait.ones(3)); double(plait.ones(4))"

    def run(log):
        environment = {**os.environ, "PLAIT_LOG": log}
        command = [sys.executable, "-c", code]
        return subprocess.run(command, capture_output=True, text=True, check=True, env=environment).stderr

    lines = [line for line in run("compile").splitlines() if "double (jit)" in line]
    assert len(lines) == 2
    assert lines[0].endswith("first call")
    assert lines[1].endswith("argument x: float32[3] -> float32[4]")
    wrong = run("compiles")
    assert "unknown kind compiles" in wrong
    assert "double" not in wrong
