"""A database is made private, opened only if it is ours, whole and not newer, and never replaced in silence."""

from __future__ import annotations

import os
import sqlite3
import stat
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy.dialects import postgresql
from sqlalchemy.schema import CreateTable
from store_world import at, definition, started

from engine.model import changes as c
from engine.store import Store, StoreBrokenError, StoreBusyError, files, migrate, opening, sqlite, statements
from engine.store.schema import metadata, run_counts


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def execute(path: Path, statement: str) -> None:
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute(statement)
    connection.close()


def closed(folder: Path) -> Path:
    """The path of a database with a little in it, closed cleanly."""
    started(folder).close()
    return at(folder)


@pytest.mark.parametrize("mask", [0o000, 0o077, 0o777])
def test_only_the_owner_reads_the_database_whatever_the_umask(tmp_path: Path, mask: int) -> None:
    """The folder is 0700, the database and its log files are 0600."""
    before = os.umask(mask)
    try:
        store = Store.open(tmp_path / "state" / "interlock.db")
    finally:
        os.umask(before)
    store.commit([c.EventAdded("a.b", 1)])
    assert mode(tmp_path / "state") == 0o700
    assert {mode(file) for file in (tmp_path / "state").iterdir()} == {0o600}
    store.close()


def test_a_folder_that_exists_keeps_its_mode(tmp_path: Path) -> None:
    """A database named by the operator may lie in a folder that others use."""
    at(tmp_path).parent.mkdir(mode=0o755)
    Store.open(at(tmp_path)).close()
    assert mode(tmp_path / "state") == 0o755 and mode(at(tmp_path)) == 0o600


@pytest.mark.filterwarnings("ignore:.*expression-based index")
def test_the_migrations_build_the_schema_the_store_uses(tmp_path: Path) -> None:
    """What Alembic builds and what the tables say do not differ, the item's unique index included."""
    path = closed(tmp_path)
    engine = sqlite.builder(path)
    with engine.connect() as connection:
        assert migrate.revision_of(connection) == f"{migrate.SCHEMA_VERSION:04}"
        assert connection.exec_driver_sql("PRAGMA user_version").scalar() == migrate.SCHEMA_VERSION
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []
        indexes = connection.exec_driver_sql("SELECT sql FROM sqlite_master WHERE name = 'uq_tasks_item'").scalar()
        assert indexes == "CREATE UNIQUE INDEX uq_tasks_item ON tasks (run, job, round, coalesce(item, -1))"
    engine.dispose()


def test_the_schema_and_the_writes_are_not_bound_to_sqlite() -> None:
    """PostgreSQL comes later: what is written today must already be sayable there."""
    dialect = postgresql.dialect()
    for table in metadata.sorted_tables:
        assert "CREATE TABLE" in str(CreateTable(table).compile(dialect=dialect))
    upserts = statements.end_round, lambda name: statements.add_counts(run_counts, name, "n")
    for make in (*upserts, lambda name: statements.upsert(run_counts, name)):
        assert "ON CONFLICT" in str(make("postgresql").compile(dialect=dialect))


def test_the_connections_are_set_up_for_durability(tmp_path: Path) -> None:
    """The writer syncs every commit; readers cannot write."""
    store = Store.open(at(tmp_path))
    with store._engine.connect() as writer, store._readers.connect() as reader:
        ask = ("journal_mode", "synchronous", "foreign_keys", "busy_timeout")
        assert [writer.exec_driver_sql(f"PRAGMA {name}").scalar() for name in ask] == ["wal", 2, 1, 5000]
        ask = ("query_only", "wal_autocheckpoint", "busy_timeout")
        assert [reader.exec_driver_sql(f"PRAGMA {name}").scalar() for name in ask] == [1, 0, 5000]
    store.close()


def refused(path: Path) -> str:
    """The text of the refusal; the file must be untouched by it."""
    before = path.read_bytes()
    with pytest.raises(StoreBrokenError) as caught:
        Store.open(path)
    assert path.read_bytes() == before
    return str(caught.value)


def test_a_newer_database_is_refused(tmp_path: Path) -> None:
    """An older engine must not touch what it does not understand, and says which way out there is."""
    path = closed(tmp_path)
    execute(path, f"PRAGMA user_version={migrate.SCHEMA_VERSION + 1}")
    text = refused(path)
    assert "newer Interlock" in text and "Install that version" in text


def test_a_newer_database_is_refused_even_when_only_its_log_says_so(tmp_path: Path) -> None:
    """After a crash the header in the file may be older than the database."""
    path = closed(tmp_path)
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("PRAGMA journal_mode=WAL")
    other.execute("PRAGMA user_version=99")
    assert "newer" in refused(path)
    other.close()


def test_another_programs_database_is_refused(tmp_path: Path) -> None:
    """Ours carry a mark; a database without it is somebody else's."""
    path = tmp_path / "other.db"
    execute(path, "CREATE TABLE t (x)")
    assert "another program" in refused(path)


@pytest.mark.parametrize("content", [b"", b"SQLite format 3\0", b"not a database" * 99], ids=["empty", "cut", "text"])
def test_a_file_that_is_no_database_is_refused(tmp_path: Path, content: bytes) -> None:
    """An empty file is a lost database, not a new one."""
    path = tmp_path / "interlock.db"
    path.write_bytes(content)
    text = refused(path)
    assert str(path) in text and "is damaged" in text and "there is none" in text


def test_a_cut_off_database_is_refused_though_it_was_closed_cleanly(tmp_path: Path) -> None:
    """The refusal names the file and its newest backup."""
    path = closed(tmp_path)
    backup = files.back_up(path)
    path.write_bytes(path.read_bytes()[:-4096])
    text = refused(path)
    assert "cut off" in text and str(backup) in text


@pytest.mark.parametrize("first_page", [3, 1], ids=["behind the schema", "at the schema"])
def test_a_scribbled_database_is_refused_after_an_unclean_stop(tmp_path: Path, first_page: int) -> None:
    """Only an unclean stop is worth reading every page, and what is found is told."""
    path = closed(tmp_path)
    for index in range(40):
        store = Store.open(path)
        store.commit([definition(index + 2, index + 2), c.EventAdded("a.b", 1, why="x" * 3000)])
        store.close()
    execute(path, "UPDATE meta SET clean = 0")
    content = bytearray(path.read_bytes())
    start, length = (4096 * 20, 4096 * 8) if first_page == 3 else (100, 4000)
    content[start : start + length] = b"\xa5" * length
    path.write_bytes(content)
    with pytest.raises(StoreBrokenError, match="damaged"):
        Store.open(path)


def test_an_unclean_stop_of_a_whole_database_is_no_trouble(tmp_path: Path) -> None:
    """A crash leaves the flag unset and the log unfolded; the next start checks and goes on."""
    store = started(tmp_path)
    crashed = tmp_path / "crashed"
    crashed.mkdir()
    for file in at(tmp_path).parent.iterdir():
        (crashed / file.name).write_bytes(file.read_bytes())
    store.close()
    again = Store.open(crashed / "interlock.db")
    recovered = again.recover(99)
    assert recovered.epoch == 1 and [r.run for r in recovered.runs] == [1]
    again.close()


def test_closing_folds_the_log_and_may_be_repeated(tmp_path: Path) -> None:
    """After a clean end the database is one file."""
    path = closed(tmp_path)
    store = Store.open(path)
    store.close()
    store.close()
    assert [file.name for file in path.parent.iterdir()] == [path.name]


@pytest.mark.parametrize("left", ["interlock.backup-3", "interlock.db-wal"])
def test_a_missing_database_whose_parts_are_there_is_not_begun_anew(tmp_path: Path, left: str) -> None:
    """What is left says that something was lost; the operator decides."""
    at(tmp_path).parent.mkdir()
    (at(tmp_path).parent / left).write_bytes(b"x")
    with pytest.raises(StoreBrokenError, match="is missing"):
        Store.open(at(tmp_path))
    assert not at(tmp_path).exists()


def test_a_half_made_database_is_made_again(tmp_path: Path) -> None:
    """A crash while the first database was built leaves only a draft, which nobody trusts."""
    draft = at(tmp_path).with_name("interlock.db.new")
    draft.parent.mkdir()
    draft.write_bytes(b"half")
    Store.open(at(tmp_path)).close()
    assert not draft.exists()


def test_an_older_database_is_backed_up_and_then_migrated(tmp_path: Path) -> None:
    """The step to a newer schema keeps a private copy of what was, and of those only the last three."""
    path = closed(tmp_path)
    for number in range(1, 6):
        execute(path, "PRAGMA user_version=0")
        store = Store.open(path)
        assert store.read.run(1) is not None
        store.close()
        assert files.backups(path)[-1].name == f"interlock.backup-{number}"
    assert [file.name[-1] for file in files.backups(path)] == ["3", "4", "5"]
    assert {mode(file) for file in path.parent.iterdir()} == {0o600}
    copy = sqlite3.connect(files.backups(path)[-1])
    assert copy.execute("PRAGMA user_version").fetchone() == (0,)
    assert copy.execute("SELECT count(*) FROM tasks").fetchone() == (1,)
    copy.close()


def test_a_migration_that_fails_changes_nothing(tmp_path: Path) -> None:
    """Dangling references are found before the transaction is kept, and the backup is there."""
    path = closed(tmp_path)
    execute(path, "UPDATE tasks SET run = 99")
    execute(path, "PRAGMA user_version=0")
    assert "dangling" in refused(path)
    assert len(files.backups(path)) == 1


def test_a_wrong_revision_mark_is_refused(tmp_path: Path) -> None:
    """Alembic's mark and ours must agree."""
    path = closed(tmp_path)
    execute(path, "DELETE FROM alembic_version")
    with pytest.raises(StoreBrokenError, match="marked None"):
        Store.open(path)


def test_a_database_in_another_writers_hands_is_busy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Waiting longer may help, so it is not called broken."""
    path = closed(tmp_path)
    monkeypatch.setattr(sqlite, "BUSY_MS", 20)
    monkeypatch.setattr(sqlite, "_WRITER", ("PRAGMA busy_timeout=20",))
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(StoreBusyError):
        opening.open_writer(path)
    other.close()


def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    """The system's own words say what is in the way."""
    (tmp_path / "state").write_text("a file")
    with pytest.raises(StoreBrokenError, match="opening"):
        Store.open(at(tmp_path))


def test_the_check_after_an_unclean_stop_reads_more_than_the_first_page(tmp_path: Path) -> None:
    """What quick_check finds is told; here a row that breaks its table's rule."""
    path = closed(tmp_path)
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA ignore_check_constraints=ON")
    connection.execute("UPDATE meta SET id = 2, clean = 0")
    connection.close()
    with pytest.raises(StoreBrokenError, match=r"CHECK constraint failed in meta.*there is none"):
        Store.open(path)


def test_a_broken_write_is_not_marked_clean(tmp_path: Path) -> None:
    """What the writer met may be damage: the next start reads every page."""
    store = started(tmp_path)
    with pytest.raises(StoreBrokenError):
        store.commit([definition()])
    store.close()
    connection = sqlite3.connect(at(tmp_path))
    assert connection.execute("SELECT clean FROM meta").fetchone() == (0,)
    connection.close()
    Store.open(at(tmp_path)).close()


def test_nothing_is_written_after_the_end(tmp_path: Path) -> None:
    """A closed store says so instead of opening the file again."""
    store = started(tmp_path)
    store.close()
    for act in (lambda: store.commit([c.EventAdded("a.b", 1)]), lambda: store.recover(1)):
        with pytest.raises(StoreBrokenError, match="is closed"):
            act()
