"""Why a task does not run yet: the jobs or the run it waits for, the time of its next attempt, its queue."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator
from datetime import UTC, datetime

from engine.api.client import Client
from engine.api.client_errors import NotFoundError
from engine.api.wire import parse_id
from engine.cli.outcome import latest
from engine.cli.render import Row, tally, when


async def explain(client: Client, task: Row) -> list[str]:
    """What holds the task back, a line each; nothing for a task that runs or has ended."""
    if task["state"] == "ready":
        return [line async for line in _of_the_queue(client, str(task.get("queue")))]
    if task["state"] == "waiting":
        return [line async for line in _of_the_task(client, task)]
    return []


async def _of_the_task(client: Client, task: Row) -> AsyncIterator[str]:
    if task.get("reason") == "held_after_loss":
        yield "held: an attempt was lost and on_lost is hold; retry the task or kill it"
        return
    not_before = task.get("not_before")
    if not_before and datetime.fromisoformat(not_before) > datetime.now(UTC):
        yield f"waits until {when(not_before)}" + (" for its next attempt" if task.get("reason") == "retry" else "")
    if task.get("reason") == "retry":
        return
    run = await client.run(parse_id("run", task["run"]))
    edges = [edge for edge in run["edges"] if isinstance(edge, dict) and edge["job"] == task["job"]]
    tasks = latest([each async for each in client.run_tasks(parse_id("run", task["run"]))]) if edges else []
    for edge in edges:
        states = Counter(str(each["state"]) for each in tasks if each["job"] == edge["needed"])
        yield f"needs {edge['needed']} ({edge['condition']}), now {tally(states)}"
    for after in [] if edges else run.get("after") or []:
        yield await _of_a_run(client, int(after["needed"]), str(after["condition"]))


async def _of_a_run(client: Client, run: int, condition: str) -> str:
    try:
        state = (await client.run(run))["state"]
    except NotFoundError:
        state = "no longer on record"
    return f"waits for run r{run} ({condition}), now {state}"


async def _of_the_queue(client: Client, name: str) -> AsyncIterator[str]:
    status = await client.status()
    queues: dict[str, Row] = status["queues"]
    queue = queues.get(name, {})
    if status["state"] != "running":
        yield f"the engine is {status['state']}; the next engine starts it"
    for word in ("paused", "draining"):
        if queue.get(word):
            yield f"the {name} queue is {word}; to open it: interlock resume {name}"
    running, slots = (sum(int(each.get(key) or 0) for each in queues.values()) for key in ("running", "slots"))
    if running >= slots:
        yield f"all {slots} slots are taken; a running task must end"
    elif not status.get("lending", True) and int(queue.get("running") or 0) >= int(queue.get("slots") or 0):
        yield f"the {name} queue uses its {queue.get('slots')} slots and lending is off"
