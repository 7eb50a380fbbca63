"""Reads playbooks as a lint sees them: every task, with what it inherits and where it stands."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from actors.reading import read_yaml
from actors.strict import UnreadableError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from actors.reading import Read

__all__ = ["KEYWORDS", "Complaint", "Play", "Task", "is_off", "is_on", "read_book", "text_of"]

MAX_BYTES: Final = 500_000
BLOCKS: Final = ("block", "rescue", "always")
KEYWORDS: Final = frozenset(
    [
        "action",
        "any_errors_fatal",
        "args",
        "async",
        "become",
        "become_exe",
        "become_flags",
        "become_method",
        "become_user",
        "changed_when",
        "check_mode",
        "collections",
        "connection",
        "debugger",
        "delay",
        "delegate_facts",
        "delegate_to",
        "diff",
        "environment",
        "failed_when",
        "ignore_errors",
        "ignore_unreachable",
        "listen",
        "local_action",
        "loop",
        "loop_control",
        "module_defaults",
        "name",
        "no_log",
        "notify",
        "poll",
        "port",
        "register",
        "remote_user",
        "retries",
        "run_once",
        "tags",
        "throttle",
        "timeout",
        "until",
        "vars",
        "when",
        "with_items",
        "with_dict",
        "with_fileglob",
        "with_first_found",
        "with_sequence",
        "with_together",
        "with_nested",
        "with_subelements",
        "with_indexed_items",
        "block",
        "rescue",
        "always",
    ]
)


class Complaint(NamedTuple):
    """What is wrong with a folder: a stable code, words, a file below it, a line."""

    code: str
    message: str
    file: str
    line: int


@dataclass(frozen=True, slots=True)
class Play:
    """One play, without its tasks."""

    file: str
    line: int
    said: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Task:
    """One task, and the blocks and the play around it, the nearest first."""

    file: str
    line: int
    said: dict[str, Any]
    around: tuple[dict[str, Any], ...]

    @property
    def module(self) -> str | None:
        """Name its module, as it is written; nothing if there is not exactly one."""
        names = [name for name in self.said if name not in KEYWORDS]
        return names[0] if len(names) == 1 else None

    @property
    def args(self) -> Any:
        """Return what its module is told."""
        return self.said.get(self.module or "")

    def inherited(self, keyword: str) -> Any:
        """Find a keyword here, or in what is around."""
        return next((one[keyword] for one in (self.said, *self.around) if keyword in one), None)

    def conditions(self) -> str:
        """Return all conditions under which it runs."""
        return " ".join(text_of(one["when"]) for one in (self.said, *self.around) if "when" in one)


def read_book(
    folder: Path, name: str, *, plays: bool
) -> tuple[list[Play], list[Task], list[Complaint]]:
    """Read one file: a playbook, or (without plays) a list of tasks."""
    try:
        read = read_yaml((folder / name).read_bytes(), max_bytes=MAX_BYTES)
    except UnreadableError as error:
        return [], [], [Complaint("A-unreadable", error.reason, name, error.line or 1)]
    if not isinstance(read.value, list):
        what = "plays" if plays else "tasks"
        return [], [], [Complaint("A-unreadable", f"is not a list of {what}", name, 1)]
    if not plays:
        return [], list(_tasks(name, read, (), read.value, ())), []
    found: list[Play] = []
    tasks: list[Task] = []
    for number, said in enumerate(read.value):
        if isinstance(said, dict):
            found.append(Play(name, read.line_of((number,)), said))
            for section in ("pre_tasks", "tasks", "post_tasks", "handlers"):
                inner = said.get(section) or []
                tasks += _tasks(name, read, (number, section), inner, (said,))
    return found, tasks, []


def _tasks(
    file: str,
    read: Read,
    path: tuple[str | int, ...],
    listed: object,
    around: tuple[dict[str, Any], ...],
) -> Iterator[Task]:
    for number, said in enumerate(listed if isinstance(listed, list) else ()):
        here = (*path, number)
        if not isinstance(said, dict):
            continue
        if "block" not in said:
            yield Task(file, read.line_of(here), said, around)
            continue
        for section in BLOCKS:
            inner = said.get(section) or []
            yield from _tasks(file, read, (*here, section), inner, (said, *around))


def text_of(value: Any) -> str:
    """Write a value as one text in which names can be searched."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def is_on(value: object) -> bool:
    """Say whether Ansible would take a value as true, whatever its spelling."""
    return value is True or (isinstance(value, str) and value.lower() in ("yes", "on", "true", "1"))


def is_off(value: object) -> bool:
    """Say whether Ansible would take a value as false, whatever its spelling."""
    return value is False or (
        isinstance(value, str) and value.lower() in ("no", "off", "false", "0")
    )
