"""Ansible module: finds and removes old files of a directory.

1. Only plain files, on the file system of the directory itself; no link is followed, neither to the
   directory nor below it. Every directory is held open while it is looked at, and a file is removed
   from the directory that is held, so that nobody can put a link in its place meanwhile.
2. What is removed was counted first; if it is more than expected, nothing is removed.
3. Age is looked at again just before each file is removed. What is gone by then is none of ours.
4. Names are bytes: not every one can be read as text.
"""

from __future__ import annotations

import contextlib
import os
import re
import stat
import time
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, NamedTuple

from ansible.module_utils.basic import AnsibleModule

if TYPE_CHECKING:
    from collections.abc import Iterator

ALLOWED = re.compile(r"/(var|srv|data|opt|home)(/[A-Za-z0-9_-][A-Za-z0-9._-]*)+")
"""As the manifest has it: whoever removes files as root does not lean on one check alone."""
SHOWN = 20
IS_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class Refusal(Exception):
    """Why nothing is done: the name of a failure mode, and words."""


class File(NamedTuple):
    """An old file, in a directory that is held open."""

    path: bytes
    """From the top."""
    name: bytes
    folder: int
    size: int


def main() -> None:
    """Do what is asked."""
    module = AnsibleModule(
        argument_spec={
            "directory": {"type": "str", "required": True},
            "name": {"type": "str", "required": True},
            "older_than_days": {"type": "int", "default": 0},
            "before_s": {"type": "int", "default": 0},
            "at_most": {"type": "int", "default": 0},
            "state": {"type": "str", "choices": ["told", "absent"], "default": "told"},
        },
        supports_check_mode=True,
    )
    try:
        with held(module.params["directory"]) as top:
            _done(module, top)
    except Refusal as error:
        module.fail_json(reason=error.args[0], msg=error.args[1])


def _done(module: AnsibleModule, top: int) -> None:
    asked = module.params
    before_s = asked["before_s"] or int(time.time()) - asked["older_than_days"] * 86_400
    found = {file.path: file.size for file in old_files(top, asked["name"], before_s)}
    size = sum(found.values())
    to_remove = found if asked["state"] == "absent" else {}
    if to_remove and len(to_remove) > asked["at_most"]:
        says = f"{len(found)} files match, at most {asked['at_most']} were expected"
        raise Refusal("too_many", says)
    if to_remove and not module.check_mode:
        for file in old_files(top, asked["name"], before_s):
            if file.path in to_remove:
                with contextlib.suppress(FileNotFoundError, IsADirectoryError):
                    os.unlink(file.name, dir_fd=file.folder)
    listed = "".join(f"{asked['directory']}/{_text(path)}\n" for path in list(to_remove)[:SHOWN])
    before = f"{len(to_remove)} files, {size} bytes, of these:\n{listed}" if to_remove else ""
    module.exit_json(
        changed=bool(to_remove),
        files=len(found),
        bytes=size,
        mebibytes=size >> 20,
        before_s=before_s,
        diff={"before": before, "after": ""} if to_remove else {},
    )


@contextlib.contextmanager
def held(directory: str) -> Iterator[int]:
    """Hold a directory open that is reached without any link; refuse every other."""
    if not ALLOWED.fullmatch(directory):
        raise Refusal("not_plain", f"{directory} is none that may be looked through")
    if os.path.realpath(directory) != directory:
        raise Refusal("not_plain", f"{directory} is {os.path.realpath(directory)} by a link")
    handle = os.open("/", IS_DIRECTORY)
    try:
        for part in directory.split("/")[1:]:
            above, handle = handle, _below(handle, part, directory)
            os.close(above)
        yield handle
    finally:
        os.close(handle)


def _below(handle: int, part: str, directory: str) -> int:
    try:
        return os.open(part, IS_DIRECTORY, dir_fd=handle)
    except OSError as error:
        try:
            is_link = stat.S_ISLNK(os.stat(part, dir_fd=handle, follow_symlinks=False).st_mode)
        except OSError:
            is_link = False
        reason = "not_plain" if is_link else "no_such_directory"
        raise Refusal(reason, f"{directory}: {part}: {error.strerror}") from None


def old_files(top: int, name: str, before_s: int) -> Iterator[File]:
    """Find the old files below a directory, each while its own directory is held open."""
    device = os.fstat(top).st_dev
    for folder, folders, files, handle in os.fwalk(b".", dir_fd=top):
        folders[:] = sorted(one for one in folders if _is_ours(one, handle, device))
        for file in sorted(files):
            status = _status(file, handle)
            if status is None or not stat.S_ISREG(status.st_mode):
                continue
            if fnmatchcase(os.fsdecode(file), name) and status.st_mtime < before_s:
                path = os.path.join(folder, file)[2:]  # noqa: PTH118 - bytes
                yield File(path, file, handle, status.st_blocks * 512)


def _is_ours(name: bytes, handle: int, device: int) -> bool:
    status = _status(name, handle)
    return status is not None and stat.S_ISDIR(status.st_mode) and status.st_dev == device


def _status(name: bytes, handle: int) -> os.stat_result | None:
    try:
        return os.stat(name, dir_fd=handle, follow_symlinks=False)
    except FileNotFoundError:
        return None


def _text(path: bytes) -> str:
    """Show a name on one line, whatever it is made of."""
    text = path.decode(errors="backslashreplace")
    return "".join(char if char.isprintable() else repr(char)[1:-1] for char in text)


if __name__ == "__main__":
    main()
