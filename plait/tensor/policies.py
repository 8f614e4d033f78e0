"""Policies of `plait.checkpoint`: which values are kept for the backward pass, as in `jax.checkpoint_policies`.

A policy is a function of a node of the graph that says whether its value is kept: `node.prim.name`, `node.shape` and
`node.dtype` are what it is told by. Views are never kept, but what they look at.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from plait.core import tree
from plait.core.errors import ArgumentTypeError, message
from plait.core.graph import Node
from plait.core.primitive import P
from plait.tensor.creation import as_tensor
from plait.tensor.tensor import node_of, wrap

__all__ = [
    "checkpoint_name", "dots_saveable", "dots_with_no_batch_dims_saveable", "everything_saveable", "nothing_saveable",
    "save_only_names", "save_only_these_names",
]  # fmt: skip
_DOTS = ("dot_general", "conv", "conv_input", "conv_weight")


def everything_saveable(node: Node) -> bool:
    """Keep every value, as if there were no `checkpoint`."""
    return True


def nothing_saveable(node: Node) -> bool:
    """Keep no value but the arguments; this is what `checkpoint` does without a policy."""
    return False


def dots_saveable(node: Node) -> bool:
    """Keep the results of matrix products and convolutions."""
    return node.prim.name in _DOTS


def dots_with_no_batch_dims_saveable(node: Node) -> bool:
    """Keep the results of matrix products without batch axes: those of linear layers, not those of attention."""
    return node.prim.name == "dot_general" and node.params["batch"] == ((), ())


@dataclass(frozen=True)
class _Names:
    """A policy by name; equal for equal names, so that what was compiled for one serves the other."""

    names: frozenset[str]

    def __call__(self, node: Node) -> bool:
        return node.prim.name == "name" and node.params["name"] in self.names


def save_only_these_names(*names: str) -> Any:
    """Return the policy that keeps the values to which `plait.checkpoint_name` gave one of these names.

    Raises:
        ArgumentTypeError: a name is no string.

    Example:
        >>> def block(x):
        ...     return plait.sin(plait.checkpoint_name(plait.sin(x), "inner"))
        >>> policy = plait.checkpoint_policies.save_only_these_names("inner")
        >>> plait.grad(plait.checkpoint(block, policy=policy))(plait.tensor(0.0))
        tensor(1.)
    """
    return _Names(frozenset(map(_checked_name, names)))


save_only_names = save_only_these_names


def checkpoint_name(x: Any, name: str) -> Any:
    """Give values a name by which policies of `plait.checkpoint` know them.

    Args:
        x: a tensor or a pytree of tensors.
        name: the name; many values may have the same.

    Returns:
        The same values.

    Raises:
        ArgumentTypeError: `name` is no string, or `x` holds something that is no tensor.

    Example:
        >>> plait.checkpoint_name(plait.ones(2), "hidden")
        tensor([1., 1.])
    """
    _checked_name(name)
    return tree.map_(lambda leaf: wrap(P.name(node_of(as_tensor(leaf)), name=name)), x)


def _checked_name(name: Any) -> str:
    if not isinstance(name, str):
        fix = 'write e.g. "attention"'
        raise ArgumentTypeError(message("The name of a value is a string", repr(name), "a str", fix))
    return name
