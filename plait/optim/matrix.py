"""Optimizers of matrices as a whole: orthogonal steps, and preconditioners."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from plait.core.dtype import bfloat16
from plait.core.errors import ArgumentError, DTypeError, ShapeError, message
from plait.linalg.spectra import eigh
from plait.optim.rule import Options, RuleOptimizer, State, blend, decayed, is_used, norm, scalar, shrunk, zeros
from plait.tensor.control import cond
from plait.tensor.functions import maximum
from plait.tensor.inspection import finfo
from plait.tensor.shaping import movedim
from plait.tensor.tensor import Tensor

_MOST_STEPS = 100


class Muon(RuleOptimizer):
    """Momentum made orthogonal, for the matrices of hidden layers (Jordan et al., 2024).

    Train embeddings, heads, biases and norms by AdamW. The matrix that is nearest to the momentum and has orthogonal
    rows or columns comes from Newton-Schulz iterations in bfloat16.

    Args:
        params: matrices, or dicts with "params" and options of their own.
        lr: the learning rate, a number or a rank-0 tensor.
        weight_decay: factor of the parameters, apart from the gradient.
        momentum: how much of the running mean of gradients is kept.
        nesterov: whether the mean is looked up ahead.
        ns_coefficients: of the polynomial that is iterated.
        eps: the smallest norm that is divided by.
        ns_steps: number of iterations.
        adjust_lr_fn: "original" (the rate is multiplied by sqrt(max(1, rows / columns))) or "match_rms_adamw" (by
            0.2 * sqrt(max(rows, columns)), so that rates of AdamW fit).

    Raises:
        ShapeError: a parameter is no matrix.
        ArgumentError: an option is out of range.

    Example:
        >>> w = plait.Parameter([[1.0, 2.0], [3.0, 4.0]])
        >>> optimizer = plait.optim.Muon([w], lr=0.1)
        >>> (w * w).sum().backward()
        >>> optimizer.step()
        >>> w.shape
        (2, 2)
    """

    lr: Any = 1e-3
    weight_decay: float = 0.1
    momentum: float = 0.95
    nesterov: bool = True
    ns_coefficients: tuple[float, float, float] = (3.4445, -4.775, 2.0315)
    eps: float = 1e-7
    ns_steps: int = 5
    adjust_lr_fn: str | None = None

    @staticmethod
    def check(options: Options) -> None:
        if options.adjust_lr_fn not in (None, "original", "match_rms_adamw"):
            expected = '"original", "match_rms_adamw" or None'
            raise ArgumentError(message("Unknown adjust_lr_fn of Muon", repr(options.adjust_lr_fn), expected))
        if not 0 <= options.ns_steps < _MOST_STEPS or len(options.ns_coefficients) != 3:
            received = f"ns_steps={options.ns_steps}, ns_coefficients={options.ns_coefficients}"
            text = "The iteration of Muon does not fit"
            raise ArgumentError(message(text, received, f"less than {_MOST_STEPS} steps, three coefficients"))

    @staticmethod
    def initial(param: Tensor, options: Options) -> State:
        if param.ndim != 2 or param.dtype.is_complex:
            fix = "give other parameters to another optimizer, e.g. AdamW"
            raise ShapeError(message("Muon takes real matrices", param.aval, "two axes", fix))
        return zeros(param, "momentum_buffer")

    @staticmethod
    def rule(param: Tensor, grad: Tensor, state: State, step: Tensor, options: Options) -> tuple[Tensor, State]:
        keep = options.momentum
        buffer = blend(state["momentum_buffer"], grad, keep)
        change = _orthogonal(blend(grad, buffer, 1 - keep) if options.nesterov else buffer, options)
        rows, columns = param.shape
        factor = 0.2 * math.sqrt(max(rows, columns)) if options.adjust_lr_fn == "match_rms_adamw" else math.sqrt(
            max(1, rows / columns)
        )  # fmt: skip
        rate = scalar(options.lr * factor, param)
        return shrunk(param, options) - rate * change.to(param.dtype), {"momentum_buffer": buffer}


def _orthogonal(x: Tensor, options: Options) -> Tensor:
    """Return x with all singular values moved near 1, in bfloat16."""
    a, b, c = options.ns_coefficients
    is_tall = x.shape[0] > x.shape[1]
    y = x.to(bfloat16)
    y = y.T if is_tall else y
    y = y / maximum(norm(y), options.eps)
    for _ in range(options.ns_steps):
        gram = y @ y.T
        y = a * y + (b * gram + c * (gram @ gram)) @ y
    return y.T if is_tall else y


class Shampoo(RuleOptimizer):
    """A preconditioner for each axis of a parameter (Gupta et al., 2018).

    The gradient is multiplied along each axis by the inverse root of the summed products of gradients there.

    Args:
        params: parameters, or dicts with "params" and options of their own.
        lr: the learning rate, a number or a rank-0 tensor.
        momentum: how much of the last update is kept.
        weight_decay: factor of the parameters that is added to their gradients.
        eps: what the diagonals of the sums begin with.
        update_freq: after how many steps the inverse roots are computed anew.
        max_size: axes longer than this have no preconditioner.

    Raises:
        ArgumentError: an option is out of range.
        DTypeError: a parameter is complex.

    Example:
        >>> w = plait.Parameter([[3.0, 0.0], [0.0, 1.0]])
        >>> optimizer = plait.optim.Shampoo([w], lr=1.0, eps=1e-6)
        >>> (w * w).sum().backward()
        >>> optimizer.step()
        >>> plait.round(w.detach(), decimals=3)
        tensor([[2., 0.],
                [0., 0.]])
    """

    lr: Any = 1e-1
    momentum: float = 0.0
    weight_decay: float = 0.0
    eps: float = 1e-4
    update_freq: int = 1
    max_size: int = 4096

    @staticmethod
    def check(options: Options) -> None:
        if options.update_freq < 1:
            raise ArgumentError(message("update_freq is out of range", options.update_freq, "an integer of at least 1"))

    @staticmethod
    def initial(param: Tensor, options: Options) -> State:
        if param.dtype.is_complex:
            raise DTypeError(message("Shampoo takes real parameters", param.dtype.name, "a float dtype"))
        state = zeros(param, "momentum_buffer") if is_used(options.momentum) else {}
        for axis in _axes(param, options):
            identity = np.eye(param.shape[axis], dtype=param.dtype.numpy)
            state[f"precond_{axis}"], state[f"inv_precond_{axis}"] = Tensor(identity * options.eps), Tensor(identity)
        return state

    @staticmethod
    def rule(param: Tensor, grad: Tensor, state: State, step: Tensor, options: Options) -> tuple[Tensor, State]:
        param, grad = decayed(param, grad, options)
        axes, change, new_state = _axes(param, options), grad, {}
        for axis in axes:
            rows = movedim(grad, axis, 0).reshape(param.shape[axis], -1)
            total = state[f"precond_{axis}"] + rows @ rows.T
            root, old = -1 / (2 * len(axes)), state[f"inv_precond_{axis}"]
            if options.update_freq == 1:
                inverse = _power(total, root)
            else:
                is_due = step % options.update_freq == 1
                inverse = cond(is_due, lambda m, _, r=root: _power(m, r), lambda _, kept: kept, total, old)
            moved = movedim(change, axis, -1) @ inverse
            change = movedim(moved, -1, axis)
            new_state |= {f"precond_{axis}": total, f"inv_precond_{axis}": inverse}
        if is_used(options.momentum):
            change = new_state["momentum_buffer"] = scalar(options.momentum, param) * state["momentum_buffer"] + change
        return param - scalar(options.lr, param) * change, new_state


def _axes(param: Tensor, options: Options) -> list[int]:
    return [axis for axis, size in enumerate(param.shape) if size <= options.max_size]


def _power(matrix: Tensor, exponent: float) -> Tensor:
    """Return a power of a symmetric positive-definite matrix."""
    values, vectors = eigh(matrix)
    return (vectors * maximum(values, finfo(matrix.dtype).tiny) ** exponent) @ vectors.mT
