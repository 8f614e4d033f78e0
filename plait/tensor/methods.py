"""The methods of `Tensor`: the functions of the namespace, attached; those ending in an underscore write in place."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import wraps
from typing import Any

from plait.core.dtype import as_dtype
from plait.tensor import (
    autograd,
    contraction,
    dlpack,
    functions,
    indexing,
    rearranging,
    reductions,
    repr,
    selection,
    shaping,
)
from plait.tensor.operators import BINARY, assign, operator_method
from plait.tensor.shaping import astype, broadcast_to
from plait.tensor.tensor import Tensor, node_of, to_node, wrap, write

_ELEMENTWISE = """
    abs absolute negative neg positive sign floor ceil trunc fix square reciprocal exp exp2 expm1 log log2 log10 log1p
    sqrt rsqrt cbrt sin cos tan asin arcsin acos arccos atan arctan sinh cosh tanh asinh arcsinh acosh arccosh atanh
    arctanh erf erfc erfinv lgamma digamma bitwise_not logical_not isnan isinf isfinite signbit conj sigmoid relu
    add subtract sub multiply mul divide div true_divide floor_divide remainder fmod pow maximum minimum atan2 arctan2
    hypot logaddexp copysign nextafter equal eq not_equal ne less lt less_equal le greater gt greater_equal ge
    bitwise_and bitwise_or bitwise_xor bitwise_left_shift bitwise_right_shift logical_and logical_or logical_xor
    round clamp clip lerp
""".split()
_REDUCTIONS = """
    sum prod mean var std max min amax amin any all count_nonzero argmax argmin logsumexp softmax log_softmax norm
    cumsum cumprod cummax cummin logcumsumexp sort argsort topk
""".split()
_SHAPES = """
    reshape view view_as flatten ravel unflatten squeeze unsqueeze permute transpose swapaxes swapdims movedim moveaxis
    broadcast_to expand expand_as narrow split chunk unbind diagonal clone contiguous astype to
""".split()
_MOVES = "tile repeat_interleave flip roll tril triu diag trace".split()
_SELECTIONS = """
    take index_select gather masked_fill masked_select nonzero scatter scatter_add index_add index_copy index_fill
    index_put
""".split()
_PRODUCTS = "matmul dot outer".split()
_TABLE = (
    (functions, _ELEMENTWISE), (reductions, _REDUCTIONS), (shaping, _SHAPES), (rearranging, _MOVES),
    (selection, _SELECTIONS), (contraction, _PRODUCTS),
)  # fmt: skip
_IN_PLACE = [*_ELEMENTWISE, "cumsum", "cumprod", "tril", "triu", *_SELECTIONS[3:4], *_SELECTIONS[6:]]


def in_place(function: Callable[..., Tensor], name: str) -> Callable[..., Tensor]:
    """Return the method that writes the result of `function` to its first argument and returns that."""

    @wraps(function)
    def method(self: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        return assign(self, function(self, *args, **kwargs), name)

    method.__name__ = method.__qualname__ = name
    method.__doc__ = f"Write the result of `{name[:-1]}` to this tensor and return it.\n\n{function.__doc__ or ''}"
    return method


def copy_(self: Tensor, source: Any) -> Tensor:
    """Write `source`, which broadcasts and is converted to the dtype of this tensor; returns the tensor.

    Raises:
        ShapeError: `source` does not broadcast to this tensor.
    """
    if source is not self:
        exact = source if isinstance(source, Tensor) else wrap(to_node(source, self.dtype))
        value = broadcast_to(astype(exact, self.dtype, copy=False), self.shape)
        # two tensors never share a node: each may be updated in place by a compiled function
        write(self, node_of(shaping.clone(value) if value is source else value))
    return self


def fill_(self: Tensor, value: Any) -> Tensor:
    """Write one number to every element; returns the tensor."""
    return copy_(self, value)


def zero_(self: Tensor) -> Tensor:
    """Write 0 to every element; returns the tensor."""
    return copy_(self, 0)


def type_as(self: Tensor, other: Tensor) -> Tensor:
    """Convert to the dtype of another tensor."""
    return astype(self, other.dtype, copy=False)


def cpu(self: Tensor) -> Tensor:
    """Return the tensor: its value is on the CPU."""
    return self


def _convert_to(name: str) -> Callable[[Tensor], Tensor]:
    def method(self: Tensor) -> Tensor:
        return astype(self, as_dtype(name), copy=False)

    method.__doc__ = f"Convert to {name}."
    return method


def attach(functions: Iterable[Callable[..., Any]], in_place_too: Iterable[str] = ()) -> None:
    """Make functions of a tensor its methods, those named in `in_place_too` also with an underscore."""
    written = set(in_place_too)
    for function in functions:
        name = function.__name__
        setattr(Tensor, name, function)
        if name in written:
            setattr(Tensor, f"{name}_", in_place(function, f"{name}_"))


def _divmod(x: Any, y: Any) -> tuple[Tensor, Tensor]:
    return BINARY["floor_divide"](x, y), BINARY["remainder"](x, y)


def _assigning(view: Callable[[Tensor], Tensor]) -> Callable[[Tensor, Any], None]:
    def assign_to(self: Tensor, value: Any) -> None:
        indexing.setitem(view(self), ..., value)

    return assign_to


def _attach() -> None:
    for module, names in _TABLE:
        for name in names:
            setattr(Tensor, name, getattr(module, name))
            if name in _IN_PLACE:
                setattr(Tensor, f"{name}_", in_place(getattr(module, name), f"{name}_"))
    for method in (copy_, fill_, zero_, type_as, cpu):
        setattr(Tensor, method.__name__, method)
    for name, dtype in _CONVERSIONS.items():
        setattr(Tensor, name, _convert_to(dtype))
    for name, method in _OPERATORS.items():
        setattr(Tensor, name, method)
    for name, function in _PROPERTIES.items():
        setattr(Tensor, name, property(function, _assigning(function)))


_CONVERSIONS = {
    "float": "float32", "double": "float64", "half": "float16", "bfloat16": "bfloat16", "int": "int32",
    "long": "int64", "short": "int16", "char": "int8", "byte": "uint8", "bool": "bool", "cfloat": "complex64",
    "cdouble": "complex128",
}  # fmt: skip
_OPERATORS = {
    "repeat": rearranging.tile,
    "t": shaping.transpose,
    "__repr__": repr.represent,
    "backward": autograd.backward,
    "__getitem__": indexing.getitem,
    "__setitem__": indexing.setitem,
    "__dlpack__": dlpack.export,
    "__dlpack_device__": dlpack.device,
    "__neg__": functions.negative,
    "__pos__": functions.positive,
    "__abs__": functions.abs,
    "__invert__": functions.bitwise_not,
    "__matmul__": operator_method(contraction.matmul),
    "__rmatmul__": operator_method(contraction.matmul, reflected=True),
    "__imatmul__": lambda self, other: assign(self, contraction.matmul(self, other), "@="),
    "__divmod__": operator_method(_divmod),
    "__rdivmod__": operator_method(_divmod, reflected=True),
}
_PROPERTIES = {
    "T": shaping.transpose,
    "mT": shaping.matrix_transpose,
    "H": lambda self: functions.conj(shaping.matrix_transpose(self)),
    "real": shaping.real,
    "imag": shaping.imag,
}

_attach()
