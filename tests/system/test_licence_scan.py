"""The real pipeline of jobs.d/: right totals, also when the engine or a worker is killed in the middle."""

from __future__ import annotations

import importlib.metadata
import json
import shutil
from collections import Counter
from pathlib import Path

import psutil
import pytest

from tests.system.engine_process import EngineProcess, lines, wait_for

SAMPLES = Path(__file__).parents[2] / "jobs.d"
PARTS = 8


@pytest.fixture
def scan_root(root: Path) -> Path:
    shutil.copytree(SAMPLES / "lib", root / "jobs.d" / "lib")
    text = (SAMPLES / "licence-scan.yaml").read_text()
    (root / "jobs.d" / "licence-scan.yaml").write_text(text + "\non: manual\n")
    return root


def distributions() -> dict[str, str]:
    """An independent count: what importlib.metadata finds in this environment."""
    return {d.metadata["Name"].lower().replace("_", "-"): d.version for d in importlib.metadata.distributions()}


def check_report(root: Path) -> None:
    report = json.loads((root / ".interlock/licence-report/report.spdx.json").read_text())
    found = {p["name"].lower().replace("_", "-"): p["versionInfo"] for p in report["packages"]}
    assert found == distributions()
    assert (root / ".interlock/licence-report/report.md").stat().st_size > 1000


def running(engine: EngineProcess, run: str) -> list[str]:
    """The tasks whose attempt a worker has reported as started and that have not ended."""
    ids = [task["id"] for task in engine.tasks(run) if task["state"] == "running"]
    return [id for id in ids if engine.get(f"/v1/tasks/{id}")["history"][-1]["started"]]


def effects(root: Path) -> list[str]:
    return lines(root / ".interlock/licence-report/effects.log")


def test_its_totals_equal_an_independent_count(scan_root: Path) -> None:
    """Every installed distribution is in the report, once, and every task ran once."""
    with EngineProcess(scan_root) as engine:
        run = engine.wait_run(engine.run("licence-scan"))
        assert run["state"] == "succeeded"
        report = next(task for task in engine.tasks(str(run["id"])) if task["job"] == "report")
        output = engine.get(f"/v1/tasks/{report['id']}")["output"]
    check_report(scan_root)
    assert output["distributions"] == len(distributions())
    assert output["files"] == sum(len(d.files or ()) for d in importlib.metadata.distributions())
    assert len(effects(scan_root)) == len(set(effects(scan_root))) == 2 + 2 * PARTS


@pytest.mark.slow
def test_kill_9_of_the_engine_in_the_middle_loses_and_repeats_nothing(scan_root: Path) -> None:
    """Running attempts are adopted by the next engine; no task runs twice, counted from what the tasks wrote."""
    with EngineProcess(scan_root) as engine:
        run = engine.run("licence-scan")
        wait_for(lambda: len(effects(scan_root)) >= 2, "the scan to be under way")
        alive = running(engine, run)
        engine.kill_9()
        engine.start()
        assert engine.wait_run(run)["state"] == "succeeded"
        tries = {task["id"]: task["attempts"] for task in engine.tasks(run)}
    assert alive, "nothing ran when the engine was killed: the test proved nothing"
    assert [tries[id] for id in alive] == [1] * len(alive), "a running attempt was not adopted"
    check_report(scan_root)
    tasks = Counter(line.split(".")[0] for line in effects(scan_root))
    assert len(tasks) == 2 + 2 * PARTS
    assert set(tasks.values()) == {1}


@pytest.mark.slow
def test_kill_9_of_a_worker_is_retried_by_the_jobs_rule(scan_root: Path) -> None:
    """on_lost: retry starts what was lost again; each attempt still runs at most once and the report is right."""
    with EngineProcess(scan_root) as engine:
        run = engine.run("licence-scan")
        wait_for(lambda: len(effects(scan_root)) >= 2, "the scan to be under way")
        victim = next(w for w in engine.get("/v1/status")["workers"] if w.get("pid"))
        alive = running(engine, run)
        psutil.Process(victim["pid"]).send_signal(9)
        assert engine.wait_run(run)["state"] == "succeeded"
        outcomes = Counter(
            row["outcome"] for t in engine.tasks(run) for row in engine.get(f"/v1/tasks/{t['id']}")["history"]
        )
    check_report(scan_root)
    assert alive, "nothing ran when the worker was killed: the test proved nothing"
    assert outcomes["lost"] >= 1
    assert outcomes["succeeded"] == 2 + 2 * PARTS
    assert len(effects(scan_root)) == len(set(effects(scan_root))), "an attempt ran twice"
