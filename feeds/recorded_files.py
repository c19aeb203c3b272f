"""Finds the files that the path of a replay means."""

import glob
from collections.abc import Sequence
from pathlib import Path

from feeds.feed import FeedError


def find_files(path: str | Sequence[str]) -> list[str]:
    """The files of a name, a pattern or a list of these, those of a pattern sorted; `FeedError` where there is none."""
    files: dict[str, str] = {}
    for pattern in [path] if isinstance(path, str) else path:
        for file in _matches(pattern):
            if Path(file).is_dir():
                raise FeedError(f"{file}: found a folder, expected a file or a pattern such as {file}/*.csv.gz")
            real = str(Path(file).resolve())
            if real in files:
                raise FeedError(f"{file}: found twice in path, expected each file once")
            files[real] = file
    return list(files.values())


def _matches(pattern: str) -> list[str]:
    # A name with brackets may be meant as it is.
    if Path(pattern).exists():
        return [pattern]
    # Path.glob takes no absolute pattern.
    found = sorted(glob.glob(pattern, recursive=True))  # noqa: PTH207
    if not found:
        raise FeedError(f"{pattern}: found no file of this name or pattern, looking from {Path.cwd()}")
    return found
