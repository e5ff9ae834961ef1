"""Large and long workflows through the real engine, judged from what the jobs themselves wrote."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine.model.workflow import Workflow
from tests import graphs
from tests.graph_files import job_file_text
from tests.system.engine_process import EngineProcess

CONFIG = "[slots]\ndependent = 8\nindependent = 8\n"


def run_to_end(root: Path, flow: Workflow, seconds: float = 110.0) -> dict[str, int]:
    """Drops the workflow as a file; the ended run's tasks by state."""
    with EngineProcess(root, CONFIG) as engine:
        text = job_file_text(flow)
        aside = root / "aside"
        aside.write_text(text)
        aside.rename(engine.jobs / "flow.yaml")
        run = engine.wait_all(1, seconds)[0]
        assert run["state"] == "succeeded", run
        return dict(run["counts"])


@pytest.mark.slow
def test_a_fan_of_1998_starts_after_its_source_and_ends_before_the_last(root: Path) -> None:
    """2,000 tasks, each once, in the right order."""
    flow, check = graphs.fan(1998, root / "effects")
    assert run_to_end(root, flow)["succeeded"] == 2000
    check()


@pytest.mark.slow
def test_a_chain_of_300_runs_link_by_link(root: Path) -> None:
    """No link starts before the one before it has ended."""
    flow, check = graphs.chain(300, root / "effects")
    assert run_to_end(root, flow)["succeeded"] == 300
    check()


@pytest.mark.slow
@pytest.mark.parametrize("name", ["bwa", "epigenomics", "montage"])
def test_a_measured_workflow_runs_in_the_order_of_its_edges(name: str, root: Path) -> None:
    """The recorded graphs, times scaled down: every task once, after all its parents."""
    graph = graphs.load(name)
    scale = 20.0 / sum(task["seconds"] for task in graph["tasks"])
    assert run_to_end(root, graphs.workflow(graph, root / "effects", scale))["succeeded"] == len(graph["tasks"])
    graphs.check_order(graph, root / "effects")
