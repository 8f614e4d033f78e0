"""Affine maps of the last axis, and layers that only pass on or reshape."""

from __future__ import annotations

from typing import Any

from plait.nn import init
from plait.nn.arguments import positive
from plait.nn.functional.linear import linear
from plait.nn.module import Module, check_features
from plait.tensor.creation import empty
from plait.tensor.tensor import Parameter, Tensor


class Linear(Module):
    """An affine map `x @ weight.T + bias` of the last axis.

    Args:
        in_features: size of the last axis of the input.
        out_features: size of the last axis of the result.
        bias: whether a bias is added.
        device: "cpu".
        dtype: element type of the parameters, float32 by default.

    Example:
        >>> plait.nn.Linear(3, 5)(plait.zeros(2, 3)).shape
        (2, 5)
    """

    def __init__(
        self, in_features: int, out_features: int, bias: bool = True, device: Any = None, dtype: Any = None
    ) -> None:
        self.in_features = positive(in_features, "in_features")
        self.out_features = positive(out_features, "out_features")
        self.weight = Parameter(empty(out_features, in_features, dtype=dtype))
        self.register_parameter("bias", Parameter(empty(out_features, dtype=dtype)) if bias else None)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the parameters again."""
        init.affine_(self.weight, self.bias)

    def forward(self, input: Tensor) -> Tensor:
        check_features(f"Linear({self.in_features}, {self.out_features})", input, -1, self.in_features, "in_features")
        return linear(input, self.weight, self.bias)

    def extra_repr(self) -> str:
        return f"in_features={self.in_features}, out_features={self.out_features}, bias={self.bias is not None}"


class Identity(Module):
    """Returns its input; arguments of the constructor are ignored."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        pass

    def forward(self, input: Tensor) -> Tensor:
        return input


class Flatten(Module):
    """Merges the axes from `start_dim` to `end_dim`: by default all but the batch."""

    def __init__(self, start_dim: int = 1, end_dim: int = -1) -> None:
        self.start_dim, self.end_dim = start_dim, end_dim

    def forward(self, input: Tensor) -> Tensor:
        return input.flatten(self.start_dim, self.end_dim)

    def extra_repr(self) -> str:
        return f"start_dim={self.start_dim}, end_dim={self.end_dim}"
