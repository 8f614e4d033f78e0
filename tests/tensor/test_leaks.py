"""Leaked tensors: what a function stores outside while a transform records it is named where it is used."""

from __future__ import annotations

import gc

import pytest

import plait
from plait import nn
from plait.core.errors import AbstractValueError, LeakedTensorError


def leaked(use):
    with pytest.raises(LeakedTensorError) as caught:
        use()
    return str(caught.value)


def place(function, line):
    return f"{__file__}:{function.__code__.co_firstlineno + line}"


class Cached:
    """A plain object; writing an attribute of a module splits a jitted function instead."""

    def __init__(self):
        self.linear = nn.Linear(3, 3)
        self.last = None

    def __call__(self, x):
        self.last = self.linear(x)
        return self.last * 2


def test_attribute():
    model = Cached()
    run = plait.jit(lambda x: model(x))
    for _ in range(3):  # compiled, the Python code does not run again
        run(plait.ones((2, 3)))
    text = leaked(model.last.tolist)
    assert place(Cached.__call__, 1) in text and "while jit recorded" in text
    assert "runs without Python and stores nothing" in text and "written in place" in text


def test_what_is_computed_from_a_leak_names_the_leak():
    kept = []

    def body(x):
        kept.append(x - 1)
        return x

    plait.vmap(body)(plait.ones(3))
    result = (kept[0] * 2 + 1).sum()
    assert "recorded at " + place(body, 1) in leaked(result.item)
    assert "recorded at " + place(body, 1) in leaked(lambda: bool(result > 0))


@pytest.mark.parametrize("branch", [True, False])
def test_cond(branch):
    kept = []
    plait.cond(plait.tensor(branch), lambda x: kept.append(x * 2) or x, lambda x: x, plait.tensor(1.0))
    assert "while cond recorded" in leaked(lambda: float(kept[0]))


def test_loops():
    kept = []

    def body(x):
        kept.append(x + 1)
        return kept[-1]

    plait.while_loop(lambda x: x < 10, body, plait.tensor(0.0))
    plait.fori_loop(0, 3, lambda i, x: body(x), plait.tensor(0.0))
    assert "while while_loop recorded" in leaked(kept[0].item)
    assert "while scan recorded" in leaked(kept[-1].item)


def test_an_argument_itself():
    kept = []
    plait.jit(lambda x: (kept.append(x), x * 2)[1])(plait.ones(2))
    assert "leaked" in leaked(kept[0].numpy)


def test_into_another_jitted_function():
    kept = []
    first = plait.jit(lambda x: (kept.append(x * 2), x)[1])
    second = plait.jit(lambda x: x + kept[0])
    first(plait.ones(2))
    assert "was stored outside" in leaked(lambda: second(plait.ones(2)))
    assert "was stored outside" in leaked(lambda: plait.grad(lambda x: (x * kept[0]).sum())(plait.ones(2)).numpy())


def test_inner_transform_inside_jit():
    kept = []

    def outer(x):
        plait.vmap(lambda row: kept.append(row * 3) or row)(x)
        return x + kept[-1].sum()

    assert "while vmap recorded" in leaked(lambda: plait.jit(outer)(plait.ones(2)))


def test_values_that_are_known_do_not_leak():
    kept = []

    def outer(x):
        kept.append(plait.ones(2) * 3)  # depends on no argument
        return x

    plait.jit(outer)(plait.ones(2))
    assert kept[0].tolist() == [3.0, 3.0]
    plait.grad(lambda x: (kept.append(x * 2), x * x)[1])(plait.tensor(3.0))
    assert kept[1].item() == 6.0


def test_a_running_stage_is_no_leak():
    with pytest.raises(AbstractValueError) as caught:
        plait.jit(lambda x, options: x if options["gate"].sum() > 0 else -x, strict=True)(
            plait.ones(3), {"gate": plait.ones(2)}
        )
    assert type(caught.value) is AbstractValueError and "argument options['gate']" in str(caught.value)
    with pytest.raises(AbstractValueError, match=r"it depends on argument y.*in_axes=None"):
        plait.vmap(lambda x, y: x if y > 0 else -x)(plait.ones(3), plait.ones(3))
    with pytest.raises(AbstractValueError, match="depends on argument scale"):
        plait.vmap(lambda x, scale: x * float(scale))(plait.ones(3), scale=plait.ones(3))


def test_a_leak_keeps_no_function_alive():
    kept = []
    gc.collect()

    def make():
        big = bytearray(1)

        def body(x):
            kept.append(x * len(big))
            return x

        plait.vmap(body)(plait.ones(3))
        return body

    stage = (make(), kept[0]._node.extra)[1]
    assert stage.called is None and not stage.holders
