"""Reads a dry run: what would change on which host, and how far that can be trusted.

1. A task is *predicted* if its module looked at the host and said what it would do.
2. What check mode skips, and what depends on it, is not predicted: the step is graded down for it.
3. The grade of a step is the worst of its tasks, and never better than its manifest says.
"""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING, Any, Final

from actors.ansible.results import read_events, shortened
from actors.ansible.stage import target_names
from actors.spec import Change, InDoubt, Predicted, Unexpected

if TYPE_CHECKING:
    from pathlib import Path

    from actors.ansible.results import Played
    from actors.ansible.shim import Ended
    from actors.spec import Brief, Outcome

__all__ = ["predicted"]

MAX_DIFF: Final = 20_000
GRADES: Final = ("none", "partial", "predicted")


def predicted(
    brief: Brief, played: Played, ended: Ended | None, events: Path, log: Path
) -> Outcome:
    """Judge a dry run."""
    from actors.ansible.verdict import not_ended  # noqa: PLC0415 - placeholder

    broken = not_ended(brief, played, ended, log)
    if isinstance(broken, Unexpected):
        return broken
    if isinstance(broken, InDoubt):
        return Predicted(grade="none", message=broken.message)
    changes: list[Change] = []
    blind: list[str] = []
    for event in read_events(events):
        if event is None or event["event"] not in ("ok", "failed", "skipped", "unreachable"):
            continue
        _take(event, changes, blind)
    stats = played.stats or {}
    silent = [name for name in target_names(brief) if name not in stats]
    grade = "predicted" if not blind and not silent else "partial"
    if silent:
        blind.append(f"{silent[0]}: nothing was looked at")
    grade = min(grade, brief.spec.dry_run, key=GRADES.index)
    return Predicted(grade=grade, changes=tuple(changes), message="; ".join(blind[:20]))  # type: ignore[arg-type]  # one of GRADES


def _take(event: dict[str, Any], changes: list[Change], blind: list[str]) -> None:
    host, result = event["host"], event["result"]
    if event["event"] in ("failed", "unreachable") and not event.get("ignored"):
        blind.append(f"{host}: {event['task']!r} could not be predicted: {shortened(result.get('msg'))}")
    elif event["event"] == "skipped" and "false_condition" not in result:
        blind.append(f"{host}: {event['task']!r} is skipped by check mode")
    elif result.get("changed"):
        changes.append(Change(target=host, summary=event["task"], diff=_diff(event)))


def _diff(event: dict[str, Any]) -> str:
    found = event["result"].get("diff")
    parts = found if isinstance(found, list) else [found]
    return "".join(_unified(part) for part in parts if isinstance(part, dict))[:MAX_DIFF]


def _unified(part: dict[str, Any]) -> str:
    before, after = str(part.get("before") or ""), str(part.get("after") or "")
    name = str(part.get("before_header") or part.get("after_header") or "")
    lines = difflib.unified_diff(
        before.splitlines(keepends=True), after.splitlines(keepends=True), name, name
    )
    return "".join(lines)
