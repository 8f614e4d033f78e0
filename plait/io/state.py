"""Any nesting of state as JSON and tensors by name, and back; no code is stored, and none is run.

Python's numbers, strings, lists and dicts of strings are themselves in JSON. Everything else is an object of one
entry, whose name says what it is: `{"tensor": "model.weight"}`, `{"tuple": [1, 2]}`, `{"float": "nan"}`.
"""

from __future__ import annotations

import dataclasses
import functools
import keyword
import math
from collections import namedtuple
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from plait.core.dtype import as_dtype
from plait.core.errors import ArgumentError, ArgumentTypeError, message
from plait.io.header import CODES, DamagedFileError, check_names
from plait.tensor.creation import from_numpy
from plait.tensor.tensor import Tensor

# how objects give their state, and take it again
PROTOCOLS = (("state_dict", "load_state_dict"), ("get_state", "set_state"), ("getstate", "setstate"))
_MAX_DEPTH = 100
_PAIRS = "complex128"


def protocol_of(value: Any) -> tuple[Callable[[], Any], Callable[[Any], Any]] | None:
    """Return the methods that get and set the state of an object, or None."""
    if isinstance(value, (type, Tensor, Mapping)):
        return None
    for get, put in PROTOCOLS:
        if callable(getattr(value, get, None)) and callable(getattr(value, put, None)):
            return getattr(value, get), getattr(value, put)
    return None


def is_named_tuple(value: Any) -> bool:
    """Whether a value is of a class made by `NamedTuple` or `namedtuple`."""
    return isinstance(value, tuple) and hasattr(value, "_fields")


def fields_of(value: Any) -> dict[str, Any] | None:
    """Return the fields of a named tuple or a dataclass, or None."""
    if is_named_tuple(value):
        return dict(zip(value._fields, value, strict=True))
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: getattr(value, f.name) for f in dataclasses.fields(value)}
    return None


# to JSON and arrays ------------------------------------------------------------------------------------------------


class Encoder:
    """Takes state apart: `document` is JSON, and `arrays` are the tensors by name.

    Args:
        state: any nesting of dicts, lists, tuples, named tuples and dataclasses of tensors, arrays, numbers,
            strings, bytes, None, and objects with `state_dict` and `load_state_dict` (or `get_state`, `set_state`).
        copy: whether arrays are copied, so that the state may change from now on.

    Raises:
        ArgumentTypeError: a value that is none of these; the error says where it is.
        ArgumentError: the nesting is too deep, a part of it contains itself, or a name cannot be stored.
    """

    def __init__(self, state: Any, copy: bool) -> None:
        self.copy = copy
        self.arrays: dict[str, np.ndarray[Any, Any]] = {}
        self.document = self._encode(state, ())
        check_names(self.arrays)

    def _encode(self, value: Any, path: tuple[str, ...]) -> Any:
        if value is None or type(value) in (bool, int, str):
            return value
        if type(value) is float:
            return value if math.isfinite(value) else {"float": str(value)}
        if type(value) is complex:
            return {"complex": [self._encode(value.real, path), self._encode(value.imag, path)]}
        if isinstance(value, bytes):
            return {"bytes": value.hex()}
        if isinstance(value, (Tensor, np.ndarray, np.generic)):
            return self._encode_array(value, path)
        if len(path) > _MAX_DEPTH:
            fix = "a part of the state may contain itself"
            raise ArgumentError(message("The state is nested too deeply", ".".join(path[:8]) + "…", None, fix))
        return self._encode_container(value, path)

    def _encode_container(self, value: Any, path: tuple[str, ...]) -> Any:
        protocol = protocol_of(value)
        if protocol is not None:
            return {"state": self._encode(protocol[0](), path)}
        fields = fields_of(value)
        if fields is not None:
            inside = {name: self._encode(part, (*path, name)) for name, part in fields.items()}
            return {"named tuple" if is_named_tuple(value) else "dataclass": [type(value).__name__, inside]}
        if isinstance(value, (list, tuple)):
            items = [self._encode(part, (*path, str(k))) for k, part in enumerate(value)]
            return items if isinstance(value, list) else {"tuple": items}
        if isinstance(value, Mapping):
            items = [[self._encode_key(k, path), self._encode(v, (*path, str(k)))] for k, v in value.items()]
            if len(items) != 1 and all(type(k) is str for k in value):
                return dict(items)
            return {"dict": items}
        fix = "pass its parts, or give it state_dict() and load_state_dict()"
        received = f"{type(value).__name__} at {'.'.join(path) or 'the top'}"
        raise ArgumentTypeError(message("This cannot be saved", received, "tensors, numbers, strings, …", fix))

    def _encode_key(self, key: Any, path: tuple[str, ...]) -> Any:
        if key is None or type(key) in (bool, int, float, str, bytes):
            return self._encode(key, path)
        if type(key) is tuple:
            return {"tuple": [self._encode_key(part, path) for part in key]}
        received = f"{type(key).__name__} at {'.'.join(path) or 'the top'}"
        raise ArgumentTypeError(message("A key of a dict cannot be saved", received, "numbers, strings and tuples"))

    def _encode_array(self, value: Any, path: tuple[str, ...]) -> dict[str, Any]:
        array = value.detach().numpy() if isinstance(value, Tensor) else np.asarray(value)
        dtype = array.dtype.name
        if dtype not in CODES:
            array = self._halves(array, path)
        kind = "tensor" if isinstance(value, Tensor) else "array" if isinstance(value, np.ndarray) else "scalar"
        place = self._place(path)
        contiguous = np.ascontiguousarray(array).reshape(array.shape)
        is_shared = np.may_share_memory(contiguous, array)
        self.arrays[place] = contiguous.copy() if self.copy and is_shared else contiguous
        return {kind: place if dtype in CODES else [place, dtype]}

    def _halves(self, array: np.ndarray[Any, Any], path: tuple[str, ...]) -> np.ndarray[Any, Any]:
        """A complex128 array as pairs of float64: the format of the file has no such numbers."""
        if array.dtype.name != _PAIRS:
            fix = "convert it first"
            received = f"{array.dtype} at {'.'.join(path) or 'the top'}"
            raise ArgumentTypeError(message("An array of this dtype cannot be saved", received, None, fix))
        return np.stack([array.real, array.imag], axis=-1)

    def _place(self, path: tuple[str, ...]) -> str:
        base = place = ".".join(path) or "state"
        count = 1
        while place in self.arrays:
            count += 1
            place = f"{base}~{count}"
        return place


# back --------------------------------------------------------------------------------------------------------------


def decode(document: Any, tensors: Mapping[str, Tensor]) -> Any:
    """Put state together again; raises `DamagedFileError` where the document is not what `Encoder` writes.

    Objects come back as what their `state_dict` returned, dataclasses as dicts, and named tuples as named tuples of
    the same name and fields.
    """
    if document is None or isinstance(document, (bool, int, float, str)):
        return document
    if isinstance(document, list):
        return [decode(part, tensors) for part in document]
    kind, content = tagged(document)
    if not kind:
        return {name: decode(part, tensors) for name, part in document.items()}
    if kind not in _DECODERS:
        raise DamagedFileError(f"{kind[:40]!r} is no kind of value")
    return _DECODERS[kind](content, tensors)


def tagged(document: Any) -> tuple[str, Any]:
    """Return what a JSON object stands for and its content; ("", object) for a dict of strings."""
    if not isinstance(document, dict) or len(document) != 1:
        return "", document
    return next(iter(document.items()))


def _expect(condition: Any, kind: str) -> None:
    if not condition:
        raise DamagedFileError(f"a {kind} is not written as one")


def _decode_float(content: Any, tensors: Mapping[str, Tensor]) -> float:
    _expect(content in ("nan", "inf", "-inf"), "float")
    return float(content)


def _decode_complex(content: Any, tensors: Mapping[str, Tensor]) -> complex:
    parts = decode(content, tensors)
    _expect(isinstance(parts, list) and len(parts) == 2 and all(type(p) is float for p in parts), "complex number")
    return complex(*parts)


def _decode_bytes(content: Any, tensors: Mapping[str, Tensor]) -> bytes:
    _expect(isinstance(content, str), "string of bytes")
    try:
        return bytes.fromhex(content)
    except ValueError:
        raise DamagedFileError("a string of bytes is not hexadecimal") from None


def _decode_array(kind: str, content: Any, tensors: Mapping[str, Tensor]) -> Any:
    is_pairs = isinstance(content, list) and content[1:] == [_PAIRS]
    place = content[0] if is_pairs else content
    if not isinstance(place, str) or place not in tensors:
        raise DamagedFileError(f"there is no tensor {str(place)[:80]!r}")
    value = tensors[place]
    array = np.asarray(value.numpy())
    if is_pairs:
        _expect(array.dtype == np.float64 and array.shape[-1:] == (2,), "complex array")
        array = np.ascontiguousarray(array).view(as_dtype(_PAIRS).numpy)[..., 0]
        value = from_numpy(array)
    _expect(kind != "scalar" or array.shape == (), "scalar")
    return value if kind == "tensor" else array.copy() if kind == "array" else array[()]


def _decode_tuple(content: Any, tensors: Mapping[str, Tensor]) -> tuple[Any, ...]:
    _expect(isinstance(content, list), "tuple")
    return tuple([decode(part, tensors) for part in content])


def _decode_dict(content: Any, tensors: Mapping[str, Tensor]) -> dict[Any, Any]:
    pairs = decode(content, tensors)
    _expect(isinstance(pairs, list) and all(isinstance(p, list) and len(p) == 2 for p in pairs), "dict")
    try:
        found = dict(pairs)
    except TypeError:
        raise DamagedFileError("a key of a dict cannot be one") from None
    _expect(len(found) == len(pairs), "dict")
    return found


def _named_parts(content: Any, kind: str) -> tuple[str, dict[str, Any]]:
    """Return the class name and the encoded fields of a named tuple or dataclass."""
    _expect(isinstance(content, list) and len(content) == 2 and isinstance(content[1], dict), kind)
    name, fields = content
    for word in (name, *fields):
        _expect(isinstance(word, str) and word.isidentifier() and not keyword.iskeyword(word), kind)
    return name, fields


def _decode_named_tuple(content: Any, tensors: Mapping[str, Tensor]) -> Any:
    name, fields = _named_parts(content, "named tuple")
    _expect(not any(field.startswith("_") for field in fields), "named tuple")
    kind: Any = namedtuple(name, list(fields))  # type: ignore[misc]
    return kind(*[decode(part, tensors) for part in fields.values()])


def _decode_dataclass(content: Any, tensors: Mapping[str, Tensor]) -> dict[str, Any]:
    _, fields = _named_parts(content, "dataclass")
    return {field: decode(part, tensors) for field, part in fields.items()}


_DECODERS: dict[str, Callable[[Any, Mapping[str, Tensor]], Any]] = {
    "float": _decode_float, "complex": _decode_complex, "bytes": _decode_bytes, "tuple": _decode_tuple,
    "dict": _decode_dict, "state": decode, "named tuple": _decode_named_tuple, "dataclass": _decode_dataclass,
    **{kind: functools.partial(_decode_array, kind) for kind in ("tensor", "array", "scalar")},
}  # fmt: skip
