"""Callables run what they should: the right module, the right edition, the right interpreter, the right log."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.pythons import interpreter
from tests.system.engine_process import EngineProcess

VERSIONS = ("3.8", "3.9", "3.10", "3.11", "3.12", "3.13")


def output_of(engine: EngineProcess, workflow: str) -> object:
    run = engine.wait_run(engine.run(workflow))
    task = engine.tasks(str(run["id"]))[0]
    log = engine.text(f"/v1/tasks/{task['id']}/log").decode()
    assert run["state"] == "succeeded", (task, log)
    return engine.get(f"/v1/tasks/{task['id']}")["output"]


@pytest.mark.parametrize("pool", ["process", "thread", "async"])
def test_modules_of_one_name_in_two_workflows_stay_apart(root: Path, pool: str) -> None:
    """Also a module called `engine`, as ours is."""
    for name in ("one", "two"):
        (root / name).mkdir()
        (root / name / "engine.py").write_text(f"def say(): return '{name}'\n")
        text = f"on: manual\npython: engine:say\npool: {pool}\ncwd: {name}\n"
        (root / "jobs.d" / f"{name}.yaml").write_text(text)
    with EngineProcess(root) as engine:
        assert [output_of(engine, name) for name in ("one", "two", "one")] == ["one", "two", "one"]


@pytest.mark.parametrize("pool", ["process", "thread"])
def test_code_edited_between_two_runs_is_the_code_that_runs(root: Path, pool: str) -> None:
    """A runner that loaded the old source is not used again."""
    code = root / "code.py"
    code.write_text("def say(): return 'before'\n")
    (root / "jobs.d" / "w.yaml").write_text(f"on: manual\npython: code:say\npool: {pool}\n")
    with EngineProcess(root) as engine:
        assert output_of(engine, "w") == "before"
        code.write_text("def say(): return 'after!'\n")
        assert output_of(engine, "w") == "after!"


@pytest.mark.slow
@pytest.mark.parametrize("version", VERSIONS)
def test_any_python_from_3_8_runs_a_callable(root: Path, version: str) -> None:
    """`interpreter:` names it; arguments, context and output work there as here."""
    python = interpreter(version)
    if python is None:
        pytest.skip(f"no python{version} on this machine")
    (root / "code.py").write_text(
        "import sys\ndef say(context, word):\n    print('hi')\n    context.progress(1, 2)\n"
        "    return [word, '%d.%d' % sys.version_info[:2]]\n"
    )
    (root / "jobs.d" / "w.yaml").write_text(
        f"on: manual\npython: code:say\ninterpreter: {python}\narguments: {{word: hello}}\n"
    )
    with EngineProcess(root) as engine:
        assert output_of(engine, "w") == ["hello", version]


@pytest.mark.slow
def test_a_virtual_environment_of_the_jobs_own_is_used(root: Path) -> None:
    """Its site-packages are importable, ours are not."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(root / "venv")], check=True)
    site = next((root / "venv").glob("lib/python*/site-packages"))
    (site / "only_here.py").write_text("WORD = 'foreign'\n")
    (root / "code.py").write_text(
        "import importlib.util, only_here\n"
        "def say(): return [only_here.WORD, importlib.util.find_spec('sqlalchemy') is None]\n"
    )
    (root / "jobs.d" / "w.yaml").write_text("on: manual\npython: code:say\ninterpreter: venv/bin/python\n")
    with EngineProcess(root) as engine:
        assert output_of(engine, "w") == ["foreign", True]


def test_eight_threads_printing_at_once_each_fill_their_own_log(root: Path) -> None:
    """stdout, stderr, logging and print of a thread land in its own attempt's log and nowhere else."""
    (root / "code.py").write_text(
        "import logging, sys, threading\n"
        "def shout(n):\n"
        "    for i in range(200):\n"
        "        print(f'out {n} {i}')\n"
        "        sys.stderr.write(f'err {n} {i}\\n')\n"
        "        logging.warning('log %s %s', n, i)\n"
    )
    (root / "jobs.d" / "w.yaml").write_text(
        "on: manual\npython: code:shout\npool: thread\neach: [0, 1, 2, 3, 4, 5, 6, 7]\narguments: {n: '{{ item }}'}\n"
    )
    with EngineProcess(root) as engine:
        run = engine.wait_run(engine.run("w"))
        assert run["state"] == "succeeded"
        for task in engine.tasks(str(run["id"])):
            text = engine.text(f"/v1/tasks/{task['id']}/log").decode()
            n = task["item"]
            assert [line for line in text.splitlines() if line.startswith("out")] == [
                f"out {n} {i}" for i in range(200)
            ]
            assert [line for line in text.splitlines() if line.startswith("err")] == [
                f"err {n} {i}" for i in range(200)
            ]
            assert text.count(f"log {n} ") == 200
            assert len(text.splitlines()) == 600
