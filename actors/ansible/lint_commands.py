"""Judges what a task runs as a program: whatever is a template may hold a param.

1. A text that a program takes for code, or a shell takes apart, is written out.
2. What is chosen from literal values of a variable counts as written out.
"""

from __future__ import annotations

import re
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final

from actors.ansible.lint_text import is_literal, is_off

if TYPE_CHECKING:
    from collections.abc import Iterator

    from actors.ansible.lint_book import Task
    from actors.ansible.lint_names import Names

__all__ = ["COMMAND", "judge_command", "only_looks"]

COMMAND: Final = "ansible.builtin.command"
LITERAL: Final = frozenset({"ansible.builtin.shell", "ansible.builtin.cron", "ansible.posix.at"})
"""Modules whose every word comes into a shell's text, or beside it in the same file."""
COMMANDS: Final = re.compile(
    r"(?:.*_)?(?:arg(?:ument)?s|cmd|commands?|scripts?)|code|executable|job|validate"
)
"""Arguments of modules that are commands, by their names."""
INTERPRETERS: Final = frozenset([
    "ash", "bash", "csh", "dash", "ksh", "mksh", "python", "sh", "tcsh", "zsh",
])  # fmt: skip
"""Programs that take code after -c; what stands behind it is data."""
RUNNERS: Final = frozenset([
    "at", "awk", "batch", "busybox", "chroot", "crontab", "doas", "ed", "env", "eval", "ex",
    "exec", "expect", "find", "fish", "flock", "gawk", "git", "ionice", "lua", "make", "mawk",
    "mysql", "nawk", "nice", "node", "nodejs", "nohup", "nsenter", "parallel", "perl", "php",
    "pkexec", "psql", "rsync", "ruby", "runuser", "script", "sed", "setpriv", "setsid", "socat",
    "sqlite", "ssh", "stdbuf", "su", "sudo", "systemd-run", "tar", "tclsh", "time", "timeout",
    "unshare", "vi", "vim", "watch", "xargs",
])  # fmt: skip
"""Programs that run what they are told, wherever in their words it stands."""
CODE_BEHIND: Final = re.compile(r"-[A-Za-z]*c")
CODE: Final = re.compile(r"-\w?[ceE]|--?(?:command|eval|execute?|expression)")
CODE_INSIDE: Final = re.compile(
    r"(?:-\w?[ceE]|--?(?:command|eval|execute?|expression)=)[^{]*\{[{%]"
)
DIRECTORIES: Final = ("", "/bin", "/usr/bin", "/sbin", "/usr/sbin")
READERS: Final = frozenset([
    "cat", "cmp", "cut", "df", "diff", "dpkg-query", "du", "echo", "false", "findmnt", "getent",
    "grep", "head", "id", "ls", "lsblk", "md5sum", "pgrep", "ps", "readlink", "realpath",
    "sha256sum", "stat", "tail", "test", "true", "uname", "wc",
])  # fmt: skip
"""Programs that only read, whatever they are told."""
LOOKS: Final = (
    ("chronyc", "-N", "-c", "sources"),
    ("chronyc", "-n", "-c", "sources"),
    ("chronyc", "-n", "-c", "tracking"),
    ("systemctl", "is-active"),
    ("systemctl", "is-enabled"),
    ("systemctl", "show"),
)
"""What other programs only read, if all their words are written out and begin so."""


def judge_command(task: Task, module: str, names: Names) -> Iterator[tuple[str, str]]:
    """Yield what is wrong with the programs that a task runs."""
    args = task.args
    if module in LITERAL:
        if not is_literal(args):
            yield "A-shell-param", "puts a template into a shell's text: use command with argv"
        return
    said = args if isinstance(args, dict) else {"cmd": args}
    for name, value in said.items():
        if COMMANDS.fullmatch(name) and names.choices(value) is None:
            yield "A-command-param", f"makes {name} by a template: write it out, or use argv"
    if module == COMMAND:
        yield from _argv(said, names)


def _argv(args: dict[str, Any], names: Names) -> Iterator[tuple[str, str]]:
    argv = args.get("argv", [])
    if not is_literal(argv) and not is_off(args.get("expand_argument_vars")):
        yield (
            "A-expand",
            "gives a template to argv, where ~ and $ are more: say expand_argument_vars: false",
        )
    choices = names.choices(argv) if isinstance(argv, str) else [argv]
    if choices is None or not all(isinstance(one, list) for one in choices):
        yield "A-argv", "chooses its program by a template: write argv as a list"
        return
    for words in choices:
        texts = [str(word) for word in words]
        problem = _words(texts)
        if problem:
            yield "A-argv", problem
        program = _program(texts)
        if program in INTERPRETERS | RUNNERS and not is_literal(args.get("stdin")):
            yield "A-argv", f"gives a template to {program} as its input, which may be code"


def _program(words: list[str]) -> str:
    name = words[0].rpartition("/")[2] if words else ""
    return name.rstrip("0123456789.") or name


def _words(words: list[str]) -> str | None:
    if is_literal(words):
        return None
    if not is_literal(words[0]):
        return "chooses its program by a template: write the program out"
    program = _program(words)
    if program in RUNNERS:
        return f"gives a template to {program}, which may run it: write its words out"
    if program in INTERPRETERS:
        before = next(number for number, word in enumerate(words) if not is_literal(word))
        # An option may stand between -c and the code, so the code itself has to be seen.
        pairs = pairwise(words[1:before])
        if not any(CODE_BEHIND.fullmatch(one) and code[:1] not in "-+" for one, code in pairs):
            return f"gives {program} a template as code: write -c and the code out before it"
    for option, word in pairwise(words):
        if CODE_INSIDE.match(word) or (CODE.fullmatch(option) and not is_literal(word)):
            return f"gives a template to {program} as code: write it out"
    return None


def only_looks(task: Task) -> bool:
    """Say whether a command only reads: by its program, or by all of its words."""
    args = task.args
    known = {"argv", "expand_argument_vars", "strip_empty_ends"}
    if not isinstance(args, dict) or set(args) - known or task.inherited("environment"):
        return False
    argv = args.get("argv")
    if not isinstance(argv, list) or not argv:
        return False
    directory, _, program = str(argv[0]).rpartition("/")
    if directory not in DIRECTORIES:
        return False
    words = (program, *argv[1:])
    return program in READERS or (
        is_literal(argv) and any(words[: len(look)] == look for look in LOOKS)
    )
