"""Functions that make tensors."""

from __future__ import annotations

from collections.abc import Callable
from math import ceil
from typing import Any

import numpy as np

from plait.core.dtype import DType, as_dtype, float32, int64
from plait.core.errors import ArgumentError, ArgumentTypeError, message
from plait.core.graph import Node
from plait.core.primitive import P
from plait.tensor.operators import common_dtype, operand, single
from plait.tensor.shaping import new_shape
from plait.tensor.tensor import Tensor, converted, make_leaf, scalar_node, to_node, wrap


def tensor(data: Any, dtype: Any = None, requires_grad: bool = False) -> Tensor:
    """Make a tensor of a copy of `data`.

    Args:
        data: a number, nested sequences of numbers, a NumPy array or a tensor.
        dtype: element type; by default that of an array, and bool, int64, float32 or complex64 for Python numbers.
        requires_grad: whether `backward` stores the gradient of this tensor in `.grad`.

    Returns:
        A tensor that shares no memory with `data`.

    Raises:
        ArgumentTypeError: `data` is not numeric.
        ShapeError: the nesting is not regular.

    Example:
        >>> plait.tensor([[1, 2], [3, 4]], dtype=plait.float64)
        tensor([[1., 2.],
                [3., 4.]], dtype=plait.float64)
    """
    return Tensor(data, dtype, requires_grad)


def as_tensor(data: Any, dtype: Any = None) -> Tensor:
    """Return `data` as a tensor: a tensor of that dtype is itself; the memory of a suitable array is shared.

    Args:
        data: anything that `plait.tensor` takes, or an object with `__dlpack__`.
        dtype: element type.

    Returns:
        A tensor.

    Raises:
        ArgumentTypeError: `data` is not numeric.

    Example:
        >>> plait.as_tensor([1, 2])
        tensor([1, 2])
    """
    if isinstance(data, Tensor) and (dtype is None or as_dtype(dtype) is data.dtype):
        return data
    return wrap(to_node(data, dtype, share=True))


def asarray(obj: Any, dtype: Any = None, device: Any = None, copy: bool | None = None) -> Tensor:
    """Return `obj` as a tensor, the Array API's way: `copy=True` always copies, `copy=False` never does."""
    result = tensor(obj, dtype) if copy else as_tensor(obj, dtype)
    if copy is False and result is not obj:
        text = "This cannot become a tensor without a copy"
        raise ArgumentError(message(text, type(obj).__name__, None, "copy=None"))
    return result


def from_numpy(array: np.ndarray[Any, Any]) -> Tensor:
    """Return a tensor of a NumPy array, sharing the memory of one that is contiguous, aligned and not tiny.

    Memory is shared from 64 bytes on, where it is C-contiguous and begins at a multiple of 16; else it is copied.

    Raises:
        ArgumentTypeError: `array` is no array.
    """
    if not isinstance(array, np.ndarray):
        text = message("from_numpy takes a NumPy array", type(array).__name__, None, "use plait.tensor")
        raise ArgumentTypeError(text)
    return wrap(to_node(array, share=True))


# filled with one value


def full(shape: Any, fill_value: Any, dtype: Any = None, device: Any = None, requires_grad: bool = False) -> Tensor:
    """Make a tensor filled with one number.

    Args:
        shape: sizes, or one size.
        fill_value: the number, or a tensor of one element.
        dtype: element type; by default that of the number.
        device: "cpu".
        requires_grad: whether gradients flow to it.

    Returns:
        A new tensor.

    Example:
        >>> plait.full((2,), 7)
        tensor([7, 7])
    """
    node = to_node(fill_value, dtype)
    if node.ndim:
        node = P.reshape(node, shape=())
    sizes = new_shape((shape,))
    return make_leaf(P.broadcast(node, shape=sizes, axes=()) if sizes else node, requires_grad)


def _filled(value: int, name: str) -> Any:
    def make(*shape: Any, dtype: Any = None, device: Any = None, requires_grad: bool = False) -> Tensor:
        return full(new_shape(shape), value, float32 if dtype is None else dtype, device, requires_grad)

    make.__name__ = make.__qualname__ = name
    make.__doc__ = f"""Make a tensor of {name}.

    Args:
        shape: sizes, as one tuple or several integers.
        dtype: element type, float32 by default.
        device: "cpu".
        requires_grad: whether gradients flow to it.

    Returns:
        A new tensor.

    Raises:
        ShapeError: a size is negative.

    Example:
        >>> plait.{name}(2, dtype=plait.int64)
        tensor([{value}, {value}])
    """
    return make


zeros, ones = _filled(0, "zeros"), _filled(1, "ones")
empty: Callable[..., Tensor] = zeros


def full_like(x: Any, fill_value: Any, dtype: Any = None, device: Any = None, requires_grad: bool = False) -> Tensor:
    """Make a tensor of one number with the shape of `x`, and its dtype unless another is given."""
    like = single(x, "full_like").aval
    return full(like.shape, fill_value, like.dtype if dtype is None else dtype, device, requires_grad)


def zeros_like(x: Any, dtype: Any = None, device: Any = None, requires_grad: bool = False) -> Tensor:
    """Make a tensor of zeros with the shape of `x`, and its dtype unless another is given."""
    return full_like(x, 0, dtype, device, requires_grad)


def ones_like(x: Any, dtype: Any = None, device: Any = None, requires_grad: bool = False) -> Tensor:
    """Make a tensor of ones with the shape of `x`, and its dtype unless another is given."""
    return full_like(x, 1, dtype, device, requires_grad)


empty_like = zeros_like

# ranges and grids


def arange(
    start: Any, stop: Any = None, step: Any = 1, dtype: Any = None, device: Any = None, requires_grad: bool = False
) -> Tensor:
    """Make evenly spaced numbers from `start` up to, not including, `stop`; with one argument, from 0 up to it.

    Args:
        start: the first number.
        stop: the end, not included.
        step: the distance.
        dtype: element type; by default int64 if all numbers are integers, else float32.
        device: "cpu".
        requires_grad: whether gradients flow to it.

    Returns:
        A vector.

    Raises:
        ArgumentError: the step is 0.

    Example:
        >>> plait.arange(1, 7, 2)
        tensor([1, 3, 5])
    """
    if stop is None:
        start, stop = 0, start
    start, stop, step = (v.item() if isinstance(v, (Tensor, np.generic)) else v for v in (start, stop, step))
    for value in (start, stop, step):
        if not isinstance(value, (int, float)):
            raise ArgumentTypeError(message("arange takes numbers", repr(value), "integers or floats"))
    if not step:
        raise ArgumentError(message("The step of arange is zero", step, "a step other than 0"))
    integral = all(isinstance(v, int) for v in (start, stop, step))
    wanted = as_dtype(dtype) if dtype is not None else int64 if integral else float32
    count = max(0, -((start - stop) // step) if integral else ceil((stop - start) / step))
    return make_leaf(_ramp(start, step, count, wanted), requires_grad)


def _ramp(start: Any, step: Any, count: int, dtype: DType) -> Node:
    """start + i * step, computed in a dtype wide enough for it."""
    wide = dtype if dtype.is_inexact else int64 if isinstance(start + step, int) else as_dtype("float64")
    node = P.iota(dtype=wide if wide.kind == "i" else int64, shape=(count,), axis=0)
    node = converted(node, wide)
    if step != 1:
        node = node * scalar_node(step, wide)
    if start:
        node = node + scalar_node(start, wide)
    return converted(node, dtype)


def linspace(
    start: float, stop: float, num: int = 50, dtype: Any = None, device: Any = None, endpoint: bool = True,
    requires_grad: bool = False,
) -> Tensor:  # fmt: skip
    """Make `num` evenly spaced numbers from `start` to `stop`.

    Args:
        start: the first number.
        stop: the last number; with `endpoint=False`, the number after the last.
        num: how many.
        dtype: element type, float32 by default.
        device: "cpu".
        endpoint: whether `stop` is included.
        requires_grad: whether gradients flow to it.

    Returns:
        A vector.

    Raises:
        ArgumentError: `num` is negative.

    Example:
        >>> plait.linspace(0, 1, 5)
        tensor([0.0000, 0.2500, 0.5000, 0.7500, 1.0000])
    """
    if num < 0:
        raise ArgumentError(message("linspace makes a number of elements", num, "num of at least 0"))
    wanted = float32 if dtype is None else as_dtype(dtype)
    wide = wanted if wanted.is_inexact else as_dtype("float64")
    position = converted(P.iota(dtype=int64, shape=(num,), axis=0), wide)
    steps = max(1, num - 1 if endpoint else num)
    weight = position / scalar_node(steps, wide)
    # measured from the nearer end, so that both ends are exact
    from_start = scalar_node(start, wide) + weight * scalar_node(stop - start, wide)
    from_stop = scalar_node(stop, wide) - (scalar_node(1, wide) - weight) * scalar_node(stop - start, wide)
    is_first_half = P.lt(weight, scalar_node(0.5, wide))
    return make_leaf(converted(P.select(is_first_half, from_start, from_stop), wanted), requires_grad)


def logspace(start: float, stop: float, num: int = 50, base: float = 10.0, dtype: Any = None) -> Tensor:
    """Make `num` numbers from `base**start` to `base**stop`, evenly spaced on a logarithmic scale."""
    return base ** linspace(start, stop, num, dtype)


def eye(n: int, m: int | None = None, k: int = 0, dtype: Any = None, device: Any = None) -> Tensor:
    """Make a matrix with ones on the `k`-th diagonal.

    Args:
        n: number of rows.
        m: number of columns, by default `n`.
        k: which diagonal; positive ones lie above the main one.
        dtype: element type, float32 by default.
        device: "cpu".

    Returns:
        A matrix.

    Example:
        >>> plait.eye(2)
        tensor([[1., 0.],
                [0., 1.]])
    """
    shape = (n, n if m is None else m)
    shape = new_shape((shape,))
    rows, columns = (P.iota(dtype=int64, shape=shape, axis=i) for i in range(2))
    hit = P.eq(columns - rows, scalar_node(k, int64))
    return wrap(converted(hit, float32 if dtype is None else as_dtype(dtype)))


def one_hot(indices: Any, num_classes: int = -1, dtype: Any = None) -> Tensor:
    """Turn class numbers into rows with a single one.

    Args:
        indices: an integer tensor.
        num_classes: length of the rows; -1 looks for the largest number.
        dtype: element type, int64 by default.

    Returns:
        A tensor with one more axis.

    Raises:
        ArgumentTypeError: the class numbers are not integers.

    Example:
        >>> plait.one_hot(plait.tensor([1, 0]), 3)
        tensor([[0, 1, 0],
                [1, 0, 0]])
    """
    node = single(indices, "one_hot")
    if not node.dtype.is_integer:
        text = message("one_hot takes integer class numbers", node.dtype.name, None, "convert with .to(plait.int64)")
        raise ArgumentTypeError(text)
    if num_classes < 0:
        num_classes = int(wrap(node).max().item()) + 1 if node.aval.size else 0
    wide = converted(node, int64)
    classes = P.iota(dtype=int64, shape=(num_classes,), axis=0)
    hit = P.eq(P.reshape(wide, shape=(*node.shape, 1)), classes)
    return wrap(converted(hit, int64 if dtype is None else as_dtype(dtype)))


def scalar_tensor(value: Any, dtype: Any = None) -> Tensor:
    """Make a rank-0 tensor of a number."""
    return tensor(value, dtype)


def result_type(*values: Any) -> DType:
    """Return the dtype that an operation on these tensors, dtypes and numbers computes in."""
    return common_dtype([v if isinstance(v, DType) else operand(v, "result_type") for v in values])
