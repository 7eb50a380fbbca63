"""Makes the root file system that all test hosts share, once, outside the checkout.

1. It is Debian with what the catalog's actors work on; nothing in it starts by itself.
2. It is made under another name and moved into place in one step, behind a lock: a build that was
   interrupted is never used, and two test workers never build twice.
3. Its name holds the digest of this recipe: a changed recipe is a new tree.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import subprocess
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["NotHere", "base_tree", "cache", "needed_tools"]

SUITE: Final = "bookworm"
FIRST: Final = ("openssh-server", "python3", "python3-apt", "iproute2", "procps", "curl", "openssl")
THEN: Final = (
    "nginx-light", "haproxy", "chrony", "sudo", "lvm2", "systemd", "postgresql", "apt-utils",
    "systemd-journal-remote", "libpam-modules", "acl",
)  # fmt: skip
TOOLS: Final = {"debootstrap": "debootstrap", "ssh": "openssh-client", "ip": "iproute2"}
BUILD_TIMEOUT_S: Final = 900

# The host is its sshd; a restart is asked of the kernel, which ends the host's first process.
SHUTDOWN: Final = """\
#!/usr/bin/python3
\"\"\"Restarts or stops this test host: `shutdown -r`, `shutdown -h`.\"\"\"
import ctypes, os, sys, time
if os.fork():
    sys.exit(0)
os.setsid()
time.sleep(0.3)
how = 0x1234567 if "-r" in sys.argv or "reboot" in sys.argv[0] else 0x4321FEDC
os.sync()
ctypes.CDLL(None).reboot(how)
"""
# A package that is installed starts nothing, and what is here is started by whoever wants it.
NO_STARTS: Final = "#!/bin/sh\nexit 101\n"
RECIPE: Final = 1
"""To be raised with every change of `_build` that these lists do not show."""
STILL: Final = ("nginx", "haproxy", "chrony", "postgresql", "ssh", "cron", "procps", "sudo", "lvm2")


class NotHere(Exception):
    """Why test hosts cannot be had on this machine."""


def cache() -> Path:
    """Say where what is expensive to make is kept."""
    home = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(os.environ.get("CI_CACHE") or home) / "interlock-ci"


def needed_tools() -> None:
    """Have the programs that make hosts, or say which are missing."""
    missing = sorted(package for tool, package in TOOLS.items() if not _has(tool))
    if missing and (os.geteuid() or not _has("apt-get")):
        raise NotHere(f"test hosts need {', '.join(missing)}")
    if missing:
        with _locked(cache() / "hosts" / "apt.lock"):
            still = sorted(package for tool, package in TOOLS.items() if not _has(tool))
            if still:
                quiet = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
                _run(["apt-get", "update", "-qq"], env=quiet)
                _run(["apt-get", "install", "-y", "-qq", "--no-install-recommends", *still], quiet)


def base_tree() -> Path:
    """Return the shared root file system, made now if it has never been."""
    recipe = repr((SUITE, FIRST, THEN, SHUTDOWN, STILL, RECIPE)).encode()
    place = cache() / "hosts" / f"base-{sha256(recipe).hexdigest()[:12]}"
    if place.is_dir():
        return place
    needed_tools()
    with _locked(cache() / "hosts" / "base.lock"):
        if not place.is_dir():
            making = place.with_suffix(f".{os.getpid()}")
            for old in place.parent.glob("base-*.[0-9]*"):
                _removed(old)
            try:
                _build(making)
                making.rename(place)
            finally:
                _removed(making)
    return place


def _build(place: Path) -> None:
    place.parent.mkdir(parents=True, exist_ok=True)
    if os.geteuid():
        raise NotHere("the hosts' file system is made by root; run the tests once as root")
    packages = place.parent / "packages"
    packages.mkdir(exist_ok=True)
    include = f"--include={','.join(FIRST)}"
    _run(
        [
            "debootstrap",
            f"--cache-dir={packages.resolve()}",
            "--variant=minbase",
            include,
            SUITE,
            str(place),
        ]
    )
    policy = place / "usr/sbin/policy-rc.d"
    policy.write_text(NO_STARTS)
    policy.chmod(0o755)
    quiet = {
        "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
        "DEBIAN_FRONTEND": "noninteractive",
        "LC_ALL": "C",
    }
    install = ["apt-get", "install", "-y", "-qq", "--no-install-recommends", *THEN]
    _run(["chroot", str(place), *install], quiet)
    policy.unlink()
    for service in STILL:
        if (place / "etc/init.d" / service).exists():
            _run(["chroot", str(place), "update-rc.d", service, "disable"], quiet)
    for link in (place / "etc/rcS.d").glob("S*"):
        link.unlink()
    for name in ("shutdown", "reboot"):
        (place / "sbin" / name).unlink(missing_ok=True)
        (place / "sbin" / name).write_text(SHUTDOWN)
        (place / "sbin" / name).chmod(0o755)
    (place / "etc/apt/sources.list").write_text("")
    shutil.rmtree(place / "var/cache/apt/archives", ignore_errors=True)
    shutil.rmtree(place / "var/lib/apt/lists", ignore_errors=True)
    for folder in ("var/cache/apt/archives/partial", "var/lib/apt/lists/partial", "run/sshd"):
        (place / folder).mkdir(parents=True, exist_ok=True)


def _run(command: list[str], env: dict[str, str] | None = None) -> None:
    done = subprocess.run(
        command,
        env=env,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=BUILD_TIMEOUT_S,
        check=False,
    )
    if done.returncode:
        said = (done.stderr or done.stdout).strip().splitlines()[-5:]
        raise NotHere(f"{command[0]} ended with {done.returncode}: {' / '.join(said)}")


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _has(tool: str) -> bool:
    return shutil.which(tool, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin") is not None


def _removed(tree: Path) -> None:
    """Remove a tree of ours that holds no mount."""
    if tree.is_dir():
        subprocess.run(["rm", "-rf", "--one-file-system", str(tree)], check=False)
