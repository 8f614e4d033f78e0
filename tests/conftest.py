"""Settings of the test run."""

from __future__ import annotations

import os

# Test processes that run side by side share the cores; results do not depend on the number of threads.
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("PLAIT_NUM_THREADS", "1")
