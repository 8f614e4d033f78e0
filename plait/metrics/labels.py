"""What predictions and targets mean: classes, two of them, or several labels for each sample."""

from __future__ import annotations

from typing import Any

from plait.core.dtype import bool_, int64
from plait.core.errors import ArgumentError, ArgumentTypeError, DTypeError, ShapeError, message
from plait.metrics.metric import Metric, State
from plait.tensor.functions import where
from plait.tensor.reductions import argmax
from plait.tensor.tensor import Tensor

TASKS = ("binary", "multiclass", "multilabel")
AVERAGES = ("micro", "macro", "weighted", "none", None)


class Labelled(Metric):
    """Base class of metrics of predicted classes.

    Args:
        num_classes: how many classes (or labels) there are; None takes it from the scores.
        task: "multiclass": scores [N, classes, ...] of which the largest wins, or class numbers in the shape of the
            target, which holds class numbers [N, ...]. "binary": scores in the shape of the target (0 or 1); those
            above `threshold` are positive. "multilabel": scores and targets [N, labels], each label on its own.
            None decides by shape and dtype: scores in the shape of the target are binary, else classes.
        threshold: the score above which a label is predicted; 0.5 for probabilities, 0 for logits.
        ignore_index: samples whose target has this value do not count.

    Raises:
        ArgumentError: an unknown task.
    """

    def __init__(
        self, num_classes: int | None = None, task: str | None = None, threshold: float = 0.5,
        ignore_index: int | None = None,
    ) -> None:  # fmt: skip
        check_choice("task", task, (*TASKS, None))
        self.num_classes, self.task, self.threshold, self.ignore_index = num_classes, task, threshold, ignore_index

    def task_of(self, input: Tensor, target: Tensor) -> str:
        """Return the task: as given, or what shape and dtype say."""
        is_binary = input.shape == target.shape and (input.dtype.is_floating or input.dtype is bool_)
        task = self.task or ("binary" if is_binary else "multiclass")
        check_pair(type(self).__name__, input, target, task)
        return task

    def classes_of(self, input: Tensor, target: Tensor) -> int:
        """Return the number of classes.

        Raises:
            ArgumentError: nothing says it.
        """
        if self.num_classes is not None:
            return self.num_classes
        if input.shape == target.shape and not input.dtype.is_floating:
            text = f"{type(self).__name__} cannot tell the number of classes from class numbers"
            raise ArgumentError(message(text, f"input {input.aval}", None, "pass num_classes"))
        return int(input.shape[1])

    def flags(self, input: Tensor, target: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return what is predicted, what is true, and what counts, of binary or multilabel data: bool [N, labels]."""
        counts = target == target if self.ignore_index is None else target != self.ignore_index
        predicted = input > self.threshold if input.dtype.is_floating else input != 0
        labels = input.shape[1] if self.task == "multilabel" else 1
        return tuple(x.reshape(-1, labels) for x in (predicted & counts, (target == 1) & counts, counts))

    def numbers(self, input: Tensor, target: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return vectors of predicted and true class numbers of multiclass data; both are `classes` where a sample

        does not count, and how many targets are no class.
        """
        classes = self.classes_of(input, target)
        predicted = (argmax(input, 1) if input.ndim > target.ndim else input).to(int64).reshape(-1)
        true = target.to(int64).reshape(-1)
        is_known = (true >= 0) & (true < classes) & (predicted >= 0) & (predicted < classes)
        is_counted = is_known if self.ignore_index is None else is_known & (true != self.ignore_index)
        is_wrong = ~is_known if self.ignore_index is None else ~is_known & (true != self.ignore_index)
        return where(is_counted, predicted, classes), where(is_counted, true, classes), is_wrong.sum()

    def strange(self, input: Tensor, target: Tensor) -> Tensor:
        """Return how many targets of binary or multilabel data are neither 0 nor 1."""
        is_strange = (target != 0) & (target != 1)
        return (is_strange if self.ignore_index is None else is_strange & (target != self.ignore_index)).sum()

    def check(self, state: State) -> None:
        """Raise `ArgumentError` if there were class numbers that are no class."""
        count = int(state["unknown"])
        if count:
            text = f"{type(self).__name__} was given class numbers that are no class"
            fix = "check num_classes, the targets, and ignore_index"
            raise ArgumentError(message(text, f"{count} of them", "numbers from 0 to below the number of classes", fix))


def check_choice(name: str, value: Any, choices: tuple[Any, ...]) -> None:
    """Raise `ArgumentError` unless the value of an argument is one of the choices."""
    if value not in choices:
        raise ArgumentError(message(f"There is no such {name}", repr(value), f"one of {choices}"))


def check_pair(what: str, input: Tensor, target: Tensor, task: str) -> None:
    """Check that predictions and targets fit together.

    Raises:
        ShapeError: their shapes do not.
        DTypeError: targets of classes are no integers, or scores of several classes no floats.
    """
    received = f"input {input.shape}, target {target.shape}"
    is_scores = task == "multiclass" and input.shape != target.shape
    if is_scores:
        fits = input.ndim == target.ndim + 1 and (input.shape[0], *input.shape[2:]) == target.shape
        expected = "input [N, classes, ...] and target [N, ...], or both of one shape"
    elif task == "multilabel":
        fits, expected = input.shape == target.shape and input.ndim == 2, "input and target [N, labels]"
    else:
        fits, expected = input.shape == target.shape, "input and target of one shape"
    if not fits:
        raise ShapeError(message(f"The shapes of {what} do not fit together", received, expected))
    if task == "multiclass" and (target.dtype.is_inexact or not is_scores and input.dtype.is_inexact):
        text = f"{what} takes class numbers"
        fix = "convert with .to(plait.int64), or pass the task"
        raise DTypeError(message(text, f"input {input.dtype.name}, target {target.dtype.name}", "integers", fix))
    if is_scores and not input.dtype.is_floating:
        raise DTypeError(message(f"{what} takes scores of each class", input.dtype.name, "floats"))


def check_positive_integer(name: str, value: Any) -> None:
    """Raise an error unless the value of an argument is an integer of at least 1."""
    if not isinstance(value, int) or isinstance(value, bool):
        raise ArgumentTypeError(message(f"{name} is an integer", repr(value)))
    if value < 1:
        raise ArgumentError(message(f"{name} is at least 1", value))
