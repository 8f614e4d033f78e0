"""The cases of `surface.py` that act on elements and axes: one row each, with a call that all libraries share.

Where a library has another name or other arguments, its call stands beside.
"""

from __future__ import annotations

from surface_inputs import Case, N, named, reductions, special

ELEMENTWISE = [
    *named(
        "abs neg sign floor ceil round trunc exp exp2 expm1 sin cos tan sinh cosh tanh asinh atan square sigmoid erf"
        " erfc reciprocal isnan isfinite isinf signbit deg2rad nan_to_num sinc frac sgn relu logical_not",
        "x",
        jax={"frac": "", "sgn": "sign"},
    ),
    *named("log log2 log10 log1p sqrt rsqrt lgamma digamma", "positive", jax={}),
    *named("asin acos atanh erfinv", "unit", jax={"erfinv": "erf_inv"}),
    *named("acosh", "above1"),
    *named("logit", "part"),
    *named("exp tanh log1p", "double", label=" float64")[:2],
    *named("exp relu tanh", "half", label=" float16"),
    *special("entr log_ndtr ndtr i0 i0e i1 i1e bessel_j0 erfcx spherical_bessel_j0", "x"),
    *special("ndtri", "part"),
    *special("gammainc gammaincc", "positive positive2"),
    *special("zeta", "above1 positive"),
    *special("bessel_y0 modified_bessel_k0", "positive"),
    Case("polygamma(1, x)", lambda t, x: t.polygamma(1, x), "positive", jax=lambda t, x: t.polygamma(t.float32(1), x)),
    *named(
        "add sub mul div maximum minimum atan2 hypot copysign fmod remainder logaddexp fmax fmin eq lt nextafter",
        "x y",
        jax={"sub": "subtract", "mul": "multiply", "div": "divide", "eq": "equal", "lt": "less"},
    ),
    *named("pow", "positive y"),
    *named("xlogy", "x positive"),
    *named("pow", "x", 3, label=" 3"),
    *named("pow", "positive", 0.7, label=" 0.7"),
    *named(
        "add mul div floor_divide remainder bitwise_and bitwise_xor maximum lt",
        "i j",
        label=" int64",
        jax={"div": "divide", "mul": "multiply", "lt": "less"},
    ),
    *named("add mul floor_divide", "i32", 7, label=" int32 scalar", jax={"mul": "multiply"}),
    *named("gcd lcm", "i j"),
    *named("logical_and logical_xor", "mask mask2"),
    Case("where", lambda t, *a: t.where(*a), "mask x y"),
    Case("clamp", lambda t, x: t.clamp(x, -1.0, 1.0), "x", jax=lambda t, x: t.clip(x, -1.0, 1.0)),
    Case("lerp", lambda t, x, y: t.lerp(x, y, 0.3), "x y", jax=lambda t, x, y: x + 0.3 * (y - x)),
    Case("addcmul", lambda t, x, y, w: t.addcmul(x, y, w), "x y w", jax=lambda t, x, y, w: x + y * w),
    Case("x * y + w", lambda t, x, y, w: x * y + w, "x y w"),
    Case("isclose", lambda t, x, y: t.isclose(x, y), "x y"),
    Case("masked_fill", lambda t, x, m: t.masked_fill(x, m, 2.0), "x mask", jax=lambda t, x, m: t.where(m, 2.0, x)),
    Case("to float64", lambda t, x: x.to(t.float64), "x", jax=lambda t, x: x.astype(t.float64)),
    Case("to int32", lambda t, x: x.to(t.int32), "x", jax=lambda t, x: x.astype(t.int32)),
    Case("to float16", lambda t, x: x.to(t.float16), "x", jax=lambda t, x: x.astype(t.float16)),
    Case("int64 to float32", lambda t, x: x.to(t.float32), "i", jax=lambda t, x: x.astype(t.float32)),
    *named("abs angle exp log sqrt sin tanh reciprocal", "z", label=" complex64"),
    *named("add mul div pow", "z z2", label=" complex64", jax={"mul": "multiply", "div": "divide"}),
    *named("complex", "x y"),
    *named("polar", "positive x", jax={"polar": ""}),
    Case(
        "one_hot 256",
        lambda t, i: t.one_hot(i % 256, 256)[:4096],
        "rows",
        jax=lambda t, i: t.one_hot(i % 256, 256, dtype=t.int64)[:4096],
    ),
]

REDUCTIONS = [
    *reductions("sum mean amax argmax", "m"),
    *[
        Case(f"logsumexp {label}", lambda t, m, a=a: t.logsumexp(m, a), "m")
        for label, a in (("1024x1024, axis 0", 0), ("1024x1024, axis 1", 1), ("of all", (0, 1)))
    ],
    *reductions("prod", "near1"),
    *reductions("any", "mmask"),
    *reductions("sum", "mz", " complex64"),
    *[
        Case(
            f"{n} 1024x1024, axis {a}",
            lambda t, m, n=n, a=a: getattr(t, n)(m, a),
            "m",
            jax=lambda t, m, n=n, a=a: getattr(t, n)(m, a, ddof=1),
        )
        for n in ("var", "std")
        for a in (0, 1)
    ],
    Case("var of all", lambda t, m: t.var(m, correction=1), "m"),
    Case("var_mean axis 1", lambda t, m: t.var_mean(m, 1), "m", jax=lambda t, m: (t.var(m, 1, ddof=1), t.mean(m, 1))),
    Case(
        "max with indices axis 1", lambda t, m: tuple(t.max(m, 1)), "md", jax=lambda t, m: (t.max(m, 1), t.argmax(m, 1))
    ),
    Case("count_nonzero axis 1", lambda t, m: t.count_nonzero(m, 1), "mmask"),
    Case("all of all", lambda t, m: t.all(m), "mmask"),
    Case("norm of all", lambda t, x: t.linalg.vector_norm(x), "m"),
    *[
        Case(
            f"norm axis {a}",
            lambda t, x, a=a: t.linalg.vector_norm(x, dim=a),
            "m",
            jax=lambda t, x, a=a: t.linalg.vector_norm(x, axis=a),
        )
        for a in (0, 1)
    ],
    Case(
        "norm 1 axis 1",
        lambda t, x: t.linalg.vector_norm(x, 1, dim=1),
        "m",
        jax=lambda t, x: t.linalg.vector_norm(x, ord=1, axis=1),
    ),
    *[
        Case(f"{n} of short rows", lambda t, x, n=n: getattr(t, n)(x, 1), "short")
        for n in ("sum", "amax", "logsumexp", "argmax")
    ],
    Case("median of all", lambda t, m: t.median(m), "md", plait=lambda t, m: m.median(), jax=False),
    Case("median axis 1", lambda t, m: t.median(m, 1)[0], "md", jax=False),
    Case("nanmedian axis 1", lambda t, m: t.nanmedian(m, 1)[0], "md", jax=False),
    Case(
        "quantile axis 1",
        lambda t, m: t.quantile(m, 0.3, dim=1),
        "m",
        jax=lambda t, m: t.quantile(m, t.float32(0.3), axis=1),
    ),
    Case(
        "quantile of all", lambda t, m: t.quantile(m.ravel(), 0.3), "m", jax=lambda t, m: t.quantile(m, t.float32(0.3))
    ),
    Case("nansum axis 1", lambda t, m: t.nansum(m, 1), "m"),
    Case("aminmax of all", lambda t, m: tuple(t.aminmax(m)), "m", jax=lambda t, m: (t.min(m), t.max(m))),
    Case("dist", lambda t, x, y: t.dist(x, y), "x y", jax=lambda t, x, y: t.linalg.norm(x - y)),
    Case("cosine_similarity", lambda t, x, y: t.cosine_similarity(x, y, 1), "m m2", jax=False),
    Case("trace", lambda t, m: t.trace(m), "m"),
    Case("cov", lambda t, m: t.cov(m), "s512"),
    *[
        Case(
            f"{n} 1024x1024, axis {a}",
            lambda t, m, n=n, a=a: getattr(t, n)(m, a),
            "m" if n != "cumprod" else "near1",
            tolerance=1e-3,
        )
        for n in ("cumsum", "cumprod")
        for a in (0, 1)
    ],
    *[
        Case(
            f"cummax 1024x1024, axis {a}",
            lambda t, m, a=a: tuple(t.cummax(m, a))[0],
            "m",
            jax=lambda t, m, a=a: t.cummax(m, axis=a),
        )
        for a in (0, 1)
    ],
    Case("logcumsumexp axis 1", lambda t, m: t.logcumsumexp(m, 1), "m", jax=lambda t, m: t.cumlogsumexp(m, axis=1)),
    Case("cumsum 1M", lambda t, x: t.cumsum(x, 0), "x", tolerance=1e-3),
    Case("cumsum 1M int64", lambda t, x: t.cumsum(x, 0), "i"),
    Case("diff", lambda t, x: t.diff(x), "x"),
    Case("trapezoid", lambda t, m: t.trapezoid(m, dim=1), "m", jax=lambda t, m: t.trapezoid(m, axis=1)),
]

SORTING = [
    *[
        Case(f"sort {label}", lambda t, x, a=a: t.sort(x, dim=a)[0], x, jax=lambda t, x, a=a: t.sort(x, axis=a))
        for label, x, a in (
            ("1M", "d", 0),
            ("1024x1024, axis 1", "m", 1),
            ("1024x1024, axis 0", "m", 0),
            ("1M int64", "i", 0),
            ("1M float64", "double", 0),
        )
    ],
    Case("sort with indices 1M", lambda t, x: tuple(t.sort(x, dim=0)), "d", jax=lambda t, x: (t.sort(x), t.argsort(x))),
    *[
        Case(f"argsort {label}", lambda t, x, a=a: t.argsort(x, dim=a), x, jax=lambda t, x, a=a: t.argsort(x, axis=a))
        for label, x, a in (("1M", "d", 0), ("1024x1024, axis 1", "md", 1), ("1024x1024, axis 0", "md", 0))
    ],
    *[
        Case(f"topk {k} {label}", lambda t, x, k=k: tuple(t.topk(x, k)), x, jax=lambda t, x, k=k: tuple(t.top_k(x, k)))
        for label, x, k in (("1M", "d", 100), ("1024x1024", "md", 10), ("1024x1024", "md", 300))
    ],
    Case("kthvalue", lambda t, x: t.kthvalue(x, 300, 1)[0], "md", jax=False),
    Case("mode", lambda t, x: t.mode(x, 1)[0], "places", jax=False),
    Case("unique float32", lambda t, x: t.unique(x), "d", jit=False),
    Case("unique int64", lambda t, x: t.unique(x), "i", jit=False),
    Case(
        "unique with inverse and counts",
        lambda t, x: tuple(t.unique(x, return_inverse=True, return_counts=True)),
        "i",
        jit=False,
    ),
    Case("unique_consecutive", lambda t, x: t.unique_consecutive(x), "i", jit=False, jax=False),
    Case("searchsorted", lambda t, e, x: t.searchsorted(e, x), "edges x"),
    Case("bucketize", lambda t, x, e: t.bucketize(x, e), "x edges", jax=lambda t, x, e: t.searchsorted(e, x)),
    Case("isin", lambda t, x, y: t.isin(x, y[:100]), "i j"),
    Case("bincount", lambda t, x: t.bincount(x, minlength=1000), "where1000", jit=False),
    Case(
        "bincount with weights",
        lambda t, x, w: t.bincount(x, w, minlength=1000),
        "where1000 part",
        jit=False,
        tolerance=1e-3,
    ),
    Case("histc", lambda t, x: t.histc(x, 100, -3.0, 3.0), "x", jax=lambda t, x: t.histogram(x, 100, (-3.0, 3.0))[0]),
]

INDEXING = [
    *[
        Case(
            f"index_select axis {a}",
            lambda t, m, r, a=a: t.index_select(m, a, r),
            "m rows",
            jax=lambda t, m, r, a=a: t.take(m, r, axis=a),
        )
        for a in (0, 1)
    ],
    *[
        Case(
            f"gather axis {a}",
            lambda t, m, p, a=a: t.gather(m, a, p),
            "m places",
            jax=lambda t, m, p, a=a: t.take_along_axis(m, p, axis=a),
        )
        for a in (0, 1)
    ],
    Case(
        "take_along_dim",
        lambda t, m, p: t.take_along_dim(m, p, 1),
        "m places",
        jax=lambda t, m, p: t.take_along_axis(m, p, 1),
    ),
    Case("take", lambda t, x, i: t.take(x, i), "x i"),
    Case("x[i]", lambda t, x, i: x[i], "x i"),
    Case("m[rows]", lambda t, m, i: m[i], "m rows"),
    Case("m[rows, rows]", lambda t, m, i, p: m[i[:, None], p], "m rows places"),
    Case("embedding", lambda t, i, w: t.embedding(i, w), "tokens vocabulary", jax=lambda t, i, w: w[i]),
    Case(
        "scatter_add 1M to 1000",
        lambda t, z, i, x: t.scatter_add(z, 0, i, x),
        "zeros1000 where1000 x",
        jax=lambda t, z, i, x: z.at[i].add(x),
        tolerance=1e-3,
    ),
    *[
        Case(f"scatter_add axis {a}", lambda t, m, p, s, a=a: t.scatter_add(m, a, p, s), "m places m2", jax=jax)
        for a, jax in (
            (0, lambda t, m, p, s: m.at[p, t.arange(1024)[None]].add(s)),
            (1, lambda t, m, p, s: m.at[t.arange(1024)[:, None], p].add(s)),
        )
    ],
    Case(
        "scatter axis 1",
        lambda t, m, p, s: t.scatter(m, 1, p, s * 0 + 3),
        "m places m2",
        jax=lambda t, m, p, s: m.at[t.arange(1024)[:, None], p].set(s * 0 + 3),
    ),
    Case(
        "scatter_reduce amax axis 1",
        lambda t, m, p, s: t.scatter_reduce(m, 1, p, s, "amax"),
        "m places m2",
        jax=lambda t, m, p, s: m.at[t.arange(1024)[:, None], p].max(s),
    ),
    Case(
        "index_add of rows",
        lambda t, z, i, x: t.index_add(z, 0, i, x),
        "zeros1000x64 rows16k x64",
        jax=lambda t, z, i, x: z.at[i].add(x),
        tolerance=1e-3,
    ),
    Case(
        "index_copy of rows",
        lambda t, z, x: t.index_copy(z, 0, t.arange(0, 1000), x[:1000]),
        "zeros1000x64 x64",
        jax=lambda t, z, x: z.at[t.arange(1000)].set(x[:1000]),
    ),
    Case(
        "index_put",
        lambda t, x, d: t.index_put(x, (d.to(t.int64),), x),
        "x d",
        jax=lambda t, x, d: x.at[d.astype(t.int64)].set(x),
    ),
    Case("masked_select", lambda t, x, m: t.masked_select(x, m), "x mask", jax=lambda t, x, m: x[m], jit=False),
    Case("x[mask]", lambda t, x, m: x[m], "x mask", jit=False),
    Case("masked_scatter", lambda t, x, m, y: t.masked_scatter(x, m, y), "x mask y", jax=False),
    Case(
        "nonzero",
        lambda t, m: t.nonzero(m),
        "mask",
        jax=lambda t, m: t.stack(t.nonzero(m), 1),
        plait=lambda t, m: t.argwhere(m),
        jit=False,
    ),
    Case(
        "nonzero of a matrix",
        lambda t, m: t.nonzero(m),
        "mmask",
        jax=lambda t, m: t.stack(t.nonzero(m), 1),
        plait=lambda t, m: t.argwhere(m),
        jit=False,
    ),
]

MOVEMENT = [
    *[
        Case(
            f"cat axis {a}",
            lambda t, x, y, a=a: t.cat([x, y], a),
            "m m2",
            jax=lambda t, x, y, a=a: t.concatenate([x, y], a),
        )
        for a in (0, 1)
    ],
    *[Case(f"stack axis {a}", lambda t, x, y, a=a: t.stack([x, y], a), "m m2") for a in (0, 1, 2)],
    Case("roll", lambda t, x: t.roll(x, 5), "x"),
    Case("roll axes", lambda t, x: t.roll(x, (3, 5), (0, 1)), "m"),
    *[Case(f"flip axis {a}", lambda t, x, a=a: t.flip(x, (a,)), "m") for a in (0, 1)],
    Case("rot90", lambda t, x: t.rot90(x) * 1, "m"),
    Case("tile", lambda t, x: t.tile(x, (2, 2)), "s512"),
    Case("repeat_interleave", lambda t, x: t.repeat_interleave(x, 4, 1), "s512", jax=lambda t, x: t.repeat(x, 4, 1)),
    *named("tril triu", "m"),
    Case("transposed copy", lambda t, x: x.T.contiguous(), "m", jax=lambda t, x: x.T.copy()),
    Case(
        "permuted copy",
        lambda t, x: t.permute(x, (0, 2, 3, 1)).contiguous(),
        "image",
        jax=lambda t, x: t.transpose(x, (0, 2, 3, 1)).copy(),
    ),
    Case("clone", lambda t, x: t.clone(x), "x", jax=lambda t, x: t.copy(x)),
    Case(
        "pad", lambda t, x: t.pad(x, (3, 3, 3, 3)), "image", jax=lambda t, x: t.pad(x, ((0, 0), (0, 0), (3, 3), (3, 3)))
    ),
    Case(
        "pad reflect",
        lambda t, x: t.pad(x, (3, 3, 3, 3), mode="reflect"),
        "image",
        jax=lambda t, x: t.pad(x, ((0, 0), (0, 0), (3, 3), (3, 3)), mode="reflect"),
    ),
    Case("outer", lambda t, v: t.outer(v, v), "v1024"),
    Case("arange", lambda t, _: t.arange(N), "none"),
    Case(
        "linspace",
        lambda t, _: t.linspace(0.0, 1.0, N),
        "none",
        jax=lambda t, _: t.linspace(0.0, 1.0, N, dtype=t.float32),
    ),
    Case(
        "ones",
        lambda t, _: t.ones(N),
        "none",
        plait=lambda t, _: t.ones(N) * 1,
        jax=lambda t, _: t.ones(N, dtype=t.float32),
    ),
    Case("meshgrid", lambda t, v: [g + 0 for g in t.meshgrid(v, v, indexing="ij")], "v1024"),
    Case("diag_embed", lambda t, v: t.diag(v), "v1024"),
    Case("x[::2, ::2] + 1", lambda t, x: x[::2, ::2] + 1, "m"),
    Case("unfold", lambda t, x: t.unfold(x, 3, padding=1), "image", jax=False),
    Case("pixel_shuffle", lambda t, x: t.pixel_shuffle(x, 2), "image", jax=False),
]

TENSORS = [*ELEMENTWISE, *REDUCTIONS, *SORTING, *INDEXING, *MOVEMENT]
