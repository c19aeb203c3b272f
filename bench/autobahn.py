"""Whether our WebSocket class keeps to RFC 6455: the Autobahn test suite against an echo application on it.

usage: autobahn.py [--cases 1-7,9,10] [--folder FOLDER]

Runs without Docker on Debian and Ubuntu (x86-64 or ARM64). The suite is Python 2.7 code, so the first run puts a Python 2.7
of Debian bullseye and the versions that the suite asks for into a folder of their own, by their packages' names, from where
this machine's apt and pip get theirs; nothing is installed. Prints a table by group of cases, and those that are not OK.
Exit code 1 where a case failed.
"""

import argparse
import asyncio
import json
import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import uvicorn
import uvloop

from ticker.config import Config
from ticker.serve import listen, uvicorn_config

RELEASE = "bullseye"
PACKAGES = ("python2.7", "python2.7-minimal", "libpython2.7-minimal", "libpython2.7-stdlib", "libssl1.1", "libffi7")
TOOLS = ("pip==20.3.4", "setuptools==44.1.1")
"""The last ones for Python 2.7."""
SUITE = "autobahntestsuite==25.10.1"
PINS = (
    "zope.interface==4.6.0",
    "Twisted==19.10.0",
    "autobahn==0.10.9",
    "txaio==2.1.0",
    "six",
    "incremental==16.10.1",
    "Jinja2==2.11.3",
    "MarkupSafe==1.1.1",
    "Werkzeug==1.0.1",
    "klein==17.10.0",
    "cryptography==3.3.2",
    "pyOpenSSL==19.1.0",
    "service_identity==18.1.0",
    "unittest2==1.1.0",
)
KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
DEFAULT_CASES = "1-7,9,10"
"""All but 12 and 13, which are about compression: it is never negotiated."""
LARGEST = 1 << 24
"""Bytes of the largest message of group 9."""
SUITE_S = 900
GOOD = ("OK", "NON-STRICT", "INFORMATIONAL", "UNIMPLEMENTED")


def run(*command: str | Path, cwd: Path | None = None, environment: Mapping[str, str] | None = None) -> str:
    """The output of a command; what it says where it fails ends this program."""
    done = subprocess.run(
        [str(part) for part in command], cwd=cwd, env=os.environ | (environment or {}), capture_output=True, text=True
    )
    if done.returncode:
        sys.exit(f"{command[0]} failed with {done.returncode}: {' '.join(map(str, command))}\n{done.stderr[-2_000:]}")
    return done.stdout


class Python2:
    """A Python 2.7 with the suite, in a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.root, self.site, self.tools = folder / "root", folder / "site", folder / "tools"

    def set_up(self) -> None:
        """Fetch what is not there yet."""
        done = self.folder / "complete"
        if done.exists():
            return
        shutil.rmtree(self.folder, ignore_errors=True)
        for folder in (self.root, self.site, self.tools):
            folder.mkdir(parents=True)
        self._fetch_python()
        self._fetch_suite()
        done.touch()

    def _fetch_python(self) -> None:
        if shutil.which("apt-get") is None or not KEYRING.exists():
            sys.exit(
                f"the Autobahn suite needs Python 2.7, which is fetched with apt-get and {KEYRING}; one is missing here"
            )
        sources = run(
            "apt-get",
            "indextargets",
            "--format",
            "$(REPO_URI)",
            "Identifier: Packages",
            "Origin: Debian",
            "Label: Debian",
        ).split()
        if not sources:
            sys.exit("apt knows no Debian archive here; `apt-get update` reads those of this machine's sources")
        apt = self.folder / "apt"
        (apt / "lists" / "partial").mkdir(parents=True)
        (apt / "cache" / "archives" / "partial").mkdir(parents=True)
        source = f"Types: deb\nURIs: {sources[0]}\nSuites: {RELEASE}\nComponents: main\nSigned-By: {KEYRING}\n"
        (apt / "only.sources").write_text(source)
        own = {
            "Dir::Etc::sourcelist": apt / "only.sources",
            "Dir::Etc::sourceparts": "-",
            "Dir::State::lists": apt / "lists",
            "Dir::Cache": apt / "cache",
            "APT::Sandbox::User": os.environ.get("USER", "root"),
        }
        options = [f"-o{name}={value}" for name, value in own.items()]
        run("apt-get", *options, "update")
        run("apt-get", *options, "download", *PACKAGES, cwd=apt)
        for package in apt.glob("*.deb"):
            run("dpkg", "-x", package, self.root)

    def _fetch_suite(self) -> None:
        wheels = self.folder / "wheels"
        run(sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--python-version", "2.7", "-d", wheels, *TOOLS)
        for wheel in wheels.glob("*.whl"):
            zipfile.ZipFile(wheel).extractall(self.tools)
        self.run("-m", "pip", "install", "-q", "--no-compile", "--target", self.site, *PINS)
        # The suite's own set-up wants newer versions than it runs with.
        self.run("-m", "pip", "download", "-q", "--no-deps", "--no-binary", ":all:", "-d", wheels, SUITE)
        (archive,) = wheels.glob("autobahntestsuite-*.tar.gz")
        with tarfile.open(archive) as source:
            source.extractall(self.folder, filter="data")
        (unpacked,) = self.folder.glob("autobahntestsuite-*/autobahntestsuite")
        shutil.move(unpacked, self.site / "autobahntestsuite")
        (self.site / "zope" / "__init__.py").touch()

    def run(self, *arguments: str | Path) -> str:
        """Have this Python do something."""
        command, environment = self.command(*arguments)
        return run(*command, environment=environment)

    def command(self, *arguments: str | Path) -> tuple[list[str], dict[str, str]]:
        """How to start it."""
        libraries = {str(path.parent) for path in self.root.rglob("lib*.so.*")}
        environment = {
            "PYTHONHOME": str(self.root / "usr"),
            "PYTHONPATH": f"{self.site}:{self.tools}",
            "LD_LIBRARY_PATH": ":".join(sorted(libraries)),
            "PYTHONDONTWRITEBYTECODE": "1",
            # Versions that others have pinned are not for this Python.
            "PIP_CONSTRAINT": os.devnull,
        }
        return [str(self.root / "usr" / "bin" / "python2.7"), *map(str, arguments)], environment


async def echo(scope: Any, receive: Any, send: Any) -> None:
    """The application: every message comes back."""
    if scope["type"] != "websocket":
        return
    await receive()
    await send({"type": "websocket.accept"})
    while (event := await receive())["type"] == "websocket.receive":
        await send(event | {"type": "websocket.send"})


async def test(python: Python2, cases: list[str], report: Path) -> dict[str, dict[str, Any]]:
    """Run the suite against a server in this process; the results by case."""
    # As in production, but for sizes and counts that only the suite has.
    config = Config.model_validate({"limits": {"frame_bytes": LARGEST, "messages_per_minute": 10**9}})
    sock = listen("127.0.0.1", 0)
    server = uvicorn.Server(uvicorn_config(echo, config, lifespan="off"))
    serving = asyncio.create_task(server.serve(sockets=[sock]))
    spec = python.folder / "spec.json"
    url = f"ws://127.0.0.1:{sock.getsockname()[1]}"
    spec.write_text(
        json.dumps(
            {
                "outdir": str(report),
                "servers": [{"agent": "ticker", "url": url, "options": {"version": 18}}],
                "cases": cases,
                "exclude-cases": [],
                "exclude-agent-cases": {},
            }
        )
    )
    command, environment = python.command("-m", "autobahntestsuite.wstest", "-m", "fuzzingclient", "-s", spec)
    process = await asyncio.create_subprocess_exec(
        *command, env=os.environ | environment, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    try:
        said, _ = await asyncio.wait_for(process.communicate(), SUITE_S)
    finally:
        if process.returncode is None:
            process.kill()
        server.should_exit = True
        await serving
    if process.returncode or not (report / "index.json").exists():
        sys.exit(f"the suite failed with {process.returncode}:\n{said.decode()[-2_000:]}")
    found: dict[str, dict[str, Any]] = json.loads((report / "index.json").read_text())["ticker"]
    return found


def verdict(result: dict[str, Any]) -> str:
    """The worse of how the messages and how the close were answered."""
    found = str(result["behavior"]), str(result["behaviorClose"])
    return max(found, key=lambda one: GOOD.index(one) if one in GOOD else len(GOOD))


def table(results: dict[str, dict[str, Any]]) -> Iterator[str]:
    """One line a group, then the cases that are not OK."""
    groups: dict[int, Counter[str]] = {}
    for case, result in results.items():
        one = verdict(result)
        groups.setdefault(int(case.partition(".")[0]), Counter())[one if one in GOOD else "FAILED"] += 1
    columns = ("OK", "NON-STRICT", "INFORMATIONAL", "UNIMPLEMENTED", "FAILED")
    yield "| group | " + " | ".join(columns) + " |"
    yield "|---" * (len(columns) + 1) + "|"
    for group, counts in sorted(groups.items()):
        yield f"| {group} | " + " | ".join(str(counts[column]) for column in columns) + " |"
    total = sum(groups.values(), Counter[str]())
    yield "| all | " + " | ".join(str(total[column]) for column in columns) + " |"
    for case, result in sorted(results.items(), key=lambda item: [int(part) for part in item[0].split(".")]):
        if verdict(result) != "OK":
            yield f"{case}: {result['behavior']}, close {result['behaviorClose']} ({result['remoteCloseCode']})"


def parse_cases(text: str) -> list[str]:
    """`1-7,10` as the suite wants it."""
    cases: list[str] = []
    for part in text.split(","):
        first, _, last = part.partition("-")
        cases += (
            [f"{group}.*" for group in range(int(first), int(last) + 1)]
            if last
            else [part + ("" if "." in part else ".*")]
        )
    return cases


def main() -> None:
    """Set up, run, tell."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "ticker-autobahn"
    parser.add_argument("--cases", default=DEFAULT_CASES, help="groups or cases, as in 1-7,10 or 9.1.1")
    parser.add_argument("--folder", type=Path, default=cache, help="where the suite is kept, and its report written")
    given = parser.parse_args()
    python = Python2(given.folder.absolute())
    python.set_up()
    report = python.folder / "report"
    shutil.rmtree(report, ignore_errors=True)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        results = runner.run(test(python, parse_cases(given.cases), report))
    print("\n".join(table(results)))
    print(f"the report: {report / 'index.html'}")
    sys.exit(any(verdict(result) not in GOOD for result in results.values()))


if __name__ == "__main__":
    main()
