"""The benchmark suite runs: every case's plait version at a tiny size, and what judges and shows the results."""

import math
import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parent.parent / "benchmarks"))
import suite
import suite_kits
import suite_machine
import suite_report
from cases import cases

CASES = cases()
PEAKS = {"flops": {"float32": 1e11, "bfloat16": 1e11, "int8": 1e11}, "bandwidth": {"1": 2e10, "64": 1e10}}


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_case(case):
    kit = suite_kits.Plait(compiled=True)
    step = case.build(kit, tiny=True)
    first, second = ([kit.numpy(x) for x in suite_kits.leaves(step())] for _ in range(2))
    assert first and len(first) == len(second)
    assert all(np.isfinite(a).all() for a in [*first, *second])
    if case.training:
        assert second[0] < first[0]  # it learns


@pytest.mark.parametrize("case", [c for c in CASES if c.training], ids=lambda case: case.name)
def test_eager_training_is_that_of_jit(case):
    losses = []
    for compiled in (False, True):
        kit = suite_kits.Plait(compiled)
        step = case.build(kit, tiny=True)
        losses.append([float(kit.numpy(step())) for _ in range(2)])
    assert np.allclose(*losses, rtol=1e-4)


def test_names_are_unique():
    names = [c.name for c in CASES]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_work(case):
    flops, traffic = suite.work(case, tiny=True)
    assert flops >= 0 and traffic >= 0
    if case.flops is None:
        assert flops > 0


def test_counted_work():
    # ResNet-50 takes 4.1 billion multiplications with additions, and BERT-base 86 million parameters beside its tables
    by_name = {c.name: c for c in CASES}
    flops, _ = suite.work(by_name["MLP 784-2048-2048-10, batch 256, Adam"], tiny=False)
    sizes = [784 * 2048, 2048 * 2048, 2048 * 10]
    assert flops == 2 * 256 * (3 * sum(sizes) - sizes[0])
    flops, _ = suite.work(by_name["ResNet-50, 1 x 3 x 224 x 224, inference"], tiny=False)
    assert 8.1e9 < flops < 8.3e9


def test_comparison():
    a = np.array([1.0, 100.0, np.nan, np.inf])
    assert suite.close_enough(a + 1e-3, a, 1e-4) is None
    assert "1 of 4" in suite.close_enough(a * [1, 2, 1, 1], a, 1e-4)
    assert "shape" in suite.close_enough(a[:2], a, 1e-4)


def test_floor():
    assert suite_machine.floor(PEAKS, 1e11, 0) == 1
    assert suite_machine.floor(PEAKS, 0, 2**20) == 2**20 / 2e10
    assert suite_machine.floor(PEAKS, 0, 2**30) == 2**30 / 1e10


def run_of(seconds, **more):
    return {"median_s": seconds, "best_s": seconds, "first_s": 1.0, "peak_mib": 10.0, **more}


def test_table():
    rows = [
        {"name": "one", "floor_s": 1e-3, "runs": {"plait jit": run_of(2e-3), "plait": run_of(8e-3),
                                                  "torch": run_of(4e-3), "jax": run_of(3e-3)}},
        {"name": "two", "floor_s": 1e-3, "runs": {"plait jit": run_of(2e-3), "torch": run_of(1e-3)}},
        {"name": "three", "floor_s": 0.0, "runs": {"plait jit": {"error": "KeyError: 3"}, "jax": run_of(3e-3)}},
    ]  # fmt: skip
    result = {"machine": "a machine", "date": "today", "versions": {"jax": "1"}, "peaks": PEAKS, "cases": rows}
    assert [suite_report.ratio(r) for r in rows[:2]] == [1.5, 0.5]
    assert suite_report.ratio(rows[0], "plait", ("torch",)) == 0.5
    assert math.isnan(suite_report.ratio(rows[2]))
    text = suite_report.table(result)
    assert (
        "| one | 2 ms (2 ms) | 3 ms (3 ms) | jax | 1.50 (1.50) | 8 ms (8 ms) | **0.50** (0.50) | 1 ms | 50% |" in text
    )
    assert "Geometric mean of the ratios: 0.87 in 2 cases, 1 of them" in text
    assert "- three, plait jit: KeyError: 3" in text
