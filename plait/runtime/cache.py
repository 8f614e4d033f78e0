"""The persistent cache of object code: one file per entry, checked when read, replaced atomically when written.

What is read is executed. So a file counts only where nobody but this user and the superuser could have written it: by
its owner and permissions, in a folder that `host.cache_directory` has judged likewise. Its digest, which covers its
name too, guards against damage, not against whoever may write there.
"""

from __future__ import annotations

import contextlib
import functools
import os
import re
import stat
import threading
import time
import warnings
from hashlib import blake2b
from pathlib import Path

import llvmlite

from plait.runtime import host

_MAGIC = b"plait\x00\x00\x02"
_DIGEST = 16
_HEADER = len(_MAGIC) + 8 + _DIGEST
_LIMIT = 1 << 30
_LARGEST = 1 << 28  # bytes of one entry
_DAY = 86400.0
_SOURCES = ("core", "ir", "prims", "compiler")
_READ = os.O_RDONLY | getattr(os, "O_BINARY", 0) | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
_WRITE = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | getattr(os, "O_BINARY", 0) | getattr(os, "O_NOFOLLOW", 0)
_ENTRY = re.compile(r"[0-9a-f]{40}(\.\d+\.\d+\.tmp)?")
_FOLDER = re.compile(r"[0-9a-f]{16}")


class ObjectCache:
    """Object code of one target, in `root`/version/target/.

    Concurrent processes may use one folder. Damaged entries, and those that others could have written, count as
    missing. Where the folder cannot be written the cache says so once and writes no more. The least recently used
    entries of `root` go when they exceed `limit` bytes; no other file is touched.
    """

    def __init__(self, root: Path | None, target: str, version: str = "", limit: int = _LIMIT) -> None:
        self.root, self.limit = root, limit
        self._puts = 0
        self._folder = ""
        self._is_writable = root is not None
        if root is not None:
            folder = root / _name(version or compiler_version(), 8) / _name(target, 8)
            self._folder = str(folder) + os.sep
            try:
                for made in (root, folder.parent, folder):
                    made.mkdir(mode=0o700, parents=True, exist_ok=True)
            except OSError as error:
                self._give_up_writing(error)

    def get(self, key: str | bytes) -> bytes | None:
        """Return the data stored under `key`, or None if there is none or it is damaged."""
        if not self._folder:
            return None
        name = _name(key, 20)
        path = self._folder + name
        try:
            descriptor = os.open(path, _READ)
        except OSError:
            return None
        try:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode) or status.st_size > _LARGEST or not host.is_own(status):
                return None
            content = os.read(descriptor, status.st_size)
        except OSError:
            return None
        finally:
            os.close(descriptor)
        data = content[_HEADER:]
        if content[:_HEADER] != _header(name, data):
            return None
        if time.time() - status.st_mtime > _DAY:
            _touch(path)
        return data

    def put(self, key: str | bytes, data: bytes) -> None:
        """Store `data` under `key`; never fails."""
        if not self._is_writable:
            return
        name = _name(key, 20)
        path = self._folder + name
        draft = f"{path}.{os.getpid()}.{threading.get_ident()}.tmp"
        try:
            with open(os.open(draft, _WRITE, 0o600), "wb") as file:
                file.write(_header(name, data) + data)
        except OSError as error:
            _remove(draft)
            self._give_up_writing(error)
            return
        try:
            os.replace(draft, path)
        except OSError:  # a folder is in its place, or, on Windows, somebody reads it
            _remove(draft)
        if self._puts % 1000 == 0:
            self._clean_when_due()
        self._puts += 1

    def size(self) -> tuple[int, int]:
        """Return (entries, bytes) under `root`, every version and target included."""
        files = _entries(self.root) if self.root is not None else []
        return len(files), sum(size for _, size, _ in files)

    def clean(self) -> None:
        """Delete the least recently used files until four fifths of the limit are left."""
        if self.root is None:
            return
        files = sorted(_entries(self.root))
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

    def _give_up_writing(self, error: OSError) -> None:
        if self._is_writable:
            self._is_writable = False
            warnings.warn(f"plait: compiled code cannot be kept in {self.root} ({error})", stacklevel=4)


def _header(name: str, data: bytes) -> bytes:
    digest = blake2b(data, digest_size=_DIGEST, key=name.encode()).digest()
    return _MAGIC + len(data).to_bytes(8, "little") + digest


def _name(key: str | bytes, size: int) -> str:
    return blake2b(key.encode() if isinstance(key, str) else key, digest_size=size).hexdigest()


def _touch(path: str) -> None:
    with contextlib.suppress(OSError):
        os.utime(path)


def _remove(path: str) -> None:
    with contextlib.suppress(OSError):
        os.unlink(path)


def _inside(folder: str, pattern: re.Pattern[str]) -> list[str]:
    """The paths in a folder whose names match."""
    try:
        return [os.path.join(folder, name) for name in os.listdir(folder) if pattern.fullmatch(name)]
    except OSError:
        return []


def _entries(root: Path) -> list[tuple[float, int, str]]:
    """(time of last use, size, path) of every entry under `root`; those that vanish meanwhile are left out."""
    found = []
    for version in _inside(str(root), _FOLDER):
        for target in _inside(version, _FOLDER):
            for path in _inside(target, _ENTRY):
                try:
                    status = os.lstat(path)
                except OSError:
                    continue
                found.append((status.st_mtime, status.st_size, path))
    return found


@functools.cache
def compiler_version() -> str:
    """Return a digest of what determines generated code: the version of LLVM's binding, and the compiler's sources.

    It is the same wherever the package is installed, so that the cache can be copied along with it.
    """
    return _version(Path(__file__).parent.parent)


def _version(package: Path) -> str:
    digest = blake2b(llvmlite.__version__.encode(), digest_size=8)
    for part in _SOURCES:
        for folder, inner, names in os.walk(package / part):
            inner.sort()
            for name in sorted(names):
                if name.endswith(".py"):
                    path = os.path.join(folder, name)
                    with open(path, "rb") as file:
                        content = file.read()
                    digest.update(f"{os.path.relpath(path, package)} {len(content)}\n".encode())
                    digest.update(content)
    return digest.hexdigest()


@functools.cache
def object_cache(target: str) -> ObjectCache:
    """Return the process's cache for `target`, a text that names everything the code of a machine depends on."""
    return ObjectCache(host.cache_directory(), target)
