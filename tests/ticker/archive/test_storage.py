import os
import subprocess
import sys

import pytest

from ticker.archive.storage import LEFT_BEHIND_S, LocalStorage, open_storage
from ticker.errors import ArchiveError, ConfigError


@pytest.fixture
def storage(url):
    return open_storage(url)


def read(storage, path):
    with storage.open(path) as file:
        return bytes(file.read())


def test_what_is_written_is_read_back(storage):
    """Under its path, below its folder, until it is removed."""
    assert storage.files("a") == []
    assert storage.folders("a") == []
    storage.write("a/symbol=X/date=1/one", b"1")
    storage.write("a/symbol=X/date=2/two", b"2")
    storage.write("a/symbol=X/date=2/two", b"3")
    assert read(storage, "a/symbol=X/date=2/two") == b"3"
    assert sorted(storage.files("a/symbol=X")) == ["a/symbol=X/date=1/one", "a/symbol=X/date=2/two"]
    assert storage.folders("a") == ["symbol=X"]
    storage.sweep("a/symbol=X/date=1")
    storage.remove("a/symbol=X/date=1/one")
    storage.remove("a/symbol=X/date=1/one")
    assert storage.files("a") == ["a/symbol=X/date=2/two"]
    with pytest.raises(FileNotFoundError):
        storage.open("a/symbol=X/date=1/one")


def test_a_file_url_is_a_folder(tmp_path):
    """As good as its path."""
    open_storage(f"file://{tmp_path}").write("x", b"1")
    assert (tmp_path / "x").read_bytes() == b"1"


@pytest.mark.parametrize("url", ["nonsense://bucket/x", "abc://user:secretword@host/x"])
def test_an_url_that_nobody_knows_is_refused(url):
    """With the setting's name, and without a password."""
    with pytest.raises(ConfigError, match=r"archive\.url: .*; allowed: a folder, or an URL") as told:
        open_storage(url)
    assert "secretword" not in str(told.value)


def test_a_place_that_cannot_be_written_is_told(tmp_path):
    """As an error of the archive, which others go on without."""
    (tmp_path / "file").write_text("in the way")
    storage = LocalStorage(tmp_path / "file")
    with pytest.raises(ArchiveError, match="the archive: NotADirectoryError"):
        storage.write("a/b", b"1")


def test_a_killed_writer_leaves_nothing_that_counts(tmp_path):
    """Neither half a file nor, in the end, its remains."""
    program = (
        "import os, sys, pathlib; from ticker.archive import storage\n"
        "os.fsync = lambda number: os._exit(9)\n"
        "storage.LocalStorage(pathlib.Path(sys.argv[1])).write('x', b'1' * 100000)"
    )
    (tmp_path / "a").mkdir()
    done = subprocess.run([sys.executable, "-c", program, str(tmp_path / "a")], check=False)
    assert done.returncode == 9
    storage = LocalStorage(tmp_path)
    assert storage.files("a") == []
    (left,) = (tmp_path / "a").iterdir()
    storage.sweep("a")
    assert left.exists()
    os.utime(left, (0, left.stat().st_mtime - LEFT_BEHIND_S - 1))
    storage.sweep("a")
    assert not left.exists()
