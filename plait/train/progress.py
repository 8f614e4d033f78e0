"""Progress of training: a bar with rich or tqdm, or a line for each epoch where there is no terminal."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Any

from plait.core.errors import ArgumentError, message
from plait.train.callbacks import Callback, Scalars, epoch_length

if TYPE_CHECKING:
    from plait.train.trainer import Trainer

_INTERVAL = 0.1  # seconds between two looks at the loss


class ProgressBar(Callback):
    """Shows the progress of each epoch, with the remaining time, the loss and the metrics.

    In a terminal or a notebook it is a bar, drawn by rich or else tqdm, which in the end gives way to a line of text;
    without these packages, or where the output goes to a file, there are only the lines.

    Args:
        style: "rich", "tqdm" or "lines"; None takes the first one that is possible.

    Raises:
        ArgumentError: an unknown style.

    Example:
        >>> bar = plait.train.ProgressBar("lines")
    """

    def __init__(self, style: str | None = None) -> None:
        if style not in (None, *_BARS):
            raise ArgumentError(message("There is no such progress bar", repr(style), f"one of {tuple(_BARS)}"))
        self.style = style
        self._bar: Any = None
        self._last = 0.0

    def on_fit_start(self, trainer: Trainer) -> None:
        """Choose how progress is shown."""
        self._style = self.style or _possible_style()

    def on_epoch_start(self, trainer: Trainer) -> None:
        """Begin a bar."""
        last = "" if trainer.epochs is None else str(trainer.first_epoch + trainer.epochs)
        self._label = f"epoch {trainer.epoch + 1:{len(last)}}" + (last and f"/{last}")
        self._begin(trainer)

    def _begin(self, trainer: Trainer) -> None:
        total = epoch_length(trainer)
        if trainer.max_steps is not None:
            left = trainer.first_step + trainer.max_steps - trainer.step
            end = trainer.batch + left * trainer.steps.accumulate
            total = end if total is None else min(total, end)
        self._bar = _BARS[self._style](self._label, total, trainer.batch)
        self._last = time.monotonic()

    def on_step_end(self, trainer: Trainer) -> None:
        """Move the bar, a few times a second."""
        now = time.monotonic()
        if now - self._last >= _INTERVAL:
            self._last = now
            self._bar.show(trainer.batch, f"loss {trainer.look():.4f}" if self._bar.is_live else "")

    def on_validation_end(self, trainer: Trainer, scalars: Scalars) -> None:
        """Show the results of a validation that does not go with the epochs."""
        if trainer.validate_every is not None:
            last = "" if trainer.max_steps is None else str(trainer.first_step + trainer.max_steps)
            self._end()
            print(f"step {trainer.step:{len(last)}}{last and f'/{last}'}  {_text(scalars)}", flush=True)
            self._begin(trainer)

    def on_epoch_end(self, trainer: Trainer, scalars: Scalars) -> None:
        """Show the results of the epoch."""
        self._end()
        print(f"{self._label}  {_text(scalars)}  {scalars['seconds']:.1f} s", flush=True)

    def on_fit_end(self, trainer: Trainer) -> None:
        """Say why training ended early."""
        self._end()
        if trainer.stop_reason is not None:
            print(f"stopped in epoch {len(trainer.history)}: {trainer.stop_reason}")

    def _end(self) -> None:
        if self._bar is not None:
            self._bar.end()
            self._bar = None


def _text(scalars: Scalars) -> str:
    hidden = ("epoch", "step", "batch", "seconds")
    return "  ".join(f"{name} {value:.4f}" for name, value in scalars.items() if name not in hidden)


def _possible_style() -> str:
    is_notebook = "ipykernel" in sys.modules
    if not is_notebook and not sys.stdout.isatty():
        return "lines"
    for style in ("rich", "tqdm"):
        try:
            __import__(style)
        except ImportError:
            continue
        return style
    return "lines"


class _Lines:
    """Nothing until the epoch ends."""

    is_live = False

    def __init__(self, label: str, total: int | None, done: int) -> None:
        pass

    def show(self, count: int, text: str) -> None:
        pass

    def end(self) -> None:
        pass


class _Tqdm:
    """A bar of tqdm, in terminals and notebooks."""

    is_live = True

    def __init__(self, label: str, total: int | None, done: int) -> None:
        from tqdm.auto import tqdm

        form = "{desc} {bar:20} {n_fmt}/{total_fmt} [{elapsed}<{remaining}]{postfix}" if total else None
        self.bar = tqdm(total=total, initial=done, desc=label, unit="step", bar_format=form, mininterval=0, leave=False)

    def show(self, count: int, text: str) -> None:
        self.bar.set_postfix_str(text, refresh=False)
        self.bar.update(count - self.bar.n)

    def end(self) -> None:
        self.bar.close()


class _Rich:
    """A bar of rich."""

    is_live = True

    def __init__(self, label: str, total: int | None, done: int) -> None:
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        count, rest, text = MofNCompleteColumn(), TimeRemainingColumn(compact=True), TextColumn("{task.fields[text]}")
        self.progress = Progress(TextColumn("{task.description}"), BarColumn(20), count, rest, text, transient=True)
        self.task = self.progress.add_task(label, total=total, completed=done, text="")
        self.progress.start()

    def show(self, count: int, text: str) -> None:
        self.progress.update(self.task, completed=count, text=text)

    def end(self) -> None:
        self.progress.stop()


_BARS: dict[str, Any] = {"lines": _Lines, "tqdm": _Tqdm, "rich": _Rich}
