"""The one reader of YAML: a small, strict part of it, with the line on which each value stands.

1. One document; no anchors, aliases, merge keys, tags or directives: a file says everything itself.
2. Only `true`, `false`, `null`, an empty value and plain decimal integers have a type. Every other
   plain word is text exactly as written (`yes`, `off`, `0o17`, `1:30`, `2026-11-25`).
3. What reads as a fraction (`1.5`, `1e3`, `.nan`) or as a hidden null (`~`) is refused: quote it.
4. No duplicate keys, no invisible characters, no line breaks that only some readers see.
5. JSON is read as the part of YAML that it is.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import yaml

from actors.strict import MAX_DEPTH, Json, UnreadableError, refuse_ambiguous

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Path", "Read", "line_of", "read_yaml"]

Path = tuple[str | int, ...]

INTEGER: Final = re.compile(r"0|-?[1-9][0-9]*")
FRACTION: Final = re.compile(
    r"[-+]?(\d[\d_]*\.[\d_]*|\.\d[\d_]*|\d[\d_]*(?=[eE]))([eE][-+]?\d+)?|[-+]?\.(inf|nan)",
    re.IGNORECASE,
)
MAX_DIGITS: Final = 16
FOREIGN_BREAK: Final = re.compile("\r(?!\n)|[\x85\u2028\u2029]")
INVISIBLE: Final = re.compile(
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x84\x86-\x9f\u00ad\u061c\u200b-\u200f\u202a-\u202e"
    "\u2060-\u206f\ufeff\ufff9-\ufffb\ud800-\udfff]"
)


@dataclass(frozen=True, slots=True)
class Read:
    """What a file says, and the line (from 1) on which each value begins."""

    value: Json
    lines: dict[Path, int]

    def line_of(self, path: Path) -> int:
        """Find the line of a place, or of the nearest place around it."""
        return line_of(self.lines, path)


@dataclass(slots=True)
class _Open:
    """A mapping or a list that has begun and not ended."""

    value: dict[str, Json] | list[Json]
    path: Path
    key: str | None = None
    keys: dict[str, int] = field(default_factory=dict)


def line_of(lines: dict[Path, int], path: Path) -> int:
    """Find the line of a place, or of the nearest place around it."""
    while path and path not in lines:
        path = path[:-1]
    return lines.get(path, 1)


def read_yaml(text: str | bytes, *, max_bytes: int) -> Read:
    """Read one YAML or JSON document strictly, or say why not and where."""
    plain = _decoded(text, max_bytes)
    builder = _Builder()
    try:
        for event in _events(plain):
            builder.take(event)
    except UnreadableError:
        raise
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = min(mark.line, plain.count("\n")) + 1 if mark else None
        raise UnreadableError(f"is not YAML: {error.problem or error.context}", line=line) from None
    except (yaml.YAMLError, ValueError, OverflowError, RecursionError) as error:
        # A few escapes make the reader itself stumble; its words are no use to a person.
        raise UnreadableError(f"is not YAML: {type(error).__name__}") from None
    return builder.finished()


def _decoded(text: str | bytes, max_bytes: int) -> str:
    try:
        raw = text.encode() if isinstance(text, str) else text
        if len(raw) > max_bytes:
            raise UnreadableError(f"has {len(raw)} bytes; at most {max_bytes} are read")
        plain = raw.decode("utf-8")
    except UnicodeError:
        raise UnreadableError("is not UTF-8 text") from None
    for pattern, says in (
        (INVISIBLE, "invisible character"),
        (FOREIGN_BREAK, "unusual line break"),
    ):
        found = pattern.search(plain)
        if found:
            line = plain.count("\n", 0, found.start()) + 1
            raise UnreadableError(f"holds the {says} U+{ord(found.group()):04X}", line=line)
    return plain


def _events(plain: str) -> Iterator[Any]:
    """Yield parse events one by one, so that a hostile text is left as soon as it shows itself."""
    # The C reader is the same library's and thirty times faster; a test holds the two equal.
    loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)(plain)
    try:
        while loader.check_event():
            yield loader.get_event()
    finally:
        loader.dispose()


class _Builder:
    """Turns parse events into plain values, without recursion."""

    def __init__(self) -> None:
        self._lines: dict[Path, int] = {}
        self._open: list[_Open] = []
        self._documents = 0
        self._root: Json = None

    def take(self, event: Any) -> None:
        """Take the next parse event."""
        line = event.start_mark.line + 1
        match event:
            case yaml.DocumentStartEvent():
                self._begin_document(event, line)
            case yaml.AliasEvent():
                raise UnreadableError("uses an alias (*): write the value out", line=line)
            case yaml.ScalarEvent():
                self._refuse_decorated(event, line)
                self._scalar(event, line)
            case yaml.MappingStartEvent():
                self._refuse_decorated(event, line)
                self._begin({}, line)
            case yaml.SequenceStartEvent():
                self._refuse_decorated(event, line)
                self._begin([], line)
            case yaml.MappingEndEvent() | yaml.SequenceEndEvent():
                self._open.pop()

    def finished(self) -> Read:
        """Return the whole value once every event was taken."""
        if self._documents == 0:
            raise UnreadableError("is empty", line=1)
        try:
            refuse_ambiguous(self._root)
        except UnreadableError as error:
            line = line_of(self._lines, error.pointer)
            raise UnreadableError(error.reason, error.pointer, line) from None
        return Read(self._root, self._lines)

    def _begin_document(self, event: Any, line: int) -> None:
        self._documents += 1
        if self._documents > 1:
            raise UnreadableError("holds more than one document", line=line)
        if event.version or event.tags:
            raise UnreadableError("holds a % directive; remove it", line=line)

    def _refuse_decorated(self, event: Any, line: int) -> None:
        if event.anchor is not None:
            raise UnreadableError("uses an anchor (&): write the value out", line=line)
        if event.tag is not None:
            raise UnreadableError("uses a tag (!): a file holds plain values only", line=line)

    def _scalar(self, event: Any, line: int) -> None:
        plain = event.style in (None, "")
        if self._expects_key():
            self._take_key(event.value, line, plain=plain)
            return
        value = _typed(event.value, line) if plain else event.value
        self._put(value, line)

    def _expects_key(self) -> bool:
        return (
            bool(self._open)
            and isinstance(self._open[-1].value, dict)
            and self._open[-1].key is None
        )

    def _take_key(self, key: str, line: int, *, plain: bool) -> None:
        parent = self._open[-1]
        if plain and key == "<<":
            raise UnreadableError("uses a merge key (<<): write the values out", parent.path, line)
        if plain and not isinstance(_typed(key, line), str):
            raise UnreadableError(
                f"has the key {key[:40]!r}, which is not text: quote it", parent.path, line
            )
        if key in parent.keys:
            first = parent.keys[key]
            raise UnreadableError(
                f"has the key {key[:80]!r} twice, first on line {first}", parent.path, line
            )
        parent.keys[key] = line
        parent.key = key

    def _begin(self, value: dict[str, Json] | list[Json], line: int) -> None:
        if self._expects_key():
            raise UnreadableError("has a key that is not plain text", self._open[-1].path, line)
        path = self._put(value, line)
        if len(path) > MAX_DEPTH:
            raise UnreadableError(f"is nested deeper than {MAX_DEPTH} levels", path, line)
        self._open.append(_Open(value, path))

    def _put(self, value: Json, line: int) -> Path:
        if not self._open:
            self._root = value
            self._lines[()] = line
            return ()
        parent = self._open[-1]
        if isinstance(parent.value, list):
            path: Path = (*parent.path, len(parent.value))
            parent.value.append(value)
        else:
            key = parent.key or ""
            path, line = (*parent.path, key), parent.keys[key]
            parent.value[key] = value
            parent.key = None
        self._lines[path] = line
        return path


def _typed(text: str, line: int) -> Json:
    match text:
        case "true":
            return True
        case "false":
            return False
        case "null" | "":
            return None
        case "~":
            raise UnreadableError("holds ~; write null, or quote it", line=line)
    if INTEGER.fullmatch(text):
        if len(text) > MAX_DIGITS + 1:
            raise UnreadableError(f"holds {text[:20]}…: larger than 2^53-1", line=line)
        return int(text)
    if FRACTION.fullmatch(text):
        raise UnreadableError(
            f"holds {text[:40]}: write a whole number of a smaller unit, or quote it",
            line=line,
        )
    return text
