"""Owns the system's watch on one folder: says when to look again, and whether the watch lives. Looking is others'."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

from watchfiles import awatch

_STEP_MS = 40
_DEBOUNCE_MS = 80
_TIMEOUT_MS = 300  # the first time-out shows that the watch stands


class FolderWatch:
    """A watch in a task of its own. `changed` is called for every change, once when the watch surely stands (what
    came before is then seen by looking), and when it is lost. `ready` stays after a loss: such a watch stood, so a new
    one is worth trying at once (a file name that is not UTF-8 is enough to end the library's watch)."""

    def __init__(self, folder: Path, changed: Callable[[], None]) -> None:
        self._folder = folder
        self._changed = changed
        self._task: asyncio.Task[None] | None = None
        self._end = asyncio.Event()
        self.ready = False
        self.lost: str | None = None

    @property
    def alive(self) -> bool:
        return self._task is not None and not self._task.done()

    async def restart(self) -> None:
        """End the old watch, if any, and begin one on what is there now."""
        await self.stop()
        self.ready, self.lost = False, None
        self._end = asyncio.Event()
        self._task = asyncio.create_task(self._watch(), name=f"watch {self._folder}")

    async def stop(self) -> None:
        if self._task is not None:
            self._end.set()  # quicker than cancelling, which waits for the library's thread
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None

    async def _watch(self) -> None:
        try:
            await self._follow()
        except Exception as error:  # the library raises several kinds, and each means the same here
            self.lost = _sentence(error)
            self._changed()

    async def _follow(self) -> None:
        async for changes in awatch(
            self._folder,
            watch_filter=None,
            step=_STEP_MS,
            debounce=_DEBOUNCE_MS,
            rust_timeout=_TIMEOUT_MS,
            yield_on_timeout=True,
            recursive=False,
            force_polling=False,
            stop_event=self._end,
        ):
            if changes or not self.ready:
                self.ready = True
                self._changed()


def _sentence(error: BaseException) -> str:
    """The library wraps what it raises in groups; the first cause is what helps."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return str(error) or type(error).__name__
