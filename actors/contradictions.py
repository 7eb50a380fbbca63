"""Finds where a manifest, though well formed, contradicts itself or promises what it cannot keep.

Each check yields a stable code, plain words, and the place in the manifest.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from actors.spec import (
    ActorSpec,
    ChoiceParam,
    IntegerParam,
    ListParam,
    TargetsParam,
    TextParam,
    problem_with,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from actors.reading import Path
    from actors.spec import ParamSpec

__all__ = ["contradictions"]

Contradiction = tuple[str, str, "Path"]

RESERVED_PARAMS: Final = ("ansible_", "interlock")
RESERVED_ACTORS: Final = "interlock."

PIECE: Final = re.compile(r"\\.|\[\^?\]?(?:\\.|[^\]\\])*\]", re.DOTALL)
"""An escaped character or a character class: nothing in it groups or repeats."""
REPEATED: Final = re.compile(r"[*+]|\{(?![01]?\}|0?,1\})")
VARIABLE: Final = re.compile(r"[*+?]|\{\d*,")
SEPARATOR: Final = re.compile(r"\\[.+/|-]|[-,:/@_ ]")


def contradictions(spec: ActorSpec, folder: str) -> Iterator[Contradiction]:
    """Yield all that is wrong with a spec that stands in a folder of this name."""
    yield from _name(spec, folder)
    yield from _targets(spec)
    yield from _effect(spec)
    yield from _failures(spec)
    yield from _order(spec)
    for section, declared in (("params", spec.params), ("outputs", spec.outputs)):
        for name, param in declared.items():
            place: Path = (section, name)
            if name.startswith(RESERVED_PARAMS):
                says = f"{name} is reserved: names must not begin with ansible_ or interlock"
                yield "M-reserved-name", says, place
            yield from _param(name, param, place)


def _name(spec: ActorSpec, folder: str) -> Iterator[Contradiction]:
    if spec.name != folder:
        says = f"the name is {spec.name}, but the folder is {folder}: make them the same"
        yield "M-folder-name", says, ("name",)
    if spec.name.startswith(RESERVED_ACTORS):
        yield "M-reserved-name", "names that begin with interlock. belong to the machine", ("name",)


def _targets(spec: ActorSpec) -> Iterator[Contradiction]:
    targets = [name for name, param in spec.params.items() if isinstance(param, TargetsParam)]
    for name in targets[1:]:
        says = f"{name} is a second param of type targets, after {targets[0]}: keep one"
        yield "M-two-targets", says, ("params", name)
    if spec.effect != "read" and not targets and spec.untargeted_because is None:
        says = "changes something but names no targets: add a targets param or untargeted_because"
        yield "M-no-targets", says, ("effect",)
    if targets and spec.untargeted_because is not None:
        yield "M-targets-denied", "has targets, and says why it has none", ("untargeted_because",)


def _effect(spec: ActorSpec) -> Iterator[Contradiction]:
    if spec.effect == "read":
        yield from _read_only(spec)
        return
    if not spec.writes and not spec.shares:
        says = f"has the effect {spec.effect} but writes nothing: name the aspects in writes"
        yield "M-writes-nothing", says, ("effect",)
    if spec.undo == "full" and spec.point_of_no_return:
        says = "is a point of no return, and can be undone in full: one of the two is wrong"
        yield "M-no-return", says, ("point_of_no_return",)


def _read_only(spec: ActorSpec) -> Iterator[Contradiction]:
    claims: dict[str, object] = {
        "writes": spec.writes,
        "shares": spec.shares,
        "disturbs": spec.disturbs,
        "point_of_no_return": spec.point_of_no_return,
        "undo": spec.undo != "none",
    }
    for claim, claimed in claims.items():
        if claimed:
            yield "M-read-changes", f"only reads, so it cannot declare {claim}", (claim,)


def _failures(spec: ActorSpec) -> Iterator[Contradiction]:
    seen: set[str] = set()
    for place, mode in enumerate(spec.failure_modes):
        if mode.name in seen:
            says = f"the failure mode {mode.name} is declared twice"
            yield "M-twice", says, ("failure_modes", place, "name")
        seen.add(mode.name)
        if mode.retry and mode.leaves != "nothing":
            says = f"{mode.name} may leave something behind, so it must not be retried"
            yield "M-retry-dirty", says, ("failure_modes", place, "retry")
    if spec.retries.maximum and not any(mode.retry for mode in spec.failure_modes):
        says = "retries, but no failure mode says retry: true"
        yield "M-retry-nothing", says, ("retries", "maximum")
    if spec.timeouts.expected_s > spec.timeouts.apply_s:
        says = f"is expected to take longer than it may ({spec.timeouts.apply_s} s)"
        yield "M-timeout", says, ("timeouts", "expected_s")


def _order(spec: ActorSpec) -> Iterator[Contradiction]:
    for section, names in (("needs_before", spec.needs_before), ("needs_after", spec.needs_after)):
        if spec.name in names:
            says = f"names itself in {section}"
            yield "M-order", says, (section, names.index(spec.name))
    for name in sorted(set(spec.needs_before) & set(spec.needs_after)):
        says = f"needs {name} both before and after itself"
        yield "M-order", says, ("needs_after", spec.needs_after.index(name))


def _param(name: str, param: ParamSpec, place: Path) -> Iterator[Contradiction]:
    yield from _range(name, param, place)
    sound = True
    for text, where in _texts(param, place):
        problem = _problem_with_pattern(text.pattern)
        if problem:
            sound = False
            yield "M-pattern", f"the pattern of {name} {problem}", (*where, "pattern")
    if not isinstance(param, TargetsParam) and param.default is not None:
        if param.required:
            says = f"{name} has a default and is required: say required: false"
            yield "M-default-required", says, (*place, "default")
        problem = problem_with(param, param.default) if sound else None
        if problem:
            yield "M-default", f"the default of {name} {problem}", (*place, "default")


def _texts(param: ParamSpec, place: Path) -> Iterator[tuple[TextParam, Path]]:
    if isinstance(param, TextParam):
        yield param, place
    if isinstance(param, ListParam) and isinstance(param.items, TextParam):
        yield param.items, (*place, "items")


def _range(name: str, param: ParamSpec, place: Path) -> Iterator[Contradiction]:
    if isinstance(param, ListParam):
        yield from _range(f"each item of {name}", param.items, (*place, "items"))
    if isinstance(param, (IntegerParam, ListParam, TargetsParam)) and param.minimum > param.maximum:
        says = f"the minimum of {name} is larger than its maximum"
        yield "M-range", says, (*place, "minimum")
    if isinstance(param, ChoiceParam) and len(set(param.choices)) < len(param.choices):
        yield "M-twice", f"{name} offers the same choice twice", (*place, "choices")


def _problem_with_pattern(pattern: str) -> str | None:
    """Refuse a pattern that a reader who searches, and does not match whole, would take wider."""
    try:
        re.compile(pattern)
    except (re.error, RecursionError, OverflowError) as error:
        return f"cannot be used: {error}"
    if not pattern.startswith("^") or not pattern.endswith("$") or _is_escaped(pattern):
        return "must begin with ^ and end with $"
    if _has_bare_alternative(pattern):
        return "has a | outside parentheses, so ^ and $ do not bind both sides"
    if any(_is_ambiguous(body) for body in _repeated_groups(pattern)):
        return (
            "repeats a group that one text can fill in several ways, which can take for ever: "
            "begin the group with a separator that stands nowhere else in it"
        )
    return None


def _repeated_groups(pattern: str) -> Iterator[str]:
    """Yield the body of each group that may occur more than once."""
    opened: list[int] = []
    place = 0
    for piece in _pieces(pattern):
        place += len(piece)
        if piece == "(":
            opened.append(place)
        elif piece == ")" and opened:
            body = pattern[opened.pop() : place - 1]
            if REPEATED.match(pattern, place):
                yield body.removeprefix("?:")


def _is_ambiguous(body: str) -> bool:
    """Take a group as clear only if a separator of its own shows where each turn begins.

    This is stricter than need be: what it lets through cannot backtrack without end.
    """
    if "|" in body or "(" in body:
        return True
    if not VARIABLE.search(PIECE.sub("a", body)):
        return False
    head = SEPARATOR.match(body)
    if head is None:
        return True
    separator = head.group()[-1]
    return any(_takes(piece, separator) for piece in _pieces(body[head.end() :]))


def _takes(piece: str, char: str) -> bool:
    """Say whether one piece of a pattern can match a character; what is unclear can."""
    if piece in "*+?{}":
        return False
    try:
        return re.fullmatch(piece, char) is not None
    except re.error:
        return True


def _pieces(pattern: str) -> Iterator[str]:
    place = 0
    while place < len(pattern):
        piece = PIECE.match(pattern, place)
        yield piece.group() if piece else pattern[place]
        place = piece.end() if piece else place + 1


def _is_escaped(pattern: str) -> bool:
    before = pattern[:-1]
    return (len(before) - len(before.rstrip("\\"))) % 2 == 1


def _has_bare_alternative(pattern: str) -> bool:
    bare = re.sub(r"\\.", "", pattern, flags=re.DOTALL)
    bare = re.sub(r"\[\^?\]?[^\]]*\]", "", bare)
    depth = 0
    for char in bare:
        if char == "|" and depth == 0:
            return True
        depth += {"(": 1, ")": -1}.get(char, 0)
    return False
