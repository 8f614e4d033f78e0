"""Reductions and normalizations of the elements that a mask selects: the functions of `torch.masked`.

A mask is a bool tensor, true where an element counts. A function without a mask is that of the same name in `plait`,
but for the dtypes of its results, which are PyTorch's.
"""

from __future__ import annotations

from collections.abc import Callable
from math import inf, nan
from typing import Any

from plait.core.dtype import DType, as_dtype, float32
from plait.core.errors import ArgumentError, DTypeError, ShapeError, message
from plait.core.primitive import P
from plait.prims.rules import broadcast_shapes, broadcast_to
from plait.tensor import cumulative, functions, reductions, sorting
from plait.tensor.extremes import limits_of
from plait.tensor.families import to_bool
from plait.tensor.operators import scalar_node, single
from plait.tensor.tensor import Tensor, converted, node_of, wrap

__all__ = [
    "amax", "amin", "argmax", "argmin", "cumprod", "cumsum", "log_softmax", "logaddexp", "logsumexp", "mean", "median",
    "norm", "normalize", "prod", "softmax", "softmin", "std", "sum", "var",
]  # fmt: skip

Identity = Callable[[DType], Any]
_DOCUMENT = """{summary}

Args:
    input: a tensor.
{first}    {dim}.
{keepdim}{more}    dtype: {dtype}.
    mask: a bool tensor that broadcasts to the shape of `input`; elements where it is false are left out.

Returns:
    A tensor {result}.

Raises:
    ShapeError: there is no such axis, or the mask does not broadcast to the shape of `input`.
    DTypeError: the dtype is not accepted.

Example:
    >>> x, mask = plait.tensor([1.0, 2.0, 3.0]), plait.tensor([True, False, True])
    >>> plait.masked.{example}
"""
_KEEPDIM = "    keepdim: whether reduced axes stay, with size 1.\n"
_SEVERAL, _SINGLE = "dim: an axis, several, or None for all", "dim: the axis"


def _document(function: Any, name: str, summary: str, example: str, result: str, **parts: str) -> Any:
    function.__name__ = function.__qualname__ = name
    text = {"first": "", "keepdim": "", "more": "", "dim": _SEVERAL, "dtype": "the dtype of the result", **parts}
    function.__doc__ = _DOCUMENT.format(summary=summary, example=example.replace("\n", "\n    "), result=result, **text)
    return function


def _zero(dtype: DType) -> Any:
    return 0


def _one(dtype: DType) -> Any:
    return 1


def _lowest(dtype: DType) -> Any:
    return -inf if dtype.is_complex else limits_of(dtype)[0]


def _highest(dtype: DType) -> Any:
    return limits_of(dtype)[1]


def _mask(x: Tensor, mask: Any, name: str) -> Tensor:
    """Return a mask of the shape of `x`."""
    node = to_bool(single(mask, name))
    if node.ndim > x.ndim or broadcast_shapes(node.shape, x.shape, name=name) != x.shape:
        text = f"The mask of {name} broadcasts to the shape of the tensor"
        raise ShapeError(message(text, f"mask {node.shape}", f"a shape that broadcasts to {x.shape}"))
    return wrap(broadcast_to(node, x.shape))


def _filled(x: Any, mask: Any, identity: Identity, name: str) -> Tensor:
    """Return `x` with what does not change the result in place of the elements that are left out."""
    node = single(x, name)
    if mask is None:
        return wrap(node)
    kept = node_of(_mask(wrap(node), mask, name))
    return wrap(P.select(kept, node, scalar_node(identity(node.dtype), node.dtype)))


def _axes(dim: Any) -> Any:
    return None if isinstance(dim, (tuple, list)) and not dim else dim


def _as(x: Tensor, dtype: Any) -> Tensor:
    return wrap(converted(node_of(x), as_dtype(dtype)))


# reductions


def _summing(name: str, function: Any, identity: Identity, summary: str, example: str) -> Any:
    """Make a reduction that computes in `dtype`: int64 for smaller integers."""

    def apply(input: Any, dim: Any = None, *, keepdim: bool = False, dtype: Any = None, mask: Any = None) -> Tensor:
        return function(_filled(input, mask, identity, name), _axes(dim), bool(keepdim), dtype)

    return _document(
        apply, name, summary, example, "without the reduced axes", keepdim=_KEEPDIM,
        dtype="compute in this dtype; by default int64 for integers and bools",
    )  # fmt: skip


def _reducing(name: str, function: Any, identity: Identity, summary: str, example: str, dim: str = _SEVERAL) -> Any:
    """Make a reduction whose result is converted to `dtype`: that of the tensor by default."""

    def apply(input: Any, dim: Any = None, *, keepdim: bool = False, dtype: Any = None, mask: Any = None) -> Tensor:
        x = _filled(input, mask, identity, name)
        return _as(function(x, axis=_axes(dim), keepdims=bool(keepdim)), x.dtype if dtype is None else dtype)

    return _document(
        apply, name, summary, example, "without the reduced axes", keepdim=_KEEPDIM, dim=dim,
        dtype="the dtype of the result; by default that of `input`",
    )  # fmt: skip


_ONE_OR_ALL = "dim: an axis, or None for the position in the flattened tensor"
sum = _summing("sum", reductions.sum, _zero, "Return the sum.", "sum(x, mask=mask)\ntensor(4.)")
prod = _summing("prod", reductions.prod, _one, "Return the product.", "prod(x, mask=mask)\ntensor(3.)")
amax = _reducing("amax", reductions.amax, _lowest, "Return the largest element.", "amax(x, mask=mask)\ntensor(3.)")
amin = _reducing("amin", reductions.amin, _highest, "Return the smallest element.", "amin(x, mask=mask)\ntensor(1.)")
argmax = _reducing(
    "argmax", reductions.argmax, _lowest, "Return the position of the (first) largest element.",
    "argmax(x, dtype=plait.int64, mask=mask)\ntensor(2)", _ONE_OR_ALL,
)  # fmt: skip
argmin = _reducing(
    "argmin", reductions.argmin, _highest, "Return the position of the (first) smallest element.",
    "argmin(x, dtype=plait.int64, mask=mask)\ntensor(0)", _ONE_OR_ALL,
)  # fmt: skip
logsumexp = _reducing(
    "logsumexp", reductions.logsumexp, _lowest, "Return log(sum(exp(x))) without overflow.",
    "logsumexp(x, mask=mask)\ntensor(3.1269)",
)  # fmt: skip


def _mean(input: Any, dim: Any = None, *, keepdim: bool = False, dtype: Any = None, mask: Any = None) -> Tensor:
    x = wrap(single(input, "mean"))
    wanted = x.dtype if dtype is None else as_dtype(dtype)
    if not wanted.is_inexact:
        fix = "pass dtype=plait.float32"
        raise DTypeError(message("masked.mean returns floats", wanted.name, "a float or complex dtype", fix))
    if mask is None:
        return reductions.mean(x, _axes(dim), bool(keepdim), wanted)
    kept = _mask(x, mask, "mean")
    count = reductions.count_nonzero(kept, _axes(dim), bool(keepdim))
    return sum(x, dim, keepdim=keepdim, dtype=wanted, mask=kept) / count


mean = _document(
    _mean, "mean", "Return the mean; NaN where nothing is left.", "mean(x, mask=mask)\ntensor(2.)",
    "without the reduced axes", keepdim=_KEEPDIM, dtype="compute in this dtype, which is floating",
)  # fmt: skip


def _median(input: Any, dim: int = -1, *, keepdim: bool = False, dtype: Any = None, mask: Any = None) -> Tensor:
    x = wrap(single(input, "median"))
    wide = x if x.dtype.is_floating else _as(x, float32)
    found = sorting.nanmedian(_filled(wide, mask, lambda dtype: nan, "median"), dim=dim, keepdim=keepdim).values
    return found if x.dtype.is_floating else _as(found, x.dtype if dtype is None else dtype)


median = _document(
    _median, "median", "Return the (lower) median; NaN where nothing is left.", "median(x, mask=mask)\ntensor(1.)",
    "without the axis", keepdim=_KEEPDIM, dim="dim: the axis, by default the last",
    dtype="the dtype of the result where `input` is not floating",
)  # fmt: skip


def _norm(
    input: Any, ord: float | None = 2.0, dim: Any = None, *, keepdim: bool = False, dtype: Any = None, mask: Any = None
) -> Tensor:
    order = 2.0 if ord is None else float(ord)
    x = _filled(input, mask, _highest if order == -inf else _zero, "norm")
    return reductions.norm(x, order, _axes(dim), bool(keepdim), dtype)


_ORD = "    ord: the order of the norm: 0, a number, inf or -inf.\n"
norm = _document(
    _norm, "norm", "Return the vector norm.", "norm(x, 1, mask=mask)\ntensor(4.)", "without the reduced axes",
    first=_ORD, keepdim=_KEEPDIM, dtype="compute in this dtype",
)  # fmt: skip


def _moment(name: str, root: bool, summary: str, example: str) -> Any:
    def apply(
        input: Any, dim: Any = None, unbiased: bool | None = None, *, correction: float | None = None,
        keepdim: bool = False, dtype: Any = None, mask: Any = None,
    ) -> Tensor:  # fmt: skip
        if unbiased is not None and correction is not None:
            text = f"masked.{name} takes unbiased or correction, not both"
            raise ArgumentError(message(text, f"unbiased={unbiased}, correction={correction}"))
        subtracted = correction if correction is not None else 1.0 if unbiased is None else float(unbiased)
        x = wrap(single(input, name))
        wanted = as_dtype(dtype) if dtype is not None else x.dtype if x.dtype.is_inexact else float32
        kept = _mask(x, True if mask is None else mask, name)
        count = reductions.count_nonzero(kept, _axes(dim), True)
        gap = x - sum(x, dim, keepdim=True, dtype=wanted, mask=kept) / count
        total = sum(gap * gap.conj(), dim, keepdim=keepdim, dtype=wanted if wanted.is_inexact else float32, mask=kept)
        rest = _as(count.reshape(total.shape), total.dtype.real if total.dtype.is_complex else total.dtype) - subtracted
        result = _as(total / functions.clamp(rest, min=0), wanted)
        return wrap(P.sqrt(node_of(result))) if root else result

    return _document(
        apply, name, summary, example, "without the reduced axes", keepdim=_KEEPDIM,
        more="    unbiased: whether the correction is 1, the default, or 0.\n"
        "    correction: subtracted from the number of elements.\n",
    )  # fmt: skip


var = _moment("var", False, "Return the variance; NaN where nothing is left.", "var(x, mask=mask)\ntensor(2.)")
std = _moment("std", True, "Return the standard deviation; NaN where nothing is left.",
              "std(x, mask=mask)\ntensor(1.4142)")  # fmt: skip


# functions along an axis


def _along(name: str, function: Any, identity: Identity, summary: str, example: str) -> Any:
    def apply(input: Any, dim: int, *, dtype: Any = None, mask: Any = None) -> Tensor:
        x = _filled(input, mask, identity, name)
        return function(x, dim, x.dtype if dtype is None else as_dtype(dtype))

    return _document(
        apply, name, summary, example, "of the shape of `input`", dim=_SINGLE,
        dtype="compute in this dtype; by default in that of `input`",
    )  # fmt: skip


def _negated_softmax(x: Tensor, dim: int, dtype: DType) -> Tensor:
    return reductions.softmax(functions.negative(x), dim, dtype)


cumsum = _along(
    "cumsum", cumulative.cumsum, _zero, "Return running sums.", "cumsum(x, 0, mask=mask)\ntensor([1., 1., 4.])",
)  # fmt: skip
cumprod = _along(
    "cumprod", cumulative.cumprod, _one, "Return running products.", "cumprod(x, 0, mask=mask)\ntensor([1., 1., 3.])",
)  # fmt: skip
softmax = _along(
    "softmax", reductions.softmax, _lowest, "Return exp(x) divided by its sum along an axis.",
    "softmax(x, 0, mask=mask)\ntensor([0.1192, 0.0000, 0.8808])",
)  # fmt: skip
log_softmax = _along(
    "log_softmax", reductions.log_softmax, _lowest, "Return log(softmax(x)); -inf for what is left out.",
    "log_softmax(x, 0, mask=mask)\ntensor([-2.1269,    -inf, -0.1269])",
)  # fmt: skip
softmin = _along(
    "softmin", _negated_softmax, _highest, "Return softmax(-x).",
    "softmin(x, 0, mask=mask)\ntensor([0.8808, 0.0000, 0.1192])",
)  # fmt: skip


def _normalize(
    input: Any, ord: float, dim: int, *, eps: float = 1e-12, dtype: Any = None, mask: Any = None
) -> Tensor:  # fmt: skip
    length = norm(input, ord, dim, keepdim=True, dtype=dtype, mask=mask)
    return _filled(input, mask, _zero, "normalize") / functions.clamp(length, min=eps)


normalize = _document(
    _normalize, "normalize", "Return `input` divided by its norm along an axis.",
    "normalize(x, 1, 0, mask=mask)\ntensor([0.2500, 0.0000, 0.7500])", "of the shape of `input`; 0 where left out",
    first=_ORD, dim=_SINGLE, more="    eps: the least divisor.\n", dtype="compute the norm in this dtype",
)  # fmt: skip


def logaddexp(
    input: Any, other: Any, *, dtype: Any = None, input_mask: Any = None, other_mask: Any = None
) -> Tensor:  # fmt: skip
    """Return log(exp(input) + exp(other)); what a mask leaves out counts as -inf.

    Args:
        input: a tensor.
        other: a tensor of a shape that broadcasts with `input`.
        dtype: the dtype of the result; by default that of `input`.
        input_mask: a bool tensor that broadcasts to the shape of `input`, true where an element counts.
        other_mask: the same for `other`.

    Returns:
        A tensor of the broadcast shape.

    Raises:
        ShapeError: the shapes do not broadcast.

    Example:
        >>> plait.masked.logaddexp(plait.zeros(2), plait.zeros(2), other_mask=plait.tensor([True, False]))
        tensor([0.6931, 0.0000])
    """
    x, y = _filled(input, input_mask, _lowest, "logaddexp"), _filled(other, other_mask, _lowest, "logaddexp")
    return _as(functions.logaddexp(x, y), x.dtype if dtype is None else dtype)
