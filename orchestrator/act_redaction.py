"""All that leaves an act's process: its log, its outcome and its files, without the act's secrets.

1. What the process and its children print goes through a pipe to a thread of the process, and from
   there to the log: a piece that was not looked at is lost when it is killed, never written.
2. The log ends at `MAX_LOG_BYTES`, and says so; whoever goes on printing is not kept waiting.
3. Texts of an outcome are redacted. An output, a target or a failure's name cannot be: whoever uses
   them would use something else. So an outcome that holds a secret there is unexpected.
4. Every file that the act leaves in its directory is looked through before its outcome is there;
   what cannot be looked through is removed.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import select
import stat
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Final

from actors.spec import Done, Failed, Found, InDoubt, Predicted, Unexpected

if TYPE_CHECKING:
    from collections.abc import Iterator

    from actors.redaction import Redactor
    from actors.spec import Brief, Outcome

__all__ = ["MAX_LOG_BYTES", "cleaned", "log_through", "swept"]

MAX_LOG_BYTES: Final = 4 * 2**20
PIECE: Final = 65_536
"""As much as a pipe holds."""
FULL: Final = b"\n[interlock: the log ends here, at %d bytes; what follows was not kept]\n"


# --- the log ------------------------------------------------------------------------------------


def log_through(redactor: Redactor) -> None:
    """Let all that this process prints from now on go through the redactor, until it ends."""
    log = _Log(redactor)
    # Later than this nothing is printed: tracebacks come before it, and what is buffered with it.
    atexit.register(log.close)


class _Log:
    """Stands between the standard output and error of this process and the file they led to."""

    def __init__(self, redactor: Redactor) -> None:
        self._redactor = redactor
        self._pid = os.getpid()
        self._left = MAX_LOG_BYTES
        self._file = os.dup(2)
        self._printed, write = os.pipe2(os.O_CLOEXEC)
        self._told, self._tell = os.pipe2(os.O_CLOEXEC)
        for descriptor in (1, 2):
            os.dup2(write, descriptor)
        os.close(write)
        self._thread = threading.Thread(target=self._pump, name="log", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Write what has been printed so far; what others still print is lost."""
        if os.getpid() != self._pid:
            return
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(OSError, ValueError, AttributeError):
                stream.flush()
        with contextlib.suppress(OSError):
            # A byte, not a close: a child that is left behind holds the descriptor open.
            os.write(self._tell, b".")
            self._thread.join()
        with contextlib.suppress(OSError):
            nowhere = os.open(os.devnull, os.O_WRONLY)
            for descriptor in (1, 2):
                os.dup2(nowhere, descriptor)

    def _pump(self) -> None:
        poll = select.poll()
        for descriptor in (self._printed, self._told):
            poll.register(descriptor, select.POLLIN)
        # The act may have closed all that is open, or have filled the disk.
        with contextlib.suppress(OSError):
            told = False
            while not told:
                ready = {descriptor for descriptor, _ in poll.poll()}
                told = self._told in ready
                if self._printed in ready:
                    self._write(self._redactor.feed(os.read(self._printed, PIECE)))
            self._write(self._redactor.flush())

    def _write(self, piece: bytes) -> None:
        if self._left < 0:
            return
        self._left -= len(piece)
        if self._left < 0:
            piece = piece[: self._left] + FULL % MAX_LOG_BYTES
        while piece:
            piece = piece[os.write(self._file, piece) :]


# --- the outcome --------------------------------------------------------------------------------


def cleaned(outcome: Outcome, brief: Brief, redactor: Redactor) -> Outcome:
    """Return the outcome without secrets."""
    for words in _binding(outcome, brief):
        held = redactor.holds(words)
        if held:
            return Unexpected(
                message=f"what {brief.verb} reported held the secret {held}, and was not kept"
            )
    match outcome:
        case Failed() | Unexpected() | InDoubt() | Found():
            return outcome.model_copy(update={"message": redactor.text(outcome.message)})
        case Predicted():
            changes = tuple(
                change.model_copy(
                    update={
                        "summary": redactor.text(change.summary),
                        "diff": redactor.text(change.diff),
                    }
                )
                for change in outcome.changes
            )
            message = redactor.text(outcome.message)
            return outcome.model_copy(update={"message": message, "changes": changes})
        case _:
            return outcome


def _binding(outcome: Outcome, brief: Brief) -> Iterator[str]:
    """Yield the words of an outcome that others act by, the brief's own aside."""
    match outcome:
        case Done() | Found():
            for name, value in outcome.outputs.items():
                if name not in brief.spec.outputs:
                    yield name
                for one in value if isinstance(value, tuple) else (value,):
                    yield str(one)
        case Failed() if brief.spec.failure(outcome.mode) is None:
            yield outcome.mode
        case Predicted():
            known = {target.name for target in brief.targets}
            yield from (c.target for c in outcome.changes if c.target and c.target not in known)


# --- the files ----------------------------------------------------------------------------------


def swept(directory: Path, redactor: Redactor, *, but: tuple[str, ...]) -> None:
    """Look through every file below an act's directory, but for its own few."""
    for folder, names, files in os.walk(directory, onerror=_raised):
        for name in files:
            path = Path(folder) / name
            if path.parent != directory or name not in but:
                _sweep(path, redactor)
        for place, name in enumerate(names):
            inner = Path(folder) / name
            if inner.is_symlink():
                _sweep(inner, redactor)
                continue
            clean = redactor.text(name)
            if clean != name:
                inner = inner.replace(inner.with_name(f"{clean}.{place}"))
                names[place] = inner.name
            inner.chmod(stat.S_IRWXU)


def _raised(error: OSError) -> None:
    raise error


def _sweep(path: Path, redactor: Redactor) -> None:
    clean = redactor.text(path.name)
    try:
        if path.is_symlink():
            dirty = redactor.holds(str(path.readlink())) is not None
            if dirty or clean != path.name:
                path.unlink()
        elif path.is_file():
            _rewrite(path, redactor)
            if clean != path.name:
                path.rename(path.with_name(f"{clean}.{path.stat().st_ino}"))
    except OSError:
        path.unlink(missing_ok=True)


def _rewrite(path: Path, redactor: Redactor) -> None:
    looking = redactor.fresh()
    for _ in _through(looking, path):
        if looking.found:
            break
    else:
        return
    beside = path.with_name("redacted.part")
    with beside.open("xb") as file:
        file.writelines(_through(redactor.fresh(), path))
    beside.replace(path)


def _through(redactor: Redactor, path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while piece := file.read(2**20):
            yield redactor.feed(piece)
    yield redactor.flush()
