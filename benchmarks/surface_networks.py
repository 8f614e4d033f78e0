"""The cases of `surface.py` of products, neural networks, gradients, linear algebra, Fourier transforms and draws."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from surface_cases import TENSORS
from surface_inputs import Call, Case, N, named

PRODUCTS = [
    *named("matmul", "s512 t512", label=" 512"),
    *named("matmul", "m v1024", label=" matrix vector"),
    *named("matmul", "v1024 m", label=" vector matrix"),
    *named("matmul", "b32 c32", label=" 1000x32x32"),
    *named("dot", "x y"),
    *named("kron", "k32 k32"),
    *named("addmm", "s512 t512 spd512", jax={"addmm": ""}),
    Case("matmul transposed", lambda t, a, b: a.T @ b, "s512 t512"),
    Case("matmul with transposed", lambda t, a, b: a @ b.T, "s512 t512"),
    Case("linear", lambda t, x, w: t.linear(x, w), "x64 p512x64", jax=lambda t, x, w: x @ w.T),
    *[
        Case(f"einsum {e}", lambda t, *a, e=e: t.einsum(e, *a), i)
        for e, i in (
            ("ij,jk->ik", "s512 t512"),
            ("bij,bjk->bik", "b32 c32"),
            ("ij,ij->i", "m m2"),
            ("bhqd,bhkd->bhqk", "heads heads2"),
            ("ij,j->ij", "m v1024"),
        )
    ],
    Case("tensordot", lambda t, a, b: t.tensordot(a, b, 2), "m m2"),
    *[
        Case(f"cdist p={p}", lambda t, a, b, p=p: t.cdist(a, b, float(p)), "p512x64 q512x64", jax=False, tolerance=1e-3)
        for p in (1, 2, 3)
    ],
    Case("pdist", lambda t, a: t.pdist(a), "p512x64", jax=False),
    Case("linalg.cross", lambda t, a, b: t.linalg.cross(a, b), "cross cross2"),
    Case("linalg.vecdot", lambda t, a, b: t.linalg.vecdot(a, b), "m m2"),
]


def _norm_jax(axes: Sequence[int], shape: Sequence[int]) -> Call:
    def call(t: Any, x: Any, w: Any = None, b: Any = None) -> Any:
        y = (x - x.mean(axes, keepdims=True)) * t.rsqrt(x.var(axes, keepdims=True) + 1e-5)
        return y if w is None else y * w.reshape(shape) + b.reshape(shape)

    return call


def _group_norm_jax(t: Any, x: Any, w: Any, b: Any) -> Any:
    y = _norm_jax((2, 3, 4), ())(t, x.reshape(16, 8, 8, 32, 32)).reshape(x.shape)
    return y * w[:, None, None] + b[:, None, None]


def _cross_entropy_jax(t: Any, m: Any, labels: Any) -> Any:
    return -t.take_along_axis(t.log_softmax(m), labels[:, None], 1).mean()


def _attention_jax(t: Any, q: Any, k: Any, v: Any) -> Any:
    return t.softmax(t.einsum("bhqd,bhkd->bhqk", q, k) / 8) @ v


def _conv_jax(strides: Sequence[int], padding: Any, groups: int = 1) -> Call:
    return lambda t, x, w: t.conv_general_dilated(x, w, strides, padding, feature_group_count=groups)


def _pool_jax(init: float, op: str, scale: float) -> Call:
    return lambda t, x: (
        t.reduce_window(x, np.float32(init), getattr(t.modules[2], op), (1, 1, 2, 2), (1, 1, 2, 2), "VALID") * scale
    )


NETWORKS = [
    *named(
        "gelu silu softplus elu selu celu leaky_relu relu6 hardswish hardsigmoid hardtanh mish logsigmoid softsign"
        " tanhshrink hardshrink softshrink",
        "x",
        jax={
            "logsigmoid": "log_sigmoid",
            "softsign": "soft_sign",
            "hardtanh": "hard_tanh",
            "hardswish": "hard_swish",
            "hardsigmoid": "hard_sigmoid",
            "tanhshrink": "",
            "hardshrink": "",
            "softshrink": "",
            "gelu": "",
        },
    ),
    Case("gelu tanh", lambda t, x: t.gelu(x, approximate="tanh"), "x", jax=lambda t, x: t.gelu(x)),
    Case("glu", lambda t, x: t.glu(x), "m"),
    *[
        Case(f"{n} axis {a}", lambda t, m, n=n, a=a: getattr(t, n)(m, a), "m")
        for n in ("softmax", "log_softmax")
        for a in (0, 1)
    ],
    Case("softmax of short rows", lambda t, m: t.softmax(m, 1), "short"),
    Case("normalize", lambda t, m: t.normalize(m, dim=1), "m", jax=False),
    Case(
        "layer_norm", lambda t, m, w, b: t.layer_norm(m, (1024,), w, b), "m one1024 v1024", jax=_norm_jax((1,), (1024,))
    ),
    Case(
        "rms_norm",
        lambda t, m, w: t.rms_norm(m, (1024,), w, 1e-5),
        "m one1024",
        jax=lambda t, m, w: m * t.rsqrt((m * m).mean(1, keepdims=True) + 1e-5) * w,
    ),
    Case(
        "batch_norm",
        lambda t, x, w, b: t.batch_norm(x, None, None, w, b, True),
        "image c64 d64",
        jax=_norm_jax((0, 2, 3), (1, 64, 1, 1)),
    ),
    Case(
        "batch_norm of a matrix",
        lambda t, x, w, b: t.batch_norm(x, None, None, w, b, True),
        "m one1024 v1024",
        jax=_norm_jax((0,), (1, 1024)),
    ),
    Case("group_norm", lambda t, x, w, b: t.group_norm(x, 8, w, b), "image c64 d64", jax=_group_norm_jax),
    Case("instance_norm", lambda t, x: t.instance_norm(x), "image", jax=_norm_jax((2, 3), ())),
    Case("cross_entropy", lambda t, m, i: t.cross_entropy(m, i), "m labels", jax=_cross_entropy_jax),
    Case(
        "nll_loss",
        lambda t, m, i: t.nll_loss(m, i),
        "m labels",
        jax=lambda t, m, i: -t.take_along_axis(m, i[:, None], 1).mean(),
    ),
    *named(
        "mse_loss l1_loss smooth_l1_loss huber_loss",
        "x y",
        jax={"mse_loss": "", "l1_loss": "", "smooth_l1_loss": "", "huber_loss": ""},
    ),
    Case(
        "binary_cross_entropy",
        lambda t, p, y: t.binary_cross_entropy(p, y),
        "part targets",
        jax=lambda t, p, y: -(y * t.log(p) + (1 - y) * t.log1p(-p)).mean(),
    ),
    Case(
        "binary_cross_entropy_with_logits",
        lambda t, x, y: t.binary_cross_entropy_with_logits(x, y),
        "x targets",
        jax=lambda t, x, y: (t.softplus(x) - x * y).mean(),
    ),
    Case("kl_div", lambda t, m, p: t.kl_div(m, p, reduction="batchmean"), "m simplex", jax=False),
    *[
        Case(n, lambda t, x, y, n=n: getattr(t, n)(x, y), "x sign", jax=False)
        for n in ("soft_margin_loss", "hinge_embedding_loss")
    ],
    Case("conv2d 3x3", lambda t, x, w: t.conv2d(x, w, padding=1), "image kernel", jax=_conv_jax((1, 1), "SAME")),
    Case(
        "conv2d depthwise",
        lambda t, x, w: t.conv2d(x, w, padding=1, groups=64),
        "image depthwise",
        jax=_conv_jax((1, 1), "SAME", 64),
    ),
    Case("conv1d", lambda t, x, w: t.conv1d(x, w, padding=1), "signal kernel1", jax=_conv_jax((1,), "SAME")),
    Case("conv_transpose2d", lambda t, x, w: t.conv_transpose2d(x, w, stride=2), "image kernel", jax=False),
    Case("max_pool2d", lambda t, x: t.max_pool2d(x, 2), "image", jax=_pool_jax(-np.inf, "max", 1)),
    Case("max_pool2d 3, stride 2", lambda t, x: t.max_pool2d(x, 3, 2), "image", jax=False),
    Case("max_pool2d with indices", lambda t, x: t.max_pool2d(x, 2, return_indices=True), "image", jax=False),
    Case("avg_pool2d", lambda t, x: t.avg_pool2d(x, 2), "image", jax=_pool_jax(0.0, "add", 0.25)),
    Case(
        "adaptive_avg_pool2d",
        lambda t, x: t.adaptive_avg_pool2d(x, 4),
        "image",
        jax=lambda t, x: x.reshape(16, 64, 4, 8, 4, 8).mean((3, 5)),
    ),
    Case("lp_pool2d", lambda t, x: t.lp_pool2d(x, 2.0, 2), "image", jax=False),
    *[
        Case(
            f"interpolate {m}",
            lambda t, x, m=m: t.interpolate(x[:4], scale_factor=2, mode=m),
            "image",
            jax=j and (lambda t, x, j=j: t.image.resize(x[:4], (4, 64, 64, 64), j)),
        )
        for m, j in (("nearest", "nearest"), ("bilinear", "bilinear"), ("bicubic", False))
    ],
    Case("grid_sample", lambda t, x, g: t.grid_sample(x, g, align_corners=False), "image grid", jax=False),
    Case(
        "attention",
        lambda t, q, k, v: t.scaled_dot_product_attention(q, k, v),
        "heads heads2 heads3",
        jax=_attention_jax,
    ),
    Case("local_response_norm", lambda t, x: t.local_response_norm(x, 5), "image", jax=False),
]


def gradient(case_name: str, arguments: tuple[int, ...] = (0,), weighted: bool = False) -> Case:
    """The case of this name with its gradient; the mean of cubes where its result is no number."""
    case = next(c for c in [*TENSORS, *PRODUCTS, *NETWORKS] if c.name == case_name)

    def total(call: Any) -> Any:
        return call and (lambda t, *a: (call(t, *a) ** 3).mean())

    calls = {k: getattr(case, k) if weighted else total(getattr(case, k)) for k in ("call", "plait", "torch", "jax")}
    return Case(f"{case_name}, gradient", inputs=case.inputs, gradient=arguments, tolerance=1e-3, **calls)


GRADIENTS = [
    *[
        gradient(n, weighted=True)
        for n in (
            "cross_entropy",
            "nll_loss",
            "mse_loss",
            "smooth_l1_loss",
            "kl_div",
            "binary_cross_entropy",
            "binary_cross_entropy_with_logits",
            "var of all",
        )
    ],
    *[
        gradient(n)
        for n in (
            "gelu",
            "softmax axis 1",
            "log_softmax axis 1",
            "logsumexp 1024x1024, axis 1",
            "amax 1024x1024, axis 1",
            "cumsum 1024x1024, axis 1",
            "max_pool2d",
            "avg_pool2d",
            "gather axis 1",
            "index_select axis 0",
            "interpolate bilinear",
            "cdist p=2",
            "norm axis 1",
            "x[i]",
            "tanh",
            "softplus",
        )
    ],
    *[gradient(n, (0, 1, 2)) for n in ("layer_norm", "batch_norm", "group_norm", "attention")],
    *[
        gradient(n, (0, 1))
        for n in ("rms_norm", "conv2d 3x3", "conv2d depthwise", "grid_sample", "matmul 512", "linear", "atan2")
    ],
    gradient("embedding", (1,)),
]

LINALG = [
    *[
        Case(f"linalg.{n} {size}", lambda t, a, n=n: getattr(t.linalg, n)(a), i, tolerance=2e-3)
        for n in ("cholesky", "inv", "det", "slogdet", "eigvalsh", "svdvals", "pinv")
        for size, i in (("512", "spd512"), ("1000x32x32", "spd32"))
    ],
    *[
        Case(f"linalg.{n} {size}", lambda t, a, n=n, k=k: abs(getattr(t.linalg, n)(a)[k]), i, tolerance=2e-3)
        for n, k in (("qr", 1), ("eigh", 0), ("svd", 1))
        for size, i in (("512", "spd512"), ("1000x32x32", "spd32"))
    ],
    Case("linalg.solve 512", lambda t, a, b: t.linalg.solve(a, b), "spd512 s512", tolerance=2e-3),
    Case("linalg.solve 1000x32x32", lambda t, a, b: t.linalg.solve(a, b), "spd32 r32", tolerance=2e-3),
    Case(
        "linalg.solve_triangular 512",
        lambda t, a, b: t.linalg.solve_triangular(a, b, upper=True),
        "spd512 s512",
        jax=lambda t, a, b: t.scipy.linalg.solve_triangular(a, b, lower=False),
        tolerance=2e-3,
    ),
    Case("linalg.matrix_power 512", lambda t, a: t.linalg.matrix_power(a, 5), "spd512", tolerance=2e-3),
    Case("linalg.matrix_norm 512", lambda t, a: t.linalg.matrix_norm(a), "s512"),
    Case("linalg.lstsq 512", lambda t, a, b: t.linalg.lstsq(a, b)[0], "spd512 s512", tolerance=5e-3),
    Case(
        "matrix_exp 512",
        lambda t, a: t.linalg.matrix_exp(a * 0.1),
        "spd512",
        jax=lambda t, a: t.scipy.linalg.expm(a * 0.1),
        tolerance=2e-3,
    ),
]


FOURIER = [
    *[
        Case(f"fft.{n} {label}", lambda t, x, n=n: getattr(t.fft, n)(x), i, tolerance=1e-3)
        for n, label, i in (
            ("fft", "1M", "z"),
            ("rfft", "1M", "x"),
            ("fft", "1024x1024", "mz"),
            ("rfft", "1024x1024", "m"),
            ("fft2", "1024x1024", "mz"),
            ("irfft", "1024x1024", "mz"),
        )
    ],
    Case(
        "stft",
        lambda t, x: t.stft(x, 512, 256, window=t.hann_window(512), return_complex=True),
        "x",
        jax=False,
        tolerance=1e-3,
    ),
]


def draw(name: str, call: Any, jax: Any, names: str = "none", plait: Call | None = None) -> Case:
    def seeded(t: Any, *a: Any) -> Any:
        return jax(t, t.key(0), *a)

    return Case(f"random {name}", call, names, torch=call, jax=seeded, plait=plait, drawn=True)


RANDOM = [
    draw("uniform", lambda t, _: t.rand(N), lambda t, k, _: t.draws.uniform(k, (N,), t.float32)),
    draw("normal", lambda t, _: t.randn(N), lambda t, k, _: t.draws.normal(k, (N,), t.float32)),
    draw("randint", lambda t, _: t.randint(0, 1000, (N,)), lambda t, k, _: t.draws.randint(k, (N,), 0, 1000)),
    draw("permutation", lambda t, _: t.randperm(N), lambda t, k, _: t.draws.permutation(k, N)),
    draw("bernoulli", lambda t, p: t.bernoulli(p), lambda t, k, p: t.draws.bernoulli(k, p), "part"),
    draw("poisson", lambda t, p: t.poisson(p), lambda t, k, p: t.draws.poisson(k, p), "positive"),
    draw(
        "gamma",
        False,
        lambda t, k, p: t.draws.gamma(k, p, dtype=t.float32),
        "positive",
        plait=lambda t, p: t.random.gamma(t.random.key(0), p),
    ),
    draw(
        "exponential",
        False,
        lambda t, k, _: t.draws.exponential(k, (N,), t.float32),
        plait=lambda t, _: t.random.exponential(t.random.key(0), (N,)),
    ),
    draw(
        "multinomial",
        lambda t, p: t.multinomial(p, 1),
        lambda t, k, p: t.draws.categorical(k, t.log(p))[:, None],
        "simplex",
    ),
    draw(
        "dropout",
        lambda t, x: t.dropout(x, 0.3),
        lambda t, k, x: t.where(t.draws.bernoulli(k, 0.7, x.shape), x / 0.7, 0),
        "x",
    ),
]

CASES = [*TENSORS, *PRODUCTS, *NETWORKS, *GRADIENTS, *LINALG, *FOURIER, *RANDOM]
