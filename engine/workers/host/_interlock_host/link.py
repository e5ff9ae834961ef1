"""The connection to the engine: hello first, then messages both ways; lost, it is tried again every 0.2 s.

The old connection is read to its end before a new one is made: what an engine sent before it died is obeyed or
refused before the next engine is told what runs here.
"""

from __future__ import annotations

import collections
import contextlib
import json
import os
import selectors
import socket
import threading
import time
from pathlib import Path

from .desk import Desk, Message
from .worklog import WorkLog

RETRY = 0.2
BACKLOG = 1000  # messages beyond which progress is dropped: an engine that does not read must not fill our memory


class Link:
    """Used by the main thread, except `send`."""

    def __init__(self, state: Path, desk: Desk, worklog: WorkLog) -> None:
        # Through the folder's descriptor, because a socket's path may have 107 bytes at most.
        self._folder = os.open(state, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        self._desk, self._worklog = desk, worklog
        self._selector = selectors.DefaultSelector()
        self.wake_fd = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._selector.register(self.wake_fd, selectors.EVENT_READ)
        self._lock = threading.Lock()
        self._outbox: collections.deque[Message] = collections.deque()
        self._signals = -1
        self._socket: socket.socket | None = None
        self._next_try = 0.0
        self._incoming = self._outgoing = b""
        self._writable = True
        self.lost_at = time.monotonic()

    @property
    def connected(self) -> bool:
        return self._socket is not None

    @property
    def quiet(self) -> bool:
        """Nothing is waiting to be written."""
        return not self.connected or (not self._outbox and not self._outgoing)

    def send(self, message: Message) -> None:
        with self._lock:
            if self._socket is None or (message["t"] == "progress" and len(self._outbox) > BACKLOG):
                return  # the next hello says what stands
            self._outbox.append(message)
        os.eventfd_write(self.wake_fd, 1)

    def also_wake_on(self, fd: int) -> None:
        """A pipe that gets a byte for each signal."""
        self._signals = fd
        self._selector.register(fd, selectors.EVENT_READ)

    def step(self, timeout: float) -> None:
        """Wait for something to do, at most `timeout`, and do it."""
        if self._socket is None:
            self._connect()
        if self._socket is not None:
            self._transmit()  # before the wait: a hello is in the outbox without anybody having woken us
        wait = timeout if self._socket else min(timeout, max(0.0, self._next_try - time.monotonic()))
        for key, events in self._selector.select(wait):
            if key.fd == self.wake_fd:
                with contextlib.suppress(BlockingIOError):
                    os.eventfd_read(self.wake_fd)
            elif key.fd == self._signals:
                os.read(key.fd, 4096)
            elif events & selectors.EVENT_READ:
                self._receive()
        if self._socket is not None:
            self._transmit()

    def close(self) -> None:
        if self._socket is not None:
            self._disconnect()

    def _connect(self) -> None:
        if time.monotonic() < self._next_try:
            return
        self._next_try = time.monotonic() + RETRY
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            connection.connect(f"/proc/self/fd/{self._folder}/workers.sock")
        except OSError:
            connection.close()
            return
        connection.setblocking(False)
        with self._desk.lock, self._lock:  # no attempt may end between what the hello says and our being connected
            self._outbox.clear()
            self._outbox.append(self._desk.hello())
            self._incoming = self._outgoing = b""
            self._writable = True
            self._desk.welcomed = False
            self._socket = connection
        self._selector.register(connection, selectors.EVENT_READ)

    def _disconnect(self) -> None:
        assert self._socket is not None
        with self._lock:
            connection, self._socket = self._socket, None
            self._outbox.clear()
            self._outgoing = b""
        self._selector.unregister(connection)
        connection.close()
        self.lost_at = time.monotonic()
        self._worklog("disconnected")

    def _receive(self) -> None:
        assert self._socket is not None
        try:
            data = self._socket.recv(1024 * 1024)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        *lines, self._incoming = (self._incoming + data).split(b"\n")
        if not all(self._obey(line) for line in lines) or not data:
            self._disconnect()

    def _obey(self, line: bytes) -> bool:
        try:
            decoded = json.loads(line)
            messages = decoded if isinstance(decoded, list) else [decoded]
            return all(self._desk.handle(message) for message in messages)
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            self._worklog("bad message", error=repr(error), line=line[:200].decode(errors="replace"))
            return True

    def _transmit(self) -> None:
        assert self._socket is not None
        with self._lock:
            while self._outbox:
                self._outgoing += json.dumps(self._outbox.popleft(), separators=(",", ":")).encode() + b"\n"
        while self._outgoing and self._writable:
            try:
                sent = self._socket.send(self._outgoing, socket.MSG_NOSIGNAL)
                self._outgoing = self._outgoing[sent:]
            except BlockingIOError:
                break
            except OSError:
                self._writable = False  # nobody reads; what was sent to us is still to be read, to the end
        if not self._writable:
            self._outgoing = b""
        events = selectors.EVENT_READ | (selectors.EVENT_WRITE if self._outgoing else 0)
        self._selector.modify(self._socket, events)
