"""Callables for python-pools.yaml and interpreter.yaml: plain functions; only those that want it take `context`."""

from __future__ import annotations

import asyncio
import platform
import sys
from pathlib import Path


def primes(context, below: int) -> int:
    """How many primes there are below a number: work for a processor, so it belongs in `pool: process`."""
    sieve = bytearray([1]) * below
    sieve[:2] = b"\0\0"
    for number in range(2, int(below**0.5) + 1):
        if sieve[number]:
            sieve[number * number :: number] = bytes(len(range(number * number, below, number)))
        context.progress(number, int(below**0.5))
    print(f"{sum(sieve)} primes below {below}")
    return sum(sieve)


def words(path: str) -> dict:
    """Words of a file: it waits for a disk, so `pool: thread` is enough. A missing file has none."""
    try:
        count = len(Path(path).read_text(encoding="utf-8", errors="replace").split())
    except OSError:
        count = 0
    return {"path": path, "words": count}


async def naps(context, count: int, seconds: float) -> float:
    """Several waits side by side: what `pool: async` is for."""
    for done in range(count):
        await asyncio.gather(*(asyncio.sleep(seconds) for _ in range(10)))
        context.progress(done + 1, count)
    return count * seconds


def sum_up(primes: int, words: list, naps: float) -> str:
    """Shows how outputs arrive: a number, a list in item order, a number."""
    text = f"{primes} primes, {sum(entry['words'] for entry in words)} words, {naps} s asleep"
    print(text)
    return text


def python_version() -> dict:
    """Which Python ran this; every line must suit the oldest interpreter a job may name (3.8)."""
    print(sys.executable)
    return {"executable": sys.executable, "version": platform.python_version()}
