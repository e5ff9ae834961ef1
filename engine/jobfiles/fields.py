"""The kinds of value a file may hold: each says what it allows, to people and as JSON Schema."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable
from typing import Annotated, Any

from pydantic import BeforeValidator, Discriminator, WithJsonSchema
from pydantic_core import PydanticCustomError

from engine.jobfiles.durations import DURATION_PATTERN, SIZE_PATTERN, seconds, size_bytes

WORKFLOW_NAME = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$"
JOB_NAME = r"^[A-Za-z0-9_][A-Za-z0-9_-]{0,127}$"
PARAMETER_NAME = r"^[A-Za-z_][A-Za-z0-9_-]{0,127}$"
ENV_NAME = r"^[A-Za-z_][A-Za-z0-9_]*$"
CALLABLE = r"^[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*$"

ABSENT: Any = None  # the default of a key that was left out; null itself is refused where it stands


def refuse(allowed: str) -> PydanticCustomError:
    """The error whose text is what would be allowed; `load` adds what was found."""
    return PydanticCustomError("allowed", "{allowed}", {"allowed": allowed})


def _guard(check: Callable[[Any], Any]) -> BeforeValidator:
    def run(value: Any) -> Any:
        try:
            return check(value)
        except ValueError as error:
            raise refuse(str(error)) from None

    return BeforeValidator(run)


def _typed(kind: type | tuple[type, ...], allowed: str, fits: Callable[[Any], bool] = lambda value: True) -> Any:
    def check(value: Any) -> Any:
        is_truth = isinstance(value, bool) and kind is not bool
        if is_truth or not isinstance(value, kind) or not fits(value):
            raise ValueError(allowed)
        return value

    return _guard(check)


def _matching(pattern: str, allowed: str) -> Any:
    return _typed(str, allowed, lambda value: bool(re.match(pattern.replace("$", r"\Z"), value, re.ASCII)))


def one_of(*words: str) -> Any:
    """Validator for a closed choice."""
    return _typed(str, ", ".join(words[:-1]) + f" or {words[-1]}", lambda value: value in words)


def whole(least: int, most: int, allowed: str) -> Any:
    """Validator for a whole number of a range."""
    return _typed(int, allowed, lambda value: least <= value <= most)


def split_command(value: Any) -> Any:
    """A command written as one string, split as a shell would; a template stays one piece."""
    if not isinstance(value, str):
        return value
    try:
        return shlex.split(without_spaces(value))
    except ValueError as error:
        raise refuse(f"a command with its quotes closed ({str(error).lower()})") from None


def without_spaces(command: str) -> str:
    """The command with the spaces just inside its templates' braces removed."""
    return re.sub(r"\{\{([^{}]*)\}\}", lambda found: "{{" + found[1].strip() + "}}", command)


def shape(allowed: str) -> Discriminator:
    """Picks the member of a union by the value's JSON type; the tags are <list>, <mapping>, <text>, <number>."""
    return Discriminator(_tag, custom_error_type="allowed", custom_error_message=allowed)


def _tag(value: Any) -> str | None:
    kinds: dict[type, str] = {list: "<list>", dict: "<mapping>", str: "<text>", int: "<number>"}
    return kinds.get(type(value))


Text = Annotated[str, _typed(str, "text"), WithJsonSchema({"type": "string"})]
Filled = Annotated[
    str, _typed(str, "text that is not empty", lambda value: bool(value.strip())),
    WithJsonSchema({"type": "string", "minLength": 1}),
]  # fmt: skip
Truth = Annotated[bool, _typed(bool, "true or false"), WithJsonSchema({"type": "boolean"})]
Duration = Annotated[float, _guard(seconds), WithJsonSchema({"type": "string", "pattern": DURATION_PATTERN})]
Wait = Annotated[
    float, _guard(lambda value: seconds(value, zero=True)),
    WithJsonSchema({"type": "string", "pattern": DURATION_PATTERN}),
]  # fmt: skip
Size = Annotated[int, _guard(size_bytes), WithJsonSchema({"type": "string", "pattern": SIZE_PATTERN})]
Attempts = Annotated[
    int, whole(1, 1_000_000, "a whole number of at least 1"), WithJsonSchema({"type": "integer", "minimum": 1})
]
Count = Annotated[
    int, whole(0, 2**53, "a whole number of at least 0"), WithJsonSchema({"type": "integer", "minimum": 0})
]
Priority = Annotated[
    int, whole(-1_000_000, 1_000_000, "a whole number between -1000000 and 1000000"),
    WithJsonSchema({"type": "integer", "minimum": -1_000_000, "maximum": 1_000_000}),
]  # fmt: skip
ExitCode = Annotated[
    int, whole(1, 255, "a whole number from 1 to 255"),
    WithJsonSchema({"type": "integer", "minimum": 1, "maximum": 255}),
]  # fmt: skip
Factor = Annotated[
    float, _typed((int, float), "a number from 1 to 1000", lambda value: 1 <= value <= 1000),
    WithJsonSchema({"type": "number", "minimum": 1, "maximum": 1000}),
]  # fmt: skip
Fraction = Annotated[
    float, _typed((int, float), "a number from 0 to 1", lambda value: 0 <= value <= 1),
    WithJsonSchema({"type": "number", "minimum": 0, "maximum": 1}),
]  # fmt: skip
WorkflowName = Annotated[
    str, _matching(WORKFLOW_NAME, "1 to 128 letters, digits, dots, dashes or underscores, a letter or digit first"),
    WithJsonSchema({"type": "string", "pattern": WORKFLOW_NAME}),
]  # fmt: skip
JobName = Annotated[
    str, _matching(JOB_NAME, "1 to 128 letters, digits, dashes or underscores as a job's name"),
    WithJsonSchema({"type": "string", "pattern": JOB_NAME}),
]  # fmt: skip
ParameterName = Annotated[
    str, _matching(PARAMETER_NAME, "letters, digits, dashes or underscores, no digit first, as a parameter's name"),
    WithJsonSchema({"type": "string", "pattern": PARAMETER_NAME}),
]  # fmt: skip
EnvName = Annotated[
    str, _matching(ENV_NAME, "letters, digits or underscores, no digit first, as a variable's name"),
    WithJsonSchema({"type": "string", "pattern": ENV_NAME}),
]  # fmt: skip
EnvValue = Annotated[
    str | int | float | bool,
    BeforeValidator(lambda value: value if isinstance(value, str | int | float | bool) else _no_scalar()),
    WithJsonSchema({"type": ["string", "number", "boolean"]}),
]
Callable_ = Annotated[
    str, _matching(CALLABLE, "module:function, such as scanner:scan"),
    WithJsonSchema({"type": "string", "pattern": CALLABLE}),
]  # fmt: skip


def _no_scalar() -> Any:
    raise refuse("text, a number, true or false")
