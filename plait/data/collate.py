"""From samples to a batch: stacking, padding and packing."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from plait.core.errors import ArgumentError, ArgumentTypeError, ShapeError, message
from plait.tensor.creation import as_tensor
from plait.tensor.tensor import Tensor

Array = np.ndarray[Any, Any]
Stack = Callable[[list[Any], str], Tensor]


def default_collate(batch: Sequence[Any]) -> Any:
    """Make a batch of samples: tensors, arrays and numbers are stacked along a new first axis.

    Args:
        batch: samples of one structure: tensors, NumPy arrays, numbers, strings, or mappings, named tuples, tuples and
            lists of such.

    Returns:
        The same structure with tensors of [N, ...]; Python floats become float64, integers int64; strings and bytes
        stay as they are; a tuple becomes a list, as in PyTorch.

    Raises:
        ShapeError: arrays or sequences of different sizes.
        ArgumentTypeError: a type that cannot be stacked.

    Example:
        >>> plait.data.default_collate([{"x": np.zeros(2), "name": "a"}, {"x": np.ones(2), "name": "b"}])
        {'x': tensor([[0., 0.],
                [1., 1.]], dtype=plait.float64), 'name': ['a', 'b']}
    """
    return _collate(batch, _stack, "")


def _collate(batch: Sequence[Any], stack: Stack, path: str) -> Any:
    """Collate samples; `path` says where they stand in the whole sample, for errors."""
    first = batch[0]
    if isinstance(first, (np.ndarray, Tensor, bool, int, float, complex, np.generic)):
        return stack(list(batch), path)
    if isinstance(first, (str, bytes)):
        return batch
    if isinstance(first, Mapping):
        fields = {name: _collate(_values(batch, name, path), stack, f"{path}[{name!r}]") for name in first}
        return fields if type(first) is dict else _as_type(type(first), fields)
    if isinstance(first, Sequence):
        if any(len(sample) != len(first) for sample in batch):
            received = f"lengths {[len(sample) for sample in batch][:10]}"
            raise ShapeError(message(f"Sequences in a batch need equal lengths{_at(path)}", received, None, _PAD))
        columns = [_collate(c, stack, f"{path}[{i}]") for i, c in enumerate(zip(*batch, strict=True))]
        if hasattr(first, "_fields"):
            return type(first)(*columns)
        return columns if isinstance(first, tuple) else _as_type(type(first), columns)
    fix = "convert it in the dataset (images: plait.data.transforms.ToTensor()), or pass a collate_fn"
    expected = "tensors, arrays, numbers, strings, or mappings and sequences of them"
    raise ArgumentTypeError(message(f"Samples of this type cannot be stacked{_at(path)}", type(first), expected, fix))


_PAD = "pad them with collate_fn=plait.data.pad_collate"


def _at(path: str) -> str:
    return path and f" at sample{path}"


def _as_type(kind: type, value: Any) -> Any:
    try:
        return kind(value)
    except TypeError:  # a container that is not made of its contents
        return value


def _values(batch: Sequence[Any], name: Any, path: str) -> list[Any]:
    try:
        return [sample[name] for sample in batch]
    except KeyError:
        lacking = next(i for i, sample in enumerate(batch) if name not in sample)
        text = f"A sample has no {name!r}, which the first of its batch has{_at(path)}"
        raise ArgumentError(message(text, f"{sorted(map(str, batch[lacking]))} in sample {lacking} of it")) from None


def array_of(value: Any) -> Any:
    """Return a tensor as an array, anything else as it is."""
    return value.detach().numpy() if isinstance(value, Tensor) else value


def _stack(values: list[Any], path: str) -> Tensor:
    values = [array_of(value) for value in values]
    try:
        stacked = np.array(values)
    except ValueError:
        shapes = [np.shape(value) for value in values]
        other = next(i for i, shape in enumerate(shapes) if shape != shapes[0])
        received = f"{shapes[0]} in the first sample, {shapes[other]} in sample {other} of the batch"
        raise ShapeError(message(f"Arrays in a batch need one shape{_at(path)}", received, None, _PAD)) from None
    return as_tensor(_numeric(stacked, path))


def _numeric(array: Array, path: str) -> Array:
    if array.dtype.kind in "OSUMm":
        raise ArgumentTypeError(message(f"Arrays in a batch hold numbers{_at(path)}", array.dtype, "a numeric dtype"))
    return array


def default_convert(data: Any) -> Any:
    """Return a sample with its NumPy arrays as tensors; what a loader without batches gives.

    Args:
        data: a sample: arrays, or mappings, named tuples, tuples and lists of them.

    Returns:
        The same structure; everything else in it is unchanged.

    Example:
        >>> plait.data.default_convert((np.arange(2), "a"))
        [tensor([0, 1]), 'a']
    """
    if isinstance(data, (np.ndarray, np.generic)):
        return data if data.dtype.kind in "OSUMm" else as_tensor(data)
    if isinstance(data, Mapping):
        return _as_type(type(data), {name: default_convert(value) for name, value in data.items()})
    if isinstance(data, tuple) and hasattr(data, "_fields"):
        return type(data)(*map(default_convert, data))
    if isinstance(data, (tuple, list)):
        return [default_convert(value) for value in data]
    return data


class Padded(NamedTuple):
    """A padded batch and the lengths before padding, int64 [N], in the structure of the batch."""

    batch: Any
    lengths: Any


def pad_collate(
    batch: Sequence[Any], padding_value: float = 0, *, multiple_of: int = 1, side: str = "right",
    return_lengths: bool = False,
) -> Any:  # fmt: skip
    """Make a batch of samples of different lengths: arrays are padded along their first axis to the longest.

    To change an option, pass `collate_fn=functools.partial(pad_collate, padding_value=-1)`.

    Args:
        batch: samples as `default_collate` takes them; arrays may differ in the size of their first axis.
        padding_value: what is filled in.
        multiple_of: the padded length is a multiple of this, so that fewer lengths occur.
        side: "right" pads the end, "left" the beginning.
        return_lengths: whether to return the lengths too.

    Returns:
        The structure of a sample with tensors [N, L, ...]; or a named tuple `(batch, lengths)`.

    Raises:
        ShapeError: arrays differ in other axes than the first.
        ArgumentError: another side.

    Example:
        >>> plait.data.pad_collate([np.array([1, 2, 3]), np.array([4])])
        tensor([[1, 2, 3],
                [4, 0, 0]])
    """
    if side not in ("right", "left"):
        raise ArgumentError(message("Padding goes to one side", repr(side), '"right" or "left"'))

    def pad(values: list[Any], path: str) -> Tensor:
        arrays = [np.asarray(array_of(value)) for value in values]
        if arrays[0].ndim == 0:
            return _stack(values, path)
        if len({array.shape[1:] for array in arrays}) > 1:
            received = f"shapes {[array.shape for array in arrays][:10]}"
            text = f"Padding changes the first axis only{_at(path)}"
            raise ShapeError(message(text, received, "equal sizes of the other axes"))
        longest = -(-max(len(array) for array in arrays) // multiple_of) * multiple_of
        dtype = np.result_type(*arrays)
        result = np.full((len(arrays), longest, *arrays[0].shape[1:]), padding_value, dtype)
        for row, array in zip(result, arrays, strict=True):
            row[longest - len(array) if side == "left" else 0 :][: len(array)] = array
        return as_tensor(_numeric(result, path))

    def length(values: list[Any], path: str) -> Tensor:
        arrays = [array_of(value) for value in values]
        return as_tensor(np.array([len(a) if np.ndim(a) else 1 for a in arrays], np.int64))

    padded = _collate(batch, pad, "")
    return Padded(padded, _collate(batch, length, "")) if return_lengths else padded


class Packed(NamedTuple):
    """Token sequences in rows of one length, each [rows, length].

    `segments` numbers the sequences of a row from 1 and is 0 where nothing is; tokens may attend to each other where
    their segments are equal. `positions` counts from 0 in each sequence.
    """

    tokens: Tensor
    segments: Tensor
    positions: Tensor


def pack_collate(batch: Sequence[Any], length: int, padding_value: int = 0) -> Packed:
    """Put token sequences one after the other into rows of `length`: hardly any padding is needed.

    Each sequence goes to the first row with room for it; one that is longer than a row is cut into pieces.

    Args:
        batch: sequences of tokens, vectors.
        length: tokens in a row.
        padding_value: the token where a row is not full.

    Returns:
        A named tuple `(tokens, segments, positions)`.

    Raises:
        ArgumentError: `length` is not positive.
        ShapeError: a sequence is no vector.

    Example:
        >>> packed = plait.data.pack_collate([np.array([1, 2, 3]), np.array([4, 5]), np.array([6])], length=4)
        >>> packed.tokens, packed.segments
        (tensor([[1, 2, 3, 6],
                [4, 5, 0, 0]]), tensor([[1, 1, 1, 2],
                [1, 1, 0, 0]]))
    """
    if length < 1:
        raise ArgumentError(message("A row has at least one token", length, "a positive length"))
    sequences = [np.asarray(array_of(sequence)) for sequence in batch]
    for i, sequence in enumerate(sequences):
        if sequence.ndim != 1:
            raise ShapeError(message(f"Sequence {i} of the batch is no vector", f"shape {sequence.shape}", "[length]"))
    rows: list[list[Array]] = []
    room: list[int] = []
    starts: list[list[int]] = []
    for sequence in sequences:
        for start in range(0, len(sequence), length):
            piece = sequence[start : start + length]
            row = next((i for i, left in enumerate(room) if left >= len(piece)), len(rows))
            if row == len(rows):
                rows.append([]), room.append(length), starts.append([])
            rows[row].append(piece)
            starts[row].append(start)
            room[row] -= len(piece)
    tokens = np.full((len(rows), length), padding_value, np.result_type(*sequences) if sequences else np.int64)
    segments, positions = np.zeros(tokens.shape, np.int64), np.zeros(tokens.shape, np.int64)
    for i, pieces in enumerate(rows):
        end = 0
        for number, (piece, start) in enumerate(zip(pieces, starts[i], strict=True)):
            place = slice(end, end := end + len(piece))
            tokens[i, place], segments[i, place] = piece, number + 1
            positions[i, place] = np.arange(start, start + len(piece))
    return Packed(as_tensor(tokens), as_tensor(segments), as_tensor(positions))
