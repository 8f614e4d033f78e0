"""Limits on compilation, for tests."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from plait.core import journal
from plait.core.errors import ArgumentError, CompileCountError, message
from plait.inspect.tables import place
from plait.tensor import lazy


@contextmanager
def assert_max_compiles(count: int) -> Iterator[None]:
    """Raise if more than `count` programs are compiled inside: a context, or a decorator of a function.

    What counts is each version of a jitted function, and each program of eager work that came back, for which
    machine code was made or read from disk. A version for another size that only uses kernels which are there does
    not count, nor does eager work that is seen for the first time: it runs through kernels of single operations. What
    was recorded before is computed before; what other threads compile meanwhile counts too.

    Args:
        count: how many are allowed.

    Raises:
        CompileCountError: there were more; the text gives the reason of each.

    Example:
        >>> f = plait.jit(lambda x: x * 2)
        >>> x = plait.ones(3)
        >>> with plait.assert_max_compiles(1):
        ...     for _ in range(10):
        ...         y = f(x)
    """
    if count < 0:
        raise ArgumentError(message("A number of compilations is not negative", count, "0 or more", "pass 0 for none"))
    lazy.flush()
    start = journal.last_number()
    yield
    found = [record for record in journal.since(start) if record.counts]
    if len(found) > count:
        what = f"More was compiled than {count} program{'s' * (count != 1)}"
        fix = "let what differs be a tensor, or the same object in each call; fn.explain() tells more"
        text = message(what, f"{len(found)} compilations", f"at most {count}", fix)
        lines = [f"  {r.what} at {place(r.source)}: {'; '.join(r.reasons)}" for r in found]
        raise CompileCountError("\n".join([text, *lines]))
