"""Settings of the test run."""

from __future__ import annotations

import os
from pathlib import Path

# Kernels of tests stay out of the user's cache.
os.environ.setdefault("PLAIT_CACHE_DIR", str(Path(__file__).parent.parent / ".pytest_cache" / "plait"))

# Test processes that run side by side share the cores; results do not depend on the number of threads.
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("PLAIT_NUM_THREADS", "1")
