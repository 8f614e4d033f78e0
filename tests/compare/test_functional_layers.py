"""Activations, normalizations, attention, distances and bilinear maps against PyTorch."""

from __future__ import annotations

import math
import warnings
from typing import Any

import numpy as np
import pytest

import plait
from plait.core.errors import ArgumentError, DTypeError, ShapeError
from plait.testing.comparing import close

torch = pytest.importorskip("torch")
from functional import F, T, agree  # noqa: E402

random = np.random.default_rng(0)


def normal(*shape: int) -> Any:
    return random.normal(size=shape).astype(np.float32)


# activations

KINKS = np.array([-3.0, -1.0, -0.5, 0.0, 0.5, 1.0, 3.0, 6.0], np.float32)
POINTS = np.concatenate([KINKS, np.linspace(-9, 9, 57, dtype=np.float32)]).reshape(5, 13)
LARGE = np.array([-3e38, -1e4, -90.0, 90.0, 1e4, 3e38], np.float32)
ACTIVATIONS: list[tuple[str, dict[str, Any]]] = [
    ("celu", {"alpha": 1.7}), ("elu", {"alpha": 0.6}), ("gelu", {}), ("gelu", {"approximate": "tanh"}),
    ("hardshrink", {"lambd": 0.5}), ("hardsigmoid", {}), ("hardswish", {}), ("hardtanh", {"min_val": -0.5}),
    ("leaky_relu", {"negative_slope": 0.2}), ("logsigmoid", {}), ("log_softmax", {"dim": -1}), ("mish", {}),
    ("relu", {}), ("relu6", {}), ("rrelu", {}), ("selu", {}), ("sigmoid", {}), ("silu", {}), ("softmax", {"dim": 0}),
    ("softmin", {"dim": 1}), ("softplus", {"beta": 2.0, "threshold": 5.0}), ("softshrink", {"lambd": 0.7}),
    ("softsign", {}), ("tanh", {}), ("tanhshrink", {}), ("threshold", {"threshold": 0.5, "value": -2.0}),
]  # fmt: skip
SMOOTH = ["celu", "gelu", "logsigmoid", "mish", "selu", "silu", "softplus", "softsign", "tanhshrink", "log_softmax"]


@pytest.mark.parametrize(("name", "options"), ACTIVATIONS)
def test_activation(name: str, options: dict[str, Any]) -> None:
    points = POINTS
    if name == "softplus":  # where it turns linear it jumps
        points = POINTS[np.abs(POINTS * 2 - 5) > 0.01].reshape(1, -1)
    agree(name, (points,), options)
    if name in SMOOTH:  # at the kinks of celu and selu the second derivative is anybody's
        agree(name, (points[points != 0][None],), options, second=True)
    assert np.isfinite(getattr(F, name)(plait.tensor(LARGE.reshape(1, -1)), **options).numpy()).any()


def test_activations_of_large_numbers_have_finite_gradients() -> None:
    for name in (
        "celu",
        "selu",
        "hardsigmoid",
        "hardswish",
        "mish",
        "logsigmoid",
        "softplus",
        "softsign",
        "tanhshrink",
    ):
        agree(name, (LARGE[1:-1],))


def test_derivatives_at_zero() -> None:
    """Those of every order: softplus has no kink, though formulas of it do."""
    for name, sign in (("softplus", 1.0), ("logsigmoid", -1.0)):
        first = plait.grad(getattr(F, name))
        assert first(plait.tensor(0.0)).item() == 0.5
        assert plait.grad(first)(plait.tensor(0.0)).item() == sign * 0.25


@pytest.mark.parametrize("name", ["celu", "elu", "hardtanh", "leaky_relu", "relu", "rrelu", "selu", "threshold"])
def test_in_place(name: str) -> None:
    arguments = (0.5, -2.0) if name == "threshold" else ()
    expected = getattr(T, name)(torch.tensor(POINTS), *arguments).numpy()
    for call in (
        lambda x: getattr(F, f"{name}_")(x, *arguments),
        lambda x: getattr(F, name)(x, *arguments, inplace=True),
    ):
        x = plait.tensor(POINTS)
        assert call(x) is x
        close(x, expected)
    assert F.relu(x, True) is x
    assert F.elu(x, 2.0, True) is x


def test_gated_and_weighted_activations() -> None:
    for axis in (0, -1):
        agree("glu", (normal(4, 6),), {"dim": axis}, second=True)
    for shape, weights in (((), 1), ((3,), 1), ((2, 3), 3), ((2, 3, 4), 3), ((2, 3, 0), 3)):
        agree("prelu", (normal(*shape) if shape else np.full((), -1.5, "f"), normal(weights)))
    x = plait.tensor([-1.0, 2.0])
    close(x.prelu(plait.tensor(0.5)), np.array([-0.5, 2.0]))
    close(x.hardshrink(1.5), np.array([0.0, 2.0]))


def test_activations_of_integers() -> None:
    x = np.array([-7, 0, 3, 9])
    for name, arguments in (
        ("relu", ()),
        ("relu6", ()),
        ("hardtanh", (-2, 5)),
        ("threshold", (1, 7)),
        ("softsign", ()),
    ):
        ours, theirs = getattr(F, name)(plait.tensor(x), *arguments), getattr(T, name)(torch.tensor(x), *arguments)
        assert ours.dtype.name == str(theirs.dtype).removeprefix("torch.")
        close(ours, theirs)


def test_softmax_without_an_axis() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for shape in ((3,), (2, 3), (2, 3, 2), (2, 3, 2, 2)):
            agree("softmax", (normal(*shape),))
            agree("softmin", (normal(*shape), None, 3, None))
    assert F.softmax(plait.arange(3), 0, dtype=plait.float64).dtype is plait.float64


# normalization

IMAGE = (4, 6, 5, 3)
NORMALIZATIONS: list[tuple[str, Any, dict[str, Any]]] = [
    ("batch_norm", (normal(*IMAGE), None, None, normal(6), normal(6)), {"training": True}),
    ("batch_norm", (normal(4, 6), None, None), {"training": True, "eps": 0.1}),
    ("instance_norm", (normal(*IMAGE), None, None, normal(6), normal(6)), {}),
    ("group_norm", (normal(*IMAGE), 3, normal(6), normal(6)), {}),
    ("group_norm", (normal(4, 6), 2), {"eps": 0.1}),
    ("group_norm", (normal(0, 6, 2), 2), {}),
    ("layer_norm", (normal(4, 5, 3), (5, 3), normal(5, 3), normal(5, 3)), {}),
    ("rms_norm", (normal(4, 5, 3), (5, 3), normal(5, 3)), {}),
    ("rms_norm", (normal(4, 3).astype(np.float64), (3,)), {"eps": 0.1}),
    ("local_response_norm", (normal(2, 6, 3), 3), {"alpha": 0.7, "beta": 0.6, "k": 2.0}),
    ("local_response_norm", (normal(*IMAGE), 4), {"alpha": 0.5}),
    ("normalize", (normal(3, 4),), {}),
    ("normalize", (normal(3, 4),), {"p": 3.0, "dim": 0}),
    ("normalize", (normal(3, 4),), {"p": math.inf, "dim": -1}),
]  # fmt: skip


@pytest.mark.parametrize(("name", "arguments", "options"), NORMALIZATIONS)
def test_normalization(name: str, arguments: Any, options: dict[str, Any]) -> None:
    agree(
        name, arguments, options, second=name in ("batch_norm", "layer_norm", "rms_norm", "normalize"), tolerance=1e-4
    )


@pytest.mark.parametrize("name", ["batch_norm", "instance_norm"])
def test_running_statistics(name: str) -> None:
    x, mean, variance = normal(4, 3, 5), normal(3), np.abs(normal(3))
    ours, theirs = [plait.tensor(v) for v in (mean, variance)], [torch.tensor(v) for v in (mean, variance)]
    for use in (True, True, False):
        key = "training" if name == "batch_norm" else "use_input_stats"
        close(getattr(F, name)(plait.tensor(x), *ours, **{key: use, "momentum": 0.3}),
              getattr(T, name)(torch.tensor(x), *theirs, **{key: use, "momentum": 0.3}))  # fmt: skip
    for a, b in zip(ours, theirs, strict=True):
        close(a, b)


def test_native_normalization() -> None:
    x, w, b = normal(2, 4, 3), normal(4), normal(4)
    for name, arguments in (
        ("native_batch_norm", (x, w, b, None, None, True, 0.1, 1e-5)),
        ("native_layer_norm", (x, (3,), normal(3), normal(3), 1e-5)),
        ("native_group_norm", (x, w, b, 2, 4, 3, 2, 1e-5)),
        ("batch_norm", (x, w, b, None, None, True, 0.1, 1e-5, False)),
        ("instance_norm", (x, w, b, None, None, True, 0.1, 1e-5, False)),
    ):
        results = [
            getattr(library, name)(*[library.tensor(a) if isinstance(a, np.ndarray) else a for a in arguments])
            for library in (plait, torch)
        ]
        for ours, theirs in zip(*[r if isinstance(r, tuple) else (r,) for r in results], strict=True):
            close(ours, theirs)


# distances and products


def test_distances() -> None:
    for axis in (0, 1, -1):
        agree("cosine_similarity", (normal(3, 4), normal(3, 4)), {"dim": axis}, second=True)
    agree("cosine_similarity", (normal(3, 1, 4), normal(2, 4)), {"dim": 2})
    agree("cosine_similarity", (np.zeros((2, 3), "f"), normal(2, 3)), {"eps": 0.1})
    agree("cosine_similarity", (normal(3, 1), normal(3, 4)), leaves=0)
    for p in (0.5, 1.0, 2.0, 3.0, math.inf):
        agree("pairwise_distance", (normal(3, 4), normal(4)), {"p": p, "keepdim": True})
        agree("pdist", (normal(5, 3),), {"p": p})
    agree("pdist", (np.ones((3, 2), "f"),))
    for rows in (0, 1):
        assert F.pdist(plait.ones(rows, 2)).shape == (0,)


def test_products() -> None:
    agree("bilinear", (normal(2, 3, 4), normal(2, 3, 5), normal(6, 4, 5), normal(6)), second=True)
    agree("bilinear", (normal(4), normal(5), normal(6, 4, 5)))
    agree("bilinear", (normal(0, 4), normal(0, 5), normal(6, 4, 5)))
    agree("linear", (normal(2, 3), normal(3)))


# attention

MASKS = {
    "bool": random.uniform(size=(5, 6)) > 0.5,
    "rows": np.array([[True] * 6] * 2 + [[False] * 6] * 3),
    "float": np.where(random.uniform(size=(2, 1, 5, 6)) > 0.5, 0.3, -np.inf).astype(np.float32),
    "heads": random.uniform(size=(4, 1, 6)) > 0.3,
}


@pytest.mark.parametrize("mask", MASKS)
def test_attention_with_masks(mask: str) -> None:
    arguments = (normal(2, 4, 5, 3), normal(2, 4, 6, 3), normal(2, 4, 6, 7), MASKS[mask])
    agree("scaled_dot_product_attention", arguments, {"scale": 0.4}, leaves=3)


def test_attention_of_groups() -> None:
    q, k, v = normal(2, 6, 5, 3), normal(2, 2, 4, 3), normal(2, 2, 4, 3)
    agree("scaled_dot_product_attention", (q, k, v), {"enable_gqa": True})
    agree("scaled_dot_product_attention", (q, k, v), {"enable_gqa": True, "is_causal": True})
    agree("scaled_dot_product_attention", (q, k, v, MASKS["bool"][:, :4]), {"enable_gqa": True}, leaves=3)
    with pytest.raises(ShapeError, match="enable_gqa=True"):
        F.scaled_dot_product_attention(*map(plait.tensor, (q, k, v)))


def projections(size: int) -> list[Any]:
    return [normal(3 * size, size), normal(3 * size), normal(1, 1, size), normal(1, 1, size)]


@pytest.mark.parametrize("need_weights", [True, False])
@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("extras", [False, True])
def test_multi_head_attention(extras: bool, masked: bool, need_weights: bool) -> None:
    weight, bias, bias_k, bias_v = projections(4)
    added = (bias_k, bias_v, True) if extras else (None, None, False)
    arguments = (normal(3, 2, 4), normal(5, 2, 4), normal(5, 2, 4), 4, 2, weight, bias, *added, 0.0, normal(4, 4))
    options: dict[str, Any] = {"need_weights": need_weights, "average_attn_weights": False}
    if masked:
        padding = np.array([[False] * 5, [False] * 3 + [True] * 2])
        options |= {"key_padding_mask": padding, "attn_mask": np.triu(np.ones((3, 5), bool), 3)}
    agree("multi_head_attention_forward", (*arguments, normal(4)), options, tolerance=1e-4)


def test_multi_head_attention_with_other_projections() -> None:
    x, y, z = normal(3, 4), normal(5, 6), normal(5, 2)
    separate = {"q_proj_weight": normal(4, 4), "k_proj_weight": normal(4, 6), "v_proj_weight": normal(4, 2)}
    rest = (None, None, False, 0.0, normal(4, 4), None)
    agree("multi_head_attention_forward", (x, y, z, 4, 2, None, normal(12), *rest),
          {**separate, "use_separate_proj_weight": True}, tolerance=1e-4)  # fmt: skip
    static = {"static_k": normal(2, 5, 2), "static_v": normal(2, 5, 2)}
    agree("multi_head_attention_forward", (x, y[:, :4], y[:, :4], 4, 2, normal(12, 4), None, *rest), static,
          leaves=1, tolerance=1e-4)  # fmt: skip


# 16-bit floats, compilation, batching


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_16_bit_floats_are_computed_with_in_32(dtype: str) -> None:
    calls: list[tuple[Any, float]] = [
        (F.mish, 0), (F.elu, -5), (F.gelu, -3), (F.normalize, 0), (lambda x: F.layer_norm(x, 8), 30),
        (lambda x: F.cross_entropy(x, plait.tensor([0, 1, 2, 3])), 0), (lambda x: F.cosine_similarity(x, x * 2), 1),
        (lambda x: F.scaled_dot_product_attention(x, x, x), 0), (lambda x: F.poisson_nll_loss(x, x), 0),
    ]  # fmt: skip
    for call, shift in calls:
        x = plait.tensor(normal(4, 8) + shift).to(getattr(plait, dtype))
        result = call(x)
        assert result.dtype is x.dtype
        exact = call(x.to(plait.float64)).to(x.dtype).to(plait.float64).numpy()
        one_ulp = 2.0**-10 if dtype == "float16" else 2.0**-7
        np.testing.assert_allclose(result.to(plait.float64).numpy(), exact, rtol=one_ulp * 1.1, atol=1e-6)


def test_compiled_and_batched() -> None:
    x, classes = plait.tensor(normal(3, 4, 5)), plait.tensor(random.integers(0, 5, (3, 4)))
    for call in (
        F.celu, lambda x: F.softmin(x, -1), lambda x: F.layer_norm(x, 5), lambda x: F.group_norm(x[None], 2),
        lambda x: F.cosine_similarity(x, x * x), lambda x: F.scaled_dot_product_attention(x, x, x, is_causal=True),
        F.pdist, lambda x: F.huber_loss(x, x * 2), lambda x: F.glu(x, 0),
    ):  # fmt: skip
        each = [call(x[i]).numpy() for i in range(3)]
        close(plait.vmap(call)(x), np.stack(each))
        close(plait.jit(call)(x[0]), each[0])
    losses = plait.vmap(F.cross_entropy)(x, classes)
    close(losses, np.array([F.cross_entropy(x[i], classes[i]).item() for i in range(3)]))


# errors

WRONG: list[tuple[str, Any, dict[str, Any], type[Exception], str]] = [
    ("celu", (normal(2),), {"alpha": 0.0}, ArgumentError, "divisor"),
    ("celu", (np.arange(3),), {}, DTypeError, "floating-point input"),
    ("hardtanh", (normal(2), 1.0, -1.0), {}, ArgumentError, "min_val <= max_val"),
    ("softshrink", (normal(2), -1.0), {}, ArgumentError, "lambd"),
    ("rrelu", (normal(2), 0.5, 0.1), {}, ArgumentError, "lower <= upper"),
    ("glu", (normal(3),), {}, ShapeError, "even size"),
    ("prelu", (normal(2, 3), normal(2)), {}, ShapeError, r"\(3,\) for the channels"),
    ("batch_norm", (normal(2, 3), normal(2), None), {"training": True}, ShapeError, "one number for each channel"),
    ("batch_norm", (normal(2, 3), None, None), {}, ArgumentError, "no running statistics"),
    ("batch_norm", (normal(1, 3), None, None), {"training": True}, ShapeError, "more than one value"),
    ("instance_norm", (normal(2, 3, 1),), {}, ShapeError, "several elements"),
    ("group_norm", (normal(2, 6), 4), {}, ShapeError, "must divide"),
    ("layer_norm", (normal(2, 3), (2,)), {}, ShapeError, r"Expected: \[..., 2\]"),
    ("layer_norm", (normal(2, 3), (3,), normal(2)), {}, ShapeError, "weight of layer_norm"),
    ("rms_norm", (normal(2, 3), ()), {}, ArgumentError, "empty"),
    ("local_response_norm", (normal(2, 3), 2), {}, ShapeError, "three axes"),
    ("pdist", (normal(2),), {}, ShapeError, "takes a matrix"),
    ("pdist", (normal(2, 2), -1.0), {}, ArgumentError, "order p"),
    ("bilinear", (normal(2, 3), normal(2, 4), normal(5, 4, 3)), {}, ShapeError, "in1"),
    ("linear", (normal(2, 3), normal(4, 2)), {}, ShapeError, "the last axis"),
    ("dropout", (normal(2), 1.5), {}, ArgumentError, "probability"),
    ("dropout1d", (normal(2),), {}, ShapeError, "2 or 3 axes"),
    ("scaled_dot_product_attention", (normal(2, 3), normal(2, 3), normal(2, 3), np.arange(2)), {}, DTypeError, "bool"),
    ("multi_head_attention_forward", (*[normal(2, 1, 4)] * 3, 4, 3, *[None] * 4, False, 0.0, normal(4, 4), None), {},
     ArgumentError, "num_heads must divide"),
    ("multi_head_attention_forward", (*[normal(2, 1, 4)] * 3, 4, 2, *[None] * 4, False, 0.0, normal(4, 4), None), {},
     ArgumentError, "in_proj_weight"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "arguments", "options", "error", "text"), WRONG)
def test_wrong_arguments(name: str, arguments: Any, options: dict[str, Any], error: Any, text: str) -> None:
    with pytest.raises(error, match=text):
        getattr(F, name)(*[plait.tensor(a) if isinstance(a, np.ndarray) else a for a in arguments], **options)
