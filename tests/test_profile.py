"""`plait.profile` and `plait.memory_report`: times, places, work, traces, memory."""

from __future__ import annotations

import json
import threading
import time

import numpy as np
import pytest

import plait
from plait import errors, nn
from plait.compiler.llvm import executor
from plait.compiler.llvm.log import LOG_WORD, logging_walk, plain_walk
from plait.core.graph import backward_scope, forward_scope
from plait.profiling.logs import MOST_EVENTS, collector
from plait.profiling.machine import machine
from plait.runtime import launch
from plait.tensor.tensor import node_of


class Block(nn.Module):
    def __init__(self, width):
        self.norm, self.mix = nn.LayerNorm(width), nn.Linear(width, width)

    def forward(self, x):
        return x + plait.relu(self.mix(self.norm(x)))


class Model(nn.Module):
    def __init__(self, width=32):
        self.blocks = nn.ModuleList([Block(width), Block(width)])
        self.head = nn.Linear(width, 4)

    def forward(self, x):
        for block in self.blocks:
            x = block(x)
        return self.head(x) * 2


def this_line(offset):
    """The `file:line` of a line relative to that of the caller."""
    import sys

    return f"{__file__}:{sys._getframe(1).f_lineno + offset}"


@pytest.fixture(scope="module")
def product():
    """A jitted loop of large products, profiled after a first call."""
    x = plait.randn(384, 384)
    f = plait.jit(lambda a: plait.tanh(a @ a))
    f(x).numpy()
    with plait.profile() as p:
        for _ in range(30):
            f(x)
    return p


def test_times(product):
    """The kernels of a loop of large products take most of the time, and no more than all of it."""
    kernel = product.kernels[0]
    assert kernel.name == "matmul+tanh" and kernel.calls == 30
    assert 0.5 * product.seconds <= product.kernel_seconds <= product.program_seconds <= product.seconds
    assert kernel.flops >= 30 * 2 * 384**3
    assert kernel.nbytes == pytest.approx(30 * 2 * 4 * 384**2, rel=0.01)
    assert kernel.flops_per_second == pytest.approx(kernel.flops / kernel.seconds)
    assert 0 < kernel.floor_fraction < 5
    assert product.compilations == 0 and product.compile_seconds == 0
    total = product.program_seconds + product.compile_seconds + product.python_seconds
    assert total == pytest.approx(product.seconds)
    assert len(product.programs) == 30
    assert "matmul+tanh" in repr(product) and "test_profile.py" in repr(product)


def test_spans(product):
    """Every thread that works has spans; on one thread they follow each other, inside the block."""
    for thread in range(plait.get_num_threads()):
        own = [s for s in product.spans if s.thread == thread]
        assert len(own) >= 30
        assert all(a.end <= b.begin for a, b in zip(own, own[1:], strict=False))
        assert own[0].begin > 0 and own[-1].end < product.seconds
    longest = max(product.spans, key=lambda s: s.end - s.begin)
    assert product.kernels[longest.kernel].name == "matmul+tanh"


def test_modules_and_lines():
    """Kernels carry the path of their module and the line, those of gradients too."""
    model = Model()
    optimizer = plait.optim.SGD(model.parameters(), lr=0.1)

    @plait.jit
    def step(x):
        optimizer.zero_grad()
        loss = (model(x) ** 2).mean()
        loss.backward()
        optimizer.step()
        return loss

    x = plait.randn(8, 32)
    step(x).item()
    with plait.profile() as p:
        step(x).item()
    places = {(k.module, k.origin.is_backward) for k in p.kernels}
    for name in ("blocks.0.mix", "blocks.1.mix", "head"):
        assert (name, False) in places and (name, True) in places
    assert any("(backward)" in k.origin.place for k in p.kernels)
    head = next(k for k in p.kernels if k.module == "head" and not k.origin.is_backward)
    code = Model.forward.__code__
    assert head.line in {f"{__file__}:{line}" for _, _, line in code.co_lines()}


def test_scopes_of_nodes():
    """A node knows its module; outside there is none, and an exception inside leaves none behind."""

    class Failing(nn.Module):
        def forward(self, x):
            raise ValueError("stop")

    model = Model()
    x = plait.ones(1, 32)
    assert node_of(model(x)).scope == "Model"
    assert node_of(model.blocks[0](x)).scope == "Block"
    assert node_of(x + 1).scope is None
    with pytest.raises(ValueError, match="stop"):
        nn.Sequential(Failing())(x)
    assert node_of(x + 1).scope is None
    model.blocks[1] = nn.Identity()
    model.blocks.append(Block(32))
    seen = {n.scope for n in node_of(model(x)).inputs}
    assert "head" in seen
    assert forward_scope(backward_scope("head")) == forward_scope(backward_scope(backward_scope("head")))
    assert forward_scope(backward_scope("head")) == ("head", True)
    assert forward_scope(backward_scope(None)) == (None, True)
    assert forward_scope("head") == ("head", False)


def test_renamed_modules():
    """A module that takes another's place goes by its new name."""
    model = nn.Sequential(nn.Linear(3, 3), nn.ReLU(), nn.Linear(3, 3))
    x = plait.ones(1, 3)

    def scope():
        return node_of(model(x)).scope

    assert scope() == "2"
    model.append(nn.Tanh())
    assert scope() == "3"


def test_nothing_is_recorded_outside():
    f = plait.jit(lambda a: a * 2 + 1)
    x = plait.ones(1000)
    f(x)
    with plait.profile() as p:
        f(x)
    calls = sum(k.calls for k in p.kernels)
    f(x)
    assert calls == sum(k.calls for k in p.kernels) == 1
    assert launch._watcher is None and not collector.logs and not collector.runs
    ((entry,),) = f._entries.values()
    assert entry.program.program._words[LOG_WORD] == 0
    assert "log" not in plain_walk(executor._WALK) and "@log_end" in logging_walk(executor._WALK)
    with plait.profile() as empty:
        pass
    assert empty.kernels == [] and empty.programs == [] and "0 programs" in repr(empty)


def test_nested_and_repeated():
    f = plait.jit(lambda a: plait.sin(a))
    x = plait.ones(1000)
    f(x)
    with plait.profile() as outer:
        f(x)
        with plait.profile() as inner:
            f(x)
            f(x)
        f(x)
    assert outer.kernels[0].calls == 4 and inner.kernels[0].calls == 2
    assert len(inner.spans) < len(outer.spans) and inner.seconds < outer.seconds
    with outer:
        f(x)
    assert outer.kernels[0].calls == 1
    with outer, pytest.raises(errors.ArgumentError, match="running already"), outer:
        pass


def test_exceptions():
    """An exception ends the profile; what ran before counts."""
    f = plait.jit(lambda a: plait.cos(a))
    x = plait.ones(1000)
    f(x)
    p = plait.profile()

    def stop():
        f(x)
        raise ValueError("half way")

    with pytest.raises(ValueError, match="half way"), p:
        stop()
    assert p.kernels[0].calls == 1 and launch._watcher is None

    def fail(a):
        raise ValueError("in the callback")

    with plait.profile() as q, pytest.raises(ValueError, match="in the callback"):
        plait.pure_callback(fail, plait.ones(2), plait.ones(2)).numpy()
    assert len(q.programs) == 1


def test_loops_and_callbacks():
    """Every turn of a loop counts though the events have no room for all; calls of the host are named."""
    length = MOST_EVENTS
    f = plait.jit(lambda a: plait.scan(lambda c, _: (c * 0.5 + 1, None), a, None, length=length)[0])
    x = plait.ones(4)
    f(x)
    with plait.profile() as p:
        f(x)
    body = next(k for k in p.kernels if "mul" in k.name)
    assert body.calls == length and len(p.spans) == MOST_EVENTS

    def twice(a):
        time.sleep(2e-3)
        return np.asarray(a) * 2

    with plait.profile() as p:
        plait.pure_callback(twice, plait.ones(2), plait.ones(2)).numpy()
    host = next(k for k in p.kernels if k.name.startswith("host"))
    assert host.calls == 1 and host.seconds >= 2e-3


def test_programs_inside_of_programs():
    """A function of the host that runs a program: its time counts once."""
    inner = plait.jit(lambda a: plait.sin(a))
    x = plait.ones(1 << 16)
    inner(x)

    def outer(a):
        return inner(x).numpy()[:2]

    with plait.profile() as p:
        plait.pure_callback(outer, plait.ones(2), plait.ones(2)).numpy()
    assert len(p.programs) == 2 and p.program_seconds <= p.seconds
    assert p.program_seconds == pytest.approx(max(end - begin for begin, end in p.programs))


def test_compiling_and_python():
    f = plait.jit(lambda a: plait.exp(a) + 7)
    with plait.profile() as p:
        f(plait.ones(5))
        time.sleep(0.02)
    assert p.compilations >= 1 and 0 < p.compile_seconds < p.seconds
    assert p.python_seconds >= 0.02


def test_eager_work_has_lines():
    a = plait.randn(64, 64)
    a.numpy()
    with plait.profile() as p:
        (a @ a).numpy()
        line = this_line(-1)
    kernel = next(k for k in p.kernels if k.name == "matmul")
    assert kernel.line == line and kernel.module is None


def test_lookups_count_what_they_read():
    """A lookup of a few rows of a large table does not count the table."""
    table, rows = plait.randn(100_000, 16), plait.tensor([1, 5, 7])
    f = plait.jit(lambda t, i: t[i])
    f(table, rows)
    with plait.profile() as p:
        f(table, rows)
    assert sum(k.nbytes for k in p.kernels) < 10_000


def test_more_threads_meanwhile():
    """Setting the number of threads inside a block loses no runs."""
    before = plait.get_num_threads()
    x = plait.randn(256, 256)
    f = plait.jit(lambda a: a @ a)
    f(x).numpy()
    try:
        with plait.profile() as p:
            f(x)
            plait.set_num_threads(before + 2)
            f(x)
            plait.set_num_threads(1)
            f(x)
    finally:
        plait.set_num_threads(before)
    assert p.kernels[0].calls == 3
    assert {s.thread for s in p.spans} >= {before, before + 1}


def test_other_threads():
    """What another thread runs counts."""
    f = plait.jit(lambda a: a - 1)
    x = plait.ones(100)
    f(x)
    with plait.profile() as p:
        worker = threading.Thread(target=lambda: f(x))
        worker.start()
        worker.join()
    assert p.kernels[0].calls == 1


def test_trace(product, tmp_path):
    """The trace has what the format asks for, a row for each thread, and the memory."""
    product.save_trace(tmp_path / "trace.json")
    trace = json.loads((tmp_path / "trace.json").read_text())
    complete = [e for e in trace["traceEvents"] if e["ph"] == "X"]
    assert all({"name", "ph", "ts", "dur", "pid", "tid", "args"} <= e.keys() and e["dur"] >= 0 for e in complete)
    kernels = [e for e in complete if e["name"] == "matmul+tanh"]
    assert {e["tid"] for e in kernels} == {t + 1 for t in range(plait.get_num_threads())}
    assert all("test_profile.py:" in e["args"]["line"] for e in kernels)
    programs = [e for e in complete if e["name"] == "program"]
    assert len(programs) == 30
    slack = 50.0  # microseconds by which the two clocks may disagree
    for event in [e for e in kernels if e["tid"] == 1]:
        assert any(
            p["ts"] - slack <= event["ts"] and event["ts"] + event["dur"] <= p["ts"] + p["dur"] + slack
            for p in programs
        )
    names = {e["args"]["name"] for e in trace["traceEvents"] if e["ph"] == "M" and e["name"] == "thread_name"}
    assert {"programs", "thread 0"} <= names
    counters = [e for e in trace["traceEvents"] if e["ph"] == "C"]
    assert len(counters) == 30 and all(e["args"]["bytes in use"] > 0 for e in counters)


def test_tensorboard(product, tmp_path):
    """TensorBoard's own reader finds the numbers and the table."""
    reader = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    product.save_tensorboard(tmp_path)
    found = reader.EventAccumulator(str(tmp_path))
    found.Reload()
    tags = found.Tags()
    events = {tag: found.Tensors(tag) if tag in tags["tensors"] else found.Scalars(tag) for tag in
              [*tags["scalars"], *tags["tensors"]]}  # fmt: skip
    assert events["profile/seconds"][0].value == pytest.approx(product.seconds, rel=1e-6)
    assert any(tag.startswith("kernel_ms/matmul+tanh") for tag in events)
    assert len(events["memory/used_bytes"]) >= 1
    text = events["profile/text_summary"][0].tensor_proto.string_val[0].decode()
    assert "matmul+tanh" in text


def test_memory_over_time():
    """The peak is that of the run that needs most, and its temporary is named."""
    f = plait.jit(lambda a: plait.cumsum(plait.sort(a * 2)[0], 0).sum())
    small, large = plait.ones(1000), plait.ones(1 << 20)
    f(small), f(large)
    with plait.profile() as p:
        f(small)
        f(large)
        f(small)
    assert len(p.memory.over_time) == 3
    assert p.memory.peak_bytes == max(nbytes for _, nbytes in p.memory.over_time) >= 8 << 20
    assert any(h.kind == "temporary" and h.nbytes == 4 << 20 for h in p.memory.holders)
    sizes = [h.nbytes for h in p.memory.holders]
    assert sizes == sorted(sizes, reverse=True)
    assert "peak memory" in repr(p)


def test_machine():
    best = machine()
    assert 1e9 < best.flops < 1e15
    assert all(1e8 < rate < 1e14 for _, rate in best.bandwidths)
    assert best.floor(best.flops, 0) == pytest.approx(1) and best.floor(best.flops, 0, width=8) == pytest.approx(2)
    assert best.floor(0, 1e9) > best.floor(0, 1e6) > 0


# memory_report


def test_report_is_the_plan():
    """The peak is the arena, the inputs and the outputs of the program that `jit` runs, and nothing runs."""
    model = Model(64)
    x = plait.randn(256, 64)
    runs = []
    report = plait.memory_report(lambda a: (runs.append(1), model(a))[1], x)
    assert report.peak_bytes == report.arena_bytes + report.input_bytes + report.output_bytes
    parameters = sum(p.numel() for p in model.parameters()) * 4
    assert report.input_bytes == parameters + 256 * 64 * 4
    assert report.output_bytes == 256 * 4 * 4
    assert report.arena_bytes >= max(h.nbytes for h in report.temporaries) >= 256 * 64 * 4
    assert sum(h.nbytes for h in report.temporaries) <= report.arena_bytes

    step = plait.jit(model)
    with plait.no_grad():
        found = plait.memory_report(step, x)
        step(x)
    ((entry,),) = step._entries.values()
    plan = entry.program.plan
    assert found.arena_bytes == plan.arena
    assert found.input_bytes == sum(v.nbytes for v in plan.inputs)
    assert found.output_bytes == sum(v.nbytes for v in plan.outputs)


def test_report_names_owners():
    model = Model(64)
    x = plait.randn(4096, 64)
    report = plait.memory_report(model, x)
    names = {h.name: h for h in report.inputs}
    assert names["blocks.0.mix.weight"].kind == "parameter" and names["blocks.0.mix.weight"].nbytes == 64 * 64 * 4
    assert names["args[0]"].kind == "input" and names["args[0]"].nbytes == x.nbytes
    largest = report.largest[0]
    assert largest.nbytes == 4096 * 64 * 4
    modules = {h.origin.module for h in report.temporaries}
    assert modules & {"blocks.0", "blocks.0.mix", "blocks.0.norm", "blocks.1", "blocks.1.mix", "blocks.1.norm"}
    assert all("test_profile.py:" in h.origin.line for h in report.temporaries)
    text = repr(report)
    assert text.startswith("peak ") and "temporar" in text


def test_report_changes_nothing():
    """State is as before, also where the function trains; new state shares the memory of the old."""
    model = Model()
    optimizer = plait.optim.SGD(model.parameters(), lr=0.1)

    def step(x):
        optimizer.zero_grad()
        loss = model(x).sum()
        loss.backward()
        optimizer.step()
        return loss.detach()

    before = [p.detach().numpy().copy() for p in model.parameters()]
    with plait.profile() as p:
        report = plait.memory_report(step, plait.ones(8, 32))
    assert not any("matmul" in k.name for k in p.kernels)
    for old, new in zip(before, model.parameters(), strict=True):
        np.testing.assert_array_equal(old, new.detach().numpy())
        assert new.grad is None
    assert report.output_bytes == 4
    assert any(h.kind == "gradient" for h in report.inputs)


def test_report_of_a_look_at_a_value():
    with pytest.raises(errors.AbstractValueError, match="plait.where"):
        plait.memory_report(lambda a: a if a.sum() > 0 else -a, plait.ones(3))
    with pytest.raises(errors.ArgumentTypeError, match="memory_report"):
        plait.memory_report(plait.ones(3))
