"""The kernel's state as it is shown to readers, and as it is built from what the store hands back."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from engine import __version__
from engine.kernel.queues import QueueManager
from engine.kernel.runs import restore
from engine.kernel.state import State
from engine.model.config import Config
from engine.model.stored import Recovered

if TYPE_CHECKING:
    from engine.runtime.loop import Runtime

Row = dict[str, Any]


def status_of(runtime: Runtime) -> Row:
    """What `interlock status` asks for; cheap, from counters kept."""
    stalled = runtime.recorder.stalled
    return {
        "pid": os.getpid(),
        "epoch": runtime.epoch,
        "root": str(runtime.root),
        "version": __version__,
        "state": runtime.stop.state,
        "revision": runtime.recorder.revision,
        "queues": {queue.name: _queue_row(queue) for queue in runtime.state.queues.values()},
        "workers": runtime.pool.workers(),
        "lending": runtime.state.slots.lending,
        "started_us": runtime.started_us,
        "problems": [*([stalled] if stalled else []), *runtime.alarms],
    }


def restored_state(config: Config, recovered: Recovered, switches: list[Row]) -> State:
    """The kernel's state as the rows say, with nothing decided yet."""
    state = State(config.slots)
    for row in switches:
        state.queues[row["queue"]].paused, state.queues[row["queue"]].draining = row["paused"], row["draining"]
    state.next_run, state.next_task = recovered.next_run, recovered.next_task
    state.next_attempt = recovered.next_attempt
    for run in recovered.runs:
        restore(state, run)
    return state


def _queue_row(queue: QueueManager) -> Row:
    counts = {state.value: n for state, n in queue.counts.items()}
    return {
        "slots": queue.slots,
        "running": counts.get("running", 0),
        "ready": counts.get("ready", 0),
        "waiting": counts.get("waiting", 0),
        "paused": queue.paused,
        "draining": queue.draining,
    }
