"""Embeddings: rows of a table, looked up by number."""

from __future__ import annotations

import math
from typing import Any

from plait.core.errors import ArgumentError, DTypeError, ShapeError, message
from plait.nn import init
from plait.nn.arguments import positive
from plait.nn.module import Module
from plait.tensor.autograd import no_grad
from plait.tensor.creation import empty
from plait.tensor.functions import where
from plait.tensor.selection import take
from plait.tensor.shaping import as_operand
from plait.tensor.tensor import Parameter, Tensor


def embedding(input: Any, weight: Tensor, padding_idx: int | None = None) -> Tensor:
    """Return rows of a table.

    Args:
        input: integer row numbers of any shape.
        weight: the table [rows, features].
        padding_idx: a row that gets no gradient.

    Returns:
        A tensor [*input.shape, features]; NaN where a row number is out of range.

    Raises:
        DTypeError: the row numbers are not integers.
        ShapeError: the table is no matrix.

    Example:
        >>> plait.nn.functional.embedding(plait.tensor([1, 0]), plait.tensor([[1.0, 2.0], [3.0, 4.0]]))
        tensor([[3., 4.],
                [1., 2.]])
    """
    index = as_operand(input, "embedding")
    if not index.dtype.is_integer:
        fix = "convert with .to(plait.int64)"
        raise DTypeError(message("embedding takes integer row numbers", index.dtype.name, "an integer dtype", fix))
    if weight.ndim != 2:
        raise ShapeError(message("The table of embedding is a matrix", f"shape {weight.shape}", "[rows, features]"))
    rows = weight.shape[0]
    result = take(weight, index, 0)
    if padding_idx is not None:
        padding = _checked_padding(padding_idx, rows)
        result = where((index == padding)[..., None], result.detach(), result)
    return where(((index >= 0) & (index < rows))[..., None], result, math.nan)


def _checked_padding(padding_idx: int, rows: int) -> int:
    if not -rows <= padding_idx < rows:
        raise ArgumentError(message("padding_idx is no row", padding_idx, f"{-rows} to {rows - 1}"))
    return padding_idx % rows


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
        self.padding_idx = None if padding_idx is None else _checked_padding(padding_idx, num_embeddings)
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
