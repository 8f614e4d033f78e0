"""plait: one framework for research, performance and production.

Operations are recorded as a graph and compiled by LLVM when a value is looked at; transforms (`grad`, `vmap`, `jit`, …)
are functions from graph to graph. This file lists the public names; each folder says what it is for:

- `core`, `ir`, `transforms`, `prims`: the graph, the loop IR, the transforms, and the primitives with all their rules;
- `compiler`, `runtime`: from graphs to machine code, and how that is run;
- `tensor`, `random`, `sampling`: what the user touches;
- `nn`, `optim`, `amp`, `io`: models, optimizers, mixed precision, files;
- `data`, `metrics`, `train`: loading data, judging results, the training loop;
- `debug`, `profiling`: what explains it all; these three rows are imported when they are first used;
- `testing`: what checks it all.
"""

# ruff: noqa: F401, F403 - every import here is a public name

from __future__ import annotations

import importlib as _importlib
import sys as _sys
import typing as _typing

import plait.prims as _prims  # registers every primitive
from plait import cuda, fft, linalg, masked, random, signal, special
from plait.core import errors, tree
from plait.core.aval import Dim
from plait.core.dtype import (
    DType,
    bfloat16,
    bool_,
    complex64,
    complex128,
    float8_e4m3fn,
    float8_e5m2,
    float16,
    float32,
    float64,
    int8,
    int16,
    int32,
    int64,
    uint8,
    uint16,
    uint32,
    uint64,
)
from plait.inspect.explanation import compile_log
from plait.linalg.toplevel import *
from plait.lowrank import *
from plait.runtime.buffer import describe_owners as _describe_owners
from plait.runtime.host import set_thread_count as set_num_threads, thread_count as get_num_threads
from plait.sampling import (
    Generator,
    bernoulli,
    binomial,
    default_generator,
    fork_rng,
    get_rng_state,
    initial_seed,
    manual_seed,
    multinomial,
    normal,
    poisson,
    rand,
    rand_like,
    randint,
    randint_like,
    randn,
    randn_like,
    randperm,
    seed,
    set_rng_state,
)
from plait.signal import bartlett_window, blackman_window, hamming_window, hann_window, istft, kaiser_window, stft
from plait.tensor import policies as checkpoint_policies
from plait.tensor.absent import of_module as _absent  # says what to use for a name that is not here
from plait.tensor.api import *
from plait.tensor.arguments import guard as _guard
from plait.tensor.autograd import (
    enable_grad,
    grad,
    hessian,
    inference_mode,
    is_grad_enabled,
    jacfwd,
    jacrev,
    jvp,
    linearize,
    no_grad,
    set_grad_enabled,
    value_and_grad,
    vjp,
)
from plait.tensor.control import cond, fori_loop, pure_callback, scan, switch, while_loop
from plait.tensor.costs import cost
from plait.tensor.invariance import batch_invariant
from plait.tensor.jit import jit
from plait.tensor.lazy import sync
from plait.tensor.limits import assert_max_compiles
from plait.tensor.mapping import associative_scan, map_ as map
from plait.tensor.policies import checkpoint_name
from plait.tensor.transforms import checkpoint, custom_jvp, custom_vjp, vmap

if _typing.TYPE_CHECKING:
    from plait import amp, data, debug, io, metrics, nn, optim, train
    from plait.amp import autocast
    from plait.debug.memory import memory_stats, set_memory_limit
    from plait.io import load, save
    from plait.nn.functional.namespace import *
    from plait.profiling import memory_report, profile

_LATER = ("amp", "data", "debug", "io", "metrics", "nn", "optim", "train")
_FUNCTIONS_LATER = {
    "autocast": "plait.amp",
    "load": "plait.io",
    "memory_report": "plait.profiling",
    "memory_stats": "plait.debug.memory",
    "profile": "plait.profiling",
    "save": "plait.io",
    "set_memory_limit": "plait.debug.memory",
}


def _layer_functions() -> _typing.Any:
    """Return the module of those functions of neural networks that PyTorch has in its main namespace too."""
    return _importlib.import_module("plait.nn.functional.namespace")


def __getattr__(name: str) -> _typing.Any:
    if name in _LATER:
        return _importlib.import_module(f"plait.{name}")
    if name in _FUNCTIONS_LATER:
        owner = _importlib.import_module(_FUNCTIONS_LATER[name])
    elif name.startswith("_") or name not in (owner := _layer_functions()).__all__:
        return _absent(name)
    return globals().setdefault(name, getattr(owner, name))


def __dir__() -> list[str]:
    return [*{*globals(), *_LATER, *_FUNCTIONS_LATER, *_layer_functions().__all__}]


_describe_owners(lambda: _importlib.import_module("plait.debug.memory").largest_owners())  # type: ignore[no-any-return]
_guard(fft, linalg, masked, random, signal, signal.windows, special, _sys.modules[__name__])
__version__ = "0.1.0"
