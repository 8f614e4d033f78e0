"""`Tensor`: a lazy, mutable handle of a graph node; `Parameter`: one that is trained."""

from __future__ import annotations

import weakref
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from plait.core.aval import Aval, aval
from plait.core.dtype import DType, as_dtype, bool_, promote_scalar, uint64
from plait.core.errors import (
    ArgumentError,
    ArgumentTypeError,
    AxisError,
    DTypeError,
    GradientError,
    ShapeError,
    message,
)
from plait.core.graph import CONSTANT, DATA, REQUIRES_GRAD, Node, constant, data, recorder, user_line
from plait.core.primitive import P
from plait.core.recorder import in_force
from plait.runtime import buffer as buffers
from plait.tensor import lazy
from plait.tensor.views import (
    DETACH,
    NO_GRAD,
    Step,
    derive,
    detached,
    is_detached,
    is_leaf,
    relabelled,
    update,
    with_history,
)

_new = object.__new__


class Size(int):
    """The number of elements of a tensor, as an integer; called, the size of one axis: `x.size(0)`, or the shape."""

    shape: tuple[int, ...]

    def __call__(self, dim: int | None = None) -> Any:
        """Return the size of axis `dim`, or the whole shape."""
        return self.shape if dim is None else self.shape[axis_index(dim, len(self.shape))]


class Tensor:
    """An n-dimensional array whose value is computed when it is looked at.

    Args:
        data: numbers, nested sequences of numbers, a NumPy array or a tensor.
        dtype: element type; by default that of `data` (Python floats: float32, integers: int64).
        requires_grad: whether `backward` stores the gradient of this tensor in `.grad`.

    Example:
        >>> x = plait.Tensor([[1.0, 2.0], [3.0, 4.0]])
        >>> (x @ x).sum()
        tensor(54.)
    """

    __slots__ = (
        "_node", "_base", "_view", "_version", "_base_version", "_grad", "_hooks", "_marks", "__weakref__",
    )  # fmt: skip
    __array_priority__ = 1000
    __hash__ = object.__hash__

    _node: Node
    _base: Tensor | None  # what this is a view of; only then are the next two set
    _view: tuple[Step, ...]
    _base_version: int
    _version: int
    _grad: Tensor | None
    _marks: int  # see `VIEWED` and `HELD` of `plait.tensor.lazy`
    _hooks: Any  # set by `plait.tensor.hooks` alone

    def __new__(cls, data: Any, dtype: Any = None, requires_grad: bool = False) -> Tensor:
        return make_leaf(to_node(data, dtype), requires_grad, cls, copy=isinstance(data, Tensor))

    # what is known without computing

    @property
    def aval(self) -> Aval:
        """Dtype and shape, interned."""
        return self._node.aval

    @property
    def shape(self) -> tuple[int, ...]:
        """Sizes of the axes."""
        return self._node.aval.shape

    @property
    def dtype(self) -> DType:
        """Element type."""
        return self._node.aval.dtype

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return self._node.aval.ndim

    @property
    def size(self) -> Size:
        """Number of elements; `x.size(dim)` is the size of one axis."""
        result = Size(self._node.aval.size)
        result.shape = self.shape
        return result

    @property
    def itemsize(self) -> int:
        """Bytes of one element."""
        return self._node.aval.dtype.itemsize

    @property
    def nbytes(self) -> int:
        """Bytes of all elements."""
        return self._node.aval.nbytes

    @property
    def device(self) -> str:
        """Where the value lives."""
        return "cpu"

    def numel(self) -> int:
        """Return the number of elements."""
        return self._node.aval.size

    def dim(self) -> int:
        """Return the number of axes."""
        return self._node.aval.ndim

    def element_size(self) -> int:
        """Return the bytes of one element."""
        return self.itemsize

    def is_floating_point(self) -> bool:
        """Return whether the elements are real floating-point numbers."""
        return self.dtype.is_floating

    def is_complex(self) -> bool:
        """Return whether the elements are complex numbers."""
        return self.dtype.is_complex

    # gradients

    @property
    def requires_grad(self) -> bool:
        """Whether gradients flow to this tensor; it can be set on a leaf."""
        return bool(node_of(self).flags & REQUIRES_GRAD)

    @requires_grad.setter
    def requires_grad(self, value: bool) -> None:
        self.requires_grad_(value)

    def requires_grad_(self, requires_grad: bool = True) -> Tensor:
        """Set whether gradients flow to this tensor, a leaf; returns the tensor itself."""
        node = node_of(self)
        if requires_grad == bool(node.flags & REQUIRES_GRAD):
            return self
        if not is_leaf(node):
            text = "requires_grad can be changed only on a leaf"
            raise GradientError(message(text, f"the result of {node.prim.name}", None, "use .detach()"))
        _check_differentiable(node, requires_grad)
        lazy.written(self, node)
        _set_node(self, _owned(self, relabelled(node, REQUIRES_GRAD * requires_grad)))
        return self

    @property
    def is_leaf(self) -> bool:
        """Whether this tensor was not computed from others that require gradients."""
        return is_leaf(node_of(self))

    @property
    def grad(self) -> Tensor | None:
        """The gradient that `backward` accumulated, or None."""
        if lazy.observing() is not None:
            lazy.grad_read(self)
        return self._grad

    @grad.setter
    def grad(self, value: Tensor | None) -> None:
        if value is not None and value.aval is not self.aval:
            raise ShapeError(message("A gradient has the aval of its tensor", value.aval, self.aval))
        lazy.grad_written(self)
        self._grad = value

    def detach(self) -> Tensor:
        """Return a view of the same memory through which no gradient flows."""
        return make_view(self, DETACH)

    @property
    def data(self) -> Tensor:
        """A view of the same memory without gradient; assigning replaces the value."""
        return make_view(self, DETACH)

    @data.setter
    def data(self, value: Any) -> None:
        node = to_node(value, self.dtype)
        if node.aval is not self.aval:
            raise ShapeError(message("Data can be replaced by data of the same shape", node.shape, self.shape))
        write(make_view(self, DETACH), node)

    # looking at the value

    def numpy(self) -> np.ndarray[Any, Any]:
        """Compute the value and return it as a NumPy array that shares its memory.

        Raises:
            GradientError: the tensor requires gradients; call `.detach()` first.
        """
        if node_of(self).flags & REQUIRES_GRAD:
            text = "A tensor that requires gradients cannot become a NumPy array"
            raise GradientError(message(text, fix="call .detach().numpy()"))
        return self._array()

    def _array(self) -> np.ndarray[Any, Any]:
        node_of(self)
        return buffers.to_numpy(lazy.value(self), self.dtype.numpy, self.shape, writable=True)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray[Any, Any]:
        array = self.numpy()
        if dtype is None or np.dtype(dtype) == array.dtype:
            return array.copy() if copy else array
        if copy is False:
            text = "Another dtype needs a copy"
            raise ArgumentError(message(text, f"{self.dtype.name} as {np.dtype(dtype)}", None, "copy=None"))
        return array.astype(dtype)

    def item(self) -> Any:
        """Compute the one element and return it as a Python number.

        Raises:
            ArgumentError: the tensor does not have exactly one element.
        """
        if self._node.aval.size != 1:
            text = message("item() needs exactly one element", f"shape {self.shape}", None, "use .tolist()")
            raise ArgumentError(text)
        return _as_float(self._array()).item()

    def tolist(self) -> Any:
        """Compute the value and return it as nested lists of Python numbers."""
        return _as_float(self._array()).tolist()

    def __bool__(self) -> bool:
        if self._node.aval.size != 1:
            text = "The truth value of a tensor with other than one element is ambiguous"
            raise ArgumentError(message(text, f"shape {self.shape}", None, "use .any() or .all()"))
        return bool(self.item())

    def __int__(self) -> int:
        return int(self.item())

    def __float__(self) -> float:
        return float(self.item())

    def __complex__(self) -> complex:
        return complex(self.item())

    def __index__(self) -> int:
        if not self.dtype.is_integer:
            raise ArgumentTypeError(message("Only an integer tensor is an index", self.dtype.name, fix="use int(x)"))
        return int(self.item())

    def __len__(self) -> int:
        if not self.shape:
            raise ArgumentTypeError(message("A rank-0 tensor has no length", fix="use x.size or x.reshape(1)"))
        return self.shape[0]

    def __iter__(self) -> Iterator[Tensor]:
        if not self.shape:
            raise ArgumentTypeError(message("A rank-0 tensor cannot be iterated over", fix="use x.item()"))
        return (self[i] for i in range(self.shape[0]))

    def __contains__(self, value: Any) -> bool:
        return bool((self == value).any())

    def __format__(self, specification: str) -> str:
        return format(self.item(), specification) if specification else str(self)

    def __reduce__(self) -> Any:
        return _restore, (type(self), np.array(self._array()), self.dtype.name, self.requires_grad)

    def __deepcopy__(self, memo: dict[int, Any]) -> Tensor:
        if not is_leaf(node_of(self)):
            text = "Only a leaf can be copied deeply: this tensor has a gradient history"
            raise GradientError(message(text, fix="use .detach().clone()"))
        copy = make_leaf(self._node, self.requires_grad, type(self), copy=True)
        memo[id(self)] = copy
        copy._grad = None if self._grad is None else self._grad.__deepcopy__(memo)
        return copy


class Parameter(Tensor):
    """A leaf tensor that is trained: `nn.Module` registers it, optimizers update it.

    Args:
        data: the initial value, anything that `plait.tensor` takes.
        requires_grad: whether it is trained.

    Example:
        >>> plait.Parameter([1.0, 2.0])
        Parameter([1., 2.], requires_grad=True)
    """

    __slots__ = ()

    def __new__(cls, data: Any, requires_grad: bool = True) -> Parameter:
        return Tensor.__new__(cls, data, None, requires_grad)


def wrap(node: Node, cls: type[Tensor] = Tensor) -> Tensor:
    """Return a new handle of `node`; it becomes pending unless its value is known."""
    tensor = _new(cls)
    tensor._node = node
    tensor._base = tensor._grad = None
    tensor._version = tensor._marks = 0
    if node.value is None:
        pending = lazy.pending
        pending.append(tensor)
        if len(pending) >= lazy.budget:
            lazy.over_budget()
    elif node.extra is None and node.prim is DATA:
        _owned(tensor, node)
        if lazy.observing() is not None:
            lazy.state.observer.created(tensor)
    return tensor


def _owned(tensor: Tensor, node: Node) -> Node:
    """Note in a leaf which handle it is the value of: gradients and compiled functions look for it there."""
    node.extra = weakref.ref(tensor)
    return node


def make_leaf(node: Node, requires_grad: bool = False, cls: type[Tensor] = Tensor, copy: bool = False) -> Tensor:
    """Return a new tensor with the value of `node`, whose gradient history begins there."""
    _check_differentiable(node, requires_grad)
    if node.prim is CONSTANT:  # a tensor may be written: it is no constant of the programs that use it
        node = data(lazy.scalar_buffer(node), node.aval)
    if requires_grad or copy:
        node = relabelled(node, REQUIRES_GRAD * requires_grad)
    tensor = wrap(node, cls)
    if requires_grad:
        _owned(tensor, node)
    return tensor


def _check_differentiable(node: Node, requires_grad: bool) -> None:
    if requires_grad and not node.dtype.is_inexact:
        text = "Only floating-point and complex tensors can require gradients"
        raise GradientError(message(text, node.dtype.name, None, "convert with .to(plait.float32)"))


def node_of(tensor: Tensor) -> Node:
    """Return the up-to-date node of a handle: a view whose base has been written derives itself again."""
    base = tensor._base
    if base is not None and base._version != tensor._base_version:
        tensor._base_version = base._version
        _set_node(tensor, _derived(base._node, tensor._view))
    return tensor._node


def _derived(node: Node, steps: Sequence[Step]) -> Node:
    """Return a view of `node` that has its gradient history, also where gradients are not recorded now."""
    if not node.flags & REQUIRES_GRAD or in_force().mask & REQUIRES_GRAD:
        return derive(node, steps)
    previous, recorder.mask = recorder.mask, -1
    try:
        return derive(node, steps)
    finally:
        recorder.mask = previous


def _set_node(tensor: Tensor, node: Node) -> None:
    """Give a handle another node; it becomes pending again if its last value had been computed."""
    old = tensor._node
    tensor._node = node
    if node.value is None and old.value is not None:  # looked at after the write: see the end of `lazy.flush`
        lazy.pending.append(tensor)


def make_view(tensor: Tensor, *steps: Step) -> Tensor:
    """Return a view of `tensor`: it shows what is written to the tensor, and writes to it reach the tensor."""
    shown = node_of(tensor)
    if shown.flags & REQUIRES_GRAD and not in_force().mask & REQUIRES_GRAD:
        steps = (*steps, NO_GRAD)
    result = wrap(derive(shown, steps))
    base = result._base = tensor if tensor._base is None else tensor._base
    result._view = steps if tensor._base is None else (*tensor._view, *steps)
    result._base_version = base._version
    lazy.viewed(base)
    return result


def write(tensor: Tensor, value: Node) -> None:
    """Replace the value of `tensor`, and what it shows of its base, by `value`, a node of its aval.

    A write without gradients leaves the gradient history as it is, as in PyTorch.

    Raises:
        GradientError: while gradients are recorded, a leaf that requires them is written, or a view that was made
            while they were not.
    """
    base, steps = (tensor, ()) if tensor._base is None else (tensor._base, tensor._view)
    old, stored, is_recorded = base._node, value, True
    if (old.flags | value.flags) & REQUIRES_GRAD:
        check_write(tensor)
        is_recorded = bool(in_force().mask & REQUIRES_GRAD) and not is_detached(steps)
        stored = value if is_recorded else detached(value)
        if stored.flags & REQUIRES_GRAD and is_leaf(stored):  # that is the value of another tensor
            stored = value = P.reshape(value, shape=value.shape)
    new = stored if base is tensor else update(old, steps, stored, tensor._node)
    if old.flags & REQUIRES_GRAD and (is_leaf(old) or not is_recorded):
        new = _owned(base, relabelled(new, REQUIRES_GRAD)) if is_leaf(old) else with_history(old, new)
    elif new.prim is CONSTANT and lazy.observing() is None:  # as in `make_leaf`
        new = _owned(base, data(lazy.scalar_buffer(new), new.aval))
    elif new.prim is DATA and new.extra is None:
        new = _owned(base, new)
    lazy.written(base, old)
    base._version += 1
    _set_node(base, new)
    if base is not tensor:
        lazy.written(tensor, tensor._node)
        recording = in_force().mask & REQUIRES_GRAD
        if recording or not old.flags & REQUIRES_GRAD:  # else it derives itself again
            tensor._base_version = base._version
            _set_node(tensor, value if recording else stored)
    if len(lazy.pending) >= lazy.budget:
        lazy.over_budget()


def overwrite(tensor: Tensor, value: float) -> None:
    """Put another number into the memory of a rank-0 tensor, where compiled functions find it without being told.

    For numbers that no gradient history reads, such as learning rates: it would see the new one.
    """
    buffer = lazy.value(tensor)
    if lazy.pending:
        lazy.flush()  # what is recorded reads the old number
    buffers.to_numpy(buffer, tensor.dtype.numpy, (), writable=True)[...] = value


def check_write(tensor: Tensor) -> None:
    """Raise a `GradientError` where gradients are recorded and `tensor`, which has or gets some, cannot be written."""
    if not in_force().mask & REQUIRES_GRAD:
        return
    old, steps = (tensor._node, ()) if tensor._base is None else (tensor._base._node, tensor._view)
    if NO_GRAD in steps and DETACH not in steps:
        text = "A view that was made while gradients were not recorded cannot be written while they are"
        fix = "make the view and write to it both inside `plait.no_grad()`, or both outside"
        raise GradientError(message(text, _lines(tensor, old), None, fix))
    if old.flags & REQUIRES_GRAD and is_leaf(old) and not is_detached(steps):
        text = "A leaf tensor that requires gradients cannot be written in place while gradients are recorded"
        fix = "write inside `with plait.no_grad():`, or to x.detach()"
        raise GradientError(message(text, _lines(tensor, old), None, fix))


def _lines(tensor: Tensor, old: Node) -> str:
    """Say where a tensor that is written was made, and where it is written."""
    view = "" if tensor._base is None else f"a view made at {tensor._node.source or 'an unknown line'} of "
    return f"a write at {':'.join(map(str, user_line()))} to {view}a tensor made at {old.source or 'an unknown line'}"


# conversion of arguments


def axis_index(axis: Any, ndim: int, what: str = "axis") -> int:
    """Return `axis` counted from the first; raises `AxisError` where there is no such axis."""
    try:
        index = axis.__index__()
    except AttributeError:
        text = message(f"{what} is an integer", repr(axis), "an integer", "pass e.g. axis=0")
        raise ArgumentTypeError(text) from None
    if not -ndim <= index < ndim:
        expected = f"between {-ndim} and {ndim - 1}" if ndim else "nothing: the tensor has no axes"
        raise AxisError(message(f"{what} out of range for a tensor of {ndim} axes", axis, expected))
    return int(index) % ndim


def integers(value: Any, what: str) -> tuple[int, ...]:
    """Return one integer, or a sequence of them, as a tuple; `what` names it in an error."""
    try:
        return tuple([v.__index__() for v in ((value,) if hasattr(value, "__index__") else value)])
    except (TypeError, AttributeError):
        text, fix = f"{what} is an integer or a sequence of integers", "pass e.g. 1 or (0, 1)"
        raise ArgumentTypeError(message(text, repr(value)[:60], None, fix)) from None


_scalars: dict[tuple[type, Any, DType], Node] = {}


def scalar_node(value: Any, dtype: DType) -> Node:
    """Return the constant `value` of `dtype`; raises `ArgumentError` where an integer does not fit."""
    kind = type(value)
    node = _scalars.get((kind, value, dtype))
    if node is None:
        node = _new_scalar(value, dtype)
        if kind is int or kind is float and value and value == value:  # -0.0 and nan are not dictionary keys
            if len(_scalars) > 4096:
                _scalars.clear()
            _scalars[kind, value, dtype] = node
    return node


def _new_scalar(value: Any, dtype: DType) -> Node:
    if not any(hasattr(value, name) for name in ("__index__", "__float__", "__complex__")):
        raise ArgumentTypeError(message(f"A {dtype.name} is made of a number", repr(value)[:60], "a number"))
    if isinstance(value, complex) and not dtype.is_complex:
        raise DTypeError(message(f"A complex number does not fit {dtype.name}", value, "a real number", "use .real"))
    if dtype.is_integer:
        value = int(value)
        low = -(1 << dtype.bits - 1) if dtype.kind == "i" else 0
        if not low <= value < low + (1 << dtype.bits):
            text = message(f"The integer does not fit {dtype.name}", value, f"{low} to {low + (1 << dtype.bits) - 1}")
            raise ArgumentError(text)
    else:
        value = {"b": bool, "f": float, "c": complex}[dtype.kind](value)
    return constant(value, dtype)


def converted(node: Node, dtype: DType) -> Node:
    """Return `node` as `dtype`."""
    return node if node.dtype is dtype else P.convert(node, dtype=dtype)


def to_node(value: Any, dtype: Any = None, share: bool = False) -> Node:
    """Return the node of a tensor, a number, an array or nested sequences of numbers, as `dtype`.

    With `share`, the memory of a suitable array is used, not copied.

    Raises:
        ArgumentTypeError: the value is no numeric data.
        ArgumentError: a Python integer does not fit the dtype.
    """
    wanted = None if dtype is None else as_dtype(dtype)
    if isinstance(value, Tensor):
        node = node_of(value)
        return node if wanted is None else converted(node, wanted)
    if isinstance(value, (bool, int, float, complex)) and not isinstance(value, np.generic):
        return scalar_node(value, wanted or promote_scalar(bool_, value))
    array = _to_array(value, wanted)
    wanted = wanted or as_dtype(array.dtype)
    cast = array.astype(wanted.numpy, order="C", copy=False)
    return data(buffers.from_numpy(cast, copy=share is False and cast is value or None), aval(wanted, array.shape))


def _to_array(value: Any, wanted: DType | None) -> np.ndarray[Any, Any]:
    if isinstance(value, (np.ndarray, np.generic)):
        return np.asarray(value)
    if _has_tensor(value):
        value = _without_tensors(value)
    try:
        array = np.asarray(value)
    except ValueError as error:
        text = message(
            "Nested sequences need equal lengths", str(error).rstrip("."), "a regular nesting", "pad the shorter ones"
        )
        raise ShapeError(text) from None
    if array.dtype == object or array.dtype.kind not in "biufcV":
        received = f"{type(value).__name__} ({str(value)[:40]})"
        raise ArgumentTypeError(message("Cannot make a tensor of this", received, "numbers, sequences or an array"))
    if isinstance(value, (list, tuple)) and not _has_numpy(value):
        if wanted is uint64 and array.dtype.kind == "f":  # NumPy rounds a mixture of small and very large integers
            array = _large_integers(value, array)
        default = {"f": np.float32, "c": np.complex64}.get(array.dtype.kind)
        array = array if default is None or wanted is not None else array.astype(default)
        array = array.astype(np.float32) if not array.size and wanted is None else array
        if wanted is not None and wanted.is_integer and array.dtype.kind in "iu" and array.size:
            for extreme in (array.min(), array.max()):
                scalar_node(extreme.item(), wanted)  # raises where it does not fit
    return array


def _large_integers(value: Any, rounded: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    exact = np.array(value, object)
    if not all(type(v) is int for v in exact.flat):
        return rounded
    for extreme in (exact.min(), exact.max()):
        scalar_node(extreme, uint64)  # raises where it does not fit
    return exact.astype(np.uint64)


def _has_tensor(value: Any) -> bool:
    return isinstance(value, (list, tuple)) and any(isinstance(v, Tensor) or _has_tensor(v) for v in value)


def _without_tensors(value: Any) -> Any:
    if isinstance(value, Tensor):
        return value._array()
    return [_without_tensors(v) for v in value] if isinstance(value, (list, tuple)) else value


def _has_numpy(value: Any) -> bool:
    while isinstance(value, (list, tuple)) and value:
        value = value[0]
    return isinstance(value, (np.ndarray, np.generic))


def _as_float(array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    return array.astype(np.float32) if array.dtype.kind == "V" else array


def _restore(cls: type[Tensor], array: np.ndarray[Any, Any], dtype: str, requires_grad: bool) -> Tensor:
    return Tensor.__new__(cls, array.view(as_dtype(dtype).numpy), None, requires_grad)
