"""What a function may assume of the machine it is written for, where that decides between ways to compute it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_lookups = ContextVar("lookups", default=True)


def has_lookups() -> bool:
    """Whether a lookup costs no more than an addition."""
    return _lookups.get()


@contextmanager
def writing_for(lookups: bool) -> Iterator[None]:
    """Say so for what is written inside the `with`."""
    token = _lookups.set(lookups)
    try:
        yield
    finally:
        _lookups.reset(token)
