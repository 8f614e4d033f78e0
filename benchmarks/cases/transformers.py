"""Transformers: training a GPT, inference of an encoder, decoding token by token."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from cases import Case, integers, weight


def block_class(lib: Any, causal: bool, first: bool) -> Any:
    """Return the class of blocks of PyTorch or plait; normalization comes first, or last as in BERT."""
    nn, attend = lib.nn, lib.nn.functional.scaled_dot_product_attention

    class Block(nn.Module):
        def __init__(self, size: int, heads: int) -> None:
            super().__init__()
            self.heads = heads
            self.norm1, self.norm2 = nn.LayerNorm(size), nn.LayerNorm(size)
            self.qkv, self.out = nn.Linear(size, 3 * size), nn.Linear(size, size)
            self.wide, self.narrow, self.gelu = nn.Linear(size, 4 * size), nn.Linear(4 * size, size), nn.GELU()

        def attention(self, x: Any) -> Any:
            n, length, size = x.shape
            parts = self.qkv(x).reshape(n, length, 3, self.heads, size // self.heads)
            q, k, v = (parts[:, :, k].transpose(1, 2) for k in range(3))
            return self.out(attend(q, k, v, is_causal=causal).transpose(1, 2).reshape(n, length, size))

        def forward(self, x: Any) -> Any:
            if first:
                x = x + self.attention(self.norm1(x))
                return x + self.narrow(self.gelu(self.wide(self.norm2(x))))
            x = self.norm1(x + self.attention(x))
            return self.norm2(x + self.narrow(self.gelu(self.wide(x))))

    return Block


def torch_model(lib: Any, gpt: bool, layers: int, size: int, heads: int, vocabulary: int, length: int) -> Any:
    nn, block = lib.nn, block_class(lib, gpt, gpt)

    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embedding, self.place_embedding = nn.Embedding(vocabulary, size), nn.Embedding(length, size)
            self.blocks = nn.Sequential(*[block(size, heads) for _ in range(layers)])
            self.norm = nn.LayerNorm(size)
            self.head = nn.Linear(size, vocabulary, bias=False) if gpt else None

        def forward(self, tokens: Any) -> Any:
            x = self.embedding(tokens) + self.place_embedding.weight
            return self.head(self.norm(self.blocks(x))) if gpt else self.blocks(self.norm(x))

    return Model()


def jax_model(
    kit: Any, p: Any, tokens: Any, gpt: bool, layers: int, size: int, heads: int, vocabulary: int, length: int
) -> Any:
    def attention(name: str, x: Any) -> Any:
        n = x.shape[0]
        parts = kit.reshape(kit.linear(p, f"{name}.qkv", x, 3 * size), (n, length, 3, heads, size // heads))
        y = kit.attention(parts[:, :, 0], parts[:, :, 1], parts[:, :, 2], causal=gpt)
        return kit.linear(p, f"{name}.out", kit.reshape(y, (n, length, size)), size)

    def network(name: str, x: Any) -> Any:
        return kit.linear(p, f"{name}.narrow", kit.gelu(kit.linear(p, f"{name}.wide", x, 4 * size)), size)

    x = kit.embedding(p("embedding.weight", vocabulary, size), tokens) + p("place_embedding.weight", length, size)
    if not gpt:
        x = kit.layer_norm(p, "norm", x)
    for k in range(layers):
        name = f"blocks.{k}"
        if gpt:
            x = x + attention(name, kit.layer_norm(p, f"{name}.norm1", x))
            x = x + network(name, kit.layer_norm(p, f"{name}.norm2", x))
        else:
            x = kit.layer_norm(p, f"{name}.norm1", x + attention(name, x))
            x = kit.layer_norm(p, f"{name}.norm2", x + network(name, x))
    return kit.linear(p, "head", kit.layer_norm(p, "norm", x), vocabulary, bias=False) if gpt else x


def torch_gpt(kit: Any, batch: int, **sizes: int) -> Any:
    def loss(model: Any, tokens: Any, following: Any) -> Any:
        return kit.functional.cross_entropy(model(tokens).flatten(0, 1), following.flatten())

    data = [integers(name, sizes["vocabulary"], batch, sizes["length"]) for name in ("tokens", "following")]
    return kit.train(torch_model(kit.lib, True, **sizes), loss, "AdamW", *data, lr=3e-4, weight_decay=0.1)


def jax_gpt(kit: Any, batch: int, **sizes: int) -> Any:
    def loss(kit: Any, p: Any, tokens: Any, following: Any) -> Any:
        return kit.cross_entropy(jax_model(kit, p, tokens, True, **sizes), following)

    data = [integers(name, sizes["vocabulary"], batch, sizes["length"]) for name in ("tokens", "following")]
    return kit.train(loss, "AdamW", *data, lr=3e-4, weight_decay=0.1)


def torch_bert(kit: Any, batch: int, **sizes: int) -> Any:
    tokens = integers("tokens", sizes["vocabulary"], batch, sizes["length"])
    return kit.infer(torch_model(kit.lib, False, **sizes), tokens)


def jax_bert(kit: Any, batch: int, **sizes: int) -> Any:
    tokens = integers("tokens", sizes["vocabulary"], batch, sizes["length"])
    return kit.infer(lambda kit, p, tokens: jax_model(kit, p, tokens, False, **sizes), tokens)


# decoding: a step is one token for each sequence, beside the keys and values of `place` earlier ones; the cache has
# a fixed size, so that it compiles once, and is written in place. The token does not depend on the last one, and the
# place stays, so that steps repeat themselves.


def shapes(layers: int, size: int, vocabulary: int) -> dict[str, tuple[int, ...]]:
    found: dict[str, tuple[int, ...]] = {"embedding.weight": (vocabulary, size)}
    for k in range(layers):
        for name, outputs, inputs in (
            ("qkv", 3 * size, size), ("out", size, size), ("wide", 4 * size, size), ("narrow", size, 4 * size)
        ):  # fmt: skip
            found[f"{k}.{name}.weight"] = (outputs, inputs)
            found[f"{k}.{name}.bias"] = (outputs,)
        for name in ("norm1", "norm2"):
            found |= {f"{k}.{name}.weight": (size,), f"{k}.{name}.bias": (size,)}
    return found


def torch_decode(kit: Any, layers: int, size: int, heads: int, vocabulary: int, length: int, batch: int) -> Any:
    functional, head = kit.functional, size // heads
    w = {n: kit.array(weight(n, s)) for n, s in shapes(layers, size, vocabulary).items()}
    caches = [[kit.array(weight(f"{name}{k}", (batch, heads, length, head))) for name in "kv"] for k in range(layers)]
    tokens, place = kit.array(integers("tokens", vocabulary, batch)), kit.array(np.array([length * 3 // 4]))
    places = kit.array(np.arange(length))

    def step(w: Any, caches: Any, tokens: Any, place: Any, places: Any) -> Any:
        def linear(name: str, x: Any) -> Any:
            return functional.linear(x, w[f"{name}.weight"], w[f"{name}.bias"])

        def norm(name: str, x: Any) -> Any:
            return functional.layer_norm(x, (size,), w[f"{name}.weight"], w[f"{name}.bias"])

        x, seen = w["embedding.weight"][tokens], places <= place
        for n, (keys, values) in enumerate(caches):
            q, k, v = linear(f"{n}.qkv", norm(f"{n}.norm1", x)).reshape(batch, 3, heads, 1, head).unbind(1)
            keys.index_copy_(2, place, k)
            values.index_copy_(2, place, v)
            y = functional.scaled_dot_product_attention(q, keys, values, attn_mask=seen[None, None, None, :])
            x = x + linear(f"{n}.out", y.reshape(batch, size))
            x = x + linear(f"{n}.narrow", functional.gelu(linear(f"{n}.wide", norm(f"{n}.norm2", x))))
        return functional.linear(x, w["embedding.weight"])

    return kit.without_gradients(step, w, caches, tokens, place, places)


def jax_decode(kit: Any, layers: int, size: int, heads: int, vocabulary: int, length: int, batch: int) -> Any:
    head, lib = size // heads, kit.np
    w = {
        n: kit.array(np.ascontiguousarray(a.T if a.ndim == 2 and "embedding" not in n else a))
        for n, s in shapes(layers, size, vocabulary).items() for a in [weight(n, s)]
    }  # fmt: skip
    caches = [
        [kit.array(weight(f"{name}{k}", (batch, heads, length, head)).transpose(0, 2, 1, 3)) for name in "kv"]
        for k in range(layers)
    ]
    tokens, place = kit.array(integers("tokens", vocabulary, batch)), kit.array(np.array(length * 3 // 4))

    def step(caches: Any, w: Any, tokens: Any, place: Any) -> Any:
        def linear(name: str, x: Any) -> Any:
            return x @ w[f"{name}.weight"] + w[f"{name}.bias"]

        def norm(name: str, x: Any) -> Any:
            centred = x - lib.mean(x, -1, keepdims=True)
            scale = kit.lax.rsqrt(lib.mean(centred * centred, -1, keepdims=True) + 1e-5)
            return centred * scale * w[f"{name}.weight"] + w[f"{name}.bias"]

        x, seen, fresh = w["embedding.weight"][tokens], lib.arange(length) <= place, []
        for n, (keys, values) in enumerate(caches):
            parts = linear(f"{n}.qkv", norm(f"{n}.norm1", x)).reshape(batch, 3, 1, heads, head)
            keys = kit.lax.dynamic_update_slice(keys, parts[:, 1], (0, place, 0, 0))
            values = kit.lax.dynamic_update_slice(values, parts[:, 2], (0, place, 0, 0))
            fresh.append([keys, values])
            y = kit.jax.nn.dot_product_attention(parts[:, 0], keys, values, mask=seen[None, None, None, :])
            x = x + linear(f"{n}.out", y.reshape(batch, size))
            x = x + linear(f"{n}.narrow", kit.gelu(linear(f"{n}.wide", norm(f"{n}.norm2", x))))
        return fresh, x @ w["embedding.weight"].T

    compiled, state = kit.compile(step, donate_argnums=0), [caches]

    def once() -> Any:
        state[0], logits = compiled(state[0], w, tokens, place)
        return logits

    return once


def decoding_work(layers: int, size: int, heads: int, vocabulary: int, length: int, batch: int) -> tuple[float, float]:
    """Return FLOPs and bytes: each weight is read once, each key and value too."""
    weights = sum(math.prod(s) for s in shapes(layers, size, vocabulary).values())
    cached = 2 * layers * batch * (length * 3 // 4) * size
    return 2.0 * batch * weights + 2.0 * cached, 4.0 * (weights + cached)


GPT = {"layers": 4, "size": 256, "heads": 4, "vocabulary": 1024, "length": 128, "batch": 8}
BERT = {"layers": 12, "size": 768, "heads": 12, "vocabulary": 30522, "length": 128, "batch": 1}
SMALL = {"layers": 2, "size": 32, "heads": 2, "vocabulary": 16, "length": 8, "batch": 2}

CASES = [
    Case("GPT 4 x 256, 8 x 128 tokens, AdamW", torch_gpt, jax_gpt, GPT, SMALL, tolerance=1e-3, training=True),
    Case("BERT-base, 1 x 128, inference", torch_bert, jax_bert, BERT, SMALL, tolerance=1e-3),
    # left out in TensorFlow, which has no update of a place of a tensor that is not a copy
    *[
        Case(
            f"decoding a token, 12 x 768, 512 places, batch {batch}", torch_decode, jax_decode,
            {"layers": 12, "size": 768, "heads": 12, "vocabulary": 8192, "length": 512, "batch": batch}, SMALL,
            tf=False, flops=lambda **s: decoding_work(**s)[0], traffic=lambda **s: decoding_work(**s)[1],
            tolerance=1e-3,
        )
        for batch in (1, 8)
    ],
]  # fmt: skip
