"""Recurrent layers: compiled as eager, batched as one by one, padded and packed as alone; their errors."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import plait
from plait import nn
from plait.core.errors import ArgumentError, ArgumentTypeError, PlaitError, ShapeError
from plait.nn.utils import rnn

random = np.random.default_rng(0)
LENGTHS = [3, 6, 1, 4]
CASES = {
    "RNN": nn.RNN(3, 4),
    "LSTM": nn.LSTM(3, 4, bidirectional=True, proj_size=2, batch_first=True),
    "GRU": nn.GRU(3, 4, 2),
}


def draw(*shape: int) -> plait.Tensor:
    return plait.tensor(random.normal(size=shape).astype(np.float32))


def close(ours: Any, expected: Any, tolerance: float = 1e-5) -> None:
    found, wanted = plait.tree.leaves(ours), plait.tree.leaves(expected)
    assert len(found) == len(wanted)
    for a, b in zip(found, wanted, strict=True):
        np.testing.assert_allclose(a.detach().numpy(), b.detach().numpy(), rtol=tolerance, atol=tolerance)


def batch(layer: Any, steps: int = 6, count: int = 4) -> plait.Tensor:
    return draw(count, steps, 3) if layer.batch_first else draw(steps, count, 3)


def sequence(layer: Any, x: plait.Tensor, k: int, length: int) -> plait.Tensor:
    """Return sequence `k` of a batch as a batch of one."""
    return x[k : k + 1, :length] if layer.batch_first else x[:length, k : k + 1]


@pytest.mark.parametrize("name", CASES)
def test_compiled_is_eager(name: str) -> None:
    layer = CASES[name]
    x = batch(layer)

    def loss(layer: Any, x: plait.Tensor) -> plait.Tensor:
        output, state = layer(x)
        return (output**2).sum() + sum((s * output.mean()).sum() for s in plait.tree.leaves(state))

    functional = plait.tree.map_(lambda p: p.detach(), layer)
    values = plait.value_and_grad(loss, argnums=(0, 1))
    close(plait.jit(values)(functional, x), values(functional, x))
    with plait.no_grad():
        close(plait.jit(layer)(x), layer(x))


@pytest.mark.parametrize("name", CASES)
def test_forward_mode_agrees_with_reverse_mode(name: str) -> None:
    layer = CASES[name]
    x, tangent = batch(layer), batch(layer)

    def loss(x: plait.Tensor) -> plait.Tensor:
        return (layer(x)[0] ** 2).sum()

    forward = plait.jvp(loss, (x,), (tangent,))[1]
    close(forward, (plait.grad(loss)(x) * tangent).sum(), 1e-4)


@pytest.mark.parametrize("name", CASES)
def test_vmap_over_sequences(name: str) -> None:
    layer = CASES[name]
    x = batch(layer)
    axis = 0 if layer.batch_first else 1
    outputs, states = plait.vmap(layer, in_axes=axis, out_axes=(axis, 1))(x)
    close((outputs, states), layer(x))
    lengths = plait.tensor(LENGTHS)
    mapped = plait.vmap(lambda x, n: layer(x, lengths=n), in_axes=(axis, 0), out_axes=(axis, 1))(x, lengths)
    close(mapped, layer(x, lengths=lengths))


@pytest.mark.parametrize("name", ["RNNCell", "LSTMCell", "GRUCell"])
def test_layer_repeats_its_cell(name: str) -> None:
    cell, layer = getattr(nn, name)(3, 4), getattr(nn, name.removesuffix("Cell"))(3, 4)
    layer.load_state_dict({f"{k}_l0": v for k, v in cell.state_dict().items()})
    x, state, outputs = batch(layer), None, []
    for element in x:
        state = cell(element, state)
        outputs.append(plait.tree.leaves(state)[0])
    output, last = layer(x)
    close(output, plait.stack(outputs))
    close(plait.tree.map_(lambda s: s[0], last), state)


def test_state_continues_a_sequence() -> None:
    layer = nn.LSTM(3, 4, 2)
    x = batch(layer)
    whole, last = layer(x)
    first, state = layer(x[:2])
    second, state = layer(x[2:], state)
    close((plait.cat([first, second]), state), (whole, last))


@pytest.mark.parametrize("way", ["packed", "lengths"])
@pytest.mark.parametrize("name", CASES)
def test_lengths_are_as_sequences_alone(name: str, way: str) -> None:
    layer = CASES[name]
    x = batch(layer)
    first = [draw(s.shape[0], 4, s.shape[2]) for s in plait.tree.leaves(layer(x)[1])]
    state = tuple(first) if len(first) > 1 else first[0]
    if way == "packed":
        packed = rnn.pack_padded_sequence(x, LENGTHS, layer.batch_first, enforce_sorted=False)
        result, last = layer(packed, state)
        assert isinstance(result, rnn.PackedSequence)
        output, lengths = rnn.pad_packed_sequence(result, layer.batch_first)
        assert lengths.tolist() == LENGTHS
    else:
        output, last = layer(x, state, lengths=LENGTHS)
    for k, length in enumerate(LENGTHS):
        alone, end = layer(sequence(layer, x, k, length), plait.tree.map_(lambda s, k=k: s[:, k : k + 1], state))
        close(sequence(layer, output, k, length), alone)
        close(plait.tree.map_(lambda s, k=k: s[:, k : k + 1], last), end)
        assert not sequence(layer, output, k, 6).flatten(0, 1)[length:].detach().numpy().any()


def test_compiled_lengths() -> None:
    layer, staged = CASES["GRU"], []
    x = batch(layer)

    @plait.jit
    def run(x: plait.Tensor, lengths: plait.Tensor) -> Any:
        staged.append(1)
        return layer(x, lengths=lengths)

    with plait.no_grad():
        for lengths in (LENGTHS, LENGTHS[::-1]):
            close(run(x, plait.tensor(lengths)), layer(x, lengths=lengths))
        assert len(staged) == 1
        packed = rnn.pack_padded_sequence(x, LENGTHS, enforce_sorted=False)
        close(plait.jit(layer)(packed), layer(packed))


def test_dropout_is_between_layers_in_training_mode() -> None:
    layer = nn.LSTM(3, 4, 2, dropout=0.5)
    x = batch(layer)
    assert not np.array_equal(layer(x)[0].detach().numpy(), layer(x)[0].detach().numpy())
    close(layer.eval()(x), layer(x))
    single = nn.LSTM(3, 4, dropout=0.5)
    close(single(x), single(x))


def test_packing() -> None:
    x = plait.tensor([[1, 2, 0], [3, 0, 0], [4, 5, 6]])
    packed = rnn.pack_padded_sequence(x, plait.tensor([2, 1, 3]), batch_first=True, enforce_sorted=False)
    assert packed.data.tolist() == [4, 1, 3, 5, 2, 6] and packed.batch_sizes.tolist() == [3, 2, 1]
    assert packed.sorted_indices.tolist() == [2, 0, 1] and packed.unsorted_indices.tolist() == [1, 2, 0]
    back, lengths = rnn.pad_packed_sequence(packed, batch_first=True, padding_value=7, total_length=4)
    assert back.dtype is plait.int64 and lengths.tolist() == [2, 1, 3]
    assert back.tolist() == [[1, 2, 7, 7], [3, 7, 7, 7], [4, 5, 6, 7]]
    without = packed._replace(unsorted_indices=None)
    assert rnn.pad_packed_sequence(without, batch_first=True)[0].tolist() == x.tolist()
    assert packed.to(plait.float32).data.dtype is plait.float32


def test_gradients_through_packing() -> None:
    x = draw(5, 3, 2).requires_grad_()
    packed = rnn.pack_padded_sequence(x, [5, 2, 1])
    (rnn.pad_packed_sequence(packed)[0] * 3).sum().backward()
    expected = np.where(np.arange(5)[:, None, None] < np.array([5, 2, 1])[:, None], 3.0, 0.0)
    np.testing.assert_array_equal(x.grad.numpy(), np.broadcast_to(expected, (5, 3, 2)))


LAYER, CELL, SEQUENCES = nn.LSTM(3, 4), nn.LSTMCell(3, 4), [plait.ones(2), plait.ones(3)]
MISTAKES: list[tuple[Any, type[PlaitError], str]] = [
    (lambda: nn.RNN(3, 4, nonlinearity="elu"), ArgumentError, "nonlinearity. Received: 'elu'. Expected: \"tanh\""),
    (lambda: nn.RNNBase("SRU", 3, 4), ArgumentError, "Unknown mode. Received: 'SRU'. Expected: LSTM, GRU"),
    (lambda: nn.LSTM(3, 4, proj_size=4), ArgumentError, "proj_size does not fit. Received: proj_size=4, hidden_size=4"),
    (lambda: nn.GRU(3, 0), ArgumentError, "hidden_size is too small. Received: 0"),
    (lambda: nn.GRU(3, 4, dropout=2), ArgumentError, "dropout is a probability. Received: 2"),
    (lambda: LAYER(plait.ones(5, 2, 7)), ShapeError, r"LSTM\(3, 4\) was made with input_size=3"),
    (lambda: LAYER(plait.ones(1, 5, 2, 3)), ShapeError, r"LSTM\(3, 4\) takes other axes"),
    (lambda: LAYER(plait.ones(5, 2, 3), plait.ones(1, 2, 4)), ArgumentTypeError, r"a pair of tensors \(h, c\)"),
    (lambda: LAYER(plait.ones(5, 2, 3), [plait.ones(1, 3, 4)] * 2), ShapeError, r"Expected: \(1, 2, 4\)"),
    (lambda: LAYER(plait.ones(5, 2, 3), lengths=[1]), ShapeError, r"one length for each sequence.*shape \(1,\)"),
    (lambda: LAYER(plait.ones(5, 2, 3), lengths=[1.0, 2.0]), ArgumentTypeError, "Lengths are integers"),
    (lambda: LAYER(rnn.pack_sequence([plait.ones(2, 3)]), lengths=[2]), ArgumentTypeError, "Fix: leave lengths out"),
    (lambda: CELL(plait.ones(2, 5)), ShapeError, r"LSTMCell\(3, 4\) was made with input_size=3"),
    (lambda: CELL(plait.ones(2, 3), plait.ones(2, 4)), ArgumentTypeError, r"Expected: a pair of tensors \(h, c\)"),
    (lambda: CELL(plait.ones(2, 3), [plait.ones(4)] * 2), ShapeError, r"Expected: \(2, 4\)"),
    (lambda: rnn.pack_padded_sequence(plait.ones(3), [1]), ShapeError, "at least two axes"),
    (lambda: rnn.pack_padded_sequence(plait.ones(3, 2), [1, 2]), ArgumentError, "not sorted.*1, 2.*enforce_sorted"),
    (lambda: rnn.pack_padded_sequence(plait.ones(3, 2), [4, 2]), ArgumentError, "Expected: integers from 1 to 3"),
    (lambda: rnn.pack_padded_sequence(plait.ones(3, 2), [1, 0]), ArgumentError, "Fix: leave empty sequences out"),
    (lambda: rnn.pad_packed_sequence(plait.ones(3)), ArgumentTypeError, "Received: Tensor. Expected: a PackedSequence"),
    (lambda: rnn.pad_packed_sequence(rnn.pack_sequence(SEQUENCES[:1]), total_length=1), ArgumentError, "at least 2"),
    (lambda: rnn.pad_sequence([]), ArgumentError, "pad_sequence needs sequences"),
    (lambda: rnn.pad_sequence(SEQUENCES, padding_side="top"), ArgumentError, "Received: 'top'. Expected: \"right\""),
    (lambda: rnn.pad_sequence([plait.ones(2, 1), plait.ones(2, 2)]), ShapeError, "differ in their first axis only"),
]  # fmt: skip


@pytest.mark.parametrize(("call", "error", "text"), MISTAKES)
def test_mistakes(call: Any, error: type[PlaitError], text: str) -> None:
    with pytest.raises(error, match=text):
        call()
