"""What can go wrong on the way to the engine, as types a caller can tell apart."""

from __future__ import annotations

import json
import re
from pathlib import Path

from engine.model.errors import EngineBusyError


class ClientError(RuntimeError):
    """The engine could not be asked, or said no."""


class EngineNotRunningError(ClientError):
    """Nothing answers on the folder's socket."""

    def __init__(self, folder: Path, cause: BaseException | None = None) -> None:
        root = folder.parent
        because = f" ({_plain(cause)})" if cause is not None and folder.exists() and _plain(cause) else ""
        super().__init__(f"no engine is running for {root}{because}; start one with: interlock engine --root {root}")
        self.folder = folder


class NotFoundError(ClientError):
    """There is no such run, task, workflow or attempt."""


class RequestRefusedError(ClientError):
    """The engine understood and will not; the text says why."""


class InvalidRequestError(RequestRefusedError):
    """The request is not one the engine takes: a bad id, an unknown field, too large a body."""


def _plain(cause: BaseException) -> str:
    """What the system said, without its number; nothing where it only says that nobody is there."""
    text = re.sub(r"^\[Errno [0-9]+\] ", "", str(cause))
    return "" if "refused" in text or text.startswith(("No such file", "All connection attempts")) else text


def refusal(code: int, text: str) -> Exception:
    """The error for an answer that is not a success."""
    try:
        why = str(json.loads(text)["why"])
    except (ValueError, KeyError, TypeError):
        why = text.strip()[:500] or f"the engine answered {code}"
    if code == 503:
        return EngineBusyError(why)
    kinds: dict[int, type[ClientError]] = {404: NotFoundError, 409: RequestRefusedError}
    kinds |= {405: InvalidRequestError, 413: InvalidRequestError, 422: InvalidRequestError}
    return kinds.get(code, ClientError)(why)
