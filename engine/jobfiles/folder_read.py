"""Owns turning settled files into contents: read, hash, load. Runs in a thread; one bad file harms only itself."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Protocol

from engine.jobfiles.folder_claims import Content
from engine.jobfiles.safe_read import BusyFileError, ChangedFileError, FileKey, UnreadableFileError, read_job_file
from engine.model.workflow import Workflow


class LoadResult(Protocol):
    """What a loader returns: a workflow, or the problems that prevent one (each has a str())."""

    @property
    def workflow(self) -> Workflow | None: ...

    @property
    def problems(self) -> Sequence[object]: ...


Load = Callable[[bytes, str], LoadResult]


class Progress(Enum):
    TAKEN = "taken"
    CHANGED = "changed"
    BUSY = "busy"


@dataclass(frozen=True)
class Want:
    """A file to be read: its name in events, its place, the version expected, the digest last taken."""

    path: str
    file: Path
    key: FileKey
    digest: str | None


@dataclass(frozen=True)
class Reading:
    """What came of a want. TAKEN without content: the bytes are those already known."""

    want: Want
    progress: Progress
    digest: str | None = None
    content: Content | None = None


def read_all(wants: Iterable[Want], load: Load) -> list[Reading]:
    """Read each file that is settled and closed."""
    return [_read(want, load) for want in wants]


def _read(want: Want, load: Load) -> Reading:
    try:
        data = read_job_file(want.file, expect=want.key, closed=True)
    except BusyFileError:
        return Reading(want, Progress.BUSY)
    except ChangedFileError:
        return Reading(want, Progress.CHANGED)
    except UnreadableFileError as error:
        digest = f"unreadable: {error.why}"
        return Reading(want, Progress.TAKEN, digest, None if digest == want.digest else (error.why,))
    digest = hashlib.sha256(data).hexdigest()
    return Reading(want, Progress.TAKEN, digest, None if digest == want.digest else _content(data, want.path, load))


def _content(data: bytes, path: str, load: Load) -> Content:
    try:
        loaded = load(data, path)
        if loaded.workflow is not None:
            _ = loaded.workflow.definition_hash  # computed here, in the thread, and kept
            return loaded.workflow
        return tuple(str(problem) for problem in loaded.problems) or ("the file defines no workflow",)
    except Exception as error:  # a fault of ours in one file must not stop the others
        return (f"the file could not be loaded ({type(error).__name__}: {error}); please report this",)
