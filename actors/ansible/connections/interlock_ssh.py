"""Ansible's ssh, by which nothing of a module outlives the connection that it came through.

1. A module is handed to the host's Python through the connection (pipelining): one round trip, and
   neither it nor the values that it was given lie in a file of the host.
2. There is no terminal then whose loss would hang up what runs. So a module brings a guard: when
   nobody listens to it any more, its process group gets the SIGHUP that a terminal would send.
3. A module that cannot bring the guard, or whose guard would hear nothing, is refused: it does not
   begin.
4. A connection that is being made ahead (see `actors/ansible/reach.py`) is waited for; that it
   failed is an answer too, for one time.

Ansible loads this file by its path, in the process that plays; see `actors/ansible/stage.py`.
"""

from __future__ import annotations

import contextlib
import re
import shlex
import time
from pathlib import Path
from typing import Any, Final

from ansible.errors import (  # type: ignore[import-untyped]  # has no types
    AnsibleConnectionFailure,
    AnsibleError,
)
from ansible.plugins.connection import ssh  # type: ignore[import-untyped]  # as above

__all__ = ["DOCUMENTATION", "Connection", "guarded"]

DOCUMENTATION: Final = ssh.DOCUMENTATION.replace("name: ssh", "name: interlock_ssh", 1)
"""Where Ansible finds the options of a connection: they are those of its own."""
PYTHON: Final = re.compile(rb"#!\S*/python[0-9.]*[ \t]*\n")
POLL_S: Final = 0.003
BEYOND_S: Final = 5
"""How long to wait beyond the time that ssh itself has for connecting."""
SAID: Final = 2000
NO_TERMINAL: Final = b"must have a tty"
BETWEEN: Final = b"sudo listens instead"
OTHERWISE: Final = "say `pipelining: false` under `kinds: ansible:` in interlock.yaml"
OUTSIDE: Final = "export LC_INTERLOCK=$(readlink /proc/$$/fd/1); exec "
"""Names what sshd listens to in a variable of the one kind that a sudo passes on."""
INSIDE: Final = b"""\
import os, sys
if os.environ.pop("LC_INTERLOCK", None) != os.readlink("/proc/self/fd/1"):
    sys.exit("sudo listens instead")
"""
"""A sudo that copies output for its log gives another pipe, to which it listens for ever."""
GUARD: Final = b"""\
import os, select, signal, threading
_module = os.fork()
if _module:
    def _hang_up():
        heard = select.poll()
        heard.register(1, 0)  # only that nobody listens, or nobody ever will
        heard.poll()
        os.kill(0, signal.SIGHUP)
    threading.Thread(target=_hang_up, daemon=True).start()
    _status = os.waitpid(_module, 0)[1]
    os._exit(_status >> 8 if not _status & 127 else 128 + (_status & 127))
"""
"""Stands before every module: the process that was started guards, its child is the module."""


class Connection(ssh.Connection):  # type: ignore[misc]  # ansible has no types
    """Reaches a host by ssh."""

    def exec_command(self, cmd: str, in_data: bytes | None = None, sudoable: bool = True) -> Any:  # noqa: FBT001, FBT002 - ansible's signature
        """Run a command on the host, or a module that stands in its input."""
        self._await_dial()
        # What is not sudoable and has an input is `dd`, which gets a file and not a program.
        if not (in_data and sudoable):
            return super().exec_command(cmd, in_data=in_data, sudoable=sudoable)
        program = guarded(in_data, by_sudo=bool(self.become))
        if self.become:
            cmd = f"/bin/sh -c {shlex.quote(OUTSIDE + cmd)}"
        ended = super().exec_command(cmd, in_data=program, sudoable=sudoable)
        if ended[0] and NO_TERMINAL in ended[2]:
            raise AnsibleError(f"sudo wants a terminal here: {OTHERWISE}")
        if ended[0] and BETWEEN in ended[2]:
            raise AnsibleError(f"sudo keeps what a module says from its guard: {OTHERWISE}")
        return ended

    def _await_dial(self) -> None:
        dialling = Path(f"{self.get_option('control_path')}.dial")
        deadline = time.monotonic() + self.get_option("timeout") + BEYOND_S
        while dialling.exists() and time.monotonic() < deadline:
            time.sleep(POLL_S)
        with contextlib.suppress(FileNotFoundError):
            dialling.with_name(f"{dialling.name}.lost").unlink()
            said = dialling.with_name(f"{dialling.name}.said").read_text(errors="replace")
            raise AnsibleConnectionFailure(f"Failed to connect to the host via ssh: {said[-SAID:]}")


def guarded(program: bytes, *, by_sudo: bool) -> bytes:
    """Put the guard before a module; cut off on its way it is no Python, and does nothing."""
    if not PYTHON.match(program):
        raise AnsibleError(f"a module that is not written in Python cannot be hung up: {OTHERWISE}")
    return (
        (INSIDE if by_sudo else b"")
        + GUARD
        + b"exec(compile(%r, '<module>', 'exec', dont_inherit=True))\n" % program
    )
