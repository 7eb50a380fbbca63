r"""Keeps the values of secrets out of whatever is written: `<secret NAME>` stands in their place.

1. A value is found as it is, and as it looks in base64 (wherever it begins), hex, URLs, JSON (also
   JSON in JSON), shell and Python quotes, YAML quotes and XML; so is each line of a longer one.
2. What is found does not depend on how a stream was cut into pieces.
3. The time is linear in what is read. What cannot be told from ordinary words is no secret: a
   value of fewer than `SHORTEST` characters is refused.

It cannot find what was changed in other ways: compressed, encrypted, reversed, cut into pieces.
"""

from __future__ import annotations

import json
import shlex
from base64 import b64encode
from html import escape
from typing import TYPE_CHECKING, Final, NamedTuple
from urllib.parse import quote, quote_plus

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from pydantic import SecretStr

__all__ = ["SHORTEST", "SHORTEST_LINE", "Redactor", "forms"]

SHORTEST: Final = 4
SHORTEST_LINE: Final = 8
"""Shorter lines of a longer secret are taken for ordinary words."""
WRAPPED_AT: Final = (64, 76)
"""Where tools that write base64 begin a new line."""
URL_SAFE: Final = bytes.maketrans(b"+/", b"-_")


class _Hit(NamedTuple):
    start: int
    end: int
    name: str


def forms(value: str) -> frozenset[bytes]:
    """Say how a value may look in what programs write."""
    lines = [line.strip() for line in value.splitlines()]
    lines = [line for line in lines if len(line) >= SHORTEST_LINE and not line.startswith("-----")]
    found: set[bytes] = set()
    for text in dict.fromkeys((value, value.strip(), *(lines if "\n" in value else ()))):
        found.update(_texts(text), _numbers(text.encode()))
    return frozenset(form for form in found if len(form) >= SHORTEST)


class Redactor:
    """Replaces the secrets of one act; holds back only what may be the beginning of one."""

    def __init__(self, patterns: Mapping[bytes, str]) -> None:
        self._patterns = sorted(patterns.items(), key=lambda item: (-len(item[0]), item))
        self._held = max((len(pattern) for pattern in patterns), default=1) - 1
        self._buffer = b""
        self._covered = 0
        """So many bytes at the head of the buffer belong to what was replaced already."""
        self.found = 0
        """How many were replaced so far."""

    @classmethod
    def of(cls, secrets: Mapping[str, SecretStr]) -> Redactor:
        """Make the redactor of these secrets, each under its name."""
        patterns: dict[bytes, str] = {}
        for name in sorted(secrets):
            for form in forms(secrets[name].get_secret_value()):
                patterns.setdefault(form, name)
        return cls(patterns)

    def text(self, text: str) -> str:
        """Replace the secrets in a text."""
        raw = text.encode("utf-8", "surrogatepass")
        return self.whole(raw).decode("utf-8", "surrogatepass") if self._patterns else text

    def whole(self, raw: bytes) -> bytes:
        """Replace the secrets in bytes that stand for themselves."""
        alone = self.fresh()
        return alone.feed(raw) + alone.flush()

    def fresh(self) -> Redactor:
        """Return one of the same secrets for another stream."""
        return Redactor(dict(self._patterns))

    def holds(self, text: str) -> str | None:
        """Name the secret that a text holds, if it holds one."""
        raw = text.encode("utf-8", "surrogatepass")
        return next((name for pattern, name in self._patterns if pattern in raw), None)

    def feed(self, chunk: bytes) -> bytes:
        """Take the next piece of a stream, and return what is certain by now."""
        self._buffer += chunk
        if len(self._buffer) <= 2 * self._held:
            return b""  # so that small pieces are not looked through again and again
        return self._out(len(self._buffer) - self._held)

    def flush(self) -> bytes:
        """Return the rest of the stream, which ends here."""
        return self._out(len(self._buffer))

    def _out(self, cut: int) -> bytes:
        """Give out all before the cut; whatever begins there is whole in the buffer."""
        if cut == 0:
            return b""
        out: list[bytes] = []
        place, buffer = min(self._covered, cut), self._buffer
        covered = self._covered
        for hit in self._hits(cut):
            if hit.start >= covered:
                self.found += 1
                out += [buffer[place : hit.start], f"<secret {hit.name}>".encode()]
            covered = max(covered, hit.end)
            place = min(covered, cut)
        out.append(buffer[place:cut])
        self._buffer = buffer[cut:]
        self._covered = max(0, covered - cut)
        return b"".join(out)

    def _hits(self, cut: int) -> list[_Hit]:
        found: list[_Hit] = []
        for pattern, name in self._patterns:
            found += _runs(self._buffer, pattern, name, cut)
        # Sorting keeps the longer first where several begin: that one gives a run its name.
        return sorted(found, key=lambda hit: hit.start)


def _runs(buffer: bytes, pattern: bytes, name: str, cut: int) -> Iterator[_Hit]:
    """Find a pattern wherever it begins before the cut; what overlaps itself is one hit."""
    size = len(pattern)
    start = buffer.find(pattern)
    while 0 <= start < cut:
        last = start
        while last < cut and (further := buffer.rfind(pattern, last + 1, last + 2 * size - 1)) >= 0:
            last = further
        yield _Hit(start, last + size, name)
        start = buffer.find(pattern, last + size)


def _texts(text: str) -> Iterable[bytes]:
    """Write a text as the quoting rules that are met in logs have it."""
    once = [text, json.dumps(text)[1:-1], json.dumps(text, ensure_ascii=False)[1:-1]]
    once += [form.replace("/", r"\/") for form in once[1:]]
    bare = shlex.quote(text)
    once += [bare[1:-1] if bare != text else text, text.replace("'", r"'\''")]
    once += [text.replace("'", "''"), repr(text)[1:-1], repr(text.encode())[2:-1]]
    once += [escape(text), escape(text, quote=False)]
    once += [json.dumps(form)[1:-1] for form in once]
    once += [quote(text), quote(text, safe=""), quote_plus(text)]
    forms_ = [form.encode() for form in once]
    return [*forms_, *(_lower_percent(form) for form in forms_[-3:])]


def _lower_percent(raw: bytes) -> bytes:
    head, *pieces = raw.split(b"%")
    return b"%".join([head, *(piece[:2].lower() + piece[2:] for piece in pieces)])


def _numbers(raw: bytes) -> Iterator[bytes]:
    """Write bytes as hex and as base64, wherever among other bytes they begin."""
    yield raw.hex().encode()
    yield raw.hex().upper().encode()
    for before in range(3):
        # Characters that also stand for the neighbours' bits are left out.
        first = (0, 2, 3)[before]
        last = (before + len(raw)) * 8 // 6
        core = b64encode(bytes(before) + raw)[first:last]
        pieces = [core]
        for width in WRAPPED_AT if before == 0 else ():
            pieces += [core[at : at + width] for at in range(0, len(core), width)]
        for piece in pieces:
            if len(piece) >= SHORTEST + (piece is not core) * SHORTEST_LINE:
                yield piece
                yield piece.translate(URL_SAFE)
