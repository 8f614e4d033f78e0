"""Attention: scaled dot products, and several heads of them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import reduce
from operator import add, or_
from typing import Any

from plait.core.dtype import bool_
from plait.core.errors import ArgumentError, DTypeError, ShapeError, message
from plait.nn.arguments import floating, narrowed, positive, widened
from plait.nn.functional.dropout import dropout
from plait.nn.functional.linear import linear
from plait.tensor.creation import arange, zeros
from plait.tensor.functions import where
from plait.tensor.reductions import softmax, softmax_of_seen
from plait.tensor.shaping import as_operand, broadcast_to
from plait.tensor.splitting import chunk
from plait.tensor.stacking import concatenate
from plait.tensor.tensor import Tensor

__all__ = ["multi_head_attention_forward", "scaled_dot_product_attention"]


def _product(x: Tensor, y: Tensor) -> Tensor:
    """Return `x @ y`; if there are several heads of `x` for each of `y`, they are rows of one product."""
    if min(x.ndim, y.ndim) < 3 or x.shape[-3] == y.shape[-3] or 1 in (x.shape[-3], y.shape[-3]):
        return x @ y
    rows = x.shape[-3] // y.shape[-3] * x.shape[-2]
    return (x.reshape(*x.shape[:-3], y.shape[-3], rows, x.shape[-1]) @ y).reshape(*x.shape[:-1], y.shape[-1])


def _weights(query: Tensor, key: Tensor, mask: Tensor | None, is_causal: bool, scale: float | None) -> Tensor:
    """Return softmax of the scaled products of queries and keys; rows that may look at nothing are zero."""
    if scale is None:
        scale = 1 / math.sqrt(max(1, query.shape[-1]))
    scores = _product(query, key.mT) * scale
    if is_causal:
        seen = arange(query.shape[-2])[:, None] >= arange(key.shape[-2])
        mask = seen if mask is None else mask & seen if mask.dtype is bool_ else where(seen, mask, -math.inf)
    if mask is None or not scores.shape[-1]:
        return softmax(scores, -1)
    return softmax_of_seen(where(mask, scores, -math.inf) if mask.dtype is bool_ else scores + mask, -1)


def scaled_dot_product_attention(
    query: Any, key: Any, value: Any, attn_mask: Any = None, dropout_p: float = 0.0, is_causal: bool = False,
    scale: float | None = None, enable_gqa: bool = False,
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
        enable_gqa: whether several heads (axis -3) of `query` share each head of `key` and `value` (Ainslie et al.,
            2023).

    Returns:
        A tensor [..., L, V]; zero where a query sees nothing.

    Raises:
        ShapeError: the sizes do not fit.
        DTypeError: the mask holds neither bools nor real numbers.

    Example:
        >>> x = plait.ones(1, 2, 4)
        >>> plait.nn.functional.scaled_dot_product_attention(x, x, x).shape
        (1, 2, 4)
    """
    name = "scaled_dot_product_attention"
    q, k, v = (floating(t, name) for t in (query, key, value))
    if min(t.ndim for t in (q, k, v)) < 2 or q.shape[-1] != k.shape[-1] or k.shape[-2] != v.shape[-2]:
        received = f"query {q.shape}, key {k.shape}, value {v.shape}"
        expected = "query [..., L, E], key [..., S, E], value [..., S, V]"
        raise ShapeError(message(f"{name}: the sizes do not fit", received, expected))
    _check_heads(q, (k, v), enable_gqa, name)
    mask = None if attn_mask is None else as_operand(attn_mask, name)
    if mask is not None and not (mask.dtype is bool_ or mask.dtype.is_floating):
        raise DTypeError(message(f"The mask of {name} does not fit", mask.dtype.name, "bool or a float dtype"))
    weights = _weights(widened(q), widened(k), mask, is_causal, scale)
    return narrowed(_product(dropout(weights, dropout_p, dropout_p > 0), widened(v)), q.dtype)


def _check_heads(query: Tensor, others: tuple[Tensor, Tensor], enable_gqa: bool, name: str) -> None:
    for x in others:
        if query.ndim < 3 or x.ndim < 3 or query.shape[-3] == x.shape[-3]:
            continue
        if enable_gqa and query.shape[-3] % max(1, x.shape[-3]) == 0:
            continue
        if enable_gqa or 1 not in (query.shape[-3], x.shape[-3]):
            received = f"query {query.shape}, key or value {x.shape}"
            fix = None if enable_gqa else "pass enable_gqa=True where several heads of the query share a key"
            raise ShapeError(message(f"{name}: the heads (axis -3) do not fit", received, None, fix))


def multi_head_attention_forward(
    query: Any, key: Any, value: Any, embed_dim_to_check: int, num_heads: int, in_proj_weight: Any, in_proj_bias: Any,
    bias_k: Any, bias_v: Any, add_zero_attn: bool, dropout_p: float, out_proj_weight: Any, out_proj_bias: Any,
    training: bool = True, key_padding_mask: Any = None, need_weights: bool = True, attn_mask: Any = None,
    use_separate_proj_weight: bool = False, q_proj_weight: Any = None, k_proj_weight: Any = None,
    v_proj_weight: Any = None, static_k: Any = None, static_v: Any = None, average_attn_weights: bool = True,
    is_causal: bool = False,
) -> tuple[Tensor, Tensor | None]:  # fmt: skip
    """Attend with several heads between projected queries, keys and values (Vaswani et al., 2017).

    Args:
        query: a tensor [L, N, E]; the batch axis may be missing, here and below.
        key: a tensor [S, N, Ek].
        value: a tensor [S, N, Ev].
        embed_dim_to_check: the size E.
        num_heads: number of heads; it divides E.
        in_proj_weight: the projections of all three, [3 * E, E].
        in_proj_bias: their biases [3 * E], or None.
        bias_k: a key [1, 1, E] that is added to the sequence, or None.
        bias_v: a value [1, 1, E], likewise.
        add_zero_attn: whether a key and a value of zeros are added to the sequence.
        dropout_p: probability with which an attention weight is dropped.
        out_proj_weight: the projection of the result, [E, E].
        out_proj_bias: its bias [E], or None.
        training: whether weights are dropped.
        key_padding_mask: bools [N, S], True for keys that are *ignored*, or numbers added to the products.
        need_weights: whether the attention weights are returned too.
        attn_mask: [L, S] or [N * num_heads, L, S], with the same meaning as `key_padding_mask`.
        use_separate_proj_weight: whether the next three are used instead of `in_proj_weight`.
        q_proj_weight: the projection of the queries, [E, E].
        k_proj_weight: the projection of the keys, [E, Ek].
        v_proj_weight: the projection of the values, [E, Ev].
        static_k: keys [N * num_heads, S, E / num_heads] instead of the projected ones.
        static_v: values, likewise.
        average_attn_weights: whether the returned weights are averaged over the heads.
        is_causal: whether a query sees only keys up to its own position.

    Returns:
        The result [L, N, E], and the weights [N, L, S] (or [N, num_heads, L, S]) or None.

    Raises:
        ShapeError: the sizes do not fit.
        ArgumentError: arguments that belong together are missing.

    Example:
        >>> x, w = plait.ones(3, 1, 4), plait.eye(4)
        >>> plait.nn.functional.multi_head_attention_forward(
        ...     x, x, x, 4, 2, plait.cat([w, w, w]), None, None, None, False, 0.0, w, None)[0].shape
        (3, 1, 4)
    """
    inputs = [floating(x, "multi_head_attention_forward") for x in (query, key, value)]
    _check_inputs(inputs, embed_dim_to_check, num_heads)
    is_single = inputs[0].ndim == 2
    inputs = [x[:, None] for x in inputs] if is_single else inputs
    separate = (q_proj_weight, k_proj_weight, v_proj_weight)
    weights = separate if use_separate_proj_weight else (in_proj_weight,)
    q, *others = _projected(inputs, weights, in_proj_bias)
    shape = (q.shape[1], num_heads, -1, q.shape[2] // num_heads)
    q = _split(q, shape)
    k, v = (
        _extended(x, bias, static, add_zero_attn, shape)
        for x, bias, static in zip(others, (bias_k, bias_v), (static_k, static_v), strict=True)
    )
    sizes = (shape[0], num_heads, q.shape[2], inputs[1].shape[0])
    mask = _merged(key_padding_mask, attn_mask, is_causal, sizes, k.shape[2] - sizes[3])
    shares = dropout(_weights(widened(q), widened(k), mask, False, None), dropout_p, training)
    result = narrowed((shares @ widened(v)).permute(2, 0, 1, 3).reshape(inputs[0].shape), q.dtype)
    result = linear(result, out_proj_weight, out_proj_bias)
    result = result[:, 0] if is_single else result
    if not need_weights:
        return result, None
    shares = narrowed(shares.mean(1) if average_attn_weights else shares, q.dtype)
    return result, shares[0] if is_single else shares


def _check_inputs(inputs: Sequence[Tensor], embed_dim: int, heads: int) -> None:
    query, key, value = inputs
    if query.ndim not in (2, 3) or not query.ndim == key.ndim == value.ndim or key.shape[:-1] != value.shape[:-1]:
        received = f"query {query.shape}, key {key.shape}, value {value.shape}"
        expected = "query [L, N, E], key and value [S, N, E], or all without N"
        raise ShapeError(message("multi_head_attention_forward: the sizes do not fit", received, expected))
    if query.shape[-1] != embed_dim or embed_dim % positive(heads, "num_heads"):
        received = f"a query of shape {query.shape}, embed_dim_to_check={embed_dim}, num_heads={heads}"
        text = "multi_head_attention_forward: num_heads must divide the last axis of the query, embed_dim_to_check"
        raise ArgumentError(message(text, received))


def _projected(inputs: Sequence[Tensor], weights: Sequence[Any], bias: Any) -> Sequence[Tensor]:
    """Return projected query, key and value; one weight, or one for each."""
    if any(w is None for w in weights):
        expected = "q_proj_weight, k_proj_weight and v_proj_weight" if len(weights) == 3 else "in_proj_weight"
        raise ArgumentError(message("multi_head_attention_forward has no projection", "None", expected))
    if len(weights) == 1 and inputs[0] is inputs[1] is inputs[2]:
        return chunk(linear(inputs[0], weights[0], bias), 3, -1)
    each = chunk(weights[0], 3) if len(weights) == 1 else weights
    biases = [None] * 3 if bias is None else chunk(bias, 3)
    return [linear(x, w, b) for x, w, b in zip(inputs, each, biases, strict=True)]


def _split(x: Tensor, shape: tuple[int, ...]) -> Tensor:
    """Return [N, heads, length, head size] of [length, N, features]."""
    return x.reshape(x.shape[0], *shape[:2], shape[3]).permute(1, 2, 0, 3)


def _extended(x: Tensor, bias: Any, static: Any, add_zero: bool, shape: tuple[int, ...]) -> Tensor:
    """Return keys or values, split into heads, with what is added to the sequence."""
    if static is not None:
        result = as_operand(static, "multi_head_attention_forward").reshape(shape)
    else:
        x = x if bias is None else concatenate([x, broadcast_to(bias, (1, *x.shape[1:]))], 0)
        result = _split(x, shape)
    if add_zero:
        result = concatenate([result, zeros((*shape[:2], 1, shape[3]), dtype=result.dtype)], 2)
    return result


def _merged(
    padding: Any, attention: Any, is_causal: bool, sizes: tuple[int, int, int, int], extra: int
) -> Tensor | None:
    """Return one mask [N or 1, heads or 1, L or 1, S + extra]: bools that are True for keys seen, or numbers."""
    batch, heads, length, count = sizes
    parts = []
    if padding is not None:
        _check_mask(padding, "key_padding_mask", (batch, count), (count,) if batch == 1 else (batch, count))
        parts.append(padding.reshape(batch, 1, 1, count))
    if attention is not None:
        _check_mask(attention, "attn_mask", (length, count), (batch * heads, length, count))
        parts.append(attention.reshape(*((batch, heads) if attention.ndim == 3 else (1, 1)), length, count))
    if is_causal:
        parts.append((arange(length)[:, None] < arange(count))[None, None])
    if not parts:
        return None
    if extra:
        parts = [concatenate([p, zeros((*p.shape[:3], extra), dtype=p.dtype)], 3) for p in parts]
    if all(p.dtype is bool_ for p in parts):
        return ~reduce(or_, parts)
    return reduce(add, [where(p, -math.inf, 0.0) if p.dtype is bool_ else p for p in parts])


def _check_mask(mask: Tensor, name: str, *shapes: tuple[int, ...]) -> None:
    if mask.shape not in shapes:
        fix = "the axes of the inputs are [length, batch, features], unless a module has batch_first=True"
        raise ShapeError(message(f"{name} does not fit", mask.shape, " or ".join(map(str, dict.fromkeys(shapes))), fix))
    if not (mask.dtype is bool_ or mask.dtype.is_floating):
        raise DTypeError(message(f"{name} does not fit", mask.dtype.name, "bool or a float dtype"))
