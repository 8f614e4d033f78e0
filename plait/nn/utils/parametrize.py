"""Parametrized tensors: parameters of a module that are computed from others, with PyTorch's names in state dicts.

`module.weight` is looked up in `module.parametrizations.weight`, which computes it from `original` at each use. The
class of the module does not change.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

from plait.core.errors import ArgumentError, ArgumentTypeError, DTypeError, ShapeError, message
from plait.nn.containers import ModuleDict, ModuleList
from plait.nn.module import Module
from plait.tensor.autograd import no_grad
from plait.tensor.tensor import Parameter, Tensor

_cached: list[dict[int, tuple[Any, Tensor]]] = []  # the computed tensors while `cached` is entered


@contextlib.contextmanager
def cached() -> Iterator[None]:
    """Return a context manager in which each parametrized tensor is computed once, at its first use.

    Example:
        >>> layer = plait.nn.utils.parametrizations.weight_norm(plait.nn.Linear(2, 2))
        >>> with plait.nn.utils.parametrize.cached():
        ...     layer.weight is layer.weight
        True
    """
    _cached.append(_cached[-1] if _cached else {})
    try:
        yield
    finally:
        _cached.pop()


class ParametrizationList(ModuleList):
    """The parametrizations of one tensor, and what it is computed from: `original`, or `original0`, `original1`, …

    Made by `register_parametrization`.
    """

    def __init__(self, modules: Sequence[Module], original: Tensor, unsafe: bool = False) -> None:
        super().__init__(modules)
        self.unsafe = unsafe
        with no_grad():
            new: Any = original
            for module in reversed(list(self)):
                if hasattr(module, "right_inverse"):
                    new = module.right_inverse(new)
        self.is_tensor = isinstance(new, Tensor)
        self.ntensors = 1 if self.is_tensor else len(new)
        if self.is_tensor:
            with no_grad():
                if new is not original:
                    original.copy_(new)
            self._hold("original", original)
        else:
            for k, part in enumerate(new):
                is_trained = isinstance(original, Parameter)
                self._hold(f"original{k}", Parameter(part, original.requires_grad) if is_trained else part)
        if not unsafe:
            self._check(original)

    def _hold(self, name: str, value: Tensor) -> None:
        if isinstance(value, Parameter):
            self.register_parameter(name, value)
        else:
            self.register_buffer(name, value)

    def _check(self, original: Tensor) -> None:
        with no_grad():
            value = self()
        fix = "pass unsafe=True if this is meant"
        if not isinstance(value, Tensor):
            raise ArgumentTypeError(message("A parametrization returns a tensor", type(value).__name__))
        if value.dtype is not original.dtype:
            received = value.dtype.name
            raise DTypeError(message("A parametrization keeps the dtype", received, original.dtype.name, fix))
        if value.shape != original.shape:
            raise ShapeError(message("A parametrization keeps the shape", value.shape, original.shape, fix))

    def _originals(self) -> list[Tensor]:
        return [self.original] if self.is_tensor else [getattr(self, f"original{k}") for k in range(self.ntensors)]

    def right_inverse(self, value: Any) -> None:
        """Set what the tensor is computed from, so that it has this value.

        Raises:
            ArgumentError: a parametrization has no `right_inverse`.
        """
        with no_grad():
            for module in reversed(list(self)):
                if not hasattr(module, "right_inverse"):
                    text = f"The parametrization {type(module).__name__} cannot be assigned to"
                    raise ArgumentError(message(text, fix="define its method right_inverse"))
                value = module.right_inverse(value)
            for original, part in zip(self._originals(), [value] if self.is_tensor else value, strict=True):
                original.copy_(part)

    def forward(self) -> Any:
        first, *others = list(self)
        value = first(*self._originals())
        for module in others:
            value = module(value)
        return value

    def value(self) -> Any:
        """Return the parametrized tensor, from the cache inside `cached`."""
        if not _cached:
            return self()
        cache = _cached[-1]
        if id(self) not in cache:
            cache[id(self)] = self, self()
        return cache[id(self)][1]


def register_parametrization(
    module: Module, tensor_name: str, parametrization: Module, *, unsafe: bool = False
) -> Module:
    """Let a parameter or buffer of a module be computed by another module.

    From then on `module.weight` is `parametrization(module.parametrizations.weight.original)`. Assigning to
    `module.weight` calls `parametrization.right_inverse`, if there is one; what it returns, a tensor or several, is
    also what `original` starts from.

    Args:
        module: the module.
        tensor_name: the name of its parameter or buffer.
        parametrization: a module that computes the tensor; one registered before computes its input.
        unsafe: whether the tensor may get another shape or dtype.

    Returns:
        The module.

    Raises:
        ArgumentError: there is no such parameter or buffer.
        ShapeError: another shape.
        DTypeError: another dtype.

    Example:
        >>> class Symmetric(plait.nn.Module):
        ...     def forward(self, x):
        ...         return plait.triu(x) + plait.triu(x, 1).mT
        >>> layer = plait.nn.utils.parametrize.register_parametrization(plait.nn.Linear(3, 3), "weight", Symmetric())
        >>> plait.equal(layer.weight, layer.weight.mT).all(), list(layer.state_dict())
        (tensor(True), ['bias', 'parametrizations.weight.original'])
    """
    parametrization.train(module.training)
    if is_parametrized(module, tensor_name):
        chain: ParametrizationList = module.parametrizations[tensor_name]
        if not unsafe:
            with no_grad():
                old = getattr(module, tensor_name)
                new = parametrization(old)
            if new.shape != old.shape:
                fix = "pass unsafe=True if this is meant"
                raise ShapeError(message("A parametrization keeps the shape", new.shape, old.shape, fix))
        if hasattr(parametrization, "right_inverse"):
            with no_grad():
                chain.right_inverse(parametrization.right_inverse(getattr(module, tensor_name)))
        chain.append(parametrization)
        return module
    original = module._parameters.get(tensor_name)
    original = module._buffers.get(tensor_name) if original is None else original
    if original is None:
        names = ", ".join([*module._parameters, *module._buffers])
        text = f"{type(module).__name__} has no such parameter or buffer"
        raise ArgumentError(message(text, repr(tensor_name), f"one of {names}"))
    made = ParametrizationList([parametrization], original, unsafe).train(module.training)
    delattr(module, tensor_name)
    if "parametrizations" not in module._modules:
        module.register_module("parametrizations", ModuleDict())
    module.parametrizations.register_module(tensor_name, made)
    return module


def is_parametrized(module: Module, tensor_name: str | None = None) -> bool:
    """Return whether a tensor of a module, or any, is parametrized."""
    found = module._modules.get("parametrizations")
    return isinstance(found, ModuleDict) and (bool(len(found)) if tensor_name is None else tensor_name in found)


def remove_parametrizations(module: Module, tensor_name: str, leave_parametrized: bool = True) -> Module:
    """Make a parametrized tensor a parameter or buffer again.

    Args:
        module: the module.
        tensor_name: the name of the tensor.
        leave_parametrized: whether it keeps the value that it has, or gets that of `original`.

    Returns:
        The module.

    Raises:
        ArgumentError: it is not parametrized, or is made from several tensors and shall get that of one.

    Example:
        >>> layer = plait.nn.utils.parametrizations.weight_norm(plait.nn.Linear(3, 3))
        >>> plait.nn.utils.parametrize.remove_parametrizations(layer, "weight")
        Linear(in_features=3, out_features=3, bias=True)
    """
    if not is_parametrized(module, tensor_name):
        text = f"{type(module).__name__} has no parametrization of this name"
        raise ArgumentError(message(text, repr(tensor_name)))
    chain: ParametrizationList = module.parametrizations[tensor_name]
    if not leave_parametrized and not chain.is_tensor:
        text = "A tensor that is computed from several has no original"
        raise ArgumentError(message(text, repr(tensor_name), None, "pass leave_parametrized=True"))
    with no_grad():
        value = getattr(module, tensor_name) if leave_parametrized else chain.original
        original = chain._originals()[0]
        if chain.is_tensor and original.aval is value.aval:
            original.copy_(value)
        else:
            is_trained = isinstance(original, Parameter)
            original = Parameter(value, original.requires_grad) if is_trained else value.detach().clone()
    del module.parametrizations[tensor_name]
    if not len(module.parametrizations):
        del module.parametrizations
    if isinstance(original, Parameter):
        module.register_parameter(tensor_name, original)
    else:
        module.register_buffer(tensor_name, original)
    return module


def type_before_parametrizations(module: Module) -> type[Module]:
    """Return the class of a module, which parametrizations do not change here."""
    return type(module)
