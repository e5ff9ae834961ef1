"""A job file is read only if it is a small plain file, at once, and never half-written."""

from __future__ import annotations

import os
import socket
import time
from pathlib import Path
from typing import Any

import pytest

from engine.jobfiles import safe_read, writer_lease
from engine.jobfiles.safe_read import (
    MAX_BYTES,
    BusyFileError,
    ChangedFileError,
    UnreadableFileError,
    key_of,
    read_job_file,
)


def refused(path: Path) -> str:
    """Why the file is refused; refusing must be quick."""
    began = time.monotonic()
    with pytest.raises(UnreadableFileError) as caught:
        read_job_file(path)
    assert time.monotonic() - began < 0.1
    assert str(path) in str(caught.value)
    return caught.value.why


def test_a_plain_file_is_read(tmp_path: Path) -> None:
    """The bytes come as they are."""
    file = tmp_path / "a.yaml"
    file.write_bytes(b"command: [x]\n")
    assert read_job_file(file, expect=key_of(file.stat()), closed=True) == b"command: [x]\n"


def test_an_empty_file_is_read(tmp_path: Path) -> None:
    """Empty is the loader's business."""
    (tmp_path / "a.yaml").touch()
    assert read_job_file(tmp_path / "a.yaml") == b""


def test_a_pipe_is_refused_without_waiting(tmp_path: Path) -> None:
    """A pipe without a writer would block an ordinary open."""
    os.mkfifo(tmp_path / "a.yaml")
    assert "a pipe" in refused(tmp_path / "a.yaml")


def test_a_directory_is_refused(tmp_path: Path) -> None:
    """A directory may be called x.yaml too."""
    (tmp_path / "a.yaml").mkdir()
    assert "a directory" in refused(tmp_path / "a.yaml")


def test_a_symbolic_link_is_refused(tmp_path: Path) -> None:
    """A link could lead anywhere, and its target changes unseen."""
    (tmp_path / "real").write_text("x")
    (tmp_path / "a.yaml").symlink_to(tmp_path / "real")
    assert "a symbolic link" in refused(tmp_path / "a.yaml")


def test_a_hard_link_is_refused(tmp_path: Path) -> None:
    """Another name could be used to change the file unseen."""
    (tmp_path / "real").write_text("x")
    os.link(tmp_path / "real", tmp_path / "a.yaml")
    assert "2 names" in refused(tmp_path / "a.yaml")


def test_a_socket_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A socket cannot be opened."""
    monkeypatch.chdir(tmp_path)
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("a.yaml")
        assert "a socket" in refused(tmp_path / "a.yaml")


def test_a_device_is_refused() -> None:
    """A device may never end."""
    assert "a device" in refused(Path("/dev/zero"))


def test_a_large_file_is_refused_and_the_limit_itself_is_not(tmp_path: Path) -> None:
    """1 MiB is the most."""
    file = tmp_path / "a.yaml"
    file.write_bytes(b"x" * MAX_BYTES)
    assert len(read_job_file(file)) == MAX_BYTES
    file.write_bytes(b"x" * (MAX_BYTES + 1))
    assert "split it" in refused(file)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    """The name may be wrong."""
    assert "does not exist" in refused(tmp_path / "a.yaml")


def test_a_name_with_a_null_byte_is_refused() -> None:
    """The system takes no such name."""
    assert "cannot be read" in refused(Path("/tmp/a\0.yaml"))


def test_a_file_without_permission_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The sentence says what to do (root may read everything, so the refusal is played)."""

    def deny(*_: Any) -> int:
        raise PermissionError(13, "Permission denied")

    (tmp_path / "a.yaml").touch()
    monkeypatch.setattr(os, "open", deny)
    assert "read permission" in refused(tmp_path / "a.yaml")


def test_a_failing_disk_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An error while reading is as good as one while opening."""

    def fail(*_: Any) -> bytes:
        raise OSError(5, "Input/output error")

    (tmp_path / "a.yaml").touch()
    monkeypatch.setattr(os, "read", fail)
    assert "Input/output error" in refused(tmp_path / "a.yaml")


def test_a_file_with_a_writer_is_busy_until_it_is_closed(tmp_path: Path) -> None:
    """As long as somebody may still write, the file is not whole."""
    file = tmp_path / "a.yaml"
    with file.open("w") as writer:
        writer.write("half")
        writer.flush()
        with pytest.raises(BusyFileError):
            read_job_file(file, closed=True)
    assert read_job_file(file, closed=True) == b"half"


def test_another_version_than_the_expected_is_not_read(tmp_path: Path) -> None:
    """What settled is one version; a later one has to settle first."""
    file = tmp_path / "a.yaml"
    file.write_text("one")
    key = key_of(file.stat())
    file.write_text("three")
    with pytest.raises(ChangedFileError):
        read_job_file(file, expect=key)


def test_a_change_during_reading_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Half of one version and half of another is neither."""
    file = tmp_path / "a.yaml"
    file.write_text("one")
    real = os.read

    def read_and_write(descriptor: int, size: int) -> bytes:
        data = real(descriptor, size)
        if data:
            os.truncate(file, 1)
        return data

    monkeypatch.setattr(safe_read.os, "read", read_and_write)
    with pytest.raises(ChangedFileError):
        read_job_file(file)


def test_where_leases_mean_nothing_nobody_knows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a network file system, or where leases are refused or absent, the answer is None and the quiet time counts."""
    file = tmp_path / "a.yaml"
    with file.open("w") as writer, monkeypatch.context() as patch:
        patch.setattr(writer_lease, "_is_remote", lambda _: True)
        assert writer_lease.has_writer(writer.fileno()) is None
    with file.open() as reader:
        with monkeypatch.context() as patch:
            patch.delattr(writer_lease.fcntl, "F_SETLEASE")
            assert writer_lease.has_writer(reader.fileno()) is None
        with monkeypatch.context() as patch:
            patch.setattr(writer_lease.fcntl, "F_RDLCK", 99)
            assert writer_lease.has_writer(reader.fileno()) is None


def test_a_network_file_system_is_known_by_its_mount(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernel's table of mounts names each device's file system."""
    table = tmp_path / "mountinfo"
    table.write_text("garbage\n36 35 0:52 / /mnt rw,noatime shared:1 - nfs4 server:/x rw\n")
    monkeypatch.setattr(writer_lease, "_MOUNTS", table)
    writer_lease._is_remote.cache_clear()
    assert writer_lease._is_remote(os.makedev(0, 52))
    assert not writer_lease._is_remote(os.makedev(0, 53))
    monkeypatch.setattr(writer_lease, "_MOUNTS", tmp_path / "none")
    writer_lease._is_remote.cache_clear()
    assert not writer_lease._is_remote(os.makedev(0, 52))
    writer_lease._is_remote.cache_clear()
