"""State dicts of modules: parameters and persistent buffers by PyTorch's dotted names."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from plait.core.errors import ArgumentError, ArgumentTypeError, message
from plait.nn.hooks import Hooked
from plait.nn.parameter import Uninitialized
from plait.tensor.autograd import no_grad
from plait.tensor.tensor import Parameter, Tensor

_EXTRA = "_extra_state"


class IncompatibleKeys(NamedTuple):
    """What `load_state_dict` did not find, and what it found no place for."""

    missing_keys: list[str]
    unexpected_keys: list[str]


class Stateful(Hooked):
    """The part of `Module` that saves and loads state."""

    _parameters: dict[str, Any]
    _buffers: dict[str, Any]
    _modules: dict[str, Any]
    _non_persistent: tuple[str, ...]
    modules: Any
    named_modules: Any

    def get_extra_state(self) -> Any:
        """Return what `state_dict` holds beside tensors; modules that have such state define it and the next."""
        raise NotImplementedError

    def set_extra_state(self, state: Any) -> None:
        """Take back what `get_extra_state` returned."""
        raise NotImplementedError

    def _own_state(self) -> Iterator[tuple[str, Any]]:
        for group in (self._parameters, self._buffers):
            for key, value in group.items():
                if value is not None and key not in self._non_persistent:
                    yield key, value
        if type(self).get_extra_state is not Stateful.get_extra_state:
            yield _EXTRA, self.get_extra_state()

    def state_dict(
        self, destination: dict[str, Any] | None = None, prefix: str = "", keep_vars: bool = False
    ) -> dict[str, Any]:
        """Return the parameters and persistent buffers by dotted name, detached; they share memory with the module.

        Args:
            destination: a dict to which they are added, by default a new one.
            prefix: written before each name.
            keep_vars: whether the parameters themselves are returned, not detached.
        """
        result = {} if destination is None else destination
        for hook in self._hooks_of("state_dict_pre"):
            hook.function(self, prefix, keep_vars)
        for key, value in self._own_state():
            is_detached = not keep_vars and isinstance(value, Tensor) and not isinstance(value, Uninitialized)
            result[prefix + key] = value.detach() if is_detached else value
        for name, child in self._modules.items():
            if child is not None:
                child.state_dict(result, f"{prefix}{name}.", keep_vars)
        for hook in self._hooks_of("state_dict_post"):
            hook.function(self, result, prefix, {})
        return result

    def load_state_dict(
        self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False
    ) -> IncompatibleKeys:
        """Copy values into the parameters and buffers.

        Args:
            state_dict: tensors or arrays by dotted name, as `state_dict` returns them; PyTorch's names and layouts.
            strict: whether names that are missing or unknown are an error.
            assign: whether the tensors replace the parameters and buffers, with their dtypes, and nothing is copied.

        Returns:
            The missing and the unexpected names.

        Raises:
            ArgumentError: listing all missing, unexpected and misshapen entries; then nothing has been changed.
        """
        if not isinstance(state_dict, Mapping):
            fix = "pass what state_dict() or plait.load returned"
            raise ArgumentTypeError(message("A state dict is a dict", type(state_dict).__name__, "a dict", fix))
        given, errors = dict(state_dict), list[str]()
        keys = IncompatibleKeys([], [])
        places = {}
        for name, module in list(self.named_modules(remove_duplicate=False)):
            prefix = f"{name}." if name else ""
            for hook in module._hooks_of("load_state_dict_pre"):
                hook.function(module, given, prefix, {}, strict, *keys, errors)
            places.update({prefix + key: (module, key, value) for key, value in module._own_state()})
        keys.missing_keys.extend(name for name in places if name not in given)
        keys.unexpected_keys.extend(name for name in given if name not in places)
        found = {name: place for name, place in places.items() if name in given}
        _check(self, given, found, keys if strict else IncompatibleKeys([], []), errors)
        with no_grad():
            for name, (module, key, value) in found.items():
                _set(module, key, value, given[name], assign)
        for module in self.modules():
            for hook in module._hooks_of("load_state_dict_post"):
                hook.function(module, keys)
        return keys


def _check(
    module: Any, given: dict[str, Any], found: dict[str, Any], keys: IncompatibleKeys, errors: list[str]
) -> None:
    """Raise `ArgumentError` with a line for each entry that does not fit."""
    problems = [f"  missing: {name}" for name in keys.missing_keys]
    problems += [f"  unexpected: {name}" for name in keys.unexpected_keys]
    wrong = [
        f"  {name}: received shape {tuple(given[name].shape)}, expected {value.shape}"
        for name, (_, key, value) in found.items()
        if key != _EXTRA and not isinstance(value, Uninitialized) and tuple(given[name].shape) != value.shape
    ]
    problems += wrong + [f"  {line}" for line in errors]
    if problems:
        fix = "load it into the architecture that saved it"
        fix += "" if wrong else ", or pass strict=False to load what fits"
        text = f"The state dict does not fit this {type(module).__name__}, and nothing was loaded:"
        raise ArgumentError("\n".join([text, *problems, f"Fix: {fix}."]))


def _set(module: Any, key: str, own: Any, value: Any, assign: bool) -> None:
    if key == _EXTRA:
        module.set_extra_state(value)
    elif assign:
        is_parameter = key in module._parameters
        new = Parameter(value, own.requires_grad) if is_parameter else Tensor(value)
        setattr(module, key, new)
    else:
        if isinstance(own, Uninitialized):
            own.materialize(tuple(value.shape))
        own.detach().copy_(value)
