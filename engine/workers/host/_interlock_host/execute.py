"""Executes one attempt from its start to the end of its last process, and says how it ended."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from typing import Any

from . import command, outputs, tree
from .attempt import Attempt, Result
from .config import Config, now_us
from .deadlines import Deadlines, Ladder, Steps
from .logs import OutputLog, Segments
from .pump import Pump
from .runners import Runner, RunnerGone, Runners
from .worklog import WorkLog

Started = Callable[[Attempt], None]
START_ERRORS = (OSError, ValueError, TypeError, subprocess.SubprocessError)


class Executor:
    def __init__(
        self, config: Config, worklog: WorkLog, seat: command.ProgressSeat, is_sole: Callable[[], bool]
    ) -> None:
        self._config, self._worklog, self._is_sole = config, worklog, is_sole
        self._seat = seat
        self._segments = Segments(config.folder, config.segment)
        marks = {"INTERLOCK_INSTANCE": config.instance, "INTERLOCK_WORKER": config.worker}
        self._marks = marks
        self.runners = Runners(marks, config.slots, worklog)

    def run(self, attempt: Attempt, started: Started) -> dict[str, Any]:
        """The exit message."""
        log = OutputLog(self._config.folder, self._config, self._segments, attempt.number)
        work = self._call if attempt.spec.get("call") else self._command
        try:
            result = self._with_output(attempt, work(attempt, log, started))
        except Exception as error:  # a fault of ours must end as a fact, not as a hang
            self._worklog("fault", attempt=attempt.number, error=repr(error))
            result = Result("failed", "exec", message=f"the worker failed: {error!r}")
        return self._message(attempt, result, log)

    def _env(self, attempt: Attempt) -> dict[str, str]:
        spec = attempt.spec
        own = {"INTERLOCK_ATTEMPT": str(spec["name"]), "INTERLOCK_OUTPUT": str(spec.get("output_path") or "")}
        return {**spec["env"], **self._marks, **own}

    def _identity(self, attempt: Attempt, root: int | None, spare_root: bool = False) -> tree.Identity:
        names = {"INTERLOCK_ATTEMPT": attempt.spec["name"], "INTERLOCK_INSTANCE": self._config.instance}
        marks = tuple(f"{name}={value}".encode() for name, value in names.items())
        return tree.Identity(root, marks, spare_root, self._is_sole())

    def _command(self, attempt: Attempt, log: OutputLog, started: Started) -> Result:
        spec = attempt.spec
        try:
            pipes = command.Pipes.open("out", "err", "progress")
        except OSError as error:
            return command.exec_failure(error, spec["argv"], spec["cwd"])
        try:
            attempt.pid = command.start(spec, self._env(attempt), pipes, self._seat)
        except START_ERRORS as error:
            command.close_all(list(pipes.reads.values()))
            return command.exec_failure(error, spec["argv"], spec["cwd"])
        finally:
            pipes.close_writes()
        started(attempt)
        identity = self._identity(attempt, attempt.pid)
        pidfd = os.pidfd_open(attempt.pid)
        self._pump(attempt, log, pipes, self._tree_steps(identity), pidfd)
        os.close(pidfd)
        # The dead main process is collected last: until then nobody else can get its number.
        self._sweep(attempt, self._identity(attempt, attempt.pid))
        return command.ended(*tree.wait_for(attempt.pid))

    def _call(self, attempt: Attempt, log: OutputLog, started: Started) -> Result:
        interpreter, cwd = attempt.spec["call"]["interpreter"], attempt.spec["cwd"]
        try:
            pipes = command.Pipes.open("out", "err")
        except OSError as error:
            return command.exec_failure(error, [interpreter], cwd)
        try:
            runner = self._place(attempt, pipes)
        except START_ERRORS as error:
            command.close_all(list(pipes.reads.values()))
            return command.exec_failure(error, [interpreter], cwd)
        finally:
            pipes.close_writes()
        attempt.pid = runner.pid
        started(attempt)
        self._pump(attempt, log, pipes, self._call_steps(attempt, runner), None)
        if not runner.shared:
            self._end_process_call(attempt, runner)
        self.runners.give_back(runner, attempt)
        return attempt.result or Result("failed", "exec", message="the call ended without a result")

    def _place(self, attempt: Attempt, pipes: command.Pipes) -> Runner:
        """Into an idle runner that fits, or a new one; one that died while idle is passed over."""
        call = attempt.spec["call"]
        payload = {**call, "context": attempt.spec.get("context"), "output_limit": self._config.output_limit}
        payload["env"] = {k: v for k, v in self._env(attempt).items() if k.startswith("INTERLOCK_")}
        writes = [pipes.writes["out"], pipes.writes["err"]]
        for _ in range(self._config.slots + 2):
            runner = self.runners.take(attempt, *writes)
            try:
                runner.call(attempt, payload, writes)
            except RunnerGone:
                runner.retired = True
                self.runners.give_back(runner, attempt)
                continue
            return runner
        raise OSError(f"the interpreter {call['interpreter']} ends before it takes a call")

    def _end_process_call(self, attempt: Attempt, runner: Runner) -> None:
        if attempt.order is not None or attempt.result is None or attempt.result.dirty:
            runner.retired = True
            runner.kill()
        self._sweep(attempt, self._identity(attempt, None if runner.gone else runner.pid, spare_root=True))

    def _call_steps(self, attempt: Attempt, runner: Runner) -> Steps:
        if not runner.shared:
            return self._tree_steps(tree.Identity(runner.pid, ()))
        return Steps(
            lambda: runner.cancel(attempt, force=False),
            lambda: runner.cancel(attempt, force=True),
            lambda: runner.condemn(attempt),
        )

    def _tree_steps(self, identity: tree.Identity) -> Steps:
        return Steps(lambda: tree.ask(identity), lambda: None, lambda: tree.force(identity))

    def _pump(self, attempt: Attempt, log: OutputLog, pipes: command.Pipes, steps: Steps, pidfd: int | None) -> None:
        pump = Pump(attempt, log, [Deadlines(attempt, log, self._worklog).tick, Ladder(attempt, steps).tick])
        try:
            pump.add_output(pipes.reads["out"], 1)
            pump.add_output(pipes.reads["err"], 2)
            if "progress" in pipes.reads:
                pump.add_progress(pipes.reads["progress"])
            if pidfd is not None:
                pump.add_main(pidfd)
            pump.run()
        finally:
            pump.close()

    def _sweep(self, attempt: Attempt, identity: tree.Identity) -> None:
        order = attempt.order
        grace = order.grace if order else float(attempt.spec.get("grace") or 0)
        left = tree.sweep(identity, grace)
        if left:
            self._worklog("survivors", attempt=attempt.number, pids=[process.pid for process in left])

    def _with_output(self, attempt: Attempt, result: Result) -> Result:
        try:
            left = outputs.take(attempt.spec.get("output_path"), self._config.output_limit)
            result.output = left if result.output is None else result.output
        except outputs.BadOutput as error:
            if result.outcome == "succeeded":
                result.outcome, result.reason, result.message = "failed", "bad_output", str(error)
        if attempt.order is not None:
            result.outcome = result.reason = attempt.order.why
            result.message = attempt.order.message
        return result

    def _message(self, attempt: Attempt, result: Result, log: OutputLog) -> dict[str, Any]:
        reference = log.close()
        return {
            "t": "exit",
            "a": attempt.number,
            "e": attempt.epoch,
            "at": now_us(),
            "started": attempt.started_us,
            "outcome": result.outcome,
            "reason": result.reason,
            "code": result.code,
            "signal": result.signal,
            "message": result.message,
            "output": result.output,
            "log": reference,
            "lost_bytes": log.lost,
            "usage": result.usage,
        }
