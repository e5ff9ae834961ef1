"""Ctrl-C while a run is followed: asks on a terminal, cancels elsewhere, and leaves only when that is on record."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress

from engine.cli.options import INTERRUPTED, OK
from engine.cli.progress import Silent
from engine.cli.render import note

_QUESTION = "cancel the run? [y]es / [d]etach / [n]o"


@contextmanager
def listening() -> Iterator[asyncio.Queue[None]]:
    """From here on Ctrl-C is kept, not obeyed: begun before a run is asked for, so that none is left unattended."""
    loop, interrupts = asyncio.get_running_loop(), asyncio.Queue[None]()
    loop.add_signal_handler(signal.SIGINT, interrupts.put_nowait, None)
    try:
        yield interrupts
    finally:
        loop.remove_signal_handler(signal.SIGINT)


class Attendant:
    """Waits for `work` (its result is the exit code) and for the operator's Ctrl-C, whichever comes first."""

    def __init__(
        self, view: Silent, cancel: Callable[[], Awaitable[object]], ask: bool, interrupts: asyncio.Queue[None]
    ) -> None:
        self._view, self._cancel, self._ask, self._interrupts = view, cancel, ask, interrupts

    async def wait(self, work: asyncio.Task[int]) -> int:
        try:
            return await self._attend(work)
        finally:
            work.cancel()
            with suppress(asyncio.CancelledError, Exception):
                await work
            self._view.pause()

    async def _attend(self, work: asyncio.Task[int]) -> int:
        while await self._interrupted(work):
            choice = await self._choice(work) if self._ask else "y"
            if choice == "d":
                note("detached; the run goes on")
                return OK
            if choice == "y":
                return await self._cancelled(work)
        return work.result()

    async def _cancelled(self, work: asyncio.Task[int]) -> int:
        note("cancelling the run; Ctrl-C again leaves without waiting for its end")
        await self._cancel()
        if not await self._interrupted(work):
            work.result()
        return INTERRUPTED

    async def _interrupted(self, work: asyncio.Task[int]) -> bool:
        """True at the next Ctrl-C, false when the work is done."""
        pressed = asyncio.create_task(self._interrupts.get())
        await asyncio.wait({work, pressed}, return_when=asyncio.FIRST_COMPLETED)
        if work.done():
            pressed.cancel()
            return False
        return True

    async def _choice(self, work: asyncio.Task[int]) -> str:
        """y, d or n. A second Ctrl-C means yes; the run's end while we ask makes the question pointless."""
        self._view.pause()
        note(_QUESTION)
        answer = asyncio.create_task(_typed_line())
        pressed = asyncio.create_task(self._interrupts.get())
        try:
            await asyncio.wait({work, answer, pressed}, return_when=asyncio.FIRST_COMPLETED)
            if pressed.done():
                return "y"
            return answer.result().strip().lower()[:1] if answer.done() else "n"
        finally:
            answer.cancel()
            pressed.cancel()
            self._view.resume()


async def _typed_line() -> str:
    """A line from the terminal, read by the loop: a thread that waits for one could not be given up."""
    loop, ready = asyncio.get_running_loop(), asyncio.Event()
    loop.add_reader(sys.stdin.fileno(), ready.set)
    try:
        await ready.wait()
        return os.read(sys.stdin.fileno(), 4096).decode(errors="replace") or "d"
    finally:
        loop.remove_reader(sys.stdin.fileno())
