"""Real hosts for tests: sshd in network namespaces, over file systems of their own.

`Lab` is the whole of it. A host is reached by ssh at a port of loopback, with a key and a
known_hosts file that are made for this lab; among each other hosts have a real network, 10.203.0.x.
Nothing of it is left when the process that made it ends, however it ends: see hosts_warden.

    with Lab(5, tmp_path) as lab:
        lab[1].run("systemctl", "...")     # on the host, not through ssh
        lab[2].power_cut()                 # its processes are gone, its files stay
        lab[2].power_on()
        lab[3].cut(); lab[3].heal()        # a partition, and its end

Run this file to have a lab to play with: python tests/hosts.py [HOW MANY].
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Self

from actors.spec import Target
from hosts_base import base_tree
from hosts_ground import NotHere, entrance

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["Host", "Lab", "NotHere", "Ran"]

WARDEN: Final = Path(__file__).with_name("hosts_warden.py")
LIMIT_S: Final = 150
# What a login itself leaves on a host, whatever it is for.
LOGIN_TRACES: Final = (
    "root/.ansible", "var/lib/postgresql/.ansible", "root/.ssh", "var/log/sshd.log",
    "var/log/lastlog", "var/log/wtmp", "var/log/btmp", "boot-id", "run/sshd.pid", "run/sudo",
)  # fmt: skip
# Folders in which such things come and go: they themselves, not what is below.
CHANGED_BY_LOGINS: Final = ("root", "run", "tmp", "dev/shm", "var/log", "etc/ssh",
                            "var/lib/postgresql")  # fmt: skip


class Ran(NamedTuple):
    """What a command on a host came to."""

    code: int
    out: str
    err: str


@dataclass(frozen=True, slots=True)
class Host:
    """One test host."""

    number: int
    name: str
    address: str
    """Where its neighbours reach it."""
    port: int
    """Where we reach it, on loopback."""
    key: Path
    order: Callable[..., Any]

    @property
    def connection(self) -> dict[str, bool | int | str]:
        """Say how an inventory names the way to it."""
        return {
            "address": "127.0.0.1",
            "port": self.port,
            "user": "root",
            "host_key_alias": self.name,
            "identity_file": str(self.key),
        }

    @property
    def target(self) -> Target:
        """Name it as a step does."""
        return Target(name=self.name, connection=self.connection)

    def power_cut(self) -> None:
        """Take all its processes away at once; its files stay."""
        self.order("power_cut", host=self.number)

    def power_on(self) -> None:
        """Boot it, and return when it answers."""
        self.order("power_on", host=self.number)

    def cut(self) -> None:
        """Partition it from us and from its neighbours."""
        self.order("cut", host=self.number)

    def heal(self) -> None:
        """End the partition."""
        self.order("heal", host=self.number)

    def run(self, *argv: str, says: str = "") -> Ran:
        """Run a command on it, not through ssh."""
        return Ran(**self.order("run", host=self.number, argv=list(argv), says=says))

    def must(self, *argv: str, says: str = "") -> str:
        """Run a command on it that has to work, and return what it printed."""
        code, out, err = self.run(*argv, says=says)
        assert code == 0, f"{self.name}: {' '.join(argv)} ended with {code}: {err or out}"
        return out

    def write(self, path: str, text: str, mode: str = "644") -> None:
        """Write a file on it."""
        self.must("sh", "-c", 'mkdir -p "$(dirname "$1")"; cat > "$1"; chmod "$2" "$1"', "sh", path,
                  mode, says=text)  # fmt: skip

    def read(self, path: str) -> str:
        """Read a file on it."""
        return self.must("cat", path)

    def files(self) -> Mapping[str, list[Any]]:
        """Describe its files (mode, owner, time, digest), without what a login leaves."""
        found = self.order("files", host=self.number)
        return {
            path: about
            for path, about in found.items()
            if not any(path == one or path.startswith(f"{one}/") for one in LOGIN_TRACES)
            and path not in CHANGED_BY_LOGINS
            and not path.startswith("tmp/ansible_")  # a module's, while it runs
        }

    def processes(self) -> list[str]:
        """List what runs on it, its sshd and logins left out."""
        return [one["says"] for one in self.order("processes", host=self.number)]


class Lab:
    """Hosts that live as long as this process, at most."""

    def __init__(self, count: int, directory: Path | None = None) -> None:
        self._count = count
        made = None if directory else tempfile.mkdtemp(prefix="interlock-lab-")
        self.directory = directory or Path(str(made))
        self._made = made
        self._process: subprocess.Popen[bytes] | None = None
        self._control: socket.socket | None = None
        self.hosts: dict[int, Host] = {}

    def __enter__(self) -> Self:
        try:
            self._began()
            self.add(self._count)
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __getitem__(self, number: int) -> Host:
        return self.hosts[number]

    def __iter__(self) -> Any:
        return iter(self.hosts.values())

    @property
    def key(self) -> Path:
        """The private key that may log in."""
        return self.directory / "key"

    @property
    def known_hosts(self) -> Path:
        """The keys by which the hosts are known."""
        return self.directory / "known_hosts"

    def add(self, count: int) -> list[Host]:
        """Bring up more hosts."""
        listeners = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
        ports = [listener.getsockname()[1] for listener in listeners]
        answer = self._order(
            "up",
            fds=[listener.fileno() for listener in listeners],
            base=str(base_tree()),
            key=self.key.with_suffix(".pub").read_text().strip(),
        )
        for listener in listeners:
            listener.close()
        new = []
        with self.known_hosts.open("a") as known:
            for port, (number, host) in zip(ports, answer["hosts"].items(), strict=True):
                known.write(f"[127.0.0.1]:{port},{host['name']} {host['key']}\n")
                new.append(
                    Host(int(number), host["name"], host["address"], port, self.key, self._order)
                )
        self.hosts.update({host.number: host for host in new})
        return new

    def ssh(self, number: int, *argv: str) -> Ran:
        """Run a command through ssh, as whoever manages hosts does."""
        done = subprocess.run(
            ["ssh", "-F", "none", "-i", str(self.key), "-o", "IdentitiesOnly=yes",
             "-o", "BatchMode=yes",
             "-o", f"UserKnownHostsFile={self.known_hosts}", "-o", "StrictHostKeyChecking=yes",
             "-o", "ConnectTimeout=5", "-p", str(self[number].port), "root@127.0.0.1", *argv],
            capture_output=True, text=True, timeout=60, check=False, stdin=subprocess.DEVNULL,
        )  # fmt: skip
        return Ran(done.returncode, done.stdout, done.stderr)

    def close(self) -> None:
        """End all hosts."""
        if self._control is not None:
            self._control.close()
            self._control = None
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None
        if self._made is not None:
            shutil.rmtree(self._made, ignore_errors=True)

    def _began(self) -> None:
        enter = entrance()
        base_tree()
        self.directory.mkdir(parents=True, exist_ok=True)
        subprocess.run(
            ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "lab", "-f", str(self.key)],
            check=True, stdin=subprocess.DEVNULL,
        )  # fmt: skip
        self.known_hosts.touch()
        ours, theirs = socket.socketpair()
        owner = os.pidfd_open(os.getpid())
        self._process = subprocess.Popen(
            [*enter, "--net", "--mount", "--pid", "--propagation", "private", "--fork",
             "--kill-child=SIGKILL", "--mount-proc",
             sys.executable, "-I", str(WARDEN), str(theirs.fileno()), str(owner)],
            pass_fds=(theirs.fileno(), owner), stdin=subprocess.DEVNULL, start_new_session=True,
            env={"PATH": f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin", "LC_ALL": "C.UTF-8"},
        )  # fmt: skip
        theirs.close()
        os.close(owner)
        ours.settimeout(LIMIT_S)
        self._control = ours

    def _order(self, do: str, *, fds: list[int] | None = None, **said: Any) -> Any:
        assert self._control is not None, "the lab is closed"
        line = json.dumps({"do": do, **said}).encode() + b"\n"
        try:
            socket.send_fds(self._control, [line], fds or [])
            heard = b""
            while not heard.endswith(b"\n"):
                chunk = self._control.recv(1 << 20)
                if not chunk:
                    raise ConnectionResetError
                heard += chunk
        except ConnectionError:
            raise RuntimeError("the warden of the hosts has ended; see what it said") from None
        answer = json.loads(heard)
        if "error" in answer:
            raise RuntimeError(answer["error"])
        return answer["ok"]


def main() -> None:
    """Have hosts until Enter or ^C."""
    began = time.monotonic()
    with Lab(int(sys.argv[1]) if len(sys.argv) > 1 else 3) as lab:
        ways = (
            f"{host.name}  {host.address}  ssh -i {lab.key} -p {host.port} "
            f"-o UserKnownHostsFile={lab.known_hosts} root@127.0.0.1\n"
            for host in lab
        )
        took = f"{len(lab.hosts)} hosts in {time.monotonic() - began:.1f} s\n"
        sys.stdout.writelines([took, *ways])
        sys.stdout.flush()
        sys.stdin.read(1)


if __name__ == "__main__":
    try:
        main()
    except NotHere as error:
        sys.exit(f"no test hosts here: {error}")
