"""Wrong arguments: every public function names them at the call, and nothing is lost.

The example that a function documents gives a valid call; each of its arguments, and each one that it leaves out, is
replaced in turn by something wrong. A call may then work, or raise an error of plait that says what was received and
what was expected or how to fix it. Anything else is a `Failure`. All functions, some minutes:

    python -m plait.testing.misuse [--jobs N] [PATTERN...]
"""

from __future__ import annotations

import argparse
import contextlib
import doctest
import fnmatch
import inspect
import io
import multiprocessing
import re
import signal
import traceback
import warnings
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from math import nan
from typing import Any, NamedTuple

import numpy as np

import plait
from plait.core import tree
from plait.core.errors import InternalError, PlaitError
from plait.testing.surface import module_of, public_functions

Arguments = tuple[tuple[Any, ...], dict[str, Any]]
_SECONDS = 20
_KINDS = (plait.bool, plait.int64, plait.float32, plait.complex64, plait.float8_e4m3fn)
_COUNTS = (1.5, -1, -77, 77, nan, True)
_SETTINGS = ("nonsense", object(), None, (1,) * 9, [[1.0, 2.0], [3.0]], {"a": 1}, 2**70)
_PYTHON = re.compile(r"missing \d+ required|unexpected keyword|takes .*positional argument|multiple values for")
# what Python itself checks, or whose arguments may be anything
_LEFT_OUT = {"sync", "enable_grad", "no_grad", "set_num_threads", "fork_rng", "load", "save", "seed"}


class Failure(NamedTuple):
    """A wrong call that ended badly: how it was made, what happened, and where."""

    function: str
    call: str
    outcome: str
    place: str = ""

    def __str__(self) -> str:
        return f"{self.function}  {self.call}: {self.outcome}  {self.place}"


@dataclass
class Example:
    """A valid call of a function, by its documentation."""

    name: str
    function: Callable[..., Any]
    args: tuple[Any, ...] = field(repr=False)
    kwargs: dict[str, Any] = field(repr=False)


def examples(*patterns: str) -> Iterator[Example]:
    """Yield the example of each public function whose name matches, the same function once."""
    names = defaultdict(list)
    functions = {}
    for name, function in public_functions():
        names[id(function)].append(name)
        functions[id(function)] = function
    for key, function in functions.items():
        wanted = [n for n in names[key] if not patterns or any(fnmatch.fnmatch(n, p) for p in patterns)]
        if wanted and wanted[0].rpartition(".")[2] not in _LEFT_OUT:
            yield from _example(wanted[0], names[key], function)


def _example(shown: str, names: list[str], function: Callable[..., Any]) -> Iterator[Example]:
    """Run the documented example with a spy in the place of the function; yield its first call."""
    calls: list[Arguments] = []

    def spy(*args: Any, **kwargs: Any) -> Any:
        if not calls:
            calls.append(tree.map_(_copied, (args, kwargs)))
        return function(*args, **kwargs)

    source = doctest.DocTestParser().get_doctest(function.__doc__ or "", {"plait": plait, "np": np}, shown, None, 0)
    places = [(module_of(name.rpartition(".")[0]), name.rpartition(".")[2]) for name in names]
    for module, name in places:
        setattr(module, name, spy)
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            doctest.DocTestRunner(verbose=False).run(source, out=lambda text: None)
    finally:
        for module, name in places:
            setattr(module, name, function)
    for args, kwargs in calls:
        yield Example(shown, function, args, kwargs)


def _copied(leaf: Any) -> Any:
    return leaf.detach().clone() if isinstance(leaf, plait.Tensor) else leaf


# wrong values


def _in_place_of(value: Any) -> Iterator[tuple[str, Any]]:
    """Yield wrong values of an argument, and how they are called in a report."""
    for wrong in (*_SETTINGS, *_COUNTS):
        yield repr(wrong)[:30] if type(wrong) is not object else "object()", wrong
    if isinstance(value, plait.Tensor):
        yield from _tensors(value)
    else:
        yield "a vector", plait.tensor([0.5, 1.5])
        yield "a matrix of int64", plait.tensor([[1, 0], [0, 2], [1, 1]])
    if isinstance(value, (tuple, list)):
        kind = list if isinstance(value, list) else tuple
        yield "empty", kind()
        yield "twice as long", kind((*value, *value))
        for k, element in enumerate(value):
            for name, wrong in _in_place_of(element):
                yield f"[{k}] {name}", kind((*value[:k], wrong, *value[k + 1 :]))


def _tensors(x: plait.Tensor) -> Iterator[tuple[str, plait.Tensor]]:
    for dtype in _KINDS:
        if dtype is not x.dtype:
            yield dtype.name, x.to(dtype)
    yield "an axis more", x[None]
    yield "two axes more", x[..., None, None]
    for axis in range(x.ndim):
        if axis in (0, x.ndim - 1):
            yield f"without axis {axis}", x.take(plait.tensor([0]), axis).squeeze(axis) if x.shape[axis] else x.sum(axis)
            yield f"longer axis {axis}", plait.concatenate([x, x], axis=axis)
            yield f"empty axis {axis}", x.narrow(axis, 0, 0)
    yield "an array of objects", np.array([object()])  # type: ignore[misc]


def wrong_calls(example: Example) -> Iterator[tuple[str, Arguments]]:
    """Yield calls with one wrong argument each."""
    args, kwargs = example.args, example.kwargs
    for k, value in enumerate(args):
        for name, wrong in _in_place_of(value):
            yield f"argument {k}: {name}", ((*args[:k], wrong, *args[k + 1 :]), kwargs)
    for key, value in kwargs.items():
        for name, wrong in _in_place_of(value):
            yield f"{key}={name}", (args, {**kwargs, key: wrong})
    for key, default in _left_out(example).items():
        for name, wrong in _in_place_of(default):
            yield f"{key}={name}", (args, {**kwargs, key: wrong})
    yield "an unknown keyword", (args, {**kwargs, "nonsense": 1})
    yield "too many arguments", ((*args, *[1] * 20), kwargs)
    yield "no argument", ((), {})


def _left_out(example: Example) -> dict[str, Any]:
    """Return the optional arguments that the example does not pass, and their defaults."""
    try:
        signature = inspect.signature(example.function)
        bound = signature.bind(*example.args, **example.kwargs).arguments
    except (ValueError, TypeError):  # PyTorch's form of a function of two
        return {}
    kinds = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    return {n: p.default for n, p in signature.parameters.items() if p.kind in kinds and n not in bound}


# judging


def judge(example: Example, label: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Failure | None:
    """Make a wrong call; return how it failed, or None if it worked or was refused clearly."""
    inputs = [leaf for leaf in tree.leaves((example.args, example.kwargs)) if isinstance(leaf, plait.Tensor)]
    before = [x._array().tobytes() for x in inputs]
    stage = "at the call"
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()), _limit():
            warnings.simplefilter("ignore")
            result = example.function(*args, **kwargs)
            stage = "later"
            for leaf in tree.leaves(result):
                if isinstance(leaf, plait.Tensor):
                    leaf._array()
        return None
    except Exception as error:  # what else is raised is the question
        outcome = _fault(error, stage)
        place = _place(error)
    if outcome is None and before != [x._array().tobytes() for x in inputs]:
        outcome = "an input has changed"
    return None if outcome is None else Failure(example.name, label, outcome, place)


def _fault(error: Exception, stage: str) -> str | None:
    text = str(error).splitlines()[0][:200] if str(error) else ""
    shown = f"{type(error).__name__} {stage}: {text}"
    if stage == "later" or isinstance(error, InternalError):
        return shown
    if isinstance(error, PlaitError):
        whole = str(error)
        return None if "Received:" in whole and ("Expected:" in whole or "Fix:" in whole) else f"TEXT {shown}"
    return None if type(error) is TypeError and _PYTHON.search(text) else shown


def _place(error: Exception) -> str:
    frames = [f for f in traceback.extract_tb(error.__traceback__) if "/plait/" in f.filename and "misuse" not in f.filename]
    return " < ".join(f"{f.filename.rpartition('/plait/')[2]}:{f.lineno}" for f in frames[-1:-4:-1])


@contextlib.contextmanager
def _limit() -> Iterator[None]:
    def expired(*_: Any) -> None:
        raise TimeoutError(f"more than {_SECONDS} s")

    previous = signal.signal(signal.SIGALRM, expired)
    signal.alarm(_SECONDS)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, previous)


def check(example: Example, every: int = 1, offset: int = 0) -> tuple[int, list[Failure]]:
    """Make every `every`th wrong call of a function, then the valid one; return how many, and the failures."""
    found = []
    calls = list(wrong_calls(example))[offset % every :: every]
    for label, (args, kwargs) in calls:
        failure = judge(example, label, args, kwargs)
        found += [failure] if failure else []
    failure = judge(example, "the valid call, afterwards", example.args, example.kwargs)
    return len(calls), found + ([failure] if failure else [])


def _check_name(name: str) -> tuple[int, list[Failure]]:
    results = [check(example) for example in examples(name)]
    return sum(count for count, _ in results), [f for _, failures in results for f in failures]


def main() -> None:
    """Check the functions whose names match, and print the failures, those of one place together."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("patterns", nargs="*")
    parser.add_argument("--jobs", type=int, default=1)
    options = parser.parse_args()
    names = [example.name for example in examples(*options.patterns)]
    with multiprocessing.get_context("spawn").Pool(options.jobs, maxtasksperchild=50) as pool:
        results = pool.map(_check_name, names, chunksize=1)
    failures = [failure for _, found in results for failure in found]
    for failure in sorted(failures, key=lambda f: (f.place, f.outcome)):
        print(failure)
    print(Counter(f.outcome.split(":")[0] for f in failures))
    print(f"{len(names)} functions, {sum(count for count, _ in results)} wrong calls, {len(failures)} failures")


if __name__ == "__main__":
    main()
