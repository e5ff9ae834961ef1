"""interlock logs: what a task, or every task of a run, has written. To a terminal it is made fit to be shown, to a
file or a pipe it goes byte for byte; with more than one task each line stands behind its task's name."""

from __future__ import annotations

import asyncio
import re
import sys
from contextlib import aclosing
from pathlib import Path

import click

from engine.api.client import Client
from engine.api.wire import parse_id
from engine.cli.options import RUN, ask, root_option
from engine.cli.render import Row, cell, note, state_of, task_name
from engine.cli.sanitise import LogText
from engine.model.lifecycle import RunState

_SIDE_BY_SIDE = 50  # tasks followed at once
_WRITTEN = ("running", "succeeded", "failed", "cancelled")


@click.command("logs", short_help="Print what a task or a run wrote.")
@click.argument("what", metavar="RUN|TASK")
@click.option("-f", "--follow", is_flag=True, help="Go on until the task or run has ended.")
@click.option("--attempt", type=click.IntRange(min=1), help="Which attempt (default: the latest).")
@click.option("--stderr-only", is_flag=True, help="Only what was written to stderr.")
@click.option("--tail", type=click.IntRange(min=0), metavar="BYTES", help="Only the last BYTES or less, whole lines.")
@root_option
def verb(what: str, follow: bool, attempt: int | None, stderr_only: bool, tail: int | None, root: Path | None) -> None:
    """Print the log of a task (t5), or of every task of a run (r12 or 12)."""
    reader = Reader(follow, attempt, "err" if stderr_only else "all", tail)
    if re.fullmatch(r"t[0-9]+", what):
        ask(root, lambda client: reader.task(client, parse_id("task", what)))
        return
    run = RUN.convert(what, None, None)
    ask(root, lambda client: reader.run_followed(client, run) if follow else reader.run(client, run))


class Reader:
    """Copies logs to stdout."""

    def __init__(self, follow: bool, attempt: int | None, stream: str, tail: int | None) -> None:
        self._follow, self._attempt, self._stream, self._tail = follow, attempt, stream, tail
        self._out = sys.stdout.buffer
        self._terminal = sys.stdout.isatty()
        self._room = asyncio.Semaphore(_SIDE_BY_SIDE)

    async def task(self, client: Client, task: int, label: str = "") -> None:
        """Copies one task's log; with a label, in whole lines behind it, since others write at the same time."""
        shown, rest, wrote = LogText(), b"", False
        async for data in client.log(task, self._attempt, self._stream, self._tail, self._follow, whole_lines=True):
            wrote = wrote or bool(data)
            if not label:
                self._write(data, shown)
                continue
            *lines, rest = (rest + data).split(b"\n")
            for line in lines:
                self._write(label.encode() + line + b"\n", shown)
        if rest:
            self._write(label.encode() + rest + b"\n", shown)
        if not wrote and self._tail != 0:
            note(silence(await client.task(task), self._stream, self._attempt))

    def _write(self, data: bytes, shown: LogText) -> None:
        self._out.write(shown.feed(data).encode() if self._terminal else data)
        self._out.flush()

    async def run(self, client: Client, run: int) -> None:
        await client.run(run)
        tasks = [task async for task in client.run_tasks(run)]
        for task in tasks:
            if task["state"] in _WRITTEN and task.get("attempts"):
                await self.task(client, parse_id("task", task["id"]), _label(task, len(tasks)))
            elif task["state"] in ("failed", "skipped"):
                note(silence(task, self._stream, None))

    async def run_followed(self, client: Client, run: int) -> None:
        """Every task that has started, side by side, and each further one as it starts, until the run has ended."""
        copies: dict[str, asyncio.Task[None]] = {}
        async with asyncio.TaskGroup() as group, aclosing(client.stream(run=run)) as items:
            async for item in items:
                started = item.name == "event" and item.data["kind"] == "task.running"
                if item.name == "hello" or started:
                    tasks = [task async for task in client.run_tasks(run)]
                    for task in tasks:
                        if task["id"] not in copies and task["state"] in _WRITTEN and task.get("attempts"):
                            copies[task["id"]] = group.create_task(self._beside(client, task, len(tasks)))
                if item.name != "progress" and await _ended(client, run):
                    return

    async def _beside(self, client: Client, task: Row, of: int) -> None:
        async with self._room:
            await self.task(client, parse_id("task", task["id"]), _label(task, of))


def _label(task: Row, of: int) -> str:
    return f"{task_name(task)} | " if of > 1 else ""


def silence(task: Row, stream: str, attempt: int | None) -> str:
    """That there is nothing to show, and what is known of why."""
    tries = [each for each in task.get("history") or () if attempt in (None, each["number"])]
    message = task.get("message") or (tries[-1].get("message") if tries else "")
    where = " to stderr" if stream == "err" else ""
    because = f": {cell(message)}" if message else ""
    return f"task {task['id']} ({task_name(task)}) has written nothing{where}; it is {state_of(task)}{because}"


async def _ended(client: Client, run: int) -> bool:
    return RunState((await client.run(run))["state"]).is_final
