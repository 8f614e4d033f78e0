"""Throughput of the data loader, beside that of torch where it is installed: `python benchmarks/data.py`."""

from __future__ import annotations

import importlib.util
import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from plait import data

COUNT = 20_000
ROUNDS = 5


class Images:
    """Small images that are flipped and normalized one by one."""

    def __init__(self) -> None:
        self.images = np.random.default_rng(0).integers(0, 256, (COUNT, 3, 32, 32), np.uint8)

    def __len__(self) -> int:
        return COUNT

    def __getitem__(self, index: int) -> tuple[np.ndarray[Any, Any], int]:
        image = self.images[index][:, :, :: -1 if index % 2 else 1]
        return (image.astype(np.float32) - 120.0) / 60.0, index % 10


class Tokens:
    """Windows of a long text."""

    def __init__(self) -> None:
        self.text = np.random.default_rng(0).integers(0, 256, COUNT * 64 + 257, np.int64)

    def __len__(self) -> int:
        return COUNT

    def __getitem__(self, index: int) -> np.ndarray[Any, Any]:
        return self.text[index * 64 : index * 64 + 257]


def epoch(loader: Any) -> float:
    """Seconds of one pass."""
    start, batches = time.perf_counter(), 0
    for _ in loader:
        batches += 1
    assert batches == -(-COUNT // 64)
    return time.perf_counter() - start


def loaders(dataset: Any, workers: int) -> dict[str, Callable[[], Any]]:
    options: dict[str, Any] = {"batch_size": 64, "shuffle": True, "num_workers": workers}
    found: dict[str, Callable[[], Any]] = {"plait": lambda: data.DataLoader(dataset, **options)}
    if importlib.util.find_spec("torch") is not None:
        torch = importlib.import_module("torch.utils.data")
        found["torch"] = lambda: torch.DataLoader(dataset, **options)
    return found


def main() -> None:
    print("| Samples | workers | loader | thousand samples a second |\n| --- | --- | --- | --- |")
    for dataset in (Images(), Tokens()):
        for workers in (0, 1, 2):
            made = {name: make() for name, make in loaders(dataset, workers).items()}
            seconds: dict[str, list[float]] = {name: [] for name in made}
            for _ in range(ROUNDS):
                for name, loader in made.items():
                    seconds[name].append(epoch(loader))
            for name, found in seconds.items():
                best, median = COUNT / min(found) / 1e3, COUNT / statistics.median(found) / 1e3
                print(f"| {type(dataset).__name__} | {workers} | {name} | {best:.1f} ({median:.1f}) |", flush=True)


if __name__ == "__main__":
    main()
