"""Checks every template of a file: that it stands where templates are filled, and that it names something there."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from engine.jobfiles.document import Document, KeyPath
from engine.jobfiles.errors import listing, suggestion
from engine.jobfiles.fields import without_spaces
from engine.jobfiles.graph import needs_of
from engine.jobfiles.rules import job_tables
from engine.model.templates import ROOTS, TemplateError, paths

SHELLS = frozenset({"sh", "bash", "dash", "zsh", "ksh"})
LAUNCHERS = frozenset({"env", "sudo", "nice", "nohup", "setsid", "timeout", "ionice", "stdbuf", "xargs"})

_OURS = re.compile(r"\{\{\s*(?:" + "|".join(ROOTS) + r")\b")
_LONGEST = 500  # characters between braces; what is longer is no path
_FILLED = ("command", "arguments", "env", "cwd", "each")


@dataclass(frozen=True)
class _Scope:
    """What a template may name at one place."""

    params: tuple[str, ...]
    needs: tuple[str, ...] = ()
    roots: tuple[str, ...] = ROOTS
    why_not: str = ""


def check_templates(document: Document) -> None:
    """Report every template that is misplaced, malformed or names what is not there."""
    data = document.data
    declared = data.get("parameters")
    params = tuple(declared) if isinstance(declared, dict) else ()
    for path, table in job_tables(data):
        _check_job(document, path, table, params)
    _check_defaults(document, data.get("defaults"), params)
    _check_elsewhere(document)


def _check_job(document: Document, path: KeyPath, table: dict[str, Any], params: tuple[str, ...]) -> None:
    needs = tuple(needs_of(table, path))
    usual = _Scope(params, needs, ROOTS if "each" in table else _without("item"), "item is there only with each")
    single = _Scope(params, needs, _without("item", "run"), "each itself knows params, needs and trigger")
    for key in _FILLED:
        for place, text in _strings((*path, key), table.get(key)):
            _check_text(document, place, text, single if key == "each" else usual)
    _check_shell(document, (*path, "shell"), table.get("shell"))
    _check_command(document, (*path, "command"), table.get("command"))
    _check_each(document, (*path, "each"), table.get("each"))


def _check_defaults(document: Document, defaults: Any, params: tuple[str, ...]) -> None:
    scope = _Scope(params, (), _without("item", "needs"), "defaults know params, trigger and run")
    for key in ("env", "cwd"):
        for place, text in _strings(("defaults", key), defaults.get(key) if isinstance(defaults, dict) else None):
            _check_text(document, place, text, scope)


def _without(*names: str) -> tuple[str, ...]:
    return tuple(root for root in ROOTS if root not in names)


def _check_text(document: Document, place: KeyPath, text: str, scope: _Scope) -> None:
    try:
        _check_braces(text)
        for found in paths(text):
            if wrong := _wrong(found, scope):
                document.report(place, f"{{{{ {'.'.join(found)} }}}}: {wrong}")
    except TemplateError as error:
        document.report(place, str(error))


def _check_braces(text: str) -> None:
    """Every {{ has its }} before long. Filling looks for them by a pattern that takes minutes on text without."""
    start = text.find("{{")
    while start >= 0:
        end = text.find("}}", start + 2, start + 2 + _LONGEST)
        if end < 0 or "{{" in text[start + 2 : end]:
            raise TemplateError("found {{ without its }}; allowed: one dotted path between them")
        start = text.find("{{", end + 2)


def _wrong(path: tuple[str, ...], scope: _Scope) -> str:
    """What is wrong with a path at this place, or nothing."""
    if path[0] not in scope.roots:
        return f"{path[0]} cannot be used here; {scope.why_not}"
    if path[0] == "params" and len(path) > 1 and path[1] not in scope.params:
        declared = listing(scope.params) or "none"
        return f"no parameter {path[1]} is declared{suggestion(path[1], scope.params)}; declared: {declared}"
    if path[0] == "needs":
        return _wrong_need(path, scope)
    return ""


def _wrong_need(path: tuple[str, ...], scope: _Scope) -> str:
    if len(path) < 3 or path[2] != "output":
        return "allowed: needs.JOB.output, and a path into it"
    if path[1] not in scope.needs:
        return f"{path[1]} is not among the job's needs ({listing(scope.needs) or 'it has none'})"
    return ""


def _check_shell(document: Document, place: KeyPath, script: Any) -> None:
    if isinstance(script, str) and _OURS.search(script):
        document.report(place, _not_in_shell("shell text"))


def _check_command(document: Document, place: KeyPath, command: Any) -> None:
    """Refuse templates in the script a shell gets after -c."""
    if isinstance(command, str):
        return _check_command_text(document, place, command)
    if isinstance(command, list) and (index := script_index(command)) is not None and _has_template(command[index]):
        document.report((*place, index), _not_in_shell("the text after a shell's -c"))
    return None


def _check_command_text(document: Document, place: KeyPath, command: str) -> None:
    words = without_spaces(command).replace("'", '"').split()
    index = script_index(words)
    if index is not None and any(_has_template(word) for word in words[index:]):
        document.report(place, _not_in_shell("the text after a shell's -c"))


def script_index(argv: list[Any]) -> int | None:
    """Where in a command a shell's -c script stands, also behind env, sudo and their like."""
    names = [PurePosixPath(each).name if isinstance(each, str) else "" for each in argv]
    reach = len(names) if names and names[0] in LAUNCHERS else 1
    start = next((index for index, name in enumerate(names[:reach]) if name in SHELLS), None)
    return None if start is None else _after_c(argv, start + 1)


def _after_c(argv: list[Any], at: int) -> int | None:
    seen = False
    while at < len(argv) and isinstance(argv[at], str) and argv[at][:1] in ("-", "+"):
        option = argv[at]
        seen = seen or (not option.startswith("--") and "c" in option)
        at += 2 if option[1:] in ("o", "O") or option in ("--rcfile", "--init-file") else 1
    return at if seen and at < len(argv) else None


def _check_each(document: Document, place: KeyPath, each: Any) -> None:
    if isinstance(each, str) and not (each[:2] == "{{" and each.find("}}") == len(each) - 2):
        document.report(place, "allowed: a list, or one template and nothing around it, {{ params.items }}")


def _check_elsewhere(document: Document) -> None:
    """Refuse templates in every string that is never filled."""
    filled = {(*path, key) for path, _ in job_tables(document.data) for key in (*_FILLED, "shell")}
    filled |= {("defaults", "env"), ("defaults", "cwd")}
    for place, text in _strings((), document.data):
        if _has_template(text) and filled.isdisjoint(place[:size] for size in range(1, 4)):
            document.report(place, f"templates are not filled here; allowed in {', '.join(_FILLED)}")


def _strings(path: KeyPath, value: Any) -> Iterator[tuple[KeyPath, str]]:
    """Each string inside a value with its place; the nesting is bounded by the parser, the order is the text's."""
    if isinstance(value, str):
        yield path, value
    elif isinstance(value, dict):
        for key, each in value.items():
            yield from _strings((*path, key), each)
    elif isinstance(value, list):
        for index, each in enumerate(value):
            yield from _strings((*path, index), each)


def _has_template(text: Any) -> bool:
    return isinstance(text, str) and text.find("}}", text.find("{{") + 2) > text.find("{{") >= 0


def _not_in_shell(where: str) -> str:
    return f"templates are refused in {where}: use $INTERLOCK_PARAM_NAME or a variable from env"
