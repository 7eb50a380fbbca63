"""Judges one task: what it may say, which module it uses, which files, where it acts, whose secret.

1. What may be said is listed; what is not listed is refused, and so is what cannot be decided: an
   actor's author can always write it more plainly.
2. A template may hold a param, whatever name it goes by.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from actors.ansible.lint_book import (
    LOOKUPS,
    ON_BLOCKS,
    ON_TASKS,
    REFUSED,
    Complaint,
    text_of,
)
from actors.ansible.lint_commands import COMMAND, judge_command
from actors.ansible.lint_files import has_role, sources_meant, tasks_meant
from actors.ansible.lint_names import BY_FILE, BY_ROLE
from actors.ansible.lint_reads import judge_check, judge_delegate, judge_verify
from actors.ansible.lint_text import is_literal, is_off, is_on, lookups, takes_in, texts

if TYPE_CHECKING:
    from collections.abc import Iterator

    from actors.ansible.lint_book import Task
    from actors.ansible.lint_names import Names

__all__ = ["judge_become", "judge_registers", "judge_task", "judge_texts", "looks_at_host"]

BUILTIN: Final = frozenset(f"ansible.builtin.{name}" for name in [
    "apt", "apt_repository", "assemble", "assert", "async_status", "blockinfile", "command",
    "copy", "cron", "deb822_repository", "debconf", "debug", "dnf", "dnf5", "dpkg_selections",
    "fail", "file", "find", "gather_facts", "get_url", "getent", "git", "group", "hostname",
    "import_role", "import_tasks", "include_role", "include_tasks", "iptables", "known_hosts",
    "lineinfile", "meta", "mount_facts", "package", "package_facts", "ping", "pip", "reboot",
    "replace", "rpm_key", "service", "service_facts", "set_fact", "set_stats", "setup", "shell",
    "slurp", "stat", "systemd", "systemd_service", "sysvinit", "tempfile", "template", "unarchive",
    "uri", "user", "validate_argument_spec", "wait_for", "wait_for_connection", "yum_repository",
])  # fmt: skip
COLLECTIONS: Final = ("ansible.posix.", "community.general.")
USELESS: Final = {
    "ansible.builtin.raw": "runs a text on the host without Python: use command with argv",
    "ansible.builtin.script": "runs a file of the controller: write a module in library/",
    "ansible.builtin.add_host": "adds a host: an act touches its targets only",
    "ansible.builtin.fetch": "writes on the controller: publish a value instead",
    "ansible.builtin.pause": "waits for a person: that is a step of the plan",
    "ansible.posix.synchronize": "runs rsync between controller and host: use copy or unarchive",
    "ansible.builtin.include_vars": "loads variables when it runs: name them in vars_files",
}
FREE: Final = (*BY_FILE, COMMAND, "ansible.builtin.shell", "ansible.builtin.meta")
"""Modules that may be told a text; all others are told a mapping."""
COMING_IN: Final = frozenset({"name", "when", "tags", "vars", "loop", "loop_control", "no_log"})
"""What may be said of tasks that are brought in: whatever else would be said of each of them."""
SKIPPED_BY_CHECK: Final = frozenset(
    f"ansible.builtin.{name}" for name in ("command", "shell", "uri", "async_status")
)
NOWHERE: Final = frozenset(
    {f"ansible.builtin.{name}" for name in ("assert", "debug", "fail", "meta", "set_fact")}
    | {"ansible.builtin.set_stats", *BY_FILE, *BY_ROLE}
)
"""Modules that do their work on the controller, whatever the host."""
SOURCES: Final = {
    "ansible.builtin.assemble": "files",
    "ansible.builtin.copy": "files",
    "ansible.builtin.template": "templates",
    "ansible.builtin.unarchive": "files",
    "ansible.builtin.uri": "files",
    "ansible.posix.patch": "files",
}
"""Modules that read a file of the controller, and where in the folder it lies."""
START: Final = re.compile(r"\w[\w-]*(?:\.ya?ml)?")
GUARD: Final = re.compile(r"ansible_check_mode|is (not )?skipped|is defined")


def looks_at_host(task: Task) -> bool:
    """Say whether a task needs its host to be there."""
    return task.module is not None and task.module not in NOWHERE


def judge_task(task: Task, names: Names, secret: frozenset[str]) -> Iterator[Complaint]:
    """Yield all that is wrong with a task."""
    for code, says in _problems(task, names, secret):
        name = task.said.get("name")
        title = f"{name!r} " if isinstance(name, str) else ""
        yield Complaint(code, f"{title}{says}", task.file, task.line)


def judge_registers(tasks: list[Task], names: Names) -> Iterator[Complaint]:
    """Yield the tasks of apply that in a dry run would miss what a skipped task registers."""
    unsure: dict[str, Task] = {}
    for task in tasks:
        if "apply.yml" not in names.books.get(task.file, frozenset()):
            continue
        for name, source in unsure.items():
            if task is not source and _leans_on(task, name):
                guard = "guard it, for instance with when: not ansible_check_mode"
                says = f"uses {name}, which check mode leaves empty: {guard}"
                yield Complaint("A-register", says, task.file, task.line)
        if task.module in SKIPPED_BY_CHECK and not is_off(task.inherited("check_mode")):
            unsure[str(task.said.get("register", ""))] = task
        unsure.pop("", None)


def _leans_on(task: Task, name: str) -> bool:
    text = text_of([task.said, *(one.get("when", "") for one in task.inner)])
    if not re.search(rf"\b{re.escape(name)}\b", text):
        return False
    return not GUARD.search(task.conditions()) and "default(" not in text


def _problems(task: Task, names: Names, secret: frozenset[str]) -> Iterator[tuple[str, str]]:
    yield from _keywords(task)
    module = task.module
    if module is None:
        others = [key for key in task.said if key not in ON_TASKS]
        yield "A-module", f"has no single module ({', '.join(others) or 'none'})"
        return
    yield from _module(module, names)
    yield from judge_delegate(task, module)
    yield from judge_check(task, module)
    yield from judge_texts(task.file, list(task.told()), names)
    if module not in names.own:
        yield from _args(task, module)
        yield from judge_command(task, module, names)
        yield from _files(task, module, names)
    if module == "ansible.builtin.set_stats":
        yield from _stats(task)
    if names.reading & names.books.get(task.file, frozenset()):
        yield from judge_verify(task, module, names)
    if not is_on(task.inherited("no_log")) and _tells_secret(task, module, names, secret):
        yield "A-no-log", "handles a secret: say no_log: true"


def _keywords(task: Task) -> Iterator[tuple[str, str]]:
    for number, one in enumerate(task.inner):
        for keyword in one:
            code, says = REFUSED.get(keyword, ("", ""))
            if code:
                yield code, f"says {keyword}: {says}"
            elif keyword.startswith(LOOKUPS):
                yield "A-lookup", "loops over a lookup on the controller: use loop"
            elif number and keyword not in ON_BLOCKS:
                yield "A-keyword", f"says {keyword} of a block: say it of its tasks"
        if not isinstance(one.get("vars", {}), dict):
            yield "A-reserved-var", "sets variables otherwise than by a mapping"
        if not is_literal(one.get("environment")):
            yield "A-environment", "gives a program an environment by a template: write it out"
        yield from judge_become(one, task.inherited("become_user"))


def judge_become(said: dict[str, Any], user: object) -> Iterator[tuple[str, str]]:
    """Yield what is wrong with who a task becomes."""
    become = said.get("become")
    named = isinstance(user, str) and is_literal(user) and user not in ("", "root", "0")
    if become is not None and not is_off(become) and not (is_on(become) and named):
        yield "A-become", "becomes root: leave that to the inventory, or name become_user"
    elif "become_user" in said and not named:
        yield "A-become", "does not write out which other user it becomes"


def _module(module: str, names: Names) -> Iterator[tuple[str, str]]:
    if module in names.own or module in BUILTIN:
        return
    if "." not in module:
        yield "A-module", f"uses {module}: write its full name, ansible.builtin.{module}"
    elif module in USELESS:
        yield "A-module", f"uses {module}, which {USELESS[module]}"
    elif not module.startswith(COLLECTIONS):
        allowed = ", ".join(name.rstrip(".") for name in COLLECTIONS)
        says = f"allowed are those of {allowed} and of library/, and most of ansible.builtin"
        yield "A-module", f"uses {module}; {says}"


def _args(task: Task, module: str) -> Iterator[tuple[str, str]]:
    args = task.args
    if args is None or (isinstance(args, str) and module in FREE):
        return
    if not isinstance(args, dict):
        yield "A-args", "writes its arguments as one text: write a mapping"
        return
    for name in args:
        if name.startswith("_"):
            yield "A-args", f"says {name}, which is Ansible's own"
        elif name.endswith("_string") and module == "ansible.builtin.template":
            yield "A-args", f"says {name}: a template has its usual marks"


def judge_texts(file: str, said: Any, names: Names) -> Iterator[tuple[str, str]]:
    """Yield what the templates of a text look up or take in."""
    for text in texts(said):
        if takes_in(text):
            yield "A-lookup", "takes another template in: write it in one"
        for plugin, path in lookups(text):
            if path is None:
                says = "looks something up on the controller: only file and template may"
                yield "A-lookup", f"{says}, by a path that is written out"
            elif not sources_meant(file, path, f"{plugin}s", names.files):
                yield "A-outside", f"looks up {path}, which is no file below {plugin}s/"


def _files(task: Task, module: str, names: Names) -> Iterator[tuple[str, str]]:
    args = task.args if isinstance(task.args, dict) else {"file": task.args}
    if module in BY_FILE:
        yield from _brought_in(task, {module, *COMING_IN}, set(args) - {"file"})
        if not tasks_meant(task.file, args.get("file"), names.files):
            yield _misses(args.get("file"), "list of tasks below tasks/ or handlers/")
    if module in BY_ROLE:
        yield from _brought_in(task, {module, *COMING_IN}, set(args) - {"name", "tasks_from"})
        start = args.get("tasks_from", "main")
        if not has_role(args.get("name"), names.files):
            yield _misses(args.get("name"), "role of this folder")
        elif not isinstance(start, str) or not START.fullmatch(start):
            yield _misses(start, "list of tasks of that role")
    kind = SOURCES.get(module)
    local = kind is not None and "src" in args and not is_on(args.get("remote_src"))
    if kind and local and not sources_meant(task.file, args["src"], kind, names.files):
        yield _misses(args["src"], f"file below {kind}/")


def _brought_in(task: Task, known: set[str], args: set[str]) -> Iterator[tuple[str, str]]:
    for name in sorted((set(task.said) - known) | args):
        yield "A-brought-in", f"says {name} of tasks that it brings in: say it of each of them"


def _misses(wanted: object, what: str) -> tuple[str, str]:
    if not is_literal(wanted):
        return "A-template-path", f"chooses by a template, where a {what} is to be named"
    return "A-outside", f"names {text_of(wanted)}, which is no {what}"


def _stats(task: Task) -> Iterator[tuple[str, str]]:
    args = task.args
    if not isinstance(args, dict) or not isinstance(args.get("data"), dict):
        yield "A-stats", "publishes by a template: write data as a mapping"
    elif not is_off(args.get("aggregate")):
        yield "A-aggregate", "adds up what hosts publish: say aggregate: false"


def _tells_secret(task: Task, module: str, names: Names, secret: frozenset[str]) -> bool:
    said = [task.said, task.defaults, *({"when": one.get("when")} for one in task.inner)]
    if names.tells(task.file, said, secret):
        return True
    if module != "ansible.builtin.template" or not isinstance(task.args, dict):
        return False
    meant = sources_meant(task.file, task.args.get("src"), "templates", names.files)
    parts = [part for name in meant for part in names.templates.get(name, ())]
    return names.tells(task.file, parts, secret)
