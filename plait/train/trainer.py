"""`Trainer`: the training loop that everybody writes, once: compiled steps, metrics, callbacks, a history."""

from __future__ import annotations

import contextlib
import math
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

import numpy as np

from plait.core import tree
from plait.core.errors import ArgumentError, message
from plait.sampling import get_rng_state, manual_seed, set_rng_state
from plait.tensor.autograd import no_grad
from plait.tensor.creation import as_tensor
from plait.tensor.tensor import Tensor
from plait.train.batches import batches_of, joined, samples_of
from plait.train.callbacks import Callback, epoch_length
from plait.train.history import History
from plait.train.progress import ProgressBar
from plait.train.steps import Steps
from plait.train.tracking import Metrics

_COUNTS = ("step", "epoch", "batch", "first_step", "first_epoch")


class Trainer:
    """Trains, evaluates and applies a model.

    A step of `fit` is this function, compiled by `plait.jit`; `fit` computes, bit for bit, what this loop does:

        def step(batch):
            x, y = batch
            optimizer.zero_grad()
            loss = loss_function(model(x), y)
            loss.backward()
            optimizer.step()
            return loss.detach()

        step = plait.jit(step)
        for epoch in range(epochs):
            for batch in data:
                step(batch)

    With metrics the step also returns `outputs.detach()`.

    Args:
        model: the module.
        optimizer: updates its parameters; needed by `fit`.
        loss: `loss(outputs, targets)` for batches (inputs, targets).
        step: in place of `loss`: `step(model, batch)` returns the loss, (loss, outputs), or (loss, outputs, targets).
        metrics: metrics of outputs and targets: a list, or a dict by name.
        schedule: the learning rate of all groups at each step: `schedule(step)` with step = 0, 1, …, such as those of
            `plait.optim.schedules`; or a scheduler of PyTorch's kind, whose `step()` is called after each step.
        clip_norm: the largest norm of all gradients together; larger ones are scaled down.
        accumulate: over how many batches gradients are averaged before the parameters change.
        amp: the lower dtype of mixed precision, `plait.bfloat16` or `plait.float16` (with a `GradScaler`), or True for
            the first; None computes in the dtypes of the model.
        ema: the decay of a moving average of the parameters, which `evaluate` and `predict` then use.
        jit: whether steps are compiled.
        seed: what the default generator is seeded with before the first step, and the order of arrays; None leaves
            the generator as it is.

    Raises:
        ArgumentError: neither a loss nor a step is given, or both; or an option is out of range.

    Example:
        >>> generator = plait.manual_seed(0)
        >>> model = plait.nn.Linear(3, 1)
        >>> optimizer = plait.optim.SGD(model.parameters(), lr=0.1)
        >>> trainer = plait.train.Trainer(model, optimizer, plait.nn.functional.mse_loss, seed=0)
        >>> x = np.random.default_rng(0).normal(size=(64, 3)).astype(np.float32)
        >>> history = trainer.fit((x, x.sum(1, keepdims=True)), epochs=20, progress=False)
        >>> trainer.evaluate((x, x.sum(1, keepdims=True)))["loss"] < 1e-3
        True
    """

    def __init__(
        self, model: Any, optimizer: Any = None, loss: Callable[..., Any] | None = None, *,
        step: Callable[..., Any] | None = None, metrics: Any = (), schedule: Any = None,
        clip_norm: float | None = None, accumulate: int = 1, amp: Any = None, ema: float | None = None,
        jit: bool = True, seed: int | None = None,
    ) -> None:  # fmt: skip
        self.model, self.optimizer, self.schedule, self.seed = model, optimizer, schedule, seed
        self.metrics = Metrics(metrics, jit)
        self.steps = Steps(
            model, optimizer, loss, step, clip_norm, accumulate, amp, ema, bool(self.metrics), is_compiled=jit
        )  # fmt: skip
        self.history = History()
        self.step = self.epoch = self.batch = self.first_step = self.first_epoch = 0
        self.batches: Any = ()
        self.epochs: int | None = None
        self.steps_per_epoch: int | None = None
        self.max_steps: int | None = None
        self.validate_every: int | None = None
        self.log_every = 10
        self.stop_reason: str | None = None
        self.is_between_steps = True
        self._callbacks: list[Callback] = []
        self._callback_states: Sequence[Any] = ()
        self._waiting: list[Any] = []
        self._total, self._count = 0.0, 0
        self._sizes: list[int] = []
        self._validation: tuple[Any, int] = (None, 32)
        self._validation_metrics = self.metrics.fresh()
        self._is_restored = False

    # training

    def fit(
        self, data: Any, epochs: int | None = None, *, validation: Any = None, batch_size: int = 32,
        shuffle: bool = True, callbacks: Sequence[Callback] = (), progress: bool | Callback = True,
        log_every: int = 10, steps_per_epoch: int | None = None, max_steps: int | None = None,
        validate_every: int | None = None,
    ) -> History:  # fmt: skip
        """Train the model.

        Ctrl-C ends training after the current step, with model and history whole; a second one at once.

        Args:
            data: a `DataLoader`, any iterable of batches, or arrays (x, y). Loaders with `set_epoch` are told which
                epoch begins.
            epochs: how many passes over the data, by default one, or with `max_steps` as many as that takes; a call
                that continues from a checkpoint counts those before it.
            validation: data that is evaluated after each epoch, or by `validate_every`. It changes nothing in training:
                the default generator is left as it was.
            batch_size: of arrays.
            shuffle: whether arrays are shuffled in each epoch.
            callbacks: what else happens; called in this order. Loggers are callbacks.
            progress: whether progress is shown, or a callback that does it.
            log_every: after how many steps losses are looked at and logged.
            steps_per_epoch: ends epochs after so many batches, for data without an end.
            max_steps: ends training after so many steps of the optimizer, also within an epoch; counted as epochs are.
            validate_every: after how many steps of the optimizer `validation` is evaluated, in place of after each
                epoch; and once more in the end. Early stopping and checkpoints then follow these validations.

        Returns:
            The history of all epochs of this trainer.

        Raises:
            ArgumentError: there is no optimizer, an option is out of range, or the data is empty.
            ArgumentTypeError: the data is none.
        """
        given = {"epochs": epochs, "log_every": log_every, "max_steps": max_steps, "validate_every": validate_every}
        self._check_fit(given, validation)
        self.batches = batches_of(data, batch_size, shuffle, self.seed or 0)
        self.steps_per_epoch, self.log_every, self.stop_reason = steps_per_epoch, log_every, None
        self.max_steps, self.validate_every = max_steps, validate_every
        self._validation = validation, batch_size
        bar = [progress] if isinstance(progress, Callback) else [ProgressBar()] if progress else []
        self._callbacks = [*sorted(callbacks, key=lambda c: getattr(c, "is_logger", False)), *bar]
        if self.step == 0 and self.seed is not None:
            manual_seed(self.seed)
        self.first_epoch, self.first_step, self.batch, self._is_restored = self.epoch, self.step, 0, False
        self.epochs = 1 if epochs is None and max_steps is None else epochs
        self._callback_states = ()
        self.is_between_steps = True
        with self._interruptible():
            try:
                self._call("on_fit_start")
                for callback, state in zip(self._callbacks, self._callback_states, strict=False):
                    callback.load_state_dict(state)
                if self._is_restored and not self._is_over:
                    self._forget_extra_validations()
                while not self._is_over:
                    self._train_epoch()
            except BaseException:
                self.is_between_steps = False
                raise
            finally:
                self.look()
                self._call("on_fit_end")
        self.history.stop_reason = self.stop_reason
        return self.history

    def stop(self, reason: str) -> None:
        """End `fit` after the current step; `history.stop_reason` will say why."""
        if self.stop_reason is None:
            self.stop_reason = reason

    def _check_fit(self, given: Mapping[str, int | None], validation: Any) -> None:
        if self.optimizer is None:
            raise ArgumentError(message("fit needs an optimizer", fix="pass Trainer(model, optimizer, loss)"))
        for name, value in given.items():
            if (value is not None or name == "log_every") and (not isinstance(value, int) or value < 1):
                raise ArgumentError(message(f"{name} is a number", repr(value), "an int of at least 1"))
        if given["validate_every"] is not None and validation is None:
            text, received = "There is nothing to validate on", f"validate_every={given['validate_every']}"
            raise ArgumentError(message(text, received, None, "pass validation="))

    @property
    def _is_over(self) -> bool:
        """Whether training has reached its end, or was stopped."""
        are_epochs_done = self.epochs is not None and self.epoch >= self.first_epoch + self.epochs
        return self.stop_reason is not None or are_epochs_done or self._are_steps_done

    @property
    def _are_steps_done(self) -> bool:
        return self.max_steps is not None and self.step >= self.first_step + self.max_steps

    def _call(self, hook: str, *arguments: Any) -> None:
        for callback in self._callbacks:
            getattr(callback, hook)(self, *arguments)

    def _train_epoch(self) -> None:
        if self.batch == 0:
            self._total, self._count = 0.0, 0
            self.metrics.reset()
        start = time.perf_counter()
        self.model.train()
        if hasattr(self.batches, "set_epoch"):
            self.batches.set_epoch(self.epoch)
        self._call("on_epoch_start")
        self._train_batches()
        self.look()
        if self.batch == 0:
            fix = "iterators can be used once: pass a list or a DataLoader; and look at batch_size and drop_last"
            raise ArgumentError(message("The data has no batches", f"in epoch {self.epoch + 1}", "one at least", fix))
        number = self.epoch + 1
        record = {"epoch": number, "step": self.step, "loss": self._total / self._count}
        record.update(_numbers(self.metrics.compute()))
        was_cut = self.stop_reason is not None or self._are_steps_done
        if not was_cut or self.batch == epoch_length(self):
            self.epoch, self.batch = number, 0
        is_last = self.stop_reason is None and self._is_over
        if is_last or self.validate_every is None and (self.stop_reason is None or self.batch == 0):
            found = self._validate(number)
            record.update({} if self.validate_every else found)
        record["seconds"] = time.perf_counter() - start
        self.history.epochs.append(record)
        self._call("on_epoch_end", record)

    def _validate(self, epoch: int) -> dict[str, float]:
        """Evaluate the validation data, if there is any and that was not done after this step; returns its values."""
        known = self.history.validations
        data, batch_size = self._validation
        if data is None or known and known[-1]["step"] == self.step:
            return {}
        self.look()
        state = get_rng_state()
        found = _numbers(self.evaluate(data, batch_size=batch_size))
        set_rng_state(state)
        batch = len(self.history.losses)
        recent = self.history.losses[known[-1]["batch"] if known else 0 :]
        record = {"epoch": epoch, "step": self.step, "batch": batch, "loss": sum(recent) / len(recent)}
        record.update({f"val_{name}": value for name, value in found.items()})
        known.append(record)
        self._call("on_validation_end", record)
        return {name: value for name, value in record.items() if name.startswith("val_")}

    def _forget_extra_validations(self) -> None:
        """Drop those that were made because training ended there, where it goes on now."""
        every, done = self.validate_every, self.epoch
        self.history.validations = [
            v for v in self.history.validations if (v["epoch"] <= done if every is None else v["step"] % every == 0)
        ]

    def _train_batches(self) -> None:
        """Run the steps of an epoch; losses stay tensors until `log_every` of them have come together."""
        run, waiting, sizes, metrics = self.steps.train, self._waiting, self._sizes, self.metrics
        accumulate, log_every, has_metrics = self.steps.accumulate, self.log_every, bool(self.metrics)
        hooks = [callback.on_step_end for callback in self._callbacks]
        hooks = [h for h in hooks if getattr(h, "__func__", h) is not Callback.on_step_end]
        for batch in self._remaining():
            is_last = (self.batch + 1) % accumulate == 0
            if is_last:
                self._set_rate()
            loss, outputs, targets = run(batch, self.batch % accumulate)
            waiting.append(loss)
            sizes.append(samples_of(batch))
            self.batch += 1
            self.is_between_steps = is_last
            if has_metrics:
                metrics.update(outputs, targets)
            if is_last:
                self._advance()
            for hook in hooks:
                hook(self)
            if self.batch % log_every == 0:
                self._log()
            if is_last and (self.stop_reason is not None or self._are_steps_done):
                return
        if not self.is_between_steps:  # the epoch ended before `accumulate` batches had come together
            self._set_rate()
            self.steps.update()
            self.is_between_steps = True
            self._advance()

    def _remaining(self) -> Iterator[Any]:
        """Return the batches of the epoch; after a restart those that were not trained on yet."""
        limit, done = self.steps_per_epoch, self.batch
        if done and hasattr(self.batches, "load_state_dict"):  # it continues where it was
            return islice(self.batches, None if limit is None else limit - done)
        return islice(self.batches, done, limit)

    def _set_rate(self) -> None:
        if callable(self.schedule):
            rate = self.schedule(self.step)
            for group in self.optimizer.param_groups:
                if isinstance(group["lr"], Tensor):
                    group["lr"].fill_(rate)
                else:
                    group["lr"] = rate

    def _advance(self) -> None:
        self.step += 1
        if self.schedule is not None and not callable(self.schedule):
            self.schedule.step()
        if self.validate_every is not None and self.step % self.validate_every == 0:
            self._validate(self.epoch + 1)

    def look(self) -> float:
        """Bring the losses of the steps so far into the history; returns the mean loss of the epoch so far."""
        if self._waiting:
            losses = [float(loss) for loss in self._waiting]
            self._total += float(np.dot(losses, self._sizes))
            self._count += sum(self._sizes)
            self.history.losses += losses
            self._waiting.clear()
            self._sizes.clear()
        return self._total / self._count if self._count else math.nan

    def _log(self) -> None:
        self.look()
        if self.steps.scaler is not None:
            self.steps.scaler.check()
        recent = self.history.losses[-self.log_every :]
        self._call("on_log", {"loss": sum(recent) / len(recent)})

    @contextlib.contextmanager
    def _interruptible(self) -> Iterator[None]:
        """Let Ctrl-C end training between two steps; only the main thread can be interrupted."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        previous = signal.getsignal(signal.SIGINT) or signal.default_int_handler

        def interrupt(number: int, frame: Any) -> None:
            signal.signal(signal.SIGINT, previous)
            self.stop("interrupted")

        signal.signal(signal.SIGINT, interrupt)
        try:
            yield
        finally:
            signal.signal(signal.SIGINT, previous)

    # using the model

    def evaluate(self, data: Any, *, batch_size: int = 32) -> dict[str, Any]:
        """Return the mean loss and the metrics of data, in evaluation mode and without gradients.

        Args:
            data: as for `fit`.
            batch_size: of arrays.

        Returns:
            Values by name: floats, and arrays of metrics that are no number.

        Raises:
            ArgumentError: the data has no batches.
        """
        metrics = self._validation_metrics
        metrics.reset()
        losses, sizes = [], []
        with self._evaluating():
            for batch in batches_of(data, batch_size, False, 0):
                loss, outputs, targets = self.steps.evaluate(batch)
                losses.append(loss)
                sizes.append(samples_of(batch))
                if metrics:
                    metrics.update(outputs, targets)
        if not losses:
            raise ArgumentError(message("The data has no batches", expected="one at least"))
        return {"loss": float(np.average([float(x) for x in losses], weights=sizes)), **metrics.compute()}

    def predict(self, data: Any, *, batch_size: int = 32) -> Any:
        """Return what the model computes for data, in evaluation mode and without gradients.

        Args:
            data: inputs as an array; or as for `fit`: of batches that are tuples or lists the first part is taken.
            batch_size: of arrays.

        Returns:
            The results of all batches, joined along the first axis.

        Raises:
            ArgumentError: the data has no batches.
        """
        with self._evaluating():
            batches = batches_of(data, batch_size, False, 0)
            parts = [self.steps.predict(b[0] if isinstance(b, (tuple, list)) else b) for b in batches]
        if not parts:
            raise ArgumentError(message("The data has no batches", expected="one at least"))
        return tree.map_(as_tensor, joined(parts))

    @contextlib.contextmanager
    def _evaluating(self) -> Iterator[None]:
        modes = [(module, module.training) for module in self.steps.used.modules()]
        self.steps.used.eval()
        try:
            with no_grad():
                yield
        finally:
            for module, mode in modes:
                module.training = mode

    # state

    def state_dict(self) -> dict[str, Any]:
        """Return all that training depends on: of model, optimizer, schedule, generator, data and this object."""
        own = {name: getattr(self, name) for name in _COUNTS}
        self.look()
        totals = {"total": self._total, "count": self._count}
        state = {
            "model": self.model.state_dict(), "optimizer": self.optimizer.state_dict(), "generator": get_rng_state(),
            "trainer": {**own, **totals, "metrics": self.metrics.state_dict(), "history": self.history.state_dict()},
            "callbacks": [callback.state_dict() for callback in self._callbacks],
        }  # fmt: skip
        return state | {name: part.state_dict() for name, part in self._parts().items()}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Continue from a state that `state_dict` returned; within `fit`, from where that was.

        Raises:
            ArgumentError: it is no such state, or that of another model.
        """
        missing = {"model", "optimizer", "generator", "trainer", "callbacks", *self._parts()} - set(state_dict)
        if missing:
            text, fix = "This is no state of such a trainer", "make the trainer with the arguments it was saved with"
            raise ArgumentError(message(text, f"no {', '.join(sorted(missing))}", None, fix))
        self.model.load_state_dict(state_dict["model"])
        self.optimizer.load_state_dict(state_dict["optimizer"])
        for name, part in self._parts().items():
            part.load_state_dict(state_dict[name])
        set_rng_state(state_dict["generator"])
        own = state_dict["trainer"]
        for name in _COUNTS:
            setattr(self, name, own[name])
        self._total, self._count = own["total"], own["count"]
        self.metrics.load_state_dict(own["metrics"])
        self.history.load_state_dict(own["history"])
        self.history.epochs = [record for record in self.history.epochs if record["epoch"] <= self.epoch]
        self._is_restored, self._callback_states = True, state_dict["callbacks"]

    def models(self) -> dict[str, Any]:
        """Return the model, and the averaged one if there is one, by name."""
        return {"model": self.model} | ({} if self.steps.ema is None else {"ema": self.steps.ema})

    def _parts(self) -> dict[str, Any]:
        """The other objects that have a state."""
        parts = {"schedule": self.schedule, "data": self.batches, "ema": self.steps.ema, "scaler": self.steps.scaler}
        return {name: part for name, part in parts.items() if hasattr(part, "load_state_dict")}


def _numbers(values: Mapping[str, Any]) -> dict[str, float]:
    return {name: value for name, value in values.items() if isinstance(value, (int, float))}
