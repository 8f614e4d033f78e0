"""`Layer`: the base class of layers that call one function; its arguments are those of the layer."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from inspect import Parameter, Signature
from string import Formatter
from typing import Any, ClassVar

from plait.core.errors import ArgumentTypeError, message
from plait.nn.module import Module
from plait.tensor.tensor import Tensor


class Layer(Module):
    """A layer made of a function: what follows the operands of the function are the arguments of the constructor.

    The operands are the arguments of `forward`, one by default. A subclass names its function:

        class Hardshrink(Layer, function=hardshrink, shown="{lambd}"):

    Args of the class statement:
        function: the function; an argument `training` of it is the mode of the layer.
        arguments: names of the constructor's arguments in their order, by default all those after the operands.
        shown: what `repr` shows of them, a format string; `inplace` is added where it is true.
        buffers: names of arguments that are tensors and become buffers.
    """

    _function: ClassVar[Callable[..., Any]]
    _names: ClassVar[tuple[str, ...]]
    _passed: ClassVar[tuple[str, ...]]  # the names but `inplace`, which is passed where it is true
    _has_mode: ClassVar[bool]
    _shown: ClassVar[str] = ""
    _buffer_names: ClassVar[tuple[str, ...]] = ()
    __signature__: ClassVar[Signature]

    def __init_subclass__(
        cls, function: Callable[..., Any] | None = None, arguments: str | None = None, shown: str | None = None,
        buffers: str | None = None, **kwargs: Any,
    ) -> None:  # fmt: skip
        super().__init_subclass__(**kwargs)
        if shown is not None:
            cls._shown = shown
        if buffers is not None:
            cls._buffer_names = tuple(buffers.split())
        if function is None:
            return
        given = inspect.signature(function).parameters
        operands = [p for p in inspect.signature(cls.forward).parameters if p != "self"]
        names = [p for p in given if p != "training"][len(operands) :] if arguments is None else arguments.split()
        kind = Parameter.POSITIONAL_OR_KEYWORD
        cls._function = staticmethod(function)
        cls._has_mode = "training" in given
        cls._names = tuple(p for p in names if p not in ("size_average", "reduce"))
        cls._passed = tuple(p for p in cls._names if p != "inplace")
        cls.__signature__ = Signature([Parameter(p, kind, default=given[p].default) for p in names])
        cls.__doc__ = _documented(inspect.cleandoc(cls.__doc__ or ""), function, cls._names)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        try:
            bound = self.__signature__.bind(*args, **kwargs)
        except TypeError as error:
            text = f"{type(self).__name__} takes other arguments: {error}"
            raise ArgumentTypeError(message(text, None, f"{type(self).__name__}{self.__signature__}")) from None
        bound.apply_defaults()
        self._check(bound.arguments)
        for name in self._names:
            if name in self._buffer_names:
                self.register_buffer(name, bound.arguments[name])
            else:
                setattr(self, name, bound.arguments[name])

    def _check(self, given: dict[str, Any]) -> None:
        """Check the arguments of the constructor, or replace some; subclasses define it."""

    def forward(self, input: Tensor) -> Any:
        return self._call(input)

    def _call(self, *operands: Any) -> Any:
        members = self.__dict__
        options: dict[str, Any] = {}
        for name in self._passed:
            options[name] = members[name] if name in members else getattr(self, name)
        if self._has_mode:
            options["training"] = self.training
        if members.get("inplace"):
            options["inplace"] = True
        return self._function(*operands, **options)

    def extra_repr(self) -> str:
        text = self._shown.format_map(vars(self))
        fields = {field for _, field, _, _ in Formatter().parse(self._shown)}
        if "inplace" in self._names and "inplace" not in fields and self.__dict__["inplace"]:
            text = f"{text}, inplace=True" if text else "inplace=True"
        return text


def _documented(text: str, function: Callable[..., Any], names: tuple[str, ...]) -> str:
    """Return a class's text with the section on its arguments: the lines of the function's text about them."""
    described = argument_lines(function)
    lines = [line for name in names for line in described.get(name, [])]
    if not lines:
        return text
    summary, mark, example = text.partition("\n\nExample:")
    return "\n".join([summary, "", "Args:", *lines]) + mark + example


def argument_lines(function: Callable[..., Any]) -> dict[str, list[str]]:
    """Return the lines of a function's documentation about each argument."""
    _, _, rest = inspect.cleandoc(function.__doc__ or "").partition("\nArgs:\n")
    found: dict[str, list[str]] = {}
    name = ""
    for line in rest.partition("\n\n")[0].splitlines():
        if not line.startswith("     "):
            name = line.partition(":")[0].strip()
        found.setdefault(name, []).append(line)
    return found
