"""Batches from worker processes: their arrays in shared memory, which is used again, all else through a pipe.

A worker writes the arrays of a batch into a region of memory and sends the rest, pickled, with their places. The
loader's arrays lie in that region until they die; then the worker may write there again. Regions are files without a
name, so nothing is left behind however a process ends. Where there is no such memory, everything goes through the pipe.
"""

from __future__ import annotations

import io
import mmap
import os
import pickle
import socket
import sys
import tempfile
from collections import deque
from collections.abc import Sequence
from multiprocessing import reduction
from multiprocessing.connection import Connection
from typing import Any

import numpy as np

from plait.core.dtype import as_dtype
from plait.tensor.creation import as_tensor
from plait.tensor.tensor import Tensor

_ALIGNMENT = 64
_SMALL = 2048  # arrays of fewer bytes go through the pipe
_MOST_LENT = 4  # regions of a worker that the user's batches may occupy; further ones are copied
Span = tuple[int, int]


def memory_file(size: int) -> int:
    """Return the descriptor of a file without a name, in memory where the system has that.

    Raises:
        OSError: there is no such memory.
    """
    if sys.platform == "win32":
        raise OSError("there are no files without a name")
    if hasattr(os, "memfd_create"):
        descriptor = os.memfd_create("plait", os.MFD_CLOEXEC)
    else:
        with tempfile.TemporaryFile() as file:
            descriptor = os.dup(file.fileno())
    try:
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(descriptor, 0, size)  # now, or the first write beyond what there is kills the process
        else:
            os.ftruncate(descriptor, size)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def _spans(buffers: Sequence[memoryview]) -> tuple[list[Span], int]:
    """Return where buffers go, as (offset, size), and how many bytes they need together."""
    spans, end = [], 0
    for buffer in buffers:
        spans.append((end, buffer.nbytes))
        end += -(-buffer.nbytes // _ALIGNMENT) * _ALIGNMENT
    return spans, end


def _write(memory: mmap.mmap, spans: Sequence[Span], buffers: Sequence[memoryview]) -> None:
    target = np.frombuffer(memory, np.uint8)
    for (start, size), buffer in zip(spans, buffers, strict=True):
        target[start : start + size] = np.frombuffer(buffer, np.uint8)


def _reduce(x: Tensor) -> Any:
    array = x.detach().numpy()
    bits = array if array.dtype.kind in "biufc" else array.view(f"u{array.itemsize}")
    return _tensor, (bits, x.dtype.name)


def _tensor(bits: Any, dtype: str) -> Tensor:
    return as_tensor(bits.view(as_dtype(dtype).numpy))


class Sender:
    """A worker's end: sends batches over a connection.

    Args:
        connection: to the loader.
        share: whether to try shared memory.
    """

    def __init__(self, connection: Connection, share: bool) -> None:
        self.connection, self.share = connection, share
        self.regions: dict[int, mmap.mmap] = {}
        self.free: list[int] = []
        self.made = 0

    def send(self, header: Any, value: Any) -> None:
        """Send a value with a header."""
        buffers: list[memoryview] = []
        body = self._pickled(value, buffers)
        spans, total = _spans(buffers)
        region, dropped, descriptor = self._region(total) if buffers else (None, [], None)
        if buffers and region is None:
            buffers, spans, body = [], [], self._pickled(value, None)
        if region is not None:
            _write(self.regions[region], spans, buffers)
        size = len(self.regions[region]) if descriptor is not None else 0
        self.connection.send_bytes(pickle.dumps((header, region, size, dropped, spans, body), 5))
        if descriptor is not None:
            with socket.socket(fileno=os.dup(self.connection.fileno())) as channel:
                socket.send_fds(channel, [b"f"], [descriptor])
            os.close(descriptor)

    def _pickled(self, value: Any, buffers: list[memoryview] | None) -> bytes:
        def apart(buffer: pickle.PickleBuffer) -> bool:
            view = buffer.raw()
            if view.nbytes < _SMALL:
                return True
            buffers.append(view)  # type: ignore[union-attr]
            return False

        stream = io.BytesIO()
        shared = self.share and buffers is not None
        pickler = pickle.Pickler(stream, 5, buffer_callback=apart if shared else None)
        pickler.dispatch_table = {Tensor: _reduce}
        pickler.dump(value)
        return stream.getvalue()

    def _region(self, size: int) -> tuple[int | None, list[int], int | None]:
        """Return a region with room for `size` bytes, those given up for it, and its file if it is new."""
        for region in self.free:
            if len(self.regions[region]) >= size:
                self.free.remove(region)
                return region, [], None
        dropped, self.free = self.free, []
        for region in dropped:
            del self.regions[region]
        step = 1 << max(16, size.bit_length() - 3)
        size = -(-size // step) * step
        try:
            descriptor = memory_file(size)
            self.made += 1
            self.regions[self.made] = mmap.mmap(descriptor, size)
        except OSError:
            self.share = False
            return None, dropped, None
        return self.made, dropped, descriptor


class _Lease:
    """A region that arrays of the user lie in; it goes back to the worker when the last of them dies."""

    def __init__(self, memory: mmap.mmap, region: int, back: deque[int]) -> None:
        self.memory, self.region, self.back = memory, region, back
        address = np.frombuffer(memory, np.uint8).ctypes.data
        shape = (len(memory),)
        self.__array_interface__ = {"data": (address, False), "shape": shape, "typestr": "|u1", "version": 3}

    def __del__(self) -> None:
        self.back.append(self.region)


class Receiver:
    """The loader's end: receives batches from a worker; `returned` are the regions that the worker may use again."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.regions: dict[int, mmap.mmap] = {}
        self.returned: deque[int] = deque()
        self.lent = 0

    def receive(self) -> tuple[Any, Any]:
        """Return the header and value that the worker sent.

        Raises:
            EOFError, OSError: the worker is gone.
        """
        header, region, size, dropped, spans, body = pickle.loads(self.connection.recv_bytes())
        for old in dropped:
            del self.regions[old]
        if size:
            with socket.socket(fileno=os.dup(self.connection.fileno())) as channel:
                descriptor = socket.recv_fds(channel, 1, 1)[1][0]
            self.regions[region] = mmap.mmap(descriptor, size)
            os.close(descriptor)
        if region is None:
            return header, pickle.loads(body)
        self.lent += 1
        memory = np.asarray(_Lease(self.regions[region], region, self.returned))
        if self.lent - len(self.returned) > _MOST_LENT:
            memory = memory[: sum(spans[-1])].copy()
        view = memory.data
        return header, pickle.loads(body, buffers=[view[start : start + size] for start, size in spans])

    def take_returned(self) -> list[int]:
        """Return the regions to give back to the worker."""
        regions = []
        while self.returned:
            regions.append(self.returned.popleft())
        self.lent -= len(regions)
        return regions


class Inherited:
    """A value for worker processes that do not inherit memory: its arrays are written once, for all of them.

    A worker sees them as private memory: what it writes is its own.
    """

    def __init__(self, value: Any) -> None:
        self.value = value
        self.descriptor: int | None = None

    def __reduce__(self) -> Any:
        buffers: list[memoryview] = []
        stream = io.BytesIO()
        reduction.ForkingPickler(stream, 5, True, lambda b: buffers.append(b.raw())).dump(self.value)
        spans, total = _spans(buffers)
        try:
            if self.descriptor is None:
                self.descriptor = memory_file(max(total, 1))
                _write(mmap.mmap(self.descriptor, max(total, 1)), spans, buffers)
        except OSError:
            return _same, (self.value,)
        return _inherit, (stream.getvalue(), spans, reduction.DupFd(self.descriptor))

    def close(self) -> None:
        """Give the memory up; workers that have it keep it."""
        if self.descriptor is not None:
            os.close(self.descriptor)
            self.descriptor = None


def _same(value: Any) -> Any:
    return value


def _inherit(body: bytes, spans: Sequence[Span], handle: Any) -> Any:
    descriptor = handle.detach()
    memory = mmap.mmap(descriptor, 0, access=mmap.ACCESS_COPY)
    os.close(descriptor)
    view = memoryview(memory)
    return pickle.loads(body, buffers=[view[start : start + size] for start, size in spans])
