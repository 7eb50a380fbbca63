"""What tests of an actor need to know of its playbooks: where to cut them, what they got wrong."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from actors.ansible.results import read_events
from actors.ansible.stage import EVENTS
from actors.kinds import ActorsError
from actors.reading import read_yaml
from actors.strict import UnreadableError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from actors.spec import Verb

__all__ = ["cut", "cuts", "surprises"]

BOOKS: Final[dict[str, str]] = {"apply": "apply.yml", "undo": "undo.yml"}
MAX_PLAYBOOK_BYTES: Final = 1_000_000
CUT: Final = {
    "name": "Cut off here, by a test",
    "ansible.builtin.fail": {"msg": "cut off by a test"},
}


class _Leaf(NamedTuple):
    """A task that is no block, and where it stands."""

    task: dict[str, Any]
    beside: list[Any]
    place: int
    around: tuple[dict[str, Any], ...]


def cuts(folder: Path, acted: Path, verb: Verb = "apply") -> tuple[int, ...]:
    """List the places behind the tasks that changed something in an act that was seen."""
    changed = {task for _, task in _changes(acted / f"ansible-{verb}" / EVENTS)}
    leaves = [leaf for tasks in _task_lists(_plays(folder, verb)) for leaf in _leaves(tasks)]
    return tuple(at for at, leaf in enumerate(leaves, 1) if str(leaf.task.get("name")) in changed)


def cut(folder: Path, copy: Path, after: int, verb: Verb = "apply") -> None:
    """Copy an actor, so that a verb of it fails once so many of its tasks are done."""
    shutil.copytree(folder, copy)
    plays = _plays(folder, verb)
    leaves = [leaf for tasks in _task_lists(plays) for leaf in _leaves(tasks)]
    for block in leaves[after - 1].around:
        # Whoever is killed comes to no rescue.
        block.pop("rescue", None)
        block.pop("always", None)
    leaves[after - 1].beside.insert(leaves[after - 1].place + 1, CUT)
    (copy / BOOKS[verb]).write_text(json.dumps(plays, indent=1), encoding="utf-8")


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


def _leaves(tasks: list[Any], around: tuple[dict[str, Any], ...] = ()) -> Iterator[_Leaf]:
    """Yield the tasks that are no blocks, in the order in which they are done if none fails."""
    for place, task in enumerate(tasks):
        if "block" in task:
            yield from _leaves(task["block"], (*around, task))
        else:
            yield _Leaf(task, tasks, place, around)


def _plays(folder: Path, verb: Verb) -> Any:
    path = folder / BOOKS[verb]
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
