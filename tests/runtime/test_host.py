"""Thread counts, quotas, cache folders and the doctor."""

from __future__ import annotations

import os
import stat
import tempfile
from pathlib import Path

import pytest

from plait.core.errors import ArgumentError
from plait.runtime import doctor, host


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


@pytest.mark.parametrize(
    ("groups", "files", "quota"),
    [
        ("0::/a/b\n", {}, None),
        ("0::/a/b\n", {"a/b/cpu.max": "max 100000"}, None),
        ("0::/a/b\n", {"a/b/cpu.max": "150000 100000"}, 1.5),
        ("0::/a/b\n", {"a/b/cpu.max": "max 100000", "a/cpu.max": "400000 100000"}, 4.0),
        ("0::/a/b\n", {"a/b/cpu.max": "800000 100000", "cpu.max": "300000 100000"}, 3.0),
        ("0::/../x\n", {"cpu.max": "50000 100000"}, 0.5),
        ("3:cpu,x:/j\n", {"cpu,x/j/cpu.cfs_quota_us": "200000", "cpu,x/j/cpu.cfs_period_us": "100000"}, 2.0),
        ("3:cpu:/j\n", {"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"}, None),
        ("3:memory:/j\n", {"cpu.max": "100000 100000"}, None),
        ("0::/\n", {"cpu.max": "nonsense"}, None),
    ],
)  # fmt: skip
def test_cgroup_quota(tmp_path: Path, groups: str, files: dict[str, str], quota: float | None) -> None:
    write(tmp_path / "proc", groups)
    for name, text in files.items():
        write(tmp_path / "fs" / name, text)
    assert host.cgroup_quota(tmp_path / "proc", tmp_path / "fs") == quota


def test_available_cpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host, "affinity", lambda: 8)
    for quota, expected in ((None, 8), (2.9, 2), (0.5, 1), (100.0, 8)):
        monkeypatch.setattr(host, "cgroup_quota", lambda quota=quota: quota)
        assert host.available_cpus() == expected


def test_thread_count_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host, "_threads", None)
    monkeypatch.setenv("PLAIT_NUM_THREADS", "3")
    assert host.thread_count() == 3
    for text in ("0", "-1", "many"):
        monkeypatch.setattr(host, "_threads", None)
        monkeypatch.setenv("PLAIT_NUM_THREADS", text)
        with pytest.raises(ArgumentError, match="PLAIT_NUM_THREADS"):
            host.thread_count()


def test_set_thread_count_refuses_nonsense() -> None:
    with pytest.raises(ArgumentError, match="At least one thread"):
        host.set_thread_count(0)


def test_cache_root(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PLAIT_CACHE_DIR", str(tmp_path / "named"))
    assert host.cache_root() == tmp_path / "named"
    assert host.cache_directory() == tmp_path / "named"
    monkeypatch.delenv("PLAIT_CACHE_DIR")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert host.cache_root() == tmp_path / "plait"


def test_the_spare_cache_folder_is_private(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    write(tmp_path / "file", "")
    monkeypatch.setenv("PLAIT_CACHE_DIR", str(tmp_path / "file" / "cache"))
    monkeypatch.setattr(tempfile, "gettempdir", lambda: str(tmp_path))
    with pytest.warns(UserWarning, match="is not writable; compiled code is kept in"):
        spare = host.cache_directory()
    assert spare is not None and spare.parent == tmp_path
    if hasattr(os, "getuid"):
        assert stat.S_IMODE(spare.stat().st_mode) == 0o700
        spare.chmod(0o777)
        with pytest.warns(UserWarning, match="no writable cache folder"):
            assert host.cache_directory() is None


def test_doctor() -> None:
    text = doctor.report(lambda: "1 + 1 = 2")
    for word in ("python", "llvmlite", "-bit vectors", "threads", "cache", "cpu", "cuda", "1 + 1 = 2"):
        assert word in text
    assert "FAILED: ZeroDivisionError" in doctor.report(lambda: str(1 / 0))
