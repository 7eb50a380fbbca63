"""Finds the warm server of a workspace, or starts it; without one, plays are started cold.

Nothing here can fail an act: whatever is odd about a server means that there is none.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import signal
import socket
import stat
import struct
import sys
import time
from hashlib import sha256
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

__all__ = ["KNOWN_GOOD", "connected", "home_of"]

KNOWN_GOOD: Final = ("2.19.14",)
"""The versions of ansible-core whose inside was tried; any other is started cold."""
START_S: Final = 20.0
"""How long a server may take to start, on a machine that is busy."""
POLL_S: Final = 0.02
FIXED: Final = (
    "HOME", "TZ", "PATH", "LC_ALL", "ANSIBLE_CONFIG", "ANSIBLE_CALLBACK_PLUGINS",
    "ANSIBLE_CONNECTION_PLUGINS", "ANSIBLE_LIBRARY", "ANSIBLE_COLLECTIONS_PATH",
)  # fmt: skip
"""What Ansible reads from its environment when it is imported, and is the same in all plays."""


def home_of(workdir: Path, told: str | None) -> Path | None:
    """Say where a workspace has its server: as told, or beside the acts of its runs."""
    if told is not None:
        return Path(told)
    acts = workdir.parent.parent
    return acts.with_name("warm") if acts.name == "acts" else None


def connected(home: Path, environ: Mapping[str, str]) -> socket.socket | None:
    """Connect to the server for these settings; start it if there is none."""
    fixed = {name: environ[name] for name in FIXED if name in environ}
    try:
        if version("ansible-core") not in KNOWN_GOOD or _owner() <= 1:
            return None
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not _is_private(home):
            return None
        name = _name(fixed)
        found = _connect(home, name)
        return found or _after_start(home, name, fixed)
    except (OSError, PackageNotFoundError):
        return None


def _after_start(home: Path, name: str, fixed: dict[str, str]) -> socket.socket | None:
    """Start the server, unless somebody else just did; wait for it either way."""
    with _lock(home / f"{name}.lock"):
        found = _connect(home, name)
        if found is not None:
            return found
        server = _start(home, name, fixed)
        deadline = time.monotonic() + START_S
        while time.monotonic() < deadline:
            found = _connect(home, name)
            if found is not None:
                return found
            if os.waitpid(server, os.WNOHANG) != (0, 0):
                return None
            time.sleep(POLL_S)
        os.kill(server, signal.SIGKILL)
        os.waitpid(server, 0)
    return None


def _name(fixed: dict[str, str]) -> str:
    """Name a server by all that makes it different from another."""
    here = Path(__file__).parent
    parts = [sys.version, sys.executable, version("ansible-core"), version("ansible-runner")]
    parts += [str(_owner()), json.dumps(fixed, sort_keys=True)]
    loaded = (*here.glob("*.py"), *here.glob("connections/*.py"), *here.glob("plugins/*.py"))
    for path in sorted([*loaded, here / "ansible.cfg"]):
        status = path.stat()
        parts.append(f"{path} {status.st_mtime_ns} {status.st_size}")
    return sha256("\n".join(parts).encode()).hexdigest()[:20]


def _connect(home: Path, name: str) -> socket.socket | None:
    folder = os.open(home, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC | os.O_NOFOLLOW)
    caller = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        caller.connect(f"/proc/self/fd/{folder}/{name}")  # the path of a socket is short by law
        raw = caller.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
        if struct.unpack("3i", raw)[1] == os.geteuid():
            return caller
    except OSError:
        pass
    finally:
        os.close(folder)
    caller.close()
    return None


def _start(home: Path, name: str, fixed: dict[str, str]) -> int:
    """Start a server in a session of its own; it outlives this process, and knows its owner."""
    kept = {key: os.environ[key] for key in ("PYTHONPATH", "VIRTUAL_ENV") if key in os.environ}
    ours = {"ANSIBLE_HOME": f"{home}/home", "ANSIBLE_LOCAL_TEMP": str(home)}
    command = [sys.executable, "-P", "-m", "actors.ansible.warm", str(home), name, str(_owner())]
    log = f"{home}/{name}.log"
    return os.posix_spawn(
        sys.executable,
        command,
        {**fixed, **kept, **ours},
        file_actions=[
            (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
            (os.POSIX_SPAWN_OPEN, 1, log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600),
            (os.POSIX_SPAWN_DUP2, 1, 2),
        ],
        setsid=True,
        setsigmask=[],
        setsigdef=[signal.SIGTERM, signal.SIGINT],
    )


def _owner() -> int:
    """Name the process whose end is the server's: the one that has acts done."""
    # An act leads a session of its own; who does not is doing acts himself.
    return os.getppid() if os.getsid(0) == os.getpid() else os.getpid()


def _is_private(home: Path) -> bool:
    status = home.lstat()
    return (
        stat.S_ISDIR(status.st_mode)
        and status.st_uid == os.geteuid()
        and not status.st_mode & 0o077
    )


@contextlib.contextmanager
def _lock(path: Path) -> Iterator[None]:
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)
