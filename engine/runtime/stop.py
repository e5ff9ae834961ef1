"""How the engine is being stopped, and when that is over. Times are monotonic seconds, passed in."""

from __future__ import annotations

MODES = ("detach", "drain", "now")  # from the softest on; a harder one may follow, never a softer one


PATIENCE_SECONDS = 5.0


class Stop:
    """`mode` is empty while nobody has asked. What was killed and still has not ended after the kill's grace and
    `PATIENCE_SECONDS` (a worker that hangs) is left, on record as running, to the next engine."""

    def __init__(self, drain_seconds: float, kill_seconds: float) -> None:
        self.mode = ""
        self._drain_seconds, self._kill_seconds = drain_seconds, kill_seconds
        self._deadline = 0.0
        self._killed = False

    @property
    def state(self) -> str:
        return {"": "running", "drain": "draining"}.get(self.mode, "stopping")

    def begin(self, mode: str, now: float) -> bool:
        """False if a stop at least as hard is under way."""
        if self.mode and MODES.index(mode) <= MODES.index(self.mode):
            return False
        self.mode = mode
        self._deadline = now + (self._drain_seconds if mode == "drain" else 0.0)
        return True

    def is_overdue(self, now: float) -> bool:
        """Whether what still runs is to be killed: true once."""
        if self.mode not in ("drain", "now") or self._killed or now < self._deadline:
            return False
        self._killed = True
        self._deadline = now + self._kill_seconds + PATIENCE_SECONDS
        return True

    def is_complete(self, running: int, now: float) -> bool:
        if not self.mode:
            return False
        return self.mode == "detach" or running == 0 or (self._killed and now >= self._deadline)
