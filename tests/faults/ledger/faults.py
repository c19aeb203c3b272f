"""Every fault: what is done, how one sees that the service noticed it, and what doing it needs.

Each takes the service at a moment that chance has chosen, does its harm, and returns what was noticed of it. A fault that
nobody noticed does not count: `NotMet` is raised then.
"""

import json
import os
import shutil
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from typing import Any

import redis

from ledger.processes import NotMet, Process, wait_until
from ledger.service import Service, Shape

SOON_S = 15.0
TOLD_S = 2.0
"""In this time clients must hear that something is silent, counted from when it falls silent."""
SLACK_S = 1.0
"""And this is allowed on top, for a machine that has other work."""
CONNECTS = "ticker_subscription_connects_total"


@dataclass(frozen=True, slots=True)
class Fault:
    """One kind of fault."""

    name: str
    do: Callable[[Service], str]
    shape: Shape
    times: int
    """How often it is done in the long run."""
    kills: bool = False
    lossy: bool = False
    """The store loses what nobody can bring back; it must be announced."""
    needs: Callable[[], str] = lambda: ""
    """Why it cannot be done here, or nothing."""
    quick: bool = True
    """Short enough for the ordinary tests."""


def _noticed(service: Service, what: str, met: Callable[[dict[str, Any]], object]) -> str:
    """Wait until the clients' own experience shows it."""
    wait_until(f"noticed: {what}", lambda: met(service.status()), SOON_S)
    return what


def _rises(service: Service, metric: str, port: int | None = None) -> Callable[[], bool]:
    """Whether a metric is higher than now."""
    before = service.metric(metric, port)
    return lambda: service.metric(metric, port) > before


def _away(service: Service, *processes: Process) -> None:
    """Killed together, and started again a moment later."""
    for process in processes:
        process.send(signal.SIGKILL)
    for process in processes:
        process.kill()
    time.sleep(service.dice.uniform(0, 0.4))


def kill_gateway(service: Service) -> str:
    """All its clients lose their connections."""
    lost = service.status()["lost"]
    clients = -(-service.shape.clients // len(service.ports))
    _away(service, service.gateway)
    service.gateway.start()
    return _noticed(service, "its clients lost their connections", lambda s: s["lost"] >= lost + clients)


def kill_ingester(service: Service) -> str:
    """The next one has to claim all symbols."""
    assert service.ingest
    before = _fence(service)
    _away(service, service.ingest)
    service.ingest.start()
    wait_until("the symbols are claimed anew", lambda: _fence(service) != before, SOON_S)
    return "the symbols were claimed anew"


def kill_store(service: Service) -> str:
    """The gateway must connect anew."""
    assert service.store
    connected = _rises(service, CONNECTS)
    _away(service, service.store)
    service.start_store()
    wait_until("the gateway connects anew", connected, SOON_S)
    return "the gateway connected anew"


def kill_store_and_ingester(service: Service) -> str:
    """Neither can help the other."""
    assert service.store
    assert service.ingest
    connected, before = _rises(service, CONNECTS), _fence(service)
    _away(service, service.store, service.ingest)
    service.start_store()
    service.ingest.start()
    wait_until("the gateway connects anew", connected, SOON_S)
    wait_until("the symbols are claimed anew", lambda: _fence(service) != before, SOON_S)
    return "the gateway connected anew, and the symbols were claimed anew"


def kill_run(service: Service) -> str:
    """Feeds, embedded store and gateway end at once."""
    lost, before = service.status()["lost"], _fence(service)
    _away(service, service.gateway)
    service.gateway.start()
    wait_until("the symbols are claimed anew", lambda: _fence(service) != before, SOON_S)
    clients = service.shape.clients
    return _noticed(service, "all clients lost their connections", lambda s: s["lost"] >= lost + clients)


def kill_parent_of_workers(service: Service) -> str:
    """Its workers must follow, and give the port free."""
    lost = service.status()["lost"]
    _away(service, service.gateway)
    wait_until("the workers are gone", lambda: _refuses(service), SOON_S)
    service.gateway.start()
    clients = service.shape.clients
    return _noticed(service, "all clients lost their connections", lambda s: s["lost"] >= lost + clients)


def stop_store(seconds: float) -> Callable[[Service], str]:
    """The store keeps its connections and does nothing."""

    def do(service: Service) -> str:
        assert service.store
        with _silent(service, seconds):
            service.store.send(signal.SIGSTOP)
            try:
                if seconds > TOLD_S + SLACK_S:
                    _hear_stale(service, time.monotonic() + TOLD_S + SLACK_S)
                    time.sleep(max(seconds - TOLD_S - SLACK_S, 0))
                else:
                    time.sleep(seconds)
            finally:
                service.store.send(signal.SIGCONT)
        return f"nothing came for {seconds:g} s"

    return do


def kill_connections(service: Service) -> str:
    """All connections to the store, every 50 ms for a second."""
    connected, killed = _rises(service, CONNECTS), 0
    for _ in range(20):
        for kind in ("pubsub", "normal"):
            with suppress(redis.RedisError):
                killed += int(service.redis.execute_command("CLIENT", "KILL", "TYPE", kind, "SKIPME", "yes"))
        time.sleep(0.05)
    wait_until("the gateway connects anew", connected, SOON_S)
    return f"{killed} connections were cut"


def pause_clients(seconds: float) -> Callable[[Service], str]:
    """The store reads and does not answer, for longer than anybody waits for an answer."""

    def do(service: Service) -> str:
        with _silent(service, seconds):
            service.redis.execute_command("CLIENT", "PAUSE", round(seconds * 1000), "ALL")
            time.sleep(seconds)
        return f"nothing came for {seconds:g} s"

    return do


def sleep_in_store(seconds: float) -> Callable[[Service], str]:
    """The store is busy for longer than anybody waits, then does everything that it was asked meanwhile."""

    def do(service: Service) -> str:
        own: Any = redis.Redis(port=service.store_port, socket_timeout=seconds + 5)
        with _silent(service, seconds), own:
            own.execute_command("DEBUG", "SLEEP", seconds)
        return f"nothing came for {seconds:g} s"

    return do


def flush(service: Service) -> str:
    """The store forgets everything."""
    before, epochs = _lengths(service), _epochs(service)
    service.redis.flushall()
    service.lossy_until_s = time.monotonic()
    wait_until("a new epoch, or all that was stored", _restored(service, before, epochs), SOON_S)
    return "new epochs, or all was appended again"


def set_back(service: Service) -> str:
    """The store is killed, and comes back with a folder of some time ago."""
    assert service.store
    copy = service.folder / "copy"
    shutil.copytree(service.data, copy, ignore_dangling_symlinks=True)
    time.sleep(service.dice.uniform(0.3, 1.5))
    before, epochs = _lengths(service), _epochs(service)
    service.store.kill()
    service.lossy_until_s = time.monotonic()
    shutil.rmtree(service.data)
    copy.rename(service.data)
    service.start_store()
    wait_until("a new epoch, or all that was stored", _restored(service, before, epochs), SOON_S)
    return "new epochs, or all was appended again"


def fill_disk(service: Service) -> str:
    """The store cannot write its append-only file, and says so; then there is room again."""
    ballast = service.data / "ballast"
    with _silent(service, 1.0):
        with ballast.open("wb", buffering=0) as file, suppress(OSError):
            while True:
                file.write(bytes(1 << 16))
        try:
            wait_until(
                "the store cannot write", lambda: _persistence(service)["aof_last_write_status"] == "err", SOON_S
            )
            time.sleep(1.5)
        finally:
            ballast.unlink()
    return "the store refused to write"


def cut(name: str) -> Callable[[Service], str]:
    """Connections are reset, with what is under way on them."""

    def do(service: Service) -> str:
        proxies = service.proxies
        assert proxies
        lost, before = service.status()["lost"], proxies.ask("status", name=name)
        if proxies.ask("cut", name=name)["cut"] == before["cut"]:
            raise NotMet("there was no connection to cut")
        if name == "clients":
            return _noticed(service, "clients lost their connections", lambda s: s["lost"] > lost)
        wait_until("it connects anew", lambda: proxies.ask("status", name=name)["passed"] > before["passed"], SOON_S)
        return "it connected anew"

    return do


def hold(name: str, **weather: float) -> Callable[[Service], str]:
    """What passes is held back for a while."""

    def do(service: Service) -> str:
        assert service.proxies
        before = service.proxies.ask("status", name=name)["held_bytes"]
        service.proxies.ask("weather", name=name, **weather)
        time.sleep(1.5)
        held = service.proxies.ask("weather", name=name)["held_bytes"] - before
        if not held:
            raise NotMet("nothing was held back")
        return f"{held} bytes were held back"

    return do


def step_clock(seconds: float) -> Callable[[Service], str]:
    """The ingester's clock shows another time for a while, then the right one again."""

    def do(service: Service) -> str:
        with service.redis.pubsub(ignore_subscribe_messages=True) as beats:
            beats.subscribe("ticker:heartbeat")
            service.step_clock(seconds)
            try:
                wait_until("the heartbeat shows it", lambda: _beat_is_off_by(beats, seconds), SOON_S)
                time.sleep(1.0)
            finally:
                service.step_clock(0)
            wait_until("the heartbeat is right again", lambda: _beat_is_off_by(beats, 0), SOON_S)
        return "the heartbeat carried the other time"

    return do


def fail_feed(service: Service) -> str:
    """The feed raises at every poll for a while."""
    stale, live = (service.status()["service"].get(f"{state} feed", 0) for state in ("stale", "live"))
    (service.folder / "fail").touch()
    try:
        _noticed(service, "clients heard of it", lambda s: s["service"].get("stale feed", 0) > stale)
        time.sleep(service.dice.uniform(0, 1))
    finally:
        (service.folder / "fail").unlink()
    return _noticed(
        service, "clients heard of it, and that it was over", lambda s: s["service"].get("live feed", 0) > live
    )


def silence_feed(service: Service) -> str:
    """The feed has nothing for a while, then all of it at once."""
    with _silent(service, 2.0):
        (service.folder / "pause").touch()
        time.sleep(2.0)
        (service.folder / "pause").unlink()
    return "nothing came for 2 s"


def endure_hostile_feed(service: Service) -> str:
    """Duplicates, late ticks, ticks out of order, NaN and the like, among good ones."""
    port = service.ingest_port
    refused = {
        why: f'ticker_ticks_refused_total{{feed="ledger",reason="{why}"}}' for why in ("late", "duplicate", "bad")
    }
    rises = [_rises(service, metric, port) for metric in refused.values()]
    wait_until("some were refused for each reason", lambda: all(rise() for rise in rises), SOON_S)
    return "some were refused for each reason"


@contextmanager
def _silent(service: Service, seconds: float) -> Iterator[None]:
    """What is done must be felt: for most of this time, nothing comes."""
    assert service.swarm
    service.swarm.ask("mark")
    yield
    _noticed(service, f"nothing came for {seconds:g} s", lambda s: s["silence_s"] > 0.7 * seconds)


def _hear_stale(service: Service, deadline_s: float) -> None:
    """Clients are told in time."""
    before = _stale(service.status())
    while _stale(service.status()) == before:
        if time.monotonic() > deadline_s:
            raise NotMet("clients were not told within 2 s that the service is stale")
        time.sleep(0.05)
    time.sleep(max(deadline_s - time.monotonic(), 0))


def _stale(status: dict[str, Any]) -> int:
    return sum(count for what, count in status["service"].items() if what.startswith("stale"))


def _fence(service: Service) -> object:
    with suppress(redis.RedisError):
        return service.redis.hget(f"ticker:state:{{{service.symbols[-1]}}}", "fence")
    return None


def _refuses(service: Service) -> bool:
    """Nobody listens on the port."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", service.ports[0])) != 0


def _epochs(service: Service) -> list[object]:
    return [service.redis.get(f"epoch:{{{symbol}}}") for symbol in service.symbols]


def _lengths(service: Service) -> list[int]:
    return [int(service.redis.xlen(f"{kind}:{{{s}}}")) for s in service.symbols for kind in ("trades", "quotes")]


def _restored(service: Service, before: list[int], epochs: list[object]) -> Callable[[], bool]:
    """Every symbol is back: under a new name, or with all that it had."""

    def restored() -> bool:
        with suppress(redis.RedisError):
            now, lengths = _epochs(service), _lengths(service)
            return all(
                now[i] and (now[i] != epochs[i] or all(lengths[k] >= before[k] for k in (2 * i, 2 * i + 1)))
                for i in range(len(epochs))
            )
        return False

    return restored


def _persistence(service: Service) -> dict[str, Any]:
    found = service.redis.info("persistence")
    return dict(found)


def _beat_is_off_by(beats: Any, seconds: float) -> bool:
    message = beats.get_message(timeout=1)
    if message is None:
        return False
    return bool(abs(json.loads(message["data"])["time"] / 1e6 - time.time() - seconds) < 5)


def _needs_linux() -> str:
    return "" if sys.platform == "linux" else "it takes LD_PRELOAD of Linux"


def _needs_compiler() -> str:
    return _needs_linux() or (
        "" if shutil.which("cc") or shutil.which("gcc") else "it takes a C compiler, and there is none"
    )


def _needs_root() -> str:
    return _needs_linux() or ("" if os.geteuid() == 0 else "a small disk (tmpfs) can be mounted by root only")


LOAD = Shape(ticks_per_s=600, clients=144)
RUN = replace(LOAD, topology="run")
WORKERS = replace(LOAD, topology="workers")
PROXIED = replace(LOAD, proxied=True)
CLOCK = replace(LOAD, other_clock=True)
DISK = replace(LOAD, disk_mb=256)
HOSTILE = replace(LOAD, hostile=True)
TWO = replace(LOAD, gateways=2)

FAULTS = (
    Fault("kill -9 of a gateway", kill_gateway, TWO, 12, kills=True),
    Fault("kill -9 of the ingester", kill_ingester, LOAD, 10, kills=True),
    Fault("kill -9 of Valkey", kill_store, LOAD, 20, kills=True),
    Fault("kill -9 of Valkey and the ingester together", kill_store_and_ingester, LOAD, 8, kills=True),
    Fault("kill -9 of `ticker run`, with its embedded Valkey", kill_run, RUN, 8, kills=True),
    Fault("kill -9 of the parent of two workers", kill_parent_of_workers, WORKERS, 6, kills=True),
    Fault("Valkey stopped (SIGSTOP) for 1 s", stop_store(1), LOAD, 8),
    Fault("Valkey stopped (SIGSTOP) for 12 s", stop_store(12), LOAD, 5, quick=False),
    Fault("a storm of CLIENT KILL for 1 s", kill_connections, LOAD, 12),
    Fault("CLIENT PAUSE for 3 s", pause_clients(3), LOAD, 6, quick=False),
    Fault("DEBUG SLEEP 3, past the clients' timeout", sleep_in_store(3), LOAD, 6),
    Fault("FLUSHALL", flush, LOAD, 12, lossy=True),
    Fault("the data folder set back in time", set_back, LOAD, 6, lossy=True),
    Fault("the disk full under the append-only file", fill_disk, DISK, 6, needs=_needs_root),
    *(
        Fault(f"{who}: connections cut", cut(name), PROXIED, 6)
        for name, who in (
            ("clients", "clients - gateway"),
            ("gateway", "gateway - Valkey"),
            ("ingest", "ingester - Valkey"),
        )
    ),
    *(
        Fault(f"{who}: 0.3 s delay", hold(name, delay_s=0.3), PROXIED, 5)
        for name, who in (
            ("clients", "clients - gateway"),
            ("gateway", "gateway - Valkey"),
            ("ingest", "ingester - Valkey"),
        )
    ),
    *(
        Fault(f"{who}: throttled", hold(name, bytes_per_s=40_000), PROXIED, 5)
        for name, who in (
            ("clients", "clients - gateway"),
            ("gateway", "gateway - Valkey"),
            ("ingest", "ingester - Valkey"),
        )
    ),
    Fault("the ingester's clock set back 60 s", step_clock(-60), CLOCK, 6, needs=_needs_compiler),
    Fault("the ingester's clock set on 1 h", step_clock(3600), CLOCK, 6, needs=_needs_compiler),
    Fault("a feed that raises", fail_feed, LOAD, 8),
    Fault("a feed that is silent for 2 s", silence_feed, LOAD, 5),
    Fault("a feed with duplicate, late, disordered and impossible ticks", endure_hostile_feed, HOSTILE, 5),
)
