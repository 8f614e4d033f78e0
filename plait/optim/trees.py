"""Pure functions of trees of gradients and parameters: clipping, accumulation, averages, groups by weight decay."""

from __future__ import annotations

from collections.abc import Callable
from functools import reduce
from operator import add
from typing import Any

from plait.core import tree
from plait.core.dtype import float32
from plait.core.errors import ArgumentError, ArgumentTypeError, message
from plait.optim.rule import Functional
from plait.tensor.autograd import no_grad
from plait.tensor.functions import clip, minimum, where
from plait.tensor.tensor import Parameter, Tensor


def global_norm(gradients: Any) -> Tensor:
    """Return the Euclidean norm of all elements of a pytree.

    Args:
        gradients: a pytree of tensors; those of 16 bits are squared in float32.

    Returns:
        A rank-0 tensor.

    Raises:
        ArgumentError: the tree has no leaves.

    Example:
        >>> plait.optim.global_norm({"a": plait.tensor([3.0]), "b": plait.tensor([[4.0]])})
        tensor(5.)
    """
    sizes = [abs(g) for g in tree.leaves(gradients)]
    if not sizes:
        raise ArgumentError(message("The norm of a tree needs tensors", "a tree without leaves", "at least one"))
    wide = [x.to(float32) if x.dtype.bits < 32 else x for x in sizes]
    return reduce(add, [(x * x).sum() for x in wide]) ** 0.5


def clip_by_global_norm(gradients: Any, max_norm: float, eps: float = 1e-6) -> tuple[Any, Tensor]:
    """Scale gradients down where the norm of them all exceeds a limit; it equals `nn.utils.clip_grad_norm_`.

    Args:
        gradients: a pytree of tensors.
        max_norm: the largest norm that is left as it is, a number or a rank-0 tensor.
        eps: added to the norm that is divided by.

    Returns:
        The gradients, and their norm before.

    Raises:
        ArgumentError: the tree has no leaves.

    Example:
        >>> clipped, norm = plait.optim.clip_by_global_norm([plait.tensor([3.0, 4.0])], 1.0)
        >>> clipped, norm
        ([tensor([0.6000, 0.8000])], tensor(5.))
    """
    norm = global_norm(gradients)
    factor = minimum(max_norm / (norm + eps), 1.0)
    return tree.map_(lambda g: g * factor.to(g.dtype), gradients), norm


def clip_by_value(gradients: Any, clip_value: float) -> Any:
    """Limit each element of a pytree to between `-clip_value` and `clip_value`.

    Args:
        gradients: a pytree of tensors.
        clip_value: the largest size of an element.

    Returns:
        A tree of the same structure.

    Example:
        >>> plait.optim.clip_by_value([plait.tensor([3.0, -0.5])], 1.0)
        [tensor([ 1.0000, -0.5000])]
    """
    return tree.map_(lambda g: clip(g, -clip_value, clip_value), gradients)


def ema(average: Any, params: Any, decay: Any = 0.999) -> Any:
    """Return an exponential moving average after new parameters have entered it.

    Args:
        average: a pytree of tensors, the parameters themselves at first.
        params: a pytree of the same structure.
        decay: how much of the average is kept, a number or a rank-0 tensor.

    Returns:
        decay * average + (1 - decay) * params, leaf by leaf; leaves that are no floats are those of `params`.

    Example:
        >>> plait.optim.ema({"w": plait.tensor([0.0])}, {"w": plait.tensor([1.0])}, decay=0.75)
        {'w': tensor([0.2500])}
    """

    def leaf(old: Tensor, new: Tensor) -> Tensor:
        if not new.dtype.is_inexact:
            return new
        weight = 1 - decay
        return old + (weight.to(old.dtype) if isinstance(weight, Tensor) else weight) * (new - old)

    with no_grad():
        return tree.map_(leaf, average, params)


def accumulate(optimizer: Functional, steps: int) -> Functional:
    """Update parameters once in `steps` updates, by the mean of their gradients.

    Args:
        optimizer: pure functions, as `AdamW.functional(...)` returns them.
        steps: number of gradients that make one update.

    Returns:
        Pure functions of the same form.

    Raises:
        ArgumentError: `steps` is below 1.

    Example:
        >>> optimizer = plait.optim.accumulate(plait.optim.SGD.functional(lr=1.0), 2)
        >>> params = plait.tensor(1.0)
        >>> state = optimizer.init(params)
        >>> for gradient in (0.25, 0.75):
        ...     params, state = optimizer.update(plait.tensor(gradient), state, params)
        ...     print(params)
        tensor(1.)
        tensor(0.5000)
    """
    if steps < 1:
        raise ArgumentError(message("accumulate collects the gradients of several steps", steps, "at least 1"))

    def init(params: Any) -> Any:
        zero = tree.map_(lambda p: Tensor(p.detach() * 0), params)
        return {"inner": optimizer.init(params), "gradients": zero, "count": Tensor(0)}

    def update(grads: Any, state: Any, params: Any) -> tuple[Any, Any]:
        with no_grad():
            count = state["count"] + 1
            is_due = count == steps
            total = tree.map_(lambda a, g: a + g, state["gradients"], grads)
            new, inner = optimizer.update(tree.map_(lambda g: g / steps, total), state["inner"], params)

            def chosen(a: Tensor, b: Tensor) -> Tensor:
                result = where(is_due, a, b)
                return Parameter(result, b.requires_grad) if isinstance(b, Parameter) else result

            state = {
                "inner": tree.map_(chosen, inner, state["inner"]),
                "gradients": tree.map_(lambda g: where(is_due, 0, g), total),
                "count": where(is_due, 0, count),
            }
            return tree.map_(chosen, new, params), state

    return Functional(init, update)


def decay_groups(
    model: Any, weight_decay: float = 1e-2, predicate: Callable[[str, Tensor], bool] | None = None
) -> list[dict[str, Any]]:
    """Return the parameters of a model in two groups for an optimizer: with weight decay, and without.

    Args:
        model: a module, or an iterable of pairs (name, parameter).
        weight_decay: that of the first group.
        predicate: `predicate(name, parameter)` tells what decays; by default parameters of two or more axes, so that
            biases and the weights of norms do not.

    Returns:
        A list of groups, without those that would be empty.

    Raises:
        ArgumentTypeError: `model` has no named parameters.

    Example:
        >>> model = plait.nn.Sequential(plait.nn.Linear(2, 3), plait.nn.LayerNorm(3))
        >>> optimizer = plait.optim.AdamW(plait.optim.decay_groups(model, 0.1), lr=1e-3)
        >>> [(len(g["params"]), g["weight_decay"]) for g in optimizer.param_groups]
        [(1, 0.1), (3, 0.0)]
    """
    named = list(model.named_parameters() if hasattr(model, "named_parameters") else model)
    if not all(isinstance(pair, tuple) and len(pair) == 2 for pair in named):
        fix = "pass the model, or model.named_parameters()"
        raise ArgumentTypeError(
            message("decay_groups needs the names of the parameters", type(model).__name__, None, fix)
        )
    decays = (lambda name, p: p.ndim >= 2) if predicate is None else predicate
    groups = [
        {"params": [pair for pair in named if bool(decays(*pair)) is chosen], "weight_decay": weight_decay * chosen}
        for chosen in (True, False)
    ]
    return [group for group in groups if group["params"]]
