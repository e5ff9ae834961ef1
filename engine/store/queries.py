"""Owns the questions readers ask, by name. Each is short, indexed and answers with plain values: times as `..._us`
integers, states as words, JSON decoded. Safe from any thread; a reader never waits for the writer."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Column, ColumnElement, Engine, Select, Table, func, select

from engine.store import schema as s
from engine.store.codec import decode, storable
from engine.store.counts import chunks
from engine.store.errors import translate

Row = dict[str, Any]

_RUN_JSON = ("parameters", "trigger")
_TASK_JSON = ("item_value", "output")
_ATTEMPT_JSON = ("log", "usage")


def _columns(table: Table, id_name: str, *without: str) -> list[ColumnElement[Any]]:
    """The table's columns, its id under the name that readers know it by."""
    return [
        column.label(id_name) if column.name == "id" else column
        for column in table.columns
        if column.name not in without
    ]


_RUNS = select(*_columns(s.runs, "run"))
_TASKS = select(*_columns(s.tasks, "task", "stand_in"))
_ATTEMPTS = select(*_columns(s.attempts, "attempt"))
_EVENTS = select(s.events)
_DEFINITIONS = select(*_columns(s.definitions, "definition"))
_WORKFLOWS = select(s.workflows, s.definitions.c.revision).outerjoin(
    s.definitions, s.definitions.c.id == s.workflows.c.definition
)


def _where(statement: Select[Any], *pairs: tuple[Column[Any], object]) -> Select[Any]:
    """Narrowed by each pair whose value is given."""
    return statement.where(*(column == value for column, value in pairs if value is not None))


class Queries:
    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def workflows(self) -> list[Row]:
        return self._all(_WORKFLOWS.order_by(s.workflows.c.name), "problems")

    def workflow(self, name: str) -> Row | None:
        return self._one(_WORKFLOWS.where(s.workflows.c.name == name), "problems")

    def definition(self, definition: int) -> Row | None:
        """With the workflow itself as `body`."""
        return self._one(_DEFINITIONS.where(s.definitions.c.id == definition), "body")

    def definitions(self, workflow: str) -> list[Row]:
        """All revisions, newest first, without their bodies."""
        statement = select(*_columns(s.definitions, "definition", "body")).where(s.definitions.c.workflow == workflow)
        return self._all(statement.order_by(s.definitions.c.revision.desc()))

    def runs(
        self, workflow: str | None = None, state: str | None = None, limit: int = 100, before: int | None = None
    ) -> list[Row]:
        """Newest first, each with `counts`: its tasks by state. `before`: the id to go on from."""
        statement = _where(_RUNS, (s.runs.c.workflow, workflow), (s.runs.c.state, state))
        if before is not None:
            statement = statement.where(s.runs.c.id < before)
        return self._with_counts(self._all(statement.order_by(s.runs.c.id.desc()).limit(limit), *_RUN_JSON))

    def run(self, run: int) -> Row | None:
        """With `counts`, and `after`: the runs it waits for."""
        found = self._with_counts(self._all(_RUNS.where(s.runs.c.id == run), *_RUN_JSON))
        if not found:
            return None
        after = select(s.run_after.c.needed, s.run_after.c.condition).where(s.run_after.c.run == run)
        return found[0] | {"after": self._all(after.order_by(s.run_after.c.needed))}

    def run_by_key(self, workflow: str, key: str) -> Row | None:
        """The occurrence's run with `pruned` False; if retention has removed it, its id, a state of None and `pruned`
        True. None: it never occurred."""
        table = s.occurrences.c
        found = self._one(select(s.occurrences).where(table.workflow == workflow, table.key == storable(key)))
        if found is None:
            return None
        run = self.run(found["run"])
        return {**found, "state": None, "pruned": True} if run is None else {**run, "pruned": False}

    def tasks(
        self,
        run: int | None = None,
        state: str | None = None,
        queue: str | None = None,
        job: str | None = None,
        limit: int = 1000,
        after: int | None = None,
    ) -> list[Row]:
        """Oldest first. `after`: the id to go on from."""
        table = s.tasks.c
        statement = _where(_TASKS, (table.run, run), (table.state, state), (table.queue, queue), (table.job, job))
        if after is not None:
            statement = statement.where(table.id > after)
        return self._all(statement.order_by(table.id).limit(limit), *_TASK_JSON)

    def task(self, task: int) -> Row | None:
        return self._one(_TASKS.where(s.tasks.c.id == task), *_TASK_JSON)

    def attempts(self, task: int) -> list[Row]:
        """The task's attempts, first to last."""
        statement = _ATTEMPTS.where(s.attempts.c.task == task).order_by(s.attempts.c.number)
        return self._all(statement, *_ATTEMPT_JSON)

    def attempt(self, attempt: int) -> Row | None:
        return self._one(_ATTEMPTS.where(s.attempts.c.id == attempt), *_ATTEMPT_JSON)

    def latest_attempt(self, task: int) -> Row | None:
        statement = _ATTEMPTS.where(s.attempts.c.task == task).order_by(s.attempts.c.number.desc()).limit(1)
        return self._one(statement, *_ATTEMPT_JSON)

    def edges(self, run: int) -> list[Row]:
        """The run's prerequisites: job, needed, condition."""
        table = s.edges.c
        statement = select(table.job, table.needed, table.condition).where(table.run == run)
        return self._all(statement.order_by(table.job, table.needed, table.condition))

    def rounds(self, run: int) -> list[Row]:
        """Rounds opened by hand and rounds that have ended; a run's first is listed once it ends."""
        return self._all(select(s.rounds).where(s.rounds.c.run == run).order_by(s.rounds.c.round))

    def events(self, since: int = 0, limit: int = 1000, run: int | None = None, kind: str | None = None) -> list[Row]:
        """Oldest first, those with a revision beyond `since`."""
        statement = _where(_EVENTS, (s.events.c.run, run), (s.events.c.kind, kind))
        statement = statement.where(s.events.c.rev > since).order_by(s.events.c.rev)
        return self._all(statement.limit(limit), "data")

    def newest_events(self, limit: int) -> list[Row]:
        """The last `limit` events, oldest first."""
        return self._all(_EVENTS.order_by(s.events.c.rev.desc()).limit(limit), "data")[::-1]

    def counters(self) -> dict[str, dict[str, dict[str, int]]]:
        """`open` and `total`: queue to state to number of tasks, where not 0. Kept, never scanned."""
        answer: dict[str, dict[str, dict[str, int]]] = {"open": {}, "total": {}}
        for row in self._all(select(s.queue_counts)):
            for scope, states in answer.items():
                if row[scope]:
                    states.setdefault(row["queue"], {})[row["state"]] = row[scope]
        return answer

    def workers(self) -> list[Row]:
        return self._all(select(s.workers).order_by(s.workers.c.worker))

    def segments_in_use(self, worker: str) -> set[int]:
        """The shared log files of a worker that attempts on record refer to."""
        rows = self._all(select(s.attempts.c.log).where(s.attempts.c.worker == worker), "log")
        return {row["log"]["segment"] for row in rows if row["log"] and row["log"].get("segment") is not None}

    def queue_switches(self) -> list[Row]:
        """Only queues that were ever switched have a row."""
        return self._all(select(s.switches).order_by(s.switches.c.queue))

    def revision(self) -> int:
        """The newest event's revision; 0 before the first."""
        found = self._one(select(func.max(s.events.c.rev).label("rev")))
        return int(found["rev"] or 0) if found else 0

    def _with_counts(self, runs: list[Row]) -> list[Row]:
        if not runs:
            return runs
        table = s.run_counts.c
        statement = select(table.run, table.state, func.sum(table.n).label("n")).group_by(table.run, table.state)
        counts: dict[int, dict[str, int]] = {run["run"]: {} for run in runs}
        for part in chunks(counts):
            for row in self._all(statement.where(table.run.in_(part), table.n != 0)):
                counts[row["run"]][row["state"]] = int(row["n"])
        return [run | {"counts": counts[run["run"]]} for run in runs]

    def _one(self, statement: Select[Any], *json_columns: str) -> Row | None:
        found = self._all(statement, *json_columns)
        return found[0] if found else None

    def _all(self, statement: Select[Any], *json_columns: str) -> list[Row]:
        try:
            with self._engine.connect() as connection:
                return [decode(row, json_columns) for row in connection.execute(statement)]
        except Exception as error:
            raise translate(error, "reading the database") from error
