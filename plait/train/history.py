"""`History`: what happened in each epoch, as numbers, a table and a drawing."""

from __future__ import annotations

import base64
import html
import io
import os
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from plait.core.errors import ArgumentError, MissingDependencyError, message

_BOTH = ("epoch", "step", "loss")  # names that epochs and validations have
_BLUE, _ORANGE, _INK, _MUTED = "#2f6db3", "#e07b39", "#222222", "#777777"


class History:
    """What happened while training.

    `history["loss"]` is the list of the losses of all epochs, `history["val_accuracy"]` that of a metric in all
    validations; `epochs` has a dict for each epoch, `validations` one for each validation, `losses` the loss of every
    batch, `stop_reason` what ended training early, or None. Table and drawing have a row for each epoch, or for each
    validation where these do not go with the epochs.

    Example:
        >>> history = plait.train.History()
        >>> history.epochs.append({"epoch": 1, "loss": 0.5})
        >>> history["loss"], history.names
        ([0.5], ['loss'])
    """

    def __init__(self) -> None:
        self.epochs: list[dict[str, float]] = []
        self.validations: list[dict[str, float]] = []
        self.losses: list[float] = []
        self.stop_reason: str | None = None

    @property
    def names(self) -> list[str]:
        """The names of what was measured."""
        known = dict.fromkeys(name for record in (*self.epochs, *self.validations) for name in record)
        return [name for name in known if name not in ("epoch", "step", "batch", "seconds")]

    @property
    def _rows(self) -> list[dict[str, float]]:
        """The records of the table: epochs, unless validations were made by themselves."""
        is_by_epoch = len(self.validations) <= sum("val_loss" in record for record in self.epochs)
        return self.epochs if is_by_epoch else self.validations

    @property
    def _unit(self) -> str:
        return "epoch" if self._rows is self.epochs else "step"

    @property
    def _columns(self) -> list[str]:
        return [name for name in self.names if any(name in record for record in self._rows)]

    def __getitem__(self, name: str) -> list[float]:
        records = self.validations if any(name in v for v in self.validations) and name not in _BOTH else self.epochs
        if self.epochs and not any(name in record for record in records):
            raise KeyError(message("The history has no such name", repr(name), f"one of {self.names}"))
        return [record[name] for record in records if name in record]

    def __len__(self) -> int:
        return len(self.epochs)

    def __iter__(self) -> Iterator[dict[str, float]]:
        return iter(self.epochs)

    def state_dict(self) -> dict[str, Any]:
        """Return the content."""
        records = {name: [dict(record) for record in getattr(self, name)] for name in ("epochs", "validations")}
        return {**records, "losses": np.array(self.losses)}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Take the content that `state_dict` returned."""
        self.epochs, self.validations = ([dict(r) for r in state_dict[name]] for name in ("epochs", "validations"))
        self.losses = [float(x) for x in state_dict["losses"]]

    def __repr__(self) -> str:
        if not self.epochs:
            return "History()"
        rows = [[self._unit, *self._columns], *[[str(r[self._unit]), *self._cells(r)] for r in self._rows]]
        widths = [max(len(row[k]) for row in rows) for k in range(len(rows[0]))]
        return "\n".join("  ".join(c.rjust(w) for c, w in zip(row, widths, strict=True)) for row in rows)

    def _cells(self, record: Mapping[str, float]) -> list[str]:
        return [f"{record[name]:.4f}" if name in record else "" for name in self._columns]

    def _repr_html_(self) -> str:
        """What notebooks show: the drawing, if matplotlib is there, and the table."""
        head = "".join(f"<th>{html.escape(name)}</th>" for name in (self._unit, *self._columns))
        rows = [
            "".join(f"<td>{cell}</td>" for cell in (str(record[self._unit]), *self._cells(record)))
            for record in self._rows
        ]  # fmt: skip
        table = f"<table><tr>{head}</tr>" + "".join(f"<tr>{row}</tr>" for row in rows) + "</table>"
        try:
            image = base64.b64encode(self._png()).decode()
        except ImportError:
            return table
        return f'<img alt="curves of training" src="data:image/png;base64,{image}"/>{table}'

    def plot(self, path: str | os.PathLike[str]) -> None:
        """Draw loss and metrics over the epochs, or the steps, to a PNG file.

        Args:
            path: the file.

        Raises:
            ArgumentError: there are no epochs.
            MissingDependencyError: the package matplotlib is not installed.
            OSError: the file cannot be written.
        """
        with open(path, "wb") as file:
            file.write(self._png())

    def _png(self) -> bytes:
        if not self.epochs:
            raise ArgumentError(message("There is nothing to draw", "no epochs", None, "call fit first"))
        try:
            import matplotlib as mpl
            from matplotlib.figure import Figure
        except ImportError:
            text = message("Drawing needs matplotlib", fix='pip install "plait[train]"')
            raise MissingDependencyError(text, name="matplotlib") from None
        panels = [name for name in self.names if not name.startswith("val_") or name[4:] not in self.names]
        style = {"font.size": 10, "text.color": _INK, "axes.labelcolor": _MUTED, "axes.edgecolor": "#cccccc"}
        with mpl.rc_context(style):
            figure = Figure(figsize=(4.7 * len(panels), 3.6), layout="constrained")
            for axes, name in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels, strict=True):
                self._draw(axes, name)
            file = io.BytesIO()
            figure.savefig(file, format="png", dpi=130)
        return file.getvalue()

    def _draw(self, axes: Any, name: str) -> None:
        for curve, label, color in ((name, "training", _BLUE), (f"val_{name}", "validation", _ORANGE)):
            records = self._rows if any(curve in r for r in self._rows) else self.epochs
            points = [(r[self._unit], r[curve]) for r in records if curve in r]
            if points:
                marker = "o" if len(points) == 1 else None
                axes.plot(*zip(*points, strict=True), color=color, linewidth=2, label=label, marker=marker)
        axes.set_title(name.replace("_", " "), loc="left", fontweight="bold")
        axes.set_xlabel(self._unit)
        axes.grid(alpha=0.25)
        axes.spines[["top", "right"]].set_visible(False)
        axes.tick_params(colors=_MUTED)
        axes.xaxis.get_major_locator().set_params(integer=True)
        if f"val_{name}" in self.names:
            axes.legend(frameon=False)
