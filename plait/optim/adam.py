"""Adam, with weight decay in the gradient (Adam) or beside it (AdamW)."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

from plait.optim.group import check_option
from plait.optim.optimizer import Functional, Optimizer, State, functional
from plait.tensor.functions import maximum, sqrt
from plait.tensor.tensor import Tensor


def _slots(options: Mapping[str, Any]) -> tuple[str, ...]:
    return ("exp_avg", "exp_avg_sq", *(("max_exp_avg_sq",) if options["amsgrad"] else ()))


def _rule(
    param: Tensor, grad: Tensor, state: State, step: Tensor, options: Mapping[str, Any], is_decoupled: bool
) -> tuple[Tensor, State]:  # fmt: skip
    (beta1, beta2), decay, dtype = options["betas"], options["weight_decay"], param.dtype
    rate = options["lr"]
    grad = -grad if options["maximize"] else grad
    if decay and is_decoupled:
        shrink = 1 - rate * decay
        param = param * (shrink.to(dtype) if isinstance(shrink, Tensor) else shrink)
    elif decay:
        grad = grad + decay * param
    mean = state["exp_avg"] + (1 - beta1) * (grad - state["exp_avg"])
    square = beta2 * state["exp_avg_sq"] + (1 - beta2) * (grad * grad)
    new_state = {"exp_avg": mean, "exp_avg_sq": square}
    if options["amsgrad"]:
        square = new_state["max_exp_avg_sq"] = maximum(state["max_exp_avg_sq"], square)
    # the corrections of the bias towards the initial zeros, scalars in float64
    size = (rate / (1 - beta1**step)).to(dtype)
    scale = sqrt(1 - beta2**step).to(dtype)
    return param - size * (mean / (sqrt(square) / scale + options["eps"])), new_state


def _options(
    decay: float, lr: Any = 1e-3, betas: tuple[float, float] = (0.9, 0.999), eps: float = 1e-8,
    weight_decay: float | None = None, amsgrad: bool = False, *, maximize: bool = False,
) -> dict[str, Any]:  # fmt: skip
    options = {
        "lr": lr, "betas": tuple(betas), "eps": eps, "weight_decay": decay if weight_decay is None else weight_decay,
        "amsgrad": amsgrad, "maximize": maximize,
    }  # fmt: skip
    for name, value in options.items():
        check_option(name, value)
    return options


class Adam(Optimizer):
    """Adam (Kingma and Ba, 2015): steps scaled by running moments of the gradient.

    Args:
        params: parameters, or dicts with "params" and options of their own.
        lr: the learning rate, a number or a rank-0 tensor.
        betas: how much of the running mean, and of the running square, is kept at each step.
        eps: added to the root of the running square.
        weight_decay: factor of the parameters that is added to their gradients.
        amsgrad: whether the largest running square so far is used (Reddi et al., 2018).
        maximize: whether to ascend.

    Raises:
        ArgumentError: an option is out of range.

    Example:
        >>> w = plait.Parameter([1.0])
        >>> optimizer = plait.optim.Adam([w], lr=0.5)
        >>> (w * w).sum().backward()
        >>> optimizer.step()
        >>> w
        Parameter([0.5000], requires_grad=True)
    """

    slots = staticmethod(_slots)
    rule = staticmethod(partial(_rule, is_decoupled=False))

    def __init__(
        self, params: Any, lr: Any = 1e-3, betas: tuple[float, float] = (0.9, 0.999), eps: float = 1e-8,
        weight_decay: float = 0.0, amsgrad: bool = False, *, maximize: bool = False,
    ) -> None:  # fmt: skip
        super().__init__(params, _options(0.0, lr, betas, eps, weight_decay, amsgrad, maximize=maximize))

    @staticmethod
    def functional(*args: Any, **kwargs: Any) -> Functional:
        """Return the rule as pure functions `init` and `update`; the arguments are the options of the class."""
        return functional(Adam, _options(0.0, *args, **kwargs))


class AdamW(Optimizer):
    """Adam with weight decay apart from the gradient (Loshchilov and Hutter, 2019); the arguments are those of `Adam`.

    Example:
        >>> w = plait.Parameter([1.0])
        >>> optimizer = plait.optim.AdamW([w], lr=0.5, weight_decay=0.0)
        >>> (w * w).sum().backward()
        >>> optimizer.step()
        >>> w
        Parameter([0.5000], requires_grad=True)
    """

    slots = staticmethod(_slots)
    rule = staticmethod(partial(_rule, is_decoupled=True))

    def __init__(
        self, params: Any, lr: Any = 1e-3, betas: tuple[float, float] = (0.9, 0.999), eps: float = 1e-8,
        weight_decay: float = 1e-2, amsgrad: bool = False, *, maximize: bool = False,
    ) -> None:  # fmt: skip
        super().__init__(params, _options(1e-2, lr, betas, eps, weight_decay, amsgrad, maximize=maximize))

    @staticmethod
    def functional(*args: Any, **kwargs: Any) -> Functional:
        """Return the rule as pure functions `init` and `update`; the arguments are the options of the class."""
        return functional(AdamW, _options(1e-2, *args, **kwargs))
