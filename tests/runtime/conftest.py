"""Hand-written kernels for the runtime tests."""

from __future__ import annotations

import pytest

from plait.compiler.llvm.jit import compile_module, host_target, load

KERNELS = """
; buffer[i] += scalar
define void @add_scalar(ptr %table, ptr %args, i64 %low, i64 %high) {
entry:
  %slot = load i64, ptr %args
  %buffer_at = getelementptr ptr, ptr %table, i64 %slot
  %buffer = load ptr, ptr %buffer_at
  %scalar_at = getelementptr i64, ptr %args, i64 1
  %scalar = load i64, ptr %scalar_at
  br label %head
head:
  %i = phi i64 [ %low, %entry ], [ %i1, %body ]
  %more = icmp slt i64 %i, %high
  br i1 %more, label %body, label %done
body:
  %at = getelementptr i64, ptr %buffer, i64 %i
  %old = load i64, ptr %at
  %new = add i64 %old, %scalar
  store i64 %new, ptr %at
  %i1 = add i64 %i, 1
  br label %head
done:
  ret void
}

; out[i] = in[n - 1 - i]: needs what other threads wrote
define void @reverse(ptr %table, ptr %args, i64 %low, i64 %high) {
entry:
  %in_slot = load i64, ptr %args
  %in_at = getelementptr ptr, ptr %table, i64 %in_slot
  %in = load ptr, ptr %in_at
  %out_slot_at = getelementptr i64, ptr %args, i64 1
  %out_slot = load i64, ptr %out_slot_at
  %out_at = getelementptr ptr, ptr %table, i64 %out_slot
  %out = load ptr, ptr %out_at
  %n_at = getelementptr i64, ptr %args, i64 2
  %n = load i64, ptr %n_at
  %last = sub i64 %n, 1
  br label %head
head:
  %i = phi i64 [ %low, %entry ], [ %i1, %body ]
  %more = icmp slt i64 %i, %high
  br i1 %more, label %body, label %done
body:
  %j = sub i64 %last, %i
  %from = getelementptr i64, ptr %in, i64 %j
  %value = load i64, ptr %from
  %to = getelementptr i64, ptr %out, i64 %i
  store i64 %value, ptr %to
  %i1 = add i64 %i, 1
  br label %head
done:
  ret void
}

; flag = counter < limit
define void @less(ptr %table, ptr %args, i64 %low, i64 %high) {
  %counter_slot = load i64, ptr %args
  %counter_at = getelementptr ptr, ptr %table, i64 %counter_slot
  %counter = load ptr, ptr %counter_at
  %flag_slot_at = getelementptr i64, ptr %args, i64 1
  %flag_slot = load i64, ptr %flag_slot_at
  %flag_at = getelementptr ptr, ptr %table, i64 %flag_slot
  %flag = load ptr, ptr %flag_at
  %limit_at = getelementptr i64, ptr %args, i64 2
  %limit = load i64, ptr %limit_at
  %count = load i64, ptr %counter
  %less = icmp slt i64 %count, %limit
  %byte = zext i1 %less to i8
  store i8 %byte, ptr %flag
  ret void
}

define void @nothing(ptr %table, ptr %args, i64 %low, i64 %high) {
  ret void
}
"""


@pytest.fixture(scope="session")
def kernels() -> dict[str, int]:
    """Addresses of the kernels above."""
    code = compile_module(KERNELS, host_target())
    return load(code, ("add_scalar", "reverse", "less", "nothing"))
