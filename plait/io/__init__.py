"""Files: weights in the safetensors format, in one file or several with an index; state of any nesting."""

from __future__ import annotations

from plait.io.safetensors import TensorFile, load_file, save_file
from plait.io.saving import load, save
from plait.io.sharded import load_model, load_sharded, save_sharded

__all__ = ["TensorFile", "load", "load_file", "load_model", "load_sharded", "save", "save_file", "save_sharded"]
