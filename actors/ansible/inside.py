"""Ansible inside a process of ours: imported once, then played in forks of that process.

1. This is an internal interface of Ansible, so it is used for the versions in `KNOWN_GOOD` only.
2. A fork plays one play and ends; nothing of it can get back into the process that was forked.
"""

from __future__ import annotations

import os
import random
import sys
import warnings
from typing import TYPE_CHECKING, Final, NoReturn

from actors.ansible.command import command_of
from actors.ansible.lukewarm import KNOWN_GOOD

if TYPE_CHECKING:
    from actors.ansible.shim import Job

__all__ = ["play_inside", "preload"]

WHOLE: Final = ("connection", "shell", "become", "callback", "vars")
"""Kinds of plugins that every play looks through."""
OFTEN: Final = {
    "action": ("normal", "copy", "template", "command", "set_stats", "set_fact", "debug", "fail"),
    "connection": ("ansible.builtin.local", "ansible.builtin.ssh"),
    "become": ("ansible.builtin.sudo",),
    "shell": ("ansible.builtin.sh",),
    "strategy": ("ansible.builtin.linear",),
    "inventory": ("ansible.builtin.yaml",),
    "cache": ("ansible.builtin.memory",),
    "callback": ("interlock_events",),
}
"""What nearly every play loads, by kind of plugin."""


def preload() -> bool:
    """Import what a play needs; say whether this version is known to bear it."""
    from ansible.plugins import loader  # type: ignore[import-untyped]  # noqa: PLC0415 - as above
    from ansible.release import __version__  # type: ignore[import-untyped]  # noqa: PLC0415 - as above

    if __version__ not in KNOWN_GOOD:
        return False
    loader.init_plugin_loader()
    for kind in WHOLE:
        list(getattr(loader, f"{kind}_loader").all(class_only=True))
    list(loader.filter_loader.all())
    list(loader.test_loader.all())
    for kind, names in OFTEN.items():
        for name in names:
            getattr(loader, f"{kind}_loader").get(name, class_only=True)
    return True


def play_inside(job: Job) -> NoReturn:
    """Play in this fork of the warm server, and end with it."""
    from ansible import cli, constants  # type: ignore[import-untyped]  # noqa: PLC0415 - as above
    from ansible.cli.playbook import (  # type: ignore[import-untyped]  # noqa: PLC0415 - as above
        PlaybookCLI,
    )

    code = 250
    try:
        os.environ.clear()
        os.environ.update(job.environ)
        random.seed()
        warnings.simplefilter("ignore")
        constants.DEFAULT_LOCAL_TMP = job.scratch[0]
        constants.ANSIBLE_HOME = job.environ["ANSIBLE_HOME"]
        cli.init_plugin_loader = _initialised_already
        sys.argv = command_of(job)
        PlaybookCLI.cli_executor(sys.argv)
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else 1
    finally:
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        os._exit(code)


def _initialised_already(collections: object = None) -> None:
    del collections
