"""The checker is the judge of all fault tests: what it must never overlook, and what it must never complain of."""

import random
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import good_ledger
import orjson
import pytest
from good_ledger import Ledger, Step
from ledger.book import Count, Topic
from ledger.checker import Stream, check

MUTATIONS = 10_000
LEDGERS = 100
Change = Callable[[Ledger, random.Random], str]


def ticks_of(steps: list[Step]) -> list[int]:
    """Where in a client's steps there are ticks."""
    return [i for i, step in enumerate(steps) if isinstance(step, bytes) and b'"seq":' in step and is_tick(step)]


def is_tick(step: Step) -> bool:
    return (
        isinstance(step, bytes)
        and step.startswith((b'{"type":"trade"', b'{"type":"quote"'))
        and b"snapshot" not in step
    )


def topic_of(step: bytes) -> tuple[str, str]:
    message = orjson.loads(step)
    return message["type"], message["symbol"]


def a_client(ledger: Ledger, dice: random.Random) -> list[Step]:
    return dice.choice(ledger.clients[:-1])


def withdrawn(steps: list[Step], i: int) -> bool:
    """Whether what comes next of the same topic is the reset: one tick less before it is nobody's loss."""
    step = steps[i]
    assert isinstance(step, bytes)
    kind, symbol = topic_of(step)
    mine = f'"channel":"{kind}s","symbol":"{symbol}"'.encode()
    for later in steps[i + 1 :]:
        if isinstance(later, bytes) and is_tick(later) and topic_of(later) == (kind, symbol):
            return False
        if isinstance(later, bytes) and later.startswith(b'{"type":"reset"') and mine in later:
            return True
    return False


def drop(ledger: Ledger, dice: random.Random) -> str:
    steps = a_client(ledger, dice)
    return f"dropped {steps.pop(dice.choice([i for i in ticks_of(steps) if not withdrawn(steps, i)]))!r}"


def skip_silently(ledger: Ledger, dice: random.Random) -> str:
    steps = a_client(ledger, dice)
    while True:
        first = dice.choice(ticks_of(steps))
        topic = topic_of(steps[first])
        gone = [i for i in ticks_of(steps) if i >= first and topic_of(steps[i]) == topic][: dice.randrange(1, 9)]
        if not withdrawn(steps, gone[-1]):
            break
    for i in reversed(gone):
        del steps[i]
    return f"skipped {len(gone)} of {topic}"


def duplicate(ledger: Ledger, dice: random.Random) -> str:
    steps = a_client(ledger, dice)
    i = dice.choice(ticks_of(steps))
    later = [k for k in range(i + 1, len(steps) + 1) if all(is_tick(step) for step in steps[i:k])]
    steps.insert(dice.choice(later), steps[i])
    return f"doubled {steps[i]!r}"


def swap(ledger: Ledger, dice: random.Random) -> str:
    steps = a_client(ledger, dice)
    while True:
        i, k = sorted(dice.sample(ticks_of(steps), 2))
        if topic_of(steps[i]) == topic_of(steps[k]) and steps[i] != steps[k]:
            steps[i], steps[k] = steps[k], steps[i]
            return f"swapped {steps[k]!r} and {steps[i]!r}"


def alter(ledger: Ledger, dice: random.Random) -> str:
    """One digit of one field for one client."""
    steps = a_client(ledger, dice)
    i = dice.choice(ticks_of(steps))
    step = steps[i]
    assert isinstance(step, bytes)
    digits = [k for k in range(step.index(b'"symbol"'), len(step)) if step[k : k + 1].isdigit()]
    at = dice.choice(digits)
    new = (step[at] - 48 + dice.randrange(1, 10)) % 10 + 48
    steps[i] = step[:at] + bytes([new]) + step[at + 1 :]
    return f"{step!r} became {steps[i]!r}"


def alter_for_all(ledger: Ledger, dice: random.Random) -> str:
    """The same change for every client: only the books on the other side tell."""
    steps = a_client(ledger, dice)
    old = steps[dice.choice(ticks_of(steps))]
    assert isinstance(old, bytes)
    message = orjson.loads(old)
    name = dice.choice([n for n in message if n in ("price", "bid", "time", "ask_size") and message[n] is not None])
    new = old.replace(orjson.dumps(message[name]), orjson.dumps(message[name] + 1), 1)
    for client in ledger.clients:
        client[:] = [new if step == old else step for step in client]
    return f"{old!r} became {new!r}"


def invent(ledger: Ledger, dice: random.Random) -> str:
    """A tick that nobody made, with the number that comes next."""
    steps = a_client(ledger, dice)
    i = ticks_of(steps)[-1]
    message = orjson.loads(steps[i])
    message["seq"] += 1
    message["time"] += 1
    steps.insert(i + 1, orjson.dumps(message))
    return f"invented {message}"


def invent_for_all(ledger: Ledger, dice: random.Random) -> str:
    """The same for everybody, and in the store."""
    topic = dice.choice(list(ledger.streams))
    stream = ledger.streams[topic]
    seq, fields = stream.entries[-1]
    more = dict(fields) | {"time": str(int(fields["time"]) + 1), "seq": str(seq + 1)}
    ledger.streams[topic] = replace(stream, entries=[*stream.entries, (seq + 1, more)])
    numbers = {name: orjson.loads(value) for name, value in more.items() if name not in ("id", "exchange")}
    kind = {"type": topic.channel[:-1], "symbol": topic.symbol}
    texts = {name: more[name] for name in ("id", "exchange") if name in more}
    for client in ledger.clients[:-1]:
        client.append(orjson.dumps(kind | numbers | texts))
    return f"invented {more}"


def events(ledger: Ledger, kind: bytes) -> list[tuple[list[Step], int]]:
    return [
        (steps, i)
        for steps in ledger.clients
        for i, step in enumerate(steps)
        if isinstance(step, bytes) and step.startswith(b'{"type":"' + kind)
    ]


def wrong_reset(ledger: Ledger, dice: random.Random) -> str:
    steps, i = dice.choice(events(ledger, b"reset"))
    message = orjson.loads(steps[i])
    if dice.random() < 0.3:
        message["epoch"] = "other"
    else:
        message["seq"] = max(message["seq"] + dice.choice([-3, -2, -1, 1, 2, 3]), 0)
    steps[i] = orjson.dumps(message)
    return f"reset became {message}"


def no_reset(ledger: Ledger, dice: random.Random) -> str:
    steps, i = dice.choice(events(ledger, b"reset"))
    return f"without {steps.pop(i)!r}"


def wrong_gap(ledger: Ledger, dice: random.Random) -> str:
    steps, i = dice.choice(events(ledger, b"gap"))
    message = orjson.loads(steps[i])
    message[dice.choice(["from", "to"])] += dice.choice([-2, -1, 1, 2])
    steps[i] = orjson.dumps(message)
    return f"gap became {message}"


def no_gap(ledger: Ledger, dice: random.Random) -> str:
    steps, i = dice.choice(events(ledger, b"gap"))
    return f"without {steps.pop(i)!r}"


def needless_gap(ledger: Ledger, dice: random.Random) -> str:
    """Told to be missing, and left out, though the store holds it."""
    steps = ledger.clients[0]
    i = ticks_of(steps)[-1]
    message = orjson.loads(steps[i])
    gap = {"type": "gap", "channel": f"{message['type']}s", "symbol": message["symbol"]}
    steps[i] = orjson.dumps(gap | {"from": message["seq"], "to": message["seq"], "reason": "trimmed"})
    return f"{message} told as a gap"


def wrong_reply(ledger: Ledger, dice: random.Random) -> str:
    """Another position, or another word on whether all that is missing was sent."""
    replies = [(s, i) for s in ledger.clients[:-1] for i, step in enumerate(s) if not isinstance(step, bytes)]
    steps, i = dice.choice(replies)
    step = steps[i]
    assert isinstance(step, tuple)
    reply, resumed = step
    (position,) = reply["positions"].values()
    if not resumed:
        position["seq"] += dice.choice([-1, 1])
    elif position["recovered"]:
        del position["recovered"]
    else:
        return drop(ledger, dice)
    return f"the reply became {reply}"


def subscribed_anew(ledger: Ledger, dice: random.Random) -> str:
    """As if a resume had not been asked for."""
    replies = [(s, i) for s in ledger.clients for i, step in enumerate(s) if not isinstance(step, bytes) and step[1]]
    steps, i = dice.choice(replies)
    reply = steps[i][0]
    assert isinstance(reply, dict)
    steps[i] = reply, False
    return f"not resumed: {reply}"


def snapshot_of_another(ledger: Ledger, dice: random.Random) -> str:
    client = ledger.clients[1]
    i = dice.choice([i for i, step in enumerate(client) if isinstance(step, bytes) and b"snapshot" in step])
    message = orjson.loads(client[i])
    message[dice.choice(["time", "seq"])] += 1
    client[i] = orjson.dumps(message)
    return f"a snapshot became {message}"


def a_stream(ledger: Ledger, dice: random.Random) -> tuple[Topic, list[Any], Stream]:
    topic = dice.choice(list(ledger.streams))
    return topic, list(ledger.streams[topic].entries), ledger.streams[topic]


def wrong_stream(ledger: Ledger, dice: random.Random) -> str:
    topic, entries, stream = a_stream(ledger, dice)
    i = dice.randrange(len(entries) - 1)
    seq, fields = entries[i]
    kind = dice.choice(["drop", "double", "swap", "alter", "renumber"])
    if kind == "drop":
        del entries[i]
    elif kind == "double":
        entries.insert(i + 1, entries[i])
    elif kind == "swap":
        entries[i], entries[i + 1] = entries[i + 1], entries[i]
    elif kind == "alter":
        name = dice.choice([name for name in fields if fields[name].isdigit()])
        entries[i] = seq, dict(fields) | {name: str(int(fields[name]) + 1)}
    else:
        entries[i:] = [(n + 1, dict(f) | {"seq": str(n + 1)}) for n, f in entries[i:]]
    ledger.streams[topic] = replace(stream, entries=entries)
    return f"{kind} {seq} of {topic}"


def never_stored(ledger: Ledger, dice: random.Random) -> str:
    """One more tick was made: it is nowhere, and nobody has said so."""
    line = dice.choice([line for line in ledger.lines if "\tstored\t" in line])
    ledger.lines.append(line.replace(line[: line.index("\t")], str(good_ledger.TICKS), 1))
    return f"made, and never stored: {line}"


def never_made(ledger: Ledger, dice: random.Random) -> str:
    i = dice.choice([i for i, line in enumerate(ledger.lines) if "\tstored\t" in line])
    return f"stored, and never made: {ledger.lines.pop(i)}"


def not_refused(ledger: Ledger, dice: random.Random) -> str:
    """What was to be refused as late is stored and delivered."""
    i = dice.choice([i for i, line in enumerate(ledger.lines) if "\tstored\t" in line])
    ledger.lines[i] = ledger.lines[i].replace("stored", dice.choice(["late", "bad", "duplicate"]))
    return f"not refused: {ledger.lines[i]}"


def wrong_candle(ledger: Ledger, dice: random.Random) -> str:
    """One unit in the last place of one figure."""
    rows = ledger.rest[dice.choice(list(ledger.rest))]
    row = dice.choice(rows)
    name = dice.choice(["time", "open", "high", "low", "close", "volume", "trades", "vwap", "final"])
    if name == "final":
        row["final"] = False
    elif name in ("time", "trades"):
        row[name] = str(int(row[name]) + 1)
    elif row[name] is None:
        row[name] = "0"
    else:
        row[name] = repr(round(float(row[name]) + dice.choice([-1, 1]) / 1_000_000, 6))
    return f"{name} of {row}"


def no_candle(ledger: Ledger, dice: random.Random) -> str:
    rows = ledger.rest[dice.choice(list(ledger.rest))]
    return f"without {rows.pop(dice.randrange(len(rows)))}"


def candle_from_nowhere(ledger: Ledger, dice: random.Random) -> str:
    rows = ledger.rest[dice.choice(list(ledger.rest))]
    rows.append(dict(rows[-1]) | {"time": str(int(rows[-1]["time"]) + 7 * 86_400_000_000)})
    return f"with {rows[-1]}"


def wrong_candle_message(ledger: Ledger, dice: random.Random) -> str:
    steps = ledger.clients[-1]
    i = dice.choice([i for i, step in enumerate(steps) if isinstance(step, bytes) and b'"final":true' in step])
    message = orjson.loads(steps[i])
    name = dice.choice(["open", "high", "low", "close", "volume", "seq"])
    message[name] = round(message[name] + 1e-6, 6) if name != "seq" else message["seq"] + 1
    steps[i] = orjson.dumps(message)
    return f"{name} of {message}"


def no_final_candle(ledger: Ledger, dice: random.Random) -> str:
    steps = ledger.clients[-1]
    i = dice.choice([i for i, step in enumerate(steps) if isinstance(step, bytes) and b'"final":true' in step])
    return f"without {steps.pop(i)!r}"


def garbage(ledger: Ledger, dice: random.Random) -> str:
    steps = a_client(ledger, dice)
    i = dice.choice(ticks_of(steps))
    step = steps[i]
    assert isinstance(step, bytes)
    steps[i] = dice.choice(
        [step[:-1], b"", step.replace(b'"seq"', b'"sequence"'), step.replace(b'"trade"', b'"trace"')]
    )
    if steps[i] == step:
        steps[i] = b"[]"
    return f"{step!r} became {steps[i]!r}"


CHANGES: tuple[Change, ...] = (
    *(drop, skip_silently, duplicate, swap, alter, alter_for_all, invent, invent_for_all),
    *(wrong_reset, no_reset, wrong_gap, no_gap, needless_gap, wrong_reply, subscribed_anew, snapshot_of_another),
    *(wrong_stream, never_stored, never_made, not_refused),
    *(wrong_candle, no_candle, candle_from_nowhere, wrong_candle_message, no_final_candle, garbage),
)


@pytest.fixture(scope="module")
def ledgers() -> list[Ledger]:
    return [good_ledger.make(seed) for seed in range(LEDGERS)]


def test_books_in_which_all_is_right_are_passed(ledgers: list[Ledger]) -> None:
    """Also where a store has lost data, streams were trimmed, and clients came, went and were told so."""
    for ledger in ledgers:
        report = check(ledger.evidence())
        assert report.clean, report.breaches
        assert report.counts == dict.fromkeys(Count, 0)
        assert report.ticks
        assert report.deliveries
        assert report.candles


def test_ten_thousand_changes_of_good_books_are_all_caught(ledgers: list[Ledger]) -> None:
    """One thing is wrong in each: nothing of it may be overlooked."""
    seed = random.randrange(1 << 32)
    print(f"seed {seed}")
    dice = random.Random(seed)
    overlooked = []
    for number in range(MUTATIONS):
        ledger = ledgers[number % LEDGERS].copy()
        change = CHANGES[number % len(CHANGES)]
        what = change(ledger, dice)
        if check(ledger.evidence()).clean:
            overlooked.append((number % LEDGERS, change.__name__, what))
    assert not overlooked, f"{len(overlooked)} of {MUTATIONS}, such as {overlooked[:5]}"


@pytest.mark.parametrize(
    ("change", "count"),
    [
        (never_stored, Count.LOST),
        (needless_gap, Count.LOST),
        (duplicate, Count.DUPLICATED),
        (invent, Count.PHANTOM),
        (not_refused, Count.PHANTOM),
        (alter_for_all, Count.CORRUPT),
        (wrong_candle_message, Count.CORRUPT),
        (no_gap, Count.SILENT_GAP),
    ],
)
def test_what_is_wrong_is_called_by_its_name(ledgers: list[Ledger], change: Change, count: Count) -> None:
    ledger = ledgers[0].copy()
    change(ledger, random.Random(1))
    assert check(ledger.evidence()).counts[count]
