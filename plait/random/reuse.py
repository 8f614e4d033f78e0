"""Reuse of keys: two draws from one key are not independent; a context makes the second an error."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import Any

import numpy as np

from plait.core.errors import ArgumentError, message
from plait.core.graph import ABSTRACT, user_line
from plait.tensor import lazy
from plait.tensor.tensor import Tensor, node_of

_uses: dict[Any, str] | None = None  # the keys that were used, and where; None where nobody asks


def consuming(function: Callable[..., Any]) -> Callable[..., Any]:
    """Let a function note the key that it uses up, its first argument."""

    @wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        if _uses is not None:
            _use(_uses, args[0] if args else kwargs.get("key"), function.__name__)
        return function(*args, **kwargs)

    return call


def _use(uses: dict[Any, str], key: Any, name: str) -> None:
    if not isinstance(key, (Tensor, np.ndarray)):
        return
    node = node_of(key) if isinstance(key, Tensor) else None
    if node is not None and (lazy.observing() is not None or node.flags & ABSTRACT):
        mark: Any = node  # its value is not known
    else:
        mark = tuple(np.asarray(key).ravel().tolist())
    place = "{}:{}".format(*user_line())
    before = uses.get(mark)
    if before is not None:
        fix = "give each use a key of its own: first, second = plait.random.split(key)"
        text = f"{name} uses a key again, so that its numbers are not independent of those drawn before"
        raise ArgumentError(message(text, f"a key used at {before}", "a new key", fix))
    uses[mark] = f"{place} by {name}"


@contextmanager
def key_reuse() -> Iterator[None]:
    """Return a context in which using an explicit key twice is an error.

    A key is used up by every function of `plait.random` that takes one, `split` included, other than `fold_in`. Keys
    are told apart by value; where a function is recorded (by `jit`, `vmap`, `scan`) by what they were computed from,
    and a compiled function is not looked into again.

    Raises:
        ArgumentError: at the second use; it names the line of the first.

    Example:
        >>> key = plait.random.key(0)
        >>> with plait.debug.key_reuse():
        ...     x = plait.random.normal(key)
        ...     y = plait.random.uniform(key)
        Traceback (most recent call last):
            ...
        plait.core.errors.ArgumentError: uniform uses a key again, ...
    """
    global _uses
    before, _uses = _uses, {}
    try:
        yield
    finally:
        _uses = before
