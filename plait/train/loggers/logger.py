"""`Logger`: the one interface to all that keeps what was measured."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np

from plait.core.errors import ArgumentError, ShapeError, message
from plait.tensor.creation import as_tensor
from plait.train.callbacks import Callback, Scalars

if TYPE_CHECKING:
    from plait.train.trainer import Trainer


_NOT_LOGGED = ("step", "batch", "loss")


class Logger(Callback):
    """Base class of loggers: a callback of `Trainer.fit`, or called by hand.

    In `fit` each `log_every` steps log the mean loss as "loss", and each epoch its mean as "epoch_loss", metrics, and
    the results of the validation ("val_loss", …). A logger is flushed after each epoch, and in the end.
    """

    is_logger = True

    def log(self, step: int, scalars: Mapping[str, float]) -> None:
        """Log numbers by name."""
        raise NotImplementedError(f"{type(self).__name__}.log")

    def log_image(self, step: int, name: str, image: Any) -> None:
        """Log an image: [height, width], [channels, height, width]; uint8, or floats from 0 to 1."""
        self._refuse("images")

    def log_histogram(self, step: int, name: str, values: Any, bins: int = 64) -> None:
        """Log how the elements of a tensor are distributed."""
        self._refuse("histograms")

    def log_text(self, step: int, name: str, text: str) -> None:
        """Log text."""
        self._refuse("text")

    def log_graph(self, model: Any, *inputs: Any) -> None:
        """Log the graph of what a model computes for some inputs."""
        self._refuse("graphs")

    def log_hparams(self, hparams: Mapping[str, Any], metrics: Mapping[str, float] | None = None) -> None:
        """Log the options of a run (numbers, bools, strings), and its results."""
        self._refuse("hyperparameters")

    def flush(self) -> None:
        """Bring to disk what was logged."""

    def close(self) -> None:
        """End the log; the next entry begins another one."""

    def _refuse(self, what: str) -> NoReturn:
        text = f"{type(self).__name__} keeps no {what}"
        raise ArgumentError(message(text, fix="use another logger for these, e.g. TensorBoardLogger"))

    # as a callback

    def on_log(self, trainer: Trainer, scalars: Scalars) -> None:
        """Log the loss of the last steps."""
        self.log(trainer.step, scalars)

    def on_validation_end(self, trainer: Trainer, scalars: Scalars) -> None:
        """Log the results of a validation, where these do not go with the epochs."""
        if trainer.validate_every is not None:
            self.log(trainer.step, {name: value for name, value in scalars.items() if name not in _NOT_LOGGED})
            self.flush()

    def on_epoch_end(self, trainer: Trainer, scalars: Scalars) -> None:
        """Log the results of the epoch."""
        renamed = {("epoch_loss" if name == "loss" else name): value for name, value in scalars.items()}
        self.log(trainer.step, {name: value for name, value in renamed.items() if name != "step"})
        self.flush()

    def on_fit_end(self, trainer: Trainer) -> None:
        """Flush."""
        self.flush()


def array_of(values: Any) -> np.ndarray[Any, Any]:
    """Return the values of a tensor as an array that NumPy can compute with."""
    array = as_tensor(values).detach()
    return array.to("float32").numpy() if array.dtype.name == "bfloat16" else array.numpy()


def pixels_of(image: Any) -> np.ndarray[Any, Any]:
    """Return an image as uint8 [height, width, channels].

    Raises:
        ShapeError: it is none.
    """
    array = array_of(image)
    if array.ndim == 2:
        array = array[None]
    if array.ndim != 3 or array.shape[0] not in (1, 3, 4):
        expected = "[height, width], or [channels, height, width] with 1, 3 or 4 channels"
        raise ShapeError(message("This is no image", f"shape {array.shape}", expected))
    if array.dtype.kind == "f":
        array = np.rint(np.clip(np.nan_to_num(array), 0, 1) * 255)
    return np.ascontiguousarray(array.transpose(1, 2, 0)).astype(np.uint8)
