"""Functions that make tensors; those whose names begin with `new_` are methods."""

from __future__ import annotations

from collections.abc import Callable
from math import ceil
from typing import Any

import numpy as np

from plait.core.dtype import DType, as_dtype, bool_, float32, int64, promote
from plait.core.errors import ArgumentError, ArgumentTypeError, ShapeError, message
from plait.core.graph import REQUIRES_GRAD, Node
from plait.core.primitive import P
from plait.prims.rules import broadcast_to
from plait.tensor.dlpack import from_dlpack
from plait.tensor.families import both_names
from plait.tensor.operators import common_dtype, operand, promoted, single
from plait.tensor.shaping import new_shape, shape_of
from plait.tensor.tensor import Tensor, converted, make_leaf, scalar_node, to_node, wrap

__all__ = [
    "arange", "as_tensor", "asarray", "device", "empty", "empty_like", "empty_permuted", "empty_strided", "eye", "fill",
    "from_numpy", "frombuffer", "full", "full_like", "linspace", "logspace", "one_hot", "ones", "ones_like",
    "promote_types", "result_type", "scalar_tensor", "tensor", "zeros", "zeros_like",
]  # fmt: skip


def check_device(device: Any) -> None:
    """Raise `ArgumentError` unless `device` is the CPU (None, "cpu", "cpu:0" or PyTorch's device object of it)."""
    if device is not None and str(device).split(":")[0] != "cpu":
        raise ArgumentError(message("Unknown device", repr(device), '"cpu"', "leave the argument out"))


def device(type: Any, index: int | None = None) -> str:
    """Return the name of a device, checked.

    Args:
        type: "cpu".
        index: accepted as in PyTorch.

    Returns:
        "cpu", which everything takes that has an argument `device`.

    Raises:
        ArgumentError: there is no such device.

    Example:
        >>> plait.zeros(2, device=plait.device("cpu"))
        tensor([0., 0.])
    """
    check_device(type)
    return "cpu"


def tensor(data: Any, dtype: Any = None, requires_grad: bool = False, device: Any = None) -> Tensor:
    """Make a tensor of a copy of `data`.

    Args:
        data: a number, nested sequences of numbers, a NumPy array or a tensor.
        dtype: element type; by default that of an array, and bool, int64, float32 or complex64 for Python numbers.
        requires_grad: whether `backward` stores the gradient of this tensor in `.grad`.
        device: "cpu".

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
    check_device(device)
    return Tensor(from_dlpack(data, copy=True) if _is_foreign(data) else data, dtype, requires_grad)


def _is_foreign(data: Any) -> bool:
    """Whether this is an array of another library, which knows dtypes that it cannot tell NumPy."""
    return hasattr(data, "__dlpack__") and not isinstance(data, (Tensor, np.ndarray, np.generic))


def as_tensor(data: Any, dtype: Any = None, device: Any = None) -> Tensor:
    """Return `data` as a tensor: a tensor of that dtype is itself; the memory of a suitable array is shared.

    Args:
        data: anything that `plait.tensor` takes, or an object with `__dlpack__`.
        dtype: element type.
        device: "cpu".

    Returns:
        A tensor.

    Raises:
        ArgumentTypeError: `data` is not numeric.

    Example:
        >>> plait.as_tensor([1, 2])
        tensor([1, 2])
    """
    check_device(device)
    data = from_dlpack(data) if _is_foreign(data) else data
    if isinstance(data, Tensor) and (dtype is None or as_dtype(dtype) is data.dtype):
        return data
    return wrap(to_node(data, dtype, share=True))


def asarray(obj: Any, dtype: Any = None, device: Any = None, copy: bool | None = None) -> Tensor:
    """Return `obj` as a tensor, as in the Array API standard.

    Args:
        obj: anything that `plait.tensor` takes, or an object with `__dlpack__`.
        dtype: element type.
        device: "cpu".
        copy: True always copies, None only where it must, False never.

    Returns:
        A tensor: `obj` itself, if it is a tensor of that dtype and `copy` is not True.

    Raises:
        ArgumentError: a copy is needed, and `copy` is False.
        ArgumentTypeError: `obj` is not numeric.

    Example:
        >>> plait.asarray([1, 2], dtype=plait.float64)
        tensor([1., 2.], dtype=plait.float64)
    """
    result = tensor(obj, dtype, device=device) if copy else as_tensor(obj, dtype, device)
    if copy is False and result is not obj and not _shares_memory(result, obj):
        text = "This cannot become a tensor without a copy"
        raise ArgumentError(message(text, type(obj).__name__, None, "copy=None"))
    return result


def _shares_memory(tensor: Tensor, array: Any) -> bool:
    return isinstance(array, np.ndarray) and np.may_share_memory(array, tensor._array())


def from_numpy(array: np.ndarray[Any, Any]) -> Tensor:
    """Return a tensor of a NumPy array, sharing the memory of one that is contiguous, aligned and not tiny.

    Memory is shared from 64 bytes on, where it is C-contiguous and begins at a multiple of 16; else it is copied.

    Raises:
        ArgumentTypeError: `array` is no array.

    Example:
        >>> array = np.zeros(1000)
        >>> x = plait.from_numpy(array)
        >>> array[0] = 7
        >>> x[0]
        tensor(7., dtype=plait.float64)
    """
    if not isinstance(array, np.ndarray):
        text = message("from_numpy takes a NumPy array", type(array).__name__, None, "use plait.tensor")
        raise ArgumentTypeError(text)
    return wrap(to_node(array, share=True))


def frombuffer(buffer: Any, *, dtype: Any, count: int = -1, offset: int = 0, requires_grad: bool = False) -> Tensor:
    """Return a tensor of the memory of an object with Python's buffer protocol, shared as by `from_numpy`.

    Args:
        buffer: bytes, a bytearray, a memoryview, …
        dtype: element type.
        count: number of elements, by default all.
        offset: bytes that are skipped.
        requires_grad: whether gradients flow to it.

    Returns:
        A vector.

    Raises:
        ArgumentError: the buffer holds no such elements.

    Example:
        >>> plait.frombuffer(b"abc", dtype=plait.uint8)
        tensor([97, 98, 99], dtype=plait.uint8)
    """
    try:
        array = np.frombuffer(buffer, as_dtype(dtype).numpy, count, offset)
    except ValueError as error:
        text, expected = "This buffer does not hold such elements", "whole elements of the dtype"
        raise ArgumentError(message(text, str(error), expected)) from None
    return make_leaf(to_node(array, dtype, share=True), requires_grad)


# filled with one value


@both_names(size="shape")
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
    check_device(device)
    node = to_node(fill_value, dtype)
    return _spread(P.reshape(node, shape=()) if node.ndim else node, new_shape((shape,)), requires_grad)


def _spread(node: Node, shape: tuple[int, ...], requires_grad: bool) -> Tensor:
    return make_leaf(P.broadcast(node, shape=shape, axes=()) if shape else node, requires_grad)


def _filled(value: int, name: str) -> Any:
    @both_names(shape="size")
    def make(
        *shape: Any, size: Any = None, dtype: Any = None, device: Any = None, requires_grad: bool = False
    ) -> Tensor:
        check_device(device)
        node = scalar_node(value, float32 if dtype is None else as_dtype(dtype))
        return _spread(node, new_shape(shape if size is None else (size,)), requires_grad)

    make.__name__ = make.__qualname__ = name
    make.__doc__ = f"""Make a tensor of {name}.

    Args:
        shape: sizes, as one tuple or several integers.
        size: another name of `shape`.
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


@both_names
def full_like(
    x: Any, fill_value: Any, dtype: Any = None, device: Any = None, requires_grad: bool = False,
    memory_format: Any = None,
) -> Tensor:  # fmt: skip
    """Make a tensor of one number with the shape of `x`, and its dtype unless another is given.

    Args:
        x: a tensor.
        fill_value: the number, or a tensor of one element.
        dtype: element type.
        device: "cpu".
        requires_grad: whether gradients flow to it.
        memory_format: without effect: values are stored densely in row-major order.

    Returns:
        A new tensor.

    Example:
        >>> plait.full_like(plait.zeros(2), 7)
        tensor([7., 7.])
    """
    like = single(x, "full_like").aval
    return full(like.shape, fill_value, like.dtype if dtype is None else dtype, device, requires_grad)


def _filled_like(value: int, name: str) -> Any:
    @both_names
    def make(
        x: Any, dtype: Any = None, device: Any = None, requires_grad: bool = False, memory_format: Any = None
    ) -> Tensor:
        return full_like(x, value, dtype, device, requires_grad)

    make.__name__ = make.__qualname__ = name
    make.__doc__ = f"""Make a tensor of {name[:-5]} with the shape of `x`, and its dtype unless another is given.

    Args:
        x: a tensor.
        dtype: element type.
        device: "cpu".
        requires_grad: whether gradients flow to it.
        memory_format: without effect: values are stored densely in row-major order.

    Returns:
        A new tensor.

    Example:
        >>> plait.{name}(plait.tensor([5, 6]))
        tensor([{value}, {value}])
    """
    return make


zeros_like, ones_like = _filled_like(0, "zeros_like"), _filled_like(1, "ones_like")
empty_like = zeros_like


def empty_strided(size: Any, stride: Any, dtype: Any = None, device: Any = None, requires_grad: bool = False) -> Tensor:
    """Make a tensor of zeros: values are stored densely in row-major order, whatever `stride` asks for.

    Raises:
        ShapeError: there are not as many strides as sizes.

    Example:
        >>> plait.empty_strided((2, 3), (1, 2)).shape
        (2, 3)
    """
    if len(shape_of((size,))) != len(shape_of((stride,))):
        raise ShapeError(message("There is a stride for each size", f"sizes {size}, strides {stride}"))
    return zeros(size, dtype=dtype, device=device, requires_grad=requires_grad)


def empty_permuted(
    size: Any, physical_layout: Any, dtype: Any = None, device: Any = None, requires_grad: bool = False
) -> Tensor:
    """Make a tensor of zeros: values are stored densely in row-major order, whatever `physical_layout` asks for.

    Raises:
        ShapeError: `physical_layout` is no permutation of the axes.

    Example:
        >>> plait.empty_permuted((2, 3), (1, 0)).shape
        (2, 3)
    """
    if sorted(shape_of((physical_layout,))) != list(range(len(shape_of((size,))))):
        raise ShapeError(message("A layout is a permutation of the axes", physical_layout, f"of those of {size}"))
    return zeros(size, dtype=dtype, device=device, requires_grad=requires_grad)


@both_names
def fill(x: Any, value: Any) -> Tensor:
    """Return a tensor like `x` with one number everywhere; gradients flow to the number.

    Args:
        x: a tensor.
        value: a number, or a tensor of rank 0.

    Returns:
        A new tensor of the shape and dtype of `x`.

    Raises:
        ShapeError: the value is no single number.

    Example:
        >>> plait.fill(plait.zeros(2), 3)
        tensor([3., 3.])
    """
    node, number = single(x, "fill"), to_node(value)
    if number.ndim:
        raise ShapeError(message("fill takes one number", f"shape {number.shape}", "a rank-0 tensor"))
    number = broadcast_to(converted(number, node.dtype), node.shape)
    # a function of `x` whose derivative is zero, where gradients are recorded
    return wrap(P.select(scalar_node(True, bool_), number, node) if node.flags & REQUIRES_GRAD else number)


def _new(name: str, make: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """Return the method that makes a tensor by `make`, of the dtype of `self` unless another is given."""

    def method(self: Tensor, *args: Any, dtype: Any = None, **kwargs: Any) -> Tensor:
        return make(*args, dtype=self.dtype if dtype is None else dtype, **kwargs)

    method.__name__ = method.__qualname__ = f"new_{name}"
    method.__doc__ = f"Make a tensor as `plait.{name}` does, of the dtype of this one unless another is given."
    return method


def new_tensor(self: Tensor, data: Any, dtype: Any = None, requires_grad: bool = False, device: Any = None) -> Tensor:
    """Make a tensor of a copy of `data`, of the dtype of this one unless another is given.

    Example:
        >>> plait.zeros(2).new_tensor([1, 2])
        tensor([1., 2.])
    """
    return tensor(data, self.dtype if dtype is None else dtype, requires_grad, device)


_MADE = {"full": full, "zeros": zeros, "ones": ones, "empty": empty, "empty_strided": empty_strided}
METHODS = [new_tensor, *[_new(*item) for item in _MADE.items()]]

# ranges and grids


@both_names(end="stop")
def arange(
    start: Any = 0, stop: Any = None, step: Any = 1, dtype: Any = None, device: Any = None, requires_grad: bool = False
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
    check_device(device)
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
    if wanted.is_integer and int(step):  # as in PyTorch, whose int64 counts in integers too
        start, stop, step = int(start), int(stop), int(step)
        count = max(0, -((start - stop) // step)) if wanted is int64 else count
    return make_leaf(_ramp(start, step, count, wanted), requires_grad)


def _ramp(start: Any, step: Any, count: int, dtype: DType) -> Node:
    """start + i * step, computed in a dtype wide enough for it."""
    wide = dtype.compute if dtype.is_inexact else int64 if isinstance(start + step, int) else as_dtype("float64")
    node = P.iota(dtype=wide if wide.kind == "i" else int64, shape=(count,), axis=0)
    node = converted(node, wide)
    if step != 1:
        node = node * scalar_node(step, wide)
    if start:
        node = node + scalar_node(start, wide)
    return converted(node, dtype)


@both_names(end="stop", steps="num")
def linspace(
    start: Any, stop: Any, num: int = 50, dtype: Any = None, device: Any = None, endpoint: bool = True,
    requires_grad: bool = False,
) -> Tensor:  # fmt: skip
    """Make `num` evenly spaced numbers from `start` to `stop`.

    Args:
        start: the first number, or a tensor of rank 0.
        stop: the last number; with `endpoint=False`, the number after the last (`end` is another name).
        num: how many (`steps` is another name).
        dtype: element type, float32 by default; complex64 for complex numbers.
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
    check_device(device)
    return make_leaf(_spaced(start, stop, num, dtype, endpoint), requires_grad)


def _spaced(start: Any, stop: Any, num: int, dtype: Any, endpoint: bool) -> Node:
    if num < 0:
        raise ArgumentError(message("linspace makes a number of elements", num, "num of at least 0"))
    common = promoted((start, stop), "linspace")[0].dtype
    wanted = (common if common.is_complex else float32) if dtype is None else as_dtype(dtype)
    wide = wanted if wanted.is_inexact else as_dtype("float64")
    first, last = (converted(to_node(v, wanted if wanted.is_integer else wide), wide) for v in (start, stop))
    position = P.iota(dtype=int64, shape=(num,), axis=0)
    steps = max(1, num - 1 if endpoint else num)
    step = (last - first) / scalar_node(steps, wide)
    # measured from the nearer end, so that both ends are exact
    from_start = first + converted(position, wide) * step
    from_stop = last - converted(scalar_node(steps, int64) - position, wide) * step
    is_first_half = P.lt(position, scalar_node((steps + 1) // 2, int64))
    return converted(P.select(is_first_half, from_start, from_stop), wanted)


@both_names(end="stop", steps="num")
def logspace(
    start: Any, stop: Any, num: int = 50, base: float = 10.0, dtype: Any = None, device: Any = None,
    requires_grad: bool = False,
) -> Tensor:  # fmt: skip
    """Make `num` numbers from `base**start` to `base**stop`, evenly spaced on a logarithmic scale.

    Args:
        start: the exponent of the first number, or a tensor of rank 0.
        stop: the exponent of the last (`end` is another name).
        num: how many (`steps` is another name).
        base: the base.
        dtype: element type, float32 by default.
        device: "cpu".
        requires_grad: whether gradients flow to it.

    Returns:
        A vector.

    Raises:
        ArgumentError: `num` is negative.

    Example:
        >>> plait.logspace(0, 2, 3)
        tensor([  1.,  10., 100.])
    """
    check_device(device)
    wanted = float32 if dtype is None else as_dtype(dtype)
    wide = wanted if wanted.is_inexact else as_dtype("float64")
    if wanted.is_integer:  # as in PyTorch, whose exponents are integers then
        start, stop = (wrap(to_node(v, wanted)) for v in (start, stop))
    exponents = _spaced(start, stop, num, wide, endpoint=True)
    return make_leaf(converted(P.pow(scalar_node(base, wide), exponents), wanted), requires_grad)


def eye(
    n: int, m: int | None = None, k: int = 0, dtype: Any = None, device: Any = None, requires_grad: bool = False
) -> Tensor:
    """Make a matrix with ones on the `k`-th diagonal.

    Args:
        n: number of rows.
        m: number of columns, by default `n`.
        k: which diagonal; positive ones lie above the main one.
        dtype: element type, float32 by default.
        device: "cpu".
        requires_grad: whether gradients flow to it.

    Returns:
        A matrix.

    Example:
        >>> plait.eye(2)
        tensor([[1., 0.],
                [0., 1.]])
    """
    check_device(device)
    shape = new_shape(((n, n if m is None else m),))
    rows, columns = (P.iota(dtype=int64, shape=shape, axis=i) for i in range(2))
    hit = P.eq(columns - rows, scalar_node(k, int64))
    return make_leaf(converted(hit, float32 if dtype is None else as_dtype(dtype)), requires_grad)


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


def scalar_tensor(value: Any, dtype: Any = None, device: Any = None, requires_grad: bool = False) -> Tensor:
    """Make a rank-0 tensor of a number, float32 unless another dtype is given.

    Example:
        >>> plait.scalar_tensor(3)
        tensor(3.)
    """
    return tensor(value, float32 if dtype is None else dtype, requires_grad, device)


def result_type(*values: Any) -> DType:
    """Return the dtype that an operation on these tensors, dtypes and numbers computes in.

    Args:
        values: tensors and dtypes, which count alike whatever the rank, and Python numbers, which take the dtype of
            the others unless their kind is higher.

    Returns:
        A dtype.

    Raises:
        ArgumentTypeError: a value is none of these.

    Example:
        >>> plait.result_type(plait.ones(2, dtype=plait.float16), 2.5, plait.int64)
        plait.float16
    """
    return common_dtype([v if isinstance(v, DType) else operand(v, "result_type") for v in values])


def promote_types(type1: Any, type2: Any) -> DType:
    """Return the dtype that operations on tensors of these two dtypes compute in.

    Example:
        >>> plait.promote_types(plait.int32, plait.float16)
        plait.float16
    """
    return promote(as_dtype(type1), as_dtype(type2))
