"""`save` and `load`: any nesting of state in one safetensors file, as scripts know it from PyTorch.

What is no tensor is JSON in the metadata of the file, so that other programs for safetensors read the tensors.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np

from plait.io.files import Location, new_file
from plait.io.header import DamagedFileError, refuse, strict_json
from plait.io.safetensors import check_metadata, read_file, save_file, write_tensors
from plait.io.state import Encoder, decode
from plait.tensor.tensor import Tensor

_STATE = "plait.state"  # in the metadata


def save(state: Any, path: Location, metadata: Mapping[str, str] | None = None) -> None:
    """Write tensors, or any state made of them, to a safetensors file; a file that exists is replaced in one step.

    Args:
        state: tensors (or arrays) by name, such as `model.state_dict()`; or any nesting of dicts, lists, tuples, named
            tuples and dataclasses of tensors, arrays, numbers, strings, bytes, None, and objects with `state_dict` and
            `load_state_dict`, such as a model, its optimizer and the number of the epoch.
        path: the file.
        metadata: strings by name that are stored too.

    Raises:
        ArgumentTypeError: a value that is none of these; the error says where it is.
        ArgumentError: a dtype or a name that the format does not have.
        OSError: the file cannot be written.

    Example:
        >>> model = plait.nn.Linear(2, 1)
        >>> optimizer = plait.optim.SGD(model.parameters(), lr=0.1)
        >>> state = {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "epoch": 3}
        >>> plait.save(state, "run.safetensors")
        >>> saved = plait.load("run.safetensors")
        >>> optimizer.load_state_dict(saved["optimizer"])
        >>> saved["epoch"], saved["optimizer"]["param_groups"][0]["lr"]
        (3, 0.1)
    """
    if isinstance(state, Mapping) and all(_is_named_tensor(*item) for item in state.items()):
        return save_file(state, path, metadata)
    check_metadata(metadata)
    encoder = Encoder(state, copy=False)
    text = json.dumps(encoder.document, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    with new_file(path) as file:
        write_tensors(encoder.arrays, file, {**(metadata or {}), _STATE: text})
    return None


def _is_named_tensor(name: Any, value: Any) -> bool:
    return isinstance(name, str) and isinstance(value, (Tensor, np.ndarray))


def load(path: Location, map_location: Any = None, *, weights_only: bool = True, mmap: bool = False) -> Any:
    """Read what `save` wrote, or any other safetensors file.

    Args:
        path: the file.
        map_location: accepted for PyTorch's sake: values live on the CPU.
        weights_only: accepted for PyTorch's sake: files hold no code, and none is run.
        mmap: whether the tensors share the memory of the mapped file, which is read as they are used; see
            `plait.io.TensorFile`.

    Returns:
        Tensors by name, or the state that was saved: objects as what their `state_dict` returned, dataclasses as dicts.

    Raises:
        ArgumentError: the file is damaged or of another format.
        FileNotFoundError: there is no such file.

    Example:
        >>> plait.save({"x": plait.arange(3)}, "x.safetensors")
        >>> plait.load("x.safetensors")["x"]
        tensor([0, 1, 2])
    """
    tensors, metadata = read_file(path, mmap)
    if _STATE not in metadata:
        return tensors
    try:
        return decode(strict_json(metadata[_STATE], "the state"), tensors)
    except (DamagedFileError, RecursionError) as fault:
        refuse(path, str(fault))
