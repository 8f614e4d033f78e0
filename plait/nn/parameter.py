"""Tensors that a module takes in when they are assigned to it: buffers, and what gets its shape from the first call."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from plait.core.errors import ArgumentError, message
from plait.tensor import lazy
from plait.tensor.autograd import no_grad
from plait.tensor.creation import empty, zeros
from plait.tensor.tensor import Parameter, Tensor, node_of, write

__all__ = ["Buffer", "Parameter", "UninitializedBuffer", "UninitializedParameter"]

_FIX = "call the model once with an input, or load a state dict, before"


class Buffer(Tensor):
    """A tensor that is a buffer of the module it is assigned to: state that is not trained.

    Args:
        data: the value, anything that `plait.tensor` takes.
        persistent: whether it is part of `state_dict`.

    Example:
        >>> layer = plait.nn.Identity()
        >>> layer.scale = plait.nn.Buffer([1.0])
        >>> layer.state_dict()
        {'scale': tensor([1.])}
    """

    __slots__ = ("persistent",)

    def __new__(cls, data: Any, *, persistent: bool = True) -> Buffer:
        buffer: Buffer = Tensor.__new__(cls, data)
        buffer.persistent = persistent
        return buffer


class Uninitialized(Tensor):
    """What uninitialized parameters and buffers share; `materialize` makes them what they stand for."""

    __slots__ = ()

    @property
    def shape(self) -> Any:
        """Not known yet: raises `ArgumentError`."""
        raise ArgumentError(message(f"The shape of an {type(self).__name__} is not known yet", fix=_FIX))

    def materialize(self, shape: Sequence[int], dtype: Any = None) -> None:
        """Become a parameter or buffer of this shape, in place; its values are not set.

        Raises:
            ArgumentError: while a function is staged.
        """
        if lazy.observing() is not None:
            text = "A lazy layer takes its shapes from its first call, which cannot be part of a compiled function"
            raise ArgumentError(message(text, fix="call the model once before plait.jit does"))
        node = node_of(empty(tuple(shape), dtype=dtype or self.dtype))
        self.__class__ = Parameter if isinstance(self, Parameter) else Tensor
        with no_grad():
            write(self, node)
        lazy.state.changed()

    def __repr__(self) -> str:
        return f"<{type(self).__name__}>"


class UninitializedParameter(Uninitialized, Parameter):
    """A parameter whose shape is found when its layer is called for the first time.

    Args:
        requires_grad: whether it is trained.
        device: "cpu".
        dtype: element type, float32 by default.

    Example:
        >>> plait.nn.LazyLinear(3).weight
        <UninitializedParameter>
    """

    __slots__ = ()

    def __new__(cls, requires_grad: bool = True, device: Any = None, dtype: Any = None) -> UninitializedParameter:
        return Tensor.__new__(cls, zeros(0, dtype=dtype), None, requires_grad)


class UninitializedBuffer(Uninitialized):
    """A buffer whose shape is found when its layer is called for the first time.

    Args:
        device: "cpu".
        dtype: element type, float32 by default.

    Example:
        >>> plait.nn.LazyBatchNorm1d().running_mean
        <UninitializedBuffer>
    """

    __slots__ = ()

    def __new__(cls, device: Any = None, dtype: Any = None) -> UninitializedBuffer:
        return Tensor.__new__(cls, zeros(0, dtype=dtype))
