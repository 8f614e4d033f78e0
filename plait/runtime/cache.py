"""The persistent cache of object code: one file per entry, checked when read, replaced atomically when written."""

from __future__ import annotations

import contextlib
import functools
import os
import threading
import time
import warnings
from hashlib import blake2b
from pathlib import Path

import llvmlite

from plait.runtime import host

_MAGIC = b"plait\x00\x00\x01"
_DIGEST = 16
_HEADER = len(_MAGIC) + 8 + _DIGEST
_LIMIT = 1 << 30
_DAY = 86400.0
_SOURCES = ("core", "ir", "prims", "compiler")


class ObjectCache:
    """Object code of one target, in `root`/version/target/.

    Concurrent processes may use one folder. Damaged entries count as missing. Where the folder cannot be written the
    cache says so once and stays empty. The least recently used files of `root` go when they exceed `limit` bytes.
    """

    def __init__(self, root: Path | None, target: str, version: str = "", limit: int = _LIMIT) -> None:
        self.root, self.limit = root, limit
        self._puts = 0
        self._folder = ""
        if root is not None:
            folder = root / (version or compiler_version()) / _name(target, 8)
            self._folder = str(folder) + os.sep
            try:
                folder.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                self._disable(error)

    def get(self, key: str | bytes) -> bytes | None:
        """Return the data stored under `key`, or None if there is none or it is damaged."""
        if not self._folder:
            return None
        path = self._folder + _name(key, 20)
        try:
            descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_BINARY", 0))
        except OSError:
            return None
        try:
            status = os.fstat(descriptor)
            content = os.read(descriptor, status.st_size)
        except OSError:
            return None
        finally:
            os.close(descriptor)
        data = content[_HEADER:]
        if content[:_HEADER] != _header(data):
            return None
        if time.time() - status.st_mtime > _DAY:
            _touch(path)
        return data

    def put(self, key: str | bytes, data: bytes) -> None:
        """Store `data` under `key`; never fails."""
        if not self._folder:
            return
        path = self._folder + _name(key, 20)
        draft = f"{path}.{os.getpid()}.{threading.get_ident()}.tmp"
        try:
            with open(draft, "wb") as file:
                file.write(_header(data) + data)
            os.replace(draft, path)
        except OSError as error:
            self._disable(error)
            return
        if self._puts % 1000 == 0:
            self._clean_when_due()
        self._puts += 1

    def size(self) -> tuple[int, int]:
        """Return (files, bytes) under `root`, every version and target included."""
        files = _files(self.root) if self.root is not None else []
        return len(files), sum(size for _, size, _ in files)

    def clean(self) -> None:
        """Delete the least recently used files until four fifths of the limit are left."""
        if self.root is None:
            return
        files = sorted(_files(self.root))
        total = sum(size for _, size, _ in files)
        if total <= self.limit:
            return
        for _, size, path in files:
            if total <= self.limit * 4 // 5:
                break
            try:
                os.unlink(path)
            except OSError:
                continue
            total -= size

    def _clean_when_due(self) -> None:
        """Clean once a day, whichever process comes first."""
        assert self.root is not None
        marker = str(self.root / "cleaned")
        try:
            if self._puts == 0 and time.time() - os.stat(marker).st_mtime < _DAY:
                return
        except OSError:
            pass
        try:
            with open(marker, "wb"):
                pass
        except OSError:
            return
        _touch(marker)
        self.clean()

    def _disable(self, error: OSError) -> None:
        if self._folder:
            self._folder = ""
            warnings.warn(f"plait: compiled code cannot be kept in {self.root} ({error})", stacklevel=4)


def _header(data: bytes) -> bytes:
    return _MAGIC + len(data).to_bytes(8, "little") + blake2b(data, digest_size=_DIGEST).digest()


def _name(key: str | bytes, size: int) -> str:
    return blake2b(key.encode() if isinstance(key, str) else key, digest_size=size).hexdigest()


def _touch(path: str) -> None:
    with contextlib.suppress(OSError):
        os.utime(path)


def _files(root: Path) -> list[tuple[float, int, str]]:
    """(time of last use, size, path) of every file under `root`; files that vanish meanwhile are left out."""
    found = []
    for folder, _, names in os.walk(root):
        for name in names:
            path = os.path.join(folder, name)
            try:
                status = os.stat(path)
            except OSError:
                continue
            found.append((status.st_mtime, status.st_size, path))
    return found


@functools.cache
def compiler_version() -> str:
    """Return a digest of the sources that determine generated code: names, sizes and times of files, and LLVM."""
    package = Path(__file__).parent.parent
    rows = [llvmlite.__version__]
    for part in _SOURCES:
        for folder, _, names in os.walk(package / part):
            for name in names:
                if name.endswith(".py"):
                    status = os.stat(os.path.join(folder, name))
                    rows.append(f"{folder} {name} {status.st_size} {status.st_mtime_ns}")
    return _name("\n".join(sorted(rows)), 8)


@functools.cache
def object_cache(target: str) -> ObjectCache:
    """Return the process's cache for `target`, a text that names everything the code of a machine depends on."""
    return ObjectCache(host.cache_directory(), target)
