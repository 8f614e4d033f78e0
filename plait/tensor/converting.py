"""Conversions of dtype, and the real and complex views of each other."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from plait.core.dtype import as_dtype
from plait.core.errors import DTypeError, ShapeError, message
from plait.core.primitive import P
from plait.tensor.creation import check_device
from plait.tensor.families import both_names
from plait.tensor.operators import single
from plait.tensor.shaping import as_operand, clone
from plait.tensor.tensor import Tensor, make_view, wrap
from plait.tensor.views import step

__all__ = [
    "astype", "clone", "detach", "imag", "real",
    "view_as_complex", "view_as_real",
]  # fmt: skip


@both_names
def real(x: Any) -> Tensor:
    """Return a view of the real parts; a real tensor as it is.

    Example:
        >>> plait.real(plait.tensor([1.0 + 2.0j]))
        tensor([1.])
    """
    x = as_operand(x, "real")
    return make_view(x, step("real")) if x.dtype.is_complex else x


@both_names
def imag(x: Any) -> Tensor:
    """Return a view of the imaginary parts of a complex tensor; raises `DTypeError` for a real one.

    Example:
        >>> plait.imag(plait.tensor([1.0 + 2.0j]))
        tensor([2.])
    """
    return make_view(as_operand(x, "imag"), step("imag"))


@both_names
def view_as_real(x: Any) -> Tensor:
    """Return a view of a complex tensor as pairs of real numbers on a new last axis.

    Args:
        x: a complex tensor.

    Returns:
        A view: writing to it writes to `x`.

    Raises:
        DTypeError: `x` is not complex.

    Example:
        >>> plait.view_as_real(plait.tensor([1.0 + 2.0j]))
        tensor([[1., 2.]])
    """
    x = as_operand(x, "view_as_real")
    if not x.dtype.is_complex:
        raise DTypeError(message("view_as_real takes a complex tensor", x.dtype.name, "complex64 or complex128"))
    return make_view(x, step("as_real"))


@both_names
def view_as_complex(x: Any) -> Tensor:
    """Return a view of pairs of real numbers, on the last axis, as complex numbers.

    Args:
        x: a float32 or float64 tensor whose last axis has size 2.

    Returns:
        A view without the last axis: writing to it writes to `x`.

    Raises:
        ShapeError: the last axis has another size.
        DTypeError: there is no complex dtype of such parts.

    Example:
        >>> plait.view_as_complex(plait.tensor([[1.0, 2.0]]))
        tensor([1.+2.j])
    """
    x = as_operand(x, "view_as_complex")
    if not x.ndim or x.shape[-1] != 2:
        raise ShapeError(message("view_as_complex takes pairs on the last axis", f"shape {x.shape}", "(..., 2)"))
    return make_view(x, step("as_complex"))


@both_names
def detach(x: Any) -> Tensor:
    """Return a view of the same memory through which no gradient flows.

    Example:
        >>> plait.detach(plait.ones(2, requires_grad=True)).requires_grad
        False
    """
    return as_operand(x, "detach").detach()


def alias(x: Any) -> Tensor:
    """Return a view of all of `x`."""
    x = as_operand(x, "alias")
    return make_view(x, step("reshape", shape=x.shape))


@both_names
def astype(x: Any, dtype: Any, copy: bool = True, device: Any = None) -> Tensor:
    """Convert to another dtype.

    Floats become integers by truncation, complex numbers lose their imaginary part, anything becomes bool by != 0.

    Args:
        x: a tensor.
        dtype: the new element type.
        copy: with False, `x` itself is returned where it already has that dtype.
        device: "cpu".

    Returns:
        A tensor of the shape of `x`.

    Raises:
        DTypeError: `dtype` is no dtype.

    Example:
        >>> plait.astype(plait.tensor([1.7, -1.7]), plait.int32)
        tensor([ 1, -1], dtype=plait.int32)
    """
    check_device(device)
    wanted = as_dtype(dtype)
    node = single(x, "astype")
    if node.dtype is wanted:
        return clone(x) if copy else as_operand(x, "astype")
    return wrap(P.convert(node, dtype=wanted))


_DEVICES = ("cpu", "cuda", "mps", "xpu", "tpu", "meta")


def to(
    x: Tensor, *args: Any, dtype: Any = None, device: Any = None, non_blocking: bool = False, copy: bool = False,
    memory_format: Any = None, other: Tensor | None = None,
) -> Tensor:  # fmt: skip
    """Convert to the dtype (or to that of the tensor) among the arguments; the tensor itself if nothing changes.

    Args:
        x: a tensor.
        args: as in PyTorch `(dtype)`, `(device, dtype)` or `(other)`, then `non_blocking` and `copy`.
        dtype: the new element type.
        device: "cpu".
        non_blocking: without effect.
        copy: whether to copy also where nothing changes.
        memory_format: without effect: values are stored densely in row-major order.
        other: a tensor whose dtype is taken.

    Returns:
        A tensor.

    Raises:
        ArgumentError: an unknown device.
        DTypeError: an unknown dtype.

    Example:
        >>> plait.tensor([1.7]).to(plait.int64)
        tensor([1])
    """
    flags = [a for a in args if isinstance(a, bool)]
    copy = flags[1] if len(flags) > 1 else copy
    for argument in (*args, other):
        if isinstance(argument, Tensor):
            dtype = argument.dtype
        elif isinstance(argument, str) and argument.split(":")[0] in _DEVICES:
            device = argument
        elif argument is not None and not isinstance(argument, bool):
            dtype = argument
    return astype(x, x.dtype if dtype is None else dtype, copy, device)


def type(x: Tensor, dtype: Any = None, non_blocking: bool = False) -> Any:
    """Return the name of the dtype; or, given one, the tensor converted to it.

    Example:
        >>> plait.zeros(2).type(), plait.zeros(2).type(plait.int64)
        ('plait.float32', tensor([0, 0]))
    """
    return repr(x.dtype) if dtype is None else astype(x, dtype, copy=False)


def type_as(x: Tensor, other: Tensor) -> Tensor:
    """Convert to the dtype of another tensor.

    Example:
        >>> plait.tensor([1]).type_as(plait.zeros(1))
        tensor([1.])
    """
    return astype(x, other.dtype, copy=False)


def cpu(x: Tensor, memory_format: Any = None) -> Tensor:
    """Return the tensor: its value is on the CPU.

    Example:
        >>> plait.tensor([1]).cpu()
        tensor([1])
    """
    return x


def _conversion(name: str, dtype: str) -> Callable[..., Tensor]:
    wanted = as_dtype(dtype)

    def method(x: Tensor, memory_format: Any = None) -> Tensor:
        return astype(x, wanted, copy=False)

    method.__name__ = method.__qualname__ = name
    method.__doc__ = f"Convert to {dtype}: `x.{name}()` is `x.to(plait.{dtype})`."
    return method


def chalf(x: Tensor, memory_format: Any = None) -> Tensor:
    """Raise `DTypeError`: there are no complex numbers of two halves; use `cfloat()`, complex64."""
    text = "There is no complex32: complex numbers have parts of 32 or 64 bits"
    raise DTypeError(message(text, f"chalf() of a {x.dtype.name}", "complex64 or complex128", "use x.cfloat()"))


CONVERSIONS = {
    "float": "float32", "double": "float64", "half": "float16", "bfloat16": "bfloat16", "int": "int32",
    "long": "int64", "short": "int16", "char": "int8", "byte": "uint8", "bool": "bool", "cfloat": "complex64",
    "cdouble": "complex128",
}  # fmt: skip
METHODS = [to, type, type_as, cpu, chalf, *[_conversion(*item) for item in CONVERSIONS.items()]]
