"""Transformers (Vaswani et al., 2017): encoder and decoder layers, stacks of them, and both together."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

from plait.core.errors import ArgumentError, ArgumentTypeError, ShapeError, message
from plait.nn import init
from plait.nn.arguments import positive
from plait.nn.attention import MultiheadAttention
from plait.nn.containers import ModuleList
from plait.nn.dropout import Dropout
from plait.nn.linear import Linear
from plait.nn.module import Module
from plait.nn.normalization import LayerNorm
from plait.tensor.creation import full
from plait.tensor.diagonals import triu
from plait.tensor.functions import gelu, relu
from plait.tensor.tensor import Tensor

Activation = str | Callable[[Tensor], Tensor]
_ACTIVATIONS = {"relu": relu, "gelu": gelu}


class _TransformerLayer(Module):
    """What encoder and decoder layers share: attention and a feed-forward network, each added to its input."""

    _attentions: tuple[str, ...]

    def __init__(
        self, d_model: int, nhead: int, dim_feedforward: int = 2048, dropout: float = 0.1,
        activation: Activation = relu, layer_norm_eps: float = 1e-5, batch_first: bool = False,
        norm_first: bool = False, bias: bool = True, device: Any = None, dtype: Any = None,
    ) -> None:  # fmt: skip
        if not callable(activation) and activation not in _ACTIVATIONS:
            raise ArgumentError(message("Unknown activation", repr(activation), '"relu", "gelu" or a function'))
        self.activation = _ACTIVATIONS[activation] if isinstance(activation, str) else activation
        self.norm_first = norm_first
        for name in self._attentions:
            attention = MultiheadAttention(d_model, nhead, dropout, bias, batch_first=batch_first, dtype=dtype)
            self.register_module(name, attention)
        self.linear1 = Linear(d_model, dim_feedforward, bias, dtype=dtype)
        self.dropout = Dropout(dropout)
        self.linear2 = Linear(dim_feedforward, d_model, bias, dtype=dtype)
        parts = range(1, len(self._attentions) + 2)
        for k in parts:
            self.register_module(f"norm{k}", LayerNorm(d_model, layer_norm_eps, bias=bias, dtype=dtype))
        for k in parts:
            self.register_module(f"dropout{k}", Dropout(dropout))

    def _add(self, x: Tensor, number: int, part: Callable[[Tensor], Tensor]) -> Tensor:
        """Return `x` plus the result of a part, with part `number`'s normalization before it or behind the sum."""
        norm, drop = getattr(self, f"norm{number}"), getattr(self, f"dropout{number}")
        return x + drop(part(norm(x))) if self.norm_first else norm(x + drop(part(x)))

    def _feed_forward(self, x: Tensor) -> Tensor:
        return self.linear2(self.dropout(self.activation(self.linear1(x))))


class TransformerEncoderLayer(_TransformerLayer):
    """Self-attention and a feed-forward network, each added to its input and normalized (Vaswani et al., 2017).

    Args:
        d_model: size of an element.
        nhead: number of heads; it divides `d_model`.
        dim_feedforward: size of the hidden layer of the feed-forward network.
        dropout: probability with which elements are dropped.
        activation: the function in the feed-forward network: "relu", "gelu", or a function of a tensor.
        layer_norm_eps: what layer normalization adds to the variance.
        batch_first: whether inputs are [N, T, d_model], not [T, N, d_model].
        norm_first: whether the normalization is before attention and network, not behind the sum (Xiong et al., 2020).
        bias: whether the parts have biases.
        device: "cpu".
        dtype: element type of the parameters, float32 by default.

    Example:
        >>> plait.nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)(plait.zeros(4, 5, 8)).shape
        (4, 5, 8)
    """

    _attentions = ("self_attn",)

    def forward(
        self, src: Tensor, src_mask: Tensor | None = None, src_key_padding_mask: Tensor | None = None,
        is_causal: bool = False,
    ) -> Tensor:  # fmt: skip
        """Encode.

        Args:
            src: a tensor [T, N, d_model], or [N, T, d_model] with `batch_first`; the batch may be left out.
            src_mask: [T, T] or [N * nhead, T, T]: bools, True for what is *not* seen, or numbers added to the
                products.
            src_key_padding_mask: [N, T]: likewise, for the elements that are padding.
            is_causal: whether an element sees only those up to its own position.

        Returns:
            A tensor shaped as `src`.

        Raises:
            ShapeError: the sizes do not fit.
        """

        def attend(x: Tensor) -> Tensor:
            return self.self_attn(x, x, x, src_key_padding_mask, False, src_mask, is_causal=is_causal)[0]

        return self._add(self._add(src, 1, attend), 2, self._feed_forward)


class TransformerDecoderLayer(_TransformerLayer):
    """Self-attention, attention to an encoded sequence, and a feed-forward network (Vaswani et al., 2017).

    Args:
        d_model: size of an element.
        nhead: number of heads; it divides `d_model`.
        dim_feedforward: size of the hidden layer of the feed-forward network.
        dropout: probability with which elements are dropped.
        activation: the function in the feed-forward network: "relu", "gelu", or a function of a tensor.
        layer_norm_eps: what layer normalization adds to the variance.
        batch_first: whether inputs are [N, T, d_model], not [T, N, d_model].
        norm_first: whether the normalization is before attention and network, not behind the sum (Xiong et al., 2020).
        bias: whether the parts have biases.
        device: "cpu".
        dtype: element type of the parameters, float32 by default.

    Example:
        >>> layer = plait.nn.TransformerDecoderLayer(8, 2, 16, batch_first=True)
        >>> layer(plait.zeros(4, 5, 8), plait.zeros(4, 7, 8), tgt_is_causal=True).shape
        (4, 5, 8)
    """

    _attentions = ("self_attn", "multihead_attn")

    def forward(
        self, tgt: Tensor, memory: Tensor, tgt_mask: Tensor | None = None, memory_mask: Tensor | None = None,
        tgt_key_padding_mask: Tensor | None = None, memory_key_padding_mask: Tensor | None = None,
        tgt_is_causal: bool = False, memory_is_causal: bool = False,
    ) -> Tensor:  # fmt: skip
        """Decode.

        Args:
            tgt: a tensor [T, N, d_model], or [N, T, d_model] with `batch_first`; the batch may be left out.
            memory: what the encoder returned, [S, N, d_model], likewise.
            tgt_mask: [T, T] or [N * nhead, T, T]: bools, True for what is *not* seen, or numbers added to the products.
            memory_mask: [T, S] or [N * nhead, T, S], likewise.
            tgt_key_padding_mask: [N, T], likewise, for the elements that are padding.
            memory_key_padding_mask: [N, S], likewise.
            tgt_is_causal: whether an element of `tgt` sees only those up to its own position.
            memory_is_causal: whether an element of `tgt` sees `memory` only up to its own position.

        Returns:
            A tensor shaped as `tgt`.

        Raises:
            ShapeError: the sizes do not fit.
        """

        def attend(x: Tensor) -> Tensor:
            return self.self_attn(x, x, x, tgt_key_padding_mask, False, tgt_mask, is_causal=tgt_is_causal)[0]

        def look_up(x: Tensor) -> Tensor:
            masks = (memory_key_padding_mask, False, memory_mask)
            return self.multihead_attn(x, memory, memory, *masks, is_causal=memory_is_causal)[0]

        return self._add(self._add(self._add(tgt, 1, attend), 2, look_up), 3, self._feed_forward)


class _Stack(Module):
    """Copies of a layer, one after another, with a normalization at the end."""

    def __init__(self, layer: Module, num_layers: int, norm: Module | None) -> None:
        if not isinstance(layer, Module):
            text = f"{type(self).__name__} makes copies of a layer"
            raise ArgumentTypeError(message(text, type(layer).__name__, "a module"))
        self.layers = ModuleList([copy.deepcopy(layer) for _ in range(positive(num_layers, "num_layers"))])
        self.num_layers = num_layers
        self.register_module("norm", norm)

    def _apply_layers(self, x: Tensor, *args: Any) -> Tensor:
        for layer in self.layers:
            x = layer(x, *args)
        return x if self.norm is None else self.norm(x)


class TransformerEncoder(_Stack):
    """A stack of encoder layers.

    Args:
        encoder_layer: the layer, of which copies are made.
        num_layers: number of layers.
        norm: a module applied at the end, or None.
        enable_nested_tensor: accepted and not needed: there are no nested tensors.
        mask_check: accepted and not needed.

    Example:
        >>> layer = plait.nn.TransformerEncoderLayer(8, 2, 16)
        >>> plait.nn.TransformerEncoder(layer, 3)(plait.zeros(5, 4, 8), is_causal=True).shape
        (5, 4, 8)
    """

    def __init__(
        self, encoder_layer: Module, num_layers: int, norm: Module | None = None, enable_nested_tensor: bool = True,
        mask_check: bool = True,
    ) -> None:  # fmt: skip
        super().__init__(encoder_layer, num_layers, norm)

    def forward(
        self, src: Tensor, mask: Tensor | None = None, src_key_padding_mask: Tensor | None = None,
        is_causal: bool | None = None,
    ) -> Tensor:  # fmt: skip
        """Encode; the arguments are those of `TransformerEncoderLayer`."""
        return self._apply_layers(src, mask, src_key_padding_mask, bool(is_causal))


class TransformerDecoder(_Stack):
    """A stack of decoder layers.

    Args:
        decoder_layer: the layer, of which copies are made.
        num_layers: number of layers.
        norm: a module applied at the end, or None.

    Example:
        >>> layer = plait.nn.TransformerDecoderLayer(8, 2, 16)
        >>> plait.nn.TransformerDecoder(layer, 3)(plait.zeros(5, 4, 8), plait.zeros(7, 4, 8)).shape
        (5, 4, 8)
    """

    def __init__(self, decoder_layer: Module, num_layers: int, norm: Module | None = None) -> None:
        super().__init__(decoder_layer, num_layers, norm)

    def forward(
        self, tgt: Tensor, memory: Tensor, tgt_mask: Tensor | None = None, memory_mask: Tensor | None = None,
        tgt_key_padding_mask: Tensor | None = None, memory_key_padding_mask: Tensor | None = None,
        tgt_is_causal: bool | None = None, memory_is_causal: bool = False,
    ) -> Tensor:  # fmt: skip
        """Decode; the arguments are those of `TransformerDecoderLayer`."""
        masks = (tgt_mask, memory_mask, tgt_key_padding_mask, memory_key_padding_mask)
        return self._apply_layers(tgt, memory, *masks, bool(tgt_is_causal), memory_is_causal)


class Transformer(Module):
    """An encoder and a decoder (Vaswani et al., 2017).

    Args:
        d_model: size of an element.
        nhead: number of heads; it divides `d_model`.
        num_encoder_layers: number of layers of the encoder.
        num_decoder_layers: number of layers of the decoder.
        dim_feedforward: size of the hidden layers of the feed-forward networks.
        dropout: probability with which elements are dropped.
        activation: the function in the feed-forward networks: "relu", "gelu", or a function of a tensor.
        custom_encoder: a module to use as the encoder.
        custom_decoder: a module to use as the decoder.
        layer_norm_eps: what layer normalization adds to the variance.
        batch_first: whether inputs are [N, T, d_model], not [T, N, d_model].
        norm_first: whether the normalization is before attention and network, not behind the sum (Xiong et al., 2020).
        bias: whether the parts have biases.
        device: "cpu".
        dtype: element type of the parameters, float32 by default.

    Example:
        >>> model = plait.nn.Transformer(8, 2, 2, 2, 16, batch_first=True)
        >>> model(plait.zeros(4, 7, 8), plait.zeros(4, 5, 8), tgt_is_causal=True).shape
        (4, 5, 8)
    """

    def __init__(
        self, d_model: int = 512, nhead: int = 8, num_encoder_layers: int = 6, num_decoder_layers: int = 6,
        dim_feedforward: int = 2048, dropout: float = 0.1, activation: Activation = relu,
        custom_encoder: Module | None = None, custom_decoder: Module | None = None, layer_norm_eps: float = 1e-5,
        batch_first: bool = False, norm_first: bool = False, bias: bool = True, device: Any = None, dtype: Any = None,
    ) -> None:  # fmt: skip
        self.d_model, self.nhead, self.batch_first = d_model, nhead, batch_first
        rest = (dim_feedforward, dropout, activation, layer_norm_eps, batch_first, norm_first, bias, device, dtype)

        def norm() -> LayerNorm:
            return LayerNorm(d_model, layer_norm_eps, bias=bias, dtype=dtype)

        self.encoder = custom_encoder or TransformerEncoder(
            TransformerEncoderLayer(d_model, nhead, *rest), num_encoder_layers, norm()
        )
        self.decoder = custom_decoder or TransformerDecoder(
            TransformerDecoderLayer(d_model, nhead, *rest), num_decoder_layers, norm()
        )
        for parameter in self.parameters():
            if parameter.ndim > 1:
                init.xavier_uniform_(parameter)

    def forward(
        self, src: Tensor, tgt: Tensor, src_mask: Tensor | None = None, tgt_mask: Tensor | None = None,
        memory_mask: Tensor | None = None, src_key_padding_mask: Tensor | None = None,
        tgt_key_padding_mask: Tensor | None = None, memory_key_padding_mask: Tensor | None = None,
        src_is_causal: bool | None = None, tgt_is_causal: bool | None = None, memory_is_causal: bool = False,
    ) -> Tensor:  # fmt: skip
        """Encode `src` and decode `tgt`.

        Args:
            src: a tensor [S, N, d_model], or [N, S, d_model] with `batch_first`; the batch may be left out.
            tgt: a tensor [T, N, d_model], likewise.
            src_mask: [S, S] or [N * nhead, S, S]: bools, True for what is *not* seen, or numbers added to the products.
            tgt_mask: [T, T] or [N * nhead, T, T], likewise.
            memory_mask: [T, S] or [N * nhead, T, S], likewise.
            src_key_padding_mask: [N, S], likewise, for the elements that are padding.
            tgt_key_padding_mask: [N, T], likewise.
            memory_key_padding_mask: [N, S], likewise.
            src_is_causal: whether an element of `src` sees only those up to its own position.
            tgt_is_causal: whether an element of `tgt` sees only those up to its own position.
            memory_is_causal: whether an element of `tgt` sees `src` only up to its own position.

        Returns:
            A tensor shaped as `tgt`.

        Raises:
            ShapeError: the sizes do not fit.
        """
        for name, x in (("src", src), ("tgt", tgt)):
            if x.ndim not in (2, 3) or x.shape[-1] != self.d_model:
                expected = f"[length, N, {self.d_model}], or without a batch"
                expected = expected.replace("length, N", "N, length") if self.batch_first else expected
                raise ShapeError(message(f"Transformer: {name} does not fit", f"shape {x.shape}", expected))
        memory = self.encoder(src, src_mask, src_key_padding_mask, src_is_causal)
        masks = (tgt_mask, memory_mask, tgt_key_padding_mask, memory_key_padding_mask)
        return self.decoder(tgt, memory, *masks, tgt_is_causal, memory_is_causal)

    @staticmethod
    def generate_square_subsequent_mask(sz: int, device: Any = None, dtype: Any = None) -> Tensor:
        """Return a matrix [sz, sz] of zeros, with -inf above the diagonal: a causal mask that is added.

        Example:
            >>> plait.nn.Transformer.generate_square_subsequent_mask(2)
            tensor([[  0., -inf],
                    [  0.,   0.]])
        """
        return triu(full((sz, sz), float("-inf"), dtype=dtype), 1)
