"""Ansible module: finds archived files of the systemd journal, and removes those that are named.

1. Only what journald itself names as archived, in this machine's own journal; never what it is
   writing to.
2. A file is as old as its last entry, as its header says. (`journalctl --vacuum-time` goes by the
   first one, so it may remove entries that are younger than what it was told.)
3. What is removed was found before, byte for byte; journald notices by itself, as after a vacuum.
"""

from __future__ import annotations

import re
import stat
import struct
import time
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from ansible.module_utils.basic import AnsibleModule

if TYPE_CHECKING:
    from collections.abc import Iterator

PLACES = ("/var/log/journal", "/run/log/journal")
ARCHIVED = re.compile(
    r".+@([0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{16}\.journal|[0-9a-f]{16}-[0-9a-f]{16}\.journal~)"
)
SIGNATURE = b"LPKSHHRH"
ONLINE = 1
STATE_AT, LAST_ENTRY_AT, HEADER = 16, 192, 200
MEBIBYTE = 1 << 20
SHOWN = 20


class Archived(NamedTuple):
    """One archived file; they sort by age."""

    last_entry_s: float
    path: str
    size: int


def main() -> None:
    """Do what is asked."""
    module = AnsibleModule(
        argument_spec={
            "older_than_days": {"type": "int"},
            "shrink_to_mebibytes": {"type": "int"},
            "at_most_mebibytes": {"type": "int"},
            "files": {"type": "list", "elements": "str"},
            "state": {"type": "str", "choices": ["told", "absent"], "default": "told"},
        },
        supports_check_mode=True,
    )
    asked = module.params
    folders = [folder for folder in _own_folders() if folder.is_dir()]
    if not folders:
        module.fail_json(msg="this machine keeps no journal", reason="no_journal")
    every = sorted(file for folder in folders for file in _archived(folder))
    named = asked["files"]
    found = _excess(asked, every) if named is None else [f for f in every if f.path in {*named}]
    size = sum(file.size for file in found)
    if asked["at_most_mebibytes"] is not None and size > asked["at_most_mebibytes"] * MEBIBYTE:
        says = f"{len(found)} files with {size} bytes, at most {asked['at_most_mebibytes']} MiB"
        module.fail_json(msg=f"{says} were expected", reason="too_much")
    to_remove = found if asked["state"] == "absent" else []
    if not module.check_mode:
        for file in to_remove:
            Path(file.path).unlink(missing_ok=True)
    module.exit_json(
        changed=bool(to_remove),
        files=[file.path for file in found],
        bytes=size,
        left_bytes=sum(file.size for file in every) - size,
        diff={"before": _told(to_remove, size), "after": ""} if to_remove else {},
    )


def _own_folders() -> Iterator[Path]:
    machine = Path("/etc/machine-id").read_text(encoding="ascii").strip()
    if re.fullmatch(r"[0-9a-f]{32}", machine):
        yield from (Path(place) / machine for place in PLACES)


def _archived(folder: Path) -> Iterator[Archived]:
    for path in folder.iterdir():
        status = path.lstat()
        if ARCHIVED.fullmatch(path.name) and stat.S_ISREG(status.st_mode):
            with path.open("rb") as file:
                header = file.read(HEADER)
            if len(header) == HEADER and header.startswith(SIGNATURE):
                # One that journald found broken still says so: nobody writes to it any more.
                if header[STATE_AT] == ONLINE and path.name.endswith(".journal"):
                    continue
                last_s = struct.unpack_from("<Q", header, LAST_ENTRY_AT)[0] / 1_000_000
            else:
                last_s = 0
            yield Archived(last_s or status.st_mtime, str(path), status.st_blocks * 512)


def _excess(asked: dict[str, int | None], every: list[Archived]) -> list[Archived]:
    """Choose what is too old, and of the rest the oldest until what is left is small enough."""
    days, mebibytes = asked["older_than_days"], asked["shrink_to_mebibytes"]
    before_s = 0 if days is None else time.time() - days * 86_400
    left = sum(file.size for file in every)
    chosen = []
    for file in every:
        too_big = mebibytes is not None and left > mebibytes * MEBIBYTE
        if file.last_entry_s < before_s or too_big:
            chosen.append(file)
            left -= file.size
    return chosen


def _told(files: list[Archived], size: int) -> str:
    listed = "".join(
        f"{file.path}  {file.size} bytes, until "
        f"{time.strftime('%Y-%m-%dT%H:%M:%SZ', time.gmtime(file.last_entry_s))}\n"
        for file in files[:SHOWN]
    )
    return f"{len(files)} files, {size} bytes, of these:\n{listed}"


if __name__ == "__main__":
    main()
