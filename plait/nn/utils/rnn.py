"""Batches of sequences of different lengths: padded to one length, or packed step by step."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np

from plait.core.errors import ArgumentError, ArgumentTypeError, ShapeError, message
from plait.nn.functional.padding import pad
from plait.tensor.creation import arange, tensor
from plait.tensor.cumulative import cumsum
from plait.tensor.functions import minimum, where
from plait.tensor.selection import index_select
from plait.tensor.shaping import as_operand
from plait.tensor.sorting import argsort, searchsorted
from plait.tensor.stacking import stack
from plait.tensor.tensor import Tensor


class PackedSequence(NamedTuple):
    """Sequences of different lengths, longest first: the elements of all at step 0, of all at step 1, and so on.

    `pack_padded_sequence` and `pack_sequence` make it; recurrent layers take it and return it. `jit` takes it as an
    argument where it was made with `enforce_sorted=False`.

    Args:
        data: the elements [total, ...].
        batch_sizes: how many sequences have each step, an int64 tensor [steps].
        sorted_indices: where each packed sequence was in the batch, or None if it was sorted.
        unsorted_indices: where each sequence of the batch is among the packed ones, or None.
    """

    data: Tensor
    batch_sizes: Tensor
    sorted_indices: Tensor | None = None
    unsorted_indices: Tensor | None = None

    def to(self, *args: Any, **kwargs: Any) -> PackedSequence:
        """Return the sequences with data of another dtype."""
        return self._replace(data=self.data.to(*args, **kwargs))


def invert_permutation(permutation: Tensor | None) -> Tensor | None:
    """Return the permutation that undoes another one, or None for None.

    Example:
        >>> plait.nn.utils.rnn.invert_permutation(plait.tensor([2, 0, 1]))
        tensor([1, 2, 0])
    """
    return None if permutation is None else argsort(permutation)


def pack_padded_sequence(
    input: Any, lengths: Any, batch_first: bool = False, enforce_sorted: bool = True
) -> PackedSequence:
    """Leave the padding out of a batch of sequences.

    Args:
        input: a tensor [T, N, ...], or [N, T, ...] with `batch_first`.
        lengths: the length of each sequence, integers whose values are known: a list, or a tensor outside `jit`.
        batch_first: whether the batch is the first axis of `input`.
        enforce_sorted: whether the longest sequence must come first, and so on; otherwise they are sorted here.

    Returns:
        A `PackedSequence`.

    Raises:
        ShapeError: `input` has fewer than two axes, or there is not one length for each sequence.
        ArgumentError: a length is below 1 or longer than the input, or the lengths are not sorted.

    Example:
        >>> x = plait.tensor([[1, 2, 0], [3, 0, 0], [4, 5, 6]])
        >>> plait.nn.utils.rnn.pack_padded_sequence(x, [2, 1, 3], batch_first=True, enforce_sorted=False).data
        tensor([4, 1, 3, 5, 2, 6])
    """
    x = as_operand(input, "pack_padded_sequence")
    if x.ndim < 2:
        raise ShapeError(message("pack_padded_sequence takes [T, N, ...]", f"shape {x.shape}", "at least two axes"))
    x = x.transpose(0, 1) if batch_first else x
    counts = _known_lengths(lengths, *x.shape[:2])
    order = None
    if not enforce_sorted:
        order = np.argsort(-counts, kind="stable")
        counts = counts[order]
    elif (counts[1:] > counts[:-1]).any():
        fix = "sort the sequences, or pass enforce_sorted=False"
        raise ArgumentError(message("The lengths are not sorted", counts.tolist(), "the longest first", fix))
    is_there = np.arange(counts[0])[:, None] < counts
    steps, places = np.nonzero(is_there)
    places = places if order is None else order[places]
    data = index_select(x.flatten(0, 1), 0, tensor(steps * x.shape[1] + places))
    indices = [None if o is None else tensor(o) for o in (order, None if order is None else np.argsort(order))]
    return PackedSequence(data, tensor(is_there.sum(1)), *indices)


def _known_lengths(lengths: Any, longest: int, batch: int) -> np.ndarray[Any, Any]:
    counts = lengths.numpy() if isinstance(lengths, Tensor) else np.asarray(lengths)
    if counts.shape != (batch,):
        raise ShapeError(message("There is one length for each sequence", f"shape {counts.shape}", f"({batch},)"))
    if counts.dtype.kind not in "iu" or not batch or counts.min() < 1 or counts.max() > longest:
        fix = "leave empty sequences out"
        raise ArgumentError(message("The lengths do not fit", counts.tolist(), f"integers from 1 to {longest}", fix))
    return counts.astype(np.int64)


def padded(sequence: PackedSequence, padding_value: float = 0.0) -> tuple[Tensor, Tensor]:
    """Return packed sequences [T, N, ...] in their packed order, and bools [T, N]: which elements are there."""
    sizes = sequence.batch_sizes
    batch = int(sizes[0].item()) if sequence.sorted_indices is None else sequence.sorted_indices.shape[0]
    column = arange(batch)
    is_there = column < sizes[:, None]
    index = minimum((cumsum(sizes, 0) - sizes)[:, None] + column, sequence.data.shape[0] - 1)
    data = index_select(sequence.data, 0, index.flatten()).unflatten(0, (-1, batch))
    rest = tensor(padding_value, dtype=data.dtype)
    return where(is_there.reshape(*is_there.shape, *(1,) * (data.ndim - 2)), data, rest), is_there


def packed_like(x: Tensor, sequence: PackedSequence) -> PackedSequence:
    """Return a tensor [T, N, ...] in the packed order of `sequence` without its padding."""
    ends = cumsum(sequence.batch_sizes, 0)
    row = arange(sequence.data.shape[0])
    step = searchsorted(ends, row, right=True)
    place = row - (ends - sequence.batch_sizes)[step]
    return sequence._replace(data=index_select(x.flatten(0, 1), 0, step * x.shape[1] + place))


def restored(x: Tensor, sequence: PackedSequence, axis: int) -> Tensor:
    """Return a tensor with its axis of sequences, which is in packed order, in that of the batch."""
    order = sequence.unsorted_indices
    order = invert_permutation(sequence.sorted_indices) if order is None else order
    return x if order is None else index_select(x, axis, order)


def pad_packed_sequence(
    sequence: PackedSequence, batch_first: bool = False, padding_value: float = 0.0, total_length: int | None = None
) -> tuple[Tensor, Tensor]:
    """Undo `pack_padded_sequence`.

    Args:
        sequence: the packed sequences.
        batch_first: whether the result is [N, T, ...], not [T, N, ...].
        padding_value: what comes behind the end of a sequence.
        total_length: the size T, by default the longest length.

    Returns:
        The padded sequences in the order of the batch, and their lengths [N].

    Raises:
        ArgumentTypeError: `sequence` is no `PackedSequence`.
        ArgumentError: `total_length` is shorter than a sequence.

    Example:
        >>> packed = plait.nn.utils.rnn.pack_sequence([plait.tensor([1, 2]), plait.tensor([3])])
        >>> plait.nn.utils.rnn.pad_packed_sequence(packed, batch_first=True)
        (tensor([[1, 2],
                [3, 0]]), tensor([2, 1]))
    """
    if not isinstance(sequence, PackedSequence):
        text, fix = "pad_packed_sequence takes packed sequences", "pass the result of pack_padded_sequence"
        raise ArgumentTypeError(message(text, type(sequence).__name__, "a PackedSequence", fix))
    x, is_there = padded(sequence, padding_value)
    longest = x.shape[0]
    if total_length is not None and total_length < longest:
        raise ArgumentError(message("total_length is too short", total_length, f"at least {longest}"))
    lengths = restored(is_there.sum(0), sequence, 0)
    x = restored(x, sequence, 1)
    x = _lengthened(x, total_length or longest, padding_value, "right")
    return x.transpose(0, 1) if batch_first else x, lengths


def _lengthened(x: Tensor, length: int, value: float, side: str) -> Tensor:
    missing = length - x.shape[0]
    before, after = (0, missing) if side == "right" else (missing, 0)
    return pad(x, (0, 0) * (x.ndim - 1) + (before, after), value=value) if missing else x


def pad_sequence(
    sequences: Iterable[Any], batch_first: bool = False, padding_value: float = 0.0, padding_side: str = "right"
) -> Tensor:
    """Stack sequences of different lengths.

    Args:
        sequences: tensors [length, ...] that differ in their first axis only.
        batch_first: whether the result is [N, T, ...], not [T, N, ...].
        padding_value: what fills the shorter ones.
        padding_side: "right" for behind them, "left" for before them.

    Returns:
        A tensor [T, N, ...], T being the longest length.

    Raises:
        ArgumentError: there are no sequences, or another side.
        ShapeError: the other axes differ.

    Example:
        >>> plait.nn.utils.rnn.pad_sequence([plait.tensor([1, 2]), plait.tensor([3])], batch_first=True)
        tensor([[1, 2],
                [3, 0]])
    """
    found = [as_operand(s, "pad_sequence") for s in sequences]
    if padding_side not in ("right", "left"):
        raise ArgumentError(message("Unknown padding_side", repr(padding_side), '"right" or "left"'))
    if not found:
        raise ArgumentError(message("pad_sequence needs sequences", "none", "at least one tensor"))
    if any(x.ndim == 0 or x.shape[1:] != found[0].shape[1:] for x in found):
        text = "pad_sequence takes tensors that differ in their first axis only"
        raise ShapeError(message(text, f"shapes {[x.shape for x in found]}", "[length, ...]"))
    longest = max(x.shape[0] for x in found)
    rows = [_lengthened(x, longest, padding_value, padding_side) for x in found]
    return stack(rows, 0 if batch_first else 1)


def unpad_sequence(padded_sequences: Any, lengths: Any, batch_first: bool = False) -> list[Tensor]:
    """Return the sequences of a padded batch one by one, without their padding.

    Args:
        padded_sequences: a tensor [T, N, ...], or [N, T, ...] with `batch_first`.
        lengths: the length of each, integers whose values are known.
        batch_first: whether the batch is the first axis.

    Raises:
        ShapeError: there is not one length for each sequence.
        ArgumentError: a length is below 1 or longer than the batch.

    Example:
        >>> plait.nn.utils.rnn.unpad_sequence(plait.tensor([[1, 2], [3, 0]]), [2, 1], batch_first=True)
        [tensor([1, 2]), tensor([3])]
    """
    x = as_operand(padded_sequences, "unpad_sequence")
    x = x if batch_first else x.transpose(0, 1)
    counts = _known_lengths(lengths, x.shape[1], x.shape[0])
    return [x[k, :count] for k, count in enumerate(counts.tolist())]


def pack_sequence(sequences: Sequence[Any], enforce_sorted: bool = True) -> PackedSequence:
    """Pack tensors [length, ...] of different lengths: `pad_sequence` and `pack_padded_sequence` in one.

    Raises:
        ArgumentError: there are no sequences, one is empty, or they are not sorted as `enforce_sorted` wants it.
        ShapeError: other axes than the first differ.

    Example:
        >>> plait.nn.utils.rnn.pack_sequence([plait.tensor([1, 2]), plait.tensor([3])]).batch_sizes
        tensor([2, 1])
    """
    batch = pad_sequence(sequences)
    return pack_padded_sequence(batch, [x.shape[0] for x in sequences], enforce_sorted=enforce_sorted)


def unpack_sequence(packed_sequences: PackedSequence) -> list[Tensor]:
    """Return packed sequences one by one.

    Example:
        >>> packed = plait.nn.utils.rnn.pack_sequence([plait.tensor([1, 2]), plait.tensor([3])])
        >>> plait.nn.utils.rnn.unpack_sequence(packed)
        [tensor([1, 2]), tensor([3])]
    """
    return unpad_sequence(*pad_packed_sequence(packed_sequences, batch_first=True), batch_first=True)


def length_mask(lengths: Any, steps: int, batch: int | None) -> Tensor:
    """Return bools [steps, batch]: which elements belong to sequences of these lengths; no batch is one sequence.

    Raises:
        ShapeError: there is not one length for each sequence.
        ArgumentTypeError: the lengths are no integers.
    """
    counts = lengths if isinstance(lengths, Tensor) else tensor(lengths)
    if not counts.dtype.is_integer:
        raise ArgumentTypeError(message("Lengths are integers", counts.dtype.name, "an integer dtype"))
    expected = () if batch is None else (batch,)
    if counts.shape != expected:
        raise ShapeError(message("There is one length for each sequence", f"shape {counts.shape}", expected))
    return arange(steps)[:, None] < counts
