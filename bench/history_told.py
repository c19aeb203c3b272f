"""How the measurements of history are told: in Markdown."""

import platform
import time
from collections.abc import Sequence
from importlib import metadata

import rig

PACKAGES = ("ticker", "uvicorn", "uvloop", "httptools", "starlette", "redis", "hiredis", "orjson", "pyarrow", "numpy")


def heading(store: str) -> str:
    """When, where and with what: numbers mean nothing without."""
    found = ", ".join(f"{name} {metadata.version(name)}" for name in PACKAGES)
    python = f"Python {platform.python_version()}"
    return f"{time.strftime('%Y-%m-%d')}, {rig.machine()}, {python}, {store}, {found}"


def table(heads: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """A Markdown table."""
    lines = [f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
    return "\n".join([*lines, *(f"| {' | '.join(map(str, row))} |" for row in rows)])
