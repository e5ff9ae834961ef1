"""interlock show: one run, task or workflow."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import click

from engine.api.client import Client
from engine.api.wire import parse_id
from engine.cli.options import ask, output_options, root_option
from engine.cli.render import TASK_COLUMNS, Column, Output, Row, cell, tally, task_name, took, when

_ATTEMPTS: tuple[Column, ...] = (
    ("attempt", lambda a: a["number"]),
    ("outcome", lambda a: a.get("outcome") or "running"),
    ("worker", lambda a: a.get("worker")),
    ("code", lambda a: a.get("exit_code")),
    ("signal", lambda a: a.get("signal")),
    ("started", lambda a: when(a.get("started"))),
    ("took", took),
    ("message", lambda a: a.get("message")),
)
_RUNS: tuple[Column, ...] = (
    ("run", lambda r: r["id"]),
    ("state", lambda r: r["state"]),
    ("created", lambda r: when(r.get("created"))),
    ("took", took),
)


@click.command("show")
@click.argument("what", metavar="RUN|TASK|WORKFLOW")
@output_options
@root_option
def verb(what: str, as_json: bool, quiet: bool, root: Path | None) -> None:
    """Show a run (r12 or 12), a task (t5) or a workflow (its name)."""
    output = Output(as_json, quiet)
    if re.fullmatch(r"r?[0-9]+", what):
        found, below, columns = ask(root, lambda client: _run(client, parse_id("run", what)))
        lines = _run_lines(found)
    elif re.fullmatch(r"t[0-9]+", what):
        found, below, columns = ask(root, lambda client: _task(client, parse_id("task", what)))
        lines = _task_lines(found)
    else:
        found, below, columns = ask(root, lambda client: _workflow(client, what))
        lines = _workflow_lines(found)
    output.record(found, found["state"], lambda: lines)
    if below and not (as_json or quiet):
        output.table(below, columns)


Found = tuple[Row, list[Row], tuple[Column, ...]]


async def _run(client: Client, run: int) -> Found:
    found = await client.run(run)
    found["tasks"] = [task async for task in client.run_tasks(run)]
    return found, found["tasks"], TASK_COLUMNS


async def _task(client: Client, task: int) -> Found:
    found = await client.task(task)
    return found, found["history"], _ATTEMPTS


async def _workflow(client: Client, name: str) -> Found:
    found = await client.workflow(name)
    found["runs"] = await client.runs(workflow=name, limit=10)
    return found, found["runs"], _RUNS


def _run_lines(run: Row) -> Iterator[str]:
    yield f"run {run['id']} of {cell(run.get('workflow'))}: {run['state']} {cell(run.get('reason'))}"
    yield f"created {when(run.get('created'))}, ended {when(run.get('ended'))}, took {took(run)}"
    yield tally(run["counts"])


def _task_lines(task: Row) -> Iterator[str]:
    yield f"task {task['id']} {task_name(task)} of run {task['run']}: {task['state']} {cell(task.get('reason'))}"
    if task.get("message"):
        yield cell(task["message"])
    if task.get("output") is not None:
        yield f"output {cell(task['output'])}"


def _workflow_lines(workflow: Row) -> Iterator[str]:
    yield f"workflow {workflow['name']}: {cell(workflow.get('state'))}, from {cell(workflow.get('path'))}"
    for problem in workflow.get("problems") or ():
        yield f"problem: {problem}"
