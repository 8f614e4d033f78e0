"""Several schedulers of one optimizer: together, or one after another."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from typing import Any

from plait.core.errors import ArgumentError, message
from plait.optim.lr_scheduler.base import LRScheduler, rates, set_rate
from plait.optim.lr_scheduler.plateau import ReduceLROnPlateau
from plait.optim.optimizer import Optimizer


def _check_schedulers(name: str, schedulers: Sequence[Any], optimizer: Optimizer | None) -> Optimizer:
    if not schedulers or not all(hasattr(s, "optimizer") for s in schedulers):
        raise ArgumentError(message(f"{name} needs schedulers", repr(schedulers)[:60], "at least one"))
    found: Optimizer = optimizer or schedulers[0].optimizer
    for scheduler in schedulers:
        if isinstance(scheduler, ReduceLROnPlateau):
            raise ArgumentError(message(f"{name} does not take a ReduceLROnPlateau", fix="step it by itself"))
        if scheduler.optimizer is not found:
            raise ArgumentError(message(f"{name} needs schedulers of one optimizer", "schedulers of several"))
    return found


class _Several(LRScheduler):
    _schedulers: Sequence[LRScheduler]

    def state_dict(self) -> dict[str, Any]:
        """Return what `load_state_dict` needs, of the parts too."""
        return {**super().state_dict(), "_schedulers": [s.state_dict() for s in self._schedulers]}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from what `state_dict` returned."""
        super().load_state_dict({k: v for k, v in state_dict.items() if k != "_schedulers"})
        for scheduler, state in zip(self._schedulers, state_dict["_schedulers"], strict=True):
            scheduler.load_state_dict(state)


class ChainedScheduler(_Several):
    """Step several schedulers together, each from the rate that the one before has set.

    Args:
        schedulers: schedulers of one optimizer.
        optimizer: the optimizer, by default theirs.

    Raises:
        ArgumentError: there are none, or they belong to several optimizers.
    """

    def __init__(self, schedulers: Sequence[LRScheduler], optimizer: Optimizer | None = None) -> None:
        self.optimizer = _check_schedulers("ChainedScheduler", schedulers, optimizer)
        self._schedulers = schedulers
        self._last_lr = rates(self.optimizer)

    def step(self, epoch: int | None = None) -> None:
        """Step all of them."""
        for scheduler in self._schedulers:
            scheduler.step()
        self._last_lr = rates(self.optimizer)


class SequentialLR(_Several):
    """Follow several schedulers, one after another.

    Args:
        optimizer: the optimizer.
        schedulers: schedulers of it.
        milestones: epochs at which the second, third, … begins.
        last_epoch: the epoch to go on from.

    Raises:
        ArgumentError: there is not one milestone between each two, or they belong to several optimizers.
    """

    def __init__(
        self, optimizer: Optimizer, schedulers: Sequence[LRScheduler], milestones: Sequence[int], last_epoch: int = -1
    ) -> None:
        self.optimizer = _check_schedulers("SequentialLR", schedulers, optimizer)
        if len(milestones) != len(schedulers) - 1:
            received = f"{len(schedulers)} schedulers, {len(milestones)} milestones"
            raise ArgumentError(message("SequentialLR needs the epochs at which schedulers begin", received))
        self._schedulers, self._milestones = schedulers, list(milestones)
        self.last_epoch = last_epoch + 1
        for group in optimizer.param_groups:
            set_rate(group, float(group["initial_lr"]))
        _take_back(schedulers)  # each has made its first step already
        first = schedulers[bisect_right(self._milestones, 0)]
        first.begin()
        self._last_lr = first.get_last_lr()

    def begin(self) -> None:
        """Set the first rates, as part of another `SequentialLR`."""
        self.last_epoch += 1
        self._schedulers[0].begin()
        self._last_lr = self._schedulers[0].get_last_lr()

    def step(self, epoch: int | None = None) -> None:
        """Go on by one epoch, and set the rates."""
        self.last_epoch += 1
        k = bisect_right(self._milestones, self.last_epoch)
        if k and self._milestones[k - 1] == self.last_epoch:
            self._schedulers[k].update(0)
        else:
            self._schedulers[k].step()
        self._last_lr = self._schedulers[k].get_last_lr()


def _take_back(schedulers: Sequence[LRScheduler]) -> None:
    for scheduler in schedulers:
        if isinstance(scheduler, _Several):
            _take_back(scheduler._schedulers)
        else:
            scheduler.last_epoch -= 1
