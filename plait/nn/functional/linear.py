"""Affine and bilinear maps of the last axis."""

from __future__ import annotations

import math
from typing import Any

from plait.core.errors import ShapeError, message
from plait.nn.arguments import floating, narrowed, numeric, same_dtype, widened
from plait.tensor.composite import composite
from plait.tensor.contraction import matmul
from plait.tensor.shaping import as_operand
from plait.tensor.tensor import Tensor

__all__ = ["bilinear", "linear"]


@composite
def linear(input: Any, weight: Any, bias: Any = None) -> Tensor:
    """Return `input @ weight.T + bias`.

    Args:
        input: a tensor [..., in].
        weight: a matrix [out, in], or a vector [in].
        bias: a vector [out].

    Returns:
        A tensor [..., out].

    Raises:
        ShapeError: the sizes do not fit.
        DTypeError: the dtypes differ.

    Example:
        >>> plait.nn.functional.linear(plait.ones(2), plait.tensor([[1.0, 2.0]]))
        tensor([3.])
    """
    weight = as_operand(weight, "linear")
    x = (floating if weight.dtype.is_inexact else numeric)(input, "linear")
    same_dtype(x, weight, "linear")
    if not x.ndim or weight.ndim not in (1, 2) or x.shape[-1] != weight.shape[-1]:
        received = f"an input of shape {x.shape} and a weight of shape {weight.shape}"
        text = "linear: the last axis of input and weight differ"
        raise ShapeError(message(text, received, "an input [..., in] and a weight [out, in]"))
    result = matmul(x, weight.T if weight.ndim > 1 else weight)
    return result if bias is None else result + bias


@composite
def bilinear(input1: Any, input2: Any, weight: Any, bias: Any = None) -> Tensor:
    """Return `input1 @ weight[k] @ input2 + bias[k]` for each k.

    Args:
        input1: a tensor [..., in1].
        input2: a tensor [..., in2] with the same leading axes.
        weight: a tensor [out, in1, in2].
        bias: a vector [out].

    Returns:
        A tensor [..., out].

    Raises:
        ShapeError: the sizes do not fit.
        DTypeError: the dtypes differ.

    Example:
        >>> plait.nn.functional.bilinear(plait.ones(2), plait.ones(3), plait.ones(1, 2, 3))
        tensor([6.])
    """
    x, y, weight = numeric(input1, "bilinear"), numeric(input2, "bilinear"), as_operand(weight, "bilinear")
    same_dtype(x, weight, "bilinear")
    same_dtype(y, weight, "bilinear")
    if not (x.ndim and y.ndim) or x.shape[:-1] != y.shape[:-1] or (x.shape[-1], y.shape[-1]) != weight.shape[1:]:
        received = f"inputs of shape {x.shape} and {y.shape}, a weight of shape {weight.shape}"
        expected = "inputs [..., in1] and [..., in2], a weight [out, in1, in2]"
        raise ShapeError(message("bilinear: the sizes do not fit", received, expected))
    out, first, second = weight.shape
    # one product over in1 for all k, then one over in2 for each row
    rows = math.prod(x.shape[:-1])
    left, right, factor = widened(x).reshape(rows, first), widened(y).reshape(rows, second, 1), widened(weight)
    products = matmul(left, factor.transpose(0, 1).reshape(first, out * second))
    result = matmul(products.reshape(rows, out, second), right).reshape(*x.shape[:-1], out)
    return narrowed(result if bias is None else result + bias, x.dtype)
