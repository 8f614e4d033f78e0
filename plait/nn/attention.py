"""Attention: scaled dot products, and several heads of them."""

from __future__ import annotations

import math
from typing import Any

from plait.core.dtype import bool_
from plait.core.errors import ArgumentError, ShapeError, message
from plait.nn import init
from plait.nn.arguments import floating, positive, probability
from plait.nn.dropout import dropout
from plait.nn.linear import Linear, linear
from plait.nn.module import Module, check_features
from plait.tensor.creation import arange, empty, zeros
from plait.tensor.functions import where
from plait.tensor.reductions import softmax
from plait.tensor.tensor import Parameter, Tensor


def _weights(
    query: Tensor, key: Tensor, mask: Tensor | None, is_causal: bool, scale: float | None
) -> Tensor:  # fmt: skip
    """Return softmax of the scaled products of queries and keys; rows that may look at nothing are zero."""
    scores = (query * (1 / math.sqrt(query.shape[-1]) if scale is None else scale)) @ key.mT
    if is_causal:
        seen = arange(query.shape[-2])[:, None] >= arange(key.shape[-2])
        mask = seen if mask is None else mask & seen if mask.dtype is bool_ else where(seen, mask, -math.inf)
    if mask is None:
        return softmax(scores, -1)
    if mask.dtype is not bool_:
        return softmax(scores + mask, -1)
    lowest = -65504.0 if scores.dtype.name == "float16" else -3.3e38  # finite: a row of -inf would give NaN
    return where(mask, softmax(where(mask, scores, lowest), -1), 0.0)


def scaled_dot_product_attention(
    query: Any, key: Any, value: Any, attn_mask: Any = None, dropout_p: float = 0.0, is_causal: bool = False,
    scale: float | None = None,
) -> Tensor:  # fmt: skip
    """Return averages of `value`, weighted by softmax(query @ key.mT * scale) (Vaswani et al., 2017).

    Args:
        query: a tensor [..., L, E].
        key: a tensor [..., S, E].
        value: a tensor [..., S, V].
        attn_mask: bools [..., L, S] that tell which keys a query sees, or numbers that are added to the products.
        dropout_p: probability with which a weight is dropped.
        is_causal: whether a query sees only keys up to its own position.
        scale: factor of the products, by default 1 / sqrt(E).

    Returns:
        A tensor [..., L, V]; zero where a query sees nothing.

    Raises:
        ShapeError: the sizes do not fit.

    Example:
        >>> x = plait.ones(1, 2, 4)
        >>> plait.nn.functional.scaled_dot_product_attention(x, x, x).shape
        (1, 2, 4)
    """
    q, k, v = (floating(t, "scaled_dot_product_attention") for t in (query, key, value))
    if min(t.ndim for t in (q, k, v)) < 2 or q.shape[-1] != k.shape[-1] or k.shape[-2] != v.shape[-2]:
        received = f"query {q.shape}, key {k.shape}, value {v.shape}"
        text = "scaled_dot_product_attention: the sizes do not fit"
        raise ShapeError(message(text, received, "query [..., L, E], key [..., S, E], value [..., S, V]"))
    weights = _weights(q, k, attn_mask, is_causal, scale)
    return dropout(weights, dropout_p, dropout_p > 0) @ v


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
        is_single = query.ndim == 2
        inputs = [x[None] if is_single else x if self.batch_first else x.transpose(0, 1) for x in (query, key, value)]
        if any(x.ndim != 3 for x in inputs):
            received = f"query {query.shape}, key {key.shape}, value {value.shape}"
            raise ShapeError(message("MultiheadAttention takes three axes, or two without a batch", received))
        q, k, v = (self._heads(x) for x in self._projected(inputs))
        if attn_mask is not None and attn_mask.shape[-2:] != (q.shape[-2], k.shape[-2]):
            fix = None if self.batch_first else "inputs are [length, batch, features] unless batch_first=True is given"
            text, expected = "MultiheadAttention: attn_mask does not fit", (q.shape[-2], k.shape[-2])
            raise ShapeError(message(text, attn_mask.shape, f"{expected} on its last axes", fix))
        mask = self._mask(key_padding_mask, attn_mask, q.shape[0])
        weights = dropout(_weights(q, k, mask, is_causal, None), self.dropout, self.training)
        result = (weights @ v).transpose(1, 2).reshape(q.shape[0], -1, self.embed_dim)
        result = self.out_proj(result)
        result = result[0] if is_single else result if self.batch_first else result.transpose(0, 1)
        if not need_weights:
            return result, None
        weights = weights.mean(1) if average_attn_weights else weights
        return result, weights[0] if is_single else weights

    def _projected(self, inputs: list[Tensor]) -> list[Tensor]:
        if self._is_packed:
            weights = self.in_proj_weight.chunk(3)
        else:
            weights = [self.q_proj_weight, self.k_proj_weight, self.v_proj_weight]
        biases = [None] * 3 if self.in_proj_bias is None else self.in_proj_bias.chunk(3)
        return [linear(x, w, b) for x, w, b in zip(inputs, weights, biases, strict=True)]

    def _heads(self, x: Tensor) -> Tensor:
        """Return [N, heads, length, head_dim]."""
        return x.reshape(*x.shape[:2], self.num_heads, self.head_dim).transpose(1, 2)

    def _mask(self, padding: Tensor | None, attention: Tensor | None, batch: int) -> Tensor | None:
        """Return one mask [N or 1, heads or 1, L or 1, S]: bools that are True for keys that are seen, or numbers."""
        parts = []
        if padding is not None:
            parts.append(padding.reshape(batch, 1, 1, -1))
        if attention is not None:
            heads = (batch, self.num_heads) if attention.ndim == 3 else (1, 1)
            parts.append(attention.reshape(*heads, *attention.shape[-2:]))
        if all(p.dtype is bool_ for p in parts):
            parts = [~p for p in parts]
            return None if not parts else parts[0] if len(parts) == 1 else parts[0] & parts[1]
        first, *rest = [where(p, -math.inf, 0.0) if p.dtype is bool_ else p for p in parts]
        return first if not rest else first + rest[0]


MultiHeadAttention = MultiheadAttention
