"""The test hosts are what they claim to be: separate, mortal, and gone without a trace."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from hosts import Lab

pytestmark = pytest.mark.xdist_group("hosts")

TESTS = Path(__file__).parent.parent


def test_hosts_share_neither_files_nor_processes_nor_names(lab: Lab) -> None:
    lab[1].write("/etc/motd", "one\n")
    lab[1].must("service", "nginx", "start")
    assert [lab.ssh(at, "cat /etc/motd; hostname").out.split()[-1] for at in (1, 2)] == ["h1", "h2"]
    assert "one" not in lab.ssh(2, "cat /etc/motd").out
    assert any("nginx: master" in line for line in lab[1].processes())
    assert lab[2].processes() == []
    assert (
        lab[2].must("curl", "-sS", "-o", "/dev/null", "-w", "%{http_code}", "http://h1/") == "200"
    )


def test_what_a_host_has_from_the_shared_tree_is_its_own(lab: Lab) -> None:
    lab[1].must("rm", "-r", "/etc/nginx")
    lab[1].must("mkdir", "/etc/nginx")
    lab[1].must("chown", "65534:65534", "/etc/nginx")
    lab[1].must("mv", "/etc/haproxy", "/etc/nginx/old")
    lab[1].power_cut()
    lab[1].power_on()
    assert lab[1].must("ls", "/etc/nginx") == "old\n"
    assert lab[1].must("stat", "-c", "%U:%G", "/etc/nginx") == "nobody:nogroup\n"
    assert lab[1].run("test", "-e", "/etc/haproxy").code == 1
    assert "nginx.conf" in lab[2].must("ls", "/etc/nginx", "/etc/haproxy")


def test_a_power_cut_leaves_the_files_and_nothing_else(lab: Lab) -> None:
    lab[1].write("/var/kept", "kept\n")
    lab[1].must("service", "nginx", "start")
    before = lab[1].must("cat", "/proc/sys/kernel/random/boot_id")
    lab[1].power_cut()
    assert lab.ssh(1, "true").code == 255
    lab[1].power_on()
    assert lab.ssh(1, "cat /var/kept").out == "kept\n"
    assert lab[1].processes() == []
    assert lab[1].must("cat", "/proc/sys/kernel/random/boot_id") != before


def test_a_host_that_restarts_itself_starts_what_is_enabled(lab: Lab) -> None:
    lab[1].must("update-rc.d", "nginx", "enable")
    before = lab[1].must("cat", "/proc/sys/kernel/random/boot_id")
    lab.ssh(1, "shutdown -r now")
    until(lambda: lab.ssh(1, "cat /proc/sys/kernel/random/boot_id").out not in ("", before))
    assert any("nginx: master" in line for line in lab[1].processes())


def test_a_partition_separates_a_host_from_us_and_from_its_neighbours(lab: Lab) -> None:
    lab[1].must("service", "nginx", "start")
    lab[1].cut()
    assert lab.ssh(1, "true").code == 255
    assert lab[2].run("curl", "-sS", "--max-time", "2", "http://h1/").code != 0
    assert lab.ssh(2, "true").code == 0
    lab[1].heal()
    assert lab.ssh(1, "true").code == 0
    assert (
        lab[2].must("curl", "-sS", "-o", "/dev/null", "-w", "%{http_code}", "http://h1/") == "200"
    )


def test_a_look_at_the_files_sees_every_write_and_no_login(lab: Lab) -> None:
    lab[1].write("/srv/old", "x")
    before = lab[1].files()
    assert lab.ssh(1, "ls /; python3 -c 'import json'").code == 0
    assert lab[1].files() == before
    lab[1].must("chmod", "600", "/srv/old")
    assert lab[1].files()["srv/old"][0] == "0o100600"
    assert lab[1].files() != before
    lab[1].must("rm", "/srv/old", "/etc/motd")
    after = lab[1].files()
    assert "srv/old" not in after
    assert after["etc/motd"] != before.get("etc/motd")


def test_the_machine_that_all_hosts_share_is_out_of_their_reach(lab: Lab) -> None:
    assert lab.ssh(1, "sysctl -w net.ipv4.ip_forward=1").code == 0
    assert lab.ssh(1, "sysctl -w vm.swappiness=61").code != 0
    assert lab.ssh(1, "date -s 2001-01-01").code != 0
    assert "permitted" in lab.ssh(1, "date -s 2001-01-01 2>&1").out


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_no_host_outlives_whoever_made_it(how: signal.Signals) -> None:
    owner = subprocess.Popen(
        [sys.executable, str(TESTS / "hosts.py"), "2"],
        stdout=subprocess.PIPE,
        stdin=subprocess.PIPE,
    )
    assert owner.stdout is not None
    if not owner.stdout.readline():
        pytest.skip("no test hosts here")
    family = descendants(owner.pid)
    assert len(family) >= 4
    owner.send_signal(how)
    owner.wait()
    until(lambda: not any(alive(pid) for pid in family))
    owner.stdout.close()
    assert owner.stdin is not None
    owner.stdin.close()


def descendants(pid: int) -> set[int]:
    found: set[int] = set()
    waiting = [pid]
    while waiting:
        one = waiting.pop()
        for task in Path(f"/proc/{one}/task").iterdir():
            children = {int(word) for word in (task / "children").read_text().split()}
            waiting += children - found
            found |= children
    return found


def alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state not in ("Z", "X") and os.getpgid(pid) >= 0


def until(true: object) -> None:
    assert callable(true)
    for _ in range(400):
        if true():
            return
        time.sleep(0.05)
    pytest.fail("it never came true")
