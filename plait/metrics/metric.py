"""`Metric`: a number, or a few, about many batches: a state that adds up, and a result computed from it."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Mapping
from typing import Any, Self

import numpy as np

from plait.core.errors import AbstractValueError, ArgumentError, ArgumentTypeError, ShapeError, message
from plait.tensor import lazy
from plait.tensor.autograd import no_grad
from plait.tensor.creation import as_tensor, zeros
from plait.tensor.tensor import Tensor

State = dict[str, Tensor]


class Metric:
    """Base class of the metrics: a subclass says what a batch contributes, and what follows from the sum of it all.

    The state is a few tensors of fixed shape, zero at first, which `update` writes in place: a function under
    `plait.jit` may contain it once the state is there (after `prepare`, or one update outside).

    Example:
        >>> class Largest(plait.metrics.Metric):
        ...     def measure(self, input):
        ...         return {"largest": input.max()}
        ...     def combine(self, a, b):
        ...         return {"largest": plait.maximum(a["largest"], b["largest"])}
        ...     def result(self, state):
        ...         return state["largest"]
        >>> metric = Largest()
        >>> metric.update(plait.tensor([1.0, 3.0])).update(plait.tensor([2.0])).compute()
        tensor(3.)
    """

    is_collected = False
    """Whether the state is the data itself, which grows; such a metric is updated outside of compiled functions."""

    state: State

    def __new__(cls, *args: Any, **kwargs: Any) -> Self:
        metric = object.__new__(cls)
        metric.state = {}
        return metric

    # what a subclass says; all three are pure

    def measure(self, *batch: Tensor) -> State:
        """Return the state of one batch."""
        raise NotImplementedError(f"{type(self).__name__}.measure")

    def combine(self, a: State, b: State) -> State:
        """Return the state of two parts together: the sum, unless a subclass says otherwise."""
        return {name: a[name] + b[name] for name in a}

    def result(self, state: State) -> Any:
        """Return what the metric tells about a state."""
        raise NotImplementedError(f"{type(self).__name__}.result")

    def check(self, state: State) -> None:
        """Raise an error if the state shows that the data was wrong; only called where values are known."""

    # what everybody calls

    @property
    def name(self) -> str:
        """The name of the metric in tables and logs: that of its class, in small letters."""
        return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", type(self).__name__).lower()

    def prepare(self, *batch: Any) -> Self:
        """Make the state for batches like this one, unless it is there; the metric itself is returned."""
        if not self.state:
            if lazy.observing() is not None:
                text = f"A compiled function cannot make the state of {type(self).__name__}"
                raise ArgumentError(message(text, fix="call prepare(*batch), or update once, before"))
            shapes = self.measure(*_tensors(batch))  # recorded only: nothing looks at its values
            self.state = {name: zeros(value.shape, dtype=value.dtype) for name, value in shapes.items()}
        return self

    def update(self, *batch: Any) -> Self:
        """Take a batch into account; the metric itself is returned.

        Args:
            batch: what the metric measures, tensors or arrays: mostly `input` (predictions) and `target`.

        Raises:
            ShapeError: the shapes do not fit together, or not to those of the batches before.
        """
        self.prepare(*batch)
        with no_grad():
            new = self.measure(*_tensors(batch))
            for name, value in new.items():
                if value.shape != self.state[name].shape:
                    text = f"A batch of {type(self).__name__} does not fit to those before"
                    expected = f"{name} of shape {self.state[name].shape}"
                    raise ShapeError(message(text, f"{name} of shape {value.shape}", expected, "call reset() first"))
            for name, value in self.combine(self.state, new).items():
                self.state[name].copy_(value)
        if lazy.observing() is None:
            lazy.flush()  # the same structure after every batch, so it runs fused
        return self

    def compute(self) -> Any:
        """Return the metric of all batches since the last `reset`.

        Raises:
            ArgumentError: there was no batch.
        """
        if not self.state:
            raise ArgumentError(message(f"{type(self).__name__} has seen no batch", fix="call update first"))
        with no_grad():
            return self._checked(self.state)

    def evaluate(self, *batch: Any) -> Any:
        """Return the metric of one batch alone; the state is neither read nor written."""
        return self._checked(self.measure(*_tensors(batch)))

    def _checked(self, state: State) -> Any:
        if lazy.observing() is None:
            with contextlib.suppress(AbstractValueError):  # inside vmap: nothing can be said about values
                self.check(state)
        return self.result(state)

    def clone(self) -> Self:
        """Return a metric with the same options and no data."""
        metric = type(self).__new__(type(self))
        metric.__dict__.update({k: v for k, v in self.__dict__.items() if k not in metric.__dict__})
        return metric

    def reset(self) -> Self:
        """Forget all batches; the metric itself is returned."""
        with no_grad():
            for value in self.state.values():
                value.zero_()
        return self

    def merge(self, *others: Metric) -> Self:
        """Take into account what other metrics of this class have seen; the metric itself is returned.

        Raises:
            ArgumentTypeError: one is of another class.
        """
        for other in others:
            if type(other) is not type(self):
                text = f"{type(self).__name__} is merged with its own kind"
                raise ArgumentTypeError(message(text, type(other).__name__, type(self).__name__))
            if other.state:
                state = self.combine(self.state, other.state) if self.state else other.state
                self.load_state_dict(state)
        return self

    def state_dict(self) -> State:
        """Return a copy of the state."""
        return {name: as_tensor(np.array(value.numpy())) for name, value in self.state.items()}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Continue from a state that `state_dict` returned."""
        if not self.state:
            self.state = {k: zeros(np.shape(v), dtype=as_tensor(v).dtype) for k, v in state_dict.items()}
        if state_dict.keys() != self.state.keys():
            text = f"This is no state of {type(self).__name__}"
            raise ArgumentError(message(text, sorted(state_dict), sorted(self.state)))
        with no_grad():
            for name, value in state_dict.items():
                self.state[name].copy_(as_tensor(value))

    def __repr__(self) -> str:
        return f"{type(self).__name__}()"


class Collected(Metric):
    """Base class of metrics that need all of the data at the end, such as areas under curves.

    Batches are kept as they come, and joined when the result is asked for.
    """

    is_collected = True

    def __new__(cls, *args: Any, **kwargs: Any) -> Self:
        metric = super().__new__(cls)
        metric._parts = []
        return metric

    _parts: list[dict[str, np.ndarray[Any, Any]]]

    def prepare(self, *batch: Any) -> Self:
        """Do nothing: there is no state to make."""
        return self

    def update(self, *batch: Any) -> Self:
        """Take a batch into account; the metric itself is returned."""
        part = {name: np.array(value.numpy()) for name, value in self.measure(*_tensors(batch)).items()}
        for name, value in part.items():
            known = self._parts[0][name].shape[1:] if self._parts else value.shape[1:]
            if value.shape[1:] != known:
                text = f"A batch of {type(self).__name__} does not fit to those before"
                raise ShapeError(message(text, f"rows of shape {value.shape[1:]}", known, "call reset() first"))
        self._parts.append(part)
        return self

    @property
    def state(self) -> State:
        """The data of all batches."""
        if not self._parts:
            return {}
        whole = {name: np.concatenate([part[name] for part in self._parts]) for name in self._parts[0]}
        self._parts = [whole]
        return {name: as_tensor(value) for name, value in whole.items()}

    @state.setter
    def state(self, value: Mapping[str, Any]) -> None:
        self._parts = [{name: np.array(as_tensor(v).numpy()) for name, v in value.items()}] if value else []

    def combine(self, a: State, b: State) -> State:
        """Return the data of both parts."""
        return {name: as_tensor(np.concatenate([a[name].numpy(), b[name].numpy()])) for name in a}

    def reset(self) -> Self:
        """Forget all batches; the metric itself is returned."""
        self._parts = []
        return self

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Continue from a state that `state_dict` returned."""
        self.state = state_dict


def _tensors(batch: tuple[Any, ...]) -> list[Tensor]:
    return [as_tensor(value).detach() for value in batch]
