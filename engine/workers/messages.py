"""Owns the reading of workers' messages: untrusted JSON in, typed values or BadMessageError out."""

from __future__ import annotations

from dataclasses import dataclass

from engine.model.lifecycle import Outcome, Reason
from engine.model.reports import Ended, Progressed
from engine.workers.channel import Message

PROTOCOL = 1


class BadMessageError(ValueError):
    """A message that lacks a field or holds one of the wrong kind."""


@dataclass(frozen=True)
class Running:
    attempt: int
    epoch: int
    at_us: int
    pid: int | None


@dataclass(frozen=True)
class Hello:
    worker: str
    pid: int
    protocol: int
    slots: int
    epoch: int
    running: tuple[Running, ...]
    finished: tuple[Message, ...]


def integer(message: Message, name: str) -> int:
    value = message.get(name)
    if isinstance(value, bool) or not isinstance(value, int):
        raise BadMessageError(f"{name} is not a whole number: {value!r}")
    return value


def _optional(message: Message, name: str) -> int | None:
    return None if message.get(name) is None else integer(message, name)


def _objects(message: Message, name: str) -> list[Message]:
    value = message.get(name, [])
    if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
        raise BadMessageError(f"{name} is not a list of objects")
    return value


def read_hello(message: Message) -> Hello:
    if message.get("t") != "hello" or not isinstance(message.get("worker"), str):
        raise BadMessageError("the first message is no hello of a named worker")
    return Hello(
        worker=message["worker"],
        pid=integer(message, "pid"),
        protocol=integer(message, "protocol"),
        slots=max(0, integer(message, "slots")),
        epoch=_optional(message, "epoch") or 0,
        running=tuple(read_running(item) for item in _objects(message, "running")),
        finished=tuple(_objects(message, "finished")),
    )


def read_running(message: Message) -> Running:
    """A `started` message, or one entry of a hello's `running`."""
    return Running(
        attempt=integer(message, "a"),
        epoch=integer(message, "e"),
        at_us=integer(message, "at"),
        pid=_optional(message, "pid"),
    )


def read_progress(message: Message) -> Progressed:
    done, total = message.get("done"), message.get("total")
    if not isinstance(done, int | float) or not isinstance(total, int | float | None):
        raise BadMessageError("progress without numbers")
    return Progressed(integer(message, "a"), float(done), None if total is None else float(total))


def read_exit(message: Message) -> Ended:
    """An `exit` message, or the spool's record of one."""
    try:
        outcome, reason = Outcome(str(message.get("outcome"))), Reason(str(message.get("reason")))
    except ValueError as problem:
        raise BadMessageError(str(problem)) from None
    return Ended(
        attempt=integer(message, "a"),
        outcome=outcome,
        reason=reason.value,
        at_us=integer(message, "at"),
        started_us=_optional(message, "started"),
        exit_code=_optional(message, "code"),
        signal=_optional(message, "signal"),
        message=str(message.get("message") or ""),
        output=message.get("output"),
        log=message.get("log"),
        lost_bytes=_optional(message, "lost_bytes") or 0,
        usage=message.get("usage"),
    )
