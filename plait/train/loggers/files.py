"""Logs as plain files: CSV and JSON lines."""

from __future__ import annotations

import csv
import json
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from plait.train.loggers.logger import Logger


class CSVLogger(Logger):
    """A table with a row for each time something is logged, and a column for each name.

    Args:
        path: the file; one that exists is continued if `append`, else replaced.
        append: see `path`.

    Example:
        >>> logger = plait.train.CSVLogger("log.csv")
        >>> logger.log(1, {"loss": 0.5})
        >>> logger.log(2, {"loss": 0.25, "accuracy": 1.0})
        >>> print(logger.path.read_text())
        step,loss,accuracy
        1,0.5,
        2,0.25,1.0
        <BLANKLINE>
    """

    def __init__(self, path: str | os.PathLike[str], append: bool = False) -> None:
        self.path = Path(path)
        self._names: list[str] = []
        self.path.parent.mkdir(parents=True, exist_ok=True)
        if append and self.path.exists():
            with self.path.open(newline="", encoding="utf-8") as file:
                self._names = next(csv.reader(file), [])
        else:
            self.path.write_text("", encoding="utf-8")

    def log(self, step: int, scalars: Mapping[str, float]) -> None:
        """Add a row; a new name adds a column to the whole table."""
        new = [name for name in ("step", *scalars) if name not in self._names]
        rows: list[dict[str, Any]] = []
        if new:
            with self.path.open(newline="", encoding="utf-8") as file:
                rows = list(csv.DictReader(file))
            self._names += new
        with self.path.open("w" if new else "a", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, self._names, restval="", lineterminator="\n")
            if new:
                writer.writeheader()
            writer.writerows([*rows, {"step": step, **scalars}])


class JSONLLogger(Logger):
    """A file with a JSON object on a line for each time something is logged; numbers that are not finite are strings.

    Args:
        path: the file; one that exists is continued if `append`, else replaced.
        append: see `path`.

    Example:
        >>> logger = plait.train.JSONLLogger("log.jsonl")
        >>> logger.log(1, {"loss": 0.5})
        >>> logger.log_text(1, "sample", "To be")
        >>> print(logger.path.read_text())
        {"step": 1, "loss": 0.5}
        {"step": 1, "sample": "To be"}
        <BLANKLINE>
    """

    def __init__(self, path: str | os.PathLike[str], append: bool = False) -> None:
        self.path = Path(path)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        if not append:
            self.path.write_text("", encoding="utf-8")

    def log(self, step: int, scalars: Mapping[str, float]) -> None:
        """Add a line."""
        self._write({"step": step, **{name: _finite(value) for name, value in scalars.items()}})

    def log_text(self, step: int, name: str, text: str) -> None:
        """Add a line with a text."""
        self._write({"step": step, name: text})

    def log_hparams(self, hparams: Mapping[str, Any], metrics: Mapping[str, float] | None = None) -> None:
        """Add a line with the options and results of the run."""
        self._write({"hparams": {k: _finite(v) for k, v in hparams.items()}, "metrics": dict(metrics or {})})

    def _write(self, entry: Mapping[str, Any]) -> None:
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(entry, ensure_ascii=False) + "\n")


def _finite(value: Any) -> Any:
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value
