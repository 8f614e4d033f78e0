"""Where elements are in a sequence: rotations of queries and keys, biases by distance, and windows."""

from __future__ import annotations

import numpy as np

from plait.core.errors import ArgumentError, ShapeError, message
from plait.nn.arguments import floating, narrowed, positive, widened
from plait.nn.module import Module
from plait.tensor.creation import arange, tensor
from plait.tensor.functions import abs as absolute, cos, sin
from plait.tensor.shaping import as_operand
from plait.tensor.stacking import concatenate
from plait.tensor.tensor import Tensor

Positions = int | Tensor


class RotaryEmbedding(Module):
    """Rotates pairs of features by angles that grow with the position (Su et al., 2021).

    The product of a rotated query and a rotated key depends on their distance only. Feature k of the first half makes
    a pair with feature k of the second half, the layout of GPT-NeoX and Llama; with `interleaved`, neighbours make
    pairs, the layout of the paper and of GPT-J.

    Args:
        dim: number of features that are rotated, an even number; features behind them stay as they are.
        base: the wavelengths go from 2 pi to 2 pi * base.
        interleaved: whether neighbouring features make pairs.

    Example:
        >>> plait.nn.RotaryEmbedding(2)(plait.tensor([[1.0, 0.0], [1.0, 0.0]]))
        tensor([[1.0000, 0.0000],
                [0.5403, 0.8415]])
    """

    def __init__(self, dim: int, base: float = 10000.0, interleaved: bool = False) -> None:
        self.dim, self.base, self.interleaved = positive(dim, "dim"), base, interleaved
        if dim % 2:
            raise ArgumentError(message("Rotated features come in pairs", f"dim={dim}", "an even number"))

    def forward(self, x: Tensor, positions: Tensor | None = None) -> Tensor:
        """Rotate.

        Args:
            x: queries or keys [..., L, features].
            positions: integers [L], or any shape that broadcasts with [..., L]; by default 0 to L - 1.

        Returns:
            A tensor like `x`.

        Raises:
            ShapeError: there are fewer than `dim` features.
        """
        x = floating(x, "RotaryEmbedding")
        if x.ndim < 2 or x.shape[-1] < self.dim:
            received, expected = f"shape {x.shape}", f"[..., length, features] with at least {self.dim} features"
            raise ShapeError(message(f"RotaryEmbedding({self.dim}) does not fit", received, expected))
        places = arange(x.shape[-2]) if positions is None else as_operand(positions, "RotaryEmbedding")
        # computed here and not kept as a buffer, which .to(bfloat16) would round
        frequencies = self.base ** (-np.arange(0, self.dim, 2) / self.dim)
        wide = widened(x[..., : self.dim])
        angles = (places[..., None] * tensor(frequencies.astype(np.float32))).to(wide.dtype)
        if self.interleaved:
            first, second = wide[..., ::2], wide[..., 1::2]
        else:
            first, second = wide[..., : self.dim // 2], wide[..., self.dim // 2 :]
        cosine, sine = cos(angles), sin(angles)
        parts = [first * cosine - second * sine, second * cosine + first * sine]
        if self.interleaved:
            parts = [concatenate([p[..., None] for p in parts], -1).flatten(-2)]
        rest = [x[..., self.dim :]] if x.shape[-1] > self.dim else []
        return concatenate([*[narrowed(p, x.dtype) for p in parts], *rest], -1)

    def extra_repr(self) -> str:
        return f"{self.dim}, base={self.base}" + (", interleaved=True" if self.interleaved else "")


def distances(queries: Positions, keys: Positions) -> Tensor:
    """Return how far each key [..., S] is behind each query [..., L]; a number stands for that many from 0 on."""
    first, second = (arange(p) if isinstance(p, int) else p for p in (queries, keys))
    return first[..., :, None] - second[..., None, :]


def sliding_window_mask(queries: Positions, keys: Positions, window: int | None = None) -> Tensor:
    """Return which keys a query sees: itself and those before it, or only the last `window` of these.

    Args:
        queries: positions [L] of the queries, or their number.
        keys: positions [S] of the keys, or their number.
        window: how many keys are seen (Beltagy et al., 2020), or None for all.

    Returns:
        Bools [L, S], True for what is seen, as `scaled_dot_product_attention` takes them.

    Raises:
        ArgumentError: the window is smaller than 1.

    Example:
        >>> plait.nn.positional.sliding_window_mask(3, 3, window=2)
        tensor([[ True, False, False],
                [ True,  True, False],
                [False,  True,  True]])
    """
    behind = distances(queries, keys)
    return behind >= 0 if window is None else (behind >= 0) & (behind < positive(window, "window"))


def alibi_slopes(num_heads: int) -> Tensor:
    """Return the slope of each head, powers of two from 1/2 or less to 1/256 (Press et al., 2022).

    Args:
        num_heads: number of heads. Where it is no power of two, every second slope of twice as many heads is added.

    Raises:
        ArgumentError: there are no heads.

    Example:
        >>> plait.nn.positional.alibi_slopes(4)
        tensor([0.2500, 0.0625, 0.0156, 0.0039])
    """
    power = 1 << (positive(num_heads, "num_heads").bit_length() - 1)
    slopes = [2 ** (-8 * (k + 1) / power) for k in range(power)]
    slopes += [2 ** (-4 * (k + 1) / power) for k in range(0, 2 * (num_heads - power), 2)]
    return tensor(slopes)


def alibi_bias(num_heads: int, queries: Positions, keys: Positions) -> Tensor:
    """Return what attention with linear biases adds to the products: -slope * distance (Press et al., 2022).

    Args:
        num_heads: number of heads.
        queries: positions [L] of the queries, or their number.
        keys: positions [S] of the keys, or their number.

    Returns:
        A tensor [num_heads, L, S].

    Example:
        >>> plait.nn.positional.alibi_bias(8, 2, 2)[0]
        tensor([[ 0.0000, -0.5000],
                [-0.5000,  0.0000]])
    """
    return -absolute(distances(queries, keys)) * alibi_slopes(num_heads)[:, None, None]
