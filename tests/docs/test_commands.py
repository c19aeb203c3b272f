"""The commands in the docs: each works, and says what is shown."""

import os
import re
import shlex
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

REPOSITORY = Path(__file__).parents[2]
ENDLESS = {"run": "stop", "serve": "stop", "ingest": "ingesting", "tap": "", "watch": ""}
"""Commands that run until they are ended, and how the line begins that says that they do what they are for."""
DEADLINE_S = 20.0


def commands_of(text: str) -> list[str]:
    """One a line, or more lines where they end with a backslash."""
    return [line for line in text.replace("\\\n", " ").splitlines() if line.strip()]


def sessions_of(text: str) -> list[tuple[str, list[str]]]:
    """Of a `console` block: each command with the output shown."""
    found: list[tuple[str, list[str]]] = []
    for line in text.splitlines():
        if line.startswith("$ "):
            found.append((line[2:], []))
        else:
            found[-1][1].append(line)
    return found


def shape(line: str) -> str:
    """A line of output without what differs from run to run: numbers, names of epochs, connections and pages."""
    line = re.sub(r"\x1b(\[[0-9;]*[A-Za-z]|[78])", "", line)
    line = re.sub(r'"(epoch|connection|request_id|next)":("[^"]*"|null)', r'"\1":_', line)
    line = re.sub(r"(?<![:\w])(true|false)$", "?", line)
    line = re.sub(r"-?\d[\d.,:]*\d|\d", "#", line)
    return re.sub(r"#([-.:TZ ]*#)*Z?", "#", " ".join(line.split()))


def alike(shown: str, real: str) -> bool:
    """Whether a line of the docs is like a real one; one that ends in `...` shows only the beginning."""
    if shown.endswith("..."):
        return shape(real).startswith(shape(shown[:-3]).rstrip("#"))
    return shape(shown) == shape(real)


@pytest.mark.parametrize(
    ("shown", "real", "same"),
    [
        ('{"a":1,"b":2.5}', '{"a":17,"b":300}', True),
        ('{"a":1,"b":2.5}', '{"a":17,"c":300}', False),
        ('{"a":1,"epoch":"x1y2z3"}', '{"a":9,"epoch":"aaaaaa"}', True),
        ('{"a":1,...', '{"a":9,"b":3}', True),
        ('{"a":1,...', '{"b":9,"b":3}', False),
        ("AAPL  price 1.5  seq 7", "AAPL  price 12  seq 100", True),
        ("AAPL  price 1.5  seq 7", "MSFT  price 12  seq 100", False),
        ("2026-11-25 01:20:45Z  235.14  true", "  2026-11-26 11:20:45Z  9  true", True),
        ("AAPL  7  true", "AAPL  8  false", True),
        ('"final":true', '"final":false', False),
    ],
)
def test_lines_are_compared_by_their_shape(shown: str, real: str, same: bool) -> None:
    """Numbers and passing names may differ, nothing else."""
    assert alike(shown, real) is same


def endless(command: str) -> str | None:
    """The name of the command where it is one that runs until it is ended."""
    words = [word for word in shlex.split(command) if "=" not in word]
    name = words[1] if len(words) > 1 and Path(words[0]).name in ("ticker", "make") else ""
    return name if name in ENDLESS else None


def to_the_end(command: str, environment: dict[str, str]) -> str:
    """The output of a command that ends by itself, without a complaint."""
    done = subprocess.run(
        ["sh", "-c", command], cwd=REPOSITORY, env=environment, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def check_with_patience(command: str, environment: dict[str, str]) -> None:
    """`ticker check` beside a service that writes: its newest candle may differ, as the docs say, but not for ever."""
    deadline = time.monotonic() + DEADLINE_S
    while subprocess.run(["sh", "-c", command], cwd=REPOSITORY, env=environment, check=False).returncode:
        assert time.monotonic() < deadline


def run_make(command: str) -> None:
    """A target that exists and is told of by `make help`; what it would do is shown, not done."""
    target = shlex.split(command)[1]
    assert re.search(rf"^{target}:.*## ", (REPOSITORY / "Makefile").read_text("utf-8"), re.MULTILINE)
    assert to_the_end(command.replace("make", "make --dry-run --always-make", 1), dict(os.environ))


def read_docker(command: str) -> None:
    """Not run, as operations.md says: there is no engine. What it names must exist."""
    assert "What was not run: there is no Docker engine" in (REPOSITORY / "docs/operations.md").read_text("utf-8")
    words, compose = shlex.split(command), yaml.safe_load((REPOSITORY / "compose.yaml").read_text("utf-8"))
    dockerfile = (REPOSITORY / "Dockerfile").read_text("utf-8")
    if words[1] == "compose":
        verb, *rest = words[2:]
        assert verb in ("up", "ps", "logs", "down")
        assert {word for word in rest if not word.startswith("-")} <= set(compose["services"])
    elif words[1] == "run":
        assert words[-1] == "ticker"
        assert f"EXPOSE {words[words.index('--publish') + 1].rpartition(':')[2]}" in dockerfile
        assert f"={words[words.index('--volume') + 1].partition(':')[2]}" in dockerfile
    else:
        assert words[1:] == ["build", "--tag", "ticker", "."]


@pytest.mark.blocks("command")
def test_commands_work(
    block: Any, docs: Any, start: Callable[..., Any], free_port: Callable[[], int], valkey_url: str
) -> None:
    """Each ends well, or, where it runs until it is ended, says something and then ends well."""
    for command in commands_of(block.text):
        program = shlex.split(command)[0]
        adapted = docs.adapted(command)
        if program == "docker":
            read_docker(command)
        elif name := endless(command):
            environment = docs.environment() if name in ("tap", "watch") else docs.environment_of_servers(free_port())
            running = start(f"exec {adapted}", environment)
            begun = running.says(ENDLESS[name])
            code, errors = running.end()
            assert begun, errors
            # make tells of a target that was interrupted.
            assert "Traceback" not in errors
            assert code == 0 or program == "make"
        elif program == "make":
            run_make(command)
        elif "ticker check" in command:
            check_with_patience(adapted, docs.environment())
        else:
            to_the_end(adapted, docs.environment())


@pytest.mark.blocks("session")
def test_commands_say_what_is_shown(block: Any, docs: Any, start: Callable[..., Any]) -> None:
    """Line by line the same, but for numbers and names that pass."""
    for command, shown in sessions_of(block.text):
        assert shown
        adapted = docs.adapted(command)
        running = start(adapted if "|" in command else f"exec {adapted}", docs.environment())
        real = running.lines(len(shown))
        real += [running.rest()] if len(real) < len(shown) else []
        _, errors = running.end()
        wrong = [pair for pair in zip(shown, real, strict=False) if not alike(*pair)]
        assert (len(real), wrong) == (len(shown), []), errors
