"""Ansible module: takes lines of authorized_keys out of use, and puts exactly those back.

1. A line is taken out of use by a mark before it that makes it a comment and names the step. To put
   it back is to take the mark away: what others wrote to the file meanwhile stays.
2. Which files count says sshd itself, for each user. All of them are judged before one is written.
3. Users own their files: no link is followed, and the directory is held open while one is replaced.
4. If our own way in is concerned, a process that outlives our connection puts the lines back,
   unless a new login says in time that it succeeded. Both claim the file `pending`; one gets it.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import hashlib
import os
import pwd
import re
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from ansible.module_utils.basic import AnsibleModule

if TYPE_CHECKING:
    from collections.abc import Iterator

SSHD = "/usr/sbin/sshd"
TYPE = re.compile(rb"(?:ssh|ecdsa|sk-ssh|sk-ecdsa)-[a-z0-9@.-]+")
MAX_BYTES = 1_000_000
WATCH_S = 0.2


class Refusal(Exception):
    """Why nothing is done: the name of a failure mode, and words."""


class Key(NamedTuple):
    """A key in use, as a line of a file has it."""

    fingerprint: str
    options: bytes


class File(NamedTuple):
    """A user's file of keys."""

    user: str
    path: Path
    shared: bool
    """It is one file for all users."""


def main() -> None:
    """Do what is asked."""
    module = AnsibleModule(
        argument_spec={
            "users": {"type": "list", "elements": "str", "required": True},
            "keys": {"type": "list", "elements": "str", "required": True, "no_log": False},
            "step": {"type": "str", "required": True},
            "keep": {"type": "path", "required": True},
            "prove_within_s": {"type": "int", "default": 30},
            "or_refuse": {"type": "bool", "default": False},
            "state": {
                "type": "str",
                "choices": ["told", "revoked", "proven", "restored"],
                "required": True,
            },
        },
        supports_check_mode=True,
    )
    try:
        _done(module)
    except Refusal as error:
        module.fail_json(reason=error.args[0], msg=error.args[1])


def _done(module: AnsibleModule) -> None:
    asked = module.params
    mark = f"# revoked by interlock, {' '.join(asked['step'].split())}: ".encode()
    wanted = {_fingerprint(key) for key in asked["keys"]}
    pending = Path(asked["keep"]) / "pending"
    if asked["state"] == "proven":
        _claim(module, pending)
    before = {file: _read(file.path) for user in asked["users"] for file in _files(user)}
    if asked["or_refuse"] or asked["state"] == "revoked":
        _refuse(before, wanted, asked["users"])
    after = _edited(asked["state"], before, wanted, mark)
    changed = {file: text for file, text in after.items() if text != before[file]}
    if not module.check_mode:
        if asked["state"] == "revoked":
            _watched_if_ours(list(before), changed, mark, pending, asked["prove_within_s"])
        for file, text in changed.items():
            _write(file.path, text)
        if asked["state"] == "restored":
            pending.unlink(missing_ok=True)
    module.exit_json(
        changed=bool(changed),
        active=sum(key.fingerprint in wanted for _, key in _in_use(after)),
        revoked=sum((b"\n" + text).count(b"\n" + mark) for text in after.values()),
        to_prove=pending.exists(),
        diff=[_diff(file, before[file], text) for file, text in changed.items()],
    )


def _edited(
    state: str, before: dict[File, bytes], wanted: set[str], mark: bytes
) -> dict[File, bytes]:
    if state == "revoked":
        return {file: _revoked(text, wanted, mark) for file, text in before.items()}
    if state == "restored":
        return {file: _restored(text, mark) for file, text in before.items()}
    return before


def _diff(file: File, before: bytes, after: bytes) -> dict[str, str]:
    return {
        "before_header": str(file.path),
        "after_header": str(file.path),
        "before": before.decode(errors="replace"),
        "after": after.decode(errors="replace"),
    }


# --- whose keys, and where ------------------------------------------------------------------------


def _ourselves() -> str:
    """Name the account by which we came in, whoever we became then."""
    return os.environ.get("SUDO_USER") or pwd.getpwuid(os.getuid()).pw_name


def _files(user: str) -> list[File]:
    try:
        account = pwd.getpwnam(user)
    except KeyError:
        raise Refusal("no_such_user", f"there is no account {user}") from None
    said = _settings(user)
    for setting in ("authorizedkeyscommand", "trustedusercakeys"):
        if said.get(setting, "none") != "none":
            raise Refusal("kept_elsewhere", f"sshd has {setting} {said[setting]} for {user}")
    values = {"%%": "%", "%h": account.pw_dir, "%u": user, "%U": str(account.pw_uid)}
    found = []
    for word in said.get("authorizedkeysfile", "").split():
        if word != "none":
            name = re.sub(r"%.", lambda at: values.get(at.group(), at.group()), word)
            path = Path(account.pw_dir) / name
            own = re.search(r"%[huU]", word) or not word.startswith("/")
            found.append(File(user, path, not own))
    return found


def _settings(user: str) -> dict[str, str]:
    client = os.environ.get("SSH_CONNECTION", "").split()
    where = client[0] if client else "127.0.0.1"
    done = subprocess.run(  # noqa: S603 - a name that the account's database knows, and no shell
        [SSHD, "-T", "-C", f"user={user},host={where},addr={where}"],
        capture_output=True, text=True, timeout=20, check=False,
    )  # fmt: skip
    if done.returncode:
        raise RuntimeError(f"sshd -T: {done.stderr.strip()[-300:]}")
    lines = (line.partition(" ") for line in done.stdout.splitlines())
    return {name: value for name, _, value in lines}


def _refuse(texts: dict[File, bytes], wanted: set[str], users: list[str]) -> None:
    for file, key in _in_use(texts):
        if key.fingerprint in wanted and file.shared:
            raise Refusal("kept_elsewhere", f"{file.path} holds the key, and is for all users")
    own = _ourselves()
    if own not in users:
        return
    ways = [key for file, key in _in_use(texts) if file.user == own]
    ours = [key for key in ways if b"command=" not in key.options]
    left = [key for key in ours if key.fingerprint not in wanted]
    if len(left) < len(ours) and not left:
        raise Refusal("last_way_in", f"{own}, as whom we log in, would have no key left")


# --- lines ----------------------------------------------------------------------------------------


def _fingerprint(key: str) -> str:
    return key if key.startswith("SHA256:") else _digest(key.split()[1].encode()) or ""


def _digest(blob: bytes) -> str | None:
    try:
        raw = base64.b64decode(blob)
    except (binascii.Error, ValueError):
        return None
    return f"SHA256:{base64.b64encode(hashlib.sha256(raw).digest()).decode().rstrip('=')}"


def _key(line: bytes) -> Key | None:
    """Read a line as sshd does: it may begin with options, which may hold blanks in quotes."""
    line = line.strip(b" \t\r")
    if not line or line.startswith(b"#"):
        return None
    options = b""
    if not TYPE.fullmatch(line.split(None, 1)[0]):
        found = re.match(rb'(?:[^ \t"]|"(?:\\"|[^"])*")+', line)
        options = found.group() if found else b""
        line = line[len(options) :].lstrip(b" \t")
    words = line.split()
    if len(words) < 2 or not TYPE.fullmatch(words[0]):
        return None
    fingerprint = _digest(words[1])
    return Key(fingerprint, options) if fingerprint else None


def _in_use(texts: dict[File, bytes]) -> Iterator[tuple[File, Key]]:
    for file, text in texts.items():
        for line in text.split(b"\n"):
            key = _key(line)
            if key is not None:
                yield file, key


def _revoked(text: bytes, wanted: set[str], mark: bytes) -> bytes:
    lines = text.split(b"\n")
    for number, line in enumerate(lines):
        key = _key(line)
        if key is not None and key.fingerprint in wanted:
            lines[number] = mark + line
    return b"\n".join(lines)


def _restored(text: bytes, mark: bytes) -> bytes:
    return (b"\n" + text).replace(b"\n" + mark, b"\n")[1:]


# --- files ----------------------------------------------------------------------------------------


@contextlib.contextmanager
def _folder(path: Path) -> Iterator[int]:
    handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        yield handle
    finally:
        os.close(handle)


def _read(path: Path) -> bytes:
    try:
        with _folder(path.parent) as folder:
            flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
            with open(os.open(path.name, flags, dir_fd=folder), "rb") as file:  # noqa: PTH123
                status = os.fstat(file.fileno())
                if not stat.S_ISREG(status.st_mode) or status.st_size > MAX_BYTES:
                    raise Refusal("not_plain", f"{path} is not a plain file of keys")
                return file.read(MAX_BYTES)
    except FileNotFoundError:
        return b""
    except OSError as error:
        raise Refusal("not_plain", f"{path}: {error.strerror}") from None


def _write(path: Path, text: bytes) -> None:
    """Replace a file in one step, with its owner and its mode."""
    with _folder(path.parent) as folder:
        status = os.stat(path.name, dir_fd=folder, follow_symlinks=False)
        new = f".{path.name}.interlock"
        with contextlib.suppress(FileNotFoundError):
            os.unlink(new, dir_fd=folder)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        with open(os.open(new, flags, 0o600, dir_fd=folder), "wb") as file:  # noqa: PTH123
            file.write(text)
            file.flush()
            os.fchown(file.fileno(), status.st_uid, status.st_gid)
            os.fchmod(file.fileno(), stat.S_IMODE(status.st_mode))
            os.fsync(file.fileno())
        os.rename(new, path.name, src_dir_fd=folder, dst_dir_fd=folder)
        os.fsync(folder)


# --- our own way in -------------------------------------------------------------------------------


def _claim(module: AnsibleModule, pending: Path) -> None:
    try:
        pending.rename(pending.with_name("proven"))
    except FileNotFoundError:
        module.fail_json(msg="the keys are back in use already", reason="too_late")
    module.exit_json(changed=False)


def _watched_if_ours(
    files: list[File], changed: dict[File, bytes], mark: bytes, pending: Path, limit_s: int
) -> None:
    """Have the lines put back at the end of a time, unless somebody claims `pending` before."""
    ours = {file.path for file in _files(_ourselves())}
    if not pending.exists() and not any(file.path in ours for file in changed):
        return
    pending.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    pending.touch(mode=0o600)
    sys.stdout.flush()
    child = os.fork()
    if child:
        os.waitpid(child, 0)
        return
    os.setsid()
    if os.fork():
        os._exit(0)
    try:
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        for handle in range(256):
            with contextlib.suppress(OSError):
                os.close(handle)
        for _ in range(3):
            os.open("/dev/null", os.O_RDWR)
        os.chdir("/")
        _put_back_in_time(files, mark, pending, time.monotonic() + limit_s)
    finally:
        os._exit(0)


def _put_back_in_time(files: list[File], mark: bytes, pending: Path, deadline: float) -> None:
    while time.monotonic() < deadline:
        if not pending.exists():
            return
        time.sleep(WATCH_S)
    with contextlib.suppress(FileNotFoundError):
        pending.rename(pending.with_name("too-late"))
        for file in files:
            now = _read(file.path)
            if _restored(now, mark) != now:
                _write(file.path, _restored(now, mark))


if __name__ == "__main__":
    main()
