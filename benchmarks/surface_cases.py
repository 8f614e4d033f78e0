"""The cases of `surface.py`: one row each, with a call that all three libraries share unless they differ in names."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

Call = Callable[..., Any]


class Names:
    """The names of several modules of one library, those of the first before those of the second."""

    def __init__(self, *modules: Any) -> None:
        self.modules = modules

    def __getattr__(self, name: str) -> Any:
        for module in self.modules:
            found = getattr(module, name, None)
            if found is not None:
                setattr(self, name, found)
                return found
        raise AttributeError(f"none of {[m.__name__ for m in self.modules]} has {name}")


@dataclass(frozen=True)
class Case:
    """One function: `call(names, *inputs)`, and what differs in a library."""

    name: str
    call: Call
    inputs: str
    plait: Call | None = None
    torch: Any = None  # False: PyTorch has no such function
    jax: Any = None  # False: JAX has no such function
    gradient: tuple[int, ...] | None = None  # forward and backward: value and gradient in these arguments
    jit: bool = True  # no: the size of the result depends on values
    drawn: bool = False  # random results are compared by their mean and deviation
    tolerance: float = 1e-4


N = 1 << 20
_random = np.random.default_rng


def _normal(*shape: int, dtype: Any = np.float32, seed: int = 0) -> Any:
    return _random(seed + sum(shape)).standard_normal(shape).astype(dtype)


def _uniform(low: float, high: float, *shape: int, seed: int = 1) -> Any:
    return _random(seed).uniform(low, high, shape or (N,)).astype(np.float32)


def _integers(high: int, *shape: int, low: int = 0, seed: int = 2) -> Any:
    return _random(seed).integers(low, high, shape or (N,))


def _complex(*shape: int, seed: int = 3) -> Any:
    return (_normal(*shape, seed=seed) + 1j * _normal(*shape, seed=seed + 1)).astype(np.complex64)


def _positive_definite(*shape: int) -> Any:
    a = _normal(*shape)
    return a @ a.swapaxes(-1, -2) / shape[-1] + np.eye(shape[-1], dtype=np.float32)


def _distinct(*shape: int) -> Any:
    return _random(4).permutation(np.prod(shape)).astype(np.float32).reshape(shape)


INPUTS: dict[str, Callable[[], Any]] = {
    "x": lambda: _normal(N),
    "y": lambda: _normal(N, seed=5),
    "w": lambda: _normal(N, seed=6),
    "double": lambda: _normal(N, dtype=np.float64),
    "half": lambda: _normal(N, dtype=np.float16),
    "positive": lambda: _uniform(0.05, 12),
    "positive2": lambda: _uniform(0.05, 12, seed=7),
    "above1": lambda: _uniform(1.01, 20),
    "unit": lambda: _uniform(-0.99, 0.99),
    "part": lambda: _uniform(0.01, 0.99),
    "part2": lambda: _uniform(0.01, 0.99, seed=8),
    "i": lambda: _integers(1000, low=1),
    "j": lambda: _integers(50, low=1, seed=9),
    "i32": lambda: _integers(1000, low=1).astype(np.int32),
    "mask": lambda: _integers(2).astype(bool),
    "mask2": lambda: _integers(2, seed=10).astype(bool),
    "z": lambda: _complex(N),
    "z2": lambda: _complex(N, seed=11),
    "m": lambda: _normal(1024, 1024),
    "m2": lambda: _normal(1024, 1024, seed=12),
    "near1": lambda: _uniform(0.99, 1.01, 1024, 1024),
    "simplex": lambda: (lambda e: e / e.sum(1, keepdims=True))(np.exp(_normal(1024, 1024))),
    "mmask": lambda: _integers(2, 1024, 1024).astype(bool),
    "md": lambda: _distinct(1024, 1024),
    "mz": lambda: _complex(1024, 1024),
    "short": lambda: _normal(131072, 8),
    "d": lambda: _distinct(N),
    "edges": lambda: np.linspace(-3, 3, 1000, dtype=np.float32),
    "rows": lambda: _integers(1024, 1024),
    "labels": lambda: _integers(1024, 1024, seed=13),
    "places": lambda: _integers(1024, 1024, 1024),
    "where1000": lambda: _integers(1000),
    "zeros1000": lambda: np.zeros(1000, np.float32),
    "zeros1000x64": lambda: np.zeros((1000, 64), np.float32),
    "x64": lambda: _normal(16384, 64),
    "rows16k": lambda: _integers(1000, 16384),
    "vocabulary": lambda: _normal(10000, 64),
    "tokens": lambda: _integers(10000, 16384),
    "s512": lambda: _normal(512, 512),
    "t512": lambda: _normal(512, 512, seed=14),
    "spd512": lambda: _positive_definite(512, 512),
    "b32": lambda: _normal(1000, 32, 32),
    "c32": lambda: _normal(1000, 32, 32, seed=15),
    "spd32": lambda: _positive_definite(1000, 32, 32),
    "r32": lambda: _normal(1000, 32, 1),
    "v1024": lambda: _normal(1024),
    "p512x64": lambda: _normal(512, 64),
    "q512x64": lambda: _normal(512, 64, seed=16),
    "k32": lambda: _normal(32, 32),
    "one1024": lambda: _uniform(0.5, 1.5, 1024),
    "image": lambda: _normal(16, 64, 32, 32),
    "image2": lambda: _normal(16, 64, 32, 32, seed=17),
    "c64": lambda: _uniform(0.5, 1.5, 64),
    "d64": lambda: _normal(64),
    "kernel": lambda: _normal(64, 64, 3, 3) / 24,
    "depthwise": lambda: _normal(64, 1, 3, 3) / 3,
    "grid": lambda: _uniform(-1.1, 1.1, 16, 32, 32, 2),
    "signal": lambda: _normal(16, 64, 1024),
    "kernel1": lambda: _normal(64, 64, 3) / 14,
    "heads": lambda: _normal(4, 8, 256, 64),
    "heads2": lambda: _normal(4, 8, 256, 64, seed=18),
    "heads3": lambda: _normal(4, 8, 256, 64, seed=19),
    "sign": lambda: (_integers(2) * 2 - 1).astype(np.float32),
    "targets": lambda: _integers(2).astype(np.float32),
    "none": lambda: np.zeros(1, np.float32),
}


@functools.lru_cache(maxsize=4)
def _input(name: str) -> Any:
    return INPUTS[name]()


def inputs(names: str) -> list[Any]:
    return [_input(name) for name in names.split()]


def named(names: str, input_names: str, *rest: Any, label: str = "", jax: dict[str, str] | None = None) -> list[Case]:
    """Cases of functions that take the inputs and `rest` alike, with JAX's names where they are others."""

    def call(name: str) -> Call:
        return lambda t, *a: getattr(t, name)(*a, *rest)

    other = jax or {}
    return [
        Case(n + label, call(n), input_names, jax=call(other[n]) if other.get(n) else False if n in other else None)
        for n in names.split()
    ]


def special(names: str, input_names: str, *rest: Any) -> list[Case]:
    """Cases of functions in the module `special`."""
    return [
        Case(f"special.{n}", lambda t, *a, n=n: getattr(t.special, n)(*a, *rest), input_names,
             jax=None if n in "entr i0e i1 i1e ndtr ndtri log_ndtr zeta xlog1py" .split() else False)
        for n in names.split()
    ]  # fmt: skip


def reductions(names: str, matrix: str, jax: dict[str, str] | None = None) -> list[Case]:
    return [
        case
        for axis in (0, 1)
        for case in named(names, matrix, axis, label=f" 1024x1024, axis {axis}", jax=jax)
    ] + named(names, matrix, label=" of all", jax=jax)  # fmt: skip


ELEMENTWISE = [
    *named("abs neg sign floor ceil round trunc exp exp2 expm1 sin cos tan sinh cosh tanh asinh atan square sigmoid erf"
           " erfc reciprocal isnan isfinite isinf signbit deg2rad nan_to_num sinc frac sgn relu logical_not", "x",
           jax={"frac": "", "sgn": "sign"}),
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
    *named("add sub mul div maximum minimum atan2 hypot copysign fmod remainder logaddexp fmax fmin eq lt nextafter",
           "x y", jax={"sub": "subtract", "mul": "multiply", "div": "divide", "eq": "equal", "lt": "less"}),
    *named("pow", "positive y"),
    *named("xlogy", "x positive"),
    *named("pow", "x", 3, label=" 3"),
    *named("pow", "positive", 0.7, label=" 0.7"),
    *named("add mul div floor_divide remainder bitwise_and bitwise_xor maximum lt", "i j", label=" int64",
           jax={"div": "divide", "mul": "multiply", "lt": "less"}),
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
    Case("one_hot 256", lambda t, i: t.one_hot(i % 256, 256)[:4096], "rows", jax=lambda t, i: t.one_hot(i % 256, 256, dtype=t.int64)[:4096]),
]  # fmt: skip

REDUCTIONS = [
    *reductions("sum mean amax argmax", "m"),
    *[Case(f"logsumexp {label}", lambda t, m, a=a: t.logsumexp(m, a), "m") for label, a in (("1024x1024, axis 0", 0), ("1024x1024, axis 1", 1), ("of all", (0, 1)))],
    *reductions("prod", "near1"),
    *reductions("any", "mmask"),
    *reductions("sum", "mz"),
    *[Case(f"{n} 1024x1024, axis {a}", lambda t, m, n=n, a=a: getattr(t, n)(m, a),
           "m", jax=lambda t, m, n=n, a=a: getattr(t, n)(m, a, ddof=1)) for n in ("var", "std") for a in (0, 1)],
    Case("var of all", lambda t, m: t.var(m, correction=1), "m"),
    Case("var_mean axis 1", lambda t, m: t.var_mean(m, 1), "m", jax=lambda t, m: (t.var(m, 1, ddof=1), t.mean(m, 1))),
    Case("max with indices axis 1", lambda t, m: tuple(t.max(m, 1)), "md", jax=lambda t, m: (t.max(m, 1), t.argmax(m, 1))),
    Case("count_nonzero axis 1", lambda t, m: t.count_nonzero(m, 1), "mmask"),
    Case("all of all", lambda t, m: t.all(m), "mmask"),
    Case("norm of all", lambda t, x: t.linalg.vector_norm(x), "m"),
    *[Case(f"norm axis {a}", lambda t, x, a=a: t.linalg.vector_norm(x, dim=a), "m", jax=lambda t, x, a=a: t.linalg.vector_norm(x, axis=a)) for a in (0, 1)],
    Case("norm 1 axis 1", lambda t, x: t.linalg.vector_norm(x, 1, dim=1), "m", jax=lambda t, x: t.linalg.vector_norm(x, ord=1, axis=1)),
    *[Case(f"{n} of short rows", lambda t, x, n=n: getattr(t, n)(x, 1), "short") for n in ("sum", "amax", "logsumexp", "argmax")],
    Case("median of all", lambda t, m: t.median(m), "md", plait=lambda t, m: m.median(), jax=False),
    Case("median axis 1", lambda t, m: t.median(m, 1)[0], "md", jax=False),
    Case("nanmedian axis 1", lambda t, m: t.nanmedian(m, 1)[0], "md", jax=False),
    Case("quantile axis 1", lambda t, m: t.quantile(m, 0.3, dim=1), "m", jax=lambda t, m: t.quantile(m, t.float32(0.3), axis=1)),
    Case("quantile of all", lambda t, m: t.quantile(m.ravel(), 0.3), "m", jax=lambda t, m: t.quantile(m, t.float32(0.3))),
    Case("nansum axis 1", lambda t, m: t.nansum(m, 1), "m"),
    Case("aminmax of all", lambda t, m: tuple(t.aminmax(m)), "m", jax=lambda t, m: (t.min(m), t.max(m))),
    Case("dist", lambda t, x, y: t.dist(x, y), "x y", jax=lambda t, x, y: t.linalg.norm(x - y)),
    Case("cosine_similarity", lambda t, x, y: t.cosine_similarity(x, y, 1), "m m2", jax=False),
    Case("trace", lambda t, m: t.trace(m), "m"),
    Case("cov", lambda t, m: t.cov(m), "s512"),
    *[Case(f"{n} 1024x1024, axis {a}", lambda t, m, n=n, a=a: getattr(t, n)(m, a), "m" if n != "cumprod" else "near1",
           tolerance=1e-3) for n in ("cumsum", "cumprod") for a in (0, 1)],
    *[Case(f"cummax 1024x1024, axis {a}", lambda t, m, a=a: tuple(t.cummax(m, a))[0], "m", jax=lambda t, m, a=a: t.cummax(m, axis=a)) for a in (0, 1)],
    Case("logcumsumexp axis 1", lambda t, m: t.logcumsumexp(m, 1), "m", jax=lambda t, m: t.cumlogsumexp(m, axis=1)),
    Case("cumsum 1M", lambda t, x: t.cumsum(x, 0), "x", tolerance=1e-3),
    Case("cumsum 1M int64", lambda t, x: t.cumsum(x, 0), "i"),
    Case("diff", lambda t, x: t.diff(x), "x"),
    Case("trapezoid", lambda t, m: t.trapezoid(m, dim=1), "m", jax=lambda t, m: t.trapezoid(m, axis=1)),
]  # fmt: skip

SORTING = [
    *[Case(f"sort {label}", lambda t, x, a=a: t.sort(x, dim=a)[0], x, jax=lambda t, x, a=a: t.sort(x, axis=a))
      for label, x, a in (("1M", "d", 0), ("1024x1024, axis 1", "m", 1), ("1024x1024, axis 0", "m", 0), ("1M int64", "i", 0), ("1M float64", "double", 0))],
    Case("sort with indices 1M", lambda t, x: tuple(t.sort(x, dim=0)), "d", jax=lambda t, x: (t.sort(x), t.argsort(x))),
    *[Case(f"argsort {label}", lambda t, x, a=a: t.argsort(x, dim=a), x, jax=lambda t, x, a=a: t.argsort(x, axis=a))
      for label, x, a in (("1M", "d", 0), ("1024x1024, axis 1", "md", 1), ("1024x1024, axis 0", "md", 0))],
    *[Case(f"topk {k} {label}", lambda t, x, k=k: tuple(t.topk(x, k)), x, jax=lambda t, x, k=k: tuple(t.top_k(x, k)))
      for label, x, k in (("1M", "d", 100), ("1024x1024", "md", 10), ("1024x1024", "md", 300))],
    Case("kthvalue", lambda t, x: t.kthvalue(x, 300, 1)[0], "md", jax=False),
    Case("mode", lambda t, x: t.mode(x, 1)[0], "places", jax=False),
    Case("unique float32", lambda t, x: t.unique(x), "d", jit=False),
    Case("unique int64", lambda t, x: t.unique(x), "i", jit=False),
    Case("unique with inverse and counts", lambda t, x: tuple(t.unique(x, return_inverse=True, return_counts=True)), "i", jit=False),
    Case("unique_consecutive", lambda t, x: t.unique_consecutive(x), "i", jit=False, jax=False),
    Case("searchsorted", lambda t, e, x: t.searchsorted(e, x), "edges x"),
    Case("bucketize", lambda t, x, e: t.bucketize(x, e), "x edges", jax=lambda t, x, e: t.searchsorted(e, x)),
    Case("isin", lambda t, x, y: t.isin(x, y[:100]), "i j"),
    Case("bincount", lambda t, x: t.bincount(x, minlength=1000), "where1000", jit=False),
    Case("bincount with weights", lambda t, x, w: t.bincount(x, w, minlength=1000), "where1000 part", jit=False, tolerance=1e-3),
    Case("histc", lambda t, x: t.histc(x, 100, -3.0, 3.0), "x", jax=lambda t, x: t.histogram(x, 100, (-3.0, 3.0))[0]),
]  # fmt: skip

INDEXING = [
    *[Case(f"index_select axis {a}", lambda t, m, r, a=a: t.index_select(m, a, r), "m rows", jax=lambda t, m, r, a=a: t.take(m, r, axis=a)) for a in (0, 1)],
    *[Case(f"gather axis {a}", lambda t, m, p, a=a: t.gather(m, a, p), "m places", jax=lambda t, m, p, a=a: t.take_along_axis(m, p, axis=a)) for a in (0, 1)],
    Case("take_along_dim", lambda t, m, p: t.take_along_dim(m, p, 1), "m places", jax=lambda t, m, p: t.take_along_axis(m, p, 1)),
    Case("take", lambda t, x, i: t.take(x, i), "x i"),
    Case("x[i]", lambda t, x, i: x[i], "x i"),
    Case("m[rows]", lambda t, m, i: m[i], "m rows"),
    Case("m[rows, rows]", lambda t, m, i, p: m[i[:, None], p], "m rows places"),
    Case("embedding", lambda t, i, w: t.embedding(i, w), "tokens vocabulary", jax=lambda t, i, w: w[i]),
    Case("scatter_add 1M to 1000", lambda t, z, i, x: t.scatter_add(z, 0, i, x), "zeros1000 where1000 x", jax=lambda t, z, i, x: z.at[i].add(x), tolerance=1e-3),
    *[Case(f"scatter_add axis {a}", lambda t, m, p, s, a=a: t.scatter_add(m, a, p, s), "m places m2", jax=jax)
      for a, jax in ((0, lambda t, m, p, s: m.at[p, t.arange(1024)[None]].add(s)), (1, lambda t, m, p, s: m.at[t.arange(1024)[:, None], p].add(s)))],
    Case("scatter axis 1", lambda t, m, p, s: t.scatter(m, 1, p, s * 0 + 3), "m places m2", jax=lambda t, m, p, s: m.at[t.arange(1024)[:, None], p].set(s * 0 + 3)),
    Case("scatter_reduce amax axis 1", lambda t, m, p, s: t.scatter_reduce(m, 1, p, s, "amax"), "m places m2", jax=lambda t, m, p, s: m.at[t.arange(1024)[:, None], p].max(s)),
    Case("index_add of rows", lambda t, z, i, x: t.index_add(z, 0, i, x), "zeros1000x64 rows16k x64", jax=lambda t, z, i, x: z.at[i].add(x), tolerance=1e-3),
    Case("index_copy of rows", lambda t, z, x: t.index_copy(z, 0, t.arange(0, 1000), x[:1000]), "zeros1000x64 x64", jax=lambda t, z, x: z.at[t.arange(1000)].set(x[:1000])),
    Case("index_put", lambda t, x, d: t.index_put(x, (d.to(t.int64),), x), "x d", jax=lambda t, x, d: x.at[d.astype(t.int64)].set(x)),
    Case("masked_select", lambda t, x, m: t.masked_select(x, m), "x mask", jax=lambda t, x, m: x[m], jit=False),
    Case("x[mask]", lambda t, x, m: x[m], "x mask", jit=False),
    Case("masked_scatter", lambda t, x, m, y: t.masked_scatter(x, m, y), "x mask y", jax=False),
    Case("nonzero", lambda t, m: t.nonzero(m), "mask", jax=lambda t, m: t.stack(t.nonzero(m), 1), plait=lambda t, m: t.argwhere(m), jit=False),
    Case("nonzero of a matrix", lambda t, m: t.nonzero(m), "mmask", jax=lambda t, m: t.stack(t.nonzero(m), 1), plait=lambda t, m: t.argwhere(m), jit=False),
]  # fmt: skip

MOVEMENT = [
    *[Case(f"cat axis {a}", lambda t, x, y, a=a: t.cat([x, y], a), "m m2", jax=lambda t, x, y, a=a: t.concatenate([x, y], a)) for a in (0, 1)],
    *[Case(f"stack axis {a}", lambda t, x, y, a=a: t.stack([x, y], a), "m m2") for a in (0, 1, 2)],
    Case("roll", lambda t, x: t.roll(x, 5), "x"),
    Case("roll axes", lambda t, x: t.roll(x, (3, 5), (0, 1)), "m"),
    *[Case(f"flip axis {a}", lambda t, x, a=a: t.flip(x, (a,)), "m") for a in (0, 1)],
    Case("rot90", lambda t, x: t.rot90(x) * 1, "m"),
    Case("tile", lambda t, x: t.tile(x, (2, 2)), "s512"),
    Case("repeat_interleave", lambda t, x: t.repeat_interleave(x, 4, 1), "s512", jax=lambda t, x: t.repeat(x, 4, 1)),
    *named("tril triu", "m"),
    Case("transposed copy", lambda t, x: x.T.contiguous(), "m", jax=lambda t, x: x.T.copy()),
    Case("permuted copy", lambda t, x: t.permute(x, (0, 2, 3, 1)).contiguous(), "image", jax=lambda t, x: t.transpose(x, (0, 2, 3, 1)).copy()),
    Case("clone", lambda t, x: t.clone(x), "x", jax=lambda t, x: t.copy(x)),
    Case("pad", lambda t, x: t.pad(x, (3, 3, 3, 3)), "image", jax=lambda t, x: t.pad(x, ((0, 0), (0, 0), (3, 3), (3, 3)))),
    Case("pad reflect", lambda t, x: t.pad(x, (3, 3, 3, 3), mode="reflect"), "image", jax=lambda t, x: t.pad(x, ((0, 0), (0, 0), (3, 3), (3, 3)), mode="reflect")),
    Case("outer", lambda t, v: t.outer(v, v), "v1024"),
    Case("arange", lambda t, _: t.arange(N), "none"),
    Case("linspace", lambda t, _: t.linspace(0.0, 1.0, N), "none", jax=lambda t, _: t.linspace(0.0, 1.0, N, dtype=t.float32)),
    Case("ones", lambda t, _: t.ones(N), "none", plait=lambda t, _: t.ones(N) * 1, jax=lambda t, _: t.ones(N, dtype=t.float32)),
    Case("meshgrid", lambda t, v: [g + 0 for g in t.meshgrid(v, v, indexing="ij")], "v1024"),
    Case("diag_embed", lambda t, v: t.diag(v), "v1024"),
    Case("x[::2, ::2] + 1", lambda t, x: x[::2, ::2] + 1, "m"),
    Case("unfold", lambda t, x: t.unfold(x, 3, padding=1), "image", jax=False),
    Case("pixel_shuffle", lambda t, x: t.pixel_shuffle(x, 2), "image", jax=False),
]  # fmt: skip

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
    *[Case(f"einsum {e}", lambda t, *a, e=e: t.einsum(e, *a), i) for e, i in (
        ("ij,jk->ik", "s512 t512"), ("bij,bjk->bik", "b32 c32"), ("ij,ij->i", "m m2"), ("bhqd,bhkd->bhqk", "heads heads2"), ("ij->ji", "m"), ("ij,j->ij", "m v1024"))],
    Case("tensordot", lambda t, a, b: t.tensordot(a, b, 2), "m m2"),
    *[Case(f"cdist p={p}", lambda t, a, b, p=p: t.cdist(a, b, float(p)), "p512x64 q512x64", jax=False, tolerance=1e-3) for p in (1, 2, 3)],
    Case("pdist", lambda t, a: t.pdist(a), "p512x64", jax=False),
    Case("linalg.cross", lambda t, a, b: t.linalg.cross(a, b), "cross cross2"),
    Case("linalg.vecdot", lambda t, a, b: t.linalg.vecdot(a, b), "m m2"),
]  # fmt: skip
INPUTS |= {"cross": lambda: _normal(350000, 3), "cross2": lambda: _normal(350000, 3, seed=20)}


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
    return lambda t, x: t.reduce_window(x, np.float32(init), getattr(t.modules[2], op), (1, 1, 2, 2), (1, 1, 2, 2), "VALID") * scale


NETWORKS = [
    *named("gelu silu softplus elu selu celu leaky_relu relu6 hardswish hardsigmoid hardtanh mish logsigmoid softsign"
           " tanhshrink hardshrink softshrink", "x",
           jax={"logsigmoid": "log_sigmoid", "softsign": "soft_sign", "hardtanh": "hard_tanh", "hardswish": "hard_swish",
                "hardsigmoid": "hard_sigmoid", "tanhshrink": "", "hardshrink": "", "softshrink": "", "gelu": ""}),
    Case("gelu tanh", lambda t, x: t.gelu(x, approximate="tanh"), "x", jax=lambda t, x: t.gelu(x)),
    Case("glu", lambda t, x: t.glu(x), "m"),
    *[Case(f"{n} axis {a}", lambda t, m, n=n, a=a: getattr(t, n)(m, a), "m") for n in ("softmax", "log_softmax") for a in (0, 1)],
    Case("softmax of short rows", lambda t, m: t.softmax(m, 1), "short"),
    Case("normalize", lambda t, m: t.normalize(m, dim=1), "m", jax=False),
    Case("layer_norm", lambda t, m, w, b: t.layer_norm(m, (1024,), w, b), "m one1024 v1024", jax=_norm_jax((1,), (1024,))),
    Case("rms_norm", lambda t, m, w: t.rms_norm(m, (1024,), w, 1e-5), "m one1024", jax=lambda t, m, w: m * t.rsqrt((m * m).mean(1, keepdims=True) + 1e-5) * w),
    Case("batch_norm", lambda t, x, w, b: t.batch_norm(x, None, None, w, b, True), "image c64 d64", jax=_norm_jax((0, 2, 3), (1, 64, 1, 1))),
    Case("batch_norm of a matrix", lambda t, x, w, b: t.batch_norm(x, None, None, w, b, True), "m one1024 v1024", jax=_norm_jax((0,), (1, 1024))),
    Case("group_norm", lambda t, x, w, b: t.group_norm(x, 8, w, b), "image c64 d64", jax=_group_norm_jax),
    Case("instance_norm", lambda t, x: t.instance_norm(x), "image", jax=_norm_jax((2, 3), ())),
    Case("cross_entropy", lambda t, m, i: t.cross_entropy(m, i), "m labels", jax=_cross_entropy_jax),
    Case("nll_loss", lambda t, m, i: t.nll_loss(m, i), "m labels", jax=lambda t, m, i: -t.take_along_axis(m, i[:, None], 1).mean()),
    *named("mse_loss l1_loss smooth_l1_loss huber_loss", "x y", jax={"mse_loss": "", "l1_loss": "", "smooth_l1_loss": "", "huber_loss": ""}),
    Case("binary_cross_entropy", lambda t, p, y: t.binary_cross_entropy(p, y), "part targets", jax=lambda t, p, y: -(y * t.log(p) + (1 - y) * t.log1p(-p)).mean()),
    Case("binary_cross_entropy_with_logits", lambda t, x, y: t.binary_cross_entropy_with_logits(x, y), "x targets", jax=lambda t, x, y: (t.softplus(x) - x * y).mean()),
    Case("kl_div", lambda t, m, p: t.kl_div(m, p, reduction="batchmean"), "m simplex", jax=False),
    *[Case(n, lambda t, x, y, n=n: getattr(t, n)(x, y), "x sign", jax=False) for n in ("soft_margin_loss", "hinge_embedding_loss")],
    Case("conv2d 3x3", lambda t, x, w: t.conv2d(x, w, padding=1), "image kernel", jax=_conv_jax((1, 1), "SAME")),
    Case("conv2d depthwise", lambda t, x, w: t.conv2d(x, w, padding=1, groups=64), "image depthwise", jax=_conv_jax((1, 1), "SAME", 64)),
    Case("conv1d", lambda t, x, w: t.conv1d(x, w, padding=1), "signal kernel1", jax=_conv_jax((1,), "SAME")),
    Case("conv_transpose2d", lambda t, x, w: t.conv_transpose2d(x, w, stride=2), "image kernel", jax=False),
    Case("max_pool2d", lambda t, x: t.max_pool2d(x, 2), "image", jax=_pool_jax(-np.inf, "max", 1)),
    Case("max_pool2d 3, stride 2", lambda t, x: t.max_pool2d(x, 3, 2), "image", jax=False),
    Case("max_pool2d with indices", lambda t, x: t.max_pool2d(x, 2, return_indices=True), "image", jax=False),
    Case("avg_pool2d", lambda t, x: t.avg_pool2d(x, 2), "image", jax=_pool_jax(0.0, "add", 0.25)),
    Case("adaptive_avg_pool2d", lambda t, x: t.adaptive_avg_pool2d(x, 4), "image", jax=lambda t, x: x.reshape(16, 64, 4, 8, 4, 8).mean((3, 5))),
    Case("lp_pool2d", lambda t, x: t.lp_pool2d(x, 2.0, 2), "image", jax=False),
    *[Case(f"interpolate {m}", lambda t, x, m=m: t.interpolate(x[:4], scale_factor=2, mode=m), "image", jax=lambda t, x, j=j: _resized(t, x, j))
      for m, j in (("nearest", "nearest"), ("bilinear", "bilinear"), ("bicubic", ""))],
    Case("grid_sample", lambda t, x, g: t.grid_sample(x, g, align_corners=False), "image grid", jax=False),
    Case("attention", lambda t, q, k, v: t.scaled_dot_product_attention(q, k, v), "heads heads2 heads3", jax=_attention_jax),
    Case("local_response_norm", lambda t, x: t.local_response_norm(x, 5), "image", jax=False),
]  # fmt: skip


def _resized(t: Any, x: Any, method: str) -> Any:
    if not method:
        raise NotImplementedError("another cubic")
    import jax  # only where it is installed

    return jax.image.resize(x[:4], (4, 64, 64, 64), method)


def gradient(case_name: str, arguments: tuple[int, ...] = (0,), weighted: bool = False) -> Case:
    """The case of this name with its gradient; the mean of squares where its result is no number."""
    case = next(c for c in [*ELEMENTWISE, *REDUCTIONS, *INDEXING, *PRODUCTS, *NETWORKS] if c.name == case_name)

    def total(call: Any) -> Any:
        return call and (lambda t, *a: (call(t, *a) ** 2).mean())

    calls = {k: getattr(case, k) if weighted else total(getattr(case, k)) for k in ("call", "plait", "torch", "jax")}
    return Case(f"{case_name}, gradient", inputs=case.inputs, gradient=arguments, tolerance=1e-3, **calls)


GRADIENTS = [
    *[gradient(n, weighted=True) for n in ("cross_entropy", "nll_loss", "mse_loss", "smooth_l1_loss", "kl_div",
                                           "binary_cross_entropy", "binary_cross_entropy_with_logits", "var of all")],
    *[gradient(n) for n in ("gelu", "softmax axis 1", "log_softmax axis 1", "logsumexp 1024x1024, axis 1", "amax 1024x1024, axis 1",
                            "cumsum 1024x1024, axis 1", "max_pool2d", "avg_pool2d", "gather axis 1", "index_select axis 0",
                            "interpolate bilinear", "cdist p=2", "norm axis 1", "x[i]", "tanh", "softplus")],
    *[gradient(n, (0, 1, 2)) for n in ("layer_norm", "batch_norm", "group_norm", "attention")],
    *[gradient(n, (0, 1)) for n in ("rms_norm", "conv2d 3x3", "conv2d depthwise", "grid_sample", "matmul 512", "linear", "atan2")],
    gradient("embedding", (1,)),
]  # fmt: skip

LINALG = [
    *[Case(f"linalg.{n} {size}", lambda t, a, n=n: getattr(t.linalg, n)(a), i, tolerance=2e-3)
      for n in ("cholesky", "inv", "det", "slogdet", "eigvalsh", "svdvals", "pinv") for size, i in (("512", "spd512"), ("1000x32x32", "spd32"))],
    *[Case(f"linalg.{n} {size}", lambda t, a, n=n, k=k: abs(getattr(t.linalg, n)(a)[k]), i, tolerance=2e-3)
      for n, k in (("qr", 1), ("eigh", 0), ("svd", 1)) for size, i in (("512", "spd512"), ("1000x32x32", "spd32"))],
    Case("linalg.solve 512", lambda t, a, b: t.linalg.solve(a, b), "spd512 s512", tolerance=2e-3),
    Case("linalg.solve 1000x32x32", lambda t, a, b: t.linalg.solve(a, b), "spd32 r32", tolerance=2e-3),
    Case("linalg.solve_triangular 512", lambda t, a, b: t.linalg.solve_triangular(a, b, upper=True), "spd512 s512",
         jax=lambda t, a, b: _jax_triangular(a, b), tolerance=2e-3),
    Case("linalg.matrix_power 512", lambda t, a: t.linalg.matrix_power(a, 5), "spd512", tolerance=2e-3),
    Case("linalg.matrix_norm 512", lambda t, a: t.linalg.matrix_norm(a), "s512"),
    Case("linalg.lstsq 512", lambda t, a, b: t.linalg.lstsq(a, b)[0], "spd512 s512", tolerance=5e-3),
    Case("matrix_exp 512", lambda t, a: t.linalg.matrix_exp(a * 0.1), "spd512", jax=lambda t, a: _jax_expm(a * 0.1), tolerance=2e-3),
]  # fmt: skip


def _jax_triangular(a: Any, b: Any) -> Any:
    import jax  # only where it is installed

    return jax.scipy.linalg.solve_triangular(a, b, lower=False)


def _jax_expm(a: Any) -> Any:
    import jax  # only where it is installed

    return jax.scipy.linalg.expm(a)


FOURIER = [
    *[Case(f"fft.{n} {label}", lambda t, x, n=n: getattr(t.fft, n)(x), i, tolerance=1e-3)
      for n, label, i in (("fft", "1M", "z"), ("rfft", "1M", "x"), ("fft", "1024x1024", "mz"), ("rfft", "1024x1024", "m"), ("fft2", "1024x1024", "mz"), ("irfft", "1024x1024", "mz"))],
    Case("stft", lambda t, x: t.stft(x, 512, 256, window=t.hann_window(512), return_complex=True), "x", jax=False, tolerance=1e-3),
]  # fmt: skip


def draw(name: str, call: Call, jax: Any, names: str = "none", plait: Call | None = None) -> Case:
    def seeded(t: Any, *a: Any) -> Any:
        return jax(t, t.key(0), *a)

    return Case(f"random {name}", call, names, jax=seeded if jax else False, plait=plait, drawn=True)


RANDOM = [
    draw("uniform", lambda t, _: t.rand(N), lambda t, k, _: t.uniform(k, (N,), t.float32)),
    draw("normal", lambda t, _: t.randn(N), lambda t, k, _: t.modules[-1].normal(k, (N,), t.float32)),
    draw("randint", lambda t, _: t.randint(0, 1000, (N,)), lambda t, k, _: t.randint(k, (N,), 0, 1000)),
    draw("permutation", lambda t, _: t.randperm(N), lambda t, k, _: t.permutation(k, N)),
    draw("bernoulli", lambda t, p: t.bernoulli(p), lambda t, k, p: t.bernoulli(k, p), "part"),
    draw("poisson", lambda t, p: t.poisson(p), lambda t, k, p: t.poisson(k, p), "positive"),
    draw("gamma", None, lambda t, k, p: t.gamma(k, p, dtype=t.float32), "positive", plait=lambda t, p: t.random.gamma(t.random.key(0), p)),
    draw("exponential", None, lambda t, k, _: t.exponential(k, (N,), t.float32), plait=lambda t, _: t.random.exponential(t.random.key(0), (N,))),
    draw("multinomial", lambda t, p: t.multinomial(p, 1), lambda t, k, p: t.categorical(k, t.log(p))[:, None], "simplex"),
    draw("dropout", lambda t, x: t.dropout(x, 0.3), lambda t, k, x: t.where(t.modules[-1].bernoulli(k, 0.7, x.shape), x / 0.7, 0), "x"),
]  # fmt: skip

CASES = [
    *ELEMENTWISE, *REDUCTIONS, *SORTING, *INDEXING, *MOVEMENT, *PRODUCTS, *NETWORKS, *GRADIENTS, *LINALG, *FOURIER, *RANDOM,
]  # fmt: skip
