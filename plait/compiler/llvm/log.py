"""The log of a program, as LLVM text: when each thread began and ended each row.

A program whose header has the address of a log is walked by a copy of the executor's loop that writes it; the loop
that others are walked by knows nothing of it.

A log is one word, the bytes of a block, then from byte 64 on a block for each thread: THREAD_WORDS words (address
of the row last added to, time of that, number of events, most events, offset of the first event), ROW_WORDS for each
row (cycles in its kernel, cycles from there to the next row, times it ran), EVENT_WORDS for each event (row, begin,
end). The sums count every turn of a loop; events are noted until there is no room.
"""

from __future__ import annotations

import re

LOG_WORD = 8  # of a program's header: the address of its log, or 0
BLOCKS_AT = 64
THREAD_WORDS, ROW_WORDS, EVENT_WORDS = 8, 4, 3


def plain_walk(text: str) -> str:
    """Return the executor's walk without what is for the log."""
    return re.sub(r"  LOG_.*\n", "", text)


def logging_walk(text: str) -> str:
    """Return the executor's walk as `@walk_logging`."""
    text = text.replace("@walk(", "@walk_logging(")
    text = text.replace("LOG_START", "%log = call ptr @log_start(ptr %program, i64 %thread)")
    text = re.sub(r"LOG_BEGIN (\w+)", r"%\1_begin = call i64 @log_begin(ptr %log)", text)
    return re.sub(r"LOG_END (\w+)", r"call void @log_end(ptr %log, i64 %pc, i64 %\1_begin)", text)


LOG = """
define i64 @cycles() {
  %now = CLOCK
  ret i64 %now
}

define internal ptr @log_of(ptr %program, i64 %thread) {
  %all_at = getelementptr i64, ptr %program, i64 8
  %all = load ptr, ptr %all_at
  %bytes = load i64, ptr %all
  %offset = mul i64 %bytes, %thread
  %blocks = getelementptr i8, ptr %all, i64 64
  %log = getelementptr i8, ptr %blocks, i64 %offset
  ret ptr %log
}

; what passes until the first row begins counts as time after the last row of the table, which ends the program
define internal ptr @log_start(ptr %program, i64 %thread) {
  %log = call ptr @log_of(ptr %program, i64 %thread)
  %events_at = getelementptr i64, ptr %log, i64 4
  %offset = load i64, ptr %events_at
  %events = getelementptr i8, ptr %log, i64 %offset
  %row = getelementptr i64, ptr %events, i64 -4
  %last_at = getelementptr i64, ptr %log, i64 1
  %now = CLOCK
  store ptr %row, ptr %log
  store i64 %now, ptr %last_at
  ret ptr %log
}

; what passed since the row before this one was spent waiting for the other threads of that row
define internal i64 @log_begin(ptr %log) {
  %row = load ptr, ptr %log
  %last_at = getelementptr i64, ptr %log, i64 1
  %last = load i64, ptr %last_at
  %waited_at = getelementptr i64, ptr %row, i64 1
  %waited = load i64, ptr %waited_at
  %now = CLOCK
  %gap = sub i64 %now, %last
  %sum = add i64 %waited, %gap
  store i64 %sum, ptr %waited_at
  ret i64 %now
}

define internal void @log_end(ptr %log, i64 %pc, i64 %begin) {
entry:
  %now = CLOCK
  %rows = getelementptr i64, ptr %log, i64 8
  %row = getelementptr [4 x i64], ptr %rows, i64 %pc
  %spent = load i64, ptr %row
  %time = sub i64 %now, %begin
  %sum = add i64 %spent, %time
  store i64 %sum, ptr %row
  %runs_at = getelementptr i64, ptr %row, i64 2
  %runs = load i64, ptr %runs_at
  %runs1 = add i64 %runs, 1
  store i64 %runs1, ptr %runs_at
  %last_at = getelementptr i64, ptr %log, i64 1
  store ptr %row, ptr %log
  store i64 %now, ptr %last_at
  %count_at = getelementptr i64, ptr %log, i64 2
  %count = load i64, ptr %count_at
  %most_at = getelementptr i64, ptr %log, i64 3
  %most = load i64, ptr %most_at
  %fits = icmp ult i64 %count, %most
  br i1 %fits, label %note, label %done
note:
  %events_at = getelementptr i64, ptr %log, i64 4
  %offset = load i64, ptr %events_at
  %events = getelementptr i8, ptr %log, i64 %offset
  %event = getelementptr [3 x i64], ptr %events, i64 %count
  %begin_at = getelementptr i64, ptr %event, i64 1
  %end_at = getelementptr i64, ptr %event, i64 2
  store i64 %pc, ptr %event
  store i64 %begin, ptr %begin_at
  store i64 %now, ptr %end_at
  %count1 = add i64 %count, 1
  store i64 %count1, ptr %count_at
  br label %done
done:
  ret void
}

; the caller has ended and waited for the others
define internal void @log_finish(ptr %program) {
entry:
  %all_at = getelementptr i64, ptr %program, i64 8
  %all = load ptr, ptr %all_at
  %none = icmp eq ptr %all, null
  br i1 %none, label %done, label %finish
finish:
  %log = call ptr @log_of(ptr %program, i64 0)
  call i64 @log_begin(ptr %log)
  br label %done
done:
  ret void
}

define internal void @visit(ptr %program, i64 %thread, i64 %threads) {
entry:
  %all_at = getelementptr i64, ptr %program, i64 8
  %all = load ptr, ptr %all_at
  %none = icmp eq ptr %all, null
  br i1 %none, label %plain, label %logging
plain:
  call void @walk(ptr %program, i64 %thread, i64 %threads, i64 -1)
  ret void
logging:
  call void @walk_logging(ptr %program, i64 %thread, i64 %threads, i64 -1)
  ret void
}
"""
