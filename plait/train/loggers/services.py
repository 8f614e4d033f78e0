"""Logs for Weights & Biases and for MLflow, through their own packages."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from plait.core.errors import MissingDependencyError, message
from plait.train.loggers.logger import Logger, array_of, pixels_of


class WandbLogger(Logger):
    """A run of Weights & Biases.

    Args:
        project: the name of the project.
        name: the name of the run; None lets the service choose.
        folder: where files are kept.
        mode: "offline" writes files only (`wandb sync` uploads them later), "online" sends everything.
        options: further arguments of `wandb.init`.

    Raises:
        MissingDependencyError: the package wandb is not installed.

    Example:
        >>> logger = plait.train.WandbLogger("digits", folder="runs")  # doctest: +SKIP
    """

    def __init__(
        self, project: str, name: str | None = None, folder: str | os.PathLike[str] = ".", mode: str = "offline",
        **options: Any,
    ) -> None:  # fmt: skip
        try:
            import wandb
        except ImportError:
            text = message("WandbLogger needs the package wandb", fix='pip install "plait[wandb]"')
            raise MissingDependencyError(text, name="wandb") from None
        Path(folder).mkdir(parents=True, exist_ok=True)
        self._wandb = wandb
        self.run = wandb.init(project=project, name=name, dir=str(folder), mode=mode, **options)

    def log(self, step: int, scalars: Mapping[str, float]) -> None:
        """Log numbers by name."""
        self.run.log(dict(scalars), step=step)

    def log_image(self, step: int, name: str, image: Any) -> None:
        """Log an image: [height, width], [channels, height, width]; uint8, or floats from 0 to 1."""
        self.run.log({name: self._wandb.Image(pixels_of(image).squeeze())}, step=step)

    def log_histogram(self, step: int, name: str, values: Any, bins: int = 64) -> None:
        """Log how the elements of a tensor are distributed."""
        histogram = np.histogram(array_of(values).astype(np.float64), bins)
        self.run.log({name: self._wandb.Histogram(np_histogram=histogram)}, step=step)

    def log_text(self, step: int, name: str, text: str) -> None:
        """Log text."""
        self.run.log({name: self._wandb.Html(f"<pre>{text}</pre>")}, step=step)

    def log_hparams(self, hparams: Mapping[str, Any], metrics: Mapping[str, float] | None = None) -> None:
        """Log the options of the run, and its results."""
        self.run.config.update(dict(hparams), allow_val_change=True)
        self.run.summary.update(dict(metrics or {}))

    def close(self) -> None:
        """End the run."""
        self.run.finish()


class MLflowLogger(Logger):
    """A run of MLflow.

    Args:
        experiment: the name of the experiment, which is made if there is none.
        name: the name of the run; None lets MLflow choose.
        uri: where runs are kept: a folder, which gets a database `mlflow.db`, or the address of a database or server.

    Raises:
        MissingDependencyError: the package mlflow is not installed.

    Example:
        >>> logger = plait.train.MLflowLogger("digits", uri="runs")  # doctest: +SKIP
    """

    def __init__(self, experiment: str, name: str | None = None, uri: str | os.PathLike[str] = "mlruns") -> None:
        try:
            from mlflow import MlflowClient
            from mlflow.entities import Metric
        except ImportError:
            text = message("MLflowLogger needs the package mlflow", fix='pip install "plait[mlflow]"')
            raise MissingDependencyError(text, name="mlflow") from None
        address, place = str(uri), None
        if "://" not in address:
            folder = Path(address).absolute()
            folder.mkdir(parents=True, exist_ok=True)
            address, place = f"sqlite:///{folder / 'mlflow.db'}", (folder / "artifacts").as_uri()
        self.client, self._metric = MlflowClient(tracking_uri=address), Metric
        known = self.client.get_experiment_by_name(experiment)
        number = known.experiment_id if known else self.client.create_experiment(experiment, artifact_location=place)
        self.run_id: str = self.client.create_run(number, run_name=name).info.run_id

    def log(self, step: int, scalars: Mapping[str, float]) -> None:
        """Log numbers by name."""
        now = int(time.time() * 1000)
        metrics = [self._metric(name, float(value), now, step) for name, value in scalars.items()]
        self.client.log_batch(self.run_id, metrics=metrics)

    def log_image(self, step: int, name: str, image: Any) -> None:
        """Log an image: [height, width], [channels, height, width]; uint8, or floats from 0 to 1."""
        self.client.log_image(self.run_id, pixels_of(image), artifact_file=f"{name}_{step}.png")

    def log_text(self, step: int, name: str, text: str) -> None:
        """Log text, as an artifact."""
        self.client.log_text(self.run_id, text, f"{name}_{step}.txt")

    def log_hparams(self, hparams: Mapping[str, Any], metrics: Mapping[str, float] | None = None) -> None:
        """Log the options of the run, and its results."""
        for name, value in hparams.items():
            self.client.log_param(self.run_id, name, value)
        self.log(0, metrics or {})

    def close(self) -> None:
        """End the run."""
        self.client.set_terminated(self.run_id)
