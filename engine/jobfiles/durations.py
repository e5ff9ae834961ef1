"""Durations and sizes as files write them: a number with its unit, never a bare number."""

from __future__ import annotations

import re

DURATION = "a duration with its unit, such as 250ms, 30s, 10m, 2h, 1d or 1h30m"
SIZE = "a size with its unit, such as 500B, 64KiB, 10MB or 2GiB"
LONGEST_SECONDS = 36_500 * 86_400.0

_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}
_SIZES = {"B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}
_SIZES |= {"KiB": 2**10, "MiB": 2**20, "GiB": 2**30, "TiB": 2**40}
_NUMBER = r"[0-9]{1,12}(?:\.[0-9]{1,6})?"
_PART = re.compile(rf"({_NUMBER})(ms|s|m|h|d)")
DURATION_PATTERN = rf"^({_NUMBER}(ms|s|m|h|d))+$"
SIZE_PATTERN = rf"^{_NUMBER} ?({'|'.join(_SIZES)})$"
_SIZE = re.compile(rf"({_NUMBER}) ?({'|'.join(_SIZES)})\Z")


def seconds(value: object, *, zero: bool = False) -> float:
    """The seconds a duration means. Raises ValueError with what would be allowed."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        raise ValueError(f"{DURATION}; a bare number has no unit")
    if not isinstance(value, str) or not re.match(DURATION_PATTERN, value):
        raise ValueError(DURATION)
    found = [part.groups() for part in _PART.finditer(value)]
    units = [unit for _, unit in found]
    if units != sorted(set(units), key=lambda unit: -_UNITS[unit]):
        raise ValueError(f"{DURATION}; larger units first, each once")
    total = sum(float(number) * _UNITS[unit] for number, unit in found)
    if total > LONGEST_SECONDS or (total == 0 and not zero):
        raise ValueError(f"{DURATION}; {'more than 0s' if total == 0 else 'at most 36500d'}")
    return total


def size_bytes(value: object) -> int:
    """The bytes a size means. Raises ValueError with what would be allowed."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        raise ValueError(f"{SIZE}; a bare number has no unit")
    found = _SIZE.match(value) if isinstance(value, str) else None
    if not found:
        raise ValueError(SIZE)
    total = int(float(found[1]) * _SIZES[found[2]])
    if not 0 < total < 2**53:
        raise ValueError(f"{SIZE}; more than 0B and less than 8PiB")
    return total
