"""Every sample in jobs.d is a good job file; every broken file names the line that is to be mended."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine.jobfiles.load import load_file
from tests import graph_files, graphs
from tests.broken_files import BROKEN, FOLDER

JOBS = Path(__file__).resolve().parents[2] / "jobs.d"
SAMPLES = sorted(path for path in JOBS.iterdir() if path.suffix in (".yaml", ".toml"))
ON_DROP = "fan-out hello interpreter licence-scan parameters pipeline progress python-pools shell-report static-each"


@pytest.mark.parametrize("path", SAMPLES, ids=lambda path: path.name)
def test_a_sample_loads_and_says_what_it_is_for(path: Path) -> None:
    loaded = load_file(path)
    assert not loaded.problems
    assert loaded.workflow is not None
    assert loaded.workflow.name == path.stem
    assert loaded.workflow.description


def test_only_quick_samples_run_when_dropped() -> None:
    loaded = [load_file(path).workflow for path in SAMPLES]
    assert [flow.name for flow in loaded if flow and not flow.manual] == ON_DROP.split()


@pytest.mark.parametrize(("name", "line", "words"), BROKEN, ids=[name for name, _, _ in BROKEN])
def test_a_broken_file_names_its_line(name: str, line: int, words: tuple[str, ...]) -> None:
    loaded = load_file(FOLDER / name)
    assert loaded.workflow is None
    there = [str(problem) for problem in loaded.problems if problem.line == line]
    assert any(all(word in text for word in words) for text in there), loaded.problems


def test_every_broken_file_is_in_the_table() -> None:
    assert {path.name for path in FOLDER.iterdir()} == {name for name, _, _ in BROKEN}


@pytest.mark.parametrize("name", ["bwa", "epigenomics", "montage"])
def test_a_graph_is_accepted_as_a_job_file(tmp_path: Path, name: str) -> None:
    path = tmp_path / f"{name}.yaml"
    path.write_text(graph_files.job_file(graphs.load(name), tmp_path / "effects", 0.001))
    assert not load_file(path).problems


@pytest.mark.parametrize(("build", "size"), [(graphs.chain, 300), (graphs.fan, 1998)])
def test_a_chain_and_a_fan_are_accepted_as_job_files(tmp_path: Path, build, size: int) -> None:
    flow, _ = build(size, tmp_path / "effects")
    path = tmp_path / "made.yaml"
    path.write_text(graph_files.job_file_text(flow))
    loaded = load_file(path)
    assert not loaded.problems
    assert loaded.workflow is not None
    assert [job.name for job in loaded.workflow.jobs] == [job.name for job in flow.jobs]
    assert [job.needs for job in loaded.workflow.jobs] == [job.needs for job in flow.jobs]


def test_a_made_job_file_does_what_the_workflow_does(tmp_path: Path) -> None:
    for build, size in ((graphs.chain, 5), (graphs.fan, 7)):
        flow, check = build(size, tmp_path / build.__name__)
        path = tmp_path / "made.yaml"
        path.write_text(graph_files.job_file_text(flow))
        loaded = load_file(path).workflow
        assert loaded is not None
        graphs.run_plainly(loaded, tmp_path)
        check()
