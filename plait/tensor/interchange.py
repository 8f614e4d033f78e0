"""What NumPy's functions do with tensors.

`np.sin(x)` and `np.add(array, x)` are the functions of plait of that meaning: the result is a tensor, and gradients
flow through it. So are the operators (`array + x`), and the functions of NumPy that call a method (`np.sum(x)`). All
others (`np.add.reduce`, `np.concatenate`, the ufuncs of SciPy, `out=` an array) take the values as NumPy arrays, and
return arrays.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from plait.core.errors import ArgumentError, message
from plait.tensor import compound, contraction, extremes, functions, logic
from plait.tensor.operators import BINARY
from plait.tensor.tensor import Tensor

_FUNCTIONS = {
    name: function
    for module in (functions, extremes, logic, compound, contraction)
    for name, function in vars(module).items()
    if isinstance(getattr(np, name, None), np.ufunc)
}
_FUNCTIONS |= {
    "divmod": lambda x, y: (BINARY["floor_divide"](x, y), BINARY["remainder"](x, y)),
    "power": functions.pow, "invert": functions.bitwise_not, "left_shift": functions.bitwise_left_shift,
    "right_shift": functions.bitwise_right_shift, "conjugate": functions.conj, "rint": functions.round,
}  # fmt: skip


def array_ufunc(self: Tensor, ufunc: np.ufunc, method: str, *inputs: Any, out: Any = None, **kwargs: Any) -> Any:
    """Apply a ufunc of NumPy to operands of which one is a tensor (this is `Tensor.__array_ufunc__`).

    Returns:
        A tensor, where plait has the function; else NumPy's result for the values.

    Raises:
        GradientError: the values of a tensor that requires gradients are asked for.
    """
    function = _FUNCTIONS.get(ufunc.__name__) if getattr(np, ufunc.__name__, None) is ufunc else None
    targets = () if out is None else out
    if function is not None and method == "__call__" and not kwargs and not targets:
        return function(*[np.asarray(v) if isinstance(v, (list, tuple)) else v for v in inputs])
    if any(isinstance(t, Tensor) for t in targets):
        text = f"The result of NumPy's {ufunc.__name__} cannot be written to a tensor"
        raise ArgumentError(message(text, fix=f"use plait.{ufunc.__name__}(..., out=x)"))
    arrays = [v.numpy() if isinstance(v, Tensor) else v for v in inputs]
    return getattr(ufunc, method)(*arrays, **kwargs, **({"out": out} if targets else {}))


Tensor.__array_ufunc__ = array_ufunc  # type: ignore[attr-defined]
