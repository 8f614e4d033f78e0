"""Stochastic gradient descent, with momentum, averaged, by layer, or by signs."""

from __future__ import annotations

from typing import Any

import numpy as np

from plait.core.errors import ArgumentError, message
from plait.optim.rule import Options, RuleOptimizer, State, blend, decayed, is_used, norm, scalar, shrunk, zeros
from plait.tensor.creation import full
from plait.tensor.functions import clip, maximum, sign, where
from plait.tensor.tensor import Tensor


class SGD(RuleOptimizer):
    """Stochastic gradient descent, with momentum.

    Args:
        params: parameters, or dicts with "params" and options of their own.
        lr: the learning rate, a number or a rank-0 tensor.
        momentum: how much of the last update is kept.
        dampening: how much less than whole a gradient enters the momentum.
        weight_decay: factor of the parameters that is added to their gradients.
        nesterov: whether the gradient is looked up ahead (Sutskever et al., 2013).

    Further options, such as `maximize`, are those of `RuleOptimizer`.

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

    lr: Any = 1e-3
    momentum: float = 0.0
    dampening: float = 0.0
    weight_decay: float = 0.0
    nesterov: bool = False

    @staticmethod
    def check(options: Options) -> None:
        if options.nesterov and (not is_used(options.momentum) or options.dampening):
            received = f"momentum={options.momentum}, dampening={options.dampening}"
            raise ArgumentError(message("Nesterov momentum needs a momentum and no dampening", received))

    @staticmethod
    def initial(param: Tensor, options: Options) -> State:
        return zeros(param, "momentum_buffer") if is_used(options.momentum) else {}

    @staticmethod
    def rule(param: Tensor, grad: Tensor, state: State, step: Tensor, options: Options) -> tuple[Tensor, State]:
        param, grad = decayed(param, grad, options)
        if is_used(options.momentum):
            momentum = scalar(options.momentum, grad)
            buffer = momentum * state["momentum_buffer"] + (1 - options.dampening) * grad
            if options.dampening:  # the first gradient is taken whole
                buffer = where(step == 1, grad, buffer)
            state = {"momentum_buffer": buffer}
            grad = grad + momentum * buffer if options.nesterov else buffer
        return param - scalar(options.lr, param) * grad, state


class ASGD(RuleOptimizer):
    """Averaged stochastic gradient descent (Polyak and Juditsky, 1992): `state[param]["ax"]` is the average.

    Args:
        params: parameters, or dicts with "params" and options of their own.
        lr: the learning rate at first, a number or a rank-0 tensor.
        lambd: factor of the parameters by which they decay, and the rate falls.
        alpha: power by which the rate falls.
        t0: the step at which averaging begins.
        weight_decay: factor of the parameters that is added to their gradients.

    Example:
        >>> w = plait.Parameter([1.0])
        >>> optimizer = plait.optim.ASGD([w], lr=0.25, lambd=0.0)
        >>> (w * w).sum().backward()
        >>> optimizer.step()
        >>> optimizer.state[w]["ax"]
        tensor([0.5000])
    """

    lr: Any = 1e-2
    lambd: float = 1e-4
    alpha: float = 0.75
    t0: float = 1e6
    weight_decay: float = 0.0

    @staticmethod
    def initial(param: Tensor, options: Options) -> State:
        return {"eta": Tensor(np.zeros((), np.float32)), "mu": Tensor(np.ones((), np.float32)), **zeros(param, "ax")}

    @staticmethod
    def rule(param: Tensor, grad: Tensor, state: State, step: Tensor, options: Options) -> tuple[Tensor, State]:
        param, grad = decayed(param, grad, options)
        rate = scalar(where(step == 1, options.lr, state["eta"].to(step.dtype)), param)
        param = param * (1 - options.lambd * rate) - rate * grad
        average = state["ax"] + scalar(state["mu"], param) * (param - state["ax"])
        eta = options.lr / (1 + options.lambd * options.lr * step) ** options.alpha
        mu = 1 / maximum(step - options.t0, 1.0)
        return param, {"eta": eta.to(state["eta"].dtype), "mu": mu.to(state["mu"].dtype), "ax": average}


class Rprop(RuleOptimizer):
    """Resilient propagation (Riedmiller and Braun, 1993): steps by the sign of the gradient of a whole data set.

    Args:
        params: parameters, or dicts with "params" and options of their own.
        lr: the size of the first steps, a number or a rank-0 tensor.
        etas: factors of the size of a step after the sign has changed, and after it has not.
        step_sizes: the smallest and the largest size of a step.

    Raises:
        ArgumentError: `etas` are not below and above 1.

    Example:
        >>> w = plait.Parameter([1.0])
        >>> optimizer = plait.optim.Rprop([w], lr=0.5)
        >>> (w * w).sum().backward()
        >>> optimizer.step()
        >>> w
        Parameter([0.5000], requires_grad=True)
    """

    lr: Any = 1e-2
    etas: tuple[float, float] = (0.5, 1.2)
    step_sizes: tuple[float, float] = (1e-6, 50.0)

    @staticmethod
    def check(options: Options) -> None:
        if not 0 < options.etas[0] < 1 < options.etas[1]:
            raise ArgumentError(message("etas of Rprop are a number below 1 and one above", options.etas, "(0.5, 1.2)"))

    @staticmethod
    def initial(param: Tensor, options: Options) -> State:
        return zeros(param, "prev", "step_size")

    @staticmethod
    def rule(param: Tensor, grad: Tensor, state: State, step: Tensor, options: Options) -> tuple[Tensor, State]:
        size = where(step == 1, full(param.shape, options.lr, dtype=param.dtype), state["step_size"])
        turn = grad * state["prev"]
        has_turned = turn < 0
        size = where(has_turned, size * options.etas[0], where(turn > 0, size * options.etas[1], size))
        size = clip(size, *options.step_sizes)
        grad = where(has_turned, 0.0, grad)
        return param - sign(grad) * size, {"prev": grad, "step_size": size}


class Lion(RuleOptimizer):
    """Evolved sign momentum (Chen et al., 2023): the sign of a mixture of momentum and gradient.

    Args:
        params: parameters, or dicts with "params" and options of their own.
        lr: the learning rate, a number or a rank-0 tensor; a third to a tenth of that of AdamW.
        betas: how much of the momentum enters the update, and how much of it is kept.
        weight_decay: factor of the parameters, apart from the gradient; three to ten times that of AdamW.

    Example:
        >>> w = plait.Parameter([1.0])
        >>> optimizer = plait.optim.Lion([w], lr=0.25)
        >>> (w * w).sum().backward()
        >>> optimizer.step()
        >>> w
        Parameter([0.7500], requires_grad=True)
    """

    lr: Any = 1e-4
    betas: tuple[float, float] = (0.9, 0.99)
    weight_decay: float = 0.0

    @staticmethod
    def initial(param: Tensor, options: Options) -> State:
        return zeros(param, "exp_avg")

    @staticmethod
    def rule(param: Tensor, grad: Tensor, state: State, step: Tensor, options: Options) -> tuple[Tensor, State]:
        direction = sign(blend(state["exp_avg"], grad, options.betas[0]))
        param = shrunk(param, options) - scalar(options.lr, param) * direction
        return param, {"exp_avg": blend(state["exp_avg"], grad, options.betas[1])}


class LARS(RuleOptimizer):
    """Layer-wise adaptive rates for large batches (You et al., 2017): each parameter moves in proportion to its norm.

    Args:
        params: parameters, or dicts with "params" and options of their own.
        lr: the learning rate, a number or a rank-0 tensor.
        momentum: how much of the last update is kept.
        weight_decay: factor of the parameters that is added to their gradients.
        trust_coefficient: how far a parameter moves, as part of its norm.
        eps: added to the norm of the gradient.

    Example:
        >>> w = plait.Parameter([1.0])
        >>> optimizer = plait.optim.LARS([w], lr=1.0, trust_coefficient=0.5)
        >>> (w * w).sum().backward()
        >>> optimizer.step()
        >>> w
        Parameter([0.5000], requires_grad=True)
    """

    lr: Any = 1e-1
    momentum: float = 0.9
    weight_decay: float = 0.0
    trust_coefficient: float = 1e-3
    eps: float = 1e-8

    @staticmethod
    def initial(param: Tensor, options: Options) -> State:
        return zeros(param, "momentum_buffer") if is_used(options.momentum) else {}

    @staticmethod
    def rule(param: Tensor, grad: Tensor, state: State, step: Tensor, options: Options) -> tuple[Tensor, State]:
        size, steepness = norm(param), norm(grad)
        param, grad = decayed(param, grad, options)
        whole = steepness + scalar(options.weight_decay, param) * size + options.eps
        trust = where((size > 0) & (steepness > 0), options.trust_coefficient * size / whole, 1.0)
        change = scalar(options.lr, param) * trust * grad
        if is_used(options.momentum):
            change = change + scalar(options.momentum, param) * state["momentum_buffer"]
            state = {"momentum_buffer": change}
        return param - change, state
