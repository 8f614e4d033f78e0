"""Hooks of modules: functions called around `forward`, with the gradients of a call, and around state dicts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from plait.core import tree
from plait.core.errors import ArgumentTypeError, check_function, message
from plait.core.graph import REQUIRES_GRAD, TRACED
from plait.tensor.tensor import Tensor, node_of
from plait.tensor.transforms import custom_vjp

Function = Callable[..., Any]


class Hook:
    """One registered function; hooks compare by identity, so compiled functions see that another one was added."""

    __slots__ = ("kind", "function", "with_kwargs", "always_call")

    def __init__(self, kind: str, function: Function, with_kwargs: bool = False, always_call: bool = False) -> None:
        self.kind, self.function, self.with_kwargs, self.always_call = kind, function, with_kwargs, always_call


class HookHandle:
    """What the `register_..._hook` methods return: `remove()`, or the end of a `with` block, takes the hook away."""

    def __init__(self, owner: Hooked, hook: Hook) -> None:
        self._owner, self._hook = owner, hook

    def remove(self) -> None:
        """Take the hook away."""
        self._owner._set_hooks(tuple(h for h in self._owner._hooks if h is not self._hook))

    def __enter__(self) -> HookHandle:
        return self

    def __exit__(self, *_: object) -> None:
        self.remove()


class Hooked:
    """The part of `Module` that registers hooks. They are one tuple, empty in most modules: a call tests only that."""

    _hooks: tuple[Hook, ...]
    _changed: Callable[[], None]
    forward: Callable[..., Any]

    def _set_hooks(self, hooks: tuple[Hook, ...]) -> None:
        self.__dict__["_hooks"] = hooks
        self._changed()

    def _add_hook(self, kind: str, function: Function, prepend: bool = False, **options: bool) -> HookHandle:
        check_function(function, f"register_{kind}_hook")
        hook = Hook(kind, function, **options)
        self._set_hooks((hook, *self._hooks) if prepend else (*self._hooks, hook))
        return HookHandle(self, hook)

    def _hooks_of(self, kind: str) -> list[Hook]:
        return [hook for hook in self._hooks if hook.kind == kind]

    def register_forward_pre_hook(
        self, hook: Function, *, prepend: bool = False, with_kwargs: bool = False
    ) -> HookHandle:
        """Call a function before each `forward`.

        Args:
            hook: `hook(module, args)`; what it returns, if not None, replaces the positional arguments.
            prepend: whether it is called before the hooks that are there already.
            with_kwargs: whether it is called as `hook(module, args, kwargs)` and returns a pair of both.

        Returns:
            A handle; its `remove()` takes the hook away.

        Example:
            >>> layer = plait.nn.Identity()
            >>> with layer.register_forward_pre_hook(lambda module, args: args[0] * 10):
            ...     layer(plait.tensor([1.0]))
            tensor([10.])
        """
        return self._add_hook("forward_pre", hook, prepend, with_kwargs=with_kwargs)

    def register_forward_hook(
        self, hook: Function, *, prepend: bool = False, with_kwargs: bool = False, always_call: bool = False
    ) -> HookHandle:
        """Call a function after each `forward`.

        Args:
            hook: `hook(module, args, result)`; what it returns, if not None, replaces the result.
            prepend: whether it is called before the hooks that are there already.
            with_kwargs: whether it is called as `hook(module, args, kwargs, result)`.
            always_call: whether it is called, with None as the result, also where `forward` raises.

        Returns:
            A handle; its `remove()` takes the hook away.

        Example:
            >>> layer = plait.nn.Linear(2, 3)
            >>> with layer.register_forward_hook(lambda module, args, result: print(result.shape)):
            ...     _ = layer(plait.ones(4, 2))
            (4, 3)
        """
        return self._add_hook("forward", hook, prepend, with_kwargs=with_kwargs, always_call=always_call)

    def register_full_backward_pre_hook(self, hook: Function, prepend: bool = False) -> HookHandle:
        """Call a function before gradients flow back through the module.

        Args:
            hook: `hook(module, grad_output)`, a tuple with the gradient of each tensor of the result; what it
                returns, if not None, replaces them.
            prepend: whether it is called before the hooks that are there already.

        Returns:
            A handle; its `remove()` takes the hook away.
        """
        return self._add_hook("full_backward_pre", hook, prepend)

    def register_full_backward_hook(self, hook: Function, prepend: bool = False) -> HookHandle:
        """Call a function when gradients have flowed back through the module. Forward mode is refused then.

        Args:
            hook: `hook(module, grad_input, grad_output)`: a tuple with the gradient of each positional argument
                (None for those without one), and one with those of the result; what it returns, if not None,
                replaces the former.
            prepend: whether it is called before the hooks that are there already.

        Returns:
            A handle; its `remove()` takes the hook away.

        Example:
            >>> layer, x = plait.nn.Tanh(), plait.zeros(1, requires_grad=True)
            >>> handle = layer.register_full_backward_hook(lambda module, inputs, outputs: print(inputs, outputs))
            >>> (layer(x) * 3).sum().backward()
            (tensor([3.]),) (tensor([3.]),)
        """
        return self._add_hook("full_backward", hook, prepend)

    def register_state_dict_pre_hook(self, hook: Function) -> HookHandle:
        """Call `hook(module, prefix, keep_vars)` before `state_dict` reads this module; returns a handle."""
        return self._add_hook("state_dict_pre", hook)

    def register_state_dict_post_hook(self, hook: Function) -> HookHandle:
        """Call `hook(module, state_dict, prefix, local_metadata)` after `state_dict`; it may change the dict."""
        return self._add_hook("state_dict_post", hook)

    def register_load_state_dict_pre_hook(self, hook: Function) -> HookHandle:
        """Call a function before `load_state_dict` compares names, for instance to rename old ones.

        Args:
            hook: `hook(module, state_dict, prefix, local_metadata, strict, missing_keys, unexpected_keys, error_msgs)`;
                it may change the dict, which is a copy, and add lines to the last.

        Returns:
            A handle; its `remove()` takes the hook away.
        """
        return self._add_hook("load_state_dict_pre", hook)

    def register_load_state_dict_post_hook(self, hook: Function) -> HookHandle:
        """Call `hook(module, incompatible_keys)` after `load_state_dict`; it may change the lists of names."""
        return self._add_hook("load_state_dict_post", hook)


def call_with_hooks(module: Hooked, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Call `forward` with the hooks around it."""
    for hook in module._hooks_of("forward_pre"):
        args, kwargs = _before(hook, module, args, kwargs)
    watch = _Gradients(module)
    args = watch.inputs(args)
    try:
        result = module.forward(*args, **kwargs)
    except Exception:
        for hook in module._hooks_of("forward"):
            if hook.always_call:
                hook.function(module, args, *([kwargs] if hook.with_kwargs else []), None)
        raise
    for hook in module._hooks_of("forward"):
        found = hook.function(module, args, *([kwargs] if hook.with_kwargs else []), result)
        result = result if found is None else found
    return watch.outputs(result)


def _before(
    hook: Hook, module: Hooked, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    if not hook.with_kwargs:
        found = hook.function(module, args)
        return args if found is None else found if isinstance(found, tuple) else (found,), kwargs
    found = hook.function(module, args, kwargs)
    if found is None:
        return args, kwargs
    if not isinstance(found, tuple) or len(found) != 2:
        text = "A forward pre-hook with_kwargs returns None or both kinds of arguments"
        raise ArgumentTypeError(message(text, type(found).__name__, "(args, kwargs)"))
    return found


class _Gradients:
    """What the backward hooks of a module see and replace in one call of it."""

    def __init__(self, module: Hooked) -> None:
        self.module = module
        self.before, self.after = module._hooks_of("full_backward_pre"), module._hooks_of("full_backward")
        self.grad_output: tuple[Any, ...] = ()
        self.places: list[int] = []

    def inputs(self, args: tuple[Any, ...]) -> tuple[Any, ...]:
        """Return the arguments; their gradients go through the hooks."""
        self.count = len(args)
        self.places = [k for k, a in enumerate(args) if self.after and _flows(a)]
        return tuple(_watched(args, self.places, self._at_input))

    def outputs(self, result: Any) -> Any:
        """Return the result; its gradients go through the hooks."""
        if not self.before and not self.after:
            return result
        leaves, treedef = tree.flatten(result)
        places = [k for k, leaf in enumerate(leaves) if _flows(leaf)]
        return tree.unflatten(treedef, _watched(leaves, places, self._at_output))

    def _at_output(self, gradients: tuple[Any, ...]) -> tuple[Any, ...]:
        for hook in self.before:
            gradients = _replaced(gradients, hook.function(self.module, gradients))
        self.grad_output = gradients
        if not self.places:  # no argument has a gradient: the hooks see that of the result all the same
            self._at_input(())
        return gradients

    def _at_input(self, gradients: tuple[Any, ...]) -> tuple[Any, ...]:
        by_place = dict(zip(self.places, gradients, strict=True))
        given = tuple(by_place.get(k) for k in range(self.count))
        for hook in self.after:
            given = _replaced(given, hook.function(self.module, given, self.grad_output))
        return tuple(given[k] for k in self.places)


def _flows(value: Any) -> bool:
    return isinstance(value, Tensor) and bool(node_of(value).flags & (REQUIRES_GRAD | TRACED))


def _watched(values: Sequence[Any], places: Sequence[int], replace: Function) -> list[Any]:
    """Return the values; the gradients of those at `places` go together through `replace`."""
    result = list(values)
    if places:
        identity = custom_vjp(lambda *tensors: tensors)
        identity.defvjp(lambda *tensors: (tensors, ()), lambda _, gradients: replace(gradients))
        for k, tensor in zip(places, identity(*[values[k] for k in places]), strict=True):
            result[k] = tensor
    return result


def _replaced(gradients: tuple[Any, ...], found: Any) -> tuple[Any, ...]:
    if found is None:
        return gradients
    found = found if isinstance(found, tuple) else (found,)
    if len(found) != len(gradients):
        text = "A backward hook returns None or as many gradients as it is given"
        raise ArgumentTypeError(message(text, len(found), len(gradients)))
    return found
