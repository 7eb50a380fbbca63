"""A dry run of many hosts with much to show still has an outcome that can be read."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

import pytest

from actors.ansible.predict import NO_ROOM, predicted
from actors.ansible.results import read_play
from actors.ansible.shim import Ended
from actors.spec import Predicted, Target
from ansible_rig import Actor
from orchestrator.act import read_outcome, write_outcome

if TYPE_CHECKING:
    from pathlib import Path

HOSTS: Final = tuple(f"host{number}" for number in range(200))
WHAT: Final = {
    "plain": "x" * 30_000,
    "control characters": "\x01" * 30_000,
    "of four bytes": "\N{GRINNING FACE}" * 30_000,
}


def events(file: Path, after: str, tasks: int = 1) -> Path:
    """Write the events of a dry run that would change one file on every host."""
    said: list[dict[str, Any]] = [{"event": "start"}]
    for number in range(tasks):
        task = f"Write file {number}"
        said.append({"event": "task", "task": task})
        result = {"changed": True, "dest": "/etc/motd", "diff": {"before": "", "after": after}}
        said += [{"event": "ok", "host": name, "task": task, "result": result} for name in HOSTS]
    counts = dict.fromkeys(HOSTS, 1)
    nothing = ("changed", "failures", "dark", "skipped", "rescued", "ignored")
    said.append({"event": "stats", "processed": counts, "ok": counts, **{n: {} for n in nothing}})
    file.write_text("".join(f"{json.dumps(event)}\n" for event in said))
    return file


def seen(tmp_path: Path, after: str, tasks: int = 1) -> Predicted:
    actor = Actor(tmp_path / "actors", targets=tuple(Target(name=name) for name in HOSTS))
    actor.write("- {name: Nothing, ansible.builtin.ping: {}}")
    file = events(tmp_path / "events.jsonl", after, tasks)
    ended = Ended(how="ended", code=0, left=[], reached=[])
    outcome = predicted(actor.brief("check"), read_play(file), ended, file, tmp_path / "log")
    write_outcome(tmp_path, outcome)
    assert read_outcome(tmp_path) == outcome, "it can be read again"
    assert isinstance(outcome, Predicted)
    return outcome


@pytest.mark.parametrize("what", WHAT)
def test_every_host_is_listed_although_not_every_diff_has_room(tmp_path: Path, what: str) -> None:
    outcome = seen(tmp_path, WHAT[what])
    assert [change.target for change in outcome.changes] == list(HOSTS)
    assert outcome.grade == "predicted"
    assert NO_ROOM not in outcome.changes[0].diff
    assert outcome.changes[-1].diff == NO_ROOM


def test_what_is_not_listed_is_counted(tmp_path: Path) -> None:
    outcome = seen(tmp_path, "x\n", tasks=11)
    assert len(outcome.changes) == 2_000
    assert (outcome.grade, outcome.message) == ("partial", "200 more changes are not listed")
