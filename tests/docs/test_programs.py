"""The programs and the configuration in the docs: they run, and are accepted by whom they are for."""

import configparser
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from ticker.cli import cli
from ticker.config import Config
from ticker.config_loading import load_config
from ticker.store.address import read_address

DEADLINE_S = 20.0


@pytest.mark.blocks("program")
def test_programs_run(block: Any, docs: Any, start: Callable[..., Any], tmp_path: Path) -> None:
    """Each prints something; one that goes on for ever is ended then, and must not have failed before."""
    program = tmp_path / "program.py"
    program.write_text(docs.adapted(block.text))
    running = start(f"exec {shlex.quote(sys.executable)} {program}", docs.environment())
    lines = running.lines(3 if block.words else 1)
    if block.words:
        still_running = running.process.poll() is None
        _, errors = running.end()
        assert still_running, errors
        assert len(lines) == 3, errors
    else:
        running.process.wait(DEADLINE_S)
        assert (running.end()[0], len(lines)) == (0, 1)


@pytest.mark.blocks("config")
def test_configuration_is_accepted(block: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And sets what it says."""
    for name in [name for name in os.environ if name.startswith("TICKER_")]:
        monkeypatch.delenv(name)
    file = tmp_path / "config.yaml"
    file.write_text(block.text)
    config = load_config(file)
    assert config != Config()
    if config.redis.url != "embedded":
        read_address(config.redis.url)


@pytest.mark.blocks("prometheus")
def test_prometheus_would_find_the_metrics(block: Any, docs: Any) -> None:
    """At the path that it takes where none is named."""
    (job,) = yaml.safe_load(block.text)["scrape_configs"]
    assert job.keys() == {"job_name", "static_configs"}
    for target in job["static_configs"][0]["targets"]:
        answer = httpx.get(f"http://{docs.adapted(target)}/metrics")
        assert answer.headers["content-type"].startswith("text/plain")
        assert "ticker_ticks_appended_total" in answer.text


@pytest.mark.blocks("unit")
def test_systemd_would_take_the_unit(block: Any, tmp_path: Path) -> None:
    """Its command is one of ours, and systemd finds nothing to say where it is installed."""
    parser = configparser.ConfigParser(strict=False, interpolation=None)
    parser.optionxform = str  # type: ignore[method-assign, assignment]
    parser.read_string(block.text)
    program, name, *options = shlex.split(parser["Service"]["ExecStart"])
    assert Path(program).name == "ticker"
    cli.commands[name].make_context(name, list(options))
    verify = shutil.which("systemd-analyze")
    if not verify:
        pytest.skip("no systemd-analyze here; CI has it")
    unit = tmp_path / block.words
    unit.write_text(block.text.replace(program, str(Path(sys.executable).parent / "ticker")))
    done = subprocess.run([verify, "verify", "--man=no", unit], capture_output=True, text=True, check=False)
    assert [line for line in done.stderr.splitlines() if "ticker.service" in line] == []


def test_the_feed_of_the_docs_works(
    the_block: Callable[[str, str], str], tmp_path: Path, free_port: Callable[[], int], block_until: Callable[..., None]
) -> None:
    """Installed as a package would install it, named in config.yaml, it rolls."""
    (tmp_path / "dice.py").write_text(the_block("python", "file=dice.py"))
    about = tmp_path / "dice-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: dice\nVersion: 1.0\n")
    points = re.fullmatch(r'\[project\.entry-points\."(.+)"\]\n(\w+) = "(.+)"\n', the_block("toml", "entry-point"))
    assert points is not None
    (about / "entry_points.txt").write_text(f"[{points[1]}]\n{points[2]} = {points[3]}\n")
    tree = yaml.safe_load(the_block("yaml", "dice"))
    port = free_port()
    tree |= {"server": {"port": port}, "redis": {"port": free_port(), "data_dir": str(tmp_path / "data")}}
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(tree))
    environ = {name: value for name, value in os.environ.items() if not name.startswith("TICKER_")}
    process = subprocess.Popen(
        [sys.executable, "-m", "ticker", "run"],
        cwd=tmp_path,
        env=environ | {"PYTHONPATH": str(tmp_path)},
        stdout=subprocess.DEVNULL,
    )

    def rolls() -> list[dict[str, Any]]:
        try:
            found: list[dict[str, Any]] = httpx.get(f"http://127.0.0.1:{port}/v1/trades/DICE").json().get("trades", [])
        except httpx.HTTPError:
            return []
        return found

    try:
        block_until(lambda: len(rolls()) >= 2)
        assert all(1 <= roll["price"] <= 20 for roll in rolls())
        assert rolls()[1]["time"] - rolls()[0]["time"] == 1_000_000
    finally:
        process.terminate()
        assert process.wait(20) == 0
