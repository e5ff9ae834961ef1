"""The loop: receive, decide, record, act. One asyncio loop owns the state; nothing slow runs in it."""

from engine.runtime.loop import Runtime

__all__ = ["Runtime"]
