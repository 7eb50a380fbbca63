"""Judges what must only read: the tasks of verify, those of a dry run, those on the controller.

1. What reads is listed; whatever is not listed may write.
2. `changed_when` says what is reported, not what is done: it makes no task one that reads.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from actors.ansible.lint_book import KEYWORDS
from actors.ansible.lint_commands import COMMAND, only_looks
from actors.ansible.lint_names import BY_FILE, BY_ROLE
from actors.ansible.lint_text import is_literal, is_off, is_on

if TYPE_CHECKING:
    from collections.abc import Iterator

    from actors.ansible.lint_book import Task
    from actors.ansible.lint_names import Names

__all__ = ["LOOKING_ARGS", "judge_check", "judge_delegate", "judge_verify"]

READING: Final = frozenset(f"ansible.builtin.{name}" for name in [
    "assert", "debug", "fail", "find", "gather_facts", "getent", "meta", "mount_facts",
    "package_facts", "ping", "service_facts", "set_fact", "set_stats", "setup", "slurp", "stat",
    "validate_argument_spec", "wait_for", "wait_for_connection",
])  # fmt: skip
URI: Final = "ansible.builtin.uri"
LOOKING: Final = (URI, "ansible.builtin.wait_for")
KEEP: Final = "interlock_keep"
METHODS: Final = ("GET", "HEAD")
WRITING_ARGS: Final = frozenset({"dest", "src", "unix_socket"})
LOOKING_ARGS: Final = frozenset([
    "body_format", "follow_redirects", "force_basic_auth", "headers", "http_agent", "method",
    "return_content", "status_code", "timeout", "url", "url_password", "url_username", "use_proxy",
    "validate_certs",
])  # fmt: skip
"""What `uri` may be told on the controller; the callback holds the same list."""


def judge_check(task: Task, module: str) -> Iterator[tuple[str, str]]:
    """Yield what a task would do in a dry run that is none."""
    said = [one["check_mode"] for one in task.inner if "check_mode" in one]
    if not all(is_on(one) or is_off(one) for one in said):
        yield "A-check-mode", "says check_mode by something else than true or false"
    elif any(is_off(one) for one in said) and not _reads(task, module):
        yield "A-check-mode", "runs in a dry run too: only what reads may say check_mode: false"


def judge_verify(task: Task, module: str, names: Names) -> Iterator[tuple[str, str]]:
    """Yield what writes although it is only to read."""
    if module in (*BY_FILE, *BY_ROLE):
        return
    if module == KEEP and (not isinstance(task.args, dict) or task.args.get("state") != "told"):
        yield "A-verify-writes", "keeps or restores in verify: only state: told reads"
    elif module in names.own:
        # What an own module does shows when it runs: a verify that changes something is unexpected.
        if "changed_when" in task.said:
            yield "A-verify-writes", "says changed_when of a module of its own: let the module say"
    elif not _reads(task, module):
        says = (
            f"uses {module} in verify, which must only read: use what reads, or a module of its own"
        )
        yield "A-verify-writes", says


def judge_delegate(task: Task, module: str) -> Iterator[tuple[str, str]]:
    """Yield what is done elsewhere than on the target."""
    wanted = task.inherited("delegate_to")
    if wanted is None:
        return
    if wanted != "localhost" or module not in LOOKING:
        yield "A-delegate", f"acts on {wanted!r}: only uri and wait_for may, and from localhost"
    elif module == URI and not _looks(task):
        says = "does more on the controller than to look: uri may GET or HEAD a page there"
        yield "A-delegate", f"{says}, by an http address, and read or write no file"


def _looks(task: Task) -> bool:
    args = task.args if isinstance(task.args, dict) else {}
    page = str(args.get("url", "")).startswith(("http://", "https://"))
    return page and _reads_page(args) and set(args) <= LOOKING_ARGS


def _reads(task: Task, module: str) -> bool:
    if module == URI:
        return isinstance(task.args, dict) and _reads_page(task.args)
    if module == COMMAND:
        return only_looks(task)
    return module in READING or (module not in KEYWORDS and module.endswith("_info"))


def _reads_page(args: dict[str, Any]) -> bool:
    method = args.get("method", "GET")
    return is_literal(method) and str(method) in METHODS and not WRITING_ARGS & set(args)
