"""The persistent object-code cache."""

from __future__ import annotations

import multiprocessing
import os
import time
from pathlib import Path

import pytest

from plait.runtime import cache as cache_module
from plait.runtime.cache import ObjectCache, compiler_version


def entries(root: Path) -> list[Path]:
    return [p for p in root.rglob("*") if p.is_file() and p.name != "cleaned"]


def test_round_trip(tmp_path: Path) -> None:
    cache = ObjectCache(tmp_path, "target")
    assert cache.get("key") is None
    cache.put("key", b"code")
    cache.put(b"key2", b"")
    assert cache.get("key") == b"code" and cache.get(b"key") == b"code" and cache.get("key2") == b""
    assert ObjectCache(tmp_path, "target").get("key") == b"code"
    assert ObjectCache(tmp_path, "other").get("key") is None
    assert ObjectCache(tmp_path, "target", version="other").get("key") is None
    assert cache.size()[0] == 2


@pytest.mark.parametrize("damage", ["flip", "cut", "grow", "empty", "header"])
def test_damaged_entries_are_ignored_and_rewritten(tmp_path: Path, damage: str) -> None:
    cache = ObjectCache(tmp_path, "target")
    cache.put("key", bytes(range(256)))
    (path,) = entries(tmp_path)
    content = bytearray(path.read_bytes())
    if damage == "flip":
        content[-1] ^= 1
    elif damage == "header":
        content[10] ^= 1
    path.write_bytes({"cut": content[:-1], "grow": content + b"x", "empty": b""}.get(damage, content))
    assert cache.get("key") is None
    cache.put("key", bytes(range(256)))
    assert cache.get("key") == bytes(range(256))


def _write_and_read(root: Path, seed: int) -> None:
    cache = ObjectCache(root, "target")
    for k in range(150):
        key = f"{(k * 7 + seed) % 20}"
        cache.put(key, key.encode() * 5000)
        found = cache.get(f"{k % 20}")
        if found is not None and found != f"{k % 20}".encode() * 5000:
            os._exit(1)


def test_concurrent_writers(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork" if hasattr(os, "fork") else "spawn")
    processes = [context.Process(target=_write_and_read, args=(tmp_path, seed)) for seed in range(3)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(30)
        assert process.exitcode == 0
    assert len(entries(tmp_path)) == 20


def test_the_oldest_files_go_first(tmp_path: Path) -> None:
    cache = ObjectCache(tmp_path, "target", limit=10_000)
    now = time.time()
    for k in range(20):
        cache.put(str(k), bytes(960))
        newest = max(entries(tmp_path), key=lambda p: p.stat().st_mtime)
        os.utime(newest, (now - 1000 + k, now - 1000 + k))
    assert cache.get("0") is not None
    cache.clean()
    assert cache.size()[1] <= 8_000
    assert cache.get("0") is None and cache.get("19") is not None


def test_reading_an_old_entry_makes_it_recent(tmp_path: Path) -> None:
    cache = ObjectCache(tmp_path, "target")
    cache.put("key", b"code")
    (path,) = entries(tmp_path)
    os.utime(path, (0, 0))
    assert cache.get("key") == b"code"
    assert time.time() - path.stat().st_mtime < 100


def test_cleaning_happens_once_a_day(tmp_path: Path) -> None:
    ObjectCache(tmp_path, "target", limit=100).put("a", bytes(1000))
    assert not entries(tmp_path)
    ObjectCache(tmp_path, "target", limit=100).put("a", bytes(1000))
    assert entries(tmp_path)
    os.utime(tmp_path / "cleaned", (0, 0))
    ObjectCache(tmp_path, "target", limit=100).put("b", bytes(1000))
    assert not entries(tmp_path)


def test_without_a_folder_nothing_is_kept() -> None:
    cache = ObjectCache(None, "target")
    cache.put("key", b"code")
    assert cache.get("key") is None
    assert cache.size() == (0, 0)
    cache.clean()


def test_a_folder_that_cannot_be_made_warns_once(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.warns(UserWarning, match="cannot be kept"):
        cache = ObjectCache(tmp_path / "file" / "cache", "target")
    cache.put("key", b"code")
    assert cache.get("key") is None


def test_a_folder_that_vanishes_warns_once(tmp_path: Path) -> None:
    cache = ObjectCache(tmp_path, "target")
    os.rename(tmp_path / os.listdir(tmp_path)[0], tmp_path / "elsewhere")
    with pytest.warns(UserWarning, match="cannot be kept"):
        cache.put("key", b"code")
    cache.put("key", b"code")
    assert cache.get("key") is None


def test_the_version_follows_the_sources(monkeypatch: pytest.MonkeyPatch) -> None:
    assert compiler_version() == compiler_version.__wrapped__()
    monkeypatch.setattr(cache_module, "_SOURCES", ("core",))
    assert compiler_version.__wrapped__() != compiler_version()
