"""Follows names through a folder: what a variable is set to, who holds a secret, who comes where.

1. What a task registers holds what the task was told, unless a module of the folder answered.
2. A variable is literal if all that set it anywhere in the folder write it out.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from actors.ansible.lint_book import BOOKS, Complaint
from actors.ansible.lint_files import sources_meant, tasks_meant
from actors.ansible.lint_text import hands_on, is_literal, lookups, texts

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from actors.ansible.lint_book import Play, Task

__all__ = ["BY_FILE", "BY_ROLE", "Names", "Said", "judge_names", "reached", "roles_of", "said_by"]

BY_FILE: Final = ("ansible.builtin.import_tasks", "ansible.builtin.include_tasks")
BY_ROLE: Final = ("ansible.builtin.import_role", "ansible.builtin.include_role")
IDENTIFIER: Final = re.compile(r"[A-Za-z_]\w*")
RESERVED: Final = re.compile(r"(?:ansible|delegated|discovered|inventory)_.*|interlock.*")
MAGIC: Final = frozenset([
    "environment", "group_names", "groups", "hostvars", "lookup", "omit", "play_hosts",
    "playbook_dir", "q", "query", "role_name", "role_names", "role_path", "undef", "vars",
])  # fmt: skip
SOMETHING: Final = "{{ 0 }}"
"""What is not known before it runs."""
CHOICE: Final = re.compile(
    r"\{\{\s*(\w+)\s*(\[[^\]{}|()]*\])?\s*(?:\|\s*default\(omit\)\s*)?\}\}\s*"
)


class Said(NamedTuple):
    """A variable, what it is set to, and where."""

    name: str
    value: Any
    file: str
    line: int


@dataclass(frozen=True, slots=True)
class Names:
    """What is known of names across the whole folder."""

    files: tuple[str, ...]
    own: frozenset[str]
    """Modules in the folder's own library."""
    said: tuple[Said, ...]
    templates: dict[str, tuple[str, ...]]
    """By file: what stands in braces there."""
    books: dict[str, frozenset[str]]
    """By file of tasks: the playbooks that may come to it."""
    reading: frozenset[str]
    """Playbooks that must only read."""

    def secret(self) -> frozenset[str]:
        """Find the variables that may hold a secret."""
        found: frozenset[str] = frozenset()
        while True:
            more = {one.name for one in self.said if self.tells(one.file, one.value, found)}
            if more <= found:
                return found
            found |= more

    def tells(self, file: str, value: Any, secret: frozenset[str]) -> bool:
        """Say whether a value may hand on a secret, be it by way of a template of the folder."""
        return any(
            hands_on(text, secret)
            or any(
                hands_on(inner, secret)
                for found in lookups(text)
                for name in sources_meant(file, found.path, "templates", self.files)
                for inner in self.templates.get(name, ())
            )
            for text in texts(value)
        )

    def choices(self, value: Any) -> list[Any] | None:
        """List what a value may be, if it is literal or chosen from a literal variable."""
        if is_literal(value):
            return [value]
        chosen = CHOICE.fullmatch(value) if isinstance(value, str) else None
        found = [one.value for one in self.said if chosen and one.name == chosen.group(1)]
        if chosen is None or not found or not all(is_literal(one) for one in found):
            return None
        if chosen.group(2) is None:
            return found
        if not all(isinstance(one, dict) for one in found):
            return None
        return [inner for one in found for inner in one.values()]


def said_by(
    plays: list[Play], tasks: list[Task], files: dict[str, dict[str, Any]], own: frozenset[str]
) -> Iterator[Said]:
    """Yield every variable that a folder sets."""
    for play in plays:
        for one in (play.said, *_listed(play.said.get("roles"))):
            if isinstance(one, dict):
                yield from _pairs(one.get("vars"), play.file, play.line)
    for file, said in files.items():
        yield from _pairs(said, file, 1)
    for task in tasks:
        yield from _by_task(task, own)


def _by_task(task: Task, own: frozenset[str]) -> Iterator[Said]:
    for one in task.inner:
        yield from _pairs(one.get("vars"), task.file, task.line)
    if task.module == "ansible.builtin.set_fact":
        yield from _pairs(task.args, task.file, task.line)
    if "loop" in task.said:
        control = task.said.get("loop_control")
        names = control if isinstance(control, dict) else {}
        for name in (names.get("loop_var", "item"), names.get("index_var")):
            yield from _one(name, [task.said["loop"], SOMETHING], task)
    # What a module of the folder answers is its own affair: it can leave a secret out.
    answer = SOMETHING if task.module in own else [*task.told(), SOMETHING]
    yield from _one(task.said.get("register"), answer, task)


def _one(name: object, value: Any, task: Task) -> Iterator[Said]:
    if name is not None:
        yield Said(str(name), value, task.file, task.line)


def _pairs(said: object, file: str, line: int) -> Iterator[Said]:
    if isinstance(said, dict):
        for name, value in said.items():
            yield Said(name, value, file, line)


def _listed(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


def judge_names(said: Iterable[Said]) -> Iterator[Complaint]:
    """Yield the variables that are not an actor's to set."""
    for name, file, line in sorted({(one.name, one.file, one.line) for one in said}):
        if RESERVED.fullmatch(name) or name in MAGIC:
            says = f"sets {name}: that is not an actor's, and where it acts says the inventory"
            yield Complaint("A-reserved-var", says, file, line)
        elif not IDENTIFIER.fullmatch(name):
            says = f"sets {name!r}: write the variable's name out"
            yield Complaint("A-reserved-var", says, file, line)


def roles_of(play: Play) -> list[Any]:
    """Name the roles of a play."""
    entries = _listed(play.said.get("roles"))
    return [one.get("role", one.get("name")) if isinstance(one, dict) else one for one in entries]


def reached(
    plays: list[Play], tasks: list[Task], files: tuple[str, ...]
) -> dict[str, frozenset[str]]:
    """Say for each file of tasks which verbs' playbooks may come to it."""
    into: dict[str, set[str]] = {}
    for play in plays:
        for role in roles_of(play):
            into.setdefault(play.file, set()).update(_of_role(role, files))
    for task in tasks:
        into.setdefault(task.file, set()).update(_brought_in(task, files))
    found: dict[str, frozenset[str]] = {}
    for book in BOOKS:
        seen, waiting = {book}, [book]
        while waiting:
            more = into.get(waiting.pop(), set()) - seen
            seen |= more
            waiting += more
        for name in seen:
            found[name] = found.get(name, frozenset()) | {book}
    return found


def _brought_in(task: Task, files: tuple[str, ...]) -> Iterable[str]:
    args = task.args if isinstance(task.args, dict) else {"file": task.args}
    if task.module in BY_FILE:
        return tasks_meant(task.file, args.get("file"), files)
    return _of_role(args.get("name"), files) if task.module in BY_ROLE else ()


def _of_role(role: object, files: tuple[str, ...]) -> Iterator[str]:
    return (name for name in files if name.startswith(f"roles/{role}/"))
