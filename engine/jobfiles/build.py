"""A validated file to the model's workflow: defaults merged in, durations in seconds, keys in one order so that
the order they were written in does not count."""

from __future__ import annotations

from graphlib import TopologicalSorter
from typing import Any

from engine.jobfiles.document import Document, KeyPath
from engine.jobfiles.schema import DefaultsTable, JobTable, RetryTable, WorkflowTable
from engine.model.templates import as_text
from engine.model.workflow import Action, Call, Command, Condition, Job, Need, OnLost, Pool, Retry, Shell, Workflow


def build_workflow(document: Document, table: WorkflowTable, name: str) -> Workflow:
    """The workflow of a file without problems; `name` is what it is called unless it says so itself."""
    name = table.name or name
    if "jobs" not in table.model_fields_set:
        jobs = [_job(document, (), name, table, table.defaults)]
    else:
        jobs = [_job(document, ("jobs", key), key, each, table.defaults) for key, each in table.jobs.items()]
    return Workflow(
        name=name,
        jobs=_ordered(jobs),
        description=table.description,
        parameters=_sorted(table.parameters),
        manual="on" in table.model_fields_set,
    )


def _job(document: Document, path: KeyPath, name: str, table: JobTable, defaults: DefaultsTable) -> Job:
    pick = _Picker(table, defaults)
    return Job(
        name=name,
        action=_action(table, pick),
        needs=_needs(table.needs),
        each=_sorted(table.each),
        env=_env(document, path, table, defaults),
        cwd=pick("cwd"),
        priority=pick("priority"),
        retry=_retry(pick("retry")),
        timeout_seconds=pick("timeout"),
        stall_seconds=pick("stall"),
        grace_seconds=pick("grace"),
        on_lost=OnLost(pick("on_lost")),
    )


class _Picker:
    """The job's own value if it has one, else the default's."""

    def __init__(self, table: JobTable, defaults: DefaultsTable) -> None:
        self.table = table
        self.defaults = defaults

    def __call__(self, key: str) -> Any:
        return getattr(self.table if key in self.table.model_fields_set else self.defaults, key)


def _action(table: JobTable, pick: _Picker) -> Action:
    if "command" in table.model_fields_set:
        return Command(tuple(table.command))
    if "shell" in table.model_fields_set:
        return Shell(table.shell)
    module, _, function = table.python.partition(":")
    return Call(
        module=module,
        function=function,
        pool=Pool(pick("pool")),
        arguments=_sorted(table.arguments),
        interpreter=pick("interpreter"),
        pythonpath=tuple(pick("pythonpath")),
    )


def _needs(needs: list[str] | dict[str, str] | None) -> tuple[Need, ...]:
    if isinstance(needs, dict):
        return tuple(Need(job, Condition(when)) for job, when in sorted(needs.items()))
    return tuple(Need(job) for job in sorted(set(needs or ())))


def _env(document: Document, path: KeyPath, table: JobTable, defaults: DefaultsTable) -> dict[str, str]:
    """Merged by name. A number stays as it was written: PYTHON: 3.10 is not 3.1."""
    merged = {key: document.texts.get(("defaults", "env", key), as_text(each)) for key, each in defaults.env.items()}
    merged |= {key: document.texts.get((*path, "env", key), as_text(each)) for key, each in table.env.items()}
    return _sorted(merged)  # type: ignore[no-any-return] # a dict in, a dict out


def _retry(retry: RetryTable | int | None) -> Retry:
    if not isinstance(retry, RetryTable):
        return Retry(attempts=retry or 1)
    return Retry(
        attempts=retry.attempts,
        backoff_seconds=retry.backoff,
        factor=retry.factor,
        jitter=retry.jitter,
        max_backoff_seconds=retry.max_backoff,
        exit_codes=tuple(sorted(set(retry.exit_codes))) if "exit_codes" in retry.model_fields_set else None,
    )


def _ordered(jobs: list[Job]) -> tuple[Job, ...]:
    """Jobs after what they need, else by name: one order for one meaning."""
    by_name = {job.name: job for job in jobs}
    sorter = TopologicalSorter({job.name: {need.job for need in job.needs} for job in jobs})
    sorter.prepare()
    order: list[Job] = []
    while sorter.is_active():
        ready = sorted(sorter.get_ready())
        order += [by_name[name] for name in ready]
        sorter.done(*ready)
    return tuple(order)


def _sorted(value: Any) -> Any:
    """The same JSON value with the keys of each mapping in order."""
    if isinstance(value, dict):
        return {key: _sorted(value[key]) for key in sorted(value)}
    if isinstance(value, list):
        return [_sorted(each) for each in value]
    return value
