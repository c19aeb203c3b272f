"""Publishes trades on a fixed schedule, as the ingester does it; run as a program.

usage: publisher.py REDIS_PORT SYMBOLS TICKS_PER_S SECONDS STEP_MS

Each step publishes what is due by then, one symbol after the other, in whole rounds over all symbols. The time in a trade is
when its step was due: where the publisher or the store comes late, that counts as latency, whoever is to blame. Prints a
line when it begins, and one when it has ended: how much was published, how late the worst step was.
"""

import json
import socket
import sys
import time
from collections.abc import Sequence
from typing import Any

import hiredis

from feeds.tick import Trade
from ticker import codec
from ticker.store import keys


class Publisher:
    """One connection to the store; every answer is read before the next step."""

    def __init__(self, port: int, symbols: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port))
        self._reader = hiredis.Reader()
        self._names = [f"SYM{number}" for number in range(symbols)]
        self._channels = [keys.trades(name) for name in self._names]
        self._seqs = [0] * symbols
        self.sent = 0
        self._run([packed("SET", keys.epoch(name), "bench") for name in self._names])

    def publish(self, count: int, time_us: int) -> None:
        """The next `count` trades."""
        commands = []
        for _ in range(count):
            number = self.sent % len(self._names)
            self.sent += 1
            self._seqs[number] += 1
            trade = Trade(self._names[number], 100.25 + number, 100, time_us)
            message, _, _ = codec.trade_entry(trade, self._seqs[number])
            commands.append(packed("PUBLISH", self._channels[number], message))
        self._run(commands)

    def _run(self, commands: Sequence[bytes]) -> None:
        self._socket.sendall(b"".join(commands))
        left = len(commands)
        while left:
            self._reader.feed(self._socket.recv(1 << 16))
            while (reply := self._reader.gets()) is not False:
                if isinstance(reply, Exception):
                    raise reply
                left -= 1


def packed(*words: str) -> bytes:
    """A command as the store reads it."""
    given: Any = words  # hiredis declares a tuple of one
    command: bytes = hiredis.pack_command(given)
    return command


def main() -> None:
    """Keep the schedule."""
    port, symbols, rate = int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])
    seconds, step_s = float(sys.argv[4]), float(sys.argv[5]) / 1000
    publisher = Publisher(port, symbols)
    total = -(-round(rate * seconds) // symbols) * symbols
    print(json.dumps({"begins": time.time()}), flush=True)
    start, cpu_s, late_s, step = time.time(), time.process_time(), 0.0, 0
    while publisher.sent < total:
        step += 1
        due_s = start + step * step_s
        time.sleep(max(0.0, due_s - time.time()))
        late_s = max(late_s, time.time() - due_s)
        due = min(int(step * step_s * rate), total) - publisher.sent
        if due > 0:
            publisher.publish(due, int(due_s * 1e6))
    took = time.time() - start
    row = {"published": publisher.sent, "per_s": publisher.sent / took, "late_ms": 1000 * late_s}
    print(json.dumps(row | {"cpu": (time.process_time() - cpu_s) / took}), flush=True)


if __name__ == "__main__":
    main()
