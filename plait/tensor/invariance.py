"""Batch invariance: a row of a batch gets the same bits at any size of the batch."""

from __future__ import annotations

from contextlib import ContextDecorator
from typing import Any

from plait.core.errors import ArgumentError, message
from plait.core.recorder import recorder
from plait.tensor import lazy


class batch_invariant(ContextDecorator):  # noqa: N801 - used like a function
    """Compute so that the result for a row of a batch has the same bits at any size of the batch.

    The first axis counts as that of the batch, and the rows may not depend on each other: products, layers, attention,
    normalization over features, softmax, convolutions. Without it, the order of a sum may depend on what is
    fastest for the sizes at hand. Products of a few rows, and reductions, are slower.

    A context manager, and a decorator, for eager code; a compiled function takes `jit(batch_invariant=True)`.

    Raises:
        ArgumentError: entered inside a function that is being compiled.

    Example:
        >>> x, w = plait.randn(64, 300), plait.randn(10, 300)
        >>> with plait.batch_invariant():
        ...     whole, first = plait.nn.functional.linear(x, w), plait.nn.functional.linear(x[:1], w)
        >>> bool((whole[:1] == first).all())
        True
    """

    def __init__(self) -> None:
        self._before: list[bool] = []

    def _recreate_cm(self) -> batch_invariant:
        return batch_invariant()

    def __enter__(self) -> None:
        if lazy.observing() is not None:
            text, fix = "batch_invariant is entered inside a function that is compiled", "jit(f, batch_invariant=True)"
            raise ArgumentError(message(text, "a setting of the whole program", None, fix))
        lazy.flush()
        self._before.append(recorder.invariant)
        recorder.invariant = True
        lazy.count_invariant(1)

    def __exit__(self, *error: Any) -> None:
        if error[0] is None:
            lazy.flush()
        lazy.count_invariant(-1)
        recorder.invariant = self._before.pop()
