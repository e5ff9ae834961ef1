"""An engine of its own for each test that asks for one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.system.engine_process import EngineProcess


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "jobs.d").mkdir()
    return tmp_path


@pytest.fixture
def engine(root: Path) -> Iterator[EngineProcess]:
    with EngineProcess(root) as engine:
        yield engine
