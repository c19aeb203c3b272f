"""Where the files of the archive are kept: a folder of this machine, or an object store by way of fsspec.

Both write a file whole or not at all. A folder does so by a temporary name, a sync and a rename; an object store has no
rename, but shows an object only once it is complete.
"""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

import fsspec
import pyarrow as pa

from ticker.errors import ArchiveError, ConfigError
from ticker.redact import without_secrets

TEMPORARY = ".tmp"
LEFT_BEHIND_S = 3600
"""A temporary file this old belongs to nobody any more."""


class Storage(Protocol):
    """What the archive needs of a place; paths are relative, with `/`. What fails raises `ArchiveError`."""

    def folders(self, path: str) -> list[str]:
        """The names of the folders in a folder; none where it is not there."""

    def files(self, path: str) -> list[str]:
        """The paths of all files in a folder and below."""

    def open(self, path: str) -> Any:
        """A file to read from, to be closed; raises `FileNotFoundError` where it is not there."""

    def write(self, path: str, content: bytes) -> None:
        """Write a file, whole or not at all; it is there for good on return."""

    def remove(self, path: str) -> None:
        """Remove a file, which may be gone already."""

    def sweep(self, path: str) -> None:
        """Remove what a killed process has left half written in a folder."""


def open_storage(url: str) -> Storage:
    """The place of an URL, or of a path; raises `ConfigError` for one that nothing can be made of."""
    if "://" not in url:
        return LocalStorage(Path(url))
    if url.startswith("file://"):
        return LocalStorage(Path(url.removeprefix("file://")))
    try:
        return ObjectStorage(*fsspec.core.url_to_fs(url))
    except (ImportError, ValueError) as error:
        raise ConfigError(
            f"archive.url: {without_secrets(str(error))}; allowed: a folder, or an URL fsspec knows"
        ) from None


@contextmanager
def _telling() -> Iterator[None]:
    """What goes wrong in an error of ours; that a file is not there stays what it is, as readers go on from it."""
    try:
        yield
    except FileNotFoundError:
        raise
    except Exception as error:
        # Each file system of fsspec raises what its own client does.
        raise ArchiveError(without_secrets(f"the archive: {type(error).__name__}: {error}")) from error


class LocalStorage:
    """A folder."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def folders(self, path: str) -> list[str]:
        """The names of the folders in a folder; none where it is not there."""
        with _telling():
            try:
                return sorted(entry.name for entry in os.scandir(self._root / path) if entry.is_dir())
            except FileNotFoundError:
                return []

    def files(self, path: str) -> list[str]:
        """The paths of all files in a folder and below."""
        with _telling():
            # A year has hundreds of folders: no path object is made of each.
            return list(_files_below(str(self._root / path), path))

    def open(self, path: str) -> Any:
        """A file to read from, to be closed; raises `FileNotFoundError` where it is not there."""
        with _telling():
            return pa.OSFile(str(self._root / path))

    def write(self, path: str, content: bytes) -> None:
        """Write a file, whole or not at all; it is there for good on return."""
        target = self._root / path
        # Who else writes the same file takes another name; both then rename to the same content.
        temporary = target.with_name(f"{target.name}.{os.getpid()}.{time.monotonic_ns()}{TEMPORARY}")
        with _telling():
            self._make_folder(target.parent)
            try:
                with temporary.open("wb") as file:
                    file.write(content)
                    file.flush()
                    os.fsync(file.fileno())
                temporary.replace(target)
            except BaseException:
                temporary.unlink(missing_ok=True)
                raise
            _sync_folder(target.parent)

    def remove(self, path: str) -> None:
        """Remove a file, which may be gone already."""
        with _telling():
            (self._root / path).unlink(missing_ok=True)

    def sweep(self, path: str) -> None:
        """Remove what a killed process has left half written in a folder."""
        with _telling():
            for left in (self._root / path).glob(f"*{TEMPORARY}"):
                if time.time() - left.stat().st_mtime > LEFT_BEHIND_S:
                    left.unlink(missing_ok=True)

    def _make_folder(self, folder: Path) -> None:
        """A folder that is still there after a loss of power."""
        if folder.exists():
            return
        self._make_folder(folder.parent)
        folder.mkdir(exist_ok=True)
        _sync_folder(folder.parent)


def _files_below(folder: str, path: str) -> Iterator[str]:
    """The paths of what is in a folder and below."""
    try:
        found = os.scandir(folder)
    except FileNotFoundError:
        return
    with found:
        for entry in found:
            below = f"{path}/{entry.name}" if path else entry.name
            if entry.is_dir():
                yield from _files_below(entry.path, below)
            elif not entry.name.endswith(TEMPORARY):
                yield below


def _sync_folder(folder: Path) -> None:
    number = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(number)
    finally:
        os.close(number)


class ObjectStorage:
    """A prefix of an object store."""

    def __init__(self, system: Any, root: str) -> None:
        self._system = system
        self._root = root.rstrip("/")

    def folders(self, path: str) -> list[str]:
        """The names of the folders in a folder; none where it is not there."""
        with _telling():
            try:
                self._system.invalidate_cache()
                found = self._system.ls(f"{self._root}/{path}", detail=True)
            except FileNotFoundError:
                return []
            return sorted(
                str(one["name"]).rstrip("/").rpartition("/")[2] for one in found if one["type"] == "directory"
            )

    def files(self, path: str) -> list[str]:
        """The paths of all files in a folder and below."""
        with _telling():
            self._system.invalidate_cache()
            start = len(self._root) + 1 if self._root else 0
            return [str(name)[start:] for name in self._system.find(f"{self._root}/{path}")]

    def open(self, path: str) -> Any:
        """A file to read from, to be closed; raises `FileNotFoundError` where it is not there."""
        with _telling():
            return self._system.open(f"{self._root}/{path}", "rb")

    def write(self, path: str, content: bytes) -> None:
        """Write a file, whole or not at all; it is there for good on return."""
        with _telling():
            self._system.pipe_file(f"{self._root}/{path}", content)

    def remove(self, path: str) -> None:
        """Remove a file, which may be gone already."""
        with _telling():
            try:
                self._system.rm_file(f"{self._root}/{path}")
            except FileNotFoundError:
                return

    def sweep(self, path: str) -> None:
        """Nothing is ever half written here."""
