"""What `plait doctor` prints: versions, processor, threads, cache, devices, and a self-check."""

from __future__ import annotations

import ctypes.util
import os
import platform
import time
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version

import llvmlite.binding as llvm

from plait.runtime import host
from plait.runtime.cache import object_cache

_PACKAGES = ("plait", "numpy", "llvmlite", "ml_dtypes")
_NOTABLE = frozenset("avx2 fma avx512f avx512bf16 avx512vnni avx512fp16 amx-tile neon sve bf16 i8mm".split())
_VECTOR_BITS = (("avx512f", 512), ("avx", 256), ("sse2", 128), ("neon", 128))


def report(self_check: Callable[[], str] | None = None) -> str:
    """Return the report as text.

    Args:
        self_check: computes something with every layer and returns one line about it; what it raises is reported.
    """
    sections = [_versions(), _processor(), _threads(), _cache(), *_devices()]
    if self_check is not None:
        sections.append(_checked(self_check))
    return "\n".join(f"{name:<11}{text}" for name, text in sections)


def _versions() -> tuple[str, str]:
    found = [f"python {platform.python_version()}"]
    for package in _PACKAGES:
        try:
            found.append(f"{package} {version(package)}")
        except PackageNotFoundError:
            found.append(f"{package} (not installed as a package)")
    return "versions", ", ".join(found) + f", LLVM {'.'.join(map(str, llvm.llvm_version_info))}"


def _processor() -> tuple[str, str]:
    features = {name for name, present in llvm.get_host_cpu_features().items() if present}
    width = next((bits for feature, bits in _VECTOR_BITS if feature in features), 128)
    notable = " ".join(sorted(_NOTABLE & features))
    return "processor", f"{_processor_name()} ({llvm.get_host_cpu_name()}), {width}-bit vectors, {notable}"


def _processor_name() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8", errors="replace") as file:
            for line in file:
                if line.startswith("model name"):
                    return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def _threads() -> tuple[str, str]:
    quota = host.cgroup_quota()
    allowed = f"{host.affinity()} CPUs by affinity, quota {'none' if quota is None else f'{quota:g} CPUs'}"
    variable = os.environ.get("PLAIT_NUM_THREADS")
    return "threads", f"{host.thread_count()} used ({allowed}{f', PLAIT_NUM_THREADS={variable}' if variable else ''})"


def _cache() -> tuple[str, str]:
    cache = object_cache("")
    if cache.root is None:
        return "cache", "none: no writable folder"
    files, nbytes = cache.size()
    return "cache", f"{cache.root}, {files} files, {nbytes / 1e6:.1f} MB of at most {cache.limit / 1e6:.0f}"


def _devices() -> list[tuple[str, str]]:
    return [("cpu", "used"), ("cuda", f"not used: {_why_no_cuda()}")]


def _why_no_cuda() -> str:
    name = "nvcuda" if os.name == "nt" else "cuda"
    if ctypes.util.find_library(name) is None:
        return "no NVIDIA driver found"
    return "a driver is installed, but this version of plait computes on the CPU only"


def _checked(self_check: Callable[[], str]) -> tuple[str, str]:
    start = time.perf_counter()
    try:
        line = self_check()
    except Exception as error:
        return "self-check", f"FAILED: {type(error).__name__}: {error}"
    return "self-check", f"{line} ({(time.perf_counter() - start) * 1e3:.0f} ms)"
