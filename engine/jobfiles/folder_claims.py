"""Owns which file may use a workflow name: the first by path; the others are told who has it. Pure."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Mapping

from engine.jobfiles.folder_events import Event, FileBroken, FileLoaded, FileRemoved
from engine.model.workflow import Workflow

Content = Workflow | tuple[str, ...]  # what a file says, or why it cannot be used
_ORDER = (FileRemoved, FileBroken, FileLoaded)  # so no name is ever used twice between two events


def name_key(name: str) -> str:
    """Two names with the same key are the same name."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())


class Claims:
    """Every file's content, and the verdict last told about each."""

    def __init__(self) -> None:
        self._content: dict[str, Content] = {}
        self._claimants: dict[str, set[str]] = {}
        self._told: dict[str, Event] = {}

    def apply(self, changes: Mapping[str, Content | None]) -> tuple[Event, ...]:
        """Take new contents (None: the file is gone); returns what is to be told, rivals included."""
        touched = set(changes)
        for path, content in changes.items():
            touched |= self._release(path)
            if content is not None:
                touched |= self._claim(path, content)
        return self._verdicts(sorted(touched), changes)

    def _release(self, path: str) -> set[str]:
        content = self._content.pop(path, None)
        if not isinstance(content, Workflow):
            return set()
        rivals = self._claimants[name_key(content.name)]
        rivals.discard(path)
        return set(rivals)

    def _claim(self, path: str, content: Content) -> set[str]:
        self._content[path] = content
        if not isinstance(content, Workflow):
            return set()
        rivals = self._claimants.setdefault(name_key(content.name), set())
        rivals.add(path)
        return set(rivals)

    def _verdicts(self, paths: Iterable[str], changes: Mapping[str, Content | None]) -> tuple[Event, ...]:
        events: list[Event] = []
        for path in paths:
            verdict = self._verdict(path)
            if path in changes or verdict != self._told.get(path):
                events.append(verdict)
            self._told[path] = verdict
            if isinstance(verdict, FileRemoved):
                del self._told[path]
        return tuple(sorted(events, key=lambda event: _ORDER.index(type(event))))

    def _verdict(self, path: str) -> Event:
        content = self._content.get(path)
        if content is None:
            return FileRemoved(path)
        if not isinstance(content, Workflow):
            return FileBroken(path, content)
        winner = min(self._claimants[name_key(content.name)])
        if winner == path:
            return FileLoaded(path, content)
        return FileBroken(path, (f"the workflow name {content.name!r} is taken by {winner}; rename one of the two",))
