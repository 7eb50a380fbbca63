"""Keeps the processes of acts: starts, follows, stops, and finds those of a driver that died.

1. An act's directory is made exactly once; that it exists means the act may have begun.
2. Who dies leaves its children alive: they end by themselves and write down their outcome.
3. An act found again is followed while it lives, taken at its word when it has ended, and otherwise
   *in doubt*: its directory is closed with that outcome, so that nothing late can begin there.
4. A child is asked to stop (SIGTERM to its group) before it is made to (SIGKILL, after a grace).
5. An act ends with its own process: what it leaves behind in its group is killed, not waited for.
6. Where an act that takes secrets dies without an outcome, the files that it left are removed:
   nobody has looked through them.
7. When the machine refuses to begin or close an act, nothing is assumed: the driver stops.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import select
import selectors
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

from actors.spec import InDoubt
from orchestrator.act import BRIEF, LOCK, LOG, OUTCOME, read_outcome, write_outcome
from orchestrator.act_secrets import names_in
from orchestrator.errors import Unavailable
from orchestrator.pure.model import PlanStep

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from actors.spec import Outcome, Verb
    from orchestrator.pure.commands import Act
    from orchestrator.pure.warrant import Warrant

__all__ = ["Acts", "ChildActs", "Report"]

GRACE_S: Final = 10.0
POLL_S: Final = 0.1
PASSED_ON: Final = ("PATH", "HOME", "LANG", "LC_ALL", "TZ", "TMPDIR", "VIRTUAL_ENV", "PYTHONPATH")
"""All of its environment that a child gets; secrets are resolved in the child from references."""


def _nothing(_warrant: Warrant) -> Mapping[str, str]:
    return {}


class Report(NamedTuple):
    """What became of an act."""

    step: str
    verb: Verb
    attempt: int
    outcome: Outcome


class Acts(Protocol):
    """Where acts are done: child processes here, anything that keeps the contract elsewhere."""

    @property
    def under_way(self) -> int:
        """Count the acts that have begun and not reported."""

    def begin(self, act: Act) -> None:
        """Begin an act whose claim is durable."""

    def attach(self, act: Act) -> None:
        """Find an act that an earlier driver claimed; never begin it."""

    def reports(self, timeout_s: float) -> list[Report]:
        """Wait for reports, no longer than this."""

    def stop(self) -> None:
        """Ask all acts to stop as their actors allow."""


@dataclass(slots=True)
class _Child:
    act: Act
    directory: Path
    process: subprocess.Popen[bytes] | None
    """Nothing for a child of an earlier driver."""
    ended_fd: int | None
    """A descriptor that becomes readable when the process has ended."""
    deadline_s: float
    stopping: str = ""
    kill_at_s: float | None = None


@dataclass(slots=True)
class ChildActs:
    """Does each act in a process of its own."""

    directory: Path
    """Where the acts of this run have their directories."""
    warrant_for: Callable[[Act, Path], Warrant]
    timeout_s_for: Callable[[Act], int]
    environ: Mapping[str, str]
    variables_for: Callable[[Warrant], Mapping[str, str]] = _nothing
    """The variables that hold the act's secrets: handed over where no other process sees them."""
    wake_fd: int | None = None
    """A descriptor that becomes readable when a signal came."""
    grace_s: float = GRACE_S
    """How long a child may take to stop before it is killed."""
    _children: dict[tuple[str, str, int], _Child] = field(default_factory=dict)
    _ready: list[Report] = field(default_factory=list)

    @property
    def under_way(self) -> int:
        """Count the acts that have begun and not reported."""
        return len(self._children) + len(self._ready)

    def begin(self, act: Act) -> None:
        """Make the act's directory, which nobody may have made before, and start its process."""
        directory = self._directory(act)
        with _explained(act):
            self._make_parents()
            try:
                directory.mkdir(mode=0o700)
            except FileExistsError:
                self._report(act, InDoubt(message="its directory was there before it was begun"))
                return
            warrant = self.warrant_for(act, directory)
            _write_private(directory / BRIEF, warrant.model_dump_json().encode())
            child = self._start(act, directory, self.variables_for(warrant))
        self._children[_key(act)] = child

    def attach(self, act: Act) -> None:
        """Follow, collect, or close an act that an earlier driver claimed."""
        if _key(act) in self._children:
            return
        directory = self._directory(act)
        with _explained(act):
            self._make_parents()
            directory.mkdir(mode=0o700, exist_ok=True)
        deadline = time.monotonic() + self.timeout_s_for(act)
        self._children[_key(act)] = _Child(act, directory, None, None, deadline)
        self._collect_strangers()

    def reports(self, timeout_s: float) -> list[Report]:
        """Wait until something ends, a signal comes, or the time is over."""
        if not self._ready:
            self._wait(timeout_s)
            self._collect_strangers()
            self._enforce(time.monotonic())
        ready, self._ready = self._ready, []
        return ready

    def stop(self) -> None:
        """Send every child SIGTERM now, and SIGKILL after the grace."""
        for child in self._children.values():
            self._stop(child, "stopped by its operator", time.monotonic())

    # --- starting ---------------------------------------------------------------------------------

    def _start(self, act: Act, directory: Path, variables: Mapping[str, str]) -> _Child:
        log = _private(directory / LOG)
        handed = _in_memory(json.dumps(dict(variables)).encode()) if variables else None
        try:
            process = subprocess.Popen(  # noqa: S603 - our own module, fixed arguments
                [sys.executable, "-P", "-m", "orchestrator.act", str(directory)],
                stdin=subprocess.DEVNULL if handed is None else handed,
                stdout=log,
                stderr=log,
                env={k: v for k, v in self.environ.items() if k in PASSED_ON},
                cwd=directory,
                start_new_session=True,
                umask=0o077,
            )
        finally:
            os.close(log)
            if handed is not None:
                os.close(handed)
        ended_fd = os.pidfd_open(process.pid)
        return _Child(act, directory, process, ended_fd, time.monotonic() + self.timeout_s_for(act))

    def _make_parents(self) -> None:
        for folder in (self.directory.parent, self.directory):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)

    def _directory(self, act: Act) -> Path:
        return self.directory / f"{act.step}.{act.verb}.{act.attempt}"

    # --- ending -----------------------------------------------------------------------------------

    def _wait(self, timeout_s: float) -> None:
        now = time.monotonic()
        instants = [c.kill_at_s or c.deadline_s for c in self._children.values()]
        timeout_s = max(0.0, min([timeout_s, *(at - now for at in instants)]))
        if any(child.ended_fd is None for child in self._children.values()):
            timeout_s = min(timeout_s, POLL_S)
        with selectors.DefaultSelector() as selector:
            for child in self._children.values():
                if child.ended_fd is not None:
                    selector.register(child.ended_fd, selectors.EVENT_READ, child)
            if self.wake_fd is not None:
                selector.register(self.wake_fd, selectors.EVENT_READ, None)
            for key, _ in selector.select(timeout_s):
                if key.data is not None:
                    self._ended(key.data)
                elif self.wake_fd is not None:
                    os.read(self.wake_fd, 4096)

    def _ended(self, child: _Child) -> None:
        if child.process is None or child.ended_fd is None:
            return
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(child.process.pid, signal.SIGKILL)
        os.close(child.ended_fd)
        code = child.process.wait()
        how = f"signal {-code}" if code < 0 else f"exit {code}"
        self._finish(child, child.stopping or f"its process ended without an outcome ({how})")

    def _collect_strangers(self) -> None:
        for child in [c for c in self._children.values() if c.process is None]:
            with _explained(child.act), _held(child.directory / LOCK) as is_held:
                if is_held and not _gone(child.directory / LOCK):
                    continue
                if read_outcome(child.directory) is None:
                    _remove_unseen(child.directory)
                    why = child.stopping or "its driver died, and so did it, without an outcome"
                    write_outcome(child.directory, InDoubt(message=why))
            self._finish(child, child.stopping)

    def _finish(self, child: _Child, why: str) -> None:
        del self._children[_key(child.act)]
        outcome = read_outcome(child.directory)
        if outcome is None:
            with _explained(child.act):
                _remove_unseen(child.directory)
            outcome = InDoubt(message=why)
        self._report(child.act, outcome)

    def _report(self, act: Act, outcome: Outcome) -> None:
        self._ready.append(Report(act.step, act.verb, act.attempt, outcome))

    def _enforce(self, now_s: float) -> None:
        for child in list(self._children.values()):
            if child.kill_at_s is not None and now_s >= child.kill_at_s:
                _signal(child, signal.SIGKILL)
                child.kill_at_s = now_s + self.grace_s
            elif child.kill_at_s is None and now_s >= child.deadline_s:
                self._stop(child, "timed out", now_s)

    def _stop(self, child: _Child, why: str, now_s: float) -> None:
        if child.kill_at_s is None:
            child.stopping = why
            child.kill_at_s = now_s + self.grace_s
            _signal(child, signal.SIGTERM)


def _key(act: Act) -> tuple[str, str, int]:
    return act.step, act.verb, act.attempt


def _signal(child: _Child, number: signal.Signals) -> None:
    """Signal the whole process group of a child, which leads its own session."""
    if child.process is not None:
        pid = child.process.pid
    else:
        with _held(child.directory / LOCK) as is_held:
            pid = _pid_in(child.directory / LOCK) if is_held else 0
    if pid > 1:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(pid, number)


def _gone(lock: Path) -> bool:
    """Say whether the process that took a lock has ended, though what it left behind holds it."""
    pid = _pid_in(lock)
    if pid <= 1:
        return False
    try:
        handle = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        poll = select.poll()
        poll.register(handle, select.POLLIN)
        return bool(poll.poll(0))
    finally:
        os.close(handle)


def _pid_in(lock: Path) -> int:
    text = lock.read_text(encoding="ascii", errors="replace").strip()
    return int(text) if text.isdecimal() else 0


@contextlib.contextmanager
def _held(lock: Path) -> Iterator[bool]:
    """Say whether a living process holds the lock; hold it meanwhile if none does."""
    handle = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield True
        else:
            yield False
    finally:
        os.close(handle)


@contextlib.contextmanager
def _explained(act: Act) -> Iterator[None]:
    """Stop the driver when the machine refuses: whoever comes next finds the act again."""
    try:
        yield
    except OSError as error:
        raise Unavailable(
            f"{act.verb} {act.attempt} of {act.step} cannot be handled here: {error.strerror}",
            next_step="make room on the disk, or mend what else it says; then resume the run",
        ) from error


def _remove_unseen(directory: Path) -> None:
    """Remove the files of an act that died before it could look through them for its secrets."""
    try:
        step = json.loads((directory / BRIEF).read_bytes())["step"]
        secret = bool(names_in(PlanStep.model_validate(step, strict=False)))
    except (OSError, ValueError, KeyError, TypeError):
        secret = True
    for path in list(directory.iterdir()) if secret and directory.exists() else ():
        if path.name in (BRIEF, LOCK, LOG, OUTCOME):
            continue
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


def _in_memory(content: bytes) -> int:
    """Put something where a child can read it, and where nobody else finds it by a name."""
    handle = os.memfd_create("interlock")
    os.write(handle, content)
    os.lseek(handle, 0, os.SEEK_SET)
    return handle


def _private(path: Path) -> int:
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)


def _write_private(path: Path, content: bytes) -> None:
    with os.fdopen(_private(path), "wb") as file:
        file.write(content)
