"""Linear and bilinear maps of the last axis."""

from __future__ import annotations

from typing import Any

from plait.nn import init
from plait.nn.arguments import positive
from plait.nn.functional.linear import bilinear, linear
from plait.nn.module import Module, check_features
from plait.tensor.creation import empty
from plait.tensor.tensor import Parameter, Tensor

__all__ = ["Bilinear", "Linear"]


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


class Bilinear(Module):
    """A bilinear map of two inputs: `x1 @ weight[k] @ x2 + bias[k]` for each k.

    Args:
        in1_features: size of the last axis of the first input.
        in2_features: size of the last axis of the second input.
        out_features: size of the last axis of the result.
        bias: whether a bias is added.
        device: "cpu".
        dtype: element type of the parameters, float32 by default.

    Example:
        >>> plait.nn.Bilinear(2, 3, 4)(plait.zeros(5, 2), plait.zeros(5, 3)).shape
        (5, 4)
    """

    def __init__(
        self, in1_features: int, in2_features: int, out_features: int, bias: bool = True, device: Any = None,
        dtype: Any = None,
    ) -> None:  # fmt: skip
        self.in1_features = positive(in1_features, "in1_features")
        self.in2_features = positive(in2_features, "in2_features")
        self.out_features = positive(out_features, "out_features")
        self.weight = Parameter(empty(out_features, in1_features, in2_features, dtype=dtype))
        self.register_parameter("bias", Parameter(empty(out_features, dtype=dtype)) if bias else None)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the parameters again."""
        bound = self.in1_features**-0.5
        for parameter in self.parameters():
            init.uniform_(parameter, -bound, bound)

    def forward(self, input1: Tensor, input2: Tensor) -> Tensor:
        for x, name in ((input1, "in1_features"), (input2, "in2_features")):
            check_features("Bilinear", x, -1, getattr(self, name), name)
        return bilinear(input1, input2, self.weight, self.bias)

    def extra_repr(self) -> str:
        text = f"in1_features={self.in1_features}, in2_features={self.in2_features}, out_features={self.out_features}"
        return f"{text}, bias={self.bias is not None}"
