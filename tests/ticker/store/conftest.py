"""An embedded server, under each guard that this system has, in a folder of its own."""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from embedded_parent import Parent

from ticker.store.embedded import EmbeddedServer
from ticker.store.guard import Guard

GUARDS = [Guard.PIPE, *([Guard.DEATH_SIGNAL] if sys.platform == "linux" else [])]


@pytest.fixture(params=GUARDS, ids=lambda guard: guard.name)
def guard(request: pytest.FixtureRequest) -> Guard:
    kind: Guard = request.param
    return kind


@pytest.fixture
def port(free_port: Callable[[], int]) -> int:
    return free_port()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder that is not there yet, with a name that wants quoting."""
    return tmp_path / "ticker's data, größer" / "redis"


@pytest.fixture
def server(folder: Path, port: int, guard: Guard) -> Iterator[EmbeddedServer]:
    made = EmbeddedServer(folder, port, guard=guard)
    yield made
    made.stop()


@pytest.fixture
def start_parent() -> Iterator[Callable[[Path, int, Guard], Parent]]:
    parents: list[Parent] = []

    def start(folder: Path, port: int, guard: Guard) -> Parent:
        parents.append(Parent(folder, port, guard))
        return parents[-1]

    yield start
    for parent in parents:
        parent.close()
