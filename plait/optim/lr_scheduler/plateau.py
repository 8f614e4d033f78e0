"""The scheduler that waits for a metric to improve."""

from __future__ import annotations

from typing import Any

from plait.optim import schedules
from plait.optim.lr_scheduler.base import LRScheduler, for_groups, rates, set_rate
from plait.optim.optimizer import Optimizer


class ReduceLROnPlateau(LRScheduler):
    """Reduce the rate where a metric has not improved for a while.

    Args:
        optimizer: the optimizer.
        mode: whether the metric should fall ("min") or rise ("max").
        factor: by which the rate is multiplied, below 1.
        patience: number of epochs without improvement that are waited for.
        threshold: the smallest improvement that counts.
        threshold_mode: whether it is relative to the best value ("rel"), or not ("abs").
        cooldown: number of epochs after a reduction that do not count.
        min_lr: the smallest rate, or one for each group.
        eps: the smallest change of the rate that is made.

    Raises:
        ArgumentError: an argument is out of range.

    Example:
        >>> optimizer = plait.optim.SGD([plait.Parameter([1.0])], lr=1.0)
        >>> scheduler = plait.optim.lr_scheduler.ReduceLROnPlateau(optimizer, patience=1)
        >>> for loss in (3.0, 3.0, 3.0):
        ...     scheduler.step(loss)
        >>> scheduler.get_last_lr()
        [0.1]
    """

    def __init__(
        self, optimizer: Optimizer, mode: str = "min", factor: float = 0.1, patience: int = 10,
        threshold: float = 1e-4, threshold_mode: str = "rel", cooldown: int = 0, min_lr: Any = 0.0, eps: float = 1e-8,
    ) -> None:  # fmt: skip
        self.machine = schedules.plateau(mode, factor, patience, threshold, threshold_mode, cooldown)
        self.min_lrs = for_groups("min_lr", optimizer, min_lr)
        self.optimizer, self.factor, self.eps = optimizer, factor, eps
        self.last_epoch, self._last_lr = 0, rates(optimizer)
        self.reached = self.machine.init()

    def step(self, metrics: Any, epoch: int | None = None) -> None:  # type: ignore[override]
        """Take note of a metric, a number or a rank-0 tensor, and reduce the rates if it is time."""
        before = self.reached.factor
        self.reached = self.machine.update(float(metrics), self.reached)
        self.last_epoch = self.last_epoch + 1 if epoch is None else epoch
        if self.reached.factor != before:
            for group, least in zip(self.optimizer.param_groups, self.min_lrs, strict=True):
                old = float(group["lr"])
                new = max(old * self.factor, least)
                if old - new > self.eps:
                    set_rate(group, new)
        self._last_lr = rates(self.optimizer)

    def state_dict(self) -> dict[str, Any]:
        """Return what `load_state_dict` needs, with PyTorch's names."""
        own = {k: v for k, v in self.__dict__.items() if k not in ("optimizer", "machine", "reached")}
        names = ("best", "num_bad_epochs", "cooldown_counter")
        return {**own, "total_factor": self.reached.factor, **{name: getattr(self.reached, name) for name in names}}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from what `state_dict` returned, here or in PyTorch."""
        for name in ("min_lrs", "eps", "factor", "last_epoch", "_last_lr"):
            setattr(self, name, state_dict[name])
        counted = {name: state_dict[name] for name in ("best", "num_bad_epochs", "cooldown_counter")}
        self.reached = schedules.PlateauState(state_dict.get("total_factor", 1.0), **counted)
