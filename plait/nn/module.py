"""`Module`: the base class of layers and models. It is mutable as in PyTorch, and a pytree."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple, Self

from plait.core import tree
from plait.core.dtype import DType, as_dtype
from plait.core.errors import ArgumentError, ArgumentTypeError, ShapeError, message
from plait.nn.skeleton import leaf_names, put_together, take_apart
from plait.tensor import lazy
from plait.tensor.autograd import no_grad
from plait.tensor.tensor import Parameter, Tensor, converted, node_of, write

_MISSING = object()


class IncompatibleKeys(NamedTuple):
    """What `load_state_dict` did not find, and what it found no place for."""

    missing_keys: list[str]
    unexpected_keys: list[str]


class Module:
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
    _non_persistent: tuple[str, ...]
    _version: int

    def __new__(cls, *args: Any, **kwargs: Any) -> Self:
        module = object.__new__(cls)
        module.__dict__.update(
            _parameters={}, _buffers={}, _modules={}, _non_persistent=(), _training=True, _version=0
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
        if lazy.state.observer is not None:
            lazy.state.observer.attribute_read(self, "_version")
        return self.forward(*args, **kwargs)

    # attributes

    def __getattr__(self, name: str) -> Any:
        members = self.__dict__
        for group in ("_parameters", "_buffers", "_modules"):
            if name in members[group]:
                if lazy.state.observer is not None:
                    lazy.state.observer.attribute_read(self, "_version")
                return members[group][name]
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    def __setattr__(self, name: str, value: Any) -> None:
        parameters, buffers, modules = self._parameters, self._buffers, self._modules
        if isinstance(value, Parameter):
            self.register_parameter(name, value)
        elif isinstance(value, Module):
            self.register_module(name, value)
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
        if lazy.state.observer is None:
            self.__dict__["_version"] += 1
            lazy.state.epoch += 1

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

    def named_modules(self, prefix: str = "", remove_duplicate: bool = True) -> Iterator[tuple[str, Module]]:
        """Return an iterator over (name, module) of this module and all modules in it."""
        seen: set[int] = set()

        def walk(module: Module, name: str) -> Iterator[tuple[str, Module]]:
            if id(module) in seen:
                return
            if remove_duplicate:
                seen.add(id(module))
            yield name, module
            for child_name, child in module._modules.items():
                if child is not None:
                    yield from walk(child, f"{name}.{child_name}" if name else child_name)

        return walk(self, prefix)

    def modules(self) -> Iterator[Module]:
        """Return an iterator over this module and all modules in it."""
        return (module for _, module in self.named_modules())

    def named_children(self) -> Iterator[tuple[str, Module]]:
        """Return an iterator over (name, module) of the direct children."""
        unique = {id(m): (name, m) for name, m in reversed(self._modules.items()) if m is not None}
        return iter(reversed(unique.values()))

    def children(self) -> Iterator[Module]:
        """Return an iterator over the direct children."""
        return (module for _, module in self.named_children())

    def _named(self, group: str, prefix: str, recurse: bool, remove_duplicate: bool) -> Iterator[tuple[str, Any]]:
        seen: set[int] = set()
        for name, module in self.named_modules(prefix, remove_duplicate) if recurse else [(prefix, self)]:
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

    # state

    def state_dict(self, prefix: str = "") -> dict[str, Tensor]:
        """Return the parameters and persistent buffers by dotted name, detached; they share memory with the module."""
        result = {}
        for name, module in self.named_modules(remove_duplicate=False):
            place = f"{prefix}{name}." if name else prefix
            for key, value in [*module._parameters.items(), *module._buffers.items()]:
                if value is not None and key not in module._non_persistent:
                    result[place + key] = value.detach()
        return result

    def load_state_dict(self, state_dict: Mapping[str, Any], strict: bool = True) -> IncompatibleKeys:
        """Copy values into the parameters and buffers.

        Args:
            state_dict: tensors or arrays by dotted name, as `state_dict` returns them; PyTorch's names and layouts.
            strict: whether names that are missing or unknown are an error.

        Returns:
            The missing and the unexpected names.

        Raises:
            ArgumentError: listing all missing, unexpected and misshapen entries; then nothing has been changed.
        """
        if not isinstance(state_dict, Mapping):
            fix = "pass what state_dict() or plait.load returned"
            raise ArgumentTypeError(message("A state dict is a dict", type(state_dict).__name__, "a dict", fix))
        own = self.state_dict()
        missing = [name for name in own if name not in state_dict]
        unexpected = [name for name in state_dict if name not in own]
        shapes = {name: tuple(value.shape) for name, value in state_dict.items() if name in own}
        wrong = [name for name, shape in shapes.items() if shape != own[name].shape]
        problems = [f"  missing: {name}" for name in missing] if strict else []
        problems += [f"  unexpected: {name}" for name in unexpected] if strict else []
        problems += [f"  {name}: received shape {shapes[name]}, expected {own[name].shape}" for name in wrong]
        if problems:
            fix = "load it into the architecture that saved it"
            fix += "" if wrong else ", or pass strict=False to load what fits"
            text = f"The state dict does not fit this {type(self).__name__}, and nothing was loaded:"
            raise ArgumentError("\n".join([text, *problems, f"Fix: {fix}."]))
        with no_grad():
            for name in shapes:
                own[name].copy_(state_dict[name])
        return IncompatibleKeys(missing, unexpected)

    # modes

    @property
    def training(self) -> bool:
        """Whether the module is in training mode, which dropout and batch normalization look at."""
        if lazy.state.observer is not None:
            lazy.state.observer.attribute_read(self, "training")
        return self.__dict__["_training"]

    @training.setter
    def training(self, mode: bool) -> None:
        if self.__dict__["_training"] is not mode:
            self.__dict__["_training"] = mode
            lazy.state.epoch += 1

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

    def to(self, *args: Any, dtype: Any = None, device: Any = None) -> Self:
        """Convert floating-point parameters and buffers to a dtype, in place; returns the module itself.

        Args:
            args: a dtype, a device ("cpu"), or a tensor whose dtype is taken.
            dtype: the dtype.
            device: "cpu".

        Raises:
            DTypeError: the dtype is not known.
            ArgumentError: another device, or a dtype that is not floating-point.
        """
        for value in (*args, device):
            if isinstance(value, str) and value.partition(":")[0] in ("cpu", "cuda", "mps", "webgpu"):
                if value != "cpu":
                    raise ArgumentError(message("There is no such device", repr(value), "cpu"))
            elif value is not None:
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
                    lazy.state.epoch += 1

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
        lines = [self.extra_repr()] if self.extra_repr() else []
        for name, child in self._modules.items():
            lines.append(f"({name}): " + repr(child).replace("\n", "\n  "))
        if not self._modules:
            return f"{type(self).__name__}({''.join(lines)})"
        return f"{type(self).__name__}(\n  " + "\n  ".join(lines) + "\n)"


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
