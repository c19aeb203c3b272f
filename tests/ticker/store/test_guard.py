"""The embedded server ends with the process that started it."""

import os
import signal
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from embedded_parent import Parent, client_of, guards_of, is_alive, is_free

from ticker.store.embedded import EmbeddedServer
from ticker.store.guard import Guard


@pytest.mark.parametrize("number", ["SIGKILL", "SIGTERM", "SIGINT", "SIGHUP"])
def test_it_ends_with_its_parent(
    folder: Path,
    port: int,
    guard: Guard,
    number: str,
    start_parent: Callable[[Path, int, Guard], Parent],
    block_until: Callable[..., None],
) -> None:
    """Whatever signal ends the process that started it, kill -9 included."""
    parent = start_parent(folder, port, guard)
    pid = parent.server_pid()
    assert is_alive(pid)
    parent.end(signal.Signals[number])
    block_until(lambda: not is_alive(pid))
    block_until(lambda: is_free(folder))
    block_until(lambda: not guards_of(port))
    # It was asked to end, not cut off.
    assert "Received SIGTERM" in (folder / "valkey.log").read_text()


def test_nothing_acknowledged_is_lost_by_kill_9_of_both(
    folder: Path,
    port: int,
    guard: Guard,
    start_parent: Callable[[Path, int, Guard], Parent],
) -> None:
    """Parent and server are killed at the same time; each write that was answered is there afterwards."""
    parent = start_parent(folder, port, guard)
    pid = parent.server_pid()
    server = EmbeddedServer(folder, port, guard=guard)
    with client_of(server) as client:
        for number in range(1, 1001):
            client.xadd("s", {"n": number}, id=f"{number}-1")
    os.kill(pid, signal.SIGKILL)
    parent.end(signal.SIGKILL)
    with server, client_of(server) as client:
        assert client.xlen("s") == 1000


def test_ctrl_c_does_not_reach_it(server: EmbeddedServer) -> None:
    """It is in a session of its own, so the terminal's signals pass it by."""
    server.start()
    assert server.pid
    assert os.getsid(server.pid) != os.getsid(0)


def test_it_starts_where_there_are_threads(server: EmbeddedServer) -> None:
    """Python warns of fork() in a process with threads, and warnings are errors here."""
    done = threading.Event()
    thread = threading.Thread(target=done.wait)
    thread.start()
    try:
        server.start()
    finally:
        done.set()
        thread.join()
