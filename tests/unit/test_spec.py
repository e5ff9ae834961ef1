"""A job's environment is stated, not inherited, and the source stamp follows the sources."""

from __future__ import annotations

import os
import pwd
import sys
from pathlib import Path

import pytest

from engine.workers.spec import MAX_FILES, base_environment, build_environment, source_stamp

MARKS = {
    "attempt": "t5.1",
    "run": "r2",
    "task": "scan",
    "worker": "w-1-1",
    "instance": "cafe",
    "output": "/tmp/out",
    "scheduled": "2026-01-01T00:00:00Z",
}


def test_nothing_of_the_engine_leaks_into_a_job(monkeypatch: pytest.MonkeyPatch) -> None:
    """Secrets and coverage variables of the engine stay with the engine."""
    monkeypatch.setenv("SECRET", "x")
    monkeypatch.setenv("COVERAGE_PROCESS_CONFIG", "x")
    monkeypatch.delenv("TZ", raising=False)
    base = {name for name in build_environment({}, **MARKS) if not name.startswith("INTERLOCK_")}
    assert base == {"PATH", "HOME", "LANG", "USER"}


def test_a_time_zone_is_passed_when_there_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """TZ belongs to the stated base."""
    monkeypatch.setenv("TZ", "Europe/Zurich")
    assert base_environment()["TZ"] == "Europe/Zurich"


def test_an_account_without_a_name_gets_safe_defaults(monkeypatch: pytest.MonkeyPatch) -> None:
    """A container's anonymous user has neither home nor name."""
    for name in ("PATH", "HOME", "LANG", "USER"):
        monkeypatch.delenv(name, raising=False)
    assert base_environment()["USER"] == pwd.getpwuid(os.getuid()).pw_name

    def unknown(_: int) -> None:
        raise KeyError

    monkeypatch.setattr(pwd, "getpwuid", unknown)
    base = base_environment()
    assert (base["HOME"], base["USER"], base["LANG"]) == ("/", str(os.getuid()), "C.UTF-8")


def test_a_job_sees_its_parameters_and_cannot_forge_the_marks() -> None:
    """The marks are how survivors are found, so they win over the job's own environment."""
    parameters = {"size-max": 3, "on": True, "text": "ä b", "none": None, "list": [1, "x"]}
    found = build_environment(
        {"PATH": "/mine", "INTERLOCK_WORKER": "forged"}, **MARKS, parameters=parameters, file="/f", item={"a": 1}
    )
    assert found["PATH"] == "/mine"
    assert found["INTERLOCK_WORKER"] == "w-1-1"
    assert found["INTERLOCK_PARAM_SIZE_MAX"] == "3"
    assert found["INTERLOCK_PARAM_ON"] == "true"
    assert found["INTERLOCK_PARAM_TEXT"] == "ä b"
    assert found["INTERLOCK_PARAM_NONE"] == ""
    assert found["INTERLOCK_PARAM_LIST"] == '[1, "x"]'
    assert found["INTERLOCK_ITEM"] == '{"a": 1}'
    assert found["INTERLOCK_FILE"] == "/f"
    assert found["INTERLOCK_ATTEMPT"] == "t5.1"


def test_what_there_is_not_is_not_set() -> None:
    """No file and no item means no such variables."""
    assert not {"INTERLOCK_FILE", "INTERLOCK_ITEM"} & set(build_environment({}, **MARKS))


def test_the_stamp_changes_with_a_source_and_not_with_other_files(tmp_path: Path) -> None:
    """Only *.py files that a callable may import count."""
    library = tmp_path / "lib"
    deep = library / "a" / "b" / "c"
    hidden = library / ".venv"
    for folder in (deep, hidden, library / "__pycache__"):
        folder.mkdir(parents=True)
    (tmp_path / "main.py").write_text("1")
    stamp = lambda: source_stamp(sys.executable, str(tmp_path), ["lib", "missing"])  # noqa: E731
    first = stamp()
    for ignored in (tmp_path / "x.txt", deep / "far.py", hidden / "x.py", library / "__pycache__" / "x.py"):
        ignored.write_text("")
    (library / "broken.py").symlink_to(tmp_path / "nowhere")
    assert stamp() == first
    (library / "a" / "b" / "near.py").write_text("")
    second = stamp()
    assert second != first
    (tmp_path / "main.py").write_text("22")
    assert stamp() != second


def test_the_stamp_knows_interpreter_and_archives(tmp_path: Path) -> None:
    """Another interpreter or another zipped package is another environment."""
    archive = tmp_path / "lib.zip"
    archive.write_text("1")
    first = source_stamp("python", str(tmp_path), [str(archive)])
    assert source_stamp("python2", str(tmp_path), [str(archive)]) != first
    archive.write_text("22")
    assert source_stamp("python", str(tmp_path), [str(archive)]) != first


def test_the_stamp_is_bounded(tmp_path: Path) -> None:
    """A huge tree costs no more than the bound."""
    for number in range(MAX_FILES + 1):
        (tmp_path / f"m{number:05}.py").touch()
    first = source_stamp("p", str(tmp_path), [])
    (tmp_path / f"m{MAX_FILES:05}.py").write_text("changed")
    assert source_stamp("p", str(tmp_path), []) == first


def test_a_file_that_goes_between_listing_and_looking_is_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A stamp must not fail because an editor saves."""
    (tmp_path / "a.py").touch()
    original = Path.stat

    def gone(path: Path, **options: bool) -> os.stat_result:
        if path.name == "a.py":
            raise FileNotFoundError
        return original(path, **options)

    monkeypatch.setattr(Path, "stat", gone)
    assert source_stamp("p", str(tmp_path), [])
