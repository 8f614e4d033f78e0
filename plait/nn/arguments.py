"""Checks of arguments that several layers share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from plait.core.dtype import DType, float32
from plait.core.errors import ArgumentError, ArgumentTypeError, DTypeError, ShapeError, message
from plait.tensor.shaping import as_operand
from plait.tensor.tensor import Tensor

Sizes = int | Sequence[int]


def tuple_of(value: Any, count: int, name: str, low: int = 1) -> tuple[int, ...]:
    """Return an integer, or a sequence of one or `count` of them, as a tuple of `count`; each is at least `low`.

    Raises:
        ArgumentError: another length, or a number below `low`.
        ArgumentTypeError: not integers.
    """
    values = (value,) if hasattr(value, "__index__") else value
    fix = f"pass one integer or {count} of them"
    if not isinstance(values, (tuple, list)) or not all(hasattr(v, "__index__") for v in values):
        raise ArgumentTypeError(message(f"{name} is an integer or a tuple of integers", repr(value), None, fix))
    if len(values) == 1:
        values = (values[0],) * count
    if len(values) != count or min(values) < low:
        raise ArgumentError(message(f"{name} does not fit", value, f"{count} integers of at least {low}", fix))
    return tuple([v.__index__() for v in values])


def positive(value: Any, name: str) -> int:
    """Return an integer of at least 1.

    Raises:
        ArgumentTypeError: it is no integer.
        ArgumentError: it is smaller than 1.
    """
    if not hasattr(value, "__index__"):
        raise ArgumentTypeError(message(f"{name} is an integer", repr(value), "an integer of at least 1"))
    if value < 1:
        raise ArgumentError(message(f"{name} is too small", value, "an integer of at least 1"))
    return int(value)


def probability(p: Any, name: str = "p") -> float:
    """Return a number between 0 and 1.

    Raises:
        ArgumentTypeError: it is no number.
        ArgumentError: it is out of range.
    """
    if not isinstance(p, (int, float)):
        raise ArgumentTypeError(message(f"{name} is a probability", repr(p), "a number between 0 and 1"))
    if not 0 <= p <= 1:
        raise ArgumentError(message(f"{name} is a probability", p, "a number between 0 and 1"))
    return float(p)


def floating(x: Any, name: str) -> Tensor:
    """Return the input of a layer as a tensor of real or complex floating-point numbers.

    Raises:
        DTypeError: it holds integers or bools.
        ArgumentTypeError: it is no tensor.
    """
    x = as_operand(x, name)
    if not x.dtype.is_inexact:
        fix = "convert with .to(plait.float32)"
        raise DTypeError(message(f"{name} takes floating-point input", x.dtype.name, "a float dtype", fix))
    return x


def numeric(x: Any, name: str) -> Tensor:
    """Return the input of a layer as a tensor of numbers, integers included.

    Raises:
        DTypeError: it holds bools.
        ArgumentTypeError: it is no tensor.
    """
    x = as_operand(x, name)
    if not (x.dtype.is_inexact or x.dtype.is_integer):
        fix = "convert with .to(plait.float32)"
        raise DTypeError(message(f"{name} takes numbers", x.dtype.name, "a dtype of numbers", fix))
    return x


def same_dtype(x: Tensor, weight: Tensor, name: str) -> None:
    """Raise `DTypeError` unless input and weight have one dtype."""
    if x.dtype is not weight.dtype:
        received = f"an input of {x.dtype.name}, a weight of {weight.dtype.name}"
        fix = f"convert the input with .to(plait.{weight.dtype.name}), or the module with module.to(...)"
        raise DTypeError(message(f"{name} takes input and weight of one dtype", received, None, fix))


def with_batch(x: Tensor, rank: int, name: str) -> tuple[Tensor, bool]:
    """Return [N, C, *spatial] of an input with or without a batch axis, and whether one was added.

    Raises:
        ShapeError: the input has another number of axes.
    """
    if x.ndim == rank + 2:
        return x, False
    if x.ndim == rank + 1:
        return x[None], True
    axes = ", ".join("DHW"[-rank:])
    expected = f"[N, C, {axes}], or [C, {axes}] without a batch"
    raise ShapeError(message(f"{name} takes {rank + 2} axes", f"shape {x.shape}", expected, "reshape the input"))


def widened(x: Tensor) -> Tensor:
    """Return 16-bit floats as float32, in which they are computed with; other tensors as they are."""
    return x.to(float32) if x.dtype.is_floating and x.dtype.bits < 32 else x


def narrowed(x: Tensor, dtype: DType) -> Tensor:
    """Return the result of `widened` operands in their `dtype`."""
    return x.to(dtype) if dtype.is_floating and dtype.bits < 32 else x


def reduced(losses: Tensor, reduction: str) -> Tensor:
    """Reduce elementwise losses by "mean", "sum" or "none".

    Raises:
        ArgumentError: another reduction.
    """
    check_reduction(reduction)
    return losses if reduction == "none" else losses.mean() if reduction == "mean" else losses.sum()


def check_reduction(reduction: str, *more: str) -> None:
    """Raise `ArgumentError` unless `reduction` is "mean", "sum", "none" or one of `more`."""
    if reduction not in ("mean", "sum", "none", *more):
        expected = ", ".join(f'"{name}"' for name in ("mean", "sum", *more)) + ' or "none"'
        raise ArgumentError(message("Unknown reduction", repr(reduction), expected))
