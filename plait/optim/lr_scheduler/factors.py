"""Schedulers that multiply the rate as it is by a factor, so that they can be chained; and functions of the epoch."""

from __future__ import annotations

import math
import types
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any

from plait.core.errors import ArgumentError, check_function, message
from plait.optim import schedules
from plait.optim.lr_scheduler.base import LRScheduler, for_groups, rates
from plait.optim.optimizer import Optimizer


class _Factor(LRScheduler):
    """A scheduler whose rate, above `eta_min`, is a function of the epoch times the first one."""

    eta_min = 0.0
    factor: schedules.Schedule

    def get_lr(self) -> list[float]:
        now = rates(self.optimizer)
        if self.last_epoch == 0:
            return [self._above(rate, self.factor(0)) for rate in now]
        if self._is_initial:
            return now
        new, old = self.factor(self.last_epoch), self.factor(self.last_epoch - 1)
        if abs(old) < 1e-15:
            return [rate + (base - self.eta_min) * new for rate, base in zip(now, self.base_lrs, strict=True)]
        return [self._above(rate, new / old) for rate in now]

    def closed_form(self) -> list[float]:
        return [self._above(base, self.factor(self.last_epoch)) for base in self.base_lrs]

    def _above(self, rate: float, factor: float) -> float:
        return self.eta_min + (rate - self.eta_min) * factor


class StepLR(_Factor):
    """Multiply the rate by `gamma` after every `step_size` epochs.

    Args:
        optimizer: the optimizer.
        step_size: number of epochs with the same rate.
        gamma: factor.
        last_epoch: the epoch to go on from.

    Example:
        >>> optimizer = plait.optim.SGD([plait.Parameter([1.0])], lr=1.0)
        >>> scheduler = plait.optim.lr_scheduler.StepLR(optimizer, 2, gamma=0.5)
        >>> for _ in range(4):
        ...     optimizer.step()
        ...     scheduler.step()
        >>> optimizer.param_groups[0]["lr"]
        0.25
    """

    def __init__(self, optimizer: Optimizer, step_size: int, gamma: float = 0.1, last_epoch: int = -1) -> None:
        self.step_size, self.gamma = step_size, gamma
        self.factor = schedules.step(1.0, step_size, gamma)
        super().__init__(optimizer, last_epoch)


class MultiStepLR(_Factor):
    """Multiply the rate by `gamma` at each of the `milestones`.

    Args:
        optimizer: the optimizer.
        milestones: epochs.
        gamma: factor.
        last_epoch: the epoch to go on from.
    """

    def __init__(
        self, optimizer: Optimizer, milestones: Iterable[int], gamma: float = 0.1, last_epoch: int = -1
    ) -> None:
        self.milestones, self.gamma = Counter(milestones), gamma
        self.factor = schedules.multi_step(1.0, self.milestones.elements(), gamma)
        super().__init__(optimizer, last_epoch)


class ConstantLR(_Factor):
    """Multiply the rate by `factor` for the first epochs.

    Args:
        optimizer: the optimizer.
        factor: a number between 0 and 1.
        total_iters: number of epochs.
        last_epoch: the epoch to go on from.

    Raises:
        ArgumentError: `factor` is out of range.
    """

    def __init__(
        self, optimizer: Optimizer, factor: float = 1.0 / 3, total_iters: int = 5, last_epoch: int = -1
    ) -> None:
        if not 0 <= factor <= 1:
            raise ArgumentError(message("factor is out of range", factor, "a number between 0 and 1"))
        self.total_iters = total_iters
        parts = [schedules.constant(factor), schedules.constant(1.0)]
        self.factor = schedules.sequential(parts, [total_iters])
        super().__init__(optimizer, last_epoch)


class LinearLR(_Factor):
    """Change the factor of the rate along a line.

    Args:
        optimizer: the optimizer.
        start_factor: the first factor, above 0 and at most 1.
        end_factor: the last factor, between 0 and 1.
        total_iters: number of epochs on the way.
        last_epoch: the epoch to go on from.

    Raises:
        ArgumentError: a factor is out of range.
    """

    def __init__(
        self, optimizer: Optimizer, start_factor: float = 1.0 / 3, end_factor: float = 1.0, total_iters: int = 5,
        last_epoch: int = -1,
    ) -> None:  # fmt: skip
        if not (0 < start_factor <= 1 and 0 <= end_factor <= 1):
            received = f"start_factor={start_factor}, end_factor={end_factor}"
            raise ArgumentError(message("A factor of LinearLR is out of range", received, "numbers between 0 and 1"))
        self.start_factor, self.end_factor, self.total_iters = start_factor, end_factor, total_iters
        self.factor = schedules.linear(start_factor, end_factor, total_iters)
        super().__init__(optimizer, last_epoch)


class ExponentialLR(_Factor):
    """Multiply the rate by `gamma` at each epoch.

    Args:
        optimizer: the optimizer.
        gamma: factor.
        last_epoch: the epoch to go on from.
    """

    def __init__(self, optimizer: Optimizer, gamma: float, last_epoch: int = -1) -> None:
        self.gamma = gamma
        self.factor = schedules.exponential(1.0, gamma)
        super().__init__(optimizer, last_epoch)


class PolynomialLR(_Factor):
    """Let the rate fall to 0 along a power of the epochs that are left.

    Args:
        optimizer: the optimizer.
        total_iters: number of epochs on the way.
        power: 1 is a line.
        last_epoch: the epoch to go on from.
    """

    def __init__(self, optimizer: Optimizer, total_iters: int = 5, power: float = 1.0, last_epoch: int = -1) -> None:
        self.total_iters, self.power = total_iters, power
        self.factor = schedules.polynomial(1.0, 0.0, total_iters, power)
        super().__init__(optimizer, last_epoch)


class CosineAnnealingLR(_Factor):
    """Let the rate swing between the first one and `eta_min` along a cosine (Loshchilov and Hutter, 2017).

    Args:
        optimizer: the optimizer.
        T_max: number of epochs of half a period.
        eta_min: the smallest rate.
        last_epoch: the epoch to go on from.
    """

    def __init__(self, optimizer: Optimizer, T_max: int, eta_min: float = 0.0, last_epoch: int = -1) -> None:  # noqa: N803 - PyTorch's name
        self.T_max, self.eta_min = T_max, eta_min
        super().__init__(optimizer, last_epoch)

    def factor(self, epoch: int) -> float:  # type: ignore[override]
        return (1 + math.cos(math.pi * epoch / self.T_max)) / 2


def _functions(optimizer: Optimizer, lr_lambda: Any) -> list[Callable[[int], float]]:
    found = for_groups("lr_lambda", optimizer, lr_lambda)
    for function in found:
        check_function(function, "lr_lambda")
    return found


class LambdaLR(LRScheduler):
    """Set the rate to the first one times a function of the epoch, such as one of `schedules`.

    Args:
        optimizer: the optimizer.
        lr_lambda: a function, or one for each group.
        last_epoch: the epoch to go on from.

    Example:
        >>> optimizer = plait.optim.SGD([plait.Parameter([1.0])], lr=0.5)
        >>> warm = plait.optim.schedules.warmup(1.0, 4, start=0.25)
        >>> plait.optim.lr_scheduler.LambdaLR(optimizer, warm).get_last_lr()
        [0.125]
    """

    def __init__(self, optimizer: Optimizer, lr_lambda: Any, last_epoch: int = -1) -> None:
        self.lr_lambdas = _functions(optimizer, lr_lambda)
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float]:
        return [base * function(self.last_epoch) for function, base in zip(self.lr_lambdas, self.base_lrs, strict=True)]

    def state_dict(self) -> dict[str, Any]:
        """Return the numbers, and the attributes of callable objects, but no functions."""
        kept = [None if isinstance(f, types.FunctionType) else dict(vars(f)) for f in self.lr_lambdas]
        return {**super().state_dict(), "lr_lambdas": kept}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from what `state_dict` returned."""
        super().load_state_dict({k: v for k, v in state_dict.items() if k != "lr_lambdas"})
        for function, attributes in zip(self.lr_lambdas, state_dict["lr_lambdas"], strict=True):
            if attributes is not None:
                vars(function).update(attributes)


class MultiplicativeLR(LambdaLR):
    """Multiply the rate at each epoch but the first by a function of the epoch.

    Args:
        optimizer: the optimizer.
        lr_lambda: a function, or one for each group.
        last_epoch: the epoch to go on from.
    """

    def get_lr(self) -> list[float]:
        now = rates(self.optimizer)
        if self._is_initial:
            return now
        return [rate * function(self.last_epoch) for function, rate in zip(self.lr_lambdas, now, strict=True)]


class CosineAnnealingWarmRestarts(LRScheduler):
    """Let the rate fall to `eta_min` along half a cosine and begin anew: SGDR (Loshchilov and Hutter, 2017).

    Args:
        optimizer: the optimizer.
        T_0: number of epochs to the first restart.
        T_mult: factor by which that number grows.
        eta_min: the smallest rate.
        last_epoch: the epoch to go on from.

    Raises:
        ArgumentError: a number of epochs is out of range.
    """

    def __init__(
        self, optimizer: Optimizer, T_0: int, T_mult: int = 1, eta_min: float = 0.0, last_epoch: int = -1  # noqa: N803 - PyTorch's names
    ) -> None:  # fmt: skip
        if not (isinstance(T_0, int) and T_0 > 0 and isinstance(T_mult, int) and T_mult >= 1):
            received = f"T_0={T_0}, T_mult={T_mult}"
            raise ArgumentError(message("The restarts do not fit", received, "integers of at least 1"))
        self.T_0, self.T_mult, self.eta_min = T_0, T_mult, eta_min
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float]:
        found = [schedules.cosine_restarts(base, self.T_0, self.T_mult, self.eta_min) for base in self.base_lrs]
        return [rate(self.last_epoch) for rate in found]
