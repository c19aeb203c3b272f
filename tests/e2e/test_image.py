"""Dockerfile and compose.yaml, without a Docker engine: linted, read, and their steps run in a shell.

The steps of the Dockerfile run as they stand, with the paths of the image moved into a folder. What they have made is then
started as the image would be: PID 1 of its own process namespace, an unprivileged user, nothing writable but the volume.
"""

import json
import os
import re
import shlex
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

REPOSITORY = Path(__file__).parents[2]
DOCKERFILE = REPOSITORY / "Dockerfile"
COMPOSE = yaml.safe_load((REPOSITORY / "compose.yaml").read_text("utf-8"))
OURS = ("ingester", "gateway")
NOBODY = "10001"
BIN = Path(sys.executable).parent


def need(what: str, there: object) -> None:
    """CI has everything; elsewhere a test that lacks something is left out."""
    if not there:
        if os.environ.get("CI"):
            pytest.fail(f"CI lacks {what}")
        pytest.skip(f"needs {what}, which CI has")


@dataclass(slots=True)
class Stage:
    """One stage of a Dockerfile: its instructions in order, as word and rest."""

    base: str
    steps: list[tuple[str, str]] = field(default_factory=list)

    def last(self, word: str) -> str:
        return [rest for found, rest in self.steps if found == word][-1]

    def environment(self) -> dict[str, str]:
        pairs = [pair for word, rest in self.steps if word == "ENV" for pair in shlex.split(rest)]
        return dict(pair.split("=", 1) for pair in pairs)


def stages(text: str) -> list[Stage]:
    """The stages of a Dockerfile."""
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
    found: list[Stage] = []
    for line in re.sub(r"\\\n", " ", "\n".join(lines)).splitlines():
        word, _, rest = line.partition(" ")
        if word == "FROM":
            found.append(Stage(rest.split()[0]))
        elif found:
            found[-1].steps.append((word, " ".join(rest.split()) if word != "HEALTHCHECK" else rest.strip()))
    return found


BUILD, FINAL = stages(DOCKERFILE.read_text("utf-8"))


def health_command(stage: Stage) -> list[str]:
    command: list[str] = json.loads(stage.last("HEALTHCHECK").partition("CMD")[2])
    return command


def test_hadolint_has_nothing_to_say() -> None:
    """Neither errors nor style."""
    need("hadolint (make setup-image)", (BIN / "hadolint").exists())
    done = subprocess.run([BIN / "hadolint", DOCKERFILE], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")


def test_the_last_stage_has_no_build_tools_and_no_privileges() -> None:
    """It installs nothing, takes one folder from the first stage, and runs as a user by number, as Kubernetes wants it."""
    assert BUILD.base == FINAL.base == "${BASE}"
    base = re.search(r"^ARG BASE=(.*)$", DOCKERFILE.read_text("utf-8"), re.MULTILINE)
    assert base is not None
    assert re.fullmatch(r"python:3\.1\d-slim-[a-z]+", base[1])
    runs = [rest for word, rest in FINAL.steps if word == "RUN"]
    assert not [rest for rest in runs if re.search(r"apt|pip|gcc|make", rest)]
    assert [rest for word, rest in FINAL.steps if word == "COPY" and "--from" in rest] == [
        "--from=build /opt/ticker /opt/ticker"
    ]
    assert FINAL.last("USER") == f"{NOBODY}:{NOBODY}"
    words = [word for word, _ in FINAL.steps]
    assert "RUN" not in words[words.index("USER") :]
    assert FINAL.last("STOPSIGNAL") == "SIGTERM"
    assert (json.loads(FINAL.last("ENTRYPOINT")), json.loads(FINAL.last("CMD"))) == (["ticker"], ["run"])


def test_the_builder_is_given_what_is_copied_and_nothing_else() -> None:
    """Of .dockerignore: all is left out but the sources of COPY."""
    lines = (REPOSITORY / ".dockerignore").read_text("utf-8").splitlines()
    kept = {line[1:] for line in lines if line.startswith("!")}
    copied = {
        source
        for stage in (BUILD, FINAL)
        for word, rest in stage.steps
        if word == "COPY" and "--from" not in rest
        for source in rest.split()[:-1]
    }
    assert "*" in lines
    assert {re.sub(r"/[a-z]+\.txt$", "/*.txt", source) for source in copied} == kept
    assert all((REPOSITORY / source).exists() for source in copied)


# compose.yaml


def test_compose_is_valid() -> None:
    """By the Compose specification, which knows every key."""
    compose_spec = pytest.importorskip("compose_spec") if not os.environ.get("CI") else __import__("compose_spec")
    parsed = compose_spec.PyCompose.from_json(json.dumps(COMPOSE))
    assert set(parsed.service_names()) == {"valkey", *OURS}
    broken = json.loads(json.dumps(COMPOSE))
    broken["services"]["gateway"]["helthcheck"] = {}
    with pytest.raises(ValueError, match="helthcheck"):
        compose_spec.PyCompose.from_json(json.dumps(broken))


@pytest.mark.parametrize("name", COMPOSE["services"])
def test_every_service_is_confined_and_watched(name: str) -> None:
    """Nothing writable but volumes and /tmp, no capability, a health check, started again when it ends."""
    service = COMPOSE["services"][name]
    assert service["read_only"] is True
    assert service["tmpfs"] == ["/tmp"]
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["restart"] == "unless-stopped"
    assert service["healthcheck"]["test"][0] in ("CMD", "CMD-SHELL")
    for port in service.get("ports", ()):
        assert port.startswith("127.0.0.1:")


def test_the_store_keeps_what_it_is_given() -> None:
    """On a volume that is declared, in an append-only file, without eviction; the others wait until it is healthy."""
    valkey = COMPOSE["services"]["valkey"]
    options = dict(zip(valkey["command"][1::2], valkey["command"][2::2], strict=True))
    assert options["--appendonly"] == "yes"
    assert options["--maxmemory-policy"] == "noeviction"
    assert [volume.split(":") for volume in valkey["volumes"]] == [["valkey", "/data"]]
    assert "valkey" in COMPOSE["volumes"]
    assert "ports" not in valkey
    for name in OURS:
        assert COMPOSE["services"][name]["depends_on"] == {"valkey": {"condition": "service_healthy"}}


# The steps themselves


def in_folder(text: str, root: Path) -> str:
    """The paths of the image, moved into a folder."""
    return re.sub(r"(?<![\w./])/(src|build|dist|opt/ticker|data|etc/ticker)\b", rf"{root}/\1", text)


def base_python() -> Path:
    """The interpreter behind our environment, as the base image has it: without any of its packages."""
    return Path(getattr(sys, "_base_executable", sys.executable)).resolve()


@pytest.fixture(scope="module")
def image() -> Iterator[Path]:
    """What the steps of the Dockerfile make, in a folder that stands for the root of the image."""
    if not os.environ.get("CI"):
        pytest.skip("only .ci/run takes the steps of the image: they need root on Linux, and download every package")
    # Not in pytest's folders, which no other user may enter.
    root = Path(tempfile.mkdtemp(prefix="ticker-image-"))
    root.chmod(0o755)
    try:
        take_steps(root)
        yield root
    finally:
        shutil.rmtree(root)


def take_steps(root: Path) -> None:
    tools = root / "usr" / "bin"
    tools.mkdir(parents=True)
    (tools / "python").symlink_to(base_python())
    environment = {"PATH": f"{tools}:/usr/bin:/bin", "HOME": str(root / "home")} | pip_settings()
    workdir = root
    for stage in (BUILD, FINAL):
        for word, rest in stage.steps:
            if word == "WORKDIR":
                workdir = Path(in_folder(rest, root))
                workdir.mkdir(parents=True, exist_ok=True)
            elif word == "COPY" and "--from" not in rest:
                copy(rest.split(), workdir, root)
            elif word == "RUN":
                subprocess.run(
                    ["sh", "-ec", in_folder(rest, root)], cwd=workdir, env=environment, umask=0o022, check=True
                )


def pip_settings() -> dict[str, str]:
    """How pip and npm find their packages on this machine, which is none of the image's business."""
    return {
        name: value
        for name, value in os.environ.items()
        if name.startswith(("PIP_", "SSL_", "npm_config_", "NPM_CONFIG_", "NODE_EXTRA_")) or "PROXY" in name.upper()
    }


def copy(words: list[str], workdir: Path, root: Path) -> None:
    *sources, target = words
    goal = Path(in_folder(target, root)) if target.startswith("/") else workdir / target
    for source in sources:
        found = REPOSITORY / source
        if found.is_dir():
            built = shutil.ignore_patterns("__pycache__", "node_modules", "static")
            shutil.copytree(found, goal, dirs_exist_ok=True, ignore=built)
        else:
            one = goal / found.name if target.endswith("/") else goal
            one.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(found, one)


def names(lock: str) -> set[str]:
    text = (REPOSITORY / "requirements" / lock).read_text("utf-8")
    return {found.lower().replace("_", "-") for found in re.findall(r"^([\w.-]+)==", text, re.MULTILINE)}


@pytest.mark.timeout(400)
def test_the_image_has_the_locked_packages_and_no_tools(image: Path) -> None:
    """Of the build nothing is left: neither pip nor what made the wheel; the command works."""
    installed = {
        path.name.rpartition("-")[0].removesuffix(".dist").rpartition("-")[0].lower().replace("_", "-")
        for path in (image / "opt/ticker").glob("lib/python*/site-packages/*.dist-info")
    }
    assert "ticker" in installed
    assert installed - {"ticker"} <= names("run.txt")
    assert not installed & (names("build.txt") - names("run.txt") | {"pip", "setuptools"})
    version = subprocess.run(
        [image / "opt/ticker/bin/ticker", "--version"], capture_output=True, text=True, check=True, cwd=image
    )
    assert re.search(r"\d+\.\d+\.\d+", version.stdout)
    page = list((image / "opt/ticker").glob("lib/python*/site-packages/ticker/web/static/index.html.br"))
    assert len(page) == 1, "the trading page was built on the way"


def open_to_all(image: Path) -> str:
    """Where the interpreter lies in a folder that is closed to others (root's home, say): the folder with nothing else."""
    prefix = Path(sys.base_prefix).resolve()
    closed = [folder for folder in reversed(prefix.parents) if not folder.stat().st_mode & stat.S_IXOTH]
    if not closed:
        return ""
    spare, folder, home = (shlex.quote(str(path)) for path in (image / "spare", closed[0], prefix))
    return (
        f"mkdir -p {spare} && mount --bind {home} {spare} && mount -t tmpfs -o mode=755 none {folder} && "
        f"mkdir -p {home} && mount --move {spare} {home} && "
    )


class Container:
    """A command in the image: PID 1, uid 10001, everything read-only but /data. Its network is that of this machine."""

    def __init__(self, image: Path, command: list[str], environment: Mapping[str, str]) -> None:
        given = {name: in_folder(value, image) for name, value in FINAL.environment().items()}
        given["PATH"] = given["PATH"].replace("$PATH", "/usr/bin:/bin")
        self.environment = given | environment
        data = shlex.quote(str(image / "data"))
        confined = (
            f"{open_to_all(image)} mount --bind {data} {data} && mount -o remount,bind,ro / && "
            f"exec setpriv --reuid {NOBODY} --regid {NOBODY} --clear-groups --no-new-privs --inh-caps=-all -- "
            + shlex.join(command)
        )
        self._outside = subprocess.Popen(
            ["unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "sh", "-ec", confined],
            cwd=image / "etc/ticker",
            env=self.environment,
            stdout=subprocess.PIPE,
            text=True,
        )

    def line(self, beginning: str) -> str:
        assert self._outside.stdout is not None
        for line in self._outside.stdout:
            if line.startswith(beginning):
                return line
        return pytest.fail(f"ended without a line {beginning!r}")

    @property
    def pid(self) -> int:
        """Of its PID 1, as it is seen from here."""
        outside = self._outside.pid
        return int(Path(f"/proc/{outside}/task/{outside}/children").read_text().split()[0])

    def end(self) -> int:
        """What `docker stop` does."""
        os.kill(self.pid, signal.SIGTERM)
        self._outside.communicate(timeout=15)
        return self._outside.returncode

    def close(self) -> None:
        if self._outside.poll() is None:
            self._outside.kill()
        self._outside.wait()
        if self._outside.stdout:
            self._outside.stdout.close()


def healthy(command: list[str], environment: Mapping[str, str]) -> bool:
    """As Docker asks: by exit code, within the time that the slowest of our checks is given."""
    try:
        return not subprocess.run(command, env=environment, capture_output=True, timeout=5, check=False).returncode
    except subprocess.TimeoutExpired:
        return False


@pytest.mark.timeout(400)
def test_the_image_runs_confined_and_ends_in_order(
    image: Path, free_port: Callable[[], int], block_until: Callable[..., None]
) -> None:
    """PID 1 without privileges serves, its health check says so, and the stop signal ends it with exit code 0."""
    port, redis_port = str(free_port()), str(free_port())
    settings = {"TICKER_SERVER__PORT": port, "TICKER_REDIS__PORT": redis_port}
    check = [in_folder(word, image) for word in health_command(FINAL)]
    command = json.loads(FINAL.last("ENTRYPOINT")) + json.loads(FINAL.last("CMD"))
    container = Container(image, command, settings)
    try:
        assert not healthy(check, container.environment)
        container.line("stop")
        assert healthy(check, container.environment)
        status = Path(f"/proc/{container.pid}/status").read_text()
        assert re.search(rf"^Uid:\s+{NOBODY}\s+{NOBODY}", status, re.MULTILINE)
        assert re.search(r"^NSpid:\s+\d+\s+1$", status, re.MULTILINE)
        assert re.search(r"^NoNewPrivs:\s+1$", status, re.MULTILINE)
        block_until(lambda: httpx.get(f"http://127.0.0.1:{port}/v1/trades/AAPL").json().get("trades"))
        assert (image / "data" / "appendonlydir").is_dir()
        assert container.end() == 0
        assert not healthy(check, container.environment)
    finally:
        container.close()


@pytest.mark.timeout(400)
def test_the_services_of_compose_run_with_its_commands_and_checks(
    image: Path, valkey_url: str, free_port: Callable[[], int], block_until: Callable[..., None]
) -> None:
    """Ingester and gateway on a store of their own; each check fails before its service runs, and succeeds then."""
    # Every service has a network of its own under compose; here they share one, on ports that are free.
    ports = {":8000": str(free_port()), ":8001": str(free_port())}
    ours: dict[str, Any] = {name: COMPOSE["services"][name] for name in OURS}
    started: list[Container] = []
    environment = ours["ingester"]["environment"] | {
        "TICKER_REDIS__URL": valkey_url,
        "TICKER_SERVER__PORT": ports[":8000"],
        "TICKER_INGEST__PORT": ports[":8001"],
        "TICKER_INGEST__HOST": "127.0.0.1",
    }
    try:
        for name in OURS:
            check = [in_folder(word, image) for word in ours[name]["healthcheck"]["test"][1:]]
            check = [re.sub("|".join(ports), lambda port: f":{ports[port[0]]}", word) for word in check]
            assert ours[name]["environment"].keys() <= environment.keys()
            assert not healthy(check, environment)
            started.append(Container(image, ["ticker", *ours[name]["command"]], environment))
            block_until(lambda check=check: healthy(check, environment))
        assert [container.end() for container in reversed(started)] == [0, 0]
    finally:
        for container in started:
            container.close()
