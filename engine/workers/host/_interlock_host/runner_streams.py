"""Gives each print of a shared runner to the attempt it belongs to. Runs under Python 3.8 and later.

The attempt is a context variable: asyncio passes it to tasks, and a patched Thread.start passes it to threads.
"""

import contextvars
import io
import os
import sys
import threading
from typing import Any

CURRENT: Any = contextvars.ContextVar("interlock_attempt", default=None)


def write_all(fd: Any, data: Any) -> Any:
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]


class Sink:
    """One attempt's two pipes. Whole lines are kept together for each thread, so that threads do not mix theirs."""

    def __init__(self, fds: Any) -> None:
        self._fds = fds
        self._lock = threading.Lock()
        self._parts: Any = {}
        self._closed = False

    def write(self, stream: Any, data: Any) -> Any:
        key = (stream, threading.get_ident())
        with self._lock:
            data = self._parts.pop(key, b"") + data
            cut = data.rfind(b"\n") + 1 if len(data) < 65536 else len(data)
            if cut < len(data):
                self._parts[key] = data[cut:]
            self._put(stream, data[:cut])

    def flush(self, stream: Any) -> Any:
        with self._lock:
            self._put(stream, self._parts.pop((stream, threading.get_ident()), b""))

    def close(self) -> Any:
        with self._lock:
            for (stream, _), part in self._parts.items():
                self._put(stream, part)
            self._closed = True
            for fd in self._fds:
                os.close(fd)

    def _put(self, stream: Any, data: Any) -> Any:
        if data and not self._closed:  # a thread that outlives its attempt speaks to nobody
            try:
                write_all(self._fds[stream - 1], data)
            except OSError:
                return


class Bytes(io.RawIOBase):
    """What user code finds as sys.stdout.buffer."""

    def __init__(self, stream: Any) -> None:
        super().__init__()
        self._stream = stream

    def writable(self) -> Any:
        return True

    def fileno(self) -> Any:
        return self._stream

    def write(self, data: Any) -> Any:
        data = bytes(data)
        sink = CURRENT.get()
        if sink is None:
            write_all(self._stream, data)
        else:
            sink.write(self._stream, data)
        return len(data)

    def flush(self) -> Any:
        sink = CURRENT.get()
        if sink is not None:
            sink.flush(self._stream)


class Text(io.TextIOBase):
    """sys.stdout and sys.stderr of a shared runner."""

    encoding = "utf-8"
    errors = "backslashreplace"

    def __init__(self, stream: Any) -> None:
        super().__init__()
        self.buffer = Bytes(stream)
        self.name = "<stdout>" if stream == 1 else "<stderr>"

    def writable(self) -> Any:
        return True

    def isatty(self) -> Any:
        return False

    def fileno(self) -> Any:
        return self.buffer.fileno()

    def reconfigure(self, **_: Any) -> Any:
        """Programs set encodings here; ours can write everything already."""

    def write(self, text: Any) -> Any:
        if not isinstance(text, str):
            raise TypeError("write() argument must be str, not " + type(text).__name__)
        self.buffer.write(text.encode("utf-8", "backslashreplace"))
        return len(text)

    def flush(self) -> Any:
        self.buffer.flush()


def install() -> Any:
    sys.stdout, sys.stderr = Text(1), Text(2)
    original = threading.Thread.start

    def start(self: Any) -> Any:
        sink = CURRENT.get()
        if sink is not None:
            inner = self.run

            def run() -> Any:
                CURRENT.set(sink)
                inner()

            self.run = run
        return original(self)

    threading.Thread.start = start  # type: ignore[method-assign]
