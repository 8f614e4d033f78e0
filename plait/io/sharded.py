"""Weights in several safetensors files with an index, as models are published on Hugging Face."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from plait.core.dtype import as_dtype
from plait.core.errors import ArgumentError, ArgumentTypeError, message
from plait.io.files import Location, existing_folder, new_file
from plait.io.header import DamagedFileError, strict_json
from plait.io.safetensors import TensorFile, save_file
from plait.tensor.converting import astype
from plait.tensor.tensor import Tensor

SINGLE, INDEX = "model.safetensors", "model.safetensors.index.json"
Rename = Mapping[str, str | None] | Callable[[str], str | None]
_MAX_INDEX = 100_000_000  # bytes
_UNITS = {"KB": 10**3, "MB": 10**6, "GB": 10**9, "KIB": 2**10, "MIB": 2**20, "GIB": 2**30}


def load_sharded(path: Location, rename: Rename | None = None, dtype: Any = None) -> dict[str, Tensor]:
    """Read the weights of a model from one or several safetensors files.

    Args:
        path: a folder with `model.safetensors.index.json` or `model.safetensors`, such an index, or one file.
        rename: beginnings of names (whole parts, up to a dot) and what takes their place; the longest that fits
            counts, "" removes it, None leaves the tensors out. Or a function from names to names or None.
        dtype: what floating-point tensors are converted to; by default they stay as they are.

    Returns:
        Tensors by name; they share the memory of the mapped files, which are read as they are used.

    Raises:
        ArgumentError: a file is damaged, the index and the files do not agree, or two tensors get one name.
        FileNotFoundError: there is no such file.

    Example:
        >>> model = plait.nn.Linear(2, 3)
        >>> plait.io.save_sharded({f"encoder.{k}": v for k, v in model.state_dict().items()}, ".")
        >>> sorted(plait.io.load_sharded(".", rename={"encoder": ""}))
        ['bias', 'weight']
    """
    change = _renaming(rename)
    target = None if dtype is None else as_dtype(dtype)
    found: dict[str, Tensor] = {}
    for file in _files(Path(path)):
        for name in file:
            new = change(name)
            if new is None:
                continue
            if new in found:
                text = "Two tensors get the same name"
                raise ArgumentError(message(text, f"{name!r} becomes {new!r} too", None, "change rename"))
            value = file[name]
            found[new] = value if target is None or not value.dtype.is_floating else astype(value, target)
    return found


def load_model(model: Any, path: Location, strict: bool = True, rename: Rename | None = None, dtype: Any = None) -> Any:
    """Copy weights from one or several safetensors files into a model.

    Args:
        model: the module.
        path: see `load_sharded`, like `rename` and `dtype`.
        strict: whether names that are missing or unknown are an error.
        rename: see `load_sharded`.
        dtype: see `load_sharded`; values are converted to the dtype of the parameter in any case.

    Returns:
        The missing and the unexpected names, as `load_state_dict` does.

    Raises:
        ArgumentError: a file is damaged, or the weights do not fit; then nothing has been changed.
        FileNotFoundError: there is no such file.

    Example:
        >>> model, twin = plait.nn.Linear(2, 3), plait.nn.Linear(2, 3)
        >>> plait.save(model.state_dict(), "model.safetensors")
        >>> plait.io.load_model(twin, "model.safetensors")
        IncompatibleKeys(missing_keys=[], unexpected_keys=[])
    """
    return model.load_state_dict(load_sharded(path, rename, dtype), strict)


def _renaming(rename: Rename | None) -> Callable[[str], str | None]:
    if rename is None:
        return lambda name: name
    if callable(rename):
        return rename
    if not isinstance(rename, Mapping):
        expected = "a dict from beginnings of names to others, or a function"
        raise ArgumentTypeError(message("rename says how names change", type(rename).__name__, expected))

    def change(name: str) -> str | None:
        parts = name.split(".")
        for count in range(len(parts), 0, -1):
            start = ".".join(parts[:count])
            if start in rename:
                new = rename[start]
                return None if new is None else ".".join([*([new] if new else []), *parts[count:]])
        return name

    return change


def _files(path: Path) -> list[TensorFile]:
    if path.is_dir():
        path = path / INDEX if (path / INDEX).exists() else path / SINGLE
    if path.suffix != ".json":
        return [TensorFile(path)]
    weight_map = _weight_map(path)
    files = {name: TensorFile(path.parent / name) for name in sorted(set(weight_map.values()))}
    problems = [f"{n!r} is not in {f}" for n, f in weight_map.items() if n not in files[f]]
    problems += [f"{n!r} of {f} is not in the index" for f, file in files.items() for n in file if n not in weight_map]
    problems += [f"{n!r} is in {f} too" for f, file in files.items() for n in file if weight_map.get(n, f) != f]
    if problems:
        listed = "; ".join(problems[:5]) + (f"; and {len(problems) - 5} more" if len(problems) > 5 else "")
        fix = "get all files of the same version of the model"
        raise ArgumentError(message(f"The index {path} and its files do not agree", listed, None, fix))
    return list(files.values())


def _weight_map(path: Path) -> dict[str, str]:
    try:
        if path.stat().st_size > _MAX_INDEX:
            raise DamagedFileError(f"it has more than {_MAX_INDEX} bytes")
        index = strict_json(path.read_bytes(), "the index")
        weight_map = index.get("weight_map") if isinstance(index, dict) else None
        if not isinstance(weight_map, dict) or not all(isinstance(f, str) for f in weight_map.values()):
            raise DamagedFileError("it has no weight_map from names to files")
        for file in set(weight_map.values()):
            if not file or file in (".", "..") or set(file) & {"/", "\\", ":", "\0"}:
                raise DamagedFileError(f"{file!r} is not the name of a file beside it")
    except DamagedFileError as fault:
        expected = 'JSON with a "weight_map" from the names of tensors to those of files in the same folder'
        raise ArgumentError(message("This is no index of safetensors files", f"{path}: {fault}", expected)) from None
    return weight_map


def save_sharded(tensors: Mapping[str, Any], folder: Location, max_shard_size: int | str = "5GB") -> None:
    """Write weights to a folder: one `model.safetensors`, or several files and `model.safetensors.index.json`.

    Files of that name are replaced. The index goes first and comes last: there is none that names files of two models.

    Args:
        tensors: tensors (or arrays) by name, such as `model.state_dict()`.
        folder: an existing folder.
        max_shard_size: bytes of the tensors in one file, or a text such as "500MB"; larger tensors get one each.

    Raises:
        ArgumentTypeError: `tensors` is no mapping from strings to tensors.
        ArgumentError: a dtype or a name that the format does not have, or `max_shard_size` is no size.
        OSError: a file cannot be written.

    Example:
        >>> plait.io.save_sharded({"a": plait.ones(300), "b": plait.ones(300)}, ".", max_shard_size="2KB")
        >>> sorted(plait.io.load_sharded("model.safetensors.index.json"))
        ['a', 'b']
    """
    target, sizes = existing_folder(Path(folder)), _nbytes(tensors)
    shards = _split(sizes, _size(max_shard_size))
    if len(shards) <= 1:
        save_file(tensors, target / SINGLE, {"format": "pt"})
        (target / INDEX).unlink(missing_ok=True)
        return
    (target / INDEX).unlink(missing_ok=True)
    names = [f"model-{k + 1:05}-of-{len(shards):05}.safetensors" for k in range(len(shards))]
    for file, shard in zip(names, shards, strict=True):
        save_file({name: tensors[name] for name in shard}, target / file, {"format": "pt"})
    weight_map = {name: file for file, shard in zip(names, shards, strict=True) for name in shard}
    index = {"metadata": {"total_size": sum(sizes.values())}, "weight_map": dict(sorted(weight_map.items()))}
    with new_file(target / INDEX) as opened:
        opened.write(json.dumps(index, indent=2).encode() + b"\n")
    (target / SINGLE).unlink(missing_ok=True)


def _nbytes(tensors: Any) -> dict[str, int]:
    if not isinstance(tensors, Mapping):
        fix = "pass e.g. model.state_dict()"
        raise ArgumentTypeError(message("Only tensors by name are saved", type(tensors).__name__, "a dict", fix))
    return {name: getattr(value, "nbytes", 0) for name, value in tensors.items()}


def _split(sizes: Mapping[str, int], limit: int) -> list[list[str]]:
    shards: list[list[str]] = []
    filled = limit
    for name, size in sizes.items():
        if not shards or filled + size > limit:
            shards.append([])
            filled = 0
        shards[-1].append(name)
        filled += size
    return shards


def _size(value: int | str) -> int:
    if isinstance(value, str):
        number, unit = value[:-3], value[-3:].upper()
        if unit not in _UNITS:
            number, unit = value[:-2], value[-2:].upper()
        size = int(number) * _UNITS[unit] if number.isdecimal() and unit in _UNITS else 0
    else:
        size = value if type(value) is int else 0
    if size < 1:
        raise ArgumentError(message("max_shard_size is a size", repr(value), 'bytes, or a text such as "500MB"'))
    return size
