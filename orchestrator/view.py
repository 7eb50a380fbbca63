"""Where the words go: one place prints, as text for people or as one JSON document for programs.

1. The answer goes to the standard output, whole; what is said beside it goes to the other stream.
2. A reader that went away changes nothing: the verb ends as it would have ended.
3. A stream that cannot show a character is given its escape; nothing fails for a letter.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import shutil
import sys
import traceback
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TextIO

from orchestrator.errors import InterlockError, InvalidInput, Unavailable

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Unwritable", "View", "close_streams", "ended", "open_streams"]

STOPPED: Final = 130
"""The exit code of whoever is stopped by ^C before anything began."""


class Unwritable(Unavailable):
    """The answer was made and could not be handed over."""


@dataclass(frozen=True, slots=True)
class View:
    """How this terminal, pipe or program wants to be told."""

    as_json: bool
    color: bool
    width: int
    live: bool

    @classmethod
    def here(cls, *, as_json: bool) -> View:
        """Look at the streams and the environment of this process."""
        terminal = sys.stdout.isatty()
        plain = os.environ.get("NO_COLOR", "") != "" or os.environ.get("TERM") == "dumb"
        width = shutil.get_terminal_size((100, 24)).columns
        return cls(as_json=as_json, color=terminal and not plain, width=width, live=terminal)

    @property
    def beside(self) -> TextIO:
        """Where progress goes: it is not the answer."""
        return sys.stderr

    @property
    def can_ask(self) -> bool:
        """Say whether there is a person to ask."""
        return sys.stdin.isatty() and sys.stdout.isatty() and not self.as_json

    def ask(self, page: str, question: str) -> str:
        """Show a page and ask a question about it; no answer at all is an empty one."""
        _write(page.rstrip("\n") + "\n\n")
        try:
            return input(question).strip()
        except EOFError:
            _write("\n")
            return ""

    def say(self, text: Callable[[], str], document: Callable[[], Any]) -> None:
        """Print the text, or the document where JSON is asked for; only one of them is made."""
        if not self.as_json:
            _write(text().rstrip("\n") + "\n")
            return
        # An escape of JSON is understood whatever the stream can show.
        plain = "utf" not in (sys.stdout.encoding or "").lower()
        _write(json.dumps(document(), ensure_ascii=plain, indent=2, sort_keys=True) + "\n")

    def note(self, text: str) -> None:
        """Say something beside the answer."""
        with contextlib.suppress(OSError, ValueError):
            sys.stderr.write(text.rstrip("\n") + "\n")
            sys.stderr.flush()

    def fail(self, error: InterlockError) -> None:
        """Say what happened, to what, and what to do next."""
        from orchestrator.show_error import (  # noqa: PLC0415 - only when something went wrong
            error_document,
            error_text,
        )

        if self.as_json:
            self.say(str, lambda: error_document(error))
        else:
            self.note(error_text(error, color=self.color and sys.stderr.isatty()))

    def crash(self, error: BaseException) -> None:
        """Own up to a bug: its place for whoever mends it, no traceback for whoever met it."""
        frames = traceback.extract_tb(error.__traceback__)
        place = f"{frames[-1].filename.rsplit('/', 1)[-1]}:{frames[-1].lineno}" if frames else "?"
        text = f"a bug: {type(error).__name__} at {place}: {str(error)[:500]}"
        advice = "nothing was assumed; `interlock status` says how the runs stand; report it"
        if self.as_json:
            document = {"kind": "Bug", "what": text, "details": [], "next_step": advice}
            self.say(str, lambda: {"format": 1, "error": {**document, "exit_code": 1}})
        else:
            self.note(f"error: {text}\nnext: {advice}")


def ended(act: Callable[[], object], abort: type[Exception]) -> int:
    """Run the command line; return its exit code, having said what went wrong."""
    try:
        _refuse_unreadable(sys.argv)
        code = act()
        return code if isinstance(code, int) else 0
    except InterlockError as error:
        return _failed(error)
    except abort:
        return STOPPED
    except OSError as error:  # a full disk, a file that went away: the machine's, not a bug
        place = f"{error.filename}: " if error.filename else ""
        return _failed(
            Unavailable(
                f"{place}{error.strerror or error}",
                next_step="mend that, then see how the runs stand: interlock status",
            )
        )
    except Exception as error:  # noqa: BLE001 - the last resort: no traceback reaches a person
        if hasattr(error, "format_message"):  # every complaint of the command's library has one
            return _misused(error)
        View.here(as_json="--json" in sys.argv).crash(error)
        return 1


def _refuse_unreadable(words: list[str]) -> None:
    # Nothing that Interlock records or shows is anything but UTF-8.
    for word in words:
        try:
            word.encode()
        except UnicodeEncodeError:
            raise InvalidInput(
                f"{ascii(word)[:80]} is not UTF-8 text", next_step="name it in UTF-8"
            ) from None


def _failed(error: InterlockError) -> int:
    as_json = "--json" in sys.argv and not isinstance(error, Unwritable)
    try:
        View.here(as_json=as_json).fail(error)
    except Unwritable:
        View.here(as_json=False).fail(error)  # the document found no way out: say it beside
    return error.exit_code


def _misused(error: Any) -> int:
    """Say what was wrong with the words of a command as every other error is said."""
    words = str(error.format_message()).rstrip(".")
    if not words:  # there were none at all, and the help was shown
        return InvalidInput.exit_code
    context = getattr(error, "ctx", None)
    path = context.command_path if context else "interlock"
    return _failed(InvalidInput(words, next_step=f"{path} --help"))


def open_streams() -> None:
    """Make sure that all three streams are there, and that none of them fails for a letter.

    A program started without them would give their numbers to the next files it opens, and whatever
    a child then prints would land in one of those.
    """
    for number in (0, 1, 2):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # the lowest number that is free: this one
    sys.stdin = sys.stdin or os.fdopen(0, "r", closefd=False)
    sys.stdout = sys.stdout or os.fdopen(1, "w", closefd=False)
    sys.stderr = sys.stderr or os.fdopen(2, "w", closefd=False)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _write(text: str) -> None:
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except BrokenPipeError:
        _let_go(sys.stdout)
    except OSError as error:
        _let_go(sys.stdout)
        raise Unwritable(
            f"the answer could not be written to the standard output: {error.strerror}",
            next_step="what was done stays done; see how it stands with: interlock status",
        ) from None


def close_streams() -> None:
    """Hand over what is still buffered; nothing may fail after the exit code is known."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):
            _let_go(stream)


def _let_go(stream: TextIO) -> None:
    # What is still buffered would fail again when Python ends, and take the exit code with it.
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, stream.fileno())
    os.close(nowhere)
