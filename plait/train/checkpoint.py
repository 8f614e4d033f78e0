"""Checkpoints of a training run: one folder for each step, whole or not there at all.

A checkpoint holds `tensors.safetensors`, `state.json` (everything that is no tensor) and `manifest.json` (step, metrics
and checksums). It is written under another name, brought to disk and renamed, so that whatever kills the process
leaves the earlier ones as they were.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
import threading
import warnings
import weakref
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, BinaryIO, Literal

from plait.core.errors import ArgumentError, ArgumentTypeError, message
from plait.io.files import Location, new_folder, remove_folder, remove_partial_folders, sync
from plait.io.header import DamagedFileError, strict_json
from plait.io.restore import restore_into
from plait.io.safetensors import TensorFile, write_tensors
from plait.io.state import Encoder, decode

FORMAT, VERSION = "plait checkpoint", 1
_TENSORS, _STATE, _MANIFEST = "tensors.safetensors", "state.json", "manifest.json"
_NAME = re.compile(r"step-(\d{1,18})(?:\.(\d{1,9}))?")
_MAX_MANIFEST = 1 << 20  # bytes

Place = tuple[int, int]
"""A step, and how many times it had been saved before."""


class CheckpointManager:
    """Saves and restores the state of a training run in a folder.

    State is any nesting of dicts, lists, tuples, named tuples and dataclasses of tensors, arrays, numbers, strings,
    None, and objects with `state_dict` and `load_state_dict` or `get_state` and `set_state`: modules, optimizers,
    schedules, loaders, generators, `random.Random`.

    Args:
        folder: where the checkpoints are; made by the first save. One process at a time may save there.
        keep_last: how many of the latest checkpoints are kept; by default all, or 1 if `keep_best` is given.
        keep_best: how many of those with the best metric are kept besides.
        metric: which metric that is, where `save` is given several by name.
        mode: whether the "min" or the "max" of the metric is best.
        asynchronous: whether `save` copies the state and returns, while a thread writes it.

    Raises:
        ArgumentError: a number to keep is less than 1, or `mode` is neither.

    Example:
        >>> model = plait.nn.Linear(2, 3)
        >>> optimizer = plait.optim.Adam(model.parameters())
        >>> state = {"model": model, "optimizer": optimizer, "epoch": 1}
        >>> manager = plait.train.CheckpointManager("run", keep_last=2, keep_best=1)
        >>> for step, loss in enumerate([0.5, 0.1, 0.3, 0.2]):
        ...     manager.save(step, state, metric=loss)
        >>> manager.steps()
        [1, 2, 3]
        >>> manager.restore("best", into=state)["epoch"]
        1
    """

    def __init__(
        self, folder: Location, keep_last: int | None = None, keep_best: int | None = None, metric: str = "loss",
        mode: Literal["min", "max"] = "min", asynchronous: bool = False,
    ) -> None:  # fmt: skip
        for name, value in (("keep_last", keep_last), ("keep_best", keep_best)):
            if value is not None and (type(value) is not int or value < 1):
                raise ArgumentError(message(f"{name} is a number of checkpoints", repr(value), "1 or more, or None"))
        if mode not in ("min", "max"):
            raise ArgumentError(message("mode says which metric is best", repr(mode), '"min" or "max"'))
        self.folder = Path(folder)
        self.keep_last = 1 if keep_last is None and keep_best is not None else keep_last
        self.keep_best, self.metric, self.mode, self.asynchronous = keep_best, metric, mode, asynchronous
        self._writing: threading.Thread | None = None
        self._errors: list[Exception] = []
        self._at_exit = weakref.finalize(self, _report, self._errors)
        self._known: dict[Place, float | None] = {}  # the metrics of the checkpoints that were looked at
        self._is_clean = False

    def __enter__(self) -> CheckpointManager:
        return self

    def __exit__(self, *_: object) -> None:
        self.wait()

    # saving

    def save(self, step: int, state: Any, metric: Any = None) -> None:
        """Save a checkpoint; then remove those that are no longer to be kept.

        Args:
            step: a number, larger for later ones. A step that was saved before is replaced.
            state: see the class. What is asynchronous starts from a copy taken here: later changes do not matter.
            metric: a number, or numbers by name.

        Raises:
            ArgumentError: `step` or `metric` is none, or a value of the state has a name that cannot be stored.
            ArgumentTypeError: the state holds something that cannot be saved; nothing has been written.
            OSError: the files could not be written; earlier checkpoints are as they were. A failure of an asynchronous
                save is raised by the next call of any method.
        """
        if type(step) is not int or not 0 <= step < 10**18:
            raise ArgumentError(message("A step is a number", repr(step), "an int from 0 on"))
        metrics = self._metrics(metric)
        self.wait()
        encoder = Encoder(state, copy=self.asynchronous)
        if not self.asynchronous:
            self._write(step, encoder, metrics)
            return
        self._writing = threading.Thread(target=self._write_and_note, args=(step, encoder, metrics), name="checkpoint")
        self._writing.start()

    def wait(self) -> None:
        """Return when nothing is being written any more; raises the error of an asynchronous save that failed."""
        if self._writing is not None:
            self._writing.join()
            self._writing = None
        if self._errors:
            raise self._errors.pop()

    def _metrics(self, metric: Any) -> dict[str, float]:
        named = metric if isinstance(metric, Mapping) else {} if metric is None else {self.metric: metric}
        try:
            metrics = {str(name): float(value) for name, value in named.items()}
        except (TypeError, ValueError):
            raise ArgumentTypeError(message("A metric is a number, or numbers by name", repr(metric))) from None
        if self.keep_best is not None and self.metric not in metrics:
            fix = f"call save(step, state, metric=...), with {self.metric!r} among the names if there are several"
            received = ", ".join(metrics) or "none"
            raise ArgumentError(message("keep_best needs the metric of every checkpoint", received, self.metric, fix))
        return metrics

    def _write_and_note(self, *arguments: Any) -> None:
        try:
            self._write(*arguments)
        except Exception as error:
            self._errors.append(error)

    def _write(self, step: int, encoder: Encoder, metrics: dict[str, float]) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        if not self._is_clean:
            remove_partial_folders(self.folder)
            self._is_clean = True
        earlier = [place for place in self._places() if place[0] == step]
        place = (step, max(earlier)[1] + 1 if earlier else 0)
        with new_folder(self._path(place)) as folder:
            files = {
                _TENSORS: _written(folder / _TENSORS, lambda file: write_tensors(encoder.arrays, file)),
                _STATE: _written(folder / _STATE, lambda file: file.write(_json(encoder.document, None))),
            }
            manifest = {
                "format": FORMAT, "version": VERSION, "step": step, "metrics": Encoder(metrics, copy=False).document,
                "files": files,
            }  # fmt: skip
            text = _json({**manifest, "checksum": _checksum(manifest)})
            _written(folder / _MANIFEST, lambda file: file.write(text))
        self._prune()

    def _prune(self) -> None:
        places = self._places()
        newest = sorted({step: (step, count) for step, count in places}.values())
        kept = set(newest)
        if self.keep_last is not None:
            kept = set(newest[-self.keep_last :])
            kept.update(self._by_metric(newest)[: self.keep_best or 0])
        for place in places:
            if place not in kept:
                remove_folder(self._path(place))
                self._known.pop(place, None)

    # looking

    def steps(self) -> list[int]:
        """Return the steps that can be restored, in ascending order."""
        self.wait()
        return sorted({step for step, _ in self._places()})

    def _path(self, place: Place) -> Path:
        step, count = place
        return self.folder / (f"step-{step:08}" + (f".{count}" if count else ""))

    def _places(self) -> list[Place]:
        names = [path.name for path in self.folder.iterdir()] if self.folder.is_dir() else []
        found = [match for name in names if (match := _NAME.fullmatch(name))]
        return sorted((int(match[1]), int(match[2] or 0)) for match in found)

    def _by_metric(self, places: list[Place]) -> list[Place]:
        """The places that have a metric, the best first; of equal ones the latest."""
        found = [(value, place) for place in places if (value := self._metric_of(place)) is not None]
        sign = 1 if self.mode == "min" else -1
        return [place for _, place in sorted(found, key=lambda pair: (sign * pair[0], -pair[1][0]))]

    def _metric_of(self, place: Place) -> float | None:
        if place not in self._known:
            try:
                value = _read_manifest(self._path(place))["metrics"].get(self.metric)
            except DamagedFileError:
                value = None
            self._known[place] = None if value is None or math.isnan(value) else value
        return self._known[place]

    # restoring

    def restore(self, step: int | Literal["latest", "best"] | None = None, into: Any = None) -> Any:
        """Return the state of a checkpoint.

        A damaged checkpoint is noticed by its checksums. Where it is the latest or the best, a warning says so, and the
        next one is taken.

        Args:
            step: which one: a step, "latest" (also None), or "best".
            into: state of the structure that was saved. Its tensors, arrays and objects get the saved values in place;
                numbers, strings and the like are only in the result.

        Returns:
            The state; without `into`, objects come back as what their `state_dict` returned, and tensors share the
            memory of the mapped file.

        Raises:
            FileNotFoundError: there is no such checkpoint.
            ArgumentError: the checkpoint is damaged, or does not fit `into`; then nothing has been changed.
        """
        self.wait()
        damage: list[str] = []
        for place in self._candidates(step):
            path = self._path(place)
            try:
                document, tensors = _read(path)
                if into is None:
                    return decode(document, tensors)
                return restore_into(into, document, tensors, f"The checkpoint {path}")
            except (DamagedFileError, RecursionError) as fault:
                damage.append(f"{path}: {fault}")
                if not isinstance(step, int):
                    warnings.warn(f"A damaged checkpoint is passed over: {damage[-1]}", stacklevel=2)
        fix = f"restore another of the steps {self.steps()}"
        raise ArgumentError(message("The checkpoint is damaged", "; ".join(damage), None, fix))

    def _candidates(self, step: Any) -> list[Place]:
        """The checkpoints that fit, in the order in which they are tried."""
        places = self._places()[::-1]
        if step == "best":
            found = self._by_metric(places)
        elif step is None or step == "latest":
            found = places
        elif type(step) is int:
            found = [place for place in places if place[0] == step][:1]
        else:
            raise ArgumentError(message("restore takes a step", repr(step), 'an int, "latest" or "best"'))
        if not found:
            which = f"step {step}" if type(step) is int else f"{step or 'latest'}"
            expected = f"one of the steps {sorted({s for s, _ in places})}" if places else None
            text = f"There is no such checkpoint in {self.folder}"
            raise FileNotFoundError(message(text, which, expected, "look at steps() first"))
        return found


def _report(errors: list[Exception]) -> None:
    """At the end, tell of a failure that nobody asked for with `wait`."""
    for error in errors:
        warnings.warn(f"An asynchronous save failed: {error!r}", stacklevel=2)


# the files of a checkpoint -----------------------------------------------------------------------------------------


class _Hashed:
    """A file that sums up what is written to it."""

    def __init__(self, file: BinaryIO) -> None:
        self.file, self.sum, self.count = file, hashlib.sha256(), 0

    def write(self, data: Any) -> None:
        self.file.write(data)
        self.sum.update(data)
        self.count += len(data)


def _written(path: Path, write: Callable[[Any], Any]) -> dict[str, Any]:
    """Write a file, to disk, and return its entry in the manifest."""
    with path.open("wb") as file:
        hashed = _Hashed(file)
        write(hashed)
        sync(file)
    return {"bytes": hashed.count, "sha256": hashed.sum.hexdigest()}


def _json(document: Any, indent: int | None = 2) -> bytes:
    return json.dumps(document, allow_nan=False, indent=indent).encode() + b"\n"


def _checksum(manifest: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(manifest, sort_keys=True).encode()).hexdigest()


def _read_manifest(folder: Path) -> dict[str, Any]:
    """Return the manifest of a checkpoint, its metrics as floats by name."""
    manifest = strict_json(_bytes_of(folder / _MANIFEST, _MAX_MANIFEST), "the manifest")
    if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
        raise DamagedFileError("the manifest is not that of a checkpoint")
    if manifest.get("version") != VERSION:
        raise DamagedFileError(
            f"its format is of version {manifest.get('version')!r}, and only {VERSION} is known here"
        )
    checksum = manifest.pop("checksum", None)
    if checksum != _checksum(manifest):
        raise DamagedFileError("the checksum of the manifest is wrong")
    metrics = decode(manifest.get("metrics"), {})
    if not isinstance(metrics, dict) or not all(type(value) is float for value in metrics.values()):
        raise DamagedFileError("the metrics are not numbers by name")
    if not isinstance(manifest.get("files"), dict):
        raise DamagedFileError("the manifest names no files")
    return {**manifest, "metrics": metrics}


def _bytes_of(path: Path, limit: int | None = None) -> bytes:
    try:
        if limit is not None and path.stat().st_size > limit:
            raise DamagedFileError(f"{path.name} is too long")
        return path.read_bytes()
    except FileNotFoundError:
        raise DamagedFileError(f"{path.name} is missing") from None


def _read(folder: Path) -> tuple[Any, Mapping[str, Any]]:
    """Return the document and the tensors of a checkpoint whose checksums are right."""
    files = _read_manifest(folder)["files"]
    for name in (_TENSORS, _STATE):
        try:
            with (folder / name).open("rb") as file:
                found = {"bytes": file.seek(0, 2), "sha256": ""}
                file.seek(0)
                found["sha256"] = hashlib.file_digest(file, "sha256").hexdigest()
        except FileNotFoundError:
            raise DamagedFileError(f"{name} is missing") from None
        if found != files.get(name):
            raise DamagedFileError(f"the checksum of {name} is wrong")
    try:
        tensors = TensorFile(folder / _TENSORS)
    except ArgumentError as error:
        raise DamagedFileError(str(error)) from None
    return strict_json(_bytes_of(folder / _STATE), "the state"), tensors
