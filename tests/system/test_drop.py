"""Files dropped in a folder: each good one runs once, each bad one is explained, whatever editor saved it."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections import Counter
from pathlib import Path

import pytest

from tests.broken_files import BROKEN, FOLDER
from tests.system.engine_process import EngineProcess, lines, wait_for

GOOD = 180


def good_file(name: str, effects: Path) -> str:
    return f'command: [/bin/sh, -c, "echo {name} >> {effects}"]\n'


def save_like_vim(path: Path, text: str) -> None:
    (path.parent / "4913").write_text("")
    (path.parent / "4913").unlink()
    path.rename(path.with_name(path.name + "~"))
    path.write_text(text)
    path.with_name(path.name + "~").unlink()


def save_like_sed(path: Path, text: str) -> None:
    script = path.parent.parent / "whole.txt"
    script.write_text(text)
    subprocess.run(["sed", "-i", "-e", f"1r {script}", "-e", "1,$d", str(path)], check=True)


def truncate_and_write(path: Path, text: str) -> None:
    with path.open("w") as file:
        for character in text:
            file.write(character)
            file.flush()


def rename_over(path: Path, text: str) -> None:
    aside = path.parent.parent / f"aside-{path.name}"
    aside.write_text(text)
    aside.rename(path)


SAVES = (save_like_vim, save_like_sed, truncate_and_write, rename_over)


@pytest.mark.slow
def test_two_hundred_files_at_once_each_run_once_and_broken_ones_are_explained_and_run_when_repaired(
    engine: EngineProcess, tmp_path: Path
) -> None:
    """180 good files run once, 20 broken ones name their line; repaired they run once; a restart runs nothing."""
    effects, staging = tmp_path / "effects", tmp_path / "staging"
    staging.mkdir()
    for number in range(GOOD):
        (staging / f"good-{number:03}.yaml").write_text(good_file(f"good-{number:03}", effects))
    broken = BROKEN[:20]
    for name, _, _ in broken:
        shutil.copy(FOLDER / name, staging / name)
    subprocess.run(["cp", "-r", f"{staging}/.", str(engine.jobs)], check=True)
    engine.wait_all(GOOD)
    wait_for(lambda: len(broken_rows(engine)) == len(broken), "every broken file to be reported")
    for name, line, words in broken:
        problems = " ".join(broken_rows(engine)[f"jobs.d/{name}"])
        assert f"jobs.d/{name}:{line}" in problems, problems
        assert all(word in problems for word in words), problems
    assert Counter(lines(effects)) == Counter(f"good-{n:03}" for n in range(GOOD))

    for number, (name, _, _) in enumerate(broken):
        text = good_file(name, effects)
        if name.endswith(".toml"):
            text = f'command = ["/bin/sh", "-c", "echo {name} >> {effects}"]\n'
        SAVES[number % len(SAVES)](engine.jobs / name, text)
    engine.wait_all(GOOD + len(broken))
    expected = Counter([f"good-{n:03}" for n in range(GOOD)] + [name for name, _, _ in broken])
    assert Counter(lines(effects)) == expected

    engine.kill_9()
    engine.start()
    (engine.jobs / "last.yaml").write_text(good_file("last", effects))
    engine.wait_all(GOOD + len(broken) + 1)
    assert Counter(lines(effects)) == expected + Counter(["last"])


def broken_rows(engine: EngineProcess) -> dict[str, list[str]]:
    rows = engine.get("/v1/workflows")
    rows = rows if isinstance(rows, list) else rows["items"]
    return {row["path"]: row["problems"] for row in rows if row["state"] == "broken"}


def test_an_edit_runs_again_a_comment_does_not(engine: EngineProcess, tmp_path: Path) -> None:
    """The key of a drop is the definition's meaning."""
    effects, file = tmp_path / "effects", engine.jobs / "job.yaml"
    file.write_text(good_file("one", effects))
    engine.wait_all(1)
    file.write_text("# a comment\n" + good_file("one", effects))
    (engine.jobs / "other.yaml").write_text(good_file("other", effects))
    engine.wait_all(2)
    file.write_text(good_file("two", effects))
    engine.wait_all(3)
    assert Counter(lines(effects)) == Counter(["one", "other", "two"])


def test_hostile_files_harm_only_themselves(engine: EngineProcess, tmp_path: Path) -> None:
    """A FIFO, a link, a flood of brackets, wrong bytes and an alias bomb beside a good file that runs."""
    effects = tmp_path / "effects"
    os.mkfifo(engine.jobs / "fifo.yaml")
    (engine.jobs / "link.yaml").symlink_to("/etc/passwd")
    (engine.jobs / "brackets.yaml").write_text("[" * 30_000)
    (engine.jobs / "bytes.yaml").write_bytes(b"command: [\xff\xfe]\n")
    bomb = "a: &a [x,x]\n" + "".join(f"{c}: &{c} [*{p},*{p}]\n" for p, c in zip("abcdefgh", "bcdefghi", strict=True))
    (engine.jobs / "bomb.yaml").write_text(bomb)
    (engine.jobs / "good.yaml").write_text(good_file("good", effects))
    engine.wait_all(1)
    wait_for(lambda: len(broken_rows(engine)) == 5, "five files to be reported")
    assert lines(effects) == ["good"]


def test_running_work_keeps_the_definition_it_started_with(engine: EngineProcess, tmp_path: Path) -> None:
    """An edit under a running job changes the next run, not this one; removal lets it finish."""
    gate, effects, file = tmp_path / "gate", tmp_path / "effects", engine.jobs / "job.yaml"
    os.mkfifo(gate)
    file.write_text(f"jobs:\n  a: {{shell: 'cat {gate}'}}\n  b: {{shell: 'echo old >> {effects}', needs: [a]}}\n")
    wait_for(lambda: any(r["state"] == "running" for r in engine.runs()), "the first run to start")
    file.write_text(f"jobs:\n  b: {{shell: 'echo new >> {effects}'}}\n")
    wait_for(lambda: lines(effects) == ["new"], "the new definition to run")
    file.unlink()
    gate.write_text("go\n")
    engine.wait_all(2)
    assert lines(effects) == ["new", "old"]
