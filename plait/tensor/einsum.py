"""Einstein's summation: sums of products of elements, the axes named by letters."""

from __future__ import annotations

from collections.abc import Sequence
from string import ascii_letters
from typing import Any

from plait.core.dtype import int64
from plait.core.errors import ArgumentError, ShapeError, message
from plait.core.graph import Node
from plait.core.primitive import P
from plait.tensor.composite import composite
from plait.tensor.families import both_names
from plait.tensor.operators import promoted
from plait.tensor.paths import as_path, contraction_path, describe
from plait.tensor.tensor import Tensor, to_node, wrap

__all__ = ["einsum", "einsum_path"]

Term = list[str]


@both_names
@composite
def einsum(equation: Any, *operands: Any, optimize: Any = True) -> Tensor:
    """Sum products of elements, the axes named by letters (Einstein's convention).

    Operands are contracted in pairs, in the cheapest order (see `einsum_path`).

    Args:
        equation: e.g. "ij,jk->ik"; "..." stands for axes that broadcast; a letter twice in one operand takes its
            diagonal; without "->" the result has the letters that occur once, in alphabetical order.
        operands: one tensor for each term, also as one list. Instead of an equation, each operand may be followed by
            a list of integers that name its axes, with the list of the result at the end: `einsum(x, [0, 1], [1, 0])`.
        optimize: False contracts from left to right; True, "optimal" or "greedy" choose the order; a path of
            `einsum_path` prescribes it.

    Returns:
        A tensor with the axes named after "->".

    Raises:
        ArgumentError: the equation does not fit the operands.
        ShapeError: one letter has two sizes, neither of them 1.

    Example:
        >>> plait.einsum("ij,j->i", plait.tensor([[1, 2], [3, 4]]), plait.tensor([1, 1]))
        tensor([3, 7])
        >>> plait.einsum("ii", plait.tensor([[1, 2], [3, 4]]))
        tensor(5)
    """
    terms, output, nodes = _prepared(equation, operands)
    for pair in contraction_path(*_sizes(terms, nodes), tuple(output), as_path(optimize, len(terms))):
        chosen = [(nodes[k], terms[k]) for k in pair]
        for k in sorted(pair, reverse=True):
            del nodes[k], terms[k]
        node, term = _contracted(chosen, set(output).union(*terms))
        nodes.append(node)
        terms.append(term)
    node, term = _summed(nodes[0], terms[0], set(output))
    order = tuple([term.index(letter) for letter in output])
    return wrap(node if order == tuple(range(len(order))) else P.transpose(node, permutation=order))


def einsum_path(equation: Any, *operands: Any, optimize: Any = True) -> tuple[list[Any], str]:
    """Return the order in which `einsum` contracts its operands.

    The order with the fewest multiplications is found by dynamic programming for up to eight operands; for more, the
    pair whose product needs the least additional memory comes first (Smith and Gray, "opt_einsum", 2018).

    Args:
        equation: as for `einsum`.
        operands: as for `einsum`.
        optimize: as for `einsum`.

    Returns:
        The path as NumPy writes it, "einsum_path" and then for each step the positions of the contracted operands
        (their product is appended at the end); and a description.

    Raises:
        ArgumentError: the equation does not fit the operands.

    Example:
        >>> a, b, c = plait.ones((2, 100)), plait.ones((100, 3)), plait.ones((3, 5))
        >>> plait.einsum_path("ij,jk,kl->il", a, b, c)[0]
        ['einsum_path', (0, 1), (0, 1)]
    """
    terms, output, nodes = _prepared(equation, operands)
    names, sizes = _sizes(terms, nodes)
    path = contraction_path(names, sizes, tuple(output), as_path(optimize, len(terms)))
    return ["einsum_path", *path], describe(names, dict(sizes), tuple(output), path)


def _prepared(equation: Any, operands: Sequence[Any]) -> tuple[list[Term], Term, list[Node]]:
    """Return terms without repeated letters, the letters of the result, and nodes with axes for the terms."""
    if not isinstance(equation, str):
        equation, operands = _from_sublists((equation, *operands))
    elif len(operands) == 1 and isinstance(operands[0], (list, tuple)):
        operands = operands[0]
    terms, output, nodes = _parsed(equation, operands)
    _check_sizes(equation, terms, nodes)
    largest: dict[str, Any] = {}
    for term, node in zip(terms, nodes, strict=True):
        largest.update({c: n for c, n in zip(term, node.shape, strict=True) if n != 1 or c not in largest})
    diagonals = [_diagonal(n, t) for n, t in zip(nodes, terms, strict=True)]
    dropped = [_without_broadcast(n, t, largest) for n, t in diagonals]
    nodes, terms = [n for n, _ in dropped], [t for _, t in dropped]
    for i, term in enumerate(terms):
        nodes[i], terms[i] = _summed(nodes[i], term, set(output).union(*terms[:i], *terms[i + 1 :]))
    return terms, output, nodes


def _from_sublists(values: Sequence[Any]) -> tuple[str, Sequence[Any]]:
    """Return equation and operands for operands that alternate with lists of integers."""
    lists = [*values[1::2], *values[-1:]] if len(values) % 2 else values[1::2]
    if len(values) < 2 or not all(isinstance(one, (list, tuple)) for one in lists):
        text = "einsum takes an equation, or operands each with a list of integers"
        raise ArgumentError(message(text, f"{len(values)} arguments", 'e.g. "ij->ji", x or x, [0, 1], [1, 0]'))
    for label in (label for one in lists for label in one):
        if label is not Ellipsis and not (isinstance(label, int) and 0 <= label < len(ascii_letters)):
            raise ArgumentError(message("einsum names axes by integers", repr(label), "0 to 51, or ..."))
    named = ["".join(["..." if i is Ellipsis else ascii_letters[(i + 26) % 52] for i in one]) for one in lists]
    count = len(values) // 2
    return ",".join(named[:count]) + ("->" + named[-1] if len(values) % 2 else ""), values[: 2 * count : 2]


def _parsed(equation: str, operands: Sequence[Any]) -> tuple[list[Term], Term, list[Node]]:
    values = [o if isinstance(o, Tensor) else wrap(to_node(o)) for o in operands]
    left, arrow, right = equation.replace(" ", "").partition("->")
    names = left.split(",")
    letters = left.replace(",", "").replace("...", "")
    if len(names) != len(values) or any(c not in ascii_letters for c in letters + right.replace("...", "")):
        text = "The equation of einsum needs a term of letters for each operand"
        raise ArgumentError(message(text, f"{equation!r} for {len(values)} operands", None, 'e.g. "ij,jk->ik"'))
    nodes = list(promoted(values, "einsum"))
    dotted = [n.ndim - len(t) + 3 for t, n in zip(names, nodes, strict=True) if "..." in t]
    batch = max(dotted, default=0)
    terms = [_named(t, n.ndim, batch, equation) for t, n in zip(names, nodes, strict=True)]
    if not arrow:
        right = ("..." if batch else "") + "".join(sorted(c for c in set(letters) if letters.count(c) == 1))
    dots = batch if "..." in right else 0
    output = _named(right, len(right.replace("...", "")) + dots, batch, equation)
    known = {letter for term in terms for letter in term}
    if len(set(output)) != len(output) or not known.issuperset(output):
        raise ArgumentError(message("The result of einsum names each letter once, and only known ones", repr(equation)))
    return terms, output, nodes


def _named(term: str, ndim: int, batch: int, equation: str) -> Term:
    """Return the names of the axes of a term; those behind "..." are numbered from the last."""
    before, dots, after = term.partition("...")
    count = ndim - len(before) - len(after)
    if count < 0 or count and not dots:
        raise ArgumentError(message("A term of einsum names each axis", f"{term!r} in {equation!r} for {ndim} axes"))
    return [*before, *[str(batch - count + i) for i in range(count)], *after]


def _check_sizes(equation: str, terms: Sequence[Term], nodes: Sequence[Node]) -> None:
    found: dict[str, Any] = {}
    for term, node in zip(terms, nodes, strict=True):
        own = dict(zip(term, node.shape, strict=True))
        for letter, size in zip(term, node.shape, strict=True):
            known = found.get(letter, 1)
            other = own[letter] if own[letter] != size else known
            if 1 not in (known, size) and size != known or own[letter] != size:
                text = f"einsum {equation!r}: axis {letter!r} has two sizes"
                raise ShapeError(message(text, f"{other} and {size}", "one size for each letter"))
            found[letter] = size if known == 1 else known


def _diagonal(node: Node, term: Term) -> tuple[Node, Term]:
    """Take diagonals of repeated letters."""
    for letter in dict.fromkeys(term):
        while term.count(letter) > 1:
            i = term.index(letter)
            j = term.index(letter, i + 1)
            rest = [k for k in range(node.ndim) if k not in (i, j)]
            index = P.iota(dtype=int64, shape=(node.shape[i],), axis=0)
            node = P.gather(node, index, index, axes=(i, j), mode="clip")
            term = [letter, *[term[k] for k in rest]]
    return node, term


def _without_broadcast(node: Node, term: Term, largest: dict[str, Any]) -> tuple[Node, Term]:
    """Drop axes of size 1 that broadcast: other operands have them."""
    kept = [k for k, c in enumerate(term) if node.shape[k] == largest[c]]
    if len(kept) == len(term):
        return node, term
    return P.reshape(node, shape=tuple([node.shape[k] for k in kept])), [term[k] for k in kept]


def _summed(node: Node, term: Term, needed: set[str]) -> tuple[Node, Term]:
    """Sum over letters that nothing else needs."""
    axes = tuple([i for i, letter in enumerate(term) if letter not in needed])
    return (P.reduce_sum(node, axes=axes) if axes else node), [letter for letter in term if letter in needed]


def _sizes(
    terms: Sequence[Term], nodes: Sequence[Node]
) -> tuple[tuple[tuple[str, ...], ...], tuple[tuple[str, int], ...]]:
    """Return the terms and the sizes of their letters in a form that can be looked up."""
    found = {c: int(n) for t, node in zip(terms, nodes, strict=True) for c, n in zip(t, node.shape, strict=True)}
    return tuple([tuple(t) for t in terms]), tuple(sorted(found.items()))


def _contracted(pairs: Sequence[tuple[Node, Term]], needed: set[str]) -> tuple[Node, Term]:
    """Multiply operands and sum over the letters that nothing else needs."""
    node, term = pairs[0]
    for position, (other, names) in enumerate(pairs[1:], 2):
        later = needed.union(*[t for _, t in pairs[position:]])
        node, term = _multiplied(node, term, other, names, later)
    return node, term


def _multiplied(a: Node, first: Term, b: Node, second: Term, needed: set[str]) -> tuple[Node, Term]:
    shared = [c for c in first if c in second]
    batch, summed = [c for c in shared if c in needed], [c for c in shared if c not in needed]
    free = [[c for c in t if c not in shared] for t in (first, second)]
    term = [*batch, *free[0], *free[1]]
    if summed and (free[0] or free[1]):
        axes = [tuple([tuple([t.index(c) for c in cs]) for t in (first, second)]) for cs in (summed, batch)]
        return P.dot_general(a, b, contract=axes[0], batch=axes[1]), term
    names = [*term, *summed]  # products of elements, which join the loops of what reads them
    product = _aligned(a, first, names) * _aligned(b, second, names)
    return (P.reduce_sum(product, axes=tuple(range(len(term), len(names)))) if summed else product), term


def _aligned(node: Node, term: Term, names: Term) -> Node:
    """Return the node with axes in the order of `names`, of size 1 where it has none."""
    order = tuple([term.index(c) for c in names if c in term])
    if order != tuple(range(len(order))):
        node = P.transpose(node, permutation=order)
    shape = iter(node.shape)
    return P.reshape(node, shape=tuple([next(shape) if c in term else 1 for c in names]))
