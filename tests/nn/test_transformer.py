"""Transformers and attention: compiled as eager, decoded with a cache as at once; positions; errors."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import plait
from plait import nn
from plait.core.errors import ArgumentError, ArgumentTypeError, DTypeError, PlaitError, ShapeError
from plait.nn.positional import alibi_bias, alibi_slopes, sliding_window_mask

random = np.random.default_rng(0)
KINDS: dict[str, dict[str, Any]] = {
    "plain": {},
    "groups": {"num_kv_heads": 2, "head_dim": 6, "bias": True},
    "rotary": {"num_kv_heads": 1, "rotary": nn.RotaryEmbedding(4)},
    "linear biases": {"alibi": True},
    "window": {"window": 3, "num_kv_heads": 2},
    "all": {"window": 4, "alibi": True, "num_kv_heads": 2, "rotary": nn.RotaryEmbedding(2, interleaved=True)},
}


def draw(*shape: int) -> plait.Tensor:
    return plait.tensor(random.normal(size=shape).astype(np.float32))


def close(ours: Any, expected: Any, tolerance: float = 1e-5) -> None:
    found, wanted = plait.tree.leaves(ours), plait.tree.leaves(expected)
    assert len(found) == len(wanted)
    for a, b in zip(found, wanted, strict=True):
        np.testing.assert_allclose(a.detach().numpy(), b.detach().numpy(), rtol=tolerance, atol=tolerance)


def attention(kind: str) -> nn.GroupedQueryAttention:
    return nn.GroupedQueryAttention(16, 4, **KINDS[kind])


def cache_of(module: nn.GroupedQueryAttention, length: int) -> nn.KVCache:
    return nn.KVCache(2, module.num_kv_heads, length, module.head_dim)


# transformers


def test_compiled_training_is_eager() -> None:
    layer = nn.TransformerDecoderLayer(8, 2, 16, 0.0, batch_first=True)
    functional = plait.tree.map_(lambda p: p.detach(), layer)

    def loss(layer: Any, target: plait.Tensor, memory: plait.Tensor) -> plait.Tensor:
        return (layer(target, memory, tgt_is_causal=True) ** 2 * target).sum()

    values = plait.value_and_grad(loss, argnums=(0, 1))
    inputs = draw(2, 4, 8), draw(2, 5, 8)
    close(plait.jit(values)(functional, *inputs), values(functional, *inputs), 1e-4)


def test_vmap_over_examples() -> None:
    layer = nn.TransformerEncoderLayer(8, 2, 16, 0.0, batch_first=True)
    x = draw(3, 5, 8)
    close(plait.vmap(layer)(x), layer(x))
    module = attention("all")
    x = draw(3, 5, 16)
    close(plait.vmap(module)(x), module(x))


def test_causal_is_a_mask() -> None:
    encoder = nn.TransformerEncoder(nn.TransformerEncoderLayer(8, 2, 16, 0.0), 2, nn.LayerNorm(8))
    x, mask = draw(5, 2, 8), nn.Transformer.generate_square_subsequent_mask(5)
    close(encoder(x, is_causal=True), encoder(x, mask))
    decoder = nn.TransformerDecoder(nn.TransformerDecoderLayer(8, 2, 16, 0.0), 2)
    memory = draw(5, 2, 8)
    close(
        decoder(x, memory, tgt_is_causal=True, memory_is_causal=True),
        decoder(x, memory, tgt_mask=mask == -np.inf, memory_mask=mask),
    )


def test_layers_of_a_stack_are_copies() -> None:
    layer = nn.TransformerEncoderLayer(8, 2, 16)
    first, second = nn.TransformerEncoder(layer, 2).layers
    assert first.linear1.weight is not second.linear1.weight
    close(first.linear1.weight, second.linear1.weight)


def test_dropout_only_in_training_mode() -> None:
    layer, x = nn.TransformerDecoderLayer(8, 2, 16, dropout=0.5, activation=plait.tanh), draw(5, 2, 8)
    assert not np.array_equal(layer(x, x).detach().numpy(), layer(x, x).detach().numpy())
    close(layer.eval()(x, x), layer(x, x))


# grouped queries and the cache


@pytest.mark.parametrize("kind", [k for k in KINDS if k != "plain"])
def test_decoding_with_a_cache_is_attention_at_once(kind: str) -> None:
    module, x, staged = attention(kind), draw(2, 9, 16), []
    expected = module(x)

    @plait.jit
    def compiled(x: plait.Tensor, cache: nn.KVCache) -> plait.Tensor:
        staged.append(1)
        return module(x, cache=cache)

    with plait.no_grad():
        for decode in (compiled, lambda x, cache: module(x, cache=cache)) if kind == "all" else (compiled,):
            cache = cache_of(module, 12)
            parts = [decode(x[:, :4], cache)] + [decode(x[:, k : k + 1], cache) for k in range(4, 9)]
            close(plait.cat(parts, 1), expected)
            assert cache.length.item() == 9
    assert len(staged) == 2  # the beginning, and every element after it


def test_cache_in_a_compiled_closure_and_after_reset() -> None:
    module, x = attention("rotary"), draw(2, 4, 16)
    cache = cache_of(module, 4)
    step = plait.jit(lambda x: module(x, cache=cache))
    with plait.no_grad():
        for _ in range(2):
            close(plait.cat([step(x[:, k : k + 1]) for k in range(4)], 1), module(x))
            cache.reset()
    assert not cache.state_dict()


def test_cache_of_another_dtype() -> None:
    module, x = attention("groups"), draw(2, 4, 16)
    cache = nn.KVCache(2, 2, 4, 6, dtype=plait.bfloat16)
    with plait.no_grad():
        result = module(x, cache=cache)
    assert result.dtype is plait.float32 and cache.keys.dtype is plait.bfloat16
    close(result, module(x), 0.03)


def test_full_cache() -> None:
    module, x = attention("plain"), draw(2, 3, 16)
    cache = cache_of(module, 4)
    with plait.no_grad():
        module(x, cache=cache).numpy()
        with pytest.raises(ArgumentError, match="Received: 3 after 3 others. Expected: at most 4. Fix: .* max_length"):
            module(x, cache=cache)
        result = plait.jit(module)(x, cache=cache)
    assert np.isnan(result.numpy()[:, 1:]).all()


def test_gradients_go_to_the_new_elements_of_a_cache() -> None:
    module, x = attention("groups"), draw(2, 5, 16)
    weight = draw(2, 2, 16)
    cache = cache_of(module, 6)
    with plait.no_grad():
        module(x[:, :3], cache=cache)
    cached = plait.grad(lambda new: (module(new, cache=cache) * weight).sum())(x[:, 3:])
    at_once = plait.grad(lambda x: (module(x)[:, 3:] * weight).sum())(x)
    close(cached, at_once[:, 3:])


def test_masks_of_grouped_queries() -> None:
    module, x = attention("linear biases"), draw(2, 5, 16)
    seen = plait.tensor(random.uniform(size=(2, 1, 5, 5)) < 0.7) | plait.eye(5).to(plait.bool_)
    number = plait.where(seen, 0.0, -np.inf)
    close(module(x, seen), module(x, number))
    padded = plait.cat([x, draw(2, 2, 16)], 1)
    both_ways = nn.GroupedQueryAttention(16, 4, is_causal=False)
    close(both_ways(padded, plait.arange(7) < 5)[:, :5], both_ways(x))


def test_groups_share_keys_and_values() -> None:
    module = attention("groups")
    full = nn.GroupedQueryAttention(16, 4, head_dim=6, bias=True)
    state = module.state_dict()
    for name in ("k_proj", "v_proj"):
        for part in ("weight", "bias"):
            heads = state[f"{name}.{part}"].unflatten(0, (2, 6))
            state[f"{name}.{part}"] = plait.repeat_interleave(heads, 2, dim=0).flatten(0, 1)
    full.load_state_dict(state)
    x = draw(2, 5, 16)
    close(module(x), full(x))


# positions


@pytest.mark.parametrize("interleaved", [False, True])
def test_rotation_is_by_complex_numbers(interleaved: bool) -> None:
    rotary, x = nn.RotaryEmbedding(6, 100.0, interleaved), random.normal(size=(2, 5, 8)).astype(np.float32)
    pairs = x[..., :6].reshape(2, 5, 3, 2) if interleaved else np.stack([x[..., :3], x[..., 3:6]], -1)
    places = np.array([0, 3, 4, 10, 11])
    turned = (pairs[..., 0] + 1j * pairs[..., 1]) * np.exp(1j * places[:, None] * 100.0 ** (-np.arange(3) / 3))
    parts = np.stack([turned.real, turned.imag], -1 if interleaved else -2)
    result = rotary(plait.tensor(x), plait.tensor(places)).numpy()
    np.testing.assert_allclose(result[..., :6], parts.reshape(2, 5, 6), rtol=1e-5, atol=1e-5)
    np.testing.assert_array_equal(result[..., 6:], x[..., 6:])


def test_rotated_products_depend_on_the_distance() -> None:
    rotary, q, k = nn.RotaryEmbedding(8), draw(1, 8), draw(1, 8)
    close((rotary(q, plait.tensor([7])) * rotary(k, plait.tensor([4]))).sum(), (rotary(q, plait.tensor([3])) * k).sum())
    assert rotary(q.to(plait.bfloat16)).dtype is plait.bfloat16


def test_slopes() -> None:
    close(alibi_slopes(8), plait.tensor([2.0**-k for k in range(1, 9)]))
    close(alibi_slopes(6), plait.tensor([2.0**-k for k in (2, 4, 6, 8, 1, 3)]))
    close(alibi_bias(8, plait.tensor([3]), 5)[1], plait.tensor([[-0.75, -0.5, -0.25, 0, -0.25]]))


def test_windows() -> None:
    behind = np.arange(6)[:, None] - np.arange(6)
    for window in (1, 3, None):
        expected = (behind >= 0) & (behind < (window or 6))
        np.testing.assert_array_equal(sliding_window_mask(6, 6, window).numpy(), expected)
    np.testing.assert_array_equal(
        sliding_window_mask(plait.tensor([4, 5]), 6, 2).numpy(), (behind >= 0)[4:] & (behind < 2)[4:]
    )


X, GROUPED, CACHE = plait.ones(2, 3, 8), nn.GroupedQueryAttention(8, 4, 2), nn.KVCache(2, 2, 4, 2)
MISTAKES: list[tuple[Any, type[PlaitError], str]] = [
    (lambda: nn.MultiheadAttention(8, 3), ArgumentError, "must divide embed_dim. Received: embed_dim=8, num_heads=3"),
    (lambda: nn.GroupedQueryAttention(8, 4, 3), ArgumentError, "embed_dim=8, num_heads=4, num_kv_heads=3. Fix"),
    (lambda: nn.GroupedQueryAttention(8, 3), ArgumentError, "divides embed_dim unless head_dim is given"),
    (lambda: nn.GroupedQueryAttention(8, 4, is_causal=False, window=2), ArgumentError, "A window needs causal"),
    (lambda: nn.GroupedQueryAttention(8, 4, window=0), ArgumentError, "window is too small. Received: 0"),
    (lambda: GROUPED(plait.ones(2, 3, 7)), ShapeError, "was made with embed_dim=8"),
    (lambda: GROUPED(plait.ones(1, 2, 3, 8)), ShapeError, "takes other axes"),
    (lambda: GROUPED(X[:1], cache=CACHE), ShapeError, r"made for other sizes.*Expected: \[2, 2, L, 2\]"),
    (lambda: nn.GroupedQueryAttention(8, 4, 2, is_causal=False)(X, cache=CACHE), ArgumentError, "A cache needs causal"),
    (lambda: CACHE.append(plait.ones(2, 2, 1), [1]), ArgumentTypeError, "KVCache"),
    (lambda: GROUPED(X, plait.eye(3).to(plait.int64)), DTypeError, "Received: int64. Expected: a float dtype"),
    (lambda: nn.KVCache(2, 2, 0, 2), ArgumentError, "max_length is too small. Received: 0"),
    (lambda: nn.RotaryEmbedding(3), ArgumentError, "come in pairs. Received: dim=3. Expected: an even number"),
    (lambda: nn.RotaryEmbedding(4)(plait.ones(3, 2)), ShapeError, "with at least 4 features"),
    (lambda: sliding_window_mask(3, 3, 0), ArgumentError, "window is too small. Received: 0"),
    (lambda: alibi_slopes(0), ArgumentError, "num_heads is too small. Received: 0"),
    (lambda: nn.TransformerEncoderLayer(8, 2, activation="elu"), ArgumentError, "Unknown activation. Received: 'elu'"),
    (lambda: nn.TransformerEncoder(nn.Linear, 2), ArgumentTypeError, "Received: type. Expected: a module"),
    (lambda: nn.TransformerEncoder(nn.Identity(), 0), ArgumentError, "num_layers is too small"),
    (lambda: nn.Transformer(8, 2, 1, 1, 8)(X, plait.ones(2, 3, 7)), ShapeError, r"tgt does not fit.*\[length, N, 8\]"),
]  # fmt: skip


@pytest.mark.parametrize(("call", "error", "text"), MISTAKES)
def test_mistakes(call: Any, error: type[PlaitError], text: str) -> None:
    with pytest.raises(error, match=text):
        call()
