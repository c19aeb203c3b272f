"""The wheel holds what a server needs and nothing else."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[1]
STATIC = REPOSITORY / "ticker" / "web" / "static"


@pytest.fixture(scope="module")
def names(tmp_path_factory):
    """The files in a wheel that was built just now."""
    folder = tmp_path_factory.mktemp("wheel")
    pip = [sys.executable, "-m", "pip", "wheel", "--quiet", "--disable-pip-version-check"]
    command = [*pip, "--no-deps", "--no-build-isolation", "--wheel-dir", str(folder), str(REPOSITORY)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stderr
    (wheel,) = folder.iterdir()
    return set(zipfile.ZipFile(wheel).namelist())


def test_the_small_page_is_in_the_wheel(names):
    """With the code, the typing marker and the licence."""
    assert {"ticker/app.py", "feeds/py.typed", "ticker/web/page/index.html"} <= names
    assert any(name.endswith("licenses/LICENSE") for name in names)
    assert not any(name.startswith(("tests/", "dashboard/", "bench/")) for name in names)


def test_the_built_page_is_in_the_wheel(names):
    """Although it is in no commit: every file, compressed ones too."""
    if not (STATIC / "index.html").is_file():
        (pytest.fail if os.environ.get("CI") else pytest.skip)("the trading page is not built; make setup does that")
    built = {f"ticker/web/static/{path.relative_to(STATIC).as_posix()}" for path in STATIC.rglob("*") if path.is_file()}
    assert built <= names
    assert any(name.endswith(".js.br") for name in built)
