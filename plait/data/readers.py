"""Files of images, lines and tables as datasets, through Pillow and pyarrow."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from plait.core.errors import ArgumentError, IndexOutOfRangeError, message
from plait.data.dataset import Dataset, PackedList
from plait.data.extras import package
from plait.tensor.creation import as_tensor

Path_ = str | os.PathLike[str]
IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".pgm", ".tif", ".tiff", ".webp")


def several(paths: Path_ | Sequence[Path_]) -> list[Path]:
    """Return one path, or several, as a list."""
    return [Path(p) for p in ([paths] if isinstance(paths, (str, os.PathLike)) else paths)]


def read_image(path: Path_) -> Any:
    """Read a file as an RGB image.

    Returns:
        An image of Pillow; `plait.data.transforms` take it.

    Raises:
        MissingDependencyError: Pillow is not installed.

    Example:
        >>> import tempfile, pathlib
        >>> from PIL import Image
        >>> folder = tempfile.TemporaryDirectory()
        >>> Image.new("L", (4, 3)).save(pathlib.Path(folder.name) / "a.png")
        >>> plait.data.read_image(pathlib.Path(folder.name) / "a.png").size
        (4, 3)
        >>> folder.cleanup()
    """
    with package("PIL.Image", "Reading images").open(path) as image:
        return image.convert("RGB")


class ImageFolder(Dataset[tuple[Any, int]]):
    """Images in one folder for each class, as in torchvision: `root/dog/1.png`, `root/cat/2.png`.

    Args:
        root: the folder.
        transform: makes of an image what the sample has.
        target_transform: makes of the number of a class what the sample has.
        loader: reads a file, by default `read_image`.
        is_valid_file: whether a file is one of the images, by default by its suffix.

    `classes` are the names in alphabetical order, `class_to_idx` their numbers.

    Raises:
        ArgumentError: there is no folder of a class, or one without images.

    Example:
        >>> import tempfile, pathlib
        >>> from PIL import Image
        >>> folder = tempfile.TemporaryDirectory()
        >>> for name in ("cat", "dog"):
        ...     (pathlib.Path(folder.name) / name).mkdir()
        ...     Image.new("RGB", (4, 3)).save(pathlib.Path(folder.name) / name / "1.png")
        >>> dataset = plait.data.ImageFolder(folder.name, plait.data.transforms.ToTensor())
        >>> image, label = dataset[1]
        >>> image.shape, dataset.classes[label]
        ((3, 3, 4), 'dog')
        >>> folder.cleanup()
    """

    def __init__(
        self, root: Path_, transform: Callable[[Any], Any] | None = None,
        target_transform: Callable[[int], Any] | None = None, loader: Callable[[Any], Any] = read_image,
        is_valid_file: Callable[[str], bool] | None = None,
    ) -> None:  # fmt: skip
        self.root, self.loader = Path(root), loader
        self.transform, self.target_transform = transform, target_transform
        self.classes = sorted(entry.name for entry in os.scandir(self.root) if entry.is_dir())
        self.class_to_idx = {name: i for i, name in enumerate(self.classes)}
        valid = is_valid_file or (lambda path: path.lower().endswith(IMAGE_SUFFIXES))
        found = [self._files(name, valid) for name in self.classes]
        empty = [name for name, files in zip(self.classes, found, strict=True) if not files]
        if empty or not found:
            received = f"no images in {', '.join(empty)}" if found else "no folders"
            expected = "a folder for each class, each with files " + ", ".join(IMAGE_SUFFIXES)
            raise ArgumentError(message(f"{self.root} is no folder of images", received, expected))
        self.targets = [i for i, files in enumerate(found) for _ in files]
        self._paths = PackedList(path for files in found for path in files)

    def _files(self, name: str, valid: Callable[[str], bool]) -> list[str]:
        walk = os.walk(self.root / name, followlinks=True)
        return sorted(path for folder, _, files in walk for file in files if valid(path := os.path.join(folder, file)))

    @property
    def samples(self) -> list[tuple[str, int]]:
        """The path and class of each image."""
        return list(zip(self._paths[:], self.targets, strict=True))

    imgs = samples

    def __len__(self) -> int:
        return len(self._paths)

    def __getitem__(self, index: int) -> tuple[Any, Any]:
        path, target = self._paths[index], self.targets[index]
        try:
            image = self.loader(path)
        except Exception as error:
            error.add_note(f"while reading {path}")
            raise
        return self.transform(image) if self.transform else image, (
            self.target_transform(target) if self.target_transform else target
        )


class TextLineDataset(Dataset[Any]):
    """The lines of text files, by index; only where lines begin is kept in memory.

    Args:
        paths: a file, or several.
        transform: makes of a line, a string without its end, what the sample is.
        encoding: of the files, one in which a line ends with the byte 10, like UTF-8.

    Example:
        >>> import tempfile, pathlib
        >>> folder = tempfile.TemporaryDirectory()
        >>> path = pathlib.Path(folder.name) / "a.txt"
        >>> size = path.write_text("one\\ntwo\\nthree")
        >>> dataset = plait.data.TextLineDataset(path, str.upper)
        >>> len(dataset), dataset[2]
        (3, 'THREE')
        >>> folder.cleanup()
    """

    def __init__(
        self, paths: Path_ | Sequence[Path_], transform: Callable[[str], Any] | None = None, encoding: str = "utf-8"
    ) -> None:
        self.paths, self.transform, self.encoding = several(paths), transform, encoding
        starts = [_line_starts(path) for path in self.paths]  # each ends with the size of the file
        self._file = np.repeat(np.arange(len(starts)), [len(s) - 1 for s in starts])
        self._start = np.concatenate([s[:-1] for s in starts])
        self._end = np.concatenate([s[1:] for s in starts])

    def __len__(self) -> int:
        return len(self._start)

    def __getitem__(self, index: int) -> Any:
        if not -len(self) <= index < len(self):
            raise IndexOutOfRangeError(message("There is no such line", index, f"less than {len(self)}"))
        with open(self.paths[self._file[index]], "rb") as file:
            file.seek(self._start[index])
            line = file.read(self._end[index] - self._start[index]).rstrip(b"\r\n").decode(self.encoding)
        return self.transform(line) if self.transform else line


def _line_starts(path: Path) -> np.ndarray[Any, Any]:
    """Return where lines begin, and the size of the file."""
    starts, offset = [np.zeros(1, np.int64)], 0
    with open(path, "rb") as file:
        while block := file.read(1 << 24):
            starts.append(np.flatnonzero(np.frombuffer(block, np.uint8) == 10) + offset + 1)
            offset += len(block)
    return np.unique(np.concatenate([*starts, np.array([offset])]))


def _read_arrow(path: Path, columns: Sequence[str] | None) -> Any:
    arrow, ipc = package("pyarrow", "Reading tables"), package("pyarrow.ipc", "Reading tables")
    source = arrow.memory_map(str(path))
    try:
        table = ipc.open_file(source).read_all()
    except arrow.ArrowInvalid:  # a stream has no footer
        table = ipc.open_stream(source).read_all()
    return table.select(list(columns)) if columns else table


def _read_csv(path: Path, columns: Sequence[str] | None) -> Any:
    csv = package("pyarrow.csv", "Reading CSV files")
    return csv.read_csv(path, convert_options=csv.ConvertOptions(include_columns=list(columns or ())))


def _read_parquet(path: Path, columns: Sequence[str] | None) -> Any:
    return package("pyarrow.parquet", "Reading Parquet files").read_table(path, columns=columns and list(columns))


_TABLES: dict[str, Callable[[Path, Sequence[str] | None], Any]] = {
    ".csv": _read_csv, ".parquet": _read_parquet, ".arrow": _read_arrow, ".feather": _read_arrow,
}  # fmt: skip


def read_table(path: Path_, columns: Sequence[str] | None = None) -> Any:
    """Read a table from a CSV, Parquet, Arrow or Feather file, by the suffix of its name.

    Args:
        path: the file.
        columns: which columns, by default all.

    Returns:
        A table of pyarrow.

    Raises:
        ArgumentError: another suffix.
        MissingDependencyError: pyarrow is not installed.

    Example:
        >>> import tempfile, pathlib
        >>> folder = tempfile.TemporaryDirectory()
        >>> path = pathlib.Path(folder.name) / "a.csv"
        >>> size = path.write_text("x,y\\n1,a\\n2,b\\n")
        >>> plait.data.read_table(path).num_rows
        2
        >>> folder.cleanup()
    """
    reader = _TABLES.get(Path(path).suffix.lower())
    if reader is None:
        raise ArgumentError(message("This is no table that can be read", Path(path).name, ", ".join(_TABLES)))
    return reader(Path(path), columns)


class TableDataset(Dataset[Any]):
    """The rows of tables in CSV, Parquet, Arrow or Feather files.

    Args:
        paths: a file, or several with the same columns.
        columns: which columns, by default all.
        transform: makes of a row, a dict of Python values, what the sample is.

    Example:
        >>> import tempfile, pathlib
        >>> folder = tempfile.TemporaryDirectory()
        >>> path = pathlib.Path(folder.name) / "a.csv"
        >>> size = path.write_text("x,y\\n1,a\\n2,b\\n")
        >>> dataset = plait.data.TableDataset(path)
        >>> dataset[1]
        {'x': 2, 'y': 'b'}
        >>> next(iter(plait.data.DataLoader(dataset, batch_size=2)))
        {'x': tensor([1, 2]), 'y': ['a', 'b']}
        >>> folder.cleanup()
    """

    def __init__(
        self, paths: Path_ | Sequence[Path_], columns: Sequence[str] | None = None,
        transform: Callable[[dict[str, Any]], Any] | None = None,
    ) -> None:  # fmt: skip
        tables = [read_table(path, columns) for path in several(paths)]
        self.table = package("pyarrow", "Reading tables").concat_tables(tables)
        self.transform = transform

    def __len__(self) -> int:
        return self.table.num_rows

    def __getitem__(self, index: int) -> Any:
        position = index + len(self) if index < 0 else index
        if not 0 <= position < len(self):
            raise IndexOutOfRangeError(message("There is no such row", index, f"less than {len(self)}"))
        row = self.table.slice(position, 1).to_pylist()[0]
        return self.transform(row) if self.transform else row


def rows_of(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the rows of a table, a part of it at a time."""
    if path.suffix.lower() == ".parquet":
        batches = package("pyarrow.parquet", "Reading Parquet files").ParquetFile(path).iter_batches()
    else:
        batches = read_table(path).to_batches()
    for batch in batches:
        yield from batch.to_pylist()


def arrays_of(path: Path) -> Iterator[Any]:
    """Yield the rows of an array in a .npy file."""
    for row in np.load(path, mmap_mode="r"):
        yield as_tensor(np.array(row))


def lines_of(path: Path) -> Iterator[str]:
    """Yield the lines of a text file."""
    with open(path, encoding="utf-8", newline="\n") as file:
        for line in file:
            yield line.rstrip("\r\n")
