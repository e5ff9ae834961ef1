"""The engine's loop: each turn takes what has arrived, lets the kernel decide, hands the changes to the recorder and
performs the effects after the commit. Nothing else changes the kernel's state."""

from __future__ import annotations

import asyncio
import os
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

import structlog

from engine import __version__
from engine.clock import Clock
from engine.jobfiles.folder_events import Event, FileBroken, FileLoaded, FileRemoved, FolderAlarm
from engine.kernel import acts, attempts
from engine.kernel.decisions import Decisions, Start
from engine.kernel.runs import Submission, restore, submit
from engine.kernel.state import Run, State
from engine.model.changes import AttemptProgress, AttemptStarted, EventAdded, WorkerChanged
from engine.model.config import Config
from engine.model.errors import EngineBusyError
from engine.model.lifecycle import RunState
from engine.model.reports import Ended, Progressed, Report, Started, WorkerSeen
from engine.model.requests import Reply, Request
from engine.model.stored import Recovered
from engine.model.workflow import Workflow
from engine.runtime.catalog import Catalog
from engine.runtime.feed import Feed, Subscription
from engine.runtime.handlers import prepare
from engine.runtime.recorder import Recorder
from engine.runtime.specs import build_spec
from engine.store import Store
from engine.workers.logs import LogReader
from engine.workers.pool import Pool

STEPS_PER_TURN = 2_000  # so that a flood of reports cannot keep a turn from ending
REMEMBERED_RUNS = 10_000  # ended runs whose state is known without asking the store

log = structlog.get_logger("loop")

Step = Callable[[Decisions, int], None]


class Runtime:
    """Built by the daemon; `run` returns when a stop is complete, with the exit code."""

    def __init__(
        self, root: Path, state_dir: Path, config: Config, store: Store, recovered: Recovered, clock: Clock
    ) -> None:
        self.root, self.state_dir, self.config, self.store, self.clock = root, state_dir, config, store, clock
        self.epoch, self.instance = recovered.epoch, recovered.instance
        self.recovered_runs = recovered.runs
        self.read = store.read
        self.logs = LogReader(state_dir)
        self.state = _restored(config, recovered, store.read.queue_switches())
        self.catalog = Catalog.restored(recovered.workflows, recovered.next_definition)
        self.feed = Feed()
        self.recorder = Recorder(store, self._committed, self._break)
        self.pool = Pool(state_dir, config, self.epoch, self.instance, self.receive_report, clock.now_us)
        self.runs_drops = True  # False: dropped files define workflows but do not run
        self.fresh_keys: dict[tuple[str, str], int] = {}
        self.ended_runs: dict[int, RunState] = {}
        self.started_us = clock.now_us()
        self.alarms: deque[str] = deque(maxlen=20)
        self.last_tick = clock.monotonic()
        self._steps: deque[Step] = deque()
        self._wake = asyncio.Event()
        self._news: asyncio.Queue[tuple[Event, ...]] = asyncio.Queue()
        self._stop_mode = ""
        self._deadline: float | None = None
        self._killed = False
        self._broken: BaseException | None = None
        self._learnt: set[str] = set()
        self._spec_tasks: set[asyncio.Task[None]] = set()
        self._progress: dict[int, Progressed] = {}
        self._after_commit: list[Callable[[], None]] = []

    # -- receiving -------------------------------------------------------------------------------------------------

    async def handle(self, request: Request, actor: str) -> Reply:
        """Decides an operator's request; returns once what it did is on record."""
        if self.recorder.stalled:
            raise EngineBusyError(f"nothing can be recorded now: {self.recorder.stalled}")
        decide = await prepare(self, request, actor)
        answer: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()

        def step(out: Decisions, now_us: int) -> None:
            reply = decide(out, now_us)
            self._after_commit.append(lambda: None if answer.done() else answer.set_result(reply))

        self.receive(step)
        return await answer

    def receive(self, step: Step) -> None:
        """Takes in something to decide on in the next turn."""
        self._steps.append(step)
        self._wake.set()

    def receive_report(self, report: Report) -> None:
        self.receive(lambda out, now_us: self._take_report(report, out, now_us))

    def receive_files(self, batch: tuple[Event, ...]) -> None:
        """The folder's news, in order; what needs the store is looked up off the loop first."""
        self._news.put_nowait(batch)

    async def read_news(self) -> None:
        """For as long as the engine runs: definitions come into force, dropped ones run once."""
        while True:
            batch = await self._news.get()
            loaded = [event.workflow for event in batch if isinstance(event, FileLoaded)]
            for workflow in loaded:
                await self.learn(workflow.name)
            ran = await asyncio.to_thread(self._that_ran, loaded)
            self.receive(lambda out, now_us, b=batch, r=ran: self._take_news(b, r, out, now_us))  # type: ignore[misc]
            self._news.task_done()

    async def wait_news(self) -> None:
        """Until what the folder has told so far is decided on and on record."""
        await self._news.join()
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.receive(lambda out, now_us: self._after_commit.append(lambda: _answer(done)))
        await done

    def _that_ran(self, workflows: list[Workflow]) -> set[str]:
        """The drop keys among these that are on record already."""
        return {_drop_key(w) for w in workflows if self.read.run_by_key(w.name, _drop_key(w)) is not None}

    async def learn(self, name: str) -> None:
        """Makes sure that the definitions on record of this name are known before one is added."""
        if name not in self._learnt:
            self.catalog.learn(name, await asyncio.to_thread(self.read.definitions, name))
            self._learnt.add(name)

    def subscribe(self) -> Subscription:
        return self.feed.subscribe()

    # -- the loop --------------------------------------------------------------------------------------------------

    async def run(self) -> int:
        """Turns until stopped. 0: stopped as asked; 1: the store broke."""
        while self._broken is None and not self._is_finished():
            self.last_tick = self.clock.monotonic()
            if not self.recorder.stalled:
                self.turn(self.clock.now_us())
            await self._wait()
        return 1 if self._broken else 0

    def turn(self, now_us: int) -> None:
        """One pass: receive, decide, record; the effects follow the commit."""
        out = Decisions()
        self._after_commit = []
        for _ in range(min(len(self._steps), STEPS_PER_TURN)):
            self._steps.popleft()(out, now_us)
        self._take_progress(out, now_us)
        attempts.ready_due(self.state, out, now_us)
        self._check_deadline(out)
        attempts.dispatch(self.state, out, self.epoch, self.pool.assign, now_us)
        for run in out.ended_runs:
            self._remember(run)
        if not out.is_empty or self._after_commit:
            self.recorder.record(out.changes, [lambda: self._act(out), *self._after_commit])

    async def _wait(self) -> None:
        if self._steps and not self.recorder.stalled:
            await asyncio.sleep(0)
            return
        self._wake.clear()
        timeout = 0.5
        if (due := self.state.next_due_us()) is not None:
            timeout = max(0.0, min(timeout, (due - self.clock.now_us()) / 1e6))
        try:
            await asyncio.wait_for(self._wake.wait(), timeout)
        except TimeoutError:
            return

    # -- deciding --------------------------------------------------------------------------------------------------

    def _take_report(self, report: Report, out: Decisions, now_us: int) -> None:
        match report:
            case Started():
                if report.attempt in self.state.attempts:
                    out.changes.append(AttemptStarted(report.attempt, report.at_us, report.pid))
            case Progressed():
                self._progress[report.attempt] = report
            case Ended():
                self._progress.pop(report.attempt, None)
                self.pool.release(report.attempt)
                if not attempts.end_attempt(self.state, out, report, now_us):
                    out.finished.append(report.attempt)
            case WorkerSeen():
                out.changes += [
                    WorkerChanged(report.worker, report.state, report.pid, report.slots, now_us, report.message),
                    EventAdded(f"worker.{report.state}", now_us, worker=report.worker, why=report.message),
                ]

    def _take_progress(self, out: Decisions, now_us: int) -> None:
        """The newest progress of each attempt, recorded once a turn; readers get it without a revision."""
        rows = []
        for attempt, report in self._progress.items():
            if task := self.state.attempts.get(attempt):
                out.changes.append(AttemptProgress(attempt, report.done, report.total, now_us))
                row = {"kind": "progress", "run": task.run.id, "task": task.id, "attempt": attempt}
                rows.append({**row, "done": report.done, "total": report.total, "job": task.node.job.name})
        self._progress.clear()
        if rows:
            self._after_commit.append(lambda: self.feed.publish(rows))

    def _take_news(self, batch: tuple[Event, ...], ran: set[str], out: Decisions, now_us: int) -> None:
        for event in batch:
            match event:
                case FileLoaded():
                    self._take_file(event, ran, out, now_us)
                case FileBroken():
                    out.changes += self.catalog.broken(event.path, event.problems, now_us)
                case FileRemoved():
                    out.changes += self.catalog.removed(event.path, now_us)
                case FolderAlarm():
                    self.alarms.append(event.message)
                    out.changes.append(EventAdded("folder.alarm", now_us, "folder", why=event.message))

    def _take_file(self, event: FileLoaded, ran: set[str], out: Decisions, now_us: int) -> None:
        workflow, key = event.workflow, _drop_key(event.workflow)
        out.changes += self.catalog.loaded(event.path, workflow, now_us)
        if (
            workflow.manual
            or not self.runs_drops
            or key in ran
            or (workflow.name, key) in self.fresh_keys
            or self._stop_mode
        ):
            return
        definition, added = self.catalog.define(workflow, event.path, now_us)
        out.changes += added
        trigger = {"type": "drop", "path": event.path}
        run = submit(self.state, out, Submission(workflow, definition, key, "folder", {}, trigger), now_us)
        self.fresh_keys[workflow.name, key] = run.id

    # -- acting ----------------------------------------------------------------------------------------------------

    def _act(self, out: Decisions) -> None:
        """After the commit: what is on record may now happen."""
        if out.finished:
            self.pool.acknowledge(out.finished)
        for kill in out.kills:
            grace = self.config.grace.kill_seconds if kill.grace_seconds is None else kill.grace_seconds
            self.pool.kill(kill.attempt, grace, kill.why)
        if out.starts:
            task = asyncio.get_running_loop().create_task(self._send(out.starts))
            self._spec_tasks.add(task)
            task.add_done_callback(self._spec_tasks.discard)

    async def _send(self, starts: list[Start]) -> None:
        specs = await asyncio.to_thread(
            lambda: [
                build_spec(start, self.root, self.state_dir, self.instance, self.config.grace.kill_seconds)
                for start in starts
            ]
        )
        for start, spec in zip(starts, specs, strict=True):
            self.pool.start(start.attempt, start.worker, spec)
            stopping = self.state.attempts.get(start.attempt)
            if stopping is not None and stopping.stopping is not None:  # killed between record and send
                self.pool.kill(start.attempt, 0.0, stopping.stopping)

    def _committed(self, events: list[dict[str, Any]]) -> None:
        self.feed.publish(events)
        self._wake.set()

    def _break(self, error: BaseException) -> None:
        self._broken = error
        self._wake.set()

    def _remember(self, run: Run) -> None:
        self.ended_runs[run.id] = run.state
        while len(self.ended_runs) > REMEMBERED_RUNS:
            self.ended_runs.pop(next(iter(self.ended_runs)))

    # -- stopping --------------------------------------------------------------------------------------------------

    def begin_stop(self, mode: str) -> None:
        """Nothing new starts from here on. A harder mode may follow a softer one, never the other way round."""
        order = ("", "detach", "drain", "now")
        if order.index(mode) < order.index(self._stop_mode):
            return
        self._stop_mode = mode
        self.state.draining = True
        seconds = 0.0 if mode == "now" else self.config.grace.drain_seconds
        self._deadline = self.clock.monotonic() + seconds
        log.info("stopping", mode=mode, running=len(self.state.attempts))
        self._wake.set()

    @property
    def stop_mode(self) -> str:
        return self._stop_mode

    def _check_deadline(self, out: Decisions) -> None:
        past = self._deadline is not None and self.clock.monotonic() >= self._deadline
        if self._stop_mode in ("drain", "now") and past and not self._killed:
            self._killed = True
            acts.kill_everything(self.state, out, "the engine stopped")

    def _is_finished(self) -> bool:
        if not self._stop_mode or self._steps:
            return False
        return self._stop_mode == "detach" or not self.state.attempts

    async def finish(self) -> None:
        """Writes what is left and leaves the workers as the stop's mode says."""
        await self.recorder.flush()
        for task in list(self._spec_tasks):
            await task
        await self.pool.close(detach=self._stop_mode == "detach")
        if self._broken is None:
            self.turn(self.clock.now_us())
            await self.recorder.flush()
        self.recorder.close()

    # -- showing ---------------------------------------------------------------------------------------------------

    @property
    def is_idle(self) -> bool:
        return not self.state.runs and not self._steps

    def status(self) -> dict[str, Any]:
        state = "running" if not self._stop_mode else "draining" if self._stop_mode == "drain" else "stopping"
        return {
            "pid": os.getpid(),
            "epoch": self.epoch,
            "root": str(self.root),
            "version": __version__,
            "state": state,
            "revision": self.recorder.revision,
            "queues": {queue.name: _queue_row(queue) for queue in self.state.queues.values()},
            "workers": self.pool.workers(),
            "lending": self.state.slots.lending,
            "started_us": self.started_us,
            "problems": [*([self.recorder.stalled] if self.recorder.stalled else []), *self.alarms],
        }


def _answer(done: asyncio.Future[None]) -> None:
    if not done.done():
        done.set_result(None)


def _drop_key(workflow: Workflow) -> str:
    return f"drop:{workflow.definition_hash}"


def _queue_row(queue: Any) -> dict[str, Any]:
    counts = {state.value: n for state, n in queue.counts.items()}
    return {
        "slots": queue.slots,
        "running": counts.get("running", 0),
        "ready": counts.get("ready", 0),
        "waiting": counts.get("waiting", 0),
        "paused": queue.paused,
        "draining": queue.draining,
    }


def _restored(config: Config, recovered: Recovered, switches: list[dict[str, Any]]) -> State:
    state = State(config.slots)
    for row in switches:
        state.queues[row["queue"]].paused, state.queues[row["queue"]].draining = row["paused"], row["draining"]
    state.next_run, state.next_task = recovered.next_run, recovered.next_task
    state.next_attempt = recovered.next_attempt
    for run in recovered.runs:
        restore(state, run)
    return state
