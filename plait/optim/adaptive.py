"""Steps scaled by running squares of the gradient: Adagrad and its relatives, whole or in factors."""

from __future__ import annotations

from typing import Any

import numpy as np

from plait.core.errors import ArgumentError, DTypeError, message
from plait.optim.rule import Options, RuleOptimizer, State, blend, decayed, is_used, norm, scalar, shrunk, zeros
from plait.tensor.functions import clip, maximum, minimum, rsqrt, sqrt
from plait.tensor.inspection import finfo
from plait.tensor.tensor import Tensor


class Adagrad(RuleOptimizer):
    """Steps divided by the root of the sum of all squared gradients (Duchi et al., 2011).

    Args:
        params: parameters, or dicts with "params" and options of their own.
        lr: the learning rate, a number or a rank-0 tensor.
        lr_decay: how fast the rate falls: it is lr / (1 + lr_decay * step).
        weight_decay: factor of the parameters that is added to their gradients.
        initial_accumulator_value: what the sum begins with.
        eps: added to the root of the sum.

    Further options, such as `maximize`, are those of `RuleOptimizer`.

    Example:
        >>> w = plait.Parameter([1.0])
        >>> optimizer = plait.optim.Adagrad([w], lr=0.5)
        >>> (w * w).sum().backward()
        >>> optimizer.step()
        >>> w
        Parameter([0.5000], requires_grad=True)
    """

    lr: Any = 1e-2
    lr_decay: float = 0.0
    weight_decay: float = 0.0
    initial_accumulator_value: float = 0.0
    eps: float = 1e-10

    @staticmethod
    def initial(param: Tensor, options: Options) -> State:
        first = options.initial_accumulator_value
        whole = complex(first, first) if param.dtype.is_complex else first
        return {"sum": Tensor(np.full(param.shape, whole, param.dtype.numpy))}

    @staticmethod
    def rule(param: Tensor, grad: Tensor, state: State, step: Tensor, options: Options) -> tuple[Tensor, State]:
        param, grad = decayed(param, grad, options)
        total = state["sum"] + grad * grad
        rate = scalar(options.lr / (1 + (step - 1) * options.lr_decay), param)
        return param - rate * (grad / (sqrt(total) + options.eps)), {"sum": total}


class Adadelta(RuleOptimizer):
    """Steps scaled by running squares of the gradients and of the steps themselves (Zeiler, 2012).

    Args:
        params: parameters, or dicts with "params" and options of their own.
        lr: factor of the steps, a number or a rank-0 tensor.
        rho: how much of the running squares is kept at each step.
        eps: added to the running squares.
        weight_decay: factor of the parameters that is added to their gradients.

    Raises:
        ArgumentError: `rho` is not between 0 and 1, or another option is out of range.

    Example:
        >>> w = plait.Parameter([1.0])
        >>> optimizer = plait.optim.Adadelta([w], eps=0.25, rho=0.0)
        >>> (w * w).sum().backward()
        >>> optimizer.step()
        >>> w
        Parameter([0.5149], requires_grad=True)
    """

    lr: Any = 1.0
    rho: float = 0.9
    eps: float = 1e-6
    weight_decay: float = 0.0

    @staticmethod
    def check(options: Options) -> None:
        if options.rho > 1:
            raise ArgumentError(message("rho is out of range", options.rho, "a number from 0 to 1"))

    @staticmethod
    def initial(param: Tensor, options: Options) -> State:
        return zeros(param, "square_avg", "acc_delta")

    @staticmethod
    def rule(param: Tensor, grad: Tensor, state: State, step: Tensor, options: Options) -> tuple[Tensor, State]:
        param, grad = decayed(param, grad, options)
        square = blend(state["square_avg"], grad * grad, options.rho)
        change = sqrt(state["acc_delta"] + options.eps) / sqrt(square + options.eps) * grad
        changes = blend(state["acc_delta"], change * change, options.rho)
        return param - scalar(options.lr, param) * change, {"square_avg": square, "acc_delta": changes}


class RMSprop(RuleOptimizer):
    """Steps divided by the root of the running square of the gradient (Hinton, 2012).

    Args:
        params: parameters, or dicts with "params" and options of their own.
        lr: the learning rate, a number or a rank-0 tensor.
        alpha: how much of the running square is kept at each step.
        eps: added to the root of the running square.
        weight_decay: factor of the parameters that is added to their gradients.
        momentum: how much of the last update is kept.
        centered: whether the square of the running mean is subtracted: the variance scales the steps.

    Example:
        >>> w = plait.Parameter([1.0])
        >>> optimizer = plait.optim.RMSprop([w], lr=0.5, alpha=0.0)
        >>> (w * w).sum().backward()
        >>> optimizer.step()
        >>> w
        Parameter([0.5000], requires_grad=True)
    """

    lr: Any = 1e-2
    alpha: float = 0.99
    eps: float = 1e-8
    weight_decay: float = 0.0
    momentum: float = 0.0
    centered: bool = False

    @staticmethod
    def initial(param: Tensor, options: Options) -> State:
        names = {"momentum_buffer": is_used(options.momentum), "grad_avg": options.centered}
        return zeros(param, "square_avg", *[name for name, is_kept in names.items() if is_kept])

    @staticmethod
    def rule(param: Tensor, grad: Tensor, state: State, step: Tensor, options: Options) -> tuple[Tensor, State]:
        param, grad = decayed(param, grad, options)
        square = blend(state["square_avg"], grad * grad, options.alpha)
        new_state, variance = {"square_avg": square}, square
        if options.centered:
            mean = new_state["grad_avg"] = state["grad_avg"] + (1 - options.alpha) * (grad - state["grad_avg"])
            variance = square - mean * mean
        change = grad / (sqrt(variance) + options.eps)
        if is_used(options.momentum):
            change = scalar(options.momentum, param) * state["momentum_buffer"] + change
            new_state["momentum_buffer"] = change
        return param - scalar(options.lr, param) * change, new_state


class Adafactor(RuleOptimizer):
    """Adam whose running squares are products of a row and a column (Shazeer and Stern, 2018), as PyTorch has it.

    Args:
        params: parameters, or dicts with "params" and options of their own.
        lr: the largest rate, relative to the size of a parameter; a number or a rank-0 tensor.
        beta2_decay: power of the step by which less of the running squares is replaced.
        eps: the smallest root of a square (None: the dtype's epsilon), and the smallest size of a parameter.
        d: root mean square above which an update is clipped.
        weight_decay: factor of the parameters, apart from the gradient.

    Raises:
        ArgumentError: an option is out of range.
        DTypeError: a parameter is complex.

    Example:
        >>> w = plait.Parameter([[1.0, 2.0], [3.0, 4.0]])
        >>> optimizer = plait.optim.Adafactor([w])
        >>> (w * w).sum().backward()
        >>> optimizer.step()
        >>> optimizer.state[w]["row_var"].shape
        (2, 1)
    """

    lr: Any = 1e-2
    beta2_decay: float = -0.8
    eps: tuple[float | None, float] = (None, 1e-3)
    d: float = 1.0
    weight_decay: float = 0.0

    @staticmethod
    def check(options: Options) -> None:
        if options.beta2_decay > 0:
            raise ArgumentError(message("beta2_decay is out of range", options.beta2_decay, "a number of at most 0"))
        if not isinstance(options.eps, tuple) or any(e is not None and e < 0 for e in options.eps):
            raise ArgumentError(message("eps of Adafactor are two numbers", options.eps, "e.g. (None, 1e-3)"))

    @staticmethod
    def initial(param: Tensor, options: Options) -> State:
        if param.dtype.is_complex:
            raise DTypeError(message("Adafactor takes real parameters", param.dtype.name, "a float dtype"))
        if param.ndim < 2:
            return zeros(param, "variance")
        *batch, rows, columns = param.shape
        shapes = {"row_var": (*batch, rows, 1), "col_var": (*batch, 1, columns)}
        return {name: Tensor(np.zeros(shape, param.dtype.numpy)) for name, shape in shapes.items()}

    @staticmethod
    def rule(param: Tensor, grad: Tensor, state: State, step: Tensor, options: Options) -> tuple[Tensor, State]:
        smallest, least_size = options.eps
        smallest = finfo(param.dtype).eps if smallest is None else smallest
        kept = 1 - step**options.beta2_decay
        count = max(1, param.size)
        rate = scalar(minimum(step**-0.5, options.lr), param) * maximum(norm(param) / count**0.5, least_size)
        param = shrunk(param, options)
        square = grad * grad
        if param.ndim < 2:
            estimate = blend(state["variance"], square, kept)
            state = {"variance": estimate}
        else:
            rows = blend(state["row_var"], square.mean(-1, keepdim=True), kept)
            columns = blend(state["col_var"], square.mean(-2, keepdim=True), kept)
            state = {"row_var": rows, "col_var": columns}
            estimate = rows * columns / maximum(rows.mean(-2, keepdim=True), smallest)
        change = grad * rsqrt(clip(estimate, min=smallest * smallest))
        excess = maximum(norm(change) / (count**0.5 * options.d), 1.0)
        return param - rate / excess * change, state
