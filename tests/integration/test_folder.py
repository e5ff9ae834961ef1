"""Dropping, changing and removing job files, the ways programs really do it."""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path

import pytest

from engine.jobfiles.folder import FileBroken, FileLoaded
from tests.folder_bench import bench, run, text, until


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "jobs.d").mkdir()
    return tmp_path


def test_a_file_that_is_there_and_one_that_comes_are_loaded(root: Path) -> None:
    """The first look and the watch tell the same way, each within a second."""
    (root / "jobs.d/a.yaml").write_text(text("a"))

    async def story() -> None:
        async with bench(root) as b:
            assert (await b.loaded("a.yaml", 1.0)).name == "a"
            (b.folder / "b.toml").write_text(text("b"))
            assert (await b.loaded("b.toml", 1.0)).name == "b"
            (b.folder / "b.toml").write_text(text("b", "2"))
            assert (await b.loaded("b.toml", 1.0)).jobs[0].action.argv == ("2",)
            await b.quiet()

    run(story())


def test_other_names_are_no_job_files(root: Path) -> None:
    """Hidden, temporary and backup files stay unread."""

    async def story() -> None:
        async with bench(root) as b:
            for name in (".a.yaml", "a.yaml~", ".a.yaml.swp", "a.yaml.tmp", "a.yaml.bak", "4913", "#a.yaml#", "a.txt"):
                (b.folder / name).write_text("boom")
            await b.quiet()

    run(story())


def test_a_comment_changes_nothing_but_the_bytes(root: Path) -> None:
    """The file is loaded again with the same definition hash; the same bytes again are no event."""

    async def story() -> None:
        async with bench(root) as b:
            first = await b.write("a.yml", text("a"))
            second = await b.write("a.yml", text("a", comment="# new"))
            assert first.definition_hash == second.definition_hash
            (b.folder / "a.yml").write_text(text("a", comment="# new"))
            await b.quiet()

    run(story())


def test_vim_saves_a_file(root: Path) -> None:
    """A probe file, the old one renamed to a backup, a new one written, the backup removed: one change."""

    async def story() -> None:
        async with bench(root) as b:
            await b.write("a.yaml", text("a"))
            (b.folder / "4913").touch()
            (b.folder / "4913").unlink()
            (b.folder / "a.yaml").rename(b.folder / "a.yaml~")
            (b.folder / "a.yaml").write_text(text("a", "2"))
            (b.folder / "a.yaml~").unlink()
            assert (await b.loaded("a.yaml")).jobs[0].action.argv == ("2",)
            await b.quiet()

    run(story())


def test_sed_and_rename_replace_a_file(root: Path) -> None:
    """A temporary file takes the name over: one change."""

    async def story() -> None:
        async with bench(root) as b:
            await b.write("a.yaml", text("a"))
            (b.folder / "sedX1y2").write_text(text("a", "2"))
            (b.folder / "sedX1y2").rename(b.folder / "a.yaml")
            assert (await b.loaded("a.yaml")).jobs[0].action.argv == ("2",)
            (root / "elsewhere").write_text(text("a", "3"))
            (root / "elsewhere").rename(b.folder / "a.yaml")
            assert (await b.loaded("a.yaml")).jobs[0].action.argv == ("3",)
            await b.quiet()

    run(story())


def test_a_writer_that_pauses_with_the_file_open_is_waited_for(root: Path) -> None:
    """Far longer than the quiet time, the file is pending; when it is closed, it is taken whole."""

    async def story() -> None:
        async with bench(root) as b:
            await b.write("a.yaml", text("a"))
            with (b.folder / "a.yaml").open("w") as writer:
                writer.write(text("a", "2")[:9])
                writer.flush()
                await until(lambda: b.watcher.pending == ("jobs.d/a.yaml",))
                with pytest.raises(TimeoutError):
                    await b.next(0.8)
                writer.write(text("a", "2")[9:])
            assert (await b.loaded("a.yaml", 1.0)).jobs[0].action.argv == ("2",)
            await b.quiet()

    run(story())


def test_a_writer_that_opens_the_file_for_every_byte_is_waited_for(root: Path) -> None:
    """Each byte is a write of its own; only the last one is followed by quiet."""

    async def story() -> None:
        async with bench(root) as b:
            for character in text("a"):
                with (b.folder / "a.yaml").open("a") as writer:
                    writer.write(character)
                await asyncio.sleep(0.02)
            assert (await b.loaded("a.yaml", 1.0)).name == "a"
            await b.quiet()

    run(story())


def test_a_removed_file_is_gone_after_two_seconds(root: Path) -> None:
    """Not sooner, so that a save by removal is none, and not later than three."""

    async def story() -> None:
        async with bench(root) as b:
            await b.write("a.yaml", text("a"))
            (b.folder / "a.yaml").unlink()
            began = time.monotonic()
            await b.removed("a.yaml")
            assert 1.9 < time.monotonic() - began < 3.0
            await b.quiet()

    run(story())


def test_a_file_that_comes_back_in_time_was_never_gone(root: Path) -> None:
    """With the same bytes there is nothing to tell, with others there is a change."""

    async def story() -> None:
        async with bench(root) as b:
            await b.write("a.yaml", text("a"))
            (b.folder / "a.yaml").unlink()
            await b.watcher.rescan()
            (b.folder / "a.yaml").write_text(text("a"))
            await b.quiet()
            (b.folder / "a.yaml").unlink()
            await b.watcher.rescan()
            await b.write("a.yaml", text("a", "2"))
            await b.quiet()

    run(story())


def test_a_file_that_comes_and_goes_unread_is_not_mentioned(root: Path) -> None:
    """Nobody was told of it."""

    async def story() -> None:
        async with bench(root) as b:
            (b.folder / "a.yaml").touch()
            await b.watcher.rescan()
            (b.folder / "a.yaml").unlink()
            await b.quiet()

    run(story())


def test_one_bad_file_harms_only_itself(root: Path) -> None:
    """Pipe, directory, links, a loader's failure: each is told, and the good one beside them is loaded."""

    async def story() -> None:
        async with bench(root) as b:
            os.mkfifo(b.folder / "pipe.yaml")
            (b.folder / "folder.yaml").mkdir()
            (b.folder / "link.yaml").symlink_to("/etc/passwd")
            (root / "real").write_text(text("real"))
            os.link(root / "real", b.folder / "hard.yaml")
            (b.folder / "boom.yaml").write_text("boom")
            (b.folder / "half.yaml").write_text("half")
            (b.folder / "silent.yaml").write_text("silent")
            os.close(os.open(os.fsencode(b.folder) + b"/\xff.yaml", os.O_CREAT | os.O_WRONLY))
            (b.folder / "good.yaml").write_text(text("good"))
            events = [await b.next() for _ in range(9)]
            broken = {e.path: e.problems[0] for e in events if isinstance(e, FileBroken)}
            words = {"pipe": "pipe", "folder": "directory", "link": "link", "hard": "names", "boom": "report"}
            words |= {"half": "half-written", "silent": "no workflow", "\\udcff": "half-written"}
            assert broken.keys() == {f"jobs.d/{name}.yaml" for name in words}
            assert all(word in broken[f"jobs.d/{name}.yaml"] for name, word in words.items())
            assert [e.path for e in events if isinstance(e, FileLoaded)] == ["jobs.d/good.yaml"]
            (b.folder / "pipe.yaml").unlink()
            await b.write("pipe.yaml", text("pipe"))
            await b.quiet()

    run(story())


def test_two_files_with_one_name_get_one_workflow(root: Path) -> None:
    """The first by path has it, whatever the case; when it goes, the next takes its place."""

    async def story() -> None:
        async with bench(root) as b:
            await b.write("b.yaml", text("Same"))
            (b.folder / "c.yaml").write_text(text("same"))
            assert "taken by jobs.d/b.yaml" in await b.broken("c.yaml")
            (b.folder / "a.yaml").write_text(text("SAME"))
            assert "taken by jobs.d/a.yaml" in await b.broken("b.yaml")
            assert "taken by jobs.d/a.yaml" in await b.broken("c.yaml")
            assert (await b.loaded("a.yaml")).name == "SAME"
            (b.folder / "a.yaml").unlink()
            await b.removed("a.yaml")
            assert "taken by jobs.d/b.yaml" in await b.broken("c.yaml")
            assert (await b.loaded("b.yaml")).name == "Same"
            (b.folder / "b.yaml").write_text(text("other"))
            events = [await b.next(), await b.next()]
            assert [e.workflow.name for e in events if isinstance(e, FileLoaded)] == ["other", "same"]
            await b.quiet()

    run(story())


def test_a_thousand_files_load_while_the_loop_stays_free(root: Path) -> None:
    """Reading goes in batches off the loop."""
    for number in range(1000):
        (root / f"jobs.d/{number:04}.yaml").write_text(text(f"w{number}"))

    async def story() -> None:
        pauses: list[float] = []

        async def heartbeat() -> None:
            while True:
                began = time.monotonic()
                await asyncio.sleep(0.005)
                pauses.append(time.monotonic() - began)

        heart = asyncio.create_task(heartbeat())
        began = time.monotonic()
        async with bench(root) as b:
            events = [await b.next() for _ in range(1000)]
            assert time.monotonic() - began < 3.0
            assert all(isinstance(event, FileLoaded) for event in events)
            heart.cancel()
            assert max(pauses) < 0.3
            await b.quiet()

    run(story())
