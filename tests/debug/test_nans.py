"""plait.debug.nans: the first operation that makes a NaN is named with its line, forward, backward and compiled."""

from __future__ import annotations

import inspect
import warnings

import numpy as np
import pytest

import plait
from plait.core.errors import NonFiniteError, PerformanceWarning

HERE = __file__


def line(offset=0):
    """This file and a line near that of the caller, as messages have them."""
    return f"{HERE}:{inspect.currentframe().f_back.f_lineno + offset}"


def error(function, **options):
    with pytest.raises(NonFiniteError) as caught, plait.debug.nans(**options):
        function()
    return str(caught.value)


def test_forward_names_operation_line_and_ranges():
    x = plait.tensor([-1.0, 2.0, 4.0])

    def run():
        y = plait.log(x)
        return (y + 1).sum().item()

    text = error(run)
    assert text.startswith("log made the first NaN (1 of 3 elements), at " + line(-4))
    assert "inputs float32[3] from -1 to 4; result float32[3] from 0.693147 to 1.38629, 1 NaN" in text


def test_error_is_a_floating_point_error():
    with pytest.raises(FloatingPointError), plait.debug.nans():
        plait.sqrt(plait.tensor(-1.0)).item()


def test_backward_names_the_line_of_the_forward():
    w = plait.Parameter([0.0, 1.0])

    def run():
        root = plait.sqrt(w)
        loss = plait.where(w > 0, root, 0.0).sum()
        loss.backward()
        return w.grad.numpy()

    assert "in the derivative (backward) of " + line(-5) in error(run)


def test_gradients_of_one_structure_have_their_own_lines():
    def first(x):
        return plait.where(x > 0, plait.sqrt(x), 0.0).sum()

    def second(x):
        return plait.where(x > 0, plait.sqrt(x), 0.0).sum()

    x = plait.tensor([0.0, 1.0])
    plait.grad(first)(x).numpy()
    assert f"backward) of {line(-4)}" in error(lambda: plait.grad(second)(x).numpy())


def test_infinity_that_becomes_a_nan_is_traced():
    def run():
        big = plait.exp(plait.tensor([100.0]))
        return (big - big).item()

    text = error(run)
    assert text.startswith("sub made the first NaN")
    assert f"the infinity among its inputs was made by exp, at {line(-5)}" in text


def test_jit_runs_op_by_op_and_keeps_its_program():
    @plait.jit
    def f(x):
        return plait.log(x) * 2

    good, bad = plait.tensor([1.0, 2.0]), plait.tensor([0.0 - 1.0, 2.0])
    before = f(good).tolist()
    f(bad)  # nothing is looked at outside the context
    assert f"at {line(-5)}" in error(lambda: f(bad))
    with plait.debug.nans():
        assert f(good).tolist() == before
    assert f(good).tolist() == before


def test_jitted_step_leaves_state_as_it_was():
    w = plait.Parameter([1.0, 4.0])

    @plait.jit
    def step(x):
        loss = plait.sqrt(w * x).sum()
        loss.backward()
        with plait.no_grad():
            w.sub_(0.1 * w.grad)
        w.grad = None
        return loss

    step(plait.ones(2))
    before = w.tolist()
    text = error(lambda: step(plait.tensor([-1.0, 1.0])))
    assert text.startswith("sqrt made the first NaN") and line(-10) in text
    assert w.tolist() == before
    with plait.debug.nans():
        step(plait.ones(2))
    assert w.tolist() != before


@pytest.mark.parametrize("jit", [False, True])
def test_scan_names_the_step(jit):
    def body(carry, x):
        carry = plait.sqrt(carry - x)
        return carry, carry

    def run(start):
        return plait.scan(body, start, plait.ones(5))[1].sum()

    run = plait.jit(run) if jit else run
    text = error(lambda: run(plait.tensor(3.0)).item())
    assert text.startswith("sqrt made the first NaN")
    assert f"at {line(-9)}, in step 2, in scan at {line(-5)}" in text


def test_while_and_cond():
    def run():
        def body(x):
            return plait.cond(x > -5, lambda x: x - 2, plait.sqrt, x)

        return plait.while_loop(lambda x: x < 10, body, plait.tensor(1.0)).item()

    text = error(run)
    assert text.startswith("sqrt made the first NaN") and "in cond at" in text and "in step 3, in while_loop at" in text


def test_gradient_of_scan():
    def loss(x):
        return plait.scan(lambda c, s: (plait.sqrt(c * s), None), x, plait.zeros(3))[0]

    text = error(lambda: plait.grad(loss)(plait.tensor(1.0)).item())
    assert "in the derivative (backward) of " + line(-3) in text and "in scan" in text


def test_what_came_in_is_named():
    x = plait.tensor([1.0, float("nan")])
    made = f"it was in a tensor that came in, at {line(-1)}"
    assert f"No operation made the NaN: {made}" in error(lambda: (x + 1).numpy())


def test_constants_and_what_a_where_leaves_out_are_no_error():
    x = plait.tensor([-1.0, 4.0])
    with plait.debug.nans():
        roots = plait.where(x > 0, plait.sqrt(x), 0.0).tolist()  # no assert: it would hold the inner result
        filled = plait.where(x > 0, x, float("nan")).tolist()
    assert roots == [0.0, 2.0]
    assert np.isnan(filled[0]) and filled[1] == 4.0


def test_infinities_on_demand():
    def run():
        return (1 / plait.tensor([0.0, 1.0])).tolist()

    with plait.debug.nans():
        assert run() == [float("inf"), 1.0]
    assert error(run, infs=True).startswith("div made the first infinity (1 of 2 elements), at " + line(-4))
    mask = plait.tensor([0.0, -float("inf")])
    with plait.debug.nans(infs=True):
        assert plait.softmax(plait.ones(2) + mask, 0).tolist() == [1.0, 0.0]


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float64", "complex64"])
def test_dtypes(dtype):
    x = plait.zeros(3, dtype=dtype)
    text = error(lambda: (x / x).numpy())
    assert text.startswith("div made the first NaN (3 of 3 elements)") and f"{dtype}[3]" in text


def test_split_functions_are_looked_at():
    @plait.jit
    def f(x):
        if x.sum() > 0:
            return plait.log(-x)
        return x

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", PerformanceWarning)
        assert "log made the first NaN (2 of 2 elements)" in error(lambda: f(plait.ones(2)).numpy())


def test_contexts_nest():
    with plait.debug.nans(infs=True):
        with plait.debug.nans():
            assert (1 / plait.zeros(1)).tolist() == [float("inf")]
        with pytest.raises(NonFiniteError):
            (1 / plait.zeros(1)).numpy()
    assert (1 / plait.zeros(1)).tolist() == [float("inf")]


def test_a_function_is_compiled_once_for_all_contexts():
    f = plait.jit(lambda x: x * 2)
    for _ in range(4):
        f(plait.ones(2))
        with plait.debug.nans():
            f(plait.ones(2))
    assert sum(map(len, f._entries.values())) == 2
