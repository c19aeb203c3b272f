"""The command line in processes of its own: what it prints, how it ends, and that what it starts works together."""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from redis import Redis
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from ticker.candles.packed import pack, unpack

DEADLINE_S = 15.0
FAST = {"type": "simulated", "symbols": ["AAPL", "MSFT", "IBM"], "ticks_per_s": 20, "trading_hours": "always"}


class Command:
    """`ticker` with arguments, in a folder of its own."""

    def __init__(self, folder: Path, *args: str, **environment: str) -> None:
        environ = {k: v for k, v in os.environ.items() if not k.startswith("TICKER_")}
        self.stderr = folder / f"stderr-{time.monotonic_ns()}"
        with self.stderr.open("wb") as errors:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "ticker", *args],
                cwd=folder,
                env=environ | {"PYTHONUNBUFFERED": "1"} | environment,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
            )

    def line(self, beginning: str) -> str:
        """Read what it prints up to the line that begins like this; where it ends first, its errors are the failure."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if line.startswith(beginning):
                return line.rstrip("\n")
        pytest.fail(f"ended without a line {beginning!r}: {self.errors()}")

    def errors(self) -> str:
        return self.stderr.read_text()

    def end(self, number: signal.Signals = signal.SIGTERM, timeout_s: float = 5.0) -> int:
        """Its exit code after this signal; what it still prints is read, lest it wait for us."""
        self.process.send_signal(number)
        self.process.communicate(timeout=timeout_s)
        return self.process.returncode

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        if self.process.stdout:
            self.process.stdout.close()


class Folder:
    """A working folder with a config.yaml, and the processes that run in it; all of them end with the test."""

    def __init__(self, path: Path, free_port: Callable[[], int]) -> None:
        self.path = path
        self.port, self.redis_port = free_port(), free_port()
        self.config: dict[str, Any] = {
            "redis": {"port": self.redis_port, "data_dir": str(path / "data")},
            "server": {"port": self.port},
            "feeds": [FAST],
            "candles": {"publish_ms": 50},
        }
        self._stack = ExitStack()

    def start(self, *args: str, **environment: str) -> Command:
        """Start `ticker` with the configuration as it is now."""
        (self.path / "config.yaml").write_text(yaml.safe_dump(self.config))
        command = Command(self.path, *args, **environment)
        self._stack.callback(command.close)
        return command

    def serve(self, *args: str) -> tuple[Command, str]:
        """The same for a command that serves; its URL."""
        command = self.start(*args)
        return command, command.line("page").split()[1].rstrip("/")

    def run(self, *args: str, **environment: str) -> tuple[int, str, str]:
        """Run to the end: exit code, output, errors."""
        command = self.start(*args, **environment)
        output, _ = command.process.communicate(timeout=DEADLINE_S)
        return command.process.returncode, output, command.errors()

    def close(self) -> None:
        self._stack.close()


@pytest.fixture
def folder(tmp_path: Path, free_port: Callable[[], int]) -> Iterator[Folder]:
    made = Folder(tmp_path, free_port)
    try:
        yield made
    finally:
        made.close()


@contextmanager
def stream(url: str, query: str = "") -> Iterator[ClientConnection]:
    with connect(f"{url.replace('http', 'ws')}/v1/stream{query}", proxy=None, close_timeout=1) as socket:
        assert json.loads(socket.recv(DEADLINE_S))["type"] == "welcome"
        yield socket


def messages(socket: ClientConnection, until: Callable[[dict[str, Any]], bool]) -> list[tuple[str, dict[str, Any]]]:
    """Texts and what they say, up to and with the first that `until` accepts."""
    deadline, found = time.monotonic() + DEADLINE_S, []
    while True:
        text = socket.recv(max(deadline - time.monotonic(), 0.01))
        found.append((text, json.loads(text)))
        if until(found[-1][1]):
            return found


def close_code(socket: ClientConnection) -> int | None:
    try:
        while True:
            socket.recv(DEADLINE_S)
    except ConnectionClosed as closed:
        return closed.rcvd.code if closed.rcvd else None


def servers_in(folder: Path) -> list[int]:
    """Processes that work in this folder."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and Path(os.readlink(entry / "cwd")).is_relative_to(folder):
                found.append(int(entry.name))
        except OSError:
            continue
    return found


def has_trades(url: str, symbol: str = "AAPL") -> Callable[[], bool]:
    return lambda: bool(httpx.get(f"{url}/v1/trades/{symbol}").json()["trades"])


def test_run_prints_where_everything_is_and_serves(folder: Folder, block_until: Callable[..., None]) -> None:
    """The page, how to listen, how to ask, how to tap and how to stop: five lines that can be copied."""
    command, url = folder.serve("run")
    assert url == f"http://127.0.0.1:{folder.port}"
    live = command.line("live")
    assert f"ws://127.0.0.1:{folder.port}/v1/stream?channel=trades&symbols=AAPL" in live
    history = re.search(r"'(http[^']+)'", command.line("history"))
    assert history is not None
    streams = command.line("streams")
    assert "ticker tap AAPL" in streams
    assert f"redis://127.0.0.1:{folder.redis_port}" in streams
    assert command.line("stop").endswith("Ctrl-C")
    block_until(has_trades(url))
    assert httpx.get(history[1]).status_code == 200
    assert httpx.get(f"{url}/readyz").json()["status"] == "ready"
    assert "<html" in httpx.get(url).text
    with stream(url, "?channel=trades&symbols=AAPL") as socket:
        found = [message for _, message in messages(socket, lambda m: m["type"] == "trade" and "snapshot" not in m)]
    assert found[0]["type"] == "subscribed"
    assert found[-1]["seq"] == found[0]["positions"]["AAPL"]["seq"] + 1


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_run_ends_in_order(folder: Folder, block_until: Callable[..., None], number: signal.Signals) -> None:
    """Within 5 s, exit code 0, clients told to come back, the port free, nothing left behind, no traceback."""
    command, url = folder.serve("run")
    block_until(has_trades(url))
    with stream(url, "?channel=trades&symbols=AAPL") as socket, socket_that_never_reads(folder.port):
        assert command.end(number) == 0
        assert close_code(socket) in (1001, 1012)
    assert servers_in(folder.path) == []
    assert "Traceback" not in command.errors()
    with socket_on(folder.port), socket_on(folder.redis_port):
        pass


@contextmanager
def socket_that_never_reads(port: int) -> Iterator[None]:
    with socket.create_connection(("127.0.0.1", port)) as mute:
        mute.sendall(
            b"GET /v1/stream?channel=quotes&symbols=* HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\n"
            b"Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
        )
        yield


@contextmanager
def socket_on(port: int) -> Iterator[socket.socket]:
    """Take a port."""
    with socket.socket() as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        taken.bind(("127.0.0.1", port))
        taken.listen()
        yield taken


def test_run_goes_on_where_it_ended(folder: Folder, block_until: Callable[..., None]) -> None:
    """A second run has what the first one stored and counts on: in the same epoch, or after kill -9 in a new one."""
    positions = []
    for number in (signal.SIGTERM, signal.SIGTERM, signal.SIGKILL, signal.SIGTERM):
        positions.append(run_for_a_while(folder, block_until, number))
    epochs = [position["epoch"] for position in positions]
    # Nothing is lost by it, but nobody was there to know.
    assert epochs[0] == epochs[1] == epochs[2] != epochs[3]
    assert [position["seq"] for position in positions] == sorted({position["seq"] for position in positions})
    command, url = folder.serve("run")
    numbers = [row["seq"] for row in all_trades(url)]
    assert numbers == list(range(1, len(numbers) + 1))
    command.end()


def run_for_a_while(
    folder: Folder, block_until: Callable[..., None], number: signal.Signals, *flags: str
) -> dict[str, Any]:
    """Run until some ticks have come, and end; a position of this run."""
    command, url = folder.serve("run", *flags)
    block_until(has_trades(url))
    with stream(url, "?channel=trades&symbols=AAPL") as client:
        messages(client, lambda m: m["type"] == "trade" and "snapshot" not in m)
        position: dict[str, Any] = httpx.get(f"{url}/v1/snapshots/AAPL").json()["positions"]["trades"]
    command.end(number)
    block_until(lambda: not servers_in(folder.path))
    return position


def test_a_data_folder_that_was_put_back_begins_a_new_epoch(folder: Folder, block_until: Callable[..., None]) -> None:
    """Though the copy was made, and the server stopped, in order: clients have seen later numbers."""
    data = folder.path / "data"
    first = run_for_a_while(folder, block_until, signal.SIGTERM)
    shutil.copytree(data, folder.path / "backup")
    second = run_for_a_while(folder, block_until, signal.SIGTERM)
    shutil.rmtree(data)
    shutil.copytree(folder.path / "backup", data)
    third = run_for_a_while(folder, block_until, signal.SIGTERM)
    fourth = run_for_a_while(folder, block_until, signal.SIGTERM)
    assert first["epoch"] == second["epoch"] != third["epoch"] == fourth["epoch"]
    fifth = run_for_a_while(folder, block_until, signal.SIGTERM, "--restored")
    assert fifth["epoch"] != fourth["epoch"]


def all_trades(url: str, symbol: str = "AAPL") -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    query = {"start": "2020-01-01", "limit": "500"}
    while True:
        page = httpx.get(f"{url}/v1/trades/{symbol}", params=query).json()
        rows += page["trades"]
        if not page["next"]:
            return rows
        query["cursor"] = page["next"]


def one_line(code: int, output: str, errors: str) -> str:
    """What a mistake of the caller's must look like."""
    assert code == 2
    assert output == ""
    assert "Traceback" not in errors
    lines = errors.splitlines()
    assert len(lines) == 1, errors
    return lines[0]


def test_a_taken_port_is_one_line(folder: Folder) -> None:
    """It names the port and the setting."""
    with socket_on(folder.port):
        line = one_line(*folder.run("run"))
    assert str(folder.port) in line
    assert "server.port" in line
    with socket_on(folder.redis_port):
        line = one_line(*folder.run("run"))
    assert str(folder.redis_port) in line
    assert "redis.port" in line
    assert servers_in(folder.path) == []


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"servr": {}}, ["servr", "server"]),
        ({"server": {"prot": 1}}, ["server.prot", "port"]),
        ({"server": {"port": "many"}}, ["server.port", "'many'"]),
        ({"server": {"port": 70_000}}, ["server.port", "70000"]),
        ({"candles": {"grace_ms": -1}}, ["candles.grace_ms", "-1"]),
        ({"market": {"timezone": "Mars/Base"}}, ["market.timezone", "Mars/Base"]),
        ({"feeds": [{"type": "telepathy"}]}, ["feeds", "telepathy", "simulated"]),
        ({"feeds": [FAST | {"colour": "red"}]}, ["feeds", "colour"]),
        ({"feeds": [{"type": "replay", "path": "not/there.csv"}]}, ["not/there.csv"]),
        ({"feeds": [FAST | {"trading_hours": "XNYS"}]}, ["feeds.0.trading_hours", "'XNYS'", "'always'", "'sessions'"]),
        (
            {"feeds": [FAST | {"trading_hours": "sessions"}], "market": {"calendar": "XNYC"}},
            ["market.calendar", "'XNYC'", "XNYS"],
        ),
        ({"feeds": [{"type": "replay", "path": "x.csv", "trading_hours": "sessions"}]}, ["sessions", "times: keep"]),
        ({"redis": {"url": "http://x"}}, ["redis.url", "http"]),
    ],
)
def test_a_mistake_in_the_configuration_is_one_line(
    folder: Folder, change: dict[str, Any], told: Sequence[str]
) -> None:
    """It names the key, what was found and what is allowed."""
    folder.config |= change
    line = one_line(*folder.run("run"))
    assert [word for word in told if word not in line] == []


def test_a_missing_file_is_one_line(folder: Folder) -> None:
    """By name."""
    assert "nowhere.yaml" in one_line(*folder.run("run", "--config", "nowhere.yaml"))


def test_a_mistake_in_the_environment_is_one_line(folder: Folder) -> None:
    """A misspelt section would otherwise go unnoticed."""
    line = one_line(*folder.run("config", TICKER_SERVR__PORT="1"))
    assert "TICKER_SERVR__PORT" in line


def test_a_store_that_is_not_there_is_one_line(folder: Folder) -> None:
    """Gateways, taps and checks say which address they tried."""
    url = f"redis://127.0.0.1:{folder.redis_port}"
    for command in (["serve"], ["tap", "AAPL"], ["check"], ["ingest"]):
        code, _, errors = folder.run(*command, "--redis-url", url)
        assert code in (1, 2)
        assert "Traceback" not in errors
        assert str(folder.redis_port) in errors.splitlines()[-1]


def test_flags_go_before_the_environment_and_that_before_the_file(folder: Folder) -> None:
    """And `config` prints what is in force, without secrets."""
    folder.config["redis"]["url"] = "redis://user:sesame@127.0.0.1:1"
    code, output, _ = folder.run("config", TICKER_SERVER__HOST="127.0.0.2")
    tree = yaml.safe_load(output)
    assert code == 0
    assert (tree["server"]["host"], tree["server"]["port"]) == ("127.0.0.2", folder.port)
    assert "sesame" not in output
    assert tree["feeds"][0]["symbols"] == ["AAPL", "MSFT", "IBM"]
    assert tree["retention"]["candles"]["1s"] == "2d"
    (folder.path / "again.yaml").write_text(output)
    assert folder.run("config", "--config", "again.yaml")[1] == output


SECRET = "hunter2"


@pytest.mark.parametrize("host", ["127.0.0.1:1", "nowhere.invalid:6379", "127.0.0.1:http"])
@pytest.mark.parametrize("command", [["run"], ["serve"], ["ingest"], ["tap", "AAPL"], ["check"], ["config"]])
def test_no_secret_is_told_where_the_store_cannot_be_reached(folder: Folder, command: list[str], host: str) -> None:
    """By no command, on neither output, in the finest log."""
    folder.config["redis"]["url"] = f"redis://user:{SECRET}@{host}"
    folder.config["logging"] = {"level": "debug"}
    code, output, errors = folder.run(*command)
    assert (code == 0) == (command == ["config"])
    assert SECRET not in output + errors


@pytest.mark.parametrize(
    "change",
    [
        {"redis": f"redis://user:{SECRET}@host"},
        {"redis": {"port": f"redis://user:{SECRET}@{'host' * 30}"}},
        {"feeds": [f"redis://user:{SECRET}@host"]},
        {"feeds": [FAST | {"symbols": f"redis://user:{SECRET}@host"}]},
        {"market": {"timezone": f"redis://user:{SECRET}@host"}},
        {"retention": {"ticks": f"redis://user:{SECRET}@host"}},
    ],
)
def test_no_secret_is_told_where_it_stands_in_the_wrong_place(folder: Folder, change: dict[str, Any]) -> None:
    """What was found is shown without it."""
    folder.config |= change
    line = one_line(*folder.run("run"))
    assert SECRET not in line
    assert "***" in line


def test_no_secret_is_told_by_a_service_that_loses_its_login(
    folder: Folder, valkey_url: str, store: Redis, block_until: Callable[..., None]
) -> None:
    """Neither in the log nor in any answer; and every line of the log is one JSON object."""
    store.acl_setuser(
        "tester", enabled=True, passwords=[f"+{SECRET}"], keys=["*"], channels=["*"], categories=["+@all"]
    )
    folder.config["redis"]["url"] = valkey_url.replace("redis://", f"redis://tester:{SECRET}@")
    folder.config["logging"] = {"level": "debug"}
    command, url = folder.serve("run")
    block_until(has_trades(url))
    try:
        store.acl_deluser("tester")
        block_until(lambda: httpx.get(f"{url}/readyz").status_code == 503)
        block_until(lambda: "ticks wait" in command.errors())
        paths = ("/v1/candles/AAPL", "/v1/trades/AAPL", "/v1/snapshots?symbols=*", "/readyz", "/metrics", "/v1/symbols")
        told = [httpx.get(f"{url}{path}") for path in paths]
        assert [answer.status_code for answer in told][:4] == [503] * 4
    finally:
        command.process.send_signal(signal.SIGTERM)
    output, _ = command.process.communicate(timeout=DEADLINE_S)
    assert SECRET not in output + command.errors() + "".join(answer.text for answer in told)
    lines = [json.loads(line) for line in command.errors().splitlines()]
    assert all(list(line)[:4] == ["time", "level", "logger", "event"] for line in lines)
    assert {"feed": "simulated", "level": "error"}.items() <= next(
        x for x in lines if "ticks wait" in x["event"]
    ).items()


def test_the_form_of_the_log_can_be_set(folder: Folder, valkey_url: str) -> None:
    """Also from the environment, and workers have it too."""
    folder.config["redis"]["url"] = valkey_url
    command = folder.start("ingest", TICKER_LOGGING__FORMAT="human")
    command.line("ingesting")
    assert command.end() == 0
    assert re.search(
        r"^\d\d:\d\d:\d\d \[info +\] feed simulated: started with 3 symbols", command.errors(), re.MULTILINE
    )
    assert "logging.format: found 'xml'; allowed: 'auto', 'human' or 'json'" in one_line(
        *folder.run("ingest", TICKER_LOGGING__FORMAT="xml")
    )


def test_workers_log_like_their_parent(folder: Folder, valkey_url: str, block_until: Callable[..., None]) -> None:
    """Each line of each process is a JSON object; that one has died is told."""
    folder.config["redis"]["url"] = valkey_url
    command, url = folder.serve("serve", "--workers", "2")
    block_until(lambda: answers(url))
    with stream(url) as client:
        client.send(b"binary")
        assert close_code(client) == 1003
    block_until(lambda: "closed with 1003" in command.errors())
    victim = next(pid for pid in servers_in(folder.path) if "spawn_main" in Path(f"/proc/{pid}/cmdline").read_text())
    os.kill(victim, signal.SIGKILL)
    block_until(lambda: f"[{victim}] died" in command.errors())
    assert command.end() == 0
    lines = [json.loads(line) for line in command.errors().splitlines()]
    closed = next(line for line in lines if "closed with 1003" in line["event"])
    assert (closed["logger"], closed["code"]) == ("ticker.web.stream", 1003)


@pytest.fixture
def store(valkey_url: str) -> Iterator[Redis]:
    with Redis.from_url(valkey_url) as client:
        yield client


def test_two_gateways_tell_the_same(folder: Folder, valkey_url: str, block_until: Callable[..., None]) -> None:
    """One ingester, one separate store, two gateways: the same bytes on both, the same candles, forming ones too."""
    folder.config["redis"]["url"] = valkey_url
    folder.config["server"]["port"] = 0
    ingest = folder.start("ingest")
    assert valkey_url in ingest.line("ingesting 3 symbols")
    first, first_url = folder.serve("serve")
    second, second_url = folder.serve("serve")
    for url in (first_url, second_url):
        block_until(has_trades(url))
        block_until(lambda url=url: httpx.get(f"{url}/readyz").status_code == 200)
    with ExitStack() as stack:
        sockets = [stack.enter_context(stream(url, "?channel=trades&symbols=AAPL")) for url in (first_url, second_url)]
        starts = [messages(s, lambda m: m["type"] == "subscribed")[-1][1]["positions"]["AAPL"] for s in sockets]
        assert starts[0]["epoch"] == starts[1]["epoch"]
        begin, end = max(p["seq"] for p in starts), max(p["seq"] for p in starts) + 15
        heard = [
            [
                text
                for text, m in messages(s, lambda m: m.get("seq", 0) >= end)
                if m["type"] == "trade" and m["seq"] > begin
            ]
            for s in sockets
        ]
        assert heard[0] == heard[1]
        assert [json.loads(text)["seq"] for text in heard[0]] == list(range(begin + 1, end + 1))
        for socket_ in sockets:
            socket_.send(json.dumps({"op": "subscribe", "channel": "candles", "interval": "1m", "symbols": ["AAPL"]}))
        candles = [candles_by_seq(s, 8) for s in sockets]
    common = candles[0].keys() & candles[1].keys()
    assert common
    assert all(candles[0][key] == candles[1][key] for key in common)
    assert ingest.end() == 0
    pages = [
        [
            httpx.get(f"{url}/v1/candles/AAPL", params={"interval": interval, "forming": "true"}).json()
            for interval in ("1s", "5s", "1m", "1h", "1d")
        ]
        for url in (first_url, second_url)
    ]
    assert pages[0] == pages[1]
    assert first.end() == second.end(signal.SIGINT) == 0


def candles_by_seq(socket: ClientConnection, count: int) -> dict[tuple[int, int, bool], str]:
    """Candle messages of a while, by what tells them apart."""
    found: dict[tuple[int, int, bool], str] = {}
    while len(found) < count:
        text, message = messages(socket, lambda m: m["type"] == "candle")[-1]
        if "snapshot" not in message:
            found[message["time"], message["seq"], message["final"]] = text
    return found


def test_workers_end_with_their_parent(folder: Folder, valkey_url: str, block_until: Callable[..., None]) -> None:
    """Also one that was killed: its workers must not keep the port."""
    folder.config["redis"]["url"] = valkey_url
    command = folder.start("serve", "--workers", "2", TMPDIR=str(folder.path))
    url = command.line("page").split()[1].rstrip("/")
    block_until(lambda: answers(url))
    children = Path(f"/proc/{command.process.pid}/task/{command.process.pid}/children").read_text().split()
    assert len(children) >= 2
    command.process.kill()
    command.process.wait()
    block_until(lambda: not servers_in(folder.path), 5)
    with socket_on(folder.port):
        pass
    assert list(folder.path.glob("ticker-metrics-*")) == []


def test_workers_answer_scrapes_for_each_other(
    folder: Folder, valkey_url: str, block_until: Callable[..., None]
) -> None:
    """However the kernel deals out connections, a scrape has all of them; what the workers shared is cleared away."""
    folder.config["redis"]["url"] = valkey_url
    command = folder.start("serve", "--workers", "2", TMPDIR=str(folder.path))
    url = command.line("page").split()[1].rstrip("/")
    shared = folder.path.glob("ticker-metrics-*")
    block_until(lambda: answers(url))
    block_until(lambda: len({line.split('"')[1] for line in scrape(url) if line.startswith("process_open_fds")}) == 2)
    with ExitStack() as stack:
        for _ in range(8):
            stack.enter_context(stream(url))
        scrapes = [
            [line for line in scrape(url) if line.startswith("ticker_websocket_connections ")] for _ in range(12)
        ]
        assert scrapes == [["ticker_websocket_connections 8.0"]] * 12
    assert command.end() == 0
    assert list(shared) == []


def scrape(url: str) -> list[str]:
    return httpx.get(f"{url}/metrics").text.splitlines()


def test_an_ingester_apart_tells_how_it_is(folder: Folder, valkey_url: str, block_until: Callable[..., None]) -> None:
    """On a port of its own, where one is set: for a health check and a scrape."""
    folder.config["redis"]["url"] = valkey_url
    folder.config["ingest"] = {"port": 0}
    command = folder.start("ingest")
    url = command.line("health").split()[1].removesuffix("/readyz")
    assert httpx.get(f"{url}/healthz").json() == {"status": "ok"}
    block_until(lambda: httpx.get(f"{url}/readyz").status_code == 200)
    body = httpx.get(f"{url}/readyz").json()
    assert (body["checks"], body["feeds"]["simulated"]["state"]) == ({"store": True}, "live")
    block_until(lambda: any(line.startswith("ticker_ticks_appended_total") for line in scrape(url)))
    assert httpx.get(f"{url}/v1/symbols").status_code == 404
    assert command.end() == 0
    assert "Traceback" not in command.errors()


def test_a_taken_port_of_the_ingester_is_one_line(folder: Folder, valkey_url: str) -> None:
    """It names its own setting, not the gateway's."""
    folder.config["redis"]["url"] = valkey_url
    folder.config["ingest"] = {"port": folder.port}
    with socket_on(folder.port):
        assert "ingest.port" in one_line(*folder.run("ingest"))


def test_workers_end_in_order(folder: Folder, valkey_url: str, block_until: Callable[..., None]) -> None:
    """SIGTERM to the parent ends all, exit code 0."""
    folder.config["redis"]["url"] = valkey_url
    command, url = folder.serve("serve", "--workers", "2")
    block_until(lambda: answers(url))
    assert command.end() == 0
    block_until(lambda: not servers_in(folder.path), 5)
    assert "Traceback" not in command.errors()


def test_workers_keep_the_limits(folder: Folder, valkey_url: str, block_until: Callable[..., None]) -> None:
    """Those of HTTP too, which our protocol class keeps in each of them."""
    folder.config["redis"]["url"] = valkey_url
    folder.config["limits"] = {"head_s": 1, "head_bytes": 1_000}
    _, url = folder.serve("serve", "--workers", "2")
    block_until(lambda: answers(url))
    assert httpx.get(url, headers={"X-Large": "x" * 2_000}).status_code == 431
    with socket.create_connection(("127.0.0.1", folder.port), timeout=5) as slow:
        slow.sendall(b"GET / HTTP/1.1\r\n")
        assert slow.recv(1_000).startswith(b"HTTP/1.1 408 ")


def answers(url: str) -> bool:
    try:
        return httpx.get(f"{url}/readyz").status_code in (200, 503)
    except httpx.HTTPError:
        return False


def test_tap_and_candles_show_a_running_service(folder: Folder, block_until: Callable[..., None]) -> None:
    """Ticks from the streams, one a line, and history in three forms."""
    command, url = folder.serve("run")
    block_until(lambda: len(closed_candles(url)) >= 2)
    tap = folder.start("tap", "AAPL", "--json", "--from", "0")
    assert tap.process.stdout is not None
    lines = [json.loads(next(iter(tap.process.stdout.readline, ""))) for _ in range(10)]
    assert [line["seq"] for line in lines] == list(range(1, 11))
    assert {(line["type"], line["symbol"]) for line in lines} == {("trade", "AAPL")}
    assert tap.end(signal.SIGINT) == 0
    assert "Traceback" not in tap.errors()
    quotes = folder.start("tap", "IBM", "MSFT", "--quotes")
    assert re.match(r"\d+-\d+  (IBM|MSFT)  bid ", quotes.line("1"))
    assert quotes.end() == 0

    code, output, _ = folder.run("candles", "AAPL", "--interval", "1s", "--format", "json", "--url", url)
    rows = json.loads(output)["candles"]
    assert code == 0
    assert [row["final"] for row in rows[:2]] == [True, True]
    code, output, _ = folder.run("candles", "AAPL", "--interval", "1s", "--format", "csv", "--limit", "3", "--url", url)
    assert (code, len(output.splitlines())) == (0, 4)
    assert output.splitlines()[0] == "time,open,high,low,close,volume,trades,vwap,final"
    code, output, _ = folder.run("candles", "AAPL", "--url", url)
    assert (code, output.split()[:2]) == (0, ["time", "open"])
    assert "ZZZZ" in one_line(*folder.run("candles", "ZZZZ", "--url", url))
    assert "2m" in one_line(*folder.run("candles", "AAPL", "--interval", "2m", "--url", url))
    assert "ZZZZ" in one_line(*folder.run("tap", "ZZZZ"))
    assert "ZZZZ" in one_line(*folder.run("check", "ZZZZ"))
    assert command.end() == 0


def test_check_compares_candles_with_their_ticks(
    folder: Folder, valkey_url: str, store: Redis, block_until: Callable[..., None]
) -> None:
    """Equal is 0, one changed bit in a stored chunk 1, and a symbol without candles 3."""
    folder.config["redis"]["url"] = valkey_url
    ingest = folder.start("ingest")
    block_until(lambda: store.hlen("ticker:candles:{AAPL}:1s") and store.xlen("trades:{IBM}"))
    assert ingest.end() == 0
    code, output, errors = folder.run("check")
    assert code == 0, (output, errors)
    assert re.search(r"AAPL 1s: \d+ equal, none differ", output)
    assert {line.split()[0] for line in output.splitlines()} == {"AAPL", "IBM", "MSFT"}
    store.hset("symbols", "EMPTY", json.dumps({"symbol": "EMPTY", "feed": "none"}))
    assert folder.run("check", "EMPTY")[0] == 3
    tamper(store, "ticker:candles:{AAPL}:1s")
    code, output, _ = folder.run("check", "AAPL")
    assert code == 1
    assert re.search(r"AAPL 1s: \d+ equal, [1-9]\d* differ", output)


def closed_candles(url: str) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = httpx.get(f"{url}/v1/candles/AAPL?interval=1s").json()["candles"]
    return rows


def tamper(client: Redis, key: str) -> None:
    """Add a millionth to the volume of the oldest candle."""
    field, packed = min(client.hgetall(key).items())
    candles = unpack(packed)
    candles.column("volume")[0] += 1
    client.hset(key, field, pack(candles))


def test_serve_waits_for_nobody_and_reads_what_is_there(folder: Folder, valkey_url: str, store: Redis) -> None:
    """Without an ingester history is served, and clients are told that nothing new comes."""
    folder.config["redis"]["url"] = valkey_url
    command, url = folder.serve("serve")
    with stream(url) as client:
        stale = messages(client, lambda m: m["type"] == "service")[-1][1]
    assert (stale["state"], stale["reason"]) == ("stale", "ingest")
    assert httpx.get(f"{url}/v1/symbols").json() == {"symbols": [], "next": None}
    assert store.get("schema") == b"1"
    assert command.end() == 0


def test_another_layout_is_refused(folder: Folder, valkey_url: str, store: Redis) -> None:
    """A store of another version is left alone."""
    store.set("schema", "2")
    folder.config["redis"]["url"] = valkey_url
    for command in ("serve", "ingest", "run"):
        code, _, errors = folder.run(command)
        assert code != 0
        assert "layout" in errors
        assert "Traceback" not in errors
    assert store.keys() == [b"schema"]


def test_a_second_run_on_the_same_folder_is_refused(folder: Folder, free_port: Callable[[], int]) -> None:
    """One data folder, one server; the first goes on."""
    command, url = folder.serve("run")
    folder.config["redis"]["port"], folder.config["server"]["port"] = free_port(), free_port()
    assert "redis.data_dir" in one_line(*folder.run("run"))
    assert httpx.get(f"{url}/healthz").status_code == 200
    assert command.end() == 0
