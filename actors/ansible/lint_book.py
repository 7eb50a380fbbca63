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

__all__ = [
    "BLOCKS",
    "BOOKS",
    "KEYWORDS",
    "LOOKUPS",
    "ON_BLOCKS",
    "ON_TASKS",
    "REFUSED",
    "SECTIONS",
    "Complaint",
    "Play",
    "Task",
    "read_book",
    "read_mapping",
    "text_of",
]

MAX_BYTES: Final = 500_000
BOOKS: Final = ("apply.yml", "verify.yml", "undo.yml")
BLOCKS: Final = ("block", "rescue", "always")
SECTIONS: Final = ("pre_tasks", "tasks", "post_tasks", "handlers")
LOOKUPS: Final = "with_"
ON_ALL: Final = frozenset(
    [
        "any_errors_fatal",
        "become",
        "become_user",
        "check_mode",
        "delegate_to",
        "diff",
        "environment",
        "ignore_errors",
        "ignore_unreachable",
        "name",
        "no_log",
        "run_once",
        "tags",
        "throttle",
        "timeout",
        "vars",
        "when",
    ]
)
"""Keywords that a task and a block may say."""
ON_TASKS: Final = ON_ALL | {
    "async",
    "changed_when",
    "delay",
    "failed_when",
    "listen",
    "loop",
    "loop_control",
    "notify",
    "poll",
    "register",
    "retries",
    "until",
}
ON_BLOCKS: Final = ON_ALL | {*BLOCKS, "notify"}
REFUSED: Final = {
    "action": ("A-module", "name the module itself"),
    "args": ("A-args", "write the arguments below the module"),
    "become_exe": ("A-reach", "how a target is reached says the inventory"),
    "become_flags": ("A-reach", "how a target is reached says the inventory"),
    "become_method": ("A-reach", "how a target is reached says the inventory"),
    "collections": ("A-module", "write the full name of each module"),
    "connection": ("A-reach", "how a target is reached says the inventory"),
    "debugger": ("A-keyword", "nobody sits at an act"),
    "delegate_facts": ("A-delegate", "facts of another host are not an actor's to set"),
    "local_action": ("A-delegate", "that acts on the controller"),
    "module_defaults": ("A-args", "write the arguments below the module"),
    "port": ("A-reach", "how a target is reached says the inventory"),
    "remote_user": ("A-reach", "how a target is reached says the inventory"),
}
"""Keywords of Ansible that an actor has no use for, and why."""
KEYWORDS: Final = ON_TASKS | frozenset(BLOCKS) | frozenset(REFUSED)


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
        names = [
            name for name in self.said if name not in KEYWORDS and not name.startswith(LOOKUPS)
        ]
        return names[0] if len(names) == 1 else None

    @property
    def args(self) -> Any:
        """Return what its module is told."""
        return self.said.get(self.module or "")

    @property
    def inner(self) -> tuple[dict[str, Any], ...]:
        """Return it and the blocks around it, without the play."""
        return (self.said, *(self.around[:-1] if self.file in BOOKS else self.around))

    @property
    def defaults(self) -> Any:
        """Return what its play tells its module."""
        said = self.around[-1].get("module_defaults") if self.file in BOOKS else None
        return said.get(self.module) if isinstance(said, dict) else None

    def inherited(self, keyword: str) -> Any:
        """Find a keyword here, or in what is around."""
        return next((one[keyword] for one in (self.said, *self.around) if keyword in one), None)

    def conditions(self) -> str:
        """Return all conditions under which it runs."""
        return " ".join(text_of(one["when"]) for one in (self.said, *self.around) if "when" in one)

    def told(self) -> Iterator[Any]:
        """Yield all that it says, with the arguments from its play, and what blocks ask."""
        yield self.said
        yield self.defaults
        for one in self.inner[1:]:
            yield {name: value for name, value in one.items() if name not in BLOCKS}


def read_book(
    folder: Path, name: str, *, plays: bool
) -> tuple[list[Play], list[Task], list[Complaint]]:
    """Read one file: a playbook, or (without plays) a list of tasks."""
    read = _read(folder, name)
    if isinstance(read, Complaint):
        return [], [], [read]
    problems: list[Complaint] = []
    if not plays:
        return [], list(_tasks(_File(name, read, problems), (), read.value, ())), problems
    found: list[Play] = []
    tasks: list[Task] = []
    file = _File(name, read, problems)
    for number, said in _mappings(file, (), read.value, "plays"):
        found.append(Play(name, read.line_of((number,)), said))
        for section in SECTIONS:
            tasks += _tasks(file, (number, section), said.get(section), (said,))
    return found, tasks, problems


def read_mapping(folder: Path, name: str) -> tuple[dict[str, Any], list[Complaint]]:
    """Read a file of variables."""
    read = _read(folder, name)
    if isinstance(read, Complaint):
        return {}, [read]
    if not isinstance(read.value, dict):
        return {}, [Complaint("A-unreadable", "is not a mapping", name, 1)]
    return read.value, []


def _read(folder: Path, name: str) -> Read | Complaint:
    try:
        return read_yaml((folder / name).read_bytes(), max_bytes=MAX_BYTES)
    except UnreadableError as error:
        return Complaint("A-unreadable", error.reason, name, error.line or 1)


class _File(NamedTuple):
    """A file that is being read."""

    name: str
    read: Read
    problems: list[Complaint]


def _mappings(
    file: _File, path: tuple[str | int, ...], listed: object, what: str
) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield the mappings of a list; whatever else stands there is a problem."""
    line = file.read.line_of(path)
    if not isinstance(listed, list):
        says = f"is not a list of {what}"
        file.problems.append(Complaint("A-unreadable", says, file.name, line))
        return
    for number, said in enumerate(listed):
        if isinstance(said, dict):
            yield number, said
        else:
            says = f"is not one of {what}: write it as a mapping"
            line = file.read.line_of((*path, number))
            file.problems.append(Complaint("A-unreadable", says, file.name, line))


def _tasks(
    file: _File,
    path: tuple[str | int, ...],
    listed: object,
    around: tuple[dict[str, Any], ...],
) -> Iterator[Task]:
    if listed is None and path:
        return
    for number, said in _mappings(file, path, listed, "tasks"):
        here = (*path, number)
        if "block" not in said:
            yield Task(file.name, file.read.line_of(here), said, around)
            continue
        for section in BLOCKS:
            yield from _tasks(file, (*here, section), said.get(section), (said, *around))


def text_of(value: Any) -> str:
    """Write a value as one text in which names can be searched."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
