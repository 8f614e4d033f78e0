"""Attention of several heads as a module."""

from __future__ import annotations

from typing import Any

from plait.core.errors import ArgumentError, message
from plait.nn import init
from plait.nn.arguments import positive, probability
from plait.nn.functional.attention import multi_head_attention_forward
from plait.nn.linear import Linear
from plait.nn.module import Module, check_features
from plait.tensor.creation import empty, zeros
from plait.tensor.tensor import Parameter, Tensor


class MultiheadAttention(Module):
    """Attention of several heads between projected queries, keys and values, with PyTorch's parameters.

    Args:
        embed_dim: size of the queries and of the result.
        num_heads: number of heads; it divides `embed_dim`.
        dropout: probability with which an attention weight is dropped.
        bias: whether the projections have biases.
        kdim: size of the keys, by default `embed_dim`.
        vdim: size of the values, by default `embed_dim`.
        batch_first: whether inputs are [batch, length, features], not [length, batch, features].
        device: "cpu".
        dtype: element type of the parameters, float32 by default.

    Example:
        >>> attention = plait.nn.MultiheadAttention(8, 2, batch_first=True)
        >>> x = plait.ones(1, 3, 8)
        >>> result, weights = attention(x, x, x)
        >>> result.shape, weights.shape
        ((1, 3, 8), (1, 3, 3))
    """

    def __init__(
        self, embed_dim: int, num_heads: int, dropout: float = 0.0, bias: bool = True, kdim: int | None = None,
        vdim: int | None = None, batch_first: bool = False, device: Any = None, dtype: Any = None,
    ) -> None:  # fmt: skip
        self.embed_dim, self.num_heads = positive(embed_dim, "embed_dim"), positive(num_heads, "num_heads")
        if embed_dim % num_heads:
            received = f"embed_dim={embed_dim}, num_heads={num_heads}"
            raise ArgumentError(message("num_heads must divide embed_dim", received))
        self.head_dim = embed_dim // num_heads
        self.kdim, self.vdim = kdim or embed_dim, vdim or embed_dim
        self.dropout, self.batch_first = probability(dropout, "dropout"), batch_first
        self._is_packed = self.kdim == self.vdim == embed_dim
        shapes = {"in_proj_weight": (3 * embed_dim, embed_dim)} if self._is_packed else {
            "q_proj_weight": (embed_dim, embed_dim), "k_proj_weight": (embed_dim, self.kdim),
            "v_proj_weight": (embed_dim, self.vdim),
        }  # fmt: skip
        for name, shape in shapes.items():
            self.register_parameter(name, Parameter(empty(shape, dtype=dtype)))
            init.xavier_uniform_(getattr(self, name))
        self.register_parameter("in_proj_bias", Parameter(zeros(3 * embed_dim, dtype=dtype)) if bias else None)
        self.out_proj = Linear(embed_dim, embed_dim, bias, dtype=dtype)
        if bias:
            init.zeros_(self.out_proj.bias)

    def forward(
        self, query: Tensor, key: Tensor, value: Tensor, key_padding_mask: Tensor | None = None,
        need_weights: bool = True, attn_mask: Tensor | None = None, average_attn_weights: bool = True,
        is_causal: bool = False,
    ) -> tuple[Tensor, Tensor | None]:  # fmt: skip
        """Attend.

        Args:
            query: a tensor [L, N, embed_dim], or [N, L, embed_dim] with `batch_first`; the batch may be left out.
            key: a tensor [S, N, kdim], likewise.
            value: a tensor [S, N, vdim], likewise.
            key_padding_mask: bools [N, S], True for keys that are *ignored*, or numbers added to the products.
            need_weights: whether the attention weights are returned too.
            attn_mask: [L, S] or [N * num_heads, L, S], with the same meaning as `key_padding_mask`.
            average_attn_weights: whether the weights are averaged over the heads.
            is_causal: whether a query sees only keys up to its own position.

        Returns:
            The result, shaped as `query`, and the weights [N, L, S] (or [N, num_heads, L, S]) or None.

        Raises:
            ShapeError: the sizes do not fit.
        """
        check_features(f"MultiheadAttention({self.embed_dim}, ...)", query, -1, self.embed_dim, "embed_dim")
        check_features("MultiheadAttention: key", key, -1, self.kdim, "kdim")
        check_features("MultiheadAttention: value", value, -1, self.vdim, "vdim")
        is_swapped = self.batch_first and query.ndim == 3
        same = query is key is value
        inputs = [query] if same else [query, key, value]
        inputs = [x.transpose(0, 1) if is_swapped and x.ndim == 3 else x for x in inputs] * (3 if same else 1)
        packed = self._is_packed
        separate = {} if packed else {n: getattr(self, n) for n in ("q_proj_weight", "k_proj_weight", "v_proj_weight")}
        result, weights = multi_head_attention_forward(
            *inputs, self.embed_dim, self.num_heads, self.in_proj_weight if packed else None, self.in_proj_bias,
            None, None, False, self.dropout, self.out_proj.weight, self.out_proj.bias, training=self.training,
            key_padding_mask=key_padding_mask, need_weights=need_weights, attn_mask=attn_mask,
            use_separate_proj_weight=not packed, average_attn_weights=average_attn_weights, is_causal=is_causal,
            **separate,
        )  # fmt: skip
        return result.transpose(0, 1) if is_swapped else result, weights


MultiHeadAttention = MultiheadAttention
