"""The benchmark suite: the same work in plait, PyTorch, JAX and TensorFlow, side by side.

Run as `python benchmarks/suite.py [--quick] [--cases REGEX] [--peers torch,jax] [--output benchmarks/suite]`. Peers may
live in other environments: `--torch-python`, `--jax-python`, `--tf-python`, or the environment variables
PLAIT_BENCH_TORCH, PLAIT_BENCH_JAX, PLAIT_BENCH_TF; those that are not found are left out.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import select
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import suite_report
from cases import Case, cases
from suite_functional import Counting
from suite_machine import description, floor

FOLDER = Path(__file__).parent
FRAMEWORKS = {"plait": "plait", "torch": "torch", "torch.compile": "torch", "jax": "jax", "tf": "tensorflow"}
CONTENDERS = ("plait jit", "plait", *suite_report.PEERS)


class WorkerError(Exception):
    """A worker did not do what it was asked."""

    def __init__(self, text: str, skipped: bool = False) -> None:
        super().__init__(text)
        self.skipped = skipped


class Worker:
    """The process of one contender; it is started anew where it had to be stopped."""

    def __init__(self, contender: str, python: str, threads: int, environment: dict[str, str], log: Any) -> None:
        self.contender, self.command = contender, [python, str(FOLDER / "suite_worker.py"), contender, str(threads)]
        numbers = {f"{name}_NUM_THREADS": str(threads) for name in ("OMP", "MKL", "OPENBLAS", "PLAIT")}
        quiet = {"TF_CPP_MIN_LOG_LEVEL": "2", "CUDA_VISIBLE_DEVICES": "", "JAX_PLATFORMS": "cpu"}
        path = os.pathsep.join([str(FOLDER.parent), *filter(None, [os.environ.get("PYTHONPATH")])])
        self.environment = {**os.environ, **numbers, **quiet, **environment, "PYTHONPATH": path}
        self.log, self.process, self.version = log, None, ""
        self.start()

    def start(self) -> None:
        self.process = subprocess.Popen(
            self.command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.log, env=self.environment,
            start_new_session=True,
        )  # fmt: skip
        self.version = self.answer(120)["version"]

    def ask(self, timeout: float, **request: Any) -> dict[str, Any]:
        """Send a request and return the answer.

        Raises:
            WorkerError: it failed, or took longer than `timeout` seconds.
        """
        if self.process is None:
            self.start()
        self.process.stdin.write(json.dumps(request).encode() + b"\n")
        self.process.stdin.flush()
        return self.answer(timeout)

    def answer(self, timeout: float) -> dict[str, Any]:
        ready, _, _ = select.select([self.process.stdout], [], [], timeout)
        line = self.process.stdout.readline() if ready else b""
        if not line:
            self.stop()
            raise WorkerError("it ended" if ready else f"no answer within {timeout:.0f} s")
        found = json.loads(line)
        if "error" in found:
            raise WorkerError(found["error"], found["skipped"])
        return found

    def stop(self) -> None:
        if self.process is not None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
            self.process = None


def close_enough(got: np.ndarray, want: np.ndarray, tolerance: float) -> str | None:
    """Return how an array differs from another by more than a tolerance relative to the largest element, or None."""
    if got.shape != want.shape:
        return f"shape {got.shape}, plait has {want.shape}"
    got, want = (a.astype(np.float64) for a in (got, want))
    scale = max(1e-30, np.abs(want[np.isfinite(want)]).max(initial=0.0))
    with np.errstate(invalid="ignore"):
        error = np.abs(got - want)
    wrong = ~((error <= tolerance * scale) | (got == want) | (np.isnan(got) & np.isnan(want)))
    if not wrong.any():
        return None
    worst = np.nanmax(np.where(wrong, error, 0)) / scale
    return f"differs from plait in {wrong.sum()} of {wrong.size}, by {worst:.1e} of the largest"


def compare(case: Case, files: dict[str, str], runs: dict[str, dict[str, Any]]) -> None:
    """Compare all results with those of plait, and note where they differ."""
    if "plait jit" not in files:
        return
    ours = np.load(files["plait jit"])
    for name, file in files.items():
        theirs = np.load(file)
        pairs = zip(theirs.values(), ours.values(), strict=False)
        found = [d for a, b in pairs if (d := close_enough(a, b, case.tolerance))]
        if len(theirs.files) != len(ours.files):
            found = [f"{len(theirs.files)} results, plait has {len(ours.files)}"]
        if found:
            runs[name]["error"] = found[0]


def work(case: Case, tiny: bool) -> tuple[float, float]:
    """Return the FLOPs and bytes of a step: those given, or counted in what the case does."""
    sizes = case.all_sizes(tiny)
    given = [x(**sizes) if callable(x) else x for x in (case.flops, case.traffic)]
    if None in given:
        kit = Counting()
        case.jax(kit, **sizes)()
        given = [counted if x is None else x for x, counted in zip(given, (kit.flops, kit.traffic), strict=True)]
    return float(given[0]), float(given[1])


def measure(case: Case, workers: dict[str, Worker], options: argparse.Namespace) -> dict[str, dict[str, Any]]:
    """Run a case in all workers, in turns; returns what was found for each."""
    rounds, turn = (3, 0.05) if options.quick else (options.rounds, options.turn)
    runs: dict[str, dict[str, Any]] = {}
    files: dict[str, str] = {}
    with tempfile.TemporaryDirectory() as folder:
        for name, worker in workers.items():
            output = os.path.join(folder, f"{name}.npz")
            environment = {"PLAIT_CACHE_DIR": os.path.join(folder, name)} if not options.keep_caches else {}
            try:
                runs[name] = worker.ask(
                    options.timeout, op="begin", case=case.name, tiny=options.tiny, output=output,
                    environment=environment,
                )  # fmt: skip
                files[name] = output
            except WorkerError as error:
                runs[name] = {"error": str(error), "skipped": error.skipped}
        compare(case, files, runs)
        times: dict[str, list[float]] = {name: [] for name in files}
        for _ in range(rounds):
            for name in list(times):
                try:
                    times[name] += workers[name].ask(options.timeout, op="run", seconds=turn)["times"]
                except WorkerError as error:
                    runs[name]["error"] = str(error)
                    del times[name], files[name]
        for name, found in times.items():
            # what differs is no peer, and its time says nothing
            key = "median_s" if "error" not in runs[name] else "median_of_other_result_s"
            runs[name] |= {key: statistics.median(found), "best_s": min(found), "steps": len(found)}
            runs[name] |= workers[name].ask(60, op="end")
    return runs


def start(options: argparse.Namespace, caches: str) -> dict[str, Worker]:
    """Start the workers of the frameworks that are installed."""
    pythons = {"plait": sys.executable, **{p: getattr(options, f"{p}_python") for p in ("torch", "jax", "tf")}}
    environment = {} if options.keep_caches else {"TORCHINDUCTOR_CACHE_DIR": caches}
    log = open(options.log, "w") if options.log else subprocess.DEVNULL  # noqa: SIM115 - as long as the workers
    wanted = ["plait jit", "plait", *options.peers.split(",")] if options.peers else ["plait jit", "plait"]
    workers = {}
    for name in wanted:
        framework = name.split(" ")[0]
        python = pythons[framework.split(".")[0]]
        probe = f"import importlib.util, sys; sys.exit(importlib.util.find_spec({FRAMEWORKS[framework]!r}) is None)"
        path = {**os.environ, "PYTHONPATH": str(FOLDER.parent)}
        if subprocess.run([python, "-c", probe], env=path, check=False).returncode:
            print(f"{name} is not installed in {python}", file=sys.stderr)
            continue
        workers[name] = Worker(name, python, options.threads, environment, log)
    return workers


def parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--cases", default="", help="regular expression that is searched in the names of cases")
    parser.add_argument("--peers", default=",".join(suite_report.PEERS), help="of the peers, separated by commas")
    for peer in ("torch", "jax", "tf"):
        default = os.environ.get(f"PLAIT_BENCH_{peer.upper()}") or sys.executable
        parser.add_argument(f"--{peer}-python", default=default, help=f"interpreter that has {FRAMEWORKS[peer]}")
    parser.add_argument("--threads", type=int, default=2, help="of every framework, on as many processors (2)")
    parser.add_argument("--rounds", type=int, default=9, help="turns of each contender (9)")
    parser.add_argument("--turn", type=float, default=0.3, help="seconds of a turn (0.3)")
    parser.add_argument("--timeout", type=float, default=600, help="seconds that a first call or a turn may take")
    parser.add_argument("--quick", action="store_true", help="three turns of 0.05 s, to see where one stands")
    parser.add_argument("--tiny", action="store_true", help="tiny sizes, to see that all runs and agrees")
    parser.add_argument(
        "--keep-caches", action="store_true", help="compile from the usual caches: first calls are warm"
    )
    parser.add_argument("--output", default=str(FOLDER / "suite"), help="beginning of the names of .md, .png and .json")
    parser.add_argument("--json", help="name of the JSON file, if it is to be another")
    parser.add_argument("--log", help="file for what the workers print")
    parser.add_argument("--list", action="store_true", help="print the names of the cases")
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> int:
    """Run the suite; returns how many cases failed in plait or differ somewhere."""
    options = parse(arguments)
    chosen = [c for c in cases() if re.search(options.cases, c.name)]
    if options.list:
        print("\n".join(c.name for c in chosen))
        return 0
    with tempfile.TemporaryDirectory() as caches:
        workers = start(options, caches)
        try:
            result = run(chosen, workers, options)
        finally:
            for worker in workers.values():
                worker.stop()
    write(result, options)
    return sum(bool(suite_report.remarks(r)) for r in result["cases"])


def run(chosen: list[Case], workers: dict[str, Worker], options: argparse.Namespace) -> dict[str, Any]:
    """Measure the machine and all cases; the results so far are written after each case."""
    result: dict[str, Any] = {
        "machine": description(options.threads),
        "date": time.strftime("%Y-%m-%d"),
        "versions": {FRAMEWORKS[n.split(" ")[0]]: w.version for n, w in workers.items()},
        "peaks": workers["plait jit"].ask(300, op="peaks"),
        "cases": [],
    }
    for case in chosen:
        flops, traffic = work(case, options.tiny)
        row = {"name": case.name, "flops": flops, "traffic": traffic, "dtype": case.dtype, "training": case.training}
        row["floor_s"] = floor(result["peaks"], flops, traffic, case.dtype)
        row["runs"] = measure(case, workers, options)
        result["cases"].append(row)
        print(suite_report.line(row), *suite_report.remarks(row), sep="\n  ", flush=True)
        write(result, options, draw=False)
    # once more, lest something else kept the machine busy at the start
    again = workers["plait jit"].ask(300, op="peaks")
    result["peaks"] = {k: {n: max(v, again[k][n]) for n, v in rates.items()} for k, rates in result["peaks"].items()}
    for row in result["cases"]:
        row["floor_s"] = floor(result["peaks"], row["flops"], row["traffic"], row["dtype"])
    return result


def write(result: dict[str, Any], options: argparse.Namespace, draw: bool = True) -> None:
    """Write the table, the figures as JSON, and the plot."""
    Path(options.output + ".md").write_text(suite_report.table(result))
    Path(options.json or options.output + ".json").write_text(json.dumps(result, indent=1) + "\n")
    if draw and result["cases"]:
        suite_report.plot(result, options.output + ".png")


if __name__ == "__main__":
    sys.exit(min(main(), 100))
