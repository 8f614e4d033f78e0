"""The header of a safetensors file: written, and read with distrust.

A file is eight bytes with the length of the header, the header (JSON: dtype, shape and place of each tensor), and the
bytes of the tensors, one after the other (https://huggingface.co/docs/safetensors). Whatever a file says is checked
before anything is allocated for it.
"""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, NoReturn

import numpy as np

from plait.core.dtype import DType, as_dtype
from plait.core.errors import ArgumentError, message

DTYPES = {
    "BOOL": "bool", "U8": "uint8", "I8": "int8", "U16": "uint16", "I16": "int16", "U32": "uint32", "I32": "int32",
    "U64": "uint64", "I64": "int64", "F8_E4M3": "float8_e4m3fn", "F8_E5M2": "float8_e5m2", "F16": "float16",
    "BF16": "bfloat16", "F32": "float32", "F64": "float64", "C64": "complex64",
}  # fmt: skip
CODES = {name: code for code, name in DTYPES.items()}
METADATA = "__metadata__"
MAX_HEADER = 100_000_000  # bytes, the limit of the format's own library
ALIGNMENT = 64  # of the first tensor in a file written here
_MAX_RANK = 64
_MAX_BYTES = 2**63 - 1


@dataclass(frozen=True, slots=True)
class Entry:
    """Where a tensor is: bytes `start` to `stop` of the data, and what they mean."""

    dtype: DType
    shape: tuple[int, ...]
    start: int
    stop: int


class DamagedFileError(Exception):
    """What is wrong with a file; turned into an `ArgumentError` that names the file."""


def refuse(path: Any, what: str) -> NoReturn:
    """Raise the error for a file that cannot be read."""
    fix = "pass a file that plait.save or another library for safetensors wrote"
    raise ArgumentError(message("This is no safetensors file, or it is damaged", f"{path}: {what}", None, fix))


def strict_json(text: bytes | str, what: str = "the header") -> Any:
    """Read JSON; names that come twice, NaN, infinities and deep nesting are refused as `DamagedFileError`."""

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) < len(pairs):
            names = [name for name, _ in pairs]
            twice = next(name for name in found if names.count(name) > 1)
            raise DamagedFileError(f"{twice!r} comes twice in {what}")
        return found

    def finite(text: str) -> float:
        value = float(text)
        if not math.isfinite(value):
            raise DamagedFileError(f"{what} holds {text}, which is not finite")
        return value

    try:
        if isinstance(text, bytes):
            text = text.decode("utf-8")
        return json.loads(text, object_pairs_hook=once, parse_float=finite, parse_constant=finite)
    except (ValueError, RecursionError, MemoryError) as error:
        reason = "it is nested too deeply" if isinstance(error, RecursionError) else str(error)
        raise DamagedFileError(f"{what} is not JSON ({reason})") from None


def parse_header(text: bytes, data_bytes: int) -> tuple[dict[str, Entry], dict[str, str]]:
    """Return the entries by name, in the order of the file, and the metadata; raises `DamagedFileError`."""
    header = strict_json(text)
    if not isinstance(header, dict):
        raise DamagedFileError("the header is no JSON object")
    metadata = header.pop(METADATA, {})
    if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
        raise DamagedFileError("the metadata are not strings by name")
    entries = {name: _parse_entry(name, value) for name, value in header.items()}
    position = 0
    for name, entry in sorted(entries.items(), key=lambda item: (item[1].start, item[1].stop)):
        if entry.start != position:
            fault = "overlaps with another tensor" if entry.start < position else "begins behind a hole"
            raise DamagedFileError(f"{name!r} {fault}: at byte {entry.start}, expected {position}")
        position = entry.stop
    if position != data_bytes:
        raise DamagedFileError(f"the tensors need {position} bytes, and the file has {data_bytes} for them")
    return entries, metadata


def _is_count(value: Any) -> bool:
    return type(value) is int and 0 <= value <= _MAX_BYTES


def _parse_entry(name: str, value: Any) -> Entry:
    if not isinstance(value, dict) or value.keys() != {"dtype", "shape", "data_offsets"}:
        raise DamagedFileError(f"{name!r} is not described by dtype, shape and data_offsets")
    code, shape, offsets = value["dtype"], value["shape"], value["data_offsets"]
    if not isinstance(code, str) or code not in DTYPES:
        raise DamagedFileError(
            f"{name!r} has a dtype that plait does not have, {str(code)[:40]!r}; it has {', '.join(DTYPES)}"
        )
    if not isinstance(shape, list) or len(shape) > _MAX_RANK or not all(map(_is_count, shape)):
        raise DamagedFileError(f"the shape of {name!r} is no list of at most {_MAX_RANK} sizes")
    if not isinstance(offsets, list) or len(offsets) != 2 or not all(map(_is_count, offsets)):
        raise DamagedFileError(f"the offsets of {name!r} are not two positions in the file")
    dtype = as_dtype(DTYPES[code])
    extent = dtype.itemsize
    for size in shape:
        extent *= max(1, size)  # an empty tensor of a huge shape has no bytes, and cannot be an array all the same
    if extent > _MAX_BYTES:
        raise DamagedFileError(f"the shape of {name!r} is too large")
    nbytes = 0 if 0 in shape else extent
    if offsets[1] - offsets[0] != nbytes:
        raise DamagedFileError(f"{name!r} needs {nbytes} bytes, and its place has {offsets[1] - offsets[0]}")
    return Entry(dtype, tuple(shape), *offsets)


def make_header(
    arrays: Mapping[str, np.ndarray[Any, Any]], codes: Mapping[str, str], metadata: Mapping[str, str] | None
) -> tuple[bytes, list[str]]:
    """Return the bytes before the data, a multiple of 64, and the order of the tensors.

    Tensors of a multiple of 64 bytes come first, then those of a multiple of 16, and so on, so that as many as
    possible begin where memory can be shared.
    """
    order = sorted(arrays, key=lambda name: (-_alignment(arrays[name].nbytes), name))
    header: dict[str, Any] = {} if metadata is None else {METADATA: dict(metadata)}
    position = 0
    for name in order:
        end = position + arrays[name].nbytes
        header[name] = {
            "dtype": codes[name], "shape": list(arrays[name].shape), "data_offsets": [position, end],
        }  # fmt: skip
        position = end
    text = json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode("utf-8")
    text += b" " * (-(len(text) + 8) % ALIGNMENT)
    if len(text) > MAX_HEADER:
        fix = "save the tensors in several files, e.g. with plait.io.save_sharded"
        raise ArgumentError(message("The header is too long", len(text), f"at most {MAX_HEADER} bytes", fix))
    return struct.pack("<Q", len(text)) + text, order


def _alignment(nbytes: int) -> int:
    return min(ALIGNMENT, nbytes & -nbytes) if nbytes else ALIGNMENT


def check_names(names: Iterable[str]) -> None:
    """Raise `ArgumentError` for a name that the format cannot hold."""
    for name in names:
        if name == METADATA or name.encode("utf-8", "replace") != name.encode("utf-8", "surrogatepass"):
            text = "The safetensors format cannot hold a tensor of this name"
            raise ArgumentError(message(text, repr(name), None, "choose another name"))
