"""Files: weights in the safetensors format."""

from __future__ import annotations

from plait.io.safetensors import load_file, save_file

__all__ = ["load_file", "save_file"]
