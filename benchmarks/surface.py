"""Speed of the public functions at a million elements: plait, eager and `plait.jit`, beside PyTorch and `jax.jit`.

Run as `python benchmarks/surface.py [pattern ...] [--quick] [--output FILE]`; patterns are parts of the names of cases
(`surface_cases.py` and `surface_networks.py` hold the table). Of the peers those are measured that are installed.
"""

from __future__ import annotations

import argparse
import fnmatch
import importlib
import importlib.util
import statistics
import sys
import time
import traceback
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from surface_inputs import Case, Names, inputs
from surface_networks import CASES

import plait

WANTED = 0.8  # the fastest peer's time over ours: what the project promises
COLUMNS = ("plait", "plait.jit", "torch", "jax")


class Plait:
    """plait, eager: a call and the computation of what it recorded."""

    names = Names(plait.nn.functional, plait, plait.special)

    def tensors(self, arrays: list[Any]) -> list[Any]:
        return [plait.tensor(a) for a in arrays]

    def function(self, case: Case) -> Callable[..., Any]:
        call = case.plait or case.call
        if case.gradient is None:
            return lambda *tensors: call(self.names, *tensors)
        return plait.value_and_grad(lambda *tensors: call(self.names, *tensors), argnums=case.gradient)

    def wait(self, result: Any) -> None:
        plait.sync()

    def array(self, tensor: Any) -> Any:
        return np.asarray(tensor.detach() if tensor.dtype is not plait.bfloat16 else tensor.to(plait.float32))


class Jitted(Plait):
    """plait, compiled ahead: `plait.jit`."""

    def function(self, case: Case) -> Callable[..., Any]:
        if not case.jit:
            raise NotImplementedError("the size of the result depends on values")
        return plait.jit(super().function(case))


class Torch:
    """PyTorch, eager, on the CPU, with its default number of threads."""

    def __init__(self) -> None:
        self.torch = torch = importlib.import_module("torch")
        self.names = Names(torch.nn.functional, torch, torch.special)

    def tensors(self, arrays: list[Any]) -> list[Any]:
        return [self.torch.from_numpy(a.copy()) for a in arrays]

    def function(self, case: Case) -> Callable[..., Any]:
        call = case.torch if case.torch is not None else case.call
        if call is False:
            raise NotImplementedError("not in PyTorch")
        if case.gradient is None:
            return lambda *tensors: call(self.names, *tensors)

        def step(*tensors: Any) -> Any:
            wanted = [tensors[k].detach().requires_grad_() for k in case.gradient]
            every = [wanted[case.gradient.index(k)] if k in case.gradient else t for k, t in enumerate(tensors)]
            value = call(self.names, *every)
            return value.detach(), self.torch.autograd.grad(value, wanted)

        return step

    def wait(self, result: Any) -> None:
        pass

    def array(self, tensor: Any) -> Any:
        return (tensor.float() if tensor.dtype is self.torch.bfloat16 else tensor).resolve_conj().resolve_neg().numpy()


class Jax:
    """JAX on the CPU with 64-bit types, compiled by `jax.jit`; without it where sizes depend on values."""

    def __init__(self) -> None:
        self.jax = jax = importlib.import_module("jax")
        jax.config.update("jax_enable_x64", True)
        modules = [importlib.import_module(f"jax.{m}") for m in ("numpy", "nn", "lax", "scipy.special", "random")]
        self.names = Names(*modules, jax)
        self.names.special, self.names.draws = modules[3:]

    def tensors(self, arrays: list[Any]) -> list[Any]:
        return [self.names.asarray(a) for a in arrays]

    def function(self, case: Case) -> Callable[..., Any]:
        call = case.jax if case.jax is not None else case.call
        if call is False:
            raise NotImplementedError("not in jax")
        function = lambda *tensors: call(self.names, *tensors)  # noqa: E731 - one of two
        if case.gradient is not None:
            function = self.jax.value_and_grad(function, argnums=case.gradient)
        return self.jax.jit(function) if case.jit else function

    def wait(self, result: Any) -> None:
        self.jax.block_until_ready(result)

    def array(self, tensor: Any) -> Any:
        return np.asarray(tensor.astype("float32") if tensor.dtype == "bfloat16" else tensor)


def leaves(result: Any) -> Iterator[Any]:
    if isinstance(result, (tuple, list)):
        for part in result:
            yield from leaves(part)
    else:
        yield result


def check(case: Case, name: str, received: list[Any], expected: list[Any]) -> None:
    """Compare results: numbers to a tolerance relative to the largest, drawn numbers by mean and deviation."""
    for got, want in zip(received, expected, strict=True):
        assert got.shape == want.shape, f"{name}: shape {got.shape}, expected {want.shape}"
        got, want = (a.astype(np.promote_types(a.dtype, np.float64)) for a in (got, want))
        if case.drawn:
            got, want = (np.array([a.mean(), a.std()]) for a in (got, want))
        scale = max(1e-30, float(np.abs(want[np.isfinite(want)]).max(initial=0)))
        tolerance = (0.1 if case.drawn else case.tolerance) * scale
        wrong = ~((np.abs(got - want) <= tolerance) | (got == want) | (np.isnan(got) & np.isnan(want)))
        assert not wrong.any(), (
            f"{name}: {wrong.sum()} of {wrong.size} differ, as {got[wrong][0]} from {want[wrong][0]}"
        )


def measure(case: Case, contenders: dict[str, Any], rounds: int, turn: float) -> dict[str, tuple[float, float]]:
    """Median and best time of a call in microseconds for each contender that has the function; they take turns."""
    runs: dict[str, Callable[[], Any]] = {}
    arrays = inputs(case.inputs)
    results: dict[str, list[Any]] = {}
    for name, contender in contenders.items():
        try:
            function, tensors = contender.function(case), contender.tensors(arrays)
        except NotImplementedError:
            continue

        def run(function: Any = function, tensors: Any = tensors, contender: Any = contender) -> Any:
            result = function(*tensors)
            contender.wait(result)
            return result

        for _ in range(3):  # eager plait fuses what it sees again
            result = run()
        results[name] = [contender.array(t) for t in leaves(result)]
        runs[name] = run
    reference = results["plait"]
    for name, result in results.items():
        check(case, name, result, reference)
    times: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(rounds):
        for name, run in runs.items():
            run()  # the other's threads fall asleep, the inputs come back into the cache
            end = time.perf_counter() + turn
            while True:
                start = time.perf_counter()
                run()
                now = time.perf_counter()
                times[name].append((now - start) * 1e6)
                if now > end:
                    break
    return {name: (statistics.median(t), min(t)) for name, t in times.items()}


def ratio(times: dict[str, tuple[float, float]], name: str) -> float:
    """The fastest peer's best time over ours; not a number where there is no peer or no such run."""
    peers = [times[p][1] for p in ("torch", "jax") if p in times]
    return min(peers) / times[name][1] if peers and name in times else float("nan")


def line(name: str, times: dict[str, tuple[float, float]]) -> str:
    """One row of the Markdown table."""

    def number(us: float) -> str:
        return f"{us:.0f}" if us >= 100 else f"{us:.1f}"

    cells = [f"{number(times[c][0])} ({number(times[c][1])})" if c in times else "" for c in COLUMNS]
    for column in COLUMNS[:2]:
        r = ratio(times, column)
        cells.append("" if r != r else f"{r:.2f}" if r >= WANTED else f"**{r:.2f}**")
    return f"| {name} | {' | '.join(cells)} |"


def table(found: dict[str, dict[str, tuple[float, float]]]) -> str:
    """The results as Markdown: a summary and one row for each case."""
    eager, jitted = ([r for t in found.values() if (r := ratio(t, c)) == r] for c in COLUMNS[:2])
    summary = [
        f"{label}: {sum(r >= WANTED for r in ratios)} of {len(ratios)} functions at {WANTED}x the fastest peer or"
        f" better, median {statistics.median(ratios):.2f}x."
        for label, ratios in (("Eager", eager), ("`plait.jit`", jitted)) if ratios
    ]  # fmt: skip
    head = ["| Function | plait | plait.jit | torch | jax | eager ratio | jit ratio |", "| --- " * 7 + "|"]
    return "\n".join([*summary, "", *head, *[line(name, t) for name, t in found.items()]])


def installed(name: str) -> bool:
    return importlib.util.find_spec(name) is not None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("patterns", nargs="*", help="parts of names, or patterns such as 'sum*', of the cases to run")
    parser.add_argument("--quick", action="store_true", help="few and short rounds, to try things out")
    parser.add_argument("--output", help="write the table to this file too")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    contenders: dict[str, Any] = {"plait": Plait(), "plait.jit": Jitted()}
    contenders |= {name: make() for name, make in (("torch", Torch), ("jax", Jax)) if installed(name)}
    chosen = [c for c in CASES if not options.patterns or any(_matches(c.name, p) for p in options.patterns)]
    rounds, turn = (4, 0.004) if options.quick else (15, 0.02)
    found = {}
    for case in chosen:
        try:
            found[case.name] = measure(case, contenders, rounds, turn)
        except Exception as error:
            traceback.print_exc(limit=-3)
            print(f"| {case.name} | failed: {type(error).__name__}: {str(error).splitlines()[0]} |", flush=True)
            continue
        print(line(case.name, found[case.name]), flush=True)
    text = table(found)
    print("\n" + text)
    if options.output:
        with open(options.output, "w") as file:
            file.write(text + "\n")
    sys.exit(len(found) < len(chosen))


def _matches(name: str, pattern: str) -> bool:
    return fnmatch.fnmatch(name, pattern if any(c in pattern for c in "*?[") else f"*{pattern}*")


if __name__ == "__main__":
    main()
