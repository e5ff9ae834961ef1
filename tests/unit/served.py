"""The small engine of fake_runtime on a thread of its own, so that a verb can run its own loop."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from pathlib import Path

from click.testing import CliRunner, Result
from fake_runtime import FakeRuntime, serving

from engine.cli.main import main


class Served:
    """A fake engine on a thread of its own, so that a verb can run its own loop."""

    def __init__(self, root: Path) -> None:
        self.root, self.runtime = root, FakeRuntime()
        self._up, self._thread = threading.Event(), threading.Thread(target=lambda: asyncio.run(self._main()))
        self._thread.start()
        self._up.wait()

    async def _main(self) -> None:
        self._loop, self._end = asyncio.get_running_loop(), asyncio.Event()
        async with serving(self.runtime, self.root / ".interlock"):
            self._up.set()
            await self._end.wait()

    def soon(self, act: Callable[[], object]) -> None:
        self._loop.call_soon_threadsafe(act)

    def close(self) -> None:
        if self._thread.is_alive():
            self.soon(self._end.set)
        self._thread.join()

    def call(self, *argv: str) -> Result:
        return CliRunner().invoke(main, [argv[0], "--root", str(self.root), *argv[1:]])
