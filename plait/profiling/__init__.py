"""What runs cost: `profile` measures kernels, Python, compiling and memory; `memory_report` tells memory before.

- `logs`: the native log of when kernels ran, and the collector that keeps logs while somebody profiles;
- `steps`, `moments`: what the steps and the memory of a program are, in the user's terms;
- `machine`: the peaks that times are compared with;
- `session`, `report`, `trace`, `board`: the results, as data, for trace viewers, for TensorBoard, as text.
"""

from __future__ import annotations

from plait.profiling.moments import Holder
from plait.profiling.report import MemoryReport, memory_report
from plait.profiling.session import Kernel, Profile, profile

__all__ = ["Holder", "Kernel", "MemoryReport", "Profile", "memory_report", "profile"]
