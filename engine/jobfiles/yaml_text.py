"""YAML to a positioned tree, by events: no recursion, no constructors, no aliases, YAML 1.2 core scalars."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import yaml

from engine.jobfiles.document import MAX_DEPTH, MAX_NODES, Document, KeyPath, Mark, UnparsableError, check_scalar
from engine.jobfiles.errors import show

_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

_CORE: tuple[tuple[re.Pattern[str], Callable[[str], Any]], ...] = (
    (re.compile(r"(?:~|null|Null|NULL|)\Z"), lambda text: None),
    (re.compile(r"(?:true|True|TRUE)\Z"), lambda text: True),
    (re.compile(r"(?:false|False|FALSE)\Z"), lambda text: False),
    (re.compile(r"[-+]?[0-9]{1,4000}\Z", re.ASCII), int),
    (re.compile(r"0o[0-7]{1,4000}\Z"), lambda text: int(text[2:], 8)),
    (re.compile(r"0x[0-9a-fA-F]{1,4000}\Z"), lambda text: int(text[2:], 16)),
    (re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?\Z", re.ASCII), float),
    (re.compile(r"[-+]?\.(?:inf|Inf|INF)\Z"), lambda text: float("inf")),
    (re.compile(r"\.(?:nan|NaN|NAN)\Z"), lambda text: float("nan")),
)


@dataclass
class _Frame:
    """An open mapping or list; `key` waits for its value."""

    path: KeyPath
    holds: dict[str, Any] | list[Any]
    key: str | None = None


class _Builder:
    """Takes events one by one and hangs their values into the document."""

    def __init__(self, document: Document) -> None:
        self.document = document
        self.stack: list[_Frame] = []
        self.root: Any = None
        self.documents = 0

    def take(self, event: yaml.Event) -> None:
        if isinstance(event, yaml.DocumentStartEvent):
            self._start_document(event)
        elif isinstance(event, yaml.CollectionEndEvent):
            self.stack.pop()
        elif isinstance(event, yaml.NodeEvent):
            self._node(event)

    def _start_document(self, event: yaml.Event) -> None:
        self.documents += 1
        if self.documents > 1:
            raise UnparsableError(_mark(event), "a second document starts here; allowed: one document in a file")

    def _node(self, event: yaml.NodeEvent) -> None:
        if self._expects_key():
            self._take_key(event)
            return
        path = self._next_path(event)
        self._refuse_extras(event, path)
        if isinstance(event, yaml.ScalarEvent):
            self._hang(self._scalar(event, path))
        elif isinstance(event, yaml.AliasEvent):
            self._hang(None)
        else:
            self._open(event, path)

    def _expects_key(self) -> bool:
        return bool(self.stack) and isinstance(self.stack[-1].holds, dict) and self.stack[-1].key is None

    def _take_key(self, event: yaml.NodeEvent) -> None:
        frame = self.stack[-1]
        if not isinstance(event, yaml.ScalarEvent):
            raise UnparsableError(_mark(event), "a key is a list, a mapping or an alias; allowed: a word")
        key = event.value
        path = (*frame.path, key)
        if not key:
            self.document.report(frame.path, "a key is empty; allowed: a word before the colon", _mark(event))
        elif key in frame.holds:
            first = self.document.mark(path).line
            self.document.report(path, f"the key stands here twice, first in line {first}", _mark(event))
        frame.key = key
        self.document.marks[path] = _mark(event)
        check_scalar(self.document, path, key)
        self._refuse_extras(event, path)

    def _next_path(self, event: yaml.NodeEvent) -> KeyPath:
        if not self.stack:
            return ()
        frame = self.stack[-1]
        if isinstance(frame.holds, dict):
            return (*frame.path, frame.key or "")
        path = (*frame.path, len(frame.holds))
        self.document.marks[path] = _mark(event)
        return path

    def _refuse_extras(self, event: yaml.NodeEvent, path: KeyPath) -> None:
        if isinstance(event, yaml.AliasEvent):
            self.document.refuse(path, f"found the alias *{event.anchor}; allowed: the value itself", _mark(event))
        elif event.anchor is not None:
            self.document.refuse(path, f"found the anchor &{event.anchor}; anchors are not allowed", _mark(event))
        elif tag := getattr(event, "tag", None):
            self.document.refuse(path, f"found the tag {show(tag)}; tags are not allowed", _mark(event))

    def _scalar(self, event: yaml.ScalarEvent, path: KeyPath) -> Any:
        value = event.value if event.style else _core(event.value)
        if isinstance(value, int | float) and not isinstance(value, bool):
            self.document.texts[path] = event.value
        check_scalar(self.document, path, value)
        return value

    def _hang(self, value: Any) -> None:
        if not self.stack:
            self.root = value
            return
        frame = self.stack[-1]
        if isinstance(frame.holds, dict):
            frame.holds[frame.key or ""] = value
            frame.key = None
        else:
            frame.holds.append(value)

    def _open(self, event: yaml.NodeEvent, path: KeyPath) -> None:
        if len(self.stack) >= MAX_DEPTH:
            raise UnparsableError(_mark(event), f"nested too deep; allowed: at most {MAX_DEPTH} levels")
        holds: dict[str, Any] | list[Any] = {} if isinstance(event, yaml.MappingStartEvent) else []
        self._hang(holds)
        self.stack.append(_Frame(path, holds))


def parse_yaml(text: str, document: Document) -> Any:
    """The tree of `text`; marks and recoverable problems go into `document`. Raises UnparsableError."""
    builder = _Builder(document)
    try:
        for count, event in enumerate(yaml.parse(text, Loader=_LOADER)):
            if count >= MAX_NODES:
                raise UnparsableError(_mark(event), f"too many values; allowed: at most {MAX_NODES:,} YAML events")
            builder.take(event)
    except yaml.MarkedYAMLError as error:
        raise UnparsableError(_error_mark(error), _explain(error, text)) from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise UnparsableError(Mark(), f"not YAML: {error}") from None
    return builder.root


def _core(text: str) -> Any:
    return next((make(text) for pattern, make in _CORE if pattern.match(text)), text)


def _mark(event: Any) -> Mark:
    return Mark(event.start_mark.line + 1, event.start_mark.column + 1)


def _error_mark(error: yaml.MarkedYAMLError) -> Mark:
    place = error.problem_mark or error.context_mark
    return Mark(place.line + 1, place.column + 1) if place else Mark()


def _explain(error: yaml.MarkedYAMLError, text: str) -> str:
    lines = text.splitlines()
    place = _error_mark(error)
    if lines[place.line - 1 : place.line] and lines[place.line - 1][place.column - 1 : place.column] == "\t":
        return "found a tab; YAML is indented with spaces"
    context = f" ({error.context})" if error.context else ""
    return f"not YAML: {error.problem}{context}"
