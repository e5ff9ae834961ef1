"""Follows one round of a run to its end through the event stream, telling a view what happens."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from typing import Protocol, TypeVar

from engine.api.client import Client, EngineNotRunningError, StreamItem
from engine.cli.render import Row
from engine.model.lifecycle import RunState

T = TypeVar("T")
_PATIENCE_S = 10.0  # an engine that is replaced during a run may be away this long
_RETRY_S = 0.2
_COUNT_EVERY_S = 0.3


class View(Protocol):
    """Shows progress. `wants_counts`: whether it needs the number of tasks by state from time to time."""

    wants_counts: bool

    def event(self, event: Row) -> None: ...
    def progress(self, row: Row) -> None: ...
    def counts(self, counts: dict[str, int]) -> None: ...


class Follower:
    """One run's round. The result is fetched while the stream is still open: an engine that runs only what was asked
    stays for as long as somebody listens."""

    def __init__(self, client: Client, run: int, round_: int, view: View) -> None:
        self._client, self._run, self._round, self._view = client, run, round_, view
        self._rev, self._counted = 0, float("-inf")

    async def follow(self, at_end: Callable[[str], Awaitable[T]]) -> T:
        """What `at_end` makes of the round's final state."""
        async with aclosing(self._items()) as items:
            async for item in items:
                if item.name == "event":
                    self._view.event(item.data)
                elif item.name == "progress":
                    self._view.progress(item.data)
                state = await self._look(item)
                if state is not None:
                    return await at_end(state)
        raise AssertionError

    async def _items(self) -> AsyncGenerator[StreamItem, None]:
        loop = asyncio.get_running_loop()
        seen = loop.time()
        while True:
            try:
                async with aclosing(self._client.stream(since=self._rev, run=self._run)) as items:
                    async for item in items:
                        self._rev, seen = item.rev or self._rev, loop.time()
                        yield item
            except EngineNotRunningError:
                if loop.time() - seen > _PATIENCE_S:
                    raise
            await asyncio.sleep(_RETRY_S)

    async def _look(self, item: StreamItem) -> str | None:
        """The round's final state if it has one now. Asked when something about the run itself happened, and at every
        ping, so that no missed event can make this wait for ever."""
        now = asyncio.get_running_loop().time()
        about_run = item.name in ("hello", "ping") or str(item.data.get("kind", "")).startswith("run.")
        if not about_run and not (self._view.wants_counts and now - self._counted >= _COUNT_EVERY_S):
            return None
        self._counted = now
        try:
            found = await self._client.run(self._run)
        except EngineNotRunningError:
            return None  # the stream notices too, and is patient
        self._view.counts(found["counts"])
        return ended_state(found, self._round)


def ended_state(run: Row, round_: int) -> str | None:
    """The final state of that round of the run, or None while it is open."""
    for one in run["rounds"]:
        if one["round"] == round_:
            return str(one["state"]) if one.get("ended") is not None else None
    state = RunState(run["state"])
    return str(state) if state.is_final else None
