"""Callbacks: what happens around the steps of `Trainer.fit`."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, MutableMapping
from typing import TYPE_CHECKING, Any

import numpy as np

from plait.core.errors import ArgumentError, ArgumentTypeError, check_function, message
from plait.train.batches import count_of

if TYPE_CHECKING:
    from plait.train.trainer import Trainer

Scalars = MutableMapping[str, float]
HOOKS = (
    "on_fit_start", "on_epoch_start", "on_step_end", "on_log", "on_validation_end", "on_epoch_end", "on_fit_end",
)  # fmt: skip


class Callback:
    """Base class of callbacks: a subclass defines those of the hooks that it needs.

    A hook may read and change everything of the trainer; `trainer.stop(reason)` ends `fit` after the current step.

    Example:
        >>> class Greet(plait.train.Callback):
        ...     def on_epoch_end(self, trainer, scalars):
        ...         print(trainer.epoch, sorted(scalars))
        >>> model = plait.nn.Linear(2, 1)
        >>> trainer = plait.train.Trainer(
        ...     model, plait.optim.SGD(model.parameters(), lr=0.1), plait.nn.functional.mse_loss)
        >>> history = trainer.fit((plait.ones(4, 2), plait.ones(4, 1)), progress=False, callbacks=[Greet()])
        1 ['epoch', 'loss', 'seconds', 'step']
    """

    def state_dict(self) -> dict[str, Any]:
        """Return what a checkpoint keeps of the callback."""
        return {}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Continue from what `state_dict` returned; called after `on_fit_start`."""

    def on_fit_start(self, trainer: Trainer) -> None:
        """`fit` begins."""

    def on_epoch_start(self, trainer: Trainer) -> None:
        """An epoch begins; `trainer.epoch` counts those that are complete."""

    def on_step_end(self, trainer: Trainer) -> None:
        """A batch was trained on; its loss has not been looked at yet."""

    def on_log(self, trainer: Trainer, scalars: Scalars) -> None:
        """`log_every` batches were trained on: `scalars` has the mean loss of these, and may be added to."""

    def on_validation_end(self, trainer: Trainer, scalars: Scalars) -> None:
        """A validation ended: `scalars` has its results (`val_…`) and the mean loss of the batches since the last."""

    def on_epoch_end(self, trainer: Trainer, scalars: Scalars) -> None:
        """An epoch ended: `scalars` has loss, metrics and those of the validation (`val_…`), and may be added to."""

    def on_fit_end(self, trainer: Trainer) -> None:
        """`fit` ends; also when by an error."""


class LambdaCallback(Callback):
    """A callback made of functions.

    Args:
        hooks: functions by the name of the hook, with the arguments of that hook.

    Raises:
        ArgumentError: there is no such hook.

    Example:
        >>> callback = plait.train.LambdaCallback(on_fit_end=lambda trainer: print(trainer.step))
    """

    def __init__(self, **hooks: Callable[..., Any]) -> None:
        for name, function in hooks.items():
            if name not in HOOKS:
                raise ArgumentError(message("There is no such hook", name, f"one of {HOOKS}"))
            check_function(function, name)
            setattr(self, name, function)


class Monitor(Callback):
    """Base class of callbacks that follow one number of the epochs, or with `validate_every` of the validations.

    Args:
        monitor: its name, such as "val_loss"; None takes "val_loss" if there is validation, else "loss".
        mode: whether the "min" or the "max" is best.
        min_delta: by how much a number has to be better to count.

    Raises:
        ArgumentError: an unknown mode.
    """

    def __init__(self, monitor: str | None, mode: str, min_delta: float = 0.0) -> None:
        if mode not in ("min", "max"):
            raise ArgumentError(message("mode says what is best", repr(mode), '"min" or "max"'))
        self.monitor, self.mode, self.min_delta = monitor, mode, abs(min_delta)
        self.best: float | None = None

    def name_in(self, scalars: Scalars) -> str:
        """Return the name of the number.

        Raises:
            ArgumentError: it is not among those of the epoch.
        """
        name = self.monitor or ("val_loss" if "val_loss" in scalars else "loss")
        if name not in scalars:
            text = f"{type(self).__name__} follows a number that was not measured"
            fix = "pass validation= to fit, or monitor="
            raise ArgumentError(message(text, repr(name), f"one of {sorted(scalars)}", fix))
        return name

    def look(self, trainer: Trainer, scalars: Scalars) -> None:
        """Look at the numbers of an epoch or a validation."""
        raise NotImplementedError(f"{type(self).__name__}.look")

    def on_validation_end(self, trainer: Trainer, scalars: Scalars) -> None:
        """Look at the validation, where these do not go with the epochs."""
        if trainer.validate_every is not None:
            self.look(trainer, scalars)

    def on_epoch_end(self, trainer: Trainer, scalars: Scalars) -> None:
        """Look at the epoch."""
        if trainer.validate_every is None:
            self.look(trainer, scalars)

    def is_better(self, value: float) -> bool:
        """Note a value; returns whether it is the best so far."""
        gain = math.inf if self.best is None else (self.best - value) * (1 if self.mode == "min" else -1)
        if not math.isnan(value) and gain > self.min_delta:
            self.best = value
            return True
        return False


class EarlyStopping(Monitor):
    """Stop when a number has not become better for some epochs, or with `validate_every` for some validations.

    Args:
        monitor: its name; None takes "val_loss" if there is validation, else "loss".
        patience: after how many of them without a better one training stops.
        mode: whether the "min" or the "max" is best.
        min_delta: by how much a number has to be better to count.
        restore_best: whether the model gets back its weights of the best epoch in the end.

    Raises:
        ArgumentError: an unknown mode, or a name that the epochs do not have.

    Example:
        >>> callback = plait.train.EarlyStopping("val_accuracy", mode="max", patience=3)
    """

    def __init__(
        self, monitor: str | None = None, patience: int = 5, mode: str = "min", min_delta: float = 0.0,
        restore_best: bool = True,
    ) -> None:  # fmt: skip
        super().__init__(monitor, mode, min_delta)
        self.patience, self.restore_best = patience, restore_best
        self.waited = 0
        self.weights: dict[str, Any] | None = None

    def state_dict(self) -> dict[str, Any]:
        """Return the best value, since when there was none better, and the weights."""
        return {"best": self.best, "waited": self.waited, "weights": self.weights}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Continue from what `state_dict` returned."""
        self.best, self.waited, self.weights = (state_dict[name] for name in ("best", "waited", "weights"))

    def on_fit_start(self, trainer: Trainer) -> None:
        """Begin anew."""
        self.best, self.waited, self.weights = None, 0, None

    def look(self, trainer: Trainer, scalars: Scalars) -> None:
        """Note the number, and stop if it is time."""
        name = self.name_in(scalars)
        if self.is_better(scalars[name]):
            self.waited = 0
            if self.restore_best:
                parts = {key: part.state_dict() for key, part in trainer.models().items()}
                self.weights = {k: {n: np.array(v.numpy()) for n, v in part.items()} for k, part in parts.items()}
        else:
            self.waited += 1
            if self.waited >= self.patience:
                best = "a number" if self.best is None else f"{self.best:.6g}"
                times = "epochs" if trainer.validate_every is None else "validations"
                trainer.stop(f"{name} has not become better than {best} for {self.patience} {times}")

    def on_fit_end(self, trainer: Trainer) -> None:
        """Give the model its best weights."""
        if self.weights is not None:
            for key, part in trainer.models().items():
                part.load_state_dict(self.weights[key])
            self.weights = None


class TerminateOnNaN(Callback):
    """Stop when a loss is not finite; looked at every `log_every` steps.

    Example:
        >>> callback = plait.train.TerminateOnNaN()
    """

    def on_log(self, trainer: Trainer, scalars: Scalars) -> None:
        """Look at the losses since the last time."""
        losses = trainer.history.losses[-trainer.log_every :]
        wrong = [k for k, loss in enumerate(losses) if not math.isfinite(loss)]
        if wrong:
            batch = len(trainer.history.losses) - len(losses) + wrong[0] + 1
            trainer.stop(f"the loss of batch {batch} is {losses[wrong[0]]}")


class TimeLimit(Callback):
    """Stop after some time.

    Args:
        seconds: how long `fit` may take, up to the end of a step.

    Example:
        >>> callback = plait.train.TimeLimit(seconds=3600)
    """

    def __init__(self, seconds: float) -> None:
        self.seconds, self.start = seconds, 0.0

    def on_fit_start(self, trainer: Trainer) -> None:
        """Note the time."""
        self.start = time.monotonic()

    def on_step_end(self, trainer: Trainer) -> None:
        """Look at the clock."""
        if time.monotonic() - self.start >= self.seconds:
            trainer.stop(f"the time limit of {self.seconds:g} s is reached")


class LearningRateMonitor(Callback):
    """Add the learning rate to what is logged: "lr", or "lr_0", "lr_1", … for several groups of parameters.

    Example:
        >>> callback = plait.train.LearningRateMonitor()
    """

    def on_log(self, trainer: Trainer, scalars: Scalars) -> None:
        """Add the rates."""
        groups = trainer.optimizer.param_groups
        for k, group in enumerate(groups):
            scalars["lr" if len(groups) == 1 else f"lr_{k}"] = float(group["lr"])

    on_epoch_end = on_log


class Checkpoint(Monitor):
    """Save the whole state of training, and continue from it.

    Args:
        manager: what saves: a `CheckpointManager`, or anything with `save(step, state, metric=None)` and `restore()`.
        every: how many steps are between checkpoints; None saves at the end of each epoch, or with `validate_every`
            after each validation. In either case a last one is saved at the end of `fit`, unless that ends by an error.
        monitor: the number that says which is best; None takes "val_loss" if there is validation, else "loss".
        resume: whether `fit` continues from the latest checkpoint, if there is one.

    Example:
        >>> manager = plait.train.CheckpointManager("run", keep_last=2)
        >>> callback = plait.train.Checkpoint(manager, every=1000)
    """

    def __init__(self, manager: Any, every: int | None = None, monitor: str | None = None, resume: bool = True) -> None:
        for name in ("save", "restore"):
            if not callable(getattr(manager, name, None)):
                text = "Checkpoint needs something that saves and restores"
                fix = 'pass plait.train.CheckpointManager("folder")'
                raise ArgumentTypeError(message(text, f"{type(manager).__name__} without {name}", None, fix))
        super().__init__(monitor, "min")
        self.manager, self.every, self.resume = manager, every, resume
        self.saved: int | None = None
        self.metric: float | None = None

    def on_fit_start(self, trainer: Trainer) -> None:
        """Continue from the latest checkpoint."""
        self.saved = self.metric = None
        if self.resume:
            try:
                state = self.manager.restore()
            except FileNotFoundError:
                return
            trainer.load_state_dict(state)
            self.saved = trainer.step

    def on_step_end(self, trainer: Trainer) -> None:
        """Save after every so many steps."""
        if self.every is not None and trainer.step % self.every == 0:
            self._save(trainer)

    def look(self, trainer: Trainer, scalars: Scalars) -> None:
        """Save after the epoch or the validation."""
        self.metric = scalars[self.name_in(scalars)]
        if self.every is None:
            self._save(trainer)

    def on_fit_end(self, trainer: Trainer) -> None:
        """Save where training ended, and wait until it is written."""
        self._save(trainer)
        if hasattr(self.manager, "wait"):
            self.manager.wait()

    def _save(self, trainer: Trainer) -> None:
        if trainer.is_between_steps and trainer.step != self.saved:
            self.saved = trainer.step
            self.manager.save(trainer.step, trainer.state_dict(), metric=self.metric)


def epoch_length(trainer: Trainer) -> int | None:
    """Return how many batches the current epoch has, if that is known."""
    total = count_of(trainer.batches)
    limit = trainer.steps_per_epoch
    return limit if total is None else total if limit is None else min(total, limit)
