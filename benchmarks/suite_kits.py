"""Kits of `suite.py` for plait and PyTorch: what a case needs of them, in the way that is idiomatic there."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
from cases import weight

Step = Callable[[], Any]


def leaves(result: Any) -> Iterator[Any]:
    """Yield the tensors of nested tuples, lists and dictionaries, these in the order of their names."""
    if isinstance(result, Mapping):
        result = [result[k] for k in sorted(result)]
    if isinstance(result, (tuple, list)):
        for part in result:
            yield from leaves(part)
    else:
        yield result


class _Modules:
    """What plait and PyTorch have in common."""

    family: str
    lib: Any
    compiled: bool

    @property
    def nn(self) -> Any:
        return self.lib.nn

    @property
    def functional(self) -> Any:
        return self.lib.nn.functional

    def call(self, function: Callable[..., Any], *arrays: Any) -> Step:
        """Return the call of a function of tensors, without gradients of its own."""
        tensors = [self.array(a) if isinstance(a, np.ndarray) else a for a in arrays]
        function = self.compile(function)
        return lambda: function(*tensors)

    def load(self, model: Any) -> Any:
        """Give the parameters and buffers of a module the values that belong to their names."""
        state = {n: x for n, x in model.state_dict().items() if not n.endswith("num_batches_tracked")}
        with self.lib.no_grad():
            model.load_state_dict({n: self.array(weight(n, tuple(x.shape))) for n, x in state.items()}, strict=False)
        return model

    def infer(self, model: Any, *arrays: np.ndarray) -> Step:
        """Return the call of a model in evaluation mode."""
        return self.without_gradients(self.load(model).eval(), *(self.array(a) for a in arrays))

    def without_gradients(self, function: Any, *tensors: Any) -> Step:
        def forward(*inputs: Any) -> Any:
            with self.lib.no_grad():
                return function(*inputs)

        return self.call(forward, *tensors)

    def optimizer(self, model: Any, name: str, **options: Any) -> Any:
        return getattr(self.lib.optim, name)(model.parameters(), **options)


class Plait(_Modules):
    """plait: eager, or `plait.jit` around the whole step."""

    family = "plait"

    def __init__(self, compiled: bool) -> None:
        self.lib, self.compiled = importlib.import_module("plait"), compiled

    def array(self, a: np.ndarray, dtype: str | None = None) -> Any:
        tensor = self.lib.tensor(a)
        return tensor.to(getattr(self.lib, dtype)) if dtype else tensor

    def compile(self, function: Callable[..., Any], freeze: bool = False) -> Callable[..., Any]:
        return self.lib.jit(function) if self.compiled else function

    def train(
        self, model: Any, loss_of: Callable[..., Any], optimizer: str, *arrays: np.ndarray, **options: Any
    ) -> Step:
        """Return a training step: `loss_of(model, *inputs)`, its gradient, and the optimizer named."""
        self.load(model).train()
        chosen = self.optimizer(model, optimizer, **options)

        def step(*inputs: Any) -> Any:
            chosen.zero_grad()
            loss = loss_of(model, *inputs)
            loss.backward()
            chosen.step()
            return loss.detach()

        return self.call(step, *arrays)

    def images(self, model: Any) -> Any:
        return model

    def vmap(self, function: Any, in_axes: Any) -> Any:
        return self.lib.vmap(function, in_axes)

    def grad(self, function: Any, argnums: int = 0) -> Any:
        return self.lib.grad(function, argnums)

    def jvp(self, function: Any, primals: Any, tangents: Any) -> Any:
        return self.lib.jvp(function, primals, tangents)

    def value_and_grad(self, function: Any, argnums: Any) -> Any:
        return self.lib.value_and_grad(function, argnums)

    def wait(self, result: Any) -> None:
        self.lib.sync()

    def numpy(self, tensor: Any) -> np.ndarray:
        tensor = tensor.detach()
        return np.asarray(tensor.to(self.lib.float32) if tensor.dtype is self.lib.bfloat16 else tensor)


class Torch(_Modules):
    """PyTorch on the CPU: eager, or `torch.compile` around the forward pass, with fused optimizers in both."""

    family = "torch"

    def __init__(self, compiled: bool, threads: int) -> None:
        self.lib, self.compiled = importlib.import_module("torch"), compiled
        self.lib.set_num_threads(threads)

    def array(self, a: np.ndarray, dtype: str | None = None) -> Any:
        tensor = self.lib.from_numpy(np.ascontiguousarray(a))
        if tensor.ndim == 4 and tensor.dtype is self.lib.float32 and a.shape[1] == 3:
            tensor = tensor.contiguous(memory_format=self.lib.channels_last)  # images: the layout advised for CPUs
        return tensor.to(getattr(self.lib, dtype)) if dtype else tensor

    def compile(self, function: Callable[..., Any], freeze: bool = False) -> Callable[..., Any]:
        if not self.compiled:
            return function
        options = {"freezing": True} if freeze else {}
        return self.lib.compile(function, options=options, dynamic=False)

    def infer(self, model: Any, *arrays: np.ndarray) -> Step:
        model, inputs = self.load(model).eval(), [self.array(a) for a in arrays]
        forward = self.compile(model, freeze=True)

        def step() -> Any:
            with self.lib.no_grad():
                return forward(*inputs)

        return step

    def train(
        self, model: Any, loss_of: Callable[..., Any], optimizer: str, *arrays: np.ndarray, **options: Any
    ) -> Step:
        self.load(model).train()
        chosen = self.optimizer(model, optimizer, fused=True, **options)
        inputs = [self.array(a) for a in arrays]
        forward = self.compile(lambda *inputs: loss_of(model, *inputs))

        def step() -> Any:
            chosen.zero_grad(set_to_none=True)
            loss = forward(*inputs)
            loss.backward()
            chosen.step()
            return loss.detach()

        return step

    def images(self, model: Any) -> Any:
        """Return a convolutional model in the layout that PyTorch advises for CPUs."""
        return model.to(memory_format=self.lib.channels_last)

    def vmap(self, function: Any, in_axes: Any) -> Any:
        return self.lib.func.vmap(function, in_axes)

    def grad(self, function: Any, argnums: int = 0) -> Any:
        return self.lib.func.grad(function, argnums)

    def jvp(self, function: Any, primals: Any, tangents: Any) -> Any:
        return self.lib.func.jvp(function, primals, tangents)

    def value_and_grad(self, function: Any, argnums: Any) -> Any:
        """Return the function with its gradient by the tape, which is PyTorch's fastest."""
        every = (argnums,) if isinstance(argnums, int) else argnums

        def both(*tensors: Any) -> Any:
            wanted = {k: tensors[k].detach().requires_grad_() for k in every}
            value = function(*[wanted.get(k, t) for k, t in enumerate(tensors)])
            found = self.lib.autograd.grad(value, list(wanted.values()))
            return value.detach(), found[0] if isinstance(argnums, int) else found

        return both

    def wait(self, result: Any) -> None:
        pass

    def numpy(self, tensor: Any) -> np.ndarray:
        tensor = tensor.detach()
        return (tensor.float() if tensor.dtype is self.lib.bfloat16 else tensor).numpy()
