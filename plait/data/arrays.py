"""Arrays and tokens in files, read through the memory map of the system: a file may be larger than memory."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from plait.core.errors import ArgumentError, IndexOutOfRangeError, message
from plait.data.dataset import Dataset, same_length
from plait.tensor.creation import as_tensor
from plait.tensor.tensor import Tensor

Array = np.ndarray[Any, Any]
Path_ = str | os.PathLike[str]


class _Mapped:
    """An array in a file; what is pickled is where it is, not what it holds."""

    def __init__(self, path: Path_, dtype: Any, shape: Sequence[int]) -> None:
        self.path, self.dtype, self.shape = Path(path), dtype, tuple(shape)
        self.array = self._opened()

    def _opened(self) -> Array:
        if self.path.suffix == ".npy":
            return np.load(self.path, mmap_mode="r")
        if self.dtype is None:
            fix = "pass dtype=, e.g. np.uint16"
            raise ArgumentError(message(f"{self.path.name} does not say what it holds", "no dtype", None, fix))
        size, item = self.path.stat().st_size, np.dtype(self.dtype).itemsize * max(1, int(np.prod(self.shape)))
        if not size or size % item:
            received, expected = f"{size} bytes", f"a positive multiple of {item} bytes, the size of an element"
            raise ArgumentError(message(f"{self.path} is no array of this dtype and shape", received, expected))
        return np.memmap(self.path, self.dtype, "r", shape=(size // item, *self.shape))

    def __reduce__(self) -> Any:
        return _Mapped, (self.path, self.dtype, self.shape)


class MemoryMappedDataset(Dataset[Any]):
    """Samples that are rows of arrays in files.

    Args:
        paths: .npy files; or raw files of numbers, for which `dtype` is needed. Sample i is row i of the file, or the
            tuple of the rows of several files.
        dtype: the dtype of raw files.
        shape: the shape of a row of raw files.

    Raises:
        ArgumentError: a raw file without a dtype, or of another size than a number of rows.
        ShapeError: the files have different numbers of rows.

    Example:
        >>> import tempfile, pathlib
        >>> folder = tempfile.TemporaryDirectory()
        >>> path = pathlib.Path(folder.name) / "x.npy"
        >>> np.save(path, np.arange(6).reshape(3, 2))
        >>> dataset = plait.data.MemoryMappedDataset(path)
        >>> len(dataset), dataset[1]
        (3, tensor([2, 3]))
        >>> del dataset
        >>> folder.cleanup()
    """

    def __init__(self, *paths: Path_, dtype: Any = None, shape: Sequence[int] = ()) -> None:
        self._files = [_Mapped(path, dtype, shape) for path in paths]
        same_length([file.array for file in self._files], [file.path.name for file in self._files], type(self).__name__)

    @property
    def arrays(self) -> list[Array]:
        """The arrays, read only."""
        return [file.array for file in self._files]

    def __len__(self) -> int:
        return len(self._files[0].array)

    def __getitem__(self, index: Any) -> Any:
        rows = [as_tensor(np.array(array[index])) for array in self.arrays]
        return tuple(rows) if len(rows) > 1 else rows[0]

    def collated(self, indices: Sequence[int]) -> Any:
        """Return the rows of several samples."""
        rows = [as_tensor(np.asarray(array[indices])) for array in self.arrays]
        return rows if len(rows) > 1 else rows[0]


class TokenDataset(Dataset[tuple[Tensor, Tensor]]):
    """Windows of a long sequence of tokens in files, each with the tokens that come next.

    Args:
        paths: a file, or several: .npy vectors, or raw files of numbers (.bin). No window reaches over two files.
        length: tokens in a window.
        stride: from the beginning of a window to that of the next, by default `length`.
        dtype: the dtype of raw files.

    Sample i is the pair (inputs, targets) of int64 tensors [length]; targets are inputs one token later.

    Raises:
        ArgumentError: no file has `length + 1` tokens.

    Example:
        >>> import tempfile, pathlib
        >>> folder = tempfile.TemporaryDirectory()
        >>> path = pathlib.Path(folder.name) / "tokens.bin"
        >>> np.arange(10, dtype=np.uint16).tofile(path)
        >>> dataset = plait.data.TokenDataset(path, length=4)
        >>> len(dataset), dataset[1]
        (2, (tensor([4, 5, 6, 7]), tensor([5, 6, 7, 8])))
        >>> del dataset
        >>> folder.cleanup()
    """

    def __init__(
        self, paths: Path_ | Sequence[Path_], length: int, stride: int | None = None, dtype: Any = np.uint16
    ) -> None:
        self.length, self.stride = length, length if stride is None else stride
        if self.length < 1 or self.stride < 1:
            raise ArgumentError(message("Windows have tokens", f"length={length}, stride={stride}", "at least 1"))
        several = [paths] if isinstance(paths, (str, os.PathLike)) else paths
        self._files = [_Mapped(path, dtype, ()) for path in several]
        counts = [max(0, (len(file.array) - length - 1) // self.stride + 1) for file in self._files]
        self._ends = np.cumsum(counts)
        if not sum(counts):
            received = f"files of {[len(file.array) for file in self._files][:10]} tokens"
            raise ArgumentError(message("There is no whole window", received, f"length + 1 = {length + 1} tokens"))

    def __len__(self) -> int:
        return int(self._ends[-1])

    def _window(self, index: int) -> Array:
        position = index + len(self) if index < 0 else index
        if not 0 <= position < len(self):
            raise IndexOutOfRangeError(message("There is no such window", index, f"less than {len(self)}"))
        which = int(np.searchsorted(self._ends, position, side="right"))
        start = (position - (int(self._ends[which - 1]) if which else 0)) * self.stride
        return self._files[which].array[start : start + self.length + 1]

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        window = self._window(index).astype(np.int64)
        return as_tensor(window[:-1]), as_tensor(window[1:])

    def collated(self, indices: Sequence[int]) -> list[Tensor]:
        """Return several windows, each [N, length]."""
        inputs, targets = np.empty((2, len(indices), self.length), np.int64)
        for i, index in enumerate(indices):
            window = self._window(index)
            inputs[i], targets[i] = window[:-1], window[1:]
        return [as_tensor(inputs), as_tensor(targets)]
