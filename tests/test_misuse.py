"""Wrong arguments are refused clearly, at the call.

Of the wrong calls of every public function some are made here, without computing what those return that work; all of
them, computed: `python -m plait.testing.misuse`.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import plait
from plait.core import tree
from plait.core.errors import ArgumentError, ArgumentTypeError, DTypeError, InternalError, ShapeError
from plait.nn.functional import activation
from plait.testing import misuse

EVERY = 12


@pytest.fixture(scope="module")
def examples() -> list[misuse.Example]:
    return list(misuse.examples())


def test_every_public_function_refuses_wrong_arguments(examples: list[misuse.Example]) -> None:
    assert len(examples) > 600
    failures: list[misuse.Failure] = []
    calls = 0
    for k, example in enumerate(examples):
        count, found = misuse.check(example, compute=False, every=EVERY, offset=k, afterwards=False)
        failures += found
        calls += count
    assert calls > 3000
    assert not failures, f"{len(failures)} failures:\n" + "\n".join(map(str, failures))


def test_what_works_has_a_value_and_nothing_is_lost(examples: list[misuse.Example]) -> None:
    for example in examples[::60]:
        _, failures = misuse.check(example, every=EVERY)
        assert not failures, "\n".join(map(str, failures))


def test_recorded_operations_name_the_line_of_the_caller(examples: list[misuse.Example]) -> None:
    checked = 0
    for example in examples:
        if misuse.judge(example, "", (example.args, example.kwargs), compute=False) is None:
            for leaf in tree.leaves(example.function(*example.args, **example.kwargs)):  # the line that is named
                if isinstance(leaf, plait.Tensor) and leaf._node.value is None:
                    checked += 1
                    source = leaf._node.source
                    assert Path(__file__).name in source or "doctest" in source, (example.name, source)
    assert checked > 300


def wrong(x: object, n: int = 1, *, mode: str = "a", out: plait.Tensor | None = None) -> object:
    """Fail as told.

    Args:
        x: the error to raise, or a tensor.
        n: how many.
    """
    if isinstance(x, Exception):
        raise x
    return n + len(mode) + x.shape[5]  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("outcome", "error"),
    [
        ("InternalError", InternalError("broken. Received: 1. Expected: 2")),
        ("KeyError", KeyError("a")),
        ("IndexError", IndexError("a")),
        ("ZeroDivisionError", ZeroDivisionError("a")),
        ("TEXT ShapeError", ShapeError("No")),
        ("TypeError", TypeError("unsupported operand")),
        (None, ShapeError("No. Received: 1. Expected: 2")),
        (None, TypeError("wrong() missing 1 required positional argument: 'x'")),
    ],
)
def test_the_harness_tells_bad_outcomes(outcome: str | None, error: Exception) -> None:
    failure = misuse.judge(misuse.Example("wrong", wrong, (1,), {}), "x=error", ((error,), {}))
    assert (failure and failure.outcome.startswith(outcome)) if outcome else failure is None


def test_the_harness_sees_changed_inputs_and_late_errors() -> None:
    def changes(x: plait.Tensor) -> None:
        x += 1
        raise ShapeError("No. Received: 1. Expected: 2")

    def late(x: plait.Tensor) -> plait.Tensor:
        return plait.pure_callback(lambda a: a[:1], x, x)

    for function, outcome in ((changes, "an input has changed"), (late, "ShapeError later")):
        example = misuse.Example("f", function, (plait.ones(2),), {})
        failure = misuse.judge(example, "", (example.args, {}))
        assert failure is not None and failure.outcome.startswith(outcome)


F, v = plait.nn.functional, plait.tensor([1.0, 2.0, 3.0])


def cases() -> Iterator[tuple[object, type[Exception], str]]:
    yield lambda: plait.topk(v, "a"), ArgumentTypeError, r"topk: k .*Received: str \('a'\). Expected: an integer"
    yield lambda: plait.topk(v, 1.5), ArgumentTypeError, r"topk: k .*Received: float \(1.5\). Expected: an integer"
    yield lambda: plait.sum(v, 1.5), ArgumentTypeError, r"sum: axis .*Received: float \(1.5\). Expected: an integer or"
    yield lambda: plait.sum(v, dtype=v), DTypeError, r"Unknown dtype. Received: tensor"
    yield lambda: plait.stack(3), ArgumentTypeError, r"stack: tensors .*Received: int \(3\). Expected: a sequence"
    yield lambda: plait.add(v, v, alpha=[1]), ArgumentTypeError, r"add: alpha .*Received: list \(\[1\]\)"
    yield lambda: plait.add(v, v, alpha="1"), ArgumentTypeError, r"made of a number. Received: '1'"
    yield lambda: plait.rand(2, generator=3), ArgumentTypeError, r"rand: generator .*Expected: a plait.Generator"
    yield lambda: F.batch_norm(plait.ones(2, 3), 1.5, None), ArgumentTypeError, r"running_mean .*Expected: a tensor"
    yield lambda: F.layer_norm(v, "a"), ArgumentTypeError, r"layer_norm: normalized_shape .*Received: str \('a'\)"
    yield lambda: plait.sin(v, out=3), ArgumentTypeError, r"sin writes its results to out. Received: int"
    yield lambda: plait.sort(v, dim=0, out=(v,)), ArgumentTypeError, r"Received: 1 tensors. Expected: a tuple of 2"
    yield lambda: plait.ones(2**70), ShapeError, r"less than 2\*\*63 bytes"
    yield lambda: plait.full((2,), 2**70), ArgumentError, r"does not fit int64. Received: 1180591620717411303424"


@pytest.mark.parametrize(("call", "kind", "text"), list(cases()))
def test_texts(call: object, kind: type[Exception], text: str) -> None:
    with pytest.raises(kind, match=text):
        call()  # type: ignore[operator]


def test_errors_of_functions_that_the_user_passes_are_not_explained_away() -> None:
    def mistaken(x: plait.Tensor) -> plait.Tensor:
        return x + len(3)  # type: ignore[arg-type]

    with pytest.raises(TypeError, match="object of type 'int' has no len") as raised:
        plait.map(mistaken, {"a": v})
    assert type(raised.value) is TypeError


def test_guarded_functions_stay_one_object() -> None:
    assert plait.celu is F.celu is activation.celu and F.celu.__name__ == "celu"
    np.testing.assert_array_equal(F.celu(v).numpy(), v.numpy())
