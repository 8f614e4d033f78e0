"""Products with a fixed rank of their operands, products added to a tensor, and distances of vectors."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import inf
from typing import Any

from plait.core.dtype import bool_
from plait.core.errors import ArgumentError, DTypeError, ShapeError, message
from plait.core.graph import Node
from plait.core.primitive import P
from plait.prims.rules import broadcast_shapes, broadcast_to
from plait.tensor.composite import composite
from plait.tensor.contraction import matmul
from plait.tensor.einsum import einsum
from plait.tensor.families import both_names
from plait.tensor.methods import attach
from plait.tensor.operators import BINARY, promoted, scalar_node, to_float
from plait.tensor.tensor import Tensor, converted, node_of, wrap

__all__ = [
    "addbmm", "addmm", "addmv", "addr", "baddbmm", "bmm", "cdist", "chain_matmul", "dot", "ger", "inner", "kron",
    "mm", "mv", "outer", "vdot",
]  # fmt: skip

_RANKS = ("numbers", "vectors", "matrices", "batches of matrices")
_PRODUCT = """{summary}

Args:
    x: a tensor {first}.
    {name}: a tensor {second}.

Returns:
    A tensor {result}, in the promoted dtype.

Raises:
    ShapeError: the ranks are others, or the sizes do not fit.

Example:
    >>> plait.{example}
"""


def _check_ranks(name: str, nodes: Sequence[Node], ranks: Sequence[int]) -> None:
    if [n.ndim for n in nodes] != list(ranks):
        received = " and ".join(str(n.shape) for n in nodes)
        kinds = ["a number", "a vector", "a matrix", "a batch of matrices"]
        expected = "two vectors" if tuple(ranks) == (1, 1) else " and ".join(kinds[r] for r in ranks)
        fix = "matmul takes operands of any rank; a batch of vectors needs an axis more"
        raise ShapeError(message(f"{name} takes {expected}", received, None, fix))


def _of_ranks(
    name: str,
    ranks: tuple[int, int],
    function: Callable[[Tensor, Tensor], Tensor],
    second: tuple[str, str, str, str],
    summary: str,
    example: str,
) -> Any:
    """Make a product of two operands of given ranks; `second` is PyTorch's name, and the shapes of both and all."""

    def apply(x: Any, y: Any) -> Tensor:
        nodes = promoted((x, y), name)
        _check_ranks(name, nodes, ranks)
        return function(*[wrap(n) for n in nodes])

    apply.__name__ = apply.__qualname__ = name
    apply.__doc__ = _PRODUCT.format(
        summary=summary, name="y", first=second[1], second=f"{second[2]}; `{second[0]}` is another name",
        result=second[3], example=example,
    )  # fmt: skip
    return both_names(apply, **{second[0]: "y"})


def _outer(x: Tensor, y: Tensor) -> Tensor:
    return BINARY["multiply"](x.reshape(-1, 1), y)


def _conjugated(x: Tensor, y: Tensor) -> Tensor:
    return matmul(x.conj(), y)


mm = _of_ranks(
    "mm", (2, 2), matmul, ("mat2", "[m, k]", "[k, n]", "[m, n]"), "Return the product of two matrices.",
    "mm(plait.ones((2, 3)), plait.ones((3, 1))).shape\n    (2, 1)",
)  # fmt: skip
mv = _of_ranks(
    "mv", (2, 1), matmul, ("vec", "[m, k]", "[k]", "[m]"), "Return the product of a matrix and a vector.",
    "mv(plait.tensor([[1, 2], [3, 4]]), plait.tensor([1, 1]))\n    tensor([3, 7])",
)  # fmt: skip
dot = _of_ranks(
    "dot", (1, 1), matmul, ("tensor", "[k]", "[k]", "of rank 0"), "Return the sum of x * y of two vectors.",
    "dot(plait.tensor([1, 2]), plait.tensor([3, 4]))\n    tensor(11)",
)  # fmt: skip
vdot = _of_ranks(
    "vdot", (1, 1), _conjugated, ("tensor", "[k]", "[k]", "of rank 0"),
    "Return the sum of conj(x) * y of two vectors.",
    "vdot(plait.tensor([1.0j]), plait.tensor([1.0j]))\n    tensor(1.+0.j)",
)  # fmt: skip
outer = _of_ranks(
    "outer", (1, 1), _outer, ("vec2", "[m]", "[n]", "[m, n]"), "Return all products of elements of two vectors.",
    "outer(plait.tensor([1, 2]), plait.tensor([3, 4]))\n    tensor([[3, 4],\n            [6, 8]])",
)  # fmt: skip
ger = outer


@both_names(mat2="y")
@composite
def bmm(x: Any, y: Any) -> Tensor:
    """Return the products of the matrices in two batches.

    Args:
        x: a tensor [b, m, k].
        y: a tensor [b, k, n]; `mat2` is another name.

    Returns:
        A tensor [b, m, n], in the promoted dtype.

    Raises:
        ShapeError: the ranks are others, or the sizes do not fit.

    Example:
        >>> plait.bmm(plait.ones((5, 2, 3)), plait.ones((5, 3, 1))).shape
        (5, 2, 1)
    """
    a, b = promoted((x, y), "bmm")
    _check_ranks("bmm", (a, b), (3, 3))
    if a.shape[0] != b.shape[0]:
        fix = "matmul broadcasts the batch"
        raise ShapeError(message("bmm: the batches differ", f"shapes {a.shape} and {b.shape}", "one size", fix))
    return matmul(wrap(a), wrap(b))


@both_names
@composite
def inner(x: Any, y: Any) -> Tensor:
    """Return the sums of products over the last axes.

    Args:
        x: a tensor [..., k].
        y: a tensor [..., k]; a tensor of rank 0 multiplies.

    Returns:
        A tensor with the other axes of `x`, then those of `y`.

    Raises:
        ShapeError: the last axes differ in size.

    Example:
        >>> plait.inner(plait.tensor([[1, 2], [3, 4]]), plait.tensor([1, 1]))
        tensor([3, 7])
    """
    a, b = promoted((x, y), "inner")
    if not a.ndim or not b.ndim:
        return BINARY["multiply"](wrap(a), wrap(b))
    if a.shape[-1] != b.shape[-1]:
        text = "inner sums over last axes of one size"
        raise ShapeError(message(text, f"shapes {a.shape} and {b.shape}", "equal last sizes"))
    return wrap(P.dot_general(a, b, contract=((a.ndim - 1,), (b.ndim - 1,)), batch=((), ())))


@both_names
@composite
def kron(x: Any, y: Any) -> Tensor:
    """Return the Kronecker product: each element of `x` multiplied by all of `y`.

    Args:
        x: a tensor [a0, a1, …]; axes of size 1 are put before the shorter shape.
        y: a tensor [b0, b1, …].

    Returns:
        A tensor [a0 * b0, a1 * b1, …].

    Raises:
        ArgumentTypeError: an argument is no tensor, array or number.

    Example:
        >>> plait.kron(plait.tensor([1, 10]), plait.tensor([1, 2]))
        tensor([ 1,  2, 10, 20])
    """
    a, b = promoted((x, y), "kron")
    ndim = max(a.ndim, b.ndim)
    first, second = [(1,) * (ndim - n.ndim) + n.shape for n in (a, b)]
    a = P.reshape(a, shape=tuple([n for size in first for n in (size, 1)]))
    b = P.reshape(b, shape=tuple([n for size in second for n in (1, size)]))
    product = BINARY["multiply"](wrap(a), wrap(b))
    return product.reshape(tuple([n * m for n, m in zip(first, second, strict=True)]))


def chain_matmul(*matrices: Any, out: Tensor | None = None) -> Tensor:
    """Return the product of several matrices, multiplied in the order that needs the fewest multiplications.

    Args:
        matrices: tensors [n0, n1], [n1, n2], …, also as one sequence.
        out: a tensor that the result is written to.

    Returns:
        A tensor [n0, nk].

    Raises:
        ArgumentError: there is no matrix.
        ShapeError: an operand is no matrix, or the sizes do not fit.

    Example:
        >>> plait.chain_matmul(plait.ones((2, 3)), plait.ones((3, 4)), plait.ones((4, 5))).shape
        (2, 5)
    """
    values = matrices[0] if len(matrices) == 1 and isinstance(matrices[0], (list, tuple)) else matrices
    if not values:
        raise ArgumentError(message("chain_matmul multiplies matrices", "none", "at least one"))
    nodes = promoted(values, "chain_matmul")
    _check_ranks("chain_matmul", nodes, (2,) * len(nodes))
    for a, b in zip(nodes, nodes[1:], strict=False):
        if a.shape[1] != b.shape[0]:
            received = f"shapes {a.shape} and {b.shape}"
            raise ShapeError(message("chain_matmul: the inner sizes differ", received, "(m, k) and (k, n)"))
    lists = [item for k, n in enumerate(nodes) for item in (wrap(n), [k, k + 1])]
    return einsum(*lists, [0, len(nodes)], out=out)


# products that are added to a tensor

_ADDED = """Return beta * x + alpha * {product}.

Args:
    x: a tensor that broadcasts to {shape}; not read where `beta` is 0.
    {first}: a tensor {first_shape}.
    {second}: a tensor {second_shape}.
    beta: factor of `x`, truncated where the tensors are integers.
    alpha: factor of the product, likewise.

Returns:
    A tensor {shape}, in the promoted dtype.

Raises:
    ShapeError: the ranks are others, or the sizes do not fit.

Example:
    >>> plait.{example}
"""


def _batch_sum(x: Tensor, y: Tensor) -> Tensor:
    a, b = node_of(x), node_of(y)
    if a.shape[0] != b.shape[0] or a.shape[2] != b.shape[1]:
        raise ShapeError(
            message("addbmm: the sizes do not fit", f"shapes {a.shape} and {b.shape}", "[b, m, k], [b, k, n]")
        )
    return wrap(P.dot_general(a, b, contract=((0, 2), (0, 1)), batch=((), ())))


def _scaled(node: Node, factor: Any) -> Node:
    if factor == 1 or node.dtype is bool_:
        return node
    return node * scalar_node(factor if node.dtype.is_inexact else int(factor), node.dtype)


def _added(
    name: str,
    product: Callable[[Tensor, Tensor], Tensor],
    ranks: tuple[int, int],
    names: tuple[str, str],
    shapes: tuple[str, str, str],
    example: str,
    text: str = "({} @ {})",
) -> Any:
    def function(x: Any, first: Any, second: Any, *, beta: Any = 1, alpha: Any = 1) -> Tensor:
        base, a, b = promoted((x, first, second), name)
        _check_ranks(name, (a, b), ranks)
        made = node_of(product(wrap(a), wrap(b)))
        if broadcast_shapes(base.shape, made.shape, name=name) != made.shape:
            raise ShapeError(message(f"{name}: the tensor does not broadcast to the product", base.shape, made.shape))
        wide = made.dtype.compute
        total = _scaled(converted(made, wide), alpha)
        if wide is bool_ and not alpha:
            total = broadcast_to(scalar_node(False, bool_), made.shape)
        if beta:
            scaled = broadcast_to(_scaled(converted(base, wide), beta), made.shape)
            total = node_of(BINARY["add"](wrap(scaled), wrap(total)))
        return wrap(converted(total, made.dtype))

    function.__name__ = function.__qualname__ = name
    function.__doc__ = _ADDED.format(
        product=text.format(*names), shape=shapes[2], first=f"first (`{names[0]}`)", first_shape=shapes[0],
        second=f"second (`{names[1]}`)", second_shape=shapes[1], example=example,
    )  # fmt: skip
    return both_names(function, **{names[0]: "first", names[1]: "second"})


addmm = _added(
    "addmm", matmul, (2, 2), ("mat1", "mat2"), ("[m, k]", "[k, n]", "[m, n]"),
    "addmm(plait.tensor(1.0), plait.ones((1, 3)), plait.ones((3, 1)), alpha=2)\n    tensor([[7.]])",
)  # fmt: skip
addmv = _added(
    "addmv", matmul, (2, 1), ("mat", "vec"), ("[m, k]", "[k]", "[m]"),
    "addmv(plait.tensor([1, 2]), plait.tensor([[1, 0], [0, 1]]), plait.tensor([3, 4]))\n    tensor([4, 6])",
)  # fmt: skip
addr = _added(
    "addr", _outer, (1, 1), ("vec1", "vec2"), ("[m]", "[n]", "[m, n]"),
    "addr(plait.tensor([[1, 1]]), plait.tensor([1]), plait.tensor([2, 3]))\n    tensor([[3, 4]])", "outer({}, {})",
)  # fmt: skip
addbmm = _added(
    "addbmm", _batch_sum, (3, 3), ("batch1", "batch2"), ("[b, m, k]", "[b, k, n]", "[m, n]"),
    "addbmm(plait.zeros((1, 1)), plait.ones((4, 1, 3)), plait.ones((4, 3, 1)))\n    tensor([[12.]])",
    "({} @ {}).sum(0)",
)  # fmt: skip
baddbmm = _added(
    "baddbmm", bmm, (3, 3), ("batch1", "batch2"), ("[b, m, k]", "[b, k, n]", "[b, m, n]"),
    "baddbmm(plait.zeros((1, 1, 1)), plait.ones((1, 1, 3)), plait.ones((1, 3, 1)))\n    tensor([[[3.]]])",
)  # fmt: skip


# distances

_MODES = ("use_mm_for_euclid_dist_if_necessary", "use_mm_for_euclid_dist", "donot_use_mm_for_euclid_dist")
_FEW = 25  # rows up to which differences are taken: they lose no digits


@both_names
@composite
def cdist(
    x1: Any, x2: Any, p: float = 2.0, compute_mode: str = "use_mm_for_euclid_dist_if_necessary"
) -> Tensor:  # fmt: skip
    """Return the distances of all pairs of rows, in the p-norm.

    Args:
        x1: a tensor [..., m, k] of floats.
        x2: a tensor [..., n, k]; leading axes broadcast.
        p: the order of the norm, from 0 (the number of coordinates that differ) to inf.
        compute_mode: whether Euclidean distances come from a matrix product, which is faster and less exact: for
            more than 25 rows ("use_mm_for_euclid_dist_if_necessary"), always ("use_mm_for_euclid_dist"), or
            never ("donot_use_mm_for_euclid_dist").

    Returns:
        A tensor [..., m, n]. The gradient of a distance 0 is 0.

    Raises:
        ShapeError: an operand has no rows, or the sizes do not fit.
        DTypeError: the operands are not real floats.
        ArgumentError: `p` is negative, or the mode unknown.

    Example:
        >>> plait.cdist(plait.tensor([[0.0, 0.0]]), plait.tensor([[3.0, 4.0], [0.0, 1.0]]))
        tensor([[5., 1.]])
    """
    a, b = promoted((x1, x2), "cdist", to_float)
    if min(a.ndim, b.ndim) < 2 or a.shape[-1] != b.shape[-1]:
        expected = "[..., m, k] and [..., n, k]"
        raise ShapeError(message("cdist takes rows of one length", f"shapes {a.shape} and {b.shape}", expected))
    if not a.dtype.is_floating:
        raise DTypeError(message("cdist takes real numbers", a.dtype.name, "a float dtype", "take .abs() or .real"))
    if not p >= 0:
        raise ArgumentError(message("cdist needs the order of a norm", f"p={p}", "at least 0"))
    if compute_mode not in _MODES:
        raise ArgumentError(message("Unknown mode of cdist", repr(compute_mode), "one of " + ", ".join(_MODES)))
    wide = [converted(n, n.dtype.compute) for n in (a, b)]
    is_large = max(a.shape[-2], b.shape[-2]) > _FEW and compute_mode == _MODES[0]
    distance = _by_product if p == 2 and (is_large or compute_mode == _MODES[1]) else _by_differences
    return wrap(converted(distance(*wide, p), a.dtype))


def _by_product(a: Node, b: Node, p: float) -> Node:
    squares = [P.reduce_sum(n * n, axes=(n.ndim - 1,)) for n in (a, b)]
    left, right = [P.reshape(s, shape=(*s.shape[:-1], *end)) for s, end in
                   zip(squares, ((a.shape[-2], 1), (1, b.shape[-2])), strict=True)]  # fmt: skip
    product = node_of(matmul(wrap(a), wrap(b).mT))
    return _root(left + right - product * 2)


def _root(total: Node) -> Node:
    """Return the square root of what should not be negative; its derivative at 0 is 0."""
    zero, one = scalar_node(0, total.dtype), scalar_node(1, total.dtype)
    is_zero = P.le(total, zero)
    return P.select(is_zero, zero, P.sqrt(P.select(is_zero, one, total)))


def _by_differences(a: Node, b: Node, p: float) -> Node:
    gap = _between_rows(a, b)
    size, last = P.abs(gap), (gap.ndim - 1,)
    zero, one = scalar_node(0, size.dtype), scalar_node(1, size.dtype)
    if not gap.shape[-1]:
        return P.reduce_sum(size, axes=last)
    if p == 0:
        return P.reduce_sum(P.sign(size), axes=last)
    if p == 1:
        return P.reduce_sum(size, axes=last)
    if p == 2:
        return _root(P.reduce_sum(gap * gap, axes=last))
    if p == inf:
        return P.reduce_max(size, axes=last)
    if p == int(p) and p <= 64:
        powers = P.integer_pow(size, exponent=int(p))
    else:
        is_zero = P.eq(size, zero)
        powers = P.select(is_zero, zero, P.pow(P.select(is_zero, one, size), scalar_node(p, size.dtype)))
    total = P.barrier(P.reduce_sum(powers, axes=last))[0]  # a root computed inside the sum's loops is not in lanes
    is_zero = P.eq(total, zero)
    return P.select(is_zero, zero, P.pow(P.select(is_zero, one, total), scalar_node(1 / p, size.dtype)))


def _between_rows(a: Node, b: Node) -> Node:
    """Return the differences [..., m, n, k] of all pairs of rows."""
    first = P.reshape(a, shape=(*a.shape[:-1], 1, a.shape[-1]))
    second = P.reshape(b, shape=(*b.shape[:-2], 1, *b.shape[-2:]))
    return first - second


attach(
    [mm, mv, dot, vdot, outer, bmm, inner, kron, addmm, addmv, addr, addbmm, baddbmm],
    ["addmm", "addmv", "addr", "addbmm", "baddbmm"],
)
Tensor.ger = outer  # type: ignore[attr-defined]
