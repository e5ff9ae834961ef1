"""One call of a user's callable: find it, call it, and turn whatever happens into an answer. Python 3.8 and later."""

# Plain calls that every Python from 3.8 on has.
# ruff: noqa: PTH100, PTH120

import asyncio
import contextvars
import ctypes
import functools
import importlib
import inspect
import json
import os
import resource
import sys
import threading
import time
import traceback
from typing import Any

OURS = os.path.dirname(os.path.abspath(__file__))


class Cancelled(BaseException):
    """Raised in a callable that is being killed. Not an Exception, so that a broad `except` does not swallow it."""


class Context:
    """What a callable gets if it has a parameter named `context`."""

    Cancelled = Cancelled

    def __init__(self, call: Any, values: Any) -> None:
        self._call = call
        for name in ("item", "params", "needs", "run", "task", "attempt", "scheduled"):
            setattr(self, name, values.get(name))

    @property
    def cancelled(self) -> Any:
        return self._call.cancelled.is_set()

    def progress(self, done: Any, total: Any = None) -> Any:
        self._call.channel.send({"op": "progress", "a": self._call.number, "done": done, "total": total})


class Call:
    def __init__(self, message: Any, channel: Any) -> None:
        self.number, self.fds, self.channel = message["a"], message["fds"], channel
        self.env, self._wanted = message["call"]["env"], message["call"]
        self.cancelled = threading.Event()
        self.task: Any = None
        self.answer: Any = {"op": "result", "a": self.number}
        self._lock = threading.Lock()
        self._thread: Any = None

    def run(self) -> Any:
        """In this thread. Never raises: a late Cancelled is taken for what it is."""
        shared = threading.current_thread() is not threading.main_thread()
        clock = time.thread_time if shared else cpu_seconds
        began = clock()
        try:
            with self._lock:
                self._thread = threading.get_ident()
            try:
                self._answer_with(self._value())
            finally:
                self._settle()
        except BaseException as error:
            self._failed(error)
        self._usage(clock() - began)

    async def run_async(self, loop: Any) -> Any:
        try:
            function, args, kwargs = self._find()
            if inspect.iscoroutinefunction(function):
                value = await function(*args, **kwargs)
            else:
                context = contextvars.copy_context()
                call = functools.partial(context.run, outcome_of, function, args, kwargs)
                value, error = await loop.run_in_executor(None, call)
                if error is not None:
                    self._failed(error)
                    return
                if inspect.isawaitable(value):
                    value = await value
            self._answer_with(value)
        except BaseException as error:
            self._failed(error)
        finally:
            self._usage(None)

    def cancel(self, force: Any) -> Any:
        self.cancelled.set()
        with self._lock:
            if force and self._thread is not None:
                raise_in(self._thread, Cancelled)

    def _settle(self) -> Any:
        """No exception may be raised in this thread any more: one that is on its way is called back."""
        with self._lock:
            thread, self._thread = self._thread, None
            if self.cancelled.is_set() and thread is not None:
                raise_in(thread, None)

    def _value(self) -> Any:
        function, args, kwargs = self._find()
        value = function(*args, **kwargs)
        if inspect.isawaitable(value):
            value = asyncio.run(finish(value))
        return value

    def _find(self) -> Any:
        function = importlib.import_module(self._wanted["module"])
        for name in self._wanted["function"].split("."):
            function = getattr(function, name)
        given = self._wanted.get("arguments") or {}
        args, kwargs = (list(given), {}) if isinstance(given, list) else ([], dict(given))
        if "context" not in kwargs and takes_context(function):
            kwargs["context"] = Context(self, self._wanted.get("context") or {})
        return function, args, kwargs

    def _answer_with(self, value: Any) -> Any:
        try:
            text = json.dumps(value, allow_nan=False)
            if "\\ud" in text:  # perhaps half a character, which no reader could be sent
                json.dumps(value, ensure_ascii=False).encode("utf-8")
        except (TypeError, ValueError, RecursionError) as error:
            self.answer.update(outcome="failed", reason="bad_output")
            self.answer["message"] = "the return value is not JSON (%s): %s" % (type(value).__name__, error)
            return
        limit = self._wanted["output_limit"]
        if len(text) > limit:
            self.answer.update(outcome="failed", reason="bad_output")
            self.answer["message"] = "the return value is larger than the limit of %d bytes" % limit
            return
        self.answer.update(outcome="succeeded", reason="succeeded", output=value)

    def _failed(self, error: Any) -> Any:
        self.answer.pop("output", None)
        if isinstance(error, SystemExit):
            self._exited(error.code)
            return
        while error.__traceback__ is not None and own_frame(error.__traceback__):
            error.__traceback__ = error.__traceback__.tb_next
        frames = traceback.extract_tb(error.__traceback__)
        place = " (%s:%s)" % (frames[-1].filename, frames[-1].lineno) if frames else ""
        text = "%s: %s%s" % (type(error).__name__, describe(error), place)
        self.answer.update(outcome="failed", reason="exception", message=text[:4000])
        say("".join(traceback.format_exception(type(error), error, error.__traceback__)))

    def _exited(self, code: Any) -> Any:
        if code is None or code == 0:
            self.answer.update(outcome="succeeded", reason="succeeded", code=0)
            return
        if not isinstance(code, int):
            say("%s\n" % (code,))
            code = 1
        self.answer.update(outcome="failed", reason="exit_code", code=code & 255)
        self.answer["message"] = "ended with exit code %d" % (code & 255)

    def _usage(self, cpu: Any) -> Any:
        usage = {"max_rss_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024}
        if cpu is not None:
            usage["cpu_seconds"] = round(cpu, 6)
        self.answer["usage"] = usage


def outcome_of(function: Any, args: Any, kwargs: Any) -> Any:
    """Value and error, so that an exception crosses to the event loop without the frames between."""
    try:
        return function(*args, **kwargs), None
    except BaseException as error:
        return None, error


async def finish(awaitable: Any) -> Any:
    return await awaitable


def say(text: Any) -> Any:
    try:
        sys.stderr.write(text)
        sys.stderr.flush()
    except Exception:  # the user may have closed or replaced it; the message says the same in short
        return


def describe(error: Any) -> Any:
    try:
        return str(error)
    except Exception:
        return "(its text cannot be made)"


def own_frame(frame: Any) -> Any:
    name = frame.tb_frame.f_code.co_filename
    return os.path.dirname(os.path.abspath(name)) == OURS or name.startswith("<frozen importlib")


def takes_context(function: Any) -> Any:
    try:
        return "context" in inspect.signature(function).parameters
    except (TypeError, ValueError):
        return False


def cpu_seconds() -> Any:
    both = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in both)


def raise_in(thread: Any, kind: Any) -> Any:
    value = None if kind is None else ctypes.py_object(kind)
    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread), value)
