"""L-BFGS: steps along an estimate of the inverse Hessian, from the last changes of parameters and gradients."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

from plait.core.errors import ArgumentError, ArgumentTypeError, message
from plait.optim.optimizer import Optimizer
from plait.tensor.autograd import enable_grad, no_grad
from plait.tensor.converting import view_as_complex, view_as_real
from plait.tensor.creation import zeros_like
from plait.tensor.stacking import concatenate
from plait.tensor.tensor import Tensor

_DECREASE, _CURVATURE = 1e-4, 0.9  # of the strong Wolfe conditions
_LEAST_CURVATURE = 1e-10


class _Point(NamedTuple):
    """A point on the line that is searched: its position, the loss, the gradient, and its slope along the line."""

    t: float
    loss: float
    gradient: Tensor
    slope: float


class LBFGS(Optimizer):
    """L-BFGS (Liu and Nocedal, 1989), for smooth losses of few parameters or of the whole data set.

    `step` needs a closure that forgets the gradients, computes the loss, calls `backward` and returns the loss. It
    looks at values, so `step` does not run inside `jit`; the closure may be a jitted function.

    Args:
        params: parameters; there is one group.
        lr: the step that is tried first.
        max_iter: the most iterations of one `step`.
        max_eval: the most evaluations of the closure, by default 1.25 * max_iter.
        tolerance_grad: the largest component of the gradient at which it ends.
        tolerance_change: the smallest change of loss or parameters at which it goes on.
        history_size: number of changes that are remembered.
        line_search_fn: None for steps of the size `lr`, or "strong_wolfe".

    Raises:
        ArgumentError: there is more than one group, or an option is out of range.

    Example:
        >>> w = plait.Parameter([3.0, 1.0])
        >>> optimizer = plait.optim.LBFGS([w], line_search_fn="strong_wolfe")
        >>> def closure():
        ...     optimizer.zero_grad()
        ...     loss = ((w - plait.tensor([1.0, 2.0])) ** 2 * plait.tensor([1.0, 10.0])).sum()
        ...     loss.backward()
        ...     return loss
        >>> _ = optimizer.step(closure)
        >>> plait.round(w.detach(), decimals=3)
        tensor([1., 2.])
    """

    def __init__(
        self, params: Any, lr: Any = 1, max_iter: int = 20, max_eval: int | None = None, tolerance_grad: float = 1e-7,
        tolerance_change: float = 1e-9, history_size: int = 100, line_search_fn: str | None = None,
    ) -> None:  # fmt: skip
        if line_search_fn not in (None, "strong_wolfe"):
            raise ArgumentError(message("Unknown line search", repr(line_search_fn), '"strong_wolfe" or None'))
        options = {
            "lr": lr, "max_iter": max_iter, "max_eval": max_iter * 5 // 4 if max_eval is None else max_eval,
            "tolerance_grad": tolerance_grad, "tolerance_change": tolerance_change, "history_size": history_size,
            "line_search_fn": line_search_fn,
        }  # fmt: skip
        super().__init__(params, options)
        if len(self.param_groups) != 1:
            received = f"{len(self.param_groups)} groups"
            raise ArgumentError(message("LBFGS has one group of parameters", received, "one", "pass one list"))

    @no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Minimize for up to `max_iter` iterations.

        Args:
            closure: forgets the gradients, computes the loss, calls `backward` and returns the loss.

        Returns:
            The loss before.

        Raises:
            ArgumentTypeError: there is no closure.
        """
        if closure is None:
            fix = "pass a function that computes the loss, calls backward() and returns the loss"
            raise ArgumentTypeError(message("LBFGS evaluates the loss several times", "no closure", "a closure", fix))
        group, evaluate = self.param_groups[0], enable_grad()(closure)
        state = self.state[group["params"][0]]
        for name in ("func_evals", "n_iter"):
            state.setdefault(name, 0)
        first = evaluate()
        loss, gradient, evaluations = float(first), self._gradient(), 1
        state["func_evals"] += 1
        for iteration in range(group["max_iter"]):
            if _largest(gradient) <= group["tolerance_grad"] or evaluations >= group["max_eval"]:
                break
            state["n_iter"] += 1
            direction = self._direction(state, gradient)
            t = min(1.0, 1.0 / float(abs(gradient).sum())) if state["n_iter"] == 1 else 1.0
            start = _Point(0.0, loss, gradient, _dot(gradient, direction))
            state.update(d=direction, t=t * float(group["lr"]), prev_flat_grad=gradient, prev_loss=loss)
            if start.slope > -group["tolerance_change"]:
                break
            is_last = iteration == group["max_iter"] - 1
            end, used = self._advance(evaluate, start, state, group["max_eval"] - evaluations, is_last)
            loss, gradient, evaluations = end.loss, end.gradient, evaluations + used
            state["t"] = end.t
            state["func_evals"] += used
            change = _largest(direction) * abs(end.t)
            if change <= group["tolerance_change"] or abs(loss - start.loss) < group["tolerance_change"]:
                break
        return first

    def _advance(
        self, evaluate: Callable[[], Any], start: _Point, state: dict[str, Any], most: int, is_last: bool
    ) -> tuple[_Point, int]:
        """Move along the direction; returns where to, and the number of evaluations."""
        origin, direction = self._position(), state["d"]

        def at(t: float) -> _Point:
            self._move(origin + t * direction)
            loss, gradient = float(evaluate()), self._gradient()
            return _Point(t, loss, gradient, _dot(gradient, direction))

        group = self.param_groups[0]
        if group["line_search_fn"] is not None:
            end, used = _search(at, start, state["t"], group["tolerance_change"] / _largest(direction), most)
            self._move(origin + end.t * direction)
            return end, used
        if is_last:  # the loss there is not needed any more
            self._move(origin + state["t"] * direction)
            return start._replace(t=state["t"], loss=math.inf), 0
        return at(state["t"]), 1

    def _direction(self, state: dict[str, Any], gradient: Tensor) -> Tensor:
        """Return minus the estimate of the inverse Hessian, times the gradient (the two-loop recursion)."""
        if state["n_iter"] == 1:
            state.update(old_dirs=[], old_stps=[], ro=[], H_diag=1.0)
            return -gradient
        change, step = gradient - state["prev_flat_grad"], state["d"] * state["t"]
        curvature = _dot(change, step)
        if curvature > _LEAST_CURVATURE:
            for name, value in (("old_dirs", change), ("old_stps", step), ("ro", 1 / curvature)):
                state[name] = [*state[name], value][-self.param_groups[0]["history_size"] :]
            state["H_diag"] = curvature / _dot(change, change)
        remembered = list(zip(state["old_dirs"], state["old_stps"], state["ro"], strict=True))
        result, factors = -gradient, []
        for change, step, inverse in reversed(remembered):
            factors.append(_dot(step, result) * float(inverse))  # a number: all iterations run the same program
            result = result - factors[-1] * change
        result = result * float(state["H_diag"])
        for (change, step, inverse), factor in zip(remembered, reversed(factors), strict=True):
            result = result + step * (factor - _dot(change, result) * float(inverse))
        return result

    # all parameters as one vector

    def _position(self) -> Tensor:
        return concatenate([_flat(p.detach()) for p in self._parameters()])

    def _gradient(self) -> Tensor:
        return concatenate([_flat(zeros_like(p) if p.grad is None else p.grad) for p in self._parameters()])

    def _move(self, position: Tensor) -> None:
        low = 0
        for p in self._parameters():
            count = p.size * (2 if p.dtype.is_complex else 1)
            part = position[low : low + count]
            p.copy_(view_as_complex(part.reshape(*p.shape, 2)) if p.dtype.is_complex else part.reshape(p.shape))
            low += count


def _flat(x: Tensor) -> Tensor:
    return (view_as_real(x) if x.dtype.is_complex else x).reshape(-1)


def _dot(x: Tensor, y: Tensor) -> float:
    return float((x * y).sum())


def _largest(x: Tensor) -> float:
    return float(abs(x).max())


# the line search: Nocedal and Wright, Numerical Optimization, 2nd edition, algorithms 3.5 and 3.6


def _minimum_between(a: _Point, b: _Point, low: float, high: float) -> float:
    """Return where the cubic through two points, with their slopes, has its minimum, kept between `low` and `high`."""
    a, b = (a, b) if a.t <= b.t else (b, a)
    middle = a.slope + b.slope - 3 * (a.loss - b.loss) / (a.t - b.t)
    square = middle * middle - a.slope * b.slope
    if not square >= 0:
        return (low + high) / 2
    root = math.sqrt(square)
    found = b.t - (b.t - a.t) * ((b.slope + root - middle) / (b.slope - a.slope + 2 * root))
    return min(max(found, low), high)


def _is_too_high(point: _Point, start: _Point) -> bool:
    return point.loss > start.loss + _DECREASE * point.t * start.slope


def _is_flat(point: _Point, start: _Point) -> bool:
    return abs(point.slope) <= -_CURVATURE * start.slope


def _search(at: Callable[[float], _Point], start: _Point, t: float, tolerance: float, most: int) -> tuple[_Point, int]:
    """Return a point that meets the strong Wolfe conditions, or the best one found, and the number of evaluations."""
    before, point, used = start, at(t), 1
    while used <= most:
        if _is_too_high(point, start) or (used > 2 and point.loss >= before.loss):
            return _zoom(at, start, before, point, tolerance, used, most)
        if _is_flat(point, start):
            return point, used
        if point.slope >= 0:
            return _zoom(at, start, before, point, tolerance, used, most)
        t = _minimum_between(before, point, point.t + 0.01 * (point.t - before.t), point.t * 10)
        before, point, used = point, at(t), used + 1
    return (start if start.loss <= point.loss else point), used


def _zoom(
    at: Callable[[float], _Point], start: _Point, a: _Point, b: _Point, tolerance: float, used: int, most: int
) -> tuple[_Point, int]:
    """Narrow the interval between two points, one of which is the lowest so far."""
    low, high = (a, b) if a.loss <= b.loss else (b, a)
    is_slow = False
    while used <= most and abs(high.t - low.t) >= tolerance:
        left, right = sorted((low.t, high.t))
        t = _minimum_between(low, high, left, right)
        margin = 0.1 * (right - left)
        if min(right - t, t - left) < margin:
            if is_slow or not left < t < right:
                t = right - margin if abs(t - right) < abs(t - left) else left + margin
                is_slow = False
            else:
                is_slow = True
        else:
            is_slow = False
        point, used = at(t), used + 1
        if _is_too_high(point, start) or point.loss >= low.loss:
            low, high = (low, point) if low.loss <= point.loss else (point, low)
            continue
        if _is_flat(point, start):
            return point, used
        low, high = point, (low if point.slope * (high.t - low.t) >= 0 else high)
    return low, used
