"""PyTorch's own operator samples (the `op_db` of its wheel) run on plait: values, and gradients of the floating ones.

    python tests/compare/operators.py [names …] [--dtypes float32,int64] [--samples 20] [--methods | --in-place]

A name may end in `*`. Prints one line for each operator that fails, with its first difference, the differences that
are decisions (`EXPECTED`), and a summary. Results of 16-bit floats are judged by those of the same inputs in float64:
plait's may be twice as far from them as PyTorch's.
"""

from __future__ import annotations

import argparse
import fnmatch
import signal
import sys
import traceback
import warnings
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.testing._internal.common_methods_invocations import op_db

sys.path.insert(0, str(Path(__file__).resolve().parent.parent.parent))
import plait
from plait.core.dtype import DType, as_dtype

# not operators on dense tensors, or private to PyTorch
OUTSIDE = (
    "jiterator_*", "sparse.*", "torch.ops.*", "torch._*", "_*", "to_sparse", "hash_tensor", "native_*_backward",
    "*_backward", "nn.functional.scaled_grouped_mm", "nn.functional.grouped_mm",
)  # fmt: skip
DUNDER = ("__getitem__", "__r*__")
RANDOM = (
    "bernoulli", "cauchy", "empty", "empty_like", "empty_permuted", "empty_strided", "exponential", "geometric",
    "log_normal", "multinomial", "new_empty", "new_empty_strided", "normal", "pca_lowrank", "rand_like", "randint",
    "randint_like", "randn", "randn_like", "svd_lowrank", "uniform", "nn.functional.*dropout*", "nn.functional.rrelu",
    "nn.functional.fractional_max_pool*", "resize_", "resize_as_",
)  # fmt: skip
# the samples of these call a lambda that takes its arguments in another order
REORDERED = {
    "einsum": lambda operands, equation: plait.einsum(equation, *operands),
    "where": lambda x, condition, other: plait.where(condition, x, other),
    "normal in_place": lambda x, mean, std, **options: x.normal_(mean, std, **options),
    "repeat": lambda x, *counts: x.repeat(*counts),
    "zero_": lambda x: x.clone().zero_(),
    "normal number_mean": lambda std, mean, *size, **options: plait.normal(mean, std, *size, **options),
    "nn.functional.embedding": lambda weight, index, **options: plait.nn.functional.embedding(index, weight, **options),
    "nn.functional.embedding_bag": lambda w, x, **options: plait.nn.functional.embedding_bag(x, w, **options),
    "linalg.pinv singular": lambda a, b: plait.linalg.pinv(a @ b.mT),
    "linalg.lstsq grad_oriented": lambda a, b, driver: plait.linalg.lstsq(a, b, driver=driver)[:2],
    "svd_lowrank": lambda a, b, **options: plait.svd_lowrank(a @ b.mT, **options),
    "pca_lowrank": lambda a, b, **options: plait.pca_lowrank(a @ b.mT, **options),
}
# which of equal elements is found is not defined: the elements are compared; with the position of the argument `dim`
TIES = {"argsort": 0, "sort": 0, "topk": 1, "kthvalue": 1, "mode": 0, "median": 0, "nanmedian": 0, "msort": 0}
IN_PLACE_ONLY = ("cauchy", "exponential", "geometric", "log_normal", "uniform")
# unique only up to a phase: the magnitudes are compared; of a singular value decomposition its product
UP_TO_PHASE = ("linalg.eig", "linalg.eigh", "linalg.svd", "svd", "linalg.qr", "qr")
NO_GRADIENT = (*UP_TO_PHASE, "geqrf", "linalg.householder_product")


def without_dim(sample: Any) -> bool:
    return not (sample.args or sample.kwargs.keys() & {"dim", "unbiased"})


def in_gradient(sample: Any, text: str) -> bool:
    return "gradient [" in text


# differences that are decisions: operators; the samples, or the differences, concerned; why
EXPECTED: tuple[tuple[tuple[str, ...], Callable[[Any, str], bool], str], ...] = (
    (("sort", "std", "var"), lambda s, t: without_dim(s) and ("1 results, expected 2" in t or "differ, first" in t),
     "the function without dim is the standard's"),
    (("sum", "prod", "any", "all"), lambda s, t: without_dim(s)
     and ("uint64, expected int64" in t or "bool, expected uint8" in t), "the function has the standard's dtype"),
    (("equal",), lambda s, t: True, "the function is the standard's: element by element"),
    (("squeeze*",), lambda s, t: "Only axes of size 1" in t, "the function is the standard's: that is an error"),
    (("floor_divide", "remainder"), lambda s, t: "inf" in t or "nan" in t, "infinities are the standard's"),
    (("nn.functional.ctc_loss",), in_gradient, "ours is the derivative by log_probs, PyTorch's that by the logits"),
    (("addbmm",), lambda s, t: "in place cannot change the shape" in t, "PyTorch gives the tensor another shape"),
    (("chalf", "complex", "view_as_complex"), lambda s, t: "complex32" in t or "not take float16" in t,
     "there is no complex32"),
    (("einsum",), lambda s, t: "expected int64" in t, "small integers keep their dtype, as in NumPy"),
    (("nn.functional.softmin*", "*margin*loss", "*pairwise_distance", "*trapezoid", "trapz", "scalar_tensor"),
     lambda s, t: torch.uint8 in (getattr(s.input, "dtype", None), s.kwargs.get("dtype")),
     "PyTorch's unsigned integers wrap around"),
    (("cholesky_inverse", "cholesky_solve", "*cholesky*, complex"), in_gradient,
     "PyTorch gives a gradient to the triangle that is not read"),
    (("as_strided_scatter",), in_gradient, "PyTorch's gradients are each those of the other places"),
    (("as_strided partial_views",), lambda s, t: True, "PyTorch reads memory outside the tensor"),
)  # fmt: skip
TOLERANCE = {"float16": 4e-3, "bfloat16": 2e-2, "float32": 1e-4, "complex64": 1e-4, "float64": 1e-7, "complex128": 1e-7}
ROUGH = ("special.bessel_*",)  # PyTorch computes these in float64 to six digits too
EPSILON = {"float16": 1e-3, "bfloat16": 8e-3, "float32": 1.2e-7, "complex64": 1.2e-7}
SECONDS = 60


class Mismatch(AssertionError):
    """The results differ."""


class Inapplicable(Exception):
    """PyTorch does not run this sample."""


def is_one_of(name: str, patterns: tuple[str, ...]) -> bool:
    return any(fnmatch.fnmatch(name, p) for p in patterns)


def operators(wanted: list[str]) -> Iterator[Any]:
    for op in op_db:
        if (is_one_of(op.name, DUNDER) or not is_one_of(op.name, OUTSIDE)) and (
            not wanted or is_one_of(op.name, tuple(wanted))
        ):
            yield op


def functions_of(op: Any, options: argparse.Namespace) -> tuple[Any, Any]:
    """Return PyTorch's function, method or method in place, and plait's; either may be None."""
    if options.in_place:
        name = getattr(op.inplace_variant, "__name__", "")
        if not hasattr(torch.Tensor, name):
            return None, None
        return on_a_copy(op.inplace_variant, RuntimeError), on_a_copy(getattr(plait.Tensor, name, None), ())
    return (op.method_variant, method_of(op)) if options.methods else (op.op, function_of(op))


def on_a_copy(method: Any, refusal: Any) -> Any:
    def call(x: Any, *args: Any, **kwargs: Any) -> Any:
        try:
            return method(x.clone(), *args, **kwargs)
        except refusal as error:  # of another shape or dtype than the tensor that is written to
            raise Inapplicable from error

    return method and call


def method_of(op: Any) -> Any:
    if op.name in ("H", "T", "mH", "mT"):
        return lambda x: getattr(x, op.name)
    return getattr(plait.Tensor, f"{op.name}_" if op.name in IN_PLACE_ONLY else op.name.split(".")[-1], None)


def function_of(op: Any) -> Any:
    """Return plait's function of the same name: in its namespace, else a method."""
    if reordered := REORDERED.get(f"{op.name} {op.variant_test_name}".strip()):
        return reordered
    found: Any = plait
    for part in op.name.split("."):
        found = getattr(found, part, None)
    return (
        method_of(op)
        if found is None or isinstance(found, (DType, type(plait))) or is_one_of(op.name, DUNDER)
        else found
    )


def to_plait(value: Any) -> Any:
    if isinstance(value, torch.Tensor):
        return plait_tensor(value)
    if isinstance(value, torch.dtype):
        return as_dtype(str(value).removeprefix("torch."))
    if isinstance(value, torch.device):
        return str(value)
    if isinstance(value, torch.nn.Module):  # a distance: all of these are of PairwiseDistance
        return lambda x, y: plait.nn.functional.pairwise_distance(x, y, value.norm, value.eps)
    if isinstance(value, (list, tuple)):
        return type(value)(to_plait(v) for v in value)
    if isinstance(value, dict):
        return {k: to_plait(v) for k, v in value.items() if not isinstance(v, (torch.memory_format, torch.layout))}
    return value


def plain(value: torch.Tensor) -> torch.Tensor:
    """Return the tensor without lazy parts and without its history."""
    value = value.detach().resolve_conj().resolve_neg()
    return torch.zeros(value.shape, dtype=value.dtype) if value._is_zerotensor() else value


def plait_tensor(value: torch.Tensor) -> Any:
    result = plait.tensor(np.array(array_of(value)), dtype=as_dtype(str(value.dtype).removeprefix("torch.")))
    return result.requires_grad_() if value.requires_grad else result


def flat(value: Any) -> list[Any]:
    return [leaf for v in value for leaf in flat(v)] if isinstance(value, (list, tuple)) else [value]


def array_of(value: Any) -> np.ndarray[Any, Any]:
    if isinstance(value, torch.Tensor):
        value = plain(value)
        return value.float().numpy() if value.dtype is torch.bfloat16 else value.numpy()
    if isinstance(value, plait.Tensor):
        return np.asarray(value.detach().to(plait.float32) if value.dtype is plait.bfloat16 else value.detach())
    return np.asarray(value)


def check(
    got: Any, want: Any, what: str, wide: Callable[[], list[Any]], only_kind: bool = False, least: float = 0.0
) -> None:
    """Compare results, to a tolerance of `least` at least; where they differ, those of `wide`, in float64, decide."""
    found, expected = flat(got), flat(want)
    if len(found) != len(expected):
        raise Mismatch(f"{what}: {len(found)} results, expected {len(expected)}")
    for k, (g, w) in enumerate(zip(found, expected, strict=True)):
        name = ""
        if isinstance(w, torch.dtype):
            w = str(w).removeprefix("torch.")
        elif isinstance(w, torch.Tensor):
            name = str(w.dtype).removeprefix("torch.")
            if not isinstance(g, plait.Tensor) or g.dtype.name != name:
                raise Mismatch(f"{what} [{k}]: {getattr(g, 'dtype', type(g))}, expected {name}")
        a, b = array_of(g), array_of(w)
        if a.shape != b.shape:
            raise Mismatch(f"{what} [{k}]: shape {a.shape}, expected {b.shape}")
        if only_kind or not (bad := differing(a, b, max(least, TOLERANCE.get(name, 1e-7)))).any():
            continue
        if name in ("float64", "complex128") or is_worse(a, b, array_of(wide()[k]), EPSILON.get(name)):
            at = tuple(map(int, np.argwhere(bad)[0]))
            raise Mismatch(f"{what} [{k}]: {int(bad.sum())} of {bad.size} differ, first {a[at]} not {b[at]} at {at}")


def differing(a: np.ndarray[Any, Any], b: np.ndarray[Any, Any], tolerance: float) -> np.ndarray[Any, Any]:
    """Return where two arrays differ."""
    if b.dtype.kind not in "fc":
        return np.asarray(a != b)
    with np.errstate(all="ignore"):
        finite = np.abs(b[np.isfinite(b)])
        bound = tolerance * (np.abs(b) + max(1e-1, finite.max(initial=0.0) * 0.1))
        return ~((a == b) | (np.isnan(a) & np.isnan(b)) | (np.abs(a - b) <= bound))


def is_worse(a: np.ndarray[Any, Any], b: np.ndarray[Any, Any], exact: np.ndarray[Any, Any], eps: float | None) -> bool:
    """Return whether `a` is more than twice as far from the exact result as `b`, a few epsilons aside."""
    if eps is None or exact.shape != a.shape or exact.dtype.kind not in "fc":
        return True
    with np.errstate(all="ignore"):
        narrow = exact.astype(a.dtype)  # may overflow, as the results may
        own, other = np.abs(a - exact), np.abs(b - exact)
        far = np.max(other[np.isfinite(other)], initial=0.0)
        good = (a == narrow) | (np.isnan(a) & np.isnan(exact)) | (own <= 2 * far + 4 * eps * np.abs(exact))
        return bool((~good & differing(a, b, 0.0)).any())


def comparable(op: Any, sample: Any, result: Any) -> list[Any]:
    """Return of the results what is defined: for ties and phases not all is."""
    found = flat(result)
    if op.name in TIES:
        position = TIES[op.name]
        dim = sample.args[position] if len(sample.args) > position else sample.kwargs.get("dim", -1)
        source = sample.input if any(isinstance(f, torch.Tensor) for f in found) else to_plait(sample.input)
        at = 1 if len(found) == 2 else 0 if op.name == "argsort" else -1
        return [looked_up(source, f, dim) if k == at else f for k, f in enumerate(found)]
    if op.name in ("svd", "linalg.svd") and len(found) == 3:
        u, s, v = found
        v, k = v.mH if op.name == "svd" else v, s.shape[-1]
        return [s, (u[..., :k] * s[..., None, :]) @ v[..., :k, :]]
    return [abs(f) for f in found] if is_one_of(op.name, UP_TO_PHASE) else found


def looked_up(source: Any, result: Any, dim: int) -> Any:
    """Return the elements that positions along an axis name."""
    source = source.detach()
    if 0 in (source.ndim, result.ndim):
        return source.reshape(-1)[result]
    index = result if result.ndim == source.ndim else result.unsqueeze(dim)
    return source.gather(dim, index)


def inputs_of(values: Any) -> list[Any]:
    return [t for t in flat(values) if isinstance(t, (torch.Tensor, plait.Tensor)) and t.requires_grad]


def in_double(value: Any) -> Any:
    """Return a tensor or a dtype in 64-bit floats."""
    if isinstance(value, torch.dtype):
        return torch.complex128 if value.is_complex else torch.float64 if value.is_floating_point else value
    return plain(value).to(in_double(value.dtype)).requires_grad_(value.requires_grad)


def gradients_of(wanted: list[Any], leaves: list[Any], weights: list[Any]) -> list[Any]:
    outputs = [w for w in wanted if w.requires_grad]
    found = torch.autograd.grad(outputs, leaves, weights, allow_unused=True)
    return [torch.zeros_like(leaf) if g is None else g for leaf, g in zip(leaves, found, strict=True)]


def run_sample(op: Any, reference: Any, function: Any, sample: Any, grads: bool) -> None:
    """Compare one sample; raises `Mismatch` or whatever the function raised."""
    wanted = comparable(op, sample, reference(sample.input, *sample.args, **sample.kwargs))
    arguments, keywords = to_plait([sample.input, *sample.args]), to_plait(sample.kwargs)
    got = comparable(op, sample, function(*arguments, **keywords))
    is_random = is_one_of(op.name, RANDOM) or sample.kwargs.get("dropout_p", 0) > 0
    outputs = [w for w in wanted if isinstance(w, torch.Tensor) and w.requires_grad]
    weights = [torch.randn(w.shape, generator=torch.Generator().manual_seed(0), dtype=w.dtype) for w in outputs]

    @cache
    def wide() -> tuple[list[Any], list[Any]]:
        s = sample.transform(in_double)
        values = comparable(op, s, reference(s.input, *s.args, **s.kwargs))
        leaves = inputs_of([s.input, *s.args, *s.kwargs.values()])
        return values, gradients_of(values, leaves, [in_double(w) for w in weights]) if weights else []

    check(got, wanted, "value", lambda: wide()[0], is_random, 1e-5 if is_one_of(op.name, ROUGH) else 0.0)
    leaves = inputs_of([sample.input, *sample.args, *sample.kwargs.values()])
    has_ties = op.name in TIES and sample.input.element_size() == 2
    if not grads or not leaves or not outputs or is_random or has_ties or is_one_of(op.name, NO_GRADIENT):
        return
    expected = gradients_of(wanted, leaves, weights)
    mine = [m for m, w in zip(got, wanted, strict=True) if isinstance(w, torch.Tensor) and w.requires_grad]
    total = sum((m * to_plait(w.conj())).sum().real if m.dtype.is_complex else (m * to_plait(w)).sum()
                for m, w in zip(mine, weights, strict=True))  # fmt: skip
    own = inputs_of([arguments, list(keywords.values())])
    if total.requires_grad:  # else all gradients are zero
        total.backward()
    found = [t.grad if t.grad is not None else plait.zeros_like(t.detach()) for t in own]
    check(found, [e.detach() for e in expected], "gradient", lambda: wide()[1])


def decision(op: Any, sample: Any, text: str, is_function: bool) -> str | None:
    """Return the reason why a sample is expected to differ so, if it is."""
    name = f"{op.name} {op.variant_test_name}".strip()
    name += ", complex" * (isinstance(sample.input, torch.Tensor) and sample.input.is_complex() and "chol" in name)
    for names, when, why in EXPECTED:
        if is_one_of(name, names) and when(sample, text) and (is_function or not why.startswith("the function")):
            return why
    return None


def prepared(op: Any, sample: Any) -> Any:
    """Return the sample without dropout where that is an argument by position."""
    if op.name == "nn.functional.multi_head_attention_forward":
        sample.args = (*sample.args[:9], 0.0, *sample.args[10:])
    return sample


def run(op: Any, dtype: torch.dtype, options: argparse.Namespace) -> tuple[int, list[str], list[str]]:
    """Return how many samples were run, a reason for each expected difference, and a text for each failure."""
    reference, function = functions_of(op, options)
    if function is None:
        return 1, [], ["absent"]
    gradients = options.gradients and op.supports_autograd and dtype in op.supported_backward_dtypes("cpu")
    torch.manual_seed(0)
    count, decided, failures = 0, list[str](), list[str]()
    for sample in op.sample_inputs("cpu", dtype, requires_grad=gradients):
        if count >= options.samples:
            break
        count += 1
        try:
            signal.alarm(SECONDS)
            run_sample(op, reference, function, prepared(op, sample), gradients)
        except Inapplicable:
            count -= 1
        except Exception as error:
            text = f"{type(error).__name__}: {error}".replace("\n", " ")
            if why := decision(op, sample, text, not (options.methods or options.in_place)):
                decided.append(why)
                continue
            shapes = [tuple(t.shape) if isinstance(t, torch.Tensor) else t for t in (sample.input, *sample.args)]
            failures.append(f"{text[:300]} | {str(shapes)[:150]} {str(sample.kwargs)[:150]}")
            if options.verbose:
                traceback.print_exc()
        finally:
            signal.alarm(0)
    return count, decided, failures


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("names", nargs="*")
    parser.add_argument("--dtypes", default="float32")
    parser.add_argument("--samples", type=int, default=1000)
    parser.add_argument("--no-gradients", dest="gradients", action="store_false")
    parser.add_argument("--part", default="0/1", help="k/n: only every n-th operator, from the k-th")
    for flag in (("--methods",), ("--in-place",), ("-v", "--verbose")):
        parser.add_argument(*flag, action="store_true")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    signal.signal(signal.SIGALRM, lambda *_: (_ for _ in ()).throw(TimeoutError(f"over {SECONDS} s")))
    part, parts = map(int, options.part.split("/"))
    passed = total = samples = good = decided = 0
    for k, op in enumerate(operators(options.names)):
        supported = [d for d in options.dtypes.split(",") if getattr(torch, d) in op.supported_dtypes("cpu")]
        if k % parts != part or not supported or functions_of(op, options)[0] is None:
            continue
        found = [(d, *run(op, getattr(torch, d), options)) for d in supported]
        failures = [(d, f) for d, _, _, fs in found for f in fs]
        reasons = [why for _, _, whys, _ in found for why in whys]
        count = sum(n for _, n, _, _ in found)
        total, passed = total + 1, passed + (not failures)
        samples, decided, good = samples + count, decided + len(reasons), good + count - len(reasons) - len(failures)
        name = f"{op.name} {op.variant_test_name}".strip()
        if failures:
            print(f"{name}: {len(failures)} of {count} fail; {failures[0][0]}: {failures[0][1]}", flush=True)
        if reasons:
            print(f"({name}: {len(reasons)} of {count} differ: {reasons[0]})", flush=True)
    print(f"{passed} of {total} operators pass; {good} of {samples} samples, {decided} differ by a decision")


if __name__ == "__main__":
    main()
