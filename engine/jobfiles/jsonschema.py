"""JSON Schema of a job file, for editors: made from the models that validate, plus the rules between keys that
JSON Schema can word."""

from __future__ import annotations

from typing import Any

from engine.jobfiles.schema import ACTIONS, PYTHON_ONLY, WorkflowTable

DIALECT = "https://json-schema.org/draft/2020-12/schema"


def json_schema() -> dict[str, Any]:
    """The schema as plain JSON data."""
    schema: dict[str, Any] = _without_nulls(WorkflowTable.model_json_schema())
    one_action = [{"required": [key]} for key in ACTIONS]
    job = schema["$defs"]["JobTable"]
    job["oneOf"] = one_action
    job["dependentSchemas"] = {key: {"required": ["python"]} for key in PYTHON_ONLY}
    schema["oneOf"] = [{"required": ["jobs"]}, *one_action]
    schema["properties"]["jobs"]["minProperties"] = 1
    return {"$schema": DIALECT, **schema, "title": "Interlock job file"}


def _without_nulls(value: Any) -> Any:
    """A left-out key is shown as such, not as null, which no key takes; mappings with patterned keys are closed."""
    if isinstance(value, list):
        return [_without_nulls(each) for each in value]
    if not isinstance(value, dict):
        return value
    kept = {key: _without_nulls(each) for key, each in value.items() if not (key == "default" and each is None)}
    if "patternProperties" in kept:
        kept["additionalProperties"] = False
    return kept
