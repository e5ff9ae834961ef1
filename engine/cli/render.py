"""The only place that writes results: a table for people, JSON for programs, or the bare name with --quiet.
Results go to stdout, everything else to stderr."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from typing import Any

import click

from engine.cli import sanitise

Row = dict[str, Any]
Column = tuple[str, Callable[[Row], object]]

_COLOURS = {
    "succeeded": "green",
    "active": "green",
    "connected": "green",
    "failed": "red",
    "broken": "red",
    "lost": "red",
    "running": "cyan",
    "cancelled": "yellow",
    "skipped": "bright_black",
}


def note(message: object) -> None:
    """Something to know that is not the result."""
    click.echo(sanitise.text(message), err=True)


class Output:
    """Writes what a verb found, in the way the user asked for."""

    def __init__(self, as_json: bool = False, quiet: bool = False) -> None:
        self.as_json, self.quiet = as_json, quiet

    def record(self, row: Row, short: object, lines: Callable[[], Iterable[object]]) -> None:
        """One thing: all of it as JSON, or its short name, or lines for people."""
        if self.as_json:
            self.json(row)
        elif self.quiet:
            self.line(short)
        else:
            for one in lines():
                self.line(one)

    def rows(self, rows: Sequence[Row], columns: Sequence[Column], short: Callable[[Row], object]) -> None:
        if self.as_json:
            self.json(list(rows))
        elif self.quiet:
            for row in rows:
                self.line(short(row))
        else:
            self.table(rows, columns)

    def table(self, rows: Sequence[Row], columns: Sequence[Column]) -> None:
        titles = [title for title, _ in columns]
        cells = [[cell(value(row)) for _, value in columns] for row in rows]
        widths = [max(len(line[i]) for line in [titles, *cells]) for i in range(len(titles))]
        click.echo("  ".join(t.upper().ljust(w) for t, w in zip(titles, widths, strict=True)).rstrip())
        for line in cells:
            click.echo("  ".join(_styled(c, w) for c, w in zip(line, widths, strict=True)).rstrip())

    def json(self, value: object) -> None:
        click.echo(json.dumps(value, indent=2 if sys.stdout.isatty() else None, default=str))

    def line(self, message: object) -> None:
        click.echo(sanitise.text(message))


def _styled(shown: str, width: int) -> str:
    padded = shown.ljust(width)
    return click.style(padded, fg=_COLOURS[shown]) if shown in _COLOURS else padded


def cell(value: object) -> str:
    return "-" if value is None or value == "" else sanitise.line(value)


def when(stamp: str | None) -> str:
    """A wire time in the reader's own time zone."""
    return "-" if stamp is None else datetime.fromisoformat(stamp).astimezone().strftime("%Y-%m-%d %H:%M:%S")


def took(row: Row) -> str:
    """How long a run, task or attempt ran, where it has ended."""
    if not row.get("started") or not row.get("ended"):
        return "-"
    spent = datetime.fromisoformat(row["ended"]) - datetime.fromisoformat(row["started"])
    return seconds(spent.total_seconds())


def seconds(spent: float) -> str:
    if spent < 60:
        return f"{spent:.1f}s"
    minutes, rest = divmod(int(spent), 60)
    return f"{minutes}m{rest:02d}s" if minutes < 60 else f"{minutes // 60}h{minutes % 60:02d}m"


def task_name(task: Row) -> str:
    item = task.get("item")
    return f"{task['job']}[{item}]" if item is not None else str(task["job"])


def tally(counts: dict[str, int]) -> str:
    return ", ".join(f"{number} {state}" for state, number in sorted(counts.items())) or "no tasks"


TASK_COLUMNS: tuple[Column, ...] = (
    ("task", lambda t: t["id"]),
    ("job", task_name),
    ("state", lambda t: t["state"]),
    ("reason", lambda t: t.get("reason")),
    ("tries", lambda t: t.get("attempts")),
    ("took", took),
    ("message", lambda t: t.get("message")),
)
