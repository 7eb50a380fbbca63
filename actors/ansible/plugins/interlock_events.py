"""Ansible's callback: every event whole, one JSON line each, written before the play goes on.

1. A line is never shortened here. When the file would pass its bound, the play ends.
2. The first event from a host that is no target ends the play, before its next task. A target may
   be looked at from the controller; whatever else is done there is done on no target.
3. Ansible's own words (warnings, errors without an event) go where its output goes.

Ansible loads this file by its path, in the process that plays; see `actors/ansible/stage.py`.
"""

from __future__ import annotations

import json
import os
import signal
import time
from typing import Any, Final, NoReturn

from ansible.plugins.callback import CallbackBase  # type: ignore[import-untyped]  # has no types

__all__ = ["CallbackModule"]

EVENTS: Final = "INTERLOCK_EVENTS"
TARGETS: Final = "INTERLOCK_TARGETS"
LIMIT: Final = "INTERLOCK_EVENTS_LIMIT"
PULSE: Final = "INTERLOCK_PULSE"
URI: Final = "ansible.builtin.uri"
LOOKING: Final = frozenset({URI, "ansible.builtin.wait_for"})
"""Modules that may look at a target from the controller."""
LOOKING_ARGS: Final = frozenset([
    "body_format", "follow_redirects", "force_basic_auth", "headers", "http_agent", "method",
    "return_content", "status_code", "timeout", "url", "url_password", "url_username", "use_proxy",
    "validate_certs",
])  # fmt: skip
"""What `uri` may be told there: nothing by which it reads or writes a file of the controller."""
PAGES: Final = ("http://", "https://")
METHODS: Final = ("GET", "HEAD")
ADDING: Final = frozenset({"ansible.builtin.add_host", "ansible.legacy.add_host"})
CONTROLLER: Final = "localhost"


class CallbackModule(CallbackBase):  # type: ignore[misc]  # ansible has no types
    """Writes what happens."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "stdout"
    CALLBACK_NAME = "interlock_events"

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        self._file = os.open(os.environ[EVENTS], flags, 0o600)
        self._targets = frozenset(json.loads(os.environ[TARGETS]))
        self._room = int(os.environ[LIMIT])
        self._pulse = os.environ[PULSE]

    def v2_playbook_on_start(self, playbook: Any) -> None:
        """Ansible has read the playbook."""
        del playbook
        self._say("start", pid=os.getpid())

    def v2_playbook_on_play_start(self, play: Any) -> None:
        """A play begins."""
        self._say("play", play=play.get_name())

    def v2_playbook_on_task_start(self, task: Any, is_conditional: bool) -> None:  # noqa: FBT001 - ansible's signature
        """A task begins, for whichever hosts."""
        del is_conditional
        self._say("task", **_about(task))

    def v2_playbook_on_handler_task_start(self, task: Any) -> None:
        """A handler begins."""
        self._say("task", handler=True, **_about(task))

    def v2_runner_on_start(self, host: Any, task: Any) -> None:
        """A task begins on a host."""
        self._say("begin", host=host.name, task_id=task._uuid)  # noqa: SLF001 - it has no other name
        # What a template would make of it is not known yet, and need not be: it is no target.
        self._refuse_foreign(host.name, str(task.delegate_to) if task.delegate_to else None, task)
        if task.resolved_action in ADDING:
            self._refuse_foreign("a host that it adds", None, task)

    def v2_runner_on_ok(self, result: Any) -> None:
        """A task did its work on a host."""
        self._result("ok", result)

    def v2_runner_on_failed(self, result: Any, ignore_errors: bool = False) -> None:  # noqa: FBT001, FBT002 - ansible's signature
        """A task failed on a host."""
        self._result("failed", result, ignored=ignore_errors)

    def v2_runner_on_skipped(self, result: Any) -> None:
        """A task was skipped on a host."""
        self._result("skipped", result)

    def v2_runner_on_unreachable(self, result: Any) -> None:
        """A host did not answer."""
        self._result("unreachable", result)

    def v2_runner_item_on_ok(self, result: Any) -> None:
        """An item of a loop is done; what it said comes again with the whole."""
        self._item(result)

    def v2_runner_item_on_failed(self, result: Any) -> None:
        """An item of a loop failed."""
        self._item(result)

    def v2_runner_item_on_skipped(self, result: Any) -> None:
        """An item of a loop was skipped."""
        self._item(result)

    def v2_runner_retry(self, result: Any) -> None:
        """A task is tried again."""
        self._item(result)

    def v2_runner_on_async_poll(self, result: Any) -> None:
        """A long task is still at work."""
        self._item(result)

    def v2_playbook_on_stats(self, stats: Any) -> None:
        """All plays have ended."""
        names = ("processed", "ok", "changed", "failures", "dark", "skipped", "rescued", "ignored")
        self._say("stats", **{name: dict(getattr(stats, name)) for name in names})

    def _result(self, what: str, result: Any, **more: Any) -> None:
        self._say(
            what,
            host=result.host.name,
            delegated=_delegate(result),
            check_mode=bool(result.task_fields.get("check_mode")),
            result=result.result,
            **_about(result.task),
            **more,
        )
        self._refuse_foreign(result.host.name, _delegate(result), result.task)

    def _item(self, result: Any) -> None:
        self._say("item", host=result.host.name, task_id=result.task._uuid)  # noqa: SLF001 - as above
        self._refuse_foreign(result.host.name, _delegate(result), result.task)

    def _refuse_foreign(self, host: str, delegated: str | None, task: Any) -> None:
        looks = delegated == CONTROLLER and _only_looks(task)
        reached = host if delegated is None or looks else delegated
        if reached not in self._targets:
            self._say("foreign", host=reached, **_about(task))
            _end()

    def _say(self, what: str, **more: Any) -> None:
        event = {"event": what, "at_ms": time.time_ns() // 1_000_000, **more}
        line = json.dumps(event, default=str, separators=(",", ":")).encode() + b"\n"
        self._room -= len(line)
        if self._room < 0:
            line = b'{"event":"full"}\n'
        while line:
            line = line[os.write(self._file, line) :]
        os.utime(self._pulse)
        if self._room < 0:
            _end()


def _about(task: Any) -> dict[str, Any]:
    return {
        "task": task.get_name(),
        "task_id": task._uuid,  # noqa: SLF001 - it has no other name
        "module": task.resolved_action or task.action,
        "path": task.get_path(),
    }


def _only_looks(task: Any) -> bool:
    if task.resolved_action != URI:
        return task.resolved_action in LOOKING
    # As they are written: what a template would make of them is not known yet, so none may be one.
    told = task.args
    return (
        set(told) <= LOOKING_ARGS
        and str(told.get("method", "GET")) in METHODS
        and str(told.get("url", "")).startswith(PAGES)
        and not any(task.module_defaults or ())
    )


def _delegate(result: Any) -> str | None:
    wanted = result.task_fields.get("delegate_to")
    return str(wanted) if wanted else None


def _end() -> NoReturn:
    """Stop here for good: who supervises clears away what is left."""
    os.kill(os.getpid(), signal.SIGTERM)
    while True:
        time.sleep(60)
