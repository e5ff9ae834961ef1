"""Refusals that more than one room has to know by type."""

from __future__ import annotations


class EngineBusyError(RuntimeError):
    """The engine has stopped deciding for now (its database is busy or full); the same request may be sent again."""
