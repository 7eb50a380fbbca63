"""What tests of an actor need to know of its playbooks: where to cut them, what they got wrong."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from typing import TYPE_CHECKING, Any, Final

from actors.ansible.results import read_events
from actors.ansible.stage import EVENTS
from actors.kinds import ActorsError
from actors.reading import read_yaml
from actors.strict import UnreadableError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["cut", "cuts", "surprises"]

APPLY: Final = "apply.yml"
MAX_PLAYBOOK_BYTES: Final = 1_000_000
CUT: Final = {
    "name": "Cut off here, by a test",
    "ansible.builtin.fail": {"msg": "cut off by a test"},
}


def cuts(folder: Path, applied: Path) -> tuple[int, ...]:
    """List the places behind the tasks that changed something in an apply that was seen."""
    changed = {task for _, task in _changes(applied / "ansible-apply" / EVENTS)}
    tasks = [task for tasks in _task_lists(_plays(folder)) for task in tasks]
    return tuple(at for at, task in enumerate(tasks, 1) if changed & set(_names(task)))


def cut(folder: Path, copy: Path, after: int) -> None:
    """Copy an actor, so that its apply fails once so many of its tasks are done."""
    shutil.copytree(folder, copy)
    plays = _plays(folder)
    for tasks in _task_lists(plays):
        if after <= len(tasks):
            tasks.insert(after, CUT)
            break
        after -= len(tasks)
    (copy / APPLY).write_text(json.dumps(plays, indent=1), encoding="utf-8")


def surprises(checked: Path, applied: Path) -> tuple[str, ...]:
    """List the tasks of which a check said one thing and the apply did another."""
    said = Counter(_changes(checked / "ansible-check" / EVENTS))
    done = Counter(_changes(applied / "ansible-apply" / EVENTS))
    unmade = [
        f"{host}: {task!r} was to change something, and did not" for host, task in said - done
    ]
    unsaid = [f"{host}: {task!r} changed something unforeseen" for host, task in done - said]
    return tuple(sorted([*unmade, *unsaid]))


def _changes(events: Path) -> Iterator[tuple[str, str]]:
    for event in read_events(events):
        if event is not None and event["event"] == "ok" and event["result"].get("changed"):
            yield event["host"], event["task"]


def _names(task: dict[str, Any]) -> Iterator[str]:
    """Name a task, and all within it."""
    yield str(task.get("name"))
    for part in ("block", "rescue", "always"):
        for inner in task.get(part) or ():
            yield from _names(inner)


def _plays(folder: Path) -> Any:
    path = folder / APPLY
    try:
        return read_yaml(path.read_bytes(), max_bytes=MAX_PLAYBOOK_BYTES).value
    except UnreadableError as error:
        raise ActorsError(
            f"{path}:{error.line or 1}: {error.reason}", next_step="mend it"
        ) from None


def _task_lists(plays: Any) -> Iterator[list[Any]]:
    for play in plays:
        if play.get("tasks"):
            yield play["tasks"]
