"""Everything that runs: a store, an ingester, two gateways, and clients of both; kills one gateway and looks at all."""

import os
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import httpx
import rig
import yaml
from common import free_port

from resume.generator import LOOK_S, Generator
from resume.options import Options
from resume.processors import Processors
from resume.sample import CALM_MS, Sample, percentile
from resume.tape import write_tape
from ticker.store.embedded import EmbeddedServer

GENERATORS = 2
BEFORE_S, AFTER_S = 5.0, 3.0
WINDOW_S = 4.0
"""So long nothing is asked of the clients after the kill, and then of those that are not whole yet, again and again."""
READY_S = 60.0
CALM_S = 20.0


class Stage:
    """All of it, for one kill."""

    def __init__(self, stack: ExitStack, options: Options, seed: int) -> None:
        self._stack, self._options = stack, options
        self._started: list[Generator] = []
        self._folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        store = EmbeddedServer(self._folder / "data", free_port())
        store.start()
        stack.callback(store.stop)
        config = {"feeds": [self._feed()], "redis": {"url": store.url}}
        (self._folder / "config.yaml").write_text(yaml.safe_dump(config))
        self.ingester = self._program("ingest")
        self.ports = free_port(), free_port()
        self.gateway, self.other = (self._serve(port) for port in self.ports)
        for port, program in zip(self.ports, (self.gateway, self.other), strict=True):
            rig.wait_port(port, program, READY_S)
        symbols = self._all_symbols()
        chance = random.Random(seed)
        sets = [chance.sample(symbols, options.each) for _ in range(options.clients)]
        self.generators = [self._clients(self.ports[0], sets[part::GENERATORS]) for part in range(GENERATORS)]
        self.probes = self._clients(self.ports[1], [["*"]] * options.probes, probing=True)
        self.processors = stack.enter_context(Processors())
        assert store.pid is not None
        self.processors.watch("store", store.pid)
        self.processors.watch("ingester", self.ingester.process.pid)
        self.processors.watch("B", self.other.process.pid)
        for generator in (*self.generators, self.probes):
            self.processors.watch("clients", generator.process.pid)

    def _feed(self) -> dict[str, Any]:
        """A market that is made up; or a recording without quotes, where nobody wants any."""
        symbols, ticks_per_s = self._options.symbols, self._options.ticks_per_s
        if "quotes" not in self._options.channels:
            write_tape(self._folder / "trades.csv", symbols, ticks_per_s)
            return {"type": "replay", "path": str(self._folder / "trades.csv"), "times": "now", "loop": True}
        rate = ticks_per_s / symbols
        return {"type": "simulated", "symbols": symbols, "ticks_per_s": rate, "history_days": 0, "history_years": 0}

    def _program(self, *command: str) -> rig.Program:
        ticker = [sys.executable, "-m", "ticker", *command, "--config", str(self._folder / "config.yaml")]
        return self._stack.enter_context(rig.Program(ticker, frozenset(os.sched_getaffinity(0)), self._folder))

    def _serve(self, port: int) -> rig.Program:
        return self._program("serve", "--port", str(port))

    def _clients(self, port: int, sets: Sequence[Sequence[str]], *, probing: bool = False) -> Generator:
        made = Generator(port, self._options.channels, sets, probing=probing)
        self._stack.callback(made.stop)
        self._started.append(made)
        return made

    def _all_symbols(self) -> list[str]:
        """Once each has had a tick on every channel: before, a client would be told of the epoch by an event."""
        for positions in self._until("symbols with ticks on every channel", self.positions):
            ticked = [s for s in positions["trades"] if all(seqs[s] for seqs in positions.values())]
            if len(ticked) == self._options.symbols:
                return ticked
        raise AssertionError

    def _until(self, wanted: str, look: Callable[[], Any]) -> Iterator[Any]:
        """What there is, again and again, for as long as it may take."""
        deadline = time.monotonic() + READY_S
        while time.monotonic() < deadline:
            yield look()
            time.sleep(0.2)
        told = [generator.ask("tell") for generator in self._started]
        for one in told:
            one["whole"], one["whole_s"] = sum(moment > 0 for moment in one["whole_s"]), len(one["whole_s"])
            one["served"], one["ages"] = Counter(one["served"]), len(one["ages"])
        raise RuntimeError(f"not there after {READY_S:g} s: {wanted}; clients tell {told}")

    def positions(self) -> dict[str, dict[str, int]]:
        """The store's last number of each symbol, by channel, as gateway B tells."""
        rows = httpx.get(f"http://127.0.0.1:{self.ports[1]}/v1/snapshots?symbols=*", timeout=READY_S).json()
        return {
            channel: {symbol: row["positions"][channel]["seq"] for symbol, row in rows["snapshots"].items()}
            for channel in self._options.channels
        }

    def settle(self) -> None:
        """All are whole; and ticks are on time, where the machine lets them."""
        for whole in self._until("clients that are subscribed", lambda: self._whole(self.probes, *self.generators)):
            if whole:
                break
        deadline = time.monotonic() + CALM_S
        while time.monotonic() < deadline:
            time.sleep(1.0)
            if max((age for _, age in self.probes.ask("tell")["ages"]), default=CALM_MS) < CALM_MS:
                return

    def _whole(self, *generators: Generator) -> bool:
        return all(all(generator.ask("tell")["whole_s"]) for generator in generators)

    def kill(self) -> tuple[float, float]:
        """Kill gateway A and start it again; when it was killed, and when its port took a connection again."""
        for generator in self.generators:
            generator.ask("defer")
        os.killpg(self.gateway.process.pid, signal.SIGKILL)
        self.gateway.process.wait()
        killed_s = time.monotonic()
        time.sleep(self._options.away_s)
        self.gateway = self._serve(self.ports[0])
        self.processors.watch("A", self.gateway.process.pid)
        rig.wait_port(self.ports[0], self.gateway, READY_S, LOOK_S)
        opened_s = time.monotonic()
        time.sleep(WINDOW_S)
        return killed_s, opened_s

    def back(self, killed_s: float) -> list[float]:
        """When each client of A was whole again."""

        def look() -> list[float]:
            return [moment for generator in self.generators for moment in generator.ask("tell")["whole_s"]]

        for moments in self._until("clients that are whole again", look):
            if min(moments) > killed_s:
                return list(moments)
        raise AssertionError

    def behind(self) -> int:
        """How many streams of clients do not end with the store's last number, after the ingester has ended."""
        self.ingester.stop()
        positions, left = self.positions(), -1
        deadline = time.monotonic() + AFTER_S
        while left and time.monotonic() < deadline:
            time.sleep(0.2)
            left = sum(one.ask("behind", positions=positions)["behind"] for one in (*self.generators, self.probes))
        return left

    def replayed(self) -> Mapping[str, float]:
        """What the gateway that was started again counts of replays."""
        found = {}
        for line in httpx.get(f"http://127.0.0.1:{self.ports[0]}/metrics", timeout=READY_S).text.splitlines():
            name, _, value = line.rpartition(" ")
            if name.startswith("ticker_replay_") and name.endswith("_total"):
                found[name.removeprefix("ticker_replay_").removesuffix("_total")] = float(value)
        return found


@contextmanager
def stage(options: Options, seed: int) -> Iterator[Stage]:
    """The same, ended in order."""
    with ExitStack() as stack:
        yield Stage(stack, options, seed)


def measure(options: Options, seed: int) -> Sample:
    """One kill."""
    load = os.getloadavg()[0]
    with stage(options, seed) as on:
        on.settle()
        time.sleep(BEFORE_S)
        before = [age for _, age in on.probes.ask("tell")["ages"]]
        killed_s, opened_s = on.kill()
        whole = on.back(killed_s)
        time.sleep(AFTER_S)
        probed = on.probes.ask("tell")
        behind = on.behind()
        everyone = [*(generator.ask("tell") for generator in on.generators), probed]
        ages = probed["ages"]
        return Sample(
            load=load,
            away_s=opened_s - killed_s,
            whole_p50_s=percentile(whole, 0.5) - opened_s,
            whole_last_s=max(whole) - opened_s,
            before_ms=percentile(before, 0.99),
            away_ms=percentile([age for moment, age in ages if killed_s <= moment < opened_s], 0.99),
            meanwhile_ms=percentile([age for moment, age in ages if opened_s <= moment <= max(whole)], 0.99),
            cores={name: on.processors.share(name, opened_s, max(whole)) for name in on.processors.names},
            wrong=sum(one["wrong"] for one in everyone),
            announced=sum(one["announced"] for one in everyone),
            not_recovered=sum(one["not_recovered"] for one in everyone),
            refused=sum(one["refused"] for one in everyone),
            behind=behind,
            cut_off=sum(count - 2 for one in everyone[:-1] for count in one["served"]),
            errors=tuple(error for one in everyone for error in one["errors"])[:3],
            replay=dict(on.replayed()),
        )
