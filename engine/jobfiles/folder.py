"""Owns the job folders at run time: what is new, changed, broken or gone in them, told in batches of events."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine, Mapping, Sequence
from pathlib import Path
from typing import Any

from engine.jobfiles.folder_claims import Claims, Content
from engine.jobfiles.folder_events import Batch, FileBroken, FileLoaded, FileRemoved, FolderAlarm
from engine.jobfiles.folder_place import Place
from engine.jobfiles.folder_read import Load, Progress, Reading, Want, read_all
from engine.jobfiles.folder_settle import Ledger, Patience

__all__ = ["Batch", "FileBroken", "FileLoaded", "FileRemoved", "FolderAlarm", "FolderWatcher", "WatcherStoppedError"]

_BATCH = 50
_POLL_SECONDS = 0.4  # how often to check that a folder is still the same one


class WatcherStoppedError(Exception):
    """The watcher is not running, so what was asked of it cannot happen."""


class FolderWatcher:
    """Watches job folders from `start` to `stop`; `deliver` is called on the loop with each batch of events."""

    def __init__(
        self,
        folders: Sequence[Path],
        root: Path,
        load: Load,
        deliver: Callable[[Batch], None],
        *,
        clock: Callable[[], float] = time.monotonic,
        patience: Patience | None = None,
    ) -> None:
        self._load, self._deliver, self._clock = load, deliver, clock
        patience = patience or Patience()
        self._places = [
            Place(folder, root, patience, self._poke) for folder in dict.fromkeys(root / f for f in folders)
        ]
        self._strays = Ledger(patience)  # known files that lie in no watched folder any more
        self._claims = Claims()
        self._wake, self._idle = asyncio.Event(), asyncio.Event()
        self._waiters: list[asyncio.Future[None]] = []
        self._alarms: dict[tuple[str, str], str] = {}
        self._task: asyncio.Task[None] | None = None
        self._undelivered: Exception | None = None

    async def start(self, known: Mapping[str, str] | None = None) -> None:
        """Begin, and return after the first look. `known` is path to definition hash of what the engine holds; those
        no longer there are reported as removed."""
        now = self._clock()
        paths = list(known or ())
        for place in self._places:
            place.ledger.expect(filter(place.owns, paths), now)
        self._strays.expect((path for path in paths if not any(p.owns(path) for p in self._places)), now)
        self._task = asyncio.create_task(self._run(), name="job folders")
        await self.rescan()

    async def stop(self) -> None:
        """End; no event is delivered afterwards. Raises what the loop failed with, if it did."""
        task, self._task = self._task, None
        if task is None:
            return
        task.cancel()
        await asyncio.wait({task})
        for place in self._places:
            await place.watch.stop()
        if not task.cancelled() and (error := task.exception()):
            raise error

    async def rescan(self) -> None:
        """Look at every folder now; returns when that is done."""
        waiter = asyncio.get_running_loop().create_future()
        self._waiters.append(waiter)
        for place in self._places:
            place.mark()
        self._poke()
        await self._or_stopped(asyncio.wait({waiter}))

    async def settled(self) -> None:
        """Look, and wait until no file is pending and no absence undecided (held removals do not count)."""
        await self.rescan()
        await self._or_stopped(self._idle.wait())

    @property
    def pending(self) -> tuple[str, ...]:
        """Files waiting for quiet, or for their writer to close them."""
        return tuple(sorted(path for place in self._places for path, _, _ in place.ledger.unread()))

    @property
    def held(self) -> tuple[str, ...]:
        """Files whose removal waits for them to come back or for `confirm_removals`."""
        return tuple(sorted(path for ledger in self._ledgers() for path in ledger.held()))

    @property
    def alarms(self) -> tuple[str, ...]:
        """The alarms that still stand."""
        return tuple(self._alarms.values())

    def confirm_removals(self) -> tuple[str, ...]:
        """The held removals are meant: deliver them. Returns their paths."""
        paths = tuple(sorted(path for ledger in self._ledgers() for path in ledger.confirm()))
        self._poke()
        return paths

    def _ledgers(self) -> list[Ledger]:
        return [*(place.ledger for place in self._places), self._strays]

    def _poke(self) -> None:
        self._idle.clear()
        self._wake.set()

    async def _or_stopped(self, wish: Coroutine[Any, Any, object]) -> None:
        """Await the wish, or raise WatcherStoppedError when the loop ends first."""
        wished = asyncio.ensure_future(wish)
        try:
            if self._task is not None:
                await asyncio.wait({wished, self._task}, return_when=asyncio.FIRST_COMPLETED)
            if not wished.done():
                raise WatcherStoppedError("the folder watcher is not running; start it first")
        finally:
            wished.cancel()

    async def _run(self) -> None:
        while True:
            self._wake.clear()
            try:
                await self._turn()
                self._alarm("", "fault", None)
            except Exception as error:  # whatever it was, look again; but an event untold is lost: stop() raises that
                if error is self._undelivered:
                    raise
                self._alarm("", "fault", f"watching the job folders failed ({type(error).__name__}: {error}); retrying")
                for place in self._places:
                    place.dirty = True
                await asyncio.sleep(_POLL_SECONDS)
            await self._rest()

    async def _turn(self) -> None:
        asked = len(self._waiters)
        for place in self._places:
            await place.check(self._clock())
        now = self._clock()
        wants = sorted((want for place in self._places for want in place.wants(now)), key=lambda want: want.path)
        if wants:
            self._take(await asyncio.to_thread(read_all, wants[:_BATCH], self._load))
        for place in self._places:
            self._judge(place.name, place.ledger, place)
        self._judge("job files outside the watched folders", self._strays, None)
        for waiter in self._waiters[:asked]:
            waiter.set_result(None)
        del self._waiters[:asked]

    def _take(self, readings: Sequence[Reading]) -> None:
        contents: dict[str, Content | None] = {}
        now = self._clock()
        for reading in readings:
            self._book(reading, now)
            if reading.content is not None:
                contents[reading.want.path] = reading.content
        self._tell(self._claims.apply(contents))

    def _book(self, reading: Reading, now: float) -> None:
        want: Want = reading.want
        place = next(place for place in self._places if place.owns(want.path))
        if reading.progress is Progress.TAKEN:
            place.ledger.took(want.path, want.key, reading.digest)
        elif reading.progress is Progress.BUSY:
            place.ledger.busy(want.path, now)
        else:
            place.ledger.changed(want.path, now)
            place.mark()

    def _judge(self, name: str, ledger: Ledger, place: Place | None) -> None:
        now = self._clock()
        known = len(ledger.entries)
        verdict = ledger.judge(now)
        self._tell(self._claims.apply(dict.fromkeys(verdict.gone)))
        if place is not None:
            self._judge_place(place, now)
        self._judge_held(name, ledger, known, new=bool(verdict.held), away=place is not None and place.away)

    def _judge_held(self, name: str, ledger: Ledger, known: int, *, new: bool, away: bool) -> None:
        """One alarm for what is held; a missing folder has an alarm of its own."""
        count = len(ledger.held())
        if count == 0:
            self._alarm(name, "held", None)
        elif not away and (new or (name, "held") not in self._alarms):
            self._alarm(name, "held", f"{name}: {count} of {known} job files vanished together; {_CHOICE}")

    def _judge_place(self, place: Place, now: float) -> None:
        if place.away_since is None:
            self._alarm(place.name, "away", None)
        elif now - place.away_since >= place.ledger.patience.absence:
            self._alarm(place.name, "away", f"{place.name}: the folder is missing or cannot be listed; {_CHOICE}")
        why = place.unwatched(now)
        self._alarm(place.name, "watch", why and f"{place.name}: the watch is lost ({why}); {_POLLING}")

    def _alarm(self, name: str, kind: str, message: str | None) -> None:
        """Raise an alarm once, or (None) end it."""
        if message is None:
            self._alarms.pop((name, kind), None)
        elif self._alarms.get((name, kind)) != message:
            self._alarms[name, kind] = message
            self._tell((FolderAlarm(message),))

    def _tell(self, batch: Batch) -> None:
        try:
            if batch:
                self._deliver(batch)
        except Exception as error:
            self._undelivered = error
            raise

    async def _rest(self) -> None:
        """Sleep until something is due or somebody pokes."""
        now = self._clock()
        due = min((at for ledger in self._ledgers() for at in ledger.deadlines()), default=None)
        if due is None and not self._wake.is_set() and not any(place.dirty for place in self._places):
            self._idle.set()
        wait = min(_POLL_SECONDS, max(0.0, (now + _POLL_SECONDS if due is None else due) - now))
        try:
            await asyncio.wait_for(self._wake.wait(), max(wait, 0.001))
        except TimeoutError:
            return


_CHOICE = "their removal is held until they come back or it is confirmed"
_POLLING = "looking twice a second instead"
