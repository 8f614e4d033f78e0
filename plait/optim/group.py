"""Groups of parameters: their options, in a form that compiled steps follow."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import inf
from types import SimpleNamespace
from typing import Any

import numpy as np

from plait.core.errors import ArgumentError, ArgumentTypeError, message
from plait.tensor import lazy
from plait.tensor.tensor import Tensor, overwrite

_LOWEST = {
    "lr": 0.0, "weight_decay": 0.0, "momentum": 0.0, "eps": 0.0, "alpha": 0.0, "lambd": 0.0, "t0": 0.0, "rho": 0.0,
    "lr_decay": 0.0, "initial_accumulator_value": 0.0, "momentum_decay": 0.0, "trust_coefficient": 0.0,
    "tolerance_grad": 0.0, "tolerance_change": 0.0, "d": 1.0,
}  # fmt: skip
_MOVING = ("lr", "momentum", "betas", "weight_decay")  # what schedulers change


class ParameterGroup(dict[str, Any]):
    """The parameters of a group ("params") and their options, a dict that can be written.

    The learning rate, and other numbers that a schedule has changed once, also live in tensors, which a compiled step
    reads as state: changing them recompiles nothing. Other options are part of the program.

    Args:
        params: the parameters.
        options: the options by name.
        changed: called after an option that is part of the program has changed.
    """

    _names: tuple[str, ...] = ()  # so while it is unpickled: options come first

    def __init__(self, params: list[Tensor], options: Mapping[str, Any], changed: Callable[[Any], None]) -> None:
        for name, value in options.items():
            check_option(name, value)
        super().__init__(options, params=params)
        self._names, self._changed = tuple(options), changed
        self._cells: dict[str, tuple[Tensor, ...]] = {}
        if _numbers("lr", options.get("lr")):
            self._move("lr")
        else:
            self._fix()

    def __setitem__(self, name: str, value: Any) -> None:
        if lazy.observing() is not None:
            text, fix = "An option of an optimizer cannot be set inside jit", "set it, or step the scheduler, outside"
            raise ArgumentError(message(text, f"{name}={value!r}", None, fix))
        check_option(name, value)
        old = self.get(name)
        super().__setitem__(name, value)
        if name not in self._names or value is old:
            return
        numbers = _numbers(name, value)
        if numbers and (name == "lr" or len(numbers) == len(_numbers(name, old))):
            if name in self._cells or value != old:
                self._move(name)
        else:
            self._cells.pop(name, None)
            self._fix()

    def update(self, *args: Any, **kwargs: Any) -> None:  # type: ignore[override]
        """Set several options."""
        for name, value in dict(*args, **kwargs).items():
            self[name] = value

    def _move(self, name: str) -> None:
        """Store an option in tensors of its own, from now on."""
        numbers = _numbers(name, self[name])
        if name not in self._cells:
            self._cells[name] = tuple([Tensor(np.array(n, np.float64)) for n in numbers])
            self._fix()
        for cell, number in zip(self._cells[name], numbers, strict=True):
            overwrite(cell, number)

    def _fix(self) -> None:
        """Note what compiled steps depend on."""
        fixed = [(n, self[n]) for n in self._names if n not in self._cells]
        self.fixed = (*self._cells, *[(n, id(v) if isinstance(v, Tensor) else v) for n, v in fixed])
        lazy.state.changed()
        self._changed(self)

    def options(self) -> SimpleNamespace:
        """Return the options for a rule; those that change without a new program are tensors."""
        if lazy.observing() is not None:
            lazy.state.observer.attribute_read(self, "fixed")
        options = SimpleNamespace(**{name: self[name] for name in self._names})
        for name, cells in self._cells.items():
            setattr(options, name, cells if name == "betas" else cells[0])
        return options


def _numbers(name: str, value: Any) -> tuple[float, ...]:
    """Return the numbers of an option that may live in tensors; none where a zero leaves out operations."""
    if name not in _MOVING:
        return ()
    values = value if isinstance(value, tuple) else (value,)
    return values if all(isinstance(v, (int, float)) and (v or name == "lr") for v in values) else ()


def check_option(name: str, value: Any) -> None:
    """Check one option of an optimizer.

    Raises:
        ArgumentTypeError: it has another type.
        ArgumentError: it is out of range.
    """
    if isinstance(value, Tensor):
        if name not in (*_MOVING, "params") or value.ndim:
            text = f"{name} cannot be this tensor"
            raise ArgumentTypeError(message(text, value.aval, "a number; lr may be a rank-0 tensor"))
    elif name in _LOWEST and not isinstance(value, tuple):
        low = _LOWEST[name]
        if not isinstance(value, (int, float)):
            raise ArgumentTypeError(message(f"{name} is a number", repr(value), f"a number of at least {low:g}"))
        if not low <= value < inf:
            raise ArgumentError(message(f"{name} is out of range", value, f"a finite number of at least {low:g}"))
    elif name == "betas" and (len(value) != 2 or not all(isinstance(b, Tensor) or 0 <= b < 1 for b in value)):
        raise ArgumentError(message("betas are two numbers from 0 to below 1", value, None, "pass e.g. (0.9, 0.999)"))
