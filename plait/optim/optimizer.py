"""`Optimizer`: groups of parameters, their state and its dictionary, hooks; what the rules are wired to."""

from __future__ import annotations

import functools
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from typing import Any, dataclass_transform

import numpy as np

from plait.core.errors import ArgumentError, ArgumentTypeError, ShapeError, message
from plait.optim.group import ParameterGroup
from plait.tensor import lazy
from plait.tensor.autograd import no_grad
from plait.tensor.hooks import Handle
from plait.tensor.tensor import Tensor

Hook = Callable[..., Any]


@dataclass_transform()
class Optimizer:
    """Base class of the optimizers. Most are defined by a rule: see `RuleOptimizer`.

    A subclass may instead be written as in PyTorch: pass `params` and `defaults` on, and define `step`, which finds
    the parameters in `self.param_groups` and keeps tensors in `self.state[parameter]`.

    Args:
        params: an iterable of parameters, of pairs (name, parameter), or of dicts with "params" and options of their
            own.
        defaults: the options of groups that do not set them.

    Raises:
        ArgumentError: there are no parameters, one comes twice, or an option is unknown or out of range.
        ArgumentTypeError: something else than parameters was passed.

    Example:
        >>> class SignDescent(plait.optim.Optimizer):
        ...     def __init__(self, params, lr=0.1):
        ...         super().__init__(params, {"lr": lr})
        ...     @plait.no_grad()
        ...     def step(self):
        ...         for group in self.param_groups:
        ...             for p in group["params"]:
        ...                 p -= group["lr"] * plait.sign(p.grad)
        >>> w = plait.Parameter([1.0])
        >>> w.sum().backward()
        >>> SignDescent([w]).step()
        >>> w
        Parameter([0.9000], requires_grad=True)
    """

    def __init__(self, params: Any, defaults: Mapping[str, Any]) -> None:
        if isinstance(params, (Tensor, Mapping)) or not isinstance(params, Iterable):
            received = "one tensor" if isinstance(params, Tensor) else type(params).__name__
            fix = "pass model.parameters(), or a list"
            raise ArgumentTypeError(message("Optimizers take an iterable of parameters", received, None, fix))
        self.defaults = dict(defaults)
        self.param_groups: list[ParameterGroup] = []
        self.state: defaultdict[Tensor, dict[str, Any]] = defaultdict(dict)
        self._pre_hooks: dict[Handle, Hook] = {}
        self._post_hooks: dict[Handle, Hook] = {}
        groups = list(params)
        if not groups:
            text = "An optimizer needs parameters"
            raise ArgumentError(message(text, "none", None, "pass model.parameters(); an iterator can be used once"))
        for group in groups if isinstance(groups[0], Mapping) else [{"params": groups}]:
            self.add_param_group(group)

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "step" in vars(cls):
            cls.step = _with_hooks(cls.step)  # type: ignore[method-assign]

    def add_param_group(self, param_group: Mapping[str, Any]) -> None:
        """Add parameters with options of their own.

        Args:
            param_group: a dict with "params", one parameter or an iterable of them or of pairs (name, parameter), and
                options.

        Raises:
            ArgumentError: an option is unknown or out of range, or a parameter is known already.
        """
        unknown = sorted(set(param_group) - set(self.defaults) - {"params", "param_names", "initial_lr"})
        if unknown:
            text = f"{type(self).__name__} has no such options"
            raise ArgumentError(message(text, unknown, sorted(self.defaults)))
        options = {**self.defaults, **param_group}
        given = options.pop("params")
        params = [given] if isinstance(given, Tensor) else list(given)
        if params and all(isinstance(p, tuple) and len(p) == 2 for p in params):
            options["param_names"], params = [name for name, _ in params], [p for _, p in params]
        known = {p for group in self.param_groups for p in group["params"]}
        for p in params:
            _check_parameter(p, known)
            known.add(p)
        self.param_groups.append(ParameterGroup(params, options, self.prepare))

    def prepare(self, group: ParameterGroup) -> None:
        """Make the state of a group that is new, or has other options; nothing here."""

    # stepping

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget the gradients of all parameters, or fill them with zeros."""
        for group in self.param_groups:
            for p in group["params"]:
                if set_to_none or p.grad is None:
                    p.grad = None
                else:
                    p.grad.zero_()

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Update the parameters; subclasses define it."""
        text = f"{type(self).__name__} does not say how parameters are updated"
        raise ArgumentTypeError(message(text, fix=f"define {type(self).__name__}.step, or a rule: see RuleOptimizer"))

    def register_step_pre_hook(self, hook: Hook) -> Handle:
        """Call `hook(optimizer, args, kwargs)` before each step; it may return other `(args, kwargs)`."""
        return Handle(self._pre_hooks, hook)

    def register_step_post_hook(self, hook: Hook) -> Handle:
        """Call `hook(optimizer, args, kwargs)` after each step."""
        return Handle(self._post_hooks, hook)

    # state

    def state_dict(self) -> dict[str, Any]:
        """Return the state and the options, laid out as in PyTorch.

        Returns:
            {"state": {number: {name: tensor}}, "param_groups": [...]}, where the parameters are numbered through all
            groups. Those that were never updated have no state.
        """
        numbers = {p: k for k, p in enumerate(self._parameters())}
        state = {numbers[p]: dict(s) for p, s in self.state.items() if s and not _is_untouched(s)}
        groups = [{**group, "params": [numbers[p] for p in group["params"]]} for group in self.param_groups]
        return {"state": dict(sorted(state.items())), "param_groups": groups}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Copy state and options from what `state_dict` returned, here or in PyTorch.

        Raises:
            ArgumentError: it belongs to other groups of parameters; then nothing has been changed.
            ShapeError: a tensor has another shape; likewise.
        """
        if not isinstance(state_dict, Mapping) or not {"state", "param_groups"} <= state_dict.keys():
            received = sorted(state_dict) if isinstance(state_dict, Mapping) else type(state_dict).__name__
            fix = "pass what optimizer.state_dict() returned"
            text = "This is no state dict of an optimizer"
            raise ArgumentError(message(text, received, 'a dict with "state" and "param_groups"', fix))
        groups = state_dict["param_groups"]
        sizes, own = [len(g["params"]) for g in groups], [len(g["params"]) for g in self.param_groups]
        if sizes != own:
            text = "The state was saved with other groups of parameters"
            raise ArgumentError(message(text, f"groups of {sizes} parameters", f"groups of {own} parameters"))
        names = [n for g in groups for n in g["params"]]
        loaded = {p: state_dict["state"].get(n, {}) for p, n in zip(self._parameters(), names, strict=True)}
        for p, values in loaded.items():
            for name, value in values.items():
                known = self.state[p].get(name)
                if isinstance(known, Tensor) and value is not None and tuple(np.shape(value)) != known.shape:
                    text = f"The state {name!r} has another shape"
                    raise ShapeError(message(text, tuple(np.shape(value)), known.shape))
        for group, saved in zip(self.param_groups, groups, strict=True):
            group.update({k: v for k, v in saved.items() if k != "params"})
        with no_grad():
            self.restore(loaded)

    def restore(self, loaded: Mapping[Tensor, Mapping[str, Any]]) -> None:
        """Replace the state of each parameter by a copy of the given one."""
        self.state.clear()
        self.state.update({p: {k: copied(v) for k, v in values.items()} for p, values in loaded.items() if values})

    def _parameters(self) -> list[Tensor]:
        return [p for group in self.param_groups for p in group["params"]]

    def __repr__(self) -> str:
        lines = [type(self).__name__ + " ("]
        for k, group in enumerate(self.param_groups):
            lines += [f"Parameter Group {k}"]
            lines += [f"    {name}: {value}" for name, value in sorted(group.items()) if name != "params"]
        return "\n".join([*lines, ")"])


def _with_hooks(step: Hook) -> Hook:
    """Return a method `step` with the hooks around it."""

    @functools.wraps(step)
    def call(self: Optimizer, *args: Any, **kwargs: Any) -> Any:
        for hook in list(self._pre_hooks.values()):
            args, kwargs = hook(self, args, kwargs) or (args, kwargs)
        result = step(self, *args, **kwargs)
        for hook in list(self._post_hooks.values()):
            hook(self, args, kwargs)
        if lazy.observing() is None:
            lazy.flush()  # the end of a step: what is pending has the same structure every time, so it runs fused
        return result

    return call


def _is_untouched(state: Mapping[str, Any]) -> bool:
    step = state.get("step")
    return isinstance(step, Tensor) and step.item() == 0


def as_tensor(value: Any) -> Tensor:
    """Return an array, also one of PyTorch, as a tensor."""
    return value if isinstance(value, Tensor) else Tensor(np.asarray(value))


def copied(value: Any) -> Any:
    """Return a copy of a value of a state: arrays as tensors, also those in a list; numbers and None as they are."""
    if isinstance(value, (list, tuple)):
        return [copied(v) for v in value]
    return value if value is None or isinstance(value, (bool, int, float, str)) else Tensor(as_tensor(value))


def _check_parameter(parameter: Any, known: set[Tensor]) -> None:
    if not isinstance(parameter, Tensor):
        text, fix = "Optimizers take parameters", "pass model.parameters()"
        raise ArgumentTypeError(message(text, type(parameter).__name__, "tensors", fix))
    if not parameter.is_leaf:
        text, fix = "Only leaves can be optimized", "pass the parameters themselves, not results computed from them"
        raise ArgumentError(message(text, f"the result of an operation, shape {parameter.shape}", None, fix))
    if parameter in known:
        text = "A parameter comes twice"
        raise ArgumentError(message(text, f"shape {parameter.shape}", None, "give each parameter to one group"))
