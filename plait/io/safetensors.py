"""Tensors by name in a file of the safetensors format, the one that PyTorch models are shared in."""

from __future__ import annotations

import mmap
import os
import struct
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from plait.core.errors import ArgumentError, ArgumentTypeError, message
from plait.io.files import Location, new_file
from plait.io.header import CODES, MAX_HEADER, DamagedFileError, Entry, check_names, make_header, parse_header, refuse
from plait.tensor.creation import as_tensor, from_numpy
from plait.tensor.tensor import Tensor

_MAP_NORESERVE = 0x4000  # of Linux; Python does not name it


def save_file(tensors: Mapping[str, Any], path: Location, metadata: Mapping[str, str] | None = None) -> None:
    """Write tensors to a safetensors file; a file that exists is replaced in one step.

    Args:
        tensors: tensors (or arrays) by name, such as `model.state_dict()`.
        path: the file.
        metadata: strings by name that are stored too.

    Raises:
        ArgumentTypeError: `tensors` is no mapping from strings to tensors.
        ArgumentError: a dtype or a name that the format does not have.
        OSError: the file cannot be written.

    Example:
        >>> plait.io.save_file({"x": plait.arange(3)}, "x.safetensors")
        >>> plait.io.load_file("x.safetensors")
        {'x': tensor([0, 1, 2])}
    """
    arrays = {name: array_of(name, value) for name, value in _checked(tensors).items()}
    check_metadata(metadata)
    with new_file(path) as file:
        write_tensors(arrays, file, metadata)


def write_tensors(
    arrays: Mapping[str, np.ndarray[Any, Any]], file: BinaryIO, metadata: Mapping[str, str] | None = None
) -> None:
    """Write contiguous arrays to an open file, one after the other."""
    codes = {name: CODES[array.dtype.name] for name, array in arrays.items()}
    head, order = make_header(arrays, codes, metadata)
    file.write(head)
    for name in order:
        file.write(arrays[name].reshape(-1).view(np.uint8).data)


def _checked(tensors: Any) -> Mapping[str, Any]:
    fix = "pass e.g. model.state_dict()"
    if not isinstance(tensors, Mapping):
        raise ArgumentTypeError(message("Only tensors by name are saved", type(tensors).__name__, "a dict", fix))
    for name, value in tensors.items():
        if not isinstance(name, str) or not isinstance(value, (Tensor, np.ndarray)):
            received = f"{type(value).__name__} under {name!r}"
            raise ArgumentTypeError(message("Only tensors by name are saved", received, "strings and tensors", fix))
    check_names(tensors)
    return tensors


def check_metadata(metadata: Any) -> None:
    """Raise `ArgumentTypeError` for metadata that are no strings by name."""
    entries = {} if metadata is None else metadata
    if not isinstance(entries, Mapping) or not all(isinstance(s, str) for pair in entries.items() for s in pair):
        raise ArgumentTypeError(message("Metadata are strings by name", repr(metadata), "a dict from str to str"))


def array_of(name: str, value: Any) -> np.ndarray[Any, Any]:
    """Return the values of a tensor as a contiguous array of a dtype that the format has."""
    tensor = as_tensor(value)
    if tensor.dtype.name not in CODES:
        text = f"The safetensors format has no {tensor.dtype.name}"
        raise ArgumentError(message(text, f"{name!r}", None, "convert it, or save its parts"))
    return np.ascontiguousarray(tensor.detach().numpy()).reshape(tensor.shape)


class TensorFile(Mapping[str, Tensor]):
    """The tensors of a safetensors file, mapped into memory: only what is looked at is read from disk.

    A tensor shares the memory of the file where it begins at a multiple of 16 bytes and has at least 64, and is
    copied elsewhere. Writing to a tensor never changes the file. The file must not be truncated meanwhile; replacing
    it, as `plait.save` does, is safe.

    Args:
        path: the file.

    Raises:
        ArgumentError: the file is damaged or of another format; its header is checked, not its values.
        FileNotFoundError: there is no such file.

    Example:
        >>> plait.save({"x": plait.arange(3), "y": plait.ones(2, 2)}, "x.safetensors")
        >>> file = plait.io.TensorFile("x.safetensors")
        >>> file.shapes["y"], file["x"]
        ((2, 2), tensor([0, 1, 2]))
    """

    metadata: dict[str, str]
    """Strings by name that were stored with the tensors."""

    def __init__(self, path: Location) -> None:
        self.path = Path(path)
        with self.path.open("rb") as file:
            self._entries, self.metadata, self._begin = _read_header(file, self.path)
            self._memory = _mapped(file)

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """The shape of each tensor, by name; nothing is read for it."""
        return {name: entry.shape for name, entry in self._entries.items()}

    def __getitem__(self, name: str) -> Tensor:
        entry = self._entries[name]
        return _tensor(name, entry, self._memory, self._begin + entry.start, self.path)

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)

    def __repr__(self) -> str:
        return f"TensorFile({str(self.path)!r}, {len(self)} tensors)"


def _mapped(file: BinaryIO) -> mmap.mmap:
    """Map a file, for writing to a copy of it, without setting memory aside for one."""
    if sys.platform == "linux":
        flags = mmap.MAP_PRIVATE | _MAP_NORESERVE
        return mmap.mmap(file.fileno(), 0, flags=flags, prot=mmap.PROT_READ | mmap.PROT_WRITE)
    return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)


def load_file(path: Location, mmap: bool = False) -> dict[str, Tensor]:
    """Read the tensors of a safetensors file.

    Args:
        path: the file.
        mmap: whether the tensors share the memory of the mapped file, which is read as they are used; see
            `plait.io.TensorFile`.

    Returns:
        Tensors by name.

    Raises:
        ArgumentError: the file is damaged or of another format.
        FileNotFoundError: there is no such file.

    Example:
        >>> plait.io.save_file({"x": plait.arange(3)}, "x.safetensors")
        >>> plait.io.load_file("x.safetensors")["x"]
        tensor([0, 1, 2])
    """
    return read_file(path, mmap)[0]


def read_file(path: Location, mmap: bool = False) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Return the tensors of a file, in the order of their names, and its metadata; see `load_file`."""
    if mmap:
        source = TensorFile(path)
        return dict(sorted(source.items())), source.metadata
    with Path(path).open("rb") as file:
        entries, metadata, _ = _read_header(file, path)
        found = {}
        for name, entry in sorted(entries.items(), key=lambda item: item[1].start):
            data = np.empty(entry.stop - entry.start, np.uint8)
            if file.readinto(data.data) != data.size:
                refuse(path, "it became shorter while it was read")
            found[name] = _tensor(name, entry, data, 0, path)
    return {name: found[name] for name in sorted(found)}, metadata


def _read_header(file: BinaryIO, path: Location) -> tuple[dict[str, Entry], dict[str, str], int]:
    """Return the entries, the metadata and where the data begins; the file is read up to there."""
    size = os.fstat(file.fileno()).st_size
    start = file.read(8)
    if len(start) < 8:
        refuse(path, f"it has {len(start)} bytes")
    (length,) = struct.unpack("<Q", start)
    if length > size - 8:
        _refuse_pickle(start, path)
        refuse(path, f"a header of {length} bytes in a file of {size}")
    if length > MAX_HEADER:
        refuse(path, f"a header of {length} bytes, and at most {MAX_HEADER} are read")
    try:
        entries, metadata = parse_header(file.read(length), size - 8 - length)
    except DamagedFileError as fault:
        refuse(path, str(fault))
    return entries, metadata, 8 + length


_PICKLE = (b"PK\x03\x04", *[b"\x80" + bytes([protocol]) for protocol in (2, 3, 4, 5)])


def _refuse_pickle(start: bytes, path: Location) -> None:
    """Refuse what `torch.save` and `pickle.dump` write: a zip archive, or a pickle."""
    if start.startswith(_PICKLE):
        call = f"torch.load({os.fspath(path)!r}, weights_only=True)"
        fix = f'convert it once, with PyTorch: safetensors.torch.save_file({call}, "model.safetensors")'
        text = "Pickled files are not read, since they can run any code"
        raise ArgumentError(message(text, path, "a .safetensors file", fix))


def _tensor(name: str, entry: Entry, data: Any, offset: int, path: Location) -> Tensor:
    count = (entry.stop - entry.start) // entry.dtype.itemsize
    array = np.frombuffer(data, entry.dtype.numpy, count, offset) if count else np.empty(0)
    if entry.dtype.name == "bool" and count and array.view(np.uint8).max() > 1:
        refuse(path, f"{name!r} is of bools, and holds bytes other than 0 and 1")
    return from_numpy(array.astype(entry.dtype.numpy, copy=False).reshape(entry.shape))
