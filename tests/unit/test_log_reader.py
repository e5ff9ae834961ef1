"""The log reader finds an attempt's bytes wherever the worker put them, and says what is missing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from engine.workers.folder import WorkerNameError
from engine.workers.log_files import RECORD
from engine.workers.logs import ERR, GAP, OUT, LogChunk, LogReader

W = "w-1-1"


class Files:
    """Writes output as a worker does."""

    def __init__(self, state: Path) -> None:
        self.folder = state / "workers" / W
        self.folder.mkdir(parents=True)
        self.clock = 0

    def write(self, name: str, attempt: int, data: bytes, stream: int = OUT) -> int:
        """Append one record; returns its number."""
        self.clock += 1
        path, index = self.folder / f"{name}.log", self.folder / f"{name}.idx"
        position = path.stat().st_size if path.exists() else 0
        number = index.stat().st_size // RECORD.size if index.exists() else 0
        with path.open("ab") as out, index.open("ab") as idx:
            out.write(data)
            idx.write(RECORD.pack(attempt, stream, len(data), position, self.clock))
        return number


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return Files(tmp_path)


@pytest.fixture
def reader(tmp_path: Path, files: Files) -> LogReader:
    return LogReader(tmp_path)


def ref(**values: Any) -> dict[str, Any]:
    return {"worker": W, "segment": None, "first": 0, "last": 0, "own": [], "bytes": 0, "lost": 0} | values


def text(chunks: Any) -> bytes:
    return b"".join(chunk.data for chunk in chunks)


def test_attempts_that_share_a_segment_are_told_apart(files: Files, reader: LogReader) -> None:
    """Each sees its own bytes, with its own offsets, times and streams."""
    files.write("seg-0", 1, b"one ")
    files.write("seg-0", 2, b"two ")
    files.write("seg-0", 1, b"uno", ERR)
    known = ref(segment=0, first=0, last=2, bytes=7)
    assert list(reader.chunks(known, 1, W)) == [LogChunk(0, 1, OUT, b"one "), LogChunk(4, 3, ERR, b"uno")]
    assert text(reader.chunks(None, 2, W)) == b"two "
    assert text(reader.chunks(known, 1, W, start=2)) == b"e uno"


def test_a_running_attempt_is_found_in_segments_and_own_files(files: Files, reader: LogReader) -> None:
    """No reference exists yet: the folder is scanned, in the order of writing."""
    files.write("seg-2", 1, b"a")
    files.write("seg-10", 1, b"b")
    files.write("a-1-0", 1, b"c")
    files.write("a-1-1", 1, b"d")
    files.write("a-11-1", 11, b"other")
    assert text(reader.chunks(None, 1, W)) == b"abcd"
    assert reader.size(None, 1, W) == 4


def test_bytes_cut_by_the_cap_are_a_gap_and_count_in_the_offsets(files: Files, reader: LogReader) -> None:
    """Offsets after the gap are those the attempt's bytes had."""
    files.write("seg-0", 1, b"head")
    files.write("a-1-0", 1, b"more")
    files.write("a-1-7", 1, b"tail")
    found = list(reader.chunks(ref(segment=0, own=[0, 7], bytes=20, lost=8), 1, W))
    assert [(chunk.offset, chunk.data, chunk.lost) for chunk in found] == [
        (0, b"head", 0),
        (4, b"more", 0),
        (8, b"", 8),
        (16, b"tail", 0),
    ]
    assert text(reader.range(ref(segment=0, own=[0, 7], bytes=20), 1, W, 2, 18)) == b"admoreta"
    after = list(reader.chunks(ref(segment=0, own=[0, 7], bytes=20), 1, W, start=17))
    assert after == [LogChunk(17, 3, OUT, b"ail")]


def test_a_running_attempts_removed_files_are_counted(files: Files, reader: LogReader) -> None:
    """All but the newest file have one length; without a head nobody knows."""
    files.write("a-1-3", 1, b"tail")
    assert [chunk.lost for chunk in reader.chunks(None, 1, W)] == [-1, 0]
    files.write("a-1-0", 1, b"h")
    found = list(reader.chunks(None, 1, W))
    assert [(chunk.offset, chunk.lost) for chunk in found] == [(0, 0), (1, 8), (9, 0)]


def test_missing_and_short_files_are_announced(files: Files, reader: LogReader) -> None:
    """A reader of damaged files gets what there is and a gap for the rest."""
    known = ref(segment=0, first=0, last=0, bytes=4)
    assert list(reader.chunks(known, 1, W)) == [LogChunk(0, 0, GAP, b"", 4)]
    files.write("seg-0", 1, b"abcd")
    (files.folder / "seg-0.log").write_bytes(b"ab")
    assert list(reader.chunks(known, 1, W)) == [LogChunk(0, 1, OUT, b"ab"), LogChunk(2, 1, GAP, b"", 2)]
    (files.folder / "seg-0.log").unlink()
    assert [chunk.lost for chunk in reader.chunks(known, 1, W)] == [4]


def test_a_torn_index_record_is_not_there_yet(files: Files, reader: LogReader) -> None:
    """The worker may be in the middle of a write."""
    files.write("seg-0", 1, b"abcd")
    with (files.folder / "seg-0.idx").open("ab") as index:
        index.write(b"\x01\x00\x00")
    assert text(reader.chunks(None, 1, W)) == b"abcd"


def test_a_reference_of_nonsense_harms_nobody(reader: LogReader) -> None:
    """References come from a worker: wrong kinds read as nothing."""
    assert list(reader.chunks({"segment": "x", "own": 3, "bytes": -1, "first": None}, 1, W)) == []
    with pytest.raises(WorkerNameError):
        list(reader.chunks(None, 1, "../etc"))


def test_the_tail_is_the_last_bytes(files: Files, reader: LogReader) -> None:
    """Cut within a chunk when need be."""
    for data in (b"aaaa", b"bbbb", b"cc"):
        files.write("seg-0", 1, data)
    assert [chunk.data for chunk in reader.tail(None, 1, W, 5)] == [b"bbb", b"cc"]
    assert text(reader.tail(None, 1, W, 100)) == b"aaaabbbbcc"
    assert reader.tail(None, 9, W, 100) == []


def test_the_tail_of_what_grows_meanwhile_stays_bounded(
    files: Files, reader: LogReader, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The size is measured before the reading; more may come in between."""
    for data in (b"aaaa", b"bbbb", b"cc"):
        files.write("seg-0", 1, data)
    monkeypatch.setattr(reader, "size", lambda *_: 0)
    assert [(chunk.offset, chunk.data) for chunk in reader.tail(None, 1, W, 3)] == [(7, b"b"), (8, b"cc")]


def test_a_search_sees_lines_across_chunks_and_keeps_streams_apart(files: Files, reader: LogReader) -> None:
    """A line is what one stream wrote between two newlines."""
    files.write("seg-0", 1, b"first\nneed")
    files.write("seg-0", 1, b"error: needle\r\n", ERR)
    files.write("seg-0", 1, b"le here\nrest needle")
    found = [(match.offset, match.stream, match.line) for match in reader.search(None, 1, W, b"needle")]
    assert found == [(10, ERR, b"error: needle"), (6, OUT, b"needle here"), (33, OUT, b"rest needle")]
    assert len(list(reader.search(None, 1, W, b"needle", limit=1))) == 1


def test_a_gap_ends_a_line(files: Files, reader: LogReader) -> None:
    """Text before and after lost bytes is not one line."""
    files.write("seg-0", 1, b"nee")
    files.write("a-1-4", 1, b"dle\n")
    assert not list(reader.search(ref(segment=0, own=[4], bytes=99), 1, W, b"needle"))
    assert len(list(reader.search(ref(segment=0, own=[4], bytes=99), 1, W, b"nee"))) == 1


def test_an_endless_line_is_searched_in_parts(files: Files, reader: LogReader) -> None:
    """Memory stays bounded when a job never writes a newline."""
    for _ in range(3):
        files.write("seg-0", 1, b"x" * 40_000)
    assert [len(match.line) for match in reader.search(None, 1, W, b"x")] == [80_000, 40_000]


def test_removal_takes_own_files_and_a_named_segment(files: Files, reader: LogReader) -> None:
    """Another attempt's files stay; the last removal takes the folder."""
    for name, attempt in (("seg-0", 1), ("a-1-0", 1), ("a-2-0", 2)):
        files.write(name, attempt, b"x")
    (files.folder / "worker.log").touch()
    reader.remove(W, 1)
    assert sorted(item.name for item in files.folder.glob("*.log")) == ["a-2-0.log", "seg-0.log", "worker.log"]
    reader.remove(W, 1, segment=0)
    assert not (files.folder / "seg-0.idx").exists()
    reader.remove(W, 2)
    assert not files.folder.exists()
    reader.remove(W, 2)


def test_a_living_workers_newest_segment_stays(files: Files, reader: LogReader) -> None:
    """It may be written to at this moment; an older one may go unless a running attempt wrote to it."""
    files.write("seg-0", 1, b"x")
    files.write("seg-1", 1, b"x")
    (files.folder / "spool").touch()
    reader.remove(W, 1, segment=1)
    reader.remove(W, 2, segment=0, running={1})
    assert (files.folder / "seg-0.log").exists()
    reader.remove(W, 1, segment=0)
    assert sorted(item.name for item in files.folder.glob("seg-*.log")) == ["seg-1.log"]


def test_a_folder_with_something_of_somebody_else_is_kept(files: Files, reader: LogReader) -> None:
    """Only what we know is removed."""
    (files.folder / "theirs").mkdir()
    reader.remove(W, 1)
    assert files.folder.exists()
