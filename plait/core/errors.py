"""Errors: user mistakes and internal faults are different types; every message has received, expected, fix."""

from __future__ import annotations

import numpy


class PlaitError(Exception):
    """Base of every error that plait raises."""


class ShapeError(PlaitError, ValueError):
    """Shapes, axes or sizes that do not fit together."""


class AxisError(ShapeError, IndexError):
    """An axis that a tensor does not have, or an index of more axes than it has."""


class DTypeError(PlaitError, TypeError):
    """A dtype that the operation does not accept."""


class IndexOutOfRangeError(PlaitError, IndexError):
    """An index beyond the end of its axis."""


class ArgumentError(PlaitError, ValueError):
    """An argument value outside what the function accepts."""


class SharingError(ArgumentError, BufferError):
    """Memory cannot be shared with another library."""


class ArgumentTypeError(PlaitError, TypeError):
    """An argument of a type that the function does not accept."""


class AbstractValueError(PlaitError, TypeError):
    """Python looked at a value that is not known while a function is staged."""


class LeakedTensorError(AbstractValueError):
    """A tensor is used that a function stored outside while a transform recorded it: it has no value."""


class LinAlgError(PlaitError, numpy.linalg.LinAlgError):
    """A matrix for which the result does not exist: singular, not positive-definite, or without convergence."""


class MissingDependencyError(PlaitError, ImportError):
    """A function needs an optional package that is not installed."""


class GradientError(PlaitError, RuntimeError):
    """Automatic differentiation was asked for something undefined."""


class NonFiniteError(PlaitError, FloatingPointError):
    """An operation made a NaN or an infinity, while those are looked for: see `plait.debug.nans`."""


class OutOfMemoryError(PlaitError, MemoryError):
    """The system, or the limit that the user set, has no memory left for a buffer."""


class InternalError(PlaitError, RuntimeError):
    """A broken invariant inside plait: please report it."""


class CompileCountError(PlaitError, AssertionError):
    """More was compiled than `plait.assert_max_compiles` allows."""


class PerformanceWarning(UserWarning):
    """Something works, but slower than it could: the text says what to change."""


def check_function(function: object, what: str) -> None:
    """Raise `ArgumentTypeError` unless `function` can be called; `what` names who takes it."""
    if not callable(function):
        fix = "pass the function itself, e.g. f, not its result f(x)"
        raise ArgumentTypeError(message(f"{what} takes a function", type(function).__name__, "a callable", fix))


def message(what: str, received: object = None, expected: object = None, fix: str | None = None) -> str:
    """Build the text of an error: what happened, what was received and expected, and how to fix it."""
    parts = [what.rstrip(".") + "."]
    if received is not None:
        parts.append(f"Received: {received}.")
    if expected is not None:
        parts.append(f"Expected: {expected}.")
    if fix is not None:
        parts.append(f"Fix: {fix.rstrip('.')}.")
    return " ".join(parts)
