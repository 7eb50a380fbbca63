"""Finds in an actor's folder what would make its acts say less than they do.

Each complaint has a code; `lint_tasks` judges tasks, this file the folder, its plays, and whether
manifest, sheet and playbooks speak of the same params, outputs and failures.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from actors.ansible.lint_book import BOOKS, SECTIONS, Complaint, Play, Task, read_book, read_mapping
from actors.ansible.lint_files import (
    has_role,
    holds_tasks,
    holds_templates,
    holds_vars,
    own_modules,
    strays,
    vars_meant,
)
from actors.ansible.lint_names import Names, judge_names, reached, said_by
from actors.ansible.lint_tasks import (
    judge_become,
    judge_registers,
    judge_task,
    judge_texts,
    looks_at_host,
)
from actors.ansible.lint_text import expressions, is_literal
from actors.ansible.outputs import FAILURE, LEFT, STATE
from actors.ansible.sheet import SHEET, read_sheet
from actors.kinds import ActorsError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from actors.spec import ActorSpec

__all__ = ["complaints"]

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
ROLE_KEYS: Final = frozenset({"role", "name", "vars", "when", "tags"})
META: Final = re.compile(r"roles/[^/]+/meta/.+")
META_KEYS: Final = frozenset({"galaxy_info", "argument_specs", "allow_duplicates"})
STRATEGIES: Final = ("linear", "free", "host_pinned")
MARKS: Final = "#jinja2:"
"""How a template begins that says which marks it goes by."""
OWN_MODES: Final = ("unreachable", "stopped")
PARAM: Final = re.compile(r"interlock\.(params|secrets)(?:\.(\w+)|\[\s*\\?['\"](\w+)\\?['\"]\s*\])")
OPEN_PARAMS: Final = re.compile(r"interlock\.params(?![.\w\[])|interlock(?![.\w\[])")


def complaints(folder: Path, files: tuple[str, ...], spec: ActorSpec) -> Iterator[Complaint]:
    """Yield all that is wrong with a folder."""
    yield from strays(files)
    plays: list[Play] = []
    tasks: list[Task] = []
    for name in files:
        if name in BOOKS or holds_tasks(name):
            found, inside, problems = read_book(folder, name, plays=name in BOOKS)
            plays += found
            tasks += inside
            yield from problems
    values: dict[str, dict[str, Any]] = {}
    for name in files:
        if holds_vars(name) or META.fullmatch(name):
            values[name], problems = read_mapping(folder, name)
            yield from problems
    names = _names(folder, files, spec, plays, tasks, values)
    secret = names.secret()
    yield from judge_names(names.said)
    for play in plays:
        yield from _play(play, names)
    for task in tasks:
        yield from judge_task(task, names, secret)
    yield from judge_registers(tasks, names)
    yield from _values(values, names)
    yield from _templates(folder, names)
    yield from _roles(files)
    yield from _agreements(folder, files, spec, tasks, names.books)


def _names(
    folder: Path,
    files: tuple[str, ...],
    spec: ActorSpec,
    plays: list[Play],
    tasks: list[Task],
    values: dict[str, dict[str, Any]],
) -> Names:
    own = own_modules(files)
    variables = {name: said for name, said in values.items() if holds_vars(name)}
    return Names(
        files=files,
        own=own,
        said=tuple(said_by(plays, tasks, variables, own)),
        templates={
            name: tuple(expressions(_text(folder, name))) for name in files if holds_templates(name)
        },
        books=reached(plays, tasks, files),
        # An actor that only reads has no verify: its apply is that.
        reading=frozenset({"verify.yml"} | ({"apply.yml"} if spec.effect == "read" else set())),
    )


def _text(folder: Path, name: str) -> str:
    return (folder / name).read_text(encoding="utf-8", errors="replace")


def _play(play: Play, names: Names) -> Iterator[Complaint]:
    for code, says in _play_problems(play, names):
        yield Complaint(code, says, play.file, play.line)


def _play_problems(play: Play, names: Names) -> Iterator[tuple[str, str]]:
    said = play.said
    if "import_playbook" in said or "ansible.builtin.import_playbook" in said:
        yield "A-import", "imports a playbook: a verb is one file; import tasks instead"
        return
    if said.get("hosts") != "targets":
        yield "A-hosts", f"plays on {said.get('hosts')!r}: write hosts: targets"
    for key in sorted(set(said) - PLAY_KEYS):
        yield (
            "A-play",
            f"a play must not say {key}: where and how a target is reached says the inventory",
        )
    if said.get("strategy", "linear") not in STRATEGIES:
        yield "A-play", f"plays by the strategy {said['strategy']!r}: use linear"
    yield from judge_become(said, said.get("become_user"))
    if not isinstance(said.get("vars") or {}, dict):
        yield "A-reserved-var", "sets variables otherwise than by a mapping"
    if not is_literal(said.get("environment")):
        yield "A-environment", "gives a program an environment by a template: write it out"
    defaults = said.get("module_defaults") or {}
    if not isinstance(defaults, dict) or not set(defaults) <= names.own:
        yield "A-args", "says module_defaults of other modules than its own"
    rest = {key: value for key, value in said.items() if key not in SECTIONS}
    yield from judge_texts(play.file, rest, names)
    yield from _loaded(said, names)


def _loaded(said: dict[str, Any], names: Names) -> Iterator[tuple[str, str]]:
    wanted = said.get("vars_files") or []
    for path in wanted if isinstance(wanted, list) else [wanted]:
        if not is_literal(path):
            yield "A-template-path", "chooses vars_files by a template: name the files"
        elif not vars_meant(path, names.files):
            yield "A-outside", f"names {path!r} in vars_files, which is no file below vars/"
    roles = said.get("roles") or []
    for entry in roles if isinstance(roles, list) else [roles]:
        role = entry if isinstance(entry, dict) else {"role": entry}
        name = role.get("role", role.get("name"))
        if set(role) - ROLE_KEYS or not has_role(name, names.files):
            yield "A-outside", f"plays the role {name!r}: only roles/ of the folder, and with vars"


def _values(values: dict[str, dict[str, Any]], names: Names) -> Iterator[Complaint]:
    for name, said in values.items():
        for code, says in judge_texts(name, said, names):
            yield Complaint(code, says, name, 1)
        if META.fullmatch(name) and set(said) - META_KEYS:
            more = ", ".join(sorted(set(said) - META_KEYS))
            yield Complaint("A-role", f"says {more}: a role brings no other in", name, 1)


def _templates(folder: Path, names: Names) -> Iterator[Complaint]:
    for name, parts in names.templates.items():
        text = _text(folder, name)
        if text.startswith(MARKS):
            says = "goes by other marks than the usual ones: nobody would see its templates"
            yield Complaint("A-lookup", says, name, 1)
        for part in parts:
            for code, says in judge_texts(name, part, names):
                yield Complaint(code, says, name, text.count("\n", 0, text.find(part)) + 1)


def _roles(files: tuple[str, ...]) -> Iterator[Complaint]:
    roles = {name.split("/")[1] for name in files if name.startswith("roles/")}
    for role in sorted(roles):
        specs = {f"roles/{role}/meta/argument_specs.{end}" for end in ("yml", "yaml")}
        if not specs & set(files):
            says = "has no meta/argument_specs.yml: a role says what it takes"
            yield Complaint("A-argument-specs", says, f"roles/{role}", 1)


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
        text = _text(folder, name)
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
