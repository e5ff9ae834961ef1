"""The engine's loop: each turn takes what has arrived, lets the kernel decide, hands the changes to the recorder and
performs the effects after the commit. Nothing else changes the kernel's state."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

import structlog

from engine.clock import Clock
from engine.kernel import acts, attempts
from engine.kernel.decisions import Decisions, Kill, Start
from engine.kernel.state import Run
from engine.model.changes import AttemptProgress, AttemptStarted, EventAdded, WorkerChanged
from engine.model.config import Config
from engine.model.errors import EngineBusyError
from engine.model.lifecycle import RunState
from engine.model.reports import Ended, Progressed, Report, Started, WorkerSeen
from engine.model.requests import Reply, Request
from engine.model.stored import Recovered
from engine.runtime.catalog import Catalog
from engine.runtime.feed import Feed, Subscription
from engine.runtime.handlers import prepare
from engine.runtime.recorder import Recorder
from engine.runtime.specs import not_buildable, spec_or_fault
from engine.runtime.stop import Stop
from engine.runtime.views import restored_state, status_of
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
        self.state = restored_state(config, recovered, store.read.queue_switches())
        self.catalog = Catalog.restored(recovered.workflows, recovered.next_definition)
        self.feed = Feed()
        self.recorder = Recorder(store, self._committed, self._break)
        self.pool = Pool(state_dir, config, self.epoch, self.instance, self.receive_report, clock.now_us)
        self.fresh_keys: dict[tuple[str, str], int] = {}
        self.ended_runs: dict[int, RunState] = {}
        self.started_us = clock.now_us()
        self.alarms: deque[str] = deque(maxlen=20)
        self.last_tick = clock.monotonic()
        self._steps: deque[Step] = deque()
        self._wake = asyncio.Event()
        self.stop = Stop(config.grace.drain_seconds, config.grace.kill_seconds)
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

    async def wait_decided(self) -> None:
        """Until what has been received so far is decided on and on record."""
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.receive(lambda out, now_us: self.after_commit(lambda: _answer(done)))
        await done

    def after_commit(self, effect: Callable[[], None]) -> None:
        """From inside a turn: what to do once its changes are on record."""
        self._after_commit.append(effect)

    def remember_key(self, workflow: str, key: str, run: int) -> None:
        """The run of an occurrence that may not be on record yet, so that a second one finds it."""
        self.fresh_keys[workflow, key] = run
        while len(self.fresh_keys) > REMEMBERED_RUNS:
            self.fresh_keys.pop(next(iter(self.fresh_keys)))

    async def learn(self, name: str) -> None:
        """Makes sure that the definitions on record of this name are known before one is added."""
        if name not in self._learnt:
            self.catalog.learn(name, await asyncio.to_thread(self.read.definitions, name))
            self._learnt.add(name)

    def subscribe(self) -> Subscription:
        return self.feed.subscribe()

    # -- the loop --------------------------------------------------------------------------------------------------

    async def run(self) -> int:
        """Turns until stopped. 0: stopped as asked; 1: the store broke, or a turn failed."""
        for kill in acts.resume_kills(self.state):
            self._kill(kill)
        while self._broken is None and not self._is_finished():
            self.last_tick = self.clock.monotonic()
            try:
                if not self.recorder.stalled:
                    self.turn(self.clock.now_us())
            except Exception as error:  # half a decision cannot be taken back: stop, and start from the rows
                log.exception("a turn failed")
                self._break(error)
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
        if self.stop.is_overdue(self.clock.monotonic()):
            acts.kill_everything(self.state, out, "the engine stopped")
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

    # -- acting ----------------------------------------------------------------------------------------------------

    def _act(self, out: Decisions) -> None:
        """After the commit: what is on record may now happen."""
        if out.finished:
            self.pool.acknowledge(out.finished)
        for kill in out.kills:
            self._kill(kill)
        if out.starts:
            task = asyncio.get_running_loop().create_task(self._send(out.starts))
            self._spec_tasks.add(task)
            task.add_done_callback(self._spec_tasks.discard)

    def _kill(self, kill: Kill) -> None:
        grace = self.config.grace.kill_seconds if kill.grace_seconds is None else kill.grace_seconds
        self.pool.kill(kill.attempt, grace, kill.why)

    async def _send(self, starts: list[Start]) -> None:
        grace = self.config.grace.kill_seconds
        specs = await asyncio.to_thread(
            lambda: [spec_or_fault(start, self.root, self.state_dir, self.instance, grace) for start in starts]
        )
        for start, spec in zip(starts, specs, strict=True):
            if isinstance(spec, Exception):  # it harms only itself, and ends as a fact, not as a hang
                self.receive_report(not_buildable(start, spec, self.clock.now_us()))
                continue
            self.pool.start(start.attempt, start.worker, spec)
            stopping = self.state.attempts.get(start.attempt)
            if stopping is not None and stopping.stopping is not None:  # killed between record and send
                self.pool.kill(start.attempt, 0.0, stopping.stopping)

    def _committed(self, events: list[dict[str, Any]]) -> None:
        self.feed.publish(events)
        self._wake.set()

    def give_up(self, why: str) -> None:
        """Ends the engine with 1: what it stands on is gone."""
        log.error("the engine gives up", why=why)
        self._break(RuntimeError(why))

    def _break(self, error: BaseException) -> None:
        self._broken = error
        self._wake.set()

    def _remember(self, run: Run) -> None:
        self.ended_runs[run.id] = run.state
        while len(self.ended_runs) > REMEMBERED_RUNS:
            self.ended_runs.pop(next(iter(self.ended_runs)))

    # -- stopping --------------------------------------------------------------------------------------------------

    def begin_stop(self, mode: str) -> None:
        """Nothing new starts from here on; see Stop.begin for what follows what."""
        if self.stop.begin(mode, self.clock.monotonic()):
            self.state.draining = True
            log.info("stopping", mode=mode, running=len(self.state.attempts))
            self._wake.set()

    def _is_finished(self) -> bool:
        return not self._steps and self.stop.is_complete(len(self.state.attempts), self.clock.monotonic())

    async def finish(self) -> None:
        """Writes what is left and leaves the workers as the stop's mode says."""
        await self.recorder.flush()
        for task in list(self._spec_tasks):
            await task
        await self.pool.close(detach=bool(self.state.attempts))
        if self._broken is None:
            self.turn(self.clock.now_us())
            await self.recorder.flush()
        self.recorder.close()

    # -- showing ---------------------------------------------------------------------------------------------------

    @property
    def is_idle(self) -> bool:
        return not self.state.runs and not self._steps

    def status(self) -> dict[str, Any]:
        return status_of(self)


def _answer(done: asyncio.Future[None]) -> None:
    if not done.done():
        done.set_result(None)
