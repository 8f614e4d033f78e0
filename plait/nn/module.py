"""`Module`: the base class of layers and models. It is mutable as in PyTorch, and a pytree."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from threading import get_ident
from typing import Any, Self
from weakref import WeakKeyDictionary

from plait.core import tree
from plait.core.dtype import DType, as_dtype
from plait.core.errors import ArgumentError, ArgumentTypeError, ShapeError, message
from plait.core.recorder import in_force, own
from plait.nn.hooks import call_with_hooks
from plait.nn.parameter import Buffer
from plait.nn.skeleton import leaf_names, put_together, take_apart
from plait.nn.state import Stateful
from plait.tensor import lazy
from plait.tensor.absent import ADVICE
from plait.tensor.autograd import no_grad
from plait.tensor.tensor import Parameter, Tensor, converted, node_of, write

_MISSING = object()
_ABSENT = ("compile", "cuda", "ipu", "mtia", "xpu")  # methods of PyTorch's modules that the error says more about


class Module(Stateful):
    """Base class of all layers and models: subclass it, make parts in `__init__`, and compute in `forward`.

    Parameters, buffers and modules that are assigned to attributes are found by `parameters`, `state_dict` and the
    other methods. A module is also a pytree whose leaves are its parameters and buffers, each once, so that
    transforms such as `plait.grad` and `plait.vmap` take modules as arguments; they work on a copy that holds the
    transformed leaves, and updates of buffers stay in that copy.

    Example:
        >>> class Model(plait.nn.Module):
        ...     def __init__(self):
        ...         self.hidden, self.head = plait.nn.Linear(4, 8), plait.nn.Linear(8, 2)
        ...     def forward(self, x):
        ...         return self.head(plait.relu(self.hidden(x)))
        >>> Model()(plait.zeros(3, 4)).shape
        (3, 2)
    """

    _parameters: dict[str, Any]
    _buffers: dict[str, Any]
    _modules: dict[str, Module | None]
    _version: int

    def __new__(cls, *args: Any, **kwargs: Any) -> Self:
        module = object.__new__(cls)
        module.__dict__.update(
            _parameters={}, _buffers={}, _modules={}, _non_persistent=(), _hooks=(), _training=True,
            _version=0,
        )  # fmt: skip
        return module

    @property
    def is_mutable_tree(self) -> bool:
        """Whether `jit` takes the module as an object with state; one without `Parameter`s is a tree of inputs."""
        return isinstance(next(iter(self.parameters()), None), Parameter)

    def __init__(self) -> None:
        """Subclasses need not call this."""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        tree.register(cls, take_apart, put_together, leaf_names)

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Compute the result of a call; every subclass that is called defines it."""
        text = f"{type(self).__name__} does not say what it computes"
        raise ArgumentTypeError(message(text, fix=f"define {type(self).__name__}.forward(self, ...)"))

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if lazy.observing() is not None:
            lazy.state.observer.attribute_read(self, "_version")
        state = in_force()
        if state.thread != get_ident():
            state = own()
        outer = state.scope
        if outer is None:
            state.paths = _paths_in(self) if self._modules else _NO_PATHS
            state.scope = type(self).__name__
        else:
            state.scope = state.paths.get(id(self), outer)
        try:
            if self._hooks:
                return call_with_hooks(self, args, kwargs)
            return self.forward(*args, **kwargs)
        finally:
            if in_force() is not state:  # a setting was changed meanwhile
                state = own()
            state.scope = outer

    # attributes

    def __getattr__(self, name: str) -> Any:
        members = self.__dict__
        for group in ("_parameters", "_buffers", "_modules"):
            if name in members[group]:
                if lazy.observing() is not None:
                    lazy.state.observer.attribute_read(self, "_version")
                return members[group][name]
        if (parametrized := self._parametrization(name)) is not None:
            return parametrized.value()
        text = f"{type(self).__name__!r} object has no attribute {name!r}"
        raise AttributeError(f"{text}. Fix: {ADVICE[name]}." if name in _ABSENT else text)

    def _parametrization(self, name: str) -> Any:
        """Return what computes a parametrized member (see `plait.nn.utils.parametrize`), or None."""
        found = self.__dict__["_modules"].get("parametrizations")
        return None if found is None else found._modules.get(name)

    def __setattr__(self, name: str, value: Any) -> None:
        parameters, buffers, modules = self._parameters, self._buffers, self._modules
        if (parametrized := self._parametrization(name)) is not None:
            parametrized.right_inverse(value)
        elif isinstance(value, Parameter):
            self.register_parameter(name, value)
        elif isinstance(value, Module):
            self.register_module(name, value)
        elif isinstance(value, Buffer):
            self.register_buffer(name, value, getattr(value, "persistent", True))
        elif name in parameters:
            if value is not None:
                text = f"Only a Parameter or None can be assigned to the parameter {name!r}"
                fix = "wrap it in plait.nn.Parameter, or copy the values with .copy_() under plait.no_grad()"
                raise ArgumentTypeError(message(text, type(value).__name__, None, fix))
            self.register_parameter(name, None)
        elif name in buffers:
            self.register_buffer(name, value, name not in self._non_persistent)
        elif name in modules and value is None:
            self.register_module(name, None)
        elif name == "training":  # compiled functions keep a version for each mode
            object.__setattr__(self, name, value)
        else:
            self._forget(name)
            if lazy.observing() is not None and self._version and self.__dict__.get(name, value) is not value:
                lazy.state.observer.attribute_written(self, name)
            object.__setattr__(self, name, value)
            self._changed()

    def __delattr__(self, name: str) -> None:
        if not self._forget(name):
            object.__delattr__(self, name)
        self._changed()

    def __dir__(self) -> list[str]:
        return [*super().__dir__(), *self._parameters, *self._buffers, *self._modules]

    def _forget(self, name: str) -> bool:
        found = [g.pop(name, _MISSING) for g in (self._parameters, self._buffers, self._modules)]
        return any(f is not _MISSING for f in found)

    def _changed(self) -> None:
        """Tell compiled functions that they may have to look at this module again."""
        if lazy.observing() is None:
            self.__dict__["_version"] += 1
            lazy.state.changed()

    def _register(self, group: dict[str, Any], name: str, value: Any) -> None:
        if not isinstance(name, str) or not name or "." in name:
            text = "The name of a member is a string without dots"
            raise ArgumentError(message(text, repr(name), None, "use a plain name"))
        if name not in group and hasattr(type(self), name):
            text = f"{type(self).__name__} has a method or attribute of this name already"
            raise ArgumentError(message(text, repr(name), None, "choose another name"))
        self.__dict__.pop(name, None)
        if name not in group:
            self._forget(name)
        group[name] = value
        if group is self._modules:
            _paths.clear()
        self._changed()

    def register_parameter(self, name: str, param: Parameter | None) -> None:
        """Add a parameter, or a name that may hold one later (None).

        Raises:
            ArgumentTypeError: `param` is neither.
        """
        if param is not None and not isinstance(param, Parameter):
            text, fix = f"{name!r} is no parameter", "wrap it in plait.nn.Parameter"
            raise ArgumentTypeError(message(text, type(param).__name__, "a Parameter or None", fix))
        self._register(self._parameters, name, param)

    def register_buffer(self, name: str, tensor: Tensor | None, persistent: bool = True) -> None:
        """Add a tensor that is state but is not trained; one that is `persistent` is part of `state_dict`.

        Raises:
            ArgumentTypeError: `tensor` is no tensor.
        """
        if tensor is not None and not isinstance(tensor, Tensor):
            text, fix = f"{name!r} cannot be a buffer", "wrap it in plait.tensor"
            raise ArgumentTypeError(message(text, type(tensor).__name__, "a Tensor or None", fix))
        self._register(self._buffers, name, tensor)
        others = [n for n in self._non_persistent if n != name]
        self.__dict__["_non_persistent"] = tuple(others if persistent else [*others, name])

    def register_module(self, name: str, module: Module | None) -> None:
        """Add a child module under `name`.

        Raises:
            ArgumentTypeError: `module` is no module.
        """
        if module is not None and not isinstance(module, Module):
            text = f"{name!r} cannot be a child"
            raise ArgumentTypeError(message(text, type(module).__name__, "a Module or None", "pass an instance"))
        self._register(self._modules, name, module)

    add_module = register_module

    # members

    def named_modules(
        self, memo: set[Module] | None = None, prefix: str = "", remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Module]]:
        """Return an iterator over (name, module) of this module and all modules in it, but for those in `memo`."""
        seen = set() if memo is None else memo

        def walk(module: Module, name: str) -> Iterator[tuple[str, Module]]:
            if module in seen:
                return
            if remove_duplicate:
                seen.add(module)
            yield name, module
            for child_name, child in module._modules.items():
                if child is not None:
                    yield from walk(child, f"{name}.{child_name}" if name else child_name)

        return walk(self, prefix)

    def modules(self, remove_duplicate: bool = True) -> Iterator[Module]:
        """Return an iterator over this module and all modules in it."""
        return (module for _, module in self.named_modules(remove_duplicate=remove_duplicate))

    def named_children(self) -> Iterator[tuple[str, Module]]:
        """Return an iterator over (name, module) of the direct children."""
        unique = {id(m): (name, m) for name, m in reversed(self._modules.items()) if m is not None}
        return iter(reversed(unique.values()))

    def children(self) -> Iterator[Module]:
        """Return an iterator over the direct children."""
        return (module for _, module in self.named_children())

    def _named(self, group: str, prefix: str, recurse: bool, remove_duplicate: bool) -> Iterator[tuple[str, Any]]:
        seen: set[int] = set()
        for name, module in self.named_modules(None, prefix, remove_duplicate) if recurse else [(prefix, self)]:
            for key, value in getattr(module, group).items():
                if value is not None and not (remove_duplicate and id(value) in seen):
                    seen.add(id(value))
                    yield f"{name}.{key}" if name else key, value

    def named_parameters(
        self, prefix: str = "", recurse: bool = True, remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Parameter]]:
        """Return an iterator over (name, parameter); one that is shared comes once."""
        return self._named("_parameters", prefix, recurse, remove_duplicate)

    def parameters(self, recurse: bool = True) -> Iterator[Parameter]:
        """Return an iterator over the parameters, as optimizers take it."""
        return (parameter for _, parameter in self.named_parameters(recurse=recurse))

    def named_buffers(
        self, prefix: str = "", recurse: bool = True, remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Tensor]]:
        """Return an iterator over (name, buffer)."""
        return self._named("_buffers", prefix, recurse, remove_duplicate)

    def buffers(self, recurse: bool = True) -> Iterator[Tensor]:
        """Return an iterator over the buffers."""
        return (buffer for _, buffer in self.named_buffers(recurse=recurse))

    def get_submodule(self, target: str) -> Module:
        """Return the module with a dotted name, e.g. "layers.0.attention".

        Raises:
            ArgumentError: there is none.
        """
        found: Module | None = self
        for part in target.split(".") if target else []:
            found = None if found is None else found._modules.get(part)
        if found is None:
            names = ", ".join(name for name, _ in self.named_modules() if name)
            raise ArgumentError(message("There is no such module", repr(target), f"one of {names}"))
        return found

    def set_submodule(self, target: str, module: Module, strict: bool = False) -> None:
        """Put a module in the place of the one with a dotted name; with `strict` there must be one.

        Raises:
            ArgumentError: there is no such place.
        """
        if strict or not target:
            self.get_submodule(target or ".")
        owner, _, name = target.rpartition(".")
        self.get_submodule(owner).register_module(name, module)

    def _member(self, group: str, target: str) -> Any:
        owner, _, name = target.rpartition(".")
        found = getattr(self.get_submodule(owner), group).get(name)
        if found is None:
            names = ", ".join(name for name, _ in self._named(group, "", True, True))
            raise ArgumentError(message(f"There is no such {group[1:-1]}", repr(target), f"one of {names}"))
        return found

    def get_parameter(self, target: str) -> Parameter:
        """Return the parameter with a dotted name, e.g. "layers.0.weight".

        Raises:
            ArgumentError: there is none.
        """
        parameter: Parameter = self._member("_parameters", target)
        return parameter

    def get_buffer(self, target: str) -> Tensor:
        """Return the buffer with a dotted name, e.g. "norm.running_mean".

        Raises:
            ArgumentError: there is none.
        """
        buffer: Tensor = self._member("_buffers", target)
        return buffer

    # modes

    @property
    def training(self) -> bool:
        """Whether the module is in training mode, which dropout and batch normalization look at."""
        if lazy.observing() is not None:
            lazy.state.observer.attribute_read(self, "training")
        return self.__dict__["_training"]

    @training.setter
    def training(self, mode: bool) -> None:
        if self.__dict__["_training"] is not mode:
            self.__dict__["_training"] = mode
            lazy.state.changed()

    def train(self, mode: bool = True) -> Self:
        """Set training mode for this module and all in it; returns the module itself."""
        if not isinstance(mode, bool):
            text = message("train() takes a bool", repr(mode), "True or False", "use .train() or .eval()")
            raise ArgumentTypeError(text)
        for module in self.modules():
            module.training = mode
        return self

    def eval(self) -> Self:
        """Set evaluation mode: `train(False)`."""
        return self.train(False)

    def requires_grad_(self, requires_grad: bool = True) -> Self:
        """Set whether the parameters are trained; returns the module itself."""
        for parameter in self.parameters():
            parameter.requires_grad_(requires_grad)
        return self

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget the gradients of all parameters, or fill them with zeros."""
        for parameter in self.parameters():
            if set_to_none or parameter.grad is None:
                parameter.grad = None
            else:
                parameter.grad.zero_()

    def apply(self, function: Callable[[Module], Any]) -> Self:
        """Call `function` on every module in this one, children first, then on itself; returns the module itself."""
        for child in self.children():
            child.apply(function)
        function(self)
        return self

    def to(self, *args: Any, dtype: Any = None, device: Any = None, non_blocking: bool = False) -> Self:
        """Convert floating-point parameters and buffers to a dtype, in place; returns the module itself.

        Args:
            args: a dtype, a device ("cpu"), or a tensor whose dtype is taken.
            dtype: the dtype.
            device: "cpu".
            non_blocking: accepted for PyTorch's sake.

        Raises:
            DTypeError: the dtype is not known.
            ArgumentError: another device, or a dtype that is not floating-point.
        """
        for value in (*args, device):
            if isinstance(value, str) and value.partition(":")[0] in ("cpu", "cuda", "mps", "webgpu"):
                if value != "cpu":
                    raise ArgumentError(message("There is no such device", repr(value), "cpu"))
            elif value is not None and not isinstance(value, bool):
                dtype = value.dtype if isinstance(value, Tensor) else value
        if dtype is not None:
            self._convert(as_dtype(dtype))
        return self

    def _convert(self, dtype: DType) -> None:
        if not dtype.is_inexact:
            fix = "pass e.g. plait.bfloat16; convert single tensors with .to"
            raise ArgumentError(message("Modules are converted to floating-point dtypes", dtype.name, None, fix))
        with no_grad():
            for tensor in [*self.parameters(), *self.buffers()]:
                if tensor.dtype.is_inexact and tensor.dtype is not dtype:
                    tensor.grad = None
                    write(tensor, converted(node_of(tensor), dtype))
                    lazy.state.changed()

    def type(self, dst_type: Any) -> Self:
        """Convert to a dtype: the same as `to(dst_type)`."""
        return self.to(dst_type)

    def cpu(self) -> Self:
        """Return the module itself: values live on the CPU."""
        return self

    def float(self) -> Self:
        """Convert to float32."""
        return self.to("float32")

    def double(self) -> Self:
        """Convert to float64."""
        return self.to("float64")

    def half(self) -> Self:
        """Convert to float16."""
        return self.to("float16")

    def bfloat16(self) -> Self:
        """Convert to bfloat16."""
        return self.to("bfloat16")

    # text

    def extra_repr(self) -> str:
        """Return what `repr` shows between the parentheses; layers define it."""
        return ""

    def __repr__(self) -> str:
        name = "Parametrized" * ("parametrizations" in self._modules) + type(self).__name__
        own = self.extra_repr()
        lines = self._repr_members()
        if not lines and "\n" not in own:
            return f"{name}({own})"
        lines = [*own.split("\n"), *lines] if own else lines
        return f"{name}(\n  " + "\n  ".join(lines) + "\n)"

    def _repr_members(self) -> list[str]:
        """Return what `repr` shows of each child; its lines after the first are indented."""
        return [f"({name}): " + repr(child).replace("\n", "\n  ") for name, child in self._modules.items()]


_paths: WeakKeyDictionary[Module, dict[int, str]] = WeakKeyDictionary()  # see `_paths_in`
_NO_PATHS: dict[int, str] = {}


def _paths_in(module: Module) -> dict[int, str]:
    """Return the names of the modules in one, as `named_modules` has them, by id."""
    found = _paths.get(module)
    if found is None:
        found = _paths[module] = {id(m): name for name, m in module.named_modules()}
    return found


def check_features(layer: str, x: Tensor, axis: int, expected: int, name: str) -> None:
    """Raise `ShapeError` unless axis `axis` of the input of a layer has the size that it was made for."""
    if not isinstance(x, Tensor):
        fix = "convert with plait.tensor(...)"
        raise ArgumentTypeError(message(f"{layer} takes a tensor", type(x).__name__, "a tensor", fix))
    if x.ndim < abs(axis) or x.shape[axis] != expected:
        received = f"an input of shape {x.shape}"
        wanted = f"size {expected} on axis {axis}"
        raise ShapeError(message(f"{layer} was made with {name}={expected}", received, wanted, f"pass {name} to match"))


tree.register(Module, take_apart, put_together, leaf_names)
