"""The worker host runs Python callables in runner children: outcomes, isolation, logs and kills."""

from __future__ import annotations

import itertools
import os
import signal
import sys
from pathlib import Path
from typing import Any

import pytest
from fake_engine import alive, call, until

from tests.pythons import interpreter

POOLS = ["process", "thread", "async"]
CODE = """
import asyncio, ctypes, json, logging, os, subprocess, sys, threading, time

def add(a, b):
    return a + b

async def later(a, b):
    await asyncio.sleep(0)
    return a + b

def boom():
    raise ValueError("no")

def odd():
    return object()

def leave():
    sys.exit(7)

def leave_saying():
    sys.exit("because")

def crash():
    print("before", flush=True)
    ctypes.string_at(0)

def who(context):
    context.progress(1, 2)
    return [context.item, context.params, context.needs, context.run, context.task, context.attempt, context.cancelled]

def chatter(name):
    def sub():
        for _ in range(200):
            print("sub", name)
    threads = [threading.Thread(target=sub) for _ in range(2)]
    for thread in threads: thread.start()
    log = logging.getLogger(name)
    handler = logging.StreamHandler()
    log.addHandler(handler)
    for _ in range(200):
        print("main", name)
        log.warning("log %s", name)
        sys.stderr.write("err " + name + "\\n")
    for thread in threads: thread.join()

async def achatter(name):
    for _ in range(50):
        print("async", name)
        await asyncio.sleep(0)

def pid():
    return os.getpid()

def wait(path):
    open(path, "w").write("x")
    while True:
        time.sleep(0.01)

def stubborn(path):
    open(path, "w").write("x")
    while True:
        try:
            while True:
                time.sleep(0.01)
        except BaseException:
            pass

async def await_(path):
    open(path, "w").write("x")
    await asyncio.sleep(1000)

def fifo(path):
    return open(path).read()

def child(path):
    process = subprocess.Popen(["sleep", "100"])
    open(path, "w").write(str(process.pid) + "\\n")

def surroundings():
    import engine, runner
    return [engine.WHO, runner.WHO, sys.path[0], sys.path[1], sys.argv, os.environ.get("INTERLOCK_ATTEMPT"),
            [p for p in sys.path if "_interlock" in p]]
"""


@pytest.fixture
def code(room: Any) -> Any:
    room.code(CODE)
    return room


@pytest.mark.parametrize("pool", POOLS)
@pytest.mark.parametrize("function", ["add", "later"])
def test_a_callable_returns_its_output_in_every_pool(code: Any, pool: str, function: str) -> None:
    """Plain and coroutine functions alike."""
    engine, _ = code.pair()
    ended = engine.run(1, pool=pool, call=call(function, arguments={"a": 1, "b": 2}))
    assert (ended["outcome"], ended["reason"], ended["output"]) == ("succeeded", "succeeded", 3)


@pytest.mark.parametrize("pool", POOLS)
@pytest.mark.parametrize(
    ("function", "reason", "code_", "words"),
    [
        ("boom", "exception", None, "ValueError: no ("),
        ("missing", "exception", None, "AttributeError"),
        ("odd", "bad_output", None, "not JSON (object)"),
        ("leave", "exit_code", 7, "exit code 7"),
        ("leave_saying", "exit_code", 1, "exit code 1"),
    ],
)
def test_a_callable_that_fails_says_how(
    code: Any, pool: str, function: str, reason: str, code_: int | None, words: str
) -> None:
    """The message is short and names the place; the traceback is in the log."""
    engine, worker = code.pair()
    ended = engine.run(1, pool=pool, call=call(function))
    assert (ended["outcome"], ended["reason"], ended["code"]) == ("failed", reason, code_)
    assert words in ended["message"]
    if function == "boom":
        assert ended["message"].endswith("jobs.py:12)")
        lines = worker.log(1, 2).decode().splitlines()
        assert lines[0].startswith("Traceback") and "jobs.py" in lines[1] and lines[-1] == "ValueError: no"


def test_a_module_that_is_not_there_is_an_exception(code: Any) -> None:
    """Named in the message."""
    engine, _ = code.pair()
    ended = engine.run(1, pool="process", call=call("f", module="nowhere"))
    assert ended["reason"] == "exception" and "No module named 'nowhere'" in ended["message"]


@pytest.mark.parametrize("pool", POOLS)
def test_a_callable_that_crashes_the_interpreter_is_known_to_have_done_so(code: Any, pool: str) -> None:
    """SIGSEGV is signal 11, not lost; the next call finds a new runner."""
    engine, worker = code.pair()
    ended = engine.run(1, pool=pool, call=call("crash"))
    assert (ended["outcome"], ended["reason"], ended["signal"]) == ("failed", "signal", 11)
    assert worker.log(1, 1) == b"before\n"
    assert engine.run(2, pool=pool, call=call("add", arguments=[1, 2]))["output"] == 3


def test_an_interpreter_that_is_not_there_is_an_exec_failure(code: Any) -> None:
    """As for a command."""
    engine, _ = code.pair()
    ended = engine.run(1, pool="process", call=call("add", interpreter="/no/python"))
    assert ended["reason"] == "exec" and "ENOENT" in ended["message"]


@pytest.mark.parametrize("pool", POOLS)
def test_a_callable_gets_its_context_if_it_asks_for_it(code: Any, pool: str) -> None:
    """And its progress arrives."""
    engine, _ = code.pair()
    context = {"item": 5, "params": {"p": 1}, "needs": {"x": 2}, "run": "r", "task": "t", "attempt": 3}
    ended = engine.run(1, pool=pool, call=call("who"), context=context)
    assert ended["output"] == [5, {"p": 1}, {"x": 2}, "r", "t", 3, False]
    assert engine.wait("progress", 1)["done"] == 1


def test_user_modules_named_like_ours_are_the_users(code: Any) -> None:
    """`engine` and `runner`, and sys.path begins with pythonpath and cwd."""
    code.code("WHO = 'user engine'", "engine")
    (code.folder / "lib").mkdir()
    (code.folder / "lib" / "runner.py").write_text("WHO = 'user runner'")
    engine, _ = code.pair()
    ended = engine.run(1, pool="process", call=call("surroundings", pythonpath=[str(code.folder / "lib")]))
    who = ["user engine", "user runner", str(code.folder / "lib"), str(code.folder), ["jobs"], "t1.1", []]
    assert ended["output"] == who, ended["message"]


def test_prints_of_eight_threads_land_in_their_own_logs(code: Any) -> None:
    """print, logging, stderr and the threads a callable starts, whole lines each."""
    engine, worker = code.pair(slots=8)
    for number in range(1, 9):
        engine.start(number, pool="thread", call=call("chatter", arguments={"name": f"n{number}"}))
    for number in range(1, 9):
        assert engine.wait("exit", number)["outcome"] == "succeeded"
        out, err = worker.log(number, 1).decode().splitlines(), worker.log(number, 2).decode().splitlines()
        assert sorted(out) == sorted([f"sub n{number}"] * 400 + [f"main n{number}"] * 200)
        assert sorted(err) == sorted([f"log n{number}"] * 200 + [f"err n{number}"] * 200)


def test_prints_of_coroutines_on_one_loop_land_in_their_own_logs(code: Any) -> None:
    """One thread, many attempts."""
    engine, worker = code.pair(slots=8)
    for number in range(1, 9):
        engine.start(number, pool="async", call=call("achatter", arguments={"name": f"n{number}"}))
    for number in range(1, 9):
        engine.wait("exit", number)
        assert worker.log(number) == f"async n{number}\n".encode() * 50


@pytest.mark.parametrize("pool", POOLS)
def test_a_runner_is_used_again_until_the_source_changes(code: Any, pool: str) -> None:
    """Another stamp is another process, with the new code."""
    engine, _ = code.pair()
    first, second = (engine.run(n, pool=pool, call=call("pid"))["output"] for n in (1, 2))
    assert first == second
    code.code("def pid():\n    return 'edited'\n")
    assert engine.run(3, pool=pool, call=call("pid", stamp="2"))["output"] == "edited"
    until(lambda: not alive(first))


@pytest.mark.parametrize(("pool", "function"), [("process", "wait"), ("thread", "wait"), ("async", "await_")])
def test_a_killed_callable_ends_as_killed(code: Any, pool: str, function: str) -> None:
    """A process by signal, a thread by exception, a coroutine by cancellation."""
    engine, _ = code.pair()
    flag = code.folder / "flag"
    engine.start(1, pool=pool, call=call(function, arguments={"path": str(flag)}))
    until(flag.exists)
    engine.send({"t": "kill", "a": 1, "grace": 1, "why": "killed"})
    assert engine.wait("exit", 1)["outcome"] == "killed"
    assert engine.run(2, pool=pool, call=call("add", arguments=[1, 2]))["output"] == 3


def test_a_thread_that_cannot_be_ended_waits_for_its_neighbours_and_dies_with_the_runner(code: Any) -> None:
    """Nothing new goes to that runner; the neighbour finishes unharmed."""
    os.mkfifo(code.folder / "fifo")
    engine, _ = code.pair()
    flag = code.folder / "flag"
    engine.start(1, pool="thread", call=call("stubborn", arguments=[str(flag)]))
    engine.start(2, pool="thread", call=call("fifo", arguments=[str(code.folder / "fifo")]))
    old = engine.wait("started", 1)["pid"]
    until(flag.exists)
    engine.send({"t": "kill", "a": 1, "grace": 0.2, "why": "killed"})
    numbers = itertools.count(3)
    until(lambda: engine.run(next(numbers), pool="thread", call=call("pid"))["output"] != old)
    (code.folder / "fifo").write_text("done")
    assert engine.wait("exit", 2)["output"] == "done"
    assert engine.wait("exit", 1)["outcome"] == "killed"
    until(lambda: not alive(old))


def test_children_of_a_process_callable_are_ended_with_its_attempt(code: Any) -> None:
    """The runner itself stays."""
    engine, _ = code.pair()
    path = code.folder / "child"
    assert engine.run(1, pool="process", call=call("child", arguments=[str(path)]))["outcome"] == "succeeded"
    assert not alive(int(path.read_text()))


def test_runners_end_when_the_worker_is_killed(code: Any) -> None:
    """Idle or busy: nobody is left to take their answer."""
    engine, worker = code.pair()
    idle = engine.run(1, pool="thread", call=call("pid"))["output"]
    engine.start(2, pool="process", call=call("wait", arguments=[str(code.folder / "flag")]))
    busy = engine.wait("started", 2)["pid"]
    until((code.folder / "flag").exists)
    worker.process.send_signal(signal.SIGKILL)
    until(lambda: not alive(idle) and not alive(busy))


@pytest.mark.parametrize("version", ["3.8", "3.9", "3.10", "3.12", "3.13"])
def test_callables_run_under_other_pythons(code: Any, version: str) -> None:
    """All three pools, from 3.8 on."""
    python = interpreter(version)
    if python is None:
        pytest.skip(f"python{version} is not installed")
    code.code("import sys\ndef version():\n    print('here')\n    return '%d.%d' % sys.version_info[:2]\n", "which")
    engine, worker = code.pair()
    for number, pool in enumerate(POOLS):
        ended = engine.run(number, pool=pool, call=call("version", module="which", interpreter=python))
        assert ended["output"] == version, (pool, ended["message"], worker.log(number))
        assert worker.log(number) == b"here\n"


def test_a_virtual_environments_packages_are_found(code: Any) -> None:
    """The interpreter of a venv is started as its user would start it."""
    code.code("import sys\ndef prefix():\n    return sys.prefix != sys.base_prefix\n", "venvs")
    if sys.prefix == sys.base_prefix:
        pytest.skip("the tests do not run in a virtual environment")
    engine, _ = code.pair()
    python = str(Path(sys.prefix) / "bin" / "python")
    assert engine.run(1, pool="process", call=call("prefix", module="venvs", interpreter=python))["output"] is True
