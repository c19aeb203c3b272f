"""What REST history costs: candles from `ticker serve`, beside the obvious design and beside a body that is always the same.

usage: history.py [--seconds S] [--runs N] [--only PART,PART]

Stores the same candles twice in a Valkey of its own, as ticker keeps them and as a sorted set of JSON; starts `ticker serve`,
the peers of history_peers.py and, for what is asked for the first time, a second `ticker serve` that may remember next to
nothing; asks them in turn, each alone, over 32 connections that stay open; one part (history_beside.py) asks while 500 live
clients listen. The server has one core, everything else the other. The constant body is as long as ticker's answer to the same
question. Prints Markdown tables, what was aimed at and whether it was reached, and the raw numbers. Nothing else should run
meanwhile. Needs Linux, two cores, a C compiler.
"""

import argparse
import http.client
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import rig
from fanout.store import Store, names
from fanout.tables import ratio, spread
from history_beside import PAIRS, SECONDS, beside
from history_questions import anew, anywhere, target
from history_stage import END, MINUTE, SYMBOLS, Running, Samples, Stage, cpu_us, fill, per_s
from history_told import heading, table
from http_load import Load, build, request

PARTS = ("throughput", "many", "formats", "latency", "beside", "storage")
COUNTS = (500, 5_000)
MANY_CLIENTS = 4
"""Of answers of up to 42 MB."""
OURS, SAME, OBVIOUS = (
    "ticker, remembered",
    "the same body (starlette, uvicorn)",
    "sorted set, parsed (the obvious design)",
)
AGAIN, JOINED = "ticker, 304", "sorted set, members joined"


def throughput(stage: Stage) -> Iterator[str]:
    """As many answers a second as each server gives."""
    parsed, joined = (stage.peer(kind, stage.store.port) for kind in ("parsed", "joined"))
    rows = []
    for count in COUNTS:
        one = target("SYM0", count)
        requests = [request(one)]
        found = stage.run(
            f"{count:,} candles",
            {
                SAME: (stage.peer("constant", stage.length(one)), requests),
                OURS: (stage.warm, requests),
                AGAIN: (stage.warm, [request(one, {"If-None-Match": stage.answer(one)["etag"]})]),
                "ticker, fifty symbols in turn": (stage.warm, [request(target(s, count)) for s in names(SYMBOLS)]),
                "ticker, a range not asked for before": (stage.warm, anew("SYM0", count)),
                "ticker, nothing remembered": (stage.cold, anywhere(count)),
                JOINED: (joined, requests),
                OBVIOUS: (parsed, requests),
            },
        )
        rows += _compared(count, found)
        base, obvious = per_s(found[SAME]), per_s(found[OBVIOUS])
        if count == COUNTS[0]:
            stage.aim(f"{count} closed candles, remembered: share of the constant body", per_s(found[OURS]) / base, 0.8)
            stage.aim(f"{count} closed candles, remembered: times the obvious design", per_s(found[OURS]) / obvious, 6)
            stage.aim(f"304 for {count} candles: times the constant body", per_s(found[AGAIN]) / base, 1.5)
    yield table(("candles", "server", "answers/s", "of the same body", "times the obvious", "server CPU us each"), rows)


def _compared(count: int, found: Samples) -> list[tuple[object, ...]]:
    base, obvious = per_s(found[SAME]), per_s(found[OBVIOUS])
    return [
        (
            f"{count:,}",
            name,
            spread([one.measured.per_s for one in samples]),
            f"{per_s(samples) / base:.2f}",
            ratio(per_s(samples), obvious),
            f"{cpu_us(samples):,.0f}",
        )
        for name, samples in found.items()
    ]


def many(stage: Stage) -> Iterator[str]:
    """Fifty symbols in one answer."""
    rows = []
    for count in COUNTS:
        end = END - MINUTE
        query = f"symbols={','.join(names(SYMBOLS))}&start={end - count * MINUTE}&end={end}&limit={count}"
        found = stage.run(
            f"{SYMBOLS} symbols of {count:,}",
            {
                "ticker": (stage.warm, [request(f"/v1/candles?{query}")]),
                "constant": (
                    stage.peer("constant", stage.length(f"/v1/candles?{query}")),
                    [request(target("SYM0", count))],
                ),
            },
            clients=MANY_CLIENTS,
        )
        size = stage.length(f"/v1/candles?{query}")
        cells = [spread([one.measured.per_s for one in samples], 1) for samples in found.values()]
        rows.append((f"{count:,}", f"{size:,}", *cells))
    yield table(("candles of each of 50 symbols", "bytes", "ticker, answers/s", "the same body, answers/s"), rows)


KINDS: dict[str, dict[str, str]] = {
    "json": {},
    "columns": {},
    "csv": {},
    "arrow": {},
    "json, gzip": {"Accept-Encoding": "gzip"},
    "json, zstd": {"Accept-Encoding": "zstd"},
}


def formats(stage: Stage) -> Iterator[str]:
    """Each format: bytes, answers a second, and how long a client in Python takes to have it decoded."""
    rows, took = [], {}
    for count in (*COUNTS, 10_000):
        for kind, headers in KINDS.items():
            more = f"&format={kind.partition(',')[0]}"
            wanted = target("SYM0", count, more=more)
            found = stage.run(
                f"{kind} of {count:,}",
                {
                    "remembered": (stage.warm, [request(wanted, headers)]),
                    "made": (stage.warm, anew("SYM0", count, more, headers)),
                },
            )
            size, seconds = stage.length(wanted, **headers), "-"
            if not headers:
                took[count, kind] = statistics.median(took_by_client(stage.warm, wanted, kind))
                seconds = f"{1000 * took[count, kind]:.2f} ms"
            cells = [spread([one.measured.per_s for one in samples]) for samples in found.values()]
            rows.append((f"{count:,}", kind, f"{size:,}", f"{size / count:.1f}", *cells, seconds))
    faster = took[10_000, "json"] / took[10_000, "arrow"]
    stage.aim("10,000 candles, asked, read and decoded: arrow, times as fast as json", faster, 5)
    heads = ("candles", "format", "bytes", "a candle", "remembered, answers/s", "made, answers/s")
    yield table((*heads, "asked, read and decoded"), rows)


def took_by_client(server: Running, wanted: str, kind: str, times: int = 60) -> list[float]:
    """Seconds from the request until the answer is decoded: rows as objects, or columns as arrays."""
    import pyarrow as pa

    decode: dict[str, Callable[[bytes], object]] = {
        "json": json.loads,
        "columns": json.loads,
        "csv": lambda body: [line.split(",") for line in body.decode().splitlines()],
        "arrow": lambda body: pa.ipc.open_stream(body).read_all(),
    }
    connection, took = http.client.HTTPConnection("127.0.0.1", server.port), []
    for _ in range(times):
        began = time.perf_counter()
        connection.request("GET", wanted)
        decode[kind](connection.getresponse().read())
        took.append(time.perf_counter() - began)
    connection.close()
    return took


def latency(stage: Stage) -> Iterator[str]:
    """On a schedule, at half of the most that is answered."""
    rows = []
    for count in COUNTS:
        questions = {"ticker": (stage.warm, [request(target("SYM0", count))])}
        most = per_s(stage.run(f"{count:,} at most", questions)["ticker"])
        samples = [one.measured for one in stage.run(f"{count:,} at half", questions, most / 2)["ticker"]]
        cells = [spread([getattr(one, name) for one in samples], 2) for name in ("p50_ms", "p99_ms", "max_ms")]
        rows.append((f"{count:,}", f"{most / 2:,.0f}", *cells))
        if count == COUNTS[0]:
            p99_ms = statistics.median(one.p99_ms for one in samples)
            stage.aim(f"{count} closed candles at half load: p99 in ms", p99_ms, 10, at_most=True)
    yield table(("candles", "asked for a second", "p50 ms", "p99 ms", "max ms"), rows)


def parts(text: str) -> list[str]:
    found = text.split(",")
    if unknown := [part for part in found if part not in PARTS]:
        raise argparse.ArgumentTypeError(f"found {unknown[0]!r}; allowed: {', '.join(PARTS)}")
    return found


def main() -> None:
    """Measure, and say what came of it; exit code 1 where something that was aimed at was not reached."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--seconds", type=float, help=f"of each measurement: 3, or {SECONDS:g} of one beside live clients"
    )
    parser.add_argument("--runs", type=int, help=f"of each measurement: 3, or {PAIRS} pairs beside live clients")
    parser.add_argument("--only", type=parts, default=list(PARTS), metavar="PART,PART", help="of " + ", ".join(PARTS))
    given = parser.parse_args()
    cores = rig.Cores.of_machine()
    build()
    with rig.pinned(cores.others), tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        store = stack.enter_context(Store(Path(name), SYMBOLS, cores.others))
        sizes = fill(store)
        stage = Stage(stack, store, cores, Path(name), Load(seconds=given.seconds or 3.0), given.runs or 3)
        print(f"{heading(store.version)}, medians (from to):\n", flush=True)
        measures: dict[str, Callable[[Stage], Iterator[str]]] = {
            "throughput": throughput,
            "many": many,
            "formats": formats,
            "latency": latency,
            "beside": lambda stage: beside(stage, given.runs or PAIRS, given.seconds or SECONDS),
        }
        for part, measured in measures.items():
            for text in measured(stage) if part in given.only else ():
                print(f"{text}\n", flush=True)
        if "storage" in given.only:
            print(table(("kept as", "bytes a candle"), [(kind, f"{size:.1f}") for kind, size in sizes.items()]), "\n")
    print(table(("aim", "wanted", "found", "reached"), stage.aims), "\n")
    print("\n".join(f"- {remark}" for remark in dict.fromkeys(stage.remarks)))
    print("\n```", *map(json.dumps, stage.raw), "```", sep="\n")
    sys.exit(0 if all(aim[-1] == "yes" for aim in stage.aims) else 1)


if __name__ == "__main__":
    main()
