"""Reads the templates in texts: where one stands, what it looks up, whose value it hands on.

1. A template begins wherever `{{` or `{%` stands, and ends where Jinja would end it; what only
   looks like one is read as one.
2. A condition is a template without braces.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = [
    "Lookup",
    "expressions",
    "hands_on",
    "is_literal",
    "is_off",
    "is_on",
    "lookups",
    "takes_in",
    "texts",
]

ON: Final = frozenset({"y", "yes", "on", "1", "true", "t"})
OFF: Final = frozenset({"n", "no", "off", "0", "false", "f"})
CONDITIONS: Final = frozenset(
    {"when", "until", "changed_when", "failed_when", "break_when", "that", "var"}
)
"""Keys whose values are templates without braces."""
OPENING: Final = re.compile(r"(?=(\{[{%]))")
PART: Final = re.compile(
    r"'(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\"|\}\}|%\}|[^'\"%()\[\]{}]+|.", re.DOTALL
)
QUOTED: Final = re.compile(r"'(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\"", re.DOTALL)
CALL: Final = re.compile(
    r"(?<!\w)(?:lookup|query|q)\b(?=\s*\()|(?<![.\w])(?:lookup|query|q|fileglob)\b"
)
PLAIN_CALL: Final = re.compile(
    r"(?:lookup|query|q)\(\s*(['\"])(?:ansible\.builtin\.)?(file|template)\1\s*,"
    r"\s*(['\"])([\w./-]+)\3\s*\)"
)
TAKES_IN: Final = re.compile(r"\{%[-+]?\s*(?:include|import|extends|from)\b")
SECRETS: Final = re.compile(
    r"\bsecrets\b"
    r"|\binterlock\b(?!\s*(?:\.\s*[A-Za-z]|\[\s*['\"]\w+['\"]\s*\]))"
    r"|(?<![.\w])vars\b"
    r"|\bhostvars\b(?!\s*\[[^\]]*\]\s*[.\[])(?!\s*,\s*['\"])"
)
"""What names the secrets, or all of something in which they are."""
TOLD: Final = re.compile(
    r"\b\w+\s+is\s+(?:not\s+)?"
    r"(?:changed|failed|skipped|success|succeeded|unreachable|defined|undefined)\b"
)
"""What asks how a task ended, and hands nothing on."""
WORD: Final = re.compile(r"(?<![.\w])[A-Za-z_]\w*")
ANY_WORD: Final = re.compile(r"[A-Za-z_]\w*")


class Lookup(NamedTuple):
    """What a template looks up; without a path, what cannot be told from its text."""

    plugin: str
    path: str | None


def is_on(value: object) -> bool:
    """Say whether Ansible would take a value as true; a template is none."""
    return _plain(value) in ON


def is_off(value: object) -> bool:
    """Say whether Ansible would take a value as false; a template is none."""
    return _plain(value) in OFF


def _plain(value: object) -> str:
    return str(value).strip().lower() if isinstance(value, bool | int | str) else ""


def strings(value: Any, key: str = "") -> Iterator[tuple[str, str]]:
    """Yield every text of a value, keys as well, with the key under which it stands."""
    if isinstance(value, dict):
        for name, inner in value.items():
            yield "", name
            yield from strings(inner, name)
    elif isinstance(value, list):
        for inner in value:
            yield from strings(inner, key)
    elif isinstance(value, str):
        yield key, value


def texts(value: Any) -> Iterator[str]:
    """Yield every template of a value, a condition in braces."""
    for key, text in strings(value):
        yield from expressions(f"{{{{ {text} }}}}" if key in CONDITIONS else text)


def is_literal(value: Any) -> bool:
    """Say whether there is no template in a value."""
    return not any("{{" in text or "{%" in text for _, text in strings(value))


def expressions(text: str) -> Iterator[str]:
    """Yield every template of a text, its braces with it."""
    for opening in OPENING.finditer(text):
        closing = "}}" if opening.group(1) == "{{" else "%}"
        yield text[opening.start() : _end(text, opening.start() + 2, closing)]


def _end(text: str, start: int, closing: str) -> int:
    depth, place = 0, start
    while place < len(text):
        found = PART.match(text, place)
        part = found.group() if found else text[place]
        if part == closing and depth == 0:
            return place + len(part)
        if part in ("}}", "%}"):
            part = part[0]
        depth = max(0, depth + (part in "([{") - (part in ")]}"))
        place += len(part)
    return len(text)


def lookups(expression: str) -> Iterator[Lookup]:
    """Yield what a template looks up on the controller."""
    bare = QUOTED.sub(lambda found: " " * len(found.group()), expression)
    for call in CALL.finditer(bare):
        plain = PLAIN_CALL.match(expression, call.start())
        yield Lookup(plain.group(2), plain.group(4)) if plain else Lookup(call.group(), None)


def takes_in(expression: str) -> bool:
    """Say whether a template takes another one in."""
    return TAKES_IN.match(expression) is not None


def hands_on(expression: str, names: frozenset[str]) -> bool:
    """Say whether a template may hand on a secret, or what one of these names holds."""
    if SECRETS.search(expression):
        return True
    asked = TOLD.sub("", expression)
    # What is read of another host, or by a name in quotes, is known by that name.
    wide = re.search(r"\bhostvars\b", asked) is not None
    bare = asked if wide else QUOTED.sub("", asked)
    return any(word in names for word in (ANY_WORD if wide else WORD).findall(bare))
