"""Makes one process the owner of a data folder, until it ends and its server with it.

Two locks lie in the folder. `ticker.lock` is ours alone, so it says whether the process that owns the folder lives.
`server.lock` is shared with the server, so it is free only when the server is gone. A folder whose owner lives is refused at
once; a folder whose owner was killed is waited for until its server has ended too.
"""

import fcntl
import os
import time
from contextlib import ExitStack, suppress
from pathlib import Path

from ticker.errors import ConfigError

OLD_SERVER_TIMEOUT_S = 10.0
"""How long the server of a killed process may take to end."""
POLL_S = 0.01


def own_folder(folder: Path, opened: ExitStack) -> int:
    """Become the folder's one owner; the file descriptor of the lock that the server is to hold too."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        owner = _open_lock(folder / "ticker.lock", opened)
        server = _open_lock(folder / "server.lock", opened)
        if not _try_lock(owner):
            raise ConfigError(
                f"the data folder {folder} is in use by {_holder(owner)}; "
                "stop that, or set redis.data_dir to another folder"
            )
        write_pid(owner, os.getpid())
        _wait_old_server(folder, server)
    except OSError as error:
        raise ConfigError(
            f"redis.data_dir: {folder} cannot be used: {error.strerror}; "
            "expected a folder on a local disk that ticker may write to"
        ) from error
    return server


def write_pid(lock: int, pid: int) -> None:
    """Note who holds a lock."""
    # Whether the holder lives is what the lock itself says. This is for messages, and a full disk may do without.
    with suppress(OSError):
        os.ftruncate(lock, 0)
        os.pwrite(lock, f"{pid}\n".encode(), 0)


def _wait_old_server(folder: Path, lock: int) -> None:
    deadline = time.monotonic() + OLD_SERVER_TIMEOUT_S
    while not _try_lock(lock):
        if time.monotonic() > deadline:
            raise ConfigError(
                f"the data folder {folder} is still in use by {_holder(lock)}, "
                f"the server of an earlier run, which has not ended for {OLD_SERVER_TIMEOUT_S:g} s; "
                "end it with kill -9, or set redis.data_dir to another folder"
            )
        time.sleep(POLL_S)


def _open_lock(path: Path, opened: ExitStack) -> int:
    """The file stays for ever: were it removed, another process might hold the removed one."""
    lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    opened.callback(os.close, lock)
    return lock


def _try_lock(lock: int) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _holder(lock: int) -> str:
    pid = os.pread(lock, 20, 0).decode(errors="replace").strip()
    return f"process {pid}" if pid.isdecimal() else "another process"
