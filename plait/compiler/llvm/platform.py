"""What the thread pool asks of the system, as LLVM text: start and join threads, yield, sleep, wake."""

from __future__ import annotations

from dataclasses import dataclass

_STACK_BYTES = 8 << 20
_FUTEX_CALL = {"x86_64": 202, "aarch64": 98}

_FUTEX_SLEEP = """
declare i64 @syscall(i64, ...)
declare i32 @sched_yield()

define internal void @yield() {
  call i32 @sched_yield()
  ret void
}

; returns at a wake, at a signal, or at once if the word is not `value`
define internal void @sleep_on(ptr %word, i32 %value) {
  call i64 (i64, ...) @syscall(i64 FUTEX, ptr %word, i32 128, i32 %value, ptr null, ptr null, i32 0)
  ret void
}

define internal void @wake_all(ptr %word) {
  call i64 (i64, ...) @syscall(i64 FUTEX, ptr %word, i32 129, i32 2147483647, ptr null, ptr null, i32 0)
  ret void
}
"""

_POSIX_SLEEP = """
declare i32 @sched_yield()
declare i32 @usleep(i32)

define internal void @yield() {
  call i32 @sched_yield()
  ret void
}

define internal void @sleep_on(ptr %word, i32 %value) {
  call i32 @usleep(i32 100)
  ret void
}

define internal void @wake_all(ptr %word) {
  ret void
}
"""

_WINDOWS_SLEEP = """
declare i32 @SwitchToThread()
declare void @Sleep(i32)

define internal void @yield() {
  call i32 @SwitchToThread()
  ret void
}

define internal void @sleep_on(ptr %word, i32 %value) {
  call void @Sleep(i32 1)
  ret void
}

define internal void @wake_all(ptr %word) {
  ret void
}
"""

_POSIX_THREADS = f"""
declare i32 @pthread_create(ptr, ptr, ptr, ptr)
declare i32 @pthread_join(ptr, ptr)
declare i32 @pthread_attr_init(ptr)
declare i32 @pthread_attr_setstacksize(ptr, i64)
declare i32 @pthread_attr_destroy(ptr)

; a thread running @worker(record), its handle stored at `handle`; 0 on success
define internal i32 @create_thread(ptr %record, ptr %handle) {{
  %attributes = alloca [128 x i8], align 16
  call i32 @pthread_attr_init(ptr %attributes)
  call i32 @pthread_attr_setstacksize(ptr %attributes, i64 {_STACK_BYTES})
  %failed = call i32 @pthread_create(ptr %handle, ptr %attributes, ptr @worker, ptr %record)
  call i32 @pthread_attr_destroy(ptr %attributes)
  ret i32 %failed
}}

define internal void @join_thread(ptr %handle) {{
  call i32 @pthread_join(ptr %handle, ptr null)
  ret void
}}
"""

_WINDOWS_THREADS = f"""
declare ptr @CreateThread(ptr, i64, ptr, ptr, i32, ptr)
declare i32 @WaitForSingleObject(ptr, i32)
declare i32 @CloseHandle(ptr)

define internal i32 @create_thread(ptr %record, ptr %handle) {{
  %thread = call ptr @CreateThread(ptr null, i64 {_STACK_BYTES}, ptr @worker, ptr %record, i32 65536, ptr null)
  store ptr %thread, ptr %handle
  %null = icmp eq ptr %thread, null
  %failed = zext i1 %null to i32
  ret i32 %failed
}}

define internal void @join_thread(ptr %handle) {{
  call i32 @WaitForSingleObject(ptr %handle, i32 -1)
  call i32 @CloseHandle(ptr %handle)
  ret void
}}
"""


@dataclass(frozen=True, slots=True)
class Platform:
    """LLVM text of `yield`, `sleep_on`, `wake_all`, and of `create_thread`, `join_thread`."""

    name: str
    sleeping: str
    threads: str


POLLING = Platform("posix", _POSIX_SLEEP, _POSIX_THREADS)
WINDOWS = Platform("windows", _WINDOWS_SLEEP, _WINDOWS_THREADS)


def platform_for(triple: str) -> Platform:
    """Return the platform of an LLVM target triple: futexes on Linux, polling elsewhere."""
    arch = triple.split("-")[0].replace("arm64", "aarch64")
    if "windows" in triple:
        return WINDOWS
    if "linux" in triple and arch in _FUTEX_CALL:
        return Platform("linux", _FUTEX_SLEEP.replace("FUTEX", str(_FUTEX_CALL[arch])), _POSIX_THREADS)
    return POLLING
