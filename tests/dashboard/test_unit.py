"""Runs the trading page's own tests (vitest), so that one command runs every test."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

DASHBOARD = Path(__file__).parents[2] / "dashboard"


def test_the_tests_of_the_page_pass():
    """vitest: messages, candles, reconnecting, joining history and live, formats; its output is the failure."""
    if not (DASHBOARD / "node_modules" / ".installed").is_file():
        (pytest.fail if os.environ.get("CI") else pytest.skip)(
            "the page's packages are not there; make setup fetches them"
        )
    command = [sys.executable, str(DASHBOARD / "build.py"), "npm", "run", "--silent", "test", "--", "--reporter=dot"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=110, env=os.environ | {"NO_COLOR": "1"})
    assert done.returncode == 0, done.stdout + done.stderr
    assert " passed" in done.stdout, done.stdout
