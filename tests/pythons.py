"""Where other Pythons are, for tests that run callables under them."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path


def interpreter(version: str) -> str | None:
    """A real interpreter of that version, found on PATH or beside this one; a shim that cannot start it is none."""
    installed = Path(sys.base_prefix).parent.glob(f"{version}.*/bin/python{version}")
    for candidate in [*map(str, sorted(installed)), shutil.which(f"python{version}")]:
        if candidate and _version(candidate) == version:
            return candidate
    return None


def _version(python: str) -> str:
    code = "import sys; print('%d.%d' % sys.version_info[:2])"
    return subprocess.run([python, "-c", code], capture_output=True, text=True).stdout.strip()
