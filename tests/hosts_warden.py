"""The first process of the namespaces in which test hosts live: they begin and end with it.

1. It is started as pid 1 of its own pid, mount and network namespaces. Whatever ends it ends every
   host, every mount and every link in the same instant: the kernel clears up, nobody else has to.
2. It ends when its owner does, however that ends: the control socket closes, or the owner's pidfd
   reports.
3. One order is one line of JSON, and so is the answer. Orders are carried out one after another.
4. A host is its sshd, pid 1 of a pid namespace of its own over a file system of its own. To kill it
   is a power cut: its processes are gone, its files stay.
5. From outside, a host is a port on loopback that is relayed to its port 22; a host that is cut off
   or without power is reached by nobody, its neighbours included.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import select
import signal
import socket
import stat
import subprocess
import sys
import threading
import time
import uuid
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path("/mnt")
NET: Final = "10.203.0"
UP_TIMEOUT_S: Final = 60.0
CONNECT_TIMEOUT_S: Final = 30.0
CHUNK: Final = 65_536
# What would reach through to the machine that all hosts share.
DROPPED: Final = (
    "sys_time", "sys_module", "sys_rawio", "syslog", "mac_admin", "mac_override", "wake_alarm",
    "block_suspend", "perfmon", "bpf", "checkpoint_restore",
)  # fmt: skip

SETUP: Final = r"""
set -e
hostname "$NAME"; read -r _
ip link set lo up; ip addr add "$ADDRESS/24" dev eth0; ip link set eth0 up
ip route add default via "$GATEWAY"
cd "$R"
mount -t proc proc proc
mount --bind proc/sys proc/sys; mount --bind proc/sys/net proc/sys/net
mount --bind boot-id proc/sys/kernel/random/boot_id; mount -o remount,bind,ro proc/sys
[ ! -e proc/sysrq-trigger ] || mount --bind /dev/null proc/sysrq-trigger
mount -t sysfs -o ro sysfs sys
mount -t tmpfs -o mode=755 tmpfs dev
for x in null zero full random urandom tty; do : > dev/$x; mount --bind /dev/$x dev/$x; done
mkdir -p dev/pts dev/shm; mount -t devpts -o newinstance,ptmxmode=666,mode=620 devpts dev/pts
ln -s pts/ptmx dev/ptmx; ln -s /proc/self/fd dev/fd; mount -t tmpfs -o mode=1777 tmpfs dev/shm
mount -t tmpfs -o mode=755 tmpfs run; mkdir -p run/sshd run/lock run/haproxy; chmod 1777 run/lock
exec setpriv --bounding-set "$DROP" chroot . /bin/sh -c '
  for s in /etc/rc2.d/S*; do [ ! -e "$s" ] || "$s" start </dev/null >/dev/null 2>&1; done
  exec /usr/sbin/sshd -D -E /var/log/sshd.log </dev/null'
"""
SSHD: Final = """\
ListenAddress 0.0.0.0:22
HostKey /etc/ssh/ssh_host_ed25519_key
PermitRootLogin prohibit-password
PasswordAuthentication no
KbdInteractiveAuthentication no
UsePAM no
UseDNS no
MaxSessions 50
MaxStartups 50:30:100
Subsystem sftp internal-sftp
"""


class Host:
    """One host: its files stay while its processes come and go."""

    def __init__(self, number: int, base: str, listener: socket.socket, key: str) -> None:
        self.number = number
        self.name = f"h{number}"
        self.address = f"{NET}.{number + 10}"
        self.place = ROOT / self.name
        self.base = Path(base)
        self.root = self.place / "root"
        self.process: subprocess.Popen[bytes] | None = None
        self.wanted = False
        self._mounted(base)
        self._settled(key)
        threading.Thread(target=relayed, args=(listener, self.address), daemon=True).start()

    def _mounted(self, base: str) -> None:
        for folder in ("upper", "work", "root"):
            (self.place / folder).mkdir(parents=True)
        layers = f"lowerdir={base},upperdir={self.place}/upper,workdir={self.place}/work"
        mapped = "userxattr," if Path("/proc/self/uid_map").read_text().split()[1] != "0" else ""
        run("mount", "-t", "overlay", "overlay", "-o", mapped + layers, str(self.root))

    def _settled(self, key: str) -> None:
        ssh = self.root / "root/.ssh"
        ssh.mkdir(mode=0o700, exist_ok=True)
        written(ssh / "authorized_keys", key + "\n", 0o600)
        for old in (self.root / "etc/ssh").glob("ssh_host_*"):
            old.unlink()
        run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", self.name,
            "-f", str(self.root / "etc/ssh/ssh_host_ed25519_key"))  # fmt: skip
        written(self.root / "etc/ssh/sshd_config", SSHD)
        written(self.root / "etc/hostname", f"{self.name}\n")

    def host_key(self) -> str:
        """Return the public key by which this host is known."""
        text = (self.root / "etc/ssh/ssh_host_ed25519_key.pub").read_text()
        return " ".join(text.split()[:2])

    def start(self) -> None:
        """Begin to boot; `wait` says when it is up."""
        written(self.root / "boot-id", f"{uuid.uuid4()}\n")
        console = (self.place / "console").open("wb")
        self.process = subprocess.Popen(
            ["unshare", "--net", "--mount", "--pid", "--uts", "--ipc", "--cgroup", "--fork",
             "--kill-child=SIGKILL", "--propagation", "private", "/bin/bash", "-c", SETUP],
            stdin=subprocess.PIPE, stdout=console, stderr=console,
            env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8",
                 "NAME": self.name, "ADDRESS": self.address, "GATEWAY": f"{NET}.1",
                 "R": str(self.root), "DROP": ",".join(f"-{one}" for one in DROPPED)},
        )  # fmt: skip
        console.close()
        self.wanted = True
        until(lambda: own_network(self.pid()), f"{self.name} did not begin")
        run("ip", "link", "add", self.link, "type", "veth",
            "peer", "name", "eth0", "address", f"02:00:00:00:00:{self.number:02x}",
            "netns", str(self.pid()))  # fmt: skip
        run("ip", "link", "set", self.link, "master", "switch", "up")
        assert self.process.stdin is not None
        self.process.stdin.write(b"\n")
        self.process.stdin.close()

    def wait(self) -> None:
        """Wait until it answers."""

        def answers() -> bool:
            if self.process is None or self.process.poll() is not None:
                raise RuntimeError(f"{self.name}: {(self.place / 'console').read_text()[-500:]}")
            with contextlib.suppress(OSError), socket.create_connection((self.address, 22), 0.3):
                return True
            return False

        until(answers, f"{self.name} did not come up")

    def power_cut(self) -> None:
        """Kill every process of it at once, and keep its files."""
        self.wanted = False
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None
        run("ip", "link", "del", self.link, check=False)

    @property
    def link(self) -> str:
        return f"to-{self.name}"

    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    def init(self) -> int | None:
        """Find its first process."""
        if self.process is None or self.process.poll() is not None:
            return None
        children = Path(f"/proc/{self.pid()}/task/{self.pid()}/children").read_text().split()
        return int(children[0]) if children else None

    def processes(self) -> list[dict[str, Any]]:
        """List what runs on it, its first process and logins left out."""
        first = self.init()
        if first is None:
            return []
        space = space_of(first)
        found = []
        for entry in Path("/proc").iterdir():
            with contextlib.suppress(OSError, ValueError):
                pid = int(entry.name)
                if pid == first or space_of(pid) != space:
                    continue
                words = (
                    (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
                )
                born = int((entry / "stat").read_text().rpartition(")")[2].split()[19])
                # With -R sshd has taken a connection, and not named it yet.
                taken = "/sshd " in words and words.rstrip().endswith(" -R")
                if words.strip() and not taken and not words.startswith("sshd: "):
                    found.append({"pid": pid, "born": born, "says": words.strip()})
        return sorted(found, key=lambda one: (one["born"], one["pid"]))


class Warden:
    """Carries out orders."""

    def __init__(self) -> None:
        self.hosts: dict[int, Host] = {}
        run("mount", "-t", "tmpfs", "-o", "mode=755", "tmpfs", str(ROOT))
        run("ip", "link", "set", "lo", "up")
        run("ip", "link", "add", "switch", "type", "bridge")
        run("ip", "addr", "add", f"{NET}.1/24", "dev", "switch")
        run("ip", "link", "set", "switch", "up")

    def up(self, *, base: str, key: str, fds: list[int], **_: Any) -> dict[str, Any]:
        """Make as many hosts as there are listening sockets."""
        first = len(self.hosts) + 1
        new = [Host(first + at, base, socket.socket(fileno=fd), key) for at, fd in enumerate(fds)]
        self.hosts.update({host.number: host for host in new})
        names = "".join(f"{host.address} {host.name}\n" for host in self.hosts.values())
        for host in self.hosts.values():
            written(host.root / "etc/hosts", f"127.0.0.1 localhost\n{names}")
        for host in new:
            host.start()
        for host in new:
            host.wait()
        return {
            "hosts": {
                host.number: {
                    "name": host.name, "address": host.address, "key": host.host_key(),
                    "root": str(host.root), "upper": str(host.place / "upper"),
                }
                for host in new
            }
        }  # fmt: skip

    def power_cut(self, *, host: int, **_: Any) -> None:
        """Cut a host's power."""
        self.hosts[host].power_cut()

    def power_on(self, *, host: int, **_: Any) -> None:
        """Boot a host that has no power."""
        if self.hosts[host].init() is None:
            self.hosts[host].power_cut()
            self.hosts[host].start()
        self.hosts[host].wait()

    def cut(self, *, host: int, **_: Any) -> None:
        """Partition a host from everybody."""
        run("ip", "link", "set", self.hosts[host].link, "down")

    def heal(self, *, host: int, **_: Any) -> None:
        """End a partition."""
        run("ip", "link", "set", self.hosts[host].link, "up")

    def processes(self, *, host: int, **_: Any) -> list[dict[str, Any]]:
        """List what runs on a host."""
        return self.hosts[host].processes()

    def files(self, *, host: int, **_: Any) -> dict[str, list[Any]]:
        """Describe every file that differs from the shared tree, and all that is in memory."""
        one = self.hosts[host]
        found = described(one.place / "upper", "", beneath=one.base)
        first = one.init()
        for folder in ("run", "dev/shm"):
            found.update(described(Path(f"/proc/{first}/root/{folder}"), folder) if first else {})
        return found

    def run(self, *, host: int, argv: list[str], says: str, **_: Any) -> dict[str, Any]:
        """Run a command on a host, not through ssh."""
        first = self.hosts[host].init()
        if first is None:
            return {"code": 255, "out": "", "err": "has no power"}
        done = subprocess.run(
            ["nsenter", "--target", str(first), "--mount", "--uts", "--ipc", "--net", "--pid",
             "--cgroup", "--root", "--wd", "--", *argv],
            input=says.encode(), capture_output=True, timeout=120, check=False,
            env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8", "HOME": "/root"},
        )  # fmt: skip
        return {
            "code": done.returncode,
            "out": done.stdout.decode(errors="replace"),
            "err": done.stderr.decode(errors="replace"),
        }

    def reboot_whoever_asked(self) -> None:
        """Boot again each host whose first process the kernel ended for a restart."""
        for host in self.hosts.values():
            ended = host.process.poll() if host.process is not None and host.wanted else None
            if ended is None:
                continue
            host.power_cut()
            if ended == -signal.SIGHUP:
                host.start()


def relayed(listener: socket.socket, address: str) -> None:
    """Relay whoever comes to a host's port 22."""
    while True:
        near, _ = listener.accept()
        threading.Thread(target=_relay, args=(near, address), daemon=True).start()


def _relay(near: socket.socket, address: str) -> None:
    try:
        far = socket.create_connection((address, 22), CONNECT_TIMEOUT_S)
    except OSError:
        near.close()
        return
    far.settimeout(None)
    for one in (near, far):
        one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    back = threading.Thread(target=_pumped, args=(far, near), daemon=True)
    back.start()
    _pumped(near, far)
    back.join()
    near.close()
    far.close()


def _pumped(source: socket.socket, sink: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while chunk := source.recv(CHUNK):
            sink.sendall(chunk)
    with contextlib.suppress(OSError):
        sink.shutdown(socket.SHUT_WR)


def described(top: Path, prefix: str, beneath: Path | None = None) -> dict[str, list[Any]]:
    """Give each path below a folder its mode, owner, time and digest.

    Whoever opens a file to write has a copy of it made, also if nothing is written then: what is
    the same `beneath` is left out.
    """
    found = {}
    for folder, folders, files in os.walk(top):
        for name in (*folders, *files):
            path = Path(folder) / name
            within = path.relative_to(top)
            about = _about(path)
            if about is None or (beneath is not None and about == _about(beneath / within)):
                continue
            found[f"{prefix}/{within}".lstrip("/")] = about
    return found


def _about(path: Path) -> list[Any] | None:
    try:
        status = path.lstat()
        what = ""
        if stat.S_ISREG(status.st_mode):
            what = hashlib.sha256(path.read_bytes()).hexdigest()
        elif stat.S_ISLNK(status.st_mode):
            what = str(path.readlink())
    except (FileNotFoundError, NotADirectoryError):
        return None
    owner = f"{status.st_uid}:{status.st_gid}"
    return [oct(status.st_mode), owner, status.st_mtime_ns, what]


def run(*command: str, check: bool = True) -> None:
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    if check and done.returncode:
        raise RuntimeError(f"{' '.join(command)}: {done.stderr.strip()}")


def written(path: Path, text: str, mode: int = 0o644) -> None:
    path.write_text(text)
    path.chmod(mode)


def own_network(pid: int) -> bool:
    return Path(f"/proc/{pid}/ns/net").readlink() != Path("/proc/self/ns/net").readlink()


def space_of(pid: int) -> str:
    return str(Path(f"/proc/{pid}/ns/pid").readlink())


def until(true: Any, otherwise: str) -> None:
    deadline = time.monotonic() + UP_TIMEOUT_S
    while not true():
        if time.monotonic() > deadline:
            raise RuntimeError(otherwise)
        time.sleep(0.01)


def main(control_fd: int, owner_fd: int) -> None:
    """Serve until the owner is gone."""
    control = socket.socket(fileno=control_fd)
    warden = Warden()
    said = b""
    fds: list[int] = []
    while True:
        ready, _, _ = select.select([control.fileno(), owner_fd], [], [], 0.2)
        warden.reboot_whoever_asked()
        if owner_fd in ready:
            return
        if control.fileno() not in ready:
            continue
        chunk, more, _, _ = socket.recv_fds(control, CHUNK, 64)
        fds += more
        if not chunk:
            return
        said += chunk
        while b"\n" in said:
            line, _, said = said.partition(b"\n")
            order = json.loads(line)
            try:
                answer = {"ok": getattr(warden, order.pop("do"))(fds=fds, **order)}
            except Exception as error:  # noqa: BLE001 - whoever ordered it hears what went wrong
                answer = {"error": f"{type(error).__name__}: {error}"}
            fds = []
            control.sendall(json.dumps(answer).encode() + b"\n")


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
