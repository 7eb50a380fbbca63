"""Reads a dry run: what would change on which host, and how far that can be trusted.

1. A task is *predicted* on a host if its module looked at the host and said what it would do.
2. What check mode skips is *not predicted*, and what fails after such a task is *not predictable*:
   it may only lack what the skipped one would have said.
3. A step is graded by its tasks: all predicted, or some, or none; and never better than its
   manifest says.
4. A failure that is not due to check mode is one that `apply` would meet: it is said, and what
   would have come after it is not predictable.
"""

from __future__ import annotations

import difflib
import json
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Literal

from actors.ansible.results import read_events, shortened, words_of
from actors.ansible.stage import target_names
from actors.ansible.verdict import not_ended
from actors.spec import Change, InDoubt, Predicted

if TYPE_CHECKING:
    from pathlib import Path

    from actors.ansible.results import Played
    from actors.ansible.shim import Ended
    from actors.spec import Brief, Outcome

__all__ = ["TaskGrade", "predicted"]

MAX_DIFF: Final = 20_000
MAX_CHANGES: Final = 2_000
MAX_SAID: Final = 12
MAX_DIFFS: Final = 2_000_000
MAX_LISTED: Final = 1_000_000
"""Characters of all diffs, and of all else: an outcome of 4 MB would be none at all."""
GRADES: Final = ("none", "partial", "predicted")
NO_ROOM: Final = "(not shown: the diffs of this step are too large together)\n"
RANDOM: Final = re.compile(r"/(?:\.ansible/tmp|ansible-local-|ansible-tmp-|ansible\.)")
"""A file that Ansible made for itself: its name is another each time."""

TaskGrade = Literal["predicted", "skipped_by_check_mode", "not_predictable"]


@dataclass(slots=True)
class _Seen:
    """What a dry run showed so far."""

    changes: list[tuple[int, Change]] = field(default_factory=list)
    """Each with the number of its task."""
    tasks: int = 0
    grades: dict[str, dict[str, TaskGrade]] = field(default_factory=dict)
    """By task, then by host."""
    blind: set[str] = field(default_factory=set)
    """Hosts on which a task has not been predicted."""
    would_fail: list[str] = field(default_factory=list)
    more: int = 0
    listed: int = 0
    shown: int = 0

    def grade(self, event: dict[str, Any], grade: TaskGrade) -> None:
        """Grade a task on a host."""
        self.grades.setdefault(event["task"], {})[event["host"]] = grade
        if grade != "predicted":
            self.blind.add(event["host"])


def predicted(
    brief: Brief, played: Played, ended: Ended | None, events: Path, log: Path
) -> Outcome:
    """Judge a dry run."""
    broken = not_ended(brief, played, ended, log)
    if isinstance(broken, InDoubt):
        return Predicted(grade="none", message=broken.message)
    if broken is not None:
        return broken
    seen = _Seen()
    for event in read_events(events):
        if event is not None:
            _take(seen, event)
    stats = played.stats or {}
    idle = [name for name in target_names(brief) if name not in stats]
    _keep(events.with_name("prediction.json"), seen)
    grade = min(_rolled_up(seen, idle), brief.spec.dry_run, key=GRADES.index)
    # Hosts answer in any order; tasks do not.
    place = {name: number for number, name in enumerate(target_names(brief))}
    changes = tuple(
        change
        for _, change in sorted(seen.changes, key=lambda c: (c[0], place.get(str(c[1].target), 0)))
    )
    return Predicted(grade=grade, changes=changes, message="; ".join(_said(seen, idle)))


def _take(seen: _Seen, event: dict[str, Any]) -> None:
    match event["event"]:
        case "task":
            seen.tasks += 1
        case "ok":
            seen.grade(event, "predicted")
            _take_change(seen, event)
        case "skipped" if "censored" in event["result"]:
            # The condition that did not hold is hidden with the rest, so why is not known.
            seen.grade(event, "not_predictable")
        case "skipped" if "false_condition" not in event["result"]:
            seen.grade(event, "skipped_by_check_mode")
        case "failed" if event.get("ignored"):
            seen.grade(event, "not_predictable" if event["host"] in seen.blind else "predicted")
        case "failed" | "unreachable":
            if event["host"] not in seen.blind:
                seen.would_fail.append(f"{event['host']}: {event['task']!r}: {words_of(event)}")
            seen.grade(event, "not_predictable")
        case _:
            return


def _take_change(seen: _Seen, event: dict[str, Any]) -> None:
    if not event["result"].get("changed"):
        return
    summary = shortened(event["task"])[:300]
    seen.listed += len(json.dumps([event["host"], summary, NO_ROOM]))
    if len(seen.changes) >= MAX_CHANGES or seen.listed > MAX_LISTED:
        seen.more += 1
        return
    diff = diff_of(event)
    size = len(json.dumps(diff))
    if seen.shown + size > MAX_DIFFS:
        diff, size = NO_ROOM, len(json.dumps(NO_ROOM))
    seen.shown += size
    seen.changes.append((seen.tasks, Change(target=event["host"], summary=summary, diff=diff)))


def _rolled_up(seen: _Seen, idle: list[str]) -> Literal["predicted", "partial", "none"]:
    said = {grade for by_host in seen.grades.values() for grade in by_host.values()}
    if "predicted" not in said:
        return "none"
    return "predicted" if said == {"predicted"} and not idle and not seen.more else "partial"


def _said(seen: _Seen, idle: list[str]) -> list[str]:
    words = {
        "skipped_by_check_mode": "not predicted, because check mode skips it",
        "not_predictable": "not predictable",
    }
    said = [f"would fail: {shortened(text)}" for text in seen.would_fail[:MAX_SAID]]
    for task, by_host in seen.grades.items():
        for grade, text in words.items():
            hosts = [host for host, its in by_host.items() if its == grade]
            if hosts:
                said.append(f"{task!r} is {text} ({len(hosts)} of {len(by_host)} targets)")
    if idle:
        said.append(f"nothing was looked at on {', '.join(idle[:5])}")
    if seen.more:
        said.append(f"{seen.more} more changes are not listed")
    if len(said) > MAX_SAID:
        said[MAX_SAID:] = [f"and {len(said) - MAX_SAID} more"]
    return said


def diff_of(event: dict[str, Any]) -> str:
    """Make one unified diff of all that a result shows."""
    result = event["result"]
    if "censored" in result:
        return "(hidden: the task has no_log)\n"
    name = next((result[key] for key in ("dest", "path", "name") if result.get(key)), event["task"])
    parts = [result, *(item for item in result.get("results") or () if isinstance(item, dict))]
    found = [part.get("diff") for part in parts]
    flat = [one for diff in found for one in (diff if isinstance(diff, list) else [diff])]
    text = "".join(_unified(one, str(name)) for one in flat if isinstance(one, dict))
    if len(text) <= MAX_DIFF:
        return text
    return f"{text[:MAX_DIFF]}\n… {len(text) - MAX_DIFF} more characters\n"


def _unified(part: dict[str, Any], name: str) -> str:
    if part.get("prepared"):
        return f"{str(part['prepared']).rstrip()}\n"
    for key in ("src_binary", "dst_binary", "src_larger", "dst_larger"):
        if part.get(key):
            return f"(no diff: {key.replace('_', ' ')})\n"
    before, after = _lines(part.get("before")), _lines(part.get("after"))
    said = (str(part.get(key) or "") for key in ("before_header", "after_header"))
    header = next((text for text in said if text and not RANDOM.search(text)), name)
    return "".join(difflib.unified_diff(before, after, header, header))


def _lines(side: object) -> list[str]:
    if side is None:
        return []
    text = side if isinstance(side, str) else json.dumps(side, indent=1, sort_keys=True) + "\n"
    lines = text.splitlines(keepends=True)
    if lines and not lines[-1].endswith("\n"):
        lines[-1] += "\n\\ No newline at end of file\n"
    return lines


def _keep(file: Path, seen: _Seen) -> None:
    with file.open("x", encoding="utf-8") as written:
        json.dump({"format": 1, "tasks": seen.grades, "would_fail": seen.would_fail}, written)
