"""Values of functions, indexing, convolutions and promotion against PyTorch."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest

import plait
from plait.core.dtype import ALL
from plait.testing.comparing import arrays, close

torch = pytest.importorskip("torch")
F = torch.nn.functional

UNARY = [
    "abs", "acos", "acosh", "asin", "asinh", "atan", "atanh", "ceil", "cos", "cosh", "digamma", "erf", "erfc", "erfinv",
    "exp", "exp2", "expm1", "floor", "lgamma", "log", "log10", "log1p", "log2", "reciprocal", "round", "rsqrt",
    "sigmoid", "sign", "sin", "sinh", "sqrt", "square", "tan", "tanh", "trunc", "isnan", "isinf", "isfinite",
]  # fmt: skip
ACTIVATIONS = ["relu", "gelu", "silu", "softplus", "elu", "leaky_relu"]
BINARY = [
    "add", "sub", "mul", "div", "pow", "atan2", "maximum", "minimum", "fmod", "remainder", "floor_divide", "hypot",
    "logaddexp", "copysign", "eq", "ne", "lt", "le", "gt", "ge",
]  # fmt: skip
SPECIAL = np.array([0.0, -0.0, 1.0, -1.0, 0.5, np.inf, -np.inf, np.nan, 1e-30, -1e-30, 80.0, -80.0], np.float32)
WIDE = np.concatenate([SPECIAL, np.linspace(-6, 6, 101, dtype=np.float32)])


@pytest.mark.parametrize("name", UNARY)
def test_unary(name: str) -> None:
    x = WIDE[~np.isnan(WIDE)] if name == "sign" else WIDE  # PyTorch's sign of NaN is 0
    got, want = getattr(plait, name)(plait.tensor(x)), getattr(torch, name)(torch.tensor(x))
    if name == "digamma":  # undefined at the poles, where the conventions differ
        keep = (WIDE > 0) | (np.round(WIDE) != WIDE)
        close(got.numpy()[keep], want.numpy()[keep], 1e-4)
    else:
        _elementwise_close(got.numpy(), want.numpy())


def _elementwise_close(got: Any, want: Any, tolerance: float = 1e-5) -> None:
    assert got.dtype == want.dtype
    with np.errstate(all="ignore"):
        same = (got == want) | ((got != got) & (want != want))
        if got.dtype.kind in "fc":
            same |= np.abs(got - want) <= tolerance * np.abs(want) + 1e-6
    assert same.all(), (got[~same], want[~same])


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activations(name: str) -> None:
    x = np.linspace(-8, 8, 97, dtype=np.float32)
    close(getattr(plait, name)(plait.tensor(x)), getattr(F, name)(torch.tensor(x)))


@pytest.mark.parametrize("name", BINARY)
def test_binary(name: str) -> None:
    x, y = (a.reshape(-1).copy() for a in np.meshgrid(SPECIAL, SPECIAL))
    if name in ("floor_divide", "remainder", "fmod"):  # modulo infinity and zero each library has its own view
        keep = np.isfinite(x) & np.isfinite(y) & (y != 0) & (np.abs(y) > 1e-3)
        x, y = x[keep], y[keep]
    got, want = (
        getattr(plait, name)(plait.tensor(x), plait.tensor(y)),
        getattr(torch, name)(torch.tensor(x), torch.tensor(y)),
    )
    _elementwise_close(got.numpy(), want.numpy())


NAMES = [d.name for d in ALL if d.name not in ("uint16", "uint32", "uint64")]


@pytest.mark.parametrize("name", NAMES)
def test_promotion(name: str) -> None:
    """x + y and x / y have PyTorch's dtype for every pair of dtypes, and with Python numbers."""
    a = plait.ones(2, dtype=getattr(plait, name + "_" * (name == "bool")))
    b = torch.ones(2, dtype=getattr(torch, name))
    for other in NAMES:
        c = plait.ones(2, dtype=getattr(plait, other + "_" * (other == "bool")))
        d = torch.ones(2, dtype=getattr(torch, other))
        for operation in ("__add__", "__mul__", "__truediv__", "__eq__"):
            got, want = getattr(a, operation)(c), getattr(b, operation)(d)
            assert got.dtype.name == str(want.dtype).removeprefix("torch."), (operation, name, other)
    for number in (True, 2, 2.5, *(() if name == "float16" else (1j,))):  # there is no complex of two float16
        for operation in ("__add__", "__mul__", "__truediv__"):
            got, want = getattr(a, operation)(number), getattr(b, operation)(number)
            assert got.dtype.name == str(want.dtype).removeprefix("torch."), (operation, name, number)


@pytest.mark.parametrize("name", NAMES)
def test_result_dtypes_of_reductions(name: str) -> None:
    a = plait.ones((2, 3), dtype=getattr(plait, name + "_" * (name == "bool")))
    b = torch.ones((2, 3), dtype=getattr(torch, name))
    for function in ("sum", "prod", "amax", "argmax", "cumsum", "any"):
        unordered = name.startswith("complex") and function in ("amax", "argmax")
        if unordered or (name, function) in (("bool", "argmax"), ("uint8", "any")):
            continue
        got, want = getattr(plait, function)(a, dim=1), getattr(torch, function)(b, dim=1)
        assert got.dtype.name == str(want.dtype).removeprefix("torch."), (function, name)
        assert np.array_equal(got.numpy().astype("c16"), want.to(torch.complex128).numpy()), (function, name)


GRID = [
    {"stride": s, "padding": p, "dilation": d, "groups": g}
    for s, p, d, g in itertools.product((1, 2, 3), (0, 1, 2), (1, 2), (1, 2))
]


@pytest.mark.parametrize("options", GRID, ids=str)
def test_conv2d(options: dict[str, int]) -> None:
    x, w, b = arrays(0, (2, 4, 9, 8), (6, 4 // options["groups"], 3, 2), (6,))
    ours = [plait.tensor(v, requires_grad=True) for v in (x, w, b)]
    theirs = [torch.tensor(v, requires_grad=True) for v in (x, w, b)]
    got, want = plait.nn.functional.conv2d(*ours, **options), F.conv2d(*theirs, **options)
    close(got, want)
    plait.sin(got).sum().backward()
    torch.sin(want).sum().backward()
    for a, c in zip(ours, theirs, strict=True):
        close(a.grad, c.grad, 5e-5)


@pytest.mark.parametrize("rank", [1, 3])
def test_other_ranks(rank: int) -> None:
    x, w, b = arrays(1, (2, 3, *(7, 6, 5)[:rank]), (4, 3, *(3, 2, 2)[:rank]), (4,))
    got = getattr(plait.nn.functional, f"conv{rank}d")(*map(plait.tensor, (x, w, b)), stride=2, padding=1)
    close(got, getattr(F, f"conv{rank}d")(*map(torch.tensor, (x, w, b)), stride=2, padding=1))


POOLS = list(itertools.product((2, 3), (1, 2, 3), (0, 1), (False, True)))


@pytest.mark.parametrize(("window", "stride", "padding", "ceil"), POOLS)
def test_pooling(window: int, stride: int, padding: int, ceil: bool) -> None:
    (x,) = arrays(2, (2, 3, 8, 9))
    functional = plait.nn.functional
    for ours, theirs in ((functional.max_pool2d, F.max_pool2d), (functional.avg_pool2d, F.avg_pool2d)):
        a, b = plait.tensor(x, requires_grad=True), torch.tensor(x, requires_grad=True)
        got = ours(a, window, stride, padding, ceil_mode=ceil)
        want = theirs(b, window, stride, padding, ceil_mode=ceil)
        close(got, want)
        plait.sin(got).sum().backward()
        torch.sin(want).sum().backward()
        close(a.grad, b.grad)


INDEXES = [
    0, -1, slice(1, 3), slice(None, None, 2), (slice(None), 1), (..., 0), (None, 1), (1, None, slice(1)),
    [0, 2, 2], (slice(None), [2, 0]), ([0, 1], [1, 2]), (slice(None), [1, 0], [0, 3]), ([0, 1], slice(None), [1, 2]),
    ([[0], [1]], [0, 2]), (0, [1, 2]), (..., [1, 1]),
]  # fmt: skip


@pytest.mark.parametrize("index", INDEXES, ids=str)
def test_indexing(index: Any) -> None:
    (x,) = arrays(3, (3, 4, 5))
    a, b = plait.tensor(x, requires_grad=True), torch.tensor(x, requires_grad=True)
    got, want = a[index], b[index]
    close(got, want, 0)
    (got * got).sum().backward()
    (want * want).sum().backward()
    close(a.grad, b.grad, 1e-6)
    c, d = plait.tensor(x), torch.tensor(x)
    c[index] = 7.0
    d[index] = 7.0
    close(c, d, 0)


def test_boolean_indexing() -> None:
    (x,) = arrays(4, (4, 5))
    a, b = plait.tensor(x), torch.tensor(x)
    close(a[a > 0], b[b > 0], 0)
    close(a[a[:, 0] > 0], b[b[:, 0] > 0], 0)
    a[a > 0] *= 2
    b[b > 0] *= 2
    close(a, b, 0)


EQUATIONS = ["ij,jk->ik", "bij,bjk->bik", "ij->ji", "ii->i", "ij->", "i,j->ij", "bhqd,bhkd->bhqk", "ij,ij->i"]


@pytest.mark.parametrize("equation", EQUATIONS)
def test_einsum(equation: str) -> None:
    sizes = dict(zip("bhijkqd", (2, 3, 4, 4, 5, 3, 4), strict=True))
    terms = equation.split("->")[0].split(",")
    values = arrays(5, *[tuple(sizes[c] for c in t) for t in terms])
    close(plait.einsum(equation, *map(plait.tensor, values)), torch.einsum(equation, *map(torch.tensor, values)))


LOSSES = ["mse_loss", "l1_loss", "cross_entropy", "nll_loss", "binary_cross_entropy_with_logits"]


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_losses(name: str, reduction: str) -> None:
    x, y = arrays(6, (6, 4), (6, 4))
    target = (
        np.arange(6) % 4
        if name in ("cross_entropy", "nll_loss")
        else (y > 0).astype(np.float32)
        if "binary" in name
        else y
    )
    a, b = plait.tensor(x, requires_grad=True), torch.tensor(x, requires_grad=True)
    got = getattr(plait.nn.functional, name)(a, plait.tensor(target), reduction=reduction)
    want = getattr(F, name)(b, torch.tensor(target), reduction=reduction)
    close(got, want)
    (got * got).sum().backward()
    (want * want).sum().backward()
    close(a.grad, b.grad)
