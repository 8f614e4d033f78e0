"""Groups of parameters: their options, in a form that compiled steps follow."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from plait.core.errors import ArgumentError, ArgumentTypeError, message
from plait.tensor import lazy
from plait.tensor.autograd import no_grad
from plait.tensor.tensor import Tensor

_NOT_NEGATIVE = ("lr", "weight_decay", "momentum", "eps")


class ParameterGroup(dict[str, Any]):
    """The parameters of a group ("params") and their options, a dict that can be written.

    The learning rate also lives in a tensor, which a compiled step reads as state: changing it recompiles nothing.
    Other options are part of the program; changing one compiles the step again.
    """

    def __init__(self, params: list[Tensor], options: Mapping[str, Any]) -> None:
        self.fixed: tuple[Any, ...] = ()
        self._rate = Tensor(np.zeros((), np.float64))
        super().__init__()
        super().__setitem__("params", params)
        self.update(options)

    def __setitem__(self, name: str, value: Any) -> None:
        check_option(name, value)
        super().__setitem__(name, value)
        if name == "lr" and not isinstance(value, Tensor):
            with no_grad():
                self._rate.fill_(value)
        else:
            self.fixed = tuple((k, v) for k, v in self.items() if k not in ("lr", "params"))
            lazy.state.epoch += 1

    def update(self, *args: Any, **kwargs: Any) -> None:  # type: ignore[override]
        """Set several options."""
        for name, value in dict(*args, **kwargs).items():
            self[name] = value

    def options(self) -> dict[str, Any]:
        """Return the options for a rule, with the learning rate as a tensor."""
        if lazy.state.observer is not None:
            lazy.state.observer.attribute_read(self, "fixed")
        rate = self["lr"] if isinstance(self["lr"], Tensor) else self._rate
        return {**self, "lr": rate}


def check_option(name: str, value: Any) -> None:
    """Check one option of an optimizer.

    Raises:
        ArgumentTypeError: it has another type.
        ArgumentError: it is out of range.
    """
    if isinstance(value, Tensor):
        if name != "lr" or value.ndim:
            text = f"{name} cannot be this tensor"
            raise ArgumentTypeError(message(text, value.aval, "a number; lr may be a rank-0 tensor"))
    elif name in _NOT_NEGATIVE:
        if not isinstance(value, (int, float)):
            raise ArgumentTypeError(message(f"{name} is a number", repr(value), "a number of at least 0"))
        if not 0 <= value < float("inf"):
            raise ArgumentError(message(f"{name} is out of range", value, "a finite number of at least 0"))
    elif name == "betas" and (len(value) != 2 or not all(0 <= beta < 1 for beta in value)):
        raise ArgumentError(message("betas are two numbers from 0 to below 1", value, None, "pass e.g. (0.9, 0.999)"))
