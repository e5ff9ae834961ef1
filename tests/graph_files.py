"""The graphs of tests/graphs.py as text of job files, below the limits of 64 KiB and 5,000 YAML events."""

from __future__ import annotations

import json
from collections import defaultdict
from pathlib import Path

from engine.model.workflow import Command, Job, Workflow
from tests import graphs

SHORT = 'eval "$S"'
MOST_GROUPS = 400  # beyond that the exact spelling has too many YAML events


def job_file_text(flow: Workflow) -> str:
    """A workflow made by tests.graphs as YAML in flow style: for chain(300) and fan(1998). One line per job; the
    script stands once, in an environment variable, and each job evaluates it."""
    effects = flow.jobs[0].env["E"]
    return _file(flow.name, effects, [f"  {job.name}: {_flow(job)}" for job in flow.jobs])


def _file(name: str, effects: str, jobs: list[str]) -> str:
    env = json.dumps({"E": effects, "S": graphs.SCRIPT})
    return "\n".join([f"name: {name}", f"defaults: {{env: {env}}}", "jobs:", *jobs, ""])


def _flow(job: Job) -> str:
    """JSON is YAML, too."""
    assert isinstance(job.action, Command)
    keys: dict[str, object] = {"command": [SHORT if each == graphs.SCRIPT else each for each in job.action.argv]}
    if job.needs:
        keys["needs"] = [need.job for need in job.needs]
    if job.each is not None:
        keys["each"] = job.each
    return json.dumps(keys)


def job_file(graph: dict, effects: Path, scale: float = 0.0) -> str:
    """YAML with one job per group of tasks and a static `each`. Groups are twins (same parents, same children), so
    that the meaning is exact, or, if there are too many of these, levels: stricter than the graph, never laxer, so
    check_order holds for both."""
    needed = graphs.parents(graph)
    groups = twins(needed)
    if len(groups) > MOST_GROUPS:
        groups = levels(needed)
    told = graphs.items(graph, scale)
    group_of = {name: group for group, names in groups.items() for name in names}
    lines = []
    for group, names in groups.items():
        before = sorted({group_of[each] for name in names for each in needed[name]})
        command = json.dumps(["/bin/sh", "-c", SHORT, "{{ item }}"])
        each = ", ".join(told[name] for name in names)
        lines.append(f"  {group}:\n    needs: [{', '.join(before)}]\n    command: {command}\n    each: [{each}]")
    return _file("graph", str(effects), lines)


def twins(needed: dict[str, list[str]]) -> dict[str, list[str]]:
    """Tasks that nothing but their names tells apart."""
    children = defaultdict(set)
    for name, before in needed.items():
        for each in before:
            children[each].add(name)
    groups = defaultdict(list)
    for name, before in needed.items():
        groups[frozenset(before), frozenset(children[name])].append(name)
    return {f"g{number}": names for number, names in enumerate(groups.values())}


def levels(needed: dict[str, list[str]]) -> dict[str, list[str]]:
    """Tasks by the length of the longest path that leads to them; every level needs those of its parents."""
    depth: dict[str, int] = {}
    left = dict(needed)
    while left:
        now = [name for name, before in left.items() if all(each in depth for each in before)]
        assert now, "the graph has a cycle"
        depth |= {name: 1 + max((depth[each] for each in needed[name]), default=-1) for name in now}
        left = {name: before for name, before in left.items() if name not in depth}
    groups = defaultdict(list)
    for name, level in sorted(depth.items(), key=lambda each: each[1]):
        groups[f"level{level}"].append(name)
    return dict(groups)
