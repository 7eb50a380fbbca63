"""Describes this host, so that two looks can be compared: run on it by `looks.py`, from its input.

1. Nothing is written here.
2. Every file of every disk: what it is, whose, how big, and when it last changed in any way. The
   last of these (ctime) cannot be set by anybody, so that a write cannot hide.
3. Every process that is not the kernel's, a login's, or this one's own.
4. What every login leaves is left out, by its path from the root: it says nothing of what was done.
"""

from __future__ import annotations

import contextlib
import json
import os
import pwd
import re
import sys
from pathlib import Path
from typing import Final

__all__ = ["files", "processes"]

SKIPPED: Final = ("/proc", "/sys", "/dev")
LEFT_BY_LOGINS: Final = (
    "/run/faillock", "/run/motd.dynamic", "/run/sudo", "/run/user", "/run/utmp",
    "/run/systemd/inhibit", "/run/systemd/journal", "/run/systemd/sessions",
    "/run/systemd/transient", "/run/systemd/units", "/run/systemd/users",
    "/var/db/sudo", "/var/lib/lastlog", "/var/lib/sudo", "/var/lib/wtmpdb",
    "/var/log/audit", "/var/log/auth.log", "/var/log/btmp", "/var/log/daemon.log",
    "/var/log/faillog", "/var/log/lastlog", "/var/log/messages", "/var/log/secure",
    "/var/log/sshd.log", "/var/log/syslog", "/var/log/wtmp",
)  # fmt: skip
"""From the root, with all that is below: elsewhere a file of such a name is like any other."""
CHANGED_BY_LOGINS: Final = ("/root", "/run", "/tmp", "/var/log")  # noqa: S108 - left out, not used
"""Folders in which something of this kind comes and goes: they themselves, not what is below."""
JOURNALS: Final = ("/var/log/journal/", "/run/log/journal/")
MACHINE: Final = 4
"""How deep below the root the folder of a machine's journals is."""
WRITTEN_NOW: Final = re.compile(r"(system|user-\d+)\.journal")
"""Journals that are written to; those that are archived are no login's."""
OF_LOGINS: Final = ("sshd:", "sshd-session:", "sudo ", "systemd", "(sd-pam)", "bash -c", "sh -c")


def files(top: str = "/", homes: frozenset[str] | None = None) -> dict[str, str]:
    """Describe all files below a folder that stands for the root."""
    at_home = _homes() if homes is None else homes
    found = {}
    for folder, folders, names in os.walk(top):
        within = f"/{folder.removeprefix(top).strip('/')}".rstrip("/")
        folders[:] = [name for name in folders if f"{within}/{name}" not in SKIPPED]
        for name in [*folders, *names]:
            where = f"{within}/{name}"
            if _is_login_s(where, at_home):
                continue
            with contextlib.suppress(OSError):
                path = Path(folder) / name
                at = path.lstat()
                size = at.st_size if not path.is_dir() else 0
                found[where] = f"{at.st_mode:o} {at.st_uid}:{at.st_gid} {size} {at.st_ctime_ns}"
        folders[:] = [name for name in folders if not _is_left(f"{within}/{name}", at_home)]
    return found


def processes() -> dict[str, str]:
    """Describe all processes."""
    found = {}
    for entry in Path("/proc").iterdir():
        if not entry.name.isdecimal() or int(entry.name) in (os.getpid(), os.getppid()):
            continue
        with contextlib.suppress(OSError):
            words = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode("utf-8", "replace")
            born = (entry / "stat").read_text().rpartition(")")[2].split()[19]
            # With -R sshd has taken a connection, and not named it yet.
            taken = "/sshd " in words and words.rstrip().endswith(" -R")
            if words.strip() and not taken and not words.startswith(OF_LOGINS):
                found[f"runs {words.strip()}"] = born
    return found


def _homes() -> frozenset[str]:
    """Say where users are at home: Ansible makes a folder there for whoever it becomes."""
    return frozenset(user.pw_dir.rstrip("/") for user in pwd.getpwall())


def _is_left(where: str, homes: frozenset[str]) -> bool:
    """Say whether something is a login's, with all that is below."""
    above, _, name = where.rpartition("/")
    if where.startswith("/tmp/ansible_"):  # noqa: S108 - a module's, while it runs: left out, not used
        return True
    return where in LEFT_BY_LOGINS or (name == ".ansible" and above in homes)


def _is_login_s(where: str, homes: frozenset[str]) -> bool:
    if where.startswith(JOURNALS):
        # Neither the folder of a machine, in which journals come and go, nor what is written now.
        return where.count("/") == MACHINE or bool(WRITTEN_NOW.fullmatch(where.rpartition("/")[2]))
    return where in homes or where in CHANGED_BY_LOGINS or _is_left(where, homes)


if __name__ == "__main__":
    sys.stdout.write(json.dumps({**files(), **processes()}))
