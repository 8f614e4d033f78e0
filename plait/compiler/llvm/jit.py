"""The just-in-time compiler of the host: LLVM text to object code, object code to addresses."""

from __future__ import annotations

import ctypes
import functools
import importlib
import itertools
import os
import sys
import threading
from collections.abc import Iterable
from typing import Any

from plait.compiler.llvm.text import Target
from plait.core.errors import ArgumentError, InternalError, message

__all__ = ["Target", "assembly", "compile_module", "host_target", "level_target", "load"]

# features that the emitter asks about, which LLVM otherwise derives from the name of the processor
_LEVELS = {
    "x86-64": (16, ""),
    "x86-64-v2": (16, ""),
    "x86-64-v3": (32, "+avx2,+fma,+f16c"),
    "x86-64-v4": (64, "+avx512f,+avx512vl,+avx512bw,+avx512dq,+avx2,+fma,+f16c,-prefer-256-bit"),
}
building = threading.RLock()
"""Held while LLVM works."""

_serial = itertools.count()
_libraries: list[Any] = []


@functools.cache
def _llvm() -> Any:
    """llvmlite's binding, imported at the first compilation: importing plait must stay fast."""
    binding = importlib.import_module("llvmlite.binding")
    binding.initialize_native_target()
    binding.initialize_native_asmprinter()
    return binding


@functools.cache
def host_target() -> Target:
    """Return the machine that plait runs on.

    The environment variable `PLAIT_CPU` restricts it to a level such as "x86-64-v3".
    """
    level = os.environ.get("PLAIT_CPU")
    if level:
        return level_target(level)
    llvm = _llvm()
    triple, cpu = llvm.get_process_triple(), llvm.get_host_cpu_name()
    host = dict(llvm.get_host_cpu_features())
    if host.get("amx-tile") and not _may_use_tiles():
        host["amx-tile"] = False
    features = ",".join(("+" if on else "-") + name for name, on in sorted(host.items()))
    if not triple.startswith("x86_64"):
        return Target(triple, cpu, features, 16, 32)
    if all(host.get(name) for name in ("avx512f", "avx512vl", "avx512bw", "avx512dq")):
        # 512-bit registers are used wherever they exist
        return Target(triple, cpu, features + ",-prefer-256-bit", 64, 32)
    return Target(triple, cpu, features, 32 if host.get("avx2") else 16, 16)


def _may_use_tiles() -> bool:
    """Ask the system for the tile registers, which a process of Linux may use only after that, in all its threads."""
    if not sys.platform.startswith("linux"):
        return False
    call, request_permission, tile_data = 158, 0x1023, 18  # arch_prctl(ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA)
    syscall = ctypes.CDLL(None).syscall
    syscall.restype = ctypes.c_long
    return bool(syscall(ctypes.c_long(call), ctypes.c_long(request_permission), ctypes.c_long(tile_data)) == 0)


def level_target(level: str) -> Target:
    """Return a generic x86-64 machine of a level: "x86-64", "x86-64-v2", "x86-64-v3" or "x86-64-v4".

    Raises:
        ArgumentError: for any other name.
    """
    if level not in _LEVELS:
        raise ArgumentError(message("Unknown processor level", repr(level), "one of " + ", ".join(_LEVELS)))
    vector_bytes, features = _LEVELS[level]
    return Target(_llvm().get_process_triple(), level, features, vector_bytes, 32 if vector_bytes == 64 else 16)


@functools.cache
def _machine(target: Target) -> tuple[Any, Any, Any]:
    """The target machine, and the passes that run before it."""
    llvm = _llvm()
    machine = llvm.Target.from_triple(target.triple).create_target_machine(
        cpu=target.cpu, features=target.features, opt=2, reloc="pic", codemodel="small"
    )
    builder = llvm.create_pass_builder(machine, llvm.PipelineTuningOptions(speed_level=2))
    passes = llvm.create_new_module_pass_manager()
    passes.add_sroa_pass()
    passes.add_instruction_combine_pass()
    passes.add_simplify_cfg_pass()
    passes.add_new_gvn_pass()
    passes.add_dead_code_elimination_pass()
    passes.add_simplify_cfg_pass()
    return machine, builder, passes


def _module(text: str, target: Target) -> Any:
    machine, builder, passes = _machine(target)
    try:
        module = _llvm().parse_assembly(text)
        module.triple = target.triple
        module.data_layout = str(machine.target_data)
        module.verify()
    except RuntimeError as error:
        raise InternalError(f"LLVM rejects a module: {error}") from error
    passes.run(module, builder)
    return module


def compile_module(text: str, target: Target) -> bytes:
    """Compile LLVM text to an object file.

    Args:
        text: definitions, as `emit` returns them.
        target: the machine.

    Returns:
        The bytes of a relocatable object, to be kept on disk or given to `load`.

    Raises:
        InternalError: if LLVM rejects the text.
    """
    with building:
        return bytes(_machine(target)[0].emit_object(_module(text, target)))


def assembly(text: str, target: Target) -> str:
    """Return the assembly of a module, for reading."""
    return str(_machine(target)[0].emit_assembly(_module(text, target)))


@functools.cache
def _linker() -> Any:
    llvm = _llvm()
    return llvm.create_lljit_compiler(llvm.Target.from_default_triple().create_target_machine(jit=True))


def load(object_code: bytes, symbols: Iterable[str]) -> dict[str, int]:
    """Load an object file into the process, for the rest of its life.

    Args:
        object_code: what `compile_module` returned, possibly in an earlier process.
        symbols: functions to look up.

    Returns:
        The address of each symbol.
    """
    names = list(symbols)
    with building:
        builder = _llvm().JITLibraryBuilder().add_object_img(object_code).add_current_process()
        for name in names:
            builder.export_symbol(name)
        library = builder.link(_linker(), f"plait{next(_serial)}")
        _libraries.append(library)
        return {name: library[name] for name in names}
