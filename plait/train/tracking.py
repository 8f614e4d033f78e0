"""Metrics of a run: a few of them together, updated by one compiled call for each batch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from plait.core.errors import ArgumentTypeError, message
from plait.metrics.metric import Metric
from plait.tensor.jit import jit


class Metrics:
    """Metrics by name.

    Args:
        metrics: metrics by name, or a list of them, which are then named as their classes.
        is_compiled: whether the updates are compiled.

    Raises:
        ArgumentTypeError: something is no metric.
    """

    def __init__(self, metrics: Any, is_compiled: bool) -> None:
        if isinstance(metrics, Metric):
            metrics = [metrics]
        named = metrics if isinstance(metrics, Mapping) else {getattr(m, "name", str(m)): m for m in metrics}
        for name, metric in named.items():
            if not isinstance(metric, Metric):
                text, fix = f"{name!r} is no metric", "pass e.g. metrics=[plait.metrics.Accuracy()]"
                raise ArgumentTypeError(message(text, type(metric).__name__, "a plait.metrics.Metric", fix))
        self.metrics: dict[str, Metric] = dict(named)
        self.is_compiled = is_compiled
        self._streamed = [m for m in self.metrics.values() if not m.is_collected]
        self._collected = [m for m in self.metrics.values() if m.is_collected]
        self._update = jit(self._update_streamed) if is_compiled else self._update_streamed
        self._is_prepared = False

    def __bool__(self) -> bool:
        return bool(self.metrics)

    def fresh(self) -> Metrics:
        """Return the same metrics without data."""
        return Metrics({name: metric.clone() for name, metric in self.metrics.items()}, self.is_compiled)

    def _update_streamed(self, outputs: Any, targets: Any) -> None:
        for metric in self._streamed:
            metric.update(outputs, targets)

    def update(self, outputs: Any, targets: Any) -> None:
        """Take a batch into account."""
        if self._streamed:
            if not self._is_prepared:
                for metric in self._streamed:
                    metric.prepare(outputs, targets)
                self._is_prepared = True
            self._update(outputs, targets)
        for metric in self._collected:
            metric.update(outputs, targets)

    def compute(self) -> dict[str, Any]:
        """Return the values by name, numbers or arrays; those of metrics without data are left out."""
        return {name: _plain(metric.compute()) for name, metric in self.metrics.items() if metric.state}

    def reset(self) -> None:
        """Forget all batches."""
        for metric in self.metrics.values():
            metric.reset()

    def state_dict(self) -> dict[str, Any]:
        """Return the states by name."""
        return {name: metric.state_dict() for name, metric in self.metrics.items()}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Continue from states that `state_dict` returned."""
        for name, metric in self.metrics.items():
            if state_dict.get(name):
                metric.load_state_dict(state_dict[name])


def _plain(value: Any) -> Any:
    if isinstance(value, (list, tuple)):
        return value
    array = value.numpy()
    return array.item() if array.ndim == 0 else np.array(array)
