"""`RuleOptimizer`: one pure rule for one parameter, wired to the parameters of a model, or to pytrees without state."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import KW_ONLY
from inspect import Parameter as Argument, Signature
from types import SimpleNamespace
from typing import Any, ClassVar, NamedTuple

import numpy as np

from plait.core import tree
from plait.core.dtype import float32, float64
from plait.core.errors import ArgumentTypeError, message
from plait.optim.group import ParameterGroup, check_option
from plait.optim.optimizer import Optimizer, as_tensor
from plait.tensor import lazy
from plait.tensor.autograd import enable_grad, no_grad
from plait.tensor.composite import Composites
from plait.tensor.converting import view_as_complex, view_as_real
from plait.tensor.functions import where
from plait.tensor.tensor import Parameter, Tensor, write

State = dict[str, Tensor]
Options = SimpleNamespace


class Functional(NamedTuple):
    """An optimizer without state of its own, for pytrees of parameters.

    `init(params)` returns the first state, {"step": number of updates, "slots": {path: {name: tensor}}};
    `update(grads, state, params)` returns new parameters and a new state. In a pytree with `Parameter` leaves, such
    as a module, only these are updated.
    """

    init: Callable[[Any], Any]
    update: Callable[[Any, Any, Any], tuple[Any, Any]]


class RuleOptimizer(Optimizer):
    """Base class of the optimizers that are defined by a rule for one parameter.

    A subclass declares its options with their defaults, as a dataclass declares fields, and defines `rule`; from that
    come its arguments, `step`, and the pure form, `functional`. All have the options below.

    Args:
        params: an iterable of parameters, of pairs (name, parameter), or of dicts with "params" and options of their
            own. Parameters without a gradient rest.
        maximize: whether to ascend.
        master_weights: whether parameters of 16 bits have a copy in float32 that is trained; the rule and its state
            are in float32, and the parameter is the copy rounded.
        foreach: as `fused`, `capturable` and `differentiable` accepted for PyTorch's sake, without effect: a step is
            always compiled as a whole, and `functional` is differentiable.

    Raises:
        ArgumentError: there are no parameters, one comes twice, or an option is out of range.
        ArgumentTypeError: something else than parameters was passed, or an option that there is not.

    Example:
        >>> class SignDescent(plait.optim.RuleOptimizer):
        ...     lr: float = 0.1
        ...     @staticmethod
        ...     def rule(param, grad, state, step, options):
        ...         return param - options.lr * plait.sign(grad), {}
        >>> w = plait.Parameter([1.0])
        >>> w.sum().backward()
        >>> SignDescent([w], lr=0.5).step()
        >>> w
        Parameter([0.5000], requires_grad=True)
    """

    params: Any
    _: KW_ONLY
    maximize: bool = False
    master_weights: bool = False
    foreach: bool | None = None
    capturable: bool = False
    differentiable: bool = False
    fused: bool | None = None

    rule: ClassVar[Callable[..., tuple[Tensor, State]]]
    """`rule(param, grad, state, step, options)` returns the new parameter and the new state; it is pure.

    `step` is a float64 scalar, 1 at the first update. Options that schedules change may be float64 scalars too."""

    _options: ClassVar[dict[str, Argument]] = {}

    def __init__(self, params: Any, *args: Any, **kwargs: Any) -> None:
        self.skipped: Tensor | None = None
        self._layout = 0
        super().__init__(params, self.bind(*args, **kwargs))

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        cls._options = {**cls._options, **_declared(cls, Argument.POSITIONAL_OR_KEYWORD)}
        params = Argument("params", Argument.POSITIONAL_OR_KEYWORD, annotation="Any")
        options = sorted(cls._options.values(), key=lambda option: option.kind)
        cls.__signature__ = Signature([params, *options])  # type: ignore[attr-defined]

    @staticmethod
    def initial(param: Tensor, options: Options) -> State:
        """Return the state of a parameter before its first update; by default there is none."""
        return {}

    @staticmethod
    def check(options: Options) -> None:
        """Raise an error where options do not fit together."""

    @classmethod
    def bind(cls, *args: Any, **kwargs: Any) -> dict[str, Any]:
        """Return all options, the defaults included, given those of the class.

        Raises:
            ArgumentTypeError: there is no such option.
            ArgumentError: one is out of range.
        """
        options = sorted(cls._options.values(), key=lambda option: option.kind)
        try:
            bound = Signature(options).bind(*args, **kwargs)
        except TypeError as error:
            expected = f"{cls.__name__}{cls.__signature__}"  # type: ignore[attr-defined]
            raise ArgumentTypeError(message(f"{cls.__name__} has other options", error, expected)) from None
        bound.apply_defaults()
        given = {name: tuple(v) if isinstance(v, list) else v for name, v in bound.arguments.items()}
        for name, value in given.items():
            if not (name == "lr" and callable(value)):
                check_option(name, value)
        cls.check(Options(**given))
        return given

    @classmethod
    def functional(cls, *args: Any, **kwargs: Any) -> Functional:
        """Return the rule as pure functions `init` and `update`.

        Args:
            args: the options of the class; `lr` may also be a schedule, a function of the step that counts from 0.
            kwargs: likewise.

        Returns:
            A pair of functions over pytrees: see `Functional`.
        """
        return functional(cls, Options(**cls.bind(*args, **kwargs)))

    # state

    def prepare(self, group: ParameterGroup) -> None:
        """Make the state that the parameters of a group do not have yet."""
        self._layout += 1
        step = Tensor(np.zeros((), np.float32))
        with no_grad():
            for p in group["params"]:
                state = self.state[p] = {"step": step} | self.state[p]
                for name, value in beginning(type(self), p, Options(**group)).items():
                    state.setdefault(name, value)

    def restore(self, loaded: Mapping[Tensor, Mapping[str, Any]]) -> None:
        """Write the given state into the tensors that compiled steps know."""
        counters: dict[int, dict[float, list[Tensor]]] = {}
        for group in self.param_groups:
            for p in group["params"]:
                state, values = self.state[p], {k: v for k, v in loaded[p].items() if v is not None}
                count = float(values.get("step", bool(values)))  # PyTorch counts no steps where the rule needs none
                counters.setdefault(id(state["step"]), {}).setdefault(count, []).append(p)
                for name, value in {**beginning(type(self), p, Options(**group)), **values}.items():
                    if name in state and name != "step":
                        state[name].copy_(as_tensor(value))
        for counts in counters.values():
            for k, (count, members) in enumerate(counts.items()):
                if k:
                    self._give_counter(members)
                self.state[members[0]]["step"].fill_(count)

    def _give_counter(self, params: list[Tensor]) -> None:
        """Let these parameters count their steps apart from those that they shared a counter with."""
        observer, lazy.state.observer = lazy.state.observer, None  # the new counter is state, not a part of a program
        try:
            step = Tensor(np.array(self.state[params[0]]["step"].numpy()))
        finally:
            lazy.state.observer = observer
        for p in params:
            self.state[p]["step"] = step
        self._layout += 1
        lazy.state.changed()

    # stepping

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
        return result

    def _step_group(self, group: ParameterGroup) -> None:
        trained = [(p, p.grad) for p in group["params"]]
        self._separate_steps([p for p, g in trained if g is None], [p for p, g in trained if g is not None])
        if lazy.observing() is not None:
            lazy.state.observer.attribute_read(self, "_layout")
        moving = [(p, grad) for p, grad in trained if grad is not None]
        if not moving:
            return
        options = vars(group.options())
        varied = {name: value for name, value in options.items() if _holds_tensors(value)}
        fixed = tuple([(name, value) for name, value in options.items() if name not in varied and name not in _LABELS])
        counters = {id(self.state[p]["step"]): self.state[p]["step"] for p, _ in moving}
        numbers = {key: k for k, key in enumerate(counters)}
        states = [{name: t for name, t in self.state[p].items() if name != "step"} for p, _ in moving]
        which = tuple([numbers[id(self.state[p]["step"])] for p, _ in moving])
        tensors = [p for p, _ in moving], [g for _, g in moving], states, list(counters.values()), varied
        params, states_after, steps = _ADVANCED.apply((type(self), fixed, which), tensors)
        for (p, _), state, new, after in zip(moving, states, params, states_after, strict=True):
            self._write(p, new)
            for name, value in after.items():
                self._write(state[name], value)
        for step, value in zip(counters.values(), steps, strict=True):
            self._write(step, value)

    def _write(self, cell: Tensor, value: Tensor) -> None:
        value = value if self.skipped is None else where(self.skipped, cell, value)
        if value.aval is cell.aval and value._node.prim.name in ("composite", "get"):
            write(cell, value._node)  # nobody else has it
        else:
            cell.copy_(value)

    def _separate_steps(self, resting: list[Tensor], moving: list[Tensor]) -> None:
        """Give parameters that rest a counter of their own where they share it with some that move."""
        shared = {id(self.state[p]["step"]) for p in moving}
        apart = [p for p in resting if id(self.state[p]["step"]) in shared]
        for step in {id(self.state[p]["step"]) for p in apart}:
            self._give_counter([p for p in apart if id(self.state[p]["step"]) == step])


def _declared(cls: type, kind: Any) -> dict[str, Argument]:
    """Take the options that a class declares, `name: type = default`, out of its attributes."""
    found = {}
    for name, annotation in cls.__dict__.get("__annotations__", {}).items():
        if annotation == "KW_ONLY":
            kind = Argument.KEYWORD_ONLY
        elif name in cls.__dict__ and not str(annotation).startswith("ClassVar"):
            found[name] = Argument(name, kind, default=cls.__dict__[name], annotation=annotation)
            delattr(cls, name)
    return found


RuleOptimizer._options = _declared(RuleOptimizer, Argument.KEYWORD_ONLY)


# the rule, for parameters of any dtype


def _advanced(settings: Any, tensors: Any) -> tuple[list[Tensor], list[State], list[Tensor]]:
    """Return new parameters, states and step counters; `settings` are the class, options and counters' numbers."""
    (cls, fixed, which), (params, grads, states, steps, varied) = settings, tensors
    options, steps = Options(**dict(fixed), **varied), [step + 1 for step in steps]
    counts = [step.to(float64) for step in steps]
    found = [
        updated(cls, p, grad, state, counts[k], options)
        for p, grad, state, k in zip(params, grads, states, which, strict=True)
    ]
    return [new for new, _ in found], [state for _, state in found], steps


_ADVANCED = Composites(_advanced)
_LABELS = ("params", "param_names", "initial_lr")  # options that rules do not see


def _holds_tensors(value: Any) -> bool:
    return isinstance(value, Tensor) or isinstance(value, tuple) and any(isinstance(v, Tensor) for v in value)


def has_master(param: Tensor, options: Options) -> bool:
    """Whether a parameter is trained through a copy in float32."""
    return bool(options.master_weights and param.dtype.is_floating and param.dtype.bits < 32)


def beginning(cls: type[RuleOptimizer], param: Tensor, options: Options) -> State:
    """Return the state of a parameter before its first update."""
    if has_master(param, options):
        master = param.detach().to(float32)
        return {"master": master, **cls.initial(master, options)}
    return cls.initial(param, options)


def updated(
    cls: type[RuleOptimizer], param: Tensor, grad: Tensor, state: State, step: Tensor, options: Options
) -> tuple[Tensor, State]:
    """Return the new parameter and state by the rule of an optimizer."""
    grad = -grad if options.maximize else grad
    if has_master(param, options):
        others = {name: value for name, value in state.items() if name != "master"}
        new, changed = cls.rule(state["master"], grad.to(float32), others, step, options)
        return new.to(param.dtype), {"master": new, **changed}
    if param.dtype.is_complex:  # real and imaginary parts are parameters of their own, as in PyTorch
        parts = {name: view_as_real(v) if v.dtype.is_complex else v for name, v in state.items()}
        new, changed = cls.rule(view_as_real(param), view_as_real(grad), parts, step, options)
        pairs = {name: view_as_complex(v) if state[name].dtype.is_complex else v for name, v in changed.items()}
        return view_as_complex(new), pairs
    return cls.rule(param, grad, state, step, options)


def functional(cls: type[RuleOptimizer], options: Options) -> Functional:
    """Return the rule of an optimizer as a pair of pure functions over pytrees."""

    def init(params: Any) -> Any:
        with no_grad():
            slots = {path: beginning(cls, p, options) for path, p in tree.leaves_with_path(params)}
        return {"step": Tensor(np.zeros((), np.float32)), "slots": slots}

    def update(grads: Any, state: Any, params: Any) -> tuple[Any, Any]:
        leaves, treedef = tree.flatten(params)
        is_trained = [isinstance(p, Parameter) for p in leaves]
        if not any(is_trained):
            is_trained = [p.dtype.is_inexact for p in leaves]
        gradients = tree.flatten_up_to(treedef, grads)
        paths, slots = tree.paths(treedef), dict(state["slots"])
        with no_grad():
            step = state["step"] + 1
            count = step.to(float64)
            now = Options(**{**vars(options), "lr": options.lr(count - 1)}) if callable(options.lr) else options
            for k, (path, p) in enumerate(zip(paths, leaves, strict=True)):
                if is_trained[k]:
                    new, changed = updated(cls, p, gradients[k], slots[path], count, now)
                    leaves[k] = Parameter(new, p.requires_grad) if isinstance(p, Parameter) else new
                    slots[path] = {**slots[path], **changed}
        return tree.unflatten(treedef, leaves), {"step": step, "slots": slots}

    return Functional(init, update)


# what rules are made of


def zeros(param: Tensor, *names: str) -> State:
    """Return tensors of zeros shaped as a parameter."""
    return {name: Tensor(np.zeros(param.shape, param.dtype.numpy)) for name in names}


def scalar(value: Any, like: Tensor) -> Any:
    """Return a number, or a rank-0 tensor in the dtype of `like`: it does not promote what it multiplies."""
    return value.to(like.dtype) if isinstance(value, Tensor) else value


def is_used(value: Any) -> bool:
    """Whether an option is a tensor or not zero."""
    return isinstance(value, Tensor) or bool(value)


def blend(old: Tensor, new: Tensor, keep: Any) -> Tensor:
    """Return keep * old + (1 - keep) * new: a running mean."""
    return scalar(keep, old) * old + scalar(1 - keep, old) * new


def shrunk(param: Tensor, options: Options) -> Tensor:
    """Return a parameter after weight decay apart from the gradient."""
    if not is_used(options.weight_decay):
        return param
    return param * scalar(1 - options.lr * options.weight_decay, param)


def decayed(param: Tensor, grad: Tensor, options: Options) -> tuple[Tensor, Tensor]:
    """Return a parameter and its gradient after weight decay, of either kind."""
    if getattr(options, "decoupled_weight_decay", False):
        return shrunk(param, options), grad
    if is_used(options.weight_decay):
        grad = grad + scalar(options.weight_decay, grad) * param
    return param, grad


def norm(x: Tensor) -> Tensor:
    """Return the Euclidean norm of all elements."""
    return (x * x).sum() ** 0.5
