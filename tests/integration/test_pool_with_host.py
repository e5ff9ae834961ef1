"""The pool and the log reader with the real worker host."""

from __future__ import annotations

import asyncio
import os
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest

from engine.model.lifecycle import Outcome
from engine.model.reports import Ended, WorkerSeen
from engine.workers.launch import HOST
from engine.workers.logs import ERR, OUT, LogReader
from engine.workers.spec import build_environment
from engine.workers.survivors import find
from tests.integration.pool_bench import Bench, bench, config, given, instance


@pytest.fixture
def state(tmp_path: Path) -> Path:
    return tmp_path / ".interlock"


def run(it: Bench, attempt: int, script: str) -> str:
    """Start a shell script as the runtime does: assigned, on record, started."""
    worker = it.pool.assign(attempt)
    name = f"t{attempt}.1"
    output = str(it.state / f"out-{attempt}")
    marks = {"attempt": name, "run": "r1", "task": f"t{attempt}", "worker": worker, "instance": instance(it.state)}
    spec: dict[str, Any] = {
        "attempt": attempt,
        "name": name,
        "pool": "command",
        "argv": ["/bin/sh", "-c", script],
        "call": None,
        "cwd": str(it.state),
        "env": build_environment({}, output=output, **marks),
        "context": {"item": None, "params": {}, "needs": {}, "run": "r1", "task": f"t{attempt}", "attempt": 1},
        "timeout": None,
        "stall": None,
        "grace": 0.5,
        "output_path": output,
    }
    it.pool.start(attempt, worker, spec)
    return worker


def test_a_command_runs_and_its_log_is_read_during_and_after(state: Path) -> None:
    """Both streams with their times; the reader needs no reference while the attempt runs."""

    async def scenario() -> None:
        reader = LogReader(state)
        async with bench(state, host=HOST) as it:
            go = state / "go"
            worker = run(it, 1, f"echo one; echo two >&2; while [ ! -e {go} ]; do sleep 0.02; done; echo three")
            await it.until(lambda: reader.size(None, 1, worker) == 8)
            assert {chunk.stream for chunk in reader.chunks(None, 1, worker)} == {OUT, ERR}
            go.touch()
            ended = await it.ended(1)
            assert (ended.outcome, ended.exit_code, ended.lost_bytes) == (Outcome.SUCCEEDED, 0, 0)
            assert b"".join(chunk.data for chunk in reader.chunks(ended.log, 1, worker)).endswith(b"three\n")
            assert [match.line for match in reader.search(ended.log, 1, worker, b"wo")] == [b"two"]
            it.pool.acknowledge([1])
            await it.pool.close(detach=False)
            assert it.pool.workers() == []
            assert not (state / "workers" / worker / "spool").exists()
            reader.remove(worker, 1, segment=ended.log["segment"])
            assert not (state / "workers" / worker).exists()

    asyncio.run(scenario())


def test_a_large_output_is_cut_in_the_middle_and_its_end_is_readable(state: Path) -> None:
    """First and last half of the cap; offsets count what was lost."""

    async def scenario() -> None:
        base = config()
        small = replace(base, logs=replace(base.logs, cap_bytes=80_000, own_file_bytes=8_000))
        async with bench(state, host=HOST, settings=small) as it:
            worker = run(it, 1, "i=0; while [ $i -lt 30000 ]; do echo $i; i=$((i+1)); done")
            ended = await it.ended(1)
            reader = LogReader(state)
            chunks = list(reader.chunks(ended.log, 1, worker))
            assert chunks[-1].offset + len(chunks[-1].data) == ended.log["bytes"] == reader.size(ended.log, 1, worker)
            assert sum(chunk.lost for chunk in chunks) == ended.lost_bytes > 0
            assert b"".join(chunk.data for chunk in chunks[:20]).startswith(b"0\n1\n2\n")
            tail = b"".join(chunk.data for chunk in reader.tail(ended.log, 1, worker, 12))
            assert tail == b"29998\n29999\n"

    asyncio.run(scenario())


def test_a_killed_worker_loses_its_attempt_and_no_process_is_left(state: Path) -> None:
    """Also when the job ignores TERM; the next attempt runs on a new worker."""

    async def scenario() -> None:
        async with bench(state, host=HOST) as it:
            worker = run(it, 1, "trap '' TERM; while :; do sleep 0.05; done")
            await it.started(1)
            await it.until(lambda: find(worker, instance(state)))
            os.kill(it.pids()[0], signal.SIGKILL)
            assert (await it.ended(1)).outcome is Outcome.LOST
            assert find(worker, instance(state)) == []
            run(it, 2, "true")
            assert (await it.ended(2)).outcome is Outcome.SUCCEEDED

    asyncio.run(scenario())


def test_running_work_passes_from_engine_to_engine(state: Path) -> None:
    """One goes on, one ends while nobody listens; both are reported once by the next engine."""

    async def scenario() -> None:
        async with bench(state, host=HOST, keep=True) as it:
            worker = run(it, 1, "while [ ! -e go ]; do sleep 0.02; done; exit 3")
            run(it, 2, "sleep 0.2")
            await it.started(1)
            await it.started(2)
            pid = it.pids()[0]
        spool = state / "workers" / worker / "spool"
        await it.until(lambda: b'"exit"' in spool.read_bytes())
        async with bench(state, epoch=2, host=HOST, adopt=given(1, 2)) as new:
            assert (await new.ended(2)).outcome is Outcome.SUCCEEDED
            assert not new.of(Ended, attempt=1)
            assert new.pids() == [pid]
            (state / "go").touch()
            assert (await new.ended(1)).exit_code == 3
            run(new, 3, "true")
            assert (await new.ended(3)).outcome is Outcome.SUCCEEDED
            assert len(new.of(Ended)) == 3

    asyncio.run(scenario())


def test_a_kill_ends_the_tree(state: Path) -> None:
    """The attempt's own processes are gone when the end is reported."""

    async def scenario() -> None:
        async with bench(state, host=HOST) as it:
            worker = run(it, 1, "sleep 60 & sleep 60")
            await it.started(1)
            it.pool.kill(1, 0.2, "killed")
            assert (await it.ended(1)).outcome is Outcome.KILLED
            assert find(worker, instance(state)) == []

    asyncio.run(scenario())


def descriptor(pid: int, number: int) -> str:
    try:
        return str(Path(f"/proc/{pid}/fd/{number}").readlink())
    except FileNotFoundError:
        return ""


def test_a_worker_inherits_nothing_of_the_engine(state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither secrets nor descriptors; it has a session of its own."""
    monkeypatch.setenv("SECRET", "x")

    async def scenario() -> None:
        read, write = os.pipe()
        os.set_inheritable(write, True)
        async with bench(state, host=HOST) as it:
            run(it, 1, "true")
            await it.ended(1)
            process = psutil.Process(it.pids()[0])
            assert "SECRET" not in process.environ()
            assert os.getsid(process.pid) == process.pid
            assert descriptor(os.getpid(), write) not in {descriptor(process.pid, fd) for fd in range(write + 64)}
            assert not it.of(WorkerSeen, state="unreachable")
        os.close(read)
        os.close(write)

    asyncio.run(scenario())
