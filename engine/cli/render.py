"""The only place that writes results: a table for people, JSON for programs, or the bare name with --quiet.
Results go to stdout, everything else to stderr."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

import click

from engine.cli import sanitise

Row = dict[str, Any]
Column = tuple[str, Callable[[Row], object]]

_PLAIN = {"running": "started", "ready": "released"}  # the reason that goes without saying
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

    def done(self, reply: Row, short: object, message: str) -> None:
        """What the engine answered to a request: as JSON, the id it is about, or a word about it on stderr."""
        if self.as_json:
            self.json(reply["data"])
        elif not self.quiet:
            note(message)
        elif short:
            self.line(short)

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
    """A wire time in the reader's own time zone, which stands behind it: Z for UTC, else the offset."""
    if stamp is None:
        return "-"
    return datetime.fromisoformat(stamp).astimezone().isoformat(" ", "seconds").replace("+00:00", "Z")


def took(row: Row) -> str:
    """How long a run, task or attempt ran, or how long it has been running."""
    if not row.get("started") or not (row.get("ended") or row.get("state", "running") == "running"):
        return "-"
    end = datetime.fromisoformat(row["ended"]) if row.get("ended") else datetime.now(UTC)
    return seconds(max(0.0, (end - datetime.fromisoformat(row["started"])).total_seconds()))


def seconds(spent: float) -> str:
    if spent < 60:
        return f"{spent:.1f}s"
    minutes, rest = divmod(int(spent), 60)
    return f"{minutes}m{rest:02d}s" if minutes < 60 else f"{minutes // 60}h{minutes % 60:02d}m"


def task_name(task: Row) -> str:
    item = task.get("item")
    return f"{task['job']}[{item}]" if item is not None else str(task["job"])


def state_of(row: Row) -> str:
    """The state, and the reason where it says more."""
    return " ".join([str(row["state"]), *([cell(reason)] if (reason := reason_of(row)) else [])])


def reason_of(row: Row) -> str:
    """The reason, or nothing where it only repeats the state."""
    state, reason = str(row["state"]), str(row.get("reason") or "")
    return "" if reason in (state, _PLAIN.get(state)) else reason


def progress(done: float | None, total: float | None) -> str:
    """3/10, or 3 where nobody knows how much there is."""
    if done is None:
        return ""
    return f"{done:g}" if total is None else f"{done:g}/{total:g}"


def plural(number: int, word: str) -> str:
    return f"{number} {word}{'' if number == 1 else 's'}"


def tally(counts: dict[str, int]) -> str:
    return ", ".join(f"{number} {state}" for state, number in sorted(counts.items())) or "no tasks"


TASK_COLUMNS: tuple[Column, ...] = (
    ("task", lambda t: t["id"]),
    ("job", task_name),
    ("state", lambda t: t["state"]),
    ("reason", reason_of),
    ("tries", lambda t: t.get("attempts")),
    ("took", took),
    ("message", lambda t: t.get("message")),
)

RUN_COLUMNS: tuple[Column, ...] = (
    ("run", lambda r: r["id"]),
    ("workflow", lambda r: r.get("workflow")),
    ("state", lambda r: r["state"]),
    ("started", lambda r: when(r.get("started"))),
    ("took", took),
)
