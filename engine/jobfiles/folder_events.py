"""Owns what a folder watcher tells: the events it delivers."""

from __future__ import annotations

from dataclasses import dataclass

from engine.model.workflow import Workflow


@dataclass(frozen=True)
class FileLoaded:
    """A job file is new or its bytes changed, and it is valid. `path` is relative to the root."""

    path: str
    workflow: Workflow


@dataclass(frozen=True)
class FileBroken:
    """A job file cannot be used; each problem is a sentence."""

    path: str
    problems: tuple[str, ...]


@dataclass(frozen=True)
class FileRemoved:
    """A job file has been absent long enough to be gone."""

    path: str


@dataclass(frozen=True)
class FolderAlarm:
    """Somebody should look: removals are held, a folder is missing, a watch is lost."""

    message: str


Event = FileLoaded | FileBroken | FileRemoved | FolderAlarm
Batch = tuple[Event, ...]
