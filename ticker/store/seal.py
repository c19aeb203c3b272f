"""Tells whether the embedded server finds its data as it was left: a mark in the data itself is in every copy of it too."""

from contextlib import suppress
from pathlib import Path

from ticker import codec

NAME = "ticker.seal"
AOF_FOLDER = "appendonlydir"


def seal(data_dir: Path) -> None:
    """Write down what the files are, once the server has ended in order; where that fails, the data is not sealed."""
    path = data_dir / NAME
    with suppress(OSError):
        # Made before the folder is looked at, which it changes.
        path.touch(mode=0o600)
        path.write_bytes(codec.to_json(_state(data_dir)))


def break_seal(data_dir: Path) -> bool:
    """Whether the files are those that were sealed; from now on they are not, until they are sealed again.

    A copy differs in its inodes and the times of their last change, which nobody can set; so does a folder that was moved.
    """
    path = data_dir / NAME
    try:
        found = codec.from_json(path.read_bytes())
        intact: bool = found == codec.from_json(codec.to_json(_state(data_dir)))
    except (OSError, ValueError):
        intact = False
    path.unlink(missing_ok=True)
    return intact


def _state(data_dir: Path) -> dict[str, list[int]]:
    folder = data_dir.stat()
    files = {
        file.name: [stat.st_size, stat.st_ino, stat.st_ctime_ns]
        for file in sorted((data_dir / AOF_FOLDER).iterdir())
        if (stat := file.stat())
    }
    return files | {".": [folder.st_ino, folder.st_ctime_ns]}
