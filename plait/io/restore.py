"""Saved state put into the objects that it came from: checked first, and taken back if it fails half way."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from plait.core.errors import ArgumentError
from plait.io.state import Encoder, decode, fields_of, is_named_tuple, protocol_of, tagged
from plait.tensor import lazy
from plait.tensor.autograd import no_grad
from plait.tensor.creation import from_numpy
from plait.tensor.tensor import Tensor

_MAX_LISTED = 20


def restore_into(template: Any, document: Any, tensors: Mapping[str, Tensor], source: str) -> Any:
    """Return `template` with saved values in it.

    Tensors, arrays and objects with state are changed in place, and are in the result; numbers, strings and
    containers of nothing else are taken from what was saved.

    Args:
        template: state of the same structure as what was saved.
        document: see `plait.io.state.decode`, like `tensors`.
        tensors: the saved tensors by name.
        source: what errors name.

    Raises:
        ArgumentError: listing all that is missing, unexpected or of another shape; then nothing has been changed.
        DamagedFileError: the document is not what `Encoder` writes.
    """
    restorer = _Restorer(tensors)
    result = restorer.match(template, document, "")
    if restorer.problems:
        listed = restorer.problems[:_MAX_LISTED]
        rest = len(restorer.problems) - len(listed)
        lines = [f"  {line}" for line in listed] + ([f"  … and {rest} more"] if rest else [])
        fix = "Fix: pass into= the structure that was saved, or restore() without it and take what fits."
        text = f"{source} does not fit what it is restored into, and nothing was changed:"
        raise ArgumentError("\n".join([text, *lines, fix]))
    restorer.apply()
    return result()


Result = Callable[[], Any]


class _Restorer:
    """Compares the template with the document; `steps` are (set, new value, old value) of what is to be changed."""

    def __init__(self, tensors: Mapping[str, Tensor]) -> None:
        self.tensors = tensors
        self.problems: list[str] = []
        self.steps: list[tuple[Callable[[Any], Any], Any, Callable[[], Any]]] = []

    def match(self, template: Any, document: Any, path: str) -> Result:
        """Note what is to be done for this part; the result is what takes its place afterwards."""
        if isinstance(template, (Tensor, np.ndarray)):
            return self._match_array(template, document, path)
        protocol = protocol_of(template)
        if protocol is not None:
            return self._match_object(template, protocol, document, path)
        if not _holds_state(template):
            value = decode(document, self.tensors)
            return lambda: value
        return self._match_container(template, document, path)

    def _match_array(self, template: Any, document: Any, path: str) -> Result:
        if tagged(document)[0] not in ("tensor", "array"):
            self._differs(path, _summary(document), "a tensor")
            return lambda: template
        value = decode(document, self.tensors)
        values = value if isinstance(value, Tensor) else from_numpy(value)
        received = (tuple(values.shape), values.dtype.name)
        expected = (
            tuple(template.shape),
            np.dtype(template.dtype).name if _is_array(template) else template.dtype.name,
        )
        if received != expected:
            self._differs(path, *[f"{dtype}[{', '.join(map(str, shape))}]" for shape, dtype in (received, expected)])
        elif _is_array(template):
            self.steps.append((lambda new: np.copyto(template, new), np.asarray(values.numpy()), template.copy))
        else:
            self.steps.append((template.copy_, values, lambda: template.detach().clone()))
        return lambda: template

    def _match_object(self, template: Any, protocol: Any, document: Any, path: str) -> Result:
        kind, content = tagged(document)
        if kind != "state":
            self._differs(path, _summary(document), f"the state of a {type(template).__name__}")
            return lambda: template
        get, put = protocol
        self.steps.append((put, decode(content, self.tensors), lambda: _copied(get())))
        return lambda: template

    def _match_container(self, template: Any, document: Any, path: str) -> Result:
        fields = fields_of(template)
        kind, content = tagged(document)
        if fields is not None:
            wanted = "named tuple" if is_named_tuple(template) else "dataclass"
            saved = content[1] if kind == wanted and isinstance(content, list) and len(content) == 2 else None
            parts = self._match_parts(fields, saved, path, wanted, ".{}")
            return lambda: _rebuilt(template, {name: part() for name, part in parts.items()})
        if isinstance(template, Mapping):
            parts = self._match_parts(template, self._saved_dict(document), path, "dict", "[{!r}]")
            return lambda: {key: part() for key, part in parts.items()}
        saved = content if kind == "tuple" and isinstance(template, tuple) else document
        items = dict(enumerate(saved)) if isinstance(saved, list) else None
        parts = self._match_parts(dict(enumerate(template)), items, path, type(template).__name__, "[{!r}]")
        return lambda: type(template)([part() for part in parts.values()])

    def _saved_dict(self, document: Any) -> dict[Any, Any] | None:
        kind, content = tagged(document)
        if kind == "dict" and isinstance(content, list):
            keys = decode({"dict": [[pair[0], None] for pair in content]}, self.tensors)
            return {key: pair[1] for key, pair in zip(keys, content, strict=True)}
        return document if isinstance(document, dict) and not kind else None

    def _match_parts(
        self, template: Mapping[Any, Any], saved: Any, path: str, kind: str, place: str
    ) -> dict[Any, Result]:
        if not isinstance(saved, dict):
            self._differs(path, "something else", f"a {kind}")
            return {}
        self.problems += [f"{path}{place.format(k)}: missing" for k in template if k not in saved]
        self.problems += [f"{path}{place.format(k)}: unexpected" for k in saved if k not in template]
        return {k: self.match(v, saved[k], path + place.format(k)) for k, v in template.items() if k in saved}

    def _differs(self, path: str, received: Any, expected: str) -> None:
        self.problems.append(f"{path or 'the whole'}: received {received}, expected {expected}")

    def apply(self) -> None:
        """Set every value; when one is refused, those before it get their old values back."""
        done: list[tuple[Callable[[Any], Any], Any]] = []
        with no_grad():
            try:
                for put, new, old in self.steps:
                    done.append((put, old()))
                    put(new)
            except BaseException:
                for put, previous in reversed(done):
                    put(previous)
                raise
        lazy.flush()  # what runs next then has the structure that it has without a restoration, and so the same bits


def _is_array(value: Any) -> bool:
    return isinstance(value, np.ndarray)


def _holds_state(value: Any) -> bool:
    """Whether there is anything in a value that is changed in place."""
    if isinstance(value, (Tensor, np.ndarray)) or protocol_of(value) is not None:
        return True
    fields = fields_of(value)
    inside = value.values() if isinstance(value, Mapping) else value if type(value) in (list, tuple) else ()
    return any(_holds_state(part) for part in (inside if fields is None else fields.values()))


def _rebuilt(template: Any, fields: dict[str, Any]) -> Any:
    if is_named_tuple(template):
        return type(template)(**fields)
    return dataclasses.replace(template, **{f.name: fields[f.name] for f in dataclasses.fields(template) if f.init})


def _copied(state: Any) -> Any:
    """A copy of state that shares no memory with it."""
    encoder = Encoder(state, copy=True)
    return decode(encoder.document, {name: from_numpy(array) for name, array in encoder.arrays.items()})


def _summary(document: Any) -> str:
    kind, _ = tagged(document)
    return f"a {kind}" if kind else f"a {type(document).__name__}"
