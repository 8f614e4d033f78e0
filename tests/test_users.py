"""What users of deep-learning frameworks get stuck on: one test for each of these pains, by its number."""

from __future__ import annotations

import gc
import os
import re
import subprocess
import sys
import warnings

import numpy as np
import pytest

import plait
from plait import nn
from plait.core.errors import AbstractValueError, LeakedTensorError, NonFiniteError, OutOfMemoryError, PlaitError
from plait.tensor import lazy

HERE = __file__
MEGABYTE = 1 << 20


def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.skipif(not os.path.exists("/proc/self/statm"), reason="reads /proc")
def test_row_04_a_lazy_graph_stays_bounded():
    """10^5 times `total += loss` keep resident memory flat, and no node waits for long."""
    loss = plait.tensor(0.5)

    def run(steps):
        total, most = plait.tensor(0.0), 0
        for _ in range(steps):
            total += loss * 1.5
            most = max(most, len(lazy.pending))
        return total.item(), most

    run(50_000)
    gc.collect()
    before = resident()
    total, most = run(100_000)
    gc.collect()
    assert total == 75_000 and most <= lazy.NODE_BUDGET + 256
    assert resident() - before < 8 * MEGABYTE  # the graph would be some 60


def test_row_07_out_of_memory_names_the_owners():
    kept = plait.ones((1024, 1024)) * 3
    kept.numpy()
    others = [(plait.ones((k + 1, 1000)) * 2).numpy() for k in range(12)]
    gc.collect()  # what other tests left must not make room
    plait.set_memory_limit(plait.memory_stats().live + MEGABYTE)
    try:
        with pytest.raises(OutOfMemoryError) as caught:
            (plait.ones((1 << 16, 1024)) * 2).numpy()
    finally:
        plait.set_memory_limit(None)
    assert len(others) == 12
    first, heading, *owners = str(caught.value).split("\n")
    assert " live and " in first and " cached" in first and re.search(r"Received: [\d,]{9,} bytes", first)
    assert heading.startswith("The largest of") and len(owners) == 10
    assert any(f"4,194,304 bytes  float32[1024,1024]  tensor  made at {HERE}:" in owner for owner in owners)


@pytest.mark.parametrize("where", ["forward", "backward", "compiled"])
def test_row_21_nans_are_found(where):
    def loss(x):
        return plait.sqrt(x) * 2

    x = plait.tensor([4.0, -1.0 if where == "forward" else 0.0])
    masked = plait.grad(lambda x: plait.where(x > 0, loss(x), 0.0).sum())
    run = {"forward": loss, "backward": masked, "compiled": plait.jit(masked)}[where]
    with pytest.raises(NonFiniteError) as caught, plait.debug.nans():
        run(x).numpy()
    derivative = "" if where == "forward" else "in the derivative (backward) of "
    assert f"{derivative or 'at '}{HERE}:{loss.__code__.co_firstlineno + 1}" in str(caught.value)
    assert "inputs float32[2] from" in str(caught.value)


def test_row_22_gradients_of_where():
    """A norm has a gradient at 0; where the branch left out has none, the second `where` of docs/debugging.md is it."""
    zero, x = plait.zeros(3), plait.tensor([0.0, 4.0])
    for norm in (plait.linalg.norm, lambda x: x.norm(), lambda x: plait.linalg.vector_norm(x, 3)):
        assert plait.grad(norm)(zero).tolist() == [0.0, 0.0, 0.0]
    for f, expected in ((plait.sqrt, 0.25), (plait.log, 0.25), (plait.rsqrt, -0.0625)):
        safe = plait.grad(lambda x, f=f: plait.where(x > 0, f(plait.where(x > 0, x, 1.0)), 0.0).sum())
        assert safe(x).tolist() == [0.0, expected] and plait.jit(safe)(x).tolist() == [0.0, expected]


def test_row_24_values_in_python():
    def f(x):
        return x * x if x > 0 else -x

    assert f(plait.tensor(3.0)).item() == 9.0
    assert plait.grad(f)(plait.tensor(3.0)).item() == 6.0
    with pytest.raises(AbstractValueError) as caught:
        plait.vmap(f)(plait.ones(3))
    text = str(caught.value)
    assert f"{HERE}:{f.__code__.co_firstlineno + 1}" in text and "argument x" in text and "plait.where" in text


@pytest.mark.parametrize("transform", ["jit", "vmap", "scan"])
def test_row_25_leaked_tensors_are_named(transform):
    kept = []

    def leaky(x):
        kept.append(x * 2)
        return x + 1

    run = {
        "jit": lambda: [plait.jit(leaky)(plait.ones(3)) for _ in range(2)],
        "vmap": lambda: plait.vmap(leaky)(plait.ones(3)),
        "scan": lambda: plait.scan(lambda c, x: (leaky(c), x), plait.tensor(0.0), plait.ones(3)),
    }[transform]
    run()
    for use in (lambda: (kept[0] + 1).numpy(), lambda: plait.jit(lambda y: y + kept[0])(plait.ones(3))):
        with pytest.raises(LeakedTensorError) as caught:
            use()
        text = str(caught.value)
        assert f"recorded at {HERE}:{leaky.__code__.co_firstlineno + 1} while {transform} recorded" in text
        assert "Fix: return it from" in text


def test_row_27_keys():
    a, b = plait.rand(3), plait.rand(3)
    assert a.tolist() != b.tolist()  # a stateful generator is the default
    key = plait.random.key(0)
    assert plait.random.normal(key).item() == plait.random.normal(key).item()
    with plait.debug.key_reuse():
        first, second = plait.random.split(key)
        plait.random.normal(first), plait.random.uniform(plait.random.fold_in(second, 1))
        with pytest.raises(PlaitError, match=rf"uses a key again.*{HERE}:\d+ by normal.*split"):
            plait.random.permutation(first, 4)


def test_row_28_mismatches_are_short():
    size = 100
    state = {f"layer{k}": {"w": plait.ones(1), "b": plait.ones(1)} for k in range(size)}

    def body(carry, _):
        return {name: v if name != "layer7" else {"w": v["w"]} for name, v in carry.items()}, None

    with pytest.raises(PlaitError) as caught:
        plait.scan(body, state, length=2)
    assert "['layer7']['b']: received nothing" in str(caught.value) and str(caught.value).count("layer") == 1
    with pytest.raises(PlaitError) as caught:
        plait.scan(lambda carry, _: ({name: v["w"] for name, v in carry.items()}, None), state, length=2)
    assert len(str(caught.value).split("\n")) <= 20 and "more" in str(caught.value)


@pytest.mark.parametrize(
    ("mistake", "words"),
    [
        (
            lambda: plait.ones((2, 3)) @ plait.ones((2, 3)),
            ["Received: shapes (2, 3) and (2, 3)", "axis of x (3) as long as axis 0 of y (2)", "Fix: "],
        ),
        (lambda: plait.ones((2, 3)) + plait.ones(2), ["Received: (2, 3) and (2,)", "Fix: "]),
        (lambda: nn.Linear(3, 4)(plait.ones((2, 5))), ["in_features=3", "shape (2, 5)", "Expected: size 3", "Fix: "]),
        (lambda: plait.ones((2, 3)).reshape(4), ["Received: (4,)", "shape (2, 3)", "Expected: 6 elements", "Fix: "]),
        (
            lambda: plait.concatenate([plait.ones((2, 3)), plait.ones((3, 2))]),
            ["Received: (2, 3) and (3, 2)", "equal sizes except on axis 0"],
        ),
        (
            lambda: nn.Conv2d(3, 8, 3)(plait.ones((1, 4, 9, 9))),
            ["in_channels=3", "shape (1, 4, 9, 9)", "Expected: size 3 on axis -3", "Fix: "],
        ),
        (
            lambda: nn.functional.cross_entropy(plait.ones((4, 3)), plait.zeros(5, dtype="int64")),
            ["shape (4, 3)", "shape (5,)", "Expected: a target of shape (4,)", "Fix: "],
        ),
        (lambda: plait.zeros(3)[7], ["Received: 7", "Expected: -3 to 2"]),
    ],
)
def test_row_30_shape_errors(mistake, words):
    """The error comes from the line of the mistake, eager and compiled, and says what was received and expected."""
    for run in (mistake, plait.jit(mistake)):
        with pytest.raises(PlaitError) as caught:
            run()
        assert all(word in str(caught.value) for word in ["Received: ", "Expected: ", *words])
        frames = [e for e in caught.traceback if str(e.path) == HERE]
        assert frames[-1].lineno + 1 == mistake.__code__.co_firstlineno


def test_row_34_checkpoint_composes():
    def layer(x, w):
        return plait.tanh(x @ w)

    def model(x, w, wrapped):
        return plait.scan(lambda c, _: (wrapped(c, w), None), x, length=3)[0].sum()

    x, w = plait.rand((5, 4)), plait.rand((4, 4))
    plain, saved = (lambda x, w, f=f: model(x, w, f) for f in (layer, plait.checkpoint(layer)))
    forms = {
        "grad": lambda f: plait.grad(f, 1)(x, w),
        "jit": lambda f: plait.jit(plait.grad(f, 1))(x, w),
        "vmap": lambda f: plait.vmap(plait.grad(f, 1), in_axes=(0, None))(x[:, None], w),
        "jvp": lambda f: plait.jvp(f, (x, w), (x, w))[1],
        "second": lambda f: plait.jvp(plait.grad(f, 1), (x, w), (x, w))[1],
    }
    for name, form in forms.items():
        np.testing.assert_allclose(form(saved).numpy(), form(plain).numpy(), rtol=2e-5, atol=1e-6, err_msg=name)


def test_row_35_float64_is_honoured():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        made = [
            plait.tensor([1.0], dtype=plait.float64), plait.ones(2, dtype="float64") * 2, plait.tensor(np.ones(2)),
            plait.arange(3, dtype=plait.float64).mean(), plait.rand(2, dtype=plait.float64), plait.ones(2).double(),
            plait.grad(lambda x: (x * x).sum())(plait.ones(2, dtype=plait.float64)),
            plait.jit(lambda x: plait.sin(x) @ x)(plait.ones(2, dtype=plait.float64)),
        ]  # fmt: skip
    assert all(x.dtype == plait.float64 for x in made)
    assert (plait.tensor(1.0, dtype=plait.float64) + 2.0**-40).item() == 1 + 2.0**-40


def test_row_26_static_arguments_are_compared_by_structure():
    @plait.jit
    def f(x, options):
        return x * options["scale"][0]

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        results = [f(plait.ones(2), {"scale": [k, {"deep": 1}]}).tolist() for k in (2.0, 2.0, 3.0)]
    assert results == [[2.0, 2.0], [2.0, 2.0], [3.0, 3.0]]
    assert sum(map(len, f._entries.values())) == 2


def test_imports_stay_quiet():
    """What debugging needs costs nothing until it is used: no signal handler, no thread."""
    code = (
        "import signal, threading; before = signal.getsignal(signal.SIGINT); import plait;"
        "plait.scan(lambda c, x: (c + x, x), plait.tensor(0.0), plait.ones(9))[0].item();"
        "assert signal.getsignal(signal.SIGINT) is before and threading.active_count() == 1"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
