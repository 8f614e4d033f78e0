"""Convolution, pooling, resampling, folding and embedding against PyTorch: values and gradients over argument grids."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
import pytest

import plait
from plait.core.errors import ArgumentError, DTypeError, ShapeError
from plait.nn import functional as F

torch = pytest.importorskip("torch")
G = torch.nn.functional
random = np.random.default_rng(0)


def draw(*shape: int) -> Any:
    return random.normal(size=shape).astype(np.float32)


def close(ours: Any, theirs: Any) -> None:
    expected = theirs.detach().numpy()
    scale = max(1.0, float(np.abs(expected).max(initial=0.0)))
    assert ours.shape == expected.shape
    np.testing.assert_allclose(ours.detach().numpy(), expected, rtol=2e-5, atol=2e-5 * scale)


def compare(name: str, arrays: list[Any], *args: Any, rest: Any = (), **kwargs: Any) -> None:
    """Compare the first result, eager and compiled, and the gradients of the arrays; `rest` are further tensors."""
    ours = [plait.tensor(a, requires_grad=True) for a in arrays]
    theirs = [torch.tensor(a, requires_grad=True) for a in arrays]

    def apply(*tensors: Any) -> Any:
        result = getattr(F, name)(*tensors, *[plait.tensor(r) for r in rest], *args, **kwargs)
        return result[0] if isinstance(result, tuple) else result

    expected = getattr(G, name)(*theirs, *[torch.tensor(r) for r in rest], *args, **kwargs)
    expected = expected[0] if isinstance(expected, tuple) else expected
    result = apply(*ours)
    close(result, expected)
    close(plait.jit(apply)(*[plait.tensor(a) for a in arrays]), expected)
    weight = draw(*expected.shape)
    (result * weight).sum().backward()
    (expected * torch.tensor(weight)).sum().backward()
    for mine, other in zip(ours, theirs, strict=True):
        close(plait.zeros_like(mine).detach() if mine.grad is None else mine.grad, other.grad)


CONVOLUTIONS = [
    ("conv_transpose1d", (2, 4, 7), (4, 3, 3), {"stride": 3, "padding": 1, "output_padding": 2, "groups": 2}),
    ("conv_transpose1d", (4, 7), (4, 3, 2), {"dilation": 3, "output_padding": 2}),
    ("conv_transpose2d", (2, 4, 5, 6), (4, 2, 2, 2), {"stride": 2}),
    ("conv_transpose2d", (1, 3, 5, 4), (3, 2, 3, 1), {"stride": (1, 2), "padding": (2, 0), "dilation": (2, 1)}),
    ("conv_transpose3d", (1, 2, 3, 4, 2), (2, 3, 2, 3, 2), {"stride": (2, 1, 3), "padding": (1, 0, 0)}),
    ("conv2d", (2, 4, 6, 5), (6, 2, 3, 2), {"padding": "same", "groups": 2, "dilation": (1, 2)}),
]


@pytest.mark.parametrize(("name", "x", "w", "options"), CONVOLUTIONS)
def test_convolutions(name: str, x: Any, w: Any, options: dict[str, Any]) -> None:
    compare(name, [draw(*x), draw(*w)], **options)


POOLS = [
    ("max_pool1d", (2, 3, 11), (3,), {"stride": 2, "padding": 1, "dilation": 2, "ceil_mode": True}),
    ("max_pool2d", (2, 3, 9, 8), (3,), {"stride": 2, "padding": 1}),
    ("max_pool2d", (3, 9, 8), ((2, 3),), {"stride": (3, 1), "return_indices": True}),
    ("max_pool3d", (1, 2, 5, 6, 7), (2,), {"return_indices": True}),
    ("avg_pool1d", (2, 3, 11), (4,), {"stride": 3, "padding": 2, "ceil_mode": True, "count_include_pad": False}),
    ("avg_pool3d", (1, 2, 5, 6, 7), ((2, 3, 2),), {"padding": 1, "divisor_override": 5}),
    ("lp_pool2d", (2, 3, 6, 7), (3.0, 2), {"ceil_mode": True}),
    ("adaptive_avg_pool2d", (2, 3, 9, 7), ((4, None),), {}),
    ("adaptive_avg_pool2d", (3, 2, 3), ((5, 2),), {}),
    ("adaptive_avg_pool1d", (2, 3, 100), (3,), {}),
    ("adaptive_max_pool2d", (2, 3, 9, 7), ((4, 3),), {"return_indices": True}),
    ("adaptive_max_pool3d", (1, 2, 4, 6, 2), (2,), {}),
    ("adaptive_max_pool1d", (2, 7), (9,), {}),
]


@pytest.mark.parametrize(("name", "shape", "args", "options"), POOLS)
def test_pools(name: str, shape: Any, args: Any, options: dict[str, Any]) -> None:
    compare(name, [draw(*shape)], *args, **options)


def test_ties_and_infinities_of_pools() -> None:
    x = np.array([[[0, 0, 1, 1, -np.inf, -np.inf, np.nan, 2]]], np.float32)
    for name in ("max_pool1d_with_indices", "adaptive_max_pool1d_with_indices"):
        ours, theirs = getattr(F, name)(plait.tensor(x), 2 if name[0] == "m" else 4), None
        theirs = getattr(G, name)(torch.tensor(x), 2 if name[0] == "m" else 4)
        for a, b in zip(ours, theirs, strict=True):
            np.testing.assert_array_equal(a.numpy(), b.numpy())
    mean = F.adaptive_avg_pool1d(plait.tensor(x), 3).numpy()
    np.testing.assert_array_equal(mean, G.adaptive_avg_pool1d(torch.tensor(x), 3).numpy())


@pytest.mark.parametrize(("rank", "window", "size"), [(2, 2, (3, 4)), (2, (3, 2), (2, 5)), (3, 2, (3, 2, 4))])
def test_fractional_pools_with_given_samples(rank: int, window: Any, size: Any) -> None:
    samples = random.uniform(size=(2, 3, rank)).astype(np.float32)
    x = draw(2, 3, *(7, 9, 8)[:rank])
    name = f"fractional_max_pool{rank}d"
    expected, places = getattr(G, name)(
        torch.tensor(x), window, size, return_indices=True, _random_samples=torch.tensor(samples)
    )
    ours = getattr(F, name)(plait.tensor(x), window, size, return_indices=True, _random_samples=plait.tensor(samples))
    close(ours.values, expected)
    np.testing.assert_array_equal(ours.indices.numpy(), places.numpy())


@pytest.mark.parametrize("output_size", [None, (7, 9), (2, 3, 8, 10)])
def test_unpooling(output_size: Any) -> None:
    x = draw(2, 3, 7, 9)
    values, places = G.max_pool2d(torch.tensor(x), 3, 2, return_indices=True)
    compare("max_unpool2d", [values.numpy()], 3, 2, rest=[places.numpy()], output_size=output_size)


SIZES = [{"size": (7, 3)}, {"size": (2, 9)}, {"scale_factor": (1.7, 0.6)}, {"scale_factor": 2.0}]
MODES = [
    {"mode": "nearest"}, {"mode": "nearest-exact"}, {"mode": "area"}, {"mode": "bilinear"},
    {"mode": "bilinear", "align_corners": True}, {"mode": "bicubic", "align_corners": True},
    {"mode": "bicubic", "antialias": True}, {"mode": "bilinear", "antialias": True, "align_corners": True},
]  # fmt: skip


@pytest.mark.parametrize(("size", "mode"), list(product(SIZES, MODES)))
def test_interpolate(size: dict[str, Any], mode: dict[str, Any]) -> None:
    compare("interpolate", [draw(2, 2, 5, 6)], **size, **mode)


@pytest.mark.parametrize("recompute", [True, False])
@pytest.mark.parametrize(("mode", "shape"), [("linear", (1, 2, 9)), ("trilinear", (1, 2, 3, 5, 4))])
def test_interpolate_with_fractional_scales(mode: str, shape: Any, recompute: bool) -> None:
    compare("interpolate", [draw(*shape)], scale_factor=1.55, mode=mode, recompute_scale_factor=recompute)


def test_interpolation_of_far_more_pixels_is_a_product() -> None:
    compare("interpolate", [draw(1, 1, 70, 90)], size=(2, 3), mode="bicubic", antialias=True)


@pytest.mark.parametrize(("mode", "antialias"), list(product(["bilinear", "bicubic"], [False, True])))
def test_bytes_are_resampled_exactly(mode: str, antialias: bool) -> None:
    x = random.integers(0, 256, (2, 3, 17, 23), np.uint8)
    options: dict[str, Any] = {"size": (9, 31), "mode": mode, "antialias": antialias}
    expected = G.interpolate(torch.tensor(x), **options)
    np.testing.assert_array_equal(F.interpolate(plait.tensor(x), **options).numpy(), expected.numpy())


GRIDS = list(product(["bilinear", "nearest", "bicubic"], ["zeros", "border", "reflection"], [False, True]))


@pytest.mark.parametrize(("mode", "padding", "align"), GRIDS)
def test_grid_sample(mode: str, padding: str, align: bool) -> None:
    grid = random.uniform(-1.7, 1.7, (2, 3, 4, 2)).astype(np.float32)
    options: dict[str, Any] = {"mode": mode, "padding_mode": padding, "align_corners": align}
    compare("grid_sample", [draw(2, 3, 5, 6), grid], **options)
    if mode != "bicubic":
        volume = random.uniform(-1.7, 1.7, (1, 2, 3, 2, 3)).astype(np.float32)
        compare("grid_sample", [draw(1, 2, 3, 4, 5), volume], **options)


def test_grid_sample_far_outside() -> None:
    grid = np.array([[[[1e30, 0], [3, -3], [-1e9, 0], [0, -1e9]]]], np.float32)
    for padding in ("zeros", "border"):
        options: dict[str, Any] = {"padding_mode": padding, "align_corners": False}
        x = draw(1, 2, 4, 5)
        expected = G.grid_sample(torch.tensor(x), torch.tensor(grid), **options)
        close(F.grid_sample(plait.tensor(x), plait.tensor(grid), **options), expected)


def test_gradient_of_the_gradient_of_grid_sample() -> None:
    x, grid = plait.tensor(draw(1, 1, 4, 4)).double(), plait.tensor(random.uniform(-0.8, 0.8, (1, 2, 2, 2)))

    def inner(x: Any, grid: Any) -> Any:
        return (plait.grad(lambda x: (F.grid_sample(x, grid) ** 2).sum())(x) ** 2).sum()

    found, step = plait.grad(inner, argnums=1)(x, grid).numpy(), 1e-6
    for at in np.ndindex(grid.shape):
        moved = np.zeros(grid.shape)
        moved[at] = step
        change = (inner(x, grid + plait.tensor(moved)) - inner(x, grid - plait.tensor(moved))).item()
        assert change / (2 * step) == pytest.approx(found[at], rel=1e-5, abs=1e-6)


@pytest.mark.parametrize("align", [False, True])
@pytest.mark.parametrize("size", [(2, 1, 3, 4), (2, 1, 2, 2, 3)])
def test_affine_grid(size: Any, align: bool) -> None:
    rank = len(size) - 2
    compare("affine_grid", [draw(2, rank, rank + 1)], size, align_corners=align)


FOLDS = [((3, 2), 1, 0, 1), (2, 2, 1, 1), ((2, 3), (1, 2), (1, 0), (2, 3))]


@pytest.mark.parametrize("geometry", FOLDS)
def test_fold_and_unfold(geometry: Any) -> None:
    x = draw(2, 3, 7, 8)
    compare("unfold", [x], *geometry)
    compare("unfold", [x[0]], *geometry)
    columns = G.unfold(torch.tensor(x), *geometry).numpy()
    compare("fold", [columns], (7, 8), *geometry)


@pytest.mark.parametrize("mode", ["constant", "reflect", "replicate", "circular"])
@pytest.mark.parametrize("pad", [(1, 2), (-1, 2), (2, 0, -2, 1), (1, 1, 2, 2, 1, 0)])
def test_pad(mode: str, pad: Any) -> None:
    compare("pad", [draw(1, 2, 4, 5, 6)[(0,) * (3 - len(pad) // 2)]], pad, mode=mode)


BAGS = list(product(["sum", "mean", "max"], [None, 2], [False, True]))


@pytest.mark.parametrize(("mode", "padding", "last"), BAGS)
def test_embedding_bag(mode: str, padding: Any, last: bool) -> None:
    table, index = draw(7, 3), random.integers(0, 7, 9)
    offsets = np.array([0, 0, 4, 8, 9][: 5 if last else 4])
    options: dict[str, Any] = {"mode": mode, "padding_idx": padding, "include_last_offset": last}
    for shape, others in (((3, 3), {}), ((9,), {"offsets": offsets})):
        ours, theirs = plait.tensor(table, requires_grad=True), torch.tensor(table, requires_grad=True)
        extra = options if others else {**options, "include_last_offset": False}
        result = F.embedding_bag(
            plait.tensor(index.reshape(shape)), ours, **{k: plait.tensor(v) for k, v in others.items()}, **extra
        )
        expected = G.embedding_bag(
            torch.tensor(index.reshape(shape)), theirs, **{k: torch.tensor(v) for k, v in others.items()}, **extra
        )
        close(result, expected)
        weight = draw(*expected.shape)
        (result * weight).sum().backward()
        (expected * torch.tensor(weight)).sum().backward()
        close(ours.grad, theirs.grad)


@pytest.mark.parametrize("options", [{"padding_idx": -1}, {"scale_grad_by_freq": True}, {"max_norm": 1.0}])
def test_embedding(options: dict[str, Any]) -> None:
    table, index = draw(5, 4), np.array([[0, 4, 4], [2, 0, 4]])
    ours, theirs = plait.tensor(table, requires_grad=True), torch.tensor(table, requires_grad=True)
    result = F.embedding(plait.tensor(index), ours, **options)
    expected = G.embedding(torch.tensor(index), theirs, **options)
    close(result, expected)
    close(ours, theirs)
    weight = draw(*expected.shape)
    (result * weight).sum().backward()
    (expected * torch.tensor(weight)).sum().backward()
    close(ours.grad, theirs.grad)


WRONG = [
    (ShapeError, lambda x: F.conv_transpose2d(x, plait.ones(3, 2, 2, 2)), "channels do not fit"),
    (ArgumentError, lambda x: F.conv_transpose2d(x, plait.ones(2, 2, 2, 2), output_padding=1), "output_padding"),
    (ShapeError, lambda x: F.conv2d(x, plait.ones(4, 2, 2, 2), plait.ones(3)), "bias"),
    (ShapeError, lambda x: F.max_pool2d(x, 9), "larger than the input"),
    (ArgumentError, lambda x: F.avg_pool2d(x, 2, padding=2), "padding is too wide"),
    (ArgumentError, lambda x: F.avg_pool2d(x, 2, divisor_override=0), "divisor_override"),
    (ArgumentError, lambda x: F.adaptive_avg_pool2d(x, (1, 2, 3)), "output_size"),
    (ArgumentError, lambda x: F.interpolate(x), "either size or scale_factor"),
    (ArgumentError, lambda x: F.interpolate(x, 2, mode="cubic"), "Unknown mode"),
    (ShapeError, lambda x: F.interpolate(x, 2, mode="trilinear"), r"\[N, C, D, H, W\]"),
    (ArgumentError, lambda x: F.interpolate(x, 2, align_corners=True), "align_corners"),
    (DTypeError, lambda x: F.interpolate(x.long(), 2), "int64"),
    (ShapeError, lambda x: F.grid_sample(x, plait.zeros(1, 2, 2, 3)), "do not fit"),
    (ArgumentError, lambda x: F.grid_sample(x, plait.zeros(1, 2, 2, 2), "cubic"), "Unknown mode"),
    (ShapeError, lambda x: F.affine_grid(plait.ones(1, 3, 3), (1, 1, 2, 2)), "do not fit"),
    (ShapeError, lambda x: F.fold(x[0, 0], (3, 3), 2), "do not fit"),
    (ShapeError, lambda x: F.unfold(x, 9), "larger than the image"),
    (ShapeError, lambda x: F.pixel_shuffle(x, 2), "blocks"),
    (ArgumentError, lambda x: F.channel_shuffle(x, 3), "groups"),
    (ArgumentError, lambda x: F.pad(x, (1,)), "pair"),
    (ShapeError, lambda x: F.pad(x, (6, 0), mode="reflect"), "wider"),
    (DTypeError, lambda x: F.embedding(x, x[0, 0]), "integer row numbers"),
    (ShapeError, lambda x: F.embedding_bag(plait.tensor([1]), x[0, 0]), "offsets"),
    (ArgumentError, lambda x: F.embedding_bag(plait.tensor([[1]]), x[0, 0], mode="min"), "Unknown mode"),
    (ArgumentError, lambda x: F.fractional_max_pool2d(x, 2), "output_size or output_ratio"),
]


@pytest.mark.parametrize("case", range(len(WRONG)))
def test_wrong_arguments(case: int) -> None:
    error, call, text = WRONG[case]
    with pytest.raises(error, match=text):
        call(plait.ones(1, 2, 4, 5))


def test_vmap() -> None:
    x, grid = plait.tensor(draw(3, 2, 1, 4, 5)), plait.tensor(random.uniform(-1, 1, (3, 2, 2, 2, 2)).astype(np.float32))
    for function, extra in (
        (lambda x: F.interpolate(x, (7, 3), mode="bilinear"), ()),
        (lambda x: F.unfold(x, 2), ()),
        (lambda x: F.adaptive_avg_pool2d(x, 3), ()),
        (lambda x, g: F.grid_sample(x, g), (grid,)),
    ):
        gradient = plait.grad(lambda *a, function=function: (function(*a) ** 2).sum())
        for f in (function, gradient):
            expected = plait.stack([f(*[t[i] for t in (x, *extra)]) for i in range(3)])
            np.testing.assert_allclose(plait.vmap(f)(x, *extra).numpy(), expected.numpy(), rtol=1e-5, atol=1e-5)
