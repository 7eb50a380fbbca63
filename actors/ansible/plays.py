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

from actors.ansible.shim import ENDED, PATIENCE_S, Ended, Job, below_one, subreaper, sweep
from actors.ansible.stage import INVENTORY, LOG, VALUES

if TYPE_CHECKING:
    from collections.abc import Iterator

    from actors.ansible.stage import Stage

__all__ = ["play"]

KEPT: Final = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "PYTHONPATH", "VIRTUAL_ENV")


def play(stage: Stage) -> Ended | None:
    """Do a play; nothing is returned when its keeper was killed and could not say how it ended."""
    before = frozenset(below_one(os.getpid()))
    with subreaper():
        keeper = _started(stage)
        with _stops(keeper):
            keeper.wait()
        ended = _said(stage)
        if ended is None:
            sweep(os.getpid(), before)
            for folder in stage.scratch:
                shutil.rmtree(folder, ignore_errors=True)
        return ended


def _started(stage: Stage) -> subprocess.Popen[bytes]:
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
    )
    keeper = subprocess.Popen(
        [sys.executable, "-P", "-m", "actors.ansible.shim"],
        stdin=subprocess.PIPE,
        env={name: os.environ[name] for name in KEPT if name in os.environ},
        cwd=stage.directory,
        start_new_session=True,
        umask=0o077,
        bufsize=0,
    )
    said = json.dumps({**asdict(job), "values_length": len(stage.values)}).encode() + b"\n"
    with contextlib.suppress(BrokenPipeError):
        _write(keeper, said + stage.values)
    return keeper


def _write(keeper: subprocess.Popen[bytes], content: bytes) -> None:
    if keeper.stdin is not None:
        left = memoryview(content)
        while left:
            left = left[os.write(keeper.stdin.fileno(), left) :]


def _said(stage: Stage) -> Ended | None:
    try:
        return Ended(**json.loads((stage.directory / ENDED).read_bytes()))
    except (OSError, ValueError, TypeError):
        return None


@contextlib.contextmanager
def _stops(keeper: subprocess.Popen[bytes]) -> Iterator[None]:
    """Pass SIGTERM on as an order, unless somebody else in this process listens for it."""

    def stop(number: int, frame: object) -> None:
        del number, frame
        with contextlib.suppress(OSError):
            _write(keeper, b"stop\n")

    in_main = threading.current_thread() is threading.main_thread()
    mine = in_main and signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
    if mine:
        signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        if mine:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
        if keeper.stdin is not None:
            keeper.stdin.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            keeper.wait(PATIENCE_S)
