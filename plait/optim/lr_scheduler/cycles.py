"""Schedulers that rise and fall: the rate, and the momentum the other way round."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from plait.core.errors import ArgumentError, message
from plait.optim import schedules
from plait.optim.lr_scheduler.base import LRScheduler, for_groups, set_rate
from plait.optim.optimizer import Optimizer


class _Cycle(LRScheduler):
    """A scheduler of rates and momenta: a schedule of either kind for each group."""

    def __init__(
        self, optimizer: Optimizer, last_epoch: int, lr: Sequence[Any], momentum: Sequence[Any] | None
    ) -> None:
        self.schedules, self.momenta = list(lr), momentum if momentum is None else list(momentum)
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float]:
        for group, schedule in zip(self.optimizer.param_groups, self.momenta or [], strict=False):
            momentum = schedule(self.last_epoch)
            if "betas" in self.optimizer.defaults:
                group["betas"] = (momentum, *group["betas"][1:])
            else:
                group["momentum"] = momentum
        return [schedule(self.last_epoch) for schedule in self.schedules]


def _limits(
    optimizer: Optimizer, cycle_momentum: bool, base_momentum: Any, max_momentum: Any, last_epoch: int
) -> list[tuple[float, float]]:
    """Return the least and the most momentum of each group."""
    if not cycle_momentum:
        return []
    if not {"momentum", "betas"} & optimizer.defaults.keys():
        text, fix = f"{type(optimizer).__name__} has no momentum", "pass cycle_momentum=False"
        raise ArgumentError(message(text, "cycle_momentum=True", "an optimizer with momentum or betas", fix))
    least = for_groups("base_momentum", optimizer, base_momentum)
    most = for_groups("max_momentum", optimizer, max_momentum)
    for group, low, high in zip(optimizer.param_groups, least, most, strict=True):
        if last_epoch == -1:
            group.update(base_momentum=low, max_momentum=high)
    return list(zip(least, most, strict=True))


class CyclicLR(_Cycle):
    """Let the rate rise and fall again and again, and the momentum the other way round (Smith, 2017).

    Args:
        optimizer: the optimizer.
        base_lr: the smallest rate, or one for each group.
        max_lr: the largest rate of the first cycle, or one for each group.
        step_size_up: number of steps of a rise.
        step_size_down: number of steps of a fall, by default the same.
        mode: "triangular", "triangular2" or "exp_range": see `schedules.cyclic`.
        gamma: see there.
        scale_fn: a function in place of a mode: it returns the factor of the height.
        scale_mode: whether `scale_fn` takes the number of the cycle ("cycle") or of the step ("iterations").
        cycle_momentum: whether the momentum changes too.
        base_momentum: the smallest momentum, or one for each group.
        max_momentum: the largest momentum, or one for each group.
        last_epoch: the step to go on from.

    Raises:
        ArgumentError: an argument is out of range, or the optimizer has no momentum.

    Example:
        >>> optimizer = plait.optim.SGD([plait.Parameter([1.0])], momentum=0.9)
        >>> scheduler = plait.optim.lr_scheduler.CyclicLR(optimizer, 0.0, 1.0, step_size_up=2)
        >>> scheduler.step()
        >>> scheduler.get_last_lr(), round(optimizer.param_groups[0]["momentum"], 3)
        ([0.5], 0.85)
    """

    def __init__(
        self, optimizer: Optimizer, base_lr: Any, max_lr: Any, step_size_up: int = 2000,
        step_size_down: int | None = None, mode: str = "triangular", gamma: float = 1.0,
        scale_fn: Callable[[float], float] | None = None, scale_mode: str = "cycle", cycle_momentum: bool = True,
        base_momentum: Any = 0.8, max_momentum: Any = 0.9, last_epoch: int = -1,
    ) -> None:  # fmt: skip
        if scale_mode not in ("cycle", "iterations"):
            raise ArgumentError(message("Unknown scale_mode", repr(scale_mode), '"cycle" or "iterations"'))
        lows, highs = for_groups("base_lr", optimizer, base_lr), for_groups("max_lr", optimizer, max_lr)

        def schedule(low: float, high: float) -> schedules.Schedule:
            if scale_fn is None:
                return schedules.cyclic(low, high, step_size_up, step_size_down, mode, gamma)
            by_cycle, scale = scale_mode == "cycle", scale_fn

            def height(cycle: float, step: float) -> float:
                return scale(cycle if by_cycle else step)

            return schedules.triangles(low, high, step_size_up, step_size_down, height)

        if last_epoch == -1:
            for group, low in zip(optimizer.param_groups, lows, strict=True):
                set_rate(group, low)
        limits = _limits(optimizer, cycle_momentum, base_momentum, max_momentum, last_epoch)
        momenta = [schedule(most, least) for least, most in limits] if limits else None
        super().__init__(optimizer, last_epoch, list(map(schedule, lows, highs)), momenta)


class OneCycleLR(_Cycle):
    """Let the rate rise and fall far below the first one, and the momentum the other way round (Smith and Topin, 2019).

    Args:
        optimizer: the optimizer.
        max_lr: the largest rate, or one for each group.
        total_steps: number of steps; or give `epochs` and `steps_per_epoch`.
        epochs: number of epochs.
        steps_per_epoch: number of steps of each.
        pct_start: part of the steps in which the rate rises.
        anneal_strategy: "cos" or "linear".
        cycle_momentum: whether the momentum changes too.
        base_momentum: the smallest momentum, or one for each group.
        max_momentum: the largest momentum, or one for each group.
        div_factor: the first rate is `max_lr / div_factor`.
        final_div_factor: the last rate is the first one divided by this.
        three_phase: whether the rate falls to the first one as fast as it rose, and then to the last one.
        last_epoch: the step to go on from.

    Raises:
        ArgumentError: an argument is out of range, the optimizer has no momentum, or there are no steps left.
    """

    def __init__(
        self, optimizer: Optimizer, max_lr: Any, total_steps: int | None = None, epochs: int | None = None,
        steps_per_epoch: int | None = None, pct_start: float = 0.3, anneal_strategy: str = "cos",
        cycle_momentum: bool = True, base_momentum: Any = 0.85, max_momentum: Any = 0.95, div_factor: float = 25.0,
        final_div_factor: float = 1e4, three_phase: bool = False, last_epoch: int = -1,
    ) -> None:  # fmt: skip
        if total_steps is None and (epochs is None or steps_per_epoch is None):
            expected = "total_steps, or epochs and steps_per_epoch"
            raise ArgumentError(message("OneCycleLR needs the number of steps", "none", expected))
        self.total_steps = epochs * steps_per_epoch if total_steps is None else total_steps  # type: ignore[operator]
        peaks = for_groups("max_lr", optimizer, max_lr)
        found = [
            schedules.one_cycle(
                peak, self.total_steps, pct_start, anneal_strategy, div_factor, final_div_factor, three_phase
            )
            for peak in peaks
        ]
        for group, peak in zip(optimizer.param_groups, peaks, strict=True):
            if last_epoch == -1:
                first = peak / div_factor
                group.update(initial_lr=first, max_lr=peak, min_lr=first / final_div_factor)
        limits = _limits(optimizer, cycle_momentum, base_momentum, max_momentum, last_epoch)
        turns = [(most, least, most, most) if three_phase else (most, least, most) for least, most in limits]
        momenta = [schedules.cycle(values, self.total_steps, pct_start, anneal_strategy) for values in turns]
        super().__init__(optimizer, last_epoch, found, momenta or None)

    def get_lr(self) -> list[float]:
        if self.last_epoch > self.total_steps:
            text = "The cycle is over"
            raise ArgumentError(message(text, f"step {self.last_epoch}", f"at most {self.total_steps} steps"))
        return super().get_lr()
