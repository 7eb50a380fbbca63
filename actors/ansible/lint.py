"""Finds in an actor's folder what would make its acts say less than they do.

Each complaint has a code; `lint_tasks` judges tasks, this file the folder, its plays, and whether
manifest, sheet and playbooks speak of the same params, outputs and failures.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from actors.ansible.lint_book import Complaint, Play, Task, is_on, read_book, text_of
from actors.ansible.lint_tasks import Names, judge_registers, judge_task, looks_at_host, tainted
from actors.ansible.outputs import FAILURE, LEFT, STATE
from actors.ansible.sheet import SHEET, read_sheet
from actors.kinds import ActorsError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from actors.spec import ActorSpec

__all__ = ["complaints"]

BOOKS: Final = ("apply.yml", "verify.yml", "undo.yml")
FILES: Final = ("actor.yaml", SHEET, "evidence.json", "README.md", *BOOKS)
FOLDERS: Final = (
    "tasks", "handlers", "templates", "files", "vars", "roles", "library", "module_utils", "tests",
)  # fmt: skip
PLAY_KEYS: Final = frozenset(
    [
        "name",
        "hosts",
        "gather_facts",
        "gather_subset",
        "gather_timeout",
        "serial",
        "any_errors_fatal",
        "max_fail_percentage",
        "ignore_unreachable",
        "ignore_errors",
        "order",
        "strategy",
        "vars",
        "vars_files",
        "tags",
        "tasks",
        "pre_tasks",
        "post_tasks",
        "handlers",
        "roles",
        "force_handlers",
        "become",
        "become_user",
        "environment",
        "throttle",
        "no_log",
        "diff",
        "module_defaults",
        "run_once",
        "timeout",
        "when",
    ]
)
OWN_MODES: Final = ("unreachable", "stopped")
PARAM: Final = re.compile(r"interlock\.(params|secrets)(?:\.(\w+)|\[\s*\\?['\"](\w+)\\?['\"]\s*\])")
OPEN_PARAMS: Final = re.compile(r"interlock\.params(?![.\w\[])|interlock(?![.\w\[])")


def complaints(folder: Path, files: tuple[str, ...], spec: ActorSpec) -> Iterator[Complaint]:
    """Yield all that is wrong with a folder."""
    yield from _strays(files)
    plays: list[Play] = []
    tasks: list[Task] = []
    for name in files:
        kind = _kind_of(name)
        if kind is not None:
            found, inside, problems = read_book(folder, name, plays=kind == "plays")
            plays += found
            tasks += inside
            yield from problems
    for play in plays:
        yield from _play(play)
    names = Names(
        own=_own_modules(files),
        tainted=tainted(tasks, [play.said for play in plays]),
        books=_reached(tasks),
    )
    for task in tasks:
        yield from judge_task(task, names)
    yield from judge_registers(tasks, names)
    yield from _roles(files)
    yield from _agreements(folder, files, spec, tasks, names.books)


def _kind_of(name: str) -> str | None:
    if name in BOOKS:
        return "plays"
    inner = re.fullmatch(r"(roles/[^/]+/)?(tasks|handlers)/.+\.ya?ml", name)
    return "tasks" if inner else None


def _own_modules(files: tuple[str, ...]) -> frozenset[str]:
    """Name the modules of the folder, and those that come with the kind."""
    ours = {path.stem for path in Path(__file__).parent.glob("modules/*.py")} - {"__init__"}
    theirs = {name.split("/")[1] for name in files if re.fullmatch(r"library/\w+\.py", name)}
    return frozenset(ours | {name.removesuffix(".py") for name in theirs})


def _strays(files: tuple[str, ...]) -> Iterator[Complaint]:
    for name in files:
        top, slash, _ = name.partition("/")
        known = top in FOLDERS if slash else top in FILES
        if not known:
            says = "is none of the files of an actor: Ansible might load it unseen; remove it"
            yield Complaint("A-stray-file", says, name, 1)


def _play(play: Play) -> Iterator[Complaint]:
    if "import_playbook" in play.said or "ansible.builtin.import_playbook" in play.said:
        says = "imports a playbook: a verb is one file; import tasks instead"
        yield Complaint("A-import", says, play.file, play.line)
        return
    if play.said.get("hosts") != "targets":
        says = f"plays on {play.said.get('hosts')!r}: write hosts: targets"
        yield Complaint("A-hosts", says, play.file, play.line)
    for key in sorted(set(play.said) - PLAY_KEYS):
        says = f"a play must not say {key}: where and how a target is reached says the inventory"
        yield Complaint("A-play", says, play.file, play.line)
    if is_on(play.said.get("become")) and not play.said.get("become_user"):
        says = "becomes root: leave that to the inventory, or name another user in become_user"
        yield Complaint("A-become", says, play.file, play.line)
    for name in play.said.get("vars") or {}:
        if name.startswith(("ansible_", "interlock")):
            says = f"sets {name}: how a target is reached says the inventory"
            yield Complaint("A-reserved-var", says, play.file, play.line)
    if "{{" in text_of(play.said.get("vars_files", "")):
        says = "chooses vars_files by a template: name the files"
        yield Complaint("A-template-path", says, play.file, play.line)


def _roles(files: tuple[str, ...]) -> Iterator[Complaint]:
    roles = {name.split("/")[1] for name in files if name.startswith("roles/")}
    for role in sorted(roles):
        specs = {f"roles/{role}/meta/argument_specs.{end}" for end in ("yml", "yaml")}
        if not specs & set(files):
            says = "has no meta/argument_specs.yml: a role says what it takes"
            yield Complaint("A-argument-specs", says, f"roles/{role}", 1)


def _reached(tasks: list[Task]) -> dict[str, frozenset[str]]:
    """Say for each file of tasks which verbs' playbooks may come to it."""
    into: dict[str, set[str]] = {}
    for task in tasks:
        module = (task.module or "").rpartition(".")[2]
        if module in ("import_tasks", "include_tasks"):
            args = task.args
            wanted = args.get("file", "") if isinstance(args, dict) else str(args)
            into.setdefault(task.file, set()).add(wanted)
    reached: dict[str, frozenset[str]] = {}
    for book in BOOKS:
        seen, waiting = {book}, [book]
        while waiting:
            for wanted in into.get(waiting.pop(), set()):
                names = {wanted, f"tasks/{wanted}"} - seen
                seen |= names
                waiting += names
        for name in seen:
            reached[name] = reached.get(name, frozenset()) | {book}
    return reached


# --- manifest, sheet and playbooks ----------------------------------------------------------------


def _agreements(
    folder: Path,
    files: tuple[str, ...],
    spec: ActorSpec,
    tasks: list[Task],
    reached: dict[str, frozenset[str]],
) -> Iterator[Complaint]:
    yield from _params(folder, files, spec)
    try:
        sheet = read_sheet(folder)
    except ActorsError as error:
        line = re.search(r":(\d+): ", error.what)
        says = error.what[line.end() :] if line else error.what
        yield Complaint("A-sheet", says, SHEET, int(line.group(1)) if line else 1)
        return
    published = _published(tasks)
    declared = {mode.name for mode in spec.failure_modes}
    said = {matcher.mode for matcher in sheet.failures}
    for mode in sorted(said - declared):
        says = f"names the failure mode {mode}, which the manifest does not declare"
        yield Complaint("A-unknown-mode", says, SHEET, 1)
    for name in sorted(set(sheet.outputs) - set(spec.outputs)):
        says = f"says how {name} becomes one, which the manifest does not declare as an output"
        yield Complaint("A-unknown-output", says, SHEET, 1)
    named = {str(value) for _, key, value in published if key == FAILURE}
    if not any("{{" in mode for mode in named):
        for mode in sorted(declared - said - named - set(OWN_MODES)):
            says = f"declares the failure mode {mode}, and nothing ever says it happened"
            yield Complaint("A-unused-mode", says, "actor.yaml", 1)
    yield from _outputs(spec, files, published)
    in_verify = [task for task in tasks if "verify.yml" in reached.get(task.file, ())]
    if in_verify and not any(looks_at_host(task) for task in in_verify):
        says = "never looks at a target: what it says would be said of a dead host too"
        yield Complaint("A-blind", says, "verify.yml", 1)


def _outputs(
    spec: ActorSpec, files: tuple[str, ...], published: list[tuple[Task, str, Any]]
) -> Iterator[Complaint]:
    for task, key, _ in published:
        if key not in spec.outputs and key not in (STATE, FAILURE, LEFT):
            says = f"publishes {key}, which the manifest does not declare as an output"
            yield Complaint("A-unknown-output", says, task.file, task.line)
    keys = {key for _, key, _ in published}
    for name in sorted(set(spec.outputs) - keys):
        says = f"declares the output {name}, and no task publishes it"
        yield Complaint("A-unpublished", says, "actor.yaml", 1)
    if "verify.yml" in files and spec.effect != "read" and STATE not in keys:
        says = f"never publishes {STATE}: verify has to say what it found"
        yield Complaint("A-no-state", says, "verify.yml", 1)


def _published(tasks: list[Task]) -> list[tuple[Task, str, Any]]:
    found = []
    for task in tasks:
        if task.module == "ansible.builtin.set_stats" and isinstance(task.args, dict):
            data = task.args.get("data")
            if isinstance(data, dict):
                found += [(task, key, value) for key, value in data.items()]
    return found


def _params(folder: Path, files: tuple[str, ...], spec: ActorSpec) -> Iterator[Complaint]:
    used: set[str] = set()
    open_use = False
    for name in files:
        top = name.partition("/")[0]
        if name not in BOOKS and top not in ("tasks", "handlers", "templates", "vars", "roles"):
            continue
        text = (folder / name).read_text(encoding="utf-8", errors="replace")
        open_use = open_use or OPEN_PARAMS.search(text) is not None
        for found in PARAM.finditer(text):
            param = found.group(2) or found.group(3)
            used.add(param)
            if param not in spec.params and param not in ("values", "items", "keys", "get"):
                line = text.count("\n", 0, found.start()) + 1
                says = f"uses the param {param}, which the manifest does not declare"
                yield Complaint("A-unknown-param", says, name, line)
    for name, declared in spec.params.items():
        if declared.type != "targets" and name not in used and not open_use:
            says = f"declares the param {name}, and nothing uses it"
            yield Complaint("A-unused-param", says, "actor.yaml", 1)
