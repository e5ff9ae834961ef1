"""Turns a decided start into what its worker needs: whole environment, absolute paths, the source's stamp."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import Any

from engine.kernel.decisions import Start
from engine.model.lifecycle import Outcome, Reason
from engine.model.reports import Ended
from engine.workers.spec import build_environment, source_stamp


def spec_or_fault(
    start: Start, root: Path, state: Path, instance: str, grace_seconds: float
) -> dict[str, Any] | Exception:
    """The spec, or why none can be made: one that fails must not take the others of its turn with it."""
    try:
        return build_spec(start, root, state, instance, grace_seconds)
    except Exception as fault:  # the loop decides what becomes of the attempt
        return fault


def not_buildable(start: Start, fault: Exception, now_us: int) -> Ended:
    """The end of an attempt that no worker could be told about."""
    return Ended(start.attempt, Outcome.FAILED, Reason.EXEC.value, now_us, message=f"cannot be started: {fault}")


def build_spec(start: Start, root: Path, state: Path, instance: str, grace_seconds: float) -> dict[str, Any]:
    """The protocol's SPEC. Reads the source tree for the stamp, so call it off the loop."""
    cwd = str(root / (start.cwd or "."))  # not resolved: what is wrong with it, the attempt's own log must say
    name = f"t{start.task}.{start.number}"
    output = state / "run" / f"{name}.json"
    return {
        "attempt": start.attempt,
        "name": name,
        "pool": start.pool.value,
        "argv": list(start.argv),
        "call": _call(start, root, cwd),
        "cwd": cwd,
        "env": build_environment(
            start.env,
            attempt=name,
            run=f"r{start.run}",
            task=f"t{start.task}",
            worker=start.worker,
            instance=instance,
            output=str(output),
            scheduled=str(start.context["scheduled"] or ""),
            parameters=start.context["params"],
            file=start.context["file"],
            item=start.context["item"],
        ),
        "context": {key: value for key, value in start.context.items() if key != "file"},
        "timeout": start.timeout_seconds,
        "stall": start.stall_seconds,
        "grace": grace_seconds if start.grace_seconds is None else start.grace_seconds,
        "output_path": str(output),
    }


def _call(start: Start, root: Path, cwd: str) -> dict[str, Any] | None:
    if start.call is None:
        return None
    interpreter = _interpreter(start.call["interpreter"], root)
    pythonpath = [str(root / entry) for entry in start.call["pythonpath"]]
    return {
        **start.call,
        "interpreter": interpreter,
        "pythonpath": pythonpath,
        "stamp": source_stamp(interpreter, cwd, pythonpath),
    }


def _interpreter(named: str | None, root: Path) -> str:
    """The engine's own Python, a program on PATH, or a path relative to the root (never resolved: the link of a
    virtual environment is what makes it one)."""
    if named is None:
        return sys.executable
    if "/" not in named:
        return shutil.which(named) or named
    return str(root / named)
