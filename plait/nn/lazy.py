"""Lazy layers: the number of features or channels is that of the first input."""

from __future__ import annotations

import inspect
from inspect import Signature
from typing import Any, ClassVar

from plait.core.errors import ArgumentError, ArgumentTypeError, ShapeError, message
from plait.nn.conv import Conv1d, Conv2d, Conv3d, ConvTranspose1d, ConvTranspose2d, ConvTranspose3d
from plait.nn.linear import Linear
from plait.nn.module import Module
from plait.nn.normalization import BatchNorm1d, BatchNorm2d, BatchNorm3d, InstanceNorm1d, InstanceNorm2d, InstanceNorm3d
from plait.nn.parameter import Uninitialized, UninitializedBuffer, UninitializedParameter
from plait.tensor.autograd import no_grad
from plait.tensor.tensor import Tensor

__all__ = [
    "LazyBatchNorm1d", "LazyBatchNorm2d", "LazyBatchNorm3d", "LazyConv1d", "LazyConv2d", "LazyConv3d",
    "LazyConvTranspose1d", "LazyConvTranspose2d", "LazyConvTranspose3d", "LazyInstanceNorm1d", "LazyInstanceNorm2d",
    "LazyInstanceNorm3d", "LazyLinear",
]  # fmt: skip

_DOCUMENT = """A `{kind}` whose `{size}` is that of the first input; the other arguments are those of `{kind}`.

Its parameters are `UninitializedParameter`s until it is called, or a state dict is loaded.

Example:
    >>> layer = plait.nn.{name}({call})
    >>> layer(plait.zeros({shape})).shape, type(layer).__name__
    ({result}, '{kind}')
"""


class _Lazy(Module):
    """What the lazy layers share: the first call turns a layer into one of the class that it stands for."""

    cls_to_become: ClassVar[type[Module]]
    _axis: ClassVar[int]
    _size: ClassVar[str]
    __signature__: ClassVar[Signature]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        try:
            bound = self.__signature__.bind(*args, **kwargs)
        except TypeError as error:
            text = f"{type(self).__name__} takes other arguments: {error}"
            raise ArgumentTypeError(message(text, None, f"{type(self).__name__}{self.__signature__}")) from None
        bound.apply_defaults()
        self._given = bound.arguments
        like = self._made(self._given.get("groups", 1))
        self.__dict__.update({**vars(like), "_given": bound.arguments, self._size: 0})
        for name, value in self._parameters.items():
            if value is not None:
                self._parameters[name] = UninitializedParameter(dtype=value.dtype)
        for name, value in self._buffers.items():
            if value is not None and value.ndim:
                self._buffers[name] = UninitializedBuffer(dtype=value.dtype)

    def _made(self, size: int) -> Module:
        return self.cls_to_become(**{self._size: size}, **self._given)

    def has_uninitialized_params(self) -> bool:
        """Return whether the shape of a parameter or buffer is not known yet."""
        return any(isinstance(t, Uninitialized) for t in (*self._parameters.values(), *self._buffers.values()))

    def initialize_parameters(self, input: Tensor) -> None:
        """Give the parameters and buffers the shapes that fit an input, and their initial values."""
        if input.ndim < abs(self._axis) + (self._axis > 0):
            raise ShapeError(message(f"{type(self).__name__} takes more axes", f"an input of shape {input.shape}"))
        if self.has_uninitialized_params():
            layer = self._made(input.shape[self._axis])
            with no_grad():
                for own, made in ((self._parameters, layer._parameters), (self._buffers, layer._buffers)):
                    for name, value in own.items():
                        if isinstance(value, Uninitialized):
                            value.materialize(made[name].shape)
                            value.copy_(made[name])
        setattr(self, self._size, input.shape[self._axis])

    def reset_parameters(self) -> None:
        """Draw the parameters again, if there are any yet."""
        if not self.has_uninitialized_params():
            self.cls_to_become.reset_parameters(self)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if any(type(t) is Tensor and t.shape == (0,) for t in self._parameters.values()):
            text = f"A transform was given a {type(self).__name__} that has no parameters yet"
            raise ArgumentError(message(text, fix="call the model once with an input before"))
        self.initialize_parameters(*args, **kwargs)
        del self._given
        self.__class__ = self.cls_to_become
        self._changed()
        return self(*args, **kwargs)


def _lazy(kind: type[Module], size: str, axis: int, call: str, shape: str, result: str, **defaults: Any) -> Any:
    """Return the lazy class of a layer; `defaults` are those that differ."""
    name = f"Lazy{kind.__name__}"
    parameters = [p for p in inspect.signature(kind).parameters.values() if p.name != size]
    members = {
        "__module__": __name__, "cls_to_become": kind, "_axis": axis, "_size": size,
        "__signature__": Signature([p.replace(default=defaults.get(p.name, p.default)) for p in parameters]),
        "__doc__": _DOCUMENT.format(
            name=name, kind=kind.__name__, size=size, call=call, shape=shape, result=result
        ),
    }  # fmt: skip
    return type(name, (_Lazy, kind), members)


def _sized(*sizes: int) -> dict[str, str]:
    return {"shape": ", ".join(map(str, sizes)), "result": str(sizes)}


LazyLinear = _lazy(Linear, "in_features", -1, "3", "2, 5", "(2, 3)")
LazyConv1d, LazyConv2d, LazyConv3d = (
    _lazy(kind, "in_channels", -rank - 1, "4, 1", f"1, 2{', 3' * rank}", str((1, 4, *(3,) * rank)))
    for rank, kind in enumerate((Conv1d, Conv2d, Conv3d), 1)
)
LazyConvTranspose1d, LazyConvTranspose2d, LazyConvTranspose3d = (
    _lazy(kind, "in_channels", -rank - 1, "4, 1", f"1, 2{', 3' * rank}", str((1, 4, *(3,) * rank)))
    for rank, kind in enumerate((ConvTranspose1d, ConvTranspose2d, ConvTranspose3d), 1)
)
LazyBatchNorm1d, LazyBatchNorm2d, LazyBatchNorm3d = (
    _lazy(kind, "num_features", 1, "", **_sized(2, 4, *(3,) * rank))
    for rank, kind in enumerate((BatchNorm1d, BatchNorm2d, BatchNorm3d), 1)
)
LazyInstanceNorm1d, LazyInstanceNorm2d, LazyInstanceNorm3d = (
    _lazy(kind, "num_features", -rank - 1, "", **_sized(2, 4, *(3,) * rank), affine=True, track_running_stats=True)
    for rank, kind in enumerate((InstanceNorm1d, InstanceNorm2d, InstanceNorm3d), 1)
)
