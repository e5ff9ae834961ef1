"""Templates: dotted paths, types kept, every fault a TemplateError with the path in it."""

from __future__ import annotations

import string
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.model.templates import TemplateError, as_text, fill, paths, paths_in

CONTEXT = {
    "params": {"n": 3, "who": "you", "on": True, "none": None, "list": [1, "b"], "deep": {"a-b": {"c": 1.5}}},
    "needs": {"a": {"output": {"parts": [{"id": 7}]}}},
    "item": ["x"],
}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("{{ params.n }}", 3),
        ("{{params.on}}", True),
        ("{{ params.none }}", None),
        ("{{ params.list }}", [1, "b"]),
        ("{{ params.list.1 }}", "b"),
        ("{{ params.deep.a-b.c }}", 1.5),
        ("{{ needs.a.output.parts.0.id }}", 7),
        ("{{ item }}", ["x"]),
        ("{{\n params.n\n}}", 3),
        ("no template", "no template"),
        ("", ""),
    ],
)
def test_a_whole_expression_keeps_its_type(text: str, value: Any) -> None:
    """What is named arrives as it is, not as text."""
    filled = fill(text, CONTEXT)
    assert filled == value
    assert type(filled) is type(value)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("n={{ params.n }}", "n=3"),
        ("{{ params.n }}{{ params.who }}", "3you"),
        ("{{ params.n }} and {{ params.on }}", "3 and true"),
        ("{{ params.list }}\n", '[1,"b"]\n'),
        ("{{ params.n }}}}", "3}}"),
        ('{"a": {{ params.none }}}', '{"a": null}'),
    ],
)
def test_expressions_inside_text_become_text(text: str, value: str) -> None:
    """Strings as they are, everything else as JSON."""
    assert fill(text, CONTEXT) == value


def test_filling_goes_through_lists_and_mappings_and_leaves_the_rest() -> None:
    """Keys and values that are no strings stay untouched."""
    value = {"{{ params.n }}": ["{{ params.n }}", ("{{ params.who }}",), 4, None]}
    assert fill(value, CONTEXT) == {"{{ params.n }}": [3, ["you"], 4, None]}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{{ params.no }}", "no 'no' in params (dict)"),
        ("{{ params.list.2 }}", "no '2' in params.list (list)"),
        ("{{ params.list.x }}", "no 'x' in params.list (list)"),
        ("{{ params.list.² }}", "no '²' in params.list (list)"),
        ("{{ params.list." + "9" * 400 + " }}", "in params.list (list)"),
        ("{{ params.none.x }}", "no 'x' in params.none (nothing)"),
        ("{{ params.n.x }}", "no 'x' in params.n (int)"),
        ("{{ trigger.file }}", "no 'trigger' in it (dict)"),
        ("{{ env.HOME }}", "starts with 'env'; allowed: params"),
        ("{{ params.a b }}", "is not a dotted path"),
        ("{{ }}", "is not a dotted path"),
        ("{{ params..a }}", "is not a dotted path"),
        ("{{ 1 + 1 }}", "is not a dotted path"),
    ],
)
def test_a_fault_is_named_with_its_path(text: str, words: str) -> None:
    """The operator reads what was there instead; the engine never meets another kind of error."""
    with pytest.raises(TemplateError) as fault:
        fill(text, CONTEXT)
    assert words in str(fault.value)


def test_paths_are_found_wherever_they_stand() -> None:
    """The loader checks what the kernel will fill."""
    assert list(paths("{{ params.a }}-{{needs.b.output.c}}")) == [("params", "a"), ("needs", "b", "output", "c")]
    assert list(paths("plain")) == []
    assert list(paths_in({"x": ["{{ item }}", 1], "y": ("{{ run.id }}",)})) == [("item",), ("run", "id")]
    assert list(paths_in(5)) == []
    with pytest.raises(TemplateError):
        list(paths("{{ nothing.known }}"))


def test_text_of_values() -> None:
    """Strings are not quoted, other letters are not escaped."""
    assert [as_text(each) for each in ("ä", {"k": "ä"}, 1.5, False)] == ["ä", '{"k":"ä"}', "1.5", "false"]


@settings(deadline=None, max_examples=150)
@given(st.text(alphabet=string.printable + "{}²٣.", max_size=40))
def test_no_text_brings_anything_but_a_value_or_a_template_error(text: str) -> None:
    """A bad file harms only itself."""
    for given_text in (text, "{{ params." + text + " }}"):
        try:
            fill(given_text, CONTEXT)
        except TemplateError:
            continue
