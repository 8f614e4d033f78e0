"""What functions along axes share: names, documentation, the two forms of a call, operands and reductions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import wraps
from math import prod
from typing import Any

from plait.core.dtype import as_dtype, int64
from plait.core.errors import ArgumentTypeError, ShapeError, message
from plait.core.graph import Node
from plait.core.primitive import P
from plait.prims.sort import take_along
from plait.tensor.composite import composite
from plait.tensor.families import both_names, named
from plait.tensor.operators import scalar_node, single, to_float
from plait.tensor.tensor import Tensor, axis_index, converted, wrap

Axis = int | Sequence[int] | None
_DOCUMENT = """{summary}

Args:
    x: a tensor.
    axis: {axis} (`dim` is another name).
{more}
Returns:
    {result}.

Raises:
    ShapeError: `x` has no such axis, or one is named twice{raises}.
    DTypeError: the dtype of `x` is not accepted.

Example:
    >>> plait.{example}
"""
_KEEPDIMS = "    keepdims: whether reduced axes stay, with size 1 (`keepdim` is another name).\n"
# names of arguments that only PyTorch has
_PYTORCH = frozenset(("dim", "keepdim", "other", "unbiased"))


def reduces(
    summary: str, example: str, more: str = "", raises: str = "", axis: str = "an axis, several, or None for all",
    *, empty_is_all: bool = True,
) -> Callable[[Any], Any]:  # fmt: skip
    """Document a function that reduces axes and let it take both sets of argument names.

    With `empty_is_all` no axes in PyTorch's form mean all of them: `sum(x, ())`, `sum(x, dim=())`.
    """
    decorate = along(summary, example, _KEEPDIMS + more, raises, "A tensor without the reduced axes", axis)
    return (lambda function: _none_is_all(decorate(function))) if empty_is_all else decorate


def _none_is_all(function: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        if len(args) > 1:
            if _is_empty(args[1]):
                args = (args[0], None, *args[2:])
        elif kwargs and _is_empty(kwargs.get("dim")):
            del kwargs["dim"]
        return function(*args, **kwargs)

    return call


def _is_empty(axis: Any) -> bool:
    return isinstance(axis, (tuple, list)) and not axis


def along(
    summary: str, example: str, more: str = "", raises: str = "", result: str = "A tensor of the shape of `x`",
    axis: str = "the axis",
) -> Callable[[Any], Any]:  # fmt: skip
    """Document a function along an axis and let it take both sets of argument names.

    Without a summary it is left undocumented: one form of a function that is.
    """
    text = example.replace("\n", "\n    ")

    def decorate(function: Any) -> Any:
        if summary:
            function.__doc__ = _DOCUMENT.format(
                summary=summary, example=text, more=more, result=result, axis=axis, raises=raises
            )
        return both_names(composite(function))

    return decorate


def two_forms(name: str, standard: Callable[..., Any], pytorch: Callable[..., Any]) -> Any:
    """Return the function called `name`, whose meaning differs between the Array API standard and PyTorch.

    A call with positional arguments or PyTorch's names of them means `pytorch`, another one the standard. As a
    method (`result.method`) it means `pytorch` unless there is an `axis=`.
    """

    @wraps(standard)
    def function(*args: Any, **kwargs: Any) -> Any:
        form = standard if len(args) < 2 and _PYTORCH.isdisjoint(kwargs) else pytorch
        return form(*args, **kwargs)

    @wraps(standard)
    def method(*args: Any, **kwargs: Any) -> Any:
        return (standard if "axis" in kwargs else pytorch)(*args, **kwargs)

    function.method = named(method, name)  # type: ignore[attr-defined]
    named(pytorch, name)
    return named(function, name)


# axes


def normalized_axes(axis: Any, ndim: int) -> tuple[int, ...]:
    """Return sorted axes counted from the first; None means all of them. A tensor of no axes lets 0 and -1 pass."""
    if axis is None:
        return tuple(range(ndim))
    if isinstance(axis, Tensor) and axis.ndim:
        text = "axis is an integer, not a tensor"
        raise ArgumentTypeError(message(text, axis.aval, None, "for two tensors use plait.maximum or plait.minimum"))
    axes = sorted(axis_index(a, ndim or 1) for a in ([axis] if hasattr(axis, "__index__") else axis))
    if len(set(axes)) != len(axes):
        raise ShapeError(message("An axis is named twice", axis, "distinct axes"))
    return tuple(axes) if ndim else ()


def with_axis(node: Node, axis: int | None) -> tuple[Node, int]:
    """Return an operand of at least one axis, and the axis counted from the first; None flattens."""
    if axis is None:
        return P.reshape(node, shape=(node.aval.size,)), 0
    axis = axis_index(axis, node.ndim or 1)
    return (node if node.ndim else P.reshape(node, shape=(1,))), axis


def like_rank(result: Node, node: Node) -> Tensor:
    """Return what was computed with the operand of `with_axis(node, …)`: again of no axes if `node` has none."""
    return wrap(result if node.ndim or result.shape != (1,) else P.reshape(result, shape=()))


def dropped(node: Node, axis: int) -> Node:
    """Remove an axis of size 1."""
    return P.reshape(node, shape=(*node.shape[:axis], *node.shape[axis + 1 :]))


def kept(node: Node, axis: int) -> Node:
    """Insert an axis of size 1."""
    return P.reshape(node, shape=(*node.shape[:axis], 1, *node.shape[axis:]))


def positions(node: Node, axis: int) -> Node:
    """Return for each element its position along an axis."""
    return P.iota(dtype=int64, shape=node.shape, axis=axis)


def chosen(node: Node, index: Node, axis: int, like: Node, keepdims: bool, whole: bool) -> tuple[Tensor, Tensor]:
    """Return the elements at `index`, which has size 1 on the axis, and that index, shaped as a reduction of `like`.

    `whole` says that the axis stands for all axes of `like`.
    """
    shape = tuple([1] * like.ndim) if whole else (index.shape if like.ndim else ())
    if not keepdims:
        shape = () if whole else dropped(index, axis).shape
    found = take_along(node, index, axis), index
    first, second = [wrap(P.reshape(f, shape=shape)) for f in found]
    return first, second


# operands and reductions


def applied(prim: str, node: Node, axis: Axis, keepdims: bool) -> Node:
    """Apply a reducing primitive."""
    axes = normalized_axes(axis, node.ndim)
    result: Node = getattr(P, prim)(node, axes=axes) if axes else node
    if keepdims and axes:
        result = P.reshape(result, shape=tuple([1 if i in axes else n for i, n in enumerate(node.shape)]))
    return result


def mean_of(node: Node, axis: Axis, keepdims: bool, count: float) -> Node:
    """Return the sum divided by `count`."""
    return applied("reduce_sum", node, axis, keepdims) / scalar_node(count, node.dtype)


def count_of(node: Node, axis: Axis) -> int:
    """Return how many elements are reduced to one."""
    return prod(node.shape[a] for a in normalized_axes(axis, node.ndim))


def floating(x: Any, name: str, dtype: Any = None) -> Node:
    """Return the operand in `dtype`, by default float32 for integers and bools."""
    node = single(x, name)
    return converted(node, to_float(node.dtype) if dtype is None else as_dtype(dtype))


def wide(node: Node) -> Node:
    """Small floats are computed with in float32 throughout: a sum of many may not fit them."""
    return converted(node, node.dtype.compute)


def narrow(node: Node, like: Node) -> Node:
    """Return a result of `wide` operands in the precision of `like`: that of the parts for complex numbers."""
    return converted(node, like.dtype) if not like.dtype.is_complex else node
