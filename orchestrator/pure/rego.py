"""The part of Rego on which every engine agrees, as a linter over tokens.

1. What is not listed here is refused: each entry was measured to give one answer in all engines.
2. Words that reach outside, or differ from call to call, are refused for every engine.
3. A path below `input` that the document does not have is refused: it would be undefined, and a
   rule that is undefined denies nothing.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

__all__ = [
    "OUTSIDE",
    "Token",
    "Trouble",
    "outside",
    "package_of",
    "tokens",
    "troubles",
    "undefined_paths",
]

_ALLOWED: Final = """
    abs array.concat array.reverse array.slice base64.encode bits.and ceil concat contains count
    endswith floor format_int glob.match graph.reachable indexof intersection is_array is_boolean
    is_null is_number is_object is_set is_string json.is_valid json.unmarshal lower numbers.range
    object.filter object.get object.keys object.remove object.union object.union_n product replace
    round split startswith strings.replace_n strings.reverse substring sum to_number trim trim_left
    trim_prefix trim_right trim_space trim_suffix type_name union upper walk
"""
ALLOWED: Final = frozenset(_ALLOWED.split())
_OUTSIDE: Final = """
    http.send net.lookup_ip_addr opa.runtime rand.intn time.now_ns uuid.rfc4122 trace print
    providers.aws.sign_req io.jwt.encode_sign io.jwt.encode_sign_raw rego.parse_module
"""
OUTSIDE: Final = frozenset(_OUTSIDE.split())
"""Builtins that read the world, write to it, or answer differently each time."""
_KEYWORDS: Final = """
    as contains default else every false if import in not null package some true with
"""
KEYWORDS: Final = frozenset(_KEYWORDS.split())
TOKEN: Final = re.compile(
    r"""(?P<space>[ \t\r\n]+)
    |(?P<comment>\#[^\n]*)
    |(?P<string>"(?:[^"\\\n]|\\.)*")
    |(?P<raw>`[^`]*`)
    |(?P<number>\d[\d.eE]*)
    |(?P<word>[A-Za-z_][A-Za-z0-9_]*)
    |(?P<sign>:=|==|!=|<=|>=|[-+*/%&|=<>.,:;()\[\]{}])
    |(?P<other>.)""",
    re.VERBOSE | re.DOTALL,
)
MAX_DIGITS: Final = 15
ARITHMETIC: Final = frozenset("+-*/%&")


class Token(NamedTuple):
    """A word, a sign or a literal, and where it stands (both from 1)."""

    kind: str
    text: str
    line: int
    column: int
    tight: bool
    """Nothing stands between it and the token before."""


class Trouble(NamedTuple):
    """Something that is refused."""

    line: int
    message: str


def tokens(source: str) -> list[Token]:
    """Cut a module into tokens; comments and space are dropped."""
    found: list[Token] = []
    line, start, tight = 1, 0, False
    for match in TOKEN.finditer(source):
        kind, text = match.lastgroup or "other", match.group()
        if kind not in ("space", "comment"):
            found.append(Token(kind, text, line, match.start() - start + 1, tight))
        tight = kind not in ("space", "comment")
        breaks = text.count("\n")
        if breaks:
            line, start = line + breaks, match.start() + text.rindex("\n") + 1
    return found


def package_of(source: str) -> str | None:
    """Return the package that a module declares first of all."""
    cut = tokens(source)
    if not cut or cut[0].text != "package":
        return None
    return _dotted(cut, 1)[0] or None


def outside(source: str) -> list[Trouble]:
    """List calls that reach outside or differ from call to call: no engine may see them."""
    cut = tokens(source)
    return [
        Trouble(cut[place].line, f"{name} reads or changes the world; policy sees only its input")
        for place, name in _names(cut)
        if name in OUTSIDE
    ]


def troubles(source: str) -> list[Trouble]:
    """List what the embedded engine may not be trusted with."""
    cut = tokens(source)
    own = _own_functions(cut)
    found = [
        *_strange_tokens(cut),
        *_package_troubles(cut),
        *_head_troubles(cut),
        *(trouble for place in range(len(cut)) for trouble in _word_troubles(cut, place)),
        *_call_troubles(cut, own),
        *_bracket_troubles(cut),
    ]
    return sorted(frozenset(found))


def undefined_paths(source: str, schema: dict[str, Any]) -> list[Trouble]:
    """List the paths below `input` that the document cannot have."""
    cut = tokens(source)
    found = []
    for place, name in _names(cut):
        parts = name.split(".")
        if parts[0] == "input":
            wrong = _unknown_part(schema, parts[1:])
            if wrong is not None:
                found.append(Trouble(cut[place].line, f"{name}: the input has no {wrong}"))
    return found


# --- tokens ---------------------------------------------------------------------------------------


def _dotted(cut: Sequence[Token], place: int) -> tuple[str, int]:
    """Read `a.b.c` from a place on; return it with the place after it."""
    parts: list[str] = []
    while place < len(cut) and cut[place].kind == "word":
        parts.append(cut[place].text)
        place += 1
        if place + 1 >= len(cut) or cut[place].text != "." or cut[place + 1].kind != "word":
            break
        place += 1
    return ".".join(parts), place


def _names(cut: Sequence[Token]) -> Iterator[tuple[int, str]]:
    """Go through all dotted names, each once, with the place where it begins."""
    place = 0
    while place < len(cut):
        name, after = _dotted(cut, place)
        if name and not (place and cut[place - 1].text == "." and cut[place].tight):
            yield place, name
        place = max(after, place + 1)


def _text(cut: Sequence[Token], place: int) -> str:
    return cut[place].text if 0 <= place < len(cut) else ""


def _own_functions(cut: Sequence[Token]) -> frozenset[str]:
    return frozenset(
        token.text
        for place, token in enumerate(cut)
        if token.column == 1 and token.kind == "word" and _text(cut, place + 1) == "("
    )


# --- what is refused ------------------------------------------------------------------------------


def _strange_tokens(cut: Sequence[Token]) -> Iterator[Trouble]:
    for token in cut:
        if token.kind == "other":
            yield Trouble(token.line, f"the sign {token.text!r} is not part of what engines share")
        elif token.kind == "number" and not token.text.isdecimal():
            yield Trouble(token.line, f"{token.text}: only whole numbers give one answer")
        elif token.kind == "number" and len(token.text) > MAX_DIGITS:
            yield Trouble(token.line, f"{token.text} has too many digits")


def _package_troubles(cut: Sequence[Token]) -> Iterator[Trouble]:
    if _text(cut, 0) != "package":
        yield Trouble(1, "a module begins with its package")
        return
    heads = {name.partition(".")[0] for name in (*ALLOWED, *OUTSIDE)}
    for part in _dotted(cut, 1)[0].split("."):
        if part in heads:
            yield Trouble(cut[0].line, f"a package may not be named like the builtin {part}")
    for place, token in enumerate(cut):
        if token.text == "import" and token.column == 1:
            name = _dotted(cut, place + 1)[0]
            if name != "rego.v1" and not name.startswith(("data.interlock.", "input.")):
                yield Trouble(token.line, f"import {name}: only rego.v1 and data.interlock")


def _head_troubles(cut: Sequence[Token]) -> Iterator[Trouble]:
    for place, token in enumerate(cut):
        if token.column != 1 or token.kind != "word" or token.text in KEYWORDS:
            continue
        after = _text(cut, place + 1)
        if after in ("[", ".", "{"):
            yield Trouble(
                token.line,
                f"{token.text}{after}: write `{token.text} contains ... if` or `{token.text} := `",
            )


def _word_troubles(cut: Sequence[Token], place: int) -> Iterator[Trouble]:
    token = cut[place]
    if token.text == "with" and token.kind == "word":
        yield Trouble(token.line, "`with` kills the embedded engine; put the input into a case")
    first_of_comprehension = _text(cut, place - 1) == "|"
    if token.text == "some" and first_of_comprehension and _text(cut, place + 2) == ",":
        yield Trouble(
            token.line, "`| some k, v in o` is not read by all engines: write `v := o[k]`"
        )


def _call_troubles(cut: Sequence[Token], own: frozenset[str]) -> Iterator[Trouble]:
    for place, name in _names(cut):
        after = _dotted(cut, place)[1]
        if _text(cut, after) != "(" or not cut[after].tight or name in KEYWORDS - ALLOWED:
            continue
        if name in ALLOWED and _text(cut, place - 1) == "not":
            yield Trouble(
                cut[place].line,
                f"`not {name}(...)` of something undefined differs: name the value first",
            )
        if name not in ALLOWED and name not in own and not name.startswith("data.interlock."):
            yield Trouble(cut[place].line, f"{name}() does not give one answer in all engines")


def _bracket_troubles(cut: Sequence[Token]) -> Iterator[Trouble]:
    """Find arithmetic inside the brackets of a reference."""
    refs: list[bool] = []
    for place, token in enumerate(cut):
        if token.text == "[":
            before = cut[place - 1] if place else None
            is_ref = before is not None and token.tight and before.text not in KEYWORDS
            refs.append(is_ref and before is not None and _ends_a_term(before))
        elif token.text == "]" and refs:
            refs.pop()
        elif token.kind == "sign" and token.text in ARITHMETIC and refs and refs[-1]:
            yield Trouble(token.line, f"`{token.text}` inside [ ]: give the value a name first")


def _ends_a_term(token: Token) -> bool:
    return token.kind == "word" or token.text in ("]", ")")


# --- the schema -----------------------------------------------------------------------------------


def _unknown_part(schema: dict[str, Any], parts: Sequence[str]) -> str | None:
    """Follow a path into a JSON schema; name the first part that cannot be there."""
    here = [schema]
    for place, part in enumerate(parts):
        here = [below for one in here for below in _below(schema, one, part)]
        if not here:
            return ".".join(parts[: place + 1])
    return None


def _below(root: dict[str, Any], schema: dict[str, Any], part: str) -> Iterator[dict[str, Any]]:
    for one in _unfolded(root, schema):
        if part in one.get("properties", {}):
            yield one["properties"][part]
        yield from one.get("patternProperties", {}).values()
        if isinstance(one.get("additionalProperties"), dict):
            yield one["additionalProperties"]


def _unfolded(root: dict[str, Any], schema: dict[str, Any]) -> Iterator[dict[str, Any]]:
    if "$ref" in schema:
        yield from _unfolded(root, root["$defs"][schema["$ref"].rpartition("/")[2]])
        return
    yield schema
    for one in schema.get("anyOf", ()):
        yield from _unfolded(root, one)
