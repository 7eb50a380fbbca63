"""Judges one task: what it runs, what it is told, where it acts, what it claims.

1. A value that came from a param is followed through `vars`, `set_fact` and `register`; whatever
   it touches is treated as the param itself.
2. What cannot be decided is refused: an actor's author can always write it more plainly.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from actors.ansible.lint_book import KEYWORDS, Complaint, is_off, is_on, text_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from actors.ansible.lint_book import Task

__all__ = ["Names", "judge_registers", "judge_task", "looks_at_host", "tainted"]

COLLECTIONS: Final = ("ansible.builtin.", "ansible.posix.", "community.general.")
SHELLS: Final = frozenset(
    {"ansible.builtin.shell", "ansible.builtin.raw", "ansible.builtin.script"}
)
REFUSED: Final = {
    "ansible.builtin.raw": "runs a text on the host without Python: use command with argv",
    "ansible.builtin.add_host": "adds a host: an act touches its targets only",
    "ansible.builtin.fetch": "writes on the controller: publish a value instead",
    "ansible.builtin.pause": "waits for a person: that is a step of the plan",
    "ansible.posix.synchronize": "runs rsync between controller and host: use copy or unarchive",
    "ansible.builtin.include_vars": "loads variables when it runs: name them in vars_files",
}
SKIPPED_BY_CHECK: Final = frozenset(
    f"ansible.builtin.{name}"
    for name in ("command", "shell", "script", "uri", "expect", "async_status")
)
READING: Final = frozenset(
    f"ansible.builtin.{name}"
    for name in [
        "assert",
        "async_status",
        "debug",
        "fail",
        "find",
        "getent",
        "import_tasks",
        "include_tasks",
        "import_role",
        "include_role",
        "meta",
        "package_facts",
        "ping",
        "service_facts",
        "set_fact",
        "set_stats",
        "setup",
        "slurp",
        "stat",
        "wait_for",
        "wait_for_connection",
        "validate_argument_spec",
        "mount_facts",
        "gather_facts",
    ]
)
NOWHERE: Final = frozenset(
    f"ansible.builtin.{name}"
    for name in (
        "assert",
        "debug",
        "fail",
        "meta",
        "set_fact",
        "set_stats",
        "import_tasks",
        "include_tasks",
    )
)
"""Modules that do their work on the controller, whatever the host."""
LOOKING: Final = ("ansible.builtin.uri", "ansible.builtin.wait_for")
SOURCES: Final = frozenset(
    f"ansible.builtin.{name}" for name in ("copy", "template", "unarchive", "assemble", "script")
)
LOOKUP: Final = re.compile(r"\b(?:lookup|query|q)\s*\(\s*\\?['\"]([\w.]+)")
LOOKUP_CALL: Final = re.compile(r"\b(?:lookup|query|q)\s*\(")
HARMLESS: Final = frozenset({"file", "template", "vars", "ansible.builtin.file",
    "ansible.builtin.template", "ansible.builtin.vars"})  # fmt: skip
GUARD: Final = re.compile(r"ansible_check_mode|is (not )?skipped|is defined")
WORD: Final = re.compile(r"[A-Za-z_]\w*")


@dataclass(frozen=True, slots=True)
class Names:
    """What is known of names across the whole folder."""

    own: frozenset[str]
    """Modules in the folder's own library."""
    tainted: frozenset[str]
    """Variables that may hold what came from a param."""
    books: dict[str, frozenset[str]]
    """By file of tasks: the playbooks that may come to it."""


def tainted(tasks: list[Task], plays: list[dict[str, Any]]) -> frozenset[str]:
    """Find the variables that may hold what came from a param."""
    pairs: list[tuple[str, str]] = []
    for play in plays:
        pairs += _pairs(play.get("vars"))
    for task in tasks:
        for one in (task.said, *task.around):
            pairs += _pairs(one.get("vars"))
        if task.module == "ansible.builtin.set_fact":
            pairs += _pairs(task.args)
        loop = text_of(
            [task.said.get(key) for key in task.said if key.startswith(("loop", "with_"))]
        )
        control = task.said.get("loop_control")
        variable = control.get("loop_var", "item") if isinstance(control, dict) else "item"
        pairs.append((str(variable), loop))
    found = {"interlock"}
    while True:
        more = {name for name, text in pairs if name not in found and _mentions(text, found)}
        if not more:
            return frozenset(found)
        found |= more


def looks_at_host(task: Task) -> bool:
    """Say whether a task needs its host to be there."""
    return task.module is not None and task.module not in NOWHERE


def judge_task(task: Task, names: Names) -> Iterator[Complaint]:
    """Yield all that is wrong with a task."""
    for code, says in _problems(task, names):
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
    text = text_of([task.said, *(one.get("when", "") for one in _inner(task))])
    if not re.search(rf"\b{re.escape(name)}\b", text):
        return False
    return not GUARD.search(task.conditions()) and "default(" not in text


def _problems(task: Task, names: Names) -> Iterator[tuple[str, str]]:
    module = task.module
    if module is None:
        others = [key for key in task.said if key not in KEYWORDS]
        yield "A-module", f"has no single module ({', '.join(others) or 'none'})"
        return
    yield from _module(module, names)
    yield from _place(task, module)
    yield from _check(task, module)
    yield from _values(task, module, names)
    yield from _vars(task, module)
    if module == "ansible.builtin.set_stats":
        yield from _stats(task)
    if "verify.yml" in names.books.get(task.file, ()):
        yield from _reads(task, module, names)


def _module(module: str, names: Names) -> Iterator[tuple[str, str]]:
    if module in names.own:
        return
    if module in ("action", "local_action"):
        yield "A-module", f"uses {module}: name the module itself"
    elif "." not in module:
        yield "A-module", f"uses {module}: write its full name, ansible.builtin.{module}"
    elif not module.startswith(COLLECTIONS):
        allowed = ", ".join(name.rstrip(".") for name in COLLECTIONS)
        yield "A-module", f"uses {module}; allowed are modules of {allowed} and of library/"
    elif REFUSED.get(module):
        yield "A-module", f"uses {module}, which {REFUSED[module]}"


def _inner(task: Task) -> tuple[dict[str, Any], ...]:
    """Return a task and the blocks around it, without the play."""
    return (task.said, *(one for one in task.around if "hosts" not in one))


def _place(task: Task, module: str) -> Iterator[tuple[str, str]]:
    wanted = task.inherited("delegate_to")
    if wanted is not None and not (wanted == "localhost" and module in LOOKING):
        yield "A-delegate", f"acts on {wanted!r}: only uri and wait_for may, and from localhost"
    for keyword in ("connection", "remote_user", "port", "become_method", "become_exe"):
        if any(keyword in one for one in _inner(task)):
            yield "A-reach", f"says {keyword}: how a target is reached says the inventory"
    if is_on(task.said.get("become")) and not task.inherited("become_user"):
        yield "A-become", "becomes root: leave that to the inventory, or name become_user"
    if "local_action" in task.said:
        yield "A-delegate", "acts on the controller"


def _check(task: Task, module: str) -> Iterator[tuple[str, str]]:
    if not is_off(task.inherited("check_mode")) or _is_reading(task, module):
        return
    if not is_off(task.said.get("changed_when")):
        yield "A-check-mode", "runs in a dry run too: only what says changed_when: false may"


def _values(task: Task, module: str, names: Names) -> Iterator[tuple[str, str]]:
    args = text_of(task.args)
    from_param = _mentions(args, names.tainted)
    if module in SHELLS and from_param:
        yield "A-shell-param", "puts a param into a shell's text: use command with argv"
    if module == "ansible.builtin.command":
        yield from _command(task, names)
    whole = text_of(task.said)
    for found in LOOKUP_CALL.finditer(whole):
        named = LOOKUP.match(whole, found.start())
        if named is None or named.group(1) not in HARMLESS:
            yield "A-lookup", "looks something up on the controller: only file and template may"
        elif _mentions(_call(whole, found.end()), names.tainted):
            yield "A-lookup-param", "looks up what a param says: a param must not choose a file"
    if re.search(
        r"\bwith_(?!items\b|dict\b|sequence\b|together\b|nested\b|subelements\b|indexed)", whole
    ):
        yield "A-lookup", "loops over a lookup on the controller: use loop"
    yield from _paths(task, module, names)
    if "interlock.secrets" in whole and not is_on(task.inherited("no_log")):
        yield "A-no-log", "handles a secret: say no_log: true"


def _command(task: Task, names: Names) -> Iterator[tuple[str, str]]:
    args = task.args
    argv = args.get("argv") if isinstance(args, dict) else None
    line = (
        args
        if isinstance(args, str)
        else text_of(args.get("cmd", ""))
        if isinstance(args, dict)
        else ""
    )
    if _mentions(line, names.tainted):
        yield "A-command-param", "puts a param into a command's line: use argv"
    expands = argv is not None and not is_off(args.get("expand_argument_vars"))
    if expands and _mentions(text_of(argv), names.tainted):
        yield (
            "A-expand",
            "gives a param to argv, where ~ and $ are more: say expand_argument_vars: false",
        )


def _paths(task: Task, module: str, names: Names) -> Iterator[tuple[str, str]]:
    args = task.args
    if module.rpartition(".")[2] in (
        "import_tasks",
        "include_tasks",
        "import_role",
        "include_role",
    ) and "{{" in text_of(args):
        yield "A-template-path", "chooses its tasks by a template: name the file"
    if module not in SOURCES or not isinstance(args, dict) or is_on(args.get("remote_src")):
        return
    if _mentions(text_of(args.get("src", "")), names.tainted):
        yield "A-template-path", "lets a param choose a file of the controller"


def _vars(task: Task, module: str) -> Iterator[tuple[str, str]]:
    said: dict[str, Any] = {}
    for one in _inner(task):
        said |= one.get("vars") or {}
    if module == "ansible.builtin.set_fact" and isinstance(task.args, dict):
        said |= task.args
    for name in said:
        if name.startswith(("ansible_", "interlock")) or "{{" in name:
            yield "A-reserved-var", f"sets {name}: how a target is reached says the inventory"
    register = str(task.said.get("register", ""))
    if register.startswith(("ansible_", "interlock")):
        yield "A-reserved-var", f"registers {register}, which is not an actor's to set"


def _stats(task: Task) -> Iterator[tuple[str, str]]:
    args = task.args
    if not isinstance(args, dict) or not isinstance(args.get("data"), dict):
        yield "A-stats", "publishes by a template: write data as a mapping"
    elif not is_off(args.get("aggregate")):
        yield "A-aggregate", "adds up what hosts publish: say aggregate: false"


def _reads(task: Task, module: str, names: Names) -> Iterator[tuple[str, str]]:
    # What an own module does shows when it runs: a verify that changes something is unexpected.
    if module in names.own:
        return
    if not _is_reading(task, module) and not is_off(task.said.get("changed_when")):
        yield "A-verify-writes", f"uses {module} in verify, which must only read"


def _is_reading(task: Task, module: str) -> bool:
    """Say whether a module only looks, by what it is and by what its family promises."""
    if module == "ansible.builtin.uri":
        method = task.args.get("method", "GET") if isinstance(task.args, dict) else "GET"
        return method in ("GET", "HEAD")
    return module in READING or module.endswith(("_info", "_facts"))


def _pairs(value: Any) -> list[tuple[str, str]]:
    return [(name, text_of(one)) for name, one in value.items()] if isinstance(value, dict) else []


def _mentions(text: str, names: frozenset[str] | set[str]) -> bool:
    """Say whether a template in a text may use one of these names."""
    parts = re.findall(r"\{\{(.*?)\}\}|\{%(.*?)%\}", text, re.DOTALL)
    return any(word in names for part in parts for word in WORD.findall(" ".join(part)))


def _call(text: str, start: int) -> str:
    depth = 1
    for place in range(start, len(text)):
        depth += {"(": 1, ")": -1}.get(text[place], 0)
        if depth == 0:
            return "{{" + text[start:place] + "}}"
    return "{{" + text[start:] + "}}"
