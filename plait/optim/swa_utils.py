"""Averages of weights, over the last epochs (SWA) or exponential (EMA): a model of averages, with PyTorch's names."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from plait.core.errors import ArgumentError, message
from plait.nn.module import Module
from plait.nn.normalization import _BatchNorm
from plait.optim.lr_scheduler.base import LRScheduler, for_groups, rates
from plait.optim.optimizer import Optimizer
from plait.tensor.autograd import no_grad
from plait.tensor.functions import where
from plait.tensor.tensor import Tensor

__all__ = [
    "SWALR", "AveragedModel", "get_ema_avg_fn", "get_ema_multi_avg_fn", "get_swa_avg_fn", "get_swa_multi_avg_fn",
    "update_bn",
]  # fmt: skip

Average = Callable[[Tensor, Tensor, Any], Tensor]
Averages = Callable[[Sequence[Tensor], Sequence[Tensor], Any], None]


def get_ema_avg_fn(decay: float = 0.999) -> Average:
    """Return a function (average, parameter, count) that computes an exponential moving average.

    Args:
        decay: how much of the average is kept, from 0 to 1.

    Raises:
        ArgumentError: `decay` is out of range.
    """
    if not 0 <= decay <= 1:
        raise ArgumentError(message("decay is out of range", decay, "a number from 0 to 1"))
    return lambda average, parameter, count: average + (1 - decay) * (parameter - average)


def get_swa_avg_fn() -> Average:
    """Return a function (average, parameter, count) that computes a plain average."""

    def swa(average: Tensor, parameter: Tensor, count: Any) -> Tensor:
        total = (count + 1).to(average.dtype) if isinstance(count, Tensor) else count + 1
        return average + (parameter - average) / total

    return swa


def _in_place(average: Average) -> Averages:
    def update(averages: Sequence[Tensor], parameters: Sequence[Tensor], count: Any) -> None:
        with no_grad():
            for a, p in zip(averages, parameters, strict=True):
                a.copy_(average(a, p, count))

    return update


def get_ema_multi_avg_fn(decay: float = 0.999) -> Averages:
    """Return a function (averages, parameters, count) that moves exponential averages in place.

    Args:
        decay: how much of an average is kept, from 0 to 1.

    Raises:
        ArgumentError: `decay` is out of range.
    """
    return _in_place(get_ema_avg_fn(decay))


def get_swa_multi_avg_fn() -> Averages:
    """Return a function (averages, parameters, count) that moves plain averages in place."""
    return _in_place(get_swa_avg_fn())


class AveragedModel(Module):
    """A copy of a model that holds averages of its parameters: SWA (Izmailov et al., 2018), or EMA.

    Args:
        model: the model, found as `module` in this one; call `update_parameters(model)` after its steps.
        device: accepted for PyTorch's sake.
        avg_fn: a function (average, parameter, count) that returns the new average; by default plain averages.
        multi_avg_fn: or one of lists that it changes in place, such as `get_ema_multi_avg_fn(0.999)`.
        use_buffers: whether buffers are averaged too, not copied.

    Raises:
        ArgumentError: both functions are given.

    Example:
        >>> model = plait.nn.Linear(1, 1, bias=False)
        >>> average = plait.optim.swa_utils.AveragedModel(model)
        >>> for value in (1.0, 2.0):
        ...     with plait.no_grad():
        ...         _ = model.weight.fill_(value)
        ...     average.update_parameters(model)
        >>> average(plait.ones(1)).detach()
        tensor([1.5000])
    """

    n_averaged: Tensor

    def __init__(
        self, model: Module, device: Any = None, avg_fn: Average | None = None, multi_avg_fn: Averages | None = None,
        use_buffers: bool = False,
    ) -> None:  # fmt: skip
        if avg_fn is not None and multi_avg_fn is not None:
            raise ArgumentError(message("AveragedModel takes one function", "avg_fn and multi_avg_fn", "one of them"))
        self.module = copy.deepcopy(model)
        self.register_buffer("n_averaged", Tensor(0))
        self.avg_fn, self.multi_avg_fn, self.use_buffers = avg_fn, multi_avg_fn, use_buffers

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Return what the averaged model returns."""
        return self.module(*args, **kwargs)

    def update_parameters(self, model: Module) -> None:
        """Let the parameters of `model` enter the averages; the first ones are copied."""
        own, theirs = ([*m.parameters(), *(m.buffers() if self.use_buffers else ())] for m in (self.module, model))
        update = self.multi_avg_fn or _in_place(self.avg_fn or get_swa_avg_fn())
        with no_grad():
            pairs = [(a, p.detach()) for a, p in zip(own, theirs, strict=True) if a.dtype.is_inexact]
            update([a for a, _ in pairs], [p for _, p in pairs], self.n_averaged)
            for a, p in pairs:
                a.copy_(where(self.n_averaged == 0, p, a))
            averaged = {id(a) for a, _ in pairs}
            for a, b in zip(self.module.buffers(), model.buffers(), strict=True):
                if id(a) not in averaged:
                    a.copy_(b.detach())
            self.n_averaged += 1


def update_bn(loader: Iterable[Any], model: Module, device: Any = None) -> None:
    """Compute the running statistics of the batch norms of a model anew, from the batches of a loader.

    Args:
        loader: yields batches, or lists and tuples whose first element is one.
        model: the model, such as an `AveragedModel`.
        device: accepted for PyTorch's sake.

    Example:
        >>> model = plait.nn.BatchNorm1d(1)
        >>> plait.optim.swa_utils.update_bn([plait.tensor([[1.0], [3.0]])], model)
        >>> model.running_mean
        tensor([2.])
    """
    momenta = {module: module.momentum for module in model.modules() if isinstance(module, _BatchNorm)}
    if not momenta:
        return
    was_training = model.training
    model.train()
    for module in momenta:
        module.reset_running_stats()
        module.momentum = None
    with no_grad():
        for batch in loader:
            model(batch[0] if isinstance(batch, (list, tuple)) else batch)
    for module, momentum in momenta.items():
        module.momentum = momentum
    model.train(was_training)


class SWALR(LRScheduler):
    """Move the rate to that of stochastic weight averaging, and leave it there.

    Args:
        optimizer: the optimizer.
        swa_lr: the rate, or one for each group.
        anneal_epochs: number of epochs on the way.
        anneal_strategy: "cos" or "linear".
        last_epoch: the epoch to go on from.

    Raises:
        ArgumentError: an argument is out of range.
    """

    def __init__(
        self, optimizer: Optimizer, swa_lr: Any, anneal_epochs: int = 10, anneal_strategy: str = "cos",
        last_epoch: int = -1,
    ) -> None:  # fmt: skip
        if anneal_strategy not in ("cos", "linear") or not isinstance(anneal_epochs, int) or anneal_epochs < 0:
            received = f"anneal_strategy={anneal_strategy!r}, anneal_epochs={anneal_epochs!r}"
            expected = '"cos" or "linear", an integer of at least 0'
            raise ArgumentError(message("SWALR does not fit", received, expected))
        self.anneal_epochs, self.is_cosine = anneal_epochs, anneal_strategy == "cos"
        for group, rate in zip(optimizer.param_groups, for_groups("swa_lr", optimizer, swa_lr), strict=True):
            group["swa_lr"] = rate
        super().__init__(optimizer, last_epoch)

    def _part(self, step: int) -> float:
        part = max(0.0, min(1.0, step / max(1, self.anneal_epochs)))
        return (1 - math.cos(math.pi * part)) / 2 if self.is_cosine else part

    def get_lr(self) -> list[float]:
        step = self._step_count - 1 if self.anneal_epochs else max(1, self._step_count - 1)
        before, now = self._part(step - 1), self._part(step)
        found = []
        for group, rate in zip(self.optimizer.param_groups, rates(self.optimizer), strict=True):
            goal = group["swa_lr"]
            first = goal if before == 1 else (rate - before * goal) / (1 - before)
            found.append(goal * now + first * (1 - now))
        return found
