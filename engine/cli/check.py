"""interlock check: reads job files as the engine would, without an engine, and says what is wrong with them."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from engine.cli.options import FAILED, output_options, root_of, root_option
from engine.cli.render import Output, Row, note, plural

if TYPE_CHECKING:
    from engine.jobfiles.errors import Problem

SUFFIXES = (".yaml", ".yml", ".toml")


@click.command("check", short_help="Find the mistakes in job files.")
@click.argument("files", nargs=-1, type=click.Path(exists=True, path_type=Path))
@output_options
@root_option
@click.pass_context
def verb(ctx: click.Context, files: tuple[Path, ...], as_json: bool, quiet: bool, root: Path | None) -> None:
    """Check job FILES (default: all in the watched folders) and print every problem."""
    from engine.jobfiles.errors import ConfigError

    try:
        chosen, found = _expand(files) if files else _watched(root_of(root)), []
    except ConfigError as error:
        chosen, found = [], [_row(problem, problem.path) for problem in error.problems]
    found += [row for path in chosen for row in _problems(path)]
    output = Output(as_json, quiet)
    if as_json:
        output.json(found)
    elif quiet:
        for path_ in dict.fromkeys(row["path"] for row in found):
            output.line(path_)
    else:
        for row in found:
            output.line(row["problem"])
        note(f"{len(chosen)} checked, {plural(len(found), 'problem')}")
    ctx.exit(FAILED if found else 0)


def _expand(files: tuple[Path, ...]) -> list[Path]:
    return [path for file in files for path in (_job_files(file) if file.is_dir() else [file])]


def _job_files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.glob("*") if path.suffix in SUFFIXES and not path.name.startswith("."))


def _watched(root: Path) -> list[Path]:
    from engine.jobfiles.config import load_config

    return [path for folder in load_config(root).folders for path in _job_files(root / folder)]


def _problems(path: Path) -> list[Row]:
    from engine.jobfiles.load import load_file

    return [_row(problem, str(path)) for problem in load_file(path).problems]


def _row(problem: Problem, path: str) -> Row:
    return {**asdict(problem), "path": path, "problem": str(problem)}
