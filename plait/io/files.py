"""Files and folders that appear whole or not at all, whatever happens while they are written."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from plait.core.errors import message

Location = str | os.PathLike[str]
PARTIAL = ".partial"


def existing_folder(folder: Path) -> Path:
    """Return `folder`; a `FileNotFoundError` says so if there is none."""
    if not folder.is_dir():
        raise FileNotFoundError(message("There is no such folder", folder, None, "create it first"))
    return folder


def sync_folder(folder: Path) -> None:
    """Write the names in a folder to disk, where the system can do that for a folder."""
    if os.name == "posix":
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def sync(file: BinaryIO) -> None:
    """Write what a file holds to disk."""
    file.flush()
    os.fsync(file.fileno())


@contextlib.contextmanager
def new_file(path: Location) -> Iterator[BinaryIO]:
    """Open a file that takes the place of `path` in one step at the end of the block, or not at all.

    What the block wrote is on disk before; an exception leaves the old file as it was.
    """
    import tempfile  # here, and shutil below: they are slow to import, and few write files

    target = Path(path)
    handle, temporary = tempfile.mkstemp(prefix=target.name, suffix=PARTIAL, dir=existing_folder(target.parent))
    try:
        with os.fdopen(handle, "wb") as file:
            yield file
            sync(file)
        os.chmod(temporary, 0o666 & ~_umask())
        os.replace(temporary, target)
        sync_folder(target.parent)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)
        raise


@contextlib.contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """Give the name of a folder to be filled, which is called `path` at the end of the block, or does not exist.

    There must be no folder `path` yet. The block sees to it that the contents of its files are on disk.
    """
    import shutil
    import tempfile

    temporary = Path(tempfile.mkdtemp(prefix=f".{path.name}-", suffix=PARTIAL, dir=existing_folder(path.parent)))
    try:
        yield temporary
        sync_folder(temporary)
        os.chmod(temporary, 0o777 & ~_umask())
        os.rename(temporary, path)
        sync_folder(path.parent)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise


def remove_folder(path: Path) -> None:
    """Remove a folder; nobody sees a part of it under its own name."""
    import shutil

    doomed = path.with_name(f".{path.name}-removed{PARTIAL}")
    shutil.rmtree(doomed, ignore_errors=True)
    os.rename(path, doomed)
    shutil.rmtree(doomed)


def remove_partial_folders(folder: Path) -> None:
    """Remove what a killed process left behind."""
    import shutil

    for left in folder.glob(f".*{PARTIAL}"):
        shutil.rmtree(left, ignore_errors=True)


def _umask() -> int:
    current = os.umask(0)
    os.umask(current)
    return current
