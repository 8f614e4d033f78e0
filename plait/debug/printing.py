"""What values are inside compiled code: printed as it runs, or looked at in the debugger."""

from __future__ import annotations

import builtins
from typing import Any

from plait.core.errors import ArgumentTypeError, message
from plait.tensor import tokens
from plait.tensor.tensor import Tensor


def print(format: str, *args: Any, **kwargs: Any) -> None:
    """Print values each time that the program comes here, also inside of compiled code, loops and branches.

    What is printed comes in program order. Under `vmap` there is a line for each example; where a predicate differs
    between examples, both branches run and print for all of them. Derivatives print nothing again.

    Args:
        format: as for `str.format`, e.g. `"loss {:.3f} at {step}"`. Tensors are NumPy arrays there.
        *args: tensors, and any other values.
        **kwargs: more of them, by name.

    Raises:
        ArgumentTypeError: `format` is no string.

    Example:
        >>> @plait.jit
        ... def step(x):
        ...     y = x * 2
        ...     plait.debug.print("y is {}", y)
        ...     return y + 1
        >>> result = step(plait.tensor(3.0))
        y is 6.0
    """
    if not isinstance(format, str):
        fix = 'write e.g. plait.debug.print("x = {}", x)'
        raise ArgumentTypeError(message("debug.print takes a format", type(format).__name__, "a string", fix))
    _perform(_Print, format, tuple(kwargs), (*args, *kwargs.values()))


def breakpoint(*values: Any) -> None:
    """Stop in the debugger each time that the program comes here, also inside of compiled code, loops and branches.

    There, `values` holds NumPy arrays. It calls `sys.breakpointhook`, as `breakpoint()` of Python does.

    Args:
        *values: tensors, and any other values.

    Example:
        >>> import sys
        >>> sys.breakpointhook = lambda: None
        >>> plait.debug.breakpoint(plait.ones(3))
        >>> sys.breakpointhook = sys.__breakpointhook__
    """
    _perform(_Stop, "", (), values)


def _perform(kind: type[_Host], format: str, names: tuple[str, ...], values: tuple[Any, ...]) -> None:
    tensors = [v for v in values if isinstance(v, Tensor)]
    others = tuple([_PLACE if isinstance(v, Tensor) else v for v in values])
    tokens.perform(kind(format, names, others), tensors)


_PLACE: Any = type("_Place", (), {"__repr__": lambda _: "a tensor"})()


class _Host:
    """What Python does with the arrays of the tensors, and with the other values; equal if it does the same."""

    def __init__(self, format: str, names: tuple[str, ...], values: tuple[Any, ...]) -> None:
        self.format, self.names, self.values = format, names, values
        self.key = (type(self), format, names, repr(values))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Host) and self.key == other.key

    def __hash__(self) -> int:
        return hash(self.key)

    def filled(self, arrays: tuple[Any, ...]) -> list[Any]:
        found = iter(arrays)
        return [next(found) if v is _PLACE else v for v in self.values]


class _Print(_Host):
    def __call__(self, *arrays: Any) -> None:
        values = self.filled(arrays)
        named = len(values) - len(self.names)
        builtins.print(self.format.format(*values[:named], **dict(zip(self.names, values[named:], strict=True))))


class _Stop(_Host):
    def __call__(self, *arrays: Any) -> None:
        values = self.filled(arrays)
        builtins.breakpoint()
        del values  # until here: the debugger shows them
