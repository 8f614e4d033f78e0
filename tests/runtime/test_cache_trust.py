"""What the cache on disk survives: other users, full disks, other processes, being copied."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest

import plait
from plait.runtime import cache as cache_module, host
from plait.runtime.cache import ObjectCache

posix = pytest.mark.skipif(not hasattr(os, "geteuid"), reason="permissions of POSIX")
PROGRAM = """
import sys, plait
from plait.runtime.code import statistics
x = plait.ones(64, 9)
f = plait.jit(lambda x: plait.softmax(x @ x.T, -1).sum())
value = f(x).item()
for k in range(int(sys.argv[1])):
    assert plait.jit(lambda x: (x * 2 + k).exp().sum())(x).item() > 0
print(statistics.compiled, statistics.from_cache, value)
"""


def entry(root: Path) -> Path:
    """The one entry of a cache."""
    (path,) = [p for p in root.rglob("*") if p.is_file() and p.name != "cleaned"]
    return path


def _folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def _symlink(path: Path) -> None:
    path.rename(path.with_suffix(".real"))
    path.symlink_to(path.with_suffix(".real"))


def _pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def _sparse(path: Path) -> None:
    os.truncate(path, 1 << 40)


def _stranger(path: Path) -> None:
    if os.geteuid():
        pytest.skip("only the superuser gives files away")
    os.chown(path, 12345, -1)


HOSTILE: dict[str, Callable[[Path], None]] = {
    "a folder": _folder,
    "a symlink": _symlink,
    "a pipe": _pipe,
    "a terabyte": _sparse,
    "of another user": _stranger,
    "writable by the group": lambda path: path.chmod(0o620),
    "writable by all": lambda path: path.chmod(0o602),
    "random": lambda path: path.write_bytes(os.urandom(4096)),
}


@posix
@pytest.mark.parametrize("name", HOSTILE)
def test_what_others_may_have_written_is_not_read(tmp_path: Path, name: str) -> None:
    cache = ObjectCache(tmp_path, "target")
    cache.put("key", b"code" * 100)
    HOSTILE[name](entry(tmp_path))
    assert cache.get("key") is None
    cache.put("key", b"code" * 100)
    assert cache.get("key") == (None if name == "a folder" else b"code" * 100)
    cache.put("other", b"more")
    assert cache.get("other") == b"more"


def test_an_entry_under_another_name_is_not_read(tmp_path: Path) -> None:
    cache = ObjectCache(tmp_path, "target")
    cache.put("key", b"code")
    path = entry(tmp_path)
    path.rename(path.with_name(cache_module._name("other", 20)))
    assert cache.get("other") is None


@posix
def test_only_the_user_reads_and_writes_what_is_kept(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        ObjectCache(tmp_path / "cache", "target").put("key", b"code")
    finally:
        os.umask(before)
    assert entry(tmp_path / "cache").read_bytes()
    for path in (tmp_path / "cache").rglob("*"):
        if path.name != "cleaned":
            assert not path.stat().st_mode & 0o077


@posix
def test_a_folder_that_others_can_write_is_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shared = tmp_path / "shared"
    shared.mkdir()
    shared.chmod(0o777)
    (tmp_path / "spare").mkdir()
    monkeypatch.setenv("PLAIT_CACHE_DIR", str(shared))
    monkeypatch.setattr(tempfile, "gettempdir", lambda: str(tmp_path / "spare"))
    with pytest.warns(UserWarning, match="may be written by others"):
        found = host.cache_directory()
    assert found is not None and found.parent == tmp_path / "spare"
    shared.chmod(0o755)
    assert host.cache_directory() == shared


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no full device")
def test_a_full_disk_ends_writing_not_reading(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache = ObjectCache(tmp_path, "target")
    cache.put("key", b"code")
    open_file = os.open

    def full(path: str, flags: int, mode: int = 0o777) -> int:
        return open_file("/dev/full" if path.endswith(".tmp") else path, flags & ~os.O_CREAT, mode)

    monkeypatch.setattr(cache_module.os, "open", full)
    with pytest.warns(UserWarning, match=os.strerror(errno.ENOSPC)):
        cache.put("other", b"more")
    cache.put("third", b"more")
    assert cache.get("key") == b"code" and cache.get("other") is None
    assert entry(tmp_path)


def test_cleaning_deletes_only_entries(tmp_path: Path) -> None:
    photo = tmp_path / "holiday" / "photo"
    photo.parent.mkdir()
    photo.write_bytes(bytes(5000))
    cache = ObjectCache(tmp_path, "target", limit=100)
    cache.put("key", bytes(1000))
    cache.clean()
    assert photo.exists() and cache.get("key") is None


def test_the_version_does_not_depend_on_where_the_package_is(tmp_path: Path) -> None:
    package = Path(plait.__file__).parent
    copy = tmp_path / "plait"
    for part in cache_module._SOURCES:
        shutil.copytree(package / part, copy / part, ignore=shutil.ignore_patterns("__pycache__"))
    assert cache_module._version(copy) == cache_module.compiler_version()
    with open(copy / "ir" / "gemm.py", "a") as file:
        file.write("\n")
    assert cache_module._version(copy) != cache_module.compiler_version()


def start(root: Path, count: int) -> subprocess.Popen[str]:
    """Begin to compile in another process."""
    command = [sys.executable, "-W", "error", "-c", PROGRAM, str(count)]
    environment = {**os.environ, "PLAIT_CACHE_DIR": str(root)}
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def result(process: subprocess.Popen[str]) -> tuple[int, int, float]:
    """What it compiled, what it found, and what it computed."""
    out, error = process.communicate(timeout=60)
    assert process.returncode == 0, error
    compiled, found, value = out.split()
    return int(compiled), int(found), float(value)


def test_processes_share_a_cache_that_one_cleans_and_a_copy_of_it_serves_as_well(tmp_path: Path) -> None:
    root = tmp_path / "first"
    processes = [start(root, 6) for _ in range(3)]
    cleaner = None
    while any(p.poll() is None for p in processes):
        if root.exists():
            cleaner = cleaner or ObjectCache(root, "any", limit=2000)
            cleaner.clean()
    found = [result(p) for p in processes]
    assert len({value for _, _, value in found}) == 1
    assert result(start(root, 6))[2] == found[0][2]
    shutil.copytree(root, tmp_path / "second")
    compiled, from_cache, value = result(start(tmp_path / "second", 6))
    assert compiled == 0 and from_cache > 0 and value == found[0][2]
