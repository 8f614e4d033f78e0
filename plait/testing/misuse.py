"""Wrong arguments: every public function names them at the call, and nothing is lost.

The example that a function documents gives a valid call; each of its arguments, and each one that it leaves out, is
replaced in turn by something wrong. A call may then work, or raise an error of plait that says what was received and
what was expected or how to fix it. Anything else is a `Failure`. All functions, some minutes:

    python -m plait.testing.misuse [--jobs N] [PATTERN...]
"""

from __future__ import annotations

import argparse
import contextlib
import fnmatch
import inspect
import io
import multiprocessing
import re
import signal
import traceback
import warnings
from collections import defaultdict
from collections.abc import Callable, Iterator
from math import nan
from typing import Any, NamedTuple

import numpy as np

import plait
from plait.core import tree
from plait.core.errors import InternalError, LinAlgError, PlaitError
from plait.testing.surface import documented_calls, public_functions

Arguments = tuple[tuple[Any, ...], dict[str, Any]]
_SECONDS = 20
_KINDS = (plait.bool, plait.int64, plait.float32, plait.complex64, plait.float8_e4m3fn)
_COUNTS = (1.5, -1, -77, 77, nan, True)
_SETTINGS = ("nonsense", object(), None, (1,) * 9, [[1.0, 2.0], [3.0]], {"a": 1}, 2**70)
_PYTHON = re.compile(
    r"missing \d+ required|unexpected keyword|takes .*positional argument|multiple values for"
    r"|too many positional|missing a required"
)
_RULE = re.compile(r"\b(takes?|needs?|must|names?|has|have|are|one|each|there is)\b", re.IGNORECASE)
_LEFT_OUT = {"sync", "enable_grad", "no_grad", "set_num_threads", "fork_rng", "load", "save", "seed", "pure_callback"}


class Failure(NamedTuple):
    """A wrong call that ended badly: how it was made, what happened, and where."""

    function: str
    call: str
    outcome: str
    place: str


class Example(NamedTuple):
    """A valid call of a function, by its documentation."""

    name: str
    function: Callable[..., Any]
    args: tuple[Any, ...]
    kwargs: dict[str, Any]


def examples(*patterns: str) -> Iterator[Example]:
    """Yield the example of each public function whose name matches, the same function once."""
    names = defaultdict(list)
    for name, function in public_functions():
        names[function].append(name)
    for function, own in names.items():
        wanted = [n for n in own if not patterns or any(fnmatch.fnmatch(n, p) for p in patterns)]
        if wanted and wanted[0].rpartition(".")[2] not in _LEFT_OUT:
            yield Example(wanted[0], function, *documented_calls(function)[0])


# wrong values


def _in_place_of(value: Any) -> Iterator[tuple[str, Any]]:
    """Yield wrong values of an argument, and how they are called in a report."""
    for wrong in (*_SETTINGS, *_COUNTS):
        yield repr(wrong)[:30], wrong
    others = ("a vector", plait.tensor([0.5, 1.5])), ("a matrix of int64", plait.tensor([[1, 0], [0, 2], [1, 1]]))
    yield from _tensors(value) if isinstance(value, plait.Tensor) else others
    if isinstance(value, (tuple, list)):
        kind = list if isinstance(value, list) else tuple
        yield "empty", kind()
        yield "twice as long", kind((*value, *value))
        for k, element in enumerate(value):
            for name, wrong in _in_place_of(element):
                yield f"[{k}] {name}", kind((*value[:k], wrong, *value[k + 1 :]))


def _tensors(x: plait.Tensor) -> Iterator[tuple[str, Any]]:
    for dtype in _KINDS:
        if dtype is not x.dtype:
            yield dtype.name, x.to(dtype)
    yield "an axis more", x[None]
    yield "two axes more", x[..., None, None]
    for axis in range(x.ndim):
        if axis in (0, x.ndim - 1):
            yield f"without axis {axis}", x.select(axis, 0) if x.shape[axis] else x.sum(axis)
            yield f"longer axis {axis}", plait.concatenate([x, x], axis=axis)
            yield f"empty axis {axis}", x.narrow(axis, 0, 0)
    yield "an array of objects", np.array([object()])


def wrong_calls(example: Example) -> Iterator[tuple[str, Arguments]]:
    """Yield calls with one wrong argument each."""
    args, kwargs = example.args, example.kwargs
    for k, value in enumerate(args):
        for name, wrong in _in_place_of(value):
            yield f"argument {k}: {name}", ((*args[:k], wrong, *args[k + 1 :]), kwargs)
    for key, value in (kwargs | _left_out(example)).items():
        for name, wrong in _in_place_of(value):
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


def judge(example: Example, label: str, call: Arguments, compute: bool = True) -> Failure | None:
    """Make a wrong call, and compute what it returns; return how it failed, or None if it worked or was refused."""
    args, kwargs = call
    inputs = [leaf for leaf in tree.leaves((example.args, example.kwargs)) if isinstance(leaf, plait.Tensor)]
    before = [x._array().tobytes() for x in inputs]
    stage = "at the call"
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()), _limit():
            warnings.simplefilter("ignore")
            result = example.function(*args, **kwargs)
            stage = "later"
            for leaf in tree.leaves(result) if compute and str(2**70) not in label else ():  # that may take for ever
                if isinstance(leaf, plait.Tensor):
                    leaf._array()
        return None
    except Exception as error:  # what else is raised is the question
        outcome, frames = _fault(error, stage, label), traceback.extract_tb(error.__traceback__)[-1:-4:-1]
        place = " < ".join(f"{f.filename.rpartition('/plait/')[2]}:{f.lineno}" for f in frames)
    if outcome is None and before != [x._array().tobytes() for x in inputs]:
        outcome = "an input has changed"
    return None if outcome is None else Failure(example.name, label, outcome, place)


def _fault(error: Exception, stage: str, label: str) -> str | None:
    text = str(error).splitlines()[0][:200] if str(error) else ""
    shown = f"{type(error).__name__} {stage}: {text}"
    if stage == "later" and not isinstance(error, LinAlgError) or isinstance(error, InternalError):
        return shown
    if isinstance(error, PlaitError):
        text = str(error)
        expected = "Expected:" in text or "Fix:" in text or _RULE.search(text.partition("Received:")[0])
        return None if expected and ("Received:" in text or "Fix:" in text) else f"TEXT {shown}"
    if traceback.extract_tb(error.__traceback__)[-1].filename.startswith("<doctest"):
        return None  # raised by a function of the user, who was given what the call says
    if isinstance(error, TimeoutError) and str(2**70) in label:
        return None  # endless work is what was asked for
    return None if type(error) is TypeError and _PYTHON.search(text) else shown


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


def check(
    example: Example, compute: bool = True, every: int = 1, offset: int = 0, afterwards: bool = True
) -> tuple[int, list[Failure]]:
    """Make every `every`th wrong call of a function, then the valid one; return how many, and the failures."""
    calls = list(wrong_calls(example))[offset % every :: every]
    found = [judge(example, label, call, compute) for label, call in calls]
    if afterwards:
        found.append(judge(example, "the valid call, afterwards", (example.args, example.kwargs)))
    return len(calls), [failure for failure in found if failure]


def _check_name(task: tuple[str, bool]) -> tuple[int, list[Failure]]:
    return check(next(examples(task[0])), compute=task[1])


def main() -> None:
    """Check the functions whose names match, and print the failures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("patterns", nargs="*")
    parser.add_argument("--jobs", type=int)
    parser.add_argument("--lazy", action="store_true", help="compute nothing: errors of the calls alone")
    options, calls, failures = parser.parse_args(), 0, 0
    tasks = [(example.name, not options.lazy) for example in examples(*options.patterns)]
    with multiprocessing.get_context("spawn").Pool(options.jobs) as pool:
        for count, found in pool.imap_unordered(_check_name, tasks):
            calls, failures = calls + count, failures + len(found)
            for failure in found:
                print(*failure, sep="  ", flush=True)
    print(f"{len(tasks)} functions, {calls} wrong calls, {failures} failures")


if __name__ == "__main__":
    main()
