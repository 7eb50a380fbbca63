"""Ansible module: finds and removes old files of a directory.

1. Only plain files, on the file system of the directory itself; no link is followed.
2. What is removed was counted first; if it is more than expected, nothing is removed.
3. Age is looked at again just before each file is removed.
"""

from __future__ import annotations

import os
import stat
import time
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING

from ansible.module_utils.basic import AnsibleModule

if TYPE_CHECKING:
    from collections.abc import Iterator

SHOWN = 20


def main() -> None:
    """Do what is asked."""
    module = AnsibleModule(
        argument_spec={
            "directory": {"type": "path", "required": True},
            "name": {"type": "str", "required": True},
            "older_than_days": {"type": "int", "default": 0},
            "before_s": {"type": "int", "default": 0},
            "at_most": {"type": "int", "default": 0},
            "state": {"type": "str", "choices": ["told", "absent"], "default": "told"},
        },
        supports_check_mode=True,
    )
    asked = module.params
    top = Path(asked["directory"])
    if top.is_symlink() or not top.is_dir():
        module.fail_json(msg=f"{top} is not a directory", reason="no_such_directory")
    before_s = asked["before_s"] or int(time.time()) - asked["older_than_days"] * 86_400
    found = dict(_old(top, asked["name"], before_s))
    to_remove = found if asked["state"] == "absent" else {}
    if to_remove and len(to_remove) > asked["at_most"]:
        says = f"{len(found)} files match, at most {asked['at_most']} were expected"
        module.fail_json(msg=says, reason="too_many")
    if not module.check_mode:
        for path in to_remove:
            if path.lstat().st_mtime < before_s:
                path.unlink()
    size = sum(found.values())
    listed = "".join(f"{path}\n" for path in list(to_remove)[:SHOWN])
    before = f"{len(to_remove)} files, {size} bytes, of these:\n{listed}" if to_remove else ""
    module.exit_json(
        changed=bool(to_remove),
        files=len(found),
        bytes=size,
        mebibytes=size >> 20,
        before_s=before_s,
        diff={"before": before, "after": ""} if to_remove else {},
    )


def _old(top: Path, name: str, before_s: int) -> Iterator[tuple[Path, int]]:
    device = top.stat().st_dev
    for folder, folders, files in os.walk(top):
        folders[:] = sorted(f for f in folders if (Path(folder) / f).lstat().st_dev == device)
        for file in sorted(files):
            path = Path(folder) / file
            status = path.lstat()
            if (
                stat.S_ISREG(status.st_mode)
                and fnmatchcase(file, name)
                and (status.st_mtime < before_s)
            ):
                yield path, status.st_blocks * 512


if __name__ == "__main__":
    main()
