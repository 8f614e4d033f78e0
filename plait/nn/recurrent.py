"""Recurrent layers and their cells. The steps of a layer are one `scan`; what needs no state is computed before it."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from plait.core.errors import ArgumentError, ArgumentTypeError, ShapeError, message
from plait.nn import init
from plait.nn.arguments import positive, probability
from plait.nn.functional.dropout import dropout
from plait.nn.functional.linear import linear
from plait.nn.module import Module, check_features
from plait.nn.utils.rnn import PackedSequence, length_mask, packed_like, padded, restored
from plait.tensor.control import scan
from plait.tensor.creation import empty, zeros
from plait.tensor.functions import relu, sigmoid, tanh, where
from plait.tensor.selection import index_select
from plait.tensor.splitting import chunk
from plait.tensor.stacking import concatenate, stack
from plait.tensor.tensor import Parameter, Tensor
from plait.tensor.transforms import checkpoint


def _lstm(gates: Tensor, h: Tensor, c: Tensor) -> tuple[Tensor, ...]:
    input, forget, new, output = chunk(gates, 4, -1)
    c = sigmoid(forget) * c + sigmoid(input) * tanh(new)
    return sigmoid(output) * tanh(c), c


def _gru(x: Tensor, hidden: Tensor, h: Tensor) -> tuple[Tensor, ...]:
    (reset, update, new), of_hidden = chunk(x, 3, -1), chunk(hidden, 3, -1)
    new = tanh(new + sigmoid(reset + of_hidden[0]) * of_hidden[2])
    return (new + sigmoid(update + of_hidden[1]) * (h - new),)


def _simple(activation: Callable[[Tensor], Tensor]) -> Callable[..., tuple[Tensor, ...]]:
    return lambda x, h: (activation(x),)


class _Kind(NamedTuple):
    """A kind of cell: `update` takes the projections [N, gates * H] of input and h, and the states, h first."""

    gates: int
    states: int
    is_additive: bool  # whether `update` takes the sum of both projections
    update: Callable[..., tuple[Tensor, ...]]

    def advance(self, x: Tensor, hidden: Tensor, states: Sequence[Tensor]) -> tuple[Tensor, ...]:
        return self.update(*([x + hidden] if self.is_additive else [x, hidden]), *states)


# The gates are recomputed from the projections on the way back: that is cheaper than storing their derivatives.
_KINDS = {
    "LSTM": _Kind(4, 2, True, checkpoint(_lstm)),
    "GRU": _Kind(3, 1, False, checkpoint(_gru)),
    "RNN_TANH": _Kind(1, 1, True, _simple(tanh)),
    "RNN_RELU": _Kind(1, 1, True, _simple(relu)),
}
_RNN_MODES = {"tanh": "RNN_TANH", "relu": "RNN_RELU"}


def _rnn_mode(nonlinearity: str) -> str:
    if nonlinearity not in _RNN_MODES:
        raise ArgumentError(message("Unknown nonlinearity", repr(nonlinearity), '"tanh" or "relu"'))
    return _RNN_MODES[nonlinearity]


def _reset(module: Module, hidden_size: int) -> None:
    bound = 1 / math.sqrt(hidden_size)
    for parameter in module.parameters():
        init.uniform_(parameter, -bound, bound)


class RNNBase(Module):
    """What RNN, LSTM and GRU share.

    Args:
        mode: "LSTM", "GRU", "RNN_TANH" or "RNN_RELU".
        input_size: number of features of an element of the input.
        hidden_size: number of features of the state.
        num_layers: number of layers, each of which takes the output of the one before it.
        bias: whether there are biases.
        batch_first: whether inputs and outputs are [N, T, features], not [T, N, features]; states are not affected.
        dropout: probability with which an output of a layer other than the last is dropped.
        bidirectional: whether a second state goes from the last element to the first.
        proj_size: number of features to which h of an LSTM is projected, or 0 for no projection.
        device: "cpu".
        dtype: element type of the parameters, float32 by default.
    """

    def __init__(
        self, mode: str, input_size: int, hidden_size: int, num_layers: int = 1, bias: bool = True,
        batch_first: bool = False, dropout: float = 0.0, bidirectional: bool = False, proj_size: int = 0,
        device: Any = None, dtype: Any = None,
    ) -> None:  # fmt: skip
        if mode not in _KINDS:
            raise ArgumentError(message("Unknown mode", repr(mode), ", ".join(_KINDS)))
        self.mode, self.bias, self.batch_first, self.bidirectional = mode, bias, batch_first, bidirectional
        self.input_size, self.hidden_size = positive(input_size, "input_size"), positive(hidden_size, "hidden_size")
        self.num_layers, self.dropout = positive(num_layers, "num_layers"), probability(dropout, "dropout")
        self.proj_size = proj_size
        if not 0 <= proj_size < hidden_size or (proj_size and mode != "LSTM"):
            received = f"proj_size={proj_size}, hidden_size={hidden_size}, {mode}"
            expected = "0, or for an LSTM a number below hidden_size"
            raise ArgumentError(message("proj_size does not fit", received, expected))
        rows = _KINDS[mode].gates * hidden_size
        size = input_size
        for layer in range(num_layers):
            for suffix in self._suffixes(layer):
                shapes = {"weight_ih": (rows, size), "weight_hh": (rows, self._sizes[0])}
                shapes |= {"bias_ih": (rows,), "bias_hh": (rows,)} if bias else {}
                shapes |= {"weight_hr": (proj_size, hidden_size)} if proj_size else {}
                for name, shape in shapes.items():
                    self.register_parameter(name + suffix, Parameter(empty(shape, dtype=dtype)))
            size = self._sizes[0] * len(self._suffixes(layer))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the parameters again."""
        _reset(self, self.hidden_size)

    def flatten_parameters(self) -> None:
        """Do nothing: parameters need no common memory."""

    @property
    def all_weights(self) -> list[list[Parameter]]:
        """The parameters of each direction of each layer."""
        suffixes = [s for layer in range(self.num_layers) for s in self._suffixes(layer)]
        return [[p for name, p in self.named_parameters() if name.split("_", 2)[2] == s[1:]] for s in suffixes]

    @property
    def _sizes(self) -> tuple[int, ...]:
        """The number of features of each state."""
        return (self.proj_size or self.hidden_size, self.hidden_size)[: _KINDS[self.mode].states]

    def _suffixes(self, layer: int) -> list[str]:
        return [f"_l{layer}", f"_l{layer}_reverse"][: 1 + self.bidirectional]

    def forward(self, input: Any, hx: Any = None, lengths: Any = None) -> Any:
        """Go over sequences.

        Args:
            input: a tensor [T, N, input_size], [N, T, input_size] with `batch_first`, or [T, input_size]; or a
                `PackedSequence`.
            hx: the first state [num_layers * directions, N, size], for an LSTM a pair (h, c); zeros by default. The
                batch axis is missing where that of the input is.
            lengths: integers [N], or one for a single sequence: where each ends. Outputs behind the end are zero, the
                last state is that at the end, and the reverse direction starts there. Unlike a `PackedSequence`,
                lengths that differ from call to call need no new compilation.

        Returns:
            The outputs h of the last layer for all steps, shaped as the input, and the last state, shaped as `hx`.

        Raises:
            ShapeError: the sizes do not fit.
            ArgumentTypeError: the state of an LSTM is no pair, or lengths come with a `PackedSequence`.
        """
        if isinstance(input, PackedSequence):
            return self._forward_packed(input, hx, lengths)
        name = f"{type(self).__name__}({self.input_size}, {self.hidden_size})"
        check_features(name, input, -1, self.input_size, "input_size")
        if input.ndim not in (2, 3):
            expected = "[T, N, input_size] or [T, input_size]"
            raise ShapeError(message(f"{name} takes other axes", f"shape {input.shape}", expected))
        is_single = input.ndim == 2
        x = input[:, None] if is_single else input.transpose(0, 1) if self.batch_first else input
        states = self._states(hx, x, is_single)
        batch = None if is_single else x.shape[1]
        is_there = None if lengths is None else length_mask(lengths, x.shape[0], batch)
        output, states = self._layers(x, states, is_there)
        if is_single:
            output, states = output[:, 0], [s[:, 0] for s in states]
        elif self.batch_first:
            output = output.transpose(0, 1)
        return output, tuple(states) if len(states) > 1 else states[0]

    def _forward_packed(self, input: PackedSequence, hx: Any, lengths: Any) -> Any:
        if lengths is not None:
            fix = "leave lengths out"
            raise ArgumentTypeError(message("A PackedSequence has its own lengths", "lengths", None, fix))
        x, is_there = padded(input)
        check_features(type(self).__name__, x, -1, self.input_size, "input_size")
        states = self._states(hx, x, False)
        if hx is not None and input.sorted_indices is not None:
            states = [index_select(s, 1, input.sorted_indices) for s in states]
        output, states = self._layers(x, states, is_there)
        states = [restored(s, input, 1) for s in states]
        return packed_like(output, input), tuple(states) if len(states) > 1 else states[0]

    def _states(self, hx: Any, x: Tensor, is_single: bool) -> list[Tensor]:
        """Return the first states [num_layers * directions, N, size]."""
        count = self.num_layers * (1 + self.bidirectional)
        if hx is None:
            return [zeros(count, x.shape[1], size, dtype=x.dtype) for size in self._sizes]
        given = [hx] if len(self._sizes) == 1 else hx
        if not isinstance(given, (tuple, list)) or [isinstance(s, Tensor) for s in given] != [True] * len(self._sizes):
            expected = "a tensor" if len(self._sizes) == 1 else "a pair of tensors (h, c)"
            raise ArgumentTypeError(message(f"The state of {type(self).__name__} does not fit", hx, expected))
        for state, size in zip(given, self._sizes, strict=True):
            expected_shape = (count, size) if is_single else (count, x.shape[1], size)
            if state.shape != expected_shape:
                text = f"The state of {type(self).__name__} does not fit its input"
                raise ShapeError(message(text, f"shape {state.shape}", expected_shape))
        return [s[:, None] for s in given] if is_single else list(given)

    def _layers(self, x: Tensor, states: Sequence[Tensor], is_there: Tensor | None) -> tuple[Tensor, list[Tensor]]:
        """Return the outputs [T, N, ...] and last states of all layers; steps that are not there change nothing."""
        finals: list[tuple[Tensor, ...]] = []
        for layer in range(self.num_layers):
            outputs = []
            for suffix in self._suffixes(layer):
                first = tuple([s[len(finals)] for s in states])
                last, output = self._direction(x, first, suffix, is_there)
                outputs.append(output)
                finals.append(last)
            x = concatenate(outputs, -1) if self.bidirectional else outputs[0]
            if layer < self.num_layers - 1:
                x = dropout(x, self.dropout, self.training)
        return x, [stack(group) for group in zip(*finals, strict=True)]

    def _direction(self, x: Tensor, first: tuple[Tensor, ...], suffix: str, is_there: Tensor | None) -> Any:
        """Return the last states and the outputs [T, N, size] of one direction of a layer."""
        kind = _KINDS[self.mode]
        w_input, w_hidden = (getattr(self, name + suffix) for name in ("weight_ih", "weight_hh"))
        b_input, b_hidden = (getattr(self, n + suffix) if self.bias else None for n in ("bias_ih", "bias_hh"))
        if self.bias and kind.is_additive:
            b_input, b_hidden = b_input + b_hidden, None
        projection = getattr(self, f"weight_hr{suffix}") if self.proj_size else None

        def step(states: tuple[Tensor, ...], element: Any) -> Any:
            x, here = element
            new = kind.advance(x, linear(states[0], w_hidden, b_hidden), states)
            if projection is not None:
                new = (linear(new[0], projection), *new[1:])
            new = tuple([n.to(old.dtype) for n, old in zip(new, states, strict=True)])  # products may be less precise
            if here is None:
                return new, new[0]
            kept = tuple([where(here, n, old) for n, old in zip(new, states, strict=True)])
            return kept, where(here, new[0], 0.0)

        masks = None if is_there is None else is_there[..., None]
        return scan(step, first, (linear(x, w_input, b_input), masks), reverse=suffix.endswith("reverse"))

    def extra_repr(self) -> str:
        defaults = {
            "proj_size": 0, "num_layers": 1, "bias": True, "batch_first": False, "dropout": 0, "bidirectional": False
        }  # fmt: skip
        others = [f"{name}={getattr(self, name)}" for name, value in defaults.items() if getattr(self, name) != value]
        return ", ".join([f"{self.input_size}, {self.hidden_size}", *others])


class RNN(RNNBase):
    """A simple recurrent network: h = tanh(W_ih x + b_ih + W_hh h + b_hh) (Elman, 1990).

    Args:
        input_size: number of features of an element of the input.
        hidden_size: number of features of the state.
        num_layers: number of layers, each of which takes the output of the one before it.
        nonlinearity: "tanh" or "relu".
        bias: whether there are biases.
        batch_first: whether inputs and outputs are [N, T, features], not [T, N, features]; states are not affected.
        dropout: probability with which an output of a layer other than the last is dropped.
        bidirectional: whether a second state goes from the last element to the first.
        device: "cpu".
        dtype: element type of the parameters, float32 by default.

    Example:
        >>> output, h = plait.nn.RNN(3, 5, num_layers=2)(plait.zeros(7, 4, 3))
        >>> output.shape, h.shape
        ((7, 4, 5), (2, 4, 5))
    """

    def __init__(
        self, input_size: int, hidden_size: int, num_layers: int = 1, nonlinearity: str = "tanh", bias: bool = True,
        batch_first: bool = False, dropout: float = 0.0, bidirectional: bool = False, device: Any = None,
        dtype: Any = None,
    ) -> None:  # fmt: skip
        self.nonlinearity = nonlinearity
        super().__init__(
            _rnn_mode(nonlinearity), input_size, hidden_size, num_layers, bias, batch_first, dropout, bidirectional,
            dtype=dtype,
        )  # fmt: skip


class LSTM(RNNBase):
    """A long short-term memory (Hochreiter and Schmidhuber, 1997; with forget gates by Gers et al., 2000).

    Args:
        input_size: number of features of an element of the input.
        hidden_size: number of features of the states h and c.
        num_layers: number of layers, each of which takes the output of the one before it.
        bias: whether there are biases.
        batch_first: whether inputs and outputs are [N, T, features], not [T, N, features]; states are not affected.
        dropout: probability with which an output of a layer other than the last is dropped.
        bidirectional: whether a second pair of states goes from the last element to the first.
        proj_size: number of features to which h is projected (Sak et al., 2014), or 0 for no projection.
        device: "cpu".
        dtype: element type of the parameters, float32 by default.

    Example:
        >>> output, (h, c) = plait.nn.LSTM(3, 5, bidirectional=True)(plait.zeros(7, 4, 3))
        >>> output.shape, h.shape, c.shape
        ((7, 4, 10), (2, 4, 5), (2, 4, 5))
    """

    def __init__(
        self, input_size: int, hidden_size: int, num_layers: int = 1, bias: bool = True, batch_first: bool = False,
        dropout: float = 0.0, bidirectional: bool = False, proj_size: int = 0, device: Any = None, dtype: Any = None,
    ) -> None:  # fmt: skip
        super().__init__(
            "LSTM", input_size, hidden_size, num_layers, bias, batch_first, dropout, bidirectional, proj_size,
            dtype=dtype,
        )  # fmt: skip


class GRU(RNNBase):
    """A gated recurrent unit (Cho et al., 2014), with the reset gate behind the product as in PyTorch.

    Args:
        input_size: number of features of an element of the input.
        hidden_size: number of features of the state.
        num_layers: number of layers, each of which takes the output of the one before it.
        bias: whether there are biases.
        batch_first: whether inputs and outputs are [N, T, features], not [T, N, features]; states are not affected.
        dropout: probability with which an output of a layer other than the last is dropped.
        bidirectional: whether a second state goes from the last element to the first.
        device: "cpu".
        dtype: element type of the parameters, float32 by default.

    Example:
        >>> output, h = plait.nn.GRU(3, 5, batch_first=True)(plait.zeros(4, 7, 3))
        >>> output.shape, h.shape
        ((4, 7, 5), (1, 4, 5))
    """

    def __init__(
        self, input_size: int, hidden_size: int, num_layers: int = 1, bias: bool = True, batch_first: bool = False,
        dropout: float = 0.0, bidirectional: bool = False, device: Any = None, dtype: Any = None,
    ) -> None:  # fmt: skip
        super().__init__(
            "GRU", input_size, hidden_size, num_layers, bias, batch_first, dropout, bidirectional, dtype=dtype
        )


class RNNCellBase(Module):
    """What the cells share: one step of a recurrent layer.

    Args:
        mode: "LSTM", "GRU", "RNN_TANH" or "RNN_RELU".
        input_size: number of features of the input.
        hidden_size: number of features of the state.
        bias: whether there are biases.
        dtype: element type of the parameters, float32 by default.
    """

    def __init__(self, mode: str, input_size: int, hidden_size: int, bias: bool, dtype: Any = None) -> None:
        self.mode, self.bias = mode, bias
        self.input_size, self.hidden_size = positive(input_size, "input_size"), positive(hidden_size, "hidden_size")
        rows = _KINDS[mode].gates * hidden_size
        for name, shape in {"weight_ih": (rows, input_size), "weight_hh": (rows, hidden_size)}.items():
            self.register_parameter(name, Parameter(empty(shape, dtype=dtype)))
        for name in ("bias_ih", "bias_hh"):
            self.register_parameter(name, Parameter(empty(rows, dtype=dtype)) if bias else None)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the parameters again."""
        _reset(self, self.hidden_size)

    def forward(self, input: Tensor, hx: Any = None) -> Any:
        """Take one step.

        Args:
            input: a tensor [N, input_size] or [input_size].
            hx: the state [N, hidden_size] or [hidden_size], for an LSTM a pair (h, c); zeros by default.

        Returns:
            The new state, shaped as `hx`.

        Raises:
            ShapeError: the sizes do not fit.
            ArgumentTypeError: the state is no tensor, or for an LSTM no pair of tensors.
        """
        name, kind = type(self).__name__, _KINDS[self.mode]
        check_features(f"{name}({self.input_size}, {self.hidden_size})", input, -1, self.input_size, "input_size")
        shape = (*input.shape[:-1], self.hidden_size)
        states = [zeros(shape, dtype=input.dtype)] * kind.states if hx is None else hx
        states = [states] if isinstance(states, Tensor) else states
        if not isinstance(states, (tuple, list)) or [isinstance(s, Tensor) for s in states] != [True] * kind.states:
            expected = "a tensor" if kind.states == 1 else "a pair of tensors (h, c)"
            raise ArgumentTypeError(message(f"The state of {name} does not fit", hx, expected))
        for state in states:
            if state.shape != shape:
                raise ShapeError(message(f"The state of {name} does not fit its input", f"shape {state.shape}", shape))
        of_hidden = linear(states[0], self.weight_hh, self.bias_hh)
        new = kind.advance(linear(input, self.weight_ih, self.bias_ih), of_hidden, states)
        return new if kind.states > 1 else new[0]

    def extra_repr(self) -> str:
        return f"{self.input_size}, {self.hidden_size}" + ("" if self.bias else ", bias=False")


class RNNCell(RNNCellBase):
    """One step of an `RNN`.

    Args:
        input_size: number of features of the input.
        hidden_size: number of features of the state.
        bias: whether there are biases.
        nonlinearity: "tanh" or "relu".
        device: "cpu".
        dtype: element type of the parameters, float32 by default.

    Example:
        >>> plait.nn.RNNCell(3, 5)(plait.zeros(4, 3)).shape
        (4, 5)
    """

    def __init__(
        self, input_size: int, hidden_size: int, bias: bool = True, nonlinearity: str = "tanh", device: Any = None,
        dtype: Any = None,
    ) -> None:  # fmt: skip
        self.nonlinearity = nonlinearity
        super().__init__(_rnn_mode(nonlinearity), input_size, hidden_size, bias, dtype)

    def extra_repr(self) -> str:
        return super().extra_repr() + ("" if self.nonlinearity == "tanh" else f", nonlinearity={self.nonlinearity}")


class LSTMCell(RNNCellBase):
    """One step of an `LSTM`; its state is a pair (h, c).

    Args:
        input_size: number of features of the input.
        hidden_size: number of features of the states.
        bias: whether there are biases.
        device: "cpu".
        dtype: element type of the parameters, float32 by default.

    Example:
        >>> h, c = plait.nn.LSTMCell(3, 5)(plait.zeros(4, 3))
        >>> h.shape, c.shape
        ((4, 5), (4, 5))
    """

    def __init__(
        self, input_size: int, hidden_size: int, bias: bool = True, device: Any = None, dtype: Any = None
    ) -> None:
        super().__init__("LSTM", input_size, hidden_size, bias, dtype)


class GRUCell(RNNCellBase):
    """One step of a `GRU`.

    Args:
        input_size: number of features of the input.
        hidden_size: number of features of the state.
        bias: whether there are biases.
        device: "cpu".
        dtype: element type of the parameters, float32 by default.

    Example:
        >>> plait.nn.GRUCell(3, 5)(plait.zeros(4, 3)).shape
        (4, 5)
    """

    def __init__(
        self, input_size: int, hidden_size: int, bias: bool = True, device: Any = None, dtype: Any = None
    ) -> None:
        super().__init__("GRU", input_size, hidden_size, bias, dtype)
