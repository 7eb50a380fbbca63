"""Test hosts of an ordinary user are as good as those of root; where he has none, he hears why.

The user exists in a mount namespace of this test alone: there, /etc/passwd and the files that give
him ids are ours, and his home is in memory. The machine's own files are never written, and nothing
is left to clear up.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest

from ansible_rig import until
from hosts_base import base_tree
from hosts_ground import MAPPERS, NotHere, needed_tools

pytestmark = pytest.mark.xdist_group("hosts-without-root")

CHECKOUT: Final = Path(__file__).resolve().parent.parent.parent
WHO: Final = "anybody"
ID: Final = 61_234
GIVEN: Final = f"{WHO}:1600000000:65536\n"
# What the tests of hosts can do without, so that the tree is copied in half the time.
SPARED: Final = (
    "var/cache", "usr/share/doc", "usr/share/locale", "usr/share/man", "usr/share/i18n",
    "usr/share/zoneinfo", "usr/lib/postgresql", "usr/lib/*/libLLVM*",
)  # fmt: skip
HOSTS_TRIED: Final = """
"$0" tests/hosts_base.py -
exec "$0" -m pytest -q -p no:cacheprovider --basetemp "$HOME/t" tests/actors/test_hosts.py
"""
# What has to work for that, tried by other means than ours.
NAMESPACES: Final = (
    "unshare", "--user", "--map-root-user", "--map-auto", "--net", "--mount", "--pid", "--fork",
    "sh", "-ec", 'mount -t tmpfs tmpfs /mnt; touch /mnt/it; "$0" -c "$1"', sys.executable,
    "import os; os.setxattr('/mnt/it', 'user.it', b'')",
)  # fmt: skip


@dataclass(frozen=True)
class Anybody:
    """An ordinary user, and what he sees of this machine."""

    etc: Path
    home: Path
    hidden: tuple[str, ...] = ()

    def has(self, name: str, text: str) -> None:
        """Give him another /etc/`name` than the machine's."""
        (self.etc / name).write_text(text)

    def command(self, *argv: str) -> list[str]:
        """Say how root runs a command as him."""
        shown = {path: _closed(path) for path in _needed(self.home)}
        covers = sorted({str(cover) for cover in shown.values() if cover})
        lines = ["set -e", "mount -t tmpfs -o mode=755 tmpfs /mnt"]
        lines += [f"mount --bind {_q(one)} /etc/{one.name}" for one in self.etc.iterdir()]
        lines += [f"mount --bind /dev/null {one}" for one in self.hidden]
        lines += [f"mkdir /mnt/{at}; mount --rbind {_q(path)} /mnt/{at}"
                  for at, path in enumerate(shown)]  # fmt: skip
        lines += [f"mount -t tmpfs -o mode=755 tmpfs {_q(cover)}" for cover in covers]
        lines += [f"mkdir -p {_q(path)}; mount --rbind /mnt/{at} {_q(path)}"
                  for at, (path, cover) in enumerate(shown.items()) if cover]  # fmt: skip
        own = f"mode=700,uid={ID},gid={ID}"
        lines += [f"mount -t tmpfs -o {own} tmpfs {_q(self.home)}; cd {_q(CHECKOUT)}"]
        lines += [f'exec setpriv --reuid {ID} --regid {ID} --clear-groups env -i "$@"']
        env = (f"HOME={self.home}", f"TMPDIR={self.home}", "LC_ALL=C.UTF-8", "PATH=/usr/bin:/bin")
        alone = ("unshare", "--mount", "--propagation", "private", "sh", "-c", "\n".join(lines))
        return [*alone, "sh", *env, *argv]

    def runs(self, *argv: str, stdin: int | None = None) -> subprocess.CompletedProcess[str]:
        """Run a command as him."""
        return subprocess.run(
            self.command(*argv), stdin=stdin or subprocess.DEVNULL,
            capture_output=True, text=True, check=False, timeout=600,
        )  # fmt: skip


def _needed(home: Path) -> tuple[Path, ...]:
    return (home, CHECKOUT, Path(sys.prefix), Path(sys.base_prefix))


def _closed(path: Path) -> Path | None:
    """Find the folder above this one into which root lets nobody else."""
    return next((one for one in reversed(path.parents) if not one.stat().st_mode & 0o001), None)


def _q(path: Path | str) -> str:
    return shlex.quote(str(path))


@pytest.fixture
def anybody(tmp_path: Path) -> Anybody:
    if os.geteuid():
        pytest.skip("only root can be somebody else; test_hosts.py shows the same for you")
    try:
        needed_tools(*MAPPERS)
    except NotHere as error:
        pytest.skip(f"no test hosts for ordinary users here: {error}")
    etc, home = tmp_path / "etc", tmp_path / "home"
    etc.mkdir()
    home.mkdir()
    made = Anybody(etc, home)
    made.has("passwd", f"{Path('/etc/passwd').read_text()}{WHO}:x:{ID}:{ID}::{home}:/bin/sh\n")
    made.has("group", f"{Path('/etc/group').read_text()}{WHO}:x:{ID}:\n")
    made.has("subuid", GIVEN)
    made.has("subgid", GIVEN)
    tried = made.runs("true")
    if tried.returncode:
        pytest.skip(f"root may not mount here: {tried.stderr.strip()}")
    return made


def test_an_ordinary_user_has_hosts_that_are_all_they_claim_to_be(anybody: Anybody) -> None:
    tried = anybody.runs(*NAMESPACES)
    if tried.returncode:
        pytest.skip(f"this kernel does not give an ordinary user enough: {tried.stderr.strip()}")
    try:
        tree = base_tree()
    except NotHere as error:
        pytest.skip(f"no test hosts here: {error}")
    pack = ["tar", "-C", str(tree), *(f"--exclude=./{one}" for one in SPARED), "-c", "."]
    with subprocess.Popen(pack, stdout=subprocess.PIPE) as tar:
        assert tar.stdout is not None
        done = anybody.runs("sh", "-ec", HOSTS_TRIED, sys.executable, stdin=tar.stdout.fileno())
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
    assert tar.returncode == 0
    said = re.search(r"^(\d+) passed in ", done.stdout, re.MULTILINE)
    assert said, f"not all passed, or some were skipped: {done.stdout[-2000:]}"
    assert int(said[1]) >= 9


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        ("subuid", "", "/etc/subuid gives anybody no ids"),
        ("subgid", f"somebody:1:65536\n{WHO}:1600000000:1000\n", "/etc/subgid gives anybody 1000"),
    ],
)
def test_who_has_no_ids_to_give_to_hosts_hears_how_to_get_some(
    anybody: Anybody, name: str, text: str, says: str
) -> None:
    anybody.has(name, text)
    done = anybody.runs(sys.executable, "tests/hosts_base.py")
    assert done.returncode == 1
    assert says in done.stderr
    assert f"usermod --add-{name}s 100000-165535 {WHO}" in done.stderr


def test_a_missing_program_is_named_with_its_package(anybody: Anybody) -> None:
    place = shutil.which("newuidmap", path="/usr/bin:/bin")
    assert place is not None
    without = Anybody(anybody.etc, anybody.home, hidden=(place,))
    done = without.runs(sys.executable, "tests/hosts_base.py")
    assert done.returncode == 1
    assert "apt-get install uidmap" in done.stderr


def test_a_machine_that_forbids_user_namespaces_is_told_by_its_setting(anybody: Anybody) -> None:
    """The setting is one of each user namespace: this one has all ids, and allows none below."""
    nothing = "echo 0 > /proc/sys/user/max_user_namespaces"
    forbid = f'read -r go; sh -c "{nothing}"; exec "$@"'
    command = anybody.command(sys.executable, "tests/hosts_base.py")
    with subprocess.Popen(
        ["unshare", "--user", "sh", "-c", forbid, "sh", *command],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        ours = Path("/proc/self/ns/user").readlink()
        until(lambda: Path(f"/proc/{process.pid}/ns/user").readlink() != ours, "it entered")
        for ids in ("uid_map", "gid_map"):
            Path(f"/proc/{process.pid}/{ids}").write_text("0 0 4294967295\n")
        _, said = process.communicate("go\n", timeout=60)
    assert process.returncode == 1
    assert "does not let an ordinary user have namespaces of its own" in said
    assert "sysctl -w user.max_user_namespaces=10000" in said


@pytest.mark.skipif(os.geteuid() != 0, reason="about root without the rights of root")
def test_root_in_a_container_that_may_do_nothing_hears_what_it_needs() -> None:
    less = ("setpriv", "--bounding-set", "-sys_admin", "--inh-caps", "-sys_admin")
    done = subprocess.run(
        [*less, sys.executable, "tests/hosts.py", "1"],
        cwd=CHECKOUT, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False,
        timeout=60,
    )  # fmt: skip
    assert done.returncode == 1
    assert "does not let even root have namespaces of its own" in done.stderr
    assert "in a container, it takes CAP_SYS_ADMIN" in done.stderr
