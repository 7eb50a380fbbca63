"""Describes this host, so that two looks can be compared: run on it by `looks.py`, from its input.

1. Nothing is written here.
2. Every file of every disk: what it is, whose, how big, and when it last changed in any way. The
   last of these (ctime) cannot be set by anybody, so that a write cannot hide.
3. Every process that is not the kernel's, a login's, or this one's own.
4. What every login leaves is left out: it says nothing of what was done.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
from pathlib import Path
from typing import Final

__all__ = ["files", "processes"]

SKIPPED: Final = ("/proc", "/sys", "/dev")
LEFT_BY_LOGINS: Final = (
    ".ansible", "authorized_keys", "lastlog", "wtmp", "btmp", "utmp", "auth.log", "secure",
    "sshd.log", "syslog", "messages", "journal", "sudo", "faillog", "motd.dynamic", "user",
)  # fmt: skip
OF_LOGINS: Final = ("sshd:", "sshd-session:", "sudo ", "systemd", "(sd-pam)", "bash -c", "sh -c")


def files() -> dict[str, str]:
    """Describe all files."""
    found = {}
    for folder, folders, names in os.walk("/"):
        folders[:] = [name for name in folders if _is_looked_at(folder, name)]
        for name in [*folders, *names]:
            path = Path(folder) / name
            if name in LEFT_BY_LOGINS or str(path) in ("/root", "/run", "/tmp", "/var/log"):  # noqa: S108 - left out, not used
                continue
            with contextlib.suppress(OSError):
                at = path.lstat()
                size = at.st_size if not path.is_dir() else 0
                found[str(path)] = f"{at.st_mode:o} {at.st_uid}:{at.st_gid} {size} {at.st_ctime_ns}"
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
            if words.strip() and not words.startswith(OF_LOGINS):
                found[f"runs {words.strip()}"] = born
    return found


def _is_looked_at(folder: str, name: str) -> bool:
    path = Path(folder) / name
    return str(path) not in SKIPPED and name not in LEFT_BY_LOGINS and not path.is_symlink()


if __name__ == "__main__":
    sys.stdout.write(json.dumps({**files(), **processes()}))
