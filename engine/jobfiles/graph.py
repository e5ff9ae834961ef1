"""Checks how jobs need each other: missing ones, themselves, and circles. Works on plain data, without recursion."""

from __future__ import annotations

from typing import Any

from engine.jobfiles.document import Document, KeyPath
from engine.jobfiles.errors import listing, show, suggestion

_SUGGESTED = 20  # misspelt needs of one file that get a suggestion; comparing words costs time

Graph = dict[str, dict[str, KeyPath]]  # job -> needed job -> where it says so


def needs_of(table: dict[str, Any], path: KeyPath) -> dict[str, KeyPath]:
    """The names a job needs, each with its place; whatever is no name is left to the schema."""
    needs = table.get("needs")
    if isinstance(needs, dict):
        return {name: (*path, "needs", name) for name in needs}
    if isinstance(needs, list):
        return {name: (*path, "needs", index) for index, name in enumerate(needs) if isinstance(name, str)}
    return {}


def check_graph(document: Document) -> None:
    """Report needs that name no job, the job itself, or close a circle."""
    jobs = document.data.get("jobs")
    if not isinstance(jobs, dict):
        return
    graph = {name: needs_of(table, ("jobs", name)) if isinstance(table, dict) else {} for name, table in jobs.items()}
    _check_names(document, graph)
    for circle in circles(graph):
        place = graph[circle[0]][circle[1]]
        document.report(place, f"jobs need each other in a circle: {' -> '.join(circle)}")


def _check_names(document: Document, graph: Graph) -> None:
    suggested = 0
    for job, needs in graph.items():
        for name, place in needs.items():
            if name == job:
                document.report(place, f"the job {job} needs itself")
            elif name not in graph:
                near = suggestion(name, graph) if suggested < _SUGGESTED else ""
                suggested += 1
                document.report(place, f"found {show(name)}{near or ';'} the jobs are {listing(graph)}")


def circles(graph: Graph) -> list[tuple[str, ...]]:
    """Circles of at least two jobs, no job in two of them, each written a -> b -> a."""
    found: list[tuple[str, ...]] = []
    seen: set[str] = set()
    taken: set[str] = set()
    for start in graph:
        if start not in seen:
            for circle in _circles_from(start, graph, seen):
                if taken.isdisjoint(circle):
                    taken.update(circle)
                    found.append(circle)
    return found


def _circles_from(start: str, graph: Graph, seen: set[str]) -> list[tuple[str, ...]]:
    """Each step back onto the path of one depth-first walk."""
    found: list[tuple[str, ...]] = []
    trail = {start: iter(graph[start])}
    seen.add(start)
    while trail:
        job = next(reversed(trail))
        need = next(trail[job], None)
        if need is None:
            trail.popitem()
        elif need in trail and need != job:
            walk = list(trail)
            found.append((*walk[walk.index(need) :], need))
        elif need in graph and need not in seen:
            seen.add(need)
            trail[need] = iter(graph[need])
    return found
