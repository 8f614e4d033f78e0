"""What PyTorch's tensors can be asked, and the methods that give a tensor another shape in place."""

from __future__ import annotations

import gc
from collections.abc import Callable
from math import prod
from typing import Any

from plait.core.errors import ArgumentError, GradientError, message
from plait.core.graph import REQUIRES_GRAD, Node, recorder
from plait.core.primitive import P
from plait.tensor import lazy
from plait.tensor.logic import where
from plait.tensor.operators import scalar_node, single
from plait.tensor.selection import nonzero
from plait.tensor.shaping import new_shape, squeeze_method, swapaxes, t, transpose, unsqueeze
from plait.tensor.strides import as_strided
from plait.tensor.tensor import Tensor, _set_node, is_leaf, node_of, wrap
from plait.tensor.views import detached

__all__ = [
    "is_complex", "is_conj", "is_floating_point", "is_inference", "is_neg", "is_nonzero", "is_same_size", "is_signed",
    "is_tensor", "numel",
]  # fmt: skip


def is_tensor(value: Any) -> bool:
    """Return whether a value is a tensor.

    Example:
        >>> plait.is_tensor(plait.zeros(1)), plait.is_tensor(1.0)
        (True, False)
    """
    return isinstance(value, Tensor)


def numel(input: Any) -> int:
    """Return the number of elements.

    Example:
        >>> plait.numel(plait.zeros(2, 3))
        6
    """
    return int(single(input, "numel").aval.size)


def is_floating_point(input: Any) -> bool:
    """Return whether the elements are real floating-point numbers.

    Example:
        >>> plait.is_floating_point(plait.zeros(1))
        True
    """
    return single(input, "is_floating_point").dtype.is_floating


def is_complex(input: Any) -> bool:
    """Return whether the elements are complex numbers.

    Example:
        >>> plait.is_complex(plait.zeros(1))
        False
    """
    return single(input, "is_complex").dtype.is_complex


def _never(name: str, text: str) -> Callable[[Any], bool]:
    """Make a question whose answer is no for every tensor."""

    def ask(input: Any) -> bool:
        single(input, name)
        return False

    ask.__name__ = ask.__qualname__ = name
    ask.__doc__ = f"""Return False: {text}.

    Example:
        >>> plait.{name}(plait.zeros(1))
        False
    """
    return ask


is_conj = _never("is_conj", "conjugates are computed, not marked")
is_neg = _never("is_neg", "negative values are computed, not marked")
is_inference = _never("is_inference", "every tensor may take part in differentiation")


def is_signed(input: Any) -> bool:
    """Return whether the elements can be negative.

    Example:
        >>> plait.is_signed(plait.zeros(1)), plait.is_signed(plait.zeros(1, dtype=plait.uint8))
        (True, False)
    """
    return single(input, "is_signed").dtype.kind in "ifc"


def is_nonzero(input: Any) -> bool:
    """Return whether a tensor of one element is not zero, which is looked at.

    Raises:
        ArgumentError: the tensor has not exactly one element.

    Example:
        >>> plait.is_nonzero(plait.tensor([2.0]))
        True
    """
    return bool(wrap(single(input, "is_nonzero")))


def is_same_size(input: Any, other: Any) -> bool:
    """Return whether two tensors have the same shape.

    Example:
        >>> plait.is_same_size(plait.zeros(2), plait.ones(2))
        True
    """
    return single(input, "is_same_size").shape == single(other, "is_same_size").shape


def is_set_to(self: Tensor, tensor: Tensor) -> bool:
    """Return whether two tensors show the same elements of the same memory."""
    bases = [x if x._base is None else x._base for x in (self, tensor)]
    places = [(x.shape, x.dtype, x.stride(), x.storage_offset()) for x in (self, tensor)]
    return bases[0] is bases[1] and places[0] == places[1]


def nelement(self: Tensor) -> int:
    """Return the number of elements."""
    return self.numel()


def ndimension(self: Tensor) -> int:
    """Return the number of axes."""
    return self.ndim


def get_device(self: Tensor) -> int:
    """Return -1: the value is on the CPU."""
    return -1


def dim_order(self: Tensor) -> tuple[int, ...]:
    """Return the axes from the outermost to the innermost in memory."""
    strides = self.stride()
    return tuple(sorted(range(self.ndim), key=lambda a: -strides[a]))


def data_ptr(self: Tensor) -> int:
    """Compute the value and return the address of its memory, which is valid as long as the tensor is not written."""
    address: int = self.detach()._array().ctypes.data
    return address


def choose(self: Tensor, condition: Any, other: Any) -> Tensor:
    """Return elements of this tensor where `condition` holds, of `other` elsewhere."""
    return where(condition, self, other)


choose.__name__ = choose.__qualname__ = "where"


def nonzero_method(self: Tensor, as_tuple: bool = False) -> Any:
    """Return the positions of the non-zero elements as the rows of a matrix, or as a tuple with a vector for each axis.

    Example:
        >>> plait.tensor([0, 5]).nonzero()
        tensor([[1]])
    """
    return nonzero(self, as_tuple)


# other shapes, in place


def _reshaped_in_place(view: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """Return the method after which a tensor is what `view` shows of it."""
    name = f"{view.__name__}_"

    def method(self: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        if self._base is None and _has_views(self):
            text = f"{name} cannot change a tensor that has views: they would lose their place"
            raise ArgumentError(message(text, fix=f"use x = x.{name[:-1]}(...)"))
        # what is shown of another handle of the value, as it must not become a view of this one
        given = self if self._base is not None else wrap(node_of(self))
        shown = view(given, *args, **kwargs)
        if shown is not given:
            _become(self, name, shown._node)
            if self._base is not None:
                self._view, self._base_version = shown._view, shown._base_version
        return self

    method.__name__ = method.__qualname__ = name
    method.__doc__ = f"""Give this tensor the shape that `{view.__name__}` shows, and return it.

    Raises:
        ArgumentError: the tensor has views, which would lose their place; use the function that returns a view.
        GradientError: it is a leaf that requires gradients.
    """
    return method


def _has_views(base: Tensor) -> bool:
    """Whether somebody holds a view of `base`; those that were let go are not counted."""
    if not base._marks & lazy.VIEWED:
        return False
    if lazy.observing() is None:
        lazy.flush()  # what is pending holds views, too
    return any(isinstance(other, Tensor) and other._base is base for other in gc.get_referrers(base))


def _become(self: Tensor, name: str, node: Node) -> None:
    """Give a handle a node of another shape."""
    old = node_of(self)
    if old.flags & REQUIRES_GRAD and is_leaf(old) and recorder.mask & REQUIRES_GRAD:
        text = f"{name} cannot change a leaf that requires gradients while gradients are recorded"
        raise GradientError(message(text, fix=f"use the function {name[:-1]}, which returns another tensor"))
    lazy.written(self, old)
    _set_node(self, node)


def detach_(self: Tensor) -> Tensor:
    """Cut the gradient history of this tensor, which becomes a leaf, and return it.

    Raises:
        ArgumentError: it is a view; use `detach`.

    Example:
        >>> (plait.ones(2, requires_grad=True) * 2).detach_().requires_grad
        False
    """
    if self._base is not None:
        raise ArgumentError(message("A view cannot be detached in place", fix="use x = x.detach()"))
    old = node_of(self)
    lazy.written(self, old)
    _set_node(self, detached(old))
    return self


def resize_(self: Tensor, *sizes: Any, memory_format: Any = None) -> Tensor:
    """Give this tensor another shape: the first elements in row-major order are kept, new ones are 0; returns it.

    Args:
        self: a tensor that requires no gradients.
        sizes: the new shape.
        memory_format: without effect.

    Returns:
        The tensor.

    Raises:
        ArgumentError: the tensor is a view, or has views.
        GradientError: it requires gradients.

    Example:
        >>> plait.tensor([1, 2, 3]).resize_(2, 2)
        tensor([[1, 2],
                [3, 0]])
    """
    shape, node = new_shape(sizes), node_of(self)
    if shape == node.shape:
        return self
    if node.flags & REQUIRES_GRAD:
        raise GradientError(message("resize_ has no gradient", fix="use reshape, or plait.nn.functional.pad"))
    if self._base is not None or _has_views(self):
        raise ArgumentError(message("A tensor that shares memory with views cannot be resized", fix="use x.clone()"))
    flat = P.reshape(node, shape=(node.aval.size,))
    more = prod(shape) - node.aval.size
    kept = P.pad(flat, scalar_node(0, node.dtype), low=(0,), high=(more,), interior=(0,))
    lazy.written(self, node)
    _set_node(self, P.reshape(kept, shape=shape))
    return self


def resize_as_(self: Tensor, other: Tensor, memory_format: Any = None) -> Tensor:
    """Give this tensor the shape of another: see `resize_`."""
    return resize_(self, other.shape)


METHODS = [
    is_conj, is_neg, is_inference, is_nonzero, is_same_size, is_set_to, is_signed, nelement, ndimension, get_device,
    dim_order, data_ptr, choose, detach_, resize_, resize_as_,
    *map(_reshaped_in_place, (squeeze_method, unsqueeze, t, transpose, swapaxes, as_strided)),
]  # fmt: skip
_ALWAYS_FALSE = """
    is_distributed is_coalesced is_pinned is_shared
""".split()
_FALSE_PROPERTIES = """
    is_cuda is_ipu is_maia is_meta is_mkldnn is_mps is_mtia is_nested is_quantized is_sparse is_sparse_csr is_vulkan
    is_xla is_xpu
""".split()


def attach() -> None:
    """Attach the methods, and the questions that have one answer here."""
    for method in METHODS:
        setattr(Tensor, method.__name__, method)
    Tensor.swapdims_ = Tensor.swapaxes_  # type: ignore[attr-defined]
    for name in _ALWAYS_FALSE:
        setattr(Tensor, name, _constantly(name, False))
    for name in _FALSE_PROPERTIES:
        setattr(Tensor, name, property(_constantly(name, False)))
    for name, value in (("is_cpu", True), ("output_nr", 0), ("name", None)):
        setattr(Tensor, name, property(_constantly(name, value)))


def _constantly(name: str, value: Any) -> Callable[[Tensor], Any]:
    def ask(self: Tensor) -> Any:
        return value

    ask.__name__ = name
    ask.__doc__ = f"{value!r}: tensors of plait are dense values in the memory of the CPU."
    return ask
