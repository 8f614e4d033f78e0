"""Schedules: pure functions that return a function of the step, for Python numbers and for tensors inside `jit`.

The step counts from 0. Given a Python number a schedule returns one; given a tensor it returns a float64 tensor.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

from plait.core.dtype import float64
from plait.core.errors import ArgumentError, check_function, message
from plait.tensor import functions
from plait.tensor.functions import where
from plait.tensor.tensor import Tensor

__all__ = [
    "Plateau", "PlateauState", "Schedule", "constant", "cosine", "cosine_restarts", "cyclic", "exponential", "linear",
    "multi_step", "one_cycle", "plateau", "polynomial", "sequential", "step", "warmup", "wsd",
]  # fmt: skip

Schedule = Callable[[Any], Any]


# arithmetic of numbers and of tensors


def _real(x: Any) -> Any:
    return x.to(float64) if isinstance(x, Tensor) else x


def _where(condition: Any, x: Any, y: Any) -> Any:
    return where(condition, x, y) if isinstance(condition, Tensor) else x if condition else y


def _least(x: Any, y: Any) -> Any:
    return functions.minimum(x, y) if isinstance(x, Tensor) else min(x, y)


def _floor(x: Any) -> Any:
    return functions.floor(x) if isinstance(x, Tensor) else math.floor(x)


def _cos(x: Any) -> Any:
    return functions.cos(x) if isinstance(x, Tensor) else math.cos(x)


def _half_cosine(start: Any, end: Any, part: Any) -> Any:
    """Fall from `start` to `end` along half a cosine."""
    return end + (start - end) * (1 + _cos(math.pi * part)) / 2


def _straight(start: Any, end: Any, part: Any) -> Any:
    return start + (end - start) * part


_SHAPES: dict[str, Callable[[Any, Any, Any], Any]] = {
    "linear": _straight,
    "cos": _half_cosine,
    "sqrt": lambda start, end, part: start + (end - start) * part**0.5,
}


def shape_of(name: str) -> Callable[[Any, Any, Any], Any]:
    """Return a function (start, end, part) by its name: "linear", "cos" or "sqrt".

    Raises:
        ArgumentError: another name.
    """
    if name not in _SHAPES:
        expected = " or ".join(f'"{key}"' for key in _SHAPES)
        raise ArgumentError(message("Unknown shape of a schedule", repr(name), expected))
    return _SHAPES[name]


def _check_positive(**numbers: float) -> None:
    for name, value in numbers.items():
        if not value > 0:
            raise ArgumentError(message(f"{name} of a schedule is out of range", value, "a number above 0"))


# the schedules


def constant(value: float) -> Schedule:
    """Return the same rate at every step.

    Example:
        >>> plait.optim.schedules.constant(0.1)(5)
        0.1
    """
    return lambda step: _real(step) * 0.0 + value if isinstance(step, Tensor) else value


def polynomial(start: float, end: float, steps: float, power: float = 1.0) -> Schedule:
    """Go from `start` to `end` along (1 - step / steps) ** power, and stay there.

    Args:
        start: the first rate.
        end: the last rate.
        steps: number of steps on the way.
        power: 1 is a line.

    Returns:
        A function of the step.

    Raises:
        ArgumentError: `steps` is not above 0.

    Example:
        >>> rate = plait.optim.schedules.polynomial(1.0, 0.0, 4, power=2.0)
        >>> [rate(k) for k in range(6)]
        [1.0, 0.5625, 0.25, 0.0625, 0.0, 0.0]
    """
    _check_positive(steps=steps)
    return lambda step: end + (start - end) * (1 - _least(_real(step), steps) / steps) ** power


def linear(start: float, end: float, steps: float) -> Schedule:
    """Go from `start` to `end` along a line, and stay there.

    Args:
        start: the first rate.
        end: the last rate.
        steps: number of steps on the way.

    Returns:
        A function of the step.

    Raises:
        ArgumentError: `steps` is not above 0.

    Example:
        >>> rate = plait.optim.schedules.linear(0.0, 1.0, 4)
        >>> [rate(k) for k in range(6)]
        [0.0, 0.25, 0.5, 0.75, 1.0, 1.0]
        >>> plait.jit(rate)(plait.tensor(3))
        tensor(0.7500, dtype=plait.float64)
    """
    _check_positive(steps=steps)
    return lambda step: _straight(start, end, _least(_real(step), steps) / steps)


def cosine(start: float, steps: float, end: float = 0.0) -> Schedule:
    """Fall from `start` to `end` along half a cosine, and stay there (Loshchilov and Hutter, 2017).

    Args:
        start: the first rate.
        steps: number of steps on the way.
        end: the last rate.

    Returns:
        A function of the step.

    Raises:
        ArgumentError: `steps` is not above 0.

    Example:
        >>> rate = plait.optim.schedules.cosine(1.0, 10)
        >>> [round(rate(k), 3) for k in (0, 5, 10, 20)]
        [1.0, 0.5, 0.0, 0.0]
    """
    _check_positive(steps=steps)
    return lambda step: _half_cosine(start, end, _least(_real(step), steps) / steps)


def exponential(start: float, gamma: float, steps: float = 1.0) -> Schedule:
    """Multiply by `gamma` once in `steps` steps, a little at each step.

    Args:
        start: the first rate.
        gamma: factor.
        steps: number of steps in which the rate changes by that factor.

    Returns:
        A function of the step.

    Raises:
        ArgumentError: `steps` is not above 0.

    Example:
        >>> plait.optim.schedules.exponential(1.0, 0.5)(3)
        0.125
    """
    _check_positive(steps=steps)
    return lambda step: start * gamma ** (_real(step) / steps)


def step(start: float, step_size: int, gamma: float = 0.1) -> Schedule:
    """Multiply by `gamma` after every `step_size` steps.

    Args:
        start: the first rate.
        step_size: number of steps with the same rate.
        gamma: factor.

    Returns:
        A function of the step.

    Raises:
        ArgumentError: `step_size` is not above 0.

    Example:
        >>> rate = plait.optim.schedules.step(1.0, 2, gamma=0.5)
        >>> [rate(k) for k in range(5)]
        [1.0, 1.0, 0.5, 0.5, 0.25]
    """
    _check_positive(step_size=step_size)
    return lambda step: start * gamma ** _floor(_real(step) / step_size)


def multi_step(start: float, milestones: Iterable[int], gamma: float = 0.1) -> Schedule:
    """Multiply by `gamma` at each of the milestones.

    Args:
        start: the first rate.
        milestones: steps; one that comes twice counts twice.
        gamma: factor.

    Returns:
        A function of the step.

    Example:
        >>> rate = plait.optim.schedules.multi_step(1.0, [2, 3], gamma=0.5)
        >>> [rate(k) for k in range(5)]
        [1.0, 1.0, 0.5, 0.25, 0.25]
    """
    found = sorted(milestones)

    def rate(step: Any) -> Any:
        if isinstance(step, Tensor):
            return start * gamma ** sum(((step >= m).to(float64) for m in found), _real(step) * 0.0)
        return start * gamma ** bisect_right(found, step)

    return rate


def warmup(schedule: Schedule | float, steps: int, start: float = 0.0) -> Schedule:
    """Rise along a line to where a schedule begins, then follow it.

    Args:
        schedule: a function of the step, which counts from the end of the warm-up; or the rate that stays.
        steps: number of steps before it.
        start: the first rate.

    Returns:
        A function of the step.

    Example:
        >>> rate = plait.optim.schedules.warmup(plait.optim.schedules.cosine(1.0, 10), 2)
        >>> [rate(k) for k in (0, 1, 2, 12)]
        [0.0, 0.5, 1.0, 0.0]
    """
    then = schedule if callable(schedule) else constant(schedule)
    return sequential([linear(start, then(0), steps), then], [steps]) if steps else then


def sequential(schedules: Sequence[Schedule], milestones: Sequence[int]) -> Schedule:
    """Follow several schedules, one after another; each counts its own steps from 0.

    Args:
        schedules: functions of the step.
        milestones: steps at which the second, third, … begins.

    Returns:
        A function of the step.

    Raises:
        ArgumentError: there is not one milestone between each two schedules, or they do not rise.
        ArgumentTypeError: a schedule is no function.

    Example:
        >>> s = plait.optim.schedules
        >>> rate = s.sequential([s.constant(1.0), s.linear(0.5, 0.0, 2)], [3])
        >>> [rate(k) for k in range(6)]
        [1.0, 1.0, 1.0, 0.5, 0.25, 0.0]
    """
    for schedule in schedules:
        check_function(schedule, "sequential")
    starts = [0, *milestones]
    if len(starts) != len(schedules) or any(b < a for a, b in pairwise(starts)):
        received = f"{len(schedules)} schedules, milestones {list(milestones)}"
        text = "sequential needs the steps at which all schedules but the first begin"
        raise ArgumentError(message(text, received, "one milestone less than schedules, in rising order"))

    def rate(step: Any) -> Any:
        if not isinstance(step, Tensor):
            k = bisect_right(starts, step) - 1 if step >= 0 else 0
            return schedules[k](step - starts[k])
        result = schedules[0](step)
        for schedule, first in zip(schedules[1:], starts[1:], strict=True):
            result = where(step >= first, schedule(functions.maximum(step - first, 0)), result)
        return result

    return rate


def wsd(
    peak: float, warmup_steps: int, stable_steps: int, decay_steps: int, end: float = 0.0, shape: str = "linear",
    start: float = 0.0,
) -> Schedule:  # fmt: skip
    """Warm up, stay, decay (Hu et al., 2024): training can go on from any step before the decay.

    Args:
        peak: the rate that stays.
        warmup_steps: number of steps from `start` to `peak`.
        stable_steps: number of steps at `peak`.
        decay_steps: number of steps from `peak` to `end`.
        end: the last rate.
        shape: of the decay: "linear", "cos" or "sqrt".
        start: the first rate.

    Returns:
        A function of the step.

    Raises:
        ArgumentError: another shape, or no step of decay.

    Example:
        >>> rate = plait.optim.schedules.wsd(1.0, 2, 4, 2)
        >>> [rate(k) for k in range(9)]
        [0.0, 0.5, 1.0, 1.0, 1.0, 1.0, 1.0, 0.5, 0.0]
    """
    _check_positive(decay_steps=decay_steps)
    along = shape_of(shape)

    def decay(step: Any) -> Any:
        return along(peak, end, _least(_real(step), decay_steps) / decay_steps)

    return warmup(sequential([constant(peak), decay], [stable_steps]), warmup_steps, start)


def one_cycle(
    peak: float, total_steps: int, pct_start: float = 0.3, anneal_strategy: str = "cos", div_factor: float = 25.0,
    final_div_factor: float = 1e4, three_phase: bool = False,
) -> Schedule:  # fmt: skip
    """Rise to a large rate and fall far below the first one (Smith and Topin, 2019).

    Args:
        peak: the largest rate.
        total_steps: number of steps.
        pct_start: part of the steps in which the rate rises.
        anneal_strategy: "cos" or "linear".
        div_factor: the first rate is `peak / div_factor`.
        final_div_factor: the last rate is the first one divided by this.
        three_phase: whether the rate falls to the first one as fast as it rose, and then to the last one.

    Returns:
        A function of the step.

    Raises:
        ArgumentError: an argument is out of range.

    Example:
        >>> rate = plait.optim.schedules.one_cycle(1.0, 10, pct_start=0.5, anneal_strategy="linear")
        >>> [round(rate(k), 3) for k in (0, 2, 4, 9)]
        [0.04, 0.52, 1.0, 0.0]
    """
    first = peak / div_factor
    values = (first, peak, first, first / final_div_factor) if three_phase else (first, peak, first / final_div_factor)
    return cycle(values, total_steps, pct_start, anneal_strategy)


def cycle(values: Sequence[float], total_steps: int, pct_start: float, anneal_strategy: str) -> Schedule:
    """Go from each value to the next: two or three phases, of which the first takes `pct_start` of the steps."""
    if total_steps < 1 or not 0 <= pct_start <= 1:
        received = f"total_steps={total_steps}, pct_start={pct_start}"
        raise ArgumentError(message("one_cycle does not fit", received, "at least one step, a part between 0 and 1"))
    along = shape_of(anneal_strategy)
    turns = [pct_start * total_steps * k - k for k in range(1, len(values) - 1)]
    ends = [0.0, *turns, total_steps - 1.0]

    def phase(k: int, step: Any) -> Any:
        return along(values[k], values[k + 1], (step - ends[k]) / ((ends[k + 1] - ends[k]) or 1.0))

    def rate(step: Any) -> Any:
        step = _real(step)
        result = phase(len(turns), step)
        for k in reversed(range(len(turns))):
            result = _where(step <= ends[k + 1], phase(k, step), result)
        return result

    return rate


def cyclic(
    base: float, peak: float, step_size_up: float = 2000, step_size_down: float | None = None,
    mode: str = "triangular", gamma: float = 1.0,
) -> Schedule:  # fmt: skip
    """Rise and fall again and again (Smith, 2017).

    Args:
        base: the smallest rate.
        peak: the largest rate of the first cycle.
        step_size_up: number of steps of a rise.
        step_size_down: number of steps of a fall, by default the same.
        mode: "triangular"; "triangular2", where each cycle is half as high as the one before; or "exp_range", where
            the height falls by `gamma` at each step.
        gamma: see `mode`.

    Returns:
        A function of the step.

    Raises:
        ArgumentError: another mode, or steps that are not above 0.

    Example:
        >>> rate = plait.optim.schedules.cyclic(0.0, 1.0, 2, mode="triangular2")
        >>> [rate(k) for k in range(9)]
        [0.0, 0.5, 1.0, 0.5, 0.0, 0.25, 0.5, 0.25, 0.0]
    """
    heights: dict[str, Callable[[Any, Any], Any]] = {
        "triangular": lambda cycle, step: 1.0,
        "triangular2": lambda cycle, step: 0.5 ** (cycle - 1),
        "exp_range": lambda cycle, step: gamma**step,
    }
    if mode not in heights:
        raise ArgumentError(message("Unknown mode of a cyclic schedule", repr(mode), " or ".join(heights)))
    return triangles(base, peak, step_size_up, step_size_down, heights[mode])


def triangles(base: float, peak: float, up: float, down: float | None, height: Callable[[Any, Any], Any]) -> Schedule:
    """Rise and fall; `height(cycle, step)` is a factor of the height, where the cycles count from 1."""
    down = up if down is None else down
    _check_positive(step_size_up=up, step_size_down=down)
    turn = up / (up + down)

    def rate(step: Any) -> Any:
        step = _real(step)
        cycle = _floor(1 + step / (up + down))
        part = 1.0 + step / (up + down) - cycle
        return base + (peak - base) * _where(part <= turn, part / turn, (part - 1) / (turn - 1)) * height(cycle, step)

    return rate


def cosine_restarts(start: float, t_0: int, t_mult: int = 1, end: float = 0.0) -> Schedule:
    """Fall along half a cosine and begin anew: SGDR (Loshchilov and Hutter, 2017).

    Args:
        start: the first rate, and that after each restart.
        t_0: number of steps to the first restart.
        t_mult: factor by which that number grows at each restart.
        end: the rate just before a restart.

    Returns:
        A function of the step.

    Raises:
        ArgumentError: a number of steps is not above 0.

    Example:
        >>> rate = plait.optim.schedules.cosine_restarts(1.0, 2, t_mult=2)
        >>> [round(rate(k), 3) for k in range(7)]
        [1.0, 0.5, 1.0, 0.854, 0.5, 0.146, 1.0]
    """
    _check_positive(t_0=t_0, t_mult=t_mult)

    def rate(step: Any) -> Any:
        step = _real(step)
        if t_mult == 1:
            return _half_cosine(start, end, step / t_0 - _floor(step / t_0))
        # cycle n begins at t_0 * (t_mult ** n - 1) / (t_mult - 1)
        ratio = step / t_0 * (t_mult - 1) + 1
        log = functions.log2(ratio) if isinstance(ratio, Tensor) else math.log2(ratio)
        n = _floor(log / math.log2(t_mult) + 1e-9)
        length = t_0 * t_mult**n
        return _half_cosine(start, end, (step - (length - t_0) / (t_mult - 1)) / length)

    return rate


# a rate that depends on what was reached


class PlateauState(NamedTuple):
    """What `plateau` remembers: the factor of the rate now, the best value, and how long ago it was."""

    factor: Any = 1.0
    best: Any = math.inf
    num_bad_epochs: Any = 0
    cooldown_counter: Any = 0


class Plateau(NamedTuple):
    """A state machine: `init()` returns the first state, `update(metric, state)` the next."""

    init: Callable[[], PlateauState]
    update: Callable[[Any, PlateauState], PlateauState]


def plateau(
    mode: str = "min", factor: float = 0.1, patience: int = 10, threshold: float = 1e-4, threshold_mode: str = "rel",
    cooldown: int = 0,
) -> Plateau:  # fmt: skip
    """Reduce the rate where a metric has not improved for a while.

    Args:
        mode: whether the metric should fall ("min") or rise ("max").
        factor: by which the rate is multiplied, below 1.
        patience: number of updates without improvement that are waited for.
        threshold: the smallest improvement that counts.
        threshold_mode: whether it is relative to the best value ("rel"), or not ("abs").
        cooldown: number of updates after a reduction that do not count.

    Returns:
        Pure functions `init` and `update`; the rate is the first one times `state.factor`.

    Raises:
        ArgumentError: an argument is out of range.

    Example:
        >>> machine = plait.optim.schedules.plateau(patience=1, factor=0.5)
        >>> state = machine.init()
        >>> for loss in (3.0, 2.0, 2.0, 2.0):
        ...     state = machine.update(loss, state)
        >>> state.factor
        0.5
    """
    if not factor < 1:
        raise ArgumentError(message("factor of a plateau is out of range", factor, "a number below 1"))
    sign = {"min": 1.0, "max": -1.0}.get(mode)
    if sign is None or threshold_mode not in ("rel", "abs"):
        received = f"mode={mode!r}, threshold_mode={threshold_mode!r}"
        raise ArgumentError(message("Unknown mode of a plateau", received, '"min" or "max", "rel" or "abs"'))

    def init() -> PlateauState:
        return PlateauState(best=sign * math.inf)

    def update(metric: Any, state: PlateauState) -> PlateauState:
        limit = state.best * (1 - sign * threshold) if threshold_mode == "rel" else state.best - sign * threshold
        is_better = metric < limit if mode == "min" else metric > limit
        cools = state.cooldown_counter > 0
        bad = _where(cools, 0, _where(is_better, 0, state.num_bad_epochs + 1))
        is_due = bad > patience
        waiting = _where(cools, state.cooldown_counter - 1, state.cooldown_counter)
        return PlateauState(
            _where(is_due, state.factor * factor, state.factor), _where(is_better, metric, state.best),
            _where(is_due, 0, bad), _where(is_due, cooldown, waiting),
        )  # fmt: skip

    return Plateau(init, update)
