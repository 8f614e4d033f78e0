"""Attention of several heads as modules, and the cache of keys and values that decoding needs."""

from __future__ import annotations

from typing import Any

from plait.core.dtype import bool_
from plait.core.errors import ArgumentError, ShapeError, message
from plait.nn import init
from plait.nn.arguments import floating, positive, probability
from plait.nn.functional.attention import multi_head_attention_forward, scaled_dot_product_attention
from plait.nn.linear import Linear
from plait.nn.module import Module, check_features
from plait.nn.positional import RotaryEmbedding, alibi_bias, sliding_window_mask
from plait.tensor import lazy
from plait.tensor.autograd import no_grad
from plait.tensor.creation import arange, empty, tensor, zeros
from plait.tensor.functions import clamp, minimum, where
from plait.tensor.selection import index_select
from plait.tensor.shaping import as_operand
from plait.tensor.tensor import Parameter, Tensor


class MultiheadAttention(Module):
    """Attention of several heads between projected queries, keys and values, with PyTorch's parameters.

    Args:
        embed_dim: size of the queries and of the result.
        num_heads: number of heads; it divides `embed_dim`.
        dropout: probability with which an attention weight is dropped.
        bias: whether the projections have biases.
        add_bias_kv: whether a trained key and value are added to the sequence.
        add_zero_attn: whether a key and a value of zeros are added to the sequence.
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
        self, embed_dim: int, num_heads: int, dropout: float = 0.0, bias: bool = True, add_bias_kv: bool = False,
        add_zero_attn: bool = False, kdim: int | None = None, vdim: int | None = None, batch_first: bool = False,
        device: Any = None, dtype: Any = None,
    ) -> None:  # fmt: skip
        self.embed_dim, self.num_heads = positive(embed_dim, "embed_dim"), positive(num_heads, "num_heads")
        if embed_dim % num_heads:
            received = f"embed_dim={embed_dim}, num_heads={num_heads}"
            raise ArgumentError(message("num_heads must divide embed_dim", received))
        self.head_dim = embed_dim // num_heads
        self.kdim, self.vdim = kdim or embed_dim, vdim or embed_dim
        self.dropout, self.batch_first = probability(dropout, "dropout"), batch_first
        self.add_zero_attn = add_zero_attn
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
        for name in ("bias_k", "bias_v"):
            self.register_parameter(name, Parameter(empty(1, 1, embed_dim, dtype=dtype)) if add_bias_kv else None)
            if add_bias_kv:
                init.xavier_normal_(getattr(self, name))

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
            self.bias_k, self.bias_v, self.add_zero_attn, self.dropout, self.out_proj.weight, self.out_proj.bias,
            training=self.training, key_padding_mask=key_padding_mask, need_weights=need_weights, attn_mask=attn_mask,
            use_separate_proj_weight=not packed, average_attn_weights=average_attn_weights, is_causal=is_causal,
            **separate,
        )  # fmt: skip
        return result.transpose(0, 1) if is_swapped else result, weights


MultiHeadAttention = MultiheadAttention


class KVCache(Module):
    """The keys and values of a sequence so far, in buffers of a fixed size: decoding compiles once.

    Args:
        batch_size: number of sequences, all of one length.
        num_heads: number of heads of keys and values.
        max_length: the most elements of a sequence.
        head_dim: size of a key and of a value.
        device: "cpu".
        dtype: element type of the buffers, float32 by default; what is stored is converted to it.

    Example:
        >>> cache = plait.nn.KVCache(1, 2, 8, 4)
        >>> keys, values = cache.append(plait.ones(1, 2, 3, 4), plait.ones(1, 2, 3, 4))
        >>> keys.shape, cache.length
        ((1, 2, 8, 4), tensor(3))
    """

    def __init__(
        self, batch_size: int, num_heads: int, max_length: int, head_dim: int, device: Any = None, dtype: Any = None
    ) -> None:
        sizes = {"batch_size": batch_size, "num_heads": num_heads, "max_length": max_length, "head_dim": head_dim}
        shape = tuple([positive(size, name) for name, size in sizes.items()])
        self.max_length = max_length
        self.register_buffer("keys", zeros(shape, dtype=dtype), persistent=False)
        self.register_buffer("values", zeros(shape, dtype=dtype), persistent=False)
        self.register_buffer("length", tensor(0), persistent=False)

    @property
    def is_mutable_tree(self) -> bool:
        """True: `jit` takes a cache among its arguments as an object with state."""
        return True

    def append(self, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Store the next keys and values; returns the buffers, whose elements from `length` on mean nothing.

        Gradients go to the keys and values of this call, not to those of earlier ones. Where the cache is too short,
        the last places become NaN inside of `jit`, which cannot raise the error.

        Args:
            keys: a tensor [batch_size, num_heads, L, head_dim].
            values: likewise.

        Returns:
            All keys and all values [batch_size, num_heads, max_length, head_dim].

        Raises:
            ShapeError: the sizes do not fit.
            ArgumentError: the cache is too short.
        """
        keys, values = (floating(x, "KVCache") for x in (keys, values))
        batch, heads, _, size = self.keys.shape
        if keys.ndim != 4 or keys.shape != values.shape or (*keys.shape[:2], keys.shape[3]) != (batch, heads, size):
            received, expected = f"keys {keys.shape}, values {values.shape}", f"[{batch}, {heads}, L, {size}]"
            raise ShapeError(message("The cache was made for other sizes", received, expected))
        count = keys.shape[2]
        self._check_room(count)
        # a choice for each place, and not a scatter: `jit` then writes it in the memory of the buffer
        place = arange(self.max_length) - minimum(self.length, self.max_length - count)
        is_new, source = (place >= 0) & (place < count), clamp(place, 0, count - 1)
        fits = self.length + count <= self.max_length
        found = []
        for buffer, new in ((self.keys, keys), (self.values, values)):
            new = where(fits, new, float("nan")).to(buffer.dtype)
            result = where(is_new[:, None], index_select(new, 2, source), buffer.detach())
            with no_grad():
                buffer.copy_(result)
            found.append(result)
        with no_grad():
            self.length += count
        return found[0], found[1]

    def _check_room(self, count: int) -> None:
        """Raise `ArgumentError` where `count` more do not fit, if the length is known without waiting for it."""
        is_known = lazy.observing() is None and self.length._node.value is not None
        used = int(self.length.item()) if is_known else 0  # alone, `count` may be too much too
        if used + count > self.max_length:
            received, fix = f"{count} after {used} others", "make it with a larger max_length, or call reset()"
            raise ArgumentError(message("The cache is too short", received, f"at most {self.max_length}", fix))

    def reset(self) -> None:
        """Forget everything."""
        for buffer in self.buffers():
            buffer.zero_()

    def extra_repr(self) -> str:
        return ", ".join(map(str, self.keys.shape))


class GroupedQueryAttention(Module):
    """Attention within a sequence, whose heads share keys and values in groups (Ainslie et al., 2023).

    The parameters have the names that Llama and its successors use. One group for each head is ordinary multi-head
    attention, one group for all is multi-query attention (Shazeer, 2019).

    Args:
        embed_dim: size of an element.
        num_heads: number of heads of the queries.
        num_kv_heads: number of heads of keys and values, by default `num_heads`, which it divides.
        head_dim: size of a head, by default embed_dim / num_heads.
        bias: whether the projections have biases.
        dropout: probability with which an attention weight is dropped.
        is_causal: whether an element sees only those up to its own position.
        window: how many elements a causal element sees, itself included (Beltagy et al., 2020), or None for all.
        rotary: rotates queries and keys by their positions; layers may share one.
        alibi: whether products are biased by distance (Press et al., 2022).
        device: "cpu".
        dtype: element type of the parameters, float32 by default.

    Example:
        >>> attention = plait.nn.GroupedQueryAttention(8, 4, 2, rotary=plait.nn.RotaryEmbedding(2))
        >>> attention(plait.ones(1, 3, 8)).shape
        (1, 3, 8)
    """

    def __init__(
        self, embed_dim: int, num_heads: int, num_kv_heads: int | None = None, *, head_dim: int | None = None,
        bias: bool = False, dropout: float = 0.0, is_causal: bool = True, window: int | None = None,
        rotary: RotaryEmbedding | None = None, alibi: bool = False, device: Any = None, dtype: Any = None,
    ) -> None:  # fmt: skip
        self.embed_dim, self.num_heads = positive(embed_dim, "embed_dim"), positive(num_heads, "num_heads")
        self.num_kv_heads = positive(num_heads if num_kv_heads is None else num_kv_heads, "num_kv_heads")
        if num_heads % self.num_kv_heads or (head_dim is None and embed_dim % num_heads):
            received = f"embed_dim={embed_dim}, num_heads={num_heads}, num_kv_heads={self.num_kv_heads}"
            fix = "num_kv_heads divides num_heads, which divides embed_dim unless head_dim is given"
            raise ArgumentError(message("The heads do not fit", received, None, fix))
        if window is not None and not is_causal:
            raise ArgumentError(message("A window needs causal attention", "is_causal=False", "is_causal=True"))
        self.head_dim = positive(embed_dim // num_heads if head_dim is None else head_dim, "head_dim")
        self.dropout, self.is_causal, self.alibi = probability(dropout, "dropout"), is_causal, alibi
        self.window = None if window is None else positive(window, "window")
        sizes = {"q_proj": num_heads, "k_proj": self.num_kv_heads, "v_proj": self.num_kv_heads}
        for name, heads in sizes.items():
            self.register_module(name, Linear(embed_dim, heads * self.head_dim, bias, dtype=dtype))
        self.o_proj = Linear(num_heads * self.head_dim, embed_dim, bias, dtype=dtype)
        self.register_module("rotary", rotary)

    def forward(self, x: Tensor, attn_mask: Tensor | None = None, cache: KVCache | None = None) -> Tensor:
        """Attend.

        Args:
            x: a tensor [N, L, embed_dim] or [L, embed_dim].
            attn_mask: bools that broadcast with [N, num_heads, L, S], True for what is seen, or numbers added to the
                products; S is L, or the `max_length` of the cache.
            cache: keys and values of earlier elements, to which those of `x` are appended.

        Returns:
            A tensor shaped as `x`.

        Raises:
            ShapeError: the sizes do not fit.
            DTypeError: the mask holds integers.
            ArgumentError: a cache was passed to attention that is not causal, or it is too short.
        """
        name = f"GroupedQueryAttention({self.embed_dim}, ...)"
        check_features(name, x, -1, self.embed_dim, "embed_dim")
        if x.ndim not in (2, 3):
            raise ShapeError(message(f"{name} takes other axes", f"shape {x.shape}", "[N, L, E] or [L, E]"))
        if cache is not None and not self.is_causal:
            raise ArgumentError(message("A cache needs causal attention", "is_causal=False", "is_causal=True"))
        query, key, value = (
            p(x).unflatten(-1, (-1, self.head_dim)).transpose(-2, -3) for p in (self.q_proj, self.k_proj, self.v_proj)
        )
        places = arange(x.shape[-2]) + (0 if cache is None else cache.length)
        if self.rotary is not None:
            query, key = self.rotary(query, places), self.rotary(key, places)
        if cache is not None:
            key, value = cache.append(key, value)
        is_plain = cache is None and attn_mask is None and self.window is None and not self.alibi
        given = None if attn_mask is None else as_operand(attn_mask, "GroupedQueryAttention")
        mask = None if is_plain else self._mask(places, arange(key.shape[-2]), given)
        result = scaled_dot_product_attention(
            query, key, value, mask, self.dropout if self.training else 0.0, is_plain and self.is_causal,
            enable_gqa=True,
        )  # fmt: skip
        return self.o_proj(result.transpose(-2, -3).flatten(-2))

    def _mask(self, queries: Tensor, keys: Tensor, given: Tensor | None) -> Tensor | None:
        """Return bools, or numbers that are added, for queries and keys at these positions."""
        seen = sliding_window_mask(queries, keys, self.window) if self.is_causal else None
        bias = alibi_bias(self.num_heads, queries, keys) if self.alibi else None
        if given is not None and given.dtype is bool_:
            seen = given if seen is None else seen & given
        elif given is not None:
            bias = floating(given, "The mask of GroupedQueryAttention") + (0.0 if bias is None else bias)
        if bias is None:
            return seen
        return bias if seen is None else where(seen, bias, float("-inf"))

    def extra_repr(self) -> str:
        return f"{self.embed_dim}, num_heads={self.num_heads}, num_kv_heads={self.num_kv_heads}"
