"""Reads a file of allowed signers more strictly than `ssh-keygen`, and says what is wrong where.

1. A line is `name options type key`, with single spaces; whatever else ssh would read is refused.
2. A name is one person's, spelt out: no pattern, no negation; a plain key is one person's only, and
   so one person cannot count for two.
3. Each line says for what its key is good (`namespaces=`), and our namespace is among that.
4. Options are those that we know, once each; a time says that it is UTC.
"""

from __future__ import annotations

import base64
import binascii
import re
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Final

from orchestrator.pure.consent import NAMESPACE

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["LOCAL", "Signer", "read_signers"]

LOCAL: Final = "interlock-local-identity"
"""The comment of a key that was made for trying out; its approvals are labelled."""
KEY_TYPES: Final = (
    "ssh-ed25519",
    "ecdsa-sha2-nistp256",
    "ecdsa-sha2-nistp384",
    "ecdsa-sha2-nistp521",
    "sk-ssh-ed25519@openssh.com",
    "sk-ecdsa-sha2-nistp256@openssh.com",
    "ssh-rsa",
)
PERSON: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@\-]{0,99}")
NAMED: Final = re.compile(r"[A-Za-z0-9._@/+\-]{1,100}")
OPTION: Final = re.compile(r'(cert-authority|[a-z\-]+="[^"]*")(?:,|$)')
MOMENT: Final = re.compile(r"(\d{8}(?:\d{4}(?:\d{2})?)?)Z")
FORMATS: Final = {8: "%Y%m%d", 12: "%Y%m%d%H%M", 14: "%Y%m%d%H%M%S"}
DATED: Final = ("valid-after", "valid-before")


@dataclass(frozen=True, slots=True)
class Signer:
    """One line: who may sign with what."""

    line: int
    principals: tuple[str, ...]
    authority: bool
    key_type: str
    key: str
    local: bool
    text: str
    """The line as ssh reads it, its comment left out."""


def read_signers(raw: bytes) -> tuple[tuple[Signer, ...], tuple[tuple[int, str], ...]]:
    """Return the signers, and each problem with its line."""
    signers: list[Signer] = []
    problems: list[tuple[int, str]] = []
    owners: dict[str, Signer] = {}
    try:
        text = raw.decode("ascii")
    except UnicodeDecodeError as error:
        place = raw.count(b"\n", 0, error.start) + 1
        return (), ((place, "holds a character that is not ASCII"),)
    for number, line in enumerate(text.split("\n"), 1):
        if not line or line.startswith("#"):
            continue
        read = _signer(number, line)
        if isinstance(read, str):
            problems.append((number, read))
            continue
        other = owners.setdefault(read.key, read)
        if other is not read:
            problems.append((number, f"has the key of line {other.line}; one key, one line"))
        signers.append(read)
    if not signers and not problems:
        problems.append((1, "names nobody, so that nobody could consent"))
    return tuple(signers), tuple(problems)


def _signer(number: int, line: str) -> Signer | str:
    words = line.split(" ")
    if "" in words or not line.isprintable():
        return "has a tab, a carriage return or more than one space between its words"
    if len(words) > 1 and words[1] in KEY_TYPES:
        return f'does not say for what its key is good; add namespaces="{NAMESPACE}"'
    if len(words) < 4:
        return "is not `name options type key`"
    names, options, key_type, key = words[:4]
    read = _options(options)
    if isinstance(read, str):
        return read
    problem = next(_problems(names, read, key_type, key), None)
    if problem:
        return problem
    return Signer(
        line=number,
        principals=tuple(names.split(",")),
        authority="cert-authority" in read,
        key_type=key_type,
        key=key,
        local=LOCAL in words[4:],
        text=" ".join(words[:4]),
    )


def _problems(names: str, options: dict[str, str], key_type: str, key: str) -> Iterator[str]:
    for name in names.split(","):
        if any(mark in name for mark in "*?!"):
            yield f"has the pattern '{name}' for a name; name each person"
        if not PERSON.fullmatch(name):
            yield f"has '{name}' for a name, which is no name of a person"
    if "," in names and "cert-authority" not in options:
        yield "gives one key to several people; give each person a line and a key"
    yield from _namespace_problems(options)
    yield from _time_problems(options)
    if key_type not in KEY_TYPES:
        yield f"has the key type '{key_type}'; known are {', '.join(KEY_TYPES)}"
    if not _is_key(key_type, key):
        yield "has a key that is not one of its type, or is cut short"


def _options(text: str) -> dict[str, str] | str:
    found: dict[str, str] = {}
    place = 0
    while place < len(text):
        match = OPTION.match(text, place)
        if match is None:
            return f"has the options '{text}', which cannot be read at character {place + 1}"
        name, _, value = match[1].partition("=")
        if name not in ("cert-authority", "namespaces", *DATED):
            return f"has the option '{name}', which does not exist"
        if name in found:
            return f"has the option '{name}' twice"
        found[name] = value.strip('"')
        place = match.end()
    return f"has the options '{text}', which end in a comma" if text.endswith(",") else found


def _namespace_problems(options: dict[str, str]) -> Iterator[str]:
    if "namespaces" not in options:
        yield f'does not say for what its key is good; add namespaces="{NAMESPACE}"'
        return
    named = options["namespaces"].split(",")
    for name in named:
        if not NAMED.fullmatch(name):
            yield f"has the namespace '{name}'; patterns and negations are not allowed"
    if NAMESPACE not in named:
        yield f"is for the namespaces {', '.join(named)}, and not for {NAMESPACE}"


def _time_problems(options: dict[str, str]) -> Iterator[str]:
    moments = []
    for name in DATED:
        if name not in options:
            continue
        match = MOMENT.fullmatch(options[name])
        moment = _moment(match[1]) if match else None
        if moment is None:
            yield f'has {name}="{options[name]}"; write UTC as in 20270131Z or 202701311200Z'
            return
        moments.append(moment)
    if len(moments) == len(DATED) and moments[0] >= moments[1]:
        yield "has a key that ends before it begins: see valid-after and valid-before"


def _moment(digits: str) -> datetime | None:
    try:
        return datetime.strptime(f"{digits}+0000", f"{FORMATS[len(digits)]}%z")
    except ValueError:
        return None


def _is_key(key_type: str, key: str) -> bool:
    """Say whether this is a key as ssh writes it: fields with their lengths, the first its type."""
    try:
        blob = base64.b64decode(key, validate=True)
    except (binascii.Error, ValueError):
        return False
    fields: list[bytes] = []
    while blob:
        size = int.from_bytes(blob[:4], "big")
        if len(blob) < 4 + size:
            return False
        fields.append(blob[4 : 4 + size])
        blob = blob[4 + size :]
    return len(fields) > 1 and fields[0] == key_type.encode() and len(fields[1]) > 0
