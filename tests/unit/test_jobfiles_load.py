"""The loader's promises: every error at its line, one meaning one hash, no input that raises."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from engine.jobfiles.config import find_root, load_config
from engine.jobfiles.document import MAX_BYTES
from engine.jobfiles.errors import ConfigError
from engine.jobfiles.jsonschema import json_schema
from engine.jobfiles.load import Loaded, load_file, load_text
from engine.model.workflow import Call, Command, Workflow


def load(text: str, path: str = "a.yaml") -> Loaded:
    return load_text(text.encode(), path)


def good(text: str, path: str = "a.yaml") -> Workflow:
    loaded = load(text, path)
    assert loaded.problems == ()
    assert loaded.workflow is not None
    return loaded.workflow


BROKEN = [
    ("jobs:\n  a:\n    comand: x\n", 3, "command"),
    ("shell: x\ntimeout: 30\n", 2, "no unit"),
    ("shell: x\nretry:\n  attempts: three\n", 3, "at least 1"),
    ("shell: x\nretry: {attempts: 2,\n  jitter: 2}\n", 3, "0 to 1"),
    ("shell: x\nschedule: {}\n", 2, "not yet supported"),
    ("shell: x\nlocks: {}\n", 2, "not yet supported"),
    ("shell: x\non:\n  file: {}\n", 3, "not yet supported"),
    ("shell: x\nshell: y\n", 2, "twice"),
    ("shell: &a x\n", 1, "anchor"),
    ("shell: !!str x\n", 1, "tag"),
    ("shell: x\n---\nshell: y\n", 2, "second document"),
    ("jobs:\n\ta: 1\n", 2, "tab"),
    ("shell: x\ncommand: y\n", 2, "exactly one"),
    ("shell: x\npool: thread\n", 2, "python"),
    ("jobs:\n  a:\n    shell: x\n    needs: [b]\n", 4, "the jobs are a"),
    ("jobs:\n  a:\n    shell: x\n    needs: [a]\n", 4, "needs itself"),
    ("jobs:\n  a: {shell: x, needs: [b]}\n  b: {shell: x, needs: [a]}\n", 2, "a -> b -> a"),
    ("jobs: {}\n", 1, "at least one job"),
    ("description: x\n", 1, "no job"),
    ("shell: echo\n  {{ params.x }}\n", 1, "refused in shell"),
    ("command:\n  - sh\n  - -c\n  - echo {{ run.id }}\n", 4, "-c"),
    ("command:\n  - echo\n  - '{{ params.x }}'\n", 3, "no parameter x"),
    ("command: [echo]\nenv:\n  A: '{{ item }}'\n", 3, "each"),
    ("command: [echo]\nenv:\n  A:\n", 3, "nothing"),
    ("shell: x\nname: '{{ run.id }}'\n", 2, "not filled"),
    ("shell: x\ncwd: '{{ params'\n", 2, "without its"),
    ("shell: x\neach: 'a {{ params.x }}'\n", 2, "nothing around"),
    ("shell: x\npriority: yes\n", 2, "whole number"),
    ('shell: "\\0"\n', 1, "NUL"),
    ("shell: 'x\n", 2, "not YAML"),
]


@pytest.mark.parametrize(("text", "line", "words"), BROKEN)
def test_a_broken_file_names_the_line_and_what_is_allowed(text: str, line: int, words: str) -> None:
    """Each kind of error stands at its line and says what to do."""
    loaded = load(text)
    assert loaded.workflow is None
    assert any(each.line == line and words in each.message for each in loaded.problems), loaded.problems


def test_all_errors_of_a_toml_file_come_at_once_with_their_lines() -> None:
    """TOML positions are as good as YAML's."""
    text = '[jobs.a]\nshell = "x"\ntimout = "1s"\n\n[jobs.b]\nshell = "x"\nretry.attempts = 0\nenv = { A = [] }\n'
    assert [each.line for each in load(text, "a.toml").problems] == [3, 7, 8]


def test_yaml_and_toml_of_one_meaning_have_one_hash() -> None:
    """The format, comments and the order of keys do not count; the meaning does."""
    yaml = "parameters: {a: 1, b: x}\njobs:\n  s: {python: 'm:f', needs: [t], retry: 2}\n  t: {command: echo hi}\n"
    toml = '[jobs.t]\ncommand = ["echo", "hi"]\n[jobs.s]\nretry.attempts = 2\npython = "m:f"\nneeds = ["t"]\n'
    toml += '[parameters]\nb = "x"\na = 1\n'
    assert good(yaml).definition_hash == good(toml, "a.toml").definition_hash
    assert good("# c\n" + yaml).definition_hash == good(yaml).definition_hash
    assert good(yaml.replace("hi", "ho")).definition_hash != good(yaml).definition_hash


def test_defaults_are_merged_into_each_job() -> None:
    """A job's own value wins, env is merged by name, a number in env stays as written."""
    flow = good(
        "on: manual\ndefaults: {timeout: 1h30m, pool: thread, env: {A: 3.10, B: on}}\n"
        "jobs:\n  p: {python: 'm:f', env: {B: true}}\n  c: {command: 'echo {{ run.id }}', timeout: 250ms}\n"
    )
    p, c = flow.job("p"), flow.job("c")
    assert flow.manual
    assert (p.timeout_seconds, c.timeout_seconds) == (5400.0, 0.25)
    assert p.env == {"A": "3.10", "B": "true"}
    assert isinstance(p.action, Call)
    assert p.action.pool == "thread"
    assert c.action == Command(("echo", "{{run.id}}"))


@pytest.mark.parametrize("data", [b"[" * 30_000, b"- " * 32_000, b"each: '" + b"{{ " * 20_000 + b"'\nshell: x"])
@pytest.mark.parametrize("path", ["a.yaml", "a.toml"])
def test_hostile_texts_are_refused_at_once(data: bytes, path: str) -> None:
    """Depth and bad templates cost milliseconds."""
    start = time.perf_counter()
    assert load_text(data, path).problems
    assert time.perf_counter() - start < 2


@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=200) | st.text(alphabet="ab:{}[]-&*!\n\t \"'=.#", max_size=80).map(str.encode))
def test_no_bytes_make_the_loader_raise(data: bytes) -> None:
    """A workflow or problems, never both, never an exception."""
    for path in ("a.yaml", "a.toml"):
        loaded = load_text(data, path)
        assert (loaded.workflow is None) == bool(loaded.problems)


def test_the_json_schema_accepts_samples_and_refuses_unknown_keys() -> None:
    """Editors get the schema that validates."""
    Draft202012Validator.check_schema(json_schema())
    check = Draft202012Validator(json_schema())
    assert check.is_valid({"jobs": {"a": {"command": ["x"], "needs": {"b": "done"}, "retry": {"attempts": 2}}}})
    assert check.is_valid({"shell": "x", "timeout": "1h", "on": "manual"})
    assert not check.is_valid({"shell": "x", "timout": "1h"})
    assert not check.is_valid({"jobs": {"a": {"shell": "x", "pool": "thread"}}})


def test_a_missing_file_is_a_problem(tmp_path: Path) -> None:
    """`load_file` reports what cannot be read, and reads what can."""
    assert "cannot be read" in str(load_file(tmp_path / "a.yaml").problems[0])
    (tmp_path / "a.yaml").write_text("shell: x\n")
    assert load_file(tmp_path / "a.yaml", "shown.yaml").workflow is not None


def test_settings_are_read_and_errors_located(tmp_path: Path) -> None:
    """Defaults without a file; its values with one; all problems when broken."""
    assert load_config(tmp_path).slots.dependent >= 4
    file = tmp_path / "interlock.toml"
    file.write_text('output_limit = "2MiB"\n[slots]\ndependent = 2\nasync = 3\n[grace]\nkill = "5s"\n')
    config = load_config(tmp_path)
    assert (config.slots.dependent, config.slots.asyncio) == (2, 3)
    assert (config.grace.kill_seconds, config.output_limit_bytes) == (5.0, 2 * 1024 * 1024)
    assert find_root(tmp_path / "x" / "y") == tmp_path
    file.write_text("[slots]\ndependnt = 2\n[grace]\nkill = 5\n")
    with pytest.raises(ConfigError) as raised:
        load_config(tmp_path)
    assert [each.line for each in raised.value.problems] == [2, 4]


TOML_SAMPLE = '''"k" = 1
description = """a
[x]
"""
[[a]]
b = [1, # c
  {c = 1.5, "d e" = 'x'},
]
[[a]]
q.r = true
x = 1
'''


def test_toml_keys_stand_where_the_text_has_them() -> None:
    """Quoted keys, multi-line strings, arrays of tables, inline tables and dotted keys all have places."""
    lines = {each.key: each.line for each in load(TOML_SAMPLE, "a.toml").problems}
    assert lines["k"] == 1
    assert lines["a"] == 5


UNREADABLE = [
    (b"\xff\xfea", "UTF-16"),
    (b"shell: \xe4", "not UTF-8"),
    (b"shell: x\x01", "control character"),
    (b"#" * (MAX_BYTES + 1), "at most"),
    (b"", "mapping"),
    (b"- x", "a list"),
    (b"shell: .inf", "finite"),
    (b"shell: x\npriority: 99999999999999999999", "64 bits"),
    (b"? [a]\n: b", "a key is"),
    (b"a: *b", "alias"),
    (b"'': b", "key is empty"),
    (b"jobs: [a]", "a mapping"),
    (b"shell: x\ntimeout: 0s", "more than 0s"),
    (b"shell: x\ntimeout: 1m1h", "larger units first"),
    (b"command: 'a", "not YAML"),
    (b'command: "a \'b"', "quotes closed"),
    (b"command: []", "a program"),
    (b"shell: x\nretry: {backoff: 1s}", "required"),
    (b"shell: x\nretry: ten", "a number of attempts"),
    (b"shell: x\non: file", "not yet supported"),
    (b"shell: x\non: {manual: false}", "says nothing"),
    (b"shell: x\njobs: {a: {shell: x}}", "beside jobs"),
    (b"shell: x\nneeds: [a]", "single job"),
    (b"command: bash -c '{{ run.id }}'", "-c"),
    (b"command: [env, A=1, bash, -o, x, -ec, '{{ run.id }}']", "-c"),
    (b"command: ['{{ needs.a }}']", "needs.JOB.output"),
    (b"command: ['{{ needs.a.output }}']", "it has none"),
    (b"shell: x\ndefaults: {cwd: '{{ item }}'}", "defaults know"),
]


@pytest.mark.parametrize(("data", "words"), UNREADABLE)
def test_each_kind_of_wrong_text_has_its_sentence(data: bytes, words: str) -> None:
    """What is found and what is allowed stands in the message."""
    assert any(words in str(each) for each in load_text(data, "a.yaml").problems), load_text(data, "a.yaml").problems
