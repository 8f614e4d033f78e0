"""Padding layers: elements added at both ends of spatial axes."""

from __future__ import annotations

from typing import ClassVar

from plait.core.errors import ArgumentError, ArgumentTypeError, message
from plait.nn.arguments import Sizes, with_batch
from plait.nn.functional.padding import pad
from plait.nn.module import Module
from plait.tensor.tensor import Tensor

__all__ = [
    "CircularPad1d", "CircularPad2d", "CircularPad3d", "ConstantPad1d", "ConstantPad2d", "ConstantPad3d",
    "ReflectionPad1d", "ReflectionPad2d", "ReflectionPad3d", "ReplicationPad1d", "ReplicationPad2d",
    "ReplicationPad3d", "ZeroPad1d", "ZeroPad2d", "ZeroPad3d",
]  # fmt: skip


class _Pad(Module):
    """What the padding layers share.

    Args:
        padding: how many elements are added at both ends, negative ones cut off: one integer, or a (before, after)
            pair for each axis, from the last one backwards.
    """

    _rank: ClassVar[int]
    _mode: ClassVar[str] = "constant"
    value: float = 0.0

    def __init__(self, padding: Sizes) -> None:
        values = [padding] * (2 * self._rank) if hasattr(padding, "__index__") else padding
        expected = f"one integer or {2 * self._rank}"
        if not isinstance(values, (tuple, list)) or not all(hasattr(v, "__index__") for v in values):
            raise ArgumentTypeError(message("padding is an integer or a tuple of integers", repr(padding), expected))
        if len(values) != 2 * self._rank:
            text = f"padding of {type(self).__name__} does not fit"
            raise ArgumentError(message(text, padding, expected, "pass (before, after) of each axis, the last first"))
        self.padding = tuple(int(v) for v in values)

    def forward(self, input: Tensor) -> Tensor:
        if self._mode == "constant":
            return pad(input, self.padding, value=self.value)
        with_batch(input, self._rank, type(self).__name__)
        return pad(input, self.padding, self._mode)

    def extra_repr(self) -> str:
        return str(self.padding)


class _ConstantPad(_Pad):
    def __init__(self, padding: Sizes, value: float) -> None:
        super().__init__(padding)
        self.value = value

    def extra_repr(self) -> str:
        return f"padding={self.padding}, value={self.value}"


class ConstantPad1d(_ConstantPad):
    """Adds a constant at both ends of the last axis.

    Args:
        padding: one integer, or a (before, after) pair; negative numbers cut off.
        value: what is added.

    Example:
        >>> plait.nn.ConstantPad1d(1, 7.0)(plait.tensor([[1.0, 2.0, 3.0]]))
        tensor([[7., 1., 2., 3., 7.]])
    """

    _rank = 1


class ConstantPad2d(_ConstantPad):
    """Adds a constant at both ends of the last two axes.

    Args:
        padding: one integer, or (before, after) of each axis, the last one first; negative numbers cut off.
        value: what is added.

    Example:
        >>> plait.nn.ConstantPad2d(1, 7.0)(plait.ones(1, 1, 2, 2)).shape
        (1, 1, 4, 4)
    """

    _rank = 2


class ConstantPad3d(_ConstantPad):
    """Adds a constant at both ends of the last three axes.

    Args:
        padding: one integer, or (before, after) of each axis, the last one first; negative numbers cut off.
        value: what is added.

    Example:
        >>> plait.nn.ConstantPad3d(1, 7.0)(plait.ones(1, 1, 2, 2, 2)).shape
        (1, 1, 4, 4, 4)
    """

    _rank = 3


class ZeroPad1d(_Pad):
    """Adds zeros at both ends of the last axis.

    Args:
        padding: one integer, or a (before, after) pair; negative numbers cut off.

    Example:
        >>> plait.nn.ZeroPad1d(1)(plait.tensor([[1.0, 2.0, 3.0]]))
        tensor([[0., 1., 2., 3., 0.]])
    """

    _rank = 1


class ZeroPad2d(_Pad):
    """Adds zeros at both ends of the last two axes.

    Args:
        padding: one integer, or (before, after) of each axis, the last one first; negative numbers cut off.

    Example:
        >>> plait.nn.ZeroPad2d(1)(plait.ones(1, 1, 2, 2)).shape
        (1, 1, 4, 4)
    """

    _rank = 2


class ZeroPad3d(_Pad):
    """Adds zeros at both ends of the last three axes.

    Args:
        padding: one integer, or (before, after) of each axis, the last one first; negative numbers cut off.

    Example:
        >>> plait.nn.ZeroPad3d(1)(plait.ones(1, 1, 2, 2, 2)).shape
        (1, 1, 4, 4, 4)
    """

    _rank = 3


class ReflectionPad1d(_Pad):
    """Adds the mirror image of the elements, without the edge at both ends of the last axis.

    Args:
        padding: one integer, or a (before, after) pair; negative numbers cut off.

    Example:
        >>> plait.nn.ReflectionPad1d(1)(plait.tensor([[1.0, 2.0, 3.0]]))
        tensor([[2., 1., 2., 3., 2.]])
    """

    _rank = 1
    _mode = "reflect"


class ReflectionPad2d(_Pad):
    """Adds the mirror image of the elements, without the edge at both ends of the last two axes.

    Args:
        padding: one integer, or (before, after) of each axis, the last one first; negative numbers cut off.

    Example:
        >>> plait.nn.ReflectionPad2d(1)(plait.ones(1, 1, 2, 2)).shape
        (1, 1, 4, 4)
    """

    _rank = 2
    _mode = "reflect"


class ReflectionPad3d(_Pad):
    """Adds the mirror image of the elements, without the edge at both ends of the last three axes.

    Args:
        padding: one integer, or (before, after) of each axis, the last one first; negative numbers cut off.

    Example:
        >>> plait.nn.ReflectionPad3d(1)(plait.ones(1, 1, 2, 2, 2)).shape
        (1, 1, 4, 4, 4)
    """

    _rank = 3
    _mode = "reflect"


class ReplicationPad1d(_Pad):
    """Repeats the element at the edge at both ends of the last axis.

    Args:
        padding: one integer, or a (before, after) pair; negative numbers cut off.

    Example:
        >>> plait.nn.ReplicationPad1d(1)(plait.tensor([[1.0, 2.0, 3.0]]))
        tensor([[1., 1., 2., 3., 3.]])
    """

    _rank = 1
    _mode = "replicate"


class ReplicationPad2d(_Pad):
    """Repeats the element at the edge at both ends of the last two axes.

    Args:
        padding: one integer, or (before, after) of each axis, the last one first; negative numbers cut off.

    Example:
        >>> plait.nn.ReplicationPad2d(1)(plait.ones(1, 1, 2, 2)).shape
        (1, 1, 4, 4)
    """

    _rank = 2
    _mode = "replicate"


class ReplicationPad3d(_Pad):
    """Repeats the element at the edge at both ends of the last three axes.

    Args:
        padding: one integer, or (before, after) of each axis, the last one first; negative numbers cut off.

    Example:
        >>> plait.nn.ReplicationPad3d(1)(plait.ones(1, 1, 2, 2, 2)).shape
        (1, 1, 4, 4, 4)
    """

    _rank = 3
    _mode = "replicate"


class CircularPad1d(_Pad):
    """Adds the elements of the other end at both ends of the last axis.

    Args:
        padding: one integer, or a (before, after) pair; negative numbers cut off.

    Example:
        >>> plait.nn.CircularPad1d(1)(plait.tensor([[1.0, 2.0, 3.0]]))
        tensor([[3., 1., 2., 3., 1.]])
    """

    _rank = 1
    _mode = "circular"


class CircularPad2d(_Pad):
    """Adds the elements of the other end at both ends of the last two axes.

    Args:
        padding: one integer, or (before, after) of each axis, the last one first; negative numbers cut off.

    Example:
        >>> plait.nn.CircularPad2d(1)(plait.ones(1, 1, 2, 2)).shape
        (1, 1, 4, 4)
    """

    _rank = 2
    _mode = "circular"


class CircularPad3d(_Pad):
    """Adds the elements of the other end at both ends of the last three axes.

    Args:
        padding: one integer, or (before, after) of each axis, the last one first; negative numbers cut off.

    Example:
        >>> plait.nn.CircularPad3d(1)(plait.ones(1, 1, 2, 2, 2)).shape
        (1, 1, 4, 4, 4)
    """

    _rank = 3
    _mode = "circular"
