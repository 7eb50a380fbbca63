"""The warm server: has Ansible imported, and forks a keeper for each play that is asked for.

1. Its socket lies in a private directory of the workspace; the kernel says who calls, and only its
   own user is heard. It reads nothing of a play itself: the fork does.
2. It ends with its owner, the process that has acts done: then it takes no more plays, and goes
   when the last has ended.
3. If a keeper is killed, what falls to the server from it is killed.
4. One server is good for one set of versions and settings; what does not fit finds no server.

Run as `python -m actors.ansible.warm DIRECTORY NAME OWNER`; `lukewarm` starts it.
"""

from __future__ import annotations

import gc
import os
import select
import signal
import socket
import struct
import sys
from functools import partial
from hashlib import sha256
from importlib.metadata import version
from pathlib import Path
from typing import Final, NoReturn

from actors.ansible.inside import build_modules, play_inside, preload
from actors.ansible.shim import become_subreaper, below_one, serve, sweep

__all__ = ["IDLE_S", "main"]

IDLE_S: Final = 600.0
"""How long a server waits for a play before it goes by itself."""
BUILD_AFTER: Final = 3
"""After so many plays it pays to build what they all need."""
BACKLOG: Final = 128
CREDENTIALS: Final = struct.Struct("3i")


def main(directory: Path, name: str, owner: int) -> int:
    """Serve until the owner has gone."""
    try:
        gone = os.pidfd_open(owner)
    except OSError:
        return 0
    os.umask(0o077)
    if not preload():
        return 3
    become_subreaper()
    gc.collect()
    gc.freeze()
    listener = _listening(directory, name)
    try:
        _serve(listener, gone, _modules(directory))
    finally:
        (directory / name).unlink(missing_ok=True)
    return 0


def _listening(directory: Path, name: str) -> socket.socket:
    os.chdir(directory)  # so that the length of its path does not matter
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    beside = f"{name}.new"
    Path(beside).unlink(missing_ok=True)
    listener.bind(beside)
    Path(beside).chmod(0o600)
    listener.listen(BACKLOG)
    Path(beside).rename(name)
    os.chdir("/")
    return listener


def _modules(directory: Path) -> Path:
    """Name the folder of built modules: good for one installation of Ansible and of Python."""
    status = Path(__file__).with_name("inside.py").stat()
    parts = (
        sys.version,
        sys.prefix,
        version("ansible-core"),
        str(status.st_mtime_ns),
        str(status.st_size),
    )
    return directory / f"modules-{sha256(repr(parts).encode()).hexdigest()[:20]}"


def _serve(listener: socket.socket, gone: int, modules: Path) -> None:
    """Fork for each caller; bury those who have ended."""
    keepers: dict[int, int] = {}
    builder, plays = 0, 0
    poll = select.poll()
    poll.register(listener, select.POLLIN)
    poll.register(gone, select.POLLIN)
    closing = False
    while keepers or not closing:
        ready = dict(poll.poll(None if keepers else IDLE_S * 1000))
        for handle in [handle for handle in keepers if handle in ready]:
            poll.unregister(handle)
            _bury(handle, keepers)
        if gone in ready or not (ready or keepers):
            closing = True
            poll.unregister(gone)
            poll.unregister(listener)
            listener.close()
            if builder in keepers.values():
                os.kill(builder, signal.SIGKILL)
        elif listener.fileno() in ready:
            begun = _accept(listener, (*keepers, gone), modules)
            plays += 1
            for handle, pid in [begun] if begun else []:
                keepers[handle] = pid
                poll.register(handle, select.POLLIN)
        if plays >= BUILD_AFTER and not builder and not closing and not modules.exists():
            builder = _build(modules, listener)
            keepers[handle := os.pidfd_open(builder)] = builder
            poll.register(handle, select.POLLIN)


def _build(modules: Path, listener: socket.socket) -> int:
    pid = os.fork()
    if pid == 0:
        try:
            listener.close()
            os.nice(10)
            build_modules(modules)
        finally:
            os._exit(0)
    return pid


def _accept(
    listener: socket.socket, handles: tuple[int, ...], modules: Path
) -> tuple[int, int] | None:
    caller, _ = listener.accept()
    with caller:
        raw = caller.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, CREDENTIALS.size)
        if CREDENTIALS.unpack(raw)[1] != os.geteuid():
            return None
        pid = os.fork()
        if pid == 0:
            _become_keeper(caller, listener, handles, modules)
        return os.pidfd_open(pid), pid


def _become_keeper(
    caller: socket.socket, listener: socket.socket, handles: tuple[int, ...], modules: Path
) -> NoReturn:
    """Be the keeper of one play: hear one caller, know nothing of the others."""
    code = 1
    try:
        os.setsid()
        listener.close()
        for handle in handles:
            os.close(handle)
        code = serve(caller.fileno(), partial(play_inside, modules=modules))
    finally:
        os._exit(code)


def _bury(handle: int, keepers: dict[int, int]) -> None:
    pid = keepers.pop(handle)
    os.close(handle)
    os.waitpid(pid, 0)
    # A keeper that ended by itself has left nothing; what is here now is from one that was killed.
    others = frozenset(keepers.values())
    if set(below_one(os.getpid())) - others:
        sweep(os.getpid(), others)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])))
