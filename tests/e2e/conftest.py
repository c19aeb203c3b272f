"""A folder in which commands run, and the store that they may share."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from command_line import (
    Folder,
)
from redis import Redis


@pytest.fixture
def folder(tmp_path: Path, free_port: Callable[[], int]) -> Iterator[Folder]:
    made = Folder(tmp_path, free_port)
    try:
        yield made
    finally:
        made.close()


@pytest.fixture
def store(valkey_url: str) -> Iterator[Redis]:
    with Redis.from_url(valkey_url) as client:
        yield client
