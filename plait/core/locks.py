"""Locks that are free in a forked child, where the threads that held them do not exist."""

from __future__ import annotations

import os
import threading
from typing import Any
from weakref import WeakSet

_made: WeakSet[Any] = WeakSet()


def make_lock() -> Any:
    """Return a lock that its owner may take again.

    What it guards has to be whole whenever another thread forks.
    """
    made = threading.RLock()
    _made.add(made)
    return made


def _renew() -> None:
    for lock in _made:
        lock._at_fork_reinit()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew)
