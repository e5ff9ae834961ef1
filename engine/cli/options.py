"""What the verbs share: where the engine's folder is, the options they have in common, and one way to ask."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from engine.api.client import Client
from engine.api.wire import BadIdError, parse_id
from engine.cli.starting import await_engine

T = TypeVar("T")
F = TypeVar("F", bound=Callable[..., Any])

OK, FAILED, USAGE, CANCELLED, REFUSED, NO_ENGINE, BUSY, INTERRUPTED = 0, 1, 2, 3, 4, 69, 75, 130
STATE_FOLDER = ".interlock"


def root_option(verb: F) -> F:
    kind = click.Path(exists=True, file_okay=False, path_type=Path)
    text = "The folder with jobs.d/ (default: the nearest one upward)."
    return click.option("--root", type=kind, envvar="INTERLOCK_ROOT", help=text)(verb)


def output_options(verb: F) -> F:
    verb = click.option("--quiet", "-q", is_flag=True, help="Print names only.")(verb)
    return click.option("--json", "as_json", is_flag=True, help="Print JSON.")(verb)


def why_option(verb: F) -> F:
    return click.option("--why", default="", help="The reason, kept on record.")(verb)


def root_of(given: Path | None) -> Path:
    if given is not None:
        return given.absolute()
    from engine.jobfiles.config import find_root

    found = find_root(Path.cwd())
    if found is None:
        raise click.UsageError("neither here nor above is there an interlock.toml, .interlock/ or jobs.d/; use --root")
    return found


def folder_of(given: Path | None) -> Path:
    return root_of(given) / STATE_FOLDER


def ask(root: Path | None, work: Callable[[Client], Awaitable[T]]) -> T:
    """Runs `work` with a client of the engine for this folder."""
    folder = folder_of(root)

    async def asked() -> T:
        async with Client(folder) as client:
            await await_engine(client, folder)
            return await work(client)

    return asyncio.run(asked())


class IdType(click.ParamType[int]):
    """r12 or 12, t5 or 5."""

    def __init__(self, kind: str) -> None:
        self.name = kind

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        try:
            return parse_id(self.name, value)
        except BadIdError as error:
            self.fail(str(error), param, ctx)


class DurationType(click.ParamType[float]):
    """10s, 1m30s, or a bare number of seconds."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        from engine.jobfiles.durations import seconds

        try:
            return float(value) if re.fullmatch(r"[0-9]+(\.[0-9]+)?", str(value)) else seconds(value, zero=True)
        except ValueError as error:
            self.fail(f"{value}: {error}", param, ctx)


DURATION = DurationType()
RUN, TASK = IdType("run"), IdType("task")
QUEUE = click.Choice(["dependent", "independent"])
