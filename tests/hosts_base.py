"""Makes the root file system that all test hosts share, once, outside the checkout.

1. It is Debian with what the catalog's actors work on; nothing in it starts by itself.
2. It is made under another name and moved into place in one step, behind a lock: a build that was
   interrupted is never used, and two test workers never build twice.
3. Its name holds the digest of this recipe: a changed recipe is a new tree. So does that of an
   ordinary user's tree hold the ids in which it is written: they are its hosts' users.
4. An ordinary user makes it in a user namespace, by running this file there; see hosts_ground.

Who has root once can spare others the making, which takes minutes (`python tests/hosts_base.py`
says where the tree is): tar -C TREE -c . | sudo -H -u SOMEBODY python tests/hosts_base.py -
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from hashlib import sha256
from pathlib import Path
from typing import Final

from hosts_ground import NotHere, cache, entrance, locked, needed_tools, ran, ranges, searched

__all__ = ["base_tree"]

SUITE: Final = "bookworm"
FIRST: Final = ("openssh-server", "python3", "python3-apt", "iproute2", "procps", "curl", "openssl")
THEN: Final = (
    "nginx-light", "haproxy", "chrony", "sudo", "lvm2", "systemd", "postgresql", "apt-utils",
    "systemd-journal-remote", "libpam-modules", "acl",
)  # fmt: skip

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


# What stands in /dev while an ordinary user, who can make no device, builds.
DEVICES: Final = ("null", "zero", "full", "random", "urandom", "tty", "console", "ptmx")


def base_tree(*, packed: bool = False) -> Path:
    """Return the shared root file system, made now if it has never been, or read from stdin."""
    written_as = ranges() if os.geteuid() else ()
    recipe = repr((SUITE, FIRST, THEN, SHUTDOWN, STILL, RECIPE, *written_as)).encode()
    folder = f"hosts-{os.geteuid()}" if os.geteuid() else "hosts"
    place = cache(folder) / f"base-{sha256(recipe).hexdigest()[:12]}"
    if place.is_dir():
        return place
    if not packed:
        needed_tools("debootstrap")
    if not os.geteuid():
        _made(place, packed=packed)
        return place
    done = subprocess.run(
        [*entrance(), "--mount", "--pid", "--propagation", "private", "--fork",
         "--kill-child=SIGKILL", "--mount-proc",
         sys.executable, "-s", __file__, "packed" if packed else "built", str(place)],
        stdin=None if packed else subprocess.DEVNULL,
        stderr=subprocess.PIPE, text=True, check=False,
    )  # fmt: skip
    if done.returncode:
        raise NotHere(f"no file system for test hosts: {done.stderr.strip()[-500:]}")
    return place


def _made(place: Path, *, packed: bool) -> None:
    with locked(place.parent / "base.lock"):
        if not place.is_dir():
            making = place.with_suffix(f".{os.getpid()}")
            for old in place.parent.glob("base-*.[0-9]*"):
                _removed(old)
            try:
                making.mkdir()
                making.chmod(0o755)
                if packed:
                    _unpack(making)
                else:
                    _build(making)
                making.rename(place)
            finally:
                _removed(making)


def _unpack(place: Path) -> None:
    done = subprocess.run(
        ["tar", "-x", "-p", "--numeric-owner", "--exclude=./dev/*", "-C", str(place)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode:
        raise NotHere(f"tar ended with {done.returncode}: {done.stderr.strip()[-300:]}")
    if not (place / "usr/sbin/sshd").exists():
        raise NotHere("what came on stdin is no file system of test hosts: there is no sshd in it")


def _build(place: Path) -> None:
    packages = place.parent / "packages"
    packages.mkdir(exist_ok=True)
    include = f"--include={','.join(FIRST)}"
    own = {**os.environ, "PATH": searched()}
    if Path("/proc/self/uid_map").read_text().split()[1] != "0":
        own["container"] = "lxc"  # so debootstrap hears that it can make no devices
        _lend_devices(place / "dev")
    ran(
        [
            "debootstrap",
            f"--cache-dir={packages.resolve()}",
            "--variant=minbase",
            include,
            SUITE,
            str(place),
        ],
        own,
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
    ran(["chroot", str(place), *install], quiet)
    policy.unlink()
    for service in STILL:
        if (place / "etc/init.d" / service).exists():
            ran(["chroot", str(place), "update-rc.d", service, "disable"], quiet)
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


def _lend_devices(dev: Path) -> None:
    dev.mkdir()
    ran(["mount", "-t", "tmpfs", "-o", "mode=755", "tmpfs", str(dev)])
    for name in DEVICES:
        (dev / name).touch()
        if (Path("/dev") / name).is_char_device():
            ran(["mount", "--bind", f"/dev/{name}", str(dev / name)])


def _removed(tree: Path) -> None:
    """Remove a tree of ours that holds no mount."""
    if tree.is_dir():
        subprocess.run(["rm", "-rf", "--one-file-system", str(tree)], check=False)


def main(how: str = "", place: str = "") -> None:
    """Say where the tree is; make it if it is not there, from a tar on stdin where `-` is said."""
    try:
        if place:
            os.umask(0o022)
            _made(Path(place), packed=how == "packed")
        else:
            sys.stdout.write(f"{base_tree(packed=how == '-')}\n")
    except NotHere as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main(*sys.argv[1:])
