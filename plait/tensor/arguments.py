"""Wrong types of arguments, named once a call has failed: a right call pays nothing for it.

Functions check what they can say more about (shapes, dtypes, ranges) themselves. What else their code stumbles over is
an error of Python about some inner detail; `explain` looks for the argument that does not match what the function
declares, and names that instead.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache, wraps
from inspect import Parameter, Signature, signature
from types import FunctionType, ModuleType
from typing import Any

import numpy as np

from plait.core.dtype import as_dtype
from plait.core.errors import ArgumentError, ArgumentTypeError, DTypeError, PlaitError, message
from plait.tensor.tensor import Tensor

_NUMBERS = (bool, int, float, complex, np.number, np.bool_)
_MOST = 1 << 63
_PYTHON = (TypeError, AttributeError, ValueError, LookupError, ArithmeticError, AssertionError)


def explain(function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any], error: Exception) -> None:
    """Raise an error that names the wrong argument of a call that failed by `error`; return if none is found."""
    declared = _signature(function)
    if isinstance(error, PlaitError) or not isinstance(error, _PYTHON) or declared is None:
        return
    try:
        given = declared.bind(*args, **kwargs).arguments
    except TypeError:
        return  # the names are wrong, or there are too few or too many: what Python says is clear
    passed = [(declared.parameters[n], v) for n, v in given.items() if v is not declared.parameters[n].default]
    takes_function = any("Function" in str(p.annotation) for p in declared.parameters.values())  # which may have failed
    for check in (_mismatch,) if takes_function else (_mismatch, _mismatch_of_text, _stored_only, _out_of_range):
        for parameter, value in passed:
            wrong = check(function, parameter, value)
            if wrong is not None:
                raise wrong from error
    for parameter, value in () if takes_function else passed:
        if any(f"'{type(v).__name__}'" in str(error) for v in (value, *_elements(value))):  # as Python names types
            expected = _documented(function).get(parameter.name) or "another type"
            raise _wrong_type(function, parameter.name, value, expected) from error


def guard(*namespaces: ModuleType) -> None:
    """Let the public functions of namespaces explain wrong arguments; those made by `both_names` do already.

    A function stays one object: its own module gets what the namespaces get.
    """
    for namespace in namespaces:
        names = vars(namespace)
        for name in names.get("__all__") or [n for n in names if not n.startswith("_")]:
            function = names[name]
            if isinstance(function, FunctionType) and not hasattr(function, "explains"):
                names[name] = made = _guarded(function)
                own = vars(sys.modules[function.__module__])
                own.update({key: made for key, value in own.items() if value is function})


@lru_cache(None)
def _guarded(function: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        try:
            return function(*args, **kwargs)
        except Exception as error:
            explain(call, args, kwargs, error)
            raise

    call.explains = True  # type: ignore[attr-defined]
    return call


@lru_cache(None)
def _signature(function: Callable[..., Any]) -> Signature | None:
    try:
        return signature(function)
    except (TypeError, ValueError):
        return None


# what an annotation accepts


def _is_integer(value: Any) -> bool:
    is_scalar = isinstance(value, (Tensor, np.ndarray)) and not value.ndim
    return isinstance(value, (int, np.integer)) or is_scalar and value.dtype.kind in "iub"


def _is_number(value: Any) -> bool:
    return isinstance(value, _NUMBERS) or isinstance(value, (Tensor, np.ndarray)) and not value.ndim


def _all(test: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, (tuple, list, range)) and all(test(v) for v in value)


def _is_tensor(value: Any) -> bool:
    return isinstance(value, Tensor) or isinstance(value, np.ndarray) and value.dtype.kind in "biufcV"


_INTEGERS = ("an integer or a sequence of integers", lambda v: _is_integer(v) or _all(_is_integer)(v))
_ACCEPTS: dict[str, tuple[str, Callable[[Any], bool]]] = {
    "int": ("an integer", _is_integer),
    "float": ("a number", _is_number),
    "complex": ("a number", _is_number),
    "bool": ("True or False", lambda v: isinstance(v, (int, np.bool_)) or _is_integer(v)),
    "str": ("a string", lambda v: isinstance(v, str)),
    "Tensor": ("a tensor", _is_tensor),
    "Parameter": ("a tensor", _is_tensor),
    "Function": ("a function", callable),
    "Callable[..., Any]": ("a function", callable),
    "Generator": ("a plait.Generator", lambda v: hasattr(v, "next_key")),
    "Sizes": _INTEGERS, "Axis": _INTEGERS, "Shape": _INTEGERS,
    "Sequence[int]": ("a sequence of integers", _all(_is_integer)),
    "tuple[int, ...]": ("a sequence of integers", _all(_is_integer)),
    "Sequence[float]": ("a sequence of numbers", _all(_is_number)),
    "Sequence[Any]": ("a sequence", lambda v: isinstance(v, (tuple, list)) or _is_tensor(v) and v.ndim > 0),
    "Mapping[str, Any]": ("a dict", lambda v: isinstance(v, dict)),
    "Sequence[Tensor]": ("a sequence of tensors", _all(_is_tensor)),
}  # fmt: skip


def _mismatch(function: Callable[..., Any], parameter: Parameter, value: Any) -> PlaitError | None:
    """Return the error of a value that the annotation of its parameter excludes."""
    name = parameter.name
    if name == "dtype" and value is not None:
        try:
            as_dtype(value)
        except DTypeError as error:
            return error
    words = []
    values = value if parameter.kind is Parameter.VAR_POSITIONAL else (value,)
    for part in str(parameter.annotation).split(" | "):
        if part == "None":
            words.append("None")
            values = [v for v in values if v is not None]
        elif part in _ACCEPTS:
            text, test = _ACCEPTS[part]
            words.append(text)
            values = [v for v in values if not test(v)]
        else:
            return None
    return _wrong_type(function, name, values[0], " or ".join(words)) if values else None


def _mismatch_of_text(function: Callable[..., Any], parameter: Parameter, value: Any) -> PlaitError | None:
    """Return the error of a value that the documentation excludes, or that is nothing to compute with."""
    text = _documented(function).get(parameter.name, "")
    values = value if parameter.kind is Parameter.VAR_POSITIONAL else (value,)
    tensor = any(word in text.split(";")[0].split() for word in ("tensor", "vector", "matrix", "image", "images"))
    tensor = tensor and not any(word in text for word in ("number", "sequence", "tensors", "None", "integers"))
    for v in values:
        strange = not all(isinstance(leaf, (*_NUMBERS, Tensor, np.ndarray, str)) for leaf in _leaves(v))
        named = isinstance(v, str) and not isinstance(parameter.default, str) and '"' not in text
        missing = v is None and parameter.default is not None and "None" not in text
        if strange and not callable(v) or named or missing or tensor and not _is_tensor(v):
            return _wrong_type(function, parameter.name, v, text or "a tensor or a number")
    return None


def _elements(value: Any) -> Sequence[Any]:
    return value if isinstance(value, (tuple, list)) else ()


def _leaves(value: Any) -> Iterator[Any]:
    if isinstance(value, (tuple, list)):
        for v in value:
            yield from _leaves(v)
    elif value is not None:
        yield value


def _stored_only(function: Callable[..., Any], parameter: Parameter, value: Any) -> PlaitError | None:
    """Return the error of an 8-bit float."""
    if isinstance(value, Tensor) and value.dtype.is_storage_only:
        text = f"{function.__name__} does not take 8-bit floats, which are storage only"
        return DTypeError(message(text, value.dtype.name, "a wider float", "convert with .to(plait.float32)"))
    return None


def _out_of_range(function: Callable[..., Any], parameter: Parameter, value: Any) -> PlaitError | None:
    """Return the error of a number that is too large, or not one."""
    for v in _leaves(value):
        if isinstance(v, (int, float)) and (not math.isfinite(v) or not -_MOST <= v < _MOST):
            text = f"{function.__name__}: {parameter.name} is out of range"
            return ArgumentError(message(text, value, "finite numbers below 2**63"))
    return None


def _wrong_type(function: Callable[..., Any], name: str, value: Any, expected: str) -> PlaitError:
    shown = value.aval if isinstance(value, Tensor) else repr(value)
    received = f"{type(value).__name__} ({str(shown)[:60]})"
    text = f"{function.__name__}: {name} is of a type that it does not take"
    return ArgumentTypeError(message(text, received, expected.rstrip(".")))


@lru_cache(None)
def _documented(function: Callable[..., Any]) -> dict[str, str]:
    """Return what the documentation says of each argument."""
    _, _, text = (function.__doc__ or "").partition("Args:\n")
    found: dict[str, str] = {}
    for line in text.partition("\n\n")[0].splitlines():
        name, colon, what = line.strip().partition(":")
        if colon and name.replace(", ", "").isidentifier():
            found.update(dict.fromkeys(name.split(", "), what.strip()))
        elif found:
            found[next(reversed(found))] += " " + line.strip()
    return found
