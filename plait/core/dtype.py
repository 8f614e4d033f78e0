"""Data types and PyTorch's promotion rules."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np

from plait.core.errors import DTypeError, message


class DType:
    """One element type; compare with `is`.

    `kind` is one of "b" (bool), "i", "u", "f", "c"; `bits` counts one element; `compute` is the type that
    arithmetic runs in (float32 for the 8- and 16-bit floats).
    """

    __slots__ = ("name", "kind", "bits", "itemsize", "numpy", "compute", "is_storage_only", "__weakref__")

    def __init__(self, name: str, kind: str, bits: int, numpy: Any, is_storage_only: bool = False) -> None:
        self.name, self.kind, self.bits, self.itemsize = name, kind, bits, max(bits, 8) // 8
        self.numpy = np.dtype(numpy)
        self.compute: DType = self
        self.is_storage_only = is_storage_only

    def __repr__(self) -> str:
        return f"plait.{self.name}"

    def __reduce__(self) -> Any:
        return as_dtype, (self.name,)

    def __copy__(self) -> DType:
        return self

    def __deepcopy__(self, memo: Any) -> DType:
        return self

    @property
    def __numpy_dtype__(self) -> np.dtype[Any]:
        """What `np.dtype` makes of it."""
        result: np.dtype[Any] = self.numpy
        return result

    @property
    def is_floating(self) -> bool:
        """Whether this is a real floating-point type."""
        return self.kind == "f"

    @property
    def is_complex(self) -> bool:
        """Whether this is a complex type."""
        return self.kind == "c"

    @property
    def is_inexact(self) -> bool:
        """Whether this is a real or complex floating-point type."""
        return self.kind in "fc"

    @property
    def is_integer(self) -> bool:
        """Whether this is a signed or unsigned integer type (bool is not)."""
        return self.kind in "iu"

    @property
    def real(self) -> DType:
        """The type of the real part."""
        return {"complex64": float32, "complex128": float64}.get(self.name, self)


bool_ = DType("bool", "b", 1, np.bool_)
int8, int16, int32, int64 = (DType(f"int{b}", "i", b, f"int{b}") for b in (8, 16, 32, 64))
uint8, uint16, uint32, uint64 = (DType(f"uint{b}", "u", b, f"uint{b}") for b in (8, 16, 32, 64))
float16 = DType("float16", "f", 16, np.float16)
bfloat16 = DType("bfloat16", "f", 16, ml_dtypes.bfloat16)
float32 = DType("float32", "f", 32, np.float32)
float64 = DType("float64", "f", 64, np.float64)
complex64 = DType("complex64", "c", 64, np.complex64)
complex128 = DType("complex128", "c", 128, np.complex128)
float8_e4m3fn = DType("float8_e4m3fn", "f", 8, ml_dtypes.float8_e4m3fn, is_storage_only=True)
float8_e5m2 = DType("float8_e5m2", "f", 8, ml_dtypes.float8_e5m2, is_storage_only=True)
for _low in (float16, bfloat16, float8_e4m3fn, float8_e5m2):
    _low.compute = float32

SIGNED = (int8, int16, int32, int64)
UNSIGNED = (uint8, uint16, uint32, uint64)
INTEGERS = SIGNED + UNSIGNED
FLOATS = (float16, bfloat16, float32, float64)
COMPLEXES = (complex64, complex128)
FLOAT8 = (float8_e4m3fn, float8_e5m2)
ALL = (bool_, *INTEGERS, *FLOATS, *COMPLEXES)

_BY_NAME = {d.name: d for d in (*ALL, *FLOAT8)}
_BY_NUMPY = {d.numpy: d for d in (*ALL, *FLOAT8)}
_BY_PYTHON = {bool: bool_, int: int64, float: float32, complex: complex64}
_RANK = {"b": 0, "u": 1, "i": 1, "f": 2, "c": 3}
_PROMOTED: dict[tuple[DType, DType], DType] = {}


def as_dtype(value: Any) -> DType:
    """Return the `DType` for a dtype, a NumPy dtype, a name or a Python scalar type.

    Raises `DTypeError` for anything else.
    """
    if isinstance(value, DType):
        return value
    if isinstance(value, type) and value in _BY_PYTHON:
        return _BY_PYTHON[value]
    if isinstance(value, str) and value in _BY_NAME:
        return _BY_NAME[value]
    try:
        return _BY_NUMPY[np.dtype(value).newbyteorder("=")]
    except (TypeError, KeyError, ValueError):
        text = message("Unknown dtype", repr(value)[:60], "one of " + ", ".join(_BY_NAME), "pass e.g. plait.float32")
        raise DTypeError(text) from None


def promote(a: DType, b: DType) -> DType:
    """Return the common dtype of two tensors, as PyTorch promotes them."""
    if a is b:
        return a
    result = _PROMOTED.get((a, b))
    if result is None:
        result = _PROMOTED[a, b] = _PROMOTED[b, a] = _promote(a, b)
    return result


def _promote(a: DType, b: DType) -> DType:
    if a.is_storage_only or b.is_storage_only:
        text = message("8-bit floats are storage only", f"{a} and {b}", "a wider float", "convert with .to(float32)")
        raise DTypeError(text)
    low, high = sorted((a, b), key=lambda d: _RANK[d.kind])
    if high.kind == "c":
        return complex128 if float64 in (low, high) or complex128 in (low, high) else complex64
    if high.kind != low.kind and not (high.is_integer and low.is_integer):
        return high
    if high.kind == "f":
        return high if high.bits > low.bits else low if low.bits > high.bits else float32
    if high.kind == low.kind:
        return high if high.bits > low.bits else low
    unsigned, signed = (a, b) if a.kind == "u" else (b, a)
    if unsigned.bits < signed.bits:
        return signed
    if unsigned.bits == 64:
        text = message("uint64 has no common type with signed integers", f"{a} and {b}", None, "convert one of them")
        raise DTypeError(text)
    return {8: int16, 16: int32, 32: int64}[unsigned.bits]


def promote_scalar(tensor: DType, value: bool | int | float | complex) -> DType:
    """Return the dtype of `tensor op value` for a (weakly typed) Python scalar."""
    kind = "b" if isinstance(value, bool) else "i" if isinstance(value, int) else type(value).__name__[0]
    if _RANK[kind] <= _RANK[tensor.kind]:
        return tensor
    if kind == "i":
        return int64
    if kind == "f":
        return float32
    return complex128 if tensor is float64 else complex64
