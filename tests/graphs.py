"""Graphs to run, as workflows and as job files, and checkers that read from the jobs' own traces what happened.

Every task appends `start NAME` and `end NAME` to one effects file (O_APPEND: whole lines, in true order), so the
checkers need not believe the engine. Tasks are named t0, t1, ... by their place in the graph.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

from engine.model import templates
from engine.model.workflow import Command, Job, Need, Workflow

GRAPHS = Path(__file__).parent / "data" / "graphs"
Checker = Callable[[], None]

# $0 is "NAME SECONDS", one string, so that an item of `each` can carry both; E, the effects file.
SCRIPT = 'set -- $0; printf "start %s\\n" $1 >>"$E"; [ $2 = 0 ] || sleep $2; printf "end %s\\n" $1 >>"$E"'

# The first task of a fan: $0 is the width; its output is the list of the others' "NAME SECONDS".
FIRST = (
    'printf "start first\\n" >>"$E"; '
    '{ i=0; c="["; while [ $i -lt $0 ]; do printf \'%s"m%d 0"\' "$c" $i; c=,; i=$((i+1)); done; echo ]; } '
    '>"$INTERLOCK_OUTPUT"; printf "end first\\n" >>"$E"'
)


def load(name: str) -> dict:
    """One of the stored graphs by the first word of its name: bwa, epigenomics or montage."""
    (path,) = GRAPHS.glob(f"{name}*.json")
    return json.loads(path.read_text(encoding="utf-8"))


def short_names(graph: dict) -> dict[str, str]:
    """The ids are up to 80 characters long, too long for a job file of 64 KiB."""
    return {task["id"]: f"t{number}" for number, task in enumerate(graph["tasks"])}


def parents(graph: dict) -> dict[str, list[str]]:
    """Each task's prerequisites, by short names."""
    names = short_names(graph)
    return {names[task["id"]]: [names[each] for each in task["parents"]] for task in graph["tasks"]}


def task(name: str, item: str, effects: Path, needs: tuple[str, ...] = (), each: str | None = None) -> Job:
    """A job that leaves its traces; `item` is what its script is told."""
    command = Command(("/bin/sh", "-c", SCRIPT, item))
    return Job(name, command, tuple(map(Need, needs)), each=each, env={"E": str(effects)})


def items(graph: dict, scale: float) -> dict[str, str]:
    """What each task's script is told: its name and how long to sleep."""
    names = short_names(graph)
    return {names[task["id"]]: f"{names[task['id']]} {_seconds(task['seconds'] * scale)}" for task in graph["tasks"]}


def _seconds(value: float) -> str:
    """As every sleep(1) reads it: no exponent; 0, which costs no process, for what is too short to matter."""
    return f"{value:.4f}".rstrip("0").rstrip(".")


def workflow(graph: dict, effects: Path, scale: float = 0.0) -> Workflow:
    """The graph exactly as it is: one job per task. Larger than a job file may be."""
    told = items(graph, scale)
    jobs = (task(name, told[name], effects, tuple(needed)) for name, needed in parents(graph).items())
    return Workflow("graph", tuple(jobs))


def check_order(graph: dict, effects: Path) -> None:
    """Every task started once, ended once, and started after all its parents had ended."""
    check(parents(graph), effects)


def check(needed: dict[str, list[str]], effects: Path) -> None:
    lines = effects.read_text(encoding="utf-8").splitlines()
    at = defaultdict(list)
    for number, line in enumerate(lines):
        at[line].append(number)
    wanted = {f"{word} {name}" for name in needed for word in ("start", "end")}
    assert set(at) == wanted, f"missing: {sorted(wanted - set(at))[:5]}, not expected: {sorted(set(at) - wanted)[:5]}"
    repeated = [line for line, numbers in at.items() if len(numbers) > 1]
    assert not repeated, f"more than once: {repeated[:5]}"
    for name, before in needed.items():
        assert at[f"start {name}"] < at[f"end {name}"], f"{name} ended before it started"
        early = [each for each in before if at[f"end {each}"] > at[f"start {name}"]]
        assert not early, f"{name} started before {early[:5]} ended"


def chain(length: int, effects: Path) -> tuple[Workflow, Checker]:
    """Tasks one after the other."""
    graph = chain_graph(length)
    return workflow(graph, effects), lambda: check_order(graph, effects)


def chain_graph(length: int) -> dict:
    return {"tasks": [{"id": f"t{n}", "parents": [f"t{n - 1}"] if n else [], "seconds": 0} for n in range(length)]}


def fan(width: int, effects: Path) -> tuple[Workflow, Checker]:
    """1 -> width -> 1: the first task's output is the list that the dynamic `each` of the second job expands."""
    names = [f"m{number}" for number in range(width)]
    first = Job("first", Command(("/bin/sh", "-c", FIRST, str(width))), env={"E": str(effects)})
    middle = task("middle", "{{ item }}", effects, ("first",), each="{{ needs.first.output }}")
    jobs = (first, middle, task("last", "last 0", effects, ("middle",)))
    needed = {"first": [], "last": names} | {name: ["first"] for name in names}
    return Workflow("fan", jobs), lambda: check(needed, effects)


def run_plainly(flow: Workflow, folder: Path) -> None:
    """Without an engine: the commands one after the other in the order of the jobs, which must suit the needs."""
    needs: dict[str, dict] = {}
    for job in flow.jobs:
        for item in [None] if job.each is None else templates.fill(job.each, {"needs": needs}):
            needs[job.name] = {"output": _run_one(job, item, folder / "output")}


def _run_one(job: Job, item: object, output: Path) -> object:
    assert isinstance(job.action, Command)
    argv = templates.fill(job.action.argv, {"item": item})
    subprocess.run(argv, env=os.environ | job.env | {"INTERLOCK_OUTPUT": str(output)}, check=True)
    if not output.exists():
        return None
    value = json.loads(output.read_text(encoding="utf-8"))
    output.unlink()
    return value
