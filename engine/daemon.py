"""The composition root: builds the engine's parts in order, owns its lock, signals and exit codes."""

from __future__ import annotations

import asyncio
import contextlib
import faulthandler
import fcntl
import json
import logging
import os
import signal
import sys
from collections.abc import Coroutine, Iterator
from pathlib import Path
from typing import Any, TextIO, cast

import structlog

from engine.api.server import ApiServer, create_app
from engine.clock import SystemClock
from engine.jobfiles.config import load_config
from engine.jobfiles.errors import ConfigError
from engine.jobfiles.folder import FolderWatcher
from engine.jobfiles.load import load_text
from engine.model.config import Config
from engine.model.lifecycle import TaskState
from engine.runtime import Runtime
from engine.runtime.files import Files
from engine.store import Store, StoreBrokenError, StoreBusyError
from engine.workers.pool import OpenAttempt

EXIT_OK, EXIT_BROKEN, EXIT_USAGE, EXIT_HELD = 0, 1, 2, 75
LINGER_SECONDS = 1.0  # an engine started for one run stays this long after its last work
FIRST_REQUEST_SECONDS = 20.0  # ... and waits this long for its first
RETENTION_SECONDS = 3600.0
SETTLE_SECONDS = 1.0
PLACE_SECONDS = 1.0

log = structlog.get_logger("daemon")


class HeldError(RuntimeError):
    """Another engine serves this folder."""


def main(root: Path, only: bool = False) -> int:
    """Runs the engine of `root` until it is stopped; returns the exit code. `only`: no folder is watched, and the
    engine leaves when what it was asked to do is done."""
    os.umask(0o077)
    state_dir = root / ".interlock"
    try:
        config = load_config(root)
    except ConfigError as error:
        print(error, file=sys.stderr)
        return EXIT_USAGE
    state_dir.mkdir(mode=0o700, exist_ok=True)
    try:
        with _lock(state_dir), _log_to(state_dir / "engine.log"):
            return asyncio.run(_serve(root, state_dir, config, only))
    except HeldError as error:
        print(error, file=sys.stderr)
        return EXIT_HELD
    except StoreBusyError as error:
        print(f"interlock engine: {error}", file=sys.stderr)
        return EXIT_HELD
    except StoreBrokenError as error:
        print(f"interlock engine: {error}", file=sys.stderr)
        return EXIT_BROKEN


@contextlib.contextmanager
def _lock(state_dir: Path) -> Iterator[None]:
    """One engine a folder. The kernel frees the lock however the engine dies; the file only names the holder."""
    descriptor = os.open(state_dir / "engine.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = os.pread(descriptor, 200, 0).decode(errors="replace").strip() or "unknown"
        os.close(descriptor)
        raise HeldError(f"another engine (pid {holder}) serves {state_dir.parent}; see `interlock status`") from None
    os.truncate(descriptor, 0)
    os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
    try:
        yield
    finally:
        os.close(descriptor)


class _Lossy:
    """A log that loses lines on a full disk: who only wants to say that nothing can be written must not fail by it."""

    def __init__(self, file: TextIO) -> None:
        self._file = file

    def write(self, text: str) -> None:
        with contextlib.suppress(OSError):
            os.write(self._file.fileno(), text.encode(errors="backslashreplace"))

    def flush(self) -> None:
        """Nothing waits in a buffer."""


@contextlib.contextmanager
def _log_to(path: Path) -> Iterator[None]:
    """The engine's own structured log: one JSON object a line. Secrets and environments never go there."""
    with path.open("a", buffering=1, encoding="utf-8") as file:
        structlog.configure(
            processors=[
                structlog.processors.add_log_level,
                structlog.processors.TimeStamper(fmt="iso", utc=True),
                structlog.processors.format_exc_info,
                structlog.processors.JSONRenderer(serializer=lambda row, **_: json.dumps(row, default=str)),
            ],
            logger_factory=structlog.WriteLoggerFactory(cast("TextIO", _Lossy(file))),
        )
        logging.basicConfig(stream=file, level=logging.WARNING, format='{"level":"%(levelname)s","event":%(message)r}')
        yield


async def _serve(root: Path, state_dir: Path, config: Config, only: bool) -> int:
    clock = SystemClock()
    _dump_on_quit(state_dir)
    store = await asyncio.to_thread(Store.open, _database(config, state_dir))
    recovered = await asyncio.to_thread(store.recover, clock.now_us())
    runtime = Runtime(root, state_dir, config, store, recovered, clock)
    (state_dir / "run").mkdir(exist_ok=True)
    _own_signals(runtime)
    log.info("engine started", pid=os.getpid(), epoch=recovered.epoch, open_runs=len(recovered.runs))
    await runtime.pool.open()
    await runtime.pool.adopt(_open_attempts(runtime))
    files = Files(runtime, runs_drops=not only)
    loop = asyncio.create_task(runtime.run())
    helpers = [asyncio.create_task(work) for work in (_prune(runtime), files.read(), _watch_place(runtime, state_dir))]
    door = _Door(runtime, state_dir)
    watcher = await _watch(root, config, files, runtime)
    try:
        await _first(loop, files.wait())  # so that whoever asks first finds the workflows
        await door.open()
        helpers.append(asyncio.create_task(door.keep()))
        print(f"interlock engine: ready, pid {os.getpid()}, root {root}", file=sys.stderr, flush=True)
        if only:
            await watcher.stop()
            helpers.append(asyncio.create_task(_leave_when_done(runtime)))
        code = await loop
    finally:
        for helper in helpers:
            helper.cancel()
        await watcher.stop()
        await runtime.finish()
        await door.close()
        await asyncio.to_thread(store.close)
        log.info("engine stopped", mode=runtime.stop.mode)
    return code


async def _first(loop: asyncio.Task[int], wish: Coroutine[Any, Any, None]) -> None:
    """Waits for the wish, or for the loop to end without having fulfilled it."""
    wished = asyncio.create_task(wish)
    await asyncio.wait({loop, wished}, return_when=asyncio.FIRST_COMPLETED)
    wished.cancel()


def _database(config: Config, state_dir: Path) -> Path:
    return Path(config.database) if config.database else state_dir / "interlock.db"


def _dump_on_quit(state_dir: Path) -> None:
    """SIGQUIT writes every thread's stack and goes on."""
    faulthandler.register(signal.SIGQUIT, file=(state_dir / "engine.stacks").open("a"), all_threads=True)


def _own_signals(runtime: Runtime) -> None:
    """TERM drains; INT drains and a second INT leaves at once, jobs going on; HUP of a closing terminal is ignored."""
    loop = asyncio.get_running_loop()
    interrupts: list[int] = []

    def on_interrupt() -> None:
        interrupts.append(1)
        runtime.begin_stop("drain" if len(interrupts) == 1 else "detach")

    loop.add_signal_handler(signal.SIGTERM, lambda: runtime.begin_stop("drain"))
    loop.add_signal_handler(signal.SIGINT, on_interrupt)
    loop.add_signal_handler(signal.SIGHUP, lambda: log.info("hang-up ignored"))


def _open_attempts(runtime: Runtime) -> dict[int, OpenAttempt]:
    seen = {row["worker"] for row in runtime.read.workers() if row["state"] != "starting"}
    return {
        row.attempt: OpenAttempt(
            row.attempt, row.worker, row.epoch, f"t{row.task}.{row.number}", worker_seen=row.worker in seen
        )
        for run in runtime.recovered_runs
        for task in run.tasks
        if task.state is TaskState.RUNNING and (row := task.open_attempt) is not None
    }


async def _watch(root: Path, config: Config, files: Files, runtime: Runtime) -> FolderWatcher:
    folders = [root / folder for folder in config.folders]
    for folder in folders:
        folder.mkdir(exist_ok=True)
    watcher = FolderWatcher(folders, root, load_text, files.receive)
    await watcher.start(runtime.catalog.known_files())
    with contextlib.suppress(TimeoutError):  # a file somebody is still writing keeps nobody waiting
        await asyncio.wait_for(watcher.settled(), SETTLE_SECONDS)
    return watcher


class _Door:
    """The API's server, opened again when somebody removes its socket: an engine nobody can reach helps nobody."""

    def __init__(self, runtime: Runtime, state_dir: Path) -> None:
        self._runtime, self._state_dir = runtime, state_dir
        self._server: ApiServer | None = None

    async def open(self) -> None:
        self._server = ApiServer(create_app(self._runtime), self._state_dir)
        await self._server.start()

    async def keep(self) -> None:
        while True:
            await asyncio.sleep(PLACE_SECONDS)
            if self._state_dir.exists() and not (self._state_dir / "engine.sock").exists():
                log.warning("the API's socket was removed; listening again")
                await self.close()
                await self.open()

    async def close(self) -> None:
        server, self._server = self._server, None
        if server is not None:
            await server.stop()


async def _watch_place(runtime: Runtime, state_dir: Path) -> None:
    """Ends the engine when its state folder was removed or replaced: its lock guards nothing then."""
    mine = await asyncio.to_thread(_identity, state_dir)
    while True:
        await asyncio.sleep(PLACE_SECONDS)
        with contextlib.suppress(OSError):  # not to be seen just now is not gone
            if await asyncio.to_thread(_identity, state_dir) != mine:
                runtime.give_up(f"the state folder {state_dir} was removed while the engine ran")
                return


def _identity(folder: Path) -> tuple[int, int]:
    try:
        found = folder.stat()
    except FileNotFoundError:
        return 0, 0
    return found.st_dev, found.st_ino


async def _leave_when_done(runtime: Runtime) -> None:
    """An engine started by `interlock run` goes when its work is done."""
    clock, idle_since = runtime.clock, runtime.clock.monotonic()
    seen_work = False
    while True:
        await asyncio.sleep(0.1)
        now = clock.monotonic()
        if not runtime.is_idle or runtime.feed.readers:
            seen_work, idle_since = seen_work or not runtime.is_idle, now
        elif now - idle_since > (LINGER_SECONDS if seen_work else FIRST_REQUEST_SECONDS):
            runtime.begin_stop("drain")
            return


async def _prune(runtime: Runtime) -> None:
    """Retention: at start and every hour old runs go, with their logs."""
    while True:
        at_us = runtime.clock.now_us()
        try:
            removed: list[dict[str, Any]] = await runtime.recorder.on_thread(
                lambda at=at_us: runtime.store.prune(runtime.config.retention, at)  # type: ignore[misc]
            )
        except StoreBusyError as error:
            log.warning("retention waits for the database", why=str(error))
            removed = []
        await asyncio.to_thread(_remove_logs, runtime, removed)
        await asyncio.sleep(RETENTION_SECONDS)


def _remove_logs(runtime: Runtime, removed: list[dict[str, Any]]) -> None:
    """The removed attempts' own files, and the shared ones that nothing on record refers to any more."""
    in_use = {worker: runtime.read.segments_in_use(worker) for worker in {row["worker"] for row in removed}}
    for row in removed:
        segment = (row["log"] or {}).get("segment")
        free = None if segment in in_use[row["worker"]] else segment
        runtime.logs.remove(row["worker"], row["attempt"], free, list(runtime.state.attempts))
