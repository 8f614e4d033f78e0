"""Einstein sums and their order, products of fixed rank, distances: against NumPy and SciPy."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import plait
from plait.core.errors import ArgumentError, DTypeError, PlaitError, ShapeError
from plait.tensor.paths import contraction_path

cdist = pytest.importorskip("scipy.spatial.distance").cdist

RANDOM = np.random.default_rng(0)


def draw(*shape: int) -> Any:
    return RANDOM.normal(size=shape)


def close(got: Any, want: Any, tolerance: float = 1e-10) -> None:
    got, want = np.asarray(got), np.asarray(want)
    assert got.shape == want.shape
    assert np.allclose(got, want, tolerance, tolerance)


EQUATIONS = [
    ("i->", [(4,)]), ("i,i->i", [(4,), (4,)]), ("i,i", [(4,), (4,)]), ("i,j->ji", [(3,), (4,)]), ("ii", [(3, 3)]),
    ("ii->i", [(3, 3)]), ("iji->j", [(3, 2, 3)]), ("iii->i", [(2, 2, 2)]), ("ij,jk", [(2, 3), (3, 4)]),
    ("ba", [(2, 3)]), ("...ij,...jk->...ik", [(5, 2, 3), (3, 4)]), ("...ij->...ji", [(2, 3, 4)]),
    ("i...,i...->...", [(3, 2), (3, 2)]), ("...a,...a->...", [(2, 1, 3), (4, 3)]), ("ij,ij->", [(3, 4), (3, 4)]),
    ("bij,bjk->bik", [(5, 2, 3), (5, 3, 4)]), ("ij,j->i", [(3, 1), (4,)]), ("i,i->", [(1,), (4,)]),
    ("ij,jk,kl->il", [(2, 3), (3, 4), (4, 5)]), ("a,ab,abc->abc", [(2,), (2, 3), (2, 3, 4)]),
    ("bi,bj,bk->ijk", [(5, 2), (5, 3), (5, 4)]), ("ij,jk,kl,lm->m", [(2, 3), (3, 4), (4, 5), (5, 2)]),
    ("ea,fb,abcd,gc,hd->efgh", [(3, 2), (3, 2), (2, 2, 2, 2), (3, 2), (3, 2)]), ("ij,jk->", [(2, 0), (0, 3)]),
    (" i j , j -> i ", [(2, 3), (3,)]), ("Ab,bA->A", [(2, 3), (3, 2)]), (",i->i", [(), (3,)]),
    ("a,b,c,d,e,f,g,h,ab->cdefgh", [(2,)] * 8 + [(2, 2)]),
]  # fmt: skip


@pytest.mark.parametrize(("equation", "shapes"), EQUATIONS)
def test_einsum(equation: str, shapes: list[tuple[int, ...]]) -> None:
    arrays = [draw(*shape) for shape in shapes]
    want = np.einsum(equation, *arrays)
    for optimize in (True, False, "greedy"):
        close(plait.einsum(equation, *arrays, optimize=optimize), want)
    close(plait.jit(lambda *xs: plait.einsum(equation, xs))(*map(plait.tensor, arrays)), want)
    path = plait.einsum_path(equation, *arrays)[0]
    close(plait.einsum(equation, *arrays, optimize=path), want)
    close(np.einsum(equation, *arrays, optimize=path), want)  # paths are NumPy's


def test_einsum_of_sublists() -> None:
    a, b = draw(2, 3), draw(4, 2, 3)
    close(plait.einsum(a, [0, 1], [1, 0]), a.T)
    close(plait.einsum(a, [27, 1]), np.einsum(a, [27, 1]))
    close(plait.einsum(b, [..., 0, 1], a, [0, 1], [...]), np.einsum("...ij,ij->...", b, a))


def test_einsum_derivatives_and_dtypes() -> None:
    a, b, c = plait.tensor(draw(2, 3)), plait.tensor(draw(3, 4)), plait.tensor(draw(4, 2))
    loss = lambda a, b, c: (plait.einsum("ij,jk,kl->il", a, b, c) ** 2).sum()  # noqa: E731
    plain = lambda a, b, c: ((a @ b @ c) ** 2).sum()  # noqa: E731
    for got, want in zip(plait.grad(loss, (0, 1, 2))(a, b, c), plait.grad(plain, (0, 1, 2))(a, b, c), strict=True):
        close(got, want)
    batch = plait.tensor(draw(5, 2, 3))
    close(plait.vmap(lambda x: plait.einsum("ij,jk->k", x, b))(batch), np.einsum("aij,jk->ak", batch, b))
    assert plait.einsum("i,i->", plait.tensor([1, 2]), plait.tensor([3, 4])).dtype is plait.int64
    assert plait.einsum("i,i->i", plait.ones(2), plait.ones(2, dtype=plait.float16)).dtype is plait.float32


def multiplications(terms: list[str], sizes: dict[str, int], output: str, path: Any) -> int:
    left, total = [set(t) for t in terms], 0
    for pair in path:
        chosen = [left.pop(k) for k in sorted(pair, reverse=True)]
        inside = set().union(*chosen)
        total += int(np.prod([sizes[c] for c in inside]))
        left.append(inside & set(output).union(*left))
    return total


def test_paths() -> None:
    """The optimal path is no worse than any other found; for a chain it is the known optimum."""
    chain = [30, 35, 15, 5, 10, 20, 25]  # Cormen et al., "Introduction to Algorithms", 15.2: 15125 multiplications
    letters = "abcdefg"
    sizes = dict(zip(letters, chain, strict=True))
    terms = [letters[k : k + 2] for k in range(6)]
    arguments = tuple(map(tuple, terms)), tuple(sizes.items()), ("a", "g")
    cost = {
        s: multiplications(terms, sizes, "ag", contraction_path(*arguments, s)) for s in ("optimal", "greedy", "left")
    }
    assert cost["optimal"] == 15125 <= min(cost.values())
    for _ in range(20):
        sizes = {c: int(n) for c, n in zip("abcdef", RANDOM.integers(1, 9, 6), strict=True)}
        terms = ["".join(RANDOM.choice(list("abcdef"), 3, replace=False)) for _ in range(5)]
        arguments = tuple(map(tuple, terms)), tuple(sizes.items()), ("a",) if "a" in "".join(terms) else ()
        cost = {
            s: multiplications(terms, sizes, "a", contraction_path(*arguments, s))
            for s in ("optimal", "greedy", "left")
        }
        assert cost["optimal"] <= min(cost.values())


def test_chain_matmul() -> None:
    arrays = [draw(*shape) for shape in ((3, 4), (4, 2), (2, 5), (5, 1))]
    close(plait.chain_matmul(*arrays), np.linalg.multi_dot(arrays))
    close(plait.chain_matmul(arrays[:1]), arrays[0])


def test_tensordot() -> None:
    a, b = draw(2, 3, 4), draw(4, 3, 5)
    for axes in (0, 1, ([2], [0]), ([1, 2], [1, 0]), (2, 0), ((-1, -2), (-3, -2))):
        close(plait.tensordot(a, b, axes), np.tensordot(a, b, axes))
        close(plait.tensordot(a, b, dims=axes), np.tensordot(a, b, axes))
    close(plait.tensordot(draw(2, 1) * 0 + 1, b[:, 0, 0], 1), np.full(2, b[:, 0, 0].sum()))


def test_products() -> None:
    v, w, m, n = draw(3), draw(4), draw(2, 3), draw(3, 4)
    z = draw(3) + 1j * draw(3)
    close(plait.vdot(z, z * 2), np.vdot(z, z * 2))
    close(plait.vecdot(z, v * 1j), np.vecdot(z, v * 1j))
    close(plait.inner(draw(2, 0), draw(5, 0)), np.zeros((2, 5)))
    close(plait.kron(m, draw(2) * 0 + 1), np.kron(m, np.ones(2)))
    close(plait.addr(plait.tensor(n * 0), v, w, alpha=3), 3 * np.outer(v, w))
    nans = plait.tensor(np.full((2, 4), np.nan))
    close(plait.addmm(nans, m, n, beta=0), m @ n)  # beta 0 does not read it
    assert plait.vecdot(plait.ones(3, dtype=plait.int32), plait.ones(3, dtype=plait.int32)).dtype is plait.int32
    x = plait.zeros((2, 4), dtype=plait.float64)
    x.addmm_(plait.tensor(m), plait.tensor(n), alpha=2)
    close(x, 2 * m @ n)
    out = plait.zeros((2, 4), dtype=plait.float64)
    assert plait.mm(m, mat2=n, out=out) is out
    close(out, m @ n)
    close(v @ plait.tensor(n), v @ n)  # the reflected operator


METRICS = [(0.0, "hamming"), (1.0, "cityblock"), (2.0, "euclidean"), (np.inf, "chebyshev"), (3.0, None), (1.5, None)]


@pytest.mark.parametrize(("p", "metric"), METRICS)
def test_cdist(p: float, metric: str | None) -> None:
    a, b = draw(7, 4), draw(40, 4)
    b[0] = a[0]
    want = cdist(a, b, metric) if metric else cdist(a, b, "minkowski", p=p)
    close(plait.cdist(a, b, p), want * 4 if p == 0 else want, 1e-6)
    close(plait.cdist(a[None], b[:3], p, "donot_use_mm_for_euclid_dist"), (want * 4 if p == 0 else want)[None, :, :3])
    gradient = plait.grad(lambda a: plait.cdist(a, b, p).sum())(plait.tensor(a))
    assert np.isfinite(np.asarray(gradient)).all()  # also where the distance is 0
    assert plait.cdist(np.ones((3, 0)), np.ones((2, 0)), p).tolist() == np.zeros((3, 2)).tolist()


t = plait.ones
ERRORS: list[tuple[Callable[[], Any], type[PlaitError], str]] = [
    (lambda: plait.einsum("ij,jk->ik", t((2, 3)), t((4, 2))), ShapeError, r"axis 'j' has two sizes"),
    (lambda: plait.einsum("ii->i", t((2, 3))), ShapeError, r"axis 'i' has two sizes"),
    (lambda: plait.einsum("ij->ik", t((2, 3))), ArgumentError, r"names each letter once, and only known ones"),
    (lambda: plait.einsum("ij->ii", t((2, 3))), ArgumentError, r"names each letter once"),
    (lambda: plait.einsum("i->i", t((2, 3))), ArgumentError, r"A term of einsum names each axis"),
    (lambda: plait.einsum("i,i->i", t(2)), ArgumentError, r"a term of letters for each operand"),
    (lambda: plait.einsum("i1->i", t((2, 3))), ArgumentError, r"a term of letters"),
    (lambda: plait.einsum(t(2), [99]), ArgumentError, r"names axes by integers.*Received: 99"),
    (lambda: plait.einsum("i,i->i", t(2), t(2), optimize=[(0, 5)]), ArgumentError, r"no order for 2 operands"),
    (lambda: plait.tensordot(t((2, 3)), t((2, 3)), 1), ShapeError, r"axes of equal size"),
    (lambda: plait.tensordot(t(2), t(2), 3), ShapeError, r"no 3 axes to sum over"),
    (lambda: plait.mm(t(2), t((2, 2))), ShapeError, r"mm takes a matrix and a matrix"),
    (lambda: plait.bmm(t((2, 2, 2)), t((3, 2, 2))), ShapeError, r"the batches differ"),
    (lambda: plait.dot(t(2), t(3)), ShapeError, r"inner sizes differ"),
    (lambda: plait.inner(t(2), t(3)), ShapeError, r"last axes of one size"),
    (lambda: plait.addmm(t((5, 5)), t((2, 2)), t((2, 2))), ShapeError, r"addmm|broadcast"),
    (lambda: plait.chain_matmul(), ArgumentError, r"at least one"),
    (lambda: plait.chain_matmul(t((2, 3)), t((2, 3))), ShapeError, r"inner sizes differ"),
    (lambda: plait.vecdot(t((2, 3)), t((2, 2))), ShapeError, r"equal size"),
    (lambda: plait.cdist(t(2), t((2, 2))), ShapeError, r"rows of one length"),
    (lambda: plait.cdist(t((2, 2)), t((2, 2)), -1.0), ArgumentError, r"p=-1.0"),
    (lambda: plait.cdist(t((2, 2)) * 1j, t((2, 2))), DTypeError, r"real numbers"),
    (lambda: plait.cdist(t((2, 2)), t((2, 2)), compute_mode="fast"), ArgumentError, r"Unknown mode of cdist"),
]


@pytest.mark.parametrize(("call", "error", "text"), ERRORS)
def test_errors(call: Callable[[], Any], error: type[PlaitError], text: str) -> None:
    with pytest.raises(error, match=text):
        call()
