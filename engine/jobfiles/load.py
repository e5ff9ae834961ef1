"""The door of the loader: bytes of a job file in, a workflow or every problem of it out. Never raises."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path, PurePath

from engine.jobfiles.build import build_workflow
from engine.jobfiles.document import Document, KeyPath
from engine.jobfiles.errors import Problem, show
from engine.jobfiles.fields import WORKFLOW_NAME
from engine.jobfiles.graph import check_graph
from engine.jobfiles.parse import parse
from engine.jobfiles.rules import check_rules
from engine.jobfiles.safe_read import UnreadableFileError, read_job_file
from engine.jobfiles.schema import UNSUPPORTED, UNSUPPORTED_ON, WorkflowTable
from engine.jobfiles.template_rules import check_templates
from engine.jobfiles.validate import validate
from engine.model.workflow import Workflow


@dataclass(frozen=True)
class Loaded:
    """Either a workflow or the problems, in the order of the file's lines."""

    workflow: Workflow | None
    problems: tuple[Problem, ...] = ()


def load_file(path: Path, shown: str | None = None) -> Loaded:
    """The workflow in a file; `shown` is how messages call it."""
    called = shown or str(path)
    try:
        data = read_job_file(path)
    except UnreadableFileError as error:
        return Loaded(None, (Problem(called, 1, 1, "", f"cannot be read: {error.why}"),))
    return load_text(data, called)


def load_text(data: bytes, path: str) -> Loaded:
    """The workflow in these bytes; the path's ending says YAML or TOML, its stem is the name unless they have one."""
    document = Document(path)
    table = _check(document) if parse(document, data) else None
    if document.problems or table is None:
        return Loaded(None, tuple(sorted(document.problems)))
    return Loaded(build_workflow(document, table, PurePath(path).stem))


def _check(document: Document) -> WorkflowTable | None:
    """Every check of a parsed file; the table only if its shape is right."""
    table = validate(document, WorkflowTable, _is_unsupported)
    _check_name(document)
    check_rules(document)
    check_graph(document)
    check_templates(document)
    return table


def _is_unsupported(path: KeyPath) -> bool:
    if path[:1] == ("on",):
        return path[-1] in UNSUPPORTED_ON
    return path[-1] in UNSUPPORTED


def _check_name(document: Document) -> None:
    """The file's stem must do as a name where the file gives none."""
    stem = PurePath(document.path).stem
    if "name" not in document.data and not re.fullmatch(WORKFLOW_NAME, stem):
        allowed = "a file name of letters, digits, dots, dashes and underscores, or a name: in the file"
        document.report(("name",), f"the file is called {show(stem)}; allowed: {allowed}")
