"""The steps of a trainer: functions of a batch, compiled unless that is not wanted."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from plait.amp import GradScaler, Policy, transform
from plait.core import tree
from plait.core.dtype import as_dtype, bfloat16, float16
from plait.core.errors import ArgumentError, ArgumentTypeError, ShapeError, check_function, message
from plait.nn.utils import clip_grad_norm_
from plait.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from plait.tensor.creation import as_tensor
from plait.tensor.jit import jit
from plait.tensor.tensor import Tensor

Result = tuple[Tensor, Any, Any]


class Steps:
    """The functions that a trainer calls for each batch; the arguments are those of `Trainer`.

    `train` and `evaluate` return the loss, the outputs, and the targets; without `has_metrics` the last two are None,
    and the compiled function returns the loss alone. `used` is the model that `evaluate` and `predict` apply: the
    averaged one, if there is one.
    """

    def __init__(
        self, model: Any, optimizer: Any, loss: Callable[..., Any] | None, step: Callable[..., Any] | None,
        clip_norm: float | None, accumulate: int, amp: Any, ema: float | None, has_metrics: bool, is_compiled: bool,
    ) -> None:  # fmt: skip
        if (loss is None) == (step is None):
            text, fix = "A trainer needs a loss or a step", "pass loss=, or step= for a function of your own"
            raise ArgumentError(message(text, "both" if step else "neither", "one of them", fix))
        check_function(loss or step, "Trainer")
        if not isinstance(accumulate, int) or accumulate < 1:
            raise ArgumentError(message("accumulate is a number of batches", repr(accumulate), "an int of at least 1"))
        if clip_norm is not None and not clip_norm > 0:
            raise ArgumentError(message("clip_norm is the largest norm of the gradients", clip_norm, "above 0"))
        self.model, self.optimizer, self.loss, self.step = model, optimizer, loss, step
        self.clip_norm, self.accumulate, self.has_metrics = clip_norm, accumulate, has_metrics
        average = None if ema is None else get_ema_multi_avg_fn(ema)
        self.ema = None if average is None else AveragedModel(model, multi_avg_fn=average)
        self.used = model if self.ema is None else self.ema.module
        self.scaler = None
        self._forward, self._apply = self._forward_batch, self._predict_batch
        if amp is not None and amp is not False:
            policy = Policy(bfloat16 if amp is True else as_dtype(amp))
            self.scaler = GradScaler() if policy.dtype is float16 else None
            self._forward, self._apply = transform(self._forward, policy), transform(self._apply, policy)
        compiled = jit if is_compiled else lambda function: function
        ends = [(k == 0, k == accumulate - 1) for k in range(accumulate)]
        kinds = {end: compiled(partial(self._train_batch, *end)) for end in dict.fromkeys(ends)}
        self._train = [kinds[end] for end in ends]
        self._evaluate = compiled(self._evaluate_batch)
        self.predict, self.update = compiled(self._apply), compiled(self._update)

    def train(self, batch: Any, number: int) -> Result:
        """Train on batch `number` of a step: the first forgets the old gradients, the last changes the parameters."""
        return self._completed(self._train[number](batch), batch)

    def evaluate(self, batch: Any) -> Result:
        """Compute loss and outputs of a batch."""
        return self._completed(self._evaluate(batch), batch)

    def _completed(self, result: Any, batch: Any) -> Result:
        """Add the targets of a batch where metrics need them and the step did not return any."""
        if not self.has_metrics:
            return result, None, None
        loss, outputs, targets = result
        return loss, outputs, self._targets(batch) if targets is None else targets

    def _train_batch(self, is_first: bool, is_last: bool, batch: Any) -> Any:
        if is_first:
            self.optimizer.zero_grad()
        loss, *rest = self._forward(self.model, batch)
        mean = loss if self.accumulate == 1 else loss / self.accumulate
        (mean if self.scaler is None else self.scaler.scale(mean)).backward()
        if is_last:
            self._update()
        return (loss.detach(), *rest) if rest else loss.detach()

    def _update(self) -> None:
        if self.scaler is not None:
            self.scaler.unscale_(self.optimizer)
        if self.clip_norm is not None:
            clip_grad_norm_(self.model.parameters(), self.clip_norm)
        if self.scaler is None:
            self.optimizer.step()
        else:
            self.scaler.step(self.optimizer)
            self.scaler.update()
        if self.ema is not None:
            self.ema.update_parameters(self.model)

    def _evaluate_batch(self, batch: Any) -> Any:
        found = self._forward(self.used, batch)
        return found if self.has_metrics else found[0]

    def _predict_batch(self, inputs: Any) -> Any:
        return self.used(tree.map_(_tensor, inputs))

    def _forward_batch(self, model: Any, batch: Any) -> tuple[Any, ...]:
        """Return the loss; and, where metrics want them, outputs and targets, detached."""
        batch = tree.map_(_tensor, batch)
        if self.loss is not None:
            inputs, targets = _pair(batch)
            outputs = model(inputs)
            loss, targets = self.loss(outputs, targets), None
        else:
            loss, outputs, targets = _parts(self.step(model, batch), self.has_metrics)
        if not isinstance(loss, Tensor) or loss.ndim:
            received = f"a tensor of shape {loss.shape}" if isinstance(loss, Tensor) else type(loss).__name__
            raise ShapeError(
                message("The loss of a batch is one number", received, "a tensor of rank 0", "take its mean")
            )
        if not self.has_metrics:
            return (loss,)
        return loss, tree.map_(lambda x: x.detach(), outputs), targets

    def _targets(self, batch: Any) -> Any:
        if isinstance(batch, (tuple, list)) and len(batch) > 1:
            return batch[1]
        text, fix = "Metrics need targets", "let step return (loss, outputs, targets)"
        raise ArgumentTypeError(message(text, f"a batch that is a {type(batch).__name__}", None, fix))


def _tensor(value: Any) -> Any:
    return as_tensor(value) if isinstance(value, np.ndarray) else value


def _pair(batch: Any) -> tuple[Any, Any]:
    if not isinstance(batch, (tuple, list)) or len(batch) != 2:
        received = f"{type(batch).__name__} of {len(batch)}" if hasattr(batch, "__len__") else type(batch).__name__
        fix = "pass Trainer(model, optimizer, step=...) with a function step(model, batch) of your own"
        raise ArgumentTypeError(message("With loss= a batch is a pair", received, "(inputs, targets)", fix))
    return batch[0], batch[1]


def _parts(result: Any, has_metrics: bool) -> Result:
    """Return loss, outputs and targets of what a step of the user returned."""
    parts = result if isinstance(result, tuple) else (result,)
    if not 1 <= len(parts) <= 3 or has_metrics and len(parts) == 1:
        expected = "(loss, outputs) or (loss, outputs, targets)" if has_metrics else "the loss"
        raise ArgumentTypeError(message("A step returns its loss", f"{len(parts)} values", expected))
    loss, outputs, targets = (*parts, None, None)[:3]
    return loss, outputs, targets
