"""The embedded server has its folder to itself."""

import os
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from embedded_parent import Parent, client_of, is_alive, open_files

from ticker.errors import ConfigError
from ticker.store import data_folder
from ticker.store.embedded import EmbeddedServer
from ticker.store.guard import Guard


def test_a_folder_in_use_is_refused_at_once(
    folder: Path,
    port: int,
    guard: Guard,
    free_port: Callable[[], int],
    start_parent: Callable[[Path, int, Guard], Parent],
) -> None:
    """One line names the folder, who holds it, and what to do; the first server goes on."""
    parent = start_parent(folder, port, guard)
    pid = parent.server_pid()
    began = time.monotonic()
    with pytest.raises(ConfigError) as refused:
        EmbeddedServer(folder, free_port(), guard=guard).start()
    assert time.monotonic() - began < 2
    line = str(refused.value)
    assert str(folder) in line
    assert f"process {parent.process.pid}" in line
    assert "redis.data_dir" in line
    assert "\n" not in line
    assert is_alive(pid)


def test_the_same_process_cannot_have_it_twice(server: EmbeddedServer, free_port: Callable[[], int]) -> None:
    """Two servers in one process are refused like two processes are."""
    before = open_files()
    with server:
        with pytest.raises(ConfigError, match=f"process {os.getpid()};"):
            EmbeddedServer(server.data_dir, free_port()).start()
        assert server.is_running()
    assert open_files() == before


def test_a_folder_whose_server_died_still_belongs_to_its_owner(
    server: EmbeddedServer, free_port: Callable[[], int]
) -> None:
    """Until its owner lets it go, nobody slips in between."""
    server.start()
    assert server.pid
    os.kill(server.pid, signal.SIGKILL)
    with pytest.raises(ConfigError, match="in use by process"):
        EmbeddedServer(server.data_dir, free_port()).start()


def test_of_many_who_start_at_once_one_gets_it(
    folder: Path,
    guard: Guard,
    free_port: Callable[[], int],
    start_parent: Callable[[Path, int, Guard], Parent],
) -> None:
    """Two servers on one record can never be."""
    parents = [start_parent(folder, free_port(), guard) for _ in range(4)]
    said = [parent.said() for parent in parents]
    assert sum("pid" in one for one in said) == 1, said
    assert all("pid" in one or "in use by" in str(one["error"]) for one in said), said


def test_it_starts_right_after_kill_9(
    folder: Path,
    port: int,
    guard: Guard,
    start_parent: Callable[[Path, int, Guard], Parent],
) -> None:
    """On the same folder and port, with what was written, though the old server has just been told to end."""
    for round_ in range(5):
        parent = start_parent(folder, port, guard)
        parent.server_pid()
        server = EmbeddedServer(folder, port, guard=guard)
        with client_of(server) as client:
            client.rpush("rounds", round_)
        parent.end(signal.SIGKILL)
        with server, client_of(server) as client:
            assert client.llen("rounds") == round_ + 1


def test_an_old_server_is_waited_for(
    folder: Path,
    port: int,
    guard: Guard,
    start_parent: Callable[[Path, int, Guard], Parent],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Where the server of a killed parent does not end, the line names it; once it does, the start goes through."""
    parent = start_parent(folder, port, guard)
    pid = parent.server_pid()
    os.kill(pid, signal.SIGSTOP)
    parent.end(signal.SIGKILL)
    server = EmbeddedServer(folder, port, guard=guard)
    try:
        with monkeypatch.context() as patched:
            patched.setattr(data_folder, "OLD_SERVER_TIMEOUT_S", 0.1)
            with pytest.raises(ConfigError, match=f"process {pid}, the server of an earlier run") as refused:
                server.start()
        assert str(folder) in str(refused.value)
        assert is_alive(pid)
        timer = threading.Timer(0.2, os.kill, (pid, signal.SIGCONT))
        timer.start()
        with server:
            assert server.pid != pid
        timer.join()
    finally:
        if is_alive(pid):
            os.kill(pid, signal.SIGKILL)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_may_not_be_written_is_refused(tmp_path: Path, port: int) -> None:
    """One line names it."""
    locked = tmp_path / "locked"
    locked.mkdir(mode=0o500)
    with pytest.raises(ConfigError, match=r"locked.*Permission denied"):
        EmbeddedServer(locked, port).start()


def test_a_file_in_place_of_the_folder_is_refused(tmp_path: Path, port: int) -> None:
    """One line names it."""
    file = tmp_path / "file"
    file.write_text("")
    with pytest.raises(ConfigError, match=r"redis\.data_dir: .*/file cannot be used: File exists"):
        EmbeddedServer(file, port).start()
    with pytest.raises(ConfigError, match=r"redis\.data_dir: .*/file/data cannot be used: Not a directory"):
        EmbeddedServer(file / "data", port).start()
