"""Recurrent layers, transformers and attention against PyTorch: values, gradients and state with the same weights."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest

import plait
from plait import nn
from plait.nn.utils import rnn

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.filterwarnings("ignore:LSTM with projections is not supported with oneDNN")
random = np.random.default_rng(0)


def draw(*shape: int) -> Any:
    return random.normal(size=shape).astype(np.float32)


def close(ours: Any, theirs: Any, tolerance: float = 2e-5) -> None:
    expected = theirs.detach().numpy()
    scale = max(1.0, float(np.abs(expected).max(initial=0.0)))
    np.testing.assert_allclose(ours.detach().numpy(), expected, rtol=tolerance, atol=tolerance * scale)


def pair(name: str, *args: Any, **options: Any) -> tuple[Any, Any]:
    """Return the module of plait and that of PyTorch with the weights of the latter, and the same repr."""
    ours, theirs = getattr(nn, name)(*args, **options), getattr(torch.nn, name)(*args, **options)
    for parameter in theirs.parameters():  # PyTorch starts some biases at zero, where mistakes do not show
        torch.nn.init.normal_(parameter, 0, 0.3)
    state = theirs.state_dict()
    assert list(ours.state_dict()) == list(state)
    ours.load_state_dict({k: v.numpy() for k, v in state.items()})
    return ours, theirs


def leaves(tree: Any) -> list[Any]:
    if tree is None:
        return []
    return [leaf for part in tree for leaf in leaves(part)] if isinstance(tree, (tuple, list)) else [tree]


def both(arrays: Any) -> tuple[list[Any], list[Any]]:
    return [plait.tensor(a, requires_grad=True) for a in arrays], [torch.tensor(a, requires_grad=True) for a in arrays]


def compare(ours: Any, theirs: Any, inputs: Any, results: Any, expected: Any) -> None:
    """Compare results, and the gradients of inputs and parameters of a weighted sum of all results."""
    results, expected = leaves(results), leaves(expected)
    assert [r.shape for r in results] == [tuple(e.shape) for e in expected]
    total: Any = 0
    other: Any = 0
    for r, e in zip(results, expected, strict=True):
        close(r, e)
        weight = draw(*r.shape)
        total, other = total + (r * weight).sum(), other + (e * torch.tensor(weight)).sum()
    total.backward()
    other.backward()
    for x, y in zip(*inputs, strict=True):
        close(x.grad, y.grad, 1e-4)
    gradients = {name: p.grad for name, p in theirs.named_parameters()}
    for name, p in ours.named_parameters():
        close(p.grad, gradients[name], 1e-4)


def states(name: str, options: dict[str, Any], *shape: int) -> list[Any]:
    """Return a first state for each of h and, for an LSTM, c."""
    count = options.get("num_layers", 1) * (1 + options.get("bidirectional", False))
    sizes = (options.get("proj_size") or 4, 4)[: 1 + (name == "LSTM")]
    return [draw(count, *shape, size) for size in sizes]


GRID = [
    {"num_layers": layers, "bidirectional": is_bidirectional, **extra}
    for layers, is_bidirectional in itertools.product((1, 2), (False, True))
    for extra in ({}, {"bias": False}, {"batch_first": True})
    if not extra or (layers > 1 and is_bidirectional)
]
KINDS = [
    ("RNN", {}), ("RNN", {"nonlinearity": "relu"}), ("LSTM", {}), ("LSTM", {"proj_size": 2}), ("GRU", {})
]  # fmt: skip
CASES = [(name, options | extra) for name, extra in KINDS for options in GRID]


@pytest.mark.parametrize(("name", "options"), CASES)
def test_recurrent_layer(name: str, options: dict[str, Any]) -> None:
    ours, theirs = pair(name, 3, 4, **options)
    assert repr(ours) == repr(theirs)
    inputs = both([draw(2, 5, 3) if options.get("batch_first") else draw(5, 2, 3), *states(name, options, 2)])
    first = [state_of(name, i[1:]) for i in inputs]
    compare(ours, theirs, inputs, ours(inputs[0][0], first[0]), theirs(inputs[1][0], first[1]))
    close(ours(inputs[0][0])[0], theirs(inputs[1][0])[0])
    for mine, other in zip(leaves(ours.all_weights), leaves(theirs.all_weights), strict=True):
        close(mine, other)


def state_of(name: str, given: list[Any]) -> Any:
    return tuple(given) if name.startswith("LSTM") else given[0]


@pytest.mark.parametrize("name", ["RNN", "LSTM", "GRU"])
def test_unbatched(name: str) -> None:
    options = {"num_layers": 2, "bidirectional": True}
    ours, theirs = pair(name, 3, 4, **options)
    inputs = both([draw(5, 3), *states(name, options)])
    results = [m(i[0], state_of(name, i[1:])) for m, i in zip((ours, theirs), inputs, strict=True)]
    compare(ours, theirs, inputs, *results)


@pytest.mark.parametrize(
    ("is_sorted", "options"), [(True, {}), (False, {"num_layers": 2, "bidirectional": True, "batch_first": True})]
)
@pytest.mark.parametrize(("name", "extra"), [("RNN", {}), ("GRU", {}), ("LSTM", {"proj_size": 2})])
def test_packed(name: str, extra: Any, options: dict[str, Any], is_sorted: bool) -> None:
    ours, theirs = pair(name, 3, 4, **options, **extra)
    lengths = [6, 4, 4, 1] if is_sorted else [4, 1, 6, 3]
    inputs = both([draw(4, 6, 3), *states(name, options | extra, 4)])
    packed = [
        library.pack_padded_sequence(i[0], lengths, batch_first=True, enforce_sorted=is_sorted)
        for library, i in zip((rnn, torch.nn.utils.rnn), inputs, strict=True)
    ]
    for mine, other in zip(*packed, strict=True):
        assert (mine is None) == (other is None)
        if mine is not None:
            close(mine, other)
    results = [m(p, state_of(name, i[1:])) for m, p, i in zip((ours, theirs), packed, inputs, strict=True)]
    padded = [
        library.pad_packed_sequence(r[0], batch_first=True, padding_value=2.0, total_length=7)
        for library, r in zip((rnn, torch.nn.utils.rnn), results, strict=True)
    ]
    assert padded[0][1].tolist() == padded[1][1].tolist()
    close(results[0][0].data, results[1][0].data)
    compare(ours, theirs, inputs, *[(p[0], r[1]) for p, r in zip(padded, results, strict=True)])


def test_padding_functions() -> None:
    arrays = [draw(n, 2) for n in (3, 1, 4)]
    ours, theirs = both(arrays)
    for options in ({}, {"batch_first": True}, {"padding_value": 3.0, "padding_side": "left"}):
        close(rnn.pad_sequence(ours, **options), torch.nn.utils.rnn.pad_sequence(theirs, **options))
    packed = rnn.pack_sequence(ours, enforce_sorted=False)
    close(packed.data, torch.nn.utils.rnn.pack_sequence(theirs, enforce_sorted=False).data)
    for sequence, array in zip(rnn.unpack_sequence(packed), arrays, strict=True):
        np.testing.assert_array_equal(sequence.detach().numpy(), array)


@pytest.mark.parametrize("shape", [(2,), ()])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize(
    ("name", "extra"), [("RNNCell", {}), ("RNNCell", {"nonlinearity": "relu"}), ("LSTMCell", {}), ("GRUCell", {})]
)
def test_cell(name: str, extra: Any, bias: bool, shape: tuple[int, ...]) -> None:
    ours, theirs = pair(name, 3, 4, bias=bias, **extra)
    assert repr(ours) == repr(theirs)
    inputs = both([draw(*shape, 3), *[draw(*shape, 4) for _ in range(1 + (name == "LSTMCell"))]])
    compare(
        ours, theirs, inputs, *[m(i[0], state_of(name, i[1:])) for m, i in zip((ours, theirs), inputs, strict=True)]
    )
    for mine, other in zip(leaves(ours(inputs[0][0])), leaves(theirs(inputs[1][0])), strict=True):
        close(mine, other)


MASKS = {
    "none": {},
    "bool": {"attn_mask": np.triu(np.ones((5, 6), bool), 2)},
    "number": {"attn_mask": draw(5, 6)},
    "of each head": {"attn_mask": random.uniform(size=(4, 5, 6)) < 0.3},
    "padding": {"key_padding_mask": np.arange(6) >= np.array([[6], [3]])},
    "both": {"key_padding_mask": np.arange(6) >= np.array([[4], [3]]), "attn_mask": np.triu(np.ones((5, 6), bool), 2)},
}
ATTENTION = [
    {}, {"bias": False, "batch_first": True}, {"add_bias_kv": True}, {"add_zero_attn": True},
    {"kdim": 3, "vdim": 5, "batch_first": True}, {"kdim": 3, "add_bias_kv": True, "add_zero_attn": True},
]  # fmt: skip


@pytest.mark.parametrize(
    ("options", "masks"),
    [(o, m) for o in ATTENTION for m in ("none", "both")] + [({}, m) for m in MASKS if m not in ("none", "both")],
)
def test_attention(options: dict[str, Any], masks: str) -> None:
    ours, theirs = pair("MultiheadAttention", 8, 2, **options)
    sizes = ((5, 8), (6, options.get("kdim", 8)), (6, options.get("vdim", 8)))
    is_first = options.get("batch_first", False)
    inputs = both([draw(2, n, e) if is_first else draw(n, 2, e) for n, e in sizes])
    given = [{k: tensor(v) for k, v in MASKS[masks].items()} for tensor in (plait.tensor, torch.tensor)]
    modules = list(zip((ours, theirs), inputs, given, strict=True))
    compare(ours, theirs, inputs, *[m(*i, **g) for m, i, g in modules])
    for extra in ({"need_weights": False}, {"average_attn_weights": False}):
        for mine, other in zip(*[leaves(m(*i, **g, **extra)) for m, i, g in modules], strict=True):
            close(mine, other)


def test_unbatched_attention() -> None:
    ours, theirs = pair("MultiheadAttention", 8, 2)
    inputs = both([draw(5, 8)])
    compare(ours, theirs, inputs, *[m(i[0], i[0], i[0]) for m, i in zip((ours, theirs), inputs, strict=True)])


LAYERS = [
    {}, {"norm_first": True, "batch_first": True, "activation": "gelu"}, {"bias": False},
    {"layer_norm_eps": 0.1, "batch_first": True},
]  # fmt: skip
CAUSAL = np.triu(np.ones((5, 5), bool), 1)
PADDED = np.arange(5) >= np.array([[5], [3]])


@pytest.mark.parametrize("options", LAYERS)
@pytest.mark.parametrize("masks", [{}, {"src_mask": CAUSAL, "src_key_padding_mask": PADDED}])
def test_encoder_layer(options: dict[str, Any], masks: dict[str, Any]) -> None:
    ours, theirs = pair("TransformerEncoderLayer", 8, 2, 16, 0.0, **options)
    inputs = both([draw(2, 5, 8) if options.get("batch_first") else draw(5, 2, 8)])
    given = [{k: tensor(v) for k, v in masks.items()} for tensor in (plait.tensor, torch.tensor)]
    compare(ours, theirs, inputs, *[m(*i, **g) for m, i, g in zip((ours, theirs), inputs, given, strict=True)])


@pytest.mark.parametrize("options", LAYERS)
def test_decoder_layer(options: dict[str, Any]) -> None:
    ours, theirs = pair("TransformerDecoderLayer", 8, 2, 16, 0.0, **options)
    is_first = options.get("batch_first")
    inputs = both([draw(2, n, 8) if is_first else draw(n, 2, 8) for n in (5, 7)])
    masks = {"tgt_mask": CAUSAL, "tgt_key_padding_mask": PADDED, "memory_key_padding_mask": np.ones((2, 7)) == 0}
    given = [{k: tensor(v) for k, v in masks.items()} for tensor in (plait.tensor, torch.tensor)]
    compare(ours, theirs, inputs, *[m(*i, **g) for m, i, g in zip((ours, theirs), inputs, given, strict=True)])


@pytest.mark.filterwarnings("ignore:enable_nested_tensor is True")
@pytest.mark.parametrize("options", [{}, {"batch_first": True, "norm_first": True}])
def test_transformer(options: dict[str, Any]) -> None:
    ours, theirs = pair("Transformer", 8, 2, 2, 2, 16, 0.0, **options)
    inputs = both([draw(2, n, 8) if options else draw(n, 2, 8) for n in (7, 5)])
    mask = theirs.generate_square_subsequent_mask(5)
    np.testing.assert_array_equal(ours.generate_square_subsequent_mask(5).numpy(), mask.numpy())
    result = ours(*inputs[0], tgt_is_causal=True)
    compare(ours, theirs, inputs, result, theirs(*inputs[1], tgt_mask=mask, tgt_is_causal=True))


def test_grouped_queries() -> None:
    module = nn.GroupedQueryAttention(16, 4, 2, bias=True, head_dim=6)
    inputs = both([draw(2, 5, 16)])
    theirs = torch.nn.ModuleDict(
        {n: torch.nn.Linear(p.in_features, p.out_features) for n, p in module.named_children()}
    )
    module.load_state_dict({k: v.numpy() for k, v in theirs.state_dict().items()})
    heads = [theirs[n](inputs[1][0]).unflatten(-1, (-1, 6)).transpose(1, 2) for n in ("q_proj", "k_proj", "v_proj")]
    found = torch.nn.functional.scaled_dot_product_attention(*heads, is_causal=True, enable_gqa=True)
    compare(module, theirs, inputs, module(inputs[0][0]), theirs["o_proj"](found.transpose(1, 2).flatten(2)))
