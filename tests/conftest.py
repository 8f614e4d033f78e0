"""Settings of the test run."""

from __future__ import annotations

import os
import signal
from pathlib import Path

# Kernels of tests stay out of the user's cache.
os.environ.setdefault("PLAIT_CACHE_DIR", str(Path(__file__).parent.parent / ".pytest_cache" / "plait"))

# Test processes that run side by side share the cores; results do not depend on the number of threads.
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("PLAIT_NUM_THREADS", "1")

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # as in a background job; the tests of Ctrl-C send it
    signal.signal(signal.SIGINT, signal.default_int_handler)
