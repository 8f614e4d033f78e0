"""Tensors by name in a file of the safetensors format, the one that PyTorch models are shared in."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from plait.core.dtype import as_dtype
from plait.core.errors import ArgumentError, ArgumentTypeError, message
from plait.tensor.creation import as_tensor
from plait.tensor.tensor import Tensor

_DTYPES = {
    "BOOL": "bool", "U8": "uint8", "I8": "int8", "U16": "uint16", "I16": "int16", "U32": "uint32", "I32": "int32",
    "U64": "uint64", "I64": "int64", "F8_E4M3": "float8_e4m3fn", "F8_E5M2": "float8_e5m2", "F16": "float16",
    "BF16": "bfloat16", "F32": "float32", "F64": "float64", "C64": "complex64",
}  # fmt: skip
Path_ = str | os.PathLike[str]


def _library() -> ModuleType:
    try:
        import safetensors.numpy
    except ImportError:
        text = message("Saving and loading needs the package safetensors", fix='pip install "plait[io]"')
        raise ModuleNotFoundError(text, name="safetensors") from None
    return safetensors


def save_file(tensors: Mapping[str, Any], path: Path_, metadata: Mapping[str, str] | None = None) -> None:
    """Write tensors to a safetensors file; a file that exists is replaced in one step.

    Args:
        tensors: tensors (or arrays) by name, such as `model.state_dict()`.
        path: the file.
        metadata: strings by name that are stored too.

    Raises:
        ArgumentTypeError: `tensors` is no mapping from strings to tensors.
        ArgumentError: a dtype that the format does not have.
        ModuleNotFoundError: the package safetensors is not installed.
        OSError: the file cannot be written.

    Example:
        >>> plait.save({"x": plait.arange(3)}, "x.safetensors")
        >>> plait.load("x.safetensors")
        {'x': tensor([0, 1, 2])}
    """
    library = _library()
    arrays = {name: _array(name, value) for name, value in _checked(tensors).items()}
    target = Path(path)
    if not target.parent.is_dir():
        raise FileNotFoundError(message("There is no such folder", target.parent, None, "create it first"))
    handle, temporary = tempfile.mkstemp(prefix=target.name, suffix=".partial", dir=target.parent)
    os.close(handle)
    try:
        library.numpy.save_file(arrays, temporary, None if metadata is None else dict(metadata))
        os.chmod(temporary, 0o666 & ~_umask())
        os.replace(temporary, target)
    except BaseException:
        os.unlink(temporary)
        raise


def _checked(tensors: Any) -> Mapping[str, Any]:
    fix = "pass e.g. model.state_dict()"
    if not isinstance(tensors, Mapping):
        raise ArgumentTypeError(message("Only tensors by name are saved", type(tensors).__name__, "a dict", fix))
    for name, value in tensors.items():
        if not isinstance(name, str) or not isinstance(value, (Tensor, np.ndarray)):
            received = f"{type(value).__name__} under {name!r}"
            raise ArgumentTypeError(message("Only tensors by name are saved", received, "strings and tensors", fix))
    return tensors


def _array(name: str, value: Any) -> np.ndarray[Any, Any]:
    tensor = as_tensor(value)
    if tensor.dtype.name not in _DTYPES.values():
        text = f"The safetensors format has no {tensor.dtype.name}"
        raise ArgumentError(message(text, f"{name!r}", None, "convert it, or save its parts"))
    return np.ascontiguousarray(tensor.detach().numpy()).reshape(tensor.shape)


def _umask() -> int:
    current = os.umask(0)
    os.umask(current)
    return current


def load_file(path: Path_) -> dict[str, Tensor]:
    """Read the tensors of a safetensors file.

    Args:
        path: the file.

    Returns:
        Tensors by name.

    Raises:
        ArgumentError: the file is damaged or of another format.
        ModuleNotFoundError: the package safetensors is not installed.
        FileNotFoundError: there is no such file.

    Example:
        >>> plait.save({"x": plait.arange(3)}, "x.safetensors")
        >>> plait.load("x.safetensors")["x"]
        tensor([0, 1, 2])
    """
    library = _library()
    try:
        entries = library.deserialize(Path(path).read_bytes())
    except library.SafetensorError as error:
        text = message("This is no safetensors file", f"{path} ({error})", None, "pass a file that plait.save wrote")
        raise ArgumentError(text) from None
    return {name: _tensor(name, **entry) for name, entry in sorted(entries)}


def _tensor(name: str, dtype: str, shape: list[int], data: Any) -> Tensor:
    if dtype not in _DTYPES:
        raise ArgumentError(message(f"plait has no dtype for {name!r}", dtype, ", ".join(_DTYPES)))
    return as_tensor(np.frombuffer(data, as_dtype(_DTYPES[dtype]).numpy).reshape(shape))
