"""Rules between keys that a schema cannot word: one action per job, keys that belong to an action, not-yet keys.
Works on the plain data, so that it reports beside whatever else is wrong."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from engine.jobfiles.document import Document, KeyPath
from engine.jobfiles.errors import listing, not_allowed
from engine.jobfiles.schema import ACTIONS, JOB_KEYS, PYTHON_ONLY, UNSUPPORTED_ON

_DEFAULT_KEYS = ("timeout", "stall", "grace", "env", "cwd", "priority", "retry", "on_lost", *PYTHON_ONLY)


def job_tables(data: dict[str, Any]) -> Iterator[tuple[KeyPath, dict[str, Any]]]:
    """The place and the keys of each job that is a mapping: those under `jobs`, or the file itself."""
    if "jobs" not in data:
        yield (), data
        return
    jobs = data["jobs"]
    for name, table in jobs.items() if isinstance(jobs, dict) else ():
        if isinstance(table, dict):
            yield ("jobs", name), table


def check_rules(document: Document) -> None:
    """Report what the keys of the file must not say together."""
    data = document.data
    _check_top(document, data)
    _check_on(document, data.get("on"))
    if "jobs" in data or any(key in data for key in JOB_KEYS):
        for path, table in job_tables(data):
            _check_job(document, path, table)
    else:
        allowed = f"jobs, or one of {', '.join(ACTIONS)} for a single job"
        document.report((), f"found no job; allowed: {allowed}")


def _check_top(document: Document, data: dict[str, Any]) -> None:
    if "jobs" not in data:
        if "needs" in data:
            document.report(("needs",), "a single job has no other job to need; write them under jobs")
        return
    if data["jobs"] == {}:
        document.report(("jobs",), not_allowed({}, "at least one job"))
    for key in JOB_KEYS:
        if key in data:
            where = "defaults or a job" if key in _DEFAULT_KEYS and key != "arguments" else "a job"
            document.report((key,), f"{key} stands beside jobs; allowed: {key} inside {where}")


def _check_on(document: Document, on: Any) -> None:
    if isinstance(on, dict):
        if on.get("manual") is False or not on:
            document.report(("on",), "says nothing; leave on out for a file that runs when dropped")
    elif isinstance(on, str) and on in UNSUPPORTED_ON:
        document.report(("on",), f"on: {on} is not yet supported; allowed: manual")


def _check_job(document: Document, path: KeyPath, table: dict[str, Any]) -> None:
    actions = [key for key in table if key in ACTIONS]
    if not actions:
        document.report(path, f"says not what to do; allowed: exactly one of {', '.join(ACTIONS)}")
    for extra in actions[1:]:
        document.report((*path, extra), f"{extra} beside {actions[0]}; allowed: exactly one of {', '.join(ACTIONS)}")
    if actions and "python" not in actions:
        for key in PYTHON_ONLY:
            if key in table:
                document.report((*path, key), f"{key} belongs to python jobs; this job has {listing(actions)}")
    _check_command(document, (*path, "command"), table.get("command"))


def _check_command(document: Document, path: KeyPath, command: Any) -> None:
    first = command[0] if isinstance(command, list) and command else command
    if command == [] or (isinstance(first, str) and not first.strip()):
        document.report(path, not_allowed(command, "a program, and its arguments"))
