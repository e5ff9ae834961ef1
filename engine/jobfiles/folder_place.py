"""Owns one watched folder: its watch, its ledger, and what coming, going and being replaced means for its files."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path

from engine.jobfiles.folder_read import Want
from engine.jobfiles.folder_scan import Sight, identity_of, look, shown
from engine.jobfiles.folder_settle import Ledger, Patience
from engine.jobfiles.folder_watch import FolderWatch

RESCAN_SECONDS = 30.0
_REWATCH_SECONDS = 1.0


class Place:
    """A folder. `dirty` means it must be looked at again."""

    def __init__(self, folder: Path, root: Path, patience: Patience, wake: Callable[[], None]) -> None:
        self.folder = folder
        self.name = shown(folder, root)
        self.ledger = Ledger(patience)
        self.watch = FolderWatch(folder, self.mark)
        self.dirty = True
        self.away_since: float | None = None
        self._root = root
        self._wake = wake
        self._files: dict[str, Path] = {}
        self._identity: tuple[int, int] | None = None
        self._device: int | None = None
        self._next_look = 0.0
        self._next_watch = 0.0
        self._unwatched_since: float | None = None

    def mark(self) -> None:
        """Look again, now."""
        self.dirty = True
        self._wake()

    @property
    def away(self) -> bool:
        return self.away_since is not None

    def owns(self, path: str) -> bool:
        """Whether an event's path names a file of this folder."""
        prefix = shown(self.folder / "x", self._root)[:-1]
        return path.startswith(prefix) and "/" not in path[len(prefix) :]

    async def check(self, now: float) -> None:
        """Renew the watch if the folder is another one or the watch is lost; look if in doubt or due."""
        identity = await asyncio.to_thread(identity_of, self.folder)
        await self._keep_watch(identity, now)
        if identity is None:
            self._away(now)
        elif self.dirty or not self.watch.alive or now >= self._next_look:
            self.dirty = False
            self._next_look = now + RESCAN_SECONDS
            self._take(await asyncio.to_thread(look, self.folder), now)

    def unwatched(self, now: float) -> str | None:
        """Why there is no watch, once that has lasted; a watch that was lost and stands again is no trouble."""
        if (self.watch.ready and self.watch.alive) or self.away:
            self._unwatched_since = None
        elif self.watch.lost is not None:
            self._unwatched_since = now if self._unwatched_since is None else self._unwatched_since
        since = self._unwatched_since
        return (
            None if since is None or now - since < self.ledger.patience.absence else self.watch.lost or "not yet back"
        )

    async def _keep_watch(self, identity: tuple[int, int] | None, now: float) -> None:
        replaced, self._identity = identity != self._identity, identity
        if identity is None:
            await self.watch.stop()
        elif replaced or (not self.watch.alive and (self.watch.ready or now >= self._next_watch)):
            self.dirty = True
            self._next_watch = now + _REWATCH_SECONDS
            await self.watch.restart()

    def _away(self, now: float) -> None:
        self.dirty = False
        self._next_look = 0.0
        self.away_since = now if self.away_since is None else self.away_since
        self.ledger.observe({}, now, suspect=True)

    def _take(self, sight: Sight | None, now: float) -> None:
        if sight is None:
            self._away(now)
            return
        device = sight.identity[0]
        moved = self._device not in (None, device)
        files = {shown(self.folder / name, self._root): name for name in sight.keys}
        self._files = {path: self.folder / name for path, name in files.items()}
        self.ledger.observe({path: sight.keys[name] for path, name in files.items()}, now, suspect=moved)
        if self.away_since is not None and not moved:
            self.ledger.returned(now)
        self.away_since, self._device = None, device

    def wants(self, now: float) -> Iterator[Want]:
        """The files whose quiet time is over."""
        for path, key, due in self.ledger.unread():
            if due <= now and path in self._files:
                yield Want(path, self._files[path], key, self.ledger.digest(path))
