"""The world of the rehearsal: an append-only file of effects, and what follows from it.

One line, one effect, written with one call and synced before the act goes on. While a
line that a crash tore in two stands in the file, the state of everything is unknown.
"""

from __future__ import annotations

import json
import os
import time
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple

if TYPE_CHECKING:
    from pathlib import Path

    from actors.spec import Brief, Value

__all__ = ["Act", "Effect", "World", "act_of"]

FILE: Final = "effects.jsonl"
NOWHERE: Final = "-"
"""The target of an actor that names none."""

State = Literal["applied", "not_applied", "partial", "unknown"]


class Act(NamedTuple):
    """Which act a key names."""

    run: str
    step: str
    verb: str
    attempt: str


@dataclass(frozen=True, slots=True)
class Effect:
    """What one act did to the world."""

    key: str
    run: str
    step: str
    verb: str
    attempt: int
    actor: str
    aspects: tuple[str, ...]
    targets: tuple[str, ...]
    half: bool
    """Only part of what the act should do was done, on each of these targets."""
    params: dict[str, Value]
    secrets: tuple[str, ...]
    """The params whose secrets were at hand, not what they are."""
    pid: int
    at_ms: int

    @classmethod
    def of(cls, brief: Brief, *, half: bool = False) -> Effect:
        """Describe the effect of doing what the brief asks, or half of it."""
        act = act_of(brief.key)
        return cls(
            key=brief.key,
            run=act.run,
            step=act.step,
            verb=brief.verb,
            attempt=brief.attempt,
            actor=brief.spec.name,
            aspects=_aspects(brief),
            targets=_reached(_targets(brief), half=half),
            half=half and len(_targets(brief)) == 1,
            params=brief.params,
            secrets=tuple(sorted(brief.secrets)),
            pid=os.getpid(),
            at_ms=time.time_ns() // 1_000_000,
        )


def act_of(key: str) -> Act:
    """Take a key apart, from its end: the run's name may hold anything."""
    parts = key.rsplit("/", 3)
    return Act(*parts) if len(parts) == 4 else Act("", key, "", "")


class World:
    """A directory that remembers every effect."""

    def __init__(self, directory: Path) -> None:
        self._path = directory / FILE

    def append(self, effect: Effect) -> None:
        """Make the effect happen: durable when this returns."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        line = json.dumps(asdict(effect), separators=(",", ":")).encode() + b"\n"
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
        handle = os.open(self._path, flags, 0o600)
        try:
            if os.write(handle, line) != len(line):
                raise OSError(0, "the world's disk took only part of an effect")
            os.fsync(handle)
        finally:
            os.close(handle)

    def effects(self) -> tuple[dict[str, Any], ...]:
        """Return every whole effect, oldest first."""
        return tuple(effect for effect in map(_parsed, self._lines()) if effect is not None)

    def state_of(self, brief: Brief) -> State:
        """Judge whether the brief's own step holds on all its targets, from the effects alone."""
        lines = self._lines()
        states = {_state(lines, brief, target) for target in _targets(brief)}
        if len(states) == 1:
            return states.pop()
        return "unknown" if "unknown" in states else "partial"

    def _lines(self) -> list[bytes]:
        try:
            return self._path.read_bytes().splitlines()
        except FileNotFoundError:
            return []


def _state(lines: list[bytes], brief: Brief, target: str) -> State:
    """Follow each aspect of one target through its history."""
    name = json.dumps(target).encode()
    history = [_parsed(line) for line in lines if name in line]
    if None in history or any(_is_torn(line) for line in lines):
        return "unknown"
    here = [effect for effect in history if effect and target in effect["targets"]]
    states = {_aspect_state(here, brief, aspect) for aspect in _aspects(brief)}
    return states.pop() if len(states) == 1 else "partial"


def _aspect_state(history: list[dict[str, Any]], brief: Brief, aspect: str) -> State:
    """Stack what was applied; an undo takes its own step's entry away; the top is in force."""
    act = act_of(brief.key)
    mine = (act.run, act.step)
    stack: list[dict[str, Any]] = []
    for effect in history:
        if aspect not in effect["aspects"]:
            continue
        owner = (effect["run"], effect["step"])
        if effect["verb"] == "undo" and effect["half"]:
            stack = [{**e, "half": True} if (e["run"], e["step"]) == owner else e for e in stack]
            continue
        stack = [e for e in stack if (e["run"], e["step"]) != owner]
        if effect["verb"] == "apply":
            stack.append(effect)
    if not stack or (stack[-1]["run"], stack[-1]["step"]) != mine:
        return "not_applied"
    if stack[-1]["half"]:
        return "partial"
    return "applied" if stack[-1]["params"] == _plain(brief.params) else "not_applied"


def _aspects(brief: Brief) -> tuple[str, ...]:
    return tuple(brief.spec.writes + brief.spec.shares) or (f"actor:{brief.spec.name}",)


def _targets(brief: Brief) -> tuple[str, ...]:
    return tuple(target.name for target in brief.targets) or (NOWHERE,)


def _reached(targets: tuple[str, ...], *, half: bool) -> tuple[str, ...]:
    return targets[: max(1, len(targets) // 2)] if half else targets


def _plain(params: dict[str, Value]) -> Any:
    return json.loads(json.dumps(params))


def _is_torn(line: bytes) -> bool:
    return not (line.startswith(b"{") and line.endswith(b"}"))


def _parsed(line: bytes) -> dict[str, Any] | None:
    try:
        effect = json.loads(line)
    except ValueError:
        return None
    return effect if isinstance(effect, dict) and "targets" in effect else None
