"""The plain means of showing: clean words, cells, colours, times, and a page of lines.

1. Whatever came from outside goes through `clean`: no control, ANSI, bidi or zero-width character
   reaches a terminal, and nothing in it is markup.
2. Width is counted in terminal cells, before colours are put on.
3. Nothing heavy is imported here: `interlock list` must be instant.
"""

from __future__ import annotations

import re
import unicodedata
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final, Literal, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

__all__ = [
    "Column",
    "Page",
    "Span",
    "Style",
    "age",
    "cells",
    "clean",
    "clip",
    "count",
    "duration",
    "fit",
    "hidden",
    "instant",
    "joined",
    "paint",
    "short",
    "wrap",
]

Style = Literal["", "bold", "dim", "red", "green", "yellow", "cyan", "alarm", "warn", "title"]

CODES: Final[dict[Style, str]] = {
    "bold": "1",
    "dim": "2",
    "red": "31",
    "green": "32",
    "yellow": "33",
    "cyan": "36",
    "alarm": "1;31",
    "warn": "1;33",
    "title": "1;36",
}
# CSI, OSC and the other strings that a terminal swallows whole, then lone escapes.
ESCAPES: Final = re.compile(
    r"(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]"
    r"|(?:\x1b[\]PX^_]|[\x9d\x90\x98\x9e\x9f])[^\x07\x1b\x9c]*(?:\x07|\x1b\\|\x9c)?"
    r"|\x1b[ -/]*[0-~]?"
)
UNSEEN: Final = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0")
MAX_MARKS: Final = 2
"""More combining marks than this on one letter climb over the lines above."""
LABEL: Final = 12
SMALLEST: Final = 20


class Span(NamedTuple):
    """Words in one style."""

    text: str
    style: Style = ""


class Column(NamedTuple):
    """A column of a table."""

    title: str
    flex: bool = False
    """It may be cut when the table is too wide."""
    right: bool = False


# --- words --------------------------------------------------------------------------------------


def clean(text: str, *, lines: bool = False) -> str:
    """Drop what a reader could not see or a terminal would obey; keep newlines only if asked."""
    if text.isascii() and text.isprintable():
        return text
    shown: list[str] = []
    marks = 0
    for letter in ESCAPES.sub("", text):
        kind = unicodedata.category(letter)
        marks = marks + 1 if kind in ("Mn", "Me") else 0
        if letter == "\n" and lines:
            shown.append("\n")
        elif letter in "\t\n\r" or kind in ("Zs", "Zl", "Zp"):
            shown.append(" ")
        elif not _unseen(letter, kind) and marks <= MAX_MARKS:
            shown.append(letter)
    return "".join(shown)


def hidden(text: str) -> int:
    """Count the characters that `clean` drops though they are no line break or tab."""
    plain = text.replace("\r\n", "\n")
    return len(plain) - len(clean(plain, lines=True))


def _unseen(letter: str, kind: str) -> bool:
    if kind[0] == "C" or letter in UNSEEN:
        return True
    return "\ufe00" <= letter <= "\ufe0f" or "\U000e0100" <= letter <= "\U000e01ef"


def paint(text: str, style: Style, *, color: bool) -> str:
    """Put a colour on."""
    return f"\x1b[{CODES[style]}m{text}\x1b[0m" if color and style and text else text


def cells(text: str) -> int:
    """Count the terminal cells of clean text."""
    return len(text) if text.isascii() else sum(_cells(letter) for letter in text)


def _cells(letter: str) -> int:
    if unicodedata.combining(letter) or unicodedata.category(letter) in ("Mn", "Me"):
        return 0
    return 2 if unicodedata.east_asian_width(letter) in "WF" else 1


def clip(text: str, width: int) -> str:
    """Cut text to a width; an ellipsis says that it was cut."""
    if cells(text) <= width:
        return text
    taken, used = 0, 0
    for letter in text:
        if used + _cells(letter) > width - 1:
            break
        used += _cells(letter)
        taken += 1
    return text[:taken].rstrip() + "…" if width > 0 else ""


def fit(text: str, width: int, *, right: bool = False) -> str:
    """Cut or pad text to exactly this width."""
    text = clip(text, width)
    blank = " " * (width - cells(text))
    return blank + text if right else text + blank


def wrap(text: str, width: int) -> list[str]:
    """Break text at spaces, and words that are too long anywhere."""
    width = max(width, 1)
    lines, line = [], ""
    for whole in text.split():
        word = whole
        while word:
            if cells(line) + cells(word) + (1 if line else 0) <= width:
                line, word = f"{line} {word}" if line else word, ""
            elif line:
                lines.append(line)
                line = ""
            else:
                taken = _prefix(word, width)
                lines.append(word[:taken])
                word = word[taken:]
    return [*lines, line] if line or not lines else lines


def _prefix(word: str, width: int) -> int:
    used = 0
    for taken, letter in enumerate(word):
        used += _cells(letter)
        if used > width and taken > 0:
            return taken
    return len(word)


def count(number: int, thing: str, things: str = "") -> str:
    """Count things in words: 1 step, 1,200 steps."""
    return f"{number:,} {thing if number == 1 else things or thing + 's'}"


def joined(names: Iterable[str], most: int, total: int | None = None) -> str:
    """Name the first few of many."""
    known = list(names)
    total = len(known) if total is None else total
    text = ", ".join(known[:most])
    return f"{text}, … and {total - most:,} more" if total > most else text


def short(digest: str) -> str:
    """Shorten a digest to what two people read to each other."""
    return digest[:12]


# --- time ---------------------------------------------------------------------------------------


def duration(seconds: float) -> str:
    """Say how long: 45 s, 3 min 20 s, 2 h 5 min, 3 d 4 h."""
    whole = int(seconds)
    if whole < 0:
        return f"-{duration(-whole)}"
    if whole < 60:
        return f"{whole} s"
    for size, unit, below, lesser in ((86_400, "d", 3600, "h"), (3600, "h", 60, "min")):
        if whole >= size:
            rest = whole % size // below
            return f"{whole // size} {unit} {rest} {lesser}" if rest else f"{whole // size} {unit}"
    return f"{whole // 60} min {whole % 60} s" if whole % 60 else f"{whole // 60} min"


def age(from_ms: int, now_ms: int) -> str:
    """Say how long ago, in one unit."""
    seconds = max(0, now_ms - from_ms) // 1000
    for size, unit in ((86_400, "d"), (3600, "h"), (60, "min")):
        if seconds >= 2 * size or (seconds >= size and unit == "min"):
            return f"{seconds // size} {unit}"
    return f"{seconds} s"


def instant(at_ms: int, *, seconds: bool = False) -> str:
    """Say when, in UTC and, where that differs, in local time."""
    form = "%H:%M:%S" if seconds else "%H:%M"
    try:
        moment = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=at_ms)
        local = moment.astimezone()
    except (OverflowError, ValueError):
        return f"{at_ms} ms after 1970"
    text = f"{moment:%Y-%m-%d} {moment:{form}} UTC"
    if not local.utcoffset():
        return text
    there = f"{local:{form}} {local.tzname()}"
    return f"{text} ({there if local.date() == moment.date() else f'{local:%Y-%m-%d} {there}'})"


# --- a page -------------------------------------------------------------------------------------


class Page:
    """The lines of one screen, as they grow; every text handed in is cleaned here once more."""

    def __init__(self, width: int, *, color: bool) -> None:
        self.width = max(width, SMALLEST)
        self.color = color
        self._lines: list[str] = []

    def text(self) -> str:
        """Return the page; it ends with a newline unless it is empty."""
        lines = self._lines
        while lines and not lines[-1]:
            lines = lines[:-1]
        return "\n".join(lines) + "\n" if lines else ""

    def blank(self) -> None:
        """Leave one empty line, never two."""
        if self._lines and self._lines[-1]:
            self._lines.append("")

    def head(self, title: str, style: Style = "title", note: str = "") -> None:
        """Begin a part of the page."""
        self.blank()
        self.line(Span(title, style), Span(f"  {note}" if note else "", "dim"))

    def line(self, *spans: Span | str, indent: int = 0) -> None:
        """Add one line, cut to the width."""
        left, parts = self.width - indent, [" " * indent]
        for one in spans:
            span = one if isinstance(one, Span) else Span(one)
            text = clip(clean(span.text), left)
            parts.append(paint(text, span.style, color=self.color))
            left -= cells(text)
            if left <= 0:
                break
        self._lines.append("".join(parts).rstrip())

    def raw(self, line: str) -> None:
        """Add a line that another page has made."""
        self._lines.append(line)

    def drop(self, number: int) -> None:
        """Take back the last lines."""
        del self._lines[len(self._lines) - number :]

    def words(self, text: str, style: Style = "", *, indent: int = 0, hang: int = 0) -> None:
        """Add text broken to the width; the lines after the first stand further in."""
        room = max(self.width - indent - hang, SMALLEST // 2)
        for number, line in enumerate(wrap(clean(text), room)):
            self.line(Span(line, style), indent=indent + (hang if number else 0))

    def field(
        self, label: str, text: str, style: Style = "", *, indent: int = 2, room: int = LABEL
    ) -> None:
        """Add a label and the words that belong to it."""
        label = clip(clean(label), self.width // 3)
        start = indent + max(room, cells(label) + 1)
        for number, line in enumerate(wrap(clean(text), max(self.width - start, SMALLEST // 2))):
            name = fit(label, start - indent) if number == 0 else " " * (start - indent)
            self.line(Span(name, "dim"), Span(line, style), indent=indent)

    def table(
        self, columns: Sequence[Column], rows: Sequence[Sequence[Span]], *, indent: int = 2
    ) -> list[int]:
        """Add a table whose flexible columns give way; return the width of each column."""
        clear = [[Span(clean(span.text), span.style) for span in row] for row in rows]
        widths = _widths(columns, clear, self.width - indent)
        if any(column.title for column in columns):
            self.row(columns, widths, [Span(column.title, "dim") for column in columns], indent)
        for row in clear:
            self.row(columns, widths, row, indent)
        return widths

    def commands(self, rows: Sequence[tuple[str, str]], *, indent: int = 2) -> None:
        """Add what a person may type; what it does stands beside it, or below if it must."""
        first = max((cells(clean(verb)) for verb, _ in rows), default=0)
        beside = all(indent + first + 2 + cells(clean(why)) <= self.width for _, why in rows)
        for verb, why in rows:
            if beside:
                name = Span(fit(clean(verb), first + 2), "bold")
                self.line(name, Span(why, "dim"), indent=indent)
            else:
                self.line(Span(verb, "bold"), indent=indent)
                self.words(why, "dim", indent=indent + 4)

    def row(
        self, columns: Sequence[Column], widths: Sequence[int], row: Sequence[Span], indent: int
    ) -> None:
        """Add one row of a table."""
        parts: list[Span] = []
        for column, width, span in zip(columns, widths, row, strict=True):
            if width:
                text = fit(span.text, width, right=column.right)
                parts += [Span("  "), Span(text, span.style)] if parts else [Span(text, span.style)]
        self.line(*parts, indent=indent)


def _widths(columns: Sequence[Column], rows: Sequence[Sequence[Span]], room: int) -> list[int]:
    widths = [
        max([cells(row[place].text) for row in rows], default=0) for place in range(len(columns))
    ]
    widths = [max(w, len(c.title)) if w else 0 for w, c in zip(widths, columns, strict=True)]
    over = sum(widths) + 2 * max(0, sum(w > 0 for w in widths) - 1) - room
    while over > 0:
        flexible = [p for p, c in enumerate(columns) if c.flex and widths[p] > 4]
        if not flexible:
            break
        widest = max(flexible, key=lambda place: widths[place])
        widths[widest] -= 1
        over -= 1
    return widths
