"""The files around a ledger: where it may lie, how it is made, and who drives a run.

1. A ledger never lies on a network file system: SQLite's locks and shared memory do not hold there.
2. It is made under another name and renamed, so that no crash leaves half a ledger.
3. A run is driven under an `flock`, which ends with its process; its text is for the message.
   An act forked from the driver inherits the lock: the run stays taken until that act ends too.
4. Lock files are never unlinked: two processes could then each hold a lock of the same name.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import os
import re
import sys
import time
from typing import TYPE_CHECKING, Final

from orchestrator.errors import Conflict, Corrupted, Unavailable

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

__all__ = ["RunLock", "holder", "make", "network_filesystem"]

_NETWORK: Final = {
    0x6969: "nfs",
    0x517B: "smb",
    0xFF534D42: "cifs",
    0xFE534D42: "smb2",
    0x65735546: "fuse",
    0x01021997: "9p",
    0x5346414F: "afs",
    0x6B414653: "afs",
    0x73757245: "coda",
    0x00C36400: "ceph",
    0x0BD00BD0: "lustre",
    0x01161970: "gfs2",
    0x7461636F: "ocfs2",
    0x47504653: "gpfs",
    0x19830326: "beegfs",
    0x20030528: "orangefs",
    0xAAD7AAEA: "panfs",
    0x564C: "ncp",
    0x786F4256: "vboxsf",
    0xBACBACBC: "vmhgfs",
}
_STATFS_BYTES: Final = 512
_NAMED: Final = re.compile(r"process ([0-9]{1,9}) on (\S+)$")
_TRIES: Final = 10
_PAUSE_S: Final = 0.02
_ZEROS: Final = bytes(1 << 20)


def network_filesystem(folder: Path) -> str | None:
    """Name the network file system on which a folder lies, or nothing when it is local."""
    if not sys.platform.startswith("linux"):
        return None
    answer = ctypes.create_string_buffer(_STATFS_BYTES)
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.statfs(os.fsencode(folder), answer) != 0:
        raise Unavailable(
            f"cannot tell the file system of {folder}: {os.strerror(ctypes.get_errno())}",
            next_step="make the folder readable and try again",
        )
    magic = ctypes.c_long.from_buffer(answer).value & 0xFFFFFFFF
    return _NETWORK.get(magic)


def make(path: Path, wal_bytes: int, build: Callable[[Path], None]) -> None:
    """Make a ledger unless it is there: `build` fills a file that is then renamed."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    folder = os.open(path.parent, os.O_RDONLY | os.O_CLOEXEC)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)  # one maker at a time
        if path.exists():
            return
        unfinished = path.with_name(path.name + ".new")
        for leftover in ("", "-wal", "-shm"):
            path.with_name(unfinished.name + leftover).unlink(missing_ok=True)
        _lay_wal(path, wal_bytes)
        os.close(os.open(unfinished, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
        build(unfinished)
        _sync(unfinished)
        unfinished.rename(path)
        os.fsync(folder)
        _sync(path.parent.parent)
    finally:
        os.close(folder)


def _lay_wal(path: Path, size_bytes: int) -> None:
    """Write a WAL of zeros beside a ledger not yet there: commits then need not grow the file."""
    wal = path.with_name(path.name + "-wal")
    if wal.exists() and any(wal.read_bytes()[:32]):
        raise Corrupted(
            f"{wal} is there without {path.name}: the ledger was moved or deleted",
            next_step="put the ledger back beside it; start a new one only in an empty folder",
        )
    target = os.open(wal, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        while size_bytes > 0:
            size_bytes -= os.write(target, _ZEROS[:size_bytes])
        os.fsync(target)
    finally:
        os.close(target)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


class RunLock:
    """The operating system's lock on one run; it ends with the process, whatever happens."""

    __slots__ = ("_descriptor",)

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    @classmethod
    def take(cls, path: Path, run: str, driver: str) -> RunLock:
        """Take the lock, or say who has it."""
        descriptor = _open(path)
        for _ in range(_TRIES):  # a glance by `holder` also blocks it, for an instant
            if _locked(descriptor, fcntl.LOCK_EX):
                os.ftruncate(descriptor, 0)
                text = f"{driver}, process {os.getpid()} on {os.uname().nodename}"
                with contextlib.suppress(OSError):  # the words are for the message alone (rule 3)
                    os.pwrite(descriptor, text.encode("utf-8", "replace")[:500], 0)
                return cls(descriptor)
            time.sleep(_PAUSE_S)
        who = _text(descriptor)
        os.close(descriptor)
        raise Conflict(
            f"run {run} is already driven by {who}",
            next_step=f"watch it: interlock watch {run}; or stop that process, and try again",
        )

    def release(self) -> None:
        """Let the next driver in; do nothing the second time."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


def holder(path: Path) -> str | None:
    """Say who holds a run's lock right now."""
    if not path.exists():
        return None
    descriptor = _open(path)
    try:
        return None if _locked(descriptor, fcntl.LOCK_SH) else _text(descriptor)
    finally:
        os.close(descriptor)


def _open(path: Path) -> int:
    try:
        path.parent.mkdir(mode=0o700, exist_ok=True)
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise Unavailable(
            f"cannot open the lock {path}: {error.strerror}",
            next_step="make the folder writable for this user and try again",
        ) from None


def _locked(descriptor: int, mode: int) -> bool:
    try:
        fcntl.flock(descriptor, mode | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _text(descriptor: int) -> str:
    text = os.pread(descriptor, 500, 0).decode("utf-8", "replace")
    return f"{text}{_fate(text)}" if text else "an unnamed process"


def _fate(text: str) -> str:
    """Say so when the lock outlives the driver that is named in it (rule 3)."""
    named = _NAMED.search(text)
    if named is None or named[2] != os.uname().nodename:
        return ""
    try:
        os.kill(int(named[1]), 0)
    except ProcessLookupError:
        return " (it is gone, but an act that it started still runs)"
    except PermissionError:
        return ""  # alive, and somebody else's
    return ""
