"""Who makes the batches: the thread of the user, worker threads, or worker processes.

A pool starts epochs, takes tasks for its workers and gives finished ones in any order. `capacity` is how many tasks it
can be given in advance.
"""

from __future__ import annotations

import gc
import multiprocessing
import os
import queue
import signal
import sys
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable
from multiprocessing import connection
from multiprocessing.util import Finalize
from typing import Any, NamedTuple

from plait.core.errors import message
from plait.data.fetch import Failure, Fetcher, Plan, Task, WorkerError
from plait.data.transport import Inherited, Receiver, Sender
from plait.runtime import pool as native_threads
from plait.runtime.host import set_thread_count

_GRACE = 2.0  # seconds that workers get to finish what they are at
InitFunction = Callable[[int], None] | None


class Start(NamedTuple):
    """A new epoch: its number, and how many batches of each stream are skipped."""

    epoch: int
    skipped: list[int]


class Raised(NamedTuple):
    """What came instead of a batch: an error, to be raised when the batch is due."""

    error: Exception


class SerialPool:
    """Makes each batch when it is asked for, in the user's thread."""

    capacity = 1

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.tasks: deque[Task] = deque()

    def start(self, start: Start) -> None:
        """Begin an epoch."""
        self.fetcher = Fetcher(self.plan, start.epoch, start.skipped, None, True)
        self.tasks.clear()

    def submit(self, task: Task) -> None:
        """Take a task."""
        self.tasks.append(task)

    def receive(self) -> tuple[int, Any]:
        """Return the number of a task and its batch."""
        task = self.tasks.popleft()
        return task.number, self.fetcher.fetch(task)

    def close(self) -> None:
        """End."""


class _Pool:
    """What pools of several workers have in common: who has how many tasks."""

    def __init__(self, plan: Plan, count: int, prefetch: int) -> None:
        self.plan, self.count, self.capacity = plan, count, count * prefetch
        self.loads = [0] * count
        self.owners: dict[int, tuple[int, Task]] = {}

    def start(self, start: Start) -> None:
        """Begin an epoch; what is left of the last one is thrown away."""
        while self.owners:
            self.receive()
        for worker in range(self.count):
            self.tell(worker, start)

    def submit(self, task: Task) -> None:
        """Give a task to the worker that has the fewest; those of a stream always to the same."""
        worker = task.what % self.count if self.plan.num_streams else self.loads.index(min(self.loads))
        self.loads[worker] += 1
        self.owners[task.number] = worker, task
        self.tell(worker, task)

    def tell(self, worker: int, what: Start | Task) -> None:
        raise NotImplementedError

    def receive(self) -> tuple[int, Any]:
        raise NotImplementedError

    def at_work(self, of: int | None = None) -> str:
        """Say which batches the workers (or one of them) are making."""
        what = "part {} of the stream" if self.plan.num_streams else "samples {}"
        texts = [what.format(_short(task.what)) for worker, task in self.owners.values() if of in (None, worker)]
        return "; ".join(texts[:4]) or "no batch"

    def done(self, number: int) -> None:
        """Note that a task is finished."""
        self.loads[self.owners.pop(number)[0]] -= 1


def _late(waiting: str, timeout: float) -> WorkerError:
    text = f"No batch came within timeout={timeout} seconds"
    fix = "raise timeout, or look for what takes so long with num_workers=0"
    return WorkerError(message(text, f"workers busy with {waiting}", None, fix))


def _short(indices: Any) -> str:
    return repr(indices) if not isinstance(indices, list) or len(indices) < 9 else f"{indices[:8]}"[:-1] + ", …]"


class ThreadPool(_Pool):
    """Makes batches in threads, which share the dataset."""

    def __init__(self, plan: Plan, count: int, prefetch: int, init: InitFunction, timeout: float) -> None:
        super().__init__(plan, count, prefetch)
        self.timeout = timeout
        self.results: queue.SimpleQueue[tuple[int, Any, bool]] = queue.SimpleQueue()
        is_over = threading.Event()
        self.inboxes: list[queue.SimpleQueue[Any]] = [queue.SimpleQueue() for _ in range(count)]
        for worker, inbox in enumerate(self.inboxes):
            arguments = (plan, (worker, count), inbox, self.results, is_over, init)
            threading.Thread(target=_thread, args=arguments, daemon=True, name=f"DataLoader worker {worker}").start()
        self.close = weakref.finalize(self, _end_threads, self.inboxes, is_over)

    def tell(self, worker: int, what: Start | Task) -> None:
        self.inboxes[worker].put(what)

    def receive(self) -> tuple[int, Any]:
        """Return the number of a task and its batch."""
        try:
            number, value, failed = self.results.get(timeout=self.timeout or None)
        except queue.Empty:
            raise _late(self.at_work(), self.timeout) from None
        self.done(number)
        return number, Raised(value) if failed else value


def _end_threads(inboxes: list[queue.SimpleQueue[Any]], is_over: threading.Event) -> None:
    is_over.set()
    for inbox in inboxes:
        inbox.put(None)


def _thread(
    plan: Plan, worker: tuple[int, int], inbox: Any, results: Any, is_over: threading.Event, init: InitFunction
) -> None:
    failed_start: Exception | None = None
    try:
        if init is not None:
            init(worker[0])
    except Exception as error:
        failed_start = error
    while (what := inbox.get()) is not None and not is_over.is_set():
        if isinstance(what, Start):
            fetcher = Fetcher(plan, what.epoch, what.skipped, worker, False)
            continue
        try:
            if failed_start:
                raise failed_start
            results.put((what.number, fetcher.fetch(what), False))
        except Exception as error:
            results.put((what.number, error, True))


class ProcessPool(_Pool):
    """Makes batches in processes."""

    def __init__(
        self, plan: Plan, count: int, prefetch: int, init: InitFunction, timeout: float, context: Any
    ) -> None:  # fmt: skip
        super().__init__(plan, count, prefetch)
        self.timeout = timeout
        self.receivers: list[Receiver] = []
        self.processes: list[Any] = []
        self.close = Finalize(self, _end_processes, (self.receivers, self.processes), exitpriority=10)
        forks = context.get_start_method() == "fork"
        if forks:
            native_threads.close()  # a process with one thread can be forked safely
        inherited = (plan, init) if forks else Inherited((plan, init))
        try:
            for worker in range(count):
                ours, theirs = context.Pipe()
                _our_ends.add(ours)
                self.receivers.append(Receiver(ours))
                arguments = (theirs, inherited, (worker, count))
                process = context.Process(target=_process, args=arguments, daemon=True, name=f"DataLoader {worker}")
                self.processes.append(process)
                process.start()
                theirs.close()
        except BaseException:
            self.close()
            raise
        finally:
            if isinstance(inherited, Inherited):
                inherited.close()

    def tell(self, worker: int, what: Start | Task) -> None:
        receiver = self.receivers[worker]
        try:
            receiver.connection.send((what, receiver.take_returned()))
        except OSError:
            raise self._died(worker) from None

    def receive(self) -> tuple[int, Any]:
        """Return the number of a task and its batch."""
        ready = connection.wait([r.connection for r in self.receivers], self.timeout or None)
        if not ready:
            raise _late(self.at_work(), self.timeout)
        worker = next(i for i, r in enumerate(self.receivers) if r.connection is ready[0])
        try:
            number, value = self.receivers[worker].receive()
        except (EOFError, OSError):
            raise self._died(worker) from None
        self.done(number)
        return number, Raised(value.raised()) if isinstance(value, Failure) else value

    def _died(self, worker: int) -> WorkerError:
        process = self.processes[worker]
        process.join(1)
        code, fix = process.exitcode, "look for the cause with num_workers=0"
        if code == -signal.SIGKILL:
            fix = "the system may have had no memory left: use fewer workers or smaller batches"
        how = f"exit code {code}" if code is None or code >= 0 else f"killed by {signal.Signals(-code).name}"
        received = f"process {process.pid}: {how}, while making {self.at_work(worker)}"
        return WorkerError(message(f"Worker process {worker} of the DataLoader died", received, None, fix))


_our_ends: weakref.WeakSet[Any] = weakref.WeakSet()  # a forked worker closes them, to notice the end of the loader


def _end_processes(receivers: list[Receiver], processes: list[Any]) -> None:
    for receiver in receivers:
        receiver.connection.close()
    end = time.monotonic() + _GRACE
    started = [p for p in processes if p.pid is not None]
    for stop in (None, "terminate", "kill"):
        for process in started:
            if stop and process.is_alive():
                getattr(process, stop)()
        for process in started:
            process.join(max(0.0, end - time.monotonic()))
        end = time.monotonic() + _GRACE
    for process in started:
        if not process.is_alive():
            process.close()


def _process(theirs: Any, inherited: Any, worker: tuple[int, int]) -> None:
    """Run a worker process until the loader closes the connection."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the loader's process ends this one
    for end in list(_our_ends):
        end.close()
    gc.freeze()  # a collection would write to, and so copy, what is shared with the loader's process
    set_thread_count(1)
    (plan, init), sender = inherited, Sender(theirs, True)
    inbox: queue.SimpleQueue[Any] = queue.SimpleQueue()
    threading.Thread(target=_read, args=(theirs, inbox), daemon=True).start()
    failure = None
    try:
        if init is not None:
            init(worker[0])
    except Exception as error:
        failure = Failure.of(error, worker[0])
    while (received := inbox.get()) is not None:
        what, returned = received
        sender.free += returned
        if isinstance(what, Start):
            fetcher = Fetcher(plan, what.epoch, what.skipped, worker, True)
            continue
        try:
            value = failure or fetcher.fetch(what)
        except Exception as error:
            value = Failure.of(error, worker[0])
        if not _sent(sender, what.number, value, worker[0]):
            break
    sys.stdout.flush()


def _sent(sender: Sender, number: int, value: Any, worker: int) -> bool:
    """Send a batch; returns whether the loader is still there."""
    try:
        sender.send(number, value)
    except (BrokenPipeError, ConnectionError):
        return False
    except Exception as error:  # the batch cannot be pickled
        sender.send(number, Failure.of(error, worker))
    return True


def _read(theirs: Any, inbox: queue.SimpleQueue[Any]) -> None:
    """Read all the time, so that the loader never waits for a worker to take a task; end with the loader."""
    try:
        while True:
            inbox.put(theirs.recv())
    except (EOFError, OSError):
        inbox.put(None)
    time.sleep(3 * _GRACE)
    os._exit(1)  # the work of the user's code that is still going on is for nobody


def start_method() -> str:
    """Return how worker processes start where the user does not say: by a fork on Linux, as in PyTorch."""
    return "fork" if sys.platform == "linux" else multiprocessing.get_start_method()
