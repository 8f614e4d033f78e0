"""The thread pool and the program executor, as LLVM text: compiled once per machine, never per program.

A program is a table of rows that every thread walks alike (SPMD); each thread runs its share of a kernel, and
a barrier stands wherever a row may depend on work of another thread. Thread 0 is the caller.
"""

from __future__ import annotations

import re

from plait.compiler.llvm.log import LOG, logging_walk, plain_walk
from plait.compiler.llvm.platform import Platform, platform_for

END, KERNEL, JUMP, JUMP_IF_ZERO, CALL = range(5)
ROW_WORDS = 8
HEADER_WORDS = 16
NO_BARRIER, SOLO = 1, 2  # flags of rows
MAX_THREADS = 1024
SYMBOLS = ("run", "stop", "spin", "cycles")

# Byte offsets in the pool; words that different threads write lie on cache lines of their own.
POOL_FIELDS = {
    "epoch": 0,  # counts programs handed to the workers
    "program": 64,
    "active": 72,  # threads that walk the current program
    "wanted": 128,  # threads to have, the caller included; written by the host
    "spin_limit": 132,  # polls before a waiting thread sleeps; written by the host
    "running": 136,  # threads there are, the caller included
    "stopping": 140,
    # Functions of the interpreter, written by the host (0: none): take its lock, run signal handlers, take the
    # exception that one raised, give the lock back.
    "ensure": 144,
    "check": 152,
    "fetch": 160,
    "unlock": 168,
    "lock": 192,  # 0 free, 1 held, 2 held but inside a host callback
    "lock_sleepers": 196,
    "epoch_sleepers": 256,
    "arrived": 320,
    "generation": 384,
    "generation_sleepers": 448,
    "finished": 512,
    "finished_sleepers": 576,
    "threads": 640,  # per worker: pool address, epoch at birth (i32), number (i32), handle, unused
}
POOL_BYTES = POOL_FIELDS["threads"] + 32 * MAX_THREADS

# A counter of time that is read in a few nanoseconds, and how far it goes in some 20 milliseconds (a newer machine
# counts faster, and asks more often).
_CLOCKS = {
    "x86_64": ("call i64 @llvm.readcyclecounter()", 1 << 26),
    "aarch64": ('call i64 asm sideeffect "mrs $0, cntvct_el0", "=r"()', 1 << 20),
}

_PAUSE = {
    "x86_64": ("declare void @llvm.x86.sse2.pause()", "call void @llvm.x86.sse2.pause()"),
    "aarch64": ("declare void @llvm.aarch64.isb(i32)", "call void @llvm.aarch64.isb(i32 15)"),
}


def executor_text(triple: str, platform: Platform | None = None) -> str:
    """Return the LLVM text of `run(program)`, `stop(pool)`, `spin(count)` and `cycles()` for a target.

    Args:
        triple: LLVM target triple; it selects the pause instruction and the platform.
        platform: overrides the platform that the triple implies.
    """
    arch = triple.split("-")[0].replace("arm64", "aarch64")
    declare, pause = _PAUSE.get(arch, ("", ""))
    clock, patience = _CLOCKS.get(arch, ("add i64 0, 0", 1))
    chosen = platform or platform_for(triple)
    walks = [plain_walk(_WALK), LOG, logging_walk(_WALK)]
    text = "\n".join([declare, chosen.sleeping, chosen.threads, _WAITING, _POLL, *walks, _WORKERS, _RUN])
    text = text.replace("PAUSE", pause).replace("CLOCK", clock)
    text = text.replace("HASTE", str(max(1, patience >> 6))).replace("PATIENCE", str(patience))
    return re.sub(r"@pool\.(\w+)", lambda field: f"getelementptr i8, ptr %pool, i64 {POOL_FIELDS[field[1]]}", text)


_WAITING = """
define void @spin(i64 %count) {
entry:
  br label %loop
loop:
  %i = phi i64 [ 0, %entry ], [ %next, %loop ]
  PAUSE
  %next = add i64 %i, 1
  %more = icmp ult i64 %next, %count
  br i1 %more, label %loop, label %done
done:
  ret void
}

; wait until the word is not `value`: poll, give way now and then, at last sleep
define internal void @wait_while(ptr %pool, ptr %word, i32 %value, ptr %sleepers) {
entry:
  %limit_at = @pool.spin_limit
  %limit = load i32, ptr %limit_at
  br label %poll
poll:
  %i = phi i32 [ 0, %entry ], [ %next, %again ]
  %now = load atomic i32, ptr %word acquire, align 4
  %same = icmp eq i32 %now, %value
  br i1 %same, label %pause, label %done
pause:
  PAUSE
  %next = add i32 %i, 1
  %phase = and i32 %next, 127
  %courtesy = icmp eq i32 %phase, 0
  br i1 %courtesy, label %give, label %again
give:
  call void @yield()
  br label %again
again:
  %more = icmp ult i32 %next, %limit
  br i1 %more, label %poll, label %sleep
sleep:
  ; announced before the word is read again, as `publish` looks for sleepers after writing it: no wake is lost
  atomicrmw add ptr %sleepers, i32 1 seq_cst
  call void @sleep_on(ptr %word, i32 %value)
  atomicrmw sub ptr %sleepers, i32 1 seq_cst
  %then = load atomic i32, ptr %word acquire, align 4
  %still = icmp eq i32 %then, %value
  br i1 %still, label %sleep, label %done
done:
  ret void
}

; wake those who sleep on a word that has just been written (seq_cst)
define internal void @publish(ptr %word, ptr %sleepers) {
  %count = load atomic i32, ptr %sleepers seq_cst, align 4
  %any = icmp ne i32 %count, 0
  br i1 %any, label %wake, label %done
wake:
  call void @wake_all(ptr %word)
  br label %done
done:
  ret void
}

define internal void @barrier(ptr %pool, i64 %threads) {
entry:
  %alone = icmp eq i64 %threads, 1
  br i1 %alone, label %done, label %enter
enter:
  %arrived = @pool.arrived
  %generation = @pool.generation
  %sleepers = @pool.generation_sleepers
  %old = load atomic i32, ptr %generation acquire, align 4
  %before = atomicrmw add ptr %arrived, i32 1 acq_rel
  %count = trunc i64 %threads to i32
  %rest = sub i32 %count, 1
  %last = icmp eq i32 %before, %rest
  br i1 %last, label %release, label %wait
release:
  store atomic i32 0, ptr %arrived monotonic, align 4
  atomicrmw add ptr %generation, i32 1 seq_cst
  call void @publish(ptr %generation, ptr %sleepers)
  br label %done
wait:
  call void @wait_while(ptr %pool, ptr %generation, i32 %old, ptr %sleepers)
  br label %done
done:
  ret void
}
"""

# Ctrl-C in a long loop: the thread of `Program.run` lets the interpreter run signal handlers now and then. If one
# raises, the exception goes to words 5 to 7 of the program, and word 4 says at which branch all threads stop: the
# one that thread 0 has not yet entered, since others may still be reading the word at the one before. `times` are
# those of the last question, of the last look at the clock, and how many branches there are from one look to the next:
# in fast loops up to 16. `poll` returns the branch of the next look.
_POLL = """
declare i64 @llvm.readcyclecounter()

define internal i64 @poll(ptr %pool, ptr %program, ptr %times, i64 %branch) {
entry:
  %now = CLOCK
  %read_at = getelementptr i64, ptr %times, i64 1
  %stride_at = getelementptr i64, ptr %times, i64 2
  %asked = load i64, ptr %times
  %read = load i64, ptr %read_at
  %stride = load i64, ptr %stride_at
  %is_first = icmp eq i64 %asked, 0
  %since = sub i64 %now, %read
  %fast = icmp ult i64 %since, HASTE
  %double = shl i64 %stride, 1
  %more = call i64 @llvm.umin.i64(i64 %double, i64 16)
  %stride1 = select i1 %fast, i64 %more, i64 1
  store i64 %now, ptr %read_at
  store i64 %stride1, ptr %stride_at
  %next = add i64 %branch, %stride1
  %passed = sub i64 %now, %asked
  %soon = icmp ult i64 %passed, PATIENCE
  br i1 %is_first, label %started, label %look
look:
  br i1 %soon, label %early, label %late
early:
  ret i64 %next
late:
  %no_pool = icmp eq ptr %pool, null
  br i1 %no_pool, label %started, label %find
find:
  %ensure_at = @pool.ensure
  %ensure = load ptr, ptr %ensure_at
  %nobody = icmp eq ptr %ensure, null
  br i1 %nobody, label %started, label %ask
ask:
  %check_at = @pool.check
  %check = load ptr, ptr %check_at
  %unlock_at = @pool.unlock
  %unlock = load ptr, ptr %unlock_at
  %state = call i32 %ensure()
  %raised = call i32 %check()
  %stop = icmp ne i32 %raised, 0
  br i1 %stop, label %take, label %leave
take:
  %fetch_at = @pool.fetch
  %fetch = load ptr, ptr %fetch_at
  %type = getelementptr i64, ptr %program, i64 5
  %value = getelementptr i64, ptr %program, i64 6
  %trace = getelementptr i64, ptr %program, i64 7
  call void %fetch(ptr %type, ptr %value, ptr %trace)
  %stop_at = getelementptr i64, ptr %program, i64 4
  store atomic i64 %branch, ptr %stop_at release, align 8
  br label %leave
leave:
  call void %unlock(i32 %state)
  br label %started
started:
  store i64 %now, ptr %times
  ret i64 %next
}
"""

# A barrier is due (`due`) after a row that ends in one, but it is only waited for once a row needs it: rows that
# run on thread 0 follow each other without one unless other threads worked in between (`shared`). A loop whose rows
# all run on thread 0 (the branch out of it has SOLO) is walked by that thread alone, from the branch `root` on until
# it is taken; the others go on behind it.
_WALK = """
define internal void @walk(ptr %program, i64 %thread, i64 %threads, i64 %root) {
entry:
  %pool = load ptr, ptr %program
  %rows_at = getelementptr i64, ptr %program, i64 1
  %rows = load ptr, ptr %rows_at
  %table_at = getelementptr i64, ptr %program, i64 2
  %table = load ptr, ptr %table_at
  %stop_at = getelementptr i64, ptr %program, i64 4
  %times = alloca [3 x i64], align 8
  store [3 x i64] zeroinitializer, ptr %times
  %stride_at = getelementptr i64, ptr %times, i64 2
  store i64 1, ptr %stride_at
  %first = icmp eq i64 %thread, 0
  %many = icmp ne i64 %threads, 1
  %start = call i64 @llvm.smax.i64(i64 %root, i64 0)
  LOG_START
  br label %step
step:
  %pc = phi i64 [ %start, %entry ], [ %pc1, %next ], [ %target, %jump ], [ %chosen, %follow ], [ %target, %solo_done ]
  %due = phi i1 [ false, %entry ], [ %due1, %next ], [ %due, %jump ], [ %many, %follow ], [ true, %solo_done ]
  %shared = phi i1 [ false, %entry ], [ %shared1, %next ], [ %shared, %jump ], [ %many, %follow ], [ false, %solo_done ]
  %branches = phi i64 [ 1, %entry ], [ %branches, %next ], [ %branches, %jump ], [ %branches1, %follow ],
                      [ %branches, %solo_done ]
  %polled = phi i64 [ 0, %entry ], [ %polled, %next ], [ %polled, %jump ], [ %polled1, %follow ],
                    [ %polled, %solo_done ]
  %row = getelementptr [8 x i64], ptr %rows, i64 %pc
  %kind = load i64, ptr %row
  %fn_at = getelementptr i64, ptr %row, i64 1
  %fn = load ptr, ptr %fn_at
  %args_at = getelementptr i64, ptr %row, i64 2
  %args = load ptr, ptr %args_at
  %target_at = getelementptr i64, ptr %row, i64 5
  %target = load i64, ptr %target_at
  %flags_at = getelementptr i64, ptr %row, i64 6
  %flags = load i64, ptr %flags_at
  %unfenced = trunc i64 %flags to i1
  %fenced = xor i1 %unfenced, true
  %pc1 = add i64 %pc, 1
  switch i64 %kind, label %end [
    i64 1, label %kernel
    i64 2, label %jump
    i64 3, label %branch
    i64 4, label %call
  ]

kernel:
  %extent_at = getelementptr i64, ptr %row, i64 3
  %extent = load i64, ptr %extent_at
  %grain_at = getelementptr i64, ptr %row, i64 4
  %grain = load i64, ptr %grain_at
  %grain2 = shl i64 %grain, 1
  %large = icmp sge i64 %extent, %grain2
  %wide = and i1 %large, %many
  br i1 %wide, label %split, label %narrow

narrow:
  %narrow_wait = and i1 %due, %shared
  br i1 %narrow_wait, label %narrow_barrier, label %narrow_ready
narrow_barrier:
  call void @barrier(ptr %pool, i64 %threads)
  br label %narrow_ready
narrow_ready:
  %narrow_shared = phi i1 [ %shared, %narrow ], [ false, %narrow_barrier ]
  %narrow_due = phi i1 [ %due, %narrow ], [ false, %narrow_barrier ]
  %narrow_due1 = or i1 %narrow_due, %fenced
  br i1 %first, label %narrow_run, label %next
narrow_run:
  LOG_BEGIN narrow
  call void %fn(ptr %table, ptr %args, i64 0, i64 %extent)
  LOG_END narrow
  br label %next

split:
  br i1 %due, label %split_barrier, label %split_ready
split_barrier:
  call void @barrier(ptr %pool, i64 %threads)
  br label %split_ready
split_ready:
  %grains = udiv i64 %extent, %grain
  %parts = call i64 @llvm.umin.i64(i64 %grains, i64 %threads)
  %size = udiv i64 %extent, %parts
  %extra = urem i64 %extent, %parts
  %mine = icmp ult i64 %thread, %parts
  br i1 %mine, label %split_run, label %next
split_run:
  %base = mul i64 %size, %thread
  %shift = call i64 @llvm.umin.i64(i64 %thread, i64 %extra)
  %low = add i64 %base, %shift
  %longer = icmp ult i64 %thread, %extra
  %one = zext i1 %longer to i64
  %length = add i64 %size, %one
  %high = add i64 %low, %length
  LOG_BEGIN split
  call void %fn(ptr %table, ptr %args, i64 %low, i64 %high)
  LOG_END split
  br label %next

next:
  %due1 = phi i1 [ %narrow_due1, %narrow_ready ], [ %narrow_due1, %narrow_run ],
                 [ %fenced, %split_ready ], [ %fenced, %split_run ], [ false, %called ]
  %shared1 = phi i1 [ %narrow_shared, %narrow_ready ], [ %narrow_shared, %narrow_run ],
                    [ true, %split_ready ], [ true, %split_run ], [ false, %called ]
  br label %step

jump:
  br label %step

; the barrier that is due after a branch keeps the next row from changing the byte before every thread has read it
branch:
  %solo_bit = and i64 %flags, 2
  %marked = icmp ne i64 %solo_bit, 0
  %solo = and i1 %marked, %many
  br i1 %solo, label %solo_enter, label %branch_test
solo_enter:
  %solo_wait = and i1 %due, %shared
  br i1 %solo_wait, label %solo_barrier, label %solo_ready
solo_barrier:
  call void @barrier(ptr %pool, i64 %threads)
  br label %solo_ready
solo_ready:
  br i1 %first, label %solo_run, label %solo_done
solo_run:
  call void @walk(ptr %program, i64 0, i64 1, i64 %pc)
  %solo_stop = load atomic i64, ptr %stop_at acquire, align 8
  %stopped = icmp ne i64 %solo_stop, 0
  br i1 %stopped, label %solo_halt, label %solo_done
solo_halt:
  store atomic i64 1, ptr %stop_at release, align 8
  br label %solo_done
solo_done:
  br label %step
branch_test:
  br i1 %due, label %branch_due, label %branch_ready
branch_due:
  %look = icmp uge i64 %branches, %polled
  %asks = and i1 %first, %look
  br i1 %asks, label %branch_poll, label %branch_barrier
branch_poll:
  %asked = call i64 @poll(ptr %pool, ptr %program, ptr %times, i64 %branches)
  br label %branch_barrier
branch_barrier:
  %polled2 = phi i64 [ %polled, %branch_due ], [ %asked, %branch_poll ]
  call void @barrier(ptr %pool, i64 %threads)
  br label %branch_ready
branch_ready:
  %polled1 = phi i64 [ %polled, %branch_test ], [ %polled2, %branch_barrier ]
  %branches1 = add i64 %branches, 1
  %stop_word = load atomic i64, ptr %stop_at acquire, align 8
  %stop_before = sub i64 %stop_word, 1
  %halt = icmp ult i64 %stop_before, %branches
  br i1 %halt, label %end, label %decided
decided:
  %slot = ptrtoint ptr %args to i64
  %byte_at_at = getelementptr ptr, ptr %table, i64 %slot
  %byte_at = load ptr, ptr %byte_at_at
  %byte = load i8, ptr %byte_at
  %zero = icmp eq i8 %byte, 0
  %is_root = icmp eq i64 %pc, %root
  %leaves = and i1 %zero, %is_root
  br i1 %leaves, label %end, label %follow
follow:
  %chosen = select i1 %zero, i64 %target, i64 %pc1
  br label %step

call:
  %call_wait = and i1 %due, %shared
  br i1 %call_wait, label %call_barrier, label %call_ready
call_barrier:
  call void @barrier(ptr %pool, i64 %threads)
  br label %call_ready
call_ready:
  br i1 %first, label %call_run, label %call_done
call_run:
  br i1 %many, label %call_unlocked, label %call_alone
call_alone:
  LOG_BEGIN alone
  call void %fn(ptr %table, ptr %args)
  LOG_END alone
  br label %call_done
call_unlocked:
  %lock = @pool.lock
  %lock_sleepers = @pool.lock_sleepers
  atomicrmw xchg ptr %lock, i32 2 seq_cst
  call void @publish(ptr %lock, ptr %lock_sleepers)
  LOG_BEGIN unlocked
  call void %fn(ptr %table, ptr %args)
  LOG_END unlocked
  atomicrmw xchg ptr %lock, i32 1 seq_cst
  br label %call_done
call_done:
  call void @barrier(ptr %pool, i64 %threads)
  %stop = load i64, ptr %stop_at
  %go_on = icmp eq i64 %stop, 0
  br i1 %go_on, label %called, label %end
called:
  br label %next

end:
  ret void
}
"""

_WORKERS = """
define internal ptr @worker(ptr %record) {
entry:
  %pool = load ptr, ptr %record
  %birth_at = getelementptr i8, ptr %record, i64 8
  %birth = load i32, ptr %birth_at
  %number_at = getelementptr i8, ptr %record, i64 12
  %number = load i32, ptr %number_at
  %thread = zext i32 %number to i64
  %epoch = @pool.epoch
  %epoch_sleepers = @pool.epoch_sleepers
  %stopping_at = @pool.stopping
  %program_at = @pool.program
  %active_at = @pool.active
  %finished = @pool.finished
  %finished_sleepers = @pool.finished_sleepers
  br label %idle
idle:
  %seen = phi i32 [ %birth, %entry ], [ %now, %arrive ]
  call void @wait_while(ptr %pool, ptr %epoch, i32 %seen, ptr %epoch_sleepers)
  %now = load atomic i32, ptr %epoch acquire, align 4
  %stopping = load i32, ptr %stopping_at
  %leave = icmp ne i32 %stopping, 0
  br i1 %leave, label %exit, label %work
work:
  %program = load ptr, ptr %program_at
  %active = load i64, ptr %active_at
  %takes_part = icmp ult i64 %thread, %active
  br i1 %takes_part, label %walk, label %arrive
walk:
  call void @visit(ptr %program, i64 %thread, i64 %active)
  br label %arrive
arrive:
  atomicrmw add ptr %finished, i32 1 seq_cst
  call void @publish(ptr %finished, ptr %finished_sleepers)
  br label %idle
exit:
  ret ptr null
}

define internal void @announce(ptr %pool) {
  %epoch = @pool.epoch
  %sleepers = @pool.epoch_sleepers
  atomicrmw add ptr %epoch, i32 1 seq_cst
  call void @publish(ptr %epoch, ptr %sleepers)
  ret void
}

define internal void @stop_workers(ptr %pool) {
entry:
  %running_at = @pool.running
  %stopping_at = @pool.stopping
  %threads = @pool.threads
  %count = load i32, ptr %running_at
  store i32 1, ptr %stopping_at
  call void @announce(ptr %pool)
  br label %loop
loop:
  %i = phi i32 [ 1, %entry ], [ %i1, %join ]
  %more = icmp ult i32 %i, %count
  br i1 %more, label %join, label %done
join:
  %record = getelementptr [32 x i8], ptr %threads, i32 %i
  %handle_at = getelementptr i8, ptr %record, i64 16
  %handle = load ptr, ptr %handle_at
  call void @join_thread(ptr %handle)
  %i1 = add i32 %i, 1
  br label %loop
done:
  store i32 0, ptr %stopping_at
  store i32 1, ptr %running_at
  ret void
}

; where the system refuses a thread the pool stays as large as it got
define internal void @start_workers(ptr %pool) {
entry:
  %wanted_at = @pool.wanted
  %running_at = @pool.running
  %epoch_at = @pool.epoch
  %threads = @pool.threads
  %wanted = load i32, ptr %wanted_at
  %epoch = load i32, ptr %epoch_at
  br label %loop
loop:
  %i = phi i32 [ 1, %entry ], [ %i1, %created ]
  %more = icmp ult i32 %i, %wanted
  br i1 %more, label %create, label %done
create:
  %record = getelementptr [32 x i8], ptr %threads, i32 %i
  %birth_at = getelementptr i8, ptr %record, i64 8
  %number_at = getelementptr i8, ptr %record, i64 12
  %handle_at = getelementptr i8, ptr %record, i64 16
  store ptr %pool, ptr %record
  store i32 %epoch, ptr %birth_at
  store i32 %i, ptr %number_at
  %failed = call i32 @create_thread(ptr %record, ptr %handle_at)
  %ok = icmp eq i32 %failed, 0
  br i1 %ok, label %created, label %refused
created:
  %i1 = add i32 %i, 1
  br label %loop
refused:
  store i32 %i, ptr %wanted_at
  br label %done
done:
  store i32 %i, ptr %running_at
  ret void
}

; true with the lock held; false while its holder is inside a host callback, which may itself be waiting for us
define internal i1 @acquire(ptr %pool) {
entry:
  %lock = @pool.lock
  %sleepers = @pool.lock_sleepers
  br label %try
try:
  %pair = cmpxchg ptr %lock, i32 0, i32 1 acquire monotonic
  %won = extractvalue { i32, i1 } %pair, 1
  br i1 %won, label %yes, label %lost
lost:
  %state = extractvalue { i32, i1 } %pair, 0
  %callback = icmp eq i32 %state, 2
  br i1 %callback, label %no, label %wait
wait:
  call void @wait_while(ptr %pool, ptr %lock, i32 1, ptr %sleepers)
  br label %try
yes:
  ret i1 true
no:
  ret i1 false
}

define internal void @release(ptr %pool) {
  %lock = @pool.lock
  %sleepers = @pool.lock_sleepers
  atomicrmw xchg ptr %lock, i32 0 seq_cst
  call void @publish(ptr %lock, ptr %sleepers)
  ret void
}

; ends every worker; they start again when a program needs them. Does nothing during a host callback.
define void @stop(ptr %pool) {
entry:
  %held = call i1 @acquire(ptr %pool)
  br i1 %held, label %stop, label %done
stop:
  call void @stop_workers(ptr %pool)
  call void @release(ptr %pool)
  br label %done
done:
  ret void
}
"""

_RUN = """
declare i64 @llvm.umin.i64(i64, i64)
declare i64 @llvm.smax.i64(i64, i64)

; whether some kernel is worth more than one thread
define internal i1 @is_wide(ptr %rows) {
entry:
  br label %step
step:
  %i = phi i64 [ 0, %entry ], [ %i1, %on ]
  %row = getelementptr [8 x i64], ptr %rows, i64 %i
  %kind = load i64, ptr %row
  %i1 = add i64 %i, 1
  switch i64 %kind, label %on [
    i64 0, label %no
    i64 1, label %kernel
  ]
kernel:
  %extent_at = getelementptr i64, ptr %row, i64 3
  %extent = load i64, ptr %extent_at
  %grain_at = getelementptr i64, ptr %row, i64 4
  %grain = load i64, ptr %grain_at
  %grain2 = shl i64 %grain, 1
  %large = icmp sge i64 %extent, %grain2
  br i1 %large, label %yes, label %on
on:
  br label %step
yes:
  ret i1 true
no:
  ret i1 false
}

define void @run(ptr %program) {
entry:
  %pool = load ptr, ptr %program
  %single = icmp eq ptr %pool, null
  br i1 %single, label %alone, label %count
count:
  %wanted_at = @pool.wanted
  %wanted32 = load i32, ptr %wanted_at
  %wanted = zext i32 %wanted32 to i64
  %limit_at = getelementptr i64, ptr %program, i64 3
  %limit = load i64, ptr %limit_at
  %possible = call i64 @llvm.umin.i64(i64 %wanted, i64 %limit)
  %several = icmp ugt i64 %possible, 1
  br i1 %several, label %look, label %alone
look:
  %rows_at = getelementptr i64, ptr %program, i64 1
  %rows = load ptr, ptr %rows_at
  %wide = call i1 @is_wide(ptr %rows)
  br i1 %wide, label %take, label %alone
take:
  %held = call i1 @acquire(ptr %pool)
  br i1 %held, label %ready, label %alone
alone:
  call void @visit(ptr %program, i64 0, i64 1)
  call void @log_finish(ptr %program)
  ret void

ready:
  %running_at = @pool.running
  %before = load i32, ptr %running_at
  %fits = icmp eq i32 %before, %wanted32
  br i1 %fits, label %start, label %resize
resize:
  call void @stop_workers(ptr %pool)
  call void @start_workers(ptr %pool)
  br label %start
start:
  %running = load i32, ptr %running_at
  %running64 = zext i32 %running to i64
  %threads = call i64 @llvm.umin.i64(i64 %running64, i64 %limit)
  %program_at = @pool.program
  %active_at = @pool.active
  %finished = @pool.finished
  %finished_sleepers = @pool.finished_sleepers
  store ptr %program, ptr %program_at
  store i64 %threads, ptr %active_at
  store atomic i32 0, ptr %finished monotonic, align 4
  call void @announce(ptr %pool)
  call void @visit(ptr %program, i64 0, i64 %threads)
  %workers = sub i32 %running, 1
  br label %join
join:
  %now = load atomic i32, ptr %finished acquire, align 4
  %all = icmp eq i32 %now, %workers
  br i1 %all, label %finish, label %wait
wait:
  call void @wait_while(ptr %pool, ptr %finished, i32 %now, ptr %finished_sleepers)
  br label %join
finish:
  call void @log_finish(ptr %program)
  call void @release(ptr %pool)
  ret void
}
"""
