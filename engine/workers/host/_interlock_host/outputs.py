"""Reads the JSON that a job left at INTERLOCK_OUTPUT, and removes the file."""

from __future__ import annotations

import contextlib
import json
import os
import stat
from pathlib import Path
from typing import Any


class BadOutput(Exception):  # noqa: N818
    """What the job left is no output; the text says why."""


def take(path: str | None, limit: int) -> Any:
    if not path:
        return None
    try:
        data = _read(path, limit)
    finally:
        with contextlib.suppress(OSError):
            Path(path).unlink()
    if data is None:
        return None
    return parse(data, limit)


def parse(data: bytes, limit: int) -> Any:
    if len(data) > limit:
        raise BadOutput(f"the output is larger than the limit of {limit} bytes; leave large data in a file")
    try:
        value = json.loads(data.decode(), parse_constant=_refuse)
        if b"\\u" in data:  # an escape can hide half a character, which no reader of ours could be sent
            json.dumps(value, ensure_ascii=False).encode()
    except RecursionError:
        raise BadOutput("the output is nested too deeply") from None
    except ValueError as error:
        raise BadOutput(f"the output is not JSON: {error}") from None
    return value


def _read(path: str, limit: int) -> bytes | None:
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)  # a fifo must not hold us
    except FileNotFoundError:
        return None
    except OSError as error:
        raise BadOutput(f"the output file cannot be read: {error.strerror}") from None
    if not stat.S_ISREG(os.fstat(fd).st_mode):  # before open(), which refuses a folder in its own way
        os.close(fd)
        raise BadOutput("the output is not a regular file")
    with open(fd, "rb") as file:  # noqa: PTH123
        return file.read(limit + 1) or None


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is not a JSON value")
