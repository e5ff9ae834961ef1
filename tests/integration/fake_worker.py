"""A scripted worker: speaks the protocol, and misbehaves as the file `mode` in the state folder says."""

from __future__ import annotations

import argparse
import fcntl
import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

HOLD = [
    sys.executable,
    "-S",
    "-c",
    "import signal,time\nsignal.signal(15, signal.SIG_IGN)\nprint(flush=True)\ntime.sleep(60)",
]


class Fake:
    def __init__(self, state: Path, worker: str, slots: int) -> None:
        self.state, self.worker, self.slots = state, worker, slots
        self.mode = (state / "mode").read_text() if (state / "mode").exists() else "normal"
        self.running: dict[int, dict] = {}
        self.finished: dict[int, dict] = {}
        self.epoch, self.retiring, self.forget = 0, False, False

    def lock(self) -> None:
        path = self.state / "workers" / self.worker / "spool"
        self.spool = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
        fcntl.flock(self.spool, fcntl.LOCK_EX)
        self.boot = {
            "worker": self.worker,
            "pid": os.getpid(),
            "boot_id": Path("/proc/sys/kernel/random/boot_id").read_text().strip(),
            "start_ticks": 1,
            "protocol": 0 if self.mode == "old" else 1,
            "slots": self.slots,
        }
        self.record({"t": "boot", **self.boot})

    def record(self, record: dict) -> None:
        os.write(self.spool, json.dumps(record).encode() + b"\n")

    def serve(self) -> None:
        while not self.left():
            try:
                link = socket.socket(socket.AF_UNIX)
                link.connect(os.path.relpath(self.state / "workers.sock"))
                self.talk(link)
            except OSError:
                time.sleep(0.05)
            if not self.state.exists():
                return

    def left(self) -> bool:
        return self.retiring and not self.running and not self.finished

    def talk(self, link: socket.socket) -> None:
        self.link = link
        running = list(self.running.values())
        finished = list(self.finished.values())
        if self.mode == "unknown":
            running.append({"a": 999, "e": 1, "at": 1, "pid": 1})
            finished.append(self.end(998, 1))
        hello = {"t": "hello", **self.boot, "epoch": self.epoch, "running": running, "finished": finished}
        if self.mode == "nonsense":
            hello["worker"] = "../../etc"
        self.send(hello)
        if self.mode == "noisy":
            self.noise()
        for line in link.makefile("rb"):
            value = json.loads(line)
            for message in value if isinstance(value, list) else [value]:
                (self.state / "heard").open("a").write(json.dumps(message) + "\n")
                getattr(self, message["t"])(message)
            if self.left() or self.forget:
                self.forget = False
                return link.close()
        return link.close()

    def noise(self) -> None:
        self.link.sendall(b'garbage\n[1,2]\n{"t":"dance"}\n{"t":"exit"}\n{"t":"progress","a":1}\n{"t":"exit",')
        time.sleep(0.01)
        self.link.sendall(b'"a":77,"e":1}\n')

    def send(self, *messages: dict) -> None:
        self.link.sendall(json.dumps(messages[0] if len(messages) == 1 else messages).encode() + b"\n")

    def welcome(self, message: dict) -> None:
        self.epoch = message["epoch"]

    def start(self, message: dict) -> None:
        attempt, epoch, spec = message["a"], message["e"], message["spec"]
        do = spec["do"]
        if do == "refuse":
            return self.send({"t": "refused", "a": attempt, "e": epoch, "why": "no room"})
        if do == "forget":
            self.forget = True
            return None
        if do == "die":
            os.kill(os.getpid(), signal.SIGKILL)
        self.record({"t": "start", "a": attempt, "e": epoch, "at": 5})
        if do == "child":
            subprocess.Popen(HOLD, env=spec["env"], start_new_session=True, stdout=subprocess.PIPE).stdout.readline()
        self.send(
            {"t": "started", "a": attempt, "e": epoch, "at": 5, "pid": 42},
            {"t": "progress", "a": attempt, "done": 1, "total": None},
        )
        if do == "wrong":
            self.send(self.end(attempt, epoch + 1), {"t": "started", "a": attempt, "e": epoch + 1, "at": 5, "pid": 1})
        if do == "unreadable":
            return self.send({**self.end(attempt, epoch), "outcome": "splendid"})
        if do != "succeed":
            self.running[attempt] = {"a": attempt, "e": epoch, "at": 5, "pid": 42}
            return None
        return self.finish(attempt, epoch, "succeeded")

    def end(self, attempt: int, epoch: int, outcome: str = "succeeded") -> dict:
        return {
            "t": "exit",
            "a": attempt,
            "e": epoch,
            "at": 9,
            "started": 5,
            "outcome": outcome,
            "reason": outcome,
            "code": 0,
            "signal": None,
            "message": "",
            "output": {"x": 1},
            "log": None,
            "lost_bytes": 0,
            "usage": {},
        }

    def finish(self, attempt: int, epoch: int, outcome: str) -> None:
        message = self.end(attempt, epoch, outcome)
        self.record(message)
        self.finished[attempt] = message
        self.running.pop(attempt, None)
        self.send(message)

    def kill(self, message: dict) -> None:
        if message["a"] in self.running:
            self.finish(message["a"], self.running[message["a"]]["e"], "killed")

    def ack(self, message: dict) -> None:
        for attempt in message["a"]:
            self.finished.pop(attempt, None)

    def retire(self, _: dict) -> None:
        self.retiring = True


def main() -> None:
    parser = argparse.ArgumentParser()
    for name, kind in (("state", Path), ("worker", str), ("slots", int), ("config", json.loads)):
        parser.add_argument(f"--{name}", type=kind)
    given = parser.parse_args()
    fake = Fake(given.state, given.worker, given.slots)
    if fake.mode == "crash":
        sys.exit("cannot start today")
    if fake.mode != "mute":
        os.chdir(given.state)
        fake.lock()
    if fake.mode in ("silent", "mute"):
        time.sleep(60)
    fake.serve()


if __name__ == "__main__":
    main()
