"""A module called with other parameters than its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from plait.core import tree
from plait.core.errors import ArgumentError, message
from plait.nn.module import Module
from plait.tensor.tensor import Tensor


def functional_call(
    module: Module, parameters_and_buffers: Mapping[str, Tensor] | Sequence[Mapping[str, Tensor]], args: Any = (),
    kwargs: dict[str, Any] | None = None, *, tie_weights: bool = True, strict: bool = False,
) -> Any:  # fmt: skip
    """Call a module with other parameters and buffers than its own, which it keeps.

    Args:
        module: the module.
        parameters_and_buffers: tensors by the names of `named_parameters` and `named_buffers`, or several such dicts.
        args: the positional arguments, a tuple, or the only one.
        kwargs: the others.
        tie_weights: whether a tensor also stands for the other names of a shared parameter.
        strict: whether each parameter and buffer must be given.

    Returns:
        What the module returns.

    Raises:
        ArgumentError: a name that the module does not have; with `strict`, also one that is missing.

    Example:
        >>> layer = plait.nn.Linear(2, 1)
        >>> weights = {"weight": plait.ones(1, 2), "bias": plait.zeros(1)}
        >>> loss = lambda weights, x: plait.nn.utils.stateless.functional_call(layer, weights, x).sum()
        >>> plait.grad(loss)(weights, plait.tensor([3.0, 4.0]))
        {'bias': tensor([1.]), 'weight': tensor([[3., 4.]])}
    """
    given: dict[str, Tensor] = {}
    for part in [parameters_and_buffers] if isinstance(parameters_and_buffers, Mapping) else parameters_and_buffers:
        given.update(part)
    leaves, treedef = tree.flatten(module)
    twin = tree.unflatten(treedef, leaves)
    places: dict[str, tuple[Module, str, str]] = {}
    for name, part in twin.named_modules(remove_duplicate=False):
        for group in ("_parameters", "_buffers"):
            for key, value in getattr(part, group).items():
                if value is not None:
                    places[f"{name}.{key}" if name else key] = (part, group, key)
    unknown = [name for name in given if name not in places]
    missing = [name for name in places if name not in given] if strict else []
    if unknown or missing:
        received = "; ".join(f"{what}: {', '.join(n)}" for what, n in (("unknown", unknown), ("missing", missing)) if n)
        raise ArgumentError(message(f"The tensors do not fit this {type(module).__name__}", received))
    by_old: dict[int, Tensor] = {}
    for name, value in given.items():
        part, group, key = places[name]
        by_old[id(getattr(part, group)[key])] = value
        getattr(part, group)[key] = value
    for name, (part, group, key) in places.items():
        if tie_weights and name not in given:
            members = getattr(part, group)
            members[key] = by_old.get(id(members[key]), members[key])
    return twin(*(args if isinstance(args, tuple) else (args,)), **(kwargs or {}))
