"""Copies of what views show: the functions of PyTorch whose names end in `_copy`."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

from plait.tensor.converting import alias, detach, view_as_complex, view_as_real
from plait.tensor.diagonals import diagonal
from plait.tensor.families import both_names
from plait.tensor.shaping import clone, expand, permute, squeeze_method, t, transpose, unsqueeze, view
from plait.tensor.splitting import narrow, select, slice, split, split_with_sizes, unbind
from plait.tensor.strides import as_strided, unfold
from plait.tensor.tensor import Tensor

__all__ = [
    "alias_copy", "as_strided_copy", "detach_copy", "diagonal_copy", "expand_copy", "narrow_copy", "permute_copy",
    "select_copy", "slice_copy", "split_copy", "split_with_sizes_copy", "squeeze_copy", "t_copy", "transpose_copy",
    "unbind_copy", "unfold_copy", "unsqueeze_copy", "view_as_complex_copy", "view_as_real_copy", "view_copy",
]  # fmt: skip

_DOCUMENT = """Return a copy of what `{view}` shows: writing to it leaves the tensor alone.

Args:
    x: a tensor; the other arguments are those of `{view}`.

Returns:
    A new tensor, or a tuple of them where `{view}` returns several.

Raises:
    ShapeError: the tensor has no such axes, or not the elements for the shape.

Example:
    >>> plait.{view}_copy({arguments})
    {result}
"""


def _copying(view: Callable[..., Any], arguments: str, result: str) -> Callable[..., Any]:
    """Return the function that copies what `view` shows."""

    @wraps(view)
    def function(*args: Any, **kwargs: Any) -> Any:
        found = view(*args, **kwargs)
        return clone(found) if isinstance(found, Tensor) else tuple(map(clone, found))

    function.__name__ = function.__qualname__ = f"{view.__name__}_copy"
    function.__module__ = __name__
    function.__doc__ = _DOCUMENT.format(view=view.__name__, arguments=arguments, result=result.replace("\n", "\n    "))
    return both_names(function)  # type: ignore[no-any-return]


_PAIR = "(tensor([0, 1]), tensor([2]))"
alias_copy = _copying(alias, "plait.ones(2)", "tensor([1., 1.])")
as_strided_copy = _copying(as_strided, "plait.arange(4.0), (2,), (3,)", "tensor([0., 3.])")
detach_copy = _copying(detach, "plait.ones(2)", "tensor([1., 1.])")
diagonal_copy = _copying(diagonal, "plait.tensor([[1.0, 2.0], [3.0, 4.0]])", "tensor([1., 4.])")
expand_copy = _copying(expand, "plait.tensor([[1.0], [2.0]]), (2, 2)", "tensor([[1., 1.],\n        [2., 2.]])")
narrow_copy = _copying(narrow, "plait.arange(4.0), 0, 1, 2", "tensor([1., 2.])")
permute_copy = _copying(permute, "plait.tensor([[1.0, 2.0]]), (1, 0)", "tensor([[1.],\n        [2.]])")
select_copy = _copying(select, "plait.tensor([[1.0, 2.0], [3.0, 4.0]]), 1, 0", "tensor([1., 3.])")
slice_copy = _copying(slice, "plait.arange(5.0), 0, 1, 5, 2", "tensor([1., 3.])")
split_copy = _copying(split, "plait.arange(3), 2", _PAIR)
split_with_sizes_copy = _copying(split_with_sizes, "plait.arange(3), (2, 1)", _PAIR)
squeeze_copy = _copying(squeeze_method, "plait.tensor([[1.0, 2.0]]), 0", "tensor([1., 2.])")
t_copy = _copying(t, "plait.tensor([[1.0, 2.0]])", "tensor([[1.],\n        [2.]])")
transpose_copy = _copying(transpose, "plait.tensor([[1.0, 2.0]]), 0, 1", "tensor([[1.],\n        [2.]])")
unbind_copy = _copying(unbind, "plait.tensor([1.0, 2.0])", "(tensor(1.), tensor(2.))")
unfold_copy = _copying(unfold, "plait.arange(3.0), 0, 2, 1", "tensor([[0., 1.],\n        [1., 2.]])")
unsqueeze_copy = _copying(unsqueeze, "plait.tensor([1.0, 2.0]), 0", "tensor([[1., 2.]])")
view_as_complex_copy = _copying(view_as_complex, "plait.tensor([[1.0, 2.0]])", "tensor([1.+2.j])")
view_as_real_copy = _copying(view_as_real, "plait.tensor([1.0 + 2.0j])", "tensor([[1., 2.]])")
view_copy = _copying(view, "plait.tensor([[1.0, 2.0]]), 2", "tensor([1., 2.])")
