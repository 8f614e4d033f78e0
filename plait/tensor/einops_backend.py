"""Makes plait known to einops, which finds a library by the subclasses of its own class of backends.

einops is not imported here: its class is looked at when somebody else imports it.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from types import ModuleType
from typing import Any

import numpy as np

from plait.tensor.creation import arange, asarray
from plait.tensor.einsum import einsum
from plait.tensor.rearranging import tile
from plait.tensor.shaping import broadcast_to, expand_dims, permute
from plait.tensor.stacking import concatenate, stack
from plait.tensor.tensor import Tensor

_MODULE = "einops._backends"


class _Operations:
    """The operations that einops is made of."""

    framework_name = "plait"

    def is_appropriate_type(self, tensor: Any) -> bool:
        return isinstance(tensor, Tensor)

    def from_numpy(self, x: np.ndarray[Any, Any]) -> Any:
        return asarray(x)

    def to_numpy(self, x: Tensor) -> np.ndarray[Any, Any]:
        return x.numpy()

    def arange(self, start: int, stop: int) -> Any:
        return arange(start, stop)

    def transpose(self, x: Tensor, axes: Sequence[int]) -> Any:
        return permute(x, axes)

    def stack_on_zeroth_dimension(self, tensors: Sequence[Tensor]) -> Any:
        return stack(tensors)

    def add_axis(self, x: Tensor, new_position: int) -> Any:
        return expand_dims(x, new_position)

    def add_axes(self, x: Tensor, n_axes: int, pos2len: dict[int, int]) -> Any:
        for position in sorted(pos2len):
            x = expand_dims(x, position)
        return broadcast_to(x, [pos2len.get(i, size) for i, size in enumerate(x.shape)])

    def tile(self, x: Tensor, repeats: Sequence[int]) -> Any:
        return tile(x, repeats)

    def concat(self, tensors: Sequence[Tensor], axis: int) -> Any:
        return concatenate(tensors, axis)

    def is_float_type(self, x: Tensor) -> bool:
        return x.dtype.is_inexact

    def einsum(self, pattern: str, *x: Tensor) -> Any:
        return einsum(pattern, *x)


def _register(module: ModuleType) -> None:
    module.PlaitBackend = type("PlaitBackend", (_Operations, module.AbstractBackend), {})  # type: ignore[attr-defined]


class _Finder:
    """Leaves the import to the other finders, but has plait registered after it."""

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        if name != _MODULE:
            return None
        sys.meta_path.remove(self)
        spec = find_spec(name)
        if spec is not None and spec.loader is not None:
            execute = spec.loader.exec_module

            def exec_module(module: ModuleType) -> None:
                execute(module)
                _register(module)

            spec.loader.exec_module = exec_module  # type: ignore[method-assign]
        return spec


if _MODULE in sys.modules:
    _register(sys.modules[_MODULE])
else:
    sys.meta_path.insert(0, _Finder())
