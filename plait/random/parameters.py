"""What the samplers of distributions share: their parameters, and the form of their documentation."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from plait.core.dtype import DType, float32
from plait.core.errors import ShapeError, message
from plait.prims.rules import broadcast_shapes, broadcast_to
from plait.random.basic import float_dtype
from plait.random.keys import Shape
from plait.tensor.api import asarray
from plait.tensor.composite import composite
from plait.tensor.shaping import new_shape
from plait.tensor.tensor import Tensor, converted, node_of, wrap

_DOCUMENT = """{summary}

Args:
    key: a key.
{parameters}    shape: sizes of the result{default}.
    dtype: {kind} type.

Returns:
    A tensor of `shape`{more}.

Raises:
    DTypeError: the dtype is not {kind} type.
    ShapeError: the parameters do not broadcast to `shape`.

{source}Example:
    >>> plait.random.{example}
"""


def sampler(
    summary: str, example: str, *, source: str = "", more: str = "", integer: bool = False, **parameters: str
) -> Callable[[Any], Any]:
    """Document a sampler; `parameters` tells what each parameter of the distribution means."""
    text = _DOCUMENT.format(
        summary=summary, more=more, example=example.replace("\n", "\n    "),
        parameters="".join(f"    {name}: {what}, a number or a tensor.\n" for name, what in parameters.items()),
        default="; by default the common shape of the parameters" if parameters else "",
        kind="an integer" if integer else "a float", source=f"Source: {source}.\n\n" if source else "",
    )  # fmt: skip

    def decorate(function: Any) -> Any:
        function.__doc__ = text
        return composite(function)

    return decorate


def prepared(name: str, shape: Shape | None, dtype: Any, *values: Any) -> tuple[tuple[int, ...], DType, list[Tensor]]:
    """Return the sizes of a result, its float dtype, and the parameters as tensors of both.

    Raises:
        DTypeError: the dtype is no float.
        ShapeError: the parameters do not broadcast to the shape.
    """
    wanted = float_dtype(float32 if dtype is None else dtype)
    tensors = [asarray(v) for v in values]
    sizes = broadcast_shapes(*[t.shape for t in tensors], name=name) if shape is None else new_shape((shape,))
    if broadcast_shapes(*[t.shape for t in tensors], sizes, name=name) != sizes:
        shapes = [t.shape for t in tensors]
        text = f"{name}: the parameters do not broadcast to the shape"
        raise ShapeError(message(text, f"{shapes} and {sizes}", "equal sizes, or 1 in a parameter"))
    nodes = [broadcast_to(converted(node_of(t), wanted), sizes) for t in tensors]
    return sizes, wanted, [wrap(n) for n in nodes]
