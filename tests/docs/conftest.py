"""What the tests of the docs share: the code blocks, one running service, and commands that are started against it."""

import os
import re
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from socket import socket

import httpx
import pytest
import yaml
from redis import Redis

from ticker.store.address import DEFAULT_PORT

REPOSITORY = Path(__file__).parents[2]
PAGES = [REPOSITORY / "README.md", REPOSITORY / "CONTRIBUTING.md", *sorted((REPOSITORY / "docs").glob("*.md"))]
BIN = Path(sys.executable).parent
FENCE = re.compile(r"^```([^\n]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
DEADLINE_S = 20.0

KINDS = {
    "command": ("sh", ""),
    "session": ("console", ""),
    "plug": ("console", "plug"),
    "message": ("json", ""),
    "answer": ("json", r"/\S+"),
    "program": ("python", "|endless"),
    "config": ("yaml", ""),
    "prometheus": ("yaml", "prometheus"),
    "unit": ("ini", r"\w+\.service"),
    "feed": ("python", "file=dice.py"),
    "feed entry point": ("toml", "entry-point"),
    "feed config": ("yaml", "dice"),
    "store user": ("redis", r"\w+"),
    "layout": ("text", ""),
    "archive program": ("python", "archive"),
    "archive query": ("sql", "archive"),
}
"""Kinds of blocks, by their language and the words behind it. Of each kind, the marker `blocks` gives a test all blocks."""


@dataclass(frozen=True, slots=True)
class Block:
    """A code block: where it stands, its language, the words behind that, its text."""

    page: str
    line: int
    language: str
    words: str
    text: str

    @property
    def place(self) -> str:
        return f"{self.page}:{self.line}"

    @property
    def kind(self) -> str | None:
        """Its name in `KINDS`; None for a block that nothing would run."""
        fits = (
            n for n, (language, words) in KINDS.items() if language == self.language and re.fullmatch(words, self.words)
        )
        return next(fits, None)


def blocks_of(page: str, text: str) -> Iterator[Block]:
    for found in FENCE.finditer(text):
        language, _, words = found[1].strip().partition(" ")
        yield Block(page, text.count("\n", 0, found.start()) + 1, language, words, found[2])


class Running:
    """A command in a process group of its own, with its output as it comes."""

    def __init__(self, command: str, environment: dict[str, str]) -> None:
        self.process = subprocess.Popen(
            ["sh", "-c", command],
            cwd=REPOSITORY,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
        self._begun = b""
        self._ended: tuple[int, str] | None = None

    def lines(self, count: int) -> list[str]:
        """The first lines that it prints and that say something; fewer where it ends before, or falls silent."""
        assert self.process.stdout is not None
        output, deadline = self.process.stdout.fileno(), time.monotonic() + DEADLINE_S
        while time.monotonic() < deadline and len(self._whole()) < count:
            if select.select([output], [], [], 0.1)[0]:
                read = os.read(output, 1 << 16)
                if not read:
                    break
                self._begun += read
        return self._whole()[:count]

    def says(self, beginning: str) -> bool:
        """Whether a line that begins like this comes."""
        seen = 0
        while len(lines := self.lines(seen + 1)) > seen:
            seen = len(lines)
            if lines[-1].startswith(beginning):
                return True
        return False

    def _whole(self) -> list[str]:
        """Lines that are complete, without the prompts and the cursor's movements."""
        text = self._begun.decode().rpartition("\n")[0]
        text = re.sub(r"\x1b(\[[0-9;]*[A-Za-z]|[78])", "", text)
        lines = [raw.removeprefix("> ").rstrip() for raw in text.splitlines()]
        # Heartbeats come as time passes, between any two other messages.
        return [line for line in lines if line not in ("", ">") and '"type":"heartbeat"' not in line]

    def rest(self) -> str:
        """What has come and ends without a line feed, as an answer of curl does."""
        return self._begun.decode().rpartition("\n")[2]

    def end(self) -> tuple[int, str]:
        """Its exit code after Ctrl-C, and what it has complained about."""
        if self._ended:
            return self._ended
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGINT)
        try:
            _, errors = self.process.communicate(timeout=10)
        finally:
            if self.process.poll() is None:
                os.killpg(self.process.pid, signal.SIGKILL)
                self.process.wait()
            for pipe in (self.process.stdin, self.process.stdout, self.process.stderr):
                if pipe:
                    pipe.close()
        self._ended = self.process.returncode, errors.decode()
        return self._ended


BLOCKS = [
    block for path in PAGES for block in blocks_of(path.relative_to(REPOSITORY).as_posix(), path.read_text("utf-8"))
]


def pytest_configure(config: pytest.Config) -> None:
    """Know the marker."""
    config.addinivalue_line("markers", "blocks(kind): run once for each block of the docs of this kind")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """A test with the marker gets each block of its kind in turn."""
    marker = metafunc.definition.get_closest_marker("blocks")
    if marker:
        rows = [block for block in BLOCKS if block.kind == marker.args[0]]
        metafunc.parametrize("block", rows, ids=[block.place for block in rows])


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Each test here may have to wait for the service to have something to show."""
    for item in items:
        if Path(item.path).is_relative_to(Path(__file__).parent) and not item.get_closest_marker("timeout"):
            item.add_marker(pytest.mark.timeout(60))


@pytest.fixture(scope="session")
def all_blocks() -> list[Block]:
    """Every block of every page."""
    return BLOCKS


@pytest.fixture(scope="session")
def parse_blocks() -> Callable[[str, str], list[Block]]:
    """The blocks of any text."""
    return lambda page, text: list(blocks_of(page, text))


@pytest.fixture(scope="session")
def kinds() -> dict[str, tuple[str, str]]:
    """The table of kinds."""
    return KINDS


@pytest.fixture(scope="session")
def pages() -> list[Path]:
    """Every page."""
    return PAGES


@pytest.fixture(scope="session")
def the_block() -> Callable[[str, str], str]:
    """The text of the only block with this language and these words."""

    def the_block(language: str, words: str) -> str:
        (found,) = [block.text for block in BLOCKS if (block.language, block.words) == (language, words)]
        return found

    return the_block


@pytest.fixture
def start() -> Iterator[Callable[[str, dict[str, str]], Running]]:
    """Starts a command; it ends with the test."""
    started: list[Running] = []

    def start(command: str, environment: dict[str, str]) -> Running:
        started.append(Running(command, environment))
        return started[-1]

    yield start
    for running in started:
        running.end()


@dataclass(frozen=True, slots=True)
class Docs:
    """A running service, and how what stands in the docs is told to use it instead of the default one."""

    port: int
    redis_port: int
    empty_store: str
    folder: Path

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def adapted(self, text: str) -> str:
        """Ports, the store of the examples, and programs of the environment that these tests run in."""
        text = text.replace("127.0.0.1:8000", f"127.0.0.1:{self.port}").replace("port=16379", f"port={self.redis_port}")
        text = text.replace(f"redis://10.0.0.5:{DEFAULT_PORT}", self.empty_store).replace(".venv/bin/", f"{BIN}/")
        return re.sub(r"\bticker (candles|watch)\b(?!.*--url)", rf"ticker \1 --url {self.url}", text)

    def environment(self) -> dict[str, str]:
        """Of a command that uses the service."""
        own = {"REDIS__PORT": str(self.redis_port), "ARCHIVE__URL": str(self.folder / "archive")}
        return clean_environment() | {f"TICKER_{name}": value for name, value in own.items()}

    def environment_of_servers(self, redis_port: int) -> dict[str, str]:
        """Of a command that would itself be the service: ports and a folder of its own."""
        data = self.folder / f"data-{redis_port}"
        own = {"REDIS__PORT": str(redis_port), "REDIS__DATA_DIR": str(data), "SERVER__PORT": "0"}
        return clean_environment() | {f"TICKER_{name}": value for name, value in own.items()}


def clean_environment() -> dict[str, str]:
    environ = {name: value for name, value in os.environ.items() if not name.startswith(("TICKER_", "MAKE", "MFLAGS"))}
    return environ | {"PATH": f"{BIN}:{environ['PATH']}", "PYTHONUNBUFFERED": "1"}


@pytest.fixture(scope="session")
def docs(tmp_path_factory: pytest.TempPathFactory, valkey_server: str) -> Iterator[Docs]:
    """The service, once it has a few candles to show."""
    folder = tmp_path_factory.mktemp("docs")
    with socket() as one, socket() as other:
        one.bind(("127.0.0.1", 0))
        other.bind(("127.0.0.1", 0))
        service = Docs(one.getsockname()[1], other.getsockname()[1], valkey_server, folder)
    tree = {
        "server": {"port": service.port},
        "redis": {"port": service.redis_port, "data_dir": str(folder / "data")},
        "feeds": [{"type": "simulated", "symbols": ["AAPL", "MSFT"], "ticks_per_s": 8, "trading_hours": "always"}],
        "websocket": {"heartbeat_ms": 1000},
        "archive": {"url": str(folder / "archive")},
    }
    (folder / "config.yaml").write_text(yaml.safe_dump(tree))
    with (folder / "errors").open("wb") as errors:
        process = subprocess.Popen(
            [BIN / "ticker", "run"], cwd=folder, env=clean_environment(), stdout=subprocess.DEVNULL, stderr=errors
        )
    try:
        wait_for_candles(service, process)
        yield service
    finally:
        process.terminate()
        process.wait(20)


def wait_for_candles(service: Docs, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + DEADLINE_S
    query = f"{service.url}/v1/candles/AAPL?interval=1s&limit=3"
    while True:
        try:
            if len(httpx.get(query).json().get("candles", ())) == 3:
                return
        except httpx.HTTPError:
            pass
        if process.poll() is not None or time.monotonic() > deadline:
            pytest.fail(f"the service has no candles: {(service.folder / 'errors').read_text()}")
        time.sleep(0.05)


@pytest.fixture
def docs_store(docs: Docs) -> Iterator[Redis]:
    """A client of the service's store."""
    with Redis(port=docs.redis_port, decode_responses=True) as client:
        yield client
