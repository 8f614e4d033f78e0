"""What a function costs, before it is run."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from plait.inspect.stages import Cost
from plait.tensor.jit import Jitted


def cost(function: Callable[..., Any], *args: Any, **kwargs: Any) -> Cost:
    """Return floating-point operations and bytes moved by a function, by operation and in total; nothing is run.

    Operations are those that the primitives state: a multiply-add counts as two, `exp` as several. A loop whose
    length is known only at run time counts as one turn.

    Args:
        function: any function of tensors, jitted or not; what it writes and draws is undone.
        args: its arguments; of tensors only dtype and shape matter.
        kwargs: its keyword arguments.

    Returns:
        `flops`, `bytes_moved`, `intensity` and `by_operation`; printed as a table.

    Raises:
        AbstractValueError: the function looks at the value of a tensor.

    Example:
        >>> plait.cost(plait.matmul, plait.ones(64, 32), plait.ones(32, 16))
        operation    count    FLOP     moves
        dot_general      1  65.5 k    14 KiB
        alone               65.5 k    14 KiB
        fused               65.5 k    14 KiB
        4.57 FLOP for each byte moved
    """
    jitted = function if isinstance(function, Jitted) else Jitted(function)
    return jitted.stages(*args, **kwargs).cost
