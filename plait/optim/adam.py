"""Adam and its relatives: steps scaled by running moments of the gradient."""

from __future__ import annotations

from dataclasses import KW_ONLY
from typing import Any

import numpy as np

from plait.core import tree
from plait.optim.rule import Options, RuleOptimizer, State, blend, decayed, is_used, norm, scalar, shrunk, zeros
from plait.tensor.autograd import no_grad
from plait.tensor.functions import maximum, sqrt, where
from plait.tensor.tensor import Tensor


def _moments(grad: Tensor, state: State, options: Options) -> tuple[Tensor, Tensor]:
    """Return the running means of the gradient and of its square."""
    beta1, beta2 = options.betas
    mean = state["exp_avg"] + scalar(1 - beta1, grad) * (grad - state["exp_avg"])
    return mean, blend(state["exp_avg_sq"], grad * grad, beta2)


class Adam(RuleOptimizer):
    """Adam (Kingma and Ba, 2015): steps scaled by running moments of the gradient.

    Args:
        params: parameters, or dicts with "params" and options of their own.
        lr: the learning rate, a number or a rank-0 tensor.
        betas: how much of the running mean, and of the running square, is kept at each step.
        eps: added to the root of the running square.
        weight_decay: factor of the parameters that is added to their gradients.
        amsgrad: whether the largest running square so far is used (Reddi et al., 2018).
        decoupled_weight_decay: whether the parameters decay apart from their gradients, as in AdamW.

    Further options, such as `maximize`, are those of `RuleOptimizer`.

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

    lr: Any = 1e-3
    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-8
    weight_decay: float = 0.0
    amsgrad: bool = False
    _: KW_ONLY
    decoupled_weight_decay: bool = False

    @staticmethod
    def initial(param: Tensor, options: Options) -> State:
        return zeros(param, "exp_avg", "exp_avg_sq", *(["max_exp_avg_sq"] if options.amsgrad else []))

    @staticmethod
    def rule(param: Tensor, grad: Tensor, state: State, step: Tensor, options: Options) -> tuple[Tensor, State]:
        param, grad = decayed(param, grad, options)
        mean, square = _moments(grad, state, options)
        new_state = {"exp_avg": mean, "exp_avg_sq": square}
        if options.amsgrad:
            square = new_state["max_exp_avg_sq"] = maximum(state["max_exp_avg_sq"], square)
        # the corrections of the bias towards the initial zeros, scalars in float64
        beta1, beta2 = options.betas
        size, scale = scalar(options.lr / (1 - beta1**step), param), scalar(sqrt(1 - beta2**step), param)
        return param - size * (mean / (sqrt(square) / scale + options.eps)), new_state


class AdamW(Adam):
    """Adam with weight decay apart from the gradient (Loshchilov and Hutter, 2019); the arguments are those of `Adam`.

    Example:
        >>> w = plait.Parameter([1.0])
        >>> optimizer = plait.optim.AdamW([w], lr=0.5, weight_decay=0.0)
        >>> (w * w).sum().backward()
        >>> optimizer.step()
        >>> w
        Parameter([0.5000], requires_grad=True)
    """

    weight_decay: float = 1e-2
    _: KW_ONLY
    decoupled_weight_decay: bool = True


class Adamax(RuleOptimizer):
    """Adam with the largest gradient in place of the running square (Kingma and Ba, 2015).

    Args:
        params: parameters, or dicts with "params" and options of their own.
        lr: the learning rate, a number or a rank-0 tensor.
        betas: how much of the running mean, and of the running maximum, is kept at each step.
        eps: added to the size of the gradient.
        weight_decay: factor of the parameters that is added to their gradients.

    Example:
        >>> w = plait.Parameter([1.0])
        >>> optimizer = plait.optim.Adamax([w], lr=0.5)
        >>> (w * w).sum().backward()
        >>> optimizer.step()
        >>> w
        Parameter([0.5000], requires_grad=True)
    """

    lr: Any = 2e-3
    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-8
    weight_decay: float = 0.0

    @staticmethod
    def initial(param: Tensor, options: Options) -> State:
        return zeros(param, "exp_avg", "exp_inf")

    @staticmethod
    def rule(param: Tensor, grad: Tensor, state: State, step: Tensor, options: Options) -> tuple[Tensor, State]:
        param, grad = decayed(param, grad, options)
        beta1, beta2 = options.betas
        mean = state["exp_avg"] + scalar(1 - beta1, grad) * (grad - state["exp_avg"])
        largest = maximum(scalar(beta2, grad) * state["exp_inf"], abs(grad) + options.eps)
        size = scalar(options.lr / (1 - beta1**step), param)
        return param - size * (mean / largest), {"exp_avg": mean, "exp_inf": largest}


class NAdam(RuleOptimizer):
    """Adam with Nesterov momentum (Dozat, 2016).

    Args:
        params: parameters, or dicts with "params" and options of their own.
        lr: the learning rate, a number or a rank-0 tensor.
        betas: how much of the running mean, and of the running square, is kept at each step.
        eps: added to the root of the running square.
        weight_decay: factor of the parameters that is added to their gradients.
        momentum_decay: how fast the momentum rises to `betas[0]`.
        decoupled_weight_decay: whether the parameters decay apart from their gradients, as in AdamW.

    Example:
        >>> w = plait.Parameter([1.0])
        >>> optimizer = plait.optim.NAdam([w], lr=0.5)
        >>> (w * w).sum().backward()
        >>> optimizer.step()
        >>> (w < 0.8).item()
        True
    """

    lr: Any = 2e-3
    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-8
    weight_decay: float = 0.0
    momentum_decay: float = 4e-3
    decoupled_weight_decay: bool = False

    @staticmethod
    def initial(param: Tensor, options: Options) -> State:
        return {"mu_product": Tensor(np.ones((), np.float32)), **zeros(param, "exp_avg", "exp_avg_sq")}

    @staticmethod
    def rule(param: Tensor, grad: Tensor, state: State, step: Tensor, options: Options) -> tuple[Tensor, State]:
        param, grad = decayed(param, grad, options)
        mean, square = _moments(grad, state, options)
        beta1, beta2 = options.betas
        now, then = [beta1 * (1 - 0.5 * 0.96 ** (t * options.momentum_decay)) for t in (step, step + 1)]
        product = (state["mu_product"] * now).to(state["mu_product"].dtype)
        by_grad = scalar(options.lr * (1 - now) / (1 - product), param)
        by_mean = scalar(options.lr * then / (1 - product * then), param)
        scale = sqrt(square / scalar(1 - beta2**step, param)) + options.eps
        new = param - (by_grad * grad + by_mean * mean) / scale
        return new, {"mu_product": product, "exp_avg": mean, "exp_avg_sq": square}


class RAdam(RuleOptimizer):
    """Adam whose first steps are not scaled while their scale is uncertain (Liu et al., 2020).

    Args:
        params: parameters, or dicts with "params" and options of their own.
        lr: the learning rate, a number or a rank-0 tensor.
        betas: how much of the running mean, and of the running square, is kept at each step.
        eps: added to the root of the running square.
        weight_decay: factor of the parameters that is added to their gradients.
        decoupled_weight_decay: whether the parameters decay apart from their gradients, as in AdamW.

    Example:
        >>> w = plait.Parameter([1.0])
        >>> optimizer = plait.optim.RAdam([w], lr=0.25)
        >>> (w * w).sum().backward()
        >>> optimizer.step()
        >>> w
        Parameter([0.5000], requires_grad=True)
    """

    lr: Any = 1e-3
    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-8
    weight_decay: float = 0.0
    decoupled_weight_decay: bool = False

    @staticmethod
    def initial(param: Tensor, options: Options) -> State:
        return zeros(param, "exp_avg", "exp_avg_sq")

    @staticmethod
    def rule(param: Tensor, grad: Tensor, state: State, step: Tensor, options: Options) -> tuple[Tensor, State]:
        param, grad = decayed(param, grad, options)
        mean, square = _moments(grad, state, options)
        beta1, beta2 = options.betas
        correction = 1 - beta2**step
        most = 2 / (1 - beta2) - 1
        length = most - 2 * step * beta2**step / correction
        is_certain = length > 5
        known = where(is_certain, length, most)
        rectified = sqrt((known - 4) * (known - 2) * most / ((most - 4) * (most - 2) * known) * correction)
        scale = where(is_certain, scalar(rectified, param) / (sqrt(square) + options.eps), 1.0)
        size = scalar(options.lr / (1 - beta1**step), param)
        return param - size * mean * scale, {"exp_avg": mean, "exp_avg_sq": square}


class LAMB(RuleOptimizer):
    """Adam for large batches (You et al., 2020): each parameter moves in proportion to its norm.

    Args:
        params: parameters, or dicts with "params" and options of their own.
        lr: the learning rate, a number or a rank-0 tensor.
        betas: how much of the running mean, and of the running square, is kept at each step.
        eps: added to the root of the running square.
        weight_decay: factor of the parameters that is added to the scaled gradient.

    Example:
        >>> w = plait.Parameter([1.0])
        >>> optimizer = plait.optim.LAMB([w], lr=0.5)
        >>> (w * w).sum().backward()
        >>> optimizer.step()
        >>> w
        Parameter([0.5000], requires_grad=True)
    """

    lr: Any = 1e-3
    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-6
    weight_decay: float = 0.0

    @staticmethod
    def initial(param: Tensor, options: Options) -> State:
        return zeros(param, "exp_avg", "exp_avg_sq")

    @staticmethod
    def rule(param: Tensor, grad: Tensor, state: State, step: Tensor, options: Options) -> tuple[Tensor, State]:
        mean, square = _moments(grad, state, options)
        beta1, beta2 = options.betas
        scale = sqrt(square / scalar(1 - beta2**step, param)) + options.eps
        change = mean / scalar(1 - beta1**step, param) / scale
        if is_used(options.weight_decay):
            change = change + scalar(options.weight_decay, param) * param
        size, length = norm(param), norm(change)
        trust = where((size > 0) & (length > 0), size / where(length > 0, length, 1.0), 1.0)
        return param - scalar(options.lr, param) * trust * change, {"exp_avg": mean, "exp_avg_sq": square}


class Sophia(RuleOptimizer):
    """Steps clipped by a running estimate of the diagonal of the Hessian: Sophia-G (Liu et al., 2024).

    Every ten steps or so compute the gradients of a loss whose targets are drawn from the model's own predictions,
    then call `update_hessian` in place of `step`.

    Args:
        params: parameters, or dicts with "params" and options of their own.
        lr: the learning rate, a number or a rank-0 tensor.
        betas: how much of the running mean of gradients, and of the estimate, is kept.
        rho: larger values clip fewer steps.
        weight_decay: factor of the parameters, apart from the gradient.
        bs: number of terms that the loss of the estimate is a mean of (tokens of a batch).

    Example:
        >>> w = plait.Parameter([1.0])
        >>> optimizer = plait.optim.Sophia([w], lr=0.5, weight_decay=0.0, bs=1)
        >>> (w * w).sum().backward()
        >>> optimizer.update_hessian()
        >>> optimizer.step()
        >>> w
        Parameter([0.5000], requires_grad=True)
    """

    lr: Any = 1e-4
    betas: tuple[float, float] = (0.965, 0.99)
    rho: float = 0.04
    weight_decay: float = 1e-1
    bs: int = 5120

    @staticmethod
    def initial(param: Tensor, options: Options) -> State:
        return zeros(param, "exp_avg", "hessian")

    @staticmethod
    def rule(param: Tensor, grad: Tensor, state: State, step: Tensor, options: Options) -> tuple[Tensor, State]:
        mean = blend(state["exp_avg"], grad, options.betas[0])
        ratio = abs(mean) / (options.rho * options.bs * state["hessian"] + 1e-15)
        change = scalar(options.lr, param) * mean.sign() * ratio.clip(max=1.0)
        return shrunk(param, options) - change, {"exp_avg": mean}

    def update_hessian(self) -> None:
        """Let the squares of the gradients enter the estimate of the Hessian; the parameters stay."""
        with no_grad():
            for group in self.param_groups:
                keep = group.options().betas[1]
                for p in group["params"]:
                    if p.grad is not None:
                        estimate = self.state[p]["hessian"]
                        estimate.copy_(_estimated(estimate, p.grad, keep))

    @staticmethod
    def with_hessian(grads: Any, state: Any, beta2: float = 0.99) -> Any:
        """Return a state of `functional` after the squares of gradients have entered the estimate of the Hessian."""
        gradients = dict(tree.leaves_with_path(grads))
        slots = {
            path: {**own, "hessian": _estimated(own["hessian"], gradients[path], beta2)}
            for path, own in state["slots"].items()
        }
        return {**state, "slots": slots}


def _estimated(estimate: Tensor, grad: Tensor, keep: Any) -> Tensor:
    grad = grad.to(estimate.dtype)
    return blend(estimate, grad * grad, keep)
