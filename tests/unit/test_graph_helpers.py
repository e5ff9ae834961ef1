"""The helpers that other tests trust: run what they build in the plainest way and see that the checkers notice lies."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from tests import graph_files, graphs


def test_a_chain_and_a_fan_leave_the_traces_their_checkers_expect(tmp_path: Path) -> None:
    for build, size in ((graphs.chain, 5), (graphs.fan, 7)):
        effects = tmp_path / build.__name__
        flow, check = build(size, effects)
        graphs.run_plainly(flow, tmp_path)
        check()


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        ("start t0 end t0 start t1", "missing"),
        ("start t1 end t1 start t0 end t0", "before"),
        ("start t0 end t0 start t1 end t1 start t1", "more than once"),
        ("start t0 start t1 end t0 end t1", "before"),
        ("start t0 end t0 start t1 end t1 start t2 end t2", "not expected"),
    ],
)
def test_a_checker_notices(tmp_path: Path, lines: str, words: str) -> None:
    effects = tmp_path / "effects"
    parts = lines.split()
    effects.write_text("".join(f"{word} {name}\n" for word, name in zip(parts[::2], parts[1::2], strict=True)))
    with pytest.raises(AssertionError, match=words):
        graphs.check_order(graphs.chain_graph(2), effects)


@pytest.mark.parametrize("name", ["bwa", "epigenomics", "montage"])
def test_a_graph_fits_in_a_job_file(tmp_path: Path, name: str) -> None:
    graph = graphs.load(name)
    text = graph_files.job_file(graph, tmp_path / "effects", 0.001)
    fits(text, tmp_path)
    jobs = yaml.safe_load(text)["jobs"]
    assert sum(len(job["each"]) for job in jobs.values()) == len(graph["tasks"])
    assert len(graphs.workflow(graph, tmp_path / "effects").jobs) == len(graph["tasks"])


def test_a_long_chain_and_a_wide_fan_fit_in_a_job_file(tmp_path: Path) -> None:
    for flow, _ in (graphs.chain(300, tmp_path / "effects"), graphs.fan(1998, tmp_path / "effects")):
        fits(graph_files.job_file_text(flow), tmp_path)


def fits(text: str, folder: Path) -> None:
    """Below the limits of a job file, and accepted by the loader."""
    events = sum(1 for _ in yaml.parse(text, yaml.SafeLoader))
    print(f"{len(text.encode())} bytes, {events} events")
    assert len(text.encode()) <= 64 * 1024
    assert events <= 5_000
