"""The strict door: what two parsers could read differently is not read at all."""

from __future__ import annotations

import json
import unicodedata
from typing import Any, Final

__all__ = ["MAX_DEPTH", "Json", "UnreadableError", "is_plain", "read_json", "refuse_ambiguous"]

Json = Any
MAX_SAFE_INTEGER: Final = 2**53 - 1
MAX_DEPTH: Final = 32


class UnreadableError(ValueError):
    """A text that two readers could take for two different values."""

    def __init__(
        self, reason: str, pointer: tuple[str | int, ...] = (), line: int | None = None
    ) -> None:
        super().__init__(reason)
        self.reason = reason
        self.pointer = pointer
        self.line = line


def read_json(text: str | bytes, *, max_bytes: int) -> Json:
    """Read JSON strictly: no duplicate keys, floats, control characters, or non-NFC strings."""
    raw = text.encode() if isinstance(text, str) else text
    if len(raw) > max_bytes:
        raise UnreadableError(f"has {len(raw)} bytes; at most {max_bytes} are read")
    try:
        value = json.loads(
            raw.decode("utf-8"),
            object_pairs_hook=_unique_keys,
            parse_float=_no_float,
            parse_constant=_no_float,
        )
    except UnreadableError:
        raise
    except RecursionError:
        raise UnreadableError(f"is nested deeper than {MAX_DEPTH} levels") from None
    except ValueError as error:
        raise UnreadableError(f"is not JSON: {error}") from None
    refuse_ambiguous(value)
    return value


def refuse_ambiguous(value: Json) -> None:
    """Refuse values that have no single canonical form, and say where they are."""
    if is_plain(value):
        return
    stack: list[tuple[Json, tuple[str | int, ...]]] = [(value, ())]
    while stack:
        item, pointer = stack.pop()
        if len(pointer) > MAX_DEPTH:
            raise UnreadableError(f"is nested deeper than {MAX_DEPTH} levels", pointer)
        if isinstance(item, dict):
            for key, inner in item.items():
                _refuse_key(key, pointer)
                stack.append((inner, (*pointer, key)))
        elif isinstance(item, (list, tuple)):
            stack.extend((inner, (*pointer, place)) for place, inner in enumerate(item))
        else:
            _refuse_scalar(item, pointer)


def is_plain(value: Json) -> bool:
    """Say whether everything in a value is printable ASCII, a safe whole number, true, false, null.

    Most values are. It is level by level, because large plans are told of here a million times.
    """
    level, texts = [value], list[str]()
    for _ in range(MAX_DEPTH + 1):
        below: list[Json] = []
        for item in level:
            kind = type(item)
            if kind is str:
                texts.append(item)
            elif kind is dict:
                texts.extend(item)
                below.extend(item.values())
            elif kind is list or kind is tuple:
                below.extend(item)
            elif not (item is None or kind is bool or (kind is int and _is_safe(item))):
                return False
        if not below:
            return _all_printable(texts)
        level = below
    return False


def _is_safe(number: int) -> bool:
    return abs(number) <= MAX_SAFE_INTEGER


def _all_printable(texts: list[str]) -> bool:
    try:
        together = "".join(texts)
    except TypeError:  # a key is not a text
        return False
    return together.isascii() and together.isprintable()


def _unique_keys(pairs: list[tuple[str, Json]]) -> dict[str, Json]:
    result = dict(pairs)
    if len(result) != len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for place, key in enumerate(keys) if key in keys[:place])
        raise UnreadableError(f"has the key {twice!r} twice")
    return result


def _no_float(text: str) -> Json:
    raise UnreadableError(f"holds {text}: only whole numbers are allowed; choose a smaller unit")


def _refuse_key(key: object, pointer: tuple[str | int, ...]) -> None:
    if not isinstance(key, str):
        raise UnreadableError(f"has the key {key!r}, which is not a string", pointer)
    _refuse_text(key, (*pointer, key))


def _refuse_scalar(item: object, pointer: tuple[str | int, ...]) -> None:
    match item:
        case bool() | None:
            return
        case int() if not _is_safe(item):
            raise UnreadableError("holds a whole number larger than 2^53-1", pointer)
        case int():
            return
        case str():
            _refuse_text(item, pointer)
        case _:
            kind = type(item).__name__
            raise UnreadableError(f"holds a {kind}: only text, whole numbers, true, false", pointer)


def _refuse_text(text: str, pointer: tuple[str | int, ...]) -> None:
    if text.isascii() and text.isprintable():
        return
    for char in text:
        category = unicodedata.category(char)
        if category in ("Cc", "Cs", "Cf", "Co", "Cn") and char not in "\n\t":
            raise UnreadableError(f"holds the invisible character U+{ord(char):04X}", pointer)
    if not unicodedata.is_normalized("NFC", text):
        raise UnreadableError("holds text that is not in Unicode normal form C", pointer)
