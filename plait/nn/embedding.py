"""Embedding layers: tables whose rows are looked up by number."""

from __future__ import annotations

from typing import Any

from plait.nn import init
from plait.nn.arguments import positive
from plait.nn.functional.embedding import embedding, row_number
from plait.nn.module import Module
from plait.tensor.autograd import no_grad
from plait.tensor.creation import empty
from plait.tensor.tensor import Parameter, Tensor


class Embedding(Module):
    """A trained table whose rows are looked up by number.

    Args:
        num_embeddings: number of rows.
        embedding_dim: size of a row.
        padding_idx: a row that starts as zeros and is not trained.
        device: "cpu".
        dtype: element type, float32 by default.

    Example:
        >>> plait.nn.Embedding(10, 3)(plait.tensor([[1, 2]])).shape
        (1, 2, 3)
    """

    def __init__(
        self, num_embeddings: int, embedding_dim: int, padding_idx: int | None = None, device: Any = None,
        dtype: Any = None,
    ) -> None:  # fmt: skip
        self.num_embeddings = positive(num_embeddings, "num_embeddings")
        self.embedding_dim = positive(embedding_dim, "embedding_dim")
        self.padding_idx = None if padding_idx is None else row_number("padding_idx", padding_idx, num_embeddings)
        self.weight = Parameter(empty(num_embeddings, embedding_dim, dtype=dtype))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the table again."""
        init.normal_(self.weight)
        if self.padding_idx is not None:
            with no_grad():
                self.weight[self.padding_idx] = 0

    def forward(self, input: Tensor) -> Tensor:
        return embedding(input, self.weight, self.padding_idx)

    def extra_repr(self) -> str:
        text = f"{self.num_embeddings}, {self.embedding_dim}"
        return text if self.padding_idx is None else f"{text}, padding_idx={self.padding_idx}"
