"""Folders that vanish, are replaced or lose many files at once; watchers that fail."""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from engine.jobfiles import folder_place, folder_watch
from engine.jobfiles.folder import FileLoaded, FileRemoved, FolderWatcher, WatcherStoppedError
from engine.jobfiles.folder_scan import Sight, look
from tests.folder_bench import bench, load, run, text, until


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "jobs.d").mkdir()
    return tmp_path


def fill(folder: Path, count: int) -> None:
    for number in range(count):
        (folder / f"{number:02}.yaml").write_text(text(f"w{number}"))


def test_a_mass_deletion_is_held_until_it_is_confirmed(root: Path) -> None:
    """Most files gone at once raise an alarm; those that come back are kept, the rest go when told."""
    fill(root / "jobs.d", 12)

    async def story() -> None:
        async with bench(root) as b:
            assert all([isinstance(await b.next(), FileLoaded) for _ in range(12)])
            for file in b.folder.iterdir():
                file.unlink()
            assert "12 of 12" in await b.alarm()
            assert len(b.watcher.held) == 12 and len(b.watcher.alarms) == 1
            await b.quiet()
            fill(b.folder, 10)
            await b.quiet()
            assert b.watcher.held == ("jobs.d/10.yaml", "jobs.d/11.yaml")
            assert b.watcher.confirm_removals() == ("jobs.d/10.yaml", "jobs.d/11.yaml")
            await b.removed("10.yaml")
            await b.removed("11.yaml")
            await b.quiet()
            assert b.watcher.alarms == ()

    run(story())


def test_files_removed_while_the_engine_was_down_are_told(root: Path) -> None:
    """Known paths that are not there are removed, also those outside every watched folder."""
    (root / "jobs.d/a.yaml").write_text(text("a"))

    async def story() -> None:
        async with bench(root, {"jobs.d/a.yaml": "1", "jobs.d/b.yaml": "2", "old.d/c.yaml": "3"}) as b:
            assert (await b.loaded("a.yaml")).name == "a"
            assert {await b.next(), await b.next()} == {FileRemoved("jobs.d/b.yaml"), FileRemoved("old.d/c.yaml")}
            await b.quiet()

    run(story())


def test_a_known_file_that_vanishes_before_it_is_read_is_told(root: Path) -> None:
    """The engine holds it, so it must hear of it."""
    (root / "jobs.d/a.yaml").write_text(text("a"))

    async def story() -> None:
        async with bench(root, {"jobs.d/a.yaml": "1"}) as b:
            (b.folder / "a.yaml").unlink()
            await b.removed("a.yaml")

    run(story())


def test_a_replaced_folder_is_watched_again(root: Path) -> None:
    """What the new one lacks is removed, what it has is loaded, and its later changes are seen."""

    async def story() -> None:
        async with bench(root) as b:
            await b.write("a.yaml", text("a"))
            await b.write("b.yaml", text("b"))
            (root / "new").mkdir()
            (root / "new/b.yaml").write_text(text("b", "2"))
            b.folder.rename(root / "old")
            (root / "new").rename(b.folder)
            assert (await b.loaded("b.yaml", 1.0)).jobs[0].action.argv == ("2",)
            await b.write("c.yaml", text("c"))
            await b.removed("a.yaml")
            await b.quiet()

    run(story())


def test_a_missing_folder_removes_nothing_and_is_found_again(root: Path) -> None:
    """An alarm is raised, the workflows stay, and work goes on when the folder is back."""

    async def story() -> None:
        async with bench(root) as b:
            await b.write("a.yaml", text("a"))
            b.folder.rename(root / "away")
            assert "missing" in await b.alarm()
            await b.quiet()
            assert b.watcher.held == ("jobs.d/a.yaml",)
            (root / "away").rename(b.folder)
            await b.write("b.yaml", text("b"))
            await b.quiet()
            assert b.watcher.held == () and b.watcher.alarms == ()

    run(story())


def test_a_folder_that_comes_back_empty_stays_held(root: Path) -> None:
    """The missing files are still in doubt, and the alarm says so until somebody decides."""

    async def story() -> None:
        async with bench(root) as b:
            await b.write("a.yaml", text("a"))
            shutil.rmtree(b.folder)
            assert "missing" in await b.alarm()
            b.folder.mkdir()
            assert "vanished" in await b.alarm()
            b.watcher.confirm_removals()
            await b.removed("a.yaml")

    run(story())


def test_a_folder_missing_at_the_start_is_found_when_it_comes(root: Path) -> None:
    """Nothing fails; the first file in it is loaded."""
    (root / "jobs.d").rmdir()

    async def story() -> None:
        async with bench(root) as b:
            b.folder.mkdir()
            await b.write("a.yaml", text("a"))
            await b.quiet()

    run(story())


def test_files_that_vanish_with_their_disk_are_held(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another device under the same name is taken for a mount that came or went."""

    async def story() -> None:
        async with bench(root) as b:
            await b.write("a.yaml", text("a"))
            monkeypatch.setattr(folder_place, "look", lambda _: Sight((1, 1), {}))
            await b.watcher.rescan()
            assert "1 of 1" in await b.alarm()
            monkeypatch.setattr(folder_place, "look", look)
            await b.quiet()
            assert b.watcher.held == () and b.watcher.alarms == ()

    run(story())


def test_a_folder_that_cannot_be_listed_counts_as_missing(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No removal follows from not being able to look."""

    async def story() -> None:
        async with bench(root) as b:
            await b.write("a.yaml", text("a"))
            monkeypatch.setattr(folder_place, "look", lambda _: None)
            await b.watcher.rescan()
            assert "cannot be listed" in await b.alarm()
            assert b.watcher.held == ("jobs.d/a.yaml",)

    run(story())


def test_without_a_watch_looking_goes_on(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The system may refuse a watch: an alarm says so, changes are still found in a second, and the watch returns."""
    real = folder_watch.awatch

    async def refuse(*_: Any, **__: Any) -> AsyncIterator[set[Any]]:
        raise OSError("no space left for watches")
        yield set()

    monkeypatch.setattr(folder_watch, "awatch", refuse)

    async def story() -> None:
        async with bench(root) as b:
            (b.folder / "a.yaml").write_text(text("a"))
            await b.loaded("a.yaml", 1.2)
            assert "the watch is lost" in await b.alarm()
            monkeypatch.setattr(folder_watch, "awatch", real)
            await until(lambda: b.watcher.alarms == ())

    run(story())


def test_a_failure_inside_is_told_and_survived(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever goes wrong in one turn, the next one looks again."""

    def fail(_: Path) -> None:
        raise RuntimeError("odd")

    async def story() -> None:
        async with bench(root) as b:
            monkeypatch.setattr(folder_place, "look", fail)
            asking = asyncio.create_task(b.watcher.rescan())
            assert "odd" in await b.alarm()
            monkeypatch.setattr(folder_place, "look", look)
            await asking
            await b.write("a.yaml", text("a"))
            assert b.watcher.alarms == ()

    run(story())


def test_a_watcher_that_cannot_tell_stops_and_says_why(root: Path) -> None:
    """An event that nobody takes is not swallowed: stop() raises what delivery raised, and asking raises too."""
    (root / "jobs.d/a.yaml").write_text(text("a"))

    calls: list[Any] = []

    def deliver(batch: Any) -> None:
        calls.append(batch)
        if len(calls) == 1:
            raise RuntimeError("nobody listens")

    async def story() -> None:
        watcher = FolderWatcher([Path("jobs.d")], root, load, deliver)
        await watcher.start()
        with pytest.raises(WatcherStoppedError):
            await watcher.settled()
        with pytest.raises(RuntimeError, match="nobody listens"):
            await watcher.stop()
        with pytest.raises(WatcherStoppedError):
            await watcher.rescan()
        await watcher.stop()
        assert len(calls) == 1

    run(story())


def test_a_file_changed_at_the_last_moment_settles_again(root: Path) -> None:
    """The version that was quiet is gone when it is read: the next one gets its own quiet time."""

    async def story() -> None:
        async with bench(root) as b:
            (b.folder / "a.yaml").write_text(text("a"))
            await b.watcher.rescan()
            place = b.watcher._places[0]
            key = place.ledger.entries["jobs.d/a.yaml"].key
            assert key is not None
            place.ledger.entries["jobs.d/a.yaml"].key = key._replace(size=1)
            assert (await b.loaded("a.yaml")).name == "a"

    run(story())


def test_a_name_that_is_not_utf8_does_not_end_the_watch(root: Path) -> None:
    """The library gives up at such a name; a new watch takes over, without an alarm."""

    async def story() -> None:
        async with bench(root) as b:
            await until(lambda: b.watcher._places[0].watch.ready)
            os.close(os.open(os.fsencode(b.folder) + b"/\xff.yaml", os.O_CREAT | os.O_WRONLY))
            assert "half-written" in await b.broken("\\udcff.yaml")
            await b.write("a.yaml", text("a"))
            await until(lambda: b.watcher._places[0].watch.ready)
            await b.quiet()

    run(story())


def test_a_file_that_vanishes_while_looking_is_not_there(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between listing and asking a file may go, and so may the folder."""
    fill(root / "jobs.d", 1)

    def gone(_: str) -> None:
        raise FileNotFoundError

    assert look(root / "none") is None
    monkeypatch.setattr(os, "lstat", gone)
    sight = look(root / "jobs.d")
    assert sight is not None and sight.keys == {}
