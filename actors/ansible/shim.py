"""The keeper of one play: starts it, ends it, and lets nothing of it live on.

1. Whatever a play starts stays below its keeper, also what made a session of its own.
2. A play is asked to end (SIGTERM to Ansible, which tells its workers) before it is made to.
3. When the play has ended, or who asked for it is gone, everything below the keeper is killed.
4. A keeper that is killed takes Ansible with it; the rest falls to the keeper's parent, which ends
   it: the warm server, or where there is none a guard that does nothing else.

It reads its job from the first line of its input, then orders: `stop`; the input's end is one too.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import select
import shutil
import signal
import sys
import threading
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, NoReturn

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = [
    "ENDED",
    "PATIENCE_S",
    "Ended",
    "Job",
    "become_subreaper",
    "below",
    "below_one",
    "keep",
    "main",
    "serve",
    "subreaper",
    "sweep",
]

ENDED: Final = "ended.json"
GRACE_S: Final = 3.0
"""How long Ansible may take to end when it is asked."""
STEP_S: Final = 0.02
PATIENCE_S: Final = 5.0
"""How long the kernel may take to bury what was killed."""
DIAL: Final = '"$@"; mv "$0" "$0.lost"'
"""Connects; a mark that is still there when that has ended stands for a host not reached."""
PR_SET_PDEATHSIG: Final = 1
PR_SET_CHILD_SUBREAPER: Final = 36
PR_GET_CHILD_SUBREAPER: Final = 37

How = Literal["ended", "timeout", "stopped", "orphaned"]


@dataclass(frozen=True, slots=True)
class Job:
    """What a keeper is asked to do."""

    directory: str
    playbook: str
    inventory: str
    values_fifo: str
    log: str
    check: bool
    forks: int
    environ: dict[str, str]
    timeout_s: float
    scratch: list[str]
    """Folders that are gone when the play has ended."""
    dials: dict[str, list[str]]
    """Commands that connect to hosts, by the file that is there while they do."""


@dataclass(frozen=True, slots=True)
class Ended:
    """How a play ended, as its keeper saw it."""

    how: How
    code: int
    """Ansible's exit code; negative for a signal."""
    left: list[int]
    """Processes that could not be killed: another user's."""
    reached: list[str]
    """Hosts with which ssh had a session."""


def main() -> int:
    """Keep the play that the input describes, and guard its keeper."""
    become_subreaper()
    guard = os.getpid()
    keeper = os.fork()
    if keeper == 0:
        _prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        return serve(0, _exec_ansible) if os.getppid() == guard else 1
    os.close(0)
    _, status = os.waitpid(keeper, 0)
    sweep(guard)
    return 0 if status == 0 else 1


def serve(orders: int, player: Callable[[Job], NoReturn]) -> int:
    """Keep the play that the first line of the orders describes; `player` becomes Ansible."""
    job = json.loads(_line(orders))
    values = _exactly(orders, job.pop("values_length"))
    ended = keep(Job(**job), values, orders, player)
    _record(Path(job["directory"]), ended)
    return 0


def keep(job: Job, values: bytes, orders: int, player: Callable[[Job], NoReturn]) -> Ended:
    """Start a play and stay until nothing is left of it."""
    become_subreaper()
    _dial(job)
    pid = os.fork()
    if pid == 0:
        _become_ansible(job, player)
    threading.Thread(target=_feed, args=(job.values_fifo, values), daemon=True).start()
    how, status = _wait(pid, orders, time.monotonic() + job.timeout_s)
    left = sweep(os.getpid())
    reached = [path.name for folder in job.scratch for path in Path(folder).glob("reached.*")]
    for folder in job.scratch:
        shutil.rmtree(folder, ignore_errors=True)
    Path(job.values_fifo).unlink(missing_ok=True)
    names = sorted(name.removeprefix("reached.") for name in reached)
    return Ended(how, os.waitstatus_to_exitcode(status), left, names)


def become_subreaper() -> None:
    """Get from now on whatever of our descendants loses its parent."""
    _prctl(PR_SET_CHILD_SUBREAPER, 1)


@contextlib.contextmanager
def subreaper() -> Iterator[None]:
    """Get whatever of our descendants loses its parent, for as long as this lasts."""
    was = ctypes.c_int()
    _prctl(PR_GET_CHILD_SUBREAPER, ctypes.addressof(was))
    _prctl(PR_SET_CHILD_SUBREAPER, 1)
    try:
        yield
    finally:
        _prctl(PR_SET_CHILD_SUBREAPER, was.value)


def below(pid: int, spare: frozenset[int] = frozenset()) -> list[int]:
    """List all processes below one, nearest first; what is spared, and below that, is left out."""
    found, waiting = [], [pid]
    while waiting:
        children = [one for one in below_one(waiting.pop(0)) if one not in spare]
        found += children
        waiting += children
    return found


def below_one(pid: int) -> list[int]:
    """List the children of a process."""
    found: list[int] = []
    try:
        for thread in os.scandir(f"/proc/{pid}/task"):
            found += map(int, _read(f"{thread.path}/children").split())
    except FileNotFoundError:
        if not Path("/proc/self/task", str(os.getpid()), "children").exists():
            return _children_by_looking(pid)  # a kernel that does not list them
    except ProcessLookupError:
        pass
    return found


def sweep(pid: int, spare: frozenset[int] = frozenset()) -> list[int]:
    """Kill all that is below this process, and return what would not die."""
    deadline = time.monotonic() + PATIENCE_S
    while True:
        alive = below(pid, spare)
        for one in alive:
            _signal(one, signal.SIGKILL)
        _reap(spare)
        alive = [one for one in alive if _exists(one)]
        if not alive or time.monotonic() > deadline:
            return alive
        time.sleep(STEP_S)


def _dial(job: Job) -> None:
    """Begin to connect to hosts; how it ends concerns Ansible, and the sweep."""
    for mark, command in job.dials.items():
        Path(mark).touch(mode=0o600)
        nothing = (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0)
        said = (os.POSIX_SPAWN_OPEN, 2, f"{mark}.said", os.O_WRONLY | os.O_CREAT, 0o600)
        os.posix_spawn(
            "/bin/sh",
            ["sh", "-c", DIAL, mark, *command],
            job.environ,
            file_actions=[nothing, said, (os.POSIX_SPAWN_DUP2, 2, 1)],
        )


def _wait(pid: int, orders: int, deadline_s: float) -> tuple[How, int]:
    """Wait for the play, and end it when the time is over or an order comes."""
    how: How = "ended"
    kill_at_s: float | None = None
    handle = os.pidfd_open(pid)
    poll = select.poll()
    poll.register(handle, select.POLLIN)
    poll.register(orders, select.POLLIN)
    while True:
        until_s = deadline_s if kill_at_s is None else kill_at_s
        ready = dict(poll.poll(max(0.0, until_s - time.monotonic()) * 1000))
        if handle in ready:
            os.close(handle)
            return how, os.waitpid(pid, 0)[1]
        if kill_at_s is not None and time.monotonic() >= kill_at_s:
            sweep(os.getpid(), frozenset({pid}))
            _signal(pid, signal.SIGKILL)
        elif kill_at_s is None:
            how = _order(orders, ready)
            poll.unregister(orders)
            kill_at_s = time.monotonic() + GRACE_S
            _signal(pid, signal.SIGTERM)


def _order(orders: int, ready: dict[int, int]) -> How:
    if orders not in ready:
        return "timeout"
    return "stopped" if os.read(orders, 100) else "orphaned"


def _become_ansible(job: Job, player: Callable[[Job], NoReturn]) -> NoReturn:
    """Be the play: nothing of the keeper is left but its directory."""
    try:
        _prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
        log = os.open(job.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        nothing = os.open(os.devnull, os.O_RDONLY)
        for number, handle in enumerate((nothing, log, log)):
            os.dup2(handle, number)
        os.closerange(3, 256)
        os.chdir(job.directory)
        player(job)
    except BaseException as error:  # noqa: BLE001 - nothing may get past this process
        os.write(2, f"cannot start Ansible: {error}\n".encode(errors="replace"))
    finally:
        os._exit(127)


def _exec_ansible(job: Job) -> NoReturn:
    from actors.ansible.command import command_of  # noqa: PLC0415 - for this process alone

    command = command_of(job)
    program = f"{Path(sys.executable).parent}/{command[0]}"
    os.execve(program, command, job.environ)  # noqa: S606 - a fixed program, no shell


def _feed(fifo: str, values: bytes) -> None:
    """Hand the values to the one who opens the pipe; nobody else finds it afterwards."""
    try:
        with Path(fifo).open("wb") as file:
            Path(fifo).unlink()
            file.write(values)
    except OSError:
        return  # Ansible has ended, and says why itself


def _line(handle: int) -> bytes:
    line = b""
    while not line.endswith(b"\n"):
        more = os.read(handle, 1)
        if not more:
            sys.exit(2)
        line += more
    return line


def _exactly(handle: int, length: int) -> bytes:
    got = b""
    while len(got) < length:
        more = os.read(handle, length - len(got))
        if not more:
            sys.exit(2)
        got += more
    return got


def _record(directory: Path, ended: Ended) -> None:
    beside = directory / f"{ENDED}.new"
    beside.write_text(json.dumps(asdict(ended)))
    beside.rename(directory / ENDED)


def _children_by_looking(parent: int) -> list[int]:
    """Look at every process there is."""
    pids = [entry.name for entry in os.scandir("/proc") if entry.name.isdecimal()]
    return [int(pid) for pid in pids if _stat(pid)[1:2] == [str(parent).encode()]]


def _stat(pid: str) -> list[bytes]:
    """Read state, parent and so on of a process; nothing if it has gone."""
    try:
        return _read(f"/proc/{pid}/stat").rpartition(b")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return []


def _read(path: str) -> bytes:
    handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return os.read(handle, 65_536)
    finally:
        os.close(handle)


def _exists(pid: int) -> bool:
    fields = _stat(str(pid))
    return bool(fields) and fields[0] != b"Z"


def _reap(spare: frozenset[int]) -> None:
    for pid in below_one(os.getpid()):
        if pid not in spare:
            try:
                os.waitpid(pid, os.WNOHANG)
            except ChildProcessError:
                continue


def _signal(pid: int, number: int) -> None:
    try:
        os.kill(pid, number)
    except (ProcessLookupError, PermissionError):
        return


def _prctl(option: int, value: int) -> None:
    libc: Any = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(option, ctypes.c_ulong(value), 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl")


if __name__ == "__main__":
    sys.exit(main())
