"""The host: how many threads to use and where files may be kept."""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Callable
from pathlib import Path

from plait.core.errors import ArgumentError, message

_threads: int | None = None
_listeners: list[Callable[[int], None]] = []


def affinity() -> int:
    """Return the number of CPUs that this process may be scheduled on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def cgroup_quota(proc: Path = Path("/proc/self/cgroup"), mount: Path = Path("/sys/fs/cgroup")) -> float | None:
    """Return the CPU quota of the control group in CPUs (versions 1 and 2), or None where there is none.

    A group is bounded by its parents too, so the smallest quota on the way to the root counts.
    """
    try:
        lines = proc.read_text().splitlines()
    except OSError:
        return None
    quotas: list[float] = []
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if not controllers:
            quotas += _quotas_upwards(mount, path, _quota_v2)
        elif "cpu" in controllers.split(","):
            quotas += _quotas_upwards(mount / "cpu", path, _quota_v1)
            quotas += _quotas_upwards(mount / controllers, path, _quota_v1)
    return min(quotas, default=None)


def _quotas_upwards(root: Path, path: str, read: Callable[[Path], float | None]) -> list[float]:
    inner = root / path.lstrip("/")
    folders = [inner, *inner.parents][: len(inner.parts) - len(root.parts) + 1]
    return [quota for folder in folders if (quota := read(folder)) is not None]


def _quota_v2(folder: Path) -> float | None:
    try:
        quota, period = (folder / "cpu.max").read_text().split()
        return None if quota == "max" else int(quota) / int(period)
    except (OSError, ValueError):
        return None


def _quota_v1(folder: Path) -> float | None:
    try:
        quota = int((folder / "cpu.cfs_quota_us").read_text())
        return None if quota <= 0 else quota / int((folder / "cpu.cfs_period_us").read_text())
    except (OSError, ValueError):
        return None


def available_cpus() -> int:
    """Return how many threads can run at once: the affinity mask, bounded by the control group's quota."""
    quota = cgroup_quota()
    return affinity() if quota is None else max(1, min(affinity(), int(quota)))


def thread_count() -> int:
    """Return the number of threads that programs use, the calling one included.

    It is what `plait.set_num_threads` said last, else PLAIT_NUM_THREADS, else the CPUs that the process may use.

    Example:
        >>> plait.get_num_threads() >= 1
        True
    """
    global _threads
    if _threads is None:
        text = os.environ.get("PLAIT_NUM_THREADS", "")
        if text and not (text.isdecimal() and int(text)):
            raise ArgumentError(message("PLAIT_NUM_THREADS is not a number of threads", repr(text), "1 or more"))
        _threads = int(text) if text else available_cpus()
    return _threads


def set_thread_count(count: int) -> None:
    """Use `count` threads from the next program on. Results do not depend on it.

    Args:
        count: how many threads, the calling one included.

    Raises:
        ArgumentError: if `count` is less than 1.

    Example:
        >>> plait.set_num_threads(plait.get_num_threads())
    """
    global _threads
    if count < 1:
        raise ArgumentError(message("At least one thread is needed", count, "1 or more"))
    _threads = count
    for listener in _listeners:
        listener(count)


def on_thread_count(listener: Callable[[int], None]) -> None:
    """Call `listener(count)` whenever the thread count is set."""
    _listeners.append(listener)


def cache_root() -> Path:
    """Return the folder for files that can be made again: PLAIT_CACHE_DIR, or `plait` in the user's cache folder."""
    if named := os.environ.get("PLAIT_CACHE_DIR"):
        return Path(named)
    if named := os.environ.get("XDG_CACHE_HOME"):
        return Path(named) / "plait"
    if sys.platform == "win32" and (named := os.environ.get("LOCALAPPDATA")):
        return Path(named) / "plait"
    if sys.platform == "darwin":
        return Path("~/Library/Caches/plait").expanduser()
    return Path("~/.cache/plait").expanduser()


def cache_directory() -> Path | None:
    """Return a writable cache folder, or None where there is none.

    If `cache_root()` cannot be written, or others can write there, a private folder among the temporary files serves;
    a warning says so.
    """
    root = cache_root()
    wrong = "is not writable"
    if _is_writable(root):
        if is_own(root.stat()):
            return root
        wrong = "may be written by others, who could plant code there (chmod go-w, or chown, makes it yours)"
    import tempfile  # slow to import, and rarely needed

    spare = Path(tempfile.gettempdir()) / f"plait-{os.getuid() if hasattr(os, 'getuid') else 'cache'}"
    if _is_writable(spare) and not spare.is_symlink() and is_own(spare.lstat()):
        warnings.warn(f"plait: {root} {wrong}; compiled code is kept in {spare}", stacklevel=2)
        return spare
    warnings.warn(f"plait: no writable cache folder ({root}, {spare}); compiled code is not kept", stacklevel=2)
    return None


def _is_writable(folder: Path) -> bool:
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError:
        return False
    return os.access(folder, os.W_OK | os.X_OK)


def is_own(status: os.stat_result) -> bool:
    """Whether nobody but this user and the superuser can have written a file or folder; true where that is unknown."""
    if not hasattr(os, "geteuid"):
        return True
    return status.st_uid in (os.geteuid(), 0) and not status.st_mode & 0o022
