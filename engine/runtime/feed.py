"""Hands committed events to whoever follows them, each reader with a bound of its own; the loop never waits."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Any

BACKLOG = 10_000  # events a reader may lag behind before it is told to catch up by revision

Row = dict[str, Any]


class Subscription:
    """One reader. `gap` is set once events were dropped; the reader catches up from the store and clears it."""

    def __init__(self, feed: Feed) -> None:
        self.gap = False
        self._feed = feed
        self._rows: deque[Row] = deque()
        self._wake = asyncio.Event()

    async def next(self) -> list[Row]:
        """What has come since the last call; waits for at least one row, or for a gap to report."""
        while not self._rows and not self.gap:
            self._wake.clear()
            await self._wake.wait()
        rows = list(self._rows)
        self._rows.clear()
        return rows

    def close(self) -> None:
        self._feed.readers.discard(self)

    def offer(self, rows: list[Row]) -> None:
        if len(self._rows) + len(rows) > BACKLOG:
            self._rows.clear()
            self.gap = True
        else:
            self._rows.extend(rows)
        self._wake.set()


class Feed:
    def __init__(self) -> None:
        self.readers: set[Subscription] = set()

    def subscribe(self) -> Subscription:
        reader = Subscription(self)
        self.readers.add(reader)
        return reader

    def publish(self, rows: list[Row]) -> None:
        if rows:
            for reader in self.readers:
                reader.offer(rows)
