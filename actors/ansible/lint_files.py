"""Knows which files an actor's folder may hold, and which of them a path in a playbook means.

1. Ansible loads nothing of a folder that is not listed here, so nothing else may be there.
2. A path is written out, and stays below the folder: what the digest does not cover is not used.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Final

from actors.ansible.lint_book import BOOKS, Complaint
from actors.ansible.sheet import SHEET

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = [
    "has_role",
    "holds_tasks",
    "holds_templates",
    "holds_vars",
    "own_modules",
    "sources_meant",
    "strays",
    "tasks_meant",
    "vars_meant",
]

FILES: Final = ("actor.yaml", SHEET, "evidence.json", "README.md", *BOOKS)
ROLE: Final = r"(?:roles/[A-Za-z][\w-]*/)"
TASKS: Final = re.compile(rf"{ROLE}?(?:tasks|handlers)/.+\.ya?ml")
VARS: Final = re.compile(rf"vars/.+\.ya?ml|{ROLE}(?:vars|defaults)/.+\.ya?ml")
TEMPLATES: Final = re.compile(rf"{ROLE}?templates/.+")
MODULE: Final = re.compile(r"library/(\w+)\.py")
OTHERS: Final = re.compile(
    rf"{ROLE}?files/.+|tests/.+|module_utils/.+\.py"
    rf"|{ROLE}meta/(?:main|argument_specs)\.ya?ml|{ROLE}README\.md"
)
KNOWN: Final = (TASKS, VARS, TEMPLATES, MODULE, OTHERS)
PATH: Final = re.compile(r"(?!.*(?:^|/)\.\.?(?:/|$))[\w.-]+(?:/[\w.-]+)*")
"""A path that stays where it begins."""


def strays(files: tuple[str, ...]) -> Iterator[Complaint]:
    """Yield the files that are none of an actor's."""
    for name in files:
        if name not in FILES and not any(kind.fullmatch(name) for kind in KNOWN):
            says = "is none of the files of an actor: Ansible might load it unseen; remove it"
            yield Complaint("A-stray-file", says, name, 1)
        module = MODULE.fullmatch(name)
        if module and module.group(1) in _modules_of_the_kind():
            says = "has the name of a module that comes with Interlock: give it another"
            yield Complaint("A-stray-file", says, name, 1)


def own_modules(files: tuple[str, ...]) -> frozenset[str]:
    """Name the modules of the folder, and those that come with the kind."""
    found = (MODULE.fullmatch(name) for name in files)
    return _modules_of_the_kind() | {module.group(1) for module in found if module}


def _modules_of_the_kind() -> frozenset[str]:
    here = Path(__file__).parent.glob("modules/*.py")
    return frozenset(path.stem for path in here) - {"__init__"}


def holds_tasks(name: str) -> bool:
    """Say whether a file is a list of tasks."""
    return TASKS.fullmatch(name) is not None


def holds_vars(name: str) -> bool:
    """Say whether a file gives variables their values."""
    return VARS.fullmatch(name) is not None


def holds_templates(name: str) -> bool:
    """Say whether a file is a template."""
    return TEMPLATES.fullmatch(name) is not None


def has_role(role: object, files: tuple[str, ...]) -> bool:
    """Say whether a role is in the folder."""
    return isinstance(role, str) and any(TASKS.match(n) and _role_of(n) == role for n in files)


def tasks_meant(file: str, wanted: object, files: tuple[str, ...]) -> frozenset[str]:
    """Name the tasks that a path may mean in a file; none, if it may mean anything else."""
    before = file.rpartition("/")[0]
    places = [before, "", "tasks", "handlers", *_in_role(file, "", "tasks", "handlers")]
    meant = _meant(wanted, places, files)
    return meant if all(holds_tasks(name) for name in meant) else frozenset()


def vars_meant(wanted: object, files: tuple[str, ...]) -> frozenset[str]:
    """Name the files of variables that a path of a play may mean."""
    meant = _meant(wanted, ["vars", ""], files)
    return meant if all(holds_vars(name) for name in meant) else frozenset()


def sources_meant(file: str, wanted: object, kind: str, files: tuple[str, ...]) -> frozenset[str]:
    """Name the files below `templates` or `files` that a path may mean; a folder's, all of them."""
    tops = [kind, *_in_role(file, kind)]
    text = wanted.rstrip("/") if isinstance(wanted, str) else wanted
    found = _meant(text, [*tops, *(top.rpartition("/")[0] for top in tops)], files)
    return frozenset(name for name in found if name.startswith(tuple(f"{top}/" for top in tops)))


def _meant(wanted: object, places: list[str], files: tuple[str, ...]) -> frozenset[str]:
    if not isinstance(wanted, str) or not PATH.fullmatch(wanted):
        return frozenset()
    names = {f"{place}/{wanted}".lstrip("/") for place in places}
    folders = tuple(f"{name}/" for name in names)
    return frozenset(name for name in files if name in names or name.startswith(folders))


def _role_of(file: str) -> str | None:
    parts = file.split("/")
    return parts[1] if parts[0] == "roles" else None


def _in_role(file: str, *places: str) -> list[str]:
    role = _role_of(file)
    return [f"roles/{role}/{place}".rstrip("/") for place in places] if role else []
