"""`Optimizer`: wires an update rule to the parameters of a model, or to pytrees without any state of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, ClassVar, NamedTuple

import numpy as np

from plait.core import tree
from plait.core.dtype import float64
from plait.core.errors import ArgumentError, ArgumentTypeError, ShapeError, message
from plait.optim.group import ParameterGroup
from plait.tensor import lazy
from plait.tensor.autograd import enable_grad, no_grad
from plait.tensor.tensor import Parameter, Tensor

State = dict[str, Tensor]


class Functional(NamedTuple):
    """An optimizer without state of its own, for pytrees of parameters.

    `init(params)` returns the first state; `update(grads, state, params)` returns new parameters and a new state.
    In a pytree with `Parameter` leaves, such as a module, only these are updated.
    """

    init: Callable[[Any], Any]
    update: Callable[[Any, Any, Any], tuple[Any, Any]]


class Optimizer:
    """Base class of the optimizers: a subclass defines the rule for one parameter.

    Args:
        params: parameters, or dicts with "params" and options of their own.
        defaults: the options of groups that do not set them.

    Raises:
        ArgumentError: there are no parameters, or one comes twice.
        ArgumentTypeError: something else than parameters was passed.
    """

    slots: ClassVar[Callable[[Mapping[str, Any]], tuple[str, ...]]]
    """The names of the state tensors, shaped as the parameter and zero at first, given the options."""

    rule: ClassVar[Callable[[Tensor, Tensor, State, Tensor, Mapping[str, Any]], tuple[Tensor, State]]]
    """`rule(param, grad, state, step, options)` returns the new parameter and the new state; it is pure.

    `step` is a float64 scalar, 1 at the first update."""

    def __init__(self, params: Any, defaults: Mapping[str, Any]) -> None:
        if isinstance(params, Tensor) or not isinstance(params, Iterable):
            received = "one tensor" if isinstance(params, Tensor) else type(params).__name__
            fix = "pass model.parameters(), or a list"
            raise ArgumentTypeError(message("Optimizers take an iterable of parameters", received, None, fix))
        self.defaults = dict(defaults)
        self.param_groups: list[ParameterGroup] = []
        self.state: dict[Tensor, State] = {}
        groups = list(params)
        if not groups:
            text = "An optimizer needs parameters"
            raise ArgumentError(message(text, "none", None, "pass model.parameters(); an iterator can be used once"))
        for group in groups if isinstance(groups[0], Mapping) else [{"params": groups}]:
            self.add_param_group(group)

    def add_param_group(self, group: Mapping[str, Any]) -> None:
        """Add parameters with options of their own: a dict with "params"."""
        unknown = sorted(set(group) - set(self.defaults) - {"params"})
        if unknown:
            text = f"{type(self).__name__} has no such options"
            raise ArgumentError(message(text, unknown, sorted(self.defaults)))
        params = [group["params"]] if isinstance(group["params"], Tensor) else list(group["params"])
        known = set(self.state)
        for p in params:
            _check_parameter(p, known)
            known.add(p)
        options = {**self.defaults, **{k: v for k, v in group.items() if k != "params"}}
        self.param_groups.append(ParameterGroup(params, options))
        step = Tensor(np.zeros((), np.float32))
        with no_grad():
            for p in params:
                empty = np.zeros(p.shape, p.dtype.numpy)
                names = type(self).slots(options)
                self.state[p] = {"step": step, **{name: Tensor(empty) for name in names}}

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
        """Update all parameters that have a gradient, in place.

        Args:
            closure: computes the loss and its gradients first.

        Returns:
            What `closure` returned.
        """
        result = None
        if closure is not None:
            with enable_grad():
                result = closure()
        with no_grad():
            for group in self.param_groups:
                self._step_group(group)
        if lazy.state.observer is None:
            lazy.flush()  # the end of a step: what is pending has the same structure every time, so it runs fused
        return result

    def _step_group(self, group: ParameterGroup) -> None:
        trained = [(p, p.grad) for p in group["params"]]
        self._separate_steps([p for p, g in trained if g is None], [p for p, g in trained if g is not None])
        options = group.options()
        counted: dict[int, Tensor] = {}
        for p, grad in trained:
            if grad is None:
                continue
            state = self.state[p]
            step = state["step"]
            if id(step) not in counted:
                step += 1
                counted[id(step)] = step.to(float64)
            slots = {name: value for name, value in state.items() if name != "step"}
            new, new_slots = type(self).rule(p, grad, slots, counted[id(step)], options)
            p.copy_(new)
            for name, value in new_slots.items():
                state[name].copy_(value)

    def _separate_steps(self, resting: list[Tensor], moving: list[Tensor]) -> None:
        """Give parameters that rest a counter of their own where they share it with some that move."""
        shared = {id(self.state[p]["step"]) for p in moving}
        for p in resting:
            if id(self.state[p]["step"]) in shared:
                self.state[p]["step"] = Tensor(np.array(self.state[p]["step"].numpy()))

    # state

    def state_dict(self) -> dict[str, Any]:
        """Return the state and the options: {"state": {number: {name: tensor}}, "param_groups": [...]}."""
        numbers = {p: k for k, p in enumerate(p for group in self.param_groups for p in group["params"])}
        state = {numbers[p]: dict(self.state[p]) for p in numbers}
        groups = [{**group, "params": [numbers[p] for p in group["params"]]} for group in self.param_groups]
        return {"state": state, "param_groups": groups}

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
        parameters = [p for group in self.param_groups for p in group["params"]]
        loaded = {p: state_dict["state"].get(n, {}) for p, n in zip(parameters, names, strict=True)}
        for p, values in loaded.items():
            for name, value in values.items():
                if name in self.state[p] and tuple(np.shape(value)) != self.state[p][name].shape:
                    text = f"The state {name!r} has another shape"
                    raise ShapeError(message(text, tuple(np.shape(value)), self.state[p][name].shape))
        with no_grad():
            for p, values in loaded.items():
                self.state[p]["step"] = Tensor(np.array(float(values.get("step", 0.0)), np.float32))
                for name in self.state[p]:
                    if name in values and name != "step":
                        self.state[p][name].copy_(values[name])
        for group, saved in zip(self.param_groups, groups, strict=True):
            group.update({k: v for k, v in saved.items() if k in self.defaults})

    def __repr__(self) -> str:
        lines = [type(self).__name__ + " ("]
        for k, group in enumerate(self.param_groups):
            lines += [f"Parameter Group {k}"]
            lines += [f"    {name}: {value}" for name, value in sorted(group.items()) if name != "params"]
        return "\n".join([*lines, ")"])


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


def functional(optimizer: type[Optimizer], options: Mapping[str, Any]) -> Functional:
    """Return the rule of an optimizer as a pair of pure functions over pytrees."""
    names = optimizer.slots(options)

    def init(params: Any) -> Any:
        step = Tensor(np.zeros((), np.float32))
        zeros = {name: tree.map_(lambda p: Tensor(np.zeros(p.shape, p.dtype.numpy)), params) for name in names}
        return {"step": step, **zeros}

    def update(grads: Any, state: Any, params: Any) -> tuple[Any, Any]:
        leaves, treedef = tree.flatten(params)
        is_trained = [isinstance(p, Parameter) for p in leaves]
        if not any(is_trained):
            is_trained = [p.dtype.is_inexact for p in leaves]
        gradients = tree.flatten_up_to(treedef, grads)
        slots = {name: tree.flatten_up_to(treedef, state[name]) for name in names}
        with no_grad():
            step = state["step"] + 1
            count = step.to(float64)
            for k, p in enumerate(leaves):
                if is_trained[k]:
                    own = {name: slots[name][k] for name in names}
                    new, changed = optimizer.rule(p, gradients[k], own, count, options)
                    leaves[k] = Parameter(new, p.requires_grad) if isinstance(p, Parameter) else new
                    for name, value in changed.items():
                        slots[name][k] = value
        new_state = {name: tree.unflatten(treedef, slots[name]) for name in names}
        return tree.unflatten(treedef, leaves), {"step": step, **new_state}

    return Functional(init, update)
