"""Has a staged play done by a keeper, and hears from it how it ended."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
from dataclasses import asdict
from typing import TYPE_CHECKING, Final

from actors.ansible.lukewarm import connected
from actors.ansible.shim import ENDED, PATIENCE_S, Ended, Job, below_one, subreaper, sweep
from actors.ansible.stage import INVENTORY, LOG, VALUES

if TYPE_CHECKING:
    import socket
    from collections.abc import Iterator
    from pathlib import Path

    from actors.ansible.stage import Stage

__all__ = ["play"]

KEPT: Final = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "PYTHONPATH", "VIRTUAL_ENV")


def play(stage: Stage, home: Path | None) -> Ended | None:
    """Do a play; nothing is returned when its keeper was killed and could not say how it ended."""
    caller = connected(home, stage.environ) if home is not None else None
    return _play_cold(stage) if caller is None else _play_warm(stage, caller)


def _play_warm(stage: Stage, caller: socket.socket) -> Ended | None:
    """Have the server's fork keep the play; its end is the end of the line."""
    with caller, _stops(caller.fileno()):
        _order(caller.fileno(), stage)
        with contextlib.suppress(ConnectionError):
            while caller.recv(4096):
                pass
    ended = _said(stage)
    if ended is None:
        _clear(stage)
    return ended


def _play_cold(stage: Stage) -> Ended | None:
    """Keep the play by a process of our own."""
    before = frozenset(below_one(os.getpid()))
    with subreaper():
        keeper, orders = _started(stage)
        try:
            with _stops(orders):
                _order(orders, stage)
                keeper.wait()
        finally:
            os.close(orders)
            with contextlib.suppress(subprocess.TimeoutExpired):
                keeper.wait(PATIENCE_S)
        ended = _said(stage)
        if ended is None:
            sweep(os.getpid(), before)
            _clear(stage)
        return ended


def _clear(stage: Stage) -> None:
    for folder in stage.scratch:
        shutil.rmtree(folder, ignore_errors=True)
    (stage.directory / VALUES).unlink(missing_ok=True)


def _started(stage: Stage) -> tuple[subprocess.Popen[bytes], int]:
    theirs, ours = os.pipe2(os.O_CLOEXEC)
    try:
        keeper = subprocess.Popen(
            [sys.executable, "-P", "-m", "actors.ansible.shim"],
            stdin=theirs,
            env={name: os.environ[name] for name in KEPT if name in os.environ},
            cwd=stage.directory,
            start_new_session=True,
            umask=0o077,
        )
    except BaseException:
        os.close(ours)
        raise
    finally:
        os.close(theirs)
    return keeper, ours


def _order(orders: int, stage: Stage) -> None:
    """Say what is to be played; who does not listen any more says so by ending."""
    job = Job(
        directory=str(stage.directory),
        playbook=str(stage.folder / stage.playbook),
        inventory=str(stage.directory / INVENTORY),
        values_fifo=str(stage.directory / VALUES),
        log=str(stage.directory / LOG),
        check=stage.check,
        forks=stage.forks,
        environ=stage.environ,
        timeout_s=stage.timeout_s,
        scratch=list(stage.scratch),
        dials=stage.dials,
    )
    said = json.dumps({**asdict(job), "values_length": len(stage.values)}).encode() + b"\n"
    left = memoryview(said + stage.values)
    with contextlib.suppress(BrokenPipeError, ConnectionError):
        while left:
            left = left[os.write(orders, left) :]


def _said(stage: Stage) -> Ended | None:
    try:
        return Ended(**json.loads((stage.directory / ENDED).read_bytes()))
    except (OSError, ValueError, TypeError):
        return None


@contextlib.contextmanager
def _stops(orders: int) -> Iterator[None]:
    """Pass SIGTERM on as an order, unless somebody else in this process listens for it."""

    def stop(number: int, frame: object) -> None:
        del number, frame
        with contextlib.suppress(OSError):
            os.write(orders, b"stop\n")

    in_main = threading.current_thread() is threading.main_thread()
    mine = in_main and signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
    if mine:
        signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        if mine:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
