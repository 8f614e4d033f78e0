"""Every public function is documented, and the example in its documentation is true."""

from __future__ import annotations

import doctest
import inspect
from types import SimpleNamespace

import numpy as np
import pytest

import plait
from plait import random, sampling
from plait.core import dtype
from plait.tensor import api

NAMES = [n for n in api.__all__ if callable(getattr(api, n))]
SAMPLERS = ["Generator", "manual_seed", "rand", "randn", "randint", "randperm", "bernoulli", "multinomial"]
DRAWS = [
    "key", "split", "fold_in", "bits", "uniform", "normal", "randint", "permutation", "bernoulli", "categorical"
]  # fmt: skip
CASES = {n: getattr(api, n) for n in NAMES}
CASES |= {f"random.{n}": getattr(random, n) for n in DRAWS} | {f"sampling.{n}": getattr(sampling, n) for n in SAMPLERS}


def _namespace():
    names = {**vars(dtype), **vars(plait), **{n: getattr(api, n) for n in api.__all__}}
    return SimpleNamespace(**{**names, "random": random, **{n: getattr(sampling, n) for n in SAMPLERS}})


@pytest.mark.parametrize("name", CASES)
def test_example(name):
    thing = CASES[name]
    assert thing.__doc__, f"{name} has no documentation"
    parser, runner = doctest.DocTestParser(), doctest.DocTestRunner(verbose=False)
    test = parser.get_doctest(inspect.cleandoc(thing.__doc__), {"plait": _namespace(), "np": np}, name, None, None)
    output: list[str] = []
    assert runner.run(test, out=output.append).failed == 0, "".join(output)
