"""interlock show: one run, task or workflow."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import click

from engine.api.client import Client, NotFoundError
from engine.api.wire import parse_id
from engine.cli.explain import explain
from engine.cli.options import ask, output_options, root_of, root_option
from engine.cli.render import (
    RUN_COLUMNS,
    TASK_COLUMNS,
    Column,
    Output,
    Row,
    cell,
    progress,
    state_of,
    tally,
    task_name,
    took,
    when,
)

_ATTEMPTS: tuple[Column, ...] = (
    ("attempt", lambda a: a["number"]),
    ("outcome", lambda a: a.get("outcome") or "running"),
    ("worker", lambda a: a.get("worker")),
    ("code", lambda a: a.get("exit_code")),
    ("signal", lambda a: a.get("signal")),
    ("started", lambda a: when(a.get("started"))),
    ("took", took),
    ("progress", lambda a: progress(a.get("progress_done"), a.get("progress_total"))),
    ("message", lambda a: a.get("message")),
)
_ROUND: Column = ("round", lambda t: t.get("round"))
_PROGRESS: Column = ("progress", lambda t: t.get("progress"))
_RUNNING_SHOWN = 50  # running tasks that are asked for their progress


@click.command("show", short_help="Show a run, a task or a workflow.")
@click.argument("what", metavar="RUN|TASK|WORKFLOW|FILE")
@output_options
@root_option
def verb(what: str, as_json: bool, quiet: bool, root: Path | None) -> None:
    """Show a run (r12 or 12), a task (t5), a workflow (its name) or a job file (its path)."""
    output = Output(as_json, quiet)
    if re.fullmatch(r"r?[0-9]+", what):
        found, below, columns = ask(root, lambda client: _run(client, parse_id("run", what)))
        lines = _run_lines(found)
    elif re.fullmatch(r"t[0-9]+", what):
        found, below, columns = ask(root, lambda client: _task(client, parse_id("task", what)))
        lines = _task_lines(found)
    else:
        paths = (root_of(root) / what, Path(what).absolute())
        found, below, columns = ask(root, lambda client: _workflow(client, what, root_of(root), paths))
        lines = _workflow_lines(found)
    output.record(found, found["state"], lambda: lines)
    if below and not (as_json or quiet):
        output.table(below, columns)


Found = tuple[Row, list[Row], tuple[Column, ...]]


async def _run(client: Client, run: int) -> Found:
    found = await client.run(run)
    tasks = found["tasks"] = [task async for task in client.run_tasks(run)]
    for task in [task for task in tasks if task["state"] == "running"][:_RUNNING_SHOWN]:
        history = (await client.task(parse_id("task", task["id"])))["history"]
        task["progress"] = _progress(history)
    columns = (_ROUND, *TASK_COLUMNS) if len({task.get("round") for task in tasks}) > 1 else TASK_COLUMNS
    if any(task.get("progress") for task in tasks):
        columns = (*columns[:-1], _PROGRESS, columns[-1])
    return found, tasks, columns


def _progress(history: list[Row]) -> str:
    return progress(history[-1].get("progress_done"), history[-1].get("progress_total")) if history else ""


async def _task(client: Client, task: int) -> Found:
    found = await client.task(task)
    found["because"] = await explain(client, found)
    return found, found["history"], _ATTEMPTS


async def _workflow(client: Client, what: str, root: Path, paths: tuple[Path, ...]) -> Found:
    """By name, or by the path of its file, seen from the root or from here."""
    try:
        found = await client.workflow(what)
    except NotFoundError:
        same = [each for each in await client.workflows() if root / str(each.get("path")) in paths]
        if not same:
            raise
        found = same[0]
    found["runs"] = await client.runs(workflow=found["name"], limit=10)
    return found, found["runs"], RUN_COLUMNS


def _run_lines(run: Row) -> Iterator[str]:
    yield f"run {run['id']} of {cell(run.get('workflow'))}: {state_of(run)}"
    yield f"created {when(run.get('created'))}, ended {when(run.get('ended'))}, took {took(run)}"
    yield tally(run["counts"])


def _task_lines(task: Row) -> Iterator[str]:
    yield f"task {task['id']} {task_name(task)} of run {task['run']}: {state_of(task)}"
    if task.get("message"):
        yield cell(task["message"])
    if task["state"] == "running":
        done = _progress(task["history"])
        yield f"running for {took(task)}" + (f", progress {done}" if done else "")
    yield from task["because"]
    if task.get("output") is not None:
        yield f"output {cell(json.dumps(task['output'], ensure_ascii=False))}"


def _workflow_lines(workflow: Row) -> Iterator[str]:
    yield f"workflow {workflow['name']}: {cell(workflow.get('state'))}, from {cell(workflow.get('path'))}"
    for problem in workflow.get("problems") or ():
        yield f"problem: {problem}"
