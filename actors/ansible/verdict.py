"""Judges a play: what was meant to happen on which hosts, against what its events say.

1. No exit code decides; who was processed, and how, is what Ansible's statistics say of each host.
2. Without statistics a play did not come to its end, and what it began may have had its effect.
3. A declared failure is clean only while nothing is changed anywhere.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, Final

from actors.ansible.outputs import FAILURE, LEFT, STATE, folded, problem_with_published
from actors.ansible.results import shortened, words_of
from actors.ansible.sheet import matched
from actors.ansible.stage import target_names
from actors.spec import Done, Failed, Found, InDoubt, Unexpected

if TYPE_CHECKING:
    from pathlib import Path

    from actors.ansible.results import Host, Played
    from actors.ansible.sheet import Sheet
    from actors.ansible.shim import Ended
    from actors.spec import Brief, Outcome

__all__ = ["judge", "judge_verify", "not_ended"]

UNREACHABLE: Final = "unreachable"
STOPPED: Final = "stopped"


def judge(brief: Brief, sheet: Sheet, played: Played, ended: Ended | None, log: Path) -> Outcome:
    """Judge an apply or an undo."""
    broken = not_ended(brief, played, ended, log)
    if broken is not None:
        return broken
    names = target_names(brief)
    stats = played.stats or {}
    problem = problem_with_published(brief, played)
    if problem:
        return Unexpected(message=problem)
    dark = [name for name in names if name in stats and stats[name]["dark"]]
    failed = [name for name in names if name in stats and stats[name]["failures"]]
    if dark:
        reached = ended.reached if ended else list(names)
        return _unreached(brief, played, dark, [*failed, *(n for n in dark if n in reached)])
    if failed:
        return _failed(brief, sheet, played, failed)
    idle = [name for name in names if name not in stats]
    if idle:
        return Unexpected(message=f"the play did nothing on {_listed(idle)}")
    if brief.verb == "undo":
        return Done(changed=played.changed)
    outputs = folded(brief, sheet, played)
    if isinstance(outputs, str):
        return Unexpected(message=outputs)
    unchanged = tuple(name for name in names if played.changed and not played.host(name).changed)
    return Done(changed=played.changed, outputs=outputs, unchanged=unchanged)


def judge_verify(
    brief: Brief, sheet: Sheet, played: Played, ended: Ended | None, log: Path
) -> Outcome:
    """Judge what a verify read."""
    broken = not_ended(brief, played, ended, log)
    if isinstance(broken, Unexpected):
        return broken
    if broken is not None:
        return Found(state="unknown", message=getattr(broken, "message", ""))
    names = target_names(brief)
    stats = played.stats or {}
    unread = {name: why for name in names if (why := _unread(name, played, stats))}
    if unread:
        name, why = next(iter(unread.items()))
        return Found(state="unknown", message=f"{len(unread)} not read; {name}: {why}")
    problem = problem_with_published(brief, played)
    if problem:
        return Unexpected(message=problem)
    asked = [name for name in names if name not in brief.unchanged]
    states = {name: _state(brief, played.hosts[name]) for name in asked}
    if played.changed:
        changed = next(name for name in names if played.hosts[name].changed)
        return Unexpected(message=f"verify changed something on {changed}; it must only read")
    return _rolled_up(brief, sheet, played, states)


def _state(brief: Brief, host: Host) -> str:
    said = host.published.get(STATE)
    return "applied" if said is None and brief.spec.effect == "read" else str(said)


def _rolled_up(brief: Brief, sheet: Sheet, played: Played, states: dict[str, str]) -> Outcome:
    said = set(states.values())
    if "unknown" in said:
        return Found(state="unknown", message=_split(states))
    if said == {"not_applied"}:
        return Found(state="not_applied")
    if said != {"applied"}:
        return Found(state="partial", message=_split(states))
    outputs = folded(brief, sheet, played)
    if isinstance(outputs, str):
        return Unexpected(message=outputs)
    return Found(state="applied", outputs=outputs)


def _split(states: dict[str, str]) -> str:
    by_state: dict[str, list[str]] = {}
    for name, state in states.items():
        by_state.setdefault(state, []).append(name)
    return "; ".join(f"{state}: {_listed(names)}" for state, names in sorted(by_state.items()))


def _unread(name: str, played: Played, stats: dict[str, dict[str, int]]) -> str | None:
    if name not in stats:
        return "the play did nothing there"
    host = played.host(name)
    if stats[name]["dark"]:
        return f"unreachable: {_says(host.unreachable)}"
    if stats[name]["failures"]:
        return f"verify failed: {_says(host.failure)}"
    return None


def not_ended(brief: Brief, played: Played, ended: Ended | None, log: Path) -> Outcome | None:
    """Judge a play that did not come to its own end."""
    if played.foreign is not None:
        where, task = played.foreign["host"], played.foreign["task"]
        return Unexpected(message=f"{task!r} reached for {where}, which is no target; stopped")
    if ended is None:
        return InDoubt(message="who kept the play was killed")
    if ended.left:
        return InDoubt(message=f"processes of the play could not be ended: {ended.left}")
    if played.full:
        return InDoubt(message="more happened than events_mb allows to be written down; stopped")
    if ended.how == "timeout":
        return InDoubt(message=f"did not end within {_limit(brief)} s")
    if ended.how in ("stopped", "orphaned"):
        return _stopped(brief, played)
    if played.stats is None or played.torn:
        return _broken_off(played, ended, log)
    return None


def _limit(brief: Brief) -> int:
    declared: int = getattr(brief.spec.timeouts, f"{brief.verb}_s")
    return min(brief.timeout_s, declared)


def _stopped(brief: Brief, played: Played) -> Outcome:
    if not played.begun and brief.spec.failure(STOPPED):
        return Failed(mode=STOPPED, message="was asked to stop, before any task began")
    return InDoubt(message="was asked to stop, and stopped in the middle")


def _broken_off(played: Played, ended: Ended, log: Path) -> Outcome:
    how = f"signal {-ended.code}" if ended.code < 0 else f"exit {ended.code}"
    said = _lastwords_of(log)
    if played.begun:
        return InDoubt(message=f"Ansible ended in the middle ({how}): {said}")
    return Unexpected(message=f"Ansible could not begin ({how}): {said}")


def _lastwords_of(log: Path) -> str:
    try:
        with log.open("rb") as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - 20_000))
            text = file.read().decode("utf-8", "replace")
    except OSError:
        return "it said nothing"
    at = text.find("[ERROR]")
    return shortened(text[at:] if at >= 0 else text) or "it said nothing"


def _unreached(brief: Brief, played: Played, dark: list[str], dirty: list[str]) -> Outcome:
    """Judge a play with hosts in the dark; `dirty` ones failed, or were lost once reached."""
    says = "; ".join(f"{name}: {_says(played.host(name).unreachable)}" for name in dark[:3])
    local = [
        target.name for target in brief.targets if target.connection.get("transport") == "local"
    ]
    clean = not played.changed and not dirty and not set(dark) & set(local)
    if clean and brief.spec.failure(UNREACHABLE):
        return Failed(mode=UNREACHABLE, message=says)
    return InDoubt(message=f"{_listed(dark)} could not be reached: {says}")


def _failed(brief: Brief, sheet: Sheet, played: Played, failed: list[str]) -> Outcome:
    modes: dict[str, str] = {}
    for name in failed:
        host = played.host(name)
        mode = _mode(sheet, host)
        if mode is None or brief.spec.failure(mode) is None:
            return Unexpected(message=f"{name} failed in an undeclared way: {_says(host.failure)}")
        modes[name] = mode
    worst = min(modes, key=lambda name: _leaves(brief, modes[name]) != "partial")
    says = f"{worst}: {_says(played.host(worst).failure)}"
    if _leaves(brief, modes[worst]) == "partial":
        return Failed(mode=modes[worst], message=says)
    changed = [name for name, host in played.hosts.items() if host.changed and not _restored(host)]
    if changed:
        return InDoubt(
            message=f"failed as {modes[worst]} ({says}) after {_listed(changed)} changed"
        )
    return Failed(mode=modes[worst], message=says)


def _leaves(brief: Brief, mode: str) -> str:
    declared = brief.spec.failure(mode)
    return declared.leaves if declared else "partial"


def _mode(sheet: Sheet, host: Host) -> str | None:
    said = host.published.get(FAILURE)
    if isinstance(said, str):
        return said
    return matched(sheet, host.failure) if host.failure else None


def _restored(host: Host) -> bool:
    return host.published.get(LEFT) == "nothing"


def _says(event: dict[str, Any] | None) -> str:
    if event is None:
        return "it did not say why"
    return shortened(f"{event['task']!r}: {words_of(event)}")


def _listed(names: list[str]) -> str:
    shown = ", ".join(names[:5])
    return shown if len(names) <= 5 else f"{shown} and {len(names) - 5} more"
