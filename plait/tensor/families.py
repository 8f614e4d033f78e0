"""What the function families are made of: names of arguments, documentation, rules of dtypes."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial, wraps
from typing import Any

from plait.core.dtype import DType, bool_
from plait.core.errors import ArgumentTypeError, message
from plait.core.graph import Node, record
from plait.core.primitive import PRIMITIVES, P
from plait.core.recorder import in_force
from plait.tensor.arguments import explain
from plait.tensor.operators import assign, scalar_node, single, to_float
from plait.tensor.tensor import Tensor, converted, node_of, wrap

Rule = Callable[[DType], DType]
_ALIASES = (("dim", "axis"), ("keepdim", "keepdims"), ("dims", "axis"), ("input", "x"), ("other", "y"),
            ("exponent", "y"))  # fmt: skip
_DOCUMENT = """{summary}

Args:
{arguments}

Returns:
    A new tensor {returns}.

Raises:
    DTypeError: the dtype is not one that {name} takes.
    ArgumentTypeError: an argument is no tensor, array or number.
{more}
Example:
    >>> {namespace}.{call}
    {result}
"""


def both_names(function: Callable[..., Any] | None = None, **aliases: str) -> Any:
    """Let `function` take PyTorch's names of arguments (dim, keepdim, input, other) for those of the standard.

    `aliases` are further names for this function alone: `@both_names(end="stop")`. `out=`, a tensor or a tuple of
    tensors, is where the results are written to.
    """
    if function is None:
        return partial(both_names, **aliases)
    # an alias of a name that is itself an alias here: dim -> axis -> axes
    names = tuple([(k, aliases.get(n, n)) for k, n in (dict(_ALIASES) | aliases).items()])

    @wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        out = None
        mode = in_force().mode
        if mode is not None:
            args, kwargs = mode.cast(call.__name__, args, kwargs)
        try:
            if not kwargs:
                return function(*args)
            for alias, name in names:
                if alias in kwargs:
                    kwargs[name] = kwargs.pop(alias)
            out = kwargs.pop("out", None)  # np.mean(x) and the like call x.mean(out=None)
            result = function(*args, **kwargs)
        except Exception as error:
            explain(call, args, kwargs, error)
            raise
        return result if out is None else written_to(out, result, call.__name__)

    call.explains = True  # type: ignore[attr-defined]
    return call


def named(function: Any, name: str) -> Any:
    """Give a function, and those that it wraps, a name: the one that errors show."""
    layer = function
    while layer is not None:
        layer.__name__ = layer.__qualname__ = name
        layer = getattr(layer, "__wrapped__", None)
    return function


def written_to(out: Any, result: Any, name: str) -> Any:
    """Write one result, or several, to the tensors of `out=`; return them as the function would.

    Raises:
        ArgumentTypeError: `out` is not as many tensors as there are results.
    """
    if isinstance(out, Tensor) and isinstance(result, Tensor):
        return assign(out, result, name)
    count = 1 if isinstance(result, Tensor) else len(result)
    is_sequence = isinstance(out, (tuple, list)) and all(isinstance(t, Tensor) for t in out)
    if isinstance(result, Tensor) or not is_sequence or len(out) != count:
        received = type(out).__name__ if not is_sequence else f"{len(out)} tensors"
        expected = "a tensor" if isinstance(result, Tensor) else f"a tuple of {count} tensors"
        raise ArgumentTypeError(message(f"{name} writes its results to out", received, expected))
    for target, value in zip(out, result, strict=True):
        assign(target, value, name)
    return type(result)(*out) if hasattr(result, "_fields") else tuple(out)


def document(function: Any, name: str, **parts: str) -> Any:
    """Give a function made by a factory its name, its module and its documentation."""
    function.__name__ = function.__qualname__ = name
    module = function.__module__ = sys._getframe(2).f_globals["__name__"]  # that of the row
    namespace = "plait" if module.startswith("plait.tensor.") else module.rpartition(".")[0]
    function.__doc__ = _DOCUMENT.format(name=name, namespace=namespace, **parts)
    return function


BROADCAST = "    ShapeError: the shapes do not broadcast.\n"


def kept(dtype: DType) -> DType:
    """Return the dtype: that of the result is that of the operand."""
    return dtype


def unary(name: str, prim: str | Callable[[Node], Node], rule: Rule, summary: str, sample: str, result: str) -> Any:
    """Make a function of one tensor: `prim` of its node in the dtype that `rule` says."""
    function = partial(record, PRIMITIVES[prim]) if isinstance(prim, str) else lambda inputs: prim(inputs[0])

    @both_names
    def apply(x: Any) -> Tensor:
        node = node_of(x) if isinstance(x, Tensor) else single(x, name)
        return wrap(function((converted(node, rule(node.aval.dtype)),)))

    argument = "    x: a tensor of any shape"
    argument += "; integers and bools are converted to float32." if rule is to_float else "."
    return document(
        apply, name, summary=summary, arguments=argument, returns="of the shape of `x`",
        more="", call=f"{name}(plait.tensor({sample}))", result=f"tensor({result})",
    )  # fmt: skip


def pairwise(name: str, apply: Callable[[Any, Any], Tensor], summary: str, sample: str, result: str) -> Any:
    """Make a function of two operands that broadcast, from `apply`."""

    @both_names
    def function(x: Any, y: Any) -> Tensor:
        return apply(x, y)

    first, second = sample.split(" ; ")
    return document(
        function, name, summary=summary, more=BROADCAST,
        arguments="    x: a tensor or a number.\n    y: a tensor or a number, of a shape that broadcasts with `x`.",
        returns="of the broadcast shape, in the promoted dtype where it is not bool",
        call=f"{name}(plait.tensor({first}), {second})", result=f"tensor({result})",
    )  # fmt: skip


def if_float(prim: str) -> Callable[[Node], Node]:
    """Apply `prim` to floats and leave integers as they are."""
    return lambda x: getattr(P, prim)(x) if x.dtype.is_inexact else x


def to_bool(x: Node) -> Node:
    """Return whether elements are not zero."""
    return x if x.dtype is bool_ else P.ne(x, scalar_node(0, x.dtype))
