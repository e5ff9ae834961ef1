"""Interlock's engine: runs job files durably, with or without a console attached."""

__version__ = "0.1.0"
