"""What the tests of the embedded server look at: processes, locks, files, and a parent that is killed."""

import fcntl
import json
import os
import subprocess
import sys
from pathlib import Path

from redis import Redis

from ticker.store.embedded import EmbeddedServer
from ticker.store.guard import Guard

# A process of its own that starts a server, tells its pid, and does nothing more: no handlers, no stop().
PARENT = """
import json, signal, sys
from pathlib import Path
from ticker.errors import TickerError
from ticker.store.embedded import EmbeddedServer
from ticker.store.guard import Guard
folder, port, guard = sys.argv[1:]
server = EmbeddedServer(Path(folder), int(port), guard=Guard[guard])
try:
    server.start()
except TickerError as error:
    print(json.dumps({"error": f"{type(error).__name__}: {error}"}), flush=True)
    sys.exit(2)
print(json.dumps({"pid": server.pid}), flush=True)
while True:
    signal.pause()
"""


class Parent:
    """A process that runs an embedded server."""

    def __init__(self, folder: Path, port: int, guard: Guard) -> None:
        command = [sys.executable, "-c", PARENT, str(folder), str(port), guard.name]
        self.process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, cwd=Path(__file__).parents[2]
        )

    def said(self) -> dict[str, object]:
        """What it printed; waits for it."""
        assert self.process.stdout
        told: dict[str, object] = json.loads(self.process.stdout.readline())
        return told

    def server_pid(self) -> int:
        pid = self.said()["pid"]
        assert isinstance(pid, int)
        return pid

    def end(self, number: int) -> None:
        self.process.send_signal(number)
        self.process.wait(10)

    def close(self) -> None:
        self.process.kill()
        self.process.wait(10)
        if self.process.stdout:
            self.process.stdout.close()


def client_of(server: EmbeddedServer) -> Redis:
    """A client of it that does not try again."""
    return Redis.from_url(server.url, protocol=2, retry=None)


def is_alive(pid: int) -> bool:
    """Whether a process runs; one that has ended and is not yet reaped by init does not."""
    state = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True, check=False).stdout
    return bool(state.strip()) and not state.startswith("Z")


def is_free(folder: Path) -> bool:
    """Whether the server's lock can be had."""
    with (folder / "server.lock").open("r+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True


def open_files() -> int:
    """How many this process has."""
    return len(os.listdir("/dev/fd"))


def newest_aof(folder: Path) -> Path:
    """The file it appends to."""
    return next((folder / "appendonlydir").glob("*.incr.aof"))


def script_in_place(folder: Path, line: str) -> Path:
    """A program in place of the server."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    script = folder / "server.sh"
    script.write_text(f"#!/bin/sh\n{line}\n")
    script.chmod(0o700)
    return script


def guards_of(port: int) -> list[str]:
    """The shells that watch over a server on this port."""
    listed = subprocess.run(["ps", "-A", "-o", "stat=,args="], capture_output=True, text=True, check=True).stdout
    return [line for line in listed.splitlines() if f"--port {port} " in line and not line.startswith("Z")]
