"""Parameters as one vector."""

from __future__ import annotations

from collections.abc import Iterable

from plait.core.errors import ShapeError, message
from plait.tensor.autograd import no_grad
from plait.tensor.stacking import cat
from plait.tensor.tensor import Tensor


def parameters_to_vector(parameters: Iterable[Tensor]) -> Tensor:
    """Return all parameters as one vector; gradients flow back to them.

    Example:
        >>> plait.nn.utils.parameters_to_vector([plait.ones(2), plait.zeros(1, 2)])
        tensor([1., 1., 0., 0.])
    """
    return cat([p.reshape(-1) for p in parameters])


def vector_to_parameters(vec: Tensor, parameters: Iterable[Tensor]) -> None:
    """Copy the parts of a vector into parameters, one after the other.

    Args:
        vec: a vector with as many elements as all parameters together.
        parameters: the parameters.

    Raises:
        ShapeError: the vector has another length.

    Example:
        >>> layer = plait.nn.Linear(1, 2)
        >>> plait.nn.utils.vector_to_parameters(plait.arange(4.0), layer.parameters())
        >>> layer.bias.detach()
        tensor([2., 3.])
    """
    parameters = list(parameters)
    count = sum(p.numel() for p in parameters)
    if vec.shape != (count,):
        raise ShapeError(message("The vector has another length", f"shape {vec.shape}", f"({count},)"))
    start = 0
    with no_grad():
        for p in parameters:
            p.copy_(vec[start : start + p.numel()].reshape(p.shape))
            start += p.numel()
