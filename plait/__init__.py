"""plait: one framework for research, performance and production.

Eager code that is recorded and compiled behind the user's back, composable transforms over one graph, LLVM as the
only code generator.
"""

from __future__ import annotations

import types as _types

import plait.prims as _prims  # noqa: F401 - registers every primitive
from plait.core import errors, tree
from plait.core.dtype import (
    DType,
    bfloat16,
    bool_,
    complex64,
    complex128,
    float8_e4m3fn,
    float8_e5m2,
    float16,
    float32,
    float64,
    int8,
    int16,
    int32,
    int64,
    uint8,
    uint16,
    uint32,
    uint64,
)
from plait.tensor import (
    autograd as _autograd,
    contraction as _contraction,
    creation as _creation,
    dlpack as _dlpack,
    functions as _functions,
    methods as _methods,  # noqa: F401 - attaches the methods of Tensor
    rearranging as _rearranging,
    reductions as _reductions,
    selection as _selection,
    shaping as _shaping,
)
from plait.tensor.autograd import (
    enable_grad,
    grad,
    hessian,
    is_grad_enabled,
    jacfwd,
    jacrev,
    jvp,
    linearize,
    no_grad,
    value_and_grad,
    vjp,
)
from plait.tensor.control import cond, fori_loop, pure_callback, scan, while_loop
from plait.tensor.jit import jit
from plait.tensor.lazy import sync
from plait.tensor.tensor import Parameter, Tensor
from plait.tensor.transforms import checkpoint, custom_jvp, custom_vjp, vmap

__version__ = "0.1.0"


def _export() -> None:
    """Make the functions of the tensor modules public names of this package."""
    modules = (_creation, _functions, _reductions, _shaping, _rearranging, _selection, _contraction)
    for module in modules:
        for name, value in vars(module).items():
            public = isinstance(value, _types.FunctionType) and value.__module__ == module.__name__
            if public and name[0] != "_" and name not in _INTERNAL:
                globals()[name] = value


_INTERNAL = {"as_operand", "both_names", "limits_of", "normalized_axes", "range_step", "shape_of"}
_export()
from_dlpack = _dlpack.from_dlpack
Tensor.backward = _autograd.backward  # type: ignore[attr-defined]
