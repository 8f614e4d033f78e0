"""Embedding layers: tables whose rows are looked up by number."""

from __future__ import annotations

from typing import Any, ClassVar, Self

from plait.core.errors import ShapeError, message
from plait.nn import init
from plait.nn.arguments import positive
from plait.nn.functional.embedding import embedding, embedding_bag, row_number
from plait.nn.module import Module
from plait.tensor.autograd import no_grad
from plait.tensor.creation import empty
from plait.tensor.tensor import Parameter, Tensor

__all__ = ["Embedding", "EmbeddingBag"]


class _Table(Module):
    """What the embedding layers share."""

    _shown: ClassVar[tuple[tuple[str, Any], ...]]
    num_embeddings: int
    embedding_dim: int

    def _set(self, num_embeddings: int, embedding_dim: int, padding_idx: int | None, weight: Any, dtype: Any) -> None:
        self.num_embeddings = positive(num_embeddings, "num_embeddings")
        self.embedding_dim = positive(embedding_dim, "embedding_dim")
        self.padding_idx = None if padding_idx is None else row_number("padding_idx", padding_idx, num_embeddings)
        if weight is None:
            self.weight = Parameter(empty(num_embeddings, embedding_dim, dtype=dtype))
            self.reset_parameters()
        elif tuple(weight.shape) != (num_embeddings, embedding_dim):
            expected = f"({num_embeddings}, {embedding_dim})"
            raise ShapeError(message("The table has another shape", f"shape {tuple(weight.shape)}", expected))
        else:
            self.weight = Parameter(weight)

    def reset_parameters(self) -> None:
        """Draw the table again."""
        init.normal_(self.weight)
        if self.padding_idx is not None:
            with no_grad():
                self.weight[self.padding_idx] = 0

    @classmethod
    def from_pretrained(cls, embeddings: Tensor, freeze: bool = True, **options: Any) -> Self:
        """Return a layer with a given table.

        Args:
            embeddings: the table [rows, features].
            freeze: whether it is not trained.
            options: other arguments of the layer.

        Raises:
            ShapeError: the table is no matrix.
        """
        if len(embeddings.shape) != 2:
            raise ShapeError(message("The table is a matrix", f"shape {tuple(embeddings.shape)}", "[rows, features]"))
        layer = cls(*embeddings.shape, _weight=embeddings, **options)
        layer.weight.requires_grad_(not freeze)
        return layer

    def extra_repr(self) -> str:
        shown = [f"{self.num_embeddings}, {self.embedding_dim}"]
        for name, default in self._shown:
            value = getattr(self, name)
            shown += [f"{name}={value!r}"] if value != default else []
        return ", ".join(shown)


class Embedding(_Table):
    """A trained table whose rows are looked up by number.

    Args:
        num_embeddings: number of rows.
        embedding_dim: size of a row.
        padding_idx: a row that starts as zeros and is not trained.
        max_norm: rows that are looked up and longer than this are shortened, in the table itself.
        norm_type: the exponent of the norm.
        scale_grad_by_freq: whether the gradient of a row is divided by how often it is looked up.
        sparse: accepted; gradients are always dense.
        device: "cpu".
        dtype: element type, float32 by default.

    Example:
        >>> plait.nn.Embedding(10, 3)(plait.tensor([[1, 2]])).shape
        (1, 2, 3)
        >>> plait.nn.Embedding.from_pretrained(plait.tensor([[1.0, 2.0], [3.0, 4.0]]))(plait.tensor([1]))
        tensor([[3., 4.]])
    """

    _shown = (
        ("padding_idx", None), ("max_norm", None), ("norm_type", 2.0), ("scale_grad_by_freq", False),
        ("sparse", False),
    )  # fmt: skip

    def __init__(
        self, num_embeddings: int, embedding_dim: int, padding_idx: int | None = None, max_norm: float | None = None,
        norm_type: float = 2.0, scale_grad_by_freq: bool = False, sparse: bool = False, _weight: Any = None,
        _freeze: bool = False, device: Any = None, dtype: Any = None,
    ) -> None:  # fmt: skip
        self.max_norm, self.norm_type = max_norm, norm_type
        self.scale_grad_by_freq, self.sparse = scale_grad_by_freq, sparse
        self._set(num_embeddings, embedding_dim, padding_idx, _weight, dtype)
        self.weight.requires_grad_(not _freeze)

    def forward(self, input: Tensor) -> Tensor:
        return embedding(
            input, self.weight, self.padding_idx, self.max_norm, self.norm_type, self.scale_grad_by_freq
        )  # fmt: skip


class EmbeddingBag(_Table):
    """Sums, means or maxima of rows of a trained table, one for each bag of row numbers.

    Args:
        num_embeddings: number of rows.
        embedding_dim: size of a row.
        max_norm: rows that are looked up and longer than this are shortened, in the table itself.
        norm_type: the exponent of the norm.
        scale_grad_by_freq: whether the gradient of a row is divided by how often it is looked up; not for "max".
        mode: "sum", "mean" or "max".
        sparse: accepted; gradients are always dense.
        include_last_offset: whether `offsets` ends with the number of elements.
        padding_idx: a row that counts nowhere.
        device: "cpu".
        dtype: element type, float32 by default.

    Example:
        >>> bags = plait.nn.EmbeddingBag.from_pretrained(plait.tensor([[1.0, 2.0], [3.0, 4.0]]), mode="sum")
        >>> bags(plait.tensor([0, 1, 1]), offsets=plait.tensor([0, 2]))
        tensor([[4., 6.],
                [3., 4.]])
    """

    _shown = (
        ("max_norm", None), ("norm_type", 2.0), ("scale_grad_by_freq", False), ("mode", None), ("padding_idx", None),
    )  # fmt: skip

    def __init__(
        self, num_embeddings: int, embedding_dim: int, max_norm: float | None = None, norm_type: float = 2.0,
        scale_grad_by_freq: bool = False, mode: str = "mean", sparse: bool = False, _weight: Any = None,
        include_last_offset: bool = False, padding_idx: int | None = None, device: Any = None, dtype: Any = None,
    ) -> None:  # fmt: skip
        self.max_norm, self.norm_type, self.mode = max_norm, norm_type, mode
        self.scale_grad_by_freq, self.sparse = scale_grad_by_freq, sparse
        self.include_last_offset = include_last_offset
        self._set(num_embeddings, embedding_dim, padding_idx, _weight, dtype)

    def forward(self, input: Tensor, offsets: Tensor | None = None, per_sample_weights: Tensor | None = None) -> Tensor:
        return embedding_bag(
            input, self.weight, offsets, self.max_norm, self.norm_type, self.scale_grad_by_freq, self.mode,
            per_sample_weights=per_sample_weights, include_last_offset=self.include_last_offset,
            padding_idx=self.padding_idx,
        )  # fmt: skip
