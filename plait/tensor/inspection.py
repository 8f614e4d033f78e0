"""What the Array API standard lets a program ask: the namespace, its dtypes and devices, and limits of dtypes."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from ml_dtypes import finfo as _numpy_finfo

from plait.core.dtype import (
    ALL,
    DType,
    as_dtype,
    bool_,
    complex64,
    complex128,
    float32,
    float64,
    int8,
    int16,
    int32,
    int64,
    promote,
    uint8,
    uint16,
    uint32,
    uint64,
)
from plait.core.errors import ArgumentError, DTypeError, message
from plait.tensor.tensor import Tensor

__all__ = [
    "__array_api_version__", "__array_namespace_info__", "can_cast", "e", "finfo", "iinfo", "inf",
    "isdtype", "nan", "newaxis", "pi",
]  # fmt: skip

__array_api_version__ = "2024.12"
_VERSIONS = ("2021.12", "2022.12", "2023.12", "2024.12", "2025.12")

e, inf, nan, pi, newaxis = np.e, np.inf, np.nan, np.pi, None

_KINDS: dict[str, tuple[DType, ...]] = {
    "bool": (bool_,),
    "signed integer": (int8, int16, int32, int64),
    "unsigned integer": (uint8, uint16, uint32, uint64),
    "real floating": tuple(d for d in ALL if d.is_floating),
    "complex floating": (complex64, complex128),
}
_KINDS["integral"] = _KINDS["signed integer"] + _KINDS["unsigned integer"]
_KINDS["numeric"] = _KINDS["integral"] + _KINDS["real floating"] + _KINDS["complex floating"]
_STANDARD = (bool_, *_KINDS["integral"], float32, float64, complex64, complex128)


def array_namespace(self: Tensor, /, *, api_version: str | None = None) -> Any:
    """Return the module `plait`: the namespace of the Array API standard (this is `Tensor.__array_namespace__`).

    Raises:
        ArgumentError: an unknown version of the standard.
    """
    if api_version not in (None, *_VERSIONS):
        text = "Unknown version of the Array API standard"
        raise ArgumentError(message(text, repr(api_version), "one of " + ", ".join(_VERSIONS)))
    return sys.modules[__name__.partition(".")[0]]


def to_device(self: Tensor, device: Any, /, *, stream: Any = None) -> Tensor:
    """Return the tensor: its value is on the CPU, the one device.

    Raises:
        ArgumentError: another device than "cpu".
    """
    _check_device(device)
    return self


def _check_device(device: Any) -> None:
    if device is not None and str(device).partition(":")[0] != "cpu":
        raise ArgumentError(message("Unknown device", repr(device), '"cpu"'))


class _Info:
    """Answers of the inspection API of the standard."""

    def capabilities(self) -> dict[str, Any]:
        """Return what the library can do; 64 is the largest number of axes that NumPy can exchange."""
        return {"boolean indexing": True, "data-dependent shapes": True, "max dimensions": 64}

    def default_device(self) -> str:
        """Return the device of new tensors."""
        return "cpu"

    def default_dtypes(self, *, device: Any = None) -> dict[str, DType]:
        """Return the dtypes of tensors made without one."""
        _check_device(device)
        return {"real floating": float32, "complex floating": complex64, "integral": int64, "indexing": int64}

    def dtypes(self, *, device: Any = None, kind: Any = None) -> dict[str, DType]:
        """Return the dtypes of the standard, those of a kind or of several kinds."""
        _check_device(device)
        return {d.name: d for d in _STANDARD if kind is None or isdtype(d, kind)}

    def devices(self) -> list[str]:
        """Return all devices."""
        return ["cpu"]


def __array_namespace_info__() -> _Info:  # noqa: N807
    """Return an object with the inspection functions of the Array API standard.

    Returns:
        An object with `capabilities`, `default_device`, `default_dtypes`, `devices` and `dtypes`.

    Example:
        >>> plait.__array_namespace_info__().default_device()
        'cpu'
    """
    return _Info()


def isdtype(dtype: Any, kind: str | DType | Sequence[Any]) -> bool:
    """Return whether a dtype is of a kind.

    Args:
        dtype: a dtype.
        kind: "bool", "signed integer", "unsigned integer", "integral", "real floating", "complex floating",
            "numeric"; a dtype; or a tuple of these, one of which must hold.

    Returns:
        A bool.

    Raises:
        ArgumentError: an unknown kind.

    Example:
        >>> plait.isdtype(plait.int8, ("integral", "bool"))
        True
    """
    wanted = as_dtype(dtype)
    kinds = kind if isinstance(kind, (tuple, list)) else (kind,)
    unknown = [k for k in kinds if isinstance(k, str) and k not in _KINDS]
    if unknown:
        raise ArgumentError(message("Unknown kind of dtype", repr(unknown[0]), ", ".join(_KINDS)))
    return any(wanted in _KINDS[k] if isinstance(k, str) else wanted is as_dtype(k) for k in kinds)


def can_cast(from_: Any, to: Any) -> bool:
    """Return whether promotion may turn one dtype into another: whether it holds every value of it.

    Args:
        from_: a dtype or a tensor.
        to: a dtype.

    Returns:
        A bool. (PyTorch also casts to smaller dtypes of the same kind.)

    Raises:
        DTypeError: no dtype.

    Example:
        >>> plait.can_cast(plait.int8, plait.int16), plait.can_cast(plait.float64, plait.float32)
        (True, False)
    """
    source, target = from_.dtype if isinstance(from_, Tensor) else as_dtype(from_), as_dtype(to)
    if source is target:
        return True
    try:
        return promote(source, target) is target
    except DTypeError:  # they have no common dtype
        return False


class FloatLimits(NamedTuple):
    """The limits of a floating-point dtype."""

    bits: int
    eps: float
    max: float
    min: float
    smallest_normal: float
    dtype: DType
    tiny: float
    resolution: float


class IntegerLimits(NamedTuple):
    """The limits of an integer dtype."""

    bits: int
    max: int
    min: int
    dtype: DType


def _dtype_of(value: Any) -> DType:
    return value.dtype if isinstance(value, Tensor) else as_dtype(value)


def finfo(type: Any = float32) -> FloatLimits:
    """Return the limits of a floating-point dtype; for a complex one, those of its parts.

    Args:
        type: a dtype or a tensor.

    Returns:
        A named tuple: bits, eps (the distance from 1 to the next number), max, min, smallest_normal (also as `tiny`),
        dtype, resolution.

    Raises:
        DTypeError: the dtype is of integers or bools.

    Example:
        >>> plait.finfo(plait.float16).max
        65504.0
    """
    dtype = _dtype_of(type)
    if not dtype.is_inexact:
        text = message("finfo takes a floating-point dtype", dtype.name, None, "use plait.iinfo")
        raise DTypeError(text)
    real = {complex64: float32, complex128: float64}.get(dtype, dtype)
    limits: Any = _numpy_finfo(real.numpy)  # type: ignore[no-untyped-call]
    return FloatLimits(
        bits=real.bits, eps=float(limits.eps), max=float(limits.max), min=float(limits.min),
        smallest_normal=float(limits.smallest_normal), dtype=real, tiny=float(limits.smallest_normal),
        resolution=float(limits.resolution),
    )  # fmt: skip


def iinfo(type: Any) -> IntegerLimits:
    """Return the limits of an integer dtype.

    Args:
        type: a dtype or a tensor.

    Returns:
        A named tuple: bits, max, min, dtype.

    Raises:
        DTypeError: the dtype is not of integers.

    Example:
        >>> plait.iinfo(plait.int8).max
        127
    """
    dtype = _dtype_of(type)
    if not dtype.is_integer:
        raise DTypeError(message("iinfo takes an integer dtype", dtype.name, None, "use plait.finfo"))
    limits = np.iinfo(dtype.numpy)
    return IntegerLimits(dtype.bits, int(limits.max), int(limits.min), dtype)


Tensor.__array_namespace__ = array_namespace  # type: ignore[attr-defined]
Tensor.to_device = to_device  # type: ignore[attr-defined]
