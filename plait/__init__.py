"""plait: one framework for research, performance and production.

Eager code that is recorded and compiled behind the user's back, composable transforms over one graph, LLVM as the
only code generator.
"""

from __future__ import annotations

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
from plait.tensor import functions as _functions
from plait.tensor.autograd import (
    backward as _backward,
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
