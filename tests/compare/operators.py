"""PyTorch's own operator samples (the `op_db` of its wheel) run on plait: values, and gradients of the float32 ones.

    python tests/compare/operators.py [names …] [--dtypes float32,int64] [--samples 20] [--methods] [--no-gradients] [-v]

A name may end in `*`. Prints one line for each operator that fails, with its first difference, and a summary.
"""

from __future__ import annotations

import argparse
import fnmatch
import signal
import sys
import traceback
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.testing._internal.common_methods_invocations import op_db

sys.path.insert(0, str(Path(__file__).resolve().parent.parent.parent))
import plait  # noqa: E402
from plait.core.dtype import DType, as_dtype  # noqa: E402

# not operators on dense tensors, or private to PyTorch
OUTSIDE = (
    "jiterator_*", "sparse.*", "torch.ops.*", "torch._*", "_*", "to_sparse", "hash_tensor", "native_*_backward",
    "*_backward", "nn.functional.scaled_grouped_mm", "nn.functional.grouped_mm",
)  # fmt: skip
DUNDER = ("__getitem__", "__radd__", "__rand__", "__rdiv__", "__rmatmul__", "__rmod__", "__rmul__", "__ror__",
          "__rpow__", "__rsub__", "__rxor__")  # fmt: skip
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
}
# unique only up to a phase: the magnitudes are compared
UP_TO_PHASE = ("linalg.eig", "linalg.eigh", "linalg.svd", "svd", "linalg.qr", "qr")
NO_GRADIENT = (*UP_TO_PHASE, "geqrf", "linalg.householder_product")
TOLERANCE = {"float16": 4e-3, "bfloat16": 2e-2, "float32": 1e-4, "complex64": 1e-4, "float64": 1e-7, "complex128": 1e-7}
SECONDS = 60


class Mismatch(AssertionError):
    """The results differ."""


def is_one_of(name: str, patterns: tuple[str, ...]) -> bool:
    return any(fnmatch.fnmatch(name, p) for p in patterns)


def operators(wanted: list[str]) -> Iterator[Any]:
    for op in op_db:
        if (op.name in DUNDER or not is_one_of(op.name, OUTSIDE)) and (not wanted or is_one_of(op.name, tuple(wanted))):
            yield op


def function_of(op: Any, as_method: bool) -> Callable[..., Any] | None:
    """Return plait's function of the same name: in its namespace, else a method."""
    reordered = REORDERED.get(f"{op.name} {op.variant_test_name}".strip())
    if reordered is not None and not as_method:
        return reordered
    if op.name in ("H", "T", "mH", "mT"):
        return lambda x: getattr(x, op.name)
    found: Any = None if as_method else plait
    for part in op.name.split(".") if not as_method else ():
        found = getattr(found, part, None)
    if found is None or isinstance(found, (DType, type(plait))) or op.name == "__getitem__":
        found = getattr(plait.Tensor, op.name.split(".")[-1], None)
    return found


def to_plait(value: Any) -> Any:
    if isinstance(value, torch.Tensor):
        return plait_tensor(value)
    if isinstance(value, torch.dtype):
        return as_dtype(str(value).removeprefix("torch."))
    if isinstance(value, torch.device):
        return str(value)
    if isinstance(value, torch.nn.Module):  # a distance: all of these are of PairwiseDistance
        return lambda x, y: plait.nn.functional.pairwise_distance(x, y, value.norm, value.eps)
    if isinstance(value, torch.Size):
        return tuple(value)
    if isinstance(value, (list, tuple)):
        return type(value)(to_plait(v) for v in value)
    if isinstance(value, dict):
        return {k: to_plait(v) for k, v in value.items() if not isinstance(v, (torch.memory_format, torch.layout))}
    return value


def plait_tensor(value: torch.Tensor) -> Any:
    with torch.no_grad():
        plain = value.detach().resolve_conj().resolve_neg()
        array = plain.float().numpy() if plain.dtype is torch.bfloat16 else plain.numpy()
    result = plait.tensor(np.array(array), dtype=as_dtype(str(value.dtype).removeprefix("torch.")))
    return result.requires_grad_() if value.requires_grad else result


def flat(value: Any) -> list[Any]:
    if isinstance(value, (list, tuple)):
        return [leaf for v in value for leaf in flat(v)]
    return [value]


def array_of(value: Any) -> np.ndarray[Any, Any]:
    if isinstance(value, torch.Tensor):
        value = value.detach().resolve_conj().resolve_neg()
        return value.float().numpy() if value.dtype is torch.bfloat16 else value.numpy()
    if isinstance(value, plait.Tensor):
        return np.asarray(value.detach().to(plait.float32) if value.dtype is plait.bfloat16 else value.detach())
    return np.asarray(value)


def check(got: Any, want: Any, what: str, magnitude: bool = False) -> None:
    found, expected = flat(got), flat(want)
    if len(found) != len(expected):
        raise Mismatch(f"{what}: {len(found)} results, expected {len(expected)}")
    for k, (g, w) in enumerate(zip(found, expected, strict=True)):
        if isinstance(w, torch.dtype):
            w = str(w).removeprefix("torch.")
        elif isinstance(w, torch.Tensor):
            name = str(w.dtype).removeprefix("torch.")
            if not isinstance(g, plait.Tensor) or g.dtype.name != name:
                raise Mismatch(f"{what} [{k}]: {getattr(g, 'dtype', type(g))}, expected {name}")
        check_arrays(array_of(g), array_of(w), f"{what} [{k}]", magnitude, w)


def check_arrays(a: Any, b: Any, what: str, magnitude: bool, want: Any) -> None:
    if a.shape != b.shape:
        raise Mismatch(f"{what}: shape {a.shape}, expected {b.shape}")
    if b.dtype.kind not in "fc":
        if not np.array_equal(a, b):
            raise Mismatch(f"{what}: {a.ravel()[:8]} expected {b.ravel()[:8]}")
        return
    if magnitude:
        a, b = np.abs(a), np.abs(b)
    tolerance = TOLERANCE.get(str(getattr(want, "dtype", "")).removeprefix("torch."), 1e-7)
    with np.errstate(all="ignore"):
        finite = np.abs(b[np.isfinite(b)])
        bound = tolerance * (np.abs(b) + max(1e-1, finite.max(initial=0.0) * 0.1))
        bad = ~((a == b) | (np.isnan(a) & np.isnan(b)) | (np.abs(a - b) <= bound))
    if bad.any():
        at = tuple(np.argwhere(bad)[0])
        raise Mismatch(f"{what}: {int(bad.sum())} of {bad.size} differ, first {a[at]} expected {b[at]} at {at}")


def inputs_of(sample: Any) -> list[torch.Tensor]:
    found = flat([sample.input, list(sample.args), list(sample.kwargs.values())])
    return [t for t in found if isinstance(t, torch.Tensor) and t.requires_grad]


def run_sample(op: Any, function: Callable[..., Any], sample: Any, gradients: bool) -> None:
    """Compare one sample; raises `Mismatch` or whatever the function raised."""
    wanted = op.op(sample.input, *sample.args, **sample.kwargs)
    arguments = to_plait([sample.input, *sample.args])
    keywords = to_plait(sample.kwargs)
    got = function(*arguments, **keywords)
    is_random = is_one_of(op.name, RANDOM) or sample.kwargs.get("dropout_p", 0) > 0
    if not is_random:
        check(got, wanted, "value", is_one_of(op.name, UP_TO_PHASE))
    leaves = inputs_of(sample)
    if not gradients or not leaves or is_random or is_one_of(op.name, NO_GRADIENT):
        return
    generator = torch.Generator().manual_seed(0)
    outputs = [w for w in flat(wanted) if isinstance(w, torch.Tensor) and w.requires_grad]
    mine = [m for m, w in zip(flat(got), flat(wanted), strict=True) if isinstance(w, torch.Tensor) and w.requires_grad]
    if not outputs:
        return
    weights = [torch.randn(w.shape, generator=generator, dtype=w.dtype) for w in outputs]
    expected = torch.autograd.grad(outputs, leaves, weights, allow_unused=True)
    own = [t for t in flat([arguments, list(keywords.values())]) if isinstance(t, plait.Tensor) and t.requires_grad]
    total = sum((m * to_plait(w)).sum().real if m.dtype.is_complex else (m * to_plait(w)).sum()
                for m, w in zip(mine, [w.conj().resolve_conj() for w in weights], strict=True))  # fmt: skip
    total.backward()
    for k, (leaf, e) in enumerate(zip(own, expected, strict=True)):
        zero = torch.zeros_like(leaves[k]) if e is None else e
        grad = leaf.grad if leaf.grad is not None else plait.zeros_like(leaf.detach())
        check(grad, zero.detach(), f"gradient {k}")


def run(op: Any, dtype: torch.dtype, options: argparse.Namespace) -> tuple[int, list[str]]:
    """Return how many samples were run, and a text for each that failed."""
    function = function_of(op, options.methods)
    if function is None:
        return 1, ["absent"]
    differentiable = dtype.is_floating_point or dtype.is_complex
    gradients = (
        options.gradients and differentiable and op.supports_autograd and dtype in op.supported_backward_dtypes("cpu")
    )
    torch.manual_seed(0)
    count, failures = 0, []
    for sample in op.sample_inputs("cpu", dtype, requires_grad=gradients):
        if count >= options.samples:
            break
        count += 1
        try:
            signal.alarm(SECONDS)
            run_sample(op, function, sample, gradients)
        except Exception as error:  # noqa: BLE001 - every failure is reported
            text = f"{type(error).__name__}: {error}".replace("\n", " ")
            shapes = [tuple(t.shape) if isinstance(t, torch.Tensor) else t for t in (sample.input, *sample.args)]
            failures.append(f"{text[:300]} | {str(shapes)[:150]} {str(sample.kwargs)[:150]}")
            if options.verbose:
                traceback.print_exc()
        finally:
            signal.alarm(0)
    return count, failures


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("names", nargs="*")
    parser.add_argument("--dtypes", default="float32")
    parser.add_argument("--samples", type=int, default=1000)
    parser.add_argument("--methods", action="store_true")
    parser.add_argument("--no-gradients", dest="gradients", action="store_false")
    parser.add_argument("--part", default="0/1", help="k/n: only every n-th operator, from the k-th")
    parser.add_argument("-v", "--verbose", action="store_true")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    signal.signal(signal.SIGALRM, lambda *_: (_ for _ in ()).throw(TimeoutError(f"over {SECONDS} s")))
    part, parts = map(int, options.part.split("/"))
    passed = total = samples = good = 0
    for k, op in enumerate(operators(options.names)):
        supported = [d for d in options.dtypes.split(",") if getattr(torch, d) in op.supported_dtypes("cpu")]
        if k % parts != part or not supported or (options.methods and op.method_variant is None):
            continue
        found = [(d, *run(op, getattr(torch, d), options)) for d in supported]
        total += 1
        failures = [(d, f) for d, _, fs in found for f in fs]
        passed += not failures
        samples += sum(n for _, n, _ in found)
        good += sum(n - len(fs) for _, n, fs in found)
        if failures:
            name = f"{op.name} {op.variant_test_name}".strip()
            print(
                f"{name}: {len(failures)} of {sum(n for _, n, _ in found)} fail; {failures[0][0]}: {failures[0][1]}",
                flush=True,
            )
    print(f"{passed} of {total} operators pass; {good} of {samples} samples")


if __name__ == "__main__":
    main()
