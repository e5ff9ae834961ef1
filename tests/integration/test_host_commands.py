"""The worker host runs commands: surroundings, outcomes, output. Each test is a promise of docs/worker-protocol.md."""

from __future__ import annotations

import json
import signal
from typing import Any

import pytest
from fake_engine import until

# Signals 32 and 33 are the C library's own: no program can set them, and a starter that uses posix_spawn (make does)
# leaves them ignored.
LIBC_OWN = 1 << 31 | 1 << 32

CLEAN = """
import json, os, signal
status = dict(line.split(":\\t", 1) for line in open("/proc/self/status").read().splitlines() if ":\\t" in line)
fds = sorted(int(fd) for fd in os.listdir("/proc/self/fd") if os.path.exists("/proc/self/fd/" + fd))
print(json.dumps({"ignored": status["SigIgn"], "blocked": status["SigBlk"], "fds": fds, "env": dict(os.environ),
                  "session": os.getsid(0) == os.getpid()}))
"""


def test_a_command_reports_its_exit_code_output_and_usage(room: Any) -> None:
    """Both streams land in the log, the exit message has code, reason, reference and usage."""
    engine, worker = room.pair()
    ended = engine.run(1, shell="echo out; echo err >&2; exit 3")
    assert (ended["outcome"], ended["reason"], ended["code"]) == ("failed", "exit_code", 3)
    assert (worker.log(1, 1), worker.log(1, 2)) == (b"out\n", b"err\n")
    assert ended["log"] == {
        "worker": "w-1-1",
        "segment": 0,
        "first": 0,
        "last": 1,
        "own": [],
        "bytes": 8,
        "lost": 0,
    }
    assert ended["usage"]["max_rss_bytes"] > 0
    assert ended["started"] <= ended["at"]


def test_a_command_without_output_leaves_no_file(room: Any) -> None:
    """No output, no log file, no reference."""
    engine, worker = room.pair()
    assert engine.run(1, argv=["true"])["log"] is None
    assert not list(worker.folder.glob("seg-*"))


def test_a_command_finds_clean_surroundings(room: Any) -> None:
    """Default signals, own session, only descriptors 0, 1, 2 and progress, and the given environment plus ours."""
    engine, worker = room.pair()
    engine.run(1, shell=f"exec python3 - <<'EOF'\n{CLEAN}\nEOF", env={"PATH": "/usr/bin:/bin", "A": "b"})
    # The here-document makes descriptor 0 a file; what matters is that nothing beyond is ours.
    seen = json.loads(worker.log(1, 1))
    assert int(seen["blocked"], 16) == 0
    assert seen["session"]
    env = seen["env"]
    # Python itself ignores SIGPIPE and SIGXFSZ at its start; nothing else may be ignored.
    assert int(seen["ignored"], 16) & ~(1 << signal.SIGPIPE - 1 | 1 << signal.SIGXFSZ - 1 | LIBC_OWN) == 0
    assert env["INTERLOCK_ATTEMPT"] == "t1.1" and env["INTERLOCK_INSTANCE"] == "cafe" and env["A"] == "b"
    assert "HOME" not in env
    assert set(seen["fds"]) <= {0, 1, 2, int(env["INTERLOCK_PROGRESS"])}


def test_the_command_line_has_no_ignored_signals_at_exec(room: Any) -> None:
    """What a program that changes nothing sees: SigIgn and SigBlk are zero."""
    engine, worker = room.pair()
    engine.run(1, argv=["grep", "-E", "SigIgn|SigBlk", "/proc/self/status"])
    blocked, ignored = (int(line.split()[1], 16) for line in sorted(worker.log(1).decode().splitlines()))
    assert (blocked, ignored & ~LIBC_OWN) == (0, 0)


@pytest.mark.parametrize(
    ("argv", "cwd", "words"),
    [
        (["no-such-program"], None, "ENOENT"),
        (["/etc/passwd"], None, "EACCES"),
        (["./garbage"], None, "ENOEXEC"),
        (["true", "x" * 200_000], None, "E2BIG"),
        (["true"], "/nowhere", "working directory '/nowhere'"),
        (["./script"], None, "#!"),
        (["tr\0ue"], None, "null"),
        ([], None, "cannot start"),
    ],
)
def test_a_command_that_cannot_be_started_says_why(room: Any, argv: list[str], cwd: str | None, words: str) -> None:
    """reason exec with the errno's name: never to be taken for an exit code 127."""
    (room.folder / "garbage").write_bytes(b"\x00\x01")
    (room.folder / "garbage").chmod(0o755)
    (room.folder / "script").write_text("#!/no/such/interpreter\n")
    (room.folder / "script").chmod(0o755)
    engine, _ = room.pair()
    ended = engine.run(1, argv=argv, **({"cwd": cwd} if cwd else {}))
    assert (ended["outcome"], ended["reason"], ended["code"]) == ("failed", "exec", None)
    assert words in ended["message"]


def test_exit_code_127_is_an_exit_code(room: Any) -> None:
    """A shell's own 'not found' is the shell's exit code."""
    engine, _ = room.pair()
    ended = engine.run(1, shell="no-such-program")
    assert (ended["reason"], ended["code"]) == ("exit_code", 127)


def test_a_command_killed_by_a_signal_says_which(room: Any) -> None:
    """Not killed by us: failed, reason signal."""
    engine, _ = room.pair()
    ended = engine.run(1, shell="kill -SEGV $$")
    assert (ended["outcome"], ended["reason"], ended["signal"]) == ("failed", "signal", 11)


def test_json_left_by_a_command_is_its_output_and_the_file_is_removed(room: Any) -> None:
    """INTERLOCK_OUTPUT names the file."""
    engine, _ = room.pair()
    ended = engine.run(1, shell="""echo '{"parts": [1, 2]}' > "$INTERLOCK_OUTPUT" """)
    assert ended["output"] == {"parts": [1, 2]}
    assert not (room.state / "out-1").exists()


@pytest.mark.parametrize(
    ("script", "words"),
    [
        ("echo '{oops' > $INTERLOCK_OUTPUT", "not JSON"),
        ("echo NaN > $INTERLOCK_OUTPUT", "NaN"),
        ("head -c 100000 /dev/zero | tr '\\0' 1 > $INTERLOCK_OUTPUT", "larger than the limit"),
        ("mkfifo $INTERLOCK_OUTPUT", "not a regular file"),
    ],
)
def test_bad_output_fails_the_attempt_and_says_why(room: Any, script: str, words: str) -> None:
    """The command succeeded, its output cannot be used."""
    engine, _ = room.pair()
    ended = engine.run(1, shell=script)
    assert (ended["outcome"], ended["reason"]) == ("failed", "bad_output")
    assert words in ended["message"]
    assert not (room.state / "out-1").exists()


def test_progress_is_passed_on_and_limited(room: Any) -> None:
    """A thousand reports become a few messages, and the last one counts."""
    engine, _ = room.pair()
    script = 'for i in $(seq 1000); do echo "{\\"done\\": $i, \\"total\\": 1000}"; done >&$INTERLOCK_PROGRESS'
    script += "; echo junk >&$INTERLOCK_PROGRESS"
    engine.run(1, shell=script)
    reports = [message for message in engine.seen if message["t"] == "progress"]
    assert 1 <= len(reports) <= 10
    assert reports[-1]["done"] == 1000


def test_binary_output_without_newlines_is_kept_byte_for_byte(room: Any) -> None:
    """Bytes are never decoded, and go on into a file of their own past the limit."""
    engine, worker = room.pair()
    code = "import sys, hashlib; sys.stdout.buffer.write(bytes(range(256)) * 1000)"
    ended = engine.run(1, argv=["python3", "-c", code])
    assert worker.log(1) == bytes(range(256)) * 1000
    assert ended["log"]["own"] == [0] and ended["lost_bytes"] == 0


def test_a_flood_keeps_head_and_tail_and_counts_the_rest(room: Any) -> None:
    """300 MB without a newline: the first and the last half of the cap stay, the worker's memory does not grow."""
    engine, worker = room.pair(log_cap=1 << 20)
    script = "printf FIRST; head -c 300000000 /dev/zero; printf LAST"
    ended = engine.run(1, shell=script)
    kept = worker.log(1)
    assert kept.startswith(b"FIRST") and kept.endswith(b"LAST")
    assert ended["log"]["bytes"] == 300_000_009 and len(kept) + ended["lost_bytes"] == 300_000_009
    assert 7 * (1 << 20) // 8 <= len(kept) <= 1 << 20
    status = (room.folder / f"/proc/{worker.process.pid}/status").read_text()
    assert int(status.split("VmHWM:")[1].split()[0]) < 100_000


def test_a_full_disk_drops_output_and_not_the_job(room: Any) -> None:
    """Where nothing can be written, bytes are counted as lost and the job ends as it would have."""
    engine, worker = room.pair()
    until((worker.folder / "spool").exists)
    (worker.folder / "seg-0.log").symlink_to("/dev/full")
    ended = engine.run(1, shell="head -c 1000000 /dev/zero; exit 4")
    assert (ended["code"], ended["lost_bytes"]) == (4, 1_000_000)


def test_small_outputs_of_many_commands_share_a_segment(room: Any) -> None:
    """Interleaved attempts in one file, told apart by the index."""
    engine, worker = room.pair(slots=8)
    for number in range(1, 9):
        engine.start(number, shell=f"for i in 1 2 3 4 5; do echo {number}; done")
    for number in range(1, 9):
        engine.wait("exit", number)
        assert worker.log(number) == f"{number}\n".encode() * 5
    assert len(list(worker.folder.glob("seg-*.log"))) == 1 and not list(worker.folder.glob("a-*"))
