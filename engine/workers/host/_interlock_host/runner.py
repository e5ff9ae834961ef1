"""Runs a user's callables for the worker host: its own process, started by path. Runs under Python 3.8 and later.

It takes calls from a socket and answers there; the host keeps records, deadlines and logs. When the host dies the
socket ends, and so does this process.
"""

# Plain calls that every Python from 3.8 on has; sys.path is cleaned before the other imports.
# ruff: noqa: B905, E402, PTH100, PTH109, PTH118, PTH120, PTH123

import os
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
# Our folder goes before anything else is imported: its module names must never meet the user's.
sys.path[:] = [entry for entry in sys.path if not entry or os.path.realpath(entry) != os.path.realpath(HERE)]

import array
import asyncio
import contextvars
import importlib.util
import json
import queue
import socket
import threading
from typing import Any


def sibling(name: Any) -> Any:
    """A file beside this one, under a name that no user's module has."""
    spec = importlib.util.spec_from_file_location("_interlock_" + name, os.path.join(HERE, name + ".py"))
    module = importlib.util.module_from_spec(spec)  # type: ignore[arg-type]
    sys.modules["_interlock_" + name] = module
    spec.loader.exec_module(module)  # type: ignore[union-attr]
    return module


class Channel:
    """The socket to the host: lines of JSON, and descriptors beside them (output, error, the call itself)."""

    def __init__(self, fd: Any) -> None:
        self._socket = socket.socket(fileno=fd)
        self._lock = threading.Lock()
        self._fds: Any = []

    def send(self, message: Any) -> Any:
        data = (json.dumps(message) + "\n").encode()
        with self._lock:
            self._socket.sendall(data)

    def messages(self) -> Any:
        rest = b""
        while True:
            data = self._receive()
            if not data:
                return
            *lines, rest = (rest + data).split(b"\n")
            for line in lines:
                message = json.loads(line)
                if message["op"] == "call":
                    fds, self._fds = self._fds[:3], self._fds[3:]
                    message.update(fds=fds[:2], call=load(fds[2]))
                yield message

    def _receive(self) -> Any:
        try:
            data, extra, _, _ = self._socket.recvmsg(65536, socket.CMSG_SPACE(3 * 64 * 4), socket.MSG_CMSG_CLOEXEC)
        except OSError:
            return b""
        for level, kind, content in extra:
            if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
                numbers = array.array("i")
                numbers.frombytes(content[: len(content) - len(content) % numbers.itemsize])
                self._fds.extend(numbers)
        return data


def load(fd: Any) -> Any:
    with open(fd, "rb") as file:
        file.seek(0)
        return json.loads(file.read())


class Runner:
    """Takes calls and cancellations from the channel; each pool differs in where a call runs."""

    def __init__(self, channel: Any, calls: Any, streams: Any) -> None:
        self.channel, self.calls, self.streams = channel, calls, streams
        self._active: Any = {}
        threading.Thread(target=self._read, daemon=True, name="interlock-reader").start()

    def _read(self) -> Any:
        for message in self.channel.messages():
            if message["op"] == "call":
                call = self.calls.Call(message, self.channel)
                self._active[call.number] = call
                self.submit(call)
            else:
                call = self._active.get(message["a"])
                if call is not None:
                    self.cancel(call, message["op"] == "raise")
        os._exit(0)  # the host is gone, or has no more use for us

    def submit(self, call: Any) -> Any:
        raise NotImplementedError

    def serve(self) -> Any:
        raise NotImplementedError

    def done(self, call: Any) -> Any:
        """After the call's descriptors are closed: the host takes this for the attempt's end."""
        self._active.pop(call.number, None)
        self.channel.send(call.answer)

    def cancel(self, call: Any, force: Any) -> Any:
        call.cancel(force)


class ProcessRunner(Runner):
    """One call at a time, in the main thread, with descriptors 1 and 2 its own."""

    def __init__(self, *arguments: Any) -> None:
        self._queue: Any = queue.Queue()
        self._home, self._environ = os.getcwd(), dict(os.environ)
        for stream in (sys.stdout, sys.stderr):
            if stream is not None:
                stream.reconfigure(line_buffering=True, errors="backslashreplace")  # type: ignore[union-attr]
        super().__init__(*arguments)

    def submit(self, call: Any) -> Any:
        self._queue.put(call)

    def serve(self) -> Any:
        while True:
            self._run(self._queue.get())

    def _run(self, call: Any) -> Any:
        for fd, target in zip(call.fds, (1, 2)):
            os.dup2(fd, target)
            os.close(fd)
        os.chdir(self._home)
        os.environ.clear()
        os.environ.update(self._environ)
        os.environ.update(call.env)
        call.run()
        for stream in (sys.stdout, sys.stderr):
            try:
                stream.flush()
            except (OSError, ValueError, AttributeError):
                call.answer["dirty"] = True
        null = os.open(os.devnull, os.O_RDWR)
        os.dup2(null, 1)
        os.dup2(null, 2)
        os.close(null)
        # A thread left behind would write into the next attempt.
        call.answer["dirty"] = call.answer.get("dirty", False) or threading.active_count() > 2
        self.done(call)


class ThreadRunner(Runner):
    """A thread for each call, so that one which never ends takes no other with it."""

    def __init__(self, *arguments: Any) -> None:
        self._queue: Any = queue.Queue()
        super().__init__(*arguments)

    def submit(self, call: Any) -> Any:
        self._queue.put(call)

    def serve(self) -> Any:
        while True:
            call = self._queue.get()
            name = "interlock-%s" % call.number
            threading.Thread(target=self._run, args=(call,), daemon=True, name=name).start()

    def _run(self, call: Any) -> Any:
        sink = self.streams.Sink(call.fds)
        self.streams.CURRENT.set(sink)
        call.run()
        sink.close()
        self.done(call)


class AsyncRunner(Runner):
    """One event loop; a callable that is no coroutine function goes to a thread, so that it cannot hold the loop."""

    def __init__(self, *arguments: Any) -> None:
        self._loop = asyncio.new_event_loop()
        super().__init__(*arguments)

    def serve(self) -> Any:
        asyncio.set_event_loop(self._loop)
        self._loop.run_forever()

    def submit(self, call: Any) -> Any:
        self._loop.call_soon_threadsafe(self._start, call)

    def cancel(self, call: Any, force: Any) -> Any:
        call.cancelled.set()
        self._loop.call_soon_threadsafe(lambda: call.task and call.task.cancel())

    def _start(self, call: Any) -> Any:
        sink = self.streams.Sink(call.fds)

        def begin() -> Any:
            self.streams.CURRENT.set(sink)
            return self._loop.create_task(self._run(call, sink))

        call.task = contextvars.copy_context().run(begin)

    async def _run(self, call: Any, sink: Any) -> Any:
        await call.run_async(self._loop)
        sink.close()
        self.done(call)


def main() -> Any:
    settings = json.loads(sys.argv[1])
    # What the user's program expects: pythonpath, then the working directory, then the interpreter's own.
    sys.path[:0] = [*settings["pythonpath"], os.getcwd()]
    sys.argv[:] = [settings["module"]]
    streams = sibling("runner_streams")
    if settings["pool"] != "process":
        streams.install()
    kinds: Any = {"process": ProcessRunner, "thread": ThreadRunner, "async": AsyncRunner}
    kinds[settings["pool"]](Channel(settings["fd"]), sibling("runner_calls"), streams).serve()


if __name__ == "__main__":
    main()
