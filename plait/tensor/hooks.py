"""Functions that are called with gradients on their way: `Tensor.register_hook` and its relatives."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Any

from plait.core.errors import GradientError, check_function, message
from plait.core.graph import REQUIRES_GRAD, Node
from plait.core.primitive import P
from plait.tensor.tensor import Tensor, _set_node, is_leaf, node_of, wrap

Hook = Callable[..., Any]


class Handle:
    """What `register_hook` returns: `remove()` takes the hook away."""

    def __init__(self, hooks: dict[Handle, Hook], hook: Hook) -> None:
        self._hooks = hooks
        hooks[self] = hook

    def remove(self) -> None:
        """Take the hook away."""
        self._hooks.pop(self, None)


class Hooks:
    """The hooks of one tensor: `gradient` may replace the gradient, `accumulated` run when `.grad` has been set.

    All compare as equal: what a program computes does not depend on them.
    """

    def __init__(self) -> None:
        self.gradient: dict[Handle, Hook] = {}
        self.accumulated: dict[Handle, Hook] = {}
        self.retained: Callable[[Tensor], None] | None = None

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Hooks)

    def __hash__(self) -> int:
        return hash(Hooks)

    def apply(self, gradient: Tensor) -> Tensor:
        """Return a gradient as the hooks leave it."""
        for hook in list(self.gradient.values()):
            replaced = hook(gradient)
            gradient = gradient if replaced is None else replaced
        if self.retained is not None:
            self.retained(gradient)
        return gradient

    def __call__(self, cotangent: Node) -> Node:
        """Return a cotangent as the hooks leave it, who see it as a gradient."""
        return _conjugated(node_of(self.apply(wrap(_conjugated(cotangent)))))


def _conjugated(node: Node) -> Node:
    return P.conj(node) if node.dtype.is_complex else node


def hooks_of(tensor: Tensor, create: bool = False) -> Hooks | None:
    """Return the hooks of a tensor, if it has any."""
    found: Hooks | None = getattr(tensor, "_hooks", None)
    if found is None and create:
        found = tensor._hooks = Hooks()
        node = node_of(tensor)
        if not is_leaf(node):  # what is computed from it from now on sends its gradient through the hooks
            _set_node(tensor, P.tap(node, hooks=found))
    return found


def _checked(tensor: Tensor, hook: Hook, what: str) -> None:
    check_function(hook, what)
    if not node_of(tensor).flags & REQUIRES_GRAD:
        text = f"{what} needs a tensor that requires gradients"
        raise GradientError(message(text, tensor.aval, None, "call requires_grad_() first"))


def register_hook(self: Tensor, hook: Hook) -> Handle:
    """Call a function with the gradient of this tensor in each `backward`; what it returns replaces the gradient.

    Only uses of the tensor after the call count, unless it is a leaf.

    Args:
        self: a tensor that requires gradients.
        hook: a function of the gradient that returns another gradient or None.

    Returns:
        A handle; its `remove()` takes the hook away.

    Raises:
        GradientError: the tensor does not require gradients.

    Example:
        >>> w = plait.ones(2, requires_grad=True)
        >>> handle = w.register_hook(lambda gradient: gradient * 10)
        >>> w.sum().backward()
        >>> w.grad
        tensor([10., 10.])
    """
    _checked(self, hook, "register_hook")
    return Handle(hooks_of(self, create=True).gradient, hook)  # type: ignore[union-attr]


def register_post_accumulate_grad_hook(self: Tensor, hook: Hook) -> Handle:
    """Call a function with this leaf each time `backward` has added to its `.grad`.

    Args:
        self: a leaf that requires gradients.
        hook: a function of the leaf.

    Returns:
        A handle; its `remove()` takes the hook away.

    Raises:
        GradientError: the tensor is no leaf, or does not require gradients.

    Example:
        >>> w = plait.ones(2, requires_grad=True)
        >>> handle = w.register_post_accumulate_grad_hook(lambda leaf: print(leaf.grad))
        >>> w.sum().backward()
        tensor([1., 1.])
    """
    _checked(self, hook, "register_post_accumulate_grad_hook")
    if not is_leaf(node_of(self)):
        raise GradientError(message("Only leaves accumulate gradients", fix="use register_hook"))
    return Handle(hooks_of(self, create=True).accumulated, hook)  # type: ignore[union-attr]


def retain_grad(self: Tensor) -> None:
    """Let `backward` store the gradient of this tensor in `.grad`, though it is no leaf.

    Only uses of the tensor after the call count.

    Raises:
        GradientError: the tensor does not require gradients.

    Example:
        >>> w = plait.ones(2, requires_grad=True)
        >>> y = w * 2
        >>> y.retain_grad()
        >>> (y * y).sum().backward()
        >>> y.grad
        tensor([4., 4.])
    """
    _checked(self, print, "retain_grad")
    if not is_leaf(node_of(self)):
        owner = weakref.ref(self)

        def store(gradient: Tensor) -> None:
            tensor = owner()
            if tensor is not None:
                tensor._grad = gradient if tensor._grad is None else tensor._grad + gradient

        hooks_of(self, create=True).retained = store  # type: ignore[union-attr]


def retains_grad(self: Tensor) -> bool:
    """Whether `backward` stores the gradient of this tensor, which is no leaf, in `.grad`."""
    found = hooks_of(self)
    return found is not None and found.retained is not None


METHODS = [register_hook, register_post_accumulate_grad_hook, retain_grad]
