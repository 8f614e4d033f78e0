"""Products of matrices and tensors, all of them `dot_general` over permuted axes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from plait.core.dtype import int64
from plait.core.errors import ArgumentError, ShapeError, message
from plait.core.graph import Node
from plait.core.primitive import P
from plait.prims.rules import broadcast_shapes, broadcast_to
from plait.tensor.functions import both_names
from plait.tensor.operators import promoted
from plait.tensor.tensor import Tensor, axis_index, to_node, wrap


@both_names
def matmul(x: Any, y: Any) -> Tensor:
    """Multiply matrices; leading axes are a batch and broadcast.

    Args:
        x: a tensor [..., m, k], or a vector [k].
        y: a tensor [..., k, n], or a vector [k].

    Returns:
        A tensor [..., m, n]; the axis of a vector is dropped.

    Raises:
        ShapeError: an operand has rank 0, or the inner sizes differ.

    Example:
        >>> plait.matmul(plait.tensor([[1.0, 2.0]]), plait.tensor([3.0, 4.0]))
        tensor([11.])
    """
    a, b = promoted((x, y), "matmul")
    if not a.ndim or not b.ndim:
        fix = "multiply by a scalar with *"
        raise ShapeError(message("matmul needs vectors or matrices", f"shapes {a.shape} and {b.shape}", None, fix))
    inner = b.ndim - 2 if b.ndim > 1 else 0
    if a.shape[-1] != b.shape[inner]:
        expected = f"the last axis of x ({a.shape[-1]}) as long as axis {inner} of y ({b.shape[inner]})"
        fix = "transpose an operand, e.g. x @ y.mT"
        raise ShapeError(message("matmul: the inner sizes differ", f"shapes {a.shape} and {b.shape}", expected, fix))
    if b.ndim <= 2:
        return wrap(P.dot_general(a, b, contract=((a.ndim - 1,), (inner,)), batch=((), ())))
    is_vector = a.ndim == 1
    if is_vector:
        a = P.reshape(a, shape=(1, *a.shape))
    batch = broadcast_shapes(a.shape[:-2], b.shape[:-2], name="the batch of matmul")
    a, b = broadcast_to(a, (*batch, *a.shape[-2:])), broadcast_to(b, (*batch, *b.shape[-2:]))
    count = len(batch)
    axes = tuple(range(count))
    result = P.dot_general(a, b, contract=((count + 1,), (count,)), batch=(axes, axes))
    return wrap(P.reshape(result, shape=(*batch, result.shape[-1])) if is_vector else result)


@both_names
def tensordot(x: Any, y: Any, axes: Any = 2) -> Tensor:
    """Sum products over pairs of axes.

    Args:
        x: a tensor.
        y: a tensor.
        axes: how many last axes of `x` pair with the first of `y`; or two sequences of axes.

    Returns:
        A tensor with the other axes of `x`, then those of `y`.

    Raises:
        ShapeError: paired axes differ in size or number.

    Example:
        >>> plait.tensordot(plait.tensor([1, 2]), plait.tensor([3, 4]), 1)
        tensor(11)
    """
    a, b = promoted((x, y), "tensordot")
    if hasattr(axes, "__index__"):
        pairs = tuple(range(a.ndim - axes, a.ndim)), tuple(range(axes))
    else:
        given = [[one] if hasattr(one, "__index__") else list(one) for one in axes]
        pairs = tuple([axis_index(i, n.ndim) for i in one] for one, n in zip(given, (a, b), strict=True))
    sizes = [[n.shape[i] for i in one] for one, n in zip(pairs, (a, b), strict=True)]
    if sizes[0] != sizes[1]:
        text = "tensordot sums over axes of equal size"
        raise ShapeError(message(text, f"sizes {sizes[0]} and {sizes[1]}", None, "check axes"))
    return wrap(P.dot_general(a, b, contract=(tuple(pairs[0]), tuple(pairs[1])), batch=((), ())))


def outer(x: Any, y: Any) -> Tensor:
    """Return all products of the elements of two vectors, as a matrix."""
    a, b = promoted((x, y), "outer")
    if a.ndim != 1 or b.ndim != 1:
        raise ShapeError(message("outer takes two vectors", f"shapes {a.shape} and {b.shape}", None, "use .ravel()"))
    return wrap(P.reshape(a, shape=(*a.shape, 1)) * b)


@both_names
def vecdot(x: Any, y: Any, axis: int = -1) -> Tensor:
    """Return the sum of conj(x) * y along an axis; the other axes broadcast."""
    a, b = promoted((x, y), "vecdot")
    product = (P.conj(a) if a.dtype.is_complex else a) * b
    return wrap(product).sum(axis)


def dot(x: Any, y: Any) -> Tensor:
    """Return the inner product of two vectors."""
    a, b = promoted((x, y), "dot")
    if a.ndim != 1 or b.ndim != 1:
        raise ShapeError(message("dot takes two vectors", f"shapes {a.shape} and {b.shape}", None, "use matmul"))
    return matmul(x, y)


def einsum(equation: str, *operands: Any) -> Tensor:
    """Sum products of elements, the axes named by letters (Einstein's convention).

    Args:
        equation: e.g. "ij,jk->ik"; "..." stands for leading axes that broadcast; a letter twice in one operand takes
            its diagonal; without "->" the result has the letters that occur once, in alphabetical order.
        operands: one tensor for each term.

    Returns:
        A tensor with the axes named after "->".

    Raises:
        ArgumentError: the equation does not fit the operands.
        ShapeError: one letter has two sizes.

    Example:
        >>> plait.einsum("ij,j->i", plait.tensor([[1, 2], [3, 4]]), plait.tensor([1, 1]))
        tensor([3, 7])
    """
    terms, output, nodes = _parse(equation, operands)
    _check_sizes(equation, terms, nodes)
    while True:
        later = set(output).union(*terms[2:])
        for i, other in enumerate((terms[1:2], terms[:1])[: len(terms)]):
            nodes[i], terms[i] = _reduced(nodes[i], terms[i], later.union(*other))
        if len(terms) == 1:
            break
        nodes[:2], terms[:2] = _contracted(nodes[:2], terms[:2], later)
    node, term = nodes[0], terms[0]
    order = tuple(term.index(letter) for letter in output)
    return wrap(node if order == tuple(range(len(order))) else P.transpose(node, permutation=order))


def _parse(equation: str, operands: Sequence[Any]) -> tuple[list[list[str]], list[str], list[Node]]:
    values = [o if isinstance(o, Tensor) else wrap(to_node(o)) for o in operands]
    nodes = promoted(values, "einsum")
    left, arrow, right = equation.replace(" ", "").partition("->")
    names = left.split(",")
    letters = left.replace(",", "").replace("...", "")
    if len(names) != len(nodes) or any(not c.isalpha() for c in letters + right.replace("...", "")):
        text = "The equation of einsum needs a term of letters for each operand"
        raise ArgumentError(message(text, f"{equation!r} for {len(nodes)} operands", None, 'e.g. "ij,jk->ik"'))
    dotted = [n.ndim - len(t) + 3 for t, n in zip(names, nodes, strict=True) if "..." in t]
    batch = max(dotted, default=0)
    terms = [_named(t, n.ndim, batch, equation) for t, n in zip(names, nodes, strict=True)]
    if not arrow:
        right = ("..." if batch else "") + "".join(sorted(c for c in set(letters) if letters.count(c) == 1))
    output = _named(right, len(right.replace("...", "")) + batch, batch, equation)
    known = {letter for term in terms for letter in term}
    if len(set(output)) != len(output) or not known.issuperset(output):
        raise ArgumentError(message("The result of einsum names each letter once, and only known ones", repr(equation)))
    return terms, output, nodes


def _named(term: str, ndim: int, batch: int, equation: str) -> list[str]:
    """Return the names of the axes of a term; those behind "..." are numbered from the last."""
    before, dots, after = term.partition("...")
    count = ndim - len(before) - len(after)
    if count < 0 or count and not dots:
        raise ArgumentError(message("A term of einsum names each axis", f"{term!r} in {equation!r} for {ndim} axes"))
    return [*before, *[str(batch - count + i) for i in range(count)], *after]


def _check_sizes(equation: str, terms: Sequence[list[str]], nodes: Sequence[Node]) -> None:
    sizes: dict[str, Any] = {}
    for term, node in zip(terms, nodes, strict=True):
        for letter, size in zip(term, node.shape, strict=True):
            known = sizes.get(letter, 1)
            if 1 not in (known, size) and size != known or size != known and letter.isalpha() and letter in sizes:
                text = f"einsum {equation!r}: axis {letter!r} has two sizes"
                raise ShapeError(message(text, f"{known} and {size}", "one size for each letter"))
            sizes[letter] = size if known == 1 else known


def _reduced(node: Node, term: list[str], needed: set[str]) -> tuple[Node, list[str]]:
    """Take diagonals of repeated letters and sum over letters that nothing else needs."""
    for letter in dict.fromkeys(term):
        while term.count(letter) > 1:
            i = term.index(letter)
            j = term.index(letter, i + 1)
            rest = [k for k in range(node.ndim) if k not in (i, j)]
            index = P.iota(dtype=int64, shape=(node.shape[i],), axis=0)
            node = P.gather(node, index, index, axes=(i, j), mode="clip")
            term = [letter, *[term[k] for k in rest]]
    axes = tuple(i for i, letter in enumerate(term) if letter not in needed)
    if axes:
        node = P.reduce_sum(node, axes=axes)
    return node, [letter for letter in term if letter in needed]


def _contracted(nodes: list[Node], terms: list[list[str]], needed: set[str]) -> tuple[list[Node], list[list[str]]]:
    """Contract two operands; axes of size 1 that broadcast are dropped first."""
    for i in range(2):
        size = dict(zip(terms[1 - i], nodes[1 - i].shape, strict=True))
        kept = [k for k, c in enumerate(terms[i]) if not (nodes[i].shape[k] == 1 and size.get(c, 1) != 1)]
        nodes[i] = P.reshape(nodes[i], shape=tuple(nodes[i].shape[k] for k in kept))
        terms[i] = [terms[i][k] for k in kept]
    a, b = terms
    shared = [c for c in a if c in b]
    batch = [c for c in shared if c in needed]
    summed = [c for c in shared if c not in needed]
    axes = [tuple(tuple(t.index(c) for c in cs) for t in terms) for cs in (summed, batch)]
    result = P.dot_general(*nodes, contract=axes[0], batch=axes[1])
    return [result], [[*batch, *[c for c in a if c not in shared], *[c for c in b if c not in shared]]]
