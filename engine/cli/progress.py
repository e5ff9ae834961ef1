"""How a followed run looks while it goes on: a live bar on a terminal, plain lines elsewhere, nothing when quiet."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from engine.cli.render import Row, cell, note, progress, tally
from engine.cli.sanitise import line
from engine.model.lifecycle import FINAL_TASK_STATES

if TYPE_CHECKING:
    from rich.progress import Progress

_FINAL = {str(state) for state in FINAL_TASK_STATES}


class Silent:
    """Shows nothing."""

    wants_counts = False

    def event(self, event: Row) -> None:
        pass

    def progress(self, row: Row) -> None:
        pass

    def counts(self, counts: dict[str, int]) -> None:
        pass

    def pause(self) -> None:
        pass

    def resume(self) -> None:
        pass


class Lines(Silent):
    """One line an event: for a log, a pipe, or a service's journal."""

    def event(self, event: Row) -> None:
        note(describe(event))


class Bar(Silent):
    """A bar of the tasks that have ended, the counts, and what began or ended last."""

    wants_counts = True

    def __init__(self) -> None:
        self._bar = _progress()
        self._task = self._bar.add_task("starting", total=None, last="")
        self._bar.start()

    def event(self, event: Row) -> None:
        if event["kind"] == "task.failed":
            self._bar.console.print(describe(event), style="red", markup=False, highlight=False)
        self._bar.update(self._task, last=line(describe(event))[:60])

    def progress(self, row: Row) -> None:
        shown = f"{row.get('task', '')} {row.get('job', '')} {progress(row.get('done'), row.get('total'))}"
        self._bar.update(self._task, last=line(shown)[:60])

    def counts(self, counts: dict[str, int]) -> None:
        ended = sum(number for state, number in counts.items() if state in _FINAL)
        self._bar.update(self._task, description=tally(counts), completed=ended, total=sum(counts.values()) or None)

    def pause(self) -> None:
        self._bar.stop()

    def resume(self) -> None:
        self._bar.start()


def _progress() -> Progress:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    return Progress(
        SpinnerColumn(),
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=24),
        TimeElapsedColumn(),
        TextColumn("{task.fields[last]}", markup=False),
        console=Console(stderr=True),
        transient=True,
    )


def describe(event: Row) -> str:
    """An event on one line: what, of which job, and why."""
    data = event.get("data") or {}
    job = data.get("job", "")
    item = f"[{data['item']}]" if data.get("item") is not None else ""
    about = event.get("task") or event.get("run") or ""
    reason = data.get("reason") or ""
    reason = "" if str(event["kind"]).endswith(f".{reason}") else reason  # task.succeeded succeeded says nothing more
    words = (event["kind"], about, f"{job}{item}", reason, event.get("why", ""))
    return " ".join(cell(word) for word in words if word not in ("", None))


def view_for(quiet: bool) -> Silent:
    if quiet:
        return Silent()
    return Bar() if sys.stderr.isatty() else Lines()
