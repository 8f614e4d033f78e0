"""One call of a function of `nn.functional` in plait and in PyTorch: results, gradients, and gradients of those."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

import plait
from plait.testing.comparing import close

F, T = plait.nn.functional, torch.nn.functional


def tensors(values: Any, library: Any, leaves: int = 0) -> Any:
    """Arrays as tensors of a library, the first `leaves` that hold floats with `requires_grad`; the rest as it is."""
    result = []
    for value in values:
        if isinstance(value, np.ndarray):
            needed = leaves > 0 and value.dtype.kind == "f"
            leaves -= 1
            value = library.tensor(value, requires_grad=True) if needed else library.tensor(value)
        result.append(value)
    return result


def agree(
    name: str, arguments: Any, options: dict[str, Any] | None = None, *, tolerance: float = 2e-5, second: bool = False,
    leaves: int = 9,
) -> Any:  # fmt: skip
    """Compare results, and gradients by the first `leaves` arguments; with `second`, also the gradients of those."""
    options = options or {}
    results = []
    for library, namespace in ((plait, F), (torch, T)):
        inputs = tensors(arguments, library, leaves)
        named = dict(zip(options, tensors(options.values(), library), strict=True))
        result = getattr(namespace, name)(*inputs, **named)
        first = result[0] if isinstance(result, tuple) else result
        results.append((first, [x for x in inputs if getattr(x, "requires_grad", False)]))
    (ours, mine), (theirs, others) = results
    assert ours.dtype.name == str(theirs.dtype).removeprefix("torch.")
    close(ours, theirs, tolerance)
    if not others or not theirs.requires_grad:
        return ours
    weight = np.cos(np.arange(theirs.numel(), dtype=theirs.detach().numpy().dtype)).reshape(theirs.shape)
    expected = torch.autograd.grad(
        (theirs * torch.tensor(weight)).sum(), others, create_graph=second, allow_unused=True
    )
    (ours * plait.tensor(weight)).sum().backward()
    for leaf, other, want in zip(mine, others, expected, strict=True):
        got = plait.zeros_like(leaf) if leaf.grad is None else leaf.grad
        close(got, torch.zeros_like(other) if want is None else want, tolerance)
    if second:
        check_second(name, arguments, options, weight, others, expected, tolerance)
    return ours


def check_second(
    name: str, arguments: Any, options: dict[str, Any], weight: Any, others: Any, expected: Any, tolerance: float
) -> None:
    """The gradient of the sum of the squares of the gradients."""
    places = [i for i, v in enumerate(arguments) if isinstance(v, np.ndarray) and v.dtype.kind == "f"][: len(others)]
    named = dict(zip(options, tensors(options.values(), plait), strict=True))

    def total(*leaves: Any) -> Any:
        inputs = tensors(arguments, plait)
        for place, leaf in zip(places, leaves, strict=True):
            inputs[place] = leaf
        return (getattr(F, name)(*inputs, **named) * plait.tensor(weight)).sum()

    def squares(*leaves: Any) -> Any:
        return sum((g * g).sum() for g in plait.grad(total, tuple(range(len(leaves))))(*leaves))

    leaves = [plait.tensor(arguments[i]) for i in places]
    got = plait.grad(squares, tuple(range(len(leaves))))(*leaves)
    want = torch.autograd.grad(sum((g * g).sum() for g in expected if g is not None), others, allow_unused=True)
    for g, w, other in zip(got, want, others, strict=True):
        close(g, torch.zeros_like(other) if w is None else w, tolerance * 5)
