"""interlock.toml: where the root is, and its settings as engine.model.config.Config."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from pydantic import Field

from engine.jobfiles.document import Document
from engine.jobfiles.errors import ConfigError, Problem
from engine.jobfiles.fields import ABSENT, Attempts, Count, Duration, Filled, Size, Truth, Wait
from engine.jobfiles.parse import parse
from engine.jobfiles.safe_read import UnreadableFileError, read_job_file
from engine.jobfiles.schema import Table
from engine.jobfiles.validate import validate
from engine.model.config import Config, Grace, Logs, Retention, Slots

FILE_NAME = "interlock.toml"
ROOT_SIGNS = (FILE_NAME, ".interlock", "jobs.d")

_LEAST_SLOTS = 4
_DAY = 86_400.0


class SlotsTable(Table):
    """How many attempts run side by side, per queue and per pool."""

    dependent: Count = ABSENT
    independent: Count = ABSENT
    lending: Truth = True
    command: Count = ABSENT
    process: Count = ABSENT
    thread: Count = ABSENT
    asyncio: Count = Field(default=ABSENT, alias="async")


class RetentionTable(Table):
    """How long finished runs are kept."""

    max_age: Duration = Retention.max_age_days * _DAY
    max_runs: Count = Retention.max_runs
    max_events: Count = Retention.max_events
    batch_rows: Attempts = Retention.batch_rows


class LogsTable(Table):
    """How much of an attempt's output is kept, and in what pieces."""

    cap: Size = Logs.cap_bytes
    own_file: Size = Logs.own_file_bytes
    segment: Size = Logs.segment_bytes


class GraceTable(Table):
    """How long to wait between asking and ending."""

    kill: Wait = Grace.kill_seconds
    drain: Wait = Grace.drain_seconds
    orphan: Wait = Grace.orphan_seconds
    adopt: Wait = Grace.adopt_seconds


class ConfigTable(Table):
    """All of interlock.toml."""

    folders: list[Filled] = Field(default_factory=lambda: list(Config.folders))
    slots: SlotsTable = Field(default_factory=SlotsTable)
    retention: RetentionTable = Field(default_factory=RetentionTable)
    logs: LogsTable = Field(default_factory=LogsTable)
    grace: GraceTable = Field(default_factory=GraceTable)
    worker_slots: Attempts = Config.worker_slots
    output_limit: Size = Config.output_limit_bytes
    database: Filled = ABSENT


def find_root(start: Path) -> Path | None:
    """The nearest folder from `start` upward that holds interlock.toml, .interlock/ or jobs.d/."""
    absolute = start.absolute()
    return next((each for each in (absolute, *absolute.parents) if _is_root(each)), None)


def load_config(root: Path) -> Config:
    """The settings of a root, defaults where interlock.toml is silent or absent. Raises ConfigError."""
    path = root / FILE_NAME
    try:
        data = read_job_file(path) if os.path.lexists(path) else b""
    except UnreadableFileError as error:
        raise ConfigError([Problem(FILE_NAME, 1, 1, "", f"cannot be read: {error.why}")]) from error
    document = Document(FILE_NAME)
    table = validate(document, ConfigTable) if parse(document, data) else None
    if table is not None:
        _check(document, table)
    if document.problems or table is None:
        raise ConfigError(sorted(document.problems))
    return _config(table)


def _is_root(folder: Path) -> bool:
    return any((folder / sign).is_file() if sign == FILE_NAME else (folder / sign).is_dir() for sign in ROOT_SIGNS)


def _check(document: Document, table: ConfigTable) -> None:
    if table.slots.dependent == 0 and table.slots.independent == 0:
        document.report(("slots",), "found no slot in either queue; allowed: at least one, or nothing ever runs")
    if not table.folders:
        document.report(("folders",), "found an empty list; allowed: at least one folder")


def _config(table: ConfigTable) -> Config:
    return Config(
        folders=tuple(table.folders),
        slots=_slots(table.slots),
        retention=_retention(table.retention),
        logs=Logs(table.logs.cap, table.logs.own_file, table.logs.segment),
        grace=Grace(table.grace.kill, table.grace.drain, table.grace.orphan, table.grace.adopt),
        worker_slots=table.worker_slots,
        output_limit_bytes=table.output_limit,
        database=table.database,
    )


def _slots(table: SlotsTable) -> Slots:
    """As many slots as processors, four at least, where the file names no number."""
    usual = max(_LEAST_SLOTS, os.cpu_count() or 1)
    values: dict[str, Any] = {"dependent": usual, "independent": usual, **table.model_dump(exclude_unset=True)}
    return Slots(**values)


def _retention(table: RetentionTable) -> Retention:
    return Retention(
        max_age_days=table.max_age / _DAY,
        max_runs=table.max_runs,
        max_events=table.max_events,
        batch_rows=table.batch_rows,
    )
