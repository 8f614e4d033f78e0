"""Gradients limited by their norm or value."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from plait.core.errors import ArgumentError, message
from plait.linalg import vector_norm
from plait.tensor.autograd import no_grad
from plait.tensor.creation import tensor
from plait.tensor.stacking import stack
from plait.tensor.tensor import Tensor

_Tensors = Tensor | Iterable[Tensor]


def _gradients(parameters: _Tensors) -> list[Tensor]:
    found = [parameters] if isinstance(parameters, Tensor) else parameters
    return [p.grad for p in found if p.grad is not None]


def get_total_norm(
    tensors: _Tensors, norm_type: float = 2.0, error_if_nonfinite: bool = False, foreach: bool | None = None
) -> Tensor:
    """Return the norm of all tensors, as if they were one vector.

    Args:
        tensors: a tensor, or several.
        norm_type: the exponent; infinity takes the largest magnitude.
        error_if_nonfinite: whether a norm that is NaN or infinite is an error; not inside compiled functions.
        foreach: accepted for PyTorch's sake.

    Returns:
        A rank-0 tensor.

    Raises:
        ArgumentError: the norm is not finite.

    Example:
        >>> plait.nn.utils.get_total_norm([plait.tensor([3.0]), plait.tensor([4.0])])
        tensor(5.)
    """
    each = [vector_norm(t, norm_type) for t in ([tensors] if isinstance(tensors, Tensor) else tensors)]
    norm = vector_norm(stack(each), norm_type) if each else tensor(0.0)
    if error_if_nonfinite and not bool(norm.isfinite()):
        fix = "look for the layer that overflows, or pass error_if_nonfinite=False"
        raise ArgumentError(message(f"The total norm of order {norm_type} is not finite", norm.item(), None, fix))
    return norm


def clip_grads_with_norm_(
    parameters: _Tensors, max_norm: float, total_norm: Tensor, foreach: bool | None = None
) -> None:
    """Scale gradients in place by `max_norm / (total_norm + 1e-6)`, where that is smaller than 1.

    Args:
        parameters: a parameter, or several.
        max_norm: the norm that is allowed.
        total_norm: the norm that they have.
        foreach: accepted for PyTorch's sake.
    """
    with no_grad():
        scale = (max_norm / (total_norm + 1e-6)).clamp(max=1.0)
        for gradient in _gradients(parameters):
            gradient.mul_(scale.to(gradient.dtype))


def clip_grad_norm_(
    parameters: _Tensors, max_norm: float, norm_type: float = 2.0, error_if_nonfinite: bool = False,
    foreach: bool | None = None,
) -> Tensor:  # fmt: skip
    """Scale the gradients of parameters in place, so that the norm of all of them is at most `max_norm`.

    Args:
        parameters: a parameter, or several; those without a gradient are left out.
        max_norm: the norm that is allowed.
        norm_type: the exponent; infinity takes the largest magnitude.
        error_if_nonfinite: whether a norm that is NaN or infinite is an error; not inside compiled functions.
        foreach: accepted for PyTorch's sake.

    Returns:
        The norm before, a rank-0 tensor.

    Raises:
        ArgumentError: the norm is not finite.

    Example:
        >>> w = plait.Parameter([1.0, 1.0])
        >>> (w * plait.tensor([3.0, 4.0])).sum().backward()
        >>> plait.nn.utils.clip_grad_norm_(w, 1.0), w.grad
        (tensor(5.), tensor([0.6000, 0.8000]))
    """
    parameters = [parameters] if isinstance(parameters, Tensor) else list(parameters)
    with no_grad():
        norm = get_total_norm(_gradients(parameters), norm_type, error_if_nonfinite)
    clip_grads_with_norm_(parameters, max_norm, norm)
    return norm


def clip_grad_value_(parameters: _Tensors, clip_value: float, foreach: bool | None = None) -> None:
    """Limit each element of the gradients of parameters, in place, to the range from -clip_value to clip_value.

    Args:
        parameters: a parameter, or several; those without a gradient are left out.
        clip_value: the magnitude that is allowed.
        foreach: accepted for PyTorch's sake.

    Example:
        >>> w = plait.Parameter([1.0, 1.0])
        >>> (w * plait.tensor([3.0, -0.5])).sum().backward()
        >>> plait.nn.utils.clip_grad_value_(w, 1.0)
        >>> w.grad
        tensor([ 1.0000, -0.5000])
    """
    limit: Any = float(clip_value)
    with no_grad():
        for gradient in _gradients(parameters):
            gradient.copy_(gradient.clamp(-limit, limit))
