"""What `interlock run` says when the run has ended: what failed and why, what the jobs report, and the exit code."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from engine.api.client import Client
from engine.api.client_errors import ClientError
from engine.api.wire import parse_id
from engine.cli import options, sanitise
from engine.cli.render import TASK_COLUMNS, Output, Row, cell, note, reason_of, tally, task_name

_LOG_LINES, _LOG_BYTES = 20, 32 * 1024
_FAILURES_SHOWN = 10
_TASKS_SHOWN = 40  # beyond this the counts say more than a table
EXIT_CODES = {"succeeded": options.OK, "failed": options.FAILED, "cancelled": options.CANCELLED}


async def tell_outcome(client: Client, run: int, state: str, output: Output) -> int:
    """Prints the run's result and returns the exit code."""
    tasks = latest([task async for task in client.run_tasks(run)])
    failed = [task for task in tasks if task["state"] == "failed"]
    for task in failed[:_FAILURES_SHOWN]:
        await _tell_failure(client, task)
    if len(failed) > _FAILURES_SHOWN:
        note(f"and {len(failed) - _FAILURES_SHOWN} more tasks failed")
    _tell_results(run, state, tasks, output)
    return EXIT_CODES.get(state, options.FAILED)


def latest(tasks: list[Row]) -> list[Row]:
    """Of each job and item the task of the newest round."""
    newest: dict[tuple[str, int | None], Row] = {}
    for task in sorted(tasks, key=lambda task: int(task.get("round", 1))):
        newest[task["job"], task.get("item")] = task
    return sorted(newest.values(), key=lambda task: parse_id("task", task["id"]))


async def _tell_failure(client: Client, task: Row) -> None:
    because = " ".join(cell(word) for word in (reason_of(task), task.get("message")) if word)
    note(f"task {task['id']} ({task_name(task)}) failed{': ' if because else ''}{because}")
    try:
        parts = [part async for part in client.log(parse_id("task", task["id"]), tail_bytes=_LOG_BYTES)]
    except ClientError:
        return
    lines = sanitise.LogText().feed(b"".join(parts), last=True).splitlines()[-_LOG_LINES:]
    for line in lines:
        note(f"  | {line}")


def _tell_results(run: int, state: str, tasks: list[Row], output: Output) -> None:
    counts = dict(Counter(str(task["state"]) for task in tasks))
    row = {"run": f"r{run}", "state": state, "counts": counts, "tasks": tasks}
    if not (output.as_json or output.quiet) and len(tasks) <= _TASKS_SHOWN:
        output.table(tasks, TASK_COLUMNS)
    output.record(row, f"r{run}", lambda: _lines(run, state, tasks, counts))


def _lines(run: int, state: str, tasks: list[Row], counts: dict[str, int]) -> Iterator[str]:
    for task in tasks:
        made = task.get("output")
        if not isinstance(made, dict):
            continue
        if isinstance(made.get("summary"), str):
            yield made["summary"]
        if isinstance(made.get("report"), str):
            yield f"report: {made['report']}"
    yield f"run r{run} {state}: {tally(counts)}"
