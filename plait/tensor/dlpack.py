"""DLPack: sharing memory with other libraries without a copy, both ways (https://dmlc.github.io/dlpack)."""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np

from plait.core.dtype import _BY_NAME, DType
from plait.core.errors import ArgumentError, ArgumentTypeError, DTypeError, GradientError, SharingError, message
from plait.core.graph import data
from plait.runtime.buffer import Buffer, from_numpy, to_numpy
from plait.tensor import lazy
from plait.tensor.tensor import Tensor, node_of, to_node, wrap

_CPU = (1, 0)
_READ_ONLY, _IS_COPIED = 1, 2
_CODES = {"i": 0, "u": 1, "f": 2, "c": 5, "b": 6}
_SPECIAL_CODES = {"bfloat16": 4, "float8_e4m3fn": 10, "float8_e5m2": 12}


class _Device(ctypes.Structure):
    _fields_ = (("type", ctypes.c_int32), ("id", ctypes.c_int32))


class _DataType(ctypes.Structure):
    _fields_ = (("code", ctypes.c_uint8), ("bits", ctypes.c_uint8), ("lanes", ctypes.c_uint16))


class _DLTensor(ctypes.Structure):
    _fields_ = (
        ("data", ctypes.c_void_p), ("device", _Device), ("ndim", ctypes.c_int32), ("dtype", _DataType),
        ("shape", ctypes.POINTER(ctypes.c_int64)), ("strides", ctypes.POINTER(ctypes.c_int64)),
        ("byte_offset", ctypes.c_uint64),
    )  # fmt: skip


_Deleter = ctypes.CFUNCTYPE(None, ctypes.c_void_p)


class _Managed(ctypes.Structure):
    _fields_ = (("tensor", _DLTensor), ("context", ctypes.c_void_p), ("deleter", _Deleter))


class _ManagedVersioned(ctypes.Structure):
    _fields_ = (
        ("major", ctypes.c_uint32), ("minor", ctypes.c_uint32), ("context", ctypes.c_void_p), ("deleter", _Deleter),
        ("flags", ctypes.c_uint64), ("tensor", _DLTensor),
    )  # fmt: skip


_STRUCTS: dict[bytes, Any] = {b"dltensor": _Managed, b"dltensor_versioned": _ManagedVersioned}
_exported: dict[int, Any] = {}  # what a consumer still uses, by the address of its struct

_python = ctypes.pythonapi
_new_capsule = _python.PyCapsule_New
_new_capsule.restype, _new_capsule.argtypes = ctypes.py_object, (ctypes.c_void_p, ctypes.c_char_p, _Deleter)
_is_valid = ctypes.PYFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_char_p)(("PyCapsule_IsValid", _python))
_pointer = ctypes.PYFUNCTYPE(ctypes.c_void_p, ctypes.c_void_p, ctypes.c_char_p)(("PyCapsule_GetPointer", _python))
_rename = ctypes.PYFUNCTYPE(ctypes.c_int, ctypes.py_object, ctypes.c_char_p)(("PyCapsule_SetName", _python))
_USED = {name: b"used_" + name for name in _STRUCTS}


@_Deleter
def _release(address: int) -> None:
    _exported.pop(address, None)


@_Deleter
def _drop_capsule(capsule: int) -> None:
    """Free a capsule that nobody consumed; the object is dying, so that it may be touched by address only."""
    for name in _STRUCTS:
        if _is_valid(capsule, name):
            _release(_pointer(capsule, name))


def export(
    x: Tensor, *, stream: Any = None, max_version: Any = None, dl_device: Any = None, copy: bool | None = None
) -> Any:
    """Return a DLPack capsule of the value of `x` (this is `Tensor.__dlpack__`).

    Args:
        x: a tensor without gradient.
        stream: None, for the CPU.
        max_version: the newest DLPack version the consumer knows; None for the unversioned form.
        dl_device: None or (1, 0), the CPU.
        copy: True shares a copy.

    Raises:
        GradientError: the tensor requires gradients.
        ArgumentError: another device is asked for.
    """
    if x.requires_grad:
        text = "A tensor that requires gradients cannot be exported by DLPack"
        raise GradientError(message(text, fix="use x.detach()"))
    if dl_device is not None and tuple(dl_device) != _CPU:
        raise ArgumentError(message("The value lives on the CPU", dl_device, _CPU))
    node_of(x)
    buffer = lazy.value(x)
    if copy:
        buffer = from_numpy(to_numpy(buffer, x.dtype.numpy, x.shape), copy=True)
    name = b"dltensor" if max_version is None or max_version[0] < 1 else b"dltensor_versioned"
    managed = _STRUCTS[name]()
    if name == b"dltensor_versioned":
        managed.major, managed.minor, managed.flags = 1, 0, _IS_COPIED if copy else 0
    managed.deleter = _release
    keep = _describe(managed.tensor, x, buffer)
    address = ctypes.addressof(managed)
    _exported[address] = (managed, keep, buffer)
    return _new_capsule(address, name, _drop_capsule)


def _describe(out: Any, x: Tensor, buffer: Buffer) -> Any:
    sizes = (ctypes.c_int64 * max(x.ndim, 1))(*x.shape)
    steps = [1] * max(x.ndim, 1)
    for axis in range(x.ndim - 2, -1, -1):
        steps[axis] = steps[axis + 1] * x.shape[axis + 1]
    strides = (ctypes.c_int64 * len(steps))(*steps)
    out.data, out.device, out.ndim, out.byte_offset = buffer.address, _Device(*_CPU), x.ndim, 0
    code = _SPECIAL_CODES.get(x.dtype.name, _CODES[x.dtype.kind])
    out.dtype = _DataType(code, x.dtype.itemsize * 8, 1)
    pointer = ctypes.POINTER(ctypes.c_int64)
    out.shape, out.strides = ctypes.cast(sizes, pointer), ctypes.cast(strides, pointer)
    return sizes, strides


def device(x: Tensor) -> tuple[int, int]:
    """Return the DLPack device of `x`: (1, 0), the CPU (this is `Tensor.__dlpack_device__`)."""
    return _CPU


class _Imported:
    """Memory of another library; it is given back when this object dies."""

    def __init__(self, capsule: Any) -> None:
        name = next((n for n in _STRUCTS if _is_valid(id(capsule), n)), None)
        if name is None:
            text = "This is no unused DLPack capsule"
            raise ArgumentError(message(text, repr(capsule)[:60], None, "a capsule can be consumed once"))
        self.managed = _STRUCTS[name].from_address(_pointer(id(capsule), name))
        _rename(capsule, _USED[name])
        tensor = self.managed.tensor
        if tensor.device.type != 1:
            self.__del__()
            raise ArgumentError(message("Only CPU memory can be imported", f"device type {tensor.device.type}"))
        self.dtype = _dtype_of(tensor.dtype)
        self.shape = tuple(tensor.shape[i] for i in range(tensor.ndim))
        self.is_read_only = bool(getattr(self.managed, "flags", 0) & _READ_ONLY)
        size = self.dtype.itemsize
        strides = tuple(tensor.strides[i] * size for i in range(tensor.ndim)) if tensor.strides else None
        self.__array_interface__ = {
            "data": ((tensor.data or 0) + tensor.byte_offset, self.is_read_only), "shape": self.shape,
            "typestr": f"|V{size}" if size > 1 else "|u1", "strides": strides, "version": 3,
        }  # fmt: skip

    def __del__(self) -> None:
        managed, self.managed = getattr(self, "managed", None), None
        if managed is not None and managed.deleter:
            managed.deleter(ctypes.addressof(managed))


def _dtype_of(described: Any) -> DType:
    for dtype in _BY_NAME.values():
        code = _SPECIAL_CODES.get(dtype.name, _CODES[dtype.kind])
        if (code, dtype.itemsize * 8, 1) == (described.code, described.bits, described.lanes):
            return dtype
    received = f"code {described.code}, {described.bits} bits, {described.lanes} lanes"
    raise DTypeError(message("No dtype corresponds to this DLPack type", received))


def from_dlpack(x: Any, *, device: Any = None, copy: bool | None = None) -> Tensor:
    """Return a tensor of an object that supports DLPack, e.g. a PyTorch, JAX or NumPy array.

    Memory of 64 bytes or more is shared where it is dense, writable and aligned to 16 bytes; other memory is copied.

    Args:
        x: an object with `__dlpack__`, or a capsule; a tensor shares its memory always.
        device: None or "cpu".
        copy: True always copies; False raises where a copy is needed.

    Returns:
        A tensor.

    Raises:
        ArgumentError: the memory is on another device, or a copy is needed and `copy` is False.
        ArgumentTypeError: `x` does not support DLPack.
        DTypeError: plait has no such dtype.

    Example:
        >>> plait.from_dlpack(plait.tensor([1, 2]))
        tensor([1, 2])
    """
    if device is not None and str(device) != "cpu":
        raise ArgumentError(message("Unknown device", device, "cpu"))
    if isinstance(x, Tensor):
        return wrap(data(from_numpy(x.numpy(), copy=True), x.aval)) if copy else x.detach()
    owner = _Imported(_capsule_of(x))
    array = np.asarray(owner).view(owner.dtype.numpy)
    shareable = not owner.is_read_only and not copy
    result = wrap(to_node(array, share=shareable))
    if copy is False and not np.shares_memory(array, result._array()) and array.size:
        text = "This memory cannot be shared without a copy"
        raise ArgumentError(
            message(text, None, "64 bytes or more, dense, writable and aligned to 16 bytes", "copy=None")
        )
    return result


def _capsule_of(x: Any) -> Any:
    if type(x).__name__ == "PyCapsule":
        return x
    if not hasattr(x, "__dlpack__"):
        expected, fix = "an object with __dlpack__, or a capsule", "use plait.tensor"
        raise ArgumentTypeError(message(f"from_dlpack does not take a {type(x).__name__}", repr(x)[:40], expected, fix))
    try:
        return x.__dlpack__(max_version=(1, 0))
    except TypeError:  # a producer from before versions
        return x.__dlpack__()
    except BufferError as error:
        raise SharingError(message("This tensor cannot be shared", str(error), None, "use plait.tensor")) from error
