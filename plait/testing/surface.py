"""The laws of public functions, checked on the example that each one documents.

The example in a function's docstring is run with a spy in the function's place: the arguments of its call, slightly
perturbed, are the sample on which the laws are checked. So every function that documents an example is covered, and
one that documents none is found.
"""

from __future__ import annotations

import contextlib
import doctest
import io
import re
import tempfile
import types
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

import plait
from plait.core import tree
from plait.core.dtype import COMPLEXES, FLOATS, SIGNED, UNSIGNED, DType, bool_
from plait.core.errors import AbstractValueError, GradientError, PlaitError
from plait.runtime.code import statistics

NAMESPACES = (
    "plait", "plait.linalg", "plait.fft", "plait.special", "plait.signal.windows", "plait.masked", "plait.random",
    "plait.nn.functional",
)  # fmt: skip
LAWS = ("value", "jit", "vmap", "jvp", "vjp", "sizes")
DTYPES = {"bool": (bool_,), "integers": (*SIGNED, *UNSIGNED), "floats": FLOATS, "complex": COMPLEXES}
_STEP = 1e-6
# functions of a symmetric (Hermitian) matrix: its perturbations and its tangents are symmetric too
SYMMETRIC = ("cholesky", "cholesky_ex", "eigh", "eigvalsh")
# arguments through which no derivative flows by definition, by number
CONSTANT = {"ldl_solve": (0,)}
# results that are determined up to a factor only, such as the phase of an eigenvector, and what is determined
DETERMINED = {"eig": lambda values, vectors: [values, vectors[:, None] * vectors.conj()[None]]}
# laws that say nothing of a function, and why
EXEMPT = {
    **dict.fromkeys((("detach", "jvp"), ("detach_copy", "jvp")), "stops derivatives: that of the result is 0"),
    ("from_dlpack", "jvp"): "takes memory, through which no derivative flows",
    ("categorical", "floats"): "draws other numbers for each precision, as jax.random does",
}


class Inapplicable(Exception):  # noqa: N818 - no mistake of anybody
    """A law says nothing of this function; the text tells why."""


class Undocumented(Exception):  # noqa: N818 - as above
    """A function has no example from which a sample could be taken."""


@dataclass
class Sample:
    """A call of a function: the tensors among its arguments, and how to call it with others in their place."""

    name: str
    leaves: list[plait.Tensor]
    call: Callable[..., Any] = field(repr=False)

    @property
    def floats(self) -> list[int]:
        """Numbers of the tensors that may be differentiated."""
        constant = CONSTANT.get(self.name, ())
        return [i for i, x in enumerate(self.leaves) if x.dtype.is_inexact and i not in constant]


def public_functions() -> Iterator[tuple[str, Callable[..., Any]]]:
    """Yield the full name and the function, for each function of tensors in the public namespaces."""
    for namespace in NAMESPACES:
        module = module_of(namespace)
        for name in sorted(getattr(module, "__all__", [n for n in dir(module) if not n.startswith("_")])):
            found = getattr(module, name)
            is_function = callable(found) and not isinstance(found, (type, types.ModuleType, DType))
            if is_function and (getattr(found, "__module__", None) or "plait").startswith("plait"):
                yield f"{namespace}.{name}", found


def module_of(name: str) -> Any:
    """Return a namespace by its dotted name."""
    found: Any = plait
    for part in name.split(".")[1:]:
        found = getattr(found, part)
    return found


def documented_calls(function: Callable[..., Any]) -> list[tuple[tuple[Any, ...], dict[str, Any]]]:
    """Run the example of a function; return the arguments of its calls, under any public name or as a method.

    Raises:
        Undocumented: there is no example that calls the function.
    """
    name = getattr(function, "__name__", "")
    calls: list[tuple[tuple[Any, ...], dict[str, Any]]] = []

    def spy(*args: Any, **kwargs: Any) -> Any:
        calls.append(tree.map_(_copied, (args, kwargs)))  # what the call writes to is kept as it was
        return function(*args, **kwargs)

    example = doctest.DocTestParser().get_doctest(function.__doc__ or "", {"plait": plait, "np": np}, name, None, 0)
    if not example.examples:
        raise Undocumented("no example")
    places = [n.rpartition(".")[::2] for n, f in public_functions() if f is function]
    with contextlib.ExitStack() as stack:
        stack.enter_context(contextlib.redirect_stdout(io.StringIO()))
        stack.enter_context(contextlib.chdir(stack.enter_context(tempfile.TemporaryDirectory())))
        for place, public in places:
            stack.callback(setattr, module_of(place), public, function)
            setattr(module_of(place), public, spy)
        if (method := vars(plait.Tensor).get(name)) in (function, getattr(function, "method", function)):
            stack.callback(setattr, plait.Tensor, name, method)
            setattr(plait.Tensor, name, spy)
        # functions that the example makes are called again later
        doctest.DocTestRunner(verbose=False).run(example, out=lambda text: None, clear_globs=False)
    if not calls:
        raise Undocumented("the example does not call it")
    return calls


def _copied(leaf: Any) -> Any:
    return leaf.detach().clone() if isinstance(leaf, plait.Tensor) else leaf


def sample_of(full_name: str) -> Sample:
    """Return the first call with a tensor in the example of a function.

    Raises:
        Undocumented: there is no example that calls the function.
        Inapplicable: it does not take tensors.
    """
    namespace, _, name = full_name.rpartition(".")
    function = getattr(module_of(namespace), name)
    name = getattr(function, "__name__", name)
    for args, kwargs in documented_calls(function):
        leaves, treedef = tree.flatten((args, kwargs))
        tensors = [i for i, leaf in enumerate(leaves) if isinstance(leaf, plait.Tensor)]
        if tensors:
            return Sample(name, [leaves[i] for i in tensors], _caller(function, name, leaves, tensors, treedef))
    raise Inapplicable("its arguments are no tensors")


def _caller(function: Any, name: str, leaves: list[Any], places: list[int], treedef: Any) -> Callable[..., Any]:
    def call(*tensors: plait.Tensor) -> list[plait.Tensor]:
        filled = list(leaves)
        for place, tensor in zip(places, tensors, strict=True):
            filled[place] = tensor.clone() if name.endswith("_") else tensor
        args, kwargs = tree.unflatten(treedef, filled)
        found = [leaf for leaf in tree.leaves(function(*args, **kwargs)) if isinstance(leaf, plait.Tensor)]
        if not found:
            raise Inapplicable("its result is no tensor")
        return found

    return call


# laws


def check(law: str, sample: Sample, seed: int = 0) -> None:
    """Check one of `LAWS`.

    Raises:
        AssertionError: the law does not hold.
        Inapplicable: it says nothing of this function.
    """
    plait.manual_seed(seed)
    _check_exempt(sample, law)
    if law in ("vmap", "sizes") and is_random(sample):
        raise Inapplicable("draws from the default generator: other numbers for each example")
    try:
        _CHECKS[law](sample, np.random.default_rng(seed))
    except AbstractValueError as error:
        raise Inapplicable("needs values: the result's shape, or Python, depends on them") from error
    except GradientError as error:
        raise Inapplicable(f"no derivative: {_brief(error)}") from error


def _brief(error: Exception) -> str:
    """What an error says happened, without where, and without what was received."""
    return re.sub(r" \(recorded at [^)]*\)", "", str(error).splitlines()[0]).partition(" Received:")[0]


def _check_exempt(sample: Sample, law: str) -> None:
    if (sample.name, law) in EXEMPT:
        raise Inapplicable(EXEMPT[sample.name, law])


def is_random(sample: Sample) -> bool:
    """Whether a call advances the state of the default generator."""
    state = plait.get_rng_state().tolist()
    sample.call(*sample.leaves)
    return bool(plait.get_rng_state().tolist() != state)


def _perturbed(
    sample: Sample, random: Any, dtype: DType | None = None, sizes: tuple[float, ...] = (0.05, -0.05, 0.3, -0.3)
) -> list[plait.Tensor]:
    """The tensors of the sample, the floats a little moved: away from the edges on which examples like to stand.

    The first of `sizes` that leaves all results finite is taken, so that the domain is not left.
    """
    for size in sizes:
        moved = _moved(sample, random, dtype, size)
        if not sample.floats or all(bool(np.isfinite(_array(y)).all()) for y in sample.call(*moved)):
            break
    return moved


def _moved(sample: Sample, random: Any, dtype: DType | None, size: float) -> list[plait.Tensor]:
    moved = []
    for i, x in enumerate(sample.leaves):
        if i not in sample.floats:
            moved.append(x)
            continue
        array = np.array(x.to(_wide(x.dtype)))
        array = array + _symmetric(
            sample, size * random.uniform(0.2, 1.0, array.shape) * np.maximum(np.abs(array), 0.1)
        )
        moved.append(plait.tensor(array, dtype=x.dtype if dtype is None else dtype if not x.dtype.is_complex else None))
    return moved


def _symmetric(sample: Sample, array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    return (array + array.swapaxes(-1, -2).conj()) / 2 if sample.name in SYMMETRIC else array


def _wide(dtype: DType) -> DType:
    return plait.complex128 if dtype.is_complex else plait.float64


def _close(got: Any, want: Any, tolerance: float) -> None:
    assert len(got) == len(want)
    for g, w in zip(got, want, strict=True):
        assert g.shape == w.shape and g.dtype is w.dtype, (g.aval, w.aval)
        _close_arrays(_array(g), _array(w), tolerance)


def _array(x: plait.Tensor) -> np.ndarray[Any, Any]:
    return np.asarray(x.detach().to(_wide(x.dtype)) if x.dtype.is_inexact else x.detach())


def _close_arrays(a: Any, b: Any, tolerance: float) -> None:
    if b.dtype.kind not in "fc":
        assert np.array_equal(a, b), (a, b)
        return
    with np.errstate(all="ignore"):
        scale = np.abs(b[np.isfinite(b)]).max(initial=1.0)
        same = (a == b) | (np.isnan(a) & np.isnan(b)) | (np.abs(a - b) <= tolerance * scale)
    assert same.all(), (a, b)


def _value(sample: Sample, random: Any) -> None:
    sample.call(*sample.leaves)  # its value is checked by the doctest of the example


def _jit(sample: Sample, random: Any) -> None:
    inputs = _perturbed(sample, random)
    plait.manual_seed(0)
    want = sample.call(*inputs)
    plait.manual_seed(0)
    _close(plait.jit(sample.call, strict=True)(*inputs), want, 1e-5)


def _vmap(sample: Sample, random: Any) -> None:
    copies = [_perturbed(sample, random) for _ in range(3)]
    together = [plait.stack(column) for column in zip(*copies, strict=True)]
    got = plait.vmap(sample.call)(*together)
    separate = [sample.call(*c) for c in copies]
    _close(got, [plait.stack(column) for column in zip(*separate, strict=True)], 1e-5)


def _directions(sample: Sample, random: Any, inputs: list[plait.Tensor]) -> list[plait.Tensor]:
    drawn = [(random.standard_normal(inputs[i].shape), inputs[i].dtype) for i in sample.floats]
    return [plait.tensor(_symmetric(sample, array), dtype=dtype) for array, dtype in drawn]


def _of_floats(sample: Sample, inputs: list[plait.Tensor]) -> Callable[..., Any]:
    """The function of the floating-point arguments alone, with its real or complex results."""
    determined = DETERMINED.get(sample.name, lambda *results: results)

    def call(*floats: plait.Tensor) -> list[plait.Tensor]:
        filled = list(inputs)
        for place, x in zip(sample.floats, floats, strict=True):
            filled[place] = x
        plait.manual_seed(0)
        found = [y for y in determined(*sample.call(*filled)) if y.dtype.is_inexact]
        if not found:
            raise Inapplicable("its results are integers or bools")
        return found

    return call


def _with_floats(sample: Sample) -> Sample:
    """The sample; where it has integers only, all of them or the first as floats, if the function takes those."""
    if sample.floats:
        return sample
    integers = [i for i, x in enumerate(sample.leaves) if x.dtype.kind == "i"]
    for replaced in (integers, integers[:1]):
        leaves = [x.to(plait.float64) if i in replaced else x for i, x in enumerate(sample.leaves)]
        try:
            sample.call(*leaves)
        except (PlaitError, TypeError, ValueError):
            continue
        if replaced:
            return Sample(sample.name, leaves, sample.call)
    raise Inapplicable("its arguments are integers or bools")


def _differentiable(sample: Sample, random: Any, *sizes: float) -> tuple[Any, list[plait.Tensor], list[plait.Tensor]]:
    sample = _with_floats(sample)
    inputs = _perturbed(sample, random, plait.float64, sizes)
    function = _of_floats(sample, inputs)
    return function, [inputs[i] for i in sample.floats], _directions(sample, random, inputs)


def _jvp(sample: Sample, random: Any) -> None:
    failure: AssertionError | None = None
    for sizes in ((0.05, -0.05), (0.3, -0.3), (0.01, -0.01)):  # should the first point lie near a kink
        function, floats, directions = _differentiable(sample, random, *sizes)
        _, slopes = plait.jvp(function, tuple(floats), tuple(directions))
        above = function(*[x + _STEP * d for x, d in zip(floats, directions, strict=True)])
        below = function(*[x - _STEP * d for x, d in zip(floats, directions, strict=True)])
        try:
            for slope, high, low in zip(slopes, above, below, strict=True):
                tolerance = 1e-5 if high.dtype in (plait.float64, plait.complex128) else 1.0
                known = ~(np.isinf(_array(high)) & (_array(high) == _array(low)))  # infinities have no difference
                quotient = (_array(high)[known] - _array(low)[known]) / (2 * _STEP)
                _close_arrays(_array(slope)[known], quotient, tolerance)
            return
        except AssertionError as error:
            failure = error
    assert failure is not None
    raise failure


def _vjp(sample: Sample, random: Any) -> None:
    function, floats, directions = _differentiable(sample, random, 0.05, -0.05, 0.3, -0.3)
    results, slopes = plait.jvp(function, tuple(floats), tuple(directions))
    _, pull = plait.vjp(function, *floats)
    weights = [plait.tensor(random.standard_normal(y.shape), dtype=y.dtype) for y in results]
    pulled = pull(weights)
    forward = sum(float(np.sum(np.real(_array(w)) * np.real(_array(s)) + np.imag(_array(w)) * np.imag(_array(s))))
                  for w, s in zip(weights, slopes, strict=True))  # fmt: skip
    backward = sum(float(np.sum(np.real(_array(p)) * np.real(_array(d)) + np.imag(_array(p)) * np.imag(_array(d))))
                   for p, d in zip(pulled, directions, strict=True))  # fmt: skip
    size = max(1.0, abs(forward), *[float(np.abs(_array(s)).max(initial=0)) for s in slopes])
    assert abs(forward - backward) <= 1e-4 * size, (forward, backward)


def _sizes(sample: Sample, random: Any) -> None:
    """Another size of a batch axis needs no new kernels, once two sizes were seen, and the values are right."""
    call = plait.jit(plait.vmap(sample.call), strict=True)
    made = 0
    for count in (2, 3, 5, 4):
        copies = [_perturbed(sample, random) for _ in range(count)]
        batch = [plait.stack(column) for column in zip(*copies, strict=True)]
        plait.sync()
        made = statistics.compiled + statistics.from_cache
        got = call(*batch)
        made = statistics.compiled + statistics.from_cache - made
        separate = [sample.call(*c) for c in copies]
        _close(got, [plait.stack(column) for column in zip(*separate, strict=True)], 1e-5)
    if made:
        raise Inapplicable(f"{made} kernel{'s are' if made > 1 else ' is'} made for each size")


_CHECKS = {"value": _value, "jit": _jit, "vmap": _vmap, "jvp": _jvp, "vjp": _vjp, "sizes": _sizes}


def check_dtypes(sample: Sample, family: str) -> list[str]:
    """Return the dtypes of a family of `DTYPES` that the function takes in place of those of its example.

    Results in another precision are compared with those of the widest of the family.

    Raises:
        AssertionError: a narrower dtype gives another result.
        Inapplicable: the function takes none of them.
    """
    _check_exempt(sample, family)
    if is_random(sample):
        raise Inapplicable("draws from the default generator: other numbers for each dtype")
    accepted, wide, refusal = [], None, ""
    for dtype in reversed(DTYPES[family]):
        operands = sample.floats or range(len(sample.leaves))  # beside floats, integers are positions
        replaced = [x.to(dtype) if i in operands else x for i, x in enumerate(sample.leaves)]
        plait.manual_seed(0)
        try:
            found = [_array(y) for y in sample.call(*replaced)]
        except (PlaitError, TypeError, ValueError) as error:
            refusal = refusal or _brief(error)
            continue
        accepted.append(dtype.name)
        wide = wide or found
        if family in ("floats", "complex"):
            for a, b in zip(found, wide, strict=True):
                _close_arrays(a, b, {16: 0.1, 32: 1e-3}.get(dtype.bits // (2 if family == "complex" else 1), 1e-9))
    if not accepted:
        raise Inapplicable(refusal)
    return accepted[::-1]
