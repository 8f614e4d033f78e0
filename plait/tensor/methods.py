"""The methods of `Tensor`: the functions of the namespace, attached; those ending in an underscore write in place."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from functools import wraps
from typing import Any

from plait.tensor import (
    absent,
    arithmetic,
    attributes,
    autograd,
    compound,
    contraction,
    converting,
    copies,
    creation,
    cumulative,
    diagonals,
    dlpack,
    elementary,
    extremes,
    functions,
    hooks,
    indexing,
    logic,
    parts,
    rearranging,
    reductions,
    repr,
    scattering,
    selection,
    sets,
    shaping,
    sorting,
    splitting,
    statistics,
    strides,
    transcendental,
)
from plait.tensor.converting import astype
from plait.tensor.operators import BINARY, assign, operator_method
from plait.tensor.shaping import broadcast_to
from plait.tensor.tensor import Tensor, check_write, node_of, to_node, wrap, write

_VIEWS_REPLACED = ("select_scatter", "slice_scatter", "diagonal_scatter", "as_strided_scatter")
_FUNCTIONS_ONLY = ("complex", "equal", "polar", "where")
_ELEMENTWISE = ["sigmoid", "relu"]
for _module in (arithmetic, compound, elementary, extremes, logic, parts, transcendental):
    _ELEMENTWISE += [name for name in _module.__all__ if name not in _FUNCTIONS_ONLY]
_NOT_IN_PLACE = ("allclose", "angle", "bitwise_count", "frexp", "signbit", "resolve_conj", "resolve_neg")
_REDUCTIONS = """
    sum prod mean var std max min amax amin aminmax any all count_nonzero argmax argmin nansum nanmean logsumexp softmax
    log_softmax norm dist renorm
""".split()
_CUMULATIVE = "cumsum cumprod cummax cummin logcumsumexp diff".split()
_ORDERS = "sort argsort msort topk kthvalue median nanmedian mode quantile nanquantile".split()
_SHAPES = """
    reshape reshape_as view view_as flatten ravel unflatten squeeze unsqueeze permute transpose t adjoint swapaxes
    swapdims movedim moveaxis broadcast_to expand expand_as sum_to_size clone
""".split()
_PIECES = """
    narrow select split split_with_sizes chunk tensor_split hsplit vsplit dsplit unbind unsafe_split
    unsafe_split_with_sizes unsafe_chunk
""".split()
_DIAGONALS = "diagonal diag diag_embed diagflat fill_diagonal_ trace tril triu".split()
_MOVES = "tile repeat_interleave flip fliplr flipud rot90 roll".split()
_SELECTIONS = """
    take take_along_dim index_select gather masked_fill masked_select nonzero_static argwhere
""".split()
_PRODUCTS = ["matmul"]
_TABLE = (
    (functions, _ELEMENTWISE), (reductions, _REDUCTIONS), (cumulative, _CUMULATIVE), (sorting, _ORDERS),
    (sets, ("unique", "unique_consecutive", "isin")),
    (statistics, ("bincount", "corrcoef", "cov", "histc", "histogram")),
    (shaping, _SHAPES), (splitting, _PIECES), (diagonals, _DIAGONALS), (strides, ["as_strided"]),
    (converting, ["astype"]), (copies, ["narrow_copy"]), (rearranging, _MOVES), (selection, _SELECTIONS),
    (scattering, scattering.__all__),
    (contraction, _PRODUCTS),
)  # fmt: skip
_IN_PLACE = [n for n in _ELEMENTWISE if n not in _NOT_IN_PLACE and not n.startswith("is")]
_IN_PLACE += [
    "cumsum",
    "cumprod",
    "renorm",
    "tril",
    "triu",
    "masked_fill",
    *[n for n in scattering.__all__ if n not in _VIEWS_REPLACED],
]


def in_place(function: Callable[..., Tensor], name: str) -> Callable[..., Tensor]:
    """Return the method that writes the result of `function` to its first argument and returns that."""

    @wraps(function)
    def method(self: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        return assign(self, function(self, *args, **kwargs), name)

    method.__name__ = method.__qualname__ = name
    method.__doc__ = f"Write the result of `{name[:-1]}` to this tensor and return it.\n\n{function.__doc__ or ''}"
    return method


def example_calls(function: Callable[..., Any], full_name: str) -> str:
    """Return the documentation of a function, whose example calls it by another name."""
    return re.sub(rf"\bplait(\.\w+)*\.{function.__name__}\(", f"{full_name}(", function.__doc__ or "")


def writing(function: Callable[..., Tensor], full_name: str) -> Callable[..., Tensor]:
    """Return the function of this name that writes the result of `function` to its first argument."""
    method = in_place(function, full_name.rpartition(".")[2])
    method.__doc__ = (method.__doc__ or "").replace(function.__doc__ or "", example_calls(function, full_name))
    return method


def copy_(self: Tensor, source: Any) -> Tensor:
    """Write `source`, which broadcasts and is converted to the dtype of this tensor; returns the tensor.

    Raises:
        ShapeError: `source` does not broadcast to this tensor.
    """
    if source is self:
        check_write(self)
    else:
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
            function = getattr(module, name)
            setattr(Tensor, name, getattr(function, "method", function))
            if name in _IN_PLACE:
                setattr(Tensor, f"{name}_", in_place(function, f"{name}_"))
    for method in (copy_, fill_, zero_, *converting.METHODS, *creation.METHODS, *hooks.METHODS, *strides.METHODS):
        setattr(Tensor, method.__name__, method)
    attributes.attach()
    for name, method in _OPERATORS.items():
        setattr(Tensor, name, method)
    for name, function in _PROPERTIES.items():
        setattr(Tensor, name, property(function, _assigning(function)))


_OPERATORS = {
    "equal": logic.is_equal,
    "__rdiv__": lambda self, other: BINARY["divide"](other, self),
    "repeat": rearranging.repeat_whole,
    "nonzero": attributes.nonzero_method,
    "__getattr__": absent.of_tensor,
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
    "__round__": lambda self, ndigits=None: functions.round(self, ndigits or 0),
    "__divmod__": operator_method(_divmod),
    "__rdivmod__": operator_method(_divmod, reflected=True),
}


def _reversed_axes(x: Tensor) -> Tensor:
    """Return a view with the axes in reverse order.

    Example:
        >>> plait.zeros(2, 3).T.shape
        (3, 2)
    """
    return shaping.transpose(x)  # type: ignore[no-any-return]


_PROPERTIES = {
    "T": _reversed_axes,
    "mT": shaping.matrix_transpose,
    "H": shaping.adjoint,
    "mH": shaping.adjoint,
    "real": converting.real,
    "imag": converting.imag,
    "retains_grad": hooks.retains_grad,
}

_attach()
