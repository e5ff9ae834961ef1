"""Runs a pydantic model over a document and words each of its errors as a problem at its place."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar, get_args, get_origin

from pydantic import BaseModel, ValidationError

from engine.jobfiles.document import Document, KeyPath
from engine.jobfiles.errors import not_allowed, show, suggestion

Unsupported = Callable[[KeyPath], bool]  # is an unknown key one that is only not there yet
_M = TypeVar("_M", bound=BaseModel)

_ALLOWED = {
    "dict_type": "a mapping",
    "model_type": "a mapping",
    "model_attributes_type": "a mapping",
    "list_type": "a list",
}


def validate(document: Document, model: type[_M], unsupported: Unsupported = lambda path: False) -> _M | None:
    """The model filled from the document's data; None after reporting everything that does not fit."""
    try:
        return model.model_validate(document.data)
    except ValidationError as error:
        for each in error.errors(include_url=False):
            _report(document, model, dict(each), unsupported)
        return None


def _report(document: Document, model: type[BaseModel], error: dict[str, Any], unsupported: Unsupported) -> None:
    path, rest = _in_tree(document.data, error["loc"])
    kind, found = error["type"], error["input"]
    if kind == "extra_forbidden":
        _report_unknown(document, model, path, unsupported)
    elif kind == "missing":
        document.report((*path, *rest), "missing; it is required here", document.mark(path))
    else:
        allowed = error.get("ctx", {}).get("allowed") or _ALLOWED.get(kind) or error["msg"]
        document.report(path, not_allowed(found, allowed))


def _report_unknown(document: Document, model: type[BaseModel], path: KeyPath, unsupported: Unsupported) -> None:
    word = str(path[-1])
    if unsupported(path):
        document.report(path, f"{word} is not yet supported")
        return
    known = _keys_at(model, path[:-1])
    document.report(path, f"found an unknown key {show(word)}{suggestion(word, known)}")


def _in_tree(data: Any, location: Sequence[str | int]) -> tuple[KeyPath, KeyPath]:
    """The part of an error's location that exists in the data (union tags and key marks do not), and the rest."""
    path: KeyPath = ()
    rest: KeyPath = ()
    for part in location:
        inside = isinstance(data, dict) and part in data
        if inside or (isinstance(data, list) and isinstance(part, int) and part < len(data)):
            data, path = data[part], (*path, part)
        elif not str(part).startswith(("<", "[")):
            rest = (*rest, part)
    return path, rest


def _keys_at(model: type[BaseModel], path: KeyPath) -> list[str]:
    """The keys allowed at `path`, for suggestions: those of the nested model that stands there."""
    parts = iter(path)
    for part in parts:
        field = next((each for name, each in model.model_fields.items() if (each.alias or name) == part), None)
        if nested := _nested(field.annotation if field else None):
            model = nested
            if get_origin(field.annotation if field else None) is dict:
                next(parts, None)  # the entry's own name
    return [field.alias or name for name, field in model.model_fields.items()]


def _nested(annotation: Any) -> type[BaseModel] | None:
    """The model inside an annotation such as dict[Name, Table] or a union with one."""
    if isinstance(annotation, type) and get_origin(annotation) is None:
        return annotation if issubclass(annotation, BaseModel) else None
    return next(filter(None, (_nested(each) for each in get_args(annotation))), None)
