import os
import shutil

import pytest

from ticker.store.embedded import EmbeddedServer
from ticker.store.seal import break_seal, seal


@pytest.fixture
def data(tmp_path):
    """A data folder with an append-only file in two parts."""
    folder = tmp_path / "data"
    (folder / "appendonlydir").mkdir(parents=True)
    (folder / "appendonlydir" / "a.base.rdb").write_bytes(b"base")
    (folder / "appendonlydir" / "a.incr.aof").write_bytes(b"one two")
    return folder


def test_what_was_sealed_is_intact_once(data):
    """Whoever starts the server breaks the seal: after a crash there is none."""
    assert not break_seal(data)
    seal(data)
    assert break_seal(data)
    assert not break_seal(data)
    seal(data)
    assert break_seal(data)


def copied(data):
    shutil.copytree(data, data.with_name("backup"))
    shutil.rmtree(data)
    data.with_name("backup").rename(data)


def moved(data):
    data.rename(data.with_name("aside"))
    data.with_name("aside").rename(data)


def replaced(data):
    aof = data / "appendonlydir"
    shutil.copytree(aof, data / "other")
    shutil.rmtree(aof)
    (data / "other").rename(aof)


def rewritten(data):
    file = data / "appendonlydir" / "a.incr.aof"
    times = file.stat().st_atime_ns, file.stat().st_mtime_ns
    file.write_bytes(b"one TWO")
    os.utime(file, ns=times)


def cut(data):
    os.truncate(data / "appendonlydir" / "a.incr.aof", 3)


def added(data):
    (data / "appendonlydir" / "b.incr.aof").touch()


def removed(data):
    (data / "appendonlydir" / "a.incr.aof").unlink()


def emptied(data):
    shutil.rmtree(data / "appendonlydir")


def scribbled(data):
    (data / "ticker.seal").write_text("{}")


@pytest.mark.parametrize("change", [copied, moved, replaced, rewritten, cut, added, removed, emptied, scribbled])
def test_whatever_is_done_to_the_files_breaks_the_seal(data, change):
    """Whether an earlier copy is put back or something is cut off."""
    seal(data)
    change(data)
    assert not break_seal(data)


def test_the_server_is_sealed_by_a_stop_in_order(tmp_path, free_port):
    """And only by that: not where it has ended by itself, or was killed."""
    server = EmbeddedServer(tmp_path / "data", free_port())
    found = []
    for end in ("stop", "kill", "stop", "leave", "stop"):
        server.start()
        found.append(server.as_left)
        if end == "kill":
            os.kill(server.pid, 9)
            while server.is_running():
                pass
        elif end == "leave":
            os.kill(server.pid, 15)
            while server.is_running():
                pass
        server.stop()
    assert found == [False, True, False, True, False]
