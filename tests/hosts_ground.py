"""Says whether this machine can hold test hosts, and by which command one enters their namespaces.

1. Root just enters. Anybody else first enters a user namespace that has a range of ids, so that a
   host has its root, its daemons and its users there too.
2. What hosts are made of is tried, not guessed; settings are read only to say why it failed.
3. What is missing is named, with what to do: it is the reason of every test that is skipped.
"""

from __future__ import annotations

import contextlib
import fcntl
import functools
import os
import pwd
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

__all__ = [
    "MAPPERS",
    "NotHere",
    "cache",
    "entrance",
    "locked",
    "needed_tools",
    "ran",
    "ranges",
    "searched",
]

TOOLS: Final = {
    "ssh": "openssh-client", "ip": "iproute2", "debootstrap": "debootstrap",
    "newuidmap": "uidmap", "newgidmap": "uidmap",
}  # fmt: skip
MAPPERS: Final = ("newuidmap", "newgidmap")
"""By them whoever is not root gets the ids that /etc/subuid and /etc/subgid give him."""
IDS: Final = 65_535
"""A host knows the users 0 (whoever asks) and 1 to 65535 (his range)."""
PATIENCE_S: Final = 900
SPACES: Final = ("--net", "--mount", "--pid", "--propagation", "private", "--fork", "--mount-proc")
TRIAL: Final = r"""
set -e
echo "a file system in memory (tmpfs)"
mount -t tmpfs tmpfs /mnt; cd /mnt; mkdir -p low/old up work root sys pts
read -r _ outside _ < /proc/self/uid_map
[ "$outside" = 0 ] && options= || options=userxattr,
echo "an overlay over a tmpfs (for an ordinary user from Linux 6.6 on, with CONFIG_TMPFS_XATTR)"
mount -t overlay overlay -o "${options}lowerdir=low,upperdir=up,workdir=work" root
rmdir root/old; mkdir root/old
echo "files of all its users"
touch root/file; chown 65534:65534 root/file
echo "a bridge and pairs of links (CONFIG_BRIDGE, CONFIG_VETH)"
ip link add switch type bridge; ip link add near type veth peer name far
echo "a /sys and a /dev/pts of its own"
mount -t sysfs -o ro sysfs sys; mount -t devpts -o newinstance devpts pts
echo "a /proc of its own, under another one"
mkdir proc; unshare --pid --fork mount -t proc proc proc
"""
FORBIDDING: Final = {
    "user/max_user_namespaces": ("0", "10000"),
    "kernel/unprivileged_userns_clone": ("0", "1"),
    "kernel/apparmor_restrict_unprivileged_userns": ("1", "0"),
}
"""Settings by which a machine forbids user namespaces to ordinary users: forbidden, and allowed."""


class NotHere(Exception):
    """Why test hosts cannot be had on this machine."""


def cache(name: str) -> Path:
    """Have a folder for what is expensive to make."""
    home = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    folder = Path(os.environ.get("CI_CACHE") or home) / "interlock-ci" / name
    with _writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
    return folder


def needed_tools(*also: str) -> None:
    """Have the programs that hosts need, and these, or say which are missing."""
    tools = ("ssh", "ip", *also)
    if _missing(tools) and os.geteuid() == 0 and _has("apt-get"):
        with locked(cache("hosts") / "apt.lock"):
            still = _missing(tools)
            if still:
                quiet = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
                ran(["apt-get", "update", "-qq"], quiet)
                ran(["apt-get", "install", "-y", "-qq", "--no-install-recommends", *still], quiet)
    if _missing(tools):
        names = " ".join(_missing(tools))
        raise NotHere(f"what is in the packages {names} is missing: apt-get install {names}")


@functools.cache
def entrance() -> tuple[str, ...]:
    """Return the command that enters namespaces in which hosts can be, or say what is missing."""
    enter = ["unshare"]
    if os.geteuid():
        needed_tools(*MAPPERS)
        ranges()
        # Alone and first: where this is forbidden, a mapping `unshare` leaves a child that waits.
        _tried(["unshare", "--user", "true"])
        enter += ["--user", "--map-root-user", "--map-auto"]
    else:
        needed_tools()
    _tried([*enter, *SPACES, "sh", "-c", TRIAL])
    return tuple(enter)


def _tried(command: list[str]) -> None:
    done = subprocess.run(
        command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60, check=False,
        env={"PATH": searched(), "LC_ALL": "C.UTF-8"},
    )  # fmt: skip
    if done.returncode:
        raise NotHere(_why(done.stdout.splitlines(), done.stderr.strip().splitlines()))


def ranges() -> tuple[str, ...]:
    """Return the ids that were given to whoever asks, for users and for groups."""
    return tuple(_range(Path("/etc", name)) for name in ("subuid", "subgid"))


def _range(path: Path) -> str:
    try:
        name = pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        raise NotHere(f"the user {os.geteuid()} has no name: add it to /etc/passwd") from None
    lines = path.read_text().splitlines() if path.exists() else []
    parts = [line.split(":") for line in lines]
    own = [one for one in parts if len(one) == 3 and one[0] in (name, str(os.geteuid()))]
    if not own or not own[0][2].isdecimal() or int(own[0][2]) < IDS:
        option = "--add-subuids" if path.name == "subuid" else "--add-subgids"
        has = f"gives {name} {own[0][2]} ids" if own else f"gives {name} no ids"
        advice = f"usermod {option} 100000-165535 {name}, or others that are free"
        raise NotHere(f"{path} {has}; hosts need {IDS} in the first line for {name}: {advice}")
    return f"{path.name} {own[0][1]}"


def _why(reached: list[str], said: list[str]) -> str:
    what = reached[-1] if reached else "namespaces of its own"
    problem = said[0] if said else "no reason given"
    who = "an ordinary user" if os.geteuid() else "even root"
    advice = "; ".join(["", *_forbidding()])
    if not advice and not reached:
        rights = "seccomp has to let it unshare" if os.geteuid() else "it takes CAP_SYS_ADMIN"
        advice = f"; in a container, {rights}"
    return f"this machine does not let {who} have {what} ({problem}){advice}"


def _forbidding() -> Iterator[str]:
    for name, (forbidden, allowed) in FORBIDDING.items() if os.geteuid() else ():
        setting = Path("/proc/sys", name)
        if setting.exists() and setting.read_text().strip() == forbidden:
            dotted = name.replace("/", ".")
            yield f"{dotted} is {forbidden}: sysctl -w {dotted}={allowed}"


def ran(command: list[str], env: dict[str, str] | None = None) -> None:
    """Run a command that has to work for hosts to be there."""
    done = subprocess.run(
        command, env=env, stdin=subprocess.DEVNULL, capture_output=True, text=True,
        timeout=PATIENCE_S, check=False,
    )  # fmt: skip
    if done.returncode:
        said = (done.stderr or done.stdout).strip().splitlines()[-5:]
        raise NotHere(f"{command[0]} ended with {done.returncode}: {' / '.join(said)}")


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Let nobody else do the same meanwhile."""
    with _writing(path.parent):
        file = path.open("a")
    with file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


@contextlib.contextmanager
def _writing(folder: Path) -> Iterator[None]:
    try:
        yield
    except PermissionError:
        why = f"{folder} cannot be written: set CI_CACHE to a folder of yours"
        raise NotHere(why) from None


def searched() -> str:
    """Return the path on which programs are looked for: those for administrators too."""
    return f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"


def _missing(tools: Iterable[str]) -> list[str]:
    return sorted({TOOLS[tool] for tool in tools if not _has(tool)})


def _has(tool: str) -> bool:
    return shutil.which(tool, path=searched()) is not None
