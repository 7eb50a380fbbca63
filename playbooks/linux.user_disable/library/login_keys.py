"""Ansible module: lets none of an account's keys log in, and gives it back exactly those it had.

1. Users own their files: no link is followed, and the directory is held open while one is looked at
   and replaced. What is not plainly the account's own, or root's, is left alone.
2. Keys are bytes: their comments are in any encoding, or in none.
3. The first keep of a step counts: a second attempt never keeps what the first one has written.
4. The account by which we log in ourselves is refused, whoever we became then.
"""

from __future__ import annotations

import contextlib
import json
import os
import pwd
import re
import stat
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from ansible.module_utils.basic import AnsibleModule

if TYPE_CHECKING:
    from collections.abc import Iterator

NAME = "authorized_keys"
NONE = re.compile(rb"(# disabled; the keys are kept in [^\n]+\n)?")
"""A whole file that lets nobody in: this step's, another one's, or an empty one."""
FIRST_PERSON = 1000
MAX_BYTES = 1_000_000


class Refusal(Exception):
    """Why nothing is done: the name of a failure mode, and words."""


class Keys(NamedTuple):
    """A file of keys, as it is on the disk."""

    text: bytes
    owner: int
    group: int
    mode: int


def main() -> None:
    """Do what is asked."""
    module = AnsibleModule(
        argument_spec={
            "user": {"type": "str", "required": True},
            "keep": {"type": "path", "required": True},
            "or_refuse": {"type": "bool", "default": False},
            "state": {"type": "str", "choices": ["told", "none", "restored"], "required": True},
        },
        supports_check_mode=True,
    )
    try:
        _done(module)
    except Refusal as error:
        module.fail_json(reason=error.args[0], msg=error.args[1])


def _done(module: AnsibleModule) -> None:
    asked = module.params
    account = _account(asked["user"])
    if asked["or_refuse"] or asked["state"] == "none":
        _refuse(account)
    elif asked["state"] == "told":
        module.exit_json(changed=False, in_use=_in_use(account))
    with _folder(account) as folder:
        now = _read(folder, account)
        then = _wanted(now, asked["state"], Path(asked["keep"]))
        if then != now and not module.check_mode:
            if asked["state"] == "none" and now is not None:
                _keep(now, Path(asked["keep"]))
            _write(folder, then, account)
    module.exit_json(changed=then != now)


def _in_use(account: pwd.struct_passwd) -> bool:
    """Say whether a key may log in; of what is not plain, nobody knows that none may."""
    try:
        with _folder(account) as folder:
            now = _read(folder, account)
    except Refusal:
        return True
    return now is not None and not NONE.fullmatch(now.text)


def _wanted(now: Keys | None, state: str, keep: Path) -> Keys | None:
    if state == "restored":
        return _kept(keep) or now
    if state == "told" or now is None or NONE.fullmatch(now.text):
        return now
    mark = f"# disabled; the keys are kept in {keep}\n".encode()
    return now._replace(text=mark, mode=0o600)


# --- whose ----------------------------------------------------------------------------------------


def _account(user: str) -> pwd.struct_passwd:
    try:
        return pwd.getpwnam(user)
    except KeyError:
        raise Refusal("no_such_user", f"there is no account {user}") from None


def _refuse(account: pwd.struct_passwd) -> None:
    for own in _ourselves():
        if account.pw_uid == own.pw_uid or _home(account) == _home(own):
            raise Refusal("own_account", f"{account.pw_name} is {own.pw_name}, as whom we log in")
    if account.pw_uid < FIRST_PERSON:
        raise Refusal("not_a_person", f"{account.pw_name} belongs to the system")


def _ourselves() -> Iterator[pwd.struct_passwd]:
    """Name the account by which we came in, which sudo tells, and the one that we became."""
    for number in {os.getuid(), int(os.environ.get("SUDO_UID", os.getuid()))}:
        with contextlib.suppress(KeyError):
            yield pwd.getpwuid(number)


def _home(account: pwd.struct_passwd) -> str:
    return os.path.realpath(account.pw_dir)


# --- files ----------------------------------------------------------------------------------------


@contextlib.contextmanager
def _folder(account: pwd.struct_passwd) -> Iterator[int | None]:
    """Hold the directory of an account's keys open, if there is one."""
    path = Path(account.pw_dir) / ".ssh"
    try:
        handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        yield None
        return
    except OSError as error:
        raise Refusal("not_plain", f"{path}: {error.strerror}") from None
    try:
        _refuse_others(os.fstat(handle), account, path)
        yield handle
    finally:
        os.close(handle)


def _refuse_others(status: os.stat_result, account: pwd.struct_passwd, path: Path) -> None:
    if status.st_uid not in (0, account.pw_uid):
        raise Refusal("not_plain", f"{path} belongs to the account with the number {status.st_uid}")


def _read(folder: int | None, account: pwd.struct_passwd) -> Keys | None:
    if folder is None:
        return None
    path = Path(account.pw_dir) / ".ssh" / NAME
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    try:
        with open(os.open(NAME, flags, dir_fd=folder), "rb") as file:  # noqa: PTH123 - a handle
            status = os.fstat(file.fileno())
            _refuse_others(status, account, path)
            if not stat.S_ISREG(status.st_mode) or status.st_size > MAX_BYTES:
                raise Refusal("not_plain", f"{path} is not a plain file of keys")
            mode = stat.S_IMODE(status.st_mode)
            return Keys(file.read(MAX_BYTES), status.st_uid, status.st_gid, mode)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise Refusal("not_plain", f"{path}: {error.strerror}") from None


def _write(folder: int | None, keys: Keys | None, account: pwd.struct_passwd) -> None:
    """Replace the file in one step."""
    if folder is None or keys is None:
        raise Refusal("not_plain", f"{account.pw_dir}/.ssh, which held the keys, is gone")
    new = f".{NAME}.interlock"
    with contextlib.suppress(FileNotFoundError):
        os.unlink(new, dir_fd=folder)
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    with open(os.open(new, flags, 0o600, dir_fd=folder), "wb") as file:  # noqa: PTH123 - a handle
        file.write(keys.text)
        file.flush()
        os.fchown(file.fileno(), keys.owner, keys.group)
        os.fchmod(file.fileno(), keys.mode)
        os.fsync(file.fileno())
    os.rename(new, NAME, src_dir_fd=folder, dst_dir_fd=folder)
    os.fsync(folder)


# --- what is kept ---------------------------------------------------------------------------------


def _keep(keys: Keys, keep: Path) -> None:
    note = keep / "keys.json"
    if note.exists():
        return
    keep.mkdir(mode=0o700, parents=True, exist_ok=True)
    _synced(keep / "keys.copy", keys.text)
    about = json.dumps({"owner": keys.owner, "group": keys.group, "mode": keys.mode})
    _synced(keep / "keys.new", about.encode())
    (keep / "keys.new").rename(note)


def _kept(keep: Path) -> Keys | None:
    note = keep / "keys.json"
    if not note.exists():
        return None
    return Keys(text=(keep / "keys.copy").read_bytes(), **json.loads(note.read_bytes()))


def _synced(path: Path, text: bytes) -> None:
    path.touch(mode=0o600)
    with path.open("wb") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())


if __name__ == "__main__":
    main()
