"""Starts a server that ends with the process that starts it, whatever signal ends that, SIGKILL included."""

import ctypes
import os
import signal
import subprocess
import sys
import warnings
from collections.abc import Callable
from contextlib import ExitStack, suppress
from enum import Enum
from pathlib import Path

from ticker.errors import StoreError

PR_SET_PDEATHSIG = 1

# 0: the folder's lock, 1: the pipe from our process, 2: the log. The shell becomes the server, so that its pid, exit
# code and signals are the server's; the watcher it leaves behind reads until our process writes a line (all is well)
# or is gone (end of file). A shell gives a command in the background /dev/null as input: the watcher holds no lock.
GUARDED_BY_PIPE = '(exec <&1 >/dev/null; read -r line || kill -TERM $$) & exec "$@" >&2'


class Guard(Enum):
    """What ends the server when our process ends."""

    DEATH_SIGNAL = "death signal"
    """Linux: the kernel sends SIGTERM when the thread that started it, our main thread, ends."""
    PIPE = "pipe"
    """Any POSIX system: a shell waits for the end of a pipe that only our process holds open."""


DEFAULT_GUARD = Guard.DEATH_SIGNAL if sys.platform == "linux" else Guard.PIPE


def spawn(
    guard: Guard, command: list[str], folder: Path, log_path: Path, lock: int, opened: ExitStack
) -> subprocess.Popen[bytes]:
    """Start a server in its folder; it holds the lock, and ends with us. Closing `opened` lets its watcher go."""
    preexec: Callable[[], None] | None = None
    with ExitStack() as ours, warnings.catch_warnings():
        # preexec_fn asks for fork(), of which Python warns where there are threads: a lock that another of them
        # holds is never freed in the child. `_death_signal` takes none.
        warnings.filterwarnings("ignore", ".*fork", DeprecationWarning)
        try:
            output = errors = os.open(log_path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
            ours.callback(os.close, errors)
            if guard is Guard.DEATH_SIGNAL:
                preexec = _death_signal()
            else:
                output, pipe = os.pipe()
                ours.callback(os.close, output)
                opened.callback(_release_watcher, pipe)
                command = ["/bin/sh", "-c", GUARDED_BY_PIPE, "ticker-guard", *command]
            return subprocess.Popen(
                command,
                cwd=folder,
                # The server never reads its input: thus it inherits the lock, and so do its children.
                stdin=lock,
                stdout=output,
                stderr=errors,
                umask=0o077,
                # Ctrl-C in the terminal must not reach it before we have appended what is under way.
                start_new_session=True,
                preexec_fn=preexec,
            )
        except (OSError, subprocess.SubprocessError) as error:
            raise StoreError(f"the embedded server in {folder} cannot be started: {error}") from error


def _death_signal() -> Callable[[], None]:
    """What the child does between fork and exec on Linux; all it needs is looked up before."""
    prctl = ctypes.CDLL(None, use_errno=True).prctl
    parent = os.getpid()

    def in_child() -> None:
        if prctl(PR_SET_PDEATHSIG, ctypes.c_ulong(signal.SIGTERM)) != 0:
            raise OSError(ctypes.get_errno(), "prctl")
        if os.getppid() != parent:
            # It has ended in between: that signal will never come.
            os._exit(1)

    return in_child


def _release_watcher(pipe: int) -> None:
    with suppress(OSError):
        os.write(pipe, b"\n")
    os.close(pipe)
