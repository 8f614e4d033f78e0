"""`LRScheduler`, and what the schedulers share."""

from __future__ import annotations

from typing import Any

from plait.core.errors import ArgumentError, ArgumentTypeError, message
from plait.optim.optimizer import Optimizer
from plait.tensor.autograd import no_grad
from plait.tensor.tensor import Tensor


def set_rate(group: Any, rate: float) -> None:
    """Set the learning rate of a group, in its tensor where it has one."""
    if isinstance(group["lr"], Tensor):
        with no_grad():
            group["lr"].fill_(rate)
    else:
        group["lr"] = rate


def rates(optimizer: Optimizer) -> list[float]:
    """Return the learning rate of each group."""
    return [float(group["lr"]) for group in optimizer.param_groups]


def for_groups(name: str, optimizer: Optimizer, value: Any) -> list[Any]:
    """Return one value for each group, given one for all, or a list.

    Raises:
        ArgumentTypeError: `optimizer` is none.
        ArgumentError: the list has another length.
    """
    if not isinstance(optimizer, Optimizer):
        raise ArgumentTypeError(message("A scheduler takes an optimizer", type(optimizer).__name__, "an Optimizer"))
    count = len(optimizer.param_groups)
    values = list(value) if isinstance(value, (list, tuple)) else [value] * count
    if len(values) != count:
        raise ArgumentError(message(f"{name} needs one value for each group", f"{len(values)} values", count))
    return values


class LRScheduler:
    """Base class of the schedulers: a subclass defines `get_lr`, the rates of the groups at `self.last_epoch`.

    Args:
        optimizer: the optimizer whose options are set.
        last_epoch: the epoch to go on from; -1 begins.

    Raises:
        ArgumentTypeError: `optimizer` is none.
        ArgumentError: it goes on, and the optimizer has no "initial_lr".
    """

    def __init__(self, optimizer: Optimizer, last_epoch: int = -1) -> None:
        for_groups("lr", optimizer, 0.0)
        self.optimizer = optimizer
        for group in optimizer.param_groups:
            if last_epoch == -1:
                group.setdefault("initial_lr", float(group["lr"]))
            elif "initial_lr" not in group:
                text, fix = "A schedule cannot go on without the first rates", "load the optimizer's state dict first"
                raise ArgumentError(message(text, f'last_epoch={last_epoch}, no "initial_lr" in a group', None, fix))
        self.base_lrs = [float(group["initial_lr"]) for group in optimizer.param_groups]
        self.last_epoch = last_epoch
        self.begin()

    def begin(self) -> None:
        """Set the first rates."""
        self._step_count = 0
        self._is_initial = True
        self.step()
        self._is_initial = False

    def get_lr(self) -> list[float]:
        """Return the rates of the groups at `self.last_epoch`."""
        raise ArgumentTypeError(message(f"{type(self).__name__} does not say what the rates are", fix="define get_lr"))

    def get_last_lr(self) -> list[float]:
        """Return the rates that were set last."""
        return self._last_lr

    def step(self, epoch: int | None = None) -> None:
        """Go on by one epoch, or to `epoch`, and set the rates."""
        self._step_count += 1
        self.update(epoch)

    def update(self, epoch: int | None = None) -> None:
        """Set the rates of the next epoch, or of `epoch`."""
        self.last_epoch = self.last_epoch + 1 if epoch is None else epoch
        found = self.get_lr() if epoch is None else self.closed_form()
        for group, rate in zip(self.optimizer.param_groups, found, strict=True):
            set_rate(group, rate)
        self._last_lr = rates(self.optimizer)

    def closed_form(self) -> list[float]:
        """Return the rates at `self.last_epoch`, whatever they were before."""
        return self.get_lr()

    def state_dict(self) -> dict[str, Any]:
        """Return what `load_state_dict` needs: numbers, no functions."""
        return {k: v for k, v in self.__dict__.items() if k != "optimizer" and not _is_function(v)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from what `state_dict` returned."""
        self.__dict__.update(state_dict)


def _is_function(value: Any) -> bool:
    return callable(value) or (isinstance(value, list) and any(map(callable, value)))
