"""Stochastic gradient descent."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from plait.core.errors import ArgumentError, message
from plait.optim.group import check_option
from plait.optim.optimizer import Functional, Optimizer, State, functional
from plait.tensor.functions import where
from plait.tensor.tensor import Tensor


def _slots(options: Mapping[str, Any]) -> tuple[str, ...]:
    return ("momentum_buffer",) if options["momentum"] else ()


def _rule(
    param: Tensor, grad: Tensor, state: State, step: Tensor, options: Mapping[str, Any]
) -> tuple[Tensor, State]:  # fmt: skip
    grad = -grad if options["maximize"] else grad
    if options["weight_decay"]:
        grad = grad + options["weight_decay"] * param
    if options["momentum"]:
        momentum, dampening = options["momentum"], options["dampening"]
        buffer = momentum * state["momentum_buffer"] + (1 - dampening) * grad
        if dampening:  # the first gradient is taken whole
            buffer = where(step == 1, grad, buffer)
        state = {"momentum_buffer": buffer}
        grad = grad + momentum * buffer if options["nesterov"] else buffer
    return param - _as(options["lr"], param) * grad, state


def _as(value: Any, like: Tensor) -> Any:
    return value.to(like.dtype) if isinstance(value, Tensor) else value


def _options(
    lr: Any = 1e-3, momentum: float = 0.0, dampening: float = 0.0, weight_decay: float = 0.0, nesterov: bool = False,
    *, maximize: bool = False,
) -> dict[str, Any]:  # fmt: skip
    options = {
        "lr": lr, "momentum": momentum, "dampening": dampening, "weight_decay": weight_decay, "nesterov": nesterov,
        "maximize": maximize,
    }  # fmt: skip
    for name, value in options.items():
        check_option(name, value)
    if nesterov and (not momentum or dampening):
        received = f"momentum={momentum}, dampening={dampening}"
        raise ArgumentError(message("Nesterov momentum needs a momentum and no dampening", received))
    return options


class SGD(Optimizer):
    """Stochastic gradient descent, with momentum.

    Args:
        params: parameters, or dicts with "params" and options of their own.
        lr: the learning rate, a number or a rank-0 tensor.
        momentum: how much of the last update is kept.
        dampening: how much less than whole a gradient enters the momentum.
        weight_decay: factor of the parameters that is added to their gradients.
        nesterov: whether the gradient is looked up ahead (Sutskever et al., 2013).
        maximize: whether to ascend.

    Raises:
        ArgumentError: an option is out of range.

    Example:
        >>> w = plait.Parameter([1.0])
        >>> optimizer = plait.optim.SGD([w], lr=0.5)
        >>> (w * w).sum().backward()
        >>> optimizer.step()
        >>> w
        Parameter([0.], requires_grad=True)
    """

    slots = staticmethod(_slots)
    rule = staticmethod(_rule)

    def __init__(
        self, params: Any, lr: Any = 1e-3, momentum: float = 0.0, dampening: float = 0.0, weight_decay: float = 0.0,
        nesterov: bool = False, *, maximize: bool = False,
    ) -> None:  # fmt: skip
        super().__init__(params, _options(lr, momentum, dampening, weight_decay, nesterov, maximize=maximize))

    @staticmethod
    def functional(*args: Any, **kwargs: Any) -> Functional:
        """Return the rule as pure functions `init` and `update`; the arguments are the options of the class."""
        return functional(SGD, _options(*args, **kwargs))
