"""The plug that the README pulls: its session, typed into a real shell against a running service."""

import importlib.util
import os
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).parent
DEADLINE_S = 30.0


def load(name: str) -> Any:
    """A module of these tests, by its path: they are no package."""
    spec = importlib.util.spec_from_file_location(name, HERE / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.timeout(120)
def test_the_plug_is_pulled(
    the_block: Callable[[str, str], str], docs: Any, free_port: Callable[[], int], tmp_path: Path
) -> None:
    """Every line that is shown comes, in this order, each once its command has been typed."""
    commands = load("test_commands")
    session = docs.adapted(the_block("console", "plug").replace("8001", str(free_port())))
    output = tmp_path / "output"
    with output.open("wb") as out:
        shell = subprocess.Popen(
            ["bash", "--norc"],
            stdin=subprocess.PIPE,
            stdout=out,
            stderr=out,
            cwd=HERE.parents[1],
            env=docs.environment(),
        )
    assert shell.stdin is not None
    # Jobs as a terminal has them; none of them outlives the shell.
    typed = ["set -m", "trap 'kill -9 $(jobs -p) 2> /dev/null' EXIT"]
    seen = 0
    try:
        for command, shown in commands.sessions_of(session):
            shell.stdin.write("".join(f"{line}\n" for line in [*typed, command]).encode())
            shell.stdin.flush()
            typed = []
            for line in shown:
                seen = wait_for_line(output, line, seen, commands.alike)
    finally:
        shell.stdin.close()
        shell.wait(DEADLINE_S)


def wait_for_line(output: Path, shown: str, begin: int, alike: Callable[[str, str], bool]) -> int:
    """The number of the line behind the one that is like it."""
    deadline = time.monotonic() + DEADLINE_S
    while True:
        lines = output.read_text().rpartition("\n")[0].split(os.linesep)
        for number, line in enumerate(lines[begin:], begin + 1):
            if alike(shown, line):
                return number
        if time.monotonic() > deadline:
            pytest.fail(f"no line like {shown!r} in {lines[begin:]}")
        time.sleep(0.02)
